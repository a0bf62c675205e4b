//! What has changed since it was looked at last.

use super::{Past, PastValue, Spot, Write};
use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Kind, Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::TryPush;

impl Past {
    /// The spot under a key of a remembered table, and what was last seen there.
    pub fn under(&mut self, vm: &mut Vm, number: u32, key: Ref) -> Result<(Spot, Ref)> {
        let spot = Spot::Slot(number, self.slot(vm, number, key)?);
        let now = self.held(spot).map_or(Ref::NIL, |held| held.now);
        Ok((spot, now))
    }

    /// Notes that a spot holds another value now.
    pub fn note(&mut self, spot: Spot, value: Ref) {
        if let Some(held) = self.held(spot) {
            held.now = value;
        }
    }

    /// Looks at one spot anew: what changed since it was looked at last goes to `writes`.
    fn look_at(&mut self, vm: &mut Vm, spot: Spot, writes: &mut Vec<Write>) -> Result<()> {
        let place = self.place(spot);
        let Some(held) = self.held(spot) else {
            return Ok(());
        };
        let old = held.now;
        if vm.place_holds(place, old)? {
            return Ok(());
        }
        let new = match place {
            Place::Value { table, key } => vm.get(table, key)?,
            Place::Metatable { of } => vm.metatable(of)?,
            Place::Upvalue { function, index } => vm.upvalue_value(function, index)?,
            _ => return Ok(()),
        };
        held.now = new;
        writes.try_push(Write { spot, old, new })
    }

    /// Looks at a variable anew.
    pub fn look_at_cell(&mut self, vm: &mut Vm, cell: u32, writes: &mut Vec<Write>) -> Result<()> {
        self.look_at(vm, Spot::Cell(cell), writes)
    }

    /// Looks at the slots of a table under `keys` anew, and at its metatable.
    pub fn look_under(
        &mut self,
        vm: &mut Vm,
        number: u32,
        keys: &[Ref],
        writes: &mut Vec<Write>,
    ) -> Result<()> {
        for key in keys {
            if matches!(vm.kind(*key), Kind::Nil) {
                continue;
            }
            let table = self.table(number);
            let known = self
                .tables
                .get(number as usize)
                .is_some_and(|table| table.by_key.contains_key(&vm.key_hash(*key)));
            // A key that the table never had, and has not now, needs no slot.
            if known || !vm.holds(table, *key, Ref::NIL) {
                let spot = Spot::Slot(number, self.slot(vm, number, *key)?);
                self.look_at(vm, spot, writes)?;
            }
        }
        if let Some(known) = self.tables.get_mut(number as usize) {
            known.border = vm.raw_len(known.table);
        }
        self.look_at_metatable(vm, number, writes)
    }

    /// Looks at the metatable of a table anew.
    fn look_at_metatable(
        &mut self,
        vm: &mut Vm,
        number: u32,
        writes: &mut Vec<Write>,
    ) -> Result<()> {
        let Some(known) = self.tables.get(number as usize) else {
            return Ok(());
        };
        if vm.metatable_val(known.table) == vm.val(known.metatable.now) {
            return Ok(());
        }
        self.look_at(vm, Spot::Metatable(number), writes)
    }

    /// Looks at every entry of a table anew.
    pub fn look_at_all(&mut self, vm: &mut Vm, number: u32, writes: &mut Vec<Write>) -> Result<()> {
        let table = self.table(number);
        if let Some(known) = self.tables.get(number as usize) {
            let there = known
                .keys
                .iter()
                .filter(|(_, held)| !vm.val(held.now).is_nil());
            if vm.is_as(table, there.map(|(key, held)| held.entry(*key))) {
                return self.look_at_metatable(vm, number, writes);
            }
        }
        let mut met = 0;
        let mut found = Vec::new();
        let mut cursor = vm.walk(table, Ref::NIL)?;
        while cursor.next(vm).is_some() {
            let Some(known) = self.tables.get(number as usize) else {
                continue;
            };
            let slot = known.by_key.get(&cursor.key_hash(vm)).copied();
            let slot =
                slot.and_then(|slot| known.keys.get(slot as usize).map(|known| (slot, *known)));
            match slot {
                Some((_, (key, held))) if cursor.is(vm, held.entry(key)) => met += 1,
                Some((_, (key, held))) if cursor.key_is(vm, key) => {
                    met += usize::from(held.now != Ref::NIL && !vm.val(held.now).is_nil());
                    found.try_push(cursor.keep_pair(vm)?)?;
                }
                _ => found.try_push(cursor.keep_pair(vm)?)?,
            }
        }
        for KeyValue { key, value: new } in found {
            let (spot, old) = self.under(vm, number, key)?;
            if !vm.same(old, new) {
                self.note(spot, new);
                writes.try_push(Write { spot, old, new })?;
            }
        }
        let there = |vm: &Vm, held: &PastValue| !vm.val(held.now).is_nil();
        let known = self
            .tables
            .get(number as usize)
            .map_or(&[][..], |table| &table.keys);
        if known.iter().filter(|(_, held)| there(vm, held)).count() > met {
            let mut gone = Vec::new();
            for ((key, held), slot) in known.iter().zip(0..) {
                if there(vm, held) && vm.holds(table, *key, Ref::NIL) {
                    gone.try_push((Spot::Slot(number, slot), held.now))?;
                }
            }
            for (spot, old) in gone {
                self.note(spot, Ref::NIL);
                writes.try_push(Write {
                    spot,
                    old,
                    new: Ref::NIL,
                })?;
            }
        }
        if let Some(known) = self.tables.get_mut(number as usize) {
            known.border = vm.raw_len(known.table);
        }
        self.look_at_metatable(vm, number, writes)
    }

    /// Did a list change but at its end? Then a look at its end alone is not enough.
    pub fn is_shifted(&mut self, vm: &mut Vm, number: u32) -> Result<bool> {
        let Some(known) = self.tables.get(number as usize) else {
            return Ok(false);
        };
        let (table, border) = (known.table, known.border);
        if border == 0 || vm.raw_len(table) == border {
            return Ok(false);
        }
        let key = vm.number(border)?;
        let (_, old) = self.under(vm, number, key)?;
        Ok(!vm.holds(table, key, old))
    }
}
