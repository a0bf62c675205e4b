//! New closures of a factory's one nested function (R9.3), and the elements of a list.

use mlua::ffi;

use super::{DebugInfo, Ref, Vm};
use crate::code::cut::Cutter;
use crate::code::tree::Tree;
use crate::lua::protected;
use crate::support::error::{Error, Result};

impl Vm {
    /// `table[i]`, raw, without a handle for the number; nil when `table` is none. `[-0, +1, -]`
    pub fn element(&mut self, table: Ref, i: u32) -> Result<Ref> {
        let (thread, index) = self.at(table);
        // SAFETY: raw access to a table that is checked; the holder has room for a value in
        // passing, which moves to the scratch.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TTABLE {
                return Ok(Ref::NIL);
            }
            ffi::lua_rawgeti(thread, index, i.into());
            ffi::lua_xmove(thread, self.scratch, 1);
        }
        self.keep()
    }

    /// The tree of a Lua function; none when its dump is not of the known format.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn tree_of(&mut self, function: Ref) -> Result<Option<Tree>> {
        self.dump(function, DebugInfo::Keep)?;
        Tree::read(self.take_dump(), &self.secret)
    }

    /// Loads what [`Cutter::cut`] makes of a function, checks that Lua has the same of it, byte by
    /// byte, and keeps it; none where there is no such function, or Lua has something else. The
    /// trees must be those of dumps that Lua made.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn load_cut(&mut self, cutter: &Cutter, tree: &Tree, number: u32) -> Result<Option<Ref>> {
        let Some(code) = cutter.cut(tree, number)? else {
            return Ok(None);
        };
        // SAFETY: both functions in it were dumped by this Lua, whole, and both readers are strict
        // about that. Each variable that the nested one captures is the first upvalue of
        // the main one, which has it: `Cutter::new` has checked.
        match unsafe { self.load_binary(&code, c"=?") } {
            Ok(factory) if self.dump(factory, DebugInfo::Keep)? == code => Ok(Some(factory)),
            Err(Error::Memory) => Err(Error::Memory),
            _ => Ok(None),
        }
    }

    /// Calls a function that does nothing but return a new closure, and keeps that. It runs on the
    /// scratch, which no debug hook of the program watches. `[-0, +1, m]`
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn instantiate(&mut self, factory: Ref) -> Result<Ref> {
        let (thread, index) = self.at(factory);
        // SAFETY: the scratch is a thread of the reload's own, with room; the factory moves from
        // its holder, which has room for a value in passing; the call is protected.
        unsafe {
            ffi::lua_sethook(self.scratch, None, 0, 0);
            protected::run(self.scratch, 1, |l| {
                ffi::lua_pushvalue(thread, index);
                ffi::lua_xmove(thread, l, 1);
                ffi::lua_call(l, 0, 1);
            })?;
        }
        self.keep()
    }
}
