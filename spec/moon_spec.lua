-- hotreload.hosts.moon on a real moon (docs/hosts.md): MOON names a built checkout of a release
-- with Lua 5.4, its program in the directory itself.

local program = require "spec.support.program"

local MOON = os.getenv "MOON"

describe("a node of moon", function()
  if not MOON then
    it("reloads", function() pending "MOON names no built checkout of moon" end)
    return
  end

  it("gives 40 services new code by one command, and takes it back", function()
    local app = program.new()
    finally(function() app:unload() end)
    app:write_file("door.lua", [[
local moon = require "moon"
local hot = require "hotreload.hosts.moon"
local part = require "part"
local command = {}
function command.part() return part.version() end
function command.run(...) return hot.run(...) end
moon.dispatch("lua", function(sender, session, name, ...)
    moon.response("lua", sender, session, command[name](...))
end)
]])
    app:write_file("main.lua", ([[
if _G["__init__"] then
    return { thread = 4, enable_stdout = true, loglevel = "ERROR",
        path = "DIR/?.lua;MOON/lualib/?.lua;MOON/service/?.lua;ROOT/lua/?.lua",
        cpath = "ROOT/build/?.so" }
end
local moon = require "moon"
local hot = require "hotreload.hosts.moon"
local out = io.open("DIR/out", "w")
local function show(...)
    local all = table.pack(...)
    for i = 1, all.n do all[i] = tostring(all[i]) end
    out:write(table.concat(all, " "), "\n")
end
local function write(version, more)
    local file = io.open("DIR/part.lua", "w")
    file:write("local moon = require 'moon'\nlocal part, asked = {}, 0\n",
        "function part.version() asked = asked + 1 return 'v" .. version .. " ' .. asked end\n",
        more or "", "\nmoon.timeout(1, function() end)\nreturn part")
    file:close()
end
moon.async(function()
    show(hot.run("part"))
    hot.coordinate()
    write(1)
    local doors = {}
    local function door() return moon.new_service { name = "door", file = "DIR/door.lua" } end
    for i = 1, 40 do doors[i] = door() end
    show("first", moon.call("lua", doors[1], "part"))
    write(2)
    show(hot.run("changed"))
    show(hot.run("part", "plan"))
    show(hot.run("part"))
    show("second", moon.call("lua", doors[40], "part"))
    show("late", moon.call("lua", door(), "part"))
    show(hot.run("part", "undo"))
    show("undone", moon.call("lua", doors[40], "part"))
    show(hot.run("prt"))
    write(3, "function part.__hotfix() if moon.id == " .. doors[7] .. " then error 'no' end end")
    show(hot.run("part"))
    show("kept", moon.call("lua", doors[40], "part"))
    write(4, "moon.sleep(1)")
    show(hot.run("part"))
    write(5)
    show(hot.run("door", "barrier=true"))
    show("elsewhere", moon.call("lua", doors[2], "run", "part", "limit=20"))
    show("fifth", moon.call("lua", doors[40], "part"))
    out:close()
    moon.exit(0)
end)
]]):gsub("%u%u%u+", { DIR = app.dir, MOON = MOON, ROOT = program.root }))
    local command = ("cd %s && timeout 120 %s/moon main.lua >log 2>&1"):format(app.dir, MOON)
    local ended = os.execute(command)
    local function slurp(name)
      local file = io.open(app.dir .. "/" .. name)
      local text = file and file:read "a" or ""
      if file then file:close() end
      return text
    end
    local out = slurp "out"
    assert.is_true(ended, out .. slurp "log")
    local expected = {
      "^false no service of this node has called coordinate%(%)\n", "\nfirst v1 1\n",
      "\ntrue changed: done, 40 services [^\n]*\n  40 services [^\n]*\n    part\n",
      "\ntrue plan of part: done, 40 services can", "part.lua:5: moon.timeout is not called again",
      "\ntrue reload of part: done, 40 services", "\nsecond v2 1\n", "\nlate v2 1\n",
      "\ntrue undo of part: done, 40 of 41 services", "\nundone v1 2\n",
      "\nfalse reload of prt: refused[^\n]*\n  error, all:\n[^\n]*did you mean 'part'%?",
      "\nfalse reload of part: undone, %d+ of 41 services",
      "door:\n    the hook of module 'part' failed",
      "\nkept v1 3\n", "\nfalse reload of part: refused", "moon.sleep would wait",
      "\ntrue reload of door: done, 41 services",
      "\nelsewhere true reload of part: done, 41 services",
      "\nfifth v5 4\n",
    }
    local at = 1
    for _, pattern in ipairs(expected) do
      local from, to = out:find(pattern, math.max(1, at - 1))
      assert.truthy(from, ("%q is missing in\n%s"):format(pattern, out))
      at = to
    end
  end)
end)
