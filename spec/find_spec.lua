-- R1.2, R1.3: a module is found as `require` finds it.

local program = require "spec.support.program"

local V1 = [[
  local M, count = {}, 0
  function M.name() return "v1" end
  function M.bump() count = count + 1 return count end
  return M
]]
local V2 = V1:gsub("v1", "v2")

describe("find", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- Loads v1, counts to 3, reloads: v2's behaviour on v1's state.
  local function assert_follows(M, name)
    assert.equal("v1", M.name())
    for _ = 1, 3 do M.bump() end
    return function(report)
      assert.equal(name, report.module)
      assert.equal(M, package.loaded[name])
      assert.equal("v2", M.name())
      assert.equal(4, M.bump())
    end
  end

  describe("a file on package.path (R1.2)", function()
    it("returns exactly true and a report", function()
      app:module("m", V1)
      app:write("m", V2)
      local result = table.pack(app:reload "m")
      assert.equal(2, result.n)
      assert.is_true(result[1])
      assert.is_table(result[2])
    end)

    it("returns exactly false and a message when the module cannot be found", function()
      local result = table.pack(app:reload "no.such.module")
      assert.equal(2, result.n)
      assert.is_false(result[1])
      assert.is_string(result[2])
    end)

    it("finds a/b/c.lua for a.b.c", function()
      local check = assert_follows(app:module("a.b.c", V1), "a.b.c")
      local report = app:update("a.b.c", V2)
      check(report)
      assert.equal(app:path "a.b.c", report.file)
    end)

    it("finds ?/init.lua", function()
      app:write_file("pack/init.lua", V1)
      local check = assert_follows(app:load "pack", "pack")
      local path = app:write_file("pack/init.lua", V2)
      local report = app:reloaded "pack"
      check(report)
      assert.equal(path, report.file)
    end)

    it("takes the first template that has the file, \z
      as package.path stands at the reload", function()
      local check = assert_follows(app:module("m", V1), "m")
      app:write_file("patch/m.lua", V2)
      package.path = app.dir .. "/patch/?.lua;" .. package.path
      check(app:reloaded "m")
    end)

    it("finds a relative path below the working directory", function()
      app:write("m", V1)
      local out = app:subprocess [[
        package.path = "./?.lua;" .. package.path
        require "hotreload"
        local m = require "m"
        local ok, report = gg.reload "m"
        print(ok, report.file, debug.getinfo(m.name, "S").source)
      ]]
      assert.equal("true\t./m.lua\t@./m.lua\n", out)
    end)

    it("names the chunk @path, so that functions of all generations have one source", function()
      local M = app:module("m", V1)
      local old = M.name
      app:update("m", V2)
      assert.equal("@" .. app:path "m", debug.getinfo(old, "S").source)
      assert.equal("@" .. app:path "m", debug.getinfo(M.name, "S").source)
    end)

    it("hands the name and the path to the chunk as `...`", function()
      local M = app:module("a.b", "return { f = print }")
      app:update("a.b", "local M = {} M.seen = table.pack(...) return M")
      assert.same({ n = 2, "a.b", app:path "a.b" }, M.seen)
    end)

    it("skips a UTF-8 BOM", function()
      local check = assert_follows(app:module("m", "\xEF\xBB\xBF" .. V1), "m")
      check(app:update("m", "\xEF\xBB\xBF" .. V2))
    end)

    it("skips a first line that starts with # and keeps the line numbers", function()
      local check = assert_follows(app:module("m", "#!/usr/bin/env lua\n" .. V1), "m")
      check(app:update("m", "#!/usr/bin/env lua\n" .. V2))
      assert.equal(3, debug.getinfo(package.loaded.m.name, "S").linedefined)
    end)

    it("skips a BOM and then a # line", function()
      local check = assert_follows(app:module("m", V1), "m")
      check(app:update("m", "\xEF\xBB\xBF# a comment\n" .. V2))
      assert.equal(3, debug.getinfo(package.loaded.m.name, "S").linedefined)
    end)

    it("does not skip a # line that is not the first", function()
      app:module("m", V1)
      app:write("m", "\n#!/usr/bin/env lua\n" .. V2)
      local message = app:refused "m"
      assert.truthy(message:find(app:path "m" .. ":2:", 1, true), message)
      app:update("m", V2)
    end)

    it("takes a file that is nothing but a # line or a BOM for an empty chunk", function()
      app:module("m", "local function f() end a_global = f")
      for _, text in ipairs { "#", "# no newline", "\xEF\xBB\xBF", "", "#\n" } do
        app:update("m", text)
      end
      assert.is_true(package.loaded.m)
    end)

    it("reads CRLF and keeps the line numbers", function()
      local check = assert_follows(app:module("m", V1:gsub("\n", "\r\n")), "m")
      check(app:update("m", (V2:gsub("\n", "\r\n"))))
      assert.equal(2, debug.getinfo(package.loaded.m.name, "S").linedefined)
    end)

    it("does not end a text at a zero byte", function()
      local check = assert_follows(app:module("m", V1), "m")
      check(app:update("m", "local s = '\0' assert(#s == 1)" .. V2))
    end)

    it("loads a file of more than a megabyte", function()
      local check = assert_follows(app:module("m", V1), "m")
      check(app:update("m", V2 .. "--" .. ("x"):rep(2 ^ 21 | 0)))
    end)
  end)

  describe("binary chunks (R1.2)", function()
    local function dump(source, strip)
      return string.dump(assert(load(source, "@" .. app:path "m")), strip)
    end

    it("loads a binary chunk over a text", function()
      local check = assert_follows(app:module("m", V1), "m")
      check(app:update("m", dump(V2)))
    end)

    it("loads a text over a binary chunk", function()
      app:write("m", dump(V1))
      local check = assert_follows(app:load "m", "m")
      check(app:update("m", V2))
    end)

    it("loads a binary chunk behind a # line", function()
      app:write("m", dump(V1))
      local check = assert_follows(app:load "m", "m")
      check(app:update("m", "#!/usr/bin/env lua\n" .. dump(V2)))
    end)

    it("loads a stripped chunk over a stripped one, upvalues matched by position (R4.5)", function()
      app:write("m", dump(V1, true))
      local check = assert_follows(app:load "m", "m")
      check(app:update("m", dump(V2, true)))
    end)

    it("refuses a truncated chunk and one of another format", function()
      app:module("m", V1)
      local binary = dump(V2)
      for _, bytes in ipairs { binary:sub(1, #binary // 2),
        binary:sub(1, 4) .. "\x53" .. binary:sub(6), "\27Lua" } do
        app:write("m", bytes)
        app:refused "m"
      end
      app:update("m", V2)
    end)

    it("takes a binary options.source", function()
      local check = assert_follows(app:module("m", V1), "m")
      check(app:reloaded("m", { source = dump(V2) }))
    end)
  end)

  describe("options.source (R1.2)", function()
    it("replaces the file's text, under the module's own chunk name", function()
      local M = app:module("m", V1)
      local check = assert_follows(M, "m")
      check(app:reloaded("m", { source = V2 }))
      assert.equal("@" .. app:path "m", debug.getinfo(M.name, "S").source)
    end)

    it("is for one call: the next reload reads the file", function()
      local M = app:module("m", V1)
      app:reloaded("m", { source = V2 })
      app:reloaded "m"
      assert.equal("v1", M.name())
    end)

    it("passes the same `...` as the file would get", function()
      local M = app:module("m", "return { f = print }")
      app:reloaded("m", { source = "return { f = print, seen = table.pack(...) }" })
      assert.same({ n = 2, "m", app:path "m" }, M.seen)
    end)

    it("skips a BOM and a # line as in a file", function()
      local check = assert_follows(app:module("m", V1), "m")
      check(app:reloaded("m", { source = "\xEF\xBB\xBF#!/usr/bin/env lua\n" .. V2 }))
    end)

    it("is refused with the file's name and the line when it does not compile", function()
      app:module("m", V1)
      local message = app:refused("m", { source = "local x = 1\nlocal = 2\n" })
      assert.truthy(message:find(app:path "m" .. ":2:", 1, true), message)
      app:update("m", V2)
    end)

    it("works for a module whose file is gone, and for one that came from a preload \z
      function or a searcher", function()
      local check = assert_follows(app:module("m", V1), "m")
      app:remove "m"
      check(app:reloaded("m", { source = V2 }))

      package.preload.bundled = assert(load(V1, "@bundle.lua"))
      check = assert_follows(app:load "bundled", "bundled")
      check(app:reloaded("bundled", { source = V2 }))

      table.insert(package.searchers, 2, function(name)
        return name == "virtual" and assert(load(V1, "@virtual.lua")) or nil
      end)
      check = assert_follows(app:load "virtual", "virtual")
      check(app:reloaded("virtual", { source = V2 }))
    end)

    it("loads a module that is not loaded yet", function()
      app:write("m", V1)
      app:reloaded("m", { source = V2 })
      assert.equal("v2", require "m".name())
    end)
  end)

  describe("package.preload and package.searchers (R1.2)", function()
    it("calls the preload function again", function()
      package.preload.bundled = assert(load(V1, "@bundle.lua"))
      local check = assert_follows(app:load "bundled", "bundled")
      package.preload.bundled = assert(load(V2, "@bundle.lua"))
      local report = app:reloaded "bundled"
      check(report)
      assert.is_true(report.file == nil or report.file == ":preload:")
    end)

    it("passes the name and :preload: to the preload function", function()
      package.preload.bundled = load "return { f = print }"
      local M = app:load "bundled"
      package.preload.bundled = load "return { f = print, seen = table.pack(...) }"
      app:reloaded "bundled"
      assert.same({ n = 2, "bundled", ":preload:" }, M.seen)
    end)

    it("keeps the state when the very same preload function runs again", function()
      package.preload.bundled = assert(load(V1, "@bundle.lua"))
      local M = app:load "bundled"
      M.bump()
      app:reloaded "bundled"
      assert.equal(2, M.bump())
    end)

    it("prefers package.preload to a file, even when the module came from the file", function()
      local check = assert_follows(app:module("m", V1), "m")
      package.preload.m = assert(load(V2, "@" .. app:path "m"))
      check(app:reloaded "m")
    end)

    it("asks a custom searcher and hands its loader data on", function()
      local text, seen = V1, nil
      table.insert(package.searchers, 2, function(name)
        if name == "virtual" then
          local chunk = assert(load(text, "@virtual.lua"))
          return function(...)
            seen = table.pack(...)
            return chunk(...)
          end, "the data"
        end
        return "\n\tno virtual module"
      end)
      local check = assert_follows(app:load "virtual", "virtual")
      text = V2
      check(app:reloaded "virtual")
      assert.same({ n = 2, "virtual", "the data" }, seen)
    end)

    it("asks the searchers in their order", function()
      local M = app:module("m", V1)
      package.searchers[#package.searchers + 1] = function() error "asked too late" end
      app:update("m", V2)
      assert.equal("v2", M.name())
      table.insert(package.searchers, 1, function(name)
        return name == "m" and assert(load((V2:gsub("v2", "v3")), "@" .. app:path "m")) or nil
      end)
      app:reloaded "m"
      assert.equal("v3", M.name())
    end)

    it("reads the file anew where the stock searcher has been moved by others", function()
      local check = assert_follows(app:module("m", V1), "m")
      table.insert(package.searchers, 1, function() return nil end)
      table.insert(package.searchers, 1, function() return "\n\tnot here" end)
      check(app:update("m", V2))
    end)

    it("does not find a file when the stock searcher was taken out", function()
      app:module("m", V1)
      local stock = table.remove(package.searchers, 2)
      local message = app:refused "m"
      assert.matches("m", message)
      assert.is_falsy(message:find(app.dir, 1, true))
      table.insert(package.searchers, 2, stock)
      app:update("m", V2)
    end)

    it("is refused with the error of a searcher that raises", function()
      app:module("m", V1)
      table.insert(package.searchers, 1, function() error("the searcher is broken", 0) end)
      assert.matches("the searcher is broken", (app:refused "m"))
      table.remove(package.searchers, 1)
      app:update("m", V2)
    end)

    it("is refused when a searcher yields", function()
      app:module("m", V1)
      table.insert(package.searchers, 1, function() coroutine.yield() end)
      local message
      local thread = coroutine.create(function() message = app:refused "m" end)
      assert(coroutine.resume(thread))
      assert.equal("dead", coroutine.status(thread))
      assert.matches("yield", message)
      table.remove(package.searchers, 1)
      app:update("m", V2)
    end)

    it("is refused, not raised, when package.searchers or package.path is unusable", function()
      app:module("m", V1)
      local searchers, path = package.searchers, package.path
      package.searchers = nil
      assert.matches("searchers", (app:refused "m"))
      package.searchers = searchers
      package.path = nil
      assert.matches("path", (app:refused "m"))
      package.path = {}
      assert.matches("path", (app:refused "m"))
      package.path = path
      app:update("m", V2)
    end)

    it("lists the places that were looked at when nothing is found, as require does", function()
      local message = app:refused "no.such.module"
      assert.truthy(message:find("module 'no.such.module' not found", 1, true), message)
      assert.truthy(message:find(app.dir .. "/no/such/module.lua", 1, true), message)
      assert.truthy(message:find("package.preload['no.such.module']", 1, true), message)
    end)
  end)

  describe("a file that cannot be read (R1.2, R2.3)", function()
    it("is refused when it disappeared, and reloads once it is back", function()
      local check = assert_follows(app:module("m", V1), "m")
      app:remove "m"
      local message = app:refused "m"
      assert.truthy(message:find("module 'm' not found", 1, true), message)
      check(app:update("m", V2))
    end)

    it("is refused when a directory has its name", function()
      local check = assert_follows(app:module("m", V1), "m")
      app:remove "m"
      app:write_file("m.lua/inner", "")
      local message = app:refused "m"
      assert.truthy(message:find(app:path "m", 1, true), message)
      os.remove(app.dir .. "/m.lua/inner")
      os.remove(app.dir .. "/m.lua")
      check(app:update("m", V2))
    end)

    it("is refused when reading it fails", function()
      local check = assert_follows(app:module("m", V1), "m")
      app:remove "m"
      if not os.execute(("ln -s /proc/self/mem %s"):format(app:path "m"))
        or not io.open(app:path "m") then
        pending "needs /proc/self/mem"
        return
      end
      local message = app:refused "m"
      assert.truthy(message:find(app:path "m", 1, true), message)
      os.remove(app:path "m")
      check(app:update("m", V2))
    end)

    -- In a process of its own, which ends: a file without an end takes all memory, a pipe waits for
    -- ever.
    for what, make in pairs {
      ["a named pipe"] = "mkfifo m.lua",
      ["a device"] = "ln -s /dev/zero m.lua",
      ["a directory"] = "mkdir m.lua",
    } do
      it("is refused when it is " .. what, function()
        app:write("m", V1)
        local out, code, err = app:subprocess([[
          local hotreload = require "hotreload"
          local watcher = require "hotreload.watch".new {
            interval = 0, settle = 0, filter = "^m$",
            on_error = function(name, message) print("on_error", name, message) end,
          }
          local m = require "m"
          os.remove "m.lua"
          if not os.execute "]] .. make .. [[" then os.exit(3) end
          print(gg.reload "m")
          print(select(2, hotreload.changed()).m)
          print(watcher:poll())
          print(hotreload.requires "m")
          print(table.concat(require "hotreload.watch".order { "m" }))
          print(gg.reload("m", { source = "return { name = function() return 'given' end }" }),
            m.name())
          os.execute "rm -r m.lua"
        ]], { lua = "timeout 20 lua5.4", kilobytes = 200000 })
        if code == 3 then return pending("no command makes " .. what) end
        local refused = ("cannot read '%s': it is %s, put a regular file there; "
          .. "nothing was changed"):format(app:path "m", what)
        assert.equal(("exit 0\nfalse\tR\nR\non_error\tm\tR\n0\t1\nnil\tR\nm\ntrue\tgiven\n")
          :gsub("R", refused),
          ("exit %d\n%s%s"):format(code, out, err))
      end)
    end

    it("is refused when the permission is missing", function()
      app:write("open.m", V1)
      app:write("closed.m", V2)
      assert(os.execute(("chmod 000 %s"):format(app:path "closed.m")))
      local out, code, err = app:subprocess([[
        require "hotreload"
        package.path = "./open/?.lua"
        local m = require "m"
        package.path = "./closed/?.lua"
        local ok, message = gg.reload "m"
        print(ok, message:match "module 'm' not found" or message)
        print(m.name(), m.bump(), require "m" == m)
        package.path = "./open/?.lua"
        print(gg.reload "m" == true, m.bump())
      ]], { unprivileged = true })
      if err:find "setpriv" then
        pending "runs as root, and setpriv is not installed"
        return
      end
      assert.equal(0, code, err)
      assert.equal("false\tmodule 'm' not found\nv1\t1\ttrue\ntrue\t2\n", out)
    end)
  end)
end)
