-- What all agents tell of themselves.
local skynet = require "skynet"

local hits, damage = 0, 0

local command = {}

function command.hit(amount)
    hits, damage = hits + 1, damage + amount
end

function command.report() return hits, damage end

skynet.start(function()
    skynet.dispatch("lua", function(session, _, name, ...)
        if session == 0 then return command[name](...) end
        skynet.ret(skynet.pack(command[name](...)))
    end)
end)
