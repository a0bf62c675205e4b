-- R10: the report, and dry runs.

local program = require "spec.support.program"

local V1 = [[
  local M, count, step = { limit = 10, label = "one" }, 0, 1
  local function helper() return "v1" end
  function M.bump() count = count + step return count end
  function M.peek() return count end
  function M.name() return helper() end
  function M.gone() return 1 end
  function M.same() return "same" end
  return M
]]
local V2 = [[
  local M, count, step = { limit = 20, label = "two", added_data = true }, 0, 1
  local added_cell = 5
  local function helper() return "v2" end
  function M.bump() count = count + step + 0 return count end
  function M.peek() return count end
  function M.name() return helper() end
  function M.same() return "same" end
  function M.added() return added_cell end
  return M
]]

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

describe("report (R10)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.bump()
    app:write("m", V2)
  end)
  after_each(function() app:unload() end)

  it("names the module and its file", function()
    local report = app:reloaded "m"
    assert.equal("m", report.module)
    assert.equal(app:path "m", report.file)
  end)

  it("counts generations for each module: 1 at first load, by require or by gg.reload", function()
    app:module("by_require", "return { f = print }")
    assert.equal(2, app:reloaded "by_require".generation)
    assert.equal(3, app:reloaded "by_require".generation)
    app:write("by_reload", "return { f = print }")
    assert.equal(1, app:reloaded "by_reload".generation)
    assert.equal(2, app:reloaded "by_reload".generation)
    assert.equal(4, app:reloaded "by_require".generation)
  end)

  it("starts at 1 again when the module was forgotten and loaded anew", function()
    for _ = 1, 3 do app:reloaded "m" end
    package.loaded.m = nil
    assert.equal(1, app:reloaded "m".generation)
    assert.equal(2, app:reloaded "m".generation)
  end)

  it("does not count failed and dry reloads as generations", function()
    local generation = app:reloaded "m".generation
    app:write("m", "error 'no'")
    app:refused "m"
    app:write("m", V2)
    app:reloaded("m", { dry_run = true })
    app:write("m", (V2:gsub("return M%s*$", "function M.__hotfix() error 'no' end return M")))
    app:refused "m"
    assert.equal(generation + 1, app:update("m", V2).generation)
  end)

  it("counts functions: replaced, added, removed, and those whose code differs", function()
    local report = app:reloaded("m", { report = "full" })
    assert.same({ "m.gone" }, report.paths.functions.removed)
    assert.same({ "m.added" }, report.paths.functions.added)
    assert.equal(1, report.functions.added)
    assert.equal(1, report.functions.removed)
    for _, name in ipairs { "m.bump", "m.peek", "m.name" } do
      assert.is_true(contains(report.paths.functions.replaced, name), name)
    end
    assert.is_true(contains(report.paths.functions.replaced, "m.name@helper"))
    assert.equal(4, report.functions.replaced) -- m.same stays (R3.6)
    assert.same({ "m.bump", "m.name@helper" }, report.paths.changed)
    assert.equal(2, report.changed)
  end)

  it("counts cells, shared ones once and _ENV not", function()
    local report = app:reloaded("m", { report = "full" })
    -- count, step and helper; added_cell.
    assert.same({ joined = 3, fresh = 1 }, report.cells)
    assert.equal(3, #report.paths.cells.joined)
    assert.same({ "m.added@added_cell" }, report.paths.cells.fresh)
  end)

  it("counts no function as added in whose place the program has chosen another one", function()
    local file = [[
      local M, by, inner = {}, function() return "file" end, { f = function() return "file" end }
      local both = function() return "both" end
      function M.set(f, t) by, inner, both = f, t, f end
      function M.call() return by(), inner.f(), both() end
    ]]
    local chosen = app:module("chosen", file .. "return M")
    local function mine() return "program" end
    chosen.set(mine, { f = mine })
    local report = app:update("chosen", "-- moved\n" .. file:gsub('"file"', '"new"') .. "return M")
    assert.same({ "program", "program", "program" }, { chosen.call() })
    assert.equal(0, report.functions.added)
    assert.matches("nothing to do", tostring(app:reloaded "chosen"), 1, true)
    report = app:update("chosen", file .. "M.list = { { both } } return M", { report = "full" })
    assert.same({ "chosen.list[1][1]" }, report.paths.functions.added)
    assert.equal("both", chosen.list[1][1]())
  end)

  it("counts data that was kept and data that was added", function()
    local report = app:reloaded("m", { report = "full" })
    assert.equal(1, report.data.added)
    assert.same({ "m.added_data" }, report.paths.data.added)
    assert.is_true(contains(report.paths.data.kept, "m.limit"))
    assert.is_true(contains(report.paths.data.kept, "m.label"))
    assert.is_true(report.data.kept >= 2)
  end)

  it("says that nothing changed when the file is the same", function()
    app:reloaded "m"
    local report = app:reloaded("m", { report = "full" })
    assert.equal(0, report.changed)
    assert.same({}, report.paths.changed)
    assert.same({}, report.paths.functions.added)
    assert.equal(0, report.functions.added)
    assert.equal(0, report.functions.replaced) -- all of them stay (R3.6)
    assert.equal(0, report.data.added)
  end)

  it("takes a change of a comment, of blank lines or of a line number for none", function()
    app:reloaded "m"
    assert.equal(0, app:update("m", "-- a comment\n\n\n" .. V2:gsub("\n", "\n\n")).changed)
  end)

  it("takes a changed constant, a changed upvalue and a changed nested \z
    function for a change", function()
    app:module("c",
      "local a, b = 1, 2 return { f = function() return 1 end, g = function() return a end, "
      .. "h = function() return function() return 3 end end, b = function() return b end }")
    local report = app:update("c", "local a, b = 1, 2 return { f = function() return 2 end, "
      .. "g = function() return b end, h = function() return function() return 4 end end, "
      .. "b = function() return b end }", { report = "full" })
    assert.is_true(contains(report.paths.changed, "c.f"))
    assert.is_true(contains(report.paths.changed, "c.h"))
    assert.is_false(contains(report.paths.changed, "c.b"))
    assert.equal(3, report.functions.replaced)
  end)

  it("counts nested tables, globals and metatables by their paths", function()
    local source = [[
      local N = setmetatable({ inner = { f = function() return 1 end } },
        { __call = function() return 1 end })
      N[1], N["odd key"] = function() return 1 end, function() return 1 end
      a_namespace = a_namespace or {}
      function a_namespace.f() return 1 end
      function a_global_function() return 1 end
      return N
    ]]
    app:module("n", source)
    local report = app:update("n", source:gsub("return 1", "return 2"), { report = "full" })
    assert.same({
      "_G.a_global_function", "_G.a_namespace.f", "n.inner.f", "n<metatable>.__call",
      'n["odd key"]', "n[1]",
    }, report.paths.functions.replaced)
    assert.same(report.paths.functions.replaced, report.paths.changed)
  end)

  it("has counts that are integers, equal to the lengths of the lists", function()
    local report = app:reloaded("m", { report = "full" })
    local function assert_counts(counts, lists)
      for key, list in pairs(lists) do
        assert.equal("integer", math.type(counts[key]), key)
        assert.equal(#list, counts[key], key)
      end
    end
    assert_counts(report.functions, report.paths.functions)
    assert_counts(report.cells, report.paths.cells)
    assert_counts(report.data, report.paths.data)
    assert_counts({ report.changed }, { report.paths.changed })
  end)

  it("has lists that are sorted", function()
    local report = app:reloaded("m", { report = "full" })
    local lists = 0
    local function walk(t)
      local sorted = table.move(t, 1, #t, 1, {})
      table.sort(sorted)
      for i, path in ipairs(sorted) do assert.equal(path, t[i]) end
      lists = lists + 1
      for key, value in pairs(t) do
        if type(key) == "string" then walk(value) end
      end
    end
    walk(report.paths)
    assert.equal(23, lists)
  end)

  it("has lists only when they were asked for, the same counts without", function()
    local full = app:reloaded("m", { report = "full", dry_run = true })
    local counts = app:reloaded "m"
    assert.is_nil(counts.paths)
    for _, key in ipairs { "functions", "cells", "data", "changed" } do
      assert.same(full[key], counts[key], key)
    end
    assert.is_nil(app:reloaded("m", { report = "counts" }).paths)
  end)

  it("has the time of each phase in milliseconds", function()
    local elapsed = app:reloaded "m".elapsed_ms
    local sum = 0
    for _, phase in ipairs { "find", "load", "pair", "plan", "commit" } do
      assert.is_number(elapsed[phase], phase)
      assert.is_true(elapsed[phase] >= 0, phase)
      sum = sum + elapsed[phase]
    end
    assert.is_true(elapsed.total >= sum * 0.99 and elapsed.total < 60000)
  end)

  it("has the time that a slow chunk takes under load", function()
    app:write("m", "local stop = os.clock() + 0.05 while os.clock() < stop do end " .. V2)
    local elapsed = app:reloaded "m".elapsed_ms
    assert.is_true(elapsed.load >= 45 and elapsed.total >= elapsed.load)
  end)

  it("is plain data: strings, numbers, booleans and tables of them without cycles", function()
    local seen = {}
    local function walk(value, path)
      local kind = type(value)
      if kind == "table" then
        assert.is_nil(seen[value], path)
        seen[value] = true
        if path ~= "report" then
          assert.is_nil(debug.getmetatable(value), path)
        end
        for k, v in next, value do
          assert.is_true(type(k) == "string" or math.type(k) == "integer", path)
          walk(v, path .. "." .. tostring(k))
        end
        seen[value] = nil
      else
        assert.is_true(kind == "string" or kind == "number" or kind == "boolean", path)
      end
    end
    walk(app:reloaded("m", { report = "full" }), "report")
    walk(app:reloaded("m", { dry_run = true }), "report")
    app:write("m", (V2:gsub("limit = 20", "limit = print")))
    walk(select(2, app:refused "m"), "report")
  end)

  it("is the caller's own: changing it changes no later one", function()
    local report = app:reloaded("m", { report = "full" })
    for key in next, report.paths.functions do report.paths.functions[key] = nil end
    local generation = report.generation
    report.functions, report.generation = nil, 99
    assert.equal(generation + 1, app:reloaded "m".generation)
    assert.equal(0, app:reloaded "m".functions.replaced)
  end)

  it("is a text for people when made a string", function()
    local text = tostring(app:reloaded("m", { report = "full" }))
    assert.matches("m", text)
    assert.is_nil(text:find "^table: ")
    assert.matches("^reloaded m: 2 functions changed, 1 added, ", text)
    assert.is_nil(tostring(app:reloaded "m"):find "^table: ")
    assert.matches("^would reload m: ", tostring(app:reloaded("m", { dry_run = true })))
  end)

  it("lists warnings as texts", function()
    local report = app:reloaded "m"
    assert.same({}, report.warnings)
    -- Both have changed the place: the running value stays, with a warning (R8).
    M.limit = 15
    report = app:update("m", (V2:gsub("limit = 20", "limit = 30")))
    assert.equal(1, #report.warnings)
    assert.truthy(report.warnings[1]:find("m.limit", 1, true))
  end)

  it("lists conflicts with path, both kinds and the incoming line, in the message, too", function()
    app:write("m", (V2:gsub("limit = 20", "limit = function() end,\n label2 = function() end"):gsub(
      "function M.peek%(%) return count end", "M.peek = 'text'")))
    local message, report = app:refused "m"
    assert.equal("m", report.module)
    assert.equal(2, #report.conflicts)
    local by_path = {}
    for _, conflict in ipairs(report.conflicts) do by_path[conflict.path] = conflict end
    assert.equal("number", by_path["m.limit"].running)
    assert.equal("function", by_path["m.limit"].file)
    assert.equal(1, by_path["m.limit"].line)
    assert.equal("function", by_path["m.peek"].running)
    assert.equal("string", by_path["m.peek"].file)
    for path in pairs(by_path) do
      assert.truthy(message:find(path, 1, true), message)
    end
    assert.is_nil(tostring(report):find "^table: ")
    assert.truthy(tostring(report):find("m.peek", 1, true))
    assert.equal("integer", math.type(report.functions.replaced))
    assert.same({}, app:update("m", V2).conflicts)
  end)

  it("lists what on_conflict settled", function()
    app:write("m", (V2:gsub("limit = 20", "limit = function() end")))
    for _, choice in ipairs { "keep", "replace" } do
      local report = app:reloaded("m", { on_conflict = choice, dry_run = true })
      assert.equal("m.limit", report.conflicts[1].path)
    end
  end)

  it("does not depend on the order in which tables are traversed (R3.4)", function()
    app:write("story", [[
      local M, shared = { list = { 1, 2 }, nested = { a = { f = print } } }, 0
      for i = 1, 20 do
        M["f" .. i] = function() shared = shared + i return shared end
        M.nested["t" .. i] = { g = function() return shared end }
      end
      return M
    ]])
    local out = app:subprocesses(20, [[
      require "hotreload"
      require "story"
      -- All lines move: no function stays (R3.6).
      local source = "\n" .. io.open "story.lua":read "a"
      local function write(value, indent)
        if type(value) ~= "table" then return print(indent .. tostring(value)) end
        local keys = {}
        for k in pairs(value) do keys[#keys + 1] = k end
        table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
        for _, k in ipairs(keys) do
          local differs = k == "elapsed_ms" or k == "content" or k == "time" -- in each process
          if not differs then print(indent .. tostring(k)) write(value[k], indent .. " ") end
        end
      end
      local ok, report = gg.reload("story", { report = "full", source = source })
      assert(ok, report)
      write(report, "")
      ok, report = gg.reload("story", { dry_run = true })
      assert(ok, report)
      write(report, "")
      local message
      ok, message, report = gg.reload("story", {
        source = "local M = { nested = { a = { f = 1 } } } \z
          for i = 1, 20 do M['f' .. i] = i end return M",
      })
      print(ok, message)
      write(report, "")
    ]])
    assert.matches("false\tmodule 'story'", out)
    assert.matches("story%.f20", out)
    assert.matches("story%.nested%.t7%.g", out)
  end)
end)

describe("options.dry_run (R10)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.bump()
  end)
  after_each(function() app:unload() end)

  local HARM = [[
    fresh_global, known_global = M, known_global or {}
    function known_global.method() return "v2" end
    package.loaded.fresh_key = require "dep"
    setmetatable(M, { __call = M.bump })
    require("other").handler = M.bump
    M.tree = { M, { M.bump } }
    function M.__hotfix() error "must not run" end
  ]]

  it("leaves the program exactly as it was and says what would happen", function()
    _G.known_global = { method = function() return "v1" end }
    app:write("dep", "dep_global = 1 return {}")
    app:module("other", "return {}")
    app:write("m", V2:gsub("return M%s*$", HARM .. "return M"))
    local before = program.fingerprint()
    local report = app:reloaded("m", { dry_run = true })
    before:assert_unchanged()
    assert.is_true(report.dry_run)
    assert.equal("m", report.module)
    assert.same({ "m.gone" }, report.paths.functions.removed)
    assert.is_true(contains(report.paths.functions.replaced, "_G.known_global.method"))

    app:write("m", V2:gsub("return M%s*$", HARM:gsub("function M.__hotfix.*", "") .. "return M"))
    local real = app:reloaded "m"
    assert.is_falsy(real.dry_run)
    assert.equal(report.generation, real.generation)
    assert.equal("v2", _G.known_global.method())
    assert.equal(2, M.bump())
  end)

  it("counts what the reload after it counts", function()
    app:write("m", V2)
    local dry = app:reloaded("m", { dry_run = true })
    local real = app:reloaded("m", { report = "full" })
    for _, key in ipairs { "functions", "changed", "cells", "data", "paths", "warnings",
      "conflicts", "generation" } do
      assert.same(real[key], dry[key], key)
    end
  end)

  it("says what is in the way: conflicts, a chunk that raises, a file that is gone", function()
    app:write("m", (V2:gsub("limit = 20", "limit = print")))
    local message, report = app:refused("m", { dry_run = true })
    assert.truthy(message:find("m.limit", 1, true))
    assert.equal(1, #report.conflicts)
    app:write("m", "x = 1 error 'the chunk raises'")
    assert.matches("the chunk raises", (app:refused("m", { dry_run = true })))
    app:remove "m"
    app:refused("m", { dry_run = true })
    app:update("m", V2)
    assert.equal(2, M.bump())
  end)

  it("does not load a module that is not loaded yet, nor run its hook", function()
    app:write("fresh", "fresh_global = 1 return { __hotfix = function() error 'must not run' end }")
    local before = program.fingerprint()
    app:reload("fresh", { dry_run = true })
    before:assert_unchanged()
    assert.is_nil(package.loaded.fresh)
    assert.equal(1, app:update("fresh", "return { f = print }").generation)
  end)

  it("leaves no trace after a hundred of them", function()
    app:write("m", V2)
    local before = program.fingerprint()
    for _ = 1, 100 do app:reloaded("m", { dry_run = true }) end
    before:assert_unchanged()
    assert.equal("m", app:reloaded "m".module)
  end)
end)
