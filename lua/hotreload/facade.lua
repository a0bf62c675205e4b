-- The functions that programs call. A reload begins and ends here, around its native part; the hook
-- is called from Lua, so that it may yield. This file is part of the library (src/lua/open.rs
-- includes it). Its argument has the native functions, and what the other files here return.
-- The rules (R1.1) are those of docs/semantics/.

local core = ...
local arguments, allow, reports, hooks = core.arguments, core.allow, core.report, core.hooks
local versions, memo, undos, says = core.versions, core.memo, core.undos, core.says
local state = core.records
local shown, refusal = arguments.shown, arguments.refusal

local error, pcall, type = error, pcall, type
local rawget, next, pairs = rawget, next, pairs
local setmetatable, rawequal = setmetatable, rawequal
local format = string.format
local globals, loaded = _G, core.loaded
-- The indices of the lists that the native part uses as well (src/lua/layout.rs).
local ANSWERED, UNDO, GUARD = core.layout.answers, core.layout.undo, core.layout.guard
local OWN, RUNNING = core.layout.own, core.layout.running

-- The functions of `hotreload`, by name.
local functions = {}

--- Seconds with fractions, of a clock that never goes back.
---@see hotreload.clock in meta.lua
function functions.clock() return core.clock(core.began) end

local records, objects = state.of, state.objects
-- What `core.reload` answers for each module: a list with room for it. (`table.unpack` would raise
-- next to the limit of Lua's stack.)
local function no_answers()
    local answers = {}
    for i = 1, ANSWERED.n do answers[i] = false end
    return answers
end
-- The module whose chunk is running, or false (R7.5); whether it was loaded before; whether the
-- reload is dry (R2.6). The native part sets and resets these, where no error can interrupt it.
local running = { false, false, false }
-- Modules whose reload has not ended: name -> its guard, held by the call that runs it.
local hooking = setmetatable({}, { __mode = "v" })
-- The native part's state of the current sweep in slices (R9.4), and the names of its modules.
local sweeping, swept_modules = {}, {}
-- How many reloads have joined a sweep, ever and since the current one began; and how many may join
-- before it is finished at once. Until then each keeps objects alive for it.
local joined, waiting_reloads = 0, 0
local MOST_WAITING = 32
-- The versions that the last reloads have loaded (src/model/kept.rs).
local loaded_versions = setmetatable({}, { __mode = "k" })
-- The tables that no walk over the VM enters; the skipped ones are the program's list (R2.11).
local own = {
    [OWN.records] = records, [OWN.hooking] = hooking, [OWN.lineage] = state.lineage,
    [OWN.objects] = objects, [OWN.sweeping] = sweeping, [OWN.skipped] = {},
    [OWN.versions] = loaded_versions,
}

--- After a cycle of the collector, moves the live entries to a new table. This is not done while a
--- chunk runs: a reload notes its functions in the table that it was given.
local function move_living()
    state.collected = false
    if running[RUNNING.module] then return end
    local living = state.living()
    state.lineage, own[OWN.lineage] = living, living
end

----------------------------------------------------------------------------------------------------
-- Arguments (R1.1)

local options_of_reload = {
    scope = arguments.one_of("module", "vm"),
    budget_ms = arguments.milliseconds,
    on_conflict = arguments.one_of("error", "keep", "replace"),
    data = arguments.one_of("keep", "merge", "replace"),
    constants = arguments.one_of("follow", "keep"),
    patches = arguments.one_of("replace", "keep"),
    wrappers = arguments.one_of("follow", "drop"),
    rename = arguments.names,
    strict = arguments.a("boolean"),
    removed = arguments.one_of("keep", "drop"),
    migrate = function(value) return core.instances_part.check(value) end,
    dependents = arguments.a("boolean"),
    from = arguments.a("string"),
    report = arguments.one_of("counts", "full"),
    source = arguments.a("string"),
    dry_run = arguments.a("boolean"),
    text_only = arguments.a("boolean"),
}

--- A check: a table that has nothing but tables.
local function is_list_of_tables(value)
    if type(value) ~= "table" then return format("table expected, got %s", type(value)) end
    for _, left_out in next, value do
        if type(left_out) ~= "table" then return "a list of tables expected" end
    end
end

local settings = {
    allow = allow.check,
    deny = allow.check,
    text_only = arguments.a("boolean"),
    before = hooks.check,
    after = hooks.check,
    on_error = hooks.check,
    log = hooks.check,
    chunk = hooks.check_chunk,
    history = undos.check,
    skip = is_list_of_tables,
}

--- Sets which modules may be reloaded. Each key replaces its list.
---@see hotreload.configure in meta.lua
function functions.configure(options)
    if type(options) ~= "table" then
        error(format("bad argument #1 to 'configure' (table expected, got %s)", type(options)), 2)
    end
    local checked, wrong = arguments.check(options, settings, 1, "configure")
    if not checked then error(wrong, 2) end
    for which, value in pairs(checked) do
        if which == "text_only" then
            allow.text_only = value
        elseif which == "chunk" then
            hooks.set_chunk(value)
        elseif which == "history" then
            undos.set(value)
        elseif which == "skip" then
            own[OWN.skipped] = value
        else
            (hooks.has(which) and hooks or allow).set(which, value)
        end
    end
end

----------------------------------------------------------------------------------------------------
-- The reload

-- Messages for when there is no memory to make one.
local NO_MEMORY = arguments.NO_MEMORY
local LEFT = "some of the program could not be put back"
local NOT_PUT_BACK = LEFT .. "; restart the program"
local HALF_UNDONE = LEFT .. "; free some memory and call hotreload.undo again"

local function message_of(native)
    return native == 1 and NOT_PUT_BACK or native or NO_MEMORY
end

-- A guard represents a reload from before its commit to the end of its hooks. Each of its entries
-- undoes one module's reload. The native part ends it, where no error from outside (a debug hook's)
-- can interrupt it. If the guard still has its entries, because the hooks have not succeeded, its
-- end undoes the reload. A failure to undo is raised, unless the caller has reported it.
local Guard = { __close = core["end"] }

