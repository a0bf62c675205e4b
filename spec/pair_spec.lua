--- R3.1, R3.2: which incoming table answers to which of the running version, and which function.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G

describe("R3.1 table with table", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("keeps the running tables and takes the incoming functions at every depth", function()
    local M = app:module("M", [[
      return { f = function() return "old" end, x = 1,
        a = { f = function() return "old a" end, x = 1,
          b = { c = { f = function() return "old c" end, x = 1 } } } }
    ]])
    local a, c = M.a, M.a.b.c
    M.x, a.x, c.x = 11, 12, 13
    app:update("M", [[
      return { f = function() return "new" end, x = 2,
        a = { f = function() return "new a" end, x = 2,
          b = { c = { f = function() return "new c" end, x = 2 } } } }
    ]])
    assert.equal(M, app:load "M")
    assert.equal(a, M.a)
    assert.equal(c, M.a.b.c)
    assert.same({ "new", "new a", "new c" }, { M.f(), a.f(), c.f() })
    assert.same({ 11, 12, 13 }, { M.x, a.x, c.x })
  end)

  it("keeps data that the program has changed and whose kind differs from the file's with "
    .. "on_conflict = 'keep'", function()
    local M = app:module("M", [[
      return { to_table = 0, to_string = {}, to_number = "s", to_false = true, to_true = true,
        f = function() end }
    ]])
    local t = M.to_string
    M.to_table, t[1], M.to_true, M.to_number = 1, "the program's", false, 2.5
    app:update("M", [[
      return { to_table = {}, to_string = "s", to_number = 1, to_false = false, to_true = true,
        f = function() return "new" end }
    ]], { on_conflict = "keep" })
    assert.equal("new", M.f())
    assert.equal(1, M.to_table)
    assert.equal(t, M.to_string)
    assert.equal(2.5, M.to_number)
    assert.is_true(M.to_false)
    assert.is_false(M.to_true)
  end)

  it("pairs functions and tables under keys of every kind", function()
    local v1 = [[
      local key = require "keys"
      return {
        [1] = function() return "old" end, [-7] = function() return "old" end,
          [2.5] = function() return "old" end,
        [true] = function() return "old" end, [false] = { f = function() return "old" end, n = 1 },
        [key] = function() return "old" end, [print] = { f = function() return "old" end, n = 1 },
        ["odd key"] = function() return "old" end, [""] = function() return "old" end,
        [math.huge] = function() return "old" end,
      }
    ]]
    app:write("keys", "return {}")
    local M = app:module("M", v1)
    local in_false, in_print = M[false], M[print]
    in_false.n, in_print.n = 5, 6
    app:update("M", (v1:gsub('"old"', '"new"')))
    for _, key in ipairs { 1, -7, 2.5, true, app:load "keys", "odd key", "", math.huge } do
      assert.equal("new", M[key](), tostring(key))
    end
    assert.equal(in_false, M[false])
    assert.equal(in_print, M[print])
    assert.same({ "new", 5, "new", 6 }, { in_false.f(), in_false.n, in_print.f(), in_print.n })
  end)

  it("finds a table through a key that is itself a paired table", function()
    local M = app:module("M", [[
      local sub = {}
      return { sub = sub, by_table = { [sub] = { f = function() return "old" end, n = 1 } } }
    ]])
    local sub, row = M.sub, M.by_table[M.sub]
    row.n = 9
    app:update("M", [[
      local sub = {}
      return { sub = sub, by_table = { [sub] = { f = function() return "new" end, n = 2 } } }
    ]])
    assert.equal(row, M.by_table[sub])
    assert.same({ "new", 9 }, { row.f(), row.n })
    local key = next(M.by_table)
    assert.equal(sub, key)
    assert.is_nil(next(M.by_table, key))
  end)

  local function count(t)
    local n = 0
    for _ in pairs(t) do n = n + 1 end
    return n
  end

  for _, scope in ipairs { "module", "vm" } do
    it("finds an entry through a key that is a function without a \z
      name; scope = " .. scope, function()
      local source = [[
        local M, calls = { set = {}, weak = setmetatable({}, { __mode = "k" }) }, 0
        LISTENERS = LISTENERS or {}
        local function first() calls = calls + 1 return "first 1" end
        M.set[first], M.set[function() calls = calls + 100 return "second 1" end] = { n = 1 }, 2
        M.weak[first] = first
        LISTENERS[function() calls = calls + 10000 return "global 1" end] = true
        function M.add(f) local function made() return f() end M.set[made] = true return made end
        function M.calls() return calls end
        return M
      ]]
      local M = app:module("M", source)
      local made = M.add(function() return "made" end)
      local function foreign() return "foreign" end
      local row
      for f, value in pairs(M.set) do row = f() == "first 1" and value or row end
      row.n, M.set[foreign] = 7, true
      for round = 1, 3 do
        local plan = app.hotreload.plan("M", { scope = scope })
        assert.not_matches("added", plan)
        assert.not_matches("stay", plan)
        assert.not_matches("replaced", plan)
        app:update("M", (source:gsub(' 1"', " " .. round .. '"')), { scope = scope })
        local found = {}
        for f, value in pairs(M.set) do found[f()] = value end
        assert.same({ ["first " .. round] = row, ["second " .. round] = 2, made = true,
          foreign = true }, found)
        assert.equal(7, row.n)
        assert.same({ 4, 1, 1, true },
          { count(M.set), count(M.weak), count(G.LISTENERS), M.set[foreign] })
        if scope == "module" then assert.is_true(M.set[made]) end
        assert.equal("global " .. round, next(G.LISTENERS)())
        local before = M.calls()
        for f in pairs(M.set) do f() end
        assert.equal(before + 101, M.calls())
      end
    end)
  end

  it("adds a new function that is a key, and finds the others by their code", function()
    local M = app:module("M", [[
      local M = { set = {} }
      M.set[function() return "a" end] = 1
      return M
    ]])
    local report = app:update("M", [[
      local M = { set = {} }
      M.set[function() return "b" end] = 2
      M.set[function() return "a" end] = 3
      return M
    ]])
    local found = {}
    for f, value in pairs(M.set) do found[f()] = value end
    assert.same({ a = 1, b = 2 }, found)
    assert.same({}, report.warnings)
  end)

  it("knows functions that are keys by the names of their locals", function()
    require "hotreload".track()
    local source = [[
      local M = { set = {} }
      local function fast() return "fast old" end
      local function slow() return "slow old" end
      M.set[fast], M.set[slow] = 1, 2
      function M.of(f) return M.set[f] end
      return M
    ]]
    local M = app:module("M", source)
    for f in pairs(M.set) do if f() == "slow old" then M.set[f] = 7 end end
    local report = app:update("M", (source:gsub("old", "new"):gsub("M.set%[fast%]", [[
      local function turbo() return "turbo new" end
      M.set[turbo] = 3 %0]])))
    local found = {}
    for f, value in pairs(M.set) do found[f()] = value end
    assert.same({ ["fast new"] = 1, ["slow new"] = 7, ["turbo new"] = 3 }, found)
    assert.same({}, report.warnings)
  end)

  it("adds no function that is a key where it may be there already, and says so", function()
    local loop = "for i = 1, 3 do M.set[function() return 'old', i end] = i end"
    local two = "M.set[function() return 'a' end] = 1 M.set[function() end] = 2"
    for _, text in ipairs { loop, two } do
      local source = "local M = { set = {} } " .. text .. " return M"
      local M = app:module("M", source)
      local before = count(M.set)
      local edited = source:gsub("old", "new"):gsub("'a' end%]",
        "'b' end] = 3 M.set[function() return 'c' end]")
      local report = app:update("M", edited)
      assert.equal(before, count(M.set))
      assert.matches("M.set: function keys of the file that look like others there",
        report.warnings[1], 1, true)
      package.loaded.M = nil
    end
  end)

  it("keeps one table one where the file has it under several names", function()
    local M = app:module("M", [[
      local t = { f = function() return "old" end }
      return { first = t, second = t, third = { t } }
    ]])
    local t = M.first
    app:update("M", [[
      local t = { f = function() return "new" end }
      return { first = t, second = t, third = { t } }
    ]])
    assert.equal(t, M.first)
    assert.equal(t, M.second)
    assert.equal(t, M.third[1])
    assert.equal("new", t.f())
  end)

  it("leads every place to the file's one table where the file had a table of its own for "
    .. "each", function()
    local M = app:module("M", [[
      return { first = { f = function() return "old 1" end, n = 1 },
        second = { f = function() return "old 2" end, n = 2 } }
    ]])
    app:update("M", [[
      local t = { f = function() return "new" end, n = 0 }
      return { first = t, second = t }
    ]])
    assert.equal(M.first, M.second)
    assert.same({ "new", 0 }, { M.first.f(), M.first.n })
  end)

  it("follows tables that refer to each other", function()
    local v1 = [[
      local a, b = { name = "a" }, { name = "b" }
      a.b, b.a, a.self = b, a, a
      function a.f() return "old a" end
      function b.f() return "old b" end
      return { a = a, loop = { b } }
    ]]
    local M = app:module("M", v1)
    local a, b = M.a, M.a.b
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(a, M.a)
    assert.equal(b, a.b)
    assert.equal(a, b.a)
    assert.equal(a, a.self)
    assert.equal(b, M.loop[1])
    assert.same({ "new a", "new b" }, { a.f(), b.f() })
  end)

  it("follows a module object that refers to itself", function()
    local v1 = [[
      local M = {}
      M.self, M.box = M, { M }
      M[M] = M
      function M.f() return "old", M end
      return M
    ]]
    local M = app:module("M", v1)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(M, M.self)
    assert.equal(M, M.box[1])
    assert.equal(M, M[M])
    local text, object = M.f()
    assert.equal("new", text)
    assert.equal(M, object)
    local tables = 0
    for key in pairs(M) do
      tables = tables + (type(key) == "table" and 1 or 0)
    end
    assert.equal(1, tables)
  end)

  it("walks a chain of 100,000 tables", function()
    local v1 = [[
      local head = { f = function() return "old head" end }
      local t = head
      for i = 1, 100000 do
        t.next = { i = i }
        t = t.next
      end
      t.f = function() return "old tail" end
      return { head = head, tail = t }
    ]]
    local M = app:module("M", v1)
    local tail = M.tail
    tail.i = -1
    app:update("M", (v1:gsub("old", "new")))
    local t, steps = M.head, 0
    while t.next do
      t, steps = t.next, steps + 1
    end
    assert.equal(100000, steps)
    assert.equal(tail, t)
    assert.same({ "new head", "new tail", -1 }, { M.head.f(), t.f(), t.i })
  end)

  it("walks a chain of 100,000 metatables", function()
    local v1 = [[
      local head = {}
      local t = head
      for i = 1, 100000 do
        local meta = {}
        setmetatable(t, meta)
        t = meta
      end
      t.f = function() return "old" end
      return { head = head, tail = t }
    ]]
    local M = app:module("M", v1)
    local tail = M.tail
    app:update("M", (v1:gsub("old", "new")))
    local t, steps = M.head, 0
    while debug.getmetatable(t) do
      t, steps = debug.getmetatable(t), steps + 1
    end
    assert.equal(100000, steps)
    assert.equal(tail, t)
    assert.equal("new", t.f())
  end)

  it("walks a chain of 100,000 closures", function()
    local v1 = [[
      local f = function() return "old" end
      for i = 1, 100000 do
        local inner = f
        f = function(depth)
          if depth == 0 then return "old step" end
          return inner(depth - 1)
        end
      end
      return { f = f }
    ]]
    local M = app:module("M", v1)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new step", M.f(0))
    assert.equal("new step", M.f(99999))
    assert.equal("new", M.f(100000))
  end)

  it("lists the functions of a deep chain in a report whose size is in proportion", function()
    local v1 = [[
      local head = {}
      local t = head
      for i = 1, 5000 do
        t.next = { f = function() return "old" end }
        t = t.next
      end
      return { head = head }
    ]]
    app:module("M", v1)
    local report = app:update("M", (v1:gsub("old", "new")), { report = "full" })
    assert.equal(5000, #report.paths.functions.replaced)
    local longest = 0
    for _, path in ipairs(report.paths.functions.replaced) do
      longest = math.max(longest, #path)
    end
    assert.is_true(longest < 1024)
  end)

  it("keeps the metatable and takes its functions", function()
    local v1 = [[
      local M = { n = 1 }
      return setmetatable(M, {
        __call = function(self) return "old call", self.n end,
        __index = function(_, key) return "old " .. key end,
        limits = { f = function() return "old limit" end, max = 1 },
      })
    ]]
    local M = app:module("M", v1)
    local meta = getmetatable(M)
    local limits = meta.limits
    M.n, limits.max = 5, 99
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(meta, getmetatable(M))
    assert.equal(limits, meta.limits)
    assert.same({ "new call", 5 }, { M() })
    assert.same({ "new thing", "new limit", 99 }, { M.thing, limits.f(), limits.max })
  end)

  it("sets a metatable that only the file has, at the root and deep inside", function()
    local M = app:module("M", "return { sub = { n = 1 } }")
    local sub = M.sub
    sub.n = 2
    app:update("M", [[
      return setmetatable({ sub = setmetatable({ n = 0 }, { __len = function(t) return t.n end }) },
        { __call = function(self) return self.sub.n end })
    ]])
    assert.equal(sub, M.sub)
    assert.equal(2, #sub)
    assert.equal(2, M())
  end)

  it("keeps a metatable that only the running program has", function()
    local M = app:module("M", "return { f = function() return 1 end }")
    local meta = { __index = function() return "set at run time" end }
    setmetatable(M, meta)
    app:update("M", "return { f = function() return 2 end }")
    assert.equal(meta, getmetatable(M))
    assert.equal("set at run time", M.anything)
    assert.equal(2, M.f())
  end)

  it("pairs nothing of a failed load", function()
    local v1 = [[
      local M = { sub = { f = function() return "old" end } }
      M.sub.self = M.sub
      return setmetatable(M, { __call = function() return "old call" end })
    ]]
    local M = app:module("M", v1)
    app:write("M", (v1:gsub("old", "new"):gsub("return setmetatable%(M,", "error('no good') %0")))
    assert.matches("no good", app:refused("M", nil, M))
    assert.same({ "old", "old call" }, { M.sub.f(), M() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected", "corrected call" }, { M.sub.f(), M() })
  end)
end)

describe("R3.1 references among the module's own tables", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- Each table answers to the one of its own name, wherever references point meanwhile.
  local function assert_own(M, names, version)
    for _, name in ipairs(names) do
      assert.equal(name .. " " .. version, M[name].f())
    end
  end

  it("stay as the program turned them, and no table gets another one's functions", function()
    local v1 = [[
      local M = {}
      local function node(name)
        return { name = name, f = function() return name .. " old" end }
      end
      M.x, M.y, M.z = node "x", node "y", node "z"
      M.x.next, M.y.next, M.z.next = M.y, M.z, M.x
      return M
    ]]
    local M = app:module("M", v1)
    M.x.next, M.z.next, M.y.next = M.z, M.y, M.x
    app:update("M", (v1:gsub("old", "new")))
    assert_own(M, { "x", "y", "z" }, "new")
    assert.same({ M.z, M.y, M.x }, { M.x.next, M.z.next, M.y.next })
  end)

  it("stay at the state that the program chose, in slots and cells", function()
    local v1 = [[
      local M = {
        idle = { f = function() return "idle old" end },
          busy = { f = function() return "busy old" end },
        alarm = { f = function() return "alarm old" end },
      }
      local current = M.idle
      M.current, M.before = M.idle, { M.idle, state = M.idle }
      function M.go(state)
        current, M.current, M.before[1], M.before.state = state, state, state, state
      end
      function M.f() return current.f() end
      return M
    ]]
    local states = { "alarm", "busy", "idle" }
    local M = app:module("M", v1)
    for n, name in ipairs(states) do
      M.go(M[name])
      app:update("M", (v1:gsub("old", "new " .. n)))
      assert_own(M, states, "new " .. n)
      assert.equal(name .. " new " .. n, M.f())
      assert.same({ M[name], M[name], M[name] }, { M.current, M.before[1], M.before.state })
    end
  end)

  it("give no table another one's functions where the file made them point elsewhere", function()
    local v1 = [[
      local A, B, C = {}, {}, {}
      function A.f() return "A old" end
      function B.f() return "B old" end
      function C.f() return "C old" end
      local M = { A = A, B = B, C = C, default = FIRST, list = { FIRST, SECOND },
        by_name = { first = FIRST } }
      function M.get() return M.default.f() end
      return M
    ]]
    local M = app:module("M", (v1:gsub("FIRST", "A"):gsub("SECOND", "B")))
    local A, B, C = M.A, M.B, M.C
    app:update("M", (v1:gsub("FIRST", "C"):gsub("SECOND", "A"):gsub("old", "new")))
    assert_own(M, { "A", "B", "C" }, "new")
    assert.same({ A, B, C }, { M.A, M.B, M.C })
    assert.matches(" new$", M.get())
  end)

  it("give no table another one's functions where locals alone tell which is which", function()
    local v1 = [[
      local Idle, Alarm = {}, {}
      function Idle.f() return "idle old" end
      function Alarm.f() return "alarm old" end
      local M = { current = Idle }
      function M.idle() return Idle.f() end
      function M.alarm() return Alarm.f() end
      return M
    ]]
    local M = app:module("M", v1)
    local idle = M.current
    app:update("M", (v1:gsub("current = Idle", "current = Alarm"):gsub("old", "new")))
    assert.same({ "idle new", "alarm new" }, { M.idle(), M.alarm() })
    assert.equal("idle new", idle.f())
    assert.not_equal(idle, M.current)
    assert.equal("alarm new", M.current.f())
  end)

  it("give no class to another's local where they are known to their own methods alone", function()
    local v1 = [[
      local Idle, Alarm = { name = "idle" }, { name = "alarm" }
      function Idle.f() return Idle.name .. " old" end
      function Alarm.f() return Alarm.name .. " old" end
      return { current = Idle, states = { Idle, Alarm, idle = Idle, alarm = Alarm } }
    ]]
    local M = app:module("M", v1)
    app:update("M", (v1:gsub("current = Idle", "current = Alarm"):gsub("old", "new")))
    assert_own(M.states, { "idle", "alarm" }, "new")
  end)

  it("give no table the functions of one that the file has put into its place, \z
    and keeps beside it", function()
    local M = app:module("M", [[
      local Base = {}
      function Base.f() return "Base old" end
      local M = { default = Base }
      function M.Base() return Base end
      return M
    ]])
    local Base = M.Base()
    app:update("M", [[
      local Base = {}
      function Base.f() return "Base new" end
      local Fancy = {}
      function Fancy.f() return "Fancy new" end
      local M = { default = Fancy }
      function M.Base() return Base end
      function M.Fancy() return Fancy end
      return M
    ]])
    assert.equal(Base, M.Base())
    assert.same({ "Base new", "Fancy new" }, { M.Base().f(), M.Fancy().f() })
    assert.equal(M.Fancy(), M.default)
  end)

  it("give a class nothing of one that no local of a function has, \z
    and that is in its place now", function()
    local v1 = [[
      local Base = {}
      local M = { default = Base }
      function M.Base() return Base end
      return M
    ]]
    local M = app:module("M", v1)
    local Base = M.Base()
    app:update("M", [[
      local Base = { base = true }
      local Fancy = { fancy = true }
      function Fancy.f() return "Fancy" end
      local M = { default = Fancy }
      function M.Base() return Base end
      return M
    ]])
    assert.equal(Base, M.Base())
    assert.same({ base = true }, Base)
    assert.same({ true, "Fancy" }, { M.default.fancy, M.default.f() })
  end)

  it("say nothing of a class that a local has, though the place leads to the \z
    module itself by now", function()
    local function source(place, functions)
      return "local Base = {} function Base.f() return 'Base' end local M = {} M.sub = { at = "
        .. place .. " } "
        .. functions .. " return M"
    end
    local first = "function M.f() return Base end"
    local M = app:module("M", source("Base", first))
    local Base = M.f()
    app:update("M", source("M", first))
    app:update("M", source("M", "function M.f() return M end function M.g() return Base end"))
    assert.equal(Base, M.g())
    assert.equal("Base", Base.f())
    assert.is_nil(rawget(Base, "g"))
  end)

  it("of a local point at what the program chose, though the file begins \z
    with another table", function()
    local v1 = [[
      local current
      local Idle, Alarm = {}, {}
      function Idle.f() return "idle old" end
      function Alarm.f() return "alarm old" end
      current = Idle
      local M = {}
      function M.current() return current.f() end
      function M.set() current = Alarm end
      function M.all() return Idle.f(), Alarm.f() end
      return M
    ]]
    local M = app:module("M", v1)
    M.set()
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "alarm new", "idle new", "alarm new" }, { M.current(), M.all() })
  end)

  it("add the file's keys to the table that the same expression has made, and lead an untouched "
    .. "place to it", function()
    local v1 = [[
      local shared = { limit = 1, size = 2 }
      return { cache = CACHE, shared = shared, f = function() return "f" end }
    ]]
    local M = app:module("M", (v1:gsub("CACHE", "{}")))
    local cache, shared = M.cache, M.shared
    app:update("M", (v1:gsub("CACHE", "shared"):gsub("size = 2", "size = 2, added = 3")))
    assert.same({}, cache)
    assert.same({ limit = 1, size = 2, added = 3 }, shared)
    assert.equal(shared, M.shared)
    assert.equal(shared, M.cache)
  end)

  it("leave a table that the program has changed, and that the file has no longer, where it is, "
    .. "and say so", function()
    local v1 = [[
      local shared = { limit = 1 }
      local store = STORE
      return { cache = CACHE, shared = shared, f = function() return store end }
    ]]
    local M = app:module("M", (v1:gsub("STORE", "{}"):gsub("CACHE", "{ hits = 0 }")))
    local cache, store, shared = M.cache, M.f(), M.shared
    cache.hits, store.player = 3, { gold = 5 }
    local report = app:update("M", (v1:gsub("STORE", "shared"):gsub("CACHE", "shared")))
    assert.equal(cache, M.cache)
    assert.equal(store, M.f())
    assert.same({ { hits = 3 }, { player = { gold = 5 } }, { limit = 1 } },
      { cache, store, shared })
    local warnings = table.concat(report.warnings, "\n")
    assert.matches("M.cache: the file has another object there", warnings, 1, true)
    assert.matches("store: the file has another object there", warnings, 1, true)
    local N = app:module("N", (v1:gsub("STORE", "{}"):gsub("CACHE", "{ hits = 0 }")))
    N.cache.hits = 3
    app:update("N", (v1:gsub("STORE", "shared"):gsub("CACHE", "shared")), { data = "replace" })
    assert.equal(N.shared, N.cache)
  end)

  it("add no keys to a table that the file has at another of its places as well", function()
    local v1 = [[
      local limits, shared = { limit = 1 }, { size = 2, __index = 3 }
      return { cache = CACHE, shared = shared, f = function() return "f" end }
    ]]
    local M = app:module("M", (v1:gsub("CACHE", "shared")))
    local shared = M.shared
    app:update("M", (v1:gsub("CACHE", "limits"):gsub("size = 2", "size = 2, added = 3")))
    assert.equal(shared, M.shared)
    assert.same({ size = 2, added = 3, __index = 3 }, shared)
    assert.same({ limit = 1 }, M.cache)
  end)

  it("add nothing to a table that stays at one of its places, where the other one gets a \z
    table with more", function()
    local first =
      "local a = { x = 1 } local b = { x = 2, y = 3 } return { p = a, q = a, f = function() end }"
    local M = app:module("M", first)
    local a = M.p
    app:update("M", (first:gsub("q = a", "q = b"):gsub("x = 1", "x = 1, z = 4")))
    assert.equal(a, M.p)
    assert.same({ x = 1, z = 4 }, a)
    local N = app:module("N", first)
    app:update("N", "local b = { x = 2, y = 3 } local a = { x = 1 } return { q = b, p = a }")
    assert.same({ x = 1 }, N.p)
  end)

  it("give no class the methods of another where the file changed a parent", function()
    local v1 = [[
      local Animal, Plant = {}, {}
      Animal.__index, Plant.__index = Animal, Plant
      function Animal.f() return "Animal old" end
      function Plant.f() return "Plant old" end
      function Plant.grow() return "grow old" end
      local Thing = setmetatable({}, { __index = Animal })
      Thing.__index = Thing
      return { Animal = Animal, Plant = Plant,
        thing = function() return setmetatable({}, Thing) end }
    ]]
    local M = app:module("M", v1)
    local thing, animal = M.thing(), setmetatable({}, M.Animal)
    app:update("M", (v1:gsub("old", "new"):gsub("__index = Animal }", "__index = Plant }")))
    assert_own(M, { "Animal", "Plant" }, "new")
    assert.equal("Animal new", animal.f())
    assert.is_nil(animal.grow)
    assert.matches(" new$", thing.f())
  end)

  it("give no class the methods of a new one that the file put between it and its child", function()
    local v1 = [[
      local Animal = {}
      Animal.__index = Animal
      function Animal.f() return "Animal old" end
      local Cat = setmetatable({}, { __index = Animal })
      Cat.__index = Cat
      return { Animal = Animal, cat = function() return setmetatable({}, Cat) end }
    ]]
    local M = app:module("M", v1)
    local cat, animal = M.cat(), setmetatable({}, M.Animal)
    app:update("M", [[
      local Animal = {}
      Animal.__index = Animal
      function Animal.f() return "Animal new" end
      local Feline = setmetatable({}, { __index = Animal })
      Feline.__index = Feline
      function Feline.f() return "Feline new" end
      function Feline.purr() return "purr" end
      local Cat = setmetatable({}, { __index = Feline })
      Cat.__index = Cat
      return { Animal = Animal, Feline = Feline, cat = function() return setmetatable({}, Cat) end }
    ]])
    assert_own(M, { "Animal", "Feline" }, "new")
    assert.not_equal(M.Animal, M.Feline)
    assert.equal("Animal new", animal.f())
    assert.is_nil(animal.purr)
    assert.matches(" new$", cat.f())
  end)
end)

describe("R3.1 raw access", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- Every metamethod raises, and tells when it ran.
  local hostile = [[
    local function hostile(t)
      local meta = { f = function() return "old" end }
      for _, event in ipairs { "index", "newindex", "pairs", "eq", "lt", "le", "len", "call",
        "tostring", "concat", "unm", "close" } do
        meta["__" .. event] = function() FOUGHT = event error("__" .. event .. " ran") end
      end
      meta.__metatable, meta.__name = "hands off", "hostile"
      return setmetatable(t, meta)
    end
  ]]

  it("runs no metamethod of a table that fights back", function()
    local v1 = hostile .. [[
      local M = hostile { f = function() return "old" end, n = 1,
        sub = hostile { f = function() return "old" end } }
      return M
    ]]
    local M = app:module("M", v1)
    local sub = rawget(M, "sub")
    rawset(M, "n", 7)
    app:update("M",
      (v1:gsub('"old"', '"new"'):gsub("n = 1", "n = 2, added = hostile { f = print }")))
    assert.is_nil(rawget(G, "FOUGHT"))
    assert.is_true(rawequal(sub, rawget(M, "sub")))
    assert.equal("new", rawget(M, "f")())
    assert.equal("new", rawget(sub, "f")())
    assert.equal("new", debug.getmetatable(M).f())
    assert.equal("new", debug.getmetatable(sub).f())
    assert.equal(7, rawget(M, "n"))
    assert.equal(print, rawget(rawget(M, "added"), "f"))
  end)

  it("refuses a conflict inside a table that fights back without running \z
    its metamethods", function()
    local v1 = hostile
      .. [[ return hostile { f = function() return "old" end, g = function() end } ]]
    local M = app:module("M", v1)
    app:write("M", (v1:gsub("g = function%(%) end", "g = {}")))
    assert.matches("M.g", app:refused("M", nil, M), 1, true)
    assert.is_nil(rawget(G, "FOUGHT"))
    app:update("M", (v1:gsub('"old"', '"corrected"')))
    assert.equal("corrected", rawget(M, "f")())
  end)

  it("keeps hostile tables that the program put where the file has tables", function()
    app.hotreload.track(false) -- with a record, `f` is a key that the program removed
    local M = app:module("M", "return { box = { f = function() return 1 end }, list = {} }")
    local fought
    local function fight() fought = true error "fought" end
    local meta = { __index = fight, __newindex = fight, __pairs = fight, __eq = fight,
      __len = fight, __metatable = 1 }
    local box, list = setmetatable({ n = 1 }, meta), setmetatable({ 1 }, meta)
    M.box, M.list = box, list
    app:update("M", "return { box = { f = function() return 2 end, n = 0 }, list = {} }")
    assert.is_nil(fought)
    assert.is_true(rawequal(box, M.box))
    assert.is_true(rawequal(list, M.list))
    assert.equal(2, rawget(box, "f")())
    assert.equal(1, rawget(box, "n"))
    assert.equal(1, rawget(list, 1))
  end)

  it("reloads what stands behind a read-only module object", function()
    local v1 = [[
      local impl = { n = 1 }
      function impl.bump() impl.n = impl.n + 1 return impl.n end
      return setmetatable({},
        { __index = impl, __newindex = function(_, k) error("old: read-only: " .. k) end,
        __metatable = false })
    ]]
    local M = app:module("M", v1)
    assert.equal(2, M.bump())
    app:update("M",
      (v1:gsub("old", "new"):gsub("impl%.n %+ 1", "impl.n + 10"):gsub("return setmeta", [[
      function impl.added() return impl.n end
      %0]])))
    assert.equal(12, M.bump())
    assert.equal(12, M.added())
    assert.is_nil(next(M))
    assert.has_error(function() M.x = 1 end, "new: read-only: x")
  end)

  it("follows references to the globals and to package.loaded no further", function()
    app:module("bystander", "return { f = function() return 'bystander' end, n = 1 }")
    local v1 = [[
      local M = { globals = _G, loaded = package.loaded, env = _ENV, lib = string }
      package.loaded[...] = M
      M.me = package.loaded[...]
      function M.f() return "old" end
      return M
    ]]
    local M = app:module("M", v1)
    local before = program.fingerprint(app:load "bystander", string, table)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(M, package.loaded.M)
    assert.equal(M, M.me)
    assert.equal(G, M.globals)
    assert.equal(package.loaded, M.loaded)
    assert.equal(G, M.env)
    assert.equal("new", M.f())
    local changed = before:changes()
    assert.matches("%.f: function .- became another function", changed)
    assert.equal(0, select(2, changed:gsub("\n", "")))
  end)
end)

describe("R3.2 function with function", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("puts the file's function into the slot; the old one works on the same data", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 1 return count end
      function M.get() return count end
      return M
    ]])
    local old = M.inc
    M.inc()
    app:update("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 100 return count end
      function M.get() return count end
      return M
    ]])
    assert.not_equal(old, M.inc)
    assert.equal(101, M.inc())
    assert.equal(102, old())
    assert.equal(102, M.get())
  end)

  it("keeps one function one where the file has it under several names", function()
    local v1 = [[
      local M = {}
      function M.f() return "old" end
      M.alias, M.list = M.f, { M.f }
      return M
    ]]
    local M = app:module("M", v1)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new", M.f())
    assert.equal(M.f, M.alias)
    assert.equal(M.f, M.list[1])
  end)

  it("gives each slot the file's function, though one function ran in all of them", function()
    local M = app:module("M", [[
      local n = 1
      local function f() return "old", n end
      return { a = f, b = f, c = f, set = function(v) n = v end }
    ]])
    M.set(5)
    app:update("M", [[
      local n = 1
      return { a = function() return "new a", n end, b = function() return "new b", n end,
        c = function() return "new c", n end, set = function(v) n = v end }
    ]])
    assert.same({ "new a", 5 }, { M.a() })
    assert.same({ "new b", 5 }, { M.b() })
    assert.same({ "new c", 5 }, { M.c() })
    M.set(6)
    assert.same({ 6, 6 }, { select(2, M.a()), select(2, M.c()) })
  end)

  it("replaces a function that someone patched from outside, and takes no cell \z
    from the patch", function()
    local M = app:module("M", [[
      local M, count = {}, 1
      function M.inc() count = count + 1 return count end
      function M.get() return count end
      return M
    ]])
    M.inc()
    local count = 1000
    local function patch() count = count + 1 return count end
    M.inc = patch
    M.inc()
    app:update("M", [[
      local M, count = {}, 1
      function M.inc() count = count + 10 return count end
      function M.get() return count end
      return M
    ]])
    assert.equal(12, M.inc())
    assert.equal(12, M.get())
    assert.equal(1002, patch())
    assert.not_equal(probe.cell(patch, "count"), probe.cell(M.inc, "count"))
  end)

  it("gives a patched function its own cell back when no other function kept it", function()
    local M = app:module("M", [[
      local M, count = {}, 1
      function M.inc() count = count + 1 return count end
      return M
    ]])
    local old = M.inc
    old()
    local count = 1000
    M.inc = function() count = count + 1 return count end
    app:update("M", [[
      local M, count = {}, 1
      function M.inc() count = count + 10 return count end
      return M
    ]])
    assert.is_true(M.inc() < 1000)
    assert.equal(1000, count)
  end)

  it("replaces a C function that was put in the place of one of the module's", function()
    local M = app:module("M", "local M = {} function M.f() return 'old' end return M")
    M.f = string.upper
    app:update("M", "local M = {} function M.f() return 'new' end return M")
    assert.equal("new", M.f())
    assert.equal("UP", string.upper "up")
  end)

  it("keeps every function of a module whose new text does not compile", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 1 return count end
      return M
    ]])
    M.inc()
    app:write("M", "local M = {} function M.inc( return end")
    assert.matches("M.lua:1:", app:refused("M", nil, M), 1, true)
    assert.equal(2, M.inc())
    app:update("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 5 return count end
      return M
    ]])
    assert.equal(7, M.inc())
  end)
end)
