-- A thousand reloads: the same cells, no growth, and nothing of the old generations that stays
-- alive (R4.1, R11). `make test` measures after fewer.

local program = require "spec.support.program"

-- Reloads between two measurements: a multiple of the three and of the five ways in which some of
-- them end in turn.
local ROUND = os.getenv "HOTRELOAD_ALL" and 105 or 45
local TOTAL = 10 * ROUND

local function version(n)
  return ([[
    local M, count, rows = { data = { 1, 2, 3 } }, 0, {}
    local function helper() return %d end
    M.class = setmetatable({}, { __call = function() return %d end })
    M.class.__index = M.class
    function M.class.new() return setmetatable({}, M.class) end
    function M.class:version() return helper() end
    function M.bump() count = count + 1 rows[count %% 10 + 1] = count return count end
    function M.version() return helper() end
    M.handlers = { M.bump, on = { M.version } }
    require "witness" (M, M.bump, helper)
    return M
  ]]):format(n, n)
end

--- `version(n)` with `last` instead of its last line.
local function ending(n, last)
  return (version(n):gsub("return M%s*$", last))
end

describe("many reloads", function()
  local app, M, noted
  before_each(function()
    app = program.new()
    -- Knows all generations, weakly, where no reload can look.
    noted = setmetatable({}, { __mode = "k" })
    package.preload.witness = function()
      return function(...)
        for i = 1, select("#", ...) do noted[select(i, ...)] = true end
      end
    end
    M = app:module("m", version(1))
  end)
  after_each(function() app:unload() end)

  local function in_use()
    collectgarbage()
    -- A copy: the weak table itself grows with every generation that it saw.
    local copy = setmetatable({}, { __mode = "k" })
    for object in pairs(noted) do copy[object] = true end
    noted = copy
    -- Each of them halves Lua's table of strings while it is too large.
    for _ = 1, 10 do collectgarbage() end
    return collectgarbage "count"
  end

  local function registry_size()
    local n = 0
    for _ in next, debug.getregistry() do n = n + 1 end
    return n
  end

  local function assert_only_the_running_one_is_alive()
    in_use()
    local _, helper = debug.getupvalue(M.version, 1)
    for _, object in ipairs { M, M.bump, helper } do
      assert.is_true(noted[object])
      noted[object] = nil
    end
    assert.is_nil((next(noted)))
  end

  --- Calls `once` for one round to warm up and for nine more: memory and registry must not grow.
  local function assert_steady(once)
    for i = 1, ROUND do once(i) end
    local first, entries = in_use(), registry_size()
    local last, rounds_without_growth = first, 0
    for round = 1, 9 do
      for i = 1, ROUND do once(ROUND * round + i) end
      local now = in_use()
      if now < last + 0.2 then
        rounds_without_growth = rounds_without_growth + 1
      end
      last = now
    end
    -- A weak table's room may double once in a while; what leaks with every reload grows in every
    -- round.
    assert.is_true(rounds_without_growth >= 5,
      ("growth in %d rounds of 9"):format(9 - rounds_without_growth))
    assert.is_true(last < first + 32, ("%.1f KB more in use"):format(last - first))
    assert.is_true(registry_size() <= entries + 2,
      ("%d more registry entries"):format(registry_size() - entries))
  end

  it("keep cells, tables and data, and do not grow", function()
    local data, instance = M.data, M.class.new()
    local first = app:reloaded "m".generation
    local cell, rows = debug.upvalueid(M.bump, 1), debug.upvalueid(M.bump, 2)
    assert_steady(function(i)
      app:reloaded("m", { source = version(i) })
      M.bump()
      if M.version() ~= i then error("not the new version") end
    end)
    assert.equal(cell, debug.upvalueid(M.bump, 1))
    assert.equal(rows, debug.upvalueid(M.bump, 2))
    assert.equal(data, M.data)
    assert.equal(TOTAL, instance:version())
    assert.equal(TOTAL + 1, M.bump())
    assert.equal(first + TOTAL + 1, app:reloaded("m", { source = version(7) }).generation)
  end)

  it("leave no old generation alive but the last, which undo needs", function()
    for i = 1, 1000 do app:reloaded("m", { source = version(i) }) end
    assert.is_true(app.hotreload.undo "m")
    assert.equal(999, M.version())
    assert_only_the_running_one_is_alive()
  end)

  it("read from a file that is the same do not grow", function()
    assert_steady(function() app:reloaded "m" end)
  end)

  it("that fail do not grow and leave no trace", function()
    local sources = {
      version(2) .. "syntax error",
      ending(2, "error 'oh'"),
      ending(2, "M.data = print return M"),
      ending(2, "function M.__hotfix() error 'oh' end return M"),
      ending(2, "coroutine.yield()"),
    }
    assert_steady(function(i)
      assert.is_false((app:reload("m", { source = sources[i % #sources + 1] })))
    end)
    assert_only_the_running_one_is_alive()
    app:reloaded("m", { source = version(2) })
    assert.equal(2, M.version())
  end)

  it("that are dry do not grow", function()
    assert_steady(function(i) app:reloaded("m", { source = version(i), dry_run = true }) end)
    assert.equal(1, M.version())
  end)

  it("with full reports do not grow", function()
    assert_steady(function(i) app:reloaded("m", { source = version(i), report = "full" }) end)
  end)

  it("with data = replace do not grow", function()
    assert_steady(function(i) app:reloaded("m", { source = version(i), data = "replace" }) end)
    assert.same({ 1, 2, 3 }, M.data)
  end)

  it("in coroutines, with hooks that yield, do not grow", function()
    local source = ending(3, "function M.__hotfix() coroutine.yield() end return M")
    local function start()
      local thread = coroutine.create(function() return app:reload("m", { source = source }) end)
      assert(coroutine.resume(thread))
      return thread
    end
    local ends = {
      function() assert.is_true(select(2, coroutine.resume(start()))) end,
      function() assert.is_true(coroutine.close(start())) end,
      function() assert.equal("suspended", coroutine.status(start())) end,
    }
    assert_steady(function(i)
      ends[i % #ends + 1]()
      if i % #ends == 2 then
        collectgarbage()
      end
    end)
    assert.equal(3, M.version())
  end)

  it("in slices that nobody goes on with do not grow, and keep what waits \z
    bounded (R9.4)", function()
    local held = { M.version, { M.bump }, [M.version] = 1 }
    local function reload(from, to)
      for i = from, to do
        app:reloaded("m", { source = version(i), scope = "vm", budget_ms = 0.001 })
        M.bump()
      end
      return in_use()
    end
    -- Each time as many wait.
    local first = reload(1, 128)
    local second = reload(129, 576)
    local third = reload(577, 1024)
    assert.is_true(math.min(second - first, third - second) < 8, second - first, third - second)
    assert.is_true(third < first + 64, third - first)
    repeat until app.hotreload.sweep()
    assert.equal(1024, held[1]())
    assert.equal(M.bump, held[2][1])
    assert.equal(1, held[M.version])
  end)

  it("of new modules that are forgotten do not grow", function()
    app:write("fresh", version(1))
    assert_steady(function()
      assert.equal(1, app:reloaded "fresh".generation)
      package.loaded.fresh = nil
    end)
  end)
end)
