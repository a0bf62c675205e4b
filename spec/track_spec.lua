-- R8: `hotreload.track`: modules that `require` loads have a record of what their file said.

local program = require "spec.support.program"
local hotreload = require "hotreload"

local V1 = "local n = 1 return { rate = 1, gone = 1, rows = { a = { 1 }, b = { 2 } }, \z
  get = function() return n end }"
local V2 =
  "local n = 2 return { rate = 2, gone = 2, rows = { a = { 5 } }, get = function() return n end }"

describe("hotreload.track (R8)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function()
    app:unload()
    package.loaded.track_probe = nil
  end)

  local function assert_has_record(name)
    local M = package.loaded[name]
    M.gone = nil
    app:update(name, V2, { data = "merge" })
    assert.same({ 2, { a = { 5 } }, 2 }, { M.rate, M.rows, M.get() })
    assert.is_nil(M.gone)
  end

  local function assert_has_none(name)
    local M = package.loaded[name]
    M.gone = nil
    app:update(name, V2, { data = "merge" })
    assert.same({ 1, 2 }, { M.rate, M.gone })
  end

  it("gives a record to every module that is loaded after `require 'hotreload'`", function()
    app:module("m", V1)
    assert_has_record "m"
  end)

  it("ends with false, and begins again with true or nothing", function()
    local first = package.searchers[1]
    assert.is_true(hotreload.track(false))
    assert.not_equal(first, package.searchers[1])
    app:module("early", V1)
    assert.is_true(hotreload.track())
    assert.equal(first, package.searchers[1])
    app:module("late", V1)
    assert_has_none "early"
    assert_has_record "late"
    hotreload.track(false)
    hotreload.track(true)
    app:module("later", V1)
    assert_has_record "later"
  end)

  it("says at the first reload of what has no record how much data differs from the "
    .. "file", function()
    hotreload.track(false)
    local M = app:module("m", V1)
    M.rate = 5
    local report = app:update("m", V2)
    assert.same({ "m: no record of its first load: 3 places differ from the file; look at "
      .. "hotreload.plan, and call hotreload.track() before the first load" }, report.warnings)
    assert.same({ 5, 2 }, { M.rate, M.get() }) -- a constant follows
    assert.same({}, app:update("m", V2).warnings)
    app:module("same", V1)
    assert.same({}, app:update("same", V1).warnings)
  end)

  it("takes a pattern, or a list of patterns; the last call counts", function()
    assert.is_true(hotreload.track "^conf%.")
    app:module("conf.a", V1)
    app:module("other", V1)
    assert.is_true(hotreload.track { "^x", "ther2$" })
    app:module("other2", V1)
    app:module("conf.b", V1)
    assert.is_true(hotreload.track {})
    app:module("x", V1)
    assert_has_record "conf.a"
    assert_has_none "other"
    assert_has_record "other2"
    assert_has_none "conf.b"
    assert_has_none "x"
  end)

  it("raises for what is no pattern, and changes nothing then", function()
    for value, message in pairs {
      [7] = "bad argument #1 to 'track' (string or table expected, got number)",
      ["["] = "bad argument #1 to 'track' ('[' is no pattern: missing ']')",
    } do
      local before = program.fingerprint()
      local ok, err = pcall(hotreload.track, value)
      before:assert_unchanged()
      assert.is_false(ok)
      assert.equal(message, (err:gsub("^[^:]*:%d+: ", "")))
    end
    assert.has_error(function() hotreload.track { "a", 7 } end)
    assert.has_error(function() hotreload.track { key = "a" } end)
  end)

  it("says so where package.searchers is no table", function()
    package.searchers = nil
    local ok, message = hotreload.track()
    assert.same({ false, "'package.searchers' must be a table; put it back" }, { ok, message })
  end)

  it("stands in the first searcher's place, once, and leaves the others where they are", function()
    hotreload.track(false)
    local before = { table.unpack(package.searchers) }
    hotreload.track()
    hotreload.track()
    assert.equal(#before, #package.searchers)
    for i = 2, #before do assert.equal(before[i], package.searchers[i]) end
    assert.not_equal(before[1], package.searchers[1])
    package.searchers = { table.unpack(before) } -- another list, without it
    hotreload.track()
    app:module("m", V1)
    assert_has_record "m"
  end)

  describe("leaves `require` as it is:", function()
    --- What a script prints with and without tracking: must be the same.
    local function same(files, script)
      for name, text in pairs(files) do app:write(name, text) end
      local head = "local hotreload = require 'hotreload' hotreload.track(%s) "
      local plain, code = app:subprocess(head:format "false" .. script)
      assert.equal(0, code)
      local tracked, other, err = app:subprocess(head:format "true" .. script)
      assert.equal("", err)
      assert.equal(code, other)
      assert.equal((plain:gsub("script%-%d+", "")), (tracked:gsub("script%-%d+", "")))
      return plain
    end

    it("value, loader data, arguments of the chunk, what is in package.loaded", function()
      local out = same({
        t = "ARGS = { ... } return { 1 }", s = "return 'text'", f = "return false",
        n = "return nil", self = "package.loaded[...] = 'own'", two = "return 1, 2",
      }, [[
        for _, name in ipairs { "t", "s", "f", "n", "self", "two" } do
          local function show(...)
            local parts = {}
            for i = 1, select("#", ...) do
              local value = select(i, ...)
              parts[i] = type(value) == "table" and "table" or tostring(value)
            end
            print(name, select("#", ...), table.concat(parts, " "), type(package.loaded[name]))
          end
          show(require(name))
          show(require(name))
        end
        print(#ARGS, ARGS[1], ARGS[2])
      ]])
      assert.matches("^t\t2\ttable [^\n]*/t.lua\ttable\n", out)
    end)

    it("preloaded modules and custom searchers, wherever they stand and \z
      whenever they come", function()
      same({}, [[
        package.preload.a = function(...) return { "a", ... } end
        table.insert(package.searchers, 2, function(name)
          if name == "b" then return function(...) return { "b", ... } end, "data of b" end
          return "\n\tno b here: " .. name
        end)
        package.searchers[#package.searchers + 1] = function(name)
          return name == "c" and function(...) return { "c", ... } end or nil, "data of c"
        end
        for _, name in ipairs { "a", "b", "c" } do
          local value, data = require(name)
          print(name, data, table.unpack(value))
        end
        print(pcall(require, "nowhere"))
      ]])
    end)

    it("C modules", function()
      if not pcall(require, "lfs") then return pending "lfs is not installed" end
      hotreload.track()
      local loaded = package.loaded.lfs
      package.loaded.lfs = nil
      assert.equal("function", type(require "lfs".attributes))
      package.loaded.lfs = loaded
      assert.matches("C module", (app:refused "lfs"))
    end)

    it("errors, whatever they are, and a second try", function()
      local out = same({
        raises = "error { 'a table' }", text = "local x = nil\nreturn x.y", broken = "return +",
        outer = "return require 'text'", level = "error('of the caller', 2)",
        again = "TRIES = (TRIES or 0) + 1 if TRIES < 2 then error 'first' end return TRIES",
      }, [[
        for _, name in ipairs { "raises", "text", "broken", "outer", "level", "nowhere",
          "again", "again" } do
          local ok, err = pcall(require, name)
          print(name, ok, type(err) == "table" and err[1] or err, package.loaded[name])
        end
      ]])
      assert.matches("text.lua:2: attempt to index a nil value", out, 1, true)
    end)

    it("tracebacks, down to the line in the module", function()
      app:write("deep",
        "local function inner()\n  error 'here'\nend\nlocal function outer() inner() end\nouter()")
      local out = app:subprocess [[
        require "hotreload".track()
        print(select(2, xpcall(require, debug.traceback, "deep")))
      ]]
      assert.matches("deep.lua:2: in upvalue 'inner'", out, 1, true)
      assert.matches("deep.lua:4: in local 'outer'", out, 1, true)
      assert.matches("deep.lua:5: in main chunk", out, 1, true)
      assert.matches("in function 'require'", out, 1, true)
    end)
  end)

  it("works where a module requires others, tracked or not: what is theirs is theirs", function()
    hotreload.track "^m$"
    app:write("theirs", "return { rate = 1, rows = { a = 1 } }")
    local text = [[
      local theirs = require 'theirs'
      return { rate = %d, theirs = theirs, rows = theirs.rows, own = { %s } }
    ]]
    local M = app:module("m", text:format(1, ""))
    app:update("m", text:format(2, 1), { data = "merge" })
    assert.same({ 2, { 1 }, { a = 1 } }, { M.rate, M.own, M.rows })
    hotreload.track()
    app:write("inner", V1)
    app:write("outer", (V1:gsub("return {", "return { inner = require 'inner',", 1)))
    require "outer"
    assert_has_record "inner"
    app:write("outer", V2)
    assert_has_record "outer"
  end)

  it("covers what a module sets among the globals", function()
    hotreload.track()
    app:module("m",
      "RATE, REMOVED, BOX = 1, 1, { low = 1, high = 1 } function box() return BOX end")
    local G = _G
    rawset(G, "REMOVED", nil)
    G.BOX.high = 9
    app:update("m",
      "RATE, REMOVED, BOX = 2, 2, { low = 2, high = 2 } function box() return BOX, 2 end",
      { data = "merge" })
    assert.same({ 2, { low = 2, high = 9 } }, { rawget(G, "RATE"), (G.box()) })
    assert.is_nil(rawget(G, "REMOVED"))
  end)

  it("covers cells and classes", function()
    hotreload.track()
    app:write("class",
      "return function(name) local c = { name = name } c.__index = c \z
        return setmetatable(c, {}) end")
    local text = [[
      local count, Unit = %d, require "class" "Unit"
      Unit.speed, Unit.power = %d, %d
      function Unit.count(n) count = n or count return count end
      return Unit
    ]]
    local Unit = app:module("unit", text:format(1, 1, 1))
    Unit.power = 7
    app:update("unit", text:format(2, 2, 2), { data = "merge" })
    assert.same({ 2, 7, 2 }, { Unit.speed, Unit.power, Unit.count() })
  end)

  it("knows from then on which locals are state (R4.7)", function()
    hotreload.track()
    local M = app:module("m",
      "local n = 1 return { set = function(x) n = x end, get = function() return n end }")
    M.set(1)
    app:update("m", "local n = 2 return { get = function() return n end }")
    assert.equal(1, M.get())
  end)

  it("knows that also of a function that is gone by then", function()
    local M = app:module("m", "local n = 1 local function set(x) n = x end set(1) "
      .. "return { get = function() return n end }")
    app:update("m", "local n = 2 return { get = function() return n end }")
    assert.equal(1, M.get())
  end)

  --- A table of rows and a list of some, of which each kind holds something else.
  local function rows_of(version)
    local kinds = {
      "{ n = %d, name = 'of %d' }", "{ n = %d, within = { n = %d, more = { %d } } }",
      "{ n = %d, within = { n = %d }, run = function() return %d end }",
      "setmetatable({ n = %d, within = { n = %d } }, meta)",
      "{ within = { n = %d, run = function() return %d end } }", "{ [meta] = %d, n = %d }",
    }
    local parts = { "local meta = {} local shared = { n = " .. version .. " } return { rows = {" }
    for i = 1, 90 do
      local row = kinds[i % #kinds + 1]:gsub("%%d", tostring(version))
      parts[#parts + 1] = ("row%d = %s,"):format(i, row)
    end
    parts[#parts + 1] = "one = shared, other = shared }, list = {"
    for _, row in ipairs(kinds) do
      parts[#parts + 1] = row:gsub("%%d", tostring(version)) .. ","
    end
    parts[#parts + 1] = "} }"
    return table.concat(parts, "\n")
  end

  --- All values below a table, by their paths; of functions what they return.
  local function values_in(of, path, found)
    for key, value in pairs(of) do
      local at = path .. "." .. (type(key) == "table" and "meta" or tostring(key))
      if type(value) == "table" then
        values_in(value, at, found)
      else
        found[at] = type(value) == "function" and value() or value
      end
    end
    return found
  end

  it("says the same of rows as the record of a reload, whatever they hold", function()
    local function outcome(name, between)
      local M = app:module(name, rows_of(1))
      if between then app:update(name, rows_of(1), { data = "merge" }) end
      local before = M.rows.row3
      for i = 1, 90, 7 do
        local row = M.rows["row" .. i]
        row.n, row.added = 9, 9
        if row.within then row.within.n = nil end
      end
      M.rows.row10 = nil
      local report = app:update(name, rows_of(2), { data = "merge" })
      assert.equal(before, M.rows.row3)
      for i, warning in ipairs(report.warnings) do
        report.warnings[i] = warning:gsub("^[^:]*: ", "")
      end
      return { values_in(M, "", {}), report.data, report.warnings }
    end
    local first = outcome("first")
    assert.same(outcome("later", true), first)
    assert.same({ 2, "of 2", 9 },
      { first[1][".rows.row6.n"], first[1][".rows.row6.name"], first[1][".rows.row8.n"] })
  end)

  it("takes a new record where the program loads a module anew", function()
    hotreload.track()
    app:module("m", V1)
    app:update("m", V1)
    package.loaded.m = nil
    local M = require "m"
    assert.equal(1, app:reloaded("m", { dry_run = true }).generation - 1)
    assert_has_record "m"
    assert.equal(M, package.loaded.m)
  end)

  it("lets a reload load what is not loaded yet, with its record", function()
    hotreload.track()
    app:update("m", V1)
    assert_has_record "m"
    app:update("n", V1)
    app:write("dependency", V1)
    app:update("n", (V1:gsub("return {", "return { dependency = require 'dependency',", 1)))
    assert_has_record "dependency"
  end)

  it("forgets a dependency that a failed reload had loaded", function()
    hotreload.track()
    app:module("m", V1)
    app:write("dependency", V1)
    app:write("m", "require 'dependency' error 'no'")
    app:refused "m"
    assert.is_nil(package.loaded.dependency)
    app:write("m", V1)
    app:module("dependency", V1)
    assert_has_record "dependency"
  end)

  it("notes nothing of what others create, where a host's own `require` \z
    yields in a load", function()
    app:write("slow", "local M = { rate = 1 } coroutine.yield() M.more = { 1 } return M")
    app:write("quick", V1)
    local out = app:subprocess [[
      local hotreload = require "hotreload"
      hotreload.track()
      local function host_require(name)
        if package.loaded[name] == nil then
          local loader, data = package.searchers[1](name)
          package.loaded[name] = loader(name, data)
        end
        return package.loaded[name]
      end
      local first, dropped = coroutine.create(host_require), coroutine.create(host_require)
      coroutine.resume(first, "slow")
      coroutine.resume(dropped, "slow")
      dropped = nil
      require "quick"
      for _ = 1, 3 do
        for i = 1, 20000 do local _ = { { i } } end
        collectgarbage()
      end
      print(coroutine.resume(first))
      collectgarbage()
      local before = collectgarbage "count"
      local kept = {}
      for i = 1, 20000 do kept[i] = { i } end
      kept = nil
      collectgarbage()
      print(collectgarbage "count" - before < 64)
      print(gg.reload("quick", { source = "return { rate = 5 }", data = "merge" }) == true,
        require "quick".rate)
      print(gg.reload("slow",
        { source = "return { rate = 5, more = { 1 } }", data = "merge" }) == true)
    ]]
    assert.matches("^true\ttable: [^\n]*\ntrue\ntrue\t5\ntrue\n$", out)
  end)

  it("keeps nothing alive", function()
    hotreload.track()
    local weak = setmetatable({ app:module("m", V1) }, { __mode = "v" })
    weak[2] = weak[1].rows
    package.loaded.m = nil
    collectgarbage()
    collectgarbage()
    assert.same({}, weak)
  end)
end)
