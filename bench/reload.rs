//! What a reload costs, over the floor: reading the module's file, compiling it and running its
//! chunk.
//!
//! Then what a walk over a whole VM costs, over a full collection (`heap.rs`), and what the record
//! of the base version costs (`record.rs`), and what many states cost (`fleet.rs`).
//!
//! `make bench` runs all of it; `cargo bench … -- 5000 --rounds 31` one case. For a profile,
//! `--count hotreload --case 5000` under `valgrind --tool=callgrind --collect-atstart=no
//! --toggle-collect='*measured*'`.

// A benchmark is a host: it makes Lua states, and it counts memory and time.
#![allow(unsafe_code)]

mod args;
mod cases;
mod clock;
mod figures;
mod fleet;
mod heap;
mod host;
mod instructions;
mod memory;
mod module;
mod participant;
mod record;
mod run;
mod table;

use std::error::Error;
use std::process::ExitCode;

/// What failed, for people.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs and prints what the command line asks for; whether all of it ran and was right, not whether
/// it was fast.
fn bench() -> Outcome<bool> {
    let args = args::Args::read()?;
    if let Some(who) = args.counted {
        let count = |case| instructions::counted(case, who);
        args.cases.iter().try_for_each(count)?;
        let mut records = args.records.iter();
        records.try_for_each(|record| record::counted(record, who))?;
        let mut fleets = args.fleets.iter();
        return fleets.try_for_each(|_| fleet::counted(who)).map(|()| true);
    }
    let (mut right, mut costs) = (true, Vec::new());
    if !args.cases.is_empty() {
        table::head();
    }
    for case in args.cases {
        if !case.is_possible() {
            println!(
                "{:<28} left out: its Debian package is not there",
                case.name
            );
            continue;
        }
        let results = run::run(&case, &args.participants)?;
        right &= results.iter().all(|(_, figures)| figures.is_ok());
        costs.push((case, table::case(&case, &results)));
    }
    table::data(&costs);
    right &= heap::run(&args.heaps);
    right &= record::run(&args.records);
    right &= fleet::run(&args.fleets);
    Ok(right)
}
