-- The shape of a report, and its text (R10). Part of the library (src/lua/open.rs includes it).

local core = ...
local shown = core.arguments.shown

local ipairs, setmetatable = ipairs, setmetatable
local concat, format = table.concat, string.format

local reports = {}
-- The indices of the native part's answer.
local AT = core.layout.answers

--- Lines as one text; the list is used up. `table.concat` raises where memory is short, though a
--- collection would help; `..` collects and tries again.
function reports.join(lines)
    local count = #lines
    while count > 1 do
        local half = 0
        for i = 1, count, 2 do
            half = half + 1
            lines[half] = i < count and lines[i] .. "\n" .. lines[i + 1] or lines[i]
        end
        count = half
    end
    return lines[1]
end

----------------------------------------------------------------------------------------------------
-- The summary: one line

--- "1 value added", "2 values added"; nothing for none.
local function add_count(parts, count, one, many)
    if count > 0 then parts[#parts + 1] = format("%d %s", count, count == 1 and one or many) end
end

--- What became of the functions: "3 functions changed, 1 added".
local function add_functions(parts, counts)
    for _, each in ipairs(counts) do
        if each.count > 0 then
            local noun = parts[1] and "" or each.count == 1 and " function" or " functions"
            parts[#parts + 1] = format("%d%s %s", each.count, noun, each.verb)
        end
    end
end

local function changes_of(report)
    local functions, cells, data, parts = report.functions, report.cells, report.data, {}
    add_functions(parts, {
        { count = report.changed, verb = "changed" },
        { count = functions.added, verb = "added" },
        { count = functions.dropped, verb = "dropped" },
        { count = functions.removed, verb = "no longer in the file" },
    })
    add_count(parts, data.added, "value added", "values added")
    add_count(parts, data.replaced, "value replaced", "values replaced")
    add_count(parts, data.differing, "value differs from the file", "values differ from the file")
    add_count(parts, report.calls.new, "new registration", "new registrations")
    add_count(parts, report.references, "reference elsewhere follows",
        "references elsewhere follow")
    if not parts[1] then
        add_count(parts, functions.replaced, "function replaced by the same code",
            "functions replaced by the same code")
    end
    add_count(parts, #report.warnings, "warning", "warnings")
    if not parts[1] then return "nothing to do, its code is that of the file" end
    local kept = cells.joined > 0 and cells.joined or data.kept
    local noun = (cells.joined > 0 and "upvalue" or "value") .. (kept == 1 and "" or "s")
    if kept > 0 then parts[#parts + 1] = format("state kept (%d %s)", kept, noun) end
    return concat(parts, ", ")
end

--- Why nothing was changed.
local function refusal_of(report)
    local parts = {}
    add_count(parts, #report.conflicts, "conflict", "conflicts")
    if not parts[1] then add_count(parts, #report.warnings, "warning", "warnings") end
    parts[#parts + 1] = report.dry_run and "nothing would be changed" or "nothing was changed"
    return concat(parts, ", ")
end

--- What happened, in one line. Computed when it is asked for: a failing reload must not allocate.
function reports.summary(report)
    local name, dry = shown(report.module), report.dry_run
    if report.undo then
        if report.generation == 0 then
            return format("undid the load of %s: it is not loaded any more", name)
        end
        return format("undid the reload of %s: generation %d runs again", name, report.generation)
    elseif report.refused then
        return format(dry and "would not reload %s: %s" or "did not reload %s: %s", name,
            refusal_of(report))
    elseif report.generation == 1 then
        return format(dry and "would load %s (it is not loaded)"
            or "loaded %s (it was not loaded before)", name)
    elseif dry then
        return format("would reload %s: %s", name, changes_of(report))
    end
    local total = report.elapsed_ms.total
    return format(total < 0.1 and "reloaded %s: %s, %.2f ms" or "reloaded %s: %s, %.1f ms", name,
        changes_of(report), total)
end

----------------------------------------------------------------------------------------------------
-- The text: the summary, and further lines if there is more to say

local COLORS = { ["!"] = 31, ["-"] = 31, ["+"] = 32, ["~"] = 33 }

local function section(lines, title, mark, list, color, note)
    if not list or not list[1] then return end
    lines[#lines + 1] = format("  %s:", title)
    for _, entry in ipairs(list) do
        local line = format("%s %s%s", mark, entry, note or "")
        if color and COLORS[mark] then line = format("\27[%dm%s\27[0m", COLORS[mark], line) end
        lines[#lines + 1] = "    " .. line
    end
end

--- What of one sorted list is not in the other.
local function without(list, other)
    local among, rest = {}, {}
    for _, entry in ipairs(other or {}) do among[entry] = true end
    for _, entry in ipairs(list or {}) do
        if not among[entry] then rest[#rest + 1] = entry end
    end
    return rest
end

local function add_paths(lines, paths, color)
    local functions, cells, data, calls = paths.functions, paths.cells, paths.data, paths.calls
    section(lines, "functions changed", "~", paths.changed, color)
    section(lines, "functions added", "+", functions.added, color)
    section(lines, "functions no longer in the file, which stay", "-", functions.removed, color)
    section(lines, "functions dropped", "-", functions.dropped, color)
    section(lines, "functions replaced by the same code", "=",
        without(functions.replaced, paths.changed), color)
    section(lines, "matched by other evidence than the place", "=", paths.matched, color)
    section(lines, "wrappers of other modules", "=", paths.wrappers, color)
    section(lines, "patches of other modules", "~", paths.patches, color)
    section(lines, "values added", "+", data.added, color)
    section(lines, "values replaced", "~", data.replaced, color)
    section(lines, "values kept that differ from the file", "=", data.differing, color)
    section(lines, "values kept", "=", data.kept, color)
    section(lines, "registrations kept", "=", calls.repeated, color, "  registered already")
    section(lines, "new registrations", "+", calls.new, color)
    section(lines, "registrations no longer in the file, which stay", "-", calls.gone, color,
        "  no longer registered, stays")
    section(lines, "calls that run again at each reload", "!", calls.irrevocable, color,
        " will run again")
    section(lines, "upvalues kept", "=", cells.joined, color)
    section(lines, "new upvalues", "+", cells.fresh, color)
end

--- What the lists of paths say better.
local function add_counts(lines, report)
    local calls, parts = report.calls, {}
    add_count(parts, calls.repeated, "registration kept", "registrations kept")
    add_count(parts, calls.gone, "registration no longer in the file, which stays",
        "registrations no longer in the file, which stay")
    add_count(parts, calls.irrevocable, "call that runs again at each reload",
        "calls that run again at each reload")
    add_count(parts, report.wrappers, "wrapper of another module", "wrappers of other modules")
    add_count(parts, report.patches, "patch of another module", "patches of other modules")
    add_count(parts, #report.limits, "limit met (report.limits)", "limits met (report.limits)")
    if parts[1] then lines[#lines + 1] = "  " .. concat(parts, ", ") end
end

--- Further lines behind the summary.
function reports.add_details(lines, report, color)
    local conflicts = {}
    for i, conflict in ipairs(report.conflicts) do
        conflicts[i] = format("%s: %s while it runs, %s in the file%s, matched %s", conflict.path,
            conflict.running_value or conflict.running, conflict.file_value or conflict.file,
            conflict.line and format(" (line %d)", conflict.line) or "", conflict.matched)
    end
    section(lines, "conflicts", "!", conflicts, color)
    if report.refused and conflicts[1] then
        lines[#lines + 1] = '  rename one side, or pass on_conflict = "keep" '
            .. '(the running value stays) or "replace" (an option)'
    end
    section(lines, "warnings", "!", report.warnings, color)
    if report.paths then
        section(lines, "not looked at", "!", report.limits, color)
        add_paths(lines, report.paths, color)
    else
        add_counts(lines, report)
    end
    if report.data.differing > 0 then
        lines[#lines + 1] =
            '  data = "merge" or "replace" takes the values of the file (an option)'
    end
    if report.stale > 0 then
        lines[#lines + 1] = format(
            "  old functions that are still referenced: %d (hotreload.stale lists them)",
                report.stale)
    end
end

local function text_of(report)
    local lines = { reports.summary(report) }
    reports.add_details(lines, report)
    return reports.join(lines)
end

local function summarised(summary)
    return function(value, key)
        if key == "summary" then return summary(value) end
    end
end

local Report = { __tostring = text_of, __index = summarised(reports.summary) }

--- A function that makes one text of those of all reports in a list.
local function of_each(text)
    return function(list)
        local texts = {}
        for i, report in ipairs(list) do texts[i] = text(report) end
        return reports.join(texts)
    end
end

local List = { __tostring = of_each(text_of), __index = summarised(of_each(reports.summary)) }

--- An empty list of reports: a text for people as well.
function reports.list()
    return setmetatable({}, List)
end

--- A report with room for all that it will say: `fill` allocates nothing, so that no reload fails
--- once it is done.
function reports.blank(name, options)
    local full = options.report == "full" or options.dry_run and options.report ~= "counts"
    return setmetatable({
        module = name,
        file = false,
        generation = 0,
        from = { generation = 0, file = false, content = false, time = false },
        to = { generation = 0, file = false, content = false, time = false },
        dry_run = false,
        refused = false,
        functions = { replaced = 0, added = 0, removed = 0, dropped = 0 },
        changed = 0,
        cells = { joined = 0, fresh = 0 },
        data = { kept = 0, added = 0, replaced = 0, differing = 0 },
        calls = { repeated = 0, new = 0, gone = 0, irrevocable = 0 },
        wrappers = 0,
        patches = 0,
        references = 0,
        stale = 0,
        warnings = {},
        limits = {},
        conflicts = {},
        elapsed_ms = { find = 0, load = 0, pair = 0, plan = 0, commit = 0, sweep = 0, total = 0 },
        paths = full and {
            functions = { replaced = false, added = false, removed = false, dropped = false },
            changed = false,
            cells = { joined = false, fresh = false },
            data = { kept = false, added = false, replaced = false, differing = false },
            calls = { repeated = false, new = false, gone = false, irrevocable = false },
            wrappers = false,
            patches = false,
            matched = false,
        },
    }, Report)
end

--- Fills a blank report in with what the native part answered. (As arguments that would need more
--- stack, and the reload is done by now.)
function reports.fill(report, generation, dry, answers)
    local lists = answers[AT.lists]
    report.file, report.generation, report.dry_run = answers[AT.file], generation, dry or nil
    local functions, cells, data = report.functions, report.cells, report.data
    functions.replaced, functions.added = answers[AT.replaced], answers[AT.added]
    functions.removed, functions.dropped = answers[AT.removed], answers[AT.dropped]
    report.changed = answers[AT.changed]
    cells.joined, cells.fresh = answers[AT.joined], answers[AT.fresh]
    data.kept, data.added = answers[AT.data_kept], answers[AT.data_added]
    data.replaced, data.differing = answers[AT.data_replaced], answers[AT.data_differing]
    local calls, elapsed = report.calls, report.elapsed_ms
    calls.repeated, calls.new = answers[AT.calls_repeated], answers[AT.calls_new]
    calls.gone, calls.irrevocable = answers[AT.calls_gone], answers[AT.calls_irrevocable]
    report.wrappers, report.patches = answers[AT.wrappers], answers[AT.patches]
    report.references, report.stale = answers[AT.references], answers[AT.stale]
    elapsed.find, elapsed.load, elapsed.pair = answers[AT.find_ms], answers[AT.load_ms],
        answers[AT.pair_ms]
    elapsed.plan, elapsed.commit, elapsed.sweep = answers[AT.plan_ms], answers[AT.commit_ms],
        answers[AT.sweep_ms]
    elapsed.total = elapsed.find + elapsed.load + elapsed.pair + elapsed.plan + elapsed.commit
        + elapsed.sweep
    if lists then
        report.warnings, report.conflicts, report.limits = lists.warnings, lists.conflicts,
            lists.limits
    end
    local paths, found = report.paths, lists and lists.paths
    if not paths or not found then
        report.paths = nil
        return report
    end
    functions, cells, data = paths.functions, paths.cells, paths.data
    functions.replaced, functions.added, functions.removed = found.replaced,
        found.added, found.removed
    functions.dropped = found.dropped
    paths.changed = found.changed
    cells.joined, cells.fresh = found.joined, found.fresh
    data.kept, data.added, data.replaced = found.kept, found.data_added, found.data_replaced
    data.differing = found.differing
    calls = paths.calls
    calls.repeated, calls.new, calls.gone, calls.irrevocable = found.repeated, found.new,
        found.gone, found.irrevocable
    paths.wrappers, paths.patches = found.wrappers, found.patches
    paths.matched = found.matched
    return report
end

return reports
