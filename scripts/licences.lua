#!/usr/bin/env lua5.4
-- Reads lines of `package version :: licence` (SPDX), and fails on a licence that the project may
-- not be combined with, or on a package that names none. `A OR B` and `A/B` want one of them that
-- is allowed, `A AND B` both.

local ALLOWED = {
  ["MIT"] = true, ["Apache-2.0"] = true, ["BSD-2-Clause"] = true, ["BSD-3-Clause"] = true,
  ["ISC"] = true, ["Zlib"] = true, ["0BSD"] = true, ["Unlicense"] = true, ["Unicode-3.0"] = true,
  ["Apache-2.0 WITH LLVM-exception"] = true,
}

--- Whether an expression is allowed; nil where it cannot be read.
local function is_allowed(expression)
  local code = expression:gsub("/", " OR "):gsub("%s+WITH%s+", "\0"):gsub("[^%s()]+", function(word)
    if word == "OR" or word == "AND" then return word:lower() end
    return ALLOWED[(word:gsub("%z", " WITH "))] and "true" or "false"
  end)
  local chunk = load("return " .. code, "=licence", "t", {})
  return chunk and chunk()
end

local count, faults = 0, 0
for line in io.lines() do
  local package, licence = line:gsub(" %(%*%)$", ""):match "^(.-) :: (.*)$"
  if package then
    count = count + 1
    if not is_allowed(licence) then
      faults = faults + 1
      print(("%s: the licence is not in scripts/licences.lua: %s"):format(package,
        licence == "" and "(none)" or licence))
    end
  end
end
print(("licences: %d lines of packages, %d fault(s)"):format(count, faults))
os.exit(count > 0 and faults == 0, true)
