--- Random modules, to compare a reload with a cold load.
--
--    local random_module = require "spec.support.random_module"
--
--    random_module.generate(seed)       the text of a module: locals of few names in nested blocks,
--                                       tables, aliases, cycles, metatables, closures of factories
--                                       and loops, functions that capture any of it. Lines that
--                                       start with `--ADD ` are additions that it lacks as yet.
--    random_module.second(text)         its next version: with the additions, and with other
--                                       constants in the functions
--    random_module.disturb(object)      change about half of the numbers that the module keeps, as
--                                       a program does
--    random_module.differences(a, b)    walk two module objects in lockstep; a list of texts: where
--                                       their shapes, their functions' lines or the sharing of
--                                       tables, functions and cells differ. Numbers, strings and
--                                       booleans may.

local M = {}

local NAMES = { "a", "b", "c", "d", "e", "f" }
local KEYS = { ".x", ".y", ".z", ".run", "[1]", "[2]", "['odd key']", "[true]" }
local ADDITIONS = {
  "M.addedN = function() return LIST end",
  "M.addedN = { f = function() return LIST end }",
  "local function helperN() return LIST end M.callN = function() return helperN() end",
  "local boxN = { LIST, f = function() return M end } M.getN = function() return boxN end",
  "M.moreN = setmetatable({}, { __index = function() return LIST end, M })",
}

local Generator = {}
Generator.__index = Generator

