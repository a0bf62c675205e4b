//! What is remembered of functions, weakly: which are generations of one another (R3.3), and what their code amounts to.
//!
//! One integer for each function that a reload placed or replaced, in a table with weak keys: it keeps nothing alive, and
//! spares a reload the dumping of functions that an earlier one has read.

use crate::bytecode::Profile;
use crate::commit;
use crate::error::Result;
use crate::mem::TryPush;
use crate::raw::vm::{Ref, Vm};

/// Lineages are numbered with the bits that a profile leaves; past them a function is of no lineage (number 0).
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
        let number = |function| vm.get_number(self.table, function).map(|n| n >> Profile::PACKED_BITS).filter(|n| *n != 0);
        let number_of_a = number(a);
        number_of_a.is_some() && number_of_a == number(b)
    }

    /// What is known of the function's code.
    pub fn profile(&self, vm: &Vm, function: Ref) -> Option<Profile> {
        Profile::unpack(vm.get_number(self.table, function)? as u64)
    }

    /// Notes A2's functions, each with the function of A1 that it continues, if any.
    pub fn note(&self, vm: &mut Vm, functions: &[(Option<Ref>, Ref, Profile)]) -> Result<()> {
        let mut last = vm.get_number(self.table, self.counter).unwrap_or(0);
        let mut numbers = Vec::new();
        numbers.try_reserve(functions.len() + 1)?;
        for (old, new, profile) in functions {
            let known = old.and_then(|old| vm.get_number(self.table, old)).map(|number| number >> Profile::PACKED_BITS);
            let number = known.unwrap_or_else(|| {
                last = (last + 1).min(MOST + 1);
                if last > MOST { 0 } else { last }
            });
            if let (Some(old), None) = (old, known) {
                numbers.try_push((*old, number << Profile::PACKED_BITS))?;
            }
            numbers.try_push((*new, number << Profile::PACKED_BITS | profile.pack() as i64))?;
        }
        numbers.try_push((self.counter, last))?;
        commit::note_lineage(vm, self.table, &numbers)
    }
}
