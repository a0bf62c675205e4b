//! R3.5: external functions in the places of the file's: wrappers, patches.
//!
//! Somebody has put a function of another module into a field where the file has one of its own. If
//! the module's function is still inside it (a profiler, a spy, a plugin's `local old = M.f`), it
//! is a wrapper: it stays, and inside it the file's function takes the place of the old one. Else
//! it is a patch, and the file's takes its place. Which of the functions inside is the wrapped one
//! is decided when names have told what they can.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::cells::Cell1;
use super::{Action, Edge, EntryPair, Pairer, SlotDecision, by_key};
use crate::code::Profile;
use crate::lua::heap::Place;
use crate::lua::vm::{Kept, KeyValue, Kind, Ref, Val, Vm};
use crate::model::base;
use crate::model::options::{Options, OverOwn};
use crate::model::site::SiteId;
use crate::support::error::{Result, shown};
use crate::support::mem::{TryInsert, TryPush, sort_by_number};

/// So many functions deep a wrapped function is looked for.
pub(super) const MOST_DEEP: u32 = 8;
/// Entries of a table that are looked at for a wrapped function; of a larger one only the entry
/// under the field's own key.
const MOST_ENTRIES: usize = 1_000;

/// What becomes of an external function over one of the file's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It stays around the file's function.
    Wraps,
    /// The file's function takes its place.
    GivesWay,
    /// It stays, as the options have it.
    Stays,
}

/// An external function over one of the file's, for the report.
#[derive(Clone, Copy, Debug)]
pub struct External {
    /// Where it stands.
    pub site: SiteId,
    /// The function, or that which makes a table callable.
    pub function: Ref,
    /// What becomes of it.
    pub fate: Fate,
}

/// A place inside of a wrapper that holds what it wraps.
#[derive(Clone, Copy, Debug)]
pub struct Inside {
    /// The place.
    pub place: Place,
    /// The running function.
    pub old: Ref,
    /// The incoming one; none where the wrapper stands in a place that the file lacks: then the one
    /// that answers to the running one, if there is one.
    pub new: Option<Ref>,
    /// Where the wrapper stands.
    pub site: SiteId,
}

/// Where an external function stands.
#[derive(Clone, Copy)]
enum Over {
    /// In a field: the number of its slot.
    Slot(usize),
    /// In a local.
    Cell,
    /// In a field that the file lacks.
    Nothing,
}

/// An external function that is to be looked into.
#[derive(Clone, Copy)]
struct WaitingWrapper {
    over: Over,
    /// What the place is called.
    key: Ref,
    site: SiteId,
    /// Where that is on record.
    place: Option<base::RecordedPlace>,
    old: Ref,
    new: Ref,
}

/// External functions over the file's.
pub(super) struct Wrappers {
    options: OverOwn,
    waiting: Vec<WaitingWrapper>,
    /// The entries of tables that were looked into; none of a large one.
    tables: FxHashMap<usize, Option<Kept<KeyValue>>>,
    /// Places inside of wrappers that are known: the address of a cell or table, and which entry.
    inside: FxHashSet<(usize, u32)>,
    /// Lines of the functions that the incoming main chunk makes itself, once somebody has asked
    /// for them.
    outermost: Option<FxHashSet<(i32, i32)>>,
}

impl Wrappers {
    pub(super) fn new(options: &Options) -> Wrappers {
        Wrappers {
            options: options.over_own,
            waiting: Vec::new(),
            tables: FxHashMap::default(),
            inside: FxHashSet::default(),
            outermost: None,
        }
    }
}

/// Where a function stands inside of an external one.
#[derive(Clone, Copy)]
struct ReachedAt {
    place: Place,
    /// Names the place; see [`Wrappers::inside`].
    id: (usize, u32),
    /// The function is called there as the external one is in the module.
    named: bool,
}

/// A function inside of an external one, which may be what that one wraps.
#[derive(Clone, Copy)]
struct Reached {
    spot: ReachedAt,
    at: Ref,
    address: usize,
}

/// What is inside of an external function.
struct Looked {
    waiting: WaitingWrapper,
    /// The incoming function.
    f2: Option<u32>,
    /// The number of what the file had in the place, as the record has it.
    had: Option<i64>,
    /// That is the external function itself: the file has decorated one of its functions.
    placed: bool,
    /// What a factory of another module made, where the incoming function is such a closure:
    /// another one of its code.
    twin: Option<Ref>,
    reached: Vec<Reached>,
    /// What is still to be looked into, and how deep that is.
    queue: VecDeque<(Ref, u32)>,
    seen: FxHashSet<usize>,
    /// Not all of it could be looked at.
    partial: bool,
    /// The address of what it wraps, once that is known.
    wrapped: Option<usize>,
    /// It may wrap more than one function.
    doubtful: bool,
}

