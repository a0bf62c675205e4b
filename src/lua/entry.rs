//! What the façade calls: C functions around the safe stages. Whatever happens inside, they return; they never raise.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};
use smallvec::{SmallVec, smallvec};

use super::collector::Paused;
use super::door;
use super::vm::{self, Ref, Vm};
use super::watch;
use crate::api::{self, Reply};
use crate::reload;
use crate::stages::commit;
use crate::stages::sweep;
use crate::support::error::Error;
use crate::support::fault::{self, caught, insist};

/// Room that an entry point makes for what it pushes.
const ROOM: c_int = 40;

/// One value of an answer to the façade: all that is left to do is to push it, which cannot fail.
pub enum Answer {
    /// A held value.
    Held(Ref),
    /// A count.
    Count(usize),
    /// A time.
    Number(f64),
    /// True or false.
    Flag(bool),
}

impl Answer {
    /// `[-0, +1, -]`
    ///
    /// # Safety
    /// `l` has room, and is the state that `vm` was opened for.
    unsafe fn push(&self, l: *mut lua_State, vm: &Vm) {
        // SAFETY: as promised; none of these allocates.
        unsafe {
            match *self {
                Answer::Held(held) => vm.push_to_caller(held),
                Answer::Count(count) => ffi::lua_pushinteger(l, count as i64),
                Answer::Number(number) => ffi::lua_pushnumber(l, number),
                Answer::Flag(flag) => ffi::lua_pushboolean(l, flag.into()),
            }
        }
    }
}

/// `core.reload(owed, …)`: see [`api::reload`]. The first result, before those, is what is owed to the collector.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn reload(l: *mut lua_State) -> c_int {
    const RUNNING: c_int = 6;
    // SAFETY: the running state; the view lives within the call. The flag is reset behind the collector's step, whose finalizers
    // may ask for a reload; its key stands, so nothing is allocated.
    unsafe {
        let results = with_view(l, |vm| {
            let reply = api::reload(vm)?;
            hand_over(l, vm, &reply);
            reply.outcome.map(|()| smallvec![Answer::Flag(true)])
        });
        if ffi::lua_type(l, RUNNING) == ffi::LUA_TTABLE {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, RUNNING, 1);
        }
        results
    }
}

/// Fills in the façade's lists. `[-0, +0, -]`
///
/// # Safety
/// As for [`reload()`]; the lists have an element for each answer, so that no write allocates anything.
unsafe fn hand_over(l: *mut lua_State, vm: &Vm, reply: &Reply) {
    // SAFETY: as promised, with room for the table and a value.
    unsafe {
        let top = ffi::lua_gettop(l);
        for (module, staged) in reply.modules.iter().zip(&reply.staged) {
            vm.push_to_caller(module.answers);
            for (answer, i) in staged.answers().zip(1..) {
                answer.push(l, vm);
                ffi::lua_rawseti(l, -2, i);
            }
            if reply.outcome.is_ok() {
                vm.push_to_caller(module.undo);
                vm.push_to_caller(staged.transaction);
                ffi::lua_rawseti(l, -2, 1);
                vm.push_to_caller(staged.back);
                ffi::lua_rawseti(l, -2, 5);
                vm.push_to_caller(staged.references);
                ffi::lua_rawseti(l, -2, 8);
            }
            ffi::lua_settop(l, top);
        }
    }
}

/// `core.close(guard)` → `true`, or `false, message`: ends a guard `{ open, entries, own, told, message }`, and undoes its entries, the last first, if it
/// still has them.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn close(l: *mut lua_State) -> c_int {
    // SAFETY: raw access to tables that are checked; all keys stand, so the writes allocate nothing.
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
                outcome = undo_entry(l, 4, 3, true).and(outcome);
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