local function new_guard(entries)
    return setmetatable({
        [GUARD.open] = true, [GUARD.entries] = entries, [GUARD.own] = own, [GUARD.told] = false,
        [GUARD.message] = NOT_PUT_BACK,
    }, Guard)
end

-- The guard of the reload that migrates objects, and the module. An error from outside may end the
-- reload at any point, and its coroutine may be lost. So this is valid only while the guard exists
-- and is open.
local MIGRATING = { guard = 1, module = 2 }
local migration = setmetatable({ false, false }, { __mode = "v" })

--- The module whose objects are being migrated, if any.
local function migrating()
    local guard = migration[MIGRATING.guard]
    return guard and guard[GUARD.open] and migration[MIGRATING.module]
end

--- Returns why nothing can be done while a chunk or a migration runs; nothing if neither runs.
local function why_busy()
    if running[RUNNING.module] then
        return format("the chunk of module '%s' is running in a reload; wait until it has ended",
            shown(running[RUNNING.module]))
    elseif migrating() then
        return format("objects of module '%s' are being migrated; wait until that has ended",
            shown(migrating()))
    end
end

--- Returns the message of a reload that failed after its commit. `failed` names the step of the
--- module `name`, `message` the error. `memos` has texts about the first `count` modules' tables,
--- or false. `stays` says what could not be undone.
local function failure(failed, name, message, memos, count, stays)
    failed = name and format(failed, shown(name)) or failed
    for j = count, 1, -1 do message = message .. (memos[j] or "") end
    if stays then return format("%s: %s\n%s", failed, message, stays) end
    return format("%s, the reload was undone: %s", failed, message)
end

