//! R3.7: what the program still has under its name from an older load is not what had another name.
//!
//! ```lua
//! M.c, M.d = class "c", class "d" --> M.c = class "c" --> M.d = class "d": it never was `c`
//! ```

use rustc_hash::FxHashMap;

use super::Pairer;
use super::identity::MOST_STEPS;
use crate::code::align::StandingDefinitions;
use crate::code::definitions::{
    Constant, Definition, DefinitionId, Definitions, Destination, ExpressionKind, Parent, Symbol,
};
use crate::lua::vm::{Kind, Ref};
use crate::model::lineage::Lineage;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

impl Pairer<'_> {
    /// The definitions of the file that the last load did not have, and in whose place the program
    /// has an object of an earlier one.
    pub(super) fn standing(&mut self) -> Result<StandingDefinitions> {
        let mut standing = StandingDefinitions::default();
        let Some(definitions) = self.identity.shared_definitions() else {
            return Ok(standing);
        };
        if !self.identity.has_looks() {
            return Ok(standing);
        }
        let mut places: FxHashMap<DefinitionId, Vec<Destination>> = FxHashMap::default();
        for store in definitions.main_stores() {
            let made = definitions.definition_in(store.value);
            let is_new = |id: &DefinitionId| self.is_new(*id);
            if let Some(id) = made.filter(is_new) {
                if !places.contains_key(&id) {
                    places.try_insert_value(id, Vec::new())?;
                }
                if let Some(places) = places.get_mut(&id) {
                    places.try_push(store.place)?;
                }
            }
        }
        // An object stands before what is put into it.
        let mut objects: Vec<Option<Ref>> = Vec::new();
        objects.try_reserve_exact(definitions.len() as usize)?;
        for (id, made) in definitions.iter() {
            let mut object = match self.identity.base(id) {
                Some((base, reason)) if !reason.is_look() => self.identity.running_object_of(base),
                _ => None,
            };
            let places = places.get(&id).filter(|_| made.is_single());
            for place in places.into_iter().flatten() {
                if let Some(found) = self.object_at(*place, &objects, &definitions)?
                    && self.is_of_earlier_load(found, made)
                {
                    object = Some(found);
                    standing.try_insert_value(id, ())?;
                }
            }
            objects.push(object);
        }
        Ok(standing)
    }

    /// Is it nothing that the last load had, as far as names tell? What is in something that has
    /// another name is new as well.
    fn is_new(&self, id: DefinitionId) -> bool {
        let mut at = Some(id);
        for _ in 0..MOST_STEPS {
            let Some(id) = at else { break };
            if self
                .identity
                .base(id)
                .is_none_or(|(_, reason)| reason.is_look())
            {
                return true;
            }
            let made = self.identity.definitions().and_then(|all| all.get(id));
            at = match made.map(|made| made.parent) {
                Some(Parent::Definition(around)) => Some(around),
                _ => None,
            };
        }
        false
    }

    /// What stands at a place of the running program.
    fn object_at(
        &mut self,
        place: Destination,
        objects: &[Option<Ref>],
        definitions: &Definitions,
    ) -> Result<Option<Ref>> {
        let object_of = |base: Symbol| {
            let id = definitions.definition_in(base)?;
            let object = objects.get(id.0 as usize).copied().flatten();
            object.filter(|object| self.vm.kind(*object) == Kind::Table)
        };
        let (table, name) = match place {
            Destination::Field {
                base,
                key: Symbol::Constant(Constant::String(name)),
            } => (object_of(base), name),
            Destination::Global(name) => (Some(self.context.globals), name),
            Destination::Metatable { base } => {
                let table = object_of(base);
                return table.map(|table| self.vm.metatable(table)).transpose();
            }
            _ => return Ok(None),
        };
        let Some(table) = table else { return Ok(None) };
        let key = self.vm.string(definitions.text(name))?;
        self.vm.get(table, key).map(Some)
    }

    /// Is it an object that a load of the module has made, and the last one not?
    fn is_of_earlier_load(&self, object: Ref, made: &Definition) -> bool {
        let kind = self.vm.kind(object);
        let fits = match made.kind {
            ExpressionKind::Table => kind == Kind::Table,
            ExpressionKind::Function(_) => kind == Kind::Function,
            ExpressionKind::Call(_) => matches!(kind, Kind::Table | Kind::Function),
        };
        let number = || Lineage::number_in(self.lineage.number(self.vm, object)?);
        fits && !self.identity.is_of_one_definition(self.vm, object) && number().is_some()
    }
}
