//! From a text to its function and what is known of it: by Lua's compiler, or from another state of
//! the process that has loaded the same ([`shared`]).

use std::ffi::CStr;
use std::sync::Arc;

use super::{DebugInfo, KeptText, LoadedMain, Ref, Vm};
use crate::code::Chunk;
use crate::code::compiled::Compiled;
use crate::code::definitions::Definitions;
use crate::lua::given::GivenText;
use crate::lua::shared::{self, FileKey};
use crate::support::error::Result;
use crate::support::mem::{self, copied};

/// What begins every binary chunk.
const BINARY: u8 = 0x1b;

impl Vm {
    /// The main function of what the program gave, under this chunk name, and what other states
    /// share of it; none where nobody does. What is known of an older text (`last`) spares work.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`], or [`crate::support::error::Error::Lua`] with the
    /// compiler's message.
    pub fn compile(
        &mut self,
        code: &GivenText,
        name: &CStr,
        last: Option<KeptText>,
    ) -> Result<(LoadedMain, Option<Arc<Compiled>>)> {
        if !self.shares || code.bytes().first() == Some(&BINARY) {
            return Ok((self.compile_text(code, name, last)?, None));
        }
        let digest = self.text_digest(name.to_bytes(), code.bytes());
        let known = shared::file(|key| key.text == Some(digest))
            .filter(|compiled| compiled.text == code.bytes() && compiled.name == name.to_bytes());
        if let Some(compiled) = known {
            // SAFETY: a dump of this very Lua's, of a function that its compiler made.
            let main = unsafe { self.load_binary(&compiled.dump, name)? };
            return Ok((LoadedMain::of(main), Some(compiled)));
        }
        let mut made = self.compile_text(code, name, last)?;
        if !shared::has_others() {
            return Ok((made, None));
        }
        let dump = match made.dump.take() {
            Some(dump) => dump,
            None => {
                self.reserve_dump(code.bytes().len())?;
                self.dump(made.main, DebugInfo::Keep)?;
                self.take_dump()
            }
        };
        let dump = mem::counted(dump)?;
        let chunk = Chunk::read(dump.clone(), &self.secret)?;
        let chunk = chunk.map(mem::counted).transpose()?;
        let (name, text) = (copied(name.to_bytes())?, copied(code.bytes())?);
        let compiled = mem::counted(Compiled::new(name, text, dump, chunk))?;
        self.share(Some(digest), &compiled);
        Ok((made, Some(compiled)))
    }

    /// The definitions of a main function, of which this may be known, and the version that has
    /// them if it is shared; none where its dump is not exactly that of Lua 5.4.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn definitions(
        &mut self,
        main: Ref,
        known: Option<&Compiled>,
    ) -> Result<Option<Arc<Definitions>>> {
        if let Some(compiled) = known {
            return compiled.definitions(&self.secret);
        }
        self.dump(main, DebugInfo::Keep)?;
        let dump = self.take_dump();
        if !self.shares {
            let made = Definitions::read(dump, &self.secret)?;
            return made.map(mem::counted).transpose();
        }
        let digest = self.secret.digest(&dump);
        let shared =
            shared::file(|key| key.dump == digest).filter(|compiled| *compiled.dump == dump);
        if let Some(compiled) = shared {
            return compiled.definitions(&self.secret);
        }
        if !shared::has_others() {
            let made = Definitions::read(dump, &self.secret)?;
            return made.map(mem::counted).transpose();
        }
        let name = self.source(main)?.unwrap_or_default();
        let dump = mem::counted(dump)?;
        let compiled = mem::counted(Compiled::new(name, Vec::new(), dump, None))?;
        self.share(None, &compiled);
        compiled.definitions(&self.secret)
    }

    fn share(&self, text: Option<u64>, compiled: &Arc<Compiled>) {
        let dump = self.secret.digest(&compiled.dump);
        shared::keep_file(FileKey { text, dump }, compiled);
    }

    fn text_digest(&self, name: &[u8], text: &[u8]) -> u64 {
        let mut hasher = self.secret.hasher();
        hasher.write_u64(name.len() as u64);
        hasher.write(name);
        hasher.write(text);
        hasher.finish()
    }
}
