--- Classes under reload (R3.1, R3.2, R4, R5.1): objects made before get the new methods.

local program = require "spec.support.program"

local G = package.loaded._G

local app
local function start() app = program.new() end
local function stop() app:unload() end

describe("A class in the module object (R3.1, R3.2)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local Account = { total = 0 }
    Account.__index = Account
    local opened = 0
    function Account.open(balance)
      opened = opened + 1
      Account.total = Account.total + balance
      return setmetatable({ balance = balance }, Account)
    end
    function Account:deposit(n) self.balance = self.balance + n return "old", self.balance end
    function Account:opened() return opened end
    function Account.__eq(a, b) return a.balance == b.balance end
    function Account:__tostring() return "old account of " .. self.balance end
    return { Account = Account }
  ]]
  local v2 = v1:gsub("old", "new"):gsub("return { Account", [[
    function Account:withdraw(n) self.balance = self.balance - n return self.balance end
    function Account:class() return Account end
    Account.__len = function(self) return self.balance end
    return { Account]])

  it("gives new methods to objects that were made before", function()
    local M = app:module("M", v1)
    local old = M.Account.open(100)
    app:update("M", v2)
    assert.same({ "new", 110 }, { old:deposit(10) })
    assert.equal(90, old:withdraw(20))
    assert.equal("new account of 90", tostring(old))
    assert.equal(90, #old)
  end)

  it("is one class: old and new objects share the metatable, and class data stays", function()
    local M = app:module("M", v1)
    local Account = M.Account
    local old = Account.open(100)
    app:update("M", v2)
    local new = M.Account.open(100)
    assert.equal(Account, M.Account)
    assert.equal(getmetatable(old), getmetatable(new))
    assert.equal(Account, getmetatable(new))
    assert.equal(Account, new:class())
    assert.equal(Account, Account.__index)
    assert.is_true(old == new)
    assert.same({ 200, 2, 2 }, { Account.total, old:opened(), new:opened() })
  end)

  it("leaves an object's own data and overrides alone", function()
    local M = app:module("M", v1)
    local old = M.Account.open(100)
    local function own() return "own" end
    old.deposit, old.note = own, "vip"
    app:update("M", v2)
    assert.same({ balance = 100, deposit = own, note = "vip" }, old)
    assert.same({ "own", 90 }, { old:deposit(1), old:withdraw(10) })
  end)

  it("keeps old methods for old objects when the reload is refused", function()
    local M = app:module("M", v1)
    local old = M.Account.open(100)
    app:write("M", (v2:gsub("function Account:class", "Account.deposit = {} %0")))
    assert.matches("M.Account.deposit", app:refused("M", nil, M, old), 1, true)
    app:write("M", (v2:gsub("return { Account", "Account.open(5) error 'late' %0")))
    app:refused("M", nil, M, old)
    assert.same({ "old", 101 }, { old:deposit(1) })
    assert.is_nil(old.withdraw)
    assert.equal(100, M.Account.total)
    app:update("M", v2)
    assert.same({ "new", 102 }, { old:deposit(1) })
  end)
end)

describe("A class that is only a local (R4.3)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local Account = {}
    Account.__index = Account
    function Account:deposit(n) self.balance = self.balance + n return "old", self.balance end
    return { open = function(balance) return setmetatable({ balance = balance }, Account) end }
  ]]

  it("gives new methods to objects that were made before", function()
    local M = app:module("M", v1)
    local old = M.open(1)
    app:update("M",
      (v1:gsub("old", "new"):gsub("return {", "function Account:added() return Account end %0")))
    assert.same({ "new", 2 }, { old:deposit(1) })
    local new = M.open(1)
    assert.equal(getmetatable(old), getmetatable(new))
    assert.equal(getmetatable(old), new:added())
    assert.equal(new:added(), old:added())
  end)

  it("is found though its local has several names on the way to it", function()
    local source = [[
      local Account = {}
      Account.__index = Account
      function Account:deposit(n) self.balance = self.balance + n return "old", self.balance end
      local meta = Account
      local function build(balance) return setmetatable({ balance = balance }, meta) end
      local function open(balance) return build(balance) end
      return { open = function(balance) return open(balance) end }
    ]]
    local M = app:module("M", source)
    local old = M.open(1)
    app:update("M", (source:gsub("old", "new")))
    assert.same({ "new", 2 }, { old:deposit(1) })
    assert.equal(getmetatable(old), getmetatable(M.open(1)))
  end)

  it("keeps methods that the file dropped, for objects that still call them", function()
    local M = app:module("M",
      (v1:gsub("return {", "function Account:gone() return self.balance end %0")))
    local old = M.open(7)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(7, old:gone())
    assert.same({ "new", 8 }, { old:deposit(1) })
  end)