/// What tells which of the functions inside is the wrapped one, the strongest first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The file had it in this place, says the record.
    Record,
    /// It answers to the file's function in another place.
    Answer,
    /// It has the place's name.
    Name,
    /// It has the code of the file's function.
    Code,
    /// There is no other one.
    Only,
}

/// What is known of the functions inside of all that wait, by their addresses.
#[derive(Default)]
struct Inner {
    /// They are known to be what another one wraps.
    taken: FxHashSet<usize>,
    /// Did another function of the module make them?
    made: FxHashMap<usize, bool>,
    profiles: FxHashMap<usize, Option<Profile>>,
}

impl Pairer<'_> {
    /// Is the running function an external one, and no closure of the library's factory that has
    /// made the incoming version's (R3.2)?
    pub(super) fn is_external_over(&mut self, o: Val, old: Ref, new: Ref) -> Result<bool> {
        let known = self.out.known.number(o.addr);
        let known = known.and_then(|number| self.out.known.function(number));
        if known.is_some_and(|known| known.own) {
            return Ok(false);
        }
        let lineage = Some(self.lineage);
        Ok(!self.is_own_function(old)? && !self.edits.is_one(self.vm, lineage, old, new)?)
    }

    /// Is it a table that an external function makes callable?
    pub(super) fn is_external_callable(&mut self, table: Ref) -> Result<bool> {
        let (_, call) = self.call_of(table)?;
        Ok(self.vm.val(call).is_function() && !self.is_own_function(call)?)
    }

    /// The metatable of a table, and its `__call`.
    fn call_of(&mut self, table: Ref) -> Result<(Ref, Ref)> {
        let metatable = self.vm.metatable(table)?;
        if !self.vm.val(metatable).is_table() {
            return Ok((Ref::NIL, Ref::NIL));
        }
        Ok((metatable, self.vm.field(metatable, "__call")?))
    }

    /// Notes the slot that was pushed last if something external stands there over a function of
    /// the file's; `slot` has both.
    pub(super) fn note_external(&mut self, slot: &SlotDecision, entry: &EntryPair) -> Result<()> {
        if slot.action != Action::Keep
            || entry.old_val.is_nil() // what the program has taken out stays away
            || entry.order.is_none()
            || !entry.new_val.is_function()
            || self.vm.is_c_function(slot.new).is_some()
        {
            return Ok(());
        }
        let site = self.out.sites.key(slot.parent, slot.key)?;
        let place = self.place_in(slot.table, slot.parent, slot.key)?;
        self.wrappers.waiting.try_push(WaitingWrapper {
            over: Over::Slot(self.out.slots.len().saturating_sub(1)),
            key: slot.key,
            site,
            place,
            old: slot.old,
            new: slot.new,
        })
    }

    /// The same for a running cell and what it holds.
    pub(super) fn note_external_in_cell(
        &mut self,
        cell: &Cell1,
        old: Ref,
        new: Ref,
        site: SiteId,
    ) -> Result<()> {
        let name = self.vm.upvalue_name(cell.function, cell.index);
        let key = self.vm.string(&name)?;
        let (over, place) = (Over::Cell, Some(self.cell_place(cell)));
        self.wrappers.waiting.try_push(WaitingWrapper {
            over,
            key,
            site,
            place,
            old,
            new,
        })
    }

    /// The same for a field that the file lacks. False where nothing can be inside.
    pub(super) fn note_external_alone(
        &mut self,
        (table, site): (Ref, SiteId),
        key: Ref,
        old: Ref,
    ) -> Result<bool> {
        if self.vm.upvalue(old, 1).is_none() {
            return Ok(false);
        }
        let (over, place) = (Over::Nothing, self.place_in(table, site, key)?);
        let (site, new) = (self.out.sites.key(site, key)?, Ref::NIL);
        self.wrappers.waiting.try_push(WaitingWrapper {
            over,
            key,
            site,
            place,
            old,
            new,
        })?;
        Ok(true)
    }

    /// Decides what the external functions are that wait. True when there were some.
    pub(super) fn resolve_external(&mut self) -> Result<bool> {
        let mut waiting = std::mem::take(&mut self.wrappers.waiting);
        if waiting.is_empty() {
            return Ok(false);
        }
        let vm = &*self.vm;
        waiting.sort_by(|a, b| by_key(vm, a.key, b.key));
        sort_by_number(&mut waiting, |waiting| {
            let order = self.order_of(self.vm.val(waiting.new));
            order.unwrap_or(u32::MAX)
        })?;
        let mut all = Vec::new();
        for waiting in waiting {
            all.try_push(self.look_into(waiting)?)?;
        }
        self.find_wrapped(&mut all)?;
        for looked in &all {
            self.settle_external(looked)?;
        }
        Ok(true)
    }

    /// Finds the functions that may be what an external one wraps.
    fn look_into(&mut self, waiting: WaitingWrapper) -> Result<Looked> {
        let f2 = self.function2(waiting.new, waiting.site)?;
        let new = f2.and_then(|f2| self.out.new.get(f2 as usize));
        let had = waiting.place.and_then(|place| self.out.base.get(place));
        let had = had.and_then(|had| had.number());
        let is_placed = had.is_some() && had == self.number_of(waiting.old);
        let mut looked = Looked {
            waiting,
            f2,
            had: had.filter(|_| !is_placed),
            placed: is_placed && matches!(waiting.over, Over::Slot(_)),
            twin: new.filter(|new| !new.own).map(|new| new.at),
            reached: Vec::new(),
            queue: VecDeque::new(),
            seen: FxHashSet::default(),
            partial: false,
            wrapped: None,
            doubtful: false,
        };
        if self.wrappers.options.follows_wrappers {
            looked.queue.try_push((waiting.old, 0))?;
        }
        while let Some((at, depth)) = looked.queue.pop_front() {
            if self.vm.kind(at) == Kind::Table {
                self.look_into_table(&mut looked, at, depth)?;
            } else {
                self.look_into_upvalues(&mut looked, at, depth)?;
            }
        }
        Ok(looked)
    }

    fn look_into_upvalues(&mut self, looked: &mut Looked, function: Ref, depth: u32) -> Result<()> {
        for index in 1..=u8::MAX {
            let Some(upvalue) = self.vm.upvalue(function, index) else {
                break;
            };
            match upvalue.value.kind {
                Kind::Function => {
                    let at = self.vm.upvalue_value(function, index)?;
                    let place = Place::Upvalue { function, index };
                    let named = self.vm.with_upvalue_name(function, index, |name| {
                        self.vm.is_string(looked.waiting.key, name)
                    });
                    let id = (upvalue.cell, 0);
                    self.reach(looked, ReachedAt { place, id, named }, at, depth)?;
                }
                Kind::Table
                    if !self.is_own_table(upvalue.value)
                        && !self.is_of_class(looked, upvalue.value)?
                        && looked
                            .seen
                            .try_insert_value(upvalue.value.addr, ())?
                            .is_none() =>
                {
                    let table = self.vm.upvalue_value(function, index)?;
                    self.look_into_table(looked, table, depth)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A table that says nothing of what the external function wraps: the module's own, the
    /// globals, `package.loaded`.
    fn is_own_table(&self, table: Val) -> bool {
        let context = self.context;
        let shared = [context.globals, context.loaded, context.running];
        shared.iter().any(|known| self.vm.val(*known) == table) || self.has_partner(table.addr)
    }

    /// Where a library's closure is looked for, such as the method of a class: the metatable of the
    /// table in which the external function stands, and other modules, have closures like it that
    /// are no business of the function.
    fn is_of_class(&mut self, looked: &Looked, table: Val) -> Result<bool> {
        let Over::Slot(slot) = looked.waiting.over else {
            return Ok(false);
        };
        let slot = self.out.slots.get(slot).filter(|_| looked.twin.is_some());
        let Some(holder) = slot.map(|slot| slot.table) else {
            return Ok(false);
        };
        Ok(self.vm.metatable_val(holder) == table || self.is_module(table)?)
    }

    fn look_into_table(&mut self, looked: &mut Looked, table: Ref, depth: u32) -> Result<()> {
        let (address, key) = (self.vm.val(table).addr, looked.waiting.key);
        let entries = match self.wrappers.tables.get(&address) {
            Some(known) => *known,
            None => {
                let entries = self.vm.keep_at_most(table, MOST_ENTRIES)?;
                self.wrappers.tables.try_insert_value(address, entries)?;
                entries
            }
        };
        let named = match key {
            Ref::NIL => Ref::NIL,
            key => self.vm.get(table, key)?,
        };
        if self.vm.val(named).is_function() {
            let spot = ReachedAt {
                place: Place::Value { table, key },
                id: (address, u32::MAX),
                named: true,
            };
            self.reach(looked, spot, named, depth)?;
        }
        let has_name = looked.reached.last().is_some_and(|last| last.at == named);
        looked.partial |= entries.is_none() && !has_name;
        let entries = entries.filter(|_| !has_name).unwrap_or_default();
        for (KeyValue { key, value }, i) in entries.iter().zip(0..) {
            if self.vm.val(value).is_function() {
                let spot = ReachedAt {
                    place: Place::Value { table, key },
                    id: (address, i),
                    named: false,
                };
                self.reach(looked, spot, value, depth)?;
            }
        }
        let (metatable, call) = self.call_of(table)?;
        if self.vm.val(call).is_function() {
            let (key, address) = (self.vm.string(b"__call")?, self.vm.val(metatable).addr);
            let place = Place::Value {
                table: metatable,
                key,
            };
            let spot = ReachedAt {
                place,
                id: (address, u32::MAX),
                named: false,
            };
            self.reach(looked, spot, call, depth)?;
        }
        Ok(())
    }

    /// Has the factory of another module made this function that made the incoming one?
    fn is_twin(&mut self, looked: &Looked, at: Ref) -> Result<bool> {
        match looked.twin {
            Some(twin) => self.edits.is_one(self.vm, Some(self.lineage), at, twin),
            None => Ok(false),
        }
    }

    /// Keeps what may be wrapped; any other external function is looked into as well.
    fn reach(&mut self, looked: &mut Looked, spot: ReachedAt, at: Ref, depth: u32) -> Result<()> {
        let val = self.vm.val(at);
        let is_twin = self.is_twin(looked, at)?;
        let is_recorded = looked.had.is_some() && self.number_of(at) == looked.had;
        if is_twin || is_recorded || self.is_own_function(at)? {
            if self.is_fresh(val) {
                return Ok(());
            }
            let address = val.addr;
            return looked.reached.try_push(Reached { spot, at, address });
        }
        if looked.seen.try_insert_value(val.addr, ())?.is_some() {
            Ok(())
        } else if depth + 1 < MOST_DEEP {
            looked.queue.try_push((at, depth + 1))
        } else {
            looked.partial |= self.vm.upvalue(at, 1).is_some();
            Ok(())
        }
    }

    /// Finds out what each of them wraps: by the strongest evidence that there is for any of them.
    fn find_wrapped(&mut self, all: &mut [Looked]) -> Result<()> {
        use Evidence::{Answer, Code, Name, Only, Record};
        if all.iter().all(|looked| looked.reached.is_empty()) {
            return Ok(());
        }
        let mut inner = Inner::default();
        let mut found = true;
        while std::mem::take(&mut found) {
            for evidence in [Record, Answer, Name, Code, Only] {
                for looked in all.iter_mut().filter(|looked| looked.wrapped.is_none()) {
                    if let Some(reached) = self.wrapped_by(looked, evidence, &mut inner)? {
                        inner.taken.try_insert_value(reached.address, ())?;
                        looked.wrapped = Some(reached.address);
                        self.follow_inside(looked, reached)?;
                        found = true;
                    }
                }
            }
        }
        for looked in all.iter_mut().filter(|looked| looked.wrapped.is_none()) {
            for reached in &looked.reached {
                looked.doubtful = looked.doubtful || self.is_free(looked, reached, &mut inner)?;
            }
        }
        Ok(())
    }

    /// What an external function wraps, if there is one function for which such evidence speaks.
    fn wrapped_by(
        &mut self,
        looked: &Looked,
        evidence: Evidence,
        inner: &mut Inner,
    ) -> Result<Option<Reached>> {
        let mut found: Option<Reached> = None;
        for reached in &looked.reached {
            if found.is_some_and(|found| found.address == reached.address) {
                continue;
            }
            let speaks = match evidence {
                Evidence::Record => {
                    looked.had.is_some() && looked.had == self.number_of(reached.at)
                }
                Evidence::Answer => {
                    let old = self.out.old_at(reached.address);
                    let answers = old.map(|old| old.answers.as_slice()).unwrap_or_default();
                    looked.f2.is_some_and(|f2| answers.contains(&f2))
                }
                _ if !self.is_free(looked, reached, inner)? => false,
                Evidence::Name => reached.spot.named,
                Evidence::Code => self.has_code_of(looked, reached, inner)?,
                Evidence::Only => true,
            };
            if speaks && found.is_some() {
                return Ok(None);
            }
            if speaks {
                found = Some(*reached);
            }
        }
        Ok(found)
    }

    /// May it be what the external function wraps, where no record says what that is? Not what has
    /// an answer already, nor what the module has made at run time, unless it makes the file's
    /// function so, too.
    fn is_free(&mut self, looked: &Looked, reached: &Reached, inner: &mut Inner) -> Result<bool> {
        let old = self.out.old_at(reached.address);
        let is_taken = || inner.taken.contains(&reached.address);
        if looked.had.is_some() || is_taken() || old.is_some_and(|old| !old.answers.is_empty()) {
            return Ok(false);
        }
        if looked.twin.is_some() {
            return self.is_twin(looked, reached.at);
        }
        let is_made = match inner.made.get(&reached.address) {
            Some(known) => *known,
            None => {
                let info = self.vm.info(reached.at)?.unwrap_or_default();
                let digest = self.vm.profile(reached.at)?.map(|profile| profile.digest);
                let (old, function) = (&self.out.old, (reached.at, &info));
                let made = self.out.nesting.is_nested(self.vm, old, function, digest)?;
                inner.made.try_insert_value(reached.address, made)?;
                made
            }
        };
        match looked.f2 {
            Some(f2) if is_made => Ok(!self.is_made_by_main(f2)?),
            _ => Ok(!is_made),
        }
    }

    /// Does the incoming main chunk make this function itself?
    fn is_made_by_main(&mut self, f2: u32) -> Result<bool> {
        if self.wrappers.outermost.is_none() {
            let mut lines = FxHashSet::default();
            if let Some(tree) = self.vm.tree_of(self.loaded.main)? {
                for function in tree.children(0).filter_map(|number| tree.get(number)) {
                    lines.try_insert_value((function.line, function.last), ())?;
                }
            }
            self.wrappers.outermost = Some(lines);
        }
        let new = self.out.new.get(f2 as usize);
        let lines = new.map(|new| (new.info.line, new.info.last));
        let outermost = self.wrappers.outermost.as_ref();
        Ok(lines.is_some_and(|lines| outermost.is_some_and(|known| known.contains(&lines))))
    }

    fn has_code_of(
        &mut self,
        looked: &Looked,
        reached: &Reached,
        inner: &mut Inner,
    ) -> Result<bool> {
        let profile = match inner.profiles.get(&reached.address) {
            Some(known) => *known,
            None => {
                let profile = self.vm.profile(reached.at)?;
                inner.profiles.try_insert_value(reached.address, profile)?;
                profile
            }
        };
        let new = looked.f2.and_then(|f2| self.out.new.get(f2 as usize));
        Ok(new.is_some_and(|new| new.profile.is_same_code(profile)))
    }

    /// The file's function takes the place of what an external one wraps.
    fn follow_inside(&mut self, looked: &Looked, wrapped: Reached) -> Result<()> {
        let WaitingWrapper { site, new, .. } = looked.waiting;
        let f1 = self.function1(wrapped.at, site)?;
        if let (Some(f1), Some(f2)) = (f1, looked.f2) {
            self.edge(Edge { f1, f2 })?;
            self.match_edges()?;
        }
        if looked.placed {
            return Ok(()); // nothing of it stays
        }
        let is_wrapped = |other: &&Reached| other.address == wrapped.address;
        for reached in looked.reached.iter().filter(is_wrapped) {
            let ReachedAt { place, id, .. } = reached.spot;
            if self.wrappers.inside.try_insert_value(id, ())?.is_none() {
                self.out.inside.try_push(Inside {
                    place,
                    old: reached.at,
                    new: looked.f2.map(|_| new),
                    site,
                })?;
            }
        }
        Ok(())
    }

    /// A wrapper stays; the file's function takes the place of a patch in a field.
    fn settle_external(&mut self, looked: &Looked) -> Result<()> {
        let WaitingWrapper {
            over,
            site,
            old,
            new,
            ..
        } = looked.waiting;
        let number = match over {
            Over::Nothing => return Ok(()),
            Over::Slot(number) if looked.placed => number,
            _ if looked.wrapped.is_some() => return self.tell_external(site, old, Fate::Wraps),
            Over::Cell => return Ok(()),
            Over::Slot(number) => number,
        };
        if self.vm.kind(old) == Kind::Table {
            self.change_slot(number, Action::Conflict, new);
            return Ok(());
        }
        let is_patch = self.is_patch(number, looked)?;
        if is_patch && (looked.partial || looked.doubtful) {
            self.warn_of_patch(looked)?;
        }
        let in_list = self.is_in_list(number);
        if in_list && self.identity.is_edited(self.vm, new) != Some(false) {
            self.warn_of_handler(looked)?;
        }
        if is_patch && self.wrappers.options.keeps_patches || in_list {
            if let Some(f2) = looked.f2 {
                self.out.left_out.try_insert_value(f2, ())?;
            }
            return self.tell_external(site, old, Fate::Stays);
        }
        self.change_slot(number, Action::ReplaceFunction, new);
        let (f1, f2) = (self.function1(old, site)?, looked.f2);
        if let (Some(f1), Some(f2)) = (f1, f2) {
            self.edge(Edge { f1, f2 })?;
        }
        if is_patch {
            self.tell_external(site, old, Fate::GivesWay)?;
        }
        Ok(())
    }

    /// Is it an element of a list that keeps what the program has put there? The program may have
    /// taken the file's handler out and have added one of its own, which is no patch.
    fn is_in_list(&self, number: usize) -> bool {
        let slot = self.out.slots.get(number).filter(|_| !self.replace_data);
        slot.is_some_and(|slot| self.is_listed(slot.table, self.vm.integer(slot.key)))
    }

    fn change_slot(&mut self, number: usize, action: Action, new: Ref) {
        if let Some(slot) = self.out.slots.get_mut(number) {
            (slot.action, slot.new) = (action, new);
        }
    }

    /// Has the program put an external function over one of the module's own? What the chunk writes
    /// over in tables of others may always have stood there.
    fn is_patch(&mut self, number: usize, looked: &Looked) -> Result<bool> {
        if looked.placed {
            return Ok(false);
        }
        let slot = self.out.slots.get(number).copied();
        if slot.is_none_or(|slot| !slot.change) {
            return Ok(true);
        }
        let is_there = |place| self.out.base.is_there(place);
        if self.out.base.is_known() {
            return Ok(looked.waiting.place.is_some_and(is_there));
        }
        let old = self.vm.val(looked.waiting.old);
        Ok(!self.imports.is_standard(self.vm, self.context, old)?)
    }

    fn tell_external(&mut self, site: SiteId, old: Ref, fate: Fate) -> Result<()> {
        let function = match self.vm.kind(old) {
            Kind::Table => self.call_of(old)?.1,
            _ => old,
        };
        self.out.external.try_push(External {
            site,
            function,
            fate,
        })
    }

    fn warn_of_handler(&mut self, looked: &Looked) -> Result<()> {
        let WaitingWrapper { site, old, .. } = looked.waiting;
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        let origin = origin(self.vm, old)?;
        self.out.warnings.try_push(format!(
            "{path}: {origin} stays in the place of a function that the file has changed, which is \
             not used; if it is a patch, assign the file's function in __hotfix (R3.14)"
        ))
    }

    fn warn_of_patch(&mut self, looked: &Looked) -> Result<()> {
        let WaitingWrapper { site, old, .. } = looked.waiting;
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        let why = match looked.doubtful {
            true => "nothing tells which function of the module it wraps, if any",
            false => "not all that is inside of it was looked at",
        };
        let origin = origin(self.vm, old)?;
        self.out.warnings.try_push(format!(
            "{path}: {why}, so {origin} counts as a patch; \
             put it there again, or pass patches = \"keep\" (R3.5)"
        ))
    }
}

/// Where a function comes from, in words.
pub fn origin(vm: &mut Vm, function: Ref) -> Result<String> {
    let info = vm.info(function)?.unwrap_or_default();
    if !info.lua {
        return Ok("a C function".into());
    }
    let source = vm.source(function)?.unwrap_or_default();
    Ok(match source.split_first() {
        Some((b'@' | b'=', name)) => format!("the function of {}:{}", shown(name), info.line),
        _ => format!("the function of a string's line {}", info.line),
    })
}
