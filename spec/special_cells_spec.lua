--- R4.4 to R4.6: cells of a special kind: _ENV, stripped code, two that become one.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G
local cell, held = probe.cell, probe.held

local app
local function start() app = program.new() end
local function stop() app:unload() end

describe("R4.4 _ENV", function()
  before_each(start)
  after_each(stop)

  it("is never matched when it moves to be the first upvalue", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.f() count = count + 1 return tostring(count) end
      return M
    ]])
    M.f()
    assert.same({ "count", "_ENV" }, probe.names(M.f))
    app:update("M", [[
      local M, count = {}, 0
      function M.f() print = print count = count + 1 return tostring(count) end
      return M
    ]])
    assert.same({ "_ENV", "count" }, probe.names(M.f))
    assert.equal("2", M.f())
    assert.equal(G, held(M.f, "_ENV"))
  end)

  it("is never matched when only one side has it", function()
    local M = app:module("M", [[
      local M, count = {}, 0
      function M.with() count = count + 1 return type(count), count end
      function M.without() return count end
      return M
    ]])
    M.with()
    app:update("M", [[
      local M, count = {}, 0
      function M.with() count = count + 1 return count end
      function M.without() return type(count), count end
      return M
    ]])
    assert.equal(2, M.with())
    assert.same({ "number", 2 }, { M.without() })
  end)

  it("is the environment of the incoming chunk, whatever became of the running one", function()
    local v1 = "local M = {} function M.f() return 'old', NAME end \z
      function M.set(v) SET = v end return M"
    local M = app:module("M", v1)
    G.NAME = "global"
    local sandbox = { NAME = "sandbox" }
    debug.setupvalue(M.f, 1, sandbox)
    assert.equal("sandbox", (select(2, M.f())))
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", "global" }, { M.f() })
    M.set(1)
    assert.equal(1, rawget(G, "SET"))
    assert.same({ NAME = "sandbox" }, sandbox)
  end)

  it("is a cell like any other where the file has a local of that name", function()
    local v1 = [[
      local M = {}
      do
        local _ENV = { n = 0, f = function() return "old f" end }
        function M.inc() n = n + 1 return n, f() end
      end
      function M.global() return type(M) end
      return M
    ]]
    local M = app:module("M", v1)
    local env = held(M.inc, "_ENV")
    M.inc()
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ 2, "new f" }, { M.inc() })
    assert.equal(env, held(M.inc, "_ENV"))
    assert.equal("table", M.global())
    assert.equal(G, held(M.global, "_ENV"))
  end)

  it("is the module object where the file says so", function()
    local v1 = [[
      local print, setmetatable = print, setmetatable
      local _ENV = {}
      count = 0
      function inc() count = count + 1 return "old", count end
      function helper() return "old helper" end
      function call() return helper() end
      return _ENV
    ]]
    local M = app:module("M", v1)
    local call = M.call
    M.inc()
    app:update("M",
      (v1:gsub("old", "new"):gsub("return _ENV", "function added() return count, helper() end %0")))
    assert.same({ "new", 2 }, { M.inc() })
    assert.equal("new helper", call())
    assert.same({ 2, "new helper" }, { M.added() })
    assert.is_nil(rawget(G, "inc"))
    assert.equal(M, held(M.added, "_ENV"))
  end)

  it("is a cell like any other where a local of that name stands before the globals", function()
    local v1 = [[
      local base = _ENV
      local _ENV = setmetatable({}, { __index = base })
      local count = 0
      function inc() count = count + 1 return "old " .. tostring(count) end
      return { inc = inc, env = _ENV }
    ]]
    local M = app:module("M", v1)
    local env = M.env
    M.inc()
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new 2", M.inc())
    assert.equal(env, M.env)
    assert.equal(env.inc, M.inc)
    assert.is_nil(rawget(G, "inc"))
  end)

  it("is left alone when the reload is refused", function()
    local v1 = [[
      local M = {}
      local _ENV = { n = 0, error = error, f = function() return "old" end }
      function M.inc() n = n + 1 return n, f() end
      return M
    ]]
    local M = app:module("M", v1)
    M.inc()
    app:write("M", (v1:gsub("old", "new"):gsub("return M%s*$", "n = 99 error 'late'")))
    app:refused("M", nil, M)
    assert.same({ 2, "old" }, { M.inc() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ 3, "corrected" }, { M.inc() })
  end)
end)

