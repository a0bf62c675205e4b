-- What programs call: argument checks, the hook (called from Lua, so that it may yield), and the report's shape.
-- Part of the library (src/api.rs includes it); gets the native functions as its argument.
-- The rules (R1.1) are those of docs/semantics.md.

local core = ...

local error, pcall, xpcall, select, type, tostring = error, pcall, xpcall, select, type, tostring
local rawget, rawset, next, ipairs, pairs = rawget, rawset, next, ipairs, pairs
local setmetatable = setmetatable
local concat = table.concat
local find, format, sub = string.find, string.format, string.sub
local tonumber, math_type = tonumber, math.type
local traceback, metatable_of = debug.traceback, debug.getmetatable
local globals, loaded = _G, package.loaded

local hotreload = { _VERSION = core.version }

-- Per module: its generation, and the source name of its functions.
local records = {}
-- Weakly, for every function that a reload replaced or placed: the number of its lineage (R3.3).
local weak = { __mode = "k" }
local lineage = setmetatable({}, weak)
-- [1]: the module whose chunk is running, or false (R7.5). Set and reset natively, where no error can come between.
local running = { false }
-- What reloads allocated since the collector's last cycle, in KiB.
local owed = 0
-- Modules whose reload has not ended: name -> its guard, held by the call that runs it.
local hooking = setmetatable({}, { __mode = "v" })

--- A weak table keeps room for what it lost. After each cycle of the collector the living move to a new one.
local function after_collection()
    owed = 0
    if not running[1] then
        local living = setmetatable({}, weak)
        for key, number in next, lineage do living[key] = number end
        lineage = living
    end
    setmetatable({}, { __gc = after_collection })
end
after_collection()

------------------------------------------------------------------------------------------------------------------------
-- Arguments (R1.1)

local function one_of(...)
    local known = {}
    for i = 1, select("#", ...) do known[(select(i, ...))] = true end
    local names = concat({ ... }, "', '")
    return function(value)
        if not known[value] then return format("'%s' expected, got '%s'", names, tostring(value)) end
    end
end

local function a(wanted)
    return function(value)
        if type(value) ~= wanted then return format("%s expected, got %s", wanted, type(value)) end
    end
end

local checks = {
    scope = one_of("module"),
    on_conflict = one_of("error", "keep", "replace"),
    data = one_of("keep", "replace"),
    report = one_of("counts", "full"),
    source = a("string"),
    dry_run = a("boolean"),
}

local function bad_argument(number, name, message)
    error(format("bad argument #%d to '%s' (%s)", number, name, message), 4)
end

--- Checks a table of options against `known`, and returns a copy of it that no metamethod of the caller's reaches.
local function check_options(options, known, number, name)
    local checked = {}
    if options == nil then return checked end
    if type(options) ~= "table" then
        bad_argument(number, name, format("table expected, got %s", type(options)))
    end
    for key, value in next, options do
        local check = known[key]
        if not check then bad_argument(number, name, format("unknown option '%s'", tostring(key))) end
        local wrong = check(value)
        if wrong then bad_argument(number, name, format("option '%s': %s", key, wrong)) end
        checked[key] = value
    end
    return checked
end

------------------------------------------------------------------------------------------------------------------------
-- Which modules may be hot (R1.4)

local patterns = { allow = {}, deny = {} }

