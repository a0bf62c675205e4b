//! Compiling a module's text, where possible only the functions that were edited since the text
//! was compiled last.

#[cfg(test)]
mod tests;

use std::ffi::CStr;

use super::{DebugInfo, Ref, Version, Vm};
use crate::code::EditedChild;
use crate::code::compiled::Compiled;
use crate::code::pieces::Pieces;
use crate::code::splice::Piece;
use crate::code::stubs::Stubs;
use crate::code::text::{Difference, Outermost};
use crate::lua::given::GivenText;
use crate::support::error::{Error, Result};
use crate::support::fault;
use crate::support::mem::TryPush;

/// The dump of a text of which not all was compiled.
pub(super) struct Spliced {
    pub(super) dump: Vec<u8>,
    /// The outermost functions of the text, if it was read for them.
    pub(super) functions: Option<Vec<Outermost>>,
    /// Where only one function differs from the older version, that one.
    pub(super) edited: Option<EditedChild>,
    /// The functions that were compiled in pieces, in their order.
    pub(super) pieces: Vec<Piece>,
    /// Each byte is what the compiler makes of the whole text. Else the main function's constants
    /// may have other numbers.
    #[cfg_attr(not(test), allow(dead_code))]
    is_exact: bool,
}

impl Spliced {
    /// What the compiler makes of the whole text, without anything else that is known.
    fn exact(dump: Vec<u8>) -> Spliced {
        Spliced {
            dump,
            functions: None,
            edited: None,
            pieces: Vec::new(),
            is_exact: true,
        }
    }
}

impl Vm {
    /// Compiles what the program gave, text or binary, and keeps the main function; with its dump,
    /// all debug information in it, where that is at hand. An older version spares work: the
    /// function is the same, and so are the errors.
    ///
    /// # Errors
    /// As [`Vm::load`].
    pub(super) fn compile_text(
        &mut self,
        code: &GivenText,
        chunk_name: &CStr,
        last: Option<&Version>,
    ) -> Result<(Ref, Option<Spliced>)> {
        if let Some(last) = last
            && let Some(spliced) = self.spliced(code, chunk_name, &last.compiled)?
        {
            // SAFETY: all functions in it were dumped by this Lua, whole, and made of text. Each
            // captures what the compiler said that it captures, from a main function of which the
            // same locals stand in the same registers.
            match unsafe { self.load_binary(&spliced.dump, chunk_name) } {
                Ok(main) => return Ok((main, Some(spliced))),
                Err(Error::Memory) => return Err(Error::Memory),
                Err(_) => {} // (a Lua that loads no binary code)
            }
        }
        Ok((self.load(code, chunk_name)?, None))
    }

    /// The dump of a text that has much in common with an older one; none where it has not, or does
    /// not compile.
    fn spliced(
        &mut self,
        code: &GivenText,
        chunk_name: &CStr,
        last: &Compiled,
    ) -> Result<Option<Spliced>> {
        if last.text.is_empty() || last.name != chunk_name.to_bytes() {
            return Ok(None);
        }
        let texts = [&last.text[..], code.bytes()];
        let counts_lines = || last.counts_lines();
        let Some(difference) = Difference::of(texts[0], texts[1], counts_lines) else {
            return Ok(None);
        };
        let Some(old) = last.main()? else {
            return Ok(None);
        };
        fault::point()?;
        if let Some(pieces) = Pieces::of(&difference, texts, &old)? {
            let mut dumps = Vec::new();
            for piece in &pieces.texts {
                let Some(dump) = self.dump_of(piece, chunk_name)? else {
                    return Ok(None);
                };
                dumps.try_push(dump)?;
            }
            if let Some(dump) = pieces.filled(&dumps)? {
                return Ok(Some(Spliced {
                    edited: pieces.edited(&dump),
                    pieces: pieces.into_known(),
                    ..Spliced::exact(dump)
                }));
            }
        }
        let known = last.functions.as_deref();
        let Some(stubs) = Stubs::of(&difference, texts, &old, known)? else {
            return Ok(None);
        };
        let Some(dump) = self.dump_of(&stubs.text, chunk_name)? else {
            return Ok(None);
        };
        Ok(stubs.filled(&dump)?.map(|dump| Spliced {
            functions: Some(stubs.functions),
            is_exact: false,
            ..Spliced::exact(dump)
        }))
    }

    /// The dump of what the compiler makes of a text; none where the text does not compile. (The
    /// whole text has the compiler's own message.)
    fn dump_of(&mut self, text: &[u8], chunk_name: &CStr) -> Result<Option<Vec<u8>>> {
        fault::point()?;
        let mark = self.held();
        match self.load_text(text, chunk_name) {
            Ok(main) => {
                self.reserve_dump(2 * text.len())?;
                self.dump(main, DebugInfo::Keep)?
            }
            Err(Error::Memory) => return Err(Error::Memory),
            Err(_) => return Ok(None),
        };
        self.release(mark);
        Ok(Some(self.take_dump()))
    }
}
