-- Which modules may be hot (R1.4): Lua patterns over the module's name; and whether binary chunks
-- may be (R1.8). Part of the library (src/lua/open.rs includes it).

local pcall, type, next, ipairs, tonumber, math_type = pcall, type, next, ipairs,
    tonumber, math.type
local rawget, rawlen = rawget, rawlen
local find, format, sub = string.find, string.format, string.sub

local allow = { text_only = false }

local patterns = { allow = {}, deny = {} }

--- Says what is wrong with a Lua pattern, or nothing. `string.find` complains only about the part
--- that it reaches.
local function malformed(pattern)
    local open, captures, i = {}, 0, 1
    while i <= #pattern do
        local c = sub(pattern, i, i)
        if c == "%" then
            local class = sub(pattern, i + 1, i + 1)
            if class == "" then return "ends with '%'" end
            if class == "b" and i + 3 > #pattern then return "missing arguments to '%b'" end
            if class == "f" and sub(pattern, i + 2, i + 2) ~= "[" then
                return "missing '[' after '%f'"
            end
            if find(class, "%d") and (class == "0" or tonumber(class) > captures) then
                return "invalid capture index"
            end
            i = i + (class == "b" and 4 or 2)
        elseif c == "[" then
            local from = i + (sub(pattern, i + 1, i + 1) == "^" and 2 or 1)
            i = from
            while i == from or sub(pattern, i, i) ~= "]" do
                if i > #pattern then return "missing ']'" end
                i = i + (sub(pattern, i, i) == "%" and 2 or 1)
            end
            i = i + 1
        else
            if c == "(" then
                captures = captures + 1
                open[#open + 1] = captures
            elseif c == ")" then
                if not open[1] then return "')' without '('" end
                open[#open] = nil
            end
            i = i + 1
        end
    end
    if open[1] then return "unfinished capture" end
    local ok, message = pcall(find, "", pattern)
    if not ok then return message end
end

--- A check: a pattern, or a list of them.
function allow.check(value)
    local list = type(value) == "string" and { value } or value
    if type(list) ~= "table" then return format("string or table expected, got %s", type(value)) end
    for key, pattern in next, list do
        if math_type(key) ~= "integer" or key < 1 or key > rawlen(list) then
            return "a list of patterns expected"
        end
        if type(pattern) ~= "string" then
            return format("pattern #%d: string expected, got %s", key, type(pattern))
        end
        local wrong = malformed(pattern)
        if wrong then return format("'%s' is no pattern: %s", pattern, wrong) end
    end
end

--- A checked pattern, or list of them, as a list of the library's own.
function allow.list(value)
    local list, given = {}, type(value) == "string" and { value } or value
    for i = 1, rawlen(given) do list[i] = rawget(given, i) end
    return list
end

--- Takes a checked pattern, or a list of them, for the list `which`: "allow" or "deny".
function allow.set(which, value) patterns[which] = allow.list(value) end

--- The first pattern of a list that a name matches.
local function matching(list, name)
    for _, pattern in ipairs(list) do
        local ok, found = pcall(find, name, pattern)
        if ok and found then return pattern end
    end
end

allow.matching = matching

--- Why the module with this name may not be reloaded; nothing if it may.
function allow.refused(name)
    local denied = matching(patterns.deny, name)
    if denied then
        return format("it matches the deny pattern '%s'; hotreload.configure sets the patterns",
            denied)
    end
    if patterns.allow[1] and not matching(patterns.allow, name) then
        return "it matches no allow pattern; hotreload.configure sets the patterns"
    end
end

return allow
