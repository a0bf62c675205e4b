//! What a definition looks like, for telling whether one of another version is like it.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::super::text_at;
use super::Definitions;
use super::types::*;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Things of one kind that are looked at in one definition.
pub(super) const MOST_TOKENS: usize = 1024;

/// Fields of fields that a path of names has.
const DEEPEST: usize = 16;

/// What a definition looks like. Lists are sorted.
#[derive(Default)]
pub(in crate::code) struct DefinitionFeatures {
    /// How often each operation stands in a function's code, and in that of the functions in it.
    operations: FxHashMap<u8, u32>,
    /// Constants of the code; what stands under each key of a table; arguments of a call.
    pub(in crate::code) constants: Vec<u64>,
    /// Names of locals and upvalues; keys of a table.
    pub(in crate::code) names: Vec<u64>,
    /// How much there is of it.
    size: usize,
    /// The number of parameters; the callee of a call.
    head: u64,
}

/// What tells an element of a list from the others.
#[derive(Default)]
pub(in crate::code) struct ElementTokens {
    /// Strings.
    pub(in crate::code) strings: Vec<u64>,
    /// What has a name in the text; the key under which the text puts the element itself.
    pub(in crate::code) hints: Vec<u64>,
    /// Numbers.
    pub(in crate::code) numbers: Vec<u64>,
}

impl Definitions {
    /// A key, as it is called in any version.
    pub(in crate::code) fn key_hash(&self, key: DefinitionKey) -> u64 {
        match key {
            DefinitionKey::Local(name) => self.mixed(1, self.digest_of(name)),
            DefinitionKey::Global(name) => self.mixed(2, self.digest_of(name)),
            DefinitionKey::Field(name) => self.mixed(3, self.digest_of(name)),
            DefinitionKey::Result(number) => 4 << 8 | u64::from(number),
            DefinitionKey::Metatable => 5 << 8,
            DefinitionKey::Argument(number) => 6 << 8 | u64::from(number),
            DefinitionKey::Call(hash) => self.mixed(7, hash),
            DefinitionKey::Place(hash) => self.mixed(8, hash),
            DefinitionKey::Element => 9 << 8,
            DefinitionKey::Computed => 10 << 8,
            DefinitionKey::Nowhere => 11 << 8,
        }
    }

    /// The key under another name.
    pub(in crate::code) fn renamed_key_hash(&self, key: DefinitionKey, name: &[u8]) -> u64 {
        let digest = self.secret.digest(name);
        match key {
            DefinitionKey::Local(_) => self.mixed(1, digest),
            DefinitionKey::Global(_) => self.mixed(2, digest),
            DefinitionKey::Field(_) => self.mixed(3, digest),
            key => self.key_hash(key),
        }
    }

    /// The last name of a key.
    pub fn key_text(&self, key: DefinitionKey) -> Option<StringId> {
        match key {
            DefinitionKey::Local(name)
            | DefinitionKey::Global(name)
            | DefinitionKey::Field(name) => Some(name),
            _ => None,
        }
    }

    /// What tells an element of a list from the others, each with its key: what stands in a table,
    /// and what a call gets. Sorted.
    pub(in crate::code) fn tokens_of(&self, id: DefinitionId) -> Result<ElementTokens> {
        let mut tokens = ElementTokens::default();
        let mut note = |place: u64, value: Symbol| {
            let list = match value {
                Symbol::Constant(Constant::String(_)) => &mut tokens.strings,
                Symbol::Constant(Constant::Integer(_) | Constant::Float(_)) => &mut tokens.numbers,
                _ if self.is_path(value) => &mut tokens.hints,
                _ => return Ok(()),
            };
            list.try_push(self.mixed(place, self.hash_of(value)))
        };
        match self.get(id).map(|definition| definition.kind) {
            Some(ExpressionKind::Table) => {
                for (_, store) in self.stores_into(id).take(MOST_TOKENS) {
                    note(self.place_hash(store.place), store.value)?;
                }
            }
            Some(ExpressionKind::Call(call)) => {
                let arguments = self.call(call).map(|call| self.list(call.arguments));
                for (argument, number) in arguments.unwrap_or_default().iter().zip(1..) {
                    note(number, *argument)?;
                    for (_, store) in self.stores_into_given(*argument).take(MOST_TOKENS) {
                        note(
                            self.mixed(number, self.place_hash(store.place)),
                            store.value,
                        )?;
                    }
                }
            }
            _ => {}
        }
        if let Some(Destination::Field { key, .. }) = self.definition_place(id)
            && matches!(key, Symbol::Constant(key) if key.may_be_index())
        {
            tokens.hints.try_push(self.mixed(25, self.hash_of(key)))?;
        }
        for list in [&mut tokens.strings, &mut tokens.hints, &mut tokens.numbers] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(tokens)
    }

