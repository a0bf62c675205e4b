-- R1.1: wrong arguments raise, and nothing else does.

local program = require "spec.support.program"

local V1 = "local n = 0 return { f = function() n = n + 1 return n end }"

describe("arguments of gg.reload (R1.1)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.f()
  end)
  after_each(function() app:unload() end)

  --- Raises an argument error with `pattern` in it, changes nothing, and the next reload works.
  local function assert_raises(pattern, ...)
    local before = program.fingerprint()
    local result = table.pack(pcall(app.hotreload.reload, ...))
    assert.is_false(result[1], "it did not raise")
    assert.is_string(result[2])
    assert.matches(pattern, result[2])
    before:assert_unchanged()
    app:reloaded "m"
    assert.equal(M, package.loaded.m)
  end

  it("raises for a name that is no string", function()
    assert_raises "bad argument #1 .*string or table expected, got n"
    assert_raises("bad argument #1 .*string or table expected, got nil", nil)
    assert_raises("bad argument #1 .*string or table expected, got boolean", true)
    assert_raises("bad argument #1 .*string or table expected, got function", print)
    assert_raises("bad argument #1 .*no names in the list", {})
    assert_raises("bad argument #1 .*name #2: string expected, got number", { "m", 3 })
    assert_raises("bad argument #1 .*a list of names expected", { "m", n = "n" })
    assert_raises("bad argument #1 .*no names",
      setmetatable({}, { __tostring = function() return "m" end }))
    assert_raises("bad argument #2 .*'source'", { "m", "n" }, { source = V1 })
  end)

  it("raises for options that are no table", function()
    assert_raises("bad argument #2 .*table expected, got string", "m", "dry_run")
    assert_raises("bad argument #2", "m", true)
    assert_raises("bad argument #2", "m", false)
    assert_raises("bad argument #2", "m", 1)
    assert_raises("bad argument #2", "m", print)
  end)

  it("takes nil for no options", function()
    assert.is_true((app.hotreload.reload("m", nil)))
    assert.is_true((app.hotreload.reload("m", {})))
  end)

  it("raises for an unknown option, and names it", function()
    for _, name in ipairs { "scop", "dryrun", "Data", "budget_ms_", "source ", "" } do
      assert_raises(("bad argument #2 .*'%s'"):format(name), "m", { [name] = true })
    end
    assert_raises("bad argument #2", "m", { "dry_run" })
    assert_raises("bad argument #2", "m", { [true] = true })
    assert_raises("bad argument #2", "m", { [{}] = true })
  end)

  it("raises for an option of the wrong type, and names it", function()
    local wrong = {
      scope = { 1, true, {} }, on_conflict = { 1, true, print }, data = { 1, true, {} },
      report = { 1, true, {} },
      source = { 1, true, {}, load "return {}" }, dry_run = { "yes", 1, {} },
    }
    for name, values in pairs(wrong) do
      for _, value in ipairs(values) do
        assert_raises("bad argument #2 .*" .. name, "m", { [name] = value })
      end
    end
  end)

  it("raises for a value that an option does not know, and names the option", function()
    for name, values in pairs {
      scope = { "", "Module", "everything" }, on_conflict = { "", "ignore" }, data = { "", "drop" },
      report = { "", "paths" },
    } do
      for _, value in ipairs(values) do
        assert_raises("bad argument #2 .*" .. name, "m", { [name] = value })
      end
    end
  end)

  it("takes every value that an option knows", function()
    for _, options in ipairs {
      { scope = "module" }, { on_conflict = "error" }, { on_conflict = "keep" },
      { on_conflict = "replace" },
      { data = "keep" }, { data = "replace" }, { source = V1 }, { dry_run = true },
      { dry_run = false },
      { report = "counts" }, { report = "full" },
    } do
      app:reloaded("m", options)
    end
  end)

  it("checks the options before the name is looked for", function()
    assert_raises("bad argument #2", "no.such.module", { nonsense = true })
    app.hotreload.configure { deny = "." }
    assert.error_matches(function() app:reload("m", { nonsense = true }) end, "bad argument #2")
  end)

  it("blames the caller's line", function()
    local chunk = assert(load("\n\nlocal ok = gg.reload({}) return ok", "=caller"))
    assert.matches("^caller:3: bad argument", select(2, pcall(chunk)))
    chunk = assert(load("\n\nlocal ok = gg.reload('m', { nonsense = 1 }) return ok", "=caller"))
    assert.matches("^caller:3: bad argument", select(2, pcall(chunk)))
  end)

  it("reads the options raw: metamethods of the table do not run", function()
    local function refuse() error "touched" end
    local options = setmetatable({ report = "full" },
      { __index = refuse, __pairs = refuse, __len = refuse })
    assert.is_table(app:reloaded("m", options).paths)
    assert.is_nil(app:reloaded("m", setmetatable({}, { __index = { report = "full" } })).paths)
  end)

  it("leaves the options table as it was", function()
    local options = { report = "full", data = "keep" }
    app:reloaded("m", options)
    assert.same({ report = "full", data = "keep" }, options)
  end)
