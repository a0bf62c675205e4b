-- What runs (R13): the generations of a module, where each comes from, and what holds old ones.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments, contents = core.arguments, core.contents
local refused = core.allow.refused

local error, next, rawget, select, type = error, next, rawget, select, type
local format, sort, concat, unpack = string.format, table.sort, table.concat, table.unpack
local clock = os.time
local loaded = core.loaded

local versions = {}
local UNDO = core.layout.undo

--- A version with room for all that it will say: filling it in allocates nothing.
function versions.blank()
    return { generation = 0, file = false, content = false, time = false }
end

local function copy(from, to)
    to.generation, to.file = from.generation, from.file or nil
    to.content, to.time = from.content or nil, from.time or nil
    return to
end

--- What a reload led from and to: for its report, and for the record. Allocates nothing.
function versions.fill(item, dry)
    local report, version = item.report, item.version
    version.generation = dry and item.undo[UNDO.generation] + 1 or report.generation
    version.file, version.content = report.file, contents[item.name]
    version.time = not dry and clock()
    copy(version, report.to)
    if item.undo[UNDO.generation] > 0 then
        versions.describe(report.from, item.undo[UNDO.version], item.undo[UNDO.generation])
    else
        report.from = nil
    end
end

--- Fills in one side of a report: a version, or of a module that only `require` has loaded its
--- generation. Allocates nothing.
function versions.describe(side, version, generation)
    if version then return copy(version, side) end
    side.generation, side.file, side.content, side.time = generation, nil, nil, nil
end

--- A list of what was undone, with one more, which comes first.
function versions.added(undone, version)
    return { version and copy(version, {}), unpack(undone) }
end

local function version_of(name, record, others)
    local version = { module = name, generation = record and record.generation or 1, undone = {} }
    if record and record.version then copy(record.version, version) end
    for i, undone in next, record and record.undone or {} do
        version.undone[i] = copy(undone, {})
    end
    if refused(name) then return version end
    local state, content, message, file = core.changes.look_at(name, record, false, others)
    version.file = version.file or file
    if state == "same" then
        version.content, version.differs = version.content or content, false
    elseif state ~= "none" and state ~= "failed" then
        version.differs = true
    end
    version.problem = state ~= "same" and state ~= "changed" and message or nil
    return version
end

--- Old code in words, for a refusal.
local function in_words(list)
    local lines = {}
    for i, entry in next, list do
        lines[i] = format("\n\t%s%s, line %d%s", arguments.shown(entry.name or "a function"),
            entry.generation and format(" of generation %d", entry.generation) or "", entry.line,
            entry.running and ", which a coroutine is in the midst of" or "")
    end
    return concat(lines)
end

--- Makes `hotreload.version` and `hotreload.purge` on top of the façade's `services`.
---@see hotreload.version in meta.lua
function versions.install(hotreload, services)
    function hotreload.version(name)
        if name ~= nil and type(name) ~= "string" then
            error(format("bad argument #1 to 'version' (string expected, got %s)", type(name)), 2)
        end
        if name and not rawget(loaded, name) then
            return nil, format("module '%s' is not loaded", arguments.shown(name))
        end
        local others = {}
        if name then return version_of(name, services.record_of(name), others) end
        local list = services.names()
        sort(list)
        local found = {}
        for _, known in next, list do
            if rawget(loaded, known) then
                found[#found + 1] = version_of(known, services.record_of(known), others)
            end
        end
        return found
    end

    --- Gives up what undoing keeps of old code; see `hotreload.purge` in meta.lua.
    function hotreload.purge(...)
        local name, how = ...
        if type(name) ~= "string" then
            local got = select("#", ...) == 0 and "no value" or type(name)
            error(format("bad argument #1 to 'purge' (string expected, got %s)", got), 2)
        end
        if how ~= nil and how ~= "soft" then
            error(format("bad argument #2 to 'purge' ('soft' expected, got %s)",
                type(how) == "string" and "'" .. how .. "'" or type(how)), 2)
        end
        local cannot = format("module '%s' is not purged: ", arguments.shown(name))
        local why = services.why_not(name)
        if why then return false, cannot .. why end
        local swept
        swept, why = services.finish_sweep()
        if not swept then return false, cannot .. why end
        local list
        list, why = core.library.stale(name)
        if not list then return false, cannot .. why end
        if how == "soft" and list[1] then
            return false, format("%s%d function(s) of old code are alive:%s", cannot, #list,
                in_words(list)), list
        end
        local record = services.record_of(name)
        if record then record.undo = false end
        return true, list
    end
end

return versions
