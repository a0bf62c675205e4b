-- An engine for the host of tests/services.c, such as skynet, moon and others have: coroutines for
-- messages, calls that wait for their reply, a cache of compiled files, and a `require` of its own.
-- The first service runs main.lua, all others run worker.lua.

local host, me = ...
host.me = me

local engine = { host = host, protocols = { lua = {} } }
package.loaded.engine = engine

local function text_of(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local parts = {}
  for key, field in pairs(value) do
    parts[#parts + 1] = "[" .. text_of(key) .. "]=" .. text_of(field)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local waiting, sessions, sleeping, forked = {}, 0, {}, {}
-- One message of this kind is on its way as long as somebody sleeps.
local TICK, ticking = "tick", false

local function resume(co, ...)
  local ok, message = coroutine.resume(co, ...)
  if not ok then io.stderr:write("service ", me, ": ", debug.traceback(co, message), "\n") end
end

function engine.send(to, ...) return host.send(to, text_of { kind = "send", ... }) end

--- Raises where the service has ended.
function engine.call(to, ...)
  sessions = sessions + 1
  local session = sessions
  waiting[session] = coroutine.running()
  if not host.send(to, text_of { kind = "call", session = session, ... }) then
    waiting[session] = nil
    error "no such service"
  end
  return coroutine.yield()
end

function engine.fork(f) forked[#forked + 1] = coroutine.create(f) end

function engine.sleep(seconds)
  local co = coroutine.running()
  sleeping[co] = host.now() + seconds
  if not ticking then
    ticking = true
    host.send(me, TICK)
  end
  coroutine.yield()
end

function engine.wakeup(co)
  if not sleeping[co] then return end
  sleeping[co] = nil
  engine.fork(function() resume(co) end)
end

function engine.dispatch(f) engine.protocols.lua.dispatch = f end

local inits
--- Calls `f` when the module that is being loaded is loaded; at once in the service's script.
function engine.init(f)
  if inits then inits[#inits + 1] = f else f() end
end

-- Compiled files are all services' own, as in skynet, unless the mode of this one is "OFF".
local mode, loadfile_of_lua = "ON", loadfile
engine.cache = {
  mode = function(wanted)
    mode = wanted or mode
    return mode
  end,
}
function _G.loadfile(path)
  if mode == "OFF" then return loadfile_of_lua(path) end
  local code = host.cached(path)
  if not code then
    local loader, message = loadfile_of_lua(path)
    if not loader then return nil, message end
    code = string.dump(loader)
    host.cache(path, code)
  end
  return load(code, "@" .. path)
end

local require_of_lua = require
--- Asks no searcher, and lets a chunk wait.
_G.require = function(name)
  if package.loaded[name] ~= nil then return package.loaded[name] end
  local path = package.searchpath(name, package.path)
  local loader = path and not select(2, coroutine.running()) and loadfile(path)
  if not loader then return require_of_lua(name) end
  if package.loaded.hotreload then loader = package.loaded.hotreload.tracked(name, loader) end
  local before = inits
  inits = {}
  local value = loader(name, path)
  local list = inits
  inits = before
  for _, f in ipairs(list) do f() end
  if value == nil then value = true end
  package.loaded[name] = value
  return value
end

local common = require "hotreload.hosts.common"
common.stand_in(engine, "engine", {
  call = "wait", sleep = "wait", send = "once", fork = "once", init = "later",
})

local agent = common.barrier(function() return engine.protocols end, { "lua" },
  function() engine.sleep(60) end, engine.wakeup)
agent.now, agent.cache = host.now, engine.cache
function agent.script() return { name = "worker", path = "worker.lua" } end
local answer

local commands = {}

function commands.hotreload(request)
  answer = answer or require "hotreload.hosts.agent".new(agent)
  return answer(request)
end

function commands.lua(...) return engine.protocols.lua.dispatch(...) end

local function handle(from, message)
  if message.kind == "reply" then
    local co = waiting[message.session]
    waiting[message.session] = nil
    return resume(co, table.unpack(message, 1, message.n))
  end
  engine.fork(function()
    local results = table.pack(commands[message[1]](table.unpack(message, 2)))
    if message.kind == "call" then
      results.kind, results.session = "reply", message.session
      host.send(from, text_of(results))
    end
  end)
end

local script = me == 1 and "main.lua" or "worker.lua"

local function run_forked()
  while forked[1] do resume(table.remove(forked, 1)) end
end

if me ~= 1 then
  engine.fork(function() assert(loadfile(script))() end)
  run_forked()
end

return function(from, text)
  if text == "" then
    engine.fork(function() assert(loadfile(script))() end)
  elseif text == TICK then
    local now = host.now()
    for co, over in pairs(sleeping) do
      if now >= over then engine.wakeup(co) end
    end
    ticking = next(sleeping) ~= nil
    if ticking then
      host.pause()
      host.send(me, TICK)
    end
  else
    handle(from, load("return " .. text)())
  end
  run_forked()
end
