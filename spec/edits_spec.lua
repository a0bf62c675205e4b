-- Ordinary edits of ordinary modules, as a team makes them: what the program holds stays, and all of it runs the file's code.
-- Each edit is tried in both scopes, and once more after a second reload of the same file, which must find nothing left to do.

local program = require "spec.support.program"

local number = 0

-- edit { files = { other = text }, v1 = text, use = function(M, held), v2 = text, check = function(M, held, scope) }
local function edit(title, it_is)
  for _, scope in ipairs { "module", "vm" } do
    for _, times in ipairs { 1, 2 } do
      local how = scope == "vm" and ", with scope 'vm'" or ""
      it(title .. how .. (times == 2 and ", and reloaded again" or ""), function()
        local app = program.new()
        finally(function() app:unload() end)
        number = number + 1
        local name, held = "edited" .. number, {}
        for other, text in pairs(it_is.files or {}) do
          app:write(other, text)
        end
        local M = app:module(name, it_is.v1)
        if it_is.use then
          it_is.use(M, held)
        end
        local report = app:update(name, it_is.v2, { scope = scope })
        if it_is.told then
          it_is.told(report)
        end
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
    use = function(M, held) held.object, held.other = setmetatable({}, M.C), setmetatable({}, M.B) end,
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
    app:update("undone", (classes:gsub("class%(Animal%)", "class(Pet)"):gsub(" 1", " 2")), { dry_run = true })
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
    use = function(M, held) held.orc, held.elf = setmetatable({}, M.Orc), setmetatable({}, M.Elf) end,
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