--- Says what is wrong with a Lua pattern, or nothing. `string.find` complains only about the part that it reaches.
local function malformed(pattern)
    local open, captures, i = {}, 0, 1
    while i <= #pattern do
        local c = sub(pattern, i, i)
        if c == "%" then
            local class = sub(pattern, i + 1, i + 1)
            if class == "" then return "ends with '%'" end
            if class == "b" and i + 3 > #pattern then return "missing arguments to '%b'" end
            if class == "f" and sub(pattern, i + 2, i + 2) ~= "[" then return "missing '[' after '%f'" end
            if find(class, "%d") and (class == "0" or tonumber(class) > captures) then
                return "invalid capture index"
            end
            i = i + (class == "b" and 4 or 2)
        elseif c == "[" then
            local from = i + (sub(pattern, i + 1, i + 1) == "^" and 2 or 1)
            i = from
            while i == from or sub(pattern, i, i) ~= "]" do
                if i > #pattern then return "missing ']'" end
                i = i + (sub(pattern, i, i) == "%" and 2 or 1)
            end
            i = i + 1
        else
            if c == "(" then
                captures = captures + 1
                open[#open + 1] = captures
            elseif c == ")" then
                if not open[1] then return "')' without '('" end
                open[#open] = nil
            end
            i = i + 1
        end
    end
    if open[1] then return "unfinished capture" end
    local ok, message = pcall(find, "", pattern)
    if not ok then return message end
end

local function check_patterns(value)
    local list = type(value) == "string" and { value } or value
    if type(list) ~= "table" then return format("string or table expected, got %s", type(value)) end
    for key, pattern in next, list do
        if math_type(key) ~= "integer" or key < 1 or key > #list then return "a list of patterns expected" end
        if type(pattern) ~= "string" then return format("pattern #%d: string expected, got %s", key, type(pattern)) end
        local wrong = malformed(pattern)
        if wrong then return format("'%s' is no pattern: %s", pattern, wrong) end
    end
end

--- Says which modules may be reloaded. Each key given replaces that list.
---@see hotreload.configure in meta.lua
function hotreload.configure(options)
    if type(options) ~= "table" then
        error(format("bad argument #1 to 'configure' (table expected, got %s)", type(options)), 2)
    end
    local checked = check_options(options, { allow = check_patterns, deny = check_patterns }, 1, "configure")
    for key, value in pairs(checked) do
        local list = {}
        for i, pattern in ipairs(type(value) == "string" and { value } or value) do list[i] = pattern end
        patterns[key] = list
    end
end

local function matching(list, name)
    for _, pattern in ipairs(list) do
        local ok, found = pcall(find, name, pattern)
        if ok and found then return pattern end
    end
end

local function refused(name)
    local denied = matching(patterns.deny, name)
    if denied then return format("it matches the deny pattern '%s' (hotreload.configure)", denied) end
    if patterns.allow[1] and not matching(patterns.allow, name) then
        return "it matches no allow pattern (hotreload.configure)"
    end
end

------------------------------------------------------------------------------------------------------------------------
-- The report (R10)

local Report = {}

local function add_list(lines, title, list)
    if not list or not list[1] then return end
    lines[#lines + 1] = format("  %s:", title)
    for _, line in ipairs(list) do lines[#lines + 1] = "    " .. line end
end

--- A report as a text for people.
function Report.__tostring(report)
    local functions, cells, data = report.functions, report.cells, report.data
    local lines = {
        format("%s%s: generation %d%s", report.dry_run and "dry run of " or "", report.module, report.generation,
            report.file and " from " .. report.file or ""),
        format("  functions: %d replaced (%d changed), %d added, %d removed",
            functions.replaced, report.changed, functions.added, functions.removed),
        format("  cells: %d joined, %d fresh; data: %d kept, %d added",
            cells.joined, cells.fresh, data.kept, data.added),
    }
    local conflicts = {}
    for i, conflict in ipairs(report.conflicts) do
        conflicts[i] = format("%s: %s while it runs, %s in the file%s", conflict.path, conflict.running, conflict.file,
            conflict.line and format(" (line %d)", conflict.line) or "")
    end
    add_list(lines, "warnings", report.warnings)
    add_list(lines, "conflicts", conflicts)
    local paths = report.paths
    if paths then
        add_list(lines, "functions replaced", paths.functions.replaced)
        add_list(lines, "functions changed", paths.changed)
        add_list(lines, "functions added", paths.functions.added)
        add_list(lines, "functions removed", paths.functions.removed)
        add_list(lines, "data kept", paths.data.kept)
        add_list(lines, "data added", paths.data.added)
        add_list(lines, "data replaced", paths.data.replaced)
        add_list(lines, "cells joined", paths.cells.joined)
        add_list(lines, "cells fresh", paths.cells.fresh)
    end
    return concat(lines, "\n")
end

--- A report with room for all that it will say: `fill` allocates nothing, so that no reload fails once it is done.
local function blank_report(name, options)
    local full = options.report == "full" or options.dry_run and options.report ~= "counts"
    return setmetatable({
        module = name,
        file = false,
        generation = 0,
        dry_run = false,
        functions = { replaced = 0, added = 0, removed = 0 },
        changed = 0,
        cells = { joined = 0, fresh = 0 },
        data = { kept = 0, added = 0, replaced = 0 },
        warnings = {},
        conflicts = {},
        elapsed_ms = { find = 0, load = 0, pair = 0, plan = 0, commit = 0, total = 0 },
        paths = full and {
            functions = { replaced = false, added = false, removed = false },
            changed = false,
            cells = { joined = false, fresh = false },
            data = { kept = false, added = false, replaced = false },
        },
    }, Report)
end

local function fill(report, generation, dry, file, lists,
        replaced, added, removed, changed, joined, fresh, kept, data_added, data_replaced,
        find_ms, load_ms, pair_ms, plan_ms, commit_ms)
    report.file, report.generation, report.dry_run = file, generation, dry or nil
    local functions, cells, data, elapsed = report.functions, report.cells, report.data, report.elapsed_ms
    functions.replaced, functions.added, functions.removed = replaced, added, removed
    report.changed = changed
    cells.joined, cells.fresh = joined, fresh
    data.kept, data.added, data.replaced = kept, data_added, data_replaced
    elapsed.find, elapsed.load, elapsed.pair = find_ms, load_ms, pair_ms
    elapsed.plan, elapsed.commit = plan_ms, commit_ms
    elapsed.total = find_ms + load_ms + pair_ms + plan_ms + commit_ms
    if lists then report.warnings, report.conflicts = lists.warnings, lists.conflicts end
    local paths, found = report.paths, lists and lists.paths
    if not paths or not found then
        report.paths = nil
        return report
    end
    functions, cells, data = paths.functions, paths.cells, paths.data
    functions.replaced, functions.added, functions.removed = found.replaced, found.added, found.removed
    paths.changed = found.changed
    cells.joined, cells.fresh = found.joined, found.fresh
    data.kept, data.added, data.replaced = found.kept, found.data_added, found.data_replaced
    return report
end

------------------------------------------------------------------------------------------------------------------------
-- The reload

local function refusal(name, why)
    return format("module '%s' cannot be reloaded: %s", name, why)
end

local function describe(err)
    if type(err) == "string" or type(err) == "number" then return tostring(err) end
    local mt = metatable_of(err)
    if type(mt) == "table" and rawget(mt, "__tostring") then
        local ok, text = pcall(tostring, err)
        if ok then return text end
    end
    return format("(error object is a %s value)", type(err))
end

local function hook_failed(err)
    return traceback(describe(err), 2)
end

-- Messages for when there is no memory to make one.
local NO_MEMORY = "not enough memory; nothing was changed"
local NOT_PUT_BACK = "not enough memory, and some of the program could not be put back"

-- A guard stands for a reload from before its commit to the end of its hook:
-- { open, transaction, record, generation and source before }. Its end is native, where no error from outside (a debug
-- hook's) can come between: it is closed, and undone when there is a transaction, which is as long as the hook has not
-- ended well.
local Guard = { __close = core.close }

--- Runs the hook, which may yield (R7.2). A hook that raises, or whose coroutine is closed, has its reload undone.
local function run_hook(guard, name, hook, object, report)
    hooking[name] = guard
    local ok, message = xpcall(hook, hook_failed, object, report)
    guard[1] = false
    if ok then
        guard[2] = false
        return true, report
    end
    local undone, why = core.close(guard)
    if not undone then
        why = why == 1 and NOT_PUT_BACK or why or NO_MEMORY
        return false, format("the hook of module '%s' failed: %s\n%s", name, tostring(message), why)
    end
    return false, format("the hook of module '%s' failed, the reload was undone: %s", name, tostring(message))
end

local function finish(guard, name, dry, report, now_owed, ok, object, hook, source, file, lists, ...)
    owed = now_owed
    local record, generation = guard[3], guard[4]
    if not ok then
        local message = object == 1 and NOT_PUT_BACK or object or NO_MEMORY
        if not lists then return false, message end
        return false, message, fill(report, generation, dry, file, lists, ...)
    end
    fill(report, generation + 1, dry, file, lists, ...)
    if dry then return true, report end
    record.generation, record.source = generation + 1, source
    if not hook then return true, report end
    return run_hook(guard, name, hook, object, report)
end

--- Replaces the code of a module while it runs; see `gg.reload` in meta.lua.
function hotreload.reload(...)
    local name, options = ...
    if type(name) ~= "string" then
        local got = select("#", ...) == 0 and "no value" or type(name)
        error(format("bad argument #1 to 'reload' (string expected, got %s)", got), 2)
    end
    local checked = check_options(options, checks, 2, "reload")
    if running[1] then
        return false, refusal(name, format("the chunk of module '%s' is running in another reload; "
            .. "call gg.reload when it has ended", running[1]))
    end
    local last = hooking[name]
    if last and last[1] then
        return false, refusal(name, "its hook (__hotfix) of the last reload has not ended yet")
    end
    local why = refused(name)
    if why then return false, refusal(name, why) end
    local gg = rawget(globals, "gg")
    local safe = type(gg) == "table" and rawget(gg, "safe_reloads")
    if checked.data == nil and type(safe) == "table" and rawget(safe, name) then checked.data = "replace" end

    local record = records[name]
    if not record then
        record = { generation = 0, source = false }
        records[name] = record
    end
    if not rawget(loaded, name) then
        record.generation = 0
    elseif record.generation == 0 then
        record.generation = 1
    end
    -- From here on nothing is allocated but by the native part, which undoes what it cannot finish.
    local report = blank_report(name, checked)
    local guard <close> = setmetatable({ true, false, record, record.generation, record.source }, Guard)
    if hooking[name] == nil then hooking[name] = false end -- a place for the guard
    return finish(guard, name, checked.dry_run or false, report,
        core.reload(owed, name, checked, core.stock, lineage, record.source, running, guard))
end

------------------------------------------------------------------------------------------------------------------------
-- gg

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

return hotreload, install
