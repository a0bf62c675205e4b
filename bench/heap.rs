//! The walk over the whole VM (R9), over what a full collection of the same heap costs: both touch each object.

use std::time::Duration;

use mlua::{Function, Table, Value};

use crate::Outcome;
use crate::clock;
use crate::host::Host;
use crate::memory;

/// A heap to walk.
#[derive(Clone, Copy)]
pub struct Heap {
    pub name: &'static str,
    /// About so many objects.
    pub size: u32,
    pub rounds: usize,
    /// The most that the walk may cost, in collections.
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
/// A slice's length in microseconds.
const BUDGET: i64 = 1000;

const HEAD: &str = "
Walks over a whole VM, with 1,000 references to find: medians of interleaved rounds, processor time. walk: over a full
collection of the same heap in the same round; extra: the most memory for bookkeeping; slices: with a budget of 1 ms, the longest
and the one of a thousand, in ms.
";

/// What one heap gave.
struct Figures {
    objects: i64,
    collection: Duration,
    walks: f64,
    extra: f64,
    slices: Vec<Duration>,
}

/// Walks the heaps and prints their table; whether all was found.
pub fn run(heaps: &[Heap]) -> bool {
    if heaps.is_empty() {
        return true;
    }
    let mut right = true;
    println!("{HEAD}");
    println!(
        "{:>9} {:>10} {:>8} {:>6} {:>8} {:>6} {:>7} {:>9} {:>9}  result",
        "objects", "collect ms", "walk", "goal", "B/object", "goal", "slices", "longest", "99.9 %"
    );
    for heap in heaps {
        match measure(heap) {
            Ok(figures) => line(&figures, heap.goal),
            Err(error) => {
                right = false;
                println!("{:>9} FAILED: {error}", heap.size);
            }
        }
    }
    right
}

fn line(figures: &Figures, goal: f64) {
    let milliseconds = |time: Duration| 1000.0 * time.as_secs_f64();
    let slices = figures.slices.len();
    let longest = figures.slices.last().copied().unwrap_or_default();
    let rare = figures
        .slices
        .get(slices - 1 - slices / 1000)
        .copied()
        .unwrap_or_default();
    let met = figures.walks <= goal && figures.extra <= MEMORY;
    println!(
        "{:>9} {:>10.1} {:>8.2} {goal:>6} {:>8.2} {MEMORY:>6} {slices:>7} {:>9.3} {:>9.3}  {}",
        figures.objects,
        milliseconds(figures.collection),
        figures.walks,
        figures.extra,
        milliseconds(longest),
        milliseconds(rare),
        if met { "met" } else { "MISSED" },
    );
}

/// What one call of the walk returns: pass, done, hits, objects.
type Walked = (Value, Value, Value, Option<i64>);

fn measure(heap: &Heap) -> Outcome<Figures> {
    let rounds = heap.rounds;
    let host = Host::new(std::path::Path::new("."))?;
    let build = host.run("heap", include_str!("heap.lua"))?;
    let (data, wanted, strays): (Table, Table, i64) = build.call(heap.size)?;
    host.lua().globals().set("heap", &data)?;
    // SAFETY: a C function as Lua expects one.
    let walk = unsafe { host.lua().create_c_function(hotreload::walk_heap)? };
    let mut figures = Figures {
        objects: 0,
        collection: Duration::ZERO,
        walks: 0.0,
        extra: 0.0,
        slices: Vec::new(),
    };
    let (mut collections, mut walks) = (Vec::new(), Vec::new());
    host.collect()?;
    for _ in 0..rounds {
        let begun = clock::now();
        host.lua().gc_collect()?;
        let collection = clock::now() - begun;
        let held = memory::held();
        memory::restart_peak();
        let begun = clock::now();
        let (_, done, hits, objects) = one(&walk, Value::Nil, &wanted, None)?;
        let time = clock::now() - begun;
        figures.extra = (memory::peak() - held) as f64 / objects as f64;
        figures.objects = objects;
        if !done || hits < strays {
            return Err(format!("{hits} of {strays} references found").into());
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
    let (mut pass, mut found) = (Value::Nil, 0);
    loop {
        let begun = clock::now();
        let (next, done, hits, _) = one(&walk, pass, &wanted, Some(BUDGET))?;
        figures.slices.push(clock::now() - begun);
        found += hits;
        pass = next;
        if done {
            break;
        }
    }
    if found < strays {
        return Err(format!("{found} of {strays} references found in slices").into());
    }
    figures.slices.sort_unstable();
    Ok(figures)
}

/// One call of the walk: pass, done, number of hits, objects so far.
fn one(walk: &Function, pass: Value, wanted: &Table, budget: Option<i64>) -> Outcome<(Value, bool, i64, i64)> {
    let (pass, done, hits, objects): Walked = walk.call((pass, wanted, budget, Value::Nil, true))?;
    match (done.as_boolean(), hits.as_i64(), objects) {
        (Some(done), Some(hits), Some(objects)) => Ok((pass, done, hits, objects)),
        _ => Err(format!("the walk failed: {}", done.to_string()?).into()),
    }
}
