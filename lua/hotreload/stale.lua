-- What still runs old code (R11): the text around the native walk, and the ways to what holds an
-- old function. Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments = core.arguments

local error, type, next, pairs, select, tostring = error, type, next, pairs, select, tostring
local rawget, setmetatable = rawget, setmetatable
local format, sort, concat, find = string.format, table.sort, table.concat, string.find
local getmetatable, getupvalue, getlocal = debug.getmetatable, debug.getupvalue, debug.getlocal
local getuservalue, getinfo, getregistry = debug.getuservalue, debug.getinfo, debug.getregistry

local stale = {}

-- The indices of the lists that the native part uses as well.
local ROW, MODULE = core.layout.stale_row, core.layout.stale_module
local MAIN_THREAD = 1 -- in the registry
local options_of_stale = { paths = arguments.a("boolean") }

-- The types of values that lead on.
local entered = { table = true, ["function"] = true, userdata = true, thread = true }

--- Returns a key as a part of a path.
local function step(key)
    if type(key) == "string" then
        return find(key, "^[%a_][%w_]*$") and "." .. key or format("[%q]", key)
    end
    return type(key) == "number" and format("[%s]", key) or format("[%s]", type(key))
end

local function upvalue_name(f, i)
    local name = getupvalue(f, i)
    return name ~= nil and name ~= "" and name or tostring(i)
end

