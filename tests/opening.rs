//! `require "hotreload"` with one request for memory after the other failing: it raises an ordinary
//! error, and can be tried again.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use support::{Fault, Memory, Outcome, Program, pick};

fn open_all(fault: impl Fn(u64) -> Fault) {
    for n in (1..).step_by(pick(7, 1, 1)) {
        let program = Program::bare(Memory::new());
        program.write("m", "return { f = function() return 1 end }");
        program.push("return require");
        program.push("return 'hotreload'");
        let outcome = program.call(1, fault(n));
        let hit = program.memory.failed() > 0;
        assert!(
            program.has_own_allocator(),
            "request {n}: another allocator"
        );
        if let Outcome::Raised(message) = &outcome {
            assert!(
                message.contains("not enough memory"),
                "request {n}: {message}"
            );
        } else {
            assert_eq!(outcome, Outcome::Done, "request {n}");
        }
        program.must("local test = ... require 'hotreload' require 'm' test.reload 'm'");
        if !hit {
            break;
        }
    }
}

#[test]
fn can_be_tried_again_after_a_failed_request() {
    open_all(Fault::once);
}

#[test]
fn can_be_tried_again_after_some_failed_requests() {
    open_all(Fault::some);
}

#[test]
fn can_be_tried_again_after_an_end_of_all_memory() {
    open_all(Fault::from);
}
