-- R7.3: several steps back, several modules back, and the hook of what is undone.

local program = require "spec.support.program"

local function text(n)
  return ("local M, count = {}, 0 function M.f() count = count + 1 return %d, count end "
    .. "function M.only%d() end return M"):format(n, n)
end

describe("hotreload.undo of several reloads (R7.3)", function()
  local app, M, undo
  before_each(function()
    app = program.new()
    M = app:module("m", text(1))
    undo = app.hotreload.undo
    app.hotreload.configure { history = 3 }
  end)
  after_each(function()
    app.hotreload.configure { history = 1 }
    app:unload()
  end)

  local function generations(from, to)
    for n = from, to do app:update("m", text(n)) end
  end

  it("goes back step by step, as many as are configured", function()
    generations(2, 6)
    for n = 5, 3, -1 do
      assert.is_true(undo "m")
      assert.equal(n, (M.f()))
      assert.equal(n, app.hotreload.version "m".generation)
    end
    local ok, message = undo "m"
    assert.is_false(ok)
    assert.matches("there was none", message)
    assert.equal(4, select(2, M.f()))
  end)

  it("goes back several steps at once, and to what the program was", function()
    app:update("m", text(2))
    local before = program.fingerprint(M)
    generations(3, 5)
    assert.is_true(undo("m", 3))
    before:assert_unchanged()
    local undone = app.hotreload.version "m".undone
    assert.same({ 3, 4, 5 }, { undone[1].generation, undone[2].generation, undone[3].generation })
  end)

  it("says how many there are where there are fewer, and changes nothing", function()
    generations(2, 3)
    local before = program.fingerprint(M)
    local ok, message = undo("m", 3)
    assert.is_false(ok)
    assert.equal("the last 3 reloads of module 'm' cannot be undone: there are 2 on record; "
      .. "hotreload.configure { history = … } keeps more", message)
    before:assert_unchanged()
    assert.is_true(undo("m", 2))
    assert.equal(1, (M.f()))
  end)

  it("goes on from where it went back to", function()
    generations(2, 3)
    undo "m"
    app:update("m", text(7))
    assert.is_true(undo("m", 2))
    assert.equal(1, (M.f()))
  end)

  it("leaves alone what was changed since, whichever step it is of", function()
    generations(2, 4)
    local mine = function() return "mine" end
    M.only3 = mine
    assert.is_true(undo("m", 3))
    assert.equal(mine, M.only3)
    assert.is_nil(M.only2)
    assert.equal(1, (M.f()))
  end)

  it("keeps no old code beyond what is configured", function()
    app.hotreload.configure { history = 2 }
    local weak = setmetatable({}, { __mode = "v" })
    for n = 2, 5 do
      weak[n - 1] = M.f
      app:update("m", text(n))
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1] or weak[2])
    assert.is_function(weak[3])
    assert.is_function(weak[4])
  end)

  it("brings references in the whole VM back, through both steps", function()
    local held = { M.f }
    rawset(_G, "HELD", held)
    finally(function() rawset(_G, "HELD", nil) end)
    local first = M.f
    app:reloaded("m", { source = text(2), scope = "vm" })
    app:reloaded("m", { source = text(3), scope = "vm" })
    assert.equal(3, (held[1]()))
    assert.is_true(undo("m", 2))
    assert.equal(first, held[1])
  end)

  it("takes a list of modules back as one, the last reload first", function()
    local N = app:module("n", text(1))
    local before = program.fingerprint(M, N)
    app:write("m", text(2))
    app:write("n", text(2))
    assert(app.hotreload.reload { "m", "n" })
    assert.is_true(undo { "m", "n" })
    before:assert_unchanged()
    app:update("m", text(3))
    local ok, message = undo { "m", "n" }
    assert.is_false(ok)
    assert.matches("the last reload of module 'n' cannot be undone: there was none", message)
    assert.equal(3, (M.f()))
  end)

  it("checks what is configured", function()
    for _, wrong in ipairs { 0, -1, 1.5, "2", true } do
      assert.has_error(function() app.hotreload.configure { history = wrong } end)
    end
  end)
end)

describe("the hook of what is undone (R7.3)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", "return { unit = 'gold', price = 1 }")
  end)
  after_each(function() app:unload() end)

  local HOOK = [[
    local M = { unit = "gold", price = 1 }
    M.__hotfix_undo = true
    function M.__hotfix(self, report)
      self.seen = { report.undo, report.from.generation, report.to.generation }
      self.price = report.undo and self.price / 100 or self.price * 100
    end
    return M
  ]]

  local function on_undo(code)
    return (HOOK:gsub("self.seen =", "if report.undo then " .. code .. " end %0"))
  end

  it("is called with report.undo where the module says so", function()
    app:update("m", HOOK)
    assert.equal(100, M.price)
    assert.same({ nil, 1, 2 }, M.seen)
    assert.is_true(app.hotreload.undo "m")
    assert.equal(1, M.price)
    assert.same({ true, 2, 1 }, M.seen)
    assert.is_nil(M.__hotfix)
  end)

  it("is not called where it does not", function()
    app:update("m", (HOOK:gsub("M.__hotfix_undo = true", "")))
    app.hotreload.undo "m"
    assert.equal(100, M.price)
  end)

  it("cannot stop the undo: what it wrote is put back, and a message says so", function()
    app:update("m", on_undo "self.price = 0 error 'no'")
    local ok, message = app.hotreload.undo "m"
    assert.is_true(ok)
    assert.matches("^the reload of module 'm' is undone, but its hook failed: .*no", message)
    assert.equal(100, M.price)
    assert.is_nil(M.__hotfix)
  end)

  it("may yield, and no reload of the module begins meanwhile", function()
    app:update("m", on_undo "coroutine.yield()")
    local co = coroutine.create(app.hotreload.undo)
    coroutine.resume(co, "m")
    assert.matches("has not ended", select(2, app:reload "m"))
    assert.same({ true, true }, { coroutine.resume(co) })
    assert.equal(1, M.price)
    app:reloaded "m"
  end)
end)
