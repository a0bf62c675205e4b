//! The steps of a reload, in the order of `src/reload.rs`: find, load (with its snapshot, and what
//! calls out of the chunk did), matching, plan, record, commit, sweep, report.
//!
//! A stage takes the values that the stages before it hand on, and hands on a value of its own.
//! May use: the stages before it, the model and all below. Never: a later stage, the façade's
//! tables, and, but for `commit`, a write to the program.

pub mod commit;
pub mod effects;
pub mod find;
pub mod load;
pub mod matching;
pub mod plan;
pub mod record;
pub mod report;
pub mod snapshot;
pub mod sweep;
