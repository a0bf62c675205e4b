//! R6: places whose kind the file has changed.
//!
//! ```lua
//! local hits = 0   --> local hits = {}
//! ```
//!
//! The functions of the file work with the new kind, so the running value cannot stay without a
//! word. The file's takes its place where the program has not touched it; where it has, or where
//! nobody knows, that is a conflict.

use super::expressions::EditOf;
use super::merge::is_scalar;
use super::{Action, CellFate, CellPair, Pairer, SlotDecision};
use crate::lua::vm::{Kind, Ref, Vm};
use crate::model::base::{Held, RecordedPlace};
use crate::support::error::Result;

/// What Lua calls when a table lacks something: behaviour, be it a function or a table.
const EVENTS: [&[u8]; 3] = [b"__index", b"__newindex", b"__call"];

/// What becomes of a place whose kind differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KindFate {
    /// Only the program has changed it.
    Stays,
    /// Only the file has.
    File,
    /// Both have, or nobody knows.
    Conflict,
}

/// The kind by which two values differ; none for what goes with every kind: `nil`, `false`, and
/// what no file writes down.
fn kind_of(vm: &Vm, value: Ref) -> Option<Kind> {
    match vm.kind(value) {
        Kind::Boolean => vm.truthy(value).then_some(Kind::Boolean),
        kind @ (Kind::Number | Kind::String | Kind::Table | Kind::Function) => Some(kind),
        _ => None,
    }
}

/// Are they values of two kinds?
pub fn are_two_kinds(vm: &Vm, one: Ref, other: Ref) -> bool {
    let kinds = kind_of(vm, one).zip(kind_of(vm, other));
    kinds.is_some_and(|(one, other)| one != other)
}

