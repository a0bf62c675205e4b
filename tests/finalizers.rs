//! What finalizers bring about while a reload is under way: collections at each of the library's
//! calls into Lua, finalizers that reload, load and collect, and finalizers that raise where the
//! host turns warnings into errors (R7.1, R7.5).

#![cfg(feature = "vendored")] // only that build collects where a test asks for it
// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use hotreload::fault;
use mlua::ffi::{self, lua_State};
use support::story::{self, End, Story};
use support::{Fault, Outcome, Program, is_stress};

/// Calls what was pushed, with a full collection at each call into Lua that may raise.
fn call_collecting(program: &Program, arguments: c_int) -> Outcome {
    fault::collect(true);
    let outcome = program.call(arguments, Fault::None);
    fault::collect(false);
    outcome
}

fn is_as_expected(story: &Story, outcome: &Outcome) -> bool {
    match story.ends {
        End::Done | End::Dry | End::Part => *outcome == Outcome::Done,
        End::Refused(part) => {
            matches!(outcome, Outcome::Refused(Some(text)) if text.contains(part))
        }
    }
}

/// Prepares finalizers: each cycle of the collector calls `f` (a Lua expression) once. How often it
/// did stands in `cycles.count`, in the registry, and `cycles.on = false` ends it.
fn each_cycle(program: &Program, f: &str) {
    program.must(&format!(
        "local f = {f}
        local cycles = {{ count = 0, on = true }}
        debug.getregistry()['tests.cycles'] = cycles
        local function again()
            if not cycles.on then return end
            cycles.count = cycles.count + 1
            setmetatable({{}}, {{ __gc = again }})
            f(cycles)
        end
        setmetatable({{}}, {{ __gc = again }})",
    ));
}

fn end_cycles(program: &Program) -> u64 {
    let count = program.must(
        "local cycles = debug.getregistry()['tests.cycles']
        cycles.on = false
        return cycles.count",
    );
    count.parse().expect("a count")
}

/// Every story comes out the same, be there ever so many collections, whose finalizers load,
/// collect, and ask for reloads.
#[test]
fn stories_are_the_same_when_finalizers_run_at_every_call() {
    let mut ran = 0;
    for story in story::ALL {
        let program = Program::new();
        program.write(
            "beside",
            "local n = 0 return { f = function() n = n + 1 return n end }",
        );
        program.must("require 'beside'");
        story.prepare(&program);
        // While no reload is under way, nothing of the library's runs in which a finalizer could
        // ask for one: the collector is paused there, but in this test.
        let reload = if story.call.contains("gg.reload") {
            "gg.reload"
        } else {
            "function() return true end"
        };
        each_cycle(
            &program,
            &format!(
                "(function()
                    local reload = {reload}
                    return function()
                        collectgarbage()
                        collectgarbage 'step'
                        local chunk = load 'local t = {{}} return function() return t end'
                        if not chunk()() then error 'wrong' end
                        local ok, message = reload('beside', {{ dry_run = true }})
                        if not ok and not message:find 'is running in' then error(message) end
                    end
                end)()"
            ),
        );
        program.must("local test = ... if not test.taken then test.snapshot() end");
        story.push(&program);
        let outcome = call_collecting(&program, 2);
        assert!(
            is_as_expected(story, &outcome),
            "{}: {outcome:?}",
            story.name
        );
        if outcome != Outcome::Done && story.ends != End::Part || story.ends == End::Dry {
            assert_eq!(
                program.must("local test = ... return test.changes()"),
                "nil",
                "{}",
                story.name
            );
        }
        ran += end_cycles(&program);
        story.settle(&program, outcome == Outcome::Done);
        assert!(
            program.has_own_allocator() && program.is_collecting(),
            "{}",
            story.name
        );
    }
    assert!(ran > 1000, "only {ran} finalizers ran");
}

