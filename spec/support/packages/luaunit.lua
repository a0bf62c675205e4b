-- luaunit: runs a suite of tests, with its own output.

local function suite()
  local luaunit = require "luaunit"
  local TestThings = {}
  function TestThings:setUp() self.things = { 1, 2, { x = "y" } } end
  function TestThings:testEqual() luaunit.assertEquals(self.things, { 1, 2, { x = "y" } }) end
  function TestThings:testDiffers() luaunit.assertEquals(self.things, { 1, 2, { x = "z" } }) end
  function TestThings.testError()
    luaunit.assertErrorMsgContains("oh", function() error "oh" end)
  end
  function TestThings.testRaises() error { code = 1 } end
  function TestThings.testSkipped() luaunit.skip "not now" end
  function TestThings.testAlmost() luaunit.assertAlmostEquals(1, 1 + 1e-12, 1e-9) end
  return TestThings
end

local function run(luaunit, tests)
  local runner = luaunit.LuaUnit.new()
  runner:setOutputType "nil"
  runner:runSuiteByInstances ({ { "TestThings", tests } }, "TestThings")
  local lines = {}
  for _, node in ipairs(runner.result.allTests) do
    lines[#lines + 1] = node.testName .. " " .. node.status .. " " .. tostring(node.msg)
      :gsub("0x%x+", "address")
  end
  table.sort(lines)
  return table.concat(lines, "\n") .. runner.result.successCount .. runner.result.failureCount
end

return {
  debian = "lua-unit",

  use = function()
    local luaunit = require "luaunit"
    return run(luaunit, suite()) .. luaunit.prettystr { 1, "two", { three = 4 } }
      .. tostring(luaunit.private.__genSortedIndex { b = 1, a = 2, [3] = 1 }[1])
  end,

  objects = function()
    local luaunit, tests = require "luaunit", suite()
    local runner = luaunit.LuaUnit.new()
    runner:setOutputType "TAP"
    return function()
      return run(luaunit, tests) .. tostring(runner.outputType == luaunit.LuaUnit.outputType)
    end
  end,
}
