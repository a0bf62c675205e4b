-- R3: an object is the expression of the file that makes it; every other mention of it is a
-- reference. So what stands where says nothing of which object is which, and a reference follows
-- the edit or the program, whichever has moved it.

local program = require "spec.support.program"

local STATES = [[
  local M = {}
  local Idle = { name = "idle", entered = 0 }
  function Idle.run() return "idle1" end
  local Alarm = { name = "alarm", entered = 0 }
  function Alarm.run() return "alarm1" end
  M.first, M.second = Idle, Alarm
  function M.go() return Idle.name, Idle.run(), Alarm.name, Alarm.run() end
  return M
]]

local FUNCTIONS = [[
  local M = {}
  local function admin() return "admin1" end
  local function guest() return "guest1" end
  M.role = guest
  function M.promote() M.role = admin end
  function M.who() return M.role() end
  return M
]]

-- A class by copying, as several class libraries make them.
local ZOO = [[
  local function class(parent)
    local c = { super = parent }
    for k, v in pairs(parent or {}) do if k ~= "super" then c[k] = v end end
    c.__index = c
    return c
  end
  local M = {}
  M.Animal = class() function M.Animal.kind() return "animal1" end
  M.Pet = class() function M.Pet.kind() return "pet1" end
  M.Dog = class(M.Animal)
  function M.Dog.bark() return "wuff1" end
  return M
]]

local function v2(text) return (text:gsub('1"', '2"')) end

