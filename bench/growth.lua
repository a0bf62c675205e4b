-- How the cost of a reload grows: `lua5.4 bench/growth.lua [DIMENSION…]`, with build/hotreload.so
-- in place. A dimension is the size of one thing: of a module, of what the program holds, or of
-- what a reload reports.
--
-- Each dimension is measured at several sizes, each size in a process of its own: the least
-- processor time of some runs. The exponent is that of the growth from each size to the next: 1 is
-- a cost in proportion to the size. The last one, where the fixed costs weigh least, is to be no
-- more than MOST.
--
-- Time also grows by what does not fit into the processor's caches, and by what else the machine
-- does. So where the time grows by more than MOST, the instructions of one run are counted with
-- valgrind, if it is installed: they decide.

local SIZES = { 1000, 4000, 16000 }
local MOST = 1.3
-- A size is run until its runs took so long together, in seconds, but no less often than
-- LEAST_RUNS.
local ENOUGH, LEAST_RUNS = 0.3, 3
-- A process that takes longer than this, in seconds, is ended: its dimension has failed.
local PATIENCE = 120
-- What is over so soon, in seconds, is measured by its noise: it counts as constant.
local NOTHING = 0.0005

local format, concat = string.format, table.concat

------------------------------------------------------------------------------------------------------------------------
-- Texts of modules

--- `before`, `line` n times with `$i` and `$v` in the place of the number and the version, and
--- `after`.
local function lines(before, line, after)
    return function(n, version)
        local list = { before }
        for i = 1, n do
            list[#list + 1] = line:gsub("%$(%a)", { i = i, v = version })
        end
        list[#list + 1] = after
        return (concat(list, "\n"):gsub("%$v", version))
    end
end

local function fields(line)
    return lines("local M = {}", line, "return M")
end

local function rows(line)
    return lines("return {", line, "}")
end

------------------------------------------------------------------------------------------------------------------------
-- Ways to measure

local folder
-- What the program holds of the module.
local held = {}

local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name .. ".lua", "w"))
    file:write(text)
    file:close()
end

local hotreload

local function reload(names, options)
    local ok, report = gg.reload(names, options)
    assert(ok, report)
    return report
end

--- A module of that text, reloaded with a new version each time. `how.prepare(module, n)` is the
--- program's part.
local function module(text, how)
    how = how or {}
    return function(n)
        if how.track then hotreload.track() end
        write("m", text(n, 1))
        local m = require "m"
        if how.prepare then how.prepare(m, n) end
        local version, changed_text = 1, how.becomes or text
        return function()
            version = version + 1
            local source = changed_text(n, version)
            local options = { source = source }
            for key, value in pairs(how.options or {}) do options[key] = value end
            if how.again then how.again(m, n) end
            return function()
                if how.fails then
                    assert(not gg.reload("m", options))
                else
                    local report = reload("m", options)
                    if how.check then how.check(report, n) end
                end
                if how.after then how.after(m, n) end
            end
        end
    end
end

