-- R5.3: lists are merged element by element: what the program removed stays away, what it added
-- stays, and what the file inserted goes beside its neighbour.

local program = require "spec.support.program"

local function list(...) return "return { list = { " .. table.concat({ ... }, ", ") .. " } }" end
local function named(name, version)
  return ("{ name = '%s', run = function() return '%s%d' end }"):format(name, name, version)
end
local function handler(name, version)
  return ("function() return '%s%d' end"):format(name, version)
end
--- A loop that makes a function, or another element, for each value that it runs over.
local function loop(over, version, element)
  local makes = element or "function() return it .. 'VERSION' end"
  return ("local M = { list = {} } for %s do M.list[#M.list + 1] = %s end return M"):format(
    over, (makes:gsub("VERSION", version)))
end
local function item(id, price) return ("{ id = '%s', price = %d }"):format(id, price) end

local function text_of(element)
  if type(element) == "function" then return element() end
  if type(element) ~= "table" then return tostring(element) end
  if element.run then return element.run() end
  return element.id .. element.price
end

local function texts(elements)
  local found = {}
  for i, element in ipairs(elements) do found[i] = text_of(element) end
  return table.concat(found, " ")
end

--- What the file said, what the program does to its list, what the file says now, and what the list
--- is then, by mode.
local CASES = {
  ["a row with functions that the file inserts"] = {
    list(named("a", 1), named("b", 1)), nil, list(named("a", 2), named("c", 2), named("b", 2)),
    keep = "a2 c2 b2", merge = "a2 c2 b2", replace = "a2 c2 b2",
  },
  ["a row that the file puts in front, of which the program removed one"] = {
    list(named("a", 1), named("b", 1)), function(t) table.remove(t, 1) end,
    list(named("c", 2), named("a", 2), named("b", 2)),
    keep = "c2 b2", merge = "c2 b2", replace = "c2 a2 b2",
  },
  ["rows that the program turned round and added to"] = {
    list(named("a", 1), named("b", 1)),
    function(t) t[1], t[2], t[3] = t[2], t[1], { run = function() return "own" end } end,
    list(named("a", 2), named("c", 2), named("b", 2)),
    keep = "b2 a2 c2 own", merge = "b2 a2 c2 own", replace = "a2 c2 b2",
  },
  ["rows that the file turns round"] = {
    list(named("a", 1), named("b", 1), named("c", 1)), nil,
    list(named("c", 2), named("b", 2), named("a", 2)),
    keep = "c2 b2 a2", merge = "c2 b2 a2", replace = "c2 b2 a2",
  },
  ["a handler that the program removed"] = {
    list(handler("a", 1), handler("b", 1), handler("c", 1)), function(t) table.remove(t, 1) end,
    list(handler("a", 2), handler("b", 2), handler("c", 2)),
    keep = "b2 c2", merge = "b2 c2", replace = "a2 b2 c2",
  },
  ["handlers that the program sorted"] = {
    list(handler("a", 1), handler("b", 1), handler("c", 1)),
    function(t) t[1], t[3] = t[3], t[1] end,
    list(handler("a", 2), handler("b", 2), handler("c", 2)),
    keep = "c2 b2 a2", merge = "c2 b2 a2", replace = "a2 b2 c2",
  },
  ["references to functions that have names"] = {
    "local M = {} function M.a() return 'a1' end function M.b() return 'b1' end "
      .. "M.list = { M.a, M.b } return M",
    nil,
    "local M = {} function M.a() return 'a2' end function M.b() return 'b2' end "
      .. "M.list = { M.b } return M",
    keep = "b2", merge = "b2", replace = "b2",
  },
  ["plain values"] = {
    list("'a'", "'b'", "'c'"), nil, list("'a'", "'x'", "'b'"),
    keep = "a b c", merge = "a x b", replace = "a x b",
  },
  ["plain values that the program removed and added"] = {
    list("'a'", "'b'", "'c'"), function(t) table.remove(t, 1) t[3] = "own" end,
    list("'a'", "'b'", "'x'", "'c'"),
    keep = "b c own", merge = "b x c own", replace = "a b x c",
  },
  ["a plain value that the program changed and one that the file did"] = {
    list(1, 2, 3), function(t) t[3] = 9 end, list(1, 5, 3),
    keep = "1 2 9", merge = "1 5 9", replace = "1 5 3",
  },
  ["values that are there several times"] = {
    list(1, 1, 2, 1), nil, list(1, 2, 1, 1, 3),
    keep = "1 1 2 1", merge = "1 2 1 1 3", replace = "1 2 1 1 3",
  },
  ["rows of data that the file inserts, changes and removes"] = {
    list(item("a", 1), item("b", 1), item("c", 1)), nil,
    list(item("a", 2), item("x", 2), item("c", 2)),
    keep = "a1 b1 c1", merge = "a2 x2 c2", replace = "a2 x2 c2",
  },
  ["rows of data that the program changed, sorted and removed"] = {
    list(item("a", 1), item("b", 1), item("c", 1), item("d", 1)),
    function(t) table.remove(t, 1) t[1], t[3] = t[3], t[1] t[2].price = 9 end,
    list(item("a", 2), item("b", 2), item("c", 2), item("d", 2), item("x", 2)),
    keep = "d1 c9 b1", merge = "d2 x2 c9 b2", replace = "a2 b2 c2 d2 x2",
  },
  ["rows of numbers, of which the file changes one and inserts one"] = {
    list("{ id = 1, price = 10 }", "{ id = 2, price = 20 }"), nil,
    list("{ id = 1, price = 10 }", "{ id = 3, price = 15 }", "{ id = 4, price = 25 }"),
    keep = "110 220", merge = "110 315 425", replace = "110 315 425",
  },
  ["the same, where the program has changed one"] = {
    list("{ id = 1, price = 10 }", "{ id = 2, price = 20 }"), function(t) t[2].price = 9 end,
    list("{ id = 1, price = 10 }", "{ id = 3, price = 15 }", "{ id = 4, price = 25 }"),
    keep = "110 29", merge = "110 29", replace = "110 315 425",
  },
  ["functions that a loop makes, one for each name"] = {
    loop("_, it in ipairs { 'a', 'b' }", 1), nil, loop("_, it in ipairs { 'b', 'c', 'a' }", 2),
    keep = "b2 c2 a2", merge = "b2 c2 a2", replace = "b2 c2 a2",
  },
  ["functions that a loop makes, of which the program removed one"] = {
    loop("_, it in ipairs { 'a', 'b' }", 1), function(t) table.remove(t, 1) end,
    loop("_, it in ipairs { 'a', 'b' }", 2), keep = "b2", merge = "b2", replace = "a2 b2",
  },
  ["functions that a loop makes, one for each number"] = {
    loop("it = 1, 2", "x"), nil, loop("it = 1, 4", "y"),
    keep = "1y 2y 3y 4y", merge = "1y 2y 3y 4y", replace = "1y 2y 3y 4y",
  },
  ["functions that a loop makes, with other numbers"] = {
    loop("_, it in ipairs { 7, 5 }", "x"), nil, loop("_, it in ipairs { 5, 3 }", "y"),
    keep = "5y 3y", merge = "5y 3y", replace = "5y 3y",
  },
  ["functions that a loop makes, and nothing tells apart"] = {
    loop("_ = 1, 2", 1, "function() return 'fVERSION' end"), nil,
    loop("_ = 1, 3", 2, "function() return 'fVERSION' end"),
    keep = "f2 f2 f2", merge = "f2 f2 f2", replace = "f2 f2 f2",
  },
  ["rows with functions that a loop makes"] = {
    loop("_, it in ipairs { 'a', 'b' }", 1,
      "{ name = it, run = function() return it .. 'VERSION' end }"), nil,
    loop("_, it in ipairs { 'a', 'c', 'b' }", 2,
      "{ name = it, run = function() return it .. 'VERSION' end }"),
    keep = "a2 c2 b2", merge = "a2 c2 b2", replace = "a2 c2 b2",
  },
  ["an empty list, filled by the file"] = {
    list(), nil, list(item("a", 1)), keep = "", merge = "a1", replace = "a1",
  },
  ["a list that the file empties"] = {
    list(item("a", 1), 2), nil, list(), keep = "a1 2", merge = "", replace = "",
  },
}

