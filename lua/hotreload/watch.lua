-- require "hotreload.watch": reloads modules whose files change (R12.5). The program polls it from
-- its own loop. It starts no thread, and no poll waits for anything.
--
--    local watcher = require "hotreload.watch".new()
--    while serving do tick() watcher:poll() end

local hotreload = require "hotreload"

local error, ipairs, next, pairs, pcall, setmetatable = error, ipairs, next, pairs,
    pcall, setmetatable
local tostring, type = tostring, type
local find, format, match, sort = string.find, string.format, string.match, table.sort
local running, status = coroutine.running, coroutine.status
local stderr = io.stderr

---@type hotreload.watch
local watch = {}

-- How many unchanged files one look searches for again: `require` may now find another file.
local SEARCHED = 32
-- How many files a poll compares at least, even if that takes longer than a slice.
local COMPARED = 250
-- The time between two looks: the least number of seconds, and the least multiple of a look's time.
local LEAST_INTERVAL, LEAST_REST = 0.04, 20

----------------------------------------------------------------------------------------------------
-- Options (R1.1)

local function a(wanted)
    return function(value)
        if type(value) ~= wanted then return format("%s expected, got %s", wanted, type(value)) end
    end
end

local function seconds(value)
    if type(value) ~= "number" then return format("number expected, got %s", type(value)) end
    if not (value >= 0 and value < math.huge) then return "a number of seconds expected" end
end

local function filter(value)
    if type(value) == "function" then return nil end
    local list = type(value) == "string" and { value } or value
    if type(list) ~= "table" then
        return format("string, table or function expected, got %s", type(value))
    end
    for key, pattern in next, list do
        if math.type(key) ~= "integer" or key < 1 or key > #list then
            return "a list of patterns expected"
        end
        if type(pattern) ~= "string" then
            return format("pattern #%d: string expected, got %s", key, type(pattern))
        end
        local ok, message = pcall(find, "", pattern)
        if not ok then return format("'%s' is no pattern: %s", pattern, message) end
    end
end

--- A check: options for `gg.reload`. That function itself checks them, and it then refuses a
--- standard library before it does anything.
local function options_of_reload(value)
    if type(value) ~= "table" then return format("table expected, got %s", type(value)) end
    for _, name in ipairs { "source", "dry_run" } do
        if value[name] ~= nil then return format("'%s' is not for files that are watched", name) end
    end
    local ok, message = pcall(hotreload.reload, "_G", value)
    if not ok then return message end
end

local function modules(value)
    if math.type(value) ~= "integer" or value < 1 then return "a number of modules expected" end
end

local known = {
    most = modules, interval = seconds, settle = seconds, filter = filter, together = a "boolean",
    options = options_of_reload,
    on_reload = a "function", on_error = a "function", clock = a "function",
}

local function write_error(name, message)
    stderr:write("hotreload: ", name, ": ", message, "\n")
end

local function matcher(value)
    if value == nil or type(value) == "function" then return value end
    local list = {}
    for i, pattern in ipairs(type(value) == "string" and { value } or value) do
        list[i] = pattern
    end
    return function(name)
        for _, pattern in ipairs(list) do
            if find(name, pattern) then return true end
        end
        return false
    end
end

----------------------------------------------------------------------------------------------------
-- The order of modules that depend on one another

