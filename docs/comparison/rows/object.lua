-- An object that was made before has the new methods of its class.
local case = ...
local source = [[
  local Player = {}
  Player.__index = Player
  function Player.new(name) return setmetatable({ name = name }, Player) end
  function Player:greet() return "%s " .. self.name end
  return Player
]]
case.write("player", source:format "hello")
local ann = require "player".new "ann"
case.write("player", source:format "welcome")
case.reload "player"
return ann:greet() == "welcome ann"