end)

describe("Inheritance (R3.1, R3.3)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local Base = { kind = "base" }
    Base.__index = Base
    function Base:hello() return "old base " .. self.name end
    function Base:both() return "old both" end
    local Derived = setmetatable({}, { __index = Base, __call = function(class, name)
      return setmetatable({ name = name }, class)
    end })
    Derived.__index = Derived
    function Derived:hello() return "old derived, " .. Base.hello(self) end
    local Leaf = setmetatable({}, { __index = Derived })
    Leaf.__index = Leaf
    function Leaf:leaf() return "old leaf, " .. self:hello() end
    return { Base = Base, Derived = Derived,
      leaf = function(name) return setmetatable({ name = name }, Leaf) end }
  ]]

  it("reaches every class of the chain and the calls to a parent's method", function()
    local M = app:module("M", v1)
    local derived, leaf = M.Derived "d", M.leaf "l"
    local Derived, meta = M.Derived, getmetatable(M.Derived)
    app:update("M",
      (v1:gsub("old", "new"):gsub("return { Base",
        "function Base:added() return self.kind end %0")))
    assert.equal("new derived, new base d", derived:hello())
    assert.equal("new leaf, new derived, new base l", leaf:leaf())
    assert.same({ "new both", "new both", "base", "base" },
      { derived:both(), leaf:both(), derived:added(), leaf:added() })
    assert.equal(Derived, M.Derived)
    assert.equal(meta, getmetatable(M.Derived))
    assert.equal(M.Base, meta.__index)
    assert.equal(getmetatable(derived), getmetatable(M.Derived "new"))
    assert.equal(getmetatable(leaf), getmetatable(M.leaf "new"))
  end)

  it("shows a method that an ancestor gained where a class had dropped its own", function()
    local M = app:module("M", v1)
    local derived = M.Derived "d"
    M.Derived.hello = nil
    app:update("M", (v1:gsub("old", "new"):gsub("function Derived:hello%(%)[^\n]*", "")))
    assert.equal("new base d", derived:hello())
  end)

  it("keeps the class of another module where it is", function()
    app:write("base", [[
      local Base = { count = 0 }
      Base.__index = Base
      function Base:hello() return "old base" end
      return Base
    ]])
    local derived_source = [[
      local Base = require "base"
      local Derived = setmetatable({}, { __index = Base })
      Derived.__index = Derived
      Derived.super = Base
      function Derived.new() Base.count = Base.count + 1 return setmetatable({}, Derived) end
      function Derived:hello() return "old derived, " .. Base.hello(self) end
      return Derived
    ]]
    local Derived, Base = app:module("derived", derived_source), app:load "base"
    local object, hello = Derived.new(), Base.hello
    app:update("derived", (derived_source:gsub("old", "new")))
    assert.equal("new derived, old base", object:hello())
    assert.equal(hello, Base.hello)
    assert.same({ Base, 1 }, { Derived.super, Base.count })
    app:update("base", [[
      local Base = { count = 0 }
      Base.__index = Base
      function Base:hello() return "new base" end
      function Base:added() return "added" end
      return Base
    ]])
    assert.equal("new derived, new base", object:hello())
    assert.equal("added", object:added())
    assert.equal(Base, app:load "base")
    Derived.new()
    assert.equal(2, Base.count)
  end)

  it("takes a parent that was swapped in the source for another module's class", function()
    app:write("one", "local C = {} C.__index = C function C:who() return 'one' end return C")
    app:write("two", "local C = {} C.__index = C function C:who() return 'two' end return C")
    local source = [[
      local Base = require "one"
      local C = setmetatable({}, { __index = Base })
      C.__index = C
      function C.new() return setmetatable({}, C) end
      function C:up() return Base.who(self) end
      return C
    ]]
    local C = app:module("M", source)
    local object, one = C.new(), app:load "one"
    app:update("M", (source:gsub('"one"', '"two"')))
    assert.same({ "two", "two" }, { object:who(), object:up() })
    assert.equal("one", one.who())
    assert.equal(one, one.__index)
  end)
