//! Variables: those of one name in one function, and those that were renamed without a word.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Aligner, AlignmentReason, SameVariable, renamed};
use crate::code::definitions::{ProtoId, Symbol, VariableId};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Variables by the function that declares them and the digest of their name.
type ByName = FxHashMap<(ProtoId, u64), Vec<VariableId>>;

impl Aligner<'_> {
    /// Aligns variables of one name in aligned functions: where several have it, by what they are
    /// initialised with, and then in order if there are as many.
    pub(super) fn variables(&mut self) -> Result<()> {
        let (old, new) = (self.by_name(0)?, self.by_name(1)?);
        for ((proto, name), own) in &old {
            let Some(other) = self
                .incoming_proto(*proto)
                .and_then(|proto| new.get(&(proto, *name)))
            else {
                continue;
            };
            let free = |list: &[VariableId], partners: &[Option<(VariableId, SameVariable)>]| {
                let is_free =
                    |id: &&VariableId| partners.get(id.0 as usize).is_some_and(Option::is_none);
                crate::support::mem::collected(list.iter().filter(is_free).map(|id| Ok(*id)))
            };
            let mut own = free(own, &self.out.variables)?;
            let mut other = free(other, &self.out.variables_back)?;
            if own.len() > 1 || other.len() > 1 {
                let mut by_initialiser = FxHashMap::default();
                for id in &other {
                    by_initialiser.try_insert_value(self.initialiser(1, *id), *id)?;
                }
                let mut known = Vec::new();
                for id in &own {
                    let Symbol::Definition(definition) = self.initialiser(0, *id) else {
                        continue;
                    };
                    if let Some((definition, _)) = self.out.incoming(definition)
                        && let Some(found) = by_initialiser.get(&Symbol::Definition(definition))
                    {
                        known.try_push((*id, *found))?;
                    }
                }
                for (a, b) in known {
                    self.accept_variable(a, b, SameVariable::Name);
                }
                (own, other) = (
                    free(&own, &self.out.variables)?,
                    free(&other, &self.out.variables_back)?,
                );
            }
            if own.len() == other.len() {
                for (a, b) in own.into_iter().zip(other) {
                    self.accept_variable(a, b, SameVariable::Name);
                }
            }
        }
        Ok(())
    }

    fn initialiser(&self, side: usize, id: VariableId) -> Symbol {
        let variable = self.sides.get(side).and_then(|side| side.of.variable(id));
        variable.map_or(Symbol::Unknown, |variable| variable.initialiser)
    }

    fn by_name(&self, number: usize) -> Result<ByName> {
        let mut found = ByName::default();
        let Some(side) = self.sides.get(number) else {
            return Ok(found);
        };
        for (id, variable) in side
            .of
            .variables()
            .filter(|(_, variable)| !variable.is_hidden())
        {
            let new = match number {
                0 => renamed(side.of.text(variable.name), self.renames),
                _ => None,
            };
            let name = match new.and_then(|new| self.sides.get(1)?.of.find(new)) {
                Some(new) => self.sides.get(1).map_or(0, |side| side.of.digest_of(new)),
                None => side.of.digest_of(variable.name),
            };
            let key = (variable.proto, name);
            if !found.contains_key(&key) {
                found.try_insert_value(key, Vec::new())?;
            }
            if let Some(list) = found.get_mut(&key) {
                list.try_push(id)?;
            }
        }
        Ok(found)
    }

    fn accept_variable(&mut self, a: VariableId, b: VariableId, why: SameVariable) {
        if let (Some(own), Some(other)) = (
            self.out.variables.get_mut(a.0 as usize),
            self.out.variables_back.get_mut(b.0 as usize),
        ) && own.is_none()
            && other.is_none()
        {
            (*own, *other) = (Some((b, why)), Some((a, why)));
        }
    }

    /// A variable goes on under a new name if a function that captures it has equal code but for
    /// the name, the old name is gone, the new one is new, and the initialisers are equal.
    pub(super) fn renamed_variables(&mut self) -> Result<()> {
        let (old, new) = (self.by_name(0)?, self.by_name(1)?);
        let mut pairs: FxHashSet<(VariableId, VariableId)> = FxHashSet::default();
        let [base, incoming] = &self.sides;
        for proto in 0..base.of.protos() {
            let Some(other) = self.incoming_proto(proto) else {
                continue;
            };
            let (Some(one), Some(two)) = (base.of.proto(proto), incoming.of.proto(other)) else {
                continue;
            };
            if one.digest.is_equal(two.digest) != Some(true) {
                continue;
            }
            for index in 0..one.upvalues {
                if let (Some(a), Some(b)) = (
                    base.of.upvalue(proto, index),
                    incoming.of.upvalue(other, index),
                ) && self.is_renamed(a, b, &old, &new)
                {
                    pairs.try_insert_value((a, b), ())?;
                }
            }
        }
        let mut pairs = crate::support::mem::collected(pairs.into_iter().map(Ok))?;
        pairs.sort_unstable();
        for (a, b) in pairs {
            self.accept_variable(a, b, SameVariable::Renamed);
            let both = (self.initialiser(0, a), self.initialiser(1, b));
            if let (Symbol::Definition(one), Symbol::Definition(two)) = both
                && self
                    .out
                    .incoming_variable(a)
                    .is_some_and(|(found, _)| found == b)
            {
                self.accept(one, two, AlignmentReason::Likeness)?;
            }
        }
        self.names()
    }

    fn is_renamed(&self, a: VariableId, b: VariableId, old: &ByName, new: &ByName) -> bool {
        let [base, incoming] = &self.sides;
        let (Some(one), Some(two)) = (base.of.variable(a), incoming.of.variable(b)) else {
            return false;
        };
        let (name, new_name) = (base.of.digest_of(one.name), incoming.of.digest_of(two.name));
        let is_equal = || {
            let partners = match (one.initialiser, two.initialiser) {
                (Symbol::Definition(one), Symbol::Definition(two)) => {
                    self.out.incoming(one).map(|(found, _)| found == two)
                }
                _ => None,
            };
            partners.unwrap_or_else(|| {
                base.of.content_of(one.initialiser) == incoming.of.content_of(two.initialiser)
            })
        };
        name != new_name
            && self.out.incoming_variable(a).is_none()
            && self.out.base_variable(b).is_none()
            && self.incoming_proto(one.proto) == Some(two.proto)
            && !new.contains_key(&(two.proto, name))
            && !old.contains_key(&(one.proto, new_name))
            && !one.is_given
            && !two.is_given
            && is_equal()
    }
}
