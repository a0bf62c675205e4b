//! R9: every other reference in the VM follows: old functions → new ones, the incoming paired
//! tables → the running one.
//!
//! [`Heap`] finds the places that hold a function of the module's own, or one of the incoming
//! second copies; here stands what each of them is to hold. The result is a list of operations for
//! `commit`. Nothing is changed here.
//!
//! What takes an old function's place: the incoming function that answers to it (R3); else, for a
//! function of an earlier generation, the one that continues its lineage; else, for a closure that
//! a factory made, what [`Nested`] makes for it (R9.3).

mod back;
mod nested;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Profile;
use crate::lua::heap::{Heap, Hit, MOST_CALLS, Place};
use crate::lua::layout::{self, LayoutElement as _};
use crate::lua::owned;
use crate::lua::tracker::Fresh;
use crate::lua::vm::{Kept, KeyValue, Ref, Vm};
use crate::lua::write::{self, Join, Joins, Op, Permit};
use crate::model::lineage::Lineage;
use crate::model::ownership::Ownership;
use crate::stages::find::Context;
use crate::stages::load::Loaded;
use crate::stages::matching::{Function1, Pairing};
use crate::support::error::{Result, shown};
use crate::support::fault::{self, caught, insist};
use crate::support::mem::{TryInsert, TryPush, collected, copied};
use nested::{ClosureFate, Nested, Values};

/// One reloaded module, for the sweep.
pub struct Target {
    /// Its name.
    name: Vec<u8>,
    /// Its source names.
    ownership: Ownership,
    /// What answers to closures that old factories made.
    nested: Nested,
    /// What the incoming chunk created; only within the call that ran it.
    fresh: Option<Fresh>,
    /// The incoming cells before the commit, and which upvalue of a function among the donors was
    /// joined to the running cell then.
    cells: FxHashMap<usize, (u32, u8)>,
    /// Old closures that stay, by line and reason: their addresses, as a slice may meet again what
    /// an earlier one has met.
    stale: BTreeMap<(i32, String), FxHashSet<usize>>,
}

/// The Lua values of a target: tables, all of them the library's own.
#[derive(Clone, Copy)]
pub struct Tables {
    /// Weak keys: the incoming paired tables and the running functions → what takes their place.
    moves: Ref,
    /// Lineage → function.
    current: Ref,
    /// Weak keys: new function → old one, for undoing.
    pub back: Ref,
    /// Functions of the incoming version that have running cells; below zero what keeps the
    /// incoming version's own cells alive.
    donors: Ref,
    /// What [`Nested`] needs.
    values: Values,
}

/// What a value is to a module.
enum ValueFate {
    /// This one takes its place.
    Moved(Ref),
    /// Nothing that would have to change.
    Stays,
    /// An incoming function that pairing has not met.
    Unmet,
    /// Of an older generation, or unknown; with its line.
    Old {
        line: i32,
        /// An earlier reload has met it in the module, and the file has nothing that continues it.
        dropped: bool,
    },
}

/// The incoming cells, noted before the commit joins its functions to the running one.
pub struct Cells {
    donors: Ref,
    cells: FxHashMap<usize, (u32, u8)>,
}

/// For how long the incoming cells are to be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// Until the reload ends, which keeps them alive.
    OneCall,
    /// In later calls as well: something has to keep them alive.
    ManyCalls,
}

impl Cells {
    /// Notes them.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn of(vm: &mut Vm, pairing: &Pairing, lifetime: Lifetime) -> Result<Cells> {
        let (donors, mut cells) = (vm.table(0)?, FxHashMap::default());
        let (mut slots, mut joins) = (FxHashMap::default(), Joins::default());
        let (mut keepers, mut keeper) = (0, (Ref::NIL, KEEPS));
        for cell in pairing
            .new_cells
            .iter()
            .filter(|cell| cell.answer.is_some() && !cell.same)
        {
            let slot = match slots.get(&cell.function) {
                Some(slot) => *slot,
                None => {
                    let slot = slots.len() as u32 + 1;
                    let key = vm.number(slot.into())?;
                    write::fill(vm, donors, key, cell.function)?;
                    slots.try_insert_value(cell.function, slot)?;
                    slot
                }
            };
            cells.try_insert_value(vm.cell(cell.function, cell.index), (slot, cell.index))?;
            if lifetime == Lifetime::ManyCalls {
                if keeper.1 == KEEPS {
                    keepers += 1;
                    keeper = (keeper_of(vm)?, 0);
                    let key = vm.number(-keepers)?;
                    write::fill(vm, donors, key, keeper.0)?;
                }
                keeper.1 += 1;
                let join = Join {
                    index: keeper.1,
                    donor: cell.function,
                    donor_index: cell.index,
                };
                joins.add(keeper.0, &[join])?;
            }
        }
        write::keep_cells(vm, &joins)?;
        Ok(Cells { donors, cells })
    }
}

