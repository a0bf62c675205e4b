--- hotreload.console: commands of one line and their answers (R12.9).

local program = require "spec.support.program"
local console = require "hotreload.console"

local TOKEN = "0123456789abcdef"
local V1 = "local M = { } local n = 0 function M.hit() n = n + 1 return n end return M"
local V2 = "local M = { } local n = 0 function M.hit() n = n + 10 return n end return M"

describe("console.run (R12.9)", function()
  local app, M
  before_each(function()
    app = program.new()
    M = app:module("game.skill", V1)
    app.hotreload.configure { allow = "^game%." }
    app.hotreload.changed()
  end)
  after_each(function()
    app.hotreload.configure { allow = {} }
    app:unload()
  end)

  local function run(command, options)
    local ok, text, value = console.run(command, options)
    assert.is_string(text)
    return ok, text, value
  end

  it("plans and changes nothing, reloads, and undoes", function()
    app:write("game.skill", V2)
    local before = program.fingerprint(M)
    local ok, text, value = run "plan game.skill"
    before:assert_unchanged()
    assert.is_true(ok)
    assert.equal(app.hotreload.plan "game.skill", text)
    assert.equal("game.skill", value[1].module)
    assert.is_true(value[1].dry_run)

    ok, text, value = run "  reload   game.skill "
    assert.is_true(ok)
    assert.matches("^reloaded game%.skill: 1 function changed, state kept %(1 upvalue%), ", text)
    assert.equal(1, value[1].changed)
    assert.equal(10, M.hit())

    ok, text = run { "undo", "game.skill" }
    assert.is_true(ok)
    assert.equal("undid the last reload of game.skill", text)
    assert.equal(11, M.hit())
    assert.is_false((run "undo game.skill"))
  end)

  it("is about what changed where no module is named", function()
    assert.same({ true, "nothing to do: no module's file differs from what runs", {} },
      { run "reload" })
    app:module("game.other", "return { f = function() end }")
    assert.is_true((run "changed"))
    app:write("game.skill", V2)
    app:write("game.other", "return { f = function() return 1 end }")
    local ok, text, names = run "changed game.skill game.other"
    assert.same({ true, "game.other\ngame.skill" }, { ok, text })
    assert.same({ "game.other", "game.skill" }, names)
    ok, text = run "plan"
    assert.is_true(ok)
    assert.matches("would reload game%.other: .*\nwould reload game%.skill: ", text)
    ok, text = run "reload"
    assert.is_true(ok)
    assert.matches("^reloaded game%.other: .*\nreloaded game%.skill: ", text)
    assert.same({ true, "", {} }, { run "changed" })
  end)

  it("reloads none where the file of one is broken, and says which", function()
    app:module("game.other", "return { f = function() end }")
    run "changed"
    app:write("game.skill", V2)
    app:write("game.other", "return {")
    local ok, text, names = run "changed"
    assert.is_false(ok)
    assert.matches("^game%.skill\ngame%.other: .*near <eof>", text)
    assert.same({ "game.skill" }, names)
    ok, text = run "reload"
    assert.is_false(ok)
    assert.matches("near <eof>.*\nname the modules to reload others$", text)
    assert.equal(1, M.hit())
    assert.is_true((run "reload game.skill"))
  end)

  it("takes options of a reload, over those of the program", function()
    M.level = 1
    app:write("game.skill", (V2:gsub("local M = {", "local M = { level = 2")))
    local _, _, value = run("plan game.skill", { data = "replace" })
    assert.equal(1, value[1].data.replaced)
    _, _, value = run("plan game.skill data=keep", { data = "replace" })
    assert.equal(0, value[1].data.replaced)
    assert.is_true((run("reload game.skill strict=true removed=drop")))
    local ok, text = run "reload game.skill data=some"
    assert.is_false(ok)
    assert.equal("option 'data': 'keep', 'merge', 'replace' expected, got 'some'", text)
    assert.is_true((run "undo game.skill steps=1"))
    ok, text = run "undo game.skill steps=many"
    assert.is_false(ok)
    assert.matches("got string", text)
  end)

  it("knows every option whose value is a word, and never a text to run", function()
    for option, value in pairs {
      constants = "follow", data = "keep", dependents = "false", from = "game.skill",
      on_conflict = "error", patches = "keep", removed = "keep", scope = "vm", strict = "false",
      text_only = "false", wrappers = "follow",
    } do
      local _, text = run(("plan game.skill %s=%s"):format(option, value))
      assert.not_matches("unknown option", text)
      assert.not_matches("option '", text)
    end
    for _, word in ipairs { "source=return", "dry_run=false", "report=full", "migrate=f" } do
      local ok, text = run("reload game.skill " .. word)
      assert.is_false(ok)
      assert.equal("unknown option '" .. word:match "^[%w_]+" .. "'", text:match "^[^,;]+")
    end
    assert.same({ false, "unknown option 'scop', did you mean 'scope'?; 'help' lists all" },
      { run "plan game.skill scop=vm" })
    assert.is_false((run "undo game.skill scope=vm"))
  end)

  it("shows conflicts, and why else a module is refused", function()
    M.level = 1
    app:write("game.skill", (V1:gsub("local M = {", "local M = { level = print")))
    local ok, text, value = run "reload game.skill"
    assert.is_false(ok)
    assert.matches("did not reload game.skill: 1 conflict, nothing was changed", text, 1, true)
    assert.equal("game.skill.level", value[1].conflicts[1].path)
    ok, text = run "plan game.skil"
    assert.is_false(ok)
    assert.matches("did you mean 'game.skill'?", text, 1, true)
  end)

  it("lists old functions", function()
    assert.same({ true, "", {} }, { run "stale" })
    _G.kept = M.hit
    app:update("game.skill", V2)
    local ok, text, value = run "stale"
    assert.is_true(ok)
    assert.equal("game.skill:1: kept, generation 1", text)
    assert.equal(1, value[1].generation)
    assert.same({ ok, text, value }, { run "stale game.skill" })
    assert.is_false((run "stale game.none"))
  end)

  it("says what it knows for what it does not", function()
    assert.same({ false, "unknown command 'relaod', did you mean 'reload'?; 'help' lists all" },
      { run "relaod game.skill" })
    local _, help = run ""
    for _, name in ipairs { "plan", "reload", "undo", "stale", "changed", "help" } do
      assert.matches("\n" .. name .. " ", "\n" .. help)
    end
    assert.is_false((run "undo"))
  end)

  it("raises for wrong arguments alone", function()
    assert.has_error(function() console.run(nil) end,
      "bad argument #1 to 'run' (string expected, got nil)")
    assert.has_error(function() console.run("help", 1) end,
      "bad argument #2 to 'run' (table expected, got number)")
  end)
end)

