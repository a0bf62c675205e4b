//! Values of the running program, held by handle, and the calls on them that cannot raise.
//!
//! A [`Ref`] names a value that a [`Vm`] holds. The values stand on the stacks of Lua threads of the reload's own, so a
//! look at an upvalue or a join addresses them in place, nothing is copied, and nothing held can be collected. Handles are
//! only ever added; one that is out of range reads as nil. A second thread (the *scratch*) takes what a call pushes for a moment.
//!
//! The invariant: every function here leaves the scratch as high as it found it, and calls nothing that may raise
//! except through [`door`]. What changes the program takes a [`Permit`], which only `commit.rs` can make.

use std::ffi::{CStr, c_int, c_void};
use std::hash::BuildHasher;
use std::ptr::{null, null_mut};

use mlua::ffi::{self, lua_Debug, lua_State};

use super::door;
use crate::commit::Permit;
use crate::error::{Error, Result};
use crate::mem::TryPush;

/// Values for each holding thread: well under Lua's limit of a million slots.
const PER_THREAD: u32 = 1 << 17;
/// Slots above the held values of a thread, for values in passing.
const SLACK: c_int = 16;

/// The handle of a value that a [`Vm`] holds. `Ref::NIL` is nil.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Ref(pub u32);

impl Ref {
    /// The handle of nil.
    pub const NIL: Ref = Ref(0);

