//! Is a call that registers something one that was made before (R5.5)?
//!
//! A call is a repeat where there is a one-to-one assignment of older objects to the new ones that
//! it placed, under which all that it added is there already. For example `bus.on("hit", M.on_hit)`
//! appends `{ name = "hit", f = <the file's on_hit> }` to a list that has `{ name = "hit", f = <the
//! running on_hit> }`. The search tries the likeliest assignment first, and takes back what did not
//! fit.

mod candidates;
mod search;
mod unify;

use rustc_hash::{FxHashMap, FxHashSet};

use self::search::BoundKeys;
use self::unify::{are_same_but_digits, score};
use super::names::{FunctionNames, MatchStrength, NameSources};
use super::past::{Past, SMALL, Spot, Write};
use crate::code::Digest;
use crate::lua::heap::Place;
use crate::lua::tracker::Creations;
use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::model::ownership::Ownership;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Of a longer list of entries only the first so many are tried at first.
const FEW: usize = 16;
/// Assignments that are tried for one call.
const MOST_TRIES: u32 = 20_000;
/// Writes of one call for which every assignment is tried. The search is a recursion over them.
const MOST_WRITES: usize = 64;
/// Tables that are keys of tables that are keys, and so on.
const MOST_NESTED: u32 = 20;
/// Entries of a table in a chain that are followed.
pub const MOST_LINKS: usize = 64;
/// Objects of a chain (a linked list, closures over closures) that are followed.
const MOST_BEHIND: usize = 2_000;
/// Entries of a record that are looked at for a function of the module's own.
const MOST_LOOKED_AT: usize = 100;
/// How deep a record or wrapper may hold a function of the module's own.
const DEPTH: u32 = 3;

/// A limit at which a search ended: its text, and the number.
pub type Cut = (&'static str, usize);

/// What the search asks.
pub struct Search<'a> {
    /// The program.
    pub vm: &'a mut Vm,
    /// What is remembered.
    pub past: &'a Past,
    /// Which functions are the module's own.
    pub ownership: &'a mut Ownership,
    /// Which of them answer to which.
    pub names: &'a mut FunctionNames,
    /// Where names are read.
    pub sources: &'a NameSources<'a>,
    /// What the load has created.
    pub made: Creations<'a>,
    /// The coroutines that it has created, with their functions.
    pub threads: &'a FxHashMap<usize, Ref>,
    /// What the call was given.
    pub given: &'a CallArguments,
    /// The tables that it may have changed.
    pub touched: &'a [u32],
    /// What may differ.
    pub latitude: Latitude,
    /// What stands under a string or number that the call itself was given, and what stood there,
    /// by address, where given data may differ.
    pub anchors: FxHashSet<(usize, usize)>,
    /// What differs has to stand under these: the last load has made no such call, and under one
    /// key there is one registration.
    pub under_given_keys: bool,
    /// Which entries of large tables hold functions of the module's own; and, for data, all
    /// records.
    pub holders: &'a mut FxHashMap<(u32, bool), Holders>,
    /// Of large tables only those entries are candidates that hold a function of the same name or
    /// code.
    pub narrow: bool,
    /// Entries have been left out for that.
    pub narrowed: bool,
    /// Of very many entries only the first of each kind are candidates.
    pub few: bool,
    /// Entries have been left out for that; and the score that an assignment has that no other one
    /// can exceed, with how many functions.
    pub left_out: Option<(u32, usize)>,
    /// Several older registrations fit equally well.
    pub several: bool,
    /// The last load made one call of this text, which tells it from all others.
    pub is_known: bool,
    /// What the call puts something in the place of.
    pub instead: Instead,
    /// Older objects that other calls answer to.
    pub repeated: &'a FxHashSet<usize>,
    /// Objects that are still to be compared, and where the older ones stand.
    pub pending: Vec<Guess>,
    /// So many keys that are objects are being looked for, one in the other.
    pub nested: u32,
    /// The last limit that was met.
    pub cut: Option<Cut>,
}

/// What may differ between a call and an older one, each with all before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Latitude {
    /// Nothing.
    Nothing,
    /// Numbers that were given.
    Numbers,
    /// What else was given, if the call was given a string or number besides, which is the same, or
    /// functions that tell which registration it is.
    Data,
    /// The function's code and name as well.
    Code,
}

/// What a call that gives a table another metatable, as a library of classes does, puts something
/// in the place of. A table has one metatable: it tells as much as a function of the module.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Instead {
    /// It adds something as well, or is another call.
    #[default]
    Nothing,
    /// Metatables alone. What differs takes the older one's place, and is there once.
    Metatables,
    /// Metatables and what stands in fields or variables.
    All,
}

