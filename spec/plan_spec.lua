-- hotreload.plan: the dry run as a text for a person (R10.1).

local program = require "spec.support.program"

local V1 = [[
local M = { level = 1 }
local count = 0
function M.hit() count = count + 1 return count end
function M.same() return count end
function M.gone() end
return M
]]
local V2 = [[
local M = { level = 2, extra = true }
local count = 0
function M.hit() count = count + 2 return count end

function M.same() return count end
function M.new() end
return M
]]

describe("hotreload.plan (R10.1)", function()
  local app, M, plan
  before_each(function()
    app = program.new()
    M = app:module("skill", V1)
    plan = app.hotreload.plan
  end)
  after_each(function() app:unload() end)

  it("shows what would be, sorted, and changes nothing", function()
    app:write("skill", V2)
    local before = program.fingerprint(M)
    local text, message = plan "skill"
    before:assert_unchanged()
    assert.is_nil(message)
    local said = {
      SUMMARY = "1 function changed, 1 added, 1 no longer in the file, 1 value added, "
        .. "1 value differs from the file, state kept (1 upvalue)",
      FILE = app:path "skill",
    }
    assert.equal((([[
would reload skill: SUMMARY
  generation 2, from FILE
  functions changed:
    ~ skill.hit
  functions added:
    + skill.new
  functions no longer in the file, which stay:
    - skill.gone
  functions replaced by the same code:
    = skill.same
  values added:
    + skill.extra
  values kept that differ from the file:
    = skill.level: number 1 while it runs, number 2 in the file
  values kept:
    = skill.hit@count
    = skill.level
  upvalues kept:
    = skill.hit@count
  data = "merge" or "replace" takes the values of the file (an option)]])
      :gsub("%u%u+", said)), text)
  end)

  it("says the same of a report after the reload", function()
    app:write("skill", V2)
    local text = plan "skill"
    local report = app:reloaded("skill", { report = "full" })
    local after = plan(report)
    assert.matches("^reloaded skill: [^\n]*, %d+%.%d+ ms\n", after)
    assert.equal((text:gsub("^would reload", "reloaded")), (after:gsub(", %d+%.%d+ ms\n", "\n", 1)))
    app:write("skill", V1)
    text = plan(app:reloaded "skill") -- a report without lists
    assert.matches("^reloaded skill: 1 function changed, 1 no longer in the file, [^\n]*\n"
      .. "  generation 3, from [^\n]*\n  in the place of generation 2, [^\n]*$", text)
  end)

  it("says why two objects answer to each other if the place does not show it (R10.6)", function()
    require "hotreload".track()
    local first = [[
      local M = { states = {}, list = {} }
      local Idle, Alarm = { name = "idle" }, { name = "alarm" }
      function Idle.act() return "idle V" end
      function Alarm.act() return "alarm V" end
      M.first, M.second = Idle, Alarm
      M.states.run = { name = "run", speed = 3, act = function() return "run V" end }
      function M.login(name) local text = "hello " .. name return text, "V" end
      M.list[1] = function() return "a" end
      M.list[2] = function() return "b" end
      function M.a() return "V" end
      function M.b() return "V" end
      M.choice = M.a
      local hook = M.a
      function M.hook() return hook() end
      function M.set(f) hook = f end
      return M
    ]]
    local moved = first:gsub("V", "2"):gsub("M.states.run", "M.run"):gsub("M.login", "M.enter")
      :gsub("M.first, M.second = Idle, Alarm", "M.first, M.second = Alarm, Idle")
      :gsub("local M = { states = {}, list = {} }", "%0 M.list[3] = function() return 'c' end")
    local m = app:module("room", first)
    m.choice = m.b
    m.set(m.b)
    table.remove(m.list, 1)
    app:write("room", moved)
    local report = app:reloaded("room", { dry_run = true })
    assert.same({
      "M.enter: M.login before, by likeness",
      "M.run: M.states.run before, by likeness",
      "room.choice: a reference, stays as the program has it",
      "room.hook@hook: a reference, stays as the program has it",
      "room.list[1]: element 2 of the file",
    }, report.paths.matched)
    local text = plan "room"
    assert.matches("\n  matched by other evidence than the place:\n    = M.enter: M.login be", text)
    assert.matches("~ room.first.act", text, 1, true) -- no name but that of a local makes it
  end)

  it("shows conflicts and how they would be settled", function()
    app:write("skill", "local M = {}\nM.hit = 1\nreturn M")
    local text = plan "skill"
    assert.matches("^would not reload skill: 1 conflict, nothing would be changed\n  \z
      generation 1 stays\n"
      .. "  conflicts:\n    ! skill.hit: function while it runs, number 1 in the", text)
    assert.matches('\n  rename one side, or pass on_conflict = "keep"', text, 1, true)
    text = plan("skill", { on_conflict = "keep" })
    assert.matches("  conflicts:\n", text)
    assert.is_nil(text:find("pass on_conflict", 1, true))
  end)

  it("takes the options of a reload", function()
    assert.matches("+ skill.added",
      plan("skill", { source = "local M = {} function M.added() end return M" }), 1, true)
    app:write("skill", V2)
    assert.matches("~ skill.level", plan("skill", { data = "replace" }), 1, true)
  end)

  it("gives nil and a message for a file that is broken, gone or refused", function()
    app:write("skill", "return {")
    local text, message = plan "skill"
    assert.is_nil(text)
    assert.matches("skill.lua:1:", message)
    assert.is_nil((plan "no.such.module"))
    assert.is_nil((plan "string"))
  end)

  it("has colours when they are asked for, and else none", function()
    app:write("skill", V2)
    assert.falsy(plan "skill":find "\27")
    assert.falsy(plan("skill", { color = false }):find "\27")
    local colored = plan("skill", { color = true })
    assert.truthy(colored:find("    \27[32m+ skill.new\27[0m", 1, true))
    assert.truthy(colored:find("    \27[31m- skill.gone\27[0m", 1, true))
    assert.equal(plan "skill", (colored:gsub("\27%[%d*m", "")))
    -- No terminal here, whatever the environment says.
    local out = app:subprocess [[
      require "hotreload"
      require "skill"
      print(require "hotreload".plan("skill", { color = "auto" }):find "\27")
    ]]
    assert.equal("nil\n", out)
  end)

  it("has colours on a terminal where they may be (auto)", function()
    if not os.execute "command -v script >/dev/null" then
      return pending "script(1) is not installed"
    end
    app:write("auto", [[
      local hotreload = require "hotreload"
      require "skill"
      print(hotreload.plan("skill", { color = "auto", source = "return { n = function() end }" })
        :find "\27" ~= nil)
      os.exit(0)
    ]])
    local paths = ("LUA_PATH='%s/?.lua' LUA_CPATH='%s/build/?.so'"):format(app.dir, program.root)
    local pipe = assert(io.popen(("%s script -qec 'lua5.4 %s' /dev/null </dev/null")
      :format(paths, app:path "auto")))
    local out = pipe:read "a"
    pipe:close()
    assert.matches("^true", out)
  end)

  it("raises for wrong arguments, and blames the caller", function()
    for _, wrong in ipairs {
      { 1 }, {}, { {} }, { "skill", 1 }, { "skill", { nonsense = 1 } },
      { "skill", { color = "red" } },
      { "skill", { dry_run = true } }, { "skill", { report = "full" } }, { "skill",
        { scope = "everything" } },
    } do
      local ok, message = pcall(plan, table.unpack(wrong))
      assert.is_false(ok)
      assert.matches("bad argument #[12] to 'plan'", message)
    end
    local chunk = assert(load("\n\nlocal p = ... local x = p(1) return x", "=caller"))
    assert.matches("^caller:3: bad argument", select(2, pcall(chunk, plan)))
  end)
end)
