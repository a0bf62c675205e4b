//! R3: which expression of which version of the file made an object.
//!
//! A definition makes an object, and every other mention of the object is a reference. So where two
//! objects are known to come from definitions that are one, they answer to each other, whatever the
//! place says at which both stand; and where they come from two, the place is a reference that
//! leads elsewhere by now.
//!
//! ```lua
//! local Idle, Alarm = { name = "idle" }, { name = "alarm" }
//! M.first = Idle   --> M.first = Alarm: the field leads to another table; Idle stays what it is
//! ```
//!
//! The objects of a version are found where its definitions put them: a function by its prototype,
//! anything else by following the stores of the main chunk from what it returned, from the globals
//! and from the upvalues of its functions. What a loop or a factory makes again and again has one
//! definition for many objects: there the place tells one from another.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Digest;
use crate::code::definitions::{
    Constant, Definition, DefinitionId, Definitions, Destination, ExpressionKind, Parent, ProtoId,
    Store, StoreId, StringId, Symbol, VariableId,
};
use crate::lua::vm::{Info, Kept, KeyValue, Kind, Ref, Val, Vm};
use crate::stages::snapshot::Change;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Elements of a list whose rows are looked for.
const MOST_ROWS: usize = 10_000;
/// Names of functions by which the rows of a list are known.
const MOST_KEYS: usize = 16;
/// So many names are made in one go.
const FEW_NAMES: usize = 128;
/// Entries of a table that are looked at for each field that is asked for.
const ENTRIES_BESIDE: usize = 4;
/// So many prototypes are remembered by their lines, under the first bits of a product.
const RECENT: usize = 32;
const SHIFT: u32 = u32::BITS - RECENT.ilog2();
const MIX: u32 = 0x9e37_79b9;

/// A function of one side.
#[derive(Clone, Copy)]
pub(super) struct SideFunction {
    /// The function.
    pub(super) at: Ref,
    /// What `lua_getinfo` says.
    pub(super) info: Info,
    /// A digest of its code, or a part of one, if it is known already.
    pub(super) digest: Option<Digest>,
}

/// Where a version has left its objects.
pub(super) struct Roots<'a> {
    /// What the chunk returned.
    pub(super) value: Ref,
    /// The globals.
    pub(super) globals: Ref,
    /// What the version's load has written, where that is put back by now.
    pub(super) changes: &'a [Change],
    /// The module's own functions.
    pub(super) functions: &'a [SideFunction],
    /// What is known of the entries of its tables.
    pub(super) entries: KnownEntries<'a>,
    /// The record of the version's load, if there is one.
    pub(super) recorded: Option<&'a dyn OnRecord>,
}

