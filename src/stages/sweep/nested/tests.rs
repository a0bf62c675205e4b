//! Stories of closures that outlive their factory's code: what runs before, the file then, and what
//! must hold afterwards.

// A test fails by panicking.
#![allow(clippy::expect_used, clippy::panic)]

use super::{ClosureFate, Nested, Values};
use crate::code::cut::{Cutter, TEMPLATE};
use crate::lua::host;
use crate::lua::testing::TestState;
use crate::lua::vm::{DebugInfo, Ref, Vm};
use crate::lua::write::{self, Permit};
use crate::model::lineage::Lineage;
use crate::model::options::Options;
use crate::stages::commit;
use crate::stages::find::{self, Context};
use crate::stages::load::{self, LastLoad};
use crate::stages::matching;
use crate::stages::plan::{self, Plan};
use crate::stages::snapshot::Modules;
use crate::support::error::Error;

/// How closures are asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// Each by itself, before the commit.
    Plain,
    /// All are met first.
    Met,
    /// The last is asked for first.
    Backwards,
    /// After the commit, in another call.
    Later,
}

const WAYS: [Way; 4] = [Way::Plain, Way::Met, Way::Backwards, Way::Later];

/// Asks for the closures of the global list `old`, and puts what comes of them into the list `new`:
/// a closure, or a text.
fn ask(vm: &mut Vm, nested: &mut Nested, plan: &mut Plan, way: Way) {
    let values = Values {
        functions: TestState::global(vm, "functions"),
        moved: TestState::global(vm, "moved"),
    };
    let (old, new) = (TestState::global(vm, "old"), TestState::global(vm, "new"));
    let count = vm.raw_len(old) as u32;
    if way == Way::Met {
        for i in 1..=count {
            let closure = vm.element(old, i).expect("memory");
            nested.meet(vm, closure).expect("memory");
        }
    }
    let order: Vec<u32> = if way == Way::Backwards {
        (1..=count).rev().collect()
    } else {
        (1..=count).collect()
    };
    for i in order {
        let closure = vm.element(old, i).expect("memory");
        let value = match nested.answer(vm, values, closure).expect("memory") {
            ClosureFate::Moved { new, joins } => {
                plan.joins.add(new, &joins).expect("memory");
                new
            }
            ClosureFate::Same => vm.string(b"same").expect("memory"),
            ClosureFate::Stale(reason) => {
                vm.string(nested.words(reason).as_bytes()).expect("memory")
            }
        };
        let key = vm.number(i.into()).expect("memory");
        write::fill(vm, new, key, value).expect("memory");
    }
}

/// Reloads the module `m` with this text, and asks for the old closures.
fn reload(state: &TestState, text: &str, way: Way) {
    reload_with(state, text, way, |_, _| {});
}

/// The same, with a change to what is known before anything is asked for.
fn reload_with(state: &TestState, text: &str, way: Way, change: impl FnOnce(&mut Vm, &mut Nested)) {
    state.run("functions, new, moved = {}, {}, setmetatable({}, { __mode = 'k' })");
    state.run(&format!(
        "package.preload.m = assert(load([==[\n{text}]==], '@m.lua'))"
    ));
    let mut nested = state.view(|vm| {
        let stock = host::check(std::ptr::null()).ok().expect("the right Lua");
        let name = vm.string(b"m").expect("memory");
        let context = Context::new(vm, name, stock).expect("memory");
        let options = Options::read(vm, Ref::NIL).expect("memory");
        let mut found = find::find(vm, &context, None).expect("found");
        let modules = Modules::of(vm, context.loaded).expect("memory");
        let mut loaded = load::load(
            vm,
            Permit::new(),
            &context,
            &mut found,
            modules,
            LastLoad::default(),
            [Ref::NIL; 2],
        )
        .expect("loads");
        let table = vm.table(0).expect("memory");
        let lineage = Lineage::in_table(vm, table).expect("memory");
        let mut pairing = matching::pair(
            vm,
            &context,
            &mut loaded,
            &options,
            lineage,
            crate::model::base::Base::default(),
        )
        .expect("pairs");
        let mut plan = plan::plan(vm, &context, &loaded, &mut pairing, &options).expect("plans");
        assert!(plan.conflicts.is_empty());
        let values = Values {
            functions: TestState::global(vm, "functions"),
            moved: TestState::global(vm, "moved"),
        };
        let mut nested = Nested::new(vm, &pairing, &loaded, values).expect("memory");
        assert_eq!(nested.warning(), None);
        change(vm, &mut nested);
        if way != Way::Later {
            ask(vm, &mut nested, &mut plan, way);
        }
        commit::commit(vm, Permit::new(), &plan).expect("commits");
        nested
    });
    if way == Way::Later {
        state.run("collectgarbage() collectgarbage()");
        state.view(|vm| {
            let mut plan = Plan::default();
            ask(vm, &mut nested, &mut plan, way);
            commit::commit(vm, Permit::new(), &plan).expect("joins");
        });
    }
    state.run("functions = nil collectgarbage() collectgarbage()");
}