impl Pairer<'_> {
    /// Decides all places of which both sides are known, but not how they differ.
    pub(super) fn settle_kinds(&mut self) -> Result<()> {
        for number in 0..self.out.slots.len() {
            let Some(slot) = self.out.slots.get(number).copied() else {
                break;
            };
            if matches!(slot.action, Action::Keep | Action::Conflict)
                && are_two_kinds(self.vm, slot.old, slot.new)
            {
                let action = self.kind_of_slot(&slot)?;
                if let Some(slot) = self.out.slots.get_mut(number) {
                    slot.action = action;
                }
            }
        }
        for number in 0..self.out.cell_pairs.len() {
            let Some(pair) = self.out.cell_pairs.get(number).copied() else {
                break;
            };
            if matches!(pair.fate, CellFate::Keep | CellFate::Follow)
                && are_two_kinds(self.vm, pair.old_value, pair.new_value)
            {
                let fate = self.kind_of_cell(&pair)?;
                if let Some(pair) = self.out.cell_pairs.get_mut(number) {
                    pair.fate = fate;
                }
            }
        }
        Ok(())
    }

    fn kind_of_slot(&mut self, slot: &SlotDecision) -> Result<Action> {
        let (old, new) = (slot.old, slot.new);
        let place = self.place_in(slot.table, slot.parent, slot.key)?;
        let is_edited = self.is_slot_edited(slot, EditOf::Kind);
        let is_event = EVENTS.iter().any(|name| self.vm.is_string(slot.key, name));
        let is_behaviour =
            |value| matches!(kind_of(self.vm, value), Some(Kind::Function | Kind::Table));
        if is_event && is_behaviour(old) && is_behaviour(new) {
            return Ok(match self.kind_fate(place, old, new, is_edited)? {
                KindFate::Stays => Action::Keep,
                _ => Action::ReplaceImport,
            });
        }
        let [has_function, is_file_function] =
            [old, new].map(|value| self.vm.kind(value) == Kind::Function);
        let is_own = has_function && self.is_own_function(old)?;
        let index = self.vm.integer(slot.key);
        let is_known = place.is_some_and(|place| self.out.base.is_there(place));
        let is_element = index.is_some() && !is_known || self.is_listed(slot.table, index);
        // With `replace`, data that stays wraps itself. In a list all but the module's functions
        // stays exactly as it runs, and so it does under an integer of which nothing is on record.
        // A table that others made callable, and that wraps nothing, is in conflict in any case
        // (`wrappers`).
        let stays = match is_own || is_file_function {
            true => slot.action == Action::Conflict && self.is_callable_of_others(old)?,
            false => self.replace_data && !has_function || is_element,
        };
        if stays {
            return Ok(slot.action);
        }
        Ok(match self.kind_fate(place, old, new, is_edited)? {
            KindFate::Stays if is_own => Action::Follow,
            KindFate::Stays => Action::Keep,
            KindFate::File if !is_own && !is_file_function => Action::ReplaceData,
            // A state that points at one of the module's own functions follows it, and a callback
            // of others is theirs.
            KindFate::Conflict if self.is_replaced_elsewhere(old) => Action::Follow,
            KindFate::Conflict if has_function && !is_own && self.was_empty(place)? => Action::Keep,
            _ => Action::Conflict,
        })
    }

    /// Does a function of the module's own go on as one that the file has in another place?
    fn is_replaced_elsewhere(&self, old: Ref) -> bool {
        let address = self.vm.val(old).addr;
        self.out.answer(self.vm, address).is_some() && !self.out.answers_elsewhere_only(address)
    }

    /// Had the file nothing there, or `false`?
    fn was_empty(&mut self, place: Option<RecordedPlace>) -> Result<bool> {
        let nothing = self.vm.boolean(false)?;
        let (base, nothing) = (&self.out.base, self.vm.digest(nothing));
        Ok(place.is_none_or(|place| !base.is_there(place) || base.had(place, nothing)))
    }

    fn is_callable_of_others(&mut self, value: Ref) -> Result<bool> {
        Ok(self.vm.kind(value) == Kind::Table && self.is_external_callable(value)?)
    }

    fn kind_of_cell(&mut self, pair: &CellPair) -> Result<CellFate> {
        let (old, new) = (pair.old_value, pair.new_value);
        let Some(cell) = self.out.old_cells.get(pair.old as usize).copied() else {
            return Ok(pair.fate);
        };
        let is_data = [old, new]
            .iter()
            .all(|value| self.vm.kind(*value) != Kind::Function);
        if is_data && self.replace_data {
            return Ok(pair.fate); // it wraps itself
        }
        let place = Some(self.cell_place(&cell));
        let is_edited = self.is_cell_edited(pair, EditOf::Kind);
        Ok(match self.kind_fate(place, old, new, is_edited)? {
            KindFate::Stays => pair.fate,
            KindFate::File => CellFate::Take,
            // What no code assigns is what it was initialised with.
            KindFate::Conflict
                if !self.out.base.is_known()
                    && self.vm.kind(old) != Kind::Table
                    && !self.is_assigned_anywhere(pair.old, pair.new)? =>
            {
                CellFate::Take
            }
            // A state that points at one of the module's own functions follows it.
            KindFate::Conflict
                if pair.fate == CellFate::Follow
                    && self.out.answer(self.vm, self.vm.val(old).addr).is_some() =>
            {
                pair.fate
            }
            KindFate::Conflict => CellFate::Conflict,
        })
    }

    /// `is_edited`: what the texts of both versions say, if they tell it.
    fn kind_fate(
        &mut self,
        place: Option<RecordedPlace>,
        old: Ref,
        new: Ref,
        is_edited: Option<bool>,
    ) -> Result<KindFate> {
        let is_made_anew = self.is_fresh(self.vm.val(new));
        // Where the text is the same, only the program can have meant another kind.
        let otherwise = match is_edited {
            Some(false) => KindFate::Stays,
            _ => KindFate::Conflict,
        };
        let Some((place, held)) = place.and_then(|place| Some((place, self.out.base.get(place)?)))
        else {
            return Ok(otherwise);
        };
        let is_table = self.vm.kind(old) == Kind::Table;
        let running = match (self.vm.digest(old), self.number_of(old)) {
            (Some(digest), _) => Held::scalar(digest),
            (None, Some(number)) => Held::object(number),
            (None, None) if is_table => Held::ROW,
            (None, None) => Held::OTHER,
        };
        if self.out.base.is(place, running) {
            // So the file has changed the kind. But what was there before the chunk ran may be the
            // module itself, around what it wraps.
            let wraps_itself = is_edited != Some(true)
                && !is_scalar(self.vm.val(new))
                && !is_made_anew
                && !self.is_import(new)?;
            if wraps_itself {
                return Ok(KindFate::Stays);
            }
            // The same text may be that of a call of what the edit has changed.
            return Ok(match !is_table || self.is_data_as_loaded(place, old)? {
                true => KindFate::File,
                false if is_made_anew && self.identity.is_text_edited() => KindFate::Conflict,
                false => otherwise,
            });
        }
        let is_said_again = match self.vm.digest(new) {
            Some(digest) => self.out.base.had(place, Some(digest)),
            None if is_edited == Some(true) => false,
            None => match self.number_of_incoming(new) {
                Some(number) => held == Held::object(number),
                // Where no text is kept, all objects on record are tables of data.
                None => {
                    let is_kept =
                        self.identity.versions().is_none() || self.identity.is_kept(self.vm, new);
                    held == Held::ROW && self.vm.kind(new) == Kind::Table
                        || held.number().is_some() && is_kept
                }
            },
        };
        Ok(match is_said_again {
            true => KindFate::Stays,
            false => otherwise,
        })
    }
}