local function pick(list)
  return list[math.random(#list)]
end

function Generator:emit(form, ...)
  self.lines[#self.lines + 1] = form:format(...)
end

function Generator:number()
  self.serial = self.serial + 1
  return self.serial
end

-- The innermost local of each name, those of one kind if asked.
function Generator:visible(kind)
  local seen, list = {}, {}
  for i = #self.scope, 1, -1 do
    local variable = self.scope[i]
    if not seen[variable.name] then
      seen[variable.name] = true
      if not kind or variable.kind == kind then
        list[#list + 1] = variable
      end
    end
  end
  return list
end

function Generator:body()
  local body = { ("local id = %d"):format(self:number()) }
  for _ = 1, math.random(0, 3) do
    local form, numbers, any = math.random(4), self:visible "number", pick(self:visible()).name
    if form == 1 and #numbers > 0 then
      local name = pick(numbers).name
      body[#body + 1] = ("%s = %s + 1"):format(name, name)
    elseif form == 2 then
      body[#body + 1] = ("local _ = %s"):format(any)
    elseif form == 3 then
      body[#body + 1] = ("local inner = function() return %s end"):format(any)
    elseif form == 4 then
      body[#body + 1] = "local _ = tostring"
    end
  end
  return "function() " .. table.concat(body, " ") .. " return id end"
end

-- Returns an expression and the kind of its value.
function Generator:expression(depth)
  local form = math.random(10)
  if form <= 2 then
    return tostring(math.random(100)), "number"
  elseif form <= 4 then
    return self:body(), "function"
  elseif form <= 7 and depth < 3 then
    local fields, used = {}, {}
    for _ = 1, math.random(0, 4) do
      local key = pick(KEYS)
      if not used[key] then
        used[key] = true
        fields[#fields + 1] = ("%s = %s"):format(key:gsub("^%.", ""), (self:expression(depth + 1)))
      end
    end
    return "{ " .. table.concat(fields, ", ") .. " }", "table"
  end
  local variable = pick(self:visible())
  return variable.name, variable.kind
end

function Generator:addition()
  local names = {}
  for _, variable in ipairs(self:visible()) do
    if math.random(2) == 1 then
      names[#names + 1] = variable.name
    end
  end
  local list = #names > 0 and table.concat(names, ", ") or "M"
  self:emit("--ADD %s", (pick(ADDITIONS):gsub("LIST", list):gsub("N%f[^%u]", self:number())))
end

local STATEMENTS = {
  function(self)
    local name = pick(NAMES)
    local expression, kind = self:expression(0)
    self:emit("local %s = %s", name, expression)
    self.scope[#self.scope + 1] = { name = name, kind = kind }
  end,
  function(self)
    self:emit("%s%s = %s", pick(self:visible "table").name, pick(KEYS), (self:expression(1)))
  end,
  function(self, depth)
    if depth < 3 then
      self:emit "do"
      self:block(depth + 1)
      self:emit "end"
    end
  end,
  function(self)
    self:emit("setmetatable(%s, { __call = %s, tag = %d })",
      pick(self:visible "table").name, self:body(),
      math.random(9))
  end,
  function(self)
    local name = pick(self:visible "table").name
    self.scope[#self.scope + 1] = { name = "i", kind = "number" }
    self:emit("for i = 1, %d do %s['loop' .. i] = %s end", math.random(3), name, self:body())
    self.scope[#self.scope] = nil
  end,
  function(self)
    -- The key stands in the module object as well: a table that is nothing but a key cannot be
    -- found again.
    local key = pick(self:visible "table").name
    self:emit("M.key%d = %s", self:number(), key)
    self:emit("%s[%s] = %s", pick(self:visible "table").name, key, (self:expression(1)))
  end,
  function(self)
    self:emit "local function factory(n)"
    self:emit "  local t = { id = n } t.get = function() n = n + 1 return t end return t"
    self:emit "end"
    self:emit("%s.object%d = factory(%d)", pick(self:visible "table").name, math.random(3),
      math.random(50))
  end,
}
-- Locals and fields are what modules mostly have.
local CHOICES = { 1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7 }

function Generator:block(depth)
  local outer = #self.scope
  for _ = 1, math.random(3, 8) do
    if math.random(4) == 1 then
      self:addition()
    end
    STATEMENTS[pick(CHOICES)](self, depth)
  end
  for i = #self.scope, outer + 1, -1 do
    self.scope[i] = nil
  end
end

function M.generate(seed)
  math.randomseed(seed)
  local self = setmetatable({ lines = {}, serial = 0, scope = { { name = "M", kind = "table" } } },
    Generator)
  self:emit "local M = {}"
  self:block(0)
  self:emit "return M"
  return table.concat(self.lines, "\n") .. "\n"
end

function M.second(text)
  return (text:gsub("%-%-ADD ", ""):gsub("local id = ", "local id = 1000 + "))
end

local function is_lua_function(value)
  return type(value) == "function" and debug.getinfo(value, "S").what ~= "C"
end

-- Calls visit(function or table) once for all that is reachable, through tables, metatables and
-- named cells.
local function walk(root, visit)
  local met, queue = { [root] = true }, { root }
  local function meet(value)
    if (type(value) == "table" or is_lua_function(value)) and value ~= package.loaded._G
      and not met[value] then
      met[value] = true
      queue[#queue + 1] = value
    end
  end
  local i = 1
  while queue[i] do
    local value = queue[i]
    visit(value)
    if type(value) == "table" then
      meet(debug.getmetatable(value))
      for k, v in next, value do
        meet(k)
        meet(v)
      end
    else
      for n = 1, debug.getinfo(value, "u").nups do
        meet((select(2, debug.getupvalue(value, n))))
      end
    end
    i = i + 1
  end
end

function M.disturb(object)
  walk(object, function(value)
    if type(value) == "table" then
      for k, v in next, value do
        if type(v) == "number" and math.random(2) == 1 then
          value[k] = v + 1000
        end
      end
    else
      for n = 1, debug.getinfo(value, "u").nups do
        local _, content = debug.getupvalue(value, n)
        if type(content) == "number" and math.random(2) == 1 then
          debug.setupvalue(value, n, content + 1000)
        end
      end
    end
  end)
end

local function sorted_keys(t)
  local keys = {}
  for k in next, t do
    if type(k) ~= "table" and type(k) ~= "function" then
      keys[#keys + 1] = k
    end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function count(t)
  local n = 0
  for _ in next, t do
    n = n + 1
  end
  return n
end

function M.differences(a, b)
  local found, queue = {}, {}
  local forth, back = {}, {}
  local function differ(form, ...)
    found[#found + 1] = form:format(...)
  end
  -- One of a's objects or cells is one of b's, and the other way round.
  local function one_to_one(of_a, of_b, path)
    if forth[of_a] == nil and back[of_b] == nil then
      forth[of_a], back[of_b] = of_b, path
      return true
    elseif forth[of_a] == nil then
      differ("%s and %s are one", path, back[of_b])
    elseif forth[of_a] ~= of_b then
      differ("%s is two", path)
    end
  end
  local function compare(of_a, of_b, path)
    if type(of_a) ~= type(of_b) then
      differ("%s: a %s and a %s", path, type(of_a), type(of_b))
    elseif type(of_a) == "table" or is_lua_function(of_a) then
      if one_to_one(of_a, of_b, path) and of_a ~= package.loaded._G then
        queue[#queue + 1] = { of_a, of_b, path }
      end
    elseif type(of_a) == "function" and of_a ~= of_b then
      differ("%s: two C functions", path)
    end
  end
  local function compare_functions(of_a, of_b, path)
    local info_a, info_b = debug.getinfo(of_a, "Su"), debug.getinfo(of_b, "Su")
    if info_a.linedefined ~= info_b.linedefined or info_a.nups ~= info_b.nups then
      return differ("%s: the functions of lines %d and %d", path, info_a.linedefined,
        info_b.linedefined)
    end
    for n = 1, info_a.nups do
      local name, value_a = debug.getupvalue(of_a, n)
      local _, value_b = debug.getupvalue(of_b, n)
      local where = path .. "@" .. name
      if name ~= "_ENV" then
        one_to_one(debug.upvalueid(of_a, n), debug.upvalueid(of_b, n), where)
      end
      compare(value_a, value_b, where)
    end
  end

  compare(a, b, "M")
  local i = 1
  while queue[i] do
    local of_a, of_b, path = table.unpack(queue[i])
    if type(of_a) == "table" then
      compare(debug.getmetatable(of_a), debug.getmetatable(of_b), path .. "<metatable>")
      for _, k in ipairs(sorted_keys(of_a)) do
        compare(of_a[k], rawget(of_b, k), ("%s[%s]"):format(path, tostring(k)))
      end
      if count(of_a) ~= count(of_b) then
        differ("%s: %d and %d entries", path, count(of_a), count(of_b))
      end
    else
      compare_functions(of_a, of_b, path)
    end
    i = i + 1
  end
  return found
end

return M
