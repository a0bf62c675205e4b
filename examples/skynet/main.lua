-- The first service: the console, the coordinator of reloads, and the agents.
local skynet = require "skynet"

skynet.start(function()
    skynet.newservice("debug_console", tonumber(skynet.getenv "console"))
    require "hotreload.hosts.skynet".launch()
    local world = skynet.newservice "world"
    for i = 1, tonumber(skynet.getenv "agents") do
        skynet.newservice("agent", world, "player" .. i)
    end
    skynet.error "the game has begun"
end)
