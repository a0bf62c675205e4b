//! No collection while a reload works, and the collector left exactly as it was found.
//!
//! Stopping and restarting it (`LUA_GCSTOP`, `LUA_GCRESTART`) would throw its debt away: after a
//! restart a cycle begins at once, however long the pause had still to run. Instead the collector
//! gets a large credit, which is taken back afterwards.
//!
//! What the reload itself allocated is left for the program's own next cycle, as if the collector
//! had been stopped, up to a limit: where reloads alone would add a [`SHARE`] to the program's
//! memory before the next cycle ends (and no less than [`FREE`]), the collector has to work for
//! what each of them allocates. For a reload that allocates much, in itself and beside the program
//! ([`MUCH`]), it works in any case: what such a one leaves would make the next ones slower, as
//! memory that is in no cache, than the collector does.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::protected;
use crate::support::fault::caught;

/// In KiB: more than a reload allocates, less than what could overflow Lua's count.
const CREDIT: c_int = 64 << 20;
/// In KiB: a credit that is given once more behind code of the program, which may have spent the
/// first one by a collection.
const MORE: c_int = 1 << 20;
/// How often that is done, so that all of it can be taken back by one number.
const MOST: u16 = 512;
/// In KiB: what reloads may allocate within one cycle in any case.
const FREE: i64 = 1 << 10;
/// One part in so many of the program's memory: what reloads may allocate within one cycle where
/// that is more.
const SHARE: i64 = 4;

/// In KiB, and one part in so many of the program's memory: what is much for one reload. It is more
/// than either.
const MUCH: (i64, i64) = (512, 10);

/// Keeps a pause up behind code of the program, which may have collected garbage, or set the
/// collector going: without this, finalizers would run in what comes then. `given` counts how often
/// that was done, for [`Paused::end`].
///
/// # Safety
/// `l` must be running, within a [`Paused`].
pub unsafe fn keep_paused(l: *mut lua_State, given: &mut u16) {
    // SAFETY: a step with a negative size only moves the debt; it cannot collect and cannot raise.
    // A collector that does not run may have a debt that is larger than this, and would step.
    unsafe {
        if *given < MOST && ffi::lua_gc(l, ffi::LUA_GCISRUNNING) == 1 {
            *given += 1;
            ffi::lua_gc(l, ffi::LUA_GCSTEP, -MORE);
        }
    }
}

/// The collector, paused until [`Paused::end`], or until this is dropped.
pub struct Paused {
    l: *mut lua_State,
    was_running: bool,
    ended: bool,
    /// In KiB, when the pause began.
    in_use: i64,
}

impl Paused {
    /// Pauses the collector; does nothing when the program has stopped it, or calls from a
    /// finalizer.
    ///
    /// # Safety
    /// `l` must stay alive and running until the value is dropped, and no call may jump over it.
    pub unsafe fn new(l: *mut lua_State) -> Paused {
        // SAFETY: a step with a negative size only moves the debt; it cannot collect and cannot
        // raise.
        unsafe {
            let was_running = ffi::lua_gc(l, ffi::LUA_GCISRUNNING) == 1;
            let in_use = ffi::lua_gc(l, ffi::LUA_GCCOUNT).into();
            if was_running {
                ffi::lua_gc(l, ffi::LUA_GCSTEP, -CREDIT);
            }
            Paused {
                l,
                was_running,
                ended: false,
                in_use,
            }
        }
    }

    /// Ends the pause. `owed` is what earlier reloads allocated since the last cycle ended, in KiB;
    /// returns the same with this one's share. `given` is the count of [`keep_paused`].
    pub fn end(mut self, owed: i64, given: u16) -> i64 {
        self.take_back(owed, given)
    }

    fn take_back(&mut self, owed: i64, given: u16) -> i64 {
        // SAFETY: the state is alive and running, as `new` was promised. Where the debt is positive
        // a step runs, as it would at some allocation. What a finalizer raises there
        // is a warning; should the host's own function for these raise, then the protected call
        // stops it. A chunk that stopped or restarted the collector is overruled.
        unsafe {
            self.ended = true;
            let running = ffi::lua_gc(self.l, ffi::LUA_GCISRUNNING) == 1;
            let allocated = (i64::from(ffi::lua_gc(self.l, ffi::LUA_GCCOUNT)) - self.in_use).max(0);
            // Without what reloads have left since then: the program as the last cycle left it.
            let without = self.in_use - owed.max(0);
            let owed = owed.max(0).saturating_add(allocated);
            let is_much = allocated > MUCH.0.max(without / MUCH.1);
            let let_off = match is_much || owed > FREE.max(without / SHARE) {
                true => 0,
                false => allocated,
            };
            match (self.was_running, running) {
                (true, true) => step(
                    self.l,
                    CREDIT + c_int::from(given) * MORE - let_off as c_int,
                ),
                (true, false) => _ = ffi::lua_gc(self.l, ffi::LUA_GCRESTART),
                (false, true) => _ = ffi::lua_gc(self.l, ffi::LUA_GCSTOP),
                (false, false) => {}
            }
            owed
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if !self.ended {
            // More than any limit: the collector works for all of it.
            self.take_back(i64::MAX / 2, 0);
        }
    }
}

/// Adds `debt` KiB to the collector's debt, and lets it work if there is one then. An error ends
/// that step, and nothing else: the debt is added, and the next allocation goes on. `[-0, +0, -]`
///
/// # Safety
/// `l` must be running.
unsafe fn step(l: *mut lua_State, debt: c_int) {
    let mut begun = false;
    let at = &raw mut begun;
    // SAFETY: the flag outlives the call. Where a protected call has no room even for its own
    // frame, the step is made before it.
    unsafe {
        _ = caught("in a step of the collector", || {
            protected::run(l, 0, |l| {
                at.write(true);
                ffi::lua_gc(l, ffi::LUA_GCSTEP, debt);
            })
        });
        if !begun {
            ffi::lua_gc(l, ffi::LUA_GCSTEP, debt);
        }
    }
}
