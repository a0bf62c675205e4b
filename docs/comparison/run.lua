-- What becomes of a running program when its code is reloaded: twelve programs, several ways.
--
--   lua5.4 docs/comparison/run.lua WAY [CHECKOUT]
--
-- WAY is a name in ways.lua. A way of another library needs CHECKOUT, a checkout of that library.
-- Each program of rows/ runs in a process of its own, in an empty directory. It returns true if
-- the program is as its first line says.

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local ROWS = { "module", "upvalue", "data", "helper", "constant", "object", "held", "closure",
  "handler", "error", "several", "undo" }

--- Runs one program in this process; returns what to print.
local function run(row, way, checkout, directory)
  local root = here .. "/../.."
  package.path = ("%s/?.lua;%s/lua/?.lua;"):format(directory, root) .. package.path
  package.cpath = root .. "/build/?.so;" .. package.cpath
  local ways = dofile(here .. "/ways.lua")
  local chosen = assert(ways[way], "there is no way " .. way)(checkout, directory)

  local case, problem = {}, nil
  function case.write(name, text)
    local file = assert(io.open(("%s/%s.lua"):format(directory, name), "w"))
    file:write(text)
    file:close()
  end
  function case.reload(names)
    local done, ok, message = pcall(chosen.reload, type(names) == "table" and names or { names })
    if not done then ok, message = false, ok end
    if not ok then problem = tostring(message):match "^[^\n]*" end
    return ok
  end
  function case.undo(name)
    if not chosen.undo then problem = "it has no undo" return false end
    return chosen.undo(name)
  end

  local program = assert(loadfile(("%s/rows/%s.lua"):format(here, row)))
  local done, outcome = pcall(program, case)
  if done and outcome == true then return "yes" end
  if not done then problem = tostring(outcome):match "^[^\n]*" end
  return problem and "no: " .. problem or "no"
end

local way, checkout, row, directory = table.unpack(arg)
if row then
  print(run(row, way, checkout, directory))
else
  assert(way, "usage: lua5.4 docs/comparison/run.lua WAY [CHECKOUT]")
  for _, name in ipairs(ROWS) do
    local place = os.tmpname()
    os.remove(place)
    assert(os.execute(("mkdir '%s'"):format(place)))
    local pipe = assert(io.popen(("'%s' '%s' '%s' '%s' %s '%s' 2>&1"):format(arg[-1], arg[0], way,
      checkout or "", name, place)))
    print(("%-9s %s"):format(name, pipe:read "a":match "^[^\n]*"))
    pipe:close()
    os.execute(("rm -r '%s'"):format(place))
  end
end
