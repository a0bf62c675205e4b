-- What is known of each module between its reloads.
-- Part of the library (src/lua/open.rs includes it).

local core = ...

local setmetatable = setmetatable

local weak = { __mode = "k" }

local records = {
    -- Per module: its generation, the source name of its functions, the entry that undoes its last
    -- reload, the main functions of its last two chunks (R11), what is on record of the base
    -- version (R8; src/model/base.rs), and what runs and what was undone (R13; versions.lua).
    of = {},
    -- Per module, weakly: what `package.loaded` had when hotreload saw it last, or false.
    objects = setmetatable({}, { __mode = "v" }),
    -- Weakly, for every function that a load placed, every table that it made, and what it imports:
    -- the number of the object (R3.3, R8). A module's object that has none has -1, as far as
    -- `hotreload.track` has met it. For every module, by its name: the locals that some function
    -- has assigned (R4.7). Under "exact" stands a weak table with a digest of each function, lines
    -- included (R3.6).
    lineage = setmetatable({}, weak),
    -- What reloads allocated since the collector's last cycle, in KiB.
    owed = 0,
    -- The collector has ended a cycle, and the weak table keeps room for what it lost.
    collected = false,
}

local function after_collection()
    records.owed, records.collected = 0, true
    setmetatable({}, { __gc = after_collection })
end
after_collection()

--- A new table for `lineage`, with what lives.
function records.living()
    local living = setmetatable({}, weak)
    for key, number in next, records.lineage do living[key] = number end
    return living
end

--- Forgets all but the source name.
function records.reset(record, generation)
    record.generation, record.undo = generation, false
    record.main, record.previous, record.base, record.calls = false, false, false, false
    record.version, record.undone = false, false
end

function records.new()
    local record = { source = false }
    records.reset(record, 0)
    return record
end

--- Notes what a load of `require` has left (R8). What was known of the module ends with it.
function records.note(name, object, loader, before, value)
    local owed, base, needs_text =
        core.track(records.owed, name, loader, before, value, records.lineage)
    records.owed = owed
    local record = records.of[name] or records.new()
    records.of[name] = record
    records.reset(record, 1)
    -- The main function of plain data is as large as the data, and would tell nothing.
    record.source, record.main, record.base = false, needs_text and loader or false, base or false
    records.objects[name] = object
end

return records
