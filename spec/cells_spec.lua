--- R4.1 to R4.3: which incoming local is which running local, and what it then holds.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G
local cell, held = probe.cell, probe.held

local app
local function start() app = program.new() end
local function stop() app:unload() end

describe("R4.1 a running local", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local M, count = {}, 0
    function M.inc() count = count + 1 return count end
    function M.peek() return "nothing" end
    return M
  ]]

  it("stays the cell of the function that used it", function()
    local M = app:module("M", v1)
    local before = cell(M.inc, "count")
    M.inc()
    app:update("M", (v1:gsub("count %+ 1", "count + 10")))
    assert.equal(before, cell(M.inc, "count"))
    assert.equal(11, M.inc())
  end)

  it("is the cell of a function that starts to use it", function()
    local M = app:module("M", v1)
    local before = cell(M.inc, "count")
    M.inc()
    app:update("M", (v1:gsub('"nothing"', "count")))
    assert.equal(1, M.peek())
    assert.equal(2, M.inc())
    assert.equal(2, M.peek())
    assert.equal(before, cell(M.peek, "count"))
    assert.equal(before, cell(M.inc, "count"))
  end)

  it("is the cell of a brand-new function, wherever the file has it", function()
    local M = app:module("M", v1)
    local old = M.inc
    M.inc()
    app:update("M", (v1:gsub("return M%s*$", [[
      function M.reset() count = 0 end
      M.tools = { deep = { get = function() return count end } }
      local function private() return count end
      function M.through_private() return private() end
      function M.maker() return function() return count end end
      return setmetatable(M, { __call = function() return count end })
    ]])))
    old()
    assert.same({ 2, 2, 2, 2 }, { M.tools.deep.get(), M.through_private(), M.maker()(), M() })
    M.reset()
    assert.same({ 0, 0, 0, 0 }, { M.tools.deep.get(), M.through_private(), M.maker()(), M() })
    assert.equal(1, old())
  end)

  it("is the cell of functions in tables, too", function()
    local M = app:module("M", [[
      local count = 0
      return { inc = function() count = count + 1 return count end,
        box = { get = function() return "nothing" end } }
    ]])
    M.inc()
    app:update("M", [[
      local count = 0
      return { inc = function() count = count + 1 return count end,
        box = { get = function() return count end,
        list = { function() return count end } } }
    ]])
    assert.same({ 1, 1, 2, 2, 2 },
      { M.box.get(), M.box.list[1](), M.inc(), M.box.get(), M.box.list[1]() })
  end)

  it("stays the cell of functions that the file no longer has", function()
    local M = app:module("M", v1)
    M.inc()
    app:update("M", [[
      local M, count = {}, 0
      function M.peek() return count end
      return M
    ]])
    assert.same({ 1, 2, 2 }, { M.peek(), M.inc(), M.peek() })
  end)

  it("comes back to a function that had stopped to use it", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 1 return count end
      function M.get() return count end
      return M
    ]])
    M.inc()
    app:update("M", v1)
    app:update("M", (v1:gsub('"nothing"', "count")))
    assert.same({ 2, 2 }, { M.inc(), M.peek() })
  end)

  it("keeps its name's cells apart where two locals have one name", function()
    local two = [[
      local M = {}
      local n = 0
      function M.a() n = n + 1 return n end
      local n = 100 -- luacheck: ignore
      function M.b() n = n + 1 return n end
      return M
    ]]
    local M = app:module("M", two)
    M.a() M.b()
    app:update("M", (two:gsub("return M%s*$", "function M.c() return n end return M")))
    assert.same({ 2, 102, 102 }, { M.a(), M.b(), M.c() })
    assert.not_equal(cell(M.a, "n"), cell(M.b, "n"))
    assert.equal(cell(M.b, "n"), cell(M.c, "n"))
  end)

  it("keeps two locals of one name apart when one function uses both \z
    through a nested one", function()
    local two = [[
      local M = {}
      local n = 0
      local function low() n = n + 1 return n end
      do
        local n = 100
        function M.f() n = n + 1 return "old", low(), n end
      end
      return M
    ]]
    local M = app:module("M", two)
    M.f()
    app:update("M", (two:gsub("old", "new")))
    assert.same({ "new", 2, 102 }, { M.f() })
    assert.same({ "new", 3, 103 }, { M.f() })
  end)

  it("stays one cell where the file now has two", function()
    local M = app:module("M", [[
      local M, n = {}, 0
      function M.a() n = n + 1 return n end
      function M.b() n = n + 1 return n end
      return M
    ]])
    M.a() M.b()
    app:update("M", [[
      local M = {}
      do local n = 50 function M.a() n = n + 10 return n end end
      do local n = 60 function M.b() n = n + 10 return n end end
      return M
    ]])
    assert.same({ 12, 22, 32 }, { M.a(), M.b(), M.a() })
    assert.equal(cell(M.a, "n"), cell(M.b, "n"))
  end)

  it("is matched whatever the order in which functions use their locals", function()
    local M = app:module("M", [[
      local a, b, c = 1, 2, 3
      return { f = function() return a, b, c end, set = function(x, y, z) a, b, c = x, y, z end }
    ]])
    M.set(10, 20, 30)
    app:update("M", [[
      local c, x, b, a = 0, "x", 0, 0
      return { f = function() return c, x, a, b end, set = function(z, y, x) c, b, a = z, y, x end }
    ]])
    assert.same({ 30, "x", 10, 20 }, { M.f() })
    M.set(300, 200, 100)
    assert.same({ 300, "x", 100, 200 }, { M.f() })
  end)

  it("is matched by a name of any length", function()
    local base = ("a_name_that_is_longer_than_forty_characters_"):rep(3)
    local source = ([[
      local LONG_a, LONG_b = 1, 2
      LONG_global = LONG_global or {}
      function LONG_global.LONG_field() return "old", LONG_a end
      local M = {}
      function M.LONG_f() LONG_a = LONG_a + 1 LONG_b = LONG_b + 10 return "old", LONG_a, LONG_b end
      return M
    ]]):gsub("LONG", base)
    local M = app:module("M", source)
    M[base .. "_f"]()
    app:update("M", (source:gsub('"old"', '"new"')))
    assert.same({ "new", 3, 22 }, { M[base .. "_f"]() })
    assert.same({ "new", 3 }, { G[base .. "_global"][base .. "_field"]() })
  end)

  it("is matched in a function that has 255 upvalues", function()
    local outer, inner, sum, bump = {}, {}, {}, {}
    for i = 1, 150 do outer[i] = ("local o%d = %d"):format(i, i) end
    for i = 1, 105 do inner[i] = ("local i%d = %d"):format(i, i) end
    for i = 1, 255 do
      local name = i <= 150 and "o" .. i or "i" .. i - 150
      sum[i], bump[i] = name, ("%s = %s + STEP"):format(name, name)
    end
    local source = table.concat {
      table.concat(outer, " "), "\nlocal M = {}\n(function()\n", table.concat(inner, " "),
      "\nfunction M.sum() return ",
      table.concat(sum, " + "), " end\nfunction M.bump() ", table.concat(bump, " "),
      " end\nend)()\nreturn M",
    }
    local M = app:module("M", (source:gsub("STEP", "1")))
    assert.equal(255, #probe.names(M.sum))
    local initial = M.sum()
    M.bump()
    app:update("M", (source:gsub("STEP", "10")))
    assert.equal(initial + 255, M.sum())
    M.bump()
    assert.equal(initial + 255 * 11, M.sum())
    for _, name in ipairs { "o1", "o150", "i1", "i105" } do
      assert.equal(cell(M.bump, name), cell(M.sum, name))
    end
  end)

  it("keeps what it holds where the file declares it constant; a constant without a cell \z
    follows the file", function()
    local source = [[
      local cache <const> = {}
      local limit <const> = 5
      local started <const> = os.time()
      return { add = function(x) cache[#cache + 1] = x return "old", #cache, limit, started end }
    ]]
    local M = app:module("M", source)
    local _, _, _, started = M.add(1)
    app:update("M",
      (source:gsub("old", "new"):gsub("= 5", "= 6"):gsub("os.time%(%)", "tonumber '0'")))
    assert.same({ "new", 2, 6, started }, { M.add(2) })
  end)

  it("is untouched by a reload that is refused", function()
    local M = app:module("M", v1)
    local before = cell(M.inc, "count")
    M.inc()
    app:write("M",
      (v1:gsub('"nothing"', "count"):gsub("return M%s*$", "M.inc() M.inc() error 'late'")))
    assert.matches("late", app:refused("M", nil, M))
    assert.equal(2, M.inc())
    assert.equal(before, cell(M.inc, "count"))
    app:update("M", (v1:gsub('"nothing"', "count")))
    assert.equal(2, M.peek())
  end)

  it("is reported as joined, and a new one as fresh", function()
    local M = app:module("M", v1)
    local v2 = v1:gsub("count %+ 1", "count + step"):gsub("count = {}, 0", "count, step = {}, 0, 5")
    local report = app:update("M", v2, { report = "full" })
    assert.equal(5, M.inc())
    assert.is_true(probe.contains(report.paths.cells.joined, "M.inc@count"))
    assert.is_true(probe.contains(report.paths.cells.fresh, "M.inc@step"))
    assert.is_false(probe.contains(report.paths.cells.fresh, "@count"))
    assert.is_false(probe.contains(report.paths.cells.joined, "@step"))
  end)
end)

describe("R4.2 a cell that no pair matches", function()
  before_each(start)
  after_each(stop)

  it("is matched by its name when a function was renamed", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 1 return count end
      return M
    ]])
    local before = cell(M.inc, "count")
    M.inc()
    app:update("M", [[
      local M, count = {}, 0
      function M.increment() count = count + 1 return count end
      return M
    ]])
    assert.equal(before, cell(M.increment, "count"))
    assert.same({ 2, 3, 4 }, { M.increment(), M.inc(), M.increment() })
  end)

  it("is matched by its name when all functions were renamed", function()
    local M = app:module("M", [[
      local M, count, log = {}, 0, {}
      function M.inc() count = count + 1 log[#log + 1] = count end
      function M.get() return count, #log end
      return M
    ]])
    M.inc() M.inc()
    app:update("M", [[
      local M, log, count = {}, {}, 0
      function M.bump() log[#log + 1] = count count = count + 1 end
      function M.read() return count, #log end
      return M
    ]])
    M.bump() M.inc()
    assert.same({ 4, 4 }, { M.read() })
    assert.equal(cell(M.read, "count"), cell(M.bump, "count"))
    assert.equal(cell(M.get, "log"), cell(M.bump, "log"))
  end)

  it("is matched by its name when the function moved into a table", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.inc() count = count + 1 return count end
      return M
    ]])
    M.inc()
    app:update("M", [[
      local M, count = {}, 0
      M.counter = { inc = function() count = count + 1 return count end }
      return M
    ]])
    assert.equal(2, M.counter.inc())
  end)

  it("takes the one of two locals that is left when the other was matched \z
    through a pair", function()
    local M = app:module("M", [[
      local M = {}
      do local n = 0 function M.a() n = n + 1 return n end end
      do local n = 100 function M.b() n = n + 1 return n end end
      return M
    ]])
    M.a() M.b()
    app:update("M", [[
      local M = {}
      do local n = 0 function M.a() n = n + 1 return n end end
      do local n = 100 function M.renamed() n = n + 1 return n end end
      return M
    ]])
    assert.same({ 2, 102, 103 }, { M.a(), M.renamed(), M.b() })
  end)

  it("is new when it only has the name of one that was matched", function()
    local M = app:module("M", [[
      local M, n = {}, 0
      function M.a() n = n + 1 return n end
      return M
    ]])
    M.a()
    local report = app:update("M", [[
      local M = {}
      do local n = 0 function M.a() n = n + 1 return n end end
      do local n = 50 function M.b() n = n + 1 return n end end
      return M
    ]])
    assert.same({ 2, 51, 3, 52 }, { M.a(), M.b(), M.a(), M.b() })
    assert.is_true(report.cells.fresh >= 1)
  end)

  it("is new where two of the running carry the name", function()
    local M = app:module("M", [[
      local M = {}
      do local n = 10 function M.a() n = n + 1 return n end end
      do local n = 20 function M.b() n = n + 1 return n end end
      return M
    ]])
    M.a() M.b()
    app:update("M", "local M, n = {}, 500 function M.c() n = n + 1 return n end return M")
    assert.same({ 501, 12, 22, 502 }, { M.c(), M.a(), M.b(), M.c() })
  end)

  it("is new where two of the incoming carry the name", function()
    local M = app:module("M", "local M, n = {}, 10 function M.a() n = n + 1 return n end return M")
    M.a()
    app:update("M", [[
      local M = {}
      do local n = 500 function M.c() n = n + 1 return n end end
      do local n = 600 function M.d() n = n + 1 return n end end
      return M
    ]])
    assert.same({ 501, 601, 12 }, { M.c(), M.d(), M.a() })
  end)

  it("is shared by all new functions that share it in the file", function()
    local M = app:module("M", "return { f = function() return 1 end }")
    app:update("M", [[
      local count = 5
      return { f = function() return count end, inc = function() count = count + 1 return count end,
        box = { get = function() return count end } }
    ]])
    assert.same({ 6, 6, 6 }, { M.inc(), M.f(), M.box.get() })
  end)

  -- What a loop or a factory gives each of its objects, and how the object under a new key is made.
  for what, makes in pairs {
    ["a parameter"] = "M['on_' .. r.name] = handler(r.name)",
    ["a row that a loop runs over"] = "M['on_' .. r.name] = function() return r.name .. 1 end",
    ["a local of a loop"] = [[
      local name = r.name
      M['on_' .. name] = function() return name .. 1 end
    ]],
    ["a counter"] = "M['on_' .. r.name] = counter(r.name)",
    ["what stands under a number"] = "M[r.id] = handler(r.name) M['on_' .. r.name] = M[r.id]",
    ["a row with a function"] = "M['on_' .. r.name] = { run = handler(r.name) }",
  } do
    it("is new where it says what one of many objects was made with: " .. what, function()
      local function text(third)
        return ([[
          local M = {}
          local function handler(name) return function() return name .. 1 end end
          local function counter(name)
            local n = 0
            return function() n = n + 1 return name .. n end
          end
          for _, r in ipairs { { id = 1, name = "login" }, { id = 2, name = "logout" }, %s } do
            %s
          end
          return M
        ]]):format(third, makes)
      end
      local function call(handler)
        return type(handler) == "table" and handler.run() or handler()
      end
      for _, data in ipairs { "keep", "merge" } do
        package.loaded.M = nil
        local M = app:module("M", text '{ id = 3, name = "sell" }')
        assert.equal("sell1", call(M.on_sell))
        local report = app:update("M", text '{ id = 4, name = "delete" }', { data = data })
        assert.equal("delete1", call(M.on_delete))
        assert.equal("sell", call(M.on_sell):match "%a+")
        assert.same({ 0, 0 }, { report.data.differing, report.functions.dropped })
      end
    end)
  end

  it("takes nothing from a function that is not the module's", function()
    app:write("lib",
      "return { make = function() local count = 1000 return function() return count end end }")
    local M = app:module("M", "return { get = require 'lib'.make() }")
    app:update("M",
      "local count = 1 return { get = require 'lib'.make(), added = function() return count end }")
    assert.equal(1, M.added())
    assert.equal(1000, M.get())
  end)
