--- R5.5 to R5.9: files that register a few handlers each, with random edits. What the program can
--- call afterwards is each handler of the file, once, whatever reloads came before.

local program = require "spec.support.program"

local CASES = 60

local BUS = [[
  local bus = { list = {}, map = {}, help = {}, last = 0 }
  local function add(entry) table.insert(bus.list, entry) end
  function bus.on(event, f) add { event = event, f = f } end
  function bus.wrap(event, f) add { event = event, f = function(...) return f(...) end } end
  function bus.every(n, f) bus.last = bus.last + 1 add { n = n, id = bus.last, f = f } end
  function bus.add(entry) add(entry) end
  function bus.set(event, f) bus.map[event] = { f = f } end
  function bus.command(name, help, f)
    local entry = { name = name, help = help, f = f }
    bus.map[name] = entry
    add(entry)
  end
  return bus ]]

-- A registration by what the handler is called and says.
local SHAPES = {
  ["of one event"] = function(_, says)
    return ('bus.on("hit", function() return %q end)'):format(says)
  end,
  ["of an event each"] = function(name, says)
    return ('bus.on(%q, function() return %q end)'):format(name, says)
  end,
  ["in wrappers"] = function(_, says)
    return ('bus.wrap("hit", function() return %q end)'):format(says)
  end,
  ["by an interval"] = function(_, says)
    return ('bus.every(5, function() return %q end)'):format(says)
  end,
  ["in a table"] = function(name, says)
    return ('bus.add { name = %q, f = function() return %q end }'):format(name, says)
  end,
  ["in a local"] = function(name, says)
    return ('local %s = function() return %q end bus.on("hit", %s)'):format(name, says, name)
  end,
  ["in a field"] = function(name, says)
    return ('function M.%s() return %q end bus.on("hit", M.%s)'):format(name, says, name)
  end,
  ["under its name"] = function(name, says)
    return ('bus.set(%q, function() return %q end)'):format(name, says)
  end,
  ["that counts"] = function(name, says)
    return ('bus.set(%q, function(n) count = count + (n or 1) return %q end)'):format(name, says)
  end,
  ["under its name, with its help"] = function(name, says, help)
    return ('bus.command(%q, %q, function() return %q end)'):format(name, help, says)
  end,
}

-- Edits of a list of handlers; `fresh` makes another handler or text.
local EDITS = {
  insert = function(list, random, fresh)
    table.insert(list, random(#list + 1), { name = fresh "name", says = fresh "says", help = "?" })
  end,
  delete = function(list, random)
    if #list > 1 then table.remove(list, random(#list)) end
  end,
  edit = function(list, random, fresh) list[random(#list)].says = fresh "says" end,
  help = function(list, random, fresh) list[random(#list)].help = fresh "help" end,
  swap = function(list) list[1], list[#list] = list[#list], list[1] end,
}
local KINDS = {}
for name in pairs(EDITS) do KINDS[#KINDS + 1] = name end
table.sort(KINDS)

describe("Handlers of a file that is edited at random", function()
  local app, bus
  setup(function()
    app = program.new()
    bus = app:module("bus", BUS)
  end)
  teardown(function() app:unload() end)

  local function text(list, shape)
    local lines = { 'local bus, M, count = require "bus", {}, 0' }
    for _, one in ipairs(list) do
      lines[#lines + 1] = SHAPES[shape](one.name, one.says, one.help)
    end
    lines[#lines + 1] = "return M"
    return table.concat(lines, "\n")
  end

  local function said()
    local times = {}
    local function call(entry)
      local says = entry.f()
      times[says] = (times[says] or 0) + 1
    end
    local seen = {}
    for _, entry in ipairs(bus.list) do
      seen[entry] = true
      call(entry)
    end
    for _, entry in pairs(bus.map) do
      if not seen[entry] then call(entry) end
    end
    return times
  end

  for _, scope in ipairs { "module", "vm" } do
    it("of an event that the file exchanges run as before, scope " .. scope, function()
      bus.map = {}
      local shop = [[
        local bus, gold = require "bus", 100
        bus.set("buy", function(n) gold = gold - n return "buy", gold end)
        bus.set("look", function() return gold end)
        return {}]]
      app:module("shop_" .. scope, shop)
      local sell = shop:gsub("buy", "sell"):gsub("gold %-", "gold +")
      local report = app:update("shop_" .. scope, sell, { scope = scope, report = "full" })
      assert.same({ 1, 1 }, { #report.paths.calls.new, #report.paths.calls.gone })
      assert.same({ "buy", 90 }, { bus.map.buy.f(10) })
      assert.same({ "sell", 100 }, { bus.map.sell.f(10) })
    end)
  end

  for _, scope in ipairs { "module", "vm" } do
    it("of one event keep their state behind a new one, scope " .. scope, function()
      bus.list = {}
      local function counters(version, first)
        return ([[
          local bus, na, nb = require "bus", 0, 0
          FIRST
          bus.on("hit", function() na = na + 1 return "aVERSION " .. na end)
          bus.on("hit", function() nb = nb + 1 return "bVERSION " .. nb end)
          return {}]]):gsub("FIRST", first or ""):gsub("VERSION", version)
      end
      local function results()
        local found = {}
        for i, entry in ipairs(bus.list) do found[i] = entry.f() end
        table.sort(found)
        return found
      end
      local name = "counters_" .. scope
      app:module(name, counters(1))
      app:update(name, counters(2), { scope = scope })
      results()
      local first = "bus.on('hit', function() return 'first' end)"
      app:update(name, counters(3, first), { scope = scope })
      assert.same({ "a3 2", "b3 2", "first" }, results())
      app:update(name, counters(4), { scope = scope })
      assert.same({ "a4 3", "b4 3", "first" }, results())
    end)
  end

  for shape in pairs(SHAPES) do for _, scope in ipairs { "module", "vm" } do
    it("are there once: " .. shape .. ", scope " .. scope, function()
      local state, serial = 12345 + #shape, 0
      local function random(most)
        state = (state * 1103515245 + 12345) % 2147483648
        return state // 65536 % most + 1
      end
      local function fresh(what)
        serial = serial + 1
        return what .. serial
      end
      for case = 1, CASES do
        bus.list, bus.map, bus.last = {}, {}, 0
        local list = {}
        for _ = 1, random(3) do EDITS.insert(list, random, fresh) end
        local name = ("m%d_%d"):format(#shape, case)
        app:module(name, text(list, shape))
        for _ = 1, random(3) - 1 do app:reloaded(name) end
        local story = { text(list, shape) }
        for _ = 1, random(2) do
          local kind = KINDS[random(#KINDS)]
          EDITS[kind](list, random, fresh)
          story[#story + 1] = kind
        end
        app:update(name, text(list, shape), { scope = scope })
        local times = said()
        for _, one in ipairs(list) do
          if times[one.says] ~= 1 then
            error(("%s: %s times, after %s"):format(one.says, times[one.says],
              table.concat(story, "\n")))
          end
        end
        package.loaded[name] = nil
      end
    end)
  end end
end)
