-- Limits that a reload meets (docs/semantics/limits.md): what `report.limits` has, and when a limit
-- is a warning instead.

local document = require "spec.support.document"
local program = require "spec.support.program"

-- What reports have said here.
local said = {}

--- A pattern for a text: "…" is for what it does not tell.
local function pattern(text)
  return (text:gsub("[%(%)%.%%%+%-%*%?%[%]%^%$]", "%%%0"):gsub("…", ".-"))
end

--- Gives a table so many entries that the file does not know.
local function fill(t, count, value)
  for i = 1, count do t["p" .. i] = value or i end
end

--- `text i, text i, …`: `%d` in `text` is each number up to `count`.
local function series(count, text)
  local parts = {}
  for i = 1, count do parts[i] = text:gsub("%%d", i) end
  return table.concat(parts, ", ")
end

describe("a limit", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- Writes `m` with EDIT replaced.
  local function write(source, edit) app:write("m", (source:gsub("EDIT", edit))) end

  --- Reloads `m`; the report must have these limits and warnings, each by its beginning or whole.
  local function reload(limits, warnings, options)
    local report = app:reloaded("m", options)
    for name, expected in pairs { limits = limits or {}, warnings = warnings or {} } do
      local texts = table.concat(report[name], "\n")
      assert.equal(#expected, #report[name], name .. ": " .. texts)
      for i, text in ipairs(expected) do
        assert.matches("^" .. pattern(text) .. "$", report[name][i])
        said[#said + 1] = report[name][i]
      end
    end
    return report
  end

  it("is not met in a small program", function()
    app:module("m", "return { f = function() return 1 end }")
    write("return { f = function() return 2 end }", "")
    assert.falsy(tostring(reload()):find "limit")
  end)

  it("is not met by a file that is a large table of data", function()
    local source = "return { " .. series(11000, "item%d = { price = %d }") .. ", EDIT }"
    write(source, "")
    app:load "m"
    for i = 1, 3 do
      write(source, tostring(i))
      reload({}, {}, { data = i == 3 and "merge" or "keep" })
    end
  end)

  it("is not met where much of the program is data", function()
    app:module("bus", "local bus = { list = {} }\n"
      .. "function bus.on(f) bus.list[#bus.list + 1] = f end return bus")
    local source = "local bus, M, Player = require 'bus', { players = {}, names = {} }, {}\n"
      .. "local MAX = EDIT Player.__index = Player function Player:hit() return EDIT end\n"
      .. "function M.join(name)\n"
      .. "  local p = setmetatable({ name = name, on = function() return MAX end }, Player)\n"
      .. "  M.players[#M.players + 1], M.names[name] = p, p return p end\n"
      .. "bus.on(M.join) return M"
    write(source, "1")
    local m = app:load "m"
    for i = 1, 20000 do m.join("p" .. i) end
    for i, options in ipairs { {}, { scope = "vm" }, { data = "merge" } } do
      write(source, tostring(i + 1))
      options.strict = true
      reload({}, {}, options)
      assert.equal(i + 1, m.players[1]:hit())
    end
  end)

  describe("that a search met", function()
    local SOURCE = "local M = { set = {} } function M.f() return EDIT end\n"
      .. "M.set[coroutine.create(M.f)] = true return M"
    local TEXT = "m.set: only the first 10000 of its keys were compared with the file's "
      .. "coroutines, and others may stand there twice; give the coroutines a table of their own "
      .. "(R3.13)"
    local m
    before_each(function()
      write(SOURCE, "1")
      m = app:load "m"
      fill(m.set, 10001)
    end)

    it("is in the report at each reload, is no warning, and refuses nothing", function()
      for i = 2, 3 do
        write(SOURCE, tostring(i))
        reload({ TEXT }, nil, { strict = true })
        assert.equal(i, m.f())
      end
    end)

    it("is counted in the report's text, and told in full by a plan and by a log", function()
      write(SOURCE, "2")
      local report = reload { TEXT }
      assert.matches("\n  1 limit met (report.limits)", tostring(report), 1, true)
      local plan = app.hotreload.plan "m"
      assert.matches("\n  not looked at:\n    ! " .. TEXT, plan, 1, true)
      local lines = {}
      app.hotreload.configure { log = function(level, line) lines[#lines + 1] = level .. line end }
      app:reloaded "m"
      app.hotreload.configure { log = false }
      assert.equal("infomodule 'm': " .. TEXT, lines[1])
    end)

    it("is told of each module of a transaction by itself", function()
      app:module("n", "return { f = function() return 1 end }")
      for _, names in ipairs { { "n", "m" }, { "m", "n" } } do
        local reports = app:reloaded(names)
        for i, name in ipairs(names) do
          assert.same(name == "m" and { TEXT } or {}, reports[i].limits)
        end
      end
    end)

    it("is told at a few places, not at all", function()
      local source = { "local M = {} function M.f() return 1 end\n" }
      for i = 1, 9 do
        source[#source + 1] = ("M.s%d = { [coroutine.create(M.f)] = true }\n"):format(i)
      end
      m = app:module("n", table.concat(source) .. "return M")
      for i = 1, 9 do fill(m["s" .. i], 10001) end
      local limits = app:reloaded "n".limits
      assert.equal(5, #limits)
      local further = 0
      for _, limit in ipairs(limits) do
        assert.matches("^n%.s%d[%l ]*: only the first 10000 of its keys ", limit)
        if limit:find("and further places: ", 1, true) then further = further + 1 end
      end
      assert.equal(1, further)
    end)
  end)

  -- Each: what runs, what is done to it, how the file is edited, and what the report then has.
  local CASES = {
    {
      name = "of tables that a load remembers (R2.1)",
      source = "local M = { f = function() return EDIT end }\n"
        .. ("M.k%d = M.k%d or {}\n"):rep(20):gsub("%%d", (function()
          local n = 0
          return function() n = n + 1 return tostring((n + 1) // 2) end
        end)()) .. "return M",
      prepare = function(m)
        for i = 1, 20 do
          for j = 1, 20 do m["k" .. i]["k" .. j] = {} end
        end
      end,
      limits = { "m: the file names more than 256 tables, and what its chunk writes into further "
        .. "ones is not put back; guard such writes with hotreload.reloading() (R2.1)" },
    },
    {
      name = "of a reference to a table that may have own functions (R3.9)",
      untracked = true,
      source = "local M = { a = { f = function() return EDIT end } } M.b = M.a return M",
      prepare = function(m)
        m.b = {}
        fill(m.b, 10001)
      end,
      limits = { "m.b: only the first 10000 of its entries were searched for functions of the "
        .. "module, so it counts as data of the program's; give such functions a table of their "
        .. "own (R3.9)" },
    },
    {
      name = "of what stands beside a table (R3.9)",
      untracked = true,
      source = "local M = { a = { f = function() return EDIT end } } M.b = M.a return M",
      former = "local M = { a = { f = function() return 1 end } } M.b = M.a\n"
        .. "M.c = { f = function() return 3 end } return M",
      prepare = function(m)
        m.b = m.c
        fill(m, 1001)
      end,
      limits = { "m: only the first 1000 of its entries were searched for tables that the file has "
        .. "dropped, so a table of the file may take the data of such a one over; look at "
        .. "hotreload.plan (R3.9)" },
    },
    {
      name = "of keys of rows in the record (R3.14)",
      source = "return { list = { {" .. series(65, "k%d = 1") .. "}, {" .. series(65, "k%d = 2")
        .. "} }, f = function() return EDIT end }",
      limits = { "m.list: only the first 64 keys of its rows were looked up in the record, and "
        .. "what the program has changed under others may not be seen; give the rows fewer keys "
        .. "(R3.14)" },
    },
    {
      name = "of fields of a running row (R5.4)",
      modules = { bus = "return { list = {} }" },
      source = "local list, M = require 'bus'.list, {}\n"
        .. "list[#list + 1] = { f = function() return EDIT end } return M",
      prepare = function()
        local row = require "bus".list[1]
        for i = 1, 1001 do row[i] = i end
      end,
      limits = { "package.loaded.bus.list: only the first 1000 fields of a row were searched for "
        .. "functions of the module, and the row counts as another one than each of the file's; "
        .. "give it fewer fields (R5.4)" },
    },
    {
      name = "of the depth of a coroutine that answers to one of the file's (R3.13)",
      source = "local M = { set = {} }\n"
        .. "function M.wait(n) if n > 0 then M.wait(n - 1) return end coroutine.yield(EDIT) end\n"
        .. "function M.run() M.wait(300) return 1 end\n"
        .. "M.set[coroutine.create(M.run)] = true return M",
      prepare = function(m) coroutine.resume((next(m.set))) end,
      limits = { "m.set: the coroutine is more than 200 calls deep, and its outer functions "
        .. "may go on with old code; look at hotreload.stale (R3.13)" },
      warnings = { "m.set: the coroutine goes on with its old code until it ends; …" },
    },
    {
      name = "of a module's object that is searched for imports (R3.3)",
      modules = { big = "local M = { obj = {} } for i = 1, 10001 do M['p' .. i] = i end return M" },
      former = "local wait, M = require 'big'.obj, {} function M.f() return wait end return M",
      source = "local wait, M = EDIT, {} function M.f() return wait end return M",
      limits = { "big: only the first 10000 entries of this module's object were searched for what "
        .. "the file imports; give its data a field of their own (R3.3)" },
      after = function(m) assert.equal(2, m.f()) end,
    },
    {
      name = "of functions that the file names no longer (R4.2)",
      former = "local n, M = 1, { t = {} } function M.t.f() n = n + 1 return n end return M",
      source = "local n, M, k = 1, { t = {} }, 1\n"
        .. "function M.t.f() k = k + EDIT n = n + 1 return n, k end return M",
      prepare = function(m)
        m.data = {}
        fill(m.data, 10001)
      end,
      limits = { "m: only the first 10000 entries of its tables were searched for functions that "
        .. "the file no longer names; give large data a module of their own (R4.2)" },
    },
    {
      name = "of tables that are searched for functions that assign a constant (R4.7)",
      untracked = true,
      source = "local wait, M = EDIT, { t = {} } function M.f() return wait end return M",
      prepare = function(m) fill(m.t, 1001) end,
      limits = { "m.f@wait: its value follows the file as that of a constant; tables of more than "
        .. "1000 entries were not searched for functions that assign it; if one does, assign the "
        .. "former value in __hotfix (R4.7)" },
      after = function(m) assert.equal(2, m.f()) end,
    },
    {
      name = "of entries that calls reach (R2.10)",
      modules = { host = "local h = { map = {} } for i = 1, 200001 do h.map['k' .. i] = i end\n"
        .. "function h.set(k, v) h.map[k] = v end return h" },
      source = "local host = require 'host' host.set('x', 1)\n"
        .. "return { f = function() return EDIT end }",
      limits = { "…m.lua:1: host.set(\"x\", 1): it reaches more than 200000 table entries, and "
        .. "what it changed beyond them is not put back; guard it with hotreload.reloading() "
        .. "(R2.10)" },
    },
    {
      name = "of tables to which a call leads (R2.10)",
      modules = { host = "local h, n = { t = {} }, 0\n"
        .. "for i = 1, 31 do h.t[i] = {} for j = 1, 31 do h.t[i][j] = { {}, {}, {} } end end\n"
        .. "function h.bump() n = h.t and n + 1 end return h" },
      source = "local host = require 'host' host.bump() return { f = function() return EDIT end }",
      limits = { "…m.lua:1: host.bump(): it leads to more than 2048 tables, and what it changes in "
        .. "further ones is not put back; guard it with hotreload.reloading() (R2.10)" },
    },
    {
      name = "of entries that are searched for what a call has placed (R2.10)",
      modules = { host = "local h = { map = {} } for i = 1, 150000 do h.map['k' .. i] = i end\n"
        .. "function h.on(k, f) h.map[k .. 'x'] = f end return h" },
      source = "local host, M = require 'host', {} function M.f() return EDIT end\n"
        .. "host.on('k1', M.f) host.on('k2', M.f) return M",
      limits = { "…m.lua:2: host.on(\"k2\", m.f): only the first 200000 entries were searched for "
        .. "what it registers, which may be registered again; guard it with hotreload.reloading() "
        .. "(R2.10)" },
    },
    {
      name = "of names of functions in the file's tables (R5.6)",
      modules = { host = "local h = { l = {} } function h.on(f) h.l[#h.l + 1] = f end return h" },
      source = "local host, t = require 'host', {}\n"
        .. "for i = 1, 100 do t[i] = {} for j = 1, 1001 do t[i][j] = j end end\n"
        .. "host.on(function() return #t end) host.on(function() return 1, #t end)\n"
        .. "host.on(function() return 2, #t end) return { f = function() return EDIT end }",
      limits = { "m: only the first 100000 entries of the file's tables were searched for names of "
        .. "the functions that it registers, and others go by their code; give these functions to "
        .. "locals (R5.6)" },
    },
    {
      name = "of the depth of a coroutine that the chunk resumes (R2.7)",
      modules = { host = "local h = {} local function deep(n)\n"
        .. "  if n > 0 then return (deep(n - 1)) end while true do coroutine.yield() end end\n"
        .. "h.co = coroutine.create(deep) coroutine.resume(h.co, 300) return h" },
      source = "local host = require 'host' coroutine.resume(host.co)\n"
        .. "return { f = function() return EDIT end }",
      limits = { "m: a coroutine is resumed that is more than 200 calls deep, and what the outer "
        .. "ones change is not put back; guard it with hotreload.reloading() (R2.7)" },
    },
    {
      name = "of calls whose name is asked for, if a function has several (R5.8)",
      modules = { host = "return { on = function(x) return x end }" },
      source = "local host = require 'host' local on = host.on on(1)\n"
        .. "for i = 1, 201 do host.on(i) end return { f = function() return EDIT end }",
      limits = { "m: only of the first 200 calls it is known by which of its names each function "
        .. "was called; call it by one (R5.8)" },
    },
  }

  describe("in the report", function()
    for _, case in ipairs(CASES) do
      it(case.name, function()
        if case.untracked then app.hotreload.track(false) end
        for name, text in pairs(case.modules or {}) do app:module(name, text) end
        write(case.former or case.source, "1")
        local m = app:load "m"
        if case.prepare then case.prepare(m) end
        write(case.source, "2")
        reload(case.limits, case.warnings, { strict = not case.warnings })
        if case.after then case.after(m) end
        app.hotreload.track()
      end)
    end
  end)

  it("is met in an object that is searched for own functions, if nobody saw its load", function()
    -- (Under a name of its own: of "m" the library knows by now which source its functions have.)
    app:write("unseen", "local M = { t = { f = function() end } }\n"
      .. "for i = 1, 10001 do M['p' .. i] = i end return M")
    package.loaded.unseen = assert(loadfile(app:path "unseen"))()
    local text = "unseen: only the first 10000 entries of its object were searched for functions "
      .. "of its own; if its file was found by another path before, give its data a field of their "
      .. "own (R1.2)"
    said[#said + 1] = text
    assert.same({ text }, app:reloaded "unseen".limits)
    assert.same({}, app:reloaded "unseen".limits)
  end)

  it("of function keys is a warning in a reload of an edited file alone", function()
    local source = "local M = { set = { [function() return EDIT end] = true } } return M"
    write(source, "1")
    local m = app:load "m"
    fill(m.set, 10001)
    write(source, "2")
    reload({}, { "m.set: function keys of the file that look like others there were not added; "
      .. "give these functions names (R3.13)" })
    reload { "m.set: only the first 10000 of its keys were compared with the file's functions, and "
      .. "none of these was added; give the functions a table of their own (R3.13)" }
  end)

  it("of elements of a list is a warning in a reload of an edited file alone", function()
    local source = "return { list = { { n = 1 }, { n = EDIT } }, f = function() end }"
    write(source, "1")
    local list = app:load "m".list
    for i = 3, 1000001 do list[i] = i end
    local text = "m.list: a list with more than 1000000 elements, and those behind them stay as "
      .. "they are; change them in __hotfix (R3.14)"
    write(source, "2")
    reload({}, { text })
    reload { text }
  end)

  describe("of the search for a call that was made before", function()
    -- Each: how a registry keeps what it is given, how the call is made, and the limit.
    local REGISTRIES = {
      {
        name = "ways to repeat it",
        host = "function h.on(...) for _, f in ipairs { ... } do h.l[#h.l + 1] = f end end",
        call = "local fs = {} for i = 1, 12 do fs[i] = function() return fs end end\n"
          .. "h.on(table.unpack(fs))",
        text = "only the first 20000 ways were tried in which it may repeat an older call; guard "
          .. "it with hotreload.reloading() (R5.5)",
      },
      {
        name = "writes",
        host = "function h.on(fs) for _, f in ipairs(fs) do h.l[#h.l + 1] = f end end",
        call = "local fs = {} for i = 1, 70 do fs[i] = function() return i end end h.on(fs)",
        text = "it writes to more than 64 places, and not all ways were tried in which it may "
          .. "repeat an older call; guard it with hotreload.reloading() (R5.5)",
      },
      {
        name = "keys of keys",
        host = "function h.on(f) local t = { f = f } for _ = 1, 25 do t = { [t] = true } end\n"
          .. "h.l[#h.l + 1] = t end",
        prepare = function() end,
        call = "local function f() end h.on(f)",
        text = "only 20 tables that are keys of tables were compared, one in the other; guard the "
          .. "call with hotreload.reloading() (R5.5)",
      },
      {
        name = "links of a chain",
        host = "function h.on(f) h.l = { f, h.l } end",
        prepare = function(h)
          h.l = {}
          for i = 1, 100 do h.l[i] = {} end
        end,
        call = "local function f() end h.on(f)",
        text = "only the first 64 entries of a table were searched for a chain in it; guard the "
          .. "call with hotreload.reloading() (R5.5)",
      },
      {
        name = "objects of a chain",
        host = "function h.on(f) h.top = { f = f, next = h.top } end",
        prepare = function(h)
          h.top = nil
          for _ = 1, 2001 do h.top = { next = h.top } end
        end,
        call = "local function f() end h.on(f)",
        text = "only the first 2000 objects of a chain were compared with what it adds there; "
          .. "guard it with hotreload.reloading() (R5.5)",
      },
      {
        name = "entries of a record",
        host = "function h.on(f) h.l[#h.l + 1] = { f = f } end",
        prepare = function(h)
          for i = 1, 40 do
            h.l[i] = {}
            fill(h.l[i], 101)
          end
        end,
        call = "local function f() end h.on(f)",
        text = "only the first 100 entries of a record were searched for functions of the module; "
          .. "guard the call with hotreload.reloading() (R5.5)",
      },
      {
        name = "entries of what it is given",
        prepare = function(h) h.l = {} end,
        host = "function h.on(t) h.l[#h.l + 1] = t end",
        call = "local t = {} for i = 1, 300 do t[i] = i end function t.f() end h.on(t)",
        text = "only the first 256 entries of each table that it is given were compared; guard it "
          .. "with hotreload.reloading() (R5.5)",
      },
    }

    for _, case in ipairs(REGISTRIES) do
      it("is told if that was not found: " .. case.name, function()
        local h = app:module("host", "local h = { l = {} }\n" .. case.host .. "\nreturn h")
        write("local h = require 'host' " .. case.call .. "\nreturn { f = function() end }", "")
        app:load "m"
        if case.prepare then case.prepare(h) else table.remove(h.l, 3) end
        local function of_call(list)
          local found = {}
          for _, text in ipairs(list) do
            if text:find(case.text, 1, true) then found[#found + 1] = text end
          end
          return found
        end
        local report = app:reloaded "m"
        local found = of_call(report.limits)
        assert.equal(1, #found, table.concat(report.limits, "\n"))
        assert.matches("m.lua:%d: h.on%(.-%): ", found[1])
        said[#said + 1] = found[1]
        assert.equal(1, report.calls.new)
      end)
    end

    it("is a warning if the last load made the call", function()
      app:module("host", "local h = { l = {} } function h.on(f) local t = { f = f }\n"
        .. "for _ = 1, 25 do t = { [t] = true } end h.l[#h.l + 1] = t end return h")
      write("local h = require 'host' local function f() end h.on(f)\n"
        .. "return { f = f }", "")
      app:load "m"
      local text = "…m.lua:1: h.on(m.f): only 20 tables that are keys of tables were compared, one "
        .. "in the other; guard the call with hotreload.reloading() (R5.5)"
      reload { text }
      reload({}, { text })
      local message = app:refused("m", { strict = true })
      assert.matches("only 20 tables that are keys of tables", message, 1, true)
    end)
  end)

  it("of objects with a number is told when the numbers are used up (R8.4)", function()
    -- Nobody makes so many objects here: the count is set, in the library's own table.
    local output, code, errors = app:subprocess [==[
      require "hotreload"
      local function reload(text)
        local ok, report = gg.reload("m", { source = text, strict = true })
        print(ok, #report.limits, report.limits[1])
      end
      package.loaded.m = load "return { t = {}, f = function() return 1 end }"()
      reload "return { t = {}, f = function() return 2 end }"
      local seen, found, queue = {}, {}, { gg.reload }
      local function meet(value)
        if (type(value) == "table" or type(value) == "function") and not seen[value] then
          seen[value], queue[#queue + 1] = true, value
        end
      end
      for _, object in ipairs(queue) do
        if type(object) == "function" then
          for i = 1, 255 do
            local name, value = debug.getupvalue(object, i)
            if not name then break end
            meet(value)
          end
        else
          if type(rawget(object, "lineage")) == "table" then found[#found + 1] = object.lineage end
          for _, value in next, object do meet(value) end
        end
      end
      for _, lineage in ipairs(found) do lineage.last = 16777213 end
      reload "return { t = {}, u = {}, v = {}, w = {}, f = function() return 3 end }"
      reload "return { t = {}, u = {}, v = {}, w = {}, f = function() return 4 end }"
    ]==]
    assert.equal(0, code, errors)
    local text = "m: the 16777215 numbers of objects in this state are used up, and further "
      .. "objects are known by their places alone; restart the program (R8.4)"
    said[#said + 1] = text
    assert.equal("true\t0\tnil\n" .. ("true\t1\t" .. text .. "\n"):rep(2), output)
  end)

  describe("of dropped fields (R5.10)", function()
    local DATA = series(1001, "k%d = %d")

    it("is none for keys that the former text names", function()
      write("return { t = { " .. DATA .. ", mana = 2 }, f = function() end }", "")
      local m = app:load "m"
      m.t.mana = 7
      write("return { t = { " .. DATA .. " }, f = function() end }", "")
      reload({}, { "m.t.mana (number 7): nothing in the file uses it; keep it in the file, or its "
        .. "value is lost" })
      reload()
    end)

    it("is none for a table that the program has filled", function()
      write("return { t = { mana = 2 }, f = function() end }", "")
      local m = app:load "m"
      m.t.mana = 7
      fill(m.t, 1001)
      write("return { t = {}, f = function() end }", "")
      reload({}, { "m.t.mana (number 7): nothing in the file uses it; keep it in the file, or its "
        .. "value is lost" })
      reload()
    end)

    it("is none for elements of a list, and for a table of another list", function()
      local function source(count)
        return "local t = { rows = { " .. series(count, "{ n = %d }") .. " }, "
          .. "numbers = { " .. series(count, "%d") .. " } } return { t = t, f = function() end }"
      end
      write(source(1500), "")
      local m = app:load "m"
      write(source(1400), "")
      for _, data in ipairs { "keep", "merge" } do
        reload({}, {}, { data = data })
        reload({}, {}, { data = data })
      end
      assert.equal(1400, #m.t.numbers)
    end)

    it("is a warning for computed keys, and only in the reload that drops them", function()
      local source = "local t = {} for i = 1, EDIT do t['k' .. i] = i end\n"
        .. "return { t = t, f = function() end }"
      write(source, "2000")
      app:load "m"
      reload()
      write(source, "1500")
      reload({}, { "m.t: the file lacks keys that it had; of a table with more than 1000 entries "
        .. "only keys are looked for that the former text names; take the values under others over "
        .. "in __hotfix (R5.10)" })
      reload()
    end)
  end)
end)

describe("a limit of hotreload.changed", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("is its fourth result, until the module is reloaded", function()
    local text = "local M = { data = {} } function M.f() return %d end\n"
      .. "function M.data.f() return %d end\n"
      .. "for i = 1, 50001 do M.data[i] = {} end return M"
    app:module("n", "return { f = function() end }")
    app:module("m", text:format(1, 1))
    local names, problems, _, limits = app.hotreload.changed { names = { "m", "n" } }
    assert.same({ {}, {} }, { names, problems })
    assert.same({ m = "only the first 50000 entries of its tables were compared with its file; "
      .. "reload it once, and its file is compared as a whole (R12.3)" }, limits)
    assert.is_nil(app.hotreload.version "m".problem)
    app:reloaded "m"
    assert.same({}, (select(4, app.hotreload.changed { names = { "m", "n" } })))
    app:write("m", text:format(2, 1))
    assert.same({ "m" }, (app.hotreload.changed { names = { "m", "n" } }))
    assert.same({}, (select(4, app.hotreload.changed { names = { "m", "n" } })))
  end)
end)

describe("what was a limit", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("is none: classes between an object and the class that is asked for", function()
    local class = { f = function() end }
    class.__index = class
    local at = class
    for _ = 1, 1000 do
      at = setmetatable({}, at)
      at.__index = at
    end
    local object = setmetatable({}, at)
    assert.same({ object }, (app.hotreload.instances(class)))
  end)

  it("is none: classes in a circle have an end", function()
    local a, b, class = {}, {}, {}
    a.__index, b.__index, class.__index = a, b, class
    setmetatable(a, b)
    setmetatable(b, a)
    local object = setmetatable({}, a)
    assert.same({}, (app.hotreload.instances(class)))
    assert.is_table(object)
  end)

  it("is none: locals of a coroutine that the chunk resumes", function()
    local host = app:module("host", "local h = { t = {} }\n"
      .. "local function run(...) local t = select(-1, ...) while true do\n"
      .. "t.n = (t.n or 0) + 1 coroutine.yield() end end\n"
      .. "h.co = coroutine.create(run)\n"
      .. "local given = {} for i = 1, 300 do given[i] = i end given[301] = h.t\n"
      .. "coroutine.resume(h.co, table.unpack(given)) h.t.list = {} return h")
    app:module("m", "return { f = function() end }")
    app:write("m", "local h = require 'host' coroutine.resume(h.co) return { f = function() end }")
    app:reloaded("m", { dry_run = true })
    assert.equal(1, host.t.n)
  end)

  it("is none: a module's own tables leave room for those of others", function()
    local settings = app:module("settings", "return { deep = { volume = 5 } }")
    local source = "local settings = require 'settings' EDIT\n"
      .. "return { " .. series(300, "item%d = {}") .. ", f = function() end }"
    app:module("m", (source:gsub("EDIT", "")))
    app:write("m", (source:gsub("EDIT", "settings.deep.volume = 6")))
    app:reloaded("m", { dry_run = true })
    assert.equal(5, settings.deep.volume)
  end)

  it("is none: the length of a source name, and a text is no name", function()
    local folder = ("d"):rep(200)
    local path = "@" .. (folder .. "/"):rep(6) .. "m.lua"
    local source = "local n, M = 0, {} function M.f() n = n + 1 return n end return M"
    local m = assert(load(source, path))()
    package.loaded.m = m
    assert.equal(1, m.f())
    app:write("m", "local n, M = 0, {} function M.f() n = n + 10 return n end return M")
    app:reloaded "m"
    assert.equal(11, m.f())
  end)
end)

describe("docs/messages.md", function()
  -- Those that another spec makes, or that take more than a spec has.
  local ELSEWHERE = {
    ["so its rows go by their places"] = "spec/identity_spec.lua",
    ["so these go by their places"] = "spec/identity_spec.lua",
  }

  it("has no limit that is not met here", function()
    local text = document.read "docs/messages.md":match "\n## Limits\n(.-)\n## "
    local count = 0
    for row in text:gmatch "\n| `([^\n]-)` |" do
      local is_met = false
      for _, one in ipairs(said) do is_met = is_met or one:find(pattern(row)) ~= nil end
      for part in pairs(ELSEWHERE) do is_met = is_met or row:find(part, 1, true) ~= nil end
      assert.is_true(is_met, row)
      count = count + 1
    end
    assert.is_true(count > 25, count)
  end)
end)
