//! Compiling a module's text, where possible only the one function that was edited since the text
//! was compiled last.

#[cfg(test)]
mod tests;

use std::ffi::CStr;

use super::{DebugInfo, Ref, Vm};
use crate::code::splice::{Edit, Main};
use crate::code::stubs::Stubs;
use crate::code::text::Difference;
use crate::lua::given::GivenText;
use crate::support::error::{Error, Result};
use crate::support::fault;

/// A text that was loaded in this state, and the main function that Lua's compiler has made of it.
pub struct KeptText {
    /// The text.
    pub text: Vec<u8>,
    /// The main function.
    pub main: Ref,
}

/// A main function that was loaded.
pub struct LoadedMain {
    /// It.
    pub main: Ref,
    /// Its dump, with all debug information, where that is at hand.
    pub dump: Option<Vec<u8>>,
}

/// The dump of a text of which not all was compiled.
struct Spliced {
    dump: Vec<u8>,
    /// Each byte is what the compiler makes of the whole text. Else the main function's constants
    /// may have other numbers.
    #[cfg_attr(not(test), allow(dead_code))]
    is_exact: bool,
}

impl LoadedMain {
    /// A main function of which nothing else is at hand.
    pub fn of(main: Ref) -> LoadedMain {
        LoadedMain { main, dump: None }
    }
}

impl Vm {
    /// Compiles what the program gave, text or binary, and keeps the main function. What is known
    /// of an older text spares work: the function is the same, and so are the errors.
    ///
    /// # Errors
    /// As [`Vm::load`].
    pub(super) fn compile_text(
        &mut self,
        code: &GivenText,
        chunk_name: &CStr,
        last: Option<KeptText>,
    ) -> Result<LoadedMain> {
        if let Some(last) = last
            && let Some(Spliced { dump, .. }) = self.spliced(code, chunk_name, &last)?
        {
            // SAFETY: all functions in it were dumped by this Lua, whole, and made of text. Each
            // captures what the compiler said that it captures, from a main function of which the
            // same locals stand in the same registers.
            match unsafe { self.load_binary(&dump, chunk_name) } {
                Ok(main) => {
                    return Ok(LoadedMain {
                        main,
                        dump: Some(dump),
                    });
                }
                Err(Error::Memory) => return Err(Error::Memory),
                Err(_) => {} // (a Lua that loads no binary code)
            }
        }
        self.load(code, chunk_name).map(LoadedMain::of)
    }

    /// The dump of a text that has much in common with an older one; none where it has not, or does
    /// not compile.
    fn spliced(
        &mut self,
        code: &GivenText,
        chunk_name: &CStr,
        last: &KeptText,
    ) -> Result<Option<Spliced>> {
        let exact = |dump| Spliced {
            dump,
            is_exact: true,
        };
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
            return Ok(Some(exact(dump)));
        }
        let Some(old) = Main::of(&dump)? else {
            return Ok(None);
        };
        fault::point()?;
        if let Some(edit) = Edit::find(&difference, texts, &old)? {
            let [before, after] = &edit.pieces;
            let (Some(before), Some(after)) = (
                self.dump_of(before, chunk_name)?,
                self.dump_of(after, chunk_name)?,
            ) else {
                return Ok(None);
            };
            if let Some(spliced) = edit.splice([&before, &after])? {
                return Ok(Some(exact(spliced)));
            }
        }
        let Some(stubs) = Stubs::of(&difference, texts, &old)? else {
            return Ok(None);
        };
        let Some(dump) = self.dump_of(&stubs.text, chunk_name)? else {
            return Ok(None);
        };
        Ok(stubs.filled(&dump)?.map(|dump| Spliced {
            dump,
            is_exact: false,
        }))
    }

    /// The dump of what the compiler makes of a text; none where the text does not compile. (The
    /// whole text has the compiler's own message.)
    fn dump_of(&mut self, text: &[u8], chunk_name: &CStr) -> Result<Option<Vec<u8>>> {
        fault::point()?;
        let mark = self.held();
        match self.load_text(text, chunk_name) {
            Ok(main) => self.dump(main, DebugInfo::Keep)?,
            Err(Error::Memory) => return Err(Error::Memory),
            Err(_) => return Ok(None),
        };
        self.release(mark);
        Ok(Some(self.take_dump()))
    }
}
