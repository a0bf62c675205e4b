-- The program's own functions around every reload (R7.6): `before`, `after`, `on_error`, `log` of
-- `configure`. Part of the library (src/lua/open.rs includes it).

local core = ...
local text_of, shown, NO_MEMORY = core.arguments.text, core.arguments.shown,
core.arguments.NO_MEMORY
local says = core.says

local error, ipairs, next, pcall, rawget = error, ipairs, next, pcall, rawget
local rawlen, select, type = rawlen, select, type
local format, move = string.format, table.move

local hooks = {}

local installed = { before = false, after = false, on_error = false, log = false }
local any = false

-- Around each chunk (R2.6).
local chunk = { before = false, after = false }

--- A check of `chunk`: a table with functions `before` and `after`, or false for none.
function hooks.check_chunk(value)
    if value == false then return end
    if type(value) ~= "table" then return format("table or false expected, got %s", type(value)) end
    for which, hook in next, value do
        if chunk[which] == nil then return "a table with 'before' and 'after' expected" end
        local wrong = hooks.check(hook)
        if wrong then return format("'%s': %s", which, wrong) end
    end
end

--- Takes a checked `chunk`, as a whole.
function hooks.set_chunk(value)
    chunk.before = value and rawget(value, "before") or false
    chunk.after = value and rawget(value, "after") or false
end

--- The functions around each chunk, or false.
function hooks.chunk()
    return chunk.before, chunk.after
end

--- Is this a key of `configure` that names a hook?
function hooks.has(which)
    return installed[which] ~= nil
end

--- A check: a function, or false for none.
function hooks.check(value)
    if value ~= false and type(value) ~= "function" then
        return format("function or false expected, got %s", type(value))
    end
end

--- Takes a checked hook.
function hooks.set(which, value)
    installed[which] = value
    any = false
    for _, hook in next, installed do any = any or hook ~= false end
end

local function log(level, message)
    if installed.log then pcall(installed.log, level, message) end
end

--- Calls a hook that can no longer change the outcome. Its errors are logged.
local function tell(which, name, value)
    if not installed[which] then return end
    local ok, err = pcall(installed[which], name, value)
    if not ok then
        log("error", format("%s raised for module '%s': %s", which, shown(name), text_of(err)))
    end
end

local function failed(names, message)
    if type(names) == "string" then
        tell("on_error", names, message)
    else
        for i = 1, rawlen(names) do tell("on_error", rawget(names, i), message) end
    end
    log("error", message)
end

--- `after` may change the report, so the log's texts are read before.
local function told(report)
    local title, warnings = shown(report.module), move(report.warnings, 1, #report.warnings, 1, {})
    local limits = move(report.limits, 1, #report.limits, 1, {})
    local line = report.summary
    tell("after", report.module, report)
    for _, warning in ipairs(warnings) do
        log("warning", format("module '%s': %s", title, warning))
    end
    for _, limit in ipairs(limits) do log("info", format("module '%s': %s", title, limit)) end
    log("info", line)
end

local function succeeded(names, result)
    if type(names) == "string" then return told(result) end
    for _, report in ipairs(result) do told(report) end
end

--- Returns why `before` refuses a reload; nothing if it does not. `before` gets the report of a dry
--- run.
local function veto(reports)
    for _, report in ipairs(reports) do
        local name = report.module
        local ok, verdict = pcall(installed.before, name, report)
        local why = not ok and "raised: " .. text_of(verdict) or "returned false"
        if not ok or verdict == false then
            return format("module '%s' was not reloaded, nothing was changed: "
                .. "'before' of hotreload.configure %s", shown(name), why)
        end
    end
end

--- Has one of these modules something to do before its reload (R7.8)? Whatever `names` is.
local function has_unload(names)
    if type(names) == "string" then return says.field(names, "__unload") ~= nil end
    for i = 1, type(names) == "table" and rawlen(names) or 0 do
        local name = rawget(names, i)
        if type(name) == "string" and says.field(name, "__unload") ~= nil then return true end
    end
    return false
end

--- Asks `before`, and the modules that run (R7.8), on the report of a dry run.
local function with_hooks(reload, services, count, names, options)
    local kept, wanted = nil, has_unload(names)
    if installed.before or wanted then
        local dry = options
        if type(options) == "table" or options == nil then
            dry = {}
            for key, value in next, options or {} do dry[key] = value end
            dry.dry_run, dry.report = true, "full"
        end
        local right, ok, result, report = pcall(reload, count, nil, names, dry)
        if not right then error(ok, 0) end
        if not ok then return false, result, report end
        local reports = type(names) == "table" and result or { result }
        local why = installed.before and veto(reports)
        if not why and wanted then kept, why = core.unload.run(reports, services) end
        if why then return false, why end
    end
    local right, ok, result, report = pcall(reload, count, kept and kept.kept, names, options)
    if not right then error(ok, 0) end
    -- If the reload failed, what the asked modules wrote is put back.
    if not ok and kept then result = result .. core.unload.put_back(kept) end
    return ok, result, report
end

--- Informs the hooks of a reload's results, and returns these. The reload is done or has failed;
--- nothing that happens here can change that, not even a lack of memory.
local function heard(names, right, ok, result, ...)
    if not right then
        -- Only a wrong argument raises an error, or a lack of memory before anything was changed.
        if ok ~= "not enough memory" then error(ok, 2) end
        ok, result = false, NO_MEMORY
    end
    pcall(ok and succeeded or failed, names, result)
    return ok, result, ...
end

--- Returns `reload` with the hooks around it. A dry run calls no hooks. Wrong arguments raise an
--- error in the caller.
function hooks.around(reload, services)
    return function(...)
        local names, options = ...
        local count = select("#", ...)
        local is_plain = not any and not has_unload(names)
        if is_plain or type(options) == "table" and rawget(options, "dry_run") then
            return reload(count, nil, names, options)
        end
        return heard(names, pcall(with_hooks, reload, services, count, names, options))
    end
end

return hooks
