//! What a reload must do to the reference program: the rules of docs/semantics.md, on [`Heap`], where everything is known.
//!
//! Names tell what is the same in two versions: a local's name its cell, the place where the file makes a table or function that
//! table or function. Where the rules leave an outcome open, [`Open`] says so, and the case goes no further.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::heap::{Closure, GLOBALS, HELD, Heap, Key, Kind, LIST, Ran, Value, is_function, nested_names};
use super::model::{self, Gives, Import, Init, Local, OnConflict, Style, Version};

/// The rules do not say what comes out.
#[derive(Debug)]
pub struct Open(pub &'static str);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Slot(usize, Key),
    Cell(usize),
    Meta(usize),
}

/// What undoes a reload.
#[derive(Clone, Debug)]
pub struct Undo {
    /// Where something was written: what stood there, and what does now.
    writes: Vec<(Place, Value, Value)>,
    /// In scope "vm": functions and what took their place.
    moved: Vec<(usize, usize)>,
    everywhere: bool,
    before: Box<Oracle>,
}

pub enum Expected {
    Done(Undo),
    /// For conflicts.
    Refused,
}

/// What is known of the module from earlier reloads.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Locals that a function of some version assigns. Of what the first load left, only functions that are still there tell.
    assigned: Option<BTreeSet<Local>>,
    /// Functions and what took their place.
    successors: HashMap<usize, usize>,
    /// Functions that some reload has looked at.
    met: BTreeSet<usize>,
    /// R5.3: the keys that the last reload's chunk left, by table. The first load leaves no record.
    record: BTreeMap<String, BTreeSet<Key>>,
    /// Where these tables stood then.
    places: Places,
    /// Tables that some record had.
    recorded: BTreeSet<String>,
}

/// The places of A2's tables, by the place where the file makes them.
type Places = BTreeMap<String, BTreeSet<String>>;

/// How the cells and tables of two versions answer to each other.
struct Pairs {
    /// A2's cell to A1's.
    cells: BTreeMap<usize, usize>,
    /// A2's table to A1's.
    tables: BTreeMap<usize, usize>,
    /// A1's function to those of A2 that stand in its places.
    answers: BTreeMap<usize, BTreeSet<usize>>,
    /// A1's tables whose own keys are looked at.
    enumerated: BTreeSet<usize>,
}

struct Reload<'a> {
    heap: &'a mut Heap,
    version: &'a Version,
    ran: Ran,
    assigned: BTreeSet<Local>,
    on_conflict: OnConflict,
    pairs: Pairs,
    /// A2's functions that something of A2 refers to.
    reached: BTreeSet<usize>,
    /// A1's functions in places that a reload looks at.
    near: BTreeSet<usize>,
    writes: Vec<(Place, Value, Value)>,
    conflicts: bool,
    places: Places,
}

impl Oracle {
    pub fn first(heap: &mut Heap, version: &Version) -> Oracle {
        let ran = heap.chunk(version);
        heap.loaded = ran.object;
        Oracle {
            assigned: None,
            successors: HashMap::new(),
            met: BTreeSet::new(),
            record: BTreeMap::new(),
            places: Places::new(),
            recorded: BTreeSet::new(),
        }
    }

    /// Reloads the module.
    ///
    /// # Errors
    /// [`Open`]: the rules do not say what comes out; the heap is of no use then.
    pub fn reload(
        &mut self,
        heap: &mut Heap,
        version: &Version,
        everywhere: bool,
        on_conflict: OnConflict,
    ) -> Result<Expected, Open> {
        let before = Box::new(self.clone());
        let known = self.assigned.clone().unwrap_or_else(|| assigned_by_what_is_there(heap));
        let ran = heap.chunk(version);
        for change in &ran.changes {
            heap.put(change.table, change.key.clone(), change.old);
        }
        let assigned = known.into_iter().chain(version.assigned()).collect();
        let mut reload = Reload {
            heap,
            version,
            ran,
            assigned,
            on_conflict,
            pairs: Pairs {
                cells: BTreeMap::new(),
                tables: BTreeMap::new(),
                answers: BTreeMap::new(),
                enumerated: BTreeSet::new(),
            },
            reached: BTreeSet::new(),
            near: BTreeSet::new(),
            writes: Vec::new(),
            conflicts: false,
            places: Places::new(),
        };
        reload.pair()?;
        reload.places = reload.places();
        reload.plan(self)?;
        if reload.conflicts && on_conflict == OnConflict::Error {
            return Ok(Expected::Refused);
        }
        reload.settle_fresh();
        for (place, _, new) in &reload.writes {
            write(reload.heap, place, *new);
        }
        self.record = reload.record();
        self.recorded.extend(self.record.keys().cloned());
        self.places = std::mem::take(&mut reload.places);
        let mut moved = Vec::new();
        for (old, answers) in &reload.pairs.answers {
            match answers.len() {
                1 => moved.extend(answers.iter().map(|new| (*old, *new))),
                _ => moved.extend(reload.same_origin(*old, answers).map(|new| (*old, new))),
            }
        }
        let assigned = std::mem::take(&mut reload.assigned);
        self.met.extend(reload.near.iter().chain(&reload.reached));
        if everywhere {
            reload.everywhere(self, &mut moved)?;
        }
        let writes = reload.writes;
        self.assigned = Some(assigned);
        self.successors.extend(moved.iter().copied());
        Ok(Expected::Done(Undo {
            writes,
            moved,
            everywhere,
            before,
        }))
    }