/// A program with the module `m`, loaded from this text, and the closures that `before` puts into
/// the list `old`.
fn begin(first: &str, before: &str) -> TestState {
    let state = TestState::new();
    state.run(
        "function equal(is, wanted, what)
            if is ~= wanted then
                error(string.format('%s: %s, expected %s', what or 'value', tostring(is), \
                tostring(wanted)), 2)
            end
        end
        -- A closure of the file's, in the place of an old one.
        function follows(i)
            if type(new[i]) ~= 'function' then error(i .. ' is ' .. tostring(new[i]), 2) end
            if new[i] == old[i] then error(i .. ' is the old one', 2) end
            return new[i]
        end
        function stale(i, why)
            if type(new[i]) ~= 'string' or not new[i]:find(why, 1, true) then
                error(i .. ' is ' .. tostring(new[i]), 2)
            end
        end",
    );
    state.run(&format!(
        "package.loaded.m = load([==[\n{first}]==], '@m.lua')('m') m = package.loaded.m"
    ));
    state.run(before);
    state
}

/// Tells a story in each way.
#[track_caller]
fn story(first: &str, before: &str, second: &str, after: &str) {
    for way in WAYS {
        let state = begin(first, before);
        reload(&state, second, way);
        state.run(after);
    }
}

const COUNTERS: &str = "
local M = {}
local made = 0
function M.new(start)
    local n = start
    made = made + 1
    return {
        get = function() return n end,
        add = function(k) n = n + k return n end,
    }
end
function M.made() return made end
return M";

const TWO_COUNTERS: &str =
    "a, b = m.new(1), m.new(10) a.add(1) old = { a.get, a.add, b.get, b.add, a.get }";

#[test]
fn methods_follow_on_their_own_cells() {
    story(
        COUNTERS,
        TWO_COUNTERS,
        &COUNTERS.replace("return n end", "return 'n', n end"),
        "for i = 1, 4 do follows(i) end
        equal(new[5], new[1], 'two references to one closure')
        equal(select(2, new[1]()), 2) equal(select(2, new[2](5)), 7) equal(select(2, new[1]()), 7)
        equal(select(2, new[3]()), 10) equal(select(2, new[4](1)), 11) \
        equal(select(2, new[3]()), 11)
        equal(old[1](), 7, 'the old code on the same cell') equal(m.made(), 2)
        equal(debug.upvalueid(new[1], 1), debug.upvalueid(old[1], 1))
        equal(debug.upvalueid(new[2], 1), debug.upvalueid(new[1], 1), 'the pair shares')
        assert(debug.upvalueid(new[3], 1) ~= debug.upvalueid(new[1], 1))
        equal(debug.getinfo(new[1], 'S').source, '@m.lua')",
    );
}

#[test]
fn what_has_the_file_s_code_already_stays() {
    story(
        COUNTERS,
        TWO_COUNTERS,
        &COUNTERS.replace("return n end,\n    }", "return n, 'changed' end,\n    }"),
        "equal(new[1], 'same') equal(new[3], 'same') follows(2) follows(4)
        equal(select(2, new[2](1)), 'changed') equal(old[1](), 3)",
    );
}

#[test]
fn lines_alone_make_another_code() {
    story(
        COUNTERS,
        TWO_COUNTERS,
        &format!("\n\n{COUNTERS}"),
        "equal(debug.getinfo(follows(1), 'S').linedefined, debug.getinfo(old[1], \
         'S').linedefined + 2) equal(new[1](), 2)",
    );
}

#[test]
fn a_factory_that_gained_locals_above_and_new_methods_first() {
    story(
        COUNTERS,
        TWO_COUNTERS,
        "
local version, extra = 2, {}
local M = {}
local function log(...) return ... end
local made = 0
function M.new(start)
    local kind, tag, list = 'counter', extra, { version }
    local n = start
    made = made + 1
    return {
        kind = function() return kind, tag, list end,
        add = function(k) n = n + k * 100 return log(n) end,
        get = function() return 'now', n end,
    }
end
function M.made() return made end
return M",
        "equal(select(2, follows(1)()), 2) equal(follows(2)(1), 102) equal(select(2, new[1]()), 102)
        equal(select(2, follows(3)()), 10) equal(follows(4)(1), 110)",
    );
}

