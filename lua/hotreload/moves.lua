-- A module that goes on under another name (R1.11), be its file moved or split.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local shown, text, stock = core.arguments.shown, core.text, core.stock

local next, pcall, rawequal, rawget, type = next, pcall, rawequal, rawget, type
local getinfo, getmetatable, setmetatable = debug.getinfo, debug.getmetatable, debug.setmetatable
local getupvalue, upvaluejoin = debug.getupvalue, debug.upvaluejoin
local find, format, gsub, sub = string.find, string.format, string.gsub, string.sub
local loaded = core.loaded

local moves = {}

-- A look at a text is the collector's business at once.
local OWED = 1 << 62

--- The source name that the functions of a module have which no reload has loaded.
local function source_of(name, object)
    local tail = gsub(name, "%.", "/")
    for _, f in next, object do
        local source = type(f) == "function" and getinfo(f, "S").source or ""
        for _, ending in next, { ".lua", "/init.lua" } do
            if sub(source, -#tail - #ending) == tail .. ending then return source end
        end
    end
end

--- What the part of a split module starts from: of the former object what its own text names.
local function part_of(object, source)
    local part = {}
    for key, value in next, object do
        if type(key) == "string" and find(source, key, 1, true) then part[key] = value end
    end
    return setmetatable(part, getmetatable(object))
end

--- Lets `item`, whose module is not loaded yet, begin with what the module `from` is. Returns why
--- it cannot.
function moves.begin(item, from, source, services)
    local object, record = rawget(loaded, from), services.record_of(from)
    if type(object) ~= "table" then
        return format("the module '%s', from which it is to go on, %s", shown(from),
            object and "has no table for an object; name one that has"
                or "is not loaded; load it, or name another")
    elseif rawget(loaded, item.name) then
        return "it is loaded already; give it a name that is not loaded"
    end
    local own = item.undo[core.layout.undo.record]
    own.generation = 1
    for key, value in next, record or {} do own[key] = value end
    own.source, own.undo, own.undone = source_of(from, object) or own.source, false, false
    local _, former = text(OWED, from, stock)
    if not former then
        item.from = object -- its file is gone: it has moved
        return
    end
    if not source then
        local _, found = text(OWED, item.name, stock)
        source = found or ""
    end
    item.from, item.whole = part_of(object, source), object
end

--- The functions of a part have come to the former module's variables. Those that hold its object
--- become variables of the part's own, which hold the part.
local function separate(item)
    local part, whole = rawget(loaded, item.name), item.whole
    if type(part) ~= "table" then return end
    local source = item.answers[core.layout.answers.source]
    local function own() return part end
    local seen, queue = { [whole] = true, [part] = true }, {}
    for _, value in next, part do queue[#queue + 1] = value end
    local i = 1
    while queue[i] do
        local value = queue[i]
        local is_own = type(value) == "function" and getinfo(value, "S").source == source
        local n = is_own and not seen[value] and 1
        seen[value] = true
        while n do
            local name, inner = getupvalue(value, n)
            if rawequal(inner, whole) then upvaluejoin(value, n, own, 1) end
            if type(inner) == "function" then queue[#queue + 1] = inner end
            n = name and n + 1
        end
        i = i + 1
    end
end

--- Ends what `begin` began, behind the commit. Returns nothing, or why it failed.
function moves.finish(item)
    if not item.whole then return end
    local done, why = pcall(separate, item)
    if not done then return why end
end

return moves