    /// Undoes the last reload: functions, cells and what was added, where it still stands.
    pub fn undo(&mut self, heap: &mut Heap, undo: &Undo) {
        *self = (*undo.before).clone();
        for (place, old, new) in undo.writes.iter().rev() {
            if read(heap, place) == *new {
                write(heap, place, *old);
            }
        }
        if undo.everywhere {
            let back: HashMap<usize, usize> = undo.moved.iter().rev().map(|(old, new)| (*new, *old)).collect();
            replace_everywhere(heap, &back);
        }
    }
}

fn read(heap: &Heap, place: &Place) -> Value {
    match place {
        Place::Slot(table, key) => heap.get(*table, key),
        Place::Cell(cell) => heap.cells[*cell],
        Place::Meta(table) => heap.tables[*table].meta.map_or(Value::Nil, Value::Table),
    }
}

fn write(heap: &mut Heap, place: &Place, value: Value) {
    match place {
        Place::Slot(table, key) => heap.put(*table, key.clone(), value),
        Place::Cell(cell) => heap.cells[*cell] = value,
        Place::Meta(table) => {
            heap.tables[*table].meta = match value {
                Value::Table(meta) => Some(meta),
                _ => None,
            };
        }
    }
}

fn replace_everywhere(heap: &mut Heap, map: &HashMap<usize, usize>) {
    let replaced = |value: &mut Value| {
        if let Value::Function(function) = value
            && let Some(new) = map.get(function)
        {
            *value = Value::Function(*new);
        }
    };
    heap.tables
        .iter_mut()
        .flat_map(|table| table.fields.values_mut())
        .chain(&mut heap.cells)
        .for_each(replaced);
}

/// Everything that can be reached from some values: tables and functions.
fn reach(
    heap: &Heap,
    roots: impl IntoIterator<Item = Value>,
    from: (usize, usize),
    through_foreign: bool,
) -> Vec<Value> {
    let mut seen = HashSet::new();
    let mut list: Vec<Value> = roots.into_iter().collect();
    list.retain(|value| seen.insert(*value));
    let mut i = 0;
    while let Some(value) = list.get(i).copied() {
        i += 1;
        let mut next: Vec<Value> = Vec::new();
        match value {
            Value::Table(table) if table >= from.0 => {
                next.extend(heap.tables[table].fields.values().copied());
                next.extend(heap.tables[table].meta.map(Value::Table));
            }
            Value::Function(function) if function >= from.1 => {
                let closure = &heap.functions[function];
                if through_foreign || closure.is_home() {
                    next.extend(closure.cells.values().map(|cell| heap.cells[*cell]));
                }
            }
            _ => {}
        }
        list.extend(next.into_iter().filter(|value| seen.insert(*value)));
    }
    list
}

/// Locals that functions assign which something refers to.
fn assigned_by_what_is_there(heap: &Heap) -> BTreeSet<Local> {
    let roots = [
        heap.loaded,
        Value::Table(GLOBALS),
        Value::Table(LIST),
        Value::Table(HELD),
    ];
    let mut assigned = BTreeSet::new();
    for value in reach(heap, roots, (0, 0), true) {
        let Value::Function(function) = value else { continue };
        match &heap.functions[function].kind {
            Kind::Home(code) => assigned.extend(code.assigned()),
            Kind::Nested(code, part) => assigned.extend(code.uses_of(part).into_iter().flat_map(model::assigned)),
            Kind::Foreign => {}
        }
    }
    assigned
}