/// A guard's `__close`: as [`close`]; where a reload could not be undone and nobody has been told (`guard[4]`), it raises what `close`
/// says, so that `coroutine.close` returns it.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn end(l: *mut lua_State) -> c_int {
    // SAFETY: no Rust value lives across the raise.
    unsafe {
        if close(l) != 2 || ffi::lua_type(l, 1) != ffi::LUA_TTABLE {
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
pub unsafe extern "C-unwind" fn undo(l: *mut lua_State) -> c_int {
    // SAFETY: the frame has one argument, and room is made.
    unsafe {
        ffi::lua_settop(l, 2);
        if ffi::lua_checkstack(l, ROOM) == 0 {
            return 0;
        }
        let outcome = undo_entry(l, 1, 2, false).map_err(|error| match error {
            Error::PutBack { left, .. } => Error::HalfUndone(left),
            other => other,
        });
        ffi::lua_settop(l, 1);
        done(l, outcome)
    }
}

/// Undoes an entry `{ transaction, record, generation, source, back, main, previous, references, base, calls }`, the table at `index`: the record
/// then gets its generation, source, chunks and what is on record of A0 back. `own` is the index of the façade's list of its tables. An entry without a transaction is left alone. `[-0, +n, -]`
///
/// # Safety
/// Within a C function's frame; the table is the façade's own.
unsafe fn undo_entry(l: *mut lua_State, index: c_int, own: c_int, must: bool) -> Result<(), Error> {
    // SAFETY: types are checked; all keys stand, so the writes allocate nothing, and the strings are short ones that exist, as
    // the record has them for keys.
    unsafe {
        if ffi::lua_type(l, index) != ffi::LUA_TTABLE || ffi::lua_rawgeti(l, index, 1) != ffi::LUA_TTABLE {
            return Ok(());
        }
        withdraw(l, index, own);
        let top = ffi::lua_gettop(l);
        let paused = Paused::new(l);
        let mut outcome = Err(Error::Memory);
        for _ in 0..3 {
            // Memory that is short now may be there at the next try: each one collects garbage.
            let attempt = caught("while undoing", || attempt(l, index, own, must));
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
        if !must && outcome.is_err() {
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
        ] {
            ffi::lua_pushstring(l, name.as_ptr());
            ffi::lua_rawgeti(l, index, slot);
            ffi::lua_rawset(l, record);
        }
        drop(paused);
        outcome
    }
}

/// What an entry's reload brought on the way comes no further: takes its part out of the sweep in slices, if there is one. The next slice
/// begins a pass without it. `[-0, +0, -]`
///
/// # Safety
/// As for [`undo_entry`].
unsafe fn withdraw(l: *mut lua_State, index: c_int, own: c_int) {
    // SAFETY: raw access to tables that are checked; what is written has its key already, so the writes allocate nothing.
    unsafe {
        let top = ffi::lua_gettop(l);
        if ffi::lua_rawgeti(l, index, 5) == ffi::LUA_TTABLE && ffi::lua_rawgeti(l, own, 5) == ffi::LUA_TTABLE {
            let (back, sweeping) = (top + 1, top + 2);
            let mut first = sweep::HANDLE + 1;
            while ffi::lua_rawgeti(l, sweeping, first + sweep::BACK) == ffi::LUA_TTABLE {
                if ffi::lua_rawequal(l, -1, back) != 0 {
                    ffi::lua_pushboolean(l, 0);
                    ffi::lua_rawseti(l, sweeping, first);
                    if ffi::lua_rawgeti(l, sweeping, sweep::HANDLE) != ffi::LUA_TNIL {
                        ffi::lua_pushnil(l);
                        ffi::lua_rawseti(l, sweeping, sweep::HANDLE);
                    }
                }
                ffi::lua_settop(l, sweeping);
                first += sweep::TABLES;
            }
        }
        ffi::lua_settop(l, top);
    }
}

/// `core.look(owed, …)`: see [`changed::look`](crate::features::changed::look).
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn look(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this, with its running state.
    unsafe { with_view(l, crate::features::changed::look) }
}

/// `core.text(owed, …)`: see [`changed::text`](crate::features::changed::text).
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn text(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this, with its running state.
    unsafe { with_view(l, crate::features::changed::text) }
}

/// Undoes an entry. Where it `must` be, it is undone as far as there is memory for it; else all of
/// it or nothing. `[-0, +n, -]`
///
/// # Safety
/// As for [`undo_entry`].
unsafe fn attempt(l: *mut lua_State, index: c_int, own: c_int, must: bool) -> Result<(), Error> {
    // SAFETY: raw access to the entry; types are checked where something is taken out.
    unsafe {
        fault::point()?;
        let way_back = match ffi::lua_rawgeti(l, index, 5) {
            ffi::LUA_TTABLE => {
                let back = ffi::lua_gettop(l);
                Vm::open(l).and_then(|mut vm| {
                    let (entry, back, own) = (vm.argument(index)?, vm.argument(back)?, vm.argument(own)?);
                    let found = reload::plan_way_back(&mut vm, entry, back, own)?;
                    Ok(Some((vm, found)))
                })
            }
            _ => Ok(None),
        };
        if !must {
            let way_back = way_back?;
            if ffi::lua_rawgeti(l, index, 1) != ffi::LUA_TTABLE {
                return Ok(());
            }
            let (mut vm, words) = Vm::thaw(l, ffi::lua_gettop(l))?;
            return commit::undo_whole(&mut vm, &words, || match way_back {
                Some((mut vm, mut found)) => commit::sweep(&mut vm, &mut found),
                None => Ok(()),
            });
        }
        let mut left = 0;
        let mut begun = false;
        for transaction in [8, 1] {
            if ffi::lua_rawgeti(l, index, transaction) == ffi::LUA_TTABLE {
                let view = Vm::thaw(l, ffi::lua_gettop(l));
                match view.and_then(|(mut vm, words)| commit::undo_frozen(&mut vm, &words)) {
                    Ok(lost) => (left, begun) = (left + lost, true),
                    Err(error) if !begun => return Err(error),
                    Err(_) => left += 1, // no more "nothing was changed"
                }
            }
        }
        left += match way_back {
            Ok(None) => 0,
            Ok(Some((mut vm, mut found))) => usize::from(commit::sweep(&mut vm, &mut found).is_err()),
            Err(_) => 1,
        };
        reload::undone(left)
    }
}

/// Pushes `true`, or `false` and the message. `[-0, +1 or 2, -]`
unsafe fn done(l: *mut lua_State, outcome: Result<(), Error>) -> c_int {
    // SAFETY: room was made by the caller.
    unsafe {
        match outcome {
            Ok(()) => {
                ffi::lua_pushboolean(l, 1);
                1
            }
            Err(error) => {
                fail(l, &error);
                2
            }
        }
    }
}

/// What an entry point answers. To make and push it allocates nothing.
pub type Answers = SmallVec<[Answer; 8]>;

/// `core.sweep(owed, …)`: see [`api::sweep`].
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn sweep(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this, with its running state.
    unsafe { with_view(l, api::sweep) }
}

/// `core.stale(owed, …)`: see [`stale::stale`](crate::features::stale::stale).
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn stale(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this, with its running state.
    unsafe { with_view(l, |vm| Ok(smallvec![Answer::Held(crate::features::stale::stale(vm)?)])) }
}

/// `core.watch(owed, quiet)` → `owed, watch`: from now on what Lua creates is noted (or, `quiet`, only kept from whoever notes it
/// besides), until `core.unwatch`.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn watch(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this, with its running state.
    unsafe {
        with_view(l, |vm| {
            let quiet = vm.argument(2)?;
            let quiet = vm.truthy(quiet);
            Ok(smallvec![Answer::Held(watch::start(vm, quiet)?)])
        })
    }
}

/// `core.unwatch(load)`: ends the watch that is the first element of `load`, which then is false. Allocates nothing.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn unwatch(l: *mut lua_State) -> c_int {
    // SAFETY: raw access to a table that is checked; its first element stands, so the write allocates nothing.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_type(l, 1) == ffi::LUA_TTABLE && ffi::lua_rawgeti(l, 1, 1) == ffi::LUA_TUSERDATA {
            watch::stop(l, 2);
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, 1, 1);
        }
        0
    }
}