--- A way to each of the holders, as text, where one is found: breadth first, through tables,
--- metatables, upvalues, user values and coroutines. `skip` has what is not entered.
local function ways_to(holders, skip)
    local left, ways, seen, queue = 0, {}, {}, {}
    for holder in next, holders do
        if not ways[holder] then left = left + 1 end
    end
    for value in next, skip do seen[value] = true end
    local function meet(value, way)
        local kind = type(value)
        if not (entered[kind] and value) or seen[value] then return end
        if kind == "function" and not core.is_whole(value) then return end
        seen[value] = true
        if holders[value] then ways[value], left = way, left - 1 end
        queue[#queue + 1], queue[#queue + 2] = value, way
    end
    for name, value in next, core.loaded do
        if name ~= "_G" then meet(value, name) end
    end
    meet(_G, "_G")
    meet(getregistry(), "registry")
    local i = 1
    while left > 0 and queue[i] do
        local value, way = queue[i], queue[i + 1]
        queue[i], queue[i + 1] = false, false
        i = i + 2
        local kind = type(value)
        if kind == "table" then
            for key, inner in next, value do
                meet(inner, way .. step(key))
                meet(key, way .. "<key>")
            end
        elseif kind == "function" then
            local n = 1
            while true do
                local name, inner = getupvalue(value, n)
                if name == nil then break end
                meet(inner, way .. "@" .. upvalue_name(value, n))
                n = n + 1
            end
        elseif kind == "userdata" then
            local n = 1
            while true do
                local inner, there = getuservalue(value, n)
                if not there then break end
                meet(inner, way .. "<user value>")
                n = n + 1
            end
        else
            local level = 0
            while getinfo(value, level, "l") do
                local n = 1
                while true do
                    local name, inner = getlocal(value, level, n)
                    if name == nil then break end
                    meet(inner, way .. "$" .. name)
                    n = n + 1
                end
                level = level + 1
            end
        end
        meet(getmetatable(value), way .. "<metatable>")
    end
    return ways
end

--- Returns what a holder is called if no way to it is known.
local function nameless(holder)
    if type(holder) ~= "function" then return "a " .. type(holder) end
    local info = getinfo(holder, "S")
    return format("function <%s:%d>", info.short_src, info.linedefined)
end

--- Returns where a coroutine is running a function.
local function activation(ways, kind, thread, line, f)
    local which = thread == getregistry()[MAIN_THREAD] and "the main coroutine"
        or ways[thread] and "coroutine " .. ways[thread] or "a coroutine"
    return format("%s is %s in %s:%s", which, kind, getinfo(f, "S").short_src,
        line < 0 and "?" or line)
end

local function path(ways, kind, holder, key, f)
    if kind == "suspended" or kind == "running" then
        return activation(ways, kind, holder, key, f)
    end
    local way = ways[holder] or nameless(holder)
    if kind == "value" then return way .. step(key) end
    if kind == "key" then return way .. "<key>" end
    if kind == "metatable" then return way .. "<metatable>" end
    if kind == "type" then return format("the metatable of the type %s", type(holder)) end
    if kind == "upvalue" then return way .. "@" .. upvalue_name(holder, key) end
    if kind == "uservalue" then return format("%s<user value %d>", way, key) end
    return way .. "$local"
end

--- Returns the function's name at this place; nothing if the place has no name for it.
local function name_at(kind, holder, key)
    if kind == "value" and type(key) == "string" then return key end
    if kind == "upvalue" then
        local name = getupvalue(holder, key)
        if name ~= "" then return name end
    end
end

--- Makes `hotreload.stale`. `records` has what is known of each module, `walk` calls the native
--- part.
---@see hotreload.stale in meta.lua
function stale.install(hotreload, records, walk, own)
    local function list(name, checked)
        local names, modules = {}, {}
        for module, record in pairs(records) do
            if record.main and (name == nil or name == module) then names[#names + 1] = module end
        end
        sort(names)
        for i, module in pairs(names) do
            local record = records[module]
            modules[i] = {
                [MODULE.source] = record.source,
                [MODULE.main] = record.main,
                [MODULE.previous] = record.previous,
            }
        end
        local rows, why = walk(modules)
        if not rows then return nil, why end
        local holders, found, order = {}, setmetatable({}, { __mode = "k" }), {}
        for row = 0, #rows - 1, ROW.n do holders[rows[row + ROW.holder]] = true end
        local skip = { [own] = true, [rows] = true, [holders] = true, [modules] = true }
        for _, table in pairs(own) do skip[table] = true end
        -- The last is the program's own list.
        for _, table in pairs(own[core.layout.own.skipped]) do skip[table] = true end
        local ways = checked.paths and ways_to(holders, skip) or {}
        for row = 0, #rows - 1, ROW.n do
            local f, module = rows[row + ROW.value], names[rows[row + ROW.module]]
            local line, last = rows[row + ROW.line], rows[row + ROW.is_last]
            local kind, holder = rows[row + ROW.kind], rows[row + ROW.holder]
            local key = rows[row + ROW.key]
            local entry = found[f]
            if not entry then
                local record = records[module]
                local known = record.previous and 2 or 1
                local generation = last and record.generation - 1
                    or not record.undone and record.generation - known == 1 and 1 or nil
                entry = { module = module, generation = generation, line = line,
                    paths = checked.paths and {} or nil }
                found[f] = entry
                order[#order + 1] = entry
            end
            if kind == "suspended" or kind == "running" then entry.running = true end
            local called = name_at(kind, holder, key)
            if called and (not entry.name or called < entry.name) then entry.name = called end
            if checked.paths then
                entry.paths[#entry.paths + 1] = path(ways, kind, holder, key, f)
            end
        end
        for _, entry in pairs(order) do
            if entry.paths then sort(entry.paths) end
        end
        sort(order, function(a, b)
            if a.module ~= b.module then return a.module < b.module end
            if a.line ~= b.line then return a.line < b.line end
            if a.name ~= b.name then return (a.name or "") < (b.name or "") end
            return concat(a.paths or {}, "\0") < concat(b.paths or {}, "\0")
        end)
        return order
    end

    function hotreload.stale(...)
        local name, options = ...
        local wrong
        if type(name) == "table" and select("#", ...) == 1 then name, options = nil, name end
        if name ~= nil and type(name) ~= "string" then
            wrong = format("bad argument #1 to 'stale' (string expected, got %s)", type(name))
        end
        local checked, why = arguments.check(options, options_of_stale, 2, "stale")
        if wrong or not checked then error(wrong or why, 2) end
        if name ~= nil and not rawget(core.loaded, name) then
            return nil, format("module '%s' is not loaded", arguments.shown(name))
        end
        return list(name, checked)
    end
end

return stale