#[test]
fn a_method_that_needs_one_more_variable_of_the_module() {
    story(
        "local M, step = {}, 3 function M.new() \
         local n = 0 return function() n = n + 1 return n end end
        function M.step(v) step = v end return M",
        "f = m.new() f() m.step(7) old = { f }",
        "local M, step = {}, 3 function M.new() local n = 0 return function() n = n + step \
         return n end end
        function M.step(v) step = v end return M",
        "equal(follows(1)(), 8) m.step(2) equal(new[1](), 10) equal(old[1](), 11)",
    );
}

#[test]
fn a_variable_that_is_new_in_the_module() {
    story(
        "local M = {} function M.new() local n = 0 return function() n = n + 1 return n end end \
         return M",
        "f = m.new() f() old = { f, m.new() }",
        "local M = {} local step = 5 function M.new() local n = 0 return function() n = n + step \
         return n end end
        function M.step(v) step = v end return M",
        "equal(follows(1)(), 6) m.step(2) equal(new[1](), 8) equal(follows(2)(), 2)
        local g = m.new() m.step(3) equal(g(), 3)",
    );
}

#[test]
fn a_method_that_needs_a_local_which_it_did_not_capture_is_stale() {
    story(
        "local M = {} function M.new(name) local n = 0 return { a = function() n = n + 1 \
         return n end, b = function() return n end } end
        return M",
        "o = m.new 'x' old = { o.a, o.b }",
        "local M = {} function M.new(name) local n = 0 return { a = function() n = n + 1 \
         return name, n end, b = function() return -n end } end
        return M",
        "stale(1, \"'name', a local of the function that made it\") equal(old[1](), 1) \
         equal(follows(2)(), -1)",
    );
}

#[test]
fn a_variable_that_moved_into_the_factory_is_another_one() {
    story(
        "local M, n = {}, 0 function M.new() return function() n = n + 1 return n end end return M",
        "f = m.new() f() old = { f }",
        "local M = {} function M.new() local n = 0 return function() n = n + 2 return n end end \
         return M",
        "stale(1, \"'n', a local of the function that made it\") equal(old[1](), 2)",
    );
}

#[test]
fn a_variable_that_moved_out_of_the_factory_is_the_module_s() {
    story(
        "local M = {} function M.new() local n = 0 return function() n = n + 1 return n end end \
         return M",
        "f = m.new() f() f() old = { f }",
        "local M, n = {}, 100 function M.new() return function() n = n + 1 return n end end \
         function M.n() return n end return M",
        "equal(follows(1)(), 101) equal(m.n(), 101) equal(old[1](), 3)",
    );
}

#[test]
fn the_environment_is_that_of_the_file() {
    story(
        "local M = {} function M.new() return function() return tostring(1) end end return M",
        "f = m.new() old = { f }",
        "local M = {} function M.new() return function() return type(2), tostring(2) end end \
         return M",
        "equal(select(2, follows(1)()), '2')
        local _, env = debug.getupvalue(new[1], 1) equal(env, _G)
        equal(debug.upvalueid(new[1], 1), debug.upvalueid(m.new, 1))",
    );
    // A local of that name is a variable like any other.
    story(
        "local M = {} function M.new(_ENV) return function() return x end end return M",
        "f = m.new { x = 5 } old = { f }",
        "local M = {} function M.new(_ENV) return function() return 'x', x end end return M",
        "equal(select(2, follows(1)()), 5)",
    );
}

#[test]
fn three_levels_deep() {
    let first = "
local M, total = {}, 0
function M.open(name)
    local users = 0
    return function(user)
        users = users + 1
        local sent = 0
        return function(text)
            sent = sent + 1
            total = total + 1
            return function() return name, user, text, users, sent, total end
        end
    end
end
return M";
    story(
        first,
        "room = m.open 'hall' ann, bob = room 'ann', room 'bob' hi, ho = ann 'hi', bob 'ho'
        old = { room, ann, bob, hi, ho }",
        &first
            .replace("local M, total", "local x, M, total = 1,")
            .replace("= {}, 0", "{}, 0")
            .replace("sent = sent + 1", "sent = sent + 10")
            .replace("return name, user", "return 'new', name, user"),
        "local function check(f, ...)
            local is, wanted = table.pack(f()), table.pack(...)
            for i = 1, wanted.n do equal(is[i], wanted[i], i) end
        end
        check(follows(4), 'new', 'hall', 'ann', 'hi', 2, 1, 2)
        check(follows(5), 'new', 'hall', 'bob', 'ho', 2, 1, 2)
        check(follows(2) 'x', 'new', 'hall', 'ann', 'x', 2, 11, 3)
        check(new[4], 'new', 'hall', 'ann', 'hi', 2, 11, 3)
        check(follows(1) 'eve' 'y', 'new', 'hall', 'eve', 'y', 3, 10, 4)
        check(new[5], 'new', 'hall', 'bob', 'ho', 3, 1, 4)",
    );
}

