-- R2: loading the incoming version is a transaction. Here: what a chunk that fails did is put back.

local program = require "spec.support.program"

describe("a chunk that raises (R2.1, R2.3)", function()
  local app
  before_each(function()
    app = program.new()
    app:module("store", [[
      local M = { handlers = { tick = function() return "old" end }, total = 0, rows = { 1, 2 } }
      local hidden = { count = 0 }
      function M.touch()
        hidden.count = hidden.count + 1
        M.total = M.total + 1
        return hidden.count
      end
      return M
    ]])
  end)
  after_each(function() app:unload() end)

  local V1 = [[
    local M, count = { nested = { deep = { x = 1 } } }, 0
    function M.bump() count = count + 1 return count end
    return M
  ]]

  --- The incoming chunk does `what` and raises: all is put back, and the corrected file reloads
  --- with the state kept.
  local function assert_put_back(what, setup)
    if setup then setup() end
    local M = app:module("m", V1)
    M.bump()
    app:write("m", V1:gsub("return M", what .. "\nerror 'the chunk raises'\nreturn M"))
    local message = app:refused "m"
    assert.matches("the chunk raises", message)
    app:update("m", (V1:gsub("count %+ 1", "count + 10")))
    assert.equal(M, package.loaded.m)
    assert.equal(11, M.bump())
  end

  describe("globals", function()
    it("puts back new, changed and removed ones", function()
      assert_put_back("fresh_global, changed_global, removed_global = {}, 2, nil", function()
        _G.changed_global, _G.removed_global = 1, "here"
      end)
    end)

    it("puts back a false one", function()
      assert_put_back("false_global = true", function() _G.false_global = false end)
    end)

    it("puts back those with keys that are no strings", function()
      assert_put_back("_G[1], _G[2.5], _G[print] = 'a', 'b', 'c'", function() _G[1] = "one" end)
    end)

    it("puts back those that are set by names the code computes", function()
      assert_put_back("for i = 1, 50 do _G['computed_' .. i] = i end")
    end)

    it("puts back a changed 1 to 1.0", function()
      assert_put_back("number_global = 1.0", function() _G.number_global = 1 end)
    end)

    it("puts back the globals' metatable", function()
      assert_put_back("setmetatable(_G, { __index = function() end })")
    end)

    it("puts back fields of the globals' metatable", function()
      assert_put_back("getmetatable(_G).__newindex = print", function() setmetatable(_G, {}) end)
    end)

    it("puts them back past a strict metatable", function()
      assert_put_back("rawset(_G, 'declared', 1) existing = 2", function()
        _G.existing = 1
        setmetatable(_G, {
          __index = function(_, k) error("undeclared " .. tostring(k)) end,
          __newindex = function(_, k) error("undeclared " .. tostring(k)) end,
        })
      end)
    end)

    it("puts back standard library tables and functions", function()
      assert_put_back([[
        print = nil
        function string.trim(s) return s end
        string.rep = nil
        table.unpack, math = "broken", {}
      ]])
    end)

    it("puts back `gg` and gg.reload", function()
      assert_put_back("gg.reload = nil gg.safe_reloads.m = true gg = nil")
    end)
  end)

  describe("tables that the code names", function()
    it("puts back fields of global tables, at any depth", function()
      assert_put_back([[
        Game.rooms.lobby.open = false
        Game.rooms.lobby.seats[3] = nil
        Game.rooms.lobby.seats[1] = "taken"
        Game.rooms.hall = { open = true }
        Game.rooms = { replaced = true }
      ]], function()
        _G.Game = { rooms = { lobby = { open = true, seats = { "a", "b", "c" } } } }
      end)
    end)

    it("puts back fields of tables that the running object holds", function()
      assert_put_back([[
        local live = package.loaded.m
        live.added, live.nested.deep.x, live.nested.deep = true, 2, {}
        function live.bump() end
      ]])
    end)

    it("puts back metatables: set, replaced, removed, and fields of them", function()
      assert_put_back([[
        setmetatable(Bare, { __index = {} })
        setmetatable(Dressed, {})
        setmetatable(Undressed, nil)
        getmetatable(Changed).__index = print
        Changed.Class.__call = function() end
      ]], function()
        _G.Bare, _G.Dressed, _G.Undressed = {}, setmetatable({}, {}),
          setmetatable({}, { __index = {} })
        _G.Changed = setmetatable({ Class = {} }, { __index = {} })
      end)
    end)

    it("puts back methods that were defined on a global class", function()
      assert_put_back([[
        Player = Player or {}
        function Player:name() return "new" end
        function Player:fresh() end
        Player.__index = Player.base
      ]], function()
        _G.Player = { base = {}, name = function() return "old" end }
        _G.Player.__index = _G.Player
      end)
    end)

    it("puts back fields of inherited tables: a code that says Player.handlers may \z
      mean its base's", function()
      assert_put_back([[
        Player.handlers.on = function() end
        Player.handlers.level = 2
        Player.handlers = {}
        table.insert(Player.grand, Player.handlers)
      ]], function()
        local Grand = { grand = { 1 } }
        local Base = setmetatable({ handlers = { level = 1 } }, { __index = Grand })
        Base.__index = Base
        _G.Player = setmetatable({}, Base)
      end)
    end)

    it("puts back what was appended to a list of a thousand entries", function()
      assert_put_back([[
        for i = 1, 10 do Handlers[#Handlers + 1] = function() return i end end
        table.insert(Handlers, { 1 })
      ]], function()
        _G.Handlers = {}
        for i = 1, 1000 do _G.Handlers[i] = function() return i end end
      end)
    end)

    -- Lua does not share strings of more than 40 bytes, so a key has no address of its own. A
    -- common fast hash, which everybody can look up, is the same for all of these.
    local function key(i)
      return "\xd3\x08\xa3\x85\x88\x6a\x3f\x24" .. ("%08d"):format(i) .. ("k"):rep(32)
    end
    local function fill()
      _G.sessions = { last = true }
      for i = 1, 9 do
        _G.sessions[key(i)] = "client " .. i
      end
    end
    for what, code in pairs {
      ["that stay"] = "", ["beside one that goes"] = "sessions.last = nil",
      ["that change"] = "for k in pairs(sessions) do sessions[k] = 'taken' end",
      ["that all go"] = "for k in pairs(sessions) do sessions[k] = nil end",
    } do
      it("puts back entries under long keys that a client has \z
        chosen to be alike, " .. what, function()
        assert_put_back(code .. " for i = 1, 60 do sessions['booted' .. i] = i end", fill)
      end)
    end

    it("leaves such entries alone when it is dry or planned", function()
      fill()
      app:module("m", V1)
      app:write("m",
        V1:gsub("return M", "for i = 1, 60 do sessions['booted' .. i] = i end return M"))
      local before = program.fingerprint()
      app:reloaded("m", { dry_run = true })
      app.hotreload.plan "m"
      before:assert_unchanged()
    end)

    it("puts back what was written under an integer that a long chunk had \z
      loaded long before", function()
      local slots = {}
      for i = 1, 100 do slots[70000 + i] = { value = i } end
      _G.slots_by_id = slots
      finally(function() _G.slots_by_id = nil end)
      local loads = {}
      for i = 1, 300 do loads[i] = ("last = %d"):format(i) end
      assert_put_back(("local id, last = 70042, 0 %s slots_by_id[id] = 'written'")
        :format(table.concat(loads, " ")))
      assert.same({ value = 42 }, slots[70042])
    end)

    it("puts back a class that only a private registry and the running local hold", function()
      package.preload.class = function()
        local registry = {}
        return function(name)
          registry[name] = registry[name] or {}
          return registry[name]
        end
      end
      local source = [[
        local Player = require "class" "Player"
        function Player.name() return "v1" end
        function Player.old() end
        local M = {}
        function M.class() return Player end
      ]]
      local M = app:module("m", source .. "return M")
      local Player = M.class()
      app:write("m",
        source:gsub("v1", "v2"):gsub("old", "fresh") .. "Player.old = nil error 'the chunk raises'")
      app:refused("m", nil, Player)
      assert.equal("v1", Player.name())
      app:update("m", source:gsub("v1", "v3") .. "return M")
      assert.equal("v3", Player.name())
    end)

    it("puts back tables that raise when they are touched, without touching them", function()
      assert_put_back("rawset(Guarded, 'x', 2) rawset(Guarded, 'y', \z
        {}) setmetatable(Open, {})", function()
        local function refuse() error "touched" end
        _G.Guarded = setmetatable({ x = 1 }, {
          __index = refuse, __newindex = refuse, __pairs = refuse, __len = refuse, __eq = refuse,
          __metatable = "locked",
        })
        _G.Open = setmetatable({}, { __index = refuse, __newindex = refuse })
      end)
    end)

    it("puts back what it did in loops, handlers and coroutines", function()
      assert_put_back([[
        for _, name in ipairs { "a", "b" } do Settings[name] = name end
        pcall(function() Settings.list[1] = 9 error "inner" end)
        coroutine.wrap(function() Settings.list[2] = 9 coroutine.yield() end)()
      ]], function()
        _G.Settings = { a = 1, b = 2, list = { 1, 2 } }
      end)
    end)
  end)

  describe("package.loaded and dependencies", function()
    it("puts back its keys: new, changed, removed, the module's own included", function()
      assert_put_back([[
        package.loaded.fresh_key = true
        package.loaded.store = { replaced = true }
        package.loaded.other = nil
        package.loaded.m = nil
      ]], function()
        package.loaded.other = { "kept" }
      end)
    end)

    it("puts back the module's own key when the chunk took it for itself", function()
      assert_put_back "package.loaded[...] = false"
    end)

    it("forgets a newly required dependency, and what that one required, \z
      so that the next try runs both", function()
      local runs = coroutine.wrap(function() -- what a table or an upvalue counts is put back
        local n = 0
        while true do if coroutine.yield(n) then n = n + 1 end end
      end)
      runs()
      package.preload.counter = function() runs(true) return {} end
      app:write("dep", "require 'counter' dep_global = 1 return { loaded = true }")
      assert_put_back "local dep = require 'dep' assert(dep.loaded)"
      assert.equal(1, runs())
      assert.is_nil(package.loaded.dep)
      assert.is_nil(package.loaded.counter)

      app:update("m", (V1:gsub("return M", "require 'dep' return M")))
      assert.equal(2, runs())
      assert.equal(1, _G.dep_global)
      assert.is_true(package.loaded.dep.loaded)
    end)

    it("carries the error of a dependency that fails, and forgets it", function()
      app:write("dep", "dep_global = 1 error 'the dependency raises'")
      app:module("m", V1)
      app:write("m", "require 'dep' return {}")
      assert.matches("the dependency raises", (app:refused "m"))
      app:write("dep", "return {}")
      app:update("m", "require 'dep' return { f = print }")
    end)

    it("keeps a dependency that was there before", function()
      local store = package.loaded.store
      assert_put_back "assert(require 'store'.total == 0)"
      assert.equal(store, package.loaded.store)
    end)

    it("hands the running object to a new dependency that requires the module back", function()
      app:write("dep", "return { m = require 'm' }")
      local M = app:module("m", V1)
      app:update("m", (V1:gsub("return M", "require 'dep' return M")))
      assert.equal(M, package.loaded.dep.m)
    end)
  end)

  describe("another module's tables (R2.2)", function()
    it("takes fresh functions and tables out of them again", function()
      assert_put_back([[
        local store = require "store"
        store.handlers.tick = function() return "new" end
        store.handlers.fresh = function() end
        function store.added() end
        store.rows = { "fresh" }
        store.option = { nested = function() end }
      ]])
    end)

    it("puts back what the other module's own functions did to its own data, whole", function()
      local store = package.loaded.store
      local M = app:module("m", V1)
      app:write("m", "require 'store'.touch() require 'store'.touch() error 'the chunk raises'")
      app:refused "m"
      assert.equal(0, store.total)
      assert.equal(1, store.touch())
      app:update("m", V1)
      assert.equal(M, package.loaded.m)
      assert.equal(2, store.touch())
      assert.equal(2, store.total)
    end)
  end)
end)

