//! The walk over the whole Lua VM (R9): every place that holds a wanted value.
//!
//! A *pass* begins at the registry, the metatables of the basic types and the running coroutine,
//! and looks once at each table, function, userdata and coroutine that it reaches. An address is
//! *wanted* by [`Heap::want`], or because the source of its function is. Each place that holds a
//! wanted value is a [`Hit`]. Nothing is written, no metamethod runs, nothing is called that may
//! raise but through [`protected`](super::protected).
//!
//! **Objects on their way** stand on Lua threads of the walk's own, the *segments* ([`BATCH`]
//! values each). One segment is worked off in place, from its top down, while what is found goes to
//! another; then the last one filled is next. So the order within a segment is known beforehand and
//! memory can be fetched early, and what waits stays small: chains are walked in breadth, wide
//! heaps in depth. A table with more than [`BATCH`] new objects, or a huge one, is *set aside* with
//! its last key, until nothing else waits.
//!
//! **What is not seen**, for want of a function in Lua's API: values that a host keeps on the stack
//! of a thread *below* the first function that runs on it; objects that wait for their finalizer; a
//! function that is being compiled, which has no cells yet; of a stack of more than 8,256
//! activations those in the middle (Lua finds an activation by counting, so the time would grow
//! with the square; [`Heap::is_partial`]).
//!
//! **A pass in slices.** Between two calls of [`Heap::walk`] the program may do what it likes. Of
//! the paused pass only a full userdata is left. It owns the bits over addresses ([`seen`]) and a
//! weak table with the objects on their way, so that it keeps nothing alive, and is freed
//! with the state. A pass that ends within one call has found every reference there is. A pass in
//! slices has found each one that stood in the same place all the time, if that place belongs to
//! * a table, userdata or function that was reachable all the time, and was not made during the
//!   pass (a new object may stand where an old one was met and has died; it is then taken for met);
//! * for a table that was set aside when a slice ended: one that was not rehashed before the next;
//! * for a coroutine: one that did not run meanwhile. The stack of the running coroutine is looked
//!   at anew in each slice.
//!
//! Whatever the program moved about, the next pass finds.

mod objects;
mod pause;
mod seen;
mod segment;

#[cfg(feature = "vendored")]
pub mod probe;

use std::time::{Duration, Instant};

use mlua::ffi::{self, lua_State};
use rustc_hash::FxHashSet;

pub use self::objects::MOST_CALLS;
use self::pause::PassState;
use self::segment::BATCH;
use super::debug::DebugRecord;
use super::vm::{Ref, Vm, is_whole};
use crate::support::error::{Error, Result};
use crate::support::fault::{self, caught};
use crate::support::mem::{TryInsert, TryPush};

/// Where a value stands: a place that can be written to, but for [`Place::Running`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// `table[key]`.
    Value {
        /// The table.
        table: Ref,
        /// The key.
        key: Ref,
    },
    /// A key of a table; the hit's value is the key.
    Key {
        /// The table.
        table: Ref,
        /// The key.
        key: Ref,
    },
    /// The metatable of a table or full userdata.
    Metatable {
        /// The table or userdata.
        of: Ref,
    },
    /// The metatable of a basic type.
    TypeMetatable {
        /// Some value of the type.
        of: Ref,
    },
    /// An upvalue of a Lua or C function. Of a cell that several functions share, one call reports
    /// one function.
    Upvalue {
        /// The function.
        function: Ref,
        /// Counted from 1.
        index: u8,
    },
    /// A user value.
    UserValue {
        /// The full userdata.
        userdata: Ref,
        /// Counted from 1.
        n: u16,
    },
    /// A slot of an activation, for `lua_getstack` and `lua_setlocal` on the coroutine itself. Good
    /// as long as the coroutine neither runs nor calls: for the running one not within a
    /// protected call, which is one level more. The varargs of an activation are temporaries of
    /// the one that called it; only where nothing called it they are reported as varargs.
    Local {
        /// The coroutine.
        thread: Ref,
        /// The activation; 0 is the innermost.
        level: u32,
        /// Locals and temporaries are counted from 1, varargs from -1 downwards.
        n: i32,
    },
    /// A slot of a coroutine on which no function is active: it has not started, or is finished.
    Slot {
        /// The coroutine.
        thread: Ref,
        /// The index on its stack, from 1.
        index: i32,
    },
    /// An activation of a coroutine that may go on; the hit's value is its function. Nothing can be
    /// written there.
    Running {
        /// The coroutine.
        thread: Ref,
        /// The activation; 0 is the innermost.
        level: u32,
    },
}

/// A reference to a wanted value.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// Where it stands.
    pub place: Place,
    /// The value.
    pub value: Ref,
}

