//! R3.1: tables that stand in several places of the file (`M.current = M.states.idle`).
//!
//! One of the places is the table's own, the others refer to it, and may lead elsewhere in A1. A table with several places waits until
//! all that have one are paired: then most of A1's tables are known, and what is left is settled by what the places say together.

use std::cmp::Reverse;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Pairer, TablePair};
use crate::error::Result;
use crate::known::CellLists;
use crate::mem::{TryInsert, TryPush};
use crate::raw::vm::{Kind, Ref, Val};

/// Entries of A2's tables that are looked at for places; those of a file with more are tables of data.
const MOST_ENTRIES: u32 = 20_000;

/// Rounds of settling; what is left then goes as it is ranked.
const MOST_ROUNDS: u32 = 16;

/// How often the tables of A2 stand in tables, and what is left to settle.
#[derive(Default)]
pub(super) struct Shared {
    /// Places of A2's tables in tables, by address. Not `__index` and metatables (`parents.rs`), nor a table's reference to itself.
    places: FxHashMap<usize, u32>,
    /// Those that A1 lacks at a place in a table that it has.
    lacking: FxHashSet<usize>,
    waiting: Vec<Waiting>,
}

/// A place that leads to two tables, one of which stands in other places, too.
struct Waiting {
    pair: TablePair,
    /// The place is a name: a key that is a string.
    named: bool,
}

/// Two tables that may be one, as some places say.
struct Claim {
    old: usize,
    new: usize,
    /// A2's table stands at a place, too, that A1 has nothing at.
    elsewhere: bool,
    /// It is rather a new one than A1's.
    is_new: bool,
    votes: u32,
    named: bool,
    equal: u32,
    /// It is settled…
    done: bool,
    /// …as a new one.
    lacks: bool,
}

/// Is it a new table; how many sides have other partners; how many places agree; is none of them a name; the equal plain fields.
type Rank = (bool, u32, Reverse<u32>, bool, Reverse<u32>);

