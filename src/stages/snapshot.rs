//! R2.1: what is remembered before the incoming chunk runs, and what it changed.
//!
//! A table is remembered when the incoming code can name it: reached from the globals,
//! `package.loaded`, the module object or the running upvalues functions, by keys that occur in the
//! incoming code. The nearest are visited first, and of the globals', the module's own and other
//! modules' tables no more each than the code has names (at least [`MIN_TABLES`]): the cost grows
//! with the code, never with the data.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Chunk;
use crate::lua::vm::{Kept, KeyValue, Kind, Ref, Val, Vm};
use crate::lua::write::{self, Permit};
use crate::model::objects::ObjectTable;
use crate::model::ownership::Ownership;
use crate::model::site::Origin;
use crate::stages::find::Context;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Tables of each kind that are visited whatever the size of the code.
const MIN_TABLES: usize = 256;
/// A table with no more entries is always remembered whole.
const SMALL: usize = 32;

/// One remembered table.
struct RememberedTable {
    table: Ref,
    origin: Origin,
    metatable: Ref,
    slots: Slots,
    /// `#table`, for tables of which only named slots are remembered.
    border: i64,
    /// Reached only through another module's object.
    theirs: bool,
}

#[derive(Clone, Copy)]
enum Slots {
    /// Every entry.
    All(Kept<KeyValue>),
    /// The values under all the names, in their order.
    Named(Kept<Ref>),
}

/// A slot, or a metatable, that the incoming chunk changed.
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
    /// Its entries.
    entries: Kept<KeyValue>,
    /// The addresses of the objects.
    objects: FxHashSet<usize>,
}

impl Modules {
    /// Looks at `package.loaded`.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn of(vm: &mut Vm, table: Ref) -> Result<Modules> {
        let entries = vm.keep_entries(table)?;
        let mut objects = FxHashSet::default();
        objects.try_reserve(entries.len() as usize)?;
        for value in entries.values() {
            let val = vm.val(value);
            if val.addr != 0 {
                objects.try_insert_value(val.addr, ())?;
            }
        }
        Ok(Modules {
            table,
            entries,
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
    pub fn entries(&self) -> Kept<KeyValue> {
        self.entries
    }
}

/// What is remembered.
#[derive(Default)]
pub struct Snapshot {
    tables: Vec<RememberedTable>,
    /// The names as Lua values, made when the first large table is met.
    names: Kept<Ref>,
    index_key: Ref,
    /// The entries of each table that is remembered whole, by address.
    whole: FxHashMap<usize, Kept<KeyValue>>,
    /// The loaded modules.
    pub modules: Modules,
    /// The addresses of the module's own object, 0 where it has none, and of the globals: neither
    /// is another module's.
    ours: [usize; 2],
    /// The own functions that were met, and their cells. Pairing takes it over.
    pub known: ObjectTable,
    /// So many tables were remembered of one kind, and there were more.
    pub cut: Option<usize>,
}

/// A step of the walk: a table, or an own function whose upvalues lead on.
enum WalkStep {
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
        ownership: &mut Ownership,
    ) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            index_key: vm.string(b"__index")?,
            modules,
            ours: [vm.val(context.running).addr, vm.val(context.globals).addr],
            ..Snapshot::default()
        };
        snapshot.known.reserve(chunk.functions())?;
        snapshot.whole.try_reserve(SMALL)?;
        snapshot.known.see(vm.val(context.loaded).addr)?;
        for address in &context.skip {
            snapshot.known.see(*address)?;
        }

        // Other modules' objects: what is reached only through them is theirs.
        let mut others = Vec::new();
        let entries = snapshot.modules.entries;
        snapshot.tables.try_push(RememberedTable {
            table: context.loaded,
            origin: Origin::Loaded,
            metatable: vm.metatable(context.loaded)?,
            slots: Slots::All(entries),
            border: 0,
            theirs: false,
        })?;
        if chunk.names().len() < entries.len() as usize {
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
            for KeyValue {
                key: name,
                value: object,
            } in entries.iter()
            {
                if vm.kind(object) == Kind::Table && is_named(vm, chunk, name) {
                    others.try_push((name, object))?;
                }
            }
        }
        others.retain(|(_, object)| snapshot.is_theirs(vm.val(*object)));

