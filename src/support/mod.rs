//! What every room needs to fail well: the one type of errors, allocations that report a lack of
//! memory, notes of what a search left out, and points at which a test makes the library fail.
//!
//! May use: Rust's standard library, and crates that hash. Never: anything of Lua's or of a
//! reload's.

pub mod error;
pub mod fault;
pub mod limits;
pub mod mem;
pub mod secret;
