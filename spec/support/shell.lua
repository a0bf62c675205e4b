-- Files and commands, for specs of what is handed over.

local shell = {}

function shell.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

function shell.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

function shell.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs a command; returns what it printed (both streams) and whether it succeeded.
function shell.run(command)
  local pipe = assert(io.popen(("{ %s\n} 2>&1 </dev/null"):format(command)))
  local output = pipe:read "a"
  return output, pipe:close() == true
end

function shell.is_installed(tool)
  return select(2, shell.run("command -v " .. tool))
end

return shell
