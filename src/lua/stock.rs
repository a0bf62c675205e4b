//! Lua's own searchers, recognised by the address of their C function wherever they stand in
//! `package.searchers`.

use std::ffi::c_int;

use mlua::ffi;

use super::vm::{Ref, Vm};
use crate::support::error::Result;

/// The addresses of the four stock searchers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stock {
    /// `package.preload`
    pub preload: usize,
    /// Lua files along `package.path`
    pub lua: usize,
    /// C libraries along `package.cpath`
    pub c: usize,
    /// C libraries for the root of a dotted name
    pub c_root: usize,
}

impl Stock {
    /// Those that the façade keeps, a list of integers in the order of the fields.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn of(vm: &mut Vm, list: Ref) -> Result<Stock> {
        let mut addresses = [0; 4];
        for (address, i) in addresses.iter_mut().zip(1..) {
            let value = vm.index(list, i)?;
            *address = vm.integer(value).unwrap_or(0) as usize;
        }
        let [preload, lua, c, c_root] = addresses;
        Ok(Stock {
            preload,
            lua,
            c,
            c_root,
        })
    }

    /// Reads them off a fresh Lua state; none when there is no memory. `[-0, +?, -]`
    ///
    /// # Safety
    /// `l` must be a state of the library's own, with nothing on its stack.
    pub unsafe fn read(l: *mut ffi::lua_State) -> Option<Stock> {
        // SAFETY: as promised; `open_package` runs in protected mode.
        unsafe {
            ffi::lua_pushcfunction(l, open_package);
            let mut found = None;
            if ffi::lua_pcall(l, 0, 1, 0) == ffi::LUA_OK {
                ffi::lua_pushnil(l);
                while ffi::lua_next(l, 1) != 0 {
                    let named = ffi::lua_type(l, -2) == ffi::LUA_TSTRING
                        && std::ffi::CStr::from_ptr(ffi::lua_tostring(l, -2)) == c"searchers";
                    if named {
                        let at = |i| {
                            ffi::lua_rawgeti(l, -1, i);
                            let address = ffi::lua_tocfunction(l, -1).map_or(0, |f| f as usize);
                            ffi::lua_settop(l, -2);
                            address
                        };
                        found = Some(Stock {
                            preload: at(1),
                            lua: at(2),
                            c: at(3),
                            c_root: at(4),
                        });
                    }
                    ffi::lua_settop(l, -2);
                }
            }
            found
        }
    }
}

/// Opens `package` and takes nothing from the environment (R1.10), as `lua -E` does. `[-0, +1, e]`
///
/// # Safety
/// Called by Lua, in protected mode.
unsafe extern "C-unwind" fn open_package(l: *mut ffi::lua_State) -> c_int {
    // SAFETY: a C function has room for 20 values; `luaopen_package` is one itself, and leaves its
    // table on top.
    unsafe {
        ffi::lua_pushboolean(l, 1);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, c"LUA_NOENV".as_ptr());
        ffi::luaopen_package(l)
    }
}
