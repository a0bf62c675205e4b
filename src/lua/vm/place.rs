//! Places outside of tables and cells where a value may stand (R9): metatables of any type, user
//! values, stacks.

use mlua::ffi::{self, lua_State};

use super::{Ref, Vm};
use crate::lua::debug::DebugRecord;
use crate::lua::heap::Place;
use crate::lua::protected;
use crate::lua::write::{Op, Permit};
use crate::support::error::{Error, Result};
use crate::support::fault;

impl Vm {
    /// Does the place hold this very value?
    ///
    /// # Errors
    /// [`Error::Memory`] when a coroutine's stack has no room for a look at it.
    pub fn place_holds(&self, place: Place, value: Ref) -> Result<bool> {
        self.push_place(place)?;
        self.push(value);
        let same = self.same_at(-1, -2);
        self.pop(2);
        Ok(same)
    }

    /// Of an activation: is its coroutine suspended, and which line is it in? Line -1 where none is
    /// known.
    pub fn activation(&self, thread: Ref, level: u32) -> (bool, i32) {
        let (holder, index) = self.at(thread);
        // SAFETY: a valid index; Lua checks the level, and "l" takes and leaves nothing.
        unsafe {
            let co = ffi::lua_tothread(holder, index);
            let mut ar = DebugRecord::new();
            let ar = ar.as_mut_ptr();
            if co.is_null()
                || ffi::lua_getstack(co, level as i32, ar) == 0
                || ffi::lua_getinfo(co, c"l".as_ptr(), ar) == 0
            {
                return (false, -1);
            }
            (ffi::lua_status(co) == ffi::LUA_YIELD, (*ar).currentline)
        }
    }

    /// Is it the coroutine that is running?
    pub fn is_running(&self, thread: Ref) -> bool {
        let (holder, index) = self.at(thread);
        // SAFETY: a valid index.
        std::ptr::eq(unsafe { ffi::lua_tothread(holder, index) }, self.l)
    }

