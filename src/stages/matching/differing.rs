//! R8: data that stays as it runs, while the file has changed it.
//!
//! What only the file has changed is counted, and told where somebody wants lists. What the program
//! has changed as well is a warning. So is a value that the file gives to a new key of the table:
//! two members of an enumeration are equal then.

use rustc_hash::FxHashSet;

use super::dropped::describe;
use super::merge::is_scalar;
use super::{Action, CellFate, Pairer};
use crate::lua::vm::{Kind, Ref};
use crate::model::base::{Held, RecordedPlace};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// A place whose running value stays.
#[derive(Clone, Copy, Debug)]
pub struct Differing {
    /// Where.
    pub site: SiteId,
    /// What the running version has there.
    pub running: Ref,
    /// What the incoming version has.
    pub file: Ref,
}

/// Where the file has the value that stays.
#[derive(Clone, Copy)]
enum RunningValue {
    /// In no other place that counts.
    OnlyHere,
    /// Under a new key of the same table.
    UnderNewKey,
}

impl Pairer<'_> {
    /// Notes the data that only the file has changed, and warns of what both have.
    pub(super) fn note_differing(&mut self) -> Result<()> {
        if !self.out.base.is_known() {
            return Ok(());
        }
        let mut added: FxHashSet<(usize, u64)> = FxHashSet::default();
        for slot in self
            .out
            .slots
            .iter()
            .filter(|slot| slot.action == Action::Add)
        {
            if matches!(self.vm.kind(slot.new), Kind::Number | Kind::String)
                && self.vm.kind(slot.key) == Kind::String
                && let Some(digest) = self.vm.digest(slot.new)
            {
                added.try_insert_value((self.vm.val(slot.table).addr, digest), ())?;
            }
        }
        for number in 0..self.out.slots.len() {
            let Some(slot) = self.out.slots.get(number).copied() else {
                break;
            };
            if slot.action != Action::Keep || !self.are_other_scalars(slot.old, slot.new) {
                continue;
            }
            if let Some(place) = self.place_in(slot.table, slot.parent, slot.key)? {
                let site = self.out.sites.key(slot.parent, slot.key)?;
                let address = self.vm.val(slot.table).addr;
                let digest = self.vm.digest(slot.old);
                let value = match digest.is_some_and(|digest| added.contains(&(address, digest))) {
                    true => RunningValue::UnderNewKey,
                    false => RunningValue::OnlyHere,
                };
                let difference = Differing {
                    site,
                    running: slot.old,
                    file: slot.new,
                };
                self.note_difference(place, difference, value)?;
            }
        }
        for number in 0..self.out.cell_pairs.len() {
            let Some(pair) = self.out.cell_pairs.get(number).copied() else {
                break;
            };
            let cell = self.out.old_cells.get(pair.old as usize).copied();
            if let Some(cell) = cell
                && pair.fate == CellFate::Keep
                && self.are_other_scalars(pair.old_value, pair.new_value)
            {
                let difference = Differing {
                    site: self.out.cell_site(pair.new)?,
                    running: pair.old_value,
                    file: pair.new_value,
                };
                let place = self.cell_place(&cell);
                self.note_difference(place, difference, RunningValue::OnlyHere)?;
            }
        }
        Ok(())
    }

    fn are_other_scalars(&self, old: Ref, new: Ref) -> bool {
        is_scalar(self.vm.val(old)) && is_scalar(self.vm.val(new)) && !self.vm.same(old, new)
    }

    fn note_difference(
        &mut self,
        place: RecordedPlace,
        difference: Differing,
        value: RunningValue,
    ) -> Result<()> {
        let Differing {
            site,
            running,
            file,
        } = difference;
        let base = &self.out.base;
        let is_unsure = base.get(place).is_some_and(Held::is_unsure);
        let digest = self.vm.digest(file);
        if !base.is_there(place)
            || base.had(place, digest)
            || is_unsure && base.get(place) == digest.map(Held::unsure)
        {
            return Ok(());
        }
        let is_untouched = base.had(place, self.vm.digest(running));
        if is_untouched {
            self.out.differing.try_push(difference)?;
        }
        let why = match (is_untouched, value) {
            (false, _) if is_unsure => "nobody knows what it was loaded as",
            (false, _) => "the program and the file have both changed it",
            (true, RunningValue::UnderNewKey) => "the file gives that value to a new key",
            (true, RunningValue::OnlyHere) => return Ok(()),
        };
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        let [running, file] = [describe(self.vm, running)?, describe(self.vm, file)?];
        self.out.warnings.try_push(format!(
            "{path}: {running} while it runs, {file} in the file; {why}, and the running value \
             stays; assign the file's in __hotfix"
        ))
    }
}