/// Where the record of a load has an object.
#[derive(Clone, Copy)]
pub(super) enum PlaceOnRecord<'a> {
    /// What the chunk returned.
    Result,
    /// A local, by its name.
    Local(&'a [u8]),
    /// A global.
    Global(&'a [u8]),
    /// A field of the table with this number.
    Field(i64, &'a [u8]),
    /// Its metatable.
    Metatable(i64),
}

/// What a load has put where, and what has become of that.
pub(super) trait OnRecord {
    /// The number of the object that the load has put at a place.
    fn number(&self, vm: &Vm, place: PlaceOnRecord<'_>) -> Option<i64>;

    /// The running tables that have one of the numbers, in no order.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    fn running(
        &self,
        vm: &Vm,
        wanted: &FxHashMap<i64, DefinitionId>,
    ) -> Result<Vec<(DefinitionId, Ref)>>;
}

/// What stands at a place of a version.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    /// What the chunk returned.
    Module,
    /// A field of a table (of the globals, too).
    Field(Ref, Ref),
    /// The metatable of an object.
    Metatable(Ref),
    /// The upvalue of a function.
    Upvalue(Ref, u8),
}

/// The objects of one version, by their definitions.
#[derive(Default)]
pub(super) struct Origins {
    /// By address.
    of: FxHashMap<usize, DefinitionId>,
    /// The one object of a definition, by its number; `NIL` where it has none, or several.
    objects: Vec<Ref>,
    /// Where that stands, by the same number; none for a function.
    holders: Vec<Option<Holder>>,
    /// The numbers by which the record knows what definitions have made.
    numbers: FxHashMap<DefinitionId, i64>,
    /// The lists whose rows go by their places, as there are too many elements or names: where they
    /// stand, and what there is too much of.
    pub(super) cut: Vec<(DefinitionId, CutList)>,
}

/// What a list has too many of for its rows to be known.
#[derive(Clone, Copy)]
pub(super) enum CutList {
    Elements,
    Names,
}

impl CutList {
    /// What is told of it, and the number.
    pub(super) fn limit(self) -> (&'static str, usize) {
        match self {
            CutList::Elements => (
                "more than {} elements, so its rows go by their places; give them names, as \
                 fields or locals (R3.7)",
                MOST_ROWS,
            ),
            CutList::Names => (
                "more than {} names of functions in its rows, so these go by their places; give \
                 them names, as fields or locals (R3.7)",
                MOST_KEYS,
            ),
        }
    }
}

impl Origins {
    /// The definition of an object.
    pub(super) fn definition(&self, address: usize) -> Option<DefinitionId> {
        self.of.get(&address).copied()
    }

    /// The object that a definition has made, if it has made one only.
    pub(super) fn object(&self, definition: DefinitionId) -> Option<Ref> {
        let object = self.objects.get(definition.0 as usize).copied();
        object.filter(|object| *object != Ref::NIL)
    }

    /// Where the object of a definition stands, if it is no function.
    pub(super) fn holder(&self, definition: DefinitionId) -> Option<Holder> {
        self.holders.get(definition.0 as usize).copied().flatten()
    }

    /// Takes in a function of an earlier load, which is not the one that its definition has made.
    pub(super) fn is_older(&mut self, definition: DefinitionId, function: usize) -> Result<()> {
        self.of.try_insert_value(function, definition).map(|_| ())
    }

    /// The number of what a definition has made, if that was in none of the places any more where
    /// it was looked for first.
    pub(super) fn number(&self, definition: DefinitionId) -> Option<i64> {
        self.numbers.get(&definition).copied()
    }

    fn note_number(&mut self, definition: DefinitionId, number: i64) -> Result<()> {
        self.numbers.try_insert_value(definition, number)?;
        Ok(())
    }

    fn stands_at(&mut self, definition: DefinitionId, holder: Holder) {
        if let Some(place) = self.holders.get_mut(definition.0 as usize) {
            *place = Some(holder);
        }
    }

    /// How many definitions there are.
    pub(super) fn len(&self) -> u32 {
        self.objects.len() as u32
    }
}

impl Holder {
    /// Is it a field of this table?
    pub(super) fn is_field_of(self, table: Ref) -> bool {
        matches!(self, Holder::Field(holder, _) if holder == table)
    }
}

/// What is known of an object that stands at a place.
pub(super) enum Put {
    /// The version's load has put it there.
    Here,
    /// It stands there by chance, or by the program's choice. The numbers are those of the object
    /// that the load has put there, and of the one that stands there.
    Chosen {
        recorded: Option<i64>,
        number: Option<i64>,
    },
}

impl Put {
    /// It stands there, and no more is known.
    pub(super) const OTHER: Put = Put::Chosen {
        recorded: None,
        number: None,
    };
}

/// How the functions of a side are known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The text is the one that they were compiled from: by their prototypes.
    Prototype,
    /// Nobody knows that text: by the places where another version of it would put them.
    Place,
}

/// A table's entries, by its address: the keys, and whether the values are what stands there now.
pub(super) type KnownEntries<'a> = &'a dyn Fn(Val) -> Option<(Kept<KeyValue>, bool)>;

/// A name, and a field with it.
#[derive(Clone, Copy)]
struct NamedField {
    key: Ref,
    held: Option<(DefinitionId, Ref)>,
}

/// Follows the stores of a version.
struct OriginFinder<'a, W> {
    vm: &'a mut Vm,
    definitions: &'a Definitions,
    by: By,
    out: Origins,
    /// The module's own functions by address, where only places tell which is which.
    own: FxHashSet<usize>,
    /// The names of fields, with what the object of a definition holds there, if that is known.
    names: FxHashMap<StringId, NamedField>,
    /// There are so many names that they are read off the tables.
    has_many: bool,
    /// Definitions with more than one object.
    several: FxHashSet<DefinitionId>,
    /// Which variables of the main function were met as upvalues, or never are any, and the number
    /// of the first one.
    variables: (Vec<bool>, u32),
    /// How many of them are left.
    left: usize,
    /// Objects whose stores are to be followed.
    work: Vec<(DefinitionId, Ref)>,
    /// Definitions whose objects the program has taken out of a place, by their numbers.
    moved: FxHashMap<i64, DefinitionId>,
    /// Objects that the program has put into places, by their numbers.
    chosen: FxHashMap<i64, Ref>,
    /// What the record tells is found.
    is_complete: bool,
    was_put: W,
}

