//! A value of Rust's that lives in the Lua state, in a full userdata that frees it, at the latest
//! when the state closes.

use std::any::TypeId;
use std::ffi::c_int;
use std::mem::MaybeUninit;

use mlua::ffi::{self, lua_State};

use super::protected;
use super::vm::{Ref, Vm};
use crate::support::error::{Error, Result};

/// What the userdata's memory holds.
#[repr(C)]
struct OwnedSlot<T> {
    of: TypeId,
    is: Is,
    value: MaybeUninit<T>,
}

/// What a slot has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Empty,
    Owned,
    /// Somebody has the value at the moment: nobody else gets it, and it is not dropped.
    Lent,
}

/// Moves a value into the Lua state, and keeps the userdata that owns it.
///
/// # Errors
/// [`Error::Memory`]; the value is then dropped.
pub fn own<T: 'static>(vm: &mut Vm, value: T) -> Result<Ref> {
    const {
        assert!(
            align_of::<OwnedSlot<T>>() <= align_of::<u64>(),
            "Lua aligns userdata for its own numbers"
        )
    };
    // SAFETY: the userdata is made in a protected call, its slot marked empty before anything else
    // can raise. The value moves in when nothing can fail any more.
    unsafe {
        protected::run(vm.caller(), 1, |l| {
            let slot =
                ffi::lua_newuserdatauv(l, size_of::<OwnedSlot<T>>(), 0).cast::<OwnedSlot<T>>();
            (&raw mut (*slot).of).write(TypeId::of::<T>());
            (&raw mut (*slot).is).write(Is::Empty);
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
        let slot = ffi::lua_touserdata(thread, index).cast::<OwnedSlot<T>>();
        (&raw mut (*slot).value).write(MaybeUninit::new(value));
        (*slot).is = Is::Owned;
    }
    Ok(owner)
}

/// Lends the value that a userdata owns to `f`, and to nobody else meanwhile.
///
/// # Errors
/// [`Error::Panic`] when the userdata owns no such value, or it is lent.
pub fn with<T: 'static, R>(
    vm: &mut Vm,
    owner: Ref,
    f: impl FnOnce(&mut Vm, &mut T) -> R,
) -> Result<R> {
    let (thread, index) = vm.at(owner);
    // SAFETY: a valid index of a holder. The owner is held as long as the view is, and so longer
    // than the loan.
    match unsafe { lend(thread, index) } {
        Some(mut loan) => Ok(f(vm, loan.value())),
        None => Err(Error::Panic(
            "not a value of the library's, or in use".into(),
        )),
    }
}

/// A value on loan, until this is dropped.
pub struct Loan<T>(*mut OwnedSlot<T>);

impl<T> Loan<T> {
    /// The value.
    pub fn value(&mut self) -> &mut T {
        // SAFETY: the slot is marked as lent, so there is one loan, which is borrowed; the value is
        // there.
        unsafe { (*self.0).value.assume_init_mut() }
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        // SAFETY: the userdata lives as long as the loan.
        unsafe { (*self.0).is = Is::Owned };
    }
}

/// Lends the value that the userdata at an index owns; none where there is no such value, or it is
/// lent. `[-0, +0, -]`
///
/// # Safety
/// A valid index of a live thread. The userdata must live as long as the loan.
pub unsafe fn lend<T: 'static>(l: *mut lua_State, index: c_int) -> Option<Loan<T>> {
    // SAFETY: type and size are checked before anything is believed.
    unsafe {
        let slot = ffi::lua_touserdata(l, index).cast::<OwnedSlot<T>>();
        let fits = ffi::lua_type(l, index) == ffi::LUA_TUSERDATA
            && ffi::lua_rawlen(l, index) as usize == size_of::<OwnedSlot<T>>()
            && (*slot).of == TypeId::of::<T>()
            && (*slot).is == Is::Owned;
        fits.then(|| {
            (*slot).is = Is::Lent;
            Loan(slot)
        })
    }
}

/// The `__gc` of such a userdata. A program can get at it, and call it at any time and with any
/// value.
unsafe extern "C-unwind" fn free<T: 'static>(l: *mut lua_State) -> c_int {
    // SAFETY: the frame is this function's own, so the index is valid; the userdata is its
    // argument, which outlives the loan.
    unsafe {
        if let Some(loan) = lend::<T>(l, 1) {
            let slot = loan.0;
            std::mem::forget(loan);
            (*slot).is = Is::Empty;
            (*slot).value.assume_init_drop();
        }
    }
    0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::{own, with};
    use crate::lua::testing::TestState;

    /// What is lent is lent to nobody else: neither a second time nor, while it is, to a finalizer.
    #[test]
    fn a_value_is_lent_once() {
        let state = TestState::new();
        state.view(|vm| {
            let owner = own(vm, String::from("one")).expect("memory");
            let inner = with(vm, owner, |vm, text: &mut String| {
                text.push_str(" and one");
                let inner = with(vm, owner, |_, text: &mut String| text.clear());
                (inner.is_err(), text.clone())
            });
            assert_eq!(inner.expect("lent"), (true, "one and one".into()));
            let again = with(vm, owner, |_, text: &mut String| text.len());
            assert_eq!(again.expect("lent"), 11);
            assert!(
                with(vm, owner, |_, _: &mut Vec<u8>| ()).is_err(),
                "of another type"
            );
        });
    }

    /// A panic ends the loan as well.
    #[test]
    fn a_panic_gives_the_value_back() {
        let state = TestState::new();
        state.view(|vm| {
            let owner = own(vm, 1_u32).expect("memory");
            let caught = crate::support::fault::caught("in a test", || {
                with(vm, owner, |_, _: &mut u32| {
                    std::panic::resume_unwind(Box::new(()))
                })
            });
            assert!(caught.is_err());
            assert_eq!(
                with(vm, owner, |_, number: &mut u32| *number).expect("lent"),
                1
            );
        });
    }
}