/// How far a pass has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Objects that were looked at: tables, functions, full userdata, coroutines.
    pub objects: u64,
    /// Of these: objects that wait, as far as they are known.
    pub waiting: u64,
    /// Bytes of bookkeeping outside the Lua state.
    pub bytes: usize,
}

/// A pass over the VM. It is held by a view, and lives on in the Lua state between two calls:
/// [`Heap::handle`], [`Heap::resume`].
#[derive(Clone, Copy, Debug)]
pub struct Heap(Ref);

impl Heap {
    /// Begins a pass. Tables and coroutines in `skip` are not walked, nor are the view's own.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn start(vm: &mut Vm, skip: &[Ref]) -> Result<Heap> {
        let heap = Heap(pause::make(vm)?);
        heap.skip(vm, skip)?;
        Ok(heap)
    }

    /// Goes on with a pass that was paused; `handle` holds what [`Heap::handle`] gave.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Panic`] when the value is no pass.
    pub fn resume(vm: &mut Vm, handle: Ref, skip: &[Ref]) -> Result<Heap> {
        let heap = Heap(handle);
        heap.skip(vm, skip)?;
        Ok(heap)
    }

    /// Is `handle` a pass that can go on? One that an error broke off cannot.
    pub fn can_resume(vm: &Vm, handle: Ref) -> bool {
        // SAFETY: nothing else uses the pass's state meanwhile.
        pause::state(vm, handle).is_ok_and(|state| unsafe { !(*state).is_over() })
    }

    /// The full userdata that owns the pass: to be kept where the pass is to be continued. It holds
    /// no object of the program.
    pub fn handle(self) -> Ref {
        self.0
    }

    fn skip(self, vm: &Vm, skip: &[Ref]) -> Result<()> {
        // SAFETY: nothing else uses the pass's state meanwhile; the userdata's own address is never
        // dereferenced.
        unsafe {
            let state = &mut *pause::state(vm, self.0)?;
            let own = vm.threads().map(|thread| thread as usize);
            let (thread, index) = vm.at(self.0);
            let me = pause::key(
                ffi::lua_topointer(thread, index) as usize,
                ffi::LUA_TUSERDATA,
            );
            let given = skip
                .iter()
                .map(|&r| vm.val(r).addr)
                .filter(|&address| address != 0);
            for address in own.chain([me]).chain(given) {
                state.seen.meet(address).ok_or(Error::Memory)?;
            }
        }
        Ok(())
    }

    /// Every reference to the table or function at this address is a hit from now on. The caller
    /// holds it: the address of an object that died may become another's.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Panic`] when this is no pass.
    pub fn want(self, vm: &Vm, address: usize) -> Result<()> {
        // SAFETY: nothing else uses the pass's state meanwhile.
        unsafe { (*pause::state(vm, self.0)?).want(address) }
    }

    /// Every table and userdata whose metatable is this class, or leads to it by `__index`, is a
    /// hit from now on ([`Place::Metatable`]). The caller holds the class.
    ///
    /// # Errors
    /// [`Error::Panic`] when this is no pass.
    pub fn want_instances(self, vm: &Vm, class: Ref) -> Result<()> {
        // SAFETY: nothing else uses the pass's state meanwhile.
        unsafe { (*pause::state(vm, self.0)?).class = vm.val(class).addr };
        Ok(())
    }

    /// Has the pass met a loop (`for … in`) over this table?
    ///
    /// # Errors
    /// [`Error::Panic`] when this is no pass.
    pub fn has_loop(self, vm: &Vm, table: Ref) -> Result<bool> {
        // SAFETY: nothing else uses the pass's state meanwhile.
        unsafe {
            Ok((*pause::state(vm, self.0)?)
                .loops
                .contains(&vm.val(table).addr))
        }
    }

    /// Has the pass met a stack that is too deep to be looked at as a whole?
    ///
    /// # Errors
    /// [`Error::Panic`] when this is no pass.
    pub fn is_partial(self, vm: &Vm) -> Result<bool> {
        // SAFETY: nothing else uses the pass's state meanwhile.
        unsafe { Ok((*pause::state(vm, self.0)?).is_partial) }
    }

    /// How far the pass has come.
    ///
    /// # Errors
    /// [`Error::Panic`] when this is no pass.
    pub fn progress(self, vm: &Vm) -> Result<Progress> {
        // SAFETY: nothing else uses the pass's state meanwhile.
        unsafe { Ok((*pause::state(vm, self.0)?).progress()) }
    }

    /// Walks until the pass is at its end (then `true`) or the deadline is near, and appends what
    /// it found to `hits`.
    ///
    /// `wants` is asked once for each Lua function, when it is first met, with the address and the
    /// bytes of its source name (equal addresses within one call are equal names); if it says
    /// yes, the function is wanted from then on.
    ///
    /// The collector should be paused. A slice is longer than it may be by less than a hundred
    /// entries of a table take, unless one call of Lua's takes longer: `lua_next` over a large
    /// table that was emptied.
    ///
    /// # Errors
    /// [`Error::Memory`]. The pass can then not be continued.
    pub fn walk<W>(
        self,
        vm: &mut Vm,
        wants: W,
        hits: &mut Vec<Hit>,
        deadline: Option<Instant>,
    ) -> Result<bool>
    where
        W: FnMut(usize, &[u8]) -> bool,
    {
        let state = pause::state(vm, self.0)?;
        // SAFETY: the state lives in a userdata that the view holds, and nothing but this walk uses
        // it before it returns.
        let state = unsafe { &mut *state };
        let mut walk = HeapWalk {
            l: vm.caller(),
            vm,
            state,
            wants,
            hits,
            deadline,
            credit: LEAST,
            last_metatable: 0,
            last_source: (0, 0, false),
            cells: FxHashSet::default(),
        };
        let done = caught("in a walk over the VM", || walk.slice());
        if done.is_err() {
            walk.state.give_up();
        }
        done
    }
}

