--- R5: what only the file has, what only the running program has, and what must not come twice.

local program = require "spec.support.program"
local probe = require "spec.support.probe"

local G = package.loaded._G

local app
local function start() app = program.new() end
local function stop() app:unload() end

describe("R5.1 what only the file has", function()
  before_each(start)
  after_each(stop)

  it("is added: functions, data and tables, at every depth", function()
    local M = app:module("M", "return { sub = { x = 1 } }")
    local sub = M.sub
    local report = app:update("M", [[
      return { f = function() return "added" end, n = 5, flag = false, list = { 1, 2, { 3 } },
        sub = { x = 2, g = function() return "added deep" end, deep = { deeper = { n = 7 } } } }
    ]], { report = "full" })
    assert.equal(sub, M.sub)
    assert.same({ "added", "added deep" }, { M.f(), sub.g() })
    assert.same({ 5, false, { 1, 2, { 3 } }, 1, 7 },
      { M.n, M.flag, M.list, sub.x, sub.deep.deeper.n })
    assert.equal(2, report.functions.added)
    assert.same({ "M.f", "M.sub.g" }, probe.sorted(report.paths.functions.added))
    for _, path in ipairs { "M.n", "M.flag", "M.list", "M.sub.deep" } do
      assert.is_true(probe.contains(report.paths.data.added, path), path)
    end
  end)

  it("is added to a table with raw access", function()
    local M = app:module("M", "return { sub = {} }")
    setmetatable(M.sub, { __newindex = error, __index = error })
    app:update("M", "return { sub = { n = 1, f = function() return 'added' end } }")
    assert.equal(1, rawget(M.sub, "n"))
    assert.equal("added", rawget(M.sub, "f")())
  end)

  it("is added once: the next reload replaces it and keeps its data", function()
    local M = app:module("M", "return {}")
    app:update("M", "local n = 1 return { f = function() n = n + 1 return n end, box = { v = 1 } }")
    local box = M.box
    M.f()
    box.v = 5
    app:update("M",
      "local n = 1 return { f = function() n = n + 10 return n end, box = { v = 2 } }")
    assert.equal(12, M.f())
    assert.equal(box, M.box)
    assert.equal(5, box.v)
  end)

  it("is not added by a reload that is refused", function()
    local M = app:module("M", "return { sub = {}, f = function() end }")
    app:write("M", "return { added = 1, sub = { g = function() end }, f = 5, box = {} }")
    app:refused("M", nil, M)
    assert.is_nil(M.added)
    assert.is_nil(M.sub.g)
    app:update("M",
      "return { added = 1, sub = { g = function() return 'g' end }, f = function() end, box = {} }")
    assert.same({ 1, "g", {} }, { M.added, M.sub.g(), M.box })
  end)
end)

