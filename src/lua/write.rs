//! R7.1: writes to the running program, each operation leaving its inverse, and undoes them.
//!
//! Everything that changes the program asks for a [`Permit`]. It is made where Lua calls the
//! library, and handed to `load`, `commit` and `sweep`. So the compiler checks that planning cannot
//! write. What has no permit as an argument ([`fill`]) writes to objects of the library's own.

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::heap::Place;
use super::vm::{Kind, Ref, TableCursor, Vm};
use crate::support::error::{Error, Result};
use crate::support::fault::{self, caught, insist};
use crate::support::mem::{TryInsert, TryPush};

/// The permission to change the running program. Only the way in from Lua has one to give away: a
/// stage that is not handed one cannot write, and cannot call what writes.
#[derive(Clone, Copy)]
pub struct Permit(());

impl Permit {
    /// For what is called by Lua, and for tests.
    #[cfg(not(test))]
    pub(in crate::lua) const fn new() -> Permit {
        Permit(())
    }

    /// For tests.
    #[cfg(test)]
    pub const fn new() -> Permit {
        Permit(())
    }
}

/// For objects of the library's own.
const OWN: Permit = Permit(());

/// One write, with what it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Where.
    pub place: Place,
    /// What is written.
    pub new: Ref,
    /// What stood there.
    pub old: Ref,
    /// Neighbours with one number are what one call did: they are undone together or not at all.
    /// Zero for any other write.
    pub call: u32,
    /// The reload has made what is written: nothing had it before.
    pub made: bool,
}

impl Op {
    /// A write that stands for itself.
    pub fn new(place: Place, new: Ref, old: Ref) -> Op {
        Op {
            place,
            new,
            old,
            call: 0,
            made: false,
        }
    }

    /// A write under a key, or of the metatable when `key` is nil.
    pub fn write(table: Ref, key: Ref, new: Ref, old: Ref) -> Op {
        let place = if key == Ref::NIL {
            Place::Metatable { of: table }
        } else {
            Place::Value { table, key }
        };
        Op::new(place, new, old)
    }

    /// A write into the cell that the upvalue with this number is.
    pub fn cell(function: Ref, index: u8, new: Ref, old: Ref) -> Op {
        let place = Place::Upvalue { function, index };
        Op::new(place, new, old)
    }
}

/// A join of one upvalue of a new function to a cell that another one has. It has no inverse: the
/// incoming functions go when their reload is undone.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    /// Which of the function's upvalues.
    pub index: u8,
    /// A function that has the cell.
    pub donor: Ref,
    /// Which of its upvalues.
    pub donor_index: u8,
}

/// The joins of many functions. Functions with the same cells have one list of them.
#[derive(Default)]
pub struct Joins {
    list: Vec<Join>,
    /// Each function, and which of the list are its own.
    functions: Vec<(Ref, Range<u32>)>,
}

impl Joins {
    /// Makes room for so many functions.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn reserve(&mut self, functions: usize) -> Result<()> {
        Ok(self.functions.try_reserve(functions)?)
    }

    /// Adds the joins of a function, and returns its number.
    ///
    /// # Errors
    /// [`Error::Memory`], with nothing added.
    pub fn add(&mut self, function: Ref, joins: &[Join]) -> Result<u32> {
        let (number, start) = (self.functions.len() as u32, self.list.len() as u32);
        self.list.try_reserve(joins.len())?;
        self.functions
            .try_push((function, start..start + joins.len() as u32))?;
        self.list.extend_from_slice(joins);
        Ok(number)
    }

    /// Adds the joins of a function that has the cells of the one with this number.
    ///
    /// # Errors
    /// As [`Joins::add`].
    pub fn add_same(&mut self, function: Ref, number: u32) -> Result<()> {
        let place = self
            .functions
            .get(number as usize)
            .map(|(_, place)| place.clone());
        self.functions
            .try_push((function, place.unwrap_or_default()))
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All joins, those of functions with the same cells once.
    pub fn list(&self) -> &[Join] {
        &self.list
    }

    /// Each function with its joins.
    pub fn functions(&self) -> impl Iterator<Item = (Ref, &[Join])> {
        let joins = |place: &Range<u32>| self.list.get(place.start as usize..place.end as usize);
        self.functions
            .iter()
            .map(move |(function, place)| (*function, joins(place).unwrap_or_default()))
    }
}

