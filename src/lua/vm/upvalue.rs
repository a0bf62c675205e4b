//! An upvalue read once: its name, and what it holds.

use mlua::ffi;

use super::{Ref, Val, Vm};
use crate::support::error::Result;

/// What was read of an upvalue.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeptUpvalue {
    /// The address of its name: equal addresses are equal names. 0 for no upvalue.
    pub name: usize,
    /// What it holds.
    pub value: Ref,
    /// What that is.
    pub val: Val,
}

impl Vm {
    /// Keeps what the `i`-th upvalue holds; nil past the last.
    pub fn keep_upvalue(&mut self, function: Ref, i: u8) -> Result<KeptUpvalue> {
        self.make_room()?;
        let (thread, index) = self.at(function);
        let holder = self.holders.last().copied().unwrap_or(self.scratch);
        // SAFETY: a valid index, and the function's holder has room for a value in passing, the
        // last one to keep it. Lua pushes nothing for a number that is none.
        let (name, val) = unsafe {
            let name = ffi::lua_getupvalue(thread, index, i.into());
            if name.is_null() {
                return Ok(KeptUpvalue::default());
            }
            let val = Self::describe(thread, -1);
            if thread != holder {
                ffi::lua_xmove(thread, holder, 1);
            }
            (name as usize, val)
        };
        if let Some(known) = self.vals.get(self.len as usize) {
            known.set(Some(val));
        }
        self.room -= 1;
        self.len += 1;
        let value = Ref(self.len - 1);
        Ok(KeptUpvalue { name, value, val })
    }
}
