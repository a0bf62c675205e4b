-- R3.6: a function of the module that is the file's to the letter stays the object that it is,
-- wherever it is seen.

local program = require "spec.support.program"

--- Which object it is: scope "vm" lets the locals of a spec follow, a text stays.
local function id(object) return ("%p"):format(object) end

for _, scope in ipairs { "module", "vm" } do
  describe("a function that is the file's to the letter (R3.6), scope " .. scope, function()
    local app
    before_each(function() app = program.new() end)
    after_each(function() app:unload() end)

    local function update(name, source, options)
      options = options or {}
      options.scope = scope
      return app:update(name, source, options)
    end

    it("is a sentinel that data goes on holding", function()
      local source = "local M = {} local function NULL() end M.NULL = NULL "
        .. "function M.is_null(v) return v == NULL end return M"
      local M = app:module("json", source)
      local row = { name = M.NULL }
      local report = update("json", source .. " -- edited")
      assert.is_true(M.is_null(row.name))
      assert.equal(row.name, M.NULL)
      local functions = report.functions
      assert.same({ 0, 0, 0 }, { functions.replaced, functions.added, report.changed })
      report = update("json", (source:gsub("v == NULL", "v == M.NULL")))
      assert.is_true(M.is_null(row.name))
      assert.same({ 1, 1 }, { report.functions.replaced, report.changed })
    end)

    it("stays in globals, metatables, tables, keys and as what the module is", function()
      local source = [[
        known = function() return 1 end
        local M = { sub = { f = function() return 2 end }, set = {} }
        setmetatable(M, { __index = function() return 3 end })
        local function key() end
        M.set[key] = true
        function M.has(f) return M.set[f] end
        function M.key() return key end
        return M -- v1
      ]]
      local M = app:module("M", source)
      local index, f, key, global = getmetatable(M).__index, M.sub.f, next(M.set), _G.known
      update("M", (source:gsub("v1", "v2")))
      assert.equal(index, getmetatable(M).__index)
      assert.equal(f, M.sub.f)
      assert.equal(global, _G.known)
      assert.same({ [key] = true }, M.set)
      assert.is_true(M.has(M.key()))
      local g = app:module("g", "return function() return 1 end")
      update("g", "return function() return 1 end -- v2")
      assert.equal(g, require "g")
    end)

    it("stays for all that refers to it in what is new", function()
      local source = [[
        local M = {}
        local function f() return M end
        function M.f() return f end
        return M
      ]]
      local M = app:module("M", source)
      local f = M.f()
      update("M", (source:gsub("return M%s*$", [[
        local extra = f
        M.new = { f, [f] = f, sub = setmetatable({ f }, { __call = f }) }
        M.added = f
        function M.extra() return extra end
        return M
      ]])))
      assert.equal(f, M.added)
      assert.equal(f, M.extra())
      assert.equal(f, M.new[1])
      assert.equal(f, M.new[f])
      assert.equal(f, M.new.sub[1])
      assert.equal(f, getmetatable(M.new.sub).__call)
    end)

    it("works with a helper that the edit changes below it", function()
      local source = "local n = 0 local function step() return 1 end local M = {} "
        .. "function M.count() n = n + step() return n end function M.get() return n end return M"
      local M = app:module("M", source)
      local count, get = M.count, M.get
      count()
      local report = update("M", (source:gsub("return 1", "return 5")), { report = "full" })
      assert.equal(count, M.count)
      assert.equal(get, M.get)
      assert.equal(6, count())
      assert.equal(6, get())
      assert.same({ "M.count@step" }, report.paths.functions.replaced)
    end)

    it("may call itself or another one that calls it", function()
      local source = [[
        local even, odd
        local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
        function even(n) return n == 0 or odd(n - 1) end
        function odd(n) return n ~= 0 and even(n - 1) end
        return { fib = fib, even = even, odd = odd, other = function() return "v1" end }
      ]]
      local M = app:module("M", source)
      local fib, even, odd = M.fib, M.even, M.odd
      local report = update("M", (source:gsub("v1", "v2")))
      assert.same({ fib, even, odd }, { M.fib, M.even, M.odd })
      assert.same({ 55, true, "v2" }, { M.fib(10), M.even(10), M.other() })
      assert.equal(1, report.functions.replaced)
      local was = id(odd)
      report = update("M", (source:gsub("return n ~= 0 and", "return n > 0 and")))
      assert.equal(even, M.even)
      assert.not_equal(was, id(M.odd))
      assert.same({ true, 2 }, { even(4), report.functions.replaced })
    end)

    it("follows where a line of it has moved: tracebacks are right", function()
      local source = "local M = {}\nfunction M.f()\n  local x = 1\n\n"
        .. "  return debug.getinfo(1, 'l').currentline\nend\nreturn M"
      local M = app:module("M", source)
      local f = id(M.f)
      local report = update("M", "\n" .. source)
      assert.not_equal(f, id(M.f))
      assert.equal(6, M.f())
      assert.same({ 1, 0 }, { report.functions.replaced, report.changed })
      f = id(M.f)
      -- The same first and last line, the same code.
      local lower = source:gsub("local x = 1\n\n", "\nlocal x = 1\n")
      report = update("M", "\n" .. lower:gsub("\n  return", "  return\n"))
      assert.not_equal(f, id(M.f))
      assert.equal(6, M.f())
      assert.same({ 1, 0 }, { report.functions.replaced, report.changed })
    end)

    it("is told from others of equal code on one line", function()
      local source = "local a, b = 1, 2 return { function() return a end, function() return b end, "
        .. "x = function() end, y = function() end }"
      local M = app:module("M", source)
      local x, y = M.x, M.y
      update("M", source .. " -- v2")
      assert.same({ x, y, 1, 2 }, { M.x, M.y, M[1](), M[2]() })
    end)

    it("stays as a closure of a loop or of a factory that ran at load", function()
      local source = [[
        local M = { by_name = {} }
        local function counter(n) return function() n = n + 1 return n end end
        for i, name in ipairs { "a", "b" } do M.by_name[name] = function() return i, name end end
        M.one, M.two = counter(10), counter(20)
        return M -- v1
      ]]
      local M = app:module("M", source)
      local a, b, one, two = M.by_name.a, M.by_name.b, M.one, M.two
      one()
      update("M", (source:gsub("v1", "v2")))
      assert.same({ a, b, one, two }, { M.by_name.a, M.by_name.b, M.one, M.two })
      assert.same({ 12, 21 }, { M.one(), M.two() })
    end)

    it("stays within another module's wrapper, and so does the wrapper", function()
      app:module("memo", "return function(f) local cache = {} "
        .. "return function(x) if not cache[x] then cache[x] = f(x) end return cache[x] end end")
      local source = "local memo, M, calls = require 'memo', {}, 0 "
        .. "M.f = memo(function(x) calls = calls + 1 return x * 2 end) "
        .. "function M.calls() return calls end return M"
      local M = app:module("M", source)
      local f = M.f
      f(1)
      update("M", source .. " -- v2")
      assert.equal(f, M.f)
      assert.same({ 2, 1 }, { f(1), M.calls() })
      update("M", (source:gsub("x %* 2", "x * 3")))
      assert.equal(f, M.f)
      assert.same({ 2, 9, 2 }, { f(1), f(3), M.calls() })
    end)

    it("is replaced where it gets another variable, and stays where a constant changes", function()
      local source = "local LIMIT, n = 10, 0 local M = {} "
        .. "function M.get() n = n + 1 return LIMIT, n end function M.n() return n end return M"
      local M = app:module("M", source)
      local get, n = M.get, id(M.n)
      get()
      update("M", (source:gsub("LIMIT, n = 10", "LIMIT, n = 20")))
      assert.equal(get, M.get)
      assert.same({ 20, 2 }, { get() })
      local more = source:gsub("local M", "local m = 5 local M")
      local report = update("M", (more:gsub("return n end", "return n + m end")))
      assert.equal(get, M.get)
      assert.not_equal(n, id(M.n))
      assert.equal(7, M.n())
      assert.equal(1, report.functions.replaced)
    end)

    it("is replaced where the name of a local in it changes", function()
      local M = app:module("M", "return { f = function(a) return a end }")
      local f = id(M.f)
      local report = update("M", "return { f = function(b) return b end }")
      assert.not_equal(f, id(M.f))
      assert.equal("b", debug.getlocal(M.f, 1))
      assert.equal(0, report.changed)
    end)

    it("stays in what holds it elsewhere, registered once, also under a key", function()
      local bus = app:module("bus", "local M = { list = {}, set = {}, by = {} } "
        .. "function M.on(f) M.list[#M.list + 1] = f M.set[f] = true M.by[f] = #M.list "
        .. "return f end return M")
      local source = "local bus = require 'bus' local M, n = {}, 0 "
        .. "function M.hit() n = n + 1 return n end bus.on(M.hit) return M"
      local M = app:module("M", source)
      local hit = M.hit
      hit()
      for i = 1, 3 do
        local report = update("M", source .. " -- " .. i)
        assert.same({ { hit }, { [hit] = true }, { [hit] = 1 } }, { bus.list, bus.set, bus.by })
        assert.equal(hit, M.hit)
        assert.equal(0, report.functions.replaced)
      end
      assert.same({ 2, 3 }, { bus.list[1](), M.hit() })
      -- What is new refers to the one that runs.
      update("M", (source:gsub("return M$", "bus.by.last = M.hit bus.by[M.hit] = 7 return M")))
      assert.equal(hit, bus.list[1])
      assert.equal(hit, bus.by.last)
    end)

    it("has the environment that its chunk has", function()
      local function env(named) return setmetatable({ name = named }, { __index = _G }) end
      local function find(environment, text)
        package.preload.sandboxed = assert(load(text, "@sandboxed.lua", "t", environment))
        local ok, report = gg.reload("sandboxed", { scope = scope })
        assert.is_true(ok, report)
        return report
      end
      local text, first = "local M = {} function M.f() return name end return M", env "first"
      find(first, text)
      local M = require "sandboxed"
      local f = id(M.f)
      assert.equal(0, find(first, text .. " -- v2").functions.replaced)
      assert.same({ f, "first" }, { id(M.f), M.f() })
      assert.equal(1, find(env "second", text).functions.replaced)
      assert.not_equal(f, id(M.f))
      assert.equal("second", M.f())
      package.preload.sandboxed, package.loaded.sandboxed = nil, nil
    end)

    it("goes where the file's own _ENV goes when functions assign it", function()
      local source = "local M = {} function M.f() return name end "
        .. "function M.enter(env) _ENV = env end function M.v() return 'v1' end return M"
      local M = app:module("M", source)
      update("M", (source:gsub("v1", "v2")))
      M.enter { name = "inside" }
      assert.equal("inside", M.f())
    end)

    it("stays in a dry run and through undo", function()
      local source = "local M, n = {}, 0 function M.same() n = n + 1 return n end "
        .. "function M.v() return 1 end return M"
      local M = app:module("M", source)
      local same, v = M.same, M.v
      same()
      app:write("M", (source:gsub("return 1", "return 2")))
      local report = app:reloaded("M", { scope = scope, dry_run = true })
      assert.same({ same, v }, { M.same, M.v })
      assert.equal(1, report.functions.replaced)
      app:reloaded("M", { scope = scope })
      assert.equal(same, M.same)
      assert.equal(2, M.v())
      assert.is_true(app.hotreload.undo "M")
      assert.same({ same, v }, { M.same, M.v })
      assert.same({ 2, 1 }, { M.same(), M.v() })
      -- After that the next generation goes on as well.
      app:update("M", (source:gsub("return 1", "return 3")), { scope = scope })
      assert.equal(same, M.same)
      assert.same({ 3, 3 }, { M.same(), M.v() })
    end)

    it("stays through reloads of several modules", function()
      local a = "local b = require 'b' local M = {} function M.f() return b.v() end return M"
      local b = "local M = {} function M.v() return 1 end function M.w() return 'w' end return M"
      local B = app:module("b", b)
      local A = app:module("a", a)
      local f, w = A.f, B.w
      app:write("a", a .. " -- v2")
      app:write("b", (b:gsub("return 1", "return 2")))
      local ok, report = gg.reload({ "b", "a" }, { scope = scope })
      assert.is_true(ok, report)
      assert.same({ f, w, 2 }, { A.f, B.w, A.f() })
    end)

    it("is not stale, over many generations, while what was replaced is", function()
      local source = "local M = {} function M.same() return 1 end\n"
        .. "function M.v() return 0 end return M"
      local M = app:module("M", source)
      local same, old = M.same, M.v
      for i = 1, 5 do update("M", (source:gsub("return 0", "return " .. i))) end
      assert.equal(same, M.same)
      local stale = {}
      for _, entry in ipairs(app.hotreload.stale "M") do stale[entry.line] = true end
      assert.is_nil(stale[1])
      assert.equal(scope == "module" and true or nil, stale[2])
      assert.is_function(old)
    end)

    it("keeps nothing else of a generation: no prototype of what was replaced", function()
      local source = "local M = {} function M.same() return 1 end function M.v() return 0, '"
        .. ("x"):rep(20000) .. "' end return M"
      local M = app:module("M", source)
      local same = M.same
      for i = 1, 10 do update("M", (source:gsub("return 0", "return " .. i))) end
      collectgarbage() collectgarbage()
      local before = collectgarbage "count"
      for i = 11, 60 do update("M", (source:gsub("return 0", "return " .. i))) end
      collectgarbage() collectgarbage()
      assert.equal(same, M.same)
      assert.is_true(collectgarbage "count" - before < 100, collectgarbage "count" - before)
    end)

    it("is the hook that runs, where __hotfix did not change", function()
      local source = "local M = { ran = 0 } function M.__hotfix() M.ran = M.ran + 1 end return M"
      local M = app:module("M", source)
      local hook = M.__hotfix
      update("M", source .. " -- v2")
      assert.equal(hook, M.__hotfix)
      assert.equal(1, M.ran)
    end)

    it("runs in coroutines that go on, and in those that the file starts anew", function()
      local source = [[
        local M, n = {}, 0
        local function body() while true do n = n + 1 coroutine.yield(n) end end
        M.body = body
        M.next = coroutine.wrap(body)
        return M -- v1
      ]]
      local M = app:module("M", source)
      local body, next_one = M.body, M.next
      M.next()
      update("M", (source:gsub("return M", "M.other = coroutine.wrap(body) "
        .. "M.thread = coroutine.create(body) return M")))
      assert.same({ body, next_one }, { M.body, M.next })
      assert.same({ 2, 3 }, { M.next(), M.other() })
      assert.same({ true, 4 }, { coroutine.resume(M.thread) })
    end)
  end)
