//! What the states of a process share: what is made of a text alone. That is the library's own Lua
//! text in binary form, and the files that states reload ([`Files`]). Besides, they have one secret
//! for all digests.
//!
//! It is all immutable, and goes with the last state that has the library: Lua unmaps the library
//! then. A state counts from [`join`] on until the `__gc` of its mark, which comes before the
//! library's unloading. One that is in the midst of a finalizer does not count, as it may be
//! closing; nor does one of another Lua than the others'. Such a state shares nothing.
//!
//! The lock is held for a look into a list, and never while Lua runs or memory is given back.

mod files;

use std::ffi::{CStr, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::ffi::{self, lua_State};

pub use files::FileKey;

use files::Files;

use super::dump::{DebugInfo, dump_top};
use crate::code::compiled::Compiled;
use crate::code::cut;
use crate::support::fault;
use crate::support::mem::TryPush;
use crate::support::secret::{PACKED, Secret};

/// All of it.
struct Shared {
    /// How many states count.
    states: usize,
    /// Their Lua: where it has one of its functions.
    lua: usize,
    secret: [u8; PACKED],
    /// The binary forms of the library's own texts, each with the place of its text.
    parts: Vec<(usize, Arc<Vec<u8>>)>,
    files: Files,
}

const NOTHING: Shared = Shared {
    states: 0,
    lua: 0,
    secret: [0; PACKED],
    parts: Vec::new(),
    files: Files::NOTHING,
};

static SHARED: Mutex<Shared> = Mutex::new(NOTHING);

/// (What is done under the lock is whole after each step, even if one of them panics.)
fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A state's mark, a userdata in its registry. It stays readable after its `__gc`, until the state
/// is freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct StateMark {
    /// What the state's digests depend on: the process's secret, as long as the state counts.
    pub secret: [u8; PACKED],
    /// It counts, and may share.
    pub counts: bool,
}

/// Its address is the key of the mark: a number that no name in a program can be.
static KEY: u8 = 0;

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// Counts this state, unless it has its mark already. `[-0, +0, e]`
///
/// # Safety
/// Within the frame of a C function, with room for four values.
pub unsafe fn join(l: *mut lua_State) {
    // SAFETY: as promised. Until the state is counted the mark says that it is not, and from then
    // on nothing raises.
    unsafe {
        if ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, key()) == ffi::LUA_TNIL {
            let mark = ffi::lua_newuserdatauv(l, size_of::<StateMark>(), 0).cast::<StateMark>();
            mark.write(StateMark {
                secret: Secret::draw(),
                counts: false,
            });
            ffi::lua_createtable(l, 0, 1);
            // (A program can call it with what it likes: the mark is known by its address.)
            ffi::lua_pushlightuserdata(l, mark.cast());
            ffi::lua_pushcclosure(l, leave, 1);
            ffi::lua_setfield(l, -2, c"__gc".as_ptr());
            ffi::lua_setmetatable(l, -2);
            ffi::lua_rawsetp(l, ffi::LUA_REGISTRYINDEX, key());
            // Within a finalizer the collector takes no orders.
            let is_in_finalizer = ffi::lua_gc(l, ffi::LUA_GCCOUNT) < 0;
            if !is_in_finalizer
                && !fault::is_alone()
                && let Some(secret) = enter()
            {
                mark.write(StateMark {
                    secret,
                    counts: true,
                });
            }
        }
        ffi::lua_settop(l, -2);
    }
}

/// The state's mark, if the library is open in it. `[-0, +0, -]`
///
/// # Safety
/// A state with room for a value.
pub unsafe fn mark(l: *mut lua_State) -> Option<StateMark> {
    // SAFETY: as promised; the key is this file's own, so the userdata is a mark.
    unsafe {
        let is_there = ffi::lua_rawgetp(l, ffi::LUA_REGISTRYINDEX, key()) == ffi::LUA_TUSERDATA;
        let mark = is_there.then(|| ffi::lua_touserdata(l, -1).cast::<StateMark>().read());
        ffi::lua_settop(l, -2);
        mark
    }
}