/// R3.3, R9.2: which functions are generations of one is not lost when the collector ends a cycle
/// during a reload.
#[test]
fn generations_are_known_whenever_the_collector_ends_a_cycle() {
    for budget in ["nil", "0.01"] {
        let program = Program::new();
        let text = "
            local function helper() return VERSION end
            local M = { sub = {} }
            function M.f() return helper() end
            function M.sub.g() return VERSION, helper end
            return M";
        program.write("m", text.replace("VERSION", "1"));
        program.must("m = require 'm' held = { [1] = m.f, [2] = m.sub.g, [m.f] = 3 }");
        for version in 2..6 {
            program.write("m", text.replace("VERSION", &version.to_string()));
            program.push("return gg.reload");
            program.push("return 'm'");
            assert_eq!(call_collecting(&program, 1), Outcome::Done);
            program.must(
                "held[#held + 1] = m.f held[#held + 1] = m.sub.g \
                held[#held + 1] = select(2, m.sub.g())",
            );
        }
        program.write("m", text.replace("VERSION", "6"));
        program.push("return gg.reload");
        program.push("return 'm'");
        program.push(&format!("return {{ scope = 'vm', budget_ms = {budget} }}"));
        assert_eq!(call_collecting(&program, 2), Outcome::Done);
        program.push(
            "return function()
                for _ = 1, 1000 do
                    if require 'hotreload'.sweep(1) then return true end
                end
            end",
        );
        assert_eq!(call_collecting(&program, 0), Outcome::Done);
        program.must(
            "local test = ...
            for _, f in ipairs(held) do test.equal(f(), 6) end
            test.equal(#held, 14)
            test.equal(held[m.f], 3)
            test.equal(held[1], m.f)",
        );
    }
}

thread_local! {
    /// The Lua thread in which the last finalizer ran that raised: the one that the collector works
    /// in.
    static RUNS_IN: Cell<*mut lua_State> = const { Cell::new(ptr::null_mut()) };
}

/// `fails()`: raises, and notes in which thread.
unsafe extern "C-unwind" fn fails(l: *mut lua_State) -> c_int {
    RUNS_IN.set(l);
    // SAFETY: no Rust value lives across the jump.
    unsafe { ffi::luaL_error(l, c"a finalizer that a test lets raise".as_ptr()) }
}

/// The host's function for warnings: raises where the collector works.
unsafe extern "C-unwind" fn raises(_: *mut c_void, _: *const c_char, to_be_continued: c_int) {
    let l = RUNS_IN.get();
    if to_be_continued == 0 && !l.is_null() {
        // SAFETY: no Rust value lives across the jump.
        unsafe {
            ffi::lua_checkstack(l, 1); // the collector may have run where the frame was full
            ffi::lua_pushstring(l, WARNING.as_ptr());
            ffi::lua_error(l);
        }
    }
}

const WARNING: &CStr = c"a warning that a host made an error of";

/// Runs `body` while warnings are errors, and `fails`, in the registry, raises one from a
/// finalizer.
fn with_warnings_that_raise<R>(program: &Program, body: impl FnOnce() -> R) -> R {
    let l = program.state();
    // SAFETY: nothing runs in the state.
    unsafe { ffi::lua_setwarnf(l, Some(raises), ptr::null_mut()) };
    let result = body();
    // SAFETY: as above.
    unsafe { ffi::lua_setwarnf(l, None, ptr::null_mut()) };
    RUNS_IN.set(ptr::null_mut());
    result
}

/// Puts `fails` into the registry.
fn register_fails(program: &Program) {
    let l = program.state();
    // SAFETY: nothing runs in the state; there is room on its stack.
    unsafe {
        ffi::lua_pushcfunction(l, fails);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, c"tests.fails".as_ptr());
    }
}

/// Loads the library's parts: each of its functions raises for this argument, or changes nothing.
fn load_parts(program: &Program) {
    program.must(
        "for _, f in next, require 'hotreload' do
            if type(f) == 'function' then pcall(f, f) end
        end
        gg.reload 'no such module'",
    );
}

/// Tells a story in which the `n`-th finalizer raises, and, by way of the host, the call into Lua
/// that it runs in. False where there were fewer.
fn tell_raising(story: &Story, n: u64) -> bool {
    let program = story.begin();
    program.must("local test = ... if not test.taken then test.snapshot() end");
    register_fails(&program);
    load_parts(&program);
    each_cycle(
        &program,
        &format!(
            "(function()
                local fails = debug.getregistry()['tests.fails']
                return function(cycles) if cycles.count == {n} then fails() end end
            end)()"
        ),
    );
    // What the façade itself allocates is not to end a cycle: an error in there is the caller's.
    program.must("collectgarbage() debug.getregistry()['tests.cycles'].count = 0");
    story.push(&program);
    let outcome = with_warnings_that_raise(&program, || call_collecting(&program, 2));
    let met = end_cycles(&program) >= n;
    let place = format!("{}: finalizer {n}: {outcome:?}", story.name);
    let done = outcome == Outcome::Done;
    match (&outcome, story.ends) {
        (Outcome::Refused(None), _) => panic!("{place}: no message"),
        (Outcome::Raised(_), _) => panic!("{place}"),
        (Outcome::Refused(Some(text)), _) if met && text.contains(&*WARNING.to_string_lossy()) => {}
        _ => assert!(is_as_expected(story, &outcome), "{place}"),
    }
    if !done && story.ends != End::Part || story.ends == End::Dry {
        let changes = program.must("local test = ... return test.changes()");
        assert_eq!(changes, "nil", "{place}");
    }
    story.settle(&program, done);
    assert!(
        program.has_own_allocator() && program.is_collecting(),
        "{place}"
    );
    met
}

