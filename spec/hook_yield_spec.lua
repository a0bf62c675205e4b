-- R7.2, R7.5: a hook may yield; while it has not ended, its module is not reloaded again.

local program = require "spec.support.program"

local V1 = [[
  local M, count = {}, 0
  function M.bump() count = count + 1 return count end
  function M.name() return "v1" end
  return M
]]
local function v2(with)
  return (V1:gsub("v1", "v2"):gsub("return M%s*$", with .. "\nreturn M"))
end

local YIELDS =
  v2 "function M.__hotfix(A1, report) answer = coroutine.yield('from the hook', A1, report) end"

describe("a hook that yields (R7.2)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.bump()
    app:module("other", V1)
  end)
  after_each(function() app:unload() end)

  local function start()
    local thread = coroutine.create(function() return app.hotreload.reload "m" end)
    return thread, table.pack(coroutine.resume(thread))
  end

  it("yields through gg.reload, the reload committed, and is resumed where it stopped", function()
    app:write("m", YIELDS)
    local thread, first = start()
    assert.same({ true, "from the hook" }, { first[1], first[2] })
    assert.equal(M, first[3])
    assert.equal("v2", M.name())
    local result = table.pack(coroutine.resume(thread, "the answer"))
    assert.equal(3, result.n)
    assert.same({ true, true }, { result[1], result[2] })
    assert.equal(first[4], result[3])
    assert.equal("the answer", _G.answer)
    assert.equal(2, M.bump())
    assert.equal("dead", coroutine.status(thread))
  end)

  it("may yield many times, with data in between", function()
    app:write("m",
      v2 "function M.__hotfix() for i = 1, 100 do assert(coroutine.yield(i) == -i) end end")
    local thread, result = start()
    for i = 1, 100 do
      assert.same({ true, i }, { result[1], result[2] })
      result = table.pack(coroutine.resume(thread, -i))
    end
    assert.is_true(result[2])
  end)

  it("yields as a global hook, the global put back before anybody else runs", function()
    app:write("m", v2 "function __hotfix() coroutine.yield 'from the hook' end")
    local thread, result = start()
    assert.equal("from the hook", result[2])
    assert.is_nil(rawget(_G, "__hotfix"))
    assert.is_true(select(2, coroutine.resume(thread)))
  end)

  it("is undone when it raises after it yielded", function()
    app:write("dep", "return {}")
    app:write("m", v2 [[
      require "dep"
      function M.added() end
      function M.__hotfix() coroutine.yield() error "the hook raises" end
    ]])
    local before = program.fingerprint()
    local thread, first = start()
    assert.is_true(first[1])
    assert.equal("v2", M.name())
    local _, ok, message = coroutine.resume(thread)
    assert.is_false(ok)
    assert.matches("the hook raises", message)
    before:assert_unchanged()
    app:update("m", v2 "")
    assert.equal(2, M.bump())
  end)

  it("keeps what changed meanwhile when it raises after it yielded", function()
    app:write("m", v2 "function M.__hotfix() coroutine.yield() error 'the hook raises' end")
    local thread = start()
    M.bump()
    M.extra = "set meanwhile"
    coroutine.resume(thread)
    assert.equal("v1", M.name())
    assert.equal("set meanwhile", M.extra)
    assert.equal(3, M.bump())
  end)

  it("is refused and undone where nothing can be yielded to", function()
    app:write("m", YIELDS)
    local out, code, err = app:subprocess [[
      require "hotreload"
      package.preload.n = load "return { name = function() return 'v1' end }"
      local n = require "n"
      package.preload.n =
        load "return { name = function() return 'v2' end, __hotfix = coroutine.yield }"
      local ok, message = gg.reload "n"
      print(ok, message:match "yield", n.name(), rawget(n, "__hotfix"))
    ]]
    assert.equal(0, code, err)
    assert.equal("false\tyield\tv1\tnil\n", out)
  end)

  describe("while it has not ended (R7.5)", function()
    local thread
    before_each(function()
      app:write("m", YIELDS)
      thread = start()
      app:write("m", v2 "function M.name() return 'v3' end")
    end)
    after_each(function()
      if thread then coroutine.close(thread) end
    end)

    it("has its module refused, and every other module allowed", function()
      assert.matches("hook", (app:refused "m"))
      app:update("other", v2 "")
      assert.equal("v2", package.loaded.other.name())
      assert.matches("hook", (app:refused "m"))
    end)

    it("lets the module reload when it has ended", function()
      coroutine.resume(thread)
      app:reloaded "m"
      assert.equal("v3", M.name())
      assert.equal(2, M.bump())
    end)

    it("is undone when its coroutine is closed, and lets the module reload", function()
      assert(coroutine.close(thread))
      assert.equal("v1", M.name())
      app:reloaded "m"
      assert.equal("v3", M.name())
      assert.equal(2, M.bump())
    end)

    it("lets the module reload when its coroutine was collected", function()
      thread = nil
      collectgarbage()
      collectgarbage()
      app:reloaded "m"
      assert.equal("v3", M.name())
      assert.equal(2, M.bump())
    end)
  end)

  it("does not keep its coroutine alive", function()
    app:write("m", YIELDS)
    local weak = setmetatable({ (start()) }, { __mode = "v" })
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("is refused in a dry run of the same module, too, and undisturbed by it", function()
    app:write("m", YIELDS)
    local thread = start()
    app:write("m", v2 "")
    assert.is_false((app:reload("m", { dry_run = true })))
    assert.is_true(select(2, coroutine.resume(thread)))
    app:reloaded("m", { dry_run = true })
    app:reloaded "m"
  end)
end)
