//! Reads the pieces of a dump of Lua 5.4: the header, sizes, strings. Strict, and never past the end.

/// Why reading ends early.
pub(super) enum Stop {
    /// Not exactly a dump of Lua 5.4.
    Format,
    Memory,
}

impl From<crate::error::Error> for Stop {
    fn from(_: crate::error::Error) -> Self {
        Stop::Memory
    }
}

pub(super) type Read<T> = std::result::Result<T, Stop>;

/// What is left of a dump.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    /// The length of the whole dump.
    pub(super) length: usize,
    /// Hashes of names that were noted already: functions name the same things again and again.
    recent: [u64; RECENT],
}

const RECENT: usize = 256;

/// A little-endian word.
#[inline]
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

impl<'a> Reader<'a> {
    /// Checks the header: version, format, sizes, integer and float samples.
    pub(super) fn of(dump: &'a [u8]) -> Option<Reader<'a>> {
        let rest = dump
            .strip_prefix(b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08")?
            .strip_prefix(&0x5678_i64.to_ne_bytes())?
            .strip_prefix(&370.5_f64.to_ne_bytes())?;
        let (_upvalues, rest) = rest.split_first()?;
        cfg!(target_endian = "little").then_some(Reader {
            rest,
            length: dump.len(),
            recent: [0; RECENT],
        })
    }

    /// Reads on at this place of a dump whose header was checked.
    pub(super) fn at(dump: &'a [u8], start: usize) -> Option<Reader<'a>> {
        Some(Reader {
            rest: dump.get(start..)?,
            length: dump.len(),
            recent: [0; RECENT],
        })
    }

    /// Where in the dump it is.
    pub(super) fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// Was this hash seen a short while ago?
    pub(super) fn is_recent(&mut self, hash: u64) -> bool {
        self.recent
            .get_mut(hash as usize % RECENT)
            .is_some_and(|slot| std::mem::replace(slot, hash) == hash)
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Stop::Format)?;
        self.rest = rest;
        Ok(head)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(Stop::Format)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// A size, as Lua writes it: seven bits a byte, the last one marked. Nearly always it is one byte.
    #[inline]
    pub(super) fn size(&mut self) -> Read<usize> {
        let byte = self.byte()?;
        let first = usize::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            Ok(first)
        } else {
            self.longer_size(first)
        }
    }

    #[inline(never)]
    fn longer_size(&mut self, mut n: usize) -> Read<usize> {
        loop {
            let byte = self.byte()?;
            if n >> 56 != 0 {
                return Err(Stop::Format);
            }
            n = n << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                return Ok(n);
            }
        }
    }

    /// An `int`, written as a size.
    pub(super) fn int(&mut self) -> Read<i32> {
        i32::try_from(self.size()?).map_err(|_| Stop::Format)
    }

    /// The number of things that follow; no more than there are bytes.
    pub(super) fn count(&mut self) -> Read<usize> {
        let n = self.size()?;
        if n > self.rest.len() { Err(Stop::Format) } else { Ok(n) }
    }

    /// A string; none for a null one.
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
        let start = u32::try_from(self.position() - text.len()).map_err(|_| Stop::Format)?;
        Ok(Some((start, text.len() as u32)))
    }

    /// Passes by the constants of a function.
    pub(super) fn skip_constants(&mut self) -> Read<()> {
        for _ in 0..self.count()? {
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
    pub(super) fn code(&mut self) -> Read<&'a [u8]> {
        let n = self.count()?;
        self.take(n.checked_mul(4).ok_or(Stop::Format)?)
    }
}
