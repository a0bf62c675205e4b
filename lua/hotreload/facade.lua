-- What programs call: the way of a reload around its native part, and the hook (called from Lua, so that it may yield).
-- Part of the library (src/raw/open.rs includes it); gets the native functions as its argument, with what the files
-- beside this one return.
-- The rules (R1.1) are those of docs/semantics.md.

local core = ...
local arguments, allow, reports, changes = core.arguments, core.allow, core.report, core.changes

local error, pcall, xpcall, select, type, tostring = error, pcall, xpcall, select, type, tostring
local rawget, rawset, next, pairs = rawget, rawset, next, pairs
local setmetatable, format = setmetatable, string.format
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

local options_of_reload = {
    scope = arguments.one_of("module"),
    on_conflict = arguments.one_of("error", "keep", "replace"),
    data = arguments.one_of("keep", "replace"),
    report = arguments.one_of("counts", "full"),
    source = arguments.a("string"),
    dry_run = arguments.a("boolean"),
}

local settings = { allow = allow.check, deny = allow.check }

--- Says which modules may be reloaded. Each key given replaces that list.
---@see hotreload.configure in meta.lua
function hotreload.configure(options)
    if type(options) ~= "table" then
        error(format("bad argument #1 to 'configure' (table expected, got %s)", type(options)), 2)
    end
    local checked, wrong = arguments.check(options, settings, 1, "configure")
    if not checked then error(wrong, 2) end
    for which, value in pairs(checked) do allow.set(which, value) end
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
        return false, message, reports.fill(report, generation, dry, file, lists, ...)
    end
    reports.fill(report, generation + 1, dry, file, lists, ...)
    if dry then return true, report end
    record.generation, record.source = generation + 1, source
    changes.reloaded(name, generation + 1)
    if not hook then return true, report end
    return run_hook(guard, name, hook, object, report)
end

--- All that a reload needs before its native part. What is wrong with the arguments comes back as a message, and what
--- speaks against the reload as a refusal: little but a lack of memory raises here.
local function prepare(count, name, options)
    if type(name) ~= "string" then
        return format("bad argument #1 to 'reload' (string expected, got %s)", count == 0 and "no value" or type(name))
    end
    local checked, wrong = arguments.check(options, options_of_reload, 2, "reload")
    if not checked then return wrong end
    if running[1] then
        return nil, refusal(name, format("the chunk of module '%s' is running in another reload; "
            .. "call gg.reload when it has ended", running[1]))
    end
    local last = hooking[name]
    if last and last[1] then
        return nil, refusal(name, "its hook (__hotfix) of the last reload has not ended yet")
    end
    local why = allow.refused(name)
    if why then return nil, refusal(name, why) end
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
    if hooking[name] == nil then hooking[name] = false end -- a place for the guard
    changes.expect(name)
    return nil, nil, checked, record, reports.blank(name, checked),
        setmetatable({ true, false, record, record.generation, record.source }, Guard)
end

--- Replaces the code of a module while it runs; see `gg.reload` in meta.lua.
function hotreload.reload(...)
    local name = ...
    local ready, wrong, why, checked, record, report, open = pcall(prepare, select("#", ...), ...)
    if wrong == "not enough memory" then return false, NO_MEMORY end
    if not ready or wrong then error(wrong, 2) end
    if why then return false, why end
    -- From here on nothing is allocated but by the native part, which undoes what it cannot finish.
    local guard <close> = open
    return finish(guard, name, checked.dry_run or false, report,
        core.reload(owed, name, checked, core.stock, lineage, record.source, running, guard))
end

changes.install(hotreload, function(name)
    local record = records[name]
    if not record then return 0, nil end
    return record.generation, record.source
end)

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
