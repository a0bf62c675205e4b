//! R7.1, R2.3: whichever request for memory fails while `gg.reload` works, the program is as it was, and the next reload works.
//!
//! Every story is told again and again, each time with another request failing, until a reload asks for no more memory
//! than it gets.

// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use support::story::{self, End, Story};
use support::{Fault, Outcome, Program};

/// How many of the tellings that went wrong are shown.
const SHOWN: usize = 40;

/// What became of one telling.
struct Told {
    /// The fault was met.
    hit: bool,
    outcome: Outcome,
    /// What is wrong.
    wrong: Option<String>,
}

/// Tells a story with a fault in its reload.
fn tell(story: &Story, fault: Fault) -> Told {
    let program = story.begin();
    program.must("local test = ... if not test.taken then test.snapshot() end");
    let collecting = program.is_collecting();
    story.push(&program);
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
    // Where memory does not come back, what the chunk itself took out cannot be put back: then the message must say so.
    let admitted = fault.stays() && outcome.admits_damage();
    if admitted {
        return Told {
            hit,
            outcome,
            wrong: None,
        };
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
    Told { hit, outcome, wrong }
}

fn settle(story: &Story, program: &Program, done: bool) -> Result<(), String> {
    program.run(&format!("local test = ... test.done = {done}"))?;
    program.run(story.settle)?;
    if program.has_own_allocator() {
        Ok(())
    } else {
        Err("another allocator".to_owned())
    }
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
    let shown = wrong
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{}: {} of {tellings} went wrong:\n{shown}",
        story.name,
        wrong.len()
    );
}

/// Tells a story with each of some faults, met or not; fails with all that was wrong.
#[track_caller]
fn tell_some(story: &Story, faults: impl Iterator<Item = Fault>) {
    let wrong: Vec<_> = faults.filter_map(|fault| tell(story, fault).wrong).collect();
    let shown = wrong
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(wrong.is_empty(), "{}: {} went wrong:\n{shown}", story.name, wrong.len());
}

/// Tells a story with a full collection at every allocation of a new block: all must be as without.
#[track_caller]
fn tell_collecting(story: &Story) {
    let told = tell(story, Fault::Collect);
    assert_eq!(told.wrong, None, "{}", story.name);
    let expected = match story.ends {
        End::Done | End::Dry => matches!(told.outcome, Outcome::Done),
        End::Refused(part) => {
            matches!(&told.outcome, Outcome::Refused(Some(text)) if text.contains(part))
        }
    };
    assert!(expected, "{}: {:?}", story.name, told.outcome);
}

/// The limits that are tried: every one of the first, then in growing steps.
fn limits() -> impl Iterator<Item = Fault> {
    std::iter::successors(Some(0_usize), |limit| Some(limit + 64 + limit / 64)).map(Fault::Limit)
}

fn now_and_then() -> impl Iterator<Item = Fault> {
    let chances = [3, 6, 12, 25, 50].into_iter().cycle();
    (1..=40).zip(chances).map(|(seed, one_in)| Fault::Now { seed, one_in })
}

macro_rules! stories {
    ($($name:ident $story:ident)*) => {$(
        mod $name {
            use super::{Fault, limits, now_and_then, story::$story as STORY};
            use super::{tell_all, tell_collecting, tell_some};

            #[test]
            fn survives_a_request_that_is_granted_when_repeated() {
                tell_all(&STORY, (1..).step_by(2).map(Fault::hiccup));
            }

            #[test]
            fn survives_a_failed_request() {
                tell_all(&STORY, (1..).map(Fault::once));
            }

            #[test]
            fn survives_some_failed_requests() {
                tell_all(&STORY, (1..).step_by(3).map(Fault::some));
            }

            #[test]
            fn survives_an_end_of_all_memory() {
                tell_all(&STORY, (1..).map(Fault::from));
            }

            #[test]
            fn survives_a_limit() {
                tell_all(&STORY, limits());
            }

            #[test]
            fn survives_requests_that_fail_now_and_then() {
                tell_some(&STORY, now_and_then());
            }

            #[test]
            fn is_the_same_when_every_allocation_collects() {
                tell_collecting(&STORY);
            }
        }
    )*};
}

stories! {
    first FIRST
    functions FUNCTIONS
    again AGAIN
    class CLASS
    globals GLOBALS
    registry REGISTRY
    raises RAISES
    replace REPLACE
    merge MERGE
    constants CONSTANTS
    hook HOOK
    hook_raises HOOK_RAISES
    rows_back ROWS_BACK
    hook_waits HOOK_WAITS
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
    sliced SLICED
    changed CHANGED
    stale STALE
}