/// Finds the objects of a version. `was_put` tells whether it was the version's load that put the
/// object where it stands; the flag says that the place is the definition's own.
///
/// What the program has moved is found again where it has moved it to, if that is another place
/// that the version knows.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub(super) fn find(
    vm: &mut Vm,
    definitions: &Definitions,
    by: By,
    roots: &Roots<'_>,
    was_put: impl FnMut(&mut Vm, Holder, Ref, bool) -> Result<Put>,
) -> Result<Origins> {
    let mut finder = OriginFinder {
        vm,
        definitions,
        by,
        out: Origins::default(),
        own: FxHashSet::default(),
        names: FxHashMap::default(),
        has_many: false,
        several: FxHashSet::default(),
        variables: (Vec::new(), 0),
        left: 0,
        work: Vec::new(),
        moved: FxHashMap::default(),
        chosen: FxHashMap::default(),
        is_complete: false,
        was_put,
    };
    let count = definitions.len() as usize;
    finder.out.objects.try_reserve_exact(count)?;
    finder.out.objects.resize(count, Ref::NIL);
    finder.out.holders.try_reserve_exact(count)?;
    finder.out.holders.resize(count, None);
    let variables = definitions.variables_of(0);
    finder.variables.1 = variables.start;
    finder.variables.0.try_reserve_exact(variables.len())?;
    for id in variables {
        let variable = definitions.variable(VariableId(id));
        let is_captured = variable.is_some_and(|variable| variable.is_captured);
        finder.variables.0.push(!is_captured);
        finder.left += usize::from(is_captured);
    }
    finder
        .out
        .of
        .try_reserve(count.max(roots.functions.len()))?;
    match by {
        By::Prototype => finder.functions(roots.functions)?,
        By::Place => {
            for function in roots.functions {
                let address = finder.vm.val(function.at).addr;
                finder.own.try_insert_value(address, ())?;
            }
        }
    }
    finder.make_names()?;
    finder.roots(roots)?;
    loop {
        while let Some((definition, object)) = finder.work.pop() {
            finder.follow(definition, object, roots.entries)?;
        }
        if !finder.find_moved()? && !finder.find_recorded(roots)? {
            return Ok(finder.out);
        }
    }
}

impl<'a, W: FnMut(&mut Vm, Holder, Ref, bool) -> Result<Put>> OriginFinder<'a, W> {
    /// Functions go by their prototypes.
    fn functions(&mut self, functions: &[SideFunction]) -> Result<()> {
        let mut protos = Vec::new();
        let mut met: Vec<bool> = Vec::new();
        met.try_reserve_exact(self.definitions.protos() as usize)?;
        met.resize(self.definitions.protos() as usize, false);
        // A factory makes closures of one prototype one after the other.
        let mut recent = [None; RECENT];
        for function in functions {
            let SideFunction { at, info, digest } = *function;
            let lines = (info.line, info.last);
            let slot =
                recent.get_mut(info.line.cast_unsigned().wrapping_mul(MIX) as usize >> SHIFT);
            let known = slot.as_deref().copied().flatten();
            let number = match known.filter(|(known, _)| *known == lines) {
                Some((_, number)) => Some(number),
                None => {
                    let (mut read, mut failed) = (false, None);
                    let digest = || {
                        read = true;
                        match self.vm.profile(at) {
                            Ok(profile) => profile.map(|profile| profile.digest),
                            Err(error) => {
                                failed = Some(error);
                                None
                            }
                        }
                    };
                    let number = self.definitions.proto_of(lines, digest);
                    if let Some(error) = failed {
                        return Err(error);
                    }
                    if let (Some(slot), Some(number), false) = (slot, number, read) {
                        *slot = Some((lines, number));
                    }
                    number
                }
            };
            let proto = number.and_then(|number| self.definitions.proto(number));
            let Some(proto) = proto.copied() else {
                continue;
            };
            // A function of an older load may stand on the lines of another one by now.
            if proto.upvalues != info.upvalues
                || digest.is_some_and(|digest| proto.digest.is_equal(digest) == Some(false))
            {
                continue;
            }
            if let Some(definition) = proto.definition {
                self.note(definition, at)?;
            }
            let number = number.unwrap_or_default();
            if let Some(met) = met.get_mut(number as usize).filter(|met| !**met) {
                *met = true;
                protos.try_push((at, number))?;
            }
        }
        // All functions are known before what their upvalues hold is. Those of one prototype have
        // the same variables of the main function.
        for (function, proto) in protos {
            self.upvalues(function, proto)?;
        }
        Ok(())
    }

