//! R3.1: by which locals the functions of both sides know tables, which tells a table's own place from a reference to it.
//!
//! `M.current = Idle` becomes `M.current = Alarm` in the file: the place now leads to another table, and says nothing of what either
//! is. Their locals do: A1's table is known as `Idle`, which is another table in A2, and A2's as `Alarm`, which A1 has, too.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Pairer;
use super::cells::Name;
use crate::error::Result;
use crate::mem::{TryInsert, TryPush};
use crate::raw::vm::Ref;

/// Of two tables so many functions are looked at for who knows them, at most.
const PEEKED: usize = 8;

/// A table that a local holds.
#[derive(Clone, Copy)]
struct Held {
    table: usize,
    /// The cell's address.
    cell: usize,
}

/// The tables of one side, by the locals that hold them.
#[derive(Default)]
pub(super) struct Named {
    /// None where several locals have the name.
    tables: FxHashMap<Name, Option<Held>>,
    names: FxHashMap<usize, SmallVec<[Name; 2]>>,
}

impl Named {
    /// Notes what a local holds.
    pub(super) fn note(&mut self, name: Name, table: usize, cell: usize) -> Result<()> {
        match self.tables.get_mut(&name) {
            Some(Some(known)) if known.cell == cell => return Ok(()),
            Some(known) => *known = None,
            None => {
                self.tables.try_insert_value(name, Some(Held { table, cell }))?;
            }
        }
        if !self.names.contains_key(&table) {
            self.names.try_insert_value(table, SmallVec::new())?;
        }
        match self.names.get_mut(&table) {
            Some(names) if !names.contains(&name) => names.try_push(name),
            _ => Ok(()),
        }
    }

    /// The names of a table, but for one.
    fn names(&self, table: usize, but: Option<Name>) -> impl Iterator<Item = Name> {
        let names = self.names.get(&table).map_or(&[][..], SmallVec::as_slice);
        names.iter().copied().filter(move |name| Some(*name) != but)
    }

    /// What the local of this name holds; none where that is no table, or nobody knows which.
    fn table(&self, name: Name) -> Option<usize> {
        self.tables.get(&name).copied().flatten().map(|held| held.table)
    }
}

impl Pairer<'_> {
    /// Does a place that has one table in A1 and another one in A2 rather lead elsewhere by now than say that the two are one? `own` is
    /// the name of the local that is the place, if it is one.
    pub(super) fn leads_elsewhere(&mut self, old: Ref, new: Ref, own: Option<Name>) -> Result<bool> {
        let (old_addr, new_addr) = (self.vm.val(old).addr, self.vm.val(new).addr);
        let (named1, named2) = (&self.named1, &self.named2);
        let is_other = |table: Option<usize>, one: usize| table.is_some_and(|table| table != one);
        let old_is_other = named1
            .names(old_addr, own)
            .any(|name| is_other(named2.table(name), new_addr));
        let new_is_other = named2
            .names(new_addr, own)
            .any(|name| is_other(named1.table(name), old_addr));
        // Each has names, and none that the other one has.
        let are_strangers = || {
            let is_shared = |name| named1.names(old_addr, own).any(|known| known == name);
            let mut names = named2.names(new_addr, own).peekable();
            names.peek().is_some() && named1.names(old_addr, own).next().is_some() && !names.any(is_shared)
        };
        if old_is_other && new_is_other || are_strangers() {
            return Ok(true);
        }
        Ok(new_is_other && !self.has_own_function(old)?)
    }

    /// Looks at functions that two tables have in common, those that A2 made first: a class knows itself by its file's local for it.
    pub(super) fn peek(&mut self, old: Ref, new: Ref) -> Result<()> {
        let (mark, mut found) = (self.vm.held(), SmallVec::<[(u32, Ref, Ref); PEEKED + 1]>::new());
        self.vm.zip(new, Ref::NIL)?;
        while let Some(entry) = self.vm.zip_next() {
            if !entry.new.is_function() {
                continue;
            }
            let Some(order) = self.loaded.fresh.order(entry.new.addr) else {
                continue;
            };
            // Few of the functions of a large table come to this: only for these A1's is looked up.
            let place = found.partition_point(|(known, ..)| *known < order);
            if place < PEEKED {
                let value = self.vm.zip_keep_pair()?;
                let other = self.vm.get(old, value.after(1))?;
                if self.vm.val(other).is_function() {
                    found.insert(place, (order, value, other));
                    found.truncate(PEEKED);
                }
            }
        }
        for (_, value, other) in found {
            for (function, is_new) in [(value, true), (other, false)] {
                let Some(info) = self.vm.info(function).filter(|info| info.lua) else {
                    continue;
                };
                if !self.loaded.home.owns(self.vm, function, &info)? {
                    continue;
                }
                for index in 1..=info.upvalues {
                    let held = self.vm.upvalue(function, index).filter(|held| held.value.is_table());
                    if let Some(held) = held {
                        let name = self.name(function, index)?;
                        let named = if is_new { &mut self.named2 } else { &mut self.named1 };
                        named.note(name, held.value.addr, held.cell)?;
                    }
                }
            }
        }
        self.vm.release(mark);
        Ok(())
    }
}
