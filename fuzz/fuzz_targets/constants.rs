//! The proofs about constants (`src/code/constants.rs`).
#![no_main]

hotreload_fuzz::target!(hotreload_fuzz::readers::constants);
