-- The battle: one dummy that all players hit.

local server = require "server"
local socket = require "socket"
local timers = require "timers"

local battle = {}

local total = 0 -- damage that the dummy has taken from everybody

local function damage(account)
  return 10 + account.experience // 100
end

function battle.hit(connection, account)
  local points = damage(account)
  total = total + points
  account.experience = account.experience + 10
  server.send(connection, ("you hit for %d, %d in all"):format(points, total))
end

--- A rest takes some seconds.
function battle.rest(connection, account, seconds)
  timers.after(socket.gettime(), seconds, "battle", "rested", connection, account)
  server.send(connection, "you lie down")
end

function battle.rested(connection, account)
  server.send(connection, ("you get up, %s"):format(account.name))
end

return battle
