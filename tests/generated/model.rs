//! What is generated: a module's first version, and rounds of a history, edits and a reload.
//!
//! All references are small numbers that are taken modulo what there is, or names that count only
//! where they are declared. So any part of a case can be left out when it shrinks, and the rest
//! still means something. [`Version::resolved`] drops what means nothing; the renderer and the
//! reference program both work on its result.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::render;

/// A local of the main chunk. The kind is in the name, so that every version agrees about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Local {
    /// The module's object.
    M,
    /// A scalar: state where some function assigns it, else a constant.
    C(u8),
    /// An import.
    I(u8),
    /// A table of data.
    T(u8),
    /// A class.
    K(u8),
    /// A local function.
    H(u8),
    /// A callback: nil or a function, chosen at run time.
    B(u8),
}

impl Local {
    pub fn name(self) -> String {
        match self {
            Local::M => "M".to_owned(),
            Local::C(n) => format!("c{n}"),
            Local::I(n) => format!("i{n}"),
            Local::T(n) => format!("t{n}"),
            Local::K(n) => format!("k{n}"),
            Local::H(n) => format!("h{n}"),
            Local::B(n) => format!("b{n}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    True,
    False,
    Num(u8),
    Str(u8),
}

/// What a file says of a table of data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Data {
    pub fields: Vec<(u8, Entry)>,
    /// The first elements of its list.
    pub rows: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    Scalar(Scalar),
    Table(Data),
}

impl Data {
    fn resolve(&mut self) {
        let mut kept: Vec<(u8, Entry)> = Vec::new();
        for field in self.fields.drain(..) {
            if !kept.iter().any(|known| known.0 == field.0) {
                kept.push(field);
            }
        }
        self.fields = kept;
        let entries = self
            .fields
            .iter_mut()
            .map(|(_, entry)| entry)
            .chain(&mut self.rows);
        for entry in entries {
            if let Entry::Table(data) = entry {
                data.resolve();
            }
        }
    }

    /// This table and those in it, one of them: the one that this many stand before.
    fn nth(&mut self, n: &mut usize) -> Option<&mut Data> {
        if *n == 0 {
            return Some(self);
        }
        *n -= 1;
        let entries = self
            .fields
            .iter_mut()
            .map(|(_, entry)| entry)
            .chain(&mut self.rows);
        for entry in entries {
            if let Entry::Table(data) = entry
                && let Some(found) = data.nth(n)
            {
                return Some(found);
            }
        }
        None
    }

    fn scalars<'a>(&'a mut self, all: &mut Vec<&'a mut Scalar>) {
        let entries = self
            .fields
            .iter_mut()
            .map(|(_, entry)| entry)
            .chain(&mut self.rows);
        for entry in entries {
            match entry {
                Entry::Scalar(value) => all.push(value),
                Entry::Table(data) => data.scalars(all),
            }
        }
    }

    fn count(&self) -> usize {
        let entries = self.fields.iter().map(|(_, entry)| entry).chain(&self.rows);
        let counts = entries.map(|entry| match entry {
            Entry::Scalar(_) => 0,
            Entry::Table(data) => data.count(),
        });
        1 + counts.sum::<usize>()
    }
}

/// A change of the rows of a table of data.
#[derive(Clone, Debug)]
pub enum RowEdit {
    Insert(u8, Entry),
    Remove(u8),
    Set(u8, Entry),
    Swap(u8, u8),
}

/// What a module may import: values of the standard libraries, and of the module `dep`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Import {
    Floor,
    Ceil,
    /// The object of the module.
    Dep,
    /// A function of the module.
    DepF,
    DepG,
    /// The object of the first module, for the second one.
    Module,
    /// A function of that.
    ModuleF(u8),
}

impl Import {
    pub const ALL: [Import; 5] = [
        Import::Floor,
        Import::Ceil,
        Import::Dep,
        Import::DepF,
        Import::DepG,
    ];

    /// What the module with this number imports instead: the first one does not know the second
    /// one.
    fn of(self, module: u8) -> Import {
        match self {
            Import::Module if module == 0 => Import::Dep,
            Import::ModuleF(_) if module == 0 => Import::DepF,
            other => other,
        }
    }

    pub fn is_function(self) -> bool {
        !matches!(self, Import::Dep | Import::Module)
    }
}

/// What a local is initialised with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Init {
    /// `local c0` or a literal.
    Literal(Option<Scalar>),
    /// A number that a call gives.
    Computed(u8),
    Import(Import),
    Table(Data),
    /// Its `__index` is itself; with a parent it has a metatable.
    Class(Option<u8>),
    /// `local function`, or declared here and given its function after all locals.
    Function(Function, bool),
    /// A local function's value.
    Choice(u8),
}

