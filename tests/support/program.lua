-- The Lua side of the Rust tests: every text that a test runs gets this table as its argument.
--
--    test.snapshot(...)   remember the whole program: all that is reachable from the globals,
--                         package.loaded, package.preload, the metatables of basic types and the
--                         given values. Tables with raw keys, values and metatable, functions with
--                         name, cell and value of each upvalue. Objects are held and compared by
--                         themselves. Coroutine stacks and the library's own functions are left
--                         out.
--    test.taken           that was done
--    test.changes()       nil while all of that is as it was, else a text with a line for each
--                         difference
--    test.describe(...)   a text that tells the shape of values: what they hold, and which of it is
--                         shared; the order of tables and the addresses of objects are not in it

local test = {}

local getmetatable, getupvalue, upvalueid, getinfo = debug.getmetatable, debug.getupvalue,
    debug.upvalueid, debug.getinfo
local next, rawget, rawequal, type, tostring, math_type = next, rawget, rawequal, type,
    tostring, math.type
local format, concat, sort, pack = string.format, table.concat, table.sort, table.pack
local G, loaded, preload = _G, package.loaded, package.preload

local function is_object(value)
    local kind = type(value)
    return kind == "table" or kind == "function" or kind == "userdata" or kind == "thread"
end

local function basic_metatables()
    return pack(getmetatable(nil), getmetatable(true), getmetatable(0), getmetatable(""),
        getmetatable(print),
        getmetatable(coroutine.running()))
end

-- The library's own functions, and this table, are no part of the program.
local function left_out()
    local out = { [test] = true }
    local library = loaded.hotreload
    if library then
        for _, member in next, library do out[member] = true end
    end
    local standing = debug.getregistry()["hotreload.standing"]
    if standing and standing[1] then out[standing[1]] = true end -- in package.searchers
    return out
end

local taken