/// A string, a number or an object, by identity, that a record holds (0), or that a table in it
/// holds (1).
type HeldValue = (usize, (Kind, u64));

/// Entries by the values in them.
#[derive(Default)]
struct ByValue {
    with: FxHashMap<(Kind, u64), Vec<u32>>,
    /// Those that hold too much to be found so.
    large: Vec<u32>,
}

/// A list of a large table's entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum EntryList {
    /// All entries.
    All,
    /// The records that hold a string or a number.
    With(HeldValue),
    /// Those with functions of this code.
    Code(Digest),
    /// Those with this function.
    Function(usize),
}

/// The entries of a list in the order of their functions in the file: the first one that fits is
/// the best one of those that nothing else tells apart.
#[derive(Default)]
struct InOrder {
    entries: Vec<u32>,
    /// All entries before this one have an answer.
    next: usize,
}

/// The entries of a large table that hold functions of the module's own, as they were when they
/// were first asked for.
#[derive(Default)]
pub struct Holders {
    /// Key and value, in the order of integer keys.
    entries: Vec<(Ref, Ref)>,
    /// Records by what they hold, and by what the tables in them hold.
    by_value: [ByValue; 2],
    /// The module's functions, with the entry that holds each.
    functions: Vec<(Ref, u32)>,
    by_function: FxHashMap<usize, Vec<u32>>,
    /// The same by the functions' code; made when it is first needed.
    by_digest: Option<FxHashMap<Digest, Vec<u32>>>,
    /// For each entry the sum of the first lines of its functions.
    lines: Vec<u64>,
    /// Long lists in the order of these lines, each made when it is first needed.
    in_order: FxHashMap<EntryList, InOrder>,
}

/// What a call was given: its arguments, and what stands in those of its tables that the load has
/// made.
#[derive(Default)]
pub struct CallArguments {
    /// Strings, numbers, booleans, and objects that existed before, by identity: the first such
    /// value, and how often it was given.
    values: FxHashMap<(Kind, u64), (Ref, usize)>,
    /// Strings and numbers that are arguments themselves, by identity.
    pub direct: FxHashSet<(Kind, u64)>,
    /// Those of them under which the call has put something: they tell which registration it is,
    /// and the others say something about it.
    pub keys: Vec<Ref>,
    /// The same as `values` but for booleans, each as often as it was given, and objects of the
    /// load.
    pub held: Vec<Ref>,
    /// Tables of the load among the arguments.
    pub tables: FxHashSet<usize>,
    /// These, and tables of the load in them.
    pub nested: FxHashSet<usize>,
    /// Not all of these tables was looked at.
    pub is_cut: bool,
    /// Tells apart calls of one text (`get("/a long path…")`, `system({...})`).
    pub digest: u64,
}

impl CallArguments {
    /// The call was given a value.
    pub fn give(&mut self, vm: &Vm, value: Ref) -> Result<()> {
        let key = vm.key_hash(value);
        let known = self.values.get(&key).copied();
        let (first, count) = known.unwrap_or((value, 0));
        self.values.try_insert_value(key, (first, count + 1))?;
        if key.0 != Kind::Boolean {
            self.held.try_push(value)?;
        }
        Ok(())
    }

    /// How often the call was given a value.
    pub fn times(&self, vm: &Vm, value: Ref) -> usize {
        let known = self.values.get(&vm.key_hash(value));
        let known = known.filter(|(given, _)| vm.same(*given, value));
        known.map_or(0, |(_, times)| *times)
    }

    /// Notes the [`CallArguments::keys`].
    pub fn find_keys(&mut self, vm: &Vm, past: &Past, writes: &[Write]) -> Result<()> {
        for write in writes {
            let key = past.key(write.spot).unwrap_or_default();
            if self.direct.contains(&vm.key_hash(key)) && !self.is_key(vm, key) {
                self.keys.try_push(key)?;
            }
        }
        Ok(())
    }

    /// Is it one of the [`CallArguments::keys`]? (There are hardly ever two.)
    pub fn is_key(&self, vm: &Vm, value: Ref) -> bool {
        self.keys.iter().any(|key| vm.same(*key, value))
    }

    /// May a name or number tell which registration it is that the rest says something of?
    pub fn names_data(&self) -> bool {
        !self.direct.is_empty() && !self.tables.is_empty() || self.direct.len() > 1
    }
}

/// Why an older function is looked for that stands where a call has not put the file's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SearchReason {
    /// The call raised.
    Refused,
    /// The last load made the call as well.
    Recorded,
    /// The call changed nothing: only what stands under a key that it was given.
    UnderGivenKeys,
}

