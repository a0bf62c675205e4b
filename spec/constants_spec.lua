-- R4.7: a local that nothing assigns is no state: it takes what the file says.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G
local cell, held = probe.cell, probe.held

local app
local function start() app = program.new() end
local function stop() app:unload() end

--- A module whose locals are those of `text`; `M.get()` returns the ones that are named, `tail`
--- follows.
local function source_of(text, names, tail)
  return ("local M = {}\n%s\nfunction M.get()\n  return %s\nend\n%s\nreturn M\n")
    :format(text, names, tail or "")
end

--- Loads a module with `before`, reloads it with `after`, and returns what `M.get` gives then.
local function turn(before, after, names, tail, options)
  local M = app:module("M", source_of(before, names, tail))
  app:update("M", source_of(after, names, tail), options)
  return M.get()
end

describe("R4.7 a local with a literal that nothing assigns", function()
  before_each(start)
  after_each(stop)

  it("takes the file's number", function()
    local M = app:module("M", source_of("local MAX = 60", "MAX"))
    local before, old = cell(M.get, "MAX"), M.get
    app:update("M", source_of("local MAX = 80", "MAX"))
    assert.equal(80, M.get())
    assert.equal(80, old())
    assert.equal(before, cell(M.get, "MAX"))
  end)

  for name, pair in pairs {
    ["a boolean"] = { "true", "false" },
    ["a false that becomes true"] = { "false", "true" },
    ["a string"] = { "'day'", "'night'" },
    ["a long string"] = { "[[" .. ("a"):rep(60) .. "]]", "[[" .. ("b"):rep(60) .. "]]" },
    ["an empty string"] = { "'x'", "''" },
    ["a float"] = { "0.25", "0.3" },
    ["a float that is whole"] = { "1", "1.0" },
    ["an integer in place of a float"] = { "2.0", "2" },
    ["a negative number"] = { "-5", "-7" },
    ["a negative float"] = { "-5.5", "-7.25" },
    ["a large integer"] = { "1", "0x7fffffffffffffff" },
    ["the smallest integer that an instruction holds"] = { "0", "-65535" },
    ["the largest integer that an instruction holds"] = { "0", "65536" },
    ["an integer that no instruction holds"] = { "0", "65537" },
    ["a large float"] = { "1.0", "1e300" },
    ["a product of literals"] = { "24 * 60", "24 * 60 * 60" },
    ["nil"] = { "60", "nil" },
    ["a value after nil"] = { "nil", "60" },
    ["a value of another kind"] = { "60", "'sixty'" },
  } do
    it("takes " .. name, function()
      local value = turn("local VALUE = " .. pair[1], "local VALUE = " .. pair[2], "VALUE")
      local expected = load("return " .. pair[2])()
      assert.equal(expected, value)
      assert.equal(math.type(expected), math.type(value))
    end)
  end

  it("takes nil where the file only declares it", function()
    assert.is_nil(turn("local VALUE = 60", "local VALUE", "VALUE"))
  end)

  it("takes each of several values that are declared together", function()
    assert.same({ 10, 2, "x" },
      { turn("local a, b, c = 1, 2, 3", "local a, b, c = 10, 2, 'x'", "a, b, c") })
  end)

  it("takes nil where there are fewer values than names", function()
    assert.same({ n = 3, 7 },
      table.pack(turn("local a, b, c = 1, 2, 3", "local a, b, c = 7", "a, b, c")))
  end)

  it("follows in a function that the chunk calls", function()
    local text =
      "local function make() local LIMIT = %d return function() return LIMIT end end\nM.f = make()"
    local M = app:module("M", source_of(text:format(1), "0"))
    app:update("M", source_of(text:format(2), "0"))
    assert.equal(2, M.f())
  end)

  it("follows in a function, though one of the chunk has its name", function()
    local text = [[
      local LIMIT = %d
      local function make() local LIMIT = %d return function() return LIMIT end end
      M.f = make()
      function M.g() return LIMIT end
    ]]
    local M = app:module("M", source_of(text:format(1, 2), "0"))
    app:update("M", source_of(text:format(10, 20), "0"))
    assert.same({ 20, 10 }, { M.f(), M.g() })
  end)

  it("takes what operators make of constants", function()
    assert.same({ 3, "2" }, { turn("local one = 1 local v, w = one + 1, one .. ''",
      "local one = 2 local v, w = one + 1, one .. ''", "v, w") })
  end)

  it("takes the value of a constant that it names", function()
    assert.same({ 80, 80 },
      { turn("local A = 60 local B = A", "local A = 80 local B = A", "A, B") })
  end)

  it("takes the value of a constant through any number of names", function()
    local list = { "local a0 = @" }
    for i = 1, 100 do list[#list + 1] = ("local a%d = a%d"):format(i, i - 1) end
    local text = table.concat(list, "\n")
    assert.equal(80, turn(text:gsub("@", "60"), text:gsub("@", "80"), "a100"))
  end)

  it("tells functions on one line with the same code apart by the names of their locals", function()
    local function text(a, b)
      return ("local M = {} do local a = %d function M.a() return a end end "
        .. "do local b = %d function M.b() return b end end return M"):format(a, b)
    end
    local M = app:module("M", text(1, 2))
    app:update("M", text(10, 20))
    assert.same({ 10, 20 }, { M.a(), M.b() })
  end)

  it("follows for functions on one line with the same code and the same name, \z
    where all locals say the same", function()
    local function text(a, b)
      return ("local M = {} do local a = %s function M.a() return a end end "
        .. "do local a = %s function M.b() return a end end return M"):format(a, b)
    end
    local M = app:module("M", text(1, 2))
    app:update("M", text(10, 10))
    assert.same({ 10, 10 }, { M.a(), M.b() })
    app:update("M", text(30, 40)) -- which is which cannot be told
    assert.same({ 10, 10 }, { M.a(), M.b() })
  end)

  it("follows many locals on one line, and in many blocks", function()
    for _, separator in ipairs { " ", "\n" } do
      local function text(value)
        local list = { "local M = {}" }
        for i = 1, 1500 do
          list[#list + 1] = ("do local c%d = %d function M.f%d() return c%d end end")
            :format(i, value + i, i, i)
        end
        return table.concat(list, separator) .. separator .. "return M"
      end
      local name = separator == " " and "line" or "blocks"
      local M = app:module(name, text(0))
      app:update(name, text(10000))
      for i = 1, 1500 do assert.equal(10000 + i, M["f" .. i]()) end
    end
  end)

  it("follows where jumps end before it, and where each way to it has one value", function()
    local function text(value)
      return ("if M then M.x = 1 elseif _G then M.x = 2 end local a = %d\n"
        .. "local b = M.y and %d or %d local c = %d"):format(value, value, value, value)
    end
    assert.same({ 2, 2, 2 }, { turn(text(1), text(2), "a, b, c") })
  end)

  it("follows where it has more constants before it than an instruction can number", function()
    local list = {}
    for i = 1, 140000 do list[i] = ("%d.5"):format(i) end
    local calls = {}
    for i = 1, #list, 200 do
      calls[#calls + 1] = ("fill(%s)"):format(table.concat(list, ",", i, math.min(i + 199, #list)))
    end
    local function text(value)
      return "local function fill() end\n" .. table.concat(calls, "\n")
        .. "\nlocal VALUE = " .. value
    end
    assert.equal("b", turn(text "'a'", text "'b'", "VALUE"))
  end)

  it("follows in a block, where locals share a register one after another", function()
    local text = [[
      do local a = A function M.a() return a end end
      do local b = B function M.b() b = b + 1 return b end end
      do local c = C function M.c() return c end end
    ]]
    local function fill(a, b, c)
      return source_of((text:gsub("= A", "= " .. a):gsub("= B", "= " .. b):gsub("= C", "= " .. c)),
        "0")
    end
    local M = app:module("M", fill(1, 2, 3))
    M.b()
    app:update("M", fill(10, 20, 30))
    assert.same({ 10, 4, 30 }, { M.a(), M.b(), M.c() })
  end)

  it("is told from another local of its name", function()
    local text = [[
      local n = ONE
      function M.one() return n end
      local n = TWO
      function M.two() n = n + 1 return n end
    ]]
    local function fill(one, two)
      return source_of((text:gsub("ONE", one):gsub("TWO", two)), "0")
    end
    local M = app:module("M", fill(1, 100))
    M.two()
    app:update("M", fill(5, 500))
    assert.same({ 5, 102 }, { M.one(), M.two() })
  end)

  it("is told from another local on its line", function()
    local text = "local M = {} do local n = %d function M.a() return n end end "
      .. "do local n = %d function M.b() n = n + 1 return n end end return M"
    local M = app:module("M", text:format(1, 100))
    M.b()
    app:update("M", text:format(2, 200))
    assert.same({ 2, 102 }, { M.a(), M.b() })
  end)

  it("stays where two functions of one line cannot be told apart, \z
    and one of them has no constant", function()
    local text = "local M = {} do local n = %d function M.a() return n end end "
      .. "do local n = os.time() function M.b() return n end end return M"
    local M = app:module("M", text:format(1))
    app:update("M", text:format(2))
    assert.equal(1, M.a())
  end)

  it("follows where only a function two levels down uses it", function()
    local text = [[
      local LIMIT = %d
      function M.make() return function() return function() return LIMIT end end end
      M.made = M.made or M.make()()
    ]]
    local M = app:module("M", source_of(text:format(1), "M.make()()()"))
    local old = M.make()()
    app:update("M", source_of(text:format(2), "M.make()()()"))
    assert.same({ 2, 2 }, { M.get(), old() })
  end)

  it("follows in the body of a loop", function()
    local text = "for i = 1, 2 do local STEP = %d M[i] = M[i] or 0 M['f' .. i] = function() \z
      return STEP end end"
    local M = app:module("M", source_of(text:format(1), "0"))
    app:update("M", source_of(text:format(2), "0"))
    assert.same({ 2, 2 }, { M.f1(), M.f2() })
  end)

  it("follows before, in and behind a loop and a branch that do not assign it", function()
    local text = [[
      local sum = 0
      local A = %d
      while sum < 3 do sum = sum + 1 end
      for i = 1, 2 do sum = sum + i end
      if sum > 2 then sum = 0 elseif sum < 1 then sum = 1 else sum = 2 end
      local B = %d
      repeat sum = sum + 1 until sum > 2
      for _ in pairs({}) do sum = 0 end
      local C = %d
      goto done
      ::done::
    ]]
    assert.same({ 10, 20, 30 }, { turn(text:format(1, 2, 3), text:format(10, 20, 30), "A, B, C") })
  end)

  it("follows at each of many reloads", function()
    local M = app:module("M", source_of("local MAX = 0", "MAX"))
    for i = 1, 20 do
      app:update("M", source_of("local MAX = " .. i, "MAX"))
      assert.equal(i, M.get())
    end
  end)

  it("follows in a module that gg.reload loaded", function()
    app:write("M", source_of("local MAX = 1", "MAX"))
    app:reloaded("M")
    app:update("M", source_of("local MAX = 2", "MAX"))
    assert.equal(2, app:load("M").get())
  end)

  it("follows in a module from package.preload", function()
    local function preload(value)
      local text = "return function() local MAX = %d return { get = function() return MAX end } end"
      package.preload.P = assert(load(text:format(value), "@bundle.lua"))()
    end
    preload(1)
    local P = app:load("P")
    preload(2)
    app:reloaded("P")
    assert.equal(2, P.get())
  end)

  it("follows in a binary chunk with debug information", function()
    local function chunk(value)
      return string.dump(assert(load(source_of("local MAX = " .. value, "MAX"), "@M.lua")))
    end
    local M = app:module("M", chunk(1))
    app:update("M", chunk(2))
    assert.equal(2, M.get())
  end)

  it("is undone when the hook raises", function()
    local M = app:module("M", source_of("local MAX = 60", "MAX"))
    app:write("M",
      source_of("local MAX = 80", "MAX", "function M.__hotfix() M.seen = M.get() error 'no' end"))
    local ok, message = app:reload("M")
    assert.is_false(ok)
    assert.matches("no", message)
    assert.equal(60, M.get())
  end)

  it("stays with constants = 'keep', and follows at the next reload without", function()
    local M = app:module("M", source_of("local MAX, log = 60, print", "MAX, log"))
    local after = source_of("local MAX = 80\nlocal function log() end", "MAX, log")
    app:update("M", after, { constants = "keep" })
    assert.same({ 60, print }, { M.get() })
    app:reloaded("M")
    assert.equal(80, (M.get()))
    assert.not_equal(print, select(2, M.get()))
  end)

  it("follows with data = 'replace', as all data does, whatever constants says", function()
    for _, constants in ipairs { "keep", "follow" } do
      assert.equal(80, turn("local MAX = 60", "local MAX = 80", "MAX", "",
        { data = "replace", constants = constants }))
      package.loaded.M = nil
    end
  end)

  it("overwrites what debug.setupvalue put there: it is no function of the program", function()
    local M = app:module("M", source_of("local MAX = 60", "MAX"))
    debug.setupvalue(M.get, 1, 61)
    assert.equal(61, M.get())
    app:reloaded("M")
    assert.equal(60, M.get())
  end)
end)

describe("R4.7 an import in a local that nothing assigns", function()
  before_each(start)
  after_each(stop)

  it("gives way to a local function", function()
    local M = app:module("M", source_of("local log = print", "log('x')"))
    app:update("M",
      source_of("local lines = 0\nlocal function log(s) lines = lines + 1 return s .. lines end",
      "log('x')"))
    assert.equal("x1", M.get())
    assert.equal("x2", M.get())
  end)

  it("gives way to a local function that uses what the running version has", function()
    local function text(log) return source_of("local count = 0\n" .. log, "log('x')",
      "function M.inc() count = count + 1 return count end") end
    local M = app:module("M", text "local log = tostring")
    M.inc()
    app:update("M", text "local function log(s) return s .. count end")
    M.inc()
    assert.equal("x2", M.get())
  end)

  it("gives way to a recursive local function", function()
    local M = app:module("M", source_of("local f = math.abs", "f(5)"))
    app:update("M", source_of("local function f(n) return n < 2 and 1 or n * f(n - 1) end", "f(5)"))
    assert.equal(120, M.get())
  end)

  it("takes the place of data, as a function does", function()
    local M = app:module("M", source_of("local log, sink = false, false", "log, sink"))
    app:update("M", source_of("local log, sink = print, function() return 'sunk' end", "log, sink"))
    local log, sink = M.get()
    assert.equal(print, log)
    assert.equal("sunk", sink())
  end)

  it("is swapped for another field of the module that is required", function()
    app:module("formulas", [[
      local base = 10
      return { one = function() return base + 1 end, two = function() return base + 2 end }
    ]])
    local function text(field)
      return source_of(('local calc = require("formulas").%s'):format(field), "calc()")
    end
    local M = app:module("M", text "one")
    assert.equal(11, M.get())
    app:update("M", text "two")
    assert.equal(12, M.get())
  end)

  it("is swapped where the required module is a local", function()
    app:module("formulas",
      "local b = 1 return { one = function() return b end, two = function() return b + 1 end }")
    local function text(field)
      return source_of(("local formulas = require 'formulas'\nlocal calc = formulas.%s")
        :format(field), "calc()")
    end
    local M = app:module("M", text "one")
    app:update("M", text "two")
    assert.equal(2, M.get())
  end)

  it("is swapped for a field of a global", function()
    local M = app:module("M", source_of("local f = math.floor", "f(-1.5)"))
    app:update("M", source_of("local f = math.ceil", "f(-1.5)"))
    assert.equal(-1, M.get())
  end)

  it("is swapped for a table of a required module", function()
    app:module("limits", "return { low = { max = 1 }, high = { max = 2 } }")
    local function text(field)
      return source_of(("local limits = require('limits').%s"):format(field), "limits.max")
    end
    local M = app:module("M", text "low")
    app:update("M", text "high")
    assert.equal(2, M.get())
    assert.same({ low = { max = 1 }, high = { max = 2 } }, app:load "limits")
  end)

  it("gives way to a literal", function()
    local M = app:module("M", source_of("local trace = print", "trace"))
    app:update("M", source_of("local trace = false", "trace"))
    assert.is_false(M.get())
  end)
end)

describe("R4.7 what is state stays:", function()
  before_each(start)
  after_each(stop)

  it("a counter", function()
    local function text(n)
      return source_of("local count = " .. n, "count", "function M.inc() count = count + 1 end")
    end
    local M = app:module("M", text(0))
    M.inc()
    app:update("M", text(100))
    assert.equal(1, M.get())
  end)

  it("a time of start", function()
    G.clock = 1
    local text = source_of("local started = os.time() + clock", "started")
    local M = app:module("M", text)
    local before = M.get()
    G.clock = 2000
    app:update("M", text)
    assert.equal(before, M.get())
  end)

  for name, pair in pairs {
    ["a call's result"] = { "local v = tonumber('1')", "local v = tonumber('2')" },
    ["an alternative"] = { "local v = v or 1", "local v = v or 2" },
    ["a choice"] = { "local v = pick and 1 or 2", "local v = pick and 3 or 4" },
    ["a comparison"] = { "local v = pick == nil", "local v = pick ~= nil" },
    ["a negation"] = { "local v = not pick", "local v = not not pick" },
    ["a sum with a call's result"] = { "local v = tonumber('1') + 1",
      "local v = tonumber('1') + 2" },
    ["a vararg"] = { "local v = (...)", "local v = select(2, ...)" },
    ["a second result"] = { "local _, v = pcall(error, 1)", "local _, v = pcall(error, 2)" },
    ["a length"] = { "local v = #'abc'", "local v = #'abcd'" },
    ["a scalar of another module"] = { "local v = math.pi", "local v = math.huge" },
    ["a constant of another module"] = { "local v = 1", "local v = math.maxinteger" },
    ["what a branch assigns"] = { "local v = 1 if not pick then v = 2 end",
      "local v = 3 if not pick then v = 4 end" },
    ["what a branch did not assign"] = { "local v = 1 if pick then v = 2 end",
      "local v = 3 if pick then v = 4 end" },
    ["what is declared first"] = { "local v do v = 1 end", "local v do v = 2 end" },
    ["what a loop assigns"] = { "local v = 0 for i = 1, 3 do v = i end",
      "local v = 0 for i = 1, 4 do v = i end" },
    ["what a loop counts"] = { "local v = 0 while v < 3 do v = v + 1 end",
      "local v = 0 while v < 4 do v = v + 1 end" },
    ["what several are assigned at once"] = { "local u, v = 1, 2 u, v = v, u",
      "local u, v = 3, 4 u, v = v, u" },
    ["what a call assigns"] = { "local v = 0 v = tonumber('1')", "local v = 0 v = tonumber('2')" },
    ["what calls assign at once"] = { "local u, v = 0, 0 u, v = pcall(error, 1)",
      "local u, v = 0, 0 u, v = pcall(error, 2)" },
    ["what nil overwrites"] = { "local v = 1", "local v = 2 v = nil" },
    ["what is assigned its own value"] = { "local v = 1", "local v = 2 v = v v = 2" },
    ["what goto goes around"] = { "local v = 1 ::top:: if v < 2 then v = v + 1 goto top end",
      "local v = 1 ::top:: if v < 3 then v = v + 1 goto top end" },
  } do
    it(name, function()
      local M = app:module("M", source_of(pair[1], "v"))
      local before = M.get()
      app:update("M", source_of(pair[2], "v"))
      local fresh = assert(load(source_of(pair[2], "v"), "=cold"))("M").get()
      assert.not_equal(before, fresh)
      assert.equal(before, M.get())
    end)
  end

  it("a table, whatever its file says", function()
    local M = app:module("M", source_of("local list = { 1, 2 }", "list"))
    local list = M.get()
    list[3] = 3
    app:update("M", source_of("local list = { 7 }", "list"))
    assert.equal(list, M.get())
    assert.same({ 1, 2, 3 }, list)
  end)

  it("a table of its own where the file has nothing, or an import", function()
    app:module("store", "return { open = {} }")
    for _, after in ipairs { "false", "nil", "require('store').open" } do
      local M = app:module("M", source_of("local cache = {}", "cache"))
      local cache = M.get()
      cache.x = 1
      app:update("M", source_of("local cache = " .. after, "cache"))
      assert.equal(cache, M.get())
      package.loaded.M = nil
    end
  end)

  it("a closure that a function of the module made", function()
    local factory =
      "local function make() local n = 0 return function() n = n + 1 return n end end\n"
    local M = app:module("M",
      source_of(factory .. "local next_id = make()", "next_id and next_id()"))
    M.get()
    app:update("M", source_of(factory .. "local next_id = false", "next_id and next_id()"))
    assert.equal(2, M.get())
  end)

  it("a back end that was chosen at run time", function()
    app:module("fast", "return { name = 'fast' }")
    app:module("slow", "return { name = 'slow' }")
    local text = source_of("local backend = require 'slow'", "backend.name",
      "function M.choose(name) backend = require(name) end")
    local M = app:module("M", text)
    M.choose "fast"
    app:update("M", text)
    assert.equal("fast", M.get())
  end)

  it("what a setter assigns that only an unreachable closure has", function()
    app:module("timer", "local M, list = {}, {} function M.add(f) list[#list + 1] = f end "
      .. "function M.run() for _, f in ipairs(list) do f() end end return M")
    local text = source_of("local mode = 'DAY'", "mode",
      "require('timer').add(function() mode = 'night' end)")
    local M = app:module("M", text)
    require("timer").run()
    app:update("M", (text:gsub("DAY", "dusk")))
    assert.equal("night", M.get())
  end)

  it("what only a coroutine's function assigns", function()
    local text = source_of("local mode = 'DAY'", "mode", [[
      local co = coroutine.wrap(function() coroutine.yield() mode = "night" end)
      co()
      _G.resume = _G.resume or co
    ]])
    local M = app:module("M", text)
    G.resume()
    app:update("M", (text:gsub("DAY", "dusk")))
    assert.equal("night", M.get())
  end)

  it("an import that a setter assigns which only an unreachable closure has", function()
    app:module("fast", "return { name = 'fast' }")
    app:module("slow", "return { name = 'slow' }")
    local text = source_of("local backend = require 'slow'", "backend.name",
      "_G.speed_up = _G.speed_up or { function() backend = require 'fast' end }")
    local M = app:module("M", text)
    G.speed_up[1]()
    app:update("M", text)
    assert.equal("fast", M.get())
  end)

  describe("a setter that the new version lacks", function()
    local function check(setter, set)
      local M = app:module("M", source_of("local level = 1", "level", setter))
      set(M)
      assert.equal(57, M.get())
      app:update("M", source_of("local level = 1", "level"))
      assert.equal(57, M.get())
      app:update("M", source_of("local level = 2", "level"))
      app:update("M", source_of("local level = 3", "level"))
      assert.equal(57, M.get())
    end

    it("in the module", function()
      check("function M.set(n) level = n end", function(M) M.set(57) end)
    end)

    it("in the module, changed to one that assigns nothing", function()
      local M = app:module("M",
        source_of("local level = 1", "level", "function M.set(n) level = n end"))
      M.set(57)
      app:update("M",
        source_of("local level = 1", "level", "function M.set(n) return n, level end"))
      app:update("M",
        source_of("local level = 2", "level", "function M.set(n) return n, level end"))
      assert.equal(57, M.get())
    end)

    it("in a table behind one of its locals", function()
      check("local h = {} function M.call(k, n) h[k](n) end h.set = function(n) level = n end",
        function(M) M.call("set", 57) end)
    end)

    it("in a local table of data that the new version has, too", function()
      local M = app:module("M", source_of("local level, h = 1, {}", "level", [[
        h.set = function(n) level = n end
        function M.call(n) return h.set(n) end
      ]]))
      M.call(57)
      app:update("M",
        source_of("local level, h = 1, {}", "level", "function M.call() return h end"))
      assert.equal(57, M.get())
    end)

    it("in a function that made the setter", function()
      local set
      check("function M.make() return function(n) level = n end end",
        function(M) set = M.make() set(57) end)
    end)

    it("in another module's local", function()
      app:module("bus", "local M, on = {}, {} function M.on(f) on[#on + 1] = f end "
        .. "function M.hit(n) on[1](n) end return M")
      check("require('bus').on(function(n) level = n end)", function() require("bus").hit(57) end)
    end)

    it("in the registry", function()
      debug.getregistry().spec_of_constants = { {} }
      check("debug.getregistry().spec_of_constants[1].f = function(n) level = n end",
        function() debug.getregistry().spec_of_constants[1].f(57) end)
      debug.getregistry().spec_of_constants = nil
    end)

    it("in a version between, wherever its closure went", function()
      local kept
      G.keep_it = function(f)
        kept = kept or coroutine.wrap(function() while true do f(coroutine.yield()) end end)
        kept()
      end
      local M = app:module("M", source_of("local level = 1", "level"))
      app:update("M", source_of("local level = 1", "level", "keep_it(function(n) level = n end)"))
      -- What the reload handed away works on its own cell: nobody can join a function that is not
      -- found.
      app:update("M", source_of("local level = 2", "level"))
      assert.equal(1, M.get())
    end)
  end)

  it("a cell that two different constants of the file would share", function()
    local M = app:module("M", [[
      local M, n = {}, 1
      function M.a() return n end
      function M.b() return n end
      return M
    ]])
    app:update("M", [[
      local M = {}
      do local n = 5 function M.a() return n end end
      do local n = 6 function M.b() return n end end
      return M
    ]])
    assert.same({ 1, 1 }, { M.a(), M.b() })
  end)

  it("what stripped code has", function()
    local M = app:module("M", probe.strip(source_of("local MAX = 60", "MAX"), "M.lua"))
    app:update("M", probe.strip(source_of("local MAX = 80", "MAX"), "M.lua"))
    assert.equal(60, M.get())
  end)
end)

describe("R4.7 the report", function()
  before_each(start)
  after_each(stop)

  local before = source_of("local MAX, log, count = 60, print, 0", "MAX, log, count",
    "function M.inc() count = count + 1 end")
  local after = source_of("local MAX, count = 80, 5\nlocal function log() end", "MAX, log, count",
    "function M.inc() count = count + 1 end")

  it("names the constants that changed, in a dry run, too", function()
    app:module("M", before)
    app:write("M", after)
    local guard = program.fingerprint()
    local report = app:reloaded("M", { dry_run = true })
    guard:assert_unchanged()
    assert.same({ "M.get@MAX", "M.get@log" }, report.paths.data.replaced)
    assert.same({ "M.get@count" }, report.paths.data.kept)
    assert.equal(2, report.data.replaced)
    assert.matches(", 2 values replaced, ", tostring(report))
    assert.matches("M%.get@MAX", tostring(report))
    assert.same(report.paths, app:reloaded("M", { report = "full" }).paths)
    assert.same({}, app:reloaded("M", { report = "full" }).paths.data.replaced)
  end)

  it("has no conflict and no warning for a constant of another kind", function()
    app:module("M", before)
    app:write("M", after)
    local report = app:reloaded("M")
    assert.same({}, report.conflicts)
    assert.same({}, report.warnings)
  end)

  it("has a conflict for a function in the place of what may be state", function()
    local M = app:module("M", source_of("local log = {}", "log"))
    M.get().x = 1
    app:write("M", source_of("local function log() end", "log"))
    local _, report = app:refused("M", nil, M)
    assert.equal("M.get@log", report.conflicts[1].path)
  end)

  it("lists nothing where constants are kept", function()
    app:module("M", before)
    app:write("M", after)
    local report = app:reloaded("M", { report = "full", constants = "keep" })
    assert.same({}, report.paths.data.replaced)
    assert.equal(0, report.data.replaced)
  end)

  it("leaves the program as it was where another slot is in conflict", function()
    local M = app:module("M", source_of("local MAX = 60", "MAX", "M.x = 1"))
    app:write("M", source_of("local MAX = 80", "MAX", "function M.x() end"))
    local _, report = app:refused("M", { report = "full" })
    assert.same({ "M.get@MAX" }, report.paths.data.replaced)
    assert.equal(60, M.get())
  end)
end)

describe("R4.7 a wrapper", function()
  before_each(start)
  after_each(stop)

  it("keeps what it wrapped, also where somebody has wrapped it (R3.5)", function()
    local text = [[
      local before = shout
      function shout(s) return "old " .. before(s) end
      return { before = function() return before end }
    ]]
    local first = function(s) return s end
    G.shout = first
    local M = app:module("M", text)
    local wrapper = G.shout
    G.shout = function(s) return wrapper(s) .. "!" end
    app:update("M", (text:gsub("old", "new")))
    assert.equal(first, M.before())
    assert.equal("new x!", G.shout "x")
  end)
end)

describe("options.constants", function()
  before_each(start)
  after_each(stop)

  it("is 'follow' or 'keep', and nothing else", function()
    app:module("M", source_of("local MAX = 60", "MAX"))
    for _, wrong in ipairs { "replace", true, 1, {} } do
      assert.has_error(function() app:reload("M", { constants = wrong }) end,
        ("bad argument #2 to 'reload' (option 'constants': 'follow', 'keep' expected, got '%s')")
          :format(tostring(wrong)))
    end
  end)
end)

describe("R4.7 the running function in the incoming text", function()
  before_each(start)
  after_each(stop)

  it("has its value in the cell that old closures have", function()
    local make = "function M.make() return function() return MAX end end"
    local M = app:module("M", source_of("local MAX = 60", "MAX", make))
    local old = M.make()
    app:update("M", source_of("local MAX = 80", "MAX", make))
    assert.equal(80, old())
    assert.equal(80, held(M.get, "MAX"))
  end)
end)

describe("a constant (R4.7) of which not all was searched", function()
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)
  local V = "local limit = %d return { get = function() return limit end, deep = nil }"

  local function warnings_with(objects, is_tracked)
    app.hotreload.track(is_tracked)
    local M = app:module("m", V:format(1))
    M.deep = {}
    for i = 1, objects do
      local hundred = M.deep[i // 100] or {}
      M.deep[i // 100], hundred[i % 100] = hundred, {}
    end
    local report = app:update("m", V:format(2), { data = "keep" })
    assert.equal(2, M.get())
    app.hotreload.track(true)
    return report.warnings
  end

  it("is a warning without a record", function()
    local warnings = warnings_with(25000, false)
    assert.equal(1, #warnings)
    assert.matches("m.get@limit: number 1 gives way to number 2 as a constant; only the nearest "
      .. "20000", warnings[1], 1, true)
  end)

  it("is none with a record", function() assert.same({}, warnings_with(25000, true)) end)
end)