/// How many cells one function keeps alive.
const KEEPS: u8 = 200;

/// A function with [`KEEPS`] upvalues.
fn keeper_of(vm: &mut Vm) -> Result<Ref> {
    let mut code = String::new();
    code.try_reserve(usize::from(KEEPS) * 2 * ",a000".len() + 64)?;
    for part in ["local ", " return function() return "] {
        code.push_str(part);
        for i in 0..KEEPS {
            code.push_str(if i == 0 { "a" } else { ",a" });
            code.push_str(&i.to_string());
        }
    }
    code.push_str(" end");
    let factory = vm.load_text(code.as_bytes(), c"=?")?;
    vm.instantiate(factory)
}

impl Target {
    /// What is known of a module that was committed; `cells` were noted before that.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn new(
        vm: &mut Vm,
        context: &Context,
        loaded: Loaded,
        pairing: &Pairing,
        lineage: Lineage,
        cells: Cells,
    ) -> Result<(Target, Tables)> {
        let values = Values {
            functions: vm.table(0)?,
            moved: vm.weak_table()?,
        };
        let tables = Tables {
            moves: vm.weak_table()?,
            current: vm.table(0)?,
            back: vm.weak_table()?,
            donors: cells.donors,
            values,
        };
        for (new, old) in &pairing.paired {
            write::fill(vm, tables.moves, *new, *old)?;
        }
        for function in &pairing.new {
            // Of one running function two may have come, and both continue its lineage.
            let placed = pairing.placed(vm, function.at);
            write::fill(vm, tables.moves, function.at, placed)?;
            if let Some(number) = lineage_of(vm, lineage, placed)? {
                write::fill(vm, tables.current, number, placed)?;
            }
            if placed != function.at {
                continue;
            }
            // In one of its places an external function may stand, which follows nowhere else.
            let mut partners = function
                .partners
                .iter()
                .filter_map(|f1| pairing.old.get(*f1 as usize));
            if let Some(old) = partners.find(|old| old.own) {
                write::fill(vm, tables.back, function.at, old.at)?;
            }
        }
        let mut nested = Nested::new(vm, pairing, &loaded, values)?;
        let is_known = |vm: &Vm, function: &Function1| {
            function.own && !pairing.chosen.contains(&vm.val(function.at).addr)
        };
        for function in &pairing.old {
            if !is_known(vm, function) {
                continue;
            }
            let new = function
                .answers
                .first()
                .and_then(|f2| pairing.new.get(*f2 as usize));
            // What the incoming version lacks stays (R5.2). That is none of an earlier generation
            // which a newer one continues, and none that a function made inside itself (R9.3),
            // whatever of the module holds it.
            let continued = match lineage_of(vm, lineage, function.at)? {
                Some(number) if new.is_none() => {
                    let current = vm.get(tables.current, number)?;
                    !vm.val(current).is_nil()
                }
                _ => false,
            };
            if new.is_some() || !continued && !nested.is_made_by_known(vm, function.at)? {
                let moved = new.map_or(function.at, |new| pairing.placed(vm, new.at));
                write::fill(vm, tables.moves, function.at, moved)?;
            }
        }
        let target = Target {
            name: copied(&context.bytes)?,
            ownership: loaded.ownership,
            nested,
            fresh: Some(loaded.fresh),
            cells: cells.cells,
            stale: BTreeMap::new(),
        };
        Ok((target, tables))
    }

    /// What a value is to this module.
    fn look(
        &mut self,
        vm: &mut Vm,
        tables: Tables,
        lineage: Lineage,
        value: Ref,
    ) -> Result<ValueFate> {
        let moved = vm.get(tables.moves, value)?;
        if !vm.val(moved).is_nil() {
            return Ok(ValueFate::Moved(moved));
        }
        let Some(info) = vm.info(value)? else {
            return Ok(ValueFate::Stays);
        };
        if !self.ownership.owns(vm, value, &info)? {
            return Ok(ValueFate::Stays);
        }
        let number = lineage_of(vm, lineage, value)?;
        if let Some(number) = number {
            let current = vm.get(tables.current, number)?;
            if !vm.val(current).is_nil() {
                return Ok(ValueFate::Moved(current));
            }
        }
        if !self.ownership.is_certain(vm, value)? && !self.nested.knows(vm, value)? {
            return Ok(ValueFate::Stays); // another module's of the same bundle
        }
        if self
            .fresh
            .as_ref()
            .is_some_and(|fresh| fresh.order(vm.val(value).addr).is_some())
        {
            return Ok(ValueFate::Unmet);
        }
        Ok(ValueFate::Old {
            line: info.line,
            dropped: number.is_some(),
        })
    }

    /// Is this reload of the module the one that `value` comes from, as far as its code tells?
    fn made(&mut self, vm: &mut Vm, tables: Tables, lineage: Lineage, value: Ref) -> Result<bool> {
        match self.look(vm, tables, lineage, value)? {
            ValueFate::Moved(new) => Ok(vm.same(new, value)),
            ValueFate::Stays => Ok(false),
            ValueFate::Unmet => Ok(true),
            ValueFate::Old { .. } => self.nested.is_of_file(vm, value),
        }
    }

    /// What is to stand where `value` stands; `value` itself when nothing else.
    fn step(
        &mut self,
        vm: &mut Vm,
        tables: Tables,
        lineage: Lineage,
        value: Ref,
        joins: &mut Joins,
    ) -> Result<Ref> {
        let line = match self.look(vm, tables, lineage, value)? {
            ValueFate::Moved(new) => return Ok(new),
            ValueFate::Stays => return Ok(value),
            ValueFate::Unmet => return self.bind(vm, tables, value, joins).map(|()| value),
            ValueFate::Old { line, .. } => line,
        };
        match self.nested.answer(vm, tables.values, value)? {
            ClosureFate::Same => self.bind(vm, tables, value, joins).map(|()| value),
            ClosureFate::Moved { new, joins: cells } => {
                joins.add(new, &cells)?;
                write::fill(vm, tables.back, new, value)?;
                Ok(new)
            }
            ClosureFate::Stale(reason) => {
                let words = self.nested.words(reason);
                let stale = self.stale.entry((line, words)).or_default();
                stale.try_insert_value(vm.val(value).addr, ())?;
                Ok(value)
            }
        }
    }

    /// Joins the cells of an incoming function, which its chunk handed to others, as those of the
    /// functions that share them.
    fn bind(&self, vm: &mut Vm, tables: Tables, function: Ref, joins: &mut Joins) -> Result<()> {
        let upvalues = vm.info(function)?.map_or(0, |info| info.upvalues);
        let mut cells = Vec::new();
        for index in 1..=upvalues {
            if let Some((slot, donor_index)) = self.cells.get(&vm.cell(function, index)).copied() {
                cells.try_push(Join {
                    index,
                    donor: vm.element(tables.donors, slot)?,
                    donor_index,
                })?;
            }
        }
        joins.add(function, &cells).map(|_| ())
    }

    /// Appends what the operator should know.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn warn(&self, warnings: &mut Vec<String>) -> Result<()> {
        let stale = self.stale.iter().map(|((line, why), which)| {
            let count = which.len();
            let (what, keep) = if count == 1 {
                ("a function".to_string(), "keeps its")
            } else {
                (format!("{count} functions"), "keep their")
            };
            format!(
                "{}: {what} of old line {line} {keep} old code: {why}; \
                 hotreload.stale names what holds it",
                shown(&self.name)
            )
        });
        for warning in stale.chain(self.nested.warning().map(str::to_string)) {
            warnings.try_push(warning)?;
        }
        Ok(())
    }

    /// How many old closures stay as they are.
    pub fn stale(&self) -> usize {
        self.stale.values().map(FxHashSet::len).sum()
    }
}

