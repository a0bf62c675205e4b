-- The program's own functions around every reload: before, after, on_error, log (R7.6).

local program = require "spec.support.program"

local V1 = "local M = {} local n = 0 function M.f() n = n + 1 return n end return M"
local V2 = "local M = {} local n = 0 function M.f() n = n + 10 return n end \z
  function M.g() end return M"

describe("hotreload.configure hooks (R7.6)", function()
  local app, M, log
  before_each(function()
    app = program.new()
    M = app:module("m", V1)
    log = {}
  end)
  after_each(function()
    app.hotreload.configure { before = false, after = false, on_error = false, log = false }
    app:unload()
  end)

  local function configure(options)
    app.hotreload.configure(options)
  end

  it("asks before a reload, with what it would do, and tells after it", function()
    configure {
      before = function(name, plan)
        assert(M.f() == 1)
        local added = plan.paths.functions.added
        log[#log + 1] = ("before %s %s %d %s"):format(name, plan.dry_run,
          plan.functions.added, added[1])
      end,
      after = function(name, report)
        log[#log + 1] = ("after %s %s %d"):format(name, report.dry_run, report.generation)
      end,
    }
    app:update("m", V2)
    assert.same({ "before m true 1 m.g", "after m nil 2" }, log)
    assert.equal(11, M.f())
  end)

  it("refuses a reload when before returns false or raises, and changes nothing", function()
    for _, before in ipairs { function() return false end, function() error "not tonight" end } do
      configure { before = before,
        on_error = function(name, message) log[#log + 1] = name .. ": " .. message end }
      app:write("m", V2)
      local message = app:refused("m", nil, M)
      assert.matches("before", message)
      assert.matches("nothing was changed", message)
      assert.equal("m: " .. message, log[#log])
    end
    assert.matches("not tonight", log[2])
    configure { before = function() return nil end }
    app:reloaded "m"
  end)

  it("refuses the whole transaction when before is against one of it", function()
    local N = app:module("n", V1)
    configure { before = function(name) return name ~= "n" end,
      after = function(name) log[#log + 1] = name end }
    app:write("m", V2)
    app:write("n", V2)
    assert.is_false((app.hotreload.reload { "m", "n" }))
    assert.is_nil(M.g or N.g)
    configure { before = false }
    assert.is_true((app.hotreload.reload { "m", "n" }))
    assert.same({ "m", "n" }, log)
  end)

  it("tells on_error of a broken file, a conflict, and a hook of the module that raises", function()
    configure { on_error = function(name, message) log[#log + 1] = name .. ": " .. message end }
    for _, source in ipairs {
      "return {", "error 'chunk'", "return { f = 1 }",
      "return { f = function() end, __hotfix = function() error 'hook' end }",
    } do
      app:write("m", source)
      local _, message = app:reload "m"
      assert.equal("m: " .. message, log[#log])
    end
    assert.equal(4, #log)
    configure { before = function() end }
    app:write("m", "return {")
    app:reload "m"
    assert.equal(5, #log)
  end)

  it("goes on when after, on_error or log raises, and logs that", function()
    configure {
      after = function() error "after broke" end,
      on_error = function() error "on_error broke" end,
      log = function(level, message)
        log[#log + 1] = level .. " " .. message
        error "log broke"
      end,
    }
    app:update("m", V2)
    assert.equal(10, M.f())
    assert.matches("^error after raised for module 'm': .*after broke", log[1])
    assert.matches("^info reloaded m: 1 function changed, .* ms$", log[2])
    app:write("m", "return {")
    assert.is_false((app:reload "m"))
    assert.matches("^error on_error raised for module 'm': .*on_error broke", log[3])
    assert.matches("^error error loading module 'm'", log[4])
  end)

  it("has no part in a dry run and a plan", function()
    local function never() error "called" end
    configure { before = never, after = never, on_error = never, log = never }
    app:write("m", V2)
    assert.is_true((app:reload("m", { dry_run = true })))
    assert.is_string(app.hotreload.plan "m")
  end)

  it("blames the caller for wrong arguments, and does not tell on_error of them", function()
    configure { before = function() end, on_error = function() log[1] = "told" end }
    local chunk = assert(load("\n\nlocal ok = gg.reload('m', { nonsense = 1 }) return ok",
      "=caller"))
    assert.matches("^caller:3: bad argument #2 to 'reload'", select(2, pcall(chunk)))
    chunk = assert(load("\n\nlocal ok = gg.reload() return ok", "=caller"))
    assert.matches("^caller:3: bad argument #1 to 'reload'", select(2, pcall(chunk)))
    configure { before = false }
    assert.matches("^caller:3: bad argument #1 to 'reload'", select(2, pcall(chunk)))
    assert.same({}, log)
  end)

  it("lets the module's hook yield", function()
    configure { before = function() coroutine.yield "before" end,
      after = function() coroutine.yield "after" end }
    app:write("m",
      V2:gsub("return M$", "function M.__hotfix() coroutine.yield 'hook' end return M"))
    local co = coroutine.create(function() return gg.reload "m" end)
    for _, stop in ipairs { "before", "hook", "after" } do
      assert.same({ true, stop }, { coroutine.resume(co) })
    end
    assert.is_true(select(2, coroutine.resume(co)))
    assert.equal("dead", coroutine.status(co))
  end)

  it("takes functions and false, and nothing else", function()
    for _, which in ipairs { "before", "after", "on_error", "log" } do
      for _, wrong in ipairs { 1, "f", true, {} } do
        local ok, message = pcall(app.hotreload.configure, { [which] = wrong })
        assert.is_false(ok)
        assert.matches("bad argument #1 to 'configure' %(option '" .. which .. "'", message)
      end
    end
  end)
end)
