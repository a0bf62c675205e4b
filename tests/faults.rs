//! R7.1, R2.3: whichever request for memory fails while `gg.reload` works, the program is as it
//! was, and the next reload works.
//!
//! Every story is told again and again, each time with another request failing, until a reload asks
//! for no more memory than it gets. After each telling the state is closed, and holds nothing then;
//! nor does Rust.
//!
//! `make test` leaves most requests out, `make test-all` some. With `HOTRELOAD_STRESS` in the
//! environment (`make stress`) every request fails in every way. Each test prints how often its
//! story was told, and how many requests failed.

#![cfg(feature = "vendored")] // only that build can be told to share nothing
// A test is a host, and fails by panicking.
#![allow(unsafe_code, clippy::expect_used, clippy::panic)]

mod support;

use std::cell::Cell;

use support::ledger::{self, Ledger};
use support::story::{self, End, Story};
use support::{Fault, Outcome, Program, is_stress, pick};

#[global_allocator]
static LEDGER: Ledger = Ledger;

/// How many of the tellings that went wrong are shown.
const SHOWN: usize = 40;

thread_local! {
    /// How often a story was told by this thread's test, and how many requests failed.
    static TOLD: Cell<u64> = const { Cell::new(0) };
    static FAILED: Cell<u64> = const { Cell::new(0) };
}

/// Prints what a test has done, for scripts/stress.sh to add up.
fn print_told(name: &str) {
    println!(
        "faults: {name}: {} reloads, {} failed requests",
        TOLD.take(),
        FAILED.take()
    );
}

/// How far apart the requests are that fail: `thinned` in `make test-all`; under stress every one
/// of them fails.
fn step(thinned: usize) -> usize {
    pick(5 * thinned, thinned, 1)
}

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
    hotreload::fault::alone(true); // what is shared, another thread may free: see tests/shared.rs
    let before = ledger::held();
    let mut told = tell_once(story, fault);
    // What the telling itself hands on is small; a lost block of the library's would be lost each
    // time.
    let own = told.wrong.as_ref().map_or(0, String::capacity)
        + match &told.outcome {
            Outcome::Refused(Some(text)) | Outcome::Raised(text) => text.capacity(),
            _ => 0,
        };
    let lost = ledger::held() - before - own as isize;
    if lost != 0 && TOLD.get() > 1 {
        let wrong = format!("{fault:?}: {lost} bytes of Rust's are lost; ");
        told.wrong = Some(wrong + told.wrong.as_deref().unwrap_or_default());
    }
    told
}

fn tell_once(story: &Story, fault: Fault) -> Told {
    let program = story.begin();
    // In one story, and in all of them under stress, the reload loads the parts of the library.
    if !is_stress() && story.name != story::FUNCTIONS.name {
        program.load_parts();
    }
    program.must("local test = ... if not test.taken then test.snapshot() end");
    let collecting = program.is_collecting();
    story.push(&program);
    let outcome = program.call(2, fault);
    let hit = program.memory.failed() > 0;
    TOLD.set(TOLD.get() + 1);
    FAILED.set(FAILED.get() + program.memory.failed());
    let done = outcome == Outcome::Done;

    let mut wrong = Vec::new();
    if !program.has_own_allocator() {
        wrong.push("the state has another allocator".to_owned());
    }
    if program.is_collecting() != collecting {
        wrong.push("the collector was started or stopped".to_owned());
    }
    // Where memory does not come back, what the chunk itself took out cannot be put back: then the
    // message must say so.
    let admitted = fault.stays() && outcome.admits_damage();
    if admitted {
        return Told {
            hit,
            outcome,
            wrong: None,
        };
    }
    if !done && story.ends != End::Part || story.ends == End::Dry {
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
        (Outcome::Refused(Some(message)), End::Refused(part))
            if !hit && !message.contains(part) =>
        {
            wrong.push("refused for another reason".to_owned());
        }
        (Outcome::Refused(_) | Outcome::Raised(_), End::Done | End::Dry | End::Part) if !hit => {
            wrong.push("failed without a fault".to_owned());
        }
        _ => {}
    }
    if let Err(message) = settle(story, &program, done) {
        wrong.push(format!("afterwards: {message}"));
    }
    let wrong =
        (!wrong.is_empty()).then(|| format!("{fault:?}: {outcome:?}: {}", wrong.join(" | ")));
    Told {
        hit,
        outcome,
        wrong,
    }
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
    print_told(story.name);
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
    let wrong: Vec<_> = faults
        .filter_map(|fault| tell(story, fault).wrong)
        .collect();
    print_told(story.name);
    let shown = wrong
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{}: {} went wrong:\n{shown}",
        story.name,
        wrong.len()
    );
}

