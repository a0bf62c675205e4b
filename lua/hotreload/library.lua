-- What `require "hotreload"` gives, and what it does at once: `gg.reload`, and the place in
-- `package.searchers`. Part of the library (src/lua/open.rs includes it), as all files beside it.
-- Each of those is a field of `core`, and is loaded when that is read first.

local core = ...

local next, pcall, rawget, rawset, type = next, pcall, rawget, rawset, type
local globals, loaded = _G, package.loaded
core.loaded = loaded

local function copy_of(library)
    local copy = {}
    for name, value in next, library do copy[name] = value end
    return copy
end

-- The globals of the files that are loaded later: what the program does to its own does not reach
-- them.
core.environment = {
    _G = globals, package = package, coroutine = copy_of(coroutine), debug = copy_of(debug),
    math = copy_of(math), os = copy_of(os), string = copy_of(string), table = copy_of(table),
    error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall, rawequal = rawequal,
    rawget = rawget, rawlen = rawlen, rawset = rawset, select = select,
    setmetatable = setmetatable, tonumber = tonumber, tostring = tostring, type = type,
}
local standing = core.standing
local FINDER, SEARCHER = core.layout.standing.finder, core.layout.standing.searcher

local hotreload = { _VERSION = core.version, terminal = core.terminal }
core.library = hotreload

for name in string.gmatch([[
    changed clock configure dependents instances near plan purge reloading requires stale
    sweep touched track tracked undo version]], "%a+") do
    hotreload[name] = function(...) return core.facade[name](...) end
end

--- A part that is loaded when it is first used: for `pcall`, where memory may be short.
function core.part(name)
    return core[name]
end

--- Where there is no memory for the façade, that is a refusal as any other lack of memory (R7.1).
function hotreload.reload(...)
    local ok, functions = pcall(core.part, "facade")
    if not ok then return false, functions end
    return functions.reload(...)
end

--- The searcher that stands first (track.lua). Where there is no memory for that part, the one in
--- whose place it stands does its work.
local function find(name)
    local ok, track = pcall(core.part, "track_part")
    if ok then return track.find(name) end
    if standing[SEARCHER] then return core.call(standing[SEARCHER], name) end
end
standing[FINDER] = find

--- Installs `gg.reload`; again at every `require`, should the program have made a new `gg`.
local function install()
    local gg = rawget(globals, "gg")
    if gg == nil then
        gg = {}
        rawset(globals, "gg", gg)
    end
    if type(gg) ~= "table" then return end
    rawset(gg, "reload", hotreload.reload)
    if rawget(gg, "safe_reloads") == nil then rawset(gg, "safe_reloads", {}) end
end

local package = rawget(loaded, "package")
local searchers = type(package) == "table" and rawget(package, "searchers")
if type(searchers) == "table" then
    standing[SEARCHER] = rawget(searchers, 1)
    rawset(searchers, 1, find)
end

return hotreload, install
