//! What the façade may call besides a reload. Each file is one feature: an entry of its own, which
//! borrows stages of a reload and none of its order.
//!
//! May use: the stages and all below them. A reload may use a feature (it notes the digest of what
//! it loads, for [`changed`]). Never: writes to the program itself, but for the library's own
//! tables.

pub mod changed;
pub mod instances;
pub mod stale;
pub mod track;