    /// What the variables of the main function hold that a function has as its upvalues.
    fn upvalues(&mut self, function: Ref, proto: ProtoId) -> Result<()> {
        let definitions = self.definitions;
        if self.left == 0 {
            return Ok(());
        }
        for (variable, number) in definitions.upvalues_of(proto).zip(1..) {
            let Some(variable) = variable else {
                continue;
            };
            let (variables, first) = &mut self.variables;
            let place = variable.0.wrapping_sub(*first) as usize;
            let Some(is_met) = variables.get_mut(place).filter(|is_met| !**is_met) else {
                continue; // it was met, or is another function's
            };
            let index = match self.by {
                By::Prototype => Some(number),
                By::Place => definitions.variable(variable).and_then(|known| {
                    upvalue_called(self.vm, function, definitions.text(known.name))
                }),
            };
            let Some(index) = index else { continue };
            *is_met = true;
            self.left -= 1;
            let stores = definitions.stores_to(variable);
            let mut stores = stores.filter(|(_, store)| may_lead(store.value)).peekable();
            if stores.peek().is_none() {
                continue;
            }
            let value = self.vm.upvalue_value(function, index)?;
            for (id, store) in stores {
                self.bind(id, store, Holder::Upvalue(function, index), value)?;
            }
        }
        Ok(())
    }

    /// What the version puts into an object, and may be an object itself.
    fn stores_into(
        &self,
        definition: DefinitionId,
    ) -> impl Iterator<Item = (StoreId, &'a Store)> + use<'a, W> {
        let (definitions, by) = (self.definitions, self.by);
        let stores = definitions.stores_into(definition);
        stores.filter(move |(_, store)| !leads_nowhere(definitions, by, store.value))
    }

    /// The names of the fields that the main function stores objects in.
    fn field_names(&self) -> impl Iterator<Item = StringId> + use<'_, W> {
        let (definitions, by) = (self.definitions, self.by);
        let stores = definitions.main_stores();
        let stores = stores.filter(move |store| !leads_nowhere(definitions, by, store.value));
        stores.filter_map(field_of)
    }

    /// Makes all names in one go, unless there are many.
    fn make_names(&mut self) -> Result<()> {
        let mut names = collected(self.field_names().take(FEW_NAMES + 1).map(Ok))?;
        self.has_many = names.len() > FEW_NAMES;
        if self.has_many {
            return Ok(());
        }
        names.sort_unstable();
        names.dedup();
        self.add_names(names)
    }

    fn add_names(&mut self, names: Vec<StringId>) -> Result<()> {
        let definitions = self.definitions;
        let made = self
            .vm
            .strings(names.iter().map(|name| definitions.text(*name)))?;
        self.names.try_reserve(names.len())?;
        let held = None;
        let fields = made.iter().map(|key| NamedField { key, held });
        self.names.extend(names.into_iter().zip(fields));
        Ok(())
    }

    /// Makes the names of the fields that the version puts objects into: out of the table's own
    /// keys, where these are known and few, and what is missing all in one go.
    fn read_fields(
        &mut self,
        definition: DefinitionId,
        object: Ref,
        entries: KnownEntries<'_>,
    ) -> Result<()> {
        let definitions = self.definitions;
        let stores = self.stores_into(definition).map(|(_, store)| store);
        let mut names = collected(stores.filter_map(field_of).map(Ok))?;
        let known = entries(self.vm.val(object));
        if let Some((entries, is_now)) = known
            && entries.len() as usize <= ENTRIES_BESIDE * names.len()
        {
            self.names.try_reserve(names.len())?;
            for KeyValue { key, value } in entries.iter() {
                let text = self.vm.with_bytes(key, |text| definitions.find(text));
                if let Some(text) = text.flatten() {
                    let held = is_now.then_some((definition, value));
                    self.names
                        .try_insert_value(text, NamedField { key, held })?;
                }
            }
            return Ok(()); // it has hardly any other
        }
        names.retain(|name| !self.names.contains_key(name));
        if names.is_empty() {
            return Ok(());
        }
        names.dedup(); // they come by name
        self.add_names(names)
    }

