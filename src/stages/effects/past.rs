//! What calls out of the chunk may change, as it was and as it is: tables, metatables and variables
//! (cells).

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Kind, Ref, TableCursor, Vm};
use crate::lua::write::{self, Permit};
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

    /// Objects that a table has lost in this load.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn lost(&self, number: u32) -> Result<Vec<Ref>> {
        let mut lost = Vec::new();
        let keys = self
            .tables
            .get(number as usize)
            .map_or(&[][..], |table| &table.keys);
        for (key, held) in keys.iter().filter(|(_, held)| held.initial != held.now) {
            lost.try_push(held.initial)?;
            if held.now == Ref::NIL {
                lost.try_push(*key)?;
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

    /// A function that has the variable, and which of its upvalues it is.
    pub fn cell(&self, number: u32) -> (Ref, u8) {
        self.cells
            .get(number as usize)
            .map_or((Ref::NIL, 0), |cell| (cell.function, cell.index))
    }

    /// The number of a table's slot under a key; a new one, empty before the load, where there was
    /// none.
    fn slot(&mut self, vm: &mut Vm, number: u32, key: Ref) -> Result<u32> {
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

    /// Notes that a spot holds another value now.
    pub fn note(&mut self, spot: Spot, value: Ref) {
        if let Some(held) = self.held(spot) {
            held.now = value;
        }
    }

    /// The spot under a key of a remembered table, and what was last seen there.
    pub fn under(&mut self, vm: &mut Vm, number: u32, key: Ref) -> Result<(Spot, Ref)> {
        let spot = Spot::Slot(number, self.slot(vm, number, key)?);
        let now = self.held(spot).map_or(Ref::NIL, |held| held.now);
        Ok((spot, now))
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

    /// The numbers of all tables, and of all variables.
    pub fn counts(&self) -> (u32, u32) {
        (self.tables.len() as u32, self.cells.len() as u32)
    }

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