#[test]
fn recursion_and_varargs() {
    story(
        "local M = {}
        function M.new(base)
            local function fact(n) if n == 0 then return base end return n * fact(n - 1) end
            local function sum(...) if select('#', ...) == 0 then return 0 end \
            return (...) + sum(select(2, ...)) end
            return fact, sum
        end
        return M",
        "fact, sum = m.new(1) old = { fact, sum }",
        "local M = {}
        function M.new(base)
            local unused
            local function fact(n) if n == 0 then return base end return n + fact(n - 1) end
            local function sum(...) if select('#', ...) == 0 then return 100 end \
            return (...) + sum(select(2, ...)) end
            return fact, sum
        end
        return M",
        // The variable `fact` holds the old function until the reference in it is replaced as any
        // other.
        "equal(follows(1)(0), 1) equal(debug.upvalueid(new[1], 2), debug.upvalueid(old[1], 2))
        for i = 1, 2 do for j = 1, 3 do
            local name, value = debug.getupvalue(new[i], j)
            if value == old[i] then debug.setupvalue(new[i], j, new[i]) end
        end end
        equal(new[1](4), 11) equal(follows(2)(), 100) equal(new[2](1, 2), 103)",
    );
}

#[test]
fn constants_of_all_kinds() {
    story(
        "local M = {} function M.new(k) return function() return k, 1, 70000, 1.5, 2^53, 'short', \
         'old' end end return M",
        "f = m.new(3) old = { f }",
        "local M = {} function M.new(k) return function() return k, 2, 70001, 2.5, 2^60, 'short',
            'a long string that Lua does not keep among the short ones, \
            of course', nil, true end end return M",
        "local r = table.pack(follows(1)())
        equal(r[1], 3) equal(r[2], 2) equal(r[3], 70001) equal(r[4], 2.5) equal(r[5], 2^60) \
        equal(r[6], 'short')
        equal(#r[7], 68) equal(r[8], nil) equal(r[9], true)",
    );
}

#[test]
fn goto_and_variables_to_be_closed() {
    let first = "
local M, closed = {}, 0
function M.new(n)
    return function()
        local sum = 0
        for i = 1, n do
            if i % 2 == 0 then goto continue end
            do
                local guard <close> = setmetatable({}, { __close = function() \
                closed = closed + 1 end })
                sum = sum + i
            end
            ::continue::
        end
        return sum, closed
    end
end
return M";
    story(
        first,
        "f = m.new(5) f() old = { f }",
        &first
            .replace("i % 2 == 0", "i % 2 == 1")
            .replace("closed + 1", "closed + 10"),
        "local sum, closed = follows(1)() equal(sum, 6) equal(closed, 23)",
    );
}

#[test]
fn functions_made_in_a_loop_of_the_chunk() {
    story(
        "local M = {} local shared = 0
        for i = 1, 3 do M['f' .. i] = function(k) shared = shared + k return i, shared end end
        return M",
        "old = { m.f2, m.f3 } m.f2, m.f3 = nil, nil",
        "local M = {} local shared = 0
        for i = 1, 3 do M['f' .. i] = function(k) shared = shared + k * 10 return i * 100, \
        shared end end
        return M",
        "local i, shared = follows(1)(1) equal(i, 200) equal(shared, 10)
        i, shared = follows(2)(1) equal(i, 300) equal(shared, 20) i, shared = m.f1(1) \
        equal(i, 100) equal(shared, 30)",
    );
}

#[test]
fn a_callback_of_the_main_chunk() {
    let first = "
local M, ticks = {}, 0
function M.first() return 1 end
timer(function(dt) ticks = ticks + dt timer_log('tick', ticks) end)
function M.ticks() return ticks end
return M";
    story(
        &format!(
            "timers = timers or {{}} timer_log = print \
             function timer(f) timers[#timers + 1] = f end {first}"
        ),
        "timer_log = function(_, n) logged = n end timers[1](1) old = { timers[1] }",
        &first
            .replace("local M", "local limit, M")
            .replace("= {}, 0", "= 5, {}, 0")
            .replace("ticks + dt", "ticks + dt * limit")
            .replace("return 1", "return limit"),
        "follows(1)(2) equal(logged, 11) equal(m.ticks(), 11) timers[1](1) equal(m.ticks(), 12)",
    );
}

#[test]
fn a_factory_of_the_main_chunk_that_nothing_has_any_more() {
    let first = "
local M, all = {}, {}
local function make(name, level)
    local hits = 0
    return function(damage)
        hits = hits + 1
        all[name] = (all[name] or 100) - damage
        return name, hits, all[name]
    end
end
handlers = handlers or {}
handlers[#handlers + 1] = make('orc', 1)
function M.all() return all end
return M";
    story(
        first,
        "handlers[1](10) old = { handlers[1] }",
        &first
            .replace("- damage", "- damage * 2")
            .replace("local M, all", "local unused local M, all"),
        "local name, hits, left = follows(1)(10) equal(name, 'orc') equal(hits, 2) equal(left, 70) \
         equal(m.all().orc, 70)",
    );
}

#[test]
fn reordered_functions_keep_their_names() {
    story(
        "local M = {} function M.new() local a = {}
            return { one = function(x) return a, x, 1 end, two = function(x) return a, x, 2 end, \
            three = function(x) return a, x, 3 end } end
        return M",
        "o = m.new() old = { o.one, o.two, o.three }",
        "local M = {} function M.new() local a = {}
            return { three = function(x) return a, x, 30 end, one = function(x) return a, \
            x, 10 end, two = function(x) return a, x, 20 end } end
        return M",
        "equal(select(3, follows(1)()), 10) equal(select(3, follows(2)()), 20) \
         equal(select(3, follows(3)()), 30)",
    );
}

#[test]
fn names_win_over_equal_code() {
    story(
        "local M = {} function M.new() return { a = function(x) return x, 'a' end, b = function(x) \
         return x, 'b' end } end return M",
        "o = m.new() old = { o.a, o.b }",
        "local M = {} function M.new() return { a = function(x) return x, 'b' end, b = function(x) \
         return x, 'a' end } end return M",
        "equal(select(2, follows(1)()), 'b') equal(select(2, follows(2)()), 'a')",
    );
}

#[test]
fn functions_without_names_that_changed_places() {
    story(
        "local M = {} function M.new(on)
            local hp, name = 100, 'x'
            on(function(damage) hp = hp - damage return hp, 'hit' end)
            on(function(text) return text .. name, 'said', #name end)
        end return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on)
            local hp, name = 100, 'x'
            on(function(text) return text .. name, 'said it', #name end)
            on(function(damage) hp = hp - 2 * damage return hp, 'hit' end)
        end return M",
        "equal(follows(1)(10), 80) equal(select(2, follows(2) 'y'), 'said it')",
    );
}

#[test]
fn two_functions_of_equal_code() {
    // As many as before: in order.
    story(
        "local M = {} function M.new(on) local n = 0 on(function() n = n + 1 return n end)
            on(function() n = n + 1 return n end) end return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on) local n = 0\n
            on(function() n = n + 1 return n end)\n on(function() n = n + 1 return n end) end \
            return M",
        "local function line(f) return debug.getinfo(f, 'S').linedefined end
        equal(line(follows(1)), 3) equal(line(follows(2)), 4) equal(new[1](), 1) \
        equal(new[2](), 2)",
    );
    // Nothing tells the old ones apart.
    story(
        "local M = {} function M.new(on) local n = 0
            on(function() n = n + 1 return n end) on(function() n = n + 1 return n end) end \
            return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on) local n = 0\n
            on(function() n = n + 1 return n end)\n on(function() n = n + 1 return n end) end \
            return M",
        "stale(1, 'more than one') stale(2, 'more than one')",
    );
    // One is gone, and nothing tells which.
    story(
        "local M = {} function M.new(on) local n = 0
            on(function() n = n + 1 return n end) on(function() n = n + 1 return n end) end \
            return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on) local n = 0\n\n on(function() n = n + 1 return n end) end \
         return M",
        "stale(1, 'more than one') stale(2, 'more than one')",
    );
    // One is gone, and the neighbours tell which.
    story(
        "local M = {} function M.new(on) local n = 0
            on(function() n = n + 1 return n end)
            on(function() return n end) on(function() n = n + 1 return n end) end return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on) local n = 0\n\n
            on(function() return n end) on(function() n = n + 1 return n end) end return M",
        "stale(1, 'no function') follows(2) follows(3) equal(new[3](), 1)",
    );
    // Which of two is meant is not known.
    story(
        "local M = {} function M.new(on) local n = 0 on(function() n = n + 1 return n end) end \
         return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on) local n = 0\n
            on(function() n = n + 1 return n, 1 end) on(function() n = n + 1 return n, 2 end) end \
            return M",
        "stale(1, 'more than one')",
    );
}