/// The part of a module's targets that `value` has yet to go through. `chain` has one target for
/// each reload of the module, the oldest first.
///
/// A function goes through the last reload whose file has its code, and those behind it. So each
/// step leads to a later reload than the one before, and no walk goes round in a circle where a
/// text comes back: a hotfix (V1 → V2) and its revert (V2 → V1) leave functions of V1 alone, and
/// bring those of V2 to V1.
fn ahead<'a>(
    vm: &mut Vm,
    chain: &'a mut [(Target, Tables)],
    lineage: Lineage,
    value: Ref,
) -> Result<&'a mut [(Target, Tables)]> {
    let mut first = 0;
    for (i, (target, tables)) in chain.iter_mut().enumerate().skip(1).rev() {
        if target.made(vm, *tables, lineage, value)? {
            first = i;
            break;
        }
    }
    Ok(chain.get_mut(first..).unwrap_or_default())
}

/// The targets of each module; those of one stand side by side.
fn chains(targets: &mut [(Target, Tables)]) -> impl Iterator<Item = &mut [(Target, Tables)]> {
    targets.chunk_by_mut(|(a, _), (b, _)| a.name == b.name)
}

/// The number of a function's lineage as a value; none when it has none.
fn lineage_of(vm: &mut Vm, lineage: Lineage, function: Ref) -> Result<Option<Ref>> {
    match lineage
        .number(vm, function)
        .map_or(0, |number| number >> Profile::PACKED_BITS)
    {
        0 => Ok(None),
        number => vm.number(number).map(Some),
    }
}

