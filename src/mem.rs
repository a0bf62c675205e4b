//! Collections that report a failed allocation instead of aborting the process.

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
