--- R4.7 for closures that functions made while the file was loaded: what the file passes to a
-- factory follows, what the closure has counted stays.

local program = require "spec.support.program"

local SKILLS = [[
  local M = {}
  local function make(name, dmg)
    local hits, double = 0, dmg * 2
    return function() hits = hits + 1 return name .. dmg .. "/" .. double .. "#" .. hits end
  end
  M.sword = make("sword", 10)
  M.bow = make("bow", 5)
  for name, price in pairs { axe = 60 } do M["buy_" .. name] = function() return price end end
  return M
]]

describe("what a factory was given (R4.7)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  for _, data in ipairs { "keep", "merge" } do
    for _, scope in ipairs { "module", "vm" } do
      local options = { data = data, scope = scope }

      it(("follows the file, data %s, scope %s"):format(data, scope), function()
        local M = app:module("m", SKILLS)
        M.sword()
        for i = 1, 2 do
          local text = SKILLS:gsub('"sword", 10', '"sword", ' .. 11 + i)
            :gsub("axe = 60", "axe = " .. 70 + i)
          app:update("m", text, options)
          assert.equal(("sword%d/%d#%d"):format(11 + i, 22 + 2 * i, i + 1), M.sword())
          assert.equal(70 + i, M.buy_axe())
        end
        assert.equal("bow5/10#1", M.bow())
      end)

      local title = "follows for a decorator of another module, data %s, scope %s"
      it(title:format(data, scope), function()
        app:write("deco", [[
          return { limit = function(n, f)
            local used = 0
            return function(...)
              used = used + 1 if used > n then return "limited" end return f(...)
            end
          end } ]])
        local text = 'local D, M = require "deco", {} '
          .. 'M.say = D.limit(1, function() return "said" end) return M'
        local M = app:module("m", text)
        assert.same({ "said", "limited" }, { M.say(), M.say() })
        app:update("m", (text:gsub("limit%(1", "limit(4")), options)
        assert.same({ "said", "said", "limited" }, { M.say(), M.say(), M.say() })
      end)
    end
  end

  it("stays where some function assigns it", function()
    local text = [[
      local function make(hp) return { hit = function(n) hp = hp - n return hp end } end
      return { troll = make(100) } ]]
    local M = app:module("m", text)
    M.troll.hit(10)
    app:update("m", (text:gsub("100", "200")))
    assert.equal(80, M.troll.hit(10))
  end)

  it("stays where it is computed", function()
    _G.clock = 1
    local text = [[
      local function make(start) return function() return start end end
      return { f = make(clock), g = make(7), a = "old" } ]]
    local M = app:module("m", text)
    _G.clock = 2
    app:update("m", (text:gsub("old", "new")))
    assert.same({ 1, 7, "old" }, { M.f(), M.g(), M.a })
    _G.clock = nil
  end)

  it("stays with constants = 'keep'", function()
    local M = app:module("m", SKILLS)
    app:update("m", (SKILLS:gsub('"sword", 10', '"sword", 12')), { constants = "keep" })
    assert.equal("sword10/20#1", M.sword())
  end)
end)

describe("A function that the chunk makes of a text (R3.2)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local places = {
    ["a local"] = "local run = LOAD",
    ["a local that the chunk assigns"] = "local run run = LOAD",
    ["a local that a function assigns"] = "local run = LOAD function M.set(f) run = f end",
    ["a field"] = "M.run = LOAD local function run() return M.run() end",
  }
  for place, text in pairs(places) do
    for _, scope in ipairs { "module", "vm" } do
      it("follows the file and keeps its state: " .. place .. ", scope " .. scope, function()
        local function version(n)
          local made = "load('local n = 0 return function() n = n + 1 return n, @ end')()"
          return ("local M = {} " .. text .. " function M.call() return run() end return M")
            :gsub("LOAD", made):gsub("@", n)
        end
        local M = app:module("m", (version(1)))
        assert.same({ 1, 1 }, { M.call() })
        assert.equal(1, app:update("m", (version(2)), { scope = scope }).functions.replaced)
        assert.same({ 2, 2 }, { M.call() })
        assert.equal(0, app:update("m", (version(2)), { scope = scope }).functions.replaced)
        assert.same({ 3, 2 }, { M.call() })
      end)
    end
  end

  it("stays where the program has put another one", function()
    local function version(n)
      return ([[
        local M, run = {}, load "return @"
        function M.set(f) run = f end
        function M.call() return run() end
        return M
      ]]):gsub("@", n)
    end
    local M = app:module("m", (version(1)))
    M.set(function() return "chosen" end)
    app:update("m", (version(2)))
    assert.equal("chosen", M.call())
  end)
end)
