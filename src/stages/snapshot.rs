//! R2.1: what is remembered before A2's chunk runs, and what it changed.
//!
//! A table is remembered when A2's code can name it: reached from the globals, `package.loaded`,
//! the module object or the upvalues of A1's functions, by keys that occur in A2's code. The
//! nearest are visited first, and no more tables than the code has names (at least [`MIN_TABLES`]):
//! the cost grows with the code, never with the data.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Chunk;
use crate::lua::vm::{Kind, Ref, Val, Vm};
use crate::lua::write::{self, Permit};
use crate::model::home::Home;
use crate::model::objects::ObjectTable;
use crate::model::site::Origin;
use crate::stages::find::Context;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Visited whatever the size of the code.
const MIN_TABLES: usize = 256;
/// A table with no more entries is always remembered whole.
const SMALL: usize = 32;

/// One remembered table.
struct Table {
    table: Ref,
    origin: Origin,
    metatable: Ref,
    slots: Slots,
    /// `#table`, for tables of which only named slots are remembered.
    border: i64,
    /// Reached only through another module's object.
    theirs: bool,
}

enum Slots {
    /// Every entry: key and value side by side, this many times from here.
    All(Ref, u32),
    /// The values under all the names, in their order, from here.
    Named(Ref),
}

/// A slot, or a metatable, that A2's chunk changed.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The table.
    pub table: Ref,
    /// Its number among the remembered tables.
    pub number: u32,
    /// The slot's key; none for the metatable.
    pub key: Option<Ref>,
    /// What stood there before.
    pub old: Ref,
    /// What the chunk left there.
    pub new: Ref,
}

/// The loaded modules as they are before a chunk runs. Those of one transaction share it, as long
/// as no chunk and no commit has changed `package.loaded`.
#[derive(Default)]
pub struct Modules {
    /// `package.loaded`.
    pub table: Ref,
    /// Its entries, key and value side by side, this many times from here.
    entries: (Ref, u32),
    /// The addresses of the objects.
    objects: FxHashSet<usize>,
}

impl Modules {
    /// Looks at `package.loaded`.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn of(vm: &mut Vm, table: Ref) -> Result<Modules> {
        let (first, count) = vm.keep_entries(table, usize::MAX)?;
        let mut objects = FxHashSet::default();
        objects.try_reserve(count as usize)?;
        for i in 0..count {
            let val = vm.val(first.after(2 * i + 1));
            if val.addr != 0 {
                objects.try_insert_value(val.addr, ())?;
            }
        }
        Ok(Modules {
            table,
            entries: (first, count),
            objects,
        })
    }

    /// Has somebody looked?
    pub fn is_known(&self) -> bool {
        self.table != Ref::NIL
    }

    /// Is it the object of a module?
    pub fn has(&self, object: usize) -> bool {
        self.objects.contains(&object)
    }

    /// What the modules are: their names and objects.
    pub fn entries(&self) -> impl Iterator<Item = (Ref, Ref)> {
        let (first, count) = self.entries;
        (0..count).map(move |i| (first.after(2 * i), first.after(2 * i + 1)))
    }
}

/// What is remembered.
#[derive(Default)]
pub struct Snapshot {
    tables: Vec<Table>,
    /// The names as Lua values, side by side, made when the first large table is met.
    names: Ref,
    /// How many of them.
    names_count: u32,
    index_key: Ref,
    /// How many entries each table has that is remembered whole, by address.
    whole: FxHashMap<usize, u32>,
    /// The loaded modules.
    pub modules: Modules,
    /// The addresses of the module's own object, 0 where it has none, and of the globals: neither
    /// is another module's.
    ours: [usize; 2],
    /// The home functions that were met, and their cells. Pairing takes it over.
    pub known: ObjectTable,
}

/// A step of the walk: a table, or a home function whose upvalues lead on.
enum Step {
    Table(Ref, Origin),
    /// With its number.
    Function(Ref, u32),
}