describe("R5.1 no second copy of the module object", function()
  local witness
  before_each(function()
    start()
    witness = probe.witness(app)
  end)
  after_each(stop)

  -- A module object that the witness knows; `rest` may use M and old or new parts of it.
  local function source(rest)
    return [[
      local M = { sub = { n = 1 } }
      require "witness".note(M)
      require "witness".note(M.sub)
    ]] .. rest .. " return M"
  end

  local function reload_with(first, second)
    local M = app:module("M", source(first))
    app:update("M", source(second))
    return M
  end

  local function assert_one(M)
    witness.seen[M.sub] = nil
    assert.is_nil(witness:others(M))
  end

  it("is in added values", function()
    local M = reload_with("",
      "M.self, M.list, M.box = M, { M, { M } }, { deep = { owner = M, sub = M.sub } }")
    assert.equal(M, M.self)
    assert.equal(M, M.list[1])
    assert.equal(M, M.list[2][1])
    assert.equal(M, M.box.deep.owner)
    assert.equal(M.sub, M.box.deep.sub)
    assert_one(M)
  end)

  it("is in added keys", function()
    local M = reload_with("",
      "M.names = { [M] = 'module', [M.sub] = 'sub', [print] = 'print' } M[M.sub] = M")
    assert.equal("module", M.names[M])
    assert.equal("sub", M.names[M.sub])
    assert.equal("print", M.names[print])
    assert.equal(M, M[M.sub])
    assert_one(M)
  end)

  it("is in added metatables, nor in what they hold", function()
    local M = reload_with("", [[
      M.child = setmetatable({}, { __index = M, owner = M })
      M.of_itself = setmetatable({}, M)
      setmetatable(M.sub, { __index = M })
      setmetatable(M, { __index = function() return M end })
    ]])
    assert.equal(1, M.child.sub.n)
    assert.equal(M, getmetatable(M.child).owner)
    assert.equal(M, getmetatable(M.of_itself))
    assert.equal(M, getmetatable(M.sub).__index)
    assert.equal(M, M.anything)
    assert_one(M)
  end)

  it("is in the cells of added functions", function()
    local M = reload_with("", [[
      local private = { owner = M, [M] = true }
      local function helper() return M, private end
      local function through() return helper() end
      function M.get() return M end
      function M.private() return through() end
      M.box = { get = function() return function() return M, M.sub end end }
    ]])
    assert.equal(M, M.get())
    local object, private = M.private()
    assert.equal(M, object)
    assert.equal(M, private.owner)
    assert.is_true(private[M])
    local nested, sub = M.box.get()()
    assert.equal(M, nested)
    assert.equal(M.sub, sub)
    assert_one(M)
  end)

  it("is in the new cells of functions that were there before", function()
    local M = reload_with([[
      function M.get() return "nothing" end
    ]], [[
      local sub, wrapped = M.sub, { { M } }
      function M.get() return M, sub, wrapped end
    ]])
    local object, sub, wrapped = M.get()
    assert.equal(M, object)
    assert.equal(M.sub, sub)
    assert.equal(M, wrapped[1][1])
    assert_one(M)
  end)

  it("is in another module's fields that the chunk sets", function()
    app:write("registry", "return { by_name = {}, last = false }")
    local both = [[
      local registry = require "registry"
      registry.by_name.M = M
      registry.last = { module = M, sub = M.sub, get = function() return M, "old" end }
    ]]
    local M = reload_with(both, (both:gsub("old", "new")))
    local registry = app:load "registry"
    assert.equal(M, registry.by_name.M)
    assert.equal(M, registry.last.module)
    assert.equal(M.sub, registry.last.sub)
    local object, text = registry.last.get()
    assert.equal(M, object)
    assert.equal("new", text)
    assert_one(M)
  end)

  it("is in added globals", function()
    local M = reload_with("", "MODULE, BOX = M, { M = M } function get_module() return M, BOX end")
    assert.equal(M, rawget(G, "MODULE"))
    assert.equal(M, rawget(G, "BOX").M)
    local object, box = G.get_module()
    assert.equal(M, object)
    assert.equal(rawget(G, "BOX"), box)
    assert_one(M)
  end)

  it("is in package.loaded", function()
    local both = "package.loaded[...] = M package.loaded['M.alias'] = M"
    local M = reload_with(both, both .. " function M.loaded() return package.loaded.M end")
    assert.equal(M, package.loaded.M)
    assert.equal(M, package.loaded["M.alias"])
    assert.equal(M, M.loaded())
    assert_one(M)
  end)

  it("is in added closures of a loop, nor in a cycle of added tables", function()
    local M = reload_with("", [[
      local a, b = {}, {}
      a.b, b.a, a.m, b.m = b, a, M, M
      M.cycle, M.getters = a, {}
      for i, key in ipairs { "one", "two", "three" } do
        M.getters[key] = function() return M, i end
      end
    ]])
    assert.equal(M, M.cycle.m)
    assert.equal(M, M.cycle.b.m)
    assert.equal(M.cycle, M.cycle.b.a)
    for key, i in pairs { one = 1, two = 2, three = 3 } do
      local object, n = M.getters[key]()
      assert.equal(M, object)
      assert.equal(i, n)
    end
    assert_one(M)
  end)

  it("is in a chain of 100,000 added tables", function()
    local M = reload_with("", [[
      local t = {}
      M.chain = t
      for _ = 1, 100000 do
        t.next = {}
        t = t.next
      end
      t.owner = M
    ]])
    local t = M.chain
    while t.next do t = t.next end
    assert.equal(M, t.owner)
    assert_one(M)
  end)

  it("is there after several reloads that each add something", function()
    local M = app:module("M", source "")
    for n = 1, 5 do
      app:update("M",
        source(("M.box_%d = { M, M.sub } function M.get_%d() return M, M.sub end"):format(n, n)))
      assert.equal(M, M["box_" .. n][1])
      assert.equal(M, (M["get_" .. n]()))
    end
    assert_one(M)
  end)

  it("is left over from a reload that was refused", function()
    local M = app:module("M", source "function M.f() return 'old' end")
    app:write("M", source "M.box = { M } function M.f() return M end error 'late'")
    app:refused("M", nil, M)
    app:write("M", source "M.box = { M } M.f = { M }")
    app:refused("M", nil, M)
    assert_one(M)
    app:update("M", source "M.box = { M } function M.f() return M end")
    assert.equal(M, M.f())
    assert.equal(M, M.box[1])
    assert_one(M)
  end)
end)