-- Each: title, first text, what the program does, second text, what is seen, what is wanted.
local CASES = {
  {
    "fields whose references are swapped in the file", STATES, nil,
    v2(STATES):gsub("= Idle, Alarm", "= Alarm, Idle"),
    function(M, before)
      return { M.first.name, M.second.name, M.first == before.second,
        M.second == before.first, M.go() }
    end,
    { "alarm", "idle", true, true, "idle", "idle2", "alarm", "alarm2" },
    function(M) return { first = M.first, second = M.second } end,
  },
  {
    "fields that the program has swapped", STATES,
    function(M) M.first, M.second = M.second, M.first end, v2(STATES),
    function(M) return { M.first.name, M.first.run(), M.second.name, M.second.run(), M.go() } end,
    { "alarm", "alarm2", "idle", "idle2", "idle", "idle2", "alarm", "alarm2" },
  },
  {
    "a field that the file leads to another table, while the program has led it to a third",
    STATES, function(M) M.first = { name = "own", run = function() return "own" end } end,
    v2(STATES):gsub("= Idle, Alarm", "= Alarm, Alarm"),
    function(M) return { M.first.name, M.second.run() } end, { "own", "alarm2" },
  },
  {
    "a slot that the program has led to another function of the module", FUNCTIONS,
    function(M) M.promote() end, v2(FUNCTIONS), function(M) return { M.who() } end, { "admin2" },
  },
  {
    "a slot that the program has not touched, and the file leads elsewhere", FUNCTIONS, nil,
    v2(FUNCTIONS):gsub("M.role = guest", "M.role = admin"),
    function(M) return { M.who() } end, { "admin2" },
  },
  {
    "a slot that both have led elsewhere", [[
      local M = {}
      function M.a() return "a1" end function M.b() return "b1" end function M.c() return "c1" end
      M.current = M.a return M ]],
    function(M) M.current = M.c end, [[
      local M = {}
      function M.a() return "a2" end function M.b() return "b2" end function M.c() return "c2" end
      M.current = M.b return M ]],
    function(M) return { M.current() } end, { "c2" },
  },
  {
    "two names that have changed their functions", [[
      local M, held = {}, nil
      function M.a() return "one" end
      function M.b() return "two", M end
      function M.hold() held = M.a end
      function M.run() return (held()) end
      return M ]],
    function(M) M.hold() end, [[
      local M, held = {}, nil
      function M.b() return "one" end
      function M.a() return "two", M end
      function M.hold() held = M.a end
      function M.run() return (held()) end
      return M ]],
    function(M) return { M.run(), (M.a()), M.b() } end, { "two", "two", "one" },
  },
  {
    "a class with another parent, which its fields were copied from", ZOO, nil,
    v2(ZOO):gsub("class%(M.Animal%)", "class(M.Pet)"),
    function(M)
      return { M.Dog.kind(), M.Dog.super == M.Pet, M.Dog.bark(), M.Animal.kind(), M.Pet.kind() }
    end,
    { "pet2", true, "wuff2", "animal2", "pet2" },
  },
  {
    "a class between two others", [[
      local O = { __index = false } O.__index = O
      function O:extend() local c = { super = self } c.__index = c return setmetatable(c, self) end
      local M = {}
      M.Entity = O:extend() function M.Entity.kind() return "entity1" end
      M.Wolf = M.Entity:extend() function M.Wolf.bite() return "bite1" end
      return M ]],
    nil, [[
      local O = { __index = false } O.__index = O
      function O:extend() local c = { super = self } c.__index = c return setmetatable(c, self) end
      local M = {}
      M.Entity = O:extend() function M.Entity.kind() return "entity2" end
      M.Mob = M.Entity:extend() function M.Mob.hp() return 10 end
      M.Wolf = M.Mob:extend() function M.Wolf.bite() return "bite2" end
      return M ]],
    function(M, before)
      return {
        M.Mob ~= M.Entity, M.Entity == before.Entity, M.Wolf == before.Wolf, M.Entity.kind(),
        rawget(M.Entity, "hp"), M.Wolf.super == M.Mob, M.Wolf.hp(), M.Wolf.bite(),
        getmetatable(M.Wolf) == M.Mob,
      }
    end,
    { true, true, true, "entity2", nil, true, 10, "bite2", true },
    function(M) return { Entity = M.Entity, Wolf = M.Wolf } end,
  },
  {
    "a hierarchy that is turned round", [[
      local A = {} A.__index = A
      local B = setmetatable({}, { __index = A }) B.__index = B
      function A.f() return "f1" end function B.g() return "g1" end
      return { A = A, B = B } ]],
    nil, [[
      local B = {} B.__index = B
      local A = setmetatable({}, { __index = B }) A.__index = A
      function A.f() return "f2" end function B.g() return "g2" end
      return { A = A, B = B } ]],
    function(M, before)
      return { M.A == before.A, M.B == before.B, M.B.missing, M.B.f, M.A.g(), M.A.f() }
    end,
    { true, true, nil, nil, "g2", "f2" },
    function(M) return { A = M.A, B = M.B } end,
  },
  {
    "a class whose parent is gone, and has left it to the grandparent", [[
      local A = {} A.__index = A function A.f() return "f1" end
      local B = setmetatable({}, { __index = A }) B.__index = B function B.g() return "g1" end
      local C = setmetatable({ hp = 1 }, { __index = B }) C.__index = C
      return { A = A, B = B, C = C } ]],
    function(M) M.C.hp = 7 end, [[
      local A = {} A.__index = A function A.f() return "f2" end
      local C = setmetatable({ hp = 1 }, { __index = A }) C.__index = C
      return { A = A, C = C } ]],
    function(M, before)
      return { M.C == before.C, getmetatable(M.C).__index == M.A, M.C.g, M.C.f(), M.C.hp }
    end,
    { true, true, nil, "f2", 7 },
    function(M) return { C = M.C } end,
  },
  {
    "a table that a class call makes now", [[
      local Dog = {} Dog.__index = Dog
      function Dog.new() return setmetatable({}, Dog) end
      function Dog:hi() return "hi1" end
      return { Dog = Dog } ]],
    nil, [[
      local function class(n) local c = { name = n } c.__index = c return c end
      local Dog = class "Dog"
      function Dog.new() return setmetatable({}, Dog) end
      function Dog:hi() return "hi2" end
      return { Dog = Dog } ]],
    function(M, before)
      return { before.dog:hi(), M.Dog == before.Dog, getmetatable(M.Dog.new()) == before.Dog }
    end,
    { "hi2", true, true },
    function(M) return { Dog = M.Dog, dog = M.Dog.new() } end,
  },
  {
    "a table that goes from a field to a local", [[
      local M = { players = {} }
      function M.join(n) table.insert(M.players, n) return #M.players end
      return M ]],
    function(M) M.join "ann" M.join "bob" end, [[
      local M, players = {}, {}
      function M.join(n) table.insert(players, n) return #players end
      return M ]],
    function(M) return { M.join "cat" } end, { 3 },
  },
  {
    "a table that goes from a local to a field", [[
      local M, players = {}, {}
      function M.join(n) table.insert(players, n) return #players end
      return M ]],
    function(M) M.join "ann" M.join "bob" end, [[
      local M = { players = {} }
      function M.join(n) table.insert(M.players, n) return #M.players end
      return M ]],
    function(M) return { M.join "cat" } end, { 3 },
  },
  {
    "two locals of one name, and a third before them", [[
      local M = {}
      do local S = { n = "a" } function S.run() return "a1" end M.a = S end
      do local S = { n = "b" } function S.run() return "b1" end M.b = S end
      return M ]],
    nil, [[
      local M = {}
      do local S = { n = "c" } function S.run() return "c2" end M.c = S end
      do local S = { n = "a" } function S.run() return "a2" end M.a = S end
      do local S = { n = "b" } function S.run() return "b2" end M.b = S end
      return M ]],
    function(M, before)
      local a, b = before.a, before.b
      return { a.n, a.run(), b.n, b.run(), M.c.n, M.c.run(), M.a == a, M.b == b,
        M.c ~= a and M.c ~= b }
    end,
    { "a", "a2", "b", "b2", "c", "c2", true, true, true },
    function(M) return { a = M.a, b = M.b } end,
  },
  {
    "a class that is copied, and the copy edited", [[
      local M = {}
      local Orc = { hp = 10, name = "orc" } function Orc.run() return "orc1" end M.orc = Orc
      return M ]],
    nil, [[
      local M = {}
      local Troll = { hp = 10, name = "troll" }
      function Troll.run() return "troll2" end M.troll = Troll
      local Orc = { hp = 12, name = "orc" } function Orc.run() return "orc2" end M.orc = Orc
      return M ]],
    function(M, before)
      return { before.orc.run(), M.orc == before.orc, M.troll.run(), M.troll ~= before.orc }
    end,
    { "orc2", true, "troll2", true },
    function(M) return { orc = M.orc } end,
  },
  {
    "a reference to a table of data", [[
      local M = { conf = { eu = { tax = 1 }, us = { tax = 2 } } }
      M.current = M.conf.eu
      function M.tax() return M.current.tax end
      return M ]],
    nil, [[
      local M = { conf = { eu = { tax = 1 }, us = { tax = 2 } } }
      M.current = M.conf.us
      function M.tax() return M.current.tax end
      return M ]],
    function(M) return { M.tax(), M.current == M.conf.us } end, { 2, true },
  },
  {
    "a name that has become another one for a function that the file still has", [[
      local M, held = {}, nil
      function M.a() return "a1" end
      function M.b() return "b1" end
      function M.hold() held = M.b end
      function M.run() return held() end
      return M ]],
    function(M) M.hold() end, [[
      local M, held = {}, nil
      function M.a() return "a2" end
      M.b = M.a
      function M.hold() held = M.b end
      function M.run() return held() end
      return M ]],
    function(M) return { M.run(), M.b() } end, { "a2", "a2" },
  },
  {
    "a helper that takes a function's upvalue over", [[
      local M, n = {}, 0
      function M.f() n = n + 1 return "f1:" .. n end
      return M ]],
    function(M) M.f() end, [[
      local M, n = {}, 0
      local function inner() n = n + 1 return "f2:" .. n end
      function M.f() return inner() end
      return M ]],
    function(M) return { M.f() } end, { "f2:2" },
  },
  {
    "a function that a decorator is put around", [[
      local M, n, held = {}, 0, nil
      function M.f() n = n + 1 return "f1:" .. n end
      function M.hold() held = M.f end
      function M.run() return held() end
      return M ]],
    function(M) M.f() M.hold() end, [[
      local function deco(f) return function() return "<" .. f() .. ">" end end
      local M, n, held = {}, 0, nil
      M.f = deco(function() n = n + 1 return "f2:" .. n end)
      function M.hold() held = M.f end
      function M.run() return held() end
      return M ]],
    function(M) return { M.f(), M.run() } end, { "<f2:2>", "<f2:3>" },
  },
  {
    "a class whose name was taken for another one", [[
      local M = {}
      local State = { name = "idle", hp = 3, x = 1, y = 2 } State.__index = State
      function State.tick(s) s.n = (s.n or 0) + 1 return "idle" .. s.n end
      M.State = State
      function M.new() return setmetatable({}, State) end
      return M ]],
    nil, [[
      local M = {}
      local State = { name = "idle", hp = 3, x = 1, y = 2 } State.__index = State
      function State.tick(s) s.n = (s.n or 0) + 1 return "IDLE" .. s.n end
      local Other = { name = "other" } Other.__index = Other
      M.State, M.Other = State, Other
      function M.new() return setmetatable({}, State) end
      return M ]],
    function(_, before) return { before.object:tick() } end, { "IDLE2" },
    function(M) local object = M.new() object:tick() return { object = object } end,
  },
}

