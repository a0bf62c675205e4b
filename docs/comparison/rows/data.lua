-- Data in the module's tables stay as the program has made them.
local case = ...
local source = [[
  local world = { open = false, players = {}, limits = { guests = 10 } }
  function world.version() return %d end
  return world
]]
case.write("world", source:format(1))
local world = require "world"
world.open, world.players.ann, world.limits.guests = true, { gold = 10 }, 50
case.write("world", source:format(2))
case.reload "world"
world = require "world"
return world.version() == 2 and world.open and world.limits.guests == 50
  and world.players.ann ~= nil and world.players.ann.gold == 10
