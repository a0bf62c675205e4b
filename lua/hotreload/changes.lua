-- Which modules' files differ from what runs (R12), and what is on record of the files.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local arguments, allow = core.arguments, core.allow
local look, text, stock = core.look, core.text, core.stock

local error, type, next, rawget, rawequal, pcall = error, type, next, rawget, rawequal, pcall
local setmetatable, rawlen = setmetatable, rawlen
local find, format, gmatch, sort, math_type = string.find, string.format, string.gmatch,
    table.sort, math.type
local globals, package, loaded = _G, package, core.loaded

local changes = {}

-- A look's allocations are the collector's business at once, as any function's are.
local OWED = 1 << 62

-- The indices of the list of a look (src/lua/layout.rs).
local LOOK = core.layout.look
-- Per module: the last look that found no difference.
local looks = {}
-- The modules' objects at that look, held weakly. A module that was loaded again has another
-- object.
local looked_at = setmetatable({}, { __mode = "v" })

local function is_list_of_names(value)
    if type(value) ~= "table" then return format("table expected, got %s", type(value)) end
    for key, name in next, value do
        if math_type(key) ~= "integer" or key < 1 or key > rawlen(value) then
            return "a list of names expected"
        end
        if type(name) ~= "string" then
            return format("name #%d: string expected, got %s", key, type(name))
        end
    end
end

local options_of_changed = { names = is_list_of_names, quick = arguments.a("boolean") }

local function loaded_names(among)
    local names = {}
    if among then
        local taken = {}
        for _, name in next, among do
            if rawget(loaded, name) and not taken[name] then
                taken[name] = true
                names[#names + 1] = name
            end
        end
    else
        for name, object in next, loaded do
            if type(name) == "string" and object then names[#names + 1] = name end
        end
    end
    sort(names)
    return names
end

--- Looks at a module's file. `record` is what is known of its last reload, or nil; `others` is a
--- table that all looks of one call share. Returns how the file is ("same", "changed", "none" where
--- there is none, else what is wrong with it), its content, a message, and the file.
local function look_at(name, record, quick, others)
    local gg = rawget(globals, "gg")
    local safe = type(gg) == "table" and rawget(gg, "safe_reloads")
    local exact = type(safe) == "table" and rawget(safe, name) and true or false
    local version = record and record.version
    local generation = record and record.generation or 0
    local last = looks[name]
    if not rawequal(looked_at[name], rawget(loaded, name))
        or last and last[LOOK.generation] ~= generation then
        last = nil
    end
    local content = version and version.content or last and last[LOOK.content] or nil
    local _, state, now, stamp, message, file = look(OWED, name, stock, record and record.source,
        content, quick and last and last[LOOK.stamp] or nil, exact, allow.text_only, others)
    if not state then -- the look itself failed
        looks[name] = nil
        local why = now or "not enough memory"
        if find(why, "^not enough memory") then error(why, 0) end
        return "failed", nil, why
    end
    if state == "same" then
        looks[name] = {
            [LOOK.content] = now, [LOOK.stamp] = stamp, [LOOK.generation] = generation,
            [LOOK.file] = file,
        }
        looked_at[name] = rawget(loaded, name)
    end
    return state, now, message, file
end
changes.look_at = look_at

--- Does the module go on under another name (R1.11)?
local function has_moved(name)
    if type(rawget(loaded, name)) ~= "table" then return false end
    for other, object in next, loaded do
        if other ~= name and rawequal(object, rawget(loaded, name)) then return true end
    end
    return false
end

-- What `require` searched with when the files of `looks` were found.
local searched = { path = false }

--- If `require` searches otherwise now, every file has to be searched for again.
local function note_search()
    local path, searchers = rawget(package, "path"), rawget(package, "searchers")
    local count = type(searchers) == "table" and rawlen(searchers) or 0
    local same = rawequal(searched.path, path) and #searched == count
    for i = 1, count do same = same and rawequal(searched[i], rawget(searchers, i)) end
    if same then return end
    searched = { path = path }
    for i = 1, count do searched[i] = rawget(searchers, i) end
    for _, last in next, looks do last[LOOK.file] = nil end
end

--- Makes `hotreload.changed` and `hotreload.touched`; `record_of` gives what is known of a module's
--- last reload, or nil; `records` has it by name.
---@see hotreload.changed in meta.lua
function changes.install(hotreload, record_of, records)
    local function changed(options)
        local checked, wrong = arguments.check(options, options_of_changed, 1, "changed")
        if not checked then return nil, wrong end
        note_search()
        local names, problems, found, limits = {}, {}, {}, {}
        local others = {} -- the objects of loaded modules, filled by the first look that needs them
        for _, name in next, loaded_names(checked.names) do
            if not allow.refused(name) then
                local state, now, message = look_at(name, record_of(name), checked.quick, others)
                found[name] = now
                if state == "same" then limits[name] = message end
                if state == "changed" then
                    names[#names + 1] = name
                elseif state ~= "same" and state ~= "none"
                    and not (state == "gone" and has_moved(name)) then
                    problems[name] = message or state
                end
            end
        end
        return names, problems, found, limits
    end

    --- Which modules a module requires, as far as its text and its load show.
    ---@see hotreload.requires in meta.lua
    function hotreload.requires(name)
        if type(name) ~= "string" then
            error(format("bad argument #1 to 'requires' (string expected, got %s)", type(name)), 2)
        end
        local why = allow.refused(name)
        if why then return nil, arguments.refusal(name, why) end
        local _, source, message = text(OWED, name, stock)
        -- Nil: it has no file.
        if source == false then return nil, message or arguments.NO_MEMORY end
        local list, known = {}, {}
        for _, needed in gmatch(source or "", "require%s*%(?%s*([\"'])([^\"'\n]+)%1") do
            if not known[needed] then
                known[needed] = true
                list[#list + 1] = needed
            end
        end
        for needed in next, core.track_part.needed[name] or {} do
            if not known[needed] then list[#list + 1] = needed end
        end
        sort(list)
        return list
    end

    --- The modules whose files may differ from the last look's.
    ---@see hotreload.touched in meta.lua
    function hotreload.touched(after, most)
        if after ~= nil and type(after) ~= "string" then
            error(format("bad argument #1 to 'touched' (string expected, got %s)", type(after)), 2)
        elseif most ~= nil and (math_type(most) ~= "integer" or most < 1) then
            error("bad argument #2 to 'touched' (a number of modules expected)", 2)
        end
        note_search()
        return core.touched(loaded, looked_at, looks, records, after, most)
    end

    function hotreload.changed(options)
        local done, names, problems, found, limits = pcall(changed, options)
        if not done then error(names, 0) end
        if not names then error(problems, 2) end
        return names, problems, found, limits
    end
end

return changes
