//! The reference program: runs what the renderer writes, over a heap of its own, and tells what
//! there is in the harness's words.
//!
//! Objects are never freed; an object made by a chunk is *fresh* when its index is not below the
//! mark that was taken before.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::rc::Rc;

use super::model::{
    self, At, Content, Data, Entry, Function, Gives, Import, Init, Local, Scalar, Style, Use,
    Version,
};
use super::render;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    Nil,
    True,
    False,
    Num(i64),
    Str(u8),
    Table(usize),
    Function(usize),
    Import(Import),
}

/// Integers come first, as in the harness.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Key {
    Int(i64),
    Name(String),
}

impl Key {
    pub fn name(text: impl Into<String>) -> Key {
        Key::Name(text.into())
    }
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub fields: BTreeMap<Key, Value>,
    pub meta: Option<usize>,
    /// Where the file makes it, the same for all rows of a list; none for one that was made at run
    /// time.
    pub origin: Option<String>,
    /// The same, and which row.
    pub path: Option<String>,
}

/// The code of a function.
#[derive(Clone, Debug)]
pub struct Code {
    /// Where the file defines it.
    pub origin: String,
    pub uses: Vec<Use>,
    pub gives: Gives,
    pub revision: u32,
    pub method: bool,
    /// Which module's.
    pub module: u8,
    /// The line on which its body begins.
    pub line: usize,
}

impl Code {
    /// Have both the same text on the same lines?
    pub fn is_exactly(&self, other: &Code) -> bool {
        self.line == other.line
            && self.origin == other.origin
            && self.revision == other.revision
            && self.uses == other.uses
            && self.gives == other.gives
            && self.method == other.method
    }

    /// What the function with this name inside it does.
    pub fn uses_of(&self, part: &str) -> Option<&[Use]> {
        match (&self.gives, part) {
            (Gives::Closure(_, uses), "inner")
            | (Gives::Object(uses, _), "get")
            | (Gives::Object(_, uses), "set") => Some(uses),
            _ => None,
        }
    }

    /// The locals that it or a function in it assigns.
    pub fn assigned(&self) -> impl Iterator<Item = Local> {
        let inner = ["inner", "get", "set"]
            .into_iter()
            .filter_map(|part| self.uses_of(part));
        model::assigned(&self.uses).chain(inner.flat_map(model::assigned))
    }

    /// Have both, which stand in one place, the same function of this name in them?
    pub fn makes_same(&self, other: &Code, part: &str) -> bool {
        self.origin == other.origin
            && self.revision == other.revision
            && self.uses_of(part) == other.uses_of(part)
    }
}

#[derive(Clone, Debug)]
pub enum Kind {
    Home(Rc<Code>),
    /// One of a factory's functions: which.
    Nested(Rc<Code>, &'static str),
    /// A patch.
    Foreign,
}

#[derive(Clone, Debug)]
pub struct Closure {
    pub kind: Kind,
    /// Its cells by the names it knows them by.
    pub cells: BTreeMap<String, usize>,
}

impl Closure {
    /// A patch?
    pub fn is_patch(&self) -> bool {
        matches!(self.kind, Kind::Foreign)
    }
}

pub const GLOBALS: usize = 0;
pub const LIST: usize = 1;
pub const HELD: usize = 2;

/// A write of a chunk into a table that existed.
#[derive(Clone, Debug)]
pub struct Change {
    pub table: usize,
    pub key: Key,
    pub old: Value,
    pub new: Value,
}

#[derive(Clone, Debug)]
pub struct Heap {
    pub tables: Vec<Table>,
    pub functions: Vec<Closure>,
    pub cells: Vec<Value>,
    /// What `package.loaded` has for each module.
    pub loaded: [Value; 2],
    /// The module whose functions are home functions.
    pub module: u8,
    pub log: Vec<String>,
    /// The numbers under which tables and cells were told.
    table_numbers: HashMap<usize, usize>,
    cell_numbers: HashMap<usize, usize>,
    /// Tables of the last walk, with that number.
    pub told_tables: Vec<(usize, usize)>,
    /// Functions by their number in the last walk, from 1.
    pub told_functions: Vec<usize>,
    /// While a chunk runs: tables from here on are its own; and what it wrote to others.
    mark: usize,
    changes: Vec<Change>,
    /// The lines of the chunk that ran last, without those of which a function was made.
    text: Vec<String>,
}

/// What a run of a chunk gave.
pub struct Ran {
    pub object: Value,
    pub changes: Vec<Change>,
    /// Tables, functions and cells from here on are fresh.
    pub tables: usize,
    pub functions: usize,
    pub cells: usize,
    pub locals: BTreeMap<String, usize>,
}

pub fn scalar(value: Scalar) -> Value {
    match value {
        Scalar::True => Value::True,
        Scalar::False => Value::False,
        Scalar::Num(n) => Value::Num(i64::from(n)),
        Scalar::Str(n) => Value::Str(n),
    }
}

impl Heap {
    pub fn new() -> Heap {
        let origin = |name: &str| Table {
            origin: Some(name.to_owned()),
            path: Some(name.to_owned()),
            ..Table::default()
        };
        Heap {
            tables: vec![origin("_G"), origin("REG"), origin("H")],
            functions: Vec::new(),
            cells: Vec::new(),
            loaded: [Value::Nil; 2],
            module: 0,
            log: Vec::new(),
            table_numbers: HashMap::new(),
            cell_numbers: HashMap::new(),
            told_tables: Vec::new(),
            told_functions: Vec::new(),
            mark: 0,
            changes: Vec::new(),
            text: Vec::new(),
        }
    }

