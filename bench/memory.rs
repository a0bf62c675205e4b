//! Counts what the process holds, the Lua states and the library's own memory alike: this allocator
//! stands in front of the system's, and the states of `host.rs` take their memory from it.
//!
//! The bench has one thread: the counters are atomic only because a static has to be.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes held now.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

/// The most bytes held since `restart_peak`.
pub fn peak() -> usize {
    PEAK.load(Relaxed)
}

/// Starts the peak anew at what is held now.
pub fn restart_peak() {
    PEAK.store(held(), Relaxed);
}

fn add(size: usize) {
    let now = HELD.load(Relaxed) + size;
    HELD.store(now, Relaxed);
    if now > PEAK.load(Relaxed) {
        PEAK.store(now, Relaxed);
    }
}

fn remove(size: usize) {
    HELD.store(HELD.load(Relaxed).wrapping_sub(size), Relaxed);
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: each call goes to the system's allocator as it came; the counters hand out no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is the one that is asked of us.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            add(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            remove(layout.size());
            add(size);
        }
        moved
    }
}
