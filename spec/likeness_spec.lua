--- R3.7: what is only like something that is gone. It is never matched against what the program
--- still has under its name, keys alone make nothing alike, and a guess is told.

local program = require "spec.support.program"

describe("What is gone and what is new (R3.7)", function()
  local app
  local function start()
    app = program.new()
    require "hotreload".track()
  end
  local function restart()
    app:unload()
    start()
  end
  before_each(start)
  after_each(function() app:unload() end)

  for _, scope in ipairs { "module", "vm" } do
    local function update(text, options)
      options = options or {}
      options.scope, options.report = scope, "full"
      return app:update("m", text, options)
    end

    local HEADS = {
      ["a class of a factory"] = { "local function class(name) local c = { name = name } "
        .. "c.__index = c return c end", "M.? = class '?'" },
      ["a table"] = { "", "M.? = { kind = 'class', family = 'all' } M.?.__index = M.?" },
      ["a class in a local"] = { "",
        "do local ? = { kind = 'class' } ?.__index = ? M.? = ? end" },
    }
    for title, parts in pairs(HEADS) do
      it(title .. " that was taken out and is put back is itself, scope " .. scope, function()
        local function text(ids, tag)
          local lines = {}
          for id in ids:gmatch "." do
            local class = parts[2] .. "\nfunction M.?:hit() return '? hits TAG' end"
            lines[#lines + 1] = class:gsub("?", id):gsub("TAG", tag)
          end
          return "local M = {}\n" .. parts[1] .. "\n" .. table.concat(lines, "\n") .. "\nreturn M"
        end
        local M = app:module("m", text("abcd", "1"))
        local c, d = setmetatable({}, M.c), setmetatable({}, M.d)
        update(text("abc", "2"))
        local report = update(text("abd", "3"))
        assert.same({}, report.paths.matched)
        if scope == "module" then assert.same({}, report.warnings) end -- else that of `c`
        assert.same({ "d hits 3", "d hits 3", "c hits 2" }, { M.d:hit(), d:hit(), c:hit() })
      end)
    end

    it("a row under a new key is a new one, scope " .. scope, function()
      for _, other in ipairs { "", "local function handler(name) return function() end end" } do
        local function text(row)
          return "local M = { title = {} } " .. other .. "\nM.title.a = { text = 'Ta' }\n"
            .. row .. "\nreturn M"
        end
        local M = app:module("m", text "M.title.c = { text = 'Tc' }")
        update(text "M.title.d = { text = 'Td' }")
        assert.same({ "Td", "Tc" }, { M.title.d.text, M.title.c.text })
        restart()
      end
    end)

    it("a factory's object is no other one's state, scope " .. scope, function()
      for _, made in ipairs {
        "return function() n = n + 1 return name .. n end",
        "return { tick = function() n = n + 1 return name .. n end }",
      } do
        local text = "local M = {} local function counter(name) local n = 0 " .. made .. " end\n"
          .. "M.login = counter 'login'\nM.sell = counter 'sell'\nreturn M"
        local M = app:module("m", text)
        local function tick(name)
          local it = M[name]
          return (type(it) == "table" and it.tick or it)()
        end
        for _ = 1, 2 do tick "sell" end
        update((text:gsub("sell", "delete")))
        assert.same({ "delete1", "sell3" }, { tick "delete", tick "sell" })
        restart()
      end
    end)

    it("a function of a loop takes no other one's variable, scope " .. scope, function()
      local text = [[
        local M = { map = {} }
        for _, id in ipairs { "a", "b", "LAST" } do
          M.map[id] = function() return id end
        end
        return M ]]
      local M = app:module("m", (text:gsub("LAST", "c")))
      update((text:gsub("LAST", "d")))
      assert.same({ "a", "b", "d" }, { M.map.a(), M.map.b(), M.map.d() })
    end)

    it("a class with few equal methods is another one, scope " .. scope, function()
      local function class(name, damage)
        return ([[
          local N = {}
          N.__index = N
          function N.new(x) return setmetatable({ x = x }, N) end
          function N:hit(t) t.hp = t.hp - HIT return t.hp end
          function N:name() return "N" end
          M.N = N ]]):gsub("HIT", damage):gsub("N", name)
      end
      local M = app:module("m", "local M = {}\n" .. class("Axe", 7) .. "\nreturn M")
      local Axe = M.Axe
      local axe = Axe.new(1)
      update("local M = {}\n" .. class("Bow", 3) .. "\nreturn M")
      assert.same({ "Axe", "Bow" }, { axe:name(), M.Bow.new(1):name() })
      assert.is_true(M.Axe == Axe and M.Bow ~= Axe)
    end)

    it("a class that is renamed goes on without a word, scope " .. scope, function()
      local text = [[
        local M = {}
        local Axe = {}
        Axe.__index = Axe
        function Axe.new() return setmetatable({}, Axe) end
        function Axe:hit(t) t.hp = t.hp - 7 return t.hp end
        function Axe:name() return "Axe" end
        M.Axe = Axe
        return M ]]
      local M = app:module("m", text)
      local axe = M.Axe.new()
      local report = update((text:gsub("Axe", "Hatchet")))
      assert.same({ {}, "Hatchet" }, { report.warnings, axe:name() })
      assert.equal(getmetatable(axe), M.Hatchet)
    end)

    local SELL = [[
      local M = {}
      function M.sell(p, item)
        local n = p.items[item] p.items[item] = nil p.gold = p.gold + n.price return p.gold
      end
      return M ]]
    local BUY = SELL:gsub("sell", "buy"):gsub("= nil", "= n"):gsub("gold %+", "gold -")

    it("a function that takes another one's place for its look is told, scope " .. scope,
      function()
        local M = app:module("m", SELL)
        app:write("m", BUY)
        local message = app:refused("m", { strict = true, scope = scope }, M)
        assert.matches("M.buy is taken for what M.sell was", message, 1, true)
        local report = app:reloaded("m", { scope = scope })
        assert.equal(1, #report.warnings)
        assert.matches('rename = { sell = "buy" }', report.warnings[1], 1, true)
      end)

    it("is not told where it is known, and is two where one was taken out before, scope " .. scope,
      function()
        app:module("m", SELL)
        assert.same({}, update(BUY, { rename = { sell = "buy" } }).warnings)
        assert.same({}, update((BUY:gsub("buy", "purchase"))).warnings)
        restart()
        local M = app:module("m", SELL)
        update "local M = {} return M"
        assert.same({}, update(BUY).warnings)
        local sold = { gold = 10, items = { a = { price = 4 } } }
        local bought = { gold = 10, items = { a = { price = 4 } } }
        assert.same({ 14, 6 }, { M.sell(sold, "a"), M.buy(bought, "a") })
      end)

    for body, second in pairs { ["n = 0"] = 1, ["n = n + 2 return n"] = 8 } do
      it("a new function over another one's local is not what had one of that name: "
        .. body .. ", scope " .. scope, function()
        local M = app:module("m", [[
          local M = {}
          do local n = 0 function M.a() n = n + 1 return n end end
          do local n = 0 function M.c() n = n + 1 return n end end
          return M ]])
        for _ = 1, 4 do M.a() end
        local text = [[
          local M = {}
          do
            local n = 0
            function M.a() n = n + 1 return n end
            function M.fresh() BODY end
          end
          return M ]]
        update((text:gsub("BODY", body)))
        local first = M.a()
        M.fresh()
        assert.same({ 5, second }, { first, M.a() })
      end)
    end
  end
end)
