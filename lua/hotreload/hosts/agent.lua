-- require "hotreload.hosts.agent": answers a coordinator's requests in one service. Requests and
-- answers are tables of plain data.

local common = require "hotreload.hosts.common"

local error, ipairs, next, pairs, pcall = error, ipairs, next, pairs, pcall
local setmetatable, tostring, type = setmetatable, tostring, type
local concat, sort = table.concat, table.sort
local find, format, gsub, sub = string.find, string.format, string.gsub, string.sub
local integers = string.unpack
local getinfo, insert = debug.getinfo, table.insert
local loaded, open = package.loaded, io.open

---@type hotreload.hosts.agents
local agents = {}

local function read(path)
    local file = path and open(path, "rb")
    local text = file and file:read "a"
    if file then file:close() end
    return text
end

--- Tells one text of a file from another, in all states and processes alike.
local function fingerprint(text)
    local sum = #text
    for at = 1, #text - 7, 8 do
        sum = (sum ~ integers("<i8", text, at)) * 0x100000001B3
        sum = sum ~ (sum >> 29)
    end
    for at = #text - #text % 8 + 1, #text do sum = (sum ~ text:byte(at)) * 0x100000001B3 end
    return format("%016x", sum)
end

-- Scripts of services that are modules: name → path. The engine's cache of compiled files, where it
-- has one, and whether that has no old text.
local scripts, cache, is_fresh = {}, nil, false

local function path_of(name)
    return scripts[name] or package.searchpath(name, package.path)
end

--- A searcher that takes the scripts of services from where they are, and all files from the
--- engine's cache while that has no old text: their compiled code is one in all states.
local function search(name)
    local path = (scripts[name] or is_fresh and not package.preload[name]) and path_of(name)
    if not path then return nil end
    local mode = cache and not is_fresh and cache.mode()
    if mode then cache.mode "OFF" end
    local loader = loadfile(path)
    if mode then cache.mode(mode) end
    if loader then return loader, path end
end

--- Puts it in front of the searcher of files.
local function install_searcher()
    local list, place = package.searchers, 2
    for _, searcher in ipairs(list) do
        if searcher == search then return end
    end
    while list[place] and getinfo(list[place], "S").what ~= "C" do place = place + 1 end
    insert(list, place, search)
end

local function fingerprints(names)
    local list = {}
    for i, name in ipairs(names) do
        local text = read(path_of(name))
        list[i] = text and fingerprint(text) or false
    end
    return list
end

local function same(a, b)
    for i = 1, #a do
        if a[i] ~= b[i] then return false end
    end
    return true
end

