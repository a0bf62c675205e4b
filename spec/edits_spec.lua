-- Ordinary edits of ordinary modules, as a team makes them: what the program holds stays, and all
-- of it runs the file's code. Each edit is tried in both scopes, and once more with a second reload
-- of the same file, which must find nothing left to do.

local program = require "spec.support.program"

local number = 0

-- edit { files = { other = text }, v1 = text, use = function(M, held), v2 = text, check =
-- function(M, held, scope),
--   untracked = true where the outcome is that without a record of the first load }
local function edit(title, it_is)
  for _, scope in ipairs { "module", "vm" } do
    for times = 1, scope == "module" and 2 or 1 do
      local how = scope == "vm" and ", with scope 'vm'" or ""
      it(title .. how .. (times == 2 and ", and reloaded again" or ""), function()
        local app = program.new()
        finally(function() app:unload() end)
        app.hotreload.track(not it_is.untracked)
        number = number + 1
        local name, held = "edited" .. number, {}
        for other, text in pairs(it_is.files or {}) do
          app:write(other, text)
        end
        local M = app:module(name, it_is.v1)
        if it_is.use then
          it_is.use(M, held)
        end
        app:update(name, it_is.v2, { scope = scope })
        if times == 2 then
          local again = app:reloaded(name, { scope = scope })
          assert.equal(0, again.changed)
          assert.equal(0, again.data.added)
        end
        it_is.check(M, held, scope)
      end)
    end
  end
end

describe("A class that extends another one now (R3.1)", function()
  local classes = [[
    local M = {}
    local function class(parent)
      local c = { super = parent }
      c.__index = c
      return setmetatable(c, parent)
    end
    local Animal, Pet = class(), class()
    function Animal:kind() return "animal 1" end
    function Pet:kind() return "pet 1" end
    local Dog = class(Animal)
    function Dog:name() return "dog 1, " .. Dog.super.kind(self) end
    M.Dog = Dog
    function M.classes() return Animal, Pet end
    return M
  ]]

  edit("has that one's methods, and each of the two stays what it is", {
    v1 = classes,
    use = function(M, held)
      held.animal, held.pet = M.classes()
      held.dog = setmetatable({}, M.Dog)
    end,
    v2 = (classes:gsub("class%(Animal%)", "class(Pet)"):gsub(" 1", " 2")),
    check = function(M, held)
      assert.equal("dog 2, pet 2", held.dog:name())
      assert.equal("pet 2", held.dog:kind())
      local animal, pet = M.classes()
      assert.equal(held.animal, animal)
      assert.equal(held.pet, pet)
      assert.equal("animal 2", animal:kind())
      assert.equal("pet 2", pet:kind())
      assert.equal(pet, M.Dog.super)
      assert.equal(pet, getmetatable(M.Dog))
    end,
  })

  local chain = [[
    local M = {}
    local A = {} A.__index = A
    function A:who() return "A1" end
    local B = setmetatable({}, { __index = A }) B.__index = B
    function B:who() return "B1 " .. A.who(self) end
    function B:middle() return "middle 1" end
    local C = setmetatable({}, { __index = B }) C.__index = C
    function C:who() return "C1 " .. B.who(self) end
    M.A, M.B, M.C = A, B, C
    return M
  ]]
  local short = [[
    local M = {}
    local A = {} A.__index = A
    function A:who() return "A2" end
    local C = setmetatable({}, { __index = A }) C.__index = C
    function C:who() return "C2 " .. A.who(self) end
    M.A, M.C = A, C
    return M
  ]]

  edit("has a class between itself and the former parent", {
    v1 = short,
    use = function(M, held) held.object, held.A, held.C = setmetatable({}, M.C), M.A, M.C end,
    v2 = chain,
    check = function(M, held)
      assert.equal("C1 B1 A1", held.object:who())
      assert.equal("middle 1", held.object:middle())
      assert.same({ held.A, held.C }, { M.A, M.C })
      assert.equal(M.B, getmetatable(M.C).__index)
      assert.equal("A1", M.A:who())
    end,
  })

  edit("has no class between itself and the first one any more", {
    v1 = chain,
    use = function(M, held)
      held.object, held.other = setmetatable({}, M.C), setmetatable({}, M.B)
    end,
    v2 = short,
    check = function(M, held)
      assert.equal("C2 A2", held.object:who())
      assert.equal(M.A, getmetatable(M.C).__index)
      assert.equal("middle 1", held.other:middle()) -- what the file lacks stays (R5.2)
      assert.is_nil(held.object.middle)
    end,
  })

  it("is as it was after undo", function()
    local app = program.new()
    finally(function() app:unload() end)
    local M = app:module("undone", classes)
    local animal = M.classes()
    local before = program.fingerprint(M)
    app:update("undone", (classes:gsub("class%(Animal%)", "class(Pet)"):gsub(" 1", " 2")),
      { dry_run = true })
    before:assert_unchanged()
    app:reloaded("undone")
    assert.not_equal(animal, getmetatable(M.Dog))
    assert.is_true(app.hotreload.undo("undone"))
    assert.equal(animal, getmetatable(M.Dog))
    assert.equal(animal, M.Dog.super)
    assert.equal("dog 1, animal 1", M.Dog:name())
  end)

  it("stays in a state that the program chose by a metatable", function()
    local app = program.new()
    finally(function() app:unload() end)
    local v1 = [[
      local Idle, Alarm = {}, {}
      Idle.__index, Alarm.__index = Idle, Alarm
      function Idle.tick() return "idle 1" end
      function Alarm.tick() return "alarm 1" end
      return { guard = setmetatable({}, Idle), idle = Idle, alarm = Alarm }
    ]]
    local M = app:module("guard", v1)
    setmetatable(M.guard, M.alarm)
    app:update("guard", (v1:gsub(" 1", " 2")))
    assert.equal("alarm 2", M.guard.tick())
    assert.equal(M.alarm, getmetatable(M.guard))
  end)
end)