#[test]
fn removed_functions_are_stale() {
    story(
        COUNTERS,
        TWO_COUNTERS,
        &COUNTERS.replace("        get = function() return n end,\n", ""),
        "stale(1, 'no function of the file') stale(3, 'no function') follows(2) follows(4) \
         equal(new[2](1), 3) equal(old[1](), 3)",
    );
    // A factory that is gone with all that it made.
    story(
        COUNTERS,
        TWO_COUNTERS,
        "local M = {} local made = 0 function M.made() return made end return M",
        "for i = 1, 4 do stale(i, 'no function of the file') end equal(old[2](1), 3)",
    );
}

#[test]
fn another_function_in_the_same_place_is_no_answer() {
    story(
        "local M = {} function M.new(on) local n = 0 on(function(a, b) n = n + a * b return n, \
         'product' end) end return M",
        "old = {} m.new(function(f) old[#old + 1] = f end)",
        "local M = {} function M.new(on) \
         local list = {} on(function(...) for i, v in ipairs { ... } do list[v] = i end end) end \
         return M",
        "stale(1, 'no function of the file')",
    );
}

#[test]
fn changed_parameters() {
    story(
        COUNTERS,
        TWO_COUNTERS,
        &COUNTERS.replace(
            "function(k) n = n + k return n end",
            "function(k, times, ...) n = n + k * times + select('#', ...) return n end",
        ),
        "equal(follows(2)(2, 3, 'x'), 9) equal(debug.getinfo(new[2], 'u').nparams, 2) \
         equal(debug.getinfo(new[2], 'u').isvararg, true)",
    );
}

