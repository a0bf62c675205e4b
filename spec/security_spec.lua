-- R1.7 to R1.10: what a name reaches, binary chunks, what messages have in them, the environment.

local program = require "spec.support.program"

local V1 = [[
  local M, n = {}, 0
  function M.f() n = n + 1 return "v1", n end
  return M
]]
local V2 = V1:gsub("v1", "v2")

local function dumped(source)
  return string.dump(assert(load(source, "@binary")))
end

describe("text_only (R1.8)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.f()
  end)
  after_each(function() app:unload() end)

  local WAYS = {
    ["of the configuration"] = function(options)
      app.hotreload.configure { text_only = true }
      return options
    end,
    ["of the configuration, which a call cannot take back"] = function(options)
      app.hotreload.configure { text_only = true }
      options.text_only = false
      return options
    end,
    ["of the call"] = function(options)
      options.text_only = true
      return options
    end,
  }

  for way, options_with in pairs(WAYS) do
    it("refuses a binary chunk: the option " .. way, function()
      for _, start in ipairs { "", "\xEF\xBB\xBF", "#!/usr/bin/lua\n" } do
        app:write("m", start .. dumped(V2))
        local message = app:refused("m", options_with {}, M)
        assert.matches("m' cannot be reloaded: .*binary chunk.*text_only.*as text", message)
      end
      app:write("m", V2)
      assert.matches("binary chunk", app:refused("m", options_with { source = dumped(V2) }, M))
      assert.matches("binary chunk", app:refused("m", options_with { source = "\27" }, M))
      assert.is_nil((app.hotreload.plan("m", options_with { source = dumped(V2) })))
      app:write("new", dumped(V1))
      assert.matches("binary chunk", app:refused("new", options_with {}, M))
      assert.is_nil(package.loaded.new)
      assert.matches("binary chunk", app:refused({ "m", "new" }, options_with {}, M))
      app:reloaded("m", options_with {})
      assert.same({ "v2", 2 }, { M.f() })
    end)
  end

  it("is not there unless it is asked for, and can be taken back by the configuration", function()
    app:write("m", dumped(V2))
    app.hotreload.configure { text_only = true }
    app:refused("m", nil, M)
    app.hotreload.configure { deny = {} }
    app:refused("m", nil, M)
    app.hotreload.configure { text_only = false }
    app:reloaded "m"
    assert.same({ "v2", 2 }, { M.f() })
  end)

  it("makes a file that became binary a problem for hotreload.changed", function()
    app.hotreload.changed()
    app:write("m", dumped(V2))
    assert.same({ "m" }, (app.hotreload.changed { names = { "m" } }))
    app.hotreload.configure { text_only = true }
    local names, problems = app.hotreload.changed { names = { "m" } }
    assert.same({}, names)
    assert.matches("binary chunk", problems.m)
  end)

  it("leaves what searchers of the program's own compile to them", function()
    package.preload.theirs = load(dumped(V1))
    app.hotreload.configure { text_only = true }
    assert.equal(1, app:reloaded "theirs".generation)
  end)

  it("is a boolean", function()
    for _, call in ipairs { app.hotreload.configure, function(options)
      return gg.reload("m", options)
    end } do
      assert.has_error(function() call { text_only = 1 } end)
    end
  end)
end)

