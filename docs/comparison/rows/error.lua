-- A file that raises an error changes nothing, though it has changed other modules before.
local case = ...
case.write("settings", "return { rate = 1 }")
case.write("game", "return { version = function() return 1 end }")
local settings, game = require "settings", require "game"
stage = "running" -- luacheck: ignore 111
case.write("game", [[
  stage = "loading"
  require("settings").rate = 2
  local count = nil + 1
  return { version = function() return count end }
]])
case.reload "game"
return stage == "running" and settings.rate == 1 -- luacheck: ignore 113
  and require "game" == game and game.version() == 1
