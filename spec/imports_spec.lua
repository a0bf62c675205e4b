--- R3.3: values that the module did not make itself: dependencies, the standard library, live
--- objects.

local program = require "spec.support.program"

local G = package.loaded._G

describe("R3.3 imports: a dependency swapped in the source", function()
  local app
  before_each(function()
    app = program.new()
    app:write("json.fast", [[
      return { name = "fast", options = { depth = 1 }, encode = function() return "fast" end }
    ]])
    app:write("json.slow", [[
      return { name = "slow", options = { depth = 2 }, extra = 1,
        encode = function() return "slow" end }
    ]])
  end)
  after_each(function() app:unload() end)

  local v1 = [[
    local json = require "json.fast"
    local M = { codec = json, nested = { codec = json } }
    function M.encode() return json.encode() end
    function M.depth() return json.options.depth end
    return M
  ]]
  local v2 = v1:gsub("fast", "slow")

  local function assert_swapped(M, fast, slow)
    assert.same({ "slow", 2 }, { M.encode(), M.depth() })
    assert.equal(slow, M.codec)
    assert.equal(slow, M.nested.codec)
    assert.same({ "fast", "fast", 1 }, { fast.name, fast.encode(), fast.options.depth })
    assert.is_nil(fast.extra)
    assert.same({ "slow", "slow", 2 }, { slow.name, slow.encode(), slow.options.depth })
  end

  it("takes one that is loaded already", function()
    local M, fast, slow = app:module("M", v1), app:load "json.fast", app:load "json.slow"
    local before = program.fingerprint(fast, slow)
    app:update("M", v2)
    assert_swapped(M, fast, slow)
    assert.not_matches("\nroot %d", "\n" .. before:changes())
  end)

  it("takes one that the reload is the first to load", function()
    local M = app:module("M", v1)
    assert.is_nil(package.loaded["json.slow"])
    app:update("M", v2)
    assert_swapped(M, app:load "json.fast", package.loaded["json.slow"])
  end)

  it("swaps back and forth", function()
    local M = app:module("M", v1)
    app:update("M", v2)
    app:update("M", v1)
    assert.same({ "fast", 1 }, { M.encode(), M.depth() })
    app:update("M", v2)
    assert_swapped(M, app:load "json.fast", app:load "json.slow")
  end)

  it("shows the swap to old closures, too", function()
    local M = app:module("M", v1)
    local old = M.encode
    app:update("M", v2)
    assert.equal("slow", old())
  end)

  it("takes a module that returns a function", function()
    app:write("one", "return function() return 'one' end")
    app:write("two", "return function() return 'two' end")
    local M = app:module("M",
      [[ local make = require "one" return { f = function() return make() end } ]])
    app:update("M", [[ local make = require "two" return { f = function() return make() end } ]])
    assert.equal("two", M.f())
  end)

  it("keeps the dependency, and forgets the new one, when the chunk raises \z
    after requiring it", function()
    local M, fast = app:module("M", v1), app:load "json.fast"
    app:write("M", (v2:gsub("return M%s*$", "error 'after require'")))
    assert.matches("after require", app:refused("M", nil, M))
    assert.is_nil(package.loaded["json.slow"])
    assert.equal("fast", M.encode())
    app:update("M", v2)
    assert_swapped(M, fast, package.loaded["json.slow"])
  end)

  it("takes the place of a table of the module's own that the program has not changed, and nothing "
    .. "of one goes into the other", function()
    local M = app:module("M", "return { codec = { encode = function() return 'own' end, n = 1 } }")
    local own = M.codec
    app:update("M", "return { codec = require 'json.slow' }")
    local slow = package.loaded["json.slow"]
    assert.equal(slow, M.codec)
    assert.same({ "own", 1 }, { own.encode(), own.n })
    assert.is_nil(own.options)
    assert.is_nil(own.name)
    assert.is_nil(slow.n)
    assert.equal("slow", slow.encode())
  end)

  it("keeps one that it has changed, with a warning", function()
    local M = app:module("M", "return { codec = { encode = function() return 'own' end, n = 1 } }")
    local own = M.codec
    own.n = 2
    local report = app:update("M", "return { codec = require 'json.slow' }")
    assert.equal(own, M.codec)
    assert.same({ "own", 2 }, { own.encode(), own.n })
    assert.matches("M.codec: the file has another object there", report.warnings[1], 1, true)
  end)

  it("keeps a local table of the module that the file turns into an import", function()
    local M = app:module("M",
      "local box = { n = 1 } return { get = function() return box, 'old' end }")
    local box = M.get()
    box.n = 5
    app:update("M",
      "local box = require 'json.slow' return { get = function() return box, 'new' end }")
    local still, text = M.get()
    assert.equal(box, still)
    assert.same({ n = 5 }, box)
    assert.equal("new", text)
  end)
end)