/// An error that the collector lets out, at whichever call into Lua, is one like any other: nothing
/// is changed by a reload that it ends.
#[test]
fn a_warning_that_the_host_makes_an_error_of_may_come_at_every_call() {
    fault::alone(true); // when a step comes must not hang on other threads
    let mut told = 0;
    // (The watcher takes it for a fault of the file, and waits until that changes.)
    for story in story::ALL
        .into_iter()
        .filter(|story| story.name != story::WATCH.name)
    {
        // Of one that is refused the last call makes the message.
        let step = if is_stress() || story.name == "raises" {
            1
        } else {
            7
        };
        let mut n = 1;
        while tell_raising(story, n) {
            n += step;
            told += 1;
        }
    }
    assert!(told > 300, "only {told} tellings");
}

/// The collector's step at the end of a reload runs finalizers that raise: the reload is done all
/// the same, and so is the next one.
#[test]
fn a_warning_that_the_host_makes_an_error_of_does_not_end_the_step_behind_a_reload() {
    fault::alone(true); // when a step comes must not hang on other threads
    let mut behind = 0;
    for scope in ["module", "vm"] {
        for n in 1.. {
            let program = Program::new();
            let text = "local n = 0 return { f = function() n = n + 1 return n, VERSION end }";
            program.write("m", text.replace("VERSION", "1"));
            program.must("m = require 'm' m.f() raised = 0");
            program.write("m", text.replace("VERSION", "2"));
            register_fails(&program);
            load_parts(&program);
            program.must(
                "local fails = debug.getregistry()['tests.fails']
                for _ = 1, 3 do
                    setmetatable({}, { __gc = function()
                        raised = raised + 1
                        version = select(2, m.f())
                        fails()
                    end })
                end",
            );
            program.push("return gg.reload");
            program.push("return 'm'");
            program.push(&format!("return {{ scope = '{scope}' }}"));
            // A collection that a failed request brings about leaves the finalizers for the next
            // step.
            let outcome = with_warnings_that_raise(&program, || program.call(2, Fault::hiccup(n)));
            let hit = program.memory.failed() > 0;
            // Some requests are not repeated.
            let refused = matches!(
                &outcome,
                Outcome::Refused(Some(text)) if text.contains("not enough memory")
            );
            assert!(
                outcome == Outcome::Done || hit && refused,
                "request {n}: {outcome:?}"
            );
            assert!(
                program.has_own_allocator() && program.is_collecting(),
                "request {n}"
            );
            let raised = program.must("return raised == 0 and 0 or version");
            behind += u32::from(raised == "2");
            program.must(&format!(
                "local test = ...
                raised = 0
                test.equal(select(2, m.f()), {})
                test.reload 'm'
                test.equal(select(2, m.f()), 2)",
                if refused { 1 } else { 2 }
            ));
            if !hit {
                break;
            }
        }
    }
    assert!(behind > 20, "only {behind} reloads with such a step");
}

/// With Lua's own function for warnings, on, a reload is the same.
#[test]
fn warnings_that_are_shown_change_nothing() {
    let mut ran = 0;
    for story in story::ALL {
        let program = story.begin();
        program.must("local test = ... if not test.taken then test.snapshot() end");
        each_cycle(
            &program,
            "function(cycles) if cycles.count % 50 == 1 then \
             error 'a finalizer that a test lets raise' end end",
        );
        program.must("warn '@on'");
        story.push(&program);
        let outcome = call_collecting(&program, 2);
        program.must("warn '@off'");
        ran += end_cycles(&program);
        assert!(
            is_as_expected(story, &outcome),
            "{}: {outcome:?}",
            story.name
        );
        story.settle(&program, outcome == Outcome::Done);
    }
    assert!(ran > 1000, "only {ran} finalizers ran");
}

/// Calls what was pushed, again and again in new programs, each time with another request for
/// memory that is granted when it is repeated: the collection before that leaves finalizers for the
/// collector's next step, behind the library's work.
fn each_hiccup(mut tell: impl FnMut(Fault) -> bool) {
    for n in 1.. {
        if !tell(Fault::hiccup(n)) {
            break;
        }
    }
}

const VERSIONS: &str = "
    local n = 0
    local M = { version = VERSION }
    function M.f() n = n + 1 return VERSION, n end
    return M";

/// A program with version 1, and held references to its function. `version(n)` is the options of a
/// reload to version `n`.
fn versions() -> Program {
    let program = Program::new();
    program.write("m", VERSIONS.replace("VERSION", "1"));
    program.must(&format!(
        "m = require 'm'
        held = {{ m.f, {{ m.f }}, [m.f] = 1 }}
        local text = [[{VERSIONS}]]
        function version(n, budget_ms)
            return {{ source = (text:gsub('VERSION', n)), scope = 'vm', budget_ms = budget_ms }}
        end"
    ));
    program
}

