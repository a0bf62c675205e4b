//! Reloads in scope "vm" (R9), over what a full collection of the same heap costs: both touch each
//! object.

use std::time::Duration;

use mlua::{Function, Table, Value};

use crate::Outcome;
use crate::clock;
use crate::host::Host;
use crate::memory;

/// A heap to reload in.
#[derive(Clone, Copy)]
pub struct Heap {
    pub name: &'static str,
    /// About so many objects.
    pub size: u32,
    pub rounds: usize,
    /// The most that the reload may cost, in collections.
    pub goal: f64,
}

/// All heaps, in the order of the table.
pub const HEAPS: [Heap; 3] = [
    heap("heap-100000", 100_000, 21, 3.5),
    heap("heap-1000000", 1_000_000, 9, 2.5),
    heap("heap-3000000", 3_000_000, 5, 2.5),
];

const fn heap(name: &'static str, size: u32, rounds: usize, goal: f64) -> Heap {
    Heap {
        name,
        size,
        rounds,
        goal,
    }
}

/// Bytes of extra memory for each object.
const MEMORY: f64 = 4.0;
/// A slice's length in milliseconds.
const BUDGET: f64 = 1.0;
/// The longest that one may be, but for one of a thousand, in milliseconds.
const SLICE: f64 = 1.1;
/// How many references have to follow.
const REFERENCES: usize = 1000;

const HEAD: &str = "
Reloads in scope \"vm\", with 1,000 old references that all have to run the new code: \
medians of interleaved rounds, processor time.
reload: the whole reload, over a full collection of the same heap in the same round; B/object: \
the most memory beside what stays;
slices: of a sweep with a budget of 1 ms, the longest and the one of a thousand (goal 1.1), in ms.
";

/// What one heap gave.
struct Figures {
    collection: Duration,
    walks: f64,
    extra: f64,
    slices: Vec<Duration>,
}

/// Reloads in the heaps and prints their table; whether all was found.
pub fn run(heaps: &[Heap]) -> bool {
    if heaps.is_empty() {
        return true;
    }
    let mut right = true;
    println!("{HEAD}");
    println!(
        "{:>9} {:>10} {:>8} {:>6} {:>8} {:>6} {:>7} {:>9} {:>9}  result",
        "objects",
        "collect ms",
        "reload",
        "goal",
        "B/object",
        "goal",
        "slices",
        "longest",
        "99.9 %"
    );
    for heap in heaps {
        match measure(heap) {
            Ok(figures) => line(&figures, heap),
            Err(error) => {
                right = false;
                println!("{:>9} FAILED: {error}", heap.size);
            }
        }
    }
    right
}

fn line(figures: &Figures, heap: &Heap) {
    let goal = heap.goal;
    let milliseconds = |time: Duration| 1000.0 * time.as_secs_f64();
    let slices = figures.slices.len();
    let longest = figures.slices.last().copied().unwrap_or_default();
    let rare = figures
        .slices
        .get(slices - 1 - slices / 1000)
        .copied()
        .unwrap_or_default();
    let met = figures.walks <= goal && figures.extra <= MEMORY && milliseconds(rare) <= SLICE;
    println!(
        "{:>9} {:>10.1} {:>8.2} {goal:>6} {:>8.2} {MEMORY:>6} {slices:>7} {:>9.3} {:>9.3}  {}",
        heap.size,
        milliseconds(figures.collection),
        figures.walks,
        figures.extra,
        milliseconds(longest),
        milliseconds(rare),
        if met { "met" } else { "MISSED" },
    );
}

fn measure(heap: &Heap) -> Outcome<Figures> {
    let rounds = heap.rounds;
    let host = Host::new(std::path::Path::new("."))?;
    let build = host.run("heap", include_str!("heap.lua"))?;
    let program: Table = build.call(heap.size)?;
    host.lua().globals().set("heap", &program)?;
    let get = |name: &str| program.get::<Function>(name);
    let (reload, sweep, check) = (get("reload")?, get("sweep")?, get("check")?);
    let mut figures = Figures {
        collection: Duration::ZERO,
        walks: 0.0,
        extra: 0.0,
        slices: Vec::new(),
    };
    let (mut collections, mut walks) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        host.collect()?;
        let begun = clock::now();
        host.lua().gc_collect()?;
        let collection = clock::now() - begun;
        memory::restart_peak();
        let begun = clock::now();
        let references: usize = reload.call(())?;
        let time = clock::now() - begun;
        let peak = memory::peak();
        host.collect()?;
        // The new closures, and what undoes the reload, stay.
        figures.extra = peak.saturating_sub(memory::held()) as f64 / f64::from(heap.size);
        check.call::<()>(())?;
        if references < REFERENCES {
            return Err(format!("{references} of {REFERENCES} references found").into());
        }
        collections.push(collection);
        walks.push(time.as_secs_f64() / collection.as_secs_f64());
    }
    collections.sort_unstable();
    walks.sort_unstable_by(f64::total_cmp);
    figures.collection = collections.get(rounds / 2).copied().unwrap_or_default();
    figures.walks = walks.get(rounds / 2).copied().unwrap_or(f64::NAN);

    host.collect()?;
    // The collector's own steps are not what is measured.
    host.lua().gc_stop();
    reload.call::<usize>(BUDGET)?;
    loop {
        let begun = clock::now();
        let (done, _): (bool, Value) = sweep.call(BUDGET)?;
        figures.slices.push(clock::now() - begun);
        if done {
            break;
        }
    }
    check.call::<()>(())?;
    figures.slices.sort_unstable();
    Ok(figures)
}
