-- hotreload.watch: reloads what changes, polled by the program (R12.5). Time is a number that the
-- specs set.

local program = require "spec.support.program"
local hotreload = require "hotreload"
local watch = require "hotreload.watch"

local V1 = "local M = {} function M.f() return 1 end return M"
local V2 = "local M = {} function M.f() return 2 end return M"
local V3 = "local M = {} function M.f() return 3 end return M"

describe("hotreload.watch", function()
  local app, now, log
  before_each(function()
    app = program.new()
    now, log = 100, {}
  end)
  after_each(function() app:unload() end)

  --- A watcher of the modules whose names begin with "m"; what it tells goes to the log.
  local function new(options)
    local all = {
      filter = "^m%d?$", interval = 1, settle = 0, clock = function() return now end,
      on_reload = function(name, report)
        assert(report.module == name)
        log[#log + 1] = "reloaded " .. name
      end,
      on_error = function(name, message) log[#log + 1] = "error " .. name .. ": " .. message end,
    }
    for key, value in pairs(options or {}) do all[key] = value end
    return watch.new(all)
  end

  local function poll(watcher, seconds)
    now = now + (seconds or 1)
    return watcher:poll()
  end

  it("reloads a changed file, once, and says so", function()
    local M = app:module("m", V1)
    local watcher = new()
    assert.same({ 0, 0 }, { poll(watcher) })
    app:write("m", V2)
    assert.same({ 1, 0 }, { poll(watcher) })
    assert.equal(2, M.f())
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.same({ "reloaded m" }, log)
  end)

  it("reloads a file that had changed before it began to watch", function()
    local M = app:module("m", V1)
    app:write("m", V2)
    poll(new())
    assert.equal(2, M.f())
  end)

  it("sees a change of data alone", function()
    local M = app:module("m", "local M = { a = 1 } function M.f() end return M")
    local watcher = new()
    app:write("m", "local M = { a = 1, b = 2 } function M.f() end return M")
    poll(watcher)
    assert.equal(2, M.b)
  end)

  it("does nothing before its interval has passed", function()
    local M = app:module("m", V1)
    local watcher = new { interval = 5 }
    poll(watcher)
    app:write("m", V2)
    assert.same({ 0, 0 }, { poll(watcher, 4.9) })
    assert.equal(1, M.f())
    poll(watcher, 0.1)
    assert.equal(2, M.f())
  end)

  it("goes on when the clock is put back", function()
    local M = app:module("m", V1)
    local watcher = new { interval = 5 }
    poll(watcher)
    app:write("m", V2)
    poll(watcher, -50)
    assert.equal(2, M.f())
  end)

  it("looks at once when told to", function()
    local M = app:module("m", V1)
    local watcher = new { interval = 1000 }
    poll(watcher)
    app:write("m", V2)
    assert.same({ 1, 0 }, { watcher:check() })
    assert.equal(2, M.f())
  end)

  it("looks at no more modules in a poll than it is told (most), \z
    and reloads no more of them", function()
    for i = 1, 5 do app:module("m" .. i, V1) end
    local watcher = new { most = 2 }
    for _ = 1, 3 do poll(watcher, 0) end
    for i = 1, 5, 2 do app:write("m" .. i, V2) end
    local counts = {}
    for i, seconds in ipairs { 0.5, 0.5, 0, 0, 0, 0 } do counts[i] = (poll(watcher, seconds)) end
    assert.same({ 0, 0, 0, 2, 1, 0 }, counts)
    assert.same({ "reloaded m1", "reloaded m3", "reloaded m5" }, log)
  end)

  it("leaves a file that has changed again to the next look, when its turn comes \z
    in a later poll", function()
    local modules = {}
    for i = 1, 4 do modules[i] = app:module("m" .. i, V1) end
    local watcher = new { most = 4 }
    poll(watcher)
    watcher.most = 2
    for i = 1, 4 do app:write("m" .. i, V2) end
    assert.equal(0, (poll(watcher, 1))) -- it has looked at two
    assert.equal(2, (poll(watcher, 0)))
    app:write("m3", V1) -- as it runs
    app:write("m4", "return {")
    assert.equal(0, (poll(watcher, 0)))
    assert.same({ "reloaded m1", "reloaded m2" }, log)
    assert.same({ 1, 1 }, { modules[3].f(), modules[4].f() })
    poll(watcher, 1)
    poll(watcher, 0)
    assert.equal(3, #log)
    assert.match("^error m4: ", log[3])
  end)

  it("tries what failed again when one of a later poll was what it needed", function()
    app:module("m1", "return { f = function() return 1 end }")
    app:module("m2", V1)
    local watcher = new { most = 2 }
    poll(watcher)
    watcher.most = 1
    app:write("m1", "assert(package.loaded.m2.f() == 2) return { f = function() return 2 end }")
    app:write("m2", V2)
    local counts = {}
    for i = 1, 6 do counts[i] = (poll(watcher, 0.9)) end
    assert.same({ "reloaded m2", "reloaded m1" }, log)
    assert.equal(1, math.max(table.unpack(counts)))
  end)

  it("check finishes what polls have left, and looks", function()
    for i = 1, 3 do app:module("m" .. i, V1) end
    local watcher = new { most = 3 }
    poll(watcher)
    watcher.most = 1
    for i = 1, 3 do app:write("m" .. i, V2) end
    local count = 0
    repeat count = count + poll(watcher) until count == 1
    assert.equal(2, (watcher:check()))
    assert.same({ "reloaded m1", "reloaded m2", "reloaded m3" }, log)
  end)

  it("waits until a file has been as it is for a while (settle)", function()
    local M = app:module("m", V1)
    local watcher = new { settle = 0.5 }
    poll(watcher)
    app:write("m", V2:sub(1, 30))
    poll(watcher)
    app:write("m", V2)
    poll(watcher, 0.5) -- sooner than the interval: something is on its way
    assert.same({}, log)
    assert.equal(1, M.f())
    poll(watcher, 0.4)
    assert.equal(1, M.f())
    poll(watcher, 0.2)
    assert.equal(2, M.f())
    assert.same({ "reloaded m" }, log)
  end)

  it("takes a file that is gone or broken for a moment for one that is being written", function()
    local M = app:module("m", V1)
    local watcher = new { settle = 0.5 }
    poll(watcher)
    app:remove "m"
    poll(watcher)
    app:write("m", "return {")
    poll(watcher, 0.5)
    app:write("m", V1)
    for _ = 1, 5 do poll(watcher, 0.5) end
    assert.same({}, log)
    assert.equal(1, M.f())
  end)

  it("takes a file that is replaced by rename", function()
    local M = app:module("m", V1)
    local watcher = new()
    app:write_file("m.lua.tmp", V2)
    assert(os.rename(app.dir .. "/m.lua.tmp", app:path "m"))
    poll(watcher)
    assert.equal(2, M.f())
  end)

  it("reports a broken file once, also when the program polls on, \z
    and takes it when it is mended", function()
    local M = app:module("m", V1)
    local watcher = new()
    app:write("m", "return {")
    assert.same({ 0, 1 }, { poll(watcher) })
    assert.same({ 0, 1 }, { poll(watcher) })
    assert.equal(1, #log)
    assert.matches("^error m: .*m.lua:1:", log[1])
    assert.matches("m.lua:1:", watcher:failing().m)
    app:write("m", "return [")
    poll(watcher)
    assert.equal(2, #log)
    app:write("m", V2)
    assert.same({ 1, 0 }, { poll(watcher) })
    assert.equal(2, M.f())
    assert.same({}, watcher:failing())
  end)

  it("reports a file that stays gone once, and forgets it when it is back as it was", function()
    app:module("m", V1)
    local watcher = new()
    app:remove "m"
    poll(watcher)
    poll(watcher)
    assert.equal(1, #log)
    assert.matches("not found", log[1])
    app:write("m", V1)
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.same({}, watcher:failing())
    app:remove "m"
    poll(watcher)
    assert.equal(2, #log)
  end)

  it("does not run a file again and again that is refused", function()
    local M = app:module("m", V1)
    local watcher = new()
    _G.runs = 0
    app:write("m", "runs = runs + 1 error 'no'")
    poll(watcher)
    poll(watcher)
    poll(watcher)
    assert.equal(1, #log)
    assert.matches("error m: .*no", log[1])
    assert.equal(0, _G.runs) -- put back
    app:write("m", V2)
    poll(watcher)
    assert.equal(2, M.f())
  end)

  it("reports conflicts, and takes options for the reload", function()
    app:module("m", V1)
    app:module("m2", V1)
    local watcher = new()
    app:write("m", "return { f = 7 }")
    poll(watcher)
    assert.matches("error m: .*conflict", log[1])
    assert.same({ 1, 0 }, { poll(new { options = { on_conflict = "replace" } }) })
    assert.equal(7, package.loaded.m.f)
  end)

  it("reloads files that need one another, those that are needed first", function()
    app:module("m3", "return { limit = function() return 10 end }")
    app:module("m2",
      "local limit = require('m3').limit() return { get = function() return limit end }")
    local M = app:module("m1",
      "local got = require 'm2'.get() return { f = function() return 'old', got end }")
    local watcher = new()
    app:write("m3", "return { limit = function() return 20 end, more = function() return 21 end }")
    app:write("m2", [[
      local more = require('m3').more()
      return { get = function() return more end, new = function() end }
    ]])
    app:write("m1",
      "local new = require 'm2'.new new() return { f = function() return 'new', new end }")
    assert.same({ 3, 0 }, { poll(watcher) })
    assert.same({ "reloaded m3", "reloaded m2", "reloaded m1" }, log)
    assert.equal("new", (M.f()))
  end)

  it("tries again what failed when another module has been reloaded", function()
    app:module("m2", V1)
    local M = app:module("m1", V1)
    local watcher = new()
    local needs = "local r = require local M, other = {}, r(%q) other.added() \z
      function M.f() return 9 end return M"
    app:write("m1", needs:format "m2") -- its need does not show
    poll(watcher)
    assert.equal(1, #log)
    assert.equal(1, M.f())
    app:write("m2", "local M = {} function M.f() return 2 end function M.added() end return M")
    assert.same({ 2, 0 }, { poll(watcher) })
    assert.equal(9, M.f())
    assert.same({ "reloaded m2", "reloaded m1" }, { log[2], log[3] })
    -- In one look, in the wrong order, as well.
    app:write("m1", (needs:format "m2":gsub("added", "later"):gsub("9", "10")))
    app:write("m2", "local M = {} function M.f() return 2 end function M.later() end return M")
    assert.same({ 2, 0 }, { poll(watcher) })
    assert.equal(10, M.f())
  end)

  it("reloads all together, or none, when told so", function()
    local one, two = app:module("m1", V1), app:module("m2", V1)
    local watcher = new { together = true }
    app:write("m1", V2)
    app:write("m2", "error 'no'")
    assert.same({ 0, 2 }, { poll(watcher) })
    assert.same({ 1, 1 }, { one.f(), two.f() })
    assert.equal(2, #log)
    assert.same({ 0, 2 }, { poll(watcher) })
    assert.equal(2, #log)
    app:write("m2", V3)
    assert.same({ 2, 0 }, { poll(watcher) })
    assert.same({ 2, 3 }, { one.f(), two.f() })
    assert.same({ "reloaded m1", "reloaded m2" }, { log[3], log[4] })
  end)

  it("watches modules that are loaded later, and forgets those that are unloaded", function()
    local watcher = new()
    poll(watcher)
    local M = app:module("m", V1)
    poll(watcher)
    app:write("m", V2)
    poll(watcher)
    assert.equal(2, M.f())
    app:write("m", "return {")
    poll(watcher)
    assert.is_string(watcher:failing().m)
    package.loaded.m = nil
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.same({}, watcher:failing())
  end)

  it("leaves alone what its filter does not let pass", function()
    for _, filter in ipairs {
      "^m$", { "^x$", "^m$" }, (function(name) return name == "m" end),
    } do
      app:module("m", V1)
      app:module("other", V1)
      local watcher = new { filter = filter }
      app:write("m", V2)
      app:write("other", V2)
      assert.same({ 1, 0 }, { poll(watcher) })
      assert.equal(2, package.loaded.m.f())
      assert.equal(1, package.loaded.other.f())
      app:write("m", V1)
      app:write("other", V1)
      package.loaded.m, package.loaded.other = nil, nil
    end
  end)

  it("watches what gg.reload may reload, and nothing else", function()
    app:module("m", V1)
    local watcher = new { filter = { "^m$", "^string$", "^lfs$", "^hotreload" } }
    app.hotreload.configure { deny = "^m$" }
    app:write("m", V2)
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.same({}, log)
  end)

  it("leaves undone what was undone, until the file has other content", function()
    local M = app:module("m", V1)
    local watcher = new()
    app:write("m", V2)
    poll(watcher)
    assert.is_true(app.hotreload.undo "m")
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.equal(1, M.f())
    app:write("m", V3)
    assert.same({ 1, 0 }, { poll(watcher) })
    assert.equal(3, M.f())
    app:reloaded("m", { source = V1 })
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.equal(1, M.f())
    app:write("m", V2)
    poll(watcher)
    assert.equal(2, M.f())
  end)

  it("survives callbacks that raise, and tells on_error", function()
    local M = app:module("m", V1)
    local watcher = new { on_reload = function() error "callback broke" end }
    app:write("m", V2)
    assert.same({ 1, 0 }, { poll(watcher) })
    assert.equal(2, M.f())
    assert.matches("error m: on_reload raised: .*callback broke", log[1])
    watcher =
      new { filter = function(name) if name == "m" then error "filter broke" end return false end }
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.matches("error m: filter raised: .*filter broke", log[2])
  end)

  it("writes errors to stderr where there is no on_error, or it raises", function()
    app:write("m", V1)
    local _, code, errors = app:subprocess [[
      local watch = require "hotreload.watch"
      require "m"
      local one = watch.new { filter = "^m$", settle = 0 }
      local two = watch.new { filter = "^m$", settle = 0,
        on_error = function() error "no handler" end }
      io.open("m.lua", "w"):write("return {"):close()
      one:poll()
      two:poll()
    ]]
    assert.equal(0, code, errors)
    local lines = {}
    for line in errors:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(2, #lines, errors)
    assert.matches("^hotreload: m: .*m.lua:1:", lines[1])
    assert.matches("^hotreload: m: on_error raised: .*no handler", lines[2])
  end)

  it("does nothing while a hook of its reload has not ended, and goes on after that", function()
    local M = app:module("m", V1)
    app:module("m2", V1)
    local watcher = new()
    app:write("m",
      "local M = {} function M.f() return 2 end \z
        function M.__hotfix() coroutine.yield() end return M")
    now = now + 1
    local poller = coroutine.create(function() return watcher:poll() end)
    assert.is_true(coroutine.resume(poller))
    app:write("m2", V2)
    assert.same({ 0, 0 }, { poll(watcher) })
    assert.same({ true, 1, 0 }, { coroutine.resume(poller) })
    assert.equal(2, M.f())
    assert.same({ 1, 0 }, { poll(watcher) })
    -- A coroutine that is closed in the hook does not hold the watcher up.
    app:write("m",
      "local M = {} function M.f() return 4 end \z
        function M.__hotfix() coroutine.yield() end return M")
    now = now + 1
    poller = coroutine.create(function() return watcher:poll() end)
    assert.is_true(coroutine.resume(poller))
    assert.is_true(coroutine.close(poller))
    app:write("m", V3)
    assert.same({ 1, 0 }, { poll(watcher) })
    assert.equal(3, M.f())
  end)

  it("may be polled from a hook and from a module's chunk", function()
    app:module("m", V1)
    local watcher = new()
    _G.poll_again = function() return watcher:check() end
    app:write("m", [[
      local M = {}
      poll_again()
      function M.__hotfix() poll_again() end
      function M.f() return 5 end
      return M
    ]])
    assert.same({ 1, 0 }, { poll(watcher) })
    assert.equal(5, package.loaded.m.f())
  end)

  it("raises for wrong options alone, and blames the caller", function()
    for _, wrong in ipairs {
      true, "m", { intervall = 1 }, { interval = "1" }, { interval = -1 }, { interval = 0 / 0 },
      { settle = math.huge },
      { filter = 1 }, { filter = { 1 } }, { filter = { key = "m" } }, { filter = "[" },
      { together = 1 },
      { options = true }, { options = { nonsense = 1 } }, { options = { source = "" } },
      { options = { dry_run = true } },
      { most = 0 }, { most = 1.5 }, { on_reload = 1 }, { on_error = "x" }, { clock = 1 },
    } do
      local ok, message = pcall(watch.new, wrong)
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'new'", message)
    end
    local chunk = assert(load("\n\nlocal x = ... local y = x(1) return y", "=caller"))
    assert.matches("^caller:3: bad argument", select(2, pcall(chunk, watch.new)))
    watch.new()
    watch.new {}
  end)

  it("polls by the system's clock when it gets none", function()
    local M = app:module("m", V1)
    local watcher = watch.new { filter = "^m$", settle = 0, interval = 0 }
    app:write("m", V2)
    assert.same({ 1, 0 }, { watcher:poll() })
    assert.equal(2, M.f())
  end)

  it("takes a saved file within a fraction of a second, by default", function()
    local M = app:module("m", V1)
    local watcher = watch.new { filter = "^m$" }
    local clock = hotreload.clock
    watcher:poll()
    for version, text in ipairs { V1, V2, V3 } do
      app:write("m", text) -- the same size, and the same second
      local saved = clock()
      while M.f() ~= version and clock() - saved < 5 do watcher:poll() end
      assert.is_true(clock() - saved < 0.5, clock() - saved)
    end
  end)

  it("finds a file that has come to stand before the one that runs", function()
    app:write("m0", V2)
    assert(os.execute(("mkdir '%s/first'"):format(app.dir)))
    package.path = app.dir .. "/first/?.lua;" .. package.path
    local M = app:module("m", V1)
    local watcher = new()
    poll(watcher)
    os.execute "sleep 2.1"
    poll(watcher)
    poll(watcher)
    assert.same({}, log)
    assert(os.rename(app.dir .. "/m0.lua", app.dir .. "/first/m.lua"))
    for _ = 1, 20 do poll(watcher) end -- its turn comes
    assert.equal(2, M.f())
  end)

  it("is told which files may have changed, without a look at each (touched)", function()
    local names = {}
    local function touched()
      local among = {}
      for _, name in ipairs(hotreload.touched()) do among[name] = names[name] end
      return among
    end
    for _, name in ipairs { "m1", "m2", "m3" } do
      app:module(name, V1)
      names[name] = true
    end
    assert.same(names, touched())
    hotreload.changed { quick = true }
    assert.same(names, touched()) -- their times are too young to be trusted
    os.execute "sleep 2.1"
    hotreload.changed { quick = true }
    assert.same({}, touched())
    app:write("m1", V1)
    assert.same({ m1 = true }, touched())
    app:remove "m2"
    assert.same({ m1 = true, m2 = true }, touched())
    app:reloaded("m3", { source = V2 })
    assert.same(names, touched())
    app:write("m2", V1)
    app:reloaded "m3"
    os.execute "sleep 2.1"
    hotreload.changed { quick = true }
    assert.same({}, touched())
    package.loaded.m3 = nil
    assert.same({}, touched())
    require "m3"
    assert.same({ m3 = true }, touched())
    hotreload.changed { quick = true }
    assert.same({}, touched())
    package.path = package.path .. ";no/such/?.lua"
    assert.same(names, touched())
  end)

  it("is told so in slices, and goes on where a slice has ended", function()
    assert.same({ {} }, { hotreload.touched("no such module", 1) })
    local loaded, count = package.loaded, 100000
    for i = 1, count do loaded["touched" .. i] = {} end
    finally(function() for i = 1, count do loaded["touched" .. i] = nil end end)
    local seen, slices, names, last = {}, 0
    repeat
      names, last = hotreload.touched(last, 10)
      slices = slices + 1
      for _, name in ipairs(names) do
        assert.is_nil(seen[name])
        seen[name] = true
      end
    until not last
    assert.is_true(slices > 1, slices)
    for _, name in ipairs(hotreload.touched()) do seen[name] = nil end
    assert.same({}, seen)
    loaded.touched1 = nil
    assert.same({ {} }, { hotreload.touched("touched1", 10) })
    assert.has_error(function() hotreload.touched(1) end,
      "bad argument #1 to 'touched' (string expected, got number)")
    assert.has_error(function() hotreload.touched(nil, 0) end,
      "bad argument #2 to 'touched' (a number of modules expected)")
  end)

  it("compares many modules in several polls, and looks when it has compared all", function()
    local M = app:module("m", V1)
    local watcher, touched, asked = new(), hotreload.touched, {}
    finally(function() hotreload.touched = touched end)
    function hotreload.touched(after, most)
      asked[#asked + 1] = { after or false, most }
      if not after then return {}, "a" end
      if after == "a" then return { "m" }, "b" end
      return { "m" }
    end
    app:write("m", V2)
    assert.same({ 0, 0, 1 }, { (poll(watcher)), (poll(watcher)), (poll(watcher)) })
    assert.same({ { false, 250 }, { "a", 250 }, { "b", 250 } }, asked)
    assert.equal(2, M.f())
  end)

  describe("order", function()
    it("puts modules behind those that they require", function()
      app:write("m1", "local a = require 'm2' local b = require(\"m3\")")
      app:write("m2", "require'm3' require 'not among them'")
      app:write("m3", "")
      assert.same({ "m3", "m2", "m1" }, watch.order { "m1", "m2", "m3" })
      assert.same({ "m3", "m1" }, watch.order { "m1", "m3" })
      assert.same({}, watch.order {})
    end)

    it("ends with cycles, modules without a file, and long chains", function()
      app:write("m1", "require 'm2'")
      app:write("m2", "require 'm1' require 'm2'")
      assert.same({ "m2", "m1", "no.such.file" }, watch.order { "no.such.file", "m2", "m1" })
      local names = {}
      for i = 1, 500 do
        names[i] = ("chain%04d"):format(i)
        app:write(names[i], ("require 'chain%04d'"):format(i + 1))
      end
      local ordered = watch.order(names)
      assert.equal(500, #ordered)
      assert.equal("chain0500", ordered[1])
      assert.equal("chain0001", ordered[500])
    end)

    it("is by what each file requires", function()
      app:write("m1", "require 'm3' require(\"m2\") require 'm3' local f = require")
      assert.same({ "m2", "m3" }, hotreload.requires "m1")
      package.preload.m2 = function() return {} end
      finally(function() package.preload.m2 = nil end)
      assert.same({}, hotreload.requires "m2")
      local names, message = hotreload.requires "no.such.file"
      assert.is_nil(names)
      assert.matches("^module 'no%.such%.file' not found", message)
      names, message = hotreload.requires "string"
      assert.is_nil(names)
      assert.matches("standard library", message)
      hotreload.configure { deny = "^m1$" }
      finally(function()
        hotreload.configure { deny = {} }
        package.preload.m2 = nil
      end)
      names, message = hotreload.requires "m1"
      assert.is_nil(names)
      assert.matches("deny pattern", message)
      assert.error_matches(function() hotreload.requires(1) end, "bad argument #1 to 'requires'")
    end)

    it("raises for what is no list", function()
      assert.error_matches(function() watch.order() end, "bad argument #1 to 'order'")
    end)
  end)
end)
