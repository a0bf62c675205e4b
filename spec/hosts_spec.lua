-- Many threads and many Lua states in one process, which load the built library with `require`: tests/hosts.c. The same
-- with a Lua built in: tests/threads.rs.

local program = require "spec.support.program"

describe("a host with many threads and states", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- Runs the host: the line with its figures, or nil where it cannot be built.
  local function run(threads, states, alive)
    local out = app.dir .. "/out"
    local script = program.root .. "/scripts/hosts.sh"
    local command = ("%s %d %d %d >%s 2>&1 </dev/null"):format(script, threads, states, alive, out)
    local _, how, code = os.execute(command)
    local file = assert(io.open(out))
    local text = file:read "a"
    file:close()
    if how == "exit" and code == 3 then return nil end
    if code ~= 0 then error(("%s %d:\n%s"):format(how, code, text)) end
    return text:match "[^\n]+\n$"
  end

  it("has states that move and are closed in the middle: nothing crosses over, nothing is left", function()
    local line = run(8, 400, 32)
    if not line then return pending "no C compiler, or no Lua to link" end
    assert.matches("^400 states on 8 threads", line)
    assert.matches(" 0 failed;", line)
    assert.is_true(tonumber(line:match "(%d+) moves") > 400)
    assert.is_true(tonumber(line:match "(%d+) closed early") > 50)
  end)

  it("loads and unloads the library a hundred times", function()
    local line = run(1, 100, 1)
    if not line then return pending "no C compiler, or no Lua to link" end
    assert.matches(" 0 failed;", line)
    assert.matches("library unloaded", line)
  end)
end)
