-- R14: the live objects of a class, and their migration within a reload.

local program = require "spec.support.program"

local V1 = [[
  local Player = { kind = "player" }
  Player.__index = Player
  function Player.new(name) return setmetatable({ name = name, hp = 10 }, Player) end
  function Player:heal() self.hp = self.hp + 1 end
  local Mage = setmetatable({}, { __index = Player })
  Mage.__index = Mage
  function Mage.new(name) return setmetatable({ name = name, hp = 5 }, Mage) end
  local Stone = {}
  Stone.__index = Stone
  function Stone.new() return setmetatable({}, Stone) end
  return { Player = Player, Mage = Mage, Stone = Stone }
]]
local V2 = V1:gsub("function Player:heal[^\n]*",
  "function Player:rest() end function Player:sleep() return os.time(), self.kind .. 'z' end")
  :gsub('kind = "player"', 'kind = "player", level = 1')

describe("hotreload.instances (R14.1)", function()
  local app, M, instances
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    instances = app.hotreload.instances
  end)
  after_each(function() app:unload() end)

  local function names(list)
    local found = {}
    for i, object in ipairs(list) do found[i] = object.name end
    table.sort(found)
    return table.concat(found, " ")
  end

  it("finds the objects of a class and of those that extend it, wherever they are", function()
    local in_cell = M.Player.new "ann"
    local thread = coroutine.create(function(p) coroutine.yield() return p, in_cell end)
    coroutine.resume(thread, M.Mage.new "cat")
    rawset(_G, "HELD", { [M.Player.new "bob"] = true, M.Stone.new() })
    finally(function() rawset(_G, "HELD", nil) end)
    assert.equal("ann bob cat", names(instances(M.Player)))
    assert.equal("cat", names(instances(M.Mage)))
    assert.equal(1, #instances(M.Stone))
    assert.same({}, instances {})
    assert.equal("suspended", coroutine.status(thread))
  end)

  it("holds nothing alive", function()
    local ann = M.Player.new "ann"
    local weak = setmetatable({ ann }, { __mode = "v" })
    assert.equal(1, #instances(M.Player))
    ann = nil -- luacheck: ignore 311
    collectgarbage()
    assert.is_nil(weak[1])
    assert.same({}, instances(M.Player))
  end)

  it("works in slices", function()
    local held = {}
    for i = 1, 20000 do held[i] = M.Player.new("p" .. i) end
    local slices, list = 0
    repeat
      list = instances(M.Player, 0.05)
      slices = slices + 1
    until list
    assert.equal(#held, #list)
    assert.is_true(slices > 1)
  end)

  it("changes nothing, and raises for wrong arguments", function()
    local before = program.fingerprint(M)
    instances(M.Player)
    before:assert_unchanged()
    assert.has_error(function() instances "Player" end,
      "bad argument #1 to 'instances' (table expected, got string)")
    assert.has_error(function() instances(M.Player, -1) end,
      "bad argument #2 to 'instances' (a positive number expected, got -1)")
  end)
end)

describe("migration (R14.2)", function()
  local app, M, ann, cat
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    ann, cat = M.Player.new "ann", M.Mage.new "cat"
    app:write("m", V2)
  end)
  after_each(function() app:unload() end)

  it("calls the call's function for each object, with what was changed", function()
    local seen = {}
    app:reloaded("m", { migrate = { Player = function(object, change)
      object.stamina = object.hp * 2
      seen[#seen + 1] = change
      assert.is_function(object.rest)
    end } })
    assert.equal(20, ann.stamina)
    assert.equal(10, cat.stamina)
    assert.equal(seen[1], seen[2])
    local added = { "level", "rest", "sleep" }
    assert.same({ added = added, removed = { "heal" }, generation = 1 }, seen[1])
  end)

  it("calls a class's own __migrate, before the hook", function()
    app:write("m", (V2:gsub("return { Player", [[
      function Player.__migrate(object, change) object.from = change.generation end
      return { __hotfix = function() SEEN = true end, Player]])))
    app:reloaded "m"
    rawset(_G, "SEEN", nil)
    assert.equal(1, ann.from)
    app:reloaded "m"
    assert.equal(2, ann.from)
    app:reloaded("m", { migrate = { [M.Player] = function(object) object.from = "the call" end } })
    assert.equal("the call", ann.from)
    rawset(_G, "SEEN", nil)
  end)

  it("takes a module that is the class, and a local of the module", function()
    local Class = app:module("class",
      "local C = {} C.__index = C function C.f() return C end return C")
    local object = setmetatable({}, Class)
    app:reloaded("class", { migrate = function(each) each.seen = true end })
    assert.is_true(object.seen)
    app:reloaded("class", { migrate = { C = function(each) each.seen = 2 end } })
    assert.equal(2, object.seen)
  end)

  it("undoes everything when one raises: the class and number are in the message", function()
    local count = 0
    local message = app:refused("m", { migrate = { Player = function(object)
      count = count + 1
      object.stamina, object.hp, object.name = 1, nil, "changed"
      if count == 2 then error "on purpose" end
    end } }, M, ann, cat)
    assert.matches("a migration failed, the reload was undone: module 'm': "
      .. "the migration of object 2 of Player failed: .*on purpose", message)
    assert.equal("ann", ann.name)
  end)

  it("cannot yield, reload or undo", function()
    for pattern, f in pairs {
      ["attempt to yield"] = function() coroutine.yield() end,
      ["objects of module 'm' are being migrated"] = function() assert(gg.reload "m") end,
      ["objects of module 'm' are being"] = function() assert(app.hotreload.undo "m") end,
    } do
      local thread = coroutine.wrap(function()
        return app:refused("m", { migrate = { Player = f } }, M, ann, cat)
      end)
      assert.matches(pattern, (thread()))
    end
    app:reloaded "m"
  end)

  it("takes no longer than budget_ms", function()
    debug.sethook(function() end, "", 1000000) -- Lua makes a table for it, once
    debug.sethook()
    local message = app:refused("m", { budget_ms = 20, migrate = { Player = function(object)
      object.hp = 0
      while true do object.hp = object.hp + 1 end
    end } }, M, ann, cat)
    assert.matches("longer than budget_ms", message)
    assert.is_nil(debug.gethook())
  end)

  it("is undone when a hook raises behind it, and by undo", function()
    local migrate = { Player = function(object) object.stamina, object.hp = 1, nil end }
    app:write("m", (V2:gsub("return {", "return { __hotfix = function() error 'hook' end,")))
    assert.matches("hook", (app:refused("m", { migrate = migrate }, M, ann, cat)))
    app:write("m", V2)
    app:reloaded("m", { migrate = migrate })
    cat.stamina = 7
    assert.is_nil(ann.hp)
    assert.is_true(app.hotreload.undo "m")
    assert.same({ 10, nil }, { ann.hp, ann.stamina })
    assert.same({ 5, 7 }, { cat.hp, cat.stamina })
  end)

  it("is refused for a class that is not there, and for wrong kinds", function()
    assert.matches("module 'm': there is no class 'Plyer'", (app:refused("m", {
      migrate = { Plyer = function() end } }, M, ann)))
    for wrong, why in pairs {
      [1] = "function or table expected, got number",
      [{ Player = 1 }] = "'Player': function expected, got number",
      [{ function() end }] = "a class or its name expected as a key, got number",
    } do
      assert.has_error(function() gg.reload("m", { migrate = wrong }) end,
        "bad argument #2 to 'reload' (option 'migrate': " .. why .. ")")
    end
    app:write("m", "return {\n__migrate = 1 }")
    local message = app:refused("m", nil, M)
    assert.matches("its field __migrate %(line 2%): function expected, got number", message)
  end)

  it("is no part of a dry run", function()
    app:reloaded("m", { dry_run = true, migrate = { Player = error } })
    assert.equal(10, ann.hp)
  end)
end)

describe("what objects made before do not get (R5.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("is told where a factory gives its objects new methods", function()
    local text = [[
      local M = {}
      function M.new(n)
        local self = { count = 1 }
        function self.add() n = n + 1 return n end
        METHODS
        return self
      end
      return M
    ]]
    local M = app:module("m", (text:gsub("METHODS", "")))
    local object = M.new(10)
    local report = app:update("m", (text:gsub("METHODS",
      "self.limit = 5 function self.get() return n end self.set = function(v) n = v end")))
    assert.same({ "m.new: what it made before lacks 'get', 'set': make it anew, or give it the "
      .. "function in __hotfix (R5.11)" }, report.warnings)
    assert.same({ 11, nil }, { object.add(), object.get })
    assert.equal(20, M.new(20).get())
    -- Not where nothing is new, or only data, or only code.
    local other = text:gsub("METHODS",
      "self.limit = 6 function self.get() return -n end self.set = function(v) n = v end")
    assert.same({}, app:update("m", other).warnings)
  end)

  it("is told where the class is another object", function()
    app:write("class", "local C = {} C.__index = C function C.hi() return 'other' end return C")
    for _, place in ipairs { "m.C", "m.new@C" } do
      local new = "function M.new() return setmetatable({}, C) end"
      if place == "m.C" then new = "M.C = C " .. new end
      local M = app:module("m", "local M = {} local C = {} C.__index = C "
        .. "function C.hi() return 'own' end " .. new .. " return M")
      local object = M.new()
      local text = "local M = {} local C = require 'class' " .. new .. " return M"
      local report = app:update("m", text)
      assert.matches(place .. ": the file has another class there", report.warnings[1], 1, true)
      assert.same({ "own", "other" }, { object.hi(), M.new().hi() })
      package.loaded.m = nil
    end
    -- Not where another class of the file is meant: what was made before follows.
    local classes = "local A = {} A.__index = A function A.f() end local B = {} B.__index = B "
      .. "return { A = A, B = B, first = FIRST }"
    local M = app:module("two", (classes:gsub("FIRST", "A")))
    assert.same({}, app:update("two", (classes:gsub("FIRST", "B"))).warnings)
    assert.equal(M.B, M.first)
  end)
end)
