//! The walk alone, for the tests: a C function that is no part of the library's table.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mlua::ffi::{self, lua_State};

use super::{Heap, Hit, Place, Progress};
use crate::lua::collector::Paused;
use crate::lua::protected;
use crate::lua::vm::{Ref, Vm};
use crate::support::error::{Error, Result};

/// What one call found.
struct ProbeResult {
    heap: Heap,
    done: bool,
    hits: Vec<Hit>,
    progress: Progress,
}

/// `walk(pass, wanted, budget, source, count)` → `pass, done, hits, objects, bytes, microseconds`,
/// or `nil, message`.
///
/// `pass` is nil for a new one; `wanted` a list of tables and functions; `budget` in microseconds,
/// nil for no limit; `source` the name of the source whose functions are wanted, too. The hits are
/// a list of `{ place, container, key, value, level, n }`, or, with `count`, only their number.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn walk(l: *mut lua_State) -> c_int {
    const RESULTS: c_int = 6;
    // SAFETY: the running state; the view lives within the call; room is made before anything is
    // pushed.
    unsafe {
        let begun = Instant::now();
        ffi::lua_settop(l, 5);
        let has_room = ffi::lua_checkstack(l, 40) != 0;
        let count_only = ffi::lua_toboolean(l, 5) != 0;
        let paused = Paused::new(l);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if !has_room {
                return Err(Error::Memory);
            }
            let mut vm = Vm::open(l)?;
            let found = find(&mut vm)?;
            vm.push_to_caller(found.heap.handle());
            ffi::lua_pushboolean(l, found.done.into());
            if count_only {
                ffi::lua_pushinteger(l, found.hits.len() as i64);
            } else {
                push_hits(l, &vm, &found.hits)?;
            }
            ffi::lua_pushinteger(l, found.progress.objects as i64);
            ffi::lua_pushinteger(l, found.progress.bytes as i64);
            Ok::<(), Error>(())
        }));
        let message = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_bytes()),
            Err(_) => Some(b"a panic".as_slice().into()),
        };
        drop(paused);
        if let Some(message) = message {
            let text = &*message;
            ffi::lua_pushnil(l);
            let pushed = protected::run(l, 1, |l| {
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
            });
            return if pushed.is_ok() { 2 } else { 1 };
        }
        ffi::lua_pushinteger(l, begun.elapsed().as_micros() as i64);
        RESULTS
    }
}

fn find(vm: &mut Vm) -> Result<ProbeResult> {
    let handle = vm.argument(1)?;
    let wanted = vm.argument(2)?;
    let budget = vm.argument(3)?;
    let source = vm.argument(4)?;
    let deadline = vm
        .integer(budget)
        .map(|budget| Instant::now() + Duration::from_micros(budget.unsigned_abs()));
    let source = vm.bytes(source)?;
    let heap = if vm.val(handle).is_nil() {
        Heap::start(vm, &[wanted])?
    } else {
        Heap::resume(vm, handle, &[wanted])?
    };
    for i in 1..=vm.raw_len(wanted) {
        let value = vm.index(wanted, i)?;
        heap.want(vm, vm.val(value).addr)?;
    }
    let mut hits = Vec::new();
    let wants = |_, bytes: &[u8]| source.as_deref() == Some(bytes);
    let done = heap.walk(vm, wants, &mut hits, deadline)?;
    let progress = heap.progress(vm)?;
    Ok(ProbeResult {
        heap,
        done,
        hits,
        progress,
    })
}

/// Pushes the hits as a list. `[-0, +1, -]`
unsafe fn push_hits(l: *mut lua_State, vm: &Vm, hits: &[Hit]) -> Result<()> {
    // SAFETY: all that allocates is in a protected call; there, values are copied from the view's
    // threads.
    unsafe {
        protected::run(l, 1, |l| {
            ffi::lua_createtable(l, hits.len() as c_int, 0);
            for (hit, i) in hits.iter().zip(1..) {
                ffi::lua_createtable(l, 0, 6);
                let (place, container, key, level, n) = match hit.place {
                    Place::Value { table, key } => (c"value", table, key, None, None),
                    Place::Key { table, key } => (c"key", table, key, None, None),
                    Place::Metatable { of } => (c"metatable", of, Ref::NIL, None, None),
                    Place::TypeMetatable { of } => (c"type", of, Ref::NIL, None, None),
                    Place::Upvalue { function, index } => {
                        (c"upvalue", function, Ref::NIL, None, Some(index.into()))
                    }
                    Place::UserValue { userdata, n } => {
                        (c"user value", userdata, Ref::NIL, None, Some(n.into()))
                    }
                    Place::Local { thread, level, n } => {
                        (c"local", thread, Ref::NIL, Some(level), Some(n))
                    }
                    Place::Slot { thread, index } => (c"slot", thread, Ref::NIL, None, Some(index)),
                    Place::Running { thread, level } => {
                        (c"running", thread, Ref::NIL, Some(level), None)
                    }
                };
                ffi::lua_pushstring(l, place.as_ptr());
                ffi::lua_setfield(l, -2, c"place".as_ptr());
                for (name, value) in [
                    (c"container", container),
                    (c"key", key),
                    (c"value", hit.value),
                ] {
                    let (thread, index) = vm.at(value);
                    ffi::lua_pushvalue(thread, index);
                    ffi::lua_xmove(thread, l, 1);
                    ffi::lua_setfield(l, -2, name.as_ptr());
                }
                for (name, number) in [(c"level", level.map(i64::from)), (c"n", n.map(i64::from))] {
                    if let Some(number) = number {
                        ffi::lua_pushinteger(l, number);
                        ffi::lua_setfield(l, -2, name.as_ptr());
                    }
                }
                ffi::lua_rawseti(l, 1, i);
            }
        })
    }
}
