//! Reads a dumped chunk of Lua 5.4: the names its code can use (R2.1), which upvalues it assigns (R3.3), and whether two
//! functions are the same code (R10).
//!
//! Strict: a header or a byte that is not exactly as expected gives `None`, and the caller does without. It never reads
//! past the end, never recurses deeper than [`MAX_DEPTH`], and allocates no more than the dump is long.

pub mod constants;
pub mod cut;
mod lines;
pub mod outline;
#[cfg(feature = "vendored")]
pub mod probe;
mod reader;
#[cfg(test)]
mod tests;
pub mod tree;

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use smallvec::SmallVec;

use lines::ByLines;
use reader::{Read, Reader, Stop, word};

use crate::error::Result;
use crate::mem::{TryInsert, TryPush};

/// Lua's own parser nests no deeper.
const MAX_DEPTH: u32 = 220;

const OP_LOADI: u32 = 1;
const OP_LOADK: u32 = 3;
const OP_SETUPVAL: u32 = 10;
const OP_GETTABLE: u32 = 12;
const OP_GETI: u32 = 13;
const OP_SETTABLE: u32 = 16;
const OP_SETI: u32 = 17;
const OP_SETFIELD: u32 = 18;
const OP_SETTABUP: u32 = 15;
const OP_LAST: u32 = 82;
/// For each operation whether a reader of code looks at it; what is no operation at all is looked at, too.
#[expect(clippy::indexing_slicing, reason = "it is worked out when this compiles")]
const INTERESTING: [bool; 128] = {
    let mut interesting = [false; 128];
    let mut op = 0;
    while op < interesting.len() {
        interesting[op] = op as u32 > OP_LAST
            || matches!(
                op as u32,
                OP_LOADI | OP_LOADK | OP_SETUPVAL | OP_GETTABLE | OP_GETI | OP_SETTABLE | OP_SETI
            );
        op += 1;
    }
    interesting
};

/// A set of upvalue numbers, counted from 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UpvalueSet([u64; 4]);

impl UpvalueSet {
    /// Every number.
    pub const ALL: UpvalueSet = UpvalueSet([u64::MAX; 4]);

    fn add(&mut self, i: u8) {
        if let Some(word) = self.0.get_mut(usize::from(i / 64)) {
            *word |= 1 << (i % 64);
        }
    }

    /// Hands each number below `count` to `f`.
    #[inline]
    pub fn each(self, count: u8, mut f: impl FnMut(u8)) {
        if self.0 != [0; 4] {
            (0..count).filter(|i| self.has(*i)).for_each(&mut f);
        }
    }

    /// Is the upvalue with this number, counted from 0, among them?
    pub fn has(&self, i: u8) -> bool {
        self.0
            .get(usize::from(i / 64))
            .is_some_and(|word| word >> (i % 64) & 1 == 1)
    }
}

/// What a function's code amounts to, wherever it stands in its file.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Profile {
    /// A hash of code, constants and nested functions, without any line: [`DIGEST_BITS`] of it.
    pub digest: u32,
    /// The upvalues that it, or a function nested in it, assigns.
    pub assigned: UpvalueSet,
}

/// Two functions that differ pass for the same code once in four million times; only a report says so.
const DIGEST_BITS: u32 = 22;
/// How many upvalues' assignments a packed profile tells.
const PACKED_UPVALUES: u32 = 16;

impl Profile {
    /// The bits of a packed profile.
    pub const PACKED_BITS: u32 = DIGEST_BITS + PACKED_UPVALUES + 1;

    /// The profile in the low bits of a number; 0 when it does not fit.
    pub fn pack(self) -> u64 {
        let [low, rest @ ..] = self.assigned.0;
        if rest != [0; 3] || low >> PACKED_UPVALUES != 0 {
            return 0;
        }
        1 | low << 1 | u64::from(self.digest) << (PACKED_UPVALUES + 1)
    }

    /// The inverse of [`Profile::pack`].
    pub fn unpack(bits: u64) -> Option<Profile> {
        if bits & 1 == 0 {
            return None;
        }
        let assigned = UpvalueSet([bits >> 1 & ((1 << PACKED_UPVALUES) - 1), 0, 0, 0]);
        let digest = (bits >> (PACKED_UPVALUES + 1) & ((1 << DIGEST_BITS) - 1)) as u32;
        Some(Profile { digest, assigned })
    }
}

/// What is known of a chunk.
#[derive(Default)]
pub struct Chunk {
    /// The dump.
    dump: Vec<u8>,
    /// The strings that occur as constants, by their hash: start and length in the dump.
    names: FxHashMap<u64, (u32, u32)>,
    /// The integers that its code uses as keys.
    pub integers: FxHashSet<i64>,
    functions: ByLines,
    /// First and last line of each function of its main function that assigns one of that function's locals.
    pub setters: Vec<(i32, i32)>,
}

