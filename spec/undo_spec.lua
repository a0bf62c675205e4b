-- R7.3: the last reload of a module is taken back.

local program = require "spec.support.program"

local V1 = [[
  local M = { limit = 1 }
  local count = 0
  local function step() return 1 end
  function M.add() count = count + step() return count end
  function M.gone() return "old" end
  return M
]]
local V2 = [[
  local M = { limit = 2, extra = { x = 1 } }
  local count = 0
  local function step() return 10 end
  function M.add() count = count + step() return count end
  function M.more() return "new" .. count end
  return M
]]

describe("hotreload.undo (R7.3)", function()
  local app, M, undo
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    undo = app.hotreload.undo
  end)
  after_each(function() app:unload() end)

  it("brings the old functions back on the data as it is now, any number of times", function()
    local old = M.add
    assert.equal(1, M.add())
    for round = 1, 3 do
      app:reloaded("m", { source = V2 })
      local before = M.add()
      assert.equal(before + 10, M.add())
      assert.is_true(undo "m")
      assert.equal(old, M.add)
      assert.equal(before + 11, M.add())
      assert.is_nil(M.more)
      assert.is_nil(M.extra, "round " .. round)
      assert.equal("old", M.gone())
    end
  end)

  it("changes no record: the same reload does the same again, under numbers too", function()
    local function text(a, b)
      return ("return { names = { 'read', 'write', [%d] = 'execute', [%d] = 'all' } }"):format(a, b)
    end
    local N = app:module("n", text(4, 7))
    for _ = 1, 3 do
      app:reloaded("n", { source = text(8, 11), data = "merge" })
      assert.same({ "read", "write", [8] = "execute", [11] = "all" }, N.names)
      assert.is_true(undo "n")
      assert.same({ "read", "write", [4] = "execute", [7] = "all" }, N.names)
    end
  end)

  it("leaves alone what was changed since", function()
    app:reloaded("m", { source = V2 })
    local patch = function() return "patched" end
    M.add, M.limit, M.extra = patch, 7, "mine"
    assert.is_true(undo "m")
    assert.equal(patch, M.add)
    assert.equal(7, M.limit)
    assert.equal("mine", M.extra)
    assert.is_nil(M.more)
  end)

  describe("gives what the program chose since its former code:", function()
    local CHOOSING = [[
      local M, chosen, list, set, log = { state = {} }, nil, {}, {}, {}
      local function a() return "a@" end
      local function b() return "b@" end
      M.a, M.b, M.cur, chosen = a, b, a, a
      local Class = { __index = { act = a } }
      M.obj = setmetatable({}, Class)
      function M.choose(name)
        local f = M[name]
        set[next(set) or 0] = nil
        M.cur, chosen, list[1], set[f], M.state.f = f, f, f, true, f
        Class.__index.act = f
        M.wrapped = function() return ">" .. f() end
      end
      function M.run()
        return M.cur() .. chosen() .. list[1]() .. next(set)() .. M.state.f() .. M.obj:act()
      end
      function M.make() return function() return chosen() end end
      return M
    ]]
    local function version(n) return (CHOOSING:gsub("@", n)) end
    local C
    before_each(function() C = app:module("c", version(1)) end)

    it("fields, locals, elements, keys, and tables in tables", function()
      app:reloaded("c", { source = version(2) })
      C.choose "b"
      local wrapped = C.b
      local wrap = load("local f = ... return function() return '[' .. f() .. ']' end", "=plugin")
      C.plugin = wrap(C.b)
      assert.equal(("b2"):rep(6), C.run())
      assert.is_true(undo "c")
      assert.equal(("b1"):rep(6), C.run())
      assert.equal("[b1]", C.plugin())
      assert.equal("b2", wrapped())
      assert.same({}, app:reloaded("c", { source = version(3), strict = true }).warnings)
      assert.equal("b3b3b3", C.run():sub(1, 6))
    end)

    it("after several reloads, too", function()
      app.hotreload.configure { history = 5 }
      for n = 2, 4 do
        app:reloaded("c", { source = version(n) })
        C.choose(n == 3 and "a" or "b")
      end
      assert.is_true(undo("c", 2))
      assert.equal(("b2"):rep(6), C.run())
      assert.is_true(undo "c")
      assert.equal(("b1"):rep(6), C.run())
    end)

    it("and when a hook that has yielded fails", function()
      local source = version(2):gsub("return M%s*$", [[
        function M.__hotfix() coroutine.yield() error "no" end
        return M
      ]])
      app:write("c", source)
      local reload = coroutine.wrap(function() return app:reload "c" end)
      reload()
      C.choose "b"
      assert.is_false((reload()))
      assert.equal(("b1"):rep(6), C.run())
    end)

    it("what it kept elsewhere meanwhile is a generation of the same function", function()
      app:reloaded("c", { source = version(2) })
      local kept = C.b
      assert.is_true(undo "c")
      C.cur, C.b = kept, kept
      assert.same({}, app:reloaded("c", { source = version(3), strict = true }).warnings)
      assert.equal("b3b3", C.cur() .. C.b())
      assert.equal("a3", C.a())
    end)

    it("another module's tables are left alone", function()
      local other = app:module("other", "return { on = {} }")
      app:reloaded("c", { source = version(2) })
      other.on.hit, C.other = C.b, other
      assert.is_true(undo "c")
      assert.equal("b2", other.on.hit())
    end)
  end)

  it("takes the program back to what it was, when nothing ran in between", function()
    M.add()
    local before = program.fingerprint()
    app:reloaded("m", { source = V2 })
    assert.is_true(undo "m")
    before:assert_unchanged()
  end)

  it("brings the generation back", function()
    assert.equal(2, app:reloaded("m", { source = V2 }).generation)
    undo "m"
    assert.equal(2, app:reloaded("m", { source = V2 }).generation)
    assert.equal(3, app:reloaded("m", { source = V2 }).generation)
  end)

  it("takes a first load back", function()
    app:write("fresh", "FRESH_GLOBAL = 1 return {}")
    app:reloaded "fresh"
    assert.is_true(undo "fresh")
    assert.is_nil(package.loaded.fresh)
    assert.is_nil(rawget(_G, "FRESH_GLOBAL"))
  end)

  it("takes back data that data = 'replace' had replaced", function()
    M.limit = 5
    app:reloaded("m", { source = V2, data = "replace" })
    assert.equal(2, M.limit)
    assert.is_true(undo "m")
    assert.equal(5, M.limit)
  end)

  it("says so when there is nothing to undo, and changes nothing", function()
    local before = program.fingerprint()
    local function assert_nothing(name)
      local ok, message = undo(name)
      assert.is_false(ok)
      assert.matches("module '" .. name .. "' cannot be undone: there was none", message, 1, true)
    end
    assert_nothing "m"
    assert_nothing "no.such.module"
    app:reload("m", { source = "error 'no'" })
    app:reload("m", { source = V2, dry_run = true })
    assert_nothing "m"
    before:assert_unchanged()
    app:reloaded("m", { source = V2 })
    undo "m"
    assert_nothing "m"
  end)

  it("does not undo a reload of a module that was forgotten and loaded anew since", function()
    app:reloaded("m", { source = V2 })
    package.loaded.m = nil
    local again = require "m"
    local before = program.fingerprint()
    assert.is_false((undo "m"))
    before:assert_unchanged()
    assert.equal(2, app:reloaded("m", { source = V2 }).generation)
    assert.is_function(again.more)
  end)

  it("does not undo an earlier reload when a later one failed", function()
    app:reloaded("m", { source = V2 })
    app:reload("m", { source = "error 'no'" })
    assert.is_true(undo "m")
    assert.is_nil(M.more)
  end)

  it("leaves older generations that the reload did not put anywhere", function()
    local function version(n)
      return ("local M = { data = {} } function M.f() return %d end return M"):format(n)
    end
    local N = app:module("n", version(1))
    local bus = app:module("bus", "return { list = {} }")
    N.data.saved, bus.list[1] = N.f, N.f
    app:update("n", version(2))
    local before = { N.data.saved(), bus.list[1]() }
    app:update("n", version(3))
    assert.is_true(undo "n")
    assert.equal(2, N.f())
    assert.same(before, { N.data.saved(), bus.list[1]() })
  end)

  it("takes back data under the keys of functions", function()
    local function version(n)
      return ([[
        local M, info = {}, {}
        function M.hit() return @ end
        info[M.hit] = "hits @"
        function M.help() return info[M.hit] end
        return M
      ]]):gsub("@", n)
    end
    local N = app:module("n", version(1))
    app:reloaded("n", { source = version(2), data = "replace" })
    assert.equal("hits 2", N.help())
    assert.is_true(undo "n")
    assert.equal("hits 1", N.help())
  end)

  it("leaves a function alone that the reload has put in the place of an older one", function()
    local function version(hit, miss)
      return ([[
        local M = {}
        local function hit() return %q end
        function M.hit() return hit() end
        function M.get() return hit end
        function M.miss() return %q end
        return M
      ]]):format(hit, miss)
    end
    local N = app:module("n", version("hit 1", "miss 1"))
    local first = N.get()
    app:update("n", version("hit 2", "miss 1"))
    local second = N.get()
    N.chosen = first
    app:update("n", version("hit 2", "miss 2"))
    assert.equal(second, N.chosen)
    assert.is_true(undo "n")
    assert.equal("miss 1", N.miss())
    assert.equal(first, N.chosen)
    assert.equal(second, N.get())
    assert.equal("hit 2", N.hit())
  end)

  describe("leaves what other modules have:", function()
    local function version(module, n)
      local text = ({
        lib = "return { by = function() return '@' end }",
        map = [[
          local by, Map = require("lib").by, {}
          function Map.get() return "@" .. by() end
          return Map
        ]],
        multi = [[
          local by, Multi = require("lib").by, {}
          for key, value in pairs(require "map") do Multi[key] = value end
          function Multi.own() return "@" .. by() end
          return Multi
        ]],
      })[module]
      return (text:gsub("@", n))
    end
    local all, map, multi = { "lib", "map", "multi" }, nil, nil
    local function state() return map.get() .. " " .. multi.own() .. " " .. multi.get() end
    before_each(function()
      local modules = {}
      for i, name in ipairs(all) do modules[i] = app:module(name, version(name, 1)) end
      map, multi = modules[2], modules[3]
      for _, name in ipairs { "lib", "map" } do app:write(name, version(name, 2)) end
      assert(app:reload { "lib", "map" })
      assert.equal("22 11 12", state())
      for _, name in ipairs(all) do app:write(name, version(name, 3)) end
      assert(app:reload(all))
      assert.equal("33 33 33", state())
    end)

    it("of a list of modules, which was reloaded in part before", function()
      assert.is_true(undo(all))
      assert.equal("22 11 12", state())
    end)

    it("of one module alone", function()
      assert.is_true(undo "multi")
      assert.equal("33 11 13", state())
      assert.is_true(undo "map")
      assert.equal("22 11 12", state())
    end)
  end)

  it("is refused while the module's hook runs", function()
    local source = V2:gsub("return M%s*$", "function M.__hotfix() coroutine.yield() end return M")
    local thread = coroutine.create(function() return app:reload("m", { source = source }) end)
    coroutine.resume(thread)
    local ok, message = undo "m"
    assert.is_false(ok)
    assert.matches("its hook (__hotfix) has not ended yet", message, 1, true)
    assert.is_true(select(2, coroutine.resume(thread)))
    assert.is_true(undo "m")
  end)

  it("is refused to a chunk that a reload runs", function()
    local source = "UNDONE = table.pack(require('hotreload').undo 'm') " .. V2
    app:reloaded("m", { source = source })
    local result = rawget(_G, "UNDONE")
    rawset(_G, "UNDONE", nil)
    assert.is_false(result[1])
    assert.matches("is running in a reload", result[2], 1, true)
  end)

  it("raises for a name that is no string", function()
    assert.has_error(function() undo() end,
      "bad argument #1 to 'undo' (string or table expected, got no value)")
    assert.has_error(function() undo { m = 1 } end,
      "bad argument #1 to 'undo' (a list of names expected)")
    for value, got in pairs { [0] = "0", ["1"] = "string", [1.5] = "1.5" } do
      assert.has_error(function() undo("m", value) end,
        "bad argument #2 to 'undo' (a number of reloads expected, got " .. got .. ")")
    end
  end)
end)
