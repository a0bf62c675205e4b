-- What a module says of its own reloads (R13.4): the fields `__reload`, `__unload`, `__migrate`.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments, text, stock = core.arguments, core.text, core.stock
local shown, refusal = arguments.shown, arguments.refusal

local next, pcall, rawget, type = next, pcall, rawget, type
local find, format, gmatch = string.find, string.format, string.gmatch
local loaded = core.loaded

local says = {}

-- The collector counts the allocations of a look at the text at once.
local OWED = 1 << 62
-- The options of `__reload` that apply to each module of a list by itself; the native part reads
-- them.
local OWN = { "data", "constants", "removed" }
-- The options that only a call may have.
local OF_CALL = {
    source = true, dry_run = true, budget_ms = true, migrate = true, dependents = true, from = true,
    rename = true,
}

--- A field of the running module's object.
function says.field(name, key)
    local object = rawget(loaded, name)
    return type(object) == "table" and rawget(object, key) or nil
end

--- Returns the line of the module's text that has the field, for a message.
local function line_of(name, key, source)
    if not source then
        local _, found = text(OWED, name, stock)
        source = found or ""
    end
    local line = 0
    for part in gmatch(source, "([^\n]*)\n?") do
        line = line + 1
        if find(part, "%f[%w_]" .. key .. "%f[^%w_]") and not find(part, "^%s*%-%-") then
            return format(" (line %d)", line)
        end
    end
    return ""
end

--- Returns the refusal for a field of a wrong kind.
function says.wrong(name, key, wrong, source)
    local _, line = pcall(line_of, name, key, source)
    return refusal(name, format("its field %s%s: %s", key, line, wrong))
end

--- Returns why the module refuses to be reloaded, or what is wrong with its fields; nothing if it
--- may be reloaded. `known` has the checks of a reload's options.
function says.refused(name, known, source)
    local object = rawget(loaded, name)
    if type(object) ~= "table" then return end
    local unload, reload = rawget(object, "__unload"), rawget(object, "__reload")
    if unload ~= nil and type(unload) ~= "function" then
        return says.wrong(name, "__unload",
            format("function expected, got %s", type(unload)), source)
    end
    if reload == nil or reload == true then return end
    if reload == false then
        return refusal(name, "it says that it is never hot (__reload); restart the program")
    end
    if type(reload) == "string" then
        return refusal(name, format("it says that it is never hot: %s (__reload); "
            .. "restart the program", shown(reload)))
    end
    if type(reload) ~= "table" then
        return says.wrong(name, "__reload",
            format("table, string or boolean expected, got %s", type(reload)), source)
    end
    for key, value in next, reload do
        local check = not OF_CALL[key] and known[key]
        local wrong = not check and "no option for a module" or check(value)
        if wrong then
            return says.wrong(name, "__reload",
                format("option '%s': %s", tostring(key), wrong), source)
        end
    end
end

--- Copies into `item` the options that apply to each module by itself: the call's, else the
--- module's.
function says.options(name, checked, item)
    local own = says.field(name, "__reload")
    for _, key in next, OWN do
        item[key] = checked[key] or type(own) == "table" and rawget(own, key) or false
    end
end

--- Adds to a call's options those of its modules that apply to the whole call. A single module may
--- set all of them. One of several modules may only widen the scope and refuse binary chunks.
function says.together(list, checked)
    for _, name in next, list do
        local own = says.field(name, "__reload")
        for key, value in next, type(own) == "table" and own or {} do
            local for_all = key == "text_only" or key == "scope" and value == "vm"
            local counts = not OF_CALL[key] and (for_all or not list[2])
            if checked[key] == nil and counts then checked[key] = value end
        end
    end
end

return says
