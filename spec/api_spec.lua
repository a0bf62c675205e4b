-- The public API in three places, which must agree: the library itself, docs/api.md,
-- lua/hotreload/meta.lua.

local program = require "spec.support.program"
local hotreload = require "hotreload"
local watch = require "hotreload.watch"
local dev = require "hotreload.dev"
local console = require "hotreload.console"

local function read(path)
  local file = assert(io.open(program.root .. "/" .. path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

local api, meta = read "docs/api.md", read "lua/hotreload/meta.lua"
local hosts = read "docs/hosts.md"

--- The public functions of the hosts' modules, by their text: they load within an engine only.
local function functions_of_hosts()
  local found = {}
  for _, file in ipairs { "common", "agent", "coordinator", "skynet", "moon", "silly" } do
    local text = read("lua/hotreload/hosts/" .. file .. ".lua")
    for see, name in text:gmatch "@see hotreload%.hosts%.(%w+) in meta%.lua\nfunction ([%w_.:]+)" do
      assert.equal(file, see)
      found[name:gsub("^adapter", file)] = true
    end
    for name in text:gmatch "\nfunction (%l[%w_]*%.[%w_]+)" do
      name = name:gsub("^adapter", file)
      assert(found[name] or name:find "^ways" or name:find "^actions" or name:find "^node"
        or name:find "^host%." or name:find "^commands%." or name == "skynet.start",
        name .. " is not documented")
    end
  end
  return found
end

local function set(list)
  local among = {}
  for _, name in ipairs(list) do among[name] = true end
  return among
end

--- The section of docs/api.md about a function.
local function section(name)
  local from = api:find("\n### `" .. name .. "(", 1, true)
  assert(from, "docs/api.md says nothing of " .. name)
  return api:sub(from + 1, (api:find("\n##", from + 2, true)))
end

--- The fields of a class of meta.lua: name → type.
local function class(name)
  local fields = {}
  local plain = meta:gsub("@class %(exact%) ", "@class ")
  local body = plain:match("\n%-%-%-@class " .. name:gsub("%.", "%%.") .. "[^\n]*\n(.-)\n\n")
  assert(body, name)
  for field, kind in (body .. "\n"):gmatch "%-%-%-@field ([%w_]+)%??%s+([^\n]*)\n" do
    fields[field] = kind
  end
  return fields
end

local function keys(of)
  local among = {}
  for key in pairs(of) do among[key] = true end
  return among
end

--- The rows of the first table in a text: first column → second column.
local function rows(text)
  local found = {}
  for name, values in text:gmatch "\n| `([%w_]+)` | ([^|]*) |" do found[name] = values end
  return found
end

--- The names in quotes in a text.
local function quoted(text)
  local found = {}
  for value in text:gmatch '"([%w_]+)"' do found[value] = true end
  return found
end

describe("the public API", function()
  after_each(function() hotreload.configure { allow = {}, deny = {} } end)

  it("has the same functions in the library, docs/api.md and meta.lua", function()
    local real = {}
    for name, value in pairs(hotreload) do
      if type(value) == "function" then real["hotreload." .. name] = true end
    end
    for name, value in pairs(watch) do
      if type(value) == "function" then real["watch." .. name] = true end
    end
    for name, value in pairs(getmetatable(watch.new { filter = "^$" }).__index) do
      if type(value) == "function" then real["Watcher:" .. name] = true end
    end
    for name, value in pairs(console) do
      if type(value) == "function" then real["console." .. name] = true end
    end
    local session = console.session { token = "0123456789abcdef" }
    for name, value in pairs(getmetatable(session).__index) do
      if type(value) == "function" then real["Session:" .. name] = true end
    end
    for name in pairs(functions_of_hosts()) do real[name] = true end
    local documented, declared = {}, {}
    for name in hosts:gmatch "\n### `([%w_]+[.:][%w_]+)%(" do documented[name] = true end
    for name in api:gmatch "\n### `([%w_]+[.:][%w_]+)%(" do documented[name] = true end
    for name in meta:gmatch "\nfunction ([%w_]+[.:][%w_]+)%(" do declared[name] = true end
    assert.same(real, documented)
    assert.same(real, declared)
  end)

  it("has the same fields besides", function()
    for name, value in pairs(hotreload) do
      if type(value) ~= "function" then
        assert.truthy(api:find("### `hotreload." .. name .. "`", 1, true), name)
        assert.truthy(meta:find("---@field " .. name .. " ", 1, true), name)
      end
    end
    assert.same(set { "safe_reloads" }, keys(class "gg"))
    assert.truthy(meta:find("\ngg.reload = hotreload.reload\n", 1, true))
    for name in pairs(set { "reload", "safe_reloads" }) do
      assert.not_nil(gg[name])
      assert.truthy(api:find("### `gg." .. name .. "`", 1, true), name)
    end
  end)

  --- Calls a function with one option and returns what it has against it.
  local function complaint(call, option, value)
    local ok, message = pcall(call, { [option] = value })
    return not ok and message or ""
  end

  for title, case in pairs {
    ["hotreload.reload"] = { class = "hotreload.Options",
      call = function(o) hotreload.reload("_G", o) end },
    ["hotreload.plan"] = { class = "hotreload.PlanOptions", also = "hotreload.Options",
      call = function(o) hotreload.plan("_G", o) end },
    ["hotreload.stale"] = { class = "hotreload.StaleOptions",
      call = function(o) hotreload.stale(nil, o) end },
    ["hotreload.changed"] = { class = "hotreload.ChangedOptions", call = hotreload.changed },
    ["hotreload.configure"] = { class = "hotreload.Configuration", call = hotreload.configure },
    ["watch.new"] = { class = "hotreload.WatchOptions", call = watch.new },
    ["console.session"] = { class = "hotreload.SessionOptions", call = console.session },
    ["dev"] = { class = "hotreload.DevOptions", call = function(o)
      o.print = o.print or function() end
      dev(o).stop()
    end },
  } do
    it("has the same options of " .. title .. " in all three, and the same values", function()
      local real = {}
      for name in complaint(case.call, "no such option", 1)
        :match "known: ([%w_, ]+)":gmatch "[%w_]+" do
        real[name] = true
      end
      local declared, documented = class(case.class), rows(section(title))
      -- A language server then knows that no other field is meant.
      assert.truthy(meta:find("\n---@class (exact) " .. case.class, 1, true), case.class)
      if case.also then
        for name, kind in pairs(class(case.also)) do
          if name ~= "dry_run" and name ~= "report" then declared[name] = kind end
        end
        for name, values in pairs(rows(section "hotreload.reload")) do
          if name ~= "dry_run" and name ~= "report" then documented[name] = values end
        end
      end
      assert.same(real, keys(declared))
      assert.same(real, keys(documented))
      for name in pairs(real) do
        local values = complaint(case.call, name, "no such value")
          :match "option '[%w_]+': '(.*)' expected, got"
        if values then
          local among = {}
          for value in values:gmatch "[%w_]+" do among[value] = true end
          assert.same(among, quoted(declared[name]:match "^%S+"), name)
          assert.same(among, quoted(documented[name]), name)
        end
      end
    end)
  end

  it("has the same fields of a report in all three", function()
    local app = program.new()
    finally(function() app:unload() end)
    app:module("m", "return { f = function() end }")
    local report = app:reloaded("m", { dry_run = true })
    local text = api:match "\n## The report\n(.-)\n## "
    local documented = rows(text)
    assert.same(keys(class "hotreload.Report"), keys(documented))
    assert.is_string(report.summary) -- which `pairs` does not give
    documented.summary = nil
    assert.same(keys(report), keys(documented))
    for field, of in pairs {
      functions = "FunctionCounts", cells = "CellCounts", data = "DataCounts",
      elapsed_ms = "Elapsed", paths = "Paths",
    } do
      local inner = keys(class("hotreload." .. of))
      assert.same(inner, keys(report[field]), field)
      if field ~= "paths" then
        local row = text:match("\n| `" .. field .. "` (%b||[^\n]*)")
        local named = {}
        for name in row:gmatch "`([%w_]+)`" do named[name] = true end
        assert.same(inner, named, field)
      end
    end
  end)

  it("is linked from the README", function()
    assert.truthy(read "README.md":find("(docs/api.md)", 1, true))
    assert.truthy(read "README.md":find("(docs/hosts.md)", 1, true))
  end)
end)
