-- R9: with scope = "vm" every reference in the VM follows, wherever it stands.

local program = require "spec.support.program"

local V1 = [[
  local M, count = {}, 0
  M.class = {}
  function M.f() count = count + 1 return "v1", count end
  function M.class.go() return "v1" end
  function M.gone() return "v1" end
  return M
]]
local V2 = V1:gsub("v1", "v2"):gsub("function M.gone.-end", "")

--- Puts functions into a table under the reload's eyes and unseen by it: within a coroutine that
--- runs already.
local function hand(registry)
  local put = coroutine.wrap(function()
    while true do
      local f = coroutine.yield()
      if f then registry[f] = "file's" end
    end
  end)
  put()
  return put
end

describe("scope = 'vm' (R9)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
  end)
  after_each(function() app:unload() end)

  local function reload(options)
    options = options or {}
    options.scope, options.source = "vm", options.source or V2
    return app:reloaded("m", options)
  end

  --- For each kind of place: puts the value there, and returns what gets it from there.
  local places = {
    ["a field of a table"] = function(f)
      local t = { deep = { f = f } }
      return function() return t.deep.f end, t
    end,
    ["the array part of a table"] = function(f)
      local t = { 1, 2, f }
      return function() return t[3] end, t
    end,
    ["a key of a table"] = function(f)
      local t = { [f] = "value" }
      return function()
        assert.equal("value", t[next(t)])
        return (next(t))
      end, t
    end,
    ["a key that is its own value"] = function(f)
      local t = { [f] = f }
      return function()
        local key, value = next(t)
        assert.equal(key, value)
        return key
      end, t
    end,
    ["a weak table"] = function(f)
      local t = setmetatable({ f, [f] = 1 }, { __mode = "kv" })
      return function() return t[1] end, t
    end,
    ["a field of a metatable"] = function(f)
      local t = setmetatable({}, { __call = f, __metatable = false })
      return function() return debug.getmetatable(t).__call end, t
    end,
    ["an upvalue"] = function(f)
      local get = function() return f end
      return get, get
    end,
    ["an upvalue of a C function"] = function(f)
      local iterator = coroutine.wrap(f)
      local co = select(2, debug.getupvalue(iterator, 1))
      assert.equal("thread", type(co))
      return function() return iterator end, iterator, true
    end,
    ["a user value"] = function(f)
      local file = io.tmpfile()
      if not debug.setuservalue(file, f, 1) then
        file:close()
        return nil
      end
      return function() return (debug.getuservalue(file, 1)) end, file
    end,
    ["the registry"] = function(f)
      debug.getregistry()["spec.place"] = f
      return function()
        local value = debug.getregistry()["spec.place"]
        debug.getregistry()["spec.place"] = nil
        return value
      end
    end,
    ["a global"] = function(f)
      rawset(_G, "SPEC_PLACE", f)
      return function()
        local value = rawget(_G, "SPEC_PLACE")
        rawset(_G, "SPEC_PLACE", nil)
        return value
      end
    end,
    ["a local of a suspended coroutine"] = function(f)
      local co = coroutine.create(function(given)
        local mine = given
        coroutine.yield()
        return mine
      end)
      coroutine.resume(co, f)
      return function() return select(2, coroutine.resume(co)) end, co
    end,
    ["a vararg of a suspended coroutine"] = function(f)
      local co = coroutine.create(function(...)
        local function inner(...)
          coroutine.yield()
          return (select(2, ...))
        end
        return (inner(1, ...))
      end)
      coroutine.resume(co, f)
      return function() return select(2, coroutine.resume(co)) end, co
    end,
    ["a temporary of a suspended coroutine"] = function(f)
      local co = coroutine.create(function(given)
        local function id(x) return x end
        local function wait() coroutine.yield() return 1 end
        return (select(1, id(given), wait()))
      end)
      coroutine.resume(co, f)
      return function() return select(2, coroutine.resume(co)) end, co
    end,
    ["a coroutine that has not started"] = function(f)
      local co = coroutine.create(function(given) return given end)
      local started = coroutine.create(f)
      return function()
        coroutine.resume(co)
        return function() return select(2, coroutine.resume(started)) end
      end, started
    end,
    ["a coroutine that waits in a C function"] = function(f)
      local co = coroutine.create(function(given)
        return select(2, pcall(function()
          local mine = given
          coroutine.yield()
          return mine
        end))
      end)
      coroutine.resume(co, f)
      return function() return select(2, coroutine.resume(co)) end, co
    end,
  }

  for name, place in pairs(places) do
    it("reaches " .. name, function()
      local get, holder = place(M.f)
      if not get then return end
      local report = reload()
      assert.is_true(report.references >= 1)
      assert.equal("v2", (get()()), name .. tostring(holder))
    end)

    -- A coroutine's own function is never a table.
    if name ~= "an upvalue of a C function" and name ~= "a coroutine that has not started" then
      it("reaches the incoming second copy of a table in " .. name, function()
        local get, holder
        rawset(_G, "SPEC_HAND", function(class) get, holder = place(class) end)
        reload { source = V2:gsub("return M%s*$", "SPEC_HAND(M.class) return M") }
        rawset(_G, "SPEC_HAND", nil)
        if get then assert.equal(M.class, get(), name .. tostring(holder)) end
      end)
    end
  end

  it("reaches the locals of the functions that are running", function()
    local mine = M.f
    reload()
    assert.equal("v2", (mine()))
    assert.equal(M.f, mine)
  end)

  it("reaches the metatables of the basic types", function()
    local before = debug.getmetatable(0)
    debug.setmetatable(0, { __call = M.f })
    reload()
    local call = debug.getmetatable(0).__call
    debug.setmetatable(0, before)
    assert.equal(M.f, call)
  end)

  it("counts the places that it changed, and changes nothing else", function()
    local N = app:module("counted", V1)
    local t = { N.f, N.f, other = { N.class.go } }
    local report = app:reloaded("counted", { source = V2, scope = "vm" })
    assert.is_true(report.references >= 3) -- a stack may still have one in a slot that nobody uses
    assert.equal(0, report.stale, table.concat(report.warnings, "\n"))
    assert.same({ N.f, N.f, other = { N.class.go } }, t)
  end)

  it("reaches functions of earlier generations", function()
    local first = { M.f }
    app:reloaded("m", { source = V2 })
    local second = { M.f }
    app:reloaded("m", { source = V1 })
    reload()
    assert.equal(M.f, first[1])
    assert.equal(M.f, second[1])
  end)

  it("leaves alone what the file lacks now", function()
    local t = { M.gone }
    reload()
    assert.equal("v1", t[1]())
    assert.equal(M.gone, t[1])
  end)

  it("moves each key with its own value", function()
    local t, u, v = { [M.f] = 1, [M.class.go] = true }, { [M.f] = "one",
      [M.class.go] = 2.5 }, { [M.f] = false }
    reload()
    assert.same({ [M.f] = 1, [M.class.go] = true }, t)
    assert.same({ [M.f] = "one", [M.class.go] = 2.5 }, u)
    assert.same({ [M.f] = false }, v)
  end)

  it("runs no metamethod and reaches into tables that fight back", function()
    local function fight() error "a metamethod ran" end
    local mt = { __index = fight, __newindex = fight, __pairs = fight, __eq = fight,
      __metatable = false }
    local t = setmetatable({ M.f, [M.class.go] = 1 }, mt)
    reload()
    assert.equal(M.f, rawget(t, 1))
    assert.equal(1, rawget(t, M.class.go))
  end)

  it("keeps the running entry where keys collide, and warns", function()
    local registry = {}
    rawset(_G, "SPEC_HAND", hand(registry))
    registry[M.f] = "running"
    local report = reload { source = V2:gsub("return M%s*$", "SPEC_HAND(M.f) return M") }
    rawset(_G, "SPEC_HAND", nil)
    assert.same({ [M.f] = "running" }, registry)
    assert.matches("a table has the running function and the file's as keys", report.warnings[1],
      1, true)
  end)

  it("replaces the incoming second copies of tables by the running version's", function()
    local registry = {}
    rawset(_G, "SPEC_HAND", function(class) registry[#registry + 1] = class end)
    reload { source = V2:gsub("return M%s*$", "SPEC_HAND(M) SPEC_HAND(M.class) return M") }
    rawset(_G, "SPEC_HAND", nil)
    assert.equal(M, registry[1])
    assert.equal(M.class, registry[2])
  end)

  it("binds functions that the incoming chunk handed to others to the running cells", function()
    local bus = {}
    rawset(_G, "SPEC_HAND", function(f) bus[#bus + 1] = f end)
    M.f()
    reload { source = V2:gsub("return M%s*$", "SPEC_HAND(function() return count end) return M") }
    rawset(_G, "SPEC_HAND", nil)
    assert.equal(1, bus[1]())
    M.f()
    assert.equal(2, bus[1]())
  end)

  it("keeps nothing alive and leaves weak tables weak", function()
    local weak = setmetatable({ {} , { M.f } }, { __mode = "v" })
    reload()
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    assert.is_nil(weak[2])
  end)

  it("changes nothing in a dry run, and says what would follow", function()
    local t = { M.f }
    local before = program.fingerprint()
    local report = reload { dry_run = true }
    before:assert_unchanged()
    assert.is_true(report.references >= 1)
    assert.equal("v1", (t[1]()))
  end)

  it("reaches what one of the module's functions made and a local keeps", function()
    local source = [[
      local convert
      local function choose(mode)
        if mode == "twice" then
          convert = function(x) return "old", x * 2 end
        else
          convert = function(x) return "old", x end
        end
      end
      choose "once"
      return { choose = choose, convert = function(x) return convert(x) end }
    ]]
    local N = app:module("maker", source)
    N.choose "twice"
    local report = app:update("maker", "\n" .. source:gsub("old", "new"), { scope = "vm" })
    assert.same({ "new", 6 }, { N.convert(3) })
    assert.same({}, report.warnings)
    assert.equal(0, report.stale)
    assert.same({}, app.hotreload.stale "maker")
    assert.is_true(app.hotreload.undo "maker")
    assert.same({ "old", 6 }, { N.convert(3) })
  end)

  it("reaches older generations of a function in whose place a patch stood", function()
    local source = [[
      local M = { f = function() return "GENERATION" end }
      M.g = M.f
      return M
    ]]
    local N = app:module("M", (source:gsub("GENERATION", "one")))
    local held = { N.f }
    N.f = function() return held[1]() end -- a patch
    app:update("M", (source:gsub("GENERATION", "two")), { wrappers = "drop" })
    app:update("M", (source:gsub("GENERATION", "three")), { scope = "vm" })
    assert.equal(N.f, held[1])
    assert.same({ "three", "three" }, { N.f(), N.g() })
  end)

  it("reaches older generations that a function holds which the file lacks", function()
    local source = [[
      local function send(x) return "old", x end
      local function command(name) return function() return name, send(1) end end
      local M = { commands = { get = command "get" } }
      function M.command(name)
        local wire = send
        return function() return name, wire(2) end
      end
      return M
    ]]
    local N = app:module("maker", source)
    local M2 = N.command "shout"
    N.commands.shout = M2
    app:update("maker", (source:gsub("old", "newer")))
    assert.same({ "shout", "old", 2 }, { N.commands.shout() })
    app:update("maker", (source:gsub("old", "newest")), { scope = "vm" })
    assert.same({ "shout", "newest", 2 }, { N.commands.shout() })
    assert.same({ "get", "newest", 1 }, { N.commands.get() })
    assert.same({ "shout", "newest", 2 }, { M2() })
  end)

  it("does not count what undoing needs as old functions that stay", function()
    app:module("often", V2)
    for i = 1, 4 do
      local report = app:update("often", ("\n"):rep(i) .. V2, { scope = "vm" })
      assert.equal(0, report.stale)
      assert.same({}, report.warnings)
    end
  end)

  it("undoes references with the reload when the hook raises", function()
    local t = { [M.f] = M.f }
    local mine = M.f
    local source = V2:gsub("return M%s*$", "function M.__hotfix() error 'no' end return M")
    assert.is_false((app:reload("m", { scope = "vm", source = source })))
    assert.equal("v1", (mine()))
    assert.same({ [M.f] = M.f }, t)
    assert.equal("v1", (M.f()))
  end)

  it("undoes references with hotreload.undo, also those made since", function()
    local t = { [M.f] = M.f }
    local mine = M.f
    reload()
    local since = { M.f }
    assert.is_true(app.hotreload.undo "m")
    assert.equal("v1", (mine()))
    assert.equal(M.f, mine)
    assert.same({ [M.f] = M.f }, t)
    assert.equal("v1", (since[1]()))
  end)

  it("undoes references to a function that somebody has patched in one of its places", function()
    local source = "local M = { f = function() return 'v1' end } M.z = M.f return M"
    local N = app:module("patched", source)
    local t = { N.f }
    local old = N.f
    N.f = function() return "patched " .. old() end
    app:update("patched", (source:gsub("v1", "v2")), { scope = "vm", wrappers = "drop" })
    assert.same({ "v2", "v2" }, { N.f(), t[1]() })
    assert.is_true(app.hotreload.undo "patched")
    assert.same({ "patched v1", "v1", "v1" }, { N.f(), N.z(), t[1]() })
    assert.equal(N.z, t[1])
  end)

  it("takes several modules at once", function()
    local N = app:module("n", "return { g = function() return 'n1' end }")
    local t = { M.f, N.g }
    app:write("m", V2)
    app:write("n", "return { g = function() return 'n2' end }")
    assert.is_true((app.hotreload.reload({ "m", "n" }, { scope = "vm" })))
    assert.equal("v2", (t[1]()))
    assert.equal("n2", (t[2]()))
  end)
end)

describe("what the file lacks, with scope = 'vm' (R5.2, R9.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local vm = { scope = "vm" }

  it("keeps its code, though the module's object has nothing else and a local of the \z
    file is like it", function()
    local M = app:module("only", [[
      local M = {}
      local function other(n, v) n = tostring(n) return "other", n, v end
      M.f = function(n, v) n = tostring(n) return "f", n, v end
      return M
    ]])
    local report = app:update("only", [[
      local M = {}
      local function other(n, v) n = tostring(n) return "other", n, v end
      return M
    ]], vm)
    assert.equal("f", (M.f()))
    assert.equal(1, report.functions.removed)
  end)

  it("keeps its code in an object that the file takes up again (M = M or {})", function()
    local source = [[
      Kept = Kept or {}
      local M = Kept
      local function other(n, v) n = tostring(n) return "other", n, v end
      M.sub = { f = function(n, v) n = tostring(n) return "sub" end }
      GONE
      return M
    ]]
    local M = app:module("kept",
      (source:gsub("GONE", 'M.f = function(n, v) n = tostring(n) return "f", n, v end')))
    local report = app:update("kept", (source:gsub("GONE", "")), vm)
    assert.equal("f", (M.f()))
    assert.equal(1, report.functions.removed)
  end)

  it("is not what the program has taken out of its place: that follows where it is held", function()
    local source = [[
      local n, M = 0, { list = {} }
      function M.first() n = n + 1 return "first v1", n end
      function M.second() n = n + 1 return "second v1", n end
      M.list = {
        function() n = n + 1 return "third v1", n end,
        function() n = n + 1 return "fourth v1", n end,
      }
      for i = 1, 3 do
        local calls = 0
        M["made" .. i] = function() calls = calls + 1 return "made v1", calls end
      end
      return M
    ]]
    local M = app:module("moved", source)
    local made = { M.made2, M.made3 }
    made[1]()
    local held = { M.second, table.remove(M.list), made[1], made[2] }
    M.second, M.made2, M.made3 = nil, nil, nil
    for version = 2, 3 do
      local v = "v" .. version
      local text = ("\n"):rep(version) .. source:gsub("v1", v)
      local report = app:update("moved", text, { scope = "vm", report = "full" })
      assert.same({ {}, 0 }, { report.warnings, report.stale })
      local n = select(2, M.first())
      assert.same({ "second " .. v, n + 1 }, { held[1]() })
      assert.same({ "fourth " .. v, n + 2 }, { held[2]() })
      assert.same({ "made " .. v, version }, { held[3]() })
      assert.same({ "made " .. v, version - 1 }, { held[4]() })
      assert.same({ nil, 1 }, { M.second, #M.list })
    end
    assert.is_true(app.hotreload.undo "moved")
    assert.same({ "second v2", "fourth v2", "made v2" },
      { (held[1]()), (held[2]()), (held[3]()) })
  end)

  it("keeps its code where an earlier reload has met it, though a new function of the \z
    file is like it", function()
    local first = [[
      local M = { sub = {} }
      M.sub.f = function(n, v) n = tostring(n) return "sub.f" end
      M.g = function(n, v) n = tostring(n) return "g" end
      return M
    ]]
    local M = app:module("nested", first)
    app:update("nested", first .. "\n")
    app:update("nested", [[
      local M = {}
      M.g = function(n, v) n = tostring(n) return "g" end
      M.f = function(n, v) n = tostring(n) return "f" end
      return M
    ]], vm)
    assert.same({ "sub.f", "f" }, { M.sub.f(), M.f() })
  end)

  it("keeps its code as a global, though a new function of the file has its place in the "
    .. "code", function()
    local first = [[
      local M = {}
      M.f = function(n, v) n = tostring(n) return "M.f" end
      Gone = function(n, v) n = tostring(n) return "Gone" end
      return M
    ]]
    local M = app:module("globals", first)
    app:update("globals", first .. "\n")
    app:update("globals", [[
      local M = {}
      M.f = function(n, v) n = tostring(n) return "M.f" end
      local function new() return M end M.call = function() return new() end
      return M
    ]], vm)
    assert.same({ "Gone", "M.f" }, { rawget(package.loaded._G, "Gone")(), M.f() })
  end)

  it("keeps its code in every later reload, wherever the program holds it", function()
    local first = [[
      local M = {}
      local function other(n, v) n = tostring(n) return "other", n, v end
      M.sub = { f = function(n, v) n = tostring(n) return "f", n, v end,
        g = function() return "g" end }
      return M
    ]]
    local M = app:module("later", first)
    app:update("later", (first:gsub("f = function.-end,%s+", "")))
    app:update("later", (first:gsub("M.sub = .-}\n", "")), vm)
    assert.same({ "f", "g" }, { (M.sub.f()), (M.sub.g()) })
  end)

  it("keeps its code where a module-scope reload left the file without any function", function()
    local first = [[
      local M = {}
      local function other(n, v) n = tostring(n) return "other", n, v end
      M.f = function(n, v) n = tostring(n) return "f", n, v end
      return M
    ]]
    local M = app:module("empty", first)
    local gone = first:gsub("M.f = .-end", "")
    app:update("empty", gone)
    local f = M.f
    M.f = function() return f() end -- a patch
    app:update("empty", gone .. "\n", vm)
    assert.equal("f", (M.f()))
  end)

  it("is not what one of two functions is that have come of one: each stays what it is, \z
    reload after reload", function()
    local source = "local M = { f = function() return 'f' end } M.z = ALIAS return M"
    local M = app:module("split", (source:gsub("ALIAS", "M.f")))
    local split = source:gsub("ALIAS", "function() return 'z' end")
    app:update("split", (source:gsub("ALIAS", "M.f")))
    for _ = 1, 3 do
      app:update("split", split, vm)
      assert.same({ "f", "z" }, { M.f(), M.z() })
      assert.is_true(app.hotreload.undo "split")
      assert.same({ "f", "f" }, { M.f(), M.z() })
    end
  end)

  it("follows all the same when a factory of the file made it and the program put it \z
    into the module", function()
    local source = [[
      local M, calls = {}, 0
      function M.new(x)
        return { get = function() calls = calls + 1 return "v1", x, calls end }
      end
      return M
    ]]
    local M = app:module("made", source)
    M.current = M.new(7).get
    M.current()
    local held = { M.current }
    app:update("made", (source:gsub("v1", "v2")), vm)
    assert.same({ "v2", 7, 2 }, { M.current() })
    assert.equal(M.current, held[1])
    assert.is_true(app.hotreload.undo "made")
    assert.same({ "v1", 7, 3 }, { M.current() })
    assert.equal(M.current, held[1])
  end)

  -- The local function is as like the one that went as can be, and nothing else has it.
  local source = [[
    Taken = Taken or {}
    local function unused(n)
      n = tostring(n)
      return "unused"
    end
    FUNCTION
  ]]
  local dropped = [[
    function Taken.dropped(n)
      n = tostring(n)
      return "dropped"
    end
  ]]

  for _, before in ipairs { "at its first reload", "after a reload" } do
    it("stays in a table that the file takes up again and puts no \z
      function into, " .. before, function()
      local with, without = source:gsub("FUNCTION", dropped), source:gsub("FUNCTION", "")
      app:module("taken", with)
      if before == "after a reload" then app:update("taken", with) end
      local taken = rawget(package.loaded._G, "Taken")
      local function_before = taken.dropped
      app:update("taken", without, { scope = "vm" })
      assert.equal(function_before, taken.dropped)
      assert.equal("dropped", taken.dropped(1))
    end)
  end

  it("is no older generation of a function that goes on, which the program has \z
    put into a table", function()
    local factory = [[
      local M = {}
      TABLE
      function M.make() return function() return "VERSION" end end
      return M
    ]]
    local function version(number, list)
      return (factory:gsub("VERSION", number):gsub("TABLE", list))
    end
    local M = app:module("factory", version("1", "M.list = {}"))
    local made = { M.make() }
    M.list.old = M.make
    app:update("factory", version("1", ""))
    app:update("factory", version("2", ""), vm)
    assert.equal("2", made[1]())
    assert.equal(M.make, M.list.old)
  end)
end)

describe("what a walk cannot follow (R9.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, budget_ms in ipairs { false, 1000 } do
    local how = budget_ms and " (in slices)" or ""

    local function warnings_of(name)
      local report = app:reloaded(name, { source = V2, scope = "vm", budget_ms = budget_ms or nil })
      local warnings = report.warnings
      if budget_ms then
        repeat
          local done, progress = app.hotreload.sweep(budget_ms)
          warnings = progress.warnings
        until done
      end
      return table.concat(warnings, "\n")
    end

    it("is told: calls in the middle of a very deep stack" .. how, function()
      local M = app:module("deep", V1)
      local function deep(n)
        local mine = M.f
        if n == 0 then coroutine.yield() else deep(n - 1) end
        return mine
      end
      local co = coroutine.create(deep)
      coroutine.resume(co, 8000)
      assert.equal("", warnings_of "deep")
      co = coroutine.create(deep)
      coroutine.resume(co, 9000)
      assert.matches("a coroutine is more than 8256 calls deep", warnings_of "deep", 1, true)
    end)

    it("is told: a loop over keys that follow" .. how, function()
      local M = app:module("loop", V1)
      local set, other = { [M.f] = true, [M.class.go] = true }, { M.f }
      for _ in pairs(other) do assert.equal("", warnings_of "loop") end
      assert.is_true(app.hotreload.undo "loop")
      local co = coroutine.wrap(function()
        for key in pairs(set) do coroutine.yield(key) end
      end)
      co()
      assert.matches("a loop is inside a table whose keys were replaced", warnings_of "loop",
        1, true)
      assert.same({ [M.f] = true, [M.class.go] = true }, set)
    end)
  end
end)

describe("a walk while something is compiled (R9.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- The chunk that is being compiled has the module's own source name: its function is of the
  -- module.
  local SCRIPT = [[
    local hotreload = require "hotreload"
    local text = "local n = 0 local M = {} " ..
      "function M.f() n = n + 1 return VERSION, n end " ..
      "function M.new() return function() return VERSION, n end end return M"
    local function version(v) return (text:gsub("VERSION", v)) end
    local file = io.open("m.lua", "w")
    file:write(version "1")
    file:close()
    local M = require "m"
    held = { M.f, M.new() }
    local function update(v, budget_ms)
      assert(gg.reload("m", { source = version(v), scope = "vm", budget_ms = budget_ms }))
    end
    local works = {
      reload = function() update "2" end,
      slices = function() update("2", 0.001) for _ = 1, 5 do hotreload.sweep(0.001) end end,
      stale = function() update "2" assert(hotreload.stale("m", { paths = true })) end,
      undo = function() update "3" assert(hotreload.undo "m") update "2" end,
      coroutine = function()
        coroutine.wrap(function() update "2" assert(hotreload.stale({ paths = true })) end)()
      end,
      kept = function()
        -- Whoever has the debug library can put the unfinished function anywhere.
        for level = 1, 8 do
          local info = debug.getinfo(level, "f")
          for n = 1, info and info.func == load and 20 or 0 do
            local _, value = debug.getlocal(level, n)
            if type(value) == "function" then M["kept" .. n] = value end
          end
        end
        update "2"
        assert(hotreload.changed())
      end,
    }
    local function pieces_of(code, between)
      local i = 0
      return function()
        i = i + 1
        if i == #code // 2 then between() end
        return i <= #code and code:sub(i, i) or nil
      end
    end
    local source = "local a = 1 local function f() return a end return function() return f() end"
    local up = 7
    local function nested() return up, function() return function() return up end end end
    local chunks = { text = source, binary = string.dump(load(source, "@./m.lua")),
      part = string.dump(nested) }
    for what, work in pairs(works) do
      for kind, code in pairs(chunks) do
        local chunk = assert(load(pieces_of(code, work), "@./m.lua"))
        if kind ~= "part" then assert(chunk()() == 1) end
        while not hotreload.sweep() do end
        assert(M.f() == 2 and held[1] == M.f and held[2]() == 2, what)
        update "1"
      end
    end
    print "whole"
  ]]

  it("leaves out the function that the compiler works on, or that is read from \z
    its binary form", function()
    local stdout, code, stderr = app:subprocess(SCRIPT)
    assert.equal("whole\n", stdout, stderr)
    assert.equal(0, code, stderr)
  end)
end)

describe("a sweep in slices (R9.4)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
  end)
  after_each(function()
    while not app.hotreload.sweep() do end
    app:unload()
  end)

  local function heap(size)
    local all = {}
    for i = 1, size do all[i] = { name = "row " .. i, f = i % 100 == 0 and M.f or nil } end
    return all
  end

  it("changes nothing outside of the module at first, and everything in the end", function()
    local all = heap(50000)
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 0.2 })
    assert.equal("v2", (M.f()))
    assert.equal("v1", (all[100].f()))
    local slices, done, progress = 0
    repeat
      slices = slices + 1
      done, progress = app.hotreload.sweep(0.2)
    until done or slices > 100000
    assert.is_true(done)
    assert.is_true(slices > 2)
    assert.is_true(progress.references >= 500)
    for i = 100, 50000, 100 do assert.equal(M.f, all[i].f) end
  end)

  it("warns as a sweep at once does: of keys that collide, and of why functions stay", function()
    local old = "local M, a = {}, 1 function M.make(x) return function() return a end end return M"
    local new = old:gsub("return a", "return a + x"):gsub("return M$", "SPEC_HAND(M.make) return M")
    local function warnings(name, budget_ms)
      local registry = {}
      local N = app:module(name, old)
      local closure = N.make()
      registry[N.make] = closure
      rawset(_G, "SPEC_HAND", hand(registry))
      local report = app:reloaded(name, { source = new, scope = "vm", budget_ms = budget_ms })
      rawset(_G, "SPEC_HAND", nil)
      local done, progress = not budget_ms, report
      if budget_ms then assert.same({}, report.warnings) end
      while not done do done, progress = app.hotreload.sweep(0.1) end
      assert.equal(closure, registry[N.make])
      return progress.warnings
    end
    local function texts(list)
      for i, text in ipairs(list) do list[i] = text:gsub("^%w+: ", "") end
      return list
    end
    local at_once = texts(warnings("whole"))
    assert.equal(2, #at_once)
    assert.same(at_once, texts(warnings("sliced", 0.1)))
  end)

  it("finds what the program moves about in between", function()
    local all, old = heap(20000), { M.f }
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 0.1 })
    local round = 0
    repeat
      round = round + 1
      local i = round % #all + 1
      all[i].f, all[#all - i + 1].f = old[1], all[i].f
      all[i].new = { all[i].f, co = coroutine.create(function() return all[i].f end) }
      if round % 7 == 0 then collectgarbage() end
    until app.hotreload.sweep(0.1) or round > 100000
    assert.is_true((app.hotreload.sweep()))
    for i = 1, #all do
      local f = all[i].f
      assert.is_true(f == nil or f == M.f)
      assert.is_true(all[i].new == nil or all[i].new[1] == nil or all[i].new[1] == M.f)
    end
  end)

  it("is done at once when none is under way", function()
    local done, progress = app.hotreload.sweep(1)
    assert.is_true(done)
    assert.equal(0, progress.references)
    assert.same({}, progress.warnings)
  end)

  it("knows functions by their source, whatever was collected in between", function()
    -- Names of the same length: a new one comes to stand where an old one stood.
    local old = "local M = {} function M.f() return 1 end return M"
    local function name(i)
      return ("a module of two, the name of which is a long string %d"):format(i)
    end
    local N = app:module(name(1), old)
    app:module(name(2), old)
    local function functions_of(i)
      local held = {}
      for k = 1, 300 do held[k] = load("return 0", "@" .. app:path(name(i))) end
      return held
    end
    local all, held = {}, functions_of(2)
    for i = 1, 20000 do all[i] = { f = N.f } end
    for i = 1, 2 do app:write(name(i), (old:gsub("1", "2"))) end
    app:reloaded({ name(1), name(2) }, { scope = "vm", budget_ms = 0.1 })
    local done, progress
    repeat done, progress = app.hotreload.sweep(0.5) until progress.passes > 0
    assert.is_false(done)
    assert.equal(300, #held)
    held = nil -- luacheck: ignore
    collectgarbage()
    held = functions_of(1)
    repeat done, progress = app.hotreload.sweep(0.5) until done
    assert.equal(300, #held)
    assert.equal(N.f, all[1].f)
    assert.equal(1, #progress.warnings)
    assert.matches("^" .. name(1) .. ": 300 functions of old line 0", progress.warnings[1])
  end)

  it("goes on to the end without a budget", function()
    local all = heap(2000)
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 1 })
    assert.is_true((app.hotreload.sweep()))
    assert.equal(M.f, all[100].f)
  end)

  it("is joined by a second reload of the same module", function()
    local all = heap(20000)
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 0.1 })
    app.hotreload.sweep(0.1)
    app:reloaded("m", { source = V1:gsub("v1", "v3"), scope = "vm", budget_ms = 0.1 })
    app.hotreload.sweep()
    for i = 100, 20000, 100 do assert.equal("v3", (all[i].f())) end
  end)

  it("is joined by a reload of a swept module in module scope, and by another module", function()
    local N = app:module("n", "return { g = function() return 'n1' end }")
    local all = heap(20000)
    all[1].f = N.g
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 0.1 })
    app:reloaded("n",
      { source = "return { g = function() return 'n2' end }", scope = "vm", budget_ms = 0.1 })
    app:reloaded("m", { source = V1:gsub("v1", "v3") })
    app.hotreload.sweep()
    assert.equal("n2", all[1].f())
    for i = 100, 20000, 100 do assert.equal("v3", (all[i].f())) end
  end)

  it("is finished before an undo", function()
    local all = heap(2000)
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 1 })
    assert.is_true(app.hotreload.undo "m")
    assert.is_true((app.hotreload.sweep(1)))
    for i = 100, 2000, 100 do assert.equal("v1", (all[i].f())) end
  end)

  it("brings nothing anywhere of a reload whose hook raises", function()
    local all = heap(2000)
    local raises = V2:gsub("return M%s*$", "function M.__hotfix() error 'in the hook' end return M")
    assert.is_false((app.hotreload.reload("m", { source = raises, scope = "vm", budget_ms = 1 })))
    assert.is_true((app.hotreload.sweep()))
    assert.equal("v1", (M.f()))
    for i = 100, 2000, 100 do assert.equal(M.f, all[i].f) end
    app:reloaded("m", { source = V2, scope = "vm", budget_ms = 1 })
    app.hotreload.sweep()
    for i = 100, 2000, 100 do assert.equal("v2", (all[i].f())) end
  end)

  it("takes back what it has brought of a reload whose hook never ends, \z
    and goes on with the others", function()
    local N = app:module("n", "return { g = function() return 'n1' end }")
    local all = heap(20000)
    all[1].f = N.g
    app:reloaded("n",
      { source = "return { g = function() return 'n2' end }", scope = "vm", budget_ms = 0.1 })
    local waits = V2:gsub("return M%s*$", "function M.__hotfix() coroutine.yield() end return M")
    local waiting = coroutine.create(app.hotreload.reload)
    coroutine.resume(waiting, "m", { source = waits, scope = "vm", budget_ms = 0.1 })
    for _ = 1, 50 do app.hotreload.sweep(0.1) end
    coroutine.close(waiting)
    assert.is_true((app.hotreload.sweep()))
    assert.equal("v1", (M.f()))
    for i = 100, 20000, 100 do assert.equal(M.f, all[i].f) end
    assert.equal("n2", all[1].f())
    assert.equal(0, select(2, app.hotreload.sweep()).references)
  end)

  describe("that a hotfix and its revert have joined", function()
    local SOURCE =
      "local M = {} function M.new(i) return function() return i, 'VERSION' end end return M"
    local function version(name) return (SOURCE:gsub("VERSION", name)) end
    local timer, N

    local function reverted()
      N = app:module("reverted", version "v1")
      timer = { N.new(1) }
      app:update("reverted", version "v2", { scope = "vm", budget_ms = 0.1 })
      timer[2] = N.new(2)
      app:update("reverted", version "v1")
      timer[3] = N.new(3)
    end

    local function assert_runs(name)
      for i, f in ipairs(timer) do assert.same({ i, name }, { f() }) end
    end

    it("ends with slices, and all runs the code of the revert", function()
      reverted()
      local slices = 0
      repeat slices = slices + 1 until app.hotreload.sweep(1) or slices == 1000
      assert.is_true(slices < 1000)
      assert_runs "v1"
      assert.same({}, app.hotreload.stale "reverted")
    end)

    it("ends without a budget", function()
      reverted()
      local done, progress = app.hotreload.sweep()
      assert.is_true(done)
      assert.is_true(progress.passes <= 3)
      assert_runs "v1"
    end)

    it("ends before a reload at once, which goes on from the revert", function()
      reverted()
      app:update("reverted", version "v3", { scope = "vm" })
      assert_runs "v3"
    end)

    it("ends before an undo", function()
      reverted()
      assert.is_true(app.hotreload.undo "reverted")
      assert.is_true((app.hotreload.sweep()))
      assert.same({ 2, "v2" }, { timer[2]() })
    end)

    it("ends before the 33rd reload that joins it", function()
      reverted()
      for i = 1, 40 do app:update("reverted", version(i % 2 == 0 and "v1" or "v2")) end
      assert.is_true((app.hotreload.sweep()))
      assert_runs "v1"
    end)
  end)

  it("ends, with a warning, though a loop of old code makes functions all the time", function()
    local source = [[
      local M = {}
      function M.loop() while true do coroutine.yield(function() return "VERSION" end) end end
      return M
    ]]
    local N = app:module("loops", (source:gsub("VERSION", "v1")))
    local loop = coroutine.wrap(N.loop)
    local made = { loop() }
    app:update("loops", (source:gsub("VERSION", "v2")), { scope = "vm", budget_ms = 1 })
    local slices, done, progress = 0
    repeat
      slices, made[#made + 1] = slices + 1, loop()
      done, progress = app.hotreload.sweep(1000)
    until done or slices == 1000
    assert.is_true(slices < 1000)
    assert.equal("v2", made[1]())
    assert.matches("the program goes on making them",
      progress.warnings[#progress.warnings], 1, true)
  end)

  it("binds incoming functions that others hold, in a later slice", function()
    local bus = {}
    rawset(_G, "SPEC_HAND", function(f) bus[#bus + 1] = f end)
    M.f()
    local source = V2:gsub("return M%s*$", "SPEC_HAND(function() return count end) return M")
    app:reloaded("m", { source = source, scope = "vm", budget_ms = 1 })
    rawset(_G, "SPEC_HAND", nil)
    collectgarbage()
    app.hotreload.sweep()
    M.f()
    assert.equal(2, bus[1]())
  end)

  it("raises for a budget that is no positive number", function()
    for _, wrong in ipairs { "1", 0, -1, 0 / 0, 1 / 0, {} } do
      assert.is_false((pcall(app.hotreload.sweep, wrong)))
      assert.is_false((pcall(app.hotreload.reload, "m", { scope = "vm", budget_ms = wrong })))
    end
    assert.is_false((pcall(app.hotreload.reload, "m", { budget_ms = 1 })))
  end)
end)

describe("modules of one bundle, with scope = 'vm' (R9.2)", function()
  local app
  local G = package.loaded._G
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local source = [[
    package.preload["b.one"] = function()
      local M, count = {}, 0
      function M.make(n) return function() count = count + 1 return "one 1", n end end
      local function helper() return "helper 1" end
      function M.f() count = count + 1 return "f 1", count, helper() end
      HANDLERS[#HANDLERS + 1] = function() return "handler of one" end
      return M
    end
    package.preload["b.two"] = function()
      local one = require "b.one"
      local M, total = {}, 0
      function M.make(n) return function() total = total + 1 return "two 1", n end end
      local function helper() return "helper 1" end
      function M.f() total = total + 1 return "f 1", total, helper(), (one.f()) end
      HANDLERS[#HANDLERS + 1] = function() return "handler of two" end
      return M
    end
    return true
  ]]

  local function load_all(text, one, two)
    G.HANDLERS = {}
    app:module("bundle", text)
    return app:load(one), app:load(two)
  end

  it("leave each other's functions alone, and do not count them", function()
    local one, two = load_all(source, "b.one", "b.two")
    local held = { one.make(1), two.make(2) }
    one.f()
    for _, name in ipairs { "b.two", "b.one", "b.two" } do
      local report = app:reloaded(name, { scope = "vm" })
      assert.same({ {}, 0 }, { report.warnings, report.stale })
      assert.same({}, app.hotreload.stale(name))
    end
    assert.same({ "one 1", "two 1" }, { (held[1]()), (held[2]()) })
    assert.same({ "f 1", 3, "helper 1" }, { one.f() })
  end)

  it("follow a new bundle one by one, each on its own data", function()
    local text = source:gsub('"b%.', '"c.')
    local one, two = load_all(text, "c.one", "c.two")
    app:reloaded "c.two" -- from now on its last loader is known
    local held = { one.make(1), two.make(2) }
    one.f()
    two.f()
    local new = "\n" .. text:gsub(' 1"', ' 2"'):gsub("handler of", "new handler of")
    app:update("bundle", new) -- the loaders alone
    local first = G.HANDLERS[1]
    local report = app:reloaded("c.two", { scope = "vm" })
    assert.same({ {}, 0 }, { report.warnings, report.stale })
    assert.same({ "f 2", 2, "helper 2", "f 1" }, { two.f() })
    assert.same({ "one 1", 1, "two 2", 2 }, { held[1](), 1, held[2]() })
    assert.equal("handler of one", first())
    assert.equal(first, G.HANDLERS[1])
    assert.same({ "new handler of two", 2 }, { G.HANDLERS[2](), #G.HANDLERS })
    report = app:reloaded("c.one", { scope = "vm" })
    assert.same({ {}, 0 }, { report.warnings, report.stale })
    assert.same({ "one 2", 1 }, { held[1]() })
    assert.same({ "f 2", 6, "helper 2" }, { one.f() })
    assert.same({}, app.hotreload.stale "c.two")
  end)
end)
