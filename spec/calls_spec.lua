-- Calls that a file repeats, where names, data or the program's own changes make them hard to know
-- again (R5.4); what calls that stay do to large tables (R2.10); what undoing does with a
-- registration (R7.3).

local program = require "spec.support.program"

local app

local BUS = [[
  local bus = { list = {} }
  function bus.on(event, f, state)
    bus.list[#bus.list + 1] = { event = event, f = f, state = state }
    return f
  end
  function bus.add(m) bus.on("m", m.hit) return m end
  function bus.fire()
    local out = {}
    for i, entry in ipairs(bus.list) do out[i] = entry.f() end
    return table.concat(out, " ")
  end
  return bus]]

--- Reloads a module with a new text, which must succeed; returns the report.
local function update(name, text)
  app:write(name, text)
  local ok, report = app:reload(name, { report = "full" })
  assert.is_true(ok, report)
  return report
end

--- The text of a version: each `v1` becomes `v<n>`.
local function version(text, n) return (text:gsub("v1", "v" .. n)) end

describe("A number that a registry has counted", function()
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- Registries with an id, which equals by chance a number that a call was given.
  local REGISTRIES = {
    ["in the record of what the call was given"] = [[
      function bus.on(event, prio, f)
        bus.last = bus.last + 1
        bus.list[#bus.list + 1] = { event = event, prio = prio, f = f, id = bus.last }
      end]],
    ["in a record that has the number at its beginning"] = [[
      function bus.on(event, prio, f)
        bus.last = bus.last + 1
        bus.list[#bus.list + 1] = { prio, bus.last, event = event, f = f }
      end]],
    ["in a table that the call made of a given one"] = [[
      local function add(entry)
        bus.last = bus.last + 1
        entry.id = bus.last
        bus.list[#bus.list + 1] = entry
      end
      function bus.on(event, prio, f) add { event = event, prio = prio, f = f } end]],
  }
  local function text(...)
    local lines = { "local bus = require 'bus'" }
    for _, call in ipairs { ... } do
      lines[#lines + 1] = ("bus.on('%s', %d, function() return '%s' end)"):format(
        call[1], call[2], call[3] or call[1] .. call[2])
    end
    return table.concat(lines, "\n") .. "\nreturn {}"
  end
  local function all(bus)
    local found = {}
    for i, one in ipairs(bus.list) do
      found[i] = ("%d %s"):format(one.prio or one[1], one.f())
    end
    return table.concat(found, ", ")
  end

  for what, registry in pairs(REGISTRIES) do
    local bus
    before_each(function()
      bus = app:module("bus", "local bus = { list = {}, last = 0 }\n" .. registry .. "\nreturn bus")
    end)

    it("is no number that was given: " .. what, function()
      app:module("m", text({ "hit", 1 }, { "hit", 10 }, { "die", 5 }))
      local new = text({ "hit", 1 }, { "hit", 10 }, { "hit", 5 }, { "die", 5 })
      local report = update("m", new)
      assert.same({ {}, 3, 1 }, { report.warnings, report.calls.repeated, report.calls.new })
      report = update("m", new)
      assert.same({ {}, 4, 0 }, { report.warnings, report.calls.repeated, report.calls.new })
      assert.equal("1 hit1, 10 hit10, 5 die5, 5 hit5", all(bus))
    end)

    it("does not hide a number that the file has changed: " .. what, function()
      app:module("m", text({ "hit", 1 }, { "hit", 10 }, { "die", 5, "die" }))
      local report = update("m", text({ "hit", 1 }, { "hit", 10 }, { "die", 50, "die" }))
      assert.equal(1, #report.warnings)
      assert.matches("is registered already with 5, the file has 50; 5 stays", report.warnings[1])
      assert.equal("1 hit1, 10 hit10, 5 die", all(bus))
    end)
  end

  it("does not hide one of two that were given and were equal", function()
    local bus = app:module("bus", [[
      local bus = { list = {} }
      function bus.on(from, to, f) bus.list[#bus.list + 1] = { from = from, to = to, f = f } end
      return bus]])
    local source = "require 'bus'.on(5, %d, function() return 'a' end) return {}"
    app:module("m", source:format(7))
    local report = update("m", source:format(5))
    assert.matches("is registered already with 7, the file has 5; 7 stays", report.warnings[1])
    assert.equal(1, #bus.list)
  end)
end)

describe("A call that a file repeats", function()
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local NAMED = {
    ["a global function"] = [[
      local bus = require "bus"
      function on_hit() return "v1" end
      bus.on("hit", on_hit)]],
    ["a field of a global table that stays"] = [[
      local bus = require "bus"
      Player = Player or {}
      function Player.hit() return "v1" end
      bus.on("hit", Player.hit)]],
    ["a method of a class that a registry made"] = [[
      local bus, C = require "bus", require "class" "C"
      function C.hit() return "v1" end
      bus.on("hit", C.hit)
      return C]],
    ["a field of the object in package.loaded"] = [[
      local bus, M = require "bus", package.loaded[...]
      if type(M) ~= "table" then M = {} end
      function M.hit() return "v1" end
      bus.on("hit", M.hit)
      return M]],
    ["a function in a tail call of the chunk"] = [[
      local bus, M = require "bus", {}
      function M.hit() return "v1" end
      return bus.on("hit", M.hit) and M]],
    ["the module's object in a tail call of the chunk"] = [[
      local bus, M = require "bus", {}
      function M.hit() return "v1" end
      return bus.add(M)]],
    ["a local of a name that another function has as well"] = [[
      local bus, M = require "bus", {}
      do
        local function hit() return "v1" end
        bus.on("hit", hit)
      end
      local function hit() return "other" end
      M.hit = hit
      return M]],
  }
  for what, text in pairs(NAMED) do
    it("is known by " .. what, function()
      local bus = app:module("bus", BUS)
      app:module("class", [[
        local known = {}
        return function(name)
          known[name] = known[name] or {}
          known[name].__index = known[name]
          return known[name]
        end]])
      app:module("m", text)
      update("m", text)
      assert.equal(1, #bus.list)
      for n = 2, 4 do
        update("m", version(text, n))
        assert.equal("v" .. n, bus.fire())
      end
    end)
  end

  it("is known by a record that the callee returns, and the file keeps", function()
    local jobs = app:module("jobs", [[
      local jobs = { all = {} }
      function jobs.define(job) jobs.all[#jobs.all + 1] = job return job end
      return jobs]])
    local text = [[
      local jobs = require "jobs"
      local job = jobs.define { name = "save", run = function() return "v1" end }
      return job]]
    app:module("m", text)
    for n = 2, 4 do
      update("m", version(text, n))
      assert.equal(1, #jobs.all)
      assert.equal("v" .. n, jobs.all[1].run())
    end
  end)

  it("changes nothing in a plan where the registry reaches 100,000 rows", function()
    local bus = app:module("bus", [[
      local bus = { rows = {}, list = {} }
      for i = 1, 100000 do bus.rows[i] = { id = i, n = 0 } end
      function bus.on(f) bus.list[#bus.list + 1] = f end
      function bus.fire() return bus.list[1]() end
      return bus]])
    local text = [[
      local bus, M, n = require "bus", {}, 0
      function M.f() n = n + 1 return "v1 " .. n end
      bus.on(M.f)
      return M]]
    app:module("m", text)
    app:write("m", version(text, 2))
    assert.is_string(app.hotreload.plan "m")
    assert.equal("v1 1", bus.fire())
    assert.is_true((app:reload "m"))
    assert.equal("v2 2", bus.fire())
    assert.equal(1, #bus.list)
  end)

  it("is known where all functions stand on one line", function()
    local bus = app:module("bus", BUS)
    local text = "local bus, M = require 'bus', {} function M.f() return 'v1' end bus.on('a', M.f) "
      .. "bus.on('a', function() return 'anonymous v1' end) return M"
    app:module("m", text)
    for n = 2, 3 do
      update("m", version(text, n))
      assert.equal(version("v1 anonymous v1", n), bus.fire())
    end
  end)

  it("tells methods of one name in two classes apart", function()
    local bus = app:module("bus", BUS)
    local text = [[
      local bus, A, B = require "bus", {}, {}
      function A.hit() return "a v1" end
      function B.hit() return "b v1" end
      FIRST
      return { A, B }]]
    local a, b = "bus.on('hit', A.hit)", "bus.on('hit', B.hit)"
    app:module("m", (text:gsub("FIRST", a .. " " .. b)))
    update("m", (text:gsub("FIRST", b .. " " .. a):gsub("a v1", "a v2")))
    assert.equal("a v2 b v1", bus.fire())
  end)

  it("puts what it adds in front of a list", function()
    local bus = app:module("bus", [[
      local bus = { list = {} }
      function bus.on(f) table.insert(bus.list, 1, f) end
      function bus.fire()
        local out = {}
        for i, f in ipairs(bus.list) do out[i] = f() end
        return table.concat(out, " ")
      end
      return bus]])
    local text = [[
      local bus, M = require "bus", {}
      function M.a() return "a v1" end
      function M.b() return "b v1" end
      function M.c() return "c v1" end
      bus.on(M.a) bus.on(M.b) bus.on(M.c)
      return M]]
    app:module("m", text)
    for n = 2, 4 do
      update("m", version(text, n))
      assert.equal(version("c v1 b v1 a v1", n), bus.fire())
    end
  end)

  it("has a number that counts down: the nearest one is its own", function()
    local timers = app:module("timers", [[
      local timers = { all = {} }
      function timers.after(seconds, f)
        local timer = { left = seconds, f = f }
        timers.all[#timers.all + 1] = timer
        return timer
      end
      function timers.tick()
        for _, timer in ipairs(timers.all) do timer.left = timer.left - 1 end
      end
      function timers.run()
        local out = {}
        for i, timer in ipairs(timers.all) do out[i] = timer.f() end
        return table.concat(out, " ")
      end
      return timers]])
    local text = [[
      local timers = require "timers"
      timers.after(100, function() return "a v1" end)
      timers.after(200, function() return "b v1" end)
      return {}]]
    app:module("m", text)
    timers.tick()
    for n = 2, 4 do
      update("m", version(text, n))
      assert.equal(version("a v1 b v1", n), timers.run())
    end
  end)

  it("gives the module's object, whatever data that has by now", function()
    local bus = app:module("bus", [[
      local bus = { list = {} }
      function bus.add(m) bus.list[#bus.list + 1] = m end
      return bus]])
    local text = [[
      local bus = require "bus"
      local M = { _VERSION = "v1", state = "shut", n = 0 }
      function M.f() end
      bus.add(M)
      return M]]
    local M = app:module("m", text)
    M.n = 5
    assert.same({}, update("m", text).warnings)
    update("m", version(text, 2))
    M.state = "open"
    update("m", (version(text, 2):gsub("bus.add", "function M.g() end bus.add")))
    assert.equal(1, #bus.list)
    assert.equal(M, bus.list[1])
  end)

  it("returns a status that equals no number of its own making", function()
    local bus = app:module("bus", [[
      local bus = { list = {} }
      function bus.on(e, f)
        bus.list[#bus.list + 1] = { e = e, f = f, calls = 0 }
        return 0
      end
      function bus.fire()
        for _, entry in ipairs(bus.list) do entry.calls = entry.calls + 1 entry.f() end
      end
      return bus]])
    local text = [[
      local bus, M = require "bus", {}
      function M.f() end
      assert(bus.on("hit", M.f) == 0, "status")
      return M]]
    app:module("m", text)
    bus.fire()
    update("m", text)
    assert.equal(1, #bus.list)
    assert.equal(1, bus.list[1].calls)
  end)

  describe("and that the last load made", function()
    local TEXT = [[
      local bus = require "bus"
      bus.on("hit", function() return "v1" end, "idle")
      return {}]]

    it("gives an entry whose data have changed since the new code", function()
      local bus = app:module("bus", BUS)
      app:module("m", TEXT)
      update("m", TEXT)
      bus.list[1].state = "busy"
      update("m", version(TEXT, 2))
      assert.equal("v2", bus.fire())
      assert.equal("busy", bus.list[1].state)
    end)

    it("leaves away an entry that the program took away", function()
      local bus = app:module("bus", BUS)
      app:module("m", TEXT)
      update("m", TEXT)
      bus.list = {}
      update("m", version(TEXT, 2))
      assert.equal(0, #bus.list)
    end)

    it("registers with a registry that was loaded anew", function()
      app:module("bus", BUS)
      app:module("m", TEXT)
      update("m", TEXT)
      package.loaded.bus = nil
      local bus = app:module("bus", BUS)
      update("m", TEXT)
      assert.equal(1, #bus.list)
    end)
  end)

  it("is shown with the arguments that it was given", function()
    app:module("bus", BUS)
    local text = [[
      local bus, M = require "bus", {}
      function M.f() end
      bus.on("hit", M.f)
      return M]]
    app:module("m", text)
    assert.same({ 'bus.on("hit", m.f)' }, update("m", text).paths.calls.repeated)
  end)
end)

describe("What the chunk itself does to the program", function()
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("is put back after a dry run: the running module's functions count, \z
    and put functions of the file", function()
    local bus = app:module("bus", "return { on = function() end }")
    app:module("m", [[
      local bus, M, n = require "bus", {}, 0
      local last
      function M.note(f) n = n + 1 last = f end
      function M.state() return n, last and last() end
      bus.on = M.note
      return M]])
    app:write("m", [[
      local bus, M, n = require "bus", {}, 0
      local last
      function M.note(f) n = n + 1 last = f end
      function M.state() return n, last and last() end
      bus.on(function() return "new" end)
      return M]])
    assert.is_true((app:reload("m", { dry_run = true })))
    assert.same({ 0 }, { package.loaded.m.state() })
    assert.is_function(bus.on)
  end)

  it("is put back after a dry run: a table that it walks over", function()
    local bus = app:module("bus",
      "local bus = { h = {} } for i = 1, 300 do bus.h['e' .. i] = i end return bus")
    app:module("m", "return {}")
    app:write("m",
      "local bus = require 'bus' for k in pairs(bus.h) do bus.h[k] = nil end return {}")
    assert.is_true((app:reload("m", { dry_run = true })))
    assert.equal(300, bus.h.e300)
    assert.is_true((app:reload "m"))
    assert.is_nil(next(bus.h))
  end)

  it("stays: rows of its own large table that it migrates", function()
    local M = app:module("m", "local M = { players = {} } return M")
    for i = 1, 300 do M.players["p" .. i] = { hp = i } end
    app:write("m", [[
      local M = { players = {} }
      local old = package.loaded.m
      for id, player in pairs(old.players) do
        player.health, player.hp = player.hp, nil
        old.players[id] = player
      end
      return M]])
    assert.is_true((app:reload("m", { dry_run = true })))
    assert.same({ hp = 7 }, M.players.p7)
    assert.is_true((app:reload "m"))
    assert.same({ health = 7 }, M.players.p7)
  end)
end)

describe("A call that stays", function()
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, count in ipairs { 20, 100 } do
    it(("does all that it does to a table of %d entries"):format(count), function()
      local host = app:module("host", [[
        local host = { sessions = {}, n = 0 }
        function host.open(k) host.sessions[k] = { k = k } host.n = host.n + 1 end
        function host.close_all()
          for k in pairs(host.sessions) do host.sessions[k] = nil end
          host.n = 0
        end
        return host]])
      for i = 1, count do host.open("s" .. i) end
      app:module("m", "return { f = function() end }")
      update("m", "local host = require 'host' host.close_all() return { f = function() end }")
      assert.equal(0, host.n)
      assert.is_nil(next(host.sessions))
    end)
  end

  it("is not taken for the file's own where a function of package.preload \z
    makes the module", function()
    app:module("m", "return { limits = { max = 5, f = function() end } }")
    package.preload.dependency = function() return { max = 9, f = function() end } end
    finally(function()
      package.preload.dependency = nil
      package.loaded.dependency = nil
    end)
    update("m", "return { limits = require 'dependency' }")
    assert.equal(9, package.loaded.dependency.max)
  end)

  it("was made by string.load with an argument, and is the file's own", function()
    app:module("m", [[
      local M = { n = 0 }
      M.greet = load "local name = ... return function() return name .. ' v1' end" "hello"
      return M]])
    local M = package.loaded.m
    update("m", [[
      local M = { n = 0 }
      M.greet = load "local name = ... return function() return name .. ' v2' end" "hello"
      return M]])
    assert.equal("hello v2", M.greet())
  end)

  it("appends several to a long list", function()
    local bus = app:module("bus", [[
      local bus = { list = {}, n = 0 }
      function bus.add(...)
        for _, f in ipairs { ... } do
          bus.n = bus.n + 1
          bus.list[bus.n] = f
        end
      end
      return bus]])
    for i = 1, 40 do bus.add(function() return i end) end
    local text = [[
      local bus = require "bus"
      bus.add(function() return "a v1" end, function() return "b v1" end,
        function() return "c v1" end)
      return {}]]
    app:module("m", text)
    update("m", version(text, 2))
    assert.same({ 43, 43 }, { bus.n, #bus.list })
    assert.same({ "a v2", "b v2", "c v2" }, { bus.list[41](), bus.list[42](), bus.list[43]() })
  end)

  it("adds rows of data to a long list", function()
    local items = app:module("items", [[
      local items = { list = {} }
      function items.add(row) items.list[#items.list + 1] = row end
      return items]])
    local text = { "local items = require 'items'" }
    for i = 1, 50 do text[#text + 1] = ("items.add { id = %d, name = 'item%d' }"):format(i, i) end
    text[#text + 1] = "return {}"
    text = table.concat(text, "\n")
    app:module("m", text)
    for _ = 1, 3 do update("m", text) end
    assert.equal(50, #items.list)
  end)

  it("keeps what a registry that has the name already has, with the file's code", function()
    local metrics = app:module("metrics", [[
      local metrics = { all = {} }
      function metrics.gauge(name, f)
        if not metrics.all[name] then metrics.all[name] = f end
      end
      return metrics]])
    local text = [[
      local metrics, M = require "metrics", {}
      function M.players() return "v1" end
      metrics.gauge("players", M.players)
      return M]]
    app:module("m", text)
    update("m", version(text, 2))
    assert.equal("v2", metrics.all.players())
  end)

  it("gives data nested deeper than a stack", function()
    local bus = app:module("bus",
      "local bus = { list = {} } function bus.add(t) bus.list[#bus.list + 1] = t end return bus")
    local text = [[
      local bus, top = require "bus", { f = function() end }
      for _ = 1, 100000 do top = { top } end
      bus.add(top)
      return {}]]
    app:module("m", text)
    app:write("m", text)
    assert.is_true((app:reload "m"))
    assert.is_true(#bus.list >= 1)
  end)

  describe("and reaches much", function()
    local RECORDS = [[
      local host = { list = {} }
      for i = 1, 5000 do host.list[i] = { stats = { n = 0 } } end
      function host.bump()
        for _, record in ipairs(host.list) do record.stats.n = record.stats.n + 1 end
      end
      function host.sum()
        local sum = 0
        for _, record in ipairs(host.list) do sum = sum + record.stats.n end
        return sum
      end
      return host]]
    local LARGE = [[
      local big = { map = {}, n = 0 }
      for i = 1, 300000 do big.map["k" .. i] = i end
      function big.set(k, v) big.map[k] = v big.n = big.n + 1 end
      return big]]

    it("is put back by a dry run", function()
      local host = app:module("host", RECORDS)
      app:module("m", "return { f = function() end }")
      app:write("m", "local host = require 'host' host.bump() return { f = function() end }")
      assert.is_true((app:reload("m", { dry_run = true })))
      assert.equal(0, host.sum())
    end)

    it("is put back as far as it is known, and named, where the chunk fails", function()
      local big = app:module("big", LARGE)
      app:module("m", "return { f = function() end }")
      app:write("m", "local big = require 'big' big.set('k7', 'changed') error 'boom'")
      local ok, message = app:reload "m"
      assert.is_false(ok)
      assert.same({ 0, 7 }, { big.n, big.map.k7 })
      assert.matches("big.set(\"k7\", \"changed\"): it reaches more than 200000 table entries",
        message, 1, true)
    end)

    it("is named in the report of a dry run", function()
      app:module("big", LARGE)
      app:module("m", "return { f = function() end }")
      app:write("m",
        "local big = require 'big' big.set('k7', 'changed') return { f = function() end }")
      local _, report = app:reload("m", { dry_run = true })
      assert.matches("big.set", table.concat(report.warnings, "\n"), 1, true)
    end)
  end)

  describe("is undone whole or not at all", function()
    local COUNTED = [[
      local bus = { list = {}, n = 0 }
      function bus.on(f)
        bus.n = bus.n + 1
        bus.list[bus.n] = f
      end
      function bus.fire()
        local out = {}
        for i = 1, bus.n do out[i] = bus.list[i]() end
        return table.concat(out, " ")
      end
      return bus]]
    local FIRST = [[
      local bus, M = require "bus", {}
      function M.a() return "a" end
      bus.on(M.a)
      return M]]
    local SECOND = [[
      local bus, M = require "bus", {}
      function M.a() return "a" end
      function M.b() return "b" end
      bus.on(M.a) bus.on(M.b)
      HOOK
      return M]]

    it("by hotreload.undo", function()
      local bus = app:module("bus", COUNTED)
      app:module("m", FIRST)
      update("m", (SECOND:gsub("HOOK", "")))
      bus.on(function() return "late" end)
      assert.is_true((app.hotreload.undo "m"))
      assert.equal("a b late", bus.fire())
    end)

    it("by hotreload.undo, where nothing came after it", function()
      local bus = app:module("bus", COUNTED)
      app:module("m", FIRST)
      update("m", (SECOND:gsub("HOOK", "")))
      assert.is_true((app.hotreload.undo "m"))
      assert.equal("a", bus.fire())
      assert.equal(1, bus.n)
    end)

    it("by hotreload.undo, where several calls counted with one number", function()
      local bus = app:module("bus", COUNTED)
      app:module("m", FIRST)
      update("m", (SECOND:gsub("HOOK", "bus.on(M.b) bus.on(M.b)")))
      assert.equal(4, bus.n)
      assert.is_true((app.hotreload.undo "m"))
      assert.same({ 1, "a" }, { bus.n, bus.fire() })
      assert.equal(1, #bus.list)
    end)

    it("where a hook fails", function()
      local bus = app:module("bus", COUNTED)
      app:module("m", FIRST)
      app:write("m", (SECOND:gsub("HOOK",
        "function M.__hotfix() bus.on(function() return 'hook' end) error 'no' end")))
      assert.is_false((app:reload "m"))
      assert.equal("a b hook", bus.fire())
    end)
  end)
end)

-- Nobody holds what a function was given that called it and forgot it.
describe("A function that the chunk lends to its own, and that is edited, scope module:", function()
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local LENT = {
    ["a function in a field"] = [[
      function M.each(t, f) for _, x in ipairs(t) do f(x) end end
      M.each(names, function(x) M.got[x] = "v1" end)]],
    ["a local function"] = [[
      local function each(t, f) for _, x in ipairs(t) do f(x) end end
      each(names, function(x) M.got[x] = "v1" end)]],
    ["a method, of a class of its own, that is called later"] = [[
      local Later = {} Later.__index = Later
      function Later.new(f) return setmetatable({ f = f }, Later) end
      function Later:run() self.f "a" end
      Later.new(function(x) M.got[x] = "v1" end):run()]],
    ["a function that calls it within pcall"] = [[
      function M.try(f) return pcall(f, names[1]) end
      M.try(function(x) M.got[x] = "v1" end)]],
    ["several, one in the other"] = [[
      function M.map(t, f) local all = {} for i, x in ipairs(t) do all[i] = f(x) end return all end
      M.all = M.map(M.map(names, function(x) return x .. "" end),
        function(x) M.got[x] = "v1" return x end)]],
    ["the one that ends the chunk"] = [[
      local function module(f) f "a" return M end
      do return module(function(x) M.got[x] = "v1" end) end]],
    ["an object that is called"] = [[
      local each = setmetatable({}, { __call = function(_, f) f "a" end })
      each(function(x) M.got[x] = "v1" end)]],
    ["one that asks the library elsewhere"] = [[
      local hotreload = require "hotreload"
      function M.each(t, f) for _, x in ipairs(t) do f(x) end end
      function M.first() return not hotreload.reloading() end
      M.each(names, function(x) M.got[x] = "v1" end)
      M.is_first = M.first()]],
  }
  local FRAME = [[
    local names, M = { "a" }, { got = {}, plain = function() end }
    %s
    return M]]

  for name, text in pairs(LENT) do
    it(name, function()
      local m = app:module("m", FRAME:format(text))
      local report = update("m", version(FRAME:format(text), 2))
      assert.same({}, report.warnings)
      assert.equal("v1", m.got.a) -- data stay
      report = update("m", version(FRAME:format(text), 3))
      assert.same({}, report.warnings)
    end)
  end

  -- What may give it on, and has not done so this time, is warned of.
  for name, text in pairs {
    ["that asks whether it is reloaded"] = [[
      function M.once(f)
        f "a"
        if not require "hotreload".reloading() then require "bus".on("a", f) end
      end
      M.once(function(x) return "v1" end)]],
    ["that asks the others"] = [[
      function M.once(f) if #require "bus".list == 0 then require "bus".on("a", f) end end
      M.once(function(x) return "v1" end)]],
  } do
    it("a function " .. name, function()
      app:module("bus", BUS)
      app:module("m", FRAME:format(text))
      local report = update("m", version(FRAME:format(text), 2))
      assert.equal(1, #report.warnings)
      assert.matches("was edited, and nothing of the module leads to it", report.warnings[1])
    end)
  end
end)

-- A library of classes makes tables of other modules classes: nothing is there twice.
describe("A call that gives another module's table a metatable", function()
  local G = package.loaded._G
  local klass
  before_each(function()
    app = program.new()
    klass = {}
    app:module("std", "return { map = {}, set = {} }")
  end)
  after_each(function() app:unload() end)

  local KLASS = [[
    return function(base, c)
      local mt = {}
      if base then for k, v in pairs(base) do c[k] = v end end
      setmetatable(c, mt)
      mt.__call = function() return setmetatable({ base = base }, c) end
      CATCH
      c.__index = c
      return c
    end]]
  local CATCH = "c.catch = function(handler) mt.__index = handler end"
  local MAP = [[
    local M = require "std".map
    require "klass"(nil, M)
    NAME
    return M]]
  local SET = [[
    local S = require "std".set
    require "klass"(require "map", S)
    NAME
    return S]]

  local function with(text, what) return (text:gsub("%u%u%u%u+", what)) end

  local function load(catch, names)
    klass.text = with(KLASS, catch)
    app:module("klass", klass.text)
    local map = with(MAP, names and "function M.name() return 'map' end" or "M.kind = 'map'")
    local set = with(SET, names and "function S.name() return 'set' end" or "S.kind = 'set'")
    return app:module("map", map), app:module("set", set)
  end

  for _, catch in ipairs { CATCH, "" } do
    for _, names in ipairs { true, false } do
      local what = ("%s method of the library, %s function of the file"):format(
        catch == "" and "no" or "a", names and "a" or "no")
      it("is a repeat, with " .. what, function()
        local map, set = load(catch, names)
        local map_meta, set_meta = getmetatable(map), getmetatable(set)
        for _ = 1, 3 do
          for _, name in ipairs { "map", "set" } do
            local report = app:reloaded(name)
            assert.same({ 0, 1 }, { report.calls.new, report.calls.repeated })
            assert.matches("nothing to do", report.summary, 1, true)
            assert.same({}, report.warnings)
          end
          assert.equal(map_meta, getmetatable(map))
          assert.equal(set_meta, getmetatable(set))
          assert.equal(map, set().base)
        end
      end)

      -- The new release has the same text elsewhere.
      for _, how in ipairs { "reloaded", "loaded anew" } do
        it(("whose library is %s from another folder: each class has its own, with "):format(how)
          .. what, function()
          local map, set = load(catch, names)
          local map_meta, set_meta = getmetatable(map), getmetatable(set)
          app:write_file("release/klass.lua", klass.text)
          G.package.path = app.dir .. "/release/?.lua;" .. G.package.path
          if how == "reloaded" then
            app:reloaded "klass"
          else
            G.package.loaded.klass = nil
            app:load "klass"
          end
          for _, name in ipairs { "map", "set", "map", "set" } do
            local report = app:reloaded(name)
            assert.same({}, report.warnings)
            if how == "reloaded" then
              assert.same({ 0, 1 }, { report.calls.new, report.calls.repeated })
            end
            assert.not_equal(getmetatable(map), getmetatable(set))
            assert.equal(map, getmetatable(map()))
            assert.equal(set, getmetatable(set()))
            assert.equal(map, set().base)
            if names then
              assert.same({ "map", "set" }, { map().name(), set().name() })
            end
          end
          if how == "reloaded" then
            assert.same({ map_meta, set_meta }, { getmetatable(map), getmetatable(set) })
          end
        end)
      end
    end
  end

  it("stays where the library's code is another one by now: it has that", function()
    local map = load("", true)
    app:update("klass", (klass.text:gsub("base = base", "base = base, is_new = true")))
    app:reloaded "map"
    assert.is_true(map().is_new)
    assert.equal(map, getmetatable(map()))
  end)

  it("stays where it is given something else: it has that", function()
    app:module("limits", [[
      return function(t, limit) return setmetatable(t, { __index = { limit = limit } }) end]])
    local text = "return require 'limits'(require 'std'.map, 5)"
    local m = app:module("m", text)
    assert.same({ 0, 1 }, (function(calls) return { calls.new, calls.repeated } end)(
      app:reloaded("m").calls))
    local report = app:update("m", (text:gsub("5", "6")))
    assert.same({ 6, {} }, { m.limit, report.warnings })
  end)
end)
