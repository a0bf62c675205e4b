//! Is a call that registers something one that was made before (R5.5)?
//!
//! A call is a repeat where there is a one-to-one assignment of older objects to the new ones that
//! it placed, under which all that it added is there already. For example `bus.on("hit", M.on_hit)`
//! appends `{ name = "hit", f = <the file's on_hit> }` to a list that has `{ name = "hit", f = <the
//! running on_hit> }`. The search tries the likeliest assignment first, and takes back what did not
//! fit.

use std::cmp::Ordering;

use rustc_hash::{FxHashMap, FxHashSet};

use super::names::{Likeness, Names, Sources};
use super::past::{Past, SMALL, Spot, Write};
use crate::code::Digest;
use crate::lua::heap::Place;
use crate::lua::tracker::Made;
use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::model::ownership::Ownership;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

/// Assignments that are tried for one call.
const MOST_TRIES: u32 = 20_000;
/// Writes of one call for which every assignment is tried. The search is a recursion over them.
const MOST_WRITES: usize = 64;
/// Tables that are keys of tables that are keys, and so on.
const MOST_NESTED: u32 = 20;
/// Objects of a chain (a linked list, closures over closures) that are followed.
const MOST_BEHIND: usize = 2_000;
/// Entries of a record that are looked at for a function of the module's own.
const MOST_LOOKED_AT: usize = 100;
/// How deep a record or wrapper may hold a function of the module's own.
const DEPTH: u32 = 3;

/// What the search asks.
pub struct Search<'a> {
    /// The program.
    pub vm: &'a mut Vm,
    /// What is remembered.
    pub past: &'a Past,
    /// Which functions are the module's own.
    pub ownership: &'a mut Ownership,
    /// Which of them answer to which.
    pub names: &'a mut Names,
    /// Where names are read.
    pub sources: &'a Sources<'a>,
    /// What the load has created.
    pub made: Made<'a>,
    /// The coroutines that it has created, with their functions.
    pub threads: &'a FxHashMap<usize, Ref>,
    /// What the call was given.
    pub given: &'a Given,
    /// Numbers that were given may differ.
    pub loose: bool,
    /// Which entries of large tables hold functions of the module's own; and, for data, all
    /// records.
    pub holders: &'a mut FxHashMap<(u32, bool), Holders>,
    /// Of large tables only those entries are candidates that hold a function of the same name or
    /// code.
    pub narrow: bool,
    /// Entries have been left out for that.
    pub narrowed: bool,
    /// Objects that are still to be compared, and where the older ones stand.
    pub pending: Vec<(Ref, Ref, Spotted)>,
    /// So many keys that are objects are being looked for, one in the other.
    pub nested: u32,
}

/// The entries of a large table that hold functions of the module's own, as they were when they
/// were first asked for.
#[derive(Default)]
pub struct Holders {
    /// Key and value, in the order of integer keys.
    entries: Vec<(Ref, Ref)>,
    /// Records by the strings and numbers that they hold; and those that hold too much to be found
    /// so.
    by_value: FxHashMap<(Kind, u64), Vec<u32>>,
    large: Vec<u32>,
    /// The module's functions, with the entry that holds each.
    functions: Vec<(Ref, u32)>,
    by_function: FxHashMap<usize, Vec<u32>>,
    /// The same by the functions' code; made when it is first needed.
    by_digest: Option<FxHashMap<Digest, Vec<u32>>>,
}

/// Appends to the list under a key.
fn add_under<K: Eq + std::hash::Hash>(
    map: &mut FxHashMap<K, Vec<u32>>,
    key: K,
    entry: u32,
) -> Result<()> {
    map.try_reserve(1)?;
    let list = map.entry(key).or_default();
    match list.last() {
        Some(last) if *last == entry => Ok(()),
        _ => list.try_push(entry),
    }
}

/// What a call was given: its arguments, and what stands in those of its tables that the load has
/// made.
#[derive(Default)]
pub struct Given {
    /// Strings and numbers, and objects that existed before, by identity.
    pub values: FxHashSet<(Kind, u64)>,
    /// The same, held.
    pub held: Vec<Ref>,
    /// Tables of the load among the arguments.
    pub tables: FxHashSet<usize>,
}

/// Why an older function is looked for that stands where a call has not put the file's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The call raised.
    Refused,
    /// The last load made the call as well.
    Recorded,
    /// The call changed nothing: only what stands under a key that it was given.
    UnderGivenKeys,
}

/// An assignment of older objects to new ones.
#[derive(Default)]
pub struct Assignment {
    /// Each new object, and the older one.
    pub pairs: Vec<(Ref, Ref)>,
    by_new: FxHashMap<usize, usize>,
    by_old: FxHashSet<usize>,
    /// Numbers and strings that the call made, and those that stand there in their place.
    pub scalars: Vec<(Ref, Ref)>,
    /// Where functions of the module's own stand that get new code: the place, and the pair.
    pub places: Vec<(Spotted, Ref, Ref)>,
    score: u32,
    /// The sum of the first lines of the module's functions: where nothing else tells, calls were
    /// made in their order.
    lines: u64,
    /// Two numbers that were given and differ: the older, the new one.
    pub differs: Option<(Ref, Ref)>,
    /// How far all such numbers are apart.
    distance: f64,
}

/// A place in an older object.
#[derive(Clone, Copy, Debug)]
pub enum Spotted {
    /// A place of a value.
    At(Place),
    /// The function is a key of this table.
    Key(Ref),
    /// Nowhere that is known.
    Nowhere,
}

