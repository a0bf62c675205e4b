//! The definitions of a file, from the dump of its main chunk: the expressions that make objects,
//! and the one place that gives each its name.
//!
//! A *definition* is a table constructor, a function, or a call whose result goes somewhere. Every
//! other mention of its object is a reference. Its *first destination* gives it a name: a parent
//! and a key below it. [`align`](super::align) finds which definition of one version is which of
//! another.
//!
//! The pass is strict, as every reader of dumps: a byte that is not as expected gives `None`, and
//! what an instruction leaves in a register is [`Symbol::Unknown`] unless it is proved. It wants
//! debug information: of a stripped dump it knows no variable. Each function that makes an object
//! or stores something is interpreted once, in the order of its instructions. Branches meet in
//! [`Symbol::OneOf`].

mod describe;
mod edited;
mod features;
mod finish;
mod frame;
mod interpret;
mod known;
mod new_texts;
mod numbers;
mod parse;
mod pure;
mod registers;
mod resolve;
mod shape;
#[cfg(test)]
pub(super) mod tests;
mod types;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

use super::grouped::{Grouped, under};
use super::reader::{Reader, Stop, known};
use super::shared::{MaybeShared, PatchedList, SharedList};
use super::{Chunk, Dump};
use super::{Digest, op};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, collected, copied};
use crate::support::secret::Secret;
use known::{Known, Lengths};

pub(super) use features::DefinitionFeatures;
pub use types::*;

/// What a dump tells about definitions, variables and stores.
pub struct Definitions {
    dump: Dump,
    secret: Secret,
    texts: SharedList<KnownString>,
    /// The texts by their digests.
    numbers: MaybeShared<TextNumbers>,
    constants: PatchedList<Constant>,
    protos: PatchedList<Proto>,
    /// Where the upvalues of each function begin among `upvalues`.
    first_upvalue: SharedList<u32>,
    upvalues: SharedList<UpvalueOrigin>,
    /// The functions by their lines.
    by_lines: SharedList<(i32, i32, ProtoId)>,
    definitions: SharedList<Definition>,
    calls: SharedList<Call>,
    variables: PatchedList<Variable>,
    fields: SharedList<(Symbol, Symbol)>,
    lists: SharedList<Symbol>,
    stores: PatchedList<Store>,
    /// The stores into each definition, by text keys first: sorted.
    into: Grouped<(StringId, StoreId)>,
    /// The stores to each variable and to each global, by their names.
    assignments: Grouped<StoreId>,
    globals: Grouped<StoreId>,
    /// What each function returns first.
    results: Grouped<StoreId>,
    /// How long the lists were when each function's turn came, and in the end.
    lengths: SharedList<Lengths>,
    /// The definitions that no name tells from others, once they were asked for.
    nameless: OnceLock<Arc<Vec<DefinitionId>>>,
    /// While a function is interpreted.
    mixed: Mixed,
    /// How many functions were taken over from another version.
    #[cfg(test)]
    taken: u32,
    /// The most symbols in lists, and four times the most stores: a compiler writes no more.
    most: usize,
}

/// Texts by their digests.
type TextNumbers = FxHashMap<u64, StringId>;

/// Stands for every key that is no string.
const NO_TEXT: StringId = StringId(u32::MAX);

/// A string that the dump has: where it stands, its length, and its digest.
#[derive(Clone, Copy)]
struct KnownString {
    start: u32,
    length: u32,
    digest: u64,
}

/// The index of a place in a list, if the text says it.
fn index(place: Destination) -> Option<i64> {
    match place {
        Destination::Field {
            key: Symbol::Constant(key),
            ..
        } => key.index(),
        Destination::Element { index, .. } => Some(i64::from(index)),
        _ => None,
    }
}