describe("R3.3 imports: a dependency that the file replaced by its own table", function()
  local app
  before_each(function()
    app = program.new()
    app:write("config", "return { n = 1, f = function() return 'config' end }")
  end)
  after_each(function() app:unload() end)

  it("takes the file's table, and never writes to the module's", function()
    local M = app:module("M", [[
      local config = require "config"
      return { config = config, get = function() return config end, sub = { config = config } }
    ]])
    local config = app:load "config"
    local before = program.fingerprint(config)
    app:update("M", [[
      local config = { n = 2, f = function() return "own" end, added = 1 }
      return { config = config, get = function() return config end, sub = { config = config } }
    ]])
    assert.not_matches("\nroot 1", "\n" .. before:changes())
    assert.same({ "config", 1 }, { config.f(), config.n })
    assert.same({ "own", 2, 1 }, { M.get().f(), M.get().n, M.get().added })
    assert.equal(M.get(), M.config)
    assert.equal(M.get(), M.sub.config)
  end)

  it("takes the file's table in the place of the standard library's or the globals", function()
    local M = app:module("M", [[
      local s = string
      return { s = string, env = _G, upper = function() return s.upper "x" end }
    ]])
    local before = program.fingerprint(string)
    app:update("M", [[
      local s = { upper = function() return "own" end }
      return { s = s, env = { print = function() return "own print" end },
        upper = function() return s.upper "x" end }
    ]])
    assert.not_matches("\n_G%.%a+: ", "\n" .. before:changes())
    assert.not_matches("\nroot 1", "\n" .. before:changes())
    assert.same({ "own", "own", "own print" }, { M.upper(), M.s.upper(), M.env.print() })
    assert.equal("X", string.upper "x")
  end)

  it("takes the file's metatable in the place of another module's", function()
    app:write("shared", "return { __index = function() return 'shared' end }")
    local M = app:module("M",
      "return setmetatable({ sub = setmetatable({}, require 'shared') }, require 'shared')")
    local shared = app:load "shared"
    local before = program.fingerprint(shared)
    app:update("M", [[
      local own = { __index = function() return "own" end, __call = function() return "call" end }
      return setmetatable({ sub = setmetatable({}, own) }, own)
    ]])
    assert.not_matches("\nroot 1%.", "\n" .. before:changes())
    assert.same({ "own", "own", "call" }, { M.anything, M.sub.anything, M() })
    assert.equal("shared", setmetatable({}, shared).anything)
  end)

  it("takes another module's metatable from the source", function()
    app:write("one", "return { __index = function() return 'one' end }")
    app:write("two", "return { __index = function() return 'two' end }")
    local M = app:module("M", "return setmetatable({}, require 'one')")
    app:update("M", "return setmetatable({}, require 'two')")
    assert.equal("two", M.anything)
    assert.equal(app:load "two", getmetatable(M))
    assert.equal("one", setmetatable({}, app:load "one").anything)
  end)

  it("keeps the module where the program chose it: in a cell that some function assigns", function()
    local M = app:module("M", [[
      local back = { name = "own" }
      return { use = function(name) back = require(name) end, back = function() return back end }
    ]])
    M.use "config"
    local config = app:load "config"
    local before = program.fingerprint(config)
    app:update("M", [[
      local back = { name = "new own", f = function() return "own" end }
      return { use = function(name) back = require(name) end, back = function() return back end }
    ]])
    assert.equal(config, M.back())
    before:assert_unchanged() -- all functions stay (R3.6)
  end)
end)