/// A function of the module's own that stands where a call may have put the file's.
pub struct StandingFunction {
    place: Spotted,
    function: Ref,
    /// How alike another one has to be at least.
    least: MatchStrength,
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
    /// How many of these functions have neither a name nor the code in common.
    guesses: u32,
    /// Two given values that differ: the older, the new one; nil for what is missing.
    pub differs: Option<(Ref, Ref)>,
    /// How far all such values are apart.
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
struct Checkpoint {
    pairs: usize,
    scalars: usize,
    places: usize,
    score: u32,
    lines: u64,
    guesses: u32,
    differs: Option<(Ref, Ref)>,
    distance: f64,
}

/// An older value may be what a new one is.
#[derive(Clone, Copy)]
pub struct Guess {
    new: Ref,
    old: Ref,
    /// Where the older one was found.
    place: Spotted,
}

impl Assignment {
    /// The older object for a new one.
    pub fn old(&self, new: usize) -> Option<Ref> {
        let i = self.by_new.get(&new)?;
        self.pairs.get(*i).map(|(_, old)| *old)
    }

    fn mark(&self) -> Checkpoint {
        Checkpoint {
            pairs: self.pairs.len(),
            scalars: self.scalars.len(),
            places: self.places.len(),
            score: self.score,
            lines: self.lines,
            guesses: self.guesses,
            differs: self.differs,
            distance: self.distance,
        }
    }