/// Something that a function does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Reports the value of a local.
    Read(Local),
    /// Adds 1 to a scalar.
    Add(Local),
    /// Assigns the argument, if there is one.
    Set(Local),
    /// Sets a scalar to nil.
    Clear(Local),
    /// Calls what a local holds.
    Call(Local),
    /// Calls a field of the module's object.
    CallM(u8),
    /// Calls a method of a class.
    CallK(u8, u8),
    /// Reports a field of a local table.
    Field(Local, u8),
    /// Adds 1 to a field of a local table.
    Write(Local, u8),
    /// Appends to a local table's list.
    Push(Local),
    /// Removes the last of it.
    Pop(Local),
    /// Reports a global.
    Global(u8),
    /// Adds 1 to a global.
    AddGlobal(u8),
    /// Inside a factory's function: reports the factory's own local.
    Own,
    /// Adds 1 to it.
    AddOwn,
}

/// What a function returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gives {
    Nothing,
    /// A new object of a class.
    Instance(u8),
    /// A closure: under a local name or nameless.
    Closure(bool, Vec<Use>),
    /// A table of two closures that share a variable.
    Object(Vec<Use>, Vec<Use>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    pub uses: Vec<Use>,
    pub gives: Gives,
    /// The round in which it was written; it reports it.
    pub revision: u32,
}

/// A table that the module writes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum At {
    M,
    /// A table in a field of the module's object.
    Sub(u8),
    /// A local table or class.
    Local(Local),
    Globals,
    /// The list `REG`, which exists before the module: what is written is appended.
    List,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Field {
    /// Meant for a function.
    F(u8),
    /// Meant for data.
    D(u8),
    /// Meant for a second name of something.
    P(u8),
}

impl Field {
    pub fn name(self) -> String {
        match self {
            Field::F(n) => format!("f{n}"),
            Field::D(n) => format!("d{n}"),
            Field::P(n) => format!("p{n}"),
        }
    }
}

/// What a slot is set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Scalar(Scalar),
    /// A new table of data.
    Table(Data),
    Function(Function),
    /// A function of the module's object that was set before.
    Alias(u8),
    /// A local table, class or the module's object.
    Ref(Local),
    Import(Import),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    pub at: At,
    pub field: Field,
    pub content: Content,
}

/// How the module hands out its object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// It returns a new table.
    Returned,
    /// It sets the global `Mod` to a new table, and returns nothing.
    Global,
    /// `Mod = Mod or {}`, and it returns nothing.
    Kept,
    /// `Mod = Mod or {}`, and it returns that.
    KeptAndReturned,
}

/// A version of the module's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The module's number: 0 or 1.
    pub module: u8,
    pub style: Style,
    pub locals: Vec<(Local, Init)>,
    pub slots: Vec<Slot>,
}

/// A change of the file.
#[derive(Clone, Debug)]
pub enum Edit {
    TouchAll,
    Touch(u8),
    PutLocal(Local, Init),
    DropLocal(u8),
    MoveLocal(u8, u8),
    PutSlot(Slot),
    DropSlot(u8),
    MoveSlot(u8, u8),
    Rename(u8, u8),
    Body(u8, Vec<Use>),
    /// A scalar is initialised with something else.
    Literal(u8, Option<Scalar>),
    /// One of all values in tables becomes another one.
    Value(u8, Scalar),
    /// A field of one of the tables of data.
    Entry(u8, u8, Option<Entry>),
    Rows(u8, RowEdit),
    /// Something else than a function gets another place.
    Relocate(u8, At, u8),
}

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    Num(u8),
    Function(u8),
    False,
}

/// Something that the program does at run time.
#[derive(Clone, Debug)]
pub enum Op {
    Call(u8, u8, Option<Argument>),
    Method(u8, u8, u8),
    /// Calls a function and holds what it returns.
    Make(u8, u8),
    Hold(u8),
    HoldTable(u8),
    SetField(u8, u8, Scalar),
    RemoveField(u8, u8),
    StoreFunction(u8, u8, u8),
    StoreTable(u8, u8, u8),
    ReplaceTable(u8, u8),
    /// Rows of a table of data.
    Append(u8, Scalar),
    AppendTable(u8, Scalar),
    RemoveRow(u8, u8),
    SetRow(u8, u8, Scalar),
    SwapRows(u8, u8, u8),
    /// A foreign function that calls the old one takes its place.
    Patch(u8, u8),
    SetGlobal(u8, Scalar),
}

/// What else is tried in a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial {
    Nothing,
    /// A dry run changes nothing.
    Dry,
    /// A version that raises at its end, does not compile or returns something else is refused and
    /// changes nothing.
    Raises,
    Syntax,
    Kind,
    /// A reload that is undone at once leaves the program as it was.
    Undone,
    /// A reload that is undone after its functions have run gives the old functions and leaves the
    /// data as it is.
    UndoneLater,
    /// The hook raises.
    Hook,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnConflict {
    Error,
    Keep,
    Replace,
}

