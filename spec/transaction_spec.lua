-- R7.4: several modules are one transaction.

local program = require "spec.support.program"

describe("gg.reload of a list (R7.4)", function()
  local app, A, B
  before_each(function()
    app = program.new()
    A = app:module("a", "local M, n = {}, 0 function M.f() n = n + 1 return 'a1', n end return M")
    B = app:module("b", "local M, f = {}, require('a').f function M.g() return f() end return M")
  end)
  after_each(function() app:unload() end)

  local A2 = "local M, n = {}, 0 function M.f() n = n + 1 return 'a2', n end \z
    function M.new() return 'new' end return M"
  local B2 = "local M, new = {}, require('a').new function M.g() return new() end return M"

  it("reloads all of them, each on what those before it brought", function()
    A.f()
    app:write("a", A2)
    app:write("b", B2)
    local ok, reports = app.hotreload.reload { "a", "b" }
    assert.is_true(ok)
    assert.equal("a", reports[1].module)
    assert.equal("b", reports[2].module)
    assert.is_nil(reports[3])
    assert.equal(A, package.loaded.a)
    assert.equal(B, package.loaded.b)
    local text, n = A.f()
    assert.equal("a2", text)
    assert.equal(2, n)
    assert.equal("new", B.g())
  end)

  it("shows the others the running object with its identity", function()
    app:write("a", A2)
    app:write("b", "local a = require 'a' return { g = function() return a end }")
    assert.is_true((app.hotreload.reload { "a", "b" }))
    assert.equal(A, B.g())
  end)

  it("reloads none when a later one's file is broken, and names it", function()
    app:write("a", A2)
    for text, pattern in pairs {
      ["return {"] = "error loading module 'b'",
      ["error 'oh'"] = "error running module 'b'",
      ["return 7"] = "module 'b' cannot be reloaded: it returns a number",
    } do
      app:write("b", text)
      local before = program.fingerprint()
      local ok, message, rest = app.hotreload.reload { "a", "b" }
      assert.is_false(ok)
      assert.matches(pattern, message, 1, true)
      assert.is_nil(rest)
      before:assert_unchanged()
    end
    app:write("b", B2)
    assert.is_true((app.hotreload.reload { "a", "b" }))
    assert.equal("new", B.g())
  end)

  it("looks for all files before any chunk runs", function()
    app:write("a", "RAN = true " .. A2)
    local ok, message = app.hotreload.reload { "a", "no.such.module" }
    assert.is_false(ok)
    assert.matches("module 'no.such.module' not found", message, 1, true)
    assert.is_nil(rawget(_G, "RAN"))
  end)

  it("lists the conflicts of all of them in one message, with all reports", function()
    app:write("a", "return { f = 1 }")
    app:write("b", "return { g = {} }")
    local before = program.fingerprint()
    local ok, message, reports = app.hotreload.reload { "a", "b" }
    assert.is_false(ok)
    assert.matches("modules 'a', 'b' were not reloaded, nothing was changed: 2 conflict(s)",
      message, 1, true)
    assert.matches("a.f: function while it runs, number 1 in the file", message, 1, true)
    assert.matches("b.g: function while it runs, table of 0 entries in the file", message, 1, true)
    assert.equal("a.f", reports[1].conflicts[1].path)
    assert.equal("b.g", reports[2].conflicts[1].path)
    before:assert_unchanged()
  end)

  it("undoes the first one when only the second has conflicts", function()
    app:write("a", A2)
    app:write("b", "return { g = 1 }")
    local before = program.fingerprint()
    local ok, message = app.hotreload.reload { "a", "b" }
    assert.is_false(ok)
    assert.matches("b.g: function", message, 1, true)
    assert.not_matches("a%.f", message)
    before:assert_unchanged()
  end)

  it("runs the hooks when all are committed, in their order", function()
    app:write("a",
      A2:gsub("return M$", "function M.__hotfix() LOG = { require('b').g() } end return M"))
    app:write("b", B2:gsub("return M$", "function M.__hotfix() LOG[2] = 'b' end return M"))
    local ok = app.hotreload.reload { "a", "b" }
    local log = rawget(_G, "LOG")
    rawset(_G, "LOG", nil)
    assert.is_true(ok)
    assert.same({ "new", "b" }, log)
  end)

  it("undoes all of them when one hook raises", function()
    app:write("a", A2)
    app:write("b", B2:gsub("return M$", "function M.__hotfix() error 'hook' end return M"))
    local before = program.fingerprint()
    local ok, message = app.hotreload.reload { "a", "b" }
    assert.is_false(ok)
    assert.matches("the hook of module 'b' failed, the reload was undone", message, 1, true)
    before:assert_unchanged()
  end)

  it("shares a new dependency between them, and forgets it when the reload fails", function()
    app:write("dep", "DEPS = (DEPS or 0) + 1 return {}")
    app:write("a", "local d = require 'dep' " .. A2:gsub("return M$", "M.dep = d return M"))
    app:write("b", "local d = require 'dep' error 'no'")
    local before = program.fingerprint()
    assert.is_false((app.hotreload.reload { "a", "b" }))
    before:assert_unchanged()
    app:write("b", "local d = require 'dep' return { g = function() return d end }")
    assert.is_true((app.hotreload.reload { "a", "b" }))
    local runs = rawget(_G, "DEPS")
    rawset(_G, "DEPS", nil)
    assert.equal(1, runs)
    assert.equal(A.dep, B.g())
    assert.equal(package.loaded.dep, A.dep)
    package.loaded.dep = nil
  end)

  it("loads modules that are not loaded yet, in the same transaction", function()
    app:write("fresh", "return { a = require 'a' }")
    app:write("a", A2)
    local ok, reports = app.hotreload.reload { "a", "fresh" }
    assert.is_true(ok)
    assert.equal(1, reports[2].generation)
    assert.equal(A, package.loaded.fresh.a)
    app:write("b", "error 'no'")
    package.loaded.fresh = nil
    assert.is_false((app.hotreload.reload { "fresh", "b" }))
    assert.is_nil(package.loaded.fresh)
  end)

  it("changes nothing in a dry run, and plans each on those before it", function()
    app:write("a", A2)
    app:write("b", B2)
    local before = program.fingerprint()
    local ok, reports = app.hotreload.reload({ "a", "b" }, { dry_run = true })
    assert.is_true(ok)
    assert.is_true(reports[1].dry_run)
    assert.same({ "b.g" }, reports[2].paths.functions.replaced)
    before:assert_unchanged()
  end)

  it("is undone module by module", function()
    app:write("a", A2)
    app:write("b", B2)
    app.hotreload.reload { "a", "b" }
    assert.is_true(app.hotreload.undo "a")
    assert.equal("a1", (A.f()))
    assert.equal("new", B.g())
    assert.is_true(app.hotreload.undo "b")
    assert.equal("a1", (B.g()))
  end)

  it("takes a name that is given twice once", function()
    local ok, reports = app.hotreload.reload { "a", "a" }
    assert.is_true(ok)
    assert.equal(1, #reports)
    assert.equal(2, reports[1].generation)
  end)

  it("takes each module's own mark in gg.safe_reloads", function()
    A.x = nil
    app:write("a", A2:gsub("return M$", "M.x = 2 return M"))
    app.hotreload.reload "a"
    A.x = 5
    rawget(_G, "gg").safe_reloads.a = true
    app.hotreload.reload { "a", "b" }
    rawget(_G, "gg").safe_reloads.a = nil
    assert.equal(2, A.x)
  end)
end)
