//! In place of `late.rs`, where the Lua is built in, or the system is another one: nothing is
//! asked.

use std::ffi::{CStr, c_void};
use std::ptr::null;

use mlua::ffi::lua_State;

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

/// What a C function sees of the Lua that calls it.
pub struct SeenHost {
    /// Null: not known.
    pub from: *const c_void,
    /// Not known.
    pub exceptions: bool,
}

/// Nothing.
///
/// # Safety
/// None is needed; where more is known, it is.
pub unsafe fn seen_by(_: *mut lua_State) -> Option<SeenHost> {
    Some(SeenHost {
        from: null(),
        exceptions: false,
    })
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
