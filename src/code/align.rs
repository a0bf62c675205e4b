//! Which definition and which variable of one version of a file is which of another.
//!
//! Names go first, from the top: what stands under equal keys below aligned parents is aligned.
//! Elements of a list have no names; they are aligned as a sequence. Then come names with another
//! kind of expression, and last the likeness of what is left.

mod likeness;
mod renamed;
pub mod sequence;
#[cfg(test)]
mod tests;
mod variables;

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::definitions::{
    Definition, DefinitionId, DefinitionKey, Definitions, ExpressionKind, Parent, ProtoId,
    VariableId,
};
use super::grouped::{Grouped, under};
use crate::support::error::Result;
use crate::support::mem::{TryPush, collected};

/// Why two definitions are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlignmentReason {
    /// They have one name: equal keys below aligned parents.
    Name,
    /// They are elements of one list, or several of one name: aligned by content and order.
    Sequence,
    /// Each is what its chunk returns.
    Result,
    /// They have one name, but are other kinds of expression.
    Kind,
    /// One has been renamed or moved, and else they are equal.
    Renamed,
    /// One has been renamed or moved and edited, as it seems: it is most like the other one, by
    /// far.
    Likeness,
}

/// Why two variables are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameVariable {
    /// They have one name in one function.
    Name,
    /// One has been renamed: a function with equal code captures it, and its initialiser is the
    /// same.
    Renamed,
}

/// Which definitions and variables of two versions are the same.
#[derive(Debug, Default)]
pub struct Alignment {
    /// Each number means the same in both versions: nothing else is filled in.
    is_same: bool,
    forward: Vec<Option<(DefinitionId, AlignmentReason)>>,
    backward: Vec<Option<(DefinitionId, AlignmentReason)>>,
    variables: Vec<Option<(VariableId, SameVariable)>>,
    variables_back: Vec<Option<(VariableId, SameVariable)>>,
    /// How many definitions were left unaligned because comparing them all would have taken too
    /// long. The caller warns of it.
    pub passed_over: u32,
}

impl AlignmentReason {
    /// Has nothing but what they look like told that they are one?
    pub fn is_look(self) -> bool {
        matches!(self, AlignmentReason::Renamed | AlignmentReason::Likeness)
    }
}

impl Alignment {
    /// Does each number, and the name of each variable, mean the same in both versions?
    pub fn is_same(&self) -> bool {
        self.is_same
    }

    /// What a definition of the base has become in the incoming version, and why.
    pub fn incoming(&self, base: DefinitionId) -> Option<(DefinitionId, AlignmentReason)> {
        match self.is_same {
            true => Some((base, AlignmentReason::Name)),
            false => *self.forward.get(base.0 as usize)?,
        }
    }

    /// Is something one for what it looks like alone?
    pub fn has_looks(&self) -> bool {
        let mut reasons = self.forward.iter().flatten();
        reasons.any(|(_, reason)| reason.is_look())
    }

    /// What a definition of the incoming version was in the base, and why.
    pub fn base(&self, incoming: DefinitionId) -> Option<(DefinitionId, AlignmentReason)> {
        match self.is_same {
            true => Some((incoming, AlignmentReason::Name)),
            false => *self.backward.get(incoming.0 as usize)?,
        }
    }

    /// What a variable of the base has become.
    pub fn incoming_variable(&self, base: VariableId) -> Option<(VariableId, SameVariable)> {
        match self.is_same {
            true => Some((base, SameVariable::Name)),
            false => *self.variables.get(base.0 as usize)?,
        }
    }

    /// What a variable of the incoming version was.
    pub fn base_variable(&self, incoming: VariableId) -> Option<(VariableId, SameVariable)> {
        match self.is_same {
            true => Some((incoming, SameVariable::Name)),
            false => *self.variables_back.get(incoming.0 as usize)?,
        }
    }
}

/// Names that the user gives: what a variable, field or definition of the base is called now
/// (`rename = { players = "roster" }`).
pub type Renames<'a> = &'a [(&'a [u8], &'a [u8])];

/// The definitions of the incoming version whose place in the running program has an object of an
/// older load. They are not what has another name.
pub type StandingDefinitions = FxHashSet<DefinitionId>;

