--- R3 to R5 on random modules: after a reload the program has the shape of a cold load, and the
--- data of before.

local program = require "spec.support.program"
local probe = require "spec.support.probe"
local random_module = require "spec.support.random_module"

local SEEDS = 150

describe("A random module (R3, R4, R5)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- Some random texts raise (they call what is no function, index what is no table): no module.
  local function each_module(run)
    local modules = 0
    for seed = 1, SEEDS do
      local text = random_module.generate(seed)
      local ok, cold = pcall(assert(load(random_module.second(text), "@cold")))
      if ok then
        modules = modules + 1
        run(("seed%d"):format(seed), text, cold)
      end
    end
    assert.is_true(modules > SEEDS / 2)
  end

  local function numbers_of(object)
    local numbers = {}
    for key, value in pairs(object) do
      if type(value) == "number" then
        numbers[key] = value
      end
    end
    return numbers
  end

  it("shares tables, functions and cells as a cold load of the new file does, \z
    and keeps its numbers", function()
    each_module(function(name, text, cold)
      local M = app:module(name, text)
      random_module.disturb(M)
      local numbers = numbers_of(M)
      app:update(name, random_module.second(text))
      assert.same({}, random_module.differences(cold, M), name)
      for key, value in pairs(numbers) do
        assert.equal(value, M[key], name)
      end
      local report = app:reloaded(name)
      assert.same({}, random_module.differences(cold, M), name)
      assert.same({ 0, 0, 0 }, { report.functions.added, report.data.added, report.cells.fresh },
        name)
    end)
  end)

  it("is untouched by a dry run and by versions that fail", function()
    each_module(function(name, text)
      local M = app:module(name, text)
      random_module.disturb(M)
      local second = random_module.second(text)
      app:write(name, (second:gsub("return M%s*$", "error 'late'")))
      app:refused(name, nil, M)
      app:write(name, (second:gsub("return M%s*$", "return 'no table'")))
      app:refused(name, nil, M)
      app:write(name, second)
      local before = program.fingerprint(M)
      app:reloaded(name, { dry_run = true })
      before:assert_unchanged()
      app:reloaded(name)
      package.loaded[name] = nil
    end)
  end)

  it("that becomes an unrelated one is refused whole or reloaded, \z
    and leaves no second module object", function()
    local witness = probe.witness(app)
    local refused = 0
    each_module(function(name, text)
      local other = random_module.second(random_module.generate(SEEDS + tonumber(name:match "%d+")))
      if not pcall(assert(load(other))) then
        return
      end
      local M = app:module(name, text)
      witness.seen[M] = true
      app:write(name, (other:gsub("local M = {}", "%0 require 'witness'.note(M)")))
      local before = program.fingerprint(M)
      if not app:reload(name) then
        refused = refused + 1
        before:assert_unchanged()
        app:reloaded(name, { on_conflict = refused % 2 == 0 and "keep" or "replace" })
      end
      before = nil -- luacheck: ignore
      assert.equal(M, package.loaded[name])
      assert.is_nil(witness:others(M), name)
      witness.seen[M], package.loaded[name] = nil, nil
    end)
    assert.is_true(refused > 0)
  end)
end)
