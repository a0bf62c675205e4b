//! Compiling a module's text, where possible only the one function that was edited since the text
//! was compiled last.

#[cfg(test)]
mod tests;

use std::ffi::CStr;

use super::{DebugInfo, Ref, Vm};
use crate::code::splice::{Difference, Edit};
use crate::lua::given::Given;
use crate::support::error::{Error, Result};

/// A text, and the main function that Lua's compiler has made of it.
pub struct Compiled {
    /// The text.
    pub text: Vec<u8>,
    /// The main function.
    pub main: Ref,
}

/// A main function that was loaded.
pub struct Made {
    /// It.
    pub main: Ref,
    /// Its dump, with all debug information, where that is at hand.
    pub dump: Option<Vec<u8>>,
}

impl Made {
    /// A main function of which nothing else is at hand.
    pub fn of(main: Ref) -> Made {
        Made { main, dump: None }
    }
}

impl Vm {
    /// Compiles what the program gave, text or binary, and keeps the main function. What is known
    /// of an older text spares work: the function is the same, and so are the errors.
    ///
    /// # Errors
    /// As [`Vm::load`].
    pub fn compile(
        &mut self,
        code: &Given,
        chunk_name: &CStr,
        last: Option<Compiled>,
    ) -> Result<Made> {
        if let Some(last) = last
            && let Some(dump) = self.spliced(code, chunk_name, &last)?
        {
            // SAFETY: all functions in it were dumped by this Lua, whole, and made of text. Each
            // captures what the compiler said that it captures, from a main function of which the
            // same locals stand in the same registers.
            match unsafe { self.load_binary(&dump, chunk_name) } {
                Ok(main) => {
                    return Ok(Made {
                        main,
                        dump: Some(dump),
                    });
                }
                Err(Error::Memory) => return Err(Error::Memory),
                Err(_) => {} // (a Lua that loads no binary code)
            }
        }
        self.load(code, chunk_name).map(Made::of)
    }

    /// The dump of a text that differs from an older one in one function, or in nothing; none
    /// where it differs in more, or does not compile.
    fn spliced(
        &mut self,
        code: &Given,
        chunk_name: &CStr,
        last: &Compiled,
    ) -> Result<Option<Vec<u8>>> {
        let texts = [&last.text[..], code.bytes()];
        let Some(difference) = Difference::of(texts[0], texts[1]) else {
            return Ok(None);
        };
        let same_name = |name: &[u8]| name == chunk_name.to_bytes();
        if self.with_source(last.main, same_name) != Some(true) {
            return Ok(None);
        }
        self.dump(last.main, DebugInfo::Keep)?;
        let dump = self.take_dump();
        if difference.is_none() {
            return Ok(Some(dump));
        }
        let Some(edit) = Edit::find(&difference, texts, &dump)? else {
            return Ok(None);
        };
        let mut dumps = [Vec::new(), Vec::new()];
        for (piece, dump) in edit.pieces.iter().zip(&mut dumps) {
            let mark = self.held();
            match self.load_text(piece, chunk_name) {
                Ok(main) => self.dump(main, DebugInfo::Keep)?,
                Err(Error::Memory) => return Err(Error::Memory),
                Err(_) => return Ok(None), // the whole text has the compiler's own message
            };
            *dump = self.take_dump();
            self.release(mark);
        }
        edit.splice(dumps.each_ref().map(Vec::as_slice))
    }
}
