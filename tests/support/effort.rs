//! How much of what a test could try it tries.

use std::env::var_os;

/// The value for the effort of this run.
///
/// * `sampled`: `make test`, for which a developer waits.
/// * `denser`: `make test-all`, which sets `HOTRELOAD_ALL`.
/// * `whole`: `make stress`, which sets `HOTRELOAD_STRESS`.
///
/// Example: `(1..).step_by(pick(5, 1, 1))` tries every fifth request in `make test`, and every one
/// elsewhere.
pub fn pick<T>(sampled: T, denser: T, whole: T) -> T {
    if is_stress() {
        whole
    } else if var_os("HOTRELOAD_ALL").is_some() {
        denser
    } else {
        sampled
    }
}

/// Does this run try everything?
pub fn is_stress() -> bool {
    var_os("HOTRELOAD_STRESS").is_some()
}
