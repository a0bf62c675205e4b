-- R9: in random heaps no reference to an old function is left anywhere after the walk, and nothing
-- else has changed. Both is checked by a walk of another kind: in plain Lua, with the functions of
-- `debug`.

local program = require "spec.support.program"

local HEAPS = 40

local V1 = [[
  local M, count = { sub = {} }, 0
  function M.f() count = count + 1 return "v1" end
  function M.g() return "v1", count end
  function M.sub.h() return "v1" end
  function M.new(x) return function() return "v1", x end end
  return M
]]
local V2 = V1:gsub("v1", "v2")

--- Everything that can be reached from a value, each with where it was met first: tables by key and
--- value, metatables, upvalues, user values, coroutines' locals.
local function reach(root)
  local seen, queue = {}, { root }
  local function meet(value)
    local kind = type(value)
    if (kind == "table" or kind == "function" or kind == "userdata" or kind == "thread")
      and not seen[value] then
      seen[value] = true
      queue[#queue + 1] = value
    end
  end
  seen[root] = true
  local i = 1
  while queue[i] do
    local value = queue[i]
    i = i + 1
    if type(value) == "table" then
      for key, inner in next, value do
        meet(key)
        meet(inner)
      end
    elseif type(value) == "function" then
      local n = 1
      while true do
        local name, inner = debug.getupvalue(value, n)
        if not name then break end
        meet(inner)
        n = n + 1
      end
    elseif type(value) == "thread" then
      local level = 0
      while debug.getinfo(value, level, "l") do
        for _, step in ipairs { 1, -1 } do
          local n = step
          while true do
            local name, inner = debug.getlocal(value, level, n)
            if not name then break end
            meet(inner)
            n = n + step
          end
        end
        level = level + 1
      end
    end
    local mt = debug.getmetatable(value)
    if type(value) ~= "function" and type(value) ~= "thread" then meet(mt) end
  end
  return seen
end

--- The heap as text: the same for the same shape, whatever its functions are called.
local function shape(root, name_of)
  local numbers, lines, queue = { [root] = 1 }, {}, { root }
  local function word(value)
    if name_of[value] then return name_of[value] end
    if type(value) ~= "table" then return type(value) == "string" and value or type(value) end
    if not numbers[value] then
      queue[#queue + 1] = value
      numbers[value] = #queue
    end
    return "#" .. numbers[value]
  end
  local i = 1
  while queue[i] do
    local entries = {}
    for n = 1, #queue[i] do entries[#entries + 1] = n .. "=" .. word(queue[i][n]) end
    local keys = {}
    for key in next, queue[i] do
      if type(key) == "string" then keys[#keys + 1] = key end
    end
    table.sort(keys)
    for _, key in ipairs(keys) do entries[#entries + 1] = key .. "=" .. word(queue[i][key]) end
    local count = 0
    for key, value in next, queue[i] do
      if type(key) == "function" then
        entries[#entries + 1], count = word(key) .. ":" .. word(value), count + 1
      end
    end
    if count > 1 then table.sort(entries) end
    lines[i] = table.concat(entries, " ") .. (debug.getmetatable(queue[i]) and " mt" or "")
    i = i + 1
  end
  return table.concat(lines, "\n")
end

--- A heap of tables, closures and coroutines with the module's functions strewn in.
local function build(M, random)
  local nodes = { {} }
  local strays = { M.f, M.g, M.sub.h, M.new(1), M.new(2) }
  local function stray() return strays[random(#strays)] end
  for i = 2, 60 + random(200) do
    local node = { name = "node " .. i }
    local parent = nodes[random(#nodes)]
    parent[#parent + 1] = node
    local kind = random(9)
    local f = stray()
    if kind == 1 then
      node.f = f
    elseif kind == 2 then
      node[#node + 1] = f
    elseif kind == 3 then
      node[f] = "value"
    elseif kind == 4 then
      setmetatable(node, { __index = f, kept = { f } })
    elseif kind == 5 then
      node.closure = function() return f end
    elseif kind == 6 then
      node.thread = coroutine.create(function(...)
        local mine = ...
        coroutine.yield(mine)
        return mine
      end)
      coroutine.resume(node.thread, f)
    elseif kind == 7 then
      node.fresh = coroutine.create(f)
    elseif kind == 8 then
      node.weak = setmetatable({ f }, { __mode = "v" })
    else
      node.back = nodes[random(#nodes)]
    end
    nodes[i] = node
  end
  return nodes[1], strays
end

describe("a random heap (R9)", function()
  for seed = 1, HEAPS do
    it("has no old function left after a reload in scope 'vm': seed " .. seed, function()
      local app = program.new()
      finally(function() app:unload() end)
      local name = "heap" .. seed
      local M = app:module(name, V1)
      math.randomseed(seed)
      local heap, strays = build(M, math.random)
      local name_of = {}
      for i, f in ipairs(strays) do name_of[f] = "stray" .. i end
      local before = shape(heap, name_of)
      local options = { source = V2, scope = "vm" }
      if seed % 2 == 0 then options.budget_ms = 0.05 end
      app:reloaded(name, options)
      while not app.hotreload.sweep(0.05) do end

      local new_names = { [M.f] = "stray1", [M.g] = "stray2", [M.sub.h] = "stray3" }
      local seen = reach(heap)
      for value in next, seen do
        if type(value) == "function" and debug.getinfo(value, "S").source:find(name, 1, true) then
          local text, x = value()
          assert.equal("v2", text)
          if x and value ~= M.g then new_names[value] = "stray" .. 3 + x end
        end
      end
      assert.equal(before, shape(heap, new_names))
    end)
  end
end)

describe("a random history of reloads that join a sweep (R9.4)", function()
  local SOURCE = [[
    local M, made = {}, 0
    function M.f() return "VERSION" end
    function M.new(i) made = made + 1 return function() return "VERSION", i, made end end
    return M
  ]]
  local HISTORIES, STEPS, MOST_SLICES = 30, 40, 2000

  for seed = 1, HISTORIES do
    it("comes to its end, whatever texts come back: seed " .. seed, function()
      local app = program.new()
      finally(function() app:unload() end)
      math.randomseed(seed)
      local random, name, versions = math.random, "history" .. seed, 1 + seed % 4
      local function text(version) return (SOURCE:gsub("VERSION", version)) end
      local M = app:module(name, text "v1")
      local made, count, running, undone = {}, 0, "v1", false

      local function make()
        count = count + 1
        made[random(2) == 1 and count or ("key " .. count)] = { i = count,
          f = M.new(count), same = M.f }
      end
      local function ends()
        local slices, done = 0
        repeat
          slices, done = slices + 1, app.hotreload.sweep(random() < 0.9 and 0.05 or nil)
        until done or slices == MOST_SLICES
        assert.is_true(done, "no end")
        for _, entry in next, made do
          local version, i = entry.f()
          assert.equal(entry.i, i)
          if not undone then assert.same({ running, running }, { version, entry.same() }) end
        end
      end

      local steps = {
        function() make() end,
        function() make() end,
        function() app.hotreload.sweep(0.05) end,
        function()
          running = "v" .. random(versions)
          local budget = random(3) > 1 and 0.05 or nil
          app:update(name, text(running), { scope = "vm", budget_ms = budget })
        end,
        function()
          running = "v" .. random(versions)
          app:update(name, text(running), { scope = "vm", budget_ms = 0.05 })
          running = "v" .. random(versions)
          app:update(name, text(running))
        end,
        function()
          -- Closures that the undone reload's factory made keep its code.
          undone = app.hotreload.undo(name) or undone
          running = M.f()
        end,
      }
      for _ = 1, STEPS do steps[random(random(4) > 1 and 5 or 6)]() end
      ends()
      app:update(name, text "last", { scope = "vm" })
      running = "last"
      ends()
      collectgarbage()
    end)
  end
end)
