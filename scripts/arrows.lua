#!/usr/bin/env lua5.4
-- Which file of src/ imports which: a room may import only from itself and from rooms below it.
-- Besides, which types of src/ share a name.
--
--   lua5.4 scripts/arrows.lua [--draw] [FOLDER]
--
-- The check fails on an import that goes up in the list of rooms below, on a file that is in no
-- room, and on a second type of one name. `--draw` prints the rooms, the arrows between them with
-- the number of imports, and the circles of files (strongly connected components); it fails on
-- nothing. FOLDER is `src` by default.
--
-- What counts as an import: every path to another file of the crate, in a `use` (with nested
-- braces) or inline in code. A path through a re-export (`pub use`) leads to the file that the
-- re-export names; the re-export itself and `mod` lines are no imports. Files below `#[cfg(test)]
-- mod` are left out: a test may use everything.

-- The rooms in order, top first. A name is a file or a folder of src/, without `.rs`; the first
-- entry that is the start of a file's path is its room. Names in one string, separated by blanks,
-- are one room.
local ROOMS = {
  "lib",
  "api",
  "reload",
  "features",
  -- A stage takes what the stages before it hand on. So the last stage stands on top.
  "stages/mod",
  "stages/report", "stages/sweep", "stages/commit", "stages/record", "stages/plan",
  "stages/matching", "stages/load", "stages/effects", "stages/snapshot", "stages/find",
  "model",
  "lua",
  "code",
  "support",
}

-- A file that takes another one's place on some systems: its types are those of the other one.
local STANDS_FOR = { ["lua/late/unknown"] = "lua/late" }

-- ---------------------------------------------------------------------------------------------
-- Reading

