//! Which tables and functions a chunk creates while it runs (R2.2).
//!
//! A wrapper, the *front*, stands before the state's own allocator. For a new object Lua passes it
//! the object's type; it forwards and notes the address with a running number. It is taken away
//! when the last [`Tracker`] ends, also when the chunk raised.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;

use mlua::ffi::{self, lua_Alloc, lua_State};
use rustc_hash::FxHashMap;

use super::protected;
use super::vm::Vm;
use crate::support::error::Result;

/// What the chunk created, by address.
#[derive(Default)]
pub struct Fresh {
    objects: FxHashMap<usize, u32>,
    /// Objects that the chunk of a newly required dependency created.
    external: FxHashMap<usize, ()>,
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

    /// The object's place in the order of creation, for one that the chunk itself or what it called
    /// created.
    #[inline]
    pub fn order(&self, addr: usize) -> Option<u32> {
        self.objects.get(&addr).copied()
    }

    /// Created meanwhile, be it by a newly required dependency's own chunk?
    pub fn created(&self, addr: usize) -> bool {
        self.objects.contains_key(&addr) || self.external.contains_key(&addr)
    }
}

/// What one tracker notes. Those of a front make a list, the newest first.
struct Notes {
    /// None: nothing is noted, and what others note is not their own meanwhile.
    fresh: Option<Fresh>,
    next: u32,
    /// How many dependencies are being loaded.
    depth: *const Cell<u32>,
    outer: *mut Notes,
}

impl Notes {
    /// # Safety
    /// Live notes, whose counter is alive. `newest`: no other tracker was started since this one.
    unsafe fn is_external(notes: *const Notes, newest: bool) -> bool {
        // SAFETY: as promised.
        unsafe { !newest || (*(*notes).depth).get() > 0 }
    }

    /// Makes room for one more object; false where there is no memory.
    ///
    /// # Safety
    /// As for [`Notes::is_external`].
    unsafe fn reserve(notes: *mut Notes, newest: bool) -> bool {
        // SAFETY: as promised; the reference ends with this function, which calls nothing of Lua's.
        unsafe {
            let external = Notes::is_external(notes, newest);
            match &mut (*notes).fresh {
                Some(fresh) if external => fresh.external.try_reserve(1).is_ok(),
                Some(fresh) => fresh.objects.try_reserve(1).is_ok(),
                None => true,
            }
        }
    }

    /// # Safety
    /// As for [`Notes::is_external`].
    unsafe fn note(notes: *mut Notes, newest: bool, object: usize) {
        // SAFETY: as promised; the reference ends with this function, which calls nothing of Lua's.
        unsafe {
            let external = Notes::is_external(notes, newest);
            let number = (*notes).next;
            match &mut (*notes).fresh {
                Some(fresh) if external => {
                    fresh.external.insert(object, ());
                }
                Some(fresh) => {
                    fresh.objects.insert(object, number);
                    (*notes).next += 1;
                }
                None => {}
            }
        }
    }

    /// # Safety
    /// Live notes.
    unsafe fn forget(notes: *mut Notes, object: usize) {
        // SAFETY: as promised; the reference ends with this function, which calls nothing of Lua's.
        if let Some(fresh) = unsafe { &mut (*notes).fresh }
            && fresh.objects.remove(&object).is_none()
        {
            fresh.external.remove(&object);
        }
    }
}

/// What was created so far, while a tracker takes notes.
#[derive(Clone, Copy)]
pub struct Creations<'a> {
    /// The tracker's one element.
    notes: *const Notes,
    life: PhantomData<&'a Tracker>,
}

impl Creations<'_> {
    /// See [`Fresh::created`].
    pub fn created(self, addr: usize) -> bool {
        // SAFETY: the notes live as long as the tracker, and change only while Lua allocates.
        unsafe {
            (*self.notes)
                .fresh
                .as_ref()
                .is_some_and(|fresh| fresh.created(addr))
        }
    }

    /// From now on (`by` 1), and until as often -1 is given, a dependency is being loaded: what is
    /// created is its own.
    pub fn dependency(self, by: i32) {
        // SAFETY: as above; the counter outlives the tracker.
        let depth = unsafe { &*(*self.notes).depth };
        depth.set(depth.get().saturating_add_signed(by));
    }
}

/// What Lua gets as its allocator's `ud`: the allocator that stands behind, and the notes to take.
///
/// Anybody may ask Lua for its allocator while a front is in place, and call it whenever he likes.
/// So a front lives in a userdata of the state's registry, which no finalizer frees: it is there
/// until Lua frees its last objects. A state has one, however often it loads something; another one
/// only where the program has put an allocator of its own in front.
struct Front {
    inner: lua_Alloc,
    inner_ud: *mut c_void,
    newest: *mut Notes,
}

