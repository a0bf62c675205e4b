-- R3.15, R8: what C makes for the chunk (a file, a socket, a grammar) is another object each time
-- the chunk runs. That is no edit; another call that makes it is one.

local program = require "spec.support.program"

local PLACES = {
  { "a local", "local log = MADE", "log" },
  { "a field", "M.log = MADE", "M.log" },
  { "a global", "GlobalLog = MADE", "GlobalLog" },
  { "a field of a local table", "local t = { log = MADE }", "t.log" },
}

describe("a userdata that the chunk makes", function()
  local app, files
  before_each(function()
    app, files = program.new(), {}
    for i = 1, 2 do
      files[i] = os.tmpname()
      local file = assert(io.open(files[i], "w"))
      file:write("text", i)
      file:close()
    end
  end)
  after_each(function()
    GlobalLog = nil -- luacheck: ignore
    app:unload()
    for _, name in ipairs(files) do os.remove(name) end
  end)

  local function module(place, made, version)
    local _, decl, name = table.unpack(place)
    local text = ([[
      local M = {}
      DECL
      function M.get() return NAME end
      function M.set(new) NAME = new end
      function M.text() return "@" end
      return M
    ]]):gsub("DECL", (decl:gsub("MADE", function() return made end))):gsub("NAME", name)
    return (text:gsub("@", version))
  end

  --- The n-th file, opened.
  local function opened(n) return ("io.open(%q)"):format(files[n]) end
  --- The same, by an expression that the text does not tell.
  local function chosen(n) return ("%s or 1 + 1"):format(opened(n)) end

  local function counts(report)
    return { report.data.differing, report.data.replaced, #report.warnings }
  end

  for _, place in ipairs(PLACES) do
    local where = place[1]
    for _, data in ipairs { "keep", "merge" } do
      it(("stays where the file says the same: %s, data %s"):format(where, data), function()
        local M = app:module("m", module(place, opened(1), 1))
        local log = M.get()
        log:read(1)
        assert.same({ 0, 0, 0 }, counts(app:reloaded("m", { data = data })))
        assert.same({ 0, 0, 0 },
          counts(app:update("m", module(place, opened(1), 2), { data = data })))
        assert.same({ log, "2", "ext1" }, { M.get(), M.text(), log:read "a" })
      end)
    end

    it("stays and is counted where the file makes another one, and follows with merge: " .. where,
      function()
        local M = app:module("m", module(place, opened(1), 1))
        local log = M.get()
        assert.same({ 1, 0, 0 }, counts(app:update("m", module(place, opened(2), 1))))
        assert.equal(log, M.get())
        app:update("m", module(place, opened(1), 1))
        assert.equal(log, M.get())
        app:update("m", module(place, opened(2), 1), { data = "merge" })
        assert.equal("text2", M.get():read "a")
      end)

    for _, data in ipairs { "keep", "merge" } do
      it(("stays and is counted where the text does not tell what makes it: %s, data %s"):format(
        where, data), function()
        local M = app:module("m", module(place, chosen(1), 1))
        local log = M.get()
        assert.same({ 0, 0, 0 }, counts(app:reloaded("m", { data = data })))
        assert.same({ 1, 0, 0 },
          counts(app:update("m", module(place, chosen(2), 1), { data = data })))
        assert.equal(log, M.get())
        app:update("m", module(place, chosen(2), 1), { data = "replace" })
        assert.equal("text2", M.get():read "a")
      end)
    end

    it("that the program has replaced stays as it is: " .. where, function()
      local M = app:module("m", module(place, opened(1), 1))
      local own = io.tmpfile()
      M.set(own)
      for _, data in ipairs { "keep", "merge" } do
        assert.same({ 0, 0, 0 }, counts(app:reloaded("m", { data = data })))
        assert.equal(own, M.get())
      end
    end)
  end

  for _, data in ipairs { "keep", "merge" } do
    it("stays where a function that the chunk calls puts it into a field, data " .. data, function()
      local place = { "", "local t = {} function M.open() t.log = MADE end M.open()", "t.log" }
      local M = app:module("m", module(place, opened(1), 1))
      local log = M.get()
      for _ = 1, 2 do
        assert.same({ 0, 0, 0 }, counts(app:reloaded("m", { data = data })))
        assert.equal(log, M.get())
      end
      assert.same({ 1, 0, 0 },
        counts(app:update("m", module(place, opened(2), 1), { data = data })))
      assert.equal(log, M.get())
      app:update("m", module(place, opened(2), 2), { data = "replace" })
      assert.same({ "text2", "2" }, { M.get():read "a", M.text() })
    end)
  end
end)
