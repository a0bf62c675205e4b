//! Digests of scalars: 64 bits that two values share when they are the same (raw equal, of one
//! number type). They depend on the state's [`Secret`].

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{Ref, Vm};
use crate::support::secret::Secret;

// The types, so that no integer has the digest of a float, or of a boolean.
const NIL: u64 = 1;
const INTEGER: u64 = 2;
const FLOAT: u64 = 3;
const BOOLEAN: u64 = 4;

impl Vm {
    /// The digest of a scalar (nil, a boolean, a number, a string); none for any other value.
    pub fn digest(&self, r: Ref) -> Option<u64> {
        let (thread, index) = self.at(r);
        // SAFETY: a valid index.
        unsafe { self.digest_at(thread, index) }
    }

    /// What the digests of this state depend on.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The digest of a string with these bytes.
    pub fn digest_of(&self, bytes: &[u8]) -> u64 {
        self.secret.digest(bytes)
    }

    /// The digest of an integer.
    pub fn digest_of_integer(&self, integer: i64) -> u64 {
        self.digest_of_bits(INTEGER, integer.cast_unsigned())
    }

    #[inline]
    fn digest_of_bits(&self, kind: u64, bits: u64) -> u64 {
        let mut hasher = self.secret.hasher();
        hasher.write_u64(kind);
        hasher.write_u64(bits);
        hasher.finish()
    }

    /// # Safety
    /// A valid index of a live thread.
    #[inline]
    pub(super) unsafe fn digest_at(&self, thread: *mut lua_State, index: c_int) -> Option<u64> {
        // SAFETY: a value is read as what it is, so nothing is converted.
        unsafe {
            Some(match ffi::lua_type(thread, index) {
                ffi::LUA_TNIL => self.digest_of_bits(NIL, 0),
                ffi::LUA_TBOOLEAN => {
                    self.digest_of_bits(BOOLEAN, ffi::lua_toboolean(thread, index) as u64)
                }
                ffi::LUA_TNUMBER if ffi::lua_isinteger(thread, index) != 0 => {
                    self.digest_of_integer(ffi::lua_tointeger(thread, index))
                }
                ffi::LUA_TNUMBER => {
                    let float = ffi::lua_tonumber(thread, index);
                    // What is not a number is one value, as is zero with either sign.
                    let float = if float.is_nan() {
                        f64::NAN
                    } else {
                        float + 0.0
                    };
                    self.digest_of_bits(FLOAT, float.to_bits())
                }
                ffi::LUA_TSTRING => {
                    let mut len = 0;
                    let start = ffi::lua_tolstring(thread, index, &raw mut len);
                    self.digest_of(std::slice::from_raw_parts(start.cast::<u8>(), len))
                }
                _ => return None,
            })
        }
    }
}