/// Where references follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    Module,
    /// In the whole VM.
    Vm,
    /// The same, in slices.
    Sliced,
}

/// What happens to data (R8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    Keep,
    Merge,
    Replace,
    /// The same as replace, because `gg.safe_reloads` says so.
    Marked,
}

/// Which modules are reloaded, where there are two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    First,
    Second,
    /// A list of both, in this order…
    Both,
    /// …or in the other one.
    Swapped,
}

#[derive(Clone, Debug)]
pub struct Round {
    pub which: Which,
    /// Of the second module.
    pub others: Vec<Edit>,
    /// Of a list the first one fails, or the last one.
    pub first_fails: bool,
    pub history: Vec<Op>,
    pub edits: Vec<Edit>,
    pub scope: Scope,
    pub on_conflict: OnConflict,
    pub policy: Policy,
    pub trial: Trial,
    pub again: bool,
}

#[derive(Clone, Debug)]
pub struct Case {
    /// The first version is loaded with a record: not after `hotreload.track(false)`.
    pub tracked: bool,
    pub first: Version,
    pub second: Option<Version>,
    pub rounds: Vec<Round>,
}

impl Version {
    /// The version without what means nothing: names declared twice, uses of what is not declared
    /// or not visible.
    pub fn resolved(&self) -> Version {
        let mut locals: Vec<(Local, Init)> = Vec::new();
        for (local, init) in &self.locals {
            if locals.iter().any(|(known, _)| known == local) {
                continue;
            }
            let init = match init {
                Init::Class(Some(parent))
                    if !locals.iter().any(|(known, init)| {
                        *known == Local::K(*parent) && matches!(init, Init::Class(_))
                    }) =>
                {
                    Init::Class(None)
                }
                Init::Choice(choice)
                    if !locals.iter().any(|(known, init)| {
                        *known == Local::H(*choice) && matches!(init, Init::Function(_, false))
                    }) =>
                {
                    Init::Literal(None)
                }
                Init::Table(data) => {
                    let mut data = data.clone();
                    data.resolve();
                    Init::Table(data)
                }
                Init::Import(import) => Init::Import(import.of(self.module)),
                other => other.clone(),
            };
            locals.push((*local, init));
        }
        let all: Vec<Local> = locals
            .iter()
            .map(|(local, _)| *local)
            .chain([Local::M])
            .collect();
        let mut seen = vec![Local::M];
        for (local, init) in &mut locals {
            seen.push(*local);
            if let Init::Function(function, forward) = init {
                function.resolve(if *forward { &all } else { &seen });
            }
        }
        let mut slots: Vec<Slot> = Vec::new();
        for slot in &self.slots {
            if slot.at != At::List
                && slots
                    .iter()
                    .any(|known| (known.at, known.field) == (slot.at, slot.field))
            {
                continue;
            }
            if slot.at == At::List
                && slots
                    .iter()
                    .any(|known| known.at == At::List && known.content == slot.content)
            {
                continue;
            }
            let fits = match (slot.at, &slot.content) {
                (At::Local(local), _) if !all.contains(&local) => false,
                // A list takes functions that have a name, and plain data.
                (At::List, Content::Alias(_) | Content::Scalar(_)) => true,
                (At::List, _) => false,
                _ => true,
            } && match &slot.content {
                Content::Alias(target) => slots.iter().any(|known| {
                    known.at == At::M
                        && known.field == Field::F(*target)
                        && matches!(known.content, Content::Function(_))
                }),
                Content::Ref(local) => all.contains(local),
                _ => true,
            };
            if fits {
                let mut slot = slot.clone();
                match &mut slot.content {
                    Content::Function(function) => function.resolve(&all),
                    Content::Table(data) => data.resolve(),
                    Content::Import(import) => *import = import.of(self.module),
                    _ => {}
                }
                slots.push(slot);
            }
        }
        Version {
            module: self.module,
            style: self.style,
            locals,
            slots,
        }
    }

    /// Of two modules both have an object: the first one may speak through a global as well.
    pub fn with_object(mut self, module: u8) -> Version {
        self.module = module;
        self.style = match self.style {
            Style::Kept | Style::KeptAndReturned if module == 0 => Style::KeptAndReturned,
            _ => Style::Returned,
        };
        self
    }

    /// All functions of the main chunk, to be changed.
    fn functions(&mut self) -> Vec<&mut Function> {
        let locals = self.locals.iter_mut().filter_map(|(_, init)| match init {
            Init::Function(function, _) => Some(function),
            _ => None,
        });
        let slots = self
            .slots
            .iter_mut()
            .filter_map(|slot| match &mut slot.content {
                Content::Function(function) => Some(function),
                _ => None,
            });
        locals.chain(slots).collect()
    }

