//! R7.3: the way back. Whoever took a function of a reload that is undone has the former one then.
//!
//! Behind `scope = "vm"` that goes for the whole VM. Else it goes for the places of the module: its
//! object, what its functions have in their locals, the tables in these, and what external
//! functions there have inside (R3.5). The nearest places come first, up to a number of entries.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{BACK, HANDLE, SweepPlan, TABLES, bookkeeping, plan};
use crate::lua::heap::{Heap, Hit, Place};
use crate::lua::layout::{LayoutElement as _, Own, Undo};
use crate::lua::undo::WayBack;
use crate::lua::vm::{KeyValue, Ref, Val, Vm};
use crate::lua::write::{Op, Permit};
use crate::model::lineage::Lineage;
use crate::model::ownership::Ownership;
use crate::stages::snapshot::Modules;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Entries that are looked at, …
const MOST_ENTRIES: usize = 100_000;
/// … those of one table, …
const MOST_OF_TABLE: usize = 10_000;
/// … and external functions in external functions.
const MOST_DEPTH: u32 = 8;

impl WayBack for SweepPlan {
    const HANDLE: i64 = HANDLE;
    const TABLES: i64 = TABLES;
    const BACK: i64 = BACK;

    fn plan(vm: &mut Vm, entry: Ref, back: Ref, own: Ref) -> Result<SweepPlan> {
        let mut skip = bookkeeping(vm, own)?;
        for own in [entry, back] {
            skip.try_push(own)?; // they are on the running coroutine's stack
        }
        let (mut found, mut hits) = (SweepPlan::default(), Vec::new());
        let heap = Heap::start(vm, &skip)?;
        for key in vm.keep_entries(back)?.keys() {
            heap.want(vm, vm.val(key).addr)?;
        }
        heap.walk(vm, |_, _| false, &mut hits, None)?;
        hits.retain(|hit| !matches!(hit.place, Place::Running { .. }));
        let mut resolve = |vm: &mut Vm, value| {
            let old = vm.get(back, value)?;
            Ok(if vm.val(old).is_nil() { value } else { old })
        };
        plan(vm, &hits, &mut found, &mut resolve, &mut |vm, table| {
            heap.has_loop(vm, table)
        })?;
        Ok(found)
    }

    fn plan_near(vm: &mut Vm, ops: &[Op], entry: Ref, own: Ref) -> Result<SweepPlan> {
        let mut found = SweepPlan::default();
        let lineage = vm.index(own, Own::Lineage.at())?;
        let lineage = Lineage::in_table(vm, lineage)?;
        let mut ownership = ownership_of(vm, entry)?;
        let former = FormerFunctions::of(vm, ops, lineage, &mut ownership)?;
        if former.functions.is_empty() {
            return Ok(found);
        }
        let name = vm.index(entry, Undo::Name.at())?;
        let hits = ModuleWalk::new(vm, &former, ownership, own)?.walk(vm, ops, name)?;
        let mut resolve = |vm: &mut Vm, value| Ok(former.get(vm, value).unwrap_or(value));
        plan(vm, &hits, &mut found, &mut resolve, &mut |_, _| Ok(false))?;
        Ok(found)
    }

    fn go(mut self, vm: &mut Vm, permit: Permit, done: &mut Vec<Op>) -> Result<()> {
        done.try_reserve(self.ops.len())?;
        self.carry_out(vm, permit)?;
        done.append(&mut self.ops);
        Ok(())
    }
}

/// Which functions are those of an entry's module: the source names before its reload and behind
/// it tell.
fn ownership_of(vm: &mut Vm, entry: Ref) -> Result<Ownership> {
    let mut ownership = Ownership::default();
    let record = vm.index(entry, Undo::Record.at())?;
    let key = vm.string(b"source")?;
    for source in [vm.index(entry, Undo::Source.at())?, vm.get(record, key)?] {
        if let Some(name) = vm.bytes(source)? {
            ownership.add(name)?;
        }
    }
    Ok(ownership)
}

/// The functions of the module whose places a reload has given to others. What it replaced of other
/// modules is no choice among its own: that is theirs to take back.
struct FormerFunctions {
    lineage: Lineage,
    /// By the address of what has taken the place; the function itself by its own.
    functions: FxHashMap<usize, Ref>,
    /// By the number of the lineage: the reload may have put the new one elsewhere.
    by_lineage: FxHashMap<i64, Ref>,
    /// What the reload has made and put somewhere, by address: older generations stay where they
    /// are.
    placed: FxHashSet<usize>,
}

impl FormerFunctions {
    fn of(
        vm: &mut Vm,
        ops: &[Op],
        lineage: Lineage,
        ownership: &mut Ownership,
    ) -> Result<FormerFunctions> {
        let mut former = FormerFunctions {
            lineage,
            functions: FxHashMap::default(),
            by_lineage: FxHashMap::default(),
            placed: FxHashSet::default(),
        };
        // What stood somewhere before the reload stands there again, and is no choice since.
        for op in ops.iter().filter(|op| op.made) {
            former.placed.try_insert_value(vm.val(op.new).addr, ())?;
        }
        for Op { old, new, made, .. } in ops {
            if !ownership.has_function(vm, *old)? {
                continue;
            }
            former.functions.try_insert_value(vm.val(*old).addr, *old)?;
            let number = lineage.of(vm, *old).filter(|_| *made);
            if let Some(number) = number {
                former.by_lineage.try_insert_value(number, *old)?;
            }
            if number.is_some() && lineage.is_one(vm, *old, *new) {
                former.functions.try_insert_value(vm.val(*new).addr, *old)?;
            }
        }
        Ok(former)
    }

