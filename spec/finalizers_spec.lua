-- Finalizers that run while a reload is asked for or under way: they reload and collect, like any
-- other code.

local program = require "spec.support.program"

describe("a finalizer", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  --- From now on nearly every allocation steps the collector, and each cycle ends with a call of
  --- `f`; returns what ends that.
  local function each_cycle(f)
    local pause, multiplier = collectgarbage("setpause", 0), collectgarbage("setstepmul", 1000)
    collectgarbage("incremental", 0, 1000, 1)
    local on = true
    local function again()
      if on then
        setmetatable({}, { __gc = again })
        f()
      end
    end
    setmetatable({}, { __gc = again })
    return function()
      on = false
      collectgarbage("incremental", pause, multiplier, 13)
    end
  end

  --- A module with `count` functions, each of which says in which version it was written.
  local function text(version, count)
    local lines = { "local M = {}" }
    for i = 1, count do
      lines[#lines + 1] = ("function M.f%d() return %d, %d end"):format(i, version, i)
    end
    lines[#lines + 1] = "return M"
    return table.concat(lines, "\n")
  end

  -- In a process of their own, with little to collect: each allocation of the program's is a whole
  -- cycle.
  local PRELUDE = [[
    require "hotreload"
    warn "@on" -- of a finalizer that raises
    function text(version)
      local lines = { "local M = {}" }
      for i = 1, 40 do
        lines[#lines + 1] = ("function M.f%d() return %d, %d end"):format(i, version, i)
      end
      return table.concat(lines, "\n") .. "\nreturn M"
    end
    function each_cycle(f)
      collectgarbage("incremental", 1, 1000, 40)
      collectgarbage("setpause", 0)
      local function again()
        if f then
          setmetatable({}, { __gc = again })
          f()
        end
      end
      setmetatable({}, { __gc = again })
      collectgarbage() -- what comes now is the first debt
      return function()
        f = nil
        collectgarbage("incremental", 200, 100, 13)
      end
    end
  ]]

  --- Runs a script behind the prelude, which must end well; returns what it prints.
  local function run(script)
    local out, code, err = app:subprocess(PRELUDE .. script)
    assert.equal(0, code, err)
    return out
  end

  it("that reloads another module while a reload is prepared loses nothing known of \z
    functions (R3.3)", function()
    assert.equal("ok\n", run [[
      local held, texts = {}, {}
      for version = 1, 22 do texts[version] = { source = text(version) } end
      for _, name in ipairs { "m", "other" } do
        package.preload[name] = load(texts[1].source, "@" .. name .. ".lua")
        require(name)
        package.preload[name] = nil
      end
      local nested, version = 0, 2
      local stop = each_cycle(function()
        local ok, message = gg.reload("other", texts[version])
        if ok then nested = nested + 1 else assert(message:find "is running in", message) end
      end)
      for i = 2, 21 do
        version = i
        assert(gg.reload("m", texts[i]))
        for _, name in ipairs { "m", "other" } do
          for _, f in next, package.loaded[name] do held[#held + 1] = f end
        end
      end
      stop()
      assert(nested > 100, nested)
      texts[22].scope = "vm"
      for _, name in ipairs { "m", "other" } do assert(gg.reload(name, texts[22])) end
      for i, f in ipairs(held) do
        assert(f() == 22, ("function %d is of version %d"):format(i, (f())))
      end
      print "ok"
    ]])
  end)

  it("that reloads the module which is about to be reloaded comes before that (R10)", function()
    assert.equal("ok\n", run [[
      local source =
        "local n = 0 return { f = function() n = n + 1 return n end, data = { a = 1 } }"
      package.preload.m = load(source, "@m.lua")
      local M = require "m"
      local options = { source = source, data = "merge" }
      local nested = 0
      local stop = each_cycle(function()
        if gg.reload("m", options) then nested = nested + 1 end
      end)
      for i = 1, 50 do
        local before = nested
        local ok, report = gg.reload("m", options)
        assert(ok, report)
        -- Those that came before, and those that the collector's step behind this one may have
        -- brought about.
        assert(report.generation >= 1 + i + before and report.generation <= 1 + i + nested,
          ("generation %d behind %d and %d reloads"):format(report.generation, i, nested))
        assert(M.f() == i)
      end
      stop()
      assert(nested > 100, nested)
      local ok, report = gg.reload("m", options)
      assert(ok and report.generation == 52 + nested, report)
      print "ok"
    ]])
  end)

  for _, how in ipairs { "restart", "collect", "step" } do
    it(("does not run between the chunk and the commit, whatever the chunk \z
      does: %s (R7.1)"):format(how), function()
      local flags = app:module("flags", "return { in_chunk = false }")
      local function of(version)
        return ([[
          local flags = require "flags"
          flags.in_chunk = true
          collectgarbage "%s"
          %s
          flags.in_chunk = false
          return M]]):format(how, (text(version, 300):gsub("return M$", "")))
      end
      local M = app:module("m", of(1))
      local wrong, met, now = 0, 0, 1
      local stop = each_cycle(function()
        local ok, message = gg.reload("flags")
        if ok then return end
        assert(message:find "is running in", message)
        met = met + 1
        -- Behind the commit there is the new version.
        if not flags.in_chunk and (M.f1()) ~= now then wrong = wrong + 1 end
      end)
      local ok, err = pcall(function()
        for version = 2, 12 do
          now = version
          app:reloaded("m", { source = of(version) })
        end
      end)
      stop()
      collectgarbage "incremental"
      assert(ok, err)
      assert.is_true(met > 0)
      assert.equal(0, wrong)
    end)
  end
end)
