//! What calls out of the chunk may change, as it was and as it is: tables, metatables and variables
//! (cells). `remember` fills it, `look` finds what has changed since, `restore` puts all back.

mod look;
mod remember;
mod restore;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Kind, Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// A table with no more entries is compared entry by entry whenever a call may have changed it.
pub const SMALL: usize = 32;

/// A place that is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Spot {
    /// The slot with the second number of the table with the first one.
    Slot(u32, u32),
    /// The metatable of the table with this number.
    Metatable(u32),
    /// The variable with this number.
    Cell(u32),
}

/// A write that a call made.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Where.
    pub spot: Spot,
    /// What stood there.
    pub old: Ref,
    /// What stands there.
    pub new: Ref,
}

/// What stands in a place.
#[derive(Clone, Copy)]
struct PastValue {
    /// Before the load.
    initial: Ref,
    /// When it was looked at last.
    now: Ref,
    /// Of a table that is not remembered whole: it was looked at before the call ran.
    in_time: bool,
}

impl PastValue {
    /// The entry of a table that has the value under this key by now.
    fn entry(&self, key: Ref) -> KeyValue {
        KeyValue {
            key,
            value: self.now,
        }
    }

    fn of(value: Ref) -> PastValue {
        PastValue {
            initial: value,
            now: value,
            in_time: false,
        }
    }
}

/// A table.
struct PastTable {
    table: Ref,
    keys: Vec<(Ref, PastValue)>,
    by_key: FxHashMap<(Kind, u64), u32>,
    metatable: PastValue,
    /// `#table` when it was looked at last.
    border: i64,
    /// `#table` when it was seen first.
    end: i64,
    /// So many of the entries have been looked at for tables behind them.
    behind: usize,
    /// All entries are remembered. Of any other table only what is behind its end is put back.
    whole: bool,
}

/// A variable, by a function that has it.
struct Cell {
    function: Ref,
    index: u8,
    held: PastValue,
}

/// All that is remembered.
pub struct Past {
    tables: Vec<PastTable>,
    by_address: FxHashMap<usize, u32>,
    cells: Vec<Cell>,
    by_cell: FxHashMap<usize, u32>,
    /// Entries that may still be remembered.
    budget: usize,
    /// Entries that are.
    entries: usize,
}

impl Past {
    /// Nothing yet; `budget` entries may be remembered.
    pub fn new(budget: usize) -> Past {
        Past {
            tables: Vec::new(),
            by_address: FxHashMap::default(),
            cells: Vec::new(),
            by_cell: FxHashMap::default(),
            budget,
            entries: 0,
        }
    }

