-- Connections: lines in, lines out, for players and admins. Nothing waits for anybody but `select`.

local socket = require "socket"
local timers = require "timers"

local server = {}

-- The state of the server. A reload keeps these tables, and everything that hangs off them.
local listeners = {} -- kind → listening socket
-- socket → { kind, socket, out = lines to be sent, data = what the handlers keep for it }
local connections = {}
local is_running = true

-- Who handles what. By name: the handler is looked up when a line comes in, so it is always the
-- newest.
local HANDLERS = { players = "commands", admins = "admin" }

--- Listens on 127.0.0.1; port 0 stands for any free one.
function server.listen(port, kind)
  local listener = assert(socket.bind("127.0.0.1", port))
  listener:settimeout(0)
  listeners[kind] = listener
end

function server.port(kind)
  return select(2, listeners[kind]:getsockname())
end

--- Until it is stopped, and all that there was to say is sent.
function server.is_running()
  for _, connection in pairs(connections) do
    if connection.out[1] then return true end
  end
  return is_running
end

function server.stop()
  is_running = false
end

function server.send(connection, line)
  connection.out[#connection.out + 1] = line .. "\n"
end

--- Sends a line to all players.
function server.broadcast(line)
  for _, connection in pairs(connections) do
    if connection.kind == "players" then server.send(connection, line) end
  end
end

--- Ends a connection when all that it has to say is sent.
function server.close(connection)
  connection.closing = true
end

local function flush(connection)
  local text = table.concat(connection.out)
  local sent, message, partial = connection.socket:send(text)
  local rest = text:sub((sent or partial) + 1)
  connection.out = rest ~= "" and { rest } or {}
  return message == "closed" or connection.closing and rest == ""
end

local function drop(connection)
  connections[connection.socket] = nil
  connection.socket:close()
end

local function accept(listener, kind)
  local client = listener:accept()
  if client then
    client:settimeout(0)
    connections[client] = { kind = kind, socket = client, out = {}, partial = "", data = {} }
  end
end

local function receive(connection)
  local line, message, partial = connection.socket:receive("*l", connection.partial)
  connection.partial = line and "" or partial
  if not line then return message == "closed" end
  local handler = require(HANDLERS[connection.kind])
  local ok, err = xpcall(handler.handle, debug.traceback, connection, line)
  if not ok then
    print(err)
    server.send(connection, "error: your request failed")
  end
end

--- One turn of the loop: what has come in, what is due, what can be sent.
function server.step()
  local readers, writers = {}, {}
  for _, listener in pairs(listeners) do readers[#readers + 1] = listener end
  for _, connection in pairs(connections) do
    readers[#readers + 1] = connection.socket
    if connection.out[1] then writers[#writers + 1] = connection.socket end
  end
  local readable, writable = socket.select(readers, writers, 0.02)
  for kind, listener in pairs(listeners) do
    if readable[listener] then accept(listener, kind) end
  end
  for _, ready in ipairs(readable) do
    local connection = connections[ready]
    if connection and receive(connection) then drop(connection) end
  end
  timers.advance(socket.gettime())
  for _, ready in ipairs(writable) do
    local connection = connections[ready]
    if connection and flush(connection) then drop(connection) end
  end
end

return server
