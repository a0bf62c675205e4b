//! What the incoming chunk left behind: each of its tables and functions, met once.
//!
//! One walk from what the chunk returned and what it wrote notes what every fresh table holds,
//! which cells every fresh function has. So all of that is known before anything is paired, and
//! pairing reads lists.
//! What the walk did not come to is looked at when it is asked for.

use std::ops::Range;

use super::{EntryPair, Pairer};
use crate::lua::vm::{Info, Kept, KeptUpvalue, KeyValue, Kind, Ref, Val};
use crate::model::objects::{CellLists, DenseMap};
use crate::support::error::Result;
use crate::support::mem::{TryPush, collected, copied};

/// Entries of the incoming tables that the walk looks at; the tables of a file with more are looked
/// at one by one.
const MOST_ENTRIES: usize = 20_000;

/// An entry of an incoming table.
#[derive(Clone, Copy)]
pub(super) struct IncomingEntry {
    /// The key and the value.
    pub(super) entry: KeyValue,
    /// What the value is…
    pub(super) val: Val,
    /// …and its place in the order of creation, where it is fresh.
    pub(super) order: Option<u32>,
}

impl IncomingEntry {
    /// The entry beside what the running version has under its key.
    pub(super) fn entry_pair(self, old: Ref, old_val: Val) -> EntryPair {
        EntryPair {
            key: self.entry.key,
            new: self.entry.value,
            old,
            new_val: self.val,
            old_val,
            order: self.order,
        }
    }
}

/// A fresh Lua function.
#[derive(Clone, Copy)]
pub(super) struct IncomingFunction {
    /// The function.
    pub(super) at: Ref,
    /// What `lua_getinfo` says.
    pub(super) info: Info,
    /// The module's own.
    pub(super) own: bool,
    /// The number of its list of cells.
    pub(super) list: u32,
}

/// What is known of the incoming version. Objects go by their place in the order of creation.
#[derive(Default)]
pub(super) struct IncomingGraph {
    items: Vec<IncomingEntry>,
    /// Of each table that was looked at, the first item and the one behind its last.
    tables: DenseMap,
    ranges: Vec<(u32, u32)>,
    /// The same entries as they are kept.
    kept: Vec<Kept<KeyValue>>,
    functions: DenseMap,
    infos: Vec<IncomingFunction>,
    /// The lists of cells of its functions.
    pub(super) lists: CellLists,
    /// What each cell holds, and the name that the first function with it has for it.
    held: Vec<KeptUpvalue>,
}

impl IncomingGraph {
    /// Makes room for so many functions and cells, of so many objects.
    pub(super) fn reserve(&mut self, functions: usize, cells: usize, objects: usize) -> Result<()> {
        self.items.try_reserve(functions + functions / 4)?;
        self.infos.try_reserve(functions)?;
        self.lists.reserve(functions)?;
        self.lists.reserve_cells(cells)?;
        self.held.try_reserve(cells)?;
        self.functions.reserve(objects)?;
        self.tables.reserve(objects)
    }

    /// The module's own functions that were met.
    pub(super) fn own_functions(&self) -> impl Iterator<Item = &IncomingFunction> {
        self.infos.iter().filter(|function| function.own)
    }

    /// An entry by its number.
    pub(super) fn item(&self, number: u32) -> Option<IncomingEntry> {
        self.items.get(number as usize).copied()
    }

    /// The entries of a table with this place in the order of creation, if it was looked at.
    pub(super) fn entries(&self, order: u32) -> Option<Kept<KeyValue>> {
        let number = self.tables.get(order)?;
        self.kept.get(number as usize).copied()
    }

    /// What a cell holds.
    pub(super) fn held(&self, cell: u32) -> KeptUpvalue {
        self.held.get(cell as usize).copied().unwrap_or_default()
    }

    fn knows(&self, val: Val, order: u32) -> bool {
        let known = if val.is_table() {
            &self.tables
        } else {
            &self.functions
        };
        known.get(order).is_some()
    }
}

