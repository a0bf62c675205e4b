-- R8, R5.3: random tables in three versions (loaded, running, file), against a plain statement of the rule.

local program = require "spec.support.program"

local SEEDS = 150

local function scalar()
  local kind = math.random(6)
  return kind == 1 and math.random(3) == 1 or kind == 2 and math.random(3) + 0.0 or kind == 3 and "s" .. math.random(3)
    or math.random(3)
end

local function key()
  return ({ "a", "b", "c", "d", "e", true, 1.5, -1 })[math.random(8)]
end

local function tree(depth)
  local made = {}
  for _ = 1, math.random(0, 6) do
    made[key()] = depth > 0 and math.random(3) == 1 and tree(depth - 1) or scalar()
  end
  return made
end

local function copy(of)
  if type(of) ~= "table" then return of end
  local made = {}
  for k, v in pairs(of) do made[k] = copy(v) end
  return made
end

--- Changes something here and there.
local function change(of, depth)
  for k, v in pairs(copy(of)) do
    local what = math.random(8)
    if what == 1 then
      of[k] = nil
    elseif what == 2 then
      of[k] = scalar()
    elseif what == 3 and depth > 0 then
      of[k] = tree(depth - 1)
    elseif type(v) == "table" then
      change(of[k], depth - 1)
    end
  end
  if math.random(3) == 1 then of[key()] = depth > 0 and math.random(3) == 1 and tree(depth - 1) or scalar() end
  return of
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return rawequal(a, b) and math.type(a) == math.type(b) end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

--- What runs after a merge: of what was loaded, what runs, what the file says.
local function merged(base, running, file)
  if type(running) == "table" and type(file) == "table" then
    local on_record = type(base) == "table"
    base = on_record and base or {}
    local result, keys = {}, {}
    for _, of in ipairs { base, running, file } do
      for k in pairs(of) do keys[k] = true end
    end
    for k in pairs(keys) do
      local b, r, f = base[k], running[k], file[k]
      if r == nil then
        -- The program removed it, or only the file has it. Integer keys are added to tables on record only.
        if b == nil and (on_record or math.type(k) ~= "integer") then result[k] = f end
      elseif f == nil then
        if not same(r, b) then result[k] = r end -- gone from the file
      else
        result[k] = merged(b, r, f)
      end
    end
    return result
  end
  if same(running, base) then return file end
  return running
end

local function write(value)
  if type(value) == "table" then
    local parts = {}
    for k, v in pairs(value) do parts[#parts + 1] = ("[%s] = %s"):format(write(k), write(v)) end
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  return type(value) == "string" and ("%q"):format(value) or math.type(value) == "float" and ("%.1f"):format(value)
    or tostring(value)
end

describe("random tables in three versions (R8)", function()
  it("end as the rule says", function()
    local app = program.new()
    finally(function() app:unload() end)
    for seed = 1, SEEDS do
      math.randomseed(seed)
      local base = tree(3)
      package.loaded.m = nil
      app:update("m", "return " .. write(base))
      local M = package.loaded.m
      change(M, 3)
      local running, file = copy(M), change(copy(base), 3)
      local expected = merged(base, running, file)
      app:reloaded("m", { source = "return " .. write(file), data = "merge" })
      assert(same(expected, M), ("seed %d:\nloaded   %s\nrunning  %s\nfile     %s\nexpected %s\ngot      %s"):format(
        seed, write(base), write(running), write(file), write(expected), write(M)))
    end
  end)
end)
