//! The end of a guard, and undoing (R7.3): C functions that the façade gets. They return, whatever
//! happens; only a guard's end raises, where undoing failed and nobody has been told.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::collector::Paused;
use super::entry::{ROOM, done};
use super::vm::{Ref, Vm};
use super::write::{self, Permit};
use crate::support::error::{Error, Result};
use crate::support::fault::{self, caught};

const PERMIT: Permit = Permit::new();

/// The way back of all references elsewhere (R7.3), and where a sweep in slices has what of it.
pub trait WayBack: Sized {
    /// Where in the list of the sweep in slices the walk's handle stands. What it has of each
    /// reloaded module comes behind it.
    const HANDLE: i64;
    /// How many elements it has for a module. The first is false where the reload was undone.
    const TABLES: i64;
    /// Which of them is the table from new functions to old ones, counted from 0.
    const BACK: i64;

    /// Plans it. `back`, which `entry` has, has new functions and the old ones, `own` is the
    /// façade's list of its tables.
    ///
    /// # Errors
    /// [`Error::Memory`].
    fn plan(vm: &mut Vm, entry: Ref, back: Ref, own: Ref) -> Result<Self>;

    /// Goes it, all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Memory`], with nothing changed; [`Error::PutBack`] where that failed.
    fn go(&mut self, vm: &mut Vm, permit: Permit) -> Result<()>;
}

/// How much of an entry is undone where memory is short.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it or nothing: it can be asked for again.
    Whole,
    /// As much as there is memory for: nobody will ask again.
    Most,
}

/// `core.close(guard)` → `true`, or `false, message`: ends a guard `{ open, entries, own, told,
/// message }`, and undoes its entries, the last first, if it still has them.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn close<W: WayBack>(l: *mut lua_State) -> c_int {
    // SAFETY: raw access to tables that are checked; all keys stand, so the writes allocate
    // nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_checkstack(l, ROOM) == 0 || ffi::lua_type(l, 1) != ffi::LUA_TTABLE {
            return 0;
        }
        ffi::lua_pushboolean(l, 0);
        ffi::lua_rawseti(l, 1, 1);
        let mut outcome = Ok(());
        if ffi::lua_rawgeti(l, 1, 2) == ffi::LUA_TTABLE {
            ffi::lua_rawgeti(l, 1, 3);
            for i in (1..=ffi::lua_rawlen(l, 2) as i64).rev() {
                ffi::lua_rawgeti(l, 2, i);
                outcome = undo_entry::<W>(l, 4, 3, Extent::Most).and(outcome);
                ffi::lua_settop(l, 3);
            }
            // What could not be undone at all is left for another try.
            if matches!(outcome, Ok(()) | Err(Error::PutBack { .. })) {
                ffi::lua_pushboolean(l, 0);
                ffi::lua_rawseti(l, 1, 2);
            }
        }
        ffi::lua_settop(l, 1);
        let outcome = outcome.map_err(|error| match error {
            Error::PutBack { .. } => error,
            other => Error::NotUndone(other.to_string()),
        });
        done(l, outcome)
    }
}

/// A guard's `__close`: as [`close`]; where a reload could not be undone and nobody has been told
/// (`guard[4]`), it raises what `close` says, so that `coroutine.close` returns it.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn end<W: WayBack>(l: *mut lua_State) -> c_int {
    // SAFETY: no Rust value lives across the raise.
    unsafe {
        if close::<W>(l) != 2 || ffi::lua_type(l, 1) != ffi::LUA_TTABLE {
            return 0;
        }
        ffi::lua_rawgeti(l, 1, 4);
        if ffi::lua_toboolean(l, -1) != 0 {
            return 0;
        }
        ffi::lua_settop(l, 3);
        if ffi::lua_type(l, 3) != ffi::LUA_TSTRING {
            ffi::lua_rawgeti(l, 1, 5); // there is no memory for another one
        }
        ffi::lua_error(l)
    }
}

/// `core.undo(entry, own)` → `true`, or `false, message`: undoes one module's reload (R7.3).
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn undo<W: WayBack>(l: *mut lua_State) -> c_int {
    // SAFETY: the frame has one argument, and room is made.
    unsafe {
        ffi::lua_settop(l, 2);
        if ffi::lua_checkstack(l, ROOM) == 0 {
            return 0;
        }
        let outcome = undo_entry::<W>(l, 1, 2, Extent::Whole).map_err(|error| match error {
            Error::PutBack { left, .. } => Error::HalfUndone(left),
            other => other,
        });
        ffi::lua_settop(l, 1);
        done(l, outcome)
    }
}