describe("What two tables shared", function()
  edit("is each one's own when the file gives them a metatable each", {
    v1 = [[
      local mt = { __index = function(_, key) return "both " .. key end }
      return { a = setmetatable({}, mt), b = setmetatable({}, mt) }
    ]],
    v2 = [[
      local function default(who) return { __index = function(_, key) return who .. key end } end
      return { a = setmetatable({}, default "a "), b = setmetatable({}, default "b ") }
    ]],
    check = function(M)
      assert.equal("a x", M.a.x)
      assert.equal("b x", M.b.x)
    end,
  })

  edit("is each one's own when the file gives two classes a table of methods each", {
    v1 = [[
      local methods = { hit = function() return "hit 1" end }
      return { Orc = { __index = methods }, Elf = { __index = methods } }
    ]],
    use = function(M, held)
      held.orc, held.elf = setmetatable({}, M.Orc), setmetatable({}, M.Elf)
    end,
    v2 = [[
      local orc = { hit = function() return "orc 2" end }
      local elf = { hit = function() return "elf 2" end }
      return { Orc = { __index = orc }, Elf = { __index = elf } }
    ]],
    check = function(_, held)
      assert.equal("orc 2", held.orc.hit())
      assert.equal("elf 2", held.elf.hit())
    end,
  })
end)