/// A state of an assignment that can be gone back to.
#[derive(Clone, Copy)]
struct Mark {
    pairs: usize,
    scalars: usize,
    places: usize,
    score: u32,
    lines: u64,
    differs: Option<(Ref, Ref)>,
    distance: f64,
}

impl Assignment {
    /// The older object for a new one.
    pub fn old(&self, new: usize) -> Option<Ref> {
        let i = self.by_new.get(&new)?;
        self.pairs.get(*i).map(|(_, old)| *old)
    }

    fn mark(&self) -> Mark {
        Mark {
            pairs: self.pairs.len(),
            scalars: self.scalars.len(),
            places: self.places.len(),
            score: self.score,
            lines: self.lines,
            differs: self.differs,
            distance: self.distance,
        }
    }

    fn back(&mut self, vm: &Vm, mark: Mark) {
        for (new, old) in self.pairs.drain(mark.pairs..) {
            self.by_new.remove(&vm.val(new).addr);
            self.by_old.remove(&vm.val(old).addr);
        }
        self.scalars.truncate(mark.scalars);
        self.places.truncate(mark.places);
        self.score = mark.score;
        self.lines = mark.lines;
        self.differs = mark.differs;
        self.distance = mark.distance;
    }

    fn assign(&mut self, vm: &Vm, new: Ref, old: Ref) -> Result<()> {
        self.by_new
            .try_insert_value(vm.val(new).addr, self.pairs.len())?;
        self.by_old.try_insert_value(vm.val(old).addr, ())?;
        self.pairs.try_push((new, old))
    }
}

/// A write of the call that must be there already, and the older objects that it may be: value, and
/// the key under which it stands.
struct Wanted {
    /// The table, for a slot.
    table: Option<u32>,
    /// Its key; nil for a variable.
    key: Ref,
    /// What stands there now, and what stood there.
    new: Ref,
    old: Ref,
    /// Where the older object stands that was there before, if it is the one.
    place: Spotted,
    what: What,
    candidates: Vec<(Ref, Ref)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The new object is the key.
    Key,
    /// It is the value of a slot.
    Value,
    /// It is what a variable holds.
    Cell,
    /// A value that was given, beside objects: `names[n] = name; list[n] = f`.
    Beside,
}

/// Whether a new integer key stands for one older key in all of a call's writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keying {
    Bound,
    Free,
}

/// Was the object created by the load? `threads` has the coroutines that were.
pub fn is_new(made: Made<'_>, threads: &FxHashMap<usize, Ref>, val: Val) -> bool {
    match val.kind {
        Kind::Table | Kind::Function => made.created(val.addr),
        Kind::Thread => threads.contains_key(&val.addr),
        _ => false,
    }
}

