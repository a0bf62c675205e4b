//! Which Lua this is, and why the library cannot run in it (R1.6). All of it is found out in a
//! state of the library's own: nothing of the program's is touched before its Lua is known.

use std::ffi::{CStr, c_void};
use std::ptr::null;

use mlua::ffi::{self, lua_State};

use super::debug;
use super::late::{self, Object};
use super::stock::Stock;

/// Why the library does not open.
pub enum Refusal {
    /// There is no memory to find out.
    Memory,
    /// A format for `lua_pushfstring`, and what stands for the one `%s` in it.
    Text(&'static CStr, &'static CStr),
    /// The state is one of the Lua in the first object, but the loader gave the library the
    /// functions of that in the second.
    Two(Object, Object),
}

const VERSION: &CStr =
    c"hotreload is built for Lua 5.4, but this is %s: run the program with Lua 5.4";
const BUILD: &CStr = c"hotreload is built for Lua 5.4 as it is published, but this one was built \
    %s: run the program with another Lua 5.4";
/// Whether integers and floats are those of the library.
const NUMBERS: &CStr = c"return 0x100000000 ~= 0 and 0x10000000000000000 == 0
    and 16777217.0 ~= 16777216.0 and 9007199254740993.0 == 9007199254740992.0";

/// A state of the library's own.
struct OwnState(*mut lua_State);

impl Drop for OwnState {
    fn drop(&mut self) {
        // SAFETY: a live state, of which nothing is running.
        unsafe { ffi::lua_close(self.0) }
    }
}

/// Finds out whether the library can run in the Lua that has called it and goes on at `from` (null
/// where that is not known). Returns the addresses of that Lua's searchers.
///
/// # Errors
/// Why it cannot.
pub fn check(from: *const c_void) -> Result<Stock, Refusal> {
    let built = |how| Err(Refusal::Text(BUILD, how));
    let missing = late::bind();
    // SAFETY: each Lua has `luaL_newstate` and `lua_close` in the same form.
    let l = unsafe { ffi::luaL_newstate() };
    if l.is_null() {
        return Err(Refusal::Memory);
    }
    let _own = OwnState(l);
    // SAFETY: a new state.
    let Some(seen) = (unsafe { late::seen_by(l) }) else {
        return Err(Refusal::Memory);
    };
    if let (Some(there), Some(here)) = (Object::at(from), Object::at(seen.from))
        && there != here
    {
        return Err(Refusal::Two(there, here));
    }
    if let Some(name) = late::other_version() {
        return Err(Refusal::Text(VERSION, name));
    }
    if missing.is_some() {
        return built(c"without some of its functions");
    }
    // SAFETY: a state of Lua 5.4 or later, with all functions that the library calls. What may
    // raise runs in protected mode.
    unsafe {
        // First, as the next ones take and return numbers.
        match answer(l, NUMBERS) {
            None => return Err(Refusal::Memory),
            Some(false) => {
                return built(
                    c"with integers or floats that do not have 64 bits (LUA_32BITS and the like)",
                );
            }
            Some(true) => {}
        }
        if ffi::lua_version(l).to_bits() != 504_f64.to_bits() {
            return Err(Refusal::Text(VERSION, c"another version"));
        }
        // A pseudo-index stays what it is, and the registry's is the greatest of them.
        let is_pseudo = |index| ffi::lua_absindex(l, index) == index;
        if !is_pseudo(ffi::LUA_REGISTRYINDEX) || is_pseudo(ffi::LUA_REGISTRYINDEX + 1) {
            return built(c"with another LUAI_MAXSTACK");
        }
        match debug::fits(l) {
            None => return Err(Refusal::Memory),
            Some(false) => return built(c"with a LUA_IDSIZE of more than 1024"),
            Some(true) => {}
        }
    }
    if seen.exceptions {
        return built(c"as C++ (its errors are exceptions, which do not get through the library)");
    }
    // SAFETY: a state of the library's own; nothing is on its stack.
    unsafe { Stock::read(l) }.ok_or(Refusal::Memory)
}

/// What a chunk returns, true or false; none when Lua is out of memory. `[-0, +0, -]`
///
/// # Safety
/// A state of Lua 5.4 or later, with room for a value.
unsafe fn answer(l: *mut lua_State, chunk: &CStr) -> Option<bool> {
    // SAFETY: as promised; the compiler runs in protected mode, and so does the chunk.
    unsafe {
        let (text, len) = (chunk.as_ptr(), chunk.count_bytes());
        let done = ffi::luaL_loadbufferx(l, text, len, c"=hotreload".as_ptr(), null())
            == ffi::LUA_OK
            && ffi::lua_pcall(l, 0, 1, 0) == ffi::LUA_OK;
        let answer = ffi::lua_toboolean(l, -1) != 0;
        ffi::lua_settop(l, -2);
        done.then_some(answer)
    }
}
