//! What is left of the chunk's calls when it has ended: operations for the commit, and what goes to
//! the other changes.

use rustc_hash::{FxHashMap, FxHashSet};

use super::past::{Past, SMALL, Spot, Write};
use super::{Effects, Exchange, Left, Logged, OlderRegistration, former};
use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::lua::write::Op;
use crate::stages::snapshot::{Change, Snapshot};
use crate::support::error::Result;
use crate::support::fault;
use crate::support::mem::{TryInsert, TryPush};

impl Effects<'_> {
    /// Is a place in a table that the file can name, and is that another module's?
    pub(super) fn theirs(&mut self, vm: &Vm, spot: Spot, by_call: bool) -> Result<Option<bool>> {
        let named = match self.nameable.take() {
            Some(named) => named,
            None => NamedTables::of(vm, self.snapshot)?,
        };
        let theirs = named.theirs(vm, &self.past, spot, by_call);
        self.nameable = Some(named);
        Ok(theirs)
    }

    /// The chunk has ended: notes what else has changed of what is remembered, and warns of calls
    /// that are much like older ones, to which no other call answers.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn finish(&mut self, vm: &mut Vm) -> Result<()> {
        fault::point()?;
        let (tables, cells) = self.past.counts();
        let mut writes = Vec::new();
        for table in 0..tables {
            if self.past.is_whole(table) {
                self.past.look_at_all(vm, table, &mut writes)?;
            }
        }
        for cell in 0..cells {
            self.past.look_at_cell(vm, cell, &mut writes)?;
        }
        self.log_own(writes)?;
        for (older, warning) in std::mem::take(&mut self.doubled) {
            let is_answered = match older {
                OlderRegistration::Objects(objects) => {
                    objects.iter().any(|object| self.repeated.contains(object))
                }
                OlderRegistration::Entry(table, KeyValue { key, value }) => {
                    let val = vm.val(value);
                    let is_record = val.is_table();
                    is_record && self.repeated.contains(&val.addr) || !vm.holds(table, key, value)
                }
            };
            if !is_answered {
                self.calls.warnings.try_push(warning)?;
            }
        }
        Ok(())
    }

    /// Splits what has happened: operations for the commit, and what the chunk or a call put in the
    /// place of something older, which pairing is to compare. `changes` has what the chunk did
    /// to tables that it can name; what calls did is taken out of it. `others` has what it did
    /// to data of other modules: that stays.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn left(
        mut self,
        vm: &mut Vm,
        is_new: impl Fn(Val) -> bool,
        changes: &mut Vec<Change>,
        others: Vec<Change>,
    ) -> Result<Left> {
        self.end_loans()?;
        let Effects {
            mut past,
            log,
            snapshot,
            context,
            pairs,
            made,
            given,
            functions,
            threads,
            mut calls,
            recorded,
            texts,
            read_version,
            handed,
            nameable,
            ..
        } = self;
        fault::point()?;
        calls.gone = former::gone(recorded, texts)?;
        let mut left = Left {
            pairs,
            made,
            given,
            functions,
            threads,
            calls,
            last: read_version,
            ..Left::default()
        };
        let named = nameable.map_or_else(|| NamedTables::of(vm, snapshot), Ok)?;
        let standing = past.standing(vm)?;
        // Places whose fate is that of a call.
        let mut decided: FxHashSet<Spot> = FxHashSet::default();
        // Places for which the file has a value of its own.
        let mut by_file: FxHashSet<Spot> = FxHashSet::default();
        let last = last_writes(&log)?;
        for (logged, at) in log.into_iter().zip(0..) {
            let (writes, said, [places, by_call, is_settled]) = logged.parts()?;
            for mut write in writes {
                if let Some((last, true)) = last.get(&write.spot) {
                    // The chunk has written there itself since: that alone counts.
                    if *last != at {
                        continue;
                    }
                    write.old = past.initial(write.spot);
                }
                let theirs = named.theirs(vm, &past, write.spot, by_call);
                if is_settled {
                    decided.try_insert_value(write.spot, ())?;
                } else if !decided.contains(&write.spot) {
                    // What the chunk did to tables that it can name is among the changes. So is
                    // what it let a call put there, and what a call made of that.
                    let is_said = said.contains(&write.spot) || by_file.contains(&write.spot);
                    let is_said = is_said && !places && theirs == Some(false);
                    if !by_call && theirs.is_some() || is_said {
                        by_file.try_insert_value(write.spot, ())?;
                        continue;
                    }
                    let key = past.key(write.spot);
                    let (old, new) = (vm.val(write.old), vm.val(write.new));
                    let is_new_thing = is_exchange(old, new, &is_new)
                        && !standing.contains(&old.addr)
                        && !holds(vm, write.new, write.old)?;
                    let is_handed = |table| handed.contains(&table) && !old.is_nil();
                    if let (Some(key), Spot::Slot(table, _)) = (key, write.spot)
                        && (is_new_thing && (places || !by_call) || !by_call && is_handed(table))
                    {
                        left.exchanges.try_push(Exchange {
                            table: past.table(table),
                            key,
                            old: write.old,
                            new: write.new,
                        })?;
                        continue;
                    }
                    decided.try_insert_value(write.spot, ())?;
                }
                let op = Op {
                    call: if by_call && !is_settled { at + 1 } else { 0 },
                    ..Op::new(past.place(write.spot), write.new, write.old)
                };
                left.add(vm, &is_new, op)?;
            }
        }
        let loaded = vm.val(context.loaded).addr;
        let mut is_decided =
            |vm: &mut Vm, change: &Change| is_decided(vm, &mut past, (loaded, &decided), change);
        for change in std::mem::take(changes) {
            if !is_decided(vm, &change)? {
                changes.try_push(change)?;
            }
        }
        for change in others {
            if !is_decided(vm, &change)? {
                let key = change.key.unwrap_or(Ref::NIL);
                let op = Op::write(change.table, key, change.new, change.old);
                left.add(vm, &is_new, op)?;
            }
        }
        Ok(left)
    }
}