end)

describe("A class library that returns the existing table by name (R3)", function()
  before_each(start)
  after_each(stop)

  -- Where the library keeps its classes: nobody else can see them, in a field, in a global.
  local libraries = {
    ["a private registry"] = [[
      local classes = {}
      local function class(name)
        local found = classes[name]
        if not found then
          found = { name = name }
          found.__index = found
          classes[name] = found
        end
        return found
      end
      return { class = class }
    ]],
    ["a public registry"] = [[
      local lib = { classes = {} }
      function lib.class(name)
        if not lib.classes[name] then
          local new = { name = name }
          new.__index = new
          lib.classes[name] = new
        end
        return lib.classes[name]
      end
      return lib
    ]],
    ["globals"] = [[
      return { class = function(name)
        local found = rawget(_G, name)
        if not found then
          found = { name = name }
          found.__index = found
          _G[name] = found
        end
        return found
      end }
    ]],
  }

  local function story(returned, version, extra)
    return ([[
      local Player = require "class".class "Player"
      local made = 0
      Player.limit, Player.defaults = 10, { hp = 100, f = function() return "VERSION default" end }
      function Player.new(name)
        made = made + 1
        return setmetatable({ name = name, hp = Player.defaults.hp }, Player)
      end
      function Player:hello() return "VERSION " .. self.name, made end
      EXTRA
      return RETURNED
    ]]):gsub("%u%u%u+", { VERSION = version, EXTRA = extra or "", RETURNED = returned })
  end

  local module_objects = { "Player", "{ new = Player.new, Player = Player }",
    "{ new = function(name) return Player.new(name) end }" }

  for place, library in pairs(libraries) do
    for _, returned in ipairs(module_objects) do
      it(("keeps objects, cells and data, \z
        with %s and `return %s`"):format(place, returned), function()
        app:write("class", library)
        local M = app:module("M", (story(returned, "old")))
        local old = M.new "a"
        local Player = getmetatable(old)
        local defaults = Player.defaults
        Player.limit, defaults.hp = 99, 50
        app:update("M",
          (story(returned, "new", "Player.added = 'added' function Player:more() return made end")))
        assert.same({ "new a", 1 }, { old:hello() })
        local new = M.new "b"
        assert.same({ "new b", 2 }, { new:hello() })
        assert.equal(Player, getmetatable(new))
        assert.equal(50, new.hp)
        assert.equal(2, old:more())
        assert.same({ 99, "added" }, { Player.limit, Player.added })
        assert.equal(defaults, Player.defaults)
        assert.equal("new default", defaults.f())
        assert.is_true(M.Player == nil or M.Player == Player)
      end)

      it(("is put back when the reload fails, \z
        with %s and `return %s`"):format(place, returned), function()
        app:write("class", library)
        local M = app:module("M", (story(returned, "old")))
        local old = M.new "a"
        local Player = getmetatable(old)
        Player.limit, Player.defaults.hp = 99, 50
        app:write("M", (story(returned, "new", "Player.added = 1 do error 'late' end")))
        assert.matches("late", app:refused("M", nil, M, old, Player))
        assert.is_nil(Player.added)
        assert.same({ "old a", 1 }, { old:hello() })
        app:write("M", (story(returned, "new", "Player.hello = 'data'")))
        assert.matches("hello", app:refused("M", nil, M, old, Player))
        assert.same({ "old a", 1 }, { old:hello() })
        app:update("M", (story(returned, "corrected")))
        assert.same({ "corrected a", 1 }, { old:hello() })
        assert.same({ 99, 50 }, { Player.limit, Player.defaults.hp })
      end)
    end
  end

  it("keeps a subclass that takes its parent by name", function()
    app:write("class", libraries["a private registry"])
    local source = [[
      local class = require "class".class
      local Base, Derived = class "Base", class "Derived"
      setmetatable(Derived, { __index = Base })
      function Base:hello() return "old base " .. self.name end
      function Derived:both() return "old derived, " .. self:hello() end
      return { make = function(name) return setmetatable({ name = name }, Derived) end }
    ]]
    local M = app:module("M", source)
    local object = M.make "x"
    local Derived = getmetatable(object)
    local meta = getmetatable(Derived)
    app:update("M", (source:gsub("old", "new")))
    assert.equal("new derived, new base x", object:both())
    assert.equal(Derived, getmetatable(M.make "y"))
    assert.equal(meta, getmetatable(Derived))
  end)

  it("keeps a class that two modules share: each reloads its own methods", function()
    app:write("class", libraries["a private registry"])
    local first_source = [[
      local Player = require "class".class "Player"
      local count = 0
      function Player:first() count = count + 1 return "old first", count end
      return { new = function() return setmetatable({}, Player) end }
    ]]
    local second_source = [[
      local Player = require "class".class "Player"
      local count = 100
      function Player:second() count = count + 1 return "old second", count end
      return { class = function() return Player end }
    ]]
    local first = app:module("first", first_source)
    app:module("second", second_source)
    local object = first.new()
    object:first() object:second()
    app:update("second", (second_source:gsub("old", "new")))
    assert.same({ "old first", 2 }, { object:first() })
    assert.same({ "new second", 102 }, { object:second() })
    app:update("first", (first_source:gsub("old", "new")))
    assert.same({ "new first", 3 }, { object:first() })
    assert.same({ "new second", 103 }, { object:second() })
  end)
end)

describe("A class library that registers a fresh table (R3.1, R5.1)", function()
  before_each(start)
  after_each(stop)

  local source = [[
    local Player = require "class" "Player"
    local made = 0
    Player.limit = 10
    function Player.new(name) made = made + 1 return setmetatable({ name = name }, Player) end
    function Player:hello() return "old " .. self.name, made end
    function Player:class() return Player end
    return { new = Player.new, Player = Player }
  ]]

  local function reload_it()
    local M = app:module("M", source)
    local old, Player = M.new "a", M.Player
    Player.limit = 99
    app:update("M", (source:gsub("old", "new")))
    local new = M.new "b"
    assert.equal(Player, M.Player)
    assert.same({ "new a", 2 }, { old:hello() })
    assert.equal(Player, getmetatable(old))
    assert.equal(Player, getmetatable(new))
    assert.equal(Player, old:class())
    assert.equal(99, Player.limit)
    return Player
  end

  it("keeps objects and class with a private registry", function()
    app:write("class", [[
      local classes = {}
      return function(name)
        local class = { name = name }
        class.__index = class
        classes[name] = class
        return class
      end
    ]])
    reload_it()
  end)

  it("keeps objects, class and the registry's entry with a public registry", function()
    app:write("class", [[
      local lib = { Player = false, count = 0 }
      return setmetatable(lib, { __call = function(_, name)
        local class = { name = name }
        class.__index = class
        lib[name], lib.count = class, lib.count + 1
        return class
      end })
    ]])
    local Player = reload_it()
    assert.equal(Player, app:load "class".Player)
  end)

  it("keeps objects, class and the entry with globals", function()
    app:write("class", [[
      return function(name)
        local class = { name = name }
        class.__index = class
        _G[name] = class
        return class
      end
    ]])
    assert.equal(reload_it(), rawget(G, "Player"))
  end)

  it("puts the registry's entry back when the reload is refused", function()
    app:write("class", [[
      local lib = { Player = false }
      return setmetatable(lib, { __call = function(_, name)
        local class = { name = name }
        class.__index = class
        lib[name] = class
        return class
      end })
    ]])
    local M = app:module("M", source)
    local Player, old = M.Player, M.new "a"
    app:write("M", (source:gsub("return { new", "do error 'late' end %0")))
    app:refused("M", nil, M)
    app:write("M", (source:gsub("function Player:class%(%).-end", "Player.class = 1")))
    app:refused("M", nil, M)
    assert.equal(Player, app:load "class".Player)
    app:update("M", (source:gsub("old", "corrected")))
    assert.equal(Player, app:load "class".Player)
    assert.equal("corrected a", (old:hello()))
  end)

  it("keeps a class whose methods the library stores away, and its subclasses", function()
    app:write("class", [[
      -- Methods go to a dictionary that is handed down to subclasses; classes know their
      -- subclasses.
      local meta = {}
      function meta.__index(class, key) return rawget(class, "methods")[key] end
      function meta.__newindex(class, key, value)
        rawget(class, "methods")[key] = value
        for sub in pairs(rawget(class, "subclasses")) do
          if rawget(sub, "methods")[key] == nil then sub[key] = value end
        end
      end
      function meta.__call(class, name)
        return setmetatable({ name = name, class = class }, rawget(class, "object_meta"))
      end
      return function(name, parent)
        local methods = {}
        local class = { name = name, parent = parent, methods = methods,
          subclasses = setmetatable({}, { __mode = "k" }), object_meta = { __index = methods } }
        setmetatable(class, meta)
        if parent then
          for key, value in pairs(parent.methods) do methods[key] = value end
          parent.subclasses[class] = true
        end
        return class
      end
    ]])
    local v1 = [[
      local class = require "class"
      local Base = class "Base"
      function Base:hello() return "old base " .. self.name end
      local Derived = class("Derived", Base)
      function Derived:both() return "old derived, " .. self:hello() end
      function Base:late() return "old late" end
      return { Base = Base, Derived = Derived }
    ]]
    local M = app:module("M", v1)
    local Base, Derived = M.Base, M.Derived
    local base, derived = Base "b", Derived "d"
    local meta = getmetatable(Base)
    app:update("M",
      (v1:gsub("old", "new"):gsub("return { Base",
        "function Base:added() return self.class end %0")))
    assert.same({ "new base b", "new late" }, { base:hello(), base:late() })
    assert.same({ "new derived, new base d", "new late" }, { derived:both(), derived:late() })
    assert.equal(Base, base:added())
    assert.equal(Derived, derived:added())
    assert.equal(Base, rawget(M.Derived, "parent"))
    assert.equal(meta, getmetatable(M.Base))
    assert.equal(getmetatable(derived), getmetatable(M.Derived "new"))
    local sub = next(rawget(Base, "subclasses"))
    assert.equal(Derived, sub)
    assert.is_nil(next(rawget(Base, "subclasses"), sub))
  end)
end)

describe("Objects of the module's own making (R3.1, R5.1)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local Account = {}
    Account.__index = Account
    function Account:balance() return "old", self.n end
    local function open(n) return setmetatable({ n = n }, Account) end
    return { main = open(10), open = open, list = { open(1), open(2) } }
  ]]

  it("stay, with their data and their class", function()
    local M = app:module("M", v1)
    local main, first, class = M.main, M.list[1], getmetatable(M.main)
    main.n, first.n = 77, 78
    app:update("M", (v1:gsub("old", "new")))
    assert.equal(main, M.main)
    assert.equal(first, M.list[1])
    assert.equal(class, getmetatable(M.main))
    assert.same({ "new", 77 }, { M.main:balance() })
    assert.same({ "new", 78 }, { M.list[1]:balance() })
  end)

  it("that only the file has belong to the running class", function()
    local M = app:module("M", v1)
    app:update("M",
      (v1:gsub("old", "new"):gsub("main = open%(10%)",
        "%0, spare = open(20), more = { open(30) }")))
    assert.equal(getmetatable(M.main), getmetatable(M.spare))
    assert.equal(getmetatable(M.main), getmetatable(M.more[1]))
    assert.same({ "new", 20 }, { M.spare:balance() })
  end)
end)