--- The code of a Rust file: comments, strings and character literals are blanked, lines are kept.
local function code_of(text)
  local out, i = {}, 1
  local function blank(upto)
    out[#out + 1] = text:sub(i, upto):gsub("[^\n]", " ")
    i = upto + 1
  end
  while i <= #text do
    local raw, hashes = text:match('^[bc]?(r(#*)")', i)
    local word_before = i > 1 and text:sub(i - 1, i - 1):find "[%w_]"
    if text:find("^//", i) then
      blank((text:find("\n", i, true) or #text + 1) - 1)
    elseif text:find("^/%*", i) then
      local depth, at = 1, i + 2
      while depth > 0 and at <= #text do
        if text:find("^/%*", at) then
          depth, at = depth + 1, at + 2
        elseif text:find("^%*/", at) then
          depth, at = depth - 1, at + 2
        else
          at = at + 1
        end
      end
      blank(at - 1)
    elseif raw and not word_before then
      local _, open = text:find('"', i, true)
      local _, close = text:find('"' .. hashes, open + 1, true)
      blank(close or #text)
    elseif text:find('^"', i) then
      local at = i + 1
      while at <= #text and text:sub(at, at) ~= '"' do
        at = at + (text:sub(at, at) == "\\" and 2 or 1)
      end
      blank(at)
    elseif text:find("^'\\.[^']*'", i) or text:find("^'[^'\\\n][\128-\191]*'", i) then
      blank(text:find("'", i + 2 + (text:find("^'\\", i) and 1 or 0), true)) -- not a lifetime
    else
      out[#out + 1] = text:sub(i, i)
      i = i + 1
    end
  end
  local code = table.concat(out)
  code = code:gsub("#%[cfg%(test%)%]%s*mod%s+[%w_]+%s*%b{}", function(tests)
    return (tests:gsub("[^\n]", " "))
  end)
  -- Seen from a module within a file, `super` is the file.
  return (code:gsub("%f[%w_]mod%s+[%w_]+%s*%b{}", function(inner)
    return (inner:gsub("%f[%w_:]super::", "self::"))
  end))
end

--- Adds each path of a `use` tree to a list: `a::b::{c, d as e, self}` has three.
local function expand(tree, prefix, found)
  tree = tree:gsub("^%s+", ""):gsub("%s+$", "")
  local head, body = tree:match "^([^{}]*)(%b{})$"
  if not head then
    tree = tree:gsub("%s+as%s+[%w_]+$", ""):gsub("::%s*self$", "")
    if tree ~= "" then found[#found + 1] = prefix .. tree end
    return
  end
  local depth, start = 0, 2
  for at = 2, #body do
    local c = body:sub(at, at)
    if c == "{" then depth = depth + 1 end
    if c == "}" and at < #body then depth = depth - 1 end
    if depth == 0 and c == "," or at == #body then
      local part = body:sub(start, at - 1):gsub("^%s+", ""):gsub("%s+$", "")
      if part == "self" then
        found[#found + 1] = (prefix .. head):gsub("::$", "")
      elseif part ~= "" then
        expand(part, prefix .. head, found)
      end
      start = at + 1
    end
  end
end

--- The paths that a file names: { path, line }. Besides, its re-exports: name to path.
local function paths_of(code)
  local found, exports = {}, {}
  local function add(path, at)
    local _, line = code:sub(1, at):gsub("\n", "")
    found[#found + 1] = { path = path:gsub("%s+", ""), line = line + 1 }
  end
  local function use(visibility)
    return function(at, whole, tree)
      local paths = {}
      expand(tree, "", paths)
      for _, path in ipairs(paths) do
        if visibility then
          exports[path:match "[%w_]+$" or ""] = path:gsub("%s+", "")
        else
          add(path, at)
        end
      end
      return (whole:gsub("[^\n]", " "))
    end
  end
  local rest = code:gsub("()(%f[%w_]pub%s+use%s+([^;]-);)", use(true))
  rest = rest:gsub("()(%f[%w_]pub%b()%s*use%s+([^;]-);)", use(true))
  rest = rest:gsub("()(%f[%w_]use%s+([^;]-);)", use(false))
  for at, path in rest:gmatch "()%f[%w_](%a+::[%w_:]+)" do add(path, at) end
  return found, exports
end

-- ---------------------------------------------------------------------------------------------
-- Files and modules

local function lines_of(command)
  local found, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do found[#found + 1] = line end
  assert(pipe:close(), command)
  return found
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- The files of a folder by their module's path (`bytecode::reader`), and all of them in a list.
local function files_of(folder)
  local files, names = {}, {}
  for _, path in ipairs(lines_of(("find '%s' -name '*.rs' | LC_ALL=C sort"):format(folder))) do
    local name = path:sub(#folder + 2):gsub("%.rs$", "")
    local module = name == "lib" and "" or name:gsub("/mod$", ""):gsub("/", "::")
    local code = code_of(read(path))
    local paths, exports = paths_of(code)
    files[module] = {
      name = name, path = path, module = module, code = code, paths = paths, exports = exports,
    }
    names[#names + 1] = files[module]
  end
  local tests, list = {}, {}
  for module, file in pairs(files) do
    for name in file.code:gmatch "#%[cfg%(test%)%]%s*[%a()]*%s*mod%s+([%w_]+)%s*;" do
      tests[#tests + 1] = (module == "" and "" or module .. "::") .. name
    end
  end
  for _, file in ipairs(names) do
    local is_test = false
    for _, test in ipairs(tests) do
      is_test = is_test or (file.module .. "::"):sub(1, #test + 2) == test .. "::"
    end
    if not is_test then list[#list + 1] = file end
  end
  return files, list
end

--- The file that a path leads to, seen from a file: the longest module of the path that is a file.
local resolve
function resolve(files, from, path)
  local parts = {}
  for part in path:gmatch "[%w_]+" do parts[#parts + 1] = part end
  local base = {}
  for part in from.module:gmatch "[%w_]+" do base[#base + 1] = part end
  local first = parts[1]
  if first == "crate" then
    base = {}
    table.remove(parts, 1)
  elseif first == "self" or first == "super" then
    while parts[1] == "super" or parts[1] == "self" do
      if table.remove(parts, 1) == "super" then table.remove(base) end
    end
  elseif not files[from.module == "" and first or from.module .. "::" .. first] then
    return nil -- a name of another crate, or one that a `use` has brought in
  end
  for _, part in ipairs(parts) do base[#base + 1] = part end
  for n = #base, 0, -1 do
    local file = files[table.concat(base, "::", 1, n)]
    local export = file and file.exports[base[n + 1] or ""]
    if export and export ~= path then return resolve(files, file, export) or file end
    if file then return file end
  end
end

--- All imports: { from, to, line, path }, each pair of files once for each path and line.
local function imports_of(folder)
  local files, list = files_of(folder)
  local found = {}
  for _, file in ipairs(list) do
    for _, it in ipairs(file.paths) do
      local to = resolve(files, file, it.path)
      if to and to ~= file then
        found[#found + 1] = { from = file, to = to, line = it.line, path = it.path }
      end
    end
  end
  return found, list
end

-- ---------------------------------------------------------------------------------------------
-- Types

--- The types that a file defines: { name, line }. `type` within a block belongs to a trait, an
--- `impl` or a function, and needs no name of its own; nor does what a test defines.
local function types_of(code)
  code = code:gsub("#%[cfg%(test%)%]%s*mod%s+[%w_]+%s*%b{}", function(tests)
    return (tests:gsub("[^\n]", " "))
  end)
  local found, number = {}, 0
  for line in (code .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local indent, rest = line:match "^(%s*)(.*)$"
    rest = rest:gsub("^pub%b()%s*", ""):gsub("^pub%s+", ""):gsub("^unsafe%s+", "")
    local kind, name = rest:match "^(%l+)%s+(%u[%w_]*)"
    local is_type = kind == "struct" or kind == "enum" or kind == "trait" or kind == "union"
      or kind == "type" and indent == ""
    -- The macro of lua/layout.rs makes an enum of `Name, c"name": {`.
    name = is_type and name or rest:match "^(%u[%w_]*), c +: {$"
    if name then found[#found + 1] = { name = name, line = number } end
  end
  return found
end

--- Adds a line for each second type of one name.
local function add_doubles(list, found)
  local first = {}
  for _, file in ipairs(list) do
    for _, it in ipairs(types_of(file.code)) do
      local place = ("%s:%d"):format(file.path, it.line)
      local other = first[it.name]
      if not other then
        first[it.name] = { file = file.name, place = place }
      elseif STANDS_FOR[file.name] ~= other.file then
        found[#found + 1] = ("%s: `%s` is a type of %s as well; give each a name of its own")
          :format(place, it.name, other.place)
      end
    end
  end
end

-- ---------------------------------------------------------------------------------------------
-- Rooms and circles

local function room_of(file)
  for level, names in ipairs(ROOMS) do
    for name in names:gmatch "%S+" do
      if (file.name .. "/"):sub(1, #name + 1) == name .. "/" then return level, names end
    end
  end
end

--- The strongly connected components of more than one node; `next_of` is node to set of nodes.
local function circles(nodes, next_of)
  local index, low, on, stack, count, found = {}, {}, {}, {}, 0, {}
  local function visit(node)
    count = count + 1
    index[node], low[node], on[node] = count, count, true
    stack[#stack + 1] = node
    for other in pairs(next_of[node] or {}) do
      if not index[other] then
        visit(other)
        low[node] = math.min(low[node], low[other])
      elseif on[other] then
        low[node] = math.min(low[node], index[other])
      end
    end
    if low[node] == index[node] then
      local circle = {}
      repeat
        local other = table.remove(stack)
        on[other] = nil
        circle[#circle + 1] = other
      until other == node
      table.sort(circle)
      if #circle > 1 then found[#found + 1] = circle end
    end
  end
  for _, node in ipairs(nodes) do
    if not index[node] then visit(node) end
  end
  table.sort(found, function(a, b) return #a > #b or #a == #b and a[1] < b[1] end)
  return found
end

local function draw(imports, list)
  local next_of, names, arrows, order = {}, {}, {}, {}
  for _, file in ipairs(list) do names[#names + 1] = file.name end
  for _, it in ipairs(imports) do
    next_of[it.from.name] = next_of[it.from.name] or {}
    next_of[it.from.name][it.to.name] = true
    local from, to = select(2, room_of(it.from)) or "(none)", select(2, room_of(it.to)) or "(none)"
    if from ~= to then
      local arrow = ("%s -> %s"):format(from, to)
      if not arrows[arrow] then order[#order + 1] = arrow end
      arrows[arrow] = (arrows[arrow] or 0) + 1
    end
  end
  for _, room in ipairs(ROOMS) do
    local count = 0
    for _, file in ipairs(list) do count = count + (select(2, room_of(file)) == room and 1 or 0) end
    print(("%-16s %d file(s)"):format(room, count))
  end
  for _, file in ipairs(list) do
    if not room_of(file) then print("in no room       " .. file.name) end
  end
  print()
  table.sort(order)
  for _, arrow in ipairs(order) do print(("%-40s %d"):format(arrow, arrows[arrow])) end
  for _, circle in ipairs(circles(names, next_of)) do
    print(("\ncircle of %d files: %s"):format(#circle, table.concat(circle, " ")))
  end
end

--- What is wrong: a list of lines.
local function faults(imports, list)
  local found = {}
  for _, file in ipairs(list) do
    if not room_of(file) then
      found[#found + 1] = file.path
        .. ": the file is in no room; add it to ROOMS in scripts/arrows.lua"
    end
  end
  for _, it in ipairs(imports) do
    local from, above = room_of(it.from)
    local to, below = room_of(it.to)
    if from and to and to < from then
      found[#found + 1] = ("%s:%d: `%s` goes up, from %s to %s"):format(it.from.path, it.line,
        it.path, above, below)
    end
  end
  add_doubles(list, found)
  return found
end

local folder, is_drawing = "src", false
for _, argument in ipairs(arg) do
  if argument == "--draw" then is_drawing = true else folder = argument end
end
local imports, list = imports_of(folder)
assert(#list > 0, folder .. " has no Rust file")
if is_drawing then
  draw(imports, list)
else
  local found = faults(imports, list)
  for _, fault in ipairs(found) do print(fault) end
  print(("arrows: %d imports between %d files, %d fault(s)"):format(#imports, #list, #found))
  os.exit(#found == 0, true)
end
