//! R7.1, R2.3: wherever a reload panics or fails, at the bounds of its stages, between two
//! operations of the commit, in a walk over the VM, while it is undone, the program is as it was,
//! and the same reload then works.
//!
//! Every story is told again and again, each time with another point of the library failing
//! ([`hotreload::fault`]), until none is met any more. Behind that: what a host's functions in C
//! raise. What a program's Lua functions raise: `spec/raises_spec.lua`.

#![cfg(feature = "vendored")] // only that build has the points
// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::ffi::c_int;

use hotreload::fault::{self, Fault};
use mlua::ffi::{self, lua_State};
use support::story::{self, End, Story};
use support::{Fault as Memory, Outcome, Program, is_stress, pick};

/// So many points fail when all do from some one on.
const FOR_EVER: u64 = u64::MAX;

/// How many of the tellings that went wrong are shown.
const SHOWN: usize = 20;

/// What became of one telling.
struct Told {
    failed: u64,
    wrong: Option<String>,
}

/// Tells a story with `count` points failing in its reload, from the one with the number `first`
/// on.
fn tell(story: &Story, kind: Fault, first: u64, count: u64, memory: Memory) -> Told {
    let program = story.begin();
    program.must("local test = ... if not test.taken then test.snapshot() end");
    let collecting = program.is_collecting();
    story.push(&program);
    fault::arm(kind, first, count);
    let outcome = program.call(2, memory);
    let met = fault::disarm();
    let done = outcome == Outcome::Done;

    let mut wrong = Vec::new();
    if !program.has_own_allocator() {
        wrong.push("the state has another allocator".to_owned());
    }
    if program.is_collecting() != collecting {
        wrong.push("the collector was started or stopped".to_owned());
    }
    // Where everything fails from some point on, nothing can be put back: then the message must say
    // so.
    let text = match &outcome {
        Outcome::Refused(Some(text)) | Outcome::Raised(text) => text.as_str(),
        _ => "",
    };
    let admitted = count == FOR_EVER && outcome.admits_damage();
    // Only one of two failures in a row is that of the message itself: then there is none.
    let speechless = count > 1 && text == "not enough memory";
    if !admitted {
        if !done && story.ends != End::Part || story.ends == End::Dry {
            let changes = program.must("local test = ... return test.changes()");
            if changes != "nil" {
                let lines: Vec<_> = changes.lines().take(3).collect();
                wrong.push(format!("changes: {}", lines.join("; ")));
            }
        }
        match (&outcome, story.ends) {
            (Outcome::Refused(None), _) => wrong.push("refused without a message".to_owned()),
            (Outcome::Raised(_), _) if !speechless => wrong.push("raised".to_owned()),
            (Outcome::Done, End::Refused(_)) => wrong.push("not refused".to_owned()),
            (Outcome::Refused(Some(message)), End::Refused(part))
                if met.failed == 0 && !message.contains(part) =>
            {
                wrong.push("refused for another reason".to_owned());
            }
            (Outcome::Refused(_), End::Done | End::Dry | End::Part) if met.failed == 0 => {
                wrong.push("failed without a fault".to_owned());
            }
            _ => {}
        }
        let settled = program.run(&format!("local test = ... test.done = {done}"));
        if let Err(message) = settled.and_then(|_| program.run(story.settle)) {
            wrong.push(format!("afterwards: {message}"));
        }
        if !program.has_own_allocator() || program.is_collecting() != collecting {
            wrong.push("afterwards: another allocator, or the collector was stopped".to_owned());
        }
    }
    let wrong = (!wrong.is_empty()).then(|| {
        format!(
            "{count} of kind {kind:?} from {first}: {outcome:?}: {}",
            wrong.join(" | ")
        )
    });
    Told {
        failed: met.failed,
        wrong,
    }
}

/// How far apart the points are that are tried: 1 under stress.
fn step(usual: usize) -> usize {
    pick(usual, usual, 1)
}

/// Tells a story with one point after the other failing, until none is met.
#[track_caller]
fn tell_all(story: &Story, kind: Fault, count: u64, step: usize) {
    let (mut tellings, mut hit, mut wrong) = (0, 0, Vec::new());
    for first in (1..).step_by(step) {
        let told = tell(story, kind, first, count, Memory::None);
        tellings += 1;
        wrong.extend(told.wrong);
        if told.failed == 0 {
            break;
        }
        hit += 1;
    }
    let shown: Vec<_> = wrong.iter().take(SHOWN).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{}: {} of {tellings} went wrong:\n{}",
        story.name,
        wrong.len(),
        shown.join("\n")
    );
    assert!(hit > 0, "{}: no point failed", story.name);
    if is_stress() {
        println!("{}: {hit} tellings with {count} x {kind:?}", story.name);
    }
}

