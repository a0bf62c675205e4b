//! Puts in order what the interpreter has found: who stores into what, and the name of each
//! definition.

use super::super::grouped::Grouped;
use super::types::*;
use super::{Definitions, NO_TEXT};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Objects whose fields are objects whose fields… are found to this depth.
const ROUNDS: usize = 4;

impl Definitions {
    /// All instructions have been interpreted.
    pub(super) fn finish(&mut self) -> Result<()> {
        let (mut assignments, mut globals, mut results) = (Vec::new(), Vec::new(), Vec::new());
        for (store, id) in self.stores.iter().zip((0..).map(StoreId)) {
            match store.place {
                Destination::Variable(variable) => assignments.try_push((variable.0, id))?,
                Destination::Global(name) => globals.try_push((name.0, id))?,
                Destination::Result { proto, number: 1 } => results.try_push((proto, id))?,
                _ => {}
            }
        }
        self.assignments = Grouped::of(self.variables.len(), assignments.iter().copied())?;
        self.globals = Grouped::of(self.texts.len(), globals.iter().copied())?;
        self.results = Grouped::of(self.protos.len(), results.iter().copied())?;
        self.find_constants();
        self.find_objects()?;
        self.find_names()?;
        self.cut_circles()
    }

    /// Finds the definitions into which the stores go.
    fn find_objects(&mut self) -> Result<()> {
        let (mut found, mut left) = (Vec::new(), Vec::new());
        for (store, id) in self.stores.iter().zip((0..).map(StoreId)) {
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
            match base {
                Symbol::Definition(base) => found.try_push((base.0, (key, id)))?,
                Symbol::Parameter(..) | Symbol::Import(_) | Symbol::Unknown => {}
                base => left.try_push((base, (key, id)))?,
            }
        }
        for _ in 0..ROUNDS {
            self.into = Grouped::of(self.definitions.len(), found.iter().copied())?;
            self.into.sort();
            let (known, mut open) = (found.len(), Vec::new());
            for (base, entry) in &left {
                let bases = self.resolve(*base)?.definitions;
                for base in &bases {
                    found.try_push((base.0, *entry))?;
                }
                if bases.is_empty() {
                    open.try_push((*base, *entry))?;
                }
            }
            if found.len() == known {
                return Ok(());
            }
            left = open;
        }
        self.into = Grouped::of(self.definitions.len(), found.iter().copied())?;
        self.into.sort();
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

    pub(super) fn name_of(&self, definition: &Definition) -> Result<(Parent, DefinitionKey)> {
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
                Symbol::Constant(_) => (base, DefinitionKey::Place(self.hash_of(key))),
                // (a path of names is a name, whatever number it is by now)
                key if self.is_path(key) => (base, DefinitionKey::Place(self.hash_of(key))),
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
