-- What the public functions take, and the errors for anything else (R1.1).
-- Part of the library (src/raw/open.rs includes it).

local error, select, type, tostring, next = error, select, type, tostring, next
local concat, format = table.concat, string.format

local arguments = {}

--- A check: one of these values.
function arguments.one_of(...)
    local known = {}
    for i = 1, select("#", ...) do known[(select(i, ...))] = true end
    local names = concat({ ... }, "', '")
    return function(value)
        if not known[value] then return format("'%s' expected, got '%s'", names, tostring(value)) end
    end
end

--- A check: a value of this type.
function arguments.a(wanted)
    return function(value)
        if type(value) ~= wanted then return format("%s expected, got %s", wanted, type(value)) end
    end
end

local function bad_argument(number, name, message)
    error(format("bad argument #%d to '%s' (%s)", number, name, message), 4)
end

--- Checks a table of options against `known`, and returns a copy of it that no metamethod of the caller's reaches.
function arguments.check(options, known, number, name)
    local checked = {}
    if options == nil then return checked end
    if type(options) ~= "table" then
        bad_argument(number, name, format("table expected, got %s", type(options)))
    end
    for key, value in next, options do
        local check = known[key]
        if not check then bad_argument(number, name, format("unknown option '%s'", tostring(key))) end
        local wrong = check(value)
        if wrong then bad_argument(number, name, format("option '%s': %s", key, wrong)) end
        checked[key] = value
    end
    return checked
end

return arguments
