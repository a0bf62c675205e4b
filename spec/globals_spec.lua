--- Modules that speak through globals (R3, R4, R5): what the chunk sets is what is reloaded.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G

local app
local function start() app = program.new() end
local function stop() app:unload() end

describe("A module that returns nothing (R3, R4.1)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local count = 0
    score, settings = 10, { level = 1, describe = function() return "old settings" end }
    function with_env() count = count + 1 return "old " .. tostring(count) end
    function without_env() count = count + 1 return "old", count end
    function without_upvalues() return "old" end
    function score_of() return score end
  ]]

  it("gets new bodies for its global functions, on the old cells", function()
    assert.is_true((app:module("M", v1)))
    assert.same({ "_ENV" }, { table.unpack(probe.names(G.with_env), 2) })
    assert.same({ "count" }, probe.names(G.without_env))
    assert.same({}, probe.names(G.without_upvalues))
    local cell = probe.cell(G.without_env, "count")
    G.with_env() G.without_env()
    local report = app:update("M", (v1:gsub("old", "new")))
    assert.equal("new 3", G.with_env())
    assert.same({ "new", 4 }, { G.without_env() })
    assert.equal("new", G.without_upvalues())
    assert.equal(cell, probe.cell(G.without_env, "count"))
    assert.equal(cell, probe.cell(G.with_env, "count"))
    assert.is_true(package.loaded.M)
    assert.equal(4, report.functions.replaced) -- score_of stays (R3.6)
  end)

  it("keeps global data, and takes the functions in global tables", function()
    app:module("M", v1)
    local settings = G.settings
    G.score, settings.level = 99, 7
    app:update("M", (v1:gsub("old", "new"):gsub("level = 1", "level = 1, added = true")))
    assert.same({ 99, 99 }, { G.score, G.score_of() })
    assert.equal(settings, G.settings)
    assert.same({ 7, true, "new settings" },
      { settings.level, settings.added, settings.describe() })
  end)

  it("keeps global data that the program made false", function()
    app:module("M", "enabled, target = true, 'x' function f() return 'old' end")
    G.enabled, G.target = false, false
    app:update("M", "enabled, target = true, 'x' function f() return 'new' end")
    assert.same({ false, false, "new" }, { G.enabled, G.target, G.f() })
  end)

  it("replaces a global function that someone patched from outside", function()
    app:module("M", v1)
    G.without_env()
    local count = 1000
    G.without_env = function() count = count + 1 return "patched", count end
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", 2 }, { G.without_env() })
  end)

  it("gets new globals, on the old cells", function()
    app:module("M", v1)
    G.without_env()
    local report = app:update("M", v1 .. [[
      function added() return count end
      added_data, added_table = 5, { f = function() return count end }
    ]], { report = "full" })
    assert.same({ 1, 5, 1 }, { G.added(), G.added_data, G.added_table.f() })
    assert.is_true(probe.contains(report.paths.functions.added, "_G.added"))
    assert.is_true(probe.contains(report.paths.data.added, "_G.added_data"))
  end)

  it("keeps globals that the file no longer sets", function()
    app:module("M", v1)
    G.without_env()
    app:update("M", "local count = 0 function with_env() return count end")
    assert.same({ 1, "old", 10 }, { G.with_env(), G.without_upvalues(), G.score })
    assert.same({ "old", 2 }, { G.without_env() })
    assert.equal(2, G.with_env())
  end)

  it("gets its globals in whatever way they are set", function()
    local source = [[
      local count = 0
      _G.one = function() count = count + 1 return "old one", count end
      _G["two"] = function() return "old two", count end
      rawset(_G, "three", function() return "old three", count end)
      _ENV.four = function() return "old four", count end
      for i, name in ipairs { "five", "six" } do
        _G[name] = function() return "old " .. name, count + i end
      end
      setmetatable(_G, nil)
    ]]
    app:module("M", source)
    G.one()
    app:update("M", (source:gsub("old", "new")))
    for i, name in ipairs { "two", "three", "four" } do
      assert.same({ "new " .. name, 1 }, { G[name]() }, i)
    end
    assert.same({ "new five", 2 }, { G.five() })
    assert.same({ "new six", 3 }, { G.six() })
    assert.same({ "new one", 2 }, { G.one() })
  end)

  it("keeps one table one under two globals", function()
    app:module("M", "first = { f = function() return 'old' end } second = first")
    local t = G.first
    app:update("M", "first = { f = function() return 'new' end } second = first third = first")
    assert.equal(t, G.first)
    assert.equal(t, G.second)
    assert.equal(t, G.third)
    assert.equal("new", t.f())
  end)

  it("gets a new name for a function that it has already", function()
    app:module("M", "function first() return 'old' end Box = Box or {} Box.first = first")
    app:update("M", [[
      function first() return "new" end
      second, Box = first, Box or {}
      Box.first, Box.second = first, first
    ]])
    assert.equal("new", G.first())
    assert.equal(G.first, rawget(G, "second"))
    assert.equal(G.first, G.Box.first)
    assert.equal(G.first, G.Box.second)
  end)

  it("puts every global back when the chunk raises", function()
    app:module("M", v1)
    G.without_env()
    G.score = 99
    app:write("M", v1:gsub("old", "new") .. [[
      added, score, print = 1, nil, function() end
      function another() end
      error "late"
    ]])
    local message = app:refused("M")
    assert.matches("M.lua:9: late", message, 1, true)
    assert.same({ nil, 99, "old" }, { rawget(G, "added"), G.score, G.without_upvalues() })
    assert.same({ "old", 2 }, { G.without_env() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected", 3 }, { G.without_env() })
    assert.equal(99, G.score)
  end)

  it("is refused for a conflict in a global, and changes none", function()
    app:module("M", v1)
    app:write("M",
      (v1:gsub("old", "new"):gsub("function score_of%(%) return score end", "score_of = {}")))
    assert.matches("_G.score_of", app:refused("M"), 1, true)
    assert.equal("old", G.without_upvalues())
    app:update("M", (v1:gsub("old", "corrected")))
    assert.equal("corrected", G.without_upvalues())
  end)
end)

describe("Player = Player or {} (R3)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    Player = Player or {}
    local hits = 0
    Player.limit = 10
    Player.flags = { on = true }
    function Player:hit(n) hits = hits + 1 self.hp = self.hp - n return "old", self.hp, hits end
    function Player.hits() return hits end
  ]]

  it("keeps the table, its data and the cells, and gets the new methods", function()
    app:module("M", v1)
    local Player, flags = G.Player, G.Player.flags
    Player.limit, flags.on = 99, false
    Player.rows = { 1, 2, 3 }
    local object = setmetatable({ hp = 100 }, { __index = Player })
    object:hit(10)
    app:update("M", (v1:gsub("old", "new"):gsub("local hits", "Player.added = 1 %0")) .. [[
      function Player:heal(n) self.hp = self.hp + n return hits end
    ]])
    assert.equal(Player, G.Player)
    assert.equal(flags, Player.flags)
    assert.same({ 99, false, 1, { 1, 2, 3 } },
      { Player.limit, flags.on, Player.added, Player.rows })
    assert.same({ "new", 80, 2 }, { object:hit(10) })
    assert.same({ 2, 2 }, { object:heal(5), Player.hits() })
    assert.equal(85, object.hp)
  end)

  it("keeps data that the program made false, and the table as it is for \z
    every later reload", function()
    app:module("M", v1)
    G.Player.limit = false
    local flags = G.Player.flags
    for n = 1, 3 do
      app:update("M", (v1:gsub("old", "new " .. n)))
      assert.equal("new " .. n, (G.Player.hit({ hp = 1 }, 1)))
      assert.is_false(G.Player.limit)
      assert.equal(flags, G.Player.flags)
    end
    assert.equal(3, G.Player.hits())
  end)

  it("works the same for a local alias and for a module that returns the table", function()
    local source = [[
      Player = Player or {}
      local P, n = Player, 0
      P.__index = P
      function P.new() n = n + 1 return setmetatable({}, P) end
      function P:hello() return "old", n end
      return P
    ]]
    local M = app:module("M", source)
    local object = M.new()
    app:update("M", (source:gsub("old", "new")))
    assert.equal(M, G.Player)
    assert.equal(M, app:load "M")
    assert.same({ "new", 1 }, { object:hello() })
    assert.equal(getmetatable(object), getmetatable(M.new()))
    assert.same({ "new", 2 }, { object:hello() })
  end)

  it("is shared by two files that each write their part", function()
    local parts = {}
    for _, part in ipairs { "move", "fight" } do
      parts[part] = ([[
        Player = Player or {}
        local count = 0
        function Player.PART() count = count + 1 return "old PART", count end
      ]]):gsub("PART", part)
      app:module(part, parts[part])
    end
    G.Player.move() G.Player.fight() G.Player.fight()
    app:update("fight", (parts.fight:gsub("old", "new")))
    assert.same({ "old move", 2 }, { G.Player.move() })
    assert.same({ "new fight", 3 }, { G.Player.fight() })
    app:update("move", (parts.move:gsub("old", "new")))
    assert.same({ "new move", 3 }, { G.Player.move() })
    assert.same({ "new fight", 4 }, { G.Player.fight() })
  end)

  it("is put back, method by method, when the chunk raises or is refused", function()
    app:module("M", v1)
    local Player = G.Player
    Player.limit = 99
    app:write("M", v1:gsub("old", "new") .. " Player.added, Player.hits = 1, nil error 'late'")
    assert.matches("late", app:refused("M"))
    app:write("M", v1:gsub("old", "new") .. " Player.added, Player.hits = 1, 'data'")
    assert.matches("hits", app:refused("M"))
    assert.same({ "old", 0, 1 }, { Player.hit({ hp = 1 }, 1) })
    assert.same({ 99, nil, 1 }, { Player.limit, Player.added, Player.hits() })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected", 0, 2 }, { Player.hit({ hp = 1 }, 1) })
    assert.equal(99, Player.limit)
  end)
