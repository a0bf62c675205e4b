//! Many Lua states in one process: each has its own program, nothing of it is shared, and all that
//! a state held is gone when it is closed.
//!
//! One test runs at a time: what states share goes with the last of them.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use mlua::ffi;
use support::story::{self, End, Story};
use support::{Fault, Memory, Outcome, Program};

/// Counts the bytes that each thread holds outside the states.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends frees after its counter is gone.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter hands out no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }
}

/// No other test runs as long as this is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells a story whole in a state of its own.
fn tell(story: &Story, memory: Memory) {
    let program = Program::with(memory);
    story.prepare(&program);
    story.push(&program);
    let outcome = program.call(2, Fault::None);
    match story.ends {
        End::Done | End::Dry | End::Part => assert_eq!(outcome, Outcome::Done, "{}", story.name),
        End::Refused(part) => {
            let told = matches!(&outcome, Outcome::Refused(Some(text)) if text.contains(part));
            assert!(told, "{}: {outcome:?}", story.name);
        }
    }
    story.settle(&program, outcome == Outcome::Done);
}

#[test]
fn states_come_and_go() {
    let _alone = alone();
    for round in 0..10 {
        for story in story::ALL {
            tell(story, Memory::scattered(round));
        }
    }
}

#[test]
fn threads_have_states_of_their_own() {
    let _alone = alone();
    thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || {
                for round in 0..5 {
                    for story in story::ALL {
                        tell(story, Memory::scattered(100 * number + round));
                    }
                }
            });
        }
    });
}

#[test]
fn a_state_moves_to_another_thread() {
    let _alone = alone();
    struct Moved(Program);
    // SAFETY: one thread at a time uses the state; the library keeps nothing that belongs to a
    // thread.
    unsafe impl Send for Moved {}

    let moved = Moved(story::FUNCTIONS.begin());
    let moved = thread::spawn(move || {
        let moved = moved;
        moved.0.must("local test = ... test.reload 'm'");
        moved
    });
    let Ok(moved) = moved.join() else {
        panic!("the other thread failed")
    };
    story::FUNCTIONS.settle(&moved.0, true);
}

#[test]
fn two_states_share_nothing() {
    let _alone = alone();
    let (one, other) = (Program::new(), Program::new());
    for program in [&one, &other] {
        program.write(
            "m",
            "local n = 0 return { f = function() n = n + 1 return n end }",
        );
        program.must("m = require 'm' m.f()");
    }
    one.must("require 'hotreload'.configure { deny = '^m$' }");
    one.write("m", "return {}");
    other.write(
        "m",
        "local n = 0 return { f = function() n = n + 10 return n end }",
    );
    let outcome = one.must("return tostring(select(2, gg.reload 'm'))");
    assert!(outcome.contains("deny pattern"), "{outcome}");
    other.must(
        "local test = ...
        for generation = 2, 5 do test.equal(test.reload('m').generation, generation) end
        test.equal(m.f(), 11)",
    );
    one.must(
        "local test = ...
        require 'hotreload'.configure { deny = {} }
        test.equal(test.reload('m').generation, 2)
        test.equal(m.f(), 2)",
    );
}

/// Reloads `m` in the state whose pointer is in the upvalue.
unsafe extern "C-unwind" fn reload_elsewhere(l: *mut ffi::lua_State) -> std::ffi::c_int {
    // SAFETY: the upvalue is the other state, which is open and not running; the call is protected.
    unsafe {
        let other = ffi::lua_touserdata(l, ffi::lua_upvalueindex(1)).cast::<ffi::lua_State>();
        ffi::lua_getglobal(other, c"gg".as_ptr());
        ffi::lua_getfield(other, -1, c"reload".as_ptr());
        ffi::lua_pushstring(other, c"m".as_ptr());
        let done =
            ffi::lua_pcall(other, 1, 1, 0) == ffi::LUA_OK && ffi::lua_toboolean(other, -1) != 0;
        ffi::lua_settop(other, 0);
        ffi::lua_pushboolean(l, done.into());
        1
    }
}

