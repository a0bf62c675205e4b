//! `[CASE …] [--case CASE] [--rounds N] [--only PARTICIPANT,…]`, after the `--` of `cargo bench`.

use std::env;

use crate::Outcome;
use crate::cases::{CASES, Case};
use crate::participant::Who;

/// What to run.
pub struct Args {
    pub cases: Vec<Case>,
    pub participants: Vec<Who>,
}

impl Args {
    /// Reads the command line; an error says what is wrong with it and what there is.
    pub fn read() -> Outcome<Self> {
        let mut rest = env::args().skip(1);
        let (mut cases, mut participants, mut rounds) = (Vec::new(), Who::ALL.to_vec(), None);
        while let Some(arg) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--bench" => {} // cargo's own
                "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--only" => participants = value()?.split(',').map(who).collect::<Outcome<_>>()?,
                "--case" => cases.push(case(&value()?)?),
                name => cases.push(case(name)?),
            }
        }
        if cases.is_empty() {
            cases.extend(CASES);
        }
        if let Some(rounds) = rounds {
            cases.iter_mut().for_each(|case| case.rounds = rounds);
        }
        Ok(Self { cases, participants })
    }
}

fn case(name: &str) -> Outcome<Case> {
    let names = || CASES.map(|case| case.name).join(", ");
    CASES
        .into_iter()
        .find(|case| case.name == name)
        .ok_or_else(|| format!("no case {name:?}; there are {}", names()).into())
}

fn who(name: &str) -> Outcome<Who> {
    let names = || Who::ALL.map(Who::name).join(", ");
    Who::ALL
        .into_iter()
        .find(|who| who.name() == name)
        .ok_or_else(|| format!("no participant {name:?}; there are {}", names()).into())
}
