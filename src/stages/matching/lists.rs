//! R5.4: registrations do not double.
//!
//! `HANDLERS[#HANDLERS+1] = M.on` runs again with A2. Where the table holds what the added function
//! or table answers to, the addition is dropped; the old entry follows its function
//! (`What::Follow`) and so becomes the new one. Handlers that no name leads to answer to each other
//! by their order, when as many are added as the table holds, else by equal code.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Action, Edge, Pairer, SlotDecision};
use crate::code::Digest;
use crate::lua::vm::{Kind, Ref};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// A table that existed, to which A2's chunk added functions or tables.
#[derive(Default)]
struct List {
    /// What was added: indices of slots.
    added: Vec<usize>,
    /// The same with plain values, each with its key.
    appended: Vec<(i64, usize)>,
    /// The module's own functions that it holds, with their integer keys.
    held: Vec<(Option<i64>, u32)>,
}

impl Pairer<'_> {
    /// Looks at every table into which A2's chunk put functions or tables under new integer keys.
    /// (Under another key it is a name, not a registration.)
    pub(super) fn lists(&mut self) -> Result<()> {
        let mut by_table: FxHashMap<usize, List> = FxHashMap::default();
        for (i, slot) in self.out.slots.iter().enumerate() {
            if slot.change
                && slot.action == Action::Add
                && matches!(self.vm.kind(slot.new), Kind::Function | Kind::Table)
                && self.vm.integer(slot.key).is_some()
            {
                let table = self.vm.val(slot.table).addr;
                if !by_table.contains_key(&table) {
                    by_table.try_insert_value(table, List::default())?;
                }
                if let Some(list) = by_table.get_mut(&table) {
                    list.added.try_push(i)?;
                }
            }
        }
        if by_table.is_empty() {
            return Ok(());
        }
        for (i, slot) in self.out.slots.iter().enumerate() {
            let Some(list) = by_table.get_mut(&self.vm.val(slot.table).addr) else {
                continue;
            };
            let key = self.vm.integer(slot.key);
            if let Some(key) = key.filter(|_| slot.change && slot.action == Action::Add) {
                list.appended.try_push((key, i))?;
            } else if slot.action == Action::Follow
                && let Some(f1) = self.out.number1(self.vm.val(slot.old).addr)
            {
                list.held.try_push((key, f1))?;
            }
        }
        let mut lists = collected(by_table.into_values().map(Ok))?;
        // By the first slot: tables in the order in which they were met.
        lists.sort_unstable_by_key(|list| list.added.first().copied());
        lists.into_iter().try_for_each(|list| self.list(list))
    }

    fn list(&mut self, list: List) -> Result<()> {
        let List {
            added,
            appended,
            mut held,
        } = list;
        let Some(SlotDecision { table, parent, .. }) =
            added.first().and_then(|i| self.out.slots.get(*i)).copied()
        else {
            return Ok(());
        };
        held.sort_unstable(); // in the order of their keys
        let mut held_numbers = FxHashSet::default();
        for (_, f1) in &held {
            held_numbers.try_insert_value(*f1, ())?;
        }
        let held_objects = self.held_objects(table)?;
        let mut rows = Vec::new();
        let mut nameless = Vec::new();
        for i in &added {
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
                    None => rows.try_push((
                        *i,
                        self.vm.integer(slot.key).unwrap_or_default(),
                        slot.new,
                    ))?,
                }
                continue;
            }
            let Some(f2) = self.number2(new.addr) else {
                continue;
            };
            let Some(function) = self.out.new.get(f2 as usize) else {
                continue;
            };
            if function.partners.iter().any(|f1| held_numbers.contains(f1)) {
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
        self.close_up(table, appended)
    }

    /// What is still appended to a list stands right behind its end, also when some of it was
    /// dropped.
    fn close_up(&mut self, table: Ref, mut appended: Vec<(i64, usize)>) -> Result<()> {
        let end = self.vm.raw_len(table);
        appended.retain(|(key, _)| *key > end);
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
        self.out
            .tables
            .get(&new.addr)
            .map(|old| self.vm.val(*old).addr)
    }

    /// The addresses of the tables and functions that a table holds.
    fn held_objects(&mut self, table: Ref) -> Result<FxHashSet<usize>> {
        let mut held = FxHashSet::default();
        let mut cursor = self.vm.walk(table, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            if matches!(entry.new.kind, Kind::Table | Kind::Function) {
                held.try_insert_value(entry.new.addr, ())?;
            }
        }
        Ok(held)
    }

    /// Functions that no name leads to.
    fn nameless(
        &mut self,
        added: &[(i64, usize, u32)],
        held: Vec<(Option<i64>, u32)>,
    ) -> Result<()> {
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
        let free = collected(free)?;
        let function = |f1: &u32| self.out.old.get(*f1 as usize).map(|function| function.at);
        let mut free = self.loaded.ownership.certain(self.vm, free, function)?;
        free.reverse(); // the first are taken off the end
        let in_order = free.len() == added.len();
        // Without their order: by their code.
        let mut by_code: FxHashMap<Digest, Vec<u32>> = FxHashMap::default();
        if !in_order {
            for f1 in &free {
                self.know_code(*f1)?;
                let Some(profile) = self
                    .out
                    .old
                    .get(*f1 as usize)
                    .and_then(|function| function.profile)
                else {
                    continue;
                };
                if !by_code.contains_key(&profile.digest) {
                    by_code.try_insert_value(profile.digest, Vec::new())?;
                }
                if let Some(same_code) = by_code.get_mut(&profile.digest) {
                    same_code.try_push(*f1)?;
                }
            }
        }
        for (_, slot, f2) in added {
            let digest = self
                .out
                .new
                .get(*f2 as usize)
                .map(|function| function.profile.digest);
            let first = match in_order {
                true => free.pop(),
                false => digest.and_then(|digest| by_code.get_mut(&digest)?.pop()),
            };
            if let Some(f1) = first {
                self.edge(Edge { f1, f2: *f2 })?;
                self.out.dropped.try_insert_value(*slot, ())?;
            }
        }
        Ok(())
    }
}
