//! What a pass keeps between two steps, and between two calls.
//!
//! It is Rust's, but stands in a full userdata, which frees it. The userdata's user value is a Lua
//! thread, the *anchor*: on its stack stand the weak table for the time between two calls, a string
//! (a sample of that type), and the threads with the objects on their way.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use mlua::ffi::{self, lua_State};
use rustc_hash::FxHashSet;

use super::Progress;
use super::seen::{GRAIN, SeenAddresses};
use super::segment::{BATCH, SLACK, Segment};
use crate::lua::protected;
use crate::lua::vm::{Ref, Vm};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush};

/// The weak table's index on the anchor.
const WEAK: c_int = 1;
/// The string's: `__index`.
pub const STRING: c_int = 2;
/// Objects that a pause puts into the weak table at most; where more wait, they are held.
const SLEEPERS: usize = 1 << 14;

/// Where the walk over an object that was set aside goes on.
#[derive(Clone, Copy)]
pub enum Aside {
    /// A table, behind the key beside it.
    Table,
    /// The same, but the program has run since.
    Paused,
    /// A coroutine.
    Stack {
        /// The activation.
        level: u32,
        /// Its slot.
        n: i32,
    },
}

/// What a pass is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Working,
    /// So many objects are in the weak table, the aside ones behind them.
    Asleep(usize),
    Done,
    Broken,
}

/// A pass.
pub struct PassState {
    pub seen: SeenAddresses,
    /// The addresses that are wanted: the bits may take a C function's neighbour for it.
    pub wanted: FxHashSet<usize>,
    pub anchor: *mut lua_State,
    /// Is worked off, from its top down.
    pub current: Segment,
    /// Takes what is found.
    pub fill: Segment,
    /// Wait behind it, the last first.
    pub full: Vec<Segment>,
    pub spare: Vec<Segment>,
    /// Objects and keys that were set aside, pairs; `aside` tells how to go on.
    pub aside_thread: *mut lua_State,
    pub aside: Vec<Aside>,
    pub objects: u64,
    /// Tables that loops (`for … in`) go over.
    pub loops: FxHashSet<usize>,
    /// Of some stack not all was looked at.
    pub is_partial: bool,
    /// Metatables that lead to the class at this address are wanted; 0 for none.
    pub class: usize,
    phase: Phase,
}

impl PassState {
    fn new() -> PassState {
        PassState {
            seen: SeenAddresses::new(),
            wanted: FxHashSet::default(),
            anchor: null_mut(),
            current: Segment::NONE,
            fill: Segment::NONE,
            full: Vec::new(),
            spare: Vec::new(),
            aside_thread: null_mut(),
            aside: Vec::new(),
            objects: 0,
            loops: FxHashSet::default(),
            is_partial: false,
            class: 0,
            phase: Phase::New,
        }
    }

    pub fn progress(&self) -> Progress {
        Progress {
            objects: self.objects,
            waiting: self.waiting() as u64,
            bytes: self.seen.bytes(),
        }
    }

    /// References to this address are wanted.
    pub fn want(&mut self, address: usize) -> Result<()> {
        self.wanted.try_insert_value(address, ())?;
        self.seen.want(address).ok_or(Error::Memory)
    }

