//! A Lua state of one's own, made as a C host makes one: all libraries open, the collector as Lua
//! starts it, and `require "hotreload"` finding the library that is linked in.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::os::raw::c_void;
use std::path::Path;
use std::ptr;

use mlua::{Function, Lua, Table, ffi};

use crate::Outcome;

/// Where Debian has what its packages require.
const PACKAGES: &str = ";/usr/share/lua/5.4/?.lua;/usr/share/lua/5.1/?.lua";

/// The state. What comes from it (functions, tables) is to be dropped before it.
pub struct Host {
    lua: Lua,
    /// Dropped last: closes the state.
    _state: State,
}

struct State(*mut ffi::lua_State);

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: the state is open, no call into it is under way, and `Host` has dropped its `Lua`
        // before.
        unsafe { ffi::lua_close(self.0) }
    }
}

impl Host {
    /// A new state that finds modules in `folder`.
    pub fn new(folder: &Path) -> Outcome<Self> {
        // SAFETY: `allocate` keeps the contract of a `lua_Alloc` and needs no user data.
        let state = unsafe { ffi::lua_newstate(allocate, ptr::null_mut()) };
        if state.is_null() {
            return Err("no memory for a Lua state".into());
        }
        let guard = State(state);
        // SAFETY: a new state with nothing on its stack; opening the libraries raises only without
        // memory. `Host` drops the clone before the state is closed.
        let lua = unsafe {
            ffi::luaL_openlibs(state);
            Lua::get_or_init_from_ptr(state).clone()
        };
        let package: Table = lua.globals().get("package")?;
        let own = folder.join("?.lua");
        package.set("path", own.to_string_lossy().into_owned() + PACKAGES)?;
        // SAFETY: the library's open function is a C function as `require` expects one.
        let open = unsafe { lua.create_c_function(hotreload::luaopen_hotreload)? };
        package.get::<Table>("preload")?.set("hotreload", open)?;
        Ok(Self { lua, _state: guard })
    }

    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Collects all garbage, what finalizers let go of included.
    pub fn collect(&self) -> Outcome<()> {
        self.lua.gc_collect()?;
        self.lua.gc_collect()?;
        Ok(())
    }

    /// Runs one of the bench's own chunks and returns its function.
    pub fn run(&self, name: &str, text: &str) -> Outcome<Function> {
        Ok(self
            .lua
            .load(text)
            .set_name(format!("@bench/{name}.lua"))
            .eval()?)
    }
}

/// Two machine words, as C's `malloc` aligns.
const ALIGN: usize = 2 * align_of::<usize>();

/// A `lua_Alloc` that takes its memory from Rust's allocator, which counts it.
///
/// SAFETY: Lua calls it with a block that it got from here and that block's size, or with null.
unsafe extern "C" fn allocate(
    _: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    let (Ok(before), Ok(after)) = (
        Layout::from_size_align(old, ALIGN),
        Layout::from_size_align(new, ALIGN),
    ) else {
        return ptr::null_mut();
    };
    // SAFETY: no size is zero where one must not be, and `before` is what the block was got with.
    unsafe {
        match (block.is_null(), new) {
            (true, 0) => ptr::null_mut(),
            (true, _) => alloc(after).cast(),
            (false, 0) => {
                dealloc(block.cast(), before);
                ptr::null_mut()
            }
            (false, _) => realloc(block.cast(), before, new).cast(),
        }
    }
}
