//! The scanner of names and keys, the profiles, the lines where keys are stored
//! (`src/code/mod.rs`).
#![no_main]

hotreload_fuzz::target!(hotreload_fuzz::readers::chunk);
