-- R5.2: `removed = "drop"`: functions that the file lacks go.

local program = require "spec.support.program"

local V1 = [[
  local M = { data = 1, handlers = { login = function() end, quit = function() end } }
  function M.f() return 1 end
  function M.old() return "old" end
  M.list = { function() end, function() end }
  return M
]]
local V2 = [[
  local M = { data = 1, handlers = { login = function() end } }
  function M.f() return 2 end
  M.list = { function() end }
  return M
]]

describe("removed = 'drop' (R5.2)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
  end)
  after_each(function() app:unload() end)

  it("takes out what the file lacks, and the report lists it", function()
    app:write("m", V2)
    local report = app:reloaded("m", { removed = "drop", report = "full" })
    assert.is_nil(M.old)
    assert.is_nil(M.handlers.quit)
    assert.equal(2, report.functions.dropped)
    assert.same({ "m.handlers.quit", "m.old" }, report.paths.functions.dropped)
    assert.matches("1 function changed, 2 dropped, ", tostring(report))
    assert.is_function(M.list[2])
    assert.same({ "m.list[2]" }, report.paths.functions.removed)
    assert.equal(1, M.data)
  end)

  it("keeps it otherwise, and in a dry run; plan tells", function()
    app:write("m", V2)
    local before = program.fingerprint(M)
    app:reloaded("m", { removed = "drop", dry_run = true })
    assert.matches("functions dropped:\n    %- m.handlers.quit\n    %- m.old",
      app.hotreload.plan("m", { removed = "drop" }))
    before:assert_unchanged()
    local report = app:reloaded "m"
    assert.equal(0, report.functions.dropped)
    assert.equal("old", M.old())
  end)

  it("is undone", function()
    app:write("m", V2)
    local old = M.old
    app:reloaded("m", { removed = "drop" })
    app.hotreload.undo "m"
    assert.equal(old, M.old)
  end)

  it("takes out a former name: what is local by now, and what was renamed", function()
    local N = app:module("n", [[
      local N = { on = {} }
      function N.manage(x) return x .. " old" end
      function N.login(x) return x .. " in" end
      N.on.login = N.login
      function N.update(x) return N.manage(x) end
      return N
    ]])
    N.mine, N.update_again = N.manage, N.update
    local report = app:update("n", [[
      local N = { on = {} }
      local function manage(x) return x .. " new" end
      function N.enter(x) return x .. " in" end
      N.on.login = N.enter
      function N.update(x) return manage(x) end
      return N
    ]], { removed = "drop", report = "full" })
    assert.same({ "n.login", "n.manage" }, report.paths.functions.dropped)
    assert.is_nil(N.manage)
    assert.is_nil(N.login)
    assert.same({ "a in", "a in" }, { N.enter "a", N.on.login "a" })
    assert.same({ "a new", "a new", "a new" }, { N.update "a", N.update_again "a", N.mine "a" })
  end)

  it("leaves what the program has put there", function()
    local patch = function() return "patched" end
    M.old = patch
    app:write("m", V2)
    app:reloaded("m", { removed = "drop" })
    assert.equal(patch, M.old)
  end)

  it("leaves another name that the program has given", function()
    app:update("m", V1) -- from now on it is on record what the load left
    M.mine = M.old
    app:write("m", V2)
    app:reloaded("m", { removed = "drop" })
    assert.is_nil(M.old)
    assert.equal("old", M.mine())
  end)
end)

describe("A function that the file has no longer (R5.2)", function()
  it("stays itself where another function stands on its lines by now, and only that is unreachable",
    function()
      local app = program.new()
      local M = app:module("m", [[
        local M = { inner = {} }
        M.inner.f = function()
          return "f"
        end
        M.old = function()
          return "old"
        end
        return M
      ]])
      local f, old = M.inner.f, M.old
      -- The file's `f` is inside of a wrapper alone.
      M.inner.f = assert(load("local f = ... return function() return f() end", "@spy.lua"))(f)
      app:write("m", [[
        local M = { inner = {} }
        local function new() -- nobody has it
          return "new"
        end
        M.inner.f = function()
          return "f"
        end
        return M
      ]])
      for _ = 1, 3 do
        app:reloaded "m"
        assert.equal(old, M.old)
        assert.same({ "f", "old" }, { M.inner.f(), M.old() })
      end
      app:unload()
    end)
end)