--- What a table has under numbers: plain, and as a loop over rows `r` makes it.
local VALUES = {
  rows = { plain = "{ name = 'NAME' }", loop = "r", is_data = true },
  names = { plain = "'NAME'", loop = "r.name", is_data = true },
  functions = {
    plain = "function() return 'NAMEVERSION' end",
    loop = "function() return r.name .. 'VERSION' end",
  },
  handlers = { plain = "handler 'NAME'", loop = "handler(r.name)" },
  ["rows with functions"] = {
    plain = "{ run = function() return 'NAMEVERSION' end }",
    loop = "{ run = function() return r.name .. 'VERSION' end }",
  },
}
--- The numbers, before an edit and behind it.
local IDS = {
  { "1 2 4", "1 2 3 4" }, { "1 2 4", "1 2" }, { "1 2 4", "1 2 5" }, { "1 2 4", "101 102 103" },
  { "1 2 3", "1 2 5" }, { "1 2 3", "2 3" }, { "1 2 5", "1 2 3" }, { "1 2 4 7", "1 2 8 11" },
  { "1 2 3 4 5 6", "1 2 3 5 6" }, { "101 102 103", "101 103 104" },
}

local function parse(ids)
  local found = {}
  for id in ids:gmatch "%d+" do found[#found + 1] = math.tointeger(id) end
  return found
end

local function mapped(shape, value, ids, version)
  local lines = {
    "local M = { map = {} }",
    "local function handler(name) return function() return name .. 'VERSION' end end",
    shape == "loop" and "for _, r in ipairs {" or "",
  }
  for _, id in ipairs(ids) do
    lines[#lines + 1] = shape == "loop" and ("{ id = %d, name = 'n%d' },"):format(id, id)
      or ("M.map[%d] = %s"):format(id, (value:gsub("NAME", "n" .. id)))
  end
  if shape == "loop" then lines[#lines + 1] = "} do M.map[r.id] = " .. value .. " end" end
  lines[#lines + 1] = "return M"
  return (table.concat(lines, "\n"):gsub("VERSION", version))
end

local function name_of(one)
  local run = type(one) == "table" and one.run or one
  return type(run) == "function" and run() or type(one) == "table" and one.name or one
end

for _, scope in ipairs { "module", "vm" } do
  describe("lists, element by element (R5.3), scope = '" .. scope .. "':", function()
    local app
    before_each(function()
      app = program.new()
      require "hotreload".track()
    end)
    after_each(function() app:unload() end)

    for what, case in pairs(CASES) do
      for _, mode in ipairs { "keep", "merge", "replace" } do
        it(what .. ", data = '" .. mode .. "'", function()
          local M = app:module("m", case[1])
          if case[2] then case[2](M.list) end
          local before = {}
          for _, element in ipairs(M.list) do
            if type(element) == "table" then before[text_of(element):sub(1, 1)] = element end
          end
          app:update("m", case[3], { data = mode, scope = scope })
          assert.equal(case[mode], texts(M.list))
          for _, element in ipairs(M.list) do
            local was = type(element) == "table" and before[text_of(element):sub(1, 1)]
            if was then assert.equal(was, element) end
          end
          -- What was taken is on record: the same file changes nothing.
          app:update("m", case[3], { data = mode, scope = scope })
          assert.equal(case[mode], texts(M.list))
        end)
      end
    end

    it("what was not taken with 'keep' comes with 'merge'", function()
      local M = app:module("m", list(item("a", 1), item("b", 1)))
      local text = list(item("a", 1), item("x", 1), item("b", 2))
      app:update("m", text, { scope = scope })
      assert.equal("a1 b1", texts(M.list))
      app:update("m", text, { data = "merge", scope = scope })
      assert.equal("a1 x1 b2", texts(M.list))
    end)

    it("what 'keep' did not take of an edit comes with 'merge': plain elements, too", function()
      for i, case in ipairs {
        { "1, 2, 3", "1, 3" }, { "1, 2, 3", "3" }, { "1, 2, 3", "1, 2, 4" }, { "1, 2", "1, 2, 3" },
        { "0, 0, 1", "0, 1" }, { "'a', 'b', 'a'", "'a', 'a', 'c'" }, { "1, 2, 3", "" },
      } do
        local M = app:module("m" .. i, list(case[1]))
        local loaded = texts(M.list)
        for _ = 1, 2 do
          app:update("m" .. i, list(case[2]), { scope = scope })
          assert.equal(loaded, texts(M.list))
        end
        table.insert(M.list, 1, "own")
        app:update("m" .. i, list(case[2]), { data = "merge", scope = scope })
        local wanted = "own " .. case[2]:gsub("[,']", "")
        assert.equal(wanted:gsub(" $", ""), texts(M.list))
      end
    end)

    it("the order that 'keep' did not take of a list of data comes with 'merge'", function()
      for _, lists in ipairs {
        { "1, 2, 3", "3, 1, 2" },
        { "{ id = 'a' }, { id = 'b' }", "{ id = 'b' }, { id = 'a' }" },
        { "1, 2, 3", "3, 4, 1" },
      } do
        package.loaded.m = nil
        local M = app:module("m", list(lists[1]))
        app:update("m", list(lists[2]))
        app:reloaded "m"
        assert.same(load(list(lists[1]))(), M)
        app:reloaded("m", { data = "merge" })
        assert.same(load(list(lists[2]))(), M)
      end
    end)

    it("a row that is in an index as well stays one row", function()
      local text = [[
        local list, by_id = { ITEMS }, {}
        for _, row in ipairs(list) do by_id[row.id] = row end
        return { list = list, by_id = by_id }
      ]]
      local function items(...) return (text:gsub("ITEMS", table.concat({ ... }, ", "))) end
      local M = app:module("m", items(item("a", 1), item("b", 1)))
      app:update("m", items(item("a", 1), item("c", 1), item("b", 2)),
        { data = "merge", scope = scope })
      assert.equal("a1 c1 b2", texts(M.list))
      assert.equal(M.by_id.b, M.list[3])
      assert.equal(M.by_id.c, M.list[2])
    end)

    it("with 'replace' a removed row does not become another one", function()
      local M = app:module("m", list("{ name = 'sword' }", "{ name = 'bow' }", "{ name = 'axe' }"))
      local bow, axe = M.list[2], M.list[3]
      app:update("m", list("{ name = 'sword' }", "{ name = 'axe' }"),
        { data = "replace", scope = scope })
      assert.equal("bow", bow.name)
      assert.equal(axe, M.list[2])
      assert.is_nil(M.list[3])
    end)

    it("rows that nothing tells apart are not added, and the report says what to do", function()
      local M = app:module("m",
        list("{ run = function() return 'a' end }", "{ run = function() return 'b' end }"))
      local report = app:update("m", list(
        "{ run = function() return 'x' end }", "{ run = function() return 'y' end }",
        "{ run = function() return 'z' end }"
      ), { scope = scope })
      assert.equal("a b", texts(M.list))
      assert.matches("m%.list%[1%]: .* was not added; .* give it a name", report.warnings[1])
    end)

    it("rows of data that nothing tells apart are not added with 'merge', and the report says so",
      function()
        local M = app:module("m", list("{ id = 1, price = 10 }", "{ id = 2, price = 20 }"))
        M.list[2].price = 9
        local report = app:update("m", list("{ id = 1, price = 10 }", "{ id = 3, price = 15 }",
          "{ id = 4, price = 25 }"), { data = "merge", scope = scope })
        assert.equal("110 29", texts(M.list))
        assert.matches("m%.list%[2%]: a new row that .* was not added", report.warnings[1])
      end)

    it("closures that a factory of the file makes", function()
      local file = [[
        local M = {}
        local function make(name) return function() return name, "old" end end
        M.handlers = { make "hit", make "quit" }
        return M
      ]]
      local M = app:module("made", file)
      local report = app:reloaded "made"
      assert.same({ 2, 0, 0 }, { #M.handlers, report.functions.added, report.functions.removed })
      M.handlers[1], M.handlers[2] = M.handlers[2], M.handlers[1]
      app:update("made", (file:gsub("old", "new"):gsub('make "hit"', 'make "say", make "hit"')))
      local names = {}
      for i, one in ipairs(M.handlers) do names[i] = table.concat({ one() }, " ") end
      assert.same({ "quit new", "say new", "hit new" }, names)
    end)

    for how, made in pairs {
      ["of a loop"] = "function() r.hits = (r.hits or 0) + 1 return r.name .. r.hits .. '@' end",
      ["of a factory"] = "make(r)",
    } do
      it("closures " .. how .. " over rows, by what the rows say", function()
        local function version(tag, ...)
          local rows = {}
          for i, name in ipairs { ... } do
            rows[i] = ("{ name = %q, kind = 'all', v = %d }"):format(name, name:byte())
          end
          return (([[
            local M, shared = { on = {} }, { name = "shared" }
            local function make(r)
              return function()
                r.hits = (r.hits or 0) + 1
                return shared and r.name .. r.hits .. "@"
              end
            end
            for _, r in ipairs { ROWS } do M.on[#M.on + 1] = MADE end
            return M
          ]]):gsub("MADE", made):gsub("@", tag):gsub("ROWS", table.concat(rows, ", ")))
        end
        local M = app:module("m", version("", "a", "b", "c"))
        local function all()
          local said = {}
          for i, f in ipairs(M.on) do said[i] = f() end
          return table.concat(said, " ")
        end
        assert.equal("a1 b1 c1", all())
        local options = { scope = scope, strict = true }
        app:update("m", version("!", "a", "z", "b", "c"), options)
        assert.equal("a2! z1! b2! c2!", all())
        app:update("m", version("?", "c", "a", "z", "b"), options)
        assert.equal("c3? a3? z2? b3?", all())
        table.remove(M.on, 2)
        app:update("m", version(".", "c", "a", "z", "b"), options)
        assert.equal("c4. z3. b4.", all())
      end)
    end

    it("lists in lists, upvalues, metatables and globals", function()
      rawset(_G, "LISTS_SPEC", nil)
      local text = [[
        local hidden = { ROWS }
        local M = setmetatable({ deep = { { ROWS } } }, { rows = { ROWS } })
        LISTS_SPEC = { ROWS }
        function M.all() return hidden, M.deep[1], getmetatable(M).rows, LISTS_SPEC end
        return M
      ]]
      local function rows(...)
        local all = table.concat({ ... }, ", ")
        return (text:gsub("ROWS", function() return all end))
      end
      local M = app:module("m", rows(named("a", 1), named("b", 1)))
      for _, t in ipairs { M.all() } do table.remove(t, 1) end
      app:update("m", rows(named("a", 2), named("b", 2), named("c", 2)), { scope = scope })
      for _, t in ipairs { M.all() } do assert.equal("b2 c2", texts(t)) end
      rawset(_G, "LISTS_SPEC", nil)
    end)

    it("rows with C functions", function()
      local function rows(version)
        return list("{ name = 'cpu', get = os.clock }", named("wall", version), "print",
          "{ get = os.time }")
      end
      local M = app:module("m", rows(1))
      local loaded = { table.unpack(M.list) }
      local report = app:update("m", rows(2), { scope = scope })
      assert.same({}, report.warnings)
      assert.same({ "wall2", loaded }, { M.list[2].run(), M.list })
      table.remove(M.list, 1)
      app:update("m", rows(3), { data = "merge", scope = scope })
      assert.same({ "wall3", print, os.time }, { M.list[1].run(), M.list[2], M.list[3].get })
    end)

    it("functions of equal code are one for the other", function()
      local function noops(count)
        return list(("function() return 'none' end"):rep(count, ", "), handler("b", 1))
      end
      local M = app:module("m", noops(2))
      local first, second = M.list[1], M.list[2]
      local report = app:update("m", noops(1), { scope = scope, report = "full" })
      assert.same({ {}, "none none b1" }, { report.warnings, texts(M.list) })
      assert.same({ "m.list[2]" }, report.paths.functions.removed)
      report = app:update("m", noops(3), { scope = scope })
      assert.same({}, report.warnings)
      assert.same({ first, second }, { M.list[1], M.list[2] })
    end)

    it("functions that a loop makes keep their variables", function()
      local function text(names, version)
        return loop("_, it in ipairs { " .. names .. " }", version, [[(function()
          local n = 0
          return function() n = n + 1 return it .. n .. 'VERSION' end
        end)()]])
      end
      local M = app:module("m", text("'a', 'b'", "x"))
      assert.equal("b1x", M.list[2]())
      local report = app:update("m", text("'b', 'c', 'a'", "y"), { scope = scope })
      assert.same({ {}, "b2y c1y a1y" }, { report.warnings, texts(M.list) })
    end)

    it("a table whose numbers have holes goes by its keys, before and behind the edit", function()
      for _, shape in ipairs { "plain", "loop" } do
        for kind, value in pairs(VALUES) do
          for _, mode in ipairs { "keep", "merge" } do
            for _, ids in ipairs(IDS) do
              package.loaded.m = nil
              local M = app:module("m", mapped(shape, value[shape], parse(ids[1]), ""))
              local wanted = {}
              for _, id in ipairs(parse(ids[1])) do wanted[id] = "n" .. id end
              for _, now in ipairs { ids[2], ids[1] } do
                local what = ("%s of %s, %s: %s"):format(shape, kind, mode,
                  table.concat(ids, " -> "))
                local file, version = parse(now), value.is_data and "" or "!"
                app:update("m", mapped(shape, value[shape], file, version),
                  { data = mode, scope = scope })
                if mode == "merge" and value.is_data then wanted = {} end
                for _, id in ipairs(file) do wanted[id] = "n" .. id .. version end
                for id, one in pairs(M.map) do
                  assert.is_truthy(wanted[id], what)
                  assert.equal("n" .. id, (name_of(one):gsub("!", "")), what)
                end
                for _, id in ipairs(file) do assert.equal(wanted[id], name_of(M.map[id]), what) end
                if value.is_data then
                  for id in pairs(wanted) do assert.equal(wanted[id], name_of(M.map[id]), what) end
                end
              end
            end
          end
        end
      end
    end)

    it("functions that the file takes out of such a table go with removed = 'drop'", function()
      for _, ids in ipairs { { "1 2 4", "1 2" }, { "1 2 3 4", "1 2 4" }, { "1 2 4 8", "2 4" } } do
        package.loaded.m = nil
        local handlers = VALUES.functions.plain
        local M = app:module("m", mapped("plain", handlers, parse(ids[1]), ""))
        app:update("m", mapped("plain", handlers, parse(ids[2]), "!"),
          { removed = "drop", scope = scope })
        local left = {}
        for id in pairs(M.map) do left[#left + 1] = id end
        table.sort(left)
        assert.equal(ids[2], table.concat(left, " "))
      end
    end)

    it("a list with holes goes by its keys", function()
      local M = app:module("m", list(handler("a", 1), "nil", handler("c", 1)))
      app:update("m", list(handler("a", 2), "nil", handler("c", 2)), { scope = scope })
      assert.same({ "a2", "c2" }, { M.list[1](), M.list[3]() })
    end)

    it("a list in which the program made a hole gets no new elements", function()
      local M = app:module("m", list(named("a", 1), named("b", 1), named("c", 1)))
      M.list[2] = nil
      app:update("m", list(named("a", 2), named("b", 2), named("c", 2)), { scope = scope })
      assert.is_nil(M.list[2])
      assert.same({ "a2", "c2" }, { M.list[1].run(), M.list[3].run() })
    end)

    it("a list of 16,000 rows", function()
      local source = [[
        local M = { list = {} }
        for i = 1, 16000 do M.list[i] = { id = "row" .. i, price = VERSION } end
        table.insert(M.list, 8000, INSERTED)
        return M
      ]]
      local first = source:gsub("VERSION", 1):gsub("INSERTED", "{ id = 'first', price = 1 }")
      local M = app:module("m", first)
      table.remove(M.list, 1)
      app:update("m", (source:gsub("VERSION", 2):gsub("INSERTED", "{ id = 'second', price = 2 }")),
        { data = "merge", scope = scope })
      assert.equal(16000, #M.list)
      assert.same({ "row2", 2 }, { M.list[1].id, M.list[1].price })
      assert.equal("second", M.list[7999].id)
    end)
  end)
end

describe("lists without a record of the first load (R5.3)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("get no new rows, and the report says why", function()
    require "hotreload".track(false)
    local M = app:module("m", list(named("a", 1), named("b", 1)))
    local report = app:update("m", list(named("a", 2), named("c", 2), named("b", 2)))
    assert.equal("a2 b2", texts(M.list))
    assert.matches("m%.list%[2%]: .* no record", table.concat(report.warnings, "\n"))
  end)
end)

describe("a list of the module's named functions (R5.12)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  local function module(version, elements)
    return (([[
      local M = {}
      function M.a() return "aV" end
      function M.b() return "bV" end
      function M.c() return "cV" end
      function M.d() return "dV" end
      M.list = { %s }
      return M
    ]]):format(elements):gsub("V", version))
  end
  local function other() return "other" end

  it("keeps the program's handler in the place of the last one, which it removed", function()
    local M = app:module("m", module(1, "M.a, M.b, M.c"))
    table.remove(M.list)
    table.insert(M.list, other)
    local report = app:update("m", module(2, "M.a, M.b, M.c"))
    assert.equal("a2 b2 other", texts(M.list))
    assert.matches("^m.list%[3%]: the function of .*lists_spec.lua:%d+ stays", report.warnings[1])
    assert.equal(1, #report.warnings)
    assert.same({}, app:update("m", module(2, "M.a, M.b, M.c"), { strict = true }).warnings)
    report = app:update("m", module(3, "M.a, M.b, M.c"))
    assert.matches("that the file has changed", report.warnings[1])
    app:update("m", module(2, "M.a, M.b, M.c"), { data = "replace" })
    assert.equal("a2 b2 c2", texts(M.list))
  end)

  it("says nothing of the program's handler if the file has not changed its own", function()
    for name, third in pairs { m = "M.c", n = "function() return 'x' end" } do
      local text = module(1, "M.a, M.b, " .. third)
      local M = app:module(name, text)
      M.list[3] = other
      assert.same({}, app:update(name, text .. " -- edited").warnings)
      assert.equal("a1 b1 other", texts(M.list))
    end
  end)

  it("gets two new ones between two that the program has swapped: each next to its own", function()
    local file = "local M = {} for _, n in ipairs { 'a', 'b', 'c', 'd' } do "
      .. "M[n] = function() return n end end M.list = { M.a, M.b } return M"
    local M = app:module("swapped", file)
    M.list[1], M.list[2] = M.list[2], M.list[1]
    app:update("swapped", (file:gsub("{ M.a, M.b }", "{ M.d, M.a, M.b, M.c }")))
    local names = {}
    for i, f in ipairs(M.list) do names[i] = f() end
    assert.same({ "b", "c", "d", "a" }, names)
  end)

  it("gets the file's new one beside what the program has added", function()
    local M = app:module("m", module(1, "M.a, M.b"))
    table.insert(M.list, other)
    assert.same({}, app:update("m", module(2, "M.a, M.b, M.c")).warnings)
    assert.equal("a2 b2 c2 other", texts(M.list))
  end)

  it("gets a function that the program had patched elsewhere", function()
    local M = app:module("m", module(1, "M.a, M.b"))
    M.d = other
    assert.same({}, app:update("m", module(2, "M.d, M.b")).warnings)
    assert.equal("d2 b2", texts(M.list))
  end)

  it("has none back that was removed and is inside a wrapper elsewhere", function()
    local M = app:module("m", module(1, "M.a, M.b, M.c"))
    table.remove(M.list, 3)
    app:reloaded "m"
    local c = M.c
    M.c = function() return "around " .. c() end
    assert.same({}, app:update("m", module(2, "M.b, M.a, M.c")).warnings)
    assert.same({ "a2 b2", "around c2" }, { texts(M.list), M.c() })
  end)
end)

describe("a row that the file takes out of a list (R5.12, R8.4)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  local rows = {
    ["of data"] = "{ id = '%s', price = %d, tags = { 'x', { '%s' } } }",
    ["with functions"] = [[{
      id = '%s', price = %d, use = function() return 1 end,
      tags = { 'x', { '%s' }, use = function() return 2 end },
    }]],
    ["with a metatable"] = "setmetatable({ id = '%s', price = %d, tags = { 'x', { '%s' } } }, {})",
  }
  for what, text in pairs(rows) do
    local function row(id, price) return text:format(id, price, id) end

    it(what .. " goes at a later merge, and comes back with the file", function()
      local M = app:module("m", list(row("a", 1), row("b", 1), row("c", 1)))
      local report = app:update("m", list(row("a", 1), row("c", 1)))
      assert.same({ "a1 b1 c1", 1 }, { texts(M.list), report.data.differing })
      app:reloaded "m"
      app:reloaded("m", { data = "merge" })
      assert.equal("a1 c1", texts(M.list))
      app:update("m", list(row("a", 1), row("b", 2), row("c", 1)), { data = "merge" })
      assert.equal("a1 b2 c1", texts(M.list))
    end)

    it(what .. " stays with a warning if the program has changed it, at any depth", function()
      for _, change in ipairs {
        function(b) b.price = 7 end,
        function(b) b.new = true end,
        function(b) b.tags[2][1] = "y" end,
        function(b) b.tags = nil end,
      } do
        package.loaded.m = nil
        local M = app:module("m", list(row("a", 1), row("b", 1), row("c", 1)))
        app:update("m", list(row("a", 1), row("c", 1)))
        change(M.list[2])
        local report = app:reloaded("m", { data = "merge" })
        assert.equal("b", M.list[2].id)
        assert.matches("m.list[2]: the file has the row no longer", report.warnings[1], 1, true)
        assert.same({}, app:reloaded("m", { data = "merge" }).warnings)
      end
    end)

    it(what .. " is the file's if that has it again", function()
      local M = app:module("m", list(row("a", 1), row("b", 1)))
      app:update("m", list(row("a", 1)))
      app:update("m", list(row("a", 1), row("b", 5)), { data = "merge" })
      assert.equal("a1 b5", texts(M.list))
    end)

    it(what .. " stays one row if the file has it again with 'keep'", function()
      local M = app:module("m", list(row("a", 1), row("b", 1), row("c", 1)))
      app:update("m", list(row("a", 1), row("c", 1)))
      local report = app:update("m", list(row("a", 1), row("b", 1), row("c", 1)))
      assert.same({ "a1 b1 c1", {} }, { texts(M.list), report.warnings })
    end)
  end
end)

describe("an enumeration that leads both ways (R5.12)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)
  local function enum(...)
    return ([[
      local E = {}
      for i, name in ipairs { "%s" } do E[name], E[i] = i, name end
      return { E = E }
    ]]):format(table.concat({ ... }, '", "'))
  end

  it("gets a new name and its number, which are the program's from then on", function()
    local M = app:module("m", enum("A", "B"))
    local report = app:update("m", enum("A", "B", "C", "D"))
    assert.same({ "A", "B", "C", "D", A = 1, B = 2, C = 3, D = 4 }, M.E)
    assert.same({ 4, 0, {} }, { report.data.added, report.data.differing, report.warnings })
    M.E.D, M.E[4] = nil, nil
    app:update("m", enum("A", "B", "C", "D"))
    assert.same({ "A", "B", "C", A = 1, B = 2, C = 3 }, M.E)
  end)

  it("does not get a number that the program uses, nor one of a name in the middle", function()
    local M = app:module("m", enum("A", "B"))
    M.E[3] = "own"
    app:update("m", enum("A", "B", "C"))
    assert.same({ "A", "B", "own", A = 1, B = 2, C = 3 }, M.E)
    local N = app:module("n", enum("A", "B"))
    local report = app:update("n", enum("A", "X", "B", "C"))
    assert.same({ "A", "B", A = 1, B = 2, X = 2, C = 4 }, N.E)
    assert.matches("n.E.B: number 2 while it runs, number 3 in", report.warnings[1], 1, true)
  end)
end)

describe("A list of functions that the file defines elsewhere", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local BODIES = {
    login = "(p) p.online = true return 'login' end",
    buy = "(p, item) p.gold = p.gold - item.price return 'buy' end",
    chat = "(p, words) for word in words:gmatch '%a+' do p[#p + 1] = word:upper() end "
      .. "return 'chat' end",
  }
  local WORDS = { __index = { gmatch = function() return function() end end } }
  local PLACES = { ["in locals"] = { "local function NAME", "NAME" },
    ["in fields"] = { "function M.NAME", "M.NAME" } }
  for title, place in pairs(PLACES) do
    for _, data in ipairs { "keep", "merge" } do
      it(("gets a new one in the place of one that is gone, %s, %s"):format(title, data), function()
        local function text(names)
          local lines, elements = { "local M = {}" }, {}
          for name in names:gmatch "%a+" do
            lines[#lines + 1] = place[1]:gsub("NAME", name) .. BODIES[name]
            elements[#elements + 1] = place[2]:gsub("NAME", name)
          end
          lines[#lines + 1] = ("M.list = { %s } return M"):format(table.concat(elements, ", "))
          return table.concat(lines, "\n")
        end
        local M = app:module("m", text "login buy")
        app:update("m", text "login chat", { data = data })
        local said = {}
        for _, f in ipairs(M.list) do
          said[f({ gold = 1 }, setmetatable({ price = 1 }, WORDS))] = true
        end
        assert.is_true(said.login and said.chat)
        local count = #M.list
        app:update("m", text "login chat", { data = data })
        assert.equal(count, #M.list)
      end)
    end
  end
end)
