//! Runs A2's chunk: notes what it creates, and tells its own objects from those of dependencies that it newly requires.
//!
//! For the length of the run `package.searchers` can be a list of stand-ins ([`StandIns`]), each of which asks the searcher
//! it stands for and wraps the loader that it returns: what such a loader creates belongs to the dependency, not to A2.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use mlua::ffi::{self, lua_State};

use super::door;
use super::tracker::{Fresh, Tracker};
use super::vm::{Ref, Vm};
use crate::error::Result;
use crate::fault::{caught, insist};

/// The stand-ins for a list of searchers.
#[derive(Clone, Copy)]
pub struct StandIns {
    /// The list that takes the place of `package.searchers`.
    pub list: Ref,
    /// A table; while the chunk runs its first element points to the `Cell<u32>` that counts the dependencies being loaded.
    /// (A stand-in may be kept by the program for longer than the counter lives.)
    depth: Ref,
}

impl StandIns {
    /// Makes a stand-in for each of the first `count` values of the table `searchers`.
    pub fn new(vm: &mut Vm, searchers: Ref, count: i64) -> Result<StandIns> {
        let (holder, index) = vm.at(searchers);
        // SAFETY: behind the door; the holder has room for a value in passing; raw access to a table.
        unsafe {
            door::protect(vm.caller(), 2, |l| {
                ffi::lua_pushvalue(holder, index);
                ffi::lua_xmove(holder, l, 1);
                ffi::lua_createtable(l, 1, 0);
                ffi::lua_createtable(l, count as c_int, 0);
                for i in 1..=count {
                    ffi::lua_rawgeti(l, 1, i);
                    ffi::lua_pushvalue(l, 2);
                    ffi::lua_pushcclosure(l, searcher, 2);
                    ffi::lua_rawseti(l, 3, i);
                }
                ffi::lua_remove(l, 1);
            })?;
        }
        let list = vm.keep_from_caller()?;
        let depth = vm.keep_from_caller()?;
        Ok(StandIns { list, depth })
    }

    /// Lets the stand-ins count in `counter`, or forget it.
    fn count_in(self, vm: &mut Vm, counter: Option<&Cell<u32>>) -> Result<()> {
        let (holder, index) = vm.at(self.depth);
        let pointer = counter.map(|counter| std::ptr::from_ref(counter).cast_mut().cast::<c_void>());
        // SAFETY: the table's array part has room for one element, so the write allocates nothing; behind the door all the same.
        unsafe {
            door::protect(vm.caller(), 0, |l| {
                ffi::lua_pushvalue(holder, index);
                ffi::lua_xmove(holder, l, 1);
                match pointer {
                    Some(pointer) => ffi::lua_pushlightuserdata(l, pointer),
                    None => ffi::lua_pushnil(l),
                }
                ffi::lua_rawseti(l, 1, 1);
                ffi::lua_settop(l, 0);
            })
        }
    }
}

/// Upvalues: the searcher that this one stands for, the table with the depth counter.
unsafe extern "C-unwind" fn searcher(l: *mut lua_State) -> c_int {
    // SAFETY: plain stack work; nothing that needs dropping lives across the calls.
    unsafe {
        let args = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, args, ffi::LUA_MULTRET);
        if ffi::lua_type(l, 1) == ffi::LUA_TFUNCTION {
            ffi::luaL_checkstack(l, 4, std::ptr::null());
            ffi::lua_pushvalue(l, 1);
            ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
            ffi::lua_pushcclosure(l, loader, 2);
            ffi::lua_replace(l, 1);
        }
        ffi::lua_gettop(l)
    }
}

/// Upvalues: the loader that this one stands for, the table with the depth counter.
unsafe extern "C-unwind" fn loader(l: *mut lua_State) -> c_int {
    // SAFETY: the counter is there as long as the table points to it, which is as long as the chunk runs, and the loader
    // ends within that time, as it cannot yield; an error is passed on once the counter is set back.
    unsafe {
        let args = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        ffi::lua_rawgeti(l, ffi::lua_upvalueindex(2), 1);
        let depth = ffi::lua_touserdata(l, -1).cast::<Cell<u32>>().as_ref();
        ffi::lua_settop(l, args);
        ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        if let Some(depth) = depth {
            depth.set(depth.get() + 1);
        }
        let status = ffi::lua_pcall(l, args, ffi::LUA_MULTRET, 0);
        if let Some(depth) = depth {
            depth.set(depth.get() - 1);
        }
        if status == ffi::LUA_OK {
            ffi::lua_gettop(l)
        } else {
            ffi::lua_error(l)
        }
    }
}

/// Is the value at an index a stand-in's loader? Its first upvalue is the loader that it stands for.
///
/// # Safety
/// A valid index of a live state.
pub unsafe fn is_stand_in(l: *mut lua_State, index: c_int) -> bool {
    // SAFETY: as promised.
    let function = unsafe { ffi::lua_tocfunction(l, index) };
    function.is_some_and(|function| std::ptr::fn_addr_eq(function, loader as ffi::lua_CFunction))
}

/// Calls `loader(name, data)` and keeps its first result, and says what was created meanwhile, also when it failed. A panic is an error
/// like any other.
///
/// # Errors
/// As [`Vm::call`].
///
/// `expected`: about how many objects it will create.
pub fn run(
    vm: &mut Vm,
    loader: Ref,
    name: Ref,
    data: Ref,
    stand_ins: StandIns,
    expected: usize,
) -> (Result<Ref>, Fresh) {
    let fresh = match Fresh::expecting(expected) {
        Ok(fresh) => fresh,
        Err(error) => return (Err(error), Fresh::default()),
    };
    let depth = Box::new(Cell::new(0));
    let counted = caught("before the chunk", || stand_ins.count_in(vm, Some(&depth)));
    let (outcome, fresh) = match counted {
        // SAFETY: state and counter outlive the tracker, which is stopped in any case, a panic included.
        Ok(()) => match unsafe { Tracker::start(vm, Some(fresh), &raw const *depth) } {
            Ok(tracker) => {
                let outcome = caught("while the chunk ran", || vm.call(loader, &[name, data], 1));
                (outcome, tracker.stop())
            }
            Err(error) => (Err(error), Fresh::default()),
        },
        Err(error) => (Err(error), Fresh::default()),
    };
    match insist("after the chunk", || stand_ins.count_in(vm, None)) {
        Ok(()) => (outcome, fresh),
        Err(error) => {
            Box::leak(depth); // the stand-ins still point to it
            (Err(error), fresh)
        }
    }
}
