//! The strings that occur as constants in a dump, each once, in the order of their first
//! occurrence.

use rustc_hash::FxHashSet;

use super::EditedChild;
use super::reader::Read;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// Strings of a dump: where each stands. They are found by their hash; of two that have the same
/// one, the first is known.
#[derive(Default)]
pub struct DumpStrings {
    found: Vec<StringAt>,
    /// For each string its number, counted from 1, at the first free place from where its hash
    /// says. A power of two of them, and at least half of them free (0).
    places: Vec<u32>,
}

#[derive(Clone, Copy)]
struct StringAt {
    hash: u64,
    span: (u32, u32),
}

impl DumpStrings {
    /// Makes room for so many.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        self.found
            .try_reserve(count.saturating_sub(self.found.len()))?;
        self.spread(count.saturating_mul(2))
    }

    /// Adds a string by its hash, if it is a new one: where it stands in the dump, and its length.
    #[inline(always)]
    pub fn add(&mut self, hash: u64, span: impl FnOnce() -> (u32, u32)) -> Read<()> {
        match self.find(hash) {
            Ok(_) => Ok(()),
            Err(at) => self.add_at(at, StringAt { hash, span: span() }),
        }
    }

    /// The string with this hash, or the place for one.
    #[inline(always)]
    fn find(&self, hash: u64) -> std::result::Result<&StringAt, usize> {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        while let Some(place) = self.places.get(at) {
            match self.found.get((*place as usize).wrapping_sub(1)) {
                Some(name) if name.hash == hash => return Ok(name),
                Some(_) => at = (at + 1) & mask,
                None => break,
            }
        }
        Err(at)
    }

    /// Adds a string that is none of those there, at the place that was found for it.
    #[inline(never)]
    fn add_at(&mut self, at: usize, name: StringAt) -> Read<()> {
        self.found.try_push(name)?;
        if self.found.len() * 2 > self.places.len() {
            self.spread(self.places.len() * 2)?;
        } else if let Some(place) = self.places.get_mut(at) {
            *place = self.found.len() as u32;
        }
        Ok(())
    }

    /// Gives each string its place among at least so many.
    fn spread(&mut self, places: usize) -> Result<()> {
        let places = places.max(16).next_power_of_two();
        self.places.clear();
        self.places.try_reserve_exact(places)?;
        self.places.resize(places, 0);
        let mask = places - 1;
        for (name, number) in self.found.iter().zip(1..) {
            let mut at = name.hash as usize & mask;
            while self.places.get(at).is_some_and(|place| *place != 0) {
                at = (at + 1) & mask;
            }
            if let Some(place) = self.places.get_mut(at) {
                *place = number;
            }
        }
        Ok(())
    }

    /// The strings of a dump in which a part was edited, which has the `new` ones now. None where
    /// they are not known without a look at the rest.
    pub fn edited(&self, new: &DumpStrings, edited: &EditedChild) -> Result<Option<DumpStrings>> {
        let part = &edited.old;
        let starts_before = |place: usize| {
            let before = |name: &StringAt| (name.span.0 as usize) < place;
            self.found.partition_point(before)
        };
        let (start, end) = (starts_before(part.start), starts_before(part.end));
        let (before, rest) = self.found.split_at(start);
        let (within, after) = rest.split_at_checked(end - start).unwrap_or_default();
        // What is gone from the part may stand behind it.
        if within.iter().any(|name| new.find(name.hash).is_err()) {
            return Ok(None);
        }
        let mut found = Vec::new();
        found.try_reserve_exact(self.found.len() + new.found.len())?;
        found.extend_from_slice(before);
        let mut moved = FxHashSet::default();
        for name in &new.found {
            match self.find(name.hash) {
                Ok(known) if (known.span.0 as usize) < part.start => continue,
                Ok(known) if known.span.0 as usize >= part.end => {
                    moved.try_insert_value(name.hash, ())?;
                }
                _ => {}
            }
            found.push(*name);
        }
        let is_same = within.iter().map(|name| name.hash);
        let is_same = is_same.eq(found.iter().skip(start).map(|name| name.hash));
        let by = edited.new_length as i64 - part.len() as i64;
        found.extend(
            after
                .iter()
                .filter(|name| moved.is_empty() || !moved.contains(&name.hash))
                .map(|name| StringAt {
                    span: ((i64::from(name.span.0) + by) as u32, name.span.1),
                    ..*name
                }),
        );
        let mut strings = DumpStrings {
            found,
            places: Vec::new(),
        };
        if is_same {
            strings.places = copied(&self.places)?;
        } else {
            let count = strings.found.len() * 2;
            strings.spread(count.max(self.places.len()))?;
        }
        Ok(Some(strings))
    }

    /// The same number of strings in another dump: of each its hash there, and where it stands.
    pub fn with(
        &self,
        mut string: impl FnMut(u64, (u32, u32)) -> (u64, (u32, u32)),
    ) -> Result<DumpStrings> {
        let mut found = copied(&self.found)?;
        let mut has_others = false;
        for known in &mut found {
            let (hash, span) = string(known.hash, known.span);
            has_others |= hash != known.hash;
            *known = StringAt { hash, span };
        }
        let mut strings = DumpStrings {
            found,
            places: Vec::new(),
        };
        match has_others {
            true => strings.spread(self.places.len())?,
            false => strings.places = copied(&self.places)?,
        }
        Ok(strings)
    }

    /// Where the string with this hash stands, and its length.
    pub fn get(&self, hash: u64) -> Option<(u32, u32)> {
        self.find(hash).ok().map(|name| name.span)
    }

    /// Where each string stands, and its length.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        self.found.iter().map(|name| name.span)
    }
}
