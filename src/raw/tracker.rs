//! Which tables and functions a chunk creates while it runs (R2.2).
//!
//! A wrapper stands in front of the state's own allocator. For a new object Lua passes it the object's type; it forwards
//! and notes the address with a running number. It is taken away when the [`Tracker`] ends, also when the chunk raised.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use mlua::ffi::{self, lua_Alloc, lua_State};
use rustc_hash::FxHashMap;

use crate::error::Result;

/// What the chunk created, by address.
#[derive(Default)]
pub struct Fresh {
    objects: FxHashMap<usize, u32>,
    /// Objects that the chunk of a newly required dependency created.
    foreign: FxHashMap<usize, ()>,
}

impl Fresh {
    /// Nothing yet, with room for so many objects.
    pub fn expecting(count: usize) -> Result<Fresh> {
        let mut fresh = Fresh::default();
        fresh.objects.try_reserve(count)?;
        Ok(fresh)
    }

    /// How many objects the chunk itself, or what it called, created and left.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// The object's place in the order of creation, for one that the chunk itself or what it called created.
    #[inline]
    pub fn order(&self, addr: usize) -> Option<u32> {
        self.objects.get(&addr).copied()
    }

    /// Created meanwhile, be it by a newly required dependency's own chunk?
    pub fn created(&self, addr: usize) -> bool {
        self.objects.contains_key(&addr) || self.foreign.contains_key(&addr)
    }
}

struct Notes {
    inner: lua_Alloc,
    inner_ud: *mut c_void,
    /// Only forwards; the other fields mean nothing then.
    quiet: bool,
    fresh: Fresh,
    next: u32,
    /// How many other trackers are in place before this one.
    within: u32,
    /// How many dependencies are being loaded.
    depth: *const Cell<u32>,
}

impl Notes {
    /// Those of the tracker that this one stands in front of, if it does.
    fn outer(&self) -> Option<*mut Notes> {
        std::ptr::fn_addr_eq(self.inner, allocate as lua_Alloc).then(|| self.inner_ud.cast())
    }
}

/// The wrapper, in place until it is stopped or dropped.
pub struct Tracker {
    l: *mut lua_State,
    /// A box of its own; Lua has its address as well.
    notes: *mut Notes,
}

unsafe extern "C" fn allocate(ud: *mut c_void, old: *mut c_void, old_size: usize, new_size: usize) -> *mut c_void {
    // SAFETY: `ud` is the box that the tracker owns; Lua calls its allocator on one thread and never from within it.
    let notes = unsafe { &mut *ud.cast::<Notes>() };
    if notes.quiet {
        // SAFETY: forwarded as it came.
        return unsafe { (notes.inner)(notes.inner_ud, old, old_size, new_size) };
    }
    let kind = old_size as c_int;
    if old.is_null() && new_size > 0 && (kind == ffi::LUA_TTABLE || kind == ffi::LUA_TFUNCTION) {
        // SAFETY: the counter outlives the tracker.
        let foreign = notes.within > 0 || unsafe { (*notes.depth).get() } > 0;
        let room = if foreign {
            notes.fresh.foreign.try_reserve(1)
        } else {
            notes.fresh.objects.try_reserve(1)
        };
        if room.is_err() {
            return std::ptr::null_mut(); // Lua reports it as its own lack of memory
        }
        // SAFETY: forwarded as it came.
        let new = unsafe { (notes.inner)(notes.inner_ud, old, old_size, new_size) };
        if !new.is_null() {
            if foreign {
                notes.fresh.foreign.insert(new as usize, ());
            } else {
                notes.fresh.objects.insert(new as usize, notes.next);
                notes.next += 1;
            }
        }
        return new;
    }
    if new_size == 0 && !old.is_null() && notes.fresh.objects.remove(&(old as usize)).is_none() {
        notes.fresh.foreign.remove(&(old as usize));
    }
    // SAFETY: forwarded as it came.
    unsafe { (notes.inner)(notes.inner_ud, old, old_size, new_size) }
}

impl Tracker {
    /// Puts the wrapper in place, to note objects in `fresh` (none: it only forwards). What is created while `depth` is above 0, or while
    /// another tracker is in place before this one, counts as a dependency's.
    ///
    /// # Safety
    /// `l` and `depth` must outlive the tracker.
    pub unsafe fn start(l: *mut lua_State, fresh: Option<Fresh>, depth: *const Cell<u32>) -> Tracker {
        let mut inner_ud = std::ptr::null_mut();
        // SAFETY: reading and setting the allocator cannot raise; the box does not move while it is in place.
        unsafe {
            let inner = ffi::lua_getallocf(l, &raw mut inner_ud);
            let notes = Box::new(Notes {
                inner,
                inner_ud,
                quiet: fresh.is_none(),
                fresh: fresh.unwrap_or_default(),
                next: 0,
                within: 0,
                depth,
            });
            if let Some(outer) = notes.outer() {
                (*outer).within += 1;
            }
            let notes = Box::into_raw(notes);
            ffi::lua_setallocf(l, allocate, notes.cast());
            Tracker { l, notes }
        }
    }

    /// Takes the wrapper away and hands over what it noted.
    pub fn stop(self) -> Fresh {
        // SAFETY: the notes live as long as the tracker.
        unsafe { std::mem::take(&mut (*self.notes).fresh) }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let mut ud = std::ptr::null_mut();
        // SAFETY: as in `start`. The notes of an outer tracker live as long as this one is in place, as that one cannot be taken away.
        unsafe {
            if let Some(outer) = (*self.notes).outer() {
                (*outer).within = (*outer).within.saturating_sub(1);
            }
            let current = ffi::lua_getallocf(self.l, &raw mut ud);
            if std::ptr::fn_addr_eq(current, allocate as lua_Alloc) && std::ptr::eq(ud, self.notes.cast()) {
                ffi::lua_setallocf(self.l, (*self.notes).inner, (*self.notes).inner_ud);
                drop(Box::from_raw(self.notes));
            } else {
                // Somebody has put an allocator of his own in front of this one: the wrapper must live on behind it, and forwards.
                (*self.notes).quiet = true;
                (*self.notes).fresh = Fresh::default();
            }
        }
    }
}