impl Front {
    /// Where the registry has the newest front.
    const KEY: *const c_void = allocate as lua_Alloc as *const c_void;

    /// Is this the allocator behind it?
    fn stands_before(&self, (inner, inner_ud): Allocator) -> bool {
        std::ptr::fn_addr_eq(self.inner, inner) && std::ptr::eq(self.inner_ud, inner_ud)
    }

    /// Puts the front in place for the allocator that Lua calls, the one that it stood in front of
    /// before if that can be.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    ///
    /// # Safety
    /// A live state that can run, with room for a value.
    unsafe fn put(l: *mut lua_State) -> Result<*mut Front> {
        // SAFETY: as promised; a known front lives as long as the state. Setting the allocator
        // cannot raise.
        unsafe {
            let current = match in_place(l) {
                Ok(front) => return Ok(front),
                Err(current) => current,
            };
            let mut front = Front::known(l);
            if front.is_null() {
                front = Front::make(l, current)?;
            } else if !(*front).stands_before(current) {
                stay_mapped(); // the allocator that is in place now may forward to that front
                front = Front::make(l, current)?;
            }
            ffi::lua_setallocf(l, allocate, front.cast());
            Ok(front)
        }
    }

    /// The state's newest front; null before the first.
    ///
    /// # Safety
    /// A live state, with room for a value.
    unsafe fn known(l: *mut lua_State) -> *mut Front {
        // SAFETY: as promised. Only `make` has the key; it is no value that a program can make.
        unsafe {
            ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, Front::KEY);
            let front = ffi::lua_touserdata(l, -1).cast();
            ffi::lua_settop(l, -2);
            front
        }
    }

    /// # Safety
    /// As for [`Front::put`].
    unsafe fn make(l: *mut lua_State, (inner, inner_ud): Allocator) -> Result<*mut Front> {
        // SAFETY: in a protected call. Lua aligns a userdata for pointers. The front that was the
        // newest is the new one's user value: it is kept as well.
        unsafe {
            protected::run(l, 0, |l| {
                let front = ffi::lua_newuserdatauv(l, size_of::<Front>(), 1).cast::<Front>();
                front.write(Front {
                    inner,
                    inner_ud,
                    newest: null_mut(),
                });
                ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, Front::KEY);
                ffi::lua_setiuservalue(l, -2, 1);
                ffi::lua_createtable(l, 0, 1);
                ffi::lua_pushcfunction(l, closing);
                ffi::lua_setfield(l, -2, c"__gc".as_ptr());
                ffi::lua_setmetatable(l, -2);
                ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, Front::KEY);
            })?;
            Ok(Front::known(l))
        }
    }
}

/// An allocator, and what Lua passes to it.
type Allocator = (lua_Alloc, *mut c_void);

/// The front that Lua calls, or the allocator that it calls instead.
///
/// # Safety
/// A live state.
unsafe fn in_place(l: *mut lua_State) -> std::result::Result<*mut Front, Allocator> {
    let mut ud = null_mut();
    // SAFETY: as promised; reading the allocator cannot raise.
    let current = unsafe { ffi::lua_getallocf(l, &raw mut ud) };
    if std::ptr::fn_addr_eq(current, allocate as lua_Alloc) {
        Ok(ud.cast())
    } else {
        Err((current, ud))
    }
}

/// The allocator that Lua calls while a front is in place, and whoever has asked Lua for it then,
/// at any time.
unsafe extern "C" fn allocate(
    ud: *mut c_void,
    old: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    // SAFETY: `ud` is a front, which lives as long as the state. Notes in its list are alive. No
    // reference lives across a call of the allocator behind. All arguments are forwarded as
    // they came.
    unsafe {
        let front = ud.cast::<Front>();
        // The state is closed, and its allocator still forwards to this front, which then must not
        // go: there are more calls to come.
        if new_size == 0 && ud.addr().wrapping_sub(old.addr()) < old_size && !old.is_null() {
            return null_mut();
        }
        let (inner, inner_ud, newest) = ((*front).inner, (*front).inner_ud, (*front).newest);
        if newest.is_null() {
            return inner(inner_ud, old, old_size, new_size);
        }
        let kind = old_size as c_int;
        if old.is_null() && new_size > 0 && (kind == ffi::LUA_TTABLE || kind == ffi::LUA_TFUNCTION)
        {
            let mut notes = newest;
            while !notes.is_null() {
                if !Notes::reserve(notes, notes == newest) {
                    return null_mut(); // Lua reports it as its own lack of memory
                }
                notes = (*notes).outer;
            }
            let new = inner(inner_ud, old, old_size, new_size);
            notes = newest;
            while !notes.is_null() && !new.is_null() {
                Notes::note(notes, notes == newest, new.addr());
                notes = (*notes).outer;
            }
            return new;
        }
        if new_size == 0 && !old.is_null() {
            let mut notes = newest;
            while !notes.is_null() {
                Notes::forget(notes, old.addr());
                notes = (*notes).outer;
            }
        }
        inner(inner_ud, old, old_size, new_size)
    }
}

