//! `[CASE …] [--case CASE] [--rounds N] [--only PARTICIPANT,…]`, after the `--` of `cargo bench`.

use std::env;

use crate::Outcome;
use crate::cases::{CASES, Case};
use crate::heap::{HEAPS, Heap};
use crate::participant::Who;
use crate::record::{RECORDS, Record};

/// What to run.
pub struct Args {
    pub cases: Vec<Case>,
    pub participants: Vec<Who>,
    pub heaps: Vec<Heap>,
    pub records: Vec<Record>,
}

impl Args {
    /// Reads the command line; an error says what is wrong with it and what there is.
    pub fn read() -> Outcome<Self> {
        let mut rest = env::args().skip(1);
        let (mut cases, mut participants, mut rounds) = (Vec::new(), Who::ALL.to_vec(), None);
        let (mut heaps, mut records) = (Vec::new(), Vec::new());
        while let Some(arg) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {} // cargo's own
                "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--only" => participants = value()?.split(',').map(who).collect::<Outcome<_>>()?,
                "--case" => take(&value()?, &mut cases, &mut heaps, &mut records)?,
                name => take(name, &mut cases, &mut heaps, &mut records)?,
            }
        }
        if cases.is_empty() && heaps.is_empty() && records.is_empty() {
            cases.extend(CASES);
            heaps.extend(HEAPS);
            records.extend(RECORDS);
        }
        if let Some(rounds) = rounds {
            cases.iter_mut().for_each(|case| case.rounds = rounds);
            heaps.iter_mut().for_each(|heap| heap.rounds = rounds);
            records.iter_mut().for_each(|record| record.rounds = rounds);
        }
        Ok(Self {
            cases,
            participants,
            heaps,
            records,
        })
    }
}

/// Adds the case of that name.
fn take(
    name: &str,
    cases: &mut Vec<Case>,
    heaps: &mut Vec<Heap>,
    records: &mut Vec<Record>,
) -> Outcome<()> {
    let names = || {
        let cases = CASES.iter().map(|case| case.name);
        let others = HEAPS
            .iter()
            .map(|heap| heap.name)
            .chain(RECORDS.iter().map(|record| record.name));
        cases.chain(others).collect::<Vec<_>>().join(", ")
    };
    if let Some(case) = CASES.into_iter().find(|case| case.name == name) {
        cases.push(case);
    } else if let Some(heap) = HEAPS.into_iter().find(|heap| heap.name == name) {
        heaps.push(heap);
    } else if let Some(record) = RECORDS.into_iter().find(|record| record.name == name) {
        records.push(record);
    } else {
        return Err(format!("no case {name:?}; there are {}", names()).into());
    }
    Ok(())
}

fn who(name: &str) -> Outcome<Who> {
    let names = || Who::ALL.map(Who::name).join(", ");
    Who::ALL
        .into_iter()
        .find(|who| who.name() == name)
        .ok_or_else(|| format!("no participant {name:?}; there are {}", names()).into())
}
