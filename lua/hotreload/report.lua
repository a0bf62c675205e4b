-- The shape of a report, and its text (R10). Part of the library (src/lua/open.rs includes it).

local core = ...
local shown = core.arguments.shown

local ipairs, setmetatable = ipairs, setmetatable
local concat, format = table.concat, string.format

local reports = {}
-- What stands where in the native part's answer.
local AT = core.layout.answers

local Report = {}

local function add_list(lines, title, list)
    if not list or not list[1] then return end
    lines[#lines + 1] = format("  %s:", title)
    for _, line in ipairs(list) do lines[#lines + 1] = "    " .. line end
end

--- A report as a text for people.
function Report.__tostring(report)
    local functions, cells, data, calls = report.functions, report.cells, report.data, report.calls
    local lines = {
        format("%s%s: generation %d%s", report.dry_run and "dry run of " or "", shown(report.module),
            report.generation, report.file and " from " .. shown(report.file) or ""),
        format("  functions: %d replaced (%d changed), %d added, %d removed%s",
            functions.replaced, report.changed, functions.added, functions.removed,
            functions.dropped > 0 and format(", %d dropped", functions.dropped) or ""),
        format("  cells: %d joined, %d fresh; data: %d kept, %d added%s%s",
            cells.joined, cells.fresh, data.kept, data.added,
            data.replaced > 0 and format(", %d replaced", data.replaced) or "",
            data.differing > 0 and format(", %d differing from the file", data.differing) or ""),
    }
    if calls.repeated + calls.new + calls.gone + calls.irrevocable > 0 then
        lines[#lines + 1] = format("  calls: %d registered already, %d new, %d no longer made, %d that run again",
            calls.repeated, calls.new, calls.gone, calls.irrevocable)
    end
    if report.wrappers + report.patches > 0 then
        lines[#lines + 1] = format("  of other modules: %d wrappers, %d patches",
            report.wrappers, report.patches)
    end
    if report.references + report.stale > 0 then
        lines[#lines + 1] = format("  references: %d elsewhere follow, %d old functions stay",
            report.references, report.stale)
    end
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
        add_list(lines, "wrappers", paths.wrappers)
        add_list(lines, "patches", paths.patches)
        add_list(lines, "functions dropped", paths.functions.dropped)
        add_list(lines, "data kept", paths.data.kept)
        add_list(lines, "data that differs from the file", paths.data.differing)
        add_list(lines, "data added", paths.data.added)
        add_list(lines, "data replaced", paths.data.replaced)
        add_list(lines, "cells joined", paths.cells.joined)
        add_list(lines, "cells fresh", paths.cells.fresh)
        add_list(lines, "calls that are registered already", paths.calls.repeated)
        add_list(lines, "calls that are new", paths.calls.new)
        add_list(lines, "calls no longer made, whose registration stays", paths.calls.gone)
        add_list(lines, "calls that run again", paths.calls.irrevocable)
    end
    return concat(lines, "\n")
end

--- A report with room for all that it will say: `fill` allocates nothing, so that no reload fails once it is done.
function reports.blank(name, options)
    local full = options.report == "full" or options.dry_run and options.report ~= "counts"
    return setmetatable({
        module = name,
        file = false,
        generation = 0,
        from = { generation = 0, file = false, content = false, time = false },
        to = { generation = 0, file = false, content = false, time = false },
        dry_run = false,
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
    elapsed.find, elapsed.load, elapsed.pair = answers[AT.find_ms], answers[AT.load_ms], answers[AT.pair_ms]
    elapsed.plan, elapsed.commit, elapsed.sweep = answers[AT.plan_ms], answers[AT.commit_ms], answers[AT.sweep_ms]
    elapsed.total = elapsed.find + elapsed.load + elapsed.pair + elapsed.plan + elapsed.commit + elapsed.sweep
    if lists then report.warnings, report.conflicts = lists.warnings, lists.conflicts end
    local paths, found = report.paths, lists and lists.paths
    if not paths or not found then
        report.paths = nil
        return report
    end
    functions, cells, data = paths.functions, paths.cells, paths.data
    functions.replaced, functions.added, functions.removed = found.replaced, found.added, found.removed
    functions.dropped = found.dropped
    paths.changed = found.changed
    cells.joined, cells.fresh = found.joined, found.fresh
    data.kept, data.added, data.replaced = found.kept, found.data_added, found.data_replaced
    data.differing = found.differing
    calls = paths.calls
    calls.repeated, calls.new, calls.gone, calls.irrevocable = found.repeated, found.new, found.gone, found.irrevocable
    paths.wrappers, paths.patches = found.wrappers, found.patches
    return report
end

return reports
