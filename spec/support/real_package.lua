-- A real package, loaded, used and reloaded in a process of its own (spec/packages_spec.lua starts
-- it).
--
-- spec/support/packages/NAME.lua returns a table:
--
--    debian      the Debian package. Its Lua modules are those of its file list, for the newest Lua
--                up to 5.4.
--    needs       a list of other Debian packages, if its dependencies do not say enough
--    use         function() → string: works with the modules, and tells what came of it. The same
--                text at each call
--    objects     function() → function() → string: makes objects that live on through the reloads.
--                The function that it returns works with them; the same text at each call
--    unloadable  module → reason: what a plain `require` cannot load in this Lua
--    needs       module → what it requires: not loaded where that cannot be loaded
--    programs    module → reason: not loaded here, since to load it is to run a program
--    refused     module → reason: what cannot be loaded once more, so that its reload is refused
--    vm_only     module → reason: reloaded with scope = "vm" only
--    grows       module → reason: a reload of the very same file adds something
--    changed     module → reason: what `hotreload.changed` lists before any reload
--    old         a list of { pattern of `module:name`, reason }: functions that may go on with the
--                old code
--
-- All that is there beside `debian`, `use` and `objects` is an exception, and stands in
-- docs/reliability.md.

local real_package = {}

local DIRECTORY = "^/usr/share/lua/5%.(%d)/(.+)%.lua$"

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

--- Whether all these Debian packages are installed.
function real_package.installed(...)
  for _, name in ipairs { ... } do
    local state = lines_of(("dpkg-query -W -f='${db:Status-Abbrev}\\n' %s 2>/dev/null")
      :format(name))[1]
    if not state or not state:find "^ii" then return false end
  end
  return true
end