    /// One of the tables of data.
    fn data(&mut self, n: u8) -> Option<&mut Data> {
        let locals = self.locals.iter_mut().filter_map(|(_, init)| match init {
            Init::Table(data) => Some(data),
            _ => None,
        });
        let slots = self
            .slots
            .iter_mut()
            .filter_map(|slot| match &mut slot.content {
                Content::Table(data) => Some(data),
                _ => None,
            });
        let all: Vec<&mut Data> = locals.chain(slots).collect();
        let count: usize = all.iter().map(|data| data.count()).sum();
        let mut n = usize::from(n).checked_rem(count)?;
        all.into_iter().find_map(|data| data.nth(&mut n))
    }

    pub fn edit(&mut self, edit: &Edit, round: u32) {
        let written = |function: &Function| Function {
            revision: round,
            ..function.clone()
        };
        let (locals, slots) = (self.locals.len().max(1), self.slots.len().max(1));
        match edit {
            Edit::TouchAll => self
                .functions()
                .into_iter()
                .for_each(|f| f.revision = round),
            Edit::Touch(n) => {
                let mut functions = self.functions();
                let count = functions.len().max(1);
                if let Some(function) = functions.get_mut(usize::from(*n) % count) {
                    function.revision = round;
                }
            }
            Edit::PutLocal(local, init) => {
                let init = match init {
                    Init::Function(function, forward) => {
                        Init::Function(written(function), *forward)
                    }
                    other => other.clone(),
                };
                match self.locals.iter_mut().find(|(known, _)| known == local) {
                    Some(known) => known.1 = init,
                    None => self.locals.push((*local, init)),
                }
            }
            Edit::DropLocal(n) => {
                if !self.locals.is_empty() {
                    self.locals.remove(usize::from(*n) % locals);
                }
            }
            Edit::MoveLocal(from, to) => {
                if !self.locals.is_empty() {
                    let moved = self.locals.remove(usize::from(*from) % locals);
                    self.locals.insert(usize::from(*to) % locals, moved);
                }
            }
            Edit::PutSlot(slot) => {
                let mut slot = slot.clone();
                if let Content::Function(function) = &mut slot.content {
                    function.revision = round;
                }
                let known = |known: &&mut Slot| {
                    slot.at != At::List && (known.at, known.field) == (slot.at, slot.field)
                };
                match self.slots.iter_mut().find(known) {
                    Some(known) => *known = slot,
                    None => self.slots.push(slot),
                }
            }
            Edit::DropSlot(n) => {
                if !self.slots.is_empty() {
                    self.slots.remove(usize::from(*n) % slots);
                }
            }
            Edit::MoveSlot(from, to) => {
                if !self.slots.is_empty() {
                    let moved = self.slots.remove(usize::from(*from) % slots);
                    self.slots.insert(usize::from(*to) % slots, moved);
                }
            }
            Edit::Rename(n, key) => {
                if let Some(slot) = self.slots.get_mut(usize::from(*n) % slots)
                    && matches!(slot.content, Content::Function(_))
                {
                    slot.field = Field::F(*key);
                }
            }
            Edit::Body(n, uses) => {
                let mut functions = self.functions();
                let count = functions.len().max(1);
                if let Some(function) = functions.get_mut(usize::from(*n) % count) {
                    function.uses.clone_from(uses);
                    function.revision = round;
                }
            }
            Edit::Literal(n, value) => {
                let literals = self.locals.iter_mut().filter_map(|(_, init)| match init {
                    Init::Literal(known) => Some(known),
                    _ => None,
                });
                let mut literals: Vec<_> = literals.collect();
                let count = literals.len().max(1);
                if let Some(known) = literals.get_mut(usize::from(*n) % count) {
                    **known = *value;
                }
            }
            Edit::Value(n, value) => {
                let mut all = Vec::new();
                for (_, init) in &mut self.locals {
                    if let Init::Table(data) = init {
                        data.scalars(&mut all);
                    }
                }
                for slot in &mut self.slots {
                    match &mut slot.content {
                        Content::Scalar(value) => all.push(value),
                        Content::Table(data) => data.scalars(&mut all),
                        _ => {}
                    }
                }
                let count = all.len().max(1);
                if let Some(known) = all.get_mut(usize::from(*n) % count) {
                    **known = *value;
                }
            }
            Edit::Entry(n, key, value) => {
                if let Some(data) = self.data(*n) {
                    data.fields.retain(|(known, _)| known != key);
                    data.fields.extend(value.clone().map(|value| (*key, value)));
                }
            }
            Edit::Rows(n, edit) => {
                if let Some(data) = self.data(*n) {
                    edit.apply(&mut data.rows);
                }
            }
            Edit::Relocate(n, at, key) => {
                let others = self.slots.iter_mut().filter(|slot| slot.at != At::List);
                let mut others: Vec<_> = others
                    .filter(|slot| !matches!(slot.content, Content::Function(_)))
                    .collect();
                let count = others.len().max(1);
                if let Some(slot) = others.get_mut(usize::from(*n) % count) {
                    slot.at = *at;
                    slot.field = match slot.field {
                        Field::F(_) => Field::F(*key),
                        Field::D(_) => Field::D(*key),
                        Field::P(_) => Field::P(*key),
                    };
                }
            }
        }
    }