/// A front's `__gc`: the state is being closed, and Lua is about to unmap the libraries that
/// `require` has loaded.
///
/// A chunk that calls `os.exit(true, true)` closes the state while the front is in place. And
/// somebody may call the front when this library is closed already: an allocator that forwards to
/// it, or another C library of this state. Then this library stays mapped.
unsafe extern "C-unwind" fn closing(l: *mut lua_State) -> c_int {
    // SAFETY: a frame of Lua's, with room. The argument, which a program may choose, is no more
    // than compared. `_CLIBS` exists where libraries were loaded, so its name is not allocated.
    unsafe {
        let front = Front::known(l);
        if front.is_null() || !std::ptr::eq(ffi::lua_touserdata(l, 1), front.cast()) {
            return 0; // where there are several fronts the library is to stay mapped anyway
        }
        match in_place(l) {
            Ok(found) if std::ptr::eq(found, front) => {
                ffi::lua_setallocf(l, (*front).inner, (*front).inner_ud)
            }
            Err(current) if !(*front).stands_before(current) => stay_mapped(),
            _ => {}
        }
        if ffi::lua_getfield(l, ffi::LUA_REGISTRYINDEX, c"_CLIBS".as_ptr()) == ffi::LUA_TTABLE
            && ffi::lua_rawlen(l, -1) > 1
        {
            stay_mapped();
        }
        0
    }
}

/// Keeps this library mapped until the process ends.
#[cfg(all(unix, feature = "module"))]
fn stay_mapped() {
    // SAFETY: the linker is asked for the library that this function stands in, which is loaded; it
    // only marks it.
    unsafe {
        let mut info = std::mem::zeroed::<libc::Dl_info>();
        if libc::dladdr(Front::KEY, &raw mut info) != 0 {
            libc::dlopen(
                info.dli_fname,
                libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
            );
        }
    }
}

/// The program itself, which is never unmapped.
#[cfg(not(all(unix, feature = "module")))]
fn stay_mapped() {}

/// Takes notes until it is stopped or dropped.
pub struct Tracker {
    l: *mut lua_State,
    front: *mut Front,
    /// One element; the front has its address as well.
    notes: Vec<Notes>,
}

impl Tracker {
    /// Notes objects in `fresh` from now on (none: it only stands before those that do). What is
    /// created while `depth` is above 0, or while a newer tracker takes notes, counts as a
    /// dependency's.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    ///
    /// # Safety
    /// `depth` must outlive the tracker, and so must the state.
    pub unsafe fn start(vm: &Vm, fresh: Option<Fresh>, depth: *const Cell<u32>) -> Result<Tracker> {
        let mut notes = Vec::new();
        notes.try_reserve_exact(1)?;
        // SAFETY: the view's state is live, and its frame has room for a value. The list's one
        // element does not move.
        unsafe {
            let front = Front::put(vm.caller())?;
            notes.push(Notes {
                fresh,
                next: 0,
                depth,
                outer: (*front).newest,
            });
            (*front).newest = notes.as_mut_ptr();
            let l = vm.main_thread();
            Ok(Tracker { l, front, notes })
        }
    }

    /// What was created so far.
    pub fn made(&self) -> Creations<'_> {
        Creations {
            notes: self.notes.as_ptr(),
            life: PhantomData,
        }
    }

    /// Ends it and hands over what it noted.
    pub fn stop(mut self) -> Fresh {
        self.notes
            .first_mut()
            .and_then(|notes| notes.fresh.take())
            .unwrap_or_default()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let own = self.notes.as_mut_ptr();
        // SAFETY: the state and its fronts are alive, and so are all notes in the list. Reading and
        // setting the allocator cannot raise.
        unsafe {
            let mut link = &raw mut (*self.front).newest;
            while !(*link).is_null() && *link != own {
                link = &raw mut (**link).outer;
            }
            if *link == own {
                *link = (*own).outer;
            }
            if !(*self.front).newest.is_null() {
                return;
            }
            if in_place(self.l).is_ok_and(|found| std::ptr::eq(found, self.front)) {
                ffi::lua_setallocf(self.l, (*self.front).inner, (*self.front).inner_ud);
            } else {
                stay_mapped(); // somebody has put an allocator of his own in front, which forwards
            }
        }
    }
}
