//! From a text to its function and what is known of it: by Lua's compiler, or from another state of
//! the process that has loaded the same ([`shared`]).

use std::ffi::CStr;
use std::sync::Arc;

use mlua::ffi;

use super::{DebugInfo, Ref, Vm};
use crate::code::compiled::Compiled;
use crate::lua::given::GivenText;
use crate::lua::shared::{self, FileKey};
use crate::support::error::{Error, Result};
use crate::support::mem::{self, copied};

/// A version of a file that was loaded in this state.
pub struct Version {
    /// Its main function.
    pub main: Ref,
    /// What depends on its text alone.
    pub compiled: Arc<Compiled>,
}

impl Vm {
    /// The main function of what the program gave, under this chunk name, and what is known of it.
    /// An older version (`last`) spares work.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`], or [`crate::support::error::Error::Lua`] with the
    /// compiler's message.
    pub fn compile(
        &mut self,
        code: GivenText,
        chunk_name: &CStr,
        last: Option<&Version>,
    ) -> Result<Version> {
        let name = chunk_name.to_bytes();
        let is_it = |compiled: &Compiled| {
            code.is_text() && compiled.text == code.bytes() && compiled.name == name
        };
        let has_others = self.shares && shared::has_others();
        let digest = match has_others && code.is_text() {
            true => Some(self.text_digest(name, code.bytes())),
            false => None,
        };
        let known = match last.map(|last| &last.compiled).filter(|last| is_it(last)) {
            Some(last) => Some(last.clone()),
            None if digest.is_some() => {
                shared::file(|key| key.text == digest).filter(|compiled| is_it(compiled))
            }
            None => None,
        };
        if let Some(compiled) = known {
            // SAFETY: a dump of this very Lua's, of a function that its compiler made.
            match unsafe { self.load_binary(&compiled.dump, chunk_name) } {
                Ok(main) => return Ok(Version { main, compiled }),
                Err(Error::Memory) => return Err(Error::Memory),
                Err(_) => {} // (a Lua that loads no binary code)
            }
        }
        let (main, spliced) = self.compile_text(&code, chunk_name, last)?;
        let compiled = |dump, text| Compiled::new(copied(name)?, text, dump);
        let mut edited = None;
        let mut compiled = match spliced {
            Some(spliced) => {
                let text = code.into_text().unwrap_or_default();
                let mut compiled = compiled(spliced.dump, text)?;
                compiled.functions = spliced.functions;
                compiled.pieces = spliced.pieces;
                edited = spliced.edited;
                compiled
            }
            None => {
                self.reserve_dump(code.bytes().len())?;
                self.dump(main, DebugInfo::Keep)?;
                compiled(self.take_dump(), code.into_text().unwrap_or_default())?
            }
        };
        if let Some(last) = last {
            compiled.follow(&last.compiled, edited.as_ref(), &self.secret)?;
        }
        compiled.is_shared = digest.is_some() && compiled.chunk(&self.secret)?.is_some();
        let compiled = mem::counted(compiled)?;
        if compiled.is_shared {
            self.share(digest, &compiled);
        }
        Ok(Version { main, compiled })
    }

    /// The version whose main function this is.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn version_of(&mut self, main: Ref) -> Result<Version> {
        self.dump(main, DebugInfo::Keep)?;
        let dump = self.take_dump();
        if self.shares {
            let digest = self.secret.digest(&dump);
            let known =
                shared::file(|key| key.dump == digest).filter(|compiled| *compiled.dump == dump);
            if let Some(compiled) = known {
                return Ok(Version { main, compiled });
            }
        }
        let name = self.source(main)?.unwrap_or_default();
        let compiled = mem::counted(Compiled::new(name, Vec::new(), dump)?)?;
        if self.shares && shared::has_others() {
            self.share(None, &compiled);
        }
        Ok(Version { main, compiled })
    }

    /// Does a finalizer run, as when the state is being closed? The collector takes no orders then.
    pub fn is_in_finalizer(&self) -> bool {
        // SAFETY: a live thread of the state; the call asks for a number, and raises nothing.
        unsafe { ffi::lua_gc(self.scratch, ffi::LUA_GCCOUNT) < 0 }
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