describe("A reference that the file takes out (R5.13)", function()
  local app, M
  local BEFORE = [[
    local M = { on = {}, quests = { daily = { left = 3 } } }
    function M.hit() return "hit" end
    local function miss() return "miss" end
    M.on.hit, M.on.miss, M.other = M.hit, miss, M.hit
    M.current = M.quests.daily
    return M
  ]]
  local AFTER = [[
    local M = { on = {}, quests = { daily = { left = 3 } } }
    function M.hit() return "hit 2" end
    local function miss() return "miss" end
    function M.call() return miss() end
    return M
  ]]
  before_each(function()
    app = program.new()
    M = app:module("m", BEFORE)
  end)
  after_each(function() app:unload() end)

  for _, data in ipairs { "keep", "merge", "replace" } do
    it("goes, and what it refers to stays, with data = " .. data, function()
      app:write("m", AFTER)
      local daily, on = M.quests.daily, M.on
      local report = app:reloaded("m", { data = data, report = "full" })
      assert.same({}, on)
      assert.equal(on, M.on)
      assert.is_nil(M.other)
      assert.is_nil(M.current)
      assert.equal("hit 2", M.hit())
      assert.equal("miss", M.call())
      assert.equal(daily, M.quests.daily)
      assert.same({ "m.on.hit", "m.on.miss", "m.other" }, report.paths.functions.dropped)
      assert.same({ "m.current" }, report.paths.data.replaced)
      assert.same({}, report.warnings)
    end)
  end

  it("goes in a table with rows that the program added", function()
    for i = 1, 1000 do M.on["player" .. i] = { id = i } end
    app:update("m", AFTER)
    assert.is_nil(M.on.hit)
    assert.equal(7, M.on.player7.id)
  end)

  for _, data in ipairs { "keep", "merge", "replace" } do
    it("goes if it leads to an object that the file takes up, with data = " .. data, function()
      local text = "Hotel = Hotel or {} local M = Hotel M.rooms = { back = M, count = 1 }"
      app:module("hotel", text)
      app:update("hotel", (text:gsub("back = M, ", "")), { data = data })
      assert.same({ rooms = { count = 1 } }, rawget(_G, "Hotel"))
      rawset(_G, "Hotel", nil)
    end)
  end

  it("goes as well if the record is that of a reload, which took the object up", function()
    local text = "Inn = Inn or {} local M = Inn M.rooms = { back = M, count = 1 }"
    app.hotreload.track(false)
    app:module("inn", text)
    app:update("inn", text)
    app:update("inn", (text:gsub("back = M, ", "")))
    assert.same({ rooms = { count = 1 } }, rawget(_G, "Inn"))
    rawset(_G, "Inn", nil)
  end)

  it("stays where the program has put something else", function()
    local daily = { left = 1 }
    M.on.hit, M.other, M.current = M.on.miss, nil, daily
    local report = app:update("m", AFTER)
    assert.equal(0, report.functions.removed) -- a table is no function
    assert.equal("miss", M.on.hit())
    assert.is_nil(M.other)
    assert.equal(daily, M.current)
  end)

  it("stays in a dry run, and comes back with undo", function()
    app:write("m", AFTER)
    local before = program.fingerprint(M)
    app:reloaded("m", { dry_run = true })
    before:assert_unchanged()
    app:reloaded "m"
    assert.is_nil(M.other)
    app.hotreload.undo "m"
    before:assert_unchanged()
  end)

  it("stays where the object is the program's own, or the file has it no longer", function()
    M.own = M.hit
    app:update("m", "local M = { on = {} } function M.hit() return 'hit 2' end return M")
    assert.equal("hit 2", M.own())
    assert.equal("miss", M.on.miss())
    assert.equal(3, M.current.left)
  end)

  it("stays for a name under which the file made it before", function()
    local N = app:module("n", "local N = {} function N.login(p) return p .. ' is in' end return N")
    app:update("n", "local N = {} function N.enter(p) return p .. ' is in' end return N")
    assert.equal("ada is in", N.login "ada")
    assert.equal("ada is in", N.enter "ada")
  end)

  it("goes at a later reload if it stayed untouched", function()
    app:update("m", (AFTER:gsub("return M", "M.other = M.hit return M")))
    assert.equal("hit 2", M.other())
    app:update("m", AFTER)
    assert.is_nil(M.other)
  end)
end)

describe("An override that the file takes out (R5.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local function classes(body, parent)
    return ([[
      local M, Animal, Dog = {}, {}, {}
      Animal.__index, Dog.__index = Animal, Dog
      setmetatable(Dog, Animal)
      M.Animal, M.Dog = Animal, Dog
      %s
      function Dog.bark() return "wau" end
      %s
      return M
    ]]):format(parent or 'function Animal.kind() return "animal" end', body)
  end
  local OVERRIDE = 'function Dog.kind() return "dog" end'

  it("goes where its class inherits one, and objects have that", function()
    local M = app:module("m", classes(OVERRIDE))
    local dog = setmetatable({}, M.Dog)
    local report = app:update("m", classes "")
    assert.equal("animal", dog.kind())
    assert.is_nil(rawget(M.Dog, "kind"))
    assert.equal(1, report.functions.dropped)
    assert.equal("wau", dog.bark())
    app.hotreload.undo "m"
    assert.equal("dog", dog.kind())
  end)

  it("goes where the same edit gives the parent one", function()
    local M = app:module("m", classes(OVERRIDE, ""))
    app:update("m", classes "")
    assert.equal("animal", M.Dog.kind())
  end)

  it("stays where nothing shows through, or the program has put another one there", function()
    local M = app:module("m", classes(OVERRIDE, ""))
    app:update("m", classes("", ""))
    assert.equal("dog", M.Dog.kind())
    local N = app:module("n", classes(OVERRIDE))
    N.Dog.kind = N.Dog.bark
    app:update("n", classes "")
    assert.equal("wau", N.Dog.kind())
  end)

  it("does not count a function that the program has removed as added", function()
    local source = [[
      local M = { list = {} }
      function M.init() M.ready = true M.init = nil end
      function M.go() return M.ready end
      local function both() return 1 end
      M.one, M.other = both, both
      return M
    ]]
    local once = app:module("once", source)
    once.init()
    once.one = nil
    for _ = 1, 2 do
      local report = app:reloaded("once", { source = source })
      assert.equal(0, report.functions.added)
      assert.matches("nothing to do", report.summary)
      assert.is_nil(once.init or once.one)
    end
    source = source:gsub("return M%s*$", "M.third = M.init return M")
    local report = app:reloaded("once", { source = source })
    assert.equal(1, report.functions.added)
    assert.is_function(once.third)
  end)
end)
