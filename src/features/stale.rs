//! R11: functions of older generations that are still alive, and where they are referenced from.
//!
//! A function is current when its code, lines included, is that of one in the chunk that was loaded
//! last. What the library itself keeps to undo a reload does not count. A function that a coroutine
//! is in the midst of is alive as well.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::tree::Tree;
use crate::lua::heap::{Heap, Place};
use crate::lua::layout::{LayoutElement as _, StaleModule, StaleRow};
use crate::lua::vm::{DebugInfo, Ref, Vm};
use crate::lua::write;
use crate::model::ownership::Ownership;
use crate::stages::sweep;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// What is known of one module's last generations.
struct AskedModule {
    ownership: Ownership,
    /// Other modules have its source name as well (a bundle): only what its last two chunks tell
    /// is its own.
    shared: bool,
    /// The functions of its last two chunks, the newest first, by their exact code.
    chunks: [FxHashSet<u64>; 2],
}

/// Which generation a function is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Current,
    /// The one before.
    Last,
    Older,
}

/// `core.stale(owed, own, modules)` → `owed, list`. `modules` is a list of `{ source name, main
/// function, the one before }`. In the list come, one after the other for each reference: the
/// function, the module's number, the line, whether it is of the generation before the last, the
/// kind of place, what holds the place, and the key or number there.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn stale(vm: &mut Vm) -> Result<Ref> {
    let (own, list) = (vm.argument(2)?, vm.argument(3)?);
    let mut modules = Vec::new();
    for i in 1..=vm.raw_len(list) {
        let module = vm.index(list, i)?;
        modules.try_push(read(vm, module)?)?;
    }
    let mut skip = sweep::bookkeeping(vm, own)?;
    skip.try_push(list)?;
    let heap = Heap::start(vm, &skip)?;
    let mut hits = Vec::new();
    let wanted = |source: &[u8]| modules.iter().any(|module| module.ownership.has(source));
    heap.walk(vm, |_, source| wanted(source), &mut hits, None)?;

    let out = vm.table(0)?;
    let mut known: FxHashMap<usize, Option<(usize, i32, Age)>> = FxHashMap::default();
    let mut before = 0;
    for hit in hits {
        let address = vm.val(hit.value).addr;
        let what = match known.get(&address) {
            Some(what) => *what,
            None => {
                let what = age_of(vm, &mut modules, hit.value)?;
                known.try_insert_value(address, what)?;
                what
            }
        };
        let Some((module, line, age)) = what.filter(|(_, _, age)| *age != Age::Current) else {
            continue;
        };
        let (kind, holder, key) = words(vm, hit.place)?;
        let row = [
            (StaleRow::Value, hit.value),
            (StaleRow::Module, vm.number(module as i64 + 1)?),
            (StaleRow::Line, vm.number(line.into())?),
            (StaleRow::IsLast, vm.boolean(age == Age::Last)?),
            (StaleRow::Kind, vm.string(kind.as_bytes())?),
            (StaleRow::Holder, holder),
            (StaleRow::Key, key),
        ];
        for (at, value) in row {
            let place = vm.number(before + at.at())?;
            write::fill(vm, out, place, value)?;
        }
        before += row.len() as i64;
    }
    Ok(out)
}

fn read(vm: &mut Vm, module: Ref) -> Result<AskedModule> {
    let source = vm.index(module, StaleModule::Source.at())?;
    let mut ownership = Ownership::default();
    if let Some(source) = vm.bytes(source)? {
        ownership.add(source)?;
    }
    let (mut chunks, mut shared) = ([FxHashSet::default(), FxHashSet::default()], false);
    let mains = [StaleModule::Main, StaleModule::Previous];
    for (chunk, main) in chunks.iter_mut().zip(mains) {
        let main = vm.index(module, main.at())?;
        if !vm.val(main).is_function() {
            continue;
        }
        // A load of `require` has left no source name but this one.
        if ownership.is_empty() {
            ownership.add(vm.source(main)?.unwrap_or_default())?;
        }
        shared |= vm.info(main)?.is_some_and(|info| !info.main);
        vm.dump(main, DebugInfo::Keep)?;
        if let Some(tree) = Tree::read(vm.take_dump(), vm.secret())? {
            chunk.try_reserve(tree.len() as usize)?;
            chunk
                .extend((0..tree.len()).filter_map(|i| tree.get(i).map(|function| function.exact)));
        }
    }
    Ok(AskedModule {
        ownership,
        shared,
        chunks,
    })
}

/// Whose function it is, its line, and its age.
fn age_of(
    vm: &mut Vm,
    modules: &mut [AskedModule],
    function: Ref,
) -> Result<Option<(usize, i32, Age)>> {
    let Some(info) = vm.info(function)? else {
        return Ok(None);
    };
    for (number, module) in modules.iter_mut().enumerate() {
        if !module.ownership.owns(vm, function, &info)? {
            continue;
        }
        vm.dump(function, DebugInfo::Keep)?;
        let Some(tree) = Tree::read(vm.take_dump(), vm.secret())? else {
            return Ok(None);
        };
        let exact = tree.get(0).map_or(0, |function| function.exact);
        let [current, last] = &module.chunks;
        let age = if current.contains(&exact) || current.is_empty() {
            Age::Current
        } else if last.contains(&exact) {
            Age::Last
        } else if module.shared {
            continue;
        } else {
            Age::Older
        };
        return Ok(Some((number, info.line, age)));
    }
    Ok(None)
}

/// A place as kind, holder, and key or number.
fn words(vm: &mut Vm, place: Place) -> Result<(&'static str, Ref, Ref)> {
    Ok(match place {
        Place::Value { table, key } => ("value", table, key),
        Place::Key { table, key } => ("key", table, key),
        Place::Metatable { of } => ("metatable", of, vm.boolean(true)?),
        Place::TypeMetatable { of } => ("type", of, vm.boolean(true)?),
        Place::Upvalue { function, index } => ("upvalue", function, vm.number(index.into())?),
        Place::UserValue { userdata, n } => ("uservalue", userdata, vm.number(n.into())?),
        Place::Local { thread, n, .. } => ("local", thread, vm.number(n.into())?),
        Place::Slot { thread, index } => ("local", thread, vm.number(index.into())?),
        Place::Running { thread, level } => {
            let (suspended, line) = vm.activation(thread, level);
            let kind = if suspended { "suspended" } else { "running" };
            (kind, thread, vm.number(line.into())?)
        }
    })
}
