--- A program to reload modules in: what every spec stands on.
--
--    local program = require "spec.support.program"
--    local app
--    before_each(function() app = program.new() end)
--    after_each(function() app:unload() end)
--
--    program.new(folder)              a program in a folder with a "short" or a "long" name;
--                                     without an argument HOTRELOAD_FOLDER says which, else it is
--                                     "long"
--    app:write(name, source)          write the module's file (`a.b` goes to a/b.lua); returns its
--                                     path
--    app:write_file(path, bytes)      write any file below the program's directory; returns its
--                                     path
--    app:path(name)                   where `write` puts that module
--    app:remove(name)                 delete the module's file
--    app:load(name)                   require
--    app:module(name, source)         write, then require; returns what `require` returns
--    app:reload(name, options)        gg.reload, nothing added
--    app:reloaded(name, options)      gg.reload that must return true; returns the report
--    app:update(name, source, options)          write, then `reloaded`
--    app:refused(name, options, root, ...)      gg.reload that must return false and a message, and
--                                     must leave the program unchanged (fingerprints are compared);
--                                     returns message, report
--    app:unload()                     put everything back: package.*, globals, the standard
--                                     libraries' tables, gg, metatables of basic types, the
--                                     collector; delete the directory
--    app:subprocess(script, options)  run a script in a process of its own, below the program's
--                                     directory, with this checkout in package.path and cpath;
--                                     returns stdout, code, stderr, how (how: "exit" or "signal").
--                                     options: lua = "lua5.4", unprivileged = true, kilobytes =
--                                     limit of its address space, environment = "A=1 B=2"
--    app:subprocesses(count, script)  the same in `count` processes, each with another hash seed:
--                                     all must exit with 0 and print the same; returns that output
--    app.dir, app.hotreload           the directory; the library's table (nil where it is not
--                                     built)
--
--    program.root                     absolute path of the checkout
--    program.fingerprint(root, ...)   remember the whole program: all that is reachable from the
--                                     globals, package.loaded, the registry's named entries, the
--                                     metatables of basic types and the given roots. Tables with
--                                     raw keys, values and metatable; functions with the name, cell
--                                     and value of each upvalue; userdata with metatable and user
--                                     values. Objects are held and compared by themselves, never by
--                                     address. Coroutine stacks, the test runner and the library's
--                                     own state are left out.
--    fingerprint:changes()            nil while all of that is as it was, else a text: one line for
--                                     each difference
--    fingerprint:assert_unchanged()   raises with that text

local M = {}

local STANDARD = { "_G", "package", "coroutine", "table", "io", "os", "string", "math",
  "utf8", "debug" }
local is_standard = {}
for _, name in ipairs(STANDARD) do
  is_standard[name] = true
end

-- Captured now: a spec may replace any of these.
local getmetatable_raw, setmetatable_raw = debug.getmetatable, debug.setmetatable
local getupvalue, upvalueid, getinfo, getuservalue = debug.getupvalue, debug.upvalueid,
  debug.getinfo, debug.getuservalue
local rawget, rawset, rawequal, next, type, tostring, math_type = rawget, rawset, rawequal, next,
  type, tostring, math.type
local real_G = package.loaded._G

-- A program stands in a folder with a long name, as on a server. Chunk names then have more than 40
-- bytes, and Lua makes such a string anew for each chunk. They have less than 60, so Lua's messages
-- show the whole path. Short names must work as well: with HOTRELOAD_FOLDER=short in the
-- environment the programs stand in a folder with a short name. scripts/valgrind.sh runs nearly all
-- specs so. A spec about names asks `program.new` for both.
local FOLDERS = { long = "/modules_of_the_game_server", short = "" }

do
  local pipe = assert(io.popen "pwd; id -u")
  M.root, M.is_root = assert(pipe:read "l"), pipe:read "l" == "0"
  pipe:close()
end

-- Fingerprint
-- --------------------------------------------------------------------------------------------------

