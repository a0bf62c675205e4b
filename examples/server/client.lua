-- Plays on one connection while the server's code changes under it:
-- lua5.4 client.lua PORT ADMIN_PORT FLAG_FILE DIRECTORY
--
-- It edits the modules of the server in DIRECTORY as a person would: it writes a new file and
-- renames it to the old name. What it prints is the same in each run; transcript.txt has it.

local socket = require "socket"

local port, admin_port, flag, directory = arg[1], arg[2], arg[3], arg[4]
local PATIENCE <const> = 20

local function connect(to)
  local connection = assert(socket.connect("127.0.0.1", to))
  connection:settimeout(PATIENCE)
  return connection
end

local player, admin = connect(port), connect(admin_port)

local function hear()
  local line = assert(player:receive())
  print("  < " .. line)
  return line
end

local function say(line)
  print("  > " .. line)
  assert(player:send(line .. "\n"))
  return hear()
end

local function ask(line)
  print("  admin> " .. line)
  assert(admin:send(line .. "\n"))
  for answer in function() return assert(admin:receive()) end do
    if answer == "." then break end
    print("  admin< " .. answer)
  end
end

--- Replaces texts in a module's file: edit(name, from, to, from, to, ...).
local function edit(name, ...)
  local path = ("%s/%s.lua"):format(directory, name)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  for i = 1, select("#", ...), 2 do
    local from, to = select(i, ...)
    local first, last = text:find(from, 1, true)
    assert(first, "not in " .. path .. ": " .. from)
    text = text:sub(1, first - 1) .. to .. text:sub(last + 1)
  end
  file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local function wait_until(what, done)
  local deadline = socket.gettime() + PATIENCE
  while not done() do
    assert(socket.gettime() < deadline, "in vain: " .. what)
    socket.sleep(0.02)
  end
end

print "== a player comes, hits, and lies down for a while"
say "login ann"
say "hit"
say "hit"
say "rest 3"

print "== battle.lua is edited; the watcher takes it. The connection, the damage and the \z
  timer are the same"
edit("battle", "return 10 +", "return 100 +", '"you get up, %s"',
  '"you get up, %s, and feel strong"')
hear()
say "hit"
hear() -- the timer that was set before

print "== battle.lua is broken; the server goes on, and takes it when it is mended"
edit("battle", "total = total + points", "total = total +")
wait_until("the watcher's report", function()
  admin:send "failing\n"
  local line = admin:receive()
  local last = line
  while last ~= "." do last = assert(admin:receive()) end
  return line:find "battle%.lua:%d+:"
end)
say "hit"
edit("battle", "total = total +", "total = total + 1000 + points")
hear()
say "hit"

print "== an admin takes that back at once, and the file is put right after; the damage stays"
ask "undo battle"
say "hit"
edit("battle", "1000 + points", "points")
ask "changed"

print "== accounts.lua is edited; an admin looks, then reloads"
edit("accounts", "// 100", "// 10")
ask "changed"
ask "reload accounts"
say "me"

print "== commands.lua and server.lua are edited together; a flag file, \z
  as SIGHUP would be, asks for both"
edit("server", "--- Sends a line to all players.",
  "server.greeting = 'hello'\n\n--- Sends a line to all players.")
edit("commands", "function handlers.me(", "function handlers.wave(connection)\n"
  .. "  server.send(connection, server.greeting .. ', ' .. \z
    connection.data.account.name)\nend\n\nfunction handlers.me(")
assert(io.open(flag, "w")):close()
wait_until("the server's taking the flag", function() return not exists(flag) end)
for _ = 1, 2 do hear() end
say "wave"
say "me"

print "== and nothing is left to do"
ask "failing"
say "quit"
ask "stop"