end)

describe("Namespaces (R3)", function()
  before_each(start)
  after_each(stop)

  it("that the file makes where they are missing keep what is in them", function()
    local v1 = [[
      game = game or {}
      game.battle = game.battle or {}
      game.battle.skill = game.battle.skill or { level = 1 }
      local casts = 0
      function game.battle.skill.cast() casts = casts + 1 return "old", casts end
      function game.battle.hit() return "old hit" end
    ]]
    app:module("game.battle.skill", v1)
    local skill = G.game.battle.skill
    skill.level = 9
    G.game.other, G.game.battle.other = { f = print }, 5
    skill.cast()
    app:update("game.battle.skill", (v1:gsub("old", "new")))
    assert.equal(skill, G.game.battle.skill)
    assert.same({ "new", 2 }, { skill.cast() })
    assert.same({ "new hit", 9, 5, print },
      { G.game.battle.hit(), skill.level, G.game.battle.other, G.game.other.f })
  end)

  it("that the file makes anew are paired, level by level", function()
    local v1 = [[
      local casts = 0
      game = { battle = { skill = { level = 1, cast = function()
        casts = casts + 1
        return "old", casts
      end } } }
      function game.battle.hit() return "old hit" end
      a = { b = game }
    ]]
    app:module("M", v1)
    local game, battle, skill = G.game, G.game.battle, G.game.battle.skill
    skill.level, battle.other = 9, 5
    skill.cast()
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(game, G.game)
    assert.equal(game, G.a.b)
    assert.equal(battle, game.battle)
    assert.equal(skill, battle.skill)
    assert.same({ "new", 2 }, { skill.cast() })
    assert.same({ "new hit", 9, 5 }, { battle.hit(), skill.level, battle.other })
  end)

  it("are found through the paths that the file walks, deep down", function()
    local source = [[
      local skill = game.data.battle.skill
      local casts = 0
      function skill.cast() casts = casts + 1 return "old", casts end
      skill.limits = { f = function() return "old limit" end, max = 1 }
    ]]
    G.game = { data = { battle = { skill = {} } } }
    app:module("M", source)
    local skill = G.game.data.battle.skill
    local limits = skill.limits
    limits.max = 50
    skill.cast()
    app:write("M", source:gsub("old", "new") .. " skill.more = 1 error 'late'")
    app:refused("M")
    app:update("M", (source:gsub("old", "new")))
    assert.same({ "new", 2 }, { skill.cast() })
    assert.equal(limits, skill.limits)
    assert.same({ "new limit", 50 }, { limits.f(), limits.max })
    assert.is_nil(skill.more)
  end)
end)

