//! Calls that the last load did not make and that answer to an older entry: the entry may be that
//! of a recorded call, which is then made anew instead of being taken for one whose entry the
//! program has removed (R5.8).

use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::past::{Spot, Write};
use super::{Effects, GIVEN_DEPTH, MOST_GIVEN, OpenCall};
use crate::lua::tracker::Creations;
use crate::lua::vm::{KeyValue, Kind, Ref, Vm};
use crate::support::error::Result;

/// How many entries such calls have got, by the function that was called and the shape of what it
/// added.
#[derive(Default)]
pub struct Taken(FxHashMap<(usize, u64), u32>);

/// What a value is called in a shape.
type Word = (Kind, u64);

/// An entry has other numbers each time: an index, an id, a time.
const ANY_NUMBER: Word = (Kind::Number, 0);

impl Effects<'_> {
    /// A call that the last load did not make has got an older entry.
    pub(super) fn note_taken(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        writes: &[Write],
    ) -> Result<()> {
        let shape = self.shape_of(vm, made, call, writes)?;
        self.taken.0.try_reserve(1)?;
        *self.taken.0.entry(shape).or_default() += 1;
        Ok(())
    }

    /// May such a call have got the entry of this one? It is asked once for each.
    pub(super) fn give_back(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        writes: &[Write],
    ) -> Result<bool> {
        if self.taken.0.is_empty() {
            return Ok(false);
        }
        let shape = self.shape_of(vm, made, call, writes)?;
        let taken = self.taken.0.get_mut(&shape).filter(|taken| **taken > 0);
        Ok(taken.is_some_and(|taken| {
            *taken -= 1;
            true
        }))
    }

    /// What a call has added, and where, but for numbers. For example `bus.on("hit", M.on_hit)` and
    /// `bus.on("hot", M.on_hit)` have one shape if the bus appends only the function to one list.
    fn shape_of(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        writes: &[Write],
    ) -> Result<(usize, u64)> {
        let mut shape = 0;
        for write in writes {
            let container = match write.spot {
                Spot::Slot(table, _) => (0, table),
                Spot::Metatable(table) => (1, table),
                Spot::Cell(cell) => (2, cell),
            };
            let key = self.past.key(write.spot).unwrap_or_default();
            let key = self.word(vm, made, key, 0)?;
            let value = self.word(vm, made, write.new, GIVEN_DEPTH)?;
            shape = sum(shape, (container, key, value));
        }
        Ok((vm.val(call.function).addr, shape))
    }

    fn word(&mut self, vm: &mut Vm, made: Creations<'_>, value: Ref, depth: u32) -> Result<Word> {
        let val = vm.val(value);
        if val.kind == Kind::Number {
            return Ok(ANY_NUMBER);
        }
        if !self.is_new(made, val) {
            return Ok(vm.key_hash(value));
        }
        let mut shape = 0;
        if val.is_function() {
            let chunk = (self.chunk, self.chunk_at);
            shape = FxBuildHasher.hash_one(self.names.name_of(vm, made, chunk, value)?);
        } else if val.is_table() && depth > 0 {
            for KeyValue { key, value } in vm.keep_some(value, MOST_GIVEN)?.iter() {
                let key = self.word(vm, made, key, 0)?;
                let value = self.word(vm, made, value, depth - 1)?;
                shape = sum(shape, (key, value));
            }
        }
        Ok((val.kind, shape))
    }
}

/// A sum does not depend on the order of a table.
fn sum(shape: u64, part: impl std::hash::Hash) -> u64 {
    shape.wrapping_add(FxBuildHasher.hash_one(part))
}