    /// The places that the file writes.
    pub fn written(&self) -> BTreeSet<String> {
        let places = self.slots.iter().map(|slot| {
            let place = render::place(self.module, slot.at, slot.field);
            render::tag(self.module, &place)
        });
        places.collect()
    }

    /// Locals that some function assigns.
    pub fn assigned(&self) -> Vec<Local> {
        let mut version = self.clone();
        let functions = version.functions().into_iter();
        functions.flat_map(|function| function.assigned()).collect()
    }
}

impl RowEdit {
    fn apply(&self, rows: &mut Vec<Entry>) {
        let at = |n: u8| usize::from(n).checked_rem(rows.len());
        match self {
            RowEdit::Insert(n, entry) => {
                rows.insert(usize::from(*n) % (rows.len() + 1), entry.clone())
            }
            RowEdit::Remove(n) => {
                if let Some(at) = at(*n) {
                    rows.remove(at);
                }
            }
            RowEdit::Set(n, entry) => {
                if let Some(at) = at(*n) {
                    rows[at] = entry.clone();
                }
            }
            RowEdit::Swap(n, m) => {
                if let Some((n, m)) = at(*n).zip(at(*m)) {
                    rows.swap(n, m);
                }
            }
        }
    }
}

/// Locals that are assigned.
pub fn assigned(uses: &[Use]) -> impl Iterator<Item = Local> {
    uses.iter().filter_map(|does| match does {
        Use::Add(local) | Use::Set(local) | Use::Clear(local) => Some(*local),
        _ => None,
    })
}

impl Function {
    /// Locals that it or a function in it assigns.
    pub fn assigned(&self) -> Vec<Local> {
        self.parts().into_iter().flat_map(assigned).collect()
    }

    fn resolve(&mut self, visible: &[Local]) {
        let sees = |local: Local| visible.contains(&local);
        let fits = |does: &Use, nested: bool| match *does {
            Use::Read(local)
            | Use::Add(local)
            | Use::Set(local)
            | Use::Clear(local)
            | Use::Call(local) => sees(local),
            Use::Field(local, _) | Use::Write(local, _) | Use::Push(local) | Use::Pop(local) => {
                sees(local)
            }
            Use::CallK(class, _) => sees(Local::K(class)),
            Use::Own | Use::AddOwn => nested,
            Use::CallM(_) | Use::Global(_) | Use::AddGlobal(_) => true,
        };
        self.uses.retain(|does| fits(does, false));
        match &mut self.gives {
            Gives::Instance(class) if !sees(Local::K(*class)) => self.gives = Gives::Nothing,
            Gives::Closure(_, uses) => uses.retain(|does| fits(does, true)),
            Gives::Object(get, set) => {
                get.retain(|does| fits(does, true));
                set.retain(|does| fits(does, true));
            }
            Gives::Nothing | Gives::Instance(_) => {}
        }
    }

    /// The function's own body and those nested in it.
    pub fn parts(&self) -> Vec<&[Use]> {
        match &self.gives {
            Gives::Closure(_, uses) => vec![&self.uses, uses],
            Gives::Object(get, set) => vec![&self.uses, get, set],
            Gives::Nothing | Gives::Instance(_) => vec![&self.uses],
        }
    }

    /// The locals that it captures, nested functions included.
    pub fn captured(&self) -> Vec<Local> {
        let mut locals: Vec<Local> = self
            .parts()
            .into_iter()
            .flatten()
            .filter_map(Use::local)
            .collect();
        if let Gives::Instance(class) = self.gives {
            locals.push(Local::K(class));
        }
        locals.sort_unstable();
        locals.dedup();
        locals
    }
}

impl Use {
    /// The local of the main chunk that it needs.
    pub fn local(&self) -> Option<Local> {
        match *self {
            Use::Read(local)
            | Use::Add(local)
            | Use::Set(local)
            | Use::Clear(local)
            | Use::Call(local) => Some(local),
            Use::Field(local, _) | Use::Write(local, _) | Use::Push(local) | Use::Pop(local) => {
                Some(local)
            }
            Use::CallM(_) => Some(Local::M),
            Use::CallK(class, _) => Some(Local::K(class)),
            Use::Global(_) | Use::AddGlobal(_) | Use::Own | Use::AddOwn => None,
        }
    }
}

