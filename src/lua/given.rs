//! The code of a module, text or binary, as the program gave it.
//!
//! Lua runs a binary chunk as it stands, and one that no Lua has written can break the process. So
//! the type says where code comes from: a [`GivenText`] is made of a file that `require` would load
//! as well, or of a string of the program's, which could call `load` with it.

use std::fs::File;
use std::io::{self, Read};

use super::vm::{Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::copied;

/// What a file or a string of the program's says.
#[derive(Debug, Default)]
pub struct GivenText(Vec<u8>);

impl GivenText {
    /// What is left to read in a file, which has about `length` bytes.
    ///
    /// # Errors
    /// What reading gives; [`io::ErrorKind::OutOfMemory`].
    pub fn read(file: &mut File, length: u64) -> io::Result<GivenText> {
        let mut bytes = Vec::new();
        bytes.try_reserve(
            usize::try_from(length)
                .unwrap_or(usize::MAX)
                .saturating_add(1),
        )?;
        file.read_to_end(&mut bytes)?;
        Ok(GivenText(bytes))
    }

    /// A string of the program's; none for another value.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn string(vm: &Vm, value: Ref) -> Result<Option<GivenText>> {
        Ok(vm.bytes(value)?.map(GivenText))
    }

    /// What a test gives.
    #[cfg(test)]
    pub fn of_test(bytes: &[u8]) -> GivenText {
        GivenText(bytes.to_vec())
    }

    /// A copy.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn copy(&self) -> Result<GivenText> {
        copied(&self.0).map(GivenText)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// It is no binary chunk.
    pub fn is_text(&self) -> bool {
        self.0.first() != Some(&b'\x1b')
    }

    /// Its bytes, where it is text; none where it is binary, which no compiler has made here.
    pub fn into_text(self) -> Option<Vec<u8>> {
        self.is_text().then_some(self.0)
    }

    /// Without a UTF-8 byte order mark and a first line that begins with `#`, which Lua's own
    /// loader leaves out; the line break stays, so that lines keep their numbers.
    pub fn without_first_line(mut self) -> GivenText {
        let text = &mut self.0;
        let mut start = if text.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        if text.get(start) == Some(&b'#') {
            let line = text.iter().skip(start).position(|byte| *byte == b'\n');
            start = line.map_or(text.len(), |length| start + length);
            if text.get(start + 1) == Some(&b'\x1b') {
                start += 1;
            }
        }
        text.drain(..start);
        self
    }
}
