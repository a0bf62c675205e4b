-- What the public functions take, and the errors for anything else (R1.1).
-- Part of the library (src/lua/open.rs includes it).

local core = ...

local select, type, tostring, next, pcall = select, type, tostring, next, pcall
local globals, loaded = _G, core.loaded
local rawequal, rawget, rawlen, math_type = rawequal, rawget, rawlen, math.type
local metatable_of = debug.getmetatable
local concat, format, sort = table.concat, string.format, table.sort
local byte, gsub, sub = string.byte, string.gsub, string.sub

local arguments = {}

-- The message for when there is no memory to make one.
arguments.NO_MEMORY = "not enough memory; nothing was changed"

--- An error object as text, whatever it is: its `__tostring` may raise.
function arguments.text(err)
    if type(err) == "string" or type(err) == "number" then return tostring(err) end
    local mt = metatable_of(err)
    if type(mt) == "table" and rawget(mt, "__tostring") then
        local ok, text = pcall(tostring, err)
        if ok then return text end
    end
    return format("(error object is a %s value)", type(err))
end

--- A check: one of these values.
function arguments.one_of(...)
    local known = {}
    for i = 1, select("#", ...) do known[(select(i, ...))] = true end
    local names = concat({ ... }, "', '")
    return function(value)
        if not known[value] then
            return format("'%s' expected, got '%s'", names, tostring(value))
        end
    end
end

--- A check: a value of this type.
function arguments.a(wanted)
    return function(value)
        if type(value) ~= wanted then return format("%s expected, got %s", wanted, type(value)) end
    end
end

--- A check: names and what they are called now, each another one.
function arguments.names(value)
    if type(value) ~= "table" then return format("table expected, got %s", type(value)) end
    local seen = {}
    for old, new in next, value do
        if type(old) ~= "string" then
            return format("a former name is a string, got %s", type(old))
        end
        if type(new) ~= "string" then
            return format("'%s': string expected, got %s", old, type(new))
        end
        if seen[new] then return format("two names become '%s'", new) end
        seen[new] = true
    end
end

--- A check: a time in milliseconds.
function arguments.milliseconds(value)
    if type(value) ~= "number" then return format("number expected, got %s", type(value)) end
    if not (value > 0 and value < 1 / 0) then
        return format("a positive number expected, got %s", value)
    end
end

-- As many bytes of a name stand in a message.
local MOST_SHOWN = 300

local function written_out(c)
    return format("\\%03d", byte(c, -1))
end

--- A name as it stands in a message or a report's text: what would end the line or steer a terminal
--- is written out, and of a long one the middle is left out (R1.9; as `shown` in
--- src/support/error.rs).
function arguments.shown(name)
    if #name > MOST_SHOWN then
        name = sub(name, 1, MOST_SHOWN // 2) .. "..." .. sub(name, -MOST_SHOWN // 2)
    end
    return (gsub(gsub(name, "\xC2[\x80-\x9F]", written_out), "%c", written_out))
end

--- The message for a module that is not taken (R1.4).
function arguments.refusal(name, why)
    return format("module '%s' cannot be reloaded: %s", arguments.shown(name), why)
end

local function bad_argument(number, name, message)
    return nil, format("bad argument #%d to '%s' (%s)", number, name, message)
end

--- For the message about an unknown option: the known ones, sorted.
local function names_of(known)
    local names = {}
    for name in next, known do names[#names + 1] = name end
    sort(names)
    return concat(names, ", ")
end

--- Checks a table of options against `known`. Returns a copy of it that no metamethod of the
--- caller's reaches, or nil and what is wrong with argument `number` of the function `name`.
function arguments.check(options, known, number, name)
    local checked = {}
    if options == nil then return checked end
    if type(options) ~= "table" then
        return bad_argument(number, name, format("table expected, got %s", type(options)))
    end
    for key, value in next, options do
        local check = known[key]
        if not check then
            return bad_argument(number, name,
                format("unknown option '%s'; known: %s", tostring(key), names_of(known)))
        end
        local wrong = check(value)
        if wrong then return bad_argument(number, name, format("option '%s': %s", key, wrong)) end
        checked[key] = value
    end
    return checked
end

--- What is given in the place of a module's name, if it is easily told: the table whose function
--- is called, or the module itself.
local function mistaken(value, of)
    if type(value) ~= "table" and type(value) ~= "function" then return end
    local owner = rawequal(value, rawget(globals, "gg")) and "gg"
        or rawequal(value, rawget(loaded, "hotreload")) and "hotreload"
    if owner then
        return format("a name expected, got %s; call %s.%s with a dot", owner, owner, of)
    end
    local found
    for name, object in next, loaded do
        if rawequal(object, value) and type(name) == "string" and not (found and found < name) then
            found = name
        end
    end
    return found and format("a name expected, got the module itself; did you mean '%s'?",
        arguments.shown(found))
end

--- The modules' names as a list; or nil and what is wrong with the argument.
function arguments.list_of_names(count, names, of)
    if type(names) == "string" then return { names } end
    local wrong
    if type(names) ~= "table" then
        wrong = format("string or table expected, got %s", count == 0 and "no value" or type(names))
    else
        local list, seen = {}, {}
        for key in next, names do
            if math_type(key) ~= "integer" or key < 1 or key > rawlen(names) then
                wrong = "a list of names expected"
            end
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
    return nil, format("bad argument #1 to '%s' (%s)", of, mistaken(names, of) or wrong)
end

return arguments