#[test]
fn factories_made_by_a_factory_are_told_apart_by_their_cells() {
    let first = "
local M = {}
for i = 1, 3 do
    local level = i * 10
    M[i] = { raise = function() level = level + 1 return level end, new = function() \
    local n = 0 return function() n = n + 1 return n end end }
end
return M";
    story(
        first,
        "old = {} for i = 1, 3 do old[i] = m[i].new() end",
        &first.replace("n + 1 return n", "n + level return n"),
        // Nothing that the closures have tells which of the three made them.
        "for i = 1, 3 do stale(i, \"'level'\") end",
    );
    let first = first.replace("n + 1 return n", "n + 1 return n, level");
    story(
        &first,
        "old = {} for i = 1, 3 do old[i] = m[i].new() m[i].raise() end",
        &first
            .replace("local level = i * 10", "local bonus, level = i, i * 10")
            .replace("n + 1 return n", "n + level + bonus return n"),
        "equal(follows(1)(), 12) equal(follows(2)(), 23) equal(follows(3)(), 34)",
    );
}

#[test]
fn stripped_code_stays() {
    let strip = "load(string.dump(load([[local M = {} function M.new() \
        local n = 0 return function() n = n + 1 return n end end return M]], '@m.lua'), true))()";
    for way in WAYS {
        let state = begin("return {}", "");
        state.run(&format!(
            "package.loaded.m = {strip} m = package.loaded.m f = m.new() f() old = {{ f }}
            m.extra = load('local M = {{}} function M.extra() end return M', '@m.lua')().extra"
        ));
        // Its source name is `=?`: the module's own functions are found by it.
        reload(
            &state,
            "local M = {} function M.new() return function() return 2 end end return M",
            way,
        );
        state.run("assert(type(new[1]) == 'string') equal(old[1](), 2)");
    }
}

#[test]
fn a_chunk_that_has_run_stays() {
    story(
        "chunk = debug.getinfo(1, 'f').func local M = {} \
         function M.new() return function() return 1 end end return M",
        "old = { chunk, m.new() }",
        "local M = {} function M.new() return function() return 2 end end return M",
        "stale(1, 'a chunk') equal(follows(2)(), 2)",
    );
}

/// Closures of many generations, each of which replaced by the next.
#[test]
fn generation_after_generation() {
    let text = |k: i32| {
        format!(
            "local M, all = {{}}, 0 function M.new(start) \
             local n = start return function(d) n = n + d * {k} all = all + 1 return n, {k}, \
             all end end
            return M"
        )
    };
    for way in WAYS {
        let state = begin(&text(1), "f = m.new(100) old = { f }");
        for k in 2..8 {
            reload(
                &state,
                &format!("{}{}", "\n".repeat(k as usize), text(k)),
                way,
            );
            state.run(&format!(
                "local n, k, all = follows(1)(1) equal(k, {k}) \
                 equal(all, {k} - 1) last = last or 100 equal(n, last + {k}) last = n old = {{ \
                 new[1] }}"
            ));
        }
    }
}

