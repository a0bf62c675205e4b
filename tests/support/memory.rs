//! A Lua allocator that counts, and that fails when it is told to.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// How the allocator fails. A request is one for a new block or for more room; requests count from
/// 1 when armed. Lua collects all garbage after a failed request and asks once more, so a request
/// that is to fail for good fails twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// So many requests fail, from the one with this number on.
    At {
        first: u64,
        count: u64,
    },
    /// Every request for a new block fails the first time: each such allocation becomes a full
    /// collection.
    Collect,
    /// Each request fails with a chance of one in so many, told by the seed.
    Now {
        seed: u64,
        one_in: u64,
    },
    /// No more than so many bytes beyond those held when armed.
    Limit(usize),
}

impl Fault {
    /// One request fails, the repeated one does not.
    pub const fn hiccup(first: u64) -> Fault {
        Fault::At { first, count: 1 }
    }

    /// One request fails, the repeated one as well.
    pub const fn once(first: u64) -> Fault {
        Fault::At { first, count: 2 }
    }

    /// So many requests fail, enough for a failure while the first one is dealt with.
    pub const fn some(first: u64) -> Fault {
        Fault::At { first, count: 8 }
    }

    /// From this request on all fail.
    pub const fn from(first: u64) -> Fault {
        Fault::At {
            first,
            count: u64::MAX,
        }
    }

    /// Is there no memory for a second attempt either?
    pub const fn stays(self) -> bool {
        !matches!(self, Fault::At { count: 0..=2, .. })
    }
}

/// What the allocator knows.
pub struct Memory {
    fault: Cell<Fault>,
    requests: Cell<u64>,
    failed: Cell<u64>,
    failed_last: Cell<bool>,
    held: Cell<usize>,
    ceiling: Cell<usize>,
    /// The state of a generator that decides which requests fail.
    luck: Cell<u64>,
    /// When not 0: the state of a generator that decides how far apart blocks are.
    scatter: Cell<u64>,
}

/// The most by which a scattered block is moved, in steps of 16 bytes.
const STEPS: u64 = 64;

impl Memory {
    pub fn new() -> Memory {
        Memory {
            fault: Cell::new(Fault::None),
            requests: Cell::new(0),
            failed: Cell::new(0),
            failed_last: Cell::new(false),
            held: Cell::new(0),
            ceiling: Cell::new(usize::MAX),
            luck: Cell::new(0),
            scatter: Cell::new(0),
        }
    }

    /// Blocks lie in an order, and a state has a hash seed, that depends on `seed`.
    pub fn scattered(seed: u64) -> Memory {
        let memory = Memory::new();
        memory.scatter.set(scramble(seed));
        memory
    }

    pub fn arm(&self, fault: Fault) {
        self.requests.set(0);
        self.failed.set(0);
        self.failed_last.set(false);
        match fault {
            Fault::Limit(more) => self.ceiling.set(self.held.get() + more),
            Fault::Now { seed, .. } => self.luck.set(scramble(seed)),
            _ => {}
        }
        self.fault.set(fault);
    }

    pub fn disarm(&self) {
        self.fault.set(Fault::None);
    }

    /// Requests since the allocator was armed.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Requests that failed since the allocator was armed.
    pub fn failed(&self) -> u64 {
        self.failed.get()
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    fn fails(&self, new: bool, more: usize) -> bool {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let fails = match self.fault.get() {
            Fault::None => false,
            Fault::At { first, count } => number >= first && number - first < count,
            Fault::Collect => new && !self.failed_last.get(),
            Fault::Now { one_in, .. } => {
                self.luck.set(next(self.luck.get()));
                self.luck.get().is_multiple_of(one_in)
            }
            Fault::Limit(_) => self.held.get() + more > self.ceiling.get(),
        };
        self.failed_last.set(fails);
        self.failed.set(self.failed.get() + u64::from(fails));
        fails
    }

    /// How far the next block is moved.
    fn shift(&self) -> usize {
        if self.scatter.get() == 0 {
            return 0;
        }
        self.scatter.set(next(self.scatter.get()));
        16 * (self.scatter.get() % STEPS) as usize
    }
}

/// The first state of a generator: never 0.
pub const fn scramble(seed: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// The next state of a generator (xorshift).
pub const fn next(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

/// The room before a block: how far it was moved.
const HEAD: usize = 16;
/// What a freed block is filled with.
const POISON: u8 = 0xdd;

/// The `lua_Alloc`; its user data is a [`Memory`].
pub unsafe extern "C" fn allocate(
    ud: *mut c_void,
    old: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    // SAFETY: the user data outlives the state, which calls from one thread.
    let memory = unsafe { &*ud.cast::<Memory>() };
    let was = if old.is_null() { 0 } else { old_size };
    if new_size > was && memory.fails(old.is_null(), new_size - was) {
        return ptr::null_mut();
    }
    // SAFETY: every block was made here: its shift stands before it, and it begins `HEAD` and the
    // shift before that.
    unsafe {
        let free = |block: *mut c_void| {
            if !block.is_null() {
                let start = block.cast::<u8>().sub(HEAD);
                libc::free(start.sub(start.cast::<usize>().read()).cast());
            }
        };
        if new_size == 0 {
            ptr::write_bytes(old.cast::<u8>(), POISON, was);
            free(old);
            memory.held.set(memory.held.get() - was);
            return ptr::null_mut();
        }
        let shift = memory.shift();
        // Always a new block: whoever keeps a pointer into the old one is found out.
        let start = libc::malloc(shift + HEAD + new_size).cast::<u8>();
        assert!(!start.is_null(), "the test itself has no memory");
        let start = start.add(shift);
        start.cast::<usize>().write(shift);
        let new = start.add(HEAD).cast::<c_void>();
        if !old.is_null() {
            ptr::copy_nonoverlapping(old.cast::<u8>(), new.cast::<u8>(), was.min(new_size));
            ptr::write_bytes(old.cast::<u8>(), POISON, was);
            free(old);
        }
        memory.held.set(memory.held.get() + new_size - was);
        new
    }
}
