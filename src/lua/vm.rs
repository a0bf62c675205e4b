//! Values of the running program, held by handle, and the calls on them that cannot raise.
//!
//! A [`Ref`] names a value that a [`Vm`] holds. The values stand on the stacks of Lua threads of
//! the reload's own, so a look at an upvalue or a join addresses them in place, nothing is copied,
//! and nothing held can be collected. Handles are only ever added; one that is out of range reads
//! as nil. A second thread (the *scratch*) takes what a call pushes for a moment.
//!
//! The invariant: every function here and in the files below leaves the scratch as high as it found
//! it (but for the one walk that may be under way), and calls nothing that may raise except through
//! [`protected`].
//!
//! * `kept`: values that were kept together; `cursor`: walks over tables; `walk`: whole tables;
//!   `function`: functions and their upvalues, which `upvalue` keeps; `compile`: compiling again;
//!   `source`: the names of sources; `digest`: digests of scalars;
//! * `write`: what changes the program, with a permit that only `lua/write.rs` can make;
//! * `place`: reads and writes the places that only a walk over the whole VM finds;
//! * `frozen`: a view that outlives its call.

mod closure;
mod compile;
mod compiled;
mod cursor;
mod digest;
mod frozen;
mod function;
mod kept;
mod place;
mod source;
mod upvalue;
mod walk;
mod write;

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::hash::BuildHasher;
use std::ptr::null_mut;

use mlua::ffi::{self, lua_State};

pub use super::dump::DebugInfo;
pub use compiled::Version;
pub use cursor::TableCursor;
pub(in crate::lua) use function::is_whole;
pub use kept::{Kept, KeptEntry, KeyValue};
pub use source::SourceId;
pub use upvalue::KeptUpvalue;
pub use walk::KeyDigests;

use super::protected;
use super::shared;
use crate::support::error::{Error, Result};
use crate::support::limits::Limits;
use crate::support::mem::{TryPush, copied};
use crate::support::secret::Secret;

/// Values for each holding thread: well under Lua's limit of a million slots.
const PER_THREAD: u32 = 1 << 17;
/// Of so many values it is remembered what they are.
const REMEMBERED: u32 = 1 << 16;
/// Slots above the held values of a thread, for values in passing.
const SLACK: c_int = 16;

/// The handle of a value that a [`Vm`] holds. `Ref::NIL` is nil.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Ref(pub u32);

impl Ref {
    /// The handle of nil.
    pub const NIL: Ref = Ref(0);

    /// The handle `n` places after this one: values kept together stand side by side ([`Kept`]).
    const fn after(self, n: u32) -> Ref {
        Ref(self.0 + n)
    }
}

/// Lua's types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[allow(missing_docs)]
pub enum Kind {
    #[default]
    Nil,
    Boolean,
    LightUserdata,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

impl Kind {
    fn of(tag: c_int) -> Kind {
        match tag {
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::LightUserdata,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            ffi::LUA_TUSERDATA => Kind::Userdata,
            ffi::LUA_TTHREAD => Kind::Thread,
            _ => Kind::Nil,
        }
    }

    /// The type's name, as `type` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Nil => "nil",
            Kind::Boolean => "boolean",
            Kind::LightUserdata | Kind::Userdata => "userdata",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Table => "table",
            Kind::Function => "function",
            Kind::Thread => "thread",
        }
    }
}

/// What a value is, without the value: type, and address where it has an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Val {
    /// Its type.
    pub kind: Kind,
    /// The object's address; 0 for values without one. A key only while the object is held.
    pub addr: usize,
}

impl Val {
    /// A table?
    pub fn is_table(self) -> bool {
        self.kind == Kind::Table
    }
    /// A function, Lua's or C's?
    pub fn is_function(self) -> bool {
        self.kind == Kind::Function
    }
    /// Nil?
    pub fn is_nil(self) -> bool {
        self.kind == Kind::Nil
    }
}

/// One entry of a table, beside what another table holds under its key.
#[derive(Clone, Copy, Debug)]
pub struct ComparedEntry {
    /// The key.
    pub key: Val,
    /// The value in the table that is walked.
    pub new: Val,
    /// The value in the other one.
    pub old: Val,
}

/// What `lua_getinfo` tells of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The number of its source's name; of a C function the default.
    pub source: SourceId,
    /// First line, 0 for a main chunk.
    pub line: i32,
    /// Last line.
    pub last: i32,
    /// Number of upvalues.
    pub upvalues: u8,
    /// Number of parameters.
    pub params: u8,
    /// Written in Lua, not in C.
    pub lua: bool,
    /// A main chunk.
    pub main: bool,
}

/// One upvalue of a function.
#[derive(Clone, Copy, Debug)]
pub struct UpvalueCell {
    /// The cell's identity (`lua_upvalueid`).
    pub cell: usize,
    /// What the cell holds.
    pub value: Val,
}

