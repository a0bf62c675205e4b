-- R1.2: only what was edited of a file is compiled. What comes of it is what Lua makes of the whole
-- file.

local program = require "spec.support.program"

local MODULE = [[
local M, count = {}, 0
local LIMIT <close> = nil
local function helper(a)
  count = count + a
  return count
end
function M.first(a)
  return helper(a), "first"
end
function M.second(a)
  if a then
    error("second failed")
  end
  return function() return helper(1), debug.getinfo(1, "l").currentline end
end
M.third = function(a) return a.b.c end
for i = 1, 2 do
  M["made" .. i] = function() return i, helper(0) end
end
function M:method(a)
  return self == M, a
end
return M
]]

-- Without the local that has an attribute.
local PLAIN = MODULE:gsub("local LIMIT <close> = nil", "")

describe("a file of which one function was edited (R1.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- What a person sees of the functions of a module: their lines, parameters and upvalues.
  local function seen(module)
    local found = {}
    for name, f in pairs(module) do
      local info = debug.getinfo(f, "SLu")
      local upvalues = {}
      for i = 1, info.nups do upvalues[i] = debug.getupvalue(f, i) end
      local lines = { info.linedefined, info.lastlinedefined, info.activelines }
      found[name] = { lines, info.nparams, upvalues }
    end
    return found
  end

  --- Reloads the module with each of the texts: each is what a load of the whole text is.
  local function follows(...)
    local M
    for i = 1, select("#", ...) do
      local text = select(i, ...)
      if M then app:update("m", text) else M = app:module("m", text) end
      local fresh = assert(load(text, "@" .. app:path "m"))()
      assert.same(seen(fresh), seen(M))
    end
    return M
  end

  local function edited(text, from, to)
    local start, stop = text:find(from, 1, true)
    return text:sub(1, start - 1) .. to .. text:sub(stop + 1)
  end

  it("has the lines of the whole file behind the edit", function()
    local longer = "\n\n  local x = a\n  return helper(x), 'first'"
    local one = edited(PLAIN, "return helper(a), \"first\"", longer)
    local other = edited(one, "  if a then", "  if a then\n\n")
    local M = follows(PLAIN, PLAIN .. "\n", one, other, PLAIN)
    app:update("m", one)
    local _, before = one:match "^(.-)error%(":gsub("\n", "")
    local message = ("m.lua:%d: second failed$"):format(before + 1)
    assert.matches(message, select(2, pcall(M.second, true)))
  end)

  it("sees the locals that the function sees, and no others", function()
    local made = edited(PLAIN, "return i, helper(0)", "return i, count, M, a")
    local M = follows(PLAIN, PLAIN .. "\n", made)
    assert.same({ 2, 0, M, nil, n = 4 }, table.pack(M.made2()))
    local method = "return self == M, helper ~= nil, i, a"
    app:update("m", edited(PLAIN, "return self == M, a", method))
    assert.same({ true, true, nil, 7, n = 4 }, table.pack(M:method(7)))
  end)

  it("is what the whole file is where the edit is outside of functions", function()
    local local_added = "local added = 5 " .. PLAIN
    local function_added = edited(local_added, "function M.second",
      "\n\nfunction M.new(a) return added, count, a end\nfunction M.second")
    local both = edited(edited(function_added, "count = count + a", "count = count + a * 2"),
      "return a.b.c", "return added")
    local M = follows(PLAIN, PLAIN .. "\n", local_added, function_added, both)
    assert.same({ 5, 0, 7, n = 3 }, table.pack(M.new(7)))
    assert.same({ 6, "first", n = 2 }, table.pack(M.first(3)))
    assert.equal(5, M.third())
    app:update("m", edited(PLAIN, "local M, count", "local M, count, error"))
    assert.matches("attempt to call a nil value %(upvalue 'error'%)", select(2, pcall(M.second, 1)))
  end)

  it("has the value of a constant that the dump of the old file does not tell", function()
    local text = MODULE:gsub("LIMIT <close> = nil", "LIMIT <const> = 60")
    local M = follows(text, text .. "\n", edited(text, '"first"', "LIMIT"))
    assert.equal(60, select(2, M.first(0)))
  end)

  it("that does not compile has Lua's own message", function()
    follows(PLAIN, PLAIN .. "\n")
    for from, to in pairs {
      ["if a then"] = "if a the",
      ["return helper(a), \"first\""] = "return helper(a), \"first",
      ["count = count + a"] = "count = count + ) a",
      ["return i, helper(0)"] = "goto nowhere",
    } do
      local text = edited(PLAIN, from, to)
      local _, expected = load(text, "@" .. app:path "m")
      app:write("m", text)
      local ok, message = gg.reload "m"
      assert.is_false(ok)
      assert.truthy(message:find(expected, 1, true), message .. "\n" .. expected)
    end
  end)

  it("is refused where only text is wanted and it became binary", function()
    follows(PLAIN, PLAIN .. "\n")
    app:write("m", string.dump(assert(load(PLAIN))))
    local ok, message = gg.reload("m", { text_only = true })
    assert.is_false(ok)
    assert.matches("binary chunk", message)
  end)

  it("is reloaded in less time than one of which every function was edited", function()
    local lines = { "local M, a, b = {}, 1, 2" }
    for i = 1, 1500 do
      local body = ("  if x then a = a + x.field * N end\n"):rep(20)
      lines[#lines + 1] = (("function M.fN(x)\n" .. body
        .. "  local t = { x, a, b, n = N }\n"
        .. "  return t.n + #t, 'fN', t[1] == nil and a or b\nend"):gsub("N", i))
    end
    lines[#lines + 1] = "return M"
    local text = table.concat(lines, "\n")
    local M = app:module("m", text)
    local function timed(version, new)
      app:write("m", new)
      local start = os.clock()
      gg.reload "m"
      local time = os.clock() - start
      assert.equal(version, select(2, M.f1000()))
      return time
    end
    local all, one = math.huge, math.huge
    for round = 1, 7 do
      local new = text:gsub("'f(%d+)'", "'" .. round .. " %1'")
      all = math.min(all, timed(round .. " 1000", new))
      one = math.min(one, timed("edited", edited(new, "'" .. round .. " 1000'", "'edited'")))
    end
    assert.is_true(one < 0.85 * all, ("%.2f ms, with all %.2f"):format(1e3 * one, 1e3 * all))
  end)

  it("is kept as long as the module is, and no longer", function()
    -- What is kept is no memory of Lua's: the process's pages are counted, of which glibc gives
    -- each large block back at once.
    local text = PLAIN .. ("-- a long comment\n"):rep(100000)
    app:module("m", text)
    app:write("m", text .. "\n")
    local out, code, err = app:subprocess([[
      require "hotreload"
      require "m"
      assert(gg.reload "m")
      assert(require "hotreload".undo "m") -- what undoes a reload holds the module
      local function resident()
        collectgarbage()
        collectgarbage()
        local file = io.open "/proc/self/statm"
        if not file then os.exit(3) end
        local _, pages = file:read("n", "n")
        file:close()
        return pages * 4096
      end
      local before = resident()
      package.loaded.m = nil
      print(before - resident())
    ]], { environment = "MALLOC_MMAP_THRESHOLD_=100000" })
    if code == 3 then return pending "no /proc" end
    assert.equal(0, code, err)
    assert.is_true(tonumber(out) > #text * 0.9, out)
  end)
end)