    /// The handle `n` places after this one: values kept together stand side by side.
    pub const fn after(self, n: u32) -> Ref {
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
pub struct Entry {
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
    /// The address of its source name: equal addresses are equal names.
    pub source: usize,
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
pub struct Upvalue {
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
    zipping: bool,
    buffer: Vec<u8>,
}

impl Vm {
    /// Opens a view for the C function that runs on `l`; its frame takes the threads. `[-0, +2.., -]`
    ///
    /// # Errors
    /// [`Error::Memory`].
    ///
    /// # Safety
    /// `l` must be the running state, and the view must not outlive the C function's frame.
    pub unsafe fn open(l: *mut lua_State) -> Result<Vm> {
        let mut vm = Vm {
            l,
            scratch: null_mut(),
            holders: Vec::new(),
            len: 0,
            room: 0,
            zipping: false,
            buffer: Vec::new(),
        };
        vm.scratch = vm.new_thread()?;
        vm.add_holder()?;
        // SAFETY: the new scratch has room.
        unsafe { ffi::lua_pushnil(vm.scratch) };
        vm.keep()?; // Ref::NIL
        Ok(vm)
    }

    fn new_thread(&mut self) -> Result<*mut lua_State> {
        // SAFETY: the call goes through the door; the thread stays on the frame of `l`, which keeps it alive.
        unsafe {
            door::protect(self.l, 1, |l| {
                ffi::lua_newthread(l);
            })?;
            let thread = ffi::lua_tothread(self.l, -1);
            if ffi::lua_checkstack(thread, SLACK * 4) == 0 {
                return Err(Error::Memory);
            }
            Ok(thread)
        }
    }

    fn add_holder(&mut self) -> Result<()> {
        let thread = self.new_thread()?;
        self.holders.try_push(thread)?;
        self.room = 0;
        Ok(())
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
        if self.room == 0 { self.more_room() } else { Ok(()) }
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
        self.room = more;
        Ok(())
    }

    /// Makes room for about `count` values at once.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        let used = self.len - (self.holders.len() as u32 - 1) * PER_THREAD;
        let more = u32::try_from(count).unwrap_or(PER_THREAD).min(PER_THREAD - used);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: a live thread; a failure is reported, not raised.
        if more > self.room && unsafe { ffi::lua_checkstack(holder, more as c_int + SLACK) } == 0 {
            return Err(Error::Memory);
        }
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
        // SAFETY: as in `push`.
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

    /// Keeps the top value of the asking state's own stack. `l: [-1, +0, -]`
    pub(super) fn keep_from_caller(&mut self) -> Result<Ref> {
        // SAFETY: both threads are of one state.
        unsafe { ffi::lua_xmove(self.l, self.scratch, 1) };
        self.keep()
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
        unsafe {
            let kind = Kind::of(ffi::lua_type(thread, index));
            let addr = match kind {
                Kind::Nil | Kind::Boolean | Kind::Number => 0,
                _ => ffi::lua_topointer(thread, index) as usize,
            };
            Val { kind, addr }
        }
    }

    /// The value's type.
    #[inline]
    pub fn kind(&self, r: Ref) -> Kind {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index.
        Kind::of(unsafe { ffi::lua_type(thread, index) })
    }

    /// What the value is.
    #[inline]
    pub fn val(&self, r: Ref) -> Val {
        let (thread, index) = self.at(r);
        Self::describe(thread, index)
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
        unsafe { (ffi::lua_isinteger(thread, index) != 0).then(|| ffi::lua_tointeger(thread, index)) }
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
    pub fn bytes(&self, r: Ref) -> Option<Vec<u8>> {
        self.with_bytes(r, |bytes| bytes.to_vec())
    }

    /// Hands the bytes of a string to `f`; none for any other type.
    pub fn with_bytes<R>(&self, r: Ref, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (thread, index) = self.at(r);
        // SAFETY: the value is a string, so nothing is converted and nothing can raise; it is held while `f` runs.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TSTRING {
                return None;
            }
            let mut len = 0;
            let start = ffi::lua_tolstring(thread, index, &raw mut len);
            Some(f(std::slice::from_raw_parts(start.cast::<u8>(), len)))
        }
    }

    /// Equal without metamethods.
    pub fn raw_equal(&self, a: Ref, b: Ref) -> bool {
        self.push(a);
        self.push(b);
        // SAFETY: two values on top.
        let equal = unsafe { ffi::lua_rawequal(self.scratch, -1, -2) } != 0;
        self.pop(2);
        equal
    }

    /// Equal without metamethods, and of the same number type: 1 and 1.0 differ.
    pub fn same(&self, a: Ref, b: Ref) -> bool {
        self.push(a);
        self.push(b);
        let same = self.same_at(-1, -2);
        self.pop(2);
        same
    }

    /// Keeps a new string.
    pub fn string(&mut self, bytes: &[u8]) -> Result<Ref> {
        // SAFETY: the allocation is behind the door, which leaves the string on the caller's stack.
        unsafe {
            door::protect(self.l, 1, |l| {
                ffi::lua_pushlstring(l, bytes.as_ptr().cast(), bytes.len());
            })?;
        }
        self.keep_from_caller()
    }

    /// Keeps an integer.
    pub fn number(&mut self, n: i64) -> Result<Ref> {
        // SAFETY: the scratch has room.
        unsafe { ffi::lua_pushinteger(self.scratch, n) };
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
        unsafe { ffi::lua_rawgeti(self.scratch, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS as _) };
        self.keep()
    }

    /// A field of the registry, raw.
    pub fn registry(&mut self, name: &str) -> Result<Ref> {
        let key = self.string(name.as_bytes())?;
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

    /// Are two values of the scratch the same: raw equal, of the same number type, or both not a number?
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
                let nan = |i| ffi::lua_type(s, i) == ffi::LUA_TNUMBER && ffi::lua_tonumber(s, i).is_nan();
                return nan(a) && nan(b);
            }
            ffi::lua_isinteger(s, a) == ffi::lua_isinteger(s, b)
        }
    }

