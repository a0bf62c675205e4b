//! The search for an assignment: one candidate for each write, the likeliest first.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::super::names::MatchStrength;
use super::unify::score;
use super::{
    Assignment, DEPTH, Guess, Instead, Keying, Latitude, MOST_TRIES, Search, Spotted, Wanted, What,
};
use crate::lua::heap::Place;
use crate::lua::vm::Ref;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// The older key for which each new integer key stands.
#[derive(Default)]
pub(super) struct BoundKeys {
    by: FxHashMap<i64, Ref>,
    order: Vec<i64>,
}

impl BoundKeys {
    fn bind(&mut self, new: i64, old: Ref) -> Result<()> {
        self.order.try_push(new)?;
        self.by.try_insert_value(new, old).map(drop)
    }

    /// Forgets all but the first ones.
    fn truncate(&mut self, count: usize) {
        for new in self.order.drain(count.min(self.order.len())..) {
            self.by.remove(&new);
        }
    }
}

impl Search<'_> {
    /// Tries the candidates of the first write that is left, then the rest.
    pub(super) fn search(
        &mut self,
        wanted: &[Wanted],
        assignment: &mut Assignment,
        keys: &mut BoundKeys,
        keying: Keying,
        tries: &mut u32,
        best: &mut Option<(Assignment, bool)>,
    ) -> Result<()> {
        *tries += 1;
        if *tries > MOST_TRIES {
            self.cut_tries();
            return Ok(());
        }
        let Some((one, rest)) = wanted.split_first() else {
            return self.keep_best(assignment, best);
        };
        if one.what == What::Beside {
            return match self.stands_beside(one, keys, keying) {
                true => self.search(rest, assignment, keys, keying, tries, best),
                false => Ok(()),
            };
        }
        for candidate in &one.candidates {
            let (mark, bound) = (assignment.mark(), keys.order.len());
            if self.fits(one, *candidate, assignment, keys, keying)? {
                self.search(rest, assignment, keys, keying, tries, best)?;
            }
            assignment.back(self.vm, mark);
            keys.truncate(bound);
            let is_certain = |best: &Assignment| {
                best.score >= best.places.len() as u32 * score(MatchStrength::Name)
            };
            if !self.is_loose()
                && best
                    .as_ref()
                    .is_some_and(|(best, _)| is_certain(best) && !best.places.is_empty())
            {
                return Ok(());
            }
        }
        Ok(())
    }

    fn cut_tries(&mut self) {
        self.cut = Some((
            "only the first {} ways were tried in which it may repeat an older call; guard it with \
             hotreload.reloading() (R5.5)",
            MOST_TRIES as usize,
        ));
    }

    /// The same for a call that places very much: each write takes the first candidate that fits,
    /// and none is gone back to.
    pub(super) fn search_once(
        &mut self,
        wanted: &[Wanted],
        assignment: &mut Assignment,
        keying: Keying,
        best: &mut Option<(Assignment, bool)>,
    ) -> Result<()> {
        let (mut keys, mut tries) = (BoundKeys::default(), 0u32);
        for one in wanted {
            tries = tries.saturating_sub(1); // the first one of each is free
            if one.what == What::Beside {
                if !self.stands_beside(one, &keys, keying) {
                    return Ok(());
                }
                continue;
            }
            let mut found = false;
            for candidate in &one.candidates {
                let (mark, bound) = (assignment.mark(), keys.order.len());
                tries += 1;
                found = tries <= MOST_TRIES
                    && self.fits(one, *candidate, assignment, &mut keys, keying)?;
                if tries > MOST_TRIES {
                    self.cut_tries();
                }
                if found || tries > MOST_TRIES {
                    break;
                }
                assignment.back(self.vm, mark);
                keys.truncate(bound);
            }
            if !found {
                return Ok(());
            }
        }
        self.keep_best(assignment, best)
    }

    /// Does what was given beside objects stand under the older key as well?
    fn stands_beside(&self, one: &Wanted, keys: &BoundKeys, keying: Keying) -> bool {
        let integer = self.vm.integer(one.key);
        let known = integer.filter(|_| keying == Keying::Bound);
        match (known.and_then(|new| keys.by.get(&new)), one.table) {
            (Some(old_key), Some(table)) => {
                self.vm.holds(self.past.table(table), *old_key, one.new)
            }
            _ => true,
        }
    }

    /// May the candidate, a value and its key, be what a write wants? If so, the assignment has
    /// both.
    fn fits(
        &mut self,
        one: &Wanted,
        (old, old_key): (Ref, Ref),
        assignment: &mut Assignment,
        keys: &mut BoundKeys,
        keying: Keying,
    ) -> Result<bool> {
        let table = one.table.map(|table| self.past.table(table));
        let place = match table {
            Some(table) if old_key != Ref::NIL => Spotted::At(Place::Value {
                table,
                key: old_key,
            }),
            None if self.vm.same(old, one.old) => one.place,
            _ => Spotted::Nowhere,
        };
        let guess = Guess {
            new: one.new,
            old,
            place,
        };
        if one.what == What::Key {
            // The candidate's value stands under the key that is to be the older one.
            let as_key = Guess {
                new: one.key,
                old: old_key,
                place: Spotted::Key(table.unwrap_or_default()),
            };
            return Ok(self.unify(assignment, as_key)?
                && (!Self::is_object(self.vm.val(one.new)) || self.value(assignment, guess)?));
        }
        if old_key != Ref::NIL && self.vm.val(one.old).is_nil() {
            assignment.scalars.try_push((one.key, old_key))?;
            if let (Keying::Bound, Some(integer)) = (keying, self.vm.integer(one.key)) {
                match keys.by.get(&integer) {
                    Some(known) if !self.vm.same(*known, old_key) => return Ok(false),
                    Some(_) => {}
                    None => keys.bind(integer, old_key)?,
                }
            }
        }
        self.unify(assignment, guess)
    }

    /// Have the functions of other modules the code of the older ones?
    fn has_same_code(&mut self, found: &Assignment) -> Result<bool> {
        for (new, old) in &found.pairs {
            if !self.vm.val(*new).is_function() || self.is_own(*new)? {
                continue;
            }
            let [new, old] = [self.vm.profile(*new)?, self.vm.profile(*old)?];
            if new.map(|new| new.digest) != old.map(|old| old.digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An assignment that fits: the best one is kept, the first of several. Where numbers may
    /// differ, that is the one in which they do least, and there must be one alone, unless the
    /// call's text tells which call of the last load it is.
    fn keep_best(
        &mut self,
        found: &Assignment,
        best: &mut Option<(Assignment, bool)>,
    ) -> Result<()> {
        if self.instead == Instead::Metatables && !self.has_same_code(found)? {
            return Ok(()); // the new one brings it
        }
        // Data that differ are this registration's if a name is given, or each function tells.
        let by_functions = self.latitude == Latitude::Data && !self.given.names_data();
        let most = found.places.len() as u32 * score(MatchStrength::Name);
        if by_functions && (most == 0 || found.score < most) {
            return Ok(());
        }
        let is_instead = self.instead != Instead::Nothing && !self.is_loose();
        let (mut mine, mut is_certain) = (is_instead, found.guesses == 0);
        for (_, old) in &found.pairs {
            mine = mine || self.belongs(*old, DEPTH)?;
        }
        if !mine && self.latitude != Latitude::Numbers {
            // Data of the file's, equal in all, by themselves or in records of the callee's.
            let (vm, given) = (&self.vm, self.given);
            let is_data = |new: Ref| given.tables.contains(&vm.val(new).addr);
            mine = found.pairs.iter().all(|(new, _)| vm.val(*new).is_table())
                && found.pairs.iter().any(|(new, _)| is_data(*new));
            is_certain = false;
        }
        if self.latitude == Latitude::Data && (!is_certain || self.under_given_keys) {
            // Nothing but the data tells: they have to stand under the very name that was given.
            let vm = &self.vm;
            mine &= found.pairs.iter().any(|(new, old)| {
                let both = (vm.val(*new).addr, vm.val(*old).addr);
                self.anchors.contains(&both)
            });
        }
        if !mine {
            return Ok(());
        }
        let differ = best.as_ref().is_some_and(|(best, _)| {
            found.pairs.iter().any(|(new, old)| {
                best.old(self.vm.val(*new).addr)
                    .is_none_or(|other| !self.vm.same(other, *old))
            })
        });
        let order = best.as_ref().map_or(Ordering::Greater, |(best, _)| {
            let by_distance = match self.is_known {
                true => Ordering::Equal,
                false => best.distance.total_cmp(&found.distance),
            };
            found.score.cmp(&best.score).then(by_distance)
        });
        let several = order == Ordering::Equal && differ;
        match best {
            Some((known, flag))
                if order.then(known.lines.cmp(&found.lines)) != Ordering::Greater =>
            {
                *flag |= several
            }
            _ => {
                let several = several
                    || order == Ordering::Equal
                        && best.as_ref().is_some_and(|(_, several)| *several);
                let mut copy = Assignment {
                    places: copied(&found.places)?,
                    scalars: copied(&found.scalars)?,
                    score: found.score,
                    lines: found.lines,
                    differs: found.differs,
                    distance: found.distance,
                    ..Assignment::default()
                };
                for (new, old) in &found.pairs {
                    copy.assign(self.vm, *new, *old)?;
                }
                *best = Some((copy, several));
            }
        }
        Ok(())
    }
}
