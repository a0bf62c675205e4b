//! What the states of a process share: that it is used, that it is whole whatever fails, and that
//! it goes with the last state.
//!
//! One test runs at a time, so that a test knows which states are open.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::ledger::{self, Ledger};
use support::{Fault, Memory, Outcome, Program, pick};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// No other test runs as long as this is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `f`; all that it made of Rust's memory must be gone.
#[track_caller]
fn leaves_nothing(f: impl Fn()) {
    f(); // what is made once in a process
    let before = ledger::held();
    f();
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
    TEXT.replace('@', &version.to_string())
}

/// A state that runs the first version.
fn member() -> Program {
    let program = Program::new();
    program.write("m", text(1));
    program.must("m = require 'm' m.f()");
    program
}

fn reload(program: &Program, version: u32) {
    program.write("m", text(version));
    program.must(&format!(
        "local test = ... test.reload 'm' test.equal(m.f(), {version})"
    ));
}

#[test]
fn the_second_state_compiles_nothing_of_the_library() {
    let _alone = alone();
    leaves_nothing(|| {
        let (one, other) = (Program::bare(Memory::new()), Program::bare(Memory::new()));
        let (first, second) = (open(&one), open(&other));
        assert!(second * 4 < first * 3, "{first} requests, then {second}");
    });
}

#[test]
fn what_is_shared_outlives_the_state_that_made_it_and_goes_with_the_last() {
    let _alone = alone();
    leaves_nothing(|| {
        let one = member();
        reload(&one, 2);
        let other = member();
        drop(one);
        reload(&other, 2);
        reload(&other, 3);
        let third = member();
        drop(other);
        reload(&third, 3);
    });
}

#[test]
fn a_state_that_opens_the_library_as_it_closes_leaves_nothing() {
    let _alone = alone();
    leaves_nothing(|| {
        let other = member();
        let program = Program::bare(Memory::new());
        program.write("m", text(1));
        program.must(
            "setmetatable({}, { __gc = function()
                require 'hotreload' require 'm' gg.reload 'm'
            end })",
        );
        drop(program);
        reload(&other, 2);
    });
}

#[test]
fn a_state_reloads_after_its_mark_is_gone() {
    let _alone = alone();
    leaves_nothing(|| {
        let program = Program::bare(Memory::new());
        program.write("m", text(1));
        // Older than the mark, so its finalizer comes later.
        program.must(
            "setmetatable({}, { __gc = function()
                if not gg.reload 'm' or m.f() ~= 2 then os.exit(3) end
            end })
            require 'hotreload'
            m = require 'm'",
        );
        program.write("m", text(2));
        drop(program);
    });
}

/// Opens the library and reloads, in a function, so that a request may fail.
const OPEN: &str = "return function()
    require 'hotreload' m = m or require 'm' m.f()
    return gg.reload 'm'
end";

/// Another state and this one reload as if nothing had happened.
fn settle(programs: &[&Program]) {
    for program in programs {
        program.must("require 'hotreload' m = require 'm' m.f()");
        reload(program, 3);
        reload(program, 4);
    }
}

#[test]
fn a_failed_request_of_luas_leaves_all_whole() {
    let _alone = alone();
    for n in (1..).step_by(pick(97, 23, 1)) {
        let other = member();
        let program = Program::bare(Memory::new());
        program.write("m", text(1));
        program.push(OPEN);
        let outcome = program.call(0, Fault::once(n));
        let met = program.memory.failed() > 0;
        assert!(met || outcome == Outcome::Done, "{n}: {outcome:?}");
        settle(&[&program, &other]);
        if !met {
            break;
        }
    }
}

#[test]
fn a_refused_request_of_rusts_leaves_all_whole() {
    let _alone = alone();
    for n in 1.. {
        let (one, other) = (Program::bare(Memory::new()), Program::bare(Memory::new()));
        for program in [&one, &other] {
            program.write("m", text(1));
            program.push(OPEN);
        }
        ledger::refuse_only_from(LARGE);
        let ((), refused) = ledger::refusing(n, 1, false, || {
            for program in [&one, &other] {
                program.call(0, Fault::None);
            }
        });
        ledger::refuse_only_from(0);
        settle(&[&one, &other]);
        if refused == 0 {
            break;
        }
    }
}

/// What is smaller does not grow with the program.
const LARGE: usize = 512;
