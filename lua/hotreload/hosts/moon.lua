-- require "hotreload.hosts.moon": hotreload in a service of moon.
--
--    -- in the script of each service, before it requires what is to be hot
--    require "hotreload.hosts.moon"
--
--    -- in one service of the node
--    require "hotreload.hosts.moon".coordinate()
--
--    -- in any service that takes commands; may wait
--    local ok, text = require "hotreload.hosts.moon".run("battle.skill", "plan")
--
-- The library itself is not loaded before a service is asked for something.

local common = require "hotreload.hosts.common"
local moon = require "moon"
local codecache = require "codecache"

local ipairs, pairs, type = ipairs, pairs, type
local coroutine, table, tonumber, tostring = coroutine, table, tonumber, tostring
local format = string.format
local loaded = package.loaded

---@type hotreload.hosts.moon
local adapter = {}

local function now() return moon.clock() end

------------------------------------------------------------------------------------------------
-- The agent

local script = common.script()

local function stand_in()
    common.stand_in(moon, "moon", {
        wait = "wait", call = "wait", sleep = "wait", new_service = "wait",
        scan_services = "wait", quit = "wait",
        send = "once", raw_send = "once", timeout = "once", async = "once", kill = "once",
        wakeup = "once", env_packed = "once", exit = "once",
    })
end

stand_in()

-- The table of protocols, and the debug commands of moon, are local to it.
local protocols = common.upvalue(moon.dispatch, "protocol")
local commands = common.upvalue(protocols.debug.dispatch, "debug_command")

local host = common.barrier(function() return protocols end, { "lua", "text" },
    function() coroutine.yield() end, function(co) moon.timeout(0, function()
        coroutine.resume(co)
    end) end)
host.now, host.cache = now, codecache
function host.script() return script end
--- What this host shares between states: sharetable's clones.
function host.shared()
    local list, tables = {}, loaded["sharetable"]
    local record = type(tables) == "table" and common.upvalue(tables.query, "RECORD")
    for _, clones in pairs(record or {}) do
        for clone in pairs(clones) do list[#list + 1] = clone end
    end
    return list
end

--- Loads the library, for a service that calls gg.reload itself: its own script is a module then.
---@see hotreload.hosts.moon in meta.lua
function adapter.attach() return require "hotreload.hosts.agent".attach(host) end

local agent

function commands.hotreload(_, _, request)
    agent = agent or require "hotreload.hosts.agent".new(host)
    return agent(request)
end

------------------------------------------------------------------------------------------------
-- The coordinator

--- Services of all workers.
local function list()
    local found, json = {}, require "json"
    for worker = 1, tonumber(moon.env "THREAD_NUM") do
        local text = moon.scan_services(worker)
        for _, service in ipairs(text and text ~= "" and json.decode(text) or {}) do
            local address = tonumber(service.serviceid, 16)
            found[#found + 1] = { address = address,
                title = format(":%08x %s", address, service.name) }
        end
    end
    table.sort(found, function(a, b) return a.address < b.address end)
    return found
end

local function call(address, request)
    local answer, message = moon.call("debug", address, "hotreload", request)
    if type(answer) == "string" then -- it knows no such command
        return { ok = false, stranger = true, message = "it has not required hotreload.hosts.moon" }
    end
    return answer or nil, message
end

local engine = {
    now = now, list = list, call = call, fork = moon.async,
    sleep = function(seconds) moon.sleep(seconds * 1000 // 1 | 0) end,
    -- moon.wakeup sends a message first; until that comes the coroutine may wait for another one.
    wakeup = function(co) coroutine.resume(co, false, "BREAK") end,
}

-- Where a node's coordinator is: a variable of moon's environment.
local WHERE = "HOTRELOAD_COORDINATOR"

-- In the service that coordinates: the module, and coordinators of its services and of nodes.
local coordinators, services, nodes

--- Makes this service the coordinator of its node, and returns that.
---@see hotreload.hosts.moon in meta.lua
function adapter.coordinate()
    coordinators = require "hotreload.hosts.coordinator"
    services = services or coordinators.new(coordinators.transport(engine), {
        -- Services that are started from now on take the new file.
        commit = codecache.clear,
    })
    moon.env(WHERE, tostring(moon.id))
    return services
end

function commands.hotreload_run(_, _, words, who)
    return { coordinators.execute(nodes or services, words, who) }
end

function commands.hotreload_answer(_, _, request) return services:answer(request) end

--- The service that coordinates, or nil and a message.
local function coordinating()
    local variable = moon.env(WHERE)
    local where = variable and tonumber(variable)
    if where then return where end
    return nil, "no service of this node has called coordinate()"
end

--- Answers a request of another node that is about this one; may wait.
---@see hotreload.hosts.moon in meta.lua
function adapter.answer(request)
    if services then return services:answer(request) end
    local where, message = coordinating()
    if not where then return { ok = false, message = message } end
    local answer, why = moon.call("debug", where, "hotreload_answer", request)
    return answer or { ok = false, message = tostring(why) }
end

--- In the service that coordinates: lets its commands be about these nodes. `reach(name, request)`
--- brings a request to the node of that name, whose `answer` answers it, and returns that.
---@see hotreload.hosts.moon in meta.lua
function adapter.fleet(names, reach) nodes = coordinators.fleet(engine, names, reach) end

--- Runs a command in the node's coordinator; may wait. Returns whether it was carried out, and a
--- text.
---@see hotreload.hosts.moon in meta.lua
function adapter.run(...)
    local who = format(":%08x %s", moon.id, moon.name)
    if services then return coordinators.execute(nodes or services, { ... }, who) end
    local where, why = coordinating()
    if not where then return false, why end
    local result, message = moon.call("debug", where, "hotreload_run", { ... }, who)
    if type(result) ~= "table" then return false, tostring(message) end
    return result[1], result[2]
end

return adapter
