//! What the system tells of files without reading them, and its clock.

use std::ffi::c_int;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use mlua::ffi::{self, lua_State};

use super::layout::{LastLook, LayoutElement as _};

/// A file that was changed so short a time ago may be changed again without another time or size.
const SETTLED: Duration = Duration::from_secs(2);

/// A number that tells a file from another one: device, inode, size, and times in nanoseconds.
/// None for a file that changed so recently that it may change without any of these.
pub fn stamp(path: &Path, now: SystemTime) -> Option<i64> {
    let metadata = std::fs::metadata(path).ok()?;
    let settled = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age >= SETTLED);
    let (times, identity) = times_of(&metadata)?;
    if !times.into_iter().all(settled) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    (times, identity, metadata.len()).hash(&mut hasher);
    Some(hasher.finish() as i64)
}

#[cfg(unix)]
fn times_of(metadata: &Metadata) -> Option<([SystemTime; 2], (u64, u64))> {
    use std::os::unix::fs::MetadataExt;
    let changed = Duration::new(
        u64::try_from(metadata.ctime()).ok()?,
        u32::try_from(metadata.ctime_nsec()).ok()?,
    );
    let changed = SystemTime::UNIX_EPOCH.checked_add(changed)?;
    Some((
        [metadata.modified().ok()?, changed],
        (metadata.dev(), metadata.ino()),
    ))
}

#[cfg(not(unix))]
fn times_of(metadata: &Metadata) -> Option<([SystemTime; 2], (u64, u64))> {
    let modified = metadata.modified().ok()?;
    Some(([modified, modified], (0, 0)))
}

