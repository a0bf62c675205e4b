//! What is remembered of functions, weakly: which are generations of one another (R3.3), and what
//! their code amounts to.
//!
//! One integer for each function that a reload placed or replaced, in a table with weak keys: it
//! keeps nothing alive, and spares a reload the dumping of functions that an earlier one has read.

use crate::code::Profile;
use crate::lua::vm::{Ref, Vm};
use crate::lua::write;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Lineages are numbered with the bits that a profile leaves; past them a function is of no lineage
/// (number 0).
const MOST: i64 = (1 << (63 - Profile::PACKED_BITS)) - 1;

/// The weak table, and the key under which it counts.
#[derive(Clone, Copy)]
pub struct Lineage {
    /// Function → number.
    pub table: Ref,
    /// The key of the last lineage's number.
    pub counter: Ref,
}

impl Lineage {
    /// Are both functions generations of one?
    pub fn is_one(&self, vm: &Vm, a: Ref, b: Ref) -> bool {
        let lineage_of_a = self.of(vm, a);
        lineage_of_a.is_some() && lineage_of_a == self.of(vm, b)
    }

    /// The number of a function's lineage, if it has one.
    pub fn of(&self, vm: &Vm, function: Ref) -> Option<i64> {
        let number = self.number(vm, function)? >> Profile::PACKED_BITS;
        (number != 0).then_some(number)
    }

    /// What is noted of a function.
    pub fn number(&self, vm: &Vm, function: Ref) -> Option<i64> {
        vm.get_number(self.table, function)
    }

    /// What a number tells of the function's code.
    pub fn profile(number: i64) -> Option<Profile> {
        Profile::unpack(number as u64)
    }

    /// Notes A2's functions, each with the function of A1 that it continues, if any.
    pub fn note(&self, vm: &mut Vm, functions: &[Continued]) -> Result<()> {
        let mut last = vm.get_number(self.table, self.counter).unwrap_or(0);
        let mut numbers = Vec::new();
        numbers.try_reserve(functions.len() + 1)?;
        // The count comes first: should memory end in between, no number is given to two lineages.
        numbers.try_push((self.counter, last))?;
        for function in functions {
            let known = function
                .old
                .and_then(|(_, number)| number)
                .map(|number| number >> Profile::PACKED_BITS);
            let number = known.unwrap_or_else(|| {
                last = (last + 1).min(MOST + 1);
                if last > MOST { 0 } else { last }
            });
            if let (Some((old, _)), None) = (function.old, known) {
                numbers.try_push((old, number << Profile::PACKED_BITS))?;
            }
            numbers.try_push((
                function.new,
                number << Profile::PACKED_BITS | function.profile.map_or(0, Profile::pack) as i64,
            ))?;
        }
        if let Some(count) = numbers.first_mut() {
            count.1 = last;
        }
        write::note_lineage(vm, self.table, &numbers)
    }
}

/// A function of A2.
#[derive(Clone, Copy, Debug)]
pub struct Continued {
    /// The function of A1 whose lineage it continues, if any, and that one's number.
    pub old: Option<(Ref, Option<i64>)>,
    /// The function.
    pub new: Ref,
    /// Its code, if it has been read.
    pub profile: Option<Profile>,
}
