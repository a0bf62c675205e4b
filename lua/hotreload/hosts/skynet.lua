-- require "hotreload.hosts.skynet": hotreload in a service of skynet 1.x, and its console command.
--
--    -- the file that the configuration names as `preload`
--    require "hotreload.hosts.skynet"
--
--    -- once, in the function of skynet.start of the first service
--    require "hotreload.hosts.skynet".launch()
--
-- The library itself is not loaded before a service is asked for something.

local common = require "hotreload.hosts.common"
local skynet = require "skynet"
local codecache = require "skynet.codecache"
local debugging = require "skynet.debug"

local error, ipairs, pairs, pcall, type = error, ipairs, pairs, pcall, type
local table, tonumber, tostring = table, tonumber, tostring
local format = string.format
local loaded = package.loaded

---@type hotreload.hosts.skynet
local adapter = {}

-- The loader of skynet has the name of the preload file until that was run.
local in_preload = rawget(_G, "LUA_PRELOAD") ~= nil

local function now()
    return skynet.hpc and skynet.hpc() / 1e9 or skynet.now() / 100
end

------------------------------------------------------------------------------------------------
-- The agent

-- The service's own script: { name, path, object }.
local script

local start = skynet.start
function skynet.start(f)
    local name, source = rawget(_G, "SERVICE_NAME"), debug.getinfo(f, "S").source
    if script then
        error("this service has started already; a service that reloads its own script calls "
            .. "require \"hotreload.hosts.skynet\".attach() before gg.reload", 2)
    elseif name and source:sub(1, 1) == "@" then
        script = { name = name, path = source:sub(2), object = { start = f } }
    end
    return start(f)
end

local function stand_in()
    common.stand_in(skynet, "skynet", {
        call = "wait", rawcall = "wait", tracecall = "wait", sleep = "wait", wait = "wait",
        yield = "wait", exit = "wait", newservice = "wait", uniqueservice = "wait",
        queryservice = "wait",
        send = "once", rawsend = "once", redirect = "once", timeout = "once", fork = "once",
        setenv = "once", register = "once", name = "once", kill = "once", abort = "once",
        launch = "once", monitor = "once", memlimit = "once", forward_type = "once",
        filter = "once",
        init = "later",
        -- The script's object leads to all that it has (common.lua).
        start = function(_, f)
            if script then loaded[script.name] = { start = f } end
        end,
        -- The class of the last load makes way, and goes on with the functions of this one.
        register_protocol = function(real, class)
            local protocols = skynet._proto
            if not protocols or not protocols[class.name] then return real(class) end
            protocols[class.name], protocols[class.id] = class, class
        end,
    })
end

stand_in()

