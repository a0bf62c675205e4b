-- R1.4: what may not be reloaded. R1.5: a module keeps the kind of what it returns.

local program = require "spec.support.program"

local V1 = "return { name = function() return 'v1' end }"
local V2 = "return { name = function() return 'v2' end }"

describe("refusals (R1.4)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, name in ipairs { "_G", "coroutine", "debug", "io", "math", "os", "package", "string",
    "table", "utf8" } do
    it("refuses the standard library " .. name .. ", a file of that name or not", function()
      assert.truthy(app:refused(name):find(name, 1, true))
      app:write(name, "error 'must not run'")
      local message = app:refused(name)
      assert.truthy(message:find(name, 1, true), message)
      assert.is_nil(message:find("must not run", 1, true))
      app:refused(name, { source = "return {}" })
    end)
  end

  it("refuses hotreload itself, under both its names", function()
    require "reload"
    assert.matches("hotreload", (app:refused "hotreload"))
    assert.matches("reload", (app:refused "reload"))
    app:refused("hotreload", { source = "return {}" })
  end)

  it("refuses a C module that is loaded, and says that it is one", function()
    require "lfs"
    local message = app:refused "lfs"
    assert.matches("lfs", message)
    assert.matches("C ", message)
  end)

  it("refuses a C module that is not loaded, and leaves it so", function()
    require "lfs"
    package.loaded.lfs = nil
    assert.matches("lfs", (app:refused "lfs"))
    assert.is_nil(package.loaded.lfs)
  end)

  it("refuses a Lua name whose searcher hands back a C function", function()
    app:module("m", V1)
    table.insert(package.searchers, 1, function(name) return name == "m" and print or nil end)
    assert.matches("m", (app:refused "m"))
    table.remove(package.searchers, 1)
    app:update("m", V2)
    assert.equal("v2", package.loaded.m.name())
  end)
end)