describe("R5.2 what only the running program has", function()
  before_each(start)
  after_each(stop)

  it("stays, and the report lists the functions among it as removed", function()
    local M = app:module("M", [[
      local count = 0
      local M = { sub = { f = function() end }, data = 1 }
      function M.gone() count = count + 1 return count end
      function M.sub.gone_too() return "still here" end
      function M.get() return count end
      return M
    ]])
    M.gone()
    M.extra = "run time"
    local report = app:update("M", [[
      local count = 0
      local M = { sub = { f = function() end } }
      function M.get() return count end
      return M
    ]], { report = "full" })
    assert.same({ 2, 2 }, { M.gone(), M.get() })
    assert.same({ "still here", 1, "run time" }, { M.sub.gone_too(), M.data, M.extra })
    assert.equal(2, report.functions.removed)
    assert.same({ "M.gone", "M.sub.gone_too" }, probe.sorted(report.paths.functions.removed))
  end)

  it("is not removed by the file where the program has put it there", function()
    local M = app:module("M", [[
      local M = { sub = { f = function() end } }
      function M.make(n) return function() return n end end
      function M.short(n) return function() return n end end
      function M.gone() end
      return M
    ]])
    M.made, M.sub.made, M.short_made = M.make(1), M.make(2), M.short(3)
    for _ = 1, 3 do
      local report = app:update("M", [[
        local M = { sub = { f = function() end } }
        function M.make(n) return function() return n end end
        function M.short(n) return function() return n end end
        return M
      ]], { report = "full" })
      assert.same({ "M.gone" }, report.paths.functions.removed)
      assert.same({ 1, 2, 3 }, { M.made(), M.sub.made(), M.short_made() })
    end
  end)

  it("is not in the report of a module that hands on another one's object", function()
    local source = "local M = {} function M.f() return 1 end function M.g() return 2 end return M"
    app:write_file("pack/init.lua", "return require 'pack.pack'")
    app:write_file("other/init.lua", "return require 'pack.pack'")
    local M = app:module("pack.pack", source)
    G.package.path = app.dir .. "/?/init.lua;" .. G.package.path
    for _, name in ipairs { "pack", "other" } do
      assert.equal(M, app:load(name))
      for _, scope in ipairs { "module", "vm" } do
        local report = app:reloaded(name, { report = "full", scope = scope })
        assert.same({}, report.paths.functions.removed)
        assert.same({ {}, 0 }, { report.warnings, report.stale or 0 })
      end
      local plan = app.hotreload.plan(name)
      assert.equal(("would reload %s: nothing to do"):format(name), plan:match "^[^,]+")
    end
    app:update("pack.pack", (source:gsub("return 1", "return 'new'")))
    assert.equal("new", M.f())
  end)

  it("stays under a long key, and keeps its local, beside a function of the file \z
    under one alike", function()
    local function key(i)
      return "\xd3\x08\xa3\x85\x88\x6a\x3f\x24" .. ("%08d"):format(i) .. ("k"):rep(32)
    end
    G.commands, G.first, G.second = {}, key(1), key(2)
    app:module("M",
      "local count = 0 commands[second] = function() count = count + 1 return count end")
    G.commands[G.second]()
    local report = app:update("M",
      "local count = 100 commands[first] = function() return tonumber(('%d'):format(count)) end")
    assert.equal(1, report.functions.removed)
    assert.same({ 2, 2 }, { G.commands[G.second](), G.commands[G.first]() })
  end)

  it("stays in globals and in metatables", function()
    local M = app:module("M", [[
      function kept_global() return "kept" end
      return setmetatable({},
        { __call = function() return "kept call" end, __index = function() return "old" end })
    ]])
    app:update("M", "return setmetatable({}, { __index = function() return 'new' end })")
    assert.equal("kept", G.kept_global())
    assert.equal("kept call", M())
    assert.equal("new", M.anything)
  end)

  it("stays a table of functions that the file dropped", function()
    local M = app:module("M",
      "return { tools = { f = function() return 'tool' end }, f = function() end }")
    local tools = M.tools
    app:update("M", "return { f = function() return 'new' end }")
    assert.equal(tools, M.tools)
    assert.same({ "tool", "new" }, { tools.f(), M.f() })
  end)

  it("comes back under the new code when the file has it again", function()
    local v1 = "local n = 0 return { f = function() n = n + 1 return 'old', n end, \z
      get = function() return n end }"
    local M = app:module("M", v1)
    M.f()
    app:update("M", "local n = 0 return { get = function() return n end }")
    M.f()
    local report = app:update("M", (v1:gsub("old", "new")))
    assert.same({ "new", 3 }, { M.f() })
    assert.equal(3, M.get())
    local functions = report.functions
    assert.same({ 1, 0, 0 }, { functions.replaced, functions.added, functions.removed })
  end)

  it("is not reported as removed where it is data or was never a function \z
    of the module's", function()
    local M = app:module("M", "return { n = 1, t = { x = 1 }, f = function() end }")
    M.t.more, M.list = 2, { 1, 2, 3 }
    local report = app:update("M", "return { f = function() return 'new' end }")
    assert.equal("new", M.f())
    assert.equal(0, report.functions.removed)
    assert.same({ x = 1, more = 2 }, M.t)
    assert.same({ 1, 2, 3 }, M.list)
  end)
