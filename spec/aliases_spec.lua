-- R3.1, R3.4: an incoming table that stands in several places answers to one running table. A place
-- that points elsewhere at run time is data: it stays, and what it points at is not taken for the
-- table of the file.

local program = require "spec.support.program"

local STATES = [[
  local M = { idle = { name = "idle" }, run = { name = "run" } }
  function M.idle.update() return "idle v1" end
  function M.run.update() return "run v1" end
  function M.run.stop() return "stopped v1" end
  M.current = M.idle
  local active = M.idle
  function M.active() return active end
  function M.switch(state) M.current, active = state, state end
  return M
]]

describe("a table in several places (R3.1, R3.4)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("is one running table: a state machine keeps its state, \z
    and each state its own functions", function()
    local M = app:module("states", STATES)
    local idle, run = M.idle, M.run
    M.switch(M.run)
    local report = app:update("states", (STATES:gsub("v1", "v2")), { report = "full" })
    assert.equal(idle, M.idle)
    assert.equal(run, M.run)
    assert.equal(run, M.current)
    assert.equal(run, M.active())
    assert.equal("idle v2", M.idle.update())
    assert.equal("run v2", M.run.update())
    assert.equal("stopped v2", M.run.stop())
    assert.is_nil(rawget(M.idle, "stop"))
    assert.same({ "idle", "run" }, { M.idle.name, M.run.name })
    assert.same({}, report.paths.functions.added)
    assert.same({}, report.paths.functions.removed)
  end)

  it("leaves a table alone that the program put in one of the places", function()
    local M = app:module("states", STATES)
    M.current = { "the program's own" }
    app:update("states", (STATES:gsub("v1", "v2")))
    assert.same({ "the program's own" }, M.current)
    assert.equal("idle v2", M.idle.update())
  end)

  it("is not one of the program's that stands in one of them, and has a function of the file among "
    .. "very many entries", function()
    local function text(version)
      return ("local M = { a = { f = function() return %d end } } M.b = M.a return M")
        :format(version)
    end
    local function many(f)
      local table_of_many = { f = f }
      for i = 1, 20000 do table_of_many["row" .. i] = i end
      return table_of_many
    end
    local M = app:module("M", text(1))
    local N = app:module("N", text(1))
    M.b, N.b = many(M.a.f), many(nil)
    local b, of_program = M.b, N.b
    app:update("M", text(2), { scope = "vm" })
    app:update("N", text(2), { scope = "vm" })
    assert.same({ 2, 2 }, { M.a.f(), N.a.f() })
    assert.equal(b, M.b)
    assert.equal(M.a.f, M.b.f) -- it holds that one, and follows in scope "vm" (R9)
    assert.equal(of_program, N.b)
    assert.is_nil(N.b.f) -- data alone
  end)

  it("leaves a table alone that took the place of a module's reference to itself", function()
    local source = "local M = { data = 1 } M.self = M function M.f() return 'v1' end return M"
    local M = app:module("m", source)
    M.self = { "the program's own" }
    app:update("m", (source:gsub("v1", "v2")))
    assert.same({ "the program's own" }, M.self)
    assert.equal("v2", M.f())
  end)

  it("is no other one where the file takes it up again, though a reference to it \z
    leads elsewhere now", function()
    local source = [[
      Kept = Kept or {}
      local M = Kept
      local Base = { base = true }
      function Base.f() return "Base" end
      function M.f() return "M" end
      M.Base = Base
      M.default = DEFAULT
      return M
    ]]
    local M = app:module("kept", (source:gsub("DEFAULT", "M")))
    app:update("kept", (source:gsub("DEFAULT", "Base"):gsub("M.Base = Base", "")))
    assert.True(rawget(M.default, "base")) -- only the edit has touched the reference
    assert.is_nil(rawget(M, "base"))
    assert.same({ "M", "Base" }, { M.f(), M.Base.f() })
  end)

  it("stays one table under a new name, also where the program has put a number in place of \z
    its only string", function()
    local M = app:module("m", "local t = { 1, 's' } return { first = t }")
    M.first[2] = 0
    app:update("m", "local t = { 1, 's' } return { first = t, second = t }")
    assert.equal(M.first, M.second)
    assert.same({ 1, 0 }, M.first)
  end)

  it("does not depend on the order in which places are met", function()
    app:write("states", STATES)
    assert.equal("run v1\tidle v1\trun\n", app:subprocesses(20, [[
      require "hotreload"
      local M = require "states"
      M.switch(M.run)
      assert(gg.reload "states")
      print(M.run.update(), M.idle.update(), M.current.name)
    ]]))
  end)

  it("follows in an object that the file takes up again, wherever the function \z
    itself stands (R5.2)", function()
    local source = [[
      Kept = Kept or {}
      local M = Kept
      M.sub = { f = function() return "v1" end }
      return M
    ]]
    local M = app:module("kept", source)
    M.alias = M.sub.f
    local report = app:update("kept", (source:gsub("v1", "v2")))
    assert.equal("v2", M.alias())
    assert.equal(M.sub.f, M.alias)
    assert.equal(0, report.functions.removed)
  end)
end)

describe("a function in several places (R3.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local source = [[
    local M = {}
    NEW
    function M.attack() return "attack VERSION" end
    M.default = DEFAULT
    HANDLERS = HANDLERS or {}
    HANDLERS[#HANDLERS + 1] = M.attack
    return M
  ]]
  local function version(number, new, default)
    return (source:gsub("VERSION", number):gsub("NEW", new):gsub("DEFAULT", default))
  end

  for _, scope in ipairs { "module", "vm" } do
    it("is not taken for a new one that the file puts into one of its \z
      places, scope " .. scope, function()
      local M = app:module("M", version("v1", "", "M.attack"))
      local held = { M.attack }
      app:update("M", version("v2", 'function M.special() return "special" end', "M.special"),
        { scope = scope })
      local handlers = rawget(package.loaded._G, "HANDLERS")
      assert.same({ "attack v2", "special" }, { M.attack(), M.default() })
      assert.same({ M.attack }, handlers)
      if scope == "vm" then assert.equal(M.attack, held[1]) end
    end)
  end

  it("is not taken for a new global function that the file puts into one of its places", function()
    local globals = rawget(package.loaded._G, "_G")
    local file = [[
      NEW
      function aliases_attack() return "attack VERSION" end
      ALIASES = { default = DEFAULT }
      ALIASES_HELD = ALIASES_HELD or { aliases_attack }
    ]]
    local function text(number, new, default)
      return (file:gsub("VERSION", number):gsub("NEW", new):gsub("DEFAULT", default))
    end
    app:module("aliases", text("v1", "", "aliases_attack"))
    local new = 'function aliases_special() return "special" end'
    app:update("aliases", text("v2", new, "aliases_special"), { scope = "vm" })
    assert.same({ "attack v2", "special" }, { globals.aliases_attack(), globals.ALIASES.default() })
    assert.equal(globals.aliases_attack, globals.ALIASES_HELD[1])
  end)

  it("goes on as the one that the same expression makes, where the file makes another one with its "
    .. "code", function()
    local M = app:module("M", "local M = {} M.a = function() return 1 end M.b = M.a return M")
    local held = { M.a }
    local two = "local M = {} M.a = function() return 2 end M.b = function() return 1 end return M"
    app:update("M", two, { scope = "vm" })
    assert.same({ 2, 1 }, { M.a(), M.b() })
    assert.equal(M.a, held[1])
  end)
end)