#[test]
fn a_lua_of_another_format_moves_nothing() {
    for way in WAYS {
        let state = begin(COUNTERS, TWO_COUNTERS);
        reload_with(&state, &format!("\n{COUNTERS}"), way, |_, nested| {
            nested.cutter = None;
            assert!(nested.warning().is_some());
        });
        state.run("for i = 1, 4 do stale(i, 'format') end equal(old[2](1), 3)");
    }
}

/// What Lua has of a loaded cut is compared with the cut, byte by byte.
#[test]
fn a_cut_that_lua_takes_for_something_else_is_not_used() {
    let state = begin(COUNTERS, TWO_COUNTERS);
    reload_with(
        &state,
        &format!("\n{COUNTERS}"),
        Way::Plain,
        |vm, nested| {
            let template = vm.load_text(TEMPLATE, c"=?").expect("compiles");
            let mut template = vm.dump(template, DebugInfo::Keep).expect("memory").to_vec();
            template.push(0);
            nested.cutter = Cutter::new(template).expect("memory");
            assert_eq!(nested.warning(), None);
        },
    );
    state.run("for i = 1, 4 do stale(i, 'format') end equal(old[2](1), 3)");
}

#[test]
fn one_prototype_serves_all() {
    let state = begin(
        "local M = {} function M.new(n) return function() n = n + 1 return n end end return M",
        "old = {} for i = 1, 20000 do old[i] = m.new(i) end",
    );
    reload(
        &state,
        "local M = {} function M.new(n) return function() n = n + 2 return n end end return M",
        Way::Plain,
    );
    // A closure of one upvalue takes 40 bytes; a prototype of its own would be several hundred
    // more.
    state.run(
        "for i = 1, #old do equal(follows(i)(), i + 2) end
        old = nil collectgarbage() collectgarbage()
        local before = collectgarbage 'count'
        for i = 1, 20000 do new[i] = i end
        moved = nil collectgarbage() collectgarbage()
        local each = (before - collectgarbage 'count') * 1024 / 20000
        assert(each < 150, each)",
    );
}

#[test]
fn nothing_is_kept_alive() {
    let state = begin(
        COUNTERS,
        "old, held = {}, setmetatable({}, { __mode = 'k' })
        for i = 1, 10 do old[i] = m.new(i).get held[old[i]] = true end",
    );
    reload(
        &state,
        &COUNTERS.replace("return n end", "return n, 1 end"),
        Way::Plain,
    );
    state.run(
        "local function count() local n = 0 for _ in pairs(moved) do n = n + 1 end return n end
        equal(count(), 10) old, new = nil, nil collectgarbage() collectgarbage()
        equal(next(held), nil) equal(count(), 0)",
    );
}

/// Debug hooks of the program see nothing of it.
#[test]
fn no_hook_runs_meanwhile() {
    let state = begin(COUNTERS, TWO_COUNTERS);
    state.run("calls = 0 debug.sethook(function() calls = calls + 1 end, 'crl', 1)");
    reload_with(
        &state,
        &COUNTERS.replace("return n end", "return n, 1 end"),
        Way::Plain,
        |vm, _| {
            let closure = TestState::global(vm, "old");
            let closure = vm.element(closure, 1).expect("memory");
            let (globals, name) = (
                vm.globals().expect("memory"),
                vm.string(b"calls").expect("memory"),
            );
            let before = vm.get_number(globals, name);
            vm.instantiate(closure).expect("no error");
            assert!(before.is_some_and(|before| before > 100));
            assert_eq!(vm.get_number(globals, name), before);
        },
    );
    state.run("debug.sethook() follows(1)");
}

/// A lack of memory at any request of Lua's is reported, and asking again gives what it would have
/// given.
#[test]
fn memory_that_ends_is_reported() {
    let second = COUNTERS.replace("return n end", "return 'n', n end");
    for first in 1.. {
        let state = begin(COUNTERS, TWO_COUNTERS);
        let mut failed = 0;
        reload_with(&state, &second, Way::Plain, |vm, nested| {
            let values = Values {
                functions: TestState::global(vm, "functions"),
                moved: TestState::global(vm, "moved"),
            };
            let old = TestState::global(vm, "old");
            let closures: Vec<Ref> = (1..=4)
                .map(|i| vm.element(old, i).expect("memory"))
                .collect();
            state.memory().arm(first);
            let outcomes: Vec<_> = closures
                .iter()
                .map(|closure| nested.answer(vm, values, *closure))
                .collect();
            failed = state.memory().disarm();
            let errors = outcomes.iter().filter(|outcome| outcome.is_err()).count();
            assert!(outcomes.iter().all(|outcome| matches!(
                outcome,
                Ok(ClosureFate::Moved { .. }) | Err(Error::Memory)
            )));
            assert_eq!(errors > 0, failed == 2, "request {first}: {outcomes:?}");
        });
        // (The joins of the first try were lost.)
        state.run(
            "for i = 1, 4 do follows(i) end
            equal(select(2, new[1]()), 2) equal(select(2, new[2](5)), 7) \
            equal(select(2, new[3]()), 10)",
        );
        if failed == 0 {
            assert!(first > 10, "{first}");
            break;
        }
    }
}

