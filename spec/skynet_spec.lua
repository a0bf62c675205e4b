-- hotreload.hosts.skynet on a real skynet (docs/hosts.md): SKYNET names a built checkout of 1.8.
-- Each spec starts a node of its own, and speaks to it on the debug console.
-- skynet's Lua has several addresses of one short string: what compares them by address fails here.

local program = require "spec.support.program"

local SKYNET = os.getenv "SKYNET"
local EXAMPLE = program.root .. "/examples/skynet"

if not SKYNET then
  describe("hotreload.hosts.skynet", function()
    it("works in a real skynet", function() pending "SKYNET names no built checkout of skynet" end)
  end)
  return
end

local port = 18000 + math.random(0, 900) * 10

describe("a node of skynet", function()
  local app, pid

  before_each(function()
    app = program.new()
    port = port + 4
    assert(os.execute(("cp -r %s/. %s"):format(EXAMPLE, app.dir)))
  end)

  local function slurp(path)
    local file = io.open(path)
    if not file then return "" end
    local text = file:read "a"
    file:close()
    return text
  end

  local function wait_for(path, text)
    for _ = 1, 300 do
      if slurp(path):find(text, 1, true) then return end
      os.execute "sleep 0.05"
    end
    error(("%q does not come; the log says\n%s"):format(text, slurp(path)))
  end

  after_each(function()
    if pid then os.execute("kill " .. pid) end
    pid = nil
    app:unload()
  end)

  --- Starts the node; `agents` of the example's players, and `main` instead of its first service.
  local function start(agents, main)
    if main then app:write_file("main.lua", main) end
    local log = app.dir .. "/log"
    local command = ("cd %s && SKYNET=%s GAME=. HOTRELOAD=%s AGENTS=%d CONSOLE=%d sh -c "
      .. "'./run.sh >log 2>&1 & echo $! >pid'")
      :format(app.dir, SKYNET, program.root, agents or 0, port)
    assert(os.execute(command))
    pid = slurp(app.dir .. "/pid"):match "%d+"
    wait_for(log, "the game has begun")
    os.execute "sleep 0.2" -- until the console knows the command
  end

  --- A command on the console: whether it was carried out, and what it printed.
  local function console(command, ...)
    local line = command:format(...)
    local ok = os.execute(("cd %s && CONSOLE=%d COMMAND='%s' ./hot.sh '%s' >answer 2>&1"):format(
      app.dir, port, line:match "^%S+", line:match "^%S+%s*(.*)$"))
    return ok or false, slurp(app.dir .. "/answer")
  end

  local function done(command, ...)
    local ok, text = console(command, ...)
    assert.is_true(ok, command .. "\n" .. text .. "\n" .. slurp(app.dir .. "/log"))
    return text
  end

  local function refused(command, ...)
    local ok, text = console(command, ...)
    assert.is_false(ok, text)
    return text
  end

  --- What a service answers to a message, by the console's `call`.
  local function ask(address, message)
    return (done("call %s %s", address, message):match "^1\t([^\n]*)")
  end

  local function edit(path, from, to)
    local text = slurp(app.dir .. "/" .. path)
    local at, behind = text:find(from, 1, true)
    assert(at, from)
    app:write_file(path, text:sub(1, at - 1) .. to .. text:sub(behind + 1))
  end

  --- The address of the first service of that script.
  local function address(name)
    for line in done "list":gmatch "[^\n]+" do
      local found, script = line:match "^(:%x+)\tsnlua (%S+)"
      if script == name then return found end
    end
  end

  --- A service with some lines of its own, and a module `part` that it has.
  local function door(lines)
    app:write_file("door.lua", [[
local skynet = require "skynet"
local part = require "part"
local command = {}
function command.part() return part.version() end
]] .. (lines or "") .. [[

skynet.start(function()
    skynet.dispatch("lua", function(_, _, name, ...) skynet.retpack(command[name](...)) end)
end)
]])
  end

  local function part(version, lines)
    app:write_file("part.lua", ([[
local skynet = require "skynet"
local part = {}
local asked = 0
function part.version() asked = asked + 1 return "v%d " .. asked end
%s
return part
]]):format(version, lines or ""))
  end

  local MAIN = [[
local skynet = require "skynet"
skynet.start(function()
    skynet.newservice("debug_console", tonumber(skynet.getenv "console"))
    require "hotreload.hosts.skynet".launch()
    for _ = 1, %d do skynet.newservice "door" end
    skynet.error "the game has begun"
end)
]]

  it("gives 200 players new code by one command, while they play, and takes it back", function()
    start(200)
    local agent = address "agent"
    assert.matches("version 1$", ask(agent, '"status"'))
    edit("battle/skill.lua", "version 1", "version 2")
    assert.matches("changed: done, 200 services", done "hotreload changed")
    assert.matches("plan of battle.skill: done, 200 services can",
      done "hotreload battle.skill plan")
    assert.matches("version 1$", ask(agent, '"status"'))
    assert.matches("reload of battle.skill: done, 200 services", done "hotreload battle.skill")
    assert.matches("^player1: %d+ rounds, used %d+ times, version 2$", ask(agent, '"status"'))
    assert.matches("undo of battle.skill: done, 200 of 200", done "hotreload battle.skill undo")
    assert.matches("version 1$", ask(agent, '"status"'))
    local rounds = ask(agent, '"status"'):match "(%d+) rounds"
    os.execute "sleep 1.2"
    assert.is_true(tonumber(ask(agent, '"status"'):match "(%d+) rounds") > tonumber(rounds))
  end)

  it("reloads a service's script, on its state, with its dispatch", function()
    start(3)
    local agent = address "agent"
    edit("agent.lua", 'skynet.ret(skynet.pack(command[cmd](...)))',
      'skynet.ret(skynet.pack("new " .. command[cmd](...)))')
    edit("agent.lua", "%d rounds", "%d fights")
    done "hotreload agent"
    assert.matches("^new player1: %d+ fights", ask(agent, '"status"'))
    done "hotreload agent undo"
    assert.matches("^player1: %d+ rounds", ask(agent, '"status"'))
  end)

  it("starts services on the new code after a reload", function()
    part(1)
    door()
    start(0, MAIN:format(1))
    part(2)
    assert.matches("done, 1 service ", done "hotreload part")
    assert.equal("v2 1", ask(done "start door":match "^(:%x+)", '"part"'))
  end)

  it("reloads files that call skynet.init, register_protocol, timeout, fork and send", function()
    local lines = [[
skynet.init(function() part.inits = (part.inits or 0) + 1 end)
skynet.register_protocol { name = "odd", id = 100, pack = skynet.pack, unpack = skynet.unpack,
    dispatch = function() return "VERSION" end }
function part.told() return part.inits, part.ticks, skynet.dispatch "odd" () end
local function tick() part.ticks = (part.ticks or 0) + 1 end
skynet.timeout(1, tick)
skynet.fork(tick)
]]
    part(1, (lines:gsub("VERSION", "one")))
    door "function command.told() return table.concat({ part.told() }, ' ') end"
    start(0, MAIN:format(1))
    local one = address "door"
    assert.equal("1 2 one", ask(one, '"told"'))
    part(2, (lines:gsub("VERSION", "two")))
    local text = done "hotreload part"
    assert.truthy(text:find("part.lua:11: skynet.fork is not called again by a reload", 1, true),
      text)
    os.execute "sleep 0.1"
    assert.equal("1 2 two", ask(one, '"told"'))
    assert.equal("v2 1", ask(one, '"part"'))
    done "hotreload part"
    assert.equal("1 2 two", ask(one, '"told"'))
  end)

  it("refuses a file that waits, and all replies come to whom they belong", function()
    part(1)
    door [[
function command.who(name) skynet.sleep(20) return name end
function command.asks(address)
    return skynet.call(address, "lua", "who", "a") .. skynet.call(address, "lua", "who", "b")
end]]
    start(0, MAIN:format(2))
    local one = address "door"
    part(2, [[skynet.call(".launcher", "lua", "LIST")]])
    local text = refused "hotreload part"
    assert.truthy(text:find("skynet.call would wait, which a file cannot do", 1, true), text)
    assert.equal("v1 1", ask(one, '"part"'))
    assert.equal("ab", ask(one, '"asks", ' .. "0x" .. one:sub(2)))
  end)

  it("loads a new dependency that asks for a service when skynet has loaded it", function()
    part(1)
    door "function command.shared() return type(part.data.query) end"
    start(0, MAIN:format(1))
    part(2, [[part.data = require "skynet.sharedata"]])
    done "hotreload part plan"
    done "hotreload part"
    assert.equal("function", ask(address "door", '"shared"'))
    part(3, [[part.data = require "skynet.sharedata" part.data.new("x", { y = 5 })]])
    refused "hotreload part"
    edit("door.lua", "type(part.data.query)", [[(function()
      part.data.new("x", { y = 5 }) return part.data.query "x".y end)()]])
    part(2, [[part.data = require "skynet.sharedata"]])
    done "hotreload door"
    assert.equal("5", ask(address "door", '"shared"'))
  end)

  it("reads new dependencies in a plan, though the code cache has an old text", function()
    part(1)
    app:write_file("other.lua", "return { value = 'old' }")
    door "function command.other() return require 'other'.value end"
    start(0, MAIN:format(2))
    assert.equal("old", ask(address "door", '"other"'))
    app:write_file("other.lua", "error 'broken'")
    part(2, "part.other = require 'other'")
    local second = done "list":match "(:%x+)\tsnlua door%s*$" or address "door"
    local text = refused("hotreload part plan %s", second)
    assert.truthy(text:find("other.lua:1: broken", 1, true), text)
    app:write_file("other.lua", "return { value = 'new' }")
    done("hotreload part %s", second)
    assert.equal("new", ask(done "start door":match "^(:%x+)", '"other"'))
  end)

  it("has a record of what skynet's require loads on a coroutine", function()
    app:write_file("preload.lua", "require 'hotreload.hosts.skynet' require 'hotreload'")
    part(1)
    app:write_file("slow.lua", [[
require "skynet".sleep(20)
local near = "fa"
return { far = require(near .. "r") }]])
    app:write_file("far.lua", "return { rate = 1, gone = 1 }")
    app:write_file("rates.lua", "return { rate = 1, gone = 1 }")
    door [[
function command.tracks()
    local ended
    skynet.fork(function()
        require "slow"
        ended = true
    end)
    skynet.sleep(5)
    require "rates"
    while not ended do skynet.sleep(5) end
    local said = { table.concat(require "hotreload".requires "slow", "+") }
    for _, name in ipairs { "rates", "far" } do
        local module = require(name)
        module.gone = nil
        gg.reload(name, { source = "return { rate = 2, gone = 2 }", data = "merge" })
        said[#said + 1] = ("%s %d %s"):format(name, module.rate, module.gone)
    end
    return table.concat(said, ", ")
end]]
    start(0, MAIN:format(1))
    assert.equal("far+skynet, rates 2 nil, far 2 nil", ask(address "door", '"tracks"'))
  end)

  it("keeps the code of a large file once, for all services", function()
    local function big(version)
      local lines = { "local M, n = {}, 0" }
      for i = 1, 2000 do
        lines[i + 1] = ([[
function M.f%d(a, b)
    local t = { a = a, b = b, name = "f%d" }
    n = n + 1
    if t.a and t.a > %d then return t.b, n end
    for k, v in pairs(t) do t[k] = v end
    return t.name .. "%d", t.a
end]]):format(i, i, i, i % 50 == 0 and version or 1)
      end
      lines[#lines + 1] = "return M"
      app:write_file("big.lua", table.concat(lines, "\n"))
    end
    part(1)
    big(1)
    door [[
local big = require "big"
function command.version() return (big.f50(1)) end
function command.memory()
    collectgarbage()
    collectgarbage()
    return math.ceil(collectgarbage "count")
end]]
    start(0, MAIN:format(20))
    local last
    for line in done "list":gmatch "[^\n]+" do last = line:match "^(:%x+)\tsnlua door" or last end
    done "hotreload big plan limit=60"
    local memory = { tonumber(ask(last, '"memory"')) }
    for version = 2, 5 do
      big(version)
      done "hotreload big limit=60"
      assert.equal("f50" .. version, ask(last, '"version"'))
      memory[version] = tonumber(ask(last, '"memory"'))
    end
    local text = table.concat(memory, ", ") .. " KiB"
    -- The file's compiled code is 1,200 KiB, what is on record of 2,000 functions 240 KiB.
    assert.is_true(memory[2] - memory[1] < 300, text)
    assert.is_true(memory[5] - memory[4] < 4, text) -- 40 closures
  end)

  it("reloads its own script where a service asks for it", function()
    part(1)
    local script = [[
local skynet = require "skynet"
local count = 0
local command = {}
function command.count() count = count + 1 return "VERSION " .. count end
function command.reload()
    require "hotreload.hosts.skynet".attach()
    local ok, message = gg.reload("counter", { scope = "vm" })
    return ok and "done" or message
end
function command.carelessly()
    local path = package.path
    package.path = path .. ";./scripts/?.lua"
    local ok, message = require "hotreload".reload "counter"
    package.path = path
    return tostring(ok) .. ", " .. message:match "this service has started already"
end
skynet.start(function()
    skynet.dispatch("lua", function(_, _, name, ...) skynet.retpack(command[name](...)) end)
end)
]]
    app:write_file("scripts/counter.lua", script)
    edit("config", 'luaservice = game .. "/?.lua;"',
      'luaservice = game .. "/?.lua;" .. game .. "/scripts/?.lua;"')
    start(0, MAIN:format(0))
    local one = done "start counter":match "^(:%x+)"
    assert.equal("VERSION 1", ask(one, '"count"'))
    assert.equal("false, this service has started already", ask(one, '"carelessly"'))
    app:write_file("scripts/counter.lua", (script:gsub("VERSION", "new")))
    assert.equal("done", ask(one, '"reload"'))
    assert.equal("new 2", ask(one, '"count"'))
    assert.matches("done, 1 of 1 service", done "hotreload counter undo")
    assert.equal("VERSION 3", ask(one, '"count"'))
  end)

  it("undoes it in all services where it fails in some", function()
    start(200)
    edit("battle/skill.lua", "version 1", "version 2")
    edit("battle/skill.lua", "return skill", [[
function skill.__hotfix()
    if require "skynet".self() % 50 == 7 then error "this one cannot" end
end
return skill]])
    local text = refused "hotreload battle.skill"
    assert.matches("undone, %d+ of 200 services had reloaded and undid it", text)
    assert.truthy(text:find("this one cannot", 1, true))
    for line in done "list":gmatch "[^\n]+" do
      local one, number = line:match "^(:%x+)\tsnlua agent %d+ player(%d+)"
      if one and number % 20 == 0 then assert.matches("version 1$", ask(one, '"status"')) end
    end
  end)

  it("undoes it in the others where a service dies of it", function()
    part(1)
    door()
    start(0, MAIN:format(3))
    local one = address "door"
    part(2, ("function part.__hotfix() if skynet.self() == 0x%s then skynet.exit() end end"):format(
      one:sub(2)))
    local text = refused "hotreload part"
    assert.matches("reload of part: undone, %d of 3 services", text)
    assert.truthy(text:find("error, " .. one .. " door:\n    it has ended", 1, true), text)
    local count = 0
    for line in done "list":gmatch "[^\n]+" do
      local other = line:match "^(:%x+)\tsnlua door"
      if other then
        count = count + 1
        assert.matches("^v1", ask(other, '"part"'))
      end
    end
    assert.equal(2, count)
  end)

  it("waits for no service longer than the limit, and leaves none with the new code", function()
    part(1)
    door [[
function command.hang(seconds)
    skynet.fork(function()
        local over = skynet.hpc() + seconds * 1000000000
        repeat until skynet.hpc() > over
    end)
end]]
    start(0, MAIN:format(3))
    local one = address "door"
    part(2)
    ask(one, '"hang", 8')
    local text = refused "hotreload part limit=3"
    assert.truthy(text:find("error, " .. one .. " door:\n    it did not answer within 3 s", 1,
      true), text)
    for line in done "list":gmatch "[^\n]+" do
      local other = line:match "^(:%x+)\tsnlua door"
      if other then assert.matches("^v1", ask(other, '"part"')) end
    end
    assert.matches("done, 3 services", done "hotreload part")
  end)

  it("tells a second caller who is at work", function()
    part(1)
    door()
    start(0, MAIN:format(1))
    part(2, "function part.__hotfix() skynet.sleep(400) end")
    assert(os.execute(("cd %s && (CONSOLE=%d ./hot.sh part >first 2>&1 &)"):format(app.dir, port)))
    os.execute "sleep 0.5"
    local text = refused "hotreload part"
    assert.matches("reload of part by the console is at work since %d", text)
    assert.matches("at work since", done "hotreload status")
    wait_for(app.dir .. "/first", "reload of part: done, 1 service")
  end)

  it("holds new messages until all services have the new code", function()
    part(1)
    door [[
function command.slow() skynet.sleep(1) return part.version() end]]
    start(0, MAIN:format(2))
    local one = address "door"
    part(2, "function part.__hotfix() skynet.sleep(50) end")
    assert(os.execute(("cd %s && (CONSOLE=%d ./hot.sh part barrier=true width=1 >first 2>&1 &)")
      :format(app.dir, port)))
    os.execute "sleep 0.3"
    assert.equal("v2 1", ask(one, '"part"'))
    wait_for(app.dir .. "/first", "reload of part: done, 2 services")
    assert.equal("v2 2", ask(one, '"slow"'))
  end)

  it("has near names, and does one service alone", function()
    start(3)
    assert.truthy((refused "hotreload battle.skil"):find("did you mean 'battle.skill'?", 1, true))
    assert.truthy((refused "hotreload battle.skill service=agnet"):find("did you mean 'agent'?", 1,
      true))
    local agent = address "agent"
    edit("battle/skill.lua", "version 1", "version 2")
    assert.matches("done, 1 service ", done("hotreload battle.skill %s", agent))
    assert.matches("version 2$", ask(agent, '"status"'))
    assert.matches("^usage: hotreload", refused "hotreload")
  end)

  it("does not walk into shared tables", function()
    app:write_file("shared.lua", [[
local rows = {}
for i = 1, 20000 do rows[i] = { id = i, name = "row " .. i } end
return rows]])
    part(1)
    door [[
local tables = require "skynet.sharetable"
local rows
function command.read() rows = tables.query "shared.lua" return #rows end
function command.walked()
    local reports = {}
    for i = 1, 5 do
        local ok, report = gg.reload("part", { scope = "vm", dry_run = true })
        reports[i] = report.elapsed_ms.sweep
    end
    return math.min(table.unpack(reports))
end]]
    start(0, ([[
local skynet = require "skynet"
skynet.start(function()
    skynet.newservice("debug_console", tonumber(skynet.getenv "console"))
    require "hotreload.hosts.skynet".launch()
    require "skynet.sharetable".loadfile "shared.lua"
    skynet.newservice "door"
    skynet.error "the game has begun"
end)
]]))
    local one = address "door"
    done "hotreload part plan"
    local without = tonumber(ask(one, '"walked"'))
    assert.equal("20000", ask(one, '"read"'))
    local with = tonumber(ask(one, '"walked"'))
    done "hotreload part plan" -- the agent looks at what is shared
    local left_out = tonumber(ask(one, '"walked"'))
    assert.is_true(left_out < without * 2 and left_out < with / 2,
      ("%f, %f, %f ms"):format(without, with, left_out))
  end)

  it("reloads on two nodes, or on none", function()
    part(1)
    door()
    local main = [[
local skynet = require "skynet"
local cluster = require "skynet.cluster"
skynet.start(function()
    skynet.newservice("debug_console", tonumber(skynet.getenv "console"))
    local address = require "hotreload.hosts.skynet".launch()
    cluster.reload { one = "127.0.0.1:%d", two = "127.0.0.1:%d" }
    cluster.register("hotreload", address)
    cluster.open(skynet.getenv "agents" == "0" and "one" or "two")
    skynet.call(address, "lua", "fleet", { "one", "two" })
    for _ = 1, 3 do skynet.newservice "door" end
    skynet.error "the game has begun"
end)
]]
    start(0, main:format(port + 1, port + 3))
    local first_pid = pid
    finally(function() os.execute("kill " .. first_pid) end)
    -- The second node has files of its own.
    assert(os.execute(("cd %s && mkdir two && cp *.lua config *.sh two && cp -r battle two")
      :format(app.dir)))
    assert(os.execute(("cd %s/two && SKYNET=%s GAME=. HOTRELOAD=%s AGENTS=1 CONSOLE=%d sh -c "
      .. "'./run.sh >log 2>&1 & echo $! >pid'")
      :format(app.dir, SKYNET, program.root, port + 2)))
    pid = slurp(app.dir .. "/two/pid"):match "%d+"
    wait_for(app.dir .. "/two/log", "the game has begun")
    local one = address "door"
    part(2)
    local text = refused "hotreload part"
    assert.truthy(text:find("its file of module 'part' is another one than that of", 1, true), text)
    assert.equal("v1 1", ask(one, '"part"'))
    app:write_file("two/part.lua", slurp(app.dir .. "/part.lua"))
    assert.matches("plan of part: done, 6 services can", done "hotreload part plan")
    assert.matches("reload of part: done, 6 services", done "hotreload part")
    assert.equal("v2 2", ask(one, '"part"'))
    port = port + 2
    assert.equal("v2 1", ask(address "door", '"part"'))
    port = port - 2
    assert.matches("undo of part: done, 3 of 3 services", done "hotreload part undo @two")
    assert.matches("reload of part: done, 6 services", done "hotreload part")
    assert.truthy((refused "hotreload prat"):find("did you mean 'part'?", 1, true))
    -- A hook that fails on one node undoes it on both.
    part(3, "function part.__hotfix() "
      .. "if skynet.getenv 'agents' == '1' then error 'not here' end end")
    app:write_file("two/part.lua", slurp(app.dir .. "/part.lua"))
    text = refused "hotreload part"
    assert.matches("reload of part: undone", text)
    assert.truthy(text:find("not here", 1, true))
    assert.matches("two/:%x+ door", text)
    assert.matches("^v2", ask(one, '"part"'))
    -- A node that is gone: nothing happens on the other.
    os.execute("kill " .. pid)
    os.execute "sleep 0.5"
    pid = nil
    part(4)
    text = refused "hotreload part limit=1"
    assert.truthy(text:find("error, two:", 1, true), text)
    assert.matches("^v2", ask(one, '"part"'))
  end)
end)
