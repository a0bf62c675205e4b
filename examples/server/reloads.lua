-- How this server gets new code: a watcher for the rules of the game, an admin's command
-- (admin.lua) for single modules, and a flag file for everything that changed.
--
-- The flag file stands for SIGHUP: plain Lua has no signals. `touch FLAG_FILE` asks for a reload,
-- also from a systemd unit (ExecReload=/usr/bin/touch FLAG_FILE) or a deployment script. The server
-- takes the file away when it has reloaded, so that whoever made it sees when it is done.

local hotreload = require "hotreload"
local server = require "server"
local socket = require "socket"
local watch = require "hotreload.watch"

local reloads = {}

local FLAG_INTERVAL <const> = 0.1

local watcher, flag
local flag_due = 0

--- Watches from now on. The callbacks go through the module's table: they stay hot.
function reloads.start(flag_file)
  flag = flag_file
  watcher = watch.new {
    interval = 0.1,
    settle = 0.05,
    filter = { "^battle$" },
    clock = socket.gettime,
    on_reload = function(...) reloads.on_reload(...) end,
    on_error = function(...) reloads.on_error(...) end,
  }
  hotreload.changed() -- from now on a change of data alone is seen as well
end

function reloads.on_reload(name, report)
  print(report.summary)
  server.broadcast(("* new rules: %s"):format(name))
end

function reloads.on_error(name, message)
  print(("not reloaded: %s: %s"):format(name, message))
end

function reloads.failing()
  local lines = {}
  for name, message in pairs(watcher:failing()) do
    lines[#lines + 1] = name .. ": " .. message:match "[^\n]*"
  end
  table.sort(lines)
  return lines[1] and table.concat(lines, "\n") or "none"
end

--- Reloads all that changed, in the order of its needs: all of it or nothing.
function reloads.all()
  local names = watch.order(hotreload.changed())
  if not names[1] then return end
  local ok, result = gg.reload(names)
  if not ok then return print("not reloaded: " .. result) end
  for i, name in ipairs(names) do reloads.on_reload(name, result[i]) end
end

local function take_flag()
  local file = io.open(flag)
  if not file then return end
  file:close()
  reloads.all()
  os.remove(flag)
end

--- For the loop of the server.
function reloads.step()
  watcher:poll()
  local now = socket.gettime()
  if now >= flag_due then
    flag_due = now + FLAG_INTERVAL
    take_flag()
  end
end

return reloads
