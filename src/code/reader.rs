//! Reads the pieces of a dump of Lua 5.4: the header, sizes, strings. Strict, and never past the
//! end.

use crate::support::error::{Error, Result};
use crate::support::mem::TryPush;

/// Why reading ends early.
pub(super) enum Stop {
    /// Not exactly a dump of Lua 5.4.
    Format,
    Memory,
}

impl From<Error> for Stop {
    fn from(_: Error) -> Self {
        Stop::Memory
    }
}

pub(super) type Read<T> = std::result::Result<T, Stop>;

/// Nothing where a reader stops, unless it is for want of memory.
pub(super) fn known<T>(read: Read<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Format) => Ok(None),
        Err(Stop::Memory) => Err(Error::Memory),
    }
}

/// A place in a dump. It is small, and its methods are inlined, so that a copy of it stands in
/// registers.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    dump: &'a [u8],
    /// How many bytes were read; no more than there are.
    at: usize,
}

/// Of the lines of a function, one that stands in a list of its own.
pub(super) const ABSOLUTE: i8 = i8::MIN;

/// The lines of a function's instructions, of which the first is behind this one: the steps from
/// one to the next, and those (each with its instruction) that stand there in full.
pub(super) fn line_of_each(first: i32, deltas: &[u8], absolute: &[(i32, i32)]) -> Read<Vec<i32>> {
    let (mut absolute, mut line, mut lines) = (absolute.iter(), first, Vec::new());
    for delta in deltas {
        line = match *delta as i8 {
            ABSOLUTE => absolute.next().ok_or(Stop::Format)?.1,
            delta => line.checked_add(delta.into()).ok_or(Stop::Format)?,
        };
        lines.try_push(line)?;
    }
    Ok(lines)
}

/// A little-endian word.
#[inline]
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

impl<'a> Reader<'a> {
    /// Checks the header: version, format, sizes, integer and float samples. What stands in a dump
    /// is numbered with 32 bits.
    pub(super) fn of(dump: &'a [u8]) -> Option<Reader<'a>> {
        let (_upvalues, rest) = dump
            .strip_prefix(b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08")?
            .strip_prefix(&0x5678_i64.to_ne_bytes())?
            .strip_prefix(&370.5_f64.to_ne_bytes())?
            .split_first()?;
        let is_known = cfg!(target_endian = "little") && u32::try_from(dump.len()).is_ok();
        is_known.then_some(Reader {
            dump,
            at: dump.len() - rest.len(),
        })
    }

    /// Reads on at this place of a dump whose header was checked.
    pub(super) fn at(dump: &'a [u8], at: usize) -> Option<Reader<'a>> {
        (at <= dump.len()).then_some(Reader { dump, at })
    }

    /// Where in the dump it is.
    #[inline(always)]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes on at a place behind this one, up to which a copy has read.
    #[inline(always)]
    pub(super) fn go_to(&mut self, position: usize) {
        self.at = position.min(self.dump.len());
    }

    /// What was read since it was at this place.
    #[inline(always)]
    pub(super) fn since(&self, position: usize) -> &'a [u8] {
        self.dump.get(position..self.at).unwrap_or_default()
    }

    /// The next `n` bytes.
    #[inline(always)]
    pub(super) fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or(Stop::Format)?;
        let bytes = self.dump.get(self.at..end).ok_or(Stop::Format)?;
        self.at = end;
        Ok(bytes)
    }

    /// One byte.
    #[inline(always)]
    pub(super) fn byte(&mut self) -> Read<u8> {
        let byte = self.dump.get(self.at).ok_or(Stop::Format)?;
        self.at += 1;
        Ok(*byte)
    }

    /// A size, as Lua writes it: seven bits a byte, the last one marked. Nearly always it is one
    /// byte, or two.
    #[inline(always)]
    pub(super) fn size(&mut self) -> Read<usize> {
        let first = self.byte()?;
        if first & 0x80 != 0 {
            return Ok(usize::from(first & 0x7f));
        }
        let second = self.byte()?;
        let n = usize::from(first) << 7 | usize::from(second & 0x7f);
        if second & 0x80 != 0 {
            return Ok(n);
        }
        let (n, at) = longer_size(n, *self)?;
        self.at = at;
        Ok(n)
    }

    /// An `int`, written as a size.
    #[inline(always)]
    pub(super) fn int(&mut self) -> Read<i32> {
        i32::try_from(self.size()?).map_err(|_| Stop::Format)
    }

    /// The lines of the instructions of a function that begins on this line; nothing where the dump
    /// has none.
    pub(super) fn instruction_lines(&mut self, first: i32) -> Read<Vec<i32>> {
        let count = self.count()?;
        let deltas = self.take(count)?;
        let mut absolute = Vec::new();
        for _ in 0..self.count()? {
            absolute.try_push((self.int()?, self.int()?))?;
        }
        line_of_each(first, deltas, &absolute)
    }

    /// Passes by so many `int`s, whatever they are: the last byte of each is marked.
    #[inline(always)]
    pub(super) fn skip_ints(&mut self, count: usize) -> Read<()> {
        let mut left = count;
        while left > 0 {
            left -= usize::from(self.byte()? >> 7);
        }
        Ok(())
    }

    /// The number of things that follow; no more than there are bytes.
    #[inline(always)]
    pub(super) fn count(&mut self) -> Read<usize> {
        let n = self.size()?;
        if n > self.dump.len() - self.at {
            Err(Stop::Format)
        } else {
            Ok(n)
        }
    }

    /// A string; none for a null one.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Read<Option<&'a [u8]>> {
        match self.size()? {
            0 => Ok(None),
            n => self.take(n - 1).map(Some),
        }
    }

    /// Where a string stands in the dump, and its length; none for a null one.
    pub(super) fn span(&mut self) -> Read<Option<(u32, u32)>> {
        let Some(text) = self.string()? else {
            return Ok(None);
        };
        Ok(Some((
            (self.position() - text.len()) as u32,
            text.len() as u32,
        )))
    }

    /// Passes by so many constants of a function.
    pub(super) fn skip_constants(&mut self, count: usize) -> Read<()> {
        for _ in 0..count {
            match self.byte()? {
                0x00 | 0x01 | 0x11 => {}
                0x03 | 0x13 => {
                    self.take(8)?;
                }
                0x04 | 0x14 => {
                    self.string()?;
                }
                _ => return Err(Stop::Format),
            }
        }
        Ok(())
    }

    /// The instructions of a function.
    #[inline(always)]
    pub(super) fn code(&mut self) -> Read<&'a [u8]> {
        let n = self.size()?;
        self.take(n.checked_mul(4).ok_or(Stop::Format)?)
    }

    /// The instructions of the function that the dump is of, from its beginning.
    pub(super) fn main_code(&mut self) -> Read<&'a [u8]> {
        self.string()?;
        self.int()?;
        self.int()?;
        self.take(3)?;
        self.code()
    }

    /// The descriptions of a function's upvalues, three bytes each; no more than Lua allows.
    #[inline(always)]
    pub(super) fn upvalues(&mut self) -> Read<&'a [u8]> {
        let n = u8::try_from(self.size()?).map_err(|_| Stop::Format)?;
        self.take(usize::from(n) * 3)
    }
}

/// A size of more than two bytes, and where the reader is then.
#[inline(never)]
fn longer_size(mut n: usize, mut reader: Reader<'_>) -> Read<(usize, usize)> {
    loop {
        let byte = reader.byte()?;
        if n >> 56 != 0 {
            return Err(Stop::Format);
        }
        n = n << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            return Ok((n, reader.at));
        }
    }
}
