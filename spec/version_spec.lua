-- R1.6: a Lua of another version gets a clear error from `require "hotreload"`, not a crash.

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

  for lua, version in pairs { ["lua5.1"] = "5.1", ["lua5.2"] = "5.2", ["lua5.3"] = "5.3", luajit = "5.1" } do
    local function installed()
      local _, code = app:subprocess("print(1)", { lua = lua })
      if code ~= 0 then
        pending(lua .. " is not installed")
      end
      return code == 0
    end

    it(("gives %s an error that names both versions"):format(lua), function()
      if not installed() then return end
      local out, code, err, how = app:subprocess(GUARDED, { lua = lua })
      assert.equal("exit", how, err)
      assert.equal(0, code, err)
      assert.matches("^false\tstring\n", out)
      assert.matches("hotreload", out)
      assert.truthy(out:find("5.4", 1, true), out)
      assert.truthy(out:find(version, 1, true), out)
      assert.is_nil(out:find("undefined symbol", 1, true))
    end)

    it(("leaves nothing behind in %s"):format(lua), function()
      if not installed() then return end
      assert.matches("\ntrue\nfalse\n$", (app:subprocess(GUARDED, { lua = lua })))
    end)

    it(("ends %s with that error, not with a signal, when nobody catches it"):format(lua), function()
      if not installed() then return end
      local out, code, err, how = app:subprocess('print "before" require "hotreload" print "after"', { lua = lua })
      assert.equal("exit", how)
      assert.equal(1, code)
      assert.equal("before\n", out)
      assert.truthy(err:find("5.4", 1, true), err)
    end)
  end

  it("lets the Lua that it was built for in", function()
    local out, code, err = app:subprocess('print((require "hotreload")._VERSION)')
    assert.equal(0, code, err)
    assert.matches("^hotreload %d+%.%d+%.%d+\n$", out)
  end)
end)