impl Search<'_> {
    /// Was the object created by the load?
    pub fn is_new(&self, val: Val) -> bool {
        is_new(self.made, self.threads, val)
    }

    fn is_object(val: Val) -> bool {
        matches!(
            val.kind,
            Kind::Table | Kind::Function | Kind::Thread | Kind::Userdata | Kind::LightUserdata
        )
    }

    fn is_own(&mut self, function: Ref) -> Result<bool> {
        self.ownership.has_function(self.vm, function)
    }

    /// Looks for the assignment, and for another one where there is none under which all integer
    /// keys stand for one older key each.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn find(&mut self, writes: &[Write]) -> Result<Option<Assignment>> {
        // What has the same name or code is found at once. Where there is none such, all else is
        // tried.
        for narrow in [true, false] {
            (self.narrow, self.narrowed) = (narrow, false);
            let found = self.find_among(writes)?;
            let is_best = |found: &Assignment| {
                found.score >= found.places.len() as u32 * score(Likeness::Code)
            };
            if !self.narrowed || found.as_ref().is_some_and(is_best) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_among(&mut self, writes: &[Write]) -> Result<Option<Assignment>> {
        // What the load put into this table before is only moved: `table.insert(list, 1, f)`.
        let mut moved: FxHashSet<(Spot, usize)> = FxHashSet::default();
        for write in writes {
            let old = self.vm.val(write.old);
            if let Spot::Slot(table, _) = write.spot
                && self.is_new(old)
            {
                moved.try_insert_value((Spot::Metatable(table), old.addr), ())?;
            }
        }
        let is_moved = |vm: &Vm, write: &Write| match write.spot {
            Spot::Slot(table, _) => {
                moved.contains(&(Spot::Metatable(table), vm.val(write.new).addr))
            }
            _ => false,
        };
        let mut wanted = Vec::new();
        for write in writes {
            if !is_moved(self.vm, write) && !self.wanted(write, writes, &mut wanted)? {
                return Ok(None);
            }
        }
        // A link within what is added (`list.tail.next = node`) is no place of its own.
        let mut placed: FxHashSet<usize> = FxHashSet::default();
        for one in wanted.iter().filter(|one| !one.candidates.is_empty()) {
            placed.try_insert_value(self.vm.val(one.new).addr, ())?;
        }
        wanted.retain(|one| {
            let is_link =
                one.what == What::Value && one.candidates.is_empty() && !self.is_given(one.key);
            !(is_link && placed.contains(&self.vm.val(one.new).addr))
        });
        if wanted.iter().all(|one| one.what == What::Beside) {
            return Ok(None);
        }
        let vm = &*self.vm;
        wanted.sort_by_key(|one| {
            (
                one.what == What::Beside,
                one.candidates.len(),
                vm.integer(one.key),
            )
        });
        for keying in [Keying::Bound, Keying::Free] {
            let mut assignment = Assignment::default();
            let mut best = None;
            let mut tries = 0;
            let mut keys = Vec::new();
            if wanted.len() > MOST_WRITES {
                self.search_once(&wanted, &mut assignment, keying, &mut best)?;
            } else {
                self.search(
                    &wanted,
                    &mut assignment,
                    &mut keys,
                    keying,
                    &mut tries,
                    &mut best,
                )?;
            }
            if let Some((assignment, several)) = best {
                return Ok((!self.loose || !several).then_some(assignment));
            }
        }
        Ok(None)
    }

    /// Adds what a write wants to be there already. False where that cannot be.
    fn wanted(
        &mut self,
        write: &Write,
        writes: &[Write],
        wanted: &mut Vec<Wanted>,
    ) -> Result<bool> {
        let (old, new) = (self.vm.val(write.old), self.vm.val(write.new));
        let place = self.past.place(write.spot);
        if let (Kind::Table, Kind::Table, true) = (old.kind, new.kind, self.is_new(new))
            && let Some(table) = self.past.number(old.addr)
            && self.is_copy(write.new, write.old)?
        {
            return self.wanted_in_copy(table, write.new, writes, wanted);
        }
        match write.spot {
            Spot::Slot(table, _) => {
                let key = self.past.key(write.spot).unwrap_or_default();
                self.wanted_in(table, key, (write.old, write.new), writes, wanted)
            }
            Spot::Cell(_) if self.is_new(new) => {
                let mut candidates = Vec::new();
                self.behind(write.old, new.kind, &mut candidates)?;
                wanted.try_push(Wanted {
                    table: None,
                    key: Ref::NIL,
                    new: write.new,
                    old: write.old,
                    place: Spotted::At(place),
                    what: What::Cell,
                    candidates,
                })?;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// Is a new table a copy of an older one, with something more? (`list = { table.unpack(list), f
    /// }`)
    fn is_copy(&mut self, new: Ref, old: Ref) -> Result<bool> {
        let entries = self.vm.keep_entries(new)?;
        let mut shared = 0;
        for KeyValue { key, value } in entries.iter() {
            let val = self.vm.val(value);
            shared += u32::from(
                Self::is_object(val) && !self.is_new(val) && self.vm.holds(old, key, value),
            );
        }
        Ok(shared > 0
            || entries.len() == 1 && self.vm.raw_len(new) == 1 && self.vm.raw_len(old) == 0)
    }

    /// What is new in a copy is to be in the older table.
    fn wanted_in_copy(
        &mut self,
        table: u32,
        new: Ref,
        writes: &[Write],
        wanted: &mut Vec<Wanted>,
    ) -> Result<bool> {
        for KeyValue { key, value } in self.vm.keep_entries(new)?.iter() {
            let before = self.vm.get(self.past.table(table), key)?;
            let changed = !self.vm.same(before, value);
            if changed && !self.wanted_in(table, key, (before, value), writes, wanted)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a slot of a table is to have been.
    fn wanted_in(
        &mut self,
        table: u32,
        key: Ref,
        (old, new): (Ref, Ref),
        writes: &[Write],
        wanted: &mut Vec<Wanted>,
    ) -> Result<bool> {
        let (old_val, new_val, key_val) = (self.vm.val(old), self.vm.val(new), self.vm.val(key));
        let integer = self.vm.integer(key);
        let one = |what, candidates| Wanted {
            table: Some(table),
            key,
            new,
            old,
            place: Spotted::Nowhere,
            what,
            candidates,
        };
        if self.is_new(key_val) {
            let candidates =
                self.candidates(table, writes, key, |vm, k1, _| vm.kind(k1) == key_val.kind)?;
            return wanted.try_push(one(What::Key, candidates)).map(|()| true);
        }
        if !self.is_new(new_val) {
            let is_beside =
                old_val.is_nil() && !new_val.is_nil() && integer.is_some() && self.is_given(new);
            if is_beside {
                wanted.try_push(one(What::Beside, Vec::new()))?;
            }
            return Ok(true);
        }
        if !old_val.is_nil() && old_val.kind != new_val.kind {
            return Ok(false);
        }
        let mut candidates = Vec::new();
        if !old_val.is_nil() && !self.is_new(old_val) {
            candidates.try_push((old, key))?;
            if integer.is_none() {
                self.behind(old, new_val.kind, &mut candidates)?;
            }
        }
        if integer.is_some() {
            let more = self.candidates(table, writes, new, |vm, k1, v1| {
                vm.integer(k1).is_some() && vm.kind(v1) == new_val.kind
            })?;
            candidates.try_reserve(more.len())?;
            candidates.extend(more);
        } else if old_val.is_nil() && self.vm.kind(key) == Kind::String && !self.is_given(key) {
            // A name that the callee made: `"h" .. id`.
            candidates = self.candidates(table, writes, new, |vm, k1, v1| {
                vm.kind(v1) == new_val.kind && are_same_but_digits(vm, key, k1)
            })?;
        }
        wanted.try_push(one(What::Value, candidates)).map(|()| true)
    }

    fn is_given(&self, value: Ref) -> bool {
        self.given.values.contains(&self.vm.key_hash(value))
            && self
                .given
                .held
                .iter()
                .any(|given| self.vm.same(*given, value))
    }

    /// Entries of a remembered table, as they were before the call, which were there before the
    /// load; those that have functions of the module's own, or, in a small table, all.
    fn candidates(
        &mut self,
        table: u32,
        writes: &[Write],
        new: Ref,
        fits: impl Fn(&Vm, Ref, Ref) -> bool,
    ) -> Result<Vec<(Ref, Ref)>> {
        let mut found = Vec::new();
        if self.past.len(table) <= SMALL {
            let mut before: FxHashMap<Spot, Ref> = FxHashMap::default();
            for write in writes {
                before.try_insert_value(write.spot, write.old)?;
            }
            for (slot, key, now) in self.past.entries(table) {
                let value = before.get(&Spot::Slot(table, slot)).copied().unwrap_or(now);
                found.try_push((key, value))?;
            }
        } else {
            let is_data = self.vm.kind(new) == Kind::Table && !self.belongs(new, DEPTH)?;
            self.find_holders(table, is_data)?;
            let some = self.narrowed((table, is_data), new)?;
            if let Some(holders) = self.holders.get(&(table, is_data)) {
                let count = some.as_ref().map_or(holders.entries.len(), Vec::len);
                found.try_reserve(count)?;
                match &some {
                    Some(some) => {
                        found.extend(some.iter().filter_map(|i| holders.entries.get(*i as usize)))
                    }
                    None => found.extend_from_slice(&holders.entries),
                }
            }
        }
        let (vm, made) = (&*self.vm, self.made);
        let is_old = |vm: &Vm, r: Ref| {
            let val = vm.val(r);
            !(matches!(val.kind, Kind::Table | Kind::Function) && made.created(val.addr))
        };
        found.retain(|(key, value)| {
            !vm.val(*value).is_nil()
                && is_old(vm, *key)
                && is_old(vm, *value)
                && fits(vm, *key, *value)
        });
        if self.past.len(table) <= SMALL {
            found.sort_by_key(|(key, _)| vm.integer(*key));
        }
        // The caller wants value before key.
        for pair in &mut found {
            *pair = (pair.1, pair.0);
        }
        Ok(found)
    }

    /// Finds the entries of a large table that hold functions of the module's own, once; or, for
    /// data, all records.
    fn find_holders(&mut self, table: u32, is_data: bool) -> Result<()> {
        if self.holders.contains_key(&(table, is_data)) {
            return Ok(());
        }
        self.names.prepare(self.vm, self.ownership, self.sources)?;
        let mut holders = Holders::default();
        let mut entries = collected(
            self.past
                .entries(table)
                .map(|(_, key, value)| Ok((key, value))),
        )?;
        let vm = &*self.vm;
        entries.sort_by_key(|(key, _)| vm.integer(*key));
        for (key, value) in entries {
            let mut functions = Vec::new();
            let has_key = self.own_functions(key, 0, Some(&mut functions))?;
            let is_row = is_data && self.vm.kind(value) == Kind::Table;
            if !self.own_functions(value, DEPTH, Some(&mut functions))? && !has_key && !is_row {
                continue;
            }
            let entry = holders.entries.len() as u32;
            holders.entries.try_push((key, value))?;
            for function in functions {
                holders.functions.try_push((function, entry))?;
                let current = self.names.current(self.vm, self.sources.lineage, function);
                add_under(&mut holders.by_function, current, entry)?;
            }
            let entries = self.vm.keep_some(value, MOST_LOOKED_AT)?;
            if entries.len() as usize == MOST_LOOKED_AT {
                holders.large.try_push(entry)?;
            }
            for held in entries.values() {
                if matches!(self.vm.kind(held), Kind::String | Kind::Number) {
                    add_under(&mut holders.by_value, self.vm.key_hash(held), entry)?;
                }
            }
        }
        self.holders.try_insert_value((table, is_data), holders)?;
        Ok(())
    }

    /// Those of a large table's entries with functions of the module's own that may be what a new
    /// object is; none for all.
    fn narrowed(&mut self, table: (u32, bool), new: Ref) -> Result<Option<Vec<u32>>> {
        if self.vm.kind(new) == Kind::Table {
            // What was given stands in the older record as well: of several such values the rarest
            // tells most.
            let entries = self.vm.keep_some(new, SMALL)?;
            let mut rarest: Option<(Kind, u64)> = None;
            let with = |search: &Self, value| {
                let holders = search.holders.get(&table);
                holders
                    .and_then(|holders| holders.by_value.get(&value))
                    .map_or(0, Vec::len)
            };
            for value in entries.values() {
                let kind = self.vm.kind(value);
                if (kind == Kind::String || kind == Kind::Number && !self.loose)
                    && self.is_given(value)
                {
                    let value = self.vm.key_hash(value);
                    if rarest.is_none_or(|rarest| with(self, value) < with(self, rarest)) {
                        rarest = Some(value);
                    }
                }
            }
            if let Some(value) = rarest
                && let Some(holders) = self.holders.get(&table)
            {
                let with = holders.by_value.get(&value).map_or(&[][..], |list| list);
                let mut some = copied(with)?;
                some.try_reserve(holders.large.len())?;
                some.extend_from_slice(&holders.large);
                some.sort_unstable();
                return Ok(Some(some));
            }
        }
        if table.1 && self.loose {
            return Ok(Some(Vec::new())); // a row with other numbers is another row
        }
        if !self.narrow || self.loose {
            return Ok(None);
        }
        let mut functions = Vec::new();
        self.own_functions(new, DEPTH, Some(&mut functions))?;
        let mut some: Vec<u32> = Vec::new();
        for function in functions {
            let likely =
                self.names
                    .likely(self.vm, self.ownership, self.made, self.sources, function)?;
            let Some(holders) = self.holders.get_mut(&table) else {
                continue;
            };
            for address in &likely {
                let with = holders
                    .by_function
                    .get(address)
                    .map_or(&[][..], |list| list);
                some.try_reserve(with.len())?;
                some.extend_from_slice(with);
            }
            if likely.is_empty() {
                if holders.by_digest.is_none() {
                    let mut by_digest = FxHashMap::default();
                    for (function, entry) in &holders.functions {
                        if let Some(digest) = self.names.digest(self.vm, *function)? {
                            add_under(&mut by_digest, digest, *entry)?;
                        }
                    }
                    holders.by_digest = Some(by_digest);
                }
                let digest = self.names.digest_of_new(self.vm, function)?;
                let with = digest.and_then(|digest| holders.by_digest.as_ref()?.get(&digest));
                let with = with.map_or(&[][..], |list| list);
                some.try_reserve(with.len())?;
                some.extend_from_slice(with);
            }
        }
        some.sort_unstable();
        some.dedup();
        self.narrowed = true;
        Ok(Some(some))
    }

    /// Older objects of a kind in a chain that begins at `start`: a linked list, a closure over the
    /// one before.
    fn behind(&mut self, start: Ref, kind: Kind, found: &mut Vec<(Ref, Ref)>) -> Result<()> {
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut queue = Vec::new();
        queue.try_push(start)?;
        let (mut next, is_first) = (0, found.is_empty());
        while let Some(at) = queue.get(next).copied() {
            next += 1;
            let val = self.vm.val(at);
            if next > MOST_BEHIND || !Self::is_object(val) || self.is_new(val) {
                continue;
            }
            if seen.try_insert_value(val.addr, ())?.is_some() {
                continue;
            }
            if val.kind == kind && (is_first || next > 1) {
                found.try_push((at, Ref::NIL))?;
            }
            match val.kind {
                Kind::Table => {
                    for value in self.vm.keep_some(at, 64)?.values() {
                        if matches!(self.vm.kind(value), Kind::Table) || self.vm.kind(value) == kind
                        {
                            queue.try_push(value)?;
                        }
                    }
                }
                Kind::Function if self.vm.is_c_function(at).is_none() && !self.is_own(at)? => {
                    let upvalues = self.vm.info(at)?.map_or(0, |info| info.upvalues);
                    for i in 1..=upvalues {
                        if self
                            .vm
                            .upvalue(at, i)
                            .is_some_and(|upvalue| upvalue.value.kind == kind)
                        {
                            queue.try_push(self.vm.upvalue_value(at, i)?)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Is it a function of the module's own, or a record or wrapper of one?
    pub fn belongs(&mut self, value: Ref, depth: u32) -> Result<bool> {
        let mark = self.vm.held();
        let belongs = self.own_functions(value, depth, None);
        self.vm.release(mark);
        belongs
    }

    /// The same; where there is a list, it gets all functions of the module's own that are found.
    fn own_functions(
        &mut self,
        value: Ref,
        depth: u32,
        mut list: Option<&mut Vec<Ref>>,
    ) -> Result<bool> {
        let mut found = false;
        match self.vm.kind(value) {
            Kind::Function => {
                if self.vm.is_c_function(value).is_some() {
                    return Ok(false);
                }
                if self.is_own(value)? {
                    if let Some(list) = list {
                        list.try_push(value)?;
                    }
                    return Ok(true);
                }
                let upvalues = self.vm.info(value)?.map_or(0, |info| info.upvalues);
                for i in (1..=upvalues).filter(|_| depth > 0) {
                    let held = self
                        .vm
                        .upvalue(value, i)
                        .map_or(Kind::Nil, |upvalue| upvalue.value.kind);
                    if matches!(held, Kind::Function | Kind::Table) {
                        let held = self.vm.upvalue_value(value, i)?;
                        found |= self.own_functions(held, depth - 1, list.as_deref_mut())?;
                    }
                    if found && list.is_none() {
                        break;
                    }
                }
            }
            Kind::Table if depth > 0 => {
                let entries = self.vm.keep_some(value, MOST_LOOKED_AT)?;
                for KeyValue { key, value } in entries.iter() {
                    if self.vm.kind(key) == Kind::Function {
                        found |= self.own_functions(key, 0, list.as_deref_mut())?;
                    }
                    found |= self.own_functions(value, depth - 1, list.as_deref_mut())?;
                    if found && list.is_none() {
                        break;
                    }
                }
            }
            Kind::Thread => found = true,
            _ => {}
        }
        Ok(found)
    }

    /// Where in a table, or in its records, a function stands to which the file's one answers: by
    /// name or code, or under a key that the call was given.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn standing(
        &mut self,
        table: u32,
        new: Ref,
        why: Standing,
    ) -> Result<Option<(Spotted, Ref)>> {
        if !self.is_own(new)? {
            return Ok(None);
        }
        let at = self.past.table(table);
        let mut entries = Vec::new();
        if why == Standing::UnderGivenKeys {
            for key in &self.given.held {
                if self.vm.kind(*key) == Kind::String {
                    entries.try_push((*key, self.vm.get(at, *key)?))?;
                }
            }
        } else {
            entries = collected(
                self.past
                    .entries(table)
                    .map(|(_, key, value)| Ok((key, value))),
            )?;
        }
        for (key, value) in entries {
            if self.vm.same(at, self.sources.globals) {
                return Ok(None); // everything stands behind it
            }
            let least = match (self.is_given(key), why) {
                (true, Standing::Refused | Standing::Recorded) => Some(Likeness::Any),
                (false, Standing::Recorded) => None,
                (_, Standing::Refused | Standing::UnderGivenKeys) => Some(Likeness::Code),
            };
            if let Some(found) = self.standing_in(
                Place::Value { table: at, key },
                value,
                new,
                (least, why),
                DEPTH,
            )? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn standing_in(
        &mut self,
        place: Place,
        value: Ref,
        new: Ref,
        (least, why): (Option<Likeness>, Standing),
        depth: u32,
    ) -> Result<Option<(Spotted, Ref)>> {
        let val = self.vm.val(value);
        if self.is_new(val) {
            return Ok(None);
        }
        if val.is_function() && self.vm.is_c_function(value).is_none() && self.is_own(value)? {
            let likeness = self.names.likeness(
                self.vm,
                self.ownership,
                self.made,
                self.sources,
                (new, value),
            )?;
            let is_enough = least.is_some() && likeness >= least;
            return Ok(is_enough.then_some((Spotted::At(place), value)));
        }
        if val.is_table() && depth > 0 {
            let entries = self.vm.keep_some(value, SMALL)?;
            let is_named = |held| self.vm.kind(held) == Kind::String && self.is_given(held);
            let least = match why {
                Standing::Refused | Standing::Recorded if entries.values().any(is_named) => {
                    Some(Likeness::Any)
                }
                _ => least,
            };
            for KeyValue { key, value: held } in entries.iter() {
                let place = Place::Value { table: value, key };
                if let Some(found) = self.standing_in(place, held, new, (least, why), depth - 1)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Tries the candidates of the first write that is left, then the rest.
    fn search(
        &mut self,
        wanted: &[Wanted],
        assignment: &mut Assignment,
        keys: &mut Vec<(i64, Ref)>,
        keying: Keying,
        tries: &mut u32,
        best: &mut Option<(Assignment, bool)>,
    ) -> Result<()> {
        *tries += 1;
        if *tries > MOST_TRIES {
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
            let (mark, bound) = (assignment.mark(), keys.len());
            if self.fits(one, *candidate, assignment, keys, keying)? {
                self.search(rest, assignment, keys, keying, tries, best)?;
            }
            assignment.back(self.vm, mark);
            keys.truncate(bound);
            let is_certain =
                |best: &Assignment| best.score >= best.places.len() as u32 * score(Likeness::Name);
            if !self.loose
                && best
                    .as_ref()
                    .is_some_and(|(best, _)| is_certain(best) && !best.places.is_empty())
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The same for a call that places very much: each write takes the first candidate that fits,
    /// and none is gone back to.
    fn search_once(
        &mut self,
        wanted: &[Wanted],
        assignment: &mut Assignment,
        keying: Keying,
        best: &mut Option<(Assignment, bool)>,
    ) -> Result<()> {
        let (mut keys, mut tries) = (Vec::new(), 0);
        for one in wanted {
            if one.what == What::Beside {
                if !self.stands_beside(one, &keys, keying) {
                    return Ok(());
                }
                continue;
            }
            let mut found = false;
            for candidate in &one.candidates {
                let (mark, bound) = (assignment.mark(), keys.len());
                tries += 1;
                found = tries <= MOST_TRIES
                    && self.fits(one, *candidate, assignment, &mut keys, keying)?;
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
    fn stands_beside(&self, one: &Wanted, keys: &[(i64, Ref)], keying: Keying) -> bool {
        let integer = self.vm.integer(one.key);
        let known = keys
            .iter()
            .find(|(new, _)| keying == Keying::Bound && Some(*new) == integer);
        match (known, one.table) {
            (Some((_, old_key)), Some(table)) => {
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
        keys: &mut Vec<(i64, Ref)>,
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
        if one.what == What::Key {
            // The candidate's value stands under the key that is to be the older one.
            return Ok(self.unify(
                assignment,
                one.key,
                old_key,
                Spotted::Key(table.unwrap_or_default()),
            )? && (!Self::is_object(self.vm.val(one.new))
                || self.value(assignment, one.new, old, place)?));
        }
        if old_key != Ref::NIL && self.vm.val(one.old).is_nil() {
            assignment.scalars.try_push((one.key, old_key))?;
            if let (Keying::Bound, Some(integer)) = (keying, self.vm.integer(one.key)) {
                match keys.iter().find(|(new, _)| *new == integer) {
                    Some((_, known)) if !self.vm.same(*known, old_key) => return Ok(false),
                    Some(_) => {}
                    None => keys.try_push((integer, old_key))?,
                }
            }
        }
        self.unify(assignment, one.new, old, place)
    }

    /// An assignment that fits: the best one is kept, the first of several. Where numbers may
    /// differ, that is the one in which they do least, and there must be one alone.
    fn keep_best(
        &mut self,
        found: &Assignment,
        best: &mut Option<(Assignment, bool)>,
    ) -> Result<()> {
        let mut mine = false;
        for (_, old) in &found.pairs {
            mine = mine || self.belongs(*old, DEPTH)?;
        }
        if !mine && !self.loose {
            // Data of the file's, equal in all.
            let (vm, given) = (&self.vm, self.given);
            mine = !found.pairs.is_empty()
                && found.pairs.iter().all(|(new, _)| {
                    vm.val(*new).is_table() && given.tables.contains(&vm.val(*new).addr)
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
            let by_distance = best.distance.total_cmp(&found.distance);
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

    /// May the older value be what the new one is?
    fn value(
        &mut self,
        assignment: &mut Assignment,
        new: Ref,
        old: Ref,
        place: Spotted,
    ) -> Result<bool> {
        match self.is_new(self.vm.val(new)) {
            true => self.unify(assignment, new, old, place),
            false => self.value_later(assignment, new, old, place),
        }
    }

    /// The same; what a new object leads to becomes pending.
    fn value_later(
        &mut self,
        assignment: &mut Assignment,
        new: Ref,
        old: Ref,
        place: Spotted,
    ) -> Result<bool> {
        let val = self.vm.val(new);
        if !Self::is_object(val) {
            return self.scalar(assignment, new, old);
        }
        if self.is_new(val) {
            self.pending.try_push((new, old, place))?;
            return Ok(true);
        }
        // An object that existed: given, it must be the same; else it is a link, and not compared.
        Ok(!self.is_given(new) || self.vm.same(new, old))
    }

    fn number(&self, number: Ref) -> Option<f64> {
        let integer = self.vm.integer(number).map(|integer| integer as f64);
        integer.or_else(|| self.vm.float(number))
    }

    fn scalar(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<bool> {
        let kind = self.vm.kind(new);
        if kind == Kind::Boolean {
            return Ok(true);
        }
        if kind != self.vm.kind(old) {
            return Ok(false);
        }
        match kind {
            Kind::Number if self.is_given(new) => {
                if self.vm.same(new, old) {
                    return Ok(true);
                }
                assignment.differs = Some((old, new));
                if let (Some(a), Some(b)) = (self.number(old), self.number(new)) {
                    assignment.distance += (a - b).abs();
                }
                Ok(self.loose)
            }
            Kind::Number => assignment.scalars.try_push((new, old)).map(|()| true),
            Kind::String if self.vm.same(new, old) => Ok(true),
            Kind::String if !self.is_given(new) => {
                let same = are_same_but_digits(self.vm, new, old);
                assignment.scalars.try_push((new, old)).map(|()| same)
            }
            Kind::Nil => Ok(true),
            _ => Ok(false),
        }
    }

    /// May the older object be what the new one is, with all that both lead to? If so, the
    /// assignment has them. What is left to compare is a list, not a recursion: the program's
    /// data may be nested without end.
    fn unify(
        &mut self,
        assignment: &mut Assignment,
        new: Ref,
        old: Ref,
        place: Spotted,
    ) -> Result<bool> {
        let start = self.pending.len();
        self.pending.try_push((new, old, place))?;
        while let Some((new, old, place)) = self.pending.get(start..).and_then(<[_]>::last).copied()
        {
            self.pending.pop();
            if !self.unify_one(assignment, new, old, place)? {
                self.pending.truncate(start);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same without what they lead to, which becomes pending.
    fn unify_one(
        &mut self,
        assignment: &mut Assignment,
        new: Ref,
        old: Ref,
        place: Spotted,
    ) -> Result<bool> {
        let (new_val, old_val) = (self.vm.val(new), self.vm.val(old));
        if new_val.kind != old_val.kind {
            return Ok(false);
        }
        if let Some(known) = assignment.old(new_val.addr) {
            if self.vm.val(known) != old_val {
                return Ok(false);
            }
            if new_val.is_function() && self.is_own(new)? {
                assignment.places.try_push((place, old, new))?;
            }
            return Ok(true);
        }
        if assignment.by_old.contains(&old_val.addr) || self.is_new(old_val) {
            return Ok(false);
        }
        assignment.assign(self.vm, new, old)?;
        match new_val.kind {
            Kind::Function => self.unify_functions(assignment, new, old, place),
            Kind::Table => self.unify_tables(assignment, new, old),
            Kind::Thread => self.unify_threads(new_val.addr, old),
            _ => Ok(false),
        }
    }

    fn unify_functions(
        &mut self,
        assignment: &mut Assignment,
        new: Ref,
        old: Ref,
        place: Spotted,
    ) -> Result<bool> {
        let (own_new, own_old) = (self.is_own(new)?, self.is_own(old)?);
        if own_new || own_old {
            if !own_new || !own_old {
                return Ok(false);
            }
            let Some(likeness) = self.names.likeness(
                self.vm,
                self.ownership,
                self.made,
                self.sources,
                (new, old),
            )?
            else {
                return Ok(false);
            };
            assignment.score += score(likeness);
            assignment.lines += self
                .vm
                .info(old)?
                .map_or(0, |info| u64::from(info.line.unsigned_abs()));
            assignment.places.try_push((place, old, new))?;
            return Ok(true);
        }
        let (Some(a), Some(b)) = (self.vm.info(new)?, self.vm.info(old)?) else {
            return Ok(false);
        };
        let codes = (self.vm.is_c_function(new), self.vm.is_c_function(old));
        let sources = codes.0 == codes.1
            && (codes.0.is_some() || self.vm.source(new)? == self.vm.source(old)?);
        if !sources || (a.line, a.last, a.upvalues, a.lua) != (b.line, b.last, b.upvalues, b.lua) {
            return Ok(false);
        }
        for i in 1..=a.upvalues {
            if a.lua && self.vm.cell(new, i) == self.vm.cell(old, i) {
                continue;
            }
            let (value, other) = (
                self.vm.upvalue_value(new, i)?,
                self.vm.upvalue_value(old, i)?,
            );
            let place = Spotted::At(Place::Upvalue {
                function: old,
                index: i,
            });
            if !self.value_later(assignment, value, other, place)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The module's object is the module's object, whatever data it has by now: its functions tell
    /// it.
    fn unify_objects(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<bool> {
        let mut alike = false;
        for KeyValue { key, value } in self.vm.keep_entries(new)?.iter() {
            let there = self.vm.get(old, key)?;
            let both = [value, there].map(|function| self.vm.val(function));
            if both.iter().all(|val| val.is_function())
                && self.is_new(both[0])
                && self.is_own(value)?
            {
                let mark = assignment.mark();
                let place = Spotted::At(Place::Value { table: old, key });
                let fits = self.unify(assignment, value, there, place)?;
                alike |= fits;
                if !fits {
                    assignment.back(self.vm, mark);
                }
            }
        }
        Ok(alike)
    }

    fn unify_tables(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<bool> {
        if self.vm.same(old, self.sources.running)
            && self.given.tables.contains(&self.vm.val(new).addr)
        {
            let mark = assignment.mark();
            if self.unify_objects(assignment, new, old)? {
                return Ok(true);
            }
            assignment.back(self.vm, mark);
        }
        let (metatable, other) = (self.vm.metatable(new)?, self.vm.metatable(old)?);
        let (m, o) = (self.vm.val(metatable), self.vm.val(other));
        if m.is_nil() != o.is_nil() || !m.is_nil() && !self.is_new(m) && m != o {
            return Ok(false);
        }
        let entries = self.vm.keep_entries(new)?;
        // What is no object tells two records apart soonest: the event's name.
        let cheap_first = entries.iter().map(|entry| (false, entry));
        let by_cost = cheap_first.chain(entries.iter().map(|entry| (true, entry)));
        for (is_dear, KeyValue { key, value }) in by_cost {
            if is_dear != (self.is_new(self.vm.val(key)) || Self::is_object(self.vm.val(value))) {
                continue;
            }
            if self.is_new(self.vm.val(key)) {
                if !self.unify_under_key(assignment, (key, value), old)? {
                    return Ok(false);
                }
                continue;
            }
            let there = self.vm.get(old, key)?;
            let val = self.vm.val(value);
            if self.vm.val(there).is_nil() {
                let is_link = Self::is_object(val) && !self.is_new(val) && !self.is_given(value);
                if val.kind != Kind::Boolean && !is_link {
                    return Ok(false);
                }
            } else {
                let place = Spotted::At(Place::Value { table: old, key });
                if !self.value_later(assignment, value, there, place)? {
                    return Ok(false);
                }
            }
        }
        if !m.is_nil() && self.is_new(m) {
            self.pending
                .try_push((metatable, other, Spotted::Nowhere))?;
        }
        Ok(true)
    }

    /// An entry under a new object: some older one of the table has it.
    fn unify_under_key(
        &mut self,
        assignment: &mut Assignment,
        new: (Ref, Ref),
        old: Ref,
    ) -> Result<bool> {
        if self.nested == MOST_NESTED {
            return Ok(false);
        }
        self.nested += 1;
        let found = self.find_under_key(assignment, new, old);
        self.nested -= 1;
        found
    }

    fn find_under_key(
        &mut self,
        assignment: &mut Assignment,
        new: (Ref, Ref),
        old: Ref,
    ) -> Result<bool> {
        for KeyValue { key, value } in self.vm.keep_entries(old)?.iter() {
            let mark = assignment.mark();
            let place = Spotted::At(Place::Value { table: old, key });
            if self.unify(assignment, new.0, key, Spotted::Key(old))?
                && self.value(assignment, new.1, value, place)?
            {
                return Ok(true);
            }
            assignment.back(self.vm, mark);
        }
        Ok(false)
    }

    fn unify_threads(&mut self, new: usize, old: Ref) -> Result<bool> {
        let Some(function) = self.threads.get(&new).copied() else {
            return Ok(false);
        };
        let Some((other, has_begun)) = self.vm.body_of(old)? else {
            return Ok(false);
        };
        if has_begun && self.is_own(function)? {
            // An activation goes on with the code with which it began.
            return Ok(self.is_own(other)?
                && self
                    .names
                    .likeness(
                        self.vm,
                        self.ownership,
                        self.made,
                        self.sources,
                        (function, other),
                    )?
                    .is_some());
        }
        self.pending.try_push((function, other, Spotted::Nowhere))?;
        Ok(true)
    }
}

fn score(likeness: Likeness) -> u32 {
    match likeness {
        Likeness::Name => 9,
        Likeness::Code => 8,
        Likeness::Any => 5,
    }
}

fn are_same_but_digits(vm: &Vm, a: Ref, b: Ref) -> bool {
    let both = vm.with_bytes(a, |a| vm.with_bytes(b, |b| same_but_digits(a, b)));
    both.flatten().unwrap_or(false)
}

/// Are two strings the same but for the digits in them? What the callee numbers is one name:
/// `"h12"` and `"h7"`.
fn same_but_digits(a: &[u8], b: &[u8]) -> bool {
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let numbers = (a.next_if(is_digit).is_some(), b.next_if(is_digit).is_some());
        if numbers.0 != numbers.1 {
            return false;
        }
        while a.next_if(is_digit).is_some() {}
        while b.next_if(is_digit).is_some() {}
        match (a.next(), b.next()) {
            (None, None) => return true,
            (x, y) if x == y => {}
            _ => return false,
        }
    }
}
