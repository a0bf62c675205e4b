//! The way in: the right Lua, or a clear message (R1.6).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;

use mlua::ffi::{self, lua_State};

use super::host::{self, Refusal};
use super::late::Object;
use super::open::{Library, open, open_module};

/// What `luaopen_hotreload` does; `from` is where its caller goes on, null where that is not known.
/// `[-0, +1, e]`
///
/// # Errors
/// Raises when the running Lua is not one that the library was built for, or out of memory.
///
/// # Safety
/// To be called by `luaopen_hotreload`, which [`luaopen`](super::late::luaopen) makes.
pub unsafe extern "C-unwind" fn enter<L: Library>(l: *mut lua_State, from: *const c_void) -> c_int {
    match host::check(from) {
        // SAFETY: as promised; the Lua is the right one.
        Ok(stock) => unsafe {
            ffi::lua_settop(l, 0);
            open(l, stock, L::ENTRIES)
        },
        // SAFETY: as promised.
        Err(refusal) => unsafe { refuse(l, refusal) },
    }
}

/// What `luaopen_hotreload_…` does for the `I`-th module beside the library. `[-0, +1, e]`
///
/// # Errors
/// As [`enter`], and what the module's chunk raises.
///
/// # Safety
/// As [`enter`].
pub unsafe extern "C-unwind" fn module<const I: usize>(
    l: *mut lua_State,
    from: *const c_void,
) -> c_int {
    match host::check(from) {
        // SAFETY: as promised; the Lua is the right one.
        Ok(_) => unsafe { open_module(l, I) },
        // SAFETY: as promised.
        Err(refusal) => unsafe { refuse(l, refusal) },
    }
}

/// Raises why the library does not open. `[-0, +0, e]`
unsafe fn refuse(l: *mut lua_State, refusal: Refusal) -> c_int {
    // SAFETY: a refused state is one of the Lua whose functions are called here, whichever version
    // that is: these have the same form in all. What raises jumps over this frame, in which nothing
    // is to be dropped.
    unsafe {
        match refusal {
            Refusal::Two(there, here) => return refuse_other(l, there, here),
            Refusal::Memory => {
                ffi::lua_pushstring(l, c"not enough memory".as_ptr());
            }
            Refusal::Text(format, what) => {
                ffi::lua_pushfstring(l, format.as_ptr(), what.as_ptr());
            }
        }
        ffi::lua_error(l)
    }
}

/// Raises in a state of the Lua in `there`, with that Lua's own functions. Where it hides them
/// nothing can be raised: the message goes to standard error, and `require` returns true. `[-0, +0,
/// e]`
unsafe fn refuse_other(l: *mut lua_State, there: Object, here: Object) -> c_int {
    type Push = unsafe extern "C-unwind" fn(*mut lua_State, *const c_char) -> *const c_char;
    type Raise = unsafe extern "C-unwind" fn(*mut lua_State) -> c_int;
    // No text of Rust's: a raise would leave it behind.
    let mut text = [0; 1024];
    if let Some((_, mut room)) = text.split_last_mut() {
        let _ = write!(
            room,
            "hotreload: this is a state of the Lua in '{}', \
             but the system's loader links hotreload with the Lua in '{}': keep that one \
             out of the process, or let the first one export its functions, and before the other \
             (a program is linked with -Wl,-E, a \
             library loaded with RTLD_GLOBAL)",
            there.name().to_string_lossy(),
            here.name().to_string_lossy(),
        ); // what is too long is cut
    }
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    let (push, raise) = (
        there.exports(c"lua_pushstring"),
        there.exports(c"lua_error"),
    );
    if push.is_null() || raise.is_null() {
        // Nobody else can be told.
        let mut stderr = std::io::stderr();
        let _ = stderr
            .write_all(text.to_bytes())
            .and_then(|()| stderr.write_all(b"\n"));
        return 0;
    }
    // SAFETY: functions of the state's own Lua, with the form that they have in each version; a C
    // function has room for a value.
    unsafe {
        std::mem::transmute::<*const c_void, Push>(push)(l, text.as_ptr());
        std::mem::transmute::<*const c_void, Raise>(raise)(l)
    }
}
