//! What has no names of its own: elements of a list, several of one name. Strings tell them apart
//! first, then code, then their order between two that are known.
//!
//! The same alignment serves the definitions of two versions and the lists of the running program.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{Aligner, AlignmentReason, kind};
use crate::code::definitions::{Definition, DefinitionId, DefinitionKey, ExpressionKind, Parent};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Kinds are below this.
const KINDS: u8 = 8;

/// Elements with one string: more of them do not tell them apart.
const MOST_ALIKE: usize = 8;

/// An element of a sequence, as far as it is known.
#[derive(Clone, Default)]
pub struct Element {
    /// What sort of thing it is: no two of different kinds answer to each other.
    pub kind: u8,
    /// Which object or value it is, where that is known: it comes first.
    pub exact: Option<u64>,
    /// The strings in it, sorted.
    pub strings: Vec<u64>,
    /// What says less than that, sorted: it counts after all code.
    pub hints: Vec<u64>,
    /// What an edit can give to another element, sorted: it counts after the order.
    pub numbers: Vec<u64>,
    /// Its code, or its whole content.
    pub code: Option<u64>,
    /// Nothing but the code tells it from others: of several with equal code any is any.
    pub is_code: bool,
    /// The number of its partner on the other side.
    pub partner: Option<usize>,
}

impl Element {
    /// Do its strings allow that it is the other one? It shares one, or one of them has none.
    pub fn may_be(&self, other: &Element) -> bool {
        let (a, b) = (&self.strings, &other.strings);
        self.kind == other.kind
            && (a.is_empty()
                || b.is_empty()
                || a.iter().any(|string| b.binary_search(string).is_ok()))
    }
}

/// Aligns two sequences: each element gets its partner.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn align(left: &mut [Element], right: &mut [Element]) -> Result<()> {
    by_content(left, right)?;
    by_tokens(left, right, |one| &one.hints, |count, _| f64::from(count))?;
    by_order(left, right);
    by_tokens(left, right, |one| &one.numbers, |count, _| f64::from(count))
}

/// The same without hints, order and numbers.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn by_content(left: &mut [Element], right: &mut [Element]) -> Result<()> {
    by_exact(left, right)?;
    let share = |count: u32, most: usize| f64::from(count) / most as f64;
    by_tokens(left, right, |one| &one.strings, share)?;
    by_code(left, right)
}

impl Aligner<'_> {
    /// Aligns two sequences.
    pub(super) fn sequence(
        &mut self,
        a: &mut [DefinitionId],
        b: &mut [DefinitionId],
    ) -> Result<()> {
        let mut left = self.elements(0, a)?;
        let mut right = self.elements(1, b)?;
        if self.have_holes(0, a) || self.have_holes(1, b) {
            // No list: the keys tell the elements apart, and no order does.
            self.name_by_keys(0, a, &mut left);
            self.name_by_keys(1, b, &mut right);
            by_exact(&mut left, &mut right)?;
            by_code(&mut left, &mut right)?;
        } else {
            align(&mut left, &mut right)?;
        }
        for (id, element) in a.iter().zip(&left) {
            if let Some(other) = element.partner.and_then(|partner| b.get(partner)) {
                self.accept(*id, *other, AlignmentReason::Sequence)?;
            }
        }
        Ok(())
    }

    fn have_holes(&self, side: usize, ids: &[DefinitionId]) -> bool {
        let known = self.sides.get(side).zip(ids.first());
        known.is_some_and(|(side, id)| match side.get(*id) {
            Some(Definition {
                key: DefinitionKey::Element,
                parent: Parent::Definition(table),
                ..
            }) => side.of.has_holes(*table),
            _ => false,
        })
    }

    fn name_by_keys(&self, side: usize, ids: &[DefinitionId], elements: &mut [Element]) {
        for (id, element) in ids.iter().zip(elements) {
            let key = self.sides.get(side).and_then(|side| side.of.index(*id));
            element.exact = key.map(|key| key.cast_unsigned() << 3 | u64::from(element.kind));
        }
    }

    fn elements(&self, side: usize, ids: &mut [DefinitionId]) -> Result<Vec<Element>> {
        let Some(side) = self.sides.get(side) else {
            return Ok(Vec::new());
        };
        // In a list by its places: a constructor's elements stand before those that are appended.
        ids.sort_unstable_by_key(|id| {
            let definition = side.get(*id);
            let is_element = definition.is_some_and(|one| one.key == DefinitionKey::Element);
            (
                definition.and_then(|one| one.place).filter(|_| is_element),
                *id,
            )
        });
        collected(ids.iter().map(|id| {
            let tokens = side.of.tokens_of(*id)?;
            Ok(Element {
                kind: side.get(*id).map_or(0, kind),
                exact: None,
                strings: tokens.strings,
                hints: tokens.hints,
                numbers: tokens.numbers,
                code: side.of.code_of(*id),
                is_code: matches!(
                    side.get(*id).map(|one| one.kind),
                    Some(ExpressionKind::Function(_))
                ),
                partner: None,
            })
        }))
    }
}

