//! A version of a file, compiled: what depends on its text and its chunk name alone. It is kept for
//! the next version, and all states that load the same have one.

use std::sync::{Arc, OnceLock};

use super::align::{Alignment, StandingDefinitions, align};
use super::definitions::Definitions;
use super::splice::{AboutMain, Main, Piece};
use super::text::{Outermost, counts_lines};
use super::{Chunk, EditedChild};
use crate::support::error::Result;
use crate::support::mem;
use crate::support::secret::Secret;

/// The version. All of it was read with one secret.
pub struct Compiled {
    /// The chunk name.
    pub name: Vec<u8>,
    /// The text; empty where only the binary form is known.
    pub text: Vec<u8>,
    /// The binary form, with lines and names.
    pub dump: Arc<Vec<u8>>,
    /// States share it.
    pub is_shared: bool,
    chunk: OnceLock<Option<Arc<Chunk>>>,
    counts_lines: OnceLock<bool>,
    has_attribute: OnceLock<bool>,
    /// The outermost functions of the text, if it was read for them.
    pub functions: Option<Vec<Outermost>>,
    /// The functions that were compiled in pieces, in their order.
    pub pieces: Vec<Piece>,
    definitions: OnceLock<Option<Arc<Definitions>>>,
    /// From the version that it follows it differs in more than constants and lines.
    is_other: OnceLock<()>,
    /// Where states share it: how it answers to another version, the first that one asked for.
    alignment: OnceLock<(Arc<Definitions>, Arc<Alignment>)>,
}

impl Compiled {
    /// A version of which nothing is read yet.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn new(name: Vec<u8>, text: Vec<u8>, dump: Vec<u8>) -> Result<Compiled> {
        Ok(Compiled {
            name,
            text,
            dump: mem::counted(dump)?,
            is_shared: false,
            chunk: OnceLock::new(),
            counts_lines: OnceLock::new(),
            has_attribute: OnceLock::new(),
            functions: None,
            pieces: Vec::new(),
            definitions: OnceLock::new(),
            is_other: OnceLock::new(),
            alignment: OnceLock::new(),
        })
    }

    /// About how much memory it takes with all that may be read of it.
    pub fn size(&self) -> usize {
        self.name.len() + self.text.len() + self.dump.len().saturating_mul(8)
    }

    /// It follows another version, from which it differs in the text of one function (`edited`) at
    /// the most, or in more: what is known of that one is known of it as well, if it has the same
    /// code but for constants and lines.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn follow(
        &self,
        former: &Compiled,
        edited: Option<&EditedChild>,
        secret: &Secret,
    ) -> Result<()> {
        if edited.is_some() {
            self.has_attribute.get_or_init(|| false);
            self.counts_lines.get_or_init(|| true);
        }
        let Some(Some(chunk)) = former.chunk.get() else {
            return Ok(());
        };
        if let Some(edited) = edited {
            if let Some(chunk) = chunk.edited(&self.dump, edited, secret)? {
                let chunk = mem::counted(chunk)?;
                self.chunk.get_or_init(|| Some(chunk));
            }
            return Ok(());
        }
        let Some(Some(definitions)) = former.definitions.get() else {
            return Ok(());
        };
        match Definitions::of_same_code(definitions, Some(chunk), &self.dump)? {
            Some((definitions, chunk)) => {
                let definitions = shared(definitions.of_dump(self.dump.clone()))?;
                self.definitions.get_or_init(|| Some(definitions));
                if let Some(chunk) = chunk {
                    let chunk = mem::counted(chunk.of_dump(self.dump.clone()))?;
                    self.chunk.get_or_init(|| Some(chunk));
                }
            }
            None => {
                self.is_other.get_or_init(|| ());
            }
        }
        Ok(())
    }

    /// What is known of its code; none where the dump is not exactly that of Lua 5.4.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn chunk(&self, secret: &Secret) -> Result<Option<Arc<Chunk>>> {
        if let Some(known) = self.chunk.get() {
            return Ok(known.clone());
        }
        let made = Chunk::read(self.dump.clone(), secret)?;
        let made = made.map(mem::counted).transpose()?;
        Ok(self.chunk.get_or_init(|| made).clone())
    }

    /// Are line feeds all that ends its lines?
    pub fn counts_lines(&self) -> bool {
        *self.counts_lines.get_or_init(|| counts_lines(&self.text))
    }

    /// Its main function; none where the dump is not exactly that of Lua 5.4.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn main(&self) -> Result<Option<Main<'_>>> {
        let about = AboutMain {
            definitions: self.definitions.get().and_then(Option::as_deref),
            has_attribute: Some(&self.has_attribute),
            pieces: &self.pieces,
        };
        Main::of(&self.dump, about)
    }

    /// Its definitions; none where the dump is not exactly that of Lua 5.4. Those of another
    /// version (`base`) spare work.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn definitions(
        &self,
        secret: &Secret,
        base: Option<&Definitions>,
    ) -> Result<Option<Arc<Definitions>>> {
        if let Some(known) = self.definitions.get() {
            return Ok(known.clone());
        }
        let made = match self.is_other.get() {
            None => Definitions::read(self.dump.clone(), secret, base)?,
            Some(()) => Definitions::read_other(self.dump.clone().into(), secret, base)?,
        };
        let made = made.map(shared).transpose()?;
        Ok(self.definitions.get_or_init(|| made).clone())
    }

    /// How the definitions of `base` and those of this version answer to each other, where nothing
    /// was renamed.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn alignment(
        &self,
        base: &Arc<Definitions>,
        incoming: &Definitions,
    ) -> Result<Arc<Alignment>> {
        if let Some((of, known)) = self.alignment.get()
            && Arc::ptr_eq(of, base)
        {
            return Ok(known.clone());
        }
        let made = mem::counted(align(base, incoming, &[], &StandingDefinitions::default())?)?;
        if self.is_shared {
            self.alignment.get_or_init(|| (base.clone(), made.clone()));
        }
        Ok(made)
    }
}

/// Definitions that other versions may have in part.
fn shared(mut definitions: Definitions) -> Result<Arc<Definitions>> {
    definitions.share()?;
    mem::counted(definitions)
}