/// R9.4: a sweep is at its end when the last module that has joined it is swept, be it one that a
/// finalizer reloaded behind the last slice.
#[test]
fn a_finalizer_reloads_behind_the_last_slice() {
    let mut behind = 0;
    each_hiccup(|fault| {
        let program = versions();
        program.must(
            "assert(gg.reload('m', version(2, 0.001)))
            local third = version(3, 0.001)
            setmetatable({}, { __gc = function() nested = table.pack(gg.reload('m', third)) end })",
        );
        program.push("return function() return require 'hotreload'.sweep() end");
        let outcome = program.call(0, fault);
        let hit = program.memory.failed() > 0;
        behind += u32::from(program.must("return nested and nested[1] and 1 or 0") == "1");
        let is = program.must(
            "local test = ...
            collectgarbage()
            test.equal(nested[1], true)
            while not assert(require 'hotreload'.sweep()) do end
            test.equal(m.f(), 3)
            test.equal(held[1](), 3, 'held')
            test.equal(held[2][1](), 3, 'held deeper')
            test.equal(held[m.f], 1)
            return select(2, m.f())",
        );
        assert_eq!(is, "4", "{fault:?}: {outcome:?}");
        hit
    });
    assert!(behind > 20, "only {behind} reloads behind a slice");
}

/// R7.3: a reload that a finalizer makes behind an undoing is the last one, and can be undone.
#[test]
fn a_finalizer_reloads_behind_an_undoing() {
    let mut behind = 0;
    each_hiccup(|fault| {
        let program = versions();
        program.must(
            "assert(gg.reload('m', version(2)))
            local third = version(3)
            setmetatable({}, { __gc = function()
                was = m.f()
                nested = table.pack(gg.reload('m', third))
            end })",
        );
        program.push("return require 'hotreload'.undo");
        program.push("return 'm'");
        let outcome = program.call(1, fault);
        let hit = program.memory.failed() > 0;
        if outcome == Outcome::Done {
            // What came in front of the undoing is what was undone, unless the failed request was
            // its own.
            let left = program.must("return nested and nested[1] and was == 2 and m.f() or 2");
            assert_eq!(left, "2", "{fault:?}");
        }
        if outcome == Outcome::Done && program.must("return nested and m.f() or 0") == "3" {
            behind += 1;
            program.must(
                "local test = ...
                test.equal(held[1](), 3)
                assert(require 'hotreload'.undo 'm')
                test.equal(m.f(), 1)
                test.equal(held[1](), 1)
                test.equal(held[m.f], 1)",
            );
        }
        hit
    });
    assert!(behind > 10, "only {behind} reloads behind an undoing");
}

/// R9.2: the collector works inside the compiler as well. What a finalizer asks for then walks over
/// the stack on which the function stands that is being compiled, here one of the module's own.
#[test]
fn finalizers_reload_while_the_compiler_works() {
    let program = versions();
    each_cycle(
        &program,
        "(function()
            local hotreload = require 'hotreload'
            inside, failed, n = 0, nil, 1
            local function work()
                n = n % 3 + 1
                assert(gg.reload('m', version(n, inside % 4 == 0 and 0.001 or nil)))
                hotreload.sweep(0.001)
                assert(hotreload.stale('m', { paths = true }))
                if inside % 5 == 0 then
                    assert(hotreload.undo 'm')
                    assert(gg.reload('m', version(n)))
                end
            end
            return function()
                local level, info = 1
                repeat
                    level = level + 1
                    info = debug.getinfo(level, 'f')
                until not info or info.func == load
                if not info then return end
                inside = inside + 1
                local done, message = pcall(work)
                if not done then failed = failed or message end
            end
        end)()",
    );
    program.must(
        "local test = ...
        local keys = {}
        for i = 1, 500 do keys[i] = ('k%d = function() return a end,'):format(i) end
        local source = debug.getinfo(m.f, 'S').source
        collectgarbage('setpause', 0)
        collectgarbage('setstepmul', 1000)
        for i = 1, 200 do
            local text = ('local a = %d return {%s}'):format(i, table.concat(keys))
            local chunk = assert(load(text, source))
            test.equal(chunk().k500(), i)
            if inside >= 8 then break end
        end
        if failed then error(failed) end
        if inside < 8 then error('only ' .. inside) end
        while not require 'hotreload'.sweep() do end
        test.equal(m.f(), n)
        test.equal(held[1], m.f)
        test.equal(held[m.f], 1)",
    );
    end_cycles(&program);
}
