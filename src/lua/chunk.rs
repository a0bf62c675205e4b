//! Runs the incoming chunk: notes what it creates, and which calls it makes.

use std::cell::Cell;

use super::calls::{Watcher, observe};
use super::tracker::{Fresh, Tracker};
use super::vm::{Ref, Vm};
use crate::support::error::{Error, Result};
use crate::support::fault::caught;

/// What became of a chunk.
pub struct Ran {
    /// What it returned first, or why not.
    pub outcome: Result<Ref>,
    /// What was created meanwhile, also when it failed.
    pub fresh: Fresh,
    /// It has set a debug hook: the calls behind that were not seen.
    pub blinded: bool,
}

impl Ran {
    /// It did not begin.
    fn failed(error: Error) -> Ran {
        Ran {
            outcome: Err(error),
            fresh: Fresh::default(),
            blinded: false,
        }
    }
}

/// Calls `loader` with the module's name and the loader's data, and tells `watcher` of its calls. A
/// panic is an error like any other. `expected`: about how many objects it will create.
///
/// # Errors
/// As [`Vm::call`], in what is returned.
pub fn run(
    vm: &mut Vm,
    loader: Ref,
    args: [Ref; 2],
    expected: usize,
    watcher: &mut dyn Watcher,
) -> Ran {
    let fresh = match Fresh::expecting(expected) {
        Ok(fresh) => fresh,
        Err(error) => return Ran::failed(error),
    };
    let depth = Cell::new(0);
    // SAFETY: state and counter outlive the tracker, which is stopped in any case, a panic
    // included.
    let tracker = match unsafe { Tracker::start(vm, Some(fresh), &raw const depth) } {
        Ok(tracker) => tracker,
        Err(error) => return Ran::failed(error),
    };
    let mut blinded = false;
    let outcome = caught("while the chunk ran", || {
        let observed = observe(vm, loader, args, watcher, tracker.made());
        blinded = observed.blinded;
        observed.outcome
    });
    Ran {
        outcome,
        fresh: tracker.stop(),
        blinded,
    }
}
