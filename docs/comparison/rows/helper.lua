-- A local function of the file, which its other functions call, is new.
local case = ...
local source = [[
  local battle = {}
  local function damage() return %d end
  function battle.hit() return damage() end
  return battle
]]
case.write("battle", source:format(1))
assert(require "battle".hit() == 1)
case.write("battle", source:format(5))
case.reload "battle"
return require "battle".hit() == 5