    /// Leaves `table[key]`, raw, on top of the thread that it returns; nil when `table` is none. `[-0, +1, -]`
    #[inline]
    fn push_get(&self, table: Ref, key: Ref) -> *mut lua_State {
        let (thread, index) = self.at(table);
        // SAFETY: raw access to a table that is checked, on its holder, which has room for values in passing.
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

    /// Begins a walk over `new`, which must be a table, beside `old` (any value; looked up only when it is a table).
    /// One walk at a time; end it with [`Vm::zip_end`] or by walking to the end.
    pub fn zip(&mut self, new: Ref, old: Ref) -> Result<()> {
        if self.zipping || !self.val(new).is_table() {
            return Err(Error::Panic("a walk that cannot begin".into()));
        }
        self.zipping = true;
        // SAFETY: no walk is under way, so the scratch is empty.
        unsafe { ffi::lua_settop(self.scratch, 0) };
        self.push(new);
        self.push(old);
        // SAFETY: room as above.
        unsafe { ffi::lua_pushnil(self.scratch) };
        Ok(())
    }

    /// The next entry of the walk; none at its end. The table may be assigned to under existing keys meanwhile.
    #[inline]
    pub fn zip_next(&mut self) -> Option<Entry> {
        if !self.zipping {
            return None;
        }
        let s = self.scratch;
        // SAFETY: the walked table, the other, and the last key stand at 1, 2, 3; the key came from the table.
        unsafe {
            ffi::lua_settop(s, 3);
            if ffi::lua_next(s, 1) == 0 {
                self.zip_end();
                return None;
            }
            if ffi::lua_type(s, 2) == ffi::LUA_TTABLE {
                ffi::lua_pushvalue(s, 3);
                ffi::lua_rawget(s, 2);
            } else {
                ffi::lua_pushnil(s);
            }
            Some(Entry {
                key: Self::describe(s, 3),
                new: Self::describe(s, 4),
                old: Self::describe(s, 5),
            })
        }
    }

    /// Keeps the current entry: its new value, old value and key, side by side in this order.
    #[inline]
    pub fn zip_keep(&mut self) -> Result<Ref> {
        let base = Ref(self.len);
        if self.room >= 3 {
            let holder = self.holders.last().copied().unwrap_or(self.scratch);
            // SAFETY: the entry stands at 3, 4, 5; the holder has room.
            unsafe {
                ffi::lua_pushvalue(self.scratch, 4);
                ffi::lua_pushvalue(self.scratch, 5);
                ffi::lua_pushvalue(self.scratch, 3);
                ffi::lua_xmove(self.scratch, holder, 3);
            }
            self.room -= 3;
            self.len += 3;
            return Ok(base);
        }
        for index in [4, 5, 3] {
            // SAFETY: the entry stands at 3, 4, 5.
            unsafe { ffi::lua_pushvalue(self.scratch, index) };
            self.keep()?;
        }
        Ok(base)
    }

    /// The current key when it is an integer.
    pub fn zip_key_integer(&self) -> Option<i64> {
        // SAFETY: the key stands at 3.
        unsafe { (ffi::lua_isinteger(self.scratch, 3) != 0).then(|| ffi::lua_tointeger(self.scratch, 3)) }
    }

    /// Is the current entry's key the held `key`, and its value (or, `other`, the other table's) the held `value`?
    pub fn zip_is(&self, key: Ref, value: Ref) -> bool {
        self.zip_key_is(key) && {
            self.push(value);
            let same = self.same_at(4, -1);
            self.pop(1);
            same
        }
    }

    /// Is the current entry's key the held `key`?
    pub fn zip_key_is(&self, key: Ref) -> bool {
        self.push(key);
        // SAFETY: the entry's key stands at 3, the held one on top.
        let same = unsafe { ffi::lua_rawequal(self.scratch, 3, -1) != 0 };
        self.pop(1);
        same
    }

    /// Are the entry's two values equal without metamethods?
    pub fn zip_equal(&self) -> bool {
        self.same_at(4, 5)
    }

    /// Keeps every entry of a table, value and key side by side, and returns the first value and how many there are. Gives
    /// up behind `most` entries: it then returns one more than that.
    pub fn keep_entries(&mut self, table: Ref, most: usize) -> Result<(Ref, u32)> {
        self.zip(table, Ref::NIL)?;
        let (s, first) = (self.scratch, Ref(self.len));
        let mut count = 0;
        // SAFETY: the walked table stands at 1, the last key at 3; pairs move to the last holder, which has room.
        unsafe {
            ffi::lua_settop(s, 3);
            while ffi::lua_next(s, 1) != 0 {
                count += 1;
                if count as usize > most {
                    break;
                }
                if self.room >= 2 {
                    ffi::lua_pushvalue(s, 3);
                    let holder = self.holders.last().copied().unwrap_or(s);
                    ffi::lua_xmove(s, holder, 2);
                    self.room -= 2;
                    self.len += 2;
                } else {
                    let kept = self.zip_keep_pair();
                    if let Err(error) = kept {
                        self.zip_end();
                        return Err(error);
                    }
                    ffi::lua_settop(s, 3);
                }
            }
        }
        self.zip_end();
        Ok((first, count))
    }

    /// Compares a table with entries that were kept from it, as long as they come in the same order. Hands the numbers of those
    /// whose value differs to `changed`. Returns how many came in order, and whether that is all on both sides.
    pub fn compare_entries(
        &mut self,
        table: Ref,
        first: Ref,
        count: u32,
        mut changed: impl FnMut(u32) -> Result<()>,
    ) -> Result<(u32, bool)> {
        self.zip(table, Ref::NIL)?;
        let s = self.scratch;
        let mut i = 0;
        // SAFETY: the walked table stands at 1, the key at 3, the value at 4, the kept ones above.
        let all = unsafe {
            loop {
                ffi::lua_settop(s, 3);
                if ffi::lua_next(s, 1) == 0 {
                    break i == count;
                }
                if i == count {
                    break false;
                }
                self.push_pair(first.after(2 * i));
                if ffi::lua_rawequal(s, 3, 6) == 0 {
                    break false;
                }
                if !self.same_at(4, 5)
                    && let Err(error) = changed(i)
                {
                    self.zip_end();
                    return Err(error);
                }
                i += 1;
            }
        };
        self.zip_end();
        Ok((i, all))
    }

    /// Keeps the current entry's value and key, side by side in this order.
    #[inline]
    pub fn zip_keep_pair(&mut self) -> Result<Ref> {
        let base = Ref(self.len);
        for index in [4, 3] {
            // SAFETY: the entry stands at 3 and 4.
            unsafe { ffi::lua_pushvalue(self.scratch, index) };
            self.keep()?;
        }
        Ok(base)
    }

    /// Takes the current entry out of the table that is walked.
    pub fn zip_clear(&mut self, _: &Permit) {
        // SAFETY: the table stands at 1, the key at 3; a nil over an existing key allocates nothing.
        unsafe {
            ffi::lua_pushvalue(self.scratch, 3);
            ffi::lua_pushnil(self.scratch);
            ffi::lua_rawset(self.scratch, 1);
        }
    }

    /// The current key's identity, to find it again among held values: see [`Vm::identity`].
    pub fn zip_key_identity(&self) -> (Kind, u64) {
        Self::identity_at(self.scratch, 3)
    }

    /// A number that two values share when they are the same key of a table: the address of an object, the bits of a
    /// number, a hash of a long string.
    pub fn identity(&self, r: Ref) -> (Kind, u64) {
        let (thread, index) = self.at(r);
        Self::identity_at(thread, index)
    }

    fn identity_at(thread: *mut lua_State, index: c_int) -> (Kind, u64) {
        let mut val = Self::describe(thread, index);
        // SAFETY: a valid index; a string or number is read as what it is.
        let bits = unsafe {
            match val.kind {
                Kind::Boolean => ffi::lua_toboolean(thread, index) as u64,
                Kind::Number if ffi::lua_isinteger(thread, index) != 0 => ffi::lua_tointeger(thread, index) as u64,
                Kind::Number => {
                    val.kind = Kind::Nil; // no key is nil: the tag tells floats from integers
                    ffi::lua_tonumber(thread, index).to_bits()
                }
                Kind::String => {
                    let mut len = 0;
                    let start = ffi::lua_tolstring(thread, index, &raw mut len);
                    if len <= 40 {
                        start as u64 // short strings are interned
                    } else {
                        rustc_hash::FxBuildHasher.hash_one(std::slice::from_raw_parts(start.cast::<u8>(), len))
                    }
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
        self.len = mark;
    }

    /// Ends a walk early.
    pub fn zip_end(&mut self) {
        if self.zipping {
            self.zipping = false;
            // SAFETY: the walk's values are all that is on the scratch.
            unsafe { ffi::lua_settop(self.scratch, 0) };
        }
    }

    /// What is known of a function; nothing for another value.
    pub fn info(&self, function: Ref) -> Option<Info> {
        let ar = self.debug_info(function)?;
        // SAFETY: `lua_getinfo` filled these with strings that live as long as the function.
        let what = unsafe { CStr::from_ptr(ar.what) };
        Some(Info {
            source: ar.source as usize,
            line: ar.linedefined,
            last: ar.lastlinedefined,
            upvalues: ar.nups,
            params: ar.nparams,
            lua: what != c"C",
            main: what == c"main",
        })
    }

    /// The name of a function's source, as `debug.getinfo(f, "S").source` gives it.
    pub fn source(&self, function: Ref) -> Option<Vec<u8>> {
        let ar = self.debug_info(function)?;
        // SAFETY: a string of `srclen` bytes that lives as long as the function.
        Some(unsafe { std::slice::from_raw_parts(ar.source.cast::<u8>(), ar.srclen) }.to_vec())
    }

    fn debug_info(&self, function: Ref) -> Option<lua_Debug> {
        let (thread, index) = self.at(function);
        // SAFETY: the function is checked to be one, and popped by the call; "S" and "u" allocate nothing.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TFUNCTION {
                return None;
            }
            let mut ar: lua_Debug = std::mem::zeroed();
            ffi::lua_pushvalue(thread, index);
            (ffi::lua_getinfo(thread, c">Su".as_ptr(), &raw mut ar) != 0).then_some(ar)
        }
    }

    /// The `i`-th upvalue, counted from 1; none past the last.
    #[inline]
    pub fn upvalue(&self, function: Ref, i: u8) -> Option<Upvalue> {
        let (thread, index) = self.at(function);
        // SAFETY: Lua checks the number; the holder has room for the value in passing.
        unsafe {
            let name = ffi::lua_getupvalue(thread, index, i.into());
            if name.is_null() {
                return None;
            }
            let value = Self::describe(thread, -1);
            ffi::lua_settop(thread, -2);
            let cell = ffi::lua_upvalueid(thread, index, i.into()) as usize;
            Some(Upvalue { cell, value })
        }
    }

    /// The address of the `i`-th upvalue's name: equal addresses are equal names. 0 past the last.
    pub fn upvalue_name_address(&self, function: Ref, i: u8) -> usize {
        let (thread, index) = self.at(function);
        // SAFETY: as in `upvalue`.
        unsafe {
            let name = ffi::lua_getupvalue(thread, index, i.into());
            if !name.is_null() {
                ffi::lua_settop(thread, -2);
            }
            name as usize
        }
    }

    /// The cell of the `i`-th upvalue of a Lua function that has that many.
    #[inline]
    pub fn cell(&self, function: Ref, i: u8) -> usize {
        let (thread, index) = self.at(function);
        // SAFETY: checked to be a function; Lua gives null for a number that is none.
        unsafe {
            match ffi::lua_type(thread, index) {
                ffi::LUA_TFUNCTION => ffi::lua_upvalueid(thread, index, i.into()) as usize,
                _ => 0,
            }
        }
    }

    /// The name of the `i`-th upvalue; empty when it has none.
    pub fn upvalue_name(&self, function: Ref, i: u8) -> Vec<u8> {
        let (thread, index) = self.at(function);
        // SAFETY: as in `upvalue`; the name lives as long as the function.
        unsafe {
            let name = ffi::lua_getupvalue(thread, index, i.into());
            if name.is_null() {
                return Vec::new();
            }
            ffi::lua_settop(thread, -2);
            CStr::from_ptr(name).to_bytes().to_vec()
        }
    }

    /// Keeps what the `i`-th upvalue holds; nil past the last.
    pub fn upvalue_value(&mut self, function: Ref, i: u8) -> Result<Ref> {
        let (thread, index) = self.at(function);
        // SAFETY: as in `upvalue`; the value moves to the scratch.
        unsafe {
            if ffi::lua_getupvalue(thread, index, i.into()).is_null() {
                return Ok(Ref::NIL);
            }
            ffi::lua_xmove(thread, self.scratch, 1);
        }
        self.keep()
    }

    /// Does the `i`-th upvalue hold this very value?
    pub fn upvalue_holds(&self, function: Ref, i: u8, value: Ref) -> bool {
        let (thread, index) = self.at(function);
        // SAFETY: as in `upvalue`; the value moves to the scratch.
        unsafe {
            if ffi::lua_getupvalue(thread, index, i.into()).is_null() {
                return false;
            }
            ffi::lua_xmove(thread, self.scratch, 1);
            self.push(value);
            let same = self.same_at(-1, -2);
            self.pop(2);
            same
        }
    }

    /// The binary form of a Lua function (`lua_dump`), with or without debug information; the slice is good until the next call.
    pub fn dump(&mut self, function: Ref, strip: bool) -> Result<&[u8]> {
        unsafe extern "C-unwind" fn write(
            _: *mut lua_State,
            data: *const c_void,
            len: usize,
            out: *mut c_void,
        ) -> c_int {
            // SAFETY: `out` is the buffer that `dump` passes, `data` has `len` bytes.
            unsafe {
                let out = &mut *out.cast::<Vec<u8>>();
                if out.capacity() - out.len() < len && out.try_reserve(len).is_err() {
                    return 1;
                }
                // Most pieces are a byte or two: no call for them.
                let end = out.as_mut_ptr().add(out.len());
                match len {
                    1 => end.write(data.cast::<u8>().read()),
                    _ => std::ptr::copy_nonoverlapping(data.cast::<u8>(), end, len),
                }
                out.set_len(out.len() + len);
            }
            0
        }
        self.buffer.clear();
        let (thread, index) = self.at(function);
        // SAFETY: the function is copied to the top for the call and popped again; the writer cannot raise.
        let failed = unsafe {
            ffi::lua_pushvalue(thread, index);
            let failed = ffi::lua_dump(thread, write, (&raw mut self.buffer).cast(), strip.into());
            ffi::lua_settop(thread, -2);
            failed
        };
        if failed == 0 {
            Ok(&self.buffer)
        } else {
            Err(Error::Memory)
        }
    }

    /// Makes room for a dump of about so many bytes.
    pub fn reserve_dump(&mut self, bytes: usize) -> Result<()> {
        self.buffer.clear();
        Ok(self.buffer.try_reserve(bytes)?)
    }

    /// Takes the last dump away.
    pub fn take_dump(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Compiles a buffer, text or binary, and keeps the function.
    ///
    /// # Errors
    /// [`Error::Memory`], or [`Error::Lua`] with the compiler's message.
    pub fn load(&mut self, code: &[u8], chunk_name: &CStr) -> Result<Ref> {
        // SAFETY: the parser runs in protected mode and reports its status; its one result is on top of the scratch.
        unsafe {
            let status = ffi::luaL_loadbufferx(
                self.scratch,
                code.as_ptr().cast(),
                code.len(),
                chunk_name.as_ptr(),
                null(),
            );
            if status == ffi::LUA_OK {
                return self.keep();
            }
            let message = self.keep()?;
            Err(match self.bytes(message) {
                Some(text) if status != ffi::LUA_ERRMEM => Error::Lua(text),
                _ => Error::Memory,
            })
        }
    }

    /// Calls a held function on the asking state, as Lua would, and keeps its first `results` results, side by side.
    ///
    /// # Errors
    /// [`Error::Memory`], or [`Error::Lua`] with the message and a traceback.
    pub fn call(&mut self, function: Ref, args: &[Ref], results: u8) -> Result<Ref> {
        // SAFETY: room is checked first; `door::call` leaves exactly `results` values.
        unsafe {
            if ffi::lua_checkstack(self.l, args.len() as c_int + c_int::from(results) + SLACK) == 0 {
                return Err(Error::Memory);
            }
            self.push_to_caller(function);
            for arg in args {
                self.push_to_caller(*arg);
            }
            door::call(self.l, args.len() as c_int, results.into())?;
            if self.len == u32::MAX {
                return Err(Error::Memory);
            }
        }
        let base = Ref(self.len);
        for i in (1..=c_int::from(results)).rev() {
            // SAFETY: the results stand on top, the first deepest.
            unsafe { ffi::lua_pushvalue(self.l, -i) };
            if let Err(error) = self.keep_from_caller() {
                // SAFETY: the results are dropped.
                unsafe { ffi::lua_settop(self.l, -c_int::from(results) - 1) };
                return Err(error);
            }
        }
        // SAFETY: the results are kept, their first copies go.
        unsafe { ffi::lua_settop(self.l, -c_int::from(results) - 1) };
        Ok(base)
    }

    /// Keeps a new table with room for `fields` string keys.
    pub fn table(&mut self, fields: u16) -> Result<Ref> {
        // SAFETY: the allocation is behind the door.
        unsafe {
            door::protect(self.l, 1, |l| ffi::lua_createtable(l, 0, fields.into()))?;
        }
        self.keep_from_caller()
    }

    /// The address of a C function; none for any other value.
    pub fn is_c_function(&self, r: Ref) -> Option<usize> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index.
        unsafe { ffi::lua_tocfunction(thread, index).map(|f| f as usize) }
    }

    // ------------------------------------------------------------------ what changes the program

    /// `table[key] = value`, raw. A key that stands already is overwritten without any allocation.
    ///
    /// # Errors
    /// [`Error::Memory`] when a new key needs room that is not to be had; the table is then unchanged.
    pub fn set(&mut self, _: &Permit, table: Ref, key: Ref, value: Ref) -> Result<()> {
        let (thread, index) = self.at(table);
        let (key_holder, key_index) = self.at(key);
        // SAFETY: the table is checked; a write over an existing key and a nil over nothing cannot raise; any other write goes
        // behind the door, which the values reach from their holders.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TTABLE || ffi::lua_type(key_holder, key_index) == ffi::LUA_TNIL
            {
                return Ok(());
            }
            self.push_get(table, key);
            let there = ffi::lua_type(thread, -1) != ffi::LUA_TNIL;
            ffi::lua_settop(thread, -2);
            if there {
                self.push_beside(thread, key);
                self.push_beside(thread, value);
                ffi::lua_rawset(thread, index);
                return Ok(());
            }
            if self.kind(value) == Kind::Nil {
                return Ok(());
            }
            let vm = &*self;
            door::protect(self.l, 0, |l| {
                for r in [table, key, value] {
                    vm.push_onto(l, r);
                }
                ffi::lua_rawset(l, -3);
                ffi::lua_settop(l, 0);
            })
        }
    }

    /// Sets what the `i`-th upvalue of a Lua function holds.
    pub fn set_upvalue(&mut self, _: &Permit, function: Ref, i: u8, value: Ref) {
        let (thread, index) = self.at(function);
        self.push(value);
        // SAFETY: the value moves to the holder; Lua checks the number and leaves the value when there is no such upvalue.
        unsafe {
            ffi::lua_xmove(self.scratch, thread, 1);
            if ffi::lua_setupvalue(thread, index, i.into()).is_null() {
                ffi::lua_settop(thread, -2);
            }
        }
    }

    /// Makes the `i`-th upvalue of `function` share the cell of the `j`-th of `donor`. False, and nothing done, when
    /// one of them is no Lua function or has no such upvalue.
    pub fn join(&mut self, _: &Permit, function: Ref, i: u8, donor: Ref, j: u8) -> bool {
        let (thread, index) = self.at(function);
        let (other, other_index) = self.at(donor);
        // SAFETY: both are Lua functions with those upvalues (a C function or a bad number would be undefined); functions
        // on different holders meet on the scratch.
        unsafe {
            if !Self::has_upvalue(thread, index, i) || !Self::has_upvalue(other, other_index, j) {
                return false;
            }
            if thread == other {
                ffi::lua_upvaluejoin(thread, index, i.into(), other_index, j.into());
            } else {
                self.push(function);
                self.push(donor);
                ffi::lua_upvaluejoin(self.scratch, -2, i.into(), -1, j.into());
                self.pop(2);
            }
        }
        true
    }

    /// # Safety
    /// A valid index of a live thread.
    #[inline]
    unsafe fn has_upvalue(thread: *mut lua_State, index: c_int, i: u8) -> bool {
        // SAFETY: `lua_upvalueid` returns null for a number that is none.
        unsafe {
            // A Lua function with such an upvalue: a C function has ids as well, and nothing else has any.
            ffi::lua_iscfunction(thread, index) == 0
                && ffi::lua_type(thread, index) == ffi::LUA_TFUNCTION
                && !ffi::lua_upvalueid(thread, index, i.into()).is_null()
        }
    }

    /// Sets the metatable of a table; nil takes it away.
    pub fn set_metatable(&mut self, _: &Permit, table: Ref, metatable: Ref) {
        self.push(table);
        self.push(metatable);
        // SAFETY: a table, and a table or nil on top, else nothing is set.
        unsafe {
            let s = self.scratch;
            let kind = ffi::lua_type(s, -1);
            if ffi::lua_type(s, -2) == ffi::LUA_TTABLE && (kind == ffi::LUA_TTABLE || kind == ffi::LUA_TNIL) {
                ffi::lua_setmetatable(s, -2);
                self.pop(1);
            } else {
                self.pop(2);
            }
        }
    }

    /// Sets `table[function] = number` for each pair, all behind one door.
    ///
    /// # Errors
    /// [`Error::Memory`]; the table may then have some of the numbers.
    pub fn set_numbers(&mut self, _: &Permit, table: Ref, pairs: &[(Ref, i64)]) -> Result<()> {
        let vm = &*self;
        // SAFETY: values pass over from their holders, which have room; the closure borrows.
        unsafe {
            door::protect(self.l, 0, |l| {
                vm.push_onto(l, table);
                for (function, number) in pairs {
                    vm.push_onto(l, *function);
                    ffi::lua_pushinteger(l, *number);
                    ffi::lua_rawset(l, 1);
                }
                ffi::lua_settop(l, 0);
            })
        }
    }

    /// The integer `table[key]`, raw.
    pub fn get_number(&self, table: Ref, key: Ref) -> Option<i64> {
        let thread = self.push_get(table, key);
        // SAFETY: the value is on top.
        unsafe {
            let number = (ffi::lua_isinteger(thread, -1) != 0).then(|| ffi::lua_tointeger(thread, -1));
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

    // ------------------------------------------------------------------ what outlives a call

    /// Puts the held values and `words` into a table, so that [`Vm::thaw`] can go on with them in a later call.
    pub fn freeze(&mut self, words: &[u32]) -> Result<Ref> {
        let threads = || self.holders.iter().copied().chain([self.scratch]);
        let (count, len) = (self.holders.len() as c_int + 1, self.len);
        // SAFETY: behind the door; threads push themselves onto their own stacks, which have room, and move over. The bytes
        // of `words` are read within their length.
        unsafe {
            door::protect(self.l, 1, |l| {
                ffi::lua_createtable(l, count, 0);
                for (thread, i) in threads().zip(1..) {
                    ffi::lua_pushthread(thread);
                    ffi::lua_xmove(thread, l, 1);
                    ffi::lua_rawseti(l, 1, i);
                }
                ffi::lua_pushinteger(l, len.into());
                ffi::lua_rawseti(l, 1, i64::from(count) + 1);
                ffi::lua_pushlstring(l, words.as_ptr().cast(), size_of_val(words));
                ffi::lua_rawseti(l, 1, i64::from(count) + 2);
            })?;
        }
        self.keep_from_caller()
    }

    /// Goes on with a frozen view, the table at `index` of the frame of `l`. `[-0, +n, -]`
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Panic`] when the value is none.
    ///
    /// # Safety
    /// As for [`Vm::open`], and the value must come from [`Vm::freeze`]: only the façade has one.
    pub unsafe fn thaw(l: *mut lua_State, index: c_int) -> Result<(Vm, Vec<u32>)> {
        let odd = || Error::Panic("not a frozen reload".into());
        let mut vm = Vm {
            l,
            scratch: null_mut(),
            holders: Vec::new(),
            len: 0,
            room: 0,
            zipping: false,
            buffer: Vec::new(),
        };
        let mut words = Vec::new();
        // SAFETY: types are checked before anything is believed; the string's bytes are read within its length.
        unsafe {
            if ffi::lua_type(l, index) != ffi::LUA_TTABLE {
                return Err(odd());
            }
            let count = ffi::lua_rawlen(l, index) as c_int;
            if ffi::lua_checkstack(l, count + SLACK) == 0 {
                return Err(Error::Memory);
            }
            for i in 1..=count - 2 {
                ffi::lua_rawgeti(l, index, i.into());
                let thread = ffi::lua_tothread(l, -1);
                if thread.is_null() {
                    return Err(odd());
                }
                vm.holders.try_push(thread)?;
            }
            ffi::lua_rawgeti(l, index, i64::from(count) - 1);
            vm.len = u32::try_from(ffi::lua_tointeger(l, -1)).map_err(|_| odd())?;
            ffi::lua_rawgeti(l, index, count.into());
            if ffi::lua_type(l, -1) != ffi::LUA_TSTRING {
                return Err(odd());
            }
            let mut size = 0;
            let start = ffi::lua_tolstring(l, -1, &raw mut size);
            let bytes = std::slice::from_raw_parts(start.cast::<u8>(), size);
            words.try_reserve_exact(size / size_of::<u32>())?;
            words.extend(
                bytes
                    .chunks_exact(4)
                    .map(|word| word.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte))),
            );
            vm.scratch = vm.holders.pop().ok_or_else(odd)?;
        }
        if vm.len > vm.holders.len() as u32 * PER_THREAD {
            return Err(odd());
        }
        Ok((vm, words))
    }
}