/// Makes two elements partners.
pub fn join(left: &mut [Element], right: &mut [Element], i: usize, j: usize) {
    if let (Some(a), Some(b)) = (left.get_mut(i), right.get_mut(j)) {
        (a.partner, b.partner) = (Some(j), Some(i));
    }
}

/// Elements that are one object or value. Where several are, first those that both sequences begin
/// with, then those that they end with, then in their order.
fn by_exact(left: &mut [Element], right: &mut [Element]) -> Result<()> {
    let is_one = |a: Option<&Element>, b: Option<&Element>| {
        let exact = |element: Option<&Element>| element.and_then(|element| element.exact);
        exact(a).is_some() && exact(a) == exact(b)
    };
    let mut start = 0;
    while is_one(left.get(start), right.get(start)) {
        join(left, right, start, start);
        start += 1;
    }
    let (mut i, mut j) = (left.len(), right.len());
    while i > start && j > start && is_one(left.get(i - 1), right.get(j - 1)) {
        (i, j) = (i - 1, j - 1);
        join(left, right, i, j);
    }
    let mut places: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
    for number in (start..j).rev() {
        if let Some(exact) = right.get(number).and_then(|element| element.exact) {
            if !places.contains_key(&exact) {
                places.try_insert_value(exact, Vec::new())?;
            }
            if let Some(places) = places.get_mut(&exact) {
                places.try_push(number)?;
            }
        }
    }
    for number in start..i {
        let exact = left.get(number).and_then(|element| element.exact);
        let place = exact.and_then(|exact| places.get_mut(&exact)?.pop());
        if let Some(place) = place {
            join(left, right, number, place);
        }
    }
    Ok(())
}

/// The element that shares the most tokens with another one: it must be one alone, on both sides.
/// `score` tells how much so many shared ones count of so many.
fn by_tokens(
    left: &mut [Element],
    right: &mut [Element],
    tokens: impl Fn(&Element) -> &[u64],
    score: impl Fn(u32, usize) -> f64,
) -> Result<()> {
    let mut with: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
    let open = right
        .iter()
        .enumerate()
        .filter(|(_, element)| element.partner.is_none());
    for (j, element) in open {
        for string in tokens(element) {
            if !with.contains_key(string) {
                with.try_insert_value(*string, Vec::new())?;
            }
            if let Some(list) = with.get_mut(string).filter(|list| list.len() <= MOST_ALIKE) {
                list.try_push(j)?;
            }
        }
    }
    if with.is_empty() {
        return Ok(()); // (nearly always: most sequences are known by then)
    }
    // Of each: the most that it shares with one other, which one, and whether that is one alone.
    type Best = (f64, usize, bool);
    let note = |best: &mut Option<Best>, score: f64, other: usize| match best {
        Some((most, _, _)) if score < *most => {}
        Some((most, known, alone)) if score == *most => *alone = *alone && *known == other,
        _ => *best = Some((score, other, true)),
    };
    let mut best: [Vec<Option<Best>>; 2] =
        [super::nothing(left.len())?, super::nothing(right.len())?];
    let mut counts: FxHashMap<usize, u32> = FxHashMap::default();
    let open = left
        .iter()
        .enumerate()
        .filter(|(_, element)| element.partner.is_none());
    for (i, element) in open {
        counts.clear();
        for string in tokens(element) {
            let list = with.get(string).filter(|list| list.len() <= MOST_ALIKE);
            for j in list.into_iter().flatten() {
                let count = counts.get(j).copied().unwrap_or(0);
                counts.try_insert_value(*j, count + 1)?;
            }
        }
        for (j, count) in &counts {
            let Some(other) = right.get(*j).filter(|other| element.may_be(other)) else {
                continue;
            };
            let most = tokens(element).len().max(tokens(other).len()).max(1);
            let score = score(*count, most);
            let [own, others] = &mut best;
            if let (Some(own), Some(others)) = (own.get_mut(i), others.get_mut(*j)) {
                note(own, score, *j);
                note(others, score, i);
            }
        }
    }
    let [own, others] = best;
    for (i, best) in own.into_iter().enumerate() {
        if let Some((_, j, true)) = best
            && let Some(Some((_, back, true))) = others.get(j)
            && *back == i
        {
            join(left, right, i, j);
        }
    }
    Ok(())
}

