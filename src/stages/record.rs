//! R8: what the next reload is to have on record of this load, and the numbers of its objects.
//!
//! A plain pass over what pairing has found, from what the chunk returned, what it wrote and its
//! locals, into each table that it made. It notes what the file says. One thing differs: where only
//! the file has changed a value, and `data = "keep"` left the running one alone, the older record
//! stays. So that value is known to be no choice of the program's, now and later.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::model::base::{self, Base, Held, Path, Place};
use crate::model::lineage::{Continued, Lineage, Numbers};
use crate::model::options::{Data, Options};
use crate::model::site::Root;
use crate::stages::find::Context;
use crate::stages::load::Loaded;
use crate::stages::matching::{Cell2, CellFate, CellPair, Pairing, is_recorded, is_scalar};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// What is put down of a load, if it is kept.
pub struct Record {
    /// What is on record, to be packed; nothing in a dry run.
    pub words: Vec<u64>,
    /// The numbers that objects get.
    pub numbers: Numbers,
}

/// Makes the record; `functions` are the file's, each with the one that it continues.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn record(
    vm: &mut Vm,
    context: &Context,
    loaded: &Loaded,
    pairing: &mut Pairing,
    functions: &[Continued],
    options: &Options,
    lineage: Lineage,
) -> Result<Record> {
    let mut numbers = Numbers::new(vm, lineage)?;
    numbers.functions(vm, functions)?;
    let base = std::mem::take(&mut pairing.base);
    let mut recorder = Recorder {
        keeps: options.data == Data::Keep && base.is_known(),
        vm,
        context,
        loaded,
        pairing,
        base,
        numbers,
        words: Vec::new(),
        met: FxHashSet::default(),
        waiting: Vec::new(),
        tables: Vec::new(),
        written: FxHashMap::default(),
    };
    if !options.dry_run {
        let outcome = recorder.run();
        recorder.vm.end_walk();
        outcome?;
    }
    Ok(Record {
        words: recorder.words,
        numbers: recorder.numbers,
    })
}

struct Recorder<'a> {
    vm: &'a mut Vm,
    context: &'a Context,
    loaded: &'a Loaded,
    pairing: &'a mut Pairing,
    /// What was on record until now.
    base: Base,
    /// A value that only the file has changed stays as it runs.
    keeps: bool,
    numbers: Numbers,
    words: Vec<u64>,
    /// A2's tables that were met, by address.
    met: FxHashSet<usize>,
    waiting: Vec<Met>,
    tables: Vec<Walked>,
    /// How many words the tables have that existed before.
    written: FxHashMap<u64, (Path, usize)>,
}

/// A table of A2 to be walked.
#[derive(Clone, Copy)]
struct Met {
    table: Ref,
    path: Path,
    is_row: bool,
}

/// A table of A2 that was walked.
struct Walked {
    met: Met,
    /// A1's table, with its path as far as it is on record.
    old: Ref,
    old_path: Option<Path>,
    keys: usize,
}

/// An entry that is an object, or that A1 has something else for.
struct Entry {
    place: Place,
    /// Where it may be on record.
    known: Option<Place>,
    /// It stands in a list.
    in_list: bool,
    new: Ref,
    old: Ref,
}

