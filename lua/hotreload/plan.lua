-- What a reload would do, or has done, as a text for a person (R10).
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments, reports = core.arguments, core.report
local shown = arguments.shown

local error, ipairs, next, pcall, rawget, select, type = error, ipairs, next, pcall,
    rawget, select, type
local date, format = os.date, string.format

local plans = {}

local function text_of(report, color)
    local lines = { reports.summary(report) }
    local from, file = report.from, report.file and ", from " .. shown(report.file) or ""
    if report.refused then
        lines[2] = format("  generation %d stays", report.generation)
    else
        lines[2] = format("  generation %d%s", report.generation, file)
    end
    if from and from.time then
        lines[3] = format("  in the place of generation %d, loaded %s%s", from.generation,
            date("%Y-%m-%d %H:%M:%S", from.time),
            from.content and from.content == report.to.content and ", of the same text" or "")
    end
    reports.add_details(lines, report, color)
    return reports.join(lines)
end

local function is_report(value)
    return type(value) == "table" and type(rawget(value, "functions")) == "table"
        and rawget(value, "module") ~= nil
end

--- Makes `hotreload.plan` on top of `reload`; `known` are the checks of the options of `reload`.
---@see hotreload.plan in meta.lua
function plans.install(hotreload, reload, known)
    local checks = { color = function(value)
        if type(value) ~= "boolean" and value ~= "auto" then
            return "a boolean or 'auto' expected"
        end
    end }
    for key, check in next, known do
        if key ~= "dry_run" and key ~= "report" then checks[key] = check end
    end

    local function plan(count, what, options)
        local checked, wrong = arguments.check(options, checks, 2, "plan")
        if not checked then return nil, wrong end
        local color = checked.color == true or checked.color == "auto" and core.terminal
        checked.color = nil
        if is_report(what) then return true, text_of(what, color) end
        if type(what) ~= "string" then
            return nil, format("bad argument #1 to 'plan' (string or report expected, got %s)",
                count == 0 and "no value" or type(what))
        end
        checked.dry_run, checked.report = true, "full"
        local ok, result, report = reload(what, checked)
        if not ok and not report then return true, nil, result end
        report = report or result
        if is_report(report) then return true, text_of(report, color) end
        local texts = {}
        for i, each in ipairs(report) do texts[i] = text_of(each, color) end
        return true, reports.join(texts)
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
