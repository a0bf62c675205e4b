//! R3: two objects that the same expression of the file has made are one, and two that different
//! ones have made are not. Where neither is known, the place decides (the other files here).

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Function2;
use super::origins::{
    self, By, Holder, OnRecord, Origins, PlaceOnRecord, Put, Roots, SideFunction,
};
use super::{Edge, Fit, Pairer, Side};
use crate::code::Digest;
use crate::code::align::{Alignment, AlignmentReason, Renames, StandingDefinitions, align};
use crate::code::compiled::Compiled;
use crate::code::definitions::{
    Constant, Definition, DefinitionId, DefinitionKey, Definitions, Destination, ExpressionKind,
    Parent, ProtoId, Symbol, VariableId,
};
use crate::lua::vm::{KeyValue, Kind, Ref, Vm};
use crate::model::base::{self, Base, Held, Path};
use crate::model::edits::code_in;
use crate::model::lineage::Lineage;
use crate::model::objects::ObjectTable;
use crate::model::site::{Root, SiteId};
use crate::stages::snapshot::Snapshot;
use crate::support::error::{Error, Result, shown};
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, copied, counted};

/// What definitions say of two objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    /// They answer to each other, for this reason.
    Same(AlignmentReason),
    /// Each is another one's counterpart, or nobody's.
    Other,
    /// Nothing.
    Unknown,
}

/// The definitions of both versions, and their objects.
#[derive(Default)]
pub(super) struct Identity {
    /// What no place has brought together was looked at.
    taken: bool,
    running: Origins,
    incoming: Origins,
    /// None where both versions are read as the file is.
    alignment: Option<Arc<Alignment>>,
    /// The definitions of the last load, if its text is known.
    base: Option<Arc<Definitions>>,
    /// Those of the file.
    definitions: Option<Arc<Definitions>>,
    /// The variables of the file that had another name in the last load, with that.
    renamed: FxHashMap<VariableId, Vec<u8>>,
    /// The binary form of the last load, if its text is known.
    base_dump: Option<Arc<Vec<u8>>>,
}

/// What is known of the text of the last load.
#[derive(Default)]
struct LastText {
    definitions: Option<Arc<Definitions>>,
    /// Its binary form.
    dump: Option<Arc<Vec<u8>>>,
}