local Fingerprint = {}
Fingerprint.__index = Fingerprint
local Program = {}
Program.__index = Program

-- Met by identity, never looked into: the test runner, these helpers, the library.
local function leave_out()
  local out = { [M] = true, [Fingerprint] = true, [Program] = true }
  local standing = debug.getregistry()["hotreload.standing"]
  if standing and standing[1] then
    out[standing[1]] = true -- in package.searchers, for hotreload.track
  end
  for name, value in next, package.loaded do
    if type(name) == "string" and not is_standard[name] then
      local first = name:match "^[^.]+"
      if M.harness[first] then
        out[value] = true
      elseif (first == "hotreload" or name == "reload") and type(value) == "table" then
        out[value] = true
        for _, member in next, value do
          out[member] = true
        end
      end
    end
  end
  return out
end

M.harness = {
  ansicolors = true, busted = true, cliargs = true, dkjson = true, lfs = true, luassert = true,
  mediator = true, pl = true, say = true, socket = true, spec = true, system = true, term = true,
}

local function is_harness_function(fn)
  local source = getinfo(fn, "S").source
  local first = source:match "/share/lua/5%.%d/([%w_]+)"
  return first ~= nil and M.harness[first] == true
end

-- 1 and 1.0 differ, 0.0 and -0.0 differ, NaN is itself.
local function same(a, b)
  if math_type(a) == "float" and math_type(b) == "float" then
    return a == b and (a ~= 0 or 1 / a == 1 / b) or a ~= a and b ~= b
  end
  return rawequal(a, b) and math_type(a) == math_type(b)
end

-- A path is kept as { parent object, step }: written out it would be as long as the object is deep.
local show

local function write_key(key, paths)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" and "." .. key
    or ("[%s]"):format(show(key, paths))
end

local function write_path(object, paths)
  local steps, place = {}, paths[object]
  while place do
    table.insert(steps, 1, place.step or write_key(place.key, paths))
    if #steps == 30 then
      table.insert(steps, 1, "...")
      break
    end
    place = place.parent and paths[place.parent]
  end
  return table.concat(steps)
end

function show(value, paths)
  local kind = type(value)
  if kind == "string" then
    return ("%q"):format(value)
  elseif kind == "number" or kind == "boolean" or value == nil then
    return tostring(value)
  end
  return paths[value] and ("%s %s"):format(kind, write_path(value, paths))
    or ("another %s"):format(kind)
end

local basic_types = { "nil", "boolean", "number", "string", "function", "thread" }
local sample = { boolean = true, number = 0, string = "", ["function"] = print,
  thread = coroutine.create(print) }

local function records_of()
  return setmetatable({}, { __mode = "" })
end

local function look_at_table(value)
  local fields = {}
  for k, v in next, value do
    fields[k] = v
  end
  return { metatable = getmetatable_raw(value), fields = fields }
end

local function look_at_function(value)
  local upvalues = {}
  for i = 1, 255 do
    local name, content = getupvalue(value, i)
    if name == nil then
      break
    end
    upvalues[i] = { name = name, cell = upvalueid(value, i), value = content }
  end
  return { upvalues = upvalues }
end

local function look_at_userdata(value)
  local user_values = {}
  for i = 1, 255 do
    local content, exists = getuservalue(value, i)
    if not exists then
      break
    end
    user_values[i] = { value = content }
  end
  return { metatable = getmetatable_raw(value), user_values = user_values }
end

local function registry_entries()
  local entries = {}
  for k, v in next, debug.getregistry() do
    if type(k) == "string" and not k:lower():find "hotreload" and not k:lower():find "mlua" then
      entries[k] = v
    end
  end
  return entries
end

local function type_metatables()
  local found = {}
  for _, kind in ipairs(basic_types) do
    found[kind] = getmetatable_raw(sample[kind])
  end
  return found
end

