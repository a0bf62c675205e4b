//! Lists that a version of a file shares with the version before it.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::reader::{Read, Stop};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryPush, copied, counted};

/// A shared list with more changes than one in so many is copied.
const FEW: usize = 8;

/// What is a version's own, or what other versions have as well.
pub(super) enum MaybeShared<T> {
    Own(T),
    Others(Arc<T>),
}

pub(super) type SharedList<T> = MaybeShared<Vec<T>>;

impl<T> Deref for MaybeShared<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        match self {
            MaybeShared::Own(own) => own,
            MaybeShared::Others(shared) => shared,
        }
    }
}

impl<T: Default> MaybeShared<T> {
    /// Lets other versions have it.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn share(&mut self) -> Result<()> {
        if let MaybeShared::Own(own) = self {
            *self = MaybeShared::Others(counted(std::mem::take(own))?);
        }
        Ok(())
    }

    /// The same, for another version; an error if it is not shared.
    pub(super) fn again(&self) -> Read<MaybeShared<T>> {
        match self {
            MaybeShared::Own(_) => Err(Stop::Format),
            MaybeShared::Others(shared) => Ok(MaybeShared::Others(shared.clone())),
        }
    }

    /// Are both one?
    pub(super) fn is(&self, other: &MaybeShared<T>) -> bool {
        match (self, other) {
            (MaybeShared::Others(one), MaybeShared::Others(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl<T> SharedList<T> {
    /// A list with nothing in it.
    pub(super) const NOTHING: SharedList<T> = MaybeShared::Own(Vec::new());
}

impl<T: Copy> SharedList<T> {
    /// The list for changes. A shared one is copied.
    ///
    /// # Errors
    /// [`Error::Memory`].
    #[inline(always)]
    pub(super) fn own(&mut self) -> Result<&mut Vec<T>> {
        if let MaybeShared::Others(_) = self {
            self.copy()?;
        }
        match self {
            MaybeShared::Own(list) => Ok(list),
            MaybeShared::Others(_) => Err(Error::Memory),
        }
    }

    #[cold]
    #[inline(never)]
    fn copy(&mut self) -> Result<()> {
        *self = MaybeShared::Own(copied(self)?);
        Ok(())
    }

    /// One item, for changes.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.own().ok()?.get_mut(at)
    }
}

impl<T: Copy> TryPush<T> for SharedList<T> {
    #[inline(always)]
    fn try_push(&mut self, value: T) -> Result<()> {
        self.own()?.try_push(value)
    }
}

/// A list of which a version may have a few items of its own.
pub(super) struct PatchedList<T> {
    all: SharedList<T>,
    /// The items with these numbers, which are sorted, stand in place of those of a shared list.
    changed: Vec<(u32, T)>,
}

impl<T: Copy> PatchedList<T> {
    /// A list with nothing in it.
    pub(super) const NOTHING: PatchedList<T> = PatchedList {
        all: SharedList::NOTHING,
        changed: Vec::new(),
    };

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    #[inline(always)]
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        match self.changed.as_slice() {
            [] => self.all.get(at),
            [(first, _), ..] if at < *first as usize => self.all.get(at),
            [.., (last, _)] if at > *last as usize => self.all.get(at),
            changed => patched(&self.all, changed, at),
        }
    }

    /// The items with these numbers.
    #[inline]
    pub(super) fn range(&self, range: Range<usize>) -> PatchedItems<'_, T> {
        let start = range.start;
        let first = match self.changed.as_slice() {
            [] => 0,
            changed => changed.partition_point(|(at, _)| (*at as usize) < start),
        };
        PatchedItems {
            all: self.all.get(range).unwrap_or_default().iter(),
            changed: self.changed.get(first..).unwrap_or_default(),
            next: start as u32,
        }
    }

    #[inline]
    pub(super) fn iter(&self) -> PatchedItems<'_, T> {
        self.range(0..self.len())
    }

    /// The list for changes. A shared one is copied.
    ///
    /// # Errors
    /// [`Error::Memory`].
    #[inline(always)]
    pub(super) fn own(&mut self) -> Result<&mut Vec<T>> {
        if !self.changed.is_empty() {
            self.patch()?;
        }
        self.all.own()
    }

    #[cold]
    #[inline(never)]
    fn patch(&mut self) -> Result<()> {
        let list = self.all.own()?;
        for (at, item) in &self.changed {
            if let Some(place) = list.get_mut(*at as usize) {
                *place = *item;
            }
        }
        self.changed = Vec::new();
        Ok(())
    }

    /// One item, for changes.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.own().ok()?.get_mut(at)
    }

    /// Lets other versions have the list.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn share(&mut self) -> Result<()> {
        self.all.share()
    }

    /// The list for another version, with other items in place of some: their numbers are sorted.
    /// An error if it is not shared.
    pub(super) fn with(&self, changes: &[(u32, T)]) -> Read<PatchedList<T>> {
        let all = self.all.again()?;
        let mut changed = Vec::new();
        let mut old = self.changed.iter().peekable();
        for (at, item) in changes {
            while let Some(before) = old.next_if(|(before, _)| before < at) {
                changed.try_push(*before)?;
            }
            old.next_if(|(same, _)| same == at);
            changed.try_push((*at, *item))?;
        }
        for rest in old {
            changed.try_push(*rest)?;
        }
        let are_many = changed.len() > all.len() / FEW;
        let mut list = PatchedList { all, changed };
        if are_many {
            list.own()?;
        }
        Ok(list)
    }
}

#[inline(never)]
fn patched<'a, T>(list: &'a [T], changed: &'a [(u32, T)], at: usize) -> Option<&'a T> {
    let found = changed.binary_search_by_key(&at, |(at, _)| *at as usize);
    match found.ok().and_then(|found| changed.get(found)) {
        Some((_, item)) => Some(item),
        None => list.get(at),
    }
}

impl<T: Copy> TryPush<T> for PatchedList<T> {
    #[inline(always)]
    fn try_push(&mut self, value: T) -> Result<()> {
        self.own()?.try_push(value)
    }
}

/// Some items of a [`PatchedList`].
#[derive(Clone)]
pub(super) struct PatchedItems<'a, T> {
    all: std::slice::Iter<'a, T>,
    /// The version's own ones from the next item on.
    changed: &'a [(u32, T)],
    next: u32,
}

impl<'a, T> Iterator for PatchedItems<'a, T> {
    type Item = &'a T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'a T> {
        let item = self.all.next()?;
        let number = self.next;
        self.next += 1;
        match self.changed {
            [(at, own), rest @ ..] if *at == number => {
                self.changed = rest;
                Some(own)
            }
            _ => Some(item),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.all.size_hint()
    }
}