describe("an object is the expression that makes it (R3)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, scope in ipairs { "module", "vm" } do
    for _, case in ipairs(CASES) do
      local title, first, change, second, see, wanted, remember = table.unpack(case, 1, 7)
      it(title .. ", scope " .. scope, function()
        require "hotreload".track()
        local M = app:module("m", first)
        local before = remember and remember(M)
        if change then change(M) end
        app:update("m", second, { scope = scope })
        assert.same(wanted, see(M, before))
        -- The file as it is, once more: nothing moves.
        app:reloaded("m", { scope = scope })
        local again = see(M, before)
        if title:find "upvalue" or title:find "decorator" or title:find "taken for"
          or title:find " local" then return end
        assert.same(wanted, again)
      end)
    end
  end
end)

describe("what an edit renames (R5.13)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("stays in its former place, also in a table that the file takes up", function()
    require "hotreload".track(false)
    local text = [[
      Mod = Mod or {}
      Mod.sub = {}
      function Mod.sub.enter(n) n = math.abs(n) return "one", n end
    ]]
    app:write("m", text)
    require "m"
    app:reloaded "m"
    local report = app:update("m", (text:gsub("function Mod.sub.enter", "local function login")))
    assert.equal(0, report.functions.dropped)
    assert.equal("one", Mod.sub.enter(1)) -- luacheck: ignore Mod
  end)

  it("is told if the program has something under the new name", function()
    require "hotreload".track()
    local M = app:module("m", "return { old = { name = 'x', act = function() return 1 end } }")
    M.new = {}
    local report = app:update("m", "return { new = { name = 'x', act = function() return 2 end } }")
    assert.same({}, M.new)
    assert.equal(2, M.old.act())
    assert.matches("m.new: the file and the program have both put", report.warnings[1], 1, true)
  end)