impl Definitions {
    /// Reads the dump of a main chunk; none when it is not exactly that of Lua 5.4. Digests, and
    /// two versions that are to be aligned, want one secret. What is known of another version
    /// (`base`) spares work.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn read(
        dump: impl Into<Dump>,
        secret: &Secret,
        base: Option<&Definitions>,
    ) -> Result<Option<Definitions>> {
        let dump = dump.into();
        if let Some(base) = base
            && let Some((out, _)) = Definitions::of_same_code(base, None, &dump)?
        {
            return Ok(Some(out.of_dump(dump)));
        }
        Definitions::read_other(dump, secret, base)
    }

    /// The definitions of a version that differs from another one in nothing but constants and
    /// lines, and what is known of it besides; none for other versions, and where it is not known.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn of_same_code(
        base: &Definitions,
        chunk: Option<&Chunk>,
        dump: &[u8],
    ) -> Result<Option<(Definitions, Option<Chunk>)>> {
        Ok(known(Definitions::with_other_constants(base, chunk, dump))?.flatten())
    }

    /// The same, with the dump of which they were told.
    pub(super) fn of_dump(mut self, dump: impl Into<Dump>) -> Definitions {
        self.dump = dump.into();
        self
    }

    /// The same as [`Definitions::read`], where more differs than constants and lines.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn read_other(
        dump: Dump,
        secret: &Secret,
        base: Option<&Definitions>,
    ) -> Result<Option<Definitions>> {
        if let Some(base) = base
            && let Some(out) = known(Definitions::edited(base, &dump))?.flatten()
        {
            return Ok(Some(out.of_dump(dump)));
        }
        let mut out = Definitions::empty(secret, dump.len());
        out.reserve(dump.len(), base)?;
        let read = Reader::of(&dump).map(|mut reader| {
            let parsed = parse::parse(&mut reader, &mut out, secret)?;
            let known = base.map(Known::of).transpose()?;
            interpret::interpret(&parsed, known, &mut out)
        });
        match read {
            None | Some(Err(Stop::Format)) => return Ok(None),
            Some(Err(Stop::Memory)) => return Err(Error::Memory),
            Some(Ok(())) => {}
        }
        out.dump = dump;
        out.finish()?;
        Ok(Some(out))
    }

    /// Makes room for what the older version has, or else for what a dump of this length has, as a
    /// rule.
    fn reserve(&mut self, length: usize, base: Option<&Definitions>) -> Result<()> {
        let count = |count: fn(&Definitions) -> usize, bytes: usize| {
            let known = base.map(|base| count(base) + count(base) / 64);
            known.unwrap_or(length / bytes).min(length / 16)
        };
        let texts = count(|of| of.texts.len(), 192);
        self.texts.own()?.try_reserve(texts)?;
        if let MaybeShared::Own(numbers) = &mut self.numbers {
            numbers.try_reserve(texts)?;
        }
        let constants = count(|of| of.constants.len(), 40);
        self.constants.own()?.try_reserve(constants)?;
        let definitions = count(|of| of.definitions.len(), 96);
        self.definitions.own()?.try_reserve(definitions)?;
        let variables = count(|of| of.variables.len(), 80);
        self.variables.own()?.try_reserve(variables)?;
        let fields = count(|of| of.fields.len(), 80);
        self.fields.own()?.try_reserve(fields)?;
        let stores = count(|of| of.stores.len(), 48);
        self.stores.own()?.try_reserve(stores)?;
        let lists = count(|of| of.lists.len(), 48);
        Ok(self.lists.own()?.try_reserve(lists)?)
    }

    fn empty(secret: &Secret, most: usize) -> Definitions {
        Definitions {
            dump: Dump::default(),
            secret: secret.clone(),
            texts: SharedList::NOTHING,
            numbers: MaybeShared::Own(FxHashMap::default()),
            constants: PatchedList::NOTHING,
            protos: PatchedList::NOTHING,
            first_upvalue: SharedList::NOTHING,
            upvalues: SharedList::NOTHING,
            by_lines: SharedList::NOTHING,
            definitions: SharedList::NOTHING,
            calls: SharedList::NOTHING,
            variables: PatchedList::NOTHING,
            fields: SharedList::NOTHING,
            lists: SharedList::NOTHING,
            stores: PatchedList::NOTHING,
            into: Grouped::NOTHING,
            assignments: Grouped::NOTHING,
            globals: Grouped::NOTHING,
            results: Grouped::NOTHING,
            lengths: SharedList::NOTHING,
            nameless: OnceLock::new(),
            mixed: Mixed::default(),
            #[cfg(test)]
            taken: 0,
            most,
        }
    }

    /// Lets later versions have all lists: of what is not shared they take nothing over as it is.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn share(&mut self) -> Result<()> {
        self.numbers.share()?;
        self.texts.share()?;
        self.constants.share()?;
        self.protos.share()?;
        self.first_upvalue.share()?;
        self.upvalues.share()?;
        self.by_lines.share()?;
        self.definitions.share()?;
        self.calls.share()?;
        self.variables.share()?;
        self.fields.share()?;
        self.lists.share()?;
        self.stores.share()?;
        self.into.share()?;
        self.assignments.share()?;
        self.globals.share()?;
        self.results.share()?;
        self.lengths.share()
    }

    /// Gives a text its number.
    fn number_text(&mut self, digest: u64, number: StringId) -> Result<()> {
        if let MaybeShared::Own(numbers) = &mut self.numbers {
            numbers.try_insert_value(digest, number)?;
        }
        Ok(())
    }

    /// How many functions.
    pub fn protos(&self) -> u32 {
        self.protos.len() as u32
    }

    /// A function.
    #[inline]
    pub fn proto(&self, id: ProtoId) -> Option<&Proto> {
        self.protos.get(id as usize)
    }

    /// The prototype of a running closure, by first and last line and by the digest of its code
    /// ([`profile`](super::profile) of its dump); the digest is asked for where several stand on
    /// the lines. None where even that leaves several.
    pub fn proto_of(
        &self,
        lines: (i32, i32),
        digest: impl FnOnce() -> Option<Digest>,
    ) -> Option<ProtoId> {
        let start = self
            .by_lines
            .partition_point(|(line, last, _)| (*line, *last) < lines);
        let rest = self.by_lines.get(start..)?;
        let same = rest
            .iter()
            .take_while(|(line, last, _)| (*line, *last) == lines);
        let count = same.count();
        match rest.get(..count)? {
            [] => None,
            [(_, _, one)] => Some(*one),
            several => {
                let digest = digest()?;
                let is_it = |id: &ProtoId| {
                    let proto = self.proto(*id);
                    proto.is_some_and(|proto| proto.digest.is_equal(digest) == Some(true))
                };
                let mut found = several.iter().map(|(_, _, id)| *id).filter(is_it);
                found.next().filter(|_| found.next().is_none())
            }
        }
    }

    /// The functions that stand directly in the main function of the dump that was read.
    pub(super) fn outermost(&self) -> impl Iterator<Item = &Proto> {
        self.protos.iter().filter(|proto| proto.parent == Some(0))
    }

    /// How many definitions: their numbers are those below.
    pub fn len(&self) -> u32 {
        self.definitions.len() as u32
    }

    /// All definitions with their numbers. Calls whose result goes nowhere and that get no
    /// definition as an argument are among them; nothing has a name below these.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (DefinitionId, &Definition)> + Clone {
        (0..).map(DefinitionId).zip(self.definitions.iter())
    }

    /// The digest of the code of the function that a definition makes; none for other definitions.
    pub fn function_digest(&self, id: DefinitionId) -> Option<super::Digest> {
        match self.get(id)?.kind {
            ExpressionKind::Function(proto) => Some(self.proto(proto)?.digest),
            _ => None,
        }
    }

    /// A definition.
    #[inline]
    pub fn get(&self, id: DefinitionId) -> Option<&Definition> {
        self.definitions.get(id.0 as usize)
    }

    /// What is called, and with what.
    #[inline]
    pub fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(id.0 as usize)
    }

    /// All variables with their numbers, but for those of functions that make no object and store
    /// nothing.
    #[inline]
    pub fn variables(&self) -> impl Iterator<Item = (VariableId, &Variable)> {
        (0..).map(VariableId).zip(self.variables.iter())
    }

    /// The numbers of a function's variables, in the order of their beginnings.
    pub fn variables_of(&self, proto: ProtoId) -> Range<u32> {
        let (first, count) = self.proto(proto).map_or((0, 0), |proto| proto.locals);
        first..first + count
    }

    /// The variables with these numbers.
    #[inline]
    pub(super) fn variables_in(&self, ids: Range<u32>) -> impl Iterator<Item = &Variable> {
        self.variables.range(ids.start as usize..ids.end as usize)
    }

    /// The names of the main function's locals that nested functions assign; none where one may
    /// have no name, or a function is never made.
    pub fn assigned_locals(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let (first, count) = self.proto(0)?.locals;
        let mut nested = self.protos.iter().skip(1);
        let is_known = count > 0 && nested.all(|proto| proto.definition.is_some());
        let locals = self.variables_in(first..first + count);
        let assigned = locals.filter(|local| local.is_shared);
        is_known.then(|| assigned.map(|local| self.text(local.name)))
    }

    /// A variable.
    #[inline]
    pub fn variable(&self, id: VariableId) -> Option<&Variable> {
        self.variables.get(id.0 as usize)
    }

    /// The variable that an upvalue of a function is, counted from 0, through all functions around
    /// it; none for `_ENV`, and where that is not known.
    #[inline]
    pub fn upvalue(&self, proto: ProtoId, index: u8) -> Option<VariableId> {
        if index >= self.proto(proto)?.upvalues {
            return None;
        }
        let first = self.first_upvalue.get(proto as usize)?;
        match self.upvalues.get(*first as usize + usize::from(index))? {
            UpvalueOrigin::Variable(id) => Some(*id),
            _ => None,
        }
    }

    /// The same for all upvalues of a function.
    pub fn upvalues_of(&self, proto: ProtoId) -> impl Iterator<Item = Option<VariableId>> {
        let known = self
            .proto(proto)
            .zip(self.first_upvalue.get(proto as usize));
        let upvalues = known.and_then(|(proto, first)| {
            let first = *first as usize;
            self.upvalues
                .get(first..first + usize::from(proto.upvalues))
        });
        let upvalues = upvalues.unwrap_or_default().iter();
        upvalues.map(|upvalue| match upvalue {
            UpvalueOrigin::Variable(id) => Some(*id),
            _ => None,
        })
    }

    /// The object and the key of a [`Symbol::Field`].
    #[inline]
    pub fn field(&self, id: u32) -> Option<(Symbol, Symbol)> {
        self.fields.get(id as usize).copied()
    }

    /// The symbols of a list.
    #[inline]
    pub fn list(&self, id: ListId) -> &[Symbol] {
        let start = id.start as usize;
        self.lists
            .get(start..start + id.length as usize)
            .unwrap_or_default()
    }

    /// The stores of the main function.
    #[inline]
    pub fn main_stores(&self) -> impl Iterator<Item = &Store> {
        let end = self.lengths.get(1).map_or(0, |lengths| lengths.stores);
        self.stores.range(0..end as usize)
    }

    /// The stores to globals with their numbers, in the order of the code.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn global_stores(&self) -> Result<Vec<(StoreId, &Store)>> {
        let mut ids = copied(self.globals.all())?;
        ids.sort_unstable();
        let stores = ids.iter().filter_map(|id| Some((*id, self.store(*id)?)));
        collected(stores.map(Ok))
    }

    /// A store.
    #[inline]
    pub fn store(&self, id: StoreId) -> Option<&Store> {
        self.stores.get(id.0 as usize)
    }

    /// What is stored into a definition's object: by string keys first, in the order of the code
    /// for each; then under all other keys, elements, appended ones and the metatable, in the order
    /// of the code.
    pub fn stores_into(&self, id: DefinitionId) -> impl Iterator<Item = (StoreId, &Store)> {
        let stores = self.into.get(id.0).iter();
        stores.filter_map(|(_, store)| Some((*store, self.store(*store)?)))
    }

    /// Does the text put a function of its own into a definition's object?
    pub fn bears_function(&self, id: DefinitionId) -> bool {
        self.stores_into(id).any(|(_, store)| {
            let Symbol::Definition(value) = store.value else {
                return false;
            };
            let made = self.get(value).map(|made| made.kind);
            matches!(made, Some(ExpressionKind::Function(_)))
        })
    }

    /// Is it an element of a list by the text, or what the text puts under a number that has a
    /// name?
    pub fn is_element(&self, definition: &Definition) -> bool {
        let store = definition.place.and_then(|place| self.store(place));
        match (definition.key, store.map(|store| store.place)) {
            (DefinitionKey::Element, _) => true,
            (DefinitionKey::Place(_), Some(Destination::Field { key, .. })) => self.is_path(key),
            _ => false,
        }
    }

    /// The key of an element, if the text says it.
    pub fn index(&self, id: DefinitionId) -> Option<i64> {
        index(self.definition_place(id)?)
    }

    /// Has the text holes among the numbers under which it puts elements into a table? Not where it
    /// computes some.
    pub fn has_holes(&self, table: DefinitionId) -> bool {
        let (mut indices, own) = (Indices::default(), self.get(table).map(|table| table.proto));
        let stores = self.stores_into(table);
        for (_, store) in stores.filter(|(_, store)| Some(store.proto) == own) {
            let is_known = index(store.place).is_some() || self.has_written_key(store.place);
            if !is_known {
                return false;
            }
            if store.value != Symbol::Constant(Constant::Nil) {
                indices.add(index(store.place));
            }
        }
        indices.have_holes()
    }

    /// Does the text write out the key of a place in a table, or call it by a name?
    pub fn has_written_key(&self, place: Destination) -> bool {
        match place {
            Destination::Field { key, .. } => {
                matches!(key, Symbol::Constant(_)) || self.is_path(key)
            }
            Destination::Metatable { .. } => true,
            _ => false,
        }
    }

    /// What is stored in one field of a definition's object, in the order of the code.
    pub fn stores_under(
        &self,
        id: DefinitionId,
        key: StringId,
    ) -> impl Iterator<Item = (StoreId, &Store)> {
        let stores = under(self.into.get(id.0), key).iter();
        stores.filter_map(|(_, store)| Some((*store, self.store(*store)?)))
    }

    fn listed(&self, stores: &[StoreId]) -> impl Iterator<Item = (StoreId, &Store)> {
        let stores = stores.iter();
        stores.filter_map(|store| Some((*store, self.store(*store)?)))
    }

    /// The initialiser and the assignments of a variable, in the order of the code.
    pub fn stores_to(&self, id: VariableId) -> impl Iterator<Item = (StoreId, &Store)> {
        self.listed(self.assignments.get(id.0))
    }

    /// What the code stores in a global.
    pub fn stores_to_global(&self, name: StringId) -> impl Iterator<Item = (StoreId, &Store)> {
        self.listed(self.globals.get(name.0))
    }

    /// What a function returns first, a store for each `return`. A function other than the main one
    /// that makes no object and stores nothing is not looked at.
    pub fn results(&self, proto: ProtoId) -> impl Iterator<Item = (StoreId, &Store)> {
        self.listed(self.results.get(proto))
    }

    /// Is the store the one that gave the definition its name? Then the place is its own, and what
    /// stands in any other place is a reference.
    pub fn is_place(&self, definition: DefinitionId, store: StoreId) -> bool {
        self.get(definition)
            .is_some_and(|definition| definition.place == Some(store))
    }

    /// The bytes of a text.
    pub fn text(&self, text: StringId) -> &[u8] {
        self.texts.get(text.0 as usize).map_or(&[], |known| {
            super::text_at(&self.dump, (known.start, known.length))
        })
    }

    /// All texts of the code.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.texts.len() as u32).map(|text| self.text(StringId(text)))
    }

    /// The text with these bytes, if the dump has it.
    pub fn find(&self, bytes: &[u8]) -> Option<StringId> {
        let text = *self.numbers.get(&self.secret.digest(bytes))?;
        (self.text(text) == bytes).then_some(text)
    }

    /// Has a variable, a field or a global this name?
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.find(name).is_some_and(|text| {
            let is_field = |store: &Store| match store.place {
                Destination::Field { key, .. } => key == Symbol::Constant(Constant::String(text)),
                Destination::Global(name) => name == text,
                _ => false,
            };
            self.variables.iter().any(|variable| variable.name == text)
                || self.stores.iter().any(is_field)
        })
    }

    /// Is the variable a constant (R4.7)? No code assigns it, and its initialiser is made of
    /// literals, imports, parameters, loop variables and such variables, by operators alone. A
    /// parameter or loop variable that no code assigns is one. A value that branches choose
    /// (`x and 1 or 2`) is none: what they ask may be anything.
    pub fn is_constant(&self, id: VariableId) -> bool {
        self.variable(id)
            .is_some_and(|variable| variable.is_constant)
    }
}