/// Undoes an entry `{ transaction, record, generation, source, back, main, previous, references,
/// base, calls, version }`, the table at `index`: the record then gets its generation, source,
/// chunks, version and what is on record of A0 back. `own` is the index of the façade's list of its
/// tables. An entry without a transaction is left alone. `[-0, +n, -]`
///
/// # Safety
/// Within a C function's frame; the table is the façade's own.
unsafe fn undo_entry<W: WayBack>(
    l: *mut lua_State,
    index: c_int,
    own: c_int,
    extent: Extent,
) -> Result<()> {
    // SAFETY: types are checked; all keys stand, so the writes allocate nothing, and the strings
    // are short ones that exist, as the record has them for keys.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TTABLE
            || ffi::lua_rawgeti(l, index, 1) != ffi::LUA_TTABLE
        {
            return Ok(());
        }
        withdraw::<W>(l, index, own);
        let top = ffi::lua_gettop(l);
        let paused = Paused::new(l);
        let mut outcome = Err(Error::Memory);
        for _ in 0..3 {
            // Memory that is short now may be there at the next try: each one collects garbage.
            let attempt = caught("while undoing", || attempt::<W>(l, index, own, extent));
            ffi::lua_settop(l, top);
            outcome = match (outcome, attempt) {
                (_, Ok(())) => Ok(()),
                // A later try may fail before it does anything; the earlier one has.
                (Err(damage @ Error::PutBack { .. }), Err(_)) => Err(damage),
                (_, Err(error)) => Err(error),
            };
            if outcome.is_ok() {
                break;
            }
        }
        if extent == Extent::Whole && outcome.is_err() {
            drop(paused);
            return outcome; // it can be asked for again
        }
        if matches!(outcome, Ok(()) | Err(Error::PutBack { .. })) {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, index, 1);
        }
        ffi::lua_rawgeti(l, index, 2);
        let record = ffi::lua_gettop(l);
        for (slot, name) in [
            (3, c"generation"),
            (4, c"source"),
            (6, c"main"),
            (7, c"previous"),
            (9, c"base"),
            (10, c"calls"),
            (11, c"version"),
        ] {
            ffi::lua_pushstring(l, name.as_ptr());
            ffi::lua_rawgeti(l, index, slot);
            ffi::lua_rawset(l, record);
        }
        drop(paused);
        outcome
    }
}

/// What an entry's reload brought on the way comes no further: takes its part out of the sweep in
/// slices, if there is one. The next slice begins a pass without it. `[-0, +0, -]`
///
/// # Safety
/// As for [`undo_entry`].
unsafe fn withdraw<W: WayBack>(l: *mut lua_State, index: c_int, own: c_int) {
    // SAFETY: raw access to tables that are checked; what is written has its key already, so the
    // writes allocate nothing.
    unsafe {
        let top = ffi::lua_gettop(l);
        if ffi::lua_rawgeti(l, index, 5) == ffi::LUA_TTABLE
            && ffi::lua_rawgeti(l, own, 5) == ffi::LUA_TTABLE
        {
            let (back, sweeping) = (top + 1, top + 2);
            let mut first = W::HANDLE + 1;
            while ffi::lua_rawgeti(l, sweeping, first + W::BACK) == ffi::LUA_TTABLE {
                if ffi::lua_rawequal(l, -1, back) != 0 {
                    ffi::lua_pushboolean(l, 0);
                    ffi::lua_rawseti(l, sweeping, first);
                    if ffi::lua_rawgeti(l, sweeping, W::HANDLE) != ffi::LUA_TNIL {
                        ffi::lua_pushnil(l);
                        ffi::lua_rawseti(l, sweeping, W::HANDLE);
                    }
                }
                ffi::lua_settop(l, sweeping);
                first += W::TABLES;
            }
        }
        ffi::lua_settop(l, top);
    }
}

/// Undoes an entry. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_entry`].
unsafe fn attempt<W: WayBack>(
    l: *mut lua_State,
    index: c_int,
    own: c_int,
    extent: Extent,
) -> Result<()> {
    // SAFETY: raw access to the entry; types are checked where something is taken out.
    unsafe {
        fault::point()?;
        let way_back = match ffi::lua_rawgeti(l, index, 5) {
            ffi::LUA_TTABLE => {
                let back = ffi::lua_gettop(l);
                Vm::open(l).and_then(|mut vm| {
                    let (entry, back, own) =
                        (vm.argument(index)?, vm.argument(back)?, vm.argument(own)?);
                    let way = W::plan(&mut vm, entry, back, own)?;
                    Ok(Some((vm, way)))
                })
            }
            _ => Ok(None),
        };
        if extent == Extent::Whole {
            let way_back = way_back?;
            if ffi::lua_rawgeti(l, index, 1) != ffi::LUA_TTABLE {
                return Ok(());
            }
            let (mut vm, words) = Vm::thaw(l, ffi::lua_gettop(l))?;
            return write::undo_whole(&mut vm, PERMIT, &words, || match way_back {
                Some((mut vm, mut way)) => way.go(&mut vm, PERMIT),
                None => Ok(()),
            });
        }
        let mut left = 0;
        let mut begun = false;
        for transaction in [8, 1] {
            if ffi::lua_rawgeti(l, index, transaction) == ffi::LUA_TTABLE {
                let view = Vm::thaw(l, ffi::lua_gettop(l));
                match view.and_then(|(mut vm, words)| write::undo_frozen(&mut vm, PERMIT, &words)) {
                    Ok(lost) => (left, begun) = (left + lost, true),
                    Err(error) if !begun => return Err(error),
                    Err(_) => left += 1, // no more "nothing was changed"
                }
            }
        }
        left += match way_back {
            Ok(None) => 0,
            Ok(Some((mut vm, mut way))) => usize::from(way.go(&mut vm, PERMIT).is_err()),
            Err(_) => 1,
        };
        undone(left)
    }
}

/// What an undoing that left something behind says; nothing where nothing is left.
///
/// # Errors
/// [`Error::PutBack`].
fn undone(left: usize) -> Result<()> {
    match left {
        0 => Ok(()),
        left => Err(Error::PutBack {
            cause: "it was to be undone".into(),
            left,
        }),
    }
}
