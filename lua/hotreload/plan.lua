-- What a reload would do, or has done, as a text for a person (R10).
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments = core.arguments
local shown = arguments.shown

local error, ipairs, next, pcall, rawget, select, type = error, ipairs, next, pcall, rawget, select, type
local concat, date, format = table.concat, os.date, string.format

local plans = {}

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

local function text_of(report, refused, color)
    local lines = { format("%s%s: generation %d%s", report.dry_run and "plan of " or "reload of ",
        shown(report.module), report.generation, report.file and ", from " .. shown(report.file) or "") }
    local from = report.from
    if from and from.time then
        lines[2] = format("  in the place of generation %d, loaded %s%s", from.generation,
            date("%Y-%m-%d %H:%M:%S", from.time),
            from.content and from.content == report.to.content and ", of the same text" or "")
    end
    local conflicts = {}
    for i, conflict in ipairs(report.conflicts) do
        conflicts[i] = format("%s: %s while it runs, %s in the file%s", conflict.path, conflict.running, conflict.file,
            conflict.line and format(" (line %d)", conflict.line) or "")
    end
    section(lines, refused and "conflicts, for which it is refused" or "conflicts", "!", conflicts, color)
    section(lines, "warnings", "!", report.warnings, color)
    local paths = report.paths
    if paths then
        local functions, cells, data = paths.functions, paths.cells, paths.data
        section(lines, "functions whose code differs", "~", paths.changed, color)
        section(lines, "functions added", "+", functions.added, color)
        section(lines, "functions that the file lacks, which stay", "-", functions.removed, color)
        section(lines, "functions that the file lacks, which go", "-", functions.dropped, color)
        section(lines, "functions of the same code", "=", without(functions.replaced, paths.changed), color)
        section(lines, "wrappers of other modules", "=", paths.wrappers, color)
        section(lines, "patches of other modules", "~", paths.patches, color)
        section(lines, "data added", "+", data.added, color)
        section(lines, "data replaced", "~", data.replaced, color)
        section(lines, "data that differs from the file, and stays", "=", data.differing, color)
        section(lines, "data kept", "=", data.kept, color)
        local calls = paths.calls
        section(lines, "calls of the file", "=", calls.repeated, color, "  registered already")
        section(lines, "calls that are new", "+", calls.new, color)
        section(lines, "calls that the file lacks", "-", calls.gone, color, "  no longer registered, stays")
        section(lines, "calls that cannot be taken back", "!", calls.irrevocable, color, " will run again")
        section(lines, "upvalues joined", "=", cells.joined, color)
        section(lines, "upvalues new", "+", cells.fresh, color)
    else
        local functions = report.functions
        lines[#lines + 1] = format("  functions: %d differ, %d added, %d removed%s, %d replaced in all",
            report.changed, functions.added, functions.removed,
            functions.dropped > 0 and format(", %d dropped", functions.dropped) or "",
            functions.replaced)
    end
    if not lines[from and from.time and 3 or 2] then lines[#lines + 1] = "  nothing" end
    return concat(lines, "\n")
end

local function is_report(value)
    return type(value) == "table" and type(rawget(value, "functions")) == "table" and rawget(value, "module") ~= nil
end

--- Makes `hotreload.plan` on top of `reload`; `known` are the checks of the options of `reload`.
---@see hotreload.plan in meta.lua
function plans.install(hotreload, reload, known)
    local checks = { color = function(value)
        if type(value) ~= "boolean" and value ~= "auto" then return "a boolean or 'auto' expected" end
    end }
    for key, check in next, known do
        if key ~= "dry_run" and key ~= "report" then checks[key] = check end
    end

    local function plan(count, what, options)
        local checked, wrong = arguments.check(options, checks, 2, "plan")
        if not checked then return nil, wrong end
        local color = checked.color == true or checked.color == "auto" and core.terminal
        checked.color = nil
        if is_report(what) then return true, text_of(what, false, color) end
        if type(what) ~= "string" then
            return nil, format("bad argument #1 to 'plan' (string or report expected, got %s)",
                count == 0 and "no value" or type(what))
        end
        checked.dry_run, checked.report = true, "full"
        local ok, result, report = reload(what, checked)
        if not ok and not report then return true, nil, result end
        report = report or result
        if is_report(report) then return true, text_of(report, not ok, color) end
        local texts = {}
        for i, each in ipairs(report) do texts[i] = text_of(each, not ok, color) end
        return true, concat(texts, "\n")
    end

    function hotreload.plan(...)
        local done, right, text, message = pcall(plan, select("#", ...), ...)
        if not done then error(right, 0) end
        if not right then error(text, 2) end
        if text then return text end
        return nil, message
    end
end

return plans
