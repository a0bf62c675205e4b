-- Many threads and many Lua states in one process, which load the built library with `require`:
-- tests/hosts.c. The same with a Lua built in: tests/threads.rs. And C libraries that keep the
-- state's allocator: tests/allocators.c.

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

  it("has states that move and are closed in the middle: nothing crosses over, \z
    nothing is left", function()
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

describe("a C library that", function()
  local app, lua
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- Runs a script with the modules of tests/allocators.c in a process of its own, which ends with
  -- the state's end; false where they cannot be built. In `make test-all` under valgrind, where
  -- there is one.
  local function run(script)
    local _, how, code = os.execute(("%s/scripts/allocators.sh %s >%s/out 2>&1")
      :format(program.root, app.dir, app.dir))
    if how == "exit" and code == 3 then return false end
    assert.equal("exit 0", how .. " " .. code)
    lua = lua or os.getenv "HOTRELOAD_ALL" and os.execute "command -v valgrind >/dev/null"
      and "valgrind --quiet --error-exitcode=99 lua5.4" or "lua5.4"
    local out, status, err, ended = app:subprocess([[
      package.cpath = "./?.so;" .. package.cpath
      function write(text)
        local file = assert(io.open("m.lua", "w"))
        file:write(text)
        file:close()
      end
      local first, count = nil, 0
      function loads() return count end
      function note(place)
        first, count = first or place, count + 1
        if place ~= first then error "another allocator" end
      end
      write "return { version = function() return 1 end }"
    ]] .. script, { lua = lua })
    assert.equal("exit 0\n", ("%s %d\n%s%s"):format(ended, status, out, err))
    return true
  end

  local cases = {
    ["takes the allocator when a chunk opens it can use it ever after"] = [[
      require "hotreload"
      local m = require "m"
      write "return { version = function() return 2 end, taker = require 'taker' }"
      assert(gg.reload "m")
      assert(m.version() == 2 and m.taker.use())
      box = m.taker.box()
      for _ = 1, 3 do
        m.taker.box()
        assert(gg.reload "m")
        collectgarbage()
        assert(m.taker.use())
      end
    ]],
    ["takes the allocator under hotreload.track can use it ever after"] = [[
      require "hotreload".track()
      write "return require 'taker'"
      local taker = require "m"
      assert(taker.use())
      box = taker.box()
      collectgarbage()
      assert(gg.reload "m")
      assert(taker.use())
    ]],
    ["gets the same allocator in each reload"] = [[
      require "hotreload"
      late = require "late"
      require "m"
      write "note(late.take()) return {}"
      for _ = 1, 4 do assert(gg.reload "m") end
      assert(loads() == 4)
      assert(late.use())
    ]],
    ["was there before hotreload, and is closed after it, can call what it took"] = [[
      late = require "late"
      box = setmetatable({}, { __gc = function() late.use() end })
      require "hotreload"
      require "m"
      write "late.take(); return {}"
      assert(gg.reload "m")
    ]],
    ["puts its own allocator in front when a chunk opens it keeps it there"] = [[
      require "hotreload"
      require "m"
      write "return { forwarder = require 'forwarder' }"
      assert(gg.reload "m")
      local forwarder = require "forwarder"
      late = require "late"
      write "note(late.take()) return {}"
      for _ = 1, 10 do
        assert(gg.reload "m")
        assert(forwarder.is_in_place())
      end
      assert(loads() == 10)
      local calls = forwarder.calls()
      local _ = { {}, {} }
      assert(forwarder.calls() > calls)
    ]],
    ["puts its own allocator in front under hotreload.track keeps it there"] = [[
      require "hotreload".track()
      write "return require 'forwarder'"
      local forwarder = require "m"
      assert(forwarder.is_in_place())
      assert(gg.reload "m")
      assert(forwarder.is_in_place())
    ]],
    ["makes what it took in a load the allocator afterwards has it there"] = [[
      require "hotreload"
      keeper = require "keeper"
      require "m"
      write "keeper.take(); return {}"
      assert(gg.reload "m")
      keeper.install()
      for _ = 1, 3 do assert(gg.reload "m") end
      assert(keeper.is_in_place())
    ]],
  }
  for name, script in pairs(cases) do
    it(name, function()
      if not run(script) then return pending "no C compiler, or no Lua" end
    end)
  end

  it("is none: a chunk can close the state and end the program", function()
    app:write("m", "return {}")
    local script = [[
      require "hotreload"
      require "m"
      local file = assert(io.open("m.lua", "w"))
      file:write "closes = setmetatable({}, { __gc = function() print 'closed' end }) \z
        os.exit(true, true)"
      file:close()
      gg.reload "m"
    ]]
    local out, status, err, how = app:subprocess(script)
    assert.equal("exit 0 closed\n", ("%s %d %s%s"):format(how, status, out, err))
  end)
end)