impl Chunk {
    /// Reads a whole chunk; none when the dump is not exactly that of Lua 5.4.
    pub fn read(dump: Vec<u8>) -> Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        chunk.functions.reserve(dump.len() / 256)?;
        chunk.names.try_reserve(dump.len() / 64)?;
        let read = Reader::of(&dump).map(|mut reader| reader.function(0, Some(&mut chunk)).map(|_| ()));
        match read {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(crate::error::Error::Memory),
            Some(Ok(())) => {
                chunk.functions.sort();
                chunk.dump = dump;
                Ok(Some(chunk))
            }
        }
    }

    /// The profile of the one function on these lines, which counts as met from now on.
    pub fn meet(&mut self, line: i32, last: i32) -> Option<Profile> {
        self.functions.meet((line, last))
    }

    /// Is there a function of the main function that assigns one of its locals, and that was not met?
    pub fn has_unmet_setter(&self) -> bool {
        !self.setters.iter().all(|lines| self.functions.is_met(*lines))
    }

    /// How many functions it has, nearly.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Does the string occur as a constant?
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.names
            .get(&hash(name))
            .is_some_and(|range| self.text(*range) == name)
    }

    /// Gives up the strings and integers, and the dump.
    pub fn forget_names(&mut self) {
        self.dump = Vec::new();
        self.names = FxHashMap::default();
        self.integers = FxHashSet::default();
    }

    /// The strings that occur as constants.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.names.values().map(|range| self.text(*range))
    }

    /// A part of the dump: where it stands, and its length.
    pub fn text(&self, span: (u32, u32)) -> &[u8] {
        text_at(&self.dump, span)
    }
}

fn text_at(dump: &[u8], (start, length): (u32, u32)) -> &[u8] {
    dump.get(start as usize..)
        .and_then(|rest| rest.get(..length as usize))
        .unwrap_or_default()
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = FxHasher::default();
    hash.write(bytes);
    hash.finish()
}

/// The profile of a single dumped function.
pub fn profile(dump: &[u8]) -> Option<Profile> {
    Reader::of(dump)?.function(0, None).ok().map(|f| f.profile)
}

/// The line where the main function of a dump with line information stores under this string key, the last such line.
pub fn store_line(dump: &[u8], key: &[u8]) -> Option<i32> {
    let mut reader = Reader::of(dump)?;
    reader.main_store_line(key).ok().flatten()
}

/// A number in a register.
#[derive(Clone, Copy)]
enum Load {
    Integer(i64),
    /// The constant with this number.
    Constant(u32),
}

struct Function<'a> {
    lines: (i32, i32),
    profile: Profile,
    upvalues: &'a [u8],
}

impl<'a> Reader<'a> {
    fn function(&mut self, depth: u32, mut chunk: Option<&mut Chunk>) -> Read<Function<'a>> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        let mut hash = FxHasher::default();
        let mut assigned = UpvalueSet::default();
        self.string()?;
        let (line, last) = (self.int()?, self.int()?);
        let number = match chunk.as_deref_mut() {
            Some(chunk) => chunk.functions.push((line, last))?,
            None => 0,
        };
        hash.write(self.take(3)?);

        let code = self.code()?;
        hash.write(code);
        // Which number each register was loaded with last, and which of them serve as keys.
        let mut loads = SmallVec::<[Load; 16]>::new();
        let mut registers = [0_u8; 256];
        let mut wanted = SmallVec::<[u32; 8]>::new();
        for instruction in code.as_chunks().0 {
            let i = u32::from_le_bytes(*instruction);
            if INTERESTING.get((i & 0x7f) as usize) == Some(&false) {
                continue;
            }
            let op = i & 0x7f;
            let key = match op {
                OP_SETUPVAL => {
                    assigned.add((i >> 16 & 0xff) as u8);
                    continue;
                }
                OP_LOADI | OP_LOADK => {
                    let load = if op == OP_LOADI {
                        Load::Integer(i64::from(i >> 15) - 65535)
                    } else {
                        Load::Constant(i >> 15)
                    };
                    if chunk.is_some() {
                        if loads.len() == usize::from(u8::MAX) {
                            loads.clear(); // in a very long function the oldest are forgotten
                            registers = [0; 256];
                        }
                        loads.try_push(load)?;
                        if let Some(register) = registers.get_mut((i >> 7 & 0xff) as usize) {
                            *register = loads.len() as u8;
                        }
                    }
                    continue;
                }
                OP_GETTABLE | OP_SETTABLE => {
                    let register = if op == OP_GETTABLE { i >> 24 } else { i >> 16 & 0xff };
                    let load = registers
                        .get(register as usize)
                        .and_then(|load| loads.get(usize::from(*load).wrapping_sub(1)));
                    match load {
                        Some(Load::Integer(integer)) => *integer,
                        Some(Load::Constant(constant)) => {
                            wanted.try_push(*constant)?;
                            continue;
                        }
                        None => continue,
                    }
                }
                OP_GETI => i64::from(i >> 24),
                OP_SETI => i64::from(i >> 16 & 0xff),
                _ => return Err(Stop::Format),
            };
            if let Some(chunk) = chunk.as_deref_mut() {
                chunk.integers.try_insert_value(key, ())?;
            }
        }

