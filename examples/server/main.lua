-- A small game server that is reloaded while it serves: lua5.4 main.lua PORT ADMIN_PORT FLAG_FILE
--
-- Port 0 stands for any free one; the first line that it prints names the ports. It listens on
-- 127.0.0.1 alone. This file is what cannot be hot: a loop that never returns goes on with its old
-- code. So it only calls, through the module's table, what can be.

local port, admin_port, flag = tonumber(arg[1]), tonumber(arg[2]), arg[3]
if not (port and admin_port and flag) then
  io.stderr:write "usage: lua5.4 main.lua PORT ADMIN_PORT FLAG_FILE\n"
  os.exit(2)
end
io.stdout:setvbuf "line"

require "hotreload"
local server = require "server"
local reloads = require "reloads"
require "commands"
require "admin"

server.listen(port, "players")
server.listen(admin_port, "admins")
reloads.start(flag)
print(("listening: players on %d, admins on %d"):format(server.port "players",
  server.port "admins"))

while server.is_running() do
  server.step()
  reloads.step()
end
print "stopped"
