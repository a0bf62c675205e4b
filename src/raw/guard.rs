//! The right Lua, or a clear message (R1.6): checked before anything else is called.

use std::ffi::{CStr, c_char, c_int};

use mlua::ffi::{self, lua_State};

use super::open::open;

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
    // SAFETY: what is called before the version is known exists with the same form in Lua 5.1 to 5.5. In 5.3 `lua_version`
    // returns a pointer; read as a number it is rubbish, so the global is asked as well.
    unsafe {
        let old = stand_ins::in_use();
        let found = version_global(l, old);
        let named = found.is_null() || CStr::from_ptr(found) == NAME;
        if old || !named || ffi::lua_version(l).to_bits() != VERSION.to_bits() {
            let found = if found.is_null() {
                c"another version".as_ptr()
            } else {
                found
            };
            ffi::lua_pushfstring(
                l,
                c"hotreload is built for Lua 5.4, but this is %s: run the program with lua5.4, or build hotreload for its Lua"
                    .as_ptr(),
                found,
            );
            ffi::lua_error(l);
        }
        ffi::lua_settop(l, 0);
        open(l)
    }
}

/// The global `_VERSION`, when it is a string that begins with "Lua "; it stays on the stack.
unsafe fn version_global(l: *mut lua_State, is_5_1: bool) -> *const c_char {
    // SAFETY: a C function has room for two values; in Lua 5.1 the globals have an index of their own.
    unsafe {
        if is_5_1 {
            const GLOBALS_5_1: c_int = -10002;
            ffi::lua_pushstring(l, c"_VERSION".as_ptr());
            ffi::lua_rawget(l, GLOBALS_5_1);
        } else {
            ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS as _);
            ffi::lua_pushstring(l, c"_VERSION".as_ptr());
            ffi::lua_rawget(l, -2);
        }
        if ffi::lua_type(l, -1) != ffi::LUA_TSTRING {
            return std::ptr::null();
        }
        let text = ffi::lua_tolstring(l, -1, std::ptr::null_mut());
        if CStr::from_ptr(text).to_bytes().starts_with(b"Lua ") {
            text
        } else {
            std::ptr::null()
        }
    }
}

/// Functions of Lua 5.4 that an older Lua lacks.
///
/// `require` loads a library with all its symbols bound at once, so in an older Lua it would fail with an `undefined
/// symbol`, before `luaopen_hotreload` could say what is wrong. These stand-ins give the loader something to bind to. In a Lua 5.4
/// the program's own functions come first in the order of look-up (ELF's rule of interposition), so these are never reached. They
/// are written in assembly so that the compiler cannot see them and take them for the real ones.
#[cfg(all(
    feature = "module",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod stand_ins {
    use std::arch::naked_asm;

    macro_rules! stand_in {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                naked_asm!("ud2");
                #[cfg(target_arch = "aarch64")]
                naked_asm!("udf #0");
            }
        )*};
    }
    // What this library and mlua use, and Lua 5.1, LuaJIT, 5.2 or 5.3 lacks.
    stand_in! {
        lua_callk lua_closeslot lua_closethread lua_copy lua_getiuservalue lua_isinteger lua_newuserdatauv lua_pcallk
        lua_rawgetp lua_rawlen lua_rawsetp lua_resetthread lua_rotate lua_setcstacklimit lua_setiuservalue lua_setwarnf
        lua_toclose lua_tointegerx lua_tonumberx lua_upvalueid lua_upvaluejoin lua_version lua_warning luaL_addgsub
        luaL_checkversion_ luaL_loadbufferx luaL_requiref luaL_setfuncs luaL_tolstring luaL_traceback lua_getglobal
        lua_setglobal lua_arith lua_compare lua_len lua_geti lua_seti lua_yieldk lua_stringtonumber lua_isyieldable
        luaL_len luaL_getsubtable luaL_setmetatable luaL_testudata
    }

    /// As the others, with a second name for its address that no other library has.
    #[unsafe(no_mangle)]
    #[unsafe(naked)]
    extern "C" fn lua_absindex() {
        #[cfg(target_arch = "x86_64")]
        naked_asm!(
            ".globl hotreload_absindex",
            ".hidden hotreload_absindex",
            "hotreload_absindex:",
            "ud2"
        );
        #[cfg(target_arch = "aarch64")]
        naked_asm!(
            ".globl hotreload_absindex",
            ".hidden hotreload_absindex",
            "hotreload_absindex:",
            "udf #0"
        );
    }

    unsafe extern "C" {
        fn hotreload_absindex();
    }

    /// Was a stand-in taken for `lua_absindex`, which every Lua since 5.2 has? Then this is Lua 5.1 or LuaJIT.
    pub fn in_use() -> bool {
        std::ptr::eq(mlua::ffi::lua_absindex as *const (), hotreload_absindex as *const ())
    }
}

#[cfg(not(all(
    feature = "module",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod stand_ins {
    /// None here: an older Lua cannot bind the library at all.
    pub fn in_use() -> bool {
        false
    }
}
