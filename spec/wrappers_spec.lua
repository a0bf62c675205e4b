-- R3.5: functions of other modules in the places of the module's own: wrappers, patches; and
-- functions that the module itself has put there.

local program = require "spec.support.program"

local app
local function start() app = program.new() end
local function stop() app:unload() end

local BANK = [[
local M = {}
local gold = {}
function M.give(who, n) gold[who] = (gold[who] or 0) + n return "v1" end
function M.gold(who) return gold[who] or 0 end
return M
]]
local BANK2 = BANK:gsub("v1", "v2")

local function chunk(text, name) return assert(load(text, "@" .. (name or "monitor.lua"))) end

--- The function under each key is wrapped by `wrap(function, key)`.
local function wrap_all(t, wrap)
  local names = {}
  for name, f in pairs(t) do
    if type(f) == "function" then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do t[name] = wrap(t[name], name) end
end

-- How somebody wraps all functions of a module.
local ways = {
  ["a closure for each"] = [[
    local calls = 0
    return function(f) return function(...) calls = calls + 1 return f(...) end end]],
  ["two closures, one in the other"] = [[
    local function wrap(f) return function(...) return f(...) end end
    return function(f) return wrap(wrap(f)) end]],
  ["seven closures, one in the other"] = [[
    local function wrap(f) return function(...) return f(...) end end
    return function(f) for _ = 1, 7 do f = wrap(f) end return f end]],
  ["a table of all the originals by name"] = [[
    local originals = {}
    return function(f, name)
      originals[name] = f
      return function(...) return originals[name](...) end
    end]],
  ["a table of all the originals, by other keys"] = [[
    local originals, n = {}, 0
    return function(f)
      n = n + 1
      local i = n
      originals[i] = f
      return function(...) return originals[i](...) end
    end]],
  ["a table for each"] = [[
    return function(f)
      local o = { calls = 0, original = f }
      return function(...) return o.original(...) end
    end]],
  ["spies that are callable tables"] = [[
    local spy = {}
    function spy.__call(self, ...) self.calls = self.calls + 1 return self.callback(...) end
    return function(f) return setmetatable({ calls = 0, callback = f }, spy) end]],
  ["stubs that can take themselves back"] = [[
    return function(f)
      return setmetatable({ revert = function() return f end },
        { __call = function(_, ...) return f(...) end })
    end]],
  ["closures that know each other"] = [[
    return function(f)
      local again, outer
      function again(...) return f(...), again and outer end
      function outer(...) return (again(...)) end
      return outer
    end]],
}

-- What a reload in module scope leaves old may still be alive in the next spec.
local scopes = { "vm", "module" }

