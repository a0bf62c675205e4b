//! Whether each definition and each variable of a version has the number that it has in another
//! one: then an edit has touched nothing but code and constants, or variables at the most.

use rustc_hash::FxHashMap;

use super::Definitions;
use super::features::MOST_TOKENS;
use super::types::*;
use crate::support::error::Result;
use crate::support::mem::{TryPush, counted};

/// A definition's name: what stands under it later on is another one than the chunk's own.
type NameBelow = (Parent, DefinitionKey, bool);

impl Definitions {
    /// Has this version the functions and definitions of `base` under their names, in their
    /// order? What no name tells apart must have the same content as well.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_numbered_as(&self, base: &Definitions) -> Result<bool> {
        if self.definitions.is(&base.definitions) {
            return Ok(self.has_names_of(base) && self.has_content_of(base)?);
        }
        let function = |one: &Proto| (one.parent, one.definition, one.end);
        let are_alike = self.protos.len() == base.protos.len()
            && self.definitions.len() == base.definitions.len()
            && self
                .protos
                .iter()
                .map(function)
                .eq(base.protos.iter().map(function))
            && self
                .definitions
                .iter()
                .zip(base.definitions.iter())
                .all(|(own, other)| self.is_alike(own, base, other));
        if !are_alike || !self.has_order_of(base)? {
            return Ok(false);
        }
        let is_same = |id: DefinitionId| {
            let symbol = Symbol::Definition(id);
            self.content_of(symbol) == base.content_of(symbol)
                && self.code_of(id) == base.code_of(id)
        };
        let mut names: FxHashMap<NameBelow, DefinitionId> = FxHashMap::default();
        names.try_reserve(self.definitions.len())?;
        for (id, definition) in self.iter() {
            let are_same = match definition.key.is_sequence() {
                true => is_same(id),
                false => match names.insert(name_of(definition), id) {
                    Some(former) => is_same(former) && is_same(id),
                    None => true,
                },
            };
            if !are_same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of two versions that have one list of definitions: have these the same names in both?
    fn has_names_of(&self, base: &Definitions) -> bool {
        self.has_texts_of(base)
            || self.definitions.iter().all(|one| match one.key {
                DefinitionKey::Local(name)
                | DefinitionKey::Global(name)
                | DefinitionKey::Field(name) => self.digest_of(name) == base.digest_of(name),
                _ => true,
            })
    }

    /// Of two versions that number their texts alike: are these the same?
    fn has_texts_of(&self, base: &Definitions) -> bool {
        let both = || self.texts.iter().zip(base.texts.iter());
        self.numbers.is(&base.numbers) || both().all(|(own, other)| own.digest == other.digest)
    }

    /// Of two versions that have one list of definitions: has what no name tells apart the same
    /// content in both?
    fn has_content_of(&self, base: &Definitions) -> Result<bool> {
        let has_lists = self.lists.is(&base.lists) && self.has_texts_of(base);
        let is_function_same = |id: DefinitionId| match self.get(id).map(|one| one.kind) {
            Some(ExpressionKind::Function(proto)) => {
                let digest = |of: &Definitions| of.proto(proto).map(|proto| proto.digest);
                digest(self) == digest(base)
            }
            _ => true,
        };
        let is_value_same = |own: Symbol, other: Symbol| match (own, other) {
            (Symbol::Definition(id), Symbol::Definition(other)) => {
                id == other && is_function_same(id)
            }
            _ => self.hash_of(own) == base.hash_of(other),
        };
        Ok(self.nameless()?.iter().all(|id| {
            let kind = self.get(*id).map(|one| one.kind);
            match kind {
                Some(ExpressionKind::Table) => {
                    let (own, others) = (self.stores_into(*id), base.stores_into(*id));
                    own.take(MOST_TOKENS)
                        .zip(others)
                        .all(|((_, own), (_, other))| is_value_same(own.value, other.value))
                }
                Some(ExpressionKind::Function(_)) => is_function_same(*id),
                _ => {
                    let symbol = Symbol::Definition(*id);
                    has_lists || self.content_of(symbol) == base.content_of(symbol)
                }
            }
        }))
    }

    /// The definitions that no name tells apart: elements of sequences, and several of one name.
    fn nameless(&self) -> Result<&[DefinitionId]> {
        if let Some(known) = self.nameless.get() {
            return Ok(known);
        }
        let mut names: FxHashMap<NameBelow, DefinitionId> = FxHashMap::default();
        names.try_reserve(self.definitions.len())?;
        let mut nameless = Vec::new();
        for (id, definition) in self.iter() {
            if definition.key.is_sequence() {
                nameless.try_push(id)?;
            } else if let Some(former) = names.insert(name_of(definition), id) {
                nameless.try_push(former)?;
                nameless.try_push(id)?;
            }
        }
        let nameless = counted(nameless)?;
        Ok(self.nameless.get_or_init(|| nameless))
    }

    fn is_alike(&self, own: &Definition, base: &Definitions, other: &Definition) -> bool {
        let rest = |one: &Definition| (one.kind, one.proto, one.in_loop, one.parent);
        let text = |a, b| self.digest_of(a) == base.digest_of(b);
        rest(own) == rest(other)
            && match (own.key, other.key) {
                (DefinitionKey::Local(a), DefinitionKey::Local(b))
                | (DefinitionKey::Global(a), DefinitionKey::Global(b))
                | (DefinitionKey::Field(a), DefinitionKey::Field(b)) => text(a, b),
                (a, b) => a == b,
            }
            && own.place.is_some() == other.place.is_some()
    }

    /// Stand the elements of lists in the same order as those with the same numbers? (It is that of
    /// their places.)
    fn has_order_of(&self, base: &Definitions) -> Result<bool> {
        let mut places = Vec::new();
        for (own, other) in self.definitions.iter().zip(base.definitions.iter()) {
            if own.key == DefinitionKey::Element && own.proto == 0 {
                places.try_push((own.place, other.place))?;
            }
        }
        places.sort_unstable();
        Ok(places.is_sorted_by_key(|(_, other)| *other))
    }

    /// Is something stored in each object under the names of the other version, and no others?
    pub fn has_fields_of(&self, base: &Definitions) -> bool {
        self.into.is(&base.into) && self.has_texts_of(base)
    }

    /// Has each variable the number that it has in `base`?
    pub fn has_variables_of(&self, base: &Definitions) -> bool {
        let mut both = self.variables.iter().zip(base.variables.iter());
        self.definitions.is(&base.definitions) && self.has_texts_of(base)
            || self.variables.len() == base.variables.len()
                && both.all(|(own, other)| self.is_variable_alike(own, base, other))
    }

    fn is_variable_alike(&self, own: &Variable, base: &Definitions, other: &Variable) -> bool {
        let rest = |one: &Variable| (one.proto, one.is_given, one.is_hidden);
        let definition = |one: &Variable| match one.initialiser {
            Symbol::Definition(id) => Some(id),
            _ => None,
        };
        rest(own) == rest(other)
            && definition(own) == definition(other)
            && self.digest_of(own.name) == base.digest_of(other.name)
    }
}

fn name_of(definition: &Definition) -> NameBelow {
    (definition.parent, definition.key, definition.proto != 0)
}
