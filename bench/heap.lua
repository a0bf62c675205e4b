-- A heap of about `size` objects with 1,000 references to old functions of a module in all kinds of
-- places: functions of the module, and closures that its factory made.
local hotreload = require "hotreload"

local function text(version)
  return ([[
    local M, calls = {}, 0
    function M.f() calls = calls + 1 return %d end
    function M.new(x) return function() x = x + 1 return %d, x end end
    return M]]):format(version, version)
end

return function(size)
  package.preload.stray = load(text(0), "@stray.lua")
  local M = require "stray"
  local Row = { __index = { level = function(row) return row.id end } }
  local gets, every = {}, size // 1000

  -- An old function at every so many calls, else the value; `get` finds again what stands there.
  local calls = 0
  local function stray(value, get)
    calls = calls + 1
    if calls % every ~= 0 or #gets >= 1000 then return value end
    gets[#gets + 1] = get
    return #gets % 2 == 0 and M.f or M.new(0)
  end

  local function owner(row, hook)
    return function() return row, hook end
  end

  local function run(row, hook)
    local held = hook
    while true do coroutine.yield(row, held) end
  end

  local rows, by_name, objects = {}, {}, 3
  while objects < size do
    local i = #rows + 1
    local row
    row = setmetatable({
      id = i,
      name = "row " .. i,
      position = { x = i, y = 0.5, z = stray(0, function() return row.position.z end) },
      items = { i, i + 1, i + 2, { kind = i % 7, count = 1 } },
      on_change = stray(false, function() return row.on_change end),
    }, Row)
    objects = objects + 4
    if i % 2 == 0 then
      row.owner = owner(row, stray(nil, function() return (select(2, row.owner())) end))
      objects = objects + 1
    end
    if i % 8 == 0 then
      by_name[row.name] = { row = row,
        callback = stray(nil, function() return by_name[row.name].callback end) }
      objects = objects + 1
    end
    if i % 64 == 0 then
      local thread = coroutine.create(run)
      coroutine.resume(thread, row,
        stray(nil, function() return (select(3, coroutine.resume(thread))) end))
      row.thread = thread
      objects = objects + 1
    end
    rows[i] = row
  end
  -- What did not come about above stands in a list, as keys.
  local rest = {}
  while #gets < 1000 do
    local i = #gets + 1
    rest[i], gets[i] = { [M.new(0)] = true }, function() return (next(rest[i])) end
  end

  local version = 0
  local heap = {}
  heap.data = { rows = rows, by_name = by_name, rest = rest }

  --- Reloads the module in scope "vm", at once or with a budget in milliseconds.
  function heap.reload(budget_ms)
    version = version + 1
    local options = { source = text(version), scope = "vm", budget_ms = budget_ms }
    local ok, report = gg.reload("stray", options)
    if not ok then error(report, 0) end
    return report.references
  end

  heap.sweep = hotreload.sweep

  --- Every one of the references runs the new code.
  function heap.check()
    for i = 1, #gets do
      if gets[i]()() ~= version then error("reference " .. i .. " runs old code", 0) end
    end
  end

  return heap
end
