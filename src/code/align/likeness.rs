//! What is left once names are aligned: a definition that is gone and one that is new are one if
//! they are much more like each other than like any other.

use rustc_hash::FxHashMap;

use super::{Aligner, kind};
use crate::code::definitions::{DefinitionFeatures, DefinitionId, ExpressionKind, Parent};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// The least likeness of two that are one, and how much less like every other one must be.
const LEAST: f64 = 0.5;
const MARGIN: f64 = 0.08;
/// So many pairs are all compared. Beyond that only those are that share something rare.
const MOST_PAIRS: usize = 4096;
/// Definitions that share one name or constant: more of them make it nothing rare.
const MOST_SHARING: usize = 16;
/// Definitions that one is compared with.
const MOST_CANDIDATES: usize = 32;
/// What was renamed may make other names known.
const ROUNDS: usize = 8;

/// A definition that is left.
struct LeftDefinition {
    id: DefinitionId,
    features: DefinitionFeatures,
}

/// The best and the second best likeness, and with which one the best is.
#[derive(Clone, Copy, Default)]
struct BestMatch {
    most: f64,
    second: f64,
    with: usize,
    is_enough: bool,
}

impl BestMatch {
    /// `beside`: what stands beside them. It tells one from others that are as like, and never
    /// makes two alike.
    fn note(&mut self, likeness: f64, beside: f64, with: usize) {
        let whole = likeness + beside;
        if whole > self.most {
            *self = BestMatch {
                most: whole,
                second: self.most,
                with,
                is_enough: likeness >= LEAST,
            };
        } else {
            self.second = self.second.max(whole);
        }
    }

    fn is_clear(&self) -> bool {
        self.is_enough && self.most - self.second >= MARGIN
    }
}

