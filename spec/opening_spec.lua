-- What `require "hotreload"` costs a state, and when the library's own parts are loaded.

local program = require "spec.support.program"

describe("opening the library", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local function run(script)
    local out, status, err, ended = app:subprocess(script)
    assert.equal("exit 0\n", ("%s %d\n%s%s"):format(ended, status, out, err))
  end

  it("takes at most 20 KiB of a state's memory, and 40 KiB with a tracked module", function()
    run [[
      local function held()
        collectgarbage() collectgarbage()
        return collectgarbage "count"
      end
      package.preload.m = function() return { f = function() return 1 end } end
      local before = held()
      require "hotreload"
      local opened = held() - before
      assert(opened <= 20, opened)
      require "m"
      local tracked = held() - before
      assert(tracked <= 40, tracked)
    ]]
  end)

  it("is enough: what the program takes out of its globals later is not missed", function()
    app:write("m", "return { f = function() return 1 end }")
    run [[
      local assert, print, require = assert, print, require
      local hotreload = require "hotreload"
      local m = require "m"
      for name, library in next, {
        string = string, table = table, math = math, os = os, debug = debug,
      } do
        for key in next, library do library[key] = nil end
        _G[name] = nil
      end
      for _, name in next, {
        "error", "ipairs", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset", "select",
        "setmetatable", "tonumber", "tostring", "type",
      } do
        _G[name] = nil
      end
      next = nil
      local new = { source = "return { f = function() return 2 end, g = function() end }" }
      assert(hotreload.plan("m", new))
      local ok, report = gg.reload("m", new)
      assert(ok, report)
      assert(m.f() == 2 and report.summary)
      assert(hotreload.version "m".generation == 2)
      assert(hotreload.stale "m")
      assert(hotreload.changed()[1] == "m")
      assert(hotreload.touched() and hotreload.requires "m" and hotreload.dependents "m")
      assert(hotreload.instances {} and hotreload.near("a", { "b" }) and hotreload.sweep())
      hotreload.configure { before = function() end }
      assert(hotreload.undo "m")
      assert(m.f() == 1)
      assert(hotreload.purge "m" and hotreload.track(false) and not gg.reload "none")
      assert(not hotreload.reloading() and hotreload.clock() > 0)
    ]]
  end)
end)
