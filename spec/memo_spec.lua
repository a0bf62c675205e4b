-- R7.7: what a hook wrote into its module's own tables and cells before it raised is put back.

local program = require "spec.support.program"

local V1 = [[
  local M = { limit = 1, list = { 1, 2 }, deep = { er = { x = 1 } } }
  local count = 0
  function M.count() return count end
  return M
]]
local function v2(hook)
  return (V1:gsub("return M%s*$", "function M.__hotfix(self, report) " .. hook .. " end return M"))
end

describe("a hook that raises (R7.7)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
  end)
  after_each(function() app:unload() end)

  it("leaves the module's tables and cells as they were", function()
    app:write("m", v2 [[
      count, self.limit, self.new, self.list[1], self.list[3] = 7, 2, {}, nil, 3
      self.deep.er.x = 2
      setmetatable(self.deep, { __index = self })
      error "on purpose"
    ]])
    local message = app:refused("m", nil, M)
    assert.matches("the hook of module 'm' failed, the reload was undone: .*on purpose", message)
    assert.equal(0, M.count())
  end)

  it("leaves those of a hook before it in the list as they were as well", function()
    local N = app:module("n", V1)
    app:write("m", v2 "count, self.limit = 5, 5")
    app:write("n", v2 "error 'on purpose'")
    local before = program.fingerprint(M, N)
    assert.is_false((app.hotreload.reload { "m", "n" }))
    before:assert_unchanged()
  end)

  it("may have written to other modules' tables: that stays", function()
    local N = app:module("n", "return { x = 1 }")
    app:write("m", v2 "require 'n'.x = 2 error 'on purpose'")
    app:reload "m"
    assert.equal(2, N.x)
  end)

  it("says so where the module has too much data to be remembered", function()
    for i = 1, 20000 do M.list[i] = i end
    app:write("m", v2 "self.list[1], self.limit = 'gone', 2 error 'on purpose'")
    local ok, message = app:reload "m"
    assert.is_false(ok)
    assert.equal(1, M.limit)
    assert.equal("gone", M.list[1])
    assert.matches("the module has more than 10000 entries", message)
  end)

  it("is remembered at a cost that the data does not change", function()
    local big = {}
    for i = 1, 300000 do big[i] = i end
    M.big = big
    app:write("m", v2 "")
    local start = os.clock()
    app:reloaded "m"
    assert.is_true(os.clock() - start < 1)
  end)
end)
