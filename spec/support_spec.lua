-- The helpers themselves: a fingerprint that overlooks a change would make every spec of a failure
-- worthless.

local program = require "spec.support.program"

describe("spec.support.program: fingerprint", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local M
  before_each(function()
    M = app:module("subject", [[
      local M = { list = { 1, 2 }, one = 1, class = setmetatable({}, { __index = {} }) }
      local count, other = 0, 0
      function M.bump() count = count + 1 return count end
      function M.peek() return count, other end
      M.thread = coroutine.create(function() coroutine.yield() end)
      return M
    ]])
  end)

  --- What the fingerprint says after `change` ran.
  local function changes_after(change, ...)
    local before = program.fingerprint(...)
    assert.is_nil(before:changes())
    change()
    return before:changes()
  end

  it("finds nothing where nothing changed", function()
    assert.is_nil(changes_after(function() end))
  end)

  it("finds nothing after garbage was made and collected", function()
    assert.is_nil(changes_after(function()
      for _ = 1, 1000 do assert({}) end
      collectgarbage()
      collectgarbage()
    end))
  end)

  it("finds nothing when a file is written, a luassert assertion runs and a \z
    coroutine moves on", function()
    assert.is_nil(changes_after(function()
      app:write("another", "return {}")
      assert.are.same({ 1 }, { 1 })
      coroutine.resume(M.thread)
    end))
  end)

  it("looks into a spec's own function that was put into the program, \z
    but not into the test runner", function()
    local calls = 0
    M.bump = function() calls = calls + 1 return assert.equal(1, 1) end
    local text = changes_after(function() M.bump() end)
    assert.equal("package.loaded.subject.bump@calls: 0 became 1", text)
  end)

  it("sees a changed field, with its path", function()
    local text = changes_after(function() M.list[2] = 3 end)
    assert.equal("package.loaded.subject.list[2]: 2 became 3", text)
  end)

  it("sees a removed field and an added one", function()
    local text = changes_after(function() M.list[2], M.fresh = nil, true end)
    assert.matches("subject%.list%[2%]: 2 became nil", text)
    assert.matches("subject%.fresh: nil became true", text)
  end)

  it("sees a list that became another list with the same content", function()
    assert.matches("subject%.list: table .* became another table",
      changes_after(function() M.list = { 1, 2 } end))
  end)

  it("sees 1 that became 1.0", function()
    assert.matches("subject%.one: 1 became 1%.0", changes_after(function() M.one = 1.0 end))
  end)

  it("sees 0.0 that became -0.0, and takes NaN for itself", function()
    M.zero, M.nan = 0.0, 0 / 0
    assert.matches("^[^\n]*subject%.zero: 0%.0 became %-0%.0$",
      changes_after(function() M.zero = -0.0 end))
  end)

  it("sees a changed metatable of a table", function()
    local text = changes_after(function() setmetatable(M.class, {}) end)
    assert.matches("subject%.class<metatable>: table .* became another table", text)
  end)

  it("sees a change inside a metatable", function()
    local text = changes_after(function() getmetatable(M.class).__index.f = print end)
    assert.matches("subject%.class<metatable>%.__index%.f: nil became function", text)
  end)

  it("sees through a metatable that hides itself and methods that raise", function()
    local hidden = setmetatable({ deep = {} }, {
      __metatable = false,
      __index = function() error "index" end,
      __newindex = function() error "newindex" end,
      __pairs = function() error "pairs" end,
      __eq = function() error "eq" end,
      __len = function() error "len" end,
      __tostring = function() error "tostring" end,
      __name = 7,
    })
    M.hidden = hidden
    assert.matches("hidden%.deep%.x: nil became 1",
      changes_after(function() rawget(hidden, "deep").x = 1 end))
  end)

  it("sees a swapped cell that holds the same value", function()
    local text = changes_after(function() debug.upvaluejoin(M.peek, 1, M.peek, 2) end)
    assert.matches("subject%.peek@count: another cell", text)
  end)

  it("sees a changed upvalue", function()
    local text = changes_after(function() M.bump() end)
    assert.matches("@count: 0 became 1", text)
  end)

  it("sees a replaced function", function()
    local text = changes_after(function() M.bump = function() end end)
    assert.matches("subject%.bump: function .* became another function", text)
  end)

  it("sees a function that became one of the same program", function()
    local text = changes_after(function() M.bump = M.peek end)
    assert.matches("subject%.bump: function .*bump became function .*peek", text)
  end)

  it("sees a new, a changed and a removed global", function()
    _G.first_global, _G.second_global = 1, 2
    local text = changes_after(function()
      _G.first_global, _G.second_global, _G.third_global = nil, 3, 4
    end)
    assert.matches("_G%.first_global: 1 became nil", text)
    assert.matches("_G%.second_global: 2 became 3", text)
    assert.matches("_G%.third_global: nil became 4", text)
  end)

  it("sees a new key in package.loaded, package.preload and package.searchers", function()
    local text = changes_after(function()
      package.loaded.fresh_key = true
      package.preload.fresh_key = print
      package.searchers[#package.searchers + 1] = print
    end)
    assert.matches("fresh_key: nil became true", text)
    assert.matches("preload%.fresh_key: nil became function", text)
    assert.matches("searchers%[%d%]: nil became function", text)
  end)

  it("sees package.path change", function()
    assert.matches("path: .* became \"x\"", changes_after(function() package.path = "x" end))
  end)

  it("sees what only a given root reaches", function()
    local root = { inner = { 1 } }
    assert.is_nil(changes_after(function() root.inner[1] = 2 end))
    assert.equal("root 1.inner[1]: 2 became 3",
      changes_after(function() root.inner[1] = 3 end, root))
  end)

  it("sees the metatable of a basic type and of a userdata", function()
    assert.matches("number", changes_after(function() debug.setmetatable(0, {}) end))
    M.file = assert(io.open(app:path "subject"))
    local text = changes_after(function() debug.setmetatable(M.file, {}) end)
    assert.matches("subject%.file<metatable>", text)
  end)

  it("sees a change in a table that the program no longer reaches", function()
    local list = M.list
    local text = changes_after(function() M.list, list[1] = nil, "lost" end)
    assert.matches("subject%.list%[1%]: 1 became \"lost\"", text)
  end)

  it("sees a stopped collector and a debug hook", function()
    assert.matches("collector running", changes_after(function() collectgarbage "stop" end))
    collectgarbage "restart"
    assert.matches("debug hook",
      changes_after(function() debug.sethook(function() end, "", 1000000) end))
    debug.sethook()
  end)

  it("walks a chain 100,000 tables deep", function()
    local last = {}
    local chain = last
    for _ = 1, 100000 do chain = { next = chain } end
    local before = program.fingerprint(chain)
    assert.is_nil(before:changes())
    last.x = 1
    assert.is_string(before:changes())
  end)

  it("raises with the differences when asked to assert", function()
    local before = program.fingerprint()
    before:assert_unchanged()
    M.one = 2
    assert.error_matches(function() before:assert_unchanged() end,
      "the program changed:\n.*subject%.one: 1 became 2")
  end)
end)

describe("spec.support.program: a program of its own", function()
  it("writes modules with dotted names and loads them", function()
    local app = program.new()
    finally(function() app:unload() end)
    assert.equal(app.dir .. "/a/b/c.lua", app:write("a.b.c", "return { name = ... }"))
    assert.equal(app:path "a.b.c", app.dir .. "/a/b/c.lua")
    assert.equal("a.b.c", app:load("a.b.c").name)
    app:write_file("pack/init.lua", "return { init = true }")
    assert.is_true(app:load("pack").init)
    app:remove "a.b.c"
    assert.is_nil(io.open(app:path "a.b.c"))
  end)

  it("puts everything back when it is unloaded", function()
    local outer = program.new()
    outer:unload()
    local before = program.fingerprint()
    local app = program.new()
    app:module("subject", "a_global = {} return {}")
    package.preload.x = print
    package.searchers[#package.searchers + 1] = print
    package.path = "nowhere"
    string.fresh_function = print -- luacheck: ignore 142
    setmetatable(_G, {})
    debug.setmetatable(0, {})
    app:unload()
    assert.is_nil(before:changes())
    assert.is_nil(io.open(app.dir))
  end)

  it("runs a script in another process", function()
    local app = program.new()
    finally(function() app:unload() end)
    app:write("dep", "return 'from dep'")
    local out, code, err, how = app:subprocess [[
      print((require "dep"))
      io.stderr:write "to stderr"
      os.exit(3)
    ]]
    assert.equal("from dep\n", out)
    assert.equal("to stderr", err)
    assert.equal(3, code)
    assert.equal("exit", how)
    assert.equal("Lua 5.4\n", (app:subprocess "print(_VERSION)"))
  end)

  it("notices outputs that depend on the process", function()
    local app = program.new()
    finally(function() app:unload() end)
    assert.equal("same\n", app:subprocesses(3, "print 'same'"))
    assert.error_matches(function() app:subprocesses(3, "print({})") end, "printed")
    assert.error_matches(function() app:subprocesses(2, "error 'oh'") end, "ended by exit 1.*oh")
  end)
end)
