-- What runs (R13): hotreload.version, hotreload.purge, and a report's `from` and `to`.

local program = require "spec.support.program"

local V1 = "local M = {} function M.f() return 1 end return M"
local V2 = "local M = {} function M.f() return 2 end return M"
local V3 = "local M = {} function M.f() return 3 end return M"

describe("hotreload.version (R13.1)", function()
  local app, version
  before_each(function()
    app = program.new()
    app:module("m", V1)
    version = app.hotreload.version
  end)
  after_each(function() app:unload() end)

  it("tells of a module that no reload has loaded", function()
    local found = version "m"
    local digest = select(3, app.hotreload.changed { names = { "m" } }).m
    assert.same({
      module = "m", generation = 1, file = app:path "m", content = digest, differs = false,
      undone = {},
    }, found)
    app:write("m", V2)
    assert.is_true(version "m".differs)
  end)

  it("tells generation, file, content and time of what a reload brought", function()
    local before = os.time()
    local report = app:update("m", V2)
    local found = version "m"
    assert.equal(2, found.generation)
    assert.equal(app:path "m", found.file)
    assert.equal(report.to.content, found.content)
    assert.is_true(found.time >= before and found.time <= os.time())
    assert.is_false(found.differs)
    app:write("m", V3)
    assert.is_true(version "m".differs)
    assert.equal(found.content, version "m".content)
  end)

  it("tells what was undone, the last one first, until the next reload", function()
    local second = app:update("m", V2).to
    app.hotreload.undo "m"
    local found = version "m"
    assert.equal(1, found.generation)
    assert.is_nil(found.time)
    assert.same({ second }, found.undone)
    assert.is_true(found.differs)
    app:update("m", V3)
    assert.same({}, version "m".undone)
  end)

  it("does not confuse contents when a generation's number comes back", function()
    app:update("m", V2)
    app.hotreload.undo "m"
    app:update("m", V3)
    assert.is_false(version "m".differs)
    app:write("m", V2)
    assert.is_true(version "m".differs)
  end)

  it("tells why a file cannot be looked at", function()
    app:write("m", "return {")
    assert.matches("m.lua:1:", version "m".problem)
    assert.is_true(version "m".differs)
    app:remove "m"
    assert.matches("not found", version "m".problem)
  end)

  it("lists all modules that a reload has seen, by name", function()
    app:module("b", V1)
    app:module("a", V1)
    app:update("b", V2)
    app:update("a", V2)
    local names = {}
    for _, found in ipairs(version()) do
      if found.module:find "^[ab]$" then names[#names + 1] = found.module .. found.generation end
    end
    assert.same({ "a2", "b2" }, names)
  end)

  it("gives nil and a message for a module that is not loaded; raises for no name", function()
    local found, message = version "no.such"
    assert.is_nil(found)
    assert.equal("module 'no.such' is not loaded", message)
    assert.has_error(function() version(1) end,
      "bad argument #1 to 'version' (string expected, got number)")
  end)

  it("changes nothing", function()
    app:update("m", V2)
    local before = program.fingerprint()
    version "m"
    version()
    before:assert_unchanged()
  end)
end)

describe("a report's from and to (R13.2)", function()
  local app
  before_each(function() app = program.new() app:module("m", V1) end)
  after_each(function() app:unload() end)

  it("name both generations, for the hook as well", function()
    local first = app:update("m", V2)
    assert.same({ generation = 1 }, first.from)
    local hook = V3:gsub("return M$", "function M.__hotfix(_, report) SEEN = report end return M")
    local second = app:update("m", hook)
    local seen = rawget(_G, "SEEN")
    rawset(_G, "SEEN", nil)
    assert.equal(second, seen)
    assert.same(first.to, second.from)
    assert.equal(3, second.to.generation)
    assert.not_equal(second.from.content, second.to.content)
    assert.equal(second.to.content, app.hotreload.version "m".content)
  end)

  it("are there in a dry run, without a time; from is missing in a first load", function()
    app:write("m", V2)
    local report = app:reloaded("m", { dry_run = true })
    assert.equal(2, report.to.generation)
    assert.is_nil(report.to.time)
    assert.equal(1, app.hotreload.version "m".generation)
    app:write("fresh", V1)
    assert.is_nil(app:reloaded "fresh".from)
  end)

  it("give plan a line", function()
    app:update("m", V2)
    local line = "\n  in the place of generation 2, loaded %d%d%d%d%-[%d-]+ [%d:]+"
    assert.matches(line .. ", of the same text$", app.hotreload.plan "m")
    app:write("m", V3)
    assert.matches(line .. "\n", app.hotreload.plan "m")
  end)
end)

describe("hotreload.purge (R13.3)", function()
  local app, M, purge
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    purge = app.hotreload.purge
  end)
  after_each(function() app:unload() end)

  it("gives up what undo keeps, and the old code with it", function()
    local weak = setmetatable({ M.f }, { __mode = "v" })
    app:update("m", V2)
    collectgarbage()
    assert.is_function(weak[1])
    assert.is_true((purge "m"))
    collectgarbage()
    assert.is_nil(weak[1])
    assert.same({ true, {} }, { purge "m" })
    assert.is_false((app.hotreload.undo "m"))
    assert.equal(2, M.f())
  end)

  it("says what still holds or runs old code", function()
    app:update("m", "local M = {} function M.f() coroutine.yield() end return M")
    local held, thread = M.f, coroutine.create(M.f)
    coroutine.resume(thread)
    app:update("m", V3)
    local ok, list = purge "m"
    assert.is_true(ok)
    assert.equal(1, #list)
    assert.is_true(list[1].running)
    assert.equal(2, list[1].generation)
    assert.is_function(held)
  end)

  it("refuses while old code is alive when it is to be soft", function()
    app:update("m", "local M = {} function M.f() coroutine.yield() end return M")
    local thread = coroutine.create(M.f)
    coroutine.resume(thread)
    app:update("m", V3)
    local ok, message, list = purge("m", "soft")
    assert.is_false(ok)
    assert.equal("module 'm' is not purged: 1 function(s) of old code are alive:"
      .. "\n\ta function of generation 2, line 1, which a coroutine is in the midst of", message)
    assert.equal(1, #list)
    assert.equal("suspended", coroutine.status(thread))
    coroutine.close(thread)
    thread = nil
    assert.is_nil(thread)
    assert.same({ true, {} }, { purge("m", "soft") })
    assert.is_false((app.hotreload.undo "m"))
  end)

  it("keeps the undo when it refuses", function()
    local held = M.f
    app:update("m", V2)
    assert.is_false((purge("m", "soft")))
    assert.is_true(app.hotreload.undo "m")
    assert.equal(held, M.f)
  end)

  it("refuses a module that is not loaded, and raises for wrong arguments", function()
    local ok, message = purge "no.such"
    assert.is_false(ok)
    assert.equal("module 'no.such' is not purged: module 'no.such' is not loaded", message)
    assert.has_error(function() purge() end,
      "bad argument #1 to 'purge' (string expected, got no value)")
    assert.has_error(function() purge("m", "hard") end,
      "bad argument #2 to 'purge' ('soft' expected, got 'hard')")
  end)
end)
