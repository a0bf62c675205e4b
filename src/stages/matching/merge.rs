//! R5.3, R8: what the record of the base version says of keys that the running version lacks, and
//! of values that the running version has.
//!
//! Three versions of each place: what the base version had (on record), what runs (the running
//! version), and what the file says (the incoming version). What the program removed is not added;
//! with `data = "merge"` what it did not change follows the file, and goes when the file has it no
//! longer.

use rustc_hash::FxHashSet;

use super::identity::Relation;
use super::{Action, Cell1, CellFate, CellPair, EntryPair, Pairer, SlotDecision, TablePair};
use crate::lua::vm::{KeyValue, Kind, Ref, TableCursor, Val, Vm};
use crate::model::base::{self, Base, Held, Path, RecordedPlace};
use crate::model::lineage::Lineage;
use crate::model::site::{Root, SiteId};
use crate::stages::find::Context;
use crate::stages::load::Loaded;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// A string, a number or a boolean?
pub fn is_scalar(val: Val) -> bool {
    matches!(val.kind, Kind::Boolean | Kind::Number | Kind::String)
}

/// Is what a chunk writes into a table that existed recorded? An integer key is a registration's
/// (R5.4), and no name; a module that is loaded is no data.
pub fn is_recorded(vm: &Vm, context: &Context, table: Ref, key: Ref) -> bool {
    vm.integer(key).is_none() && table != context.loaded
}

/// A module that has no object may have been forgotten and loaded anew: then there are global
/// functions of its own where the record has some, and none of them is one that a reload, or a load
/// with a record, has placed. What is on record is not of this load.
pub(super) fn is_of_another_load(
    vm: &mut Vm,
    context: &Context,
    loaded: &mut Loaded,
    lineage: Lineage,
    base: &Base,
) -> Result<bool> {
    if !context.is_loaded() || matches!(vm.kind(context.running), Kind::Table | Kind::Function) {
        return Ok(false);
    }
    let mut some = false;
    for number in 0..loaded.snapshot.len() {
        let Some(globals) = loaded
            .snapshot
            .slots_of(number)
            .filter(|was| was.table == context.globals)
        else {
            continue;
        };
        let path = Path::root(vm, Root::Globals.name());
        for KeyValue { key, value } in globals.slots() {
            let Some(info) = vm.info(value)?.filter(|info| info.lua) else {
                continue;
            };
            if loaded.ownership.owns(vm, value, &info)? {
                if lineage.number(vm, value).is_some() {
                    return Ok(false);
                }
                // What the last load did not place may be left of an earlier one.
                let place = vm.digest(key).map(|key| path.place(key));
                some |= place.is_some_and(|place| base.is_there(place));
            }
        }
    }
    Ok(some)
}

/// What functions and metatables say of a table that is compared with the record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CodeInTable {
    /// It is no plain data.
    Counts,
    /// Nothing, where they are on record.
    AsOnRecord,
}

