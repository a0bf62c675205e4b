-- R12.7: the modules that require another one, and reloading them with it.

local program = require "spec.support.program"
local watch = require "hotreload.watch"

local PRICES = "local units = require 'units' "
  .. "return { sword = 3 * units.gold, f = function() end }"

describe("dependents (R12.7)", function()
  local app, modules
  before_each(function()
    app = program.new()
    app:write("units", "return { gold = 100, only = function() end }")
    app:write("prices", PRICES)
    app:write("shop", "local prices = require 'prices' "
      .. "return { offer = prices.sword + 1, __reload = { data = 'replace' }, f = function() end }")
    app:write("other", "return { f = function() end }")
    modules = {}
    for _, name in ipairs { "shop", "other", "prices", "units" } do
      modules[name] = require(name)
    end
  end)
  after_each(function() app:unload() end)

  it("are listed, each behind what it requires", function()
    assert.same({ "prices", "shop" }, app.hotreload.dependents "units")
    assert.same({ "shop" }, app.hotreload.dependents "prices")
    assert.same({}, app.hotreload.dependents "shop")
    assert.same({}, app.hotreload.dependents "no.such.module")
    assert.has_error(function() app.hotreload.dependents(1) end,
      "bad argument #1 to 'dependents' (string expected, got number)")
  end)

  it("are those, too, whose load has loaded it under a name that is computed", function()
    app:write("base", "return { v = 1 }")
    app:write("broken", "require('ba' .. 'se') error 'boom'")
    app:write("user", "local name = 'base' return { base = require(name) }")
    app:write("late", "local name = 'base' return { get = function() return require(name) end }")
    assert.is_false(pcall(require, "broken"))
    package.loaded.base = nil
    app:load "late"
    app:load "user"
    assert.same({ "user" }, app.hotreload.dependents "base")
    assert.same({ "base" }, app.hotreload.requires "user")
    package.loaded.base.v = 2
    local ok, reports = app.hotreload.reload("base", { dependents = true })
    assert.is_true(ok, reports)
    assert.equal(2, #reports)
  end)

  it("are reloaded with it, so that what they computed from it is computed again", function()
    app:write("units", "return { gold = 10, only = function() end }")
    local ok, reports = app.hotreload.reload("units", { dependents = true, data = "replace" })
    assert.is_true(ok, reports)
    local names = {}
    for i, report in ipairs(reports) do names[i] = report.module end
    assert.same({ "units", "prices", "shop" }, names)
    assert.equal(30, modules.prices.sword)
    assert.equal(31, modules.shop.offer)
  end)

  it("are one transaction", function()
    app:write("units", "return { gold = 10, only = function() end }")
    app:write("shop", "require 'prices' error 'shop is closed'")
    local before = program.fingerprint()
    local ok, message = app.hotreload.reload("units", { dependents = true, data = "replace" })
    assert.is_false(ok)
    assert.matches("shop is closed", message)
    before:assert_unchanged()
    assert.is_false((app.hotreload.undo { "units", "prices", "shop" }))
  end)

  it("go back together", function()
    app:write("units", "return { gold = 10, only = function() end }")
    assert(app.hotreload.reload("units", { dependents = true, data = "replace" }))
    assert.is_true(app.hotreload.undo { "units", "prices", "shop" })
    assert.equal(300, modules.prices.sword)
    assert.equal(301, modules.shop.offer)
  end)

  it("may be circular", function()
    app:write("a", "local M = {} package.loaded.a = M local b = require 'b' "
      .. "function M.f() return b end return M")
    app:write("b", "local a = require 'a' return { f = function() return a end }")
    require "a"
    assert.same({ "b" }, app.hotreload.dependents "a")
    assert.same({ "a" }, app.hotreload.dependents "b")
    local ok, reports = app.hotreload.reload("b", { dependents = true })
    assert.is_true(ok, reports)
    assert.equal(2, #reports)
  end)

  it("are shown by plan as well", function()
    app:write("units", "return { gold = 10, only = function() return 1 end }")
    local text = app.hotreload.plan("units", { dependents = true, data = "replace" })
    assert.matches("^would reload units: .*~ units.only.*\nwould reload prices: .*~ prices.sword",
      text)
    assert.matches("\nwould reload shop: ", text)
  end)

  it("are reloaded by a watcher that has the option, once each", function()
    local reloaded = {}
    local watcher = watch.new {
      interval = 0, settle = 0, filter = { "^units$", "^prices$", "^shop$" },
      options = { dependents = true, data = "replace" },
      on_reload = function(name) reloaded[#reloaded + 1] = name end,
    }
    app:write("units", "return { gold = 10, only = function() end }")
    app:write("prices", (PRICES:gsub("3", "4")))
    assert.same({ 3, 0 }, { watcher:check() })
    assert.same({ "units", "prices", "shop" }, reloaded)
    assert.equal(41, modules.shop.offer)
    assert.same({ 0, 0 }, { watcher:check() })
  end)
end)

describe("a watcher (R12.5)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("tries again a module whose missing dependency appears", function()
    local M = app:module("m", "return { f = function() return 1 end }")
    local told = {}
    local watcher = watch.new {
      interval = 0, settle = 0, filter = "^m$",
      on_error = function(_, message) told[#told + 1] = message end,
    }
    app:write("m", "local dep = require 'late.dep' return { f = function() return dep.x end }")
    assert.same({ 0, 1 }, { watcher:check() })
    assert.same({ 0, 1 }, { watcher:check() })
    assert.equal(1, #told)
    app:write("late.dep", "return { x = 2 }")
    assert.same({ 1, 0 }, { watcher:check() })
    assert.equal(2, M.f())
    package.loaded["late.dep"] = nil
  end)
end)