    /// Can the pass not go on, as it is at its end or an error came between?
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Broken)
    }

    /// Objects that wait.
    pub fn waiting(&self) -> usize {
        let asleep = match self.phase {
            Phase::Asleep(count) => count,
            _ => 0,
        };
        asleep
            + self.full.len() * BATCH as usize
            + (self.fill.len + self.current.len) as usize
            + 2 * self.aside.len()
    }

    /// Is this the pass's first call? It is not any more.
    pub fn begin(&mut self) -> bool {
        let new = self.phase == Phase::New;
        self.phase = Phase::Working;
        new
    }

    /// The pass is at its end: nothing of it is kept.
    pub fn finish(&mut self) {
        self.phase = Phase::Done;
        self.seen.clear();
        self.wanted = FxHashSet::default();
        self.spare = Vec::new();
        self.full = Vec::new();
        self.aside = Vec::new();
        if !self.anchor.is_null() {
            // SAFETY: the anchor's stack holds nothing that is used again.
            unsafe { ffi::lua_settop(self.anchor, 0) };
        }
        self.current = Segment::NONE;
        self.fill = Segment::NONE;
    }

    /// An error came between: the pass cannot go on.
    pub fn give_up(&mut self) {
        self.finish();
        self.phase = Phase::Broken;
    }

    /// A new thread on the anchor.
    fn new_thread(&mut self, l: *mut lua_State) -> Result<*mut lua_State> {
        let anchor = self.anchor;
        // SAFETY: the thread is made in a protected call and then moved to the anchor, which has
        // room.
        unsafe {
            if ffi::lua_checkstack(anchor, SLACK) == 0 {
                return Err(Error::Memory);
            }
            protected::run(l, 1, |l| {
                ffi::lua_newthread(l);
            })?;
            ffi::lua_xmove(l, anchor, 1);
            let thread = ffi::lua_tothread(anchor, -1);
            if ffi::lua_checkstack(thread, BATCH + SLACK) == 0 {
                return Err(Error::Memory);
            }
            Ok(thread)
        }
    }

    /// The fill segment is full: it waits, and another takes its place.
    #[cold]
    #[inline(never)]
    pub fn new_segment(&mut self, l: *mut lua_State) -> Result<()> {
        let next = match self.spare.pop() {
            Some(spare) => spare,
            None => Segment {
                thread: self.new_thread(l)?,
                len: 0,
            },
        };
        self.full.try_reserve(1)?;
        self.full.push(std::mem::replace(&mut self.fill, next));
        Ok(())
    }

    /// Makes the pass ready to go on. What the collector took meanwhile does not wait any more.
    pub fn wake(&mut self, l: *mut lua_State) -> Result<()> {
        match self.phase {
            Phase::Done | Phase::Broken => {
                return Err(Error::Panic("a pass that has ended goes on".into()));
            }
            Phase::New => {
                for _ in 0..3 {
                    let thread = self.new_thread(l)?;
                    self.spare.try_push(Segment { thread, len: 0 })?;
                }
                let mut take = || self.spare.pop().unwrap_or(Segment::NONE);
                (self.current, self.fill) = (take(), take());
                self.aside_thread = take().thread;
                return Ok(());
            }
            Phase::Working => {} // the objects were held
            Phase::Asleep(count) => {
                let pairs = self.aside.len() as c_int * 2;
                // SAFETY: raw access to the weak table, which stands on the anchor; each value goes
                // on at once.
                unsafe {
                    let anchor = self.anchor;
                    if ffi::lua_checkstack(anchor, SLACK) == 0
                        || ffi::lua_checkstack(self.aside_thread, pairs + SLACK) == 0
                    {
                        return Err(Error::Memory);
                    }
                    for n in 1..=count as i64 {
                        if ffi::lua_rawgeti(anchor, WEAK, n) <= ffi::LUA_TSTRING {
                            ffi::lua_settop(anchor, -2);
                            continue;
                        }
                        if self.fill.len == BATCH {
                            // The value goes under the new thread, which comes to stand above it.
                            let found = ffi::lua_gettop(anchor);
                            self.new_segment(l)?;
                            ffi::lua_pushvalue(anchor, found);
                            ffi::lua_xmove(anchor, self.fill.thread, 1);
                            ffi::lua_remove(anchor, found);
                        } else {
                            ffi::lua_xmove(anchor, self.fill.thread, 1);
                        }
                        self.fill.len += 1;
                    }
                    for n in 1..=i64::from(pairs) {
                        ffi::lua_rawgeti(anchor, WEAK, count as i64 + n);
                        ffi::lua_xmove(anchor, self.aside_thread, 1);
                    }
                }
            }
        }
        for aside in &mut self.aside {
            if matches!(aside, Aside::Table) {
                *aside = Aside::Paused;
            }
        }
        self.phase = Phase::Working;
        Ok(())
    }

    /// Lets the program run: what waits goes into the weak table. Where there is no memory for
    /// that, or too much waits, it is held instead.
    pub fn sleep(&mut self, l: *mut lua_State) -> Result<()> {
        let waiting = self.waiting();
        if waiting > SLEEPERS {
            return Ok(());
        }
        let pairs = self.aside.len() as c_int * 2;
        let (anchor, aside) = (self.anchor, self.aside_thread);
        // A raise would jump over an iterator that owns something: in a protected call there is
        // only a slice.
        let mut stacks = Vec::new();
        if stacks.try_reserve_exact(self.full.len() + 3).is_err() {
            return Ok(());
        }
        let segments = self.full.iter().chain([&self.fill, &self.current]);
        stacks.extend(segments.map(|segment| (segment.thread, segment.len)));
        let objects: usize = stacks.iter().map(|&(_, len)| len as usize).sum();
        stacks.push((aside, pairs));
        let stacks = stacks.as_slice();
        // SAFETY: the table may grow, so it is filled in a protected call, with copies; segments
        // and anchor have room for a value in passing.
        let moved = unsafe {
            protected::run(l, 0, |l| {
                ffi::lua_pushvalue(anchor, WEAK);
                ffi::lua_xmove(anchor, l, 1);
                let mut n = 0;
                for &(thread, len) in stacks {
                    for index in 1..=len {
                        n += 1;
                        ffi::lua_pushvalue(thread, index);
                        ffi::lua_xmove(thread, l, 1);
                        ffi::lua_rawseti(l, 1, n);
                    }
                }
                ffi::lua_settop(l, 0);
            })
        };
        if moved.is_err() {
            return Ok(());
        }
        self.spare.try_reserve(self.full.len())?;
        for segment in self.full.drain(..) {
            self.spare.push(segment);
        }
        for segment in self
            .spare
            .iter_mut()
            .chain([&mut self.fill, &mut self.current])
        {
            segment.len = 0;
            // SAFETY: the values are in the table.
            unsafe { ffi::lua_settop(segment.thread, 0) };
        }
        // SAFETY: as above.
        unsafe { ffi::lua_settop(aside, 0) };
        self.phase = Phase::Asleep(objects);
        Ok(())
    }
}

