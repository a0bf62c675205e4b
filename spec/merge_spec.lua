-- R8, R5.3: data = "merge", and what the record of the base version does in every mode. The record
-- is taken here by `gg.reload`, which loads the module first (R1.3); spec/track_spec.lua is about
-- `require`.

local program = require "spec.support.program"

local V1 = [[
  local M = {
    rate = 0.3, name = "one", on = true, off = false, count = 1,
    items = { sword = { price = 10, kind = "blade" }, bow = { price = 20 } },
    list = { "a", "b", "c" },
  }
  local limit, hidden, unset = 10, { level = 1 }, nil
  function M.limit() return limit, hidden, unset end
  function M.raise(n) limit, unset = n, n end
  function M.version() return 1 end
  return M
]]

local function change(text, changes)
  for from, to in pairs(changes) do
    local start, stop = text:find(from, 1, true)
    assert(start, from)
    text = text:sub(1, start - 1) .. to .. text:sub(stop + 1)
  end
  return text
end

describe("data = 'merge' (R8)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- Loads a module with a record.
  local function load_first(text, name)
    app:update(name or "m", text)
    return package.loaded[name or "m"]
  end

  local function merge(text, options)
    options = options or {}
    options.data, options.report = "merge", "full"
    return app:update("m", text, options)
  end

  it("lets what the program did not change follow the file", function()
    local M = load_first(V1)
    local items, sword, hidden = M.items, M.items.sword, select(2, M.limit())
    merge(change(V1, {
      ["rate = 0.3"] = "rate = 0.5", ['"one"'] = '"two"', ["on = true"] = "on = false",
      ["off = false"] = "off = true", ["price = 10"] = "price = 15", ["level = 1"] = "level = 2",
      ["unset = 10"] = "unset = 20", ["nil\n"] = "'set'\n", ["return 1 end"] = "return 2 end",
    }))
    assert.same({ 0.5, "two", false, true }, { M.rate, M.name, M.on, M.off })
    assert.same({ sword = { price = 15, kind = "blade" }, bow = { price = 20 } }, M.items)
    assert.same({ 20, { level = 2 }, "set" }, { M.limit() })
    assert.equal(items, M.items)
    assert.equal(sword, M.items.sword)
    assert.equal(hidden, (select(2, M.limit())))
    assert.equal(2, M.version())
  end)

  it("keeps what the program changed, at any depth, in cells as well", function()
    local M = load_first(V1)
    M.rate, M.on, M.items.sword.price, M.list[2] = 9, "yes", 99, "B"
    M.raise(77)
    select(2, M.limit()).level = 50
    merge(change(V1, {
      ["rate = 0.3"] = "rate = 0.5", ["on = true"] = "on = false", ["price = 10"] = "price = 15",
      ["level = 1"] = "level = 2", ["unset = 10"] = "unset = 20", ['"blade"'] = '"edge"',
      ['"b"'] = '"x"', ['"c"'] = '"y"',
    }))
    assert.same({ 9, "yes", { price = 99, kind = "edge" } }, { M.rate, M.on, M.items.sword })
    assert.same({ "a", "B", "y" }, M.list)
    assert.same({ 77, { level = 50 }, 77 }, { M.limit() })
  end)

  it("tells an integer from a float, and a value from its text", function()
    local M = load_first "return { a = 1, b = 1, c = '1', d = 2.0, e = 0/0, f = 1 }"
    M.a, M.c = 1.0, 1
    app:update("m", "return { a = 5, b = 1.0, c = '5', d = 2, e = 1, f = '1' }",
      { data = "merge", on_conflict = "keep" })
    assert.same({ "float", 1.0 }, { math.type(M.a), M.a })
    assert.equal("float", math.type(M.b))
    assert.equal(1, M.c)
    assert.equal("integer", math.type(M.d))
    assert.equal(1, M.e)
    assert.equal("1", M.f)
  end)

  it("takes a value that was changed and changed back for one that was not changed", function()
    local M = load_first "return { rate = 1 }"
    M.rate = 7
    M.rate = 1
    merge "return { rate = 2 }"
    assert.equal(2, M.rate)
  end)

  for _, data in ipairs { "keep", "merge" } do
    it(("says so where a list without a record lacks what the file has, data = %q"):format(data),
      function()
        app.hotreload.track(false)
        local N = app:module("other", "return { names = { 'ann' }, log = {} }")
        N.log[1] = "started"
        local report = app:update("other", "return { names = { 'ann', 'bob' }, log = {} }",
          { data = data })
        assert.same({ "ann" }, N.names)
        assert.same({ "other: no record of its first load: 1 place differs from the file; look at "
          .. "hotreload.plan, and call hotreload.track() before the first load" }, report.warnings)
        report = app:update("other", "return { names = { 'ann', 'bob' }, log = {} }",
          { data = data })
        assert.same({ {}, { "ann" } }, { report.warnings, N.names })
      end)
  end

  it("leaves what no record covers: a module that `require` loaded, \z
    a key that only the program has", function()
    app.hotreload.track(false)
    local N = app:module("other", "return { rate = 1 }")
    local report = app:update("other", "return { rate = 2 }", { data = "merge" })
    assert.equal(1, N.rate)
    assert.same({ "other: no record of its first load: 1 place differs from the file; look at "
      .. "hotreload.plan, and call hotreload.track() before the first load" }, report.warnings)
    for _, data in ipairs { "merge", "keep" } do
      report = app:update("other", "return { rate = 2 }", { data = data })
      assert.same({ {}, 0 }, { report.warnings, report.data.differing })
    end
    report = app:update("other", "return { rate = 3 }", { data = "merge" })
    assert.matches("number 1 while it runs, number 3 in the file; nobody knows what it was loaded "
      .. "as, and the running value stays", report.warnings[1], 1, true)
    assert.same({}, app:update("other", "return { rate = 3 }", { data = "merge" }).warnings)
    N.rate = 3
    app:update("other", "return { rate = 3 }")
    app:update("other", "return { rate = 4 }", { data = "merge" })
    assert.equal(4, N.rate)
    local function taken_up(rate) return "Taken = Taken or {} Taken.rate = " .. rate end
    app:module("taken", taken_up(1))
    app:update("taken", taken_up(2))
    app:update("taken", taken_up(2), { data = "replace" })
    app:update("taken", taken_up "'three'") -- the file's value has run since: no conflict
    assert.equal("three", _G.Taken.rate)
    local text = "local rate = %d return function(x) rate = x or rate return rate end"
    app:module("locals", text:format(1))
    for version, warnings in ipairs { 1, 1, 1 } do
      report = app:update("locals", text:format(version + 1), { data = "merge" })
      assert.same({ 1, warnings }, { package.loaded.locals(), #report.warnings })
    end
    assert.matches("nobody knows", report.warnings[1])
    local M = load_first "return { rate = 1 }"
    M.mine = 1
    merge "return { rate = 1, mine = 2 }"
    assert.equal(1, M.mine)
  end)

  it("lets what a `keep` in between left behind follow later", function()
    local M = load_first "return { rate = 1, size = 1 }"
    M.size = 5
    app:update("m", "return { rate = 2, size = 2 }")
    assert.same({ rate = 1, size = 5 }, M)
    merge "return { rate = 3, size = 3 }"
    assert.same({ rate = 3, size = 5 }, M)
    merge "return { rate = 4, size = 4 }"
    assert.same({ rate = 4, size = 5 }, M)
  end)

  it("lets an untouched table go that the file lacked at a `keep` in between", function()
    local first = "return { a = { 1, { x = 2 } }, b = { 1, { x = 2 } }, c = { y = 1 }, last = 1 }"
    local M = load_first(first)
    app:update("m", "return { last = 1 }")
    M.b[2].x, M.c = 3, { y = 1 }
    local report = app:update("m", "return { last = 1 }", { report = "full" })
    assert.same({ { 1, { x = 2 } }, { 1, { x = 3 } }, { y = 1 }, 1 }, { M.a, M.b, M.c, M.last })
    assert.equal(2, #report.warnings)
    assert.same({}, app:update("m", "return { last = 1 }").warnings)
    merge "return { last = 1 }"
    assert.same({ b = { 1, { x = 3 } }, c = { y = 1 }, last = 1 }, M)
  end)

  it("keeps what the program changed in a table that is false at a `keep` in between", function()
    local M = load_first "return { changed = { a = 1, b = 2 }, left = { a = 1 }, last = 1 }"
    M.changed.b = nil
    for _, data in ipairs { "keep", "merge" } do
      app:update("m", "return { changed = false, left = false, last = 1 } ", { data = data })
    end
    assert.same({ changed = { a = 1 }, left = false, last = 1 }, M)
  end)

  it("lets a reference to another module go that the file lacked at a `keep` in between", function()
    app:write("dep", "return { deep = { 1 } }")
    local M = app:module("m", [[
      local dep = require "dep"
      return { dep = dep, inner = { deep = dep.deep }, level = 1 }
    ]])
    app:update("m", "return { inner = {}, level = 1 }")
    assert.equal(app:load "dep", M.dep)
    app:update("m", "return { inner = {}, level = 1 } ", { data = "merge" })
    assert.same({ inner = {}, level = 1 }, M)
    assert.same({ deep = { 1 } }, app:load "dep")
  end)

  it("brings what takes a table's place, which a `keep` in between left as it was", function()
    local M = load_first "return { a = { d = { x = { 0 } } }, { d = { 0 } } }"
    app:update("m", "return { a = { d = false }, { d = false } }")
    assert.same({ a = { d = { x = { 0 } } }, { d = { 0 } } }, M)
    merge "return { a = { d = false }, { d = false } }"
    assert.same({ a = { d = false }, { d = false } }, M)
  end)

  it("lets an untouched table go, whatever else it leads to stays where the file has it", function()
    local M = load_first "local t = { 1 } local M = { t = t, s = { t = t } } M.s.m = M return M"
    M.t[2] = 2
    local text = "local t = { 1 } local M = { t = t } return M"
    app:update("m", text)
    assert.equal(M, M.s.m)
    merge(text)
    assert.same({ t = { 1, 2 } }, M)
  end)

  it("lets an untouched table go that leads to what others have made", function()
    local lib = app:module("lib", "return { n = 1 }")
    local M = load_first
      "local M = { s = { lib = require 'lib', of = { require 'lib' } } } return M"
    local text = "local M = { lib = require 'lib' } return M"
    app:update("m", text)
    assert.equal(lib, M.s.of[1])
    lib.n = 2
    merge(text)
    assert.same({ lib = { n = 2 } }, M)
  end)

  it("brings a changed row that a `keep` in between did not, and its place", function()
    local M = load_first "return { list = { { x = 0 }, 0, 1 } }"
    app:update("m", "return { list = { { x = 1 }, 1, 0 } }")
    assert.same({ { x = 0 }, 0, 1 }, M.list)
    merge "return { list = { { x = 1 }, 1, 0 } }"
    assert.same({ { x = 1 }, 1, 0 }, M.list)
  end)

  it("measures by what a `replace` in between put there", function()
    local M = load_first "return { rate = 1, size = 1 }"
    M.size = 5
    app:update("m", "return { rate = 2, size = 2 }", { data = "replace" })
    M.rate = 9
    merge "return { rate = 3, size = 3 }"
    assert.same({ rate = 9, size = 3 }, M)
  end)

  it("is exact for many keys: 3,000 rows, every third changed", function()
    local function text(offset)
      local lines = { "return {" }
      for i = 1, 3000 do
        lines[#lines + 1] = ("['k%d'] = { v = %d, w = %q },"):format(i, i + offset, offset .. "w")
      end
      return table.concat(lines, "\n") .. "}"
    end
    local M = load_first(text(0))
    for i = 3, 3000, 3 do M["k" .. i].v = -i end
    local report = merge(text(1))
    for i = 1, 3000 do
      assert.equal(i % 3 == 0 and -i or i + 1, M["k" .. i].v)
      assert.equal("1w", M["k" .. i].w)
    end
    assert.equal(5000, report.data.replaced)
    assert.equal(1000, report.data.kept)
  end)

  it("lets kinds change among data where nothing was changed", function()
    local M = load_first "return { a = 1, b = { 1, x = { y = 2 } }, c = 1, d = { 1 }, e = { 1 } }"
    M.c, M.d[1] = 2, 2
    local e = M.e
    local keep = { data = "merge", on_conflict = "keep" }
    app:update("m",
      "return { a = { 5 }, b = 'scalar', c = { 5 }, d = 'scalar', e = { 1, 2 } }", keep)
    assert.same({ a = { 5 }, b = "scalar", c = 2, d = { 2 }, e = { 1, 2 } }, M)
    assert.equal(e, M.e)
    app:update("m", "return { a = 6, b = { 7 }, c = 6, d = 6, e = 6 }", keep)
    assert.same({ a = 6, b = { 7 }, c = 2, d = { 2 }, e = 6 }, M)
  end)

  it("leaves functions to R6 as before", function()
    local M = load_first "return { a = 1, f = function(x) return x end }"
    app:write("m", "return { a = function() return print 'other' end, f = 1 }")
    local message = app:refused("m", { data = "merge" }, M)
    assert.matches("m.a: number 1 while it runs, function in the file", message, 1, true)
    assert.matches("m.f: function while it runs, number 1 in the file", message, 1, true)
  end)

  it("lets kinds change in cells", function()
    local text = "local a, b = %s, %s return { get = function() return a, b end, \z
      set = function(x) a, b = x, x end }"
    local M = load_first(text:format("1", "nil"))
    merge(text:format("{ 5 }", "{ 6 }"))
    assert.same({ { 5 }, { 6 } }, { M.get() })
    merge(text:format("nil", "7"))
    assert.same({ n = 2, nil, 7 }, table.pack(M.get()))
    M.set(3)
    local report = app:update("m", text:format("8", "{ 9 }"),
      { data = "merge", on_conflict = "keep" })
    assert.same({ 3, 3 }, { M.get() })
    assert.equal("m.get@b", report.conflicts[1].path)
  end)

  it("merges cells of which the module has two of one name", function()
    local text = [[
      local M = {}
      do local x = %d function M.a(v) x = v or x return x end end
      do local x = %d function M.b(v) x = v or x return x end end
      return M
    ]]
    local M = load_first(text:format(1, 2))
    M.b(7)
    merge(text:format(10, 20))
    assert.same({ 10, 7 }, { M.a(), M.b() })
  end)

  describe("of rows that are gone from the file", function()
    it("takes those out that the program did not change, whole rows and scalars", function()
      local M = load_first(V1)
      M.items.axe = { price = 1 }
      local report = merge(change(V1, {
        [", bow = { price = 20 }"] = "", ['name = "one", '] = "", [', kind = "blade"'] = "",
      }))
      assert.same({ sword = { price = 10 }, axe = { price = 1 } }, M.items)
      assert.is_nil(M.name)
      assert.same({ "m.items.bow", "m.items.sword.kind", "m.name" }, report.paths.data.replaced)
    end)

    it("keeps those that the program changed in any way", function()
      local M = load_first [[return { rows = {
        a = { v = 1 }, b = { v = 1, w = 2 }, c = { v = 1 }, d = { v = { 1 } }, e = { v = 1 },
          f = { run = print },
        g = 1,
      } }]]
      M.rows.a.v, M.rows.b.w, M.rows.c.new, M.rows.d.v[1], M.rows.g = 2, nil, 3, 4, 5
      setmetatable(M.rows.e, {})
      merge "return { rows = {} }"
      local left = {}
      for key in pairs(M.rows) do left[#left + 1] = key end
      table.sort(left)
      assert.same({ "a", "b", "c", "d", "e", "f", "g" }, left)
    end)

    it("keeps a table of the program's own, whatever is in it", function()
      local M = load_first "return { cache = {}, row = { v = 1 }, left = { v = 1 }, rows = {} }"
      local cache, row = {}, { v = 1 }
      M.cache, M.row = cache, row
      local report = merge "return { rows = {} }"
      assert.equal(cache, M.cache)
      assert.equal(row, M.row)
      assert.is_nil(M.left)
      assert.equal(2, #report.warnings)
      assert.matches("^m.cache %(table, 0 entries%): nothing in the file", report.warnings[1])
    end)

    it("keeps them in the other modes (R5.2)", function()
      local M = load_first(V1)
      app:update("m", change(V1, { [", bow = { price = 20 }"] = "", ['name = "one", '] = "" }))
      assert.equal("one", M.name)
      assert.same({ price = 20 }, M.items.bow)
    end)

    it("keeps functions (R5.2)", function()
      local M = load_first(V1)
      merge(change(V1, { ["function M.version() return 1 end"] = "" }))
      assert.equal(1, M.version())
    end)

    it("takes references to other modules out, in tables as well", function()
      local M = load_first [[return {
        text = string, own = 1,
        codecs = { text = string, level = 1 }, touched = { text = string },
      }]]
      M.touched.text = math
      local report = merge "return { own = 1 }"
      assert.same({ touched = { text = math }, own = 1 }, M)
      assert.equal(1, #report.warnings)
      assert.matches("^m.touched %(table, 1 entry%): nothing in the file", report.warnings[1])
    end)

    it("keeps what only the module holds, though another one made it", function()
      app:write("store", "return { new = function() return { 1 } end }")
      local M = load_first [[return { store = require("store").new(), other = 1 }]]
      M.store[1] = 2
      local report = merge "return { other = 1 }"
      assert.same({ 2 }, M.store)
      assert.matches("^m.store %(table, 1 entry%): nothing in the file", report.warnings[1])
    end)

    it("keeps a row that the file has elsewhere by now", function()
      local M = load_first "local row = { 1 } return { a = row, b = row }"
      local row = M.a
      merge "return { b = { 1 } }"
      assert.equal(row, M.b)
    end)

    it("walks no table whose keys the file has all: rows of the program cost nothing", function()
      local M = load_first "return { rows = { a = 1 }, other = 1 }"
      -- A key that is not on record is all that such a walk could meet.
      for i = 1, 100 do M.rows[i] = i end
      merge "return { rows = { a = 2 } }"
      assert.equal(2, M.rows.a)
      assert.equal(100, #M.rows)
      assert.is_nil(M.other)
    end)
  end)

  describe("of lists", function()
    local function lists(first, second, program_does)
      local M = load_first(("return { list = { %s } }"):format(first))
      if program_does then program_does(M.list) end
      merge(("return { list = { %s } }"):format(second))
      return M.list
    end

    it("follows the file where the program changed nothing", function()
      assert.same({ 1, 9, 2, 3 }, lists("1, 2, 3", "1, 9, 2, 3"))
      package.loaded.m = nil
      assert.same({ 7 }, lists("1, 2, 3", "7"))
      package.loaded.m = nil
      assert.same({ 1, 2 }, lists("", "1, 2"))
      package.loaded.m = nil
      assert.same({}, lists("1, 2", ""))
      package.loaded.m = nil
      local longer = "{ id = 1 }, { id = 9 }, { id = 2 }"
      assert.same({ { id = 1 }, { id = 9 }, { id = 2 } }, lists("{ id = 1 }, { id = 2 }", longer))
    end)

    it("puts rows beside their neighbours in a list that has another length by now", function()
      assert.same({ 1, 2, 3, 4, "mine" },
        lists("1, 2", "1, 2, 3, 4", function(list) list[3] = "mine" end))
      package.loaded.m = nil
      assert.same({ 1, 3 }, lists("1, 2", "1, 2, 3", function(list) list[2] = nil end))
      package.loaded.m = nil
      assert.same({ 2, 3, 4 },
        lists("1, 2, 3", "1, 2, 3, 4", function(list) table.remove(list, 1) end))
    end)

    it("makes no holes where it takes rows out", function()
      assert.same({ 1, "mine" }, lists("1, 2", "1", function(list) list[3] = "mine" end))
      package.loaded.m = nil
      assert.same({ 1, "own" }, lists("1, 2, 3, 4", "1", function(list) list[4] = "own" end))
      package.loaded.m = nil
      assert.same({ 1, "own" }, lists("1, 2, 3, 4", "1", function(list) list[3] = "own" end))
    end)
  end)

  describe("of an index that a loop makes", function()
    local function index(...)
      local rows = {}
      for i, id in ipairs { ... } do rows[i] = ("{ id = %d, hp = 10 }"):format(id) end
      return ([[
        local M = { by_id = {}, rows = { %s } }
        for _, row in ipairs(M.rows) do M.by_id[row.id] = row end
        return M
      ]]):format(table.concat(rows, ", "))
    end
    local function assert_index(M, ids)
      local count = 0
      for _ in pairs(M.by_id) do count = count + 1 end
      assert.same({ ids, ids }, { count, #M.rows })
      for _, row in ipairs(M.rows) do assert.equal(row, M.by_id[row.id]) end
    end

    it("takes a row out and brings it back", function()
      local M = load_first(index(1, 2, 3, 4, 5))
      for _, ids in ipairs { { 1, 2, 4, 5, 9 }, { 1, 2, 3, 4, 5 }, { 2, 3, 4 }, { 1, 2, 3 } } do
        local report = merge(index(table.unpack(ids, 1, #ids)))
        assert.same({}, report.warnings)
        assert_index(M, #ids)
      end
    end)

    it("keeps what the program has changed or put there, or taken out", function()
      local function text(ids)
        return "local M = { by_id = {} } for _, id in ipairs { " .. ids .. " } do "
          .. "M.by_id[id] = { hp = 10 } end return M"
      end
      local M = load_first(text "1, 2, 4, 6")
      local changed, own = M.by_id[4], { hp = 1 }
      changed.hp, M.by_id[5], M.by_id[1] = 7, own, nil
      merge(text "1, 2, 3, 5, 8")
      assert.same({ [2] = { hp = 10 }, [3] = { hp = 10 }, [4] = { hp = 7 }, [5] = { hp = 1 },
        [8] = { hp = 10 } }, M.by_id)
      assert.same({ changed, own }, { M.by_id[4], M.by_id[5] })
    end)
  end)

  it("works in modules that speak through globals", function()
    local function text(rate, high)
      return ([[
        RATE, LIMITS, Box = %d, { low = %d, high = %d }, Box or {}
        Box.size = %d
        function limits() return LIMITS end
      ]]):format(rate, rate, high, rate)
    end
    load_first(text(1, 2))
    local limits = _G.LIMITS
    limits.high = 5
    merge(text(1, 2) .. " function more() end")
    merge(text(2, 3))
    assert.same({ 2, { low = 2, high = 5 }, 2 }, { _G.RATE, _G.LIMITS, _G.Box.size })
    assert.equal(limits, _G.LIMITS)
    _G.RATE, _G.Box.size = 7, 7
    merge(text(3, 3))
    assert.same({ 7, { low = 3, high = 5 }, 7 }, { _G.RATE, _G.LIMITS, _G.Box.size })
  end)

  it("works in an object that is a global as well, and that the file takes up again", function()
    finally(function() rawset(_G, "Kept", nil) end)
    local function text(n)
      return ("Kept = Kept or {} Kept.rate, Kept.rows = %d, { a = %d, b = %d } return Kept")
        :format(n, n, n)
    end
    local M = load_first(text(1))
    M.rows.b = nil
    merge(text(2))
    assert.same({ rate = 2, rows = { a = 2 } }, M)
    M.rate = 9
    merge(text(3))
    assert.same({ rate = 9, rows = { a = 3 } }, M)
  end)

  it("lets follow what a `keep` has left behind in a table that is known by a local of a \z
    renamed function", function()
    local text = "local t = { { v = %d } } return { %s = function() return t[1].v end }"
    local M = load_first(text:format(1, "before"))
    app:update("m", text:format(2, "after"))
    assert.equal(1, M.after())
    merge(text:format(2, "after"))
    assert.equal(2, M.after())
  end)

  it("leaves in a table that existed what the file does not write any more", function()
    finally(function() rawset(_G, "Kept", nil) rawset(_G, "RATE", nil) end)
    local M = load_first "Kept = Kept or {} Kept.a, Kept.b, RATE = 1, { 1 }, 1 return Kept"
    merge "Kept = Kept or {} Kept.c = 1 return Kept"
    assert.same({ { a = 1, b = { 1 }, c = 1 }, 1 }, { M, rawget(_G, "RATE") })
  end)

  it("has on record what a conflict gave to the file", function()
    local M = load_first "return { a = function() end }"
    app:update("m", "return { a = 1 }", { on_conflict = "replace" })
    assert.same({ a = 1 }, M)
    merge "return { a = 2 }"
    assert.same({ a = 2 }, M)
  end)

  it("knows a table by each of the places that the file keeps for it, \z
    and the tables in it", function()
    local text = "local t = { x = %d, inner = { %d } } local M = { %s } \z
      function M.t() return t end return M"
    local function of(n, places) return (text:gsub("%%d", n):gsub("%%s", places)) end
    local M = load_first(of(1, "b = t"))
    merge(of(2, "b = t, a = t"))
    merge(of(3, "b = t, a = t, c = t"))
    assert.same({ x = 3, inner = { 3 } }, M.t())
    assert.is_true(M.a == M.t() and M.b == M.t() and M.c == M.t())
    merge(of(4, "a = t, c = t, b = t"))
    assert.same({ x = 4, inner = { 4 } }, M.t())
  end)

  it("knows a table by a place at which the program has none", function()
    local text = "local t = { x = %d, y = 1 } local M = { first = t } \z
      function M.t() return t end return M"
    local M = load_first(text:format(1))
    M.first, M.t().y = nil, nil
    merge(text:format(2))
    assert.same({ x = 2 }, M.t())
    merge(text:format(3))
    assert.same({ x = 3 }, M.t())
    assert.is_nil(M.first)
  end)

  it("works in classes that a library makes, and in metatables", function()
    app:write("class", [[
      return function(name)
        local class = { name = name }
        class.__index = class
        return setmetatable(class, { kind = "c" })
      end
    ]])
    local text = [[
      local Unit = require "class" "Unit"
      Unit.speed, Unit.power = %d, %d
      function Unit:go() return self.speed end
      return setmetatable({ Unit = Unit }, { version = %d, __index = { inherited = %d } })
    ]]
    local M = load_first(text:format(1, 1, 1, 1))
    M.Unit.power = 50
    merge(text:format(2, 2, 2, 2))
    assert.same({ 2, 50, 2, 2 },
      { M.Unit.speed, M.Unit.power, getmetatable(M).version, M.inherited })
  end)

  it("works for keys of all kinds, and through shared tables and cycles", function()
    local text = [[
      local shared = { v = %d }
      local M = { [1.5] = %d, [true] = %d, [false] = %d, [-3] = %d, [2^53] = %d, ["\0"] = %d }
      M.a, M.b = shared, shared
      M.self, shared.up, M[shared] = M, M, %d
      return M
    ]]
    local function of(n) return (text:gsub("%%d", n)) end
    local M = load_first(of(1))
    M[true] = 7
    merge(of(2))
    assert.same({ 2, 7, 2, 2, 2, 2, 2 },
      { M[1.5], M[true], M[false], M[-3], M[2 ^ 53], M["\0"], M.a.v })
    assert.equal(M.a, M.b)
    assert.equal(2, M[M.a]) -- a key that is a table is on record by its number
  end)

  it("never runs a metamethod", function()
    local M = load_first "return { rows = { a = 1, b = 2 } }"
    local function refuse() error "touched" end
    local touchy = { __index = refuse, __newindex = refuse, __pairs = refuse, __len = refuse,
      __eq = refuse }
    setmetatable(M, touchy)
    setmetatable(M.rows, touchy)
    merge "return { rows = { a = 5 } }"
    debug.setmetatable(M.rows, nil)
    assert.same({ a = 5 }, rawget(M, "rows"))
  end)

  it("is a value of gg.safe_reloads no more than before: `true` means replace, \z
    an option beats it", function()
    local M = load_first "return { rate = 1, size = 1 }"
    gg.safe_reloads.m = true
    M.size = 5
    merge "return { rate = 2, size = 2 }"
    assert.same({ rate = 2, size = 5 }, M)
  end)

  describe("in the report", function()
    it("has what followed and what stayed, in the plan's text, too", function()
      local M = load_first(V1)
      M.rate = 9
      local text = change(V1,
        { ["rate = 0.3"] = "rate = 0.5", ['"one"'] = '"two"', ["unset = 10"] = "unset = 20" })
      app:write("m", text)
      local plan = app.hotreload.plan("m", { data = "merge" })
      assert.matches("values replaced:\n    ~ m.limit@limit\n    ~ m.name\n", plan, 1, true)
      assert.matches("= m.rate\n", plan, 1, true)
      local report = merge(text)
      assert.same({ "m.limit@limit", "m.name" }, report.paths.data.replaced)
      assert.equal(2, report.data.replaced)
      local kept = {}
      for _, path in ipairs(report.paths.data.kept) do kept[path] = true end
      assert.is_true(kept["m.rate"])
      assert.is_nil(kept["m.name"])
    end)
  end)

  describe("that does not come about", function()
    local V2 = change(V1, {
      ["rate = 0.3"] = "rate = 0.5", [", bow = { price = 20 }"] = "", ["unset = 10"] = "unset = 20",
    })

    local function assert_follows_still(M)
      assert.equal(0.3, M.rate)
      assert.equal(10, (M.limit()))
      assert.same({ price = 20 }, M.items.bow)
      merge(V2)
      assert.equal(0.5, M.rate)
      assert.equal(20, (M.limit()))
      assert.is_nil(M.items.bow)
    end

    it("changes neither program nor record: a chunk that raises", function()
      local M = load_first(V1)
      app:write("m", change(V2, { ["return M\n"] = "error 'no'\n" }))
      app:refused("m", { data = "merge" }, M)
      assert_follows_still(M)
    end)

    it("changes neither program nor record: conflicts", function()
      local M = load_first(V1)
      app:write("m", change(V2, { ["count = 1"] = "count = print" }))
      app:refused("m", { data = "merge" }, M)
      assert_follows_still(M)
    end)

    it("changes neither program nor record: a dry run", function()
      local M = load_first(V1)
      app:write("m", V2)
      local before = program.fingerprint(M)
      app:reloaded("m", { data = "merge", dry_run = true })
      before:assert_unchanged()
      assert_follows_still(M)
    end)

    it("changes neither program nor record: a hook that raises", function()
      local M = load_first(V1)
      app:write("m",
        change(V2, { ["return M\n"] = "function M.__hotfix() error 'no' end return M\n" }))
      app:refused("m", { data = "merge" }, M)
      assert_follows_still(M)
    end)

    it("changes neither program nor record: undo", function()
      local M = load_first(V1)
      merge(V2)
      assert.equal(0.5, M.rate)
      assert.is_true(app.hotreload.undo "m")
      assert_follows_still(M)
    end)

    it("changes neither program nor record: the second of two modules", function()
      local M = load_first(V1)
      app:write("m", V2)
      app:module("broken", "return { f = function() end }")
      app:write("broken", "error 'no'")
      local before = program.fingerprint(M)
      assert.is_false((app:reload({ "m", "broken" }, { data = "merge" })))
      before:assert_unchanged()
      assert_follows_still(M)
    end)
  end)

  it("works for lists of modules, and in scope 'vm'", function()
    local M, N = load_first(V1),
      load_first("local M = require 'm' return { rate = M.rate, own = 1 }", "n")
    N.own = 5
    local rows = { M.items.sword }
    app:write("m", change(V1, { ["rate = 0.3"] = "rate = 0.5", ["price = 10"] = "price = 15" }))
    app:write("n", "local M = require 'm' return { rate = M.rate, own = 2 }")
    app:reloaded({ "m", "n" }, { data = "merge", scope = "vm" })
    assert.same({ 0.5, 0.5, 5, 15 }, { M.rate, N.rate, N.own, rows[1].price })
  end)

  it("forgets what was on record of a module that was loaded anew", function()
    local M = load_first "return { rate = 1 }"
    package.loaded.m = nil
    app.hotreload.track(false)
    app:write("m", "return { rate = 1 }")
    local N = require "m"
    assert.not_equal(M, N)
    merge "return { rate = 2 }"
    assert.equal(1, N.rate)
  end)

  it("knows a module without an object by what the last load placed, \z
    not by what is left", function()
    app.hotreload.track(false)
    finally(function() _G.Mod, _G.Left = nil, nil end)
    local MOD = "Mod = { f = function() end } %s Mod.rate = %d"
    app:module("global", MOD:format("function Left() end", 1))
    app:update("global", MOD:format("", 1))
    app:update("global", MOD:format("", 2), { data = "merge" })
    assert.equal(2, _G.Mod.rate)
  end)

  it("has one outcome, whatever the order of a table", function()
    app:write("first", [[
      local shared = { v = 1 }
      local M = { x = shared, y = { shared }, list = {} }
      for i = 1, 60 do M["k" .. i], M.list[i] = i, { id = i, shared = shared } end
      local here, there = shared, { shared }
      function M.get() return here, there end
      return M
    ]])
    local out = app:subprocesses(8, [[
      require "hotreload"
      local file = io.open("first.lua")
      local text = file:read "a"
      file:close()
      assert(gg.reload "first")
      local M = require "first"
      for i = 1, 60, 7 do M["k" .. i], M.list[i].id = -i, -i end
      M.x.v = 9
      local source = text:gsub("v = 1", "v = 2"):gsub("= i, {", "= i + 100, {")
        :gsub("id = i", "id = i + 100")
      local _, report = assert(gg.reload("first",
        { source = source, data = "merge", report = "full" }))
      print(M.x.v, report.data.kept, report.data.replaced,
        table.concat(report.paths.data.replaced, " "))
      for i = 1, 60 do print(M["k" .. i], M.list[i].id) end
    ]])
    assert.matches("^9\t", out)
  end)
end)

describe("what the program removed (R5.3)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local TEXT = [[
    local M = { data = 1, table = { 1 }, rows = { a = 1, b = 2 },
      on = { [101] = function() return 1 end } }
    function M.start() M.start = nil end
    function M.stop() end
    return M
  ]]

  for _, mode in ipairs { "keep", "merge" } do
    it("does not come back with data = '" .. mode .. "': data, tables, rows, functions", function()
      app:update("m", TEXT)
      local M = package.loaded.m
      M.start()
      M.data, M.table, M.rows.a, M.on[101] = nil, nil, nil, nil
      for _ = 1, 3 do
        app:write("m", TEXT)
        local report = app:reloaded("m", { data = mode, report = "full" })
        assert.same({ b = 2 }, M.rows)
        assert.same({}, { M.data, M.table, M.start, M.on[101] })
        assert.same({}, report.paths.data.added)
        local kept = {}
        for _, path in ipairs(report.paths.data.kept) do kept[path] = true end
        assert.is_true(kept["m.data"] and kept["m.start"] and kept["m.rows.a"])
      end
      assert.is_function(M.stop)
    end)
  end

  it("does not come back where the file has got another place for its table \z
    in the meantime", function()
    local text = "local t = { x = 1, y = 2 } local M = { last = t } M.first = FIRST return M"
    local M = app:module("m", (text:gsub("FIRST", "nil")))
    app:update("m", (text:gsub("FIRST", "t")))
    M.last.x = nil
    for _ = 1, 2 do app:update("m", (text:gsub("FIRST", "t"))) end
    assert.same({ y = 2 }, M.last)
  end)

  it("comes back with data = 'replace'", function()
    app:update("m", TEXT)
    local M = package.loaded.m
    M.data, M.rows.a = nil, nil
    app:reloaded("m", { data = "replace" })
    assert.same({ 1, { a = 1, b = 2 } }, { M.data, M.rows })
  end)

  it("comes back without a record, at the first reload; from then on it stays away", function()
    app.hotreload.track(false)
    local M = app:module("m", "return { a = 1 }")
    M.a = nil
    app:reloaded "m"
    assert.equal(1, M.a)
    M.a = nil
    app:reloaded "m"
    assert.is_nil(M.a)
  end)

  it("is no hindrance to new keys, and to one that the file lacked in between", function()
    app:update("m", "return { a = 1, b = 2 }")
    local M = package.loaded.m
    M.a = nil
    app:update("m", "return { a = 1, b = 2, c = 3 }")
    assert.same({ b = 2, c = 3 }, M)
    app:update("m", "return { b = 2, c = 3 }")
    app:update("m", "return { a = 1, b = 2, c = 3 }")
    assert.same({ a = 1, b = 2, c = 3 }, M)
  end)

  it("is new in the file where the program removed it after the file did", function()
    local M = app:module("n", "return { a = 1, b = { x = 1 }, c = 1 }")
    for _ = 1, 2 do app:update("n", "return { c = 1 }") end
    assert.same({ a = 1, b = { x = 1 }, c = 1 }, M)
    M.a, M.b, M.c = nil, nil, nil
    app:update("n", "return { a = 2, b = { x = 2 }, c = 1 }")
    assert.same({ a = 2, b = { x = 2 } }, M)
  end)

  it("stays away among the globals, until the module is loaded anew", function()
    app:update("m", "RATE, Box = 1, Box or {} Box.a = 1 function go() end function stop() end")
    _G.RATE, _G.Box.a, _G.go = nil, nil, nil
    app:update("m",
      "RATE, Box = 2, Box or {} Box.a = 2 function go() end function stop() return 2 end")
    assert.same({}, { rawget(_G, "RATE"), _G.Box.a, rawget(_G, "go") })
    assert.equal(2, _G.stop())
  end)

  it("is no module: what a chunk puts into package.loaded is there again", function()
    local text = "package.loaded['m.part'] = { v = 1 } return {}"
    app:update("m", text)
    package.loaded["m.part"] = nil
    app:update("m", text)
    assert.same({ v = 1 }, package.loaded["m.part"])
  end)

  it("does not run the hook less: a module may take its hook out", function()
    local text = [[
      local M = { ran = 0 }
      function M.__hotfix(self) self.ran = self.ran + 1 self.__hotfix = nil end
      return M
    ]]
    app:update("m", text)
    app:update("m", text)
    app:update("m", text)
    assert.equal(3, package.loaded.m.ran)
  end)

  it("comes back when undo takes back that it was never added", function()
    app:update("m", "return { a = 1 }")
    local M = package.loaded.m
    M.a = nil
    app:update("m", "return { a = 1, b = 2 }")
    assert.is_true(app.hotreload.undo "m")
    assert.same({}, M)
    app:update("m", "return { a = 1, b = 2 }")
    assert.same({ b = 2 }, M)
  end)

  describe("and lists", function()
    it("grow by the elements with functions that the file appends, in every mode", function()
      app:update("m", [[return {
        list = { 1, 2 }, on = { function() return 2 end },
          rows = { { f = function() end } }, [5] = 1,
      }]])
      local M = package.loaded.m
      app:update("m", [[return {
        list = { 1, 2, 3 }, on = { function() return 2 end, function() return 3 end },
        rows = { { f = function() end }, { f = function() return 4 end } }, [5] = 1, [7] = 7,
      }]])
      assert.same({ 1, 2 }, M.list) -- plain data stays as it runs
      assert.same({ 2, 3, 4, 7 }, { M.on[1](), M.on[2](), M.rows[2].f(), M[7] })
    end)

    it("do not grow where the program changed their length", function()
      app:update("m", "return { list = { 1, 2 }, queue = { 1, 2 } }")
      local M = package.loaded.m
      M.list[3], M.queue[1], M.queue[2] = "mine", nil, nil
      app:update("m", "return { list = { 1, 2, 3, 4 }, queue = { 1, 2, 3 } }")
      assert.same({ 1, 2, "mine" }, M.list)
      assert.same({}, M.queue)
    end)

    it("have one outcome at the first reload and at the second, without a record of the first "
      .. "load", function()
      app.hotreload.track(false)
      local M = app:module("m", "return { list = { 1, 2 } }")
      for _ = 1, 3 do
        app:update("m", "return { list = { 1, 2, 3 } }")
        assert.same({ 1, 2 }, M.list)
      end
    end)
  end)
end)

describe("the record of the base version (R8)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("keeps nothing alive", function()
    app:update("m", "return { row = { 1 }, long = ('x'):rep(1000), f = function() end }")
    local M = package.loaded.m
    local weak = setmetatable({ M.row, M.f }, { __mode = "v" })
    M.row, M.f, M.long = nil, nil, nil
    collectgarbage()
    collectgarbage()
    assert.same({}, weak)
  end)

  it("goes with a table that the file moves to another place", function()
    app:update("m", "local M = {} local c = { rate = 1, size = 1, gone = 1 } "
      .. "M.cfg = c function M.get() return c end return M")
    local M = package.loaded.m
    local cfg = M.cfg
    cfg.size = 7
    local moved = "local M = {} local c = { rate = 2, size = 2 } "
      .. "M.settings = c function M.get() return c end return M"
    app:update("m", moved, { data = "merge" })
    assert.equal(cfg, M.get())
    assert.same({ rate = 2, size = 7 }, cfg)
  end)

  it("is that of the table for which the program has put another one", function()
    app:update("m", "return { players = { admin = 1, guest = 2 } }")
    local M = package.loaded.m
    M.players = { guest = 3 }
    app:update("m", "return { players = { admin = 1, guest = 2, new = 4 } }")
    assert.same({ guest = 3, new = 4 }, M.players)
  end)

  it("stays where a `keep` in between left alone what the file has no longer", function()
    app:update("m", "return { a = 1, b = 1, sub = { x = 1, y = 1 } }")
    local M = package.loaded.m
    M.b = 2
    app:update("m", "return { sub = { y = 1 } }")
    assert.same({ a = 1, b = 2, sub = { x = 1, y = 1 } }, M)
    app:update("m", "return { sub = { y = 1 } }", { data = "merge" })
    assert.same({ b = 2, sub = { y = 1 } }, M)
  end)

  it("goes by the file where the program had another value all the time", function()
    app:update("m", "return { rate = 1 }")
    local M = package.loaded.m
    M.rate = 5
    app:update("m", "return { rate = 2 }")
    M.rate = 2 -- back to what the file says
    app:update("m", "return { rate = 3 }", { data = "merge" })
    assert.equal(3, M.rate)
  end)

  it("has a table where it looked for what another one lacks, \z
    though a closure holds it, too", function()
    local forms = {
      "{ __index = t }",
      "{ __index = t, __pairs = function() return pairs(t) end }",
      "{ __index = function(_, k) return t[k] end }",
      "{ __index = t, __newindex = function(_, k, v) t[k] = v end }",
    }
    local heads = {
      own = "local function wrap(t) return setmetatable({}, %s) end ",
      foreign = "local wrap = require 'wrap' ",
      ["the chunk's"] =
        "local t local function wrap(table) t = table return setmetatable({}, %s) end ",
    }
    for whose, head in pairs(heads) do
      for i, form in ipairs(forms) do
        local name = ("cfg_%s_%d"):format(whose:sub(1, 3), i)
        package.loaded.wrap = load(("return function(t) return setmetatable({}, %s) end")
          :format(form))()
        local text = (head .. "return wrap { rate = 1, mode = 'a', gone = 1, sub = { x = 1, \z
          y = 1 }, list = { 1, 2 } }")
          :gsub("%%s", (form:gsub("%%", "%%%%")))
        app:update(name, text)
        local cfg = package.loaded[name]
        cfg.sub.y, cfg.sub.own = 7, 8
        for round = 2, 4 do
          local new = text:gsub("rate = 1", "rate = " .. round):gsub("x = 1", "x = " .. round)
            :gsub("gone = 1,", "")
            :gsub("2 }", "2, 3 }")
          local report = app:update(name, new, { data = "merge" })
          assert.same({ round, "a", { x = round, y = 7, own = 8 } },
            { cfg.rate, cfg.mode, cfg.sub }, name)
          assert.same({ 1, 2, 3 }, cfg.list)
          assert.is_nil(cfg.gone)
          assert.same({}, report.warnings)
        end
      end
    end
  end)

  it("does not grow with reloads", function()
    local function text(i)
      return ("K%d = 1 return { ['k%d'] = { %d }, f = function() return %d end }")
        :format(i % 2, i, i, i)
    end
    app:update("m", text(0))
    local M = package.loaded.m
    local function step(i)
      app:reloaded("m", { source = text(i), data = "merge" })
      for key, value in pairs(M) do
        if type(value) == "table" and key ~= "k" .. i then M[key] = nil end
      end
    end
    -- What is noted of functions keeps room for those that are gone, until the reload behind a
    -- collection.
    local function in_use(i)
      collectgarbage()
      step(i)
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    for i = 1, 50 do step(i) end
    local first = in_use(51)
    for i = 52, 250 do step(i) end
    local second = in_use(251)
    for i = 252, 450 do step(i) end
    local third = in_use(451)
    -- What is lost is lost in both halves; the table of strings, which all specs share, may double
    -- in one.
    assert.is_true(math.min(second - first, third - second) < 8, second - first, third - second)
  end)
end)

-- Values that a client has chosen, for which some common fast hash is that of the file's value.
describe("data = 'merge' (R8) with values chosen to be alike", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("keeps a string, a float for an integer, and one under a key", function()
    local V = "return { motd = %q, limit = 100, names = { [%q] = 1 } }"
    local motd = "Welcome to the server, have a very good time her"
    local chosen =
      "A client has chosen this text...\xa9\x16\x19\x19\x0a\xaeA\x9a\x01\xad\xec\xa5P9\xceP"
    app:update("m", V:format(motd, motd))
    local M = package.loaded.m
    M.motd, M.limit = chosen, 0x1.0f1858a10d46cp-223
    M.names[motd], M.names[chosen] = nil, 1
    app:update("m", "return { motd = 'Hello', limit = 200, names = {} }", { data = "merge" })
    assert.same({ chosen, 0x1.0f1858a10d46cp-223, { [chosen] = 1 } }, { M.motd, M.limit, M.names })
  end)
end)

describe("data under keys that are tables (R8.4)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)
  local V = [[
    local M, Fire, Ice, Wind = {}, { name = "fire" }, { name = "ice" }, { name = "wind" }
    M.Fire, M.Ice, M.Wind = Fire, Ice, Wind
    M.damage = { [Fire] = { [Ice] = %s, [Wind] = %s }, [Ice] = %s }
    return M
  ]]

  it("follows the file with 'merge', but for what the program has changed", function()
    local M = app:module("m", V:format(2, 3, 4))
    local fire, ice, wind = M.Fire, M.Ice, M.Wind
    M.damage[fire][wind] = 30
    local report = app:update("m", V:format(20, 3, 40))
    assert.same({ 2, 30, 4, 2 },
      { M.damage[fire][ice], M.damage[fire][wind], M.damage[ice], report.data.differing })
    report = app:update("m", V:format(21, 300, 41), { data = "merge" })
    assert.same({ 21, 30, 41, fire, 1 },
      { M.damage[fire][ice], M.damage[fire][wind], M.damage[ice], M.Fire, #report.warnings })
    assert.matches("number 30 while it runs, number 300 in the file", report.warnings[1])
  end)

  it("are functions there, they stay with their new code in each mode, and none goes", function()
    local text = [[
      local M = { Orc = {}, Elf = {} }
      local function double(x) return x * VERSION end
      M.rules = { [M.Orc] = function(x) return x + VERSION end, [M.Elf] = double }
      M.double = double
      return M
    ]]
    local M = app:module("m", (text:gsub("VERSION", "1")))
    for version, data in ipairs { "keep", "merge", "replace", "keep" } do
      local report = app:update("m", (text:gsub("VERSION", tostring(version))), { data = data })
      assert.same({ 5 + version, 5 * version, 0 },
        { M.rules[M.Orc](5), M.rules[M.Elf](5), report.functions.dropped })
    end
  end)

  it("stays away if the program has removed it", function()
    local M = app:module("m", V:format(2, 3, 4))
    M.damage[M.Ice], M.damage[M.Fire][M.Ice] = nil, nil
    app:update("m", V:format(20, 3, 40), { data = "merge" })
    assert.same({ nil, nil }, { M.damage[M.Ice], M.damage[M.Fire][M.Ice] })
    assert.equal(3, M.damage[M.Fire][M.Wind])
  end)
end)

it("A set of functions alone keeps its text, so that names tell which is which (R3.13)", function()
  local app = program.new()
  local V = [[
    %s
    %s
    return { on = { [hit] = 1, [die] = 2 } }
  ]]
  local hit, die = "local function hit() return %q end", "local function die() return %q end"
  local M = app:module("m", V:format(hit:format "hit", die:format "die"))
  app:update("m", V:format(die:format "die, new", hit:format "hit, new"))
  local found = {}
  for f, value in pairs(M.on) do found[f()] = value end
  assert.same({ ["hit, new"] = 1, ["die, new"] = 2 }, found)
  app:unload()
end)