end)

describe("arguments of hotreload.configure (R1.4)", function()
  local app, configure
  before_each(function()
    app = program.new()
    configure = app.hotreload.configure
    app:module("m", V1)
    app:module("locked", V1)
  end)
  after_each(function() app:unload() end)

  it("raises for what is no table, an unknown key, a wrong type and a malformed pattern", function()
    configure { deny = "^locked$" }
    for _, wrong in ipairs {
      "deny", true, 1, { denied = "x" }, { "^m$" }, { deny = 1 }, { deny = true },
      { allow = print },
      { allow = { 1 } }, { allow = { "ok", {} } }, { allow = { key = "^m$" } },
      { deny = "%" }, { deny = "[a" }, { deny = { "ok", "(m" } }, { deny = "m)" }, { allow = "%b" },
      { allow = "%f" },
    } do
      local ok, message = pcall(configure, wrong)
      assert.is_false(ok)
      assert.matches("bad argument #1", message)
    end
    assert.matches("bad argument #1", select(2, pcall(configure)))
    -- Nothing of that took effect.
    app:refused "locked"
    app:reloaded "m"
  end)

  it("takes nothing over when only one of its keys is wrong", function()
    assert.is_false((pcall(configure, { deny = "^m$", allow = 7 })))
    assert.is_false((pcall(configure, { allow = "^nothing$", deny = "[" })))
    app:reloaded "m"
  end)
end)