--- The modules of a Debian package for the newest Lua up to 5.4, sorted; and the directory that
--- they are in.
function real_package.modules(debian)
  local newest, modules = "", {}
  for _, line in ipairs(lines_of("dpkg -L " .. debian)) do
    local minor, path = line:match(DIRECTORY)
    if minor and minor <= "4" then
      if minor > newest then newest, modules = minor, {} end
      if minor == newest then modules[#modules + 1] = path:gsub("/init$", ""):gsub("/", ".") end
    end
  end
  table.sort(modules)
  return modules, "/usr/share/lua/5." .. newest
end

--- Checks that what a package does is what it did. Lines in messages may be others.
local function same(is, was, what)
  is, was = is:gsub("%.lua:%d+:", ".lua:"), was:gsub("%.lua:%d+:", ".lua:")
  if is ~= was then error(("%s\nwas\n%s\nis\n%s"):format(what, was, is), 2) end
end

local function sorted_keys(of)
  local keys = {}
  for key in pairs(of) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

--- The loaded modules that are not this library's, Lua's own or these helpers: those in Lua, those
--- in C. `before`: what was loaded at the start; `refused`: what is left out.
local function loaded_modules(before, refused)
  local lua, native = {}, {}
  for _, name in ipairs(sorted_keys(package.loaded)) do
    if not before[name] then
      local ok, message = gg.reload(name, { dry_run = true, source = "return ..." })
      local is_native = not ok and message:find "it is a C module" ~= nil
      if not refused[name] then table.insert(is_native and native or lua, name) end
    end
  end
  return lua, native
end

local function text_of(name)
  local path = assert(package.searchpath(name, package.path))
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- Runs the whole story of a package; raises where something is not as it should be. Returns a text
--- of counts.
function real_package.run(package_file)
  local subject = dofile(package_file)
  local hotreload = require "hotreload"
  local before = {}
  for name in pairs(package.loaded) do before[name] = true end

  local names, directory = real_package.modules(subject.debian)
  package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(directory, directory, package.path)
  local unloadable, vm_only, grows = subject.unloadable or {}, subject.vm_only
    or {}, subject.grows or {}
  for _, name in ipairs(names) do
    local needed = subject.needs and subject.needs[name]
    if not (subject.programs and subject.programs[name])
      and (not needed or pcall(require, needed)) then
      local ok, message = pcall(require, name)
      if unloadable[name] then
        assert(not ok, name .. " is said to be unloadable, and is not")
      elseif not ok then
        error(message, 0)
      end
    end
  end
  local modules, native = loaded_modules(before, subject.refused or {})
  assert(#modules > 0, "no modules")

  local objects = {}
  for name, module in pairs(package.loaded) do objects[name] = module end
  local result = subject.use()
  assert(type(result) == "string" and #result > 20, "the use of the package tells nothing")
  same(subject.use(), result, "used twice")
  local work = subject.objects()
  local works = work()
  assert(type(works) == "string" and works ~= "", "the objects tell nothing")
  same(work(), works, "objects used twice")

  local grown, excuses, counts = {}, {}, { modules = #modules, native = #native, reloads = 0 }

  local function check(what)
    same(subject.use(), result, what .. ": the package")
    same(work(), works, what .. ": objects made before")
    for name, module in pairs(objects) do
      -- A module that is a function is replaced like any function.
      assert(type(module) == "function" or rawequal(package.loaded[name], module),
        what .. ": another object of "
        .. name)
    end
  end

  local function reload(name, options)
    local ok, report = gg.reload(name, options)
    if not ok then error(("%s: %s"):format(name, report), 0) end
    counts.reloads = counts.reloads + 1
    return report
  end

  --- The modules that are reloaded in a scope.
  local function modules_in(scope)
    local list = {}
    for _, name in ipairs(modules) do
      if scope == "vm" or not vm_only[name] then list[#list + 1] = name end
    end
    return list
  end

  local function assert_nothing_is_old(what)
    if not assert(hotreload.stale())[1] then return end
    local lines = {}
    for _, row in ipairs(assert(hotreload.stale(nil, { paths = true }))) do
      local text, excused = ("%s:%s"):format(row.module, row.name), false
      for i, excuse in ipairs(subject.old or {}) do
        if text:find(excuse[1]) then excused, excuses[i] = true, true end
      end
      if not excused then
        lines[#lines + 1] = ("%s line %s generation %s, held by %s"):format(text, row.line,
          row.generation, table.concat(row.paths, ", "))
      end
    end
    if lines[1] then error(what .. ": old functions\n" .. table.concat(lines, "\n"), 0) end
  end

  --- Each module by itself.
  local function one_by_one(scope, rounds)
    for round = 1, rounds do
      for _, name in ipairs(modules_in(scope)) do
        local report = reload(name, { scope = scope })
        local what = ("functions added %d, changed %d, data added %d, cells fresh %d"):format(
          report.functions.added, report.changed, report.data.added, report.cells.fresh)
        if what:find "[1-9]" then
          assert(grows[name], name .. ": the same file again: " .. what)
          grown[name] = true
        end
      end
      check(("scope %s, round %d"):format(scope, round))
    end
  end

  local function together(scope)
    local ok, reports = gg.reload(modules_in(scope), { scope = scope })
    if not ok then error(reports, 0) end
    counts.reloads = counts.reloads + #reports
    check("together, scope " .. scope)
  end

  for name in pairs(subject.refused or {}) do
    assert(not gg.reload(name), name .. " is said to be refused, and is not")
    check(name .. " was refused")
  end
  for _, name in ipairs(native) do
    local ok, message = gg.reload(name)
    assert(not ok and message:find "C module", name)
  end
  same(table.concat(hotreload.changed(), " "),
    table.concat(sorted_keys(subject.changed or {}), " "),
    "changed before any reload")
  one_by_one("module", 3)
  one_by_one("vm", 1)
  assert_nothing_is_old "scope vm"
  together "module"
  together "vm"
  together "vm"
  same(table.concat(hotreload.changed(), " "), "", "changed after reloads of the same files")

  -- All lines one down: no function is the file's any more, so every closure has to follow.
  for _, name in ipairs(modules) do
    reload(name, { scope = "vm", source = "\n" .. text_of(name):gsub("^#[^\n]*", "") })
  end
  check "moved down"
  assert_nothing_is_old "moved down"
  for i = #modules, 1, -1 do
    local ok, message = hotreload.undo(modules[i])
    if not ok then error(message, 0) end
  end
  check "undone"
  -- No exception is there for nothing.
  for name in pairs(grows) do assert(grown[name], name .. " is said to grow, and does not") end
  for i, excuse in ipairs(subject.old or {}) do
    assert(excuses[i], excuse[1] .. " is said to be old, and is not")
  end
  return ("%d modules, %d of them in C, %d reloads"):format(#modules + #native, #native,
    counts.reloads)
end

return real_package