/// A generator of numbers for tests.
struct Luck(u64);

impl Luck {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// A function that a factory makes: what it tells of itself, under which name, and how its code was
/// changed.
#[derive(Clone)]
struct Made {
    id: u64,
    named: bool,
    variable: u64,
    factor: u64,
    inner: bool,
}

/// A factory with these functions, in this order. Each function returns its id and the variable
/// that it changes.
fn factory(functions: &[Made], locals: u64, lines: u64) -> String {
    let mut text = "\n".repeat(lines as usize) + "local M, total = {}, 0\nfunction M.new(on)\n";
    for i in 0..locals {
        text += &format!("    local extra{i} = {i} on(extra{i})\n");
    }
    text += "    local v0, v1, v2, o = 0, 10, 20, {}\n";
    for Made {
        id,
        named,
        variable,
        factor,
        inner,
    } in functions
    {
        let body = format!(
            "total = total + 1 v{variable} = v{variable} + k * {factor} return 'id{id}', \
             v{variable}, total"
        );
        let body = if *inner {
            format!("return (function() {body} end)()")
        } else {
            body
        };
        text += &if *named {
            format!("    o.f{id} = function(k) {body} end on(o.f{id}, 'id{id}', 'v{variable}')\n")
        } else {
            format!("    on(function(k) {body} end, 'id{id}', 'v{variable}')\n")
        };
    }
    text + "    return o\nend\nfunction M.total() return total end\nreturn M"
}

/// Whatever is moved, changed, and added or removed: no closure ever gets the code of another one,
/// or another one's variables, and those that have names or that did not change follow.
#[test]
fn random_factories() {
    for seed in 1..=150 {
        let mut luck = Luck(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let count = 1 + luck.below(7);
        let mut functions: Vec<Made> = (0..count)
            .map(|id| Made {
                id,
                named: luck.below(2) == 0,
                variable: luck.below(3),
                factor: 1,
                inner: luck.below(3) == 0,
            })
            .collect();
        let first = factory(&functions, 0, 0);
        luck.shuffle(&mut functions);
        for function in &mut functions {
            if luck.below(3) == 0 {
                function.factor = 2 + luck.below(3);
            }
        }
        let mut kept: Vec<u64> = (0..count).collect();
        if luck.below(2) == 0 {
            for id in count..count + luck.below(3) {
                let at = luck.below(functions.len() as u64 + 1) as usize;
                let (named, variable, inner) =
                    (luck.below(2) == 0, luck.below(3), luck.below(3) == 0);
                functions.insert(
                    at,
                    Made {
                        id,
                        named,
                        variable,
                        factor: 3,
                        inner,
                    },
                );
            }
        } else {
            let gone = functions.pop().map(|function| function.id);
            kept.retain(|id| Some(*id) != gone);
        }
        let second = factory(&functions, luck.below(4), 1 + luck.below(5));
        let expected: String = functions
            .iter()
            .map(|f| {
                format!(
                    "id{} = {{ {}, {} }}, ",
                    f.id,
                    f.factor,
                    f.named || f.factor == 1
                )
            })
            .collect();
        let state = begin(
            &first,
            "old, told = {}, {}
            for _ = 1, 2 do
                m.new(function(f, id, variable)
                    if id then old[#old + 1], told[#old + 1] = f, { id = id, \
                    variable = variable } end
                end)
            end",
        );
        let way = *WAYS.get(luck.below(4) as usize).expect("there");
        reload(&state, &second, way);
        state.run(&format!(
            "local expected, calls = {{ {expected} }}, 0
            for i, f in ipairs(old) do
                local what = string.format('seed {seed}, {way:?}: %d (%s)', i, told[i].id)
                local wanted = expected[told[i].id]
                if type(new[i]) == 'function' then
                    assert(wanted, what .. ' is gone')
                    local _, before = f(0)
                    local id, after, total = new[i](1)
                    calls = calls + 2
                    equal(id, told[i].id, what) equal(after - before, wanted[1], what)
                    equal(total, calls, what) equal(m.total(), calls, what)
                    equal(select(2, f(0)), after, what)
                    calls = calls + 1
                elseif new[i] == 'same' then
                    equal(wanted and wanted[1], 1, what)
                else
                    assert(not wanted or not wanted[2], what .. ': ' .. tostring(new[i]))
                end
            end"
        ));
    }
}
