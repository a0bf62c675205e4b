-- The Lua side of the generated programs. The modules' functions report to T what they do; `walk`
-- tells what there is, in the words in which the reference program (heap.rs) tells it. Tables and
-- cells keep their numbers for the whole case.
--
--    test.begin()          the words since the last look, and an empty log
--    test.walk()           one line for each object that can be reached from the module, its
--                          globals, REG and H; then what each function of the module's own reports
--                          when it is called
--    test.t, test.f        tables by number; functions by their number in the last walk

local test = ...

local type, tostring, next = type, tostring, next
local format, concat, sort = string.format, table.concat, table.sort
local getmetatable, rawget, pcall, math_type = debug.getmetatable, rawget, pcall, math.type
local getupvalue, upvalueid = debug.getupvalue, debug.upvalueid

-- Numbers of cells are by address, so nothing may be freed.
collectgarbage "stop"

local log = {}
local numbers, cells = setmetatable({}, { __mode = "k" }), {}
local tables, cell_count = {}, 0
test.t = setmetatable(tables, { __mode = "v" })

local dep = {}
function dep.f() T "dep.f" end
function dep.g() T "dep.g" end
package.loaded.dep = dep
local imports = {
    [math.floor] = "floor", [math.ceil] = "ceil", [dep] = "dep", [dep.f] = "dep.f",
    [dep.g] = "dep.g",
}

local function word(value)
    local kind = type(value)
    if kind == "string" then return format("%q", value) end
    if imports[value] then return imports[value] end
    return (kind == "table" or kind == "function") and kind or tostring(value)
end

function T(value) log[#log + 1] = word(value) end
function N(value) return math_type(value) == "integer" and value or 0 end
function V(object) return type(object) == "table" and rawget(object, "v") or nil end
function C(f, n)
    if n > 0 and type(f) == "function" then f(n - 1) else T "-" end
end

REG, H = {}, {}

function test.begin()
    local text = concat(log, " ")
    log = {}
    return text
end

-- A function of the program's own that takes the place of a module's function.
function test.patch(t, key)
    local old = t[key]
    t[key] = function(n)
        n = N(n)
        T "foreign"
        C(old, n)
    end
end

function test.method(object, key, n)
    local f = object[key]
    if type(f) == "function" then f(object, n) end
end

function test.hold(value) H[#H + 1] = value end

function test.make(f, v)
    if f == math.floor or f == math.ceil then return end
    local made = f(1, v)
    if made ~= nil then H[#H + 1] = made end
end

local function is_name(key) return math_type(key) == "integer" or type(key) == "string" end

function test.walk()
    local lines, queue, functions, met = {}, {}, {}, {}
    local function show(value)
        local kind = type(value)
        if imports[value] then return imports[value] end
        if kind == "table" then
            local number = numbers[value]
            if not number then
                number = #tables + 1
                numbers[value], tables[number] = number, value
            end
            if not met[value] then
                met[value] = true
                queue[#queue + 1] = value
            end
            return "t" .. number
        elseif kind == "function" then
            if not met[value] then
                functions[#functions + 1] = value
                met[value] = "f" .. #functions
                queue[#queue + 1] = value
            end
            return met[value]
        end
        return word(value)
    end
    local roots = { rawget(_G, "Mod") or package.loaded.m, package.loaded.m,
        package.loaded.n, REG, H }
    for i = 1, 5 do lines[i] = format("root %d: %s", i, show(roots[i])) end
    for _, prefix in ipairs { "g_f", "g_d", "j_f", "j_d" } do
        for n = 0, 4 do
            local name = prefix .. n
            local value = rawget(_G, name)
            if value ~= nil then lines[#lines + 1] = format("%s: %s", name, show(value)) end
        end
    end
    local i = 1
    while queue[i] do
        local value = queue[i]
        local parts = {}
        if type(value) == "table" then
            local name = show(value)
            local keys = {}
            for key in next, value do
                if not is_name(key) then error("a key of kind " .. type(key)) end
                keys[#keys + 1] = key
            end
            sort(keys, function(a, b)
                if type(a) ~= type(b) then return type(a) == "number" end
                return a < b
            end)
            for _, key in ipairs(keys) do
                parts[#parts + 1] = format("%s=%s", key, show(rawget(value, key)))
            end
            local metatable = getmetatable(value)
            if metatable then parts[#parts + 1] = "meta=" .. show(metatable) end
            lines[#lines + 1] = format("%s {%s}", name, concat(parts, " "))
        else
            local upvalues = {}
            for n = 1, 255 do
                local name, content = getupvalue(value, n)
                if not name then break end
                -- Functions of the harness have its own locals; only a patch has one that counts.
                if name ~= "_ENV" and name ~= "C" and name ~= "T" and name ~= "N" then
                    upvalues[#upvalues + 1] = { name = name, content = content,
                        cell = upvalueid(value, n) }
                end
            end
            sort(upvalues, function(a, b) return a.name < b.name end)
            for _, upvalue in ipairs(upvalues) do
                local cell = cells[upvalue.cell]
                if not cell then
                    cell_count = cell_count + 1
                    cell = cell_count
                    cells[upvalue.cell] = cell
                end
                parts[#parts + 1] = format("%s=c%d:%s", upvalue.name, cell, show(upvalue.content))
            end
            lines[#lines + 1] = format("%s (%s)", met[value], concat(parts, " "))
        end
        i = i + 1
    end
    test.f = functions
    for n, f in ipairs(functions) do
        log = {}
        local ok, message = pcall(f, 2)
        lines[#lines + 1] = format("call f%d: %s", n, concat(log, " "))
        if not ok then lines[#lines + 1] = tostring(message) end
    end
    log = {}
    return concat(lines, "\n")
end
