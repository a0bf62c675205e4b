//! The right Lua, or a clear message (R1.6): checked before anything else is called.

use std::ffi::{CStr, c_char, c_int};

use mlua::Lua;
use mlua::ffi::{self, lua_State};

use crate::api;

/// The version that this library is built for.
const VERSION: f64 = 504.0;
const NAME: &CStr = c"Lua 5.4";

/// What `require "hotreload"` calls: installs `gg.reload` and returns the library's table. `[-0, +1, e]`
///
/// # Errors
/// Raises when the running Lua is not the version that the library was built for, or out of memory.
///
/// # Safety
/// To be called by Lua, as any `lua_CFunction`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_hotreload(l: *mut lua_State) -> c_int {
    // SAFETY: these calls exist with the same form in Lua 5.2 to 5.5. In 5.3 `lua_version` returns a pointer; read as
    // a number it is rubbish, so the global is asked as well.
    unsafe {
        let found = version_global(l);
        let fits = (found.is_null() || CStr::from_ptr(found) == NAME) && ffi::lua_version(l).to_bits() == VERSION.to_bits();
        if !fits {
            let found = if found.is_null() { c"another version".as_ptr() } else { found };
            ffi::lua_pushfstring(
                l,
                c"hotreload is built for Lua 5.4, but this is %s: run the program with lua5.4, or build hotreload for its Lua"
                    .as_ptr(),
                found,
            );
            ffi::lua_error(l);
        }
        Lua::entrypoint1(l, api::open)
    }
}

/// The global `_VERSION`, when it is a string that begins with "Lua "; it stays on the stack.
unsafe fn version_global(l: *mut lua_State) -> *const c_char {
    // SAFETY: raw access only; a C function has room for two values.
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS as _);
        ffi::lua_pushstring(l, c"_VERSION".as_ptr());
        ffi::lua_rawget(l, -2);
        if ffi::lua_type(l, -1) != ffi::LUA_TSTRING {
            return std::ptr::null();
        }
        let text = ffi::lua_tostring(l, -1);
        if CStr::from_ptr(text).to_bytes().starts_with(b"Lua ") { text } else { std::ptr::null() }
    }
}

/// Functions of Lua 5.4 that an older Lua lacks.
///
/// `require` loads a library with all its symbols bound at once, so in an older Lua it would fail with an `undefined
/// symbol`, before `luaopen_hotreload` could say what is wrong. These stand-ins give the loader something to bind to. In a Lua 5.4
/// the program's own functions come first in the order of look-up (ELF's rule of interposition), so these are never reached.
#[cfg(all(feature = "module", target_os = "linux"))]
mod stand_ins {
    macro_rules! stand_in {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                std::process::abort()
            }
        )*};
    }
    stand_in! { lua_newuserdatauv lua_setiuservalue lua_getiuservalue lua_resetthread lua_closethread lua_setwarnf lua_warning lua_toclose lua_closeslot lua_setcstacklimit luaL_addgsub }
}
