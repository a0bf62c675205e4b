-- hotreload.dev: the set-up for development, with real files, the real clock and a real debug hook.

local dev = require "hotreload.dev"
local hotreload = require "hotreload"
local program = require "spec.support.program"

local V1 = "local M = {} function M.f() return 1 end return M"
local V2 = "local M = {} function M.f() return 2 end return M"
local V3 = "local M = {} function M.f() return 3 end return M"

describe("hotreload.dev", function()
  local app, lines, object
  before_each(function()
    app, lines, object = program.new(), {}, nil
  end)
  after_each(function()
    if object then object.stop() end
    app:unload()
  end)

  local function start(options)
    local all = { filter = "^m%d?$", color = false }
    function all.print(text) lines[#lines + 1] = text end
    for key, value in pairs(options or {}) do all[key] = value end
    object = dev(all)
    return object
  end

  --- Works without a call of the library's until `done` says so. Returns the seconds.
  local function busy_until(done)
    local began = os.clock()
    while not done() and os.clock() - began < 10 do end
    assert.is_true(done())
    return os.clock() - began
  end

  --- A program whose loop polls all the time.
  local function poll_until(done)
    return busy_until(function()
      object.poll()
      return done()
    end)
  end

  it("reloads what is saved while the program does nothing but work, and prints it", function()
    local M = app:module("m", V1)
    start()
    assert.same({ "hotreload: watches what the program loads, polled by a debug hook" }, lines)
    app:write("m", V2)
    local seconds = busy_until(function() return M.f() == 2 end)
    assert.is_true(seconds < 1, seconds)
    busy_until(function() return #lines > 1 end)
    assert.equal(2, #lines)
    assert.matches("m", lines[2])
    assert.is_nil(lines[2]:find("\27", 1, true))
  end)

  it("watches calls of the chunk as a reload outside of a hook does", function()
    app:module("bus", [[
      local M = { list = {} } function M.on(f) M.list[#M.list + 1] = f end return M
    ]])
    local text = [[
      local bus, M = require "bus", {} function M.f() return %d end bus.on(M.f) return M
    ]]
    local M = app:module("m", text:format(1))
    start()
    app:write("m", text:format(2))
    busy_until(function() return M.f() == 2 end)
    assert.equal(1, #require "bus".list)
    assert.equal(2, require "bus".list[1]())
  end)

  it("prints a syntax error once, and takes the next save", function()
    local M = app:module("m", V1)
    start()
    app:write("m", "return {")
    busy_until(function() return #lines > 1 end)
    assert.matches("^hotreload: m: .*m.lua:1:", lines[2])
    app:write("m", V2)
    busy_until(function() return M.f() == 2 end)
    assert.equal(3, #lines)
  end)

  it("sees two saves within a second, of the same size", function()
    local M = app:module("m", V1)
    start()
    app:write("m", V2)
    local seconds = busy_until(function() return M.f() == 2 end)
    app:write("m", V3)
    seconds = seconds + busy_until(function() return M.f() == 3 end)
    assert.is_true(seconds < 1, seconds)
  end)

  it("waits for a file that is half written", function()
    local M = app:module("m", V1)
    start { settle = 0.2 }
    local began = hotreload.clock()
    for length = 10, #V2 do
      app:write("m", V2:sub(1, length))
      busy_until(function() return hotreload.clock() - began >= (length - 9) * 0.01 end)
    end
    busy_until(function() return M.f() == 2 end)
    busy_until(function() return #lines > 1 end)
    assert.equal(2, #lines)
    assert.is_nil(lines[2]:find("m.lua:1:", 1, true))
  end)

  it("stop ends it, and nothing is left", function()
    local M = app:module("m", V1)
    start()
    local weak = setmetatable({ object, (debug.gethook()) }, { __mode = "v" })
    assert.is_function(weak[2])
    object.stop()
    assert.is_nil(debug.gethook())
    app:write("m", V2)
    assert.same({ 0, 0 }, { object.poll() })
    local began = os.clock()
    while os.clock() - began < 0.3 do end
    assert.equal(1, M.f())
    assert.equal(1, #lines)
    object = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("leaves a hook that the program has, says so, and waits for polls", function()
    local M = app:module("m", V1)
    local function own() end
    debug.sethook(own, "", 100000)
    finally(function() debug.sethook() end)
    start()
    assert.equal(own, (debug.gethook()))
    assert.matches("polled when it calls 'poll': it has a debug hook of its own$", lines[1])
    app:write("m", V2)
    poll_until(function() return M.f() == 2 end)
    object.stop()
    assert.equal(own, (debug.gethook()))
  end)

  it("does not take away a hook that the program has set since", function()
    start()
    local function own() end
    debug.sethook(own, "", 100000)
    finally(function() debug.sethook() end)
    object.stop()
    assert.equal(own, (debug.gethook()))
  end)

  it("polls by the host's timer where one is given, until it is stopped", function()
    local M = app:module("m", V1)
    local pending, waits
    start { timer = function(seconds, f) pending, waits = f, seconds end }
    assert.is_nil(debug.gethook())
    assert.matches("polled by the timer$", lines[1])
    assert.is_true(waits > 0 and waits < 0.1)
    app:write("m", V2)
    busy_until(function()
      local f = pending
      pending = nil
      f()
      return M.f() == 2
    end)
    object.stop()
    local f = pending
    pending = nil
    f()
    assert.is_nil(pending)
  end)

  it("survives what a timer, a printer and a hook of a module raise", function()
    local M = app:module("m", V1)
    start { timer = function() error "no timer" end }
    assert.matches("^hotreload: the timer raised: .*no timer", lines[1])
    object.stop()
    lines = {}
    start()
    app:write("m", [[
      local M = {} function M.f() return 2 end function M.__hotfix() error "hook broke" end return M
    ]])
    busy_until(function() return #lines > 1 end)
    assert.matches("hook broke", lines[2])
    assert.equal(1, M.f())
    app:write("m", V3)
    busy_until(function() return M.f() == 3 end)
  end)

  it("goes on with a hook of a module that yields", function()
    local M = app:module("m", V1)
    start()
    app:write("m", [[
      local M = {} function M.f() return 2 end
      function M.__hotfix() coroutine.yield() M.ended = true end
      return M
    ]])
    busy_until(function() return M.ended and #lines > 1 end)
    app:write("m", V3)
    busy_until(function() return M.f() == 3 end)
  end)

  it("leaves a reload of the program's own alone", function()
    local M = app:module("m", V1)
    app:module("m2", V1)
    start()
    app:write("m2", V2)
    app:write("m", "local t = os.clock() while os.clock() - t < 0.3 do end " .. V3)
    local ok, report = gg.reload "m"
    assert.is_true(ok, report)
    busy_until(function() return package.loaded.m2.f() == 2 end)
    assert.equal(3, M.f())
    for _, line in ipairs(lines) do assert.is_nil(line:find("is running", 1, true), line) end
  end)

  it("prints to standard output, in colour on a terminal alone", function()
    app:write("m", V1)
    local script = [[
      local m = require "m"
      local dev = require "hotreload.dev" { filter = "^m$" }
      local function write(text) io.open("m.lua", "w"):write(text):close() end
      local began = os.clock()
      write "return {"
      while os.clock() - began < 0.5 do end
      write "local M = {} function M.f() return 2 end return M"
      while m.f() == 1 and os.clock() - began < 10 do end
      dev.stop()
      print("ends with", m.f())
    ]]
    local out, code, err = app:subprocess(script)
    assert.equal(0, code, err)
    assert.matches("polled by a debug hook\nhotreload: m: .*m.lua:1:.*\nends with\t2\n$", out)
    assert.is_nil(out:find("\27", 1, true))
    app:write("m", V1)
    app:write_file("script.lua", ("package.path = %q package.cpath = %q\n"):format(
      program.root .. "/lua/?.lua;./?.lua", program.root .. "/build/?.so") .. script)
    local pipe = io.popen(("cd '%s' && script -qec 'lua5.4 script.lua' /dev/null"):format(app.dir))
    out = pipe:read "a"
    pipe:close()
    assert.matches("\27%[31mhotreload: m: ", out)
    assert.matches("\27%[32m", out)
  end)

  it("raises for wrong options alone, and blames the caller", function()
    for option, wrong in pairs {
      color = 1, print = "x", timer = 1, interval = -1, filter = "[", nonsense = 1,
      on_reload = print,
    } do
      local ok, message = pcall(dev, { [option] = wrong })
      assert.is_false(ok)
      assert.matches("^bad argument #1 to 'dev' %(.*" .. option, message)
    end
    assert.is_nil(debug.gethook())
    local chunk = assert(load("\n\nlocal dev = ... local x = dev(1) return x", "=caller"))
    local message = select(2, pcall(chunk, dev))
    assert.matches("^caller:3: bad argument #1 to 'dev' %(table expected", message)
  end)
end)