/// What a walk found, as operations.
#[derive(Default)]
pub struct SweepPlan {
    /// Cells for closures that were made, and for the incoming functions that others hold.
    pub joins: Joins,
    /// The writes, in order.
    pub ops: Vec<Op>,
    /// How many of them, the first ones, are of places that the walk found; those behind move
    /// keys.
    pub places: usize,
    /// How many places hold something else then.
    pub references: usize,
    /// Keys that collide or move under a loop, and stacks that are too deep (R9.2).
    pub warnings: Vec<String>,
}

impl SweepPlan {
    /// Lets the references follow, all or none. What was done is left in the list.
    ///
    /// # Errors
    /// As [`write::follow`].
    pub fn carry_out(&mut self, vm: &mut Vm, permit: Permit) -> Result<()> {
        write::follow(vm, permit, &self.joins, &mut self.ops, self.places)
    }
}

/// Begins a pass over the VM for these modules.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn begin(vm: &mut Vm, skip: &[Ref], targets: impl Iterator<Item = Tables>) -> Result<Heap> {
    let heap = Heap::start(vm, skip)?;
    for tables in targets {
        let moves = vm.keep_entries(tables.moves)?;
        // Functions are asked for by their source; of tables only the incoming second copies.
        for key in moves.keys() {
            let key = vm.val(key);
            if key.is_table() {
                heap.want(vm, key.addr)?;
            }
        }
    }
    Ok(heap)
}

/// Walks the VM, or goes on with that until the deadline, and plans what is to change. The flag
/// says that the walk is at its end. The targets of one module stand side by side, the oldest
/// first.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn walk(
    vm: &mut Vm,
    heap: Heap,
    targets: &mut [(Target, Tables)],
    lineage: Lineage,
    deadline: Option<Instant>,
) -> Result<(SweepPlan, bool)> {
    targets
        .iter_mut()
        .for_each(|(target, _)| target.ownership.enter_view());
    let mut hits = Vec::new();
    let wanted = |targets: &[(Target, Tables)], source: &[u8]| {
        targets
            .iter()
            .any(|(target, _)| target.ownership.has(source))
    };
    let done = heap.walk(vm, |_, source| wanted(targets, source), &mut hits, deadline)?;
    hits.retain(|hit| !matches!(hit.place, Place::Running { .. })); // they finish the old code
    fault::point()?;
    let mut found = SweepPlan::default();
    for (target, _) in targets.iter_mut() {
        target.nested.forget_addresses();
    }
    // All of them are known before the first is decided: the outcome depends on no order.
    for hit in &hits {
        for chain in chains(targets) {
            for (target, tables) in ahead(vm, chain, lineage, hit.value)? {
                match target.look(vm, *tables, lineage, hit.value)? {
                    // R5.2: it is not taken for a closure whose factory is gone.
                    ValueFate::Old { dropped: true, .. } => {
                        target.nested.note_dropped(vm, hit.value)?
                    }
                    ValueFate::Old { .. } => target.nested.meet(vm, hit.value)?,
                    _ => {}
                }
            }
        }
    }
    let mut joins = Joins::default();
    let mut known: FxHashMap<usize, Ref> = FxHashMap::default();
    let mut resolve = |vm: &mut Vm, value: Ref| {
        let val = vm.val(value);
        if !val.is_table() && !val.is_function() {
            return Ok(value);
        }
        let address = val.addr;
        if let Some(known) = known.get(&address) {
            return Ok(*known);
        }
        let mut now = value;
        for chain in chains(targets) {
            for (target, tables) in ahead(vm, chain, lineage, now)? {
                now = target.step(vm, *tables, lineage, now, &mut joins)?;
            }
        }
        known.try_insert_value(address, now)?;
        Ok(now)
    };
    plan(vm, &hits, &mut found, &mut resolve, &mut |vm, table| {
        heap.has_loop(vm, table)
    })?;
    if heap.is_partial(vm)? {
        found.warnings.try_push(format!(
            "a coroutine is more than {MOST_CALLS} calls deep, and what the calls in the middle \
             hold stays old; reload again when they have returned"
        ))?;
    }
    fault::point()?;
    found.joins = joins;
    Ok((found, done))
}

