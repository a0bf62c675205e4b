-- A timer wheel: a ring of slots, one for each tick; a timer waits in the slot of its tick, for
-- some turns of the ring.
--
-- A timer names what it will call, a module and a function in it, and is looked up when it is due.
-- So timers that were set before a reload call the new code.

local timers = {}

local TICK <const> = 0.05
local SLOTS <const> = 64

local wheel = {} -- slot → list of { turns, module, name, arguments }
local now -- the tick that the wheel stands at
local pending = 0

local function tick_of(time)
  return math.floor(time / TICK)
end

--- Calls require(module)[name](...) after so many seconds.
function timers.after(time, seconds, module, name, ...)
  now = now or tick_of(time)
  local due = math.max(tick_of(time + seconds), now + 1)
  local slot = due % SLOTS
  wheel[slot] = wheel[slot] or {}
  table.insert(wheel[slot],
    { turns = (due - now - 1) // SLOTS, module = module, name = name, arguments = { ... } })
  pending = pending + 1
end

function timers.pending()
  return pending
end

local function fire(timer)
  pending = pending - 1
  local ok, err = xpcall(require(timer.module)[timer.name], debug.traceback,
    table.unpack(timer.arguments))
  if not ok then print(err) end
end

--- Turns the wheel to where it should stand at this time.
function timers.advance(time)
  local goal = tick_of(time)
  now = now or goal
  while now < goal do
    now = now + 1
    local slot = wheel[now % SLOTS]
    local left = {}
    wheel[now % SLOTS] = left
    for _, timer in ipairs(slot or {}) do
      if timer.turns == 0 then
        fire(timer)
      else
        timer.turns = timer.turns - 1
        left[#left + 1] = timer
      end
    end
  end
end

return timers
