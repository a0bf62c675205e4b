-- examples/prosody: code of a running Prosody is replaced from its admin console, a library and a
-- plugin. Tried where Prosody is installed, with an instance of its own: a configuration in a
-- temporary folder, ports of 127.0.0.1.

local program = require "spec.support.program"

local LIBRARY = "/usr/lib/prosody/util/human/units.lua"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

local function replaced(text, from, to)
  local first, last = text:find(from, 1, true)
  assert(first, from)
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

describe("examples/prosody", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  it("reloads a library and a plugin of a running Prosody, and keeps the plugin's count", function()
    local has_socket, socket = pcall(require, "socket")
    if not has_socket or not os.execute "command -v prosody >/dev/null" or not io.open(LIBRARY) then
      return pending "Prosody is not installed (Debian: prosody)"
    end
    local dir = app.dir
    for _, name in ipairs { "mod_hotreload.lua", "mod_greeter.lua" } do
      app:write_file("plugins/" .. name, read("examples/prosody/" .. name))
    end
    for _, name in ipairs { "data/none", "certs/none", "patches/none" } do
      app:write_file(name, "")
    end
    local listener = assert(socket.bind("127.0.0.1", 0))
    local port = select(2, listener:getsockname())
    listener:close()
    app:write_file("prosody.cfg.lua", ([[
      pidfile, data_path, certificates = "%s/data/pid", "%s/data", "%s/certs"
      plugin_paths, hotreload_patches = { "%s/plugins" }, "%s/patches"
      log = { info = "*console" }
      modules_enabled, modules_disabled = { "admin_telnet", "hotreload" },
        { "s2s", "c2s", "tls", "posix" }
      console_ports, console_interfaces, console_banner = { %d }, { "127.0.0.1" }, "ready"
      c2s_ports, s2s_ports, http_ports, https_ports = {}, {}, {}, {}
      VirtualHost "localhost"
        modules_enabled = { "greeter" }
    ]]):format(dir, dir, dir, dir, dir, port))
    -- Unprivileged, also where the specs run as root; the checkout may be for root alone, so the
    -- library comes along.
    assert(os.execute(("mkdir %s/library && cp -r %s/lua %s/build/hotreload.so %s/library && \z
      chmod -R a+rwX %s"):format(
      dir, program.root, program.root, dir, dir)))
    assert(os.execute(([[
      cd %s && export LUA_PATH_5_4='%s/library/lua/?.lua;;' LUA_CPATH_5_4='%s/library/?.so;;'
      -- config %s/prosody.cfg.lua -F >%s/log 2>&1 </dev/null & echo $! >%s/started
      %s timeout 60 prosody
    ]]):format(dir, dir, dir,
      program.is_root and "setpriv --reuid=nobody --regid=nogroup --clear-groups" or "", dir,
      dir, dir)))
    finally(function() os.execute(("kill $(cat %s/started) 2>/dev/null"):format(dir)) end)

    local console
    local deadline = socket.gettime() + 30
    repeat
      socket.sleep(0.05)
      console = socket.connect("127.0.0.1", port)
    until console or socket.gettime() > deadline
    assert(console, read(dir .. "/log"))
    console:settimeout(20)
    assert.equal("ready", (assert(console:receive()):gsub("^[| ]*", "")))

    --- What the console says to a line, up to its result.
    local function say(line)
      assert(console:send(line .. "\n"))
      local answer
      repeat
        answer = assert(console:receive(), line):gsub("^%A*", "") -- a bar, and telnet's "go ahead"
      until answer:find "^OK: " or answer:find "^Result: " or answer:find "^Error: "
      return answer
    end
    local greet = '> prosody.hosts.localhost.events.fire_event("greet", { name = "ann" })'
    local units = '> require "util.human.units".format(1500, "B")'

    -- A plugin: its hook stays registered once, its count goes on.
    assert.equal("Result: hello ann, you are number 1", say(greet))
    local plugin = read(dir .. "/plugins/mod_greeter.lua")
    app:write_file("plugins/mod_greeter.lua", replaced(plugin, "hello %s", "good day %s"))
    assert.equal("OK: nothing was changed", say 'hot:dry("mod_greeter", "localhost")')
    assert.equal("Result: hello ann, you are number 2", say(greet))
    assert.matches("^OK: reloaded localhost/mod_greeter: 1 function changed, .* ms$",
      say 'hot:reload("mod_greeter", "localhost")')
    assert.equal("Result: good day ann, you are number 3", say(greet))
    assert.equal("OK: undone", say 'hot:undo("mod_greeter", "localhost")')
    assert.equal("Result: hello ann, you are number 4", say(greet))

    -- A broken plugin is refused, and the old one goes on.
    app:write_file("plugins/mod_greeter.lua", "return {")
    assert.matches("^Error: .*mod_greeter%.lua:1:", say 'hot:reload("mod_greeter", "localhost")')
    assert.equal("Result: hello ann, you are number 5", say(greet))

    -- A library: the corrected file comes first in package.path, the packaged one stays as it is.
    assert.equal("Result: 1.5 kB", say(units))
    app:write_file("patches/util/human/units.lua",
      replaced(read(LIBRARY), '"%.3g %s%s"', '"%.2f %s%s"'))
    assert.equal("OK: util.human.units", say 'hot:changed()')
    assert.matches("^OK: reloaded util.human.units: 1 function changed, .* ms$",
      say 'hot:reload("util.human.units")')
    assert.equal("Result: 1.50 kB", say(units))
    assert.equal("OK: undone", say 'hot:undo("util.human.units")')
    assert.equal("Result: 1.5 kB", say(units))
    console:close()
  end)
end)