impl Reload<'_> {
    fn fresh_table(&self, value: Value) -> Option<usize> {
        match value {
            Value::Table(table) if table >= self.ran.tables => Some(table),
            _ => None,
        }
    }

    fn fresh_function(&self, value: Value) -> Option<usize> {
        match value {
            Value::Function(function) if function >= self.ran.functions => Some(function),
            _ => None,
        }
    }

    fn home(&self, value: Value) -> Option<usize> {
        match value {
            Value::Function(function) if self.heap.functions[function].is_home() => Some(function),
            _ => None,
        }
    }

    fn origin(&self, function: usize) -> Option<&str> {
        match &self.heap.functions[function].kind {
            Kind::Home(code) => Some(&code.origin),
            _ => None,
        }
    }

    fn same_origin(&self, old: usize, answers: &BTreeSet<usize>) -> Option<usize> {
        let origin = self.origin(old)?;
        answers.iter().copied().find(|new| self.origin(*new) == Some(origin))
    }

    /// The function that takes the place of this one wherever it stands.
    fn answer(&self, old: usize) -> Result<Option<usize>, Open> {
        let Some(answers) = self.pairs.answers.get(&old) else {
            return Ok(None);
        };
        if answers.len() == 1 {
            return Ok(answers.first().copied());
        }
        match self.same_origin(old, answers) {
            Some(new) => Ok(Some(new)),
            None => Err(Open("a function with several answers")),
        }
    }

    fn pair(&mut self) -> Result<(), Open> {
        let fresh = (self.ran.tables, self.ran.functions);
        let roots2 = self
            .ran
            .changes
            .iter()
            .map(|change| change.new)
            .chain([self.ran.object]);
        let reached2 = reach(self.heap, roots2.collect::<Vec<_>>(), fresh, false);
        self.reached = reached2
            .iter()
            .filter_map(|value| self.fresh_function(*value))
            .collect();
        self.pair_cells()?;
        self.pair_tables()?;
        self.pair_functions();
        self.check_near()
    }

    /// R4.1, R4.2: names are unique in each version.
    fn pair_cells(&mut self) -> Result<(), Open> {
        let mut known: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        let reached1 = reach(self.heap, [self.heap.loaded, Value::Table(GLOBALS)], (0, 0), false);
        for value in reached1 {
            if let Some(function) = self.home(value) {
                for (name, cell) in &self.heap.functions[function].cells {
                    known.entry(name.as_str()).or_default().insert(*cell);
                }
            }
        }
        let hidden = reach(
            self.heap,
            [
                self.heap.loaded,
                Value::Table(GLOBALS),
                Value::Table(LIST),
                Value::Table(HELD),
            ],
            (0, 0),
            true,
        );
        let hidden: BTreeSet<&str> = hidden
            .into_iter()
            .filter_map(|value| self.home(value))
            .flat_map(|function| self.heap.functions[function].cells.keys().map(String::as_str))
            .collect();
        let mut cells = BTreeMap::new();
        for (name, cell) in &self.ran.locals {
            let captured = |function: &usize| self.heap.functions[*function].cells.contains_key(name);
            if !self.reached.iter().any(captured) {
                continue;
            }
            match known.get(name.as_str()).map(|cells| (cells.len(), cells.first())) {
                Some((1, Some(old))) => {
                    cells.insert(*cell, *old);
                }
                Some(_) => return Err(Open("two running cells of one name")),
                None if hidden.contains(name.as_str()) => {
                    return Err(Open("a cell that only functions outside of the module have"));
                }
                None => {}
            }
        }
        self.pairs.cells = cells;
        Ok(())
    }

    /// R3.1
    fn pair_tables(&mut self) -> Result<(), Open> {
        let mut queue: VecDeque<(Value, Value)> = VecDeque::new();
        queue.push_back((self.heap.loaded, self.ran.object));
        queue.extend(self.ran.changes.iter().map(|change| (change.old, change.new)));
        queue.extend(
            self.pairs
                .cells
                .iter()
                .map(|(new, old)| (self.heap.cells[*old], self.heap.cells[*new])),
        );
        let mut later: Vec<(usize, usize)> = Vec::new();
        let mut answered = BTreeSet::new();
        loop {
            while let Some((old, new)) = queue.pop_front() {
                let (Value::Table(old), Some(new)) = (old, self.fresh_table(new)) else {
                    continue;
                };
                if old == GLOBALS || old == LIST || old == HELD {
                    return Err(Open("a table of the host in a place of the module"));
                }
                if self.heap.tables[old].origin != self.heap.tables[new].origin {
                    later.push((old, new));
                } else if !self.pairs.tables.contains_key(&new) && answered.insert(old) {
                    self.pair_two(old, new, &mut queue);
                } else if self.pairs.tables.get(&new) != Some(&old) {
                    return Err(Open("two tables that were made in one place"));
                }
            }
            let code = |old: usize| {
                self.heap.tables[old]
                    .fields
                    .values()
                    .any(|value| self.home(*value).is_some())
            };
            if later
                .iter()
                .any(|(old, new)| self.pairs.tables.contains_key(new) && !answered.contains(old) && code(*old))
            {
                return Err(Open("a second place of a table, with functions"));
            }
            later.retain(|(old, new)| !self.pairs.tables.contains_key(new) && !answered.contains(old));
            later.sort_unstable();
            later.dedup();
            let Some((old, new)) = later.first().copied() else {
                break;
            };
            let single = later.len() == 1
                || later
                    .iter()
                    .all(|pair| *pair == (old, new) || pair.0 != old && pair.1 != new);
            if !single || self.heap.tables[old].origin.is_some() {
                return Err(Open("a reference to another table"));
            }
            answered.insert(old);
            self.pair_two(old, new, &mut queue);
        }
        Ok(())
    }

    fn pair_two(&mut self, old: usize, new: usize, queue: &mut VecDeque<(Value, Value)>) {
        self.pairs.tables.insert(new, old);
        for (key, value) in &self.heap.tables[new].fields {
            queue.push_back((self.heap.get(old, key), *value));
        }
        if let (Some(old), Some(new)) = (self.heap.tables[old].meta, self.heap.tables[new].meta) {
            queue.push_back((Value::Table(old), Value::Table(new)));
        }
    }

    /// R3.2, R4.3
    fn pair_functions(&mut self) {
        let mut places: Vec<(Value, Value)> = vec![(self.heap.loaded, self.ran.object)];
        places.extend(
            self.ran
                .changes
                .iter()
                .filter(|change| change.table != LIST)
                .map(|change| (change.old, change.new)),
        );
        for (new, old) in &self.pairs.tables {
            let fields = &self.heap.tables[*new].fields;
            places.extend(fields.iter().map(|(key, value)| (self.heap.get(*old, key), *value)));
            let code = fields.values().any(|value| is_function(*value));
            let module = Value::Table(*old) == self.heap.loaded;
            if code || module {
                self.pairs.enumerated.insert(*old);
            }
        }
        for change in &self.ran.changes {
            if self.fresh_function(change.new).is_some() && change.table != GLOBALS {
                self.pairs.enumerated.insert(change.table);
            }
        }
        if let Value::Table(module) = self.heap.loaded {
            self.pairs.enumerated.insert(module);
        }
        for (new, old) in &self.pairs.cells {
            // What is chosen at run time stays chosen: such a cell pairs nothing.
            if !self.is_assigned(*new) {
                places.push((self.heap.cells[*old], self.heap.cells[*new]));
            }
        }
        for (old, new) in places {
            if let (Some(old), Some(new)) = (self.home(old), self.fresh_function(new)) {
                self.pairs.answers.entry(old).or_default().insert(new);
            }
        }
    }

    fn local(&self, cell: usize) -> Option<Local> {
        let (name, _) = self.ran.locals.iter().find(|(_, known)| **known == cell)?;
        let mut locals = self.version.locals.iter().map(|(local, _)| *local);
        locals.find(|local| local.name() == *name)
    }

    fn is_assigned(&self, cell: usize) -> bool {
        self.local(cell).is_some_and(|local| self.assigned.contains(&local))
    }

    /// Every cell that is matched must belong to a function in a place that a reload looks at: a field of the module's object or of
    /// a table that is paired, what the chunk overwrote, or the cell of such a function.
    fn check_near(&mut self) -> Result<(), Open> {
        let (mut cells, mut tables) = (BTreeSet::new(), BTreeSet::new());
        let mut functions = BTreeSet::new();
        let mut places: Vec<(Value, Value)> = vec![(self.heap.loaded, self.ran.object)];
        places.extend(self.ran.changes.iter().map(|change| (change.old, change.new)));
        for table in &self.pairs.enumerated {
            let is_root = Value::Table(*table) == self.heap.loaded
                || self.ran.changes.iter().any(|change| change.table == *table);
            if is_root {
                places.extend(
                    self.heap.tables[*table]
                        .fields
                        .values()
                        .map(|value| (*value, Value::Nil)),
                );
            }
        }
        while let Some((old, new)) = places.pop() {
            if let Some(function) = self.home(old)
                && functions.insert(function)
            {
                for cell in self.heap.functions[function].cells.values() {
                    if cells.insert(*cell) {
                        let of_new = self.pairs.cells.iter().find(|(_, known)| *known == cell);
                        let new = of_new.map_or(Value::Nil, |(new, _)| self.heap.cells[*new]);
                        places.push((self.heap.cells[*cell], new));
                    }
                }
            }
            let (Value::Table(old), Some(new)) = (old, self.fresh_table(new)) else {
                continue;
            };
            if self.pairs.tables.get(&new) != Some(&old) || !tables.insert(new) {
                continue;
            }
            let (mine, theirs) = (&self.heap.tables[old], &self.heap.tables[new]);
            let all = self.pairs.enumerated.contains(&old);
            for (key, value) in &mine.fields {
                let other = theirs.fields.get(key).copied().unwrap_or(Value::Nil);
                if all || other != Value::Nil {
                    places.push((*value, other));
                }
            }
            places.extend(
                mine.meta
                    .zip(theirs.meta)
                    .map(|(old, new)| (Value::Table(old), Value::Table(new))),
            );
        }
        self.near = functions;
        let all_tables = self.pairs.tables.keys().all(|table| tables.contains(table));
        if all_tables && self.pairs.cells.values().all(|cell| cells.contains(cell)) {
            Ok(())
        } else {
            Err(Open("a cell that only functions in places of data have"))
        }
    }

    /// What a value of A2 is in the running program.
    fn own(&self, value: Value) -> Value {
        match value {
            Value::Table(table) => Value::Table(self.pairs.tables.get(&table).copied().unwrap_or(table)),
            other => other,
        }
    }

    /// Of the running value that stays: itself, or what takes its place.
    fn follow(&self, oracle: &Oracle, old: Value) -> Result<Value, Open> {
        let Some(function) = self.home(old) else {
            return Ok(old);
        };
        if let Some(new) = self.answer(function)? {
            return Ok(Value::Function(new));
        }
        if oracle.successors.contains_key(&function) {
            return Err(Open("an older generation in a place of the module"));
        }
        Ok(old)
    }

    fn note(&mut self, place: Place, old: Value, new: Value) {
        if old != new && !self.writes.iter().any(|(known, ..)| *known == place) {
            self.writes.push((place, old, new));
        }
    }

    fn conflict(&mut self, old: Value, new: Value) -> Value {
        self.conflicts = true;
        match self.on_conflict {
            OnConflict::Error | OnConflict::Keep => old,
            OnConflict::Replace => self.own(new),
        }
    }

    /// R3 to R6 for a slot that A2 has.
    fn slot(&mut self, oracle: &Oracle, old: Value, new: Value) -> Result<Value, Open> {
        if old == Value::Nil {
            return Ok(self.own(new));
        }
        if old == new {
            return Ok(old);
        }
        if self.fresh_function(new).is_some() {
            return Ok(if is_function(old) { new } else { self.conflict(old, new) });
        }
        if let Value::Import(import) = new {
            return match old {
                Value::Import(known) if known.is_function() == import.is_function() => match known {
                    Import::Floor | Import::Ceil | Import::Dep => Ok(new),
                    Import::DepF | Import::DepG => Ok(old),
                },
                Value::Import(_) => Err(Open("an import of another kind")),
                Value::Function(function) if import.is_function() => Ok(if self.heap.functions[function].is_home() {
                    new
                } else {
                    old
                }),
                Value::Function(_) => self.data_beside(oracle, old, new),
                _ if import.is_function() => Ok(self.conflict(old, new)),
                _ => Ok(old),
            };
        }
        if matches!((old, new), (Value::Import(_), Value::Table(_))) && self.fresh_table(new).is_none() {
            return Err(Open("an import of another kind"));
        }
        if is_function(old) {
            return self.data_beside(oracle, old, new);
        }
        if old == Value::Import(Import::Dep) && self.fresh_table(new).is_some() {
            return Ok(self.own(new));
        }
        Ok(old)
    }

    /// R6: A2's data beside a function.
    fn data_beside(&mut self, oracle: &Oracle, old: Value, new: Value) -> Result<Value, Open> {
        let Some(function) = self.home(old) else {
            return Ok(old);
        };
        match self.answer(function)? {
            Some(_) => self.follow(oracle, old),
            None => Ok(self.conflict(old, new)),
        }
    }

    /// R4.3, R4.7 for a cell that both have.
    fn content(&self, oracle: &Oracle, old: Value, new: Value, cell: usize) -> Result<Value, Open> {
        let Some(local) = self.local(cell) else {
            return Ok(old);
        };
        let init = self.version.locals.iter().find(|(known, _)| *known == local);
        let Some((_, init)) = init else { return Ok(old) };
        let assigned = self.assigned.contains(&local);
        match init {
            Init::Table(..) | Init::Class(_) | Init::Computed(_) => self.follow(oracle, old),
            Init::Function(..) => match old {
                Value::Function(_) | Value::Import(_) => Ok(new),
                _ => self.follow(oracle, old),
            },
            Init::Import(_) if self.ran.changes.iter().any(|change| change.old == new) => {
                Err(Open("an import that the chunk takes the place of"))
            }
            Init::Import(import) => match old {
                Value::Function(_) if !import.is_function() => Err(Open("a function becomes the object of a module")),
                _ => Ok(new),
            },
            Init::Literal(_) | Init::Choice(_) if !assigned => match old {
                Value::Function(_) if new == Value::Nil => Err(Open("a function becomes nil")),
                _ => Ok(new),
            },
            Init::Choice(_) => match self.home(old) {
                Some(function) if self.answer(function)?.is_none() && self.origin(function).is_some() => {
                    Err(Open("a chosen function that the file lacks"))
                }
                _ => self.follow(oracle, old),
            },
            Init::Literal(_) => self.follow(oracle, old),
        }
    }

    fn plan(&mut self, oracle: &Oracle) -> Result<(), Open> {
        for (new, old) in self.pairs.cells.clone() {
            let (was, is) = (self.heap.cells[old], self.heap.cells[new]);
            let content = self.content(oracle, was, is, new)?;
            self.note(Place::Cell(old), was, content);
        }
        for (new, old) in self.pairs.tables.clone() {
            for (key, value) in self.heap.tables[new].fields.clone() {
                let was = self.heap.get(old, &key);
                if was == Value::Nil && !self.may_add(oracle, old, new, &key)? {
                    continue;
                }
                let is = self.slot(oracle, was, value)?;
                self.note(Place::Slot(old, key), was, is);
            }
            if let (None, Some(meta)) = (self.heap.tables[old].meta, self.heap.tables[new].meta) {
                self.note(Place::Meta(old), Value::Nil, self.own(Value::Table(meta)));
            }
        }
        let mut written = BTreeSet::new();
        for change in self.ran.changes.clone() {
            written.insert((change.table, change.key.clone()));
            let origin = self.heap.tables[change.table].origin.clone().unwrap_or_default();
            let gone = oracle
                .record
                .get(&origin)
                .is_some_and(|keys| keys.contains(&change.key));
            let gone = gone && change.old == Value::Nil;
            if gone && matches!(self.version.style, Style::Global | Style::Kept) {
                return Err(Open("the record of a module without an object"));
            }
            if gone {
                return Err(Open("a key that was written again with the value that was there"));
            }
            if change.table != LIST {
                let is = self.slot(oracle, change.old, change.new)?;
                self.note(Place::Slot(change.table, change.key), change.old, is);
            }
        }
        self.list(oracle)?;
        for table in self.pairs.enumerated.clone() {
            let partner = self
                .pairs
                .tables
                .iter()
                .find(|(_, old)| **old == table)
                .map(|(new, _)| *new);
            for (key, value) in self.heap.tables[table].fields.clone() {
                let has = partner.is_some_and(|new| self.heap.get(new, &key) != Value::Nil);
                if !has && !written.contains(&(table, key.clone())) {
                    let is = self.follow(oracle, value)?;
                    self.note(Place::Slot(table, key), value, is);
                }
            }
        }
        let globals = self.heap.tables[GLOBALS].fields.clone();
        for (key, value) in globals {
            if let Some(function) = self.home(value)
                && !written.contains(&(GLOBALS, key))
                && self.pairs.answers.contains_key(&function)
            {
                return Err(Open("a global that the file does not set"));
            }
        }
        Ok(())
    }

    /// Where A2's tables stand, as far as pairing can see.
    fn places(&self) -> Places {
        let mut places = Places::new();
        let mut add = |value: Value, place: String| {
            if let Some(table) = self.fresh_table(value)
                && let Some(origin) = &self.heap.tables[table].origin
            {
                places.entry(origin.clone()).or_default().insert(place);
            }
        };
        add(self.ran.object, "module".to_owned());
        for change in &self.ran.changes {
            add(
                change.new,
                format!("{:?}.{:?}", self.heap.tables[change.table].origin, change.key),
            );
        }
        for table in &self.heap.tables[self.ran.tables..] {
            for (key, value) in &table.fields {
                add(*value, format!("{:?}.{key:?}", table.origin));
            }
            if let Some(meta) = table.meta {
                add(Value::Table(meta), format!("{:?}<meta>", table.origin));
            }
        }
        for (name, cell) in &self.ran.locals {
            let captured = |function: &usize| self.heap.functions[*function].cells.contains_key(name);
            if self.reached.iter().any(captured) {
                add(self.heap.cells[*cell], name.clone());
            }
        }
        places
    }

    /// A record goes by a table's place: what the file has moved since has none, or another table's.
    fn is_moved(&self, oracle: &Oracle, origin: &str) -> bool {
        let now = self.places.get(origin);
        let was = oracle.places.get(origin);
        let taken = |place: &String| {
            let others = oracle.places.iter().filter(|(other, _)| *other != origin);
            others.into_iter().any(|(_, places)| places.contains(place))
        };
        oracle.record.contains_key(origin) && now != was || now.is_some_and(|now| now.iter().any(taken))
    }

    /// R5.3: whether a key that A1's table lacks is added to it.
    fn may_add(&self, oracle: &Oracle, old: usize, new: usize, key: &Key) -> Result<bool, Open> {
        let origin = self.heap.tables[new].origin.clone().unwrap_or_default();
        let record = oracle.record.get(&origin);
        let had = record.is_some_and(|keys| keys.contains(key));
        if record.is_none() && oracle.recorded.contains(&origin) {
            return Err(Open("the record of a table that the last version did not use"));
        }
        if (had || matches!(key, Key::Int(_))) && self.is_moved(oracle, &origin) {
            return Err(Open("the record of a table that the file has moved"));
        }
        if had && matches!(self.version.style, Style::Global | Style::Kept) {
            return Err(Open("the record of a module without an object"));
        }
        Ok(match (key, record) {
            (Key::Name(_), _) => !had,
            (Key::Int(_), None) => false,
            (Key::Int(_), Some(keys)) => {
                let length = keys.iter().filter(|key| matches!(key, Key::Int(_))).count() as i64;
                !had && self.heap.length(old) == length
            }
        })
    }

    /// What the chunk left.
    fn record(&self) -> BTreeMap<String, BTreeSet<Key>> {
        let mut record: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
        let running = reach(self.heap, [self.heap.loaded, Value::Table(GLOBALS)], (0, 0), false);
        for number in self.ran.tables..self.heap.tables.len() {
            let table = &self.heap.tables[number];
            let runs = self.pairs.tables.contains_key(&number) || running.contains(&Value::Table(number));
            if let (Some(origin), true) = (&table.origin, runs) {
                record
                    .entry(origin.clone())
                    .or_default()
                    .extend(table.fields.keys().cloned());
            }
        }
        for change in self.ran.changes.iter().filter(|change| change.table != LIST) {
            if let Some(origin) = &self.heap.tables[change.table].origin {
                record.entry(origin.clone()).or_default().insert(change.key.clone());
            }
        }
        record
    }

    /// R5.4, R5.3: what the chunk appended to a list.
    fn list(&mut self, oracle: &Oracle) -> Result<(), Open> {
        let added: Vec<Value> = self
            .ran
            .changes
            .iter()
            .filter(|change| change.table == LIST)
            .map(|change| change.new)
            .collect();
        let mut length = self.heap.length(LIST);
        for value in added {
            if self.fresh_function(value).is_none() {
                continue;
            }
            let (mut held, mut unanswered) = (false, false);
            for known in self.heap.tables[LIST].fields.values() {
                let now = self.follow(oracle, *known)?;
                held |= now == value;
                unanswered |= now == *known && self.home(now).is_some();
            }
            if !held && unanswered {
                return Err(Open("a handler that goes by order or code"));
            }
            if !held {
                length += 1;
                self.note(Place::Slot(LIST, Key::Int(length)), Value::Nil, value);
            }
        }
        Ok(())
    }

    /// R5.1, R4.1: what A2 made works on A1's tables and cells.
    fn settle_fresh(&mut self) {
        for table in self.ran.tables..self.heap.tables.len() {
            let fields = self.heap.tables[table].fields.clone();
            for (key, value) in fields {
                let value = self.own(value);
                self.heap.put(table, key, value);
            }
            if let Some(meta) = self.heap.tables[table].meta
                && let Some(old) = self.pairs.tables.get(&meta)
            {
                self.heap.tables[table].meta = Some(*old);
            }
        }
        for cell in self.ran.cells..self.heap.cells.len() {
            self.heap.cells[cell] = self.own(self.heap.cells[cell]);
        }
        for function in self.ran.functions..self.heap.functions.len() {
            for cell in self.heap.functions[function].cells.values_mut() {
                *cell = self.pairs.cells.get(cell).copied().unwrap_or(*cell);
            }
        }
    }

    /// R9.2, R9.3
    fn everywhere(&mut self, oracle: &Oracle, moved: &mut Vec<(usize, usize)>) -> Result<(), Open> {
        let mut map: HashMap<usize, usize> = moved.iter().copied().collect();
        let mut by_origin: BTreeMap<String, usize> = BTreeMap::new();
        for function in &self.reached {
            if let Some(origin) = self.origin(*function) {
                by_origin.insert(origin.to_owned(), *function);
            }
        }
        let mut roots = vec![
            self.heap.loaded,
            Value::Table(GLOBALS),
            Value::Table(LIST),
            Value::Table(HELD),
        ];
        // What undoing the reload would bring back.
        roots.extend(moved.iter().map(|(old, _)| Value::Function(*old)));
        roots.extend(self.writes.iter().map(|(_, old, _)| *old));
        for value in reach(self.heap, roots, (0, 0), true) {
            let Value::Function(function) = value else { continue };
            if function >= self.ran.functions || map.contains_key(&function) {
                continue;
            }
            // An older generation follows the one that took its place.
            let mut last = function;
            while let Some(next) = oracle.successors.get(&last) {
                if self.origin(last) != self.origin(*next) {
                    return Err(Open("an older generation of a function that became another one"));
                }
                last = *next;
            }
            let Closure { kind, cells } = self.heap.functions[last].clone();
            match kind {
                Kind::Foreign => {}
                Kind::Home(code) => {
                    if let Some(new) = map.get(&last).copied() {
                        moved.push((function, new));
                        map.insert(function, new);
                    } else if by_origin.contains_key(&code.origin) {
                        return Err(Open("a function that is not in its place"));
                    } else if !oracle.met.contains(&function) {
                        return Err(Open("a function that no reload has looked at"));
                    }
                }
                Kind::Nested(code, part) => {
                    // A1's factory: the one that made it, or a later generation that still has its code.
                    let code = self
                        .pairs
                        .answers
                        .keys()
                        .find_map(|old| match &self.heap.functions[*old].kind {
                            Kind::Home(known) if Rc::ptr_eq(known, &code) || known.makes_same(&code, part) => {
                                Some(Rc::clone(known))
                            }
                            _ => None,
                        });
                    let Some(code) = code else {
                        return Err(Open("a closure of an earlier generation's factory"));
                    };
                    let Some(factory) = by_origin.get(&code.origin).copied() else {
                        return Err(Open("a closure whose factory is gone"));
                    };
                    let Kind::Home(new) = self.heap.functions[factory].kind.clone() else {
                        continue;
                    };
                    let uses = match (&code.gives, &new.gives, part) {
                        (Gives::Closure(was, _), Gives::Closure(is, uses), _) if was == is => uses,
                        (Gives::Object(..), Gives::Object(uses, _), "get") => uses,
                        (Gives::Object(..), Gives::Object(_, uses), "set") => uses,
                        _ => return Err(Open("a closure whose factory makes something else")),
                    };
                    let factory_cells = &self.heap.functions[factory].cells;
                    let mut captured = BTreeMap::new();
                    for name in nested_names(uses) {
                        let cell = if name == "x" {
                            cells.get("x")
                        } else {
                            factory_cells.get(&name)
                        };
                        if let Some(cell) = cell {
                            captured.insert(name, *cell);
                        }
                    }
                    if captured.len() < nested_names(uses).len() {
                        continue;
                    }
                    let closure = self.heap.closure(Kind::Nested(Rc::clone(&new), part), captured);
                    moved.push((function, closure));
                    map.insert(function, closure);
                }
            }
        }
        replace_everywhere(self.heap, &map);
        Ok(())
    }
}