/// Where a walk began.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// At the globals; functions are left for the next walk.
    Globals,
    /// At the module's own object and functions; other modules' objects are left for the next walk.
    Own,
    /// At other modules' objects.
    Theirs,
}

impl Snapshot {
    /// Walks the running program.
    pub fn of(
        vm: &mut Vm,
        context: &Context,
        modules: Modules,
        chunk: &Chunk,
        home: &mut Home,
    ) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            index_key: vm.string(b"__index")?,
            modules,
            ours: [vm.val(context.running).addr, vm.val(context.globals).addr],
            ..Snapshot::default()
        };
        snapshot.known.reserve(chunk.functions())?;
        snapshot.known.see(vm.val(context.loaded).addr)?;

        // Other modules' objects: what is reached only through them is theirs.
        let mut others = Vec::new();
        let (first, count) = snapshot.modules.entries;
        snapshot.tables.try_push(Table {
            table: context.loaded,
            origin: Origin::Loaded,
            metatable: vm.metatable(context.loaded)?,
            slots: Slots::All(first, count),
            border: 0,
            theirs: false,
        })?;
        if chunk.names().len() < count as usize {
            for name in chunk.names() {
                let mark = vm.held();
                let name = vm.string(name)?;
                let object = vm.get(context.loaded, name)?;
                match vm.kind(object) {
                    Kind::Table => others.try_push((name, object))?,
                    _ => vm.release(mark),
                }
            }
        } else {
            for (name, object) in snapshot.modules.entries() {
                if vm.kind(object) == Kind::Table && is_named(vm, chunk, name) {
                    others.try_push((name, object))?;
                }
            }
        }
        others.retain(|(_, object)| snapshot.is_theirs(vm.val(*object)));

        let mut queue = VecDeque::new();
        snapshot.meet(vm, home, &mut queue, context.globals, Origin::Globals)?;
        let strings = vm.metatable(context.name)?;
        snapshot.meet(vm, home, &mut queue, strings, Origin::Globals)?;
        let mut queue = snapshot.walk(vm, chunk, home, queue, Reach::Globals)?;
        snapshot.meet(vm, home, &mut queue, context.running, Origin::Module)?;
        let mut queue = snapshot.walk(vm, chunk, home, queue, Reach::Own)?;
        for (name, object) in others {
            snapshot.meet(vm, home, &mut queue, object, Origin::Key(0, name))?;
        }
        snapshot.walk(vm, chunk, home, queue, Reach::Theirs)?;
        Ok(snapshot)
    }

    fn meet(
        &mut self,
        vm: &mut Vm,
        home: &mut Home,
        queue: &mut VecDeque<Step>,
        value: Ref,
        origin: Origin,
    ) -> Result<()> {
        let val = vm.val(value);
        // The object is the module itself wherever it is met first: a record of what is in it goes
        // by path (R8).
        let [own, _] = self.ours;
        let origin = if val.addr == own {
            Origin::Module
        } else {
            origin
        };
        let step = match val.kind {
            Kind::Table if self.known.see(val.addr)? => Step::Table(value, origin),
            Kind::Function if vm.is_c_function(value).is_none() => {
                let number = self.known.see_function((value, val.addr), || {
                    let info = vm.info(value)?.unwrap_or_default();
                    Ok(home.owns(vm, value, &info)?.then_some(info))
                })?;
                let Some(number) = number else {
                    return Ok(());
                };
                Step::Function(value, number)
            }
            _ => return Ok(()),
        };
        queue.try_push(step)
    }

    /// Is it another module's object?
    fn is_theirs(&self, val: Val) -> bool {
        !self.ours.contains(&val.addr) && self.modules.has(val.addr)
    }

    /// Goes through the queue, nearest first, and returns what it left for the next walk.
    fn walk(
        &mut self,
        vm: &mut Vm,
        chunk: &Chunk,
        home: &mut Home,
        mut queue: VecDeque<Step>,
        reach: Reach,
    ) -> Result<VecDeque<Step>> {
        let limit = chunk.names().len().max(MIN_TABLES);
        let mut left = VecDeque::new();
        while let Some(step) = queue.pop_front() {
            match step {
                Step::Table(table, _) if reach == Reach::Own && self.is_theirs(vm.val(table)) => {
                    left.try_reserve(1)?;
                    left.push_back(step);
                }
                Step::Table(table, origin) if self.tables.len() < limit => {
                    let number = self.tables.len() as u32;
                    let metatable = vm.metatable(table)?;
                    if metatable != Ref::NIL {
                        self.meet(vm, home, &mut queue, metatable, Origin::Metatable(number))?;
                        // A field that the code names may be an inherited one.
                        let parent = vm.get(metatable, self.index_key)?;
                        self.meet(vm, home, &mut queue, parent, Origin::Metatable(number))?;
                    }
                    let is_globals = reach == Reach::Globals && self.tables.len() == 1;
                    let mut objects = Vec::new();
                    let (slots, border) = self.slots(vm, chunk, table, is_globals, &mut objects)?;
                    match slots {
                        Slots::All(first, count) => {
                            for i in 0..count {
                                let key = first.after(2 * i);
                                let value = key.after(1);
                                match vm.kind(value) {
                                    Kind::Function => {}
                                    Kind::Table if is_named(vm, chunk, key) => {
                                        self.count_place(vm, table, key, value)?
                                    }
                                    _ => continue,
                                }
                                self.meet(vm, home, &mut queue, value, Origin::Key(number, key))?;
                            }
                        }
                        Slots::Named(first) => {
                            for i in objects {
                                let key = self.names.after(i);
                                self.count_place(vm, table, key, first.after(i))?;
                                self.meet(
                                    vm,
                                    home,
                                    &mut queue,
                                    first.after(i),
                                    Origin::Key(number, key),
                                )?;
                            }
                        }
                    }
                    self.tables.try_push(Table {
                        table,
                        origin,
                        metatable,
                        slots,
                        border,
                        theirs: reach == Reach::Theirs,
                    })?;
                }
                Step::Table(..) => {}
                Step::Function(..) if reach == Reach::Globals => {
                    left.try_reserve(1)?;
                    left.push_back(step);
                }
                Step::Function(function, number) => {
                    self.visit(vm, home, &mut queue, function, number)?
                }
            }
        }
        Ok(left)
    }

    /// Notes that a value stands in a table, if it is a table. `__index` is no place
    /// (`matching/parents.rs`), nor is a table's reference to itself.
    fn count_place(&mut self, vm: &Vm, holder: Ref, key: Ref, value: Ref) -> Result<()> {
        let val = vm.val(value);
        if val.is_table() && val != vm.val(holder) && !vm.is_string(key, b"__index") {
            self.known.count_place(val.addr)?;
        }
        Ok(())
    }

    /// Notes the upvalues of a home function, and goes on from what they hold.
    fn visit(
        &mut self,
        vm: &mut Vm,
        home: &mut Home,
        queue: &mut VecDeque<Step>,
        function: Ref,
        number: u32,
    ) -> Result<()> {
        let count = self
            .known
            .function(number)
            .map_or(0, |known| known.info.upvalues);
        // The functions of a module share most of their cells.
        if !self.known.list(number, vm.cells(function, count)?)? {
            return Ok(());
        }
        for i in 1..=count {
            if !self.known.see_cell(vm.cell(function, i))? {
                continue;
            }
            let held = vm
                .upvalue(function, i)
                .map_or(Val::default(), |upvalue| upvalue.value);
            if held.is_table() {
                self.known.tables.try_push((function, i, held.addr))?;
            }
            if matches!(held.kind, Kind::Table | Kind::Function) {
                let value = vm.upvalue_value(function, i)?;
                self.meet(vm, home, queue, value, Origin::Upvalue(function, i))?;
            }
        }
        Ok(())
    }

    /// How many entries a table has that is remembered whole.
    pub fn entries(&self, address: usize) -> Option<u32> {
        self.whole.get(&address).copied()
    }

    /// Remembers a table: whole when it has no more entries than there are names. Of a larger one,
    /// `objects` gets the numbers of the names under which it holds tables and functions.
    fn slots(
        &mut self,
        vm: &mut Vm,
        chunk: &Chunk,
        table: Ref,
        whole: bool,
        objects: &mut Vec<u32>,
    ) -> Result<(Slots, i64)> {
        let names = chunk.names().len() + chunk.integers.len();
        let mark = vm.held();
        let most = if whole { usize::MAX } else { names.max(SMALL) };
        let (first, count) = vm.keep_entries(table, most)?;
        if count as usize <= most {
            self.whole.try_insert_value(vm.val(table).addr, count)?;
            return Ok((Slots::All(first, count), 0));
        }
        vm.release(mark);
        if self.names_count == 0 {
            self.names = vm.strings(chunk.names())?;
            for integer in &chunk.integers {
                vm.number(*integer)?;
            }
            self.names_count = names as u32;
        }
        let first = vm.keep_each(table, self.names, self.names_count, |i| objects.try_push(i))?;
        Ok((Slots::Named(first), vm.raw_len(table)))
    }

    /// A table with this number, and whether it is reached only through another module's object.
    pub fn table(&self, number: usize) -> (Ref, bool) {
        self.tables
            .get(number)
            .map_or((Ref::NIL, false), |table| (table.table, table.theirs))
    }

    /// Takes in a table of another module that the code cannot name, and returns its number. It is
    /// put back already.
    pub fn adopt(&mut self, vm: &mut Vm, table: Ref) -> Result<u32> {
        let known = self
            .tables
            .iter()
            .position(|known| vm.val(known.table) == vm.val(table));
        if let Some(known) = known {
            return Ok(known as u32);
        }
        self.tables.try_push(Table {
            table,
            origin: Origin::Elsewhere(table),
            metatable: vm.metatable(table)?,
            slots: Slots::All(Ref::NIL, 0),
            border: 0,
            theirs: true,
        })?;
        Ok(self.tables.len() as u32 - 1)
    }

    /// The tables that are remembered, in the order in which they were met.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Adds what the chunk changed in the table with this number to `changes`. In another module's
    /// table only slots that got a new function or table count (R2.2): the rest, its own data,
    /// goes to `others`.
    pub fn changes(
        &self,
        vm: &mut Vm,
        number: usize,
        created: impl Fn(Val) -> bool,
        changes: &mut Vec<Change>,
        others: &mut Vec<Change>,
    ) -> Result<()> {
        let Some(table) = self.tables.get(number) else {
            return Ok(());
        };
        let start = changes.len();
        match table.slots {
            Slots::All(first, count) => {
                let whole = Whole {
                    table: table.table,
                    number: number as u32,
                    first,
                    count,
                };
                whole.changes(vm, changes)?;
            }
            Slots::Named(first) => {
                let mut differ = Vec::new();
                vm.compare_each(table.table, self.names, first, self.names_count, |i| {
                    differ.try_push(i)
                })?;
                for i in differ {
                    let key = self.names.after(i);
                    let new = vm.get(table.table, key)?;
                    changes.try_push(Change {
                        table: table.table,
                        number: number as u32,
                        key: Some(key),
                        old: first.after(i),
                        new,
                    })?;
                }
                let appended = table.border + 1..=vm.raw_len(table.table);
                let mut named: FxHashSet<i64> = FxHashSet::default();
                for index in self
                    .names()
                    .filter_map(|name| vm.integer(name))
                    .filter(|_| !appended.is_empty())
                {
                    named.try_insert_value(index, ())?;
                }
                for i in appended {
                    let key = vm.number(i)?;
                    if !named.contains(&i) {
                        let new = vm.get(table.table, key)?;
                        changes.try_push(Change {
                            table: table.table,
                            number: number as u32,
                            key: Some(key),
                            old: Ref::NIL,
                            new,
                        })?;
                    }
                }
            }
        }
        if vm.metatable_val(table.table) != vm.val(table.metatable) {
            let metatable = vm.metatable(table.table)?;
            changes.try_push(Change {
                table: table.table,
                number: number as u32,
                key: None,
                old: table.metatable,
                new: metatable,
            })?;
        }
        if table.theirs {
            // A list is taken whole or not at all: put back in part, it would hold something twice
            // or not at all.
            let is_element =
                |change: &Change| change.key.is_some_and(|key| vm.integer(key).is_some());
            let new = |change: &Change| created(vm.val(change.new));
            let elements = || {
                changes
                    .iter()
                    .skip(start)
                    .filter(|change| is_element(change))
            };
            let appended =
                elements().all(|change| vm.val(change.old).is_nil()) && elements().any(new);
            let whole = appended || elements().all(new);
            let counts = |change: &Change| {
                if is_element(change) {
                    whole
                } else {
                    new(change)
                }
            };
            let all = collected(changes.iter().skip(start).copied().map(Ok))?;
            others.try_reserve(all.len())?;
            changes.truncate(start);
            for change in all {
                let list = if counts(&change) {
                    &mut *changes
                } else {
                    &mut *others
                };
                list.push(change); // both have room
            }
        }
        Ok(())
    }

    /// The names as Lua values.
    fn names(&self) -> impl Iterator<Item = Ref> {
        (0..self.names_count).map(|i| self.names.after(i))
    }

    /// Where the table with this number was found.
    pub fn origin(&self, number: u32) -> Option<Origin> {
        self.tables.get(number as usize).map(|table| table.origin)
    }

    /// Hands every remembered slot and metatable of the `i`-th table to `each`, as a change from
    /// now to then, and says how to recognise the keys that it had. Allocates nothing.
    pub fn slots_of(&self, i: usize) -> Option<Remembered> {
        let table = self.tables.get(i)?;
        let (first, count, names) = match table.slots {
            Slots::All(first, count) => (first, count, None),
            Slots::Named(first) => (first, self.names_count, Some(self.names)),
        };
        Some(Remembered {
            table: table.table,
            metatable: table.metatable,
            first,
            count,
            names,
        })
    }
}

