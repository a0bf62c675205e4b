//! The definitions of a file (`src/code/definitions/`).
#![no_main]

hotreload_fuzz::target!(hotreload_fuzz::readers::definitions);
