-- What a report says of itself in a line (R10): report.summary, tostring(report), the log.

local program = require "spec.support.program"

local V1 = [[
local M = { level = 1 }
local count = 0
function M.hit() count = count + 1 return count end
function M.same() return count end
return M
]]
local V2 = V1:gsub("count %+ 1", "count + 2"):gsub("return M", "function M.new() end return M")

describe("the summary of a report (R10)", function()
  local app, log
  before_each(function()
    app, log = program.new(), {}
    app:module("battle.skill", V1)
    app.hotreload.configure {
      log = function(level, message) log[#log + 1] = level .. ": " .. message end,
    }
  end)
  after_each(function() app:unload() end)

  --- The summary, which is the whole text, without the time.
  local function said(report)
    assert.equal(report.summary, tostring(report))
    return (report.summary:gsub("%d+%.%d+ ms$", "T ms"))
  end

  it("says what was changed and what was kept, and how long that took", function()
    local report = app:update("battle.skill", V2)
    assert.equal("reloaded battle.skill: 1 function changed, 1 added, state kept (1 upvalue), T ms",
      said(report))
    assert.same({ "info: " .. report.summary }, log)
    local kept
    for key in pairs(report) do kept = kept or key == "summary" end
    assert.falsy(kept, "a field")
  end)

  it("says so when there was nothing to do", function()
    assert.equal("reloaded battle.skill: nothing to do, its code is that of the file, T ms",
      said(app:reloaded "battle.skill"))
    assert.equal("reloaded battle.skill: 2 functions replaced by the same code, "
      .. "state kept (1 upvalue), T ms",
      said(app:update("battle.skill", "\n" .. V1)))
  end)

  it("does not say that there was nothing to do when the file's data was left out", function()
    local text = tostring(app:update("battle.skill", (V1:gsub("level = 1", "level = 2"))))
    assert.matches("^reloaded battle.skill: 1 value differs from the file, "
      .. "state kept %(1 upvalue%), "
      .. "[%d.]+ ms\n"
      .. '  data = "merge" or "replace" takes the values of the file', text)
  end)

  it("counts warnings, and does not say beside them that there was nothing to do", function()
    local M = app:module("prices", "return { sword = 10 }")
    M.sword = 12
    local report = app:update("prices", "return { sword = 11 }", { data = "merge" })
    assert.equal(1, #report.warnings)
    assert.matches("^reloaded prices: 1 warning, state kept %(1 value%), [%d.]+ ms$",
      report.summary)
  end)

  it("says that a module was not loaded before", function()
    app:write("new", V1)
    local dry = app:reloaded("new", { dry_run = true })
    assert.equal("would load new (it is not loaded)", dry.summary)
    assert.equal("loaded new (it was not loaded before)", said(app:reloaded "new"))
    assert.is_false(dry.refused)
  end)

  it("of a dry run says what would be", function()
    app:write("battle.skill", V2)
    local dry = app:reloaded("battle.skill", { dry_run = true, report = "counts" })
    assert.equal("would reload battle.skill: 1 function changed, 1 added, state kept (1 upvalue)",
      said(dry))
  end)

  it("of a refusal says that nothing was changed", function()
    app:write("battle.skill", (V1:gsub("level = 1", "level = function() end")))
    local ok, _, report = gg.reload "battle.skill"
    assert.same({ false, true }, { ok, report.refused })
    assert.equal("did not reload battle.skill: 1 conflict, nothing was changed", report.summary)
    assert.matches("^did not reload [^\n]*\n  conflicts:\n    ! battle.skill.level: number 1 while",
      tostring(report))
    ok, _, report = gg.reload("battle.skill", { dry_run = true })
    assert.same({ false, "would not reload battle.skill: 1 conflict, nothing would be changed" },
      { ok, report.summary })
    report = app:reloaded("battle.skill", { on_conflict = "keep" })
    assert.is_false(report.refused)
    assert.matches("^reloaded battle.skill: ", report.summary)
  end)

  it("of a reload whose hook failed says so, too", function()
    local kept
    function _G.keep(report) kept = report end
    local hook = "function M.__hotfix(_, r) keep(r) error 'no' end %0"
    app:write("battle.skill", (V2:gsub("return M\n", hook)))
    assert.is_false((gg.reload "battle.skill"))
    _G.keep = nil
    assert.equal("did not reload battle.skill: nothing was changed", said(kept))
  end)

  it("of an undo says which generation runs again", function()
    local hook = "M.__hotfix_undo = true function M.__hotfix(_, r) seen = r end %0"
    local text = V1:gsub("return M", hook)
    app:update("battle.skill", text)
    local first = _G.seen
    assert.matches("^reloaded battle.skill: ", tostring(first))
    app:update("battle.skill", (text:gsub("count %+ 1", "count + 2")))
    assert(app.hotreload.undo "battle.skill")
    assert.equal("undid the reload of battle.skill: generation 2 runs again", said(_G.seen))
    _G.seen = nil
  end)

  it("of several modules has a line for each, in the list's text", function()
    app:module("chat", V1)
    app:write("chat", V2)
    local reports = app:reloaded { "battle.skill", "chat" }
    assert.equal("reloaded battle.skill: nothing to do, its code is that of the file, T ms\n"
      .. "reloaded chat: 1 function changed, 1 added, state kept (1 upvalue), T ms",
      (said(reports):gsub("%d+%.%d+ ms", "T ms")))
    assert.same({ "info: " .. reports[1].summary, "info: " .. reports[2].summary }, log)
    assert.equal(2, #reports)
  end)

  it("has the lists behind it where they were asked for", function()
    app:write("battle.skill", V2)
    local lines = {}
    local report = app:reloaded("battle.skill", { report = "full" })
    for line in tostring(report):gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.matches("^reloaded battle.skill: ", table.remove(lines, 1))
    assert.same({
      "  functions changed:", "    ~ battle.skill.hit",
      "  functions added:", "    + battle.skill.new",
    }, table.move(lines, 1, 4, 1, {}))
  end)
end)