/// Tells a story with a full collection at every allocation of a new block: all must be as without.
#[track_caller]
fn tell_collecting(story: &Story) {
    let told = tell(story, Fault::Collect);
    print_told(story.name);
    assert_eq!(told.wrong, None, "{}", story.name);
    let expected = match story.ends {
        End::Done | End::Dry | End::Part => matches!(told.outcome, Outcome::Done),
        End::Refused(part) => {
            matches!(&told.outcome, Outcome::Refused(Some(text)) if text.contains(part))
        }
    };
    assert!(expected, "{}: {:?}", story.name, told.outcome);
}

/// The limits that are tried, in growing steps; under stress, in steps of 64 bytes.
fn limits(thinned: usize) -> impl Iterator<Item = Fault> {
    let next = move |limit: &usize| {
        Some(
            limit
                + if is_stress() {
                    64
                } else {
                    step(thinned) * (64 + limit / 64)
                },
        )
    };
    std::iter::successors(Some(0_usize), next).map(Fault::Limit)
}

fn now_and_then(thinned: u64) -> impl Iterator<Item = Fault> {
    let chances = [3, 6, 12, 25, 50].into_iter().cycle();
    (1..=pick((8 / thinned).max(1), 40 / thinned, 200))
        .zip(chances)
        .map(|(seed, one_in)| Fault::Now { seed, one_in })
}

/// For each story the tests of all its faults; the number thins the faults out where there is no
/// stress.
macro_rules! stories {
    ($($name:ident $story:ident $thinned:literal)*) => {$(
        mod $name {
            use super::{Fault, limits, now_and_then, step, story::$story as STORY};
            use super::{tell_all, tell_collecting, tell_some};

            #[test]
            fn survives_a_request_that_is_granted_when_repeated() {
                tell_all(&STORY, (1..).step_by(step(2 * $thinned)).map(Fault::hiccup));
            }

            #[test]
            fn survives_a_failed_request() {
                tell_all(&STORY, (1..).step_by(step($thinned)).map(Fault::once));
            }

            #[test]
            fn survives_some_failed_requests() {
                tell_all(&STORY, (1..).step_by(step(3 * $thinned)).map(Fault::some));
            }

            #[test]
            fn survives_an_end_of_all_memory() {
                tell_all(&STORY, (1..).step_by(step($thinned)).map(Fault::from));
            }

            #[test]
            fn survives_a_limit() {
                tell_all(&STORY, limits($thinned));
            }

            #[test]
            fn survives_requests_that_fail_now_and_then() {
                tell_some(&STORY, now_and_then($thinned));
            }

            #[test]
            fn is_the_same_when_every_allocation_collects() {
                tell_collecting(&STORY);
            }
        }
    )*};
}

