-- require "hotreload.console": commands of one line and their answers, for operators and scripts
-- (R12.9). The program has the transport: a socket, HTTP, a signal.
--
--    local ok, text = require "hotreload.console".run "reload battle.skill scope=vm"

local hotreload = require "hotreload"
local watch = require "hotreload.watch"

local error, ipairs, next, pairs, pcall = error, ipairs, next, pairs, pcall
local setmetatable, tonumber, tostring, type = setmetatable, tonumber, tostring, type
local byte, format, gmatch, gsub = string.byte, string.format, string.gmatch, string.gsub
local match, concat, remove, sort = string.match, table.concat, table.remove, table.sort

---@type hotreload.console
local console = {}

-- Bytes that a token has at least, and a line at most.
local LEAST, MOST = 16, 65536

local HELP = [[
plan [NAME...] [OPTION=VALUE...]    say what a reload would do, and change nothing
reload [NAME...] [OPTION=VALUE...]  give running modules the code of their files: all or none
undo NAME... [steps=N]              undo the last reload of these modules
stale [NAME...]                     list the functions that still run old code
changed [NAME...]                   list the modules whose files differ from what runs
help                                show this list
Without a NAME, plan and reload are about the modules that 'changed' lists.
An OPTION is one of gg.reload: constants, data, dependents, from, on_conflict, patches, removed,
scope, strict, text_only, wrappers.]]

-- The options of a reload whose values are words.
local OPTIONS = {}
for name in gmatch(match(HELP, "gg%.reload:(.*)%."), "[%w_]+") do OPTIONS[name] = true end

------------------------------------------------------------------------------------------------
-- The commands: each takes names and options, and returns whether it was carried out, a text, and
-- the same as a value.

local actions = {}

local function lines_of(list, text)
    local lines = {}
    for i, entry in ipairs(list) do lines[i] = text(entry) end
    return concat(lines, "\n")
end

