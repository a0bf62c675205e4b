-- redis-lua: a client whose commands are closures, talking to a connection that is none.

local function fake(answers)
  local sent, socket = {}, {}
  function socket.send(_, data)
    sent[#sent + 1] = data
    return #data
  end
  function socket.receive(_, what)
    local line = table.remove(answers, 1)
    if type(what) == "number" then return line .. "\r\n" end
    return line
  end
  return socket, sent
end

return {
  debian = "lua-redis",

  use = function()
    local redis = require "redis"
    local socket, sent = fake { "+OK", "$5", "value", ":3", "-ERR no", "*2", "$1", "a", "$1", "b" }
    local client = redis.connect { socket = socket }
    local answers = { tostring(client:set("key", "value")), client:get "key",
      tostring(client:incr "n") }
    local ok, message = pcall(client.get, client, "bad")
    answers[4], answers[5] = tostring(ok), message
    answers[6] = table.concat(client:lrange("list", 0, 1), ",")
    return table.concat(answers, "|") .. ("%q"):format(table.concat(sent))
  end,

  objects = function()
    local redis = require "redis"
    redis.commands.shout = redis.command("SHOUT",
      { response = function(reply) return reply:upper() end })
    local answers = {}
    local socket = fake(answers)
    local client = redis.connect { socket = socket }
    return function()
      for _, line in ipairs { "+quiet", "+PONG" } do answers[#answers + 1] = line end
      return client:shout() .. tostring(client:ping())
    end
  end,
}
