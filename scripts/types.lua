-- What emmylua_check, a language server, says of lua/hotreload/meta.lua and of spec/types/uses.lua.
-- meta.lua has to be without fault. Of a line of uses.lua it has to say just what the comment
-- behind that line announces: `--> undefined-field`.

local USES, META = "spec/types/uses.lua", "lua/hotreload/meta.lua"

--- Puts a diagnostic down: path → line → their names, sorted, as one text.
local function add(found, path, line, name)
  local lines = found[path] or {}
  found[path] = lines
  local names = { name }
  for other in (lines[line] or ""):gmatch "%S+" do names[#names + 1] = other end
  table.sort(names)
  lines[line] = table.concat(names, " ")
end

local wanted, count, number = {}, 0, 0
for line in io.lines(USES) do
  number = number + 1
  for name in (line:match "%-%-> ([%l ,-]+)$" or ""):gmatch "[%l-]+" do
    add(wanted, USES, number, name)
    count = count + 1
  end
end

local found, name = {}, nil
local pipe = assert(io.popen "emmylua_check --severity warn lua spec/types 2>&1")
local output = pipe:read "a"
pipe:close()
for line in output:gmatch "[^\n]+" do
  name = line:match "^%l+: .* %[([%l-]+)%]$" or name
  local path, at = line:match "^  %-%-> (.-):(%d+):%d+$"
  for _, checked in ipairs { META, USES } do
    local tail = checked:match "[^/]+/[^/]+$" -- some paths are below the directory that is checked
    if path and path:sub(-#tail) == tail then add(found, checked, tonumber(at), name) end
  end
end

if not output:find "\nCheck " then
  print(output)
  os.exit(false)
end

local faults = {}
local function compare(path, line, said, expected)
  if said == expected then return end
  local message = "%s:%03d: %s is said, %s expected"
  faults[#faults + 1] = message:format(path, line, said or "nothing", expected or "nothing")
end
for _, path in ipairs { META, USES } do
  local said, expected = found[path] or {}, wanted[path] or {}
  for line, names in pairs(said) do compare(path, line, names, expected[line]) end
  for line, names in pairs(expected) do
    if not said[line] then compare(path, line, nil, names) end
  end
end
table.sort(faults)
for _, fault in ipairs(faults) do print(fault) end
print(("types: %d wrong use(s), %d fault(s)"):format(count, #faults))
os.exit(#faults == 0 and count > 0)
