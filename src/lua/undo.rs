//! The end of a guard, and undoing (R7.3): C functions that the façade gets. They return, whatever
//! happens; only a guard's end raises, where undoing failed and nobody has been told.

use std::ffi::c_int;
use std::ops::RangeInclusive;

use mlua::ffi::{self, lua_State};

use super::collector::Paused;
use super::entry::{ROOM, done};
use super::layout::{Guard, LayoutElement as _, Own, Undo};
use super::vm::{Ref, Vm};
use super::write::{self, Op, Permit};
use crate::support::error::{Error, Result};
use crate::support::fault::{self, caught};

const PERMIT: Permit = Permit::new();

/// The way back of all references (R7.3), and where a sweep in slices has what of it.
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

    /// Plans it for the places of the entry's module alone. `ops` is what its reload has done, and
    /// is undone by now.
    ///
    /// # Errors
    /// [`Error::Memory`].
    fn plan_near(vm: &mut Vm, ops: &[Op], entry: Ref, own: Ref) -> Result<Self>;

    /// Goes it, all of it or nothing. What was done on it is added to `done`.
    ///
    /// # Errors
    /// [`Error::Memory`], with nothing changed; [`Error::PutBack`] where that failed.
    fn go(self, vm: &mut Vm, permit: Permit, done: &mut Vec<Op>) -> Result<()>;
}

/// `core.close(guard)` → `true`, or `false, message`: ends a [`Guard`], and undoes its entries, the
/// last first, if it still has them.
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
        ffi::lua_rawseti(l, 1, Guard::Open.at());
        let mut outcome = Ok(());
        if ffi::lua_rawgeti(l, 1, Guard::Entries.at()) == ffi::LUA_TTABLE {
            ffi::lua_rawgeti(l, 1, Guard::Own.at());
            for i in (1..=ffi::lua_rawlen(l, 2) as i64).rev() {
                ffi::lua_rawgeti(l, 2, i);
                outcome = undo_most::<W>(l, 4, 3).and(outcome);
                ffi::lua_settop(l, 3);
            }
            // What could not be undone at all is left for another try.
            if matches!(outcome, Ok(()) | Err(Error::PutBack { .. })) {
                ffi::lua_pushboolean(l, 0);
                ffi::lua_rawseti(l, 1, Guard::Entries.at());
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
/// ([`Guard::Told`]), it raises what `close` says, so that `coroutine.close` returns it.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn end<W: WayBack>(l: *mut lua_State) -> c_int {
    // SAFETY: no Rust value lives across the raise.
    unsafe {
        if close::<W>(l) != 2 || ffi::lua_type(l, 1) != ffi::LUA_TTABLE {
            return 0;
        }
        ffi::lua_rawgeti(l, 1, Guard::Told.at());
        if ffi::lua_toboolean(l, -1) != 0 {
            return 0;
        }
        ffi::lua_settop(l, 3);
        if ffi::lua_type(l, 3) != ffi::LUA_TSTRING {
            ffi::lua_rawgeti(l, 1, Guard::Message.at()); // there is no memory for another one
        }
        ffi::lua_error(l)
    }
}

/// `core.undo(entries, own)` → `true`, or `false, message`: undoes reloads (R7.3), the last first,
/// all of them or none.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn undo<W: WayBack>(l: *mut lua_State) -> c_int {
    // SAFETY: the frame has two arguments, and room is made; types are checked.
    unsafe {
        ffi::lua_settop(l, 2);
        if ffi::lua_checkstack(l, ROOM) == 0 || ffi::lua_type(l, 1) != ffi::LUA_TTABLE {
            return 0;
        }
        let entries = 1..=ffi::lua_rawlen(l, 1) as i64;
        for i in entries.clone() {
            if ffi::lua_rawgeti(l, 1, i) == ffi::LUA_TTABLE {
                withdraw::<W>(l, 3, 2);
            }
            ffi::lua_settop(l, 2);
        }
        let paused = Paused::new(l);
        let outcome = insisted(l, || whole::<W>(l, entries.clone()));
        if outcome.is_ok() {
            for i in entries {
                if ffi::lua_rawgeti(l, 1, i) == ffi::LUA_TTABLE {
                    settle(l, 3);
                }
                ffi::lua_settop(l, 2);
            }
        }
        drop(paused);
        let outcome = outcome.map_err(|error| match error {
            Error::PutBack { left, .. } => Error::HalfUndone(left),
            other => other,
        });
        ffi::lua_settop(l, 1);
        done(l, outcome)
    }
}