/// Puts changes back that A2's chunk made. Returns how many could not be.
pub fn restore(vm: &mut Vm, permit: Permit, changes: &[Change]) -> usize {
    let mut left = 0;
    for change in changes.iter().rev() {
        left += write::put_back(vm, permit, change.table, change.key, change.old);
    }
    left
}

/// Puts every remembered table back, change or not, without allocating anything but what the
/// tables themselves need. Returns how many slots could not be put back.
pub fn restore_all(vm: &mut Vm, permit: Permit, snapshot: &Snapshot) -> usize {
    let mut left = 0;
    vm.zip_end(); // a walk that has failed
    for i in 0..snapshot.len() {
        let Some(was) = snapshot.slots_of(i) else {
            continue;
        };
        let is_as_it_was =
            was.is_whole() && vm.is_as(was.table, (0..was.count).map(|i| was.slot(i)));
        if was.is_whole() && !is_as_it_was {
            let mut next = 0; // most of the keys are met in the order in which they were
            write::keep_known(vm, permit, was.table, |vm| {
                let mut slots = (next..was.count).chain(0..next);
                let met = slots.find(|i| vm.zip_key_is(was.slot(*i).0));
                next = met.map_or(next, |met| met + 1);
                met.is_some()
            });
        }
        for i in (0..was.count).filter(|_| !is_as_it_was) {
            let (key, old) = was.slot(i);
            if !vm.holds(was.table, key, old) {
                left += write::put_back(vm, permit, was.table, Some(key), old);
            }
        }
        left += write::put_back(vm, permit, was.table, None, was.metatable);
    }
    left
}

