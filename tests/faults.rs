//! R7.1, R2.3: whichever request for memory fails while `gg.reload` works, the program is as it was, and the next reload works.
//!
//! Every story is told again and again, each time with another request failing, until a reload asks for no more memory
//! than it gets.

#![allow(unsafe_code)]

mod support;

use support::story::{self, End, Story};
use support::{Fault, Outcome, Program};

/// How many of the tellings that went wrong are shown.
const SHOWN: usize = 40;

/// What became of one telling.
struct Told {
    /// The fault was met.
    hit: bool,
    /// What is wrong.
    wrong: Option<String>,
}

/// Tells a story with a fault in its reload.
fn tell(story: &Story, fault: Fault) -> Told {
    let program = story.begin();
    program.must("local test = ... test.snapshot()");
    let collecting = program.is_collecting();
    program.push("return gg.reload");
    program.push("return 'm'");
    program.push(&format!("return {}", story.options));
    let outcome = program.call(2, fault);
    let hit = program.memory.failed() > 0;
    let done = outcome == Outcome::Done;

    let mut wrong = Vec::new();
    if !program.has_own_allocator() {
        wrong.push("the state has another allocator".to_owned());
    }
    if program.is_collecting() != collecting {
        wrong.push("the collector was started or stopped".to_owned());
    }
    if !done || story.ends == End::Dry {
        let changes = program.must("local test = ... return test.changes()");
        if changes != "nil" {
            let lines: Vec<_> = changes.lines().collect();
            let first = lines.iter().take(3).copied().collect::<Vec<_>>().join("; ");
            wrong.push(format!("{} change(s): {first}", lines.len()));
        }
    }
    match (&outcome, story.ends) {
        (Outcome::Refused(None), _) => wrong.push("refused without a message".to_owned()),
        (Outcome::Raised(message), _) if !message.contains("not enough memory") => {
            wrong.push("raised something else".to_owned());
        }
        (Outcome::Done, End::Refused(_)) => wrong.push("not refused".to_owned()),
        (Outcome::Refused(Some(message)), End::Refused(part)) if !hit && !message.contains(part) => {
            wrong.push("refused for another reason".to_owned());
        }
        (Outcome::Refused(_) | Outcome::Raised(_), End::Done | End::Dry) if !hit => {
            wrong.push("failed without a fault".to_owned());
        }
        _ => {}
    }
    if let Err(message) = settle(story, &program, done) {
        wrong.push(format!("afterwards: {message}"));
    }
    let wrong = (!wrong.is_empty()).then(|| format!("{fault:?}: {outcome:?}: {}", wrong.join(" | ")));
    Told { hit, wrong }
}

fn settle(story: &Story, program: &Program, done: bool) -> Result<(), String> {
    program.run(&format!("local test = ... test.done = {done}"))?;
    program.run(story.settle)?;
    if program.has_own_allocator() { Ok(()) } else { Err("another allocator".to_owned()) }
}

/// Tells a story with one fault after the other until none is met; fails with all that was wrong.
#[track_caller]
fn tell_all(story: &Story, faults: impl Iterator<Item = Fault>) {
    let (mut tellings, mut wrong) = (0, Vec::new());
    for fault in faults {
        let told = tell(story, fault);
        tellings += 1;
        wrong.extend(told.wrong);
        if !told.hit {
            break;
        }
    }
    let shown = wrong.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{}: {} of {tellings} went wrong:\n{shown}", story.name, wrong.len());
}

#[test]
fn t1() {
    for story in story::ALL { for (name, f) in [("hiccup", Fault::hiccup as fn(u64)->Fault), ("once", Fault::once), ("from", Fault::from), ("some", |n| Fault::At{first:n,count:8})] { let t = std::time::Instant::now();
        let r = std::panic::catch_unwind(|| tell_all(story, (1..).map(f))); eprintln!("{} {name} {:?}", story.name, t.elapsed()); }}
}
