//! Variables: those of one name in one function, and those that were renamed without a word.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Aligner, AlignmentReason, SameVariable, renamed};
use crate::code::definitions::{ProtoId, Symbol, Variable, VariableId};
use crate::code::grouped::under;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, collected};

/// A digest of a variable's name, and the variable.
type Named = (u64, VariableId);

/// By variables of the base: those of the incoming version that the same functions use.
type UsedAsOne = FxHashMap<VariableId, Option<VariableId>>;

impl Aligner<'_> {
    /// Aligns variables of one name in aligned functions: where several have it, by what they are
    /// initialised with and which functions of one name use them, and then in order if there are as
    /// many.
    pub(super) fn variables(&mut self) -> Result<()> {
        let mut used = None;
        for proto in 0..self.sides[0].of.protos() {
            let Some(other) = self.incoming_proto(proto) else {
                continue;
            };
            let [base, incoming] = &self.sides;
            let (own, other) = (base.of.variables_of(proto), incoming.of.variables_of(other));
            if self.are_alike(own.clone(), other.clone()) {
                for (a, b) in own.zip(other) {
                    self.accept_variable(VariableId(a), VariableId(b), SameVariable::Name);
                }
            } else {
                let (own, other) = (self.by_name(0, own)?, self.by_name(1, other)?);
                self.variables_by_name(&own, &other, &mut used)?;
            }
        }
        Ok(())
    }

    /// Have two functions the same variables, in the same order?
    fn are_alike(&self, own: Range<u32>, other: Range<u32>) -> bool {
        let [base, incoming] = &self.sides;
        let (own, other) = (base.of.variables_in(own), incoming.of.variables_in(other));
        own.size_hint() == other.size_hint()
            && own.zip(other).all(|(a, b)| {
                let contradict = match (a.initialiser, b.initialiser) {
                    (Symbol::Definition(one), Symbol::Definition(two)) => {
                        self.out
                            .incoming(one)
                            .is_some_and(|(found, _)| found != two)
                            || self.out.base(two).is_some_and(|(found, _)| found != one)
                    }
                    _ => false,
                };
                self.name_of(0, a) == self.name_of(1, b) && !contradict
            })
    }

    /// Aligns the variables of two functions, each a name and a variable, sorted.
    fn variables_by_name(
        &mut self,
        own: &[Named],
        other: &[Named],
        used: &mut Option<UsedAsOne>,
    ) -> Result<()> {
        for group in own.chunk_by(|a, b| a.0 == b.0) {
            let others = group.first().map(|(name, _)| under(other, *name));
            let others = others.unwrap_or_default();
            if group.len() > 1 || others.len() > 1 {
                self.variables_by_initialiser(group, others)?;
                if used.is_none() {
                    *used = Some(self.used_as_one()?);
                }
                for (_, a) in group {
                    if let Some(Some(b)) = used.as_ref().and_then(|used| used.get(a))
                        && others.iter().any(|(_, other)| other == b)
                    {
                        self.accept_variable(*a, *b, SameVariable::Name);
                    }
                }
            }
            let free = |list: &[Named], partners: &[Option<(VariableId, SameVariable)>]| {
                let is_free =
                    |id: &VariableId| partners.get(id.0 as usize).is_some_and(Option::is_none);
                let ids = list.iter().map(|(_, id)| *id);
                collected(ids.filter(is_free).map(Ok))
            };
            let own = free(group, &self.out.variables)?;
            let other = free(others, &self.out.variables_back)?;
            if own.len() == other.len() {
                for (a, b) in own.into_iter().zip(other) {
                    self.accept_variable(a, b, SameVariable::Name);
                }
            }
        }
        Ok(())
    }

    /// Which variable of the incoming version the functions of one name use that use a variable of
    /// the base; none where they use several.
    fn used_as_one(&self) -> Result<UsedAsOne> {
        let mut used = UsedAsOne::default();
        let [base, incoming] = &self.sides;
        for proto in 1..base.of.protos() {
            let definition = base.of.proto(proto).and_then(|proto| proto.definition);
            let known = definition.and_then(|id| self.out.incoming(id));
            let is_sure = known.is_some_and(|(_, reason)| !reason.is_look());
            let Some(other) = self.incoming_proto(proto).filter(|_| is_sure) else {
                continue;
            };
            let own = base.of.upvalues_of(proto).flatten();
            for a in own.filter(|a| self.out.incoming_variable(*a).is_none()) {
                let name = self.variable_name(0, a);
                let mut others = incoming.of.upvalues_of(other).flatten();
                let found = others.find(|b| name.is_some() && self.variable_name(1, *b) == name);
                let Some(b) = found else { continue };
                let is_one = used.get(&a).is_none_or(|known| *known == Some(b));
                used.try_insert_value(a, Some(b).filter(|_| is_one))?;
            }
        }
        Ok(used)
    }

    /// Of several variables of one name those are one whose initialisers are one definition.
    fn variables_by_initialiser(&mut self, own: &[Named], other: &[Named]) -> Result<()> {
        let mut by_initialiser = FxHashMap::default();
        for (_, id) in other {
            by_initialiser.try_insert_value(self.initialiser(1, *id), *id)?;
        }
        for (_, id) in own {
            let Symbol::Definition(definition) = self.initialiser(0, *id) else {
                continue;
            };
            if let Some((definition, _)) = self.out.incoming(definition)
                && let Some(found) = by_initialiser.get(&Symbol::Definition(definition))
            {
                self.accept_variable(*id, *found, SameVariable::Name);
            }
        }
        Ok(())
    }

    fn initialiser(&self, side: usize, id: VariableId) -> Symbol {
        let variable = self.sides.get(side).and_then(|side| side.of.variable(id));
        variable.map_or(Symbol::Unknown, |variable| variable.initialiser)
    }

    /// A digest of what a variable is called in the incoming version; none for the compiler's own.
    pub(super) fn variable_name(&self, number: usize, id: VariableId) -> Option<u64> {
        self.name_of(number, self.sides.get(number)?.of.variable(id)?)
    }

    fn name_of(&self, number: usize, variable: &Variable) -> Option<u64> {
        if variable.is_hidden() {
            return None;
        }
        let side = self.sides.get(number)?;
        if number == 0
            && !self.renames.is_empty()
            && let Some(new) = renamed(side.of.text(variable.name), self.renames)
            && let Some(new) = self.sides[1].of.find(new)
        {
            return Some(self.sides[1].of.digest_of(new));
        }
        Some(side.of.digest_of(variable.name))
    }

    fn by_name(&self, side: usize, variables: Range<u32>) -> Result<Vec<Named>> {
        let ids = variables.map(VariableId);
        let mut found =
            collected(ids.filter_map(|id| Some(Ok((self.variable_name(side, id)?, id)))))?;
        found.sort_unstable();
        Ok(found)
    }

    /// Has a function a variable of this name?
    fn has_variable(&self, side: usize, proto: ProtoId, name: Option<u64>) -> bool {
        let of = self.sides.get(side).map(|side| side.of.variables_of(proto));
        of.unwrap_or_default()
            .any(|id| self.variable_name(side, VariableId(id)) == name)
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
    /// Returns whether there are any.
    pub(super) fn renamed_variables(&mut self) -> Result<bool> {
        let mut pairs: FxHashSet<(VariableId, VariableId)> = FxHashSet::default();
        let [base, incoming] = &self.sides;
        let may_be = |variable: &Variable| variable.is_captured && !variable.is_given;
        let partners = self.out.variables.iter().zip(base.of.variables());
        let mut open = partners.filter(|(partner, _)| partner.is_none());
        let has_open = open.any(|(_, (_, variable))| may_be(variable));
        let protos = if has_open { base.of.protos() } else { 0 };
        for proto in 0..protos {
            let Some(other) = self.incoming_proto(proto) else {
                continue;
            };
            let (Some(one), Some(two)) = (base.of.proto(proto), incoming.of.proto(other)) else {
                continue;
            };
            if one.digest.is_equal(two.digest) != Some(true) {
                continue;
            }
            let upvalues = base.of.upvalues_of(proto);
            for both in upvalues.zip(incoming.of.upvalues_of(other)) {
                if let (Some(a), Some(b)) = both
                    && self.is_renamed(a, b)
                {
                    pairs.try_insert_value((a, b), ())?;
                }
            }
        }
        let mut pairs = collected(pairs.into_iter().map(Ok))?;
        pairs.sort_unstable();
        let has_found = !pairs.is_empty();
        for (a, b) in pairs {
            self.accept_variable(a, b, SameVariable::Renamed);
            let both = (self.initialiser(0, a), self.initialiser(1, b));
            if let (Symbol::Definition(one), Symbol::Definition(two)) = both
                && self
                    .out
                    .incoming_variable(a)
                    .is_some_and(|(found, _)| found == b)
            {
                self.accept(one, two, AlignmentReason::Renamed)?;
            }
        }
        self.names()?;
        Ok(has_found)
    }

    fn is_renamed(&self, a: VariableId, b: VariableId) -> bool {
        let [base, incoming] = &self.sides;
        let (Some(one), Some(two)) = (base.of.variable(a), incoming.of.variable(b)) else {
            return false;
        };
        let (name, new_name) = (self.name_of(0, one), self.name_of(1, two));
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
            && !one.is_given
            && !two.is_given
            && is_equal()
            && !self.has_variable(1, two.proto, name)
            && !self.has_variable(0, one.proto, new_name)
    }
}
