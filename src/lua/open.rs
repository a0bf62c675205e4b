//! Opens the library, with Lua's own calls alone: where memory is short they raise as any other
//! call does, and nothing of Rust's is alive that would have to be dropped.

use std::ffi::{CStr, c_int};
use std::io::IsTerminal;

use mlua::ffi::{self, lua_State};

use super::dump::DebugInfo;
use super::entry::Entries;
use super::files;
use super::layout;
use super::shared;
use super::stock::Stock;

/// The Lua part of the library: `require "hotreload"` needs one file. Each is a field of `core`,
/// loaded when that is read first ([`part`]).
const PARTS: [(&CStr, &str); 19] = [
    (
        c"arguments",
        include_str!("../../lua/hotreload/arguments.lua"),
    ),
    (c"allow", include_str!("../../lua/hotreload/allow.lua")),
    (c"changes", include_str!("../../lua/hotreload/changes.lua")),
    (
        c"dependents",
        include_str!("../../lua/hotreload/dependents.lua"),
    ),
    (c"facade", include_str!("../../lua/hotreload/facade.lua")),
    (c"hints", include_str!("../../lua/hotreload/hints.lua")),
    (c"hooks", include_str!("../../lua/hotreload/hooks.lua")),
    (
        c"instances_part",
        include_str!("../../lua/hotreload/instances.lua"),
    ),
    (c"memo", include_str!("../../lua/hotreload/memo.lua")),
    (c"moves", include_str!("../../lua/hotreload/moves.lua")),
    (c"plan", include_str!("../../lua/hotreload/plan.lua")),
    (c"records", include_str!("../../lua/hotreload/records.lua")),
    (c"report", include_str!("../../lua/hotreload/report.lua")),
    (c"says", include_str!("../../lua/hotreload/says.lua")),
    (c"stales", include_str!("../../lua/hotreload/stale.lua")),
    (c"track_part", include_str!("../../lua/hotreload/track.lua")),
    (c"undos", include_str!("../../lua/hotreload/undo.lua")),
    (c"unload", include_str!("../../lua/hotreload/unload.lua")),
    (
        c"versions",
        include_str!("../../lua/hotreload/versions.lua"),
    ),
];
/// The one that is loaded at once.
const LIBRARY_PART: &str = include_str!("../../lua/hotreload/library.lua");
/// The chunk name of all of them.
const PART_NAME: &CStr = c"=hotreload";
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
/// What the rooms above make of the library.
pub trait Library {
    /// The native part of `core`.
    const ENTRIES: Entries;
}

const VERSION: &str = concat!("hotreload ", env!("CARGO_PKG_VERSION"));

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
        if shared::load(l, name, text, DebugInfo::Keep) != ffi::LUA_OK {
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
        shared::join(l);
        ffi::lua_createtable(l, 0, entries.len() as c_int + 16);
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
        push_lazy(l, list);
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
        make_lazy(l, part);
        run_part(l, LIBRARY_PART, 2);
        ffi::lua_pushvalue(l, -1);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, INSTALL.as_ptr());
        ffi::lua_pushvalue(l, -2);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, LIBRARY.as_ptr());
    }
}

/// Leaves a table whose fields `make` makes when they are read first. `[-0, +1, e]`
unsafe fn push_lazy(l: *mut lua_State, make: ffi::lua_CFunction) {
    // SAFETY: within the frame of a C function, with room made by `open`.
    unsafe {
        ffi::lua_createtable(l, 0, 0);
        make_lazy(l, make);
    }
}

/// The same for the table on top. `[-0, +0, e]`
unsafe fn make_lazy(l: *mut lua_State, make: ffi::lua_CFunction) {
    // SAFETY: within the frame of a C function, with room made by `open`, and a table on top.
    unsafe {
        ffi::lua_createtable(l, 0, 1);
        ffi::lua_pushcfunction(l, make);
        ffi::lua_setfield(l, -2, c"__index".as_ptr());
        ffi::lua_setmetatable(l, -2);
    }
}

/// Where the name is that a field of a lazy table has, the only argument but for that table.
unsafe fn name_of<'a>(l: *mut lua_State) -> Option<&'a CStr> {
    // SAFETY: the frame of a C function; the text lives as long as its string is in the frame.
    unsafe {
        ffi::lua_settop(l, 2);
        ffi::luaL_checktype(l, 1, ffi::LUA_TTABLE);
        let is_name = ffi::lua_type(l, 2) == ffi::LUA_TSTRING;
        is_name.then(|| CStr::from_ptr(ffi::lua_tostring(l, 2)))
    }
}

/// Puts the value on top into the field that was asked for, and returns it.
unsafe fn answer(l: *mut lua_State) -> c_int {
    // SAFETY: the frame of a C function that `name_of` has looked at, with room.
    unsafe {
        ffi::lua_pushvalue(l, 2);
        ffi::lua_pushvalue(l, -2);
        ffi::lua_rawset(l, 1);
        1
    }
}

/// `core.<name>`: loads a part that is not loaded yet. A part that raises is loaded again when it
/// is needed again.
///
/// # Safety
/// To be called by Lua.
unsafe extern "C-unwind" fn part(l: *mut lua_State) -> c_int {
    // SAFETY: the frame is this function's own, with room; a raise leaves nothing behind.
    unsafe {
        let Some(name) = name_of(l) else { return 0 };
        let Some((_, text)) = PARTS.iter().find(|(part, _)| *part == name) else {
            return 0;
        };
        ffi::lua_pushvalue(l, 1);
        run_part(l, text, 1);
        answer(l)
    }
}

/// `core.layout.<name>`.
///
/// # Safety
/// To be called by Lua.
unsafe extern "C-unwind" fn list(l: *mut lua_State) -> c_int {
    // SAFETY: as for `part`.
    unsafe {
        match name_of(l) {
            Some(name) if layout::push(l, name) => answer(l),
            _ => 0,
        }
    }
}

/// Is this the function, by its address, that loads a part?
pub fn is_part(address: usize) -> bool {
    [part, list]
        .iter()
        .any(|f| *f as *const () as usize == address)
}

/// Runs a part of the library with `core`, which stands on top, as its argument. `[-0, +results,
/// e]`
unsafe fn run_part(l: *mut lua_State, text: &'static str, results: c_int) {
    // SAFETY: within the frame of a C function, with room for four values, and `core` on top; a
    // raise leaves nothing behind.
    unsafe {
        if shared::load(l, PART_NAME, text, DebugInfo::Strip) != ffi::LUA_OK {
            ffi::lua_error(l);
        }
        ffi::lua_pushstring(l, c"environment".as_ptr());
        if ffi::lua_rawget(l, -3) == ffi::LUA_TTABLE {
            ffi::lua_setupvalue(l, -2, 1);
        } else {
            ffi::lua_settop(l, -2);
        }
        ffi::lua_pushvalue(l, -2);
        ffi::lua_call(l, 1, results);
    }
}