describe("a name (R1.7)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("reaches the file that require finds under it, or none", function()
    local files = {
      "a", "sub/a", "a;b", ";", "?", "%", "%1", "a\n", "\27[31m", "\xFF", "ä", " ", "'", "a'b",
      "..", "...", "-",
        "init",
    }
    for i, file in ipairs(files) do
      if not file:find "^%.+$" then
        app:write_file(file .. ".lua", ("return { number = %d }"):format(i))
      end
    end
    app:write_file("outside.txt", "return { outside = true }")
    package.path = ("%s/?.lua;%s/sub/?.lua;%s/?/a.lua"):format(app.dir, app.dir, app.dir)

    local parts = {
      "a", "b", ".", "..", "/", "//", ";", "?", "%", "%1", "\n", "\27[31m", "\xFF", "ä", "sub", " ",
      "'", "-", "*", "~", "\\", "$HOME", "`id`", app.dir, "/etc/passwd", "outside.txt", "\0",
    }
    local names = { "", ("x"):rep(10000) }
    for _, first in ipairs(parts) do
      names[#names + 1] = first
      for _, second in ipairs(parts) do
        names[#names + 1] = first .. second
        names[#names + 1] = first .. second .. "a"
        names[#names + 1] = "a" .. first .. second
      end
    end
    local found = 0
    for _, name in ipairs(names) do
      local ok, report = app:reload(name)
      local path = package.searchpath(name, package.path)
      local described = ("%q"):format(name)
      if ok then
        found = found + 1
        assert.is_nil(name:find "[;%z]", described)
        assert.equal(path, report.file, described)
      else
        assert.is_string(report, described)
        if not name:find "[;%z]" then
          -- What is there and is no module of Lua: a directory, /etc/passwd.
          assert.is_truthy(path == nil or report:find("error loading", 1, true)
            or report:find("cannot read", 1, true),
            described .. " " .. report)
        end
      end
      package.loaded[name] = nil
    end
    assert.is_true(found > 100, found)
  end)

  it("with a NUL byte is refused before any searcher is asked", function()
    local asked = false
    table.insert(package.searchers, function() asked = true end)
    app:module("m", V1)
    assert.matches("m\\000x' cannot be reloaded: .*NUL", app:refused("m\0x"))
    assert.matches("NUL", app:refused("string\0"))
    assert.matches("NUL", app:refused { "m", "m\0" })
    assert.is_false(asked)
  end)

  it("with a ';' can be that of a preloaded module, or of one that a searcher finds", function()
    package.preload["a;b"] = function() return { preloaded = true } end
    table.insert(package.searchers, function(name)
      return name == "c;d" and function() return { found = true } end or nil
    end)
    app:reloaded "a;b"
    app:reloaded "c;d"
    assert.is_true(package.loaded["a;b"].preloaded and package.loaded["c;d"].found)
  end)

  it("finds files whose paths are no UTF-8, as require does", function()
    local M = app:module("\xE4\xF6", V1)
    assert.equal(app.dir .. "/\xE4\xF6.lua", app:update("\xE4\xF6", V2).file)
    assert.equal("v2", (M.f()))
    assert.same({}, (app.hotreload.changed { names = { "\xE4\xF6" } }))
  end)

  it("that is denied reaches nothing: its file is not even opened", function()
    app.hotreload.configure { allow = "^battle%." }
    os.execute(("mkfifo '%s/pipe.lua'"):format(app.dir)) -- whoever opens it waits
    assert.matches("allow pattern", app:refused "pipe")
  end)
end)

describe("a message (R1.9)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- A text has no control characters but the ends of lines and what indents them.
  local function assert_plain(text)
    assert.is_nil(text:gsub("[\n\t]", ""):find "%c", ("%q"):format(text))
    assert.is_nil(text:find "\xC2[\x80-\x9F]")
  end

  it("has names in one line, without control characters", function()
    local evil = "evil\n\27[31m\r\xC2\x9B2J\127module"
    local logged = {}
    app.hotreload.configure { log = function(_, message) logged[#logged + 1] = message end }
    finally(function() app.hotreload.configure { log = false, before = false } end)
    local messages = { app:refused(evil), (select(2, app.hotreload.undo(evil))), (select(2,
      app.hotreload.stale(evil))) }
    app.hotreload.configure { deny = "^evil" }
    messages[#messages + 1] = app:refused(evil)
    app.hotreload.configure { deny = {} }
    package.preload[evil] = function() return { f = function() end } end
    require(evil)
    messages[#messages + 1] = tostring(app:reloaded(evil))
    messages[#messages + 1] = assert(app.hotreload.plan(evil))
    app.hotreload.configure { before = function() return false end }
    messages[#messages + 1] = app:refused(evil)
    app.hotreload.configure { before = false }
    package.preload[evil] = function() return { f = 1, __hotfix = error } end
    messages[#messages + 1] = app:refused(evil)
    package.preload[evil] = function() return { __hotfix = function() error "oh" end } end
    messages[#messages + 1] = app:refused(evil)
    app:write(evil, "return = 1")
    package.preload[evil] = nil
    messages[#messages + 1] = app:refused(evil)
    assert.is_true(#logged >= 5)
    for _, list in ipairs { messages, logged } do
      for _, message in ipairs(list) do
        -- Lua writes a file's path and the functions in a traceback as they are.
        if not message:find "near" then assert_plain((message:gsub("\nstack traceback.*", ""))) end
        assert.matches("evil\\010\\027[31m\\013\\1552J\\127module", message, 1, true)
      end
    end
  end)

  it("is short, however long the name is", function()
    local long = ("long"):rep(250000)
    for _, name in ipairs { long, ("a."):rep(100000) .. "b" } do
      assert.is_true(#app:refused(name) < 20000)
      assert.is_true(#select(2, app.hotreload.undo(name)) < 1000)
    end
  end)

  it("has no more of a text than a short token", function()
    local secret = "secret-" .. ("0123456789"):rep(20)
    local M = app:module("m", V1)
    local broken = {
      'return "' .. secret, "return [[" .. secret .. secret, "return [==[ \n" .. secret,
      "x = = " .. secret .. secret, "return '" .. secret .. "\\q'", "return 12" .. secret,
      "root:$6$" .. secret, "--[[" .. secret, "goto a" .. secret,
      "local a" .. secret .. " <close" .. secret .. "> = 1", "return \27[31m" .. secret,
    }
    for _, text in ipairs(broken) do
      app:write("m", text)
      for _, message in ipairs { app:refused("m", nil, M), (app:refused("m", { source = text }, M)),
        select(2, app.hotreload.changed { names = { "m" } }).m } do
        assert.matches("m.lua:%d+:", message)
        assert.is_nil(message:find(secret, 1, true), message)
        assert.is_true(#message < #app.dir + 250, message)
        assert_plain(message)
      end
    end
  end)

  it("still says near what the compiler stopped", function()
    app:module("m", V1)
    app:write("m", "return {\n x = = 1 }")
    assert.matches("m.lua:2: unexpected symbol near '='", app:refused "m", 1, true)
    app:write("m", "return {")
    assert.matches("m.lua:1: unexpected symbol near <eof>", app:refused "m", 1, true)
  end)

  it("calls a given source by the module's file, in errors and tracebacks", function()
    local M = app:module("m", V1)
    local secret = "local password = 'secret-source' "
    for _, text in ipairs { "error 'raised'", "local function f() error 'raised' end f()",
      "return nil + 1", "(" } do
      local message = app:refused("m", { source = secret .. text }, M)
      assert.is_nil(message:find("secret-source", 1, true), message)
      assert.is_nil(message:find('[string "', 1, true), message)
      assert.matches(app.dir .. "/m.lua:1:", message, 1, true)
    end
    local message = app:refused("nowhere", { source = secret .. "error 'raised'" }, M)
    assert.is_nil(message:find("secret-source", 1, true), message)
    assert.matches("nowhere:1: raised", message)
  end)
end)

describe("the environment (R1.10)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local SHIM = [[
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdio.h>
    static void note(const char *what, const char *name) {
      FILE *log = fopen("asked", "a");
      if (log) { fprintf(log, "%s %s\n", what, name); fclose(log); }
    }
    char *getenv(const char *name) {
      note("getenv", name);
      return ((char *(*)(const char *))dlsym(RTLD_NEXT, "getenv"))(name);
    }
    char *secure_getenv(const char *name) {
      note("secure_getenv", name);
      return ((char *(*)(const char *))dlsym(RTLD_NEXT, "secure_getenv"))(name);
    }
  ]]

  local SCRIPT = [[
    local function asked()
      local file = io.open "asked"
      local text = file and file:read "a" or ""
      if file then file:close() end
      return text
    end
    local before = asked()
    local hotreload = require "hotreload"
    local start = asked()
    -- What Lua asks for when it opens `package`, in a state of the library's own
    -- (src/lua/stock.rs), and then leaves alone.
    for name in start:sub(#before + 1):gmatch "getenv ([^\n]+)" do
      assert(name:find "^LUA_C?PATH", name)
    end
    local M = require "m"
    local text = io.open "m.lua":read "a"
    local out = {}
    local function add(...) out[#out + 1] = table.concat({ ... }, " ") end
    for _, options in ipairs {
      {}, { dry_run = true }, { scope = "vm" }, { scope = "vm", budget_ms = 1 },
        { report = "full", data = "merge" },
      { source = "\n" .. text }, { source = "return = 1" }, { source = "error 'oh'" },
        { source = "return 1" },
      { source = text:gsub("function M.f%(%)", "M.f = 1 function M.g()") },
    } do
      local ok, report = gg.reload("m", options)
      add(tostring(ok), (tostring(report):gsub(", [%d.]+ ms", "")))
      repeat until hotreload.sweep()
    end
    add(tostring(gg.reload "missing"), tostring(gg.reload { "m", "string" }),
      hotreload.plan("m", { color = "auto" }))
    add(#hotreload.changed(), #hotreload.stale(), tostring(hotreload.undo "m"))
    require "hotreload.watch".new { interval = 0 }:poll()
    print(table.concat(out, "\n"))
    local nothing = asked() == start
    os.getenv "ASKED_BY_THE_TEST"
    print(nothing and "asked for nothing", asked() ~= start and "and would have been heard")
    if not nothing then print(asked()) end
  ]]

  it("is not looked at by the library: nothing asks for a variable", function()
    app:write("m", V1)
    app:write_file("shim.c", SHIM)
    if not os.execute(("cc -shared -fPIC -o '%s/shim.so' '%s/shim.c' -ldl 2>/dev/null")
      :format(app.dir, app.dir)) then
      return pending "there is no C compiler, or no LD_PRELOAD"
    end
    local out, code, err = app:subprocess(SCRIPT, { environment = "LD_PRELOAD=./shim.so" })
    assert.equal("", err)
    assert.equal(0, code)
    assert.matches("\nasked for nothing\tand would have been heard\n$", out)
  end)

  it("changes nothing, whatever is in it", function()
    app:write("m", V1)
    local first
    for _, environment in ipairs {
      "", "HOTRELOAD_TEXT_ONLY=1 HOTRELOAD_DEBUG=1 HOTRELOAD=0 HOTRELOAD_LOG=trace",
        "RUST_LOG=trace RUST_BACKTRACE=full",
      "RUST_LIB_BACKTRACE=1 RUST_MIN_STACK=1",
      "LANG=de_DE.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=fr TZ=Asia/Tokyo",
      "NO_COLOR=1 TERM=dumb COLUMNS=3",
      "CLICOLOR_FORCE=1 FORCE_COLOR=1 TERM=xterm-256color COLORTERM=truecolor",
      "PWD=/ TMPDIR=/nowhere HOME=/nowhere", "LUAROCKS_CONFIG=/x LUAROCKS_TREE=/y",
      "MALLOC_ARENA_MAX=1",
    } do
      local out, code, err = app:subprocess(SCRIPT, { environment = environment })
      assert.equal(0, code, err)
      assert.equal("", err)
      -- Times of a plan are local ones.
      out = out:gsub("script%-%d+", "script"):gsub("loaded %d+%-%d+%-%d+ %d+:%d+:%d+", "loaded")
      first = first or out
      assert.equal(first, out, environment)
    end
  end)
end)

describe("what undoes a reload, changed through the debug library,", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- It is a list: threads with values, how many values, words.
  local CHANGES = {
    ["more values than there are"] = "t[#t - 1] = 100000",
    ["fewer than none"] = "t[#t - 1] = -1",
    ["the running thread"] = "t[2] = coroutine.running()",
    ["one thread twice"] = "t[2] = t[1]",
    ["a thread that has ended"] = "t[2] = coroutine.wrap(coroutine.running)()",
    ["a thread that waits"] = "t[2] = coroutine.create(coroutine.yield) coroutine.resume(t[2])",
    ["no thread"] = "t[2] = 7",
  }
  for what, change in pairs(CHANGES) do
    it("is refused: " .. what, function()
      app:write("m", V1)
      local out, code, err, how = app:subprocess([[
        local hotreload = require "hotreload"
        local m, seen, frozen = require "m", {}, nil
        local function visit(value)
          if type(value) ~= "table" and type(value) ~= "function" or seen[value] then return end
          seen[value] = true
          if type(value) == "function" then
            for i = 1, 255 do
              local name, held = debug.getupvalue(value, i)
              if not name then return end
              visit(held)
            end
            return
          end
          if type(value[1]) == "thread" and math.type(value[#value - 1]) == "integer" then
            frozen = value
          end
          for _, held in next, value do visit(held) end
        end
        m.f()
        assert(gg.reload("m", { source = io.open "m.lua":read "a":gsub("v1", "v2") }))
        visit(hotreload.undo)
        local t = frozen
        ]] .. change .. [[

        print(hotreload.undo "m")
        print(m.f())
        collectgarbage()
      ]])
      assert.equal("", err)
      assert.equal("exit 0", ("%s %d"):format(how, code))
      assert.matches("^false\t[^\n]*nothing was changed[^\n]*\nv2\t2\n$", out)
    end)
  end
end)
