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

/// `core.reload(state, name, options, record)`: see [`api::reload`].
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn reload(l: *mut lua_State) -> c_int {
    // SAFETY: the running state; the view lives within the call.
    unsafe {
        answer(l, |l| {
            let mut vm = Vm::open(l)?;
            api::reload(&mut vm).map(|answers| (vm, answers))
        })
    }
}

/// `core.undo(transaction)`: see [`api::undo`].
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn undo(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        answer(l, |l| {
            let (mut vm, words) = Vm::thaw(l, 1)?;
            api::undo(&mut vm, &words).map(|answers| (vm, answers))
        })
    }
}

/// Runs `body` with the collector paused and pushes its answers; on an error `false` and the message (nil when there was no
/// memory even for that).
unsafe fn answer(
    l: *mut lua_State,
    body: impl FnOnce(*mut lua_State) -> Result<(Vm, Vec<Answer>), Error>,
) -> c_int {
    // SAFETY: nothing here jumps: all that may raise is behind a door, and the guard's step runs no error out of a finalizer.
    unsafe {
        if ffi::lua_checkstack(l, RESULTS * 2) == 0 {
            ffi::lua_settop(l, 0);
            ffi::lua_pushboolean(l, 0);
            return 1;
        }
        let paused = Paused::new(l);
        let outcome = catch_unwind(AssertUnwindSafe(|| body(l)));
        let top = ffi::lua_gettop(l);
        let error = match outcome {
            Ok(Ok((vm, answers))) => {
                for answer in answers.iter().take(RESULTS as usize) {
                    match *answer {
                        Answer::Held(held) => vm.push_to_caller(held),
                        Answer::Count(count) => ffi::lua_pushinteger(l, count as i64),
                        Answer::Number(number) => ffi::lua_pushnumber(l, number),
                        Answer::Flag(flag) => ffi::lua_pushboolean(l, flag.into()),
                    }
                }
                drop((vm, answers));
                drop(paused);
                return ffi::lua_gettop(l) - top;
            }
            Ok(Err(error)) => error,
            Err(panic) => Error::Panic(panic.downcast_ref::<&str>().unwrap_or(&"a panic").to_string()),
        };
        ffi::lua_settop(l, top);
        ffi::lua_pushboolean(l, 0);
        let message = error.to_bytes();
        drop(error);
        let text = message.as_slice();
        let pushed = door::protect(l, 1, |l| {
            ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
        });
        drop(message);
        drop(paused);
        1 + c_int::from(pushed.is_ok())
    }
}
