-- hotreload.hosts.coordinator: one reload in all services of a host, or in none (docs/hosts.md).
-- The services are functions that answer as agents do; the real ones are in spec/agent_spec.lua.

local coordinators = require "hotreload.hosts.coordinator"
local nodes = require "spec.support.node"

--- An agent that has the modules, and does what `how` says for some requests.
local function agent(names, how)
  local state = { version = 1 }
  return function(request)
    local special = how and how[request.op]
    if special then
      local answer = special(request, state)
      if answer then return answer end
    end
    if request.op == "names" then return { ok = true, names = names } end
    if request.op == "find" then
      local has = {}
      for _, name in ipairs(request.changed and {} or request.names or names) do
        for _, known in ipairs(names) do
          if name == known then has[#has + 1] = name end
        end
      end
      return { ok = true, names = has }
    end
    if request.op == "plan" then
      local contents = {}
      for i in ipairs(request.names) do contents[i] = "text" end
      return { ok = true, contents = contents, text = request.text and "the plan" }
    end
    if request.op == "reload" then
      state.version, state.ticket = state.version + 1, request.ticket
    elseif request.op == "undo" and (not request.ticket or request.ticket == state.ticket) then
      state.version, state.ticket = state.version - 1, nil
    end
    return { ok = true }
  end, state
end

describe("a coordinator", function()
  local node, coordinator, states

  before_each(function()
    node, states = nodes.new(), {}
    coordinator = coordinators.new(node.transport)
  end)

  local function service(title, how, names)
    local answer, state = agent(names or { "chat" }, how)
    states[title] = state
    return node:service(title, answer)
  end

  local function run(words, tell)
    local list = {}
    for word in words:gmatch "%S+" do list[#list + 1] = word end
    local request = assert(coordinators.command(list))
    request.who = "ann"
    local ok, summary = node:run(function() return coordinator:run(request, tell) end)
    return ok, coordinators.text(summary), summary
  end

  local function versions()
    local list = {}
    for title, state in pairs(states) do list[title] = state.version end
    return list
  end

  local function position(entry)
    for i, text in ipairs(node.log) do
      if text == entry then return i end
    end
    error("was not asked: " .. entry)
  end

  it("plans in all services before it reloads in the first", function()
    service "a 1"
    service "b 2"
    service("c 3", nil, { "other" })
    local ok, text = run "chat"
    assert.is_true(ok)
    assert.matches("^reload of chat: done, 2 services %(0%.%d%d s%)$", text)
    assert.same({ ["a 1"] = 2, ["b 2"] = 2, ["c 3"] = 1 }, versions())
    local planned = math.max(position "plan a 1", position "plan b 2")
    assert.is_true(planned < math.min(position "reload a 1", position "reload b 2"))
  end)

  it("changes nothing where one cannot, and says each message once with its services", function()
    for i = 1, 3 do service("good " .. i) end
    for i, address in ipairs { "0x12ab", "0x77" } do
      service("bad " .. i, { plan = function()
        return { ok = false, message = "line 3: no table " .. address }
      end })
    end
    local ok, text = run "chat"
    assert.is_false(ok)
    assert.matches("^reload of chat: refused, nothing was changed in 5 services", text)
    assert.truthy(text:find("\n  error, 2 services (bad 1, bad 2):\n    line 3: no table 0x", 1,
      true))
    assert.same(1, select(2, text:gsub("line 3", "")))
    for _, version in pairs(versions()) do assert.equal(1, version) end
  end)

  it("undoes it in all that did it, where one fails", function()
    for i = 1, 40 do service("good " .. i) end
    service("bad 1", { reload = function()
      return { ok = false, message = "the hook failed" }
    end })
    local ok, text, summary = run "chat"
    assert.is_false(ok)
    assert.matches("^reload of chat: undone, %d+ of 41 services had reloaded and undid it", text)
    assert.truthy(text:find("error, bad 1:\n    the hook failed", 1, true))
    assert.equal(41, summary.services)
    for _, version in pairs(versions()) do assert.equal(1, version) end
  end)

  it("waits for none longer than the limit, and lets it undo what it does too late", function()
    service "a 1"
    service("slow 1", { reload = function(_, state)
      node:sleep(5)
      state.late = true
    end })
    local ok, text = run "chat limit=2"
    assert.is_false(ok)
    assert.truthy(text:find("error, slow 1:\n    it did not answer", 1, true))
    assert.same({ ["a 1"] = 1, ["slow 1"] = 1 }, versions())
    position "undo slow 1"
    node:run(function() node:sleep(10) end)
    assert.is_true(states["slow 1"].late)
  end)

  it("goes on without a service that ends before the reload, and says so", function()
    service "a 1"
    service("gone 1", { plan = function() error "killed" end })
    local ok, text = run "chat"
    assert.is_true(ok)
    assert.truthy(text:find("done, 1 service ", 1, true))
  end)

  it("undoes it where a service dies of its reload", function()
    service "a 1"
    service("dies 1", { reload = function() error "killed" end })
    local ok, text = run "chat"
    assert.is_false(ok)
    assert.truthy(text:find("error, dies 1:\n    it has ended", 1, true))
    assert.equal(1, versions()["a 1"])
  end)

  it("refuses where services read different files", function()
    service "a 1"
    service("other 1", { plan = function() return { ok = true, contents = { "another" } } end })
    local ok, text = run "chat width=1"
    assert.is_false(ok)
    assert.truthy(text:find("error, other 1:\n    its file of module 'chat' is another one than "
      .. "that of a 1", 1, true))
  end)

  it("says so where something could not be undone", function()
    service("a 1", { undo = function() return { ok = false, message = "no memory" } end })
    service("bad 1", { reload = function() return { ok = false, message = "no" } end })
    local ok, text = run "chat width=1"
    assert.is_false(ok)
    assert.matches("^reload of chat: failed, 0 of 2 services", text)
    assert.truthy(text:find("error, a 1:\n    it could not be undone: no memory", 1, true))
  end)

  it("tells a second caller who is at work, and how far", function()
    service("slow 1", { reload = function() node:sleep(3) end })
    local second
    node:spawn(function()
      node:sleep(1)
      local _, summary = coordinator:run { action = "reload", names = { "chat" }, who = "bob" }
      second = coordinators.text(summary)
    end)
    assert.is_true((run "chat"))
    assert.matches("^reload of chat: refused", second)
    assert.matches("reload of chat by ann is at work since 1%.%d s %(planned 1 of 1%)", second)
    assert.equal(2, states["slow 1"].version)
    assert.is_true((run "chat"))
  end)

  it("is free again after an error of its own", function()
    service "a 1"
    local list = node.transport.list
    node.transport.list = function() error "the engine stumbles" end
    local ok, text = run "chat"
    assert.is_false(ok)
    assert.truthy(text:find("the engine stumbles", 1, true))
    node.transport.list = list
    assert.is_true((run "chat"))
  end)

  it("has near names for a module that nobody has", function()
    service("a 1", nil, { "battle.skill", "chat" })
    service("b 1", nil, { "battle.skills" })
    local ok, text = run "batle.skill"
    assert.is_false(ok)
    assert.truthy(text:find("no service has a module 'batle.skill'; "
      .. "did you mean 'battle.skill', 'battle.skills'?", 1, true))
    ok, text = run "skill"
    assert.is_false(ok)
    assert.truthy(text:find("did you mean 'battle.skill'?", 1, true))
  end)

  it("has near names for a service that there is not", function()
    service ":0000000a agent"
    local ok, text = run "chat service=agnt"
    assert.is_false(ok)
    assert.truthy(text:find("there is no service 'agnt'; did you mean 'agent'?", 1, true))
    assert.is_true((run "chat :0000000a"))
    assert.is_true((run "chat service=agent"))
  end)

  it("asks no more services at a time than it is told", function()
    for i = 1, 30 do service("a " .. i) end
    assert.is_true((run "chat width=4"))
    assert.equal(4, node.most)
  end)

  it("tells how far it is", function()
    for i = 1, 20 do
      service("a " .. i, { reload = function() node:sleep(0.3) end })
    end
    local told = {}
    assert.is_true((run("chat width=4", function(text) told[#told + 1] = text end)))
    assert.matches("^reloaded %d+ of 20$", told[#told])
    assert.is_true(#told >= 2 and #told <= 4)
  end)

  it("tells how far it is with a question alone", function()
    for i = 1, 20 do
      service("a " .. i, { find = function() node:sleep(0.3) end })
    end
    local told = {}
    assert.is_true((run("changed width=4", function(text) told[#told + 1] = text end)))
    assert.matches("^asked %d+ of 20$", told[1])
  end)

  it("reloads in services that were started meanwhile and took the old code", function()
    local started
    service("a 1", { reload = function()
      if started then return end
      started = true
      service("late 1", { find = function(request)
        if request.changed and states["late 1"].version == 1 then
          return { ok = true, names = { "chat" } }
        end
      end })
      service("fresh 1", nil, { "chat" })
    end })
    local ok, text = run "chat"
    assert.is_true(ok, text)
    assert.same({ ["a 1"] = 2, ["late 1"] = 2, ["fresh 1"] = 1 }, versions())
    assert.truthy(text:find("done, 2 services", 1, true))
  end)

  it("names the services that are started when it has looked for such often enough", function()
    local count = 0
    local function start()
      count = count + 1
      service("late " .. count, { find = function(request)
        if request.changed then start() end
      end })
    end
    service("a 1", { reload = start })
    local ok, text = run "chat"
    assert.is_true(ok, text)
    assert.equal(4, count)
    assert.truthy(text:find("  note, late 4:\n    it was started too late to be looked at, and may "
      .. "have the old code; reload again", 1, true), text)
  end)

  it("holds new messages between plan and reload, and lets them go whatever comes", function()
    for _, fails in ipairs { false, true } do
      node.log = {}
      local title = "held " .. tostring(fails)
      service(title, { reload = function()
        if fails then return { ok = false, message = "no" } end
      end })
      assert.equal(not fails, (run("chat barrier=true service=" .. tostring(fails))))
      assert.is_true(position("plan " .. title) < position("hold " .. title))
      assert.is_true(position("hold " .. title) < position("reload " .. title))
      assert.is_true(position("reload " .. title) < position("release " .. title))
    end
  end)

  it("leaves services without an agent alone, and names them", function()
    service "a 1"
    service("c 1", { find = function()
      return { ok = false, stranger = true, message = "module 'hotreload' not found" }
    end })
    local ok, text = run "chat plan"
    assert.is_true(ok)
    assert.truthy(text:find("note, c 1:\n    hotreload is not there", 1, true))
  end)

  it("empties the cache before the first reload, and says so to the services", function()
    local asked = {}
    service("a 1", { plan = function(request) asked.plan = request.cached or false end,
      reload = function(request) asked.reload = request.cached or false end })
    assert.is_true((run "chat"))
    assert.same({ plan = false, reload = false }, asked)
    coordinator = coordinators.new(node.transport, {
      commit = function() node.log[#node.log + 1] = "emptied" end,
    })
    assert.is_true((run "chat"))
    assert.same({ plan = false, reload = true }, asked)
    assert.equal("reload a 1", node.log[position "emptied" + 1])
  end)

  it("undoes the last reload everywhere", function()
    service "a 1"
    service "b 1"
    assert.is_true((run "chat"))
    local ok, text = run "chat undo"
    assert.is_true(ok)
    assert.matches("^undo of chat: done, 2 of 2 services", text)
    assert.same({ ["a 1"] = 1, ["b 1"] = 1 }, versions())
  end)

  it("notes where there is nothing to undo, and fails only if that is so everywhere", function()
    service "a 1"
    local nothing = { ok = false, nothing = true, message = "there was none" }
    service("b 1", { undo = function() return nothing end })
    local ok, text = run "chat undo"
    assert.is_true(ok)
    assert.truthy(text:find("done, 1 of 2 services", 1, true))
    assert.truthy(text:find("note, b 1:\n    there was none", 1, true))
    ok, text = run "chat undo service=b"
    assert.is_false(ok)
    assert.matches("^undo of chat: refused, nothing was changed in 1 service", text)
    assert.truthy(text:find("error, b 1:\n    there was none", 1, true))
  end)

  it("lists what changed, and reloads that", function()
    service("a 1", { find = function(request)
      if not request.names then return { ok = true, names = { "chat" } } end
    end }, { "chat", "quiet" })
    local ok, text = run "changed"
    assert.is_true(ok)
    assert.matches("^changed: done, 1 service ", text)
    assert.truthy(text:find("  a 1:\n    chat", 1, true))
    assert.is_true((run "changed reload"))
    assert.equal(2, states["a 1"].version)
  end)

  it("has a command of words, and says what is wrong with one", function()
    local function command(words)
      local list = {}
      for word in words:gmatch "%S+" do list[#list + 1] = word end
      return coordinators.command(list)
    end
    assert.same({ action = "plan", names = { "a", "b" }, options = { scope = "vm" },
      services = { ":0a", ".main" }, nodes = { "n1" }, width = 3, barrier = true },
      command "a b plan scope=vm :0a .main @n1 width=3 barrier=true")
    assert.same({ action = "reload", names = { "status" }, options = {} }, command "module=status")
    for words, expected in pairs {
      [""] = "^usage:", ["plan"] = "^usage:", ["changed a"] = "^usage:",
      ["changed undo"] = "^usage:",
      ["a plan undo"] = "^one action is wanted, not 'plan' and 'undo'",
      ["a widht=3"] = "^there is no option 'widht'; did you mean 'width'%?",
      ["a width=0"] = "^a number from 1 on is wanted in 'width=0'",
      ["a limit=soon"] = "^a number from 1 on is wanted in 'limit=soon'",
    } do
      local request, message = command(words)
      assert.is_nil(request)
      assert.matches(expected, message)
    end
  end)
end)

describe("a coordinator of several nodes", function()
  local fleet, coordinator, states, members

  before_each(function()
    fleet, states, members = nodes.new(), {}, {}
    coordinator = coordinators.new(fleet.transport, { nodes = true })
  end)

  --- A node with services, as one more service of the fleet.
  local function member(name, agents)
    local inner = nodes.new()
    inner.spawn = function(_, f) fleet:spawn(f) end
    inner.sleep = function(_, seconds) fleet:sleep(seconds) end
    inner.log = fleet.log
    inner.transport.now = fleet.transport.now
    for title, how in pairs(agents) do
      local answer, state = agent({ "chat" }, how or nil)
      states[name .. "/" .. title] = state
      inner:service(title, answer)
    end
    members[name] = coordinators.new(inner.transport)
    fleet:service(name, function(request) return members[name]:answer(request) end)
    return members[name]
  end

  local function run(words)
    local list = {}
    for word in words:gmatch "%S+" do list[#list + 1] = word end
    local request = assert(coordinators.command(list))
    request.who = "ann"
    local ok, summary = fleet:run(function() return coordinator:run(request) end)
    return ok, coordinators.text(summary)
  end

  local function versions()
    local list = {}
    for title, state in pairs(states) do list[title] = state.version end
    return list
  end

  it("plans on all nodes before the first reload, and counts services", function()
    member("n1", { a = false, b = false })
    member("n2", { c = false })
    local ok, text = run "chat"
    assert.is_true(ok, text)
    assert.matches("^reload of chat: done, 3 services", text)
    assert.same({ ["n1/a"] = 2, ["n1/b"] = 2, ["n2/c"] = 2 }, versions())
    local last_plan, first_reload
    for i, entry in ipairs(fleet.log) do
      if entry:find "^plan" then last_plan = i end
      if entry:find "^reload" then first_reload = first_reload or i end
    end
    assert.is_true(last_plan < first_reload)
    -- The nodes are free again.
    assert.is_true((run "chat"))
  end)

  it("changes nothing on any node where one service of one node cannot", function()
    member("n1", { a = false })
    member("n2", { b = { plan = function() return { ok = false, message = "no" } end } })
    local ok, text = run "chat"
    assert.is_false(ok)
    assert.truthy(text:find("error, n2/b:\n    no", 1, true))
    assert.same({ ["n1/a"] = 1, ["n2/b"] = 1 }, versions())
  end)

  it("undoes it on all nodes where one service of one node fails", function()
    member("n1", { a = false })
    member("n2", { b = false, c = { reload = function()
      return { ok = false, message = "the hook failed" }
    end } })
    local ok, text = run "chat width=1"
    assert.is_false(ok)
    assert.matches("^reload of chat: undone", text)
    assert.truthy(text:find("error, n2/c:\n    the hook failed", 1, true))
    for title, version in pairs(versions()) do assert.equal(1, version, title) end
    for _, one in pairs(members) do assert.equal("nothing is at work", one:status()) end
  end)

  it("refuses where nodes have different files", function()
    member("n1", { a = false })
    member("n2", { b = { plan = function() return { ok = true, contents = { "another" } } end } })
    local ok, text = run "chat width=1"
    assert.is_false(ok)
    assert.truthy(text:find("its file of module 'chat' is another one than that of n1", 1, true))
  end)

  it("keeps others from a node between its plan and its reload", function()
    local local_ok, text
    member("n1", { a = { reload = function() fleet:sleep(2) end } })
    fleet:spawn(function()
      fleet:sleep(1)
      local ok, summary = members.n1:run { action = "reload", names = { "chat" }, who = "bob" }
      local_ok, text = ok, coordinators.text(summary)
    end)
    assert.is_true((run "chat"))
    assert.is_false(local_ok)
    assert.truthy(text:find("by ann is at work", 1, true))
    assert.equal(2, states["n1/a"].version)
  end)

  it("gives a node back to others whose coordinator was lost", function()
    local one = member("n1", { a = false })
    local request = { op = "plan", names = { "chat" }, ticket = "lost", who = "ann" }
    assert.is_true(fleet:run(function() return one:answer(request) end).ok)
    assert.truthy(one:status():find("at work", 1, true))
    fleet:run(function() fleet:sleep(100) end)
    assert.equal("nothing is at work", one:status())
    assert.is_true((run "chat"))
  end)
end)
