//! R8: what the next reload is to have on record of this load, and the numbers of its objects.
//!
//! A plain pass over what pairing has found, from what the chunk returned, what it wrote and its
//! locals, into each table that it made. It notes what the file says. One thing differs: where only
//! the file has changed a value, and `data = "keep"` left the running one alone, the older record
//! stays. So that value is known to be no choice of the program's, now and later.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::definitions::Indices;
use crate::lua::vm::{KeptEntry, KeyDigests, KeyValue, Kind, Ref, TableCursor, Val, Vm};
use crate::model::base::{self, Base, Held, Path, RecordedPlace};
use crate::model::lineage::{Continued, Lineage, Numbers};
use crate::model::options::{Data, Options};
use crate::model::ownership::Ownership;
use crate::model::site::Root;
use crate::stages::find::Context;
use crate::stages::load::Loaded;
use crate::stages::matching::{
    Cell2, CellFate, CellPair, Pairing, StayingElement, are_two_kinds, is_recorded, is_scalar,
};
use crate::stages::snapshot::Change;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, add_sorted, copied};

/// In a table of more keys than these, tables of plain data are rows: they go by their places.
const MOST_NUMBERED: usize = 64;

/// What is put down of a load, if it is kept.
pub struct Record {
    /// What is on record, to be packed; nothing in a dry run.
    pub words: Vec<u64>,
    /// The numbers that objects get.
    pub numbers: Numbers,
}

/// Makes the record of a reload; `functions` are the file's, each with the one that it continues.
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
    let base = std::mem::take(&mut pairing.base);
    let mut numbers = Numbers::new(vm, lineage)?;
    numbers.functions(vm, functions)?;
    let keeps = options.data == Data::Keep && base.is_known();
    let stays = options.data != Data::Replace;
    let made = ObjectsMade::ByReload(loaded, pairing);
    let mut recorder = Recorder::new(vm, context, numbers, made);
    recorder.base = base;
    recorder.unsure = !recorder.base.is_known() && context.is_loaded();
    (recorder.keeps, recorder.stays) = (keeps, stays);
    if !options.dry_run {
        recorder.met.try_reserve(pairing.paired.len())?;
        let outcome = recorder.run(loaded, pairing);
        recorder.vm.end_walk();
        outcome?;
    }
    Ok(recorder.end())
}

/// Makes the record of a load that was Lua's: from what the loader `main` returned, which is
/// `value`, and what it has set among the globals, of which `before` is a copy. True when the text
/// is needed to tell definitions from references.
///
/// What is new is not known then. A table is the module's own that has no number, that is no other
/// module's object, and that was no global before; a function is that has the loader's source.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn of_first_load(
    vm: &mut Vm,
    context: &Context,
    lineage: Lineage,
    [main, value, before]: [Ref; 3],
) -> Result<(Record, bool)> {
    let numbers = Numbers::new(vm, lineage)?;
    let own = vm.val(value).addr;
    let mut load = Load {
        own,
        ..Load::default()
    };
    load.ownership.add_loader(vm, main)?;
    let mut cursor = vm.walk(before, Ref::NIL)?;
    while let Some(entry) = cursor.next(vm) {
        if entry.new.is_table() && entry.new.addr != own {
            load.globals.try_insert_value(entry.new.addr, ())?;
        }
    }
    let mut recorder = Recorder::new(vm, context, numbers, ObjectsMade::ByLoad(load));
    let outcome = recorder.run_first(value, before);
    recorder.vm.end_walk();
    outcome?;
    let has_references = recorder.has_references;
    let record = recorder.end();
    // What a file gives others is out of sight: only a file without functions is one of data.
    let needs_text = has_references || vm.makes_functions(main)?;
    Ok((record, needs_text))
}

/// How the objects of which the record is made came to be.
enum ObjectsMade<'a> {
    ByReload(&'a Loaded, &'a Pairing),
    ByLoad(Load),
}

/// What is known of a load that was Lua's.
#[derive(Default)]
struct Load {
    ownership: Ownership,
    /// The address of what the loader returned.
    own: usize,
    /// Tables that were globals before, by address.
    globals: FxHashSet<usize>,
    /// Functions of the module's own whose cells are to be looked at.
    functions: Vec<Ref>,
}

struct Recorder<'a> {
    vm: &'a mut Vm,
    context: &'a Context,
    made: ObjectsMade<'a>,
    /// What was on record until now.
    base: Base,
    /// A value that only the file has changed stays as it runs.
    keeps: bool,
    /// Data may stay as it runs.
    stays: bool,
    /// There was no record.
    unsure: bool,
    numbers: Numbers,
    words: Vec<u64>,
    /// The incoming tables that were met, by address.
    met: FxHashSet<usize>,
    /// The running tables that answer to one of the file's, when somebody has asked.
    answered: Option<FxHashSet<usize>>,
    /// The addresses of objects that stay where the file imports others, and that nothing else
    /// holds.
    kept_imports: FxHashSet<usize>,
    waiting: Vec<MetTable>,
    /// The digests of the keys of rows.
    keys: KeyDigests,
    /// Tables in lists, which are looked at last.
    rows: Vec<RecordEntry>,
    /// Words that take tables for rows that are none, each with the right one.
    no_rows: FxHashMap<u64, u64>,
    tables: Vec<Walked>,
    /// Something stands in a place that did not make it, or is a function: only the text says which
    /// of its places is a reference.
    has_references: bool,
    /// How many words the tables have that existed before.
    written: FxHashMap<u64, (Path, usize)>,
}

