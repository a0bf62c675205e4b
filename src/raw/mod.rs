//! The only unsafe code of the crate, behind safe functions.
//!
//! * [`vm`]: values of the running program, held by handle, and the calls that cannot raise;
//! * [`door`]: the one way into a Lua call that may raise;
//! * [`tracker`]: which tables and functions a chunk creates;
//! * [`collector`]: no collection while a reload works;
//! * [`guard`]: the right Lua, or a clear message.
//!
//! Everything else in the crate is safe Rust and cannot break the host's memory.
#![allow(unsafe_code)]

pub mod chunk;
pub mod collector;
pub mod door;
pub mod entry;
pub mod guard;
pub mod stock;
pub mod tracker;
pub mod vm;

/// A C function as a value, for the façade.
///
/// # Errors
/// Out of memory.
pub fn function(lua: &mlua::Lua, entry: mlua::ffi::lua_CFunction) -> mlua::Result<mlua::Function> {
    // SAFETY: only the functions of `entry` are passed, which keep Lua's rules.
    unsafe { lua.create_c_function(entry) }
}
