//! Values that were kept together stand side by side. These types name them.

use std::marker::PhantomData;

use super::{Ref, Vm};

/// What a [`Kept`] list is made of.
pub trait KeptItem: Copy {
    /// How many values one item has.
    const WIDTH: u32;

    /// The item whose first value has this handle.
    fn starting_at(first: Ref) -> Self;
}

impl KeptItem for Ref {
    const WIDTH: u32 = 1;

    fn starting_at(first: Ref) -> Ref {
        first
    }
}

/// A key of a table and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Ref,
    /// The value.
    pub value: Ref,
}

impl KeptItem for KeyValue {
    const WIDTH: u32 = 2;

    fn starting_at(first: Ref) -> KeyValue {
        KeyValue {
            key: first,
            value: first.after(1),
        }
    }
}

/// A key, and what two tables hold under it.
#[derive(Clone, Copy, Debug)]
pub struct KeptEntry {
    /// The key.
    pub key: Ref,
    /// The value in the other table.
    pub old: Ref,
    /// The value in the table that was walked.
    pub new: Ref,
}

/// Items that stand side by side: single values (`Kept<Ref>`) or entries (`Kept<KeyValue>`).
#[derive(Debug)]
pub struct Kept<T> {
    first: Ref,
    len: u32,
    of: PhantomData<T>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Kept<T> {}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept {
            first: Ref::NIL,
            len: 0,
            of: PhantomData,
        }
    }
}

impl<T: KeptItem> Kept<T> {
    pub(super) fn new(first: Ref, len: u32) -> Kept<T> {
        Kept {
            first,
            len,
            of: PhantomData,
        }
    }

    pub(super) fn first(self) -> Ref {
        self.first
    }

    /// How many items there are.
    pub fn len(self) -> u32 {
        self.len
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The item with this number, which must be below [`Kept::len`].
    pub fn at(self, i: u32) -> T {
        T::starting_at(self.first.after(T::WIDTH * i))
    }

    /// The items in their order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = T> + ExactSizeIterator + Clone {
        (0..self.len).map(move |i| self.at(i))
    }

    /// The values of all items.
    pub fn flat(self) -> Kept<Ref> {
        Kept::new(self.first, T::WIDTH * self.len)
    }
}

impl Kept<Ref> {
    /// The first values, as many as are asked for; nil for each that there is not.
    pub fn all<const N: usize>(self) -> [Ref; N] {
        let mut values = self.iter();
        std::array::from_fn(|_| values.next().unwrap_or(Ref::NIL))
    }
}

impl Kept<KeyValue> {
    /// The values of the entries.
    pub fn values(self) -> impl ExactSizeIterator<Item = Ref> {
        self.iter().map(|entry| entry.value)
    }

    /// The keys of the entries.
    pub fn keys(self) -> impl ExactSizeIterator<Item = Ref> {
        self.iter().map(|entry| entry.key)
    }
}

impl Vm {
    /// All that was kept since [`Vm::held`] returned `mark`.
    pub fn kept_since(&self, mark: u32) -> Kept<Ref> {
        Kept::new(Ref(mark), self.len.saturating_sub(mark))
    }
}
