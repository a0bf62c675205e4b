-- hotreload.hosts.agent and hotreload.hosts.common: what one service does for a coordinator, and
-- what it must not do twice (docs/hosts.md).

local program = require "spec.support.program"

describe("an agent", function()
  local app, agents, common, answer, host
  before_each(function()
    app = program.new()
    for name in pairs(package.loaded) do
      if name:find "^hotreload%.hosts" then package.loaded[name] = nil end
    end
    common, agents = require "hotreload.hosts.common", require "hotreload.hosts.agent"
    host = {}
    answer = agents.new(host)
  end)
  after_each(function()
    require "hotreload".configure { chunk = false, skip = {} }
    app:unload()
  end)

  local function asked(op, more)
    local request = { op = op, names = { "m" }, ticket = "t" }
    for key, value in pairs(more or {}) do request[key] = value end
    return answer(request)
  end

  local function text(version, more)
    return ("local n = 0 local M = {} function M.f() n = n + 1 return %d, n end %s return M")
      :format(version, more or "")
  end

  local function planned_and_reloaded(more)
    local plan = asked "plan"
    assert.is_true(plan.ok, plan.message)
    more = more or {}
    more.contents = plan.contents
    return asked("reload", more)
  end

  it("finds, plans, reloads and undoes", function()
    local m = app:module("m", text(1))
    m.f()
    app:write("m", text(2))
    assert.same({ ok = true, names = { "m" } }, asked("find", { names = { "m", "other" } }))
    local changed = asked("find", { names = false }).names
    assert.equal("m", changed[#changed])
    local plan = asked("plan", { text = true })
    assert.is_true(plan.ok)
    assert.matches("^would reload m: .*\n  generation 2, from ", plan.text)
    assert.same({ 1, 2 }, { m.f() })
    assert.is_true(asked("reload", { contents = plan.contents }).ok)
    assert.same({ 2, 3 }, { m.f() })
    assert.is_true(asked("undo").ok)
    assert.same({ 1, 4 }, { m.f() })
    assert.is_true(asked("undo", { ticket = false }).nothing)
  end)

  it("tells equal files from others, in each state alike", function()
    app:module("m", text(1))
    local first = asked "plan".contents
    app:write("m", text(2))
    assert.not_same(first, asked "plan".contents)
    app:write("m", text(1))
    assert.same(first, asked "plan".contents)
    assert.matches("^%x+$", first[1])
  end)

  it("says why it cannot, and stays as it was", function()
    local m = app:module("m", text(1))
    app:write("m", "error 'broken'")
    local plan = asked "plan"
    assert.is_false(plan.ok)
    assert.matches("broken", plan.message)
    assert.same({ ok = false, message = "no such request" }, asked "jump")
    assert.equal(1, (m.f()))
  end)

  it("gives tracebacks down to the program's code, and no further", function()
    app:module("m", text(1))
    app:write("m", "local function inner()\n  error 'broken'\nend\n"
      .. "local function outer() inner() end\nouter()")
    local message = asked "plan".message
    assert.matches("m.lua:4: in local 'outer'", message)
    assert.matches("m.lua:5: in [^\n]*$", message)
    app:write("m", text(2, "function M.__hotfix() error 'no' end"))
    message = planned_and_reloaded().message
    assert.matches("m.lua:1: no\nstack traceback:\n", message)
    assert.is_nil(message:find "hotreload:%d")
    assert.is_nil(message:find "agent.lua")
  end)

  it("refuses a file that is another one than planned", function()
    local m = app:module("m", text(1))
    local plan = asked "plan"
    app:write("m", text(2))
    local reload = asked("reload", { contents = plan.contents })
    assert.same({ ok = false, message = "the file was changed after the plan" }, reload)
    assert.equal(1, (m.f()))
  end)

  it("undoes the reload of a file that is changed while it works", function()
    local m = app:module("m", text(1))
    app:write("m", text(2, "function M.__hotfix() M.rewrite() end"))
    m.rewrite = function() app:write("m", text(3)) end
    local reload = planned_and_reloaded()
    assert.is_false(reload.ok)
    assert.matches("after the plan, the reload was undone$", reload.message)
    assert.equal(1, (m.f()))
  end)

  it("does not do what it was told not to do any more", function()
    local m = app:module("m", text(1))
    app:write("m", text(2))
    local plan = asked "plan"
    assert.is_true(asked("undo", { ticket = "late" }).ok)
    local reload = asked("reload", { contents = plan.contents, ticket = "late" })
    assert.matches("came too late; nothing was changed", reload.message)
    host.now = function() return 10 end
    reload = asked("reload", { contents = plan.contents, deadline = 9 })
    assert.matches("came too late; nothing was changed", reload.message)
    assert.equal(1, (m.f()))
    assert.is_true(asked("reload", { contents = plan.contents, deadline = 11 }).ok)
    assert.equal(2, (m.f()))
  end)

  it("undoes a reload whose hook takes longer than it may", function()
    local m = app:module("m", text(1))
    app:write("m", text(2, "function M.__hotfix() coroutine.yield() end"))
    local plan, reload = asked "plan", nil
    local co = coroutine.create(function()
      reload = asked("reload", { contents = plan.contents })
    end)
    coroutine.resume(co)
    assert.equal(2, (m.f()))
    assert.same({ ok = true, late = true }, asked "undo")
    coroutine.resume(co)
    assert.is_false(reload.ok)
    assert.matches("too long, the reload was undone", reload.message)
    assert.equal(1, (m.f()))
  end)

  it("undoes by ticket what it did, and nothing else", function()
    local m = app:module("m", text(1))
    app:write("m", text(2))
    assert.is_true(planned_and_reloaded().ok)
    assert.is_true(asked("undo", { ticket = "another" }).ok)
    assert.equal(2, (m.f()))
    assert.is_true(asked("undo", { ticket = "t" }).ok)
    assert.equal(1, (m.f()))
  end)

  describe("with an engine", function()
    local engine, done
    before_each(function()
      done = {}
      engine = app:module("engine", "return {}")
      local function note(name)
        return function(x)
          done[#done + 1] = name
          return x
        end
      end
      for _, name in ipairs { "call", "send", "init" } do engine[name] = note(name) end
      common.stand_in(engine, "engine",
        { call = "wait", send = "once", init = "later", missing = "wait" })
    end)

    local function with(line) return text(1, 'local engine = require "engine" ' .. line) end

    it("changes nothing of it outside of a reload", function()
      local call = engine.call
      common.stand_in(engine, "engine", { call = "wait" })
      assert.equal(call, engine.call)
      app:module("m", with "M.x = engine.send(5) engine.init() engine.call()")
      assert.equal(5, package.loaded.m.x)
      assert.same({ "send", "init", "call" }, done)
    end)

    it("raises before a chunk waits, and nothing was sent", function()
      app:module("m", with "")
      app:write("m", with "engine.call('db')")
      local plan = asked "plan"
      assert.is_false(plan.ok)
      assert.matches("engine.call would wait, which a file cannot do while it is reloaded",
        plan.message)
      assert.same({}, done)
    end)

    it("does not repeat what a chunk did, and says so", function()
      app:module("m", with "engine.send(1) engine.init()")
      assert.same({ "send", "init" }, done)
      local plan = asked "plan"
      assert.matches("m.lua:1: engine.send is not called again by a reload$", plan.notes[1])
      local reload = asked("reload", { contents = plan.contents })
      assert.is_true(reload.ok)
      assert.same(plan.notes, reload.notes)
      assert.same({ "send", "init" }, done)
    end)

    it("does for a new dependency what that needs, once the reload is done", function()
      app:module("m", with "")
      app:write("dep", [[
        local engine = require "engine"
        engine.init(function() engine.call() engine.send(2) end)
        return { send = engine.send(3) }]])
      app:write("m", with "M.dep = require 'dep'")
      assert.is_true(asked "plan".ok)
      assert.same({}, done)
      assert.is_true(planned_and_reloaded().ok)
      assert.same({ "call", "send", "send" }, done)
    end)

    it("undoes the reload where that fails", function()
      local m = app:module("m", with "")
      app:write("dep", "require 'engine'.init(function() error 'no db' end) return {}")
      app:write("m", with "M.dep = require 'dep'")
      local reload = planned_and_reloaded()
      assert.is_false(reload.ok)
      assert.matches("no db; the reload was undone$", reload.message)
      assert.is_nil(m.dep)
    end)

    it("does all of it in a first load", function()
      app:write("m", with "engine.send(1) engine.init() engine.call()")
      common.attach {}
      assert.is_true(gg.reload "m")
      assert.same({ "send", "init", "call" }, done)
    end)

    it("walks over nothing that the host shares", function()
      local m = app:module("m", text(1))
      local shared = { m.f }
      _G.shared = shared
      finally(function() _G.shared = nil end)
      host.shared = function() return { shared } end
      app:write("m", text(2))
      assert.is_true(planned_and_reloaded { options = { scope = "vm" } }.ok)
      assert.equal(2, (m.f()))
      assert.equal(1, (shared[1]()))
    end)
  end)

  describe("of a host with a cache of compiled files", function()
    local mode, loads, loadfile_of_lua
    before_each(function()
      mode, loads, loadfile_of_lua = "ON", {}, loadfile
      -- luacheck: globals loadfile
      function _G.loadfile(path)
        loads[#loads + 1] = mode .. " " .. path:match "[^/]*$"
        return loadfile_of_lua(path)
      end
      host.cache = {
        mode = function(wanted)
          mode = wanted or mode
          return mode
        end,
      }
    end)
    after_each(function() _G.loadfile = loadfile_of_lua end)

    it("asks it where that is new, and else does without", function()
      local m = app:module("m", text(1, "M.mode = host_mode and host_mode()"))
      _G.host_mode = function() return mode end
      finally(function() _G.host_mode = nil end)
      app:write("m", text(2, "M.mode = host_mode and host_mode()"))
      local plan = asked "plan"
      assert.is_true(asked("reload", { contents = plan.contents }).ok)
      assert.same({ {}, "OFF", "ON" }, { loads, m.mode, mode })
      app:write("m", text(3, "M.mode = host_mode and host_mode()"))
      plan = asked "plan"
      assert.is_true(asked("reload", { contents = plan.contents, cached = true }).ok)
      assert.same({ { "ON m.lua" }, 3 }, { loads, (m.f()) })
      app:write("m", text(4))
      assert.is_true(gg.reload "m")
      assert.same({ { "ON m.lua" }, 4 }, { loads, (m.f()) })
    end)
  end)

  describe("of a service with a script", function()
    it("makes it a module for a service that calls gg.reload, wherever it is", function()
      local function script(version)
        return ("local opened = 0 function OPEN() opened = opened + 1 return %d, opened end")
          :format(version)
      end
      local path = app.dir .. "/services/door.lua"
      assert(os.execute("mkdir " .. app.dir .. "/services"))
      app:write_file("services/door.lua", script(1))
      dofile(path)
      finally(function() _G.OPEN, package.loaded.door = nil, nil end)
      assert.equal(1, (_G.OPEN()))
      local before = package.path
      host.script = function() return { name = "door", path = path } end
      local hotreload = agents.attach(host)
      assert.equal(before, package.path)
      app:write_file("services/door.lua", script(2))
      assert.same({ "door" }, (hotreload.changed { names = { "door" } }))
      assert.is_true(gg.reload("door", { scope = "vm" }))
      assert.same({ 2, 2 }, { _G.OPEN() })
    end)

    it("reloads the script, and keeps its state", function()
      local started
      local starts = app:module("starts", "return {}")
      function starts.start(f)
        started = { name = "door", path = app:path "door", object = { start = f } }
        f()
      end
      common.stand_in(starts, "starts", {
        start = function(_, f) package.loaded.door = { start = f } end,
      })
      host.script = function() return started end
      local function script(version)
        return ([[local starts = require "starts"
          local opened = 0
          local command = {}
          function command.open() opened = opened + 1 return %d, opened end
          starts.start(function()
            starts.dispatch = function(name) return "%d " .. name, command[name]() end
          end)]]):format(version, version)
      end
      app:write("door", script(1))
      dofile(app:path "door")
      assert.same({ "1 open", 1, 1 }, { starts.dispatch "open" })
      app:write("door", script(2))
      assert.same({ "door" }, asked("find", { names = { "door" } }).names)
      local plan = asked("plan", { names = { "door" } })
      assert.is_true(plan.ok, plan.message)
      local reload = asked("reload", { names = { "door" }, contents = plan.contents })
      assert.is_true(reload.ok, reload.message)
      assert.same({ "2 open", 2, 2 }, { starts.dispatch "open" })
      assert.is_true(asked("undo", { names = { "door" } }).ok)
      assert.same({ "1 open", 1, 3 }, { starts.dispatch "open" })
    end)
  end)
end)
