-- R8: data = "keep" (the default), data = "replace" and gg.safe_reloads.

local program = require "spec.support.program"

local V1 = [[
  local M = {
    version = 1, rate = 1, label = "one", flag = true,
    items = { sword = { price = 10, tags = { "sharp" } }, bow = { price = 20 } },
    list = { 1, 2, 3, 4 },
  }
  local limit, names = 10, { "a", "b" }
  function M.limit() return limit, names end
  function M.raise() limit = limit + 1 end
  function M.name() return "v1" end
  return M
]]
local V2 = [[
  local M = {
    version = 2, rate = 1.0, label = "two", flag = false, fresh = "new",
    items = { sword = { price = 15, tags = { "sharp", "long" } }, axe = { price = 30 } },
    list = { 5, 6 },
  }
  local limit, names = 20, { "c" }
  function M.limit() return limit, names end
  function M.raise() limit = limit + 1 end
  function M.name() return "v2" end
  return M
]]

describe("data policy (R8)", function()
  local app, M
  before_each(function()
    app = program.new()
    app.hotreload.track(false) -- with a record lists grow (spec/merge_spec.lua)
    M = app:module("conf", V1)
    M.raise()
  end)
  after_each(function() app:unload() end)

  local function assert_kept()
    assert.equal("v2", M.name())
    assert.equal(11, (M.limit()))
    assert.same({ "a", "b" }, (select(2, M.limit())))
    assert.same({ 1, 1, "one", true }, { M.version, M.rate, M.label, M.flag })
    assert.equal("integer", math.type(M.rate))
    assert.same({ price = 10, tags = { "sharp" } }, M.items.sword)
    assert.same({ price = 20 }, M.items.bow)
    assert.same({ 1, 2, 3, 4 }, M.list)
  end

  local function assert_replaced()
    assert.equal("v2", M.name())
    assert.same({ 2, 1.0, "two", false, "new" }, { M.version, M.rate, M.label, M.flag, M.fresh })
    assert.equal("float", math.type(M.rate))
    assert.same({ sword = { price = 15, tags = { "sharp", "long" } }, axe = { price = 30 } },
      M.items)
    assert.same({ 5, 6 }, M.list)
    assert.equal(20, (M.limit()))
    assert.same({ "c" }, (select(2, M.limit())))
  end

  describe("keep", function()
    it("is the default: the running data stays, its code follows", function()
      app:update("conf", V2)
      assert_kept()
    end)

    it("can be said", function()
      app:update("conf", V2, { data = "keep" })
      assert_kept()
    end)

    it("adds what only the incoming version has (R5.1)", function()
      app:update("conf", V2)
      assert.equal("new", M.fresh)
      assert.same({ price = 30 }, M.items.axe)
    end)
  end)

  describe("replace", function()
    it("overwrites top-level keys, nested tables and cells", function()
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("keeps the identity of the module object, of nested tables and of cells", function()
      local items, sword, tags, list, names = M.items, M.items.sword, M.items.sword.tags, M.list,
        select(2, M.limit())
      local raise = M.raise
      app:update("conf", V2, { data = "replace" })
      assert.equal(M, package.loaded.conf)
      assert.equal(items, M.items)
      assert.equal(sword, M.items.sword)
      assert.equal(tags, M.items.sword.tags)
      assert.equal(list, M.list)
      assert.equal(names, (select(2, M.limit())))
      raise()
      assert.equal(21, (M.limit()))
    end)

    it("keeps the identity of a table whose place the file fills twice", function()
      local text = "local M = { limits = {} } M.limits = { gold = 1 } return M"
      local limits = app:module("twice", text).limits
      app:update("twice", (text:gsub("gold = 1", "gold = 2")), { data = "replace" })
      assert.equal(limits, package.loaded.twice.limits)
      assert.same({ gold = 2 }, limits)
    end)

    it("removes rows that are gone from the file, at any depth, \z
      also those that the program added", function()
      M.items.spear = { price = 1 }
      M.items.sword.tags.extra = true
      M.list[10] = "far"
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("brings rows back that the program removed", function()
      M.items.sword, M.list[1], M.label = nil, nil, nil
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("keeps top-level keys that only the running version has", function()
      M.cache, M[1] = { "runtime" }, "first"
      app:update("conf", V2, { data = "replace" })
      assert.same({ "runtime" }, M.cache)
      assert.equal("first", M[1])
      assert_replaced()
    end)

    it("overwrites a change of kind among data", function()
      app:update("conf",
        V2:gsub('label = "two"', 'label = { "two" }'):gsub("list = { 5, 6 }", "list = 56"),
        { data = "replace" })
      assert.same({ "two" }, M.label)
      assert.equal(56, M.list)
    end)

    it("changes kinds inside of rows", function()
      app:update("conf", V2:gsub("axe = { price = 30 }", "axe = 30, bow = 20"),
        { data = "replace" })
      assert.equal(30, M.items.axe)
      assert.equal(20, M.items.bow)
    end)

    it("handles keys of all kinds", function()
      local source = [[
        local M = { f = print,
          rows = { [1.5] = "a", [true] = "b", [false] = "c", ["\0"] = "d", [-1] = "e",
          [2^53] = "f", [print] = "g" } }
        return M
      ]]
      local N = app:module("keys", source)
      N.rows[2.5], N.rows[true], N.rows[{}], N.rows[string] = "gone", "changed", "gone", "gone"
      local rows = N.rows
      app:update("keys", (source:gsub('"a"', '"A"')), { data = "replace" })
      assert.equal(rows, N.rows)
      assert.same({ [1.5] = "A", [true] = "b", [false] = "c", ["\0"] = "d", [-1] = "e",
        [2^53] = "f", [print] = "g" },
        N.rows)
    end)

    it("leaves one table for one table of the file, and cycles closed", function()
      local source = [[
        local shared = { n = 1 }
        local M = { rows = { a = shared, b = shared, loop = {} } }
        M.rows.loop.loop, M.rows.loop.module = M.rows.loop, M
        function M.f() end
        return M
      ]]
      local N = app:module("shared", source)
      local loop = N.rows.loop
      app:update("shared", (source:gsub("n = 1", "n = 2")), { data = "replace" })
      assert.equal(2, N.rows.a.n)
      assert.equal(N.rows.a, N.rows.b)
      assert.equal(loop, N.rows.loop)
      assert.equal(loop, loop.loop)
      assert.equal(N, loop.module)
    end)

    it("writes rows raw, past metamethods that raise", function()
      local function refuse() error "touched" end
      setmetatable(M.items,
        { __newindex = refuse, __index = refuse, __pairs = refuse, __len = refuse })
      setmetatable(M, { __newindex = refuse, __metatable = "locked" })
      app:update("conf", V2, { data = "replace" })
      debug.setmetatable(M.items, nil)
      debug.setmetatable(M, nil)
      assert_replaced()
    end)

    it("takes an import for the value, never writing into its table (R3.3)", function()
      app:module("store", "return { rows = { 'of the store' } }")
      local rows, list = package.loaded.store.rows, M.list
      app:update("conf", (V2:gsub("list = { 5, 6 }", "list = require 'store'.rows")),
        { data = "replace" })
      assert.equal(rows, M.list)
      assert.same({ "of the store" }, rows)
      assert.same({ 1, 2, 3, 4 }, list)
    end)

    it("still refuses conflicts that involve a function (R6)", function()
      app:write("conf", (V2:gsub("list = { 5, 6 }", "list = print")))
      local message = app:refused("conf", { data = "replace" })
      assert.truthy(message:find("conf.list", 1, true), message)
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("is put back when the chunk raises", function()
      app:write("conf", (V2:gsub("return M", "error 'the chunk raises'")))
      assert.matches("the chunk raises", (app:refused("conf", { data = "replace" })))
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("is undone when the hook raises, rows, cells and identities", function()
      M.items.spear = { price = 1 }
      M.list[10] = { "far" }
      app:write("conf",
        (V2:gsub("return M", "function M.__hotfix() error 'the hook raises' end return M")))
      assert.matches("the hook raises", (app:refused("conf", { data = "replace" })))
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("changes nothing in a dry run", function()
      app:write("conf", V2)
      local before = program.fingerprint()
      assert.is_true((app:reload("conf", { data = "replace", dry_run = true })))
      before:assert_unchanged()
      app:reloaded("conf", { data = "replace" })
      assert_replaced()
    end)

    it("replaces the data of a module that speaks through globals", function()
      app:module("globals",
        "LIMITS = { low = 1, high = 9 } RATE = 1 function limits() return LIMITS end")
      local limits = _G.LIMITS
      limits.extra = true
      app:update("globals", "LIMITS = { low = 2 } RATE = 2 function limits() return LIMITS end",
        { data = "replace" })
      assert.equal(limits, _G.LIMITS)
      assert.same({ low = 2 }, limits)
      assert.equal(2, _G.RATE)
      assert.equal(limits, _G.limits())
    end)

    it("is for one call", function()
      app:update("conf", V2, { data = "replace" })
      M.label = "changed at run time"
      app:reloaded "conf"
      assert.equal("changed at run time", M.label)
    end)
  end)

  describe("gg.safe_reloads", function()
    it("means replace for the modules that it marks, at every reload", function()
      _G.gg.safe_reloads.conf = true
      app:update("conf", V2)
      assert_replaced()
      M.label = "changed at run time"
      app:reloaded "conf"
      assert_replaced()
    end)

    it("says nothing about other modules, and nothing with false or after \z
      it is taken away", function()
      _G.gg.safe_reloads.other = true
      _G.gg.safe_reloads.conf = false
      app:update("conf", V2)
      assert_kept()
      _G.gg.safe_reloads.conf = nil
      app:update("conf", V2)
      assert_kept()
    end)

    it("is beaten by an option of the call, either way", function()
      _G.gg.safe_reloads.conf = true
      app:update("conf", V2, { data = "keep" })
      assert_kept()
      _G.gg.safe_reloads.conf = nil
      app:update("conf", V2, { data = "replace" })
      assert_replaced()
    end)

    it("may be another table than at the start, one that the host made", function()
      _G.gg.safe_reloads = { conf = true }
      app:update("conf", V2)
      assert_replaced()
    end)

    it("may be gone, no table or one that raises: data is kept", function()
      for _, value in ipairs { false, 7, "conf", print, setmetatable({}, { __index = error }) } do
        _G.gg.safe_reloads = value or nil
        app:update("conf", V2)
        assert_kept()
        _G.gg.safe_reloads = {}
      end
    end)

    it("is kept when the host made it before the library was loaded", function()
      app:write("other", V1)
      local out = app:subprocess([[
        local mine = { other = true }
        gg = { safe_reloads = mine, own = "kept" }
        require "hotreload"
        print(gg.safe_reloads == mine, gg.own, type(gg.reload))
        local M = require "other"
        M.label = "changed at run time"
        print(gg.reload "other" == true, M.label)
      ]])
      assert.equal("true\tkept\tfunction\ntrue\tone\n", out)
    end)
  end)
end)

describe("the report of a reload that replaces data (R8, R10)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("counts and lists what was overwritten and what went", function()
    app:module("config", "return { rate = 1, rows = { a = 1, b = 2 } }")
    local report = app:update("config", "return { rate = 2, rows = { a = 1 } }",
      { data = "replace", report = "full" })
    assert.equal(2, report.data.replaced)
    assert.same({ "config.rate", "config.rows.b" }, report.paths.data.replaced)
  end)
end)

describe("lists (R8) with data = \"replace\"", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("get the file's elements, also where the module object is the list", function()
    local prices = app:module("prices", "return { 1, 2, 3, { 10 } }")
    local row = prices[4]
    app:update("prices", "return { 1, 5, 3, { 10, 20 }, 6 }", { data = "replace" })
    assert.same({ 1, 5, 3, { 10, 20 }, 6 }, prices)
    assert.equal(row, prices[4])
  end)

  it("get the file's elements in a global that existed", function()
    rawset(_G, "PRICES", { 1 })
    app:module("prices", "PRICES[2], PRICES[3] = 2, 3")
    app:update("prices", "PRICES[2], PRICES[3], PRICES[4] = 20, 30, 40", { data = "replace" })
    assert.same({ 1, 20, 30, 40 }, rawget(_G, "PRICES"))
    rawset(_G, "PRICES", nil)
  end)
end)

describe("tables in several places (R8) with data = \"replace\"", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local function items(n, default)
    local text = "local M = {} M.items = { sword = { n = %d }, shield = { n = %d, \z
      def = 1 } } M.default = %s return M"
    return text:format(n, n, default)
  end

  it("stand where the file has them, and each is the one that it was", function()
    local M = app:module("conf", items(1, "M.items.shield"))
    local sword, shield = M.items.sword, M.items.shield
    local report = app:update("conf", items(2, "M.items.sword"),
      { data = "replace", report = "full" })
    assert.same({ sword = { n = 2 }, shield = { n = 2, def = 1 } }, M.items)
    assert.equal(sword, M.items.sword)
    assert.equal(shield, M.items.shield)
    assert.equal(sword, M.default)
    assert.same({ "conf.default", "conf.items.shield.n", "conf.items.sword.n" },
      report.paths.data.replaced)
    assert.True(require("hotreload").undo("conf"))
    assert.equal(shield, M.default)
  end)

  it("stand there again where the program has put another one", function()
    local M = app:module("conf", items(1, "M.items.shield"))
    M.default = M.items.sword
    app:update("conf", items(2, "M.items.shield"), { data = "replace" })
    assert.equal(M.items.shield, M.default)
    assert.same({ n = 2 }, M.items.sword)
  end)

  it("get a table of the file's own for one of them", function()
    local M = app:module("conf", items(1, "M.items.shield"))
    local shield = M.items.shield
    app:update("conf", items(2, "{ own = true, like = M.items.sword }"), { data = "replace" })
    assert.equal(shield, M.items.shield)
    assert.same({ n = 2, def = 1 }, M.items.shield)
    assert.same({ own = true, like = { n = 2 } }, M.default)
    assert.equal(M.items.sword, M.default.like)
  end)

  it("become one of two, and whoever holds the other one sees the file's data, too", function()
    local M = app:module("conf", "local M = {} M.a = { x = 1 } M.b = { y = 1 } return M")
    local a, b = M.a, M.b
    app:update("conf", "local M = {} M.a = { x = 2 } M.b = M.a return M", { data = "replace" })
    assert.same({ x = 2 }, M.a)
    assert.equal(M.a, M.b)
    assert.same({ { x = 2 }, { x = 2 } }, { a, b })
  end)

  it("become two of one", function()
    local M = app:module("conf", "local M = {} M.a = { x = 2 } M.b = M.a return M")
    app:update("conf", "local M = {} M.a = { x = 1 } M.b = { y = 1 } return M",
      { data = "replace" })
    assert.same({ a = { x = 1 }, b = { y = 1 } }, M)
  end)

  it("stand in lists as the file has them", function()
    local source =
      "local M = {} local a, b = { 'a' }, { 'b' } M.all = { a, b } M.order = { ORDER } return M"
    local M = app:module("conf", (source:gsub("ORDER", "a, b, a")))
    app:update("conf", (source:gsub("ORDER", "b, a")), { data = "replace" })
    assert.same({ M.all[2], M.all[1] }, M.order)
    assert.equal(M.all[2], M.order[1])
    assert.equal(M.all[1], M.order[2])
  end)

  it("are held by locals as the file has them", function()
    local source = [[
      local M = { one = { n = VERSION }, two = { n = VERSION } }
      local current = M.WHICH
      function M.current() return current end
      return M
    ]]
    local function version(number, which)
      return (source:gsub("VERSION", number):gsub("WHICH", which))
    end
    local M = app:module("conf", version(1, "one"))
    local one, two = M.one, M.two
    app:update("conf", version(2, "two"), { data = "replace" })
    assert.same({ { n = 2 }, { n = 2 } }, { one, two })
    assert.equal(two, M.current())
    assert.equal(one, M.one)
    assert.equal(two, M.two)
  end)

  it("follow the edit in the other modes, and keep their data", function()
    local M = app:module("conf", items(1, "M.items.shield"))
    app:update("conf", items(2, "M.items.sword"))
    assert.equal(M.items.sword, M.default)
    assert.same({ sword = { n = 1 }, shield = { n = 1, def = 1 } }, M.items)
  end)
end)

describe("a class's metatable (R8) with data = \"replace\"", function()
  it("is no data: what the program put into it stays", function()
    local app = program.new()
    finally(function() app:unload() end)
    local source = [[
      local Base = {} Base.__index = Base
      local M = setmetatable({}, { __index = Base })
      M.__index = M
      function M.version() return VERSION end
      return M
    ]]
    local M = app:module("meta", (source:gsub("VERSION", "1")))
    local function call() return "called" end
    getmetatable(M).__call = call
    app:update("meta", (source:gsub("VERSION", "2")), { data = "replace" })
    assert.equal(2, M.version())
    assert.equal("called", M())
  end)

  it("is none in a module that speaks through a global either", function()
    local app = program.new()
    finally(function()
      rawset(_G, "Shapes", nil)
      app:unload()
    end)
    local source = [[
      local M = {}
      Shapes = M
      local Base = {}
      local Shape = setmetatable({}, { __index = Base })
      Shape.__index = Shape
      M.make = {}
      function M.make.shape() return Shape, VERSION end
    ]]
    app:module("shapes", (source:gsub("VERSION", "1")))
    local make = rawget(_G, "Shapes").make
    getmetatable((make.shape())).__call = function() return "called" end
    app:update("shapes", (source:gsub("VERSION", "2")), { data = "replace" })
    assert.equal(2, select(2, make.shape()))
    assert.equal("called", make.shape()())
  end)
end)
