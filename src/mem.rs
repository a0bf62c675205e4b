//! Collections that report a failed allocation instead of aborting the process.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{Array, SmallVec};

use crate::error::{Error, Result};

/// `Vec::push` that can fail.
pub trait TryPush<T> {
    /// Appends `value`, or returns [`Error::Memory`](crate::error::Error::Memory) and changes nothing.
    fn try_push(&mut self, value: T) -> Result<()>;
}

impl<T> TryPush<T> for Vec<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> Result<()> {
        if self.len() == self.capacity() {
            self.try_reserve(1)?;
        }
        self.push(value);
        Ok(())
    }
}

impl<A: Array> TryPush<A::Item> for SmallVec<A> {
    #[inline]
    fn try_push(&mut self, value: A::Item) -> Result<()> {
        if self.len() == self.capacity() {
            self.try_reserve(1).map_err(|_| Error::Memory)?;
        }
        self.push(value);
        Ok(())
    }
}

impl<T> TryPush<T> for VecDeque<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> Result<()> {
        if self.len() == self.capacity() {
            self.try_reserve(1)?;
        }
        self.push_back(value);
        Ok(())
    }
}

/// A stable sort that can fail; nothing is sorted then. (That of the standard library takes what memory it needs.)
///
/// # Errors
/// [`Error::Memory`].
pub fn sort_by_key<T: Copy, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) -> Result<()> {
    let mut keyed = Vec::new();
    keyed.try_reserve_exact(list.len())?;
    keyed.extend(list.iter().enumerate().map(|(i, item)| (key(item), i, *item)));
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)));
    for (place, (.., item)) in list.iter_mut().zip(keyed) {
        *place = item;
    }
    Ok(())
}

/// A copy that can fail.
///
/// # Errors
/// [`Error::Memory`].
pub fn copied<T: Copy>(items: &[T]) -> Result<Vec<T>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(items.len())?;
    copy.extend_from_slice(items);
    Ok(copy)
}

/// `collect` that can fail, for items that may be errors.
///
/// # Errors
/// [`Error::Memory`], or the first item that is one.
pub fn collected<T>(items: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve(items.size_hint().0)?;
    for item in items {
        list.try_push(item?)?;
    }
    Ok(list)
}

/// `insert` that can fail, for maps and sets.
pub trait TryInsert<K, V> {
    /// Inserts, or returns [`Error::Memory`](crate::error::Error::Memory) and changes nothing.
    /// Returns what stood there before.
    fn try_insert_value(&mut self, key: K, value: V) -> Result<Option<V>>;
}

impl<K: Eq + Hash, V> TryInsert<K, V> for FxHashMap<K, V> {
    #[inline]
    fn try_insert_value(&mut self, key: K, value: V) -> Result<Option<V>> {
        if self.len() == self.capacity() {
            self.try_reserve(1)?;
        }
        Ok(self.insert(key, value))
    }
}

impl<K: Eq + Hash> TryInsert<K, ()> for FxHashSet<K> {
    #[inline]
    fn try_insert_value(&mut self, key: K, (): ()) -> Result<Option<()>> {
        if self.len() == self.capacity() {
            self.try_reserve(1)?;
        }
        Ok((!self.insert(key)).then_some(()))
    }
}
