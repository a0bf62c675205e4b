-- Documents whose programs are run: README.md, docs/guide.md and others.
--
-- A block of Lua that starts with `-- name.lua` is that file (so is `-- dir/name.lua`); `--
-- name.lua, corrected` is the version that takes its place when the program before it calls
-- `io.read`. Any other block, and `-- main.lua`, is a program: each runs in a process of its own,
-- in the directory of the files so far. A block of text is what the last program prints. A block of
-- Lua behind the line `<!-- not run -->` is compiled only. A block of `diff` whose first line names
-- a file is both: the file of the program before it, and its version when that program calls
-- `io.read`.

local program = require "spec.support.program"

local document = {}

function document.read(path)
  local file = assert(io.open(program.root .. "/" .. path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

--- The fenced blocks of a text: { language, text, line, is_run }.
function document.blocks(text, path)
  local found, language, lines, start, number, before = {}, nil, nil, nil, 0, ""
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local fence = line:match "^```(%w*)$"
    if fence and not language then
      language, lines, start = fence, {}, number + 1
    elseif fence then
      found[#found + 1] = {
        language = language, text = table.concat(lines, "\n") .. "\n", line = start,
        is_run = before ~= "<!-- not run -->",
      }
      language = nil
    elseif language then
      lines[#lines + 1] = line
    end
    if not language and line ~= "" then before = line end
  end
  assert(language == nil, path .. " ends within a block")
  return found
end

--- What a block of `diff` has before, or after: the lines with no mark, and those with this one.
local function side(text, mark)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do
    local first = line:sub(1, 1)
    if first == mark or first == " " or first == "" then lines[#lines + 1] = line:sub(2) end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The headings of a text, without its blocks: a list of { level, title }.
function document.headings(text)
  local found = {}
  for marks, title in ("\n" .. text:gsub("```.-\n```", "")):gmatch "\n(#+) ([^\n]+)" do
    found[#found + 1] = { level = #marks, title = title }
  end
  return found
end

--- The anchors of a text's headings, as a forge makes them: a set.
function document.anchors(text)
  local found = {}
  for _, heading in ipairs(document.headings(text)) do
    local anchor = heading.title:lower()
    for _, mark in ipairs { "，", "、", "：", "？", "。", "“", "”", "《", "》" } do
      anchor = anchor:gsub(mark, "")
    end
    anchor = anchor:gsub("[^%w%-_ \128-\255]", ""):gsub(" ", "-")
    found[anchor] = true
  end
  return found
end

--- The programs among the blocks: { source, line, files, corrections, output }.
function document.programs(blocks)
  local found, files = {}, {}
  for _, block in ipairs(blocks) do
    if block.language == "lua" and block.is_run then
      local name, corrected = block.text:match "^%-%- ([%w_/]+)%.lua(,? ?%w*)\n"
      if name and name ~= "main" and corrected == ", corrected" then
        found[#found].corrections[name] = block.text
        files[name] = block.text
      elseif name and name ~= "main" then
        files[name] = block.text
      else
        local subject = { source = block.text, line = block.line, files = {}, corrections = {} }
        for known, text in pairs(files) do
          subject.files[known] = text
        end
        found[#found + 1] = subject
      end
    elseif block.language == "diff" then
      local name = block.text:match "^ %-%- ([%w_/]+)%.lua\n"
      local last = found[#found]
      last.files[name], last.corrections[name] = side(block.text, "-"), side(block.text, "+")
      files[name] = last.corrections[name]
    elseif block.language == "text" and block.is_run then
      found[#found].output = block.text
    end
  end
  return found
end

--- The installed library that a program needs besides this one, and whether it is there.
local function library_of(source)
  for _, name in ipairs { "luv", "socket" } do
    if source:find('require "' .. name .. '"', 1, true) then
      return name, package.searchpath(name, package.path .. ";" .. package.cpath) ~= nil
    end
  end
end

--- Runs a program in a process of its own; returns what `subprocess` returns.
function document.run(app, subject)
  for name, text in pairs(subject.files) do
    app:write_file(name .. ".lua", text)
  end
  local preamble = { "package.path = './?.lua;' .. package.path io.read = function()" }
  for name, text in pairs(subject.corrections) do
    app:write_file(name .. ".corrected", text)
    preamble[#preamble + 1] = ("assert(os.rename(%q, %q))"):format(name .. ".corrected",
      name .. ".lua")
  end
  preamble[#preamble + 1] = "end"
  if library_of(subject.source) then
    local paths = ("package.path, package.cpath = package.path .. %q, package.cpath .. %q")
    preamble[#preamble + 1] = paths:format(";" .. package.path, ";" .. package.cpath)
  end
  preamble[#preamble + 1] = "\n"
  return app:subprocess(table.concat(preamble, " ") .. subject.source)
end

--- Checks with `assert` (busted's) that each link of a document leads to a file, and to a heading.
function document.check_links(text, path, assert)
  local directory = path:match "^(.*/)[^/]*$" or ""
  local prose = text:gsub("```.-\n```", "")
  for link in prose:gmatch "%]%(([^):#]+)%)" do
    assert.is_truthy(io.open(program.root .. "/" .. directory .. link), link)
  end
  for file, anchor in prose:gmatch "%]%(([^):#]*)#([^)]+)%)" do
    local page = file == "" and text or document.read(directory .. file)
    assert.is_true(document.anchors(page)[anchor], file .. "#" .. anchor)
  end
end

--- The specs of a document: its programs run and print what it says, its other Lua compiles, its
--- links lead somewhere. `busted` is the environment of the spec that asks (`_ENV`): busted gives
--- its functions to specs alone.
function document.specs(path, busted)
  local describe, it, before_each, after_each = busted.describe, busted.it, busted.before_each,
    busted.after_each
  local assert = busted.assert
  local text = document.read(path)
  local blocks = document.blocks(text, path)

  describe(path, function()
    local app
    before_each(function() app = program.new() end)
    after_each(function() app:unload() end)

    for _, subject in ipairs(document.programs(blocks)) do
      it(("shows a program in line %d that runs%s"):format(subject.line,
        subject.output and ", and prints what follows" or ""), function()
        local library, is_there = library_of(subject.source)
        if library and not is_there then
          return busted.pending(library .. " is not installed")
        end
        local output, code, errors, how = document.run(app, subject)
        assert.are.equal("", errors)
        assert.are.equal("exit 0", how .. " " .. code)
        if subject.output then
          assert.are.equal(subject.output, output)
        end
      end)
    end

    it("shows no Lua that does not compile", function()
      for _, block in ipairs(blocks) do
        if block.language == "lua" then
          assert(load(block.text, ("=%s:%d"):format(path, block.line)))
        end
      end
    end)

    it("links to files that exist", function()
      document.check_links(text, path, assert)
    end)
  end)
end

return document