/// The reload's view of the running Lua state.
pub struct Vm {
    /// The state that asked for the reload; its frame anchors the threads.
    l: *mut lua_State,
    scratch: *mut lua_State,
    holders: Vec<*mut lua_State>,
    len: u32,
    /// Slots that the last holder is known to have left.
    room: u32,
    /// What the held values are, as far as somebody has asked: the value of a handle stays.
    vals: Vec<Cell<Option<Val>>>,
    /// A walk over a table is under way.
    walks: bool,
    buffer: Vec<u8>,
    cells: Vec<usize>,
    sources: source::SourceNames,
    secret: Secret,
    /// The state may share what it makes of texts.
    shares: bool,
    /// The threads are this view's own: they are empty when it ends.
    owns_threads: bool,
    /// How often the collector's pause was kept up behind a call of the program's code.
    pub(super) given: u16,
    /// What was left out of what was asked of the program.
    pub limits: Limits,
}

/// Gives back at once what the holders' stacks took, for the next reload to use: as garbage it
/// would wait for the collector.
impl Drop for Vm {
    fn drop(&mut self) {
        if self.owns_threads {
            for thread in self
                .holders
                .drain(..)
                .chain([self.scratch])
                .filter(|thread| !thread.is_null())
            {
                // SAFETY: a live thread on the frame of `l`, which runs nothing, with nothing to
                // close: no error can come of it.
                unsafe { ffi::lua_resetthread(thread) };
            }
        }
    }
}

impl Vm {
    /// Opens a view for the C function that runs on `l`; its frame takes the threads. `[-0, +2..,
    /// -]`
    ///
    /// # Errors
    /// [`Error::Memory`].
    ///
    /// # Safety
    /// `l` must be the running state, and the view must not outlive the C function's frame.
    pub unsafe fn open(l: *mut lua_State) -> Result<Vm> {
        let mut vm = Vm::without_threads(l);
        vm.make_threads()?;
        Ok(vm)
    }

    /// The second half of [`Vm::open`], for a view that has no threads yet. `l: [-0, +2.., -]`
    pub(super) fn make_threads(&mut self) -> Result<()> {
        self.owns_threads = true;
        self.scratch = self.new_thread()?;
        self.add_holder()?;
        // SAFETY: the new scratch has room.
        unsafe { ffi::lua_pushnil(self.scratch) };
        self.keep()?; // Ref::NIL
        self.read_secret();
        Ok(())
    }

    /// Takes the state's secret over, if the library has left one there.
    fn read_secret(&mut self) {
        // SAFETY: the scratch has room.
        let mark = unsafe { shared::mark(self.scratch) };
        if let Some(mark) = mark {
            (self.secret, self.shares) = (Secret::unpack(&mark.secret), mark.counts);
        }
    }

    /// A view that holds nothing and has no threads yet; until it has some, nothing may be asked of
    /// it.
    pub(super) fn without_threads(l: *mut lua_State) -> Vm {
        Vm {
            l,
            scratch: null_mut(),
            holders: Vec::new(),
            len: 0,
            room: 0,
            vals: Vec::new(),
            walks: false,
            buffer: Vec::new(),
            cells: Vec::new(),
            sources: source::SourceNames::default(),
            secret: Secret::default(),
            shares: false,
            owns_threads: false,
            given: 0,
            limits: Limits::default(),
        }
    }

    pub(super) fn new_thread(&mut self) -> Result<*mut lua_State> {
        // SAFETY: the call is a protected one; the thread stays on the frame of `l`, which keeps it
        // alive.
        unsafe {
            protected::run(self.l, 1, |l| {
                ffi::lua_newthread(l);
            })?;
            let thread = ffi::lua_tothread(self.l, -1);
            if ffi::lua_checkstack(thread, SLACK * 2) == 0 {
                return Err(Error::Memory);
            }
            Ok(thread)
        }
    }

    fn add_holder(&mut self) -> Result<()> {
        let thread = self.new_thread()?;
        if let Err(error) = self.holders.try_push(thread) {
            self.pop_from_caller();
            return Err(error);
        }
        if let [.., before, _] = self.holders.as_slice() {
            // The one before is full and keeps the new one alive: in a hook, the frame of `l` is
            // not the reload's own. SAFETY: both threads are of one state; a holder has
            // SLACK slots.
            unsafe { ffi::lua_xmove(self.l, *before, 1) };
        }
        self.room = 0;
        Ok(())
    }

    fn pop_from_caller(&self) {
        // SAFETY: a value of this view's own is on top.
        unsafe { ffi::lua_settop(self.l, -2) };
    }

    /// To be called where code of the program has run: what was known by address may be another
    /// object's now.
    pub(super) fn forget_addresses(&mut self) {
        self.sources.forget_addresses();
    }