    /// The module's object.
    pub fn object(&self) -> Value {
        self.loaded[usize::from(self.module)]
    }

    pub fn is_home(&self, function: usize) -> bool {
        match &self.functions[function].kind {
            Kind::Home(code) | Kind::Nested(code, _) => code.module == self.module,
            Kind::Foreign => false,
        }
    }

    fn import(&self, import: Import) -> Value {
        match (import, self.loaded[0]) {
            (Import::Module, object) => object,
            (Import::ModuleF(key), Value::Table(object)) => {
                self.get(object, &Key::name(format!("f{key}")))
            }
            (Import::ModuleF(_), _) => Value::Nil,
            _ => Value::Import(import),
        }
    }

    pub fn get(&self, table: usize, key: &Key) -> Value {
        self.tables[table]
            .fields
            .get(key)
            .copied()
            .unwrap_or(Value::Nil)
    }

    pub fn set(&mut self, table: usize, key: Key, value: Value) {
        if table < self.mark {
            let old = self.get(table, &key);
            match self
                .changes
                .iter_mut()
                .find(|change| change.table == table && change.key == key)
            {
                Some(change) => change.new = value,
                None => self.changes.push(Change {
                    table,
                    key: key.clone(),
                    old,
                    new: value,
                }),
            }
        }
        self.put(table, key, value);
    }

    pub fn put(&mut self, table: usize, key: Key, value: Value) {
        if value == Value::Nil {
            self.tables[table].fields.remove(&key);
        } else {
            self.tables[table].fields.insert(key, value);
        }
    }

    /// The length of a list without holes.
    pub fn length(&self, table: usize) -> i64 {
        (1..)
            .take_while(|n| self.get(table, &Key::Int(*n)) != Value::Nil)
            .last()
            .unwrap_or(0)
    }

    /// Field access as Lua does it, `__index` included.
    pub fn index(&self, mut table: usize, key: &Key) -> Value {
        for _ in 0..20 {
            let value = self.get(table, key);
            if value != Value::Nil {
                return value;
            }
            let next = self.tables[table]
                .meta
                .map(|meta| self.get(meta, &Key::name("__index")));
            match next {
                Some(Value::Table(next)) => table = next,
                _ => return Value::Nil,
            }
        }
        Value::Nil
    }

    pub fn table(&mut self, origin: Option<String>) -> usize {
        self.tables.push(Table {
            path: origin.clone(),
            origin,
            ..Table::default()
        });
        self.tables.len() - 1
    }

    pub fn cell(&mut self, value: Value) -> usize {
        self.cells.push(value);
        self.cells.len() - 1
    }

    pub fn closure(&mut self, kind: Kind, cells: BTreeMap<String, usize>) -> usize {
        self.functions.push(Closure { kind, cells });
        self.functions.len() - 1
    }