end)

describe("a reference to a row of a list (R3.7)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  local function module(version, current, nameless)
    local function row(name)
      return ("{ %s act = function() return '%s%d' end }")
        :format(nameless and "" or ("name = '%s',"):format(name), name, version)
    end
    return ([[
      local M = { states = { %s, %s } }
      M.current = M.states[%d]
      M.child = setmetatable({}, { __index = M.states[%d] })
      return M
    ]]):format(row "idle", row "run", current, current)
  end

  for _, nameless in ipairs { false, true } do
    local of = nameless and ", of which none has a name" or ""
    for _, data in ipairs { "keep", "merge", "replace" } do
      it("leads to another one, and none gets another one's code, data = " .. data .. of, function()
        local M = app:module("m", module(1, 1, nameless))
        local idle, run = M.states[1], M.states[2]
        app:update("m", module(2, 2, nameless), { data = data })
        assert.same({ "idle2", "run2", "run2" }, { idle.act(), run.act(), M.child.act() })
        assert.same({ true, true, true },
          { M.states[1] == idle, M.states[2] == run, M.current == run })
      end)
    end

    it("stays as the program has it" .. of, function()
      local M = app:module("m", module(1, 1, nameless))
      local idle, run = M.states[1], M.states[2]
      M.current = run
      app:update("m", module(2, 1, nameless))
      assert.same({ "idle2", "run2", true }, { idle.act(), run.act(), M.current == run })
      M.states[1], M.states[2] = run, idle
      app:update("m", module(3, 1, nameless))
      assert.same({ "idle3", "run3", true }, { idle.act(), run.act(), M.current == run })
    end)
  end
end)

