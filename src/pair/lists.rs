//! R5.4: registrations do not double.
//!
//! `HANDLERS[#HANDLERS+1] = M.on` runs again with A2. Where the table holds what the added function or table answers to, the
//! addition is dropped; the old entry follows its function (`What::Follow`) and so becomes the new one. Handlers that no name leads
//! to answer to each other by their order, when as many are added as the table holds, else by equal code.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Edge, Pairer, Slot, What};
use crate::error::Result;
use crate::mem::{TryInsert, TryPush, collected};
use crate::raw::vm::{Kind, Ref};

/// What was added to one table that existed: indices of slots.
type Added = Vec<usize>;

impl Pairer<'_> {
    /// Looks at every table into which A2's chunk put functions or tables under new integer keys. (Under another key it is a name,
    /// not a registration.)
    pub(super) fn lists(&mut self) -> Result<()> {
        let mut by_table: FxHashMap<usize, Added> = FxHashMap::default();
        for (i, slot) in self.out.slots.iter().enumerate() {
            if slot.change
                && slot.what == What::Add
                && matches!(self.vm.kind(slot.new), Kind::Function | Kind::Table)
                && self.vm.integer(slot.key).is_some()
            {
                let table = self.vm.val(slot.table).addr;
                if !by_table.contains_key(&table) {
                    by_table.try_insert_value(table, Added::new())?;
                }
                if let Some(added) = by_table.get_mut(&table) {
                    added.try_push(i)?;
                }
            }
        }
        let mut lists = collected(by_table.into_values().map(Ok))?;
        lists.sort_unstable(); // by the first slot: tables in the order in which they were met
        lists.iter().try_for_each(|added| self.list(added))
    }

    fn list(&mut self, added: &Added) -> Result<()> {
        let Some(Slot { table, parent, .. }) = added.first().and_then(|i| self.out.slots.get(*i)).copied() else {
            return Ok(());
        };
        let held = self.held_functions(table)?;
        let held_objects = self.held_objects(table)?;
        let mut rows = Vec::new();
        let mut nameless = Vec::new();
        for i in added {
            let Some(slot) = self.out.slots.get(*i).copied() else {
                continue;
            };
            let new = self.vm.val(slot.new);
            if !self.is_fresh(new) {
                if held_objects.contains(&new.addr) {
                    self.out.dropped.try_insert_value(*i, ())?; // a list that was shifted
                }
                continue;
            }
            if new.kind == Kind::Table {
                match self.counterpart_table(*i) {
                    Some(old) if held_objects.contains(&old) => {
                        self.out.dropped.try_insert_value(*i, ())?;
                    }
                    Some(_) => {}
                    None => rows.try_push((*i, self.vm.integer(slot.key).unwrap_or_default(), slot.new))?,
                }
                continue;
            }
            let Some(f2) = self.number2(new.addr) else {
                continue;
            };
            let Some(function) = self.out.new.get(f2 as usize) else {
                continue;
            };
            if held.iter().any(|(_, f1)| function.partners.contains(f1)) {
                self.out.dropped.try_insert_value(*i, ())?;
            } else if function.partners.is_empty()
                && let Some(key) = self.vm.integer(slot.key)
            {
                nameless.try_push((key, *i, f2))?;
            }
        }
        nameless.sort_unstable();
        self.nameless(&nameless, held)?;
        rows.sort_unstable_by_key(|(_, key, _)| *key);
        let by_key = collected(rows.iter().map(|(_, key, new)| Ok((*key, *new))))?;
        if !by_key.is_empty() {
            let found = self.match_rows(table, parent, &by_key)?;
            for (i, _, new) in rows {
                if found.contains(&new) {
                    self.out.dropped.try_insert_value(i, ())?;
                }
            }
        }
        self.close_up(table)
    }

    /// What is still appended to a list stands right behind its end, also when some of it was dropped.
    fn close_up(&mut self, table: Ref) -> Result<()> {
        let (address, end) = (self.vm.val(table).addr, self.vm.raw_len(table));
        let mut appended = Vec::new();
        for (i, slot) in self.out.slots.iter().enumerate() {
            if slot.change
                && slot.what == What::Add
                && self.vm.val(slot.table).addr == address
                && let Some(key) = self.vm.integer(slot.key).filter(|key| *key > end)
            {
                appended.try_push((key, i))?;
            }
        }
        appended.sort_unstable();
        let mut next = end + 1;
        for ((key, i), expected) in appended.into_iter().zip(end + 1..) {
            if key != expected {
                break; // not a list from here on
            }
            if self.out.dropped.contains(&i) {
                continue;
            }
            let place = self.vm.number(next)?;
            if let Some(slot) = self.out.slots.get_mut(i) {
                slot.key = place;
            }
            next += 1;
        }
        Ok(())
    }

    /// A1's table that the added one answers to.
    fn counterpart_table(&self, slot: usize) -> Option<usize> {
        let new = self.vm.val(self.out.slots.get(slot)?.new);
        self.out.tables.get(&new.addr).map(|old| self.vm.val(*old).addr)
    }

    /// The module's own functions that a table holds under integer keys or others, in the order of their keys.
    fn held_functions(&self, table: Ref) -> Result<Vec<(Option<i64>, u32)>> {
        let address = self.vm.val(table).addr;
        let mut held = Vec::new();
        for slot in &self.out.slots {
            if slot.what == What::Follow
                && self.vm.val(slot.table).addr == address
                && let Some(f1) = self.out.number1(self.vm.val(slot.old).addr)
            {
                held.try_push((self.vm.integer(slot.key), f1))?;
            }
        }
        held.sort_unstable();
        Ok(held)
    }

    /// The addresses of the tables and functions that a table holds.
    fn held_objects(&mut self, table: Ref) -> Result<FxHashSet<usize>> {
        let mut held = FxHashSet::default();
        self.vm.zip(table, Ref::NIL)?;
        while let Some(entry) = self.vm.zip_next() {
            if matches!(entry.new.kind, Kind::Table | Kind::Function) {
                held.try_insert_value(entry.new.addr, ())?;
            }
        }
        Ok(held)
    }

    /// Functions that no name leads to.
    fn nameless(&mut self, added: &[(i64, usize, u32)], held: Vec<(Option<i64>, u32)>) -> Result<()> {
        let free = held
            .into_iter()
            .filter(|(key, f1)| {
                key.is_some()
                    && self
                        .out
                        .old
                        .get(*f1 as usize)
                        .is_some_and(|function| function.answers.is_empty())
            })
            .map(|(_, f1)| Ok(f1));
        let mut free = collected(free)?;
        let in_order = free.len() == added.len();
        for (_, slot, f2) in added {
            let digest = self.out.new.get(*f2 as usize).map(|function| function.profile.digest);
            let same_code = |f1: &u32| {
                let old = self.out.old.get(*f1 as usize).and_then(|function| function.profile);
                old.is_some() && old.map(|profile| profile.digest) == digest
            };
            let place = if in_order {
                (!free.is_empty()).then_some(0)
            } else {
                free.iter().position(same_code)
            };
            if let Some(place) = place {
                self.edge(Edge {
                    f1: free.remove(place),
                    f2: *f2,
                })?;
                self.out.dropped.try_insert_value(*slot, ())?;
            }
        }
        Ok(())
    }
}