/// The path that a string of Lua names; none where it is no path of this system.
#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Option<&Path> {
    use std::os::unix::ffi::OsStrExt;
    Some(Path::new(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> Option<&Path> {
    std::str::from_utf8(bytes).ok().map(Path::new)
}

/// Pushes the time at which the library was opened, for [`clock`]. `[-0, +1, m]`
///
/// # Safety
/// In a protected call, or with nothing alive that needs dropping; with room for a value.
pub unsafe fn push_began(l: *mut lua_State) {
    // SAFETY: Lua's blocks are aligned for any basic type; the write is unaligned in any case.
    unsafe {
        ffi::lua_newuserdatauv(l, size_of::<Instant>(), 0)
            .cast::<Instant>()
            .write_unaligned(Instant::now());
    }
}

/// `core.clock(core.began)`: seconds since the library was opened. The clock never goes back.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn clock(l: *mut lua_State) -> c_int {
    // SAFETY: the running state; the block's size is checked, and any block of that size that the
    // façade has is of `push_began`.
    unsafe {
        let began = ffi::lua_touserdata(l, 1).cast::<Instant>();
        if began.is_null() || ffi::lua_rawlen(l, 1) != size_of::<Instant>() {
            return 0;
        }
        let seconds = began.read_unaligned().elapsed().as_secs_f64();
        ffi::lua_pushnumber(l, seconds);
        1
    }
}

const LOADED: c_int = 1;
const LOOKED_AT: c_int = 2;
const LOOKS: c_int = 3;
const RECORDS: c_int = 4;
const AFTER: c_int = 5;
const COUNT: c_int = 6;
const TOUCHED: c_int = 7;
const GENERATION: c_int = 8;
const NAME: c_int = 9;
const OBJECT: c_int = 10;

/// A walk over more modules than asked for goes on for so long.
const SLICE: Duration = Duration::from_millis(1);

/// `core.touched(loaded, looked_at, looks, records, after, most)` → a list: the names in `loaded`
/// but those whose last look found no difference and whose object, generation and file are as they
/// were then. One system call for each file.
///
/// With `most` the walk ends behind so many names and a short time, and the second result is the
/// last name; the next call goes on `after` it. A name that is no longer there ends the walk.
///
/// `looks` has a list [`LastLook`] for a name, `looked_at` the object then. `records` has a table
/// with the field `generation`; a name without one is of generation 0.
///
/// # Safety
/// To be called by Lua.
pub unsafe extern "C-unwind" fn touched(l: *mut lua_State) -> c_int {
    // SAFETY: the running state, with room made. Nothing that needs dropping lives across a call
    // of Lua's. No metamethod runs, so `loaded` is not changed during the walk.
    unsafe {
        ffi::lua_settop(l, COUNT);
        for table in LOADED..=RECORDS {
            ffi::luaL_checktype(l, table, ffi::LUA_TTABLE);
        }
        ffi::luaL_checkstack(l, 14, std::ptr::null());
        ffi::lua_createtable(l, 0, 0);
        ffi::lua_pushstring(l, c"generation".as_ptr());
        let (now, began) = (SystemTime::now(), Instant::now());
        let (mut count, mut left) = (0, i64::MAX);
        if ffi::lua_isinteger(l, COUNT) != 0 {
            left = ffi::lua_tointegerx(l, COUNT, std::ptr::null_mut());
        }
        ffi::lua_pushvalue(l, AFTER);
        ffi::lua_pushvalue(l, AFTER);
        let is_there = ffi::lua_rawget(l, LOADED) != ffi::LUA_TNIL;
        ffi::lua_settop(l, NAME);
        if !is_there && ffi::lua_isnil(l, AFTER) == 0 {
            ffi::lua_settop(l, TOUCHED);
            return 1;
        }
        while ffi::lua_next(l, LOADED) != 0 {
            if ffi::lua_type(l, NAME) == ffi::LUA_TSTRING
                && ffi::lua_toboolean(l, OBJECT) != 0
                && !is_untouched(l, now)
            {
                count += 1;
                ffi::lua_pushvalue(l, NAME);
                ffi::lua_rawseti(l, TOUCHED, count);
            }
            ffi::lua_settop(l, NAME);
            left -= 1;
            if left <= 0 && began.elapsed() >= SLICE {
                ffi::lua_pushvalue(l, TOUCHED);
                ffi::lua_pushvalue(l, NAME);
                return 2;
            }
        }
        ffi::lua_settop(l, TOUCHED);
        1
    }
}

/// Is the module of [`touched`]'s walk as the last look found it? `[-0, +5, -]`
unsafe fn is_untouched(l: *mut lua_State, now: SystemTime) -> bool {
    // SAFETY: within the frame of `touched`, with room for five values; none of these calls
    // allocates or raises.
    unsafe {
        ffi::lua_pushvalue(l, NAME);
        ffi::lua_rawget(l, LOOKED_AT);
        ffi::lua_pushvalue(l, NAME);
        let look = ffi::lua_gettop(l);
        if ffi::lua_rawget(l, LOOKS) != ffi::LUA_TTABLE
            || ffi::lua_rawequal(l, OBJECT, OBJECT + 1) == 0
        {
            return false;
        }
        ffi::lua_rawgeti(l, look, LastLook::Generation.at());
        ffi::lua_pushvalue(l, NAME);
        if ffi::lua_rawget(l, RECORDS) == ffi::LUA_TTABLE {
            ffi::lua_pushvalue(l, GENERATION);
            ffi::lua_rawget(l, look + 2);
        } else {
            ffi::lua_pushinteger(l, 0);
        }
        if ffi::lua_rawequal(l, look + 1, look + 3) == 0 {
            return false;
        }
        ffi::lua_settop(l, look);
        if ffi::lua_rawgeti(l, look, LastLook::File.at()) != ffi::LUA_TSTRING
            || ffi::lua_rawgeti(l, look, LastLook::Stamp.at()) != ffi::LUA_TNUMBER
        {
            return false;
        }
        let mut len = 0;
        let bytes = ffi::lua_tolstring(l, look + 1, &raw mut len).cast::<u8>();
        let then = ffi::lua_tointegerx(l, look + 2, std::ptr::null_mut());
        path_of(std::slice::from_raw_parts(bytes, len)).and_then(|path| stamp(path, now))
            == Some(then)
    }
}