/// The `__gc` of a mark.
unsafe extern "C-unwind" fn leave(l: *mut lua_State) -> c_int {
    // SAFETY: the mark is the value that is given, so it is alive.
    unsafe {
        let mark = ffi::lua_touserdata(l, ffi::lua_upvalueindex(1)).cast::<StateMark>();
        if ffi::lua_touserdata(l, 1).cast::<StateMark>() == mark
            && std::mem::take(&mut (*mark).counts)
        {
            let mut shared = shared();
            shared.states = shared.states.saturating_sub(1);
            let gone = (shared.states == 0).then(|| std::mem::replace(&mut *shared, NOTHING));
            drop(shared);
            drop(gone);
        }
    }
    0
}

/// Counts one more state; the secret, or none for one of another Lua.
fn enter() -> Option<[u8; PACKED]> {
    let lua = ffi::lua_load as *const () as usize;
    let mut shared = shared();
    if shared.states == 0 {
        (shared.lua, shared.secret) = (lua, Secret::draw());
    } else if shared.lua != lua {
        return None;
    }
    shared.states += 1;
    Some(shared.secret)
}

/// Leaves the main function of one of the library's own texts, or Lua's message. The first state
/// that needs the text compiles it. `[-0, +1, -]`
///
/// # Safety
/// A state with room for two values.
pub unsafe fn load(
    l: *mut lua_State,
    name: &CStr,
    text: &'static str,
    debug_info: DebugInfo,
) -> c_int {
    // SAFETY: as promised. Loading is protected, and what is loaded as binary code is a dump of
    // this very Lua's.
    unsafe {
        let load = |code: &[u8], mode: &CStr| {
            let (start, len) = (code.as_ptr().cast(), code.len());
            ffi::luaL_loadbufferx(l, start, len, name.as_ptr(), mode.as_ptr())
        };
        let shares = mark(l).is_some_and(|mark| mark.counts);
        let place = text.as_ptr() as usize;
        if shares && let Some(code) = part(place) {
            return load(&code, c"b");
        }
        let status = load(text.as_bytes(), c"t");
        if status != ffi::LUA_OK || !shares {
            return status;
        }
        let Some(code) = binary(l, name, debug_info) else {
            return status;
        };
        ffi::lua_settop(l, -2);
        let status = load(&code, c"b");
        if status == ffi::LUA_OK {
            keep_part(place, code);
        }
        status
    }
}

/// The binary form of the function on top, of a chunk of that name; none where there is no memory
/// for it. `[-0, +0, -]`
unsafe fn binary(l: *mut lua_State, name: &CStr, debug_info: DebugInfo) -> Option<Vec<u8>> {
    let mut dump = Vec::new();
    // SAFETY: a whole Lua function is on top.
    if !unsafe { dump_top(l, &mut dump, debug_info) } {
        return None;
    }
    match debug_info {
        DebugInfo::Keep => Some(dump),
        DebugInfo::Strip | DebugInfo::Code => {
            cut::with_source(&dump, name.to_bytes()).ok().flatten()
        }
    }
}

fn part(place: usize) -> Option<Arc<Vec<u8>>> {
    let shared = shared();
    let (_, code) = shared.parts.iter().find(|(of, _)| *of == place)?;
    Some(code.clone())
}

/// (Two states may have made the same at a time: either is as good.)
fn keep_part(place: usize, code: Vec<u8>) {
    let code = Arc::new(code);
    let mut shared = shared();
    if !shared.parts.iter().any(|(of, _)| *of == place) {
        // Without memory for it the next state compiles it again.
        let _ = shared.parts.try_push((place, code));
    }
}

/// Are there other states that count? Alone, a state keeps nothing for them.
pub fn has_others() -> bool {
    shared().states > 1
}

/// The version of a file whose key is this one. The caller compares what the digests in it stand
/// for, and is of a state that counts.
pub fn file(is_key: impl Fn(&FileKey) -> bool) -> Option<Arc<Compiled>> {
    shared().files.find(is_key)
}

/// Keeps a version of a file, for a state that counts.
pub fn keep_file(key: FileKey, compiled: &Arc<Compiled>) {
    loop {
        let mut shared = shared();
        let gone = shared.files.make_room(compiled);
        if gone.is_none() {
            shared.files.add(key, compiled);
            return;
        }
        drop(shared);
        drop(gone);
    }
}