/// `core.track(owed, …)`: see [`track::track`](crate::features::track::track).
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn track(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this, with its running state.
    unsafe { with_view(l, |vm| Ok(smallvec![Answer::Held(crate::features::track::track(vm)?)])) }
}

/// `core.code_of(loader)`: the Lua function that a loader is; nil for a C function.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn code_of(l: *mut lua_State) -> c_int {
    // SAFETY: the running state, with room for the upvalue.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_type(l, -1) != ffi::LUA_TFUNCTION || ffi::lua_iscfunction(l, -1) != 0 {
            ffi::lua_pushnil(l);
        }
        1
    }
}

/// `core.is_whole(f)`: false for a function that the compiler works on: `debug.getupvalue` and the
/// like must not be called for it.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn is_whole(l: *mut lua_State) -> c_int {
    // SAFETY: the running state, with room for a copy, which the call pops; the function is checked.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
        let mut ar = super::debug::Record::new();
        ffi::lua_pushvalue(l, 1);
        ffi::lua_getinfo(l, c">u".as_ptr(), ar.as_mut_ptr());
        let upvalues = (&raw const (*ar.as_ptr()).nups).read();
        ffi::lua_pushboolean(l, vm::is_whole(l, 1, upvalues).into());
        1
    }
}

/// `core.call(f, …)`: calls it as a C function does, so that what it raises has no line of the façade's before it. It may yield.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn call(l: *mut lua_State) -> c_int {
    // SAFETY: the running state; nothing that needs dropping lives across the call.
    unsafe {
        ffi::luaL_checkany(l, 1);
        ffi::lua_callk(l, ffi::lua_gettop(l) - 1, ffi::LUA_MULTRET, 0, Some(called));
        ffi::lua_gettop(l)
    }
}

