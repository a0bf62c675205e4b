//! What the states of a process share: that it is used, that it is whole whatever fails, and that
//! it goes with the last state.
//!
//! One test runs at a time, so that a test knows which states are open.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::ledger::{self, Ledger};
use support::{Fault, Folder, Memory, Outcome, Program, pick};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// No other test runs as long as this is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `f`; all that it made of Rust's memory must be gone.
#[track_caller]
fn leaves_nothing(f: impl Fn(&Folder)) {
    let home = Folder::new();
    f(&home); // what is made once in a process
    let before = ledger::held();
    f(&home);
    assert_eq!(ledger::held() - before, 0, "bytes are left");
}

/// Opens the library; returns how many requests Lua made for that.
fn open(program: &Program) -> u64 {
    program.push("return function() return require 'hotreload' end");
    assert_eq!(program.call(0, Fault::None), Outcome::Done);
    program.memory.requests()
}

/// The module's versions.
const TEXT: &str = "local M = { count = 0 }
    function M.f() M.count = M.count + @ return @ end
    function M.g(a, b) if a then return b, @ end return M.f() end
    return M";

fn text(version: u32) -> String {
    // Large enough for what grows with it to be told from what does not.
    let filler: String = (0..80)
        .map(|i| format!("local function f{i}(a) return a, {i} end\n"))
        .collect();
    format!(
        "do {filler} end {}",
        TEXT.replace('@', &version.to_string())
    )
}

/// A state without the library that finds the module in `home`: the files of states with folders
/// of their own have chunk names of their own.
fn bare(home: &Folder) -> Program {
    let program = Program::bare(Memory::new());
    let path = home.path().join("?.lua");
    program.must(&format!("package.path = [[{}]]", path.display()));
    program
}

/// A state that runs the first version.
fn member(home: &Folder) -> Program {
    home.write("m", text(1));
    let program = bare(home);
    program.must("require 'hotreload' m = require 'm' m.f()");
    program
}

fn reload(home: &Folder, program: &Program, version: u32) {
    home.write("m", text(version));
    program.must(&format!(
        "local test = ... test.reload 'm' test.equal(m.f(), {version})"
    ));
}

#[test]
fn the_second_state_compiles_nothing_of_the_library() {
    let _alone = alone();
    leaves_nothing(|home| {
        let (one, other) = (bare(home), bare(home));
        let (first, second) = (open(&one), open(&other));
        assert!(second * 4 < first * 3, "{first} requests, then {second}");
    });
}

#[test]
fn what_is_shared_outlives_the_state_that_made_it_and_goes_with_the_last() {
    let _alone = alone();
    leaves_nothing(|home| {
        let one = member(home);
        reload(home, &one, 2);
        let other = member(home);
        drop(one);
        reload(home, &other, 2);
        reload(home, &other, 3);
        let third = member(home);
        drop(other);
        reload(home, &third, 3);
    });
}

/// The second state's reload takes the binary form and all that was read of it.
#[test]
fn the_second_state_compiles_nothing_of_the_file() {
    let _alone = alone();
    leaves_nothing(|home| {
        let (one, other) = (member(home), member(home));
        // What the library needs for any reload is there.
        settle(home, &[&one, &other]);
        let (mut first, mut second) = (0, 0);
        for program in [&one, &other] {
            home.write("m", text(5));
            program.push("return function() return gg.reload 'm' end");
            let ((), most) = ledger::most_held(|| {
                assert_eq!(program.call(0, Fault::None), Outcome::Done);
            });
            (first, second) = (second, most);
            program.must("local test = ... test.equal(m.f(), 5)");
        }
        assert!(second * 4 < first * 3, "{first} bytes, then {second}");
    });
}

/// What two texts have in common does not make them one.
#[test]
fn states_with_other_texts_have_their_own() {
    let _alone = alone();
    leaves_nothing(|home| {
        let (one, other) = (member(home), member(home));
        for round in 2..20 {
            reload(home, &one, 10 + round);
            reload(home, &other, 30 + round);
            reload(home, &one, 10 + round);
        }
    });
}

/// Versions come and go: as many are kept as there is room for.
#[test]
fn what_is_shared_is_bounded() {
    let _alone = alone();
    leaves_nothing(|home| {
        let (one, other) = (member(home), member(home));
        let mut held = Vec::new();
        for round in 1..12 {
            for program in [&one, &other] {
                home.write("m", text(round));
                program.must("local test = ... test.reload 'm'");
            }
            held.push(ledger::held());
        }
        let (early, late) = (held.get(4), held.last());
        assert!(late <= early.map(|early| early + 4096).as_ref(), "{held:?}");
    });
}

#[test]
fn a_state_that_opens_the_library_as_it_closes_leaves_nothing() {
    let _alone = alone();
    leaves_nothing(|home| {
        let other = member(home);
        let program = bare(home);
        home.write("m", text(1));
        program.must(
            "setmetatable({}, { __gc = function()
                require 'hotreload' require 'm' gg.reload 'm'
            end })",
        );
        drop(program);
        reload(home, &other, 2);
    });
}

#[test]
fn a_state_reloads_after_its_mark_is_gone() {
    let _alone = alone();
    leaves_nothing(|home| {
        let program = bare(home);
        home.write("m", text(1));
        // Older than the mark, so its finalizer comes later.
        program.must(
            "setmetatable({}, { __gc = function()
                if not gg.reload 'm' or m.f() ~= 2 then os.exit(3) end
            end })
            require 'hotreload'
            m = require 'm'",
        );
        home.write("m", text(2));
        drop(program);
    });
}

/// Opens the library and reloads, in a function, so that a request may fail.
const OPEN: &str = "return function()
    require 'hotreload' m = m or require 'm' m.f()
    return gg.reload 'm'
end";

/// Another state and this one reload as if nothing had happened.
fn settle(home: &Folder, programs: &[&Program]) {
    for program in programs {
        program.must("require 'hotreload' m = require 'm' m.f()");
        reload(home, program, 3);
        reload(home, program, 4);
    }
}

#[test]
fn a_failed_request_of_luas_leaves_all_whole() {
    let _alone = alone();
    for n in (1..).step_by(pick(97, 23, 1)) {
        let home = Folder::new();
        let other = member(&home);
        let program = bare(&home);
        program.push(OPEN);
        let outcome = program.call(0, Fault::once(n));
        let met = program.memory.failed() > 0;
        assert!(met || outcome == Outcome::Done, "{n}: {outcome:?}");
        settle(&home, &[&program, &other]);
        if !met {
            break;
        }
    }
}

#[test]
fn a_refused_request_of_rusts_leaves_all_whole() {
    let _alone = alone();
    for n in (1..).step_by(pick(7, 3, 1)) {
        let home = Folder::new();
        home.write("m", text(1));
        let (one, other) = (bare(&home), bare(&home));
        for program in [&one, &other] {
            program.push(OPEN);
        }
        ledger::refuse_only_from(LARGE);
        let ((), refused) = ledger::refusing(n, 1, false, || {
            for program in [&one, &other] {
                program.call(0, Fault::None);
            }
        });
        ledger::refuse_only_from(0);
        settle(&home, &[&one, &other]);
        if refused == 0 {
            break;
        }
    }
}

/// What is smaller does not grow with the program.
const LARGE: usize = 2048;
