//! What changes the program. Everything here asks for a [`Permit`], which only `lua/write.rs` can
//! make.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{Ref, Vm};
use crate::lua::protected;
use crate::lua::write::{Joins, Permit};
use crate::support::error::Result;

impl Vm {
    /// `table[key] = value`, raw. A key that stands already is overwritten without any allocation.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory) when a new key needs room that is
    /// not to be had; the table is then unchanged.
    pub fn set(&mut self, _: Permit, table: Ref, key: Ref, value: Ref) -> Result<()> {
        let (thread, index) = self.at(table);
        let (key_holder, key_index) = self.at(key);
        // SAFETY: the table is checked; a write over an existing key and a nil over nothing cannot
        // raise; any other write goes in a protected call, which the values reach from
        // their holders.
        unsafe {
            if ffi::lua_type(thread, index) != ffi::LUA_TTABLE
                || ffi::lua_type(key_holder, key_index) == ffi::LUA_TNIL
            {
                return Ok(());
            }
            self.push_beside(thread, key);
            ffi::lua_pushvalue(thread, -1);
            if ffi::lua_rawget(thread, index) != ffi::LUA_TNIL {
                ffi::lua_settop(thread, -2);
                self.push_beside(thread, value);
                ffi::lua_rawset(thread, index);
                return Ok(());
            }
            ffi::lua_settop(thread, -3);
            if self.look_at(value).is_nil() {
                return Ok(());
            }
            let vm = &*self;
            protected::run(self.l, 0, |l| {
                for r in [table, key, value] {
                    vm.push_onto(l, r);
                }
                ffi::lua_rawset(l, -3);
                ffi::lua_settop(l, 0);
            })
        }
    }

    /// Sets what the `i`-th upvalue of a Lua function holds.
    pub fn set_upvalue(&mut self, _: Permit, function: Ref, i: u8, value: Ref) {
        let (thread, index) = self.at(function);
        self.push(value);
        // SAFETY: the value moves to the holder; Lua checks the number and leaves the value when
        // there is no such upvalue.
        unsafe {
            ffi::lua_xmove(self.scratch, thread, 1);
            if ffi::lua_setupvalue(thread, index, i.into()).is_null() {
                ffi::lua_settop(thread, -2);
            }
        }
    }

    /// Makes upvalues share the cells of others. False when one of the functions is no Lua function
    /// or has no such upvalue: before anything is joined where that one was to give a cell,
    /// else at the first that was to get one.
    pub fn join(&mut self, _: Permit, joins: &Joins) -> bool {
        let mut last = (Ref::NIL, 0); // a donor, and up to which one it has the upvalues
        for join in joins.list() {
            let (donor, most) = last;
            if join.donor == donor && (1..=most).contains(&join.donor_index) {
                continue;
            }
            let (thread, index) = self.at(join.donor);
            // SAFETY: valid indices.
            if unsafe {
                !Self::is_lua_function(thread, index)
                    || !Self::has_upvalue(thread, index, join.donor_index)
            } {
                return false;
            }
            last = (join.donor, join.donor_index);
        }
        for (function, joins) in joins.functions() {
            let (thread, index) = self.at(function);
            // SAFETY: a valid index.
            if unsafe { !Self::is_lua_function(thread, index) } {
                return false;
            }
            let mut most = 0; // it has the upvalues up to this one
            for join in joins {
                let (i, j) = (join.index, join.donor_index);
                let (donor, donor_index) = self.at(join.donor);
                // SAFETY: both are Lua functions with those upvalues (a C function or a bad number
                // would be undefined); functions on different holders meet on the
                // scratch.
                unsafe {
                    if i > most || i == 0 {
                        if !Self::has_upvalue(thread, index, i) {
                            return false;
                        }
                        most = i;
                    }
                    if thread == donor {
                        ffi::lua_upvaluejoin(thread, index, i.into(), donor_index, j.into());
                    } else {
                        self.push(function);
                        self.push(join.donor);
                        ffi::lua_upvaluejoin(self.scratch, -2, i.into(), -1, j.into());
                        self.pop(2);
                    }
                }
            }
        }
        true
    }

    /// A function that is written in Lua? (A C function has upvalues as well, but no cells.)
    ///
    /// # Safety
    /// A valid index of a live thread.
    #[inline]
    unsafe fn is_lua_function(thread: *mut lua_State, index: c_int) -> bool {
        // SAFETY: as promised.
        unsafe {
            ffi::lua_type(thread, index) == ffi::LUA_TFUNCTION
                && ffi::lua_iscfunction(thread, index) == 0
        }
    }

    /// Sets the metatable of a value; nil takes it away. For a table or full userdata it is its
    /// own, for any other that of its type.
    pub fn set_metatable(&mut self, _: Permit, of: Ref, metatable: Ref) {
        self.push(of);
        self.push(metatable);
        // SAFETY: a table or nil on top, else nothing is set.
        unsafe {
            let kind = ffi::lua_type(self.scratch, -1);
            if kind == ffi::LUA_TTABLE || kind == ffi::LUA_TNIL {
                ffi::lua_setmetatable(self.scratch, -2);
                self.pop(1);
            } else {
                self.pop(2);
            }
        }
    }

    /// Sets `table[function] = number` for each pair, all in one protected call.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory); the table may then have some of the
    /// numbers.
    pub fn set_numbers(&mut self, _: Permit, table: Ref, pairs: &[(Ref, i64)]) -> Result<()> {
        let vm = &*self;
        // SAFETY: values pass over from their holders, which have room; the closure borrows.
        unsafe {
            protected::run(self.l, 0, |l| {
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
}