        let mut queue = VecDeque::new();
        snapshot.meet(vm, ownership, &mut queue, context.globals, Origin::Globals)?;
        let strings = vm.metatable(context.name)?;
        snapshot.meet(vm, ownership, &mut queue, strings, Origin::Globals)?;
        let mut queue = snapshot.walk(vm, chunk, ownership, queue, Reach::Globals)?;
        snapshot.meet(vm, ownership, &mut queue, context.running, Origin::Module)?;
        let mut queue = snapshot.walk(vm, chunk, ownership, queue, Reach::Own)?;
        for (name, object) in others {
            snapshot.meet(vm, ownership, &mut queue, object, Origin::Key(0, name))?;
        }
        snapshot.walk(vm, chunk, ownership, queue, Reach::Theirs)?;
        Ok(snapshot)
    }

    fn meet(
        &mut self,
        vm: &mut Vm,
        ownership: &mut Ownership,
        queue: &mut VecDeque<WalkStep>,
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
            Kind::Table if self.known.see(val.addr)? => WalkStep::Table(value, origin),
            Kind::Function if vm.is_c_function(value).is_none() => {
                let number = self.known.see_function((value, val.addr), || {
                    let info = vm.info(value)?.unwrap_or_default();
                    Ok(ownership.owns(vm, value, &info)?.then_some(info))
                })?;
                let Some(number) = number else {
                    return Ok(());
                };
                WalkStep::Function(value, number)
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
        ownership: &mut Ownership,
        mut queue: VecDeque<WalkStep>,
        reach: Reach,
    ) -> Result<VecDeque<WalkStep>> {
        let most = chunk.names().len().max(MIN_TABLES);
        let limit = self.tables.len() + most;
        let mut left = VecDeque::new();
        while let Some(step) = queue.pop_front() {
            match step {
                WalkStep::Table(table, _)
                    if reach == Reach::Own && self.is_theirs(vm.val(table)) =>
                {
                    left.try_reserve(1)?;
                    left.push_back(step);
                }
                WalkStep::Table(table, origin) if self.tables.len() < limit => {
                    let number = self.tables.len() as u32;
                    let metatable = vm.metatable(table)?;
                    if metatable != Ref::NIL {
                        self.meet(
                            vm,
                            ownership,
                            &mut queue,
                            metatable,
                            Origin::Metatable(number),
                        )?;
                        // A field that the code names may be an inherited one.
                        let parent = vm.get(metatable, self.index_key)?;
                        self.meet(vm, ownership, &mut queue, parent, Origin::Metatable(number))?;
                    }
                    let is_globals = reach == Reach::Globals && self.tables.len() == 1;
                    let mut objects = Vec::new();
                    let (slots, border) = self.slots(vm, chunk, table, is_globals, &mut objects)?;
                    match slots {
                        Slots::All(entries) => {
                            for KeyValue { key, value } in entries.iter() {
                                match vm.kind(value) {
                                    Kind::Function => {}
                                    Kind::Table if is_named(vm, chunk, key) => {}
                                    _ => continue,
                                }
                                self.meet(
                                    vm,
                                    ownership,
                                    &mut queue,
                                    value,
                                    Origin::Key(number, key),
                                )?;
                            }
                        }
                        Slots::Named(values) => {
                            for i in objects {
                                let (key, value) = (self.names.at(i), values.at(i));
                                self.meet(
                                    vm,
                                    ownership,
                                    &mut queue,
                                    value,
                                    Origin::Key(number, key),
                                )?;
                            }
                        }
                    }
                    self.tables.try_push(RememberedTable {
                        table,
                        origin,
                        metatable,
                        slots,
                        border,
                        theirs: reach == Reach::Theirs,
                    })?;
                }
                WalkStep::Table(..) => self.cut = Some(most),
                WalkStep::Function(..) if reach == Reach::Globals => {
                    left.try_reserve(1)?;
                    left.push_back(step);
                }
                WalkStep::Function(function, number) => {
                    self.visit(vm, ownership, &mut queue, function, number)?
                }
            }
        }
        Ok(left)
    }

    /// Notes the upvalues of an own function, and goes on from what they hold.
    fn visit(
        &mut self,
        vm: &mut Vm,
        ownership: &mut Ownership,
        queue: &mut VecDeque<WalkStep>,
        function: Ref,
        number: u32,
    ) -> Result<()> {
        let count = self
            .known
            .function(number)
            .map_or(0, |known| known.info.upvalues);
        // The functions of a module share most of their cells.
        let met = self.known.cells();
        let (list, first) = self.known.list(number, vm.cells(function, count)?)?;
        if !first {
            return Ok(());
        }
        let mut next = met as u32;
        for (at, i) in (0..usize::from(count)).zip(1..) {
            if self.known.lists.cells(list).get(at) != Some(&next) {
                continue; // it was met before
            }
            next += 1;
            let held = vm.upvalue_val(function, i);
            if matches!(held.kind, Kind::Table | Kind::Function) {
                let value = vm.upvalue_value(function, i)?;
                self.meet(vm, ownership, queue, value, Origin::Upvalue(function, i))?;
            }
        }
        Ok(())
    }

    /// How many entries a table has that is remembered whole.
    pub fn entries(&self, address: usize) -> Option<u32> {
        Some(self.whole(address)?.len())
    }

    /// The entries of a table that is remembered whole, as they were before the chunk ran.
    pub fn whole(&self, address: usize) -> Option<Kept<KeyValue>> {
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
        let most = if whole { usize::MAX } else { names.max(SMALL) };
        if let Some(entries) = vm.keep_at_most(table, most)? {
            self.whole.try_insert_value(vm.val(table).addr, entries)?;
            return Ok((Slots::All(entries), 0));
        }
        if self.names.is_empty() {
            let mark = vm.held();
            vm.strings(chunk.names())?;
            for integer in &chunk.integers {
                vm.number(*integer)?;
            }
            self.names = vm.kept_since(mark);
        }
        let values = vm.keep_each(table, self.names, |i| objects.try_push(i))?;
        Ok((Slots::Named(values), vm.raw_len(table)))
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
        self.tables.try_push(RememberedTable {
            table,
            origin: Origin::Elsewhere(table),
            metatable: vm.metatable(table)?,
            slots: Slots::All(Kept::default()),
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
            Slots::All(entries) => {
                let whole = Whole {
                    table: table.table,
                    number: number as u32,
                    entries,
                };
                whole.changes(vm, changes)?;
            }
            Slots::Named(values) => {
                let mut differ = Vec::new();
                vm.compare_each(table.table, self.names, values, |i| differ.try_push(i))?;
                for i in differ {
                    let key = self.names.at(i);
                    let new = vm.get(table.table, key)?;
                    changes.try_push(Change {
                        table: table.table,
                        number: number as u32,
                        key: Some(key),
                        old: values.at(i),
                        new,
                    })?;
                }
                let appended = table.border + 1..=vm.raw_len(table.table);
                let mut named: FxHashSet<i64> = FxHashSet::default();
                for index in self
                    .names
                    .iter()
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

    /// Where the table with this number was found.
    pub fn origin(&self, number: u32) -> Option<Origin> {
        self.tables.get(number as usize).map(|table| table.origin)
    }

    /// Hands every remembered slot and metatable of the `i`-th table to `each`, as a change from
    /// now to then, and says how to recognise the keys that it had. Allocates nothing.
    pub fn slots_of(&self, i: usize) -> Option<Remembered> {
        let table = self.tables.get(i)?;
        Some(Remembered {
            table: table.table,
            metatable: table.metatable,
            slots: table.slots,
            names: self.names,
        })
    }
}

/// Puts changes back that the incoming chunk made. Returns how many could not be.
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
    vm.end_walk(); // a walk that has failed
    for i in 0..snapshot.len() {
        let Some(was) = snapshot.slots_of(i) else {
            continue;
        };
        let is_as_it_was = was.is_whole() && vm.is_as(was.table, was.slots());
        if was.is_whole() && !is_as_it_was {
            let mut next = 0; // most of the keys are met in the order in which they were
            write::keep_known(vm, permit, was.table, |vm, cursor| {
                let mut slots = (next..was.count()).chain(0..next);
                let met = slots.find(|i| cursor.key_is(vm, was.slot(*i).key));
                next = met.map_or(next, |met| met + 1);
                met.is_some()
            });
        }
        for KeyValue { key, value } in was.slots().filter(|_| !is_as_it_was) {
            if !vm.holds(was.table, key, value) {
                left += write::put_back(vm, permit, was.table, Some(key), value);
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
    slots: Slots,
    /// The keys of a table of which only named slots are remembered.
    names: Kept<Ref>,
}

impl Remembered {
    /// How many slots.
    fn count(&self) -> u32 {
        match self.slots {
            Slots::All(entries) => entries.len(),
            Slots::Named(values) => values.len(),
        }
    }

    /// Key and value of the `i`-th slot.
    fn slot(&self, i: u32) -> KeyValue {
        match self.slots {
            Slots::All(entries) => entries.at(i),
            Slots::Named(values) => KeyValue {
                key: self.names.at(i),
                value: values.at(i),
            },
        }
    }

    /// Keys and values of the slots.
    pub fn slots(&self) -> impl Iterator<Item = KeyValue> {
        (0..self.count()).map(|i| self.slot(i))
    }

    /// Are these all the entries that the table had?
    pub fn is_whole(&self) -> bool {
        matches!(self.slots, Slots::All(_))
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
    entries: Kept<KeyValue>,
}

impl Whole {
    fn change(&self, KeyValue { key, value: old }: KeyValue, new: Ref) -> Change {
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
        let (same, all) = vm.compare_entries(self.table, self.entries, |i| differ.try_push(i))?;
        for i in differ {
            let entry = self.entries.at(i);
            let new = vm.get(self.table, entry.key)?;
            changes.try_push(self.change(entry, new))?;
        }
        if all {
            return Ok(());
        }
        let by_key = self.compare_by_key(vm, same, changes);
        vm.end_walk();
        by_key
    }

    fn compare_by_key(&self, vm: &mut Vm, same: u32, changes: &mut Vec<Change>) -> Result<()> {
        let numbers = vm.numbered(self.entries.len(), |i| self.entries.at(i).key)?;
        let mut left = self.entries.len();
        let mut cursor = vm.walk(self.table, Ref::NIL)?;
        while cursor.next(vm).is_some() {
            let number = cursor.key_number(vm, numbers);
            left -= u32::from(number.is_some());
            match number {
                Some(i) if i < same => {} // compared already
                Some(i) => {
                    let entry = self.entries.at(i);
                    if !cursor.is(vm, entry) {
                        let new = cursor.keep_pair(vm)?.value;
                        changes.try_push(self.change(entry, new))?;
                    }
                }
                None => {
                    let KeyValue { key, value: new } = cursor.keep_pair(vm)?;
                    let value = Ref::NIL;
                    changes.try_push(self.change(KeyValue { key, value }, new))?;
                }
            }
        }
        if left == 0 {
            return Ok(());
        }
        for entry in self.entries.iter().skip(same as usize) {
            if !vm.has_key(self.table, entry.key) {
                changes.try_push(self.change(entry, Ref::NIL))?;
            }
        }
        Ok(())
    }
}
