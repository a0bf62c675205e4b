-- What a module's own tables and cells hold, so that what a hook wrote before it raised can be put
-- back (R7.7). Part of the library (src/lua/open.rs includes it).

local core = ...
local text_of = core.arguments.text

local next, pcall, rawequal, rawget, rawset, type = next, pcall, rawequal, rawget, rawset, type
local getinfo, getupvalue, setupvalue = debug.getinfo, debug.getupvalue, debug.setupvalue
local getmetatable, setmetatable = debug.getmetatable, debug.setmetatable
local upvalueid = debug.upvalueid
local traceback, format = debug.traceback, string.format
local globals, loaded = _G, core.loaded

local memo = {}

-- How many table entries are remembered: the module of a hook may have any amount of data.
local MOST = 10000
local FAR_STAYS = format("\nthe module has more than %d entries: "
    .. "what was written far from its object stays; check it", MOST)

--- Returns a copy of a table's entries, and their number; nothing if there are more than `most`.
local function copy_of(table, most)
    local copy, count = {}, 0
    for key, value in next, table do
        count = count + 1
        if count > most then return nil, most end
        copy[key] = value
    end
    return copy, count
end

--- Remembers what is reached from the object of a module and its function `f`: tables whole, and
--- the upvalues of functions that come from the file of `f`. The nearest come first. Other
--- modules' objects and the globals are not entered.
function memo.of(object, f)
    local seen, queue, left = { [globals] = true, [loaded] = true }, {}, MOST
    for _, other in next, loaded do seen[other] = true end
    local source = getinfo(f, "S").source
    local known = { tables = {}, cells = {}, is_whole = true }
    local function meet(value)
        local kind = type(value)
        if kind ~= "table" and kind ~= "function" or seen[value] then return end
        seen[value], queue[#queue + 1] = true, value
    end
    seen[object] = nil
    meet(object)
    meet(f)
    local i = 1
    while queue[i] do
        local value = queue[i]
        if type(value) == "table" then
            local copy, count = copy_of(value, left)
            left = left - count
            known.is_whole = known.is_whole and copy ~= nil
            if copy then
                local metatable = getmetatable(value)
                known.tables[#known.tables + 1] = { value, copy, metatable }
                meet(metatable)
                for _, inner in next, copy do meet(inner) end
            end
        elseif getinfo(value, "S").source == source and core.is_whole(value) then
            local n = 1
            while true do
                local name, inner = getupvalue(value, n)
                if name == nil then break end
                local cell = upvalueid(value, n)
                if not seen[cell] then
                    seen[cell], known.cells[#known.cells + 1] = true, { value, n, inner }
                    meet(inner)
                end
                n = n + 1
            end
        end
        i = i + 1
    end
    return known
end

local function put_back(known)
    for _, cell in next, known.cells do
        local _, value = getupvalue(cell[1], cell[2])
        if not rawequal(value, cell[3]) then setupvalue(cell[1], cell[2], cell[3]) end
    end
    for _, entry in next, known.tables do
        local table, copy = entry[1], entry[2]
        for key in next, table do
            if copy[key] == nil then rawset(table, key, nil) end
        end
        for key, value in next, copy do
            if not rawequal(rawget(table, key), value) then rawset(table, key, value) end
        end
        if not rawequal(getmetatable(table), entry[3]) then setmetatable(table, entry[3]) end
    end
end

--- Puts back what is remembered. Returns a text for the message, which may be empty. Allocates
--- nothing itself.
function memo.put_back(known)
    if not pcall(put_back, known) then
        return "\nsome of what it wrote could not be put back; restart the program"
    end
    return known.is_whole and "" or FAR_STAYS
end

local function failed(err)
    return traceback(text_of(err), 2)
end

--- Calls a module's own function for the module's object. Returns whether it has yielded, then as
--- `pcall`, with a traceback; and what its tables and cells held before.
function memo.call(object, f, ...)
    local ready, known = pcall(memo.of, object, f)
    if not ready then return false, false, text_of(known) end
    local yielded, ok, result = core.attempt(failed, f, object, ...)
    return yielded, ok, result, known
end

return memo
