//! What the fuzz targets share: a reader gets the bytes, must not contradict itself, and needs
//! memory in proportion.

#[path = "../../tests/support/ledger.rs"]
#[allow(dead_code)]
mod ledger;

use std::sync::OnceLock;

pub use hotreload::readers;
pub use libfuzzer_sys;
use readers::Verdict;

#[global_allocator]
static LEDGER: ledger::Ledger = ledger::Ledger;

/// The most memory that a reader needs for a byte of its input, and beyond that. As in
/// `tests/readers.rs`.
const FACTOR: usize = 64;
const EXTRA: usize = 4096;

/// A fuzz target that gives its bytes to one reader, a `fn(&[u8]) -> Verdict`.
#[macro_export]
macro_rules! target {
    ($reader:path) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::begin(),
            |bytes: &[u8]| $crate::check(bytes, $reader)
        );
    };
}

/// Gives the bytes to a reader, and panics where it contradicts itself or takes more memory than
/// its share.
pub fn check(bytes: &[u8], reader: fn(&[u8]) -> Verdict) {
    let (verdict, most) = ledger::most_held(|| reader(bytes));
    assert!(
        matches!(verdict, Verdict::Refused | Verdict::Read(_)),
        "{verdict:?}"
    );
    assert!(
        most <= FACTOR * bytes.len() + EXTRA,
        "{most} bytes of memory for {} of input",
        bytes.len()
    );
}

static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();

/// What is made once, and is no part of what an input costs: the template that functions are cut
/// into.
pub fn begin() {
    TEMPLATE.get_or_init(|| {
        let lua = mlua::Lua::new();
        let function = lua
            .load("return function() end")
            .set_name("=?")
            .into_function();
        function.expect("the template compiles").dump(false)
    });
}

/// Cuts every function out of a dump; and takes the bytes for a template, too.
pub fn cut(bytes: &[u8]) -> Verdict {
    match readers::template(bytes) {
        Verdict::Refused | Verdict::Read(_) => {
            readers::cut(TEMPLATE.get().expect("it was made"), bytes)
        }
        wrong => wrong,
    }
}
