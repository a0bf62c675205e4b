//! `hotreload`: replaces the code of a running Lua server without losing its data.
//!
//! A native module for Lua 5.4. `require "hotreload"` calls [`luaopen_hotreload`]; the way of a reload is in `src/reload.rs`.
//! The rules (`R1.2`) that the comments cite are those of `docs/semantics.md`.

mod api;
mod base;
mod bytecode;
mod changed;
mod commit;
mod effects;
mod error;
#[cfg(not(feature = "vendored"))]
mod fault;
#[cfg(feature = "vendored")]
pub mod fault;
mod find;
mod home;
mod known;
mod lineage;
mod load;
mod mem;
mod nested;
mod nesting;
mod options;
mod pair;
mod plan;
mod raw;
mod record;
mod reload;
mod remember;
mod report;
mod secret;
mod site;
mod stale;
mod sweep;
mod track;

#[cfg(feature = "vendored")]
#[doc(hidden)]
pub use bytecode::probe as readers;
pub use raw::guard::luaopen_hotreload;
#[cfg(feature = "vendored")]
pub use raw::heap::probe::walk as walk_heap;
