//! A case in instructions, which are the same each time: the bench runs itself again under
//! valgrind, where that is there, and lets it count inside of the measured calls.

use std::env;
use std::process::Command;

use crate::Outcome;
use crate::cases::Case;
use crate::module::Module;
use crate::participant::{Participant, Who};

/// Reloads, or loads, that are counted.
pub const COUNTED: usize = 4;

/// What the library's part in a case of that name costs, in floors; none where nothing counts.
pub fn floors(name: &str) -> Option<f64> {
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