describe("the message of a chunk that fails (R2.3)", function()
  local app
  before_each(function()
    app = program.new()
    app:module("m", "return { f = function() return 1 end }")
  end)
  after_each(function() app:unload() end)

  local function message_of(source)
    app:write("m", source)
    local message = app:refused "m"
    assert.equal(2,
      app:update("m", "return { f = function() return 2 end }") and package.loaded.m.f())
    return message
  end

  it("carries the error and a traceback into the incoming version", function()
    local message = message_of(table.concat({
      "local function inner()", "  error 'oh no'", "end",
      "local function outer()", "  inner()", "end",
      "outer()",
    }, "\n"))
    local path = app:path "m"
    assert.truthy(message:find(path .. ":2: oh no", 1, true), message)
    assert.matches("traceback", message)
    assert.truthy(message:find(path .. ":5: in", 1, true), message)
    assert.truthy(message:find(path .. ":7: in", 1, true), message)
  end)

  it("carries the line of a syntax error", function()
    local message = message_of "local a = 1\nlocal b = = 2\n"
    assert.truthy(message:find(app:path "m" .. ":2:", 1, true), message)
    assert.matches("unexpected symbol", message)
  end)

  it("carries an error that Lua raises", function()
    assert.matches("attempt to index a nil value %(local 'x'%)", message_of "local x x.y = 1")
    assert.matches("stack overflow", message_of "local function f() return 1 + f() end f()")
    assert.matches("C stack overflow",
      message_of "local function f() return (string.gsub('x', 'x', f)) end f()")
  end)

  it("carries the error of a chunk that takes all memory, and the program goes on", function()
    app:write("story", "local n = 0 return { f = function() n = n + 1 return n end }")
    local out, code, err = app:subprocess([[
      require "hotreload"
      local story = require "story"
      story.f()
      local ok, message = gg.reload("story", { source = "local t = {} while true do t[#t + 1] = "
        .. "('x'):rep(1 << 22) .. #t end" })
      print(ok, message:match "not enough memory")
      print(gg.reload "story" == true, story.f())
    ]], { kilobytes = 400000 })
    assert.equal(0, code, err)
    assert.equal("false\tnot enough memory\ntrue\t2\n", out)
  end)

  it("makes a message of an error object that is a table", function()
    assert.is_string(message_of "error { code = 7 }")
  end)

  it("uses __tostring of an error object", function()
    local message =
      message_of "error(setmetatable({}, { __tostring = function() return 'code 7' end }))"
    assert.matches("code 7", message)
  end)

  it("survives a __tostring that raises, yields or returns no string", function()
    message_of "error(setmetatable({}, { __tostring = function() error 'again' end }))"
    message_of "error(setmetatable({}, { __tostring = function(e) error(e) end }))"
    message_of "error(setmetatable({}, { __tostring = function() return 7 end }))"
    message_of "error(setmetatable({}, { __tostring = function() return {} end }))"
    message_of "error(setmetatable({}, { __tostring = function() coroutine.yield() end }))"
    message_of "error(setmetatable({}, { __name = 7, __metatable = 'locked', __index = error }))"
  end)

  it("makes a message of nil, false, a number and a coroutine", function()
    message_of "error()"
    message_of "error(nil)"
    message_of "error(false)"
    assert.matches("42", message_of "error(42)")
    message_of "error(coroutine.create(print))"
    message_of "error(print)"
    message_of "error(io.stdout)"
  end)

  it("carries bytes that are no UTF-8 as they are, and a megabyte of text", function()
    assert.truthy(message_of "error('a\\xFFb\\nc', 0)":find("a\xFFb\nc", 1, true))
    assert.matches("a", message_of "error('a\\0b', 0)")
    assert.truthy(#message_of "error(('x'):rep(2 ^ 20 | 0), 0)" >= 2 ^ 20)
  end)
end)

describe("a chunk that yields (R2.5)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for place, source in pairs {
    ["in its main part"] = "coroutine.yield() return {}",
    ["in a function that it calls"] = "local function f() coroutine.yield(1) end f() return {}",
    ["under pcall"] = "assert(pcall(coroutine.yield, 1)) return {}",
  } do
    it(("is refused %s, outside and inside of a coroutine"):format(place), function()
      local M = app:module("m", "return { f = function() return 'v1' end }")
      app:write("m", source)
      assert.matches("yield", (app:refused "m"))
      local message
      local thread = coroutine.create(function() message = app:refused "m" return "done" end)
      local ok, result = coroutine.resume(thread)
      assert.is_true(ok, result)
      assert.equal("done", result)
      assert.matches("yield", message)
      app:update("m", "return { f = function() return 'v2' end }")
      assert.equal("v2", M.f())
    end)
  end

  it("may run coroutines of its own that yield", function()
    app:module("m", "return { f = print }")
    app:update("m", [[
      local sum = 0
      for n in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
        sum = sum + n
      end
      return { sum = sum }
    ]])
    assert.equal(6, package.loaded.m.sum)
  end)
end)
