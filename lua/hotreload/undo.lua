-- The way back (R7.3): what is kept of each module's last reloads, and `hotreload.undo`.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments, memo, reports, versions = core.arguments, core.memo, core.report, core.versions
local shown = arguments.shown

local error, next, rawequal, rawget, select, type = error, next, rawequal, rawget, select, type
local format, sort, math_type = string.format, table.sort, math.type
local loaded = core.loaded

local undo = {}
local UNDO, GUARD = core.layout.undo, core.layout.guard

-- So many undos are kept of each module (`hotreload.configure`).
local history = 1
-- Of the reload that came last, so that those of several modules can be undone in their order.
local serial = 0

--- A check: how many undos are kept.
function undo.check(value)
    if math_type(value) ~= "integer" or value < 1 then
        return format("a number of reloads expected, got %s",
            math_type(value) and tostring(value) or type(value))
    end
end

function undo.set(value)
    history = value
end

--- Room for all that undoes one module's reload.
function undo.entry(name, record)
    local entry = { older = false, serial = 0 }
    for i = 1, UNDO.n do entry[i] = false end
    entry[UNDO.name], entry[UNDO.record], entry[UNDO.generation] = name, record, 0
    return entry
end

--- Puts the entries of a reload that is done on record. Allocates nothing.
function undo.keep(batch)
    for i = 1, #batch do
        local entry = batch[i].undo
        local record = entry[UNDO.record]
        serial = serial + 1
        entry[UNDO.references], entry.serial = false, serial
        entry.older, record.undo = record.undo, entry
        local last = entry
        for _ = 2, history do last = last and last.older end
        if last then last.older = false end
    end
end

--- The last `steps` entries of each module, the last reload first; or nil and why there are not so
--- many.
local function entries_of(list, steps, services)
    local entries = {}
    for _, name in next, list do
        local record = services.record_of(name)
        local entry, count = record and record.undo, 0
        while entry and count < steps do
            count, entries[#entries + 1], entry = count + 1, entry, entry.older
        end
        if count == 0 and steps == 1 then
            return nil, name, "there was none, or it is undone already"
        elseif count < steps then
            return nil, name, format("there are %d on record; "
                .. "hotreload.configure { history = … } keeps more", count)
        end
    end
    sort(entries, function(a, b) return a.serial > b.serial end)
    return entries
end

--- What of a module is needed when its reloads are undone: nothing is allocated then.
local function prepare(name, entries, services)
    local record, object = services.record_of(name), rawget(loaded, name)
    local item = { name = name, record = record, undone = record.undone or {} }
    local version = record.version
    local report = reports.blank(name, {})
    report.undo, report.dry_run, report.paths = true, nil, nil
    versions.describe(report.from, version, record.generation)
    for _, entry in next, entries do
        if rawequal(entry[UNDO.record], record) then
            item.undone = versions.added(item.undone, version)
            item.first = item.first or entry
            version, item.last = entry[UNDO.version], entry
        end
    end
    versions.describe(report.to, version, item.last[UNDO.generation])
    report.generation, report.file = item.last[UNDO.generation], report.to.file
    local hook = type(object) == "table" and rawget(object, "__hotfix")
    item.hook = type(hook) == "function" and rawget(object, "__hotfix_undo") and hook
    item.report = report
    return item
end

--- Calls the hooks of what was undone. Returns a message where one of them raised.
local function run_hooks(items, services)
    local message
    for _, item in next, items do
        if item.hook then
            local guard <close> = services.guard(item.name)
            local yielded, ok, why, known = memo.call(rawget(loaded, item.name), item.hook,
                item.report)
            if not ok then
                local stays = known and not yielded and memo.put_back(known) or ""
                message = format("%sthe reload of module '%s' is undone, but its hook failed: %s%s",
                    message and message .. "\n" or "", shown(item.name), why, stays)
            end
            guard[GUARD.open] = false
        end
    end
    return message
end

--- Makes `hotreload.undo` on top of the façade's `services`.
---@see hotreload.undo in meta.lua
function undo.install(hotreload, services)
    function hotreload.undo(...)
        local names, steps = ...
        local list, wrong = arguments.list_of_names(select("#", ...), names, "undo")
        local bad = not wrong and steps ~= nil and undo.check(steps)
        if bad then wrong = format("bad argument #2 to 'undo' (%s)", bad) end
        if wrong then error(wrong, 2) end
        steps = steps or 1
        local function cannot(name, why)
            return false, format("the last %s of module '%s' cannot be undone: %s",
                steps == 1 and "reload" or steps .. " reloads", shown(name), why)
        end
        for _, name in next, list do
            local why = services.why_not(name)
            if why then return cannot(name, why) end
        end
        -- The sweep comes first: it knows no list of entries, and would change what undoes.
        local swept, why = services.finish_sweep()
        if not swept then return false, why end
        local entries, items, is_last
        repeat
            local name
            entries, name, why = entries_of(list, steps, services)
            if not entries then return cannot(name, why) end
            items, is_last = {}, true
            for i, module in next, list do items[i] = prepare(module, entries, services) end
            -- A finalizer may have reloaded a module meanwhile: then that one is its last reload.
            for _, item in next, items do
                is_last = is_last and rawequal(item.record.undo, item.first)
            end
        until is_last
        local ok, message = services.undo(entries)
        if not ok then return false, message end
        for _, item in next, items do
            local record = item.record
            -- A finalizer that the collector calls behind it may have reloaded the module.
            if rawequal(record.undo, item.first) then
                record.undo, record.undone = item.last.older, item.undone
                services.met(item.name)
            end
        end
        return true, run_hooks(items, services)
    end
end

return undo
