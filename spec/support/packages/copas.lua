-- Copas: a scheduler of coroutines over LuaSocket; a server and its clients, in one process.

local socket = require "socket"

--- Starts an echo server; returns its port.
local function serve(copas, count)
  local server = assert(socket.bind("127.0.0.1", 0))
  copas.addserver(server, function(connection)
    local wrapped = copas.wrap(connection)
    while true do
      local line = wrapped:receive()
      if not line then return end
      count(line)
      wrapped:send(line:upper() .. "\n")
    end
  end)
  return select(2, server:getsockname())
end

--- Says something to the server; returns what it answers.
local function ask(copas, port, text)
  local answer
  copas.addthread(function()
    local client = copas.wrap(socket.tcp())
    copas.connect(client.socket, "127.0.0.1", port)
    client:send(text .. "\n")
    answer = client:receive()
    client.socket:close()
  end)
  for _ = 1, 1000 do
    if answer then break end
    copas.step(0.01)
  end
  return tostring(answer)
end

return {
  debian = "lua-copas",

  use = function()
    local copas, heard = require "copas", {}
    local port = serve(copas, function(line) heard[#heard + 1] = line end)
    return ask(copas, port, "hello") .. ask(copas, port, "you") .. table.concat(heard, ",")
      .. " were heard"
  end,

  objects = function()
    local copas, lines = require "copas", 0
    local port = serve(copas, function() lines = lines + 1 end)
    return function()
      local before = lines
      return ask(copas, port, "still there") .. lines - before
    end
  end,
}