mod big {
    use super::story::BIG;
    use super::{Fault, tell, tell_collecting, tell_some};

    /// Some of the requests that a reload makes, the first and the last ones among them.
    fn requests() -> impl Iterator<Item = u64> {
        let all = (1..)
            .find(|step| !tell(&BIG, Fault::hiccup(step * 50)).hit)
            .unwrap_or(1)
            * 50;
        (1..=20).chain((21..all).step_by(29))
    }

    #[test]
    fn survives_a_failed_request() {
        tell_some(&BIG, requests().map(Fault::once));
    }

    #[test]
    fn survives_an_end_of_all_memory() {
        tell_some(&BIG, requests().map(Fault::from));
    }

    #[test]
    fn survives_a_limit() {
        tell_some(&BIG, (0..40).map(|step| Fault::Limit(step * 20_000)));
    }

    #[test]
    fn is_the_same_when_every_allocation_collects() {
        tell_collecting(&BIG);
    }
}

/// After a fault the collector goes on as before: garbage does not pile up.
#[test]
fn garbage_is_collected_after_a_fault() {
    for mode in ["incremental", "generational"] {
        for n in (1..).step_by(7) {
            let program = story::FUNCTIONS.begin();
            program.must(&format!("collectgarbage '{mode}' collectgarbage()"));
            story::FUNCTIONS.push(&program);
            program.call(2, Fault::once(n));
            let hit = program.memory.failed() > 0;
            program.must(
                "local before = collectgarbage 'count'
                for _ = 1, 40000 do local _ = { {} } end
                local now = collectgarbage 'count'
                if now > before + 1500 then error(('%.0f KiB before, %.0f KiB now'):format(before, now)) end",
            );
            if !hit {
                break;
            }
        }
    }
}

/// In the other mode of the collector, emergency collections are of another kind.
#[test]
fn generations_are_collected_at_every_allocation() {
    for story in story::ALL {
        let program = story.begin();
        program.must("collectgarbage 'generational'");
        story.push(&program);
        let outcome = program.call(2, Fault::Collect);
        match story.ends {
            End::Done | End::Dry => assert_eq!(outcome, Outcome::Done, "{}", story.name),
            End::Refused(_) => assert!(
                matches!(outcome, Outcome::Refused(Some(_))),
                "{}: {outcome:?}",
                story.name
            ),
        }
        story.settle(&program, outcome == Outcome::Done);
    }
}

/// A collection that a fault brought about leaves a finalizer to be run when the pause of the collector ends: inside of the
/// reload, behind its commit. The finalizer reloads the module once more.
#[test]
fn a_finalizer_reloads_at_the_end_of_a_reload() {
    let mut nested = 0;
    for hook in ["", "__hotfix = function(M) M.hooked = VERSION end,"] {
        for n in 1.. {
            let program = Program::new();
            let source = "
                local calls = 0
                local function helper() calls = calls + 1 return VERSION end
                return { HOOK f = function() return helper(), calls end, sub = { g = function() return VERSION end } }";
            program.write("m", source.replace("HOOK", "").replace("VERSION", "1"));
            program.must(&format!(
                "m = require 'm' m.f()
                local source = [[{}]]
                local function version(n) return {{ source = (source:gsub('VERSION', n)) }} end
                local third = version(3)
                setmetatable({{}}, {{ __gc = function() inner = table.pack(gg.reload('m', third)) end }})
                second = version(2)",
                source.replace("HOOK", hook)
            ));
            program.push("return gg.reload");
            program.push("return 'm'");
            program.push("return second");
            let outcome = program.call(2, Fault::hiccup(n));
            let hit = program.memory.failed() > 0;
            let is = program.must(
                "local test = ...
                local ran = inner ~= nil
                collectgarbage()
                local is, calls = m.f()
                test.equal(calls, 2)
                test.equal(m.sub.g(), is, 'one version')
                if rawget(m, '__hotfix') then test.equal(m.hooked, is, 'the version that ran its hook') end
                local before = inner and inner[1] and inner[2].generation or 1
                local after = test.reload('m').generation
                if after <= before then error(('generation %d after %d'):format(after, before)) end
                test.equal(m.f(), 1)
                return ('%d %s'):format(is, ran)",
            );
            assert!(
                is != "1 true" || outcome != Outcome::Done,
                "request {n}: {outcome:?}, {is}"
            );
            nested += u32::from(is.ends_with("true"));
            if !hit {
                break;
            }
        }
    }
    assert!(nested > 20, "only {nested} reloads in a finalizer");
}