        for constant in 0..self.count()? {
            let tag = self.byte()?;
            hash.write_u8(tag);
            match tag {
                0x00 | 0x01 | 0x11 => {}
                0x03 => {
                    let bytes = self.take(8)?;
                    hash.write(bytes);
                    let n = bytes.try_into().map_or(0, i64::from_le_bytes);
                    if let Some(chunk) = chunk.as_deref_mut()
                        && wanted.contains(&(constant as u32))
                    {
                        chunk.integers.try_insert_value(n, ())?;
                    }
                }
                0x13 => hash.write(self.take(8)?),
                0x04 | 0x14 => {
                    let text = self.string()?.ok_or(Stop::Format)?;
                    let text_hash = self::hash(text);
                    hash.write_u64(text_hash);
                    if let Some(chunk) = chunk.as_deref_mut()
                        && !self.is_recent(text_hash)
                    {
                        let start = self.length - self.rest.len() - text.len();
                        let range = (u32::try_from(start).map_err(|_| Stop::Format)?, text.len() as u32);
                        chunk.names.try_insert_value(text_hash, range)?;
                    }
                }
                _ => return Err(Stop::Format),
            }
        }

        let upvalues = self.count()?;
        let upvalues = self.take(upvalues.checked_mul(3).ok_or(Stop::Format)?)?;

        for _ in 0..self.count()? {
            let nested = self.function(depth + 1, chunk.as_deref_mut())?;
            hash.write_u32(nested.profile.digest);
            hash.write(nested.upvalues); // where a function finds its own is the enclosing function's business
            let mut sets_locals = false;
            for (i, upvalue) in nested.upvalues.chunks_exact(3).enumerate() {
                if let ([in_stack, index, _], Ok(i)) = (upvalue, u8::try_from(i))
                    && nested.profile.assigned.has(i)
                {
                    if *in_stack == 0 {
                        assigned.add(*index);
                    } else {
                        sets_locals = true;
                    }
                }
            }
            if let Some(chunk) = chunk.as_deref_mut().filter(|_| sets_locals && depth == 0) {
                chunk.setters.try_push(nested.lines)?;
            }
        }
        self.skip_debug()?;

        let digest = (hash.finish() >> (64 - DIGEST_BITS)) as u32;
        let profile = Profile { digest, assigned };
        if let Some(chunk) = chunk {
            chunk.functions.set_profile(number, profile);
        }
        Ok(Function {
            lines: (line, last),
            profile,
            upvalues,
        })
    }

    fn skip_debug(&mut self) -> Read<()> {
        let lines = self.count()?;
        self.take(lines)?;
        for _ in 0..self.count()? {
            self.int()?;
            self.int()?;
        }
        for _ in 0..self.count()? {
            self.string()?;
            self.int()?;
            self.int()?;
        }
        for _ in 0..self.count()? {
            self.string()?;
        }
        Ok(())
    }

    fn main_store_line(&mut self, key: &[u8]) -> Read<Option<i32>> {
        self.string()?;
        let first = self.int()?;
        self.int()?;
        self.take(3)?;
        let code = self.code()?;
        let mut wanted = None;
        for i in 0..self.count()? {
            match self.byte()? {
                0x00 | 0x01 | 0x11 => {}
                0x03 | 0x13 => {
                    self.take(8)?;
                }
                0x04 | 0x14 => {
                    if self.string()? == Some(key) {
                        wanted = Some(i as u32);
                    }
                }
                _ => return Err(Stop::Format),
            }
        }
        let upvalues = self.count()?;
        self.take(upvalues.checked_mul(3).ok_or(Stop::Format)?)?;
        for _ in 0..self.count()? {
            self.function(1, None)?;
        }
        let count = self.count()?;
        let deltas = self.take(count)?;
        let mut absolute = Vec::new();
        for _ in 0..self.count()? {
            absolute.try_push((self.int()?, self.int()?))?;
        }
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        let mut absolute = absolute.into_iter();
        let (mut line, mut found) = (first, None);
        for (instruction, delta) in code.chunks_exact(4).zip(deltas) {
            line = match *delta as i8 {
                i8::MIN => absolute.next().ok_or(Stop::Format)?.1,
                delta => line.checked_add(delta.into()).ok_or(Stop::Format)?,
            };
            let i = word(instruction);
            if matches!(i & 0x7f, OP_SETFIELD | OP_SETTABUP) && i >> 16 & 0xff == wanted {
                found = Some(line);
            }
        }
        Ok(found)
    }
}
