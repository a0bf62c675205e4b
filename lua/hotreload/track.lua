-- Modules that `require` loads get a record (R8): `hotreload.track`.
-- Part of the library (src/lua/open.rs includes it).
--
-- One function replaces the first searcher in `package.searchers`, and asks that searcher first. So
-- the other searchers keep their places, and a host may add more later. For a tracked module the
-- function looks for the loader as `require` does, and returns a loader that calls it. It catches
-- no errors, so messages and tracebacks are those of the loader. Nothing watches the load: the
-- record is made from what the loader left.

local core = ...
local allow, call, records = core.allow, core.call, core.records

local error, next, pcall, rawequal, rawget, rawset, type = error, next, pcall, rawequal,
    rawget, rawset, type
local setmetatable, running = setmetatable, coroutine.running
local format = string.format
local globals, loaded = _G, core.loaded

local track = {
    -- Per module: the names of those that `require` loaded while its own loader ran (R12.6).
    needed = {},
}
-- Per coroutine: the module whose loader runs on it. A host's `require` may yield meanwhile.
local loading = setmetatable({}, { __mode = "k" })

-- The function in `package.searchers`, and the searcher that it replaces.
local standing = core.standing
local FINDER, SEARCHER = core.layout.standing.finder, core.layout.standing.searcher
-- The patterns; false where nothing is tracked. The library begins with all modules.
local wanted = { "" }

local function searchers()
    local package = rawget(loaded, "package")
    local list = type(package) == "table" and rawget(package, "searchers")
    return type(list) == "table" and list or nil
end

--- Returns the function's index in the list; nothing if it is not there.
local function place_in(list)
    for i = 1, #list do
        if rawequal(rawget(list, i), standing[FINDER]) then return i end
    end
end

local function copy_of_globals()
    local copy = {}
    for name, value in next, globals do copy[name] = value end
    return copy
end

-- How many entries `package.loaded` had when it was walked last, and how many modules were tracked
-- since; the modules that are loaded without a record.
local walked, since, untracked = 0, 0, {}
-- A `package.loaded` of so many entries is walked each time; a larger one after as many loads.
local SMALL = 256

local function know(object)
    local lineage = records.lineage
    if type(object) == "table" and not lineage[object] then lineage[object] = -1 end
end

--- Adds the objects of other modules: a load must not cost as much as there are modules.
local function meet_others()
    for name in next, untracked do
        local object = rawget(loaded, name)
        if object ~= nil then untracked[name] = nil end
        know(object)
    end
    since = since + 1
    if walked > SMALL and since < walked then return end
    walked, since = 0, 0
    for _, object in next, loaded do
        walked = walked + 1
        know(object)
    end
end

local function take(name, code, before, value)
    local object = value
    if object == nil then object = rawget(loaded, name) end
    if object == nil then object = true end
    meet_others()
    records.note(name, object, code, before, value)
    know(object)
end

--- After the loader: what it left is put down. Memory that is short costs the record, not the load.
local function finish(name, code, before, ...)
    if before then pcall(take, name, code, before, (...)) end
    return ...
end

--- Notes that the loader of a module begins. What comes back is closed at its end, be that an
--- error.
local function begin(name)
    local co = running()
    local outer = loading[co]
    if outer then track.needed[outer][name] = true end
    local guard = setmetatable({}, { __close = function() loading[co] = outer end })
    track.needed[name], loading[co] = {}, name
    return guard
end

--- Calls the loader, whose code is `code`.
local function run(name, code, loader, ...)
    local ok, before = pcall(copy_of_globals)
    local begun, guard = pcall(begin, name)
    local _ <close> = begun and guard or nil
    return finish(name, code, ok and before, call(loader, ...))
end

--- A C module is loaded as it is: nothing of it is ever reloaded.
local function noting(name, loader)
    local code = core.code_of(loader)
    if code then return function(...) return run(name, code, loader, ...) end end
    untracked[name] = true
    return loader
end

local function matches(name)
    return type(name) == "string" and wanted and allow.matching(wanted, name) ~= nil
end

local function first(name)
    if standing[SEARCHER] then return call(standing[SEARCHER], name) end
end

function track.find(name)
    if not matches(name) then
        if type(name) == "string" then untracked[name] = true end
        return first(name)
    end
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
    return type(loader) == "function" and noting(name, loader) or loader, data
end

--- Makes `hotreload.track` and `hotreload.tracked`.
---@see hotreload.track in meta.lua
function track.install(hotreload)
    --- Returns a loader that calls this one and notes what it leaves: for a host's own `require`.
    ---@see hotreload.tracked in meta.lua
    function hotreload.tracked(name, loader)
        local wrong = type(name) ~= "string" and format("#1 to 'tracked' (string expected, got %s)",
            type(name)) or type(loader) ~= "function" and
            format("#2 to 'tracked' (function expected, got %s)", type(loader))
        if wrong then error("bad argument " .. wrong, 2) end
        return matches(name) and noting(name, loader) or loader
    end

    function hotreload.track(...)
        local patterns = ...
        if patterns == nil or patterns == true then patterns = "" end
        local wrong = patterns and allow.check(patterns)
        if wrong then error(format("bad argument #1 to 'track' (%s)", wrong), 2) end
        local list = searchers()
        local place = list and place_in(list)
        if patterns == false then
            wanted = false
            if place and standing[SEARCHER] then rawset(list, place, standing[SEARCHER]) end
            return true
        end
        if not list then return false, "'package.searchers' must be a table; put it back" end
        wanted = allow.list(patterns)
        if not place then
            standing[SEARCHER] = rawget(list, 1)
            rawset(list, 1, standing[FINDER])
        end
        return true
    end
end

return track