macro_rules! stories {
    ($($name:ident $story:ident)*) => {$(
        mod $name {
            use super::{FOR_EVER, Fault, step, story::$story as STORY, tell_all};

            #[test]
            fn survives_a_panic() {
                tell_all(&STORY, Fault::Panic, 1, step(5));
            }

            #[test]
            fn survives_an_error() {
                tell_all(&STORY, Fault::Error, 1, step(11));
            }

            #[test]
            fn survives_two_panics_in_a_row() {
                tell_all(&STORY, Fault::Panic, 2, step(17));
            }

            #[test]
            fn survives_two_errors_in_a_row() {
                tell_all(&STORY, Fault::Error, 2, step(23));
            }

            #[test]
            fn survives_panics_from_some_point_on() {
                tell_all(&STORY, Fault::Panic, FOR_EVER, step(17));
            }

            #[test]
            fn survives_errors_from_some_point_on() {
                tell_all(&STORY, Fault::Error, FOR_EVER, step(23));
            }
        }
    )*};
}

stories! {
    first FIRST
    functions FUNCTIONS
    again AGAIN
    one_edited ONE_EDITED
    others_edited OTHERS_EDITED
    class CLASS
    globals GLOBALS
    registry REGISTRY
    raises RAISES
    replace REPLACE
    constants CONSTANTS
    hook HOOK
    hook_raises HOOK_RAISES
    migrated MIGRATED
    steps_back STEPS_BACK
    rows_back ROWS_BACK
    hook_waits_and_raises HOOK_WAITS_AND_RAISES
    hook_is_closed HOOK_IS_CLOSED
    dry DRY
    conflicts CONFLICTS
    everywhere EVERYWHERE
    everywhere_and_back EVERYWHERE_AND_BACK
    everywhere_dry EVERYWHERE_DRY
    several SEVERAL
    several_and_back SEVERAL_AND_BACK
    undo UNDO
    merge MERGE
    track TRACK
    sliced SLICED
    changed CHANGED
    stale STALE
    bus BUS
    bus_dry BUS_DRY
    bus_raises BUS_RAISES
    bus_conflicts BUS_CONFLICTS
    bus_hook_raises BUS_HOOK_RAISES
    bus_undo BUS_UNDO
}

/// The end of all memory on top: where nothing could be put back there may be no memory for the
/// message either, and it is told all the same.
#[test]
fn what_is_not_undone_is_told_without_memory() {
    for story in [
        &story::HOOK_RAISES,
        &story::ROWS_BACK,
        &story::HOOK_WAITS_AND_RAISES,
    ] {
        let begin = || {
            let program = story.begin();
            if !is_stress() {
                program.load_parts();
            }
            program
        };
        let program = begin();
        story.push(&program);
        fault::arm(Fault::Error, u64::MAX, 1);
        program.call(2, Memory::None);
        let points = fault::disarm().points;
        let (mut tellings, mut wrong) = (0, Vec::new());
        // The last points are those of the undoing.
        for first in (points.saturating_sub(14)..=points).step_by(step(5)) {
            for request in (1..).step_by(step(5)) {
                let program = begin();
                program.must("local test = ... if not test.taken then test.snapshot() end");
                story.push(&program);
                fault::arm(Fault::Error, first, FOR_EVER);
                let outcome = program.call(2, Memory::from(request));
                fault::disarm();
                tellings += 1;
                let changes = program.must("local test = ... return test.changes()");
                if changes != "nil" && !outcome.admits_damage() {
                    wrong.push(format!(
                        "from point {first}, request {request}: {outcome:?}: {changes}"
                    ));
                }
                if !program.has_own_allocator() || !program.is_collecting() {
                    wrong.push(format!(
                        "from point {first}, request {request}: allocator or collector"
                    ));
                }
                if program.memory.failed() == 0 {
                    break;
                }
            }
        }
        let shown: Vec<_> = wrong.iter().take(SHOWN).map(String::as_str).collect();
        assert!(
            wrong.is_empty(),
            "{}: {} of {tellings} went wrong:\n{}",
            story.name,
            wrong.len(),
            shown.join("\n")
        );
    }
}

// -------------------------------------------------------------------------------------------------
// functions of a host in C

/// `error 'host'`
unsafe extern "C-unwind" fn raises_text(l: *mut lua_State) -> c_int {
    // SAFETY: no Rust value lives across the jump; so it is in all of these.
    unsafe { ffi::luaL_error(l, c"host".as_ptr()) }
}

/// `error(nil)`
unsafe extern "C-unwind" fn raises_nil(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::lua_settop(l, 0);
        ffi::lua_pushnil(l);
        ffi::lua_error(l)
    }
}

/// Raises an address, with a full stack below it.
unsafe extern "C-unwind" fn raises_userdata(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        while ffi::lua_gettop(l) < 200 && ffi::lua_checkstack(l, 2) != 0 {
            ffi::lua_pushboolean(l, 1);
        }
        ffi::lua_pushlightuserdata(l, l.cast());
        ffi::lua_error(l)
    }
}

