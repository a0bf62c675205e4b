//! A view that outlives the call: what undoes a reload while its hook runs.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{PER_THREAD, Ref, SLACK, Vm};
use crate::error::{Error, Result};
use crate::mem::TryPush;
use crate::raw::door;

impl Vm {
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
        let mut vm = Vm::without_threads(l);
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
