//! What a reload must do to the reference program: the rules of docs/semantics/, on [`Heap`],
//! where everything is known.
//!
//! Names tell what is the same in two versions: a local's name its cell, the place where the file
//! makes a table or function that table or function. Where the rules leave an outcome open,
//! [`Open`] says so, and the case goes no further.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::heap::{
    Closure, GLOBALS, HELD, Heap, Key, Kind, LIST, Ran, Table, Value, is_function, nested_names,
};
use super::model::{
    self, At, Content, Entry, Gives, Import, Init, Local, OnConflict, Policy, Style, Version,
};
use super::render;

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
    /// In scope "vm": functions, and in whose place they are: the function itself where it stays.
    back: HashMap<usize, usize>,
    everywhere: bool,
    before: Box<Oracle>,
    data: Data,
}

/// What became of data that differs from the file's.
#[derive(Clone, Copy, Default, Debug)]
pub struct Data {
    /// It became the file's.
    pub followed: u64,
    pub stayed: u64,
    /// The file has it no longer, and it went.
    pub gone: u64,
    /// Functions and objects of the other module that took the place of what was there.
    pub imported: u64,
}

impl Undo {
    pub fn data(&self) -> Data {
        self.data
    }
}

pub enum Expected {
    Done(Undo),
    /// For conflicts.
    Refused,
}

/// How a reload is asked for.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub everywhere: bool,
    pub on_conflict: OnConflict,
    pub policy: Policy,
}

/// What is on record of a key or cell (R8).
#[derive(Clone, PartialEq, Eq, Debug)]
enum Known {
    Scalar(Value),
    /// A table, with a record of its own under this path: which one runs there.
    Table(String, usize),
    /// Another module's object.
    Object(Value),
    /// A function of others.
    Function(Value),
    /// Only that the file had it.
    Key,
}

/// What a load left in the module's tables and cells: tables by path, cells by name.
#[derive(Clone, Debug, Default)]
struct Record {
    tables: BTreeMap<String, BTreeMap<Key, Known>>,
    /// Keys of tables that existed which the chunk did not write: they may be on record.
    unsure: BTreeSet<(String, Key)>,
    cells: BTreeMap<String, Known>,
    /// The objects that the file put into tables: where each is made.
    objects: BTreeMap<(String, Key), String>,
    /// The places that the file wrote, `nil` as well.
    written: BTreeSet<String>,
    /// A later line of the file has replaced one of its tables.
    replaces_own_table: bool,
}

impl Record {
    /// Is anything on record of the module?
    fn is_kept(&self) -> bool {
        !self.tables.is_empty() || !self.cells.is_empty()
    }
}

impl Record {
    /// A table goes on with all that is on record of it.
    fn keep(&mut self, older: &Record, path: &str) {
        let Some(keys) = older.tables.get(path) else {
            return;
        };
        self.tables.insert(path.to_owned(), keys.clone());
        let objects = older.objects.iter().filter(|((table, _), _)| table == path);
        self.objects
            .extend(objects.map(|(place, made)| (place.clone(), made.clone())));
        for known in keys.values() {
            match known {
                Known::Table(inner, _) if !self.tables.contains_key(inner) => {
                    self.keep(older, inner);
                }
                _ => {}
            }
        }
    }

    /// The objects that the file put into the table with this path, by their keys.
    fn objects_in(&self, path: &str) -> impl Iterator<Item = (&Key, &String)> {
        let objects = self.objects.iter();
        objects.filter_map(move |((table, key), made)| (table == path).then_some((key, made)))
    }
}

/// What is known of the module from earlier reloads.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Locals that a function of some version assigns. Of what the first load left, only functions
    /// that are still there tell.
    assigned: Option<BTreeSet<Local>>,
    /// Functions and what took their place.
    successors: HashMap<usize, usize>,
    /// Some reload was undone.
    some_undone: bool,
    /// Functions that some reload has looked at.
    met: BTreeSet<usize>,
    /// R5.3, R8: what the last chunk left. The first load leaves no record, but for a tracked
    /// module.
    record: Record,
    /// Where these tables stood then.
    places: Places,
    /// Tables that some record had or may have had.
    recorded: BTreeSet<String>,
    /// Where that load made its functions and tables; none for a load without a record.
    made: Option<[BTreeSet<String>; 2]>,
    /// It was reloaded, so that the text of the last load may say what the record does not.
    reloaded: bool,
}

/// The places of the incoming tables, by the place where the file makes them: the table that has
/// it, in the same way, and under which key.
type Places = BTreeMap<String, BTreeSet<(Option<String>, String)>>;

/// What is on record of a table, and whether that is sure.
type OnRecord<'a> = (Option<&'a BTreeMap<Key, Known>>, bool);

/// How the cells and tables of two versions answer to each other.
#[derive(Default)]
struct Pairs {
    /// The incoming cell to the running one.
    cells: BTreeMap<usize, usize>,
    /// The incoming table to the running one.
    tables: BTreeMap<usize, usize>,
    /// The running function to those of the incoming version that stand in its places.
    answers: BTreeMap<usize, BTreeSet<usize>>,
    /// The running tables whose own keys are looked at.
    enumerated: BTreeSet<usize>,
}

struct Reload<'a> {
    heap: &'a mut Heap,
    version: &'a Version,
    ran: Ran,
    assigned: BTreeSet<Local>,
    on_conflict: OnConflict,
    policy: Policy,
    pairs: Pairs,
    /// The incoming functions that something of the incoming version refers to.
    reached: BTreeSet<usize>,
    /// The running functions in places that a reload looks at.
    near: BTreeSet<usize>,
    writes: Vec<(Place, Value, Value)>,
    conflicts: bool,
    places: Places,
    data: Data,
    /// Functions of the other module and what took their place.
    generations: HashMap<usize, usize>,
    some_undone: bool,
}

impl Oracle {
    pub fn first(heap: &mut Heap, version: &Version, tracked: bool) -> Oracle {
        let ran = heap.chunk(version);
        heap.loaded[usize::from(version.module)] = ran.object;
        let mut oracle = Oracle::default();
        if tracked {
            let how = How {
                everywhere: false,
                on_conflict: OnConflict::Error,
                policy: Policy::Keep,
            };
            let mut reload = Reload::new(
                heap,
                version,
                ran,
                version.assigned().into_iter().collect(),
                how,
            );
            reload.reach();
            let noted = oracle.note(&mut reload);
            assert!(noted.is_ok(), "nothing is on record before");
            oracle.assigned = Some(reload.assigned);
        }
        oracle
    }

    /// Takes the record.
    fn note(&mut self, reload: &mut Reload) -> Result<(), Open> {
        self.record = reload.record(self)?;
        let made = &reload.heap.tables[reload.ran.tables..];
        self.recorded
            .extend(made.iter().filter_map(|table| table.path.clone()));
        let tables = made.iter().filter_map(|table| table.origin.clone());
        self.made = Some([reload.origins(), tables.collect()]);
        self.recorded.extend(self.record.tables.keys().cloned());
        self.places = reload.places();
        Ok(())
    }

    /// Reloads the module.
    ///
    /// # Errors
    /// [`Open`]: the rules do not say what comes out; the heap is of no use then.
    pub fn reload(
        &mut self,
        heap: &mut Heap,
        version: &Version,
        how: How,
        other: &Oracle,
    ) -> Result<Expected, Open> {
        let before = Box::new(self.clone());
        heap.module = version.module;
        let known = self
            .assigned
            .clone()
            .unwrap_or_else(|| assigned_by_what_is_there(heap));
        let ran = heap.chunk(version);
        for change in &ran.changes {
            heap.put(change.table, change.key.clone(), change.old);
        }
        let assigned = known.into_iter().chain(version.assigned()).collect();
        let mut reload = Reload::new(heap, version, ran, assigned, how);
        reload.generations = other.successors.clone();
        reload.some_undone = other.some_undone;
        reload.pair(self)?;
        reload.plan(self)?;
        if reload.conflicts && how.on_conflict == OnConflict::Error {
            *self = *before;
            return Ok(Expected::Refused);
        }
        reload.settle_fresh();
        for (place, _, new) in &reload.writes {
            write(reload.heap, place, *new);
        }
        self.note(&mut reload)?;
        let mut moved = Vec::new();
        for (old, answers) in &reload.pairs.answers {
            match answers.len() {
                1 => moved.extend(answers.iter().map(|new| (*old, *new))),
                _ => moved.extend(reload.same_origin(*old, answers).map(|new| (*old, new))),
            }
        }
        let stays = reload.stays(&moved);
        replace_everywhere(reload.heap, &stays);
        for (_, _, new) in &mut reload.writes {
            if let Value::Function(function) = new {
                *function = stays.get(function).copied().unwrap_or(*function);
            }
        }
        for (_, new) in &mut moved {
            *new = stays.get(new).copied().unwrap_or(*new);
        }
        let assigned = std::mem::take(&mut reload.assigned);
        self.met.extend(reload.near.iter().chain(&reload.reached));
        if how.everywhere {
            reload.everywhere(self, &mut moved)?;
        }
        let (writes, data) = (reload.writes, reload.data);
        self.reloaded = true;
        self.assigned = Some(assigned);
        // The first pair of a function is with the one that it replaced, or with itself where that
        // stays: later ones are older generations, which have followed for good.
        let back = moved.iter().rev().map(|(old, new)| (*new, *old)).collect();
        moved.retain(|(old, new)| old != new);
        self.successors.extend(moved);
        Ok(Expected::Done(Undo {
            writes,
            back,
            everywhere: how.everywhere,
            before,
            data,
        }))
    }

