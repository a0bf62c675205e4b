//! In place of `late.rs`, where the Lua is built in, or the system is another one: nothing is
//! asked.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null;

use mlua::ffi::{self, lua_State};

use super::host::{SeenHost, see};

/// Defines a function that `require` calls: a call of `$enter`, which is not told its caller.
macro_rules! luaopen {
    ($(#[$about:meta])* $name:ident, $enter:path) => {
        $(#[$about])*
        ///
        /// # Errors
        /// Raises when the running Lua is not one that the library was built for, or out of memory.
        ///
        /// # Safety
        /// To be called by Lua, as any `lua_CFunction`.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(
            l: *mut mlua::ffi::lua_State,
        ) -> std::ffi::c_int {
            // SAFETY: as promised.
            unsafe { $enter(l, std::ptr::null()) }
        }
    };
}
pub(crate) use luaopen;

/// Lets a state call [`see`] in protected mode; false when it could not.
///
/// # Safety
/// A state of Lua 5.4, with room for two values.
pub unsafe fn call_see(l: *mut lua_State, seen: *mut SeenHost) -> bool {
    unsafe extern "C-unwind" fn look(l: *mut lua_State) -> c_int {
        // SAFETY: called by `call_see`.
        unsafe { see(l, null()) }
    }
    // SAFETY: as promised.
    unsafe {
        ffi::lua_pushcfunction(l, look);
        ffi::lua_pushlightuserdata(l, seen.cast());
        ffi::lua_pcall(l, 1, 0, 0) == ffi::LUA_OK
    }
}

/// Not known.
#[derive(Clone, Copy, PartialEq)]
pub struct Object;

impl Object {
    /// Not known.
    pub fn at(_: *const c_void) -> Option<Object> {
        None
    }

    /// Not known.
    pub fn name(&self) -> &CStr {
        c""
    }

    /// None.
    pub fn exports(&self, _: &CStr) -> *const c_void {
        null()
    }
}

/// None is missing: the loader or the linker would have said so.
pub fn bind() -> Option<&'static CStr> {
    None
}

/// Not known by the names of functions.
pub fn other_version() -> Option<&'static CStr> {
    None
}

/// Not known.
pub fn caller_catches() -> bool {
    false
}
