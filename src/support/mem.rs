//! Collections that report a failed allocation instead of aborting the process.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{Array, SmallVec};

use crate::support::error::{Error, Result};

/// Numbers that are spread over a range this many times as long as their list are sorted by
/// comparing.
const MOST_SPREAD: usize = 8;

/// Puts a value behind a counted pointer. If memory for that is refused, Rust's own way ends the
/// process. So the same amount is asked for first, and given back.
///
/// # Errors
/// [`Error::Memory`].
pub fn counted<T>(value: T) -> Result<Arc<T>> {
    let mut asked: Vec<u8> = Vec::new();
    asked.try_reserve_exact(size_of::<T>() + 2 * size_of::<usize>())?;
    drop(std::hint::black_box(asked));
    Ok(Arc::new(value))
}

/// A list that grows has room for this many bytes more at once: most lists of a small module never
/// grow again.
const AT_ONCE: usize = 256;

/// `Vec::push` that can fail.
pub trait TryPush<T> {
    /// Appends `value`, or returns [`Error::Memory`] and changes nothing.
    fn try_push(&mut self, value: T) -> Result<()>;
}

impl<T> TryPush<T> for Vec<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> Result<()> {
        if self.len() == self.capacity() {
            self.try_reserve(1.max(AT_ONCE / size_of::<T>().max(1)))?;
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

/// A stable sort by numbers that can fail; nothing is sorted then. (That of the standard library
/// takes what memory it needs.) Numbers that lie close together are sorted by counting.
///
/// # Errors
/// [`Error::Memory`].
pub fn sort_by_number<T: Copy>(list: &mut [T], number: impl Fn(&T) -> u32) -> Result<()> {
    if list.is_sorted_by_key(&number) {
        return Ok(());
    }
    let (low, high) = list
        .iter()
        .map(&number)
        .fold((u32::MAX, 0), |(low, high), n| (low.min(n), high.max(n)));
    let span = (high - low) as usize + 1;
    let items = copied(list)?;
    if span > list.len().saturating_mul(MOST_SPREAD) {
        let mut order: Vec<u32> = Vec::new();
        order.try_reserve_exact(items.len())?;
        order.extend(0..items.len() as u32);
        order.sort_unstable_by_key(|i| (items.get(*i as usize).map(&number), *i));
        let sorted = order.iter().filter_map(|i| items.get(*i as usize));
        list.iter_mut()
            .zip(sorted)
            .for_each(|(place, item)| *place = *item);
        return Ok(());
    }
    // Where the items with each number begin.
    let mut starts: Vec<u32> = Vec::new();
    starts.try_reserve_exact(span)?;
    starts.resize(span, 0);
    for item in &items {
        if let Some(count) = starts.get_mut((number(item) - low) as usize) {
            *count += 1;
        }
    }
    let mut before = 0;
    for start in &mut starts {
        before += std::mem::replace(start, before);
    }
    for item in &items {
        if let Some(next) = starts.get_mut((number(item) - low) as usize) {
            if let Some(place) = list.get_mut(*next as usize) {
                *place = *item;
            }
            *next += 1;
        }
    }
    Ok(())
}

/// Adds a few sorted numbers to many sorted ones, which stay sorted.
///
/// # Errors
/// [`Error::Memory`].
pub fn add_sorted(list: &mut Vec<u64>, more: &[u64]) -> Result<()> {
    list.try_reserve(more.len())?;
    let mut left = list.len();
    list.resize(left + more.len(), 0);
    // From the end on: what is greater than a number makes room for it and those before it.
    for (before, number) in more.iter().enumerate().rev() {
        let greater = list
            .get(..left)
            .map_or(0, |left| left.partition_point(|one| one <= number));
        list.copy_within(greater..left, greater + before + 1);
        left = greater;
        if let Some(place) = list.get_mut(left + before) {
            *place = *number;
        }
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
    /// Inserts, or returns [`Error::Memory`] and changes nothing.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{add_sorted, sort_by_number};

    #[test]
    fn sorted_numbers_stay_sorted() {
        let lists: [&[u64]; 5] = [&[], &[3], &[1, 2, 9], &[0, 3, 3, 4], &[7, 8]];
        for list in lists {
            for more in lists {
                let (mut sum, mut expected) = (list.to_vec(), [list, more].concat());
                add_sorted(&mut sum, more).unwrap();
                expected.sort();
                assert_eq!(sum, expected);
            }
        }
    }

    /// Sorts numbers, each with its place before, in both ways; equal ones keep their order.
    #[test]
    fn sorts_by_number_and_keeps_the_order_of_equals() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below) as u32
        };
        for spread in [1, 3, 100, 1 << 32] {
            for length in [0, 1, 2, 7, 300] {
                let mut list: Vec<(u32, usize)> =
                    (0..length).map(|i| (random(spread), i)).collect();
                let mut expected = list.clone();
                expected.sort();
                sort_by_number(&mut list, |(number, _)| *number).unwrap();
                assert_eq!(list, expected, "of {length} below {spread}");
            }
        }
    }
}
