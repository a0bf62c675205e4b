//! A Lua thread with objects on their way.

use std::ptr::null_mut;

use mlua::ffi::lua_State;

/// Objects in a segment.
pub const BATCH: i32 = 64;
/// Slots of a segment beyond those, for values in passing.
pub const SLACK: i32 = 16;

/// A Lua thread, and how many objects stand on it, from index 1.
pub struct Segment {
    pub thread: *mut lua_State,
    pub len: i32,
}

impl Segment {
    pub const NONE: Segment = Segment {
        thread: null_mut(),
        len: 0,
    };
}

/// Asks for the memory at an address, which will be read soon.
#[inline(always)]
pub fn prefetch(address: usize) {
    // SAFETY: a hint; it reads nothing and cannot fault, whatever the address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address as *const i8);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{}]",
            in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
