//! What is known of a chunk in which one function was edited: what was known of it, but for this
//! function.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::reader::{Reader, Stop};
use super::splice::known;
use super::{Chunk, Scan, UpvalueSet};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, copied};
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
