-- R9.3: with scope = "vm" closures that old factories made are hot, too.

local program = require "spec.support.program"

describe("closures of old factories (R9.3)", function()
  local app, name
  local number = 0
  before_each(function()
    app = program.new()
    number = number + 1
    name = "nested" .. number -- closures of an earlier spec may still be about
  end)
  after_each(function() app:unload() end)

  local function reload(source) return app:reloaded(name, { source = source, scope = "vm" }) end

  it("get the new code on their own cells, each on its own", function()
    local M = app:module(name, [[
      local M = {}
      function M.new(name)
        local hp = 10
        return { hit = function(n) hp = hp - n return "v1 " .. name .. hp end,
          hp = function() return hp end }
      end
      return M]])
    local one, two = M.new "one", M.new "two"
    one.hit(1)
    local report = reload [[
      local M = {}
      local unit = " hp"
      function M.new(name)
        local unused, hp = {}, 10
        local function hit(n) hp = hp - 2 * n return "v2 " .. name .. hp .. unit end
        return { hit = hit, hp = function() return hp end }
      end
      return M]]
    assert.equal(0, report.stale)
    assert.equal("v2 one7 hp", one.hit(1))
    assert.equal("v2 two8 hp", two.hit(1))
    assert.equal(7, one.hp())
    assert.equal(8, two.hp())
  end)

  it("go on sharing what they shared", function()
    local M = app:module(name, [[
      local M = {}
      function M.pair()
        local n = 0
        return function() n = n + 1 return n end, function() return n end
      end
      return M]])
    local add, get = M.pair()
    add()
    reload [[
      local M = {}
      function M.pair()
        local n = 0
        return function() n = n + 10 return n end, function() return -n end
      end
      return M]]
    assert.equal(11, add())
    local held = get
    assert.equal(-11, held())
  end)

  it("are one closure wherever one closure was", function()
    local M = app:module(name,
      "return { new = function(x) return function() return 'v1', x end end }")
    local f = M.new(1)
    local t = { f, f, [f] = f }
    reload "return { new = function(x) return function() return 'v2', x end end }"
    assert.equal(t[1], t[2])
    assert.equal(t[1], t[t[1]])
    assert.equal("v2", (t[1]()))
  end)

  it("follow through several levels, and through several reloads in scope 'vm'", function()
    local source = [[
      local M = {}
      function M.new(a) return function(b) return function(c) return "v1", a, b, c end end end
      return M]]
    local M = app:module(name, source)
    local middle = M.new(1)
    local inner = middle(2)
    for i = 2, 4 do
      reload((source:gsub("v1", "v" .. i):gsub("return M", "local pad" .. i .. " return M")))
      assert.same({ "v" .. i, 1, 2, 3 }, { inner(3) })
      assert.same({ "v" .. i, 1, 5, 6 }, { middle(5)(6) })
    end
  end)

  it("follow where they use a local of the module more than they did, or less", function()
    local more = [[
      local function log(n) return "log " .. n end
      local M = {}
      function M.new(v) return function(n) n = tostring(n) return v, BODY end end
      return M
    ]]
    local less = more:gsub("local function log.-\n", ""):gsub("BODY", '"less"')
      :gsub("return v, ", "return ")
    more = more:gsub("BODY", 'log "more"'):gsub("return v, ", "return ")
    local M = app:module("M", less)
    local f = { M.new(1) }
    app:update("M", more, { scope = "vm" })
    assert.equal("log more", f[1]())
    app:update("M", less, { scope = "vm" })
    assert.equal("less", f[1]())
  end)

  it("follow though reloads in the module's scope have gone by since they were made", function()
    local source = [[
      local count = 0
      local M = {}
      function M.other() return "OTHER" end
      function M.new(name)
        return { get = function() count = count + 1 return "GET", name, count end }
      end
      return M
    ]]
    local function version(other, get) return (source:gsub("OTHER", other):gsub("GET", get)) end
    local M = app:module("M", version("1", "old"))
    local objects = { M.new "first" }
    for n = 2, 4 do
      app:update("M", ("\n"):rep(n) .. version(tostring(n), "old"))
      objects[n] = M.new("after " .. n)
    end
    local report = app:update("M", version("5", "new"), { scope = "vm" })
    assert.same({ "new", "first", 1 }, { objects[1].get() })
    assert.same({ "new", "after 2", 2 }, { objects[2].get() })
    assert.same({ "new", "after 4", 3 }, { objects[4].get() })
    assert.equal(0, report.stale)
  end)

  it("follow though such reloads have edited them and moved their lines", function()
    local source = [[
      local count = 0
      local function tell(n) return n end
      local M = {}
      function M.new(name)
        local object = { name = name,
          get = function(n) count = count + 1 return "GET", tell(name), count end }
        return object
      end
      function M.plain() return { has = function(self, n) return n and self[n] and "PLAIN" end } end
      return M
    ]]
    local function version(get, plain) return (source:gsub("GET", get):gsub("PLAIN", plain)) end
    local M = app:module("M", version("1", "1"))
    local objects, plain = { M.new "first" }, M.plain()
    for n = 2, 5 do
      app:update("M", ("\n"):rep(n) .. version(tostring(n), "1"))
      objects[n] = M.new("of " .. n)
    end
    app:update("M", (version("5", "1"):gsub("object", "thing")))
    local report = app:update("M", version("6", "2"):gsub("object", "thing"), { scope = "vm" })
    assert.same({ "6", "first", 1 }, { objects[1].get() })
    assert.same({ "6", "of 3", 2 }, { objects[3].get() })
    assert.equal("2", plain.has({ a = 1 }, "a"))
    assert.same({ 0, {} }, { report.stale, report.warnings })
  end)

  it("follow though the program has put them into the module, \z
    before and after such reloads", function()
    local source = [[
      local M = { sub = { other = function() return "OTHER" end } }
      function M.new(name)
        return { get = function(n) n = tostring(n) return "GET " .. name end }
      end
      return M
    ]]
    local function version(other, get) return (source:gsub("OTHER", other):gsub("GET", get)) end
    local M = app:module("M", version("1", "old"))
    local objects = { M.new "first", M.new "second" }
    M.first = objects[1].get
    app:update("M", "\n" .. version("2", "old"))
    M.sub.second = objects[2].get
    app:update("M", version("3", "new"), { scope = "vm" })
    assert.same({ "new first", "new second" }, { M.first(), M.sub.second() })
    assert.same({ M.first, M.sub.second }, { objects[1].get, objects[2].get })
  end)

  it("follow though the program holds an earlier generation of the factory, \z
    in whose place a patch stood", function()
    local source = [[
      local M = {}
      function M.new(name)
        return function(n) n = tostring(n) return "GET " .. name end
      end
      return M
    ]]
    local M = app:module("M", (source:gsub("GET", "old")))
    local f = { M.new "first" }
    app:update("M", (source:gsub("GET", "old")))
    local held = M.new
    M.new = function(...) return held(...) end -- a patch
    app:update("M", "\n" .. source:gsub("GET", "old"))
    app:update("M", (source:gsub("GET", "new")), { scope = "vm" })
    assert.equal("new first", f[1]())
  end)

  it("stay old where two functions of the module had their code, and were made by an \z
    earlier generation", function()
    local source = [[
      local M = {}
      function M.new(name) return function() return "NEW", name, #name end end
      function M.make(name) return function() return "MAKE", name, #name end end
      return M
    ]]
    local function version(new, make) return (source:gsub("NEW", new):gsub("MAKE", make)) end
    local M = app:module("M", version("old", "old"))
    local f = { M.new "f" }
    app:update("M", "\n" .. version("old", "old"))
    local report = app:update("M", version("new", "made"), { scope = "vm" })
    assert.equal("old", (f[1]()))
    assert.equal(1, report.stale)
  end)

  it("stay old, with a reason, where they lack a variable of the factory", function()
    local M = app:module(name, [[
      local M = {}
      function M.new(a, b) return function() return "v1", a end end
      return M]])
    local f = M.new(1, 2)
    local report = reload [[
      local M = {}
      function M.new(a, b) return function() return "v2", a, b end end
      return M]]
    assert.equal("v1", (f()))
    assert.equal(1, report.stale)
    assert.matches("it would need 'b', a local of the function that made it",
      report.warnings[1], 1, true)
    assert.same({ "v2", 1, 2 }, { M.new(1, 2)() })
  end)

  it("stay old where the file has no function for them", function()
    local M = app:module(name, [[
      local M = {}
      function M.new(a) return function() return "v1", a end end
      return M]])
    local f = M.new(1)
    local report = reload "local M = {} function M.new(a) return a end return M"
    assert.equal("v1", (f()))
    assert.equal(1, report.stale)
  end)

  it("are taken back by undo", function()
    local M = app:module(name,
      "return { new = function(x) return function() x = x + 1 return 'v1', x end end }")
    local t = { M.new(1) }
    local old = setmetatable({ t[1] }, { __mode = "v" })
    reload "return { new = function(x) return function() x = x + 1 return 'v2', x end end }"
    assert.equal("v2", (t[1]()))
    assert.is_true(app.hotreload.undo(name))
    assert.same({ "v1", 3 }, { t[1]() })
    assert.is_truthy(old[1] == nil or old[1] == t[1])
  end)
end)
