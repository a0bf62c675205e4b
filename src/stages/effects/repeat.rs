//! Is a call that registers something one that was made before (R5.4)?
//!
//! A call is a repeat where there is a one-to-one assignment of older objects to the new ones that it placed, under which all that
//! it added is there already. For example `bus.on("hit", M.on_hit)` appends `{ name = "hit", f = <the file's on_hit> }` to a list
//! that has `{ name = "hit", f = <the running on_hit> }`. The search tries the likeliest assignment first, and takes back what did
//! not fit.

use rustc_hash::{FxHashMap, FxHashSet};

use super::names::{Likeness, Names, Sources};
use super::past::{Past, SMALL, Spot, Write};
use crate::lua::heap::Place;
use crate::lua::tracker::Made;
use crate::lua::vm::{Kind, Ref, Val, Vm};
use crate::model::home::Home;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Assignments that are tried for one call.
const MOST_TRIES: u32 = 20_000;
/// Objects of a chain (a linked list, closures over closures) that are followed.
const MOST_BEHIND: usize = 2_000;
/// How deep a record or wrapper may hold a function of the module's own.
const DEPTH: u32 = 3;

/// What the search asks.
pub struct Search<'a> {
    /// The program.
    pub vm: &'a mut Vm,
    /// What is remembered.
    pub past: &'a Past,
    /// Which functions are the module's own.
    pub home: &'a mut Home,
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
    /// Which entries of large tables hold functions of the module's own.
    pub holders: &'a mut FxHashMap<u32, Vec<(Ref, Ref)>>,
}

/// What a call was given: its arguments, and what stands in those of its tables that the load has made.
#[derive(Default)]
pub struct Given {
    /// Strings and numbers, and objects that existed before, by identity.
    pub values: FxHashSet<(Kind, u64)>,
    /// The same, held.
    pub held: Vec<Ref>,
    /// Tables of the load among the arguments.
    pub tables: FxHashSet<usize>,
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
    /// The sum of the first lines of the module's functions: where nothing else tells, calls were made in their order.
    lines: u64,
    /// Two numbers that were given and differ: the older, the new one.
    pub differs: Option<(Ref, Ref)>,
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
    }

    fn assign(&mut self, vm: &Vm, new: Ref, old: Ref) -> Result<()> {
        self.by_new.try_insert_value(vm.val(new).addr, self.pairs.len())?;
        self.by_old.try_insert_value(vm.val(old).addr, ())?;
        self.pairs.try_push((new, old))
    }
}

/// A write of the call that must be there already, and the older objects that it may be: value, and the key under which it stands.
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