    /// From now on what may raise is done on this coroutine of the state; returns the one on which
    /// it was done before.
    pub(super) fn ask_on(&mut self, l: *mut lua_State) -> *mut lua_State {
        std::mem::replace(&mut self.l, l)
    }

    /// Pushes a function and its arguments onto a coroutine. `l: [-0, +1+args, -]`
    pub(super) fn push_call(&self, l: *mut lua_State, function: Ref, args: &[Ref]) -> Result<()> {
        // SAFETY: a live coroutine; room is made first.
        unsafe {
            if ffi::lua_checkstack(l, args.len() as c_int + SLACK) == 0 {
                return Err(Error::Memory);
            }
            self.push_onto(l, function);
            for arg in args {
                self.push_onto(l, *arg);
            }
        }
        Ok(())
    }

    /// Keeps the top value of a coroutine of the state. `l: [-1, +0, -]`
    pub(super) fn keep_from(&mut self, l: *mut lua_State) -> Result<Ref> {
        // SAFETY: both threads are of one state.
        unsafe { ffi::lua_xmove(l, self.scratch, 1) };
        self.keep()
    }

    /// The thread and the stack index of a value.
    #[inline]
    pub(super) fn at(&self, r: Ref) -> (*mut lua_State, c_int) {
        let i = if r.0 < self.len { r.0 } else { 0 };
        let holder = self
            .holders
            .get((i / PER_THREAD) as usize)
            .copied()
            .unwrap_or(self.scratch);
        (holder, (i % PER_THREAD) as c_int + 1)
    }

    /// How many values are held: the next handle's number.
    pub fn held(&self) -> u32 {
        self.len
    }

    /// Makes sure that the last holder has room for one more value.
    #[inline]
    fn make_room(&mut self) -> Result<()> {
        if self.room == 0 {
            self.more_room()
        } else {
            Ok(())
        }
    }

    #[cold]
    fn more_room(&mut self) -> Result<()> {
        let used = self.len - (self.holders.len() as u32 - 1) * PER_THREAD;
        if used == PER_THREAD {
            self.add_holder()?;
            return self.more_room();
        }
        let more = used.max(64).min(PER_THREAD - used);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: a live thread; a failure is reported, not raised.
        if unsafe { ffi::lua_checkstack(holder, more as c_int + SLACK) } == 0 {
            return Err(Error::Memory);
        }
        self.remember_up_to(self.len + more)?;
        self.room = more;
        Ok(())
    }

    /// Makes room for what the values below this handle are.
    fn remember_up_to(&mut self, end: u32) -> Result<()> {
        let end = end.min(REMEMBERED) as usize;
        if let Some(more) = end.checked_sub(self.vals.len()) {
            self.vals.try_reserve(more)?;
            self.vals.resize(end, Cell::new(None));
        }
        Ok(())
    }

