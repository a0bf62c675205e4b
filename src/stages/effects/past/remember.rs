//! What a call may change is remembered, before the call runs.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::{Cell, Past, PastTable, PastValue, Spot};
use crate::lua::vm::{KeyValue, Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

impl Past {
    /// Remembers a table, as far as the budget goes, and returns its number, and whether it is a
    /// new one.
    pub fn see_table(&mut self, vm: &mut Vm, table: Ref) -> Result<(u32, bool)> {
        let address = vm.val(table).addr;
        self.by_address.try_reserve(1)?;
        let number = self.tables.len() as u32;
        match self.by_address.entry(address) {
            Entry::Occupied(known) => return Ok((*known.get(), false)),
            Entry::Vacant(place) => place.insert(number),
        };
        let entries = vm.keep_at_most(table, self.budget)?;
        let whole = entries.is_some();
        let entries = entries.unwrap_or_default();
        let count = entries.len() as usize;
        self.budget -= count;
        self.entries += count;
        let (mut keys, mut by_key) = (Vec::new(), FxHashMap::default());
        keys.try_reserve_exact(count)?;
        by_key.try_reserve(count)?;
        for (KeyValue { key, value }, i) in entries.iter().zip(0..) {
            by_key.try_insert_value(vm.key_hash(key), i)?;
            keys.push((key, PastValue::of(value)));
        }
        let metatable = PastValue::of(vm.metatable(table)?);
        self.tables.try_push(PastTable {
            table,
            keys,
            by_key,
            metatable,
            border: vm.raw_len(table),
            end: vm.raw_len(table),
            behind: 0,
            whole,
        })?;
        Ok((number, true))
    }

    /// Remembers the `i`-th variable of a function, and returns its number.
    pub fn see_cell(&mut self, vm: &mut Vm, function: Ref, index: u8) -> Result<u32> {
        let id = vm.cell(function, index);
        if let Some(known) = self.by_cell.get(&id) {
            return Ok(*known);
        }
        let number = self.cells.len() as u32;
        let held = PastValue::of(vm.upvalue_value(function, index)?);
        self.by_cell.try_insert_value(id, number)?;
        self.cells.try_push(Cell {
            function,
            index,
            held,
        })?;
        Ok(number)
    }

    /// Remembers what stands under a key of a table that is not remembered whole, before a call
    /// runs.
    pub fn look_ahead(&mut self, vm: &mut Vm, number: u32, key: Ref) -> Result<()> {
        let count = self.len(number);
        let slot = self.slot(vm, number, key)?;
        if slot as usize == count
            && let Some(held) = self.held(Spot::Slot(number, slot))
        {
            held.in_time = true;
        }
        Ok(())
    }

    /// The number of a table's slot under a key; a new one, empty before the load, where there was
    /// none.
    pub(super) fn slot(&mut self, vm: &mut Vm, number: u32, key: Ref) -> Result<u32> {
        let Some(table) = self.tables.get_mut(number as usize) else {
            return Ok(0);
        };
        let identity = vm.key_hash(key);
        let is_key = |slot: u32| {
            table
                .keys
                .get(slot as usize)
                .is_some_and(|(own, _)| vm.raw_equal(*own, key))
        };
        match table.by_key.get(&identity).copied() {
            Some(slot) if is_key(slot) => return Ok(slot),
            Some(_) => {
                if let Some(slot) = (0..table.keys.len() as u32).find(|slot| is_key(*slot)) {
                    return Ok(slot);
                }
            }
            None => {}
        }
        let slot = table.keys.len() as u32;
        let is_empty = table.whole
            || vm
                .integer(key)
                .is_some_and(|integer| integer > table.border);
        let before = if is_empty {
            Ref::NIL
        } else {
            vm.get(table.table, key)?
        };
        table.by_key.try_insert_value(identity, slot)?;
        table.keys.try_push((key, PastValue::of(before)))?;
        self.entries += 1;
        Ok(slot)
    }
}