    fn word(&self, value: Value) -> String {
        match value {
            Value::Nil => "nil".to_owned(),
            Value::True => "true".to_owned(),
            Value::False => "false".to_owned(),
            Value::Num(n) => n.to_string(),
            Value::Str(n) => format!("\"s{n}\""),
            Value::Table(_) => "table".to_owned(),
            Value::Function(_) => "function".to_owned(),
            Value::Import(import) => import_word(import).to_owned(),
        }
    }

    fn report(&mut self, value: Value) {
        let word = self.word(value);
        self.log.push(word);
    }

    /// `C` of the harness.
    fn call_limited(&mut self, value: Value, n: i64) {
        if n > 0 && is_function(value) {
            self.call(value, &[Value::Num(n - 1)]);
        } else {
            self.log.push("\"-\"".to_owned());
        }
    }

    pub fn call(&mut self, value: Value, arguments: &[Value]) -> Value {
        let function = match value {
            Value::Function(function) => function,
            Value::Import(Import::DepF) => {
                self.log.push("\"dep.f\"".to_owned());
                return Value::Nil;
            }
            Value::Import(Import::DepG) => {
                self.log.push("\"dep.g\"".to_owned());
                return Value::Nil;
            }
            _ => return Value::Nil,
        };
        let Closure { kind, cells } = self.functions[function].clone();
        let argument = |n: usize| arguments.get(n).copied().unwrap_or(Value::Nil);
        match kind {
            Kind::Foreign => {
                self.log.push("\"foreign\"".to_owned());
                let old = self.cells[cells["old"]];
                self.call_limited(old, number(argument(0)));
                Value::Nil
            }
            Kind::Nested(code, part) => {
                let Some(uses) = code.uses_of(part) else {
                    return Value::Nil;
                };
                let n = number(argument(0));
                self.log
                    .push(format!("\"{}/{part}#{}\"", code.origin, code.revision));
                self.run(uses, &cells, n, argument(1));
                Value::Nil
            }
            Kind::Home(code) => {
                let shift = usize::from(code.method);
                let (n, v) = (number(argument(shift)), argument(shift + 1));
                self.log
                    .push(format!("\"{}#{}\"", code.origin, code.revision));
                self.run(&code.uses, &cells, n, v);
                if code.method {
                    let own = match argument(0) {
                        Value::Table(object) => self.get(object, &Key::name("v")),
                        _ => Value::Nil,
                    };
                    self.report(own);
                }
                self.give(&code, &cells, v)
            }
        }
    }

    fn give(&mut self, code: &Rc<Code>, cells: &BTreeMap<String, usize>, v: Value) -> Value {
        match &code.gives {
            Gives::Nothing => Value::Nil,
            Gives::Instance(class) => {
                let object = self.table(None);
                self.put(object, Key::name("v"), v);
                if let Value::Table(class) = self.cells[cells[&Local::K(*class).name()]] {
                    self.tables[object].meta = Some(class);
                }
                Value::Table(object)
            }
            Gives::Closure(_, uses) => {
                let x = self.cell(v);
                Value::Function(self.nested(code, "inner", uses, cells, x))
            }
            Gives::Object(get, set) => {
                let x = self.cell(v);
                let object = self.table(None);
                let get = self.nested(code, "get", get, cells, x);
                let set = self.nested(code, "set", set, cells, x);
                self.put(object, Key::name("get"), Value::Function(get));
                self.put(object, Key::name("set"), Value::Function(set));
                Value::Table(object)
            }
        }
    }

    fn nested(
        &mut self,
        code: &Rc<Code>,
        part: &'static str,
        uses: &[Use],
        cells: &BTreeMap<String, usize>,
        x: usize,
    ) -> usize {
        let captured = nested_names(uses)
            .into_iter()
            .map(|name| {
                let cell = if name == "x" { x } else { cells[&name] };
                (name, cell)
            })
            .collect();
        self.closure(Kind::Nested(Rc::clone(code), part), captured)
    }

