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
local command = {}
function command.part() return require "part".version() end
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
false	undo of part: failed, # of 200 services
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
end)
