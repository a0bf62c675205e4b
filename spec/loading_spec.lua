-- Loading is a transaction over all the code that it runs (R2, R7, R10): what other modules'
-- functions did is put back or stays whole, the report tells of it, and a module may ask whether it
-- is being reloaded.

local program = require "spec.support.program"

local app
local function start() app = program.new() end
local function stop() app:unload() end

local BUS = [[
  local bus = { list = {} }
  function bus.on(event, f) bus.list[#bus.list + 1] = { event = event, f = f } end
  function bus.fire()
    local out = {}
    for i, entry in ipairs(bus.list) do out[i] = tostring(entry.f()) end
    return table.concat(out, ", ")
  end
  return bus]]

local function fill(template, values)
  return (template:gsub("%u%u%u+", values))
end

local function chat(version, tail)
  return fill([[
local bus = require "bus"
local chat, hits = {}, 0
function chat.on_hit() hits = hits + 1 return "vVERSION " .. hits end
bus.on("hit", chat.on_hit)
TAIL
return chat]], { VERSION = version, TAIL = tail or "" })
end

-- Each leaves the program as it was; `run` gets the new text and does it.
local function failing(edit, message)
  return function(source)
    app:write("chat", (source:gsub("return chat$", edit)))
    local ok, why = app:reload "chat"
    assert.is_false(ok)
    assert.matches(message, why, 1, true)
  end
end

local NOT_KEPT = {
  ["a dry run"] = function(source)
    app:write("chat", source)
    assert.is_true((app:reload("chat", { dry_run = true })))
  end,
  ["a dry run of the whole VM"] = function(source)
    app:write("chat", source)
    assert.is_true((app:reload("chat", { dry_run = true, scope = "vm" })))
  end,
  ["a plan"] = function(source)
    app:write("chat", source)
    assert.is_string(app.hotreload.plan "chat")
  end,
  ["a chunk that raises"] = failing("error 'boom'", "boom"),
  ["a chunk that yields"] = failing("coroutine.yield() return chat", "yield"),
  ["a conflict"] = failing("chat.on_hit = 1 return chat", "on_hit"),
  ["a hook that raises"] = failing("function chat.__hotfix() error 'bang' end return chat", "bang"),
  ["a return of another kind"] = failing("return 7", "chat"),
  ["a list of modules of which the next one fails"] = function(source)
    app:write("chat", source)
    app:write("next_one", "error 'boom'")
    assert.is_false((app:reload { "chat", "next_one" }))
  end,
}

--- Loads a text in each of these ways, and compares the program with what it was before.
local function assert_untouched(source)
  for name, run in pairs(NOT_KEPT) do
    local before = program.fingerprint()
    run(source)
    local changes = before:changes()
    assert(not changes, name .. ": " .. tostring(changes))
  end
end

describe("a load that is not kept leaves no trace:", function()
  before_each(function()
    start()
    app:module("bus", BUS)
    app:write("host", [[
      local host = { log = {}, sessions = {}, settings = { level = 1, nested = { deep = {} } } }
      local calls, memo, listeners = 0, {}, setmetatable({}, { __mode = "k" })
      local function generator()
        local n = 0
        return function() n = n + 1 return n end
      end
      host.next_id = generator()
      local names = setmetatable({}, { __index = function(t, k) t[k] = k:upper() return t[k] end })
      local counters = setmetatable({}, { __newindex = function(t, k, v)
        calls = calls + 1
        rawset(t, k, v)
      end })
      local proxy = setmetatable({}, { __call = function(_, k)
        calls = calls + 1
        memo[k] = true
      end })
      function host.write(line) calls = calls + 1 host.log[#host.log + 1] = line end
      function host.open(name)
        local id = host.next_id()
        host.sessions[id] = { name = name, thread = coroutine.running() }
        return id
      end
      function host.close(id) host.sessions[id] = nil end
      function host.memo(n)
        if not memo[n] then memo[n] = { n * n } end
        return memo[n]
      end
      function host.name(k) return names[k] end
      function host.count(k) counters[k] = (counters[k] or 0) + 1 end
      function host.touch(k) proxy(k) return calls end
      function host.set(path, value)
        local t = host.settings
        for part in path:gmatch "[^.]+" do
          if type(t[part]) == "table" then t = t[part] else t[part] = value end
        end
      end
      function host.listen(object) listeners[object] = true return object end
      function host.swap() host.settings, host.log = host.log, host.settings end
      function host.class(object) return setmetatable(object, { __index = host }) end
      function host.each(list, f) for i = 1, #list do f(list[i]) end end
      function host.sort(f) table.sort(host.log, f) end
      function host.later() return host.again() end
      function host.again() calls = calls + 1 return calls end
      host.write "begin"
      host.open "first"
      return host]])
    app:load "host"
    app:module("chat", chat(1))
    app:module("next_one", "return {}")
  end)
  after_each(stop)

  local EFFECTS = {
    ["cells"] = "host.touch 'x' host.again() host.later()",
    ["a list"] = "host.write 'one' host.write 'two'",
    ["a generator"] = "host.next_id() host.next_id()",
    ["sessions"] = "host.close(host.open 'second') host.open 'third' host.close(1)",
    ["memo tables"] = "host.memo(2) host.memo(3) host.name 'a' host.name 'b'",
    ["metamethods"] = "host.count 'a' host.count 'a'",
    ["nested tables"] = "host.set('nested.deep.level', 7) host.set('level', 2)",
    ["fields swapped"] = "host.swap() host.swap() host.swap()",
    ["the order of a list"] = [[
      host.write 'z'
      host.write 'a'
      host.sort(function(a, b) return a > b end)]],
    ["callbacks"] = "host.each({ 1, 2 }, function(n) host.write('n' .. n) end)",
    ["tables of its own"] = "host.listen {} host.open { 1 } host.class(host.settings)",
    ["functions replaced"] = [[
      local old = host.write
      function host.write(s) old(s .. '!') end
      host.write 'x']],
    ["errors that it catches"] = [[
      pcall(host.set, 'level.x', {})
      pcall(host.memo, 'x')
      pcall(error, host.next_id())]],
    ["coroutines"] = [[
      local co = coroutine.wrap(function() host.write 'a' coroutine.yield() host.write 'b' end)
      co()
      co()]],
    ["string callbacks"] = "string.gsub('abc', '.', host.write) string.gsub('abc', '.', host.name)",
    ["a coroutine that is left suspended"] = [[
      coroutine.wrap(function() host.write 'a' coroutine.yield() end)()]],
  }

  for effect, effects in pairs(EFFECTS) do
    it(effect, function()
      local source = chat(2, "local host = require 'host' " .. effects)
      assert_untouched(source)
      assert.equal("v1 1", app:load "bus".fire())
      assert.equal(3, (app:load "host".next_id() + 1))
    end)
  end

  it("a list of 300,000 entries", function()
    local list = app:load "host".log
    for i = 2, 300000 do list[i] = i end
    local source = chat(2, "require 'host'.write 'appended'")
    for name, run in pairs(NOT_KEPT) do
      run(source)
      assert.equal(300000, #list, name)
    end
    app:update("chat", source)
    assert.equal(300001, #list)
    assert.equal("appended", list[300001])
  end)

  it("a dependency that is newly required, and what that one registered", function()
    app:write("plugin", [[
      require "bus".on("plugin", function() return "plugin" end)
      require "host".write "plugin"
      return {}]])
    local source = chat(2, "chat.plugin = require 'plugin'")
    assert_untouched(source)
    app:update("chat", source)
    app:update("chat", source .. " -- again")
    assert.equal("v2 1, plugin", app:load "bus".fire())
    assert.same({ "begin", "plugin" }, app:load "host".log)
  end)

  it("what a coroutine that waited does when a call resumes it", function()
    local worker = app:module("worker", [[
      local jobs, done, worker = {}, 0, {}
      local co = coroutine.create(function()
        local own = { n = 0 }
        while true do
          local f = coroutine.yield(own.n)
          done, own.n = done + 1, own.n + 1
          jobs[#jobs + 1] = f
        end
      end)
      coroutine.resume(co)
      function worker.add(f) return select(2, coroutine.resume(co, f)) end
      function worker.run() return #jobs, done, jobs[1] and jobs[1]() end
      return worker]])
    local source = chat(2, "require 'worker'.add(chat.on_hit)")
    assert_untouched(source)
    for version = 2, 4 do
      app:update("chat", chat(version, "require 'worker'.add(chat.on_hit)"))
      assert.same({ 1, 1, ("v%d %d"):format(version, version - 1) }, { worker.run() })
    end
    assert.equal(2, worker.add(print), "the coroutine's own count")
  end)

  it("what the chunk lets such a coroutine do by itself", function()
    app:module("worker", [[
      local worker = { done = 0, log = {} }
      worker.co = coroutine.create(function(own)
        while true do
          worker.done, own[#own + 1] = worker.done + 1, "ran"
          coroutine.yield()
        end
      end)
      coroutine.resume(worker.co, worker.log)
      worker.step = coroutine.wrap(function()
        while true do coroutine.yield() worker.done = worker.done + 1 end
      end)
      worker.step()
      return worker]])
    local worker = app:load "worker"
    local source = chat(2, [[
      local worker = require "worker"
      coroutine.resume(worker.co)
      worker.step()]])
    assert_untouched(source)
    app:update("chat", source)
    assert.same({ 3, 2 }, { worker.done, #worker.log })
  end)
end)

describe("what other modules did stays when the reload is kept:", function()
  before_each(function()
    start()
    app:module("bus", BUS)
    app:module("chat", chat(1))
  end)
  after_each(stop)

  it("logs, counters and generators go on by one at each reload", function()
    local host = app:module("host", [[
      local host, n, calls = { log = {} }, 0, 0
      function host.next_id() n = n + 1 return n end
      function host.write(line) calls = calls + 1 host.log[calls] = line end
      function host.calls() return calls end
      return host]])
    for version = 2, 4 do
      app:update("chat", chat(version, [[
        local host = require "host"
        host.write("loaded " .. host.next_id())]]))
    end
    assert.same({ "loaded 1", "loaded 2", "loaded 3" }, host.log)
    assert.equal(3, host.calls())
    assert.equal(4, host.next_id())
    assert.equal("v4 1", app:load "bus".fire())
  end)

  it("caches and memo tables keep what they have learned", function()
    local memo = app:module("memo", [[
      local memo, made = {}, 0
      local squares = {}
      function memo.square(n)
        if not squares[n] then made = made + 1 squares[n] = { n * n } end
        return squares[n]
      end
      function memo.made() return made end
      return memo]])
    local nine = memo.square(3)
    local asks = "local memo = require 'memo' chat.nine, chat.four = memo.square(3), memo.square(2)"
    app:update("chat", chat(2, asks))
    assert.equal(2, memo.made())
    assert.equal(nine, memo.square(3))
    assert.equal(nine, package.loaded.chat.nine)
    assert.equal(memo.square(2), package.loaded.chat.four)
    app:update("chat", chat(3, asks))
    assert.equal(2, memo.made())
  end)

  it("a registration is taken back in a module that also counts what it is told", function()
    local host = app:module("host", [[
      local host = { handlers = {}, told = 0 }
      function host.tell() host.told = host.told + 1 end
      function host.on(event, f) host.handlers[#host.handlers + 1] = f end
      return host]])
    for version = 2, 4 do
      app:update("chat", chat(version, [[
        local host = require "host"
        host.tell()
        host.on("x", chat.on_hit)
        host.tell()]]))
    end
    assert.equal(6, host.told)
    assert.equal(1, #host.handlers)
  end)
end)

describe("hotreload.reloading", function()
  before_each(start)
  after_each(function()
    rawset(_G, "SEEN", nil)
    stop()
  end)

  local NOTE = "SEEN = table.pack(require 'hotreload'.reloading()) "
  local function seen()
    local got = rawget(_G, "SEEN")
    rawset(_G, "SEEN", nil)
    return got and { got[1] or false, got[2] or false }
  end

  it("gives the module whose chunk runs for a reload, and whether that is dry", function()
    app:module("m", NOTE .. "return {}")
    assert.same({ false, false }, seen())
    -- What the chunk of a dry run sets is put back: it tells by what it raises.
    local asks = "local name, dry = require 'hotreload'.reloading() "
    app:write("m", asks .. "error(name .. ' ' .. tostring(dry), 0)")
    assert.matches("m false", select(2, app:reload "m"), 1, true)
    assert.matches("m true", select(2, app:reload("m", { dry_run = true })), 1, true)
    assert.matches("m true", select(2, app.hotreload.plan "m"), 1, true)
    app:update("m", asks .. "return { name = name, dry = dry }")
    assert.equal("m", package.loaded.m.name)
    assert.is_false(package.loaded.m.dry)
    assert.is_nil(app.hotreload.reloading())
  end)

  it("gives it to modules, coroutines, callbacks and dependencies that the chunk calls", function()
    app:module("lib", "return { ask = function() return (require 'hotreload'.reloading()) end }")
    app:module("m", "return {}")
    app:write("dependency", "return { name = require 'lib'.ask() or 'none' }")
    app:update("m", [[
      local ask = require "lib".ask
      local in_callback
      string.gsub("x", "x", function() in_callback = ask() end)
      local _, in_pcall = pcall(ask)
      return {
        names = table.concat({ ask(), coroutine.wrap(ask)(), in_callback, in_pcall,
          require "dependency".name }, " "),
      }
    ]])
    assert.equal("m m m m m", package.loaded.m.names)
    assert.is_nil(package.loaded.lib.ask())
  end)

  it("gives nil when the chunk has ended: in the hook, and after whatever became of it", function()
    app:module("m", "return { f = function() end }")
    app:update("m", "return { f = function() end, __hotfix = function() " .. NOTE .. " end }")
    assert.same({ false, false }, seen())
    for _, source in ipairs {
      "error 'boom'", "return {", "coroutine.yield()", "return { f = 1 }",
      "return { __hotfix = error }",
    } do
      app:write("m", source)
      assert.is_false((app:reload "m"))
      assert.is_nil(app.hotreload.reloading())
      app:reload("m", { dry_run = true })
      assert.is_nil(app.hotreload.reloading())
    end
  end)

  it("gives each module of a list its own name", function()
    app:write("lib", "return { names = {} }")
    local names = app:load "lib".names
    for _, name in ipairs { "a", "b" } do app:module(name, "return {}") end
    for _, name in ipairs { "a", "b" } do
      app:write(name, [[
        local names = require "lib".names
        names[#names + 1] = require "hotreload".reloading()
        return {}]])
    end
    app:reloaded { "b", "a" }
    assert.same({ "b", "a" }, names)
  end)

  it("gives nil to a chunk that require runs outside of a reload", function()
    app:write("m", NOTE .. "return {}")
    app.hotreload.track()
    app:load "m"
    assert.same({ false, false }, seen())
  end)
end)

describe("hotreload.configure { chunk }", function()
  -- A file: what the chunk's functions write into tables is put back.
  local file
  local function log()
    file:flush()
    file:seek "set"
    local lines = {}
    for line in file:lines() do lines[#lines + 1] = line end
    return lines
  end
  local function forget()
    if file then file:close() end
    file = assert(io.tmpfile())
  end
  before_each(function()
    start()
    forget()
    app:module("m", "return { f = function() return 1 end }")
    app:module("n", "return { f = function() return 1 end }")
  end)
  after_each(function()
    app.hotreload.configure { chunk = false, before = false }
    rawset(_G, "OWNER", nil)
    rawset(_G, "NOTE", nil)
    stop()
  end)

  local function note(what)
    return function(name) file:write(what, " ", tostring(name), "\n") end
  end
  local function listen()
    rawset(_G, "NOTE", note "chunk")
    app.hotreload.configure { chunk = { before = note "before", after = note "after" } }
  end

  it("calls the host's functions around each chunk, with the module's name", function()
    listen()
    app:update("m", "NOTE 'm' return { f = function() return 2 end }")
    assert.same({ "before m", "chunk m", "after m" }, log())
    forget()
    app:write("n", "NOTE 'n' return {}")
    app:reloaded { "n", "m" }
    assert.same({ "before n", "chunk n", "after n", "before m", "chunk m", "after m" }, log())
  end)

  it("calls them in a dry run, too", function()
    listen()
    app:write("m", "NOTE 'm' return {}")
    app:reload("m", { dry_run = true })
    assert.same({ "before m", "chunk m", "after m" }, log())
    forget()
    app.hotreload.plan "m"
    assert.same({ "before m", "chunk m", "after m" }, log())
  end)

  it("calls after whatever happens", function()
    listen()
    for _, source in ipairs {
      "error 'boom'", "coroutine.yield()", "return { f = 1 }", "error()", "return 1",
    } do
      forget()
      app:write("m", source)
      assert.is_false((app:reload "m"))
      assert.same({ "before m", "after m" }, log(), source)
    end
    assert.equal(1, package.loaded.m.f())
  end)

  it("calls after before anything is paired", function()
    app.hotreload.configure {
      chunk = {
        before = function(name) rawset(_G, "OWNER", name) end,
        after = function() rawset(_G, "OWNER", nil) end,
      },
    }
    local source = "return { owner = OWNER, f = function() return OWNER end }"
    local report = app:update("m", source, { report = "full" })
    assert.equal("m", package.loaded.m.owner)
    assert.is_nil(package.loaded.m.f())
    assert.is_nil(rawget(_G, "OWNER"))
    assert.same({ "m.owner" }, report.paths.data.added)
    assert.same({}, report.warnings)
  end)

  it("refuses the reload when before raises", function()
    app.hotreload.configure { chunk = { before = function(name) error("not now: " .. name) end } }
    app:write("m", "error 'the chunk runs'")
    local message = app:refused "m"
    assert.matches("not now: m", message, 1, true)
    assert.falsy(message:find("the chunk runs", 1, true))
    app:write("m", "return { f = function() return 2 end }")
    app.hotreload.configure {
      chunk = { before = function(name) if name == "n" then error "no n" end end },
    }
    app:refused { "m", "n" }
    assert.equal(1, package.loaded.m.f())
    app:reloaded "m"
    assert.equal(2, package.loaded.m.f())
  end)

  it("is not called around what the chunk requires, nor by require", function()
    listen()
    app:write("dependency", "NOTE 'dependency' return {}")
    app:update("m", "require 'dependency' return {}")
    assert.same({ "before m", "chunk dependency", "after m" }, log())
    app:module("other", "return {}")
    assert.equal(3, #log())
  end)

  it("takes the last table given as a whole, and false for none", function()
    listen()
    app.hotreload.configure { chunk = { after = note "only" } }
    app:reloaded "m"
    assert.same({ "only m" }, log())
    app.hotreload.configure { chunk = false }
    app:reloaded "m"
    assert.equal(1, #log())
  end)

  it("raises for wrong arguments, and keeps what was configured", function()
    listen()
    for _, wrong in ipairs {
      1, "f", true, { before = 1 }, { after = {} }, { during = print }, { print },
    } do
      local ok, message = pcall(app.hotreload.configure, { chunk = wrong })
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'configure' (option 'chunk'", message, 1, true)
    end
    app:reloaded "m"
    assert.same({ "before m", "after m" }, log())
  end)
end)

describe("the calls of a reload", function()
  local bus
  before_each(function()
    start()
    bus = app:module("bus", BUS)
    app:module("chat", chat(1, "bus.on('old', chat.on_hit)"))
    -- From here on the last load's calls are on record.
    assert.same({ repeated = 2, new = 0, gone = 0, irrevocable = 0 }, app:reloaded "chat".calls)
  end)
  after_each(stop)

  local V2 = chat(2, "function chat.on_quit() return 'quit' end\nbus.on('quit', chat.on_quit)")

  it("are counted in the report, and listed in a full one", function()
    app:write("chat", V2)
    local report = app:reloaded("chat", { report = "full" })
    assert.same({ repeated = 1, new = 1, gone = 1, irrevocable = 0 }, report.calls)
    local calls = report.paths.calls
    assert.equal(1, #calls.repeated)
    assert.matches('bus.on("hit", chat.on_hit)', calls.repeated[1], 1, true)
    assert.equal(1, #calls.new)
    assert.matches('bus.on("quit", chat.on_quit)', calls.new[1], 1, true)
    assert.equal(1, #calls.gone)
    assert.matches('bus.on("old"', calls.gone[1], 1, true)
    assert.same({}, calls.irrevocable)
    report = app:reloaded "chat"
    assert.equal(2, report.calls.repeated)
    assert.equal(0, report.calls.new)
    assert.is_nil(report.paths)
    assert.equal(3, #bus.list)
  end)

  it("are the same in a dry run, and of none in a file that calls nothing", function()
    app:write("chat", V2)
    local _, report = app:reload("chat", { dry_run = true })
    assert.same({ repeated = 1, new = 1, gone = 1, irrevocable = 0 }, report.calls)
    assert.equal(2, #bus.list)
    app:module("alone", "return { f = function() end }")
    report = app:reloaded("alone", { report = "full" })
    assert.same({ repeated = 0, new = 0, gone = 0, irrevocable = 0 }, report.calls)
    assert.same({ repeated = {}, new = {}, gone = {}, irrevocable = {} }, report.paths.calls)
  end)

  it("are in the text of a report", function()
    app:write("chat", V2)
    local text = tostring(app:reloaded("chat", { report = "full" }))
    assert.matches('bus.on("quit", chat.on_quit)', text, 1, true)
    assert.matches('bus.on("hit", chat.on_hit)', text, 1, true)
    assert.matches('bus.on("old"', text, 1, true)
  end)

  it("have marks in a plan", function()
    app:write("chat", V2)
    local text = app.hotreload.plan "chat"
    assert.matches('= bus.on("hit", chat.on_hit)  registered already\n', text .. "\n", 1, true)
    assert.matches('+ bus.on("quit", chat.on_quit)\n', text .. "\n", 1, true)
    assert.matches('%- bus%.on%("old", [^\n]*%)  no longer registered, stays\n', text .. "\n")
    assert.equal(2, #bus.list)
  end)

  it("show strings in one line, and cut long ones", function()
    app:write("chat", chat(2, [[
      bus.on("two\nlines\27", chat.on_hit)
      bus.on(("x"):rep(10000), chat.on_hit)]]))
    local text = app.hotreload.plan "chat"
    assert.falsy(text:find("\27", 1, true))
    assert.falsy(text:find("two\nlines", 1, true))
    assert.matches("two", text, 1, true)
    for line in text:gmatch "[^\n]+" do assert.is_true(#line < 600) end
  end)
end)

describe("a registry that raises on a duplicate", function()
  local commands
  local function source(version, call)
    return fill([[
      local commands = require "commands"
      local M, n = {}, 0
      function M.hit() n = n + 1 return "vVERSION " .. n end
      CALL
      return M]], { VERSION = version, CALL = call })
  end
  before_each(function()
    start()
    commands = app:module("commands", [[
      local commands, map, n = {}, {}, 0
      function commands.add(name, f)
        n = n + 1
        if map[name] then error("duplicate command " .. name, 2) end
        map[name] = { f = f, nr = n }
      end
      function commands.run(name) return map[name].f() end
      return commands]])
  end)
  after_each(stop)

  for kind, f in pairs {
    named = "M.hit", anonymous = "function() n = n + 1 return 'vVERSION ' .. n end",
  } do
    it("has the reload refused, and the way out told: " .. kind .. " function", function()
      local call = "commands.add('hit', " .. f .. ")"
      app:module("m", source(1, (call:gsub("VERSION", "1"))))
      commands.run "hit"
      app:write("m", source(2, (call:gsub("VERSION", "2"))))
      for _, scope in ipairs { "module", "vm" } do
        local message = app:refused("m", { scope = scope })
        assert.matches("duplicate command hit", message, 1, true)
        assert.matches("registered already; see hotreload.reloading()", message, 1, true)
      end
      assert.equal("v1 2", commands.run "hit")
    end)
  end

  it("is no matter where the chunk catches the error: what stands there is the new one", function()
    local call = "pcall(commands.add, 'hit', M.hit)"
    app:module("m", source(1, call))
    commands.run "hit"
    for version = 2, 3 do
      app:update("m", source(version, call))
      assert.equal(("v%d %d"):format(version, version), commands.run "hit")
    end
  end)

  it("says nothing of the way out where nothing is registered already", function()
    app:module("m", source(1, ""))
    app:write("m", source(2, "commands.add(nil, M.hit)"))
    assert.falsy(app:refused "m":find("registered already", 1, true))
  end)
end)

describe("a C function outside of Lua's standard library", function()
  before_each(start)
  after_each(stop)

  local HOST = [[
    local lfs = require "lfs"
    local host = { list = {} }
    function host.on(event, f)
      lfs.currentdir()
      host.list[#host.list + 1] = { event, f }
    end
    return host]]
  local CHAT = [[
local host = require "host"
local M = {}
function M.f() end
host.on("x", M.f)
return M]]

  it("keeps the call in which it ran, and the warning names file, line and function", function()
    local host = app:module("host", HOST)
    app:module("chat", CHAT)
    local report = app:update("chat", CHAT .. " -- edited", { report = "full" })
    assert.equal(2, #host.list)
    assert.equal(1, report.calls.irrevocable)
    assert.matches("currentdir", report.paths.calls.irrevocable[1], 1, true)
    local warnings = table.concat(report.warnings, "\n")
    assert.matches("currentdir", warnings, 1, true)
    assert.matches("%a+%.lua:%d+", warnings)
  end)

  it("does not keep the tables of a load that is not kept; the message says what ran", function()
    local host = app:module("host", HOST)
    app:module("chat", CHAT)
    app:write("chat", (CHAT:gsub("return M", "error 'boom'")))
    local message = app:refused "chat"
    assert.matches("boom", message, 1, true)
    assert.matches("%a+%.lua:%d+: [%w.]*currentdir ran and cannot be taken back", message)
    assert.equal(1, #host.list)
  end)

  it("is in the plan with its line", function()
    app:module("chat", "local lfs = require 'lfs'\nlocal M = {}\n\nlfs.currentdir()\nreturn M")
    local text = app.hotreload.plan "chat"
    assert.matches("! lfs.currentdir %([^\n]*chat%.lua:4%) will run again", text)
    assert.equal(1, app:reloaded "chat".calls.irrevocable)
  end)

  it("is none of this library's, whoever calls them", function()
    for _, tracked in ipairs { true, false } do
      if not tracked then app.hotreload.track(false) end
      app:module("host", (HOST:gsub("lfs.currentdir%(%)", "require 'hotreload'.clock()")))
      app:module("chat", CHAT)
      app:write("dep", "return {}")
      package.loaded.dep = nil
      local text = "local hr, dep = require 'hotreload', require 'dep'\n"
        .. "hr.clock() hr.reloading()\n" .. CHAT
      app:write("chat", text)
      assert.is_nil(app.hotreload.plan "chat":find("will run again", 1, true))
      app:write("chat", (text:gsub("return M", "error 'boom'")))
      assert.is_nil(app:refused "chat":find("cannot be taken back", 1, true))
      local report = app:update("chat", text)
      assert.same({ 0, 1 }, { report.calls.irrevocable, report.calls.repeated })
      assert.same({}, report.warnings)
      assert.equal(1, #app:load "host".list)
    end
  end)

  it("is none of Lua's own, iterators and methods of files among them", function()
    local host = app:module("host", [[
      local host = { list = {} }
      function host.on(event, f)
        local words, file = {}, io.tmpfile()
        for word in event:gmatch "%a+" do table.insert(words, word) end
        for _, word in ipairs(words) do file:write(word, "\n") end
        for _ in pairs(words) do file:flush() end
        for _, c in utf8.codes(event) do math.max(c, os.time()) end
        file:seek("set", 0)
        for _ in file:lines() do select("#", string.format("%s", event)) end
        file:close()
        coroutine.wrap(function() coroutine.yield(os.clock()) end)()
        for _ in coroutine.wrap(function() coroutine.yield(1) end) do rawlen(words) end
        table.sort(words, function(a, b) return a < b end)
        local object = setmetatable({ tostring(event) }, { __index = string })
        host.list[#host.list + 1] = { object, f, next(words) }
        load("return 1")()
        string.gsub(event, ".", string.upper)
      end
      return host]])
    app:module("chat", CHAT)
    for edit = 1, 2 do
      local report = app:update("chat", CHAT .. " -- edit " .. edit)
      assert.equal(0, report.calls.irrevocable)
      assert.equal(1, report.calls.repeated)
      assert.same({}, report.warnings)
    end
    assert.equal(1, #host.list)
  end)
end)

describe("a chunk that yields in another module (R2.5)", function()
  before_each(start)
  after_each(stop)

  -- A scheduler that notes who waits before it yields. Numbers that come from a coroutine are not
  -- put back.
  local function scheduler(next_id)
    return app:module("sched", ([[
      local waiting, S = {}, {}
      local next_id = %s
      function S.call(x)
        local id = next_id()
        waiting[id] = coroutine.running()
        return coroutine.yield(id, x)
      end
      function S.reply(id, value)
        local co = waiting[id]
        waiting[id] = nil
        if not co then return false, "nobody waits for " .. id end
        return coroutine.resume(co, value)
      end
      function S.waiting() local n = 0 for _ in pairs(waiting) do n = n + 1 end return n end
      return S]]):format(next_id))
  end
  local FROM_OUTSIDE = [[coroutine.wrap(function()
    local n = 0
    while true do n = n + 1 coroutine.yield(n) end
  end)]]
  local FROM_LUA = "(function() local n = 0 return function() n = n + 1 return n end end)()"

  for kind, next_id in pairs { ["from outside"] = FROM_OUTSIDE, ["of Lua"] = FROM_LUA } do
    for place, call in pairs {
      plain = "local x = S.call 'early'", caught = "local _, x = pcall(S.call, 'early')",
      ["of its own"] = "local function ask() return S.call 'early' end local x = ask()",
    } do
      it(("leaves no session behind: a call that is %s, numbers %s"):format(place, kind), function()
        local S = scheduler(next_id)
        app:module("m", "return { v = 1 }")
        local got = {}
        local co = coroutine.create(function()
          local source = "local S = require 'sched' " .. call .. " return { v = x }"
          got.ok, got.message = app:reload("m", { source = source })
          got.waiting = S.waiting()
          got.late = S.call "late"
        end)
        local _, late = coroutine.resume(co)
        assert.equal(place == "caught", got.ok)
        if place ~= "caught" then
          assert.matches(": the chunk yields", got.message, 1, true)
        end
        assert.equal(0, got.waiting)
        if late ~= 1 then
          assert.is_false((S.reply(1, "early")))
        end
        S.reply(late, "late")
        assert.equal("late", got.late)
        assert.equal("dead", coroutine.status(co))
        -- The chunk that caught the message goes on with it; a place of another kind is
        -- the file's (R6).
        local caught = "attempt to yield across a C-call boundary"
        assert.equal(place == "caught" and caught or 1, package.loaded.m.v)
      end)
    end
  end
end)

describe("package.loaded tells dependencies (R2.2, R3.3):", function()
  before_each(start)
  after_each(stop)

  local RESULTS = {}
  -- What becomes of a table of the module's own that is another module's in the new file.
  local function result()
    app:write("limits", "local count = 10 return { max = 9, count = function() return count end }")
    local first = [[
      local count = 1
      local M = { limits = { max = 5, count = function() return count end } }
      function M.count() return count end
      return M]]
    local M = app:module("m", first)
    app:update("m", first) -- a host's require leaves no record
    local source = [[
      local count = 1
      local M = { limits = require "limits" }
      function M.count() return count end
      return M]]
    app:write("m", source .. " .")
    app:refused "m"
    app:write("m", (source:gsub("return M$", "error 'boom'")))
    app:refused "m"
    assert.is_nil(package.loaded.limits)
    app:update("m", source)
    local limits = package.loaded.limits
    assert.equal(10, limits.count())
    assert.equal(9, limits.max)
    assert.equal(1, M.count())
    return ("%s %d %d"):format(M.limits == limits, M.limits.max, M.limits.count())
  end

  it("those of Lua's require", function()
    RESULTS.stock = result()
  end)

  it("those of a host's require that asks no searchers are taken the same way", function()
    local stock = require
    rawset(_G, "require", function(name)
      if package.loaded[name] == nil then
        local path = package.searchpath(name, package.path)
        if not path then return stock(name) end
        local value = assert(loadfile(path))(name, path)
        if value == nil then value = true end
        if package.loaded[name] == nil then package.loaded[name] = value end
      end
      return package.loaded[name]
    end)
    local ok, got = pcall(result)
    rawset(_G, "require", stock)
    assert(ok, got)
    assert.equal(RESULTS.stock, got)
  end)

  it("what a host's require loads registers once, and not for a load that is not kept", function()
    local bus = app:module("bus", BUS)
    app:write("plugin", [[
      local bus = require "bus"
      bus.on("plugin", function() return "plugin" end)
      return { bus = bus }]])
    app:module("chat", chat(1))
    local load_plugin = [[
      local function import(name)
        if not package.loaded[name] then
          package.loaded[name] = dofile(package.searchpath(name, package.path))
        end
        return package.loaded[name]
      end
      chat.plugin = import "plugin"]]
    for name, run in pairs(NOT_KEPT) do
      if not name:find "list of modules" then
        run(chat(2, load_plugin))
        assert.is_nil(package.loaded.plugin, name)
        assert.equal(1, #bus.list, name)
      end
    end
    for version = 2, 3 do app:update("chat", chat(version, load_plugin)) end
    assert.equal("v3 1, plugin", bus.fire())
    assert.equal(package.loaded.plugin, package.loaded.chat.plugin)
  end)
end)

describe("a reload and debug hooks", function()
  local bus
  before_each(function()
    start()
    bus = app:module("bus", BUS)
    app:module("chat", chat(1))
    app:write("chat", chat(2))
  end)
  after_each(function()
    debug.sethook()
    stop()
  end)

  for _, kind in ipairs { "call", "line", "count" } do
    it(("registers once where it is asked for in a %s hook"):format(kind), function()
      local done
      debug.sethook(function()
        if done == nil then
          done = false
          done = app:reload "chat"
        end
      end, ({ call = "c", line = "l", count = "" })[kind], kind == "count" and 1 or 0)
      local x = 0
      for i = 1, 10 do x = x + math.abs(i) end
      debug.sethook()
      assert.is_true(done)
      assert.equal("v2 1", bus.fire())
    end)
  end

  it("lets the program's own hook see the chunk's calls, and puts it back", function()
    local seen = 0
    local function hook()
      if debug.getinfo(2, "f").func == bus.on then seen = seen + 1 end
    end
    debug.sethook(hook, "c")
    app:reload "chat"
    local f, mask, count = debug.gethook()
    debug.sethook()
    assert.equal(hook, f)
    assert.equal("c", mask)
    assert.equal(0, count)
    assert.equal(1, seen)
    assert.equal("v2 1", bus.fire())
  end)

  it("leaves no hook behind, in coroutines neither", function()
    local co = coroutine.wrap(function(f)
      while true do f = coroutine.yield(f and f() or coroutine.running()) end
    end)
    local thread = co()
    rawset(_G, "OLD", co)
    app:update("chat", chat(2, "OLD(function() bus.on('in', chat.on_hit) return true end)"))
    rawset(_G, "OLD", nil)
    assert.is_nil((debug.gethook()))
    assert.is_nil((debug.gethook(thread)))
    app:write("chat", chat(3, "error 'boom'"))
    app:refused "chat"
    assert.is_nil((debug.gethook()))
  end)

  it("warns of a chunk that sets a hook of its own", function()
    local report = app:update("chat", chat(2, [[
      debug.sethook(function() end, "c")
      bus.on("late", chat.on_hit)]]))
    debug.sethook()
    assert.matches("hook", table.concat(report.warnings, "\n"), 1, true)
    assert.equal("late", bus.list[2].event)
  end)
end)

describe("what a call of the chunk does to globals, and to tables that the file names,", function()
  before_each(start)
  after_each(stop)

  local LOG = [[
    local log, lines = { count = 0 }, 0
    function log.say()
      lines, log.count = lines + 1, log.count + 1
      COUNT, TEXT, FLAG, OLD = COUNT + 1, TEXT .. "!", not FLAG, nil
      NEW, _G.FIELD, _ENV.ENV, STATS.said = 1.5, "field", "env", STATS.said + 1
      rawset(_G, "RAW", true)
    end
    function log.declare(name, value) rawset(_G, name, value) end
    function log.defaults(values) for name, value in pairs(values) do _G[name] = value end end
    function log.run(f) f() end
    function log.tick() COUNT = COUNT + 1 end
    function log.lines() return lines end
    return log]]
  local M = "local M = {}\nfunction M.stats() return STATS.said, COUNT end\nreturn M"

  local function globals()
    local list = {}
    for name in ("COUNT TEXT FLAG OLD NEW FIELD ENV RAW"):gmatch "%u+" do
      local value = rawget(_G, name)
      table.insert(list, value == nil and "none" or value)
    end
    table.insert(list, rawget(_G, "STATS").said)
    return list
  end
  local BEFORE = { 0, "a", false, "old", "none", "none", "none", "none", 0 }
  local AFTER = { 1, "a!", true, "none", 1.5, "field", "env", true, 1 }

  for _, scope in ipairs { "module", "vm" } do
    it("stays, as in fields and upvalues, and goes with an undo, scope = " .. scope, function()
      local stats = { said = 0 }
      local old = { COUNT = 0, TEXT = "a", FLAG = false, OLD = "old", STATS = stats }
      for name, value in pairs(old) do
        rawset(_G, name, value)
      end
      local log = app:module("log", LOG)
      app:module("m", M)
      app:write("m", "require 'log'.say()\n" .. M)
      app:reloaded("m", { scope = scope, dry_run = true })
      assert.same(BEFORE, globals())
      app:reloaded("m", { scope = scope })
      assert.same(AFTER, globals())
      assert.same({ 1, 1 }, { log.count, log.lines() })
      assert.is_true((app.hotreload.undo "m"))
      assert.same(BEFORE, globals())
      app:write("m", "require 'log'.say()\n" .. M:gsub("return M", "error 'boom'"))
      app:refused "m"
      assert.same(BEFORE, globals())
    end)
  end

  it("is the file's own data where the file says both name and value", function()
    for name, value in pairs { HP = 7, READY = false, MP = 8, RUN = 9, OWN = 10, COUNT = 40 } do
      rawset(_G, name, value)
    end
    app:module("log", LOG)
    app:module("m", M)
    app:update("m", [[
      local log = require "log"
      log.declare("HP", 1)
      log.defaults { READY = true, MP = 2 }
      log.run(function() RUN = 3 end)
      OWN = 4
      log.declare("ADDED", 5)
      COUNT = 0
      log.tick()
    ]] .. M)
    assert.same({ 7, false, 8, 9, 10, 5, 40 }, -- what runs stays (R8.1)
      { HP, READY, MP, RUN, OWN, ADDED, COUNT }) -- luacheck: ignore
  end)
end)