describe("Metatables of the module object and of classes (R3.1)", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local calls, lookups = 0, {}
    local M = {}
    local meta = {}
    function meta.__call(_, x) calls = calls + 1 return "old call", x, calls end
    function meta.__index(_, key) lookups[#lookups + 1] = key return "old " .. key end
    function M.lookups() return #lookups end
    return setmetatable(M, meta)
  ]]

  it("call and index with the new functions, on the old cells", function()
    local M = app:module("M", v1)
    local meta = getmetatable(M)
    M() local _ = M.something
    app:update("M",
      (v1:gsub("old", "new"):gsub("return setmeta", "function meta.__len() return calls end %0")))
    assert.equal(meta, getmetatable(M))
    assert.same({ "new call", 5, 2 }, { M(5) })
    assert.equal("new thing", M.thing)
    assert.equal(2, M.lookups())
    assert.equal(2, #M)
  end)

  it("index through a table of methods that only a function knows", function()
    local source = [[
      local methods = {}
      function methods.hello(self) return "old " .. self.name end
      local Class = { __index = function(_, key) return methods[key] end }
      return { new = function(name) return setmetatable({ name = name }, Class) end }
    ]]
    local M = app:module("M", source)
    local object = M.new "x"
    app:update("M", (source:gsub("old", "new")))
    assert.equal("new x", object:hello())
    assert.equal(getmetatable(object), getmetatable(M.new "y"))
  end)

  it("stay as they were when the reload is refused", function()
    local M = app:module("M", v1)
    M()
    app:write("M", (v1:gsub("old", "new"):gsub("function M.lookups", "meta.__call = 5 %0")))
    assert.matches("__call", app:refused("M", nil, M))
    assert.same({ "old call", 5, 2 }, { M(5) })
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected call", 5, 3 }, { M(5) })
  end)
end)