/// Entries that a call looks at in any case, so that a pass gets on whatever its budget.
const LEAST: i64 = 256;
/// Entries between two looks at the clock.
const CHECK: i64 = 64;
/// What it takes to put one object to sleep.
const SLEEP: Duration = Duration::from_nanos(30);
/// What it takes the caller to make of a hit what it is for, and to write that.
const USE: Duration = Duration::from_micros(3);
/// In entries: the same, roughly.
const USED: i64 = 32;

/// One call's part of a pass.
struct HeapWalk<'a, W> {
    /// The running coroutine.
    l: *mut lua_State,
    vm: &'a mut Vm,
    state: &'a mut PassState,
    wants: W,
    hits: &'a mut Vec<Hit>,
    deadline: Option<Instant>,
    /// Entries until the next look at the clock.
    credit: i64,
    /// The metatable met last: known and not wanted.
    last_metatable: usize,
    /// The source asked for last: address, length, answer.
    last_source: (usize, usize, bool),
    /// Cells that were reported in this call.
    cells: FxHashSet<usize>,
}

impl<W: FnMut(usize, &[u8]) -> bool> HeapWalk<'_, W> {
    fn slice(&mut self) -> Result<bool> {
        self.state.wake(self.l)?;
        // SAFETY: within the call of the view's C function; each step states what it leaves.
        let done = unsafe {
            self.roots()?;
            self.run()?
        };
        if done {
            self.state.finish();
        } else {
            self.state.sleep(self.l)?;
            // The view's threads end with the call: other objects may come to stand there.
            for thread in self.vm.threads() {
                self.state.seen.forget(thread as usize);
            }
        }
        Ok(done)
    }

    /// Works until nothing waits (then `true`) or the time is over.
    unsafe fn run(&mut self) -> Result<bool> {
        loop {
            if self.credit <= 0 && self.time_is_over() {
                return Ok(false);
            }
            let (g, i) = (self.state.current.thread, self.state.current.len);
            if i == 0 {
                // SAFETY: the current segment is empty.
                if !unsafe { self.next_segment()? } {
                    return Ok(true);
                }
                continue;
            }
            self.state.objects += 1;
            self.credit -= 1;
            // SAFETY: the object is the segment's top, at `i`; each of these takes it off.
            unsafe {
                match ffi::lua_type(g, i) {
                    ffi::LUA_TTABLE => self.table(g, i)?,
                    ffi::LUA_TFUNCTION => self.function(g, i)?,
                    ffi::LUA_TUSERDATA => self.userdata(g, i)?,
                    ffi::LUA_TTHREAD => self.thread(g, i, 0, 1)?,
                    _ => self.drop_top(g, i),
                }
            }
        }
    }

    /// The next segment becomes the current one; `false` when nothing waits any more.
    unsafe fn next_segment(&mut self) -> Result<bool> {
        fault::point()?;
        let state = &mut *self.state;
        if state.fill.len > 0 {
            std::mem::swap(&mut state.current, &mut state.fill);
        } else if let Some(full) = state.full.pop() {
            state
                .spare
                .try_push(std::mem::replace(&mut state.current, full))?;
        } else if let Some(aside) = state.aside.pop() {
            // SAFETY: the current segment is empty and has room.
            unsafe { self.go_on(aside)? };
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Looks at the clock. If there is time left, it begins to count anew; if not, whoever asks
    /// next is told the same.
    #[cold]
    fn time_is_over(&mut self) -> bool {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let ahead = SLEEP * count(self.state.waiting()) + USE * count(self.hits.len());
        let over = self
            .deadline
            .is_some_and(|deadline| Instant::now() + ahead >= deadline);
        self.credit = if over { 0 } else { CHECK };
        over
    }

    /// What is known of the value of type `t` on top of `src`. A function that is met for the first
    /// time is asked for, a coroutine of the view's own is never fresh.
    #[inline(always)]
    unsafe fn look(&mut self, src: *mut lua_State, t: i32) -> Result<seen::Sight> {
        // SAFETY: the value is on top.
        unsafe {
            let address = ffi::lua_topointer(src, -1) as usize;
            let mut sight = self
                .state
                .seen
                .meet(pause::key(address, t))
                .ok_or(Error::Memory)?;
            if sight.fresh {
                segment::prefetch(address);
                if t != ffi::LUA_TTABLE {
                    self.first_sight(src, t, address, &mut sight)?;
                }
            }
            if sight.wanted {
                sight.wanted = self.state.wanted.contains(&address);
            }
            Ok(sight)
        }
    }

    #[inline(never)]
    unsafe fn first_sight(
        &mut self,
        src: *mut lua_State,
        t: i32,
        address: usize,
        sight: &mut seen::Sight,
    ) -> Result<()> {
        // SAFETY: the value is on top of `src`, which has room for one more.
        unsafe {
            if t == ffi::LUA_TFUNCTION {
                let mut ar = DebugRecord::new();
                ffi::lua_pushvalue(src, -1);
                ffi::lua_getinfo(src, c">Su".as_ptr(), ar.as_mut_ptr());
                if (&raw const (*ar.as_ptr()).what).read().cast::<u8>().read() == b'C' {
                    return Ok(());
                }
                if !is_whole(src, -1, (&raw const (*ar.as_ptr()).nups).read()) {
                    // It is met when the compiler is done with it, be that in a later slice.
                    (sight.fresh, sight.wanted) = (false, false);
                    self.state.seen.forget(address);
                    return Ok(());
                }
                let source = (&raw const (*ar.as_ptr()).source).read();
                let len = (&raw const (*ar.as_ptr()).srclen).read();
                let (last, last_len, _) = self.last_source;
                if (last, last_len) != (source as usize, len) {
                    let bytes = std::slice::from_raw_parts(source.cast::<u8>(), len);
                    self.last_source = (source as usize, len, (self.wants)(source as usize, bytes));
                }
                if self.last_source.2 {
                    self.state.want(address)?;
                    sight.wanted = true;
                }
            } else if t == ffi::LUA_TTHREAD && self.vm.threads().any(|own| own as usize == address)
            {
                sight.fresh = false;
            }
        }
        Ok(())
    }

    /// Takes the top value of `src` off: to those that wait if it is fresh. `src: [-1, +0, -]`
    #[inline(always)]
    unsafe fn take(&mut self, src: *mut lua_State, fresh: bool) -> Result<()> {
        // SAFETY: both threads are of one state; a segment has room for BATCH values and some more.
        unsafe {
            if !fresh {
                ffi::lua_settop(src, -2);
                return Ok(());
            }
            if self.state.fill.len == BATCH {
                self.state.new_segment(self.l)?;
            }
            ffi::lua_xmove(src, self.state.fill.thread, 1);
            self.state.fill.len += 1;
        }
        Ok(())
    }

    /// Takes the object at the top of the current segment off. `g: back to i - 1`
    #[inline(always)]
    unsafe fn drop_top(&mut self, g: *mut lua_State, i: i32) {
        // SAFETY: `i` is the segment's height.
        unsafe { ffi::lua_settop(g, i - 1) };
        self.state.current.len = i - 1;
    }

    /// Keeps a copy of the value at an index of a thread, which has room for one more. `[-0, +0,
    /// -]`
    unsafe fn keep(&mut self, thread: *mut lua_State, index: i32) -> Result<Ref> {
        // SAFETY: both threads are of one state; room on the running one is made.
        unsafe {
            if ffi::lua_checkstack(self.l, 4) == 0 {
                return Err(Error::Memory);
            }
            ffi::lua_pushvalue(thread, index);
            ffi::lua_xmove(thread, self.l, 1);
        }
        self.vm.keep_from_caller()
    }

    /// Notes the value at `value` of `src` as a hit.
    unsafe fn hit(&mut self, place: Place, src: *mut lua_State, value: i32) -> Result<()> {
        fault::point()?;
        // SAFETY: both threads are of one state, and `src` has room for one more.
        let value = unsafe { self.keep(src, value)? };
        self.note(Hit { place, value })
    }

    /// A hit is work for the caller, in the same slice.
    fn note(&mut self, hit: Hit) -> Result<()> {
        self.credit -= USED;
        self.hits.try_push(hit)
    }

    /// Is this the first time in this call that the cell is reported?
    fn new_cell(&mut self, cell: usize) -> Result<bool> {
        Ok(self.cells.try_insert_value(cell, ())?.is_none())
    }
}
