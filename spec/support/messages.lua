-- The messages that the library's sources have: each text literal of several words, with "…" for
-- what is put in.

local shell = require "spec.support.shell"

local messages = {}

-- A literal with fewer words is a part of a message, or none.
local LEAST_WORDS = 4
-- Calls whose literals nobody reads but who mends the library.
local INTERNAL = { "caught%(%s*$", "insist%(%s*$", "Panic%(%s*$", "c_lua%(%s*$", "reason = $" }

local function is_internal(before)
  for _, pattern in ipairs(INTERNAL) do
    if before:find(pattern) then return true end
  end
  return false
end

--- A literal as a reader sees it.
local function template(text)
  text = text:gsub("\\\n%s*", ""):gsub("\\[nt]", " "):gsub('\\"', '"')
  text = text:gsub("{{", "\1"):gsub("}}", "\2"):gsub("{[%w_:.*?]*}", "…")
  text = text:gsub("\1", "{"):gsub("\2", "}")
  text = text:gsub("%%[-.%d]*[sdfq]", "…"):gsub("%%%%", "%%")
  return (text:gsub("%s+", " "):gsub("^[%s:;,]+", ""):gsub("[%s:;,]+$", ""))
end

local function word_count(text)
  local count = 0
  for _ in (" " .. text):gmatch "[ ('\"][%l][%l]*" do count = count + 1 end
  return count
end

--- The source with its comments and, of Rust's, its tests blanked out.
local function plain(path)
  local text = shell.read(path)
  if path:find "%.rs$" then
    text = text:gsub("\n#%[cfg%(test%)%]\nmod %w+ {.*", "\n")
    return (("\n" .. text):gsub("\n%s*//[^\n]*", "\n"):gsub("%s//%s[^\n\"]*\n", "\n"))
  end
  return (("\n" .. text):gsub("\n%s*%-%-[^\n]*", "\n"):gsub(" %-%- [^\n\"]*\n", "\n"))
end

--- The messages of a file, sorted.
function messages.of(path)
  local text = plain(path)
  -- Literals that Lua joins, and Rust continues.
  text = text:gsub('"%s*%.%.%s*"', "")
  local found, seen, at = {}, {}, 1
  while true do
    local first, last, literal = text:find('"(.-)"', at)
    if not first then break end
    while literal:match "(\\*)$":len() % 2 == 1 do
      last = text:find('"', last + 1, true)
      literal = text:sub(first + 1, last - 1)
    end
    local message = template(literal)
    if word_count(message) >= LEAST_WORDS and not seen[message]
      and not is_internal(text:sub(math.max(1, first - 40), first - 1)) then
      seen[message], found[#found + 1] = true, message
    end
    at = last + 1
  end
  table.sort(found)
  return found
end

return messages
