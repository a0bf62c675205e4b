//! New closures of a factory's one nested function (R9.3), and the elements of a list.

use mlua::ffi;

use super::{Ref, Vm};
use crate::error::Result;
use crate::raw::door;

impl Vm {
    /// `table[i]`, raw, without a handle for the number; nil when `table` is none. `[-0, +1, -]`
    pub fn element(&mut self, table: Ref, i: u32) -> Result<Ref> {
        let (thread, index) = self.at(table);
        // SAFETY: raw access to a table that is checked; the holder has room for a value in passing, which moves to the scratch.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TTABLE {
                return Ok(Ref::NIL);
            }
            ffi::lua_rawgeti(thread, index, i.into());
            ffi::lua_xmove(thread, self.scratch, 1);
        }
        self.keep()
    }

    /// Calls a function that does nothing but return a new closure, and keeps that. It runs on the scratch, which no debug hook of
    /// the program watches. `[-0, +1, m]`
    ///
    /// # Errors
    /// [`crate::error::Error::Memory`].
    pub fn instantiate(&mut self, factory: Ref) -> Result<Ref> {
        let (thread, index) = self.at(factory);
        // SAFETY: the scratch is a thread of the reload's own, with room; the factory moves from its holder, which has room for a
        // value in passing; the call is behind the door.
        unsafe {
            ffi::lua_sethook(self.scratch, None, 0, 0);
            door::protect(self.scratch, 1, |l| {
                ffi::lua_pushvalue(thread, index);
                ffi::lua_xmove(thread, l, 1);
                ffi::lua_call(l, 0, 1);
            })?;
        }
        self.keep()
    }
}
