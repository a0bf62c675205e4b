-- What admins may type. They come from this machine alone: the port is bound to 127.0.0.1. Whoever
-- may log in to the machine may reload what stands in its files; nobody can send code.

local accounts = require "accounts"
local hotreload = require "hotreload"
local reloads = require "reloads"
local server = require "server"
local timers = require "timers"

local admin = {}

local handlers = {}

--- Sends a text, and a line that ends it.
local function answer(connection, text)
  for line in tostring(text):gmatch "[^\n]+" do server.send(connection, line) end
  server.send(connection, ".")
end

function handlers.changed()
  local names, problems = hotreload.changed()
  local lines = { table.concat(names, " ") }
  for name, message in pairs(problems) do
    lines[#lines + 1] = name .. ": " .. message:match "[^\n]*"
  end
  return table.concat(lines, "\n")
end

function handlers.dry(name)
  return select(2, gg.reload(name, { dry_run = true }))
end

function handlers.reload(name)
  local ok, result = gg.reload(name)
  return ok and ("reloaded %s, generation %d"):format(name, result.generation) or result
end

function handlers.undo(name)
  local ok, message = hotreload.undo(name)
  return ok and "undone" or message
end

function handlers.failing()
  return reloads.failing()
end

function handlers.status()
  return ("%d account(s), %d timer(s), %d KiB"):format(accounts.count(), timers.pending(),
    collectgarbage "count" // 1)
end

function handlers.stop()
  server.stop()
  return "stopping"
end

--- Handles one line of an admin.
function admin.handle(connection, line)
  local name, rest = line:match "^%s*(%S+)%s*(.-)%s*$"
  local handler = handlers[name]
  answer(connection,
    handler and handler(rest) or "changed, dry NAME, reload NAME, undo NAME, failing, status, stop")
end

return admin
