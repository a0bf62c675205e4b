//! The one way into a Lua call that may raise: [`run`] and [`call`].
//!
//! A raise jumps over Rust frames without running destructors, so what a protected call runs owns
//! nothing: it borrows, which is checked when it compiles. A panic stops there as well.

use std::ffi::{c_int, c_void};
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};

use crate::support::error::{Error, Result};
use crate::support::fault;
use crate::support::mem::copied;

/// Room that every entry point makes sure of before it pushes: function, arguments, results.
const ROOM: c_int = 8;

/// Runs `body` in protected mode with an empty frame of `LUA_MINSTACK` slots, and leaves `results`
/// values of it on the stack of `l`. `[-0, +results, -]`
///
/// # Errors
/// [`Error::Memory`] when Lua is out of memory, [`Error::Lua`] with the message when it raised
/// anything else, [`Error::Panic`] when `body` panicked. The stack is then as before.
///
/// # Safety
/// `l` must be a live state that is running or can run; `body` must leave exactly `results` values
/// and keep no value that needs dropping across a call that may raise.
pub unsafe fn run<F: FnMut(*mut lua_State)>(
    l: *mut lua_State,
    results: c_int,
    body: F,
) -> Result<()> {
    const {
        assert!(
            !needs_drop::<F>(),
            "what a protected call runs must own nothing"
        )
    };

    struct Ticket<F> {
        body: F,
        panicked: bool,
    }

    unsafe extern "C-unwind" fn enter<F: FnMut(*mut lua_State)>(l: *mut lua_State) -> c_int {
        // SAFETY: the only argument is the ticket that `run` keeps alive for the length of the
        // call.
        let ticket = unsafe { &mut *ffi::lua_touserdata(l, 1).cast::<Ticket<F>>() };
        // SAFETY: within this function's own frame.
        unsafe { ffi::lua_settop(l, 0) };
        #[cfg(feature = "vendored")]
        if fault::collects() {
            // SAFETY: a full collection; what a warning raises ends this call like any other error.
            unsafe { ffi::lua_gc(l, ffi::LUA_GCCOLLECT) };
        }
        // A Lua error jumps past this frame (Lua is built as C); only Rust's own panics are caught
        // here.
        if catch_unwind(AssertUnwindSafe(|| (ticket.body)(l))).is_err() {
            ticket.panicked = true;
            // SAFETY: within this function's own frame; filling with nil up to any number of
            // results.
            unsafe { ffi::lua_settop(l, 0) };
        }
        // SAFETY: the frame is this function's own.
        unsafe { ffi::lua_gettop(l) }
    }

    fault::point()?;
    let mut ticket = Ticket {
        body,
        panicked: false,
    };
    // SAFETY: room is checked before anything is pushed; pushing a light C function and a light
    // userdata cannot raise.
    let status = unsafe {
        if ffi::lua_checkstack(l, ROOM + results) == 0 {
            return Err(Error::Memory);
        }
        ffi::lua_pushcfunction(l, enter::<F>);
        ffi::lua_pushlightuserdata(l, (&raw mut ticket).cast::<c_void>());
        ffi::lua_pcall(l, 1, results, 0)
    };
    if status != ffi::LUA_OK {
        // SAFETY: a failed call leaves exactly one value.
        return Err(unsafe { take_error(l, status) });
    }
    if ticket.panicked {
        // SAFETY: the call left `results` values.
        unsafe { ffi::lua_settop(l, -results - 1) };
        return Err(Error::Panic("a protected call panicked".into()));
    }
    Ok(())
}

/// Calls the function below `args` arguments, all of them on the stack of `l`, with a traceback
/// added to what it raises. `[-(args+1), +results, -]`
///
/// # Errors
/// [`Error::Memory`], or [`Error::Lua`] with message and traceback. The function and its arguments
/// are gone in any case.
///
/// # Safety
/// `l` must be the running state, with the function and `args` arguments on its stack.
pub unsafe fn call(l: *mut lua_State, args: c_int, results: c_int) -> Result<()> {
    // SAFETY: the handler goes below the function, into room that is checked first.
    unsafe {
        if let Err(error) = fault::point() {
            ffi::lua_settop(l, -args - 2);
            return Err(error);
        }
        if ffi::lua_checkstack(l, ROOM + results) == 0 {
            ffi::lua_settop(l, -args - 2);
            return Err(Error::Memory);
        }
        let handler = ffi::lua_gettop(l) - args;
        ffi::lua_pushcfunction(l, traceback);
        ffi::lua_insert(l, handler);
        let status = ffi::lua_pcall(l, args, results, handler);
        let outcome = if status == ffi::LUA_OK {
            Ok(())
        } else {
            Err(take_error(l, status))
        };
        ffi::lua_remove(l, handler);
        outcome
    }
}

/// Is this the address of the message handler of [`call`]?
pub fn is_handler(function: usize) -> bool {
    traceback as ffi::lua_CFunction as usize == function
}

/// The message handler of [`call`]: whatever the error object is, a string with a traceback comes
/// out.
unsafe extern "C-unwind" fn traceback(l: *mut lua_State) -> c_int {
    // SAFETY: a message handler has LUA_MINSTACK slots and one argument; no Rust value lives across
    // the calls.
    unsafe {
        let text = if ffi::lua_type(l, 1) == ffi::LUA_TSTRING {
            ffi::lua_tostring(l, 1)
        } else if ffi::luaL_callmeta(l, 1, c"__tostring".as_ptr()) != 0
            && ffi::lua_type(l, -1) == ffi::LUA_TSTRING
        {
            ffi::lua_tostring(l, -1)
        } else if ffi::lua_type(l, 1) == ffi::LUA_TNUMBER {
            ffi::lua_pushvalue(l, 1);
            ffi::lua_tostring(l, -1)
        } else {
            ffi::lua_pushfstring(
                l,
                c"(error object is a %s value)".as_ptr(),
                ffi::luaL_typename(l, 1),
            )
        };
        ffi::luaL_traceback(l, l, text, 1);
    }
    1
}

/// Pops the error value of a failed call. `[-1, +0, -]`
///
/// # Safety
/// The error value must be on top of the stack of `l`.
unsafe fn take_error(l: *mut lua_State, status: c_int) -> Error {
    // SAFETY: a string is read without conversion, so nothing can raise; the bytes are copied
    // before the pop.
    unsafe {
        let text = if ffi::lua_type(l, -1) == ffi::LUA_TSTRING {
            let mut len = 0;
            let start = ffi::lua_tolstring(l, -1, &raw mut len);
            copied(std::slice::from_raw_parts(start.cast::<u8>(), len))
        } else {
            let kind = std::ffi::CStr::from_ptr(ffi::lua_typename(l, ffi::lua_type(l, -1)));
            Ok(format!("(error object is a {} value)", kind.to_string_lossy()).into_bytes())
        };
        ffi::lua_settop(l, -2);
        match text {
            Ok(text) if status != ffi::LUA_ERRMEM => Error::Lua(text),
            _ => Error::Memory,
        }
    }
}
