//! All that calls out of the chunk may have changed is put back.

use super::{Past, Spot};
use crate::lua::heap::Place;
use crate::lua::vm::{Ref, TableCursor, Vm};
use crate::lua::write::{self, Permit};

impl Past {
    /// Hands each place that is known to `each`, with what it held before the load. Allocates
    /// nothing.
    pub fn each(&self, vm: &mut Vm, mut each: impl FnMut(&mut Vm, Place, Ref)) {
        for (table, number) in self.tables.iter().zip(0..) {
            for ((key, held), slot) in table.keys.iter().zip(0..) {
                if self.is_known(vm, Spot::Slot(number, slot)) {
                    let place = Place::Value {
                        table: table.table,
                        key: *key,
                    };
                    each(vm, place, held.initial);
                }
            }
            each(
                vm,
                Place::Metatable { of: table.table },
                table.metatable.initial,
            );
        }
        for cell in &self.cells {
            let place = Place::Upvalue {
                function: cell.function,
                index: cell.index,
            };
            each(vm, place, cell.held.initial);
        }
    }

    /// Is the key at which a walk over the table with this number is one of those that are
    /// remembered?
    pub fn knows_key(&self, vm: &Vm, cursor: &TableCursor, number: u32) -> bool {
        let Some(table) = self.tables.get(number as usize) else {
            return true;
        };
        let slot = table.by_key.get(&cursor.key_hash(vm));
        let is_key = |slot: u32| {
            table
                .keys
                .get(slot as usize)
                .is_some_and(|(key, _)| cursor.key_is(vm, *key))
        };
        slot.is_some_and(|slot| is_key(*slot) || (0..table.keys.len() as u32).any(is_key))
    }

    /// Puts all back that calls out of the chunk may have changed, change or not. Allocates nothing
    /// but what the tables need. Returns how many places could not be put back.
    pub fn restore(&self, vm: &mut Vm, permit: Permit) -> usize {
        let mut left = 0;
        vm.end_walk(); // a walk that has failed
        for number in 0..self.counts().0 {
            if self.is_whole(number) {
                write::keep_known(vm, permit, self.table(number), |vm, cursor| {
                    self.knows_key(vm, cursor, number)
                });
            }
        }
        self.each(vm, |vm, place, old| {
            left += write::put_back_place(vm, permit, place, old)
        });
        left
    }
}