function M.fingerprint(...)
  local opaque = leave_out()
  local self = { nodes = {}, records = records_of(), paths = records_of(), roots = table.pack(...) }
  self.registry, self.types = registry_entries(), type_metatables()
  self.collecting = collectgarbage "isrunning"
  self.hook = table.pack(debug.gethook())
  local nodes, records, paths = self.nodes, self.records, self.paths

  -- Remembers one reference: from `parent`, by `key` or by another `step`.
  local function meet(value, parent, step, key)
    local kind = type(value)
    if (kind == "table" or kind == "function" or kind == "userdata" or kind == "thread")
      and not paths[value] then
      paths[value] = { parent = parent, step = step, key = key }
      if kind == "thread" or opaque[value] or kind == "function" and is_harness_function(value) then
        return
      end
      if kind == "table"
        and (getmetatable_raw(value) == Fingerprint or getmetatable_raw(value) == Program) then
        return
      end
      nodes[#nodes + 1] = value
    end
  end

  meet(real_G, nil, "_G")
  meet(package.loaded, nil, "package.loaded")
  meet(package.preload, nil, "package.preload")
  for i = 1, self.roots.n do
    meet(self.roots[i], nil, ("root %d"):format(i))
  end
  for k, v in next, self.registry do
    meet(v, nil, "registry." .. k)
  end
  for kind, v in next, self.types do
    meet(v, nil, kind .. "<metatable>")
  end

  local i = 1
  while nodes[i] do
    local value, kind = nodes[i], type(nodes[i])
    local record
    if kind == "table" then
      record = look_at_table(value)
      meet(record.metatable, value, "<metatable>")
      for k, v in next, record.fields do
        meet(k, value, "<key>")
        meet(v, value, nil, k)
      end
    elseif kind == "function" then
      record = look_at_function(value)
      for n, upvalue in ipairs(record.upvalues) do
        meet(upvalue.value, value, "@" .. (upvalue.name ~= "" and upvalue.name or n))
      end
    else
      record = look_at_userdata(value)
      meet(record.metatable, value, "<metatable>")
      for n, slot in ipairs(record.user_values) do
        meet(slot.value, value, ("<user value %d>"):format(n))
      end
    end
    records[value] = record
    i = i + 1
  end
  return setmetatable(self, Fingerprint)
end

function Fingerprint:changes()
  local lines, paths = {}, self.paths
  -- `place` is a text, or an object with a step (or a key) from it.
  local function write_place(place, step, key)
    if type(place) ~= "string" then
      place = write_path(place, paths)
    end
    return place .. (step or key ~= nil and write_key(key, paths) or "")
  end
  local function compare(before, after, place, step, key)
    if not same(before, after) then
      lines[#lines + 1] = ("%s: %s became %s"):format(write_place(place, step, key),
        show(before, paths),
        show(after, paths))
    end
  end
  local function compare_fields(before, after, place)
    for k, v in next, before do
      compare(v, rawget(after, k), place, nil, k)
    end
    for k, v in next, after do
      if before[k] == nil then
        compare(nil, v, place, nil, k)
      end
    end
  end

  compare_fields(self.registry, registry_entries(), "registry")
  compare_fields(self.types, type_metatables(), "basic types")
  compare(self.collecting, collectgarbage "isrunning", "collector running")
  local hook = table.pack(debug.gethook())
  for i = 1, math.max(hook.n, self.hook.n) do
    compare(self.hook[i], hook[i], "debug hook")
  end
  for _, value in ipairs(self.nodes) do
    local record, kind = self.records[value], type(value)
    if kind == "table" then
      compare(record.metatable, getmetatable_raw(value), value, "<metatable>")
      compare_fields(record.fields, value, value)
    elseif kind == "function" then
      for i, upvalue in ipairs(record.upvalues) do
        local name, content = getupvalue(value, i)
        local step = "@" .. (upvalue.name ~= "" and upvalue.name or i)
        compare(upvalue.name, name, value, step .. " (name)")
        if upvalue.cell ~= upvalueid(value, i) then
          lines[#lines + 1] = write_place(value, step) .. ": another cell"
        end
        compare(upvalue.value, content, value, step)
      end
    else
      compare(record.metatable, getmetatable_raw(value), value, "<metatable>")
      for i, slot in ipairs(record.user_values) do
        compare(slot.value, (getuservalue(value, i)), value, ("<user value %d>"):format(i))
      end
    end
  end

  if #lines == 0 then
    return nil
  end
  table.sort(lines)
  local count = #lines
  if count > 40 then
    lines = table.move(lines, 1, 40, 1, {})
    lines[41] = ("... and %d more"):format(count - 40)
  end
  return table.concat(lines, "\n")
end

function Fingerprint:assert_unchanged()
  local changes = self:changes()
  if changes then
    error("the program changed:\n" .. changes, 2)
  end
end

-- Program
-- ------------------------------------------------------------------------------------------------------

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function run(command)
  assert(os.execute(command))
end

local function library()
  local ok, result = pcall(require, "hotreload")
  if ok then
    return result
  end
  -- Not built yet: the specs of these helpers run all the same. Any other failure is one.
  if not tostring(result):find("module 'hotreload' not found", 1, true) then
    error(result, 0)
  end
end

local function remember(tables)
  local saved = {}
  for _, value in ipairs(tables) do
    if type(value) == "table" then
      saved[#saved + 1] = { table = value, record = look_at_table(value) }
    end
  end
  return saved
end

local function put_back(saved)
  for _, entry in ipairs(saved) do
    setmetatable_raw(entry.table, entry.record.metatable)
    local added = {}
    for k in next, entry.table do
      if entry.record.fields[k] == nil then
        added[#added + 1] = k
      end
    end
    for _, k in ipairs(added) do
      rawset(entry.table, k, nil)
    end
    for k, v in next, entry.record.fields do
      rawset(entry.table, k, v)
    end
  end
end

function M.new(folder)
  local hotreload = library()
  local self = setmetatable({ hotreload = hotreload }, Program)
  local tables = { real_G, package.loaded, package.preload, package.searchers,
    rawget(real_G, "gg") }
  for _, name in ipairs(STANDARD) do
    tables[#tables + 1] = package.loaded[name]
  end
  self.saved = remember(tables)
  self.types = type_metatables()

  self.root = os.tmpname()
  folder = folder or os.getenv "HOTRELOAD_FOLDER" or "long"
  self.dir = self.root .. assert(FOLDERS[folder], "HOTRELOAD_FOLDER is short or long")
  os.remove(self.root)
  run("mkdir -p " .. quote(self.dir))
  package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(self.dir, self.dir, package.path)
  return self
end

function Program:unload()
  put_back(self.saved)
  for _, kind in ipairs(basic_types) do
    setmetatable_raw(sample[kind], self.types[kind])
  end
  local hotreload, gg = self.hotreload, rawget(real_G, "gg")
  if hotreload then
    hotreload.configure { allow = {}, deny = {}, text_only = false }
    hotreload.track()
    for name in next, gg.safe_reloads do
      gg.safe_reloads[name] = nil
    end
  end
  collectgarbage "incremental"
  collectgarbage "restart"
  run(("chmod -R u+rwX %s 2>/dev/null; rm -rf %s"):format(quote(self.root), quote(self.root)))
end

function Program:path(name)
  return ("%s/%s.lua"):format(self.dir, (name:gsub("%.", "/")))
end

function Program:write_file(path, bytes)
  local whole = self.dir .. "/" .. path
  if path:find "/" then
    run("mkdir -p " .. quote(whole:match "^(.*)/"))
  end
  local file = assert(io.open(whole, "wb"))
  assert(file:write(bytes))
  assert(file:close())
  return whole
end

function Program:write(name, source)
  return self:write_file(name:gsub("%.", "/") .. ".lua", source)
end

function Program:remove(name)
  assert(os.remove(self:path(name)))
end

-- luacheck: push ignore 212/self
function Program:load(name)
  return require(name)
end
-- luacheck: pop

function Program:module(name, source)
  self:write(name, source)
  return self:load(name)
end

function Program:reload(name, options)
  local reload = self.hotreload and self.hotreload.reload or error("hotreload is not built", 2)
  if options == nil then
    return reload(name)
  end
  return reload(name, options)
end

function Program:reloaded(name, options)
  local ok, report = self:reload(name, options)
  if ok ~= true then
    error(("reload of %s: %s, %s"):format(name, ok, report), 2)
  elseif type(report) ~= "table" then
    error(("reload of %s gave a report that is a %s"):format(name, type(report)), 2)
  end
  return report
end

function Program:update(name, source, options)
  self:write(name, source)
  local ok, report = self:reload(name, options)
  if ok ~= true then
    error(("reload of %s: %s, %s"):format(name, ok, report), 2)
  elseif type(report) ~= "table" then
    error(("reload of %s gave a report that is a %s"):format(name, type(report)), 2)
  end
  return report
end

function Program:refused(name, options, ...)
  local before = M.fingerprint(...)
  local ok, message, report = self:reload(name, options)
  if ok ~= false then
    error(("reload of %s was not refused: it returned %s"):format(name, ok), 2)
  elseif type(message) ~= "string" or message == "" then
    error(("reload of %s was refused without a message: %s"):format(name, message), 2)
  end
  local changes = before:changes()
  if changes then
    error(("reload of %s was refused (%s), but the program changed:\n%s")
      :format(name, message, changes), 2)
  end
  return message, report
end

-- Processes
-- ----------------------------------------------------------------------------------------------------

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

function Program:subprocess(script, options)
  options = options or {}
  self.scripts = (self.scripts or 0) + 1
  local base = ("%s/script-%d"):format(self.dir, self.scripts)
  local file = assert(io.open(base .. ".lua", "wb"))
  file:write(script)
  file:close()

  local root = M.root
  local lua = options.lua or "lua5.4"
  if options.unprivileged and M.is_root then
    -- The checkout may stand where only root can read: the library comes along.
    root = self.dir .. "/checkout"
    run(("mkdir -p %s && cp -r %s %s %s && chmod -R a+rX %s"):format(quote(root),
      quote(M.root .. "/lua"),
      quote(M.root .. "/build"), quote(root), quote(root)))
    run(("chmod a+rx %s; chmod a+r %s.lua"):format(quote(self.dir), quote(base)))
    lua = "setpriv --reuid=nobody --clear-groups " .. lua
  end
  local path = ("%s/?.lua;%s/?/init.lua;%s/lua/?.lua;%s/lua/?/init.lua")
    :format(self.dir, self.dir, root, root)
  local cpath = root .. "/build/?.so"
  -- env keeps the caller's LUA_INIT and LUA_PATH_5_4 out; exec lets a signal through.
  local limit = options.kilobytes and ("ulimit -v %d && "):format(options.kilobytes) or ""
  local command = ("cd %s && %sexec env -i PATH=\"$PATH\" HOME=\"$HOME\" LUA_PATH=%s LUA_CPATH=%s \z
    %s timeout 300 %s %s "
    .. ">%s.out 2>%s.err"):format(quote(self.dir), limit, quote(path), quote(cpath),
    options.environment or "", lua, quote(base .. ".lua"), quote(base), quote(base))
  local _, how, code = os.execute(command)
  return slurp(base .. ".out"), code, slurp(base .. ".err"), how
end

function Program:subprocesses(count, script)
  local first
  for i = 1, count do
    local out, code, err, how = self:subprocess(script)
    if code ~= 0 then
      error(("process %d ended by %s %d:\n%s%s"):format(i, how, code, out, err), 2)
    end
    first = first or out
    if out ~= first then
      error(("process %d printed\n%s\nand the first one\n%s"):format(i, out, first), 2)
    end
  end
  return first
end

return M
