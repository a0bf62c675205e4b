-- The Chinese documents: the same headings, blocks, tables and paragraphs as the English ones.

local document = require "spec.support.document"

local PAIRS = {
  { "README.md", "README.zh-CN.md" },
  { "docs/guide.md", "docs/zh/guide.md" },
}

--- The levels of the headings.
local function levels(text)
  local found = {}
  for _, heading in ipairs(document.headings(text)) do found[#found + 1] = heading.level end
  return found
end

--- The blocks, as { language, text }.
local function blocks(text, path)
  local found = {}
  for _, block in ipairs(document.blocks(text, path)) do
    found[#found + 1] = { block.language, block.text }
  end
  return found
end

--- What stands between the blocks of each chapter: how many paragraphs, rows and list entries.
local function shape(text)
  local found = {}
  for chapter in (text:gsub("```.-\n```", "") .. "\n## "):gmatch "(.-)\n## " do
    local rows, entries, paragraphs = 0, 0, 0
    for _ in chapter:gmatch "\n|" do rows = rows + 1 end
    for _ in chapter:gmatch "\n%* " do entries = entries + 1 end
    for _ in chapter:gmatch "\n\n[^\n]" do paragraphs = paragraphs + 1 end
    found[#found + 1] = ("%d rows, %d entries, %d paragraphs"):format(rows, entries, paragraphs)
  end
  return found
end

--- The code in the rows of tables, and the cells that say yes or no.
local function cells(text)
  local found = {}
  for row in text:gmatch "\n(|[^\n]+)" do
    local codes = {}
    for code in row:gsub("rows/(%l+)%.lua", "`%1`"):gmatch "`[^`]+`" do codes[#codes + 1] = code end
    table.sort(codes)
    local answers = row:gsub("是 %f[|]", "yes "):gsub("否 %f[|]", "no ")
    for answer in answers:gmatch "| (%l+) %f[|]" do
      if answer == "yes" or answer == "no" then codes[#codes + 1] = answer end
    end
    found[#found + 1] = table.concat(codes, " ")
  end
  return found
end

for _, pair in ipairs(PAIRS) do
  local english, chinese = pair[1], pair[2]
  document.specs(chinese, _ENV)

  describe(chinese, function()
    local first, second = document.read(english), document.read(chinese)

    it("has the headings of " .. english, function()
      assert.is_true(#levels(first) > 1)
      assert.are.same(levels(first), levels(second))
    end)

    it("has its blocks", function()
      assert.are.same(blocks(first, english), blocks(second, chinese))
    end)

    it("has its paragraphs, lists and rows in each chapter", function()
      assert.are.same(shape(first), shape(second))
    end)

    it("has its code and answers in the tables", function()
      assert.are.same(cells(first), cells(second))
    end)

    it("is linked from there, and links back", function()
      local here, there = chinese:match "[^/]+$", english:match "[^/]+$"
      local top = "^# [^\n]+\n\n[^\n]*%("
      assert.matches(top .. "[%w./-]*" .. here:gsub("[.-]", "%%%0") .. "%)", first)
      assert.matches(top .. "[%w./-]*" .. there:gsub("[.-]", "%%%0") .. "%)", second)
    end)
  end)
end
