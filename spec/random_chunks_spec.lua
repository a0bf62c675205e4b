-- R2.3, R7.1, R10: whatever a chunk does by name, a reload that fails or is dry leaves no trace of
-- it. Random chunks over random data; the seed of a case that fails is in its message.

local program = require "spec.support.program"

local random = math.random

local function one_of(...)
  return (select(random(select("#", ...)), ...))
end

local function name()
  return one_of("a", "b", "c", "data", "Player", "list", "meta", "__call")
end

local function tree(depth)
  local t = {}
  for _ = 1, random(4) do
    t[random(5) == 1 and random(4) or name()] = depth > 0 and random(2) == 1 and tree(depth - 1)
      or random(4) == 1 and function() return t, depth end or random(9)
  end
  return random(3) == 1 and setmetatable(t, one_of({}, t)) or t
end

local function key()
  return random(5) == 1 and ("[%d]"):format(random(4)) or "." .. name()
end

--- An expression that names a table, most often.
local function place()
  return one_of("G1", "G2", "G3", "G4", "live", "held", "_G") .. (random(3) > 1 and key() or "")
    .. (random(3) == 1 and key() or "")
end

local function value(depth)
  return random(4) == 1 and one_of("1", "'text'", "nil", "true", "{}", "M")
    or random(3) == 1 and ("function() n = %s return n, held, live end"):format(one_of("n", "0"))
    or (random(3) == 1 or depth == 0) and place()
    or ("{ %s = %s, %s }"):format(name(), value(depth - 1), value(depth - 1))
end

local function statement()
  local text = one_of(
    ("%s%s = %s"):format(place(), key(), value(2)),
    ("rawset(%s, '%s', %s)"):format(place(), name(), value(2)),
    ("setmetatable(%s, %s)"):format(place(), one_of("nil", value(1))),
    ("local t = %s t[#t + 1] = M.f"):format(place()),
    ("local t = %s table.insert(t, %s)"):format(place(), value(1)),
    ("assert(type(G1) == 'table') getmetatable(G1).%s = %s"):format(name(), value(1)),
    ("M%s = %s"):format(key(), value(2)),
    ("G%d = %s"):format(random(5), value(2)),
    ("package.loaded[%s] = %s"):format(one_of("'x'", "'dep1'", "name"), value(1)),
    ("require 'dep%d'"):format(random(3)),
    ("require 'store'.%s = %s"):format(name(), one_of("{ {} }", "function() return n end")))
  -- What does not work in this case's data is left undone.
  return ("pcall(function() %s end)"):format(text)
end

local function chunk(count, ending)
  local lines = {
    "local name, M, n, live = ..., {}, 0, package.loaded.m",
    "if type(live) ~= 'table' then live = {} end",
    "local held = " .. one_of("G1", "{}"),
    "function M.f() n = n + 1 return n, held, live end",
  }
  for _ = 1, count do lines[#lines + 1] = statement() end
  lines[#lines + 1] = ending
  return table.concat(lines, "\n")
end

local endings = {
  ["raises"] = "error 'the chunk raises'",
  ["has a hook that raises"] = "function M.__hotfix() error 'the hook raises' end return M",
  ["does not compile"] = "return M = = 1",
  ["has a conflict"] = "M.f = 'no function' return M",
  ["is run dry"] = "return M",
}

describe("random chunks (R2.3, R7.1, R10): a reload leaves no trace when its chunk", function()
  local app
  after_each(function() app:unload() end)

  for what, ending in pairs(endings) do
    it(what, function()
      for seed = 1, 60 do
        if app then app:unload() end
        app = program.new()
        math.randomseed(seed)
        for i = 1, 4 do _G["G" .. i] = tree(3) end
        for i = 1, 3 do app:write("dep" .. i, ("dep_global_%d = 1 return { a = {} }"):format(i)) end
        app:module("store",
          "local hidden = {} return { a = { b = {} }, c = function() return hidden end }")
        app:write("m", chunk(random(0, 5), "return M"))
        local M = app:load "m"
        for i = 1, 3 do package.loaded["dep" .. i] = nil end
        if type(M) == "table" and type(M.f) == "function" then M.f() end

        local source = chunk(random(12), ending)
        app:write("m", source)
        local before = program.fingerprint(M)
        local dry = what == "is run dry"
        local ok, message = app:reload("m", { dry_run = dry, on_conflict = dry and "keep" or nil })
        local changes = before:changes()
        if changes or ok ~= dry then
          error(("seed %d: %s, %s\n%s\n%s"):format(seed, ok, message, changes, source))
        end
      end
    end)
  end
end)
