-- A heap of about `size` objects with 1,000 references to wanted values in all kinds of places.
-- Returns the heap, the list of the wanted, and how many references to them stand in the heap.

return function(size)
  local Row = { __index = { level = function(row) return row.id end } }
  local wanted, strays = { function() return 1 end, {} }, 0
  local every = size // 1000

  -- One of the wanted at every so many calls, else the value.
  local calls = 0
  local function stray(value)
    calls = calls + 1
    if calls % every == 0 and strays < 1000 then
      strays = strays + 1
      return wanted[strays % #wanted + 1]
    end
    return value
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
    local row = setmetatable({
      id = i,
      name = "row " .. i,
      position = { x = i, y = 0.5, z = stray(0) },
      items = { i, i + 1, i + 2, { kind = i % 7, count = 1 } },
      on_change = stray(false),
    }, Row)
    objects = objects + 4
    if i % 2 == 0 then
      row.owner = owner(row, stray(nil))
      objects = objects + 1
    end
    if i % 8 == 0 then
      by_name[row.name] = { row = row, callback = stray(nil) }
      objects = objects + 1
    end
    if i % 64 == 0 then
      local thread = coroutine.create(run)
      coroutine.resume(thread, row, stray(nil))
      row.thread = thread
      objects = objects + 1
    end
    rows[i] = row
  end
  -- What did not come about above stands in a list, as keys and as metatables.
  local rest = {}
  while strays < 1000 do
    strays = strays + 1
    rest[strays] = strays % 2 == 0 and setmetatable({}, wanted[2]) or { [wanted[1]] = true }
  end
  return { rows = rows, by_name = by_name, rest = rest }, wanted, strays
end