describe("anything else than wrong arguments (R1.1)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    M.f()
  end)
  after_each(function() app:unload() end)

  it("does not raise for strange names", function()
    for _, name in ipairs {
      "", ".", "..", "../n", "/etc/passwd", "a\0b", "%", "%s%d%n", "[", "m\n", " m", "\xFF\xFE",
      ("x"):rep(100000),
      ("a."):rep(1000), "?", ";", "_LOADED", "nil",
    } do
      local message = app:refused(name)
      assert.is_true(#message > 0)
    end
    app:reloaded "m"
  end)

  it("does not raise under strict globals without gg", function()
    _G.gg = nil
    setmetatable(_G, {
      __index = function(_, k) error("undeclared " .. tostring(k)) end,
      __newindex = function(_, k) error("undeclared " .. tostring(k)) end,
    })
    app:reloaded "m"
    assert.is_nil(rawget(_G, "gg"))
  end)

  it("does not raise when package.loaded or package.preload is another table", function()
    package.loaded, package.preload = {}, {}
    local ok, result = pcall(app.hotreload.reload, "m")
    assert.is_true(ok, result)
  end)

  it("does not raise when package.loaded holds something odd for the module", function()
    for _, value in ipairs { 7, "text", false, io.stdout, coroutine.create(print), math.huge } do
      package.loaded.m = value
      local ok, reloaded, message = pcall(app.hotreload.reload, "m")
      assert.is_true(ok, reloaded)
      assert.is_true(reloaded or type(message) == "string")
    end
    package.loaded.m = M
    app:reloaded "m"
  end)

  it("works when the globals that it could lean on are gone or broken", function()
    app:write("story", "local n = 0 return { f = function() n = n + 1 return n end }")
    local out, code, err = app:subprocess [[
      require "hotreload"
      local story, reload, print, G, keys, exit = require "story", gg.reload, print, _G, {}, os.exit
      story.f()
      for k in pairs(G) do keys[#keys + 1] = k end
      for _, library in ipairs { string, table, coroutine, debug, os, io, math, utf8 } do
        for k in next, library do library[k] = nil end
      end
      for _, k in ipairs(keys) do G[k] = nil end
      local ok, report = reload("story")
      local bad, message = reload("no such module")
      print(ok, ok and report.generation or report, bad, story.f())
      print(reload("story", { dry_run = true }))
      exit(0)
    ]]
    assert.equal(0, code, err)
    assert.matches("^true\t2\tfalse\t2\ntrue\t", out)
  end)

  it("does not raise when string, table or pcall were replaced by functions that raise", function()
    local out, code, err = app:subprocess [[
      package.preload.story = load "return { f = function() end }"
      require "hotreload"
      require "story"
      local print, exit = print, os.exit
      local function refuse() exit(9) end
      for _, name in ipairs { "pcall", "error", "type", "pairs", "ipairs", "tostring", "select",
        "setmetatable", "getmetatable", "rawget", "rawset", "next", "xpcall", "require" }
        do _G[name] = refuse end
      string.sub, table.concat, coroutine.running, debug.traceback = refuse, refuse, refuse, refuse
      string.find, string.format, string.gsub, string.match, table.unpack = refuse, refuse, refuse,
        refuse, refuse
      print((gg.reload "story"), (gg.reload "no such module"))
    ]]
    assert.equal(0, code, err)
    assert.equal("true\tfalse\n", out)
  end)
end)

describe("require 'hotreload' (R1.6, public interface)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("installs gg.reload, which is hotreload.reload, and gg.safe_reloads", function()
    assert.is_function(app.hotreload.reload)
    assert.equal(app.hotreload.reload, _G.gg.reload)
    assert.is_table(_G.gg.safe_reloads)
    assert.matches("^hotreload %d+%.%d+%.%d+", app.hotreload._VERSION)
  end)

  it("is what require 'reload' returns", function()
    assert.equal(app.hotreload, require "reload")
  end)

  it("gives the same table and functions however often it is required", function()
    local gg, reload, configure = _G.gg, app.hotreload.reload, app.hotreload.configure
    app.hotreload.configure { deny = "^locked$" }
    app:module("m", V1)
    app:module("locked", V1)
    local generation = app:reloaded "m".generation
    for _ = 1, 3 do
      package.loaded.hotreload = nil
      local again = require "hotreload"
      assert.equal(app.hotreload, again)
      assert.equal(reload, again.reload)
      assert.equal(configure, again.configure)
      assert.equal(gg, _G.gg)
      assert.equal(reload, _G.gg.reload)
    end
    app:refused "locked"
    assert.equal(generation + 1, app:reloaded "m".generation)
  end)

  it("puts gg.reload back when it is required again after gg was lost", function()
    local reload = app.hotreload.reload
    _G.gg = nil
    package.loaded.hotreload = nil
    require "hotreload"
    assert.equal(reload, _G.gg.reload)
    assert.is_table(_G.gg.safe_reloads)
  end)

  it("uses the gg that the host has, raw, under strict globals", function()
    local out, code, err = app:subprocess [[
      local function refuse(_, k) error("undeclared " .. tostring(k)) end
      local own = setmetatable({ mine = 1 }, { __index = refuse, __newindex = refuse })
      rawset(_G, "gg", own)
      setmetatable(_G, { __index = refuse, __newindex = refuse })
      local hotreload = require "hotreload"
      print(gg == own, gg.mine, rawget(own, "reload") == hotreload.reload,
        type(rawget(own, "safe_reloads")))
    ]]
    assert.equal(0, code, err)
    assert.equal("true\t1\ttrue\ttable\n", out)
    out, code, err = app:subprocess [[
      local function refuse(_, k) error("undeclared " .. tostring(k)) end
      setmetatable(_G, { __index = refuse, __newindex = refuse })
      local hotreload = require "hotreload"
      print(rawget(_G, "gg").reload == hotreload.reload)
    ]]
    assert.equal(0, code, err)
    assert.equal("true\n", out)
  end)

  it("sets no other global", function()
    local out = app:subprocess [[
      local before = {}
      for k, v in pairs(_G) do before[k] = v end
      require "hotreload"
      for k, v in pairs(_G) do
        if before[k] ~= v then print(k) end
      end
    ]]
    assert.equal("gg\n", out)
  end)

  it("gives a coroutine the same functions", function()
    local reload
    coroutine.wrap(function() reload = require "hotreload".reload end)()
    assert.equal(app.hotreload.reload, reload)
  end)
end)