--- Sorts names so that each module comes after those whose names its file gives to `require` as
--- strings. The modules of a cycle, and all others, are sorted by name. Returns a new list.
---@see hotreload.watch in meta.lua
function watch.order(names)
    local wanted = a "table"(names)
    if wanted then error(format("bad argument #1 to 'order' (%s)", wanted), 2) end
    local sorted, among = {}, {}
    for i, name in ipairs(names) do sorted[i], among[name] = name, true end
    sort(sorted)
    local needs = {}
    for _, name in ipairs(sorted) do
        local list = {}
        for _, needed in ipairs(type(name) == "string" and hotreload.requires(name) or {}) do
            if among[needed] and needed ~= name then list[#list + 1] = needed end
        end
        needs[name] = list
    end
    local ordered, met = {}, {}
    for _, start in ipairs(sorted) do
        -- Depth first, on a list: { name, the next of its needs }.
        local path = { { start, 1 } }
        if met[start] then path[1] = nil end
        met[start] = true
        while path[1] do
            local top = path[#path]
            local needed = needs[top[1]][top[2]]
            top[2] = top[2] + 1
            if not needed then
                ordered[#ordered + 1] = top[1]
                path[#path] = nil
            elseif not met[needed] then
                met[needed] = true
                path[#path + 1] = { needed, 1 }
            end
        end
    end
    return ordered
end

----------------------------------------------------------------------------------------------------
-- The watcher

local Watcher = {}
Watcher.__index = Watcher

--- An error object as text, whatever it is: its `__tostring` may raise.
local function describe(err)
    local ok, text = pcall(tostring, err)
    return ok and text or format("(error object is a %s value)", type(err))
end

--- Calls one of the program's functions. Its errors go to `on_error`; errors of `on_error` go to
--- stderr.
local function tell(self, which, name, ...)
    local ok, err = pcall(self[which], name, ...)
    if ok then return end
    local message = format("%s raised: %s", which, describe(err))
    if which ~= "on_error" and pcall(self.on_error, name, message) then return end
    pcall(write_error, name, message)
end

local function loaded_names()
    local names = {}
    for name, object in next, package.loaded do
        if type(name) == "string" and object then names[#names + 1] = name end
    end
    return names
end

--- Returns the names that the filter accepts.
local function wanted(self, names)
    local matches = self.matches
    if not matches then return names end
    local passed = {}
    for _, name in ipairs(names) do
        local ok, passes = pcall(matches, name)
        if not ok then tell(self, "on_error", name, "filter raised: " .. describe(passes)) end
        if ok and passes then passed[#passed + 1] = name end
    end
    return passed
end

--- Makes a round of looks. Each round begins with some modules that may be unchanged, in turn.
local function new_round(self)
    if not self.others[1] then self.others = loaded_names() end
    local names, others = {}, self.others
    for i = 1, math.min(SEARCHED, self.most, #others) do names[i] = table.remove(others) end
    names = wanted(self, names)
    local met = {}
    for _, name in ipairs(names) do met[name] = true end
    return {
        names = names, met = met, next = 1, took = 0, changed = {}, problems = {}, contents = {},
        walks = true, -- over what is loaded; `last` is the name that it has come to
    }
end

--- Adds to a round the modules whose files may have changed. If there are many modules, this takes
--- several polls.
local function walk(self, round, most)
    local names, last = hotreload.touched(round.last, math.max(most, COMPARED))
    round.last, round.walks = last, last ~= nil
    for _, name in ipairs(wanted(self, names)) do
        if not round.met[name] then
            round.met[name], round.names[#round.names + 1] = true, name
        end
    end
end

--- Notes what a look found for a module. Returns whether that has not changed for long enough.
local function has_settled(self, name, what, now)
    local seen = self.seen[name]
    if not seen or seen.what ~= what or now < seen.since then
        seen = { what = what, since = now }
        self.seen[name] = seen
        return self.settle == 0
    end
    return now - seen.since >= self.settle
end

--- Reports a failure once for each content of the file and each message. A lack of memory says
--- nothing about the file, so the next look tries again.
local function failed(self, name, what, message)
    local last = self.failures[name]
    if find(message, "not enough memory", 1, true) then what = false end
    -- The module that it could not require may appear. Nothing watches that one until it is loaded.
    local missing = match(message, "module '([^']+)' not found")
    self.failures[name] = { what = what, message = message, missing = missing ~= name and missing }
    if not last or last.what ~= what or last.message ~= message then
        tell(self, "on_error", name, message)
    end
end

local function reload(self, names)
    local options = {}
    for key, value in pairs(self.options) do options[key] = value end
    local ok, done, result = pcall(hotreload.reload, names, options)
    if not ok then return false, describe(done) end
    return done, result
end

local function reloaded(self, name, report, content)
    self.failures[name], self.seen[name] = nil, nil
    self.taken[name] = content
    tell(self, "on_reload", name, report)
end

--- Returns which of the modules have the same files as when the round looked at them.
local function unchanged_since(names, contents)
    local _, _, now = hotreload.changed { names = names, quick = true }
    local still = {}
    for _, name in ipairs(names) do
        still[name] = now[name] ~= nil and now[name] == contents[name]
    end
    return still
end

--- Reloads modules one after the other, `most` of them at most; the rest stays in `self.work` for
--- the next poll. `self.count` counts each reload at once, so that a later error does not lose it.
--- A failed module is tried again if another one succeeds, because it may need that one. Returns
--- how many of `most` are left.
local function one_by_one(self, most)
    local work = self.work
    local last, still = work.next + most - 1, nil
    if work.begun then
        still = unchanged_since(table.move(work.todo, work.next, math.min(last, #work.todo), 1, {}),
            work.contents)
    end
    work.begun = true
    repeat
        while work.next <= #work.todo do
            if most == 0 then return 0 end
            local name = work.todo[work.next]
            most, work.next = most - 1, work.next + 1
            -- A file that has changed again is left to the next round.
            if not work.done[name] and (not still or still[name] ~= false) then
                local ok, result = reload(self, name)
                if ok then
                    work.progress = true
                    -- This includes dependents, some of which may be in `work` as well. They are
                    -- counted before anything is allocated.
                    local several = rawget(result, 1) ~= nil
                    self.count = self.count + (several and #result or 1)
                    for _, report in ipairs(several and result or { result }) do
                        local module = report.module
                        work.done[module] = true
                        reloaded(self, module, report, work.contents[module])
                    end
                else
                    work.messages[name] = result
                    work.left[#work.left + 1] = name
                end
            end
        end
        local left, progress = work.left, work.progress
        if progress and work.retries then
            for _, name in ipairs(work.retries) do left[#left + 1] = name end
            left, work.retries = watch.order(left), nil
        end
        work.todo, work.next, work.left, work.progress = left, 1, {}, false
    until not progress or not left[1]
    self.work = nil
    for _, name in ipairs(work.todo) do
        failed(self, name, work.contents[name], work.messages[name])
    end
    return most
end

--- Reloads all of them or none (R7.4).
local function all_together(self, names, contents)
    local ok, result = reload(self, names)
    if not ok then
        for _, name in ipairs(names) do failed(self, name, contents[name], result) end
        return
    end
    self.count = #result
    for _, report in ipairs(result) do
        reloaded(self, report.module, report, contents[report.module])
    end
end

--- Looks at the next modules of the current round, or of a new one. Returns the round if it is
--- finished.
local function look(self, most)
    local began = hotreload.clock()
    local round = self.round or new_round(self)
    if round.walks then walk(self, round, most) end
    local slice = table.move(round.names, round.next,
        math.min(round.next + most - 1, #round.names), 1, {})
    round.next = round.next + #slice
    local changed, problems, contents = hotreload.changed { names = slice, quick = true }
    table.move(changed, 1, #changed, #round.changed + 1, round.changed)
    for name, message in pairs(problems) do round.problems[name] = message end
    for name, content in pairs(contents) do round.contents[name] = content end
    self.round = (round.walks or round.next <= #round.names) and round or nil
    round.took = round.took + hotreload.clock() - began
    return not self.round and round
end

--- Acts on what a round has found. Reloads `most` modules at most.
local function act(self, round, now, most)
    local unsettled, found, contents = false, {}, round.contents
    local ready, retries, broken = {}, {}, {}
    for _, name in ipairs(round.changed) do
        local content, last = contents[name], self.failures[name]
        -- A content that this watcher has reloaded, and that no longer runs, was undone.
        if content ~= self.taken[name] then
            found[name] = true
            if not has_settled(self, name, content, now) then
                unsettled = true
            elseif last and last.what == content
                and not (last.missing and hotreload.requires(last.missing)) then
                retries[#retries + 1] = name
            else
                ready[#ready + 1] = name
            end
        end
    end
    for name in pairs(round.problems) do broken[#broken + 1] = name end
    sort(broken)
    for _, name in ipairs(broken) do
        found[name] = true
        local what = contents[name] or "gone"
        if has_settled(self, name, what, now) then
            failed(self, name, what, round.problems[name])
        else
            unsettled = true
        end
    end
    for _, state in ipairs { self.seen, self.failures } do
        for name in pairs(state) do
            if not found[name] then state[name] = nil end
        end
    end
    local interval = self.interval or math.max(LEAST_INTERVAL, LEAST_REST * round.took)
    self.due = now + (unsettled and math.min(self.settle, interval) or interval)
    if not ready[1] then return end
    if not self.together then
        self.work = {
            todo = watch.order(ready), next = 1, left = {}, progress = false,
            retries = retries, contents = contents, messages = {}, done = {},
        }
        one_by_one(self, most)
    else
        for _, name in ipairs(retries) do ready[#ready + 1] = name end
        all_together(self, watch.order(ready), contents)
    end
end

--- Continues the work of earlier polls, and then looks, if that is `due`.
local function look_and_act(self, now, most, due)
    local rest = self.work and one_by_one(self, most) or most
    if self.work or not due then return end
    self.last, self.due = now, now + (self.interval or LEAST_INTERVAL)
    local round = look(self, most)
    if round then act(self, round, now, rest) end
end

local function count_of(set)
    local count = 0
    for _ in pairs(set) do count = count + 1 end
    return count
end

local function go_on(self, now, most, due)
    -- A hook may yield: until it has ended, other calls do nothing. A coroutine that is dropped
    -- does not hold them up.
    local busy = self.busy[1]
    if busy and status(busy) ~= "dead" then return 0, count_of(self.failures) end
    self.busy[1], self.count = running(), 0
    local ok, err = pcall(look_and_act, self, now, most, due)
    self.busy[1] = nil
    if not ok then
        self.round, self.work = nil, nil
        tell(self, "on_error", "hotreload.watch", describe(err))
    end
    return self.count, count_of(self.failures)
end

--- Returns the program's time. If its clock fails, returns nothing and calls `on_error`.
local function time_of(self)
    local ok, now = pcall(self.clock)
    if ok and type(now) == "number" then return now end
    tell(self, "on_error", "hotreload.watch",
        ok and format("the clock gave no number: %s",
            type(now)) or "clock raised: " .. describe(now))
end

--- Raises an error if a method was called with a dot.
local function check_self(self, name)
    if type(self) == "table" and self.failures then return end
    local got = self == nil and "no value" or type(self)
    error(format("bad argument #1 to '%s' (a watcher expected, got %s; "
        .. "call watcher:%s() with a colon)", name, got, name), 3)
end

--- Looks at once, whether or not the interval has passed.
---@see hotreload.Watcher in meta.lua
function Watcher:check()
    check_self(self, "check")
    local now = time_of(self)
    if not now then return 0, count_of(self.failures) end
    return go_on(self, now, math.maxinteger // 2, true)
end

--- Looks if the interval has passed since the last look. Looks at `most` modules, and reloads
--- `most` modules, at most.
---@see hotreload.Watcher in meta.lua
function Watcher:poll()
    check_self(self, "poll")
    local now = time_of(self)
    if not now then return 0, count_of(self.failures) end
    local due = self.round or now >= self.due or now < self.last
    if not due and not self.work then return 0, count_of(self.failures) end
    return go_on(self, now, self.most, due)
end

--- Returns what cannot be reloaded from the present files: name → message.
---@see hotreload.Watcher in meta.lua
function Watcher:failing()
    check_self(self, "failing")
    local messages = {}
    for name, failure in pairs(self.failures) do messages[name] = failure.message end
    return messages
end

--- Makes a watcher. From now on it knows the files of the modules that are loaded.
---@see hotreload.watch in meta.lua
function watch.new(options)
    local checked = {}
    if options ~= nil and type(options) ~= "table" then
        error(format("bad argument #1 to 'new' (table expected, got %s)", type(options)), 2)
    end
    for key, value in next, options or {} do
        local check = known[key]
        local wrong
        if check then
            wrong = check(value)
        else
            local names = {}
            for name in pairs(known) do names[#names + 1] = name end
            sort(names)
            wrong = format("unknown option '%s'; known: %s", tostring(key),
                table.concat(names, ", "))
        end
        if wrong then
            error(format("bad argument #1 to 'new' (%s%s)",
                check and format("option '%s': ", key) or "", wrong), 2)
        end
        checked[key] = value
    end
    local self = setmetatable({
        interval = checked.interval or false,
        settle = checked.settle or 0.04,
        most = checked.most or 250,
        matches = matcher(checked.filter),
        together = checked.together or false,
        options = {},
        on_reload = checked.on_reload or function() end,
        on_error = checked.on_error or write_error,
        clock = checked.clock or hotreload.clock,
        seen = {}, -- name → what the file looks like, and since when
        taken = {}, -- name → the content that it was reloaded from last
        failures = {}, -- name → what the file looked like when it failed, and the message
        count = 0, -- modules that the look that is under way, or was last, has reloaded
        busy = setmetatable({}, { __mode = "v" }),
        last = -math.huge,
        due = -math.huge,
        others = {}, -- modules to look at though their files are as they were
    }, Watcher)
    for key, value in next, checked.options or {} do self.options[key] = value end
    hotreload.changed { names = wanted(self, loaded_names()), quick = true }
    return self
end

return watch