/// Asks for more stack than there is.
unsafe extern "C-unwind" fn fills_the_stack(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::luaL_checkstack(l, 2_000_000, c"host".as_ptr());
        0
    }
}

/// Yields, where nothing can be yielded to.
unsafe extern "C-unwind" fn yields(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { ffi::lua_yield(l, 0) }
}

/// Raises behind a protected call of its own, which fails.
unsafe extern "C-unwind" fn raises_again(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::lua_pushcfunction(l, raises_text);
        ffi::lua_pcall(l, 0, 0, 0);
        ffi::lua_error(l)
    }
}

/// Whatever a host's C function does in a chunk, a hook, a searcher or a callback: the reload is
/// done or refused. (A panic or a C++ exception must not get out of one: Lua, built as C, does not
/// survive that.)
#[test]
fn functions_of_a_host_raise_and_yield() {
    let functions: [ffi::lua_CFunction; 6] = [
        raises_text,
        raises_nil,
        raises_userdata,
        fills_the_stack,
        yields,
        raises_again,
    ];
    for (number, function) in functions.into_iter().enumerate() {
        let program = Program::new();
        program.write(
            "m",
            "local n = 0 return { f = function() n = n + 1 return n, 1 end }",
        );
        // SAFETY: nothing runs in the state; there is room on its stack.
        unsafe {
            ffi::lua_pushcfunction(program.state(), function);
            ffi::lua_setglobal(program.state(), c"host".as_ptr());
        }
        let tried = program.must(
            "local test = ...
            local hotreload = require 'hotreload'
            m = require 'm'
            local host, calls, version, tried = host, 0, 1, 0
            local function good(n)
                return 'local n = 0 return { f = function() n = n + 1 return n, ' .. n .. ' end }'
            end
            local function refused(what, source, scope)
                test.snapshot(m)
                local called, done, message = pcall(gg.reload, 'm', { source = source, \
                scope = scope })
                if not called or done or type(message) ~= 'string' then
                    error(what .. ': ' .. tostring(done) .. ' ' .. tostring(message))
                end
                local changes = test.changes()
                if changes then error(what .. ': ' .. changes) end
                calls, tried = calls + 1, tried + 1
                local n, v = m.f()
                test.equal(n, calls, what)
                test.equal(v, version, what)
                test.equal(collectgarbage 'isrunning', true, what)
            end
            local function done(what)
                version, calls, tried = version + 1, calls + 1, tried + 1
                test.reload('m', { source = good(version) })
                local n, v = m.f()
                test.equal(n, calls, what)
                test.equal(v, version, what)
            end
            for _, scope in ipairs { 'module', 'vm' } do
                refused('chunk', 'fresh = {} host() return {}', scope)
                refused('chunk, in a coroutine', 'fresh = {} coroutine.wrap(host)() error(1)', \
                scope)
                refused('chunk, in a callback', 'fresh = {} table.sort({ 2, 1 }, host) error(1)', \
                scope)
                refused('chunk, on closing', \
                'local v <close> = setmetatable({}, { __close = host }) error(1)', scope)
                refused('chunk, in a message handler', 'xpcall(error, host) error(1)', scope)
                refused('chunk, in a finalizer', \
                'setmetatable({}, { __gc = host }) collectgarbage() error(1)', scope)
                refused('hook', good(0):gsub('}$', ', __hotfix = function() host() end }'), scope)
                refused('hook itself', good(0):gsub('}$', ', __hotfix = host }'), scope)
                refused('hook, on closing', good(0):gsub('}$', [[, __hotfix = function()
                    local v <close> = setmetatable({}, { __close = host })
                    error(1)
                end }]]), scope)
            end
            table.insert(package.searchers, 1, host)
            refused('searcher', good(0))
            package.searchers[1] = function() return host end
            refused('loader', nil)
            table.remove(package.searchers, 1)
            package.preload.dep = host
            refused('dependency', 'fresh = {} ' .. good(0):gsub('return', \
            'require \"dep\" return', 1))
            package.preload.dep = nil
            hotreload.configure { before = host }
            refused('before', good(0))
            hotreload.configure { before = false, after = host, log = host, on_error = host }
            done('after')
            refused('on_error', 'error(1)')
            hotreload.configure { after = false, log = false, on_error = false }
            setmetatable({}, { __gc = host })
            done('finalizer')
            collectgarbage()
            done('at last')
            return tried",
        );
        assert!(
            tried.parse::<u32>().is_ok_and(|tried| tried > 20),
            "function {number}: {tried}"
        );
        assert!(program.has_own_allocator() && program.is_collecting());
        // SAFETY: asking changes nothing.
        let values = unsafe { ffi::lua_gettop(program.state()) };
        assert_eq!(values, 0, "values on the stack");
    }
}
