//! No collection while a reload works, and the collector left exactly as it was found.
//!
//! Stopping and restarting it (`LUA_GCSTOP`, `LUA_GCRESTART`) would throw its debt away: after a restart a cycle begins at
//! once, however long the pause had still to run, and whatever was allocated meanwhile is never accounted for. Instead the
//! collector gets a large credit, which is taken back afterwards: it then owes just what it would have owed.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

/// In KiB: more than a reload allocates, less than what could overflow Lua's count.
const CREDIT: c_int = 64 << 20;

/// The collector, paused until this is dropped.
pub struct Paused {
    l: *mut lua_State,
    was_running: bool,
}

impl Paused {
    /// Pauses the collector; does nothing when the program has stopped it, or calls from a finalizer.
    ///
    /// # Safety
    /// `l` must stay alive and running until the value is dropped, and no call may jump over it.
    pub unsafe fn new(l: *mut lua_State) -> Paused {
        // SAFETY: a step with a negative size only moves the debt; it cannot collect and cannot raise.
        unsafe {
            let was_running = ffi::lua_gc(l, ffi::LUA_GCISRUNNING) == 1;
            if was_running {
                ffi::lua_gc(l, ffi::LUA_GCSTEP, -CREDIT);
            }
            Paused { l, was_running }
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // SAFETY: as in `new`. When the debt is now positive a step runs, as it would have at some allocation before; what a
        // finalizer raises there is a warning, not an error. A chunk that stopped or restarted the collector is overruled.
        unsafe {
            match (self.was_running, ffi::lua_gc(self.l, ffi::LUA_GCISRUNNING) == 1) {
                (true, true) => ffi::lua_gc(self.l, ffi::LUA_GCSTEP, CREDIT),
                (true, false) => ffi::lua_gc(self.l, ffi::LUA_GCRESTART),
                (false, true) => ffi::lua_gc(self.l, ffi::LUA_GCSTOP),
                (false, false) => 0,
            };
        }
    }
}
