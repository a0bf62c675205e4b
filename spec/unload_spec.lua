-- R7.8: `__unload` of the module that runs, before its new code.

local program = require "spec.support.program"

local V1 = [[
  local M = { open = true, log = {} }
  local handle = { "socket" }
  function M.__unload(self, report)
    self.log[#self.log + 1] = "unload for " .. report.generation
    self.open = false
    if VERDICT then return VERDICT(self) end
    return handle
  end
  function M.version() return 1 end
  return M
]]
local V2 = [[
  local M = { open = true, log = {} }
  function M.__hotfix(self, report, kept)
    self.open, self.handle = true, kept
    if HOOK then HOOK() end
  end
  function M.version() return 2 end
  return M
]]

describe("__unload (R7.8)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    app:write("m", V2)
  end)
  after_each(function()
    rawset(_G, "VERDICT", nil)
    rawset(_G, "HOOK", nil)
    app:unload()
  end)

  local function verdict(f) rawset(_G, "VERDICT", f) end

  it("is called before the commit, and hands on to __hotfix", function()
    verdict(function(self) return { self.version() } end)
    app:reloaded "m"
    assert.same({ "unload for 2" }, M.log)
    assert.same({ 1 }, M.handle)
    assert.equal(2, M.version())
    assert.is_true(M.open)
  end)

  it("refuses the reload with false or a raise, and leaves nothing of what it wrote", function()
    for f, why in pairs {
      [function() return false end] = "its __unload returned false",
      [function() error "in a battle" end] = "its __unload raised: .*in a battle",
    } do
      verdict(f)
      local message = app:refused("m", nil, M)
      assert.matches("^module 'm' was not reloaded, nothing was changed: " .. why, message)
      assert.is_true(M.open)
    end
  end)

  it("is not called for a dry run, a plan, or a file that cannot be loaded", function()
    verdict(function() error "called" end)
    app:reloaded("m", { dry_run = true })
    app.hotreload.plan "m"
    app:write("m", "return {")
    assert.not_matches("called", (app:refused("m", nil, M)))
  end)

  it("leaves nothing of what it wrote when the reload fails after it", function()
    rawset(_G, "HOOK", function() error "hook" end)
    assert.matches("hook", (app:refused("m", nil, M)))
    assert.same({}, M.log)
    assert.is_true(M.open)
  end)

  it("may yield; no other reload begins meanwhile, and the plan is made anew", function()
    verdict(function() return coroutine.yield "draining" end)
    local thread = coroutine.create(function() return app.hotreload.reload "m" end)
    assert.same({ true, "draining" }, { coroutine.resume(thread) })
    assert.matches("has not ended", select(2, app:reload("m", { dry_run = true })))
    app:write("m", (V2:gsub("return 2", "return 3")))
    assert.is_true(select(2, coroutine.resume(thread, "done")))
    assert.equal(3, M.version())
    assert.equal("done", M.handle)
  end)

  it("lets the module reload when its coroutine is closed", function()
    verdict(function() coroutine.yield() end)
    local thread = coroutine.create(function() return app.hotreload.reload "m" end)
    coroutine.resume(thread)
    coroutine.close(thread)
    verdict(nil)
    app:reloaded "m"
    assert.equal(2, M.version())
  end)

  it("is called for each module of a list, and one can refuse all", function()
    local N = app:module("n", V1)
    app:write("n", V2)
    verdict(function(self) return self ~= N end)
    local before = program.fingerprint(M, N)
    assert.is_false((app.hotreload.reload { "m", "n" }))
    before:assert_unchanged()
    verdict(function() return "kept" end)
    assert.is_true((app.hotreload.reload { "m", "n" }))
    assert.equal("kept", N.handle)
  end)

  it("must be a function", function()
    M.__unload = {}
    local message = app:refused("m", { source = "local M = {}\nM.__unload = {} return M" }, M)
    assert.equal("module 'm' cannot be reloaded: its field __unload (line 2): "
      .. "function expected, got table", message)
  end)
end)

describe("what a module says of its reloads (R13.4)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", "return { x = 1, y = 1 }")
  end)
  after_each(function() app:unload() end)

  it("may be that it is never hot, with a reason", function()
    M.__reload = false
    assert.equal("module 'm' cannot be reloaded: it says that it is never hot (__reload); "
      .. "restart the program",
      (app:refused("m", nil, M)))
    M.__reload = "it owns the listening socket"
    assert.equal("module 'm' cannot be reloaded: it says that it is never hot: "
      .. "it owns the listening socket (__reload); restart the program",
      (app:refused("m", { data = "replace" }, M)))
    M.__reload = true
    app:reloaded "m"
  end)

  it("does not follow the file if it is too large, with a warning", function()
    app:module("k", "return { __reload = { data = 'keep' } }")
    local text = ("return { __reload = { data = 'merge', %s } }"):format(("1, "):rep(100))
    local report = app:update("k", text)
    assert.same({ data = "keep" }, package.loaded.k.__reload)
    assert.equal("k.__reload: more than 100 entries, which do not follow the file; give it fewer",
      table.concat(report.warnings))
  end)

  it("may be its defaults; the call's options win", function()
    M.__reload = { data = "replace" }
    app:write("m", "return { x = 2, y = 2, __reload = { data = 'replace' } }")
    app:reloaded("m", { data = "keep" })
    assert.equal(1, M.x)
    app:reloaded "m"
    assert.equal(2, M.x)
  end)

  it("counts for each module of a list by itself", function()
    local N = app:module("n", "return { x = 1, __reload = { data = 'replace' } }")
    app:write("m", "return { x = 2 }")
    app:write("n", "return { x = 2, __reload = { data = 'replace' } }")
    assert.is_true((app.hotreload.reload { "m", "n" }))
    assert.same({ 1, 2 }, { M.x, N.x })
  end)

  it("may be the scope", function()
    local H = app:module("h", "return { f = function() return 1 end, __reload = { scope = 'vm' } }")
    rawset(_G, "HELD", { H.f })
    app:update("h", "return { f = function() return 2 end, __reload = { scope = 'vm' } }")
    local held = rawget(_G, "HELD")[1]()
    rawset(_G, "HELD", nil)
    assert.equal(2, held)
  end)

  it("follows the file, as code does", function()
    app:update("m", "return { __reload = { data = 'replace', constants = 'keep' } }")
    assert.same({ data = "replace", constants = "keep" }, M.__reload)
    app:update("m", "return { __reload = { data = 'keep' } }")
    assert.same({ data = "keep" }, M.__reload)
    app:update("m", "return {}")
    assert.is_nil(M.__reload)
    app:update("m", "return { __reload = 'never' }")
    assert.equal("never", M.__reload)
  end)

  it("is refused where it is wrong, with the line", function()
    for wrong, why in pairs {
      [7] = "table, string or boolean expected, got number",
      [{ data = "some" }] = "option 'data': 'keep', 'merge', 'replace' expected, got 'some'",
      [{ source = "x" }] = "option 'source': no option for a module",
      [{ "vm" }] = "option '1': no option for a module",
    } do
      M.__reload = wrong
      app:write("m", "return {\n  -- __reload\n  __reload = 1\n}")
      local message = app:refused("m", nil, M)
      assert.equal("module 'm' cannot be reloaded: its field __reload (line 3): " .. why, message)
    end
  end)
end)