    fn back(&mut self, vm: &Vm, mark: Checkpoint) {
        for (new, old) in self.pairs.drain(mark.pairs..) {
            self.by_new.remove(&vm.val(new).addr);
            self.by_old.remove(&vm.val(old).addr);
        }
        self.scalars.truncate(mark.scalars);
        self.places.truncate(mark.places);
        self.score = mark.score;
        self.lines = mark.lines;
        self.guesses = mark.guesses;
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
    /// It is a table's metatable, and so was the older one.
    Metatable,
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
pub fn is_new(made: Creations<'_>, threads: &FxHashMap<usize, Ref>, val: Val) -> bool {
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

    pub(super) fn is_object(val: Val) -> bool {
        matches!(
            val.kind,
            Kind::Table | Kind::Function | Kind::Thread | Kind::Userdata | Kind::LightUserdata
        )
    }

    pub fn is_own(&mut self, function: Ref) -> Result<bool> {
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
            (self.few, self.left_out, self.several) = (writes.len() == 1, None, false);
            let mut found = self.find_among(writes)?;
            if let Some((most, functions)) = self.left_out {
                let is_best = |found: &Assignment| {
                    let is_whole = found.score >= most && found.places.len() == functions;
                    is_whole && found.distance == 0.0
                };
                // Where what was given may differ, the order of the file tells as much.
                let is_enough = match self.is_loose() {
                    true => found.is_some() || self.several,
                    false => found.as_ref().is_some_and(is_best),
                };
                if !is_enough {
                    (self.few, self.narrowed) = (false, false);
                    found = self.find_among(writes)?;
                }
            }
            let is_best = |found: &Assignment| {
                found.score >= found.places.len() as u32 * score(MatchStrength::Code)
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
        self.find_linked(&mut wanted)?;
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
        self.instead = self.instead_of(&wanted);
        let is_untold = |one: &Wanted| one.what == What::Beside;
        if wanted.iter().all(is_untold) || self.instead == Instead::Metatables && self.is_loose() {
            return Ok(None);
        }
        for one in wanted.iter().filter(|one| one.table.is_some()) {
            if self.latitude == Latitude::Data && self.is_direct(one.key) {
                let both = (self.vm.val(one.new).addr, self.vm.val(one.old).addr);
                self.anchors.try_insert_value(both, ())?;
            }
        }
        let lists = self.lists_of_others(&wanted)?;
        let vm = &*self.vm;
        wanted.sort_by_key(|one| {
            (
                one.what == What::Beside,
                lists.contains(&vm.val(one.new).addr),
                one.candidates.len(),
                vm.integer(one.key),
            )
        });
        for keying in [Keying::Bound, Keying::Free] {
            let mut assignment = Assignment::default();
            let mut best = None;
            let mut tries = 0;
            let mut keys = BoundKeys::default();
            if wanted.len() > MOST_WRITES {
                if wanted.iter().any(|one| one.candidates.len() > 1) {
                    self.cut = Some((
                        "it writes to more than {} places, and not all ways were tried in which it \
                         may repeat an older call; guard it with hotreload.reloading() (R5.5)",
                        MOST_WRITES,
                    ));
                }
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
                self.several = several && self.is_loose() && !self.is_known;
                return Ok((!self.several || self.latitude == Latitude::Code).then_some(assignment));
            }
        }
        Ok(None)
    }

    /// What comes behind the last object of a linked list (`last.next = node`) may be any object of
    /// it. Where else the list has it by now (`list.last = node`) says nothing then.
    fn find_linked(&mut self, wanted: &mut Vec<Wanted>) -> Result<()> {
        let mut linked: FxHashSet<usize> = FxHashSet::default();
        let is_behind = |vm: &Vm, one: &Wanted| one.what == What::Value && vm.val(one.old).is_nil();
        for one in wanted.iter_mut() {
            let is_link = is_behind(self.vm, one)
                && one.candidates.is_empty()
                && self.vm.kind(one.key) == Kind::String
                && self.vm.val(one.new).is_table()
                && !self.is_given(one.key);
            if is_link {
                one.candidates = self.linked(one.key)?;
                if !one.candidates.is_empty() {
                    linked.try_insert_value(self.vm.val(one.new).addr, ())?;
                }
            }
        }
        wanted.retain(|one| {
            is_behind(self.vm, one)
                || !linked.contains(&self.vm.val(one.new).addr)
                || self.is_given(one.key)
        });
        Ok(())
    }

    /// What a call that gives a table another metatable puts something in the place of.
    fn instead_of(&self, wanted: &[Wanted]) -> Instead {
        let is_metatable = |one: &Wanted| one.what == What::Metatable;
        let is_added = |one: &Wanted| self.vm.val(one.old).is_nil();
        if !wanted.iter().any(is_metatable) || wanted.iter().any(is_added) {
            Instead::Nothing
        } else if wanted.iter().all(is_metatable) {
            Instead::Metatables
        } else {
            Instead::All
        }
    }

    /// The tables of the load, by address, that are lists of what the call has placed elsewhere,
    /// too: which older objects these are says the other place, as an index in a list is no name.
    fn lists_of_others(&mut self, wanted: &[Wanted]) -> Result<FxHashSet<usize>> {
        let mut lists: FxHashSet<usize> = FxHashSet::default();
        if wanted.len() < 2 {
            return Ok(lists);
        }
        let mut placed: FxHashSet<usize> = FxHashSet::default();
        for one in wanted {
            for val in [self.vm.val(one.key), self.vm.val(one.new)] {
                if Self::is_object(val) {
                    placed.try_insert_value(val.addr, ())?;
                }
            }
        }
        for one in wanted {
            let list = self.vm.val(one.new);
            if !list.is_table() || !self.is_new(list) {
                continue;
            }
            for KeyValue { key, value } in self.vm.keep_some(one.new, SMALL)?.iter() {
                let val = self.vm.val(value);
                let is_placed = Self::is_object(val) && placed.contains(&val.addr);
                if is_placed && self.vm.integer(key).is_some() {
                    lists.try_insert_value(list.addr, ())?;
                }
            }
        }
        Ok(lists)
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
        let is_metatable = matches!(write.spot, Spot::Metatable(_));
        if is_metatable && old.is_nil() {
            return Ok(true);
        }
        if let (Kind::Table, Kind::Table, true) = (old.kind, new.kind, self.is_new(new))
            && !is_metatable
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
            Spot::Cell(_) | Spot::Metatable(_) if self.is_new(new) => {
                let (mut candidates, mut what) = (Vec::new(), What::Cell);
                if is_metatable {
                    what = What::Metatable;
                    candidates.try_push((write.old, Ref::NIL))?;
                } else {
                    self.behind(write.old, new.kind, &mut candidates)?;
                }
                wanted.try_push(Wanted {
                    table: None,
                    key: Ref::NIL,
                    new: write.new,
                    old: write.old,
                    place: Spotted::At(place),
                    what,
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

    fn is_loose(&self) -> bool {
        self.latitude >= Latitude::Numbers
    }

    /// Is it a string or number that is an argument itself?
    fn is_direct(&self, value: Ref) -> bool {
        self.given.direct.contains(&self.vm.key_hash(value))
    }

    /// May what was given be another value, in a table that was given or elsewhere? A string or
    /// number that is an argument itself tells which registration it is, unless another one does,
    /// under which something stands; what stands in a table tells something about it. Of a record
    /// that the callee has made of that (a class of its fields) the program may have more places,
    /// which the file's is to have as well.
    fn may_differ(&self, given: Ref, in_given: bool) -> bool {
        match self.latitude {
            Latitude::Nothing => false,
            Latitude::Numbers => self.vm.kind(given) == Kind::Number,
            Latitude::Data | Latitude::Code if self.is_direct(given) => {
                !self.given.keys.is_empty() && !self.given.is_key(self.vm, given)
            }
            Latitude::Data | Latitude::Code => in_given,
        }
    }

    /// Is it what the call was given? (Two booleans that are equal say nothing.)
    fn is_given(&self, value: Ref) -> bool {
        self.vm.kind(value) != Kind::Boolean && self.given.times(self.vm, value) > 0
    }
}