end

describe("closures that functions which stay have made (R3.6, R9.3)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("stay as well in scope vm: nothing refers to something new", function()
    local source = [[
      local M, total = {}, 0
      function M.new()
        local n = 0
        return function() n, total = n + 1, total + 1 assert(n) return n, total end
      end
      function M.v() return "v1" end
      return M
    ]]
    local M = app:module("maker", source)
    local held = { one = M.new() }
    for i = 1, 50 do held[i] = M.new() end
    local one = id(held.one)
    held.one()
    local report = app:update("maker", (source:gsub("v1", "v2")), { scope = "vm" })
    assert.equal(one, id(held.one))
    assert.is_true(report.references < 50)
    assert.equal(0, report.stale, table.concat(report.warnings, "\n"))
    assert.same({ 2, 2 }, { held.one() })
    app:update("maker", (source:gsub("n %+ 1, total", "n + 10, total")), { scope = "vm" })
    assert.not_equal(one, id(held.one))
    assert.same({ 12, 3 }, { held.one() })
  end)
end)

describe("closures of another module's factory (R3.6)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- What the factory's closures have as upvalues, besides the argument.
  local FACTORIES = {
    { "nothing", "return function() return f() end" },
    { "a global", "return function() return next { f() } and f() end" },
    { "a local of the module", "return function() calls = calls + 1 return f() end" },
    { "both", "return function() calls = calls + 1 return next { f() } and f() end" },
  }
  for _, case in ipairs(FACTORIES) do
    for _, scope in ipairs { "module", "vm" } do
      it(("stay where the file is the same: %s, scope %s"):format(case[1], scope), function()
        app:module("lib", "local calls = 0 return { around = function(f) " .. case[2] .. " end }")
        local M = app:module("m", [[
          local lib, M = require "lib", {}
          M.f = lib.around(function() return "f1" end)
          return M
        ]])
        local f = M.f
        for _ = 1, 2 do
          local report = app:reloaded("m", { scope = scope })
          assert.same({ 0, 0 }, { report.changed, report.functions.replaced })
          assert.equal(f, M.f)
        end
        assert.equal("f1", M.f())
      end)
    end
  end
end)

describe("functions that `load` makes (R3.6)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, scope in ipairs { "module", "vm" } do
    it("stay where the file is the same, though each has an _ENV of its own, scope " .. scope,
      function()
        local M = app:module("m", [[
          local M = {}
          local function make(text)
            return load("return function(x) return " .. text .. " end")()
          end
          M.half, M.root = make "x / 2", make "math.sqrt(x)"
          M.whole = load "return math.type(...)"
          M.other = load("return x", "=other", "t", { x = 1 })
          return M
        ]])
        local half, root, whole = M.half, M.root, M.whole
        for _ = 1, 2 do
          app:reloaded("m", { scope = scope })
          assert.same({ half, root, whole }, { M.half, M.root, M.whole })
        end
        assert.same({ 3.0, "integer", 1 }, { M.root(9), M.whole(1), M.other() })
      end)
  end
end)
