-- What players may type.

local accounts = require "accounts"
local battle = require "battle"
local server = require "server"

local commands = {}

local handlers = {}

function handlers.login(connection, name)
  if not name:find "^%a+$" then return server.send(connection, "login NAME") end
  connection.data.account = accounts.login(name)
  server.send(connection, "welcome " .. accounts.describe(connection.data.account))
end

function handlers.hit(connection)
  battle.hit(connection, connection.data.account)
end

function handlers.rest(connection, seconds)
  battle.rest(connection, connection.data.account, tonumber(seconds) or 1)
end

function handlers.me(connection)
  server.send(connection, accounts.describe(connection.data.account))
end

function handlers.quit(connection)
  server.send(connection, "bye")
  server.close(connection)
end

--- Handles one line of a player.
function commands.handle(connection, line)
  local name, rest = line:match "^%s*(%S+)%s*(.-)%s*$"
  local handler = handlers[name]
  if not handler then
    server.send(connection, "what?")
  elseif name ~= "login" and name ~= "quit" and not connection.data.account then
    server.send(connection, "login first")
  else
    handler(connection, rest)
  end
end

return commands