impl Pairer<'_> {
    /// The number of an object of the running program, if it has one.
    pub(super) fn number_of(&self, object: Ref) -> Option<i64> {
        self.lineage.of(self.vm, object)
    }

    /// Where a running table that goes on is on record, which `pair` says.
    pub(super) fn find_record(&mut self, pair: &TablePair, old: usize) -> Result<()> {
        if !self.out.base.is_known() {
            return Ok(());
        }
        // What the program put in the place of a table of the file's goes by that one's record.
        let own = self.number_of(pair.old);
        let number = match own.filter(|number| self.out.base.knows(Path::of(*number))) {
            Some(number) => Some(number),
            None => self
                .places
                .place(self.vm, &self.out.sites, pair.site)?
                .and_then(|place| self.out.base.get(place)?.number())
                .or(own),
        };
        if let Some(number) = number {
            self.places
                .number(self.vm, &self.out.sites, pair.site, number)?;
        }
        if let Some(path) = self.places.path(self.vm, &self.out.sites, pair.site)? {
            self.out.paths.try_insert_value(old, path)?;
        }
        Ok(())
    }

    /// The path of a running table, which stands at `site`; none where nothing can be on record.
    pub(super) fn path(&mut self, table: Ref, site: SiteId) -> Result<Option<Path>> {
        if let Some(path) = self.out.paths.get(&self.vm.val(table).addr) {
            return Ok(Some(*path));
        }
        let is_globals = self.vm.val(table) == self.vm.val(self.context.globals);
        if let Some(number) = self.number_of(table).filter(|_| !is_globals) {
            return Ok(Some(Path::of(number)));
        }
        self.places.path(self.vm, &self.out.sites, site)
    }

    /// Where a running local is on record: under a function that has it, or by its name.
    pub(super) fn cell_place(&self, cell: &Cell1) -> RecordedPlace {
        let (function, index) = (cell.function, cell.index);
        self.number_of(function)
            .map(|number| base::local_of(self.vm, number, function, index))
            .filter(|place| self.out.base.is_there(*place))
            .unwrap_or_else(|| base::local(self.vm, function, index))
    }

    /// The place of a key in a running table, which stands at `site`; none where nothing can be on
    /// record. A key that is a table goes by its number.
    pub(super) fn place_in(
        &mut self,
        table: Ref,
        site: SiteId,
        key: Ref,
    ) -> Result<Option<RecordedPlace>> {
        let digest = self.vm.digest(key);
        let number = match self.vm.kind(key) {
            Kind::Table => self.number_of(key),
            _ => None,
        };
        let place = |path: Path| match number {
            Some(number) => Some(path.place_by_object(number)),
            None => Some(path.place(digest?)),
        };
        Ok(self.path(table, site)?.and_then(place))
    }

    /// Says how much data stays as it runs for want of a record.
    pub(super) fn warn_of_no_record(&mut self) -> Result<()> {
        if self.out.base.is_known() || !self.context.is_loaded() || self.replace_data {
            return Ok(());
        }
        let differs = |new: Ref, old: Ref| {
            let (n, o) = (self.vm.val(new), self.vm.val(old));
            (is_scalar(n) || is_scalar(o)) && !o.is_function() && !self.vm.same(new, old)
        };
        let slots = self
            .out
            .slots
            .iter()
            .filter(|slot| slot.action == Action::Keep);
        let cells = self
            .out
            .cell_pairs
            .iter()
            .filter(|pair| pair.fate == CellFate::Keep);
        let count = self.unrecorded_lists
            + slots.filter(|slot| differs(slot.new, slot.old)).count()
            + cells
                .filter(|pair| differs(pair.new_value, pair.old_value))
                .count();
        if count == 0 {
            return Ok(());
        }
        let what = if count == 1 {
            "place differs"
        } else {
            "places differ"
        };
        self.out.warnings.try_push(format!(
            "{}: no record of its first load: {count} {what} from the file; look at \
             hotreload.plan, and call hotreload.track() before the first load",
            self.context.title
        ))
    }

    /// The place of the walk's current key in the table with this path.
    pub(super) fn walked_place(&self, cursor: &TableCursor, path: Path) -> Option<RecordedPlace> {
        cursor.key_digest(self.vm).map(|key| path.place(key))
    }

    /// What becomes of a slot for which `classify_slot` has said `action`, by the record. No walk
    /// may be under way.
    #[inline]
    pub(super) fn three_way(
        &mut self,
        action: Action,
        slot: &SlotDecision,
        entry: &EntryPair,
    ) -> Result<Action> {
        let asked = match action {
            Action::Add => !self.replace_data,
            Action::Keep => self.merges,
            Action::ReplaceFunction | Action::Merge => entry.order.is_some(),
            _ => false,
        };
        if !asked || !self.out.base.is_known() {
            return Ok(action);
        }
        if !matches!(action, Action::Add | Action::Keep) {
            let is_moved = self.relation(slot.old, slot.new) == Relation::Unknown
                && self.is_moved_in_slot(slot)?;
            return Ok(if is_moved { Action::Refer } else { action });
        }
        self.as_on_record(action, slot, entry)
    }

    fn as_on_record(
        &mut self,
        action: Action,
        slot: &SlotDecision,
        entry: &EntryPair,
    ) -> Result<Action> {
        if slot.change && !is_recorded(self.vm, self.context, slot.table, slot.key) {
            return Ok(action);
        }
        let Some(place) = self.place_in(slot.table, slot.parent, slot.key)? else {
            return Ok(action);
        };
        let (new, old) = (entry.new_val, entry.old_val);
        if action == Action::Add {
            let base = &self.out.base;
            let removed = base.is_there(place) && !base.is_there(place.left());
            return Ok(if removed { Action::Keep } else { Action::Add });
        }
        let follows = (is_scalar(new)
            || new.is_table() && entry.order.is_some() && !old.is_table())
            && !self.vm.same(slot.new, slot.old)
            && self.is_as_loaded(place, slot.old)?;
        Ok(if follows {
            Action::ReplaceData
        } else {
            Action::Keep
        })
    }

    /// R8: there are scalars on both sides: does the running follow the file?
    pub(super) fn scalar_follows(&mut self, pair: &TablePair, entry: &EntryPair) -> Result<bool> {
        if !self.merges || self.vm.same(entry.new, entry.old) {
            return Ok(false);
        }
        let place = self.place_in(pair.old, pair.site, entry.key)?;
        let old = self.vm.digest(entry.old);
        Ok(place.is_some_and(|place| self.out.base.had(place, old)))
    }

    /// R8: does what a running cell holds follow the file? `fresh`: the incoming value is. A local
    /// without a value that no code assigns has no data to keep: what the file gives it is new.
    pub(super) fn cell_follows(&mut self, pair: &CellPair, fresh: bool) -> Result<bool> {
        let (old, new) = (self.vm.val(pair.old_value), self.vm.val(pair.new_value));
        if self.vm.same(pair.old_value, pair.new_value) {
            return Ok(false);
        }
        if old.is_nil() && !self.is_assigned_anywhere(pair.old, pair.new)? {
            return Ok(true);
        }
        let takes =
            is_scalar(new) || new.is_nil() || fresh && (new.is_table() || new.is_function());
        let is_data = is_scalar(old) || old.is_nil() || old.is_table();
        let cell = self.out.old_cells.get(pair.old as usize).copied();
        let Some(cell) = cell.filter(|_| self.merges && takes && is_data) else {
            return Ok(false);
        };
        let place = self.cell_place(&cell);
        self.is_as_loaded(place, pair.old_value)
    }

    /// Is what runs what the base version had at a place? A table is when all in it is. No walk may
    /// be under way.
    pub(super) fn is_as_loaded(&mut self, place: RecordedPlace, old: Ref) -> Result<bool> {
        if !self.vm.val(old).is_table() {
            return Ok(self.out.base.had(place, self.vm.digest(old)));
        }
        match self.path_on_record(place, self.number_of(old)) {
            Some(path) => self.is_table_as_loaded(old, path, CodeInTable::Counts),
            None => Ok(false),
        }
    }

    /// The same, where functions and metatables that the last load has put into a table are no
    /// change of it.
    pub(super) fn is_data_as_loaded(&mut self, place: RecordedPlace, old: Ref) -> Result<bool> {
        match self.path_on_record(place, self.number_of(old)) {
            Some(path) => self.is_table_as_loaded(old, path, CodeInTable::AsOnRecord),
            None => Ok(false),
        }
    }

    /// Does the very object that the last load has put there stand there still?
    pub(super) fn is_object_as_loaded(&self, place: RecordedPlace, old: Ref) -> bool {
        self.number_of(old)
            .is_some_and(|number| self.out.base.had_object(place, number))
    }

    /// Where the keys of a running table are on record, if the file had that very table at a place.
    fn path_on_record(&self, place: RecordedPlace, number: Option<i64>) -> Option<Path> {
        match number {
            Some(number) => self
                .out
                .base
                .had_object(place, number)
                .then(|| Path::of(number)),
            None => self.out.base.is(place, Held::ROW).then(|| place.path()),
        }
    }

    /// Has a running table the very keys and scalars that the base version had under this path, at
    /// any depth? A table with anything that is not on record, a function among it, has not; the
    /// walk ends there, so that it costs no more than the record has. A table that others hold as
    /// well, another module's object for one, is no data of the module's.
    fn is_table_as_loaded(&mut self, table: Ref, path: Path, code: CodeInTable) -> Result<bool> {
        // What the file has elsewhere by now is not gone.
        if code == CodeInTable::Counts && self.tables.is_answer(self.vm.val(table).addr) {
            return Ok(false);
        }
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut work = Vec::new();
        work.try_push((table, path))?;
        while let Some((table, path)) = work.pop() {
            let val = self.vm.val(table);
            if seen.try_insert_value(val.addr, ())?.is_some() {
                continue;
            }
            if !self.out.base.knows(path)
                && self
                    .imports
                    .holds(self.vm, self.context, self.loaded, val)?
            {
                continue;
            }
            if self.tables.is_answer(val.addr) {
                continue;
            }
            let metatable = self.vm.metatable(table)?;
            let is_as_loaded = |pairer: &Self| {
                code == CodeInTable::AsOnRecord
                    && pairer.is_object_as_loaded(path.metatable(), metatable)
            };
            if metatable != Ref::NIL && !is_as_loaded(self) {
                return Ok(false);
            }
            let mut count = 0;
            let mut cursor = self.vm.walk(table, Ref::NIL)?;
            while let Some(entry) = cursor.next(self.vm) {
                count += 1;
                let place = self.walked_place(&cursor, path);
                let same = match place {
                    Some(place) if is_scalar(entry.new) => {
                        self.out.base.had(place, cursor.value_digest(self.vm))
                    }
                    Some(place) if entry.new.is_function() && code == CodeInTable::AsOnRecord => {
                        let held = cursor.keep_pair(self.vm)?.value;
                        self.is_object_as_loaded(place, held)
                    }
                    place => place.is_some() && entry.new.is_table(),
                };
                if !same {
                    cursor.end(self.vm);
                    return Ok(false);
                }
                if let (true, Some(place)) = (entry.new.is_table(), place) {
                    let held = cursor.keep_pair(self.vm)?.value;
                    let Some(path) = self.path_on_record(place, self.number_of(held)) else {
                        cursor.end(self.vm);
                        return Ok(false);
                    };
                    work.try_push((held, path))?;
                }
            }
            if count != self.out.base.keys(path) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// R8: what the file has no longer, and the program did not change, goes from the running
    /// tables.
    pub(super) fn gone(&mut self, pair: &TablePair) -> Result<()> {
        let (old, new, site) = (pair.old, pair.new, pair.site);
        let Some(path) = self.path(old, site)? else {
            return Ok(());
        };
        // The running table is walked only when the file's lacks a key: it may have any number of
        // rows.
        let on_record = self.out.base.keys(path);
        if on_record == 0 {
            return Ok(());
        }
        if self.recorded_keys(new, path)? >= on_record {
            return Ok(());
        }
        let mut gone = Vec::new();
        let mut cursor = self.vm.walk(old, new)?;
        while let Some(entry) = cursor.next(self.vm) {
            if !entry.old.is_nil() || !(is_scalar(entry.new) || entry.new.is_table()) {
                continue;
            }
            let index = cursor.key_integer(self.vm);
            let place = self.walked_place(&cursor, path);
            let base = &self.out.base;
            let Some(place) = place.filter(|place| base.is_there_or_left(*place)) else {
                continue;
            };
            if !self.is_listed(old, index) {
                gone.try_push((place, cursor.keep_pair(self.vm)?))?;
            }
        }
        for (place, entry) in gone {
            // A table that goes on elsewhere in the file goes with all that is in it, and so does
            // a reference to one that the file takes up (R5.13).
            let is_elsewhere = self.tables.is_answer(self.vm.val(entry.value).addr)
                || self.is_reference_to_kept(entry.value, old, entry.key);
            let is_left = |place| self.is_object_as_loaded(place, entry.value);
            let moves = is_elsewhere && (is_left(place) || is_left(place.left()));
            if moves || self.is_as_loaded(place, entry.value)? {
                self.remove(old, site, entry)?;
            }
        }
        Ok(())
    }

    /// How many keys of the incoming table are on record for the table with this path.
    pub(super) fn recorded_keys(&mut self, new: Ref, path: Path) -> Result<usize> {
        let mut found = 0;
        let mut cursor = self.vm.walk(new, Ref::NIL)?;
        while cursor.next(self.vm).is_some() {
            let place = self.walked_place(&cursor, path);
            found += usize::from(place.is_some_and(|place| self.out.base.is_there(place)));
        }
        Ok(found)
    }

    /// Plans that an entry of the running table goes.
    pub(super) fn remove(&mut self, table: Ref, parent: SiteId, entry: KeyValue) -> Result<()> {
        self.out.slots.try_push(SlotDecision {
            table,
            parent,
            key: entry.key,
            new: Ref::NIL,
            old: entry.value,
            action: Action::Remove,
            change: false,
        })
    }
}