describe("R3.3 imports: values of the standard library", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("takes another function of the library from the source", function()
    local M = app:module("M", [[
      local round = math.floor
      return { round = math.floor, f = function(x) return round(x) end }
    ]])
    app:update("M", [[
      local round = math.ceil
      return { round = math.ceil, f = function(x) return round(x) end }
    ]])
    assert.equal(3, M.f(2.5))
    assert.equal(math.ceil, M.round)
  end)

  it("takes another table of the library, and writes to neither", function()
    local M = app:module("M",
      "local lib = string return { f = function() return lib end, lib = string }")
    local before = program.fingerprint(string, utf8)
    app:update("M", "local lib = utf8 return { f = function() return lib end, lib = utf8 }")
    assert.equal(utf8, M.f())
    assert.equal(utf8, M.lib)
    assert.not_matches("\nroot %d", "\n" .. before:changes())
  end)

  it("takes a module's function in the place of one of the library", function()
    app:write("logger", "return { log = function(text) return 'logged ' .. text end }")
    local M = app:module("M", "local log = tostring return { f = function() return log 'x' end }")
    app:update("M", "local log = require 'logger'.log return { f = function() return log 'x' end }")
    assert.equal("logged x", M.f())
  end)

  it("keeps the library's function when the swap is refused for another reason", function()
    local v1 =
      "local round = math.floor return { f = function(x) return round(x) end, g = function() end }"
    local M = app:module("M", v1)
    app:write("M", (v1:gsub("floor", "ceil"):gsub("g = function%(%) end", "g = 1")))
    app:refused("M", nil, M)
    assert.equal(2, M.f(2.5))
    app:update("M", (v1:gsub("floor", "ceil")))
    assert.equal(3, M.f(2.5))
  end)
end)

describe("R3.3 imports: live objects", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("keeps the object that was picked up at load, and merges nothing into any", function()
    app:write("world", [[
      local function session(name) return { name = name, hello = function() return name end } end
      return { session = session, current = session "first" }
    ]])
    local v1 = [[
      local session = require "world".current
      return { session = session, box = { session = session },
        name = function() return "old " .. session.hello() end }
    ]]
    local M, world = app:module("M", v1), app:load "world"
    local first, second = world.current, world.session "second"
    first.score, world.current = 10, second
    local first_hello, second_hello = first.hello, second.hello
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new first", M.name())
    assert.equal(first, M.session)
    assert.equal(first, M.box.session)
    assert.equal(second, world.current)
    assert.same({ name = "first", score = 10, hello = first_hello }, first)
    assert.same({ name = "second", hello = second_hello }, second)
  end)

  it("keeps the object of a global that was picked up at load", function()
    G.current_room = { name = "lobby", enter = function() return "lobby" end }
    local v1 = [[
      local room = current_room
      return { room = room, enter = function() return "old " .. room.enter() end }
    ]]
    local M, lobby = app:module("M", v1), G.current_room
    local hall = { name = "hall", enter = function() return "hall" end, extra = true }
    G.current_room = hall
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new lobby", M.enter())
    assert.equal(lobby, M.room)
    assert.is_nil(lobby.extra)
    assert.equal("lobby", lobby.name)
    assert.equal(hall, G.current_room)
    assert.equal("hall", hall.name)
  end)

  it("keeps userdata and threads that were picked up at load", function()
    local v1 = [[
      local out, thread = CURRENT_FILE, coroutine.create(function() end)
      return { f = function() return "old", out, thread end }
    ]]
    local first <close> = assert(io.tmpfile())
    local second <close> = assert(io.tmpfile())
    G.CURRENT_FILE = first
    local M = app:module("M", v1)
    local _, out, thread = M.f()
    G.CURRENT_FILE = second
    app:update("M", (v1:gsub("old", "new")))
    local text, new_out, new_thread = M.f()
    assert.equal("new", text)
    assert.equal(first, out)
    assert.equal(out, new_out)
    assert.equal(thread, new_thread)
  end)
end)