--- A module that registers `n` handlers on one bus, one a line, or all with one call; `fresh`
--- begins the names of its events.
local function registrations(line, fresh, call)
    local text = lines("local bus, M = require 'bus', {} " .. (call and call .. " {" or ""),
        fresh and line:gsub("'e", "'" .. fresh) or line, (call and "}" or "") .. " return M")
    return function(...)
        if not package.loaded.bus then
            write("bus", [[
                local bus = { list = {} }
                function bus.on(event, f) bus.list[#bus.list + 1] = { event = event, f = f } end
                function bus.add(_, data, f) bus.list[#bus.list + 1] = { data = data, f = f } end
                function bus.all(handlers)
                    for event, f in pairs(handlers) do bus.on(event, f) end
                end
                return bus]])
        end
        return module(text)(...)
    end
end

--- A class of `n` methods, and one that a library makes of it: the library copies the methods.
local function classes(...)
    if not package.loaded.class then
        write("class", [[
            return function(base)
                local c = {}
                for k, v in pairs(base or {}) do c[k] = v end
                c.__index, c.class = c, c
                return setmetatable(c, { __call = function() return setmetatable({}, c) end })
            end]])
    end
    return module(lines("local class = require 'class' local M = class()",
        "function M:f$i() return self, $v end", "M.Sub = class(M) return M"))(...)
end

--- The first `changed` after the module was loaded: nothing is on record.
local function first_changed(text)
    return function(n)
        write("m", text(n, 1))
        require "m"
        return function()
            -- Another object: what the last look found is not about it.
            package.loaded.m = nil
            require "m"
            return function()
                assert(#hotreload.changed { names = { "m" } } == 0)
            end
        end
    end
end

local function many_modules(text, step)
    return function(n)
        local names = {}
        for i = 1, n do
            names[i] = "m" .. i
            write(names[i], text(i, 1))
            require(names[i])
        end
        return step(n, names, function(version)
            for i = 1, n do write(names[i], text(i, version)) end
        end)
    end
end

local function small(i, version)
    return format("local M = {}\nfunction M.f() return %d, %d end\nreturn M\n", i, version)
end

local function chained(i, version)
    local needed = i > 1 and format("local other = require %q\n", "m" .. i - 1) or "local other\n"
    return needed .. format("local M = {}\nfunction M.f() return %d, other end\nreturn M\n",
        version)
end

--- A watcher's clock that a test moves on.
local function watching(options)
    local now = 0
    options.clock = function() return now end
    options.settle, options.on_error = 0, error
    local watcher = require "hotreload.watch".new(options)
    return watcher, function() now = now + 10 end
end

------------------------------------------------------------------------------------------------------------------------
-- The dimensions

local functions = fields "function M.f$i(a) return a, $v end"
local constants = fields "do local c$i = $v function M.f$i() return c$i end end"
local tables = fields "M.t$i = { level = $v, name = 'row $i' }"
local methods = lines("local C = {} C.__index = C",
    "function C:m$i() return self, $v end", "return C")
local handlers = lines("HANDLERS = HANDLERS or {} local M = {}",
    "function M.f$i() return $v end HANDLERS[#HANDLERS + 1] = M.f$i", "return M")
local nameless = lines("HANDLERS = HANDLERS or {} local M = {}",
    "HANDLERS[#HANDLERS + 1] = function() return $i, $v end", "return M")
local objects = lines("OBJECTS = OBJECTS or {} local M = {}",
    "OBJECTS[#OBJECTS + 1] = { id = $i, run = function() return $v end }", "return M")
local factory = function(_, version)
    return format("local M = { made = {} }\nfunction M.make(i)\n  local \z
        function run()\n    return i, %d\n  end\n"
        .. "  return run\nend\nreturn M\n", version)
end

local function make_closures(m, n)
    for i = 1, n do m.made[i] = m.make(i) end
end

local dimensions = {
    -- What a module's file has.
    { "functions", module(functions) },
    { "functions, full report", module(functions, { options = { report = "full" } }) },
    { "functions, scope vm", module(functions, { options = { scope = "vm" } }) },
    { "functions, dry run", module(functions, { options = { dry_run = true } }) },
    { "registrations", registrations "function M.f$i() return $v end bus.on('e$i', M.f$i)" },
    { "registrations without names",
        registrations "bus.on('e$i', function() return M, $i, $v end)" },
    { "registrations with one call",
        registrations("e$i = function() return $v end,", nil, "bus.all") },
    { "registrations, new",
        registrations("function M.f$i() return $v end bus.on('e$i', M.f$i)", "e$v.") },
    { "functions, undone",
        module(functions, { after = function() assert(hotreload.undo "m") end }) },
    { "functions, tracked, merge",
        module(functions, { track = true, options = { data = "merge" } }) },
    { "functions added", module(functions, { becomes = lines("local M = {}",
        "function M.f$v_$i() return $v end", "return M") }) },
    { "global functions", module(lines("", "function g$i() return $v end", "")) },
    { "globals", module(lines("", "G$i = $v", "")) },
    { "global tables", module(lines("", "G$i = G$i or { level = $v }", "")) },
    { "local functions", module(fields "do local function h$i() return $v end \z
        function M.f$i() return h$i() end end") },
    { "locals: constants", module(constants) },
    { "locals: constants, kept", module(constants, { options = { constants = "keep" } }) },
    { "locals: constants, assigned", module(fields
        "do local c$i = $v function M.f$i() return c$i end function M.s$i(x) c$i = x end end") },
    { "locals: constants on one line", module(function(n, version)
        return (constants(n, version):gsub("\n", " "))
    end) },
    { "locals: aliases", module(fields
        "do local a = $v local b = a function M.f$i() return a, b end end") },
    { "locals: constant functions", module(fields
        "do local c$i = $i % 2 == $v % 2 and print or type function M.f$i() return c$i end end") },
    { "locals: value becomes function", module(fields
        "do local c$i = $v function M.f$i() return c$i end end", { becomes = fields
        "do local function c$i() return $v end function M.f$i() return c$i end end" }) },
    { "locals: tables",
        module(fields "do local t$i = { $v } function M.f$i() return t$i end end") },
    { "locals: renamed", module(fields "do local t$i = { $v } function M.f$i() return t$i end end",
        { becomes = fields "do local u_$v_$i = { $v } function M.f$i() return u_$v_$i end end" }) },
    { "locals of one name",
        module(fields "do local t = { $v } function M.f$i() return t end end") },
    { "upvalues of functions", module(function(n, version)
        local list = { "local M = {}" }
        for i = 1, 60 do list[#list + 1] = format("local u%d = {}", i) end
        local all = {}
        for i = 1, 60 do all[i] = "u" .. i end
        for i = 1, n // 10 do
            list[#list + 1] = format("function M.f%d() return %d, %s end", i, version,
                concat(all, ", "))
        end
        return concat(list, "\n") .. "\nreturn M"
    end) },
    { "fields", module(fields "M.x$i = $v") },
    { "fields, replace", module(fields "M.x$i = $v", { options = { data = "replace" } }) },
    { "fields, tracked, merge",
        module(fields "M.x$i = $v", { track = true, options = { data = "merge" } }) },
    { "fields, first changed()", first_changed(fields "M.x$i = 1") },
    { "functions, first changed()", first_changed(functions) },
    { "functions in tables, first changed()",
        first_changed(fields "M.t$i = {} function M.t$i.f() end") },
    { "functions of locals, first changed()", first_changed(lines("local M, T = {}, {}",
        "function T.f$i() end", "function M.g() return T end return M")) },
    { "global functions, first changed()", first_changed(lines("", "function g$i() end", "")) },
    { "strings",
        module(lines("local M = {} local s", "s = 'string $i'",
            "function M.f() return $v end return M")) },
    { "tables", module(tables) },
    { "tables in depth", module(lines("local M = {} local t = M",
        "t.next = { level = $v, f = function() return $v end } t = t.next", "return M")) },
    { "references to one table",
        module(lines("local M = { one = {} }", "M.t$i = M.one", "return M")) },
    { "references among tables",
        module(fields "M.t$i = { other = M.t1, f = function() return $v end }") },
    { "keys that are tables",
        module(fields "do local k = {} M[k] = { f = function() return $v, k end } end") },
    { "methods", module(methods) },
    { "methods, with instances", module(methods, { prepare = function(m, n)
        for i = 1, n do held[i] = setmetatable({}, m) end
    end }) },
    { "classes",
        module(fields "do local C = {} C.__index = C function C.f() return $v end M.C$i = C end") },
    { "classes with a parent",
        module(lines("local M = {} local Base = {} Base.__index = Base M.Base = Base",
        "do local C = setmetatable({}, { __index = Base }) C.__index = C \z
            function C.f() return $v end M.C$i = C end",
        "return M")) },
    { "classes in a chain", module(lines("local M = {} local last = {} M.first = last",
        "do local C = setmetatable({}, { __index = last }) C.__index = C \z
            function C.f() return $v end M.C$i = C "
        .. "last = C end", "return M")) },
    { "imports of fields", module(lines("local M, d = {}, require 'dep'",
        "do local f$i = d.f function M.g$i() return f$i, $v end end", "return M")) },
    { "imports in slots",
        module(lines("local M, d = {}, require 'dep'", "M.g$i = d.f", "return M")) },
    { "imports of modules", function(n)
        for i = 1, n do package.loaded["d" .. i] = { f = function() end } end
        return module(fields "do local d = require 'd$i' \z
            function M.g$i() return d.f, $v end end")(n)
    end },
    { "imports of modules that change", function(n)
        for i = 0, n + 1 do package.loaded["d" .. i] = { f = function() end } end
        return module(function(_, version)
            local list = { "local M = {}" }
            for i = 1, n do
                list[#list + 1] = format("do local d = require 'd%d' \z
                    function M.g%d() return d end end",
                    i + version % 2, i)
            end
            return concat(list, "\n") .. "\nreturn M"
        end)(n)
    end },

    -- Registrations.
    { "handlers by name", module(handlers) },
    { "handlers without a name", module(nameless) },
    { "handlers of one event", registrations "bus.on('e', function() return $v end)" },
    { "handlers of one event, one edited", registrations(
        "bus.on('e', function() return $i == 1 and $v end)") },
    { "registrations, their data edited",
        registrations "bus.on('e$i', { f = function() return $i end, value = 'a$v' })" },
    { "registrations of no name, their data edited",
        registrations "bus.add('e$i', { value = 'a$v', n = $i }, function() return $i end)" },
    { "registrations of no name and one function, their data edited",
        registrations "M.f = M.f or function() end bus.add('e$i', { value = 'a$v' }, M.f)" },
    { "registrations of no name, new", registrations(
        "bus.add('e$i', { value = 'a', n = $i$v }, function() return $i$v end)", "e$v.") },
    { "methods that a library copies", classes },
    { "handlers, one more", module(nameless,
        { becomes = function(n, version) return nameless(n + version, version) end }) },
    { "objects registered", module(objects) },
    { "objects registered, one more", module(objects,
        { becomes = function(n, version) return objects(n + version, version) end }) },
    { "list of functions",
        module(lines("local M = {} M.list = {", "function() return $v end,", "} return M")) },
    { "list of functions, first removed", module(
        lines("local M = {} M.list = {", "function() return $i, $v end,", "} return M"),
        { prepare = function(m) table.remove(m.list, 1) end }) },
    { "list of functions, one added", module(
        lines("local M = {} M.list = {", "function() return $v end,", "} return M"),
        { prepare = function(m) table.insert(m.list, 1, function() end) end }) },
    { "list of objects, first removed", module(
        lines("local M = {} M.list = {", "{ id = $i, f = function() return $v end },",
            "} return M"),
        { prepare = function(m) table.remove(m.list, 1) end }) },
    { "rows of handlers", module(rows "{ name = 'n$i', on = function() return $v end },") },

    -- Data.
    { "rows, keep", module(rows "{ id = $i, price = $v, tags = { $i } },") },
    { "rows, replace", module(rows "{ id = $i, price = $v, tags = { $i } },",
        { options = { data = "replace" } }) },
    { "rows, merge", module(rows "{ id = $i, price = $v, tags = { $i } },",
        { track = true, options = { data = "merge" } }) },
    { "rows by name, replace",
        module(rows "item$i = { id = $i, price = $v },", { options = { data = "replace" } }) },
    { "rows by name, merge", module(rows "item$i = { id = $i, price = $v },",
        { track = true, options = { data = "merge" } }) },
    { "rows gone, replace", module(rows "item$i = { id = $i, price = $v },",
        { options = { data = "replace" },
            becomes = rows "item$i_$v = { id = $i, price = $v }," }) },
    { "rows gone, merge", module(rows "item$i = { id = $i, price = $v },",
        { track = true, options = { data = "merge" },
            becomes = rows "item$i_$v = { id = $i, price = $v }," }) },
    { "scalars, replace", module(rows "$i * $v,", { options = { data = "replace" } }) },
    { "running rows",
        module(lines("local M = { rows = {} }", "", "function M.f() return $v end return M"),
        { prepare = function(m, n) for i = 1, n * 10 do m.rows[i] = { i } end end }) },
    { "running rows in a list of objects", module(
        function(_, version)
            return format("local M = { list = { { f = function() return %d end } } }\nreturn M",
                version)
        end,
        { prepare = function(m, n) for i = 1, n do m.list[i + 1] = { id = i } end end }) },
    { "running rows in a reference", module(
        function(_, version)
            return format("local M = { a = { x = 1 } }\nM.b = M.a\nfunction M.f() \z
                return %d end return M", version)
        end,
        { prepare = function(m, n) m.b = {} for i = 1, n * 10 do m.b[i] = i end end }) },
    { "running rows as a parent", module(
        function(_, version)
            return format("local P = { f = function() return %d end } "
                .. "local M = setmetatable({}, { __index = P })\nreturn M", version)
        end,
        { prepare = function(m, n)
            local data = {}
            for i = 1, n * 10 do data[i] = i end
            setmetatable(m, { __index = data })
        end }) },

    -- What the program has made of it.
    { "closures of a factory", module(factory, { prepare = make_closures }) },
    { "closures of a factory, scope vm",
        module(factory, { prepare = make_closures, options = { scope = "vm" } }) },
    { "closures in cells", module(lines("local M = {}",
        "do local run$i = function() return 1 end function M.f$i() return run$i end\n"
        .. "function M.set$i()\n run$i = function()\n return $v\n end\n end end", "return M"),
        { prepare = function(m, n) for i = 1, n do m["set" .. i]() end end }) },
    { "closures in a list of handlers", module(lines("local M = { list = {",
        "function() return $i, $v end,",
        "} } function M.make()\n return function()\n return $v\n end\n end return M"),
        { prepare = function(m, n) for i = 1, n do m.list[n - i + 1] = m.make() end end }) },
    { "closures in fields", module(function(_, version)
        return format("local M = {}\nfunction M.make()\n return function()\n \z
            return %d\n end\nend\nreturn M", version)
    end, { prepare = function(m, n) for i = 1, n do m["made" .. i] = m.make() end end }) },
    { "functions that the file lacks", module(functions, { becomes = lines("local M = {}", "",
        "function M.f() return $v end return M") }) },
    { "coroutines, scope vm",
        module(functions, { options = { scope = "vm" }, prepare = function(m, n)
        for i = 1, n do
            held[i] = coroutine.create(function() coroutine.yield(m.f1) end)
            coroutine.resume(held[i])
        end
    end }) },
    { "stale functions", module(functions, {
        prepare = function(m, n) for i = 1, n do held[i] = m["f" .. i] end end,
        after = function() assert(hotreload.stale "m") end }) },

    -- What a reload reports.
    { "conflicts, refused", module(functions, { fails = true, becomes = fields "M.f$i = $v" }) },
    { "conflicts, kept",
        module(functions, { becomes = fields "M.f$i = $v", options = { on_conflict = "keep" } }) },
    { "conflicts, replaced", module(functions, { becomes = function(n, version)
        return (version % 2 == 0 and fields "M.f$i = $v" or functions)(n, version)
    end, options = { on_conflict = "replace" } }) },
    { "warnings",
        module(lines("local M = {} M.list = {", "{ id = $i, f = function() return $v end },",
            "} return M"),
        { prepare = function(m) for i = #m.list, 1, -1 do m.list[i] = nil end end,
            check = function(report, n) assert(#report.warnings >= n, #report.warnings) end }) },
    { "locals that share a cell", module(function(n, version)
        local list = { "local M = {}" }
        for i = 1, n do
            list[#list + 1] = format(version == 1 and "do local a%d = %d \z
                function M.f%d() return a%d end "
                .. "local b%d = %d function M.g%d() return b%d end end"
                or "do local a%d = %d function M.f%d() return a%d end \z
                    function M.g%d() return a%d, %d end end",
                table.unpack(version == 1 and { i, i, i, i, i, i, i, i }
                    or { i, i, i, i, i, i, version }))
        end
        return concat(list, "\n") .. "\nreturn M"
    end) },

    -- Many modules.
    { "modules in a list", many_modules(small, function(_, names, change)
        local version = 1
        return function()
            version = version + 1
            change(version)
            return function() reload(names) end
        end
    end) },
    { "modules that are loaded", many_modules(small, function(_, names)
        return function()
            return function() for _ = 1, 100 do reload(names[1]) end end
        end
    end) },
    { "modules, changed(), nothing on record", many_modules(small, function(_, names)
        return function()
            for _, name in ipairs(names) do package.loaded[name] = nil require(name) end
            return function() assert(#hotreload.changed() == 0) end
        end
    end) },
    { "modules, changed(), all on record", many_modules(small, function(_, names)
        reload(names)
        return function() return function() assert(#hotreload.changed() == 0) end end
    end) },
    { "modules of a poll, unchanged", many_modules(small, function()
        os.execute "sleep 2.1" -- younger files are read
        local watcher, go_on = watching { most = 1 << 30 }
        return function()
            go_on()
            return function() assert(watcher:poll() == 0) end
        end
    end) },
    { "modules of a poll, changed", many_modules(small, function(n, _, change)
        local watcher, go_on = watching {}
        local version = 1
        return function()
            version = version + 1
            change(version)
            return function()
                local count = 0
                while count < n do go_on() count = count + watcher:poll() end
            end
        end
    end) },
    { "modules of a poll, changed, together", many_modules(small, function(n, _, change)
        local watcher, go_on = watching { together = true, most = 1 << 30 }
        local version = 1
        return function()
            version = version + 1
            change(version)
            return function() go_on() assert(watcher:poll() == n) end
        end
    end) },
    { "modules that require loads", function(n)
        local names = {}
        for i = 1, n do
            names[i] = "m" .. i
            package.preload[names[i]] = assert(load(small(i, 1), "@" .. names[i] .. ".lua"))
        end
        return function()
            for _, name in ipairs(names) do package.loaded[name] = nil end
            return function()
                for _, name in ipairs(names) do require(name) end
            end
        end
    end },
    { "modules in order", many_modules(chained, function(n, names)
        return function()
            return function() assert(#require "hotreload.watch".order(names) == n) end
        end
    end) },
    { "modules, scope vm", many_modules(small, function(_, names)
        return function() return function() reload(names, { scope = "vm" }) end end
    end) },
}

------------------------------------------------------------------------------------------------------------------------
-- Running

local function quoted(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- The instructions of a process that runs a dimension so many times; nil without valgrind.
local function instructions(which, n, runs)
    local pipe = assert(io.popen(format("timeout %d valgrind --tool=cachegrind --cache-sim=no "
        .. "--cachegrind-out-file=/dev/null %s %s --child %d %d %d 2>&1", PATIENCE * 10,
        quoted(arg[-1]),
        quoted(arg[0]), which, n, runs)))
    local said = pipe:read "a"
    pipe:close()
    local count = said:match "I%s+refs:%s*([%d,]+)"
    return count and tonumber((count:gsub(",", "")))
end

--- The exponent of the growth of a run's instructions between two sizes; nil without valgrind.
local function exponent_of_instructions(which, few, many)
    local counts = {}
    for i, n in ipairs { few, many } do
        local one, two = instructions(which, n, 1), instructions(which, n, 2)
        if not one or not two or two <= one then return nil end
        counts[i] = two - one
    end
    return math.log(counts[2] / counts[1]) / math.log(many / few)
end

local function measure(step, count)
    if count then
        for _ = 1, count do step()() end
        return 0
    end
    local least, total, runs = math.huge, 0, 0
    while runs < LEAST_RUNS or total < ENOUGH do
        local run = step()
        collectgarbage()
        local begun = os.clock()
        run()
        local time = os.clock() - begun
        least, total, runs = math.min(least, time), total + time, runs + 1
        if runs >= 2 and total > 20 then break end
    end
    return least
end

--- One dimension at one size, in this process: prints the seconds that it took.
local function child(which, n, count)
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. quoted(folder)))
    package.path = folder .. "/?.lua;lua/?.lua"
    package.cpath = "build/?.so"
    package.preload.dep = function() return { f = function() end } end
    local ok, result = xpcall(function()
        hotreload = require "hotreload"
        return measure(dimensions[which][2](n), count)
    end, debug.traceback)
    os.execute("rm -r " .. quoted(folder))
    if not ok then error(result, 0) end
    print(result)
end

local function parent(names)
    local wanted = {}
    for _, name in ipairs(names) do wanted[name] = true end
    print(format("Least processor time of a run in ms, and the exponent of its growth \z
        (goal %.1f):\n", MOST))
    local head = { format("%-42s", "dimension") }
    for i, n in ipairs(SIZES) do
        head[#head + 1] = format("%9d", n)
        if i > 1 then head[#head + 1] = format("%5s", "exp.") end
    end
    print(concat(head, " "))
    local met, missed = 0, 0
    for which, dimension in ipairs(dimensions) do
        local name = dimension[1]
        if not names[1] or wanted[name] then
            io.write(format("%-42s", name))
            local last, exponent, failed
            for i, n in ipairs(SIZES) do
                local pipe = assert(io.popen(format("timeout %d %s %s --child %d %d 2>&1", PATIENCE,
                    quoted(arg[-1]),
                    quoted(arg[0]), which, n)))
                local said = pipe:read "a"
                pipe:close()
                local time = tonumber(said)
                if not time then
                    failed = said == "" and format("no end within %d s", PATIENCE) or said
                    break
                end
                io.write(format(" %9.2f", time * 1000))
                if i > 1 then
                    exponent = time < NOTHING and 0
                        or math.log(time / last) / math.log(n / SIZES[i - 1])
                    io.write(format(" %5.2f", exponent))
                end
                io.flush()
                last = time
            end
            local counted = not failed and exponent > MOST
                and exponent_of_instructions(which, SIZES[#SIZES - 1], SIZES[#SIZES])
            local good = not failed and (counted or exponent) <= MOST
            print((good and "  met" or "  MISSED") .. (counted and format(", instructions \z
                %.2f", counted) or "")
                .. (failed and ": " .. failed or ""))
            met, missed = met + (good and 1 or 0), missed + (good and 0 or 1)
        end
    end
    print(format("\n%d met, %d missed", met, missed))
    return missed == 0 and met > 0
end

if arg[1] == "--child" then
    child(tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]))
else
    os.exit(parent(arg))
end
