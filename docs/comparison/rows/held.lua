-- A function that another module holds in a local is new.
local case = ...
case.write("battle", "return { hit = function() return 1 end }")
case.write("world", [[
  local hit = require("battle").hit
  return { tick = function() return hit() end }
]])
local world = require "world"
case.write("battle", "return { hit = function() return 5 end }")
case.reload "battle"
return world.tick() == 5