/// Makes operations of what a walk found; `resolve` says what is to stand in the place of a value.
fn plan(
    vm: &mut Vm,
    hits: &[Hit],
    found: &mut SweepPlan,
    resolve: &mut dyn FnMut(&mut Vm, Ref) -> Result<Ref>,
    has_loop: &mut dyn FnMut(&mut Vm, Ref) -> Result<bool>,
) -> Result<()> {
    let mut keys = Vec::new();
    for hit in hits {
        let new = resolve(vm, hit.value)?;
        if vm.val(new) == vm.val(hit.value) {
            continue;
        }
        if let Place::Key { table, key } = hit.place {
            keys.try_push((table, key, new))?;
            continue;
        }
        found.references += 1;
        let (place, old) = (hit.place, hit.value);
        found.ops.try_push(Op::new(place, new, old))?;
    }
    found.places = found.ops.len();
    // Keys come last: an entry moves with its value, which may be another one by then. All new keys
    // come before the first old one goes: what may fail for want of memory has lost nothing then.
    let (mut removals, mut in_loop) = (Vec::new(), false);
    for (table, key, new) in keys {
        in_loop |= has_loop(vm, table)?;
        let old = vm.get(table, key)?;
        let there = vm.get(table, new)?;
        let value = resolve(vm, old)?;
        found.references += 1;
        removals.try_push(Op::write(table, key, Ref::NIL, value))?;
        let is_function = vm.val(key).is_function();
        if vm.val(there).is_nil() {
            found.ops.try_push(Op::write(table, new, value, Ref::NIL))?;
            continue;
        }
        found.warnings.try_push(format!(
            "a table has the running {0} and the file's as keys, and the running one's entry \
             stays; remove one of them before a reload",
            vm.val(key).kind.name()
        ))?;
        // The running entry: that of the old function, or of the table that the incoming one is a
        // copy of.
        if is_function && !vm.same(there, value) {
            found.ops.try_push(Op::write(table, new, value, there))?;
        }
    }
    if in_loop {
        found.warnings.try_push(
            "a loop is inside a table whose keys were replaced: it may meet some keys twice and \
             miss others; reload while no such loop runs"
                .into(),
        )?;
    }
    found.ops.try_reserve(removals.len())?;
    found.ops.extend(removals);
    Ok(())
}

/// The tables and coroutines that no walk enters: the library's own, and those that the program
/// leaves out (R2.11). `own` is the façade's list [`layout::Own`].
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn bookkeeping(vm: &mut Vm, own: Ref) -> Result<Vec<Ref>> {
    let mut skip = Vec::new();
    let add_values = |vm: &mut Vm, skip: &mut Vec<Ref>, table: Ref| -> Result<Kept<KeyValue>> {
        let entries = vm.keep_entries(table)?;
        for value in entries.values() {
            skip.try_push(value)?;
        }
        Ok(entries)
    };
    skip.try_push(own)?;
    add_values(vm, &mut skip, own)?;
    for list in [layout::Own::Records, layout::Own::Skipped] {
        let list = vm.index(own, list.at())?;
        add_values(vm, &mut skip, list)?;
    }
    let guards = vm.index(own, layout::Own::Hooking.at())?;
    for guard in add_values(vm, &mut skip, guards)?.values() {
        let entries = vm.index(guard, layout::Guard::Entries.at())?;
        if vm.val(entries).is_table() {
            skip.try_push(entries)?;
            add_values(vm, &mut skip, entries)?;
        }
    }
    Ok(skip)
}