describe("hotreload.configure (R1.4)", function()
  local app, configure
  before_each(function()
    app = program.new()
    configure = app.hotreload.configure
    app:module("battle.skill", V1)
    app:module("net.socket", V1)
  end)
  after_each(function() app:unload() end)

  it("refuses what no allow pattern matches, and allows the rest", function()
    configure { allow = "^battle%." }
    local message = app:refused "net.socket"
    assert.truthy(message:find("net.socket", 1, true), message)
    app:update("battle.skill", V2)
    assert.equal("v2", package.loaded["battle.skill"].name())
  end)

  it("takes a list of allow patterns", function()
    configure { allow = { "^battle%.", "^net%." } }
    app:update("battle.skill", V2)
    app:update("net.socket", V2)
    app:module("other", V1)
    app:refused "other"
  end)

  it("refuses what a deny pattern matches, one or a list of them", function()
    configure { deny = "socket$" }
    assert.truthy(app:refused "net.socket":find("net.socket", 1, true))
    app:update("battle.skill", V2)
    configure { deny = { "^nothing$", "skill" } }
    app:refused "battle.skill"
    app:update("net.socket", V2)
  end)

  it("lets deny beat allow", function()
    configure { allow = "^battle%.", deny = "skill$" }
    app:refused "battle.skill"
  end)

  it("reads the patterns as Lua patterns, not anchored, over the whole module name", function()
    configure { deny = "t.l" }
    app:refused "battle.skill"
    configure { deny = "^skill" }
    app:update("battle.skill", V2)
    configure { deny = "battle%-skill" }
    app:update("battle.skill", V1)
  end)

  it("replaces the list of a given key and keeps the other one", function()
    configure { allow = "^battle%.", deny = "^net%." }
    configure { allow = {} }
    app:update("battle.skill", V2)
    app:refused "net.socket"
    configure {}
    app:refused "net.socket"
    configure { deny = {} }
    app:update("net.socket", V2)
  end)

  it("takes the patterns over as they are: a list that changes later changes nothing", function()
    local list = { "^battle%." }
    configure { allow = list }
    list[1] = "^net%."
    app:refused "net.socket"
    app:update("battle.skill", V2)
  end)

  it("checks before a searcher is asked or a file is read", function()
    local asked = {}
    configure { deny = "^net%." }
    app:write("net.socket", "this does not compile")
    table.insert(package.searchers, 1, function(name) asked[#asked + 1] = name end)
    app:refused "net.socket"
    app:refused("net.socket", { source = "this neither" })
    app:refused "net.unknown"
    assert.same({}, asked)
    app:reloaded "battle.skill"
    assert.same({ "battle.skill" }, asked)
  end)

  it("holds for modules that are not loaded yet", function()
    configure { allow = "^battle%." }
    app:write("fresh", V1)
    app:refused "fresh"
    assert.is_nil(package.loaded.fresh)
    configure { allow = {} }
    assert.equal(1, app:reloaded "fresh".generation)
  end)

  it("allows everything again with empty lists", function()
    configure { allow = "^x$", deny = "." }
    app:refused "net.socket"
    configure { allow = {}, deny = {} }
    app:update("net.socket", V2)
  end)
end)

describe("the kind of what a module returns (R1.5)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local TABLE = "local n = 0 return { f = function() n = n + 1 return n end }"
  local FUNCTION = "local n = 0 return function() n = n + 1 return n end"
  local NOTHING = "function a_global_function() return 'v1' end"

  it("reloads a module that returns nothing", function()
    app:module("m", NOTHING)
    app:update("m", (NOTHING:gsub("v1", "v2")))
    assert.equal("v2", _G.a_global_function())
    assert.is_true(package.loaded.m)
  end)

  it("reloads a module that returns a function, like a slot that holds one", function()
    local old = app:module("m", FUNCTION)
    assert.equal(1, old())
    local report = app:update("m", (FUNCTION:gsub("return n end", "return -n end")))
    local new = package.loaded.m
    assert.is_function(new)
    assert.not_equal(old, new)
    assert.equal(-2, new())
    assert.equal(3, old())
    assert.equal(1, report.functions.replaced)
  end)

  it("reloads a module that puts its table into package.loaded itself, \z
    and keeps that table", function()
    local source = "local M = {} function M.name() return 'v1' end package.loaded[...] = M"
    local M = app:module("m", source)
    app:update("m", (source:gsub("v1", "v2")))
    assert.equal(M, package.loaded.m)
    assert.equal("v2", M.name())
  end)

  local kinds = { table = TABLE, ["function"] = FUNCTION, nothing = NOTHING }
  for from, v1 in pairs(kinds) do
    for to, v2 in pairs(kinds) do
      if from ~= to then
        it(("refuses a change from %s to %s"):format(from, to), function()
          app:module("m", v1)
          app:write("m", v2)
          local message, report = app:refused "m"
          assert.truthy(message:find("m", 1, true))
          assert.equal(1, #report.conflicts)
          assert.is_string(report.conflicts[1].path)
          app:update("m", v1)
        end)

        it(("keeps A1's with on_conflict keep when %s becomes %s"):format(from, to), function()
          local A1 = app:module("m", v1)
          app:update("m", v2, { on_conflict = "keep" })
          assert.equal(from == "nothing" and true or A1, package.loaded.m)
        end)

        it(("takes A2's with on_conflict replace when %s becomes %s"):format(from, to), function()
          app:module("m", v1)
          app:update("m", v2, { on_conflict = "replace" })
          assert.equal(to == "nothing" and "boolean" or to, type(package.loaded.m))
          app:update("m", v2)
        end)
      end
    end
  end
end)

describe("a module that puts itself into package.loaded and returns nothing (R1.5)", function()
  local app
  local G = package.loaded._G
  before_each(function()
    app = program.new()
    app:write("polyfill", [[
      function module(name)
        local m = package.loaded[name]
        if type(m) ~= "table" then
          m = setmetatable({}, { __index = _G })
          package.loaded[name] = m
        end
        debug.setupvalue(debug.getinfo(2, "f").func, 1, m)
        return m
      end
    ]])
    app:load "polyfill"
  end)
  after_each(function() app:unload() end)

  local heads = {
    ["module(...)"] = "module(...)",
    ["a joined environment"] = [[
      local m = package.loaded[...] or {}
      package.loaded[...] = m
      debug.upvaluejoin(debug.getinfo(1, "f").func, 1, function() return m end, 1)
    ]],
    ["a local environment"] = "local getinfo = debug.getinfo local _ENV = module(...)",
    ["a name of package.loaded"] =
      "local _ENV = setmetatable(package.loaded[...] or {}, { __index = _ENV }) "
      .. "package.loaded[...] = _ENV",
  }
  for what, head in pairs(heads) do
    it("reloads, and keeps its data: " .. what, function()
      local source = head .. [[

        local n = 0
        list = list or {}
        local function helper() return "old" end
        function take() n = n + 1 list[#list + 1] = n return helper(), n end
        function gone() end
      ]]
      app:module("bank", source)
      local bank = package.loaded.bank
      assert.same({ "old", 1 }, { bank.take() })
      for round, data in ipairs { "keep", "merge", "replace" } do
        local new = source:gsub("old", data):gsub("function gone%(%) end", "")
        local report = app:update("bank", new,
          { data = data == "replace" and "keep" or data, report = "full" })
        assert.equal(bank, package.loaded.bank)
        assert.same({ data, round + 1 }, { bank.take() })
        assert.equal(round + 1, #bank.list)
        assert.same({ "bank.gone" }, report.paths.functions.removed)
      end
      assert.is_true(app.hotreload.undo "bank")
      assert.same({ "merge", 5 }, { bank.take() })
    end)
  end

  it("reloads where it is data alone, and where gg.reload has loaded it", function()
    app:write("settings", "module(...) rate = 1")
    app:reloaded "settings"
    local settings = package.loaded.settings
    assert.equal(2, app:reloaded "settings".generation)
    app:update("settings", "module(...) rate = 2 function f() end", { data = "merge" })
    assert.same({ settings, 2 }, { package.loaded.settings, settings.rate })
  end)

  it("is refused where the file has merely lost its return, or returns a boolean", function()
    app:module("M", "Player = Player or {} function Player.f() return 1 end return Player")
    app:write("M", "Player = Player or {} function Player.f() return 2 end")
    assert.matches("table while it runs, nothing in the file", (app:refused("M", nil, G.Player)))
    app:write("bank", "module(...) function f() return 1 end")
    app:load "bank"
    app:write("bank",
      "module(...) function f() return 2 end package.loaded.other = 1 do return true end")
    app:refused("bank", nil, package.loaded.bank)
  end)
end)

describe("another spelling of a loaded module's name (R1.3)", function()
  local app
  before_each(function()
    app = program.new()
    package.path = ("%s/?.lua;%s/?/init.lua;%s/./game/?.lua;%s"):format(app.dir, app.dir,
      app.dir, package.path)
    app:write("game.ai.wolf", "return { bite = function() return 1 end }")
    app:write_file("pkg/init.lua", "return { f = function() return 1 end }")
  end)
  after_each(function() app:unload() end)

  local spellings = {
    ["game/ai/wolf"] = "game.ai.wolf", ["game//ai.wolf"] = "game.ai.wolf",
    ["ai.wolf"] = "game.ai.wolf", ["pkg.init"] = "pkg", ["pkg/"] = "pkg",
  }

  it("is refused, and the message names the loaded one", function()
    app:load "game.ai.wolf"
    app:load "pkg"
    for spelling, name in pairs(spellings) do
      for _, options in ipairs { {}, { dry_run = true }, { source = "return { bite = print }" },
        { scope = "vm" } } do
        local message = app:refused(spelling, options)
        assert.matches(("module '%s' cannot be reloaded: its file "):format(spelling),
          message, 1, true)
        assert.matches(("; did you mean '%s'?"):format(name), message, 1, true)
        assert.is_nil(package.loaded[spelling])
      end
      local text, message = app.hotreload.plan(spelling)
      assert.is_nil(text)
      assert.matches(name, message, 1, true)
    end
  end)

  it("is refused in a list, also where the list itself loads the module first", function()
    for _, options in ipairs { {}, { dry_run = true } } do
      app:write("user", "require 'pkg' return {}")
      for _, list in ipairs { { "game.ai.wolf", "game/ai/wolf" }, { "user", "pkg.init" } } do
        local message = app:refused(list, options)
        assert.matches("; did you mean '", message, 1, true)
        for _, name in ipairs { "game.ai.wolf", "game/ai/wolf", "user", "pkg", "pkg.init" } do
          assert.is_nil(package.loaded[name])
        end
      end
    end
  end)

  it("is a module of its own where the program has loaded it, \z
    and where it is another file", function()
    app:load "game.ai.wolf"
    local second = app:load "game/ai/wolf"
    app:write("game.ai.wolf", "return { bite = function() return 2 end }")
    app:reloaded "game/ai/wolf"
    app:reloaded "game.ai.wolf"
    assert.equal(2, second.bite())
    app:write("wolf", "return {}")
    app:write("game.wolf", "return {}")
    for _, name in ipairs { "wolf", "game.wolf" } do
      assert.equal(1, app:reloaded(name).generation)
    end
  end)

  it("is a module of its own where the loaded one came from no file", function()
    package.preload["game.ai.wolf"] = function() return { preloaded = true } end
    app:load "game.ai.wolf"
    assert.equal(1, app:reloaded "game/ai/wolf".generation)
  end)

  it("is loaded when the other one has been forgotten", function()
    app:load "game.ai.wolf"
    package.loaded["game.ai.wolf"] = nil
    assert.equal(1, app:reloaded "game/ai/wolf".generation)
  end)
end)

describe("a module that is not loaded yet (R1.3)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("is loaded as require would load it, as generation 1", function()
    app:write("a.b", "return { args = table.pack(...), f = print }")
    local report = app:reloaded "a.b"
    assert.equal(1, report.generation)
    assert.equal("a.b", report.module)
    assert.equal(app:path "a.b", report.file)
    local M = package.loaded["a.b"]
    assert.same({ n = 2, "a.b", app:path "a.b" }, M.args)
    assert.equal(M, require "a.b")
    assert.equal(2, app:reloaded "a.b".generation)
    assert.equal(M, package.loaded["a.b"])
  end)

  it("leaves true in package.loaded when the chunk returns nothing", function()
    app:write("m", "a_global = 1")
    app:reloaded "m"
    assert.is_true(package.loaded.m)
    assert.equal(1, _G.a_global)
  end)

  it("leaves what the chunk itself put into package.loaded", function()
    app:write("m", "package.loaded[...] = { mine = true }")
    app:reloaded "m"
    assert.is_true(package.loaded.m.mine)
  end)

  it("runs its hook with the module and the report", function()
    app:write("m",
      "local M = {} function M.__hotfix(A1, report) M.seen = { A1 == M, report.generation \z
        } end return M")
    app:reloaded "m"
    assert.same({ true, 1 }, package.loaded.m.seen)
  end)

  it("is loaded from package.preload and by custom searchers, too", function()
    package.preload.bundled = load "return { 'preload' }"
    app:reloaded "bundled"
    assert.equal("preload", package.loaded.bundled[1])
    table.insert(package.searchers, 1, function(name)
      return name == "virtual" and load "return { 'searcher' }" or nil
    end)
    app:reloaded "virtual"
    assert.equal("searcher", package.loaded.virtual[1])
  end)

  it("is refused and stays not loaded when its file does not compile", function()
    app:write("m", "return {")
    assert.truthy(app:refused "m":find(app:path "m", 1, true))
    assert.is_nil(package.loaded.m)
    assert.equal(1, app:update("m", "return { f = print }").generation)
  end)

  it("is refused and undone when its chunk raises", function()
    app:write("dep", "return {}")
    app:write("m", "a_global = 1 require 'dep' package.loaded.x = 1 error 'oh no'")
    assert.matches("oh no", (app:refused "m"))
    assert.equal(1, app:update("m", "return { f = print }").generation)
  end)

  it("is refused and undone when its hook raises", function()
    app:write("dep", "return {}")
    app:write("m", "a_global = 1 require 'dep' return { __hotfix = function() error 'oh no' end }")
    assert.matches("oh no", (app:refused "m"))
    assert.is_nil(package.loaded.m)
    assert.equal(1, app:update("m", "return { f = print }").generation)
  end)
end)