/// Goes on with [`call`] when what it calls has yielded.
unsafe extern "C-unwind" fn called(l: *mut lua_State, _: c_int, _: ffi::lua_KContext) -> c_int {
    // SAFETY: the results of the call are all that is in the frame.
    unsafe { ffi::lua_gettop(l) }
}

/// Runs `body` with a view of the state and the collector paused, and returns what is owed to it, then the answers; on an error `false` and
/// the message (nil when there was no memory even for that).
unsafe fn with_view(l: *mut lua_State, body: impl FnOnce(&mut Vm) -> Result<Answers, Error>) -> c_int {
    // SAFETY: the running state; the view lives within the call. Nothing here jumps: all that may raise is behind a door. The first
    // result's slot is filled last.
    unsafe {
        if ffi::lua_checkstack(l, ROOM * 2) == 0 {
            ffi::lua_settop(l, 1);
            ffi::lua_pushboolean(l, 0);
            return 2;
        }
        let owed = ffi::lua_tointegerx(l, 1, std::ptr::null_mut());
        let paused = Paused::new(l);
        let mut vm = Vm::without_threads(l);
        let outcome = caught("in the library", || {
            fault::point()?;
            vm.make_threads()?;
            body(&mut vm)
        });
        let top = ffi::lua_gettop(l);
        ffi::lua_pushinteger(l, owed);
        match outcome {
            Ok(answers) => answers.iter().for_each(|answer| answer.push(l, &vm)),
            Err(error) => fail(l, &error),
        }
        let given = vm.given;
        drop(vm);
        let owed = paused.end(owed, given);
        ffi::lua_pushinteger(l, owed);
        ffi::lua_replace(l, top + 1);
        ffi::lua_gettop(l) - top
    }
}

/// Pushes `false` and the error's message.
unsafe fn fail(l: *mut lua_State, error: &Error) {
    // SAFETY: room was made by the caller; the string is made behind the door, in a closure that borrows.
    unsafe {
        ffi::lua_pushboolean(l, 0);
        let top = ffi::lua_gettop(l);
        // What the collector lets out here must not take the place of what is to be said.
        let pushed = insist("while making a message", || {
            let message = error.to_bytes();
            let text = &*message;
            door::protect(l, 1, |l| {
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
            })
        });
        if pushed.is_err() {
            ffi::lua_settop(l, top);
            match error {
                // The façade has words for it.
                Error::PutBack { .. } | Error::NotUndone(_) | Error::HalfUndone(_) => ffi::lua_pushinteger(l, 1),
                _ => ffi::lua_pushnil(l),
            }
        }
    }
}
