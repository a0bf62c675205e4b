-- Which modules require another one (R12.7), and reloading them with it.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local allow, arguments = core.allow, core.arguments

local error, next, rawset, select, type = error, next, rawset, select, type
local format, sort = string.format, table.sort
local loaded = core.loaded

local dependents = {}

local function loaded_names()
    local names = {}
    for name, object in next, loaded do
        if type(name) == "string" and object and not allow.refused(name) then
            names[#names + 1] = name
        end
    end
    sort(names)
    return names
end

--- Which loaded modules require which, as their files show: name → list of those that require it.
local function graph()
    local needed_by = {}
    for _, name in next, loaded_names() do
        for _, needed in next, core.library.requires(name) or {} do
            if needed ~= name then
                local list = needed_by[needed] or {}
                needed_by[needed], list[#list + 1] = list, name
            end
        end
    end
    return needed_by
end

--- The names and all that require them, directly or not: each behind what it requires. In a circle
--- the first name that leads into it comes first.
local function in_order(names, needed_by)
    local ordered, met = {}, {}
    for i = #names, 1, -1 do
        -- Depth first, on a list: { name, the next of those that require it }. Who is left last has
        -- none behind him that is not met.
        local path = not met[names[i]] and { { names[i], 1 } } or {}
        met[names[i]] = true
        while path[1] do
            local top = path[#path]
            local name = (needed_by[top[1]] or {})[top[2]]
            top[2] = top[2] + 1
            if not name then
                ordered[#ordered + 1] = top[1]
                path[#path] = nil
            elseif not met[name] then
                met[name] = true
                path[#path + 1] = { name, 1 }
            end
        end
    end
    local list = {}
    for i = #ordered, 1, -1 do list[#list + 1] = ordered[i] end
    return list
end

--- Calls `reload` with the dependents of the named modules, too.
function dependents.reload(reload, ...)
    local names, options = ...
    local list = arguments.list_of_names(select("#", ...), names, "reload")
    if not list then return reload(names) end -- which says what is wrong
    local rest = {}
    for key, value in next, options do rawset(rest, key, value) end
    rest.dependents = nil
    return reload(in_order(list, graph()), rest)
end

--- Makes `hotreload.dependents`.
---@see hotreload.dependents in meta.lua
function dependents.install(hotreload)
    function hotreload.dependents(name)
        if type(name) ~= "string" then
            error(format("bad argument #1 to 'dependents' (string expected, got %s)",
                type(name)), 2)
        end
        local list = in_order({ name }, graph())
        table.remove(list, 1)
        return list
    end
end

return dependents