    /// Makes room for about `count` values at once.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        let used = self.len - (self.holders.len() as u32 - 1) * PER_THREAD;
        let more = u32::try_from(count)
            .unwrap_or(PER_THREAD)
            .min(PER_THREAD - used);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: a live thread; a failure is reported, not raised.
        if more > self.room && unsafe { ffi::lua_checkstack(holder, more as c_int + SLACK) } == 0 {
            return Err(Error::Memory);
        }
        self.remember_up_to(self.len + more)?;
        self.room = self.room.max(more);
        Ok(())
    }

    /// Moves the scratch's top value among the held ones. `scratch: [-1, +0, -]`
    #[inline]
    fn keep(&mut self) -> Result<Ref> {
        if let Err(error) = self.make_room() {
            // SAFETY: the value that could not be kept is on top.
            unsafe { ffi::lua_settop(self.scratch, -2) };
            return Err(error);
        }
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: both threads are of one state; the holder has room.
        unsafe { ffi::lua_xmove(self.scratch, holder, 1) };
        self.room -= 1;
        self.len += 1;
        Ok(Ref(self.len - 1))
    }

    /// Copies a held value and the one after it to the scratch's top. `scratch: [-0, +2, -]`
    #[inline]
    fn push_pair(&self, r: Ref) {
        let ((thread, index), (other, other_index)) = (self.at(r), self.at(r.after(1)));
        // SAFETY: valid indices of holders, which have SLACK slots; the scratch has room for all
        // that one call needs.
        unsafe {
            ffi::lua_pushvalue(thread, index);
            if thread != other {
                ffi::lua_xmove(thread, self.scratch, 1);
            }
            ffi::lua_pushvalue(other, other_index);
            ffi::lua_xmove(other, self.scratch, if thread == other { 2 } else { 1 });
        }
    }

    /// Copies a held value to the scratch's top. `scratch: [-0, +1, -]`
    #[inline]
    fn push(&self, r: Ref) {
        // SAFETY: the scratch has room for all that one call needs.
        unsafe { self.push_onto(self.scratch, r) };
    }

    /// Copies a held value to the top of the asking state's own stack. `l: [-0, +1, -]`
    pub(super) fn push_to_caller(&self, r: Ref) {
        // SAFETY: the caller made room.
        unsafe { self.push_onto(self.l, r) };
    }

    /// The state that asked.
    pub(super) fn asking(&self) -> *mut lua_State {
        self.l
    }

    /// Keeps the top value of the asking state's own stack. `l: [-1, +0, -]`
    pub(super) fn keep_from_caller(&mut self) -> Result<Ref> {
        self.keep_from(self.l)
    }

    /// The threads on which the values stand.
    pub(super) fn threads(&self) -> impl Iterator<Item = *mut lua_State> + '_ {
        self.holders.iter().copied().chain([self.scratch])
    }

    /// The state that asked for the reload.
    pub(super) fn caller(&self) -> *mut lua_State {
        self.l
    }

    #[inline]
    fn pop(&self, n: c_int) {
        // SAFETY: only what this call pushed is popped.
        unsafe { ffi::lua_settop(self.scratch, -n - 1) };
    }

    #[inline]
    fn describe(thread: *mut lua_State, index: c_int) -> Val {
        // SAFETY: any valid index of a live thread.
        Self::describe_as(unsafe { ffi::lua_type(thread, index) }, thread, index)
    }

    /// [`Vm::describe`] for a value whose type is known.
    #[inline]
    fn describe_as(tag: c_int, thread: *mut lua_State, index: c_int) -> Val {
        let kind = Kind::of(tag);
        let addr = match kind {
            Kind::Nil | Kind::Boolean | Kind::Number | Kind::String => 0,
            // SAFETY: any valid index of a live thread.
            _ => unsafe { ffi::lua_topointer(thread, index) as usize },
        };
        Val { kind, addr }
    }

    /// The value's type.
    #[inline]
    pub fn kind(&self, r: Ref) -> Kind {
        self.val(r).kind
    }

    /// What the value is.
    #[inline]
    pub fn val(&self, r: Ref) -> Val {
        let known = self.vals.get(r.0 as usize);
        match known.and_then(Cell::get) {
            Some(val) => val,
            None => self.look_at(r),
        }
    }

    /// The same, read off the value itself: for what may only be done with one of that type.
    fn look_at(&self, r: Ref) -> Val {
        let (thread, index) = self.at(r);
        let val = Self::describe(thread, index);
        if let Some(known) = self.vals.get(r.0 as usize).filter(|_| r.0 < self.len) {
            known.set(Some(val));
        }
        val
    }

    /// Lua's truth.
    pub fn truthy(&self, r: Ref) -> bool {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index.
        unsafe { ffi::lua_toboolean(thread, index) != 0 }
    }

    /// The integer, for a number that is one.
    pub fn integer(&self, r: Ref) -> Option<i64> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index; no conversion of strings, as the type is checked.
        unsafe {
            (ffi::lua_isinteger(thread, index) != 0).then(|| ffi::lua_tointeger(thread, index))
        }
    }

    /// The float, for a number that is one.
    pub fn float(&self, r: Ref) -> Option<f64> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index; no conversion, as type and subtype are checked.
        unsafe {
            (ffi::lua_type(thread, index) == ffi::LUA_TNUMBER
                && ffi::lua_isinteger(thread, index) == 0)
                .then(|| ffi::lua_tonumber(thread, index))
        }
    }

    /// A number, be it an integer or not.
    pub fn any_number(&self, r: Ref) -> Option<f64> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index; no conversion of strings, as the type is checked.
        unsafe {
            (ffi::lua_type(thread, index) == ffi::LUA_TNUMBER)
                .then(|| ffi::lua_tonumber(thread, index))
        }
    }

    /// A number that is no integer, as text.
    pub fn number_text(&self, r: Ref) -> Option<String> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index; a number is read as what it is.
        unsafe {
            (ffi::lua_type(thread, index) == ffi::LUA_TNUMBER)
                .then(|| format!("{:?}", ffi::lua_tonumber(thread, index)))
        }
    }

    /// The bytes of a string; none for any other type.
    pub fn bytes(&self, r: Ref) -> Result<Option<Vec<u8>>> {
        self.with_bytes(r, copied).transpose()
    }

    /// The 64-bit words that [`Vm::packed`] put into a string; none for a value of any other type.
    pub fn words(&self, r: Ref) -> Result<Option<Vec<u64>>> {
        let read = self.with_bytes(r, |bytes| -> Result<Vec<u64>> {
            let mut words = Vec::new();
            words.try_reserve_exact(bytes.len() / size_of::<u64>())?;
            words.extend(bytes.as_chunks().0.iter().copied().map(u64::from_ne_bytes));
            Ok(words)
        });
        read.transpose()
    }

    /// Keeps words as one string.
    pub fn packed(&mut self, words: &[u64]) -> Result<Ref> {
        let mut bytes: Vec<u8> = Vec::new();
        bytes.try_reserve_exact(size_of_val(words))?;
        bytes.resize(size_of_val(words), 0);
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        self.string(&bytes)
    }

    /// Hands the bytes of a string to `f`; none for any other type.
    pub fn with_bytes<R>(&self, r: Ref, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (thread, index) = self.at(r);
        // SAFETY: the value is a string, so nothing is converted and nothing can raise; it is held
        // while `f` runs.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TSTRING {
                return None;
            }
            let mut len = 0;
            let start = ffi::lua_tolstring(thread, index, &raw mut len);
            Some(f(std::slice::from_raw_parts(start.cast::<u8>(), len)))
        }
    }

    /// Is it the string of these bytes?
    pub fn is_string(&self, r: Ref, bytes: &[u8]) -> bool {
        self.with_bytes(r, |own| own == bytes) == Some(true)
    }

    /// Equal without metamethods.
    pub fn raw_equal(&self, a: Ref, b: Ref) -> bool {
        let ((thread, index), (other, other_index)) = (self.at(a), self.at(b));
        if thread == other {
            // SAFETY: valid indices of one thread.
            return unsafe { ffi::lua_rawequal(thread, index, other_index) } != 0;
        }
        self.push(a);
        self.push(b);
        // SAFETY: two values on top.
        let equal = unsafe { ffi::lua_rawequal(self.scratch, -1, -2) } != 0;
        self.pop(2);
        equal
    }

    /// Equal without metamethods, and of the same number type: 1 and 1.0 differ.
    pub fn same(&self, a: Ref, b: Ref) -> bool {
        let ((thread, index), (other, other_index)) = (self.at(a), self.at(b));
        if thread == other {
            // SAFETY: valid indices of one thread.
            return unsafe { Self::same_on(thread, index, other_index) };
        }
        self.push(a);
        self.push(b);
        let same = self.same_at(-1, -2);
        self.pop(2);
        same
    }

    /// Keeps a new string.
    pub fn string(&mut self, bytes: &[u8]) -> Result<Ref> {
        // SAFETY: the allocation is in a protected call, which leaves the string on the caller's
        // stack.
        unsafe {
            protected::run(self.l, 1, |l| {
                ffi::lua_pushlstring(l, bytes.as_ptr().cast(), bytes.len());
            })?;
        }
        self.keep_from_caller()
    }

    /// Keeps many new strings, all in one protected call.
    pub fn strings<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) -> Result<Kept<Ref>> {
        let mark = self.len;
        let mut batch: Vec<&[u8]> = Vec::new();
        let mut texts = texts.peekable();
        while texts.peek().is_some() {
            self.make_room()?;
            let room = self.room as usize;
            batch.clear();
            batch.try_reserve(texts.size_hint().0.min(room))?;
            while batch.len() < room
                && let Some(text) = texts.next()
            {
                batch.try_push(text)?;
            }
            let holder = self.holders.last().copied().unwrap_or(self.scratch);
            let slice = batch.as_slice();
            // SAFETY: the holder has room for the batch; where memory ends, what came that far is
            // taken off again.
            unsafe {
                let top = ffi::lua_gettop(holder);
                let made = protected::run(self.l, 0, |l| {
                    for text in slice {
                        ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                        ffi::lua_xmove(l, holder, 1);
                    }
                });
                if let Err(error) = made {
                    ffi::lua_settop(holder, top);
                    return Err(error);
                }
            }
            self.room -= batch.len() as u32;
            self.len += batch.len() as u32;
        }
        Ok(self.kept_since(mark))
    }

    /// Keeps an integer.
    pub fn number(&mut self, n: i64) -> Result<Ref> {
        // SAFETY: the scratch has room.
        unsafe { ffi::lua_pushinteger(self.scratch, n) };
        self.keep()
    }

    /// Keeps a float.
    pub fn keep_float(&mut self, n: f64) -> Result<Ref> {
        // SAFETY: the scratch has room.
        unsafe { ffi::lua_pushnumber(self.scratch, n) };
        self.keep()
    }

    /// Keeps a boolean.
    pub fn boolean(&mut self, b: bool) -> Result<Ref> {
        // SAFETY: the scratch has room.
        unsafe { ffi::lua_pushboolean(self.scratch, b.into()) };
        self.keep()
    }

    /// The value at an index of the asking C function's frame.
    pub fn argument(&mut self, index: c_int) -> Result<Ref> {
        // SAFETY: an index of the caller's frame; none reads as nil.
        unsafe {
            if index > ffi::lua_gettop(self.l) || ffi::lua_checkstack(self.l, 4) == 0 {
                return Ok(Ref::NIL);
            }
            ffi::lua_pushvalue(self.l, index);
        }
        self.keep_from_caller()
    }

    /// The globals table.
    pub fn globals(&mut self) -> Result<Ref> {
        // SAFETY: the registry always has its globals; raw access cannot raise.
        unsafe {
            ffi::lua_rawgeti(
                self.scratch,
                ffi::LUA_REGISTRYINDEX,
                ffi::LUA_RIDX_GLOBALS as _,
            )
        };
        self.keep()
    }

    /// The state's main thread.
    pub(super) fn main_thread(&self) -> *mut lua_State {
        // SAFETY: the registry always has it, for as long as the state is open.
        unsafe {
            ffi::lua_rawgeti(
                self.scratch,
                ffi::LUA_REGISTRYINDEX,
                ffi::LUA_RIDX_MAINTHREAD as _,
            );
            let thread = ffi::lua_tothread(self.scratch, -1);
            self.pop(1);
            thread
        }
    }

    /// The registry.
    pub fn registry_table(&mut self) -> Result<Ref> {
        // SAFETY: the scratch has room.
        unsafe { ffi::lua_pushvalue(self.scratch, ffi::LUA_REGISTRYINDEX) };
        self.keep()
    }

    /// A field of the registry, raw.
    pub fn registry(&mut self, name: &CStr) -> Result<Ref> {
        let key = self.string(name.to_bytes())?;
        self.push(key);
        // SAFETY: raw access cannot raise.
        unsafe { ffi::lua_rawget(self.scratch, ffi::LUA_REGISTRYINDEX) };
        self.keep()
    }

    /// `table[key]`, raw; nil when `table` is none.
    pub fn get(&mut self, table: Ref, key: Ref) -> Result<Ref> {
        self.make_room()?;
        let thread = self.push_get(table, key);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        if thread != holder {
            // SAFETY: both threads are of one state; the holder has room.
            unsafe { ffi::lua_xmove(thread, holder, 1) };
        }
        self.room -= 1;
        self.len += 1;
        Ok(Ref(self.len - 1))
    }

    /// `table[key]`, raw, and what it is. Nothing is kept for nil.
    pub fn look_up(&mut self, table: Ref, key: Ref) -> Result<(Ref, Val)> {
        self.make_room()?;
        let thread = self.push_get(table, key);
        let val = Self::describe(thread, -1);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: both threads are of one state; the holder has room.
        unsafe {
            if val.is_nil() {
                ffi::lua_settop(thread, -2);
                return Ok((Ref::NIL, val));
            }
            if thread != holder {
                ffi::lua_xmove(thread, holder, 1);
            }
        }
        if let Some(known) = self.vals.get(self.len as usize) {
            known.set(Some(val));
        }
        self.room -= 1;
        self.len += 1;
        Ok((Ref(self.len - 1), val))
    }

    /// Is `table[key]`, raw, the same value as `value`?
    pub fn holds(&self, table: Ref, key: Ref, value: Ref) -> bool {
        let thread = self.push_get(table, key);
        // SAFETY: the thread is a holder; what was pushed is popped.
        unsafe {
            self.push_beside(thread, value);
            let same = Self::same_on(thread, -1, -2);
            ffi::lua_settop(thread, -3);
            same
        }
    }

    /// Has a table this key?
    pub fn has_key(&self, table: Ref, key: Ref) -> bool {
        let thread = self.push_get(table, key);
        // SAFETY: the value is on top.
        unsafe {
            let has = ffi::lua_type(thread, -1) != ffi::LUA_TNIL;
            ffi::lua_settop(thread, -2);
            has
        }
    }

    /// Are two values of the scratch the same: raw equal, of the same number type, or both not a
    /// number?
    #[inline]
    fn same_at(&self, a: c_int, b: c_int) -> bool {
        // SAFETY: valid indices of the scratch.
        unsafe { Self::same_on(self.scratch, a, b) }
    }

    /// # Safety
    /// Valid indices of a live thread.
    #[inline]
    unsafe fn same_on(s: *mut lua_State, a: c_int, b: c_int) -> bool {
        // SAFETY: as promised.
        unsafe {
            if ffi::lua_rawequal(s, a, b) == 0 {
                let nan =
                    |i| ffi::lua_type(s, i) == ffi::LUA_TNUMBER && ffi::lua_tonumber(s, i).is_nan();
                return nan(a) && nan(b);
            }
            ffi::lua_type(s, a) != ffi::LUA_TNUMBER
                || ffi::lua_isinteger(s, a) == ffi::lua_isinteger(s, b)
        }
    }

    /// Leaves `table[key]`, raw, on top of the thread that it returns; nil when `table` is none.
    /// `[-0, +1, -]`
    #[inline]
    fn push_get(&self, table: Ref, key: Ref) -> *mut lua_State {
        let (thread, index) = self.at(table);
        // SAFETY: raw access to a table that is checked, on its holder, which has room for values
        // in passing.
        unsafe {
            if ffi::lua_type(thread, index) == ffi::LUA_TTABLE {
                self.push_beside(thread, key);
                ffi::lua_rawget(thread, index);
            } else {
                ffi::lua_pushnil(thread);
            }
        }
        thread
    }

    /// Copies a held value to the top of one of the view's own threads. `thread: [-0, +1, -]`
    ///
    /// # Safety
    /// `thread` must be a holder or the scratch.
    #[inline]
    unsafe fn push_beside(&self, thread: *mut lua_State, r: Ref) {
        let (holder, index) = self.at(r);
        // SAFETY: holders have SLACK slots.
        unsafe {
            ffi::lua_pushvalue(holder, index);
            if holder != thread {
                ffi::lua_xmove(holder, thread, 1);
            }
        }
    }

    /// `table[name]`, raw.
    pub fn field(&mut self, table: Ref, name: &str) -> Result<Ref> {
        let key = self.string(name.as_bytes())?;
        self.get(table, key)
    }

    /// `table[name]`, raw, for each of these names.
    pub fn fields<const N: usize>(&mut self, table: Ref, names: [&str; N]) -> Result<[Ref; N]> {
        let keys = self.strings(names.iter().map(|name| name.as_bytes()))?;
        let mut values = [Ref::NIL; N];
        for (value, key) in values.iter_mut().zip(keys.iter()) {
            *value = self.get(table, key)?;
        }
        Ok(values)
    }

    /// `table[i]`, raw.
    pub fn index(&mut self, table: Ref, i: i64) -> Result<Ref> {
        let key = self.number(i)?;
        self.get(table, key)
    }

    /// The border of a table, raw.
    pub fn raw_len(&self, table: Ref) -> i64 {
        let (thread, index) = self.at(table);
        // SAFETY: a valid index.
        unsafe {
            if ffi::lua_type(thread, index) == ffi::LUA_TTABLE {
                ffi::lua_rawlen(thread, index) as i64
            } else {
                0
            }
        }
    }

    /// The metatable of a value, past any `__metatable`.
    pub fn metatable(&mut self, r: Ref) -> Result<Ref> {
        if self.metatable_val(r).is_nil() {
            return Ok(Ref::NIL);
        }
        self.push(r);
        // SAFETY: the value has a metatable, which replaces it on the scratch.
        unsafe {
            ffi::lua_getmetatable(self.scratch, -1);
            ffi::lua_replace(self.scratch, -2);
        }
        self.keep()
    }

    /// What the metatable of a value is.
    pub fn metatable_val(&self, r: Ref) -> Val {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index; a holder has room for one value in passing.
        unsafe {
            if ffi::lua_getmetatable(thread, index) == 0 {
                return Val::default();
            }
            let val = Self::describe(thread, -1);
            ffi::lua_settop(thread, -2);
            val
        }
    }

    /// Keeps a new table in which each of `count` keys has its number, counted from 0. So Lua says
    /// which keys are the same.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn numbered(&mut self, count: u32, key: impl Fn(u32) -> Ref) -> Result<Ref> {
        let (vm, key) = (&*self, &key);
        // SAFETY: what may raise is in a protected call, and borrows; the keys pass over from their
        // holders, which have room.
        unsafe {
            protected::run(self.l, 1, |l| {
                ffi::lua_createtable(l, 0, c_int::try_from(count).unwrap_or(0));
                for i in 0..count {
                    vm.push_onto(l, key(i));
                    ffi::lua_pushinteger(l, i.into());
                    ffi::lua_rawset(l, 1);
                }
            })?;
        }
        self.keep_from_caller()
    }

    /// A number that two values share if they are the same key of a table: the address of an
    /// object, the bits of a number, a hash of a string. Two strings may share it as well: whoever
    /// looks something up by it compares the keys.
    pub fn key_hash(&self, r: Ref) -> (Kind, u64) {
        let (thread, index) = self.at(r);
        Self::key_hash_at(thread, index)
    }

    fn key_hash_at(thread: *mut lua_State, index: c_int) -> (Kind, u64) {
        let mut val = Self::describe(thread, index);
        // SAFETY: a valid index; a string or number is read as what it is.
        let bits = unsafe {
            match val.kind {
                Kind::Boolean => ffi::lua_toboolean(thread, index) as u64,
                Kind::Number if ffi::lua_isinteger(thread, index) != 0 => {
                    ffi::lua_tointeger(thread, index) as u64
                }
                Kind::Number => {
                    val.kind = Kind::Nil; // no key is nil: the tag tells floats from integers
                    ffi::lua_tonumber(thread, index).to_bits()
                }
                Kind::String => {
                    let mut len = 0;
                    let start = ffi::lua_tolstring(thread, index, &raw mut len);
                    // The address says nothing: a host that shares strings between states
                    // (skynet) has several of one short string.
                    rustc_hash::FxBuildHasher
                        .hash_one(std::slice::from_raw_parts(start.cast::<u8>(), len))
                }
                _ => val.addr as u64,
            }
        };
        (val.kind, bits)
    }

    /// Gives up every value kept since [`Vm::held`] was `mark`.
    pub fn release(&mut self, mark: u32) {
        let start = (self.holders.len() as u32).saturating_sub(1) * PER_THREAD;
        let mark = mark.max(start + u32::from(start == 0)).min(self.len);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: only held values of the last holder are dropped.
        unsafe { ffi::lua_settop(holder, (mark - start) as c_int) };
        self.room += self.len - mark;
        let gone = self.vals.iter().take(self.len as usize);
        gone.skip(mark as usize).for_each(|known| known.set(None));
        self.len = mark;
    }

    /// Keeps a new table with room for `fields` string keys.
    pub fn table(&mut self, fields: u16) -> Result<Ref> {
        // SAFETY: the allocation is in a protected call.
        unsafe {
            protected::run(self.l, 1, |l| ffi::lua_createtable(l, 0, fields.into()))?;
        }
        self.keep_from_caller()
    }

    /// Keeps a new table that holds its keys weakly.
    pub fn weak_table(&mut self) -> Result<Ref> {
        // SAFETY: the allocations are in a protected call.
        unsafe {
            protected::run(self.l, 1, |l| {
                ffi::lua_createtable(l, 0, 0);
                ffi::lua_createtable(l, 0, 1);
                ffi::lua_pushstring(l, c"k".as_ptr());
                ffi::lua_setfield(l, -2, c"__mode".as_ptr());
                ffi::lua_setmetatable(l, -2);
            })?;
        }
        self.keep_from_caller()
    }

    /// The address of a C function; none for any other value.
    pub fn is_c_function(&self, r: Ref) -> Option<usize> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index.
        unsafe { ffi::lua_tocfunction(thread, index).map(|f| f as usize) }
    }

    /// Is it a userdata or a C function?
    pub fn is_of_c(&self, r: Ref) -> bool {
        self.kind(r) == Kind::Userdata || self.is_c_function(r).is_some()
    }

    /// The integer `table[key]`, raw.
    pub fn get_number(&self, table: Ref, key: Ref) -> Option<i64> {
        let (thread, index) = self.at(table);
        // SAFETY: as in `push_get`; what was pushed is popped.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TTABLE {
                return None;
            }
            self.push_beside(thread, key);
            let is_number = ffi::lua_rawget(thread, index) == ffi::LUA_TNUMBER;
            let number = is_number.then(|| ffi::lua_tointeger(thread, -1));
            ffi::lua_settop(thread, -2);
            number
        }
    }

    /// Copies a held value to the top of `l`. `l: [-0, +1, -]`
    ///
    /// # Safety
    /// `l` must be of the same state, none of the view's own threads, and have room.
    #[inline]
    unsafe fn push_onto(&self, l: *mut lua_State, r: Ref) {
        let (thread, index) = self.at(r);
        // SAFETY: as promised; the holder has SLACK slots.
        unsafe {
            ffi::lua_pushvalue(thread, index);
            ffi::lua_xmove(thread, l, 1);
        }
    }
    /// Copies two held values to the top of `l`. `l: [-0, +2, -]`
    ///
    /// # Safety
    /// As for [`Vm::push_onto`].
    #[inline]
    unsafe fn push_both_onto(&self, l: *mut lua_State, first: Ref, second: Ref) {
        let ((thread, index), (other, other_index)) = (self.at(first), self.at(second));
        // SAFETY: as promised.
        unsafe {
            if thread == other {
                ffi::lua_pushvalue(thread, index);
                ffi::lua_pushvalue(thread, other_index);
                ffi::lua_xmove(thread, l, 2);
            } else {
                self.push_onto(l, first);
                self.push_onto(l, second);
            }
        }
    }
    /// Copies held values to the top of `l`, those that stand on one holder a few at a time. `l:
    /// [-0, +n, -]`
    ///
    /// # Safety
    /// As for [`Vm::push_onto`].
    unsafe fn push_all_onto(&self, l: *mut lua_State, values: &[Ref]) {
        let (mut from, mut count) = (self.scratch, 0);
        for value in values {
            let (thread, index) = self.at(*value);
            // SAFETY: as promised; no more stand on a holder in passing than it has SLACK for.
            unsafe {
                if thread != from || count == SLACK / 2 {
                    ffi::lua_xmove(from, l, count);
                    (from, count) = (thread, 0);
                }
                ffi::lua_pushvalue(thread, index);
            }
            count += 1;
        }
        // SAFETY: as promised.
        unsafe { ffi::lua_xmove(from, l, count) };
    }
}
