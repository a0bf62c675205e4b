-- One player: fights all the time, as players do.
local skynet = require "skynet"
local skill = require "battle.skill"

local world, name = ...
world = tonumber(world)

local rounds = 0

local command = {}

function command.status()
    return ("%s: %d rounds, %s"):format(name, rounds, skill.describe())
end

local function fight()
    while true do
        skynet.sleep(50)
        rounds = rounds + 1
        skynet.send(world, "lua", "hit", skill.hit(rounds))
    end
end

skynet.start(function()
    skynet.dispatch("lua", function(_, _, cmd, ...)
        skynet.ret(skynet.pack(command[cmd](...)))
    end)
    skynet.fork(fight)
end)
