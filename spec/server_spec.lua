-- examples/server: a server that is reloaded while it serves, run for real on loopback ports.

local program = require "spec.support.program"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

describe("examples/server", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("keeps connection, accounts and timers through each kind of reload, \z
    and does what the new code says", function()
    if not pcall(require, "socket") then
      return pending "LuaSocket is not installed (Debian: lua-socket)"
    end
    local out, log = app.dir .. "/out", app.dir .. "/log"
    local _, how, code = os.execute(("timeout 150 examples/server/run.sh >%s 2>%s </dev/null")
      :format(out, log))
    assert.equal("exit 0", how .. " " .. code, read(log))
    assert.equal(read "examples/server/transcript.txt", read(out))
    -- What broke was told once, and by the watcher: nothing else went wrong.
    local wrong = 0
    for line in read(log):gmatch "[^\n]+" do
      assert.falsy(line:find "traceback", read(log))
      if line:find "not reloaded" then
        assert.matches("^server: not reloaded: battle: .*battle%.lua:%d+:", line)
        wrong = wrong + 1
      end
    end
    assert.equal(1, wrong, read(log))
  end)
end)