end)

describe("R5.3 data that the program removed", function()
  before_each(start)
  after_each(stop)

  it("does not come back into a list that shrank", function()
    local v1 = [[
      local private = { "a", "b", "c" }
      local M = { list = { 1, 2, 3, 4 }, rows = { { id = 1 }, { id = 2 }, { id = 3 } } }
      function M.private() return private end
      function M.f() return "old" end
      return M
    ]]
    local M = app:module("M", v1)
    local first_row = M.rows[1]
    table.remove(M.list) table.remove(M.list)
    table.remove(M.rows, 2) table.remove(M.rows, 2)
    table.remove(M.private(), 1)
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new", M.f())
    assert.same({ 1, 2 }, M.list)
    assert.same({ { id = 1 } }, M.rows)
    assert.equal(first_row, M.rows[1])
    assert.same({ "b", "c" }, M.private())
  end)

  it("does not come back into a list that was emptied, or into a hole", function()
    local v1 = [[
      return { empty = { 1, 2, 3 }, hole = { 1, 2, 3 },
        sparse = { [10] = "x", [-1] = "y", [0] = "z" },
        f = function() return "old" end }
    ]]
    local M = app:module("M", v1)
    M.empty[1], M.empty[2], M.empty[3], M.hole[2] = nil, nil, nil, nil
    M.sparse[10], M.sparse[-1], M.sparse[0] = nil, nil, nil
    app:update("M", (v1:gsub("old", "new")))
    assert.equal("new", M.f())
    assert.is_nil(next(M.empty))
    assert.is_nil(M.hole[2])
    assert.is_nil(next(M.sparse))
  end)

  it("does not grow with a list that the file made longer, without a record of the first "
    .. "load", function()
    app.hotreload.track(false)
    local M = app:module("M", "return { list = { 1, 2 }, f = function() return 1 end }")
    app:update("M",
      "return { list = { 1, 2, 3, 4 }, new_list = { 1, 2, 3 }, f = function() return 2 end }")
    assert.same({ 1, 2 }, M.list)
    assert.same({ 1, 2, 3 }, M.new_list)
  end)

  it("comes back under a key that is a string, without a record of the first load", function()
    app.hotreload.track(false)
    local M = app:module("M", "return { gone = 1, sub = { gone = { 2 } }, f = function() end }")
    M.gone, M.sub.gone = nil, nil
    app:reloaded("M")
    assert.equal(1, M.gone)
    assert.same({ 2 }, M.sub.gone)
  end)

  it("leaves a list of functions as long as it is", function()
    local M = app:module("M", [[
      return { list = { function() return "old 1" end, function() return "old 2" end,
        function() return "old 3" end } }
    ]])
    table.remove(M.list)
    app:update("M", [[
      return { list = { function() return "new 1" end, function() return "new 2" end,
        function() return "new 3" end } }
    ]])
    assert.equal(2, #M.list)
    assert.same({ "new 1", "new 2" }, { M.list[1](), M.list[2]() })
  end)

  it("is no reason to refuse a new function under a number outside the list", function()
    local M = app:module("M",
      "return { ops = { [10] = function() return 'old 10' end, [20] = function() end } }")
    app:update("M", [[
      return { ops = { [10] = function() return "new 10" end, [20] = function() end,
        [30] = function() return "new 30" end, [-1] = function() return "new -1" end } }
    ]])
    assert.same({ "new 10", "new 30", "new -1" }, { M.ops[10](), M.ops[30](), M.ops[-1]() })
  end)

  it("is as it was after a reload that is refused", function()
    local M = app:module("M",
      "return { list = { 1, 2, 3 }, gone = 1, f = function() return 'old' end }")
    table.remove(M.list)
    M.gone = nil
    app:write("M", "return { list = { 1, 2, 3 }, gone = 1, f = false }")
    app:refused("M", nil, M)
    assert.same({ 1, 2 }, M.list)
    assert.is_nil(M.gone)
    app:update("M", "return { list = { 1, 2, 3 }, f = function() return 'corrected' end }")
    assert.same({ 1, 2 }, M.list)
    assert.equal("corrected", M.f())
  end)
end)

describe("R5.4 registrations", function()
  before_each(start)
  after_each(stop)

  local v1 = [[
    local M, count = {}, 0
    function M.on() count = count + 1 return "old", count end
    HANDLERS[#HANDLERS + 1] = M.on
    return M
  ]]

  it("do not double in a global list, and the old entry becomes the new function", function()
    local function other() end
    G.HANDLERS = { other }
    local M = app:module("M", v1)
    G.HANDLERS[3] = print
    G.HANDLERS[2]()
    for n = 1, 3 do
      app:update("M", (v1:gsub("old", "new " .. n)))
      assert.equal(3, #G.HANDLERS)
      assert.equal(other, G.HANDLERS[1])
      assert.equal(M.on, G.HANDLERS[2])
      assert.equal(print, G.HANDLERS[3])
      assert.same({ "new " .. n, n + 1 }, { G.HANDLERS[2]() })
    end
  end)

  it("do not double in another module's list", function()
    app:write("events", "return { handlers = {}, names = {} }")
    local source = [[
      local events = require "events"
      local M, count = {}, 0
      function M.on() count = count + 1 return "old", count end
      table.insert(events.handlers, M.on)
      events.names.on = M.on
      return M
    ]]
    local M, events = app:module("M", source), app:load "events"
    events.handlers[1]()
    app:update("M", (source:gsub("old", "new")))
    app:reloaded("M")
    assert.equal(1, #events.handlers)
    assert.equal(M.on, events.handlers[1])
    assert.equal(M.on, events.names.on)
    assert.same({ "new", 2 }, { events.handlers[1]() })
  end)

  it("do not double where the handler is a local function", function()
    G.HANDLERS = {}
    local source = [[
      local count = 0
      local function on() count = count + 1 return "old", count end
      HANDLERS[#HANDLERS + 1] = on
      return { fire = function() return on() end }
    ]]
    app:module("M", source).fire()
    app:update("M", (source:gsub("old", "new")))
    assert.equal(1, #G.HANDLERS)
    assert.same({ "new", 2 }, { G.HANDLERS[1]() })
  end)

  it("do not double where the handlers have no name", function()
    G.HANDLERS = {}
    local source = [[
      local count = 0
      HANDLERS[#HANDLERS + 1] = function() count = count + 1 return "old first", count end
      HANDLERS[#HANDLERS + 1] = function() count = count + 1 return "old second", count end
      return {}
    ]]
    app:module("M", source)
    G.HANDLERS[1]()
    app:update("M", (source:gsub("old", "new")))
    app:reloaded("M")
    assert.equal(2, #G.HANDLERS)
    assert.same({ "new first", 2 }, { G.HANDLERS[1]() })
    assert.same({ "new second", 3 }, { G.HANDLERS[2]() })
  end)

  describe("without names, of which the file has more or fewer than run:", function()
    local function handler(name) return ("function() return %q end"):format(name) end
    local function unlike(name)
      return ("function() local t = {} t[1] = %q return t[1] end"):format(name)
    end
    local function row(f) return ("{ on = %s }"):format(f) end
    local function source(list)
      for i, f in ipairs(list) do list[i] = "HANDLERS[#HANDLERS + 1] = " .. f end
      return table.concat(list, "\n") .. "\nreturn {}"
    end
    local function answers()
      local list = {}
      for i, f in ipairs(G.HANDLERS) do list[i] = (type(f) == "table" and f.on or f)() end
      return table.concat(list, " ")
    end

    for _, how in ipairs { "with a record", "without one" } do
      it("those that run go on, the file's others are new, " .. how, function()
        if how == "without one" then app.hotreload.track(false) end
        for _, edit in ipairs {
          { { handler "old" }, { handler "new", unlike "second" }, "new second" },
          { { handler "old" }, { unlike "second", handler "old" }, "old second" },
          { { handler "a", handler "b" }, { handler "c", handler "d", unlike "e" }, "c d e" },
          { { row(handler "old") }, { row(handler "new"), row(unlike "second") }, "new second" },
          { { handler "a", handler "b" }, { handler "b" }, "a b" },
        } do
          G.HANDLERS = {}
          package.loaded.M = nil
          app:module("M", source(edit[1]))
          assert.same({}, app:update("M", source(edit[2])).warnings)
          assert.equal(edit[3], answers())
        end
      end)

      it("of fewer none is added, and the report warns, " .. how, function()
        if how == "without one" then app.hotreload.track(false) end
        for what, of in pairs { ["function"] = handler, ["row with functions"] = function(name)
          return row(handler(name))
        end } do
          G.HANDLERS = {}
          package.loaded.M = nil
          app:module("M", source { of "a", of "b" })
          local report = app:update("M", source { of "c" })
          assert.equal("a b", answers())
          assert.same({ "_G.HANDLERS: a new " .. what .. " that nothing tells from those that the "
            .. "list has was not added: give it a name in the file (R5.4)" }, report.warnings)
        end
      end)
    end

    it("the program's own stay between them, and count as none", function()
      G.HANDLERS = {}
      G.log = function() return "program" end
      app:module("M", [[
        local M = {}
        function M.named() return "named" end
        function M.make() return function() return "made" end end
        HANDLERS[#HANDLERS + 1] = function() return "old" end
        return M]])
      local M = package.loaded.M
      table.insert(G.HANDLERS, 1, load "return log()")
      table.insert(G.HANDLERS, M.make())
      table.insert(G.HANDLERS, { on = M.named })
      app:update("M", [[
        local M = {}
        function M.named() return "named" end
        function M.make() return function() return "made" end end
        HANDLERS[#HANDLERS + 1] = function() return "new" end
        HANDLERS[#HANDLERS + 1] = function() local t = {} t[1] = "second" return t[1] end
        HANDLERS[#HANDLERS + 1] = { on = function() return "row" end }
        return M]])
      assert.equal("program new made named second row", answers())
    end)
  end)

  it("do not double in a list of 100,000 entries", function()
    app:write("events",
      "local list = {} for i = 1, 100000 do list[i] = i end return { handlers = list }")
    local source = [[
      local handlers = require "events".handlers
      local M = {}
      function M.on() return "old" end
      handlers[#handlers + 1] = M.on
      return M
    ]]
    local handlers = app:load "events".handlers
    local M = app:module("M", source)
    for i = 100002, 100100 do handlers[i] = i end
    for n = 1, 3 do
      app:update("M", (source:gsub("old", "new " .. n)))
      assert.equal(100100, #handlers)
      assert.equal(M.on, handlers[100001])
      assert.equal("new " .. n, handlers[100001]())
    end
    for i = 1, 100100, 77 do
      assert.is_true(handlers[i] == i or i == 100001)
    end
  end)

  it("do not double in a large table of the module's own", function()
    local source = [[
      local M = { handlers = {} }
      function M.on() return "old" end
      M.handlers[#M.handlers + 1] = M.on
      return M
    ]]
    local M = app:module("M", source)
    for i = 2, 5000 do M.handlers[i] = print end
    app:update("M", (source:gsub("old", "new")))
    assert.equal(5000, #M.handlers)
    assert.equal(M.on, M.handlers[1])
    assert.equal("new", M.handlers[1]())
  end)

  it("stay as many as there were where the same function is registered twice", function()
    G.HANDLERS = {}
    local source = v1:gsub("return M%s*$", "HANDLERS[#HANDLERS + 1] = M.on return M")
    local M = app:module("M", source)
    app:update("M", (source:gsub("old", "new")))
    assert.equal(2, #G.HANDLERS)
    assert.equal(M.on, G.HANDLERS[1])
    assert.equal(M.on, G.HANDLERS[2])
    assert.equal("new", (M.on()))
  end)

  it("of new functions are added, behind what is there", function()
    G.HANDLERS = {}
    local M = app:module("M", v1)
    G.HANDLERS[2] = print
    app:update("M", [[
      local M, count = {}, 0
      function M.on() count = count + 1 return "new", count end
      function M.off() return "off", count end
      HANDLERS[#HANDLERS + 1] = M.on
      HANDLERS[#HANDLERS + 1] = M.off
      return M
    ]])
    assert.equal(M.on, G.HANDLERS[1])
    assert.equal(print, G.HANDLERS[2])
    assert.equal(M.off, G.HANDLERS[3])
    assert.is_nil(G.HANDLERS[4])
    M.on()
    assert.same({ "off", 1 }, { G.HANDLERS[3]() })
  end)

  it("do not double at the front of a list", function()
    local function first() end
    local function second() end
    G.HANDLERS = { first, second }
    local source = v1:gsub("HANDLERS%[.-\n", "table.insert(HANDLERS, 1, M.on)\n")
    local M = app:module("M", source)
    M.on()
    for n = 1, 2 do
      app:update("M", (source:gsub("old", "new " .. n)))
      assert.same({ M.on, first, second }, G.HANDLERS)
      assert.same({ "new " .. n, 1 + n }, { G.HANDLERS[1]() })
    end
  end)

  it("do not double under names", function()
    G.HANDLERS = {}
    local source = [[
      local M, count = {}, 0
      function M.on() count = count + 1 return "old", count end
      HANDLERS.click, HANDLERS[7] = M.on, M.on
      return M
    ]]
    local M = app:module("M", source)
    M.on()
    app:update("M", (source:gsub("old", "new")))
    assert.same({ "new", 2 }, { G.HANDLERS.click() })
    assert.equal(M.on, G.HANDLERS.click)
    assert.equal(M.on, G.HANDLERS[7])
  end)

  it("do not double in a set whose keys are the handlers", function()
    G.HANDLERS = {}
    local source = [[
      local M, count = { own = {} }, 0
      function M.on() count = count + 1 return "old", count end
      M.own[M.on] = true
      return M
    ]]
    local M = app:module("M", source)
    M.on()
    app:update("M", (source:gsub("old", "new")))
    local handler, value = next(M.own)
    assert.equal(M.on, handler)
    assert.is_true(value)
    assert.is_nil(next(M.own, handler))
    assert.same({ "new", 2 }, { handler() })
  end)

  it("are as they were after a reload that is refused", function()
    app:write("events", "return { handlers = {} }")
    local source = [[
      local M = {}
      function M.on() return "old" end
      function M.off() return "old" end
      local handlers = require "events".handlers
      handlers[#handlers + 1] = M.on
      return M
    ]]
    local M, handlers = app:module("M", source), app:load "events".handlers
    local late = "handlers.x = M.on handlers[#handlers + 1] = print error 'late'"
    app:write("M", (source:gsub("old", "new"):gsub("return M%s*$", late)))
    app:refused("M", nil, M)
    assert.same({ M.on }, handlers)
    app:write("M", (source:gsub("old", "new"):gsub("return M%s*$", "M.off = 5 return M")))
    app:refused("M", nil, M)
    assert.same({ M.on }, handlers)
    app:update("M", (source:gsub("old", "corrected")))
    assert.same({ M.on }, handlers)
    assert.equal("corrected", handlers[1]())
  end)
end)

for _, scope in ipairs { "module", "vm" } do
  describe("R5.1 what a module holds that the file requires for the first time, scope '" .. scope
    .. "',", function()
    before_each(start)
    after_each(stop)

    local SOURCE = [[
      local M, n = { t = {} }, 0
      function M.count() n = n + 1 return n end
      return M
    ]]

    it("are the running objects, if it was given the file's", function()
      local M = app:module("M", SOURCE)
      M.count()
      app:write("admin", [[
        local held
        local A = { commands = {} }
        function A.register(name, f, more)
          held = more
          A.commands[name], A[more.owner] = f, setmetatable({ more }, { __index = more.owner })
        end
        function A.held() return held, function() return held.owner end end
        return A
      ]])
      local edited = SOURCE:gsub("return M%s*$", [[
        require "admin".register("add", function(by) n = n + by return n, M, M.t end,
          { owner = M, tags = { M.t }, count = M.count })
        return M
      ]])
      app:update("M", edited, { scope = scope })
      local A = app:load "admin"
      local held, owner = A.held()
      assert.same({ 11, M, M.t }, { A.commands.add(10) })
      assert.same({ 12, 13 }, { M.count(), held.count() })
      for _, one in ipairs { held.owner, owner(), getmetatable(A[M]).__index } do
        assert.equal(M, one)
      end
      assert.equal(M.t, held.tags[1])
      app:update("M", (edited:gsub("n %+ by", "n + 2 * by")), { scope = scope })
      assert.equal(33, (A.commands.add(10)))
    end)

    it("are the running objects, if it requires the module in turn", function()
      local source = "local M = {} package.loaded.M = M return M"
      local M = app:module("M", source)
      app:write("late", [[
        local M = require "M"
        return { M = M, [M] = true, get = function() return M end }
      ]])
      app:update("M", (source:gsub("return", "M.late = require 'late' return")), { scope = scope })
      local late = app:load "late"
      assert.same({ M, M, true, late }, { late.M, late.get(), late[M], M.late })
    end)
  end)
end
