-- R7.1: running out of memory, wherever in a reload that happens, leaves the old version whole.

local program = require "spec.support.program"

local SCRIPT = [[
  require "hotreload"
  local functions = 40

  local function version(number)
    local lines = { "local count, M = 0, { data = {} }" }
    for i = 1, functions do
      lines[#lines + 1] = ("function M.f%d() count = count + 1 return %d end M.data.k%d = {}")
        :format(i, number, i)
    end
    lines[#lines + 1] = ("Namespace = Namespace or {} function Namespace.f() return %d end")
      :format(number)
    lines[#lines + 1] = "function M.__hotfix() end return M"
    return assert(load(table.concat(lines, "\n"), "@story.lua"))
  end

  local versions, running, outcomes = { version(1), version(2) }, 1, {}
  package.preload.story = versions[1]
  local story = require "story"

  -- All memory that this process may have, down to the last few bytes, as one list.
  local hoard
  local function fill(size)
    pcall(function()
      local i = 0
      while true do
        i = i + 1
        hoard = { hoard, ("x"):rep(size) .. i }
      end
    end)
  end

  for step = 0, 80 do
    fill(100000) fill(1000) fill(30)
    for _ = 1, step * 60 do hoard = hoard and hoard[1] end
    collectgarbage()
    local wanted = 3 - running
    package.preload.story = versions[wanted]
    local no_raise, ok, message = pcall(gg.reload, "story", { report = "full" })
    hoard = nil
    collectgarbage()

    assert(no_raise, ok)
    assert(ok or message:find "not enough memory", message)
    outcomes[ok] = (outcomes[ok] or 0) + 1
    running = ok and wanted or running
    for i = 1, functions do
      assert(story["f" .. i]() == running, "half a reload")
    end
    assert(Namespace.f() == running, "half a reload")
  end
  print((outcomes[false] or 0) > 5, (outcomes[true] or 0) > 5)
]]

describe("out of memory (R7.1)", function()
  it("is a refusal that changes nothing, from the first byte that is \z
    missing to the last", function()
    local app = program.new()
    finally(function() app:unload() end)
    local out, code, err, how = app:subprocess(SCRIPT, { kilobytes = 24000 })
    assert.equal("exit", how, err)
    assert.equal(0, code, err)
    assert.equal("true\ttrue\n", out)
  end)
end)
