//! R10.6: why two objects answer to each other, where their places do not say it; for the plan.
//!
//! ```text
//! M.enter: M.login before, by likeness
//! m.third: a reference, stays as the program has it
//! ```
//!
//! A conflict says it in any case (R6.3).

use rustc_hash::FxHashMap;

use super::identity::MOST_STEPS;
use super::{Action, CellFate, Pairer};
use crate::code::align::AlignmentReason;
use crate::code::definitions::{DefinitionId, Definitions, Parent};
use crate::lua::vm::{Kind, Ref};
use crate::model::site::SiteId;
use crate::support::error::{Result, shown};
use crate::support::mem::{TryInsert, TryPush};

/// A definition's name, and how long that of what it is in is.
fn name(definitions: &Definitions, id: DefinitionId) -> Result<(Vec<u8>, usize)> {
    let around = match definitions.get(id).map(|made| made.parent) {
        Some(Parent::Definition(parent)) => definitions.describe(parent)?.len(),
        _ => 0,
    };
    Ok((definitions.describe(id)?, around))
}

impl Pairer<'_> {
    /// Tells what answers to each other under other names, and warns of what is a guess.
    pub(super) fn tell_definitions(&mut self) -> Result<()> {
        if !self.tells && !self.identity.has_looks() {
            return Ok(());
        }
        let mut pairs = Vec::new();
        for pair in self.identity.pairs() {
            pairs.try_push(pair)?;
        }
        for (old, new, definition) in pairs {
            if !self.is_matched(old, new) {
                continue;
            }
            self.warn_of_guess(old, definition)?;
            if self.tells
                && let Some(line) = self.evidence(definition)?
            {
                self.out.matched.try_push(line)?;
            }
        }
        Ok(())
    }

    /// What is only like something that had another name may be another thing. A function is let
    /// pass that no table has under the former name: the file's functions call it by the new one.
    fn warn_of_guess(&mut self, old: Ref, id: DefinitionId) -> Result<()> {
        let former = self.identity.base(id);
        let former = former.filter(|(_, reason)| *reason == AlignmentReason::Likeness);
        let (Some((base, definitions)), Some((former, _))) = (self.identity.versions(), former)
        else {
            return Ok(());
        };
        fn key(of: &Definitions, id: DefinitionId) -> Option<&[u8]> {
            Some(of.text(of.key_text(of.get(id)?.key)?))
        }
        let keys = key(base, former).zip(key(definitions, id));
        let has_moved = keys.is_some_and(|(was, is)| was == is);
        let option = keys.map_or_else(String::new, |(was, is)| {
            format!(
                ", as rename = {{ {} = \"{}\" }} says",
                shown(was),
                shown(is)
            )
        });
        let is = shown(&definitions.describe(id)?);
        let was = shown(&base.describe(former)?);
        if has_moved || self.vm.kind(old) == Kind::Function && !self.stands_under(old, former)? {
            return Ok(());
        }
        self.out.warnings.try_push(format!(
            "{}: {is} is taken for what {was} was, by likeness, and goes on in its place{option}; \
             if it is another one, take {was} out in a reload of its own first (R3.7)",
            self.context.title
        ))
    }

    /// Does a table still have a function in the place of a definition of the last load?
    fn stands_under(&mut self, function: Ref, former: DefinitionId) -> Result<bool> {
        let Some((table, name)) = self.identity.former_place(former) else {
            return Ok(false);
        };
        let table = table.unwrap_or(self.context.globals);
        let name = self.vm.string(name)?;
        let (_, held) = self.vm.look_up(table, name)?;
        Ok(held == self.vm.val(function))
    }

    fn is_matched(&self, old: Ref, new: Ref) -> bool {
        let (o, n) = (self.vm.val(old), self.vm.val(new));
        if o.is_table() {
            return self.are_paired(old, new);
        }
        let answers = self.out.old_at(o.addr).map(|old| &old.answers);
        let f2 = self.number2(n.addr);
        answers
            .zip(f2)
            .is_some_and(|(answers, f2)| answers.contains(&f2))
    }

    /// Why a definition of the file is one of the last load, if their names do not say it. What is
    /// in something that has another name is not told.
    fn evidence(&self, id: DefinitionId) -> Result<Option<String>> {
        let (Some((base, definitions)), Some((former, reason))) =
            (self.identity.versions(), self.identity.base(id))
        else {
            return Ok(None);
        };
        let (is, around) = name(definitions, id)?;
        let (was, around_was) = name(base, former)?;
        let parent = |definitions: &Definitions, id| definitions.get(id).map(|made| made.parent);
        let in_same = match (parent(base, former), parent(definitions, id)) {
            (Some(Parent::Definition(was)), Some(Parent::Definition(is))) => {
                self.identity.counterpart(was) == Some(is)
            }
            _ => false,
        };
        let is_same = is == was || in_same && is.get(around..) == was.get(around_was..);
        let why = match reason {
            AlignmentReason::Kind => "another kind of expression of the same name",
            _ if is_same => return Ok(None),
            AlignmentReason::Likeness => "by likeness",
            AlignmentReason::Renamed => "equal but for the name",
            AlignmentReason::Sequence => "by content and order",
            AlignmentReason::Result => "both are what the chunk returns",
            AlignmentReason::Name => "as the option rename says",
        };
        Ok(Some(match is_same {
            true => format!("{}: {why}", shown(&is)),
            false => format!("{}: {} before, {why}", shown(&is), shown(&was)),
        }))
    }

    /// Why the tables and functions that have conflicts answer to each other.
    pub(super) fn explain_conflicts(&mut self) -> Result<()> {
        let mut holders: FxHashMap<usize, Option<DefinitionId>> = FxHashMap::default();
        for slot in self
            .out
            .slots
            .iter()
            .filter(|slot| slot.action == Action::Conflict)
        {
            holders.try_insert_value(self.vm.val(slot.table).addr, None)?;
        }
        let is_any = !holders.is_empty();
        for (new, old) in self.out.paired.iter().filter(|_| is_any) {
            if let Some(holder) = holders.get_mut(&self.vm.val(*old).addr) {
                *holder = self.identity.incoming_definition(self.vm, *new);
            }
        }
        for pair in self
            .out
            .cell_pairs
            .iter()
            .filter(|pair| pair.fate == CellFate::Conflict)
        {
            let cell = self.out.new_cells.get(pair.new as usize);
            let owner = cell.and_then(|cell| self.out.new.get(cell.owner as usize));
            if let Some(owner) = owner {
                let definition = self.identity.incoming_definition(self.vm, owner.at);
                holders.try_insert_value(self.vm.val(owner.at).addr, definition)?;
            }
        }
        for (address, holder) in holders {
            let mut at = holder;
            for _ in 0..MOST_STEPS {
                let Some(definition) = at else { break };
                if let Some(why) = self.evidence(definition)? {
                    self.out.conflicting.try_insert_value(address, why)?;
                    break;
                }
                let made = self
                    .identity
                    .definitions()
                    .and_then(|known| known.get(definition));
                at = match made.map(|made| made.parent) {
                    Some(Parent::Definition(parent)) => Some(parent),
                    _ => None,
                };
            }
        }
        Ok(())
    }

    /// Tells what became of a place, for a reason that the place does not show.
    pub(super) fn tell(&mut self, site: SiteId, what: &str) -> Result<()> {
        if !self.tells {
            return Ok(());
        }
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        self.out.matched.try_push(format!("{path}: {what}"))
    }
}
