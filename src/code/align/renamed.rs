//! Whether what is alike is equal but for names that the edit has changed. That is a rename; the
//! rest is a guess.

use rustc_hash::FxHashSet;

use super::{Aligner, AlignmentReason};
use crate::code::definitions::{
    CallId, Constant, DefinitionId, ExpressionKind, Parent, ProtoId, Symbol,
};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// How two values compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Equality {
    Equal,
    /// One has a name that is gone, and the other one a new one.
    ButForNames,
    No,
}

impl Aligner<'_> {
    /// Why two that are alike are one: are they equal but for names?
    pub(super) fn reason_of_likeness(
        &mut self,
        one: DefinitionId,
        other: DefinitionId,
    ) -> Result<AlignmentReason> {
        if self.names.is_none() {
            self.names = Some([self.names_of(0)?, self.names_of(1)?]);
        }
        let is_equal = self.is_renamed_definition(one, other)?;
        Ok(match is_equal {
            true => AlignmentReason::Renamed,
            false => AlignmentReason::Likeness,
        })
    }

    fn names_of(&self, number: usize) -> Result<FxHashSet<u64>> {
        let mut names = FxHashSet::default();
        if let Some(side) = self.sides.get(number) {
            for (_, definition) in side.of.iter() {
                if let Some(text) = side.of.key_text(definition.key) {
                    names.try_insert_value(side.of.digest_of(text), ())?;
                }
            }
        }
        Ok(names)
    }

    /// A name in data tells rows apart: where it differs, an equal function has to say that they
    /// are one.
    fn is_renamed_definition(&self, one: DefinitionId, other: DefinitionId) -> Result<bool> {
        let (mut all, mut has_function) = (Equality::Equal, false);
        let mut work = Vec::new();
        work.try_push((one, other))?;
        while let Some((a, b)) = work.pop() {
            let both = (self.kind_of(0, a), self.kind_of(1, b));
            all = all.max(match both {
                (Some(ExpressionKind::Function(p)), Some(ExpressionKind::Function(q))) => {
                    has_function = true;
                    self.are_functions_equal(p, q)
                }
                (Some(ExpressionKind::Call(p)), Some(ExpressionKind::Call(q))) => {
                    self.are_calls_equal(p, q)
                }
                (Some(ExpressionKind::Table), Some(ExpressionKind::Table)) => Equality::Equal,
                _ => Equality::No,
            });
            let [base, incoming] = &self.sides;
            let (mut own, mut others) = (base.of.stores_into(a), incoming.of.stores_into(b));
            loop {
                let (old, new) = match (own.next(), others.next()) {
                    _ if all == Equality::No => return Ok(false),
                    (None, None) => break,
                    (Some((_, old)), Some((_, new))) => (old, new),
                    _ => return Ok(false),
                };
                let places = (
                    base.of.place_hash(old.place),
                    incoming.of.place_hash(new.place),
                );
                let made = base.of.definition_in(old.value);
                let made = made.zip(incoming.of.definition_in(new.value));
                all = all.max(match made {
                    _ if places.0 != places.1 => Equality::No,
                    Some((p, q)) if self.stands_in(0, p, a) && self.stands_in(1, q, b) => {
                        work.try_push((p, q))?;
                        Equality::Equal
                    }
                    Some((p, q)) if (p, q) == (one, other) || self.are_one(p, q) => Equality::Equal,
                    _ => self.are_values_equal(old.value, new.value),
                });
            }
        }
        Ok(all == Equality::Equal || all == Equality::ButForNames && has_function)
    }

    fn stands_in(&self, number: usize, made: DefinitionId, table: DefinitionId) -> bool {
        let made = self.sides.get(number).and_then(|side| side.get(made));
        made.is_some_and(|made| made.parent == Parent::Definition(table))
    }

    fn are_one(&self, one: DefinitionId, other: DefinitionId) -> bool {
        self.out
            .incoming(one)
            .is_some_and(|(found, _)| found == other)
    }

    /// Have two functions the same code, and those in them?
    fn are_functions_equal(&self, one: ProtoId, other: ProtoId) -> Equality {
        let [base, incoming] = &self.sides;
        let (own, others) = (base.of.code_within(one), incoming.of.code_within(other));
        if own.clone().count() != others.clone().count() {
            return Equality::No;
        }
        let mut all = Equality::Equal;
        for ((code, constants), (other_code, others)) in own.zip(others) {
            if code != other_code || constants.len() != others.len() {
                return Equality::No;
            }
            for (a, b) in base
                .of
                .constants_in(constants)
                .zip(incoming.of.constants_in(others))
            {
                all = all.max(self.are_values_equal(Symbol::Constant(*a), Symbol::Constant(*b)));
            }
        }
        all
    }

    fn are_calls_equal(&self, one: CallId, other: CallId) -> Equality {
        let [base, incoming] = &self.sides;
        let (Some(own), Some(other)) = (base.of.call(one), incoming.of.call(other)) else {
            return Equality::No;
        };
        let (arguments, others) = (
            base.of.list(own.arguments),
            incoming.of.list(other.arguments),
        );
        if arguments.len() != others.len() {
            return Equality::No;
        }
        let pairs = arguments.iter().zip(others);
        let each = pairs.map(|(a, b)| self.are_values_equal(*a, *b));
        let callee = self.are_values_equal(own.callee, other.callee);
        each.fold(callee, Equality::max)
    }

    /// Are two values equal, or strings of which one is a name that the file no longer has, and
    /// the other one a name that is new?
    fn are_values_equal(&self, own: Symbol, other: Symbol) -> Equality {
        let [base, incoming] = &self.sides;
        if let (
            Symbol::Constant(Constant::String(own)),
            Symbol::Constant(Constant::String(other)),
        ) = (own, other)
        {
            let (was, is) = (base.of.digest_of(own), incoming.of.digest_of(other));
            let is_renamed = || {
                self.names.as_ref().is_some_and(|[old, new]| {
                    old.contains(&was)
                        && new.contains(&is)
                        && !old.contains(&is)
                        && !new.contains(&was)
                })
            };
            return match was == is {
                true => Equality::Equal,
                false if is_renamed() => Equality::ButForNames,
                false => Equality::No,
            };
        }
        match base.of.hash_of(own) == incoming.of.hash_of(other) {
            true => Equality::Equal,
            false => Equality::No,
        }
    }
}
