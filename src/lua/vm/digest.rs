//! Digests of scalars: 64 bits that two values share when they are the same (raw equal, of one number type).

use std::ffi::c_int;
use std::hash::Hasher;

use mlua::ffi::{self, lua_State};
use rustc_hash::FxHasher;

use super::{Ref, Vm};

/// A value of the entry that a walk is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The key.
    Key = 3,
    /// The value in the table that is walked.
    New = 4,
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

    /// The digest of a part of the current entry of the walk; none when it is no scalar.
    #[inline]
    pub fn zip_digest(&self, part: Part) -> Option<u64> {
        if !self.zipping {
            return None;
        }
        // SAFETY: the entry of the walk stands at 3 and 4.
        unsafe { digest_at(self.scratch, part as c_int) }
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