    /// What stands in a table that a call is given.
    fn stores_into_given(&self, argument: Symbol) -> impl Iterator<Item = (StoreId, &Store)> {
        let table = match argument {
            Symbol::Definition(id) => Some(id),
            _ => None,
        };
        let is_table = |id: &DefinitionId| {
            matches!(
                self.get(*id).map(|one| one.kind),
                Some(ExpressionKind::Table)
            )
        };
        let table = table.filter(is_table);
        table.into_iter().flat_map(|table| self.stores_into(table))
    }

    /// Is it called by names alone that code does not assign: `OP.CHAT`, `CHAT`? Then the text says
    /// what it is, whatever its value is by now.
    pub(super) fn is_path(&self, mut symbol: Symbol) -> bool {
        let mut is_field = false;
        for _ in 0..DEEPEST {
            match symbol {
                Symbol::Field(field) => match self.field(field) {
                    Some((base, Symbol::Constant(Constant::String(_)))) => symbol = base,
                    _ => return false,
                },
                Symbol::Global(_) => return true,
                Symbol::Import(_) | Symbol::Definition(_) => return is_field,
                Symbol::Variable(id) => {
                    let variable = self.variable(id).filter(|variable| !variable.is_given);
                    return variable.is_some_and(|one| is_field || one.is_constant);
                }
                _ => return false,
            }
            is_field = true;
        }
        false
    }

    /// A digest of a definition's code: that of a function, those of the functions that a table
    /// has, what a call calls with which constants and functions. None where there is nothing of
    /// it.
    pub(in crate::code) fn code_of(&self, id: DefinitionId) -> Option<u64> {
        let function = |id| self.function_digest(id).map(|digest| digest.bits);
        match self.get(id)?.kind {
            ExpressionKind::Function(_) => function(id),
            ExpressionKind::Call(call) => {
                let given = self.list(self.call(call)?.arguments);
                let given = given.iter().filter_map(|argument| match *argument {
                    Symbol::Definition(id) => function(id).or_else(|| {
                        let code = self.code_of(id)?;
                        Some(self.mixed(code, self.content_of(*argument)))
                    }),
                    _ => None,
                });
                Some(given.fold(self.call_hash(call), |all, code| self.mixed(all, code)))
            }
            ExpressionKind::Table => {
                let mut whole = None;
                for (_, store) in self.stores_into(id).take(MOST_TOKENS) {
                    if let Symbol::Definition(value) = store.value
                        && let Some(code) = function(value)
                    {
                        let hash = self.mixed(self.place_hash(store.place), code);
                        whole = Some(self.mixed(whole.unwrap_or(0), hash));
                    }
                }
                whole
            }
        }
    }

    /// A digest of all that is known of a value.
    pub(in crate::code) fn content_of(&self, symbol: Symbol) -> u64 {
        let Symbol::Definition(id) = symbol else {
            return self.hash_of(symbol);
        };
        match self.get(id).map(|definition| definition.kind) {
            Some(ExpressionKind::Table) => {
                let stores = self.stores_into(id).take(MOST_TOKENS);
                let all = stores.map(|(_, store)| self.stored_hash(store));
                all.fold(20, u64::wrapping_add)
            }
            Some(ExpressionKind::Function(proto)) => {
                self.proto(proto).map_or(0, |proto| proto.digest.bits)
            }
            Some(ExpressionKind::Call(call)) => {
                let call = self.call(call);
                let arguments = call
                    .map(|call| self.list(call.arguments))
                    .unwrap_or_default();
                let callee = call.map_or(0, |call| self.hash_of(call.callee));
                let hashes = arguments.iter().map(|argument| self.hash_of(*argument));
                hashes.fold(callee, |all, hash| self.mixed(all, hash))
            }
            None => 0,
        }
    }

