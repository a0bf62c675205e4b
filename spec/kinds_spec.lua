--- R6: the file has another kind of value in a place. Where the program has not touched that, the
-- file's takes the place; where it has, nothing is reloaded before somebody has decided.

local program = require "spec.support.program"

local WRITTEN = {
  number = "7", string = "'text'", table = "{ 'row' }", boolean = "true",
  ["function"] = "function() return 'called' end",
}
local OTHERS = { number = 8, string = "other", table = { "another" },
  ["function"] = function() return "mine" end }
local SCOPES = { "module", "vm" }

local TEXTS = {}
TEXTS.variable = [[
  local value = %s
  local M = {}
  function M.get() return value end
  function M.set(v) value = v end
  return M
]]
TEXTS.field = [[
  local M = { value = %s }
  function M.get() return M.value end
  function M.set(v) M.value = v end
  return M
]]

TEXTS.row = [[
  local M = { rows = { { name = "row", data = { value = %s } } } }
  function M.get() return M.rows[1].data.value end
  function M.set(v) M.rows[1].data.value = v end
  return M
]]
-- So many keys that what stands there goes by its place.
TEXTS.wide = [[
  local M = { wide = { value = %s } }
  for i = 1, 100 do M.wide["key" .. i] = i end
  function M.get() return M.wide.value end
  function M.set(v) M.wide.value = v end
  return M
]]
local PATHS = { variable = "m.get@value", field = "m.value", row = "m.rows[1].data.value",
  wide = "m.wide.value" }

describe("a place whose kind the file changes (R6)", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for where, text in pairs(TEXTS) do
    for _, scope in ipairs(SCOPES) do
      for before, first in pairs(WRITTEN) do
        for after, second in pairs(WRITTEN) do
          local has_function = before == "function" or after == "function"
          if before ~= after and (where == "variable" or not has_function) then
            local title = "takes the file's: %s, %s to %s, scope %s"
            it(title:format(where, before, after, scope), function()
              require "hotreload".track()
              local M = app:module("m", text:format(first))
              for _ = 1, 2 do
                local report = app:update("m", text:format(second), { scope = scope })
                assert.same({}, report.conflicts)
                assert.equal(after, type(M.get()))
              end
              app:update("m", text:format(first), { scope = scope })
              assert.equal(before, type(M.get()))
            end)
          end
          if before ~= after and OTHERS[before] and (where == "variable" or not has_function) then
            local title = "is in conflict once touched: %s, %s to %s, scope %s"
            it(title:format(where, before, after, scope), function()
              require "hotreload".track()
              local M = app:module("m", text:format(first))
              if before == "table" then table.insert(M.get(), "more") else M.set(OTHERS[before]) end
              local running = M.get()
              app:write("m", text:format(second))
              local message, report = app:refused("m", { scope = scope }, M)
              assert.equal(1, #report.conflicts)
              assert.matches(PATHS[where], message, 1, true)
              app:reloaded("m", { scope = scope, on_conflict = "keep" })
              assert.equal(running, M.get())
              app:write("m", text:format(first) .. " ")
              app:reloaded("m", { scope = scope })
              assert.equal(running, M.get())
            end)
          end
        end
      end
    end
  end

  local HEADS = { sets = "local M = {} Shop = M ", keeps = "Shop = Shop or {} local M = Shop " }
  for how, head in pairs(HEADS) do
    it("stays where only the program changed it, in a file of data that " .. how .. " a global",
      function()
        local text = head .. "M.rows = { list = {} }"
        app:module("shop", text)
        rawget(_G, "Shop").rows.list = 0
        app:update("shop", text)
        assert.equal(0, rawget(_G, "Shop").rows.list)
        rawset(_G, "Shop", nil)
      end)
  end

  it("goes by the file alone for what tables look up with, and stays what the program has "
    .. "chosen", function()
    require "hotreload".track()
    local text = [[
      local Base = { hi = function() return "hi" end }
      local Parent = { bye = function() return "bye" end }
      return { C = setmetatable({}, { __index = %s }), Base = Base, Parent = Parent }
    ]]
    local search = "function(_, k) return Base[k] or Parent[k] end"
    local M = app:module("m", text:format "Base")
    for _ = 1, 2 do
      app:update("m", text:format(search))
      assert.same({ "hi", "bye" }, { M.C.hi(), M.C.bye() })
      app:update("m", text:format "Base")
      assert.same({ "hi" }, { M.C.hi(), M.C.bye })
    end
    getmetatable(M.C).__index = function() return "chosen" end
    app:update("m", text:format "Base" .. " ")
    assert.equal("chosen", M.C.hi)
  end)

  it("takes what the same text says now, unless the program has touched the place", function()
    require "hotreload".track()
    app:module("other", "return { value = 'old' }")
    local text = TEXTS.field:format "require('other').value"
    local kept, M = app:module("kept", text), app:module("m", text)
    kept.set "mine"
    app:update("other", "return { value = 7 }")
    for _, name in ipairs { "m", "kept" } do
      assert.same({}, app:reloaded(name).conflicts)
    end
    assert.same({ 7, "mine" }, { M.get(), kept.get() })
  end)

  it("is none where one side is nil or false", function()
    for _, nothing in ipairs { "nil", "false" } do
      local M = app:module("m", TEXTS.variable:format(nothing))
      M.set { "connection" }
      assert.same({}, app:update("m", TEXTS.variable:format(nothing) .. " ").conflicts)
      assert.same({ "connection" }, M.get())
      package.loaded.m = nil
      M = app:module("m", TEXTS.variable:format "{}")
      M.set(nil)
      assert.same({}, app:update("m", TEXTS.variable:format "{}" .. " ").conflicts)
      assert.is_nil(M.get())
      package.loaded.m = nil
    end
  end)

  it("is none with data = 'replace', among data", function()
    local M = app:module("m", TEXTS.variable:format "1")
    M.set(2)
    app:update("m", TEXTS.variable:format "{ 'rows' }", { data = "replace" })
    assert.same({ "rows" }, M.get())
  end)

  it("is a conflict without a record", function()
    local M = app:module("m",
      "local M, hits = {}, 0 function M.hit() hits = hits + 1 return hits end return M")
    M.hit()
    app:write("m",
      "local M, hits = {}, {} function M.hit() hits[#hits + 1] = 1 return #hits end return M")
    local message = app:refused("m", nil, M)
    assert.matches("m.hit@hits: number 1 while it runs, table of 0 entries in the file", message, 1,
      true)
    assert.equal(2, M.hit())
  end)
end)
