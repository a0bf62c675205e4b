//! Functions cut out of a dump (`src/code/cut.rs`): each cut is read again, and has that very
//! function in it.
#![no_main]

hotreload_fuzz::target!(hotreload_fuzz::cut);