/// A local.
#[derive(Clone, Copy)]
struct RecordedLocal {
    /// A function that has it, and the number of the upvalue.
    upvalue: (Ref, u8),
    /// The digest of the name that it has there.
    name: u64,
    /// A function of the module's own has it, and its name is the only one such.
    is_only: bool,
    held: Held,
}

/// An incoming table to be walked.
#[derive(Clone, Copy)]
struct MetTable {
    table: Ref,
    path: Path,
    /// Where it stands, for a row.
    row: Option<RecordedPlace>,
}

/// An incoming table that was walked.
struct Walked {
    met: MetTable,
    /// The running table, with its path as far as it is on record.
    old: Ref,
    old_path: Option<Path>,
    keys: usize,
    /// Its integer keys are names.
    is_map: bool,
    /// Its list is on record element by element.
    is_list: bool,
}

/// An entry that is an object, or that the running version has something else for.
struct RecordEntry {
    place: RecordedPlace,
    /// Where it may be on record.
    known: Option<RecordedPlace>,
    /// It stands in a list, or in a row of one.
    in_list: bool,
    /// It is an element of a list, where plain data stay exactly as they run.
    is_element: bool,
    new: Ref,
    old: Ref,
}

impl<'a> Recorder<'a> {
    fn new(vm: &'a mut Vm, context: &'a Context, numbers: Numbers, made: ObjectsMade<'a>) -> Self {
        Recorder {
            vm,
            context,
            made,
            base: Base::default(),
            keeps: false,
            stays: false,
            unsure: false,
            numbers,
            words: Vec::new(),
            met: FxHashSet::default(),
            answered: None,
            kept_imports: FxHashSet::default(),
            waiting: Vec::new(),
            keys: KeyDigests::default(),
            rows: Vec::new(),
            no_rows: FxHashMap::default(),
            tables: Vec::new(),
            has_references: false,
            written: FxHashMap::default(),
        }
    }

    fn end(self) -> Record {
        Record {
            words: self.words,
            numbers: self.numbers,
        }
    }

    fn run(&mut self, loaded: &Loaded, pairing: &Pairing) -> Result<()> {
        let differing = pairing.differing.iter().map(|differing| &differing.running);
        for running in differing.chain(&pairing.products) {
            let address = self.vm.val(*running).addr;
            if address != 0 {
                self.kept_imports.try_insert_value(address, ())?;
            }
        }
        let result = self.held(loaded.value, None)?;
        self.words.try_push(RecordedPlace::RESULT.word(result))?;
        for change in copied(&loaded.changes)? {
            self.change(&change)?;
        }
        self.cells(pairing)?;
        for given in copied(&loaded.left.given)? {
            self.held(given, None)?;
        }
        loop {
            if let Some(met) = self.waiting.pop() {
                self.table(met)?;
            } else if !self.take_rows()? {
                break;
            }
        }
        self.correct();
        self.words.sort_unstable();
        let mut counts = self.counts()?;
        counts.sort_unstable();
        let has_moved = |walked: &Walked| {
            let before = walked.old_path;
            before.is_some_and(|before| before != walked.met.path)
        };
        if self.base.has_more_places([&self.words, &counts]) || self.tables.iter().any(has_moved) {
            self.file_lacks()?;
            self.rest_stays(loaded)?;
            self.words.sort_unstable();
            counts = self.counts()?;
            counts.sort_unstable();
        }
        add_sorted(&mut self.words, &counts)
    }

    fn run_first(&mut self, value: Ref, before: Ref) -> Result<()> {
        let result = self.held(value, None)?;
        self.words.try_push(RecordedPlace::RESULT.word(result))?;
        let globals = self.context.globals;
        let mut changes = Vec::new();
        let mut cursor = self.vm.walk(globals, before)?;
        while cursor.next(self.vm).is_some() {
            if !cursor.values_equal(self.vm) {
                let KeptEntry { key, old, new } = cursor.keep(self.vm)?;
                changes.try_push(Change {
                    table: globals,
                    number: 0,
                    key: Some(key),
                    old,
                    new,
                })?;
            }
        }
        for change in changes {
            self.change(&change)?;
        }
        let mut known: FxHashMap<usize, u32> = FxHashMap::default();
        let (mut locals, mut owners, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            if let Some(met) = self.waiting.pop() {
                self.table(met)?;
                continue;
            }
            let ObjectsMade::ByLoad(load) = &mut self.made else {
                break;
            };
            let Some(function) = load.functions.pop() else {
                if self.take_rows()? {
                    continue;
                }
                break;
            };
            let upvalues = self.vm.info(function)?.unwrap_or_default().upvalues;
            cells.clear();
            cells.try_reserve(upvalues.into())?;
            cells.extend_from_slice(self.vm.cells(function, upvalues)?);
            for (cell, index) in cells.iter().zip(1..) {
                let number = match known.get(cell) {
                    Some(number) => *number,
                    None => {
                        known.try_insert_value(*cell, locals.len() as u32)?;
                        let local = self.local_of_load(function, index)?;
                        locals.try_push(local)?;
                        locals.len() as u32 - 1
                    }
                };
                owners.try_push((function, index, number))?;
            }
        }
        let mut named: FxHashMap<u64, u32> = FxHashMap::default();
        named.try_reserve(locals.len())?;
        for local in locals.iter().flatten() {
            *named.entry(local.name).or_insert(0) += 1;
        }
        for local in locals.iter_mut().flatten() {
            local.is_only = named.get(&local.name) == Some(&1);
        }
        self.locals(&locals, owners.into_iter())?;
        self.correct();
        let counts = self.counts()?;
        self.words.try_reserve(counts.len())?;
        self.words.extend(counts);
        Ok(())
    }

