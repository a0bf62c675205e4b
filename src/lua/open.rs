//! Opens the library, with Lua's own calls alone: where memory is short they raise as any other
//! call does, and nothing of Rust's is alive that would have to be dropped.

use std::ffi::{CStr, c_int, c_void};
use std::io::IsTerminal;

use mlua::ffi::{self, lua_State};

use super::entry::Entries;
use super::files;
use super::layout;
use super::stock::Stock;
use crate::support::secret::Secret;

/// The Lua part of the library: `require "hotreload"` needs one file. What each of these returns is
/// a field of `core` for the ones after it and for the façade.
const PARTS: [(&CStr, &str); 17] = [
    (
        c"arguments",
        include_str!("../../lua/hotreload/arguments.lua"),
    ),
    (c"allow", include_str!("../../lua/hotreload/allow.lua")),
    (c"hints", include_str!("../../lua/hotreload/hints.lua")),
    (c"changes", include_str!("../../lua/hotreload/changes.lua")),
    (c"report", include_str!("../../lua/hotreload/report.lua")),
    (c"plan", include_str!("../../lua/hotreload/plan.lua")),
    (c"stales", include_str!("../../lua/hotreload/stale.lua")),
    (c"track_part", include_str!("../../lua/hotreload/track.lua")),
    (
        c"versions",
        include_str!("../../lua/hotreload/versions.lua"),
    ),
    (c"memo", include_str!("../../lua/hotreload/memo.lua")),
    (c"undos", include_str!("../../lua/hotreload/undo.lua")),
    (c"says", include_str!("../../lua/hotreload/says.lua")),
    (c"unload", include_str!("../../lua/hotreload/unload.lua")),
    (c"moves", include_str!("../../lua/hotreload/moves.lua")),
    (c"hooks", include_str!("../../lua/hotreload/hooks.lua")),
    (
        c"dependents",
        include_str!("../../lua/hotreload/dependents.lua"),
    ),
    (
        c"instances_part",
        include_str!("../../lua/hotreload/instances.lua"),
    ),
];
const FACADE: &str = include_str!("../../lua/hotreload/facade.lua");
/// The modules beside it: with these the library is one file, too. `guard::module` counts them.
const MODULES: [(&CStr, &str); 9] = [
    (
        c"@hotreload/watch.lua",
        include_str!("../../lua/hotreload/watch.lua"),
    ),
    (
        c"@hotreload/hosts/common.lua",
        include_str!("../../lua/hotreload/hosts/common.lua"),
    ),
    (
        c"@hotreload/hosts/agent.lua",
        include_str!("../../lua/hotreload/hosts/agent.lua"),
    ),
    (
        c"@hotreload/hosts/coordinator.lua",
        include_str!("../../lua/hotreload/hosts/coordinator.lua"),
    ),
    (
        c"@hotreload/hosts/skynet.lua",
        include_str!("../../lua/hotreload/hosts/skynet.lua"),
    ),
    (
        c"@hotreload/hosts/moon.lua",
        include_str!("../../lua/hotreload/hosts/moon.lua"),
    ),
    (
        c"@hotreload/hosts/silly.lua",
        include_str!("../../lua/hotreload/hosts/silly.lua"),
    ),
    (
        c"@hotreload/dev.lua",
        include_str!("../../lua/hotreload/dev.lua"),
    ),
    (
        c"@hotreload/console.lua",
        include_str!("../../lua/hotreload/console.lua"),
    ),
];
/// Where the library's table stands in the registry, so that opening it twice gives the same one.
const LIBRARY: &CStr = c"hotreload";
/// Beside it: what installs `gg.reload`.
const INSTALL: &CStr = c"hotreload.install";
/// And: the content that each module was loaded from last (R12.1).
pub const CONTENTS: &CStr = c"hotreload.contents";
/// And: the function of `hotreload.track` in `package.searchers`, and the searcher that it stands
/// for.
pub const STANDING: &CStr = c"hotreload.standing";
/// Its address is the key, in the registry, of the state's secret ([`Secret`]): a number that no
/// name in a program can be.
static SECRET: u8 = 0;
/// What the rooms above make of the library.
pub trait Library {
    /// The native part of `core`.
    const ENTRIES: Entries;
}

const VERSION: &str = concat!("hotreload ", env!("CARGO_PKG_VERSION"));

/// The key of the state's secret in the registry.
pub fn secret_key() -> *const c_void {
    (&raw const SECRET).cast()
}

