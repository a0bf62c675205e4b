--- R6: a slot that holds a function on one side and something else on the other.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G

local app
local function start() app = program.new() end
local function stop() app:unload() end

local function by_path(report)
  local found = {}
  for _, conflict in ipairs(report.conflicts) do
    assert.is_nil(found[conflict.path], "listed twice: " .. conflict.path)
    found[conflict.path] = conflict
  end
  return found
end

local function paths(report)
  local list = {}
  for path in pairs(by_path(report)) do
    list[#list + 1] = path
  end
  table.sort(list)
  return list
end

describe("R6 a function in the program, something else in the file", function()
  before_each(start)
  after_each(stop)

  for kind, text in pairs { number = "1", string = "'s'", boolean = "false", table = "{ x = 1 }",
    userdata = "io.stdout", thread = "coroutine.create(print)" } do
    it("is refused where the file has a " .. kind, function()
      local M = app:module("M",
        "return { f = function() return 'old' end, g = function() return 'old' end }")
      app:write("M", ("return { f = %s, g = function() return 'new' end }"):format(text))
      local message, report = app:refused("M", nil, M)
      assert.matches("M.f", message, 1, true)
      assert.matches("function", message)
      assert.matches(kind, message)
      assert.equal(1, #report.conflicts)
      assert.same({ "M.f", "function", kind },
        { report.conflicts[1].path, report.conflicts[1].running, report.conflicts[1].file })
      assert.same({ "old", "old" }, { M.f(), M.g() })
      app:update("M",
        "return { f = function() return 'corrected' end, g = function() return 'corrected' end }")
      assert.same({ "corrected", "corrected" }, { M.f(), M.g() })
    end)
  end

  it("is none where the file has nothing", function()
    local M = app:module("M", "return { f = function() return 'old' end }")
    local report = app:update("M", "return { f = nil, g = function() return 'new' end }")
    assert.same({}, report.conflicts)
    assert.same({ "old", "new" }, { M.f(), M.g() })
  end)

  it("is none where the function came from outside: a callback that was set at \z
    run time stays", function()
    local v1 =
      "return { on_done = DEFAULT, f = function() return 'old' end, sub = { on_done = DEFAULT } }"
    for _, default in ipairs { "false", "0", "''", "{}" } do
      local name = "M" .. #default
      app:write(name, (v1:gsub("DEFAULT", default)))
      local M = app:load(name)
      local function callback() return "callback" end
      M.on_done, M.sub.on_done = callback, print
      local report = app:update(name, (v1:gsub("DEFAULT", default):gsub("old", "new")))
      assert.same({}, report.conflicts)
      assert.equal(callback, M.on_done)
      assert.equal(print, M.sub.on_done)
      assert.equal("new", M.f())
      package.loaded[name] = nil
    end
  end)

  it("is none where the function is the module's own and lives on elsewhere: \z
    the state follows it", function()
    local v1 = [[
      local M = { state = false, box = { state = "none" } }
      local function private() return "old private" end
      function M.idle() return "old idle" end
      function M.go() M.state, M.box.state = M.idle, private end
      function M.private() return private() end
      return M
    ]]
    local M = app:module("M", v1)
    M.go()
    local report = app:update("M", (v1:gsub("old", "new")))
    assert.same({}, report.conflicts)
    assert.equal(M.idle, M.state)
    assert.same({ "new idle", "new private" }, { M.state(), M.box.state() })
    app:update("M", (v1:gsub("old", "newer")))
    assert.same({ "newer idle", "newer private" }, { M.state(), M.box.state() })
  end)
end)

describe("R6 something else in the program, a function in the file", function()
  before_each(start)
  after_each(stop)

  for kind, value in pairs { number = 0, string = "", boolean = false, table = { 1 },
    userdata = io.stdout } do
    it("is refused where the program has a " .. kind, function()
      app.hotreload.track(false) -- without a record what the program removes comes back
      local M = app:module("M",
        "return { f = function() return 'old' end, g = function() return 'old' end }")
      M.f = value
      app:write("M", "return { f = function() return 'new' end, g = function() return 'new' end }")
      local message, report = app:refused("M", nil, M)
      assert.matches("M.f", message, 1, true)
      assert.matches("function", message)
      assert.matches(kind, message)
      assert.same({ "M.f" }, paths(report))
      assert.same({ kind, "function", 1 },
        { report.conflicts[1].running, report.conflicts[1].file, report.conflicts[1].line })
      assert.matches("^" .. kind .. (kind == "table" and " of 1 entry" or ""),
        report.conflicts[1].running_value)
      assert.equal("function", report.conflicts[1].file_value)
      assert.equal(value, M.f)
      assert.equal("old", M.g())
      M.f = nil
      app:reloaded("M")
      assert.same({ "new", "new" }, { M.f(), M.g() })
    end)
  end

  it("is refused where the program has a table that can be called", function()
    local M = app:module("M",
      "return { f = setmetatable({}, { __call = function() return 'called' end }) }")
    app:write("M", "return { f = function() return 'new' end }")
    local _, report = app:refused("M", nil, M)
    assert.same({ "M.f" }, paths(report))
    assert.equal("called", M.f())
  end)

  it("is none where the program has nothing", function()
    app.hotreload.track(false)
    local M = app:module("M", "return { f = function() return 'old' end }")
    M.f = nil
    local report = app:update("M", "return { f = function() return 'new' end }")
    assert.same({}, report.conflicts)
    assert.equal("new", M.f())
  end)
end)

describe("R6 where a conflict is found", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    conflict_global = function() return "old" end
    GLOBAL_TABLE = { f = function() return "old" end }
    local hidden = { f = function() return "old" end }
    local M = {
      f = function() return "old" end,
      fine = function() return hidden.f() end,
      a = { b = { c = { f = function() return "old" end, data = 1 } } },
      list = { function() return "old" end },
      ["odd key"] = { [true] = function() return "old" end },
    }
    return setmetatable(M, { __call = function() return "old" end, __index = { meta_data = 1 } })
  ]]
  local v2 = [[
    conflict_global = "data"
    GLOBAL_TABLE = { f = "data" }
    local hidden = { f = "data" }
    local M = {
      f = "data",
      fine = function() return hidden.f end,
      a = { b = { c = { f = "data",
        data = function() return "line 8" end } } },
      list = { "data" },
      ["odd key"] = { [true] = "data" },
    }
    return setmetatable(M, { __call = "data",
      __index = function() return "line 13" end })
  ]]
  local everywhere = probe.sorted {
    "_G.conflict_global", "_G.GLOBAL_TABLE.f", "M.f", "M.fine@hidden.f", "M.a.b.c.f",
    "M.a.b.c.data", 'M["odd key"][true]', "M<metatable>.__call",
  }

  it("is told in full: the message and the report have every one of them", function()
    local M = app:module("M", v1)
    app:write("M", v2)
    local message, report = app:refused("M", nil, M)
    assert.same(everywhere, paths(report))
    for _, path in ipairs(everywhere) do
      assert.matches(path, message, 1, true)
    end
    for path, conflict in pairs(by_path(report)) do
      local data_first = path:find "data$"
      assert.is_true(conflict.running ~= "function" == (data_first ~= nil), path)
      assert.is_true(conflict.file == "function" == (data_first ~= nil), path)
    end
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected", "corrected", "corrected" }, { M.fine(), M.a.b.c.f(), M() })
  end)

  it("is no element of a list: one is gone, another is new (R5.3)", function()
    local text = "return { list = { function() return 'old' end, 'word' } }"
    local M = app:module("M", text)
    local report = app:update("M", (text:gsub("function.-end", "'data'")), { report = "full" })
    assert.same({ "M.list[1]" }, report.paths.functions.removed)
    assert.same({ "old", "word" }, { M.list[1](), M.list[2] })
    assert.equal(2, #M.list)
  end)

  it("is told with the line of the file's function", function()
    local M = app:module("M", v1)
    app:write("M", v2)
    local message, report = app:refused("M", nil, M)
    local found = by_path(report)
    assert.equal(probe.line_of(v2, "line 8"), found["M.a.b.c.data"].line)
    assert.is_nil(found["M<metatable>.__index"], "behaviour, be it a table or a function")
    for line in message:gmatch "[^\n]+" do
      if line:find("M.a.b.c.data", 1, true) then
        assert.matches("%f[%d]8%f[%D]", line)
        assert.matches("number", line)
        assert.matches("function", line)
      end
    end
  end)

  it("is told with the reason why the two are compared (R10.6)", function()
    local function module(former, hp, hits)
      return (([[
        local M = { FORMER = { hp = %s }, list = { { name = "a", run = function() end }, {} } }
        local hits = %s
        function M.FORMER.roar() return "a roar", #tostring(hits) end
        function M.set(x) M.FORMER.hp, hits = x, x end
        return M
      ]]):format(hp, hits):gsub("FORMER", former))
    end
    local M = app:module("M", module("orc", 5, 1))
    M.set(7)
    app:write("M", module("troll", "{}", "{}"))
    local message, report = app:refused("M", nil, M)
    local found = by_path(report)
    assert.equal("by place; M.troll: M.orc before, by likeness", found["M.troll.hp"].matched)
    assert.matches("M.troll.hp: number 7 while it runs, table of 0 entries in the file"
      .. " (line 1), matched by place; M.troll: M.orc before, by likeness", message, 1, true)
    assert.equal("by name", found["M.set@hits"].matched)
    assert.matches("matched by name", tostring(report), 1, true)
  end)

  it("is told without addresses, which nobody can look up, where a key is a \z
    table or a function", function()
    local source = [[
      local sub = {}
      return { sub = sub, by_table = { [sub] = { f = function() end } },
        by_function = { [print] = function() end } }
    ]]
    local M = app:module("M", source)
    app:write("M", (source:gsub("function%(%) end", "5")))
    local message, report = app:refused("M", nil, M)
    assert.equal(2, #report.conflicts)
    assert.not_matches("0x%x+", message)
    assert.matches("M.by_table", message, 1, true)
    assert.matches("M.by_function", message, 1, true)
  end)

  it("is told in a message that a person can read, however deep it lies", function()
    local chain = [[
      local head = {}
      local t = head
      for i = 1, 100000 do
        t.next = {}
        t = t.next
      end
      t.last = function() return "old" end
      return { head = head }
    ]]
    local M = app:module("M", chain)
    app:write("M", (chain:gsub("function%(%).-end", "5")))
    local ok, message, report = app:reload("M")
    assert.is_false(ok)
    assert.is_true(#message < 4096)
    assert.matches("M%..*last", message)
    assert.equal(1, #report.conflicts)
    assert.is_true(#report.conflicts[1].path < 1024)
    app:update("M", (chain:gsub("old", "corrected")))
    local t = M.head
    while t.next do t = t.next end
    assert.equal("corrected", t.last())
  end)

  it("is told once for a table that has several names", function()
    local M = app:module("M", [[
      local t = { f = function() end }
      return { a = t, b = t, c = { t } }
    ]])
    app:write("M", "local t = { f = 1 } return { a = t, b = t, c = { t } }")
    local _, report = app:refused("M", nil, M)
    assert.equal(1, #report.conflicts)
  end)

  it("refuses the whole reload, though it is the only one, deep inside", function()
    local M = app:module("M", v1)
    app:write("M",
      (v1:gsub("old", "new"):gsub("end, data = 1", "end, data = print, added = 1")
        :gsub("local M = {", [[
      ADDED = {}
      %0 more = {}, ]])))
    local message, report = app:refused("M", nil, M)
    assert.matches("M.a.b.c.data", message, 1, true)
    assert.same({ "M.a.b.c.data" }, paths(report))
    assert.same({ "old", "old", "old", "old" },
      { M.f(), M.fine(), M.a.b.c.f(), G.conflict_global() })
    assert.is_nil(M.more)
    assert.is_nil(rawget(G, "ADDED"))
    app:update("M", (v1:gsub("old", "corrected")))
    assert.same({ "corrected", "corrected" }, { M.f(), M.a.b.c.f() })
  end)

  it("is in another module's table only where the chunk wrote there", function()
    app:write("other", "return { f = function() return 'other' end, n = 1 }")
    local M = app:module("M", "local other = require 'other' return { other = other }")
    local other = app:load "other"
    app:write("M",
      "local other = require 'other' other.n = function() end return { other = other }")
    local message = app:refused("M", nil, M)
    assert.matches("other", message)
    assert.equal(1, other.n)
    app:update("M",
      "local other = require 'other' return { other = other, f = function() return other.n end }")
    assert.equal(1, M.f())
  end)
end)

describe("R6 on_conflict", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local n = 0
    local M = { to_function = 1, sub = { to_function = { "data" } } }
    function M.to_data() n = n + 1 return n end
    function M.sub.to_table() return "old" end
    function M.fine() return "old", n end
    return M
  ]]
  local v2 = [[
    local n = 0
    local M = { to_data = "data", sub = {} }
    M.sub.to_table = { owner = M, sub = M.sub }
    function M.to_function() n = n + 10 return n, M end
    function M.sub.to_function() return "new" end
    function M.fine() return "new", n end
    return M
  ]]
  local all = { "M.sub.to_function", "M.sub.to_table", "M.to_data", "M.to_function" }

  it("is 'error' by default", function()
    local M = app:module("M", v1)
    app:write("M", v2)
    local message, report = app:refused("M", nil, M)
    assert.same(all, paths(report))
    local same_message, same_report = app:refused("M", { on_conflict = "error" }, M)
    assert.equal(message, same_message)
    assert.same(report.conflicts, same_report.conflicts)
  end)

  it("'keep' keeps what the program has, and reloads the rest", function()
    local M = app:module("M", v1)
    local data, to_data, to_table = M.sub.to_function, M.to_data, M.sub.to_table
    M.to_data()
    app:write("M", v2)
    local report = app:reloaded("M", { on_conflict = "keep" })
    assert.same(all, paths(report))
    assert.same({ 1, data, to_data, to_table },
      { M.to_function, M.sub.to_function, M.to_data, M.sub.to_table })
    assert.same({ "new", 1 }, { M.fine() })
    assert.equal(2, M.to_data())
    assert.same({ "new", 2 }, { M.fine() })
  end)

  it("'replace' takes what the file has, with running tables in it and on running cells", function()
    local M = app:module("M", v1)
    local sub = M.sub
    M.to_data()
    app:write("M", v2)
    local report = app:reloaded("M", { on_conflict = "replace" })
    assert.same(all, paths(report))
    assert.equal("data", M.to_data)
    assert.equal("new", M.sub.to_function())
    assert.equal(M, M.sub.to_table.owner)
    assert.equal(sub, M.sub)
    assert.equal(sub, M.sub.to_table.sub)
    local n, object = M.to_function()
    assert.equal(11, n)
    assert.equal(M, object)
    assert.same({ "new", 11 }, { M.fine() })
  end)

  it("leaves a callback of the program alone, whatever it says", function()
    for _, choice in ipairs { "error", "keep", "replace" } do
      local M = app:module("M", "return { on_done = false, f = function() return 'old' end }")
      M.on_done = print
      local report = app:update("M", "return { on_done = {}, f = function() return 'new' end }",
        { on_conflict = choice })
      assert.same({}, report.conflicts)
      assert.equal(print, M.on_done)
      assert.equal("new", M.f())
      package.loaded.M = nil
    end
  end)

  it("does not save a reload that fails for another reason", function()
    local M = app:module("M", v1)
    app:write("M", (v2:gsub("return M%s*$", "error 'late'")))
    for _, choice in ipairs { "keep", "replace" } do
      assert.matches("late", app:refused("M", { on_conflict = choice }, M))
    end
    assert.same({ "old", 0 }, { M.fine() })
    app:update("M", v1)
    assert.equal(1, M.to_data())
  end)
end)

describe("R6 the kind of what a module returns", function()
  before_each(start)
  after_each(stop)

  local kinds = {
    table =
      "function returned() return 'VERSION' end return { f = function() return 'VERSION' end }",
    ["function"] =
      "function returned() return 'VERSION' end return function() return 'VERSION' end",
    number = "function returned() return 'VERSION' end return 42",
    nothing = "function returned() return 'VERSION' end",
  }
  for running in pairs(kinds) do
    for file in pairs(kinds) do
      if running ~= file and running ~= "number" then
        it(("is a conflict when %s becomes %s"):format(running, file), function()
          local M = app:module("M", (kinds[running]:gsub("VERSION", "old")))
          app:write("M", (kinds[file]:gsub("VERSION", "new")))
          local message = app:refused("M", nil, M)
          assert.matches("M", message)
          assert.is_truthy(message:find(file) or file == "nothing" and message:find "nil")
          assert.equal(M, package.loaded.M)
          assert.equal("old", G.returned())
          app:update("M", (kinds[running]:gsub("VERSION", "corrected")))
          assert.equal("corrected", G.returned())
          if running == "table" then
            assert.equal(M, package.loaded.M)
            assert.equal("corrected", M.f())
          end
        end)
      end
    end
  end

  it("keeps the running one with on_conflict 'keep', and reloads the globals", function()
    local M = app:module("M", (kinds.table:gsub("VERSION", "old")))
    app:update("M", (kinds.nothing:gsub("VERSION", "new")), { on_conflict = "keep" })
    assert.equal(M, package.loaded.M)
    assert.equal("old", M.f())
    assert.equal("new", G.returned())
  end)

  it("takes the incoming one with on_conflict 'replace'", function()
    app:module("M", (kinds.table:gsub("VERSION", "old")))
    app:update("M", (kinds["function"]:gsub("VERSION", "new")), { on_conflict = "replace" })
    assert.equal("new", app:load "M"())
    assert.equal("new", G.returned())
  end)

  it("is no conflict when a function stays a function: it works on the old cells", function()
    local v1 = "local n = 0 return function() n = n + 1 return 'old', n end"
    local f = app:module("M", v1)
    f()
    app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", 2 }, { app:load "M"() })
    assert.same({ "old", 3 }, { f() })
  end)
end)

describe("R6 cells", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local log = function() return "old log" end
    local queue = { 1, 2, 3 }
    local limit = 5
    return { f = function() return log, queue, limit, "old" end, set = function(v) limit = v end }
  ]]
  local v2 = [[
    local log = { info = function() return "new log" end }
    local queue = function() return "new queue" end
    local limit = function() return 6 end
    return { f = function() return log, queue, limit, "new" end, set = function(v) limit = v end }
  ]]

  it("are in conflict where the kind differs and nobody knows whether the program has touched "
    .. "them", function()
    local M = app:module("M", v1)
    local log, queue = M.f()
    queue[4] = 4
    M.set(7)
    app:write("M", v2)
    local _, report = app:refused("M", nil, M)
    assert.is_truthy(by_path(report)["M.f@queue"])
    assert.is_truthy(by_path(report)["M.f@limit"])
    report = app:reloaded("M", { on_conflict = "keep" })
    assert.equal(queue, (select(2, M.f())))
    assert.same({ 7, "new" }, { select(3, M.f()) })
    assert.is_function(log)
    assert.is_truthy(by_path(report)["M.f@limit"])
  end)

  it("follow the file where the kind differs and the program has not touched them", function()
    require "hotreload".track()
    local M = app:module("M", v1)
    local report = app:update("M", v2)
    local log, queue, limit = M.f()
    assert.same({ "new log", "new queue", 6 }, { log.info(), queue(), limit() })
    assert.same({}, report.conflicts)
  end)

  it("warn of nothing where the file's kind is the one that it was", function()
    require "hotreload".track()
    local text = [[
      local log, queue, limit = function() return "old" end, {}, 5
      return { f = function() return log(), queue, limit end, set = function(v) limit = v end }
    ]]
    local M = app:module("M", text)
    M.set "another kind, but no function"
    local report = app:update("M", (text:gsub("old", "new")))
    assert.same({}, report.warnings)
    assert.same({ "new", {}, "another kind, but no function" }, { M.f() })
  end)

  it("take the file's value with on_conflict = 'replace'", function()
    local text = "local limit = %s "
      .. "return { f = function() return limit end, set = function(v) limit = v end }"
    local M = app:module("M", text:format "5")
    M.set(6)
    local report = app:update("M", text:format "function() return 'file' end",
      { on_conflict = "replace" })
    assert.equal("file", M.f()())
    assert.equal("M.f@limit", report.conflicts[1].path)
  end)
end)
