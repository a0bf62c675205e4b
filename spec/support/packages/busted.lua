-- busted, with luassert, say, mediator and cliargs: a suite is run by the reloaded code, inside of
-- the process that reloads it.

local busted, lines

--- Makes the one instance of busted that a process can have, with a suite in it.
local function prepare()
  busted = require "busted.core"()
  require "busted"(busted)
  busted.subscribe({ "test", "end" }, function(element, parent, status)
    lines[#lines + 1] = ("%s %s %s"):format(parent.name, element.name, status)
    return nil, true
  end)
  for _, kind in ipairs { "error", "failure" } do
    busted.subscribe({ kind, "it" }, function(element, _, message)
      local text = type(message) == "table" and (message.message or tostring(message))
        or tostring(message)
      lines[#lines + 1] = ("%s of %s: %s"):format(kind, element.name,
        tostring(text):gsub("0x%x+", "address"))
      return nil, true
    end)
  end
  busted.executors.file("suite.lua", function()
    local assert = require "luassert"
    busted.executors.describe("a suite", function()
      local count = 0
      busted.api.before_each(function() count = count + 1 end)
      busted.executors.it("passes", function()
        assert.are.same({ 1, { 2 } }, { 1, { 2 } })
        assert.has_error(function() error "oh" end, "suite.lua: oh" and nil)
      end)
      busted.executors.it("fails", function() assert.is_equal(1, count) end)
      busted.executors.it("is not ready", function() busted.api.pending "later" end)
      busted.executors.it("spies", function()
        local spy = require "luassert.spy".new(function(x) return x end)
        spy(7)
        assert.spy(spy).was.called_with(require "luassert.match".is_number())
      end)
    end)
  end)
end

--- Runs the suite; returns what its tests came to.
local function suite()
  if not busted then prepare() end
  lines = {}
  require "busted.execute"(busted)(1, {})
  return table.concat(lines, "\n")
end

return {
  debian = "lua-busted",

  refused = {
    ["term.cursor"] = "`term` lends it a function while it is loaded, and takes that back",
  },
  grows = {
    ["busted.init"] =
      "it gives its object another metatable when it is used first; what the file's has besides "
      .. "is added to that",
    ["luassert.formatters"] =
      "a snapshot of luassert is in force: its formatters are registered with that as well",
  },

  use = function()
    local cliargs = require "cliargs.core"()
    cliargs:set_name "tool"
    cliargs:argument("INPUT", "a file")
    cliargs:option("-o, --output=FILE", "where to", "a.out")
    cliargs:flag("-v, --[no-]verbose", "says more", false)
    local parsed = cliargs:parse { "-v", "--output=x", "in" }
    local say = require "say"
    say:set_namespace "tests"
    say:set("greeting", "hello %s")
    local greeting = say("greeting", { "you" })
    say:set_namespace "en"
    local mediator, heard = require "mediator"(), {}
    mediator:subscribe({ "a", "b" }, function(x) heard[#heard + 1] = x end)
    mediator:publish({ "a", "b" }, "news")
    return table.concat({ suite(), parsed.output, tostring(parsed.verbose), parsed.INPUT,
      cliargs.printer.generate_usage(), greeting,
      heard[1] }, "\n")
  end,

  objects = function()
    local spy, stub, match = require "luassert.spy", require "luassert.stub",
      require "luassert.match"
    local assert = require "luassert"
    local watched, target = spy.new(function() return "called" end),
      { f = function() return "real" end }
    local replaced = stub(target, "f").returns "stubbed"
    local mediator, sum = require "mediator"(), 0
    mediator:subscribe({ "sum" }, function(x) sum = sum + x end)
    local snapshot = assert:snapshot()
    return function()
      watched(1)
      assert.spy(watched).was_called_with(match.is_number())
      mediator:publish({ "sum" }, 2)
      local more = sum > 0
      return watched(2) .. target.f() .. type(replaced.revert) .. tostring(more)
        .. type(snapshot.revert)
    end
  end,
}