--- Undoes a committed reload. It allocates nothing before that: an error here would leave the undo
--- half done, and in a coroutine the guard open. The other arguments are for `failure`.
local function take_back(guard, ...)
    local undone, why = core.close(guard)
    if undone then return failure(...) end
    -- This reports what could not be undone, with or without memory for a message. If even the call
    -- fails, the guard's end reports it.
    local failed, name, message, memos, count = ...
    local told, text = pcall(failure, failed, name, message, memos, count,
        why == 1 and NOT_PUT_BACK or why or NOT_PUT_BACK)
    guard[GUARD.told] = true
    return told and text or NOT_PUT_BACK
end

--- Runs the hooks, which may yield (R7.2). If one raises an error, or if its coroutine is closed,
--- the whole reload is undone.
local function run_hooks(guard, batch)
    local memos, has_yielded = batch.memos, false
    for i = 1, #batch do
        local item = batch[i]
        local hook = item.answers[ANSWERED.hook]
        if hook then
            local yielded, ok, message, known = memo.call(item.answers[ANSWERED.object], hook,
                item.report, batch.kept and batch.kept[item.name])
            memos[i], has_yielded = known or false, has_yielded or yielded
            if not ok then
                -- If it has yielded, others may have written to the same places.
                local count = has_yielded and 0 or i
                for j = count, 1, -1 do memos[j] = memos[j] and memo.put_back(memos[j]) end
                return take_back(guard, "the hook of module '%s' failed", item.name, message,
                    memos, count)
            end
        end
    end
end

-- The functions of this file that the other files need; filled in below.
local services = { why_busy = why_busy }

--- Migrates the objects of one module, if it has any to migrate; returns why it failed.
local function migrate_objects(item, checked)
    if not (checked.migrate or item.classes or says.field(item.name, "__migrate")) then return end
    local loaded_part, part = pcall(core.part, "instances_part")
    if not loaded_part then return NO_MEMORY end
    return part.migrate(item, checked, services)
end

--- R14.2: migrates the objects of the reloaded modules. If that fails, the whole reload is undone.
local function migrate(guard, batch)
    for i = 1, #batch do
        local item = batch[i]
        item.object, item.classes = item.answers[ANSWERED.object], item.answers[ANSWERED.classes]
        local wrong = item.whole and core.moves.finish(item)
        if not wrong then
            migration[MIGRATING.guard], migration[MIGRATING.module] = guard, item.name
            wrong = migrate_objects(item, batch.checked)
            migration[MIGRATING.guard] = false
        end
        if wrong then return take_back(guard, "a migration failed", nil, wrong, nil, 0) end
    end
end

--- What the caller gets: the report of one module, or a list of them.
local function result_of(batch)
    return batch.single and batch[1].report or batch.reports
end

--- Fills the reports of a batch, whose reload is done or was refused.
local function fill_reports(batch, dry, step)
    for i = 1, #batch do
        local item = batch[i]
        reports.fill(item.report, item.undo[UNDO.generation] + step, dry, item.answers)
        item.report.refused = step == 0
        versions.fill(item, dry)
    end
end

