-- The text of a module as a server's business code looks: functions of the module object, handlers
-- in nested tables, the methods of a class and of a class that inherits from it, local helpers and
-- local state. Each function has four upvalues and, on the path of an unknown id, returns the
-- constant `@VERSION@`, which the bench replaces at each round.

-- One group: four locals, which its functions share.
local GROUP = [[
local members_G = {}
local total_G = 0
local limits_G = { low = G, high = 60 + G, steps = { 1, 5, 25 } }
local function check_G(id, amount)
  if id == nil then
    return @VERSION@
  end
  local member = members_G[id]
  if member and kind(amount) == "number" then
    total_G = total_G + amount
    return amount >= limits_G.low and amount <= limits_G.high
  end
  return false
end
]]

-- Bodies; N is the function's number, G its group's, NAME what it is called.
local TRANSFER = [[
(id, amount)
  local member = members_G[id]
  if not member then
    return @VERSION@
  end
  total_G = total_G + amount
  member.score = floor(member.score * 3 / 2) + amount
  if member.score > N then
    insert(member.log, { at = N, amount = amount, what = "NAME" })
    member.score = member.score - N
  end
  return member.score
end
]]

local LIMITED = [[
(id, amount)
  local member = members_G[id]
  if not member then
    return @VERSION@, check_G(nil)
  elseif not check_G(id, amount) then
    return nil, "refused by NAME"
  end
  for index, step in ipairs_(limits_G.steps) do
    if amount < step * N then
      member.level = index
      break
    end
  end
  return member.level
end
]]

local DESCRIBED = [[
(id, amount)
  local member = members_G[id]
  if not member then
    return @VERSION@
  end
  local level = member.level or limits_G.low
  local text = format("%s: level %d of %d, NAME", member.name, level, limits_G.high)
  if amount and amount > N then
    return M.bump(amount), text
  end
  return level, text
end
]]

local HANDLED = [[
(id, amount)
  local member = members_G[id]
  if not member then
    return @VERSION@
  end
  local rest = amount % (limits_G.high + N)
  if rest < limits_G.low then
    total_G = total_G - rest
    member.rest = floor(rest / 2)
  end
  return { code = N, rest = rest, member = member }
end
]]

local METHOD = [[
(id, amount)
  local member = members_G[id]
  if not member then
    return @VERSION@, check_G(nil)
  end
  if self.power < N then
    self.power = self.power + (amount or 1)
    total_G = total_G + 1
  elseif check_G(id, amount) then
    return Unit.new(id, self.power - N), "NAME"
  end
  return self
end
]]

-- A factory: its closures are made while the chunk runs.
local FACTORY = [[
local function make_G(number, name)
  local calls = 0
  return function(id, amount)
    local member = members_G[id]
    if not member then
      return @VERSION@
    end
    calls = calls + 1
    return format("%s: %d of %d", name, calls, number + floor(amount))
  end
end
]]

local BEGIN = [[
local M = {}
local floor, insert, format, kind, ipairs_ = math.floor, table.insert, string.format, type, ipairs
local rows_by_id = {}
local Unit = {}
Unit.__index = Unit
local Hero = setmetatable({}, { __index = Unit })
Hero.__index = Hero
M.rows = {}
M.settings = { rate = 1, nested = { level = 1, names = { "a", "b", "c" } } }
M.Unit = Unit
M.Hero = Hero
M.routes = {}
]]

local END = [[
function Unit.new(id, power)
  return setmetatable({ id = id, power = power or 0 }, Unit)
end
function Hero.new(id)
  return setmetatable({ id = id, power = 1 }, Hero)
end
function M.bump(amount)
  total_1 = total_1 + amount
  return total_1
end
function M.total()
  return total_1
end
function M.state()
  return members_1, limits_1, rows_by_id
end
-- What the program collects while it runs: one half hangs off the module object, the other off a
-- local.
function M.fill(count)
  for id = 1, count do
    local row = { id = id, hp = id % 100, owner = id * 7 % 1000 }
    if id % 2 == 0 then
      M.rows[#M.rows + 1] = row
    else
      rows_by_id[id] = row
    end
  end
end
return M
]]

local OWN = 6 -- functions of END
local PER_GROUP = 20
local MOST_GROUPS = 16 -- few files have hundreds of locals (Lua allows a function 200)

local function body(text, number, group, name)
  return (text:gsub("%f[%w]N%f[%W]", number):gsub("NAME", name):gsub("_G", "_" .. group))
end

--- The text of a module of `count` functions. With `factories`, a few factories make most of them.
return function(count, factories)
  local groups = math.max(1, math.min(MOST_GROUPS, count // PER_GROUP))
  local text = { BEGIN }
  for group = 1, groups do
    text[#text + 1] = GROUP:gsub("_G", "_" .. group):gsub("%f[%w]G%f[%W]", group)
    if factories then
      text[#text + 1] = FACTORY:gsub("_G", "_" .. group)
    end
  end
  local routes = {}
  for number = 1, count - groups - OWN do
    local group, what = number % groups + 1, number // groups % 10
    if factories then
      local made = "M.made_%d = make_%d(%d, 'made_%d')\n"
      text[#text + 1] = made:format(number, group, number, number)
    elseif what < 3 then
      local name = "transfer_" .. number
      text[#text + 1] = "function M." .. name .. body(TRANSFER, number, group, name)
    elseif what < 5 then
      local name = "limited_" .. number
      text[#text + 1] = "function M." .. name .. body(LIMITED, number, group, name)
    elseif what < 7 then
      local name = "described_" .. number
      text[#text + 1] = "function M." .. name .. body(DESCRIBED, number, group, name)
    elseif what == 7 then
      local name = "skill_" .. number
      local class = number % 2 == 0 and "Unit:" or "Hero:"
      text[#text + 1] = "function " .. class .. name .. body(METHOD, number, group, name)
    else
      local name = "on_" .. number
      routes[group] = routes[group] or {}
      table.insert(routes[group], name .. " = function" .. body(HANDLED, number, group, name))
    end
  end
  for group = 1, groups do
    if routes[group] then
      local handlers = table.concat(routes[group], ",\n")
      text[#text + 1] =
        ("M.routes.area_%d = { name = %q, level = %d, handlers = {\n%s} }\n")
        :format(group, "area", group, handlers)
    end
  end
  text[#text + 1] = END
  return table.concat(text)
end
