-- R1.11: a module goes on under another name, with its state.

local program = require "spec.support.program"

local OLD = [[
  local M = { players = {}, day = 1 }
  local count = 0
  function M.join(name) count = count + 1 M.players[name] = count return count end
  function M.next_day() M.day = M.day + 1 return M.day end
  return M
]]
local NEW = OLD:gsub("return count end", "return 'number ' .. count end")

describe("a file that was moved (R1.11)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("world", OLD)
    M.join "ann"
    app:remove "world"
    app:write("game.world", NEW)
  end)
  after_each(function()
    package.loaded["game.world"] = nil
    app:unload()
  end)

  it("gets the state of the former module, and its object", function()
    local report = app:reloaded("game.world", { from = "world" })
    assert.equal(M, package.loaded["game.world"])
    assert.equal(M, package.loaded.world)
    assert.equal("number 2", M.join "bob")
    assert.equal(1, M.players.ann)
    assert.equal(2, report.generation)
    assert.equal(1, report.from.generation)
    app:write("game.world", OLD)
    app:reloaded "game.world"
    assert.equal(3, M.join "cat")
    assert.equal(3, app.hotreload.version "game.world".generation)
  end)

  it("does so when reloads have loaded the former one, too", function()
    app:write("world", OLD)
    app:reloaded "world"
    app:remove "world"
    assert.equal(3, app:reloaded("game.world", { from = "world" }).generation)
    assert.equal("number 2", M.join "bob")
  end)

  it("is no problem of hotreload.changed any more", function()
    assert.matches("not found", select(2, app.hotreload.changed { names = { "world" } }).world)
    app:reloaded("game.world", { from = "world" })
    assert.same({}, select(2, app.hotreload.changed { names = { "world", "game.world" } }))
  end)

  it("is undone, and changes nothing in a dry run or when it fails", function()
    local before = program.fingerprint(M)
    app:reloaded("game.world", { from = "world", dry_run = true })
    before:assert_unchanged()
    app:refused("game.world", { from = "world", source = "error 'no'" }, M)
    app:reloaded("game.world", { from = "world" })
    assert.is_true(app.hotreload.undo "game.world")
    before:assert_unchanged()
    assert.equal(2, app:reloaded("game.world", { from = "world" }).generation)
  end)

  it("is refused where the one is not loaded or the other is", function()
    assert.equal("module 'game.world' cannot be reloaded: the module 'no.such', from which it is "
      .. "to go on, is not loaded; load it, or name another",
      (app:refused("game.world", { from = "no.such" })))
    app:module("taken", "return {}")
    assert.matches("module 'taken' cannot be reloaded: it is loaded already",
      (app:refused("taken", { from = "world" }, M)))
    assert.has_error(function() app.hotreload.reload({ "a", "b" }, { from = "world" }) end,
      "bad argument #2 to 'reload' (option 'from': for a single module only)")
  end)
end)

describe("a module that was split (R1.11)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("world", OLD)
    M.join "ann"
    app:write("calendar", [[
      local M = { day = 1 }
      function M.next_day() M.day = M.day + 1 return "day " .. M.day end
      return M
    ]])
    app:write("roster", [[
      local M = { players = {} }
      local count = 0
      function M.join(name) count = count + 1 M.players[name] = count return "no. " .. count end
      return M
    ]])
    app:write("world", [[
      local calendar, roster = require "calendar", require "roster"
      local M = { players = roster.players }
      function M.join(name) return roster.join(name) end
      function M.next_day() return calendar.next_day() end
      return M
    ]])
  end)
  after_each(function()
    package.loaded.calendar, package.loaded.roster = nil, nil
    app:unload()
  end)

  it("gives each part the state that it names", function()
    M.day = 7
    app:reloaded("calendar", { from = "world" })
    app:reloaded("roster", { from = "world" })
    app:reloaded "world"
    local calendar, roster = package.loaded.calendar, package.loaded.roster
    assert.equal("day 8", calendar.next_day())
    assert.equal("no. 2", M.join "bob")
    assert.equal(M.players, roster.players)
    assert.same({ ann = 1, bob = 2 }, roster.players)
    assert.is_nil(calendar.join or roster.next_day)
    assert.equal("day 9", M.next_day())
  end)

  it("does not warn of locals that the part has", function()
    local ENTER = [[
      local M, count, names = {}, 0, {}
      local function add(name) names[#names + 1] = name return #names end
      function M.enter(name) count = count + 1 return count, add(name) end
    ]]
    local W = app:module("hall", ENTER .. "function M.close() return 1 end return M")
    W.enter "ann"
    app:write("door", ENTER .. "return M")
    app:reloaded("door", { from = "hall" })
    app:write("hall", [[
      local M, door = {}, require "door"
      M.enter = door.enter
      function M.close() return 2 end
      return M
    ]])
    app:reloaded("hall", { strict = true })
    assert.same({ 2, 2 }, { W.enter "bob" })
    package.loaded.door = nil
  end)
end)

describe("another chunk name for the same module (R1.11)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function()
    package.preload.m, package.loaded.m = nil, nil
    app:unload()
  end)

  it("keeps its state", function()
    for _, name in ipairs { "@m.lua", "@/srv/m.lua", "=m", "m, version 1", "=[bundle]" } do
      package.loaded.m, package.preload.m = nil, load(OLD, name)
      local M = require "m"
      M.join "ann"
      for _, other in ipairs { "@/other/m.lua", "=m, version 2", "@archive.zip/m.lua" } do
        package.preload.m = load(NEW, other)
        app:reloaded "m"
        assert.matches("^number", M.join "bob")
        assert.is_true(M.players.bob > 1, name .. " " .. other)
      end
    end
  end)
end)
