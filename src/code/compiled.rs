//! A version of a file, compiled: what depends on its text and its chunk name alone. It is kept for
//! the next version, and all states that load the same have one.

use std::sync::{Arc, OnceLock};

use super::Chunk;
use super::align::{Alignment, align};
use super::definitions::Definitions;
use super::splice::Main;
use super::text::Outermost;
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
    /// What is known of it, where states share it.
    pub chunk: Option<Arc<Chunk>>,
    /// The outermost functions of the text, if it was read for them.
    pub functions: Option<Vec<Outermost>>,
    definitions: OnceLock<Option<Arc<Definitions>>>,
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
            chunk: None,
            functions: None,
            definitions: OnceLock::new(),
            alignment: OnceLock::new(),
        })
    }

    /// About how much memory it takes with all that may be read of it.
    pub fn size(&self) -> usize {
        self.name.len() + self.text.len() + self.dump.len().saturating_mul(8)
    }

    /// Its main function; none where the dump is not exactly that of Lua 5.4.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn main(&self) -> Result<Option<Main<'_>>> {
        let known = self.definitions.get().and_then(Option::as_deref);
        Main::of(&self.dump, known)
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
        let made = Definitions::read(self.dump.clone(), secret, base)?;
        let made = made.map(|mut made| {
            made.share()?;
            mem::counted(made)
        });
        let made = made.transpose()?;
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
        let made = mem::counted(align(base, incoming, &[])?)?;
        if self.chunk.is_some() {
            self.alignment.get_or_init(|| (base.clone(), made.clone()));
        }
        Ok(made)
    }
}