impl Recorder<'_> {
    fn run(&mut self) -> Result<()> {
        let result = self.held(self.loaded.value, None)?;
        self.words.try_push(Place::RESULT.word(result))?;
        self.changes()?;
        self.cells()?;
        while let Some(met) = self.waiting.pop() {
            self.table(met)?;
        }
        self.words.sort_unstable();
        if self.base.has_more_places(&self.words) {
            self.file_lacks()?;
            self.rest_stays()?;
        }
        self.words
            .try_reserve(self.tables.len() + self.written.len())?;
        let counts = self
            .tables
            .iter()
            .map(|walked| (walked.met.path, walked.keys));
        self.words.extend(
            counts
                .chain(self.written.values().copied())
                .map(|(path, keys)| path.count_word(keys)),
        );
        self.words.sort_unstable();
        Ok(())
    }

    /// What an object or a scalar is on record as. A fresh table is walked later; it is a row if it
    /// stands in a list, at `row`, and holds plain data.
    fn held(&mut self, value: Ref, row: Option<Place>) -> Result<Held> {
        let val = self.vm.val(value);
        if let Some(digest) = self.vm.digest(value) {
            return Ok(Held::scalar(digest));
        }
        let is_fresh = self.loaded.fresh.order(val.addr).is_some();
        if !is_fresh {
            let number = self.numbers.foreign(self.vm, value)?;
            return Ok(number.map_or(Held::OTHER, Held::object));
        }
        if !val.is_table() {
            // What C makes for the chunk is another object each time.
            let number = self.numbers.of(self.vm, value);
            return Ok(number.map_or(Held::OTHER, Held::object));
        }
        let first = self.met.try_insert_value(val.addr, ())?.is_none();
        let running = self.pairing.tables.get(&val.addr).copied().unwrap_or(value);
        let known = self.numbers.of(self.vm, running);
        if let Some(place) = row.filter(|_| known.is_none()) {
            if !first {
                return Ok(Held::OTHER);
            }
            if self.is_plain(value)? {
                self.waiting.try_push(Met {
                    table: value,
                    path: place.path(),
                    is_row: true,
                })?;
                return Ok(Held::ROW);
            }
        }
        let Some(number) = self.numbers.own(self.vm, running)? else {
            return Ok(Held::OTHER);
        };
        if first {
            self.waiting.try_push(Met {
                table: value,
                path: Path::of(number),
                is_row: false,
            })?;
        }
        Ok(Held::object(number))
    }

    /// Has a table neither a metatable nor a function?
    fn is_plain(&mut self, table: Ref) -> Result<bool> {
        if !self.vm.metatable_val(table).is_nil() {
            return Ok(false);
        }
        let mut cursor = self.vm.walk(table, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            if entry.new.is_function() {
                cursor.end(self.vm);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is on record as what A1 has at a place; none for what can't be.
    fn running(&self, value: Ref) -> Option<Held> {
        match self.vm.digest(value) {
            Some(digest) => Some(Held::scalar(digest)),
            None if self.vm.val(value).is_table() => Some(
                self.numbers
                    .of(self.vm, value)
                    .map_or(Held::ROW, Held::object),
            ),
            None => None,
        }
    }

    /// Notes what the file says at a place, or, where that alone has changed data that stays as it
    /// runs, what it said before.
    fn note(&mut self, entry: &Entry) -> Result<()> {
        let row = Some(entry.place).filter(|_| entry.in_list);
        let mut held = self.held(entry.new, row)?;
        let (new, old) = (self.vm.val(entry.new), self.vm.val(entry.old));
        let is_data = is_scalar(old) || is_scalar(new) && old.is_table();
        if self.keeps
            && is_data
            && let Some((known, running)) = entry.known.zip(self.running(entry.old))
            && self.base.is(known, running)
        {
            held = running;
        }
        self.words.try_push(entry.place.word(held))
    }

    /// Notes what a table of A2 holds.
    fn table(&mut self, met: Met) -> Result<()> {
        let Met {
            table,
            path,
            is_row,
        } = met;
        let address = self.vm.val(table).addr;
        let old = self.pairing.tables.get(&address).copied();
        let old = old.unwrap_or_default();
        let old_path = self.pairing.paths.get(&self.vm.val(old).addr).copied();
        let mut entries = Vec::new();
        let mut keys = 0;
        let mut cursor = self.vm.walk(table, old)?;
        while let Some(entry) = cursor.next(self.vm) {
            let Some(key) = cursor.key_digest(self.vm) else {
                continue;
            };
            keys += 1;
            let place = path.place(key);
            let stays = !self.keeps || entry.old.is_nil() || cursor.values_equal(self.vm);
            match cursor.value_digest(self.vm).filter(|_| stays) {
                Some(digest) => self.words.try_push(place.word(Held::scalar(digest)))?,
                None => {
                    let in_list = is_row || cursor.key_integer(self.vm).is_some();
                    let kept = cursor.keep(self.vm)?;
                    entries.try_push(Entry {
                        place,
                        known: old_path.map(|path| path.place(key)),
                        in_list,
                        new: kept.new,
                        old: kept.old,
                    })?;
                }
            }
        }
        for entry in entries {
            self.note(&entry)?;
        }
        let metatable = self.vm.metatable(table)?;
        if self.vm.val(metatable).is_table() {
            let held = self.held(metatable, None)?;
            self.words.try_push(path.metatable().word(held))?;
        }
        self.tables.try_push(Walked {
            met,
            old,
            old_path,
            keys,
        })
    }

    /// The path of a table that existed; none when there are no more numbers.
    fn path_of(&mut self, table: Ref) -> Result<Option<Path>> {
        if self.vm.val(table) == self.vm.val(self.context.globals) {
            return Ok(Some(Path::root(self.vm, Root::Globals.name())));
        }
        Ok(self.numbers.own(self.vm, table)?.map(Path::of))
    }

    fn count(&mut self, path: Path) -> Result<()> {
        let key = path.key();
        match self.written.get_mut(&key) {
            Some((_, count)) => *count += 1,
            None => {
                self.written.try_insert_value(key, (path, 1))?;
            }
        }
        Ok(())
    }

    /// What A2's chunk wrote into tables that existed.
    fn changes(&mut self) -> Result<()> {
        let globals = self.vm.val(self.context.globals);
        for change in copied(&self.loaded.changes)? {
            let is_hook =
                |key| self.vm.val(change.table) == globals && self.vm.is_string(key, b"__hotfix");
            let Some(key) = change.key else {
                let Some(path) = self.path_of(change.table)? else {
                    continue;
                };
                let held = self.held(change.new, None)?;
                self.words.try_push(path.metatable().word(held))?;
                continue;
            };
            if !is_recorded(self.vm, self.context, change.table, key)
                || is_hook(key)
                || self.vm.val(change.new).is_nil()
            {
                continue;
            }
            let Some(digest) = self.vm.digest(key) else {
                continue;
            };
            let Some(path) = self.path_of(change.table)? else {
                continue;
            };
            let place = path.place(digest);
            self.count(path)?;
            self.note(&Entry {
                place,
                known: Some(place),
                in_list: false,
                new: change.new,
                old: change.old,
            })?;
        }
        Ok(())
    }

    /// Locals, by their names; those of other modules' functions, and those whose names others have
    /// as well, by the functions that have them.
    fn cells(&mut self) -> Result<()> {
        let mut pairs: Vec<u32> = Vec::new();
        pairs.try_reserve_exact(self.pairing.new_cells.len())?;
        pairs.resize(self.pairing.new_cells.len(), u32::MAX);
        for (i, pair) in self.pairing.cell_pairs.iter().enumerate() {
            if let Some(place) = pairs.get_mut(pair.new as usize) {
                *place = i as u32;
            }
        }
        let mut named: FxHashMap<u64, u32> = FxHashMap::default();
        for cell in self.pairing.new_cells.iter().filter(|cell| cell.own) {
            let place = base::local(self.vm, cell.function, cell.index);
            named.try_reserve(1)?;
            *named.entry(place.key()).or_insert(0) += 1;
        }
        // The others: what is on record of each, under whichever function.
        let mut shared: FxHashMap<u32, Held> = FxHashMap::default();
        for (number, cell) in (0..).zip(copied(&self.pairing.new_cells)?) {
            if cell.environment {
                continue;
            }
            let pair = pairs.get(number as usize).copied().unwrap_or(u32::MAX);
            let pair = self.pairing.cell_pairs.get(pair as usize).copied();
            let place = base::local(self.vm, cell.function, cell.index);
            let held = self.local(&cell, pair.as_ref(), place)?;
            if cell.own && named.get(&place.key()) == Some(&1) {
                self.words.try_push(place.word(held))?;
            } else {
                shared.try_insert_value(number, held)?;
            }
        }
        let owners = self.pairing.new.iter().filter(|_| !shared.is_empty());
        for function in owners {
            let Some(number) = self.numbers.of(self.vm, function.at) else {
                continue;
            };
            for upvalue in self.pairing.upvalues_of(function.upvalues) {
                if let Some(held) = shared.get(&upvalue.cell) {
                    let place = base::local_of(self.vm, number, function.at, upvalue.index);
                    self.words.try_push(place.word(*held))?;
                }
            }
        }
        Ok(())
    }

    /// What is on record of a local; `place`: where it is if its name is its own.
    fn local(&mut self, cell: &Cell2, pair: Option<&CellPair>, place: Place) -> Result<Held> {
        let new = match pair {
            Some(pair) => pair.new_value,
            None => self.vm.upvalue_value(cell.function, cell.index)?,
        };
        let held = self.held(new, None)?;
        let Some(pair) = pair.filter(|pair| {
            self.base.is_known() && !matches!(pair.fate, CellFate::Take | CellFate::Constant)
        }) else {
            return Ok(held);
        };
        let (new, old) = (self.vm.val(new), self.vm.val(pair.old_value));
        let is_plain = |val: Val| is_scalar(val) || val.is_nil();
        if !(is_plain(old) || is_plain(new) && old.is_table()) {
            return Ok(held);
        }
        let function = self.pairing.old_cells.get(pair.old as usize).copied();
        let known = function
            .and_then(|cell| {
                let number = self.numbers.of(self.vm, cell.function)?;
                Some(base::local_of(self.vm, number, cell.function, cell.index))
            })
            .filter(|place| self.base.is_there(*place))
            .unwrap_or(place);
        let running = self.running(pair.old_value);
        Ok(running
            .filter(|running| self.base.is(known, *running))
            .unwrap_or(held))
    }

    /// Data that the file has no longer, and that stays as the file had it: so does its record.
    fn file_lacks(&mut self) -> Result<()> {
        for i in 0..self.tables.len() {
            let Some((met, old, old_path)) = self
                .tables
                .get(i)
                .filter(|_| self.keeps)
                .and_then(|walked| Some((walked.met, walked.old, walked.old_path?)))
            else {
                continue;
            };
            let mut left = self.base.keys(old_path);
            let mut cursor = self.vm.walk(met.table, Ref::NIL)?;
            while left > 0 && cursor.next(self.vm).is_some() {
                let key = cursor.key_digest(self.vm);
                let known = key.is_some_and(|key| self.base.is_there(old_path.place(key)));
                left -= usize::from(known);
            }
            cursor.end(self.vm);
            if left == 0 {
                continue;
            }
            let mut more = 0;
            let mut cursor = self.vm.walk(old, met.table)?;
            while let Some(entry) = cursor.next(self.vm) {
                let digests = (cursor.key_digest(self.vm), cursor.value_digest(self.vm));
                let (Some(key), Some(digest), true) = (digests.0, digests.1, entry.old.is_nil())
                else {
                    continue;
                };
                if self.base.had(old_path.place(key), Some(digest)) {
                    let word = met.path.place(key).word(Held::scalar(digest));
                    self.words.try_push(word)?;
                    more += 1;
                }
            }
            if let Some(walked) = self.tables.get_mut(i) {
                walked.keys += more;
            }
        }
        Ok(())
    }

    /// Where a table that existed holds what is on record already, the chunk has changed nothing:
    /// that stays on record.
    fn rest_stays(&mut self) -> Result<()> {
        let mut now: FxHashSet<u64> = FxHashSet::default();
        for change in &self.loaded.changes {
            if let Some(digest) = change.key.and_then(|key| self.vm.digest(key)) {
                let table = self.vm.val(change.table).addr as u64;
                now.try_insert_value(digest ^ table.rotate_left(32), ())?;
            }
        }
        let mut answered: FxHashSet<usize> = FxHashSet::default();
        answered.try_reserve(self.pairing.tables.len())?;
        answered.extend(
            self.pairing
                .tables
                .values()
                .map(|old| self.vm.val(*old).addr),
        );
        for number in 0..self.loaded.snapshot.len() {
            let Some(was) = self.loaded.snapshot.slots_of(number) else {
                continue;
            };
            let val = self.vm.val(was.table);
            if answered.contains(&val.addr) || was.table == self.context.loaded {
                continue;
            }
            let path = if val == self.vm.val(self.context.globals) {
                Path::root(self.vm, Root::Globals.name())
            } else if let Some(number) = self.numbers.of(self.vm, was.table) {
                Path::of(number)
            } else {
                continue;
            };
            if !self.base.knows(path) {
                continue;
            }
            for KeyValue { key, value } in was.slots() {
                let Some(digest) = self.vm.digest(key) else {
                    continue;
                };
                let is_written = now.contains(&(digest ^ (val.addr as u64).rotate_left(32)));
                let held = self.base.get(path.place(digest)).filter(|_| !is_written);
                if let Some(held) = held.filter(|_| self.vm.kind(value) != Kind::Nil) {
                    self.words.try_push(path.place(digest).word(held))?;
                    self.count(path)?;
                }
            }
        }
        Ok(())
    }
}