describe("past the limits of R3.7", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- A list of rows, each with a function of its own name, and a reference to the last one.
  local function module(count, version)
    local rows = {}
    for i = 1, count do
      rows[i] = ("{ act%d = function() return %d, %d end }"):format(i, i, version)
    end
    return ("local M = { list = { %s } } M.last = M.list[%d] return M"):format(
      table.concat(rows, ", "), count)
  end

  it("more names of functions than are looked at is a warning, up to that it is none", function()
    app:module("m", module(16, 1))
    assert.same({}, app:update("m", module(16, 2)).warnings)
    app:module("n", module(17, 1))
    local report = app:update("n", module(17, 2))
    assert.equal(1, #report.warnings)
    assert.matches("^n: M.list: more than 16 names of functions in its rows, so these go by "
      .. "their places; give", report.warnings[1])
    local text = report.warnings[1]
    report = app:update("n", module(17, 2))
    assert.same({ {}, { text } }, { report.warnings, report.limits })
  end)

  it("more elements than are looked at is a warning", function()
    local M = app:module("m", module(2, 1))
    for i = 3, 10001 do M.list[i] = {} end
    local report = app:update("m", module(2, 2))
    assert.equal(1, #report.warnings)
    assert.matches("^m: M.list: more than 10000 elements, so its rows go by their places",
      report.warnings[1])
    M.list[10001] = nil
    assert.same({}, app:update("m", module(2, 3)).warnings)
  end)
end)

-- What the program has put into a place that the file gives another object.
describe("a place that the program has given another object", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- One state leads to the next, and nothing to the former one.
  local function states(version, decl, cur)
    return (([[
      local M = {}
      DECL
      CUR = Lobby
      function Lobby.update() CUR = Battle return "lobby@" end
      function Battle.update() return "battle@" end
      function M.update() return CUR.update() end
      function M.name() return CUR.name end
      return M
    ]]):gsub("DECL", decl):gsub("CUR", cur):gsub("@", version))
  end
  local NAMED = 'local Lobby, Battle = { name = "lobby" }, { name = "battle" }'
  local WAYS = {
    { "a field", NAMED, "M.state" },
    { "a local", NAMED .. " local state", "state" },
    { "a field, both in a list", NAMED .. " M.states = { Lobby, Battle }", "M.state" },
    { "a field, without names", "local Lobby, Battle = {}, {}", "M.state" },
    { "a field, as fields of a table",
      'M.all = { lobby = { name = "lobby" }, battle = { name = "battle" } } '
        .. "local Lobby, Battle = M.all.lobby, M.all.battle", "M.state" },
    { "an element of a list", NAMED .. " M.stack = {}", "M.stack[1]" },
  }
  for _, scope in ipairs { "module", "vm" } do
    for _, way in ipairs(WAYS) do
      local where, decl, cur = table.unpack(way)
      it(("keeps it, with its own new code: %s, scope %s"):format(where, scope), function()
        local M = app:module("m", states(1, decl, cur))
        M.update()
        local name = M.name()
        for version = 1, 3 do
          local report = app:update("m", states(version, decl, cur), { scope = scope })
          assert.same({ {}, 0, "battle" .. version, name },
            { report.warnings, report.functions.added, M.update(), M.name() })
        end
      end)
    end
  end

  -- A stand-in, and the table of another module that the program puts in its place.
  local STANDINS = {
    { "a field", "M.db = STANDIN", "M.db" },
    { "a local", "local db = STANDIN", "db" },
    { "a global", "StandIn = STANDIN", "StandIn" },
  }
  for _, case in ipairs(STANDINS) do
    local where, decl, db = table.unpack(case)
    it("keeps a table of another module as it is: " .. where, function()
      local function module(version, more)
        local text = ([[
          local M = {}
          DECL
          function M.use(new) DB = new end
          function M.query() return DB.query() end
          return M
        ]]):gsub("DECL", decl):gsub("STANDIN", ([[{
          query = function() return "fake%d" end,%s
        }]]):format(version, more))
        return (text:gsub("DB", db))
      end
      local M = app:module("m", module(1, ""))
      local driver = app:module("driver", [[
        return { new = function() return { query = function() return "real" end } end }
      ]]).new()
      M.use(driver)
      for version = 1, 3 do
        local more = version == 3 and "close = function() end," or ""
        local report = app:update("m", module(version, more))
        assert.same({ {}, 0, "real" }, { report.warnings, report.functions.added, M.query() })
        assert.is_nil(driver.close)
      end
      StandIn = nil -- luacheck: ignore
    end)
  end

  it("is no edit of the file's if it is a metatable that nothing else leads to", function()
    local function module(version)
      return ([[
        local M = {}
        local Angry = {} Angry.__index = Angry function Angry:act() return "angry@" end
        local Calm = {} Calm.__index = Calm function Calm:act() return "calm@" end
        M.boss = setmetatable({ hp = 5 }, Angry)
        function M.calm() setmetatable(M.boss, Calm) end
        return M
      ]]):gsub("@", version), nil
    end
    local M = app:module("m", (module(1)))
    M.calm()
    for version = 1, 3 do
      local report = app:update("m", (module(version)), { strict = true })
      assert.same({ {}, "calm" .. version }, { report.warnings, M.boss:act() })
    end
  end)

  it("gets no other function of a list", function()
    local function module(texts)
      local modes = {}
      for i, text in ipairs(texts) do modes[i] = ("function() return %q end"):format(text) end
      return ([[
        local modes = { %s }
        local M = { mode = modes[1] }
        function M.set(i) M.mode = modes[i] end
        return M
      ]]):format(table.concat(modes, ", "))
    end
    local M = app:module("m", module { "easy", "hard" })
    M.set(2)
    app:update("m", module { "easy!", "hard!", "hell!" })
    assert.equal("hard", M.mode())
    M.set(1)
    assert.equal("easy", M.mode())
  end)

  it("gives the file's code to what the module itself makes there anew", function()
    local function module(version)
      return ([[
        local M = {}
        local function make(n) return { n = n, act = function() return "act%d" end } end
        local cur = make(1)
        M.state = cur
        function M.renew() cur = make(2) M.state = cur end
        function M.get() return cur.n, cur.act(), M.state.act() end
        return M
      ]]):format(version)
    end
    local M = app:module("m", module(1))
    M.renew()
    for version = 2, 3 do
      local report = app:update("m", module(version))
      assert.same({ {}, 2, "act" .. version, "act" .. version }, { report.warnings, M.get() })
    end
  end)
end)

describe("a function that is defined in several places under one name (R3.7)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local ONE = [[
    function M.f(set)
      local list = {}
      for item in pairs(set) do list[#list + 1] = item end
      hits = hits + 1
      return "first", #list, hits
    end
  ]]
  local TWO = [[
    function M.f(set)
      hits = hits + 1
      return "second", #set, hits
    end
  ]]
  local OTHER = "function M.other() return M.f { 1 } end\n"
  local function file(...)
    return "local M, hits = {}, 0\n" .. table.concat { ... } .. "return M"
  end
  local function either(condition)
    return "if " .. condition .. " then\n" .. ONE .. "else\n" .. TWO .. "end\n"
  end
  local function as_local(text)
    return "local f\n" .. text:gsub("function M%.f", "function f") .. "M.f = f\n"
  end

  local edits = {
    ["the second is taken out"] = { file(ONE, OTHER, TWO), file(ONE, OTHER), "first" },
    ["the first is taken out"] = { file(ONE, OTHER, TWO), file(OTHER, TWO), "second" },
    ["a second is added"] = { file(ONE, OTHER), file(ONE, OTHER, TWO), "second" },
    ["they are exchanged"] = { file(ONE, OTHER, TWO), file(TWO, OTHER, ONE), "first" },
    ["another branch runs"] = { file(either "false"), file(either "true"), "first" },
    ["another branch assigns a local"] = {
      file(as_local(either "false")), file(as_local(either "true")), "first",
    },
  }
  local names = {}
  for name in pairs(edits) do names[#names + 1] = name end
  table.sort(names)
  for _, options in ipairs {
    {}, { scope = "vm" }, { data = "merge" }, { data = "replace" }, { removed = "drop" },
  } do
    for _, name in ipairs(names) do
      local how = ("%s, %s %s %s"):format(name, options.scope, options.data, options.removed)
      it("is the file's: " .. how, function()
        local before, after, wanted = table.unpack(edits[name])
        local M = app:module("m", before)
        M.f { 1 }
        local report = app:update("m", after, options)
        local count = options.data == "replace" and 1 or 2
        assert.same({ wanted, 1, count }, { M.f { 1 } })
        assert.same({ {}, 0, 0 },
          { report.warnings, report.functions.removed, report.functions.dropped })
        assert.matches("nothing to do", tostring(app:reloaded "m"), 1, true)
      end)
    end
  end
end)