    /// Undoes the last reload: functions, cells and what was added, where it still stands.
    pub fn undo(&mut self, heap: &mut Heap, undo: &Undo) {
        *self = (*undo.before).clone();
        self.some_undone = true;
        for (place, old, new) in undo.writes.iter().rev() {
            if read(heap, place) == *new {
                write(heap, place, *old);
            }
        }
        if undo.everywhere {
            replace_everywhere(heap, &undo.back);
        }
    }
}

fn is_string(value: Value) -> bool {
    matches!(value, Value::Str(_))
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

/// A function of another module, or a patch?
fn is_foreign(heap: &Heap, value: Value) -> bool {
    matches!(value, Value::Function(function) if !heap.is_home(function))
}

/// R6: the kind by which two values differ; none for what goes with every kind.
fn kind(value: Value) -> Option<u8> {
    match value {
        Value::Nil | Value::False => None,
        Value::True => Some(0),
        Value::Num(_) => Some(1),
        Value::Str(_) => Some(2),
        _ if is_function(value) => Some(3),
        Value::Table(_) | Value::Import(_) => Some(4),
        Value::Function(_) => Some(3),
    }
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
                if through_foreign || heap.is_home(function) {
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
        heap.loaded[0],
        heap.loaded[1],
        Value::Table(GLOBALS),
        Value::Table(LIST),
        Value::Table(HELD),
    ];
    let mut assigned = BTreeSet::new();
    for value in reach(heap, roots, (0, 0), true) {
        let Value::Function(function) = value else {
            continue;
        };
        if !heap.is_home(function) {
            continue;
        }
        match &heap.functions[function].kind {
            Kind::Home(code) => assigned.extend(code.assigned()),
            Kind::Nested(code, part) => {
                assigned.extend(code.uses_of(part).into_iter().flat_map(model::assigned))
            }
            Kind::Foreign => {}
        }
    }
    assigned
}

/// Is a table the one that is on record under this path? A table of the program's own is not,
/// whatever is in it; a row goes by its place.
fn is_that_table(table: usize, path: &str, known: usize) -> bool {
    table == known || path.contains('[')
}

/// Has a table what is on record under this path and nothing else, at any depth? Of what the file
/// has elsewhere it need only be the same one.
fn is_unchanged(
    heap: &Heap,
    record: &Record,
    table: usize,
    path: &str,
    is_elsewhere: &dyn Fn(usize) -> bool,
    around: &mut Vec<usize>,
) -> Result<bool, Open> {
    let Some(keys) = record.tables.get(path) else {
        return Err(Open("a table whose record is not the module's"));
    };
    let Table { fields, meta, .. } = &heap.tables[table];
    if meta.is_some() || !fields.keys().eq(keys.keys()) {
        return Ok(false);
    }
    let pairs = || fields.values().zip(keys.values());
    let scalars = pairs().all(|pair| match pair {
        (Value::Table(table), Known::Table(path, known)) => is_that_table(*table, path, *known),
        (value, Known::Scalar(known) | Known::Object(known)) => value == known,
        _ => false,
    });
    if !scalars {
        return Ok(false);
    }
    if around.contains(&table) {
        return Err(Open("a table that is in itself"));
    }
    around.push(table);
    for pair in pairs() {
        if let (Value::Table(inner), Known::Table(path, _)) = pair
            && !is_elsewhere(*inner)
            && !is_unchanged(heap, record, *inner, path, is_elsewhere, around)?
        {
            return Ok(false);
        }
    }
    around.pop();
    Ok(true)
}

const MOVED: &str = "the record of a table that the file has moved";

impl<'a> Reload<'a> {
    fn new(
        heap: &'a mut Heap,
        version: &'a Version,
        ran: Ran,
        assigned: BTreeSet<Local>,
        how: How,
    ) -> Reload<'a> {
        Reload {
            heap,
            version,
            ran,
            assigned,
            on_conflict: how.on_conflict,
            policy: match how.policy {
                Policy::Marked => Policy::Replace,
                policy => policy,
            },
            pairs: Pairs::default(),
            reached: BTreeSet::new(),
            near: BTreeSet::new(),
            writes: Vec::new(),
            conflicts: false,
            places: Places::new(),
            data: Data::default(),
            generations: HashMap::new(),
            some_undone: false,
        }
    }

    /// What of the incoming version something refers to.
    fn reach(&mut self) {
        let fresh = (self.ran.tables, self.ran.functions);
        let changed = self.ran.changes.iter().map(|change| change.new);
        let roots: Vec<Value> = changed.chain([self.ran.object]).collect();
        let reached = reach(self.heap, roots, fresh, false);
        self.reached = reached
            .iter()
            .filter_map(|value| self.fresh_function(*value))
            .collect();
    }

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
            Value::Function(function) if self.heap.is_home(function) => Some(function),
            _ => None,
        }
    }

    /// The other module's object?
    fn is_object(&self, value: Value) -> bool {
        matches!(value, Value::Table(_))
            && value == self.heap.loaded[1 - usize::from(self.heap.module)]
    }

    /// An object of another module, but no function?
    fn is_others(&self, value: Value) -> bool {
        !is_function(value) && (matches!(value, Value::Import(_)) || self.is_object(value))
    }

    /// R3.3: what comes of the other module's object, or of a function of others, that the file
    /// imports.
    fn import(
        &mut self,
        oracle: &Oracle,
        known: Option<&Known>,
        old: Value,
        new: Value,
    ) -> Result<Value, Open> {
        const KIND: Open = Open("an import of another kind");
        if is_function(new) && matches!(known, Some(Known::Function(known)) if *known == old) {
            return Ok(new); // the program has left it alone
        }
        if !is_function(new) {
            return match old {
                Value::Import(Import::Dep) => Ok(new),
                Value::Import(_) => Err(KIND),
                Value::Function(_) => self.data_beside(oracle, old, new),
                _ if self.is_object(old) || self.policy == Policy::Replace => Ok(new),
                _ if self.gives_way(oracle, known, old)? => Ok(new),
                _ => Ok(old),
            };
        }
        match old {
            Value::Import(Import::Floor | Import::Ceil) => Ok(new),
            Value::Import(Import::Dep) => Err(KIND),
            Value::Import(_) => Ok(old),
            Value::Function(function) if self.heap.is_home(function) => Ok(new),
            Value::Function(mut function) => {
                while let Some(next) = self.generations.get(&function) {
                    function = *next;
                    if Value::Function(function) == new {
                        return Ok(new);
                    }
                }
                if self.some_undone {
                    return Err(Open("an import of a function whose reload was undone"));
                }
                Ok(old)
            }
            _ if self.is_object(old) => Err(KIND),
            _ => Ok(self.conflict(old, new)),
        }
    }

    /// R3.5: the module's function inside of a wrapper, and the cell that has it.
    fn wrapped(&self, value: Value) -> Option<(usize, usize)> {
        let Value::Function(wrapper) = value else {
            return None;
        };
        let closure = &self.heap.functions[wrapper];
        let cell = *closure.cells.get("old").filter(|_| closure.is_patch())?;
        Some((cell, self.home(self.heap.cells[cell])?))
    }

    fn origin(&self, function: usize) -> Option<&str> {
        match &self.heap.functions[function].kind {
            Kind::Home(code) => Some(&code.origin),
            _ => None,
        }
    }

    fn same_origin(&self, old: usize, answers: &BTreeSet<usize>) -> Option<usize> {
        let origin = self.origin(old)?;
        answers
            .iter()
            .copied()
            .find(|new| self.origin(*new) == Some(origin))
    }

    /// R3.6: the incoming functions for which the one of the running version stays.
    fn stays(&self, moved: &[(usize, usize)]) -> HashMap<usize, usize> {
        let is_same = |(old, new): &&(usize, usize)| {
            let [old, new] = [*old, *new].map(|function| &self.heap.functions[function]);
            let is_exactly = match (&old.kind, &new.kind) {
                (Kind::Home(old), Kind::Home(new)) => old.is_exactly(new),
                (Kind::Nested(old, part), Kind::Nested(new, other)) => {
                    part == other && old.is_exactly(new)
                }
                _ => false,
            };
            is_exactly && old.cells == new.cells
        };
        let same = moved.iter().filter(is_same);
        same.map(|(old, new)| (*new, *old)).collect()
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

    /// R3.7: a function of the file goes on as one that is gone from it, if the two are alike.
    fn check_renames(&self, oracle: &Oracle) -> Result<(), Open> {
        let Some([made, _]) = &oracle.made else {
            return Ok(()); // places tell
        };
        let file = self.origins();
        let is_known = made.is_subset(&file) || file.is_subset(made);
        match is_known && !self.has_hidden_rename(oracle, made) {
            true => Ok(()),
            false => Err(Open("a function that may have another name now")),
        }
    }

    /// Where the file makes its functions.
    fn origins(&self) -> BTreeSet<String> {
        let functions = self.reached.iter();
        functions
            .filter_map(|function| self.origin(*function).map(str::to_owned))
            .collect()
    }

    /// May a function that the file has no longer, and that has other places as well, be a new one
    /// that nothing refers to? Its references go then, else they stay.
    fn has_hidden_rename(&self, oracle: &Oracle, functions: &BTreeSet<String>) -> bool {
        let made: BTreeSet<&str> = (self.ran.functions..self.heap.functions.len())
            .filter_map(|function| self.origin(function))
            .collect();
        let is_gone_reference = |((path, key), of): (&(String, Key), &String)| match key {
            Key::Name(name) => {
                path != "_G"
                    && functions.contains(of)
                    && !made.contains(of.as_str())
                    && *of != format!("{path}.{name}")
            }
            Key::Int(_) => false,
        };
        made.iter().any(|made| !functions.contains(*made))
            && oracle.record.objects.iter().any(is_gone_reference)
    }

    fn pair(&mut self, oracle: &Oracle) -> Result<(), Open> {
        if self.replaces_own_table() || oracle.record.replaces_own_table {
            return Err(Open("a table that a later line of the file replaces"));
        }
        self.reach();
        self.check_renames(oracle)?;
        self.pair_cells()?;
        self.pair_tables()?;
        self.places = self.places();
        self.check_places(oracle)?;
        self.pair_functions(oracle);
        self.check_near(oracle)
    }

    /// Does the file make a table in a local's constructor, and put another one in its place?
    fn replaces_own_table(&self) -> bool {
        self.version.slots.iter().any(|slot| {
            let (At::Local(local), Content::Table(_)) = (slot.at, &slot.content) else {
                return false;
            };
            let mut locals = self.version.locals.iter();
            let made = locals.find_map(|(other, init)| match init {
                Init::Table(data) if *other == local => Some(&data.fields),
                _ => None,
            });
            made.is_some_and(|fields| {
                fields.iter().any(|(key, entry)| {
                    slot.field.name() == format!("d{key}") && matches!(entry, Entry::Table(_))
                })
            })
        })
    }

    /// R4.1, R4.2: names are unique in each version.
    fn pair_cells(&mut self) -> Result<(), Open> {
        let mut known: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        // Wrappers among them: what no place of the module has is found by [`Self::check_near`].
        let reached1 = reach(
            self.heap,
            [self.heap.object(), Value::Table(GLOBALS)],
            (0, 0),
            true,
        );
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
                self.heap.loaded[0],
                self.heap.loaded[1],
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
            .flat_map(|function| {
                self.heap.functions[function]
                    .cells
                    .keys()
                    .map(String::as_str)
            })
            .collect();
        let mut cells = BTreeMap::new();
        for (name, cell) in &self.ran.locals {
            let captured =
                |function: &usize| self.heap.functions[*function].cells.contains_key(name);
            if !self.reached.iter().any(captured) {
                continue;
            }
            match known
                .get(name.as_str())
                .map(|cells| (cells.len(), cells.first()))
            {
                Some((1, Some(old))) => {
                    cells.insert(*cell, *old);
                }
                Some(_) => return Err(Open("two running cells of one name")),
                None if hidden.contains(name.as_str()) => {
                    return Err(Open(
                        "a cell that only functions outside of the module have",
                    ));
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
        queue.push_back((self.heap.object(), self.ran.object));
        queue.extend(
            self.ran
                .changes
                .iter()
                .map(|change| (change.old, change.new)),
        );
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
                if self.is_object(Value::Table(old)) {
                    continue; // nothing is merged into it
                }
                if old == GLOBALS || old == LIST || old == HELD {
                    return Err(Open("a table of the host in a place of the module"));
                }
                if self.heap.tables[old].origin != self.heap.tables[new].origin {
                    if self.policy == Policy::Replace && self.heap.tables[old].origin.is_some() {
                        return Err(Open("a reference to another table, where data is replaced"));
                    }
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
            if later.iter().any(|(old, new)| {
                self.pairs.tables.contains_key(new) && !answered.contains(old) && code(*old)
            }) {
                return Err(Open("a second place of a table, with functions"));
            }
            later.retain(|(old, new)| {
                !self.pairs.tables.contains_key(new) && !answered.contains(old)
            });
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

    /// R3.7: a table that the last version made, and the file has no longer, may be a new one that
    /// is like it; so may one that the program has moved. What it put in the place of one goes on
    /// as that one (R8.4). A table that stands in several places may be a new one where the running
    /// version lacks it at one of them and its strings are others.
    fn check_places(&self, oracle: &Oracle) -> Result<(), Open> {
        let paired: HashSet<usize> = self.pairs.tables.values().copied().collect();
        let roots = [self.heap.object(), Value::Table(GLOBALS)];
        let running = reach(self.heap, roots, (0, 0), false);
        // Each with where it was made, and whether it stands where the last version had a table.
        let mut gone: Vec<(&Table, String, bool)> = Vec::new();
        for value in running {
            let Value::Table(number) = value else {
                continue;
            };
            let table = &self.heap.tables[number];
            if !paired.contains(&number) {
                gone.extend(table.origin.clone().map(|made| (table, made, false)));
            }
            let record = table.path.as_ref();
            let record = record.and_then(|path| oracle.record.tables.get(path));
            for (key, value) in &table.fields {
                if let Value::Table(inner) = value
                    && !paired.contains(inner)
                {
                    let inner = &self.heap.tables[*inner];
                    let made = inner.origin.clone();
                    let known = record.and_then(|keys| keys.get(key));
                    gone.push((
                        inner,
                        made.unwrap_or_else(|| self.place_of(number, key)),
                        matches!(known, Some(Known::Table(..) | Known::Key)),
                    ));
                }
            }
        }
        let file = &self.heap.tables[self.ran.tables..];
        let has = |file: &[Table], made: &str| {
            let mut origins = file.iter().filter_map(|table| table.origin.as_deref());
            origins.any(|origin| origin == made)
        };
        let no_base = [BTreeSet::new(), BTreeSet::new()];
        let [_, base] = oracle.made.as_ref().unwrap_or(&no_base);
        let new: Vec<&Table> = (self.ran.tables..)
            .zip(file)
            // What the program or an older version made there is no counterpart, if another one is
            // like the file's.
            .filter(|(new, _)| match self.pairs.tables.get(new) {
                Some(old) => {
                    let made = self.heap.tables[*old].origin.as_ref();
                    made.is_none_or(|made| !base.contains(made))
                }
                None => true,
            })
            .map(|(_, table)| table)
            .collect();
        let may_be = |gone: &Table, made: &str, is_place: bool, new: &Table| {
            if gone.origin == new.origin {
                let is_local = !made.contains(['.', '[']);
                return is_local || is_place && !made.contains("[]");
            }
            if !base.contains(made) || has(file, made) {
                return false;
            }
            let is_new = new.origin.as_ref().is_some_and(|new| !base.contains(new));
            let recorded = oracle.record.tables.get(made);
            let is_shared = |key: &Key| {
                let is_written = match key {
                    Key::Name(key) => oracle.record.written.contains(&format!("{made}.{key}")),
                    Key::Int(_) => false,
                };
                let is_recorded = recorded.is_some_and(|keys| keys.contains_key(key));
                gone.fields.contains_key(key) || is_recorded || is_written
            };
            let name = |path: &str| path.rsplit('.').next().map(str::to_owned);
            is_new
                && (new.fields.keys().any(is_shared)
                    || new.path.as_deref().and_then(name) == name(made))
        };
        if gone
            .iter()
            .any(|(gone, made, is_place)| new.iter().any(|new| may_be(gone, made, *is_place, new)))
        {
            return Err(Open("a table that may have another name or place now"));
        }
        for (new, old) in &self.pairs.tables {
            let (mine, theirs) = (&self.heap.tables[*old], &self.heap.tables[*new]);
            let several = theirs.path.as_ref().and_then(|path| self.places.get(path));
            if several.is_none_or(|places| places.len() < 2) {
                continue;
            }
            let strings: Vec<bool> = theirs
                .fields
                .iter()
                .filter_map(|(key, value)| match (mine.fields.get(key), value) {
                    (Some(Value::Str(old)), Value::Str(new)) => Some(old == new),
                    _ => None,
                })
                .collect();
            if !strings.is_empty() && !strings.contains(&true) {
                return Err(Open("a table with several places and other strings"));
            }
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
    fn pair_functions(&mut self, oracle: &Oracle) {
        let mut places = vec![(self.heap.object(), self.ran.object, String::new())];
        let changes = self.ran.changes.iter();
        places.extend(changes.filter(|change| change.table != LIST).map(|change| {
            let place = self.place_of(change.table, &change.key);
            (change.old, change.new, place)
        }));
        for (new, old) in &self.pairs.tables {
            let fields = &self.heap.tables[*new].fields;
            places.extend(fields.iter().map(|(key, value)| {
                let place = self.place_of(*new, key);
                (self.heap.get(*old, key), *value, place)
            }));
            let code = fields.values().any(|value| is_function(*value));
            let module = Value::Table(*old) == self.heap.object();
            // R5.13: places of its own that the file leaves empty are looked for.
            let path = self.heap.tables[*new].path.as_ref();
            let recorded = path.and_then(|path| oracle.record.tables.get(path));
            let shared = fields
                .keys()
                .filter(|key| self.heap.get(*old, key) != Value::Nil);
            let lacks = recorded.is_some_and(|keys| keys.len() > shared.count());
            if code || module || lacks {
                self.pairs.enumerated.insert(*old);
            }
        }
        for change in &self.ran.changes {
            if self.fresh_function(change.new).is_some() && change.table != GLOBALS {
                self.pairs.enumerated.insert(change.table);
            }
        }
        if let Value::Table(module) = self.heap.object() {
            self.pairs.enumerated.insert(module);
        }
        for (new, old) in &self.pairs.cells {
            // What is chosen at run time stays chosen: such a cell pairs nothing.
            if !self.is_assigned(*new) {
                let names = &mut self.ran.locals.iter();
                let name = names.find(|(_, cell)| *cell == new);
                let place = name.map(|(name, _)| render::tag(self.version.module, name));
                let (was, is) = (self.heap.cells[*old], self.heap.cells[*new]);
                places.push((was, is, place.unwrap_or_default()));
            }
        }
        for (old, new, place) in places {
            let wrapped = self.wrapped(old).map(|(_, wrapped)| wrapped);
            if let (Some(old), Some(new)) = (self.home(old).or(wrapped), self.fresh_function(new)) {
                // R3.15: what the last load made elsewhere takes the place alone, but for the place
                // that a function was made for.
                let (was, is) = (self.origin(old), self.origin(new));
                let is_reference = was != is
                    && was != Some(&place)
                    && is
                        .zip(oracle.made.as_ref())
                        .is_some_and(|(is, [made, _])| made.contains(is));
                if !is_reference {
                    self.pairs.answers.entry(old).or_default().insert(new);
                }
            }
        }
    }

    /// The place under a key of a table, as the origin of what is made there has it.
    fn place_of(&self, table: usize, key: &Key) -> String {
        match (&self.heap.tables[table].path, key) {
            (Some(path), Key::Name(name)) if table != GLOBALS => format!("{path}.{name}"),
            (_, Key::Name(name)) => render::tag(self.version.module, name),
            (_, Key::Int(_)) => String::new(),
        }
    }

    fn local(&self, cell: usize) -> Option<Local> {
        let (name, _) = self.ran.locals.iter().find(|(_, known)| **known == cell)?;
        let mut locals = self.version.locals.iter().map(|(local, _)| *local);
        locals.find(|local| local.name() == *name)
    }

    fn is_assigned(&self, cell: usize) -> bool {
        self.local(cell)
            .is_some_and(|local| self.assigned.contains(&local))
    }

    /// Every cell that is matched must belong to a function in a place that a reload looks at: a
    /// field of the module's object or of a table that is paired, what the chunk overwrote, or
    /// the cell of such a function.
    fn check_near(&mut self, oracle: &Oracle) -> Result<(), Open> {
        let (mut cells, mut tables) = (BTreeSet::new(), BTreeSet::new());
        let mut functions = BTreeSet::new();
        let mut places: Vec<(Value, Value)> = vec![(self.heap.object(), self.ran.object)];
        places.extend(
            self.ran
                .changes
                .iter()
                .map(|change| (change.old, change.new)),
        );
        for table in &self.pairs.enumerated {
            let is_root = Value::Table(*table) == self.heap.object()
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
            let wrapped = self.wrapped(old).map(|(_, wrapped)| wrapped);
            // Lines tell what made it, and those of an older version are others.
            let is_former = |wrapped| {
                let (origin, made) = (self.origin(wrapped), oracle.made.as_ref());
                origin
                    .zip(made)
                    .is_some_and(|(origin, [made, _])| !made.contains(origin))
            };
            if wrapped.is_some_and(is_former) {
                return Err(Open("a wrapper of a function that the last version lacks"));
            }
            if let Some(function) = self.home(old).or(wrapped)
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
        self.check_elsewhere()?;
        let all_tables = self.pairs.tables.keys().all(|table| tables.contains(table));
        if all_tables && self.pairs.cells.values().all(|cell| cells.contains(cell)) {
            Ok(())
        } else {
            Err(Open("a cell that only functions in places of data have"))
        }
    }

    /// R3.7: a function that the file makes as before, and puts to where no place tells.
    fn check_elsewhere(&self) -> Result<(), Open> {
        let answered: BTreeSet<usize> = self.pairs.answers.values().flatten().copied().collect();
        let rest = self.reached.iter().filter(|new| !answered.contains(*new));
        let new: BTreeSet<&str> = rest.filter_map(|new| self.origin(*new)).collect();
        let roots = [self.heap.object(), Value::Table(GLOBALS)];
        let is_again = |value: &Value| {
            self.home(*value).is_some_and(|old| {
                let is_again = self.origin(old).is_some_and(|old| new.contains(old));
                is_again && !self.pairs.answers.contains_key(&old)
            })
        };
        match !new.is_empty() && reach(self.heap, roots, (0, 0), false).iter().any(is_again) {
            true => Err(Open("a function that the file puts elsewhere")),
            false => Ok(()),
        }
    }

    /// What an incoming value is in the running program.
    fn own(&self, value: Value) -> Value {
        match value {
            Value::Table(table) => {
                Value::Table(self.pairs.tables.get(&table).copied().unwrap_or(table))
            }
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

    /// R6: what comes of data beside data of another kind: the file's, a conflict, or the
    /// program's, as the record says. Changes that involve functions are left open where there is a
    /// record.
    fn kinds(
        &mut self,
        oracle: &Oracle,
        known: Option<&Known>,
        old: Value,
        new: Value,
    ) -> Result<Option<Value>, Open> {
        let differ = kind(old).zip(kind(new)).is_some_and(|(a, b)| a != b);
        let is_data = !is_function(old) && !is_function(new);
        if !differ || is_data && self.policy == Policy::Replace {
            return Ok(None);
        }
        match known {
            None if !oracle.record.is_kept() && !is_data => Ok(None),
            _ if !is_data || self.is_others(old) || self.is_others(new) => {
                Err(Open("a change of kind with functions or imports"))
            }
            Some(Known::Scalar(known)) if *known == new => Ok(Some(old)),
            Some(Known::Scalar(known)) if *known == old => Ok(Some(self.own(new))),
            // Where an edit was not taken, the next version may have it again: no edit at all.
            Some(Known::Scalar(_)) if oracle.reloaded => {
                Err(Open("a change of kind behind an edit that was not taken"))
            }
            Some(Known::Scalar(_)) => Ok(Some(self.conflict(old, new))),
            None if oracle.reloaded => Err(Open("a change of kind of which only the text tells")),
            Some(Known::Table(..)) if matches!(new, Value::Table(_)) => Ok(Some(old)),
            Some(Known::Table(..)) if self.is_unchanged(oracle, known, old)? => {
                Ok(Some(self.own(new)))
            }
            Some(Known::Table(..)) if oracle.reloaded => {
                Err(Open("a change of kind behind an edit that was not taken"))
            }
            Some(Known::Table(..)) | None => Ok(Some(self.conflict(old, new))),
            Some(_) => Err(Open("a change of kind of which only the text tells")),
        }
    }

    /// R3 to R6 for a slot that the incoming version has.
    fn slot(
        &mut self,
        oracle: &Oracle,
        known: Option<&Known>,
        old: Value,
        new: Value,
    ) -> Result<Value, Open> {
        if old == Value::Nil {
            return Ok(self.own(new));
        }
        if old == new {
            return Ok(old);
        }
        if matches!(old, Value::Import(_)) && new == self.heap.object() && known.is_none() {
            return Err(Open(
                "the module in the place of an import, without a record",
            ));
        }
        if self.is_object(new) || is_foreign(self.heap, new) || matches!(new, Value::Import(_)) {
            let is = self.import(oracle, known, old, new)?;
            let is_others = !matches!(new, Value::Import(_));
            self.data.imported += u64::from(is_others && is == new && is != old);
            return Ok(is);
        }
        if let (Value::Table(table), Value::Table(other)) = (old, new)
            && self.own(new) != old
            && (self.pairs.tables.contains_key(&other)
                || new == self.heap.cells[self.ran.locals["M"]]
                || self.is_answer(table))
        {
            // R3.15: a place that led to another table in the last load.
            return match known {
                Some(Known::Table(_, is)) if *is == table => {
                    Ok(if self.is_state_lost(oracle, known, old)? {
                        old
                    } else {
                        self.own(new)
                    })
                }
                _ => Err(Open(
                    "a reference to another table, where the program has its own",
                )),
            };
        }
        if old == self.heap.object() && self.own(new) != old {
            return Err(Open("another value in a place of the module's object"));
        }
        let is_data = |value: Value| !is_function(value);
        if self.policy == Policy::Replace && is_data(old) && is_data(new) {
            self.data.followed += 1;
            return Ok(self.own(new));
        }
        if let Some(function) = self.fresh_function(new) {
            if let Some((cell, wrapped)) = self.wrapped(old) {
                if self.answer(wrapped)? != Some(function)
                    || self.origin(wrapped) != self.origin(function)
                {
                    return Err(Open("a wrapper of another function"));
                }
                self.note(Place::Cell(cell), self.heap.cells[cell], new);
                return Ok(old);
            }
            return Ok(if is_function(old) {
                new
            } else {
                self.conflict(old, new)
            });
        }
        if matches!((old, new), (Value::Import(_), Value::Table(_)))
            && self.fresh_table(new).is_none()
        {
            return Err(Open("an import of another kind"));
        }
        if is_function(old) {
            return self.data_beside(oracle, old, new);
        }
        if (old == Value::Import(Import::Dep) || self.is_object(old))
            && self.fresh_table(new).is_some()
        {
            return Ok(self.own(new));
        }
        Ok(old)
    }

    /// R6: the incoming data beside a function.
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
        let init = self
            .version
            .locals
            .iter()
            .find(|(known, _)| *known == local);
        let Some((_, init)) = init else {
            return Ok(old);
        };
        let assigned = self.assigned.contains(&local);
        let is_data = |value: Value| !is_function(value) && !matches!(value, Value::Import(_));
        if self.policy == Policy::Replace && !matches!(init, Init::Import(_)) {
            if is_data(old) && is_data(new) {
                return Ok(self.own(new));
            }
            if assigned && matches!(init, Init::Literal(Some(_)) | Init::Computed(_)) {
                return Err(Open("a function in a cell whose data is replaced"));
            }
        }
        match init {
            Init::Table(..) | Init::Class(_) | Init::Computed(_) => self.follow(oracle, old),
            Init::Function(..) => match old {
                Value::Function(_) | Value::Import(_) => Ok(new),
                _ => self.follow(oracle, old),
            },
            Init::Import(_) if self.ran.changes.iter().any(|change| change.old == new) => {
                Err(Open("an import that the chunk takes the place of"))
            }
            Init::Import(_)
                if old != new
                    && !is_function(new)
                    && !matches!(new, Value::Import(_))
                    && !self.is_object(new) =>
            {
                Err(Open("an import that is no object"))
            }
            Init::Import(import) => match old {
                Value::Function(_) if !import.is_function() => {
                    Err(Open("a function becomes the object of a module"))
                }
                _ => Ok(new),
            },
            Init::Literal(_) | Init::Choice(_) if !assigned => match old {
                Value::Function(_) if new == Value::Nil => Err(Open("a function becomes nil")),
                _ => Ok(new),
            },
            Init::Choice(_) => match self.home(old) {
                Some(function)
                    if self.answer(function)?.is_none() && self.origin(function).is_some() =>
                {
                    Err(Open("a chosen function that the file lacks"))
                }
                _ => self.follow(oracle, old),
            },
            Init::Literal(_) => self.follow(oracle, old),
        }
    }

    /// Has a table the list that is on record of the one with this path, and nothing else?
    fn is_list_on_record(
        &self,
        oracle: &Oracle,
        table: usize,
        record: &BTreeMap<Key, Known>,
    ) -> Result<bool, Open> {
        let length = record.keys().filter(|key| matches!(key, Key::Int(_)));
        let length = self.heap.length(table).max(length.count() as i64);
        for key in (1..=length).map(Key::Int) {
            let (known, value) = (record.get(&key), self.heap.get(table, &key));
            let is_nothing = known.is_none() && value == Value::Nil;
            if !is_nothing && !self.is_unchanged(oracle, known, value)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// R3.14, R5.12: which elements of a list answer to each other matters where both sides have
    /// rows, and where both have changed what is merged.
    fn check_lists(&self, oracle: &Oracle) -> Result<(), Open> {
        for (new, old) in &self.pairs.tables {
            let length = self.heap.length(*new).max(self.heap.length(*old));
            let both = (1..=length).map(|row| {
                let key = Key::Int(row);
                [*new, *old].map(|table| self.heap.get(table, &key))
            });
            if length == 0 {
                continue;
            }
            let path = self.heap.tables[*new].path.as_ref();
            let record = path.and_then(|path| oracle.record.tables.get(path));
            let is_on_record = |table| match record {
                Some(record) => self.is_list_on_record(oracle, table, record),
                None => Ok(false),
            };
            // What the file has not changed stays as it runs.
            let is_text = is_on_record(*new)?;
            if is_text && self.policy != Policy::Replace {
                continue;
            }
            if self.policy == Policy::Merge && record.is_some() && !is_on_record(*old)? {
                return Err(Open("a list that both have changed"));
            }
            let is_unknown =
                |(key, known): (&Key, &Known)| matches!(key, Key::Int(_)) && *known == Known::Key;
            if !is_text && record.is_some_and(|keys| keys.iter().any(is_unknown)) {
                return Err(Open("a list of which nobody knows what it held"));
            }
            let have_rows = |side: usize| {
                both.clone()
                    .any(|both| matches!(both[side], Value::Table(_)))
            };
            if !have_rows(0) || !have_rows(1) {
                continue;
            }
            // Rows at equal places, with the same keys and equal strings, and between equal
            // scalars, are one.
            let known = record.map(|record| {
                let keys = record.keys().filter(|key| matches!(key, Key::Int(_)));
                keys.count() as i64
            });
            let is_other = |both: [Value; 2]| match both {
                [Value::Table(new), Value::Table(old)] => {
                    let [new, old] = [new, old].map(|row| &self.heap.tables[row].fields);
                    old.keys().chain(new.keys()).any(|key| {
                        let both = [old, new].map(|fields| fields.get(key).copied());
                        let tells = record.is_none()
                            || both.iter().any(|value| value.is_none_or(is_string));
                        let [old, new] = both;
                        old != new && tells
                    })
                }
                [new, old] => new != old,
            };
            if both.clone().any(is_other) || known.is_some_and(|known| known != length) {
                return Err(Open("a list with other rows"));
            }
        }
        Ok(())
    }

    fn plan(&mut self, oracle: &Oracle) -> Result<(), Open> {
        self.check_lists(oracle)?;
        for (new, old) in &self.pairs.tables {
            if self.heap.tables[*old].meta.is_some() && self.heap.tables[*new].meta.is_none() {
                return Err(Open("a metatable that the file has no longer"));
            }
            let [mine, theirs] = [*old, *new].map(|table| &self.heap.tables[table].fields);
            let is_list = mine.keys().any(|key| matches!(key, Key::Int(_)));
            let mut fields = mine.iter().filter(|(key, _)| !theirs.contains_key(key));
            if is_list
                && !self.pairs.enumerated.contains(old)
                && fields.any(|(_, value)| self.home(*value).is_some())
            {
                return Err(Open("a function that the program put into a list of data"));
            }
        }
        for table in self
            .pairs
            .enumerated
            .iter()
            .chain(self.pairs.tables.values())
        {
            let is_written = |key: &Key| {
                let mut changes = self.ran.changes.iter();
                changes.any(|change| change.table == *table && change.key == *key)
                    || (self.pairs.tables.iter())
                        .any(|(new, old)| old == table && self.heap.get(*new, key) != Value::Nil)
            };
            let mut fields = self.heap.tables[*table].fields.iter();
            if fields.any(|(key, value)| !is_written(key) && self.wrapped(*value).is_some()) {
                return Err(Open("a wrapper in a place that the file lacks"));
            }
        }
        for (new, old) in self.pairs.cells.clone() {
            let (was, is) = (self.heap.cells[old], self.heap.cells[new]);
            let mut locals = self.ran.locals.iter();
            let known = locals.find(|(_, cell)| **cell == new);
            let known = known.and_then(|(name, _)| oracle.record.cells.get(name));
            let is_data = matches!(
                is,
                Value::True | Value::False | Value::Num(_) | Value::Str(_)
            ) || self.fresh_table(is).is_some();
            let mut content = match self.merged(oracle, known, was, is)? {
                // What a local without a value gets is new.
                _ if was == Value::Nil
                    && !self.is_assigned(new)
                    && is_data
                    && self.policy != Policy::Replace =>
                {
                    self.own(is)
                }
                Some(content) if content != was => content,
                _ => self.content(oracle, was, is, new)?,
            };
            if content == was && kind(was) != kind(is) {
                if is_function(was) || is_function(is) {
                    return Err(Open("a change of kind with functions or imports"));
                }
                let is_fixed = !oracle.record.is_kept() && !self.is_assigned(new);
                content = match is_fixed && !self.is_others(was) && self.policy != Policy::Replace {
                    // Nobody can have changed it.
                    true => self.own(is),
                    false => self.kinds(oracle, known, was, is)?.unwrap_or(was),
                };
            }
            let imports = self.is_object(content) || is_foreign(self.heap, content);
            self.data.imported += u64::from(was != content && imports);
            self.note(Place::Cell(old), was, content);
        }
        for (new, old) in self.pairs.tables.clone() {
            let path = self.heap.tables[new].path.clone().unwrap_or_default();
            let (record, sure) = self.on_record(oracle, &path);
            let fields = self.heap.tables[new].fields.clone();
            for (key, value) in fields.clone() {
                let was = self.heap.get(old, &key);
                if was == Value::Nil && !self.may_add(oracle, old, new, &key)? {
                    continue;
                }
                let known = record.and_then(|keys| keys.get(&key));
                if self.policy == Policy::Merge
                    && was != value
                    && !oracle.record.tables.contains_key(&path)
                    && oracle.recorded.contains(&path)
                {
                    return Err(Open(
                        "the record of a table that the last version did not use",
                    ));
                }
                let merged = if was == Value::Nil {
                    None
                } else {
                    self.merged(oracle, known, was, value)?
                };
                let kinds = match key {
                    Key::Name(_) if merged.is_none_or(|is| is == was) => {
                        self.kinds(oracle, known, was, value)?
                    }
                    _ => None,
                };
                let is = match kinds.or(merged) {
                    Some(is) if is != was && !sure => return Err(Open(MOVED)),
                    Some(is) => is,
                    None => self.slot(oracle, known, was, value)?,
                };
                self.note(Place::Slot(old, key), was, is);
            }
            for (key, made) in oracle.record.objects_in(&path) {
                let goes = !fields.contains_key(key)
                    && (self.is_reference_that_goes(old, key, made)?
                        || self.is_override_that_goes(old, new, key, made)?);
                if goes {
                    if !sure {
                        return Err(Open(MOVED));
                    }
                    let was = self.heap.get(old, key);
                    self.note(Place::Slot(old, key.clone()), was, Value::Nil);
                }
            }
            self.gone(oracle, old, &path, |key| fields.contains_key(key))?;
            // A metatable is behaviour.
            let exact = Value::Table(old) != self.heap.object() && !path.ends_with("<meta>");
            if self.policy == Policy::Replace && exact {
                for (key, value) in self.heap.tables[old].fields.clone() {
                    if !fields.contains_key(&key) {
                        self.data.gone += 1;
                        self.note(Place::Slot(old, key), value, Value::Nil);
                    }
                }
            }
            if let (None, Some(meta)) = (self.heap.tables[old].meta, self.heap.tables[new].meta) {
                self.note(Place::Meta(old), Value::Nil, self.own(Value::Table(meta)));
            }
        }
        let mut written = BTreeSet::new();
        for change in self.ran.changes.clone() {
            written.insert((change.table, change.key.clone()));
            let path = self.heap.tables[change.table]
                .path
                .clone()
                .unwrap_or_default();
            let record = oracle.record.tables.get(&path);
            let known = record.and_then(|keys| keys.get(&change.key));
            let replaces = self.policy == Policy::Replace;
            let unsure = oracle.record.unsure.contains(&(path, change.key.clone()));
            if unsure
                && !replaces
                && (change.old == Value::Nil
                    || self.policy == Policy::Merge && change.old != change.new)
            {
                return Err(Open(
                    "a key of a table that existed, which the last version did not write",
                ));
            }
            if known.is_some() && change.old == Value::Nil && !replaces {
                continue;
            }
            if change.table != LIST {
                let merged = if change.old == Value::Nil {
                    None
                } else {
                    self.merged(oracle, known, change.old, change.new)?
                };
                let kinds = match merged.is_none_or(|is| is == change.old) {
                    true => self.kinds(oracle, known, change.old, change.new)?,
                    false => None,
                };
                let is = match kinds.or(merged) {
                    Some(is) => is,
                    None => self.slot(oracle, known, change.old, change.new)?,
                };
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

    /// R8: what comes of data beside data, when data is merged.
    fn merged(
        &mut self,
        oracle: &Oracle,
        known: Option<&Known>,
        was: Value,
        is: Value,
    ) -> Result<Option<Value>, Open> {
        let data = |value: Value| {
            !is_function(value) && !matches!(value, Value::Import(_)) && !self.is_object(value)
        };
        let is_table = |value: Value| matches!(value, Value::Table(_));
        if self.policy != Policy::Merge
            || !data(was)
            || !data(is)
            || is_table(is) && self.fresh_table(is).is_none()
            || is_table(was) && is_table(is)
            || was == is
        {
            return Ok(None);
        }
        let follows = self.is_unchanged(oracle, known, was)?;
        self.data.followed += u64::from(follows);
        self.data.stayed += u64::from(!follows);
        Ok(Some(if follows { self.own(is) } else { was }))
    }

    /// R3.15: has the file a running table no longer that the program has changed?
    fn is_state_lost(
        &self,
        oracle: &Oracle,
        known: Option<&Known>,
        old: Value,
    ) -> Result<bool, Open> {
        let Value::Table(table) = old else {
            return Ok(false);
        };
        if self.policy == Policy::Replace || self.is_answer(table) || old == self.heap.object() {
            return Ok(false);
        }
        let Table { fields, meta, .. } = &self.heap.tables[table];
        if meta.is_some() || fields.values().any(|value| is_function(*value)) {
            return Err(Open("a class that the file has no longer"));
        }
        Ok(!self.is_unchanged(oracle, known, old)?)
    }

    /// Does a running table answer to one of the file's?
    fn is_answer(&self, table: usize) -> bool {
        self.pairs.tables.values().any(|answer| *answer == table)
    }

    /// R3.3: an own table gives way to an import if the record has it there, and the program left
    /// it alone.
    fn gives_way(
        &self,
        oracle: &Oracle,
        known: Option<&Known>,
        value: Value,
    ) -> Result<bool, Open> {
        let Value::Table(table) = value else {
            return Ok(false);
        };
        if self.is_object_on_record(known, value) {
            return Ok(true);
        }
        let Table { fields, meta, .. } = &self.heap.tables[table];
        if meta.is_some() || fields.values().any(|value| is_function(*value)) {
            return Err(Open("a class that the file has no longer"));
        }
        self.is_unchanged(oracle, known, value)
    }

    /// Is it the module's object, which the record has at this place?
    fn is_object_on_record(&self, known: Option<&Known>, value: Value) -> bool {
        let object = self.own(self.heap.cells[self.ran.locals["M"]]);
        let is_there = |table| Value::Table(table) == value && value == object;
        matches!(known, Some(Known::Table(_, table)) if is_there(*table))
    }

    fn is_unchanged(
        &self,
        oracle: &Oracle,
        known: Option<&Known>,
        value: Value,
    ) -> Result<bool, Open> {
        match (known, value) {
            (Some(Known::Scalar(known) | Known::Object(known)), _) => Ok(*known == value),
            (Some(Known::Table(path, known)), Value::Table(table)) => {
                let (heap, record) = (&*self.heap, &oracle.record);
                let is_elsewhere = |table| self.is_answer(table);
                let around = &mut Vec::new();
                Ok(is_that_table(table, path, *known)
                    && is_unchanged(heap, record, table, path, &is_elsewhere, around)?)
            }
            _ => Ok(false),
        }
    }

    /// Where the file makes an object of its own; none for a row, whose place says nothing.
    fn made_at(&self, value: Value) -> Option<&str> {
        let made = match value {
            Value::Table(table) => self.heap.tables[table].origin.as_deref(),
            _ => self.origin(self.home(value)?),
        };
        made.filter(|made| !made.contains("[]"))
    }

    /// R5.13: does the object that the file put at this place, and made at another one, stand there
    /// still, and does the file make it now as well?
    fn is_reference_that_goes(&self, table: usize, key: &Key, made: &str) -> Result<bool, Open> {
        let value = self.heap.get(table, key);
        let Key::Name(name) = key else {
            return Ok(false);
        };
        let path = self.heap.tables[table].path.as_deref().unwrap_or_default();
        if self.made_at(value) != Some(made) || made == format!("{path}.{name}") {
            return Ok(false);
        }
        // What the file takes up (`Mod = Mod or {}`) is the module's object in it as well.
        let object = self.heap.cells[self.ran.locals["M"]];
        Ok(match value {
            Value::Table(_) if value == object => true,
            Value::Table(is) => self.pairs.tables.values().any(|paired| *paired == is),
            _ => match self.home(value) {
                Some(function) => self.answer(function)?.is_some(),
                None => false,
            },
        })
    }

    /// R5.2: does the function that the file made at this place stand there still, has the file
    /// none like it, and does its table inherit another value?
    fn is_override_that_goes(
        &self,
        old: usize,
        new: usize,
        key: &Key,
        made: &str,
    ) -> Result<bool, Open> {
        let value = self.heap.get(old, key);
        let Key::Name(name) = key else {
            return Ok(false);
        };
        let path = self.heap.tables[old].path.as_deref().unwrap_or_default();
        if self.made_at(value) != Some(made) || made != format!("{path}.{name}") {
            return Ok(false);
        }
        let Some(function) = self.home(value) else {
            return Ok(false);
        };
        if self.answer(function)?.is_some() {
            return Ok(false);
        }
        let (mut table, mut seen) = (new, BTreeSet::new());
        while seen.insert(table)
            && let Some(meta) = self.heap.tables[table].meta
            && let Value::Table(parent) = self.heap.get(meta, &Key::name("__index"))
        {
            if self.heap.get(parent, key) != Value::Nil {
                return Ok(true);
            }
            table = parent;
        }
        Ok(false)
    }

    /// R8: what is on record, the program did not change and the file has no longer.
    fn gone(
        &mut self,
        oracle: &Oracle,
        table: usize,
        path: &str,
        has: impl Fn(&Key) -> bool,
    ) -> Result<(), Open> {
        let (record, sure) = self.on_record(oracle, path);
        let Some(record) = record else {
            return Ok(());
        };
        if self.policy != Policy::Merge {
            return Ok(());
        }
        let length = record
            .keys()
            .filter(|key| matches!(key, Key::Int(_)))
            .count() as i64;
        let has_holes = self.heap.tables[table].fields.keys().any(|key| match key {
            Key::Int(n) => *n > self.heap.length(table),
            Key::Name(_) => false,
        });
        if has_holes {
            return Err(Open("a list with holes"));
        }
        let rows = (1..=length).rev().map(Key::Int).take_while(|key| !has(key));
        let rows = rows.take(if self.heap.length(table) == length {
            usize::MAX
        } else {
            0
        });
        let names = record
            .keys()
            .filter(|key| matches!(key, Key::Name(_)) && !has(key));
        let mut rows_end = false;
        for key in rows.chain(names.cloned()) {
            let is_row = matches!(key, Key::Int(_));
            if is_row && rows_end {
                continue;
            }
            let value = self.heap.get(table, &key);
            if value != Value::Nil && self.is_unchanged(oracle, record.get(&key), value)? {
                if !sure {
                    return Err(Open(MOVED));
                }
                if let Value::Table(gone) = value
                    && self.pairs.tables.values().any(|paired| *paired == gone)
                {
                    return Err(Open("a table that goes in one place and has another one"));
                }
                self.data.gone += 1;
                self.note(Place::Slot(table, key), value, Value::Nil);
            } else {
                rows_end |= is_row;
            }
        }
        Ok(())
    }

    /// Where the incoming tables stand, as far as pairing can see.
    fn places(&self) -> Places {
        let mut places = Places::new();
        let mut add = |value: Value, parent: Option<&String>, place: String| {
            if let Some(table) = self.fresh_table(value)
                && let Some(path) = &self.heap.tables[table].path
            {
                let place = (parent.cloned(), place);
                places.entry(path.clone()).or_default().insert(place);
            }
        };
        add(self.ran.object, None, "module".to_owned());
        for change in &self.ran.changes {
            let path = self.heap.tables[change.table].path.as_ref();
            add(change.new, path, format!("{:?}", change.key));
        }
        for table in &self.heap.tables[self.ran.tables..] {
            for (key, value) in &table.fields {
                add(*value, table.path.as_ref(), format!("{key:?}"));
            }
            if let Some(meta) = table.meta {
                add(Value::Table(meta), table.path.as_ref(), "<meta>".to_owned());
            }
        }
        for (name, cell) in &self.ran.locals {
            let captured =
                |function: &usize| self.heap.functions[*function].cells.contains_key(name);
            if self.reached.iter().any(captured) {
                add(self.heap.cells[*cell], None, name.clone());
            }
        }
        places
    }

    /// What is on record of the table that the file makes here. A record goes by a table's place:
    /// it is there while all places that it had are the table's still, and not when none of
    /// them is.
    fn on_record<'o>(&self, oracle: &'o Oracle, path: &str) -> OnRecord<'o> {
        let record = oracle.record.tables.get(path);
        let now = self.places.get(path);
        let taken = |place: &(Option<String>, String)| {
            let mut others = oracle.places.iter().filter(|(other, _)| *other != path);
            others.any(|(_, places)| places.contains(place))
        };
        if now.is_some_and(|now| now.iter().any(taken)) {
            return (record, false);
        }
        let mut tables = vec![path];
        let mut at = 0;
        while let Some(path) = tables.get(at).copied() {
            at += 1;
            if path == "M" && matches!(self.version.style, Style::Kept | Style::KeptAndReturned) {
                continue; // the chunk takes it up again
            }
            let (Some(was), now) = (oracle.places.get(path), self.places.get(path)) else {
                continue;
            };
            let is_object = |places: &BTreeSet<(Option<String>, String)>| {
                places.iter().any(|(_, name)| name == "module")
            };
            if is_object(was) && now.is_some_and(is_object) {
                continue;
            }
            if at == 1 && now.is_none_or(|now| now.is_disjoint(was)) {
                return (None, true);
            }
            if now.is_none_or(|now| !was.is_subset(now)) {
                return (record, false);
            }
            for parent in was.iter().filter_map(|(parent, _)| parent.as_deref()) {
                if !tables.contains(&parent) {
                    tables.push(parent);
                }
            }
        }
        (record, true)
    }

    /// R5.3: whether a key that the running table lacks is added to it.
    fn may_add(&self, oracle: &Oracle, old: usize, new: usize, key: &Key) -> Result<bool, Open> {
        if self.policy == Policy::Replace {
            return Ok(true);
        }
        let path = self.heap.tables[new].path.clone().unwrap_or_default();
        let (record, sure) = self.on_record(oracle, &path);
        let had = record.is_some_and(|keys| keys.contains_key(key));
        if sure && !oracle.record.tables.contains_key(&path) && oracle.recorded.contains(&path) {
            return Err(Open(
                "the record of a table that the last version did not use",
            ));
        }
        if (had || matches!(key, Key::Int(_))) && !sure {
            return Err(Open(MOVED));
        }
        if matches!(key, Key::Int(_)) && self.policy == Policy::Keep {
            return match is_function(self.heap.get(new, key)) {
                true => Err(Open("an element of a list with functions")),
                false => Ok(false), // plain data in a list stays as it runs
            };
        }
        Ok(match (key, record) {
            (Key::Name(_), _) => !had,
            (Key::Int(_), None) => false,
            (Key::Int(_), Some(keys)) => {
                let length = keys.keys().filter(|key| matches!(key, Key::Int(_))).count() as i64;
                !had && self.heap.length(old) == length
            }
        })
    }

    /// What the chunk left (R8), when all is written.
    fn record(&self, oracle: &Oracle) -> Result<Record, Open> {
        let mut record = Record {
            written: self.version.written(),
            replaces_own_table: self.replaces_own_table(),
            ..Record::default()
        };
        let running = reach(
            self.heap,
            [self.heap.object(), Value::Table(GLOBALS)],
            (0, 0),
            true,
        );
        for number in self.ran.tables..self.heap.tables.len() {
            let table = &self.heap.tables[number];
            let partner = self.pairs.tables.get(&number).copied();
            if let Some(path) = &table.path
                && (partner.is_some() || running.contains(&Value::Table(number)))
            {
                record.tables.entry(path.clone()).or_default();
                for (key, value) in &table.fields {
                    if let Some(made) = self.made_at(*value) {
                        let place = (path.clone(), key.clone());
                        record.objects.insert(place, made.to_owned());
                    }
                    let runs = self.heap.get(partner.unwrap_or(number), key);
                    let older = oracle
                        .record
                        .tables
                        .get(path)
                        .and_then(|keys| keys.get(key));
                    // What "keep" did not bring into a list is not on record.
                    let had = oracle.record.tables.get(path);
                    let is_new = had.is_some_and(|keys| !keys.contains_key(key));
                    let is_left = matches!(key, Key::Int(_)) && runs == Value::Nil;
                    if is_left && is_new && self.policy == Policy::Keep {
                        continue;
                    }
                    let known = match self.known(*value, runs, older) {
                        // Which element of a list it was is not known.
                        Known::Scalar(held) if matches!(key, Key::Int(_)) && held != runs => {
                            Known::Key
                        }
                        known => known,
                    };
                    if let Known::Table(inner, _) = &known
                        && !matches!(value, Value::Table(_))
                    {
                        record.keep(&oracle.record, inner);
                    }
                    let keys = record.tables.entry(path.clone()).or_default();
                    keys.insert(key.clone(), known);
                }
                // What the file has no longer, and stays as the file had it.
                let older = oracle.record.tables.get(path);
                let kept = older.filter(|_| self.policy == Policy::Keep);
                for (key, known) in kept.into_iter().flatten() {
                    let runs = partner.map(|old| self.heap.get(old, key));
                    let stays = match (runs, known) {
                        (Some(runs), Known::Table(..) | Known::Scalar(_) | Known::Object(_)) => {
                            self.is_unchanged(oracle, Some(known), runs)?
                        }
                        _ => false,
                    };
                    if stays && !table.fields.contains_key(key) {
                        if let Known::Table(inner, _) = known {
                            record.keep(&oracle.record, inner);
                        }
                        let keys = record.tables.entry(path.clone()).or_default();
                        keys.insert(key.clone(), known.clone());
                    }
                }
            }
        }
        for change in self
            .ran
            .changes
            .iter()
            .filter(|change| change.table != LIST)
        {
            if let Some(path) = &self.heap.tables[change.table].path {
                let runs = self.heap.get(change.table, &change.key);
                let older = oracle
                    .record
                    .tables
                    .get(path)
                    .and_then(|keys| keys.get(&change.key));
                // That the chunk writes what is there already is not seen.
                let known = match change.old == change.new {
                    true => older.cloned(),
                    false => Some(self.known(self.own(change.new), runs, older)),
                };
                let Some(known) = known else { continue };
                let keys = record.tables.entry(path.clone()).or_default();
                keys.insert(change.key.clone(), known);
            }
        }
        for path in ["_G", "M"] {
            let mut fresh = self.heap.tables[self.ran.tables..].iter();
            let made = fresh.any(|table| table.path.as_deref() == Some(path));
            let older = oracle.record.tables.get(path).filter(|_| !made);
            for key in older.into_iter().flat_map(BTreeMap::keys) {
                let has = record
                    .tables
                    .get(path)
                    .is_some_and(|keys| keys.contains_key(key));
                if !has {
                    record.unsure.insert((path.to_owned(), key.clone()));
                }
            }
            let older = oracle
                .record
                .unsure
                .iter()
                .filter(|(other, _)| other == path && !made);
            let older: Vec<_> = older
                .filter(|(_, key)| {
                    let known = record.tables.get(path).and_then(|keys| keys.get(key));
                    known.is_none_or(|known| *known == Known::Key)
                })
                .cloned()
                .collect();
            record.unsure.extend(older);
        }
        for (name, cell) in &self.ran.locals {
            let captured =
                |function: &usize| self.heap.functions[*function].cells.contains_key(name);
            if self.reached.iter().any(captured) {
                let runs = self.heap.cells[self.pairs.cells.get(cell).copied().unwrap_or(*cell)];
                let older = oracle.record.cells.get(name);
                let file = self.own(self.heap.cells[*cell]);
                let known = match self.known(file, runs, older) {
                    // What the program has changed may become what the file said.
                    Known::Key
                        if matches!(file, Value::True | Value::Num(_) | Value::Str(_))
                            && matches!(older, Some(Known::Scalar(_))) =>
                    {
                        Known::Scalar(file)
                    }
                    known => known,
                };
                record.cells.insert(name.clone(), known);
            }
        }
        Ok(record)
    }

    /// What goes on record of a place: what the file says if that runs, else, when data is kept,
    /// what is on record if that runs.
    fn known(&self, file: Value, runs: Value, older: Option<&Known>) -> Known {
        let path = |table: usize| {
            let partner = self.pairs.tables.iter().find(|(_, old)| **old == table);
            self.heap.tables[partner.map_or(table, |(new, _)| *new)]
                .path
                .clone()
        };
        match file {
            _ if is_function(file) && file == runs && self.home(file).is_none() => {
                return Known::Function(file);
            }
            _ if is_function(file) => {}
            Value::Import(_) | Value::Table(_) if file == runs && self.is_others(file) => {
                return Known::Object(file);
            }
            _ if self.is_others(file) => {}
            Value::Table(table) if file == runs => {
                return path(table).map_or(Known::Key, |path| Known::Table(path, table));
            }
            _ if file == runs => return Known::Scalar(file),
            _ => {}
        }
        // What "keep" retains, as the last load had left it, stays on record as it was.
        let keeps = self.policy == Policy::Keep;
        let is_scalar =
            !is_function(file) && !self.is_others(file) && !matches!(file, Value::Table(_));
        let kinds = kind(file).zip(kind(runs));
        let are_two_kinds = kinds.is_some_and(|(file, runs)| file != runs);
        match older {
            Some(Known::Scalar(older)) if keeps && *older == runs => Known::Scalar(runs),
            Some(Known::Table(path, older))
                if keeps && Value::Table(*older) == runs && !matches!(file, Value::Table(_)) =>
            {
                Known::Table(path.clone(), *older)
            }
            // The program has changed it, and may change it back.
            Some(Known::Scalar(_)) if is_scalar => Known::Scalar(file),
            None if is_scalar && are_two_kinds => Known::Scalar(file),
            _ => Known::Key,
        }
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
            let entries = self.heap.tables[LIST].fields.iter();
            for (_, known) in entries.filter(|(key, _)| matches!(key, Key::Int(_))) {
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

    /// R5.1, R4.1: what the incoming version made works on the running tables and cells.
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
            self.heap.loaded[0],
            self.heap.loaded[1],
            Value::Table(GLOBALS),
            Value::Table(LIST),
            Value::Table(HELD),
        ];
        // What undoing the reload would bring back.
        roots.extend(moved.iter().map(|(old, _)| Value::Function(*old)));
        let alive: HashSet<Value> = reach(self.heap, roots.clone(), (0, 0), true)
            .into_iter()
            .collect();
        let taken_out = self.policy == Policy::Replace;
        roots.extend(self.writes.iter().map(|(_, old, _)| *old));
        for value in reach(self.heap, roots, (0, 0), true) {
            let Value::Function(function) = value else {
                continue;
            };
            if function >= self.ran.functions || map.contains_key(&function) {
                continue;
            }
            if !self.heap.is_home(function) && !self.heap.functions[function].is_patch() {
                continue;
            }
            if taken_out && !alive.contains(&value) {
                return Err(Open("a function in what was taken out"));
            }
            // An older generation follows the one that took its place.
            let mut last = function;
            while let Some(next) = oracle.successors.get(&last) {
                if self.origin(last) != self.origin(*next) {
                    return Err(Open(
                        "an older generation of a function that became another one",
                    ));
                }
                last = *next;
            }
            let Closure { kind, cells } = self.heap.functions[last].clone();
            match kind {
                Kind::Foreign => {}
                Kind::Home(code) => {
                    if let Some(new) = map.get(&last).copied() {
                        if function != last && self.origin(last) != self.origin(new) {
                            return Err(Open(
                                "an older generation of a function that became another one",
                            ));
                        }
                        moved.push((function, new));
                        map.insert(function, new);
                    } else if by_origin.contains_key(&code.origin)
                        || (self.ran.functions..self.heap.functions.len())
                            .any(|fresh| self.origin(fresh) == Some(&code.origin))
                    {
                        return Err(Open("a function that is not in its place"));
                    } else if !oracle.met.contains(&function) {
                        return Err(Open("a function that no reload has looked at"));
                    }
                }
                Kind::Nested(made, part) => {
                    // The running factory: the one that made it, or a later generation that still
                    // has its code.
                    let code = self.pairs.answers.keys().find_map(|old| {
                        match &self.heap.functions[*old].kind {
                            Kind::Home(known)
                                if Rc::ptr_eq(known, &made) || known.makes_same(&made, part) =>
                            {
                                Some(Rc::clone(known))
                            }
                            _ => None,
                        }
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
                    if made.is_exactly(&new) && captured == cells {
                        continue;
                    }
                    let closure = self
                        .heap
                        .closure(Kind::Nested(Rc::clone(&new), part), captured);
                    moved.push((function, closure));
                    map.insert(function, closure);
                }
            }
        }
        replace_everywhere(self.heap, &map);
        Ok(())
    }
}