/// One table's remembered state, to be put back without any bookkeeping.
pub struct Remembered {
    /// The table.
    pub table: Ref,
    /// Its metatable.
    pub metatable: Ref,
    first: Ref,
    /// How many slots.
    pub count: u32,
    /// The first of its keys, for a table of which only named slots are remembered.
    names: Option<Ref>,
}

impl Remembered {
    /// Key and value of the `i`-th slot.
    pub fn slot(&self, i: u32) -> (Ref, Ref) {
        match self.names {
            Some(names) => (names.after(i), self.first.after(i)),
            None => (self.first.after(2 * i), self.first.after(2 * i + 1)),
        }
    }

    /// Are these all the entries that the table had?
    pub fn is_whole(&self) -> bool {
        self.names.is_none()
    }
}

fn is_named(vm: &Vm, chunk: &Chunk, key: Ref) -> bool {
    vm.with_bytes(key, |key| chunk.has_name(key, vm.secret()))
        .or_else(|| vm.integer(key).map(|key| chunk.integers.contains(&key)))
        .unwrap_or(false)
}

/// A table of which every entry is remembered.
#[derive(Clone, Copy)]
struct Whole {
    table: Ref,
    number: u32,
    first: Ref,
    count: u32,
}

impl Whole {
    fn key(&self, i: u32) -> Ref {
        self.first.after(2 * i)
    }

