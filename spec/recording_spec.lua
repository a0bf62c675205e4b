-- docs/recording.svg is what scripts/record.lua makes of a run of examples/server, timing aside.

local program = require "spec.support.program"
local shell = require "spec.support.shell"

local PICTURE = "docs/recording.svg"

--- The elements of a picture, without what differs between two runs.
local function elements(svg)
  local body = assert(svg:match "</style>\n(.*)</svg>", svg)
  body = body:gsub("(class=\"[%a ]-) ?t%d+\"", "%1\""):gsub("(%w+) on %d+", "%1 on PORT")
  return (body:gsub("%d+%.%d+ ms", "N ms"))
end

--- The texts of its elements of a class, in their order; "" has those without one.
local function texts(svg, class)
  local found = {}
  for text in elements(svg):gmatch('<text class="' .. class .. '"[^>]*>([^\n]*)</text>') do
    found[#found + 1] = text:gsub("<[^>]*>", "")
  end
  return found
end

describe("docs/recording.svg", function()
  local svg = shell.read(PICTURE)

  it("is small, and shows each element by a style of its own", function()
    assert.is_true(#svg < 60 * 1024, #svg)
    local used = 0
    for name in svg:gmatch 'class="[%a ]-(t%d+)"' do
      used = used + 1
      assert.is_truthy(svg:find("@keyframes " .. name .. "{", 1, true), name)
      assert.is_truthy(svg:find("\n." .. name .. "{opacity:", 1, true), name)
    end
    assert.is_true(used > 20, used)
  end)

  it("can be read on a light and on a dark page, and without animation", function()
    assert.matches("prefers-color-scheme:dark", svg, 1, true)
    assert.matches("prefers-reduced-motion:reduce", svg, 1, true)
    for name in svg:gmatch "var%((%-%-%l+)%)" do
      local _, count = svg:gsub("[{;\n]" .. name .. ":#%x+", "")
      assert.equal(2, count, name)
    end
  end)

  it("shows a reload, a mistake that changes nothing, and its correction", function()
    assert.same({ "reloaded battle: 2 functions changed, state kept (5 upvalues), N ms",
      "reloaded battle: 1 function changed, state kept (5 upvalues), N ms" },
      texts(svg, "reloaded"))
    local mistake = texts(svg, "not")
    assert.matches("^not reloaded: battle: error loading module 'battle': ./battle.lua:13: ",
      mistake[1])
    assert.same({ "&gt; login ann", "&gt; hit", "&gt; hit", "&gt; rest 6", "&gt; hit", "&gt; hit",
      "&gt; hit" }, texts(svg, "said"))
  end)

  for _, page in ipairs { "README.md", "README.zh-CN.md" } do
    it("is shown by " .. page, function()
      assert.matches("\n!%[[^%]]+%]%(docs/recording%.svg%)\n", shell.read(page))
    end)
  end

  it("is what a run of the server gives", function()
    if not pcall(require, "socket") then
      return pending "LuaSocket is not installed (Debian: lua-socket)"
    end
    local app = program.new()
    finally(function() app:unload() end)
    local out = app.dir .. "/recording.svg"
    local output, ok = shell.run(("timeout 100 %s scripts/record.lua %s 0")
      :format(os.getenv "LUA" or "lua5.4", shell.quote(out)))
    assert.is_true(ok, output)
    assert.equal(elements(svg), elements(shell.read(out)))
  end)
end)