for _, scope in ipairs(scopes) do
  describe(("Wrappers (R3.5) with scope = '%s'"):format(scope), function()
    before_each(start)
    after_each(stop)

    local function update(name, text, options)
      options = options or {}
      options.scope = scope
      return app:update(name, text, options)
    end

    for what, text in pairs(ways) do
      it("stay around the file's functions, which go on with the data: " .. what, function()
        local bank = app:module("bank", BANK)
        wrap_all(bank, chunk(text)())
        local give, gold = bank.give, bank.gold
        bank.give("ann", 100)
        for round = 2, 4 do
          local report = update("bank", (BANK:gsub("v1", "v" .. round)), { report = "full" })
          assert.same({}, report.warnings)
          assert.same({ 2, 0 }, { report.wrappers, report.patches })
          assert.matches("^bank%.give: the function of monitor.lua:%d+ stays around it$",
            report.paths.wrappers[1])
          -- `gold` stays.
          assert.same({ replaced = 1, added = 0, removed = 0, dropped = 0 }, report.functions)
          assert.equal(give, bank.give)
          assert.equal(gold, bank.gold)
          assert.equal("v" .. round, (bank.give("ann", 1)))
          assert.equal(99 + round, (bank.gold "ann"))
        end
      end)

      it("are undone with the reload, and left alone by one that is not made: " .. what, function()
        local bank = app:module("bank", BANK)
        wrap_all(bank, chunk(text)())
        bank.give("ann", 100)
        app:write("bank", BANK2)
        local before = program.fingerprint(bank)
        assert.is_true((app:reload("bank", { dry_run = true, scope = scope })))
        before:assert_unchanged()
        app:write("bank", (BANK2:gsub("return M%s*$", "function M.__hotfix() error 'no' end %0")))
        assert.is_false((app:reload("bank", { scope = scope })))
        assert.same({ "v1", 101 }, { (bank.give("ann", 1)), (bank.gold "ann") })
        update("bank", BANK2)
        assert.same({ "v2", 102 }, { (bank.give("ann", 1)), (bank.gold "ann") })
        assert.is_true(app.hotreload.undo "bank")
        assert.same({ "v1", 103 }, { (bank.give("ann", 1)), (bank.gold "ann") })
        update("bank", BANK2)
        assert.same({ "v2", 104 }, { (bank.give("ann", 1)), (bank.gold "ann") })
      end)
    end

    it("stay where all functions change, and each has another one's neighbours", function()
      local text = [[
        local M, n = {}, 0
        function M.a() n = n + 1 return "a1" end
        function M.b() n = n + 2 return "b1" end
        function M.c() n = n + 3 return "c1" end
        function M.n() return n end
        return M
      ]]
      local M = app:module("m", text)
      wrap_all(M, chunk(ways["a table of all the originals by name"])())
      M.a() M.b() M.c()
      update("m", (text:gsub("1\" end", "2 %0"):gsub("2 1", "2")))
      local found = { M.a(), M.b(), M.c(), M.n() }
      assert.same({ "a", "b", "c", 12 },
        { found[1]:sub(1, 1), found[2]:sub(1, 1), found[3]:sub(1, 1), found[4] })
    end)

    it("are wrappers in classes, metatables, nested tables and globals", function()
      local text = [[
        local hits = 0
        local Dog = {}
        Dog.__index = Dog
        function Dog.bark() hits = hits + 1 return "v1" end
        local mt = { __call = function() hits = hits + 1 return "v1" end }
        function shout() hits = hits + 1 return "v1" end
        local function f() hits = hits + 1 return "v1" end
        local M = { Dog = Dog, a = { b = { f = f } }, hits = function() return hits end }
        return setmetatable(M, mt)
      ]]
      local M = app:module("m", text)
      local wrap = chunk(ways["a closure for each"])()
      M.Dog.bark, M.a.b.f = wrap(M.Dog.bark), wrap(M.a.b.f)
      local mt = getmetatable(M)
      mt.__call, _G.shout = wrap(mt.__call), wrap(_G.shout)
      local function all() return { M.Dog.bark(), M.a.b.f(), M(), _G.shout(), M.hits() } end
      assert.same({ "v1", "v1", "v1", "v1", 4 }, all())
      local report = update("m", (text:gsub("v1", "v2")))
      assert.same({ 4, 0 }, { report.wrappers, report.patches })
      assert.same({ "v2", "v2", "v2", "v2", 8 }, all())
    end)

    it("are wrappers in a list", function()
      local text = [[
        local hits = 0
        local list = {
          function() hits = hits + 1 return "a1" end,
          function() hits = hits + 1 return "b1" end,
        }
        return { list = list, hits = function() return hits end }
      ]]
      local M = app:module("m", text)
      M.list[2] = chunk(ways["a closure for each"])()(M.list[2])
      M.list[1]() M.list[2]()
      update("m", (text:gsub("1\" end", "2\" end")))
      assert.same({ "a2", "b2", 4 }, { M.list[1](), M.list[2](), M.hits() })
    end)

    it("stay in a local that the module's own code has given a wrapped helper", function()
      local text = [[
        local sent = 0
        local function send() sent = sent + 1 return "v1" end
        return { send = function() return send() end, sent = function() return sent end,
          hook = function(wrap) send = wrap(send) end }
      ]]
      local M = app:module("m", text)
      M.hook(chunk("return function(f) return function() return 'hooked ' .. f() end end")())
      M.send()
      update("m", (text:gsub("v1", "v2")))
      assert.same({ "hooked v2", 2 }, { M.send(), M.sent() })
    end)

    it("stay where the library that decorates a function is wrapped around it as well", function()
      app:write("memo", [[
        return function(f) local n = 0 return function(x) n = n + 1 return f(x), n end end
      ]])
      local text = "local M = {} M.f = require 'memo'(function(x) return 'v1 ' .. x end) return M"
      local M = app:module("m", text)
      M.f(1)
      M.f = chunk(ways["a closure for each"])()(M.f)
      update("m", (text:gsub("v1", "v2")))
      assert.same({ "v2 2", 2 }, { M.f(2) })
      assert.equal(1, update("m", (text:gsub("v1", "v3"))).wrappers)
      assert.same({ "v3 2", 3 }, { M.f(2) })
    end)

    it("are a plugin's, whose module is reloaded as well", function()
      local bank = app:module("bank", BANK)
      local plugin = [[
        local bank = require "bank"
        local old = bank.give
        function bank.give(...) return "p1 " .. old(...) end
        return {}
      ]]
      app:module("plugin", plugin)
      bank.give("ann", 100)
      update("plugin", (plugin:gsub("p1", "p2")))
      assert.equal("p2 v1", bank.give("ann", 1))
      update("bank", BANK2)
      assert.equal("p2 v2", bank.give("ann", 1))
      update("plugin", (plugin:gsub("p1", "p3")))
      update("bank", (BANK:gsub("v1", "v3")))
      assert.equal("p3 v3", bank.give("ann", 1))
      assert.equal(103, bank.gold "ann")
    end)

    it("have the file's function inside where C functions lie between", function()
      local bank = app:module("bank", BANK)
      local iterator = string.gmatch("", "") -- a C closure, with upvalues that nobody calls here
      assert(debug.setupvalue(iterator, 1, bank.give))
      bank.give("ann", 100)
      bank.give = iterator
      update("bank", BANK2)
      assert.equal(iterator, bank.give)
      local _, give = debug.getupvalue(iterator, 1)
      assert.equal("v2", give("ann", 1))
      assert.equal(101, bank.gold "ann")
    end)

    it("stay around a function that the file has no longer, on the same data", function()
      local bank = app:module("bank", BANK)
      wrap_all(bank, chunk(ways["a closure for each"])())
      bank.give("ann", 100)
      local give = bank.give
      local report = update("bank", (BANK:gsub("function M.give.-\n", "")), { report = "full" })
      assert.same({ "bank.give" }, report.paths.functions.removed)
      assert.equal(give, bank.give)
      bank.give("ann", 1)
      assert.equal(101, bank.gold "ann")
    end)

    it("follow in each place where the file's function stands under several names", function()
      local text = [[
        local n = 0
        local M = { a = function() n = n + 1 return 'v1', n end }
        M.b = M.a
        return M
      ]]
      local M = app:module("m", text)
      M.a()
      local wrap = chunk(ways["a closure for each"])()
      M.a = wrap(M.a)
      update("m", (text:gsub("v1", "v2")))
      assert.same({ "v2", 2 }, { M.a() })
      assert.same({ "v2", 3 }, { M.b() })
      M.b = wrap(M.b)
      update("m", (text:gsub("v1", "v3")))
      assert.same({ "v3", 4 }, { M.a() })
      assert.same({ "v3", 5 }, { M.b() })
    end)

    it("give way with wrappers = 'drop'", function()
      local bank = app:module("bank", BANK)
      bank.give = chunk(ways["a closure for each"])()(bank.give)
      bank.give("ann", 100)
      local report = update("bank", BANK2, { wrappers = "drop", report = "full" })
      assert.same({ 0, 1 }, { report.wrappers, report.patches })
      assert.same({ "bank.give: the function of monitor.lua:2 gives way" }, report.paths.patches)
      assert.same({ "v2", 101 }, { bank.give("ann", 1), bank.gold "ann" })
    end)
  end)
