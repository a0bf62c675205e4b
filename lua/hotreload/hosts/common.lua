-- require "hotreload.hosts.common": what a host's services must not do twice.
--
-- A host (skynet, moon, silly, your own) has many Lua states, its services. This part is for each
-- of them: it puts functions in front of the engine's, so that a file can be run again. The agent
-- (agent.lua) answers requests, the coordinator (coordinator.lua) asks all services: docs/hosts.md.

local error, ipairs, pairs = error, ipairs, pairs
local setmetatable, type = setmetatable, type
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue
local pack, unpack = table.pack, table.unpack
local format = string.format

---@type hotreload.hosts.common
local common = {}

-- The module whose chunk a reload runs; false at any other time.
local loading = false
-- What that chunk would have done: the tables are the host's own, so no reload takes them back.
local left_out, kept = {}, {}

--- Is a new dependency of the reloaded module what is being loaded? Its main chunk has its name as
--- an argument, and is nearer than that of the module.
local function is_dependency()
    for level = 3, 200 do
        local info = getinfo(level, "Sf")
        if not info then return false end
        if info.what == "main" then
            local _, name = getlocal(level, -1)
            return type(name) == "string" and name ~= loading
        end
    end
    return false
end

local function place()
    for level = 3, 200 do
        local info = getinfo(level, "Sl")
        if not info then return "?" end
        if info.currentline > 0 then return format("%s:%d", info.short_src, info.currentline) end
    end
    return "?"
end

local function note(title, what)
    left_out[#left_out + 1] = format("%s: %s %s", place(), title, what)
end

-- What stands in for a function while a reload runs a chunk.
local ways = {}

--- It would wait, which a chunk cannot. Nothing has been sent or noted when this raises.
function ways.wait(title)
    error(format("%s would wait, which a file cannot do while it is reloaded; "
        .. "call it in a function, or in __hotfix", title), 0)
end

--- It was done when the file was loaded first. A new dependency needs it, once the reload is done.
function ways.once(title, real, ...)
    if not is_dependency() then return note(title, "is not called again by a reload") end
    local arguments = pack(...)
    kept[#kept + 1] = function() real(unpack(arguments, 1, arguments.n)) end
end

--- As `once`, for a function whose argument is called when a module was loaded.
function ways.later(_, _, f)
    if is_dependency() then kept[#kept + 1] = f end
end

-- Weakly: the functions that stand in front of others.
local standing = setmetatable({}, { __mode = "k" })

--- Puts a function in front of each of an engine's: `how` has the engine's names for each way
--- (`wait`, `once`, `later`), or a function that stands in and gets the engine's own one first.
--- What is missing, or was done before, is left alone.
---@see hotreload.hosts.common in meta.lua
function common.stand_in(module, title, how)
    for name, way in pairs(how) do
        local real, whole = module[name], title .. "." .. name
        if type(real) == "function" and not standing[real] then
            local instead = ways[way]
            module[name] = function(...)
                if not loading then return real(...) end
                if instead then return instead(whole, real, ...) end
                return way(real, ...)
            end
            standing[module[name]] = true
        end
    end
end

-- Tables that no walk enters: those of this file, and what the host shares between states.
local skipped = setmetatable({}, { __mode = "v" })

local function empty(list)
    for i = #list, 1, -1 do list[i] = nil end
end

--- Loads the library and tells it of this host: around each chunk, and in no walk, nor in those
--- tables that the host shares between states. What chunks left out before is forgotten. `cache`:
--- the engine's cache of compiled files, which may have an old text; no chunk loads from it then.
---@see hotreload.hosts.common in meta.lua
function common.attach(shared, cache)
    local hotreload = require "hotreload"
    empty(left_out)
    empty(kept)
    for i in pairs(skipped) do skipped[i] = nil end
    skipped[1], skipped[2] = left_out, kept
    for i, object in ipairs(shared) do skipped[i + 2] = object end
    local mode
    hotreload.configure {
        skip = skipped,
        chunk = {
            before = function(name)
                -- A first load does everything itself.
                loading = hotreload.reloading() and name or false
                if cache then
                    mode = cache.mode()
                    cache.mode "OFF"
                end
            end,
            after = function()
                loading = false
                if mode then cache.mode(mode) end
                mode = nil
            end,
        },
    }
    return hotreload
end

--- What chunks have left out since `attach`: a list of texts.
---@see hotreload.hosts.common in meta.lua
function common.left_out() return left_out end

--- Runs what new dependencies kept for later. It may wait.
---@see hotreload.hosts.common in meta.lua
function common.run_kept()
    local list = {}
    for i, f in ipairs(kept) do list[i], kept[i] = f, nil end
    for _, f in ipairs(list) do f() end
end

--- For an agent: holds new messages back. `protocols` returns the engine's table, name or number →
--- class with a `dispatch`; of these only the names in `of` are held. `wait` lets a message wait,
--- and `wakeup(co)` lets it go on.
---@see hotreload.hosts.common in meta.lua
function common.barrier(protocols, of, wait, wakeup)
    -- While messages are held, per protocol: { dispatch of the service, dispatch that holds }.
    local held, waiting = false, {}
    local function set()
        for _, name in ipairs(of) do
            local class = protocols()[name]
            if class and class.dispatch then
                local function holder(...)
                    waiting[#waiting + 1] = coroutine.running()
                    wait()
                    return class.dispatch(...)
                end
                held[name] = { class.dispatch, holder }
                class.dispatch = holder
            end
        end
    end
    local function lift()
        for name, pair in pairs(held) do
            local class = protocols()[name]
            if class and class.dispatch == pair[2] then class.dispatch = pair[1] end
            held[name] = nil
        end
    end
    return {
        hold = function()
            if held then return end
            held = {}
            set()
        end,
        release = function()
            if not held then return end
            lift()
            held = false
            local list = waiting
            waiting = {}
            for _, co in ipairs(list) do wakeup(co) end
        end,
        -- A reload sees the service's own functions.
        before = function() if held then lift() end end,
        after = function() if held then set() end end,
    }
end

--- The script that this runs in: the outermost main chunk, { name, path }; nothing where it has no
--- file.
---@see hotreload.hosts.common in meta.lua
function common.script()
    local source
    for level = 1, 200 do
        local info = getinfo(level, "S")
        if not info then break end
        if info.what == "main" then source = info.source end
    end
    local path = source and source:match "^@(.*)$"
    local name = path and path:match "([^/\\]+)%.lua$"
    return name and { name = name, path = path } or nil
end

--- The value of an upvalue of that name: of the function, or of those that its upvalues hold.
---@see hotreload.hosts.common in meta.lua
function common.upvalue(f, wanted, depth)
    local functions = {}
    for i = 1, 255 do
        local name, value = getupvalue(f, i)
        if name == nil then break end
        if name == wanted then return value end
        if type(value) == "function" then functions[#functions + 1] = value end
    end
    for i = 1, (depth or 3) > 0 and #functions or 0 do
        local value = common.upvalue(functions[i], wanted, (depth or 3) - 1)
        if value ~= nil then return value end
    end
end

return common