    /// Is nothing remembered?
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.cells.is_empty()
    }

    /// The number of a table that is remembered.
    pub fn number(&self, address: usize) -> Option<u32> {
        self.by_address.get(&address).copied()
    }

    /// The table with this number.
    pub fn table(&self, number: u32) -> Ref {
        self.tables
            .get(number as usize)
            .map_or(Ref::NIL, |table| table.table)
    }

    /// How many entries the table with this number had, or got since.
    pub fn len(&self, number: u32) -> usize {
        self.tables
            .get(number as usize)
            .map_or(0, |table| table.keys.len())
    }

    /// Is the place one of which is known what it held before the load? Of a table that is not
    /// remembered whole, that is so behind the end of its list.
    pub fn is_known(&self, vm: &Vm, spot: Spot) -> bool {
        match spot {
            Spot::Slot(number, slot) => {
                self.is_whole(number)
                    || self.is_behind_end(vm, spot)
                    || self.is_in_time(number, slot)
            }
            Spot::Metatable(_) | Spot::Cell(_) => true,
        }
    }

    fn is_in_time(&self, number: u32, slot: u32) -> bool {
        let table = self.tables.get(number as usize);
        table
            .and_then(|table| table.keys.get(slot as usize))
            .is_some_and(|(_, held)| held.in_time)
    }

    /// Is it an element past the end that the list had before the load?
    pub fn is_behind_end(&self, vm: &Vm, spot: Spot) -> bool {
        let Spot::Slot(number, _) = spot else {
            return false;
        };
        let end = self
            .tables
            .get(number as usize)
            .map_or(0, |table| table.end);
        let integer = self.key(spot).and_then(|key| vm.integer(key));
        integer.is_some_and(|integer| integer > end)
    }

    /// How many entries are remembered, about.
    pub fn entries_in_all(&self) -> usize {
        self.entries
    }

    /// How many entries of a table have been looked at for tables behind them.
    pub fn behind(&self, number: u32) -> usize {
        self.tables
            .get(number as usize)
            .map_or(0, |table| table.behind)
    }

    /// Are there entries that have not been looked at for that?
    pub fn has_more_behind(&self, number: u32) -> bool {
        self.behind(number) < self.len(number)
    }

    /// From now on all that are there have been.
    pub fn note_behind(&mut self, number: u32) {
        if let Some(table) = self.tables.get_mut(number as usize) {
            table.behind = table.keys.len();
        }
    }

    /// Objects that a table has lost in this load, before these writes: what stood in each place.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn lost(&self, number: u32, writes: &FxHashMap<Spot, Ref>) -> Result<Vec<Ref>> {
        let mut lost = Vec::new();
        let keys = self
            .tables
            .get(number as usize)
            .map_or(&[][..], |table| &table.keys);
        for ((key, held), slot) in keys.iter().zip(0..) {
            if held.initial == held.now {
                continue;
            }
            let before = writes.get(&Spot::Slot(number, slot)).copied();
            let before = before.unwrap_or(held.now);
            if held.initial != before {
                lost.try_push(held.initial)?;
                if before == Ref::NIL {
                    lost.try_push(*key)?;
                }
            }
        }
        Ok(lost)
    }

    /// The addresses of all objects that stand in what is remembered.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn standing(&self, vm: &Vm) -> Result<FxHashSet<usize>> {
        let mut standing = FxHashSet::default();
        let slots = self
            .tables
            .iter()
            .flat_map(|table| table.keys.iter().map(|(_, held)| held.now));
        for value in slots.chain(self.cells.iter().map(|cell| cell.held.now)) {
            let val = vm.val(value);
            if matches!(val.kind, Kind::Table | Kind::Function) {
                standing.try_insert_value(val.addr, ())?;
            }
        }
        Ok(standing)
    }

    /// `#table` when it was looked at last.
    pub fn border(&self, number: u32) -> i64 {
        self.tables
            .get(number as usize)
            .map_or(0, |table| table.border)
    }

    /// Is all of it remembered?
    pub fn is_whole(&self, number: u32) -> bool {
        self.tables
            .get(number as usize)
            .is_some_and(|table| table.whole)
    }

    /// Keys and values of the table with this number, as they were looked at last.
    pub fn entries(&self, number: u32) -> impl Iterator<Item = (u32, Ref, Ref)> + '_ {
        let keys = self
            .tables
            .get(number as usize)
            .map_or(&[][..], |table| &table.keys);
        keys.iter()
            .zip(0..)
            .map(|((key, held), i)| (i, *key, held.now))
    }

    /// What a variable held when it was looked at last.
    pub fn cell_now(&self, number: u32) -> Ref {
        self.cells
            .get(number as usize)
            .map_or(Ref::NIL, |cell| cell.held.now)
    }

    /// A function that has the variable, and which of its upvalues it is.
    pub fn cell(&self, number: u32) -> (Ref, u8) {
        self.cells
            .get(number as usize)
            .map_or((Ref::NIL, 0), |cell| (cell.function, cell.index))
    }

    /// What a spot held before the load.
    pub fn initial(&mut self, spot: Spot) -> Ref {
        self.held(spot).map_or(Ref::NIL, |held| held.initial)
    }

    fn held(&mut self, spot: Spot) -> Option<&mut PastValue> {
        match spot {
            Spot::Slot(table, slot) => {
                let table = self.tables.get_mut(table as usize)?;
                table.keys.get_mut(slot as usize).map(|(_, held)| held)
            }
            Spot::Metatable(table) => self
                .tables
                .get_mut(table as usize)
                .map(|table| &mut table.metatable),
            Spot::Cell(cell) => self.cells.get_mut(cell as usize).map(|cell| &mut cell.held),
        }
    }

    /// Where a spot is in the program.
    pub fn place(&self, spot: Spot) -> Place {
        match spot {
            Spot::Slot(table, _) => Place::Value {
                table: self.table(table),
                key: self.key(spot).unwrap_or(Ref::NIL),
            },
            Spot::Metatable(table) => Place::Metatable {
                of: self.table(table),
            },
            Spot::Cell(cell) => {
                let (function, index) = self.cell(cell);
                Place::Upvalue { function, index }
            }
        }
    }

    /// Is the variable with this identity remembered?
    pub fn has_cell(&self, id: usize) -> bool {
        self.by_cell.contains_key(&id)
    }

    /// The key of a slot.
    pub fn key(&self, spot: Spot) -> Option<Ref> {
        match spot {
            Spot::Slot(table, slot) => {
                let table = self.tables.get(table as usize)?;
                table.keys.get(slot as usize).map(|(key, _)| *key)
            }
            _ => None,
        }
    }

    /// The numbers of all tables, and of all variables.
    pub fn counts(&self) -> (u32, u32) {
        (self.tables.len() as u32, self.cells.len() as u32)
    }
}