// How many names there are of each kind: few, so that versions and functions meet in them.
const CELLS: u8 = 5;
const IMPORTS: u8 = 2;
const TABLES: u8 = 3;
const CLASSES: u8 = 2;
const HELPERS: u8 = 3;
const CALLBACKS: u8 = 2;
pub const SUBS: u8 = 2;
pub const FUNCTIONS: u8 = 5;
pub const DATA: u8 = 3;
pub const SECOND: u8 = 3;
pub const STORED: u8 = 3;
pub const GLOBALS: u8 = 2;

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        6 => (0..9_u8).prop_map(Scalar::Num),
        2 => (0..3_u8).prop_map(Scalar::Str),
        1 => Just(Scalar::True),
        1 => Just(Scalar::False),
    ]
}

fn import() -> impl Strategy<Value = Import> {
    prop_oneof![
        2 => proptest::sample::select(Import::ALL.to_vec()),
        1 => Just(Import::Module),
        2 => (0..FUNCTIONS).prop_map(Import::ModuleF),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        4 => scalar().prop_map(Entry::Scalar),
        1 => data(2).prop_map(Entry::Table),
    ]
}

/// A table with tables in it down to this depth.
fn data(depth: u8) -> BoxedStrategy<Data> {
    let entry = if depth == 0 {
        scalar().prop_map(Entry::Scalar).boxed()
    } else {
        prop_oneof![
            4 => scalar().prop_map(Entry::Scalar),
            1 => data(depth - 1).prop_map(Entry::Table),
        ]
        .boxed()
    };
    let rows = prop_oneof![2 => Just(Vec::new()), 1 => vec(entry.clone(), 1..4)];
    (vec((0..DATA, entry), 0..3), rows)
        .prop_map(|(fields, rows)| Data { fields, rows })
        .boxed()
}

fn cell() -> impl Strategy<Value = Local> {
    (0..CELLS).prop_map(Local::C)
}

fn table() -> impl Strategy<Value = Local> {
    (0..TABLES).prop_map(Local::T)
}

fn any_local() -> impl Strategy<Value = Local> {
    prop_oneof![
        4 => cell(),
        1 => (0..IMPORTS).prop_map(Local::I),
        2 => table(),
        1 => (0..CLASSES).prop_map(Local::K),
        1 => (0..HELPERS).prop_map(Local::H),
        1 => (0..CALLBACKS).prop_map(Local::B),
        1 => Just(Local::M),
    ]
}

fn one_use(nested: bool) -> impl Strategy<Value = Use> {
    let own = u32::from(nested) * 3;
    prop_oneof![
        6 => any_local().prop_map(Use::Read),
        4 => cell().prop_map(Use::Add),
        1 => cell().prop_map(Use::Set),
        1 => cell().prop_map(Use::Clear),
        1 => (0..CALLBACKS).prop_map(|n| Use::Set(Local::B(n))),
        3 => (0..HELPERS).prop_map(|n| Use::Call(Local::H(n))),
        1 => (0..IMPORTS).prop_map(|n| Use::Call(Local::I(n))),
        1 => (0..CALLBACKS).prop_map(|n| Use::Call(Local::B(n))),
        2 => (0..FUNCTIONS).prop_map(Use::CallM),
        1 => (0..CLASSES, 0..FUNCTIONS).prop_map(|(class, f)| Use::CallK(class, f)),
        1 => (table(), 0..DATA).prop_map(|(t, d)| Use::Field(t, d)),
        1 => (table(), 0..DATA).prop_map(|(t, d)| Use::Write(t, d)),
        1 => table().prop_map(Use::Push),
        1 => table().prop_map(Use::Pop),
        1 => (0..GLOBALS).prop_map(Use::Global),
        1 => (0..GLOBALS).prop_map(Use::AddGlobal),
        1 + own => Just(Use::Own),
        1 + own => Just(Use::AddOwn),
    ]
}

fn uses(nested: bool) -> impl Strategy<Value = Vec<Use>> {
    vec(one_use(nested), 0..4)
}

fn function() -> impl Strategy<Value = Function> {
    let gives = prop_oneof![
        8 => Just(Gives::Nothing),
        1 => (0..CLASSES).prop_map(Gives::Instance),
        1 => (any::<bool>(), uses(true)).prop_map(|(named, uses)| Gives::Closure(named, uses)),
        1 => (uses(true), uses(true)).prop_map(|(get, set)| Gives::Object(get, set)),
    ];
    (uses(false), gives).prop_map(|(uses, gives)| Function {
        uses,
        gives,
        revision: 0,
    })
}

