-- R7.5: a reload may be asked for from anywhere, except while the incoming chunk runs or for a
-- module whose hook has not ended.

local program = require "spec.support.program"

local V1 = [[
  local M, count = {}, 0
  function M.bump() count = count + 1 return count end
  function M.name() return "v1" end
  function M.reload_me()
    count = count + 1
    local ok, report = gg.reload "m"
    return ok, report, count, M.name(), "v1 ends"
  end
  return M
]]
local function v2(with)
  return (V1:gsub("v1", "v2"):gsub("return M%s*$", with .. "\nreturn M"))
end

describe("a reload from anywhere (R7.5)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.bump()
    app:write("m", v2 "")
  end)
  after_each(function() app:unload() end)

  local function assert_reloaded(ok, report)
    assert.is_true(ok, report)
    assert.is_table(report)
    assert.equal("v2", M.name())
    assert.equal(2, M.bump())
  end

  it("works from the module's own function, which ends as the old one", function()
    local ok, report, count, name, ending = M.reload_me()
    assert.is_true(ok, report)
    assert.equal(2, count)
    assert.equal("v2", name)
    assert.equal("v1 ends", ending)
    assert.equal("v2 ends", select(5, M.reload_me()))
  end)

  it("works from a coroutine, also one that the module's own function runs in", function()
    assert_reloaded(coroutine.wrap(function() return app:reload "m" end)())
    app:write("m", V1)
    assert.is_true((coroutine.wrap(M.reload_me)()))
  end)

  it("works while a coroutine is suspended in the module's function", function()
    app:write("m",
      (V1:gsub("return M%s*$",
        "function M.wait() coroutine.yield(count) return count end return M")))
    app:reloaded "m"
    local thread = coroutine.wrap(M.wait)
    assert.equal(1, thread())
    app:write("m", v2 "")
    assert_reloaded(app:reload "m")
    assert.equal(2, thread())
  end)

  it("works from a message handler of xpcall", function()
    local ok, result = xpcall(error, function() return table.pack(app:reload "m") end)
    assert.is_false(ok)
    assert_reloaded(table.unpack(result))
  end)

  it("works from a comparison of table.sort, a gsub callback and a metamethod", function()
    local result
    table.sort({ 2, 1 }, function(a, b)
      result = result or table.pack(app:reload "m")
      return a < b
    end)
    assert_reloaded(table.unpack(result))
    app:write("m", V1)
    assert.equal("true", (("x"):gsub("x", function() return tostring((app:reload "m")) end)))
    local t = setmetatable({}, { __index = function() return (app:reload "m") end })
    assert.is_true(t.anything)
    assert.equal("v1", M.name())
  end)

  it("works from a finalizer", function()
    local result
    setmetatable({}, { __gc = function() result = table.pack(app:reload "m") end })
    collectgarbage()
    assert.is_table(result)
    assert_reloaded(table.unpack(result))
  end)

  it("works from a to-be-closed variable and a debug hook", function()
    local result
    do
      local closing <close> = setmetatable({},
        { __close = function() result = table.pack(app:reload "m") end })
      assert(closing)
    end
    assert_reloaded(table.unpack(result))
    app:write("m", V1)
    debug.sethook(function() debug.sethook() result = table.pack(app:reload "m") end, "l")
    assert(true)
    debug.sethook()
    assert.is_true(result[1])
    assert.equal("v1", M.name())
  end)

  it("is not locked out by an error that a debug hook raises in the middle, \z
    wherever that is", function()
    -- In a process of its own: where it fails, no later reload works.
    local out, code, err = app:subprocess [[
      require "hotreload"
      local source = "local n = 0 return { bump = function() n = n + 1 return n end, "
        .. "a = function() return NUMBER end, b = function() return NUMBER end, \z
          __hotfix = function() end }"
      package.preload.story = load((source:gsub("NUMBER", 0)), "@story.lua")
      local story, k, events = require "story", 0, nil
      repeat
        k, events = k + 1, 0
        package.preload.story = load((source:gsub("NUMBER", k)), "@story.lua")
        pcall(function()
          debug.sethook(function()
            events = events + 1
            if events == k then
              debug.sethook()
              error "the watchdog raises"
            end
          end, "", 1)
          gg.reload "story"
          debug.sethook()
        end)
        assert(story.a() == story.b(), "half a reload")
        local ok, message = gg.reload "story"
        assert(ok, message)
        assert(story.a() == k and story.b() == k, "another version")
      until events < k
      print(k > 50, story.bump())
    ]]
    assert.equal(0, code, err)
    assert.equal("true\t1\n", out)
  end)

  it("works from another module's first load", function()
    app:write("boot", "return table.pack(gg.reload 'm')")
    assert_reloaded(table.unpack(app:load "boot", 1, 2))
  end)

  it("works close to the end of the C stack or says no, and never crashes", function()
    local depth, refused = 0, 0
    local function dig()
      depth = depth + 1
      local ok = pcall(string.gsub, "x", "x", dig)
      if not ok then
        refused = refused + (app:reload "m" and 0 or 1)
      end
    end
    local before = M
    pcall(dig)
    assert.is_true(depth > 50)
    assert.equal(before, package.loaded.m)
    app:write("m", v2 "")
    assert_reloaded(app:reload "m")
  end)