    fn run(&mut self, uses: &[Use], cells: &BTreeMap<String, usize>, n: i64, v: Value) {
        let cell = |local: Local| cells[&local.name()];
        for part in uses {
            match *part {
                Use::Read(local) => self.report(self.cells[cell(local)]),
                Use::Add(local) => {
                    self.cells[cell(local)] = Value::Num(number(self.cells[cell(local)]) + 1)
                }
                Use::Set(local) => {
                    if v != Value::Nil {
                        self.cells[cell(local)] = v;
                    }
                }
                Use::Clear(local) => self.cells[cell(local)] = Value::Nil,
                Use::Call(local) => self.call_limited(self.cells[cell(local)], n),
                Use::CallM(key) => self.call_field(self.cells[cell(Local::M)], key, n),
                Use::CallK(class, key) => {
                    self.call_field(self.cells[cell(Local::K(class))], key, n)
                }
                Use::Field(local, key) => {
                    if let Value::Table(table) = self.cells[cell(local)] {
                        self.report(self.get(table, &Key::name(format!("d{key}"))));
                    }
                }
                Use::Write(local, key) => {
                    if let Value::Table(table) = self.cells[cell(local)] {
                        let key = Key::name(format!("d{key}"));
                        let value = Value::Num(number(self.get(table, &key)) + 1);
                        self.set(table, key, value);
                    }
                }
                Use::Push(local) => {
                    if let Value::Table(table) = self.cells[cell(local)] {
                        let key = Key::Int(self.length(table) + 1);
                        self.set(table, key, Value::Num(n));
                    }
                }
                Use::Pop(local) => {
                    if let Value::Table(table) = self.cells[cell(local)] {
                        let key = Key::Int(self.length(table));
                        self.set(table, key, Value::Nil);
                    }
                }
                Use::Global(key) => self.report(self.get(GLOBALS, &Key::name(format!("g_d{key}")))),
                Use::AddGlobal(key) => {
                    let key = Key::name(format!("g_d{key}"));
                    let value = Value::Num(number(self.get(GLOBALS, &key)) + 1);
                    self.set(GLOBALS, key, value);
                }
                Use::Own => self.report(self.cells[cells["x"]]),
                Use::AddOwn => {
                    let x = cells["x"];
                    self.cells[x] = Value::Num(number(self.cells[x]) + 1);
                }
            }
        }
    }

    fn call_field(&mut self, object: Value, key: u8, n: i64) {
        let value = match object {
            Value::Table(table) => self.index(table, &Key::name(format!("f{key}"))),
            _ => Value::Nil,
        };
        self.call_limited(value, n);
    }