    /// A local of a load that was Lua's; none for the environment.
    fn local_of_load(&mut self, function: Ref, index: u8) -> Result<Option<RecordedLocal>> {
        let vm = &self.vm;
        let name = vm.with_upvalue_name(function, index, |name| {
            (name != b"_ENV").then(|| vm.digest_of(name))
        });
        let Some(name) = name else {
            return Ok(None);
        };
        let value = self.vm.upvalue_value(function, index)?;
        Ok(Some(RecordedLocal {
            upvalue: (function, index),
            name,
            is_only: false,
            held: self.held(value, None)?,
        }))
    }

    /// Puts the right words in place of those that take tables for rows that are none.
    fn correct(&mut self) {
        if self.no_rows.is_empty() {
            return;
        }
        for word in &mut self.words {
            *word = self.no_rows.get(word).copied().unwrap_or(*word);
        }
    }

    /// How many keys of each table are on record: words.
    fn counts(&self) -> Result<Vec<u64>> {
        let mut words = Vec::new();
        words.try_reserve_exact(self.tables.len() + self.written.len())?;
        let walked = self.tables.iter();
        words.extend(walked.map(|walked| walked.met.path.count_word(walked.keys, walked.is_map)));
        let written = self.written.values();
        words.extend(written.map(|(path, keys)| path.count_word(*keys, false)));
        Ok(words)
    }

    /// A table that the load has made: is it met for the first time, and its number, if it has one.
    fn meet(&mut self, table: Ref, address: usize) -> Result<Option<(bool, Option<i64>)>> {
        if let ObjectsMade::ByReload(loaded, _) = &self.made
            && loaded.fresh.order(address).is_none()
        {
            return Ok(None);
        }
        let first = self.met.try_insert_value(address, ())?.is_none();
        let load = match &self.made {
            ObjectsMade::ByLoad(load) if first => load,
            ObjectsMade::ByLoad(_) => return Ok(Some((false, self.numbers.given(address)))),
            ObjectsMade::ByReload(_, pairing) => {
                let running = pairing.tables.get(&address).copied().unwrap_or(table);
                return Ok(Some((first, self.numbers.of(self.vm, running))));
            }
        };
        let note = self.numbers.lineage.note(self.vm, table);
        let is_number = |note| Lineage::number_in(note).is_some();
        if load.globals.contains(&address)
            || note.is_some_and(|note| address != load.own || is_number(note))
        {
            self.met.remove(&address);
            return Ok(None);
        }
        Ok(Some((true, None)))
    }

    /// What an object or a scalar is on record as. A table of the file's is walked later; it is a
    /// row if it stands in a list, at `row`, and that walk finds plain data.
    fn held(&mut self, value: Ref, row: Option<RecordedPlace>) -> Result<Held> {
        let val = self.vm.val(value);
        let made = match val.is_table() {
            true => self.meet(value, val.addr)?,
            false => match self.vm.digest(value) {
                Some(digest) => return Ok(Held::scalar(digest)),
                None => None,
            },
        };
        let Some((first, known)) = made else {
            self.has_references = true;
            let number = self.number(value, val)?;
            return Ok(number.map_or(Held::OTHER, Held::object));
        };
        self.has_references |= !first;
        let row = row.filter(|_| known.is_none());
        let (held, path) = match row {
            Some(place) if first => (Held::ROW, Some(place.path())),
            Some(_) => (Held::OTHER, None),
            None => {
                let held = self.own(value, val.addr)?;
                (held, held.number().map(Path::of))
            }
        };
        let path = path.filter(|_| first);
        if let Some(path) = path
            && !(row.is_some() && self.row_of_scalars(value, path)?)
        {
            self.waiting.try_push(MetTable {
                table: value,
                path,
                row,
            })?;
        }
        Ok(held)
    }

    /// Notes a row of a load that was Lua's, if it holds scalars alone: most do.
    fn row_of_scalars(&mut self, row: Ref, path: Path) -> Result<bool> {
        if self.pairing().is_some() {
            return Ok(false);
        }
        let mark = self.words.len();
        let mut indices = Indices::default();
        let are_all = self
            .vm
            .scalars(row, &mut self.keys, |key, value, integer| {
                indices.add(integer);
                let word = path.place(key).word(Held::scalar(value));
                self.words.try_push(word)
            })?;
        if !are_all {
            self.words.truncate(mark);
            return Ok(false);
        }
        let keys = self.words.len() - mark;
        let count = path.count_word(keys, indices.have_holes());
        self.words.try_push(count)?;
        Ok(true)
    }

