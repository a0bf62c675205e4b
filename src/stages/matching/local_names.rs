//! R3.1: by which locals the functions of both sides know tables, which tells a table's own place
//! from a reference to it.
//!
//! `M.current = Idle` becomes `M.current = Alarm` in the file: the place now leads to another
//! table, and says nothing of what either is. Their locals do: the running table is known as
//! `Idle`, which is another table in the incoming version, and the incoming one as `Alarm`, which
//! the running version has, too.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::Pairer;
use super::cells::Name;
use crate::lua::vm::Ref;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// A table that a local holds.
#[derive(Clone, Copy)]
struct Held {
    table: usize,
    /// The cell's address.
    cell: usize,
}

/// The tables of one side, by the locals that hold them.
#[derive(Default)]
pub(super) struct LocalNames {
    /// None where several locals have the name.
    tables: FxHashMap<Name, Option<Held>>,
    names: FxHashMap<usize, SmallVec<[Name; 2]>>,
    /// The cells that some function is known to assign before pairing meets it.
    assigned: FxHashSet<usize>,
}

impl LocalNames {
    /// Does a local hold the table?
    pub(super) fn has_name(&self, table: usize) -> bool {
        self.names.contains_key(&table)
    }

    /// Notes that some function assigns a cell.
    pub(super) fn note_assigned(&mut self, cell: usize) -> Result<()> {
        self.assigned.try_insert_value(cell, ()).map(|_| ())
    }

    /// Notes what a local holds.
    pub(super) fn note(&mut self, name: Name, table: usize, cell: usize) -> Result<()> {
        let mut is_new = false;
        match self.tables.get_mut(&name) {
            Some(Some(known)) if known.cell == cell => return Ok(()),
            Some(known) => *known = None,
            None => {
                is_new = true;
                self.tables
                    .try_insert_value(name, Some(Held { table, cell }))?;
            }
        }
        if !self.names.contains_key(&table) {
            self.names.try_insert_value(table, SmallVec::new())?;
        }
        match self.names.get_mut(&table) {
            Some(names) if is_new || !names.contains(&name) => names.try_push(name),
            _ => Ok(()),
        }
    }
}

/// Which side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    A1,
    A2,
}

impl Pairer<'_> {
    /// Notes what the running locals functions hold, as far as these are known before anything is
    /// paired.
    pub(super) fn name_tables(&mut self) -> Result<()> {
        for (function, index, table) in std::mem::take(&mut self.out.known.tables) {
            let name = self.name(function, index)?;
            let cell = self.vm.cell(function, index);
            self.local_names1.note(name, table, cell)?;
            if self.was_assigned_in(function, index) {
                self.local_names1.note_assigned(cell)?;
            }
        }
        Ok(())
    }

    fn local_names(&self, side: Side) -> &LocalNames {
        match side {
            Side::A1 => &self.local_names1,
            Side::A2 => &self.local_names2,
        }
    }

    /// What the local of this name holds; none where that is no table, or nobody knows which.
    fn held(&self, side: Side, name: Name) -> Option<Held> {
        self.local_names(side).tables.get(&name).copied().flatten()
    }

    /// Does some function assign the local of this name? Then what it holds is state, and tells
    /// nothing.
    fn is_variable(&self, name: Name) -> bool {
        let old = self
            .held(Side::A1, name)
            .and_then(|held| self.out.known.cell_number(held.cell));
        let old = old.and_then(|number| self.cells1.get(number));
        let new = self
            .held(Side::A2, name)
            .and_then(|held| self.cells2.get(&held.cell));
        let is_assigned = |side| {
            let held = self.held(side, name);
            held.is_some_and(|held| self.local_names(side).assigned.contains(&held.cell))
        };
        is_assigned(Side::A1)
            || is_assigned(Side::A2)
            || old
                .and_then(|cell| self.out.old_cells.get(cell as usize))
                .is_some_and(|cell| cell.assigned)
            || new
                .and_then(|cell| self.out.new_cells.get(*cell as usize))
                .is_some_and(|cell| cell.assigned)
    }

    /// The names of a table, but for one.
    fn names(&self, side: Side, table: usize, but: Option<Name>) -> impl Iterator<Item = Name> {
        let names = self
            .local_names(side)
            .names
            .get(&table)
            .map_or(&[][..], SmallVec::as_slice);
        let names = names.iter().copied();
        names.filter(move |name| Some(*name) != but && !self.is_variable(*name))
    }

    /// Does a local that one side has for this table hold another one than `answer` on the other
    /// side? `alone`: and one that no other local of the two sides speaks for.
    fn is_another(
        &self,
        side: Side,
        table: usize,
        answer: usize,
        own: Option<Name>,
        alone: bool,
    ) -> bool {
        let other = if side == Side::A1 { Side::A2 } else { Side::A1 };
        self.names(side, table, own).any(|name| {
            self.held(other, name).is_some_and(|found| {
                let mut names = self.names(other, found.table, None);
                let speaks_for =
                    |name| self.held(side, name).is_none_or(|held| held.table == table);
                found.table != answer && (!alone || names.all(speaks_for))
            })
        })
    }

    /// Does a place that has one table in the running version and another one in the incoming
    /// version rather lead elsewhere by now than say that the two are one? `own` is the name of the
    /// local that is the place, if it is one.
    pub(super) fn names_contradict(
        &mut self,
        old: Ref,
        new: Ref,
        own: Option<Name>,
    ) -> Result<bool> {
        let (old_addr, new_addr) = (self.vm.val(old).addr, self.vm.val(new).addr);
        let old_is_another = |alone| self.is_another(Side::A1, old_addr, new_addr, own, alone);
        let new_is_another = self.is_another(Side::A2, new_addr, old_addr, own, false);
        // Each has names, and none that the other one has.
        let are_strangers = || {
            let is_shared = |name| {
                self.names(Side::A1, old_addr, own)
                    .any(|known| known == name)
            };
            let mut names = self.names(Side::A2, new_addr, own).peekable();
            let both_have =
                names.peek().is_some() && self.names(Side::A1, old_addr, own).next().is_some();
            both_have && !names.any(is_shared)
        };
        if new_is_another && old_is_another(false) || are_strangers() {
            return Ok(true);
        }
        if own.is_none() {
            return Ok(old_is_another(true) || new_is_another && !self.has_own_function(old, new)?);
        }
        // Fields come before locals, where each of the two has one that still waits.
        Ok(self.references.both_lead_elsewhere(old_addr, new_addr))
    }
}
