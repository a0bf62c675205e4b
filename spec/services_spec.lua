-- 200 services on 4 threads, in a host with a code cache and a `require` of its own
-- (tests/services.c, tests/services.lua). spec/skynet_spec.lua has the same on a real engine; this
-- runs wherever there is a C compiler.

local program = require "spec.support.program"

describe("a host with 200 services on 4 threads", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- Runs main.lua; returns what it printed, or nil where the host cannot be built.
  local function run(main, worker, states)
    app:write_file("worker.lua", worker)
    app:write_file("main.lua", [[
local engine = require "engine"
local host = engine.host
local coordinators = require "hotreload.hosts.coordinator"
local coordinator = coordinators.new(coordinators.transport {
  now = host.now, fork = engine.fork, sleep = engine.sleep, wakeup = engine.wakeup,
  list = function()
    local list = {}
    for _, number in ipairs(host.states()) do
      if number ~= 1 then list[#list + 1] = { address = number, title = "worker" .. number } end
    end
    return list
  end,
  call = function(address, request) return engine.call(address, "hotreload", request) end,
}, { commit = host.clear })

local function write(name, text)
  local file = assert(io.open(name .. ".lua", "w"))
  file:write(text)
  file:close()
end

local function part(version, more)
  write("part", ([=[
local engine = require "engine"
local part, asked = {}, 0
function part.version() asked = asked + 1 return "v%d " .. asked end
%s
return part]=]):format(version, more or ""))
end

--- What all services say, each answer once.
local function all()
  local said, list = {}, {}
  for _, number in ipairs(host.states()) do
    if number ~= 1 then said[engine.call(number, "lua", "part")] = true end
  end
  for text in pairs(said) do list[#list + 1] = text end
  table.sort(list)
  return table.concat(list, ", ")
end

local function hot(...)
  local words = { ... }
  local ok, text = coordinators.execute(coordinator, words, "main")
  local first = text:match "^[^\n]*":gsub(" %(%d+%.%d+ s%)", ""):gsub("%d+ of", "# of")
  print(ok, first)
  return text
end

part(1)
]] .. main .. "\nio.stdout:flush()\nhost.exit(0)\n")
    app:write_file("part.lua", "")
    local out = app.dir .. "/out"
    local _, how, code = os.execute(("%s/scripts/services.sh %s 4 %d >%s 2>&1"):format(
      program.root, app.dir, states or 201, out))
    if how == "exit" and code == 3 then return nil end
    local file = assert(io.open(out))
    local text = file:read "a"
    file:close()
    assert.equal("exit 0", how .. " " .. code, text)
    return text
  end

  local WORKER = [[
local engine = require "engine"
local command, count = {}, 0
function command.part() return require "part".version() end
function command.requires(name)
  local ok, module = pcall(require, name)
  return ok and module.value
end
function command.count()
  count = count + 1
  return ("counted %d"):format(count)
end
--- Loads two modules at once, of which the first waits; what is on record of them afterwards.
function command.tracks(slow, quick)
  local hotreload, ended = require "hotreload", false
  engine.fork(function()
    require(slow)
    ended = true
  end)
  engine.sleep(0.05)
  local rates = require(quick)
  while not ended do engine.sleep(0.05) end
  rates.gone = nil
  gg.reload(quick, { source = "return { rate = 2, gone = 2 }", data = "merge" })
  return table.concat(hotreload.requires(slow), " "), rates.rate, rates.gone
end
function command.hang(seconds)
  engine.fork(function()
    local over = engine.host.now() + seconds
    repeat until engine.host.now() > over
  end)
end
engine.dispatch(function(name, ...) return command[name](...) end)
]]

  local function check(main, expected, states)
    local out = run(main, WORKER, states)
    if not out then return pending "no C compiler, or no Lua to link" end
    assert.equal(expected, out)
  end

  it("reloads in all of them, in those that start later, and undoes it", function()
    check([[
print(all())
part(2)
print(engine.call(host.start(), "lua", "part")) -- the cache has the old file
hot("part")
print(all())
print(engine.call(host.start(), "lua", "part"))
hot("part", "undo")
print(all())
]], [[
v1 1
v1 1
true	reload of part: done, 201 services
v2 2
v2 1
true	undo of part: done, # of 202 services
v1 3, v2 2
]])
  end)

  it("undoes it in all, where it fails in some", function()
    check([[
all()
part(2, "function part.__hotfix() if engine.host.me % 50 == 7 then error 'no' end end")
local text = hot("part")
print(text:match "the hook of module 'part' failed")
print(all())
hot("part", "undo")
]], [[
false	reload of part: undone, # of 200 services had reloaded and undid it
the hook of module 'part' failed
v1 2
false	undo of part: refused, nothing was changed in 200 services
]])
  end)

  it("does not wait for those that hang, which are not left with the new code", function()
    check([[
all()
part(2)
engine.call(7, "lua", "hang", 4)
local text = hot("part", "limit=1")
print(text:match "error, worker7:\n    (it did not answer within 1 s)")
engine.sleep(4)
print(all())
hot("part", "plan")
]], [[
false	reload of part: refused, nothing was changed
it did not answer within 1 s
v1 2
true	plan of part: done, 10 services can
]], 11)
  end)

  it("does without those that end meanwhile, and undoes it where one dies of it", function()
    check([[
all()
part(2)
host.kill(5)
hot("part")
part(3, "function part.__hotfix() if engine.host.me == 6 then engine.host.kill(6) end end")
local text = hot("part", "limit=1")
print(text:match "error, (worker6):")
print(all())
]], [[
true	reload of part: done, 9 services
false	reload of part: undone, # of 9 services had reloaded and undid it
worker6
v2 2
]], 11)
  end)

  it("takes calls that wait out of files, and makes those of new dependencies later", function()
    check([[
all()
write("config", "local engine = require 'engine' local config = {} "
  .. "engine.init(function() config.of = 'then ' .. tostring(engine.call(2, 'lua', 'part')) end) "
  .. "return config")
part(2, "part.config = require 'config' function part.version() return part.config.of end")
hot("part", "plan")
hot("part", "width=1")
print(engine.call(3, "lua", "part"))
part(3, "engine.call(2, 'lua', 'part')")
print(hot("part"):match "engine.call would wait")
]], [[
true	plan of part: done, 10 services can
true	reload of part: done, 10 services
then then nil
false	reload of part: refused, nothing was changed in 10 services
engine.call would wait
]], 11)
  end)

  it("loads new dependencies from their files, though the cache has an old text", function()
    check([[
all()
write("config", "return { value = 'old' }")
engine.call(2, "lua", "requires", "config")
write("config", "error 'broken'")
part(2, "part.config = require 'config' function part.version() return part.config.value end")
print(hot("part", "plan", "service=worker4"):match "config.lua:1: broken")
print(engine.call(host.start(), "lua", "requires", "config")) -- a plan leaves the cache alone
write("config", "return { value = 'new' }")
hot("part", "service=worker4")
print(engine.call(4, "lua", "part"))
print(engine.call(host.start(), "lua", "requires", "config"))
]], [[
false	plan of part: refused, of 1 service some cannot
config.lua:1: broken
old
true	reload of part: done, 1 service
new
new
]], 11)
  end)

  it("takes a record of what a `require` of its own loads on a coroutine", function()
    check([[
write("far", "return 1")
write("near", "local engine = require 'engine' engine.sleep(0.2) "
  .. "local far = require 'far' return far")
write("rates", "return { rate = 1, gone = 1 }")
print(engine.call(2, "lua", "tracks", "near", "rates"))
]], [[
engine far	2	nil
]], 2)
  end)

  it("holds messages back until all have the new code, and tells a second caller", function()
    check([[
all()
part(2, "function part.__hotfix() engine.sleep(0.3) end")
local function start(...)
  local words = { ... }
  engine.fork(function() hot(table.unpack(words)) end)
end
local function wait_for(text)
  repeat engine.sleep(0.02) until coordinator:status():find(text)
end
start("part", "barrier=true", "width=1")
wait_for "reloaded 1 of 4"
local held = engine.call(5, "lua", "part") -- the last of them
wait_for "nothing is at work"
engine.sleep(0.1)
print(held)
start "part"
wait_for "reload"
print(hot("part"):match "reload of part by main is at work since")
wait_for "nothing is at work"
engine.sleep(0.1)
]], [[
true	reload of part: done, 4 services
v2 2
false	reload of part: refused
reload of part by main is at work since
true	reload of part: done, 4 services
]], 5)
  end)

  it("reloads the services' own script, with its state and its dispatch", function()
    check([[
print(engine.call(2, "lua", "count"), engine.call(2, "lua", "count"))
local file = io.open "worker.lua"
local text = file:read "a"
file:close()
write("worker", (text:gsub("counted %%d", "counts %%d"):gsub("return command%[name%]",
  "return 'new', command[name]")))
hot("worker")
print(engine.call(2, "lua", "count"))
print(engine.call(host.start(), "lua", "count"))
hot("worker", "undo")
print(engine.call(2, "lua", "count"))
]], [[
counted 1	counted 2
true	reload of worker: done, 10 services
new	counts 3
new	counts 1
true	undo of worker: done, # of 11 services
counted 4
]], 11)
  end)
end)