impl Pairer<'_> {
    /// Counts the places of A2's tables.
    pub(super) fn count_places(&mut self) -> Result<()> {
        if self.replace_data {
            return Ok(());
        }
        let mark = self.vm.held();
        let (mut seen, mut cells) = (FxHashSet::default(), CellLists::default());
        let mut work = vec![self.loaded.value];
        for i in 0..self.loaded.changes.len() {
            let Some(change) = self.loaded.changes.get(i).copied() else {
                break;
            };
            let new = self.vm.val(change.new);
            if new.is_table() && self.is_fresh(new) {
                self.count_place(new.addr)?;
            }
            work.try_push(change.new)?;
        }
        let mut left = MOST_ENTRIES;
        while let Some(object) = work.pop() {
            let val = self.vm.val(object);
            if !self.is_fresh(val) || seen.try_insert_value(val.addr, ())?.is_some() {
                continue;
            }
            if val.is_function() {
                let upvalues = self
                    .vm
                    .info(object)
                    .map_or(0, |info| if info.lua { info.upvalues } else { 0 });
                // Functions with the same cells hold the same.
                if !cells.number(self.vm.cells(object, upvalues)?)?.1 {
                    continue;
                }
                for i in 1..=upvalues {
                    let held = self.vm.upvalue(object, i).map(|held| held.value);
                    if held.is_some_and(|held| self.is_fresh(held) && !seen.contains(&held.addr)) {
                        work.try_push(self.vm.upvalue_value(object, i)?)?;
                    }
                }
                continue;
            }
            let metatable = self.vm.metatable_val(object);
            if self.is_fresh(metatable) && !seen.contains(&metatable.addr) {
                work.try_push(self.vm.metatable(object)?)?;
            }
            self.vm.zip(object, Ref::NIL)?;
            while let Some(entry) = self.vm.zip_next() {
                let Some(rest) = left.checked_sub(1) else {
                    self.vm.zip_end();
                    self.vm.release(mark);
                    return Ok(());
                };
                left = rest;
                if !matches!(entry.new.kind, Kind::Table | Kind::Function) || !self.is_fresh(entry.new) {
                    continue;
                }
                let is_place = entry.new.is_table() && entry.new != val;
                if is_place || !seen.contains(&entry.new.addr) {
                    let value = self.vm.zip_keep_pair()?;
                    work.try_push(value)?;
                    if is_place && self.vm.with_bytes(value.after(1), |key| key == b"__index") != Some(true) {
                        self.count_place(entry.new.addr)?;
                    }
                }
            }
        }
        self.vm.release(mark);
        Ok(())
    }

    fn count_place(&mut self, address: usize) -> Result<()> {
        count(&mut self.shared.places, address)
    }

    /// Pairs two tables that a place leads to; the place waits where A2's table has others. `in_cell`: it is no place in a table.
    pub(super) fn pair_at_place(&mut self, pair: TablePair, named: bool, in_cell: bool) -> Result<()> {
        let (old, new) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
        let places = self.shared.places.get(&new).copied().unwrap_or(0) + u32::from(in_cell);
        if places < 2 || self.pairs_seen.contains(&(old, new)) {
            return self.pair_tables(pair.old, pair.new, pair.site, pair.exact);
        }
        self.shared.waiting.try_push(Waiting { pair, named })
    }

    /// Settles the places that wait. A table whose places leave one partner only has it; what nothing tells goes by the number of places
    /// that agree. True when there were any.
    pub(super) fn take_shared(&mut self) -> Result<bool> {
        let waiting = std::mem::take(&mut self.shared.waiting);
        if waiting.is_empty() {
            return Ok(false);
        }
        let mut claims: Vec<Claim> = Vec::new();
        let mut known: FxHashMap<(usize, usize), usize> = FxHashMap::default();
        let mut places = Vec::new();
        for Waiting { pair, named } in waiting {
            let (old, new) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
            let at = match known.get(&(old, new)) {
                Some(at) => *at,
                None => {
                    let elsewhere = self.shared.lacking.contains(&new);
                    let (equal, other_name) = self.compare_fields(pair.old, pair.new)?;
                    known.try_insert_value((old, new), claims.len())?;
                    claims.try_push(Claim {
                        old,
                        new,
                        elsewhere,
                        is_new: elsewhere && other_name,
                        votes: 0,
                        named: false,
                        equal,
                        done: false,
                        lacks: false,
                    })?;
                    claims.len() - 1
                }
            };
            if let Some(claim) = claims.get_mut(at) {
                claim.votes += 1;
                claim.named |= named;
            }
            places.try_push((at, Some(pair)))?;
        }
        // The first place of each claim, for the tables' path.
        let mut first = Vec::new();
        first.try_reserve_exact(claims.len())?;
        first.extend(claims.iter().map(|_| usize::MAX));
        for (i, (at, _)) in places.iter().enumerate() {
            if let Some(first) = first.get_mut(*at).filter(|first| **first == usize::MAX) {
                *first = i;
            }
        }
        for round in 0..=MOST_ROUNDS {
            let mut ranked = self.rank(&mut claims)?;
            ranked.sort_unstable();
            let Some(((is_new, forced, ..), _)) = ranked.first().copied() else {
                break;
            };
            for ((new, free, ..), Reverse(at)) in ranked {
                if round < MOST_ROUNDS && (new, free) != (is_new, forced) {
                    break;
                }
                let Some(claim) = claims.get_mut(at).filter(|claim| !claim.done) else {
                    continue;
                };
                if self.answered.contains(&claim.old) || self.out.tables.contains_key(&claim.new) {
                    continue;
                }
                claim.done = true;
                let is_new = claim.is_new;
                claim.lacks = is_new;
                let place = first.get(at).and_then(|i| places.get_mut(*i));
                let Some(pair) = place.and_then(|(_, pair)| pair.take()) else {
                    continue;
                };
                if is_new {
                    // A table that A1 lacks in a place of its own: here is a reference to it, and A1 refers to another one.
                    self.scan_queue.try_push((pair.new, pair.site))?;
                } else {
                    self.pair_tables(pair.old, pair.new, pair.site, pair.exact)?;
                }
            }
        }
        for (at, pair) in places {
            let is_new = claims.get(at).is_some_and(|claim| claim.lacks);
            if let Some(pair) = pair.filter(|_| !is_new) {
                self.pair_tables(pair.old, pair.new, pair.site, pair.exact)?;
            }
        }
        Ok(true)
    }

    /// The claims that are open, with what tells the better ones: smaller is better.
    fn rank(&self, claims: &mut [Claim]) -> Result<Vec<(Rank, Reverse<usize>)>> {
        let (mut of_old, mut of_new): (FxHashMap<usize, u32>, FxHashMap<usize, u32>) = Default::default();
        for claim in claims.iter_mut() {
            claim.done |= self.answered.contains(&claim.old) || self.out.tables.contains_key(&claim.new);
            if !claim.done {
                count(&mut of_old, claim.old)?;
                count(&mut of_new, claim.new)?;
            }
        }
        let mut ranked = Vec::new();
        for (at, claim) in claims.iter().enumerate().filter(|(_, claim)| !claim.done) {
            let alone = |counts: &FxHashMap<usize, u32>, table: usize| counts.get(&table) == Some(&1);
            let old_alone = alone(&of_old, claim.old);
            let new_alone = alone(&of_new, claim.new) && !claim.elsewhere;
            let free = 2 - u32::from(old_alone) - u32::from(new_alone);
            let rank = (
                claim.is_new,
                free,
                Reverse(claim.votes),
                !claim.named,
                Reverse(claim.equal),
            );
            ranked.try_push((rank, Reverse(at)))?; // deeper places, which are met later, are more often a table's own
        }
        Ok(ranked)
    }

    /// Notes that A1's table has nothing under a key that A2's has a table under.
    pub(super) fn note_lacking(&mut self, new: Val) -> Result<()> {
        if new.is_table() && self.shared.places.get(&new.addr).is_some_and(|places| *places > 1) {
            self.shared.lacking.try_insert_value(new.addr, ())?;
        }
        Ok(())
    }

    /// How many plain fields of A2's table A1's has with the same value; and do all strings that both have differ, one at least?
    fn compare_fields(&mut self, old: Ref, new: Ref) -> Result<(u32, bool)> {
        let (mut equal, mut same, mut other) = (0, false, false);
        self.vm.zip(new, old)?;
        while let Some(entry) = self.vm.zip_next() {
            if super::merge::is_scalar(entry.new) && super::merge::is_scalar(entry.old) {
                let is_string = entry.new.kind == Kind::String;
                if self.vm.zip_equal() {
                    equal += 1;
                    same |= is_string;
                } else {
                    other |= is_string;
                }
            }
        }
        Ok((equal, other && !same))
    }
}

fn count(counts: &mut FxHashMap<usize, u32>, address: usize) -> Result<()> {
    match counts.get_mut(&address) {
        Some(count) => *count += 1,
        None => {
            counts.try_insert_value(address, 1)?;
        }
    }
    Ok(())
}
