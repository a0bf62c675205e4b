//! Digests of scalars: 64 bits that two values share when they are the same (raw equal, of one number type).

use std::ffi::c_int;
use std::hash::Hasher;

use mlua::ffi::{self, lua_State};
use rustc_hash::FxHasher;

use super::{Ref, Val, Vm};
use crate::error::Result;

/// One of the three values of the entry that a walk is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The key.
    Key = 3,
    /// The value in the table that is walked.
    New = 4,
    /// The value in the other one.
    Old = 5,
}

/// One entry of a table whose key is a scalar, as [`Vm::each_digest`] hands it out.
#[derive(Clone, Copy, Debug)]
pub struct Digested {
    /// The digest of the key.
    pub key: u64,
    /// The value.
    pub new: Val,
    /// Its digest, if it is a scalar.
    pub digest: Option<u64>,
    /// What the other table holds under the key; looked up for scalars and tables alone.
    pub old: Val,
    /// Its digest; that of nil where nothing was looked up.
    pub old_digest: Option<u64>,
}

// The types, so that no integer has the digest of a float, or of a boolean.
const NIL: u64 = 1;
const INTEGER: u64 = 0x9e37_79b9_7f4a_7c15;
const FLOAT: u64 = 0xc2b2_ae3d_27d4_eb4f;
const STRING: u64 = 0x1656_67b1_9e37_79f9;

impl Vm {
    /// The digest of a scalar (nil, a boolean, a number, a string); none for any other value.
    pub fn digest(&self, r: Ref) -> Option<u64> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index.
        unsafe { digest_at(thread, index) }
    }

    /// The digest of a string with these bytes.
    pub fn digest_of(bytes: &[u8]) -> u64 {
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        hasher.finish() ^ STRING
    }

    /// The digest of an integer.
    pub fn digest_of_integer(integer: i64) -> u64 {
        (integer.cast_unsigned() ^ INTEGER).wrapping_mul(FLOAT)
    }

    /// The digest of what the `i`-th upvalue of a function holds, counted from 1; none when it is no scalar.
    pub fn upvalue_digest(&self, function: Ref, i: u8) -> Option<u64> {
        let (thread, index) = self.at(function);
        // SAFETY: Lua checks the number; the holder has room for the value in passing.
        unsafe {
            if ffi::lua_getupvalue(thread, index, i.into()).is_null() {
                return None;
            }
            let digest = digest_at(thread, -1);
            ffi::lua_settop(thread, -2);
            digest
        }
    }

    /// Hands the entries of a table to `f`, beside what another one (or `NIL`) holds under their keys; those whose key is no scalar are
    /// left out. No metamethod runs.
    pub fn each_digest(&self, new: Ref, old: Ref, mut f: impl FnMut(Digested) -> Result<()>) -> Result<()> {
        let ((s, table), (other, other_index)) = (self.at(new), self.at(old));
        // SAFETY: two tables on holders, which have room for values in passing; the walk stands on top of the first one's, and the
        // threads are left as they were.
        unsafe {
            if ffi::lua_type(s, table) != ffi::LUA_TTABLE {
                return Ok(());
            }
            let has_other = ffi::lua_type(other, other_index) == ffi::LUA_TTABLE;
            let top = ffi::lua_gettop(s);
            ffi::lua_pushnil(s);
            let mut outcome = Ok(());
            while outcome.is_ok() && ffi::lua_next(s, table) != 0 {
                if let Some(key) = digest_at(s, top + 1) {
                    let new = Self::describe(s, top + 2);
                    let digest = if new.addr == 0 { digest_at(s, top + 2) } else { None };
                    let (mut old, mut old_digest) = (Val::default(), Some(NIL));
                    if has_other && (new.addr == 0 || new.is_table()) {
                        ffi::lua_pushvalue(s, top + 1);
                        if other != s {
                            ffi::lua_xmove(s, other, 1);
                        }
                        ffi::lua_rawget(other, other_index);
                        old = Self::describe(other, -1);
                        old_digest = digest_at(other, -1);
                        ffi::lua_settop(other, -2);
                    }
                    outcome = f(Digested {
                        key,
                        new,
                        digest,
                        old,
                        old_digest,
                    });
                }
                ffi::lua_settop(s, top + 1);
            }
            ffi::lua_settop(s, top);
            outcome
        }
    }

    /// The digest of a part of the current entry of the walk; none when it is no scalar.
    #[inline]
    pub fn zip_digest(&self, part: Part) -> Option<u64> {
        // SAFETY: the entry stands at 3, 4, 5; no index past the top is read, where no walk is under way.
        unsafe {
            let index = part as c_int;
            if index > ffi::lua_gettop(self.scratch) {
                return None;
            }
            digest_at(self.scratch, index)
        }
    }
}

/// # Safety
/// A valid index of a live thread.
#[inline]
unsafe fn digest_at(thread: *mut lua_State, index: c_int) -> Option<u64> {
    // SAFETY: a value is read as what it is, so nothing is converted.
    unsafe {
        Some(match ffi::lua_type(thread, index) {
            ffi::LUA_TNIL => NIL,
            ffi::LUA_TBOOLEAN => 2 + u64::from(ffi::lua_toboolean(thread, index) != 0),
            ffi::LUA_TNUMBER if ffi::lua_isinteger(thread, index) != 0 => {
                Vm::digest_of_integer(ffi::lua_tointeger(thread, index))
            }
            ffi::LUA_TNUMBER => {
                let float = ffi::lua_tonumber(thread, index);
                // What is not a number is one value, as is zero with either sign.
                let float = if float.is_nan() { f64::NAN } else { float + 0.0 };
                (float.to_bits() ^ FLOAT).wrapping_mul(INTEGER)
            }
            ffi::LUA_TSTRING => {
                let mut len = 0;
                let start = ffi::lua_tolstring(thread, index, &raw mut len);
                Vm::digest_of(std::slice::from_raw_parts(start.cast::<u8>(), len))
            }
            _ => return None,
        })
    }
}
