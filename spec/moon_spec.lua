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

  it("reloads on two nodes of moon's cluster, or on none", function()
    local app, pids = program.new(), {}
    finally(function()
      -- Unique services outlive moon.exit.
      for _, pid in ipairs(pids) do os.execute("kill -9 " .. pid) end
      app:unload()
    end)
    local port = 20000 + math.random(0, 900) * 10
    local function fill(text)
      return (text:gsub("%u%u%u+", { DIR = app.dir, MOON = MOON, ROOT = program.root,
        PORT = tostring(port) }))
    end
    app:write_file("hot.lua", [[
local moon = require "moon"
local hot = require "hotreload.hosts.moon"
hot.coordinate()
if moon.env "NODE" == "1" then
    local cluster = require "cluster"
    hot.fleet({ 1, 2 }, function(node, request) return cluster.call(node, "hot", request) end)
end
moon.dispatch("lua", function(sender, session, request)
    moon.response("lua", sender, session, hot.answer(request))
end)
]])
    app:write_file("door.lua", [[
local moon = require "moon"
require "hotreload.hosts.moon"
local part = require "part"
moon.dispatch("lua", function(sender, session)
    moon.response("lua", sender, session, part.version())
end)
]])
    app:write_file("main.lua", fill [[
local node = ...
if _G["__init__"] then
    node = node[1]
    return { thread = 2, enable_stdout = true, loglevel = "ERROR",
        path = (node == "1" and "DIR" or "DIR/two") .. "/?.lua;DIR/?.lua;"
            .. "MOON/lualib/?.lua;MOON/service/?.lua;ROOT/lua/?.lua",
        cpath = "ROOT/build/?.so" }
end
local moon = require "moon"
local hot = require "hotreload.hosts.moon"
local http = require "moon.http.server"
node = moon.args()[1]
moon.env("NODE", node)
local function write(path, text)
    local file = io.open("DIR/" .. path, "w")
    file:write(text)
    file:close()
end
local function part(version, more)
    return "local moon = require 'moon'\nlocal part = {}\nfunction part.version() return 'v"
        .. version .. "' end\n" .. (more or "") .. "\nreturn part\n"
end
local shown = {}
local function show(...)
    local all = table.pack(...)
    for i = 1, all.n do all[i] = tostring(all[i]) end
    shown[#shown + 1] = table.concat(all, " ")
end
moon.async(function()
    if node == "1" then
        http.on("/cluster", function(request, response)
            response.status_code = 200
            response:write_header("Content-Type", "application/json")
            response:write(('{"host":"127.0.0.1","port":%d}'):format(
                PORT + request:parse_query().node))
        end)
        http.listen("127.0.0.1", PORT)
        write("part.lua", part(1))
        write("two/part.lua", part(1))
    end
    local address = moon.new_service { unique = true, name = "cluster",
        file = "MOON/service/cluster.lua", url = "http://127.0.0.1:PORT/cluster?node=%s" }
    while not moon.call("lua", address, "Listen") do moon.sleep(100) end
    local cluster = require "cluster"
    moon.new_service { unique = true, name = "hot", file = "DIR/hot.lua" }
    for i = 1, 2 do
        moon.new_service { unique = i == 1, name = i == 1 and "door" or "other",
            file = "DIR/door.lua" }
    end
    if node == "2" then return end
    local here = moon.queryservice "door"
    local function both() show(moon.call("lua", here), cluster.call(2, "door")) end
    while not cluster.call(2, "door") do moon.sleep(100) end
    both()
    write("part.lua", part(2))
    show(hot.run "part")
    both()
    write("two/part.lua", part(2))
    show(hot.run("part", "plan"))
    show(hot.run "part")
    both()
    local fails = "function part.__hotfix() if moon.env 'NODE' == '2' then error 'not here' end end"
    write("part.lua", part(3, fails))
    write("two/part.lua", part(3, fails))
    show(hot.run "part")
    both()
    show(hot.run("part", "undo", "@2"))
    both()
    write("out", table.concat(shown, "\n") .. "\nend\n")
end)
]])
    assert(os.execute(("mkdir %s/two"):format(app.dir)))
    local function slurp(name)
      local file = io.open(app.dir .. "/" .. name)
      local text = file and file:read "a" or ""
      if file then file:close() end
      return text
    end
    for node = 1, 2 do
      assert(os.execute(("cd %s && sh -c '%s/moon main.lua %d >log%d 2>&1 & echo $! >pid'"):format(
        app.dir, MOON, node, node)))
      pids[node] = slurp "pid":match "%d+"
    end
    for _ = 1, 600 do
      if slurp "out":find "end\n$" then break end
      os.execute "sleep 0.1"
    end
    local out = slurp "out"
    assert.matches("end\n$", out, nil, slurp "log1" .. slurp "log2")
    local at = 1
    for _, pattern in ipairs {
      "^v1 v1\n", "false reload of part: refused", "its file of module 'part' is another one",
      "\nv1 v1\n", "true plan of part: done, 4 services can",
      "true reload of part: done, 4 services", "\nv2 v2\n", "false reload of part: undone",
      "error, [^\n]*2/:%x+ [^\n]*\n    [^\n]*not here", "\nv2 v2\n",
      "true undo of part: done, 2 of 2 services", "\nv2 v1\n",
    } do
      local from, to = out:find(pattern, math.max(1, at - 1))
      assert.truthy(from, ("%q is missing in\n%s"):format(pattern, out))
      at = to
    end
  end)
end)