    /// The function that is to stand where this one stands.
    fn get(&self, vm: &Vm, function: Ref) -> Option<Ref> {
        let val = vm.val(function);
        if !val.is_function() {
            return None;
        }
        let known = self.functions.get(&val.addr);
        let by_lineage = || {
            let is_placed = self.placed.contains(&val.addr);
            let number = self.lineage.of(vm, function).filter(|_| is_placed)?;
            self.by_lineage.get(&number)
        };
        known.or_else(by_lineage).copied()
    }
}

/// A walk over the places of a module.
struct ModuleWalk<'a> {
    former: &'a FormerFunctions,
    modules: Modules,
    /// Which functions are the module's.
    ownership: Ownership,
    /// Addresses of what was met, and of what is not entered.
    seen: FxHashSet<usize>,
    /// What is to be looked at, and how many external functions it is in.
    queue: VecDeque<(Ref, u32)>,
    /// How many entries may yet be looked at.
    left: usize,
    hits: Vec<Hit>,
}

impl<'a> ModuleWalk<'a> {
    fn new(
        vm: &mut Vm,
        former: &'a FormerFunctions,
        ownership: Ownership,
        own: Ref,
    ) -> Result<ModuleWalk<'a>> {
        let loaded = vm.registry(c"_LOADED")?;
        let mut seen = FxHashSet::default();
        let globals = vm.globals()?;
        for table in bookkeeping(vm, own)?.into_iter().chain([loaded, globals]) {
            seen.try_insert_value(vm.val(table).addr, ())?;
        }
        Ok(ModuleWalk {
            former,
            modules: Modules::of(vm, loaded)?,
            ownership,
            seen,
            queue: VecDeque::new(),
            left: MOST_ENTRIES,
            hits: Vec::new(),
        })
    }

    /// Finds what stands in the places.
    fn walk(mut self, vm: &mut Vm, ops: &[Op], name: Ref) -> Result<Vec<Hit>> {
        let object = vm.get(self.modules.table, name)?;
        self.meet(vm, object, 0, true)?;
        for op in ops {
            if let Place::Value { table, key } = op.place {
                let value = vm.get(table, key)?;
                self.value(vm, op.place, value, 0)?;
                self.meet(vm, table, 0, false)?;
            }
            for value in [op.old, op.new] {
                self.meet(vm, value, 0, false)?;
            }
        }
        while let Some((value, depth)) = self.queue.pop_front() {
            if vm.val(value).is_table() {
                self.table(vm, value, depth)?;
            } else {
                self.function(vm, value, depth)?;
            }
        }
        Ok(self.hits)
    }

    /// A table or a Lua function that is to be entered, unless it is another module's.
    fn meet(&mut self, vm: &mut Vm, value: Ref, depth: u32, is_ours: bool) -> Result<()> {
        let val = vm.val(value);
        let is_entered = match val.is_table() {
            true => is_ours || !self.modules.has(val.addr),
            false => val.is_function(),
        };
        if is_entered && depth <= MOST_DEPTH && self.seen.try_insert_value(val.addr, ())?.is_none()
        {
            self.queue.try_reserve(1)?;
            self.queue.push_back((value, depth));
        }
        Ok(())
    }

    /// What stands in a place.
    fn value(&mut self, vm: &mut Vm, place: Place, value: Ref, depth: u32) -> Result<()> {
        if self.former.get(vm, value).is_some() {
            self.hits.try_push(Hit { place, value })?;
        }
        self.meet(vm, value, depth, false)
    }

    fn table(&mut self, vm: &mut Vm, table: Ref, depth: u32) -> Result<()> {
        let is_inside = depth > 0;
        if !is_inside {
            let metatable = vm.metatable(table)?;
            self.meet(vm, metatable, depth, false)?;
        }
        let mut entries = Vec::new();
        let mut cursor = vm.walk(table, Ref::NIL)?;
        let most = self.left.min(MOST_OF_TABLE);
        for _ in 0..most {
            let Some(entry) = cursor.next(vm) else {
                break;
            };
            self.left -= 1;
            // Inside an external function only functions lead on from a table.
            let leads_on = |val: Val| val.is_function() || val.is_table() && !is_inside;
            if leads_on(entry.new) || leads_on(entry.key) {
                entries.try_push(cursor.keep_pair(vm)?)?;
            }
        }
        cursor.end(vm);
        for KeyValue { key, value } in entries {
            self.value(vm, Place::Value { table, key }, value, depth)?;
            self.value(vm, Place::Key { table, key }, key, depth)?;
        }
        Ok(())
    }

    fn function(&mut self, vm: &mut Vm, function: Ref, depth: u32) -> Result<()> {
        let Some(info) = vm.info(function)?.filter(|info| info.lua) else {
            return Ok(());
        };
        let depth = match self.ownership.owns(vm, function, &info)? {
            true => 0,
            false => depth + 1,
        };
        for index in 1..=info.upvalues {
            let cell = vm.cell(function, index);
            if self.seen.try_insert_value(cell, ())?.is_none() {
                let value = vm.upvalue_value(function, index)?;
                self.value(vm, Place::Upvalue { function, index }, value, depth)?;
            }
        }
        Ok(())
    }
}