--- What this host shares between states: sharetable's clones and sharedata's boxes.
local function shared()
    local list = {}
    local tables, data = loaded["skynet.sharetable"], loaded["skynet.sharedata"]
    local record = type(tables) == "table" and common.upvalue(tables.query, "RECORD")
    for _, clones in pairs(record or {}) do
        for clone in pairs(clones) do list[#list + 1] = clone end
    end
    local cache = type(data) == "table" and common.upvalue(data.query, "cache")
    for _, box in pairs(cache or {}) do list[#list + 1] = box end
    return list
end

local host = common.barrier(function() return skynet._proto or {} end,
    { "lua", "client", "snax", "text" }, function() skynet.wait() end, skynet.wakeup)
host.now = now
function host.script() return script end
function host.shared()
    stand_in() -- skynet.manager may have come in between
    return shared()
end

host.cache = codecache

--- Loads the library, for a service that calls gg.reload itself: its own script is a module then.
---@see hotreload.hosts.skynet in meta.lua
function adapter.attach() return require "hotreload.hosts.agent".attach(host) end

-- skynet's `require` asks no searcher where it runs on a coroutine, but calls `loadfile`: what it
-- loads has a record as well.
local function note_loads(host_require)
    local environment = setmetatable({
        loadfile = function(path)
            local loader, message = loadfile(path)
            if not loader or not loaded.hotreload then return loader, message end
            return function(name, ...)
                return loaded.hotreload.tracked(name, loader)(name, ...)
            end
        end,
    }, { __index = _G })
    for i = 1, 255 do
        local name = debug.getupvalue(host_require, i)
        if name == nil then return end
        if name == "_ENV" then
            debug.upvaluejoin(host_require, i, function() return environment end, 1)
        end
    end
end

note_loads(require "skynet.require".require)

local agent

debugging.reg_debugcmd("HOTRELOAD", function(request)
    agent = agent or require "hotreload.hosts.agent".new(host)
    skynet.ret(skynet.pack(agent(request)))
end)

------------------------------------------------------------------------------------------------
-- The coordinator

--- Services: the launcher's, but for those that are no Lua.
local function list()
    local found = {}
    for address, command in pairs(skynet.call(".launcher", "lua", "LIST")) do
        local name = command:match "^snlua (.*)$"
        if name then
            found[#found + 1] = { address = tonumber(address:sub(2), 16),
                title = address .. " " .. name }
        end
    end
    table.sort(found, function(a, b) return a.address < b.address end)
    return found
end

-- Services that are known to have an agent; all have one where the preload file gives it to them.
local known = {}

local MEET = [[
local ok, why = pcall(require, "hotreload.hosts.skynet")
if not ok then print(why) end]]

local function call(address, request)
    if not in_preload and not known[address] then
        local ran, output = skynet.call(address, "debug", "RUN", MEET, "=hotreload")
        if not ran or output ~= "" then
            return { ok = false, stranger = true, message = output }
        end
        known[address] = true
    end
    return skynet.call(address, "debug", "HOTRELOAD", request)
end

local engine = {
    now = now, list = list, call = call, fork = skynet.fork, wakeup = skynet.wakeup,
    sleep = function(seconds) skynet.sleep(math.ceil(seconds * 100)) end,
}

-- In the service that coordinates: the module, and coordinators of its services and of nodes.
local coordinators, services, nodes

--- What a command of these words does. `fd`: a socket that gets the progress.
local function run(words, fd, who)
    return coordinators.execute(nodes or services, words, who, fd and function(text)
        require "skynet.socketdriver".send(fd, text .. "\n")
    end)
end

local function console_of_debugger()
    local socket = loaded["skynet.socket"]
    local pool = type(socket) == "table" and common.upvalue(socket.start, "socket_pool")
    for _, one in pairs(pool or {}) do
        local accept = type(one) == "table" and one.callback
        local commands = type(accept) == "function" and common.upvalue(accept, "COMMANDX")
        if commands then return commands end
    end
end

--- In the state of a debug console: gives it the command `hotreload`. Returns whether it has it.
---@see hotreload.hosts.skynet in meta.lua
function adapter.console()
    local commands = console_of_debugger()
    if not commands then return false end
    function commands.hotreload(split)
        local words = {}
        for i = 2, #split do words[i - 1] = split[i] end
        local ok, text = skynet.call(".hotreload", "lua", "run", words, split.fd, "the console")
        if not ok then error(text, 0) end
        return text
    end
    return true
end

-- A console that is started later: it listens soon.
if rawget(_G, "SERVICE_NAME") == "debug_console" then
    local tries = 0
    local function try()
        tries = tries + 1
        if not adapter.console() and tries < 50 then skynet.timeout(10, try) end
    end
    skynet.timeout(10, try)
end

--- Makes this service the coordinator, under the name `.hotreload`.
---@see hotreload.hosts.skynet in meta.lua
function adapter.coordinate()
    require "skynet.manager"
    coordinators = require "hotreload.hosts.coordinator"
    services = services or coordinators.new(coordinators.transport(engine), {
        -- Services that are started from now on take the new file.
        commit = codecache.clear,
    })
    skynet.dispatch("lua", function(_, _, command, ...)
        if command == "run" then
            skynet.ret(skynet.pack(run(...)))
        elseif command == "answer" then
            skynet.ret(skynet.pack(services:answer(...)))
        elseif command == "fleet" then
            adapter.fleet(...)
            skynet.ret(skynet.pack(true))
        else
            error(format("no command '%s'", tostring(command)))
        end
    end)
    -- For a console without the command: dbgcmd .hotreload run battle.skill plan
    debugging.reg_debugcmd("run", function(...)
        local _, text = run({ ... }, nil, "the console")
        skynet.ret(skynet.pack(text))
    end)
    skynet.register ".hotreload"
    for _, target in ipairs(list()) do
        if target.title:find " debug_console" then
            pcall(skynet.call, target.address, "debug", "RUN",
                'require "hotreload.hosts.skynet".console()', "=hotreload")
        end
    end
end

--- Starts the coordinator as a service of its own; may wait. Returns its address.
---@see hotreload.hosts.skynet in meta.lua
function adapter.launch()
    return require "skynet.service".new("hotreload", function()
        require "skynet".start(function() require "hotreload.hosts.skynet".coordinate() end)
    end)
end

--- Runs a command as the console does, from any service; may wait.
---@see hotreload.hosts.skynet in meta.lua
function adapter.run(...)
    return skynet.call(".hotreload", "lua", "run", { ... }, nil, skynet.address(skynet.self()))
end

------------------------------------------------------------------------------------------------
-- Several nodes

--- In the coordinator's service: lets its commands be about these nodes. `reach(name, request)`
--- brings a request to one's coordinator. Without it that is skynet.cluster, where the nodes have
--- to have registered theirs: cluster.register("hotreload", address).
---@see hotreload.hosts.skynet in meta.lua
function adapter.fleet(names, reach)
    nodes = coordinators.fleet(engine, names, reach or function(node, request)
        return require "skynet.cluster".call(node, "@hotreload", "answer", request)
    end)
end

return adapter
