-- hotreload.changed: which modules' files differ from what runs (R12).

local program = require "spec.support.program"

local CODE = [[
local M = {}
local count = 0
local function helper() return count end
function M.add() count = count + 1 return helper() end
M.sub = { get = function() return count end }
return M
]]

describe("hotreload.changed (R12.1)", function()
  local app, changed
  before_each(function()
    app = program.new()
    changed = app.hotreload.changed
  end)
  after_each(function() app:unload() end)

  --- The changed ones of these modules, in one string; the problems.
  local function among(...)
    local names, problems, contents = changed { names = { ... } }
    return table.concat(names, " "), problems, contents
  end

  local function edit(name, from, to)
    local file = assert(io.open(app:path(name), "rb"))
    local text = file:read "a"
    file:close()
    local first, last = text:find(from, 1, true)
    app:write(name, text:sub(1, first - 1) .. to .. text:sub(last + 1))
  end

  describe("for a module that require loaded", function()
    it("lists nothing while the file is as it was", function()
      app:module("m", CODE)
      local names, problems = among "m"
      assert.equal("", names)
      assert.same({}, problems)
    end)

    for what, change in pairs {
      ["a body"] = { "count + 1", "count + 2" },
      ["a local function"] = { "helper() return count", "helper() return -count" },
      ["a function in a nested table"] = { "get = function() return count",
        "get = function() return 0" },
      ["the lines of functions"] = { "local count = 0\n", "local count = 0\n\n" },
      ["a new function before the return"] = { "return M\n", "function M.new() end return M\n" },
      ["a function that is gone"] = { "function M.add() count = count + 1 return helper() end",
        "" },
      ["a function that a library makes"] = { "function() return count end", "assert" },
    } do
      it("lists it when the file has changed in " .. what, function()
        app:module("m", CODE)
        edit("m", change[1], change[2])
        assert.equal("m", (among "m"))
        assert.equal("m", (among "m"))
      end)
    end

    it("never runs the file", function()
      app:module("m", "_G.runs = (_G.runs or 0) + 1 " .. CODE)
      among "m"
      edit("m", "count + 1", "count + 2")
      among "m"
      assert.equal(1, _G.runs)
    end)

    it("takes the content for what runs, when the functions are the same", function()
      app:module("m", CODE)
      assert.equal("", (among "m"))
      edit("m", "count = 0", "count = 7")
      assert.equal("m", (among "m"))
      edit("m", "count = 7", "count = 0")
      assert.equal("", (among "m"))
    end)

    it("does not miss functions that stand behind metatables, upvalues and in globals", function()
      for i, source in ipairs {
        "local C = {} C.__index = C function C.f() return 1 end return setmetatable({}, C)",
        "local private = { f = function() return 1 end } return { g = function() \z
          return private end }",
        "function TheGlobal() return 1 end",
        "TheClass = TheClass or {} function TheClass:f() return 1 end",
        "return function() return 1 end",
      } do
        local name = "m" .. i
        app:module(name, source)
        assert.equal("", (among(name)))
        edit(name, "return 1", "return 2")
        assert.equal(name, (among(name)), source)
      end
    end)

    it("finds a new global function, and a new method beside others", function()
      app:module("g", "function GlobalOne() end")
      app:write("g", "function GlobalOne() end\nfunction GlobalTwo() end")
      app:module("one_line", "local M = {} function M.a() end return M")
      app:write("one_line", "local M = {} function M.a() end function M.b() end return M")
      app:module("c", "local C = {} function C.a() end return { make = function() return C end }")
      edit("c", "function C.a() end", "function C.a() end function C.b() end")
      assert.equal("c g one_line", (among("g", "c", "one_line")))
    end)

    it("lists nothing for functions that stand where nobody can see them", function()
      app:module("bus", "local list = {} return { on = function(f) list[#list + 1] = f end }")
      app:module("m", [[
        local bus = require "bus"
        bus.on(function() return 1 end)
        local function named() return 2 end
        bus.on(named)
        local registry = {}
        function registry.hidden() return 3 end
        bus.on(registry)
        return {}
      ]])
      assert.equal("", (among("m", "bus")))
    end)

    it("lists nothing for functions that the file itself takes away again", function()
      app:module("m", [[
        local M = {}
        function M.build() end
        M.built = M.build
        M.build = nil
        function TheBuilder() end
        TheBuilder = nil
        return M
      ]])
      assert.equal("", (among "m"))
    end)

    it("lists nothing for functions that the file may leave out, \z
      or puts into other tables", function()
      app:module("m", [[
        local M = {}
        function M.always() end
        if M.never then
          function M.only_then() end
        else
          function M.else_then() end
        end
        for _ = 1, 0 do function M.in_loop() end end
        for _ in pairs {} do function M.in_other_loop() end end
        do
          local private = { one = function() end, two = function() end }
          M.one = private.one
        end
        return { always = M.always, late = function() end }
      ]])
      assert.equal("", (among "m"))
      app:module("n", "local M = {} if M.never then function M.f() end end \z
        for _ = 1, 0 do M.g = print end return M")
      app:module("o",
        "local M = {} for _ in pairs(M) do\nfunction M.f() end end function M.g() end return M")
      app:module("p",
        "local f, g if _G.no then\nfunction f() end end \z
          if _G.no then g = f end return { f = f, g = g }")
      assert.equal("", (among("n", "o", "p")))
      edit("m", "return {", "return { new = function() end,")
      assert.equal("m", (among "m"))
    end)

    it("does not look into other modules", function()
      app:module("other", CODE)
      app:module("m",
        "local other = require 'other' return { f = function() return other end, other = other }")
      app:write("other", (CODE:gsub("count %+ 1", "count + 2")))
      assert.equal("other", (among("m", "other")))
    end)

    it("is not misled by functions that the program put into the module", function()
      local M = app:module("m", CODE)
      M.patched = function() return "foreign" end
      M.add = function() return "foreign, too" end
      assert.equal("", (among "m"))
    end)

    it("compares the tables of a file that is nothing but data", function()
      local prices = app:module("prices",
        "return { sword = 100, list = { 1, 'two', 3.5, true }, deep = { { x = -1 } } }")
      assert.equal("", (among "prices"))
      app:write("prices",
        "return { sword = 120, list = { 1, 'two', 3.5, true }, deep = { { x = -1 } } }")
      assert.equal("prices", (among "prices"))
      assert.equal(100, prices.sword)
      app:module("table2", "return { rows = { { id = 1 }, { id = 2 } } }")
      app:write("table2", "return { rows = { { id = 1 }, { id = 2 }, { id = 3 } } }")
      assert.equal("table2", (among "table2"))
    end)

    it("lets a program add to its data, but not where gg.safe_reloads says that the \z
      file has all of it", function()
      local data = app:module("data", "return { a = 1, b = {} }")
      data.cache = {}
      data.b.more = 1
      assert.equal("", (among "data"))
      app:module("data2", "return { a = 1, b = { gone = 1 } }")
      app:write("data2", "return { a = 1, b = {} }")
      _G.gg.safe_reloads.data2 = true
      assert.equal("data2", (among "data2"))
    end)

    it("looks at no more than some entries of large tables", function()
      local M = app:module("m", "return { f = function() return 1 end, rows = {} }")
      for i = 1, 200000 do M.rows[i] = { i } end
      assert.equal("", (among "m"))
      edit("m", "return 1", "return 2")
      assert.equal("m", (among "m"))
    end)
  end)

  describe("for a module that was reloaded", function()
    it("compares contents: each difference counts, a comment's too", function()
      app:module("m", CODE)
      app:reloaded "m"
      assert.equal("", (among "m"))
      edit("m", "return M", "return M -- a comment")
      assert.equal("m", (among "m"))
      app:reloaded "m"
      assert.equal("", (among "m"))
    end)

    it("lists nothing for a file that is written again with the same content", function()
      app:module("m", CODE)
      app:reloaded "m"
      app:remove "m"
      app:write("m", CODE)
      assert.equal("", (among "m"))
    end)

    it("lists a module that runs another source than its file", function()
      app:module("m", CODE)
      app:reloaded("m", { source = (CODE:gsub("count %+ 1", "count + 2")) })
      assert.equal("m", (among "m"))
      app:reloaded "m"
      assert.equal("", (among "m"))
      app:reloaded("m", { source = CODE })
      assert.equal("", (among "m"))
    end)

    it("goes on listing it after a dry run, a refusal and a hook that raises", function()
      app:module("m", CODE)
      app:reloaded "m"
      edit("m", "return M", "function M.__hotfix() error 'no' end return M")
      app:reloaded("m", { dry_run = true })
      assert.equal("m", (among "m"))
      assert.is_false((app:reload "m"))
      assert.equal("m", (among "m"))
      app:write("m", "local M = {} M.add = 1 return M")
      app:refused "m"
      assert.equal("m", (among "m"))
      app:write("m", CODE)
      assert.equal("", (among "m"))
    end)

    it("knows what runs after an undo, and after a reload behind it", function()
      app:module("m", CODE)
      app:reloaded "m"
      edit("m", "count + 1", "count + 2")
      app:reloaded "m"
      assert.is_true(app.hotreload.undo "m")
      assert.equal("m", (among "m"))
      app:write("m", CODE)
      assert.equal("", (among "m"))
      edit("m", "count + 1", "count + 3")
      app:reloaded "m"
      assert.equal("", (among "m"))
      assert.is_true(app.hotreload.undo "m")
      assert.equal("m", (among "m"))
      app:write("m", CODE)
      assert.equal("", (among "m"))
    end)

    it("knows the files of a transaction, and of one that failed", function()
      app:module("m", CODE)
      app:module("n", CODE)
      assert.is_true((app.hotreload.reload { "m", "n" }))
      edit("m", "count = 0", "count = 1")
      app:write("n", "error 'no'")
      assert.is_false((app.hotreload.reload { "m", "n" }))
      assert.equal("m n", (among("m", "n")))
      app:write("n", CODE)
      assert.is_true((app.hotreload.reload { "m", "n" }))
      assert.equal("", (among("m", "n")))
    end)

    it("knows the file of a module that gg.reload loaded first", function()
      app:write("m", CODE)
      app:reloaded "m"
      assert.equal("", (among "m"))
      edit("m", "count = 0", "count = 1")
      assert.equal("m", (among "m"))
    end)

    it("finds a file that comes first in package.path later", function()
      app:module("m", CODE)
      app:reloaded "m"
      app:write_file("patches/m.lua", (CODE:gsub("count %+ 1", "count + 2")))
      package.path = app.dir .. "/patches/?.lua;" .. package.path
      assert.equal("m", (among "m"))
      app:reloaded "m"
      assert.equal("", (among "m"))
    end)
  end)

  it("is sorted, and by default about all loaded modules", function()
    for _, name in ipairs { "zz", "aa", "kk", "unchanged" } do app:module(name, CODE) end
    for _, name in ipairs { "zz", "aa", "kk" } do edit(name, "count + 1", "count + 2") end
    local found = {}
    for _, name in ipairs(changed()) do
      if name == "zz" or name == "aa" or name == "kk" or name == "unchanged" then
        found[#found + 1] = name
      end
    end
    assert.same({ "aa", "kk", "zz" }, found)
  end)

  it("does not list a module that returns a string or a number: it says so", function()
    app:module("m", CODE)
    for name, value in pairs { version = "'1.%d'", number = "%d" } do
      app:module(name, "return " .. value:format(1))
      local names, problems = among(name, "m")
      assert.same({ "", {} }, { names, problems })
      app:write(name, "return " .. value:format(2))
      edit("m", "count + 1", "count + 2")
      names, problems = among(name, "m")
      assert.equal("m", names)
      assert.matches("its file has changed, and it returns a " .. type(require(name)),
        problems[name], 1, true)
      assert.is_true((app:reload((changed { names = { name, "m" } }))))
      assert.same({ "", problems }, { table.unpack({ among(name, "m") }, 1, 2) })
      edit("m", "count + 2", "count + 1")
      app:reloaded "m"
    end
  end)

  it("does not list a file that is gone, unreadable or broken: it says what is wrong", function()
    for _, name in ipairs { "gone", "broken", "folder" } do app:module(name, CODE) end
    app:remove "gone"
    app:write("broken", "return {")
    app:remove "folder"
    assert(os.execute("mkdir " .. app:path "folder"))
    local names, problems = among("gone", "broken", "folder")
    assert.equal("", names)
    assert.matches("module 'gone' not found", problems.gone)
    assert.matches("broken.lua:1:", problems.broken)
    assert.matches("cannot read .*folder.lua", problems.folder)
  end)

  it("lists a mended file again", function()
    app:module("m", CODE)
    app:write("m", "return {")
    among "m"
    app:write("m", CODE)
    assert.equal("", (among "m"))
    edit("m", "count + 1", "count + 2")
    assert.equal("m", (among "m"))
  end)

  it("leaves out what gg.reload would refuse, and what has no file", function()
    package.preload.packed = load "return { f = function() end }"
    app:load "packed"
    package.loaded.made = { f = function() end }
    app:module("locked", CODE)
    app:write("locked", "return {}")
    app.hotreload.configure { deny = "^locked$" }
    local names, problems, contents = changed {
      names = { "packed", "made", "locked", "string", "_G", "hotreload", "lfs" },
    }
    assert.same({}, names)
    assert.same({}, problems)
    assert.same({}, contents)
    app.hotreload.configure { deny = {} }
    assert.equal("locked", (among "locked"))
  end)

  it("asks custom searchers, and compares the code of their loaders", function()
    local text = CODE
    table.insert(package.searchers, 2, function(name)
      if name == "virtual" then return load(text, "@virtual.lua"), "virtual.lua" end
    end)
    app:load "virtual"
    assert.equal("", (among "virtual"))
    text = CODE:gsub("count %+ 1", "count + 2")
    assert.equal("virtual", (among "virtual"))
    app:reloaded "virtual"
    assert.equal("", (among "virtual"))
    text = text:gsub("count = 0", "count = 5")
    assert.equal("virtual", (among "virtual"))
  end)

  it("reports a searcher that raises as that module's problem", function()
    app:module("m", CODE)
    table.insert(package.searchers, 2,
      function(name) if name == "m" then error "searcher broke" end end)
    local names, problems = among "m"
    assert.equal("", names)
    assert.matches("searcher broke", problems.m)
  end)

  it("gives a digest of each file's content", function()
    app:module("m", CODE)
    local _, _, first = among "m"
    assert.equal("integer", math.type(first.m))
    edit("m", "count + 1", "count + 2")
    local _, _, second = among "m"
    assert.not_equal(first.m, second.m)
    app:write("m", CODE)
    local _, _, third = among "m"
    assert.equal(first.m, third.m)
    local script =
      "local h = require 'hotreload' require 'm' print(select(3, h.changed { names = { 'm' } }).m)"
    local one, other = app:subprocess(script), app:subprocess(script)
    assert.matches("^%-?%d+\n$", one)
    assert.not_equal(one, other) -- nobody can work out beforehand what is alike
  end)

  it("sees an edit after which a common fast hash of the file is the same", function()
    local text = "--[[ 00162 a long note          \xae\xd7\xf4\x9a\xb5\xb0\x8d\xe6]]N = 1; "
      .. "return { f = function() return N end }\n"
    app:update("m", text)
    assert.equal("", (among "m"))
    app:write("m", (text:gsub("N = 1", "N = 2")))
    assert.equal("m", (among "m"))
  end)

  it("does not trust time and size of a file that is only just written (quick)", function()
    app:module("m", CODE)
    assert.same({}, (changed { names = { "m" }, quick = true }))
    edit("m", "count + 1", "count + 2") -- of one length, most likely in the same tick of the clock
    assert.same({ "m" }, (changed { names = { "m" }, quick = true }))
  end)

  it("does not read a file again whose time, size and place are as they were (quick)", function()
    app:module("m", CODE)
    local function age(path)
      assert(os.execute(("touch -d '1 hour ago' '%s'"):format(path)))
    end
    age(app:path "m") -- its change of state is younger: not trusted either
    assert.same({}, (changed { names = { "m" }, quick = true }))
    edit("m", "count + 1", "count + 2")
    age(app:path "m")
    assert.same({ "m" }, (changed { names = { "m" }, quick = true }))
  end)

  it("reads no file whose time, size and place are as they were for a while (quick)", function()
    local function bytes_read()
      local file = io.open "/proc/self/io"
      local text = file and file:read "a"
      if file then file:close() end
      return text and math.tointeger(text:match "rchar: (%d+)")
    end
    if not bytes_read() then return pending "this system does not count what a process reads" end
    app:load "spec.support.random_module"
    local function cost(options)
      local before = bytes_read()
      assert.same({}, (changed(options)))
      return bytes_read() - before
    end
    local options = { names = { "spec.support.random_module" }, quick = true }
    local first = cost(options)
    assert.is_true(cost(options) < first / 2)
    options.quick = nil
    assert.equal(first, cost(options))
  end)

  it("leaves the program as it is", function()
    local M = app:module("m", CODE)
    edit("m", "count + 1", "count + 2")
    changed()
    local before = program.fingerprint(M)
    changed()
    before:assert_unchanged()
  end)

  it("raises for wrong arguments alone, and blames the caller", function()
    for _, wrong in ipairs {
      true, "m", { 1 }, { name = "m" }, { names = "m" }, { names = { 1 } },
      { names = { m = true } }, { quick = 1 },
    } do
      local ok, message = pcall(changed, wrong)
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'changed'", message)
    end
    local chunk = assert(load("\n\nlocal x = ... local y = x(1) return y", "=caller"))
    assert.matches("^caller:3: bad argument", select(2, pcall(chunk, changed)))
    assert.same({}, (changed { names = { "no.such.module" } }))
    package.loaded[7] = {}
    changed {}
  end)
end)
