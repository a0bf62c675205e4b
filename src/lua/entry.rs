//! How the façade gets into the library: C functions around safe ones. Whatever happens inside,
//! they return; they never raise.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_State};
use smallvec::SmallVec;

use super::collector::Paused;
use super::layout::{LayoutElement as _, Running};
use super::protected;
use super::vm::{self, Ref, Vm};
use super::write::Permit;
use crate::support::error::{Error, Result};
use crate::support::fault::{self, caught, insist};

/// Room that an entry point makes for what it pushes.
pub(super) const ROOM: c_int = 40;

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

/// Pushes `true`, or `false` and the message. `[-0, +1 or 2, -]`
pub(super) unsafe fn done(l: *mut lua_State, outcome: Result<()>) -> c_int {
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

/// The C functions that the façade gets, each with its name in `core`.
pub type Entries = &'static [(&'static CStr, ffi::lua_CFunction)];

/// A function that the façade calls with what is owed to the collector, and with arguments. It is
/// written in safe Rust; [`enter`] makes a C function of it.
pub trait Entry {
    /// The argument with a list [`Running`] whose module is false again when this has ended: behind
    /// the collector's step, whose finalizers may ask for the same. None for 0.
    const RUNNING: c_int = 0;

    /// Does it.
    ///
    /// # Errors
    /// Whatever there is to tell: the façade gets `false` and the message.
    fn run(vm: &mut Vm, permit: Permit) -> Result<Answers>;
}

/// `core.<name>(owed, …)` → `owed, …` or `owed, false, message`: an entry as a C function.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn enter<E: Entry>(l: *mut lua_State) -> c_int {
    // SAFETY: the running state; the view lives within the call. The element stands, so the write
    // allocates nothing.
    unsafe {
        let results = with_view(l, |vm| E::run(vm, Permit::new()));
        if E::RUNNING != 0 && ffi::lua_type(l, E::RUNNING) == ffi::LUA_TTABLE {
            ffi::lua_pushboolean(l, 0);
            ffi::lua_rawseti(l, E::RUNNING, Running::Module.at());
        }
        results
    }
}

impl Vm {
    /// Fills in elements of a list of the façade's. Allocates nothing and cannot fail: an element
    /// that is nil stays nil.
    pub fn fill_in(&self, list: Ref, answers: impl Iterator<Item = (i64, Answer)>) {
        let l = self.asking();
        // SAFETY: an entry point has made room for the table and two values; a key that stands
        // takes another value without any allocation.
        unsafe {
            let top = ffi::lua_gettop(l);
            self.push_to_caller(list);
            if ffi::lua_type(l, -1) == ffi::LUA_TTABLE {
                for (i, answer) in answers {
                    if ffi::lua_rawgeti(l, top + 1, i) != ffi::LUA_TNIL {
                        answer.push(l, self);
                        ffi::lua_rawseti(l, top + 1, i);
                    }
                    ffi::lua_settop(l, top + 1);
                }
            }
            ffi::lua_settop(l, top);
        }
    }
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
    // SAFETY: the running state, with room for a copy, which the call pops; the function is
    // checked.
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
        let mut ar = super::debug::DebugRecord::new();
        ffi::lua_pushvalue(l, 1);
        ffi::lua_getinfo(l, c">u".as_ptr(), ar.as_mut_ptr());
        let upvalues = (&raw const (*ar.as_ptr()).nups).read();
        ffi::lua_pushboolean(l, vm::is_whole(l, 1, upvalues).into());
        1
    }
}

/// `core.call(f, …)`: calls it as a C function does, so that what it raises has no line of the
/// façade's before it. It may yield.
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

/// `core.attempt(handler, f, …)` → `yielded, ok, result`: as `xpcall`, but for one result, and it
/// says whether `f` has yielded on the way.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn attempt(l: *mut lua_State) -> c_int {
    // SAFETY: the running state; nothing that needs dropping lives across the call.
    unsafe {
        ffi::luaL_checkany(l, 2);
        let arguments = ffi::lua_gettop(l) - 2;
        let status = ffi::lua_pcallk(l, arguments, 1, 1, 0, Some(attempted));
        attempt_ended(l, status, Ended::AtOnce)
    }
}

/// `core.at_once(handler, f, …)`: as [`attempt`], but `f` cannot yield.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn at_once(l: *mut lua_State) -> c_int {
    // SAFETY: as for `attempt`.
    unsafe {
        ffi::luaL_checkany(l, 2);
        let arguments = ffi::lua_gettop(l) - 2;
        let status = ffi::lua_pcall(l, arguments, 1, 1);
        attempt_ended(l, status, Ended::AtOnce)
    }
}

/// Goes on with [`attempt`] when what it calls has yielded.
unsafe extern "C-unwind" fn attempted(
    l: *mut lua_State,
    status: c_int,
    _: ffi::lua_KContext,
) -> c_int {
    // SAFETY: as for `attempt`.
    unsafe { attempt_ended(l, status, Ended::AfterYield) }
}

/// How a call in protected mode has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    AtOnce,
    AfterYield,
}

/// Answers for [`attempt`]: the frame has the handler and the result.
unsafe fn attempt_ended(l: *mut lua_State, status: c_int, ended: Ended) -> c_int {
    // SAFETY: two values are pushed where two arguments were.
    unsafe {
        let ok = status == ffi::LUA_OK || status == ffi::LUA_YIELD;
        ffi::lua_pushboolean(l, (ended == Ended::AfterYield).into());
        ffi::lua_replace(l, 1);
        ffi::lua_pushboolean(l, ok.into());
        ffi::lua_insert(l, 2);
        3
    }
}

/// Runs `body` with a view of the state and the collector paused, and returns what is owed to it,
/// then the answers; on an error `false` and the message (nil when there was no memory even for
/// that).
unsafe fn with_view(l: *mut lua_State, body: impl FnOnce(&mut Vm) -> Result<Answers>) -> c_int {
    // SAFETY: the running state; the view lives within the call. Nothing here jumps: all that may
    // raise is in a protected call. The first result's slot is filled last.
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
    // SAFETY: room was made by the caller; the string is made in a protected call, in a closure
    // that borrows.
    unsafe {
        ffi::lua_pushboolean(l, 0);
        let top = ffi::lua_gettop(l);
        // What the collector lets out here must not take the place of what is to be said.
        let pushed = insist("while making a message", || {
            let message = error.to_bytes();
            let text = &*message;
            protected::run(l, 1, |l| {
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
            })
        });
        if pushed.is_err() {
            ffi::lua_settop(l, top);
            match error {
                // The façade has words for it.
                Error::PutBack { .. } | Error::NotUndone(_) | Error::HalfUndone(_) => {
                    ffi::lua_pushinteger(l, 1)
                }
                _ => ffi::lua_pushnil(l),
            }
        }
    }
}
