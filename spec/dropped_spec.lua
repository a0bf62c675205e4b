--- State that the file has no longer is told: it may have been renamed.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local ROOM = [[
  local M = { limit = 10, visits = 0 }
  local players, seen = {}, { "nobody" }
  local count = 0
  function M.join(name)
    players[#players + 1] = name
    count = count + 1
    M.visits = M.visits + 1
    return #players, count, M.visits, M.limit, #seen
  end
  return M
]]

describe("state that no function of the file uses (R5.2)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  local function warnings(report) return table.concat(report.warnings, "\n") end

  for _, scope in ipairs { "module", "vm" } do
    it("is told with what is new, scope " .. scope, function()
      local M = app:module("m", ROOM)
      for i = 1, 5 do M.join("player " .. i) end
      local text = ROOM:gsub("players", "roster"):gsub("#roster, count", "'new', #roster, count")
        :gsub("local roster, seen = {}", "local roster, seen = table.pack()")
      app:write("m", text)
      local message = app:refused("m", { scope = scope, strict = true }, M)
      local wanted = [[m: local players (table, 5 entries): no function of the file uses it; ]]
        .. [['roster' is new: rename = { players = "roster" } keeps it]]
      assert.matches(wanted, message, 1, true)
      local dry = app:reloaded("m", { scope = scope, dry_run = true })
      assert.is_true(probe.contains(dry.warnings, wanted))
      local renamed = app:reloaded("m", { scope = scope, rename = { players = "roster" } })
      assert.same({}, renamed.warnings)
      assert.same({ "new", 6, 6, 6, 10, 1 }, { M.join "late" })
    end)

    it("does not go on in the place of an import, scope " .. scope, function()
      local M = app:module("m", "local M, log = { list = {} }, {} "
        .. "function M.note(x) log[#log + 1], M.list[1] = x, x end return M")
      M.note "x"
      app:write("notes", "return { note = function() return 'noted' end }")
      local report = app:update("m", "local notes = require 'notes' local M = { notes = notes } "
        .. "function M.note(x) return notes.note(x) end return M", { scope = scope })
      assert.same({ "m.list (table, 1 entry): nothing in the file uses it; keep it in the file, or "
        .. "its value is lost", "m: local log (table, 1 entry): no function of the file uses it; "
        .. "keep it in the file, or its value is lost" }, report.warnings)
    end)

    it("may be a number, or a field, scope " .. scope, function()
      local M = app:module("m", ROOM)
      M.join "ann"
      local report = app:update("m", (ROOM:gsub("count", "total"):gsub("visits", "calls")
        :gsub("#seen", "#seen, 2")),
        { scope = scope })
      local told = warnings(report)
      assert.matches("m: local count (number 1): no function of the file uses it", told, 1, true)
      assert.matches('rename = { count = "total" } keeps it', told, 1, true)
      assert.matches("m.visits (number 1): nothing in the file uses it; 'calls' is new",
        told, 1, true)
      assert.same({}, app:reloaded("m", { scope = scope }).warnings)
    end)
  end

  it("may be a field that has become a local", function()
    local M = app:module("m", [[
      local M = { count = 0, players = {} }
      function M.join(name)
        M.count = M.count + 1
        M.players[M.count] = name
        return M.count
      end
      return M
    ]])
    M.join "ann"
    local report = app:update("m", [[
      local M = {}
      local count, players = 0, {}
      function M.join(name)
        count = count + 1
        players[count] = name
        return count
      end
      return M
    ]])
    assert.same({
      "m.count (number 1): nothing in the file uses it; keep it in the file, or its value is lost",
      "m.players (table, 1 entry): nothing in the file uses it; keep it in the file, or its value "
        .. "is lost",
    }, report.warnings)
  end)

  it("may be a global that has become a local or a field", function()
    local function counter(set, name)
      return ("%s function count() %s = %s + 1 return %s end"):format(set, name, name, name)
    end
    for _, new in ipairs {
      counter("local visits = 0", "visits"), counter("T = { visits = 0 }", "T.visits"),
      counter("calls = 0", "calls"),
    } do
      app:module("m", counter("visits = 0", "visits"))
      assert.equal(1, _G.count())
      assert.same({
        "_G.visits (number 1): nothing in the file uses it; keep it in the file, or its value is "
          .. "lost",
      }, app:update("m", new).warnings)
      assert.same({}, app:reloaded("m").warnings)
      app:unload()
      app = program.new()
    end
  end)

  it("is no global that the file uses, or left as it is", function()
    app:module("m", "visits, limit = 0, 5 function count() visits = visits + 1 end")
    _G.count()
    local report = app:update("m", "local limit = 5 visits = 1 * 0 "
      .. "function count() visits = visits + limit end")
    assert.same({}, report.warnings)
    report = app:update("m", "local limit = 5 function count() visits = visits + limit end")
    assert.same({}, report.warnings)
  end)

  it("is no loss if it leads to what other modules hold", function()
    app:module("m", "return { text = { lib = string }, one = 1 }")
    assert.same({}, app:update("m", "return { one = 1 }").warnings)
  end)

  it("is no loss as the file left it", function()
    local M = app:module("m", ROOM)
    M.join "ann"
    local report = app:update("m", (ROOM:gsub(", #seen", "")
      :gsub(", seen = {}, { \"nobody\" }", " = {}")
      :gsub("limit = 10, ", ""):gsub(" M.limit,?", " nil")))
    assert.same({}, report.warnings)
  end)
end)

describe("a table that the file has no longer, where it has another object now (R3.15)", function()
  local app
  local BEFORE = [[
    local M, Old = { Idle = {} }, { gold = 10 }
    function M.Idle.act() return "waits" end
    M.current = Old
    return M
  ]]
  local AFTER = BEFORE:gsub(", { gold = 10 }", ""):gsub("= Old", "= M.Idle")
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, data in ipairs { "keep", "merge", "replace" } do
    it("goes, and stays with a warning if the program changed it, data = " .. data, function()
      local M = app:module("m", BEFORE)
      local report = app:update("m", AFTER, { data = data })
      assert.equal(M.Idle, M.current)
      assert.same({}, report.warnings)
      local N = app:module("n", BEFORE)
      local old = N.current
      old.gold = 11
      report = app:update("n", AFTER, { data = data })
      if data == "replace" then
        assert.equal(N.Idle, N.current)
        return
      end
      assert.equal(old, N.current)
      assert.equal(11, old.gold)
      assert.matches("n.current: the file has another object there and no longer has the running "
        .. "table, which stays", report.warnings[1], 1, true)
    end)
  end
end)