--- The modules whose files differ, and why others cannot be looked at: a sorted list of lines.
local function changed(names)
    local found, problems = hotreload.changed { names = names[1] and names or nil }
    local lines = {}
    for name, message in pairs(problems) do lines[#lines + 1] = name .. ": " .. message end
    sort(lines)
    return found, lines
end

function actions.changed(names)
    local found, problems = changed(names)
    local lines = { concat(found, "\n"), concat(problems, "\n") }
    if lines[2] == "" then lines[2] = nil end
    if lines[1] == "" then remove(lines, 1) end
    return not problems[1], concat(lines, "\n"), found
end

--- Reloads the modules, or those that changed; `text` makes one of a report.
local function reload(names, options, text)
    if not names[1] then
        local found, problems = changed(names)
        if problems[1] then
            return false, concat(problems, "\n") .. "\nname the modules to reload others"
        elseif not found[1] then
            return true, "nothing to do: no module's file differs from what runs", {}
        end
        names = watch.order(found)
    end
    -- Some options are for a single module, which is no list then.
    local single = not names[2]
    local ok, result, reports = hotreload.reload(single and names[1] or names, options)
    if not ok and not reports then return false, result end
    local list = ok and result or reports
    if single then list = { list } end
    return ok, (ok and "" or result .. "\n") .. lines_of(list, text), list
end

function actions.reload(names, options)
    return reload(names, options, tostring)
end

function actions.plan(names, options)
    options.dry_run, options.report = true, "full"
    return reload(names, options, hotreload.plan)
end

function actions.undo(names, options)
    local ok, message = hotreload.undo(names, options.steps)
    if not ok then return false, message end
    return true, "undid the last reload of " .. concat(names, ", ")
        .. (message and "\n" .. message or ""), names
end

function actions.stale(names)
    local found = {}
    for i = 1, names[1] and #names or 1 do
        local list, message = hotreload.stale(names[i])
        if not list then return false, message end
        for _, entry in ipairs(list) do found[#found + 1] = entry end
    end
    return true, lines_of(found, function(entry)
        return format("%s:%d: %s%s%s", entry.module, entry.line, entry.name or "?",
            entry.generation and ", generation " .. entry.generation or "",
            entry.running and ", running" or "")
    end), found
end

function actions.help()
    return true, HELP, actions
end

------------------------------------------------------------------------------------------------

local function unknown(kind, name, of)
    local known = {}
    for each in next, of do known[#known + 1] = each end
    local near = hotreload.near(name, known)[1]
    return format("unknown %s '%s'%s; 'help' lists all", kind, name,
        near and ", did you mean '" .. near .. "'?" or "")
end

--- Reads the words behind a command: names, and options over those that are given; or nil and what
--- is wrong.
local function read(command, words, options)
    local names, known = {}, command == "undo" and { steps = true }
        or (command == "plan" or command == "reload") and OPTIONS or {}
    for _, word in ipairs(words) do
        local key, value = match(word, "^([%w_]+)=(.*)$")
        if not key then
            names[#names + 1] = word
        elseif not known[key] then
            return nil, unknown("option", key, known)
        else
            if value == "true" or value == "false" then value = value == "true" end
            options[key] = key == "steps" and (tonumber(value) or value) or value
        end
    end
    return names, options
end

local function run(words, options)
    local command = remove(words, 1) or "help"
    if not actions[command] then return false, unknown("command", command, actions) end
    local names, given = read(command, words, options)
    if not names then return false, given end
    return actions[command](names, given)
end

local function check(value, wanted, number, name)
    local got = type(value)
    if got ~= wanted then
        local message = "bad argument #%d to '%s' (%s expected, got %s)"
        error(format(message, number, name, wanted, got), 3)
    end
end

--- Runs a command; `options` are those of each reload, which words of the command overrule.
---@see hotreload.console in meta.lua
function console.run(command, options)
    local words, given = {}, {}
    if type(command) == "table" then
        for i, word in ipairs(command) do words[i] = tostring(word) end
    else
        check(command, "string", 1, "run")
        for word in gmatch(command, "%S+") do words[#words + 1] = word end
    end
    if options ~= nil then check(options, "table", 2, "run") end
    for key, value in next, options or {} do given[key] = value end
    local done, ok, text, value = pcall(run, words, given)
    if not done then -- for wrong options alone
        return false, match(tostring(ok), "bad argument #%d+ to '%w+' %((.*)%)$") or tostring(ok)
    end
    return ok, text, value
end

------------------------------------------------------------------------------------------------
-- The line protocol

local Session = {}
Session.__index = Session

--- Takes as long for each wrong token of the same length.
local function is_same(given, token)
    local difference = #given ~ #token
    for i = 1, #given do difference = difference | byte(given, i) ~ (byte(token, i) or 0) end
    return difference == 0
end

--- The status, how many lines follow, and these. What would steer a terminal is left out.
local function framed(ok, text)
    local _, breaks = gsub(text, "\n", "\n")
    return format("%s %d\n%s%s", ok and "OK" or "ERR", text == "" and 0 or breaks + 1,
        gsub(text, "[\0-\8\11-\31\127]", "?"), text == "" and "" or "\n")
end

local function answer(self, line)
    if self.is_trusted then return framed(console.run(line, self.options)) end
    self.is_trusted = is_same(line, self.token)
    self.open = self.is_trusted
    return framed(self.open, self.open and hotreload._VERSION .. "; try 'help'" or "wrong token")
end

--- Makes the state of one connection.
---@see hotreload.console in meta.lua
function console.session(settings)
    check(settings, "table", 1, "session")
    local token, options = settings.token, settings.options
    local wrong
    for key in next, settings do
        if key ~= "token" and key ~= "options" then
            wrong = format("unknown option '%s'; known: options, token", tostring(key))
        end
    end
    if options ~= nil and type(options) ~= "table" then
        wrong = format("option 'options': table expected, got %s", type(options))
    end
    if type(token) ~= "string" then
        wrong = wrong or format("option 'token': string expected, got %s", type(token))
    elseif #token < LEAST or match(token, "%c") then
        wrong = wrong or format("option 'token': %d characters or more of one line expected", LEAST)
    end
    if wrong then error(format("bad argument #1 to 'session' (%s)", wrong), 2) end
    return setmetatable({
        token = token, options = options, partial = "", open = true, is_trusted = false,
        busy = false,
    }, Session)
end

--- Takes what the connection has received, and returns what is to be sent, and whether the
--- connection stays open.
---@see hotreload.console in meta.lua
function Session:feed(bytes)
    self.partial = self.partial .. bytes
    if self.busy then return "", self.open end
    self.busy = true -- a hook may yield
    local answers = {}
    while self.open do
        local line, rest = match(self.partial, "^([^\n]*)\n(.*)$")
        if #(line or self.partial) > MOST then
            self.open, answers[#answers + 1] = false, framed(false, "the line is too long")
        elseif not line then
            break
        else
            self.partial = rest
            answers[#answers + 1] = answer(self, (gsub(line, "\r$", "")))
        end
    end
    self.busy = false
    return concat(answers), self.open
end

return console
