--- R6: the file has another kind of value in a place. Where the program has not touched that, the
-- file's takes the place; where it has, nothing is reloaded before somebody has decided.

local program = require "spec.support.program"

local WRITTEN = {
  number = "7", string = "'text'", table = "{ 'row' }", boolean = "true",
  ["function"] = "function() return 'called' end",
}
local OTHERS = { number = 8, string = "other", table = { "another" },
  ["function"] = function() return "mine" end }
local SCOPES = { "module", "vm" }

local TEXTS = {}
TEXTS.variable = [[
  local value = %s
  local M = {}
  function M.get() return value end
  function M.set(v) value = v end
  return M
]]
TEXTS.field = [[
  local M = { value = %s }
  function M.get() return M.value end
  function M.set(v) M.value = v end
  return M
]]

TEXTS.row = [[
  local M = { rows = { { name = "row", data = { value = %s } } } }
  function M.get() return M.rows[1].data.value end
  function M.set(v) M.rows[1].data.value = v end
  return M
]]
-- So many keys that what stands there goes by its place.
TEXTS.wide = [[
  local M = { wide = { value = %s } }
  for i = 1, 100 do M.wide["key" .. i] = i end
  function M.get() return M.wide.value end
  function M.set(v) M.wide.value = v end
  return M
]]
-- Numbers that are names, as those of a map are.
TEXTS.map = [[
  local M = { map = { "first", [5] = %s, [10] = "tenth" } }
  function M.get() return M.map[5] end
  function M.set(v) M.map[5] = v end
  return M
]]
local PATHS = { variable = "m.get@value", field = "m.value", row = "m.rows[1].data.value",
  wide = "m.wide.value", map = "m.map[5]" }

