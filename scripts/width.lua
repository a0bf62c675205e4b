#!/usr/bin/env lua5.4
-- No line of the repository is wider than 100 characters.
--
--   lua5.4 scripts/width.lua
--
-- Not counted, because nothing could break them:
--   * a line without a blank behind its indentation and comment mark, such as a long address;
--   * in Markdown, the row of a table, a line that defines or consists of a link, and code, which a
--     check of the program's own file covers;
--   * data: what programs print (`*.txt`), pictures, `Cargo.lock`, the licence, fixtures.

local MOST = 100
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

local wide, files = 0, 0
local pipe = assert(io.popen "git ls-files --cached --others --exclude-standard")
for path in pipe:lines() do
  local file = not is_data(path) and io.open(path)
  if file then
    file:close()
    local lines = wide_lines(path)
    if #lines > 0 then
      wide, files = wide + #lines, files + 1
      print(("%s: %d line(s) wider than %d characters: %s"):format(path, #lines, MOST,
        table.concat(lines, " ")))
    end
  end
end
assert(pipe:close(), "git ls-files")

print(("width: %d wide line(s) in %d file(s)"):format(wide, files))
os.exit(wide == 0, true)
