-- Whatever the program's own functions raise while a reload calls them, and however odd the tables
-- are that it meets: it is done or refused, all is put back, the collector runs as before, and the
-- next reload works (R1.1, R2.3, R7.2, R7.6, R12.5). Raises and panics within the library:
-- tests/raises.rs. Raises of debug hooks: tests/stack.rs.

local program = require "spec.support.program"

local V1 = [[
local count, list = 0, { "run time" }
local M = { data = { 1, 2 } }
function M.f() count = count + 1 return 1, count, list end
function M.g() return M.f() end
return M]]
local V2 = V1:gsub("return 1,", "return 2,")

-- All the ways in which a function can end badly, as Lua text; and what the message must have.
local WAYS = {
  { "a string", "error 'oh no'", "oh no" },
  { "a table", "error({})", "table value" },
  { "nil", "error()", "nil" },
  { "false", "error(false)", "boolean" },
  { "a number", "error(17)", "17" },
  { "a function", "error(print)", "function" },
  { "a coroutine", "error(coroutine.create(print))", "thread" },
  { "an object with a text",
    "error(setmetatable({}, { __tostring = function() return 'oh no' end }))", "oh no" },
  { "an object whose text raises",
    "error(setmetatable({}, { __tostring = function() error 'twice' end }))", "." },
  { "an object whose text is none",
    "error(setmetatable({}, { __tostring = function() return {} end }))", "." },
  { "an object whose text overflows",
    "error(setmetatable({}, { __tostring = function(o) return tostring(o) .. 'x' end }))", "." },
  { "an object that hides its metatable",
    "error(setmetatable({}, { __metatable = false, __name = 'N' }))", "." },
  { "an error of Lua's", "local t = nil; t.x = 1", "attempt to index a nil value" },
  { "an endless recursion through C",
    "local function f() return (string.gsub('x', 'x', f)) end f()", "overflow" },
  { "an error in the handler of an error",
    "error(select(2, xpcall(error, function() error 'again' end)))", "." },
  { "an error on closing a variable",
    "local v <close> = setmetatable({}, { __close = function() error 'at the close' end \z
      }) error 'first'",
    "at the close" },
  { "an error out of a coroutine", "coroutine.wrap(function() error 'inside' end)()", "inside" },
  { "a coroutine that fails to close", [[
    local co = coroutine.create(function()
      local v <close> = setmetatable({}, { __close = function() error 'at the close' end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    error(select(2, coroutine.close(co)))]], "at the close" },
  { "an error of a debug hook",
    "debug.sethook(function() debug.sethook() error 'hooked' end, 'l')\nlocal x = 1\nlocal y = 2",
    "hooked" },
}

-- Lua takes a second for the traceback of a full stack: tried once for a chunk, and once for a
-- hook.
local OVERFLOW = { "an endless recursion", "local function f() return 1 + f() end f()",
  "stack overflow" }

describe("raises", function()
  local app, M, f, list
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    f = M.f
    list = select(3, M.f())
    M.data[1] = "changed"
  end)
  after_each(function()
    debug.sethook()
    app.hotreload.configure { before = false, after = false, on_error = false, log = false }
    app:unload()
  end)

  -- The program runs this version, on the old data, and can be reloaded.
  local calls
  local function runs(version)
    local is, count, has = M.f()
    assert.equal(version, is)
    calls = (calls or 1) + 1
    assert.equal(calls, count)
    assert.equal(list, has)
    assert.equal("changed", M.data[1])
    assert.is_true(collectgarbage "isrunning")
  end
  before_each(function() calls = nil end)

  local function refused_then_works(what, text)
    app:write("m", text)
    local message = app:refused("m", nil, M, f)
    assert.matches(what, message)
    runs(1)
    return message
  end

  describe("of the module's chunk (R2.3)", function()
    local STATEMENTS = {
      "local count, list = 100, {}",
      "local M = { data = {} }",
      "function M.f() count = count + 1 return 2, count, list end",
      "MADE = { M }",
      "package.loaded.other = M",
      "string.mine = M.f",
      "setmetatable(_G, { __index = function() end })",
      "collectgarbage 'stop'",
      "collectgarbage 'generational' collectgarbage 'incremental'",
      "package.path = nil",
      "package.searchers = nil",
      "gg = nil",
      "return M",
    }

    for _, way in ipairs(WAYS) do
      it(("change nothing at any statement: %s"):format(way[1]), function()
        for place = 1, #STATEMENTS do
          local lines = { table.unpack(STATEMENTS) }
          table.insert(lines, place, ("do %s end"):format(way[2]))
          refused_then_works(way[3], table.concat(lines, "\n"))
        end
        app:update("m", V2)
        runs(2)
      end)
    end

    it("change nothing for an endless recursion", function()
      refused_then_works(OVERFLOW[3],
        STATEMENTS[1] .. STATEMENTS[4]:gsub("M", "") .. "\n" .. OVERFLOW[2])
      app:update("m", V2)
      runs(2)
    end)

    it("change nothing while finalizers raise, reload, and run out of stack", function()
      refused_then_works("oh no", [[
        for _, last in ipairs {
          function() error {} end,
          function() gg.reload "m" end,
          function() local function f() return (string.gsub("x", "x", f)) end f() end,
          function() coroutine.yield() end,
        } do
          setmetatable({}, { __gc = last })
        end
        collectgarbage()
        setmetatable({}, { __gc = function() error "later" end })
        error "oh no"]])
      collectgarbage()
      app:update("m", V2)
      runs(2)
    end)

    it("change nothing in a dependency's loader, wherever that comes from", function()
      for _, way in ipairs(WAYS) do
        local loader = assert(load(way[2]))
        package.preload.dep = loader
        refused_then_works(".", "M2 = require 'dep' " .. V2)
        package.preload.dep = nil
        table.insert(package.searchers, 2,
          function(name) return name == "dep" and loader or nil end)
        refused_then_works(".", "M2 = require 'dep' " .. V2)
        table.remove(package.searchers, 2)
        table.insert(package.searchers, 2, function(name) if name == "dep" then loader() end end)
        refused_then_works(".", "M2 = require 'dep' " .. V2)
        table.remove(package.searchers, 2)
        assert.is_nil(package.loaded.dep)
      end
      app:update("m", V2)
      runs(2)
    end)
  end)

  describe("of the module's hook (R7.2)", function()
    for _, way in ipairs(WAYS) do
      it(("undo the reload: %s"):format(way[1]), function()
        local hook = ("function M.__hotfix()\n%s\nend\nreturn M"):format(way[2])
        refused_then_works(way[3], (V2:gsub("return M$", hook)))
        local inside = coroutine.wrap(function() return gg.reload "m" end)
        local done, message = inside()
        assert.is_false(done)
        assert.matches("the reload was undone", message)
        runs(1)
        app:update("m", V2)
        runs(2)
      end)
    end

    it("undo the reload for an endless recursion", function()
      local hook = "function M.__hotfix() " .. OVERFLOW[2] .. " end\nreturn M"
      refused_then_works(OVERFLOW[3], (V2:gsub("return M$", hook)))
      app:update("m", V2)
      runs(2)
    end)

    it("undo the reload where the hook has waited, or is closed with a variable that \z
      fails to close", function()
      for _, way in ipairs(WAYS) do
        local hook = ("function M.__hotfix()\ncoroutine.yield()\n%s\nend\nreturn M"):format(way[2])
        app:write("m", (V2:gsub("return M$", hook)))
        local co = coroutine.create(gg.reload)
        assert.is_true((coroutine.resume(co, "m")))
        runs(2)
        local _, done = coroutine.resume(co)
        assert.is_false(done)
        runs(1)
      end
      app:write("m", (V2:gsub("return M$", [[function M.__hotfix()
        local v <close> = setmetatable({}, { __close = function() error "at the close" end })
        coroutine.yield()
      end
      return M]])))
      local co = coroutine.create(gg.reload)
      assert.is_true((coroutine.resume(co, "m")))
      runs(2)
      local closed, why = coroutine.close(co)
      assert.is_false(closed)
      assert.matches("at the close", why)
      runs(1)
      app:update("m", V2)
      runs(2)
    end)
  end)

  describe("of searchers and loaders (R1.2)", function()
    -- What is lent for one attempt, and what the message must have.
    local function attempt(what, lend, give_back)
      app:write("m", V2)
      lend()
      local ok, done, message = pcall(gg.reload, "m")
      local looked, names, problems = pcall(app.hotreload.changed)
      give_back()
      assert.is_true(ok, done)
      assert.is_false(done)
      assert.matches(what, message)
      assert.is_true(looked, names)
      assert.equal("table", type(problems))
      runs(1)
    end

    for _, way in ipairs(WAYS) do
      it(("refuse the reload: %s"):format(way[1]), function()
        local raise = assert(load(way[2]))
        attempt(".", function() table.insert(package.searchers, 1, raise) end,
          function() table.remove(package.searchers, 1) end)
        attempt(".", function() package.preload.m = raise end,
          function() package.preload.m = nil end)
        attempt(".", function()
          table.insert(package.searchers, 1, function() return raise, {} end)
        end,
          function() table.remove(package.searchers, 1) end)
        app:reloaded "m"
        runs(2)
      end)
    end

    it("refuse the reload for a list of searchers that is none, and entries that \z
      cannot be called", function()
      local own, path = package.searchers, package.path
      local raising = setmetatable({}, {
        __call = function() error "called" end, __index = function() error "indexed" end,
        __len = function() error "measured" end, __newindex = function() error "written" end,
        __pairs = function() error "walked" end, __close = function() error "closed" end,
      })
      local function give_back() package.searchers, package.path = own, path end
      for _, searchers in ipairs { 1, "text", true, print, raising, {}, { raising }, { 17 }, { {} },
        { false, own[2] },
        { coroutine.create(print) }, { coroutine.yield }, { function() return raising end },
        { function() return 17, raising end }, { function() return "nothing" end } } do
        attempt(".", function() package.searchers = searchers end, give_back)
      end
      attempt(".", function() package.searchers = nil end, give_back)
      for _, wrong in ipairs { 17, true, raising, print, "", ";;", "?", "\0?",
        string.rep("?", 100000) } do
        attempt(".", function() package.path = wrong end, give_back)
      end
      attempt(".", function() package.path = nil end, give_back)
      app:reloaded "m"
      runs(2)
    end)
  end)

  describe("of metatables of what a reload meets", function()
    local function raising(seen)
      local function raise(event)
        return function() seen[#seen + 1] = event error(event) end
      end
      local mt = {}
      for event in (
        [[__index __newindex __call __len __pairs __eq __lt __le __concat __tostring __close __unm
        __add]]):gmatch "%S+" do
        mt[event] = raise(event)
      end
      mt.__metatable = false
      return mt
    end

    it("never run: the globals', package's, package.loaded's, gg's, a string's, \z
      nil's, a function's…", function()
      for _, what in ipairs { "_G", "package", "package.loaded", "package.preload",
        "package.searchers", "gg", "gg.safe_reloads", "text", "nothing", "function", "number",
        "coroutine" } do
        local seen = {}
        local objects = {
          _G = _G, package = package, ["package.loaded"] = package.loaded,
          ["package.preload"] = package.preload, ["package.searchers"] = package.searchers, gg = gg,
          ["gg.safe_reloads"] = gg.safe_reloads, text = "",
          ["function"] = print, number = 1, coroutine = coroutine.create(print),
        }
        local object = objects[what]
        local own = debug.getmetatable(object)
        local reload, changed, stale, sweep, plan, undo = gg.reload, app.hotreload.changed,
          app.hotreload.stale, app.hotreload.sweep, app.hotreload.plan, app.hotreload.undo
        local setmetatable, pack, pcall, source = debug.setmetatable, table.pack, pcall, V2
        local results = {}
        local odd = raising(seen)
        -- (string.format itself asks its arguments, strings too, for this one.)
        if object == "" then odd.__tostring = nil end
        setmetatable(object, odd)
        results[1] = pack(pcall(reload, "m", { source = source }))
        results[2] = pack(pcall(changed))
        results[3] = pack(pcall(stale))
        results[4] = pack(pcall(reload, "m", { source = source, scope = "vm" }))
        results[5] = pack(pcall(reload, "m", { source = source, scope = "vm", budget_ms = 1 }))
        results[6] = pack(pcall(sweep))
        results[7] = pack(pcall(plan, "m"))
        results[8] = pack(pcall(reload, "m", { source = "error 'oh no'" }))
        results[9] = pack(pcall(undo, "m"))
        setmetatable(object, own)
        assert.same({}, seen, what)
        for i, result in ipairs(results) do
          assert.is_true(result[1], ("%s, %d: %s"):format(what, i, tostring(result[2])))
          assert.equal(i ~= 8, result[2] and true,
            ("%s, %d: %s"):format(what, i, tostring(result[3])))
        end
        runs(2)
      end
    end)

    it("never run on gg and its marks of any other kind", function()
      local own, reload = gg, gg.reload
      for _, odd in ipairs { 17, "text", true, print, {}, { safe_reloads = 17 },
        { safe_reloads = setmetatable({},
        { __index = function() error "indexed" end }) } } do
        gg = odd
        local ok, done, message = pcall(reload, "m", { source = V2 })
        gg = own
        assert.is_true(ok and done, message)
        runs(2)
      end
    end)
  end)

  describe("of the functions of configure (R7.6)", function()
    for _, way in ipairs(WAYS) do
      it(("refuse the reload in before, \z
        and change nothing elsewhere: %s"):format(way[1]), function()
        local raise, logged = assert(load(way[2])), {}
        app.hotreload.configure { before = raise,
          log = function(_, line) logged[#logged + 1] = line end }
        refused_then_works(".", V2)
        assert.is_true(#logged > 0)
        app.hotreload.configure { before = false, after = raise, on_error = raise }
        app:reloaded "m"
        runs(2)
        app:write("m", "error 'broken'")
        assert.matches("broken", app:refused("m", nil, M))
        app.hotreload.configure { log = raise }
        assert.matches("broken", app:refused("m", nil, M))
        app:update("m", V2)
        runs(2)
      end)
    end

    it("change nothing when they spoil what they are given", function()
      local function spoil(_, report)
        for key in next, report do report[key] = nil end
        setmetatable(report, { __index = function() error "spoilt" end, __metatable = false })
      end
      app.hotreload.configure { before = spoil, after = spoil, log = print and function() end }
      app:write("m", V2)
      local done = gg.reload "m"
      assert.is_true(done)
      runs(2)
    end)

    it("are taken as a whole or not at all, whatever stands in the table", function()
      local raising = setmetatable({}, {
        __index = function() error "indexed" end, __len = function() error "measured" end,
        __pairs = function() error "walked" end,
      })
      app.hotreload.configure { deny = "^m$" }
      for _, options in ipairs { raising, { allow = raising }, { deny = raising, allow = {} } } do
        assert.is_true((pcall(app.hotreload.configure, options)))
      end
      app:update("m", V2) -- the last one took the pattern away
      for _, options in ipairs { { deny = { "m" }, allow = { 17 } },
        { deny = { "m" }, before = 17 },
        { deny = { "m" }, [{}] = true } } do
        assert.is_false((pcall(app.hotreload.configure, options)))
      end
      app:reloaded "m"
      runs(2)
    end)
  end)

  describe("of the functions of a watcher (R12.5)", function()
    for _, way in ipairs(WAYS) do
      it(("never come out of a poll: %s"):format(way[1]), function()
        local raise = assert(load(way[2]))
        local told = {}
        local function on_error(_, message) told[#told + 1] = message end
        local now = 0
        local function watcher(options)
          options.interval, options.settle, options.clock = 0, 0,
            options.clock or function() return now end
          options.filter = options.filter or "^m$"
          return require "hotreload.watch".new(options)
        end
        local first = watcher { on_reload = raise, on_error = on_error }
        app:write("m", V2)
        assert.equal(1, (first:poll()))
        assert.matches("on_reload raised", told[1])
        runs(2)

        told = {}
        local function only_others(name) if name == "m" then raise() end return false end
        local second = watcher { filter = only_others, on_error = on_error }
        app:write("m", V1 .. "\n")
        assert.equal(0, (second:poll()))
        assert.matches("filter raised", told[1])
        runs(2)

        if way[1] == "an object whose text raises" then -- (told on stderr, once)
          local third = watcher { on_error = function() raise() end }
          app:write("m", "error 'broken'")
          local ok, count, failing = pcall(third.poll, third)
          assert.is_true(ok, count)
          assert.equal(0, count)
          assert.equal(1, failing)
        end

        told = {}
        local ticks = 0
        local fourth = watcher { on_error = on_error, clock = function()
          ticks = ticks + 1
          if ticks > 1 then raise() end
          return 0
        end }
        assert.is_true((pcall(fourth.poll, fourth)))
        assert.is_true((pcall(fourth.poll, fourth)))
        assert.matches("clock raised", told[#told])
        assert.is_true((pcall(fourth.check, fourth)))
        assert.matches("clock raised", told[#told])
        app:write("m", V2 .. "\n\n")
        assert.equal(1, (first:poll()))
        runs(2)
      end)
    end

    it("may be a clock that has no number", function()
      local told
      local watcher = require "hotreload.watch".new { clock = function() return "noon" end,
        on_error = function(_, message) told = message end }
      assert.equal(0, (watcher:poll()))
      assert.matches("no number", told)
    end)
  end)
end)