    fn roots(&mut self, roots: &Roots<'_>) -> Result<()> {
        let definitions = self.definitions;
        for (id, store) in definitions.results(0) {
            self.bind(id, store, Holder::Module, roots.value)?;
        }
        let mut written: FxHashMap<u64, Ref> = FxHashMap::default();
        let globals = self.vm.val(roots.globals);
        let changes = roots.changes.iter();
        for change in changes.filter(|change| self.vm.val(change.table) == globals) {
            if let Some(key) = change.key.and_then(|key| self.vm.digest(key)) {
                written.try_insert_value(key, change.new)?;
            }
        }
        for (id, store) in definitions.global_stores()? {
            if let Destination::Global(name) = store.place
                && !leads_nowhere(definitions, self.by, store.value)
            {
                let key = self.vm.string(definitions.text(name))?;
                let written = self.vm.digest(key).and_then(|key| written.get(&key));
                let value = match written {
                    Some(value) => *value,
                    None => self.vm.get(roots.globals, key)?,
                };
                self.bind(id, store, Holder::Field(roots.globals, key), value)?;
            }
        }
        Ok(())
    }

    /// What the version has put into an object of its own.
    fn follow(
        &mut self,
        definition: DefinitionId,
        object: Ref,
        entries: KnownEntries<'_>,
    ) -> Result<()> {
        let definitions = self.definitions;
        if self.by == By::Place
            && let Some(ExpressionKind::Function(proto)) =
                definitions.get(definition).map(|made| made.kind)
        {
            self.upvalues(object, proto)?;
        }
        let stores = self.stores_into(definition);
        let is_table = self.vm.kind(object) == Kind::Table;
        if is_table && self.has_many {
            self.read_fields(definition, object, entries)?;
        }
        for (id, store) in stores {
            match store.place {
                Destination::Field {
                    key: Symbol::Constant(name),
                    ..
                } if is_table && !name.may_be_index() => {
                    let known = match name {
                        Constant::String(text) => self.names.get(&text).copied(),
                        _ => None,
                    };
                    let key = match known {
                        Some(known) => known.key,
                        None => self.key(name)?,
                    };
                    let held = known.and_then(|known| known.held);
                    let value = match held.filter(|(of, _)| *of == definition) {
                        Some((_, value)) => value,
                        None => self.vm.get(object, key)?,
                    };
                    self.bind(id, store, Holder::Field(object, key), value)?;
                }
                Destination::Metatable { .. } => {
                    let value = self.vm.metatable(object)?;
                    self.bind(id, store, Holder::Metatable(object), value)?;
                }
                _ => {}
            }
        }
        if self.by == By::Prototype && self.vm.kind(object) == Kind::Table {
            self.rows(definition, object)?;
        }
        Ok(())
    }

    /// The rows of a list are known by the functions that the text puts into them: an index is no
    /// name.
    /// ```lua
    /// M.states = { { name = "idle", act = function() … end }, { name = "run", act = … } }
    /// M.current = M.states[1] --> M.states[2]: the field leads to another row
    /// ```
    fn rows(&mut self, list: DefinitionId, object: Ref) -> Result<()> {
        let definitions = self.definitions;
        let mut rows: FxHashMap<DefinitionId, DefinitionId> = FxHashMap::default();
        let (mut keys, mut is_cut) = (Vec::new(), false);
        for (_, store) in definitions.stores_into(list) {
            let row = match (store.place, store.value) {
                (Destination::Metatable { .. }, _) => continue,
                (_, Symbol::Definition(row)) => row,
                _ => continue,
            };
            let made = definitions.get(row);
            if made.is_none_or(|made| {
                !definitions.is_element(made) || made.kind != ExpressionKind::Table
            }) {
                continue;
            }
            let (mut is_known, mut has_more) = (false, false);
            for (_, store) in definitions.stores_into(row) {
                if let Destination::Field {
                    key: Symbol::Constant(Constant::String(key)),
                    ..
                } = store.place
                    && let Symbol::Definition(function) = store.value
                    && let Some(made) = definitions.get(function)
                    && matches!(made.kind, ExpressionKind::Function(_))
                    && made.parent == Parent::Definition(row)
                {
                    rows.try_insert_value(function, row)?;
                    match keys.contains(&key) {
                        true => is_known = true,
                        false if keys.len() < MOST_KEYS => {
                            keys.try_push(key)?;
                            is_known = true;
                        }
                        false => has_more = true,
                    }
                }
            }
            is_cut |= has_more && !is_known;
        }
        if rows.is_empty() {
            return Ok(());
        }
        if is_cut {
            self.out.cut.try_push((list, CutList::Names))?;
        }
        let mut names = Vec::new();
        for key in keys {
            names.try_push(self.vm.string(definitions.text(key))?)?;
        }
        let Some(entries) = self.vm.keep_at_most(object, MOST_ROWS)? else {
            return self.out.cut.try_push((list, CutList::Elements));
        };
        for KeyValue { key, value } in entries.iter() {
            if let Some(row) = self.row(&rows, &names, value)? {
                self.bind_row(row, Holder::Field(object, key), value)?;
            }
        }
        Ok(())
    }