/// A sweep in slices (R9.4), between two calls. Its Lua values stand in a table of the façade's:
/// this one's owner, the walk's handle, and then the tables of each target.
#[derive(Default)]
pub struct Sweeping {
    /// None where the reload was undone before the sweep was at its end.
    targets: Vec<Option<Target>>,
    /// The pass that is under way changed something, or began before a target joined.
    changed: bool,
    passes: u32,
    /// How many of them since a target joined last.
    passes_since: u32,
    references: usize,
    /// What the passes found that the operator should know; each sentence once.
    warnings: BTreeSet<String>,
}

/// So many passes are made behind the last reload that joined. Where the program does not run in
/// between, three are enough (see [`ahead`]); the rest are for what it moves about. A loop of old
/// code that makes functions all the time would keep a sweep going for ever.
const MOST_PASSES: u32 = 16;

/// What a slice did.
#[derive(Clone, Default, Debug)]
pub struct Slice {
    /// A whole pass found nothing to change, or there were [`MOST_PASSES`].
    pub done: bool,
    /// Objects that this pass has looked at.
    pub objects: u64,
    /// Objects that are known to wait.
    pub waiting: u64,
    /// Passes that have ended.
    pub passes: u32,
    /// Places that hold something new, all slices together.
    pub references: usize,
    /// Old closures that stay.
    pub stale: usize,
    /// What the operator should know: keys that collided so far, and why closures stay.
    pub warnings: Vec<String>,
}

const OWNER: i64 = 1;
/// Where the walk's handle stands; the tables of the targets come behind it.
const HANDLE: i64 = 2;
/// Tables of one target: [`Tables::moves`] is the first; where it is none, the reload was undone.
const TABLES: i64 = 6;
/// Which of them is [`Tables::back`], counted from 0.
const BACK: i64 = 2;

fn put(vm: &mut Vm, state: Ref, i: i64, value: Ref) -> Result<()> {
    let key = vm.number(i)?;
    write::fill(vm, state, key, value)
}

impl Tables {
    fn all(self) -> [Ref; TABLES as usize] {
        let Values { functions, moved } = self.values;
        [
            self.moves,
            self.current,
            self.back,
            self.donors,
            functions,
            moved,
        ]
    }

    fn read(vm: &mut Vm, state: Ref, number: usize) -> Result<Tables> {
        let first = HANDLE + 1 + number as i64 * TABLES;
        Ok(Tables {
            moves: vm.index(state, first)?,
            current: vm.index(state, first + 1)?,
            back: vm.index(state, first + 2)?,
            donors: vm.index(state, first + 3)?,
            values: Values {
                functions: vm.index(state, first + 4)?,
                moved: vm.index(state, first + 5)?,
            },
        })
    }
}

/// Adds modules to the sweep whose Lua values stand in `state`, a table that is empty where none is
/// under way.
///
/// # Errors
/// [`crate::support::error::Error::Memory`]; the sweep is then as it was.
pub fn enlist(vm: &mut Vm, state: Ref, targets: Vec<(Target, Tables)>) -> Result<()> {
    let mut owner = vm.index(state, OWNER)?;
    if vm.val(owner).is_nil() {
        owner = owned::own(vm, Sweeping::default())?;
        put(vm, state, OWNER, owner)?;
    }
    let known = owned::with(vm, owner, |_, sweeping: &mut Sweeping| -> Result<usize> {
        sweeping.targets.try_reserve(targets.len())?;
        Ok(sweeping.targets.len())
    })??;
    for (number, (_, tables)) in targets.iter().enumerate() {
        for (table, i) in tables.all().into_iter().zip(0..) {
            put(
                vm,
                state,
                HANDLE + 1 + (known + number) as i64 * TABLES + i,
                table,
            )?;
        }
    }
    put(vm, state, HANDLE, Ref::NIL)?; // the pass that is under way does not look for these
    owned::with(vm, owner, |_, sweeping: &mut Sweeping| {
        for (mut target, _) in targets {
            target.fresh = None; // its addresses are good for this call alone
            sweeping.targets.push(Some(target));
        }
        sweeping.changed = true;
        sweeping.passes_since = 0;
    })
}

