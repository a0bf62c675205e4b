//! A tracker that lives from one call to another: while `require` runs the loader of a module that
//! is to have a record (R8).
//!
//! It is owned by a userdata, so that it ends with the coroutine in which the load was given up.

use std::cell::Cell;
use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::owned;
use super::tracker::{Fresh, Tracker};
use super::vm::{Ref, Vm};
use crate::support::error::Result;

/// Objects that a module is expected to create.
const EXPECTED: usize = 64;

/// What the userdata owns. The tracker is dropped first: it points to the counter. When both have
/// ended there is nothing left that would have to wait for the collector.
#[derive(Default)]
struct Watch {
    tracker: Option<Tracker>,
    fresh: Option<Fresh>,
    depth: Option<Box<Cell<u32>>>,
}

/// What a watch is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To note what is created.
    Note,
    /// To keep that from whoever notes it besides, and to note nothing.
    Hide,
}

/// Starts a watch, and keeps the userdata that owns it.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn start(vm: &mut Vm, purpose: Purpose) -> Result<Ref> {
    let owner = owned::own(vm, Watch::default())?;
    let fresh = match purpose {
        Purpose::Note => Some(Fresh::expecting(EXPECTED)?),
        Purpose::Hide => None,
    };
    owned::with(vm, owner, |vm, watch: &mut Watch| -> Result<()> {
        let depth = watch.depth.insert(Box::default());
        // SAFETY: the tracker goes with the userdata, or before, so the state outlives it; the
        // counter is on the heap, and goes behind it.
        watch.tracker = Some(unsafe { Tracker::start(vm, fresh, &raw const **depth) }?);
        Ok(())
    })??;
    Ok(owner)
}

/// Ends the watch whose userdata stands at `index`. `[-0, +0, -]`
///
/// # Safety
/// A live state.
pub unsafe fn stop(l: *mut lua_State, index: c_int) {
    // SAFETY: a live state, as promised, and an index of its frame; what is no watch is left alone.
    // The loan ends here.
    unsafe {
        if ffi::lua_gettop(l) < index {
            return;
        }
        if let Some(mut loan) = owned::lend::<Watch>(l, index) {
            let watch = loan.value();
            if let Some(tracker) = watch.tracker.take() {
                watch.fresh = Some(tracker.stop());
                watch.depth = None;
            }
        }
    }
}

/// What a watch has noted, once it has ended.
pub fn take(vm: &mut Vm, owner: Ref) -> Result<Fresh> {
    let fresh = owned::with(vm, owner, |_, watch: &mut Watch| watch.fresh.take())?;
    Ok(fresh.unwrap_or_default())
}
