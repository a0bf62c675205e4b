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

-- R3.14: where neither strings nor code tell elements apart, the key that the text writes out does,
-- then a number.

local function f(text) return ("function() return %q end"):format(text) end
local function row(id, text) return ("{ id = %s, run = %s }"):format(id, f(text)) end
local function rows(...) return table.concat({ ... }, ",\n") end
local function list(...) return "return { list = { " .. rows(...) .. " } }" end
local function sorted(...)
  return ([[
    local list = { %s }
    table.sort(list, function(a, b) return a.id < b.id end)
    return { list = list }
  ]]):format(rows(...))
end
--- A table of handlers under keys, each with what it returns; `ops` begins the file.
local function dispatch(ops, entries)
  local lines = { ops, "local M = { list = {} }" }
  for i = 1, #entries, 2 do
    lines[#lines + 1] = ("M.list[%s] = %s"):format(entries[i], f(entries[i + 1]))
  end
  lines[#lines + 1] = "return M"
  return table.concat(lines, "\n")
end
local function keyed(entries)
  local parts = {}
  for i = 1, #entries, 2 do
    parts[#parts + 1] = ("[%s] = %s"):format(entries[i], f(entries[i + 1]))
  end
  return "return { list = { " .. rows(table.unpack(parts)) .. " } }"
end

local function texts_of(elements)
  local found, keys = {}, {}
  for key in pairs(elements) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do
    local one = elements[key]
    found[i] = key .. "=" .. (type(one) == "table" and one.run() or one())
  end
  return table.concat(found, " ")
end

local SMALL = { "1", "a", "2", "b", "3", "c" }
local NAMED = { "OP.A", "a", "OP.B", "b", "OP.C", "c" }
local OPS = "local OP = { A = 1, B = 2, C = 3, NEW = 4 }"

--- What the file said, what it says now, what the list is then.
local NUMBERED = {
  ["rows with a number, one edited and one inserted"] = {
    list(row(101, "a"), row(102, "b"), row(103, "c")),
    list(row(101, "a"), row(102, "b2"), row(150, "new"), row(103, "c")), "1=a 2=b2 3=new 4=c",
  },
  ["rows with a number, all edited and one inserted"] = {
    list(row(101, "a"), row(102, "b"), row(103, "c")),
    list(row(101, "a2"), row(150, "new"), row(102, "b2"), row(103, "c2")),
    "1=a2 2=new 3=b2 4=c2",
  },
  ["rows that begin with a number"] = {
    list("{ 101, run = " .. f "a" .. " }", "{ 102, run = " .. f "b" .. " }"),
    list("{ 150, run = " .. f "new" .. " }", "{ 101, run = " .. f "a2" .. " }",
      "{ 102, run = " .. f "b2" .. " }"), "1=new 2=a2 3=b2",
  },
  ["rows that the file sorts by a number"] = {
    sorted(row(3, "c"), row(1, "a"), row(2, "b")),
    sorted(row(3, "c2"), row(1, "a2"), row(2, "b2"), row(0, "new")), "1=new 2=a2 3=b2 4=c2",
  },
  ["rows of calls with a number"] = {
    "local function skill(id, run) return { id = id, run = run } end\n"
      .. ("return { list = { skill(1, %s), skill(2, %s) } }"):format(f "a", f "b"),
    "local function skill(id, run) return { id = id, run = run } end\n"
      .. ("return { list = { skill(1, %s),\nskill(9, %s), skill(2, %s) } }"):format(
        f "a2", f "new", f "b2"), "1=a2 2=new 3=b2",
  },
  ["rows whose number has a name and another value by now"] = {
    OPS .. "\n" .. list(row("OP.A", "a"), row("OP.B", "b"), row("OP.C", "c")),
    "local OP = { A = 1, NEW = 2, B = 3, C = 4 }\n" .. list(row("OP.A", "a2"), row("OP.NEW", "new"),
      row("OP.B", "b2"), row("OP.C", "c2")), "1=a2 2=new 3=b2 4=c2",
  },
  ["keys that are written out, the last one edited and one added"] = {
    dispatch("", SMALL), dispatch("", { "1", "a", "2", "b", "3", "c2", "4", "new" }),
    "1=a 2=b 3=c2 4=new",
  },
  ["keys that are written out, in another order and edited"] = {
    dispatch("", SMALL), dispatch("", { "3", "c2", "1", "a2", "2", "b2" }), "1=a2 2=b2 3=c2",
  },
  ["keys of a constructor"] = {
    keyed(SMALL), keyed { "1", "a2", "2", "b2", "3", "c2", "4", "new" }, "1=a2 2=b2 3=c2 4=new",
  },
  ["keys that are written out, of which one is between two"] = {
    dispatch("", { "1", "a", "3", "b", "5", "c" }),
    dispatch("", { "1", "a", "2", "new", "3", "b2", "5", "c" }), "1=a 2=new 3=b2 5=c",
  },
  ["keys that are written out, of which one is gone"] = {
    dispatch("", SMALL), dispatch("", { "1", "a2", "3", "c2" }), "1=a2 2=b 3=c2",
  },
  ["keys that have names, one edited and one added"] = {
    dispatch(OPS, NAMED),
    dispatch(OPS, { "OP.A", "a", "OP.B", "b", "OP.C", "c2", "OP.NEW", "new" }),
    "1=a 2=b 3=c2 4=new",
  },
  ["keys that have names and other values by now"] = {
    dispatch(OPS, NAMED), dispatch("local OP = { A = 1, NEW = 2, B = 3, C = 4 }",
      { "OP.A", "a2", "OP.NEW", "new", "OP.B", "b2", "OP.C", "c2" }), "1=a2 2=new 3=b2 4=c2",
  },
  ["keys that are constant locals"] = {
    dispatch("local A, B = 1, 2", { "A", "a", "B", "b" }),
    dispatch("local A, NEW, B = 1, 2, 3", { "A", "a2", "NEW", "new", "B", "b2" }),
    "1=a2 2=new 3=b2",
  },
  ["keys with a hole, the last one another's"] = {
    dispatch("", { "1", "a", "2", "b", "4", "gone" }),
    dispatch("", { "1", "a2", "2", "b2", "5", "new" }), "1=a2 2=b2 4=gone 5=new",
  },
  ["keys of a constructor with a hole, all others"] = {
    keyed { "1", "a", "2", "b", "4", "c" }, keyed { "11", "x", "12", "y", "14", "z" },
    "1=a 2=b 4=c 11=x 12=y 14=z",
  },
  ["keys without a hole, the last one another's"] = {
    dispatch("", SMALL), dispatch("", { "1", "a2", "2", "b2", "8", "new" }), "1=a2 2=b2 3=c 8=new",
  },
  ["keys with a hole that the file fills"] = {
    dispatch("", { "1", "a", "2", "b", "5", "c" }),
    dispatch("", { "1", "a", "2", "b", "3", "new" }), "1=a 2=b 3=new 5=c",
  },
  ["keys that are large"] = {
    dispatch("", { "101", "a", "102", "b" }),
    dispatch("", { "101", "a2", "150", "new", "102", "b2" }),
    "101=a2 102=b2 150=new",
  },
}

for _, scope in ipairs { "module", "vm" } do
  describe("elements that a number tells apart (R3.14), scope = '" .. scope .. "':", function()
    local app
    before_each(function() app = program.new() end)
    after_each(function() app:unload() end)

    for what, case in pairs(NUMBERED) do
      it(what, function()
        local M = app:module("m", case[1])
        local report = app:update("m", case[2], { scope = scope })
        assert.same({ {}, case[3] }, { report.warnings, texts_of(M.list) })
        report = app:update("m", case[2], { scope = scope })
        assert.same({ {}, case[3], 0 }, { report.warnings, texts_of(M.list), report.changed })
      end)
    end

    it("handlers under names keep their state if these get other numbers", function()
      local function counting(ops, first, step)
        return ([[
          local OP, M = { %s }, { list = {} }
          %s
          local count = 0
          M.list[OP.B] = function() count = count + %d return count end
          return M
        ]]):format(ops, first, step)
      end
      local M = app:module("m", counting("B = 1", "", 1))
      assert.equal(1, M.list[1]())
      app:update("m", counting("A = 1, B = 2", "M.list[OP.A] = " .. f "new", 10), { scope = scope })
      assert.same({ "new", 11 }, { M.list[1](), M.list[2]() })
    end)

    it("a handler that the program took out stays away", function()
      local M = app:module("m", dispatch(OPS, NAMED))
      M.list[2] = nil
      app:update("m", dispatch(OPS, { "OP.A", "a2", "OP.B", "b2", "OP.C", "c2", "OP.NEW", "new" }),
        { scope = scope })
      assert.equal("1=a2 3=c2 4=new", texts_of(M.list))
    end)
  end)
end
