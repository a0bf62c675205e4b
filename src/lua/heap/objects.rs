//! One object at a time: what a table, function, userdata or coroutine holds.
//!
//! The object stands at `i`, the height of the current segment `g`. Each function takes it off, or
//! sets it aside.

use std::ffi::{CStr, c_char};

use mlua::ffi::{self, lua_Debug, lua_State};

use super::pause::Aside;
use super::segment::{BATCH, SLACK};
use super::{CHECK, HeapWalk, Place};
use crate::lua::debug::DebugRecord;
use crate::lua::protected;
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush};

/// Slots of a coroutine that are looked at in one go.
const STACK: i64 = 4096;
/// Lua's API finds an activation by counting from the innermost. Of a stack that is deeper than
/// both together, only so many activations at each end are looked at: the time would grow with the
/// square of the depth.
const INNERMOST: u32 = 1 << 13;
const OUTERMOST: u32 = 1 << 6;
/// So many activations of a coroutine are looked at.
pub const MOST_CALLS: u32 = INNERMOST + OUTERMOST;
/// Activations that are counted in the time of one slot.
const STEPS: u32 = 16;

impl<W: FnMut(usize, &[u8]) -> bool> HeapWalk<'_, W> {
    /// A call begins: the running coroutine is looked at, whether met or not, and in a new pass the
    /// registry and the types' metatables.
    pub(super) unsafe fn roots(&mut self) -> Result<()> {
        // SAFETY: the fill segment has room; each value is taken off again or waits there.
        unsafe {
            let l = self.l;
            let fill = self.state.fill.thread;
            if self.state.begin() {
                ffi::lua_pushvalue(fill, ffi::LUA_REGISTRYINDEX);
                self.root(fill, ffi::LUA_TTABLE)?;
                for sample in 0..7 {
                    self.type_metatable(sample)?;
                }
            }
            if ffi::lua_checkstack(l, SLACK) == 0 {
                return Err(Error::Memory);
            }
            ffi::lua_pushthread(l);
            self.root(l, ffi::LUA_TTHREAD)
        }
    }

    /// Lets the top value of `src` wait, whether met or not. `src: [-1, +0, -]`
    unsafe fn root(&mut self, src: *mut lua_State, t: i32) -> Result<()> {
        // SAFETY: the value of type `t` is on top of `src`, a live thread of the state, and is
        // taken off.
        unsafe {
            self.look(src, t)?;
            self.wait(src, true)
        }
    }

    /// As [`HeapWalk::take`], from the fill segment itself, too.
    unsafe fn wait(&mut self, src: *mut lua_State, fresh: bool) -> Result<()> {
        // SAFETY: the value is on top of `src`, a live thread of the state; on the fill segment it
        // may stay where it is.
        unsafe {
            if fresh && src == self.state.fill.thread && self.state.fill.len < BATCH {
                self.state.fill.len += 1;
                return Ok(());
            }
            self.take(src, fresh)
        }
    }

    /// The metatable of a basic type.
    unsafe fn type_metatable(&mut self, sample: i32) -> Result<()> {
        // SAFETY: the samples stand on the current segment, which is empty when a pass begins, and
        // are taken off again.
        unsafe {
            let g = self.state.current.thread;
            match sample {
                0 => ffi::lua_pushnil(g),
                1 => ffi::lua_pushboolean(g, 0),
                2 => ffi::lua_pushnumber(g, 0.0),
                3 => ffi::lua_pushlightuserdata(g, std::ptr::null_mut()),
                4 => ffi::lua_pushcfunction(g, super::pause::collect),
                5 => {
                    ffi::lua_pushthread(g);
                }
                _ => {
                    let anchor = self.state.anchor;
                    ffi::lua_pushvalue(anchor, super::pause::STRING);
                    ffi::lua_xmove(anchor, g, 1);
                }
            }
            if ffi::lua_getmetatable(g, 1) != 0 {
                let sight = self.look(g, ffi::LUA_TTABLE)?;
                if sight.wanted {
                    let of = self.keep(g, 1)?;
                    self.hit(Place::TypeMetatable { of }, g, 2)?;
                }
                self.take(g, sight.fresh)?;
            }
            ffi::lua_settop(g, 0);
        }
        Ok(())
    }

    /// The metatable on top of `g`, of the object at `i`. `g: [-1, +0, -]`
    #[inline(always)]
    unsafe fn metatable(&mut self, g: *mut lua_State, i: i32) -> Result<()> {
        // SAFETY: the metatable is on top.
        unsafe {
            let address = ffi::lua_topointer(g, -1) as usize;
            if address == self.last_metatable {
                ffi::lua_settop(g, -2);
                return Ok(());
            }
            let mut sight = self.look(g, ffi::LUA_TTABLE)?;
            if self.state.class != 0 && !sight.wanted && self.leads_to_class(g) {
                self.state.want(address)?;
                sight.wanted = true;
            }
            if sight.wanted {
                let of = self.keep(g, i)?;
                self.hit(Place::Metatable { of }, g, -1)?;
            } else {
                self.last_metatable = address;
            }
            self.take(g, sight.fresh)
        }
    }

    /// Is the metatable on top of `g` the class that is asked for, or does its `__index` lead
    /// there, be it through other classes? `g: [-0, +0, -]`
    unsafe fn leads_to_class(&self, g: *mut lua_State) -> bool {
        // SAFETY: a segment has room for some more values, and the anchor for one in passing; the
        // access is raw.
        unsafe {
            let is_class = || ffi::lua_topointer(g, -1) as usize == self.state.class;
            let top = ffi::lua_gettop(g);
            let mut found = is_class();
            ffi::lua_pushvalue(g, top);
            // A class of a circle is met again: each one is compared with one that was met before.
            let (mut before, mut steps, mut round) = (0, 0u32, 1u32);
            loop {
                ffi::lua_pushvalue(self.state.anchor, super::pause::STRING);
                ffi::lua_xmove(self.state.anchor, g, 1);
                if found || ffi::lua_rawget(g, top + 1) != ffi::LUA_TTABLE {
                    break;
                }
                found = is_class();
                if ffi::lua_getmetatable(g, -1) == 0 {
                    break;
                }
                ffi::lua_replace(g, top + 1);
                ffi::lua_settop(g, top + 1);
                let address = ffi::lua_topointer(g, top + 1) as usize;
                if address == before {
                    break;
                }
                steps += 1;
                if steps == round {
                    (before, steps, round) = (address, 0, round.saturating_mul(2));
                }
            }
            ffi::lua_settop(g, top);
            found
        }
    }

    pub(super) unsafe fn table(&mut self, g: *mut lua_State, i: i32) -> Result<()> {
        // SAFETY: the table is at `i`, the segment's height.
        unsafe {
            if ffi::lua_getmetatable(g, i) != 0 {
                self.metatable(g, i)?;
            }
            ffi::lua_pushnil(g);
            self.entries(g, i)
        }
    }

    /// The entries of the table at `i` behind the key at `i + 1`, the top.
    unsafe fn entries(&mut self, g: *mut lua_State, i: i32) -> Result<()> {
        // SAFETY: the key is nil or came from the table, which nothing has changed since; room as a
        // segment has it.
        unsafe {
            let mut left = self.credit;
            let mut found = 0;
            while ffi::lua_next(g, i) != 0 {
                let key = ffi::lua_type(g, i + 1);
                let value = ffi::lua_type(g, i + 2);
                if key > ffi::LUA_TSTRING {
                    found += self.entry_key(g, i, key)?;
                }
                if value > ffi::LUA_TSTRING {
                    found += self.entry_value(g, i, value)?;
                } else {
                    ffi::lua_settop(g, i + 1);
                }
                left -= 1;
                if left <= 0 || found >= BATCH {
                    self.credit = left;
                    if found >= BATCH || self.time_is_over() {
                        return self.set_aside(g, i, Aside::Table);
                    }
                    left = self.credit;
                }
            }
            self.credit = left;
            self.drop_top(g, i);
        }
        Ok(())
    }

    /// The value on top of `g`, of the table at `i`. Returns how many objects are found. `g: [-1,
    /// +0, -]`
    #[inline(always)]
    unsafe fn entry_value(&mut self, g: *mut lua_State, i: i32, t: i32) -> Result<i32> {
        // SAFETY: table, key and value stand at `i`, `i + 1`, `i + 2`.
        unsafe {
            let sight = self.look(g, t)?;
            if sight.wanted {
                let table = self.keep(g, i)?;
                let key = self.keep(g, i + 1)?;
                self.hit(Place::Value { table, key }, g, i + 2)?;
            }
            self.take(g, sight.fresh)?;
            Ok(sight.fresh.into())
        }
    }

    /// The key at `i + 1` of the table at `i`. Returns how many objects are found. `g: [-0, +0, -]`
    #[inline(never)]
    unsafe fn entry_key(&mut self, g: *mut lua_State, i: i32, t: i32) -> Result<i32> {
        // SAFETY: table and key stand at `i`, `i + 1`, a value on top of them.
        unsafe {
            ffi::lua_pushvalue(g, i + 1);
            let sight = self.look(g, t)?;
            if sight.wanted {
                let table = self.keep(g, i)?;
                let key = self.keep(g, i + 1)?;
                self.note(super::Hit {
                    place: Place::Key { table, key },
                    value: key,
                })?;
            }
            self.take(g, sight.fresh)?;
            Ok(sight.fresh.into())
        }
    }

    /// Sets the object at `i` aside, with the value above it: the last key of a table, nil for a
    /// coroutine.
    unsafe fn set_aside(&mut self, g: *mut lua_State, i: i32, how: Aside) -> Result<()> {
        // SAFETY: both values are on top of `g`; room is made.
        unsafe {
            let aside = self.state.aside_thread;
            if ffi::lua_checkstack(aside, 2 + SLACK) == 0 {
                return Err(Error::Memory);
            }
            self.state.aside.try_push(how)?;
            ffi::lua_xmove(g, aside, 2);
        }
        self.state.current.len = i - 1;
        Ok(())
    }

    /// Goes on with what was set aside last; the current segment is empty.
    pub(super) unsafe fn go_on(&mut self, how: Aside) -> Result<()> {
        // SAFETY: object and key are on top of the thread where they were set aside.
        unsafe {
            let g = self.state.current.thread;
            ffi::lua_xmove(self.state.aside_thread, g, 2);
            self.state.current.len = 1;
            match how {
                Aside::Table => self.entries(g, 1),
                Aside::Paused => {
                    if ffi::lua_type(g, 1) != ffi::LUA_TTABLE {
                        self.drop_top(g, 1);
                        return Ok(());
                    }
                    self.check_key(g)?;
                    self.entries(g, 1)
                }
                Aside::Stack { level, n } => {
                    ffi::lua_settop(g, 1);
                    if ffi::lua_type(g, 1) != ffi::LUA_TTHREAD {
                        self.drop_top(g, 1);
                        return Ok(());
                    }
                    self.thread(g, 1, level, n)
                }
            }
        }
    }

    /// The table at 1 was set aside in an earlier call: where its key at 2 is no longer one, the
    /// table is begun anew.
    unsafe fn check_key(&mut self, g: *mut lua_State) -> Result<()> {
        // SAFETY: `lua_next` raises for a key that is gone, so it runs in a protected call, on
        // copies; what it leaves is dropped with the frame.
        unsafe {
            let tried = protected::run(self.l, 0, |l| {
                ffi::lua_pushvalue(g, 1);
                ffi::lua_pushvalue(g, 2);
                ffi::lua_xmove(g, l, 2);
                ffi::lua_next(l, 1);
                ffi::lua_settop(l, 0);
            });
            match tried {
                Ok(()) => Ok(()),
                Err(Error::Lua(_)) => {
                    ffi::lua_settop(g, 1);
                    ffi::lua_pushnil(g);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        }
    }

    pub(super) unsafe fn function(&mut self, g: *mut lua_State, i: i32) -> Result<()> {
        // SAFETY: the function is at `i`; Lua checks the number of the upvalue.
        unsafe {
            let mut n = 1;
            while !ffi::lua_getupvalue(g, i, n).is_null() {
                let t = ffi::lua_type(g, i + 1);
                if t > ffi::LUA_TSTRING {
                    let sight = self.look(g, t)?;
                    if sight.wanted && self.new_cell(ffi::lua_upvalueid(g, i, n) as usize)? {
                        let function = self.keep(g, i)?;
                        let index = n as u8;
                        self.hit(Place::Upvalue { function, index }, g, i + 1)?;
                    }
                    self.take(g, sight.fresh)?;
                } else {
                    ffi::lua_settop(g, i);
                }
                n += 1;
            }
            self.credit -= i64::from(n);
            self.drop_top(g, i);
        }
        Ok(())
    }

    pub(super) unsafe fn userdata(&mut self, g: *mut lua_State, i: i32) -> Result<()> {
        // SAFETY: the userdata is at `i`; a user value past the last is none, with a nil for it.
        unsafe {
            if ffi::lua_getmetatable(g, i) != 0 {
                self.metatable(g, i)?;
            }
            let mut n: u16 = 1;
            loop {
                let t = ffi::lua_getiuservalue(g, i, n.into());
                if t > ffi::LUA_TSTRING {
                    let sight = self.look(g, t)?;
                    if sight.wanted {
                        let userdata = self.keep(g, i)?;
                        self.hit(Place::UserValue { userdata, n }, g, i + 1)?;
                    }
                    self.take(g, sight.fresh)?;
                } else {
                    ffi::lua_settop(g, i);
                }
                if t == ffi::LUA_TNONE || n == u16::MAX {
                    break;
                }
                n += 1;
            }
            self.credit -= i64::from(n);
            self.drop_top(g, i);
        }
        Ok(())
    }

    /// The coroutine at `i`: its activations from `level` on, in that one its slots from `n` on.
    pub(super) unsafe fn thread(
        &mut self,
        g: *mut lua_State,
        i: i32,
        level: u32,
        n: i32,
    ) -> Result<()> {
        // SAFETY: the coroutine lives; what is pushed onto its stack for a moment has room there,
        // and is taken off at once. No call that could run it comes between.
        unsafe {
            let th = ffi::lua_tothread(g, i);
            if ffi::lua_checkstack(th, 4) == 0 {
                if ffi::lua_gettop(th) < FULL {
                    return Err(Error::Memory);
                }
                self.state.is_partial = true;
                self.drop_top(g, i); // as high as a stack may be: no room to look at it
                return Ok(());
            }
            let mut ar = DebugRecord::new();
            let ar = ar.as_mut_ptr();
            let (mut level, mut n, mut left) = (level, n, STACK);
            let outermost = if ffi::lua_getstack(th, 0, ar) == 0 {
                None
            } else {
                loop {
                    if level == INNERMOST {
                        level = level.max(depth(th).saturating_sub(OUTERMOST));
                        self.state.is_partial |= level > INNERMOST;
                    }
                    if ffi::lua_getstack(th, level as i32, ar) == 0 {
                        break level.checked_sub(1);
                    }
                    if n == 1 && ffi::lua_getinfo(th, c"f".as_ptr(), ar) != 0 {
                        self.slot(g, i, th, level, FUNCTION)?;
                    }
                    left -= i64::from(level / STEPS);
                    if !self.locals(g, i, th, ar, level, &mut n, 1, &mut left)? {
                        ffi::lua_pushnil(g);
                        return self.set_aside(g, i, Aside::Stack { level, n });
                    }
                    (level, n) = (level + 1, 1);
                }
            };
            if let Some(level) = outermost {
                // The varargs of the others are temporaries of their callers.
                if ffi::lua_getstack(th, level as i32, ar) != 0 {
                    let mut all = i64::MAX;
                    self.locals(g, i, th, ar, level, &mut -1, -1, &mut all)?;
                }
            } else if !self.slots(g, i, th, &mut n, &mut left)? {
                ffi::lua_pushnil(g);
                return self.set_aside(g, i, Aside::Stack { level, n });
            }
            self.drop_top(g, i);
        }
        Ok(())
    }

    /// The slots of one activation, from `n` on; `false` when the time is over.
    #[expect(clippy::too_many_arguments)]
    unsafe fn locals(
        &mut self,
        g: *mut lua_State,
        i: i32,
        th: *mut lua_State,
        ar: *const lua_Debug,
        level: u32,
        n: &mut i32,
        step: i32,
        left: &mut i64,
    ) -> Result<bool> {
        // SAFETY: `ar` is an activation of `th`, which has room.
        unsafe {
            loop {
                let name = ffi::lua_getlocal(th, ar, *n);
                if name.is_null() {
                    break;
                }
                if is_of_loop(name) && ffi::lua_type(th, -1) == ffi::LUA_TTABLE {
                    let table = ffi::lua_topointer(th, -1) as usize;
                    self.state.loops.try_insert_value(table, ())?;
                }
                self.slot(g, i, th, level, *n)?;
                *n += step;
                if self.tired(left) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Was another slot one too many?
    #[inline(always)]
    fn tired(&mut self, left: &mut i64) -> bool {
        self.credit -= 1;
        *left -= 1;
        if *left > 0 {
            return false;
        }
        *left = CHECK;
        self.time_is_over()
    }

    /// The value on top of the coroutine `th`, which stands at `i` of `g`: of an activation the
    /// slot `n`, or its [`FUNCTION`]. `th: [-1, +0, -]`
    #[inline(always)]
    unsafe fn slot(
        &mut self,
        g: *mut lua_State,
        i: i32,
        th: *mut lua_State,
        level: u32,
        n: i32,
    ) -> Result<()> {
        // SAFETY: the value is on top.
        unsafe {
            let t = ffi::lua_type(th, -1);
            if t <= ffi::LUA_TSTRING {
                ffi::lua_settop(th, -2);
                return Ok(());
            }
            // The view may come to keep something on the stack of the running coroutine: the value
            // is moved away first.
            ffi::lua_xmove(th, g, 1);
            let sight = self.look(g, t)?;
            // A coroutine that an error ended goes on no more.
            if sight.wanted && (n != FUNCTION || ffi::lua_status(th) <= ffi::LUA_YIELD) {
                let thread = self.keep(g, i)?;
                let place = match n {
                    FUNCTION => Place::Running { thread, level },
                    _ => Place::Local { thread, level, n },
                };
                self.hit(place, g, i + 1)?;
            }
            self.take(g, sight.fresh)
        }
    }

    /// The stack of a coroutine on which nothing is active, from `index` on; `false` when the time
    /// is over.
    unsafe fn slots(
        &mut self,
        g: *mut lua_State,
        i: i32,
        th: *mut lua_State,
        index: &mut i32,
        left: &mut i64,
    ) -> Result<bool> {
        // SAFETY: indices up to its height; room is made.
        unsafe {
            let top = ffi::lua_gettop(th);
            while *index <= top {
                let t = ffi::lua_type(th, *index);
                if t > ffi::LUA_TSTRING {
                    ffi::lua_pushvalue(th, *index);
                    ffi::lua_xmove(th, g, 1);
                    let sight = self.look(g, t)?;
                    if sight.wanted {
                        let thread = self.keep(g, i)?;
                        let index = *index;
                        self.hit(Place::Slot { thread, index }, g, i + 1)?;
                    }
                    self.take(g, sight.fresh)?;
                }
                *index += 1;
                if self.tired(left) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// The number of no slot: it stands for the activation's function.
const FUNCTION: i32 = 0;

/// Is it the name of a variable of Lua's own in a loop?
///
/// # Safety
/// A string of C's.
#[inline(always)]
unsafe fn is_of_loop(name: *const c_char) -> bool {
    // SAFETY: as promised.
    unsafe { name.cast::<u8>().read() == b'(' && CStr::from_ptr(name) == c"(for state)" }
}

/// How many activations a coroutine has.
unsafe fn depth(th: *mut lua_State) -> u32 {
    let mut ar = DebugRecord::new();
    // SAFETY: only the result is used.
    let mut reaches =
        |level: u32| unsafe { ffi::lua_getstack(th, level as i32, ar.as_mut_ptr()) != 0 };
    let (mut below, mut above) = (0, 1);
    while reaches(above - 1) && above < 1 << 30 {
        (below, above) = (above, above * 2);
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if reaches(middle - 1) {
            below = middle
        } else {
            above = middle
        }
    }
    below
}

/// A stack with so many values is about as high as Lua lets one be.
const FULL: i32 = 900_000;
