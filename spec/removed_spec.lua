-- R5.2: `removed = "drop"`: functions that the file lacks go.

local program = require "spec.support.program"

local V1 = [[
  local M = { data = 1, handlers = { login = function() end, quit = function() end } }
  function M.f() return 1 end
  function M.old() return "old" end
  M.list = { function() end, function() end }
  return M
]]
local V2 = [[
  local M = { data = 1, handlers = { login = function() end } }
  function M.f() return 2 end
  M.list = { function() end }
  return M
]]

describe("removed = 'drop' (R5.2)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
  end)
  after_each(function() app:unload() end)

  it("takes out what the file lacks, and the report lists it", function()
    app:write("m", V2)
    local report = app:reloaded("m", { removed = "drop", report = "full" })
    assert.is_nil(M.old)
    assert.is_nil(M.handlers.quit)
    assert.equal(2, report.functions.dropped)
    assert.same({ "m.handlers.quit", "m.old" }, report.paths.functions.dropped)
    assert.matches("1 function changed, 2 dropped, ", tostring(report))
    assert.is_function(M.list[2])
    assert.same({ "m.list[2]" }, report.paths.functions.removed)
    assert.equal(1, M.data)
  end)

  it("keeps it otherwise, and in a dry run; plan tells", function()
    app:write("m", V2)
    local before = program.fingerprint(M)
    app:reloaded("m", { removed = "drop", dry_run = true })
    assert.matches("functions dropped:\n    %- m.handlers.quit\n    %- m.old",
      app.hotreload.plan("m", { removed = "drop" }))
    before:assert_unchanged()
    local report = app:reloaded "m"
    assert.equal(0, report.functions.dropped)
    assert.equal("old", M.old())
  end)

  it("is undone", function()
    app:write("m", V2)
    local old = M.old
    app:reloaded("m", { removed = "drop" })
    app.hotreload.undo "m"
    assert.equal(old, M.old)
  end)

  it("leaves what the program has put there", function()
    local patch = function() return "patched" end
    M.old = patch
    app:write("m", V2)
    app:reloaded("m", { removed = "drop" })
    assert.equal(patch, M.old)
  end)

  it("leaves another name that the program has given", function()
    app:update("m", V1) -- from now on it is on record what the load left
    M.mine = M.old
    app:write("m", V2)
    app:reloaded("m", { removed = "drop" })
    assert.is_nil(M.old)
    assert.equal("old", M.mine())
  end)
end)

describe("A function that the file has no longer (R5.2)", function()
  it("stays itself where another function stands on its lines by now, and only that is unreachable",
    function()
      local app = program.new()
      local M = app:module("m", [[
        local M = { inner = {} }
        M.inner.f = function()
          return "f"
        end
        M.old = function()
          return "old"
        end
        return M
      ]])
      local f, old = M.inner.f, M.old
      -- The file's `f` is inside of a wrapper alone.
      M.inner.f = assert(load("local f = ... return function() return f() end", "@spy.lua"))(f)
      app:write("m", [[
        local M = { inner = {} }
        local function new() -- nobody has it
          return "new"
        end
        M.inner.f = function()
          return "f"
        end
        return M
      ]])
      for _ = 1, 3 do
        app:reloaded "m"
        assert.equal(old, M.old)
        assert.same({ "f", "old" }, { M.inner.f(), M.old() })
      end
      app:unload()
    end)
end)
