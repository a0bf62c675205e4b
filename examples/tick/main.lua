-- A tick loop without any dependency, in which a module is reloaded for the whole VM without a
-- pause: lua5.4 main.lua (examples/tick/run.sh sets the paths; it needs a built library).
--
-- `scope = "vm"` lets every reference follow: here the methods that `monsters.new` made as closures
-- for each monster, which stand in a list that no name in the file leads to. `budget_ms` does that
-- in slices: the call returns when the module itself is new, and `hotreload.sweep(1)` goes on for
-- about a millisecond in each tick.

local hotreload = require "hotreload"
local monsters = require "monsters"

local COUNT <const> = 20000
local crowd = {}
for i = 1, COUNT do crowd[i] = monsters.new(i % 7) end

local function edit(path, from, to)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  local first, last = text:find(from, 1, true)
  assert(first, from)
  file = assert(io.open(path, "wb"))
  file:write(text:sub(1, first - 1), to, text:sub(last + 1))
  file:close()
end

--- How many of the crowd bite by the new rule.
local function count_new()
  local new = 0
  for i = 1, COUNT do
    if crowd[i].bite() >= 100 then new = new + 1 end
  end
  return new
end

print("before", count_new(), crowd[8].bite())

local sweeping, ticks, slices = false, 0, 0
while true do
  ticks = ticks + 1
  crowd[1 + ticks % COUNT].bite() -- the game goes on in every tick
  if ticks == 3 then
    edit("monsters.lua", "return strength + bites", "return 100 + strength + bites")
    local ok, result = gg.reload("monsters", { scope = "vm", budget_ms = 1 })
    assert(ok, result)
    sweeping = true
    print("reloaded", "a new monster bites for " .. monsters.new(1).bite())
  elseif sweeping then
    slices = slices + 1
    local done, progress = hotreload.sweep(1)
    assert(done ~= nil, progress)
    if done then break end
  end
end

print("swept", count_new() == COUNT and "all follow" or "some do not",
  "in several ticks: " .. tostring(slices > 1))
print("after",
  crowd[8].bite() - crowd[8].bite() == -1 and "each has its own count" or "a count is lost")
