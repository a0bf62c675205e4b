//! What the façade calls: C functions around the safe stages. Whatever happens inside, they return; they never raise.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};

use super::collector::Paused;
use super::door;
use super::vm::{Ref, Vm};
use crate::api;
use crate::error::Error;

/// Values that an entry point returns at most.
const RESULTS: c_int = 40;

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

/// `core.reload(owed, …)`: see [`api::reload`]. The first result, before those, is what is owed to the collector.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn reload(l: *mut lua_State) -> c_int {
    const RUNNING: c_int = 7;
    // SAFETY: the running state; the view lives within the call. The flag is reset behind the collector's step, whose finalizers
    // may ask for a reload; its key stands, so nothing is allocated.
    unsafe {
        let results = answer(l, |l| {
            let mut vm = Vm::open(l)?;
            api::reload(&mut vm).map(|answers| (vm, answers))
        });
        if ffi::lua_type(l, RUNNING) == ffi::LUA_TTABLE {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, RUNNING, 1);
        }
        results
    }
}

/// `core.close(guard)` → `true`, or `false, message`: ends a guard `{ open, transaction, record, generation, source }`, and undoes its
/// transaction, if it has one; the record then gets its generation and source back.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn close(l: *mut lua_State) -> c_int {
    // SAFETY: raw access to tables that are checked or the façade's own; all keys stand, so the writes allocate nothing, and the
    // two strings are short ones that exist, as the record has them for keys.
    unsafe {
        ffi::lua_settop(l, 1);
        if ffi::lua_checkstack(l, RESULTS) == 0 || ffi::lua_type(l, 1) != ffi::LUA_TTABLE {
            return 0;
        }
        ffi::lua_pushboolean(l, 0);
        ffi::lua_rawseti(l, 1, 1);
        if ffi::lua_rawgeti(l, 1, 2) != ffi::LUA_TTABLE {
            ffi::lua_pushboolean(l, 1);
            return 1;
        }
        let paused = Paused::new(l);
        let mut outcome = Err(Error::Memory);
        for _ in 0..3 {
            // Memory that is short now may be there at the next try: each one collects garbage.
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                let (mut vm, words) = Vm::thaw(l, 2)?;
                crate::reload::undo(&mut vm, &words)
            }));
            ffi::lua_settop(l, 2);
            outcome = attempt.unwrap_or_else(|_| Err(Error::Panic("while undoing".into())));
            if outcome.is_ok() {
                break;
            }
        }
        if !matches!(outcome, Err(Error::Memory)) {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, 1, 2);
        }
        ffi::lua_settop(l, 1);
        ffi::lua_rawgeti(l, 1, 3);
        for (slot, name) in [(4, c"generation"), (5, c"source")] {
            ffi::lua_pushstring(l, name.as_ptr());
            ffi::lua_rawgeti(l, 1, slot);
            ffi::lua_rawset(l, 2);
        }
        ffi::lua_settop(l, 1);
        match &outcome {
            Ok(()) => ffi::lua_pushboolean(l, 1),
            Err(error) => fail(l, error),
        }
        drop(outcome);
        drop(paused);
        ffi::lua_gettop(l) - 1
    }
}

/// `core.look(owed, …)`: see [`changed::look`](crate::changed::look).
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn look(l: *mut lua_State) -> c_int {
    // SAFETY: the running state; the view lives within the call.
    unsafe {
        answer(l, |l| {
            let mut vm = Vm::open(l)?;
            crate::changed::look(&mut vm).map(|answers| (vm, answers))
        })
    }
}

/// Runs `body` with the collector paused and returns what is owed to it, then the answers; on an error `false` and the message
/// (nil when there was no memory even for that).
unsafe fn answer(l: *mut lua_State, body: impl FnOnce(*mut lua_State) -> Result<(Vm, Vec<Answer>), Error>) -> c_int {
    // SAFETY: nothing here jumps: all that may raise is behind a door, and a step of the collector lets no error out of a
    // finalizer. The first result's slot is filled last.
    unsafe {
        if ffi::lua_checkstack(l, RESULTS * 2) == 0 {
            ffi::lua_settop(l, 1);
            ffi::lua_pushboolean(l, 0);
            return 2;
        }
        let owed = ffi::lua_tointegerx(l, 1, std::ptr::null_mut());
        let paused = Paused::new(l);
        let outcome = catch_unwind(AssertUnwindSafe(|| body(l)));
        let top = ffi::lua_gettop(l);
        ffi::lua_pushinteger(l, owed);
        match outcome {
            Ok(Ok((vm, answers))) => {
                for answer in answers.iter().take(RESULTS as usize) {
                    match *answer {
                        Answer::Held(held) => vm.push_to_caller(held),
                        Answer::Count(count) => ffi::lua_pushinteger(l, count as i64),
                        Answer::Number(number) => ffi::lua_pushnumber(l, number),
                        Answer::Flag(flag) => ffi::lua_pushboolean(l, flag.into()),
                    }
                }
            }
            Ok(Err(error)) => fail(l, &error),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().unwrap_or(&"a panic").to_string();
                fail(l, &Error::Panic(text));
            }
        }
        let owed = paused.end(owed);
        ffi::lua_pushinteger(l, owed);
        ffi::lua_replace(l, top + 1);
        ffi::lua_gettop(l) - top
    }
}

/// Pushes `false` and the error's message.
unsafe fn fail(l: *mut lua_State, error: &Error) {
    let message = error.to_bytes();
    let text = message.as_slice();
    // SAFETY: room was made by the caller; the string is made behind the door, in a closure that borrows.
    unsafe {
        ffi::lua_pushboolean(l, 0);
        let pushed = door::protect(l, 1, |l| {
            ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        });
        if pushed.is_err() {
            match error {
                Error::PutBack { .. } => ffi::lua_pushinteger(l, 1), // the façade has words for it
                _ => ffi::lua_pushnil(l),
            }
        }
    }
}
