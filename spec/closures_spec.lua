--- Closures that stand for objects, wrappers and dispatch tables (R3.1, R3.2, R4): each keeps its
--- own state.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local app
local function start() app = program.new() end
local function stop() app:unload() end

describe("Objects made of closures (R4.1)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local created = 0
    local function monster(name, hp)
      created = created + 1
      local self = { name = name }
      function self.hit(n) hp = hp - n return "old " .. name, hp end
      function self.hp() return hp end
      return self
    end
    return { monster = monster, boss = monster("boss", 100),
      minions = { a = monster("a", 10), b = monster("b", 20) },
      created = function() return created end }
  ]]

  it("get new methods, each on its own cells, where the module holds them", function()
    local M = app:module("M", v1)
    local boss, a, b = M.boss, M.minions.a, M.minions.b
    boss.hit(50) a.hit(1) b.hit(2)
    app:update("M",
      (v1:gsub("old", "new"):gsub("return self",
        "function self.heal() hp = hp + 1 return hp end %0")))
    assert.equal(boss, M.boss)
    assert.equal(a, M.minions.a)
    assert.same({ 50, 9, 18 }, { boss.hp(), a.hp(), b.hp() })
    assert.same({ "new boss", 40 }, { boss.hit(10) })
    assert.same({ "new a", 8 }, { a.hit(1) })
    assert.same({ "new b", 17 }, { b.hit(1) })
    assert.same({ 41, 9, 18 }, { boss.heal(), a.heal(), b.heal() })
    assert.same({ 41, 9, 18 }, { boss.hp(), a.hp(), b.hp() })
  end)

  it("go on with the old methods where only the program holds them, \z
    on the cells they have", function()
    local M = app:module("M", v1)
    local mine = M.monster("mine", 5)
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "old mine", 4 }, { mine.hit(1) })
    assert.same({ "new theirs", 4 }, { M.monster("theirs", 5).hit(1) })
    assert.equal(5, M.created())
  end)

  it("stay apart though they have names in common with each other and with the module", function()
    local source = [[
      local n = 0
      local function counter(n)
        return { inc = function() n = n + 1 return "old", n end }
      end
      return { first = counter(10), second = counter(20),
        inc = function() n = n + 1 return "old", n end }
    ]]
    local M = app:module("M", source)
    M.first.inc() M.second.inc() M.inc()
    app:update("M", (source:gsub("old", "new")))
    assert.same({ "new", 12 }, { M.first.inc() })
    assert.same({ "new", 22 }, { M.second.inc() })
    assert.same({ "new", 2 }, { M.inc() })
    assert.not_equal(probe.cell(M.first.inc, "n"), probe.cell(M.second.inc, "n"))
    assert.not_equal(probe.cell(M.first.inc, "n"), probe.cell(M.inc, "n"))
  end)

  it("stay apart in a list that a loop made", function()
    local source = [[
      local M, total = { list = {} }, 0
      for i = 1, 5 do
        local n = i * 10
        M.list[i] = function() n, total = n + 1, total + 1 return "old", i, n, total end
      end
      return M
    ]]
    local M = app:module("M", source)
    for i = 1, 5 do M.list[i]() end
    app:update("M", (source:gsub("old", "new")))
    for i = 1, 5 do
      assert.same({ "new", i, i * 10 + 2, 5 + i }, { M.list[i]() })
    end
    assert.equal(5, #M.list)
  end)

  it("keep one state where two methods share it, and two where the next \z
    object has its own", function()
    local source = [[
      local function stack()
        local items = {}
        return { push = function(x) items[#items + 1] = x return "old" end,
          size = function() return #items end }
      end
      return { one = stack(), two = stack() }
    ]]
    local M = app:module("M", source)
    M.one.push(1) M.one.push(2) M.two.push(3)
    app:update("M", (source:gsub("old", "new")))
    assert.same({ 2, 1 }, { M.one.size(), M.two.size() })
    assert.equal("new", M.one.push(4))
    assert.same({ 3, 1 }, { M.one.size(), M.two.size() })
  end)

  it("keep their state where another module's factory made them", function()
    app:write("lib", [[
      local made = 0
      return { counter = function(start)
        made = made + 1
        local n = start
        return function() n = n + 1 return n end
      end, made = function() return made end }
    ]])
    local source = [[
      local lib = require "lib"
      local hidden = lib.counter(100)
      return { next_id = lib.counter(0), box = { next_id = lib.counter(50) },
        hidden = function() return "old", hidden() end }
    ]]
    local M = app:module("M", source)
    M.next_id() M.next_id() M.box.next_id() M.hidden()
    app:update("M", (source:gsub("old", "new")))
    assert.same({ 3, 52 }, { M.next_id(), M.box.next_id() })
    assert.same({ "new", 102 }, { M.hidden() })
    app:reloaded("M")
    assert.same({ 4, 53 }, { M.next_id(), M.box.next_id() })
    assert.same({ "new", 103 }, { M.hidden() })
  end)

  it("keep their state where that factory was reloaded, edited or not", function()
    local function lib(text)
      return ([[
        local lib = {}
        function lib.class()
          local class, made = {}, 0
          class.__index = class
          local function new(self, ...)
            made = made + 1 EDIT
            return setmetatable({ ... }, self), made
          end
          return setmetatable(class, { __call = new })
        end
        return lib
      ]]):gsub("EDIT", text)
    end
    app:module("lib", (lib ""))
    local source = [[
      local M = require "lib".class()
      function M:first() return "old", self[1] end
      return M
    ]]
    local M = app:module("M", source)
    local object, metatable = M("x"), getmetatable(M)
    app:update("lib", "-- a remark\n" .. lib "")
    app:update("M", (source:gsub("old", "new")))
    assert.equal(metatable, getmetatable(M))
    assert.same({ "new", "x" }, { object:first() })
    assert.equal(2, select(2, M "y"))
    for n = 3, 5 do
      app:update("lib", (lib(("local edit = %d"):format(n))))
      if n ~= 4 then app:update("M", ("\n"):rep(n) .. source) end
      assert.equal(n, select(2, M "z"))
    end
  end)

  it("are as they were when the reload is refused", function()
    local M = app:module("M", v1)
    M.boss.hit(50)
    app:write("M", (v1:gsub("old", "new"):gsub("return { monster", "do error 'late' end %0")))
    app:refused("M", nil, M)
    app:write("M",
      (v1:gsub("old", "new"):gsub("function self.hp%(%) return hp end", "self.hp = hp")))
    local _, report = app:refused("M", nil, M)
    assert.equal(3, #report.conflicts)
    assert.same({ "old boss", 49, 3 }, { "old boss", select(2, M.boss.hit(1)), M.created() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected boss", 48 }, { M.boss.hit(1) })
  end)
end)

describe("Wrappers (R3.2, R4.3)", function()
  before_each(start)
  after_each(stop)

  local memoize = [[
    return function(fn)
      local cache, calls = {}, 0
      return function(x)
        if cache[x] == nil then
          calls = calls + 1
          cache[x] = fn(x)
        end
        return cache[x], calls
      end
    end
  ]]

  local users = {
    ["of the module itself"] = ("local memoize = (function() %s end)()"):format(memoize),
    ["of another module"] = "local memoize = require 'memoize'",
  }

  for whose, head in pairs(users) do
    it("call the new function and keep what they remember, with a factory " .. whose, function()
      app:write("memoize", memoize)
      local source = head .. [[

        local computed = 0
        local M = {}
        function M.slow(x) computed = computed + 1 return "old " .. x end
        M.fast = memoize(M.slow)
        M.anonymous = memoize(function(x) computed = computed + 1 return "old anonymous " .. x end)
        local hidden = memoize(function(x) computed = computed + 1 return "old hidden " .. x end)
        function M.hidden(x) return hidden(x) end
        function M.computed() return computed end
        return M
      ]]
      local M = app:module("M", source)
      M.fast(1) M.anonymous(1) M.hidden(1)
      app:update("M", (source:gsub("old", "new")))
      assert.same({ "old 1", 1 }, { M.fast(1) })
      assert.same({ "new 2", 2 }, { M.fast(2) })
      assert.same({ "old anonymous 1", 1 }, { M.anonymous(1) })
      assert.same({ "new anonymous 2", 2 }, { M.anonymous(2) })
      assert.same({ "old hidden 1", 1 }, { M.hidden(1) })
      assert.same({ "new hidden 2", 2 }, { M.hidden(2) })
      assert.equal(6, M.computed())
    end)
  end

  it("call the new function through layers of them", function()
    app:write("layers", [[
      return {
        log = function(fn) return function(...) return "log(" .. fn(...) .. ")" end end,
        twice = function(fn) return function(...) return fn(...) .. fn(...) end end,
      }
    ]])
    local source = [[
      local layers = require "layers"
      local M = {}
      local function handler(x) return "old" .. x end
      M.handler = layers.log(layers.twice(layers.log(handler)))
      M.wrapped = function(x) return "old" .. x end
      M.wrapped = layers.log(M.wrapped)
      return M
    ]]
    local M = app:module("M", source)
    assert.equal("log(log(old1)log(old1))", M.handler(1))
    app:update("M", (source:gsub("old", "new")))
    assert.equal("log(log(new1)log(new1))", M.handler(1))
    assert.equal("log(new1)", M.wrapped(1))
  end)

  it("call the new function where the module binds arguments to it", function()
    local source = [[
      local function bind(fn, x) return function(y) return fn(x, y) end end
      local function say(greeting, name) return "old " .. greeting .. " " .. name end
      return { hello = bind(say, "hello"), bye = bind(say, "bye") }
    ]]
    local M = app:module("M", source)
    app:update("M", (source:gsub("old", "new")))
    assert.equal("new hello x", M.hello "x")
    assert.equal("new bye x", M.bye "x")
  end)

  it("take the place of a plain function, and a plain function theirs", function()
    app:write("memoize", memoize)
    local plain = [[
      local n = 0
      local M = {}
      function M.f(x) n = n + 1 return "plain " .. x end
      function M.n() return n end
      return M
    ]]
    local wrapped = plain:gsub("function M%.f",
      "M.f = require 'memoize'(function"):gsub("x end", "x end)")
      :gsub("plain", "wrapped")
    local M = app:module("M", plain)
    M.f(1)
    app:update("M", wrapped)
    assert.equal("wrapped 1", (M.f(1)))
    assert.equal("wrapped 1", (M.f(1)))
    assert.equal(2, M.n())
    app:update("M", plain)
    assert.same({ "plain 1", "plain 1", 4 }, { M.f(1), M.f(1), M.n() })
  end)
end)

describe("Functions in tables that only a local holds (R3.1, R4.3)", function()
  before_each(start)
  after_each(stop)

  it("are new where the table has the module's own function: t.hello = M.hello", function()
    local v1 = [[
      local M, t = {}, {}
      function M.hello() return "old" end
      t.hello = M.hello
      function M.call() return t.hello() end
      function M.t() return t end
      return M
    ]]
    local M = app:module("M", v1)
    local t = M.t()
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", "new" }, { M.hello(), M.call() })
    assert.equal(t, M.t())
    assert.equal(M.hello, t.hello)
  end)

  it("are new in a switch: switch[1] = function", function()
    local v1 = [[
      local switch, count = {}, 0
      switch[1] = function() count = count + 1 return "old one", count end
      switch[2] = function() count = count + 1 return "old two", count end
      switch[100], switch.default = function() return "old hundred" end,
        function() return "old default" end
      return { run = function(n) return (switch[n] or switch.default)() end }
    ]]
    local M = app:module("M", v1)
    M.run(1) M.run(2)
    app:update("M", (v1:gsub("old", "new")
      :gsub("return { run", "switch[200] = function() return 'added', count end %0")))
    assert.same({ "new one", 3 }, { M.run(1) })
    assert.same({ "new two", 4 }, { M.run(2) })
    assert.same({ "new hundred", "new default" }, { M.run(100), M.run(3) })
    assert.same({ "added", 4 }, { M.run(200) })
  end)

  it("are new in a table of operators, with what the program registered left alone", function()
    local v1 = [[
      local ops = {
        ["+"] = function(a, b) return "old", a + b end,
        ["-"] = function(a, b) return "old", a - b end,
        nested = { [true] = function() return "old yes" end,
          [false] = function() return "old no" end },
      }
      local M = {}
      function M.register(name, fn) ops[name] = fn end
      function M.run(op, a, b) return ops[op](a, b) end
      function M.ask(v) return ops.nested[v]() end
      return M
    ]]
    local M = app:module("M", v1)
    M.register("max", math.max)
    M.register("-", function(a, b) return "patched", b - a end)
    app:update("M",
      (v1:gsub("old", "new"):gsub("nested =",
        "['*'] = function(a, b) return 'added', a * b end, %0")))
    assert.same({ "new", 5 }, { M.run("+", 2, 3) })
    assert.same({ "new", -1 }, { M.run("-", 2, 3) })
    assert.same({ "added", 6 }, { M.run("*", 2, 3) })
    assert.same({ 3, "new yes", "new no" }, { M.run("max", 2, 3), M.ask(true), M.ask(false) })
  end)

  it("are new in tables below tables, through several locals", function()
    local v1 = [[
      local leaf = { f = function() return "old leaf" end, n = 1 }
      local branch = { leaves = { leaf, { f = function() return "old other leaf" end } } }
      local tree = { branch = branch }
      local function walk(t)
        return t.branch.leaves[1].f() .. ", " .. t.branch.leaves[2].f() .. ", " .. leaf.n
      end
      return { walk = function() return walk(tree) end, grow = function() leaf.n = leaf.n + 1 end }
    ]]
    local M = app:module("M", v1)
    M.grow()
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new leaf, new other leaf, 2", M.walk())
    M.grow()
    assert.equal("new leaf, new other leaf, 3", M.walk())
  end)

  it("are new in a dispatch table whose keys are the module's tables", function()
    local v1 = [[
      local A, B = { name = "A" }, { name = "B" }
      local handlers = { [A] = function() return "old A" end, [B] = function() return "old B" end }
      return { A = A, B = B, run = function(t) return handlers[t]() end,
        handlers = function() return handlers end }
    ]]
    local M = app:module("M", v1)
    local A = M.A
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(A, M.A)
    assert.same({ "new A", "new B" }, { M.run(A), M.run(M.B) })
    local keys = 0
    for _ in pairs(M.handlers()) do keys = keys + 1 end
    assert.equal(2, keys)
  end)

  it("are the old ones after a reload that is refused", function()
    local v1 = [[
      local switch = { function() return "old one" end, x = function() return "old x" end }
      return { run = function(n) return switch[n]() end }
    ]]
    local M = app:module("M", v1)
    app:write("M", (v1:gsub("old", "new"):gsub("x = function.-end", "x = 'data'")))
    assert.matches("switch.x", app:refused("M", nil, M), 1, true)
    assert.same({ "old one", "old x" }, { M.run(1), M.run "x" })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected one", "corrected x" }, { M.run(1), M.run "x" })
  end)
end)
