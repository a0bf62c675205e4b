//! R14: the live objects of a class, and what undoes their migration.

use std::time::{Duration, Instant};

use smallvec::smallvec;

use crate::lua::entry::{Answer, Answers};
use crate::lua::heap::{Heap, Place};
use crate::lua::layout::{LayoutElement as _, Undo};
use crate::lua::vm::{Ref, Vm};
use crate::lua::write::{self, Op};
use crate::stages::sweep;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// `core.instances(owed, own, class, found, handle, budget_ms)` → `owed, done, handle`.
///
/// `found` gets the objects for keys. `handle` is that of a pass that goes on; any other value
/// begins one. Without a budget the pass goes to its end.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn instances(vm: &mut Vm) -> Result<Answers> {
    let started = Instant::now();
    let (own, class, found) = (vm.argument(2)?, vm.argument(3)?, vm.argument(4)?);
    let (handle, budget) = (vm.argument(5)?, vm.argument(6)?);
    let deadline = vm
        .any_number(budget)
        .map(|ms| started + Duration::from_secs_f64((ms / 1e3).clamp(0.0, 3600.0)));
    let mut skip = sweep::bookkeeping(vm, own)?;
    skip.try_push(found)?;
    let heap = match Heap::can_resume(vm, handle) {
        true => Heap::resume(vm, handle, &skip)?,
        false => Heap::start(vm, &skip)?,
    };
    heap.want_instances(vm, class)?;
    let mut hits = Vec::new();
    let done = heap.walk(vm, |_, _| false, &mut hits, deadline)?;
    let yes = vm.boolean(true)?;
    for hit in hits {
        if let Place::Metatable { of } = hit.place {
            write::fill(vm, found, of, yes)?;
        }
    }
    Ok(smallvec![Answer::Flag(done), Answer::Held(heap.handle())])
}

/// `core.migrated(owed, entry, changes)` → `owed, true`: puts into the entry what undoes the
/// writes in `changes`, whose field `n` says how many there are: object, key, former value and new
/// value, one behind the other.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn migrated(vm: &mut Vm) -> Result<Answers> {
    let (entry, changes) = (vm.argument(2)?, vm.argument(3)?);
    let count = vm.field(changes, "n")?;
    let mut ops = Vec::new();
    for i in 0..vm.integer(count).unwrap_or_default() {
        let mut row = [Ref::NIL; 4];
        for (value, place) in row.iter_mut().zip(4 * i + 1..) {
            *value = vm.index(changes, place)?;
        }
        let [object, key, old, new] = row;
        ops.try_push(Op::write(object, key, new, old))?;
    }
    let frozen = write::freeze(vm, &ops)?;
    vm.fill_in(
        entry,
        [(Undo::Migrated.at(), Answer::Held(frozen))].into_iter(),
    );
    Ok(smallvec![Answer::Flag(true)])
}
