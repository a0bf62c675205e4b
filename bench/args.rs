//! `[CASE …] [--case CASE] [--rounds N] [--only PARTICIPANT,…] [--count PARTICIPANT]`, after the
//! `--` of `cargo bench`.

use lexopt::prelude::*;

use crate::Outcome;
use crate::cases::{CASES, Case};
use crate::fleet::{FLEETS, Fleet};
use crate::heap::{HEAPS, Heap};
use crate::participant::Who;
use crate::record::{RECORDS, Record};

/// What to run.
pub struct Args {
    pub cases: Vec<Case>,
    pub participants: Vec<Who>,
    pub heaps: Vec<Heap>,
    pub records: Vec<Record>,
    pub fleets: Vec<Fleet>,
    /// Whose reloads are counted: this process runs under valgrind.
    pub counted: Option<Who>,
}

impl Args {
    /// Reads the command line; an error says what is wrong with it and what there is.
    pub fn read() -> Outcome<Self> {
        let mut parser = lexopt::Parser::from_env();
        let (mut cases, mut participants, mut rounds) = (Vec::new(), Who::ALL.to_vec(), None);
        let mut others = (Vec::new(), Vec::new(), Vec::new());
        let mut counted = None;
        while let Some(arg) = parser.next()? {
            match arg {
                Long("bench") => {} // cargo's own
                Long("rounds") => rounds = Some(parser.value()?.parse::<usize>()?.max(1)),
                Long("only") => {
                    let names = parser.value()?.string()?;
                    participants = names.split(',').map(who).collect::<Outcome<_>>()?;
                }
                Long("count") => counted = Some(who(&parser.value()?.string()?)?),
                Long("case") => take(&parser.value()?.string()?, &mut cases, &mut others)?,
                Value(name) => take(&name.string()?, &mut cases, &mut others)?,
                _ => return Err(arg.unexpected().into()),
            }
        }
        let (mut heaps, mut records, mut fleets) = others;
        if cases.is_empty() && heaps.is_empty() && records.is_empty() && fleets.is_empty() {
            cases.extend(CASES);
            heaps.extend(HEAPS);
            records.extend(RECORDS);
            fleets.extend(FLEETS);
        }
        if let Some(rounds) = rounds {
            cases.iter_mut().for_each(|case| case.rounds = rounds);
            heaps.iter_mut().for_each(|heap| heap.rounds = rounds);
            records.iter_mut().for_each(|record| record.rounds = rounds);
            fleets.iter_mut().for_each(|fleet| fleet.rounds = rounds);
        }
        Ok(Self {
            cases,
            participants,
            heaps,
            records,
            fleets,
            counted,
        })
    }
}

/// Adds the case of that name.
fn take(
    name: &str,
    cases: &mut Vec<Case>,
    (heaps, records, fleets): &mut (Vec<Heap>, Vec<Record>, Vec<Fleet>),
) -> Outcome<()> {
    let names = || {
        let cases = CASES.iter().map(|case| case.name);
        let others = HEAPS
            .iter()
            .map(|heap| heap.name)
            .chain(RECORDS.iter().map(|record| record.name))
            .chain(FLEETS.iter().map(|fleet| fleet.name));
        cases.chain(others).collect::<Vec<_>>().join(", ")
    };
    if let Some(case) = CASES.into_iter().find(|case| case.name == name) {
        cases.push(case);
    } else if let Some(heap) = HEAPS.into_iter().find(|heap| heap.name == name) {
        heaps.push(heap);
    } else if let Some(record) = RECORDS.into_iter().find(|record| record.name == name) {
        records.push(record);
    } else if let Some(fleet) = FLEETS.into_iter().find(|fleet| fleet.name == name) {
        fleets.push(fleet);
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