impl Identity {
    /// Aligns the definitions of both versions, whose objects are known.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    fn of(
        LastText {
            definitions: base,
            dump: base_dump,
        }: LastText,
        (definitions, compiled): (Arc<Definitions>, &Compiled),
        [running, incoming]: [Origins; 2],
        renames: Renames<'_>,
    ) -> Result<Identity> {
        let alignment = match &base {
            Some(base) if Arc::ptr_eq(base, &definitions) => None,
            Some(base) if renames.is_empty() => Some(compiled.alignment(base, &definitions)?),
            Some(base) => {
                let made = align(base, &definitions, renames, &StandingDefinitions::default())?;
                Some(counted(made)?)
            }
            None => None,
        };
        let mut identity = Identity {
            taken: false,
            running,
            incoming,
            alignment,
            renamed: FxHashMap::default(),
            base,
            base_dump,
            definitions: Some(definitions),
        };
        identity.note_renamed()?;
        Ok(identity)
    }

    /// Notes the variables that have another name.
    fn note_renamed(&mut self) -> Result<()> {
        self.renamed.clear();
        if let (Some(base), Some(definitions), Some(alignment)) =
            (&self.base, &self.definitions, &self.alignment)
            && !alignment.is_same()
        {
            for (id, variable) in definitions.variables() {
                let former = alignment
                    .base_variable(id)
                    .and_then(|(id, _)| base.variable(id));
                let former = former.map_or(&[][..], |former| base.text(former.name));
                if !former.is_empty() && former != definitions.text(variable.name) {
                    self.renamed.try_insert_value(id, copied(former)?)?;
                }
            }
        }
        Ok(())
    }

    /// Has what something looks like alone told what it is?
    pub(super) fn has_looks(&self) -> bool {
        let alignment = self.alignment.as_ref();
        alignment.is_some_and(|alignment| alignment.has_looks())
    }

    /// The definitions of the file, for more than one look.
    pub(super) fn shared_definitions(&self) -> Option<Arc<Definitions>> {
        self.definitions.clone()
    }

    /// The running object of a definition of the last load, if that has made one only.
    pub(super) fn running_object_of(&self, base: DefinitionId) -> Option<Ref> {
        self.running.object(base)
    }

    /// Aligns the definitions again: these have objects in the program.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    fn align_beside(&mut self, renames: Renames<'_>, standing: &StandingDefinitions) -> Result<()> {
        if let (Some(base), Some(definitions)) = (&self.base, &self.definitions) {
            let made = align(base, definitions, renames, standing)?;
            self.alignment = Some(counted(made)?);
        }
        self.note_renamed()
    }

    /// Is the running function gone from the file, and the place under this key of a table the one
    /// that it was defined for?
    pub(super) fn is_gone_from(&self, vm: &Vm, function: Ref, table: Ref, key: Ref) -> bool {
        let id = self.running.definition(vm.val(function).addr);
        id.is_some_and(|id| self.incoming(id).is_none() && self.is_place_of(vm, id, table, key))
    }

    /// Is the place under this key of a running table the one that the last version of the text
    /// defined the incoming object for?
    pub(super) fn was_defined_at(&self, vm: &Vm, new: Ref, table: Ref, key: Ref) -> bool {
        let id = self.incoming.definition(vm.val(new).addr);
        let id = id.and_then(|id| Some(self.base(id)?.0));
        id.is_some_and(|id| self.is_place_of(vm, id, table, key))
    }

    /// Does the file still make the running object, and is the place under this key of a table
    /// another one than that which it was defined for?
    pub(super) fn is_reference_to_kept(&self, vm: &Vm, old: Ref, table: Ref, key: Ref) -> bool {
        let id = self.running.definition(vm.val(old).addr);
        // Of a table that the file takes up (`M = M or {}`) it may not be known which one it is.
        let is_known = self.running.definition(vm.val(table).addr).is_some();
        let may_be_place = |id| match self.place_of(id).filter(|_| !is_known) {
            Some((_, name)) => vm.is_string(key, name),
            None => self.is_place_of(vm, id, table, key),
        };
        id.is_some_and(|id| self.incoming(id).is_some() && !may_be_place(id))
    }

    /// Has the edit changed the code of an incoming function? None where nobody knows.
    pub(super) fn is_edited(&self, vm: &Vm, new: Ref) -> Option<bool> {
        let (base, definitions) = self.versions()?;
        let incoming = self.incoming_definition(vm, new)?;
        let code = base.function_digest(self.base(incoming)?.0)?;
        let is_equal = code.is_equal(definitions.function_digest(incoming)?);
        is_equal.map(|is_equal| !is_equal)
    }

    /// The code of a function of which the definition and its version are known.
    pub(super) fn code_of(&self, vm: &Vm, function: Ref, side: Side) -> Option<Digest> {
        let (base, definitions) = self.versions()?;
        let (origins, version) = match side {
            Side::Incoming => (&self.incoming, definitions),
            Side::Running => (&self.running, base),
        };
        version.function_digest(origins.definition(vm.val(function).addr)?)
    }

    /// Has the text of the last load a function with this code?
    pub(super) fn had_code(&self, code: Digest) -> bool {
        let base = self.base.as_deref();
        let mut protos = (0..base.map_or(0, Definitions::protos)).filter_map(|id| base?.proto(id));
        protos.any(|proto| proto.digest.is_equal(code) == Some(true))
    }

    /// The definitions of the last load and of the file, if both are known.
    pub(super) fn versions(&self) -> Option<(&Definitions, &Definitions)> {
        self.base.as_deref().zip(self.definitions.as_deref())
    }

    /// The definitions of the file.
    pub(super) fn definitions(&self) -> Option<&Definitions> {
        self.definitions.as_deref()
    }

    /// Those as which the running version is read.
    fn running_definitions(&self) -> Option<&Definitions> {
        self.base.as_deref().or(self.definitions())
    }

    /// The definition of a running object.
    pub(super) fn running_definition(&self, vm: &Vm, object: Ref) -> Option<DefinitionId> {
        self.running.definition(vm.val(object).addr)
    }

    /// Is it known which definition made a running object, and that it makes no other?
    pub(super) fn is_of_one_definition(&self, vm: &Vm, object: Ref) -> bool {
        let id = self.running_definition(vm, object);
        let made = id.and_then(|id| self.base.as_deref()?.get(id));
        made.is_some_and(Definition::is_single)
    }

    /// The definition of an incoming object.
    pub(super) fn incoming_definition(&self, vm: &Vm, object: Ref) -> Option<DefinitionId> {
        self.incoming.definition(vm.val(object).addr)
    }

    /// What a definition of the file has made, if that is one object that is known.
    pub(super) fn incoming_object(&self, id: DefinitionId) -> Option<Ref> {
        self.incoming.object(id)
    }

    /// What a definition of the last load is in the file.
    pub(super) fn counterpart(&self, base: DefinitionId) -> Option<DefinitionId> {
        self.incoming(base).map(|(incoming, _)| incoming)
    }

    /// Has the last version of the text put a function into the table that an incoming one is?
    pub(super) fn had_function(&self, vm: &Vm, table: Ref) -> bool {
        let known = || {
            let id = self.incoming.definition(vm.val(table).addr)?;
            self.base.as_deref().zip(self.base(id))
        };
        known().is_some_and(|(base, (id, _))| base.bears_function(id))
    }

    /// Had the last version of the text the definition that made the incoming object?
    pub(super) fn is_kept(&self, vm: &Vm, new: Ref) -> bool {
        let id = self.incoming.definition(vm.val(new).addr);
        id.is_some_and(|id| self.base(id).is_some())
    }

    /// The definition of the last version that is the incoming object's, and none inside for what
    /// only the file has, if its own one stands in no list and makes no other object: then an
    /// element that leads to it is a reference.
    pub(super) fn kept_elsewhere(&self, vm: &Vm, new: Ref) -> Option<Option<DefinitionId>> {
        let id = self.incoming.definition(vm.val(new).addr)?;
        let is_single = self.definitions()?.get(id)?.is_single();
        let is_elsewhere = is_single && !is_element(self.definitions(), id);
        self.base.as_ref()?;
        is_elsewhere.then(|| self.base(id).map(|base| base.0))
    }

    /// What the last version of the text put into the list that an incoming one is now: for each
    /// element its definition, if one could have made it.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn base_elements(&self, vm: &Vm, list: Ref) -> Result<Vec<Option<DefinitionId>>> {
        let mut elements = Vec::new();
        let id = self.incoming.definition(vm.val(list).addr);
        let (Some(base), Some((id, _))) = (&self.base, id.and_then(|id| self.base(id))) else {
            return Ok(elements);
        };
        for (_, store) in base.stores_into(id) {
            if let Destination::Element { .. } = store.place {
                let meant = base.resolve(store.value)?.definitions;
                elements.try_push(meant.first().copied().filter(|_| meant.len() == 1))?;
            }
        }
        Ok(elements)
    }

    /// Does the text put everything that an incoming table holds under keys that it writes out, and
    /// nothing behind the end of a list?
    pub(super) fn has_written_keys(&self, vm: &Vm, table: Ref) -> bool {
        let id = self.incoming.definition(vm.val(table).addr);
        let Some((definitions, id)) = self.definitions().zip(id) else {
            return false;
        };
        let mut stores = definitions.stores_into(id);
        stores.all(|(_, store)| definitions.has_written_key(store.place))
    }

    /// The number of what the last load made as the incoming table, where nothing leads to that any
    /// more.
    pub(super) fn lost_number(&self, vm: &Vm, new: Ref) -> Option<i64> {
        let id = self.incoming.definition(vm.val(new).addr)?;
        self.running.number(self.base(id)?.0)
    }

    /// Is it the own place of what a definition of the last version made?
    fn is_place_of(&self, vm: &Vm, id: DefinitionId, table: Ref, key: Ref) -> bool {
        let holder = self.running.definition(vm.val(table).addr);
        self.place_of(id).is_some_and(|(parent, name)| {
            holder.is_some_and(|holder| parent == Parent::Definition(holder))
                && vm.is_string(key, name)
        })
    }

    /// The table for whose field the last version of the text defined something, none being the
    /// globals, and the field.
    pub(super) fn former_place(&self, id: DefinitionId) -> Option<(Option<Ref>, &[u8])> {
        if let Some((parent, name)) = self.place_of(id) {
            let Parent::Definition(parent) = parent else {
                return None;
            };
            return Some((Some(self.running.object(parent)?), name));
        }
        let base = self.base.as_ref()?;
        match base.store(base.get(id)?.place?)?.place {
            Destination::Global(name) => Some((None, base.text(name))),
            _ => None,
        }
    }

    /// The field that the last version of the text defined something for.
    fn place_of(&self, id: DefinitionId) -> Option<(Parent, &[u8])> {
        let base = self.base.as_ref()?;
        let made = base.get(id)?;
        match base.store(made.place?)?.place {
            Destination::Field {
                key: Symbol::Constant(Constant::String(name)),
                ..
            } => Some((made.parent, base.text(name))),
            _ => None,
        }
    }

    /// The running tables that answer to those which the file makes for its locals, with digests of
    /// the names of these.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn local_tables(&self, vm: &Vm) -> Result<Vec<(u64, Ref)>> {
        let mut found = Vec::new();
        let Some((_, definitions)) = self.versions() else {
            return Ok(found);
        };
        for (id, variable) in definitions.variables() {
            let Symbol::Definition(made) = variable.initialiser else {
                continue;
            };
            let is_place = |store| {
                let store = definitions.store(store).map(|store| store.place);
                store == Some(Destination::Variable(id))
            };
            let is_named = definitions
                .get(made)
                .and_then(|made| made.place)
                .is_some_and(is_place);
            let running = self
                .base(made)
                .and_then(|(base, _)| self.running.object(base));
            if let Some(table) = running.filter(|table| is_named && vm.kind(*table) == Kind::Table)
            {
                found.try_push((vm.digest_of(definitions.text(variable.name)), table))?;
            }
        }
        Ok(found)
    }

    /// The functions that the last version of the text defined and the file still defines, by the
    /// numbers of their prototypes. What is only like one of them does not count.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn functions_that_go_on(&self) -> Result<Vec<(ProtoId, ProtoId)>> {
        let mut found = Vec::new();
        let Some((base, definitions)) = self.versions() else {
            return Ok(found);
        };
        for (id, definition) in base.iter() {
            if let ExpressionKind::Function(old) = definition.kind
                && let Some((incoming, reason)) = self.incoming(id)
                && reason != AlignmentReason::Likeness
                && let Some(ExpressionKind::Function(new)) =
                    definitions.get(incoming).map(|new| new.kind)
            {
                found.try_push((old, new))?;
            }
        }
        Ok(found)
    }

    /// Functions of the last version of the text, directly in its main chunk, that the file has no
    /// longer, or that something else is only like.
    pub(super) fn functions_that_are_gone(&self) -> Result<Vec<ProtoId>> {
        let mut gone = Vec::new();
        let Some((base, _)) = self.versions() else {
            return Ok(gone);
        };
        for (id, definition) in base.iter() {
            let goes_on = self.incoming(id);
            if let ExpressionKind::Function(proto) = definition.kind
                && definition.proto == 0
                && goes_on.is_none_or(|(_, reason)| reason == AlignmentReason::Likeness)
            {
                gone.try_push(proto)?;
            }
        }
        Ok(gone)
    }

    /// What has become of the code of the functions that the last version of the text defined.
    /// `source`: a digest of the file's name; `formers`: of names under which it was found before.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn edits(
        &self,
        vm: &Vm,
        source: u64,
        formers: &[u64],
    ) -> Result<FxHashMap<u64, Option<u64>>> {
        let mut edits: FxHashMap<u64, Option<u64>> = FxHashMap::default();
        let versions = self.running_definitions().zip(self.definitions());
        let is_edited = self.is_text_edited();
        let Some((base, definitions)) = versions.filter(|_| is_edited || !formers.is_empty())
        else {
            return Ok(edits);
        };
        for (id, definition) in base.iter() {
            let Some(former) = base.function_digest(id) else {
                continue;
            };
            let latest = self.incoming(id).and_then(|(id, reason)| {
                let latest = definitions.function_digest(id)?;
                let is_certain = reason != AlignmentReason::Likeness || latest == former;
                is_certain.then_some(latest)
            });
            let latest = latest.map(|code| code_in(vm, source, code));
            // Of a factory's closures those live on that it made while the file had another name.
            let moved = formers.iter().filter(|_| !definition.is_single());
            for name in moved.chain(Some(&source).filter(|_| is_edited)) {
                let former = code_in(vm, *name, former);
                let is_one = edits.get(&former).is_none_or(|known| *known == latest);
                edits.try_insert_value(former, latest.filter(|_| is_one))?;
            }
        }
        Ok(edits)
    }

    /// Which function of the file the code of this and of earlier versions is: of what is `known`
    /// of former code, and of what this edit makes of it.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn functions_by_code(
        &self,
        vm: &Vm,
        (source, edits): (u64, &FxHashMap<u64, Option<u64>>),
        known: Vec<(u64, u64)>,
    ) -> Result<Vec<(u64, ProtoId)>> {
        let mut found = Vec::new();
        let Some(definitions) = self.definitions() else {
            return Ok(found);
        };
        let mut protos: FxHashMap<u64, Option<ProtoId>> = FxHashMap::default();
        for id in 1..definitions.protos() {
            if let Some(proto) = definitions.proto(id) {
                let code = code_in(vm, source, proto.digest);
                let only = (!protos.contains_key(&code)).then_some(id);
                protos.try_insert_value(code, only)?;
            }
        }
        let becomes = |code: u64| edits.get(&code).copied().unwrap_or(Some(code));
        let known = known
            .into_iter()
            .map(|(former, latest)| (former, becomes(latest)));
        let edited = edits.iter().map(|(former, latest)| (*former, *latest));
        let same = protos.keys().map(|code| (*code, becomes(*code)));
        for (former, latest) in known.chain(edited).chain(same) {
            let proto = latest.and_then(|code| protos.get(&code).copied().flatten());
            if let Some(proto) = proto {
                found.try_push((former, proto))?;
            }
        }
        Ok(found)
    }

    /// The variable of the file that an upvalue of one of its functions is, counted from 1.
    pub(super) fn variable(&self, function: &Function2, index: u8) -> Option<VariableId> {
        let definitions = self.definitions.as_ref()?;
        let digest = || Some(function.profile.digest);
        let proto = definitions.proto_of((function.info.line, function.info.last), digest)?;
        let is_it = definitions.proto(proto)?.upvalues == function.info.upvalues;
        definitions
            .upvalue(proto, index.checked_sub(1)?)
            .filter(|_| is_it)
    }

    /// Is a variable of the file a parameter, or one of a `for`, which no code assigns?
    pub(super) fn is_given(&self, id: VariableId) -> bool {
        let variable = self.definitions().and_then(|known| known.variable(id));
        variable.is_some_and(|variable| variable.is_given && variable.assignments == 0)
    }

    /// Does the file's text have this name, in whatever place?
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        let definitions = self.definitions.as_ref();
        definitions.is_none_or(|definitions| definitions.find(name).is_some())
    }

    /// Does the text set a global of this name? Yes, if that is not known.
    pub(super) fn sets_global(&self, name: &[u8]) -> bool {
        self.definitions.as_ref().is_none_or(|definitions| {
            let name = definitions.find(name);
            name.is_some_and(|name| definitions.stores_to_global(name).next().is_some())
        })
    }

    /// Had the text of the last load this name?
    pub(super) fn was_named(&self, name: &[u8]) -> bool {
        let base = self.base.as_ref();
        base.is_some_and(|base| base.find(name).is_some())
    }

    /// The last load's code, if it is known.
    pub(super) fn base_texts(&self) -> Option<Arc<Definitions>> {
        self.base.clone()
    }

    /// Has every variable the name that it had in the last load?
    pub(super) fn renames_nothing(&self) -> bool {
        self.renamed.is_empty()
    }

    /// What a variable was called in the last load, if that was another name.
    pub(super) fn former_name(&self, function: &Function2, index: u8) -> Option<&[u8]> {
        let variable = self.variable(function, index)?;
        self.renamed.get(&variable).map(Vec::as_slice)
    }

    /// Does the text say what an upvalue of a function of the file holds (R4.7): does no code
    /// assign it, and is its initialiser made of literals and loop variables alone, a parameter
    /// being what all calls of the text pass?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn is_literal_upvalue(&self, function: &Function2, index: u8) -> Result<bool> {
        let Some(definitions) = &self.definitions else {
            return Ok(false);
        };
        let variable = self.variable(function, index);
        variable.map_or(Ok(false), |id| {
            is_written(definitions, Symbol::Variable(id), MOST_STEPS_OF_VALUE)
        })
    }

    /// Is the value one of the constants that the file passes to the call that has made the object?
    pub(super) fn is_argument(&self, vm: &Vm, object: Ref, value: Ref) -> bool {
        let arguments = || {
            let definitions = self.definitions.as_ref()?;
            let made = definitions.get(self.incoming.definition(vm.val(object).addr)?)?;
            let ExpressionKind::Call(call) = made.kind else {
                return None;
            };
            Some((
                definitions,
                definitions.list(definitions.call(call)?.arguments),
            ))
        };
        arguments().is_some_and(|(definitions, list)| {
            list.iter().any(|argument| match *argument {
                Symbol::Constant(Constant::Boolean(it)) => {
                    vm.kind(value) == Kind::Boolean && vm.truthy(value) == it
                }
                Symbol::Constant(Constant::Integer(it)) => vm.integer(value) == Some(it),
                Symbol::Constant(Constant::Float(bits)) => {
                    vm.float(value).is_some_and(|value| value.to_bits() == bits)
                }
                Symbol::Constant(Constant::String(text)) => {
                    vm.is_string(value, definitions.text(text))
                }
                _ => false,
            })
        })
    }

    /// Do the texts of both versions differ, as far as that is known?
    pub(super) fn is_text_edited(&self) -> bool {
        self.alignment.is_some()
    }

    /// Are both versions the same to the letter, but for remarks?
    pub(super) fn is_same_text(&self, compiled: &Compiled) -> bool {
        let base = self.base_dump.as_ref();
        base.is_some_and(|base| *base == compiled.dump)
    }

    /// What a definition of the running version has become.
    fn incoming(&self, base: DefinitionId) -> Option<(DefinitionId, AlignmentReason)> {
        match &self.alignment {
            Some(alignment) => alignment.incoming(base),
            None => Some((base, AlignmentReason::Name)),
        }
    }

    /// What a definition of the file was.
    pub(super) fn base(&self, incoming: DefinitionId) -> Option<(DefinitionId, AlignmentReason)> {
        match &self.alignment {
            Some(alignment) => alignment.base(incoming),
            None => Some((incoming, AlignmentReason::Name)),
        }
    }

    /// The running object that the incoming one answers to, if both come from one definition.
    pub(super) fn running_object(&self, vm: &Vm, new: Ref) -> Option<Ref> {
        let definition = self.incoming.definition(vm.val(new).addr)?;
        self.running.object(self.base(definition)?.0)
    }

    /// Which definition of the file is this incoming function, if it is an element of a list or
    /// stands in one, and the last version has it, too?
    pub(super) fn element(&self, vm: &Vm, new: Ref) -> Option<u32> {
        let definition = self.incoming.definition(vm.val(new).addr)?;
        let is_known =
            is_element(self.definitions(), definition) && self.base(definition).is_some();
        is_known.then_some(definition.0)
    }

    /// The same for what a running function has become.
    pub(super) fn element_running(&self, vm: &Vm, old: Ref) -> Option<u32> {
        self.element_of(self.running.definition(vm.val(old).addr)?)
    }

    /// The same for a running function that nothing led to yet, by its lines and code.
    pub(super) fn element_made_from(&self, lines: (i32, i32), code: Digest) -> Option<u32> {
        self.element_of(self.made_from(lines, code, Side::Running)?)
    }

    fn element_of(&self, definition: DefinitionId) -> Option<u32> {
        let is_element = is_element(self.running_definitions(), definition);
        Some(self.incoming(definition).filter(|_| is_element)?.0.0)
    }

    /// Had the last version the incoming function in a list already, or in a row of one, and is
    /// what it made there gone? Of what a loop or a factory makes nobody knows.
    pub(super) fn was_element(&self, vm: &Vm, new: Ref) -> bool {
        let definition = self.incoming.definition(vm.val(new).addr);
        let base = definition.and_then(|definition| self.base(definition));
        base.zip(self.base.as_deref())
            .is_some_and(|((id, _), base)| {
                is_element(Some(base), id)
                    && base.get(id).is_some_and(Definition::is_single)
                    && self.running.object(id).is_none()
            })
    }

    /// What made a function of which lines and code are known, if that makes one function only: its
    /// definition in the last load.
    pub(super) fn made_from(
        &self,
        lines: (i32, i32),
        code: Digest,
        side: Side,
    ) -> Option<DefinitionId> {
        let base = self.base.as_deref()?;
        let definitions = match side {
            Side::Incoming => self.definitions.as_deref()?,
            Side::Running => base,
        };
        let proto = definitions.proto(definitions.proto_of(lines, || Some(code))?)?;
        let id = proto
            .definition
            .filter(|_| proto.digest.is_equal(code) != Some(false))?;
        let id = match side {
            Side::Incoming => self.base(id)?.0,
            Side::Running => id,
        };
        base.get(id)?.is_single().then_some(id)
    }

    /// The definition of an object, and whether it makes one object only. Of the running version it
    /// is what the definition has become in the file.
    pub(super) fn made_by(&self, vm: &Vm, object: Ref, side: Side) -> Option<(DefinitionId, bool)> {
        let origins = match side {
            Side::Incoming => &self.incoming,
            Side::Running => &self.running,
        };
        let id = origins.definition(vm.val(object).addr)?;
        let (base, incoming) = match side {
            Side::Incoming => (self.base(id)?.0, id),
            Side::Running => (id, self.incoming(id)?.0),
        };
        let made = self.base.as_deref()?.get(base)?;
        Some((incoming, made.is_single()))
    }

    /// What is known of two objects: do they answer to each other?
    pub(super) fn relation(&self, vm: &Vm, old: Ref, new: Ref) -> Relation {
        let (old, new) = (vm.val(old).addr, vm.val(new).addr);
        let counterpart = |found: Option<Ref>| found.map(|found| vm.val(found).addr);
        let of_old = self.running.definition(old);
        let of_new = self.incoming.definition(new);
        let forward = of_old.and_then(|base| self.incoming(base));
        let backward = of_new.and_then(|incoming| self.base(incoming));
        match (of_old, of_new) {
            (Some(base), Some(incoming)) => match forward {
                Some((found, reason)) if found == incoming => {
                    let is_one = self.running.object(base).is_some()
                        && self.incoming.object(incoming).is_some();
                    if is_one {
                        Relation::Same(reason)
                    } else {
                        Relation::Unknown
                    }
                }
                None if backward.is_none()
                    && (is_nameless(self.definitions(), incoming)
                        || is_nameless(self.running_definitions(), base)) =>
                {
                    Relation::Unknown
                }
                _ if self.are_of_one_name(base, incoming) => Relation::Unknown,
                _ => Relation::Other,
            },
            (Some(_), None) => {
                let found = forward.and_then(|(found, _)| self.incoming.object(found));
                match counterpart(found) {
                    Some(found) if found != new => Relation::Other,
                    _ => Relation::Unknown,
                }
            }
            // Without the text of the last load an object at no place of a definition may come from
            // one that the file has no longer.
            (None, Some(_)) if self.base.is_none() => Relation::Unknown,
            (None, Some(_)) => {
                let found = backward.and_then(|(found, _)| self.running.object(found));
                match counterpart(found) {
                    Some(found) if found != old => Relation::Other,
                    _ => Relation::Unknown,
                }
            }
            (None, None) => Relation::Unknown,
        }
    }

    /// Does the file make one object under a name, the last load another one, and neither of them
    /// the other side's? Then the place decides. For example `function M.f() … end` stood there
    /// twice, and the second one is taken out.
    fn are_of_one_name(&self, base: DefinitionId, incoming: DefinitionId) -> bool {
        let former = self.base(incoming).map(|(former, _)| former);
        let now = self.incoming(base).map(|(now, _)| now);
        let name = |version: Option<&Definitions>, id| {
            let made = version.and_then(|version| version.get(id));
            let made = made.filter(|made| made.is_single() && !made.key.is_sequence());
            made.map(|made| (made.parent, made.key))
        };
        let is_unmade = |version, [one, other]: [DefinitionId; 2], objects: &Origins| {
            let known = name(version, one);
            known.is_some() && known == name(version, other) && objects.object(one).is_none()
        };
        let is_former = |former| is_unmade(self.base.as_deref(), [former, base], &self.running);
        let is_now = |now| is_unmade(self.definitions(), [now, incoming], &self.incoming);
        former.is_some_and(is_former) && now.is_none_or(is_now)
            || now.is_some_and(is_now) && former.is_none()
    }

    /// The objects of both sides that answer to each other by their definitions, in the order of
    /// the file: the running one, the incoming one, and the definition of that.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Ref, Ref, DefinitionId)> {
        let incoming = (0..self.incoming.len()).map(DefinitionId);
        incoming.filter_map(|incoming| {
            let (base, _) = self.base(incoming)?;
            Some((
                self.running.object(base)?,
                self.incoming.object(incoming)?,
                incoming,
            ))
        })
    }
}

