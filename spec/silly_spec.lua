-- hotreload.hosts.silly on a real silly (docs/hosts.md): SILLY names a built checkout of a release
-- with Lua 5.4.

local program = require "spec.support.program"

local SILLY = os.getenv "SILLY"

describe("silly", function()
  if not SILLY then
    it("reloads", function() pending "SILLY names no built checkout of silly" end)
    return
  end

  local app, pids, port
  before_each(function()
    app, pids = program.new(), {}
    port = 19000 + math.random(0, 900) * 10
  end)
  after_each(function()
    for _, pid in ipairs(pids) do os.execute("kill " .. pid) end
    app:unload()
  end)

  local function slurp(name)
    local file = io.open(app.dir .. "/" .. name)
    local text = file and file:read "a" or ""
    if file then file:close() end
    return text
  end

  local MAIN = [[
local hot = require "hotreload.hosts.silly"
local time = require "silly.time"
local env = require "silly.env"
local part = require "part"
local ticks = 0
local function tick()
    ticks = ticks + 1
    time.after(10, tick)
end
tick()
require "silly.console" { addr = "127.0.0.1:" .. env.get "console", cmd = {
    hotreload = hot.console,
    state = function() return part.version() .. (ticks > 0 and " ticks" or "") end,
} }
]]

  local function part(version, more)
    app:write_file("part.lua", ([[
local time = require "silly.time"
local part, asked = {}, 0
function part.version() asked = asked + 1 return "v%d " .. asked end
time.after(10, function() part.late = (part.late or 0) + 1 end)
%s
return part]]):format(version, more or ""))
  end

  local function start(number, main, directory)
    local dir = directory and app.dir .. "/" .. directory or app.dir
    app:write_file((directory and directory .. "/" or "") .. "main.lua", main)
    assert(os.execute(("cd %s && sh -c 'timeout 100 %s/silly main.lua -L \"./?.lua;%s/lualib/?.lua;"
      .. "%s/lua/?.lua\" -C \"%s/luaclib/?.so;%s/build/?.so\" --console=%d --cluster=%d "
      .. ">%s/log%d 2>&1 & echo $! >%s/pid'")
      :format(dir, SILLY, SILLY, program.root, SILLY, program.root, port + number, port + 5,
        app.dir, number, app.dir)))
    pids[#pids + 1] = slurp "pid":match "%d+"
  end

  local function console(command, number)
    for _ = 1, 100 do
      local ok = os.execute(([[cd %s && timeout 20 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d &&
        printf "%%s\nquit\n" "%s" >&3 && cat <&3' >answer 2>/dev/null]]):format(app.dir,
        port + (number or 0), command))
      local text = slurp "answer":match "console> (.*)\nconsole> Bye"
      if ok and text then return text end
      os.execute "sleep 0.1"
    end
    error("no console: " .. slurp "answer" .. slurp("log" .. (number or 0)))
  end

  it("gives its modules and its main script new code, and takes it back", function()
    part(1)
    start(0, MAIN)
    assert.equal("v1 1 ticks", console "state")
    part(2)
    assert.matches("^changed: done, 1 service .*\n    part$", console "hotreload changed")
    local text = console "hotreload part"
    assert.matches("^reload of part: done, 1 service", text)
    assert.matches("part.lua:4: time.after is not called again by a reload", text)
    assert.equal("v2 2 ticks", console "state")
    assert.matches("^undo of part: done, 1 of 1 service", console "hotreload part undo")
    assert.equal("v1 3 ticks", console "state")
    assert.matches("^ERR reload of prt: refused.*did you mean 'part'%?", console "hotreload prt")
    part(3, "time.sleep(1)")
    assert.matches("^ERR reload of part: refused.*time.sleep would wait", console "hotreload part")
    text = console "hotreload main"
    assert.matches("^reload of main: done, 1 service", text)
    assert.matches("net.tcplisten is not called again", text)
    assert.equal("v1 4 ticks", console "state")
  end)

  it("reloads in two processes of its cluster, or in none", function()
    local main = [[
local hot = require "hotreload.hosts.silly"
local env = require "silly.env"
local part = require "part"
local cluster, json = require "silly.net.cluster", require "silly.encoding.json"
local port, number = math.tointeger(env.get "cluster"), NUMBER
cluster.serve {
    timeout = 60000,
    marshal = function(_, _, object) return 1, json.encode(object) end,
    unmarshal = function(_, _, text) return json.decode(text) end,
    call = function(_, _, request) return hot.answer(request) end,
}
assert(cluster.listen("127.0.0.1:" .. port + number))
if number == 0 then
    hot.fleet({ "127.0.0.1:" .. port, "127.0.0.1:" .. port + 1 }, function(address, request)
        return cluster.call(assert(cluster.connect(address)), 1, request)
    end)
end
require "silly.console" { addr = "127.0.0.1:" .. env.get "console", cmd = {
    hotreload = hot.console, state = function() return part.version() end,
} }
]]
    local function write(version, more)
      local text = ("local part = {} function part.version() return 'v%d' end %s return part")
        :format(version, more or "")
      app:write_file("part.lua", text)
      app:write_file("two/part.lua", text)
    end
    write(1)
    start(0, (main:gsub("NUMBER", "0")))
    start(1, (main:gsub("NUMBER", "1")), "two")
    local function both() return console "state" .. " " .. console("state", 1) end
    assert.equal("v1 v1", both())
    app:write_file("part.lua", "return { version = function() return 'v2' end }")
    local text = console "hotreload part"
    assert.matches("^ERR reload of part: refused", text)
    assert.matches("its file of module 'part' is another one than that of", text)
    write(2)
    assert.matches("^plan of part: done, 2 services can", console "hotreload part plan")
    assert.matches("^reload of part: done, 2 services", console "hotreload part")
    assert.equal("v2 v2", both())
    write(3, "function part.__hotfix() if require 'silly.env'.get 'console' == '"
      .. port + 1 .. "' then error 'not here' end end")
    text = console "hotreload part"
    assert.matches("^ERR reload of part: undone", text)
    assert.matches("error, 127.0.0.1:" .. port + 6 .. "/silly:\n    [^\n]*not here", text)
    assert.equal("v2 v2", both())
    os.execute("kill " .. pids[2])
    text = console "hotreload part limit=1"
    assert.matches("^ERR reload of part: refused", text)
    assert.matches("error, 127.0.0.1:" .. port + 6 .. ":", text)
    assert.equal("v2", console "state")
  end)
end)