stories! {
    first FIRST 1
    functions FUNCTIONS 1
    again AGAIN 1
    one_edited ONE_EDITED 1
    others_edited OTHERS_EDITED 1
    class CLASS 1
    globals GLOBALS 1
    registry REGISTRY 1
    raises RAISES 1
    replace REPLACE 1
    merge MERGE 1
    track TRACK 3
    constants CONSTANTS 1
    hook HOOK 1
    hook_raises HOOK_RAISES 1
    migrated MIGRATED 1
    steps_back STEPS_BACK 1
    rows_back ROWS_BACK 1
    hook_waits HOOK_WAITS 1
    hook_waits_and_raises HOOK_WAITS_AND_RAISES 1
    hook_is_closed HOOK_IS_CLOSED 1
    dry DRY 1
    conflicts CONFLICTS 1
    everywhere EVERYWHERE 1
    everywhere_and_back EVERYWHERE_AND_BACK 1
    everywhere_dry EVERYWHERE_DRY 1
    several SEVERAL 1
    several_and_back SEVERAL_AND_BACK 1
    undo UNDO 1
    sliced SLICED 4
    changed CHANGED 3
    stale STALE 3
    begun BEGUN 12
    sweep SWEEP 9
    plan PLAN 9
    changed_data CHANGED_DATA 1
    watch WATCH 8
    configured CONFIGURED 9
    bundle BUNDLE 5
    bus BUS 5
    bus_dry BUS_DRY 9
    bus_raises BUS_RAISES 7
    bus_conflicts BUS_CONFLICTS 9
    bus_hook_raises BUS_HOOK_RAISES 7
    bus_undo BUS_UNDO 5
}

/// Stories that ask for memory so often that not every request can fail; under stress it is every
/// third one.
macro_rules! long_stories {
    ($($name:ident $story:ident $thinned:literal $limit:literal)*) => {$(
        mod $name {
            use super::story::$story as STORY;
            use super::{Fault, pick, tell, tell_collecting, tell_some};

            /// Some of the requests that a reload makes, the first and the last ones among them.
            fn requests() -> impl Iterator<Item = u64> {
                let all = (1..)
                    .find(|step| !tell(&STORY, Fault::hiccup(step * 50)).hit)
                    .unwrap_or(1)
                    * 50;
                (1..=20).chain((21..all).step_by(pick(5 * $thinned, $thinned, 3)))
            }

            #[test]
            fn survives_a_failed_request() {
                tell_some(&STORY, requests().map(Fault::once));
            }

            #[test]
            fn survives_an_end_of_all_memory() {
                tell_some(&STORY, requests().map(Fault::from));
            }

            #[test]
            fn survives_a_limit() {
                let steps = pick(10, 40, 400);
                tell_some(&STORY, (0..steps).map(|step| Fault::Limit(step * $limit * 40 / steps)));
            }

            #[test]
            fn is_the_same_when_every_allocation_collects() {
                tell_collecting(&STORY);
            }
        }
    )*};
}

long_stories! {
    big BIG 29 20_000
    stale_ways STALE_WAYS 499 5_000
}

/// After a fault the collector goes on as before: garbage does not pile up.
#[test]
fn garbage_is_collected_after_a_fault() {
    for mode in ["incremental", "generational"] {
        for n in (1..).step_by(step(7)) {
            let program = story::FUNCTIONS.begin();
            if pick(true, false, false) {
                program.load_parts();
            }
            program.must(&format!("collectgarbage '{mode}' collectgarbage()"));
            story::FUNCTIONS.push(&program);
            program.call(2, Fault::once(n));
            let hit = program.memory.failed() > 0;
            program.must(
                "local before = collectgarbage 'count'
                for _ = 1, 40000 do local _ = { {} } end
                local now = collectgarbage 'count'
                if now > before + 1500 then error(('%.0f KiB before, %.0f KiB now'):format(before, \
                now)) end",
            );
            if !hit {
                break;
            }
        }
    }
}

/// The whole story with a full collection at every allocation: what comes before and after the
/// reload as well.
#[test]
fn whole_stories_are_the_same_when_every_allocation_collects() {
    for story in story::ALL.into_iter().chain([&story::STALE_WAYS]) {
        let program = Program::new();
        program.memory.arm(Fault::Collect);
        story.prepare(&program);
        story.push(&program);
        let outcome = program.call(2, Fault::Collect);
        program.memory.arm(Fault::Collect);
        if let Err(message) = settle(story, &program, outcome == Outcome::Done) {
            panic!("{}: {outcome:?}: {message}", story.name);
        }
        program.memory.disarm();
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
            End::Done | End::Dry | End::Part => {
                assert_eq!(outcome, Outcome::Done, "{}", story.name)
            }
            End::Refused(_) => assert!(
                matches!(outcome, Outcome::Refused(Some(_))),
                "{}: {outcome:?}",
                story.name
            ),
        }
        story.settle(&program, outcome == Outcome::Done);
    }
}