/// Initialisers of initialisers, and arguments of calls in calls, are followed no further.
const MOST_STEPS_OF_VALUE: u32 = 8;

/// Is a value made of literals and loop variables alone?
fn is_written(definitions: &Definitions, symbol: Symbol, steps: u32) -> Result<bool> {
    let Some(steps) = steps.checked_sub(1) else {
        return Ok(false);
    };
    match symbol {
        Symbol::Constant(_) | Symbol::LoopVariable => Ok(true),
        Symbol::Pure { of, .. } => {
            for variable in definitions.list(of) {
                if !is_written(definitions, *variable, steps)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Symbol::Variable(id) => match definitions.variable(id) {
            Some(variable) if variable.assignments == 0 => {
                is_written(definitions, variable.initialiser, steps)
            }
            _ => Ok(false),
        },
        Symbol::Parameter(proto, number) => are_passed(definitions, proto, number, steps),
        _ => Ok(false),
    }
}

/// Do all calls of the text, of which there is one at least, pass such a value for a parameter?
fn are_passed(definitions: &Definitions, proto: ProtoId, number: u8, steps: u32) -> Result<bool> {
    let function = definitions.proto(proto).and_then(|proto| proto.definition);
    let mut found = false;
    for (_, made) in definitions.iter() {
        let ExpressionKind::Call(call) = made.kind else {
            continue;
        };
        let Some(call) = definitions.call(call) else {
            continue;
        };
        let meant = definitions.resolve(call.callee)?.definitions;
        if !meant.iter().any(|meant| Some(*meant) == function) {
            continue;
        }
        let argument = definitions
            .list(call.arguments)
            .get(usize::from(number))
            .copied();
        if !is_written(definitions, argument.unwrap_or(Symbol::Unknown), steps)? {
            return Ok(false);
        }
        found = true;
    }
    Ok(found)
}

/// Is a definition an element of a list, or a field of one?
fn is_element(version: Option<&Definitions>, id: DefinitionId) -> bool {
    let made = version.and_then(|version| Some((version, version.get(id)?)));
    made.is_some_and(|(version, made)| {
        let row = match made.parent {
            Parent::Definition(row) => version.get(row),
            Parent::Proto(_) => None,
        };
        let mut both = [Some(made), row].into_iter().flatten();
        both.any(|one| version.is_element(one))
    })
}

/// Has a definition no name of its own?
fn is_nameless(version: Option<&Definitions>, id: DefinitionId) -> bool {
    let made = version.and_then(|version| version.get(id));
    made.is_some_and(|made| made.key.is_sequence())
}

impl Pairer<'_> {
    /// Finds what made the objects of both sides. Of a version that no record is kept of the text
    /// is not known: its objects are those that stand where the definitions of the file would put
    /// theirs.
    pub(super) fn identify(&mut self) -> Result<()> {
        let compiled = self.loaded.compiled.clone();
        let LastText {
            definitions: base,
            dump: base_dump,
        } = self.last_text()?;
        let Some(definitions) = compiled.definitions(self.vm.secret(), base.as_deref())? else {
            return Ok(());
        };
        let texts = self.names_given()?;
        let mut renames: Vec<(&[u8], &[u8])> = Vec::new();
        for (old, new) in &texts {
            renames.try_push((old, new))?;
        }
        let incoming = self.incoming_origins(&definitions)?;
        self.check_renames(&renames, base.as_deref(), &definitions)?;
        let functions = self.running_functions()?;
        let is_text_known = base.is_some();
        let recorded = RecordOfLoad {
            record: &self.out.base,
            lineage: self.lineage,
            snapshot: &self.loaded.snapshot,
        };
        let roots = Roots {
            value: self.context.running,
            globals: self.context.globals,
            changes: &[],
            functions: &functions,
            entries: &|table| Some((self.loaded.snapshot.whole(table.addr)?, false)),
            recorded: is_text_known.then_some(&recorded),
        };
        let (imports, context, loaded) = (&mut self.imports, self.context, &*self.loaded);
        let (record, lineage) = (&self.out.base, self.lineage);
        let objects = &self.out.known;
        let mut last: (Ref, Option<Path>) = (Ref::NIL, None);
        let mut running = origins::find(
            self.vm,
            base.as_ref().unwrap_or(&definitions),
            if is_text_known {
                By::Prototype
            } else {
                By::Place
            },
            &roots,
            |vm, holder, object, is_own_place| {
                let is_module = matches!(holder, Holder::Module);
                if !is_module && imports.is_module(vm, context, loaded, vm.val(object))? {
                    return Ok(Put::OTHER);
                }
                if !is_text_known {
                    let is_own = is_own_place || is_module;
                    return Ok(if is_own { Put::Here } else { Put::OTHER });
                }
                // Many objects stand in one table.
                if let Holder::Field(table, _) | Holder::Metatable(table) = holder
                    && table != last.0
                {
                    last = (table, path_of(vm, lineage, context.globals, table));
                }
                let place = place_of(vm, record, lineage, last.1, holder);
                let held = place.and_then(|place| record.get(place));
                // What the last load took up (`M = M or {}`) it wrote where that stood already.
                let is_global = holder.is_field_of(context.globals);
                let is_taken_up = is_own_place && is_global && held.is_none();
                let recorded = held.and_then(Held::number);
                let number = number_of(vm, (objects, lineage), object);
                Ok(if is_taken_up || recorded.is_some() && recorded == number {
                    Put::Here
                } else {
                    Put::Chosen { recorded, number }
                })
            },
        )?;
        if is_text_known {
            self.join_generations(&mut running)?;
        }
        self.identity = Identity::of(
            LastText {
                definitions: base,
                dump: base_dump,
            },
            (definitions, &compiled),
            [running, incoming],
            &renames,
        )?;
        let standing = self.standing()?;
        if !standing.is_empty() {
            self.identity.align_beside(&renames, &standing)?;
        }
        self.tell_of_cut_lists()
    }

    /// A function whose code the text of the last load does not have is of an older load, or of one
    /// that was undone. It is of the definition that made the function of its lineage.
    fn join_generations(&self, running: &mut Origins) -> Result<()> {
        let functions = || {
            let all = (0..self.out.known.functions() as u32).filter_map(|number| {
                let function = self.out.known.function(number)?;
                let number = Lineage::number_in(function.noted?)?;
                Some((number, self.vm.val(function.at).addr))
            });
            all.map(|(number, address)| (number, address, running.definition(address)))
        };
        let mut older = Vec::new();
        for (number, address, _) in functions().filter(|(.., known)| known.is_none()) {
            older.try_push((number, address))?;
        }
        if older.is_empty() {
            return Ok(());
        }
        // None where the functions of a lineage are of several definitions.
        let mut of: FxHashMap<i64, Option<DefinitionId>> = FxHashMap::default();
        for (number, _, known) in functions().filter(|(.., known)| known.is_some()) {
            let is_one = of.get(&number).is_none_or(|other| *other == known);
            of.try_insert_value(number, known.filter(|_| is_one))?;
        }
        for (number, address) in older {
            if let Some(definition) = of.get(&number).copied().flatten() {
                running.is_older(definition, address)?;
            }
        }
        Ok(())
    }

    /// The objects of the incoming version, by the definitions of the file.
    fn incoming_origins(&mut self, definitions: &Definitions) -> Result<Origins> {
        let mut functions = Vec::new();
        for function in self.graph.own_functions() {
            functions.try_push(SideFunction {
                at: function.at,
                info: function.info,
                digest: None,
            })?;
        }
        let roots = Roots {
            value: self.loaded.value,
            globals: self.context.globals,
            changes: &self.loaded.changes,
            functions: &functions,
            entries: &|table| {
                let order = self.loaded.fresh.order(table.addr)?;
                Some((self.graph.entries(order)?, true))
            },
            recorded: None,
        };
        let fresh = &self.loaded.fresh;
        origins::find(
            self.vm,
            definitions,
            By::Prototype,
            &roots,
            |vm, _, object, _| {
                let is_fresh = fresh.order(vm.val(object).addr).is_some();
                Ok(if is_fresh { Put::Here } else { Put::OTHER })
            },
        )
    }

    /// The old names are those of the last load, the new ones those of the file.
    fn check_renames(
        &self,
        renames: &[(&[u8], &[u8])],
        base: Option<&Definitions>,
        definitions: &Definitions,
    ) -> Result<()> {
        for (old, new) in renames {
            let known = [
                (base, *old, "its last load"),
                (Some(definitions), *new, "the file"),
            ];
            for (definitions, name, side) in known {
                if definitions.is_some_and(|definitions| !definitions.has_name(name)) {
                    return Err(Error::Rename {
                        module: self.context.title.clone(),
                        name: shown(name),
                        side,
                    });
                }
            }
        }
        Ok(())
    }

    /// The rows of a list past the limits go by their places.
    fn tell_of_cut_lists(&mut self) -> Result<()> {
        let Some(definitions) = self.identity.running_definitions() else {
            return Ok(());
        };
        let is_edited = self.identity.is_text_edited();
        for (list, much) in &self.identity.running.cut {
            let name = definitions.describe(*list)?;
            let place = Where::Named(format!("{}: {}", self.context.title, shown(&name)));
            let (text, number) = much.limit();
            self.vm.limits.note(text, number, place, is_edited)?;
        }
        Ok(())
    }

    /// The definitions of the last load and its binary form, if its text is known.
    fn last_text(&mut self) -> Result<LastText> {
        let last_main = self.loaded.last_main;
        if self.vm.kind(last_main) != Kind::Function || !self.out.base.is_known() {
            return Ok(LastText::default());
        }
        let compiled = match &self.loaded.last {
            Some(last) if self.vm.same(last.main, last_main) => last.compiled.clone(),
            _ => self.vm.version_of(last_main)?.compiled,
        };
        let definitions = compiled.definitions(self.vm.secret(), None)?;
        Ok(LastText {
            definitions,
            dump: Some(compiled.dump.clone()),
        })
    }

    /// The module's own functions that run, each with a digest of its code. Where the module was
    /// loaded once, none is known, and the lines tell all; later on a function may be of an older
    /// load, and stand on the lines of another one.
    fn running_functions(&mut self) -> Result<Vec<SideFunction>> {
        let mut functions = Vec::new();
        functions.try_reserve(self.out.known.functions())?;
        for number in 0..self.out.known.functions() as u32 {
            let Some(known) = self.out.known.function(number).filter(|known| known.own) else {
                continue;
            };
            let noted = self.lineage.number(self.vm, known.at);
            self.out.known.set_noted(number, noted);
            let profile = noted.and_then(Lineage::profile);
            functions.try_push(SideFunction {
                at: known.at,
                info: known.info,
                digest: profile.map(|profile| profile.digest),
            })?;
        }
        let is_known = |function: &SideFunction| function.digest.is_some();
        if self.loaded.was_reloaded || functions.iter().any(is_known) {
            for function in functions
                .iter_mut()
                .filter(|function| function.digest.is_none())
            {
                let profile = self.vm.profile(function.at)?;
                function.digest = profile.map(|profile| profile.digest);
            }
        }
        Ok(functions)
    }

    /// The names that the user has given, the former ones first.
    fn names_given(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut texts = Vec::new();
        for (old, new) in &self.renames {
            let text = |name| Ok::<_, Error>(self.vm.bytes(name)?.unwrap_or_default());
            texts.try_push((text(*old)?, text(*new)?))?;
        }
        Ok(texts)
    }

    /// What is known of a running object and one of the incoming version by their definitions.
    pub(super) fn relation(&self, old: Ref, new: Ref) -> Relation {
        self.identity.relation(self.vm, old, new)
    }

    /// Is the place under a key of an incoming table a reference, as the text says?
    pub(super) fn is_reference(&self, holder: Option<Ref>, key: Ref) -> bool {
        let globals = self.vm.val(self.context.globals);
        let table = holder.filter(|holder| self.vm.val(*holder) != globals);
        holder.is_some() && self.identity.is_reference(self.vm, table, key)
    }

    /// Is the local in an incoming cell a reference, as the text says?
    pub(super) fn is_reference_in_cell(&self, cell: u32) -> bool {
        let cell = self.out.new_cells.get(cell as usize);
        let owner = cell.and_then(|cell| self.out.new.get(cell.owner as usize));
        let known = cell.zip(owner);
        known.is_some_and(|(cell, owner)| self.identity.is_reference_in(owner, cell.index))
    }

    /// Are the two one, as their definitions say?
    pub(super) fn are_same(&self, old: Ref, new: Ref) -> bool {
        matches!(self.relation(old, new), Relation::Same(_))
    }

    /// Are the two others than each other, as their definitions say?
    pub(super) fn are_others(&self, old: Ref, new: Ref) -> bool {
        self.relation(old, new) == Relation::Other
    }

    /// What answers to each other by its definition and was met at no place that both sides have:
    /// it was renamed or moved. True when there was something.
    pub(super) fn take_definitions(&mut self) -> Result<bool> {
        if std::mem::replace(&mut self.identity.taken, true) {
            return Ok(false);
        }
        let mut pairs = Vec::new();
        for pair in self.identity.pairs() {
            pairs.try_push(pair)?;
        }
        let mut found = false;
        for (old, new, definition) in pairs {
            let (o, n) = (self.vm.val(old), self.vm.val(new));
            if o.is_table() && n.is_table() {
                if self.are_free(o.addr, n.addr) && !self.was_import(old, new)? {
                    let site = self.site_of(definition)?;
                    let holder = self.identity.incoming.holder(definition);
                    let fit = match holder {
                        Some(Holder::Metatable(_)) => Fit::Merged, // no data (R8.2)
                        _ => self.fit(),
                    };
                    self.pair_tables(old, new, site, fit)?;
                    found = true;
                }
            } else if o.is_function() && n.is_function() {
                // Those that were met need no place.
                let met = self.out.number1(o.addr).zip(self.number2(n.addr));
                let met = match met {
                    Some(met) => Some(met),
                    None => {
                        let site = self.site_of(definition)?;
                        self.function1(old, site)?.zip(self.function2(new, site)?)
                    }
                };
                let edge = met.map(|(f1, f2)| Edge { f1, f2 });
                if let Some(edge) = edge.filter(|edge| self.has_no_partners(edge)) {
                    self.edge(edge)?;
                    found = true;
                }
            }
        }
        Ok(found)
    }

    /// Where the file has put what a definition makes.
    fn site_of(&mut self, definition: DefinitionId) -> Result<SiteId> {
        let made = self.identity.definitions().and_then(|known| {
            let made = known.get(definition)?;
            match (made.kind, made.parent, made.key) {
                (
                    ExpressionKind::Function(_),
                    Parent::Definition(parent),
                    DefinitionKey::Field(name),
                ) => Some((parent, self.vm.string(known.text(name)))),
                _ => None,
            }
        });
        if let Some((parent, key)) = made {
            let site = self.site_of_object(parent)?;
            return self.out.sites.key(site, key?);
        }
        self.site_of_object(definition)
    }

    fn site_of_object(&mut self, definition: DefinitionId) -> Result<SiteId> {
        let mut steps: Vec<Holder> = Vec::new();
        let mut at = Some(definition);
        let mut site = SiteId::MODULE;
        let module = self.vm.val(self.loaded.value);
        while let Some(holder) = at.and_then(|at| self.identity.incoming.holder(at)) {
            let object = at.and_then(|at| self.identity.incoming.object(at));
            let is_module = object.is_some_and(|object| self.vm.val(object) == module);
            if steps.len() > MOST_STEPS || is_module {
                break;
            }
            steps.try_push(holder)?;
            at = match holder {
                Holder::Field(table, _) | Holder::Metatable(table) => {
                    let address = self.vm.val(table).addr;
                    if address == self.vm.val(self.context.globals).addr {
                        site = SiteId::GLOBALS;
                    }
                    self.identity.incoming.definition(address)
                }
                Holder::Module | Holder::Upvalue(..) => None,
            };
        }
        for holder in steps.into_iter().rev() {
            site = match holder {
                Holder::Module => SiteId::MODULE,
                Holder::Field(_, key) => self.out.sites.key(site, key)?,
                Holder::Metatable(_) => self.out.sites.metatable(site)?,
                Holder::Upvalue(function, index) => {
                    self.out.sites.upvalue(SiteId::MODULE, function, index)?
                }
            };
        }
        Ok(site)
    }
}

/// The number of an object of the running program, if it has one.
fn number_of(vm: &Vm, (known, lineage): (&ObjectTable, Lineage), object: Ref) -> Option<i64> {
    let number = known.number(vm.val(object).addr);
    let noted = number.and_then(|number| known.function(number)?.noted);
    noted.map_or_else(|| lineage.of(vm, object), Lineage::number_in)
}

/// The path of a running table, if it is on record.
fn path_of(vm: &Vm, lineage: Lineage, globals: Ref, table: Ref) -> Option<Path> {
    if vm.val(table) == vm.val(globals) {
        return Some(Path::root(vm, Root::Globals.name()));
    }
    lineage.of(vm, table).map(Path::of)
}

/// Where the record has what stands at a place of the running program. `path`: that of the table
/// that holds it, if one does.
fn place_of(
    vm: &Vm,
    record: &Base,
    lineage: Lineage,
    path: Option<Path>,
    holder: Holder,
) -> Option<base::RecordedPlace> {
    match holder {
        Holder::Module => Some(base::RecordedPlace::RESULT),
        Holder::Field(_, key) => Some(path?.place(vm.digest(key)?)),
        Holder::Metatable(_) => Some(path?.metatable()),
        Holder::Upvalue(function, index) => {
            let of_function = lineage.of(vm, function);
            let place = of_function.map(|number| base::local_of(vm, number, function, index));
            let place = place.filter(|place| record.is_there(*place));
            Some(place.unwrap_or_else(|| base::local(vm, function, index)))
        }
    }
}

/// The record of the last load, and the program that it has become.
struct RecordOfLoad<'a> {
    record: &'a Base,
    lineage: Lineage,
    snapshot: &'a Snapshot,
}

