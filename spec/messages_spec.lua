-- The table of messages in docs/guide.md: each is made here by the mistake that it is for.

local document = require "spec.support.document"
local program = require "spec.support.program"

local PLAYER = "local M = {}\nfunction M.f() return 1 end\nreturn M"

describe("a message for a wrong call", function()
  local app
  before_each(function()
    app = program.new()
    app:module("player", PLAYER)
  end)
  after_each(function() app:unload() end)

  --- The message of a reload of the player with another text.
  local function text(source)
    return function() return select(2, gg.reload("player", { source = source })) end
  end

  --- That of a reload with this argument.
  local function name(given)
    return function() return select(2, gg.reload(given)) end
  end

  --- That of a call that raises.
  local function raised(call)
    return function()
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.matches("^spec/messages_spec.lua:%d+: ", message)
      return message
    end
  end

  local CASES = {
    ["module 'player.lua' not found; did you mean 'player'?"] = name "player.lua",
    ["module './player.lua' not found; did you mean 'player'?"] = name "./player.lua",
    ["module 'game/player' not found; did you mean 'player'?"] = name "game/player",
    ["module 'Player' not found; did you mean 'player'?"] = name "Player",
    ["module 'playr' not found; did you mean 'player'?"] = name "playr",
    ["module 'entry/main.lua' not found; did you mean 'entry'?"] = function()
      package.path = app.dir .. "/?/main.lua;" .. package.path
      app:write("entry.main", PLAYER)
      require "entry"
      return name "entry/main.lua"()
    end,
    ["second copy would have its own data; did you mean 'ai.wolf'?"] = function()
      app:module("ai.wolf", PLAYER)
      return name "ai/wolf"()
    end,
    ["bad argument #1 to 'reload' (a name expected, got gg; call gg.reload with a dot)"] =
      raised(function() local ok = gg:reload "player" return ok end),
    ["bad argument #1 to 'reload' (a name expected, got the module itself; "
      .. "did you mean 'player'?)"] = raised(function()
      local ok = gg.reload(require "player")
      return ok
    end),
    ["table while it runs, nothing in the file; is 'return' missing at its end?"] =
      text "local M = {}\nfunction M.f() return 2 end",
    ["player.lua:2: the chunk yields"] = text "local M = {}\ncoroutine.yield()\nreturn M",
    ["player.lua:1: the chunk yields (called in"] =
      text "local function wait() coroutine.yield() end\n\nwait()\nreturn {}",
    ["bad argument #1 to 'poll' (a watcher expected, got no value; "
      .. "call watcher:poll() with a colon)"] = raised(function()
      local watcher = app.hotreload and require "hotreload.watch".new()
      local count = watcher.poll()
      return count
    end),
  }

  local rows = {}
  for row in document.read "docs/guide.md":match "\n## Messages\n(.*)$":gmatch "\n| `([^\n]-)` |" do
    rows[#rows + 1] = row
  end

  for _, row in ipairs(rows) do
    it("is in the guide's table, and is made: " .. row, function()
      assert.is_function(CASES[row], "no case for the row")
      local running = require "player"
      local message = CASES[row]()
      assert.matches(row, message, 1, true)
      local _, breaks = message:gsub("\n", "")
      assert.is_true(breaks < 5, message)
      assert.equal(1, running.f())
      assert.equal(running, package.loaded.player)
    end)
  end

  it("has a row in the guide's table", function()
    local among = {}
    for _, row in ipairs(rows) do among[row] = true end
    for message in pairs(CASES) do assert.is_true(among[message], message) end
    assert.is_true(#rows > 0)
  end)

  it("names a line that the file calls, inside of a coroutine, too", function()
    local message
    coroutine.wrap(function() message = text "coroutine.yield(1)"() end)()
    assert.matches("^error running module 'player': [^\n]*player.lua:1: the chunk yields\n",
      message)
    message = text "local function wait() coroutine.yield() end\n\nwait()"()
    assert.matches("player.lua:1: the chunk yields %(called in [^\n]*player.lua:3%)\n", message)
  end)

  it("leaves a name alone that nothing is like, and one that is refused", function()
    assert.falsy(name "something.else.entirely"():find "did you mean")
    app.hotreload.configure { deny = "^player$" }
    assert.falsy(name "playr"():find "did you mean")
    app.hotreload.configure { deny = {} }
    -- What is loaded is the right name, be its file gone.
    os.remove(app:path "player")
    assert.falsy(name "player"():find "did you mean")
  end)

  it("finds a file that is not loaded yet", function()
    app:write("other", PLAYER)
    assert.matches("did you mean 'other'?", name "other.lua"(), 1, true)
    assert.is_nil(package.loaded.other)
  end)

  it("is heard by on_error, and stands for a module in a list, too", function()
    local heard
    app.hotreload.configure { on_error = function(_, message) heard = message end }
    local message = name { "player", "playr" }()
    assert.matches("^module 'playr' not found; did you mean 'player'", message)
    assert.equal(message, heard)
    assert.equal(message, (select(2, app.hotreload.plan "playr")))
  end)

  it("knows the library's own table, at undo as well", function()
    local hotreload = app.hotreload
    assert.has_error(function() hotreload:undo "player" end,
      "bad argument #1 to 'undo' (a name expected, got hotreload; call hotreload.undo with a dot)")
    assert.has_error(function() hotreload.undo(true) end,
      "bad argument #1 to 'undo' (string or table expected, got boolean)")
  end)

  it("takes little time where many modules are loaded", function()
    for i = 1, 5000 do package.loaded["game.module.number" .. i] = { i } end
    local start = os.clock()
    assert.matches("did you mean 'player'?", name "playr"(), 1, true)
    local seconds = os.clock() - start
    for i = 1, 5000 do package.loaded["game.module.number" .. i] = nil end
    assert.is_true(seconds < 1, seconds)
  end)
end)

describe("hotreload.near", function()
  it("has the nearest names first, three at most", function()
    local app = program.new()
    finally(function() app:unload() end)
    local near = app.hotreload.near
    local known = { "shop", "hat", "chats", "chat", "chap1" }
    assert.same({ "chat", "chats", "hat" }, near("chat", known))
    assert.same({ "battle.skill" }, near("skill", { "battle.skill", "x" }))
    assert.same({ "ba" }, near("ab", { "ba", "cc" })) -- two letters exchanged
    assert.same({}, near("chat", {}))
    assert.same({ {}, {} }, { near("", { "x" }), near("a", { "b" }) })
    assert.has_error(function() near(1, {}) end,
      "bad argument #1 to 'near' (string expected, got number)")
    assert.has_error(function() near "x" end,
      "bad argument #2 to 'near' (table expected, got nil)")
  end)
end)

describe("docs/messages.md", function()
  local messages = require "spec.support.messages"

  -- Neither a message nor the part of one that names a cause.
  local OTHERS = {
    ["(error object is a … value)"] = "an error as Lua's own interpreter words it",
    ["(what the module returns): table while it runs, nothing in the file"] = "searched for",
    ["table, more than … entries"] = "a value",
    ["no function of the file"] = "who no longer uses a local",
    ["nothing in the file"] = "who no longer has a key",
    ["…: … while it runs, … in the file"] = "an entry of a report",
    ["another kind of expression of the same name"] = "why two are matched",
    ["as the option rename says"] = "why two are matched",
    ["both are what the chunk returns"] = "why two are matched",
    ["by content and order"] = "why two are matched",
    ["equal but for the name"] = "why two are matched",
    ["element … of the file"] = "why two are matched",
    ["a reference, stays as the program has it"] = "why a place stays",
    ["takes the place of the function that stood there, which the file no longer has"] =
      "why two are matched",
    ["the class in line …"] = "what is migrated",
    ["the metatable of the type …"] = "a holder",
    ["the function of a string's line …"] = "a function",
    ["its loader is a C function"] = "how a C module is recognised",
    ["which a coroutine is in the midst of"] = "of a function of old code",
    ["the file gives that value to a new key"] = "why a value stays",
    ["the program and the file have both changed it"] = "why a value stays",
    ["nobody knows what it was loaded as"] = "why a value stays",
    ["nothing tells which function of the module it wraps, if any"] = "why it is a patch",
    ["not all that is inside of it was looked at"] = "why it is a patch",
    ["it was a dry run"] = "a cause",
    ["the module's chunk had changed the program"] = "a cause",
    ["with a LUA_IDSIZE of more than 1024"] = "how Lua was built",
    ["with integers or floats that do not have 64 bits (LUA_32BITS and the like)"] =
      "how Lua was built",
    ["without some of its functions"] = "how Lua was built",
    ["as C++ (its errors are exceptions, which do not get through the library)"] =
      "how Lua was built",
    ["by a debug hook"] = "how a watcher is polled",
    ["when it calls 'poll'"] = "how a watcher is polled",
    ["it has a debug hook of its own"] = "how a watcher is polled",
    ["a function without a name"] = "a function of old code",
    ["hotreload: watches what the program loads, polled …"] = "what hotreload.dev says first",
  }
  -- A wrong argument says itself what is expected. Patterns and Lua's own code are no messages.
  local CLEAR = {
    " expected", " is a string, got …$", "^bad argument #%d to '[%a…]+' %([…]+%)$", "^%^",
    "^return ",
  }

  local function is_clear(message)
    for _, pattern in ipairs(CLEAR) do
      if message:find(pattern) then return true end
    end
    return false
  end

  -- The words of reports and plans are the guide's.
  local SOURCES = [[git ls-files --cached --others --exclude-standard 'src/stages/*.rs' \
    'src/stages/**/*.rs' 'src/features/*.rs' src/support/error.rs src/reload.rs src/lua/host.rs \
    'lua/hotreload/*.lua' | grep -v '/tests.rs$\|/report.lua$\|/plan.lua$\|/meta.lua$']]

  local function in_sources()
    local found, paths = {}, io.popen(SOURCES)
    for path in paths:lines() do
      for _, message in ipairs(messages.of(path)) do found[message] = path end
    end
    assert(paths:close())
    return found
  end

  local rows = {}
  for row, remedy in document.read "docs/messages.md":gmatch "\n| `([^\n]-)` | ([^\n]*) |" do
    rows[row] = remedy
  end

  it("has a row with a remedy for each message that the library can give", function()
    local missing = {}
    for message, path in pairs(in_sources()) do
      local is_known = rows[message] or OTHERS[message] or is_clear(message)
      if not is_known then missing[#missing + 1] = path .. ": " .. message end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("has no message that the library does not give", function()
    local found, gone = in_sources(), {}
    for _, list in ipairs { rows, OTHERS } do
      for message, said in pairs(list) do
        assert.is_truthy(said:find "%a%a", message)
        if not found[message] then gone[#gone + 1] = message end
      end
    end
    assert.same({}, gone)
    assert.is_truthy(next(rows))
  end)

  it("has each warning with a remedy of its own", function()
    local VERBS = {
      "__hotfix", "hotreload%.%l+", "rename = ", "patches = ", "give ", "keep it", "set the hook",
      "reload again", "remove one", "reload while", "reload with", "run the program",
      "in a reload of its own",
    }
    local count = 0
    local warnings = document.read "docs/messages.md":match "\n## Warnings\n(.-)\n## "
    for row in warnings:gmatch "\n| `([^\n]-)` |" do
      count = count + 1
      local says
      for _, verb in ipairs(VERBS) do says = says or row:find(verb) end
      -- Parts: the reasons of a warning that has the remedy; or the remedy is such a part.
      says = says or row:find "^it[s ]" or row:find "answers? to it" or row:find "; … %(R5%.12%)$"
      assert.is_truthy(says, row)
    end
    assert.is_true(count > 20, count)
  end)
end)
