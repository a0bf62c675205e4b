-- R5.3, R5.4: rows of a list, each with a function, are told apart by what they are, not by where
-- they stand.

local program = require "spec.support.program"

local QUEUE = [[
  local M = { queue = {
    { name = "one", run = function() return "one v1" end },
    { name = "two", run = function() return "two v1" end },
    { name = "three", run = function() return "three v1" end },
  } }
  return M
]]

local REGISTRY = [[
  local M, count = {}, 0
  function M.on() count = count + 1 return "v1", count end
  HANDLERS[#HANDLERS + 1] = { name = "m", call = M.on }
  return M
]]

describe("rows of a list (R5.3, R5.4)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function()
    rawset(_G, "HANDLERS", nil)
    app:unload()
  end)

  local function run(M)
    local results = {}
    for i, row in ipairs(M.queue) do results[i] = row.run() end
    return results
  end

  it("get their own functions where the program removed the first", function()
    local M = app:module("m", QUEUE)
    table.remove(M.queue, 1)
    app:update("m", (QUEUE:gsub("v1", "v2")))
    assert.same({ "two v2", "three v2" }, run(M))
  end)

  it("get their own functions where the program moved them", function()
    local M = app:module("m", QUEUE)
    M.queue[1], M.queue[3] = M.queue[3], M.queue[1]
    app:update("m", (QUEUE:gsub("v1", "v2")))
    assert.same({ "three v2", "two v2", "one v2" }, run(M))
  end)

  it("get their own functions where the program put one in front", function()
    local M = app:module("m", QUEUE)
    local own = function() return "the program's" end
    table.insert(M.queue, 1, { name = "zero", run = own })
    app:update("m", (QUEUE:gsub("v1", "v2")))
    assert.same({ "the program's", "one v2", "two v2", "three v2" }, run(M))
  end)

  it("are compared by index where they have no name and stand as they did", function()
    local source = [[
      return { queue = { { run = function() return "a v1" end },
        { run = function() return "b v1" end } } }
    ]]
    local M = app:module("m", source)
    app:update("m", (source:gsub("v1", "v2")))
    assert.same({ "a v2", "b v2" }, run(M))
  end)

  it("do not double where they were registered, and get the new function", function()
    rawset(_G, "HANDLERS", {})
    app:module("m", REGISTRY)
    _G.HANDLERS[1].call()
    for n = 2, 4 do
      app:update("m", (REGISTRY:gsub("v1", "v" .. n)))
      assert.equal(1, #_G.HANDLERS)
      assert.same({ "v" .. n, n }, { _G.HANDLERS[1].call() })
    end
  end)

  it("that are new in the file are registered once", function()
    rawset(_G, "HANDLERS", {})
    app:module("m", REGISTRY)
    local two = REGISTRY:gsub("return M%s*$",
      "HANDLERS[#HANDLERS + 1] = { name = 'n', call = M.on }\n  return M\n")
    for _ = 1, 3 do
      app:update("m", two)
      assert.equal(2, #_G.HANDLERS)
      assert.same({ "m", "n" }, { _G.HANDLERS[1].name, _G.HANDLERS[2].name })
    end
  end)
end)

describe("finalizers of copies that a reload drops (R5.1)", function()
  it("do not run", function()
    local app = program.new()
    local source = [[
      local closed = 0
      local M = { handle = setmetatable({}, { __gc = function() closed = closed + 1 end }) }
      function M.closed() return closed, "v1" end
      return M
    ]]
    local M = app:module("m", source)
    for n = 2, 4 do
      app:update("m", (source:gsub("v1", "v" .. n)))
      collectgarbage()
      collectgarbage()
      assert.same({ 0, "v" .. n }, { M.closed() })
    end
    app:unload()
  end)

  it("do not run after a dry run or a refused reload either", function()
    local app = program.new()
    rawset(_G, "CLOSED", 0)
    local source = [[
      local M = { handle = setmetatable({}, { __gc = function() CLOSED = CLOSED + 1 end }) }
      function M.f() return "v1" end
      return M
    ]]
    local M = app:module("m", source)
    app:update("m", source, { dry_run = true })
    app:reload("m", { source = (source:gsub("function M.f.-end", "M.f = 5")) })
    collectgarbage()
    collectgarbage()
    assert.same({ 0, "v1" }, { rawget(_G, "CLOSED"), M.f() })
    rawset(_G, "CLOSED", nil)
    app:unload()
  end)
end)

it("A row of many fields is registered once (R5.4)", function()
  local app = program.new()
  local function module(version)
    local fields = {}
    for i = 1, 200 do fields[i] = ("field%d = %d"):format(i, i) end
    return ("ROWS = ROWS or {} ROWS[#ROWS + 1] = { %s, run = function() return %q end } return {}")
      :format(table.concat(fields, ", "), version)
  end
  app:module("m", module "old")
  local rows = package.loaded._G.ROWS
  app:update("m", module "new")
  assert.same({ 1, "new" }, { #rows, rows[1].run() })
  package.loaded._G.ROWS = nil
  app:unload()
end)