local function finish(guard, batch, dry, now_owed, ok, message)
    -- If a cycle has ended meanwhile, nothing is owed any more.
    state.owed = state.collected and 0 or now_owed
    local answered = batch[#batch].answers[ANSWERED.object] ~= false
    if not ok then
        -- A lack of memory for the reports must not hide the message, which may report damage. The
        -- stack has room for `pcall`: the native part's call and a call within it have used it.
        local filled = answered and pcall(fill_reports, batch, dry, 0)
        if filled then return false, message_of(message), result_of(batch) end
        return false, message_of(message)
    end
    fill_reports(batch, dry, 1)
    if dry then return true, result_of(batch) end
    for i = 1, #batch do
        local item = batch[i]
        local record, answers = item.undo[UNDO.record], item.answers
        record.generation, record.source = item.undo[UNDO.generation] + 1, answers[ANSWERED.source]
        record.main, record.previous = answers[ANSWERED.main], record.main
        record.base, record.calls = answers[ANSWERED.base], answers[ANSWERED.calls]
        record.version, record.undone = item.version, false
        hooking[item.name], objects[item.name] = guard, answers[ANSWERED.object]
    end
    local wrong = migrate(guard, batch) or run_hooks(guard, batch)
    if wrong then
        for i = 1, #batch do batch[i].report.refused = true end -- a hook may have kept its report
        return false, wrong
    end
    guard[GUARD.open], guard[GUARD.entries] = false, false
    undos.keep(batch)
    return true, result_of(batch)
end

--- Forgets what is known of a module if the program has removed the module, or has loaded it again.
local function update(record, name)
    local object = rawget(loaded, name) or false
    if not rawequal(objects[name], object) then
        state.reset(record, object and 1 or 0)
        objects[name] = object
    end
end

--- Does one slice of the sweep; without a budget, the whole rest. Returns done, objects, waiting,
--- passes, references, stale, warnings; or nil and a message if it failed.
local function sweep(budget_ms)
    local why = why_busy()
    if why then return nil, why end
    if next(sweeping) == nil then return true, 0, 0, 0, 0, 0, {} end
    local done, walked, waiting, passes, references, stale, warnings
    repeat
        local before = joined
        state.owed, done, walked, waiting, passes, references, stale, warnings =
            core.sweep(state.owed, sweeping, budget_ms, state.lineage, own)
        if not waiting then return nil, message_of(walked) end
        -- A finalizer that the collector called after the slice may have reloaded a module.
        done = done and joined == before
    until done or budget_ms
    if done then
        for key in next, sweeping do sweeping[key] = nil end
        for name in next, swept_modules do swept_modules[name] = nil end
        waiting_reloads = 0
    end
    return done, walked, waiting, passes, references, stale, warnings
end

local function finish_sweep()
    local done, why = sweep()
    return done, not done and "the sweep that is under way cannot be finished: " .. why or nil
end

--- A reload of a module in the current sweep joins that sweep. A reload that sweeps at once
--- finishes the current sweep first.
local function meet_sweep(list, checked)
    if next(sweeping) == nil then return true end
    if checked.scope == "vm" and not checked.budget_ms and not checked.dry_run then
        return finish_sweep()
    end
    for i = 1, #list do
        if swept_modules[list[i]] and not checked.dry_run then
            checked.scope, checked.budget_ms = "vm", 1
        end
    end
    -- The program does not continue the sweep.
    if checked.budget_ms and not checked.dry_run and waiting_reloads >= MOST_WAITING then
        return finish_sweep()
    end
    return true
end

--- Returns an item of a batch, with what the native part and the hooks need of one module
--- (src/api.rs); or nil and why the module cannot be reloaded.
local function item_of(name, options, known_options)
    if running[RUNNING.module] then
        return nil, refusal(name, format("the chunk of module '%s' is running in another reload; "
            .. "call gg.reload when it has ended", shown(running[RUNNING.module])))
    end
    if migrating() then return nil, refusal(name, why_busy()) end
    local last = hooking[name]
    if last and last[GUARD.open] then
        return nil, refusal(name, "its hook (__hotfix) of the last reload has not ended yet; "
            .. "reload again when it has")
    end
    local why = allow.refused(name)
    if why then return nil, refusal(name, why) end
    why = says.refused(name, known_options, options.source)
    if why then return nil, why end
    local gg = rawget(globals, "gg")
    local safe = type(gg) == "table" and rawget(gg, "safe_reloads")

    local record = records[name]
    if not record then
        record = state.new()
        records[name] = record
    end
    update(record, name)
    local item = {
        name = name,
        data = false,
        constants = false,
        removed = false,
        object = false,
        classes = false,
        from = false,
        whole = false,
        source = false,
        base = false,
        calls = false,
        answers = no_answers(),
        undo = undos.entry(name, record),
        report = reports.blank(name, options),
        version = versions.blank(),
    }
    says.options(name, options, item)
    if not item.data and type(safe) == "table" and rawget(safe, name) then item.data = "replace" end
    return item
end

--- Reads a module's record. Nothing may be allocated after this, because a finalizer could then
--- reload the module.
local function read_record(item)
    local undo = item.undo
    local record = undo[UNDO.record]
    item.source, item.base, item.calls = record.source, record.base, record.calls
    undo[UNDO.generation], undo[UNDO.source] = record.generation, record.source
    undo[UNDO.main], undo[UNDO.previous] = record.main, record.previous
    undo[UNDO.base], undo[UNDO.calls] = record.base, record.calls
    undo[UNDO.version] = record.version
end

--- Prepares everything that a reload needs before its native part. A wrong argument is returned as
--- a message, and a reason against the reload as a refusal. Little except a lack of memory raises
--- an error here.
local function prepare(count, kept, names, options)
    if state.collected then move_living() end
    local list, wrong = arguments.list_of_names(count, names, "reload")
    if not list then return wrong end
    local checked
    checked, wrong = arguments.check(options, options_of_reload, 2, "reload")
    if not checked then return wrong end
    local single = type(names) == "string"
    says.together(list, checked)
    if checked.budget_ms and checked.scope ~= "vm" and not checked.migrate then
        return "bad argument #2 to 'reload' "
            .. "(option 'budget_ms': for scope = \"vm\" or migrate only)"
    end
    for i = 1, single and 0 or 3 do
        local option = i == 1 and "source" or i == 2 and "from" or "rename"
        if checked[option] then
            return format("bad argument #2 to 'reload' (option '%s': for a single module only)",
                option)
        end
    end
    checked.text_only = checked.text_only or allow.text_only
    checked.chunk_before, checked.chunk_after = hooks.chunk()
    local met, why = meet_sweep(list, checked)
    if not met then return nil, why end
    local sliced = checked.budget_ms and checked.scope == "vm"
    if sliced and not checked.dry_run then
        joined, waiting_reloads = joined + 1, waiting_reloads + 1
    end
    local entries = {}
    local guard = new_guard(entries)
    local batch = {
        single = single, reports = reports.list(), memos = {}, checked = checked, kept = kept,
    }
    for i = 1, #list do
        local item
        item, why = item_of(list[i], checked, options_of_reload)
        if not item then return nil, why end
        if checked.from then
            why = core.moves.begin(item, checked.from, checked.source, services)
            objects[item.name] = nil -- what its record has now ends with this reload, if it fails
            if why then return nil, refusal(item.name, why) end
        end
        batch[i], entries[i], batch.reports[i] = item, item.undo, item.report
        batch.memos[i] = false
    end
    for i = 1, #list do
        if hooking[list[i]] == nil then hooking[list[i]] = false end -- a place for the guard
        if sliced then swept_modules[list[i]] = true end
    end
    return nil, nil, batch, checked, guard
end

--- Replaces the code of modules while they run, without the program's hooks.
local function attempt(count, kept, ...)
    local ready, wrong, why, batch, checked, open = pcall(prepare, count, kept, ...)
    if wrong == "not enough memory" then return false, NO_MEMORY end
    if not ready or wrong then error(wrong, 3) end
    if why then return false, why end
    -- From here on only the native part allocates, and it undoes what it cannot finish.
    local guard <close> = open
    for i = 1, #batch do read_record(batch[i]) end
    running[RUNNING.is_loaded], running[RUNNING.dry_run] = false, checked.dry_run or false
    return finish(guard, batch, checked.dry_run or false,
        core.reload(state.owed, batch, checked, core.stock, state.lineage, running, own, sweeping))
end

--- The results of a reload, whose message says more if it can (hints.lua).
local function told(ok, ...)
    if ok then return ok, ... end
    local loaded_part, hints = pcall(core.part, "hints")
    if loaded_part then return hints.on(ok, ...) end
    return ok, ...
end

local function reload(...)
    return told(attempt(...))
end

--- `f`, but that it takes the dependents along, where the option says so (R12.7).
local function with_dependents(f)
    return function(...)
        local _, options = ...
        local wanted = type(options) == "table" and rawget(options, "dependents") == true
        if not wanted then return f(...) end
        return core.dependents.reload(f, ...)
    end
end

--- Replaces the code of modules while they run; see `gg.reload` in meta.lua.
functions.reload = with_dependents(hooks.around(reload, services))

--- Returns the module whose chunk is running for a reload, and whether that reload is dry; see
--- `hotreload.reloading` in meta.lua.
function functions.reloading()
    if running[RUNNING.module] and running[RUNNING.is_loaded] then
        return running[RUNNING.module], running[RUNNING.dry_run]
    end
    return nil
end

--- Continues a sweep in slices; see `hotreload.sweep` in meta.lua.
function functions.sweep(budget_ms)
    local wrong = budget_ms ~= nil and arguments.milliseconds(budget_ms)
    if wrong then error(format("bad argument #1 to 'sweep' (%s)", wrong), 2) end
    local done, walked, waiting, passes, references, stale, warnings = sweep(budget_ms)
    if done == nil then return nil, walked end
    return done, {
        objects = walked, waiting = waiting, passes = passes,
        references = references, stale = stale, warnings = warnings,
    }
end

services.finish_sweep = finish_sweep

--- Returns what is known of a module; nothing if no reload has seen it.
function services.record_of(name)
    local record = records[name]
    if record then update(record, name) end
    return record
end

function services.names()
    local names = {}
    for name in next, records do names[#names + 1] = name end
    return names
end

function services.why_not(name)
    local why, last = why_busy(), hooking[name]
    if why then return why end
    if last and last[GUARD.open] then
        return "its hook (__hotfix) has not ended yet; wait until it has"
    end
end

--- No reload of the module begins until the guard's end.
function services.guard(name)
    local guard = new_guard({})
    hooking[name] = guard
    return guard
end

function services.undo(entries)
    local ok, message = core.undo(entries, own)
    if ok then return true end
    return false, message == 1 and HALF_UNDONE or message_of(message)
end

--- The module's object is what `package.loaded` has now.
function services.met(name) objects[name] = rawget(loaded, name) or nil end

function services.instances(...)
    local done, handle
    state.owed, done, handle = core.instances(state.owed, own, ...)
    return done, handle
end

function services.migrated(...)
    local ok, message
    state.owed, ok, message = core.migrated(state.owed, ...)
    return ok, message
end

------------------------------------------------------------------------------------------------------------------------
-- The functions of parts that are loaded when one of these is called

local function old_code(modules)
    local why = why_busy()
    if why then return nil, why end
    local found
    state.owed, found, why = core.stale(state.owed, own, modules)
    if not found then return nil, message_of(why) end
    return found
end

local function known_of(name)
    local record = records[name]
    if not record or not rawequal(objects[name], rawget(loaded, name)) then return nil end
    return record
end

local function plan_with(names, options)
    return reload(1, nil, names, options)
end

local installers = {
    plan = function()
        core.plan.install(functions, with_dependents(plan_with), options_of_reload)
    end,
    stale = function() core.stales.install(functions, records, old_code, own) end,
    changed = function() core.changes.install(functions, known_of, records) end,
    track = function() core.track_part.install(functions) end,
    version = function() versions.install(functions, services) end,
    undo = function() undos.install(functions, services) end,
    dependents = function() core.dependents.install(functions) end,
    instances = function() core.instances_part.install(functions, services) end,
    near = function() core.hints.install(functions) end,
}
installers.requires, installers.touched = installers.changed, installers.changed
installers.purge, installers.tracked = installers.version, installers.track

return setmetatable(functions, {
    __index = function(_, name)
        local install = installers[name]
        if not install then return nil end
        install()
        return rawget(functions, name)
    end,
})
