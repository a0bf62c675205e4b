-- What programs call: the way of a reload around its native part, and the hook (called from Lua, so that it may yield).
-- Part of the library (src/lua/open.rs includes it); gets the native functions as its argument, with what the files
-- beside this one return.
-- The rules (R1.1) are those of docs/semantics.md.

local core = ...
local arguments, allow, reports, changes = core.arguments, core.allow, core.report, core.changes
local hooks, plans, stales = core.hooks, core.plan, core.stales
local shown, refusal = arguments.shown, arguments.refusal

local error, pcall, xpcall, select, type = error, pcall, xpcall, select, type
local rawget, rawset, next, pairs = rawget, rawset, next, pairs
local setmetatable, rawequal, rawlen, math_type = setmetatable, rawequal, rawlen, math.type
local format = string.format
local traceback = debug.traceback
local globals, loaded = _G, package.loaded

local hotreload = { _VERSION = core.version }

-- Per module: its generation, the source name of its functions, the entry that undoes its last reload, the main
-- functions of its last two chunks (R11), and what is on record of A0 (R8; src/model/base.rs).
local records = {}
-- What `core.reload` answers for each module, by its place in the list `answers`: eight values, counts, times.
local OBJECT, HOOK, SOURCE, MAIN, BASE, CALLS, FILE, ANSWERS = 1, 2, 3, 4, 5, 6, 7, 8 + reports.NUMBERS
-- Made by a constructor: where memory is short `table.unpack` raises another message than Lua's own.
local function no_answers()
    return {
        false, false, false, false, false, false, false, false, false, false,
        false, false, false, false, false, false, false, false, false, false,
        false, false, false, false, false, false, false, false, false, false,
        false,
    }
end
if #no_answers() ~= ANSWERS then error "no_answers and reports.NUMBERS differ" end
-- Per module, weakly: what `package.loaded` had when hotreload saw it last, or false.
local objects = setmetatable({}, { __mode = "v" })
-- Weakly, for every function that a load placed, every table that it made, and what it imports: the number of the
-- object (R3.3, R8). For every module, by its name: the locals that some function has assigned (R4.7).
local weak = { __mode = "k" }
local lineage = setmetatable({}, weak)
-- [1]: the module whose chunk is running, or false (R7.5). Set and reset natively, where no error can come between.
-- [2]: it was loaded before; [3]: the reload is dry (R2.6).
local running = { false, false, false }
-- What reloads allocated since the collector's last cycle, in KiB.
local owed = 0
-- Modules whose reload has not ended: name -> its guard, held by the call that runs it.
local hooking = setmetatable({}, { __mode = "v" })
-- The sweep in slices that is under way (R9.4): what the native part keeps of it; and the names of its modules.
local sweeping, swept_modules = {}, {}
-- How often a reload has asked to join it, ever and since it began; and how many may before it is finished at once:
-- what each of them leaves for it is kept until then.
local joined, waiting_reloads = 0, 0
local MOST_WAITING = 32
-- The tables that no walk over the VM enters. Their places are known to the native part; the last
-- one is the program's own list (R2.11).
local own = { records, hooking, lineage, objects, sweeping, {} }
local SKIPPED = 6

-- The collector has ended a cycle, and the weak table keeps room for what it lost.
local collected = false

local function after_collection()
    owed, collected = 0, true
    setmetatable({}, { __gc = after_collection })
end
after_collection()

--- After a cycle of the collector the living move to a new table. Not while a chunk runs, nor whenever the collector
--- likes: a reload that is under way notes its functions in the one that it was given.
local function move_living()
    collected = false
    if running[1] then return end
    local living = setmetatable({}, weak)
    for key, number in next, lineage do living[key] = number end
    lineage, own[3] = living, living
end

------------------------------------------------------------------------------------------------------------------------
-- Arguments (R1.1)

local options_of_reload = {
    scope = arguments.one_of("module", "vm"),
    budget_ms = arguments.milliseconds,
    on_conflict = arguments.one_of("error", "keep", "replace"),
    data = arguments.one_of("keep", "merge", "replace"),
    constants = arguments.one_of("follow", "keep"),
    patches = arguments.one_of("replace", "keep"),
    wrappers = arguments.one_of("follow", "drop"),
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
    skip = is_list_of_tables,
}