describe("R4.5 stripped code", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local a, b = 1, 100
    local M = {}
    function M.inc() a = a + 1 b = b + 1 return a, b end
    function M.get() return a, b end
    return M
  ]]

  it("keeps its cells, matched by position", function()
    local M = app:module("M", probe.strip(v1))
    M.inc()
    app:update("M", probe.strip((v1:gsub("a %+ 1", "a + 10"))))
    assert.same({ 12, 102 }, { M.inc() })
    assert.same({ 12, 102 }, { M.get() })
    assert.equal(debug.upvalueid(M.inc, 1), debug.upvalueid(M.get, 1))
  end)

  it("keeps the cells of a module that was loaded as text", function()
    local M = app:module("M", v1)
    M.inc()
    app:update("M", probe.strip((v1:gsub("a %+ 1", "a + 10"))))
    assert.same({ 12, 102 }, { M.inc() })
    app:update("M", (v1:gsub("a %+ 1", "a + 20")))
    assert.same({ 32, 103 }, { M.inc() })
  end)

  it("has hot local helpers", function()
    local source = [[
      local n = 0
      local function helper() n = n + 1 return "old", n end
      return { f = function() return helper() end }
    ]]
    local M = app:module("M", probe.strip(source))
    local old = M.f
    M.f()
    app:update("M", probe.strip((source:gsub("old", "new"))))
    assert.same({ "new", 2 }, { M.f() })
    assert.same({ "new", 3 }, { old() })
  end)

  it("joins a new function that shares a matched cell, and matches no cell by \z
    its missing name", function()
    local M = app:module("M", probe.strip [[
      local count, alone = 0, 7
      local M = {}
      function M.inc() count = count + 1 return count end
      function M.gone() return alone end
      return M
    ]])
    M.inc()
    app:update("M", probe.strip [[
      local count, other = 0, "new"
      local M = {}
      function M.inc() count = count + 1 return count end
      function M.get() return count end
      function M.added() return other end
      return M
    ]])
    assert.same({ 2, 2, "new", 7 }, { M.inc(), M.get(), M.added(), M.gone() })
  end)

  it("sees the globals, wherever _ENV stands among its upvalues", function()
    local M = app:module("M", probe.strip [[
      local n = 0
      return { f = function() n = n + 1 return tostring(n) end }
    ]])
    M.f()
    app:update("M", probe.strip [[
      local n = 0
      return { f = function() n = n + 10 return tostring(n) .. "!" end }
    ]])
    assert.equal("11!", M.f())
  end)

  it("is refused when a function's number of upvalues differs", function()
    local M = app:module("M", probe.strip(v1))
    M.inc()
    app:write("M",
      probe.strip((v1:gsub("return a, b end%s+return M", "return a, b, M end return M"))))
    local message = app:refused("M", nil, M)
    assert.matches("M.get", message, 1, true)
    assert.matches("upvalue", message)
    assert.same({ 3, 102 }, { M.inc() })
    app:update("M", probe.strip((v1:gsub("a %+ 1", "a + 10"))))
    assert.same({ 13, 103 }, { M.inc() })
  end)

  it("is refused for a local helper's number of upvalues, too", function()
    local source = [[
      local n, m = 0, 0
      local function helper() n = n + 1 return "old", n end
      return { f = function() return helper() end, m = function() return m end }
    ]]
    local M = app:module("M", probe.strip(source))
    M.f()
    app:write("M", probe.strip((source:gsub('"old", n', '"new", n, m'))))
    assert.matches("upvalue", app:refused("M", nil, M))
    assert.same({ "old", 2 }, { M.f() })
    app:update("M", probe.strip((source:gsub("old", "corrected"))))
    assert.same({ "corrected", 3 }, { M.f() })
  end)
end)

