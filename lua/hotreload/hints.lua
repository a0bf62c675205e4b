-- Messages for what is easily got wrong: a name that only looks right, a yield, a missing `return`.
-- Part of the library (src/lua/open.rs includes it).

local core = ...
local allow, shown = core.allow, core.arguments.shown

local error, ipairs, next, pcall, type = error, ipairs, next, pcall, type
local concat, format, sort = table.concat, string.format, table.sort
local abs, max, min = math.abs, math.max, math.min
local byte, find, gmatch, gsub = string.byte, string.find, string.gmatch, string.gsub
local lower, match, sub = string.lower, string.match, string.sub
local package, loaded, searchpath = package, core.loaded, package.searchpath

local hints = {}

-- These are never reloaded, so nobody means them.
local STANDARD = {
    _G = true, coroutine = true, debug = true, io = true, math = true, os = true, package = true,
    string = true, table = true, utf8 = true, hotreload = true,
}
-- The chunk of a module that returns a table has returned nothing (R6).
local NO_RETURN = "(what the module returns): table while it runs, nothing in the file"

--- How many letters must be changed, added, left out or exchanged to make one name of another; no
--- number beyond `most`.
local function distance(a, b, most)
    if abs(#a - #b) > most then return most + 1 end
    local before, last
    local row = { [0] = 0 }
    for j = 1, #b do row[j] = j end
    for i = 1, #a do
        before, last, row = last, row, { [0] = i }
        local least = i
        for j = 1, #b do
            local cost = byte(a, i) == byte(b, j) and 0 or 1
            local steps = min(last[j - 1] + cost, last[j] + 1, row[j - 1] + 1)
            if before and byte(a, i) == byte(b, j - 1) and byte(a, i - 1) == byte(b, j) then
                steps = min(steps, before[j - 2] + 1)
            end
            row[j], least = steps, min(least, steps)
        end
        if least > most + 1 then return least end
    end
    return row[#b]
end

--- The names among `known` that somebody may have meant, the nearest first: three at most.
function hints.near(name, known)
    local last, most = match(name, "[^./]*$"), max(1, (#name + 1) // 3)
    local found, seen = {}, {}
    for _, other in ipairs(known) do
        local is_same = last ~= "" and last == match(other, "[^./]*$")
        local far = is_same and 0 or distance(name, other, most)
        if far <= most and (is_same or far < #name) and not seen[other] then
            seen[other] = true
            found[#found + 1] = { other, far }
        end
    end
    sort(found, function(a, b)
        if a[2] ~= b[2] then return a[2] < b[2] end
        return a[1] < b[1]
    end)
    local names = {}
    for i = 1, min(3, #found) do names[i] = found[i][1] end
    return names
end

--- "; did you mean 'a', 'b'?", or nothing.
function hints.meant(names)
    local quoted = {}
    for i, name in ipairs(names) do quoted[i] = format("'%s'", shown(name)) end
    return quoted[1] and format("; did you mean %s?", concat(quoted, ", ")) or ""
end

--- Adds what `hints` know to `hotreload`.
---@see hotreload.near in meta.lua
function hints.install(hotreload)
    function hotreload.near(name, known)
        if type(name) ~= "string" then
            error(format("bad argument #1 to 'near' (string expected, got %s)", type(name)), 2)
        end
        if type(known) ~= "table" then
            error(format("bad argument #2 to 'near' (table expected, got %s)", type(known)), 2)
        end
        return hints.near(name, known)
    end
end

------------------------------------------------------------------------------------------------
-- A name that only looks right

local function loaded_names()
    local names = {}
    for name, object in next, loaded do
        local is_open = type(name) == "string" and object and not STANDARD[name]
        if is_open and not allow.refused(name) then names[#names + 1] = name end
    end
    sort(names)
    return names
end

--- A path without what only says where it begins.
local function plain_path(path)
    return (gsub(gsub(gsub(path, "\\", "/"), "/[./]*/", "/"), "^%./+", ""))
end

--- Is one path the other, or its end?
local function is_end_of(path, other)
    return path == other or sub(path, -#other - 1) == "/" .. other
end

--- The loaded module that this file is, if any.
local function module_of(path, names)
    path = plain_path(path)
    for _, name in ipairs(names) do
        local file = searchpath(name, package.path)
        file = file and plain_path(file)
        if file and (is_end_of(file, path) or is_end_of(path, file)) then return name end
    end
end

--- The names that a wrong one may stand for.
local function meant_by(name)
    local names, among = loaded_names(), {}
    for _, known in ipairs(names) do among[known] = true end
    local found = find(name, "[/\\]") or find(name, "%.lua$")
    found = found and module_of(name, names)
    if found then return { found } end
    -- As `require` writes it; then without the folders that package.path has already.
    local dotted = gsub(gsub(plain_path(name), "[./]lua$", ""), "[./]init$", "")
    dotted = gsub(gsub(dotted, "/+", "."), "^%.+", "")
    local rest = dotted
    while rest do
        if among[rest] then return { rest } end
        if rest ~= name and not allow.refused(rest) and searchpath(rest, package.path) then
            return { rest }
        end
        rest = match(rest, "^[^.]*%.(.+)$")
    end
    for _, known in ipairs(names) do
        if lower(known) == lower(dotted) then return { known } end
    end
    return hints.near(dotted, names)
end

local function not_found(message)
    local name = match(message, "^module '(.-)' not found:")
    if not name or loaded[name] then return message end
    local meant = meant_by(name)
    if not meant[1] then return message end
    return format("module '%s' not found%s\ngg.reload takes the name that require takes",
        name, hints.meant(meant))
end

------------------------------------------------------------------------------------------------
-- A yield, and a missing `return`

--- Names a yield by its line; the traceback says no more than that.
local function yielded(message)
    local head, trace = match(message,
        "^(error running module '.-': )attempt to yield [^\n]*\n(.*)$")
    if not head then return message end
    local line, main
    for text in gmatch(trace, "\t([^\n]*)") do
        if find(text, "^hotreload:") then break end
        local at = match(text, "^(.-:%d+): in ")
        line, main = line or at, at and find(text, "in main chunk$") and at
        if main then break end
    end
    local called = main and main ~= line and format(" (called in %s)", main) or ""
    return format("%s%sthe chunk yields%s\na file cannot yield while a reload runs it; "
        .. "let __hotfix do it, or a function that the program calls later",
        head, line and line .. ": " or "", called)
end

local function better(message)
    local text = yielded(not_found(message))
    local from, to = find(text, NO_RETURN, 1, true)
    if not from then return text end
    return format("%s; is 'return' missing at its end?%s", sub(text, 1, to), sub(text, to + 1))
end

--- The results of a reload, whose message says more if it can. Where there is no memory for that,
--- the message is what it was.
function hints.on(ok, message, ...)
    if ok or type(message) ~= "string" then return ok, message, ... end
    local done, text = pcall(better, message)
    return ok, done and text or message, ...
end

return hints
