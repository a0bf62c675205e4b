//! The tree of functions (`src/code/tree.rs`).
#![no_main]

hotreload_fuzz::target!(hotreload_fuzz::readers::tree);
