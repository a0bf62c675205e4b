//! Lists of records (R5.3, R5.4): which row is which, when the program has moved, added or removed
//! some.
//!
//! A row of A2 that has functions answers to a row of A1 whose plain fields (its name, its id) are
//! the same as the file's. What is left answers by its place, where both have as many.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::merge::is_scalar;
use super::{EntryPair, Fit, Pairer, TablePair};
use crate::lua::vm::{Kind, Ref};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Longer lists are compared by index.
pub(super) const MOST_ROWS: usize = 500;

/// A running table with more entries holds data.
const MOST_LOOKED_AT: usize = 10_000;

/// What was found out about tables, each of which may be asked for in many places.
#[derive(Default)]
pub(super) struct Code {
    /// Does the table at an address have functions?
    any: FxHashMap<usize, bool>,
    /// Does A1's table have functions of the module's own, beside A2's?
    own: FxHashMap<(usize, usize), bool>,
}

/// A row and its index.
pub(super) type Row = (i64, Ref);

/// Two rows that are alike: is the sign weak; how much; do they stand at different indices; which
/// row of A2 and which of A1.
type Alike = (bool, Reverse<u32>, bool, usize, usize);

/// The pairs of rows, the best first. A weak sign counts where each of the two has no other that is
/// as good.
fn unambiguous(mut alike: Vec<Alike>) -> Result<Vec<Alike>> {
    let (mut best2, mut best1): (FxHashMap<usize, Best>, FxHashMap<usize, Best>) =
        Default::default();
    for (weak, Reverse(likeness), _, j, i) in &alike {
        for (best, row) in [(&mut best2, j), (&mut best1, i)] {
            if !*weak {
                continue;
            }
            match best.get_mut(row) {
                Some(best) if *likeness > best.most => {
                    *best = Best {
                        most: *likeness,
                        rows: 1,
                    }
                }
                Some(best) => best.rows += u32::from(*likeness == best.most),
                None => {
                    best.try_insert_value(
                        *row,
                        Best {
                            most: *likeness,
                            rows: 1,
                        },
                    )?;
                }
            }
        }
    }
    let is_best = |best: &FxHashMap<usize, Best>, row: usize, likeness: u32| {
        best.get(&row)
            .is_some_and(|best| best.most == likeness && best.rows == 1)
    };
    alike.retain(|(weak, Reverse(likeness), _, j, i)| {
        !weak || is_best(&best2, *j, *likeness) && is_best(&best1, *i, *likeness)
    });
    alike.sort_unstable();
    Ok(alike)
}

/// How much the rows that are most like one have in common with it, and how many they are.
struct Best {
    most: u32,
    rows: u32,
}

