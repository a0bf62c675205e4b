//! What the stages speak about: the values that more than one of them needs, and what is known of
//! them from one reload to the next.
//!
//! May use: `lua`, to look at the program's values, and all below it. Never: a stage, and so no
//! decision of a reload; and no write to the program but into the library's own weak tables.

pub mod base;
pub mod edits;
pub mod kept;
pub mod lineage;
pub mod objects;
pub mod options;
pub mod ownership;
pub mod record;
pub mod site;
