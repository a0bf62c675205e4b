//! R3.1: tables that stand in several places of the file (`M.current = M.states.idle`), or of the
//! running program.
//!
//! One of the places is the table's own, the others refer to it, and may lead elsewhere on the
//! other side. A table with several places waits until all that have one are paired: then most
//! tables are known, and what is left is settled by what the places say together.

use std::cmp::Reverse;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{EntryPair, Pairer, TablePair};
use crate::lua::vm::{Kind, Ref};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Rounds of settling; what is left then goes as it is ranked.
const MOST_ROUNDS: u32 = 32;

/// What is left to settle.
#[derive(Default)]
pub(super) struct AliasedTables {
    /// Tables with several places that A1 lacks at one, in a table that it has.
    lacking: FxHashSet<usize>,
    waiting: Vec<Waiting>,
}

/// A place that leads to two tables, one of which stands in other places, too.
struct Waiting {
    pair: TablePair,
    /// The place is a name: a key that is a string.
    named: bool,
    /// How deep it is; a local is none.
    depth: u32,
}

/// What leads to two tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// A key that is a string.
    Name,
    /// Another key.
    OtherKey,
    /// A local: no place in a table.
    Local,
}

/// Two tables that may be one, as some places say.
struct Candidate {
    old: usize,
    new: usize,
    /// The places that are left.
    places: Vec<TablePair>,
    /// How many there were.
    votes: u32,
    /// One of them is a name.
    named: bool,
    /// A2's table stands at a place, too, that A1 has nothing at.
    elsewhere: bool,
    /// It is rather a new one than A1's.
    is_new: bool,
    /// A2's table has functions, and A1's none of the module's own: the program has put it there.
    external: bool,
    equal: u32,
    /// The deepest place.
    depth: u32,
    /// A2's table in the order of creation.
    order: u32,
    done: bool,
}

/// Is it a new table, or one of the program's own; how many sides have other partners; how many
/// places agree; is none of them a name; the equal plain fields; how deep the deepest place is,
/// since such ones are more often a table's own. What follows decides among equals: does A1 lack it
/// elsewhere; the order of creation, as a table is made before others refer to it.
type Rank = (
    (
        bool,
        bool,
        u32,
        Reverse<u32>,
        bool,
        Reverse<u32>,
        Reverse<u32>,
    ),
    bool,
    u32,
);

