-- docs/semantics/: each example is run, each rule has one, and each number that is cited exists.
-- The format of the examples is in docs/semantics/README.md.

local document = require "spec.support.document"
local program = require "spec.support.program"

local FOLDER = "docs/semantics/"

--- The files below some folders whose names end so: a sorted list of paths from the root.
local function files(folders, ending)
  local found = {}
  local pipe = assert(io.popen(("cd '%s' && find %s -type f"):format(program.root, folders)))
  for path in pipe:lines() do
    if path:find(ending) and not path:find "/packages/" then found[#found + 1] = path end
  end
  pipe:close()
  table.sort(found)
  return found
end

-- Examples -------------------------------------------------------------------------------------

-- What each example's process begins with. `check` compares what `left --> right` has on its sides.
local PREAMBLE = [==[
local hotreload = require "hotreload"
local m, report, message
local function write(name, text)
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
end
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end
local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for k, v in pairs(value) do
    parts[#parts + 1] = ("[%s] = %s"):format(show(k), show(v))
  end
  table.sort(parts)
  return "{ " .. table.concat(parts, ", ") .. " }"
end
-- For examples: a text has this part.
local function has(text, part) return text:find(part, 1, true) ~= nil end
local checks = 0
local function check(line, is, should)
  checks = checks + 1
  is.n, should.n = math.max(is.n, should.n), nil
  for i = 1, is.n do
    if not same(is[i], should[i]) then
      error(("line %d: %s is %s"):format(line, show(should[i]), show(is[i])), 0)
    end
  end
end
local function reload(is_refusal_shown, options)
  message, report = nil, nil
  local ok, result, refused = gg.reload("m", options)
  if ok then report = result else message, report = result, refused end
  if message and not is_refusal_shown then error("refused: " .. message, 0) end
  m = package.loaded.m
end
has("", "")
]==]

--- The parts of an example: { title, name, options, text, line }, or nil and what is wrong.
local function parts_of(block)
  local parts, number = {}, block.line - 1
  for line in block.text:gmatch "([^\n]*)\n" do
    number = number + 1
    local title = line:match "^%-%- (%l+)$" or line:match "^%-%- (file), "
    local name = line:match "^%-%- ([%w_/]+%.lua)$"
    if name or title == "before" or title == "program" or title == "file" or title == "after" then
      parts[#parts + 1] = {
        title = name and "other" or title, name = name, options = line:match "^%-%- file, (.+)$",
        line = number, lines = {},
      }
    elseif parts[1] then
      table.insert(parts[#parts].lines, line)
    else
      return nil, "the block begins with no title"
    end
  end
  return parts
end

--- The script of an example, and how many values it compares; or nil and what is wrong.
local function script_of(block)
  local parts, fault = parts_of(block)
  if not parts then return nil, fault end
  local script, count = { PREAMBLE }, 0
  local function add(...) script[#script + 1] = string.format(...) end
  for i, part in ipairs(parts) do
    local text = table.concat(part.lines, "\n") .. "\n"
    if part.title == "other" then
      add("write(%q, %q)", part.name, text)
    elseif part.title == "before" then
      add("write('m.lua', %q) m = require 'm'", text)
    elseif part.title == "file" then
      local is_refusal_shown = false
      for j = i + 1, #parts do
        if parts[j].title == "file" then break end
        is_refusal_shown = is_refusal_shown or table.concat(parts[j].lines):find "message" ~= nil
      end
      add("write('m.lua', %q) reload(%s, { %s })", text, is_refusal_shown, part.options or "")
    else
      for at, line in ipairs(part.lines) do
        local left, right = line:match "^%s*(.-)%s+%-%->%s+(.+)$"
        if left then
          count = count + 1
          line = ("check(%d, table.pack(%s), table.pack(%s))"):format(part.line + at, left, right)
        end
        script[#script + 1] = line
      end
    end
  end
  if parts[#parts].title ~= "after" then return nil, "the example ends without a part `after`" end
  add("print('compared ' .. checks)")
  return table.concat(script, "\n"), count
end

--- Runs an example; returns nil where it is right, else what is wrong, and how much it compares.
local function run_example(app, block)
  local script, count = script_of(block)
  if not script then return count, 0 end
  if count == 0 then return "the example compares nothing", 0 end
  local output, code, errors, how = app:subprocess(script)
  if how ~= "exit" or code ~= 0 then return errors, count end
  if not output:find(("compared %d\n"):format(count), 1, true) then
    return ("%d values to compare, the example printed %q"):format(count, output), count
  end
  return nil, count
end

-- Rules ----------------------------------------------------------------------------------------

--- A number as a text that sorts: `R3.10` behind `R3.9`.
local function order(id)
  local chapter, rule = id:match "^R(%d+)%.?(%d*)$"
  return ("%03d.%03d"):format(chapter, tonumber(rule) or 0)
end

local pages, rules, by_id = {}, {}, {}
for _, path in ipairs(files(FOLDER, "%.md$")) do
  local text = document.read(path)
  pages[#pages + 1] = { path = path, text = text, blocks = document.blocks(text, path) }
  -- A rule ends where the next heading of its level begins.
  for id, title, body in (text .. "\n## end\n"):gsub("\n## ", "\n\0\n## ")
    :gmatch "\n## (R%d+%.%d+) ([^\n]+)\n([^%z]*)" do
    local rule = { id = id, title = title, body = body, file = path:sub(#FOLDER + 1), path = path }
    rules[#rules + 1] = rule
    assert(by_id[id] == nil, id .. " is there twice")
    by_id[id] = rule
  end
end
table.sort(rules, function(a, b) return order(a.id) < order(b.id) end)

--- The map in README.md: all rules, in the order of their numbers.
local function map()
  local lines = {}
  for _, rule in ipairs(rules) do
    local anchor = (rule.id .. " " .. rule.title):lower():gsub("[^%w%-_ ]", ""):gsub(" ", "-")
    lines[#lines + 1] = ("| %s | [%s](%s#%s) |"):format(rule.id, rule.title, rule.file, anchor)
  end
  return table.concat(lines, "\n")
end

-- Limits ---------------------------------------------------------------------------------------

-- Constants that change no outcome: room for memory, marks and layouts, and bounds of Lua's own.
local NO_LIMITS = {
  ["src/code/mod.rs MAX_DEPTH"] = "Lua's parser nests no deeper",
  ["src/code/constants.rs MAX_STEPS"] = "a function has no more locals",
  ["src/code/definitions/registers.rs MOST_WAITING"] = "Lua's parser nests no deeper",
  ["src/code/definitions/frame.rs MOST_ACTIVE"] = "a function has no more locals",
  ["src/code/tree.rs MOST_ACTIVE"] = "a function has no more locals",
  ["src/lua/heap/objects.rs MOST_CALLS"] = "the sum of two that are listed",
  ["src/lua/heap.rs LEAST"] = "a slice gets on whatever its budget",
  ["src/stages/matching/incoming_graph.rs MOST_ENTRIES"] = "past it tables are read one by one",
  ["src/code/pieces.rs DEEPER"] = "past it the whole text is compiled",
  ["src/code/pieces.rs MOST_MOVED"] = "past it all that is outside of functions is compiled, too",
  ["src/model/kept.rs MOST"] = "past it the whole text is compiled",
  ["src/lua/shared/files.rs MOST"] = "past it a state compiles the file itself",
  ["src/lua/collector.rs MOST"] = "of the collector's pace",
  ["src/model/lineage.rs MOST"] = "listed without its name: it is computed",
  ["src/support/mem.rs MOST_SPREAD"] = "which way numbers are sorted",
}

--- The numbers of constants in a file: name -> text.
local function constants_of(path)
  local found = {}
  for line in document.read(path):gmatch "[^\n]+" do
    local name, value = line:match "const ([%u_]+): [^=]*= (.-);"
    if name then found[name] = value end
    local names, values = line:match "^local ([%a_, ]+) = ([%d., ]+)$"
    for one in (names or ""):gmatch "[%a_]+" do
      found[one], values = values:match "^([%d.]+)[, ]*(.*)$"
    end
  end
  return found
end

--- A number as Rust or Lua writes it: `1_000`, `1 << 13`, `Duration::from_secs(2)`.
local function number_of(text)
  local base, shift = text:match "^(%d+) << (%d+)$"
  if base then return tonumber(base) << tonumber(shift) end
  return tonumber((text:match "from_secs%((%d+)%)" or text):gsub("_", ""), 10)
    or tonumber((text:gsub("_", "")))
end

describe("an example of the contract", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  local function fault_of(text)
    return (run_example(app, { text = text, line = 1 }))
  end

  local EXAMPLE = "-- before\nreturn { f = function() return 1 end }\n"
    .. "-- file\nreturn { f = function() return 2 end }\n-- after\nm.f() --> %s\n"

  it("is right where each value is what the page says", function()
    assert.is_nil(fault_of(EXAMPLE:format "2"))
  end)

  it("is wrong where a value is another one", function()
    assert.matches("line 6: 1 is 2", fault_of(EXAMPLE:format "1"), 1, true)
  end)

  it("is wrong where it compares nothing, ends early, or is refused without a word", function()
    assert.matches("compares nothing", fault_of "-- before\nreturn {}\n-- after\nlocal x = 1\n")
    assert.matches("1 values to compare",
      fault_of "-- before\nreturn {}\n-- after\nos.exit(0)\nm --> m\n")
    assert.matches("refused", fault_of((EXAMPLE:format "2":gsub("return 2 end", "return 2 ent"))))
  end)

  it("is wrong where a part is missing", function()
    assert.matches("no title", fault_of "return {}\n")
    assert.matches("without a part `after`", fault_of "-- before\nreturn {}\n")
  end)
end)

describe("the contract", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, page in ipairs(pages) do
    for _, block in ipairs(page.blocks) do
      if block.language == "lua" then
        local what = "has an example in %s, line %d, that is right"
        it(what:format(page.path, block.line), function()
          assert.is_nil((run_example(app, block)))
        end)
      end
    end

    it("links to what exists, in " .. page.path, function()
      document.check_links(page.text, page.path, assert)
    end)
  end

  it("has rules, each with an example or a spec that exists, its limits and its reason", function()
    assert.is_true(#rules > 60, #rules)
    local shown = 0
    for _, rule in ipairs(rules) do
      local what = ("%s in %s"):format(rule.id, rule.path)
      if rule.body:find("\n```lua\n", 1, true) then
        shown = shown + 1
      else
        local spec = rule.body:match "%*Shown by%* `(spec/[%w_/]+%.lua)`"
          or rule.body:match "%*Shown by%* `(tests/[%w_/]+%.rs)`"
        assert.is_truthy(spec, what .. " has no example")
        assert.is_truthy(io.open(program.root .. "/" .. spec), spec)
      end
      assert.is_truthy(rule.body:find("\n*Not covered:* ", 1, true), what .. ": not covered")
      assert.is_truthy(rule.body:find("\n*Why:* ", 1, true), what .. ": why")
    end
    assert.is_true(shown * 5 >= #rules * 4, shown)
  end)

  it("has a map of all rules, and a page for each chapter", function()
    local text = document.read(FOLDER .. "README.md")
    assert.are.equal(map(), text:match "\n| Number | Rule |\n| %-%-%- | %-%-%- |\n(.-)\n\n")
    for _, page in ipairs(pages) do
      local name = page.path:sub(#FOLDER + 1)
      if name ~= "README.md" then
        assert.is_truthy(text:find(("](%s)"):format(name), 1, true), name)
      end
    end
  end)

  it("has the limits that the program has", function()
    local listed, count = {}, 0
    for cells in document.read(FOLDER .. "limits.md"):gmatch "\n| (%d[^\n]+) |" do
      local number = cells:match "^([%d.,]+) |"
      local path, name = cells:match "| `([%w_/.]+)` `([%w_]+)`$"
      if path then
        local value = constants_of(path)[name]
        assert.is_truthy(value, path .. " has no " .. name)
        assert.are.equal(tonumber((number:gsub(",", ""))), number_of(value), path .. " " .. name)
        listed[path .. " " .. name] = true
        count = count + 1
      end
    end
    assert.is_true(count > 60, count)
    for _, path in ipairs(files("src lua", "%.[rl][su]a?$")) do
      for name in pairs(constants_of(path)) do
        local id = path .. " " .. name
        if name:find "MOST" or name:find "MAX_" or name:find "DEEP" or name:find "DEPTH"
          or name:find "LEAST" or name:find "MARGIN" or name:find "ROUNDS" or name:find "SMALL"
          or name:find "LONGEST" or name:find "BUDGET" or name:find "LIMIT" then
          assert.is_truthy(listed[id] or NO_LIMITS[id], id .. " is not in limits.md")
        end
      end
    end
  end)

  it("says of each limit that changes an outcome what tells of it", function()
    local text, count = document.read(FOLDER .. "limits.md"), 0
    for title, body in (text .. "\n## "):gsub("\n## ", "\n\0\n## ")
      :gmatch "\n## ([^\n]+)\n([^%z]*)" do
      -- The other tables have no such column, and say why.
      if body:find "| Told by |" or body:find "| Where the report shows it |" then
        for cells in body:gmatch "\n| (%d[^\n]+) |" do
          local told = cells:match "^[^|]+|[^|]+|[^|]+| ([^|]+) |"
          assert.is_truthy(told and told ~= "none" and told:find "%a%a", title .. ": " .. cells)
          count = count + 1
        end
      end
    end
    assert.is_true(count > 50, count)
  end)

  it("has each number that code, specs and pages cite", function()
    local text = document.read(FOLDER .. "README.md")
    local chapters, seen = {}, 0
    for chapter in text:gmatch "\n| (R%d+) |" do chapters[chapter] = true end
    for _, path in ipairs(files("src lua spec tests docs *.md", "%.[%l]+$")) do
      for number in document.read(path):gmatch "%f[%w]R%d+%.?%d*" do
        number = number:gsub("%.$", "")
        seen = seen + 1
        assert.is_truthy(by_id[number] or chapters[number], path .. " cites " .. number)
      end
    end
    assert.is_true(seen > 500, seen)
  end)
end)
