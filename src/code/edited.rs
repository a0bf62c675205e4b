//! What is known of a chunk in which one function was edited: what was known of it, but for this
//! function.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::names::DumpStrings;
use super::reader::{Reader, Stop, known};
use super::{Chunk, Digest, Dump, Scan, UpvalueSet};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};
use crate::support::secret::Secret;

/// A function that stands directly in the main function, in a dump in which nothing else was
/// edited, no line either.
pub struct EditedChild {
    /// Where it stood.
    pub old: Range<usize>,
    /// How long it is now.
    pub new_length: usize,
}

impl Chunk {
    /// The chunk of the edited dump; none where that is not known without a look at the rest.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn edited(
        &self,
        dump: &Arc<Vec<u8>>,
        edited: &EditedChild,
        secret: &Secret,
    ) -> Result<Option<Chunk>> {
        let start = edited.old.start;
        let (Some(old), Some(new)) = (
            part(&self.dump, edited.old.clone(), secret)?,
            part(dump, start..start + edited.new_length, secret)?,
        ) else {
            return Ok(None);
        };
        let names = self.names.edited(&new.names, edited)?;
        let functions = self.functions.edited(&old.functions, &new.functions)?;
        let (Some(names), Some(functions)) = (names, functions) else {
            return Ok(None);
        };
        // What is gone from this function may stand in another one.
        if !old.integers.is_subset(&new.integers) {
            return Ok(None);
        }
        let mut integers = FxHashSet::default();
        integers.try_reserve(self.integers.len())?;
        for integer in self.integers.union(&new.integers) {
            integers.try_insert_value(*integer, ())?;
        }
        let mut setters = copied(&self.setters)?;
        setters.retain(|lines| !old.setters.contains(lines));
        setters.try_reserve(new.setters.len())?;
        for lines in &new.setters {
            setters.insert(setters.partition_point(|one| one < lines), *lines);
        }
        Ok(Some(Chunk {
            dump: dump.clone().into(),
            names,
            integers,
            functions,
            setters,
        }))
    }
}

/// A function in a version that has the same ones, with other constants or on other lines.
pub(super) struct FollowedFunction {
    /// Its first and last line in the older version.
    pub(super) old: (i32, i32),
    pub(super) new: (i32, i32),
    /// The number of the function around it; none for the main one.
    pub(super) parent: Option<u32>,
    /// Its digest and the exact one, if they are others.
    pub(super) code: Option<(Digest, u64)>,
}

impl Chunk {
    /// [`Profile::exact`](super::Profile) of the function on these lines.
    pub(super) fn exact_on(&self, lines: (i32, i32)) -> Option<u64> {
        Some(self.functions.get(lines)??.exact)
    }

    /// The chunk of a version with these names, in which these functions have other code. All
    /// stand on the same lines.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn with_code(
        &self,
        names: DumpStrings,
        functions: impl Iterator<Item = FollowedFunction>,
    ) -> Result<Chunk> {
        let changed = functions.filter_map(|function| Some((function.old, function.code?)));
        Ok(Chunk {
            dump: Dump::default(),
            names,
            integers: self.copied_integers()?,
            functions: self.functions.with_code(changed)?,
            setters: copied(&self.setters)?,
        })
    }

    /// The same where some stand on other lines, for all functions, in the order of the code; none
    /// where several stand on the same lines.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub(super) fn on_other_lines(
        &self,
        names: DumpStrings,
        functions: impl Iterator<Item = FollowedFunction>,
    ) -> Result<Option<Chunk>> {
        let mut chunk = Chunk {
            names,
            integers: self.copied_integers()?,
            ..Chunk::default()
        };
        chunk.functions.reserve(self.functions.len())?;
        for function in functions {
            let number = chunk.functions.push(function.new)?;
            if function.parent.is_none() {
                continue;
            }
            let Some(Some(mut profile)) = self.functions.get(function.old) else {
                return Ok(None);
            };
            if let Some(code) = function.code {
                (profile.digest, profile.exact) = code;
            }
            chunk.functions.set_profile(number, profile);
            if function.parent == Some(0) && self.setters.binary_search(&function.old).is_ok() {
                chunk.setters.try_push(function.new)?;
            }
        }
        chunk.functions.sort();
        chunk.setters.sort_unstable();
        Ok(Some(chunk))
    }

    /// The same, with the dump of which it was told.
    pub(super) fn of_dump(mut self, dump: impl Into<Dump>) -> Chunk {
        self.dump = dump.into();
        self
    }

    fn copied_integers(&self) -> Result<FxHashSet<i64>> {
        let mut integers = FxHashSet::default();
        integers.try_reserve(self.integers.len())?;
        integers.extend(&self.integers);
        Ok(integers)
    }
}

#[cfg(test)]
impl Chunk {
    /// Do both say the same?
    pub fn is_as(&self, other: &Chunk) -> bool {
        let names = |of: &Chunk| of.names().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let has_names = |one: &Chunk, other: &Chunk, secret: &Secret| {
            one.names().all(|name| other.has_name(name, secret))
        };
        let secret = Secret::default();
        names(self) == names(other)
            && has_names(self, other, &secret)
            && has_names(other, self, &secret)
            && self.integers == other.integers
            && self.functions == other.functions
            && self.setters == other.setters
    }
}

/// What is known of a function of the main function, and of all within it.
fn part(dump: &[u8], part: Range<usize>, secret: &Secret) -> Result<Option<Chunk>> {
    let mut chunk = Chunk::default();
    let mut scan = Scan::new(&mut chunk, secret);
    let read = Reader::at(dump, part.start).ok_or(Stop::Format);
    let read = read.and_then(|mut reader| {
        reader.child(1, &mut UpvalueSet::default(), secret, Some(&mut scan))?;
        match reader.position() == part.end {
            true => Ok(()),
            false => Err(Stop::Format),
        }
    });
    let is_read = known(read)?.is_some();
    chunk.functions.sort();
    Ok(is_read.then_some(chunk))
}
