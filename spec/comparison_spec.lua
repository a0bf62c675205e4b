-- The table of README.md, "Why not a script?": each cell is what the row's program in
-- docs/comparison/ says. The columns of other libraries are run where COMPARISON names a directory
-- with checkouts of them.

local document = require "spec.support.document"
local program = require "spec.support.program"

local COLUMNS = { "hotreload", "require", "lume", "ggApp", "luareload", "hotfix", "lua_hotupdate" }
local CHECKOUTS = os.getenv "COMPARISON"

--- The table's cells: column → row → "yes" or "no"; and how many rows there are.
local function cells(path, heading)
  local text = document.read(path):match("\n## " .. heading .. "\n(.-)\n## ")
  local found, count = {}, 0
  for _, column in ipairs(COLUMNS) do found[column] = {} end
  for row, rest in text:gmatch "\n| %[[^\n]-%]%([%w/]*comparison/rows/(%l+)%.lua%) (|[^\n]+)" do
    count = count + 1
    local number = 0
    for cell in rest:gmatch "|%s*([^|]-)%s*%f[|]" do
      number = number + 1
      found[COLUMNS[number]][row] = cell
    end
    assert(number == #COLUMNS, row)
  end
  return found, count
end

describe("the comparison in README.md", function()
  local table_of, count = cells("README.md", "Why not a script%?")

  it("has at most twelve rows", function() assert.is_true(count > 0 and count <= 12) end)

  for _, column in ipairs(COLUMNS) do
    local is_own = column == "hotreload" or column == "require"
    it("says of " .. column .. " what the programs say", function()
      if not is_own and not CHECKOUTS then return pending "COMPARISON names no checkouts" end
      local checkout = is_own and "" or CHECKOUTS .. "/" .. column
      local pipe = assert(io.popen(("lua5.4 '%s/docs/comparison/run.lua' %s '%s' 2>&1"):format(
        program.root, column, checkout)))
      local outcomes = {}
      for line in pipe:lines() do
        local row, outcome = line:match "^(%l+)%s+(%l+)"
        outcomes[row or line] = outcome or line
      end
      assert.is_true(pipe:close())
      assert.are.same(table_of[column], outcomes)
    end)
  end
end)