for _, scope in ipairs { "module", "vm" } do
  describe("A class that a library takes up by name (R2.8), scope '" .. scope .. "',", function()
    before_each(function()
      start()
      app:module("classes", [[
        local C = { known = {} }
        function C.define(name, definition)
          local class = C.known[name] or {}
          C.known[name] = class
          for key, value in pairs(definition) do class[key] = value end
          class.__index = class
          return class
        end
        return C
      ]])
    end)
    after_each(stop)

    local function orc(fields)
      return "return require 'classes'.define('Orc', { " .. fields .. " })"
    end
    local V1 = "hp = 10, roar = function(self) return 'roar' .. self.hp end, "
    local V2 = V1:gsub("'roar'", "'ROAR'")

    local function update(fields, options)
      options = options or {}
      options.scope = scope
      return app:update("orc", orc(fields), options)
    end

    it("has its data, and the new methods", function()
      local Orc = app:module("orc", orc(V1))
      local one = setmetatable({}, Orc)
      Orc.hp = 99
      local report = update(V2)
      assert.same({ {}, 1, 0 }, { report.warnings, report.calls.repeated, report.calls.new })
      assert.equal("ROAR99", one:roar())
      update(V2 .. "run = function() return 'runs' end")
      assert.same({ "ROAR99", "runs" }, { one:roar(), one.run() })
      assert.is_true(app.hotreload.undo "orc")
      assert.same({ "ROAR99", nil }, { one:roar(), one.run })
    end)

    it("gets new data of the file, and keeps what both have changed, with a warning", function()
      local Orc = app:module("orc", orc(V1))
      Orc.hp = 99
      local report = update((V2:gsub("hp = 10", "hp = 20, mp = 3")))
      assert.same({ 99, 3 }, { Orc.hp, Orc.mp })
      assert.equal(1, #report.warnings)
      assert.matches("orc%.hp: number 99 while it runs, number 20 in the file", report.warnings[1])
      report = update((V2:gsub("hp = 10", "hp = 20, mp = 4")))
      assert.same({ 3, 1 }, { Orc.mp, report.data.differing })
      update((V2:gsub("hp = 10", "hp = 20, mp = 5")), { data = "merge" })
      assert.same({ 99, 5 }, { Orc.hp, Orc.mp })
    end)
  end)
end

for _, scope in ipairs { "module", "vm" } do
  describe("A class library that copies methods (R3.15, R5.7), scope '" .. scope .. "',", function()
    -- The parent knows its subclasses, so the call that makes one is a repeat.
    local libraries = {
      ["into the class"] = [[
        return function(name, parent)
          local c = { name = name, subclasses = setmetatable({}, { __mode = "k" }) }
          for k, f in pairs(parent or {}) do if c[k] == nil then c[k] = f end end
          c.__index = c
          if parent then parent.subclasses[c] = true end
          return c
        end
      ]],
      ["into a table of its own"] = [[
        local function set(c, k, f)
          c.methods[k] = f
          for sub in pairs(c.subclasses) do if sub.own[k] == nil then set(sub, k, f) end end
        end
        return function(name, parent)
          local methods = {}
          methods.__index = methods
          local c = { name = name, methods = methods, own = {},
            subclasses = setmetatable({}, { __mode = "k" }) }
          setmetatable(c, { __index = methods,
            __newindex = function(_, k, f) c.own[k] = f set(c, k, f) end })
          for k, f in pairs(parent and parent.methods or {}) do
            if k ~= "__index" then methods[k] = f end
          end
          if parent then parent.subclasses[c] = true end
          return c
        end
      ]],
    }

    local function animal(version)
      local more = version > 1 and "function Animal:flies() return 'flies' end" or ""
      return ([[
        local Animal = require "class" "Animal"
        function Animal:says() return "says VERSION" end
        function Animal:eats() return "eats VERSION" end
        function Animal:sleeps() return "sleeps VERSION" end
        MORE
        return Animal
      ]]):gsub("%u%u%u+", { VERSION = version, MORE = more })
    end
    local function dog(version)
      return (([[
        local Dog = require "class" ("Dog", (require "animal"))
        function Dog:eats() return "dog eats VERSION" end
        function Dog:barks() return "barks VERSION, " .. self:says() end
        return Dog
      ]]):gsub("VERSION", version))
    end

    for place, library in pairs(libraries) do describe(place, function()
      local Dog, one
      before_each(function()
        start()
        app:write("class", library)
        app:module("animal", animal(1))
        Dog = app:module("dog", dog(1))
        one = setmetatable({}, Dog.methods or Dog)
        function Dog.sleeps() return "program" end
      end)
      after_each(stop)

      local function methods()
        return { one:says(), one:eats(), one:sleeps(), one:barks(), (one.flies or type)(one) }
      end
      local function expected(v)
        return { "says " .. v, "dog eats " .. v, "program", ("barks %d, says %d"):format(v, v),
          v > 1 and "flies" or "table" }
      end

      it("gives a subclass its parent's new methods, in one transaction", function()
        for version = 2, 3 do
          app:write("animal", animal(version))
          app:write("dog", dog(version))
          app:reloaded({ "animal", "dog" }, { scope = scope })
          assert.same(expected(version), methods())
          assert.equal(Dog, app:load "dog")
        end
        assert.is_true(app.hotreload.undo { "animal", "dog" })
        assert.same(expected(2), methods())
        app:reloaded({ "animal", "dog" }, { scope = scope })
        assert.same(expected(3), methods())
        local reports = app:reloaded({ "animal", "dog" }, { scope = scope })
        assert.matches("nothing to do", reports[1].summary)
        assert.matches("nothing to do", reports[2].summary)
      end)

      it("gives a subclass its parent's new methods, one after the other", function()
        app:update("animal", animal(2), { scope = scope })
        app:update("dog", dog(1), { scope = scope })
        app:update("dog", dog(2), { scope = scope })
        assert.same(expected(2), methods())
        local report = app:update("dog", dog(2), { scope = scope })
        assert.matches("nothing to do", report.summary)
      end)

      it("leaves a method to the subclass that it brings itself", function()
        app:write("animal", animal(2))
        app:write("dog", (dog(2):gsub("return Dog", "function Dog:flies() return 'own' end %0")))
        app:reloaded({ "animal", "dog" }, { scope = scope })
        assert.equal("own", one:flies())
      end)
    end) end

    it("leaves a handle what its library has made of it", function()
      start()
      app:write("timer", [[
        local timer = { list = {} }
        function timer.first() return "first" end
        function timer.every(f)
          local handle = { f = f, starts = timer.first, state = "new" }
          table.insert(timer.list, handle)
          return handle
        end
        return timer
      ]])
      local source = "return { job = require 'timer'.every(function() return 1 end) }"
      local M = app:module("M", source)
      M.job.starts, M.job.state = nil, "runs"
      app:update("M", (source:gsub("1", "2")), { scope = scope })
      assert.same({ 2, nil, "runs" }, { M.job.f(), M.job.starts, M.job.state })
      stop()
    end)
  end)
end