describe("a place whose kind the file changes (R6)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for where, text in pairs(TEXTS) do
    for _, scope in ipairs(SCOPES) do
      for before, first in pairs(WRITTEN) do
        for after, second in pairs(WRITTEN) do
          local has_function = before == "function" or after == "function"
          if before ~= after and (where == "variable" or not has_function) then
            local title = "takes the file's: %s, %s to %s, scope %s"
            it(title:format(where, before, after, scope), function()
              require "hotreload".track()
              local M = app:module("m", text:format(first))
              for _ = 1, 2 do
                local report = app:update("m", text:format(second), { scope = scope })
                assert.same({}, report.conflicts)
                assert.equal(after, type(M.get()))
              end
              app:update("m", text:format(first), { scope = scope })
              assert.equal(before, type(M.get()))
            end)
          end
          if before ~= after and OTHERS[before] and (where == "variable" or not has_function) then
            local title = "is in conflict once touched: %s, %s to %s, scope %s"
            it(title:format(where, before, after, scope), function()
              require "hotreload".track()
              local M = app:module("m", text:format(first))
              if before == "table" then table.insert(M.get(), "more") else M.set(OTHERS[before]) end
              local running = M.get()
              app:write("m", text:format(second))
              local message, report = app:refused("m", { scope = scope }, M)
              assert.equal(1, #report.conflicts)
              assert.matches(PATHS[where], message, 1, true)
              app:reloaded("m", { scope = scope, on_conflict = "keep" })
              assert.equal(running, M.get())
              app:write("m", text:format(first) .. " ")
              app:reloaded("m", { scope = scope })
              assert.equal(running, M.get())
            end)
          end
        end
      end
    end
  end

  local HEADS = { sets = "local M = {} Shop = M ", keeps = "Shop = Shop or {} local M = Shop " }
  for how, head in pairs(HEADS) do
    it("stays where only the program changed it, in a file of data that " .. how .. " a global",
      function()
        local text = head .. "M.rows = { list = {} }"
        app:module("shop", text)
        rawget(_G, "Shop").rows.list = 0
        app:update("shop", text)
        assert.equal(0, rawget(_G, "Shop").rows.list)
        rawset(_G, "Shop", nil)
      end)
  end

  it("goes by the file alone for what tables look up with, and stays what the program has "
    .. "chosen", function()
    require "hotreload".track()
    local text = [[
      local Base = { hi = function() return "hi" end }
      local Parent = { bye = function() return "bye" end }
      return { C = setmetatable({}, { __index = %s }), Base = Base, Parent = Parent }
    ]]
    local search = "function(_, k) return Base[k] or Parent[k] end"
    local M = app:module("m", text:format "Base")
    for _ = 1, 2 do
      app:update("m", text:format(search))
      assert.same({ "hi", "bye" }, { M.C.hi(), M.C.bye() })
      app:update("m", text:format "Base")
      assert.same({ "hi" }, { M.C.hi(), M.C.bye })
    end
    getmetatable(M.C).__index = function() return "chosen" end
    app:update("m", text:format "Base" .. " ")
    assert.equal("chosen", M.C.hi)
  end)

  it("takes what the same text says now, unless the program has touched the place", function()
    require "hotreload".track()
    app:module("other", "return { value = 'old' }")
    local text = TEXTS.field:format "require('other').value"
    local kept, M = app:module("kept", text), app:module("m", text)
    kept.set "mine"
    app:update("other", "return { value = 7 }")
    for _, name in ipairs { "m", "kept" } do
      assert.same({}, app:reloaded(name).conflicts)
    end
    assert.same({ 7, "mine" }, { M.get(), kept.get() })
  end)

  it("is none where one side is nil or false", function()
    for _, nothing in ipairs { "nil", "false" } do
      local M = app:module("m", TEXTS.variable:format(nothing))
      M.set { "connection" }
      assert.same({}, app:update("m", TEXTS.variable:format(nothing) .. " ").conflicts)
      assert.same({ "connection" }, M.get())
      package.loaded.m = nil
      M = app:module("m", TEXTS.variable:format "{}")
      M.set(nil)
      assert.same({}, app:update("m", TEXTS.variable:format "{}" .. " ").conflicts)
      assert.is_nil(M.get())
      package.loaded.m = nil
    end
  end)

  it("is none with data = 'replace', among data", function()
    local M = app:module("m", TEXTS.variable:format "1")
    M.set(2)
    app:update("m", TEXTS.variable:format "{ 'rows' }", { data = "replace" })
    assert.same({ "rows" }, M.get())
  end)

  -- What stands in a place at first, or later, and how the code uses it.
  local MODULES = "return { f = function() return 'lib.f' end, t = { x = 'lib.t' }, s = 'lib.s' }"
  local EXPRESSIONS = {
    { "number", "local X = 1", "'number' .. X", "number1" },
    { "string", "local X = 's'", "'string' .. X", "strings" },
    { "nothing", "local X", "'nothing'", "nothing" },
    { "function", "local function X() local s = 'fn' return s end", "X()", "fn" },
    { "function with a variable", "local n = 0 local function X() n = n + 1 return 'counts' end",
      "X()", "counts" },
    { "table", "local X = { x = 'tab' }", "X.x", "tab" },
    { "table with a function", "local X = {} function X.f() local s = 'fn' return 'of' .. s end",
      "X.f()", "offn" },
    { "callable table",
      "local X = setmetatable({}, { __call = function() local s = 'fn' return 'meta' .. s end })",
      "X()", "metafn" },
    { "object", "local C = {} C.__index = C function C.hi(self) return 'obj' .. self.v end "
      .. "local X = setmetatable({ v = 1 }, C)", "X:hi()", "obj1" },
    { "computed string", "local X = ('x'):rep(3)", "'computed' .. X", "computedxxx" },
    { "closure",
      "local function make(t) return function() return 'made' .. t end end local X = make('a')",
      "X()", "madea" },
    { "generator",
      "local X = coroutine.wrap(function() while true do coroutine.yield 'next' end end)", "X()",
      "next" },
    { "function of a module", "local X = require('lib').f", "X()", "lib.f" },
    { "table of a module", "local X = require('lib').t", "X.x", "lib.t" },
    { "module", "local X = require 'lib'", "X.f()", "lib.f" },
    { "function of Lua's", "local X = tostring", "X('Lua')", "Lua" },
    { "library of Lua's", "local X = math", "'math' .. X.floor(1.5)", "math1" },
  }
  local NAMES = { variable = "X", field = "M.X", global = "KIND_X" }

  local function text_of(expression, where, is_set)
    local name, code, use = NAMES[where], expression[2], expression[3]
    if where ~= "variable" then
      code = code:gsub("local function X%(", "function " .. name .. "("):gsub("local X =",
        name .. " ="):gsub("local X$", name .. " = nil"):gsub("function X%.",
        "function " .. name .. ".")
      use = use:gsub("X", name)
    end
    local setter = is_set and "function M.set(v) " .. name .. " = v end\n" or ""
    return ("local M = {}\n%s\n%sfunction M.get() return %s end\nreturn M"):format(code, setter,
      use)
  end

  for where in pairs(NAMES) do
    for _, mode in ipairs { "keep", "merge", "replace" } do
      for _, before in ipairs(EXPRESSIONS) do
        local title = "is the file's or refused, never silently another: %s, data = %q, was a %s"
        it(title:format(where, mode, before[1]), function()
          require "hotreload".track()
          app:module("lib", MODULES)
          for i, after in ipairs(EXPRESSIONS) do
            local name = "m" .. i
            rawset(_G, "KIND_X", nil)
            local M = app:module(name, text_of(before, where))
            app:write(name, text_of(after, where))
            local ok, report = app:reload(name, { data = mode })
            if ok and report.data.differing == 0 then
              local _, got = pcall(M.get)
              assert.same({ after[1], after[4] }, { after[1], got })
            end
          end
        end)
      end
    end
  end

  it("is the file's in each of several reloads, also after a generator that C has made", function()
    for where in pairs(NAMES) do
      rawset(_G, "KIND_X", nil)
      local M = app:module("m", text_of(EXPRESSIONS[4], where))
      for _, number in ipairs { 12, 5, 12, 11, 12, 9 } do
        app:write("m", text_of(EXPRESSIONS[number], where))
        local ok = app:reload("m")
        if not ok then break end
        assert.same({ number, EXPRESSIONS[number][4] }, { number, M.get() })
      end
      assert.is_true(where ~= "variable" or M.get() == "obj1")
      package.loaded.m = nil
    end
    rawset(_G, "KIND_X", nil)
  end)

  -- What the text calls may make a value of another kind now, of whatever the program has not
  -- touched.
  local FACTORIES = { ["function"] = "function(x) return tag .. x end",
    table = "{ say = function(x) return tag .. x end }", string = "tag" }
  local USES = { ["function"] = "LOG(x)", table = "LOG.say(x)", string = "LOG .. x" }
  for before, first in pairs(FACTORIES) do
    for after, second in pairs(FACTORIES) do
      local function text(made, kind)
        return ("local M = {}\nlocal function logger(tag) return %s end\nlocal log = logger 'm: '\n"
          .. "function M.say(x) return %s end\nreturn M"):format(made, (USES[kind]:gsub("LOG",
            "log")))
      end
      it("takes what a factory makes now: " .. before .. ", then " .. after, function()
        local M = app:module("m", text(first, before))
        app:update("m", text(second, after))
        assert.equal("m: hi", M.say "hi")
      end)
    end
  end

  for _, tracked in ipairs { true, false } do
    local how = tracked and "" or ", without a record"
    it("is the file's table where a helper was, if nothing assigns the local" .. how, function()
      require "hotreload".track(tracked)
      for i, log in ipairs {
        "local log = { level = 1 }\nfunction log.info(x) return 'info ' .. x end",
        "local log = {}\nfunction log.info(x) return 'info ' .. x end",
        "local log = { info = function(x) return 'info ' .. x end }",
        "local log = {}\nfunction log.info(x) return 'log ' .. x, 'info ' .. x end",
      } do
        local text = "local M = {}\n%s\nfunction M.say(x) return (select(-1, %s)) end\nreturn M"
        local M = app:module("m" .. i,
          text:format("local function log(x) return 'log ' .. x end", "log(x)"))
        app:update("m" .. i, text:format(log, "log.info(x)"))
        assert.equal("info hi", M.say "hi")
      end
    end)
  end

  it("is the file's where a helper has moved to a field, and its name is another local's",
    function()
      local M = app:module("m", [[
        local M = {}
        local function level() local s = 10 return s * 2 end
        function M.say(x) return level() .. x end
        return M
      ]])
      app:update("m", [[
        local M = {}
        local level = { base = 5 }
        function M.level() local s = 10 return s * 2 end
        function M.say(x) return M.level() + level.base .. x end
        return M
      ]])
      assert.equal("25x", M.say "x")
    end)

  it("stays where only the program changed it, in a file that gets its first function", function()
    local text = "Shop = Shop or {} local M = Shop M.list = {} return M"
    local M = app:module("m", text)
    M.list = 0
    app:update("m", (text:gsub("return M", "function M.f() return 1 end %0")))
    assert.equal(0, M.list)
    rawset(_G, "Shop", nil)
  end)

  it("is the state still that the program points at one of the module's functions", function()
    local text = [[
      local M = {}
      local mode = "none"
      function M.idle() return "idle VERSION" end
      function M.go() mode = M.idle end
      function M.mode() return mode end
      return M
    ]]
    local M = app:module("m", (text:gsub("VERSION", "1")))
    M.go()
    app:update("m", (text:gsub("VERSION", "2")))
    assert.equal("idle 2", M.mode()())
  end)

  local TOUCHED = { ["number"] = 5, ["string"] = "mine", ["table"] = { "mine" },
    ["function"] = function() return "mine" end }
  for where in pairs(NAMES) do
    for _, before in ipairs(EXPRESSIONS) do
      it(("is a conflict where the program and the file have changed it: %s, was a %s"):format(
        where, before[1]), function()
        require "hotreload".track()
        app:module("lib", MODULES)
        local kinds = {}
        for i, after in ipairs(EXPRESSIONS) do
          rawset(_G, "KIND_X", nil)
          local T = app:module("kind" .. i, text_of(after, where, true):gsub("return M$",
            "M.value = " .. NAMES[where] .. "\nreturn M"))
          kinds[i] = type(T.value)
        end
        local number = 0
        for i, first in ipairs(EXPRESSIONS) do
          if first == before then number = i end
        end
        for i, after in ipairs(EXPRESSIONS) do
          local kind, was = kinds[i], kinds[number]
          for mine, value in pairs(TOUCHED) do
            local are_kinds = kind ~= "nil" and was ~= "nil" and kind ~= was and mine ~= kind
            if are_kinds then
              rawset(_G, "KIND_X", nil)
              local name = ("m%d%s"):format(i, mine)
              app:module(name, text_of(before, where, true)).set(value)
              app:write(name, text_of(after, where, true))
              local ok = app:reload(name)
              assert.same({ after[1], mine, false }, { after[1], mine, ok })
            end
          end
        end
      end)
    end
  end

  it("writes nothing into another module's table where the file has one of its own now", function()
    for _, mode in ipairs { "keep", "merge", "replace" } do
      for where, name in pairs(NAMES) do
        rawset(_G, "KIND_X", nil)
        local lib = app:module("lib", MODULES)
        local M = app:module("m", text_of({ "", "local X = require('lib').t", "X.y" }, where))
        app:write("m", text_of({ "", "local X = { y = 'own' }", "X.y" }, where))
        app:reloaded("m", { data = mode })
        assert.same({ name, "own", { x = "lib.t" } }, { name, M.get(), lib.t })
        package.loaded.m, package.loaded.lib = nil, nil
      end
    end
    rawset(_G, "KIND_X", nil)
  end)

  it("is a conflict without a record", function()
    local M = app:module("m",
      "local M, hits = {}, 0 function M.hit() hits = hits + 1 return hits end return M")
    M.hit()
    app:write("m",
      "local M, hits = {}, {} function M.hit() hits[#hits + 1] = 1 return #hits end return M")
    local message = app:refused("m", nil, M)
    assert.matches("m.hit@hits: number 1 while it runs, table of 0 entries in the file", message, 1,
      true)
    assert.equal(2, M.hit())
  end)
end)
