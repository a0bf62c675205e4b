#!/usr/bin/env lua5.4
-- No line of the repository is wider than 100 characters.
--
--   lua5.4 scripts/width.lua [--record]
--
-- Not counted, because nothing could break them:
--   * a line without a blank behind its indentation and comment mark, such as a long address;
--   * in Markdown, the row of a table, a line that defines or consists of a link, and code, which a
--     check of the program's own file covers;
--   * data: what programs print (`*.txt`), pictures, `Cargo.lock`, the licence, fixtures.
--
-- scripts/width.txt lists the files that had wider lines when this check began, and how many. A
-- file may have fewer, never more. `--record` writes the list anew, and refuses to add to it.

local MOST = 100
local RECORD = "scripts/width.txt"
local DATA = {
  "%.txt$", "%.svg$", "^Cargo%.lock$", "^fuzz/Cargo%.lock$", "^LICENSE$", "^spec/fixtures/",
}

local function is_data(path)
  for _, pattern in ipairs(DATA) do
    if path:find(pattern) then return true end
  end
end

--- The numbers of a file's wide lines.
local function wide_lines(path)
  local found, number, is_code = {}, 0, false
  local is_markdown = path:find "%.md$"
  for line in io.lines(path) do
    number = number + 1
    if is_markdown and line:find "^%s*```" then is_code = not is_code end
    local words = line:gsub("^[%s/*#!>-]+", ""):gsub("^%d+%.%s+", "")
    local is_bound = not words:find "%s"
      or is_markdown and (is_code or line:find "^%s*|" or words:find "^%[[^%]]*%]:? ?%S*$")
    if (utf8.len(line) or #line) > MOST and not is_bound then found[#found + 1] = number end
  end
  return found
end

local function recorded()
  local known = {}
  local file = io.open(RECORD)
  for line in file and file:lines() or function() end do
    local count, path = line:match "^(%d+) (.+)$"
    if path then known[path] = tonumber(count) end
  end
  if file then file:close() end
  return known, file ~= nil
end

local known, has_record = recorded()
local record, wide, faults, better = {}, 0, 0, 0
local pipe = assert(io.popen "git ls-files --cached --others --exclude-standard")
for path in pipe:lines() do
  local file = not is_data(path) and io.open(path)
  if file then
    file:close()
    local lines, allowed = wide_lines(path), known[path] or 0
    if #lines > allowed and has_record then
      faults = faults + 1
      print(("%s: %d line(s) wider than %d characters, where %d are on record: %s"):format(path,
        #lines, MOST, allowed, table.concat(lines, " ")))
    end
    if #lines < allowed then better = better + 1 end
    if #lines > 0 then record[#record + 1] = ("%d %s\n"):format(#lines, path) end
    wide = wide + #lines
  end
end
assert(pipe:close(), "git ls-files")

if arg[1] == "--record" and faults == 0 then
  local file = assert(io.open(RECORD, "w"))
  file:write(table.concat(record))
  file:close()
elseif better > 0 then
  print(("width: %d file(s) have fewer wide lines than on record: make width"):format(better))
end
print(("width: %d wide line(s) in %d file(s), %d file(s) with too many")
  :format(wide, #record, faults))
os.exit(faults == 0, true)