describe("a session of the console (R12.9)", function()
  local app, session
  before_each(function()
    app = program.new()
    app:module("skill", V1)
    session = console.session { token = TOKEN }
  end)
  after_each(function() app:unload() end)

  local HELLO = "OK 1\n" .. require "hotreload"._VERSION .. "; try 'help'\n"

  it("answers each line with a status and as many lines as it says", function()
    assert.same({ HELLO, true }, { session:feed(TOKEN .. "\n") })
    local answer, open = session:feed "plan skill\nplan none\r\nchanged skill\n"
    assert.is_true(open)
    local statuses = {}
    while answer ~= "" do
      local status, count, rest = answer:match "^(%u+) (%d+)\n(.*)$"
      statuses[#statuses + 1] = status
      for _ = 1, tonumber(count) do rest = assert(rest:match "^[^\n]*\n(.*)$") end
      answer = rest
    end
    assert.same({ "OK", "ERR", "OK" }, statuses)
    assert.same({ "OK 0\n", true }, { session:feed "changed skill\n" })
  end)

  it("takes a line in parts", function()
    assert.same({ "", true }, { session:feed(TOKEN:sub(1, 5)) })
    assert.same({ "", true }, { session:feed(TOKEN:sub(6)) })
    assert.same({ HELLO, true }, { session:feed "\r\n" })
    assert.same({ "", true }, { session:feed "chan" })
    assert.same({ "OK 0\n", true }, { session:feed "ged skill\n" })
  end)

  it("ends with a wrong token, and does nothing more", function()
    local M, other = package.loaded.skill, TOKEN:gsub("f", "g")
    for _, wrong in ipairs { "", TOKEN .. "0", TOKEN:sub(2), "reload skill", other } do
      local guard = console.session { token = TOKEN }
      app:write("skill", V2)
      assert.same({ "ERR 1\nwrong token\n", false }, { guard:feed(wrong .. "\nreload skill\n") })
      assert.same({ "", false }, { guard:feed(TOKEN .. "\nreload skill\n") })
      assert.equal(-1, M.hit() - M.hit())
    end
  end)

  it("ends with a line that is too long", function()
    local answer, open = session:feed(("x"):rep(65536))
    assert.same({ "", true }, { answer, open })
    assert.same({ "ERR 1\nthe line is too long\n", false }, { session:feed "x" })
  end)

  it("has the options of the program", function()
    session = console.session { token = TOKEN, options = { strict = true, data = "none" } }
    session:feed(TOKEN .. "\n")
    assert.matches("^ERR 1\n.*option 'data'", (session:feed "reload skill\n"))
  end)

  it("sends nothing that steers a terminal", function()
    session:feed(TOKEN .. "\n")
    app:write("skill", "error('\\27[31m\\7 red')")
    local answer = session:feed "reload skill\n"
    assert.matches("?[31m? red", answer, 1, true)
  end)

  it("lets a hook yield; what comes meanwhile waits", function()
    session:feed(TOKEN .. "\n")
    app:write("skill", V2:gsub("return M$", "function M.__hotfix() coroutine.yield() end return M"))
    local thread = coroutine.create(session.feed)
    assert(coroutine.resume(thread, session, "reload skill\n"))
    assert.equal("suspended", coroutine.status(thread))
    assert.same({ "", true }, { session:feed "changed skill\n" })
    local _, answer = assert(coroutine.resume(thread))
    assert.matches("^OK 1\nreloaded skill: .*\nOK 0\n$", answer)
  end)

  it("wants a token that nobody guesses", function()
    for message, settings in pairs {
      ["table expected, got nil"] = false,
      ["option 'token': string expected, got nil"] = {},
      ["option 'token': 16 characters or more of one line expected"] = { token = TOKEN:sub(2) },
      ["option 'options': table expected, got number"] = { token = TOKEN, options = 1 },
      ["unknown option 'port'; known: options, token"] = { token = TOKEN, port = 1 },
    } do
      assert.has_error(function() console.session(settings or nil) end,
        "bad argument #1 to 'session' (" .. message .. ")")
    end
    assert.has_error(function() console.session { token = "0123456789\n0123456789" } end)
  end)
end)