end)

describe("R4.3 the value of a joined cell", function()
  before_each(start)
  after_each(stop)

  it("stays nil or false when the program made it so", function()
    local v1 = [[
      local target, enabled, late = "goblin", true
      local M = {}
      function M.clear() target, enabled, late = nil, false, nil end
      function M.get() return target, enabled, late, "old" end
      return M
    ]]
    local M = app:module("M", v1)
    M.clear()
    app:update("M", (v1:gsub("true", "true, 'set now'"):gsub("old", "new")))
    assert.same({ nil, false, nil, "new", n = 4 }, table.pack(M.get()))
    M.clear()
    app:update("M", (v1:gsub("true", "true, 'set now'"):gsub("old", "newer")))
    assert.same({ nil, false, nil, "newer", n = 4 }, table.pack(M.get()))
  end)

  for _, track in ipairs { true, false } do
    for _, options in ipairs { {}, { scope = "vm" }, { data = "merge" }, { constants = "keep" } } do
      local how = ("tracked: %s, %s %s %s"):format(track, options.scope, options.data,
        options.constants)
      it("is the file's where it was nothing and no code assigns it; " .. how, function()
        app.hotreload.track(track)
        local text = [[
          local cache, limit, name%s
          local M = {}
          function M.get() return cache, limit, name end
          return M
        ]]
        local M = app:module("M", text:format "")
        app:update("M", text:format " = {}, tonumber '5', ('x'):rep(2)", options)
        local cache = M.get()
        assert.same({ {}, 5, "xx" }, { M.get() })
        cache.ann = 1
        app:update("M", text:format " = {}, tonumber '6', ('x'):rep(3)", { data = "keep" })
        assert.same({ { ann = 1 }, 5, "xx" }, { M.get() })
        assert.equal(cache, (M.get()))
      end)
    end
  end

  it("is an import where it was nothing and no code assigns it", function()
    local text = "local trim = %s local M = {} function M.get() return trim end return M"
    local M = app:module("M", text:format "no_such_global")
    local report = app:update("M", text:format "no_such_global or table.unpack")
    assert.equal(table.unpack, M.get())
    assert.equal(1, report.data.replaced)
    assert.matches("nothing to do", tostring(app:reloaded "M"), 1, true)
    local file = text:format "nil":gsub("return M$", "function M.set(f) trim = f end return M")
    M = app:module("set", file)
    M.set(nil)
    app:update("set", (file:gsub("nil", "table.unpack", 1)))
    assert.is_nil(M.get())
  end)

  it("stays data of every kind", function()
    local v1 = [[
      local number, text, flag, box = 1, "file", false, { n = 1 }
      local M = {}
      function M.set(...) number, text, flag, box = ... end
      function M.get() return number, text, flag, box, "old" end
      return M
    ]]
    local M, box = app:module("M", v1), { n = 7 }
    M.set(2.5, "run time", true, box)
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ 2.5, "run time", true, box, "new" }, { M.get() })
    assert.equal(box, (select(4, M.get())))
  end)

  it("is the incoming function where it is a local helper, for old closures as well", function()
    local v1 = [[
      local function helper() return "old" end
      local M = {}
      function M.f() return helper() end
      function M.make() return function() return helper() end end
      return M
    ]]
    local M = app:module("M", v1)
    local old, closure = M.f, M.make()
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", "new", "new" }, { M.f(), old(), closure() })
    assert.equal(held(old, "helper"), held(M.f, "helper"))
  end)

  it("is the incoming function at the end of a chain of local helpers", function()
    local v1 = [[
      local n = 0
      local function four() n = n + 1 return "old", n end
      local function three() return four() end
      local function two() return three() end
      local function one() return two() end
      return { f = function() return one() end }
    ]]
    local M = app:module("M", v1)
    local old = M.f
    M.f()
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", 2 }, { M.f() })
    assert.same({ "new", 3 }, { old() })
  end)

  it("is the incoming function where helpers call each other or themselves", function()
    local v1 = [[
      local calls, even, odd = 0
      function even(n) calls = calls + 1 if n == 0 then return "old even" end return odd(n - 1) end
      function odd(n) calls = calls + 1 if n == 0 then return "old odd" end return even(n - 1) end
      local function down(n) if n == 0 then return "old bottom" end return down(n - 1) end
      return { parity = function(n) return even(n) end, down = function(n) return down(n) end,
        calls = function() return calls end }
    ]]
    local M = app:module("M", v1)
    local parity = M.parity
    assert.equal("old even", M.parity(4))
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new even", "new odd", "new bottom" }, { M.parity(2), M.parity(3), M.down(3) })
    assert.equal("new even", parity(2))
    assert.equal(5 + 3 + 4 + 3, M.calls())
    local even, odd = held(M.parity, "even"), held(held(M.parity, "even"), "odd")
    assert.equal(even, held(odd, "even"))
  end)

  it("is the running table, with the incoming functions in it", function()
    local v1 = [[
      local cache = { hits = 0, find = function() return "old" end,
        sub = { f = function() return "old" end, n = 1 } }
      return { find = function() cache.hits = cache.hits + 1 return cache.find(), cache.hits end,
        cache = function() return cache end }
    ]]
    local M = app:module("M", v1)
    local cache, sub = M.cache(), M.cache().sub
    M.find()
    sub.n = 5
    app:update("M", (v1:gsub("old", "new"):gsub("hits = 0", "hits = 0, misses = 3")))
    assert.equal(cache, M.cache())
    assert.equal(sub, cache.sub)
    assert.same({ "new", 2 }, { M.find() })
    assert.same({ "new", 5, 3 }, { sub.f(), sub.n, cache.misses })
  end)

  it("follows one of the module's own functions that the program put there", function()
    local v1 = [[
      local M, state = {}
      function M.idle() return "old idle" end
      function M.busy() return "old busy" end
      function M.go() state = M.busy end
      function M.run() return (state or M.idle)() end
      return M
    ]]
    local M = app:module("M", v1)
    M.go()
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new busy", M.run())
    assert.equal(M.busy, held(M.run, "state"))
  end)

  it("follows one of the module's own functions though the file starts with another", function()
    local v1 = [[
      local M = {}
      function M.idle() return "old idle" end
      function M.busy() return "old busy" end
      local state = M.idle
      function M.go() state = M.busy end
      function M.run() return state() end
      return M
    ]]
    local M = app:module("M", v1)
    M.go()
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new busy", M.run())
    app:update("M", (v1:gsub("old", "newer")))
    assert.equal("newer busy", M.run())
  end)

  it("follows a local function that the program put there", function()
    local v1 = [[
      local M, state = {}
      local function idle() return "old idle" end
      local function busy() return "old busy" end
      function M.start() state = idle end
      function M.go() state = busy end
      function M.run() return state() end
      return M
    ]]
    local M = app:module("M", v1)
    M.start() M.go()
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new busy", M.run())
    M.start()
    assert.equal("new idle", M.run())
  end)

  it("is the file's function where a state still stands as the file set it", function()
    local v1 = [[
      local M = {}
      function M.idle() return "old idle" end
      local state = M.idle
      function M.set(f) state = f end
      function M.run() return state() end
      return M
    ]]
    local M = app:module("M", v1)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new idle", M.run())
  end)

  it("stays a callback that the program set", function()
    local v1 = [[
      local M = {}
      local on_event = function() return "nobody" end
      function M.set(f) on_event = f end
      function M.fire() return "old", on_event() end
      return M
    ]]
    local M = app:module("M", v1)
    local function callback() return "somebody" end
    M.set(callback)
    app:update("M", (v1:gsub("old", "new"):gsub("nobody", "nobody here")))
    assert.same({ "new", "somebody" }, { M.fire() })
    assert.equal(callback, held(M.fire, "on_event"))
    M.set(string.upper)
    app:reloaded("M")
    assert.equal(string.upper, held(M.fire, "on_event"))
  end)

  it("stays a table that the program put into the place of the file's", function()
    local v1 = [[
      local rows = { 1, 2, 3 }
      return { set = function(t) rows = t end, rows = function() return rows, "old" end }
    ]]
    local M, mine = app:module("M", v1), { "mine" }
    M.set(mine)
    app:update("M", (v1:gsub("old", "new")))
    local rows, text = M.rows()
    assert.equal(mine, rows)
    assert.same({ "mine" }, rows)
    assert.equal("new", text)
  end)

  it("is in conflict where the file has another kind, and stays with on_conflict = "
    .. "'keep'", function()
    require "hotreload".track(false)
    local v1 = [[
      local chosen = function() return "function" end
      local table_or_not = { f = function() return "table" end }
      return { f = function() return chosen, table_or_not, "old" end,
        choose = function(f) chosen = f end }
    ]]
    local M = app:module("M", v1)
    local chosen, t = M.f()
    local report = app:update("M", [[
      local chosen = { f = function() return "table now" end }
      local table_or_not = function() return "function now" end
      return { f = function() return chosen, table_or_not, "new" end,
        choose = function(f) chosen.f = f end }
    ]], { on_conflict = "keep" })
    assert.same({ chosen, t, "new" }, { M.f() })
    assert.same({ "M.f@chosen", "M.f@table_or_not" },
      { report.conflicts[1].path, report.conflicts[2].path })
  end)

  it("stays at the function that was chosen at run time, in later reloads, too, \z
    when nothing assigns it", function()
    local v1 = [[
      local function first() return "first VERSION" end
      local chosen = first
      local M = {}
      function M.second() return "second VERSION" end
      function M.choose() chosen = M.second end
      function M.f() return chosen() end
      return M
    ]]
    local M = app:module("M", (v1:gsub("VERSION", "1")))
    M.choose()
    local without = v1:gsub("function M.choose.-end\n", "")
    for _, version in ipairs { "2", "3", "4" } do
      app:update("M", (without:gsub("VERSION", version)))
      M.choose = nil
      assert.equal("second " .. version, M.f())
    end
  end)

  it("stays chosen where a function on one line made it", function()
    local source = [[
      local M = {}
      local current, mode = function() return "default 1" end, function() return "mode 1" end
      function M.set(n) current = function() return n end end function M.mode(f) mode = f end
      function M.get() return current(), mode() end
      return M
    ]]
    for _, one_line in ipairs { source, (source:gsub("%s*\n%s*", " ")) } do
      local M = app:module("M", one_line)
      for round = 1, 3 do
        M.set(round)
        app:update("M", (one_line:gsub(' 1"', " " .. round .. '"')))
        assert.same({ round, "mode " .. round }, { M.get() })
      end
      package.loaded.M = nil
    end
  end)

  it("is not touched when a reload that would change it is refused", function()
    local v1 = [[
      local cache = { find = function() return "old" end }
      local function helper() return "old helper" end
      return { f = function() return cache.find(), helper() end, g = function() end }
    ]]
    local M = app:module("M", v1)
    local function broken(ending)
      return (v1:gsub("old", "new"):gsub("g = function%(%) end", ending))
    end
    app:write("M", broken "g = 1")
    app:refused("M", nil, M)
    app:write("M", broken "g = error 'while loading'")
    app:refused("M", nil, M)
    assert.same({ "old", "old helper" }, { M.f() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected", "corrected helper" }, { M.f() })
  end)
end)

-- Lua keeps one copy of a string of at most 40 bytes, and of a longer chunk name one for each
-- chunk.
for _, folder in ipairs { "short", "long" } do
  describe("R4 under a chunk name that is " .. folder, function()
    before_each(function() app = program.new(folder) end)
    after_each(stop)

    it("a new local gets a cell of its own, not that of an object's variable", function()
      local v1 = [[
        local M = { objs = {} }
        function M.new()
          local hp = 5
          M.objs[1] = { get = function() return hp end }
        end
        return M
      ]]
      local M = app:module("M", v1)
      assert.equal(folder == "long", #debug.getinfo(M.new, "S").source > 40)
      M.new()
      app:reloaded "M"
      app:update("M",
        (v1:gsub("return M\n", "local hp = 100 function M.hp() hp = hp + 1 return hp end %0")))
      assert.same({ 101, 5 }, { M.hp(), M.objs[1].get() })
    end)

    it("a function that was made and chosen at run time stays chosen in \z
      all later reloads", function()
      local M = app:module("M", [[
        local M = {}
        local current = function() return "default" end
        function M.set(n)
          current = function() return n end
        end
        function M.get() return current() end
        return M
      ]])
      M.set(7)
      for _ = 1, 3 do
        app:reloaded "M"
        assert.equal(7, M.get())
      end
    end)

    it("a function without a name in the module follows where the program \z
      holds it (R9.3)", function()
      local v1 = [[
        local M = {}
        function M.timer(n) return function() n = n + 1 return "old", n end end
        return M
      ]]
      local M = app:module("M", v1)
      local held_here = { M.timer(1) }
      app:reloaded("M", { scope = "vm" })
      held_here[2] = M.timer(10)
      rawset(_G, "held_here", held_here)
      app:update("M", (v1:gsub("old", "new")), { scope = "vm" })
      assert.same({ "new", 2 }, { held_here[1]() })
      assert.same({ "new", 11 }, { held_here[2]() })
      local stale = app.hotreload.stale "M"
      assert.same({}, stale)
    end)
  end)
end

describe("a local whose functions are in a part that is not searched (R4.2)", function()
  before_each(start)
  after_each(stop)

  local V1 = [[
    local M, count = { {}, old = {} }, 0
    for i = 1, 40 do M.old[i] = i end
    M.old["secret" .. #M.old] = function() count = count + 1 return count end
    function M.call() return M.old.secret40() end
    return M
  ]]
  local V2 = [[
    local M, count = {}, 0
    function M.add() count = count + 1 return count end
    return M
  ]]

  it("begins anew, with a warning", function()
    require "hotreload".track()
    local M = app:module("m", V1)
    assert.equal(1, M.old.secret40())
    for i = 1, 10000 do M[1][i] = i end
    M.call = nil
    local report = app:update("m", V2)
    assert.equal(1, M.add())
    assert.matches("m: local count: no function that has it is among the first 10000 entries",
      table.concat(report.warnings, "\n"), 1, true)
  end)

  it("goes on if it is found", function()
    require "hotreload".track()
    local M = app:module("m", V1)
    assert.equal(1, M.old.secret40())
    M.call = nil
    local report = app:update("m", V2)
    assert.same({ 2, {} }, { M.add(), report.warnings })
  end)
end)

for _, scope in ipairs { "module", "vm" } do
  describe("a local that a function assigns when the chunk calls it (R4.3), scope " .. scope,
    function()
      before_each(function() app = program.new() end)
      after_each(function() app:unload() end)

      local function source(text, load)
        return (([[
          local M, price, hits = {}, nil, 0
          function M.set()
            local calls = 0
            price = function() calls, hits = calls + 1, hits + 1 return TEXT, calls end
          end
          function M.price() return price() end
          LOAD
          return M
        ]]):gsub("TEXT", text):gsub("LOAD", load or "M.set()"))
      end

      it("has the new code, and its state", function()
        local M = app:module("m", source "1")
        M.price()
        for version = 2, 4 do
          app:update("m", source(tostring(version)), { scope = scope })
          assert.same({ version, version }, { M.price() })
          local report = app:reloaded("m", { scope = scope })
          assert.matches("nothing to do", report.summary)
        end
        assert.is_true(app.hotreload.undo "m")
      end)

      it("keeps what the program has let the function make", function()
        local M = app:module("m", source "1")
        M.set()
        M.price()
        app:update("m", source "2", { scope = scope })
        local text, calls = M.price()
        assert.same({ scope == "vm" and 2 or 1, 2 }, { text, calls })
        M = app:module("late", source("1", ""))
        M.set()
        app:update("late", source("2", ""), { scope = scope })
        assert.equal(scope == "vm" and 2 or 1, (M.price()))
      end)
    end)
end