impl Logged {
    /// The writes, and where the file itself says what comes there. Also whether one placed
    /// something of the load, whether a call made them, and whether their fate is settled.
    fn parts(self) -> Result<(Vec<Write>, FxHashSet<Spot>, [bool; 3])> {
        let none = FxHashSet::default();
        Ok(match self {
            Logged::Own(write) => (one(write)?, none, [false; 3]),
            Logged::Replaced(write) => (one(write)?, none, [true; 3]),
            Logged::Kept {
                writes,
                places,
                said,
            } => (writes, said, [places, true, false]),
        })
    }
}

impl Left {
    fn add(&mut self, vm: &Vm, is_new: &impl Fn(Val) -> bool, op: Op) -> Result<()> {
        let key = match op.place {
            Place::Value { key, .. } => key,
            _ => Ref::NIL,
        };
        for value in [op.new, key] {
            if is_new(vm.val(value)) {
                self.roots.try_push(value)?;
            }
        }
        self.ops.try_push(op)
    }
}

/// The tables that the file can name.
#[derive(Default)]
pub(super) struct NamedTables {
    /// By address: whether the table is another module's, and whether all of its entries are
    /// remembered.
    tables: FxHashMap<usize, (bool, bool)>,
    /// Of the others, the changes have only what stands under these keys, and what was appended.
    keys: FxHashSet<(Kind, u64)>,
}

impl NamedTables {
    fn of(vm: &Vm, snapshot: &Snapshot) -> Result<NamedTables> {
        let mut named = NamedTables::default();
        named.tables.try_reserve(snapshot.len())?;
        for number in 0..snapshot.len() {
            let (table, theirs) = snapshot.table(number);
            let slots = snapshot.slots_of(number);
            let is_whole = slots.as_ref().is_none_or(|slots| slots.is_whole());
            named
                .tables
                .try_insert_value(vm.val(table).addr, (theirs, is_whole))?;
            if let Some(slots) = slots.filter(|_| !is_whole && named.keys.is_empty()) {
                for slot in slots.slots() {
                    named.keys.try_insert_value(vm.key_hash(slot.key), ())?;
                }
            }
        }
        Ok(named)
    }

    /// Is the place in a table that the file can name, and is that another module's? None where the
    /// changes do not have it.
    fn theirs(&self, vm: &Vm, past: &Past, spot: Spot, by_call: bool) -> Option<bool> {
        let (Spot::Slot(table, _) | Spot::Metatable(table)) = spot else {
            return None;
        };
        let (theirs, is_whole) = *self.tables.get(&vm.val(past.table(table)).addr)?;
        let is_named = |key| self.keys.contains(&vm.key_hash(key)) || past.is_behind_end(vm, spot);
        (is_whole || by_call || past.key(spot).is_none_or(is_named)).then_some(theirs)
    }
}

/// Has a call, or what became of it, decided about the place of a change?
fn is_decided(
    vm: &mut Vm,
    past: &mut Past,
    (loaded, decided): (usize, &FxHashSet<Spot>),
    change: &Change,
) -> Result<bool> {
    let table = vm.val(change.table).addr;
    let Some(number) = past.number(table).filter(|_| table != loaded) else {
        return Ok(false);
    };
    let spot = match change.key {
        Some(key) => past.under(vm, number, key)?.0,
        None => Spot::Metatable(number),
    };
    Ok(decided.contains(&spot))
}

/// The number of the last entry of the log that writes to a spot, and whether that is the chunk's
/// own.
fn last_writes(log: &[Logged]) -> Result<FxHashMap<Spot, (u32, bool)>> {
    let mut last = FxHashMap::default();
    for (logged, at) in log.iter().zip(0..) {
        match logged {
            Logged::Own(write) => last.try_insert_value(write.spot, (at, true))?,
            Logged::Replaced(write) => last.try_insert_value(write.spot, (at, false))?,
            Logged::Kept { writes, .. } => {
                for write in writes {
                    last.try_insert_value(write.spot, (at, false))?;
                }
                None
            }
        };
    }
    Ok(last)
}

/// Does a table hold another one, as the new head of a linked list does the former one?
fn holds(vm: &mut Vm, new: Ref, old: Ref) -> Result<bool> {
    let mark = vm.held();
    let is_table = vm.val(new).is_table();
    let holds = is_table
        && vm
            .keep_some(new, SMALL)?
            .values()
            .any(|value| vm.same(value, old));
    vm.release(mark);
    Ok(holds)
}

pub(super) fn one(write: Write) -> Result<Vec<Write>> {
    let mut list = Vec::new();
    list.try_push(write)?;
    Ok(list)
}

/// Does something of the load take the place of an older thing of its kind?
fn is_exchange(old: Val, new: Val, is_new: &impl Fn(Val) -> bool) -> bool {
    old.kind == new.kind && matches!(new.kind, Kind::Table | Kind::Function) && is_new(new)
}