#[test]
fn a_chunk_reloads_in_another_state() {
    let _alone = alone();
    let (one, other) = (Program::new(), story::CLASS.begin());
    one.write("m", "return {}");
    one.must("m = require 'm'");
    // SAFETY: nothing runs in the state; there is room on its stack.
    unsafe {
        ffi::lua_pushlightuserdata(one.state(), other.state().cast());
        ffi::lua_pushcclosure(one.state(), reload_elsewhere, 1);
        ffi::lua_setglobal(one.state(), c"elsewhere".as_ptr());
    }
    one.write(
        "m",
        "return { done = elsewhere(), refused = select(2, gg.reload 'm') }",
    );
    one.must(
        "local test = ...
        test.reload 'm'
        test.equal(m.done, true)
        assert(m.refused:find 'running in another reload')",
    );
    assert!(one.has_own_allocator() && other.has_own_allocator());
    story::CLASS.settle(&other, true);
}

#[test]
fn require_gives_one_table() {
    let _alone = alone();
    let program = Program::new();
    program.must(
        "local test = ...
        local first = require 'hotreload'
        test.equal(require 'hotreload', first)
        test.equal(gg.reload, first.reload)
        gg.safe_reloads.x = true
        local safe = gg.safe_reloads
        for _ = 1, 3 do
            package.loaded.hotreload = nil
            test.equal(require 'hotreload', first, 'opened again')
            test.equal(gg.safe_reloads, safe)
        end
        gg = nil
        package.loaded.hotreload = nil
        test.equal(require 'hotreload', first)
        test.equal(gg.reload, first.reload, 'gg.reload in a new gg')
        gg.reload = nil
        test.equal(package.preload.hotreload(), first, 'opened directly')
        test.equal(gg.reload, first.reload)",
    );
}

#[test]
fn a_state_is_opened_without_reloading() {
    let _alone = alone();
    for _ in 0..20 {
        drop(Program::new());
        drop(Program::bare(Memory::new()));
    }
}

/// A hook that waits, and what is done with its coroutine: the end of the state must find nothing
/// that is left undone.
const WAITING: &str = "
    local test = ...
    m = require 'm'
    test.snapshot(m)
    waiting = coroutine.create(function() return gg.reload('m', { source = [[
        local n = 0
        return { f = function() n = n + 10 return n end, added = true, __hotfix = function() \
        coroutine.yield 'waits' end }
    ]] }) end)
    assert(select(2, coroutine.resume(waiting)) == 'waits')
    assert(m.added)
    assert(select(2, gg.reload 'm'):find 'has not ended')";

fn waiting() -> Program {
    let program = Program::new();
    program.write(
        "m",
        "local n = 0 return { f = function() n = n + 1 return n end }",
    );
    program.must(WAITING);
    program
}

#[test]
fn a_state_is_closed_while_a_hook_waits() {
    let _alone = alone();
    for _ in 0..10 {
        drop(waiting());
        let forgotten = waiting();
        forgotten.must("waiting = nil");
        drop(forgotten);
    }
}

#[test]
fn a_state_is_closed_while_hooks_of_several_modules_wait() {
    let _alone = alone();
    let program = Program::new();
    for module in ["a", "b", "c"] {
        program.write(module, "return {}");
        program.must(&format!(
            "require '{module}'
            local waits = coroutine.wrap(function()
                gg.reload('{module}', \
                {{ source = 'return {{ __hotfix = function() coroutine.yield(1) end }}' }})
            end)
            assert(waits() == 1)
            waiting_{module} = waits"
        ));
    }
}

#[test]
fn a_closed_coroutine_takes_its_reload_back() {
    let _alone = alone();
    let program = waiting();
    program.must(
        "local test = ...
        test.equal(coroutine.close(waiting), true)
        waiting = nil
        test.equal(m.added, nil)
        test.equal(m.f(), 1)
        test.equal(test.reload('m', { source = 'local n = 0 return { f = function() n = n + 2 \
        return n end }' }).generation, 2)
        test.equal(m.f(), 3)",
    );
}

#[test]
fn a_waiting_hook_goes_on() {
    let _alone = alone();
    let program = waiting();
    program.must(
        "local test = ...
        local resumed, done = coroutine.resume(waiting)
        test.equal(resumed, true)
        test.equal(done, true)
        test.equal(m.f(), 10)
        test.reload 'm'
        test.equal(m.f(), 11)",
    );
}