/// Tries up to three times: memory that is short now may be there at the next try, as each one
/// collects garbage. `[-0, +0, -]`
///
/// # Safety
/// Within a C function's frame.
unsafe fn insisted(l: *mut lua_State, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    // SAFETY: what an attempt leaves on the stack goes.
    let top = unsafe { ffi::lua_gettop(l) };
    let mut outcome = Err(Error::Memory);
    for _ in 0..3 {
        let tried = caught("while undoing", || {
            fault::point()?;
            attempt()
        });
        // SAFETY: as above.
        unsafe { ffi::lua_settop(l, top) };
        outcome = match (outcome, tried) {
            (_, Ok(())) => Ok(()),
            // A later try may fail before it does anything; the earlier one has.
            (Err(damage @ Error::PutBack { .. }), Err(_)) => Err(damage),
            (_, Err(error)) => Err(error),
        };
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Undoes an entry, the list [`Undo`] at `index`, as far as there is memory for: nobody will ask
/// again. `own` is the index of the façade's list of its tables. An entry without a
/// transaction is left alone. `[-0, +n, -]`
///
/// # Safety
/// Within a C function's frame; the table is the façade's own.
unsafe fn undo_most<W: WayBack>(l: *mut lua_State, index: c_int, own: c_int) -> Result<()> {
    // SAFETY: types are checked.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TTABLE
            || ffi::lua_rawgeti(l, index, Undo::Transaction.at()) != ffi::LUA_TTABLE
        {
            return Ok(());
        }
        withdraw::<W>(l, index, own);
        let paused = Paused::new(l);
        let outcome = insisted(l, || most::<W>(l, index, own));
        if matches!(outcome, Ok(()) | Err(Error::PutBack { .. })) {
            settle(l, index);
        } else {
            restore(l, index);
        }
        drop(paused);
        outcome
    }
}

/// An entry is undone: it has no transaction any more, and the record is as before. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn settle(l: *mut lua_State, index: c_int) {
    // SAFETY: the keys stand, so the writes allocate nothing.
    unsafe {
        for transaction in [Undo::Transaction, Undo::Migrated] {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, index, transaction.at());
        }
        restore(l, index);
    }
}

/// An entry's record gets its generation, source, chunks, version and what is on record of the base
/// version back. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn restore(l: *mut lua_State, index: c_int) {
    // SAFETY: all keys stand, so the writes allocate nothing, and the strings are short ones that
    // exist, as the record has them for keys.
    unsafe {
        ffi::lua_rawgeti(l, index, Undo::Record.at());
        let record = ffi::lua_gettop(l);
        for field in [
            Undo::Generation,
            Undo::Source,
            Undo::Main,
            Undo::Previous,
            Undo::Base,
            Undo::Calls,
            Undo::Version,
        ] {
            ffi::lua_pushstring(l, field.name().as_ptr());
            ffi::lua_rawgeti(l, index, field.at());
            ffi::lua_rawset(l, record);
        }
    }
}

/// What an entry's reload brought on the way comes no further: takes its part out of the sweep in
/// slices, if there is one. The next slice begins a pass without it. `[-0, +0, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn withdraw<W: WayBack>(l: *mut lua_State, index: c_int, own: c_int) {
    // SAFETY: raw access to tables that are checked; what is written has its key already, so the
    // writes allocate nothing.
    unsafe {
        let top = ffi::lua_gettop(l);
        if ffi::lua_rawgeti(l, index, Undo::Back.at()) == ffi::LUA_TTABLE
            && ffi::lua_rawgeti(l, own, Own::Sweeping.at()) == ffi::LUA_TTABLE
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

/// The way back of an entry's references, planned; none where it brought none. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn plan_way<W: WayBack>(
    l: *mut lua_State,
    index: c_int,
    own: c_int,
) -> Result<Option<(Vm, W)>> {
    // SAFETY: raw access to the entry; the type is checked.
    unsafe {
        if ffi::lua_rawgeti(l, index, Undo::Back.at()) != ffi::LUA_TTABLE {
            return Ok(None);
        }
        let back = ffi::lua_gettop(l);
        let mut vm = Vm::open(l)?;
        let (entry, back, own) = (vm.argument(index)?, vm.argument(back)?, vm.argument(own)?);
        let way = W::plan(&mut vm, entry, back, own)?;
        Ok(Some((vm, way)))
    }
}