    /// Writes a value into a place; where there is no such place any more, nothing is done. It
    /// allocates nothing, but for a key that a table has no longer.
    ///
    /// # Errors
    /// [`Error::Memory`], with nothing done.
    pub fn set_place(&mut self, permit: Permit, place: Place, value: Ref) -> Result<()> {
        match place {
            Place::Value { table, key } => return self.set(permit, table, key, value),
            Place::Key { .. } | Place::Running { .. } => {} /* a key is moved by two writes of
            * values */
            Place::Upvalue { function, index } => self.set_upvalue(permit, function, index, value),
            Place::Metatable { of } | Place::TypeMetatable { of } => {
                self.set_metatable(permit, of, value)
            }
            Place::UserValue { userdata, n } => {
                self.push(userdata);
                self.push(value);
                // SAFETY: a full userdata below the value; Lua checks the number.
                unsafe {
                    if ffi::lua_type(self.scratch, -2) == ffi::LUA_TUSERDATA {
                        ffi::lua_setiuservalue(self.scratch, -2, n.into());
                        self.pop(1);
                    } else {
                        self.pop(2);
                    }
                }
            }
            Place::Local { thread, level, n } => {
                let co = self.coroutine(thread)?;
                // SAFETY: a live coroutine with room for the value, which the call pops; Lua checks
                // level and number.
                unsafe {
                    let mut ar = DebugRecord::new();
                    if !co.is_null() && ffi::lua_getstack(co, level as i32, ar.as_mut_ptr()) != 0 {
                        self.push(value);
                        ffi::lua_xmove(self.scratch, co, 1);
                        ffi::lua_setlocal(co, ar.as_ptr(), n);
                    }
                }
            }
            Place::Slot { thread, index } => {
                let co = self.coroutine(thread)?;
                // SAFETY: as above; the index is checked against the coroutine's own stack.
                unsafe {
                    if !co.is_null() && index >= 1 && index <= ffi::lua_gettop(co) {
                        self.push(value);
                        ffi::lua_xmove(self.scratch, co, 1);
                        ffi::lua_replace(co, index);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes each operation's new value into its place, one after another, all in one protected
    /// call. `done` counts those that are written, whatever comes then: a write that raises has
    /// done nothing. Not for places on the running coroutine's stack, where the protected call
    /// has a frame.
    ///
    /// # Errors
    /// As [`Vm::set_place`].
    pub fn set_places(&mut self, permit: Permit, ops: &[Op], done: &mut usize) -> Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        let (l, vm, failed) = (self.l, &mut *self, &mut outcome);
        // SAFETY: values pass over from their holders, which have room; the closure borrows. What
        // raises is a write on `l`, whose frame it is.
        unsafe {
            protected::run(l, 0, |l| {
                let mut table_on_top = None;
                for op in ops {
                    let written = fault::point().and_then(|()| match op.place {
                        Place::Value { table, key } => {
                            if table_on_top != Some(table) {
                                ffi::lua_settop(l, 0);
                                vm.push_onto(l, table);
                                table_on_top = Some(table);
                            }
                            if ffi::lua_type(l, 1) == ffi::LUA_TTABLE {
                                vm.push_both_onto(l, key, op.new);
                                ffi::lua_rawset(l, 1);
                            }
                            Ok(())
                        }
                        place => vm.set_place(permit, place, op.new),
                    });
                    if let Err(error) = written {
                        *failed = Err(error);
                        break;
                    }
                    *done += 1;
                }
                ffi::lua_settop(l, 0);
            })?;
        }
        outcome
    }

    /// Copies what a place holds to the scratch's top; nil where there is none. `scratch: [-0, +1,
    /// -]`
    fn push_place(&self, place: Place) -> Result<()> {
        let s = self.scratch;
        // SAFETY: types, levels and numbers are checked, by Lua or here; a coroutine has room for a
        // value in passing.
        unsafe {
            let top = ffi::lua_gettop(s);
            match place {
                Place::Value { table, key } => {
                    let thread = self.push_get(table, key);
                    ffi::lua_xmove(thread, s, 1);
                }
                Place::Key { key, .. } => self.push(key),
                Place::Running { .. } => self.push(Ref::NIL),
                Place::Upvalue { function, index } => {
                    self.push(function);
                    if ffi::lua_type(s, -1) == ffi::LUA_TFUNCTION {
                        ffi::lua_getupvalue(s, -1, index.into());
                    }
                }
                Place::Metatable { of } | Place::TypeMetatable { of } => {
                    self.push(of);
                    ffi::lua_getmetatable(s, -1);
                }
                Place::UserValue { userdata, n } => {
                    self.push(userdata);
                    if ffi::lua_type(s, -1) == ffi::LUA_TUSERDATA {
                        ffi::lua_getiuservalue(s, -1, n.into());
                    }
                }
                Place::Local { thread, level, n } => {
                    let co = self.coroutine(thread)?;
                    let mut ar = DebugRecord::new();
                    self.push(Ref::NIL);
                    if !co.is_null()
                        && ffi::lua_getstack(co, level as i32, ar.as_mut_ptr()) != 0
                        && !ffi::lua_getlocal(co, ar.as_ptr(), n).is_null()
                    {
                        ffi::lua_xmove(co, s, 1);
                    }
                }
                Place::Slot { thread, index } => {
                    let co = self.coroutine(thread)?;
                    self.push(Ref::NIL);
                    if !co.is_null() && index >= 1 && index <= ffi::lua_gettop(co) {
                        ffi::lua_pushvalue(co, index);
                        ffi::lua_xmove(co, s, 1);
                    }
                }
            }
            // What was asked stands below what was found; where nothing was, nil takes its place.
            match ffi::lua_gettop(s) - top {
                1 if matches!(
                    place,
                    Place::Value { .. } | Place::Key { .. } | Place::Running { .. }
                ) => {}
                1 => {
                    self.push(Ref::NIL);
                    ffi::lua_replace(s, -2);
                }
                _ => ffi::lua_replace(s, -2),
            }
        }
        Ok(())
    }

    /// The coroutine, with room for two values in passing; null when the value is none.
    fn coroutine(&self, thread: Ref) -> Result<*mut lua_State> {
        let (holder, index) = self.at(thread);
        // SAFETY: a valid index; room is made on the coroutine itself.
        unsafe {
            let co = ffi::lua_tothread(holder, index);
            if !co.is_null() && ffi::lua_checkstack(co, 2) == 0 {
                return Err(Error::Memory);
            }
            Ok(co)
        }
    }
}
