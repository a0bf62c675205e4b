-- README.md: what it shows is run, what it names exists.
--
-- A block of Lua that starts with `-- name.lua` is that file; `-- name.lua, corrected` is the version that takes its
-- place when the program before it calls `io.read`. Any other block, and `-- main.lua`, is a program: each runs in a
-- process of its own, in the directory of the files so far. A block of text is what the last program prints.

local program = require "spec.support.program"

local function read(path)
  local file = assert(io.open(program.root .. "/" .. path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

local readme = read "README.md"

--- The fenced blocks: { language, text, line }.
local function blocks()
  local found, language, lines, start, number = {}, nil, nil, nil, 0
  for line in readme:gmatch "([^\n]*)\n" do
    number = number + 1
    local fence = line:match "^```(%w*)$"
    if fence and not language then
      language, lines, start = fence, {}, number + 1
    elseif fence then
      found[#found + 1] = { language = language, text = table.concat(lines, "\n") .. "\n", line = start }
      language = nil
    elseif language then
      lines[#lines + 1] = line
    end
  end
  assert(language == nil, "README.md ends within a block")
  return found
end

--- The programs: { source, line, files, corrections, output }.
local function programs()
  local found, files = {}, {}
  for _, block in ipairs(blocks()) do
    if block.language == "lua" then
      local name, corrected = block.text:match "^%-%- ([%w_]+)%.lua(,? ?%w*)\n"
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
    elseif block.language == "text" then
      found[#found].output = block.text
    end
  end
  return found
end

describe("README.md", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local function run(subject)
    for name, text in pairs(subject.files) do
      app:write(name, text)
    end
    local preamble = { "package.path = './?.lua;' .. package.path io.read = function()" }
    for name, text in pairs(subject.corrections) do
      app:write_file(name .. ".corrected", text)
      preamble[#preamble + 1] = ("assert(os.rename(%q, %q))"):format(name .. ".corrected", name .. ".lua")
    end
    preamble[#preamble + 1] = "end\n"
    return app:subprocess(table.concat(preamble, " ") .. subject.source)
  end

  for _, subject in ipairs(programs()) do
    it(("shows a program in line %d that runs%s"):format(subject.line,
      subject.output and ", and prints what follows" or ""), function()
      local output, code, errors, how = run(subject)
      assert.are.equal("", errors)
      assert.are.equal("exit 0", how .. " " .. code)
      if subject.output then
        assert.are.equal(subject.output, output)
      end
    end)
  end

  it("shows no Lua that does not compile", function()
    for _, block in ipairs(blocks()) do
      if block.language == "lua" then
        assert(load(block.text, ("=README.md:%d"):format(block.line)))
      end
    end
  end)

  it("names each target of the Makefile, and no other", function()
    local named, targets = { help = true, install = true }, {}
    for target in readme:gmatch "`make (%l+)`" do
      named[target] = true
    end
    for target in read "Makefile":gmatch "\n(%l+):" do
      targets[target] = true
    end
    assert.are.same(targets, named)
  end)

  it("asks for the Rust that Cargo.toml asks for", function()
    local version = read "Cargo.toml":match '\nrust%-version = "([%d.]+)"'
    assert.are.equal(version, readme:match "%[Rust%]%(%S+%) ([%d.]+) or later")
  end)

  it("links to files that exist", function()
    for path in readme:gmatch "%]%(([^):#]+)%)" do
      assert.is_truthy(io.open(program.root .. "/" .. path), path)
    end
  end)

  it("names the options that the library's types declare", function()
    local named, declared = {}, {}
    for name in readme:match "\n## Options\n(.-)\n## ":gmatch "\n| `([%w_]+)`" do
      named[name] = true
    end
    for name in read "lua/hotreload/meta.lua":match "@class hotreload%.Options\n(.-)\n\n":gmatch "@field ([%w_]+)" do
      declared[name] = true
    end
    assert.are.same(declared, named)
  end)
end)