    fn old(&self, i: u32) -> Ref {
        self.first.after(2 * i + 1)
    }

    fn change(&self, key: Ref, old: Ref, new: Ref) -> Change {
        Change {
            table: self.table,
            number: self.number,
            key: Some(key),
            old,
            new,
        }
    }

    /// Compares the table with its remembered entries. As long as both come in the same order,
    /// which is so unless the table grew, that is one pass; from the first difference on, keys
    /// are looked up.
    fn changes(&self, vm: &mut Vm, changes: &mut Vec<Change>) -> Result<()> {
        let mut differ = Vec::new();
        let (same, all) =
            vm.compare_entries(self.table, self.first, self.count, |i| differ.try_push(i))?;
        for i in differ {
            let new = vm.get(self.table, self.key(i))?;
            changes.try_push(self.change(self.key(i), self.old(i), new))?;
        }
        if all {
            return Ok(());
        }
        let by_key = self.compare_by_key(vm, same, changes);
        vm.zip_end();
        by_key
    }

    /// Notes the current entry of the walk as a change of the `i`-th slot, if it is one.
    fn compare(&self, vm: &mut Vm, i: u32, changes: &mut Vec<Change>) -> Result<()> {
        if vm.zip_is(self.key(i), self.old(i)) {
            return Ok(());
        }
        let new = vm.zip_keep_pair()?;
        changes.try_push(self.change(self.key(i), self.old(i), new))
    }

    fn compare_by_key(&self, vm: &mut Vm, same: u32, changes: &mut Vec<Change>) -> Result<()> {
        let numbers = vm.numbered(self.count, |i| self.key(i))?;
        let mut left = self.count;
        vm.zip(self.table, Ref::NIL)?;
        while vm.zip_next().is_some() {
            let number = vm.zip_key_number(numbers);
            left -= u32::from(number.is_some());
            match number {
                Some(i) if i < same => {} // compared already
                Some(i) => self.compare(vm, i, changes)?,
                None => {
                    let new = vm.zip_keep_pair()?;
                    changes.try_push(self.change(new.after(1), Ref::NIL, new))?;
                }
            }
        }
        if left == 0 {
            return Ok(());
        }
        for i in same..self.count {
            if !vm.has_key(self.table, self.key(i)) {
                changes.try_push(self.change(self.key(i), self.old(i), Ref::NIL))?;
            }
        }
        Ok(())
    }
}