impl Pairer<'_> {
    /// Where a table or incoming function stands in the order of creation; none for what is not
    /// fresh.
    #[inline]
    pub(super) fn order_of(&self, val: Val) -> Option<u32> {
        match val.kind {
            Kind::Table | Kind::Function => self.loaded.fresh.order(val.addr),
            _ => None,
        }
    }

    /// Walks the incoming version.
    pub(super) fn build_graph(&mut self) -> Result<()> {
        let mut work = Vec::new();
        self.graph_from(self.loaded.value, &mut work)?;
        for i in 0..self.loaded.changes.len() {
            let Some(new) = self.loaded.changes.get(i).map(|change| change.new) else {
                break;
            };
            self.graph_from(new, &mut work)?;
        }
        let left = &self.loaded.left;
        let placed = copied(&left.roots)?
            .into_iter()
            .chain(left.pairs.iter().map(|(new, _)| *new));
        for new in collected(placed.map(Ok))? {
            self.graph_from(new, &mut work)?;
        }
        while let Some((object, order)) = work.pop() {
            if !self.vm.val(object).is_table() {
                self.graph_function(object, order, &mut work)?;
            } else if !self.graph_table(object, order, &mut work)? {
                break;
            }
        }
        Ok(())
    }

    fn graph_from(&mut self, object: Ref, work: &mut Vec<(Ref, u32)>) -> Result<()> {
        match self.order_of(self.vm.val(object)) {
            Some(order) => work.try_push((object, order)),
            None => Ok(()),
        }
    }

    /// Goes on from what a table holds. False when there is too much.
    fn graph_table(&mut self, table: Ref, order: u32, work: &mut Vec<(Ref, u32)>) -> Result<bool> {
        if self.graph.tables.get(order).is_some() {
            return Ok(true);
        }
        let rest = MOST_ENTRIES.saturating_sub(self.graph.items.len());
        let Some(items) = self.keep_items(table, order, rest)? else {
            return Ok(false);
        };
        for item in items {
            let Some(item) = self.graph.item(item) else {
                break;
            };
            let Some(found) = item.order else {
                continue;
            };
            if !self.graph.knows(item.val, found) {
                work.try_push((item.entry.value, found))?;
            }
        }
        let metatable = self.vm.metatable_val(table);
        if let Some(found) = self.order_of(metatable)
            && !self.graph.knows(metatable, found)
        {
            work.try_push((self.vm.metatable(table)?, found))?;
        }
        Ok(true)
    }

    /// Goes on from what the cells of a function hold.
    fn graph_function(
        &mut self,
        function: Ref,
        order: u32,
        work: &mut Vec<(Ref, u32)>,
    ) -> Result<()> {
        let met = self.graph.held.len();
        self.graph_node(function, order)?;
        // What was met before holds the same in all functions.
        for held in self.graph.held.get(met..).unwrap_or_default() {
            if let Some(found) = self.order_of(held.val)
                && !self.graph.knows(held.val, found)
            {
                work.try_push((held.value, found))?;
            }
        }
        Ok(())
    }

    /// What is known of a fresh function; none for one that is written in C.
    pub(super) fn graph_node(
        &mut self,
        function: Ref,
        order: u32,
    ) -> Result<Option<IncomingFunction>> {
        if let Some(number) = self.graph.functions.get(order) {
            return Ok(self.graph.infos.get(number as usize).copied());
        }
        let Some(info) = self.vm.info(function)?.filter(|info| info.lua) else {
            return Ok(None);
        };
        let own = self.loaded.ownership.owns(self.vm, function, &info)?;
        let cells = self.vm.cells(function, info.upvalues)?;
        let (list, first) = self.graph.lists.number(cells)?;
        let new = self.graph.lists.cells(list).iter().zip(1..);
        for (cell, index) in new.filter(|_| first) {
            if *cell as usize == self.graph.held.len() {
                let held = self.vm.keep_upvalue(function, index)?;
                self.graph.held.try_push(held)?;
            }
        }
        let found = IncomingFunction {
            at: function,
            info,
            own,
            list,
        };
        self.graph
            .functions
            .set(order, self.graph.infos.len() as u32)?;
        self.graph.infos.try_push(found)?;
        Ok(Some(found))
    }

    /// What a fresh table holds: numbers of entries. They stay held until pairing ends.
    pub(super) fn items(&mut self, table: Ref, order: u32) -> Result<Range<u32>> {
        if let Some(number) = self.graph.tables.get(order) {
            let range = self.graph.ranges.get(number as usize).copied();
            let (start, end) = range.unwrap_or_default();
            return Ok(start..end);
        }
        Ok(self
            .keep_items(table, order, usize::MAX)?
            .unwrap_or_default())
    }

    /// Lists what a table holds; none where that is more than `most`.
    fn keep_items(&mut self, table: Ref, order: u32, most: usize) -> Result<Option<Range<u32>>> {
        let Some(entries) = self.vm.keep_at_most(table, most)? else {
            return Ok(None);
        };
        let start = self.graph.items.len() as u32;
        self.graph.items.try_reserve(entries.len() as usize)?;
        for entry in entries.iter() {
            let val = self.vm.val(entry.value);
            let order = self.order_of(val);
            self.graph
                .items
                .try_push(IncomingEntry { entry, val, order })?;
        }
        let end = start + entries.len();
        self.graph
            .tables
            .set(order, self.graph.ranges.len() as u32)?;
        self.graph.ranges.try_push((start, end))?;
        self.graph.kept.try_push(entries)?;
        Ok(Some(start..end))
    }
}
