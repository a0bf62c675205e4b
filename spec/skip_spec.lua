-- Tables that the program leaves out of every walk: configure { skip = … } (R2.11).

local program = require "spec.support.program"
local hotreload = require "hotreload"

describe("a table that is left out", function()
  local app, old, skip
  before_each(function()
    app = program.new()
    app:module("m", "return { f = function() return 1 end }")
    old = {}
    skip = {}
    hotreload.configure { skip = skip }
    _G.place = old
    old.f = package.loaded.m.f
  end)
  after_each(function()
    hotreload.configure { skip = {} }
    _G.place = nil
    app:unload()
  end)

  local function update(options)
    return app:update("m", "return { f = function() return 2 end }", options)
  end

  it("is not walked, as soon as it is on the list", function()
    update { scope = "vm" }
    assert.equal(2, (old.f()))
    skip[1] = old
    app:update("m", "return { f = function() return 3 end }", { scope = "vm" })
    assert.equal(2, (old.f()))
    assert.equal(3, (package.loaded.m.f()))
  end)

  it("is left out by stale and undo as well", function()
    skip[1] = old
    update { scope = "vm" }
    assert.same({}, hotreload.stale "m")
    assert.is_true(hotreload.undo "m")
    assert.equal(1, (old.f()))
    update()
    assert.same({}, hotreload.stale "m")
    skip[1] = nil
    assert.equal(1, #hotreload.stale "m")
  end)

  it("is not put back, neither what the chunk wrote nor its calls", function()
    local bus = app:module("bus", "local list = {} return { list = list, "
      .. "add = function(x) list[#list + 1] = x end }")
    app:write("m", "place.x = 1 require 'bus'.add(1) error 'stop'")
    assert.is_false((app:reload "m"))
    assert.same({ nil, 0 }, { old.x, #bus.list })
    skip[1], skip[2] = old, bus.list
    assert.is_false((app:reload "m"))
    assert.same({ 1, 1 }, { old.x, #bus.list })
  end)

  it("costs nothing, however much it holds", function()
    local bus = app:module("bus", "local big = {} for i = 1, 300000 do big[i] = { i } end "
      .. "return { big = big, add = function(x) big[0] = x end }")
    app:write("m", "require 'bus'.add(1) return { f = function() return 2 end }")
    local report = app:reloaded("m", { dry_run = true })
    assert.matches("m.lua:1", report.warnings[1])
    skip[1] = bus.big
    report = app:reloaded("m", { dry_run = true })
    assert.same({}, report.warnings)
  end)

  it("may be on a weak list, and is kept alive by none", function()
    hotreload.configure { skip = setmetatable({ {}, old }, { __mode = "v" }) }
    collectgarbage()
    update { scope = "vm" }
    assert.equal(1, (old.f()))
  end)

  it("is a table", function()
    for value, expected in pairs {
      [1] = "table expected, got number", x = "table expected, got string",
      [{ 1 }] = "a list of tables expected",
    } do
      local ok, message = pcall(hotreload.configure, { skip = value })
      assert.is_false(ok)
      assert.truthy(message:find("option 'skip': " .. expected, 1, true))
    end
  end)
end)