describe("R3.3 imports: generations of an imported function", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local user = [[
    local helper = require "util".helper
    return { helper = helper, f = function() return "user 1: " .. helper() end }
  ]]

  it("takes the new generation after the other module was reloaded", function()
    app:write("util", "return { helper = function() return 'helper 1' end }")
    local M = app:module("user", user)
    app:update("util", "return { helper = function() return 'helper 2' end }")
    assert.equal("user 1: helper 1", M.f())
    app:reloaded("user")
    assert.equal("user 1: helper 2", M.f())
    assert.equal(app:load "util".helper, M.helper)
  end)

  it("takes it after several generations, and when the importing file changed as well", function()
    app:write("util", "return { helper = function() return 'helper 1' end }")
    local M = app:module("user", user)
    for n = 2, 4 do
      app:update("util", ("return { helper = function() return 'helper %d' end }"):format(n))
    end
    app:update("user", (user:gsub("user 1", "user 2")))
    assert.equal("user 2: helper 4", M.f())
  end)

  for _, tracked in ipairs { true, false } do
    it("takes the wrapper that another module has put around it since, tracked: " ..
      tostring(tracked), function()
      finally(function() app.hotreload.track(true) end)
      assert(app.hotreload.track(tracked))
      app:write("util", "local M = {} function M.helper() return 'helper', M end return M")
      local M = app:module("user", user)
      local util, trace = app:load "util", app:module("trace", [[
        return function(old) return function() return "traced " .. old() end end
      ]])
      util.helper = trace(util.helper)
      app:reloaded("user")
      assert.equal("user 1: traced helper", M.f())
      -- Without a record the program may have put there what stands in the field.
      assert.equal(tracked, util.helper == M.helper)
    end)
  end

  it("stays, and is told, if nothing else holds it, unless the file's are asked for", function()
    app:write("conf", "local M = { limits = { max = 5 } } return M")
    local M = app:module("shop", [[
      local limits = require "conf".limits
      local M = { limits = limits }
      function M.max() return limits.max, M.limits.max end
      return M
    ]])
    app:load "conf".limits = { max = 9 }
    for _ = 1, 2 do
      local report = app:reloaded("shop", { report = "full" })
      assert.same({ 5, 5 }, { M.max() })
      assert.equal(2, report.data.differing)
      assert.matches("^shop.limits: ", report.paths.data.differing[1])
      assert.matches("^shop.max@limits: ", report.paths.data.differing[2])
    end
    assert.equal(0, app:reloaded("shop", { data = "merge" }).data.differing)
    assert.same({ 9, 9 }, { M.max() })
  end)

  it("keeps an imported function that is still the current one", function()
    app:write("util",
      "return { helper = function() return 'helper 1' end, other = function() return 'other' end }")
    local M = app:module("user", user)
    app:update("user", (user:gsub("user 1", "user 2")))
    assert.equal("user 2: helper 1", M.f())
    assert.equal(app:load "util".helper, M.helper)
  end)
end)

describe("R3.3 imports: a cell that some function assigns", function()
  local app
  before_each(function()
    app = program.new()
    app:write("back.memory", "return { name = 'memory' }")
    app:write("back.disk", "return { name = 'disk' }")
    app:write("back.net", "return { name = 'net' }")
  end)
  after_each(function() app:unload() end)

  local v1 = [[
    local back = require "back.memory"
    local M = {}
    function M.use(name) back = require("back." .. name) end
    function M.name() return "old " .. back.name end
    return M
  ]]

  it("keeps the back end that was chosen at run time", function()
    local M = app:module("M", v1)
    M.use "disk"
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new disk", M.name())
  end)

  it("keeps it though the file's default became another", function()
    local M = app:module("M", v1)
    M.use "disk"
    app:update("M", (v1:gsub("old", "new"):gsub("back%.memory", "back.net")))
    assert.equal("new disk", M.name())
    M.use "memory"
    assert.equal("new memory", M.name())
  end)

  it("keeps it when only a nested function assigns it", function()
    local nested = [[
      local back = require "back.memory"
      local M = {}
      function M.user() return function(name) back = require("back." .. name) end end
      function M.name() return "old " .. back.name end
      return M
    ]]
    local M = app:module("M", nested)
    M.user() "disk"
    app:update("M", (nested:gsub("old", "new")))
    assert.equal("new disk", M.name())
  end)

  it("keeps it when only the running version assigns it", function()
    local M = app:module("M", v1)
    local use = M.use
    use "disk"
    app:update("M", [[
      local back = require "back.net"
      local M = {}
      function M.name() return "new " .. back.name end
      return M
    ]])
    assert.equal("new disk", M.name())
    use "memory"
    assert.equal("new memory", M.name())
  end)

  it("keeps a function of the standard library that was chosen at run time", function()
    local rounding = [[
      local round = math.floor
      local M = {}
      function M.up() round = math.ceil end
      function M.f(x) return "old", round(x) end
      return M
    ]]
    local M = app:module("M", rounding)
    M.up()
    app:update("M", (rounding:gsub("old", "new")))
    assert.same({ "new", 3 }, { M.f(2.5) })
  end)

  it("keeps it when the reload is refused, too", function()
    local M = app:module("M", v1)
    M.use "disk"
    app:write("M", v1 .. "]]")
    app:refused("M", nil, M)
    assert.equal("old disk", M.name())
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new disk", M.name())
  end)
end)