/// The way back within the module, where nothing was brought elsewhere: `words` are those of the
/// thawed transaction of the entry. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`]; the view must be that of the transaction.
unsafe fn plan_near<W: WayBack>(
    vm: &mut Vm,
    words: &[u32],
    (index, own): (c_int, c_int),
) -> Result<W> {
    let (entry, own) = (vm.argument(index)?, vm.argument(own)?);
    W::plan_near(vm, &write::frozen(words)?, entry, own)
}

/// Undoes as much of an entry as there is memory for. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn most<W: WayBack>(l: *mut lua_State, index: c_int, own: c_int) -> Result<()> {
    // SAFETY: raw access to the entry; types are checked where something is taken out.
    unsafe {
        let way_back = plan_way::<W>(l, index, own);
        let mut left = 0;
        let mut begun = false;
        for transaction in [Undo::Migrated, Undo::References, Undo::Transaction] {
            if ffi::lua_rawgeti(l, index, transaction.at()) == ffi::LUA_TTABLE {
                let frozen = ffi::lua_gettop(l);
                let is_near = transaction == Undo::Transaction && matches!(way_back, Ok(None));
                let undone = Vm::thaw(l, frozen).and_then(|(mut vm, words)| {
                    let lost = write::undo_frozen(&mut vm, PERMIT, &words)?;
                    let way = is_near.then(|| plan_near::<W>(&mut vm, &words, (index, own)));
                    let way = way.map(|way| way?.go(&mut vm, PERMIT, &mut Vec::new()));
                    Ok(lost + usize::from(matches!(way, Some(Err(_)))))
                });
                match undone {
                    Ok(lost) => (left, begun) = (left + lost, true),
                    Err(error) if !begun => return Err(error),
                    Err(_) => left += 1, // no more "nothing was changed"
                }
            }
        }
        left += match way_back {
            Ok(None) => 0,
            Ok(Some((mut vm, way))) => {
                usize::from(way.go(&mut vm, PERMIT, &mut Vec::new()).is_err())
            }
            Err(_) => 1,
        };
        undone(left)
    }
}

/// Undoes the entries of the list at 1, the façade's tables being at 2: all or none. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn whole<W: WayBack>(l: *mut lua_State, entries: RangeInclusive<i64>) -> Result<()> {
    let mut gone: Vec<(Vm, Vec<Op>)> = Vec::new();
    let outcome = caught("while undoing", || {
        for i in entries {
            // SAFETY: raw access to the list, with room made; types are checked.
            unsafe {
                if ffi::lua_checkstack(l, ROOM) == 0 {
                    return Err(Error::Memory);
                }
                if ffi::lua_rawgeti(l, 1, i) == ffi::LUA_TTABLE {
                    go_back::<W>(l, ffi::lua_gettop(l), &mut gone)?;
                }
            }
        }
        Ok(())
    });
    outcome.map_err(|error| {
        let undo = |(vm, ops): &mut (Vm, Vec<Op>)| write::undo(vm, PERMIT, ops);
        match gone.iter_mut().rev().map(undo).sum() {
            0 => error,
            left => Error::PutBack {
                cause: error.to_string(),
                left,
            },
        }
    })
}

/// Undoes an entry; what was done on the way is added to `gone`. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_most`].
unsafe fn go_back<W: WayBack>(
    l: *mut lua_State,
    index: c_int,
    gone: &mut Vec<(Vm, Vec<Op>)>,
) -> Result<()> {
    // SAFETY: raw access to the entry; types are checked where something is taken out.
    unsafe {
        gone.try_reserve(3)?;
        if ffi::lua_rawgeti(l, index, Undo::Transaction.at()) != ffi::LUA_TTABLE {
            return Ok(());
        }
        let way_back = plan_way::<W>(l, index, 2)?;
        for transaction in [Undo::Migrated, Undo::Transaction] {
            if ffi::lua_rawgeti(l, index, transaction.at()) == ffi::LUA_TTABLE {
                let (mut vm, words) = Vm::thaw(l, ffi::lua_gettop(l))?;
                let is_near = transaction == Undo::Transaction && way_back.is_none();
                let ops = write::undo_whole(&mut vm, PERMIT, &words)?;
                gone.push((vm, ops)); // there is room
                if let Some((vm, ops)) = gone.last_mut().filter(|_| is_near) {
                    plan_near::<W>(vm, &words, (index, 2))?.go(vm, PERMIT, ops)?;
                }
            }
        }
        if let Some((mut vm, way)) = way_back {
            let mut ops = Vec::new();
            way.go(&mut vm, PERMIT, &mut ops)?;
            gone.push((vm, ops));
        }
        Ok(())
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