    /// The row that a table is, if all of its functions that the text puts into rows say the same.
    fn row(
        &mut self,
        rows: &FxHashMap<DefinitionId, DefinitionId>,
        names: &[Ref],
        table: Ref,
    ) -> Result<Option<DefinitionId>> {
        let mut found = None;
        if self.vm.kind(table) != Kind::Table {
            return Ok(found);
        }
        for name in names {
            let held = self.vm.look_up(table, *name)?.1;
            let function = self
                .out
                .definition(held.addr)
                .filter(|_| held.is_function());
            let Some(row) = function.and_then(|function| rows.get(&function)).copied() else {
                continue;
            };
            if found.is_some_and(|found| found != row) {
                return Ok(None);
            }
            found = Some(row);
        }
        Ok(found)
    }

    /// Notes a row, wherever it stands in its list, unless the program has made it.
    fn bind_row(&mut self, row: DefinitionId, holder: Holder, object: Ref) -> Result<()> {
        match (self.was_put)(self.vm, holder, object, false)? {
            Put::Chosen { number: None, .. } => return Ok(()),
            Put::Here | Put::Chosen { .. } => {}
        }
        self.note(row, object)?;
        if self.out.object(row) == Some(object) {
            self.out.stands_at(row, holder);
        }
        Ok(())
    }

    /// A constant of the code as a value.
    fn key(&mut self, constant: Constant) -> Result<Ref> {
        match constant {
            Constant::String(text) => match self.names.get(&text) {
                Some(known) => Ok(known.key),
                None => self.vm.string(self.definitions.text(text)),
            },
            Constant::Boolean(value) => self.vm.boolean(value),
            Constant::Integer(value) => self.vm.number(value),
            Constant::Float(bits) => self.vm.keep_float(f64::from_bits(bits)),
            Constant::Nil => Ok(Ref::NIL),
        }
    }

    /// The object that stands where a store puts what its symbol means.
    fn bind(&mut self, id: StoreId, store: &Store, holder: Holder, object: Ref) -> Result<()> {
        let val = self.vm.val(object);
        if !matches!(val.kind, Kind::Table | Kind::Function | Kind::Userdata) {
            return Ok(());
        }
        let mut fitting = None;
        let (one, several);
        let meant = match store.value {
            Symbol::Definition(definition) => {
                one = [definition];
                &one[..]
            }
            value => {
                several = self.definitions.resolve(value)?.definitions;
                &several[..]
            }
        };
        for definition in meant.iter().copied() {
            let made = self.definitions.get(definition).map(|made| made.kind);
            let fits = match made {
                Some(ExpressionKind::Table) => val.is_table(),
                Some(ExpressionKind::Function(_)) if self.by == By::Place => {
                    self.own.contains(&val.addr)
                }
                Some(ExpressionKind::Function(_)) => {
                    self.out.definition(val.addr) == Some(definition)
                }
                Some(ExpressionKind::Call(_)) => true,
                None => false,
            };
            if fits && fitting.replace(definition).is_some() {
                return Ok(()); // several could have made it
            }
        }
        let Some(definition) = fitting else {
            return Ok(());
        };
        let is_own_place = self.definitions.is_place(definition, id);
        match (self.was_put)(self.vm, holder, object, is_own_place)? {
            Put::Here => {
                self.note(definition, object)?;
                if self.out.object(definition) == Some(object) {
                    self.out.stands_at(definition, holder);
                }
            }
            Put::Chosen { recorded, number } => {
                if let Some(recorded) = recorded {
                    self.moved.try_insert_value(recorded, definition)?;
                }
                if let Some(number) = number {
                    self.chosen.try_insert_value(number, object)?;
                }
            }
        }
        Ok(())
    }

