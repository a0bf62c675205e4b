//! R3 to R9 on generated programs: pairs of versions with histories at run time, compared with a
//! reference program.
//!
//! A case is a module's first version, loaded with a record or without, and some rounds: a history,
//! a new version, a reload that keeps, merges or replaces data (R8). Some cases have a second
//! module, which imports what the first one has; they are reloaded one by one or as a list, all or
//! none (R7.4). The reference program (`heap.rs`) runs all of it as well, and `oracle.rs` does to
//! it what docs/semantics/ says. After each step both tell what there is and what every function
//! does when it is called; the two texts must be the same. What differs is shrunk, and told with
//! both files.
//!
//! `bus.rs` generates registrations, `choices.rs` references, choices and lists of handlers; both
//! have small reference programs of their own.
//!
//! `HOTRELOAD_CASES` sets how many cases are tried, `HOTRELOAD_SEED` where the generator starts
//! (`random`: anywhere).

// A test is a host, and fails by panicking.
#![allow(
    unsafe_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// A generator lists its cases.
#![allow(clippy::too_many_lines)]

mod bus;
mod check;
mod choices;
mod heap;
mod model;
mod oracle;
mod render;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, thread};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use support::{Program, pick};

/// Cases that share a seed: a failing one is found again by trying these alone.
const BLOCK: u64 = 100;

fn number(name: &str, otherwise: u64) -> u64 {
    match env::var(name) {
        Ok(text) if text == "random" => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(otherwise, |time| time.as_nanos() as u64 >> 10),
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}

/// How often what happened: the outcomes that the rules leave open stand apart.
#[derive(Default)]
struct Sums {
    done: BTreeMap<&'static str, u64>,
    open: BTreeMap<&'static str, u64>,
}

/// What tries so many cases of a seed, and a failing one again, smaller, so often at most.
fn runner(seed: u64, cases: u64, max_shrink_iters: u32) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: cases as u32,
        failure_persistence: None,
        max_shrink_iters,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// How many cases of each generator are tried.
fn cases() -> u64 {
    number("HOTRELOAD_CASES", pick(500, 2_000, 2_000))
}

/// A state that lives as long as the test. The states of a process share the binary form of the
/// library's own texts, which each case would compile anew if its state were the only one.
fn sharer() -> Program {
    Program::new()
}

/// Tries the cases of a generator that has a reference program of its own.
fn try_all<S: Strategy>(case: &S, try_case: fn(&S::Value) -> Result<(), String>) {
    let _sharer = sharer();
    let seed = number("HOTRELOAD_SEED", 1);
    let mut runner = runner(seed, cases(), 5_000);
    let tried = runner.run(case, |case| try_case(&case).map_err(TestCaseError::fail));
    if let Err(error) = tried {
        panic!("HOTRELOAD_SEED={seed}\n{error}");
    }
}

/// Tries the cases of one seed.
fn block(seed: u64, cases: u64, sums: &Mutex<Sums>) -> Result<(), String> {
    let result = runner(seed, cases, 20_000).run(&model::case(), |case| {
        let mut own = Sums::default();
        let result = check::case(&case, &mut own);
        let mut sums = sums
            .lock()
            .map_err(|_| TestCaseError::fail("another thread has failed"))?;
        for (what, count) in own.done {
            *sums.done.entry(what).or_default() += count;
        }
        for (what, count) in own.open {
            *sums.open.entry(what).or_default() += count;
        }
        result.map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, _)) => Err(format!("HOTRELOAD_SEED={seed}\n{reason}")),
        Err(TestError::Abort(reason)) => Err(format!("HOTRELOAD_SEED={seed}: {reason}")),
    }
}

#[test]
fn generated_programs_reload_as_the_rules_say() {
    let _sharer = sharer();
    let cases = cases();
    let start = number("HOTRELOAD_SEED", 1);
    let (next, failed, sums) = (
        AtomicU64::new(0),
        AtomicBool::new(false),
        Mutex::new(Sums::default()),
    );
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let first = next.fetch_add(1, Ordering::Relaxed);
            let left = cases.saturating_sub(first * BLOCK);
            if left == 0 {
                break;
            }
            if let Err(message) = block(start.wrapping_add(first), left.min(BLOCK), &sums) {
                failed.store(true, Ordering::Relaxed);
                return Err(message);
            }
        }
        Ok(())
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    for result in results {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(message)) => panic!("{message}"),
            Err(_) => panic!("a thread has panicked"),
        }
    }
    let sums = sums.into_inner().expect("no thread has panicked");
    let line = |(what, count): (&&str, &u64)| format!("{count:8} {what}");
    let done: Vec<String> = sums.done.iter().map(line).collect();
    let open: Vec<String> = sums.open.iter().map(line).collect();
    println!(
        "{cases} cases from seed {start}:\n{}\nleft open:\n{}",
        done.join("\n"),
        open.join("\n")
    );
    let opened: u64 = sums.open.values().sum();
    // Of a few cases chance decides. Lists that both have edited, and what may have been renamed,
    // are most of it.
    assert!(
        cases < 500 || opened * 5 < cases,
        "{opened} of {cases} cases end where the rules leave the outcome open"
    );
    let reloads = sums.done.get(check::RELOADS).copied().unwrap_or_default();
    assert!(reloads > cases, "only {reloads} reloads in {cases} cases");
}