end

describe("Patches (R3.5)", function()
  before_each(start)
  after_each(stop)

  local PATCH = chunk "return function(patched)\n  return function() return patched end\nend"()

  it("give way to the file's functions, and the report has their origin", function()
    local bank = app:module("bank", BANK)
    bank.give("ann", 100)
    bank.give = PATCH "patched"
    app:write("bank", BANK2)
    local plan = app.hotreload.plan "bank"
    assert.matches("~ bank%.give: the function of monitor.lua:2 gives way", plan)
    local report = app:reloaded("bank", { report = "full" })
    assert.same({ "bank.give: the function of monitor.lua:2 gives way" }, report.paths.patches)
    assert.same({ 0, 1 }, { report.wrappers, report.patches })
    assert.matches("  patches of other modules:\n    ~ bank.give: ", tostring(report))
    assert.same({ "v2", 101 }, { bank.give("ann", 1), bank.gold "ann" })
    assert.same({}, report.warnings)
  end)

  it("are C functions, too", function()
    local bank = app:module("bank", BANK)
    bank.give = string.upper
    local report = app:update("bank", BANK2, { report = "full" })
    assert.same({ "bank.give: a C function gives way" }, report.paths.patches)
    assert.equal("v2", bank.give("ann", 1))
  end)

  it("stay with patches = 'keep', and give way later", function()
    local bank = app:module("bank", BANK)
    bank.give("ann", 100)
    bank.give = PATCH "patched"
    local report = app:update("bank", BANK2, { patches = "keep", report = "full" })
    assert.same({ "bank.give: the function of monitor.lua:2 stays" }, report.paths.patches)
    assert.same({ replaced = 0, added = 0, removed = 0, dropped = 0 }, report.functions)
    assert.same({ "patched", 100 }, { bank.give("ann", 1), bank.gold "ann" })
    app:reloaded "bank"
    assert.same({ "v2", 101 }, { bank.give("ann", 1), bank.gold "ann" })
  end)

  it("are no wrappers of other functions of the module that they call", function()
    local text = [[
      local M, n = {}, 0
      function M.f() n = n + 1 return "f1", n end
      function M.g() return "g1" end
      function M.h() return "h1" end
      function M.made() return function() return n end end
      return M
    ]]
    local M = app:module("m", text)
    M.f()
    local g, h, made = M.g, M.h, M.made()
    M.f = function() return M.g(), g(), h(), made() end
    local report = app:update("m", (text:gsub("f1", "f2"):gsub("  function M.h.-\n", "")))
    assert.same({ 0, 1 }, { report.wrappers, report.patches })
    assert.same({ "f2", 2 }, { M.f() })
    assert.same({ "h1", 2 }, { h(), made() })
  end)

  it("are no callable tables that wrap nothing: these are conflicts", function()
    local bank = app:module("bank", BANK)
    bank.give = setmetatable({}, { __call = PATCH "spy" })
    app:write("bank", BANK2)
    local message = app:refused("bank", nil, bank)
    assert.matches("bank%.give: table of 0 entries while it runs, function in the file", message)
  end)

  it("are told with a warning where they may wrap one function or another, and nothing is on "
    .. "record", function()
    app.hotreload.track(false)
    local text = [[
      local M, n = {}, 0
      function M.f() n = n + 1 return "f1" end
      function M.g() n = n + 1 return "g1" end
      function M.n() return n end
      return M
    ]]
    local M = app:module("m", text)
    M.f()
    local f, g = M.f, M.g
    M.f = chunk "local one, other = ... return function() return one() .. other() end"(f, g)
    M.g = nil
    local report = app:update("m", (text:gsub("f1", "f2"):gsub("g1", "g2")))
    local warning = "m.f: nothing tells which function of the module it wraps, if any"
    assert.matches(warning, report.warnings[1], 1, true)
    assert.same({ "f2", 2 }, { M.f(), M.n() })
  end)

  it("are none where the module holds what they wrap, too, and nothing is on record", function()
    app.hotreload.track(false)
    local text = [[
      local M, n = {}, 0
      function M.f() n = n + 1 return "f1", n end
      return M
    ]]
    local M = app:module("m", text)
    M.original = M.f
    M.f = chunk "local old = ... return function() return 'spied', old() end"(M.f)
    for version = 1, 3 do
      local report = app:update("m", (text:gsub("f1", "f" .. version)))
      assert.same({ 1, 0 }, { report.wrappers, report.patches })
      assert.same({ "spied", "f" .. version, 2 * version - 1 }, { M.f() })
      assert.same({ "f" .. version, 2 * version }, { M.original() })
    end
  end)

  it("are told with a warning past the limits: a large table, nine functions deep", function()
    local bank = app:module("bank", BANK)
    local many = { [1001] = bank.give }
    for i = 1, 1000 do many[i] = i end
    local gold = bank.gold
    for _ = 1, 9 do
      local inner = gold
      gold = function(...) return inner(...) end
    end
    bank.give, bank.gold = function(...) return many[1001](...) end, gold
    local report = app:update("bank", BANK2)
    assert.same({ 0, 2, 2 }, { report.wrappers, report.patches, #report.warnings })
    local warning = "bank.give: not all that is inside of it was looked at"
    assert.matches(warning, report.warnings[1], 1, true)
    assert.equal("v2", bank.give("ann", 1))
  end)

  it("are no functions that the file itself has decorated, and decorates no longer", function()
    app:write("memo", "return function(f) return function(...) return f(...) end end")
    local plain = "local n = 0 local M = {} M.f = function() n = n + 1 return 'v1', n end return M"
    local decorated = plain:gsub("function.-end", "require 'memo'(%0)")
    local M = app:module("m", plain)
    app:update("m", decorated)
    assert.same({ "v1", 1 }, { M.f() })
    local report = app:update("m", plain)
    assert.same({ 0, 0 }, { report.wrappers, report.patches })
    assert.same({ "v1", 2 }, { M.f() })
    app:update("m", decorated)
    M.f = chunk(ways["a closure for each"])()(M.f)
    assert.equal(1, app:update("m", plain).wrappers)
    assert.equal("v1", (M.f()))
  end)

  it("do not count where a function of the file is new in a table of others", function()
    local former = print
    app:module("m", "return { f = function() end }")
    local report = app:update("m",
      "local former = print function print() return former end return { f = function() end }")
    assert.same({ 0, 0 }, { report.wrappers, report.patches })
    assert.equal(former, print())
  end)

  it("stay in locals and over imports", function()
    local text = [[
      local send = require "net".send
      local M = { log = require "net".log }
      function M.use(f) send = f end
      function M.send() return send() end
      return M
    ]]
    app:write("net", "local function f() return 'net' end return { send = f, log = f }")
    local M = app:module("m", text)
    local mock = PATCH "mock"
    M.use(mock)
    M.log = mock
    local report = app:reloaded("m")
    assert.same({ 0, 0 }, { report.wrappers, report.patches })
    assert.same({ "mock", "mock" }, { M.send(), M.log() })
  end)

  it("are an option with two values each", function()
    app:module("bank", BANK)
    for option, message in pairs {
      patches = "option 'patches': 'replace', 'keep' expected, got 'x'",
      wrappers = "option 'wrappers': 'follow', 'drop' expected, got 'x'",
    } do
      assert.has_error(function() app:reload("bank", { [option] = "x" }) end,
        ("bad argument #2 to 'reload' (%s)"):format(message))
    end
  end)
end)

for _, scope in ipairs(scopes) do
  describe(("Functions that the module has put there itself (R3.5), %s"):format(scope), function()
    before_each(start)
    after_each(stop)

    local STORE = [[
      local M = {}
      function M.db()
        local conn = { rows = {} }
        M.db = function() return conn end -- opened once
        return conn
      end
      function M.name() return "v1" end
      return M
    ]]

    it("stay, with what they hold", function()
      local store = app:module("store", STORE)
      table.insert(store.db().rows, "a")
      local db, conn = store.db, store.db()
      for round = 2, 4 do
        local report = app:update("store", (STORE:gsub("v1", "v" .. round)),
          { scope = scope, report = "full" })
        assert.same({}, report.warnings)
        assert.same({}, report.paths.functions.added)
        assert.equal(conn, store.db())
        assert.equal("v" .. round, store.name())
      end
      assert.is_true(app.hotreload.undo "store")
      assert.equal(conn, store.db())
      if scope == "module" then assert.equal(db, store.db) end
    end)

    it("stay with a warning where the file has changed the function that made them", function()
      local store = app:module("store", STORE)
      table.insert(store.db().rows, "a")
      local conn = store.db()
      local text = "local M = {} function M.db() return 'new' end return M"
      local report = app:update("store", text, { scope = scope })
      assert.equal(conn, store.db())
      assert.matches("store.db: what the program has put there stays", report.warnings[1], 1, true)
    end)
  end)
end

describe("a wrapper over a function that the file registers elsewhere", function()
  before_each(start)
  after_each(stop)

  for _, tracked in ipairs { true, false } do
    local title = tracked and "tracked" or "of whose first load there is no record"
    it("is not taken for that function, in a module " .. title, function()
      app.hotreload.track(tracked)
      _G.BUS = {}
      local text = "local M = {}\nfunction M.hit() return 'v1' end\nBUS[#BUS + 1] = M.hit\nreturn M"
      app:module("m", text)
      local M = require "m"
      local hit = M.hit
      local wrapper = chunk("local f = ... return function() return 'wrapped ' .. f() end")(hit)
      M.hit = wrapper
      app:update("m", (text:gsub("v1", "v2")))
      assert.equal(1, #_G.BUS)
      assert.equal("v2", _G.BUS[1]())
      assert.equal(wrapper, M.hit)
      assert.equal("wrapped v2", M.hit())
      _G.BUS = nil
    end)
  end
end)

-- A function that the file lacks for one version keeps the lines of the version before.
describe("a wrapper over a function that one version lacked", function()
  before_each(start)
  after_each(stop)

  local OTHERS = {
    ["on its lines"] = "M.other = function() return 1 end",
    ["around its lines"] = "M.other = function()\nlocal x = 1\nreturn x\nend",
    ["around its lines, with a function in it"] =
      "M.other = function()\nlocal f = function() return 2 end\nreturn f\nend",
  }
  for name, other in pairs(OTHERS) do
    for _, tracked in ipairs { true, false } do
      it(("stays, with another function %s, tracked %s"):format(name, tracked), function()
        app.hotreload.track(tracked)
        local hit = "M.hit = function(n)\nreturn 'hit %d'\nend\n"
        local M = app:module("m", "local M = {}\n" .. hit:format(1) .. other .. "\nreturn M")
        app:update("m", "local M = {}\n" .. other .. "\nreturn M")
        local wrap = "local f = ... return function(n) return 'wrapped ' .. f(n) end"
        local wrapper = chunk(wrap)(M.hit)
        M.hit = wrapper
        local text = "local M = {}\n" .. other .. "\n" .. hit .. "return M"
        for version = 1, 2 do
          local report = app:update("m", text:format(version))
          assert.same({}, report.warnings)
          assert.equal(wrapper, M.hit)
          assert.equal("wrapped hit " .. version, M.hit())
        end
      end)
    end
  end
end)