/// All the writes of a reload.
pub struct Writes<'a> {
    /// The incoming functions that get the running cells.
    pub joins: &'a Joins,
    /// Objects of the incoming version that lose their metatables.
    pub disarm: &'a [Ref],
    /// Writes into incoming objects. They have no inverse: the incoming version goes when its
    /// reload is undone.
    pub fresh: &'a [Op],
    /// Writes into the program.
    pub ops: &'a [Op],
}

/// Puts the writes that take an entry out of a table behind all others: those may fail for want of
/// memory, and an entry that is gone may need memory to come back. What one call did stays
/// together, and so does the order of writes to one place.
///
/// # Errors
/// [`Error::Memory`], with the list as it was.
pub fn put_removals_last(vm: &Vm, ops: &mut Vec<Op>) -> Result<()> {
    let removes = |op: &Op| matches!(op.place, Place::Value { .. }) && vm.kind(op.new) == Kind::Nil;
    if !ops.iter().any(removes) {
        return Ok(());
    }
    let (mut seen, mut others, mut removals) = (FxHashSet::default(), Vec::new(), Vec::new());
    for call in ops.chunk_by(is_one_call).rev() {
        let mut moves = call.iter().any(removes);
        for op in call {
            if let Place::Value { table, key } = op.place {
                let place = (vm.val(table).addr, vm.key_hash(key));
                moves &= seen.try_insert_value(place, ())?.is_none();
            } else {
                moves = false;
            }
        }
        let list = if moves { &mut removals } else { &mut others };
        list.try_reserve(call.len())?;
        list.extend(call.iter().rev());
    }
    removals.try_reserve(others.len())?;
    removals.extend(others);
    removals.reverse();
    *ops = removals;
    Ok(())
}

/// Makes all the writes, in the order of their fields, or none.
///
/// # Errors
/// [`Error::Memory`], with everything undone; [`Error::PutBack`] when that failed.
pub fn apply_whole(vm: &mut Vm, permit: Permit, writes: &Writes) -> Result<()> {
    let mut done = 0;
    let outcome = caught("while committing", || {
        apply_all(vm, permit, writes, &mut done)
    });
    or_undo(
        vm,
        permit,
        outcome,
        writes.ops.get(..done).unwrap_or_default(),
    )
}

/// Where `outcome` is a failure, takes back what was done until then.
fn or_undo(vm: &mut Vm, permit: Permit, outcome: Result<()>, done: &[Op]) -> Result<()> {
    outcome.map_err(|error| match undo(vm, permit, done) {
        0 => error,
        left => Error::PutBack {
            cause: error.to_string(),
            left,
        },
    })
}

/// Takes the metatables off incoming objects, so that no finalizer of the file's runs on something
/// that the program never had.
pub fn disarm(vm: &mut Vm, permit: Permit, fresh: &[Ref]) {
    for object in fresh {
        vm.set_metatable(permit, *object, Ref::NIL);
    }
}

fn apply_all(vm: &mut Vm, permit: Permit, writes: &Writes, done: &mut usize) -> Result<()> {
    join(vm, permit, writes.joins)?;
    disarm(vm, permit, writes.disarm);
    vm.set_places(permit, writes.fresh, &mut 0)?;
    vm.set_places(permit, writes.ops, done)?;
    fault::point()
}

fn join(vm: &mut Vm, permit: Permit, joins: &Joins) -> Result<()> {
    fault::point()?;
    if vm.join(permit, joins) {
        Ok(())
    } else {
        Err(Error::Panic("a join that does not fit".into()))
    }
}

/// Lets functions of the reload's own, which the program never sees, share cells that are to stay
/// alive.
pub fn keep_cells(vm: &mut Vm, joins: &Joins) -> Result<()> {
    join(vm, OWN, joins)
}

/// Lets references follow (R9), all or none: the joins, then the operations, each if its place
/// still holds what it replaces; those from the one with the number `sure` on in any case. What was
/// done is left in the list.
///
/// # Errors
/// As [`apply_whole`].
pub fn follow(
    vm: &mut Vm,
    permit: Permit,
    joins: &Joins,
    ops: &mut Vec<Op>,
    sure: usize,
) -> Result<()> {
    let mut done = 0;
    let outcome = caught("while the references followed", || {
        join(vm, permit, joins)?;
        apply_most(vm, permit, ops, sure, &mut done)
    });
    ops.truncate(done);
    or_undo(vm, permit, outcome, ops)
}