describe("R4.6 one incoming cell for two of the running version", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local M = {}
    do local n = 0 function M.a() n = n + 1 return n end end
    do local n = 100 function M.b() n = n + 1 return n end end
    function M.c() return "old" end
    return M
  ]]
  local v2 = [[
    local M, n = {}, 7
    function M.a() n = n + 1 return n end
    function M.b() n = n + 1 return n end
    function M.c() return "new" end
    return M
  ]]

  it("is a conflict that names both places", function()
    local M = app:module("M", v1)
    M.a() M.b()
    app:write("M", v2)
    local message, report = app:refused("M", nil, M)
    assert.matches("M.a@n", message, 1, true)
    assert.matches("M.b@n", message, 1, true)
    assert.is_true(#report.conflicts >= 1)
    assert.same({ 2, 102, "old" }, { M.a(), M.b(), M.c() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ 3, 103, "corrected" }, { M.a(), M.b(), M.c() })
  end)

  it("is a conflict where the functions stand in tables or behind helpers", function()
    local M = app:module("M", [[
      local M = { box = {} }
      do local n = 0 function M.box.a() n = n + 1 return n end end
      do
        local n = 100
        local function helper() n = n + 1 return n end
        function M.b() return helper() end
      end
      return M
    ]])
    M.box.a()
    app:write("M", [[
      local M, n = { box = {} }, 7
      function M.box.a() n = n + 1 return n end
      local function helper() n = n + 1 return n end
      function M.b() return helper() end
      return M
    ]])
    local message = app:refused("M", nil, M)
    assert.matches("M.box.a@n", message, 1, true)
    assert.matches("helper@n", message, 1, true)
    assert.same({ 2, 101 }, { M.box.a(), M.b() })
  end)

  it("keeps a running cell with on_conflict 'keep'", function()
    local M = app:module("M", v1)
    M.a() M.b()
    app:write("M", v2)
    local report = app:reloaded("M", { on_conflict = "keep" })
    assert.is_true(#report.conflicts >= 1)
    assert.equal("new", M.c())
    local first = M.a()
    assert.is_true(first == 2 or first == 102)
    assert.equal(first + 1, M.b())
    assert.equal(cell(M.a, "n"), cell(M.b, "n"))
  end)

  it("takes the incoming cell with on_conflict 'replace'", function()
    local M = app:module("M", v1)
    M.a() M.b()
    app:write("M", v2)
    app:reloaded("M", { on_conflict = "replace" })
    assert.same({ 8, 9, "new" }, { M.a(), M.b(), M.c() })
    assert.equal(cell(M.a, "n"), cell(M.b, "n"))
  end)

  it("is no conflict where both cells hold the same", function()
    local M = app:module("M", (v1:gsub("n = 100", "n = 0")))
    M.a() M.b()
    app:update("M", v2)
    assert.same({ 2, 3, "new" }, { M.a(), M.b(), M.c() })
  end)

  it("is no conflict where both hold a helper that becomes one", function()
    local M = app:module("M", [[
      local M = {}
      do local function helper() return "old 1" end function M.a() return helper() end end
      do local function helper() return "old 2" end function M.b() return helper() end end
      return M
    ]])
    app:update("M", [[
      local M = {}
      local function helper() return "new" end
      function M.a() return helper() end
      function M.b() return helper() end
      return M
    ]])
    assert.same({ "new", "new" }, { M.a(), M.b() })
  end)

  it("is no conflict where both hold an import that the file now has once", function()
    app:write("one", "return { name = 'one' }")
    app:write("two", "return { name = 'two' }")
    local M = app:module("M", [[
      local M = {}
      do local lib = require "one" function M.a() return lib.name end end
      do local lib = require "two" function M.b() return lib.name end end
      return M
    ]])
    app:update("M", [[
      local M, lib = {}, require "two"
      function M.a() return lib.name end
      function M.b() return lib.name end
      return M
    ]])
    assert.same({ "two", "two" }, { M.a(), M.b() })
  end)
end)

describe("an environment that a loader makes anew (R4.4)", function()
  local envs, text
  before_each(function()
    app, envs = program.new(), {}
    table.insert(package.searchers, 1, function(name)
      if name ~= "boxed" then return nil end
      local env = setmetatable({ API = 1 }, { __index = _G })
      envs[#envs + 1] = env
      return load(text, "@boxed.lua", "t", env), "boxed.lua"
    end)
  end)
  after_each(function()
    table.remove(package.searchers, 1)
    app:unload()
  end)

  it("is a warning that names the globals whose values are lost, and no others", function()
    text = [[
      count, limit, list = 0, { 1, 2 }, {}
      function inc() count = count + 1 list[#list + 1] = count return count + API end
      return { inc = function() return inc() end }
    ]]
    local M = require "boxed"
    M.inc()
    local report = app:reloaded "boxed"
    assert.equal(1, #report.warnings)
    assert.matches("these globals begin anew: count, list; give it", report.warnings[1], 1, true)
    assert.equal(2, M.inc())
  end)

  it("is none while nothing is lost", function()
    text = "count, list = 0, { 1 } return { f = function() return count, list, API end }"
    require "boxed"
    assert.same({}, app:reloaded "boxed".warnings)
  end)
end)
