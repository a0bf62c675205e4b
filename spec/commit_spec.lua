-- R7.1, R7.2: the commit, and the hook after it.

local program = require "spec.support.program"

local V1 = [[
  local M, count = { data = { 1, 2 }, limit = 10 }, 0
  function M.bump() count = count + 1 return count end
  function M.name() return "v1" end
  return M
]]
local function v2(with)
  return (V1:gsub("v1", "v2"):gsub("return M%s*$", with .. "\nreturn M"))
end

describe("commit (R7.1)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("keeps data and state when the file is the same", function()
    local M = app:module("m", V1)
    M.data[3] = 3
    M.bump()
    local data = M.data
    local report = app:reloaded "m"
    assert.equal(0, report.changed)
    assert.equal(data, M.data)
    assert.same({ 1, 2, 3 }, M.data)
    assert.equal(2, M.bump())
  end)

  it("changes neither the module object nor its data nor what others hold of it", function()
    local M = app:module("m", V1)
    M.limit, M.extra = 20, { "set at run time" }
    local data, extra = M.data, M.extra
    M.bump()
    app:update("m", v2 "M.added = { 1 }")
    assert.equal(M, package.loaded.m)
    assert.equal(data, M.data)
    assert.equal(extra, M.extra)
    assert.equal(20, M.limit)
    assert.equal(2, M.bump())
    assert.same({ 1 }, M.added)
    assert.equal("v2", M.name())
  end)

  it("changes nothing at all when one slot among many has a conflict (R6)", function()
    local M = app:module("m", V1)
    M.bump()
    app:write("m", v2 [[
      M.data = { 1, 2, added = { } }
      function M.fresh() end
      M.limit = function() end
      fresh_global = M
      setmetatable(M, { __call = M.bump })
    ]])
    local message, report = app:refused "m"
    assert.truthy(message:find("m.limit", 1, true), message)
    assert.equal(1, #report.conflicts)
    app:update("m", v2 "")
    assert.equal(2, M.bump())
  end)
end)