fn set(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

impl Pairer<'_> {
    /// Pairs the rows of a list whose running rows do not stand where the file's do. `beyond`: rows
    /// of A2 at whose index A1 has nothing.
    pub(super) fn realign(
        &mut self,
        pair: &TablePair,
        list: i64,
        entries: &[EntryPair],
        beyond: &[EntryPair],
    ) -> Result<()> {
        if self.replace_data || list == 0 {
            return Ok(());
        }
        let mut new_rows: Vec<Row> = Vec::new();
        let mut in_place = true;
        for beside in entries.iter().chain(beyond) {
            if !beside.new_val.is_table() || beside.order.is_none() {
                continue;
            }
            let Some(index) = self
                .vm
                .integer(beside.key)
                .filter(|index| (1..=list).contains(index))
            else {
                continue;
            };
            if self.bears_code(beside.new)? {
                in_place = in_place
                    && beside.old_val.is_table()
                    && self.same_fields(beside.old, beside.new)?;
                new_rows.try_push((index, beside.new))?;
            }
        }
        if in_place || new_rows.len() > MOST_ROWS {
            return Ok(());
        }
        let old_rows = self.rows_of(pair.old)?;
        let missing = list != self.vm.raw_len(pair.old);
        let mut taken = collected(old_rows.iter().map(|_| Ok(false)))?; // of A1's rows
        let mut left = Vec::new();
        for (index, new) in new_rows {
            let stands = old_rows.iter().position(|(at, _)| *at == index);
            match stands.zip(stands.and_then(|i| old_rows.get(i))) {
                Some((i, (_, old))) if self.same_fields(*old, new)? => set(&mut taken, i),
                _ => left.try_push((index, new))?,
            }
        }
        let mut found = Vec::new();
        let mut strangers = Vec::new();
        for (index, new) in left {
            let mut place = None;
            for (i, (_, old)) in old_rows.iter().enumerate() {
                if taken.get(i) == Some(&false) && self.same_fields(*old, new)? {
                    place = Some(i);
                    break;
                }
            }
            match place {
                Some(i) => {
                    set(&mut taken, i);
                    found.try_push((i, new))?;
                }
                None => strangers.try_push((index, new))?,
            }
        }
        // Rows that the file or the program has changed: those that are most alike, first where
        // they stand at one index.
        let mut alike = Vec::new();
        for (j, (index, new)) in strangers.iter().enumerate() {
            for (i, (at, old)) in old_rows.iter().enumerate() {
                if taken.get(i) == Some(&false)
                    && let Some((weak, likeness)) = self.likeness(*old, *new)?
                {
                    alike.try_push((weak, Reverse(likeness), at != index, j, i))?;
                }
            }
        }
        let alike = unambiguous(alike)?;
        for (_, _, elsewhere, j, i) in alike {
            let Some((index, new)) = strangers.get(j).copied().filter(|(index, _)| *index > 0)
            else {
                continue;
            };
            if taken.get(i) == Some(&false) {
                set(&mut taken, i);
                if elsewhere || missing {
                    found.try_push((i, new))?;
                }
                if let Some(stranger) = strangers.get_mut(j) {
                    stranger.0 = -index; // settled
                }
            }
        }
        for (index, new) in strangers {
            let mut places = old_rows.iter().zip(&taken);
            let mut is_free = |at: i64| places.any(|((i, _), taken)| *i == at && !taken);
            if index > 0 && (missing || !is_free(index)) {
                self.moved.try_insert_value(self.vm.val(new).addr, ())?;
            }
        }
        for (i, new) in found {
            self.moved.try_insert_value(self.vm.val(new).addr, ())?;
            if let Some((at, old)) = old_rows.get(i).copied() {
                let site = self.row_site(pair.site, at)?;
                self.pair_tables(old, new, site, Fit::Merged)?;
            }
        }
        Ok(())
    }

    /// Pairs rows that A2's chunk appended to a list with the rows of the module's own that stand
    /// there. Returns those of A2 that found one.
    pub(super) fn match_rows(
        &mut self,
        list: Ref,
        site: SiteId,
        added: &[Row],
    ) -> Result<Vec<Ref>> {
        let mut held = Vec::new();
        for (at, old) in self.rows_of(list)? {
            if !self.has_partner(self.vm.val(old).addr) && self.has_own_function(old, Ref::NIL)? {
                held.try_push((at, old))?;
            }
        }
        let mut matched = Vec::new();
        let mut left = Vec::new();
        for (_, new) in added {
            let mut place = None;
            for (i, (_, old)) in held.iter().enumerate() {
                if self.same_fields(*old, *new)? {
                    place = Some(i);
                    break;
                }
            }
            match place {
                Some(i) => matched.try_push((held.remove(i), *new))?,
                None => left.try_push(*new)?,
            }
        }
        if left.len() == held.len() {
            matched.extend(held.into_iter().zip(left));
        }
        let mut found = Vec::new();
        for ((at, old), new) in matched {
            let place = self.row_site(site, at)?;
            self.pair_tables(old, new, place, Fit::Merged)?;
            found.try_push(new)?;
        }
        Ok(found)
    }

    fn row_site(&mut self, list: SiteId, index: i64) -> Result<SiteId> {
        let key = self.vm.number(index)?;
        self.out.sites.key(list, key)
    }

    /// The tables that a list holds, by index.
    fn rows_of(&mut self, list: Ref) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for index in 1..=self.vm.raw_len(list).min(MOST_ROWS as i64) {
            let row = self.vm.index(list, index)?;
            if self.vm.kind(row) == Kind::Table {
                rows.try_push((index, row))?;
            }
        }
        Ok(rows)
    }

    /// Does a table of A2 have a function? No walk may be under way.
    pub(super) fn bears_code(&mut self, table: Ref) -> Result<bool> {
        let address = self.vm.val(table).addr;
        if let Some(known) = self.code.any.get(&address) {
            return Ok(*known);
        }
        let mut found = false;
        let mut cursor = self.vm.walk(table, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            if entry.new.is_function() {
                found = true;
                cursor.end(self.vm);
                break;
            }
        }
        self.code.any.try_insert_value(address, found)?;
        Ok(found)
    }

    /// Does a table of A1 have a function of the module's own? One with more than
    /// [`MOST_LOOKED_AT`] entries holds data: there only the keys of `new`, A2's table beside
    /// it, are looked up. No walk may be under way.
    pub(super) fn has_own_function(&mut self, old: Ref, new: Ref) -> Result<bool> {
        let tables = (self.vm.val(old).addr, self.vm.val(new).addr);
        if let Some(known) = self.code.own.get(&tables) {
            return Ok(*known);
        }
        let found = match self.has_own_among(old, Ref::NIL, MOST_LOOKED_AT)? {
            None if self.vm.val(new).is_table() => self.has_own_among(new, old, usize::MAX)?,
            found => found,
        };
        let found = found.unwrap_or(false);
        self.code.own.try_insert_value(tables, found)?;
        Ok(found)
    }

    /// Is a function of the module's own among the values of a table, or, with `beside`, among
    /// those that that one has under the table's keys? None where the table has more than
    /// `most` entries, and none among the first of them.
    fn has_own_among(&mut self, table: Ref, beside: Ref, most: usize) -> Result<Option<bool>> {
        if usize::try_from(self.vm.raw_len(table)).is_ok_and(|length| length > most) {
            return Ok(None);
        }
        let has_beside = beside != Ref::NIL;
        let mut count = 0;
        let mut cursor = self.vm.walk(table, beside)?;
        while let Some(entry) = cursor.next(self.vm) {
            count += 1;
            if count > most {
                cursor.end(self.vm);
                return Ok(None);
            }
            if !(if has_beside { entry.old } else { entry.new }).is_function() {
                continue;
            }
            let mark = self.vm.held();
            let kept = cursor.keep(self.vm)?;
            let is_own = self.is_own_function(if has_beside { kept.old } else { kept.new })?;
            self.vm.release(mark);
            if is_own {
                cursor.end(self.vm);
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// How many plain fields both rows have with the same value; none where too little says that
    /// they are one: the file's row needs an equal string, if it has strings, else an equal
    /// number. Of a row without either it is a weak sign how many names of functions both have.
    fn likeness(&mut self, old: Ref, new: Ref) -> Result<Option<(bool, u32)>> {
        let (mut has_string, mut has_number, mut strings, mut numbers, mut functions) =
            (false, false, 0, 0, 0);
        let mut cursor = self.vm.walk(new, old)?;
        while let Some(entry) = cursor.next(self.vm) {
            let equal = u32::from(is_scalar(entry.new) && cursor.values_equal(self.vm));
            match entry.new.kind {
                Kind::String => {
                    has_string = true;
                    strings += equal;
                }
                Kind::Number => {
                    has_number = true;
                    numbers += equal;
                }
                Kind::Function => functions += u32::from(entry.old.is_function()),
                _ => {}
            }
        }
        let weak = !has_string && !has_number;
        let (some, all) = match (weak, has_string) {
            (true, _) => (functions, functions),
            (_, true) => (strings, strings + numbers),
            _ => (numbers, numbers),
        };
        Ok((some > 0).then_some((weak, all)))
    }

    /// Has the running row every plain field of the file's, with the same value, and at least one?
    fn same_fields(&mut self, old: Ref, new: Ref) -> Result<bool> {
        let (mut some, mut same) = (false, true);
        let mut cursor = self.vm.walk(new, old)?;
        while let Some(entry) = cursor.next(self.vm) {
            if matches!(entry.new.kind, Kind::String | Kind::Number | Kind::Boolean) {
                some = true;
                same = same && cursor.values_equal(self.vm);
            }
        }
        Ok(some && same)
    }
}