    /// Notes what the program has moved from one place to another. True when there was something.
    fn find_moved(&mut self) -> Result<bool> {
        let mut found = false;
        for (number, definition) in std::mem::take(&mut self.moved) {
            match self.chosen.get(&number).copied() {
                Some(object) => {
                    self.note(definition, object)?;
                    found = true;
                }
                None => self.out.note_number(definition, number)?,
            }
        }
        Ok(found)
    }

    /// Notes what stands at no place that its definition has any more, as far as the record tells
    /// what the definition had made. True when there was something.
    /// ```lua
    /// local Lobby, Battle = { … }, { … }
    /// function Lobby.update() M.state = Battle end --> then nothing leads to Lobby any more, and
    /// M.state = Lobby                             --> `Battle` is a local of no other function
    /// ```
    fn find_recorded(&mut self, roots: &Roots<'_>) -> Result<bool> {
        let Some(recorded) = roots.recorded.filter(|_| !self.is_complete) else {
            return Ok(false);
        };
        self.is_complete = true;
        let is_wanted = |id, made: &Definition| {
            !matches!(made.kind, ExpressionKind::Function(_))
                && made.is_single()
                && self.out.object(id).is_none()
                && !self.several.contains(&id)
                && self.definitions.bears_function(id) // plain data go by their places
        };
        if !self
            .definitions
            .iter()
            .any(|(id, made)| is_wanted(id, made))
        {
            return Ok(false);
        }
        // Of several locals of one name the record has those that functions use.
        let mut locals: FxHashMap<StringId, u32> = FxHashMap::default();
        for (_, variable) in self.definitions.variables() {
            let count = locals.get(&variable.name).map_or(1, |count| count + 1);
            locals.try_insert_value(variable.name, count)?;
        }
        let mut wanted: FxHashMap<i64, DefinitionId> = FxHashMap::default();
        // A table stands before what is put into it.
        let mut numbers: Vec<Option<i64>> = Vec::new();
        numbers.try_reserve_exact(self.definitions.len() as usize)?;
        for (id, made) in self.definitions.iter() {
            let is_function = matches!(made.kind, ExpressionKind::Function(_));
            let number = match is_function || !made.is_single() {
                true => None,
                false => self.number_on_record(recorded, made, &numbers, &locals),
            };
            numbers.push(number);
            if let Some(number) = number
                && is_wanted(id, made)
            {
                wanted.try_insert_value(number, id)?;
            }
        }
        let mut found = false;
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut running = recorded.running(self.vm, &wanted)?;
        for (number, object) in &self.chosen {
            if let Some(definition) = wanted.get(number) {
                running.try_push((*definition, *object))?;
            }
        }
        for (number, definition) in wanted {
            self.out.note_number(definition, number)?;
        }
        for (definition, object) in running {
            if self.out.definition(self.vm.val(object).addr).is_none() {
                self.note(definition, object)?;
                found = true;
            }
        }
        Ok(found)
    }

    /// The number of what a definition has made, by its own place; `numbers` has those of the
    /// definitions before it, `locals` how many variables have each name.
    fn number_on_record(
        &self,
        recorded: &dyn OnRecord,
        made: &Definition,
        numbers: &[Option<i64>],
        locals: &FxHashMap<StringId, u32>,
    ) -> Option<i64> {
        let definitions = self.definitions;
        let of_parent = || match made.parent {
            Parent::Definition(parent) => *numbers.get(parent.0 as usize)?,
            Parent::Proto(_) => None,
        };
        let place = match definitions.store(made.place?)?.place {
            Destination::Variable(id) => {
                let name = definitions.variable(id)?.name;
                if locals.get(&name) != Some(&1) {
                    return None;
                }
                PlaceOnRecord::Local(definitions.text(name))
            }
            Destination::Global(name) => PlaceOnRecord::Global(definitions.text(name)),
            Destination::Field {
                key: Symbol::Constant(Constant::String(name)),
                ..
            } => PlaceOnRecord::Field(of_parent()?, definitions.text(name)),
            Destination::Metatable { .. } => PlaceOnRecord::Metatable(of_parent()?),
            Destination::Result {
                proto: 0,
                number: 1,
            } => PlaceOnRecord::Result,
            _ => return None,
        };
        recorded.number(self.vm, place)
    }

