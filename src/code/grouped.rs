//! Values by a small number each, as those of a definition or of a function.

use std::ops::Range;

use super::reader::Read;
use super::shared::SharedList;
use crate::support::error::Result;

/// The values of each number stand together, in the order in which they came.
pub(super) struct Grouped<T> {
    values: SharedList<T>,
    /// Where the values of each number begin, and where the last ones end.
    first: SharedList<u32>,
}

impl<T: Copy> Grouped<T> {
    /// No number has a value.
    pub(super) const NOTHING: Grouped<T> = Grouped {
        values: SharedList::NOTHING,
        first: SharedList::NOTHING,
    };

    /// Groups pairs whose numbers are below `count`; others are left out.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn of(
        count: usize,
        pairs: impl Iterator<Item = (u32, T)> + Clone,
    ) -> Result<Grouped<T>> {
        let mut next: Vec<u32> = Vec::new();
        next.try_reserve_exact(count + 1)?;
        next.resize(count + 1, 0);
        let mut filler = None;
        for (number, value) in pairs.clone() {
            let number = number as usize;
            if let Some(place) = next.get_mut(number).filter(|_| number < count) {
                *place += 1;
                filler = Some(value);
            }
        }
        let mut all = 0;
        for place in &mut next {
            all += std::mem::replace(place, all);
        }
        let mut values = Vec::new();
        if let Some(filler) = filler {
            values.try_reserve_exact(all as usize)?;
            values.resize(all as usize, filler);
        }
        for (number, value) in pairs {
            let number = number as usize;
            if let Some(place) = next.get_mut(number).filter(|_| number < count)
                && let Some(free) = values.get_mut(*place as usize)
            {
                *free = value;
                *place += 1;
            }
        }
        // (by now each number has the place where the next one's values begin)
        next.rotate_right(1);
        if let Some(start) = next.first_mut() {
            *start = 0;
        }
        Ok(Grouped {
            values: SharedList::Own(values),
            first: SharedList::Own(next),
        })
    }

    /// Lets other versions have the groups.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn share(&mut self) -> Result<()> {
        self.values.share()?;
        self.first.share()
    }

    /// The same groups, for another version; an error if they are not shared.
    pub(super) fn again(&self) -> Read<Grouped<T>> {
        Ok(Grouped {
            values: self.values.again()?,
            first: self.first.again()?,
        })
    }

    /// Are both one?
    pub(super) fn is(&self, other: &Grouped<T>) -> bool {
        self.values.is(&other.values) && self.first.is(&other.first)
    }

    /// Where the values of a number stand among all.
    pub(super) fn range(&self, number: u32) -> Range<usize> {
        let number = number as usize;
        match self.first.get(number..number + 2) {
            Some([start, end]) => *start as usize..*end as usize,
            _ => 0..0,
        }
    }

    /// The values of a number.
    pub(super) fn get(&self, number: u32) -> &[T] {
        self.slice(self.range(number))
    }

    /// The values of all numbers.
    pub(super) fn all(&self) -> &[T] {
        &self.values
    }

    /// Some of all values.
    pub(super) fn slice(&self, range: Range<usize>) -> &[T] {
        self.values.get(range).unwrap_or_default()
    }

    /// Sorts the values of each number.
    pub(super) fn sort(&mut self)
    where
        T: Ord,
    {
        let Ok(values) = self.values.own() else {
            return;
        };
        for bounds in self.first.windows(2) {
            if let [start, end] = bounds
                && let Some(group) = values.get_mut(*start as usize..*end as usize)
            {
                group.sort_unstable();
            }
        }
    }
}

/// The part of a sorted list of pairs that has this first half.
pub(super) fn under<K: Ord, V>(pairs: &[(K, V)], key: K) -> &[(K, V)] {
    let start = pairs.partition_point(|(other, _)| *other < key);
    let rest = pairs.get(start..).unwrap_or_default();
    let count = rest.partition_point(|(other, _)| *other == key);
    rest.get(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::{Grouped, under};

    #[test]
    fn values_stand_by_their_numbers() {
        let pairs = [(2, 'c'), (0, 'z'), (9, '-'), (2, 'a'), (3, 'x')];
        let mut grouped = Grouped::of(4, pairs.into_iter()).expect("memory");
        assert_eq!(grouped.get(0), ['z']);
        assert_eq!(grouped.get(1), []);
        assert_eq!(grouped.get(2), ['c', 'a']);
        assert_eq!(grouped.get(3), ['x']);
        assert_eq!(grouped.get(9), []);
        grouped.sort();
        assert_eq!(grouped.get(2), ['a', 'c']);
        let none = Grouped::<char>::of(0, [].into_iter()).expect("memory");
        assert_eq!(none.get(0), []);
    }

    #[test]
    fn a_key_has_a_part_of_a_sorted_list() {
        let pairs = [(1, 'a'), (3, 'b'), (3, 'c'), (4, 'd')];
        assert_eq!(under(&pairs, 3), [(3, 'b'), (3, 'c')]);
        assert_eq!(under(&pairs, 2), []);
    }
}