/// Goes on with a sweep until the deadline.
///
/// # Errors
/// [`crate::support::error::Error::Memory`]; what the slice had found is then not changed, and the
/// pass begins anew with the next slice.
pub fn slice(
    vm: &mut Vm,
    permit: Permit,
    state: Ref,
    own: Ref,
    lineage: Lineage,
    deadline: Option<Instant>,
) -> Result<Slice> {
    let owner = vm.index(state, OWNER)?;
    let mut sweeping = owned::with(vm, owner, |_, sweeping: &mut Sweeping| {
        std::mem::take(sweeping)
    })?;
    let outcome = caught("in a slice", || {
        go_on(vm, permit, state, own, lineage, deadline, &mut sweeping)
    });
    sweeping.changed |= outcome.is_err();
    // Before anything else can fail: the sweep goes on from here.
    owned::with(vm, owner, |_, place: &mut Sweeping| *place = sweeping)?;
    if outcome.is_err() {
        insist("after a slice", || put(vm, state, HANDLE, Ref::NIL))?;
    }
    outcome
}

fn go_on(
    vm: &mut Vm,
    permit: Permit,
    state: Ref,
    own: Ref,
    lineage: Lineage,
    deadline: Option<Instant>,
    sweeping: &mut Sweeping,
) -> Result<Slice> {
    let skip = bookkeeping(vm, own)?;
    let mut tables = Vec::new();
    tables.try_reserve(sweeping.targets.len())?;
    for (number, target) in sweeping.targets.iter_mut().enumerate() {
        match Tables::read(vm, state, number)? {
            known if vm.val(known.moves).is_table() => tables.push((number, known)),
            _ => *target = None,
        }
    }
    // Side by side what is of one module, the oldest first.
    let name = |number: usize| {
        sweeping
            .targets
            .get(number)
            .and_then(Option::as_ref)
            .map(|target| &target.name)
    };
    tables.sort_unstable_by_key(|(number, _)| (name(*number), *number));
    if tables.is_empty() {
        return Ok(Slice {
            done: true,
            ..sweeping.told()?
        });
    }
    let handle = vm.index(state, HANDLE)?;
    let heap = if Heap::can_resume(vm, handle) {
        Heap::resume(vm, handle, &skip)?
    } else {
        let heap = begin(vm, &skip, tables.iter().map(|(_, tables)| *tables))?;
        put(vm, state, HANDLE, heap.handle())?;
        let targets = sweeping.targets.iter_mut().flatten();
        targets.for_each(|target| target.stale.clear());
        heap
    };
    let (mut pairs, mut numbers) = (Vec::new(), Vec::new());
    pairs.try_reserve(tables.len())?;
    numbers.try_reserve(tables.len())?;
    for (number, tables) in tables {
        if let Some(target) = sweeping.targets.get_mut(number).and_then(Option::take) {
            pairs.push((target, tables));
            numbers.push(number);
        }
    }
    let walked = caught("in a slice", || {
        walk(vm, heap, &mut pairs, lineage, deadline)
    });
    for (number, (target, _)) in numbers.into_iter().zip(pairs) {
        if let Some(place) = sweeping.targets.get_mut(number) {
            *place = Some(target);
        }
    }
    let (mut found, ended) = walked?;
    fault::point()?;
    found.carry_out(vm, permit)?;
    sweeping.changed |= !found.ops.is_empty() || !found.joins.is_empty();
    sweeping.references += found.references;
    sweeping.warnings.extend(found.warnings);
    fault::point()?;
    let progress = heap.progress(vm)?;
    let mut done = false;
    if ended {
        sweeping.passes += 1;
        sweeping.passes_since += 1;
        let is_last = sweeping.passes_since >= MOST_PASSES;
        if sweeping.changed && is_last {
            sweeping.warnings.insert(format!(
                "the sweep ended after {MOST_PASSES} passes, and the last one still found old \
                 functions: the program goes on making \
                 them; hotreload.stale lists what holds old code"
            ));
        }
        done = !sweeping.changed || is_last;
        sweeping.changed = false;
        put(vm, state, HANDLE, Ref::NIL)?;
    }
    Ok(Slice {
        objects: progress.objects,
        waiting: progress.waiting,
        done,
        ..sweeping.told()?
    })
}

impl Sweeping {
    fn told(&self) -> Result<Slice> {
        let mut warnings = collected(self.warnings.iter().cloned().map(Ok))?;
        for target in self.targets.iter().flatten() {
            target.warn(&mut warnings)?;
        }
        Ok(Slice {
            done: false,
            passes: self.passes,
            references: self.references,
            stale: self.targets.iter().flatten().map(Target::stale).sum(),
            warnings,
            ..Slice::default()
        })
    }
}
