-- The live objects of a class (R14), and their migration within a reload.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments, says = core.arguments, core.says
local shown, text_of = arguments.shown, arguments.text

local error, next, pcall, rawequal, rawget, rawset = error, next, pcall, rawequal, rawget, rawset
local setmetatable, type = setmetatable, type
local clock, format, gmatch, sort = os.clock, string.format, string.gmatch, table.sort
local gethook, sethook, traceback = debug.gethook, debug.sethook, debug.traceback
local getinfo, getupvalue = debug.getinfo, debug.getupvalue
local globals = _G

local instances = {}

-- Walks that are not at their end: class → { the pass, what it has found }. Both hold nothing.
local walks = setmetatable({}, { __mode = "k" })
local weak = { __mode = "k" }
local TOO_LONG = "the migrations take longer than budget_ms; allow more time"
-- Instructions of a migration between two looks at the clock.
local CHECK = 10000

--- A check: the functions that migrate.
function instances.check(value)
    if type(value) == "function" then return end
    if type(value) ~= "table" then
        return format("function or table expected, got %s", type(value))
    end
    for key, f in next, value do
        if type(key) ~= "string" and type(key) ~= "table" then
            return format("a class or its name expected as a key, got %s", type(key))
        elseif type(f) ~= "function" then
            return format("'%s': function expected, got %s",
                type(key) == "string" and shown(key) or "table", type(f))
        end
    end
end

