-- R11: what still runs old code.

local program = require "spec.support.program"

local V1 = [[
  local M, count = {}, 0
  function M.f() count = count + 1 return "v1", count end
  function M.new() return function() return "v1", count end end
  return M
]]
local V2, V3 = V1:gsub("v1", "v2"), V1:gsub("v1", "v3")

describe("hotreload.stale (R11)", function()
  local app, M, stale, name
  local number = 0
  before_each(function()
    app = program.new()
    number = number + 1
    name = "stale" .. number
    M = app:module(name, V1)
    stale = app.hotreload.stale
  end)
  after_each(function()
    rawset(_G, "SPEC_HELD", nil)
    app:unload()
  end)

  local function held(value) rawset(_G, "SPEC_HELD", value) end

  it("is empty for a module that was not reloaded, and for one of which \z
    nothing old is left", function()
    assert.same({}, stale(name))
    app:reloaded(name, { source = V2, scope = "vm" })
    assert.same({}, stale(name))
  end)

  it("lists functions that others hold, with module, generation, name and line", function()
    held { cb = M.f, made = M.new() }
    app:reloaded(name, { source = V2 })
    assert.same({
      { module = name, generation = 1, name = "cb", line = 2 },
      { module = name, generation = 1, name = "made", line = 3 },
    }, stale(name))
  end)

  it("tells the last generations apart", function()
    held { one = M.f }
    app:reloaded(name, { source = V2 })
    rawget(_G, "SPEC_HELD").two = M.f
    app:reloaded(name, { source = V3 })
    assert.same({
      { module = name, generation = 1, name = "one", line = 2 },
      { module = name, generation = 2, name = "two", line = 2 },
    }, stale(name))
    app:reloaded(name, { source = V1:gsub("v1", "v4") })
    local list = stale(name)
    assert.is_nil(list[1].generation)
    assert.is_nil(list[2].generation)
  end)

  it("says where each is referenced from, with paths = true", function()
    local f = M.f
    held { list = { { cb = f } }, [f] = true, closure = function() return f end }
    f = nil -- luacheck: ignore
    held { list = { { cb = M.f } },
      closure = (function(g) return function() return g end end)(M.f) }
    app:reloaded(name, { source = V2 })
    local entry = stale(name, { paths = true })[1]
    assert.same({ "_G.SPEC_HELD.closure@g", "_G.SPEC_HELD.list[1].cb" }, entry.paths)
  end)

  it("does not count a function whose code is that of the file, nor what undo keeps", function()
    held { same = M.f }
    app:reloaded(name)
    assert.same({}, stale(name))
    held(nil)
    app:reloaded(name, { source = V2 })
    collectgarbage()
    assert.same({}, stale(name))
  end)

  describe("of what coroutines are in the midst of", function()
    local LOOP = [[
      local M = {}
      function M.loop()
        while true do
          coroutine.yield "v1"
        end
      end
      function M.fail() coroutine.yield() error "v1" end
      function M.ask(reload)
        local list = reload "v1"
        return list
      end
      return M
    ]]
    local loops, L
    before_each(function()
      loops = name .. ".loops"
      L = app:module(loops, LOOP)
    end)

    local function update()
      app:reloaded(loops, { source = LOOP:gsub("v1", "v2"), scope = "vm" })
    end

    it("lists the function of a suspended coroutine, and says where it is", function()
      local co = coroutine.create(L.loop)
      coroutine.resume(co)
      held { co }
      update()
      assert.same({ { module = loops, generation = 1, line = 2, running = true } }, stale(loops))
      local paths = stale(loops, { paths = true })[1].paths
      assert.equal(1, #paths)
      assert.matches("^coroutine _G.SPEC_HELD%[1%] is suspended in .*loops%.lua:4$", paths[1])
    end)

    it("lists it where a function of C calls it", function()
      held(coroutine.wrap(function() pcall(L.loop) end))
      rawget(_G, "SPEC_HELD")()
      update()
      assert.equal(1, #stale(loops))
    end)

    it("lists the function that asks", function()
      local list = L.ask(function()
        update()
        return stale(loops, { paths = true })
      end)
      assert.equal(1, #list)
      assert.same({ 8, 1 }, { list[1].line, #list[1].paths })
      assert.matches("^the main coroutine is running in .*loops%.lua:9$", list[1].paths[1])
    end)

    it("leaves out what will not go on: an ended coroutine, and one that an error ended", function()
      local co = coroutine.create(L.fail)
      coroutine.resume(co)
      local closed = coroutine.create(L.loop)
      coroutine.resume(closed)
      held { co, closed }
      update()
      assert.equal(2, #stale(loops))
      coroutine.resume(co)
      coroutine.close(closed)
      assert.same({}, stale(loops))
    end)
  end)

  it("keeps nothing alive", function()
    local weak = setmetatable({ M.f }, { __mode = "v" })
    held(setmetatable({ weak[1] }, { __mode = "v" }))
    app:reloaded(name, { source = V2 })
    local list = stale(name)
    assert.is_table(list)
    app:reloaded(name, { source = V3 })
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.is_table(list)
  end)

  it("follows an undo", function()
    app:reloaded(name, { source = V2 })
    held { new = M.f }
    app.hotreload.undo(name)
    assert.equal("new", stale(name)[1].name)
    app:reloaded(name, { source = V3 })
    assert.equal("new", stale(name)[1].name)
  end)

  it("lists what an undone load has left, behind the first reload as well", function()
    app:reloaded(name, { source = V2:gsub("return M", "function M.more() end return M", 1) })
    held { M.f, M.more }
    assert.is_true(app.hotreload.undo(name))
    assert.same({
      { module = name, line = 2 },
      { module = name, line = 4 },
    }, stale(name))
  end)

  it("lists all modules without a name", function()
    held { cb = M.f }
    app:reloaded(name, { source = V2 })
    local found
    for _, entry in ipairs(stale()) do found = found or entry.module == name end
    assert.is_true(found)
  end)

  it("changes nothing", function()
    held { cb = M.f }
    app:reloaded(name, { source = V2 })
    local before = program.fingerprint()
    stale(name, { paths = true })
    before:assert_unchanged()
  end)

  it("returns nil and a message for a module that is not loaded, \z
    and raises for wrong arguments", function()
    local list, message = stale "no.such.module"
    assert.is_nil(list)
    assert.matches("module 'no.such.module' is not loaded", message, 1, true)
    for _, arguments in ipairs { { 1 }, { name, 1 }, { name, { path = true } },
      { name, { paths = 1 } } } do
      assert.is_false((pcall(stale, table.unpack(arguments))))
    end
  end)
end)