/// Does operations, each if its place holds what it replaces: what was changed since stays, with
/// all that the same call did. Those from the one with the number `sure` on are done in any case:
/// the writes that move keys build on one another. The first `done` of the list are those that were
/// done then.
fn apply_most(
    vm: &mut Vm,
    permit: Permit,
    ops: &mut [Op],
    sure: usize,
    done: &mut usize,
) -> Result<()> {
    let mut next = 0;
    while let Some(call) = ops
        .get(next..)
        .and_then(|rest| rest.chunk_by(is_one_call).next())
    {
        let mut stands = true;
        for op in call.iter().filter(|_| next < sure) {
            stands = stands && vm.place_holds(op.place, op.old)?;
        }
        let end = next + call.len();
        for i in (next..end).filter(|_| stands) {
            let Some(op) = ops.get(i).copied() else { break };
            apply(vm, permit, op)?;
            ops.swap(*done, i);
            *done += 1;
        }
        next = end;
    }
    fault::point()
}

/// Notes a number for each function in the weak table of lineages. Our own bookkeeping.
pub fn note_lineage(vm: &mut Vm, table: Ref, numbers: &[(Ref, i64)]) -> Result<()> {
    vm.set_numbers(OWN, table, numbers)
}

fn apply(vm: &mut Vm, permit: Permit, op: Op) -> Result<()> {
    fault::point()?;
    vm.set_place(permit, op.place, op.new)
}

/// Takes operations back, last first. What no longer holds what the operation put there has been
/// changed since, and stays, with all that the same call did. Returns how many could not be taken
/// back.
pub fn undo(vm: &mut Vm, permit: Permit, ops: &[Op]) -> usize {
    let mut left = 0;
    for call in ops.chunk_by(is_one_call).rev() {
        let stands =
            call.len() == 1 || insist("while undoing", || stands(vm, call)).unwrap_or(false);
        for op in call.iter().rev().filter(|_| stands) {
            left += usize::from(insist("while undoing", || take_back(vm, permit, *op)).is_err());
        }
    }
    left
}

fn is_one_call(a: &Op, b: &Op) -> bool {
    a.call != 0 && a.call == b.call
}