end)

describe("a reload from the incoming chunk (R7.5)", function()
  local app, M
  before_each(function()
    app = program.new()
    app.seen = {}
    package.preload.spy = function()
      return function(...) app.seen[#app.seen + 1] = table.pack(...) end
    end
    app:load "spy"
    app:module("other", "return { name = function() return 'v1' end }")
    app:write("other", "return { name = function() return 'v2' end }")
    M = app:module("m", V1)
    M.bump()
  end)
  after_each(function() app:unload() end)

  --- The incoming chunk is `source`: its inner reload is refused with a message, and the outer
  --- reload goes on.
  local function assert_inner_refused(source)
    app:write("m", v2(source))
    local ok, report = app:reload "m"
    assert.is_true(ok, report)
    assert.equal("v2", M.name())
    assert.equal(2, M.bump())
    assert.equal("v1", package.loaded.other.name())
    assert.is_true(#app.seen >= 1)
    for _, result in ipairs(app.seen) do
      assert.is_false(result[1])
      assert.is_string(result[2])
    end
  end

  it("is refused for the module itself", function()
    assert_inner_refused "require 'spy' (gg.reload 'm')"
  end)

  it("is refused for another module", function()
    assert_inner_refused "require 'spy' (gg.reload 'other')"
  end)

  it("is refused for a module that is not loaded yet, and for a dry run", function()
    app:write("fresh", "return {}")
    assert_inner_refused "require 'spy' (gg.reload 'fresh') require 'spy' (gg.reload('other', \z
      { dry_run = true }))"
    assert.is_nil(package.loaded.fresh)
  end)

  it("is refused from a dependency that the incoming version requires", function()
    app:write("dep", "require 'spy' (gg.reload 'm') return {}")
    assert_inner_refused "require 'dep'"
  end)

  it("is refused from a coroutine and from a protected call", function()
    assert_inner_refused [[
      coroutine.wrap(function() require 'spy' (gg.reload 'm') end)()
      require 'spy' (select(2, pcall(gg.reload, 'other')))
    ]]
  end)

  it("is refused from a finalizer that runs meanwhile", function()
    assert_inner_refused [[
      setmetatable({}, { __gc = function() require 'spy' (gg.reload 'other') end })
      collectgarbage()
    ]]
  end)

  it("is refused in a first load by gg.reload, too", function()
    app:write("fresh", "require 'spy' (gg.reload 'other') return { f = print }")
    app:reloaded "fresh"
    assert.is_false(app.seen[1][1])
    assert.equal("v1", package.loaded.other.name())
  end)

  it("is allowed again when the chunk has ended, also by an error", function()
    app:write("m", v2 "require 'spy' (gg.reload 'other') error 'the chunk raises'")
    assert.matches("the chunk raises", (app:refused "m"))
    app:reloaded "other"
    app:update("m", v2 "")
    assert.equal(2, M.bump())
  end)

  it("still raises for wrong arguments", function()
    app:write("m", v2 "require 'spy' (pcall(gg.reload, 'other', { nonsense = true }))")
    app:reloaded "m"
    assert.is_false(app.seen[1][1])
    assert.matches("nonsense", app.seen[1][2])
  end)
end)

describe("a reload from a hook (R7.5)", function()
  local app, M
  before_each(function()
    app = program.new()
    app:module("other", "return { name = function() return 'v1' end }")
    app:write("other", "return { name = function() return 'v2' end }")
    M = app:module("m", V1)
    M.bump()
  end)
  after_each(function() app:unload() end)

  it("is refused for the same module, and the first reload stands", function()
    app:update("m", v2 "function M.__hotfix(A1) A1.inner = table.pack(gg.reload 'm') end")
    assert.is_false(M.inner[1])
    assert.matches("hook", M.inner[2])
    assert.equal("v2", M.name())
    assert.equal(2, M.bump())
    app:update("m", v2 "")
  end)

  it("is allowed for another module", function()
    app:update("m", v2 "function M.__hotfix(A1) A1.inner = table.pack(gg.reload 'other') end")
    assert.is_true(M.inner[1])
    assert.equal("v2", package.loaded.other.name())
  end)

  it("is refused for the module of an outer hook", function()
    app:write("other",
      "return { __hotfix = function(A1) A1.inner = table.pack(gg.reload 'm') end }")
    app:update("m", v2 "function M.__hotfix() assert(gg.reload 'other') end")
    assert.is_false(package.loaded.other.inner[1])
  end)

  it("keeps the other module's reload when the outer hook raises", function()
    app:write("m", v2 "function M.__hotfix() assert(gg.reload 'other') error 'the hook raises' end")
    local ok, message = app:reload "m"
    assert.is_false(ok)
    assert.matches("the hook raises", message)
    assert.equal("v1", M.name())
    assert.equal("v2", package.loaded.other.name())
    app:update("m", v2 "")
    assert.equal(2, M.bump())
  end)

  it("is refused for a module whose first load by gg.reload has not ended its hook", function()
    app:write("fresh",
      "return { __hotfix = function(A1) A1.inner = table.pack(gg.reload 'fresh') end }")
    app:reloaded "fresh"
    assert.is_false(package.loaded.fresh.inner[1])
  end)
end)