fn local() -> impl Strategy<Value = (Local, Init)> {
    prop_oneof![
        6 => (cell(), option::weighted(0.8, scalar()))
            .prop_map(|(c, init)| (c, Init::Literal(init))),
        1 => (cell(), 0..9_u8).prop_map(|(c, n)| (c, Init::Computed(n))),
        2 => (0..IMPORTS, import()).prop_map(|(i, import)| (Local::I(i), Init::Import(import))),
        1 => (0..IMPORTS, function()).prop_map(|(i, f)| (Local::I(i), Init::Function(f, false))),
        3 => (table(), data(2)).prop_map(|(t, data)| (t, Init::Table(data))),
        2 => (0..CLASSES, option::of(0..CLASSES))
            .prop_map(|(k, parent)| (Local::K(k), Init::Class(parent))),
        3 => (0..HELPERS, function(), any::<bool>())
            .prop_map(|(h, f, forward)| (Local::H(h), Init::Function(f, forward))),
        2 => (0..CALLBACKS, option::of(0..HELPERS))
            .prop_map(|(b, h)| (Local::B(b), h.map_or(Init::Literal(None), Init::Choice))),
    ]
}

fn slot() -> impl Strategy<Value = Slot> {
    let home = prop_oneof![
        6 => Just(At::M),
        2 => (0..SUBS).prop_map(At::Sub),
        1 => table().prop_map(At::Local),
        2 => (0..CLASSES).prop_map(|k| At::Local(Local::K(k))),
        1 => Just(At::Globals),
    ];
    let other = prop_oneof![
        4 => Just(At::M),
        2 => (0..SUBS).prop_map(At::Sub),
        1 => table().prop_map(At::Local),
    ];
    let with_globals = prop_oneof![
        4 => Just(At::M),
        2 => (0..SUBS).prop_map(At::Sub),
        1 => table().prop_map(At::Local),
        1 => Just(At::Globals),
    ];
    let tables = prop_oneof![table(), (0..CLASSES).prop_map(Local::K), Just(Local::M)];
    prop_oneof![
        12 => (home, 0..FUNCTIONS, function())
            .prop_map(|(at, f, function)| (at, Field::F(f), Content::Function(function))),
        5 => (with_globals, 0..DATA, scalar())
            .prop_map(|(at, d, s)| (at, Field::D(d), Content::Scalar(s))),
        2 => (other.clone(), 0..DATA, data(2))
            .prop_map(|(at, d, f)| (at, Field::D(d), Content::Table(f))),
        2 => (other.clone(), 0..SECOND, 0..FUNCTIONS)
            .prop_map(|(at, p, f)| (at, Field::P(p), Content::Alias(f))),
        2 => (other.clone(), 0..SECOND, tables)
            .prop_map(|(at, p, l)| (at, Field::P(p), Content::Ref(l))),
        1 => (other.clone(), 0..SECOND, import())
            .prop_map(|(at, p, i)| (at, Field::P(p), Content::Import(i))),
        1 => (0..FUNCTIONS).prop_map(|f| (At::List, Field::P(0), Content::Alias(f))),
        // A change of kind.
        1 => (other, 0..FUNCTIONS, scalar())
            .prop_map(|(at, f, s)| (at, Field::F(f), Content::Scalar(s))),
    ]
    .prop_map(|(at, field, content)| Slot { at, field, content })
}

fn version() -> impl Strategy<Value = Version> {
    let style = prop_oneof![
        6 => Just(Style::Returned),
        1 => Just(Style::Global),
        1 => Just(Style::Kept),
        1 => Just(Style::KeptAndReturned),
    ];
    (style, vec(local(), 0..9), vec(slot(), 0..10)).prop_map(|(style, locals, slots)| Version {
        module: 0,
        style,
        locals,
        slots,
    })
}

fn place() -> impl Strategy<Value = At> {
    prop_oneof![
        4 => Just(At::M),
        2 => (0..SUBS).prop_map(At::Sub),
        1 => table().prop_map(At::Local),
    ]
}