describe("A list of handlers (R3.1, R5.3)", function()
  -- `handlers` stand in the module under their names, and some of them in its list.
  local function module(version, names)
    return ([[
      local M = {}
      function M.x() return "x%s" end
      function M.y() return "y%s" end
      function M.z() return "z%s" end
      M.list = { %s }
      function M.run()
        local out = {}
        for _, f in ipairs(M.list) do out[#out + 1] = f() end
        return table.concat(out, " ")
      end
      return M
    ]]):format(version, version, version, names)
  end
  -- They have no name; `bodies` say what each of them returns.
  local function nameless(...)
    local list = {}
    for i, body in ipairs { ... } do
      list[i] = ("function() return %q end"):format(body)
    end
    return ([[
      local M = { list = { %s } }
      function M.run()
        local out = {}
        for _, f in ipairs(M.list) do out[#out + 1] = f() end
        return table.concat(out, " ")
      end
      return M
    ]]):format(table.concat(list, ", "))
  end
  local function foreign() return "foreign" end

  local function stays(title, v1, use, v2, expected, untracked)
    edit(title, {
      v1 = v1, use = use, v2 = v2, untracked = untracked,
      check = function(M) assert.equal(expected, M.run()) end,
    })
  end

  stays("has none back that the program removed, and none is lost for it", module(1, "M.x, M.y"),
    function(M) table.remove(M.list, 1) end, module(2, "M.x, M.y"), "y2")
  stays("keeps what others have put in front", module(1, "M.x, M.y"),
    function(M) table.insert(M.list, 1, foreign) end, module(2, "M.x, M.y"), "foreign x2 y2")
  stays("keeps what others have put between, and loses a reference that the file has no longer",
    module(1, "M.x, M.y"),
    function(M) table.insert(M.list, 2, foreign) end, module(2, "M.y"), "foreign y2")
  stays("keeps what others have put in the place of a handler that was removed",
    module(1, "M.x, M.y"),
    function(M)
      table.remove(M.list, 1)
      table.insert(M.list, foreign)
    end, module(2, "M.x, M.y"), "y2 foreign")
  stays("keeps what others have put in the place of the last handler, which was removed",
    module(1, "M.x, M.y"), function(M) M.list[2] = foreign end, module(2, "M.x, M.y"), "x2 foreign")
  stays("has a handler twice where the program put it twice", module(1, "M.x, M.y"),
    function(M) table.insert(M.list, M.list[1]) end, module(2, "M.x, M.y"), "x2 y2 x2")
  stays("has a new one of the file in its place", module(1, "M.x, M.y"), nil,
    module(2, "M.x, M.z, M.y"), "x2 z2 y2")
  stays("is not shifted by a new one of the file, without a record", module(1, "M.x, M.y"), nil,
    module(2, "M.x, M.z, M.y"), "x2 y2", true)
  stays("loses a reference that the file has no longer", module(1, "M.x, M.y, M.z"), nil,
    module(2, "M.x, M.z"),
    "x2 z2")
  stays("gets what is new in the file, and no more, when the program has emptied it",
    module(1, "M.x"),
    function(M) M.list[1] = nil end, module(2, "M.x, M.y"), "y2")
  stays("has the file's order where nothing has been removed or added", module(1, "M.x, M.y"), nil,
    module(2, "M.y, M.x"), "y2 x2")

  stays("without names goes by code where the program removed one", nameless("x1", "y1"),
    function(M) table.remove(M.list, 1) end, nameless("x2", "y1"), "y1")
  stays("without names goes by order between others' functions", nameless("x1", "y1"),
    function(M) table.insert(M.list, 1, foreign) end, nameless("x2", "y2"), "foreign x2 y2")
  stays("without names goes by order between those that did not change", nameless("x1", "y1"), nil,
    nameless("x2", "y1", "z1"), "x2 y1 z1")
  stays("without names goes by order between those that did not change, without a record",
    nameless("x1", "y1"), nil,
    nameless("x2", "y1", "z1"), "x2 y1", true)
  stays("without names has none twice where the file has become shorter",
    nameless("x1", "y1", "z1"), nil,
    nameless("x1", "z1"), "x1 y1 z1")

  it("keeps what one of the module's functions made and put in front", function()
    local app = program.new()
    finally(function() app:unload() end)
    local v1 = [[
      local M = { list = { function() return "own 1" end } }
      function M.start(n) table.insert(M.list, 1, function() return "started " .. n end) end
      return M
    ]]
    local M = app:module("started", v1)
    M.start(7)
    app:update("started", (v1:gsub("own 1", "own 2")))
    assert.equal("started 7", M.list[1]())
    assert.equal("own 2", M.list[2]())
    assert.equal(2, #M.list)
  end)

  it("follows the file as a whole where it is as the record says", function()
    local app = program.new()
    finally(function() app:unload() end)
    local M = app:module("recorded", module(1, "M.x, M.y"))
    app:reloaded "recorded"
    app:update("recorded", module(2, "M.x, M.z, M.y"))
    assert.equal("x2 z2 y2", M.run())
  end)

  it("says in the report what was not added", function()
    local app = program.new()
    finally(function() app:unload() end)
    app.hotreload.track(false)
    app:module("told", module(1, "M.x, M.y"))
    local report = app:update("told", module(2, "M.x, M.z, M.y"))
    assert.same({
      "told.list[2]: a new function that the running list lacks was not added; "
        .. "there is no record of what the list was loaded with: add it in __hotfix (R5.12)",
    }, report.warnings)
  end)
end)

describe("Rows of a list that the file or the program has changed (R3.1)", function()
  local function skills(version, ...)
    local rows = {}
    for i, row in ipairs { ... } do
      rows[i] = ("{ name = %q, mp = %d, uses = 0, cast = function(r) r.uses = r.uses + 1 \z
        return r.name .. %q end }")
        :format(row[1], row[2], " casts " .. row[1] .. version)
    end
    return ("return { list = { %s } }"):format(table.concat(rows, ",\n"))
  end
  local function assert_own(M, version, names)
    local found = {}
    for i, row in ipairs(M.list) do
      found[i] = row.name
      assert.equal(("%s casts %s%s"):format(row.name, row.name, version), row:cast())
    end
    assert.same(names, found)
  end

  edit("get their own functions though their numbers changed and they changed places", {
    v1 = skills(1, { "fire", 1 }, { "ice", 2 }),
    v2 = skills(2, { "ice", 6 }, { "fire", 5 }),
    -- the file's order: nobody else has one
    check = function(M) assert_own(M, 2, { "ice", "fire" }) end,
  })

  edit("get their own functions though they have state and the file has a new one in front", {
    v1 = skills(1, { "fire", 1 }, { "ice", 2 }),
    use = function(M) M.list[1]:cast() M.list[2]:cast() end,
    v2 = skills(2, { "bolt", 3 }, { "fire", 1 }, { "ice", 2 }),
    check = function(M)
      assert_own(M, 2, { "bolt", "fire", "ice" })
      assert.same({ 1, 2, 2 }, { M.list[1].uses, M.list[2].uses, M.list[3].uses })
    end,
  })

  edit("get their own functions though the program removed one and the file changed numbers", {
    v1 = skills(1, { "fire", 1 }, { "ice", 2 }),
    use = function(M) table.remove(M.list, 1) end,
    v2 = skills(2, { "fire", 5 }, { "ice", 6 }),
    check = function(M) assert_own(M, 2, { "ice" }) end,
  })

  local function tree(...)
    local nodes = {}
    for i, name in ipairs { ... } do
      nodes[i] = ("{ type = 'act', run = function() return %q end }"):format(name)
    end
    return ("return { tree = { %s } }"):format(table.concat(nodes, ", "))
  end

  edit("stay as they are where nothing tells them apart, rather than run another one's code", {
    v1 = tree("flee 1", "fight 1"),
    v2 = tree("hide 2", "flee 2", "fight 2"),
    check = function(M)
      assert.matches("^flee", M.tree[1].run())
      assert.matches("^fight", M.tree[2].run())
    end,
  })

  local parents = [[
    local A, B = { a = function() return "a 1" end }, { b = function() return "b 1" end }
    local list = { A, B }
    local function find(_, key)
      for _, parent in ipairs(list) do
        if parent[key] then return parent[key] end
      end
    end
    return setmetatable({}, { __index = find })
  ]]

  edit("without plain fields are known by the names of their functions, where these tell", {
    v1 = parents,
    v2 = (parents:gsub(" 1", " 2"):gsub("{ A, B }", "{ { c = function() end }, A, B }")),
    check = function(M)
      assert.equal("a 2", M.a())
      assert.equal("b 2", M.b())
    end,
  })

  edit("without plain fields and with the same names stay as they are, \z
    rather than run another one's code", {
    untracked = true,
    v1 = "return { { run = function() return 'x 1' end }, { run = function() return 'y 1' end } }",
    v2 = "return { { run = function() return 'new' end }, { run = function() return 'x 2' end }, "
      .. "{ run = function() return 'y 2' end } }",
    check = function(M)
      assert.matches("^x", M[1].run())
      assert.matches("^y", M[2].run())
    end,
  })

  it("that are not added are told in the report", function()
    local app = program.new()
    finally(function() app:unload() end)
    app.hotreload.track(false)
    app:module("told", skills(1, { "fire", 1 }))
    local report = app:update("told", skills(1, { "fire", 1 }, { "ice", 2 }))
    assert.equal(1, #report.warnings)
    assert.matches("told.list[2]: a new row with functions that the running list lacks",
      report.warnings[1], 1, true)
  end)
end)

describe("A table that stands in several places of the file (R3.1)", function()
  local function states(version, first, ...)
    local names = {}
    for i, name in ipairs { ... } do
      names[i] = ("%q"):format(name)
    end
    return ([[
      local M = { states = {} }
      for _, name in ipairs { %s } do
        M.states[name] = { enter = function() return name .. " %s" end }
      end
      M.current = M.states.%s
      return M
    ]]):format(table.concat(names, ", "), version, first)
  end

  edit("gives its functions to no other that the program has put into one of them", {
    v1 = states("1", "idle", "idle", "run"),
    use = function(M) M.current = M.states.run end,
    v2 = states("2", "fly", "fly", "run", "idle"),
    check = function(M)
      for _, name in ipairs { "fly", "run", "idle" } do
        assert.equal(name .. " 2", M.states[name].enter())
      end
      assert.equal(M.states.run, M.current)
    end,
  })

  edit("gives its functions to none that the file had in one of them, and is no reason to refuse", {
    v1 = states("1", "idle", "idle", "run"),
    v2 = states("2", "run", "run", "idle"),
    check = function(M)
      assert.equal("idle 2", M.states.idle.enter())
      assert.equal("run 2", M.states.run.enter())
      assert.equal(M.states.run, M.current) -- only the edit has touched the reference
    end,
  })

  edit("gives its functions to none that the file has dropped and the program has put \z
    into one of them", {
    untracked = true,
    v1 = states("1", "idle", "idle", "run"),
    use = function(M) M.current = M.states.run end,
    v2 = states("2", "idle", "idle"),
    check = function(M, _, scope)
      assert.equal("idle 2", M.states.idle.enter())
      -- What the file lacks stays (R5.2); but a closure of a loop that the file has follows (R9.3).
      assert.equal(scope == "vm" and "run 2" or "run 1", M.current.enter())
      assert.equal(M.states.run, M.current)
    end,
  })

  local objects = [[
    local M = {}
    local State = {} State.__index = State
    function State:enter() return self.name .. " 1" end
    local states = {}
    for _, name in ipairs { "idle", "run" } do
      states[name] = setmetatable({ name = name }, State)
    end
    local current = states.idle
    function M.go(name) current = states[name] end
    function M.enter(name) return (name and states[name] or current):enter() end
    return M
  ]]

  edit("is not lost where locals hold both and only a metatable has functions", {
    v1 = objects,
    use = function(M) M.go "run" end,
    v2 = (objects:gsub(" 1", " 2"):gsub('{ "idle", "run" }', '{ "fly", "run", "idle" }')
      :gsub("= states.idle", "= states.fly")),
    check = function(M)
      assert.equal("run 2", M.enter())
      assert.equal("fly 2", M.enter "fly")
      assert.equal("idle 2", M.enter "idle")
    end,
  })

  local items = "local M = { items = { %s } } M.default = M.items.%s return M"

  edit("has the file's data where it is new, though it stands where another one stood", {
    v1 = items:format("sword = { attack = 1 }, bow = { attack = 2 }", "sword"),
    use = function(M, held) held.sword = M.items.sword end,
    v2 = items:format("axe = { attack = 9 }, sword = { attack = 1 }, bow = { attack = 2 }", "axe"),
    check = function(M, held)
      assert.same({ 9, 1, 2 }, { M.items.axe.attack, M.items.sword.attack, M.items.bow.attack })
      assert.equal(held.sword, M.items.sword)
      assert.equal(M.items.axe, M.default) -- only the edit has touched the reference
    end,
  })

  local numbers = [[
    local M = { by_id = {} }
    M.by_name = {}
    local function define(id, name, run)
      local row = { name = name, run = run }
      M.by_id[id] = row
      M.by_name[name] = row
    end
    define(%d, "login", function() return "login 1" end)
    define(%d, "logout", function() return "logout 1" end)
    return M
  ]]

  edit("is known by its name where numbers have changed", {
    v1 = numbers:format(1001, 1002),
    v2 = (numbers:format(1002, 1001):gsub(" 1\"", " 2\"")),
    check = function(M)
      for name, row in pairs(M.by_name) do
        assert.equal(name, row.name)
        assert.equal(name .. " 2", row.run())
      end
    end,
  })

  local kinds = [[
    local M = { kinds = {} }
    local Orc = {} Orc.__index = Orc
    function Orc.hit() return "orc 1" end
    M.kinds.orc, M.default = Orc, Orc
    return M
  ]]

  edit("is a new class that gives no object of another one its methods", {
    v1 = kinds,
    use = function(M, held) held.orc = setmetatable({}, M.kinds.orc) end,
    v2 = (kinds:gsub(" 1", " 2"):gsub("M.kinds.orc, M.default = Orc, Orc", [[
      local Elf = {} Elf.__index = Elf
      function Elf.hit() return "elf 2" end
      M.kinds.orc, M.kinds.elf, M.default = Orc, Elf, Elf
    ]])),
    check = function(M, held)
      assert.equal("orc 2", held.orc.hit())
      assert.equal("orc 2", M.kinds.orc.hit())
      assert.equal("elf 2", M.kinds.elf.hit())
    end,
  })

  edit("is one with the running table where the file gives it a second name", {
    v1 = "local M = {} M.config = { rate = 1 } return M",
    use = function(M, held) M.config.rate = 7 held.config = M.config end,
    v2 = "local M = {} local config = { rate = 2 } M.settings = config M.config = config return M",
    check = function(M, held)
      assert.equal(7, M.settings.rate)
      assert.equal(held.config, M.config)
      assert.equal(held.config, M.settings)
    end,
  })
end)

describe("A table that stands in several places of the running program (R3.1)", function()
  edit("stays what it is where the file has a table of its own for one of them", {
    v1 = [[
      local M = {}
      M.states = { idle = { enter = function() return "idle 1" end },
        run = { enter = function() return "run 1" end } }
      M.current = M.states.idle
      return M
    ]],
    use = function(M, held)
      M.current = M.states.run
      held.run = M.states.run
    end,
    v2 = [[
      local M = {}
      M.states = { idle = { enter = function() return "idle 2" end },
        run = { enter = function() return "run 2" end } }
      M.current = { enter = function() return "new" end }
      return M
    ]],
    check = function(M, held)
      assert.equal("idle 2", M.states.idle.enter())
      assert.equal("run 2", M.states.run.enter())
      assert.equal(held.run, M.states.run)
      assert.equal(held.run, M.current)
    end,
  })

  edit("has its place where the program has not put it", {
    v1 = [[
      local M = {}
      M.modes = { day = { light = function() return "day 1" end } }
      M.mode, M.last = M.modes.day, M.modes.day
      return M
    ]],
    use = function(M, held) held.day = M.modes.day end,
    v2 = [[
      local M = {}
      M.mode = { light = function() return "mode 2" end }
      M.last = { light = function() return "last 2" end }
      M.modes = { day = { light = function() return "day 2" end } }
      return M
    ]],
    check = function(M, held)
      assert.equal("day 2", held.day.light())
      assert.equal(held.day, M.modes.day)
    end,
  })
end)

describe("A class that the file moves", function()
  local classes = [[
    local M = {}
    BEFORE
    local Player = {}
    Player.__index = Player
    local count = 0
    function Player.new(name)
      count = count + 1
      return setmetatable({ name = name }, Player)
    end
    function Player:hello() return self.name .. " VERSION, of " .. count end
    M.PLACE = Player
    return M
  ]]
  local function moved(version, before, place)
    return (classes:gsub("VERSION", version):gsub("BEFORE", before):gsub("PLACE", place))
  end

  edit("to another table stays the class that it is, by its local (R4.2)", {
    v1 = moved("1", "", "Player"),
    use = function(M, held) held.class, held.ann = M.Player, M.Player.new("ann") end,
    v2 = moved("2", "M.classes = {}", "classes.Player"),
    check = function(M, held)
      assert.equal(held.class, M.classes.Player)
      assert.equal("ann 2, of 1", held.ann:hello())
      assert.equal("bob 2, of 2", M.classes.Player.new("bob"):hello())
    end,
  })

  edit("to another name does, too", {
    v1 = moved("1", "", "Player"),
    use = function(M, held) held.class, held.ann = M.Player, M.Player.new("ann") end,
    v2 = moved("2", "", "Hero"),
    check = function(M, held)
      assert.equal(held.class, M.Hero)
      assert.equal("ann 2, of 1", held.ann:hello())
    end,
  })
end)

describe("A new local (R4.2)", function()
  edit("shares nothing with a local of its name of which a factory has made one", {
    v1 = [[
      local M = { made = {} }
      function M.make()
        local cache = { "a maker's own" }
        M.made.maker = { get = function() return cache end }
      end
      return M
    ]],
    use = function(M, held)
      M.make()
      held.cache = M.made.maker.get()
    end,
    v2 = [[
      local M = { made = {} }
      local cache = { "the module's" }
      function M.make()
        local cache = { "a maker's own" }
        M.made.maker = { get = function() return cache end }
      end
      function M.cached() return cache end
      return M
    ]],
    check = function(M, held)
      assert.same({ "the module's" }, M.cached())
      assert.equal(held.cache, M.made.maker.get())
      assert.same({ "a maker's own" }, held.cache)
    end,
  })
end)

describe("A table with several places that the file gives another table one of (R3.1)", function()
  -- `idle` stands under `first` and `second`; `extra` says more.
  local function module(version, first, second, extra)
    return ([[
      local M = { states = {} }
      local current
      M.%s = { hits = 1, enter = function() return "idle VERSION" end }
      M.%s = %s
      %s
      function M.go(state) current = state end
      function M.now() return current end
      return M
    ]]):format(first, second, "M." .. first, extra or ""):gsub("VERSION", version)
  end
  local function assert_idle(M, held)
    assert.equal("idle 2", held.idle.enter())
    assert.equal(held.idle, M.idle)
    assert.equal("own", M.current.enter()) -- only the edit has touched the reference
  end
  local own = [[M.current = { hits = 5, enter = function() return "own" end }]]

  edit("is known by what the chunk makes first", {
    v1 = module("1", "idle", "current"),
    use = function(M, held)
      held.idle = M.idle
      M.idle.hits = 7
    end,
    v2 = module("2", "idle", "current", own),
    check = assert_idle,
  })

  edit("is known by its deeper place, whatever comes first", {
    v1 = module("1", "states.idle", "current"),
    use = function(M, held)
      held.idle = M.states.idle
      M.states.idle.hits = 7
    end,
    v2 = ([[
      local M = { states = {} }
      M.current = { hits = 5, enter = function() return "own" end }
      M.states.idle = { hits = 1, enter = function() return "idle 2" end }
      M.last = M.states.idle
      return M
    ]]),
    check = function(M, held)
      assert.equal("idle 2", held.idle.enter())
      assert.equal(held.idle, M.states.idle)
      assert.equal(held.idle, M.last)
    end,
  })

  edit("is not what a local holds that some function may assign, and that the file starts \z
    with another one", {
    v1 = [[
      local M = { states = {}, list = {} }
      local current
      local idle = { enter = function() return "idle 1" end }
      M.states.idle, M.list.idle = idle, idle
      function M.idle() return idle end
      current = idle
      function M.go(state) current = state end
      function M.now() return current end
      return M
    ]],
    use = function(M, held) held.idle = M.states.idle end,
    v2 = [[
      local M = { states = {}, list = {} }
      local current
      local idle = { enter = function() return "idle 2" end }
      M.states.idle, M.list.idle, M.last = idle, idle, idle
      function M.idle() return idle end
      M.states.fly = { enter = function() return "fly 2" end }
      current = M.states.fly
      function M.go(state) current = state end
      function M.now() return current end
      return M
    ]],
    check = function(M, held)
      assert.equal("idle 2", held.idle.enter())
      assert.equal("fly 2", M.states.fly.enter())
      for _, state in ipairs { M.states.idle, M.list.idle, M.last, M.idle() } do
        assert.equal(held.idle, state)
      end
      assert.equal(M.states.fly, M.now()) -- no one has assigned it since
    end,
  })

  local config = [[
    local M = { opts = {} }
    local sword = { price = 1, name = "sword" }
    M.sword, M.opts.fallback = sword, sword
    return M
  ]]

  edit("is not one that the program put into a deeper place and that has none of its fields", {
    v1 = config,
    use = function(M, held)
      held.sword, held.own = M.sword, { price = 77 }
      M.sword.price, M.opts.fallback = 5, held.own
    end,
    v2 = (config:gsub("price = 1", "price = 2")),
    check = function(M, held)
      assert.same({ price = 5, name = "sword" }, held.sword)
      assert.same({ price = 77 }, held.own)
      assert.same({ held.sword, held.own }, { M.sword, M.opts.fallback })
    end,
  })

  for _, data in ipairs { "keep", "merge", "replace" } do
    it("is not a table without functions that the program put \z
      there, with data = " .. data, function()
      local app = program.new()
      finally(function() app:unload() end)
      local text = module("1", "idle", "states.fallback")
      local M = app:module("foreign", text)
      app:reloaded "foreign"
      local idle, own_table = M.idle, { hits = 77 }
      idle.hits, M.states.fallback = 7, own_table
      app:update("foreign", (text:gsub("idle 1", "idle 2")), { data = data })
      assert.equal("idle 2", idle.enter())
      assert.equal(idle, M.idle)
      assert.equal(data == "replace" and idle or own_table, M.states.fallback)
      -- which gives a table the file's place, and then updates it, too (R8)
      if data ~= "replace" then
        assert.same({ hits = 77 }, own_table)
      end
    end)
  end
end)