--- A step of the walk, or all of it: the list of objects; false where it is not at its end; or nil
--- and why not.
local function find(class, budget_ms, services)
    local walk = budget_ms and walks[class] or { false, setmetatable({}, weak) }
    walks[class] = walk
    local done, handle = services.instances(class, walk[2], walk[1], budget_ms)
    if type(handle) ~= "userdata" then
        walks[class] = nil
        return nil, type(handle) == "string" and handle or arguments.NO_MEMORY
    end
    walk[1] = handle
    if not done then return false end
    walks[class] = nil
    local list = {}
    for object in next, walk[2] do
        -- What has an `__index` is a class itself.
        local is_class = type(object) == "table" and rawget(object, "__index") ~= nil
        if not is_class and not rawequal(object, class) then list[#list + 1] = object end
    end
    return list
end

----------------------------------------------------------------------------------------------------
-- Migration

--- The class that a call names: a table; a path from the module's object or the globals; or a local
--- of the module that a function of its object has.
local function class_named(name, object)
    if type(name) == "table" then return name end
    for _, root in next, { type(object) == "table" and object or globals, globals } do
        local found = root
        for part in gmatch(name, "[^.]+") do
            found = type(found) == "table" and rawget(found, part) or nil
        end
        if type(found) == "table" then return found end
    end
    for _, f in next, type(object) == "table" and object or {} do
        local i = type(f) == "function" and core.is_whole(f) and 1
        while i do
            local upvalue, value = getupvalue(f, i)
            if upvalue == name and type(value) == "table" then return value end
            i = upvalue and i + 1
        end
    end
end

--- Which class is migrated by which function: a list of { class, function, name, change }, or nil
--- and what is wrong.
local function migrations(item, checked)
    local list, changes = {}, {}
    local function add(class, f, name)
        local change = changes[class] or { added = {}, removed = {} }
        change.generation = item.undo[core.layout.undo.generation]
        list[#list + 1] = { class, f, name, change }
    end
    for _, entry in next, item.classes or {} do
        local change = { added = {}, removed = {} }
        changes[entry.class] = change
        for _, which in next, { "added", "removed" } do
            for _, key in next, entry[which] do
                if type(key) == "string" then change[which][#change[which] + 1] = key end
            end
            sort(change[which])
        end
    end
    local migrate = checked.migrate
    if type(migrate) == "function" then migrate = { [item.object] = migrate } end
    local given = {}
    for name, f in next, migrate or {} do
        local class = class_named(name, item.object)
        if not class then
            return nil, format("there is no class '%s'; name one of the module", shown(name))
        end
        given[class] = true
        add(class, f, type(name) == "string" and name or "its class")
    end
    for _, entry in next, item.classes or {} do
        local f = rawget(entry.class, "__migrate")
        if f ~= nil and not given[entry.class] then
            local info = type(f) == "function" and getinfo(f, "S")
            local line = info and info.linedefined
            add(entry.class, f, line and format("the class in line %d", line) or "a class")
        end
    end
    sort(list, function(a, b) return a[3] < b[3] end)
    return list
end

local function failed(err)
    return traceback(text_of(err), 2)
end

--- Calls `f` so that it cannot yield, and not longer than to the deadline, if there is one.
local function call(f, object, change, deadline)
    local hook, mask, count = gethook()
    -- A hook of a host's C code could not be put back.
    if not deadline or hook and type(hook) ~= "function" then
        local _, ok, message = core.at_once(failed, f, object, change)
        return ok, message
    end
    sethook(function()
        if clock() > deadline then error(TOO_LONG, 2) end
    end, "", CHECK)
    local _, ok, message = core.at_once(failed, f, object, change)
    sethook(hook, mask, count)
    if ok and clock() > deadline then return false, TOO_LONG end
    return ok, message
end

-- What the migrations have changed; `object` is the one that is being migrated, `copy` what it was.
local function no_changes()
    return { n = 0, object = false, copy = false }
end

--- Notes what has changed in an object since its copy was made: for `core.migrated`.
local function note(changes, object, copy)
    local function add(key, old, new)
        local at = 4 * changes.n
        changes[at + 1], changes[at + 2], changes[at + 3], changes[at + 4] = object, key, old, new
        changes.n = changes.n + 1
    end
    for key, new in next, object do
        if not rawequal(copy[key], new) then add(key, copy[key], new) end
    end
    for key, old in next, copy do
        if rawget(object, key) == nil then add(key, old, nil) end
    end
end

--- Takes back what is noted, the last first, and before that what the migration under way has done:
--- memory may have ended before it could be noted.
local function put_back(changes)
    local object, copy = changes.object, changes.copy
    if object then
        for key in next, object do
            if copy[key] == nil then rawset(object, key, nil) end
        end
        for key, old in next, copy do rawset(object, key, old) end
    end
    for i = changes.n - 1, 0, -1 do
        rawset(changes[4 * i + 1], changes[4 * i + 2], changes[4 * i + 3])
    end
end

local function migrate_one(entry, object, number, deadline, changes)
    local copy = {}
    if type(object) == "table" then
        for key, value in next, object do copy[key] = value end
        changes.object, changes.copy = object, copy
    end
    local ok, message = call(entry[2], object, entry[4], deadline)
    if not ok then
        return format("the migration of object %d of %s failed: %s", number, entry[3], message)
    end
    if changes.object then note(changes, object, copy) end
    changes.object = false
end

local function migrate_all(item, checked, services, changes)
    local own = says.field(item.name, "__migrate")
    if own ~= nil and type(own) ~= "function" then
        return says.wrong(item.name, "__migrate", format("function expected, got %s", type(own)),
            checked.source)
    end
    local list, wrong = migrations(item, checked)
    if not list then return wrong end
    local deadline = checked.budget_ms and clock() + checked.budget_ms / 1000
    for _, entry in next, list do
        local objects, why = find(entry[1], nil, services)
        if not objects then return why end
        for number, object in next, objects do
            wrong = migrate_one(entry, object, number, deadline, changes)
            if wrong then return wrong end
        end
    end
    if changes.n > 0 then
        local ok, message = services.migrated(item.undo, changes)
        if not ok then return message or arguments.NO_MEMORY end
    end
end

local function failure(name, wrong, stays)
    return format("module '%s': %s%s", shown(name), text_of(wrong), stays)
end

--- Migrates the objects of one module's classes, if there are any to migrate. Returns nothing, or
--- why it failed; then the objects are as they were. Raises nothing: the reload is to be undone.
function instances.migrate(item, checked, services)
    if not (checked.migrate or item.classes or says.field(item.name, "__migrate")) then return end
    local made, changes = pcall(no_changes)
    if not made then return arguments.NO_MEMORY end
    local ready, wrong = pcall(migrate_all, item, checked, services, changes)
    if ready and not wrong then return end
    local stays = pcall(put_back, changes) and ""
        or "\nsome objects could not be put back; restart the program"
    local told, text = pcall(failure, item.name, wrong, stays)
    return told and text or arguments.NO_MEMORY
end

--- Makes `hotreload.instances`.
---@see hotreload.instances in meta.lua
function instances.install(hotreload, services)
    function hotreload.instances(class, budget_ms)
        if type(class) ~= "table" then
            error(format("bad argument #1 to 'instances' (table expected, got %s)", type(class)), 2)
        end
        local wrong = budget_ms ~= nil and arguments.milliseconds(budget_ms)
        if wrong then error(format("bad argument #2 to 'instances' (%s)", wrong), 2) end
        local why = services.why_busy()
        if why then return nil, why end
        return find(class, budget_ms, services)
    end
end

return instances