/// A finalizer that reloads when the state is closed: whatever it gets, the state must close.
#[test]
fn a_state_is_closed_by_way_of_a_reload() {
    let _alone = alone();
    for lost in [
        "",
        "package.loaded.m = nil",
        "package.searchers = nil",
        "package.path = nil",
        "debug = nil",
    ] {
        let program = story::FUNCTIONS.begin();
        program.must(&format!(
            "local reload = gg.reload
            keep = setmetatable({{}}, {{ __gc = function()
                {lost}
                local done, message = reload 'm'
                if not done and type(message) ~= 'string' then os.exit(3) end
            end }})"
        ));
    }
}

/// What a reload holds outside the state is gone when it ends, however it ends.
#[test]
fn reloads_leave_nothing_behind() {
    let _alone = alone();
    // A sweep in slices holds what it needs until it is done.
    const END_SWEEP: &str = "local library = package.loaded.hotreload if library then \
        assert(library.sweep()) end collectgarbage()";
    tell(&story::FUNCTIONS, Memory::new()); // what is made once in a process
    for story in story::ALL {
        let program = story.begin();
        // Each reload would join a sweep that is under way.
        program.must("require('hotreload').sweep() collectgarbage()");
        program.must("gg.reload('m', { source = 'error \"first\"' })");
        program.must(&format!("gg.reload('m', {})", story.options));
        let reload = |times: u32| {
            for _ in 0..times {
                program.must(&format!("gg.reload('m', {})", story.options));
                program.must("gg.reload('m', { source = 'error {}' })");
                program.must("gg.reload('m', { source = 'syntax error' })");
                program.must("gg.reload('m', { dry_run = true })");
                program.must("gg.reload 'no such module'");
            }
            program.must(END_SWEEP);
        };
        reload(1); // which code became which is remembered
        let before = HELD.get();
        reload(5);
        assert_eq!(
            HELD.get() - before,
            0,
            "{}: bytes that reloads left behind",
            story.name
        );
    }
}

/// The same when memory runs out on the way, at every request.
#[test]
fn failed_reloads_leave_nothing_behind() {
    let _alone = alone();
    let story = &story::REGISTRY;
    tell(story, Memory::new());
    let program = story.begin();
    // What is kept for other states is made at the first use.
    program.must("gg.reload('m', { dry_run = true }) gg.reload 'no such module'");
    for n in 1.. {
        program.push("return gg.reload");
        program.push("return 'm'");
        program.push("return { dry_run = true, report = 'full' }");
        let before = HELD.get();
        program.call(2, Fault::once(n));
        // (The outcome's message is gone by now.)
        assert_eq!(
            HELD.get() - before,
            0,
            "request {n}: bytes that a failed reload left behind"
        );
        if program.memory.failed() == 0 {
            break;
        }
    }
}

#[test]
fn closed_states_leave_nothing_behind() {
    let _alone = alone();
    tell(&story::FUNCTIONS, Memory::new());
    let once = |story: &Story| {
        let before = HELD.get();
        tell(story, Memory::new());
        HELD.get() - before
    };
    for story in story::ALL {
        let left: Vec<isize> = (0..4).map(|_| once(story)).collect();
        assert_eq!(
            left, [0; 4],
            "{}: bytes that closed states left behind",
            story.name
        );
    }
    let before = HELD.get();
    drop(waiting());
    assert_eq!(
        HELD.get() - before,
        0,
        "bytes that a waiting hook left behind"
    );
}

/// Lua's own memory does not grow either.
#[test]
fn reloads_do_not_grow_a_state() {
    let _alone = alone();
    let program = story::CLASS.begin();
    let held = |rounds: usize| {
        for _ in 0..rounds {
            program.must(
                "local test = ... test.reload 'm' assert(not gg.reload('m', \
                { source = 'error()' }))",
            );
        }
        program.collect()
    };
    let early = held(20);
    let late = held(60);
    assert!(
        late < early + 2048,
        "{early} bytes after 20 reloads, {late} after 80"
    );
}
