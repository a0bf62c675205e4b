//! Makes a chunk in which one function of a [`Tree`] stands alone (R9.3).
//!
//! The chunk is a small *factory*: its main function does nothing but return a closure of the cut
//! function, so one prototype serves all closures that are made of it. The upvalues of such a
//! closure are all the factory's `_ENV`; each has to be joined to the cell that it is meant to be
//! before the closure is called.

use super::reader::Reader;
use super::tree::{Tree, TreeFunction};
use crate::support::error::Result;
use crate::support::secret::Secret;

/// The text of which a factory is made, compiled by the very Lua that will load it.
pub const TEMPLATE: &[u8] = b"return function() end";

/// What dumps of functions are put into.
pub struct Cutter {
    template: Tree,
}

impl Cutter {
    /// Takes the dump of [`TEMPLATE`], compiled; none when it is not as expected.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn new(template: Vec<u8>) -> Result<Option<Cutter>> {
        // (Of the template no digest is ever asked for.)
        let Some(template) = Tree::read(template, &Secret::default())? else {
            return Ok(None);
        };
        let fits = template.len() == 2
            && template.captured(0).len() == 1
            && template.captured(1).is_empty();
        Ok(fits.then_some(Cutter { template }))
    }

    /// The chunk whose nested function is this one; none where there is no such function. What Lua
    /// dumps of the loaded chunk is the same, byte by byte, unless the format is another one
    /// after all.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn cut(&self, tree: &Tree, number: u32) -> Result<Option<Vec<u8>>> {
        let (Some(function), Some(main), Some(place)) =
            (tree.get(number), self.template.get(0), self.template.get(1))
        else {
            return Ok(None);
        };
        let TreeFunction {
            bytes,
            body,
            descriptors,
            ..
        } = function;
        let source = tree.source(number);
        let mut out = Vec::new();
        out.try_reserve(
            self.template.dump.len() + source.len() + (bytes.end - body) as usize + 16,
        )?;
        out.extend_from_slice(self.template.slice(0..main.bytes.start));
        // The name stands at the main function: what is nested in it has the same.
        if source.is_empty() {
            out.push(LAST);
        } else {
            size(&mut out, source.len() as u64 + 1);
            out.extend_from_slice(source);
        }
        out.extend_from_slice(self.template.slice(main.body..place.bytes.start));
        out.push(LAST);
        out.extend_from_slice(tree.slice(*body..descriptors.start));
        for descriptor in tree.slice(descriptors.clone()).chunks_exact(3) {
            // The first upvalue of the factory; the kind of the variable stays.
            out.extend_from_slice(&[0, 0]);
            out.extend(descriptor.last());
        }
        out.extend_from_slice(tree.slice(descriptors.end..bytes.end));
        out.extend_from_slice(
            self.template
                .slice(place.bytes.end..self.template.dump.len() as u32),
        );
        Ok(Some(out))
    }
}

/// A dump without debug information, with a source name for its functions all the same; none where
/// it is not as expected.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn with_source(dump: &[u8], source: &[u8]) -> Result<Option<Vec<u8>>> {
    let parts = Reader::of(dump).and_then(|reader| dump.split_at_checked(reader.position()));
    let Some((head, [LAST, rest @ ..])) = parts else {
        return Ok(None);
    };
    let mut out = Vec::new();
    out.try_reserve_exact(dump.len() + source.len() + 10)?;
    out.extend_from_slice(head);
    size(&mut out, source.len() as u64 + 1);
    out.extend_from_slice(source);
    out.extend_from_slice(rest);
    Ok(Some(out))
}

/// Marks the last byte of a size.
const LAST: u8 = 0x80;

/// A size, as Lua writes it.
pub(super) fn size(out: &mut Vec<u8>, n: u64) {
    let groups = (1..10).find(|groups| n >> (7 * groups) == 0).unwrap_or(10);
    for i in (0..groups).rev() {
        let last = if i == 0 { LAST } else { 0 };
        out.push((n >> (7 * i) & 0x7f) as u8 | last);
    }
}
