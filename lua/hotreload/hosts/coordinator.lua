-- require "hotreload.hosts.coordinator": one reload in all services of a host, or in none of them.
--
-- A coordinator asks the agents of all services (agent.lua), over a transport of four functions
-- that an engine gives. It is itself as good as one agent for a coordinator of several nodes.

local hotreload = require "hotreload"

local error, ipairs, pairs, pcall = error, ipairs, pairs, pcall
local setmetatable, tonumber, tostring, type = setmetatable, tonumber, tostring, type
local concat, sort = table.concat, table.sort
local format, gsub, match, sub = string.format, string.gsub, string.match, string.sub

---@type hotreload.hosts.coordinators
local coordinators = {}

------------------------------------------------------------------------------------------------
-- Names

local function unknown(kind, name, known)
    local near = hotreload.near(name, known)
    return format("no service has a %s '%s'%s", kind, name,
        near[1] and "; did you mean '" .. concat(near, "', '") .. "'?" or "")
end

------------------------------------------------------------------------------------------------
-- What the coordinator tells

local Messages = {}
Messages.__index = Messages

--- Adds a message of a service, or of several. Addresses in it tell no message from another.
function Messages:add(kind, text, titles)
    local key = kind .. gsub(text, "0x%x+", "0x")
    local message = self[key]
    if not message then
        message = { kind = kind, text = text, titles = {} }
        self[key], self[#self + 1] = message, message
    end
    for _, title in ipairs(titles) do message.titles[#message.titles + 1] = title end
end

function Messages:take(target, answer)
    local title = { target.title }
    for _, one in ipairs(answer.messages or {}) do
        local titles = {}
        for i, inner in ipairs(one.titles) do titles[i] = target.title .. "/" .. inner end
        self:add(one.kind, one.text, titles[1] and titles or title)
    end
    for _, text in ipairs(answer.notes or {}) do self:add("note", text, title) end
    if answer.text and answer.text ~= "" then self:add("text", answer.text, title) end
    if not answer.ok and answer.message then self:add("error", answer.message, title) end
end

local MOST_TITLES = 5

local function listed(titles)
    sort(titles)
    local shown = concat(titles, ", ", 1, math.min(#titles, MOST_TITLES))
    if #titles > MOST_TITLES then shown = shown .. ", …" end
    return #titles == 1 and shown or format("%d services (%s)", #titles, shown)
end

local function titled(names) return names[1] and concat(names, ", ") or "what changed" end

--- A summary as a text for people. Its first line begins with the action and says `done`,
--- `refused`, `undone` or `failed`.
---@see hotreload.hosts.coordinator in meta.lua
function coordinators.text(summary)
    local of = summary.action == "changed" and "" or " of " .. titled(summary.names)
    local lines = { format("%s%s: %s (%.2f s)", summary.action, of, summary.outcome,
        summary.elapsed) }
    for _, kind in ipairs { "error", "note", "text" } do
        for _, message in ipairs(summary.messages) do
            if message.kind == kind then
                local titles = message.titles
                lines[#lines + 1] = format("  %s%s", kind == "text" and "" or kind .. ", ",
                    titles[1] and listed(titles) .. ":" or "all:")
                lines[#lines + 1] = "    " .. gsub(message.text, "\n", "\n    ")
            end
        end
    end
    return concat(lines, "\n")
end

------------------------------------------------------------------------------------------------
-- The transport

--- A transport for an engine: { now, list, fork, sleep, wakeup, call }.
---@see hotreload.hosts.coordinator in meta.lua
function coordinators.transport(engine)
    local transport = { now = engine.now, list = engine.list }
    local running = coroutine.running

    function transport.all(functions)
        local left, co, asleep = #functions, running(), false
        for _, f in ipairs(functions) do
            engine.fork(function()
                f()
                left = left - 1
                if left == 0 and asleep then engine.wakeup(co) end
            end)
        end
        while left > 0 do
            asleep = true
            engine.sleep(60)
            asleep = false
        end
    end

    function transport.ask(address, seconds, request)
        local co, over, asleep, ended, ok, answer, message = running(), false, false
        request.deadline = engine.now() + seconds
        engine.fork(function()
            ok, answer, message = pcall(engine.call, address, request)
            ended = true
            if asleep and not over then engine.wakeup(co) end
        end)
        if not ended then
            asleep = true
            engine.sleep(seconds)
        end
        over = true
        if not ended then return nil, format("it did not answer within %s s", seconds) end
        if ok and type(answer) == "table" then return answer end
        return nil, "it has ended, or cannot be asked: " .. tostring(ok and message or answer)
    end

    return transport
end

------------------------------------------------------------------------------------------------
-- The coordinator

local Coordinator = {}
Coordinator.__index = Coordinator

-- Services that are asked side by side, and seconds that each may take.
local WIDTH, LIMIT = 16, 10
-- How often services are looked for that were started meanwhile.
local ROUNDS = 3
-- How many times that limit a node may take, and is kept from others between plan and reload.
local PATIENCE = 6

local tickets = 0

--- Makes a coordinator over a transport: { list, ask, all, now }.
---@see hotreload.hosts.coordinator in meta.lua
function coordinators.new(transport, settings)
    for _, name in ipairs { "list", "ask", "all", "now" } do
        if type(transport[name]) ~= "function" then
            error(format("bad argument #1 to 'new' (no function '%s')", name), 2)
        end
    end
    return setmetatable({ transport = transport, settings = settings or {}, work = false },
        Coordinator)
end

--- Makes a coordinator of several nodes: `call(name, request)` brings a request to the coordinator
--- of the node of that name, whose `answer` answers it, and returns that.
---@see hotreload.hosts.coordinator in meta.lua
function coordinators.fleet(engine, names, call)
    local targets = {}
    for i, name in ipairs(names) do targets[i] = { address = name, title = tostring(name) } end
    return coordinators.new(coordinators.transport {
        now = engine.now, fork = engine.fork, sleep = engine.sleep, wakeup = engine.wakeup,
        list = function() return targets end,
        call = call,
    }, { nodes = true })
end

local function plural(count, what)
    return format("%d %s%s", count, what, count == 1 and "" or "s")
end

function Coordinator:tell(work, text)
    work.progress = text
    local now = self.transport.now()
    if work.tell and now - work.told >= 0.5 then
        work.told = now
        pcall(work.tell, text)
    end
end

--- Asks targets side by side. `take` gets each answer; false from it ends the asking.
function Coordinator:each(work, targets, make, take)
    local request = work.request
    local width, limit = request.width or WIDTH, request.limit or LIMIT
    if self.settings.nodes then limit = limit * PATIENCE end
    local ask, at, over = self.transport.ask, 0, false
    local function worker()
        while not over do
            at = at + 1
            local target = targets[at]
            if not target then return end
            local ok, answer, message = pcall(ask, target.address, limit, make(target))
            if not ok then answer, message = nil, tostring(answer) end
            if answer == nil then
                answer = { ok = false, silent = true, message = message or "it did not answer" }
            end
            if take(target, answer) == false then over = true end
        end
    end
    local workers = {}
    for i = 1, math.min(width, #targets) do workers[i] = worker end
    if workers[1] then self.transport.all(workers) end
end

--- Those that the host has now, by address.
function Coordinator:living()
    local living = {}
    for _, target in ipairs(self.transport.list()) do living[target.address] = target end
    return living
end

--- Drops answers of services that have ended by themselves meanwhile. Returns the others.
function Coordinator:without_ended(work, silent)
    if not silent[1] then return silent end
    local living, left = self:living(), {}
    for _, target in ipairs(silent) do
        if living[target.address] then
            left[#left + 1] = target
        else
            target.ended = true
            work.messages:add("note", "it has ended meanwhile", { target.title })
        end
    end
    return left
end

local function matches(target, words)
    for _, word in ipairs(words) do
        if tostring(target.address) == word then return true end
        for part in target.title:gmatch "%S+" do
            if part == word then return true end
        end
    end
    return false
end

--- The targets that the request is about; or nil where it names one that there is not.
function Coordinator:targets(work)
    local words = work.request[self.settings.nodes and "nodes" or "services"]
    local all = self.transport.list()
    if not words or not words[1] then return all end
    local targets, known = {}, {}
    for _, target in ipairs(all) do
        if matches(target, words) then targets[#targets + 1] = target end
        for part in target.title:gmatch "%S+" do known[#known + 1] = part end
    end
    for _, word in ipairs(words) do
        local found = false
        for _, target in ipairs(targets) do found = found or matches(target, { word }) end
        if not found then
            local near = hotreload.near(word, known)
            work.messages:add("error", format("there is no service '%s'%s", word,
                near[1] and "; did you mean '" .. concat(near, "', '") .. "'?" or ""), {})
            return nil
        end
    end
    return targets
end

--- Finds who has the modules. Returns whether somebody has each of them.
function Coordinator:find(work)
    local request = work.request
    local targets = self:targets(work)
    if not targets then return false end
    local found, silent, failed, asked = {}, {}, 0, 0
    work.who, work.seen = {}, {}
    for _, target in ipairs(targets) do work.seen[target.address] = true end
    self:each(work, targets, function()
        return { op = "find", names = request.names[1] and request.names or nil,
            services = request.services, who = request.who }
    end, function(target, answer)
        asked = asked + 1
        self:tell(work, format("asked %d of %d", asked, #targets))
        if answer.silent then
            silent[#silent + 1], target.message = target, answer.message
            return
        end
        if answer.stranger then -- it has no agent
            work.messages:add("note", "hotreload is not there: " .. answer.message,
                { target.title })
            return
        end
        work.messages:take(target, answer)
        if not answer.ok then failed = failed + 1 end
        for _, name in ipairs(answer.names or {}) do found[name] = true end
        if answer.names and answer.names[1] then
            work.who[#work.who + 1] = { address = target.address, title = target.title,
                names = answer.names, count = answer.count or 1 }
        end
    end)
    for _, target in ipairs(self:without_ended(work, silent)) do
        failed = failed + 1
        work.messages:add("error", target.message, { target.title })
    end
    sort(work.who, function(a, b) return a.title < b.title end)
    local missing = {}
    for _, name in ipairs(request.names) do
        if not found[name] then missing[#missing + 1] = name end
    end
    if missing[1] and failed == 0 then
        local known = {}
        self:each(work, targets, function() return { op = "names" } end, function(_, answer)
            for _, name in ipairs(answer.names or {}) do known[#known + 1] = name end
        end)
        for _, name in ipairs(missing) do
            work.messages:add("error", unknown("module", name, known), {})
        end
    end
    return failed == 0 and not missing[1]
end

local function count(who)
    local sum = 0
    for _, target in ipairs(who) do sum = sum + target.count end
    return sum
end

--- Asks all that have the modules something. Returns how many said yes.
function Coordinator:ask_all(work, progress, make, take)
    local done, total = 0, count(work.who)
    self:each(work, work.who, make, function(target, answer)
        if answer.ok then
            done = done + (answer.count or target.count)
            self:tell(work, format("%s %d of %d", progress, done, total))
        end
        return take(target, answer)
    end)
    return done
end

--- Plans in all of them. Returns whether all can, and read the same files.
function Coordinator:plan(work)
    local silent, good, texts = {}, true, {}
    self:ask_all(work, "planned", function(target)
        return { op = "plan", names = target.names, options = work.request.options,
            text = work.request.text, ticket = work.ticket, services = work.request.services,
            who = work.request.who, limit = work.request.limit, width = work.request.width }
    end, function(target, answer)
        if answer.silent then
            silent[#silent + 1], target.message = target, answer.message
            return
        end
        work.messages:take(target, answer)
        good = good and answer.ok
        target.contents = answer.contents or {}
        for i, name in ipairs(target.names) do
            local first = texts[name]
            if not first then
                texts[name] = { target.contents[i], target.title }
            elseif first[1] and target.contents[i] and first[1] ~= target.contents[i] then
                good = false
                work.messages:add("error", format("its file of module '%s' is another one than "
                    .. "that of %s", name, first[2]), { target.title })
            end
        end
    end)
    local left = self:without_ended(work, silent)
    for _, target in ipairs(left) do
        good = false
        work.messages:add("error", target.message, { target.title })
    end
    if silent[1] then
        local still = {}
        for _, target in ipairs(work.who) do
            if not target.ended then still[#still + 1] = target end
        end
        work.who = still
    end
    return good
end

--- The fingerprints of these modules' files, as the plan has found them.
local function contents_of(work, names)
    local contents = {}
    for i, name in ipairs(names) do
        contents[i] = false
        for _, target in ipairs(work.who) do
            for j, other in ipairs(target.names) do
                if other == name then contents[i] = target.contents[j] end
            end
        end
    end
    return contents
end

--- Reloads in all of them. Where one cannot, those that did undo it.
function Coordinator:commit(work)
    local request = work.request
    local good = true
    work.done, work.silent = {}, {}
    if self.settings.commit then self.settings.commit() end
    local function make(target)
        return { op = "reload", names = target.names, options = request.options,
            ticket = work.ticket, contents = target.contents, who = request.who,
            cached = self.settings.commit and true or nil }
    end
    local function take(target, answer)
        work.messages:take(target, answer)
        if answer.ok then
            work.done[#work.done + 1] = target
        else
            good = false
            if answer.silent then work.silent[#work.silent + 1] = target end
        end
        return good
    end
    work.count = self:ask_all(work, "reloaded", make, take)
    for round = 1, good and not request.services and ROUNDS + 1 or 0 do
        -- Services that were started since they were listed may have the old code.
        local list = {}
        for address, target in pairs(self:living()) do
            if not work.seen[address] then list[#list + 1], work.seen[address] = target, true end
        end
        if not list[1] or not good then break end
        if round > ROUNDS then
            local titles = {}
            for i, target in ipairs(list) do titles[i] = target.title end
            work.messages:add("note", "it was started too late to be looked at, and may have the "
                .. "old code; reload again", titles)
            break
        end
        local late = {}
        self:each(work, list, function()
            return { op = "find", changed = true, names = work.names, ticket = work.ticket }
        end, function(target, answer)
            if answer.ok and answer.names and answer.names[1] then
                late[#late + 1] = { address = target.address, title = target.title,
                    names = answer.names, contents = contents_of(work, answer.names),
                    count = 1 }
            end
        end)
        self:each(work, late, make, take)
        work.count = work.count + #late
    end
    if not good then self:take_back(work) end
    return good
end

--- Undoes it in those that did it, and in those that may yet do it.
function Coordinator:take_back(work)
    local undone, failed = 0, false
    local function make() return { op = "undo", ticket = work.ticket, who = work.request.who } end
    self:each(work, work.done, make, function(target, answer)
        if answer.ok then
            undone = undone + target.count
            self:tell(work, format("undone %d of %d", undone, count(work.done)))
        else
            failed = true
            work.messages:add("error", "it could not be undone: " .. (answer.message or "?"),
                { target.title })
        end
    end)
    local limit = work.request.limit
    work.request.limit = 1 -- they wait in line, or are gone
    self:each(work, work.silent, make, function(target, answer)
        if answer.silent then
            work.messages:add("note", "should it go on, it undoes the reload", { target.title })
        end
    end)
    work.request.limit = limit
    work.undone, work.half = undone, failed
end

local function union(who)
    local names, seen = {}, {}
    for _, target in ipairs(who) do
        for _, name in ipairs(target.names) do
            if not seen[name] then seen[name], names[#names + 1] = true, name end
        end
    end
    return names
end

function Coordinator:begin(request, tell)
    tickets = tickets + 1
    local messages = setmetatable({}, Messages)
    local now = self.transport.now()
    return { request = request, messages = messages, who = {}, tell = tell, told = now,
        started = now, progress = "looking for services", names = request.names,
        ticket = request.ticket or format("%s-%s-%d", tostring(messages), now, tickets) }
end

--- Why a request has to wait for another one; nothing where it does not.
function Coordinator:at_work(request)
    local work, now = self.work, self.transport.now()
    if not work or request.ticket == work.ticket or work.expires and now > work.expires then
        return nil
    end
    return format("%s of %s by %s is at work since %.1f s (%s); ask again when it has ended",
        work.request.action or "a plan", titled(work.names), work.request.who or "somebody",
        now - work.started, work.progress)
end

-- For each action: what is done behind `find`, and returns the outcome and whether it is good.
local actions = {}

function actions.plan(self, work)
    work.request.text = true
    local good = self:plan(work)
    return format(good and "done, %s can" or "refused, of %s some cannot",
        plural(count(work.who), "service")), good
end

function actions.reload(self, work)
    if not self:plan(work) then
        return format("refused, nothing was changed in %s", plural(count(work.who), "service"))
    end
    work.messages = setmetatable({}, Messages) -- the reload says it all again
    work.total = count(work.who)
    local held = work.request.barrier and self:barrier(work)
    if held == false then return "refused, nothing was changed" end
    local ran, good = pcall(self.commit, self, work)
    if held then self:each(work, work.who, function() return { op = "release" } end,
        function() end) end
    if not ran then error(good, 0) end
    if good then return format("done, %s", plural(work.count, "service")), true end
    return format("%s, %d of %s had reloaded and undid it", work.half and "failed" or "undone",
        work.undone, plural(work.total, "service"))
end

function actions.undo(self, work)
    local good, nothing = true, setmetatable({}, Messages)
    local done = self:ask_all(work, "undone", function(target)
        return { op = "undo", names = target.names, who = work.request.who }
    end, function(target, answer)
        if answer.nothing then -- it has started since, say
            nothing:add("note", answer.message, { target.title })
            return
        end
        good = good and answer.ok
        work.messages:take(target, answer)
    end)
    local refused = good and done == 0
    for _, message in ipairs(nothing) do
        work.messages:add(refused and "error" or "note", message.text, message.titles)
    end
    if refused then
        return format("refused, nothing was changed in %s", plural(count(work.who), "service"))
    end
    return format("%s, %d of %s", good and "done" or "failed", done,
        plural(count(work.who), "service")), good
end

function actions.stale(self, work)
    local good = true
    self:ask_all(work, "looked at", function(target)
        return { op = "stale", names = target.names, who = work.request.who }
    end, function(target, answer)
        good = good and answer.ok
        work.messages:take(target, answer)
    end)
    return (good and "done" or "failed") .. ", " .. plural(count(work.who), "service"), good
end

function actions.changed(_, work)
    for _, target in ipairs(work.who) do
        work.messages:add("text", concat(target.names, "\n"), { target.title })
    end
    return "done, " .. plural(count(work.who), "service"), true
end

--- Lets no new message into the services. False where one of them cannot.
function Coordinator:barrier(work)
    local good = true
    self:ask_all(work, "held", function() return { op = "hold" } end, function(target, answer)
        good = good and answer.ok
        if not answer.ok then work.messages:take(target, answer) end
    end)
    if not good then
        self:each(work, work.who, function() return { op = "release" } end, function() end)
    end
    return good
end

--- Does what a request says; may wait. Never raises but for a wrong request.
---@see hotreload.hosts.coordinator in meta.lua
function Coordinator:run(request, tell)
    local action = actions[request.action]
    if not action then error(format("no action '%s'", tostring(request.action)), 2) end
    request.names = request.names or {}
    local busy = self:at_work(request)
    local work = self:begin(request, tell)
    local outcome, good
    if busy then
        outcome = "refused"
        work.messages:add("error", busy, {})
    else
        self.work = work
        local ran, why
        ran, why, good = pcall(function()
            if not self:find(work) then return "refused, nothing was changed" end
            work.names = union(work.who)
            return action(self, work)
        end)
        outcome = ran and why or "failed"
        if not ran then
            good = false
            work.messages:add("error", tostring(why), {})
        end
        if self.settings.nodes then
            self:each(work, work.who, function() return { op = "free", ticket = work.ticket } end,
                function() end)
        end
        self.work = false
    end
    local messages = {}
    for i, message in ipairs(work.messages) do messages[i] = message end
    return good or false, {
        ok = good or false, action = request.action, names = work.names, outcome = outcome,
        services = count(work.who), messages = messages,
        elapsed = self.transport.now() - work.started,
    }
end

--- What is going on, as a text.
---@see hotreload.hosts.coordinator in meta.lua
function Coordinator:status()
    return self:at_work {} or "nothing is at work"
end

------------------------------------------------------------------------------------------------
-- A coordinator as the agent of a node

local function answer_of(work, good, more)
    local messages = {}
    for i, message in ipairs(work.messages) do messages[i] = message end
    local answer = { ok = good or false, messages = messages, count = count(work.who) }
    for key, value in pairs(more or {}) do answer[key] = value end
    return answer
end

local node = {}

function node.find(self, work)
    if work.request.changed then return answer_of(work, true, { names = {} }) end
    local silent = setmetatable({}, Messages)
    local good = self:find(work)
    -- Whether some other node has the module is that coordinator's question.
    local messages = work.messages
    work.messages = silent
    for _, message in ipairs(messages) do
        if message.kind == "error" and message.titles[1] then
            silent:add(message.kind, message.text, message.titles)
        end
    end
    return answer_of(work, good or not silent[1], { names = union(work.who) })
end

function node.names(self, work)
    local known = {}
    self:each(work, self.transport.list(), function() return { op = "names" } end,
        function(_, answer)
            for _, name in ipairs(answer.names or {}) do known[name] = true end
        end)
    local names = {}
    for name in pairs(known) do names[#names + 1] = name end
    sort(names)
    return { ok = true, names = names }
end

function node.plan(self, work, request)
    local good = self:find(work) and self:plan(work)
    work.names = union(work.who)
    local contents = contents_of(work, request.names)
    if good then
        self.work = work
        work.expires = self.transport.now() + (request.limit or LIMIT) * PATIENCE
    end
    return answer_of(work, good, { contents = contents })
end

function node.reload(self, _, request)
    local work = self.work
    if not work or work.ticket ~= request.ticket then
        return { ok = false, message = "the request came too late; nothing was changed" }
    end
    work.messages = setmetatable({}, Messages)
    local good = self:commit(work)
    if not good then self.work = false end
    return answer_of(work, good)
end

function node.undo(self, work, request)
    local last = self.work
    if request.ticket then
        if not last or last.ticket ~= request.ticket then return { ok = true } end
        last.messages = setmetatable({}, Messages)
        if last.done then self:take_back(last) end
        self.work = false
        return answer_of(last, not last.half)
    end
    if not self:find(work) then return answer_of(work, false) end
    local _, good = actions.undo(self, work)
    return answer_of(work, good)
end

function node.stale(self, work)
    if not self:find(work) then return answer_of(work, false) end
    local _, good = actions.stale(self, work)
    return answer_of(work, good)
end

--- The transaction of all nodes is over.
function node.free(self, work)
    if self.work and self.work.ticket == work.ticket then self.work = false end
    return { ok = true }
end

--- Answers a request of a coordinator of several nodes, as an agent does.
---@see hotreload.hosts.coordinator in meta.lua
function Coordinator:answer(request)
    local operation = node[request.op]
    if not operation then return { ok = false, message = "no such request" } end
    local busy = self:at_work(request)
    if busy then return { ok = false, message = busy } end
    request.names = request.names or {}
    local ok, answer = pcall(operation, self, self:begin(request), request)
    if ok then return answer end
    self.work = false
    return { ok = false, message = tostring(answer) }
end

------------------------------------------------------------------------------------------------
-- The command

local OPTIONS = {
    scope = true, data = true, constants = true, on_conflict = true, width = tonumber,
    limit = tonumber, barrier = function(value) return value == "true" end,
}
local OF_RELOAD = { scope = true, data = true, constants = true, on_conflict = true }

coordinators.USAGE = [[
usage: hotreload NAME… [reload|plan|undo|stale]   in all services that have the modules
       hotreload changed [reload|plan]            the modules whose files differ
       hotreload status
  :0100000a, .name or service=NAME   only in these services; @NODE only on these nodes
  scope=vm data=merge constants=keep on_conflict=replace   as for gg.reload
  width=16 limit=10 barrier=true     services at a time; seconds for each; hold new messages]]

--- A request from the words of a command; or nil and what is wrong.
---@see hotreload.hosts.coordinator in meta.lua
function coordinators.command(words)
    local request = { names = {}, options = {}, services = {}, nodes = {} }
    local changed = false
    for _, word in ipairs(words) do
        local key, value = match(word, "^([%w_]+)=(.*)$")
        local first = sub(word, 1, 1)
        if key == "service" then
            request.services[#request.services + 1] = value
        elseif key == "module" then
            request.names[#request.names + 1] = value
        elseif key then
            local read_value = OPTIONS[key]
            if not read_value then
                local known = {}
                for name in pairs(OPTIONS) do known[#known + 1] = name end
                local near = hotreload.near(key, known)[1]
                return nil, format("there is no option '%s'%s\n%s", key,
                    near and "; did you mean '" .. near .. "'?" or "", coordinators.USAGE)
            end
            if read_value ~= true then value = read_value(value) end
            if value == nil or type(value) == "number" and value < 1 then
                return nil, format("a number from 1 on is wanted in '%s'", word)
            end
            if OF_RELOAD[key] then request.options[key] = value else request[key] = value end
        elseif first == ":" or first == "." then
            request.services[#request.services + 1] = word
        elseif first == "@" then
            request.nodes[#request.nodes + 1] = sub(word, 2)
        elseif word == "changed" then
            changed = true
        elseif actions[word] or word == "status" then
            if request.action then
                return nil, format("one action is wanted, not '%s' and '%s'\n%s", request.action,
                    word, coordinators.USAGE)
            end
            request.action = word
        else
            request.names[#request.names + 1] = word
        end
    end
    if changed and request.names[1] then return nil, coordinators.USAGE end
    request.action = request.action or changed and "changed" or "reload"
    if request.action ~= "status" and not changed and not request.names[1] then
        return nil, coordinators.USAGE
    end
    if changed and (request.action == "undo" or request.action == "stale") then
        return nil, coordinators.USAGE
    end
    if not request.services[1] then request.services = nil end
    if not request.nodes[1] then request.nodes = nil end
    if request.width then request.width = request.width // 1 | 0 end
    return request
end

--- Runs a command of words by a coordinator; may wait. Returns whether it was carried out, and a
--- text.
---@see hotreload.hosts.coordinator in meta.lua
function coordinators.execute(coordinator, words, who, tell)
    local request, message = coordinators.command(words)
    if not request then return false, message end
    if request.action == "status" then return true, coordinator:status() end
    request.who = who
    local ok, summary = coordinator:run(request, tell)
    return ok, coordinators.text(summary)
end

return coordinators
