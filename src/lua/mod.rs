//! The only unsafe code of the crate, behind safe functions.
//!
//! * [`vm`]: values of the running program, held by handle, and the calls that cannot raise;
//! * [`mod@write`]: the only file that can write to the program;
//! * [`protected`]: the one way into a Lua call that may raise;
//! * [`calls`]: which calls a chunk makes;
//! * [`given`]: where the code comes from that Lua is to load;
//! * [`tracker`]: which tables and functions a chunk creates;
//! * [`collector`]: no collection while a reload works;
//! * [`heap`]: the walk over the whole VM;
//! * [`guard`]: the right Lua, or a clear message; [`host`]: which Lua it is; [`late`]: what the
//!   system's loader is asked for that;
//! * [`files`]: what the system tells of files, and its clock;
//! * [`debug`]: where Lua writes what it tells of a function; [`dump`]: its binary form;
//! * [`open`]: the library's table;
//! * [`owned`]: values of Rust's that live in the Lua state;
//! * [`entry`]: how the façade gets into the library; [`undo`]: a guard's end; [`layout`]:
//!   the lists that it and Rust share.
//!
//! Everything else in the crate is safe Rust and cannot break the host's memory.
#![allow(unsafe_code)]

pub mod calls;
pub mod chunk;
pub mod collector;
pub mod debug;
pub mod dump;
pub mod entry;
pub mod files;
pub mod given;
pub mod guard;
pub mod heap;
pub mod host;
#[cfg(all(
    feature = "module",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub mod late;
#[cfg(not(all(
    feature = "module",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "late/unknown.rs"]
pub mod late;
pub mod layout;
pub mod open;
pub mod owned;
pub mod protected;
pub mod shared;
pub mod stock;
#[cfg(test)]
pub mod testing;
pub mod tracker;
pub mod undo;
pub mod vm;
pub mod write;
