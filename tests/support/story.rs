//! Stories: a module `m` in two versions, a program that has used the first one, and what it finds
//! after the reload.

use super::Program;

/// One story. All its texts get the table of `program.lua` as their argument.
pub struct Story {
    pub name: &'static str,
    /// The files as they are first, by module.
    pub before: &'static [(&'static str, &'static str)],
    /// The files that are there when the reload comes.
    pub after: &'static [(&'static str, &'static str)],
    /// Runs with the first files.
    pub start: &'static str,
    /// What is called: a text that returns the function. Its arguments are the module's name and
    /// the options.
    pub call: &'static str,
    /// The options of the reload, a Lua expression.
    pub options: &'static str,
    /// What the reload does when nothing fails.
    pub ends: End,
    /// Runs after a reload that was done, or was refused as it should, or failed: makes a good
    /// reload where none was done (`test.done` tells), and looks at what the program has then.
    pub settle: &'static str,
}

/// How a reload ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It is done.
    Done,
    /// It is done and changes nothing: a dry run.
    Dry,
    /// It is done. What fails may have done part of it, and the next call goes on: a sweep in
    /// slices.
    Part,
    /// It is refused or undone, and the message has this in it.
    Refused(&'static str),
}

impl Story {
    /// A program at the point where the reload comes.
    pub fn begin(&self) -> Program {
        let program = Program::new();
        self.prepare(&program);
        program
    }

    /// Brings a new program to the point where the reload comes.
    pub fn prepare(&self, program: &Program) {
        for (module, text) in self.before {
            program.write(module, text);
        }
        program.must(self.start);
        for (module, text) in self.after {
            program.write(module, text);
        }
    }

    /// Pushes the function and the two arguments of the story's call.
    pub fn push(&self, program: &Program) {
        program.push(self.call);
        program.push("return 'm'");
        program.push(&format!("return {}", self.options));
    }

    /// Runs `settle`.
    #[track_caller]
    pub fn settle(&self, program: &Program, done: bool) {
        program.must(&format!("local test = ... test.done = {done}"));
        program.must(self.settle);
    }
}

const RELOAD: &str = "return gg.reload";
const GO: &str = "local test = ... return test.go";

/// All stories.
pub const ALL: [&Story; 45] = [
    &FIRST,
    &FUNCTIONS,
    &AGAIN,
    &ONE_EDITED,
    &OTHERS_EDITED,
    &CLASS,
    &GLOBALS,
    &REGISTRY,
    &RAISES,
    &REPLACE,
    &MERGE,
    &TRACK,
    &CONSTANTS,
    &HOOK,
    &HOOK_RAISES,
    &MIGRATED,
    &STEPS_BACK,
    &ROWS_BACK,
    &HOOK_WAITS,
    &HOOK_WAITS_AND_RAISES,
    &HOOK_IS_CLOSED,
    &DRY,
    &CONFLICTS,
    &EVERYWHERE,
    &EVERYWHERE_AND_BACK,
    &EVERYWHERE_DRY,
    &SEVERAL,
    &SEVERAL_AND_BACK,
    &UNDO,
    &SLICED,
    &CHANGED,
    &STALE,
    &BEGUN,
    &SWEEP,
    &PLAN,
    &CHANGED_DATA,
    &WATCH,
    &CONFIGURED,
    &BUNDLE,
    &BUS,
    &BUS_DRY,
    &BUS_RAISES,
    &BUS_CONFLICTS,
    &BUS_HOOK_RAISES,
    &BUS_UNDO,
];