    /// Runs the chunk of a resolved version.
    pub fn chunk(&mut self, version: &Version) -> Ran {
        let (tables, functions, cells) =
            (self.tables.len(), self.functions.len(), self.cells.len());
        self.mark = tables;
        self.module = version.module;
        self.text = render::file(version).lines().map(str::to_owned).collect();
        let tag = |place: &str| render::tag(version.module, place);
        let object = match (version.style, self.get(GLOBALS, &Key::name("Mod"))) {
            (Style::Kept | Style::KeptAndReturned, known @ Value::Table(_)) => known,
            _ => Value::Table(self.table(Some(tag("M")))),
        };
        if version.style != Style::Returned {
            self.set(GLOBALS, Key::name("Mod"), object);
        }
        let Value::Table(module) = object else {
            unreachable!()
        };
        let mut locals = BTreeMap::from([("M".to_owned(), self.cell(object))]);
        let mut forward = Vec::new();
        for (local, init) in &version.locals {
            let name = local.name();
            let cell = self.cell(Value::Nil);
            locals.insert(name.clone(), cell);
            self.cells[cell] = match init {
                Init::Literal(None) => Value::Nil,
                Init::Literal(Some(value)) => scalar(*value),
                Init::Computed(n) => Value::Num(i64::from(*n)),
                Init::Import(import) => self.import(*import),
                Init::Table(data) => Value::Table(self.data(&tag(&name), &tag(&name), data)),
                Init::Class(parent) => {
                    let class = self.table(Some(tag(&name)));
                    if let Some(parent) = parent {
                        let meta = self.table(Some(tag(&format!("{name}<meta>"))));
                        let parent = self.cells[locals[&Local::K(*parent).name()]];
                        self.put(meta, Key::name("__index"), parent);
                        self.tables[class].meta = Some(meta);
                    }
                    self.put(class, Key::name("__index"), Value::Table(class));
                    Value::Table(class)
                }
                Init::Function(code, false) => {
                    Value::Function(self.define(tag(&name), code, false, &locals))
                }
                Init::Function(code, true) => {
                    forward.push((name, code));
                    Value::Nil
                }
                Init::Choice(helper) => self.cells[locals[&Local::H(*helper).name()]],
            };
        }
        for (name, code) in forward {
            let function = self.define(tag(&name), code, false, &locals);
            self.cells[locals[&name]] = Value::Function(function);
        }
        let mut subs = BTreeMap::new();
        for slot in &version.slots {
            let place = render::place(version.module, slot.at, slot.field);
            let origin = tag(&place);
            let (table, key) = match slot.at {
                At::M => (module, Key::name(slot.field.name())),
                At::Sub(n) => {
                    let sub = match subs.get(&n) {
                        Some(sub) => *sub,
                        None => {
                            let sub = self.table(Some(tag(&format!("M.s{n}"))));
                            self.set(module, Key::name(format!("s{n}")), Value::Table(sub));
                            subs.insert(n, sub);
                            sub
                        }
                    };
                    (sub, Key::name(slot.field.name()))
                }
                At::Local(local) => {
                    let Value::Table(table) = self.cells[locals[&local.name()]] else {
                        continue;
                    };
                    (table, Key::name(slot.field.name()))
                }
                At::Globals => (GLOBALS, Key::name(place)),
                At::List => (LIST, Key::Int(self.length(LIST) + 1)),
            };
            let value = match &slot.content {
                Content::Scalar(value) => scalar(*value),
                Content::Table(data) => Value::Table(self.data(&origin, &origin, data)),
                Content::Function(code) => {
                    let method = matches!(slot.at, At::Local(Local::K(_)));
                    Value::Function(self.define(origin, code, method, &locals))
                }
                Content::Alias(target) => self.get(module, &Key::name(format!("f{target}"))),
                Content::Ref(local) => self.cells[locals[&local.name()]],
                Content::Import(import) => self.import(*import),
            };
            self.set(table, key, value);
        }
        self.mark = 0;
        Ran {
            object: match version.style {
                Style::Returned | Style::KeptAndReturned => object,
                Style::Global | Style::Kept => Value::True,
            },
            changes: std::mem::take(&mut self.changes),
            tables,
            functions,
            cells,
            locals,
        }
    }

    fn data(&mut self, origin: &str, path: &str, data: &Data) -> usize {
        let table = self.table(Some(origin.to_owned()));
        self.tables[table].path = Some(path.to_owned());
        let entry = |heap: &mut Heap, key: Key, row: &str, name: &str, entry: &Entry| {
            let value = match entry {
                Entry::Scalar(value) => scalar(*value),
                Entry::Table(data) => Value::Table(heap.data(
                    &format!("{origin}{row}"),
                    &format!("{path}{name}"),
                    data,
                )),
            };
            heap.put(table, key, value);
        };
        for (key, value) in &data.fields {
            let name = format!(".d{key}");
            entry(self, Key::name(format!("d{key}")), &name, &name, value);
        }
        for (n, value) in (1..).zip(&data.rows) {
            entry(self, Key::Int(n), "[]", &format!("[{n}]"), value);
        }
        table
    }

    /// The line of the next function with this marker in the text of the chunk that runs.
    fn next_line(&mut self, marker: &str) -> usize {
        let found = self.text.iter().position(|line| line.contains(marker));
        let line = found.expect("the text has what it defines");
        self.text[line].clear();
        line
    }

    fn define(
        &mut self,
        origin: String,
        code: &Function,
        method: bool,
        locals: &BTreeMap<String, usize>,
    ) -> usize {
        let captured = code.captured().into_iter().map(|local| {
            let name = local.name();
            let cell = locals[&name];
            (name, cell)
        });
        let cells = captured.collect();
        let marker = render::marker(&origin, code.revision);
        let code = Code {
            origin,
            uses: code.uses.clone(),
            gives: code.gives.clone(),
            revision: code.revision,
            method,
            module: self.module,
            line: self.next_line(&marker),
        };
        self.closure(Kind::Home(Rc::new(code)), cells)
    }

