//! Texts in whose place others stand in a new version, wherever they have stood.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::reader::Read;
use super::super::shared::MaybeShared;
use super::interpret::is_standard;
use super::types::{Constant, DefinitionKey, StringId};
use super::{Definitions, KnownString, TextNumbers};
use crate::support::error::{Error, Result};
use crate::support::mem::TryInsert;

/// Where a new text stands.
#[derive(Clone, Copy)]
pub(super) enum TextPlace {
    Constant(usize),
    /// It is the name of a local.
    Local(usize),
}

/// Texts of an older version that have become others.
#[derive(Default)]
pub(super) struct NewTexts {
    texts: FxHashMap<StringId, NewText>,
    /// The digests of the new ones.
    digests: FxHashSet<u64>,
    /// By the digests of the older ones: those that are constants. Their digest, where the first
    /// constant stands, and how long it is.
    constants: FxHashMap<u64, (u64, (u32, u32))>,
}

struct NewText {
    /// Where it stands first.
    text: KnownString,
    /// How many constants and locals have it.
    count: u32,
}

impl NewTexts {
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// A text of the older version has become this one in a place: they come in the order of the
    /// code. False where that text has become others, or this one comes from others; and for texts
    /// that the interpreter asks for.
    pub(super) fn note(
        &mut self,
        base: &Definitions,
        old: StringId,
        text: &[u8],
        place: TextPlace,
    ) -> Read<bool> {
        let (digest, was) = (base.secret.digest(text), base.digest_of(old));
        let (TextPlace::Constant(at) | TextPlace::Local(at)) = place;
        let (start, length) = (at as u32, text.len() as u32);
        match self.texts.get_mut(&old) {
            Some(known) if known.text.digest != digest => return Ok(false),
            Some(known) => known.count += 1,
            None => {
                if is_standard(text)
                    || is_standard(base.text(old))
                    || base.numbers.contains_key(&digest)
                    || self.digests.try_insert_value(digest, ())?.is_some()
                {
                    return Ok(false);
                }
                let text = KnownString {
                    start,
                    length,
                    digest,
                };
                self.texts
                    .try_insert_value(old, NewText { text, count: 1 })?;
            }
        }
        if let TextPlace::Constant(_) = place
            && !self.constants.contains_key(&was)
        {
            let constant = (digest, (start, length));
            self.constants.try_insert_value(was, constant)?;
        }
        Ok(true)
    }

    /// What the constant with this digest has become, if it has become another.
    pub(super) fn constant(&self, was: u64) -> Option<(u64, (u32, u32))> {
        self.constants.get(&was).copied()
    }

    /// Has each of these texts become another wherever it has stood?
    pub(super) fn are_everywhere(&self, base: &Definitions) -> Result<bool> {
        if self.is_empty() {
            return Ok(true);
        }
        let mut counts: Vec<u32> = Vec::new();
        counts.try_reserve_exact(base.texts.len())?;
        counts.resize(base.texts.len(), 0);
        let constants = base.constants.iter().filter_map(|constant| match constant {
            Constant::String(text) => Some(*text),
            _ => None,
        });
        let names = base.variables.iter().map(|variable| variable.name);
        for text in constants.chain(names) {
            if let Some(count) = counts.get_mut(text.0 as usize) {
                *count += 1;
            }
        }
        let is_everywhere =
            |(old, new): (&StringId, &NewText)| counts.get(old.0 as usize) == Some(&new.count);
        Ok(self.texts.iter().all(is_everywhere))
    }

    /// Puts the new texts in the place of the older ones.
    pub(super) fn put_into(&self, texts: &mut [KnownString]) {
        for (old, new) in &self.texts {
            if let Some(place) = texts.get_mut(old.0 as usize) {
                *place = new.text;
            }
        }
    }

    /// The numbers of all texts by their digests.
    pub(super) fn numbers(&self, base: &Definitions) -> Read<MaybeShared<TextNumbers>> {
        if self.is_empty() {
            return base.numbers.again();
        }
        let mut numbers = FxHashMap::default();
        numbers
            .try_reserve(base.numbers.len())
            .map_err(Error::from)?;
        numbers.extend(base.numbers.iter());
        for (old, new) in &self.texts {
            numbers.remove(&base.digest_of(*old));
            numbers.try_insert_value(new.text.digest, *old)?;
        }
        Ok(MaybeShared::Own(numbers))
    }
}

impl Definitions {
    /// Where texts have others in their place: do the names still hold that are digests of texts?
    pub(super) fn has_names_of_its_texts(&self) -> Result<bool> {
        for (_, definition) in self.iter() {
            if let DefinitionKey::Call(_) | DefinitionKey::Place(_) = definition.key
                && self.name_of(definition)? != (definition.parent, definition.key)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