describe("A strict table of globals (R3.1)", function()
  before_each(start)
  after_each(stop)

  -- In a process of its own: the test runner itself reads undeclared globals.
  local strict = [==[
    local hotreload = require "hotreload"
    setmetatable(_G, {
      __index = function(_, name) error("undeclared: " .. name, 2) end,
      __newindex = function(_, name) error("not declared: " .. name, 2) end,
      __metatable = "strict",
      __pairs = function() error "pairs of _G" end,
    })
    local function write(text)
      local file = assert(io.open("M.lua", "w"))
      file:write(text)
      file:close()
    end
    local v1 = [[
      local count = 0
      rawset(_G, "declared", rawget(_G, "declared") or {})
      rawset(_G, "bump", function() count = count + 1 return "old", count end)
      rawset(_G, "box", { f = function() return "old" end, n = 1 })
      function declared.f() count = count + 1 return "old", count end
    ]]
    write(v1)
    require "M"
    bump() box.n = 5
  ]==]

  it("is no obstacle", function()
    local out, code, err = app:subprocess(strict .. [[
      write((v1:gsub("old", "new")) .. " rawset(_G, 'added', 1)")
      local ok, report = gg.reload("M")
      print(ok, ok or report)
      print(bump())
      print(declared.f())
      print(box.f(), box.n, added)
      print(getmetatable(_G), pcall(function() return nothing end))
    ]])
    assert.equal(0, code, err)
    assert.matches("^true\ttrue\nnew\t2\nnew\t3\nnew\t5\t1\nstrict\tfalse\t[^\n]*undeclared: \z
      nothing\n$", out)
  end)

  it("gives an undeclared name in the file as the error, and all is put back", function()
    local out, code, err = app:subprocess(strict .. [[
      write((v1:gsub("old", "new")) .. " rawset(_G, 'added', 1) undeclared_name = 1")
      local ok, message = gg.reload("M")
      print(ok, type(message), message:match "not declared: undeclared_name")
      print(bump())
      print(rawget(_G, "added"), rawget(_G, "undeclared_name"))
      write((v1:gsub("old", "corrected")))
      print(gg.reload("M") == true, bump())
    ]])
    assert.equal(0, code, err)
    assert.equal("false\tstring\tnot declared: \z
      undeclared_name\nold\t2\nnil\tnil\ntrue\tcorrected\t3\n", out)
  end)

  it("is no obstacle to requiring the library", function()
    local out, code, err = app:subprocess [[
      setmetatable(_G, {
        __index = function(_, name) error("undeclared: " .. name, 2) end,
        __newindex = function(_, name) error("not declared: " .. name, 2) end,
      })
      local hotreload = require "hotreload"
      print(rawget(_G, "gg").reload == hotreload.reload)
    ]]
    assert.equal(0, code, err)
    assert.equal("true\n", out)
  end)
end)

describe("A module that changes standard library tables (R3)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local trimmed = 0
    function string.trim(s)
      trimmed = trimmed + 1
      return "old " .. s:match "^%s*(.-)%s*$", trimmed
    end
    table.count = function(t) local n = 0 for _ in pairs(t) do n = n + 1 end return "old", n end
    math.golden = 1.618
    os.extra = { f = function() return "old" end, n = 1 }
  ]]

  it("gets new bodies on old cells, and keeps data", function()
    app:module("M", v1)
    local extra = os.extra; -- luacheck: ignore 143
    ("x"):trim()
    G.math.golden, extra.n = 2, 7
    app:update("M", (v1:gsub("old", "new") .. "function table.added() return trimmed end"))
    assert.same({ "new x", 2 }, { ("  x "):trim() })
    assert.same({ "new", 2 }, { G.table.count { a = 1, b = 2 } })
    assert.same({ 2, 2 }, { G.math.golden, G.table.added() })
    assert.equal(extra, G.os.extra)
    assert.same({ "new", 7 }, { extra.f(), extra.n })
  end)

  it("is put back when the chunk raises", function()
    app:module("M", v1)
    local upper = string.upper
    app:write("M",
      v1:gsub("old", "new") .. "string.upper, string.added, table.count = 1, 2, 3 error 'late'")
    assert.matches("late", app:refused("M"))
    assert.equal(upper, string.upper)
    assert.equal("old x", (("x"):trim()))
    app:update("M", (v1:gsub("old", "corrected")))
    assert.equal("corrected x", (("x"):trim()))
  end)

  it("wraps a function of the library once, however often it is reloaded", function()
    local source = [[
      local calls, original = 0, string.reverse
      function string.reverse(s) calls = calls + 1 return "old " .. original(s) end
      return { calls = function() return calls end }
    ]]
    local original = string.reverse
    local M = app:module("M", source)
    assert.equal("old cba", string.reverse "abc")
    for n = 1, 3 do
      app:update("M", (source:gsub("old", "new " .. n)))
      assert.equal(("new %d cba"):format(n), string.reverse "abc")
      assert.equal(1 + n, M.calls())
      assert.equal(original, probe.held(string.reverse, "original"))
    end
  end)

  it("wraps a global function and another module's function once", function()
    app:write("other", "return { greet = function(s) return 'hello ' .. s end }")
    local source = [[
      local other = require "other"
      local shout_before, greet_before, calls = shout, other.greet, 0
      function shout(s) calls = calls + 1 return "old " .. shout_before(s) end
      other.greet = function(s) calls = calls + 1 return "old " .. greet_before(s) end
      return { calls = function() return calls end }
    ]]
    G.shout = function(s) return s .. "!" end
    local M, other = app:module("M", source), app:load "other"
    for n = 1, 3 do
      app:update("M", (source:gsub("old", "new " .. n)))
      assert.equal(("new %d x!"):format(n), G.shout "x")
      assert.equal(("new %d hello x"):format(n), other.greet "x")
    end
    assert.equal(6, M.calls())
  end)
end)
