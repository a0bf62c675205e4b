--- Looking into a running program: cells of functions, and objects that should be gone.
--
--    local probe = require "spec.support.probe"
--
--    probe.cell(fn, name)        identity of the cell in which `fn` keeps the local `name`; raises
--                                where it has none
--    probe.held(fn, name)        what that cell holds
--    probe.names(fn)             the names of its upvalues, in order
--    probe.witness(app)          make the module `witness`: modules under test call
--                                `require("witness").note(t)`, which keeps `t` weakly where no
--                                reload looks. Returns the witness:
--    witness:others(object)      collects garbage; nil if every noted object but `object` is gone,
--                                else a text with the path of a survivor
--    probe.strip(source, path)   the source as a binary chunk without debug information
--    probe.contains(list, text)  whether a string of the list has `text` in it
--    probe.sorted(list)          a sorted copy
--    probe.line_of(source, text) number of the first line of `source` that has `text` in it

local M = {}

local getmetatable_raw = debug.getmetatable

local function index_of(fn, name)
  for i = 1, 255 do
    local found = debug.getupvalue(fn, i)
    if found == nil then
      break
    elseif found == name then
      return i
    end
  end
  error(("the function has no upvalue '%s'"):format(name), 3)
end

function M.cell(fn, name)
  return debug.upvalueid(fn, index_of(fn, name))
end

function M.held(fn, name)
  local _, value = debug.getupvalue(fn, index_of(fn, name))
  return value
end

function M.names(fn)
  local names = {}
  for i = 1, 255 do
    names[i] = debug.getupvalue(fn, i)
  end
  return names
end

function M.strip(source, path)
  return string.dump(assert(load(source, "@" .. (path or "stripped.lua"))), true)
end

function M.contains(list, text)
  for _, line in ipairs(list) do
    if line:find(text, 1, true) then
      return true
    end
  end
  return false
end

function M.sorted(list)
  local copy = table.move(list, 1, #list, 1, {})
  table.sort(copy)
  return copy
end

function M.line_of(source, text)
  local line = 0
  for content in (source .. "\n"):gmatch "(.-)\n" do
    line = line + 1
    if content:find(text, 1, true) then
      return line
    end
  end
  error(("the source has no '%s'"):format(text), 2)
end

-- Breadth first, so that the path is a short one.
local function path_to(target, hidden)
  local paths = { [package.loaded] = "package.loaded", [debug.getregistry()] = "registry" }
  local queue = { package.loaded, debug.getregistry() }
  local function meet(value, path)
    local kind = type(value)
    if (kind == "table" or kind == "function" or kind == "userdata") and not paths[value]
      and value ~= hidden then
      paths[value] = path
      queue[#queue + 1] = value
    end
  end
  local i = 1
  while queue[i] and not paths[target] do
    local value = queue[i]
    local path = paths[value]
    if type(value) == "function" then
      for n = 1, 255 do
        local name, content = debug.getupvalue(value, n)
        if not name then
          break
        end
        meet(content, path .. "@" .. name)
      end
    else
      meet(getmetatable_raw(value), path .. "<metatable>")
      if type(value) == "table" then
        for k, v in next, value do
          meet(k, path .. "<key>")
          meet(v, ("%s[%s]"):format(path, tostring(k)))
        end
      else
        meet((debug.getuservalue(value, 1)), path .. "<user value>")
      end
    end
    i = i + 1
  end
  return paths[target] or "somewhere out of sight (a stack, a reference of the library)"
end

local Witness = {}
Witness.__index = Witness

function M.witness(app)
  -- In a coroutine: neither a reload nor a fingerprint looks there.
  app:write("witness", [[
    return { note = coroutine.wrap(function(value)
      local seen = setmetatable({}, { __mode = "k" })
      while true do
        if value then seen[value] = true end
        value = nil
        value = coroutine.yield(seen)
      end
    end) }
  ]])
  return setmetatable({ seen = app:load("witness").note(nil) }, Witness)
end

function Witness:others(object)
  collectgarbage()
  collectgarbage()
  assert(self.seen[object], "the object was never noted")
  for survivor in next, self.seen do
    if survivor ~= object then
      return "a second copy is alive: " .. path_to(survivor, self.seen)
    end
  end
end

return M