describe("a table that another module fills and returns (R3.3)", function()
  local app, classes, list
  local source = [[
    local M = { kinds = { list = { _name = "list" } } }
    local set = { _name = "set", size = 0 }
    function M.set() return set end
    function M.make() return "old", M.kinds.list, set end
    return M
  ]]
  before_each(function()
    app = program.new()
    classes = app:module("classes", source)
    list = app:module("list", [[
      local list = require "classes".kinds.list
      function list.first(t) return t[1] end
      return list
    ]])
    app:module("set", [[
      local set = require "classes".set()
      set._name, set.size = "another name", 12
      function set.has(t, k) return t[k] end
      return set
    ]])
  end)
  after_each(function() app:unload() end)

  it("stays what it is when the module that made it is reloaded, in fields and cells", function()
    local set = app:load "set"
    for round = 1, 3 do
      app:update("classes", "\n" .. source:gsub("old", "new" .. round))
      assert.same({ "new" .. round, list, set }, { classes.make() })
      assert.equal(list, classes.kinds.list)
      assert.same({ "another name", 12 }, { set._name, set.size })
      assert.equal("x", list.first { "x" })
      for _, name in ipairs { "list", "set" } do
        local report = app:reloaded(name)
        assert.same({ 0, 0, 0 }, { report.functions.added, report.data.added, report.cells.fresh })
      end
    end
    assert.equal(set, classes.set())
  end)

  for _, own in ipairs { "{}", "{ _name = 1 }", "{ other = 'x' }", "{ _name = 'list', f = print }",
    "setmetatable({ _name = 'list' }, {})", "{ _name = 'list', {} }" } do
    it("gives way to a table of the file's own that has other fields, functions or a metatable: "
      .. own, function()
      app:update("classes", (source:gsub('{ _name = "list" }', own)))
      assert.not_equal(list, classes.kinds.list)
      assert.equal("list", list._name)
      assert.is_nil(list.f)
    end)
  end

  it("is not touched by a reload that fails", function()
    app:write("classes", (source:gsub("return M%s*$", "error 'late'")))
    app:refused("classes", nil, classes, list)
  end)
end)

describe("a table with functions that is another module's object, too (R3.3)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local source = [[
    local M = { types = { is = function() return "is 1" end, names = {} } }
    local hidden = { count = 0, size = function(self) return "size 1", self.count end }
    M.meta = setmetatable({}, { __call = function() return "call 1" end })
    M.plain = { names = {} }
    function M.hidden() return hidden end
    return M
  ]]

  local function load_all()
    local M = app:module("a", source)
    local T = app:module("b",
      "local T = require 'a'.types T.extra = function() return 'b' end return T")
    local H = app:module("c", "local H = require 'a'.hidden() H.own = function() end return H")
    local C, P = app:module("d", "return require 'a'.meta"),
      app:module("e", "return require 'a'.plain")
    T.names[1], H.count, C.used, P.names[1] = "kept", 7, true, "kept"
    return M, T, H, C, P
  end

  for _, scope in ipairs { "module", "vm" } do
    it("stays what it is, and gets the file's functions, in scope " .. scope, function()
      local M, T, H, C, P = load_all()
      for round = 1, 3 do
        local text = round == 1 and source or source:gsub(" 1\"", " " .. round .. "\"")
        app:update("a", text, { scope = scope })
        assert.same({ T, C, P, H }, { M.types, M.meta, M.plain, M.hidden() })
        assert.same({ "is " .. round, "call " .. round, "size " .. round, 7 },
          { T.is(), C(), H:size() })
        assert.same({ "kept", "b", true, "kept" }, { T.names[1], T.extra(), C.used, P.names[1] })
        for _, name in ipairs { "b", "c", "d", "e" } do app:reloaded(name, { scope = scope }) end
      end
    end)
  end

  it("stays what it is where the data follow the file", function()
    local M, T, H = load_all()
    app:reloaded("a", { data = "replace" })
    assert.equal(T, M.types)
    assert.equal(H, M.hidden())
  end)

  it("gets what the file adds, and keeps what the other module has put in the place \z
    of one function", function()
    local M, T = load_all()
    app:module("f", "local T = require 'a'.types function T.more() return 'f' end return T")
    local more = "more = function() return 'a' end, new = function() return 'new' end, names"
    app:update("a", (source:gsub("names", more)))
    assert.equal(T, M.types)
    assert.same({ "new", "a", "kept" }, { T.new(), T.more(), T.names[1] })
  end)

  it("is another one where most of its functions are the other module's", function()
    local other = app:module("other",
      "return { f = function() return 'other' end, g = function() end }")
    local M = app:module("a", [[
      local o = require "other"
      function o.h() return 1 end
      return { o = o, f = function() end }
    ]])
    app:update("a", [[
      local function f() return "own" end
      return { o = { f = f, g = f, h = f }, f = function() end }
    ]])
    assert.not_equal(other, M.o)
    assert.same({ "own", "other", 1 }, { M.o.f(), other.f(), other.h() })
  end)