/// Is all that a call did as it was left?
fn stands(vm: &mut Vm, call: &[Op]) -> Result<bool> {
    for op in call {
        if !vm.place_holds(op.place, op.new)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn take_back(vm: &mut Vm, permit: Permit, op: Op) -> Result<()> {
    fault::point()?;
    if vm.place_holds(op.place, op.new)? {
        return vm.set_place(permit, op.place, op.old);
    }
    Ok(())
}

/// Puts one remembered slot, or with no key the metatable, back. Returns how many could not be: 0
/// or 1.
pub fn put_back(vm: &mut Vm, permit: Permit, table: Ref, key: Option<Ref>, old: Ref) -> usize {
    let done = insist("while putting back", || {
        fault::point()?;
        match key {
            Some(key) => vm.set(permit, table, key, old),
            None => {
                vm.set_metatable(permit, table, old);
                Ok(())
            }
        }
    });
    usize::from(done.is_err())
}

/// Puts back what a place held, if it holds something else. Returns how many could not be: 0 or 1.
pub fn put_back_place(vm: &mut Vm, permit: Permit, place: Place, old: Ref) -> usize {
    let done = insist("while putting back", || {
        fault::point()?;
        match vm.place_holds(place, old)? {
            true => Ok(()),
            false => vm.set_place(permit, place, old),
        }
    });
    usize::from(done.is_err())
}

/// Takes the entries out of a table whose keys are not `known`. Allocates nothing.
pub fn keep_known(
    vm: &mut Vm,
    permit: Permit,
    table: Ref,
    mut known: impl FnMut(&Vm, &TableCursor) -> bool,
) {
    if let Ok(mut cursor) = vm.walk(table, Ref::NIL) {
        while cursor.next(vm).is_some() {
            if !known(vm, &cursor) {
                cursor.remove(vm, permit);
            }
        }
    }
}

/// Writes while the chunk runs, for what is put back when it has ended.
///
/// # Errors
/// [`Error::Memory`], with nothing done.
pub fn put_while_loading(vm: &mut Vm, permit: Permit, place: Place, value: Ref) -> Result<()> {
    fault::point()?;
    vm.set_place(permit, place, value)
}

/// Fills a table of the reload's own making (a report).
pub fn fill(vm: &mut Vm, table: Ref, key: Ref, value: Ref) -> Result<()> {
    vm.set(OWN, table, key, value)
}

/// Keeps what undoes operations for a later call; [`undo_frozen`] takes it. Places on the stack of
/// the running coroutine are left out: it will be another one by then.
pub fn freeze(vm: &mut Vm, ops: &[Op]) -> Result<Ref> {
    let (mut values, mut words) = (Vec::new(), Vec::new());
    values.try_reserve_exact(ops.len() * FROZEN_VALUES)?;
    words.try_reserve_exact(ops.len() * FROZEN_WORDS)?;
    let (mut last, mut last_call) = (Ref::NIL, 0);
    for op in ops {
        let Op {
            place,
            new,
            old,
            call,
            made,
        } = *op;
        let ([what, i, n], of, key) = match place {
            Place::Value { table, key } => ([0, 0, 0], table, key),
            Place::Metatable { of } | Place::TypeMetatable { of } => ([1, 0, 0], of, Ref::NIL),
            Place::Upvalue { function, index } => ([2, index.into(), 0], function, Ref::NIL),
            Place::UserValue { userdata, n } => ([3, n.into(), 0], userdata, Ref::NIL),
            Place::Local { thread, level, n } if !vm.is_running(thread) => {
                ([4, level, n.cast_unsigned()], thread, Ref::NIL)
            }
            Place::Slot { thread, index } => ([5, index.cast_unsigned(), 0], thread, Ref::NIL),
            Place::Local { .. } | Place::Key { .. } | Place::Running { .. } => continue,
        };
        let what = if call != 0 && call == last_call {
            what | SAME_CALL
        } else {
            what
        };
        let what = if made { what | MADE } else { what };
        last_call = call;
        if of == last {
            words.extend_from_slice(&[what | SAME, i, n]);
        } else {
            words.extend_from_slice(&[what, i, n]);
            values.push(of);
            last = of;
        }
        values.extend_from_slice(&[key, old, new]);
    }
    vm.freeze(&values, &words)
}

/// The most values that [`freeze`] keeps for an operation: what the place is in, unless it is that
/// of the one before, then key, old value and new value.
const FROZEN_VALUES: usize = 4;
/// And words: which kind of operation, and two numbers.
const FROZEN_WORDS: usize = 3;
/// Added to the kind of an operation on what the one before was on.
const SAME: u32 = 8;
/// It was done by the same call.
const SAME_CALL: u32 = 16;
/// See [`Op::made`].
const MADE: u32 = 32;

/// Undoes what [`freeze`] kept, in the view that came of it, as far as that can be done; see
/// [`undo`].
///
/// # Errors
/// [`Error::Memory`], with nothing done.
pub fn undo_frozen(vm: &mut Vm, permit: Permit, words: &[u32]) -> Result<usize> {
    Ok(undo(vm, permit, &frozen(words)?))
}

/// Undoes what [`freeze`] kept, all of it or nothing. Returns the operations that did it, which
/// [`undo`] takes back.
///
/// # Errors
/// As [`apply_whole`].
pub fn undo_whole(vm: &mut Vm, permit: Permit, words: &[u32]) -> Result<Vec<Op>> {
    let mut ops = frozen(words)?;
    ops.reverse();
    for op in &mut ops {
        (op.new, op.old) = (op.old, op.new);
    }
    let (mut done, all) = (0, ops.len());
    let outcome = caught("while undoing", || {
        apply_most(vm, permit, &mut ops, all, &mut done)
    });
    ops.truncate(done);
    or_undo(vm, permit, outcome, &ops)?;
    Ok(ops)
}

/// The operations that [`freeze`] kept, in the view that came of it.
///
/// # Errors
/// [`Error::Memory`].
pub fn frozen(words: &[u32]) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    ops.try_reserve_exact(words.len() / FROZEN_WORDS)?;
    let mut at = Ref::NIL;
    let mut thawed = (1..).map(Ref);
    let mut next = || thawed.next().unwrap_or_default();
    let mut call = 0;
    for words in words.chunks_exact(FROZEN_WORDS) {
        let &[kind, i, n] = words else { continue };
        if kind & SAME == 0 {
            at = next();
        }
        let [key, old, new] = std::array::from_fn(|_| next());
        call += u32::from(kind & SAME_CALL == 0);
        let place = match kind & !(SAME | SAME_CALL | MADE) {
            0 => Place::Value { table: at, key },
            1 => Place::Metatable { of: at },
            2 => Place::Upvalue {
                function: at,
                index: i as u8,
            },
            3 => Place::UserValue {
                userdata: at,
                n: i as u16,
            },
            4 => Place::Local {
                thread: at,
                level: i,
                n: n.cast_signed(),
            },
            _ => Place::Slot {
                thread: at,
                index: i.cast_signed(),
            },
        };
        ops.push(Op {
            place,
            new,
            old,
            call,
            made: kind & MADE != 0,
        });
    }
    Ok(ops)
}
