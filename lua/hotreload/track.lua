-- Modules that `require` loads get a record, too (R8): `hotreload.track`.
-- Part of the library (src/lua/open.rs includes it).
--
-- One function stands in `package.searchers`, in the place of the first searcher, which it asks first; so the others
-- stand where they stood, and what a host puts there later counts. Of a module that is to be tracked it looks for the
-- loader as `require` does, and hands back one that calls it. No error is caught on the way, so messages and tracebacks
-- are those of the loader.

local core = ...
local allow, call = core.allow, core.call

local error, next, pcall, rawequal, rawget, rawset, setmetatable, type = error, next, pcall, rawequal, rawget, rawset,
    setmetatable, type
local format = string.format
local globals, loaded = _G, package.loaded

-- For the collector: what a load's record allocates is its business at once.
local OWED = 1 << 62

local track = {}

-- The function in `package.searchers`, and the searcher that it stands for.
local standing = core.standing
local FINDER, SEARCHER = core.layout.standing.finder, core.layout.standing.searcher
local WATCH = core.layout.load.watch
-- The patterns; false before the first call.
local wanted = false
-- Loads: { watch, or false when it has ended }. A coroutine that is dropped in one takes it out.
local loads = setmetatable({}, { __mode = "k" })

-- Its end is native: no error from outside can come between.
local Load = { __close = core.unwatch }

local function is_one_under_way()
    for load in next, loads do
        if load[WATCH] then return true end
    end
end

local function searchers()
    local package = rawget(loaded, "package")
    local list = type(package) == "table" and rawget(package, "searchers")
    return type(list) == "table" and list or nil
end

--- Where the function stands in the list; nothing where it does not.
local function place_in(list)
    for i = 1, #list do
        if rawequal(rawget(list, i), standing[FINDER]) then return i end
    end
end

--- Makes `hotreload.track`. `note(name, object, watch, code, before, value)` puts down what a load has left.
---@see hotreload.track in meta.lua
function track.install(hotreload, note)
    local function take(name, code, before, watch, value)
        local object = value
        if object == nil then object = rawget(loaded, name) end
        if object == nil then object = true end
        note(name, object, watch, code, before, value)
    end

    --- After the loader: no more of its objects are noted, and what it left is put down. Memory that is short costs the
    --- record, not the load.
    local function finish(name, code, before, load, ...)
        local watch = load[WATCH]
        core.unwatch(load)
        if watch and before then pcall(take, name, code, before, watch, (...)) end
        return ...
    end

    --- Begins a load; returns what the globals hold, if it is to be tracked.
    local function begin(load, tracked)
        local before = tracked and {}
        for name, value in next, before and globals or {} do before[name] = value end
        loads[load] = true
        local _, watch = core.watch(OWED, not tracked)
        load[WATCH] = watch
        return before
    end

    --- Calls the loader, whose code is `code`.
    local function run(name, tracked, code, loader, ...)
        local load <close> = setmetatable({ [WATCH] = false }, Load)
        local _, before = pcall(begin, load, tracked)
        return finish(name, code, before, load, call(loader, ...))
    end

    local function matches(name)
        return type(name) == "string" and wanted and allow.matching(wanted, name) ~= nil
    end

    local function first(name)
        if standing[SEARCHER] then return call(standing[SEARCHER], name) end
    end

    local function find(name)
        local tracked = matches(name)
        if not tracked and not is_one_under_way() then return first(name) end
        local loader, data = first(name)
        if type(loader) ~= "function" then
            local list, message = searchers(), loader
            local i = list and (place_in(list) or 1) + 1
            while list and type(loader) ~= "function" do
                local searcher = rawget(list, i)
                if searcher == nil then return message end
                loader, data = call(searcher, name)
                i = i + 1
            end
        end
        -- A C module is loaded as it is: nothing of it is ever reloaded.
        local code = type(loader) == "function" and core.code_of(loader)
        if not code then return loader, data end
        return function(...) return run(name, tracked, code, loader, ...) end, data
    end

    function hotreload.track(...)
        local patterns = ...
        if patterns == nil then patterns = "" end
        local wrong = allow.check(patterns)
        if wrong then error(format("bad argument #1 to 'track' (%s)", wrong), 2) end
        local list = searchers()
        if not list then return false, "'package.searchers' must be a table" end
        wanted = allow.list(patterns)
        if not standing[FINDER] or not place_in(list) then
            standing[FINDER], standing[SEARCHER] = find, rawget(list, 1)
            rawset(list, 1, find)
        end
        return true
    end
end

return track