impl Search<'_> {
    /// Was the object created by the load?
    pub fn is_new(&self, val: Val) -> bool {
        match val.kind {
            Kind::Table | Kind::Function => self.made.created(val.addr),
            Kind::Thread => self.threads.contains_key(&val.addr),
            _ => false,
        }
    }

    fn is_object(val: Val) -> bool {
        matches!(
            val.kind,
            Kind::Table | Kind::Function | Kind::Thread | Kind::Userdata | Kind::LightUserdata
        )
    }

    fn is_own(&mut self, function: Ref) -> Result<bool> {
        let info = self.vm.info(function)?.unwrap_or_default();
        self.home.owns(self.vm, function, &info)
    }

    /// Looks for the assignment, and for another one where there is none under which all integer keys stand for one older key each.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn find(&mut self, writes: &[Write]) -> Result<Option<Assignment>> {
        let mut wanted = Vec::new();
        for write in writes {
            if !self.wanted(write, writes, &mut wanted)? {
                return Ok(None);
            }
        }
        // A link within what is added (`list.tail.next = node`) is no place of its own.
        let mut placed: FxHashSet<usize> = FxHashSet::default();
        for one in wanted.iter().filter(|one| !one.candidates.is_empty()) {
            placed.try_insert_value(self.vm.val(one.new).addr, ())?;
        }
        wanted.retain(|one| {
            let is_link = one.what == What::Value && one.candidates.is_empty() && !self.is_given(one.key);
            !(is_link && placed.contains(&self.vm.val(one.new).addr))
        });
        if wanted.iter().all(|one| one.what == What::Beside) {
            return Ok(None);
        }
        wanted.sort_by_key(|one| (one.what == What::Beside, one.candidates.len()));
        for bind in [true, false] {
            let mut assignment = Assignment::default();
            let mut best = None;
            let mut tries = 0;
            let mut keys = Vec::new();
            self.search(&wanted, &mut assignment, &mut keys, bind, &mut tries, &mut best)?;
            if let Some((assignment, several)) = best {
                return Ok((!self.loose || !several).then_some(assignment));
            }
        }
        Ok(None)
    }

    /// Adds what a write wants to be there already. False where that cannot be.
    fn wanted(&mut self, write: &Write, writes: &[Write], wanted: &mut Vec<Wanted>) -> Result<bool> {
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

    /// Is a new table a copy of an older one, with something more? (`list = { table.unpack(list), f }`)
    fn is_copy(&mut self, new: Ref, old: Ref) -> Result<bool> {
        let (first, count) = self.vm.keep_entries(new, usize::MAX)?;
        let mut shared = 0;
        for i in 0..count {
            let value = first.after(2 * i + 1);
            let val = self.vm.val(value);
            let key = first.after(2 * i);
            shared += u32::from(Self::is_object(val) && !self.is_new(val) && self.vm.holds(old, key, value));
        }
        Ok(shared > 0 || count == 1 && self.vm.raw_len(new) == 1 && self.vm.raw_len(old) == 0)
    }

    /// What is new in a copy is to be in the older table.
    fn wanted_in_copy(&mut self, table: u32, new: Ref, writes: &[Write], wanted: &mut Vec<Wanted>) -> Result<bool> {
        let (first, count) = self.vm.keep_entries(new, usize::MAX)?;
        for i in 0..count {
            let (key, value) = (first.after(2 * i), first.after(2 * i + 1));
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
            let candidates = self.candidates(table, writes, |vm, k1, _| vm.kind(k1) == key_val.kind)?;
            return wanted.try_push(one(What::Key, candidates)).map(|()| true);
        }
        if !self.is_new(new_val) {
            let is_beside = old_val.is_nil() && !new_val.is_nil() && integer.is_some() && self.is_given(new);
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
            let more = self.candidates(table, writes, |vm, k1, v1| {
                vm.integer(k1).is_some() && vm.kind(v1) == new_val.kind
            })?;
            candidates.try_reserve(more.len())?;
            candidates.extend(more);
        } else if old_val.is_nil() && self.vm.kind(key) == Kind::String && !self.is_given(key) {
            // A name that the callee made: `"h" .. id`.
            candidates = self.candidates(table, writes, |vm, k1, v1| {
                vm.kind(v1) == new_val.kind && are_same_but_digits(vm, key, k1)
            })?;
        }
        wanted.try_push(one(What::Value, candidates)).map(|()| true)
    }

    fn is_given(&self, value: Ref) -> bool {
        self.given.values.contains(&self.vm.key_hash(value))
            && self.given.held.iter().any(|given| self.vm.same(*given, value))
    }

    /// Entries of a remembered table, as they were before the call, which were there before the load; those that have functions of
    /// the module's own, or, in a small table, all.
    fn candidates(
        &mut self,
        table: u32,
        writes: &[Write],
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
            if !self.holders.contains_key(&table) {
                let mut holders = Vec::new();
                let entries = collected(self.past.entries(table).map(|(_, key, value)| Ok((key, value))))?;
                for (key, value) in entries {
                    if self.belongs(key, 0)? || self.belongs(value, DEPTH)? {
                        holders.try_push((key, value))?;
                    }
                }
                self.holders.try_insert_value(table, holders)?;
            }
            let holders = self.holders.get(&table).map_or(&[][..], |holders| holders);
            found.try_reserve(holders.len())?;
            found.extend_from_slice(holders);
        }
        let (vm, made) = (&*self.vm, self.made);
        let is_old = |vm: &Vm, r: Ref| {
            let val = vm.val(r);
            !(matches!(val.kind, Kind::Table | Kind::Function) && made.created(val.addr))
        };
        found.retain(|(key, value)| {
            !vm.val(*value).is_nil() && is_old(vm, *key) && is_old(vm, *value) && fits(vm, *key, *value)
        });
        found.sort_by_key(|(key, _)| vm.integer(*key));
        // The caller wants value before key.
        for pair in &mut found {
            *pair = (pair.1, pair.0);
        }
        Ok(found)
    }

    /// Older objects of a kind in a chain that begins at `start`: a linked list, a closure over the one before.
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
                    let (first, count) = self.vm.keep_entries(at, 64)?;
                    for i in 0..count.min(64) {
                        let value = first.after(2 * i + 1);
                        if matches!(self.vm.kind(value), Kind::Table) || self.vm.kind(value) == kind {
                            queue.try_push(value)?;
                        }
                    }
                }
                Kind::Function if self.vm.is_c_function(at).is_none() && !self.is_own(at)? => {
                    let upvalues = self.vm.info(at)?.map_or(0, |info| info.upvalues);
                    for i in 1..=upvalues {
                        if self.vm.upvalue(at, i).is_some_and(|upvalue| upvalue.value.kind == kind) {
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
        match self.vm.kind(value) {
            Kind::Function => {
                if self.vm.is_c_function(value).is_some() {
                    return Ok(false);
                }
                if self.is_own(value)? {
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
                        if self.belongs(held, depth - 1)? {
                            return Ok(true);
                        }
                    }
                }
                Ok(false)
            }
            Kind::Table if depth > 0 => {
                let mark = self.vm.held();
                let (first, count) = self.vm.keep_entries(value, 100)?;
                let mut found = false;
                for i in 0..count.min(100) {
                    let key = first.after(2 * i);
                    if self.vm.kind(key) == Kind::Function && self.belongs(key, 0)?
                        || self.belongs(key.after(1), depth - 1)?
                    {
                        found = true;
                        break;
                    }
                }
                self.vm.release(mark);
                Ok(found)
            }
            Kind::Thread => Ok(true),
            _ => Ok(false),
        }
    }

    /// Where in a table, or in its records, a function stands to which the file's one answers: by name or code, or under a key that the
    /// call was given.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn standing(&mut self, table: u32, new: Ref) -> Result<Option<(Spotted, Ref)>> {
        if !self.is_own(new)? {
            return Ok(None);
        }
        let entries = collected(self.past.entries(table).map(|(_, key, value)| Ok((key, value))))?;
        let at = self.past.table(table);
        for (key, value) in entries {
            if self.vm.same(at, self.sources.globals) {
                return Ok(None); // everything stands behind it
            }
            let least = if self.is_given(key) {
                Likeness::Any
            } else {
                Likeness::Code
            };
            if let Some(found) = self.standing_in(Place::Value { table: at, key }, value, new, least, DEPTH)? {
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
        least: Likeness,
        depth: u32,
    ) -> Result<Option<(Spotted, Ref)>> {
        let val = self.vm.val(value);
        if self.is_new(val) {
            return Ok(None);
        }
        if val.is_function() && self.vm.is_c_function(value).is_none() && self.is_own(value)? {
            let likeness = self
                .names
                .likeness(self.vm, self.home, self.made, self.sources, (new, value))?;
            return Ok((likeness >= Some(least)).then_some((Spotted::At(place), value)));
        }
        if val.is_table() && depth > 0 {
            let (first, count) = self.vm.keep_entries(value, SMALL)?;
            for i in 0..count.min(SMALL as u32) {
                let (key, held) = (first.after(2 * i), first.after(2 * i + 1));
                let place = Place::Value { table: value, key };
                if let Some(found) = self.standing_in(place, held, new, least, depth - 1)? {
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
        bind: bool,
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
        let integer = self.vm.integer(one.key);
        let table = one.table.map(|table| self.past.table(table));
        if one.what == What::Beside {
            // What was given stands under the older key as well.
            let old_key = keys
                .iter()
                .find(|(new, _)| bind && Some(*new) == integer)
                .map(|(_, old)| *old);
            if let (Some(old_key), Some(table)) = (old_key, table)
                && !self.vm.holds(table, old_key, one.new)
            {
                return Ok(());
            }
            return self.search(rest, assignment, keys, bind, tries, best);
        }
        for (old, old_key) in &one.candidates {
            let (mark, bound) = (assignment.mark(), keys.len());
            let mut fits = true;
            let place = match table {
                Some(table) if *old_key != Ref::NIL => Spotted::At(Place::Value { table, key: *old_key }),
                None if self.vm.same(*old, one.old) => one.place,
                _ => Spotted::Nowhere,
            };
            if one.what == What::Key {
                // The candidate's value stands under the key that is to be the older one.
                fits = self.unify(assignment, one.key, *old_key, Spotted::Key(table.unwrap_or_default()))?
                    && (!Self::is_object(self.vm.val(one.new)) || self.value(assignment, one.new, *old, place)?);
            } else {
                if *old_key != Ref::NIL && self.vm.val(one.old).is_nil() {
                    assignment.scalars.try_push((one.key, *old_key))?;
                    if let (true, Some(integer)) = (bind, integer) {
                        match keys.iter().find(|(new, _)| *new == integer) {
                            Some((_, known)) => fits = self.vm.same(*known, *old_key),
                            None => keys.try_push((integer, *old_key))?,
                        }
                    }
                }
                fits = fits && self.unify(assignment, one.new, *old, place)?;
            }
            if fits {
                self.search(rest, assignment, keys, bind, tries, best)?;
            }
            assignment.back(self.vm, mark);
            keys.truncate(bound);
            let is_certain = |best: &Assignment| best.score >= best.places.len() as u32 * score(Likeness::Name);
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

    /// An assignment that fits: the best one is kept, the first of several. Where numbers may differ there must be one alone.
    fn keep_best(&mut self, found: &Assignment, best: &mut Option<(Assignment, bool)>) -> Result<()> {
        let mut mine = false;
        for (_, old) in &found.pairs {
            mine = mine || self.belongs(*old, DEPTH)?;
        }
        if !mine && !self.loose {
            // Data of the file's, equal in all.
            let (vm, given) = (&self.vm, self.given);
            mine = !found.pairs.is_empty()
                && found
                    .pairs
                    .iter()
                    .all(|(new, _)| vm.val(*new).is_table() && given.tables.contains(&vm.val(*new).addr));
        }
        if !mine {
            return Ok(());
        }
        let several = best.as_ref().is_some_and(|(best, several)| {
            *several
                || found.pairs.iter().any(|(new, old)| {
                    best.old(self.vm.val(*new).addr)
                        .is_none_or(|other| !self.vm.same(other, *old))
                })
        });
        match best {
            Some((known, flag))
                if (known.score, std::cmp::Reverse(known.lines)) >= (found.score, std::cmp::Reverse(found.lines)) =>
            {
                *flag = several;
            }
            _ => {
                let mut copy = Assignment {
                    places: crate::support::mem::copied(&found.places)?,
                    scalars: crate::support::mem::copied(&found.scalars)?,
                    score: found.score,
                    lines: found.lines,
                    differs: found.differs,
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
    fn value(&mut self, assignment: &mut Assignment, new: Ref, old: Ref, place: Spotted) -> Result<bool> {
        let val = self.vm.val(new);
        if !Self::is_object(val) {
            return self.scalar(assignment, new, old);
        }
        if self.is_new(val) {
            return self.unify(assignment, new, old, place);
        }
        // An object that existed: given, it must be the same; else it is a link, and not compared.
        Ok(!self.is_given(new) || self.vm.same(new, old))
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

    /// May the older object be what the new one is? If so, the assignment has both.
    fn unify(&mut self, assignment: &mut Assignment, new: Ref, old: Ref, place: Spotted) -> Result<bool> {
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
            Kind::Thread => self.unify_threads(assignment, new_val.addr, old),
            _ => Ok(false),
        }
    }

    fn unify_functions(&mut self, assignment: &mut Assignment, new: Ref, old: Ref, place: Spotted) -> Result<bool> {
        let (own_new, own_old) = (self.is_own(new)?, self.is_own(old)?);
        if own_new || own_old {
            if !own_new || !own_old {
                return Ok(false);
            }
            let Some(likeness) = self
                .names
                .likeness(self.vm, self.home, self.made, self.sources, (new, old))?
            else {
                return Ok(false);
            };
            assignment.score += score(likeness);
            assignment.lines += self.vm.info(old)?.map_or(0, |info| u64::from(info.line.unsigned_abs()));
            assignment.places.try_push((place, old, new))?;
            return Ok(true);
        }
        let (Some(a), Some(b)) = (self.vm.info(new)?, self.vm.info(old)?) else {
            return Ok(false);
        };
        let codes = (self.vm.is_c_function(new), self.vm.is_c_function(old));
        let sources = codes.0 == codes.1 && (codes.0.is_some() || self.vm.source(new)? == self.vm.source(old)?);
        if !sources || (a.line, a.last, a.upvalues, a.lua) != (b.line, b.last, b.upvalues, b.lua) {
            return Ok(false);
        }
        for i in 1..=a.upvalues {
            if a.lua && self.vm.cell(new, i) == self.vm.cell(old, i) {
                continue;
            }
            let (value, other) = (self.vm.upvalue_value(new, i)?, self.vm.upvalue_value(old, i)?);
            let place = Spotted::At(Place::Upvalue {
                function: old,
                index: i,
            });
            if !self.value(assignment, value, other, place)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn unify_tables(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<bool> {
        let (metatable, other) = (self.vm.metatable(new)?, self.vm.metatable(old)?);
        let (m, o) = (self.vm.val(metatable), self.vm.val(other));
        if m.is_nil() != o.is_nil() || !m.is_nil() && !self.is_new(m) && m != o {
            return Ok(false);
        }
        let (first, count) = self.vm.keep_entries(new, usize::MAX)?;
        for i in 0..count {
            let (key, value) = (first.after(2 * i), first.after(2 * i + 1));
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
                if !self.value(assignment, value, there, place)? {
                    return Ok(false);
                }
            }
        }
        Ok(m.is_nil() || !self.is_new(m) || self.unify(assignment, metatable, other, Spotted::Nowhere)?)
    }

    /// An entry under a new object: some older one of the table has it.
    fn unify_under_key(&mut self, assignment: &mut Assignment, new: (Ref, Ref), old: Ref) -> Result<bool> {
        let (first, count) = self.vm.keep_entries(old, usize::MAX)?;
        for i in 0..count {
            let (key, value) = (first.after(2 * i), first.after(2 * i + 1));
            let mark = assignment.mark();
            let place = Spotted::At(Place::Value { table: old, key });
            if self.unify(assignment, new.0, key, Spotted::Key(old))? && self.value(assignment, new.1, value, place)? {
                return Ok(true);
            }
            assignment.back(self.vm, mark);
        }
        Ok(false)
    }

    fn unify_threads(&mut self, assignment: &mut Assignment, new: usize, old: Ref) -> Result<bool> {
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
                    .likeness(self.vm, self.home, self.made, self.sources, (function, other))?
                    .is_some());
        }
        self.unify(assignment, function, other, Spotted::Nowhere)
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

/// Are two strings the same but for the digits in them? What the callee numbers is one name: `"h12"` and `"h7"`.
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
