--- R8: data that stays, while the file has another value for it, is told.

local program = require "spec.support.program"

describe("data that differs from the file (R8)", function()
  local app
  before_each(function()
    app = program.new()
    require "hotreload".track()
  end)
  after_each(function() app:unload() end)

  local RATES = [[
    local M = { rate = 5, name = "a", on = true, hits = 0 }
    local limit, count = 10, 0
    function M.set(n) limit = n end
    function M.hit() count = count + 1 M.hits = M.hits + 1 return limit, count end
    return M
  ]]

  for _, scope in ipairs { "module", "vm" } do
    it("is counted where only the file has changed it, at each reload, scope " .. scope, function()
      local M = app:module("m", RATES)
      M.hit()
      local text = RATES:gsub("rate = 5", "rate = 6"):gsub("limit, count = 10", "limit, count = 12")
      app:write("m", text)
      for _ = 1, 2 do
        local report = app:reloaded("m", { scope = scope, report = "full" })
        assert.same({
          "m.rate: number 5 while it runs, number 6 in the file",
          "m.set@limit: number 10 while it runs, number 12 in the file",
        }, report.paths.data.differing)
        assert.equal(2, report.data.differing)
        assert.same({}, report.warnings)
        assert.matches("2 values differ from the file", tostring(report), 1, true)
      end
      assert.matches("m.rate: number 5 while it runs", app.hotreload.plan "m", 1, true)
      assert.equal(5, M.rate)
    end)

    it("is a warning where both have changed it, scope " .. scope, function()
      local M = app:module("m", RATES)
      M.rate = 7
      local report = app:update("m", (RATES:gsub("rate = 5", "rate = 6")), { scope = scope })
      assert.same({ "m.rate: number 7 while it runs, number 6 in the file; the program and "
        .. "the file have both changed it, and the running value stays; "
        .. "assign the file's in __hotfix" }, report.warnings)
      assert.equal(7, M.rate)
      assert.same({}, app:reloaded("m", { scope = scope }).warnings)
    end)

    it("is a warning in an enumeration that grows, scope " .. scope, function()
      local M = app:module("m", "return { IDLE = 1, CHASE = 2 }")
      local report = app:update("m", "return { IDLE = 1, PATROL = 2, CHASE = 3 }",
        { scope = scope })
      assert.same({ IDLE = 1, PATROL = 2, CHASE = 2 }, M)
      assert.same({ "m.CHASE: number 2 while it runs, number 3 in the file; the file gives that "
        .. "value to a new key, and the running value stays; "
        .. "assign the file's in __hotfix" }, report.warnings)
    end)
  end

  it("is a list whose plain elements the file has edited and that stays as it runs", function()
    local function module(elements) return "return { l = { " .. elements .. " } }" end
    for i, case in ipairs {
      { "1, 2", "1, 2, 3" }, { "1, 2, 3", "1, 3" }, { "1, 2", "1, 9" }, { "'a', 'b'", "'c'" },
      { "{ id = 'a' }", "{ id = 'a' }, { id = 'b' }" }, { "1, 2, 3", "1, 3, 2" },
    } do
      local name = "m" .. i
      local M = app:module(name, module(case[1]))
      local count = #M.l
      local report = app:update(name, module(case[2]), { report = "full" })
      assert.equal(count, #M.l)
      assert.equal(1, report.data.differing, case[2])
      assert.matches(name .. "%.l: table, %d entr", report.paths.data.differing[1])
      -- It is said until the list follows.
      assert.equal(1, app:reloaded(name).data.differing)
      assert.equal(0, app:reloaded(name, { data = "merge" }).data.differing)
      assert.equal(0, app:reloaded(name).data.differing)
      -- What only the program changes is none.
      M.l[#M.l + 1] = "own"
      assert.equal(0, app:reloaded(name).data.differing)
    end
  end)

  it("is nothing where only the program has changed it, or where it follows", function()
    local M = app:module("m", RATES)
    M.rate = 7
    M.hit()
    local report = app:update("m", RATES .. " ")
    assert.same({ 0, {} }, { report.data.differing, report.warnings })
    report = app:update("m", (RATES:gsub("'a'", "'b'"):gsub("on = true", "on = false")),
      { data = "merge" })
    assert.same({ 0, false }, { report.data.differing, M.on })
  end)
end)
