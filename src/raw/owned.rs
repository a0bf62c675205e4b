//! A value of Rust's that lives in the Lua state, in a full userdata that frees it, at the latest when the state closes.

use std::any::TypeId;
use std::ffi::c_int;
use std::mem::MaybeUninit;

use mlua::ffi::{self, lua_State};

use super::door;
use super::vm::{Ref, Vm};
use crate::error::{Error, Result};

/// What the userdata's memory holds.
#[repr(C)]
struct Slot<T> {
    of: TypeId,
    live: bool,
    value: MaybeUninit<T>,
}

/// Moves a value into the Lua state, and keeps the userdata that owns it.
///
/// # Errors
/// [`Error::Memory`]; the value is then dropped.
pub fn own<T: 'static>(vm: &mut Vm, value: T) -> Result<Ref> {
    const {
        assert!(
            align_of::<Slot<T>>() <= align_of::<u64>(),
            "Lua aligns userdata for its own numbers"
        )
    };
    // SAFETY: the userdata is made behind the door, its slot marked empty before anything else can raise. The value moves in when
    // nothing can fail any more.
    unsafe {
        door::protect(vm.caller(), 1, |l| {
            let slot = ffi::lua_newuserdatauv(l, size_of::<Slot<T>>(), 0).cast::<Slot<T>>();
            (&raw mut (*slot).of).write(TypeId::of::<T>());
            (&raw mut (*slot).live).write(false);
            ffi::lua_createtable(l, 0, 1);
            ffi::lua_pushcfunction(l, free::<T>);
            ffi::lua_setfield(l, -2, c"__gc".as_ptr());
            ffi::lua_setmetatable(l, -2);
        })?;
    }
    let owner = vm.keep_from_caller()?;
    let (thread, index) = vm.at(owner);
    // SAFETY: the userdata that was just made.
    unsafe {
        let slot = ffi::lua_touserdata(thread, index).cast::<Slot<T>>();
        (*slot).value.write(value);
        (*slot).live = true;
    }
    Ok(owner)
}

/// Lends the value that a userdata owns. `f` must not run any code of the program, which could ask for it again.
///
/// # Errors
/// [`Error::Panic`] when the userdata owns no such value.
pub fn with<T: 'static, R>(vm: &mut Vm, owner: Ref, f: impl FnOnce(&mut Vm, &mut T) -> R) -> Result<R> {
    let (thread, index) = vm.at(owner);
    // SAFETY: the owner is held, so the value stays where it is.
    match unsafe { at(thread, index) } {
        Some(value) => Ok(f(vm, value)),
        None => Err(Error::Panic("not a value of the library's".into())),
    }
}

/// The value that the userdata at an index owns; none where there is no such value. `[-0, +0, -]`
///
/// # Safety
/// A valid index of a live thread. The value stays as long as the userdata does; nobody else may have it meanwhile.
pub unsafe fn at<'a, T: 'static>(l: *mut lua_State, index: c_int) -> Option<&'a mut T> {
    // SAFETY: type and size are checked before anything is believed.
    unsafe {
        let slot = ffi::lua_touserdata(l, index).cast::<Slot<T>>();
        let fits = ffi::lua_type(l, index) == ffi::LUA_TUSERDATA
            && ffi::lua_rawlen(l, index) as usize == size_of::<Slot<T>>()
            && (*slot).of == TypeId::of::<T>()
            && (*slot).live;
        fits.then(|| (*slot).value.assume_init_mut())
    }
}

unsafe extern "C-unwind" fn free<T>(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with the userdata alone, once; should a program call it again, the slot is empty.
    unsafe {
        let slot = ffi::lua_touserdata(l, 1).cast::<Slot<T>>();
        if !slot.is_null()
            && ffi::lua_rawlen(l, 1) as usize == size_of::<Slot<T>>()
            && std::mem::take(&mut (*slot).live)
        {
            (*slot).value.assume_init_drop();
        }
    }
    0
}
