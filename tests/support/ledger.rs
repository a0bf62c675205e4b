//! A global allocator that counts what each thread holds, and that refuses requests when it is told
//! to.
//!
//! To be used, it has to be the program's: `#[global_allocator] static LEDGER: Ledger = Ledger;`

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// The allocator.
pub struct Ledger;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    /// Requests to come before those that fail; none fails while it is negative.
    static UNTIL: Cell<i64> = const { Cell::new(-1) };
    /// How many fail then.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static FAILED: Cell<u64> = const { Cell::new(0) };
    /// Requests for fewer bytes are granted and not counted.
    static LEAST: Cell<usize> = const { Cell::new(0) };
    /// Is the stack of the first that fails to be shown?
    static SHOWN: Cell<bool> = const { Cell::new(false) };
}

/// Bytes that this thread has asked for and not given back: less than none where another thread
/// asked for them.
pub fn held() -> isize {
    HELD.get()
}

/// Calls `f`; returns what it returns, and the most bytes that this thread held meanwhile beyond
/// those it held before. A block that grows counts twice for a moment, as it may have to be copied.
pub fn most_held<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get();
    MOST.set(before);
    let result = f();
    (result, (MOST.get() - before).try_into().unwrap_or(0))
}

/// Calls `f`, and refuses `count` of this thread's requests, from the one with the number `first`
/// on, counted from 1, and shows the stack of the first one (`shown`); returns what it returns, and
/// how many have failed.
pub fn refusing<R>(first: u64, count: u64, shown: bool, f: impl FnOnce() -> R) -> (R, u64) {
    SHOWN.set(shown);
    FAILED.set(0);
    COUNT.set(count);
    UNTIL.set(first as i64 - 1);
    let result = f();
    UNTIL.set(-1);
    (result, FAILED.get())
}

/// From now on [`refusing`] is about this thread's requests for so many bytes and more.
pub fn refuse_only_from(least: usize) {
    LEAST.set(least);
}

fn refuses(size: usize) -> bool {
    let until = UNTIL.get();
    if until < 0 || size < LEAST.get() {
        return false;
    }
    if until > 0 {
        UNTIL.set(until - 1);
        return false;
    }
    if COUNT.get() == 0 {
        UNTIL.set(-1);
        return false;
    }
    COUNT.set(COUNT.get() - 1);
    FAILED.set(FAILED.get() + 1);
    if SHOWN.replace(false) {
        // What this asks for itself is granted.
        UNTIL.set(-1);
        eprintln!("{}", std::backtrace::Backtrace::force_capture());
        UNTIL.set(0);
    }
    true
}

fn note(more: usize, less: usize) {
    HELD.set(HELD.get() + more as isize);
    MOST.set(MOST.get().max(HELD.get()));
    HELD.set(HELD.get() - less as isize);
}

// SAFETY: every request goes to the system's allocator, or fails as its contract allows; the
// counting allocates nothing.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return ptr::null_mut();
        }
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the block came from there.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && refuses(size) {
            return ptr::null_mut();
        }
        note(size, layout.size());
        // SAFETY: the block came from there; the caller keeps the contract.
        unsafe { System.realloc(block, layout, size) }
    }
}