/// Aligns two versions that were read with one secret.
///
/// # Errors
/// [`Error::Memory`](crate::support::error::Error::Memory).
pub fn align(
    base: &Definitions,
    incoming: &Definitions,
    renames: Renames<'_>,
    standing: &StandingDefinitions,
) -> Result<Alignment> {
    let are_definitions_same = renames.is_empty() && incoming.is_numbered_as(base)?;
    if are_definitions_same && incoming.has_variables_of(base) {
        return Ok(Alignment {
            is_same: true,
            ..Alignment::default()
        });
    }
    align_all(base, incoming, renames, standing, are_definitions_same)
}

/// `are_definitions_same`: each definition has the same number in both versions.
fn align_all(
    base: &Definitions,
    incoming: &Definitions,
    renames: Renames<'_>,
    standing: &StandingDefinitions,
    are_definitions_same: bool,
) -> Result<Alignment> {
    let sides = match are_definitions_same {
        true => [base, incoming].map(AlignedSide::without_names),
        false => [
            AlignedSide::of(base, renames)?,
            AlignedSide::of(incoming, &[])?,
        ],
    };
    let definitions = |of: &Definitions| -> Result<Vec<_>> {
        let id = |(id, _)| (id, AlignmentReason::Name);
        let ids = of
            .iter()
            .map(|of| Ok(Some(id(of)).filter(|_| are_definitions_same)));
        collected(ids)
    };
    let mut aligner = Aligner {
        sides,
        out: Alignment {
            is_same: false,
            forward: definitions(base)?,
            backward: definitions(incoming)?,
            variables: nothing(base.variables().count())?,
            variables_back: nothing(incoming.variables().count())?,
            passed_over: 0,
        },
        todo: Vec::new(),
        renames,
        standing,
        names: None,
    };
    if are_definitions_same {
        aligner.variables()?;
        if aligner.renamed_variables()? {
            aligner.variables()?;
        }
        return Ok(aligner.out);
    }
    aligner
        .todo
        .try_push([Parent::Proto(0), Parent::Proto(0)])?;
    aligner.names()?;
    aligner.results()?;
    aligner.kinds()?;
    aligner.variables()?;
    aligner.renamed_variables()?;
    aligner.likenesses()?;
    aligner.variables()?;
    Ok(aligner.out)
}

/// The function of the incoming version that is this one of the base: the main function, or that of
/// the aligned definition.
pub fn incoming_proto(
    alignment: &Alignment,
    base: &Definitions,
    incoming: &Definitions,
    proto: ProtoId,
) -> Option<ProtoId> {
    if proto == 0 {
        return Some(0);
    }
    let (definition, _) = alignment.incoming(base.proto(proto)?.definition?)?;
    match incoming.get(definition)?.kind {
        ExpressionKind::Function(proto) => Some(proto),
        _ => None,
    }
}

fn nothing<T: Clone>(count: usize) -> Result<Vec<Option<T>>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count)?;
    list.resize(count, None);
    Ok(list)
}

/// One version while it is aligned.
struct AlignedSide<'a> {
    of: &'a Definitions,
    /// Every definition with its key, by its parent; sorted.
    children: Grouped<(u64, DefinitionId)>,
}

/// A parent as a number: functions and definitions in turn.
fn number_of(parent: Parent) -> u32 {
    match parent {
        Parent::Proto(proto) => proto << 1,
        Parent::Definition(definition) => definition.0 << 1 | 1,
    }
}

impl<'a> AlignedSide<'a> {
    /// A version of which all definitions are aligned already.
    fn without_names(of: &'a Definitions) -> AlignedSide<'a> {
        let children = Grouped::NOTHING;
        AlignedSide { of, children }
    }

    fn of(of: &'a Definitions, renames: Renames<'_>) -> Result<AlignedSide<'a>> {
        let parents = 2 * of.protos().max(of.len()) as usize;
        let named = of.iter().map(|(id, definition)| {
            // What a function puts under a name later on is another definition than the chunk's
            // own.
            let is_later = u64::from(definition.proto != 0);
            let key = key_hash(of, definition.key, renames) ^ is_later;
            (number_of(definition.parent), (key, id))
        });
        let mut children = Grouped::of(parents, named)?;
        children.sort();
        Ok(AlignedSide { of, children })
    }