    pub(in crate::code) fn place_hash(&self, place: Destination) -> u64 {
        match place {
            Destination::Field { key, .. } => self.hash_of(key),
            Destination::Element { .. } => 21,
            Destination::Appended { .. } => 22,
            Destination::Metatable { .. } => 23,
            _ => 24,
        }
    }

    fn stored_hash(&self, store: &Store) -> u64 {
        self.mixed(self.place_hash(store.place), self.hash_of(store.value))
    }

    /// What a definition looks like.
    pub(in crate::code) fn features(&self, id: DefinitionId) -> Result<DefinitionFeatures> {
        let mut features = DefinitionFeatures::default();
        match self.get(id).map(|definition| definition.kind) {
            Some(ExpressionKind::Function(proto)) => {
                self.function_features(proto, &mut features)?
            }
            Some(ExpressionKind::Call(call)) => {
                if let Some(call) = self.call(call) {
                    features.head = self.hash_of(call.callee);
                    let arguments = self.list(call.arguments);
                    for (argument, number) in arguments.iter().zip(1..) {
                        let hash = self.mixed(number, self.hash_of(*argument));
                        features.constants.try_push(hash)?;
                    }
                    features.size = arguments.len();
                }
            }
            _ => {}
        }
        if !matches!(
            self.get(id).map(|one| one.kind),
            Some(ExpressionKind::Function(_))
        ) {
            self.content_features(id, &mut features)?;
        }
        features.constants.sort_unstable();
        features.names.sort_unstable();
        Ok(features)
    }

    /// What stands in an object, and in the tables in it. That it refers to itself is no content,
    /// nor is what a function is called: the function's code is.
    fn content_features(&self, id: DefinitionId, features: &mut DefinitionFeatures) -> Result<()> {
        let mut work = Vec::new();
        work.try_push((id, 0))?;
        while let Some((table, around)) = work.pop() {
            for (_, store) in self.stores_into(table).take(MOST_TOKENS) {
                if features.names.len() == MOST_TOKENS {
                    return Ok(());
                }
                let name = match around {
                    0 => self.place_hash(store.place),
                    _ => self.mixed(around, self.place_hash(store.place)),
                };
                features.names.try_push(name)?;
                features.size += 1;
                let made = self.definition_in(store.value);
                let content = match made.and_then(|made| Some((made, self.get(made)?))) {
                    Some((made, _)) if made == id => continue,
                    Some((made, one)) if one.parent == Parent::Definition(table) => {
                        match one.kind {
                            ExpressionKind::Function(_) => self.code_of(made).unwrap_or(0),
                            ExpressionKind::Table => {
                                work.try_push((made, name))?;
                                continue;
                            }
                            ExpressionKind::Call(_) => self.content_of(Symbol::Definition(made)),
                        }
                    }
                    _ => self.hash_of(store.value),
                };
                features.constants.try_push(self.mixed(name, content))?;
            }
        }
        Ok(())
    }

    /// The instructions of a function and of those in it, each with the numbers of its constants.
    pub(in crate::code) fn code_within(
        &self,
        proto: ProtoId,
    ) -> impl Iterator<Item = (&[u8], Range<usize>)> + Clone {
        let end = self.proto(proto).map_or(proto, |own| own.end);
        let all = self.protos.range(proto as usize..end as usize);
        all.map(|one| {
            let (first, count) = one.constants;
            let constants = first as usize..(first + count) as usize;
            (text_at(&self.dump, one.code), constants)
        })
    }

    /// Constants by their numbers.
    pub(in crate::code) fn constants_in(
        &self,
        numbers: Range<usize>,
    ) -> impl Iterator<Item = &Constant> {
        self.constants.range(numbers)
    }