    /// A table of the file's by its number.
    fn own(&mut self, table: Ref, address: usize) -> Result<Held> {
        let running = self.running_table(address).unwrap_or(table);
        let number = self.numbers.own(self.vm, running)?;
        Ok(number.map_or(Held::OTHER, Held::object))
    }

    /// The same for a function that a walk has come to.
    fn held_function(&mut self, cursor: &TableCursor, val: Val) -> Result<Held> {
        if let Some(number) = self.numbers.given(val.addr) {
            self.has_references = true;
            return Ok(Held::object(number));
        }
        let function = cursor.keep_pair(self.vm)?.value;
        self.held(function, None)
    }

    /// The running table for one of the incoming version.
    fn running_table(&self, address: usize) -> Option<Ref> {
        self.pairing()?.tables.get(&address).copied()
    }

    /// Is the index one of a running table's list that is looked at element by element?
    fn is_listed(&self, table: Ref, index: Option<i64>) -> bool {
        let address = self.vm.val(table).addr;
        let pairing = self.pairing();
        pairing.is_some_and(|pairing| pairing.is_listed(address, index))
    }

    /// What answers to what; none for a load that was Lua's.
    fn pairing(&self) -> Option<&'a Pairing> {
        match &self.made {
            ObjectsMade::ByReload(_, pairing) => Some(pairing),
            ObjectsMade::ByLoad(_) => None,
        }
    }

    /// The number of an object that is no table of the file's.
    fn number(&mut self, value: Ref, val: Val) -> Result<Option<i64>> {
        let known = self.numbers.of(self.vm, value);
        let is_made = match &mut self.made {
            _ if known.is_some() => true,
            // What C makes for the chunk has no number yet, as what others have made.
            ObjectsMade::ByReload(loaded, _) => {
                !self.vm.is_of_c(value) && loaded.fresh.order(val.addr).is_some()
            }
            ObjectsMade::ByLoad(load) => {
                if val.is_function() && load.ownership.has_function(self.vm, value)? {
                    load.functions.try_push(value)?;
                    return self.numbers.own(self.vm, value);
                }
                false
            }
        };
        match is_made {
            true => Ok(known),
            false => self.numbers.external(self.vm, value),
        }
    }

    /// What is on record as what the running version has at a place; none for what can't be.
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
    fn note(&mut self, entry: &RecordEntry) -> Result<()> {
        let row = Some(entry.place).filter(|_| entry.in_list);
        let mut held = self.held(entry.new, row)?;
        if entry.old == Ref::NIL || self.vm.val(entry.old).is_nil() {
            return self.words.try_push(entry.place.word(held));
        }
        let (new, old) = (self.vm.val(entry.new), self.vm.val(entry.old));
        // Where the kind differs, the file's stands there by now.
        let is_data = is_scalar(old) || is_scalar(new) && old.is_table();
        let are_two_kinds = are_two_kinds(self.vm, entry.old, entry.new);
        let is_taken = !entry.is_element && are_two_kinds && !new.is_function();
        if !entry.in_list
            && !are_two_kinds
            && is_scalar(old)
            && let Some(digest) = self.vm.digest(entry.new)
            && !self.vm.same(entry.new, entry.old)
            && self.is_unsure(entry.known)
        {
            held = Held::unsure(digest);
        }
        if self.keeps
            && !is_taken
            && is_data
            && let Some((known, running)) = entry.known.zip(self.running(entry.old))
            && self.base.is(known, running)
            && (!old.is_table() || self.is_as_loaded(running, known, entry.old)?)
        {
            held = running;
            self.row_stays(held, [known, entry.place], entry.old)?;
        }
        let held = self.kept_import(entry.known, entry.old).unwrap_or(held);
        self.words.try_push(entry.place.word(held))
    }

    /// What was on record of an import that stays, if it did; see `kept_imports`.
    fn kept_import(&self, known: Option<RecordedPlace>, old: Ref) -> Option<Held> {
        if !self.kept_imports.contains(&self.vm.val(old).addr) {
            return None;
        }
        let held = Held::object(self.numbers.of(self.vm, old)?);
        self.base.is(known?, held).then_some(held)
    }

    /// Does data stay at a place of which nobody knows what was loaded there?
    fn is_unsure(&self, known: Option<RecordedPlace>) -> bool {
        let held = known.map(|known| self.base.get(known));
        let is_unsure = held.is_none_or(|held| held.is_some_and(Held::is_unsure));
        self.stays && (self.unsure || is_unsure)
    }

    /// When nothing else is left: what may be rows. A table that stands in several places is none,
    /// nor is one that was met elsewhere. True when there were some.
    fn take_rows(&mut self) -> Result<bool> {
        let rows = std::mem::take(&mut self.rows);
        let mut places: FxHashMap<usize, bool> = FxHashMap::default();
        places.try_reserve(rows.len())?;
        self.met.try_reserve(rows.len())?;
        self.words.try_reserve(rows.len())?;
        for row in &rows {
            let is_one = places.entry(self.vm.val(row.new).addr);
            is_one.and_modify(|is_one| *is_one = false).or_insert(true);
        }
        let some = !rows.is_empty();
        for mut row in rows {
            let is_one = places.get(&self.vm.val(row.new).addr).copied();
            row.in_list = is_one == Some(true);
            self.note(&row)?;
        }
        Ok(some)
    }

    /// What passed for a row goes by a number: it has a metatable, or a function.
    /// The words and rows that its walk has found, from these numbers on, go.
    fn no_row(
        &mut self,
        table: Ref,
        place: RecordedPlace,
        [words, rows]: [usize; 2],
    ) -> Result<()> {
        self.words.truncate(words);
        self.rows.truncate(rows);
        let held = self.own(table, self.vm.val(table).addr)?;
        self.no_rows
            .try_insert_value(place.word(Held::ROW), place.word(held))?;
        if let Some(number) = held.number() {
            self.waiting.try_push(MetTable {
                table,
                path: Path::of(number),
                row: None,
            })?;
        }
        Ok(())
    }

    /// Notes what an incoming table holds.
    fn table(&mut self, met: MetTable) -> Result<()> {
        let MetTable { table, path, row } = met;
        let metatable = self.vm.metatable(table)?;
        let (words, rows) = (self.words.len(), self.rows.len());
        if let Some(place) = row.filter(|_| metatable != Ref::NIL) {
            return self.no_row(table, place, [words, rows]);
        }
        let address = self.vm.val(table).addr;
        let old = self.running_table(address).unwrap_or_default();
        let pairing = self.pairing();
        let old_path = pairing.and_then(|it| it.paths.get(&self.vm.val(old).addr).copied());
        let mut entries = Vec::new();
        let list = pairing.and_then(|pairing| pairing.recorded.get(&address));
        let is_list = list.is_some();
        let (elements, stays) = list.map_or((&[][..], &[][..]), |it| (&it.elements, &it.stays));
        let (elements, stays) = (copied(elements)?, copied(stays)?);
        let mut keys = stays.len();
        let mut indices = Indices::default();
        let mut under_objects = Vec::new();
        let mut cursor = self.vm.walk(table, old)?;
        while let Some(entry) = cursor.next(self.vm) {
            if let Some(place) = row.filter(|_| entry.new.is_function()) {
                cursor.end(self.vm);
                return self.no_row(table, place, [words, rows]);
            }
            let Some(key) = cursor.key_digest(self.vm) else {
                self.has_references |= entry.key.is_function();
                if entry.key.is_table() {
                    under_objects.try_push(cursor.keep_pair(self.vm)?)?;
                }
                continue;
            };
            let integer = cursor.key_integer(self.vm);
            let index = integer.and_then(|index| index.checked_sub(1));
            let element = index.and_then(|index| elements.get(usize::try_from(index).ok()?));
            if let Some(element) = element {
                if let Some(index) = element.index {
                    keys += 1;
                    let [new, _] = cursor.keep_values(self.vm, entry.new)?;
                    let entry = RecordEntry {
                        place: path.place(self.vm.digest_of_integer(index)),
                        known: element.known,
                        in_list: true,
                        is_element: true,
                        new,
                        old: element.old,
                    };
                    self.queue(&mut entries, entry)?;
                }
                continue;
            }
            keys += 1;
            indices.add(integer);
            let place = path.place(key);
            // No data on either side: it is what it is on record.
            let is_kept = self.kept_imports.contains(&entry.old.addr);
            if entry.new.is_function() && !is_scalar(entry.old) && !is_kept {
                let held = self.held_function(&cursor, entry.new)?;
                self.words.try_push(place.word(held))?;
                continue;
            }
            let is_taken = |vm: &Vm| !self.stays || entry.old.is_nil() || cursor.values_equal(vm);
            match cursor.value_digest(self.vm).filter(|_| is_taken(self.vm)) {
                Some(digest) => self.words.try_push(place.word(Held::scalar(digest)))?,
                None => {
                    let [new, old] = cursor.keep_values(self.vm, entry.new)?;
                    let entry = RecordEntry {
                        place,
                        known: old_path.map(|path| path.place(key)),
                        in_list: row.is_some() || integer.is_some(),
                        is_element: self.is_listed(old, integer),
                        new,
                        old,
                    };
                    self.queue(&mut entries, entry)?;
                }
            }
        }
        self.elements_stay(path, stays)?;
        for under in under_objects {
            if let Some(entry) = self.under_object(under, &met, (old, old_path))? {
                keys += 1;
                self.queue(&mut entries, entry)?;
            }
        }
        self.note_all(entries, rows, keys)?;
        if metatable != Ref::NIL {
            let held = self.held(metatable, None)?;
            self.words.try_push(path.metatable().word(held))?;
        }
        let is_map = indices.have_holes() || old_path.is_some_and(|path| self.base.is_map(path));
        if pairing.is_none() {
            return self.words.try_push(path.count_word(keys, is_map));
        }
        self.tables.try_push(Walked {
            met,
            old,
            old_path,
            keys,
            is_map,
            is_list,
        })
    }

    /// Notes the entries of a table of so many keys; of those that are tables, which are the rows
    /// from a number on, what is no row.
    fn note_all(&mut self, entries: Vec<RecordEntry>, rows: usize, keys: usize) -> Result<()> {
        for mut entry in entries {
            entry.in_list |= keys > MOST_NUMBERED;
            self.note(&entry)?;
        }
        // In a small table those stay rows that stand in a list.
        let mut next = rows;
        while keys <= MOST_NUMBERED && next < self.rows.len() {
            match self.rows.get(next) {
                Some(row) if !row.in_list => {
                    let entry = self.rows.swap_remove(next);
                    self.note(&entry)?;
                }
                _ => next += 1,
            }
        }
        Ok(())
    }

    /// Puts an entry where its kind is noted: a table may be a row.
    fn queue(&mut self, entries: &mut Vec<RecordEntry>, entry: RecordEntry) -> Result<()> {
        match self.vm.val(entry.new).is_table() {
            true => self.rows.try_push(entry),
            false => entries.try_push(entry),
        }
    }

    /// Elements of a list that the file has no longer.
    fn elements_stay(&mut self, list: Path, stays: Vec<StayingElement>) -> Result<()> {
        for StayingElement {
            index,
            held,
            known,
            old,
        } in stays
        {
            let place = list.place(self.vm.digest_of_integer(index));
            self.words.try_push(place.word(held))?;
            self.row_stays(held, [known, place], old)?;
        }
        Ok(())
    }

    /// An entry under a key that is a table, which goes by that one's number.
    fn under_object(
        &mut self,
        KeyValue { key, value }: KeyValue,
        met: &MetTable,
        (old, old_path): (Ref, Option<Path>),
    ) -> Result<Option<RecordEntry>> {
        let running = self.running_table(self.vm.val(key).addr).unwrap_or(key);
        let Some(number) = self.held(key, None)?.number() else {
            return Ok(None);
        };
        Ok(Some(RecordEntry {
            place: met.path.place_by_object(number),
            known: old_path.map(|path| path.place_by_object(number)),
            in_list: met.row.is_some(),
            is_element: false,
            new: value,
            old: match old {
                Ref::NIL => Ref::NIL,
                old => self.vm.get(old, running)?,
            },
        }))
    }

    /// A row that the file has no longer stays with all that is on record of it: what goes by its
    /// place moves with the row, from one place to another.
    fn row_stays(&mut self, held: Held, places: [RecordedPlace; 2], row: Ref) -> Result<()> {
        let mut work = Vec::new();
        work.try_push((held, places, row))?;
        while let Some((held, places, row)) = work.pop() {
            let val = self.vm.val(row);
            let [known, now] = match held.number().map(Path::of) {
                // What the file has elsewhere, or what was met already, is on record.
                Some(_) if !self.stays_alone(val.addr)? => continue,
                Some(path) => [path; 2],
                None if held == Held::ROW => places.map(RecordedPlace::path),
                None => continue,
            };
            if !self.base.knows(known) || !val.is_table() {
                continue;
            }
            self.words
                .try_push(now.count_word(self.base.keys(known), self.base.is_map(known)))?;
            if let Some(held) = self.base.get(known.metatable()) {
                self.words.try_push(now.metatable().word(held))?;
            }
            let mut cursor = self.vm.walk(row, Ref::NIL)?;
            while let Some(entry) = cursor.next(self.vm) {
                let Some(key) = cursor.key_digest(self.vm) else {
                    continue;
                };
                let (from, to) = (known.place(key), now.place(key));
                let Some(held) = self.base.get(from) else {
                    continue;
                };
                self.words.try_push(to.word(held))?;
                if entry.new.is_table() {
                    let inner = cursor.keep_pair(self.vm)?.value;
                    work.try_push((held, [from, to], inner))?;
                }
            }
        }
        Ok(())
    }

    /// Has a running table what is on record of it, and nothing else, at any depth?
    fn is_as_loaded(&mut self, held: Held, place: RecordedPlace, table: Ref) -> Result<bool> {
        let (mut work, mut seen) = (Vec::new(), FxHashSet::default());
        work.try_push((held, place, table))?;
        while let Some((held, place, table)) = work.pop() {
            if self.running(table) != Some(held) {
                return Ok(false);
            }
            let address = self.vm.val(table).addr;
            let path = held.number().map_or(place.path(), Path::of);
            if !self.base.knows(path) || self.is_answered(address)? {
                continue; // a reference: to what others have made, or the file has elsewhere
            }
            let is_met = seen.try_insert_value(address, ())?.is_some();
            if is_met || !self.vm.metatable_val(table).is_nil() {
                return Ok(false);
            }
            let mut left = self.base.keys(path);
            let mut cursor = self.vm.walk(table, Ref::NIL)?;
            while let Some(entry) = cursor.next(self.vm) {
                let place = cursor.key_digest(self.vm).map(|key| path.place(key));
                let held = place.and_then(|place| Some((self.base.get(place)?, place)));
                let is_table = entry.new.is_table();
                let is_same =
                    |(held, _)| Some(held) == cursor.value_digest(self.vm).map(Held::scalar);
                let Some((held, place)) = held.filter(|it| is_table || is_same(*it)) else {
                    cursor.end(self.vm);
                    return Ok(false);
                };
                left = left.wrapping_sub(1);
                if is_table {
                    work.try_push((held, place, cursor.keep_pair(self.vm)?.value))?;
                }
            }
            if left != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Is it a running table that the file has nowhere, and that is met for the first time?
    fn stays_alone(&mut self, address: usize) -> Result<bool> {
        Ok(!self.is_answered(address)? && self.met.try_insert_value(address, ())?.is_none())
    }

    /// Is it a running table that answers to one of the file's?
    fn is_answered(&mut self, address: usize) -> Result<bool> {
        if let (None, ObjectsMade::ByReload(_, pairing)) = (&self.answered, &self.made) {
            let mut answered: FxHashSet<usize> = FxHashSet::default();
            answered.try_reserve(pairing.tables.len())?;
            answered.extend(pairing.tables.values().map(|old| self.vm.val(*old).addr));
            self.answered = Some(answered);
        }
        let answered = self.answered.as_ref();
        Ok(answered.is_some_and(|answered| answered.contains(&address)))
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

    /// Notes what the chunk wrote into a table that existed.
    fn change(&mut self, change: &Change) -> Result<()> {
        let is_global = self.vm.val(change.table) == self.vm.val(self.context.globals);
        let Some(key) = change.key else {
            if let Some(path) = self.path_of(change.table)? {
                let held = self.held(change.new, None)?;
                self.words.try_push(path.metatable().word(held))?;
            }
            return Ok(());
        };
        let is_left_out = !is_recorded(self.vm, self.context, change.table, key)
            || self.vm.val(change.new).is_nil()
            || is_global && self.vm.is_string(key, b"__hotfix");
        let Some(digest) = self.vm.digest(key).filter(|_| !is_left_out) else {
            return Ok(());
        };
        let Some(path) = self.path_of(change.table)? else {
            return Ok(());
        };
        let place = path.place(digest);
        self.count(path)?;
        self.note(&RecordEntry {
            place,
            known: Some(place),
            in_list: false,
            is_element: self.vm.integer(key).is_some(),
            new: change.new,
            old: change.old,
        })
    }

    fn cells(&mut self, pairing: &Pairing) -> Result<()> {
        let mut pairs: Vec<u32> = Vec::new();
        pairs.try_reserve_exact(pairing.new_cells.len())?;
        pairs.resize(pairing.new_cells.len(), u32::MAX);
        for (i, pair) in pairing.cell_pairs.iter().enumerate() {
            if let Some(place) = pairs.get_mut(pair.new as usize) {
                *place = i as u32;
            }
        }
        // Many cells have one name, such as those of what a factory makes: its digest, and how many
        // cells of the module's own functions have it.
        let mut names: Vec<(Option<u64>, u32)> = Vec::new();
        for cell in &pairing.new_cells {
            let number = cell.name.number();
            if let Some(more) = (number + 1).checked_sub(names.len()) {
                names.try_reserve(more)?;
                names.resize(number + 1, (None, 0));
            }
            if let Some((_, count)) = names.get_mut(number) {
                *count += u32::from(cell.own && !cell.environment);
            }
        }
        let mut locals = Vec::new();
        locals.try_reserve_exact(pairing.new_cells.len())?;
        for (cell, pair) in pairing.new_cells.iter().zip(pairs) {
            if cell.environment {
                locals.try_push(None)?;
                continue;
            }
            let pair = pairing.cell_pairs.get(pair as usize);
            let Some((name, count)) = names.get_mut(cell.name.number()) else {
                break;
            };
            let digest = || base::name_of_upvalue(self.vm, cell.function, cell.index);
            let name = *name.get_or_insert_with(digest);
            let is_only = cell.own && *count == 1;
            locals.try_push(Some(RecordedLocal {
                upvalue: (cell.function, cell.index),
                name,
                is_only,
                held: self.local(cell, pair, name)?,
            }))?;
        }
        let owners = pairing.new.iter().flat_map(|function| {
            let upvalues = pairing.upvalues_of(function.upvalues);
            upvalues
                .iter()
                .map(|upvalue| (function.at, upvalue.index, upvalue.cell))
        });
        self.words.try_reserve(pairing.upvalues())?;
        self.locals(&locals, owners)?;
        for (name, table) in &pairing.local_tables {
            let is_met = names.iter().any(|(met, _)| *met == Some(*name));
            if let Some(number) = self.numbers.of(self.vm, *table).filter(|_| !is_met) {
                let place = Path::LOCALS.place(*name);
                self.words.try_push(place.word(Held::object(number)))?;
            }
        }
        Ok(())
    }

    /// Notes locals by their names; those of other modules' functions, and those whose names others
    /// have as well, by the functions that have them. `owners`: functions, with the number of an
    /// upvalue and of the local that it is.
    fn locals(
        &mut self,
        locals: &[Option<RecordedLocal>],
        owners: impl Iterator<Item = (Ref, u8, u32)>,
    ) -> Result<()> {
        self.words.try_reserve(locals.len())?;
        let mut all = true;
        for local in locals.iter().flatten() {
            if local.is_only {
                self.words
                    .try_push(Path::LOCALS.place(local.name).word(local.held))?;
            } else {
                all = false;
            }
        }
        let mut last = (Ref::NIL, None); // a function, and the path of its locals
        for (function, index, local) in owners.take_while(|_| !all) {
            let local = locals.get(local as usize).and_then(Option::as_ref);
            let Some(local) = local.filter(|local| !local.is_only) else {
                continue;
            };
            if last.0 != function {
                last = (function, self.numbers.of(self.vm, function).map(Path::of));
            }
            if let (_, Some(path)) = last {
                let name = match local.upvalue == (function, index) {
                    true => local.name,
                    false => base::name_of_upvalue(self.vm, function, index),
                };
                let place = path.place(name);
                self.words.try_push(place.word(local.held))?;
            }
        }
        Ok(())
    }

    /// What is on record of a local, whose name has this digest.
    fn local(&mut self, cell: &Cell2, pair: Option<&CellPair>, name: u64) -> Result<Held> {
        let new = match pair {
            Some(pair) => pair.new_value,
            None => cell.value,
        };
        let held = self.held(new, None)?;
        let is_decided =
            |fate| matches!(fate, CellFate::Take | CellFate::Constant | CellFate::Same);
        let Some(pair) = pair.filter(|pair| !is_decided(pair.fate)) else {
            return Ok(held);
        };
        let (new, old) = (self.vm.val(new), self.vm.val(pair.old_value));
        let is_plain = |val: Val| is_scalar(val) || val.is_nil();
        let is_kept = self.kept_imports.contains(&old.addr);
        if !(is_plain(old) || is_plain(new) && old.is_table() || is_kept) {
            return Ok(held);
        }
        let cells = self.pairing().map(|pairing| &pairing.old_cells);
        let known = cells
            .and_then(|cells| cells.get(pair.old as usize))
            .and_then(|cell| {
                let number = self.numbers.of(self.vm, cell.function)?;
                Some(base::local_of(self.vm, number, cell.function, cell.index))
            })
            .filter(|place| self.base.is_there(*place))
            .unwrap_or_else(|| Path::LOCALS.place(name));
        if let Some(digest) = self.vm.digest(pair.new_value)
            && is_scalar(old)
            && !self.vm.same(pair.new_value, pair.old_value)
            && !are_two_kinds(self.vm, pair.old_value, pair.new_value)
            && self.is_unsure(Some(known))
        {
            return Ok(Held::unsure(digest));
        }
        if let Some(held) = self.kept_import(Some(known), pair.old_value) {
            return Ok(held);
        }
        let running = self.running(pair.old_value);
        Ok(running
            .filter(|running| self.base.is(known, *running))
            .unwrap_or(held))
    }

    /// Data that the file has no longer, and that stays as the file had it: so does its record. Of
    /// a table that it has elsewhere by now, only what the place is left with stays.
    fn file_lacks(&mut self) -> Result<()> {
        for i in 0..self.tables.len() {
            let Some((met, old, old_path, is_list)) = self
                .tables
                .get(i)
                .filter(|_| self.keeps)
                .and_then(|walked| {
                    let old_path = walked.old_path?;
                    Some((walked.met, walked.old, old_path, walked.is_list))
                })
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
            let (mut more, mut tables) = (0, Vec::new());
            let mut cursor = self.vm.walk(old, met.table)?;
            while let Some(entry) = cursor.next(self.vm) {
                let (Some(key), true) = (cursor.key_digest(self.vm), entry.old.is_nil()) else {
                    continue;
                };
                if is_list && cursor.key_integer(self.vm).is_some_and(|index| index >= 1) {
                    continue;
                }
                let (known, place) = (old_path.place(key), met.path.place(key));
                if entry.new.is_table() && self.base.is_there_or_left(known) {
                    tables.try_push((known, place, cursor.keep_pair(self.vm)?.value))?;
                } else if let Some(digest) = cursor.value_digest(self.vm)
                    && self.base.had(known, Some(digest))
                {
                    let held = Held::scalar(digest);
                    self.words.try_push(place.word(held))?;
                    self.words.try_push(place.left().word(held))?;
                    more += 1;
                }
            }
            for (known, place, table) in tables {
                let Some(held) = self.running(table) else {
                    continue;
                };
                let is_elsewhere = self.is_answered(self.vm.val(table).addr)?;
                let was_left = is_elsewhere && self.base.is(known.left(), held);
                if !was_left && !self.base.is(known, held) {
                    continue;
                }
                if is_elsewhere {
                    self.words.try_push(place.left().word(held))?;
                } else if self.is_as_loaded(held, known, table)? {
                    self.words.try_push(place.word(held))?;
                    self.words.try_push(place.left().word(held))?;
                    self.row_stays(held, [known, place], table)?;
                } else {
                    continue;
                }
                more += 1;
            }
            if let Some(walked) = self.tables.get_mut(i) {
                walked.keys += more;
            }
        }
        Ok(())
    }

    /// Where a table that existed holds what is on record already, the chunk has changed nothing:
    /// that stays on record.
    fn rest_stays(&mut self, loaded: &Loaded) -> Result<()> {
        let mut now: FxHashSet<u64> = FxHashSet::default();
        for change in &loaded.changes {
            if let Some(digest) = change.key.and_then(|key| self.vm.digest(key)) {
                let table = self.vm.val(change.table).addr as u64;
                now.try_insert_value(digest ^ table.rotate_left(32), ())?;
            }
        }
        for number in 0..loaded.snapshot.len() {
            let Some(was) = loaded.snapshot.slots_of(number) else {
                continue;
            };
            let val = self.vm.val(was.table);
            if was.table == self.context.loaded || self.is_answered(val.addr)? {
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
