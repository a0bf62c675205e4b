-- R2.2: the collector is stopped for the length of a reload, and then left as it was found.

local program = require "spec.support.program"

local GOOD =
  "local n = 0 return { f = function() n = n + 1 return n end, g = function() return 'v2' end }"
local BAD = "local garbage = {} for i = 1, 100 do garbage[i] = { i } end error 'the chunk raises'"

describe("the collector (R2.2)", function()
  local app
  before_each(function()
    app = program.new()
    app:module("m", "local n = 0 return { f = function() n = n + 1 return n end }")
  end)
  after_each(function() app:unload() end)

  local outcomes = {
    ["succeeds"] = { GOOD, true },
    ["raises in its chunk"] = { BAD, false },
    ["does not compile"] = { "return {", false },
    ["raises in its hook"] = { "return { __hotfix = function() error 'oh' end }", false },
    ["has a conflict"] = { "return { f = 7 }", false },
    ["is only a dry run"] = { GOOD, true, { dry_run = true } },
    ["stops the collector in its chunk"] = { "collectgarbage 'stop' " .. GOOD, true },
    ["restarts the collector in its chunk"] = { "collectgarbage 'restart' " .. GOOD, true },
    ["collects in its chunk"] = { "local t = {} t = nil collectgarbage() collectgarbage() " .. GOOD,
      true },
    ["steps in its chunk"] = { "for i = 1, 100 do local t = { {} } collectgarbage('step', 1) end "
      .. GOOD, true },
    ["stops the collector in its chunk and raises"] = { "collectgarbage 'stop' " .. BAD, false },
    ["collects in its chunk and raises"] = { "collectgarbage() " .. BAD, false },
  }
  local names = {}
  for name in pairs(outcomes) do names[#names + 1] = name end
  table.sort(names)

  for _, name in ipairs(names) do
    local source, expected, options = table.unpack(outcomes[name], 1, 3)
    for _, mode in ipairs { "incremental", "generational" } do
      for _, running in ipairs { true, false } do
        it(("is as it was found, %s and %s, when a reload %s"):format(mode,
          running and "running" or "stopped", name),
          function()
            collectgarbage(mode)
            collectgarbage(running and "restart" or "stop")
            app:write("m", source)
            local ok = app:reload("m", options)
            local running_after = collectgarbage "isrunning"
            local mode_after = collectgarbage "incremental"
            collectgarbage "restart"
            assert.equal(expected, ok)
            assert.equal(running, running_after)
            assert.equal(mode, mode_after)
            app:update("m", GOOD)
            assert.equal("v2", package.loaded.m.g())
          end)
      end
    end
  end

  it("keeps its parameters", function()
    local pause, step = collectgarbage("setpause", 321), collectgarbage("setstepmul", 123)
    app:update("m", GOOD)
    local pause_after, step_after = collectgarbage("setpause", pause),
      collectgarbage("setstepmul", step)
    -- Lua keeps these divided by four.
    assert.equal(320, pause_after // 4 * 4)
    assert.equal(120, step_after // 4 * 4)
  end)

  it("keeps state right when the chunk frees tables whose addresses are used again", function()
    local M = app:module("data",
      "local M = { rows = {} } function M.size() return #M.rows end return M")
    for i = 1, 50 do M.rows[i] = { i } end
    local rows, first = M.rows, M.rows[1]
    app:update("data", [[
      local M = { rows = {} }
      for round = 1, 20 do
        local waste = {}
        for i = 1, 200 do waste[i] = { i, function() return waste end } end
        waste = nil
        collectgarbage()
      end
      function M.size() return #M.rows + 0 end
      M.more = { { "fresh" } }
      return M
    ]])
    assert.equal(rows, M.rows)
    assert.equal(first, M.rows[1])
    assert.equal(50, M.size())
    assert.equal("fresh", M.more[1][1])
  end)

  it("runs finalizers again after a reload", function()
    app:update("m", GOOD)
    local finalized = 0
    for _ = 1, 10 do setmetatable({}, { __gc = function() finalized = finalized + 1 end }) end
    collectgarbage()
    collectgarbage()
    assert.equal(10, finalized)
  end)

  it("survives finalizers that run while the chunk collects", function()
    app:update("m", [[
      gc_count = 0
      for i = 1, 100 do
        setmetatable({}, { __gc = function() gc_count = gc_count + 1 local t = { {} } end })
      end
      collectgarbage()
      ]] .. GOOD)
    assert.equal(100, _G.gc_count)
    assert.equal("v2", package.loaded.m.g())
  end)

  -- The program itself allocates next to nothing here: were all left to its own cycle, none would
  -- begin. A reload that leaves much is looked at by itself, small ones by what they leave
  -- together.
  for _, mode in ipairs { "incremental", "generational" } do
    for name, waste in pairs { much = 20, little = 18 } do
      it(("collects what reloads alone leave \z
        behind, %s by %s, %s"):format(name, name, mode), function()
        local options = { source = ("local waste = ('x'):rep(1 << %d) "):format(waste) .. GOOD }
        collectgarbage(mode)
        collectgarbage()
        local start, most = collectgarbage "count", 0
        for _ = 1, 200 do
          app:reloaded("m", options)
          most = math.max(most, collectgarbage "count")
        end
        collectgarbage "incremental"
        assert.is_true(most < 2 * start + 4 * 1024, ("from %.0f to %.0f KiB"):format(start, most))
      end)
    end
  end
end)
