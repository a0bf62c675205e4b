-- R3.2: a coroutine that runs a function of the file goes on, and the functions that it calls are
-- the file's. Where it stands does not matter.

local program = require "spec.support.program"

local SCHEDULER = [[
  local S, list, set = {}, {}, {}
  function S.fork(f) list[#list + 1] = coroutine.create(f) end
  function S.spawn(f) set[coroutine.create(f)] = true end
  function S.run()
    local answer
    for _, co in ipairs(list) do answer = select(2, assert(coroutine.resume(co))) end
    for co in pairs(set) do answer = select(2, assert(coroutine.resume(co))) end
    return answer
  end
  return S]]

--- Ways to start the function `loop`, and to go one step on.
local WAYS = {
  ["a field"] = "M.co = coroutine.create(loop) "
    .. "function M.step() return select(2, coroutine.resume(M.co)) end",
  ["a field, as a function"] = "M.step = coroutine.wrap(loop)",
  ["a local"] = "local co = coroutine.create(loop) "
    .. "function M.step() return select(2, coroutine.resume(co)) end",
  ["a set of the module's own"] = "local set = { [coroutine.create(loop)] = true } "
    .. "function M.step() return select(2, coroutine.resume((next(set)))) end",
  ["a list, behind another function"] = "M.list = { coroutine.wrap(function() loop() end) } "
    .. "function M.step() return M.list[1]() end",
  ["another module's list"] = "require 'sched'.fork(loop) M.step = require 'sched'.run",
  ["another module's set"] = "require 'sched'.spawn(loop) M.step = require 'sched'.run",
}

for _, scope in ipairs { "module", "vm" } do
  describe("a coroutine that has begun, scope = '" .. scope .. "', in", function()
    local app
    before_each(function() app = program.new() app:module("sched", SCHEDULER) end)
    after_each(function() app:unload() end)

    local function text(way, said, looped)
      return ([[
        local M, calls = {}, 0
        local function say() calls = calls + 1 return "%s" .. calls end
        local function loop() while true do coroutine.yield(say() .. "%s") end end
        %s
        return M]]):format(said, looped, WAYS[way])
    end

    for way in pairs(WAYS) do
      it(way .. " calls the file's functions, on their variables", function()
        local M = app:module("m", text(way, "one ", "."))
        assert.equal("one 1.", M.step())
        local report = app:update("m", text(way, "two ", "."), { scope = scope })
        assert.same({ {}, 1 }, { report.warnings, report.changed })
        assert.equal("two 2.", M.step())
        app:update("m", text(way, "three ", "."), { scope = scope })
        assert.equal("three 3.", M.step())
      end)

      it(way .. " goes on with its own old code, and the report warns once", function()
        local M = app:module("m", text(way, "one ", "."))
        assert.equal("one 1.", M.step())
        local report = app:update("m", text(way, "one ", "!"), { scope = scope })
        assert.equal(1, #report.warnings)
        assert.matches("the coroutine goes on with its old code until it ends", report.warnings[1])
        assert.equal("one 2.", M.step())
        report = app:update("m", text(way, "two ", "!"), { scope = scope })
        assert.same({}, report.warnings)
        assert.equal("two 3.", M.step())
      end)
    end
  end)
end