    fn is_single(&self, definition: DefinitionId) -> bool {
        let made = self.definitions.get(definition);
        made.is_some_and(Definition::is_single)
    }

    fn have_one_name(&self, one: DefinitionId, other: DefinitionId) -> bool {
        let name = |definition| {
            let made = self.definitions.get(definition)?;
            (!made.key.is_sequence()).then_some((made.parent, made.key))
        };
        name(one).is_some_and(|one| Some(one) == name(other))
    }

    /// How much an object is like what a definition makes: how many fields it has that the text
    /// stores there; of equals that which stands deeper, as `M.default` is rather a reference to
    /// `M.items.sword` than the other way round.
    fn likeness(&mut self, definition: DefinitionId, object: Ref) -> Result<(u32, u32)> {
        let (mut fields, mut depth, mut at) = (0, 0, Some(definition));
        if self.vm.kind(object) == Kind::Table {
            for (_, store) in self.definitions.stores_into(definition) {
                if let Destination::Field {
                    key: Symbol::Constant(name),
                    ..
                } = store.place
                {
                    let key = self.key(name)?;
                    fields += u32::from(!self.vm.look_up(object, key)?.1.is_nil());
                }
            }
        }
        while let Some(made) = at.and_then(|at| self.definitions.get(at)) {
            depth += 1;
            at = match made.parent {
                Parent::Definition(parent) => Some(parent),
                Parent::Proto(_) => None,
            };
        }
        Ok((fields, depth))
    }

    fn note(&mut self, definition: DefinitionId, object: Ref) -> Result<()> {
        let Val { addr, .. } = self.vm.val(object);
        let is_single = self.is_single(definition);
        // What a factory makes is told apart by the call that made it.
        let known = self.out.definition(addr);
        if let Some(known) = known
            && (!is_single || self.is_single(known))
        {
            // Whoever made it has put it into the places of two definitions of the other text. Two
            // of one name are one place (`M.d = {} M.d = { x = 1 }`): the first one has it, as in
            // the file.
            if !is_single
                || self.by == By::Prototype
                || self.have_one_name(known, definition)
                || self.likeness(known, object)? >= self.likeness(definition, object)?
            {
                return Ok(());
            }
            if let Some(object) = self.out.objects.get_mut(known.0 as usize) {
                *object = Ref::NIL;
            }
            if let Some(holder) = self.out.holders.get_mut(known.0 as usize) {
                *holder = None;
            }
        }
        self.out.of.try_insert_value(addr, definition)?;
        if !is_single || self.several.contains(&definition) {
            return Ok(());
        }
        if let Some(known) = self.out.objects.get_mut(definition.0 as usize) {
            if *known == Ref::NIL {
                *known = object;
                return self.work.try_push((definition, object));
            }
            *known = Ref::NIL;
            self.several.try_insert_value(definition, ())?;
        }
        Ok(())
    }
}

/// Does a stored value lead to no object, or to a function that is known by its prototype already?
fn leads_nowhere(definitions: &Definitions, by: By, value: Symbol) -> bool {
    match value {
        Symbol::Definition(definition) => {
            let made = definitions.get(definition).map(|made| made.kind);
            by == By::Prototype && matches!(made, Some(ExpressionKind::Function(_)))
        }
        value => !may_lead(value),
    }
}

/// Can a value lead to an object that the text makes? (`resolve` finds none for any other.)
fn may_lead(value: Symbol) -> bool {
    matches!(
        value,
        Symbol::Definition(_)
            | Symbol::OneOf(_)
            | Symbol::Variable(_)
            | Symbol::Global(_)
            | Symbol::Field(_)
    )
}

/// The number of a function's upvalue with this name.
fn upvalue_called(vm: &Vm, function: Ref, name: &[u8]) -> Option<u8> {
    let is_it = |index: &u8| vm.with_upvalue_name(function, *index, |found| found == name);
    let exists = |index: &u8| vm.upvalue(function, *index).is_some();
    (1..=u8::MAX).take_while(exists).find(is_it)
}

/// The name of the field that a store fills, if it fills one.
fn field_of(store: &Store) -> Option<StringId> {
    match store.place {
        Destination::Field {
            key: Symbol::Constant(Constant::String(name)),
            ..
        } => Some(name),
        _ => None,
    }
}