impl Pairer<'_> {
    /// Pairs two tables that a place leads to; the place waits where one of them has others.
    pub(super) fn pair_at_place(&mut self, pair: TablePair, kind: PlaceKind) -> Result<()> {
        let (old, new) = (self.vm.val(pair.old), self.vm.val(pair.new));
        let places = |order| self.graph.places(order) + u32::from(kind == PlaceKind::Local);
        let has_others =
            self.out.known.places(old.addr) > 1 || self.order_of(new).map_or(0, places) > 1;
        if has_others && !self.are_paired(pair.old, pair.new) {
            let named = kind != PlaceKind::OtherKey;
            let depth = match kind {
                PlaceKind::Local => 0,
                _ => self.out.sites.depth(pair.site),
            };
            return self
                .aliased
                .waiting
                .try_push(Waiting { pair, named, depth });
        }
        self.pair_tables(pair.old, pair.new, pair.site, pair.fit)
    }

    /// Settles the places that wait. A table whose places leave one partner only has it; what
    /// nothing tells goes by the number of places that agree. True when there were any.
    pub(super) fn resolve_aliased(&mut self) -> Result<bool> {
        let waiting = std::mem::take(&mut self.aliased.waiting);
        if waiting.is_empty() {
            return Ok(false);
        }
        let mut candidates = self.candidates(waiting)?;
        for round in 0..=MOST_ROUNDS {
            let mut ranked = self.rank(&mut candidates)?;
            ranked.sort_unstable();
            let Some(((best, ..), _)) = ranked.first().copied() else {
                break;
            };
            for ((found, ..), at) in ranked {
                if round < MOST_ROUNDS && found != best {
                    break;
                }
                let Some(candidate) = candidates
                    .get_mut(at)
                    .filter(|candidate| !candidate.places.is_empty())
                else {
                    continue;
                };
                if !self.are_free(candidate.old, candidate.new) {
                    continue;
                }
                candidate.done = true;
                let pair = candidate.places.remove(0);
                if candidate.is_new {
                    // A table that A1 lacks in a place of its own: here is a reference to it, and
                    // A1 refers to another one.
                    candidate.places = Vec::new();
                    self.scan_queue.try_push((pair.new, pair.site))?;
                } else {
                    self.pair_tables(pair.old, pair.new, pair.site, pair.fit)?;
                }
            }
        }
        for pair in candidates
            .into_iter()
            .flat_map(|candidate| candidate.places)
        {
            self.pair_tables(pair.old, pair.new, pair.site, pair.fit)?;
        }
        Ok(true)
    }

    /// What the places say together.
    fn candidates(&mut self, waiting: Vec<Waiting>) -> Result<Vec<Candidate>> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut known: FxHashMap<(usize, usize), usize> = FxHashMap::default();
        for Waiting { pair, named, depth } in waiting {
            let (old, new) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
            if !known.contains_key(&(old, new)) {
                let elsewhere = self.aliased.lacking.contains(&new);
                let (equal, other_name) = self.compare_fields(pair.old, pair.new)?;
                let external =
                    self.bears_code(pair.new)? && !self.has_own_function(pair.old, pair.new)?;
                known.try_insert_value((old, new), candidates.len())?;
                candidates.try_push(Candidate {
                    old,
                    new,
                    places: Vec::new(),
                    votes: 0,
                    named: false,
                    elsewhere,
                    is_new: elsewhere && other_name,
                    external,
                    equal,
                    depth: 0,
                    order: self.loaded.fresh.order(new).unwrap_or(u32::MAX),
                    done: false,
                })?;
            }
            if let Some(candidate) = known
                .get(&(old, new))
                .and_then(|at| candidates.get_mut(*at))
            {
                candidate.votes += 1;
                candidate.named |= named;
                candidate.depth = candidate.depth.max(depth);
                candidate.places.try_push(pair)?;
            }
        }
        Ok(candidates)
    }

    /// The candidates that are open, with what tells the better ones: smaller is better.
    fn rank(&self, candidates: &mut [Candidate]) -> Result<Vec<(Rank, usize)>> {
        let (mut of_old, mut of_new): (FxHashMap<usize, u32>, FxHashMap<usize, u32>) =
            Default::default();
        for candidate in candidates.iter_mut() {
            candidate.done |= !self.are_free(candidate.old, candidate.new);
            if !candidate.done && !candidate.external {
                count(&mut of_old, candidate.old)?;
                count(&mut of_new, candidate.new)?;
            }
        }
        let mut ranked = Vec::new();
        for (at, candidate) in candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| !candidate.done)
        {
            let alone =
                |counts: &FxHashMap<usize, u32>, table: usize| counts.get(&table) == Some(&1);
            let old_alone = alone(&of_old, candidate.old);
            let new_alone = alone(&of_new, candidate.new);
            let free = 2 - u32::from(old_alone) - u32::from(new_alone);
            let rank = (
                (
                    candidate.is_new,
                    candidate.external,
                    free,
                    Reverse(candidate.votes),
                    !candidate.named,
                    Reverse(candidate.equal),
                    Reverse(candidate.depth),
                ),
                candidate.elsewhere,
                candidate.order,
            );
            ranked.try_push((rank, at))?;
        }
        Ok(ranked)
    }

    /// Notes that A1's table has nothing under a key that A2's has a table under.
    pub(super) fn note_lacking(&mut self, beside: &EntryPair) -> Result<()> {
        let new = beside.new_val;
        let has_others = |order| self.graph.places(order) > 1;
        if new.is_table() && beside.order.is_some_and(has_others) {
            self.aliased.lacking.try_insert_value(new.addr, ())?;
        }
        Ok(())
    }

    /// How many plain fields of A2's table A1's has with the same value; and do all strings that
    /// both have differ, one at least?
    fn compare_fields(&mut self, old: Ref, new: Ref) -> Result<(u32, bool)> {
        let (mut equal, mut same, mut other) = (0, false, false);
        let mut cursor = self.vm.walk(new, old)?;
        while let Some(entry) = cursor.next(self.vm) {
            if super::merge::is_scalar(entry.new) && super::merge::is_scalar(entry.old) {
                let is_string = entry.new.kind == Kind::String && entry.old.kind == Kind::String;
                if cursor.values_equal(self.vm) {
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