    /// Where the definitions below a parent stand.
    fn range(&self, parent: Parent) -> Range<usize> {
        self.children.range(number_of(parent))
    }

    /// The definitions below a parent that have this key.
    fn named(&self, parent: Parent, key: u64) -> &[(u64, DefinitionId)] {
        under(self.children.get(number_of(parent)), key)
    }

    /// The key of a child, and where those end that have the same one, among these.
    fn group(&self, range: Range<usize>) -> Option<(u64, usize)> {
        let start = range.start;
        let rest = self.children.slice(range);
        let (key, _) = rest.first()?;
        let count = rest.iter().take_while(|(other, _)| other == key).count();
        Some((*key, start + count))
    }

    fn get(&self, id: DefinitionId) -> Option<&'a Definition> {
        self.of.get(id)
    }
}

/// A key as it is called in the incoming version.
fn key_hash(of: &Definitions, key: DefinitionKey, renames: Renames<'_>) -> u64 {
    if let Some(text) = of.key_text(key)
        && let Some(new) = renamed(of.text(text), renames)
    {
        return of.renamed_key_hash(key, new);
    }
    of.key_hash(key)
}

/// What a name of the base is called now, if the user says so.
fn renamed<'a>(name: &[u8], renames: Renames<'a>) -> Option<&'a [u8]> {
    let found = renames.iter().find(|(old, _)| *old == name);
    found.map(|(_, new)| *new)
}

struct Aligner<'a> {
    /// The base, and the incoming version.
    sides: [AlignedSide<'a>; 2],
    out: Alignment,
    /// Parents whose children are to be aligned.
    todo: Vec<[Parent; 2]>,
    renames: Renames<'a>,
    standing: &'a StandingDefinitions,
    /// The names that each version has, once that was asked for.
    names: Option<[FxHashSet<u64>; 2]>,
}

/// What kind of expression it is: the first thing that two definitions share.
fn kind(definition: &Definition) -> u8 {
    match definition.kind {
        ExpressionKind::Table => 0,
        ExpressionKind::Function(_) => 1,
        ExpressionKind::Call(_) => 2,
    }
}

