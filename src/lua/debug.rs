//! Where Lua writes what it tells of a function or an activation.

use std::ffi::{CStr, c_char};
use std::mem::{MaybeUninit, offset_of};

use mlua::ffi::{self, lua_Debug, lua_State};

/// A `lua_Debug` with room behind it. Every one that Lua writes to is such a record.
///
/// The last two fields of `lua_Debug` are `short_src` and one that Lua alone reads and writes.
/// `short_src` has `LUA_IDSIZE` bytes, which whoever builds a Lua chooses: 60 as a rule, 512 in
/// Fedora. All other fields stand before it, at the same place in each Lua 5.4. A record that is
/// too short lets Lua write over what stands behind it: [`fits`] tells.
#[repr(C)]
pub struct DebugRecord {
    known: MaybeUninit<lua_Debug>,
    room: MaybeUninit<[u8; ROOM]>,
}

/// Bytes behind `lua_Debug`.
const ROOM: usize = 1024;
/// The bytes of a record that `short_src` may take: all from its place on, but those of the field
/// behind it.
const LONGEST: usize =
    size_of::<DebugRecord>() - offset_of!(lua_Debug, short_src) - 2 * size_of::<usize>();

impl DebugRecord {
    /// An empty one. Only what a call of Lua's has filled in may be read.
    #[inline(always)]
    pub fn new() -> DebugRecord {
        DebugRecord {
            known: MaybeUninit::uninit(),
            room: MaybeUninit::uninit(),
        }
    }

    /// For `lua_getstack` and `lua_getinfo`.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut lua_Debug {
        (&raw mut *self).cast()
    }

    /// For what only reads.
    #[inline(always)]
    pub fn as_ptr(&self) -> *const lua_Debug {
        (&raw const *self).cast()
    }
}

/// Is a record long enough for this Lua? Nothing when Lua is out of memory. `[-0, +0, -]`
///
/// # Safety
/// `l` must be a state of Lua 5.4 that has room for two values.
pub unsafe fn fits(l: *mut lua_State) -> Option<bool> {
    // A chunk whose name is as long as `short_src` may be at most. Lua copies that much of it as
    // its own `short_src` has room for.
    const NAME: [u8; LONGEST + 1] = {
        let mut name = [b'='; LONGEST + 1];
        name[LONGEST] = 0;
        name
    };
    let mut record = DebugRecord::new();
    // SAFETY: the compiler runs in protected mode; the name has an end, and so has `short_src`,
    // wherever Lua cuts it.
    unsafe {
        let status =
            ffi::luaL_loadbufferx(l, c"".as_ptr(), 0, NAME.as_ptr().cast(), std::ptr::null());
        if status != ffi::LUA_OK {
            ffi::lua_settop(l, -2);
            return None;
        }
        ffi::lua_getinfo(l, c">S".as_ptr(), record.as_mut_ptr());
        let short = (&raw const record)
            .byte_add(offset_of!(lua_Debug, short_src))
            .cast::<c_char>();
        Some(CStr::from_ptr(short).count_bytes() < LONGEST - 1)
    }
}