/// Installs `gg.reload` and leaves the library's table on the stack, the same one every time. `[-0,
/// +1, e]`
///
/// # Errors
/// Raises when there is no memory for it; it can then be tried again.
///
/// # Safety
/// Only in a C function that Lua called, of the right version.
pub unsafe fn open(l: *mut lua_State, stock: Stock, entries: Entries) -> c_int {
    // SAFETY: within the frame of a C function, with room made; a raise leaves nothing behind.
    unsafe {
        ffi::luaL_checkstack(l, 10, std::ptr::null());
        let known = ffi::lua_getfield(l, ffi::LUA_REGISTRYINDEX, LIBRARY.as_ptr())
            == ffi::LUA_TTABLE
            && ffi::lua_getfield(l, ffi::LUA_REGISTRYINDEX, INSTALL.as_ptr()) == ffi::LUA_TFUNCTION;
        if !known {
            make(l, stock, entries);
        }
        ffi::lua_call(l, 0, 0);
        1
    }
}

/// Runs a module beside the library, with the arguments that `require` gives, and leaves what it
/// returns. `[-0, +1, e]`
///
/// # Errors
/// What the module's chunk raises, or out of memory.
///
/// # Safety
/// Only in a C function that Lua called, of the right version.
pub unsafe fn open_module(l: *mut lua_State, number: usize) -> c_int {
    let Some((name, text)) = MODULES.get(number) else {
        return 0;
    };
    // SAFETY: within the frame of a C function, with room made; a raise leaves nothing behind.
    unsafe {
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        let count = ffi::lua_gettop(l);
        let (text, len, mode) = (text.as_ptr().cast(), text.len(), c"t".as_ptr());
        if ffi::luaL_loadbufferx(l, text, len, name.as_ptr(), mode) != ffi::LUA_OK {
            ffi::lua_error(l);
        }
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, 1);
        1
    }
}

/// Is standard output a terminal? Rust's own `stdout` would allocate a buffer for this library,
/// which is lost when Lua unloads it.
fn stdout_is_terminal() -> bool {
    #[cfg(unix)]
    {
        // SAFETY: the number is only asked about, whether it is open or not.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(1) }.is_terminal()
    }
    #[cfg(not(unix))]
    {
        std::io::stdout().is_terminal()
    }
}

/// Runs the façade with its native part, and leaves the library and what installs it. `[-0, +2, e]`
unsafe fn make(l: *mut lua_State, stock: Stock, entries: Entries) {
    // SAFETY: within the frame of a C function, with room made by `open`; nothing that needs
    // dropping lives across a raise.
    unsafe {
        // One that is there already stays: digests of before go on to hold.
        if ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, secret_key()) == ffi::LUA_TNIL {
            let secret = Secret::draw();
            ffi::lua_pushlstring(l, secret.as_ptr().cast(), secret.len());
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, secret_key());
        }
        ffi::lua_pop(l, 1);
        ffi::lua_createtable(l, 0, (entries.len() + PARTS.len()) as c_int + 7);
        for &(name, function) in entries {
            ffi::lua_pushcfunction(l, function);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_pushvalue(l, -1);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, CONTENTS.as_ptr());
        ffi::lua_setfield(l, -2, c"contents".as_ptr());
        ffi::lua_createtable(l, 2, 0);
        ffi::lua_pushvalue(l, -1);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, STANDING.as_ptr());
        ffi::lua_setfield(l, -2, c"standing".as_ptr());
        ffi::lua_pushboolean(l, stdout_is_terminal().into());
        ffi::lua_setfield(l, -2, c"terminal".as_ptr());
        ffi::lua_pushlstring(l, VERSION.as_ptr().cast(), VERSION.len());
        ffi::lua_setfield(l, -2, c"version".as_ptr());
        files::push_began(l);
        ffi::lua_setfield(l, -2, c"began".as_ptr());
        layout::push(l);
        ffi::lua_setfield(l, -2, c"layout".as_ptr());
        ffi::lua_createtable(l, 4, 0);
        for (address, i) in [stock.preload, stock.lua, stock.c, stock.c_root]
            .into_iter()
            .zip(1..)
        {
            ffi::lua_pushinteger(l, address as i64);
            ffi::lua_rawseti(l, -2, i);
        }
        ffi::lua_setfield(l, -2, c"stock".as_ptr());
        for (name, text) in PARTS {
            run_part(l, text, 1);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
        run_part(l, FACADE, 2);
        ffi::lua_pushvalue(l, -1);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, INSTALL.as_ptr());
        ffi::lua_pushvalue(l, -2);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, LIBRARY.as_ptr());
    }
}

/// Runs a part of the library with `core`, which stands on top, as its argument. `[-0, +results,
/// e]`
unsafe fn run_part(l: *mut lua_State, text: &str, results: c_int) {
    // SAFETY: within the frame of a C function, with room made by `open`, and `core` on top; a
    // raise leaves nothing behind.
    unsafe {
        let name = c"=hotreload".as_ptr();
        if ffi::luaL_loadbufferx(l, text.as_ptr().cast(), text.len(), name, c"t".as_ptr())
            != ffi::LUA_OK
        {
            ffi::lua_error(l);
        }
        ffi::lua_pushvalue(l, -2);
        ffi::lua_call(l, 1, results);
    }
}
