//! What a pass has met: bits over addresses.
//!
//! Two objects never begin within the same four machine words, so one bit for each four words of
//! address space tells them apart. (C functions are no objects, and may begin closer together; they
//! hold nothing.) The bits stand in pages; a page covers [`COVERS`] bytes of addresses and is found
//! by a table whose hash is the page's number, so that the pages of a heap, which lie side by side,
//! do not collide. A page in which something is wanted has a second set of bits.

use std::alloc::{Layout, alloc_zeroed};
use std::ptr::null_mut;

use crate::support::error::Result;

/// Four machine words: what the smallest object of Lua 5.4 takes, a Lua function without upvalues.
pub const GRAIN: usize = 4 * size_of::<usize>();
const GRAIN_BITS: u32 = GRAIN.trailing_zeros();
/// Address bits that a page covers.
const PAGE_BITS: u32 = 18;
/// Bytes of addresses that a page covers.
const COVERS: usize = 1 << PAGE_BITS;
const WORDS: usize = COVERS / GRAIN / 64;
/// The number of no page.
const NONE: usize = usize::MAX;
/// Slots of the first table.
const SLOTS: usize = 64;

type Bits = [u64; WORDS];

struct Page {
    met: Bits,
    wanted: Option<Box<Bits>>,
}

#[derive(Clone, Copy)]
struct PageSlot {
    number: usize,
    page: *mut Page,
}

/// What is known of an address.
#[derive(Clone, Copy)]
pub struct Sight {
    /// It is met for the first time.
    pub fresh: bool,
    /// Its references are wanted.
    pub wanted: bool,
}

/// The addresses that a pass has met, and those that are wanted.
pub struct SeenAddresses {
    /// A power of two of them, never all in use.
    slots: Vec<PageSlot>,
    /// What the table points to: boxes.
    pages: Vec<*mut Page>,
}

impl Drop for SeenAddresses {
    fn drop(&mut self) {
        for page in self.pages.drain(..) {
            // SAFETY: each was a box and is dropped once.
            drop(unsafe { Box::from_raw(page) });
        }
    }
}

impl SeenAddresses {
    /// Nothing is met, nothing is wanted.
    pub const fn new() -> SeenAddresses {
        SeenAddresses {
            slots: Vec::new(),
            pages: Vec::new(),
        }
    }

    /// Forgets everything and gives its memory back.
    pub fn clear(&mut self) {
        *self = SeenAddresses::new();
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        // SAFETY: all pages are alive.
        let wanted = |page: &&*mut Page| unsafe { (***page).wanted.is_some() };
        let wanted = self.pages.iter().filter(wanted).count();
        self.slots.capacity() * size_of::<PageSlot>()
            + self.pages.capacity() * size_of::<usize>()
            + self.pages.len() * size_of::<Page>()
            + wanted * size_of::<Bits>()
    }

    /// Notes that an address is met; `None` when there is no memory for that.
    #[inline(always)]
    pub fn meet(&mut self, address: usize) -> Option<Sight> {
        let page = self.page(address)?;
        let (word, bit) = place(address);
        // SAFETY: the page is one of `pages`, to which nothing else points now; `word` is below
        // WORDS.
        unsafe {
            let page = &mut *page;
            let met = page.met.get_unchecked_mut(word);
            let fresh = *met & bit == 0;
            *met |= bit;
            let wanted = match &page.wanted {
                Some(wanted) => wanted.get_unchecked(word) & bit != 0,
                None => false,
            };
            Some(Sight { fresh, wanted })
        }
    }

    /// Takes it back that an address was met.
    pub fn forget(&mut self, address: usize) {
        let (word, bit) = place(address);
        if let Some(page) = self.page(address) {
            // SAFETY: the page is one of `pages`, to which nothing else points now.
            let page = unsafe { &mut *page };
            if let Some(met) = page.met.get_mut(word) {
                *met &= !bit;
            }
        }
    }

    /// From now on references to this address are wanted.
    pub fn want(&mut self, address: usize) -> Option<()> {
        let page = self.page(address)?;
        let (word, bit) = place(address);
        // SAFETY: the page is one of `pages`, to which nothing else points now.
        let page = unsafe { &mut *page };
        if page.wanted.is_none() {
            page.wanted = Some(zeroed()?);
        }
        *page.wanted.as_mut()?.get_mut(word)? |= bit;
        Some(())
    }

    #[inline(always)]
    fn page(&mut self, address: usize) -> Option<*mut Page> {
        let number = address >> PAGE_BITS;
        if let Some(slot) = self.slots.get(number & self.slots.len().wrapping_sub(1))
            && slot.number == number
        {
            return Some(slot.page);
        }
        self.find(number)
    }

    /// The page, wherever its slot is; made when there is none yet.
    #[cold]
    #[inline(never)]
    fn find(&mut self, number: usize) -> Option<*mut Page> {
        if self.pages.len() * 2 >= self.slots.len() {
            self.grow().ok()?;
        }
        let slot = free_slot(&mut self.slots, number)?;
        if slot.number == NONE {
            self.pages.try_reserve(1).ok()?;
            let page = Box::into_raw(zeroed::<Page>()?);
            self.pages.push(page);
            *slot = PageSlot { number, page };
        }
        Some(slot.page)
    }

    fn grow(&mut self) -> Result<()> {
        let size = (self.slots.len() * 2).max(SLOTS);
        let mut slots = Vec::new();
        slots.try_reserve_exact(size)?;
        let free = PageSlot {
            number: NONE,
            page: null_mut(),
        };
        slots.resize(size, free);
        for old in self.slots.iter().filter(|slot| slot.number != NONE) {
            if let Some(slot) = free_slot(&mut slots, old.number) {
                *slot = *old;
            }
        }
        self.slots = slots;
        Ok(())
    }
}

/// Where an address has its bit within its page.
#[inline(always)]
fn place(address: usize) -> (usize, u64) {
    let grain = (address >> GRAIN_BITS) & (WORDS * 64 - 1);
    (grain / 64, 1 << (grain % 64))
}

/// The slot of a page, or the one where it is to go.
fn free_slot(slots: &mut [PageSlot], number: usize) -> Option<&mut PageSlot> {
    let mask = slots.len().checked_sub(1)?;
    let at = (number..).map(|i| i & mask).take(mask + 1).find(|&i| {
        slots
            .get(i)
            .is_some_and(|it| it.number == number || it.number == NONE)
    })?;
    slots.get_mut(at)
}

/// All zeros on the heap; `None` without memory.
///
/// Only for types of which all zeros are a value: [`Page`] (no bits, no second set) and [`Bits`].
fn zeroed<T>() -> Option<Box<T>> {
    // SAFETY: the layout is not empty; a box takes what the global allocator gave for its type.
    // Zeros are a value of both types: the null pointer is what `None` of a box is.
    unsafe {
        let memory = alloc_zeroed(Layout::new::<T>()).cast::<T>();
        (!memory.is_null()).then(|| Box::from_raw(memory))
    }
}