impl OnRecord for RecordOfLoad<'_> {
    fn number(&self, vm: &Vm, place: PlaceOnRecord<'_>) -> Option<i64> {
        let place = match place {
            PlaceOnRecord::Result => base::RecordedPlace::RESULT,
            PlaceOnRecord::Local(name) => Path::LOCALS.place(vm.digest_of(name)),
            PlaceOnRecord::Global(name) => {
                Path::root(vm, Root::Globals.name()).place(vm.digest_of(name))
            }
            PlaceOnRecord::Field(table, name) => Path::of(table).place(vm.digest_of(name)),
            PlaceOnRecord::Metatable(table) => Path::of(table).metatable(),
        };
        self.record.get(place)?.number()
    }

    fn running(
        &self,
        vm: &Vm,
        wanted: &FxHashMap<i64, DefinitionId>,
    ) -> Result<Vec<(DefinitionId, Ref)>> {
        let mut found = Vec::new();
        let remembered = (0..self.snapshot.len()).filter_map(|i| self.snapshot.slots_of(i));
        for slots in remembered {
            for KeyValue { value, .. } in slots.slots() {
                if vm.kind(value) == Kind::Table
                    && let Some(number) = self.lineage.of(vm, value)
                    && let Some(definition) = wanted.get(&number)
                {
                    found.try_push((*definition, value))?;
                }
            }
        }
        Ok(found)
    }
}

/// The steps of a path that is told.
pub(super) const MOST_STEPS: usize = 64;
