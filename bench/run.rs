//! Runs one case: all participants in turn, round by round, so that what disturbs the machine
//! disturbs them all.

use crate::Outcome;
use crate::cases::{Case, Kind};
use crate::figures::Figures;
use crate::module::Module;
use crate::participant::{Participant, Who};

/// A participant's figures, or why there are none.
pub type Result = (Who, Outcome<Figures>);

/// Runs a case.
pub fn run(case: &Case, who: &[Who]) -> Outcome<Vec<Result>> {
    let mut module = Module::new(case.subject, case.functions, case.edit)?;
    let mut entries: Vec<Entry> = Vec::new();
    for &who in who {
        entries.push((who, Participant::new(who, case, &module)));
    }
    for round in 0..case.rounds {
        let turn = |entry: &mut Entry| attempt(entry, |it| it.turn(round, case, &mut module));
        // There and back again: nobody always runs in the cache that the same neighbour left.
        if round % 2 == 0 {
            entries.iter_mut().for_each(turn);
        } else {
            entries.iter_mut().rev().for_each(turn);
        }
    }
    if case.kind == Kind::Code && who.len() > 1 {
        for _ in 0..case.rounds {
            for entry in &mut entries {
                attempt(entry, |it| it.turn_with_collection(&mut module));
            }
        }
    }
    let figures = |(who, it): Entry| (who, it.and_then(|it| Figures::new(it, case)));
    Ok(entries.into_iter().map(figures).collect())
}

/// A participant, or why it takes no further part.
type Entry = (Who, Outcome<Participant>);

fn attempt((_, it): &mut Entry, work: impl FnOnce(&mut Participant) -> Outcome<()>) {
    if let Ok(participant) = it
        && let Err(error) = work(participant)
    {
        *it = Err(error);
    }
}