impl Aligner<'_> {
    fn is_free(&self, side: usize, id: DefinitionId) -> bool {
        let list = if side == 0 {
            &self.out.forward
        } else {
            &self.out.backward
        };
        list.get(id.0 as usize).is_some_and(Option::is_none)
    }

    /// Two definitions are one, if both are free; what stands below them is to be aligned.
    fn accept(
        &mut self,
        a: DefinitionId,
        b: DefinitionId,
        reason: AlignmentReason,
    ) -> Result<bool> {
        if !self.is_free(0, a) || !self.is_free(1, b) {
            return Ok(false);
        }
        if let Some(place) = self.out.forward.get_mut(a.0 as usize) {
            *place = Some((b, reason));
        }
        if let Some(place) = self.out.backward.get_mut(b.0 as usize) {
            *place = Some((a, reason));
        }
        let parents = [Parent::Definition(a), Parent::Definition(b)];
        self.todo.try_push(parents)?;
        if let [
            Some(ExpressionKind::Function(p)),
            Some(ExpressionKind::Function(q)),
        ] = [self.kind_of(0, a), self.kind_of(1, b)]
        {
            self.todo.try_push([Parent::Proto(p), Parent::Proto(q)])?;
        }
        Ok(true)
    }

    fn kind_of(&self, side: usize, id: DefinitionId) -> Option<ExpressionKind> {
        Some(self.sides.get(side)?.get(id)?.kind)
    }

    /// Aligns what has one name below aligned parents, until nothing is left.
    fn names(&mut self) -> Result<()> {
        while let Some([base, incoming]) = self.todo.pop() {
            let (own, other) = (self.sides[0].range(base), self.sides[1].range(incoming));
            let (mut i, mut j) = (own.start, other.start);
            while let (Some((key, end)), Some((other_key, other_end))) = (
                self.sides[0].group(i..own.end),
                self.sides[1].group(j..other.end),
            ) {
                if key == other_key {
                    self.group(i..end, j..other_end)?;
                }
                if key <= other_key {
                    i = end;
                }
                if other_key <= key {
                    j = other_end;
                }
            }
        }
        Ok(())
    }

    /// Which of these children have no partner yet.
    fn free(&self, side: usize, children: &[(u64, DefinitionId)]) -> Result<Vec<DefinitionId>> {
        let free = children.iter().filter(|(_, id)| self.is_free(side, *id));
        collected(free.map(|(_, id)| Ok(*id)))
    }

    /// Aligns the definitions of one name.
    fn group(&mut self, own: Range<usize>, other: Range<usize>) -> Result<()> {
        let [base, incoming] = &self.sides;
        let (own, other) = (base.children.slice(own), incoming.children.slice(other));
        if let ([(_, one)], [(_, two)]) = (own, other) {
            return self.alone(*one, *two);
        }
        let (mut own, mut other) = (self.free(0, own)?, self.free(1, other)?);
        match (own.as_slice(), other.as_slice()) {
            ([], _) | (_, []) => Ok(()),
            ([one], [two]) => self.alone(*one, *two),
            _ => self.sequence(&mut own, &mut other),
        }
    }

    /// Aligns two definitions of one name that no other one has.
    fn alone(&mut self, one: DefinitionId, two: DefinitionId) -> Result<()> {
        let [base, incoming] = &self.sides;
        let (Some(own), Some(other)) = (base.get(one), incoming.get(two)) else {
            return Ok(());
        };
        if own.key.is_sequence() {
            if self.is_free(0, one) && self.is_free(1, two) {
                self.sequence(&mut [one], &mut [two])?;
            }
        } else if kind(own) == kind(other) {
            self.accept(one, two, AlignmentReason::Name)?;
        }
        Ok(())
    }

    /// What the chunks return is one, whatever it is called.
    fn results(&mut self) -> Result<()> {
        let result = |of: &Definitions| -> Result<Option<DefinitionId>> {
            let Some((_, last)) = of.results(0).last() else {
                return Ok(None);
            };
            let meant = of.resolve(last.value)?;
            Ok(match meant.definitions.as_slice() {
                [one] => Some(*one),
                _ => None,
            })
        };
        let [base, incoming] = &self.sides;
        if let (Some(a), Some(b)) = (result(base.of)?, result(incoming.of)?)
            && base.get(a).map(kind) == incoming.get(b).map(kind)
        {
            self.accept(a, b, AlignmentReason::Result)?;
            self.names()?;
        }
        Ok(())
    }

    /// One name, another kind of expression: a table or function has become what a call makes, or
    /// the other way round.
    fn kinds(&mut self) -> Result<()> {
        for i in 0..self.sides[0].of.len() {
            let id = DefinitionId(i);
            let Some(definition) = self.sides[0].get(id).filter(|_| self.is_free(0, id)) else {
                continue;
            };
            if definition.key.is_sequence() || definition.place.is_none() {
                continue;
            }
            let Some(parent) = self.incoming_parent(definition.parent) else {
                continue;
            };
            let key = key_hash(self.sides[0].of, definition.key, self.renames);
            let own = self.sides[0].named(definition.parent, key);
            let own = self.free(0, own)?;
            let other = self.free(1, self.sides[1].named(parent, key))?;
            if let ([_], [other]) = (own.as_slice(), other.as_slice())
                && let Some(incoming) = self.sides[1].get(*other)
                && kind(incoming) != kind(definition)
                && (kind(incoming) == 2 || kind(definition) == 2)
            {
                self.accept(id, *other, AlignmentReason::Kind)?;
                self.names()?;
            }
        }
        Ok(())
    }

    fn incoming_parent(&self, parent: Parent) -> Option<Parent> {
        match parent {
            Parent::Proto(proto) => self.incoming_proto(proto).map(Parent::Proto),
            Parent::Definition(id) => Some(Parent::Definition(self.out.incoming(id)?.0)),
        }
    }

    fn incoming_proto(&self, proto: ProtoId) -> Option<ProtoId> {
        let [base, incoming] = &self.sides;
        incoming_proto(&self.out, base.of, incoming.of, proto)
    }
}