    /// The same as `test.walk` of the harness.
    pub fn walk(&mut self) -> String {
        let mut walk = Walk::default();
        let mut lines = Vec::new();
        self.told_tables.clear();
        let module = match self.get(GLOBALS, &Key::name("Mod")) {
            Value::Nil => self.loaded[0],
            global => global,
        };
        for (n, root) in [
            module,
            self.loaded[0],
            self.loaded[1],
            Value::Table(LIST),
            Value::Table(HELD),
        ]
        .into_iter()
        .enumerate()
        {
            lines.push(format!("root {}: {}", n + 1, self.show(root, &mut walk)));
        }
        for prefix in ["g_f", "g_d", "j_f", "j_d"] {
            for n in 0..5 {
                let name = format!("{prefix}{n}");
                let value = self.get(GLOBALS, &Key::name(name.clone()));
                if value != Value::Nil {
                    lines.push(format!("{name}: {}", self.show(value, &mut walk)));
                }
            }
        }
        let mut i = 0;
        while let Some(value) = walk.queue.get(i).copied() {
            i += 1;
            let mut parts = String::new();
            let name = self.show(value, &mut walk);
            match value {
                Value::Table(table) => {
                    let Table { fields, meta, .. } = self.tables[table].clone();
                    for (key, value) in fields {
                        let key = match key {
                            Key::Int(n) => n.to_string(),
                            Key::Name(name) => name,
                        };
                        let value = self.show(value, &mut walk);
                        let _ = write!(parts, " {key}={value}");
                    }
                    if let Some(meta) = meta {
                        let _ = write!(parts, " meta={}", self.show(Value::Table(meta), &mut walk));
                    }
                    lines.push(format!("{name} {{{}}}", parts.trim_start()));
                }
                Value::Function(function) => {
                    for (upvalue, cell) in self.functions[function].cells.clone() {
                        let next = self.cell_numbers.len() + 1;
                        let number = *self.cell_numbers.entry(cell).or_insert(next);
                        let content = self.show(self.cells[cell], &mut walk);
                        let _ = write!(parts, " {upvalue}=c{number}:{content}");
                    }
                    lines.push(format!("{name} ({})", parts.trim_start()));
                }
                _ => {}
            }
        }
        self.told_functions = walk.functions;
        for (n, function) in self.told_functions.clone().into_iter().enumerate() {
            self.log.clear();
            self.call(Value::Function(function), &[Value::Num(2)]);
            lines.push(format!("call f{}: {}", n + 1, self.log.join(" ")));
        }
        self.log.clear();
        lines.join("\n")
    }

    fn show(&mut self, value: Value, walk: &mut Walk) -> String {
        match value {
            Value::Table(table) => {
                let next = self.table_numbers.len() + 1;
                let number = *self.table_numbers.entry(table).or_insert(next);
                if walk.met.insert(value, 0).is_none() {
                    self.told_tables.push((table, number));
                    walk.queue.push(value);
                }
                format!("t{number}")
            }
            Value::Function(function) => {
                let number = match walk.met.get(&value) {
                    Some(number) => *number,
                    None => {
                        walk.functions.push(function);
                        walk.queue.push(value);
                        walk.met.insert(value, walk.functions.len());
                        walk.functions.len()
                    }
                };
                format!("f{number}")
            }
            other => self.word(other),
        }
    }
}

#[derive(Default)]
struct Walk {
    queue: Vec<Value>,
    functions: Vec<usize>,
    met: HashMap<Value, usize>,
}

fn import_word(import: Import) -> &'static str {
    match import {
        Import::Floor => "floor",
        Import::Ceil => "ceil",
        Import::Dep => "dep",
        Import::DepF => "dep.f",
        Import::DepG => "dep.g",
        Import::Module | Import::ModuleF(_) => unreachable!("it is a value of its own"),
    }
}

pub fn is_function(value: Value) -> bool {
    match value {
        Value::Function(_) => true,
        Value::Import(import) => import.is_function(),
        _ => false,
    }
}

/// `N` of the harness.
pub fn number(value: Value) -> i64 {
    match value {
        Value::Num(n) => n,
        _ => 0,
    }
}

/// The names that a nested function captures.
pub fn nested_names(uses: &[Use]) -> Vec<String> {
    let mut names: Vec<String> = uses
        .iter()
        .filter_map(|part| match part {
            Use::Own | Use::AddOwn => Some("x".to_owned()),
            other => other.local().map(Local::name),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
