//! What is remembered of a module from one reload to the next: which of its locals some function
//! has assigned, in any version that a reload has seen (R4.7). A local that was state once stays
//! state, also when the function that assigned it is gone from the file: a closure of it may be
//! alive where nobody looks.
//!
//! One string for each module, in the façade's weak table: the number of the module's object, so
//! that it counts no longer when the module is loaded anew, and the sorted hashes of the locals'
//! names. Two names with one hash count as one, which keeps data.

use crate::lua::vm::{Ref, Vm};
use crate::lua::write;
use crate::model::lineage::Lineage;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Stands for every name: some of the code could not be read.
const ALL: u64 = u64::MAX;

/// The names of the locals that some function has assigned.
#[derive(Default)]
pub struct Assigned {
    /// Sorted.
    hashes: Vec<u64>,
    grown: bool,
    known: bool,
}

impl Assigned {
    /// What the earlier reloads of the module `name`, whose object is `object`, have left in the
    /// weak table.
    pub fn read(vm: &mut Vm, lineage: Lineage, name: Ref, object: Ref) -> Result<Assigned> {
        let key = key(vm, name)?;
        let packed = vm.get(lineage.table, key)?;
        let mut hashes = vm.words(packed)?.unwrap_or_default();
        let known = hashes.pop() == Some(number_of(vm, lineage, object));
        if !known {
            hashes.clear();
        }
        Ok(Assigned {
            hashes,
            grown: false,
            known,
        })
    }

    /// Has an earlier reload left anything?
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Is none known?
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Has a local of this name been assigned?
    pub fn has(&self, vm: &Vm, name: &[u8]) -> bool {
        self.hashes.last() == Some(&ALL) || self.hashes.binary_search(&vm.digest_of(name)).is_ok()
    }

    /// One more name.
    pub fn add(&mut self, vm: &Vm, name: &[u8]) -> Result<()> {
        self.insert(vm.digest_of(name))
    }

    /// Code that could not be read may assign anything.
    pub fn add_all(&mut self) -> Result<()> {
        self.insert(ALL)
    }

    fn insert(&mut self, hash: u64) -> Result<()> {
        if let Err(place) = self.hashes.binary_search(&hash) {
            self.hashes.try_reserve(1)?;
            self.hashes.insert(place, hash);
            self.grown = true;
        }
        Ok(())
    }

    /// Keeps it for the next reload, if it says more than what is kept.
    pub fn keep(mut self, vm: &mut Vm, lineage: Lineage, name: Ref, object: Ref) -> Result<()> {
        if !self.grown {
            return Ok(());
        }
        let key = key(vm, name)?;
        self.hashes.try_push(number_of(vm, lineage, object))?;
        let packed = vm.packed(&self.hashes)?;
        write::fill(vm, lineage.table, key, packed)
    }
}

/// Under which key of the weak table it stands.
fn key(vm: &mut Vm, name: Ref) -> Result<Ref> {
    let mut key = b"assigned in ".to_vec();
    vm.with_bytes(name, |name| key.extend_from_slice(name));
    vm.string(&key)
}

/// The number of the module's object; 0 for one that is no table.
fn number_of(vm: &Vm, lineage: Lineage, object: Ref) -> u64 {
    let number = lineage.of(vm, object).filter(|_| vm.val(object).is_table());
    number.map_or(0, i64::cast_unsigned)
}