    /// The definition that a value is: its own expression, or a local's that is made for that.
    pub fn definition_in(&self, value: Symbol) -> Option<DefinitionId> {
        match value {
            Symbol::Definition(made) => Some(made),
            Symbol::Variable(id) => match self.variable(id)?.initialiser {
                Symbol::Definition(made) => Some(made),
                _ => None,
            },
            _ => None,
        }
    }

    fn function_features(&self, proto: ProtoId, features: &mut DefinitionFeatures) -> Result<()> {
        let Some(own) = self.proto(proto) else {
            return Ok(());
        };
        features.head = own.params.into();
        for inner in self.protos.range(proto as usize..own.end as usize) {
            let code = text_at(&self.dump, inner.code);
            for first in code.iter().step_by(4).take(MOST_TOKENS) {
                let operation = first & 0x7f;
                let count = features.operations.get(&operation).copied().unwrap_or(0);
                features.operations.try_insert_value(operation, count + 1)?;
            }
            features.size += code.len() / 4;
            let (first, count) = inner.constants;
            let constants = first as usize..(first + count) as usize;
            for constant in self.constants.range(constants) {
                if features.constants.len() < MOST_TOKENS {
                    let hash = self.hash_of(Symbol::Constant(*constant));
                    features.constants.try_push(hash)?;
                }
            }
            if features.size > MOST_TOKENS * 4 {
                break;
            }
        }
        for index in 0..own.upvalues {
            if let Some(variable) = self.upvalue(proto, index).and_then(|id| self.variable(id)) {
                features.names.try_push(self.digest_of(variable.name))?;
            }
        }
        let locals = own.locals.0 as usize..(own.locals.0 + own.locals.1) as usize;
        for variable in self.variables.range(locals) {
            if features.names.len() < MOST_TOKENS {
                features.names.try_push(self.digest_of(variable.name))?;
            }
        }
        Ok(())
    }
}

impl DefinitionFeatures {
    /// Is there too little of it to tell it from others?
    pub(in crate::code) fn is_small(&self) -> bool {
        self.size < 4
    }

    /// Do two tables, or what two calls make, share something that says what they are? Keys alone
    /// do not, nor does what is called: one is gone and another is new then, and they are not each
    /// other's state.
    pub(in crate::code) fn share_content(&self, other: &DefinitionFeatures) -> bool {
        let mut own = self.constants.iter();
        own.any(|one| other.constants.binary_search(one).is_ok())
    }

    /// How like two definitions of one kind are, from 0 to 1.
    pub(in crate::code) fn likeness(
        &self,
        other: &DefinitionFeatures,
        kind: ExpressionKind,
    ) -> f64 {
        let constants = shared(&self.constants, &other.constants);
        let names = shared(&self.names, &other.names);
        let head = f64::from(self.head == other.head);
        match kind {
            ExpressionKind::Function(_) => {
                let count =
                    |all: &FxHashMap<u8, u32>, operation| all.get(&operation).copied().unwrap_or(0);
                let (mut both, mut either) = (0, 0);
                for operation in 0..128 {
                    let a = count(&self.operations, operation);
                    let b = count(&other.operations, operation);
                    (both, either) = (both + a.min(b), either + a.max(b));
                }
                let operations = f64::from(both) / f64::from(either.max(1));
                let likeness = 0.4 * operations + 0.25 * constants + 0.2 * names + 0.05 * head;
                if self.is_small() {
                    0.7 * likeness
                } else {
                    likeness
                }
            }
            ExpressionKind::Call(_) => 0.2 * head + 0.5 * constants + 0.2 * names,
            ExpressionKind::Table => 0.6 * constants + 0.3 * names,
        }
    }
}

/// Of what stands in one of two sorted lists, the part that stands in both.
fn shared(a: &[u64], b: &[u64]) -> f64 {
    if a.is_empty() && b.is_empty() {
        return 1.0;
    }
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    let (mut both, mut either) = (0_u32, 0_u32);
    while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
        let order = x.cmp(y);
        if order.is_le() {
            left.next();
        }
        if order.is_ge() {
            right.next();
        }
        both += u32::from(order.is_eq());
        either += 1;
    }
    let either = either as usize + left.count() + right.count();
    f64::from(both) / either.max(1) as f64
}