/// A collection that a fault brought about leaves a finalizer to be run when the pause of the
/// collector ends: inside of the reload, behind its commit. The finalizer reloads the module once
/// more.
#[test]
fn a_finalizer_reloads_at_the_end_of_a_reload() {
    let mut nested = 0;
    for hook in ["", "__hotfix = function(M) M.hooked = VERSION end,"] {
        for n in 1.. {
            let program = Program::new();
            if pick(true, !hook.is_empty(), false) {
                program.load_parts();
            }
            let source = "
                local calls = 0
                local function helper() calls = calls + 1 return VERSION end
                return { HOOK f = function() return helper(), calls end, sub = { g = function() \
                return VERSION end } }";
            program.write("m", source.replace("HOOK", "").replace("VERSION", "1"));
            program.must(&format!(
                "m = require 'm' m.f()
                local source = [[{}]]
                local function version(n) return {{ source = (source:gsub('VERSION', n)) }} end
                local third = version(3)
                setmetatable({{}}, {{ __gc = function() inner = table.pack(gg.reload('m', \
                third)) end }})
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
                if rawget(m, '__hotfix') then test.equal(m.hooked, is, \
                'the version that ran its hook') end
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

/// R7.3: where memory is short, `hotreload.undo` undoes all or nothing, and says which. The keys of
/// full tables move on the way back, so memory is wanted in the midst of it.
#[test]
fn an_undoing_is_done_as_a_whole_or_not_at_all() {
    let text = "local n, M = 0, {}
        function M.f() n = n + 1 return VERSION, n end
        function M.g() return VERSION end
        function M.new(x) return function() return VERSION, x end end
        return M";
    let kinds: [fn(u64) -> Fault; 3] = [Fault::once, Fault::some, Fault::from];
    let (mut whole, mut refused) = (0, 0);
    for kind in kinds {
        for n in (1..).step_by(pick(3, 1, 1)) {
            let program = Program::new();
            program.write("m", text.replace("VERSION", "1"));
            program.must(
                "m = require 'm'
                sets, made = {}, {}
                for i = 1, 12 do
                    sets[i] = { [m.f] = 'f', [m.g] = 'g' }
                    for k = 1, i % 7 do sets[i]['key' .. k] = k end
                    made[i] = m.new(i)
                end",
            );
            program.write("m", text.replace("VERSION", "2"));
            program.must(
                "local test = ...
                test.reload('m', { scope = 'vm' })
                test.snapshot()",
            );
            program.push("return require 'hotreload'.undo");
            program.push("return 'm'");
            let outcome = program.call(1, kind(n));
            let hit = program.memory.failed() > 0;
            let again = match &outcome {
                Outcome::Done => None,
                Outcome::Refused(Some(text)) => Some(text.clone()),
                // The façade's own: before anything is done.
                Outcome::Raised(text) if text == "not enough memory" => Some(text.clone()),
                other => panic!("request {n}: {other:?}"),
            };
            if let Some(text) = again {
                let changes = program.must("local test = ... return test.changes()");
                let says = text.contains("call hotreload.undo again");
                assert!(changes == "nil" || says, "request {n}: {text}: {changes}");
                refused += 1;
                program.must("assert(require 'hotreload'.undo 'm')");
            } else {
                whole += 1;
            }
            program.must(
                "local test = ...
                test.equal(m.f(), 1)
                for i = 1, 12 do
                    test.equal(sets[i][m.f], 'f')
                    test.equal(sets[i][m.g], 'g')
                    test.equal(made[i](), 1)
                    test.equal(select(2, made[i]()), i)
                    local count = 0
                    for _ in pairs(sets[i]) do count = count + 1 end
                    test.equal(count, 2 + i % 7)
                end",
            );
            if !hit {
                break;
            }
        }
    }
    assert!(whole > 3 && refused > 20, "{whole} done, {refused} refused");
}
