//! What a main chunk stores (`src/code/outline.rs`).
#![no_main]

hotreload_fuzz::target!(hotreload_fuzz::readers::outline);