fn row_edit() -> impl Strategy<Value = RowEdit> {
    prop_oneof![
        (any::<u8>(), entry()).prop_map(|(n, entry)| RowEdit::Insert(n, entry)),
        any::<u8>().prop_map(RowEdit::Remove),
        (any::<u8>(), entry()).prop_map(|(n, entry)| RowEdit::Set(n, entry)),
        any::<(u8, u8)>().prop_map(|(n, m)| RowEdit::Swap(n, m)),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => Just(Edit::TouchAll),
        2 => any::<u8>().prop_map(Edit::Touch),
        4 => local().prop_map(|(local, init)| Edit::PutLocal(local, init)),
        1 => any::<u8>().prop_map(Edit::DropLocal),
        1 => any::<(u8, u8)>().prop_map(|(from, to)| Edit::MoveLocal(from, to)),
        6 => slot().prop_map(Edit::PutSlot),
        3 => any::<u8>().prop_map(Edit::DropSlot),
        1 => any::<(u8, u8)>().prop_map(|(from, to)| Edit::MoveSlot(from, to)),
        1 => (any::<u8>(), 0..FUNCTIONS).prop_map(|(n, key)| Edit::Rename(n, key)),
        3 => (any::<u8>(), uses(false)).prop_map(|(n, uses)| Edit::Body(n, uses)),
        3 => (any::<u8>(), option::weighted(0.8, scalar()))
            .prop_map(|(n, value)| Edit::Literal(n, value)),
        8 => (any::<u8>(), scalar()).prop_map(|(n, value)| Edit::Value(n, value)),
        4 => (any::<u8>(), 0..DATA, option::weighted(0.7, entry()))
            .prop_map(|(n, key, value)| Edit::Entry(n, key, value)),
        1 => (any::<u8>(), row_edit()).prop_map(|(n, edit)| Edit::Rows(n, edit)),
        1 => (any::<u8>(), place(), 0..DATA).prop_map(|(n, at, key)| Edit::Relocate(n, at, key)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let argument = prop_oneof![
        3 => Just(None),
        2 => (0..9_u8).prop_map(|n| Some(Argument::Num(n))),
        2 => any::<u8>().prop_map(|f| Some(Argument::Function(f))),
        1 => Just(Some(Argument::False)),
    ];
    prop_oneof![
        6 => (any::<u8>(), 0..3_u8, argument).prop_map(|(f, n, v)| Op::Call(f, n, v)),
        2 => (any::<u8>(), 0..FUNCTIONS, 0..3_u8).prop_map(|(t, f, n)| Op::Method(t, f, n)),
        4 => (any::<u8>(), 0..9_u8).prop_map(|(f, n)| Op::Make(f, n)),
        2 => any::<u8>().prop_map(Op::Hold),
        1 => any::<u8>().prop_map(Op::HoldTable),
        3 => (any::<u8>(), 0..DATA, scalar()).prop_map(|(t, d, s)| Op::SetField(t, d, s)),
        2 => (any::<u8>(), 0..DATA).prop_map(|(t, d)| Op::RemoveField(t, d)),
        2 => (any::<u8>(), 0..STORED, any::<u8>()).prop_map(|(t, r, f)| Op::StoreFunction(t, r, f)),
        1 => (any::<u8>(), 0..STORED, any::<u8>())
            .prop_map(|(t, r, other)| Op::StoreTable(t, r, other)),
        1 => (any::<u8>(), 0..DATA).prop_map(|(t, d)| Op::ReplaceTable(t, d)),
        1 => (any::<u8>(), scalar()).prop_map(|(t, s)| Op::Append(t, s)),
        1 => (any::<u8>(), scalar()).prop_map(|(t, s)| Op::AppendTable(t, s)),
        2 => any::<(u8, u8)>().prop_map(|(t, n)| Op::RemoveRow(t, n)),
        2 => (any::<u8>(), any::<u8>(), scalar()).prop_map(|(t, n, s)| Op::SetRow(t, n, s)),
        1 => any::<(u8, u8, u8)>().prop_map(|(t, n, m)| Op::SwapRows(t, n, m)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(t, f)| Op::Patch(t, f)),
        1 => (0..GLOBALS, scalar()).prop_map(|(g, s)| Op::SetGlobal(g, s)),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    let trial = proptest::sample::select(vec![
        Trial::Nothing,
        Trial::Dry,
        Trial::Raises,
        Trial::Syntax,
        Trial::Kind,
        Trial::Undone,
        Trial::UndoneLater,
        Trial::Hook,
    ]);
    let scope = prop_oneof![
        3 => Just(Scope::Module),
        2 => Just(Scope::Vm),
        1 => Just(Scope::Sliced),
    ];
    let on_conflict = prop_oneof![
        2 => Just(OnConflict::Error),
        1 => Just(OnConflict::Keep),
        1 => Just(OnConflict::Replace),
    ];
    let which = prop_oneof![
        1 => Just(Which::First),
        1 => Just(Which::Second),
        3 => Just(Which::Both),
        1 => Just(Which::Swapped),
    ];
    let policy = prop_oneof![
        2 => Just(Policy::Keep),
        3 => Just(Policy::Merge),
        1 => Just(Policy::Replace),
        1 => Just(Policy::Marked),
    ];
    (
        vec(op(), 0..8),
        vec(edit(), 0..6),
        scope,
        (on_conflict, policy),
        trial,
        any::<bool>(),
        (which, vec(edit(), 0..6), any::<bool>()),
    )
        .prop_map(
            |(history, edits, scope, (on_conflict, policy), trial, again, of_two)| Round {
                which: of_two.0,
                others: of_two.1,
                first_fails: of_two.2,
                history,
                edits,
                scope,
                on_conflict,
                policy,
                trial,
                again,
            },
        )
}

pub fn case() -> impl Strategy<Value = Case> {
    let tracked = any::<u8>().prop_map(|n| n >= 64);
    let second = option::weighted(0.3, version());
    (tracked, version(), second, vec(round(), 1..4)).prop_map(|(tracked, first, second, rounds)| {
        Case {
            tracked,
            first: match second {
                Some(_) => first.with_object(0),
                None => first,
            },
            second: second.map(|second| second.with_object(1)),
            rounds,
        }
    })
}
