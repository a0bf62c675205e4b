-- R1.6: a Lua in which the library cannot run gets a clear error from `require "hotreload"`, not a
-- crash; one that differs in what does not matter is let in.

local program = require "spec.support.program"

local GUARDED = [[
  local ok, message = pcall(require, "hotreload")
  print(ok, type(message))
  print(message)
  print(rawget(_G, "gg") == nil)
  local again = pcall(require, "hotreload")
  print(again)
]]

describe("the version guard (R1.6)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- A Lua that is installed, or one that scripts/lua.sh builds; nil where it cannot be had.
  local function installed(lua)
    local _, code = app:subprocess("print(1)", { lua = lua })
    if code == 0 then return lua end
    pending(lua .. " is not installed")
  end
  local function built(name)
    local path = app.dir .. "/path"
    local script = program.root .. "/scripts/lua.sh"
    local command = ("%s %s >%s 2>%s.err </dev/null"):format(script, name, path, path)
    local _, how, code = os.execute(command)
    if how == "exit" and code == 3 then return pending "no compiler" end
    local file = assert(io.open(code == 0 and path or path .. ".err"))
    local text = file:read "a"
    file:close()
    assert(code == 0, text)
    return (text:gsub("\n$", ""))
  end

  -- The Luas that are refused, and a part of the message.
  for name, case in pairs {
    ["lua5.1"] = { installed, "5.1" },
    luajit = { installed, "LuaJIT" },
    ["5.2"] = { built, "5.2" },
    ["5.3"] = { built, "5.3" },
    ["5.5"] = { built, "5.5" },
    ["5.4-int32"] = { built, "64 bits" },
    ["5.4-stack2m"] = { built, "LUAI_MAXSTACK" },
    ["5.4-ids8192"] = { built, "LUA_IDSIZE" },
    ["5.4-cxx"] = { built, "C++" },
  } do
    local get, part = case[1], case[2]

    it(("gives %s an error that says what is wrong"):format(name), function()
      local lua = get(name)
      if not lua then return end
      local out, code, err, how = app:subprocess(GUARDED, { lua = lua })
      assert.equal("exit", how, err)
      assert.equal(0, code, err)
      assert.matches("^false\tstring\nhotreload ", out)
      assert.truthy(out:find("Lua 5.4", 1, true), out)
      assert.truthy(out:find(part, 1, true), out)
      assert.matches("\ntrue\nfalse\n$", out) -- and nothing is left behind
    end)

    it(("ends %s with it, not with a signal, when nobody catches it"):format(name), function()
      local lua = get(name)
      if not lua then return end
      local out, code, err, how = app:subprocess('print "before" require "hotreload" print "after"',
        { lua = lua })
      assert.equal("exit", how)
      assert.equal(1, code)
      assert.equal("before\n", out)
      assert.truthy(err:find(part, 1, true), err)
    end)

    it(("gives %s the same for the modules beside the library"):format(name), function()
      local lua = get(name)
      if not lua then return end
      local out, code, err, how = app:subprocess([[
        package.path = ""
        for _, module in ipairs { "watch", "dev", "hosts.common", "hosts.skynet" } do
          local ok, message = pcall(require, "hotreload." .. module)
          print(ok, message)
        end]], { lua = lua })
      assert.equal("exit 0", how .. " " .. code, err)
      local _, count = out:gsub("false\t[^\n]*" .. part:gsub("%p", "%%%0"), "")
      assert.equal(4, count, out)
    end)
  end

  it("lets the Lua that it was built for in", function()
    local out, code, err = app:subprocess('print((require "hotreload")._VERSION)')
    assert.equal(0, code, err)
    assert.matches("^hotreload %d+%.%d+%.%d+\n$", out)
  end)

  -- What such a Lua writes is longer than `lua_Debug` is elsewhere.
  it("runs in a Lua that writes long names of files", function()
    local lua = built "5.4-ids512"
    if not lua then return end
    local out, code, err, how = app:subprocess([[
      require "hotreload"
      local names = {}
      for length = 50, 540, 7 do
        local text = "local M = {} function M.f() return VERSION end return M"
        local name = ("m"):rep(length)
        local function load_version(version)
          return (text:gsub("VERSION", version))
        end
        package.preload[name] = load(load_version(1), "@" .. name)
        local m = require(name)
        package.preload[name] = nil
        local held = { m.f }
        local waiting = coroutine.create(function() local f = m.f coroutine.yield() return f() end)
        coroutine.resume(waiting)
        assert(gg.reload(name, { source = load_version(2), scope = "vm" }))
        assert(m.f() == 2 and held[1] == m.f, length)
        local _, answer = coroutine.resume(waiting)
        assert(answer == 2, length)
        names[#names + 1] = name
      end
      assert(#require "hotreload".stale() == 0)
      print(#names, #debug.getinfo(load("", "@" .. ("x"):rep(600)), "S").short_src)
    ]], { lua = lua })
    assert.equal("exit 0", how .. " " .. code, err)
    assert.equal("71\t511\n", out)
  end)

  describe("with another Lua in the process", function()
    local OUTER = { "5.1", "5.4", "5.5" }

    local function run(outer, inner, script)
      local program_of, library = built(outer), built(inner)
      if not program_of or not library then return end
      return app:subprocess(script, { lua = ("%s --in %s"):format(program_of, library) })
    end

    for _, outer in ipairs(OUTER) do
      it(("raises in a Lua whose functions those of %s hide"):format(outer), function()
        local out, code, err, how = run(outer, "5.4-library", GUARDED)
        if not out then return end
        assert.equal("exit 0", how .. " " .. code, err)
        assert.matches("^false\tstring\nhotreload: .*%-library/lua'.*/lua%-" .. outer, out)
        assert.matches("\ntrue\nfalse\n$", out)
      end)

      it(("says it on stderr where a Lua beside %s hides its own"):format(outer), function()
        local out, code, err, how = run(outer, "5.4-hidden", GUARDED)
        if not out then return end
        assert.equal("exit 0", how .. " " .. code, err)
        assert.matches("^true\tboolean\ntrue\ntrue\n", out) -- nothing can be raised
        assert.matches("^hotreload: .*%-hidden/lua'.*/lua%-" .. outer, err)
      end)
    end

    it("leaves the message to the system's loader where no Lua shows its functions", function()
      local lua = built "5.4-closed"
      if not lua then return end
      local out, code, err, how = app:subprocess(GUARDED, { lua = lua })
      assert.equal("exit 0", how .. " " .. code, err)
      assert.matches("^false\tstring\n.*undefined symbol: lua_", out)
      assert.matches("\ntrue\nfalse\n$", out)
    end)

    it("exports nothing that another library could take for a function of Lua's", function()
      if not os.execute "nm --version >/dev/null 2>&1" then return pending "no nm" end
      local library = program.root .. "/build/hotreload.so"
      local pipe = assert(io.popen("nm -D --defined-only " .. library))
      local count = 0
      for name in pipe:read("a"):gmatch "%x+ %a ([^\n]+)" do
        assert.matches("^luaopen_hotreload", name)
        count = count + 1
      end
      pipe:close()
      assert.is_true(count > 0)
    end)
  end)
end)