--- Says which modules may be reloaded. Each key given replaces that list.
---@see hotreload.configure in meta.lua
function hotreload.configure(options)
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
        elseif which == "skip" then
            own[SKIPPED] = value
        else
            (hooks.has(which) and hooks or allow).set(which, value)
        end
    end
end

------------------------------------------------------------------------------------------------------------------------
-- The reload

local function hook_failed(err)
    return traceback(arguments.text(err), 2)
end

-- Messages for when there is no memory to make one.
local NO_MEMORY = arguments.NO_MEMORY
local NOT_PUT_BACK = "some of the program could not be put back"
local HALF_UNDONE = NOT_PUT_BACK .. "; free some memory and call hotreload.undo again"

local function message_of(native)
    return native == 1 and NOT_PUT_BACK or native or NO_MEMORY
end

-- A guard stands for a reload from before its commit to the end of its hooks: { open, entries, own, told, message }. An
-- entry undoes one module's reload: { transaction, record, generation and source before, what undoes references }. Its
-- end is native, where no error from outside (a debug hook's) can come between: it is closed, and undone as long as it
-- has its entries, which is until the hooks have ended well. Unless it is told already, a failure to undo is raised.
local Guard = { __close = core["end"] }

--- Why nothing can be done while a chunk runs.
local function why_busy()
    return format("the chunk of module '%s' is running in a reload", shown(running[1]))
end

local function half_undone(name, message, why)
    return format("the hook of module '%s' failed: %s\n%s", shown(name), message, why)
end

--- Runs the hooks, which may yield (R7.2). If one raises, or its coroutine is closed, the whole reload is undone.
local function run_hooks(guard, batch)
    for i = 1, #batch do
        local item = batch[i]
        local hook = item.answers[HOOK]
        if hook then
            local ok, message = xpcall(hook, hook_failed, item.answers[OBJECT], item.report)
            if not ok then
                local undone, why = core.close(guard)
                if undone then
                    return format("the hook of module '%s' failed, the reload was undone: %s", shown(item.name),
                        message)
                end
                -- What could not be undone is told here, be there memory for a message or not.
                guard[4] = true
                local told, text = pcall(half_undone, item.name, message,
                    why == 1 and NOT_PUT_BACK or why or NOT_PUT_BACK)
                return told and text or NOT_PUT_BACK
            end
        end
    end
end

--- What the caller gets: the report of one module, or a list of them.
local function result_of(batch)
    return batch.single and batch[1].report or batch.reports
end

local function finish(guard, batch, dry, now_owed, ok, message)
    -- Where a cycle ended meanwhile, nothing is owed any more.
    owed = collected and 0 or now_owed
    local answered = batch[#batch].answers[OBJECT] ~= false
    for i = 1, answered and #batch or 0 do
        local item = batch[i]
        local generation = item.undo[3] + (ok and 1 or 0)
        reports.fill(item.report, generation, dry, item.answers, FILE)
    end
    if not ok and not answered then return false, message_of(message) end
    if not ok then return false, message_of(message), result_of(batch) end
    if dry then return true, result_of(batch) end
    for i = 1, #batch do
        local item = batch[i]
        local record = item.undo[2]
        record.generation, record.source = item.undo[3] + 1, item.answers[SOURCE]
        record.main, record.previous = item.answers[MAIN], record.main
        record.base, record.calls = item.answers[BASE], item.answers[CALLS]
        changes.reloaded(item.name, record.generation)
        hooking[item.name], objects[item.name] = guard, item.answers[OBJECT]
    end
    local failure = run_hooks(guard, batch)
    if failure then return false, failure end
    guard[1], guard[2] = false, false
    for i = 1, #batch do
        local undo = batch[i].undo
        undo[2].undo, undo[8] = undo, false
    end
    return true, result_of(batch)
end

local function new_record()
    return { generation = 0, source = false, undo = false, main = false, previous = false, base = false,
        calls = false }
end

--- What is known of a module ends with it: the program may have forgotten it, and maybe loaded it anew.
local function update(record, name)
    local object = rawget(loaded, name) or false
    if not rawequal(objects[name], object) then
        record.generation, record.undo = object and 1 or 0, false
        record.main, record.previous, record.base, record.calls = false, false, false, false
        objects[name] = object
    end
end

--- One slice of the sweep, or, without a budget, all that is left of it: done, objects, waiting, passes, references,
--- stale, warnings; nil and a message when it failed.
local function sweep(budget_ms)
    if running[1] then return nil, why_busy() end
    if next(sweeping) == nil then return true, 0, 0, 0, 0, 0, {} end
    local done, walked, waiting, passes, references, stale, warnings
    repeat
        local before = joined
        owed, done, walked, waiting, passes, references, stale, warnings =
            core.sweep(owed, sweeping, budget_ms, lineage, own)
        if not waiting then return nil, message_of(walked) end
        -- A finalizer that the collector calls behind the slice may have reloaded a module.
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

--- A reload of a module that a sweep in slices is still about joins it; one that wants all at once waits for it.
local function meet_sweep(list, checked)
    if next(sweeping) == nil then return true end
    if checked.scope == "vm" and not checked.budget_ms and not checked.dry_run then return finish_sweep() end
    for i = 1, #list do
        if swept_modules[list[i]] and not checked.dry_run then checked.scope, checked.budget_ms = "vm", 1 end
    end
    -- Nobody goes on with it.
    if checked.budget_ms and not checked.dry_run and waiting_reloads >= MOST_WAITING then return finish_sweep() end
    return true
end

--- An item of a batch: what the native part and the hooks need of one module (src/api.rs); or nil and why not.
local function item_of(name, options)
    if running[1] then
        return nil, refusal(name, format("the chunk of module '%s' is running in another reload; "
            .. "call gg.reload when it has ended", shown(running[1])))
    end
    local last = hooking[name]
    if last and last[1] then
        return nil, refusal(name, "its hook (__hotfix) of the last reload has not ended yet")
    end
    local why = allow.refused(name)
    if why then return nil, refusal(name, why) end
    local gg = rawget(globals, "gg")
    local safe = type(gg) == "table" and rawget(gg, "safe_reloads")

    local record = records[name]
    if not record then
        record = new_record()
        records[name] = record
    end
    update(record, name)
    changes.expect(name)
    return {
        name = name,
        is_data = options.data == nil and type(safe) == "table" and rawget(safe, name) and true or false,
        source = false,
        base = false,
        calls = false,
        answers = no_answers(),
        undo = { false, record, 0, false, false, false, false, false, false, false },
        report = reports.blank(name, options),
    }
end

--- Reads what is on record of a module when nothing is allocated any more: until then a finalizer may have reloaded it.
local function read_record(item)
    local undo = item.undo
    local record = undo[2]
    item.source, item.base, item.calls = record.source, record.base, record.calls
    undo[3], undo[4], undo[6], undo[7] = record.generation, record.source, record.main, record.previous
    undo[9], undo[10] = record.base, record.calls
end

--- The modules' names as a list; or nil and what is wrong with the argument.
local function names_of(count, names, of)
    if type(names) == "string" then return { names } end
    local wrong
    if type(names) ~= "table" then
        wrong = format("string or table expected, got %s", count == 0 and "no value" or type(names))
    else
        local list, seen = {}, {}
        for key in next, names do
            if math_type(key) ~= "integer" or key < 1 or key > rawlen(names) then wrong = "a list of names expected" end
        end
        for i = 1, rawlen(names) do
            local name = rawget(names, i)
            if type(name) ~= "string" then
                wrong = wrong or format("name #%d: string expected, got %s", i, type(name))
            elseif not seen[name] then
                seen[name], list[#list + 1] = true, name
            end
        end
        if not list[1] then wrong = wrong or "no names in the list" end
        if not wrong then return list end
    end
    return nil, format("bad argument #1 to '%s' (%s)", of, wrong)
end

--- All that a reload needs before its native part. What is wrong with the arguments comes back as a message, and what
--- speaks against the reload as a refusal: little but a lack of memory raises here.
local function prepare(count, names, options)
    if collected then move_living() end
    local list, wrong = names_of(count, names, "reload")
    if not list then return wrong end
    local checked
    checked, wrong = arguments.check(options, options_of_reload, 2, "reload")
    if not checked then return wrong end
    if checked.budget_ms and checked.scope ~= "vm" then
        return "bad argument #2 to 'reload' (option 'budget_ms': for scope = \"vm\" only)"
    end
    local single = type(names) == "string"
    if checked.source and not single then
        return "bad argument #2 to 'reload' (option 'source': for a single module only)"
    end
    checked.text_only = checked.text_only or allow.text_only
    checked.chunk_before, checked.chunk_after = hooks.chunk()
    local met, why = meet_sweep(list, checked)
    if not met then return nil, why end
    if checked.budget_ms and not checked.dry_run then
        joined, waiting_reloads = joined + 1, waiting_reloads + 1
    end
    local entries = {}
    local guard = setmetatable({ true, entries, own, false, NOT_PUT_BACK }, Guard)
    local batch = { single = single, reports = {} }
    for i = 1, #list do
        local item
        item, why = item_of(list[i], checked)
        if not item then return nil, why end
        batch[i], entries[i], batch.reports[i] = item, item.undo, item.report
    end
    for i = 1, #list do
        if hooking[list[i]] == nil then hooking[list[i]] = false end -- a place for the guard
        if checked.budget_ms then swept_modules[list[i]] = true end
    end
    return nil, nil, batch, checked, guard
end

--- Replaces the code of modules while they run, without the program's hooks.
local function reload(...)
    local ready, wrong, why, batch, checked, open = pcall(prepare, select("#", ...), ...)
    if wrong == "not enough memory" then return false, NO_MEMORY end
    if not ready or wrong then error(wrong, 2) end
    if why then return false, why end
    -- From here on nothing is allocated but by the native part, which undoes what it cannot finish.
    local guard <close> = open
    for i = 1, #batch do read_record(batch[i]) end
    running[2], running[3] = false, checked.dry_run or false
    return finish(guard, batch, checked.dry_run or false,
        core.reload(owed, batch, checked, core.stock, lineage, running, own, sweeping))
end

--- Replaces the code of modules while they run; see `gg.reload` in meta.lua.
hotreload.reload = hooks.around(reload)
plans.install(hotreload, reload, options_of_reload)

--- The module whose chunk is running for a reload, and whether that is dry; see `hotreload.reloading` in meta.lua.
function hotreload.reloading()
    if running[1] and running[2] then return running[1], running[3] end
    return nil
end

--- Undoes the last reload of a module; see `hotreload.undo` in meta.lua.
function hotreload.undo(...)
    local name = ...
    if type(name) ~= "string" then
        local got = select("#", ...) == 0 and "no value" or type(name)
        error(format("bad argument #1 to 'undo' (string expected, got %s)", got), 2)
    end
    local cannot = "the last reload of module '%s' cannot be undone: %s"
    local title = shown(name)
    if running[1] then
        return false, format(cannot, title,
            why_busy())
    end
    local last, record = hooking[name], records[name]
    if last and last[1] then return false, format(cannot, title, "its hook (__hotfix) has not ended yet") end
    if record then update(record, name) end
    if not record or not record.undo then
        return false, format(cannot, title, "there was none, or it is undone already")
    end
    local swept, why = finish_sweep()
    if not swept then return false, why end
    local entry = record.undo
    local ok, message = core.undo(entry, own)
    if not ok then return false, message == 1 and HALF_UNDONE or message_of(message) end
    -- A finalizer that the collector calls behind it may have reloaded the module once more.
    if rawequal(record.undo, entry) then record.undo, objects[name] = false, rawget(loaded, name) or false end
    return true
end

--- Goes on with a sweep in slices; see `hotreload.sweep` in meta.lua.
function hotreload.sweep(budget_ms)
    local wrong = budget_ms ~= nil and arguments.milliseconds(budget_ms)
    if wrong then error(format("bad argument #1 to 'sweep' (%s)", wrong), 2) end
    local done, walked, waiting, passes, references, stale, warnings = sweep(budget_ms)
    if done == nil then return nil, walked end
    return done, {
        objects = walked, waiting = waiting, passes = passes,
        references = references, stale = stale, warnings = warnings,
    }
end

stales.install(hotreload, records, function(modules)
    if running[1] then return nil, why_busy() end
    local found, why
    owed, found, why = core.stale(owed, own, modules)
    if not found then return nil, message_of(why) end
    return found
end, own)

core.track_part.install(hotreload, function(name, object, loader, before, value)
    local now_owed, base, has_functions = core.track(owed, name, loader, before, value, lineage)
    owed = now_owed
    local record = records[name] or new_record()
    records[name] = record
    -- What is known of a module ends with it.
    record.generation, record.source, record.undo, record.previous = 1, false, false, false
    -- A file of data has no code to be compared later, and its main function is as large as the data.
    record.main = has_functions and loader or false
    record.base, record.calls, objects[name] = base or false, false, object
end)

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