impl Aligner<'_> {
    /// Aligns by likeness, until nothing is left that is like another one.
    pub(super) fn likenesses(&mut self) -> Result<()> {
        for _ in 0..ROUNDS {
            let (left, right) = (self.left(0)?, self.left(1)?);
            if left.is_empty() || right.is_empty() {
                return Ok(());
            }
            let mut best = [Vec::new(), Vec::new()];
            for (best, count) in best.iter_mut().zip([left.len(), right.len()]) {
                best.try_reserve_exact(count)?;
                best.resize(count, BestMatch::default());
            }
            let [own, others] = &mut best;
            self.out.passed_over = 0;
            let is_small = left.len().saturating_mul(right.len()) <= MOST_PAIRS;
            let sharing = if is_small {
                FxHashMap::default()
            } else {
                self.sharing(&right)?
            };
            for ((i, one), own) in left.iter().enumerate().zip(own) {
                let candidates = match is_small {
                    true => None,
                    false => Some(self.candidates(one, &sharing)?),
                };
                let all = 0..if is_small { right.len() } else { 0 };
                for j in all.chain(candidates.into_iter().flatten()) {
                    let Some(other) = right.get(j) else {
                        continue;
                    };
                    let likeness = self.likeness(one, other);
                    let beside = match likeness > 0.0 {
                        true => self.beside(one.id, other.id),
                        false => 0.0,
                    };
                    own.note(likeness, beside, j);
                    if let Some(others) = others.get_mut(j) {
                        others.note(likeness, beside, i);
                    }
                }
            }
            let [own, others] = best;
            let mut has_found = false;
            for ((i, one), best) in left.iter().enumerate().zip(&own) {
                if let Some(back) = others.get(best.with)
                    && best.is_clear()
                    && back.is_clear()
                    && back.with == i
                    && let Some(other) = right.get(best.with)
                {
                    let reason = self.reason_of_likeness(one.id, other.id)?;
                    has_found |= self.accept(one.id, other.id, reason)?;
                }
            }
            if !has_found {
                return Ok(());
            }
            self.names()?;
            self.kinds()?;
        }
        Ok(())
    }

    /// The definitions that have a place and no partner. Calls in functions other than the main one
    /// make values of the moment: they are left out.
    fn left(&self, number: usize) -> Result<Vec<LeftDefinition>> {
        let mut left = Vec::new();
        let Some(side) = self.sides.get(number) else {
            return Ok(left);
        };
        for (id, definition) in side.of.iter() {
            let is_of_the_moment =
                matches!(definition.kind, ExpressionKind::Call(_)) && definition.proto != 0;
            let is_standing = number == 1 && self.standing.contains(&id);
            if definition.place.is_some()
                && !is_of_the_moment
                && !is_standing
                && self.is_free(number, id)
            {
                left.try_push(LeftDefinition {
                    id,
                    features: side.of.features(id)?,
                })?;
            }
        }
        Ok(left)
    }

    /// A digest of what a definition is called below its parent.
    fn name(&self, side: usize, one: &LeftDefinition) -> Option<u64> {
        let side = self.sides.get(side)?;
        let text = side.of.key_text(side.get(one.id)?.key)?;
        Some(side.of.digest_of(text))
    }

    /// What tells definitions apart: names, constants, what they are called.
    fn tokens<'t>(&self, side: usize, one: &'t LeftDefinition) -> impl Iterator<Item = u64> + 't {
        let name = self.name(side, one);
        let features = one.features.constants.iter().chain(&one.features.names);
        name.into_iter().chain(features.copied())
    }

    /// For each name or constant the definitions of the incoming version that have it, or nothing
    /// where there are too many.
    fn sharing(&self, right: &[LeftDefinition]) -> Result<FxHashMap<u64, Vec<usize>>> {
        let mut sharing: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        for (j, other) in right.iter().enumerate() {
            for token in self.tokens(1, other) {
                if !sharing.contains_key(&token) {
                    sharing.try_insert_value(token, Vec::new())?;
                }
                if let Some(list) = sharing.get_mut(&token)
                    && list.last() != Some(&j)
                    && list.len() <= MOST_SHARING
                {
                    list.try_push(j)?;
                }
            }
        }
        Ok(sharing)
    }

    /// Those that share the most with a definition of the base.
    fn candidates(
        &mut self,
        one: &LeftDefinition,
        sharing: &FxHashMap<u64, Vec<usize>>,
    ) -> Result<Vec<usize>> {
        let mut counts: FxHashMap<usize, u32> = FxHashMap::default();
        let mut has_common = false;
        for token in self.tokens(0, one) {
            let Some(list) = sharing.get(&token) else {
                continue;
            };
            if list.len() > MOST_SHARING {
                has_common = true;
                continue;
            }
            for j in list {
                let count = counts.get(j).copied().unwrap_or(0);
                counts.try_insert_value(*j, count + 1)?;
            }
        }
        if counts.is_empty() && has_common {
            self.out.passed_over += 1;
        }
        let mut ranked = Vec::new();
        for (j, count) in counts {
            ranked.try_push((u32::MAX - count, j))?;
        }
        ranked.sort_unstable();
        ranked.truncate(MOST_CANDIDATES);
        crate::support::mem::collected(ranked.into_iter().map(|(_, j)| Ok(j)))
    }

    fn likeness(&self, one: &LeftDefinition, other: &LeftDefinition) -> f64 {
        let [base, incoming] = &self.sides;
        let (Some(a), Some(b)) = (base.get(one.id), incoming.get(other.id)) else {
            return 0.0;
        };
        if kind(a) != kind(b) {
            return 0.0;
        }
        // Of one list they were told apart as well as that can be.
        let is_sequence = a.key.is_sequence() && b.key.is_sequence();
        if is_sequence && self.incoming_parent(a.parent) == Some(b.parent) {
            return 0.0;
        }
        // What is in something that is gone is not what is in something new, unless these are one.
        if self.is_left(0, a.parent) && self.is_left(1, b.parent) {
            return 0.0;
        }
        let is_function = matches!(a.kind, ExpressionKind::Function(_));
        let is_equal = is_function && base.of.code_of(one.id) == incoming.of.code_of(other.id);
        // Getters and the like are alike by chance, unless they have one name.
        let have_one_name = self.have_one_name(one, other);
        let by_chance = match a.kind {
            ExpressionKind::Function(_) => one.features.is_small(),
            ExpressionKind::Table | ExpressionKind::Call(_) => {
                !one.features.share_content(&other.features)
            }
        };
        if by_chance && !have_one_name {
            return 0.0;
        }
        let mut likeness = match is_equal {
            true if one.features.is_small() => 0.63,
            true => 0.9,
            false => one.features.likeness(&other.features, a.kind),
        };
        if likeness <= 0.2 || self.use_others(a.kind, b.kind) {
            return 0.0;
        }
        if (a.proto == 0) != (b.proto == 0) {
            likeness -= 0.05;
        }
        match (a.parent, b.parent) {
            (Parent::Proto(0), Parent::Proto(0)) => likeness += 0.03,
            (parent, other) if self.incoming_parent(parent) == Some(other) => likeness += 0.08,
            _ => {}
        }
        if have_one_name && !a.in_loop {
            likeness += 0.2;
        }
        likeness
    }

    /// What the definitions beside two say of them.
    fn beside(&self, one: DefinitionId, other: DefinitionId) -> f64 {
        let is_one = |step: u32| {
            let beside = DefinitionId(one.0.wrapping_add(step));
            let found = self.out.incoming(beside).map(|(found, _)| found);
            found == Some(DefinitionId(other.0.wrapping_add(step)))
        };
        let count = [u32::MAX, 1].into_iter().filter(|step| is_one(*step));
        0.04 * count.count() as f64
    }

    fn have_one_name(&self, one: &LeftDefinition, other: &LeftDefinition) -> bool {
        let name = self.name(0, one);
        name.is_some() && name == self.name(1, other)
    }

    /// Is what a definition stands in left itself?
    fn is_left(&self, number: usize, parent: Parent) -> bool {
        let side = self.sides.get(number);
        let id = match parent {
            Parent::Definition(id) => Some(id),
            Parent::Proto(proto) => side.and_then(|side| side.of.proto(proto)?.definition),
        };
        let made = id.and_then(|id| side?.get(id).filter(|_| self.is_free(number, id)));
        made.is_some_and(|made| made.place.is_some())
    }

    /// Have two functions variables of one name that are known to be others?
    fn use_others(&self, one: ExpressionKind, other: ExpressionKind) -> bool {
        let (ExpressionKind::Function(one), ExpressionKind::Function(other)) = (one, other) else {
            return false;
        };
        let [base, incoming] = &self.sides;
        let others = || incoming.of.upvalues_of(other).flatten();
        let mut own = base.of.upvalues_of(one).flatten();
        own.any(|a| {
            let name = self.variable_name(0, a);
            let mut namesakes = others().filter(|b| self.variable_name(1, *b) == name);
            name.is_some()
                && namesakes.any(|b| {
                    let found = self.out.incoming_variable(a).map(|(found, _)| found);
                    let was = self.out.base_variable(b).map(|(was, _)| was);
                    found.is_some_and(|found| found != b) || was.is_some_and(|was| was != a)
                })
        })
    }
}
