--- R4.1: a variable goes on under a new name, and what is called otherwise can be said.

local program = require "spec.support.program"

local ROOM = [[
  local M = {}
  local players = {}
  local joined = 0
  function M.join(name) players[#players + 1] = name joined = joined + 1 return #players, joined end
  return M
]]

describe("a renamed variable (R4.1)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  for _, scope in ipairs { "module", "vm" } do
    it("goes on without being told, be it a table or a number, scope " .. scope, function()
      local M = app:module("m", ROOM)
      M.join "ann"
      M.join "bob"
      local report = app:update("m", (ROOM:gsub("players", "members"):gsub("joined", "count")),
        { scope = scope, report = "full" })
      assert.same({ 3, 3 }, { M.join "cat" })
      local joined = table.concat(report.paths.cells.joined, "\n")
      assert.matches("m.join@members (players before)", joined, 1, true)
      assert.matches("m.join@count (joined before)", joined, 1, true)
      app:update("m", ROOM, { scope = scope })
      assert.same({ 4, 4 }, { M.join "dan" })
    end)

    it("goes on where the code is another one, and the caller says so, scope " .. scope, function()
      local M = app:module("m", ROOM)
      M.join "ann"
      local text = ROOM:gsub("players", "roster"):gsub("#roster, joined", "#roster, joined, 'more'")
        :gsub("{}\n  local joined", "{ capacity = 5 }\n  local joined")
      app:update("m", text, { scope = scope, rename = { players = "roster" } })
      assert.same({ 2, 2, "more" }, { M.join "bob" })
    end)

    it("goes on where two change names, scope " .. scope, function()
      local text = "local M, a, b = {}, 1, 1 function M.f() a = a + 1 b = b + 10 "
        .. "return a, b, 'v1' end return M"
      local M = app:module("m", text)
      M.f()
      local swapped = "local M, b, a = {}, 1, 1 function M.f() b = b + 1 a = a + 10 "
        .. "return b, a, 'v2' end return M"
      app:update("m", swapped, { scope = scope, rename = { a = "b", b = "a" } })
      assert.same({ 3, 21, "v2" }, { M.f() })
    end)

    it("may be a field: data, a table, a function, scope " .. scope, function()
      local text = [[
        local M = { hp = 1, bag = { "sword" } }
        local n = 0
        function M.tick() n = n + 1 return n, "v1" end
        return M ]]
      local M = app:module("m", text)
      local bag, tick = M.bag, M.tick
      M.hp, bag[2] = 50, "shield"
      tick()
      app:update("m", (text:gsub("hp", "health"):gsub("bag", "items"):gsub("tick", "step")
        :gsub("v1", "v2")),
        { scope = scope, rename = { hp = "health", bag = "items", tick = "step" } })
      assert.same({ 50, bag, { "sword", "shield" }, 2, "v2" },
        { M.health, M.items, M.items, M.step() })
      assert.is_nil(M.hp or M.bag or M.tick)
      app:reloaded("m", { scope = scope })
      assert.is_nil(M.hp or M.bag or M.tick)
      assert.same({ 50, bag, 3, "v2" }, { M.health, M.items, M.step() })
    end)
  end

  describe("a field, whose former name gets another table later,", function()
    local V1 = [[
      local M, hit = {}, function(x) return "hit @" .. x end
      M.old = { hit = hit, seen = {} }
      return M
    ]]
    local V2 = V1:gsub("M.old", "M.new"):gsub("@", 2)
    local V3 = V2:gsub("return M%s*$", "M.old = { slide = hit } return M"):gsub("2", 3)
    for _, scope in ipairs { "module", "vm" } do
      for _, data in ipairs { "keep", "merge", "replace" } do
        it("leaves nothing of the first one there, " .. scope .. ", " .. data, function()
          local M = app:module("m", V1)
          M.old.seen[1] = "ann"
          for _ = 1, 2 do app:update("m", V2, { scope = scope, data = data }) end
          assert.equal("hit 2!", M.new.hit "!")
          local new = M.new
          local report = app:update("m", V3, { scope = scope, data = data, strict = true })
          assert.same({}, report.warnings)
          assert.same({ slide = M.new.hit }, M.old)
          assert.equal("hit 3!", M.new.hit "!")
          assert.equal(new, M.new)
        end)
      end
    end

    it("keeps what the program has put there", function()
      local M = app:module("m", V1)
      app:update("m", V2)
      M.old = { mine = true }
      app:update("m", V3)
      assert.is_true(M.old.mine)
    end)

    it("goes with a later merge, and otherwise stays", function()
      local M = app:module("m", V1)
      for _ = 1, 3 do app:update("m", V2) end
      assert.equal(M.new, M.old)
      app:update("m", V2, { data = "merge" })
      assert.is_nil(M.old)
      assert.equal("hit 2!", M.new.hit "!")
    end)
  end)

  it("is undone with the reload", function()
    local M = app:module("m", "local M = { hp = 1 } return M")
    M.hp = 5
    app:update("m", "local M = { health = 1 } return M", { rename = { hp = "health" } })
    assert.same({ health = 5 }, M)
    assert.is_true(require "hotreload".undo "m")
    assert.same({ hp = 5 }, M)
  end)

  it("is refused where nothing has that name", function()
    local M = app:module("m", ROOM)
    M.join "ann"
    app:write("m", (ROOM:gsub("players", "roster")))
    for wrong, rename in pairs {
      player = { player = "roster" }, rooster = { players = "rooster" },
    } do
      local message = app:refused("m", { rename = rename }, M)
      assert.matches("nothing called '" .. wrong .. "'", message, 1, true)
    end
  end)

  it("is an argument error where it makes no sense", function()
    app:module("m", ROOM)
    local gg = _G.gg
    for message, rename in pairs {
      ["table expected"] = "players", ["a former name is a string"] = { "roster" },
      ["'players': string expected"] = { players = 1 },
      ["two names become 'x'"] = { players = "x", joined = "x" },
    } do
      local ok, raised = pcall(gg.reload, "m", { rename = rename })
      assert.is_false(ok)
      assert.matches(message, raised, 1, true)
    end
    assert.has_error(function() gg.reload({ "m" }, { rename = { a = "b" } }) end)
  end)
end)

describe("strict = true", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  local text = [[
    local M = {}
    function M.a() return "a" end function M.b() return "b" end function M.c() return "c" end
    M.current = M.a return M ]]

  for _, scope in ipairs { "module", "vm" } do
    it("refuses for a warning, and changes nothing, scope " .. scope, function()
      local M = app:module("m", text)
      M.current = M.c
      app:write("m", (text:gsub("M.current = M.a", "M.current = M.b"):gsub('"a"', '"new a"')))
      local message, report = app:refused("m", { strict = true, scope = scope }, M)
      assert.matches("strict", message)
      assert.matches("m.current", message, 1, true)
      assert.equal(1, #report.warnings)
      assert.equal(1, #app:reloaded("m", { scope = scope }).warnings)
      assert.equal("new a", M.a())
    end)
  end

  it("lets a reload without a warning pass", function()
    local M = app:module("m", text)
    app:update("m", (text:gsub('"a"', '"new a"')), { strict = true })
    assert.equal("new a", M.a())
  end)
end)