/// Elements of equal code: one alone on each side, or those that are nothing but code in order.
fn by_code(left: &mut [Element], right: &mut [Element]) -> Result<()> {
    let mut alike: FxHashMap<(u8, u64), [Vec<usize>; 2]> = FxHashMap::default();
    for (side, list) in [&*left, &*right].into_iter().enumerate() {
        for (i, element) in list.iter().enumerate() {
            let (Some(code), None) = (element.code, element.partner) else {
                continue;
            };
            let key = (element.kind, code);
            if !alike.contains_key(&key) {
                alike.try_insert_value(key, Default::default())?;
            }
            if let Some(found) = alike.get_mut(&key).and_then(|both| both.get_mut(side)) {
                found.try_push(i)?;
            }
        }
    }
    for [own, others] in alike.values() {
        let is_code = |i: &usize| left.get(*i).is_some_and(|one| one.is_code);
        if matches!((own.as_slice(), others.as_slice()), ([_], [_])) || own.iter().all(is_code) {
            for (i, j) in own.iter().zip(others) {
                join(left, right, *i, *j);
            }
        }
    }
    Ok(())
}

/// What stands in a gap on both sides: of each kind, if both have as many of it, in order.
fn join_gap(left: &mut [Element], right: &mut [Element], own: Range<usize>, others: Range<usize>) {
    let of_kind = |list: &[Element], range: &Range<usize>, kind: u8| {
        let fits = |i: &usize| list.get(*i).is_some_and(|one| one.kind == kind);
        range.clone().filter(fits).count()
    };
    let is_known = |one: &Element| one.partner.is_some();
    if right
        .get(others.clone())
        .is_none_or(|gap| gap.iter().any(is_known))
    {
        return;
    }
    for kind in 0..KINDS {
        let count = of_kind(left, &own, kind);
        if count == 0 || count != of_kind(right, &others, kind) {
            continue;
        }
        let (mut i, mut j) = (own.start, others.start);
        while i < own.end && j < others.end {
            match (left.get(i), right.get(j)) {
                (Some(a), _) if a.kind != kind => i += 1,
                (_, Some(b)) if b.kind != kind => j += 1,
                (Some(a), Some(b)) => {
                    if a.may_be(b) {
                        join(left, right, i, j);
                    }
                    (i, j) = (i + 1, j + 1);
                }
                _ => break,
            }
        }
    }
}

/// What stands between two that are known, if both sides have as many of a kind: in order.
fn by_order(left: &mut [Element], right: &mut [Element]) {
    let mut start = 0;
    while start < left.len() {
        let rest = left.get(start..).unwrap_or_default();
        let count = rest
            .iter()
            .take_while(|element| element.partner.is_none())
            .count();
        let before = start
            .checked_sub(1)
            .map(|i| left.get(i).and_then(|one| one.partner));
        let after = left.get(start + count).map(|one| one.partner);
        // Where the gap begins and ends on the other side.
        let first = match before {
            None => Some(0),
            Some(partner) => partner.map(|partner| partner + 1),
        };
        let end = match after {
            None => Some(right.len()),
            Some(partner) => partner,
        };
        if let (Some(first), Some(end)) = (first, end)
            && first <= end
        {
            join_gap(left, right, start..start + count, first..end);
        }
        start += count + 1;
    }
}