function test.snapshot(...)
    local out = left_out()
    local objects, places, records = {}, {}, {}
    local function meet(value, place, ...)
        if is_object(value) and not places[value] then
            places[value] = format(place, ...)
            if not out[value] then objects[#objects + 1] = value end
        end
    end
    local roots = pack(...)
    meet(G, "_G")
    meet(loaded, "package.loaded")
    meet(preload, "package.preload")
    for i = 1, roots.n do meet(roots[i], "root %d", i) end
    local basic = basic_metatables()
    for i = 1, basic.n do meet(basic[i], "basic metatable %d", i) end

    local i = 1
    while objects[i] do
        local object = objects[i]
        local place = places[object]
        local record = { metatable = getmetatable(object) }
        meet(record.metatable, "%s<metatable>", place)
        if type(object) == "table" then
            record.fields = {}
            for key, value in next, object do
                record.fields[key] = value
                meet(key, "%s<key>", place)
                meet(value, "%s.%s", place, key)
            end
        elseif type(object) == "function" then
            record.upvalues = {}
            for n = 1, 255 do
                local name, value = getupvalue(object, n)
                if name == nil then break end
                record.upvalues[n] = { name = name, value = value, cell = upvalueid(object, n) }
                meet(value, "%s@%s", place, name)
            end
        end
        records[i] = record
        i = i + 1
    end
    test.taken = true
    taken = { objects = objects, places = places, records = records, basic = basic, roots = roots }
end

local function same(a, b)
    return rawequal(a, b) and math_type(a) == math_type(b) or a ~= a and b ~= b
end

function test.changes()
    local lines, places = {}, taken.places
    local function compare(place, step, was, is)
        if not same(was, is) then
            lines[#lines + 1] = format("%s%s: %s became %s", place, tostring(step),
                places[was] or tostring(was),
                places[is] or tostring(is))
        end
    end
    local basic = basic_metatables()
    for i = 1, basic.n do compare("basic metatable ", i, taken.basic[i], basic[i]) end
    for i, object in ipairs(taken.objects) do
        local record, place = taken.records[i], places[object]
        compare(place, "<metatable>", record.metatable, getmetatable(object))
        if record.fields then
            for key, value in next, record.fields do
                compare(place .. ".", key, value, rawget(object, key))
            end
            for key, value in next, object do
                if record.fields[key] == nil then compare(place .. ".", key, nil, value) end
            end
        elseif record.upvalues then
            for n, upvalue in ipairs(record.upvalues) do
                local _, value = getupvalue(object, n)
                compare(place .. "@", upvalue.name, upvalue.value, value)
                if upvalue.cell ~= upvalueid(object, n) then
                    lines[#lines + 1] = format("%s@%s: another cell", place, upvalue.name)
                end
            end
        end
    end
    if lines[1] then
        sort(lines)
        return concat(lines, "\n", 1, math.min(#lines, 20))
    end
end

-- Keys that are objects are told by what they hold, one level deep, so that they can be put in
-- order.
local function key_text(key, names)
    if math_type(key) == "float" then return format("[%a]", key) end
    if not is_object(key) then
        return format(type(key) == "string" and ".%s" or "[%s]", tostring(key))
    end
    if names[key] then return format("[%s]", names[key]) end
    if type(key) == "function" then
        local info = getinfo(key, "S")
        return format("[function %s:%d]", info.short_src, info.linedefined)
    end
    local inside = {}
    if type(key) == "table" then
        for k, v in next, key do
            inside[#inside + 1] = tostring(k) .. "=" .. (is_object(v) and type(v) or tostring(v))
        end
        sort(inside)
    end
    return format("[%s {%s}]", type(key), concat(inside, ","))
end

function test.describe(...)
    local out, lines, names, cells, queue = left_out(), {}, {}, {}, {}
    for _, name in ipairs { "string", "table", "math", "io", "os", "coroutine", "utf8", "debug",
        "package" } do
        for key, value in next, loaded[name] do
            if is_object(value) then names[value] = name .. "." .. tostring(key) end
        end
        names[loaded[name]] = name
    end
    local function show(value, place)
        if not is_object(value) then
            return math_type(value) == "float" and format("%a", value) or format("%s %s",
                type(value), tostring(value))
        end
        if out[value] then return "the library's" end
        if not names[value] then
            names[value] = place
            queue[#queue + 1] = value
            return type(value)
        end
        return "same as " .. names[value]
    end
    local function line(place, value)
        lines[#lines + 1] = format("%s: %s", place, show(value, place))
    end
    local roots = pack(...)
    for i = 1, roots.n do line(format("root %d", i), roots[i]) end
    local i = 1
    while queue[i] do
        local object = queue[i]
        local place = names[object]
        local metatable = getmetatable(object)
        if metatable then line(place .. "<metatable>", metatable) end
        if type(object) == "table" then
            local keys = {}
            for key, value in next, object do
                keys[#keys + 1] = { text = key_text(key, names), key = key, value = value }
            end
            sort(keys, function(a, b) return a.text < b.text end)
            for _, entry in ipairs(keys) do
                if is_object(entry.key) then line(place .. "<key>" .. entry.text, entry.key) end
                line(place .. entry.text, entry.value)
            end
        elseif type(object) == "function" then
            local info = getinfo(object, "S")
            lines[#lines + 1] = format("%s is %s:%d", place, info.short_src, info.linedefined)
            for n = 1, 255 do
                local name, value = getupvalue(object, n)
                if name == nil then break end
                local cell = upvalueid(object, n)
                local step = format("%s@%s", place, name)
                if cell and cells[cell] then
                    lines[#lines + 1] = format("%s: the cell of %s", step, cells[cell])
                else
                    if cell then cells[cell] = step end
                    if name ~= "_ENV" then line(step, value) end
                end
            end
        end
        i = i + 1
    end
    return concat(lines, "\n")
end

-- The table that the library's own files share: each is a field, and is loaded when that is read
-- first.
function test.core()
    local reload = require "hotreload".reload
    for n = 1, 255 do
        local name, value = getupvalue(reload, n)
        if not name then error "gg.reload has no such upvalue" end
        if type(value) == "table" and rawget(value, "part") then return value end
    end
end

-- A call that must return true; returns the report.
function test.reload(name, options)
    local ok, report = gg.reload(name, options)
    if not ok then error("reload of " .. name .. ": " .. tostring(report), 2) end
    return report
end

function test.equal(is, wanted, what)
    if not rawequal(is, wanted) then
        error(format("%s: %s, expected %s", what or "value", tostring(is), tostring(wanted)), 2)
    end
end

return test