/// What tells an object by its address: a full userdata's is that of its memory, which may end
/// where another object begins. What stands before it in the same block takes four words and more.
#[inline(always)]
pub fn key(address: usize, t: c_int) -> usize {
    if t == ffi::LUA_TUSERDATA {
        address.wrapping_sub(GRAIN)
    } else {
        address
    }
}

/// The key under which a pass's metatable knows itself.
static MARK: u8 = 0;

fn mark() -> *const c_void {
    (&raw const MARK).cast()
}

/// `__gc` of a pass.
pub unsafe extern "C-unwind" fn collect(l: *mut lua_State) -> c_int {
    // SAFETY: only the userdata that `make` made are taken; what is left behind is empty, and can
    // be dropped again.
    unsafe {
        if let Some(state) = own(l, 1) {
            drop(std::mem::replace(&mut *state, PassState::new()));
            (*state).phase = Phase::Broken;
        }
    }
    0
}

/// The pass in the value at an index, if it is one. `[-0, +0, -]`
unsafe fn own(l: *mut lua_State, index: c_int) -> Option<*mut PassState> {
    // SAFETY: the caller has room for two values.
    unsafe {
        let state = ffi::lua_touserdata(l, index).cast::<PassState>();
        if ffi::lua_type(l, index) != ffi::LUA_TUSERDATA || ffi::lua_getmetatable(l, index) == 0 {
            return None;
        }
        let marked = ffi::lua_rawgetp(l, -1, mark()) == ffi::LUA_TBOOLEAN;
        ffi::lua_settop(l, -3);
        marked.then_some(state)
    }
}

/// A new pass, in a userdata that the view holds.
pub fn make(vm: &mut Vm) -> Result<Ref> {
    // SAFETY: all that may raise is in a protected call, and the state owns nothing before it has
    // its finalizer. The anchor is the user value.
    unsafe {
        protected::run(vm.caller(), 1, |l| {
            let state = ffi::lua_newuserdatauv(l, size_of::<PassState>(), 1).cast::<PassState>();
            state.write(PassState::new());
            let anchor = ffi::lua_newthread(l);
            ffi::lua_setiuservalue(l, 1, 1);
            (*state).anchor = anchor;
            ffi::lua_createtable(l, 0, 0);
            ffi::lua_createtable(l, 0, 1);
            ffi::lua_pushstring(l, c"v".as_ptr());
            ffi::lua_setfield(l, -2, c"__mode".as_ptr());
            ffi::lua_setmetatable(l, -2);
            ffi::lua_xmove(l, anchor, 1);
            ffi::lua_pushstring(l, c"__index".as_ptr());
            ffi::lua_xmove(l, anchor, 1);
            ffi::lua_createtable(l, 0, 2);
            ffi::lua_pushcfunction(l, collect);
            ffi::lua_setfield(l, -2, c"__gc".as_ptr());
            ffi::lua_pushboolean(l, 1);
            ffi::lua_rawsetp(l, -2, mark());
            ffi::lua_setmetatable(l, 1);
        })?;
    }
    vm.keep_from_caller()
}

/// The pass that the view holds.
pub fn state(vm: &Vm, r: Ref) -> Result<*mut PassState> {
    let (thread, index) = vm.at(r);
    // SAFETY: a held value; its thread has room for values in passing.
    unsafe { own(thread, index) }.ok_or_else(|| Error::Panic("not a pass over the heap".into()))
}