/// A module that counts: its locals, functions besides, and the last one.
macro_rules! counts {
    ($locals:literal, $more:literal, $last:literal) => {
        concat!(
            "local ",
            $locals,
            "
        local function note(x)
            count = count + 1
            log[#log + 1] = 'v1 ' .. x
        end
        local M = { nested = { deep = { data = 1, limits = { 1, 2 } } }, limit = 10 }",
            $more,
            "
        function M.add(x) note(x) return count end
        function M.log() return log end
        function M.nested.deep.",
            $last,
            "
        return M"
        )
    };
}

/// A program that has used it.
macro_rules! uses_counts {
    () => {
        "
        m = require 'm'
        m.add 'a'
        m.nested.deep.data = 42
        m.own = { m.add }
        old_add, old_log, old_f = m.add, m.log(), m.nested.deep.f"
    };
}

/// The module is not loaded yet, and has a dependency.
pub const FIRST: Story = Story {
    name: "first",
    before: &[],
    after: &[
        (
            "m",
            "local dep = require 'dep' FIRST = true return { dep = dep, f = function() \
             return dep.value end }",
        ),
        ("dep", "return { value = 7 }"),
    ],
    start: "",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        local m = package.loaded.m
        test.equal(m.f(), 7)
        test.equal(m.dep, package.loaded.dep)
        test.equal(FIRST, true)
        test.reload 'm'
        test.equal(package.loaded.m, m)",
};

/// Scope "vm": references in all kinds of places, and a closure of a factory.
pub const EVERYWHERE: Story = Story {
    name: "everywhere",
    before: &[(
        "m",
        "local count, M = 0, { class = {} }
        function M.f() count = count + 1 return 'v1', count end
        function M.new(x) return function() x = x + 1 return 'v1', x end end
        return M",
    )],
    after: &[(
        "m",
        "local extra, count, M = 'v2', 0, { class = {} }
        function M.f() count = count + 1 return extra, count end
        function M.new(x) return function() x = x + 1 return extra, x end end
        return M",
    )],
    start: "
        m = require 'm'
        held = { m.f, { cb = m.new(10) }, [m.f] = 'key' }
        keeper = coroutine.create(function(f) local mine = f coroutine.yield() return mine() end)
        coroutine.resume(keeper, m.f)
        m.f()",
    call: RELOAD,
    options: "{ scope = 'vm' }",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload('m', { scope = 'vm' }) end
        test.equal(held[1], m.f)
        test.equal(held[m.f], 'key')
        test.equal(held[1](), 'v2')
        test.equal(held[2].cb(), 'v2')
        test.equal(select(2, held[2].cb()), 12)
        test.equal(select(2, coroutine.resume(keeper)), 'v2')",
};

/// The same, and the hook raises: all references go back.
pub const EVERYWHERE_AND_BACK: Story = Story {
    name: "everywhere and back",
    after: &[(
        "m",
        "local extra, count, M = 'v2', 0, { class = {} }
        function M.f() count = count + 1 return extra, count end
        function M.new(x) return function() x = x + 1 return extra, x end end
        function M.__hotfix() error 'hook says no' end
        return M",
    )],
    ends: End::Refused("hook says no"),
    settle: "
        local test = ...
        test.equal(held[1], m.f)
        test.equal(held[m.f], 'key')
        test.equal(held[1](), 'v1')
        test.equal(held[2].cb(), 'v1')
        test.equal(select(2, held[2].cb()), 12)
        test.equal(select(2, coroutine.resume(keeper)), 'v1')",
    ..EVERYWHERE
};

/// The same, dry.
pub const EVERYWHERE_DRY: Story = Story {
    name: "everywhere, dry",
    options: "{ scope = 'vm', dry_run = true }",
    ends: End::Dry,
    after: EVERYWHERE_AND_BACK.after,
    settle: EVERYWHERE_AND_BACK.settle,
    ..EVERYWHERE
};

/// Two modules at once; the second takes something from the first.
pub const SEVERAL: Story = Story {
    name: "several",
    before: &[
        (
            "m",
            "local n = 0 return { f = function() n = n + 1 return 'v1', n end }",
        ),
        (
            "other",
            "local f = require('m').f return { g = function() return f() end }",
        ),
    ],
    after: &[
        (
            "m",
            "local n = 0 return { f = function() n = n + 1 return 'v2', n end, new = function() \
             return 'new' end }",
        ),
        (
            "other",
            "local new = require('m').new return { g = function() return new() end }",
        ),
    ],
    start: "
        m, other = require 'm', require 'other'
        m.f()",
    call: "return function(_, options) return gg.reload({ 'm', 'other' }, options) end",
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then assert(gg.reload { 'm', 'other' }) end
        test.equal(m.f(), 'v2')
        test.equal(select(2, m.f()), 3)
        test.equal(other.g(), 'new')",
};

/// The same, and the second one raises.
pub const SEVERAL_AND_BACK: Story = Story {
    name: "several and back",
    after: &[
        (
            "m",
            "local n = 0 return { f = function() n = n + 1 return 'v2', n end, new = function() \
             return 'new' end }",
        ),
        ("other", "local new = require('m').new error(new())"),
    ],
    ends: End::Refused("new"),
    settle: "
        local test = ...
        test.equal(m.f(), 'v1')
        test.equal(m.new, nil)
        test.equal(select(2, other.g()), 3)
        test.reload 'm'
        test.equal(m.f(), 'v2')",
    ..SEVERAL
};

/// The last reload is undone, in scope "vm".
pub const UNDO: Story = Story {
    name: "undo",
    start: "
        local test = ...
        m = require 'm'
        held = { m.f, { cb = m.new(10) }, [m.f] = 'key' }
        m.f()
        test.reload('m', { scope = 'vm' })
        since = { m.f }",
    call: "return function(name) return require('hotreload').undo(name) end",
    options: "nil",
    settle: "
        local test = ...
        if not test.done then assert(require('hotreload').undo 'm') end
        test.equal(held[1], m.f)
        test.equal(since[1], m.f)
        test.equal(held[m.f], 'key')
        test.equal(held[1](), 'v1')
        test.equal(held[2].cb(), 'v1')
        test.equal(select(2, held[2].cb()), 12)
        test.reload('m', { scope = 'vm' })
        test.equal(held[1](), 'v2')
        test.equal(held[2].cb(), 'v2')",
    ..EVERYWHERE
};

/// One slice of a sweep that a reload has left (R9.4): it walks all of this program.
pub const SLICED: Story = Story {
    name: "sliced",
    start: "
        local test = ...
        m = require 'm'
        held = { m.f, { cb = m.new(10) }, [m.f] = 'key' }
        keeper = coroutine.create(function(f) local mine = f coroutine.yield() return mine() end)
        coroutine.resume(keeper, m.f)
        m.f()
        local extra_first = [[
            local extra, count, M = 'v2', 0, { class = {} }
            function M.f() count = count + 1 return extra, count end
            function M.new(x) return function() x = x + 1 return extra, x end end
            return M
        ]]
        test.reload('m', { scope = 'vm', budget_ms = 10000, source = extra_first })",
    call: "return function()
        local done, progress = require('hotreload').sweep(10000)
        if done == nil then return false, progress end
        return progress.references > 0
    end",
    options: "nil",
    settle: "
        local sweep = require('hotreload').sweep
        repeat
            local done, why = sweep(10000)
            if done == nil then error(why) end
        until done
        local test = ...
        test.equal(held[1], m.f)
        test.equal(held[m.f], 'key')
        test.equal(held[1](), 'v2')
        test.equal(held[2].cb(), 'v2')
        test.equal(select(2, held[2].cb()), 12)
        test.equal(select(2, coroutine.resume(keeper)), 'v2')",
    ..EVERYWHERE
};

/// Which files changed (R12): the file of `m` did, that of `other` did not.
pub const CHANGED: Story = Story {
    name: "changed",
    before: SEVERAL.before,
    after: &[(
        "m",
        "local n = 0 return { f = function() n = n + 1 return 'v2', n end, new = function() \
         return 'new' end }",
    )],
    start: SEVERAL.start,
    call: "return function()
        local names, problems = require('hotreload').changed()
        return names[1] == 'm' and not names[2], problems.m or problems.other
    end",
    options: "nil",
    ends: End::Dry,
    settle: "
        local test = ...
        local names, problems = require('hotreload').changed()
        test.equal(names[1], 'm')
        test.equal(names[2], nil)
        test.equal(next(problems), nil)
        test.reload 'm'
        test.equal(m.f(), 'v2')",
};

/// What still runs old code (R11).
pub const STALE: Story = Story {
    name: "stale",
    start: "
        local test = ...
        m = require 'm'
        held = { m.f, { cb = m.new(10) }, [m.f] = 'key' }
        m.f()
        test.reload('m', { source = [[
            local count, M = 0, { class = {} }

            function M.f() count = count + 1 return 'v2', count end
            function M.new(x) return function() x = x + 1 return 'v2', x end end
            return M
        ]] })",
    call: "return function()
        local list, why = require('hotreload').stale()
        return list and list[1] ~= nil, why
    end",
    options: "nil",
    ends: End::Dry,
    settle: "
        local test = ...
        local lines = {}
        for i, old in ipairs(require('hotreload').stale()) do lines[i] = old.line end
        table.sort(lines)
        test.equal(table.concat(lines, ' '), '2 3')
        test.equal(m.f(), 'v2')",
    ..EVERYWHERE
};

/// Scope "vm" in slices: the reload itself, which commits and walks for as long as it may.
pub const BEGUN: Story = Story {
    name: "begun",
    options: "{ scope = 'vm', budget_ms = 0.001 }",
    settle: "
        local test = ...
        local hotreload = require 'hotreload'
        if not test.done then
            while not assert(hotreload.sweep()) do end
            test.equal(held[1], m.f)
            test.equal(m.f(), 'v1')
            test.reload('m', { scope = 'vm', budget_ms = 0.001 })
        end
        test.equal(m.f(), 'v2')
        while not assert(hotreload.sweep()) do end
        test.equal(held[1], m.f)
        test.equal(held[m.f], 'key')
        test.equal(held[2].cb(), 'v2')
        test.equal(select(2, held[2].cb()), 12)
        test.equal(select(2, coroutine.resume(keeper)), 'v2')
        test.reload('m', { scope = 'vm' })",
    ..EVERYWHERE
};

/// The slices that come after it, of as little as can be, to the end.
pub const SWEEP: Story = Story {
    name: "sweep",
    start: "
        local test = ...
        m = require 'm'
        held = { m.f, { cb = m.new(10) }, [m.f] = 'key' }
        keeper = coroutine.create(function(f) local mine = f coroutine.yield() return mine() end)
        coroutine.resume(keeper, m.f)
        m.f()
        local sweep = require('hotreload').sweep
        function test.sweep()
            for _ = 1, 1000 do
                local done, why = sweep(0.001)
                if done then return true end
                if done == nil then return nil, why end
            end
            return nil, 'no end'
        end
        test.options = { scope = 'vm', budget_ms = 0.001, source = [[
            local extra, count, M = 'v2', 0, { class = {} }
            function M.f() count = count + 1 return extra, count end
            function M.new(x) return function() x = x + 1 return extra, x end end
            return M
        ]] }
        assert(gg.reload('m', test.options))",
    call: "local test = ... return test.sweep",
    options: "nil",
    ends: End::Part,
    settle: "
        local test = ...
        while not assert(require('hotreload').sweep()) do end
        test.equal(held[1], m.f)
        test.equal(held[m.f], 'key')
        test.equal(held[2].cb(), 'v2')
        test.equal(select(2, held[2].cb()), 12)
        test.equal(select(2, coroutine.resume(keeper)), 'v2')
        test.reload('m', { scope = 'vm' })",
    ..EVERYWHERE
};

/// The list of what still runs old code, with the ways to each, which many steps lead to: for some
/// faults only.
pub const STALE_WAYS: Story = Story {
    name: "stale, with ways",
    start: "
        local test = ...
        m = require 'm'
        held = { m.f, { cb = m.new(10) } }
        test.options = { source = [[
            local count, M = 0, { class = {} }
            function M.f() count = count + 1 return 'v2', count end
            function M.new(x) return function() x = x + 1 return 'v2', x end end
            return M
        ]] }
        test.reload('m', test.options)
        local stale = require('hotreload').stale
        function test.go(name, options)
            local list, why = stale(name, options)
            if not list then return list, why end
            return #list == 2 and #list[1].paths > 0, 'an incomplete list'
        end",
    call: GO,
    options: "{ paths = true }",
    ends: End::Dry,
    settle: "
        local test = ...
        test.equal(test.go('m', { paths = true }), true)
        test.equal(held[1](), 'v1')
        test.reload('m', { scope = 'vm' })
        test.equal(held[1](), 'v2')
        test.equal(held[1], m.f)",
    ..EVERYWHERE
};

/// The text for a person of what a reload would do.
pub const PLAN: Story = Story {
    name: "plan",
    before: FUNCTIONS.before,
    after: FUNCTIONS.after,
    start: FUNCTIONS.start,
    call: "return require('hotreload').plan",
    options: "{ scope = 'vm' }",
    ends: End::Dry,
    settle: DRY.settle,
};

/// Which files changed: one that only builds a table, and that has no record yet.
pub const CHANGED_DATA: Story = Story {
    name: "changed data",
    before: &[(
        "m",
        "return { rows = { { 1, 'a' }, { 2, 'b' } }, limit = 3, name = 'v1' }",
    )],
    after: &[(
        "m",
        "return { rows = { { 1, 'a' }, { 2, 'c' } }, limit = 3, name = 'v1' }",
    )],
    start: "
        local test = ...
        m = require 'm'
        local changed, options = require('hotreload').changed, { names = { 'm' } }
        function test.go(_, is)
            local list, problems = changed(options)
            if problems.m then return nil, problems.m end
            return (list[1] == 'm') == (is ~= false), 'a wrong answer'
        end",
    call: GO,
    options: "nil",
    ends: End::Dry,
    settle: "
        local test = ...
        assert(test.go())
        test.reload('m', { data = 'replace' })
        test.equal(m.rows[2][2], 'c')
        test.equal(test.go('m', false), true)",
};

/// The watcher finds a changed file, and reloads it. When that fails, a later look does it.
pub const WATCH: Story = Story {
    name: "watch",
    before: &[
        (
            "hotreload.watch",
            include_str!("../../lua/hotreload/watch.lua"),
        ),
        (
            "m",
            "local n = 0 return { f = function() n = n + 1 return 'v1', n end }",
        ),
    ],
    after: &[(
        "m",
        "local n = 0 return { f = function() n = n + 1 return 'v2', n end, new = function() \
         return 'new' end }",
    )],
    start: "
        local test = ...
        m = require 'm'
        m.f()
        local why
        local watcher = require('hotreload.watch').new {
            filter = '^m$', interval = 0, settle = 0, on_error = function(_, message) \
            why = message end,
        }
        function test.go()
            why = nil
            local count = watcher:poll()
            return count == 1, why
        end",
    call: GO,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then assert(test.go()) end
        test.equal(m.f(), 'v2')
        test.equal(select(2, m.f()), 3)
        test.equal(m.new(), 'new')
        test.equal(test.go(), false)",
};

/// Functions of the program's own around the reload.
pub const CONFIGURED: Story = Story {
    name: "configured",
    before: FUNCTIONS.before,
    after: FUNCTIONS.after,
    start: concat!(
        "local test = ...",
        uses_counts!(),
        "
        local count = 0
        require('hotreload').configure {
            before = function(_, plan) count = count + plan.functions.replaced end,
            after = function(_, report) count = count - report.functions.replaced end,
            on_error = function() count = 0 end,
            log = function() end,
        }
        function test.count() return count end
        function test.reset() count = 0 end"
    ),
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then
            test.reset()
            test.reload 'm'
            test.equal(test.count(), 0)
        end
        test.equal(m.add 'b', 11)
        test.equal(old_add 'c', 21)
        test.equal(m.nested.deep.g(), m)",
};

/// Functions that share cells, in nested tables.
pub const FUNCTIONS: Story = Story {
    name: "functions",
    before: &[(
        "m",
        counts!("count, log = 0, {}", "", "f() return 'v1', count end"),
    )],
    after: &[(
        "m",
        "local log, count = {}, 100
        local extra = { 'extra' }
        local function note(x)
            count = count + 10
            log[#log + 1] = 'v2 ' .. x .. #extra
        end
        local M = { nested = { deep = { data = 2, limits = { 3 }, more = { extra = extra } } }, \
        limit = 20 }
        function M.add(x) note(x) return count end
        function M.log() return log end
        function M.reset() count = 0 end
        function M.nested.deep.f() return 'v2', count end
        function M.nested.deep.g() return M end
        return M",
    )],
    start: uses_counts!(),
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(package.loaded.m, m)
        test.equal(m.add 'b', 11)
        test.equal(old_add 'c', 21)
        test.equal(m.log(), old_log)
        test.equal(table.concat(old_log, '; '), 'v1 a; v2 b1; v2 c1')
        test.equal(m.nested.deep.data, 42)
        test.equal(#m.nested.deep.limits, 2)
        test.equal(m.limit, 10)
        test.equal(m.nested.deep.g(), m)
        test.equal(m.nested.deep.f(), 'v2')
        test.equal(select(2, m.nested.deep.f()), 21)
        test.equal(m.nested.deep.more.extra[1], 'extra')
        m.reset()
        test.equal(select(2, old_f()), 0)",
};

/// The same, after earlier reloads.
pub const AGAIN: Story = Story {
    name: "again",
    before: FUNCTIONS.before,
    after: FUNCTIONS.after,
    start: concat!(
        "local test = ...",
        uses_counts!(),
        "
        test.reload 'm'
        test.reload('m', { data = 'keep' })"
    ),
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: FUNCTIONS.settle,
};

/// The file was reloaded before, and one function of it is edited since.
pub const ONE_EDITED: Story = Story {
    name: "one edited",
    before: FUNCTIONS.before,
    after: &[(
        "m",
        counts!(
            "count, log = 0, {}",
            "",
            "f()
            return 'v2', count, log
        end"
        ),
    )],
    start: "
        local test = ...
        m = require 'm'
        m.add 'a'
        old_add, old_f = m.add, m.nested.deep.f
        test.reload 'm'",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(m.nested.deep.f(), 'v2')
        test.equal(select(2, m.nested.deep.f()), 1)
        test.equal(select(3, m.nested.deep.f()), m.log())
        test.equal(m.add 'b', 2)
        test.equal(m.log()[2], 'v1 b')
        test.equal(debug.getinfo(m.nested.deep.f, 'S').lastlinedefined, 11)",
};

/// The same, and the edit is another local and a new function.
pub const OTHERS_EDITED: Story = Story {
    name: "others edited",
    after: &[(
        "m",
        counts!(
            "added, count, log = 5, 0, {}",
            "
        function M.added() return added, count end",
            "f() return 'v1', count end"
        ),
    )],
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(m.added(), 5)
        test.equal(m.add 'b', 2)
        test.equal(select(2, m.added()), 2)
        test.equal(m.log()[2], 'v1 b')
        test.equal(m.nested.deep.f(), 'v1')
        test.equal(debug.getinfo(m.nested.deep.f, 'S').linedefined, 10)",
    ..ONE_EDITED
};

/// A class, its instances, inheritance, and a metatable that only the new file has.
pub const CLASS: Story = Story {
    name: "class",
    before: &[(
        "m",
        "local Base = {}
        Base.__index = Base
        function Base.name() return 'base v1' end
        local Class = setmetatable({}, Base)
        Class.__index = Class
        local made = 0
        function Class.new(n)
            made = made + 1
            return setmetatable({ n = n }, Class)
        end
        function Class:get() return self.n end
        return { Class = Class, made = function() return made end }",
    )],
    after: &[(
        "m",
        "local Base = {}
        Base.__index = Base
        function Base.name() return 'base v2' end
        local Class = setmetatable({}, Base)
        Class.__index = Class
        local made = 0
        function Class.new(n)
            made = made + 1
            return setmetatable({ n = n }, Class)
        end
        function Class:get() return self.n * 2 end
        function Class.__add(a, b) return Class.new(a.n + b.n) end
        return setmetatable({ Class = Class, made = function() return made end },
            { __call = function(_, n) return Class.new(n) end })",
    )],
    start: "m = require 'm' object = m.Class.new(5)",
    call: RELOAD,
    options: "{ report = 'full' }",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(getmetatable(object), m.Class)
        test.equal(object:get(), 10)
        test.equal(object.name(), 'base v2')
        local sum = object + m(1)
        test.equal(sum:get(), 12)
        test.equal(getmetatable(sum), m.Class)
        test.equal(m.made(), 3)",
};

/// A module that returns nothing and speaks through globals.
pub const GLOBALS: Story = Story {
    name: "globals",
    before: &[(
        "m",
        "Player = Player or {}
        players = players or { count = 0 }
        local joined = 0
        function Player:join() joined = joined + 1 players.count = players.count + 1 return 'v1' end
        function tick() return joined end
        kind = 'v1'",
    )],
    after: &[(
        "m",
        "Player = Player or {}
        players = players or { count = 0 }
        new_global = { function() end }
        local joined = 0
        function Player:join() joined = joined + 1 players.count = players.count + 1 return 'v2' end
        function Player:leave() joined = joined - 1 players.count = players.count - 1 end
        function tick() return -joined end
        function tock() return tick() end
        kind = 'v2'",
    )],
    start: "require 'm' Player:join() kept = { tick = tick, player = Player }",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(Player, kept.player)
        test.equal(Player:join(), 'v2')
        test.equal(tick(), -2)
        test.equal(kept.tick(), 2)
        Player:leave()
        test.equal(tock(), -1)
        test.equal(players.count, 1)
        test.equal(kind, 'v1')
        test.equal(package.loaded.m, true)",
};

/// Handlers that a module registers with another one, and many additions, so that tables grow in
/// the commit.
pub const REGISTRY: Story = Story {
    name: "registry",
    before: &[
        ("bus", "return { handlers = {}, named = {} }"),
        (
            "m",
            "local bus = require 'bus'
            local seen = 0
            local M = {}
            function M.on() seen = seen + 1 return 'v1' end
            bus.handlers[#bus.handlers + 1] = M.on
            bus.named.m = M.on
            function M.seen() return seen end
            return M",
        ),
    ],
    after: &[(
        "m",
        "local bus = require 'bus'
        local seen = 0
        local M = {}
        function M.on() seen = seen + 1 return 'v2' end
        function M.off() seen = seen - 1 return 'v2' end
        bus.handlers[#bus.handlers + 1] = M.on
        bus.handlers[#bus.handlers + 1] = M.off
        bus.named.m = M.on
        bus.named.also = M.off
        bus.named.a, bus.named.b, bus.named.c = M.on, M.off, { M.on }
        function M.seen() return seen end
        function M.a1() return M end
        function M.a2() return M.a1 end
        function M.a3() return M.a2 end
        M.list = { M.a1, M.a2, M.a3, { M.a1, x = { y = { z = M.a1 } } } }
        M.strings = { a = 'a', b = 'b', c = 'c', d = 'd', e = 'e' }
        return M",
    )],
    start: "m, bus = require 'm', require 'bus' for _, f in ipairs(bus.handlers) do f() end",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(#bus.handlers, 2)
        test.equal(bus.handlers[1], m.on)
        test.equal(bus.handlers[2], m.off)
        test.equal(bus.named.m, m.on)
        test.equal(bus.named.also, m.off)
        test.equal(m.on(), 'v2')
        test.equal(m.seen(), 2)
        test.equal(m.a1(), m)
        test.equal(m.list[4].x.y.z, m.a1)
        test.equal(m.strings.e, 'e')",
};

/// The chunk writes to what exists, requires a new dependency, and raises.
pub const RAISES: Story = Story {
    name: "raises",
    before: &[(
        "m",
        "shared = { a = 1, b = 2, list = { 1, 2, 3 } } return { f = function() return 'v1' end }",
    )],
    after: &[
        (
            "dep",
            "dep_runs = (dep_runs or 0) + 1 shared.dep = true return { runs = dep_runs }",
        ),
        (
            "m",
            "shared.a, shared.b, shared.c = nil, 'changed', function() end
            shared.list[2], shared.list[4] = nil, 'more'
            setmetatable(shared, { __index = shared })
            another_global, shared.d, shared.e, shared.f, shared.g = {}, {}, {}, {}, {}
            for i = 1, 40 do _G['global' .. i] = i end
            local dep = require 'dep'
            shared = { f = dep }
            function print() end
            error({ 'not a string' })",
        ),
    ],
    start: "m = require 'm' old_f, old_shared = m.f, shared",
    call: RELOAD,
    options: "nil",
    ends: End::Refused("running module 'm'"),
    settle: "
        local test = ...
        test.equal(test.done, false)
        test.equal(package.loaded.dep, nil)
        test.reload('m', { source = [[
            local dep = require 'dep'
            return { f = function() return 'v2', dep.runs, shared.a end }
        ]] })
        local text, runs, a = m.f()
        test.equal(text, 'v2')
        test.equal(runs, 1, 'runs of the dependency')
        test.equal(a, 1)
        test.equal(shared, old_shared)",
};

/// Constants, in two reloads: the second one knows from the first what some function assigned. One
/// is a setter that is handed away.
pub const CONSTANTS: Story = Story {
    name: "constants",
    before: &[
        (
            "bus",
            "local on = {} return { on = function(f) on[#on + 1] = f end, hit = function(n) \
             on[1](n) end }",
        ),
        (
            "m",
            "local MAX, level, log = 60, 1, print
            require 'bus'.on(function(n) level = n end)
            return { get = function() return MAX, level, log end }",
        ),
    ],
    after: &[(
        "m",
        "local MAX, level = 80, 1
        local lines = 0
        local function log() lines = lines + 1 return lines end
        return { get = function() return MAX, level, log end }",
    )],
    start: "
        local test = ...
        m, bus = require 'm', require 'bus'
        test.reload 'm'
        bus.hit(57)",
    call: RELOAD,
    options: "{ report = 'full' }",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        local max, level, log = m.get()
        test.equal(max, 80)
        test.equal(level, 57)
        test.equal(log() + log(), 3)
        test.reload('m', { source = 'local MAX, level = 90, 2 return { get = function() \
        return MAX, level end }' })
        test.equal(m.get(), 90)
        test.equal(select(2, m.get()), 57)",
};

/// A module that is data.
pub const REPLACE: Story = Story {
    name: "replace",
    before: &[(
        "m",
        "local rates = { 1, 2, 3 }
        return { items = { sword = { price = 1 }, shield = { price = 2 }, bow = { price = 3 } }, \
        rates = rates,
            get = function(i) return rates[i] end }",
    )],
    after: &[(
        "m",
        "local rates = { 4, 5 }
        return { items = { sword = { price = 10, tags = { 'sharp' } }, axe = { price = 4 } }, \
        rates = rates, new = {},
            get = function(i) return rates[i], 'v2' end }",
    )],
    start: "m = require 'm' items, sword, rates = m.items, m.items.sword, \
        m.rates m.items.runtime = {} m.own = 1",
    call: RELOAD,
    options: "{ data = 'replace' }",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload('m', { data = 'replace' }) end
        test.equal(m.items, items)
        test.equal(items.sword, sword)
        test.equal(sword.price, 10)
        test.equal(sword.tags[1], 'sharp')
        test.equal(items.shield, nil)
        test.equal(items.runtime, nil)
        test.equal(items.axe.price, 4)
        test.equal(m.rates, rates)
        test.equal(table.concat(rates, ' '), '4 5')
        test.equal(m.get(1), 4)
        test.equal(m.own, 1)",
};

/// A hook that looks at the report and changes data.
pub const HOOK: Story = Story {
    name: "hook",
    before: &[(
        "m",
        "local n = 1 return { f = function() return n end, migrated = false }",
    )],
    after: &[(
        "m",
        "local n = 1
        local M = { f = function() return n, 'v2' end }
        function M.__hotfix(object, report)
            local text = tostring(report)
            if object ~= package.loaded.m or report.generation < 2 then \
            error('odd arguments ' .. text) end
            object.migrated = true
        end
        return M",
    )],
    start: "m = require 'm'",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(m.f(), 1)
        test.equal(select(2, m.f()), 'v2')
        test.equal(m.migrated, true)",
};

/// The objects of a class get a new field and lose one.
pub const MIGRATED: Story = Story {
    name: "migrated",
    before: &[(
        "m",
        "local C = {}
        C.__index = C
        function C.name() return 'v1' end
        return C",
    )],
    after: &[(
        "m",
        "local C = {}
        C.__index = C
        function C.name() return 'v2' end
        function C.__migrate(object) object.hp, object.stamina = nil, object.hp * 2 end
        return C",
    )],
    start: "
        m = require 'm'
        objects = { setmetatable({ hp = 1 }, m), setmetatable({ hp = 2 }, m) }",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then
            test.equal(objects[1].hp, 1)
            test.equal(objects[2].stamina, nil)
            test.reload 'm'
        end
        test.equal(objects[1].name(), 'v2')
        test.equal(objects[1].stamina, 2)
        test.equal(objects[2].stamina, 4)
        test.equal(objects[2].hp, nil)
        assert(require('hotreload').undo 'm')
        test.equal(objects[2].hp, 2)
        test.equal(objects[2].stamina, nil)",
};

/// Two reloads are undone at once, in scope "vm".
pub const STEPS_BACK: Story = Story {
    name: "steps back",
    start: "
        local test = ...
        require('hotreload').configure { history = 2 }
        m = require 'm'
        held = { m.f }
        m.f()
        test.reload('m', { scope = 'vm', source = [[
            local n = 0 return { f = function() n = n + 1 return 'between', n end }]] })
        test.reload('m', { scope = 'vm', source = [[
            local n = 0 return { f = function() n = n + 1 return 'v2', n end }]] })",
    call: "return function(name) return require('hotreload').undo(name, 2) end",
    options: "nil",
    settle: "
        local test = ...
        if not test.done then
            test.equal(held[1](), 'v2')
            assert(require('hotreload').undo('m', 2))
        end
        test.equal(held[1], m.f)
        test.equal(held[1](), 'v1')
        test.reload('m', { scope = 'vm' })
        test.equal(held[1](), 'v2')",
    ..UNDO
};

/// The hook raises, behind a commit that added, changed and set much, and a new dependency.
pub const HOOK_RAISES: Story = Story {
    name: "hook raises",
    before: &[(
        "m",
        "local n, t = 1, {} return { f = function() n = n + 1 t.x = n return n end, \
         sub = { a = 1 } }",
    )],
    after: &[
        ("dep", "return { 'dep' }"),
        (
            "m",
            "local n, t, new = 1, { f = function() end }, require 'dep'
            a_global, b_global = {}, function() return new end
            local M = { f = function() n = n + 1 t.x = n return new end, sub = { a = 2, b = {}, \
            c = print, d = 'd' } }
            M.g, M.h, M.i, M.j, M.k = M.f, function() return M end, {}, 'j', { M = M }
            function M.__hotfix() error 'hook says no' end
            return setmetatable(M, { __call = M.f })",
        ),
    ],
    start: "m = require 'm' m.f()",
    call: RELOAD,
    options: "nil",
    ends: End::Refused("hook says no"),
    settle: "
        local test = ...
        test.equal(test.done, false)
        test.equal(m.f(), 3)
        test.reload('m', { source = 'local n, t = 1, {} return { f = function() n = n + 100 \
        return n end }' })
        test.equal(m.f(), 103)",
};

/// Rows that the file no longer has go, others come, and then the hook asks for memory and raises:
/// the rows must be there again, though their tables are full.
pub const ROWS_BACK: Story = Story {
    name: "rows back",
    before: &[(
        "m",
        "local M = { rows = {}, list = {} }
        for i = 1, 32 do M.rows['row' .. i], M.list[i] = { i }, i end
        return M",
    )],
    after: &[(
        "m",
        "local M = { rows = {}, list = {} }
        for i = 17, 48 do M.rows['row' .. i], M.list[i - 10] = { i }, -i end
        M.list[15] = nil
        function M.__hotfix() error('hook says no' .. #{ {}, {}, {} }) end
        return M",
    )],
    start: "m = require 'm'",
    call: RELOAD,
    options: "{ data = 'replace' }",
    ends: End::Refused("hook says no"),
    settle: "
        local test = ...
        test.equal(test.done, false)
        for i = 1, 32 do
            test.equal(m.rows['row' .. i][1], i)
            test.equal(m.list[i], i)
        end
        test.reload('m', { data = 'replace', source = 'return { rows = { a = 1 }, list = {} }' })
        test.equal(next(m.rows), 'a')
        test.equal(#m.list, 0)",
};

/// A hook has waited in a coroutine and goes on: the part from there to the end of the reload.
pub const HOOK_WAITS: Story = Story {
    name: "hook waits",
    before: HOOK.before,
    after: &[],
    start: "
        local test = ...
        m = require 'm'
        test.snapshot()
        local co = coroutine.create(gg.reload)
        assert(coroutine.resume(co, 'm', { source = [[
            local n = 1
            local M = { f = function() return n, 'v2' end }
            function M.__hotfix(object, report)
                coroutine.yield()
                local text = tostring(report)
                if object ~= package.loaded.m or report.generation < 2 then \
                error('odd arguments ' .. text) end
                n, object.migrated = n + 10, true
            end
            return M
        ]] }))
        test.equal(select(2, m.f()), 'v2')
        function test.go()
            local resumed, done, message = coroutine.resume(co)
            if not resumed then error(done, 0) end
            return done, message
        end",
    call: GO,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then
            test.reload('m', { source = [[
                local n = 1
                return { f = function() return n, 'v2' end, __hotfix = function(M) n, \
                M.migrated = 11, true end }
            ]] })
        end
        test.equal(m.f(), 11)
        test.equal(select(2, m.f()), 'v2')
        test.equal(m.migrated, true)",
};

/// The same with a hook that raises when it goes on.
pub const HOOK_WAITS_AND_RAISES: Story = Story {
    name: "hook waits and raises",
    before: &[
        ("dep", "return { 'dep' }"),
        (
            "m",
            "local n, t = 1, {} return { f = function() n = n + 1 t.x = n return n end, \
             sub = { a = 1 } }",
        ),
    ],
    after: &[],
    start: "
        local test = ...
        m = require 'm'
        m.f()
        test.snapshot()
        local co = coroutine.create(gg.reload)
        assert(coroutine.resume(co, 'm', { source = [[
            local n, t, new = 1, { f = function() end }, require 'dep'
            a_global, b_global = {}, function() return new end
            local M = { f = function() n = n + 1 t.x = n return new end, sub = { a = 2, b = {}, \
            c = print, d = 'd' } }
            M.g, M.h, M.i, M.j, M.k = M.f, function() return M end, {}, 'j', { M = M }
            function M.__hotfix() coroutine.yield() error('hook says no' .. #{ {}, {} }) end
            return setmetatable(M, { __call = M.f })
        ]] }))
        test.equal(m.j, 'j')
        function test.go()
            local resumed, done, message = coroutine.resume(co)
            if not resumed then error(done, 0) end
            return done, message
        end",
    call: GO,
    options: "nil",
    ends: End::Refused("hook says no"),
    settle: HOOK_RAISES.settle,
};

/// The coroutine of a waiting hook is closed.
pub const HOOK_IS_CLOSED: Story = Story {
    name: "hook is closed",
    before: ROWS_BACK.before,
    after: &[],
    start: "
        local test = ...
        m = require 'm'
        test.snapshot()
        local co = coroutine.create(gg.reload)
        assert(coroutine.resume(co, 'm', { data = 'replace', source = [[
            local M = { rows = {}, list = {} }
            for i = 17, 48 do M.rows['row' .. i], M.list[i - 10] = { i }, -i end
            M.list[15] = nil
            function M.__hotfix() coroutine.yield() end
            return M
        ]] }))
        test.equal(m.rows.row1, nil)
        function test.go()
            assert(coroutine.close(co))
            return false, 'it was closed'
        end",
    call: GO,
    options: "nil",
    ends: End::Refused("it was closed"),
    settle: ROWS_BACK.settle,
};

/// Three-way data: what the program did not change follows, what it removed stays away, also after
/// a reload that failed.
pub const MERGE: Story = Story {
    name: "merge",
    before: &[(
        "m",
        "GLOBAL = 1 local n, kept = 1, 1
        local M = { rate = 1, changed = 1, removed = 1, rows = { a = { 1 }, b = { 1 } }, \
        list = { 1, 2 } }
        function M.get() return n, kept end function M.keep(x) kept = x end return M",
    )],
    after: &[(
        "m",
        "GLOBAL = 2 local n, kept = 2, 2
        local M = { rate = 2, changed = 2, removed = 2, rows = { a = { 2 } }, list = { 1, 2, 3, \
        { 4 } }, more = { 2 } }
        function M.get() return n, kept end function M.keep(x) kept = x end return M",
    )],
    start: "
        local test = ...
        test.reload 'm'
        m = package.loaded.m
        m.changed, m.removed = 5, nil
        m.keep(7)",
    call: RELOAD,
    options: "{ data = 'merge' }",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload('m', { data = 'merge' }) end
        test.equal(GLOBAL, 2)
        test.equal(m.rate, 2)
        test.equal(m.changed, 5)
        test.equal(m.removed, nil)
        test.equal(m.rows.a[1], 2)
        test.equal(m.rows.b, nil)
        test.equal(#m.list, 4)
        test.equal(m.more[1], 2)
        local n, kept = m.get()
        test.equal(n, 2)
        test.equal(kept, 7)",
};

/// `require` loads a module with a record, and one that it needs. Where memory is short, the record
/// may be missing, never half of it.
pub const TRACK: Story = Story {
    name: "track",
    before: &[
        (
            "m",
            "local dep = require 'dep' local n = 1
        return { dep = dep, a = 1, b = { c = 1 }, get = function() return n end, set = function(x) \
        n = x end }",
        ),
        ("dep", "return { value = 7 }"),
    ],
    after: &[],
    start: "
        local test = ...
        require 'hotreload'.track()
        function test.go(name)
            local ok, err = pcall(require, name)
            if not ok then
                package.loaded.dep = nil
                error(err, 0)
            end
            return true
        end",
    call: GO,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        local m = require 'm'
        m.a = m.a + 0
        test.reload('m', { data = 'merge', source = [[
            local dep = require 'dep' local n = 2
            return { dep = dep, a = 2, b = { c = 2 }, get = function() return n, 'new' end, \
            set = function(x) n = x end }
        ]] })
        test.equal(m.b.c, m.a)
        local n, new = m.get()
        test.equal(n, m.a)
        test.equal(new, 'new')
        test.equal(m.dep, package.loaded.dep)
        if not test.done then return end
        m.a = 9
        test.reload('m', { data = 'merge' })
        test.equal(m.a, 9)",
};

/// A dry run.
pub const DRY: Story = Story {
    name: "dry",
    before: FUNCTIONS.before,
    after: FUNCTIONS.after,
    start: FUNCTIONS.start,
    call: RELOAD,
    options: "{ dry_run = true }",
    ends: End::Dry,
    settle: "
        local test = ...
        test.equal(m.nested.deep.g, nil)
        test.reload 'm'
        test.equal(m.add 'b', 11)
        test.equal(m.nested.deep.g(), m)",
};

/// Conflicts, all of which are named.
pub const CONFLICTS: Story = Story {
    name: "conflicts",
    before: &[(
        "m",
        "return { a = { b = { c = function() end, d = function() end } }, e = function() end, \
         f = function() return 'v1' end }",
    )],
    after: &[(
        "m",
        "return { a = { b = { c = {}, d = 4 } }, e = 'text', f = function() return 'v2' end }",
    )],
    start: "m = require 'm'",
    call: RELOAD,
    options: "nil",
    ends: End::Refused("3 conflict(s)"),
    settle: "
        local test = ...
        test.equal(test.done, false)
        test.reload('m', { on_conflict = 'replace' })
        test.equal(m.f(), 'v2')
        test.equal(m.a.b.d, 4)
        test.equal(m.e, 'text')",
};

/// Two modules of one bundle, functions as keys, a function that one on the same line made, and a
/// table with two places.
pub const BUNDLE: Story = Story {
    name: "bundle",
    before: &[],
    after: &[],
    start: "
        local text = [[
            package.preload.m = function()
                local M, n, current = { set = {} }, 0, function() return 'v1' end
                local function listener() n = n + 1 return 'v1' end
                M.set[listener], M.set[function() n = n + 10 end], LISTENERS[listener] = 'first', \
                'second', true
                function M.choose(x) current = function() return x end end
                function M.make() return function() n = n + 100 return 'v1', n end end
                function M.f() return 'v1', n, current() end
                HANDLERS[#HANDLERS + 1] = function() return 'v1' end
                return M
            end
            package.preload.other = function()
                HANDLERS[#HANDLERS + 1] = function() return 'other v1' end
                return { f = require 'm'.f, g = function() return 'other v1' end }
            end]]
        local function bundle(version) load(text:gsub('v1', version), '@bundle.lua')() end
        LISTENERS, HANDLERS = {}, {}
        bundle 'v1'
        m, other = require 'm', require 'other'
        m.choose(7)
        held, set, g = m.make(), m.set, other.g
        held()
        gg.reload 'm'
        bundle 'v2'",
    call: RELOAD,
    options: "{ scope = 'vm' }",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload('m', { scope = 'vm' }) end
        local function count(t) local n = 0 for _ in pairs(t) do n = n + 1 end return n end
        for f in pairs(set) do f() end
        local version, n, chosen = m.f()
        test.equal(version, 'v2')
        test.equal(n, 111)
        test.equal(chosen, 7)
        test.equal(set, m.set)
        test.equal(count(set), 2)
        test.equal(count(LISTENERS), 1)
        test.equal(next(LISTENERS)(), 'v2')
        test.equal(held(), 'v2')
        test.equal(other.f(), 'v2')
        test.equal(other.g, g)
        test.equal(#HANDLERS, 2)
        test.equal(HANDLERS[1](), 'v2')
        test.equal(HANDLERS[2](), 'other v1')",
};

/// Hundreds of functions, nested tables, classes and rows: for some faults only.
pub const BIG: Story = Story {
    name: "big",
    before: &[],
    after: &[],
    start: "
        local test = ...
        local function text(version)
            local lines = { 'local count, list, map, M = 0, {}, {}, { parts = {}, rows = {} }' }
            for i = 1, 150 do
                lines[#lines + 1] = ('function M.f%d(x) count = count + 1 list[x or 1] = map \
                return %d, count end'):format(i, version)
                if i % 5 == 0 then
                    lines[#lines + 1] = ('do local c = { n = %d } c.__index = c \
                    function c:get() return count, %d end '
                        .. 'M.parts.c%d = { class = c, own = { c.get, %d } } end'):format(i, \
                        version, i, i)
                end
                lines[#lines + 1] = ('M.rows.row%d = { %d, v%d = %d }'):format(i, i, version, i)
            end
            for i = 1, version * 10 do lines[#lines + 1] = ('M.new%d_%d = { function() \
            return map end }'):format(version, i) end
            lines[#lines + 1] = 'return M'
            return table.concat(lines, '\\n')
        end
        test.text = text(2)
        local first = load(text(1), '@big.lua')
        package.preload.m = first
        m = require 'm'
        package.preload.m = nil
        m.f1()
        m.rows.row7.v1 = 'run time'
        rows, f2, get = m.rows, m.f2, m.parts.c5.class.get
        function test.go(name) return gg.reload(name, { source = test.text }) end",
    call: GO,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload('m', { source = test.text }) end
        local version, count = m.f150()
        test.equal(version, 2)
        test.equal(count, 2)
        test.equal(f2(), 1)
        test.equal(get(), 3)
        test.equal(select(2, m.parts.c5.class:get()), 2)
        test.equal(m.rows, rows)
        test.equal(rows.row7.v1, 'run time')
        test.equal(rows.row8.v2, 8)
        test.equal(m.new2_20[1](), m.new2_1[1]())",
};

/// Registrations with another module: by name with a record and a handle, without a name, as a
/// coroutine, and one that is new. The other module counts them in a variable.
pub const BUS: Story = Story {
    name: "bus",
    before: &[
        (
            "bus",
            "local bus, made = { list = {}, named = {}, threads = {} }, 0
            function bus.on(event, f, record)
                made = made + 1
                local handle = { id = made, event = event, f = f, record = record }
                table.insert(bus.list, handle)
                bus.named[event] = handle
                return handle
            end
            function bus.spawn(body)
                made = made + 1
                bus.threads[#bus.threads + 1] = coroutine.create(body)
            end
            function bus.fire()
                local out = {}
                for i, handle in ipairs(bus.list) do out[i] = handle.f() end
                return table.concat(out, ', ')
            end
            function bus.counts() return made, #bus.list, #bus.threads end
            return bus",
        ),
        (
            "m",
            "local bus = require 'bus'
            local M, n = {}, 0
            function M.hit() n = n + 1 return 'hit v1 ' .. n end
            M.handle = bus.on('hit', M.hit, { once = true })
            M.handle.touched = M.handle.id
            bus.on('quit', function() n = n + 1 return 'quit v1 ' .. n end)
            bus.spawn(function() return M.hit() end)
            return M",
        ),
    ],
    after: &[(
        "m",
        "local bus = require 'bus'
        local n, M = 0, {}
        function M.hit() n = n + 1 return 'hit v2 ' .. n end
        M.handle = bus.on('hit', M.hit, { once = true })
        M.handle.touched = M.handle.id
        bus.on('quit', function() n = n + 1 return 'quit v2 ' .. n end)
        bus.spawn(function() return M.hit() end)
        bus.on('more', function() n = n + 1 return 'more v2 ' .. n end)
        return M",
    )],
    start: "
        local test = ...
        bus, m = require 'bus', require 'm'
        handle, list, coroutines = m.handle, bus.list, bus.threads[1]
        test.equal(bus.fire(), 'hit v1 1, quit v1 2')",
    call: RELOAD,
    options: "nil",
    ends: End::Done,
    settle: "
        local test = ...
        if not test.done then test.reload 'm' end
        test.equal(bus.fire(), 'hit v2 3, quit v2 4, more v2 5')
        test.equal(m.hit(), 'hit v2 6')
        local made, listed, threads = bus.counts()
        test.equal(made, 4, 'made')
        test.equal(listed, 3, 'listed')
        test.equal(threads, 1, 'threads')
        test.equal(m.handle, handle)
        test.equal(bus.list[1], handle)
        test.equal(bus.named.hit, handle)
        test.equal(handle.id, 1)
        test.equal(handle.touched, 1)
        test.equal(bus.list[3].id, 4)
        test.equal(bus.list, list)
        test.equal(bus.threads[1], coroutines)
        test.reload 'm'
        test.equal(bus.counts(), 4, 'made after one more reload')
        test.equal(bus.fire(), 'hit v2 7, quit v2 8, more v2 9')",
};

/// What holds while the reload of that module has not been kept: all of it is as before, and the
/// next reload works.
const BUS_AS_BEFORE: &str = "
        local test = ...
        test.equal(bus.fire(), 'hit v1 3, quit v1 4')
        local made, listed, threads = bus.counts()
        test.equal(made, 3, 'made')
        test.equal(listed, 2, 'listed')
        test.equal(threads, 1, 'threads')
        test.equal(bus.named.more, nil)
        test.equal(m.handle, handle)
        test.reload('m', { source = [[
            local bus = require 'bus'
            local n, M = 0, {}
            function M.hit() n = n + 1 return 'hit v3 ' .. n end
            M.handle = bus.on('hit', M.hit, { once = true })
            bus.on('quit', function() n = n + 1 return 'quit v3 ' .. n end)
            bus.spawn(function() return M.hit() end)
            return M]] })
        test.equal(bus.fire(), 'hit v3 5, quit v3 6')
        test.equal(bus.counts(), 3, 'made after the next reload')
        test.equal(m.handle, handle)";

/// The same, dry.
pub const BUS_DRY: Story = Story {
    name: "bus, dry",
    options: "{ dry_run = true }",
    ends: End::Dry,
    settle: BUS_AS_BEFORE,
    ..BUS
};

/// The same, and the chunk raises behind its registrations. It makes the first one until it is
/// done: where there is no memory to look at calls, the loop must end.
pub const BUS_RAISES: Story = Story {
    name: "bus, raising",
    after: &[(
        "m",
        "local bus = require 'bus'
        local n, M = 0, {}
        function M.hit() n = n + 1 return 'hit v2 ' .. n end
        repeat local ok, handle = pcall(bus.on, 'hit', M.hit, { once = true }) M.handle = handle \
        until ok
        bus.on('more', function() n = n + 1 return 'more v2 ' .. n end)
        bus.spawn(function() return M.hit() end)
        error 'chunk says no'",
    )],
    ends: End::Refused("chunk says no"),
    settle: BUS_AS_BEFORE,
    ..BUS
};

/// The same, and the file's `hit` is no function any more.
pub const BUS_CONFLICTS: Story = Story {
    name: "bus, conflicts",
    after: &[(
        "m",
        "local bus = require 'bus'
        local n, M = 0, { hit = 1 }
        M.handle = bus.on('hit', function() n = n + 1 return 'hit v2 ' .. n end, { once = true })
        bus.on('more', function() n = n + 1 return 'more v2 ' .. n end)
        return M",
    )],
    ends: End::Refused("hit"),
    settle: BUS_AS_BEFORE,
    ..BUS
};

/// The same, and the hook raises: the commit is undone.
pub const BUS_HOOK_RAISES: Story = Story {
    name: "bus, hook raises",
    after: &[(
        "m",
        "local bus = require 'bus'
        local n, M = 0, {}
        function M.hit() n = n + 1 return 'hit v2 ' .. n end
        M.handle = bus.on('hit', M.hit, { once = true })
        bus.on('quit', function() n = n + 1 return 'quit v2 ' .. n end)
        bus.spawn(function() return M.hit() end)
        bus.on('more', function() n = n + 1 return 'more v2 ' .. n end)
        function M.__hotfix() error 'hook says no' end
        return M",
    )],
    ends: End::Refused("hook says no"),
    settle: BUS_AS_BEFORE,
    ..BUS
};

/// The same, done and then undone: the new registration goes.
pub const BUS_UNDO: Story = Story {
    name: "bus, undone",
    start: "
        local test = ...
        bus, m = require 'bus', require 'm'
        handle, list, coroutines = m.handle, bus.list, bus.threads[1]
        test.equal(bus.fire(), 'hit v1 1, quit v1 2')
        test.reload('m', { source = [[
            local bus = require 'bus'
            local n, M = 0, {}
            function M.hit() n = n + 1 return 'hit v3 ' .. n end
            M.handle = bus.on('hit', M.hit, { once = true })
            bus.on('quit', function() n = n + 1 return 'quit v3 ' .. n end)
            bus.spawn(function() return M.hit() end)
            bus.on('more', function() n = n + 1 return 'more v3 ' .. n end)
            return M]] })
        test.equal(bus.counts(), 4)",
    call: "return function(name) return require('hotreload').undo(name) end",
    settle: "
        local test = ...
        if not test.done then assert(require('hotreload').undo 'm') end
        test.equal(bus.fire(), 'hit v1 3, quit v1 4')
        local made, listed, threads = bus.counts()
        test.equal(made, 3, 'made')
        test.equal(listed, 2, 'listed')
        test.equal(threads, 1, 'threads')
        test.equal(bus.named.more, nil)
        test.equal(m.handle, handle)
        test.reload 'm'
        test.equal(bus.fire(), 'hit v2 5, quit v2 6, more v2 7')
        test.equal(bus.counts(), 4, 'made after the next reload')",
    ..BUS
};
