//! Puts in order what the interpreter has found: who stores into what, and the name of each
//! definition.

use super::types::*;
use super::{Definitions, NO_TEXT};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Objects whose fields are objects whose fields… are found to this depth.
const ROUNDS: usize = 4;

impl Definitions {
    /// All instructions have been interpreted.
    pub(super) fn finish(&mut self) -> Result<()> {
        let mut open: Vec<StoreId> = Vec::new();
        for (store, id) in self.stores.iter().zip((0..).map(StoreId)) {
            match store.place {
                Destination::Variable(variable) => self.assignments.try_push((variable, id))?,
                Destination::Global(name) => self.globals.try_push((name, id))?,
                Destination::Result { proto, number: 1 } => self.results.try_push((proto, id))?,
                Destination::Result { .. } | Destination::Argument { .. } => {}
                _ => open.try_push(id)?,
            }
        }
        self.assignments.sort_unstable();
        self.globals.sort_unstable();
        self.results.sort_unstable();
        self.find_constants();
        for _ in 0..ROUNDS {
            let before = open.len();
            self.find_objects(&mut open)?;
            if open.len() == before || open.is_empty() {
                break;
            }
        }
        self.find_names()?;
        self.cut_circles()
    }

    /// Finds the definitions into which these stores go, and leaves those for which there are none.
    fn find_objects(&mut self, open: &mut Vec<StoreId>) -> Result<()> {
        let mut found = Vec::new();
        let mut left = Vec::new();
        for id in open.iter().copied() {
            let Some(store) = self.store(id) else {
                continue;
            };
            let (base, key) = match store.place {
                Destination::Field { base, key } => (base, key),
                Destination::Element { base, .. }
                | Destination::Appended { base }
                | Destination::Metatable { base } => (base, Symbol::Unknown),
                _ => continue,
            };
            let key = match key {
                Symbol::Constant(Constant::String(key)) => key,
                _ => NO_TEXT,
            };
            if let Symbol::Definition(base) = base {
                found.try_push(((base, key), id))?;
                continue;
            }
            let bases = match base {
                Symbol::Parameter(..) | Symbol::Import(_) | Symbol::Unknown => continue,
                base => self.resolve(base)?.definitions,
            };
            for base in &bases {
                found.try_push(((*base, key), id))?;
            }
            if bases.is_empty() {
                left.try_push(id)?;
            }
        }
        for into in found {
            self.into.try_push(into)?;
        }
        self.into.sort_unstable();
        *open = left;
        Ok(())
    }

    /// Gives each definition its name: a parent and a key below it.
    fn find_names(&mut self) -> Result<()> {
        // Names of calls ask for the names of what is called.
        for is_call in [false, true] {
            for i in 0..self.definitions.len() {
                let Some(definition) = self.definitions.get(i).copied() else {
                    continue;
                };
                let is_nameless = definition.place.is_none();
                if is_call != (is_nameless && matches!(definition.kind, ExpressionKind::Call(_))) {
                    continue;
                }
                let (parent, key) = self.name_of(&definition)?;
                if let Some(definition) = self.definitions.get_mut(i) {
                    (definition.parent, definition.key) = (parent, key);
                }
            }
        }
        Ok(())
    }

    fn name_of(&self, definition: &Definition) -> Result<(Parent, DefinitionKey)> {
        let own = Parent::Proto(definition.proto);
        let Some(store) = definition.place.and_then(|place| self.store(place)) else {
            let key = match definition.kind {
                ExpressionKind::Call(call) => DefinitionKey::Call(self.call_hash(call)),
                _ => DefinitionKey::Nowhere,
            };
            return Ok((own, key));
        };
        let (base, key) = match store.place {
            Destination::Variable(id) => {
                let variable = self.variable(id);
                return Ok(variable.map_or((own, DefinitionKey::Nowhere), |variable| {
                    (
                        Parent::Proto(variable.proto),
                        DefinitionKey::Local(variable.name),
                    )
                }));
            }
            Destination::Global(name) => {
                return Ok((Parent::Proto(0), DefinitionKey::Global(name)));
            }
            Destination::Result { proto, number } => {
                return Ok((Parent::Proto(proto), DefinitionKey::Result(number)));
            }
            Destination::Argument { call, number } => {
                return Ok((Parent::Definition(call), DefinitionKey::Argument(number)));
            }
            Destination::Field { base, key } => match key {
                Symbol::Constant(Constant::String(key)) => (base, DefinitionKey::Field(key)),
                Symbol::Constant(key) if key.may_be_index() => (base, DefinitionKey::Element),
                key @ Symbol::Constant(_) => (base, DefinitionKey::Place(self.hash_of(key))),
                _ => (base, DefinitionKey::Computed),
            },
            Destination::Element { base, .. } | Destination::Appended { base } => {
                (base, DefinitionKey::Element)
            }
            Destination::Metatable { base } => (base, DefinitionKey::Metatable),
        };
        if let Some(parent) = self.first_meant(base)? {
            return Ok((Parent::Definition(parent), key));
        }
        let below = |hash| DefinitionKey::Place(self.mixed(self.hash_of(base), hash));
        let key = match key {
            DefinitionKey::Field(name) => below(self.digest_of(name)),
            DefinitionKey::Metatable => below(0),
            DefinitionKey::Place(key) => below(key),
            key => key,
        };
        Ok((own, key))
    }

    /// What a call is called by: the function, and its constant arguments that are no numbers.
    pub(super) fn call_hash(&self, id: CallId) -> u64 {
        let Some(call) = self.call(id) else {
            return 0;
        };
        let mut hash = self.hash_of(call.callee);
        for argument in self.list(call.arguments) {
            if let Symbol::Constant(Constant::String(_) | Constant::Boolean(_)) = argument {
                hash = self.mixed(hash, self.hash_of(*argument));
            }
        }
        hash
    }

    /// Parents that are each other's: one of them stands in its function then.
    fn cut_circles(&mut self) -> Result<()> {
        // 0: not seen; else the number of the walk that has seen it, or all walks are done.
        let mut seen: Vec<u32> = Vec::new();
        seen.try_reserve_exact(self.definitions.len())?;
        seen.resize(self.definitions.len(), 0);
        for (start, walk) in (0..self.definitions.len()).zip(1_u32..) {
            let mut at = start;
            while let Some(mark) = seen.get_mut(at) {
                if *mark == walk
                    && let Some(definition) = self.definitions.get_mut(at)
                {
                    (definition.parent, definition.key) =
                        (Parent::Proto(definition.proto), DefinitionKey::Nowhere);
                }
                if *mark != 0 {
                    break;
                }
                *mark = walk;
                match self.definitions.get(at).map(|definition| definition.parent) {
                    Some(Parent::Definition(parent)) => at = parent.0 as usize,
                    _ => break,
                }
            }
        }
        Ok(())
    }
}