describe("the hook (R7.2)", function()
  local app, M
  before_each(function()
    app = program.new()
    app.seen = {}
    -- The hooks' way out to the spec; `app` is no part of the fingerprint.
    package.preload.spy = function()
      return function(...) app.seen[#app.seen + 1] = table.pack(...) end
    end
    app:load "spy"
    M = app:module("m", V1)
    M.bump()
  end)
  after_each(function() app:unload() end)

  describe("as a field of the module object", function()
    it("runs once, with what package.loaded holds and the report", function()
      local report = app:update("m", v2 "M.__hotfix = function(...) require 'spy' (...) end")
      assert.equal(1, #app.seen)
      assert.same({ 3, nil }, { app.seen[1].n, app.seen[1][3] }) -- there is no __unload
      assert.equal(M, app.seen[1][1])
      assert.equal(report, app.seen[1][2])
    end)

    it("runs after the commit: it sees the new functions on the old cells", function()
      app:update("m", v2 "function M.__hotfix(A1) require 'spy' (A1.name(), A1.bump(), count) end")
      assert.same({ n = 3, "v2", 2, 2 }, app.seen[1])
    end)

    it("may change the running data", function()
      app:update("m",
        v2 "function M.__hotfix(A1) A1.limit = A1.limit * 2 A1.data[#A1.data + 1] = 3 end")
      assert.equal(20, M.limit)
      assert.same({ 1, 2, 3 }, M.data)
    end)

    it("runs again at every reload, the newest one", function()
      app:update("m", v2 "function M.__hotfix() require 'spy' 'first' end")
      app:update("m", v2 "function M.__hotfix() require 'spy' 'second' end")
      app:reloaded "m"
      assert.same({ "first", "second", "second" },
        { app.seen[1][1], app.seen[2][1], app.seen[3][1] })
      assert.equal(3, #app.seen)
    end)

    it("does not run when only the running version has it", function()
      app:update("m", v2 "function M.__hotfix() require 'spy' () end")
      app.seen = {}
      app:update("m", v2 "")
      assert.same({}, app.seen)
    end)

    it("does not run in a dry run, nor when the reload is refused", function()
      app:write("m", v2 "function M.__hotfix() require 'spy' () end")
      app:reloaded("m", { dry_run = true })
      app:write("m", v2 "function M.__hotfix() require 'spy' () end M.limit = function() end")
      app:refused "m"
      assert.same({}, app.seen)
    end)

    it("is not taken for a hook when it is no function", function()
      app:update("m", v2 "M.__hotfix = 'text'")
      assert.equal("v2", M.name())
    end)
  end)

  describe("as a global function", function()
    it("runs with the running module and the report; the global is nil again afterwards", function()
      local report = app:update("m", v2 "function __hotfix(...) require 'spy' (...) end")
      assert.equal(1, #app.seen)
      assert.equal(M, app.seen[1][1])
      assert.equal(report, app.seen[1][2])
      assert.is_nil(rawget(_G, "__hotfix"))
    end)

    it("leaves the host's own global of that name as it was", function()
      local own = function() error "must not run" end
      _G.__hotfix = own
      app:update("m", v2 "function __hotfix() require 'spy' () end")
      assert.equal(1, #app.seen)
      assert.equal(own, _G.__hotfix)
    end)

    it("does not run the host's own global when the incoming version defines none", function()
      _G.__hotfix = function() error "must not run" end
      app:update("m", v2 "")
      assert.equal("v2", M.name())
    end)

    it("gets true for a module without an object", function()
      app:module("plain", "function a_global_function() return 'v1' end")
      app:update("plain", "function a_global_function() return 'v2' end\n"
        .. "function __hotfix(A1) require 'spy' (A1, a_global_function()) end")
      assert.same({ n = 2, true, "v2" }, app.seen[1])
      assert.is_nil(rawget(_G, "__hotfix"))
    end)

    it("runs at a first load by gg.reload, too", function()
      app:write("fresh",
        "function __hotfix(A1, report) require 'spy' (A1, report.generation) end \z
          return { f = print }")
      app:reloaded "fresh"
      assert.same({ n = 2, package.loaded.fresh, 1 }, app.seen[1])
      assert.is_nil(rawget(_G, "__hotfix"))
    end)

    it("is put back past a strict globals table", function()
      setmetatable(_G, {
        __index = function(_, k) error("undeclared " .. tostring(k)) end,
        __newindex = function(_, k) error("undeclared " .. tostring(k)) end,
      })
      app:update("m", v2 "rawset(_G, '__hotfix', function() require 'spy' () end)")
      assert.equal(1, #app.seen)
      assert.is_nil(rawget(_G, "__hotfix"))
    end)

    it("is put back when the reload is refused", function()
      app:write("m", v2 "function __hotfix() end M.limit = function() end")
      app:refused "m"
      assert.is_nil(rawget(_G, "__hotfix"))
    end)
  end)

  describe("that raises", function()
    local HARM = [[
      package.loaded.fresh_key = require "dep"
      fresh_global, known_global = M, known_global or {}
      known_global.list = known_global.list or {}
      known_global.list[#known_global.list + 1] = M.bump
      function known_global.method() return "v2" end
      function known_function() return count end
      function M.added() return count end
      M.data = { 1, 2, more = { M } }
      setmetatable(M, { __call = M.bump })
      M.fresh = { deep = { M } }
    ]]
    before_each(function()
      app:write("dep", "require 'dep_of_dep' dep_global = 1 return {}")
      app:write("dep_of_dep", "return {}")
      _G.known_global = { method = function() return "v1" end }
      _G.known_function = function() return "v1" end
    end)

    local hooks = {
      ["as a field"] = "function M.__hotfix() %s end",
      ["as a global"] = "function __hotfix() %s end",
    }
    for form, hook in pairs(hooks) do
      it(form .. " has the whole reload undone, new dependencies included", function()
        app:write("m", v2(HARM .. hook:format "error 'the hook raises'"))
        assert.matches("the hook raises", (app:refused "m"))
        assert.equal("v1", M.name())
        assert.is_nil(package.loaded.dep)
        app:update("m", v2(HARM))
        assert.equal(2, M.bump())
        assert.equal(1, _G.dep_global)
      end)

      it(form .. " is undone with data = replace, too", function()
        app:write("m",
          v2(HARM .. "M.data = { 9 } count = 99 M.limit = 11 "
            .. hook:format "error 'the hook raises'"))
        M.data[5] = { "row" }
        app:refused("m", { data = "replace" })
        app:update("m", v2 "")
        assert.equal(2, M.bump())
      end)
    end

    it("gives a string for every error object", function()
      for _, value in ipairs {
        "nil", "false", "42", "{}", "print", "coroutine.create(print)",
        "setmetatable({}, { __tostring = function() return 'told' end })",
        "setmetatable({}, { __tostring = function() return 'told' end, __metatable = 'locked' })",
        "setmetatable({}, { __tostring = function() error 'again' end })",
        "setmetatable({}, { __tostring = function() return {} end })",
      } do
        app:write("m", v2(("function M.__hotfix() error(%s) end"):format(value)))
        local message = app:refused "m"
        assert.equal(value:find "told" and "told" or nil, message:match "told")
      end
      app:update("m", v2 "")
    end)

    it("gives a message with the line of the hook", function()
      app:write("m", v2 "function M.__hotfix()\nerror 'the hook raises'\nend")
      local line = select(2, v2 "":gsub("\n", "\n")) + 1
      assert.truthy(app:refused "m":find(("%s:%d: the hook raises"):format(app:path "m", line), 1,
        true))
      app:update("m", v2 "")
    end)

    it("is undone when the hook overflows the stack", function()
      app:write("m",
        v2 "function M.__hotfix() local function f() return 1 + f() end return f() end")
      assert.matches("overflow", (app:refused "m"))
      app:update("m", v2 "")
    end)
  end)
end)
