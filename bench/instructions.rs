//! A case in instructions, which are the same each time: the bench runs itself again under
//! valgrind, where that is there, and lets it count inside of the measured calls.

use std::env;
use std::process::Command;

use crate::Outcome;
use crate::cases::{Case, Kind};
use crate::fleet::Fleet;
use crate::module::Module;
use crate::participant::{Participant, Who};
use crate::record::Record;

/// Reloads, or loads, that are counted.
pub const COUNTED: usize = 4;

/// The library's cost in floors; none where nothing counts, or the case is not about code.
pub fn floors(case: &Case) -> Option<f64> {
    if case.kind != Kind::Code {
        return None;
    }
    compared(case.name)
}

/// The same for the states of a fleet, but for the first one.
pub fn fleet_floors(fleet: &Fleet) -> Option<f64> {
    compared(fleet.name)
}

/// The cost of a load with a record, in loads without one.
pub fn loads(record: &Record) -> Option<f64> {
    compared(record.name)
}

fn compared(name: &str) -> Option<f64> {
    let (floor, library) = (count(name, Who::Floor)?, count(name, Who::Library)?);
    Some(library / floor)
}

fn count(name: &str, who: Who) -> Option<f64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured*"])
        .arg(env::current_exe().ok()?)
        .args(["--count", who.name(), "--case", name])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&run.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))?;
    collected
        .1
        .trim()
        .parse()
        .ok()
        .filter(|_| run.status.success())
}

/// What runs under valgrind.
pub fn counted(case: &Case, who: Who) -> Outcome<()> {
    let mut module = Module::new(case.subject, case.functions, case.edit)?;
    Participant::new(who, case, &module)?.counted(COUNTED, &mut module)
}