--- What the chunks left out, and the warnings of reports: each text once.
local function notes_of(reports)
    local notes, seen = {}, {}
    local function add(text)
        if not seen[text] then
            seen[text] = true
            notes[#notes + 1] = text
        end
    end
    for _, report in ipairs(reports) do
        local title = report.module .. ": "
        for _, warning in ipairs(report.warnings) do
            add(sub(warning, 1, #title) == title and warning or title .. warning)
        end
    end
    for _, text in ipairs(common.left_out()) do add(text) end
    return notes
end

local function undo_all(hotreload, names)
    local wrong
    for i = #names, 1, -1 do
        local ok, message = hotreload.undo(names[i])
        if not ok then wrong = wrong or message end
    end
    return not wrong, wrong
end

--- Reloads, and runs what waited for it; undoes it where that raises.
local function reload(hotreload, names, options)
    local ok, result = hotreload.reload(names, options)
    if not ok then return ok, result end
    local ran, message = pcall(common.run_kept)
    if ran then return true, result end
    local undone, why = undo_all(hotreload, names)
    return false, tostring(message) .. (undone and "; the reload was undone" or "; " .. why)
end

--- A message without those lines of its traceback that are below the program's: the library's own
--- way, the same for every message.
local function shortened(message)
    local from = type(message) == "string" and find(message, "\nstack traceback:\n", 1, true)
    local own = from and find(message, "\n\thotreload:", from, true)
    if not own then return message end
    local head, rest = sub(message, 1, own - 1), sub(message, own)
    return gsub(head, "\n\t%[C%]: in [^\n]*$", "") .. gsub(rest, "\n\t[^\n]*", "")
end

local Agent = {}
Agent.__index = Agent

--- A service's agent: a function that gets a request and returns an answer, never raises, and may
--- wait where a hook does.
---@see hotreload.hosts.agent in meta.lua
function agents.new(host)
    -- `last`: what this agent did last, { ticket, names }. `cancelled`: a ticket that comes too
    -- late. `busy`: the ticket of a reload that has not ended.
    local agent = setmetatable({ host = host or {}, last = {}, cancelled = false, busy = false },
        Agent)
    return function(request)
        local operation = Agent["on_" .. tostring(request.op)]
        if not operation then return { ok = false, message = "no such request" } end
        local ok, answer = pcall(operation, agent, request)
        if not ok then return { ok = false, message = shortened(tostring(answer)) } end
        answer.message = shortened(answer.message)
        return answer
    end
end

--- A service's own script is a module as soon as somebody names it. Its object has the function
--- that started the service, where an engine has one: it leads to all that the script has.
local function adopt_script(host)
    local script = host.script and host.script()
    if not script or loaded[script.name] ~= nil then return end
    local found, text = package.searchpath(script.name, package.path), read(script.path)
    if not text or found and read(found) ~= text then return end -- that name is another module's
    loaded[script.name] = script.object or true
    if found ~= script.path then scripts[script.name] = script.path end
end

--- `cached`: files come from the engine's cache, which has no old text.
local function library(host, cached)
    cache, is_fresh = host.cache, host.cache and cached or false
    install_searcher()
    return common.attach(host.shared and host.shared() or {}, not is_fresh and cache or nil)
end

--- Loads the library, tells it of this host, and makes the service's script a module; for a service
--- that calls gg.reload itself. Returns the library.
---@see hotreload.hosts.agent in meta.lua
function agents.attach(host)
    adopt_script(host)
    return library(host)
end

function Agent:on_names()
    adopt_script(self.host)
    local names = {}
    for name, object in next, loaded do
        if type(name) == "string" and object then names[#names + 1] = name end
    end
    sort(names)
    return { ok = true, names = names }
end

function Agent:on_find(request)
    adopt_script(self.host)
    local names = {}
    for _, name in ipairs(request.names or {}) do
        if loaded[name] then names[#names + 1] = name end
    end
    if request.names and not request.changed then return { ok = true, names = names } end
    if request.names and not names[1] then return { ok = true, names = {} } end
    local changed, problems = library(self.host).changed { names = request.names and names or nil }
    local notes = {}
    for name, problem in pairs(problems) do notes[#notes + 1] = name .. ": " .. problem end
    sort(notes)
    return { ok = true, names = changed, notes = not request.names and notes or {} }
end

--- The options of a call. A service's script lives in closures that it has handed out.
function Agent:options(request, dry)
    local options = { dry_run = dry or nil, report = dry and "full" or nil }
    for key, value in pairs(request.options or {}) do options[key] = value end
    local script = self.host.script and self.host.script()
    for _, name in ipairs(request.names) do
        if script and name == script.name then options.scope = options.scope or "vm" end
    end
    return options
end

function Agent:on_plan(request)
    adopt_script(self.host)
    local hotreload = library(self.host)
    local contents = fingerprints(request.names)
    local ok, result, refused = hotreload.reload(request.names, self:options(request, true))
    local answer = { ok = ok, contents = contents, message = not ok and result or nil }
    if not ok and not refused then return answer end
    local reports, texts = ok and result or refused, {}
    answer.notes = notes_of(reports)
    for i, report in ipairs(request.text and reports or {}) do
        texts[i] = hotreload.plan(report)
    end
    answer.text = texts[1] and concat(texts, "\n")
    return answer
end

function Agent:on_reload(request)
    local ticket, now = request.ticket, self.host.now
    if self.cancelled == ticket or now and request.deadline and now() > request.deadline then
        return { ok = false, message = "the request came too late; nothing was changed" }
    end
    adopt_script(self.host)
    local hotreload, names = library(self.host, request.cached), request.names
    local changed = { ok = false, message = "the file was changed after the plan" }
    if not same(request.contents, fingerprints(names)) then return changed end
    local before, after = self.host.before, self.host.after
    self.busy = ticket
    if before then before() end
    local done, ok, result = pcall(reload, hotreload, names, self:options(request))
    is_fresh = false
    if after then after() end
    self.busy = false
    if not done then error(ok, 0) end
    if not ok then return { ok = false, message = result } end
    local message
    if self.cancelled == ticket then
        message = "the request took too long"
    elseif not same(request.contents, fingerprints(names)) then
        message = changed.message
    else
        self.last = { ticket = ticket, names = names }
        return { ok = true, notes = notes_of(result) }
    end
    local undone, why = undo_all(hotreload, names)
    message = message .. (undone and ", the reload was undone" or "; " .. why)
    return { ok = false, message = message }
end

function Agent:on_undo(request)
    local names = request.names
    if request.ticket then
        if self.last.ticket ~= request.ticket then
            self.cancelled = request.ticket
            return { ok = true, late = self.busy == request.ticket }
        end
        names, self.last = self.last.names, {}
    end
    local before, after = self.host.before, self.host.after
    local hotreload = library(self.host)
    if before then before() end
    local ok, message = undo_all(hotreload, names)
    if after then after() end
    local nothing = not ok and message:find "there was none"
    return { ok = ok, message = message, nothing = nothing and true or nil }
end

function Agent:on_stale(request)
    local hotreload, lines = library(self.host), {}
    for _, name in ipairs(request.names) do
        local list, message = hotreload.stale(name)
        if not list then return { ok = false, message = message } end
        for _, entry in ipairs(list) do
            lines[#lines + 1] = format("%s: %s, line %d, of generation %s", entry.module,
                entry.name or "a function without a name", entry.line, entry.generation or "?")
        end
    end
    return { ok = true, text = concat(lines, "\n") }
end

function Agent:on_hold()
    if not self.host.hold then return { ok = false, message = "this host holds no messages" } end
    self.host.hold()
    return { ok = true }
end

function Agent:on_release()
    if self.host.release then self.host.release() end
    return { ok = true }
end

return agents
