-- docs/reliability.md: whatever test, specs and targets it names exist, and each row has a figure.

local document = require "spec.support.document"
local program = require "spec.support.program"

local read = document.read
local page = read "docs/reliability.md"

document.specs("docs/reliability.md", _ENV)

--- The cells of the rows of the tables of promises, but for headings.
local function rows()
  local found = {}
  local promises = assert(page:match "\n## Promises\n.-\n## ")
  for line in promises:gmatch "\n(|[^\n]+|)%f[\n]" do
    local cells = {}
    for cell in line:gmatch "|%s*([^|]*[^|%s])%s*%f[|]" do cells[#cells + 1] = cell end
    if cells[1] ~= "Promise" and not line:find "^| %-%-%-" then
      cells.line = line
      found[#found + 1] = cells
    end
  end
  return found
end

local function exists(path)
  local file = io.open(program.root .. "/" .. path)
  return file ~= nil and file:close()
end

local function targets()
  local found = {}
  for names in ("\n" .. read "Makefile"):gmatch "\n(%l[%l%- ]*):" do
    for name in names:gmatch "%S+" do found[name] = true end
  end
  return found
end

describe("docs/reliability.md", function()
  it("has a promise, a test, a command and a figure in each row", function()
    assert.is_true(#rows() > 10)
    for _, cells in ipairs(rows()) do
      assert.equal(4, #cells, cells.line)
      assert.matches("`", cells[3], cells.line)
      assert.matches("%d", cells[4], cells.line)
    end
  end)

  it("names files that exist", function()
    local count = 0
    for path in page:gmatch "[^%w_/]([%w_]+/[%w_/.-]+%.%l+)" do
      count = count + 1
      assert.is_truthy(exists(path), path)
    end
    assert.is_true(count > 10)
  end)

  it("names targets of the Makefile", function()
    local known, count = targets(), 0
    assert.is_true(known.test)
    for target in page:gmatch "`make ([%l-]+)" do
      count = count + 1
      assert.is_true(known[target], target)
    end
    assert.is_true(count > 0)
  end)

  it("has commands that can be given: a target, a spec, a Rust test", function()
    local known = targets()
    for _, cells in ipairs(rows()) do
      for command in cells[3]:gmatch "`([^`]+)`" do
        local target, spec = command:match "^make ([%l-]+)", command:match "^busted (%S+)$"
        local test, unit = command:match "^RUST %-%-test (%S+)", command:match "^RUST %-%-lib (%S+)"
        local file = test and (exists("tests/" .. test .. ".rs") and test .. ".rs" or test .. "/")
        assert.is_truthy(target and known[target] or spec and exists(spec)
          or test and exists("tests/" .. file)
          or unit and exists("src/" .. unit:gsub("::", "/") .. ".rs"), command)
        -- A spec that the row's own command runs is one that the row speaks of.
        assert.is_truthy(not spec or cells[2]:find(spec, 1, true), cells.line)
        assert.is_truthy(not test or cells[2]:find("tests/" .. file, 1, true), cells.line)
      end
    end
  end)
end)
