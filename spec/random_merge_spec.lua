-- R8, R5.3: random tables in three versions (loaded, running, file), against a plain statement of
-- the rule.

local program = require "spec.support.program"

local SEEDS = 150

local function scalar(path)
  local kind = math.random(6)
  return kind == 1 and math.random(3) == 1 or kind == 2 and math.random(3) + 0.0
    or kind == 3 and "s" .. path .. math.random(3) or math.random(3)
end

--- A key of the table with this path. But for `true` it is no other table's: what is like another
--- table may be that one, moved, and that is no matter of this rule.
local function key(path)
  local number = 1 -- at most four letters
  for i = 1, #path do number = number * 128 + path:byte(i) end
  local name = ({ "a", "b", "c", "d", "e", true, number + 0.5, -number })[math.random(8)]
  return type(name) == "string" and path .. name or name
end

local function below(path, k)
  return type(k) == "string" and k or path .. (k == true and "t" or k < 0 and "n" or "f")
end

local function tree(depth, path)
  local made = {}
  for _ = 1, math.random(0, 6) do
    local k = key(path)
    made[k] = depth > 0 and math.random(3) == 1 and tree(depth - 1, below(path, k)) or scalar(path)
  end
  return made
end

local function copy(of)
  if type(of) ~= "table" then return of end
  local made = {}
  for k, v in pairs(of) do made[k] = copy(v) end
  return made
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return rawequal(a, b) and math.type(a) == math.type(b)
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

--- Changes something here and there. (A table with the same content would be another one, too.)
local function change(of, depth, path)
  for k, v in pairs(copy(of)) do
    local what = math.random(8)
    if what == 1 then
      of[k] = nil
    elseif what == 2 then
      of[k] = scalar(path)
    elseif what == 3 and depth > 0 then
      local made = tree(depth - 1, below(path, k))
      if not same(made, v) then of[k] = made end
    elseif type(v) == "table" then
      change(of[k], depth - 1, below(path, k))
    end
  end
  if math.random(3) == 1 then
    local k = key(path)
    local made = depth > 0 and math.random(3) == 1 and tree(depth - 1, below(path, k))
      or scalar(path)
    if not same(made, of[k]) then of[k] = made end
  end
  return of
end

--- The kinds that are told apart (R6); none for `false` and nothing, which go with each.
local function kind(value)
  return value and type(value) or nil
end

--- What runs after a merge: of what was loaded, what runs, what the file says. `conflicts` gets the
--- paths of the places whose kind the file has changed, and which the program has touched.
local function merged(base, running, file, path, conflicts)
  if type(running) == "table" and type(file) == "table" then
    local on_record = type(base) == "table"
    base = on_record and base or {}
    local result, keys = {}, {}
    for _, of in ipairs { base, running, file } do
      for k in pairs(of) do keys[k] = true end
    end
    for k in pairs(keys) do
      local b, r, f = base[k], running[k], file[k]
      local there = path .. (type(k) == "string" and "." .. k or ("[%s]"):format(k))
      if r == nil then
        -- The program removed it, or only the file has it. Integer keys are added to tables on
        -- record only.
        if b == nil and (on_record or math.type(k) ~= "integer") then result[k] = f end
      elseif f == nil then
        if not same(r, b) then result[k] = r end -- gone from the file
      else
        local two = kind(r) and kind(f) and kind(r) ~= kind(f)
          and (math.type(k) ~= "integer" or b ~= nil)
        -- A table goes on by the name of its place.
        local says_again = same(f, b) or type(f) == "table" and type(b) == "table"
        if two and not says_again and not same(r, b) then conflicts[#conflicts + 1] = there end
        result[k] = merged(b, r, f, there, conflicts)
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
  return type(value) == "string" and ("%q"):format(value) or math.type(value) == "float"
    and ("%.1f"):format(value)
    or tostring(value)
end

describe("random tables in three versions (R8)", function()
  it("end as the rule says", function()
    local app = program.new()
    finally(function() app:unload() end)
    local refused = 0
    for seed = 1, SEEDS do
      math.randomseed(seed)
      local base = tree(3, "")
      package.loaded.m = nil
      app:update("m", "return " .. write(base))
      local M = package.loaded.m
      change(M, 3, "")
      local running, file = copy(M), change(copy(base), 3, "")
      local case = ("seed %d:\nloaded   %s\nrunning  %s\nfile     %s\n"):format(
        seed, write(base), write(running), write(file))
      local expected, found = {}, {}
      local result = merged(base, running, file, "m", expected)
      local options = { source = "return " .. write(file), data = "merge", dry_run = true }
      local ok, report = app:reload("m", options)
      if #expected > 0 then
        assert.is_false(ok, case .. table.concat(expected, ", "))
        local _, refusal = app:refused("m", options)
        report, refused = refusal, refused + 1
      end
      assert(type(report) == "table", case .. tostring(report))
      for i, conflict in ipairs(report.conflicts) do found[i] = conflict.path end
      table.sort(expected)
      table.sort(found)
      assert.same(expected, found, case)
      options.dry_run, options.on_conflict = false, "keep"
      app:reloaded("m", options)
      assert(same(result, M), ("%sexpected %s\ngot      %s"):format(case, write(result), write(M)))
    end
    assert.is_true(refused > 5)
  end)
end)
