//! Whether each definition and each variable of a version has the number that it has in another
//! one: then an edit has touched nothing but code and constants.

use rustc_hash::FxHashMap;

use super::Definitions;
use super::types::*;
use crate::support::error::Result;

/// A definition's name: what stands under it later on is another one than the chunk's own.
type NameBelow = (Parent, DefinitionKey, bool);

impl Definitions {
    /// Has this version the functions, definitions and variables of `base` under their names, in
    /// their order? What no name tells apart must have the same content as well.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_numbered_as(&self, base: &Definitions) -> Result<bool> {
        let function = |one: &Proto| (one.parent, one.definition, one.end);
        let are_alike = self.protos.len() == base.protos.len()
            && self.definitions.len() == base.definitions.len()
            && self.variables.len() == base.variables.len()
            && self
                .protos
                .iter()
                .map(function)
                .eq(base.protos.iter().map(function))
            && self
                .definitions
                .iter()
                .zip(&base.definitions)
                .all(|(own, other)| self.is_alike(own, base, other))
            && self
                .variables
                .iter()
                .zip(&base.variables)
                .all(|(own, other)| self.is_variable_alike(own, base, other));
        if !are_alike {
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
            && match own.key {
                // (their order is that of the places)
                DefinitionKey::Element if own.proto == 0 => own.place == other.place,
                _ => own.place.is_some() == other.place.is_some(),
            }
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
