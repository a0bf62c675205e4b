-- The scenario that the project comes from, run as its users run it: one process, `lua main.lua`.

local program = require "spec.support.program"

local function slurp(path)
  local file = assert(io.open(program.root .. "/" .. path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

describe("the document's scenario", function()
  local app
  before_each(function()
    app = program.new()
    app:write("TestReload", slurp "demo/TestReload.lua")
  end)
  after_each(function() app:unload() end)

  local function run(script)
    local output, code, errors, how = app:subprocess(script)
    assert.are.equal("", errors)
    assert.are.equal("exit 0", how .. " " .. code)
    return output
  end

  it("prints what the document says", function()
    assert.are.equal(slurp "demo/expected.txt", run(slurp "demo/main.lua"))
  end)

  -- From here on TestReload.lua is another one when `gg.reload` reads it. main.lua stays as it is:
  -- the line that it prints before its reload is the moment when the file changes.
  local function run_with_changed_file()
    app:write_file("changed.lua", slurp "demo/hotfix/TestReload.lua")
    return run([[
      local write = print
      function print(...)
        if ... == "=========after reload=========" then
          assert(os.rename("changed.lua", "TestReload.lua"))
        end
        write(...)
      end
    ]] .. slurp "demo/main.lua" .. [[
      print("=========what the document does not show=========")
      t.func3()
      t.func2()
      t.changeUpValue("set through the new function")
      t.func2()
      t:dump()
      print(t == require(moduleName), t.self == t, t.data6.k1, t.data6.k2, t.data7)
    ]])
  end

  it("with a changed file gives new bodies, a new function and a new field, \z
    and keeps data and upvalue", function()
    local unchanged = slurp "demo/expected.txt":match "^.*=========after reload=========\n"
    assert.are.equal(unchanged .. table.concat({
      "TestReload.__hotfix\ttrue\t2",
      "TestReload.func1, corrected\t1",
      "TestReload.func2, corrected\tnew upvalue",
      "TestReload.data6.func1, corrected\t2\t200",
      "TestReload:dump,data1:\t2 (number)",
      "TestReload:dump,data2:\t2.0 (number)",
      "TestReload:dump,data3:\tnew string (string)",
      "TestReload:dump,data7:\tnew field (string)",
      "TestReload.dump,upvalue:\tnew upvalue",
      "=========what the document does not show=========",
      "TestReload.func3\tnew upvalue, and more",
      "TestReload.func2, corrected\tnew upvalue, and more",
      "TestReload.func2, corrected\tset through the new function",
      "TestReload:dump,data1:\t2 (number)",
      "TestReload:dump,data2:\t2.0 (number)",
      "TestReload:dump,data3:\tnew string (string)",
      "TestReload:dump,data7:\tnew field (string)",
      "TestReload.dump,upvalue:\tset through the new function",
      "true\ttrue\t2\t200\tnew field",
    }, "\n") .. "\n", run_with_changed_file())
  end)

  it("holds for functions that somebody kept before the reload: \z
    they go on with the one upvalue", function()
    local output = run(([[
      gg = gg or {}
      require "reload"
      local t = require "TestReload"
      local old_change = t.changeUpValue
      local file = assert(io.open("TestReload.lua", "wb"))
      file:write(%q)
      file:close()
      assert(gg.reload("TestReload"))
      assert(old_change ~= t.changeUpValue)
      old_change("set through the old function")
      t.func2()
    ]]):format(slurp "demo/hotfix/TestReload.lua"))
    assert.are.equal("TestReload.__hotfix\ttrue\t1\n"
      .. "TestReload.func2, corrected\tset through the old function\n", output)
  end)

  it("is what `make demo` shows, with its second program", function()
    local pipe = assert(io.popen("scripts/demo.sh 2>&1"))
    local output = pipe:read "a"
    local ok = pipe:close()
    assert.is_true(ok, output)
    assert.is_truthy(output:find(slurp "demo/expected.txt", 1, true), output)
    assert.is_truthy(output:find(slurp "demo/hotfix/expected.txt", 1, true), output)
  end)
end)
