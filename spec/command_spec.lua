--- The command `hotreload`: bin/hotreload.

local document = require "spec.support.document"
local program = require "spec.support.program"
local commands = require "spec.support.shell"

local quote = commands.quote
local TOKEN = "a token of your own"

local function is_there(library)
  return package.searchpath(library, package.path .. ";" .. package.cpath) ~= nil
end

local V1 = [[
local M = { level = 1 }
local hits, names = 0, {}
function M.hit(name) hits = hits + 1 names[#names + 1] = name return hits end
return M
]]
local V2 = V1:gsub("hits %+ 1", "hits + 2")

describe("the command hotreload", function()
  local app
  before_each(function()
    app = program.new()
    app:write_file("old/skill.lua", V1)
    app:write_file("new/skill.lua", V2)
  end)
  after_each(function() app:unload() end)

  --- Runs it in the program's directory; returns its output, its exit status, and its complaints.
  local function run(arguments, environment)
    local paths = package.path:gsub("%./", program.root .. "/")
    local cpaths = package.cpath:gsub("%./", program.root .. "/")
    local command = ("cd %s && env -i PATH=\"$PATH\" LUA_PATH=%s LUA_CPATH=%s %s "
      .. "%s/bin/hotreload %s 2>%s/err </dev/null; echo $?"):format(quote(app.dir), quote(paths),
        quote(cpaths), environment or "", quote(program.root), arguments, quote(app.dir))
    local pipe = assert(io.popen(command))
    local output, status = pipe:read "a":match "^(.-)(%d+)\n$"
    pipe:close()
    return output, tonumber(status), commands.read(app.dir .. "/err")
  end

  --- A spec that needs argparse, and perhaps more.
  local function case(title, f, ...)
    local needs = { "argparse", ... }
    it(title, function()
      for _, library in ipairs(needs) do
        if not is_there(library) then return pending(library .. " is not installed") end
      end
      f()
    end)
  end

  case("says how it is used, with examples", function()
    local output, status = run "-h"
    assert.equal(0, status)
    for name in ("check plan reload undo stale changed"):gmatch "%a+" do
      assert.matches("\n   " .. name .. " ", output)
      local help, code = run(name .. " -h")
      assert.equal(0, code)
      assert.matches("Examples?:\n  .*hotreload " .. name .. " ", help)
      assert.matches("exit status is 0 .* 1 .*\n.* 2 ", help)
      for line in (output .. help):gmatch "[^\n]+" do assert.is_true(#line <= 100, line) end
    end
  end)

  case("tells wrong arguments with status 2", function()
    for message, arguments in pairs {
      ["a command is required"] = "",
      ["unknown command 'chek'\nDid you mean 'check'?"] = "chek",
      ["unknown option '--fast'"] = "check --fast a b",
      ["check takes OLD and NEW, or --git REVISION and one PATH"] = "check old",
      ["two files, or two directories are needed"] = "check old new/skill.lua",
      ["no: No such file or directory"] = "check no new/skill.lua",
      ["old has no module 'skil'"] = "check old new --name skil",
      ["an address is needed: --connect HOST:PORT"] = "reload skill",
      ["a token is needed: --token-file FILE, or the variable HOTRELOAD_TOKEN"] =
        "reload skill --connect 127.0.0.1:1",
    } do
      local output, status, complaints = run(arguments)
      assert.equal("", output)
      assert.equal(2, status, arguments)
      assert.equal("hotreload: " .. message, complaints:sub(1, #message + 11))
      assert.not_matches("traceback", complaints)
    end
  end)

  describe("check", function()
    case("says what a reload would do, and succeeds", function()
      local output, status, complaints = run "check old/skill.lua new/skill.lua --name game.skill"
      assert.equal("", complaints)
      assert.equal("would reload game.skill: 1 function changed, state kept (2 upvalues)",
        output:match "^[^\n]*")
      assert.matches("\n  generation 2, from new/skill.lua\n", output, 1, true)
      assert.matches("\n    ~ game.skill.hit\n", output, 1, true)
      assert.equal(0, status)
      output = run "check old/skill.lua new/skill.lua"
      assert.matches("\n```text\n" .. output .. "```\n", document.read "docs/guide.md", 1, true)
      output, status = run "check old/skill.lua old/skill.lua"
      assert.matches("^would reload skill: nothing to do", output)
      assert.equal(0, status)
    end)

    case("fails where the reload is refused, and says why", function()
      app:write_file("new/skill.lua", "return function() end")
      local output, status = run "check old/skill.lua new/skill.lua"
      assert.matches("would not reload skill: 1 conflict", output, 1, true)
      local conflict = "\n    ! skill (what the module returns): table while it runs, function in "
      assert.matches(conflict, output, 1, true)
      assert.equal(1, status)
      app:write_file("new/skill.lua", "return {")
      output, status = run "check old/skill.lua new/skill.lua"
      assert.matches("new/skill.lua:1:", output, 1, true)
      assert.equal(1, status)
    end)

    case("tells of state that is dropped, which `strict` refuses", function()
      app:write_file("new/skill.lua", (V1:gsub("names", "list"):gsub("{}\n", "table.pack()\n")
        :gsub("return hits", "return 'new', #list, hits")))
      app:write_file("use.lua", "require 'skill'.hit 'ann'")
      local arguments = "check old/skill.lua new/skill.lua --after use.lua"
      local output, status = run(arguments)
      local dropped = "local names (table, 1 entry): no function of the file uses it"
      assert.matches(dropped, output, 1, true)
      assert.matches('rename = { names = "list" } keeps it', output, 1, true)
      assert.equal(0, status)
      output, status = run(arguments .. " -o strict=true")
      assert.matches("would not reload skill", output, 1, true)
      assert.equal(1, status)
    end)

    case("tells which registrations differ", function()
      app:write_file("bus.lua", "local M = { all = {} } "
        .. "function M.on(name, f) M.all[#M.all + 1] = { name, f } end return M")
      local text = "local bus = require 'bus' local M = {} function M.f() end bus.on('hit', M.f) "
      app:write_file("old/skill.lua", text .. "return M")
      app:write_file("new/skill.lua", text .. "bus.on('quit', M.f) return M")
      local output, status = run "check old/skill.lua new/skill.lua --path './?.lua'"
      assert.matches('\n    = bus.on("hit", skill.f)  registered already\n', output, 1, true)
      assert.matches('\n    + bus.on("quit", skill.f)', output, 1, true)
      assert.equal(0, status)
    end)

    case("compares the modules of two directories, as one reload", function()
      app:write_file("old/game/init.lua", "return { skill = require 'skill', f = function() end }")
      app:write_file("new/game/init.lua", "return { skill = require 'skill', f = print }")
      app:write_file("old/same.lua", "error 'it must not run'")
      app:write_file("new/same.lua", "error 'it must not run'")
      app:write_file("old/gone.lua", "error 'it must not run'")
      app:write_file("new/added.lua", "error 'it must not run'")
      local output, status, complaints = run "check old new"
      assert.equal("", complaints)
      assert.matches("^would reload skill: .*\nwould reload game: ", output)
      assert.matches("\ngone: NEW has no file of it, the running module stays\n$", output)
      assert.not_matches("same", output)
      assert.equal(0, status)
      output = run "check old new --name skill"
      assert.not_matches("game", output)
      assert.equal("nothing to do: no module differs\n", (run "check old old"))
      app:write_file("new/game/init.lua", "return 1 +")
      output, status = run "check old new"
      assert.matches("game/init.lua:1:", output, 1, true)
      assert.not_matches("would reload", output)
      assert.equal(1, status)
    end)

    case("says what helps where OLD needs what only the server has", function()
      app:write_file("old/skill.lua", "local engine = require 'engine'\n" .. V1)
      app:write_file("new/skill.lua", "local engine = require 'engine'\n" .. V2)
      local output, status, complaints = run "check old/skill.lua new/skill.lua"
      assert.equal("", output)
      assert.equal(2, status)
      assert.matches("module 'skill' of old/skill.lua cannot be loaded: old/skill.lua:1: "
        .. "module 'engine' not found", complaints, 1, true)
      assert.matches("--path 'DIR/?.lua'", complaints, 1, true)
      assert.matches("--preload FILE", complaints, 1, true)
      app:write_file("stubs.lua", "package.preload.engine = function() return {} end")
      output, status = run "check old/skill.lua new/skill.lua --preload stubs.lua"
      assert.matches("^would reload skill: 1 function changed", output)
      assert.equal(0, status)
      app:write_file("stubs.lua", "error('no stubs', 0)")
      output, status, complaints = run "check old/skill.lua new/skill.lua --preload stubs.lua"
      assert.same({ "", 2, "hotreload: --preload: no stubs\n" }, { output, status, complaints })
    end)

    case("takes OLD from git: a file, or a directory", function()
      if not commands.is_installed "git" then return pending "git is not installed" end
      local _, ok = commands.run(("cd %s && mkdir src && cp old/skill.lua src && git init -q && "
        .. "git add src && git -c user.name=a -c user.email=a@b commit -qm a && "
        .. "cp new/skill.lua src"):format(quote(app.dir)))
      assert.is_true(ok)
      for _, path in ipairs { "src/skill.lua", "src", quote(app.dir .. "/src/") } do
        local output, status, complaints = run("check --git HEAD " .. path)
        assert.equal("", complaints)
        assert.matches("^would reload skill: 1 function changed", output)
        assert.equal(0, status)
      end
      local _, status, complaints = run "check --git none src"
      assert.equal(2, status)
      assert.matches("hotreload: git cannot give src of revision none\n$", complaints)
    end)

    case("keeps what the files print out of its answer, and is not ended by them", function()
      local noise = "print 'a' io.write 'b\\n' io.stdout:write 'c\\n' "
      app:write_file("old/skill.lua", noise .. V1)
      app:write_file("new/skill.lua", noise .. "os.exit(0)" .. V2)
      local output, status, complaints = run "check old/skill.lua new/skill.lua"
      assert.matches("it calls os.exit", output, 1, true)
      assert.not_matches("^[abc]\n", output)
      assert.equal("a\nb\nc\na\nb\nc\n", complaints)
      assert.equal(1, status)
    end)

    case("prints one object of JSON", function()
      local decode = require "dkjson".decode
      local output, status = run "check old new --json"
      local value = decode(output)
      assert.is_true(value.ok)
      assert.equal("skill", value.modules[1].module)
      assert.same({ "skill.hit" }, value.modules[1].paths.changed)
      assert.matches("^would reload skill: ", value.modules[1].summary)
      assert.same({}, value.gone)
      assert.equal(0, status)
      app:write_file("new/skill.lua", "return function() end")
      output, status = run "check old new --json"
      value = decode(output)
      assert.is_false(value.ok)
      assert.equal("function", value.modules[1].conflicts[1].file)
      assert.matches("1 conflict", value.text)
      assert.equal(1, status)
    end, "dkjson")
  end)

  describe("with --connect", function()
    --- Starts a server with the console of the cookbook; returns its address.
    local function start()
      local cookbook = document.read "docs/cookbook.md"
      for _, block in ipairs(document.blocks(cookbook, "docs/cookbook.md")) do
        if block.text:find "^%-%- admin%.lua\n" then app:write_file("admin.lua", block.text) end
      end
      app:write_file("skill.lua", V1)
      app:write_file("server.lua", ([[
        package.path = "./?.lua;" .. package.path
        local poll, port = require "admin"(0, %q)
        local skill = require "skill"
        require "hotreload".configure { allow = "^skill$" }
        require "hotreload".changed()
        print(port)
        io.stdout:flush()
        while not io.open "stop" do
          poll()
          require "socket".sleep(0.01)
        end
      ]]):format(TOKEN))
      local paths = package.path:gsub("%./", program.root .. "/")
      local cpaths = package.cpath:gsub("%./", program.root .. "/")
      local pipe = assert(io.popen(("cd %s && LUA_PATH=%s LUA_CPATH=%s "
        .. "timeout 100 lua5.4 server.lua"):format(quote(app.dir), quote(paths), quote(cpaths))))
      return "127.0.0.1:" .. pipe:read "l", function()
        app:write_file("stop", "")
        pipe:close()
      end
    end

    case("speaks to the console of a running program", function()
      local address, stop = start()
      finally(stop)
      local function ask(arguments, token)
        return run(arguments, ("HOTRELOAD_CONNECT=%s HOTRELOAD_TOKEN=%s"):format(address,
          quote(token or TOKEN)))
      end
      assert.same({ "", 0, "" }, { ask "changed" })
      app:write_file("skill.lua", V2)
      assert.same({ "skill\n", 0, "" }, { ask "changed" })
      local output, status = ask "plan"
      assert.matches("^would reload skill: 1 function changed, .*\n    ~ skill%.hit\n", output)
      assert.equal(0, status)
      output, status = ask "reload skill -o strict=true"
      assert.matches("^reloaded skill: 1 function changed, ", output)
      assert.equal(0, status)
      assert.same({ "", 0, "" }, { ask "stale skill" })
      assert.same({ "undid the last reload of skill\n", 0, "" }, { ask "undo skill" })
      output, status = ask "undo skill"
      assert.matches("skill", output)
      assert.equal(1, status)
      if is_there "dkjson" then
        output, status = ask "undo skill --json"
        local value = require "dkjson".decode(output)
        assert.same({ false, 1, 1 }, { value.ok, #value.lines, status })
      end
      assert.same({ "", 2, ("hotreload: %s: wrong token\n"):format(address) },
        { ask("changed", TOKEN:upper()) })
      app:write_file("token", TOKEN .. "\n")
      assert.same({ "", 0, "" }, { run("stale --token-file token --connect " .. address) })
    end, "socket")

    case("says what does not answer, or is no console", function()
      local listener = assert(require "socket".bind("127.0.0.1", 0))
      local address = "127.0.0.1:" .. select(2, listener:getsockname())
      local environment = "HOTRELOAD_TOKEN=" .. quote(TOKEN)
      local ask = "changed --timeout 0.1 --connect " .. address
      assert.same({ "", 2, ("hotreload: %s: timeout\n"):format(address) },
        { run(ask, environment) })
      listener:close()
      assert.same({ "", 2, ("hotreload: %s: connection refused\n"):format(address) },
        { run(ask, environment) })
    end, "socket")
  end)
end)