end)

describe("a module that takes the place of what it wraps (R3.3, R4.7)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local wrappers = {
    ["a callable object"] =
      "return setmetatable({}, { __call = function(_, ...) return 'log 1', inner(...) end })",
    ["a function"] = "return function(...) return 'log 1', inner(...) end",
    ["a callable part"] = [[
      return { part = setmetatable({},
        { __call = function(_, ...) return 'log 1', inner(...) end }) }
    ]],
    ["a function in a field"] = "return { part = function(...) return 'log 1', inner(...) end }",
  }
  for what, text in pairs(wrappers) do
    for _, data in ipairs { "keep", "merge", "replace" } do
      it(("goes on to call the former value: %s, data = %q"):format(what, data), function()
        G.report = function(...) return "real", ... end
        local real = G.report
        local source = "local inner = report " .. text
        local log = app:module("log", source)
        G.report = type(log) == "table" and log.part or log
        for round = 1, 3 do
          app:update("log", (source:gsub("log 1", "log " .. round)), { data = data, scope = "vm" })
          assert.same({ "log " .. round, "real", "x" }, { G.report "x" })
        end
        G.report = real
      end)
    end
  end

  it("goes on to call a function that a global still holds", function()
    local log = app:module("log", [[
      local print = tostring
      return setmetatable({}, { __call = function(_, x) return "log " .. print(x) end })
    ]])
    local real = G.tostring
    G.real_tostring, G.tostring = real, log -- so it is one of the standard library's values
    local ok, message = gg.reload "log"
    G.tostring = real
    assert.is_true(ok, message)
    assert.equal("log 1", log(1))
  end)

  for _, data in ipairs { "keep", "replace" } do
    it("goes on to use the library that it stands for, in a local and in a \z
      field; data = " .. data, function()
      local source = [[
        local io = tools
        return setmetatable({ inner = tools, own = function() return io.open() end },
          { __index = tools })
      ]]
      G.tools = { open = function() return "open" end }
      local wrapper, tools = app:module("tools_wrapper", source), G.tools
      G.tools = wrapper
      app:reloaded("tools_wrapper", { data = data })
      assert.same({ "open", "open" }, { wrapper.own(), wrapper.open() })
      assert.equal(tools, wrapper.inner)
    end)
  end

  it("still takes another dependency from the file", function()
    local source = [[
      local inner = tostring
      return setmetatable({}, { __call = function(_, x) return inner(x) end })
    ]]
    local log = app:module("log", source)
    app:update("log", (source:gsub("tostring", "tonumber")))
    assert.equal(1, log "1")
  end)
end)

describe("R3.3 imports: what another module's factory made", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("gives way in a local where the file has an import now, and the program has not touched "
    .. "it", function()
    app:module("lib",
      "return { counter = function() local n = 0 return function() n = n + 1 return n end end }")
    local text = "local next_id = %s return { get = function() return next_id end }"
    local M = app:module("M", text:format "require('lib').counter()")
    app:update("M", text:format "math.random")
    assert.equal(math.random, M.get())
  end)
end)
