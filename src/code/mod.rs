//! Reads a dumped chunk of Lua 5.4: the names its code can use (R2.1), which upvalues it assigns
//! (R3.3), and whether two functions are the same code (R10).
//!
//! Strict: a header or a byte that is not exactly as expected gives `None`, and the caller does
//! without. It never reads past the end, never recurses deeper than [`MAX_DEPTH`], and allocates no
//! more than the dump is long.

pub mod align;
pub mod call_sites;
#[cfg(test)]
mod chunk_tests;
pub mod compiled;
pub mod constants;
pub mod cut;
pub mod definitions;
mod dump;
mod edited;
mod grouped;
mod lines;
mod names;
mod op;
pub mod outline;
pub mod pieces;
#[cfg(feature = "vendored")]
pub mod probe;
mod reader;
mod shared;
pub mod splice;
pub mod stubs;
#[cfg(test)]
mod tests;
pub mod text;
pub mod tree;

use rustc_hash::{FxHashMap, FxHashSet};

pub use dump::Dump;
pub use edited::EditedChild;
pub use lines::MetFunctions;

use lines::ByLines;
use names::DumpStrings;
use reader::{Read, Reader, Stop, word};

use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush, copied};
use crate::support::secret::{Digesting, Secret};

/// Lua's own parser nests no deeper.
const MAX_DEPTH: u32 = 220;

/// Whether a reader of code looks at an instruction, by its first byte: all of its operation, and a
/// bit of something else. What is no operation at all is looked at, too.
#[expect(
    clippy::indexing_slicing,
    reason = "it is worked out when this compiles"
)]
const INTERESTING: [bool; 256] = {
    let mut interesting = [false; 256];
    let mut byte = 0;
    while byte < interesting.len() {
        let op = byte as u32 & 0x7f;
        interesting[byte] = op > op::LAST
            || matches!(
                op,
                op::LOADI
                    | op::LOADK
                    | op::SETUPVAL
                    | op::GETTABLE
                    | op::GETI
                    | op::SETTABLE
                    | op::SETI
            );
        byte += 1;
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
    #[inline(always)]
    pub fn each(self, count: u8, mut f: impl FnMut(u8)) {
        for (mut word, first) in self.0.into_iter().zip([0, 64, 128, 192]) {
            while word != 0 {
                let i = first + word.trailing_zeros() as u8;
                if i >= count {
                    return;
                }
                f(i);
                word &= word - 1;
            }
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
    /// A digest of code, constants and nested functions, without any line.
    pub digest: Digest,
    /// The upvalues that it, or a function nested in it, assigns.
    pub assigned: UpvalueSet,
    /// A digest of the same with every line and every name; 0 where it is not known.
    pub exact: u64,
}

/// A digest of code. The highest [`PACKED_DIGEST`] bits are all that a packed one has left.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Digest {
    bits: u64,
    is_whole: bool,
}

impl Digest {
    /// Is all of it there?
    pub fn is_whole(self) -> bool {
        self.is_whole
    }

    /// Tells it from others, if it is whole.
    pub fn key(self) -> u64 {
        self.bits
    }

    /// Are they of the same code? None where one is packed, and what is left of it says no more
    /// than that they may be.
    pub fn is_equal(self, other: Digest) -> Option<bool> {
        if (self.bits ^ other.bits) >> (64 - PACKED_DIGEST) != 0 {
            Some(false)
        } else {
            (self.is_whole && other.is_whole).then_some(self.bits == other.bits)
        }
    }
}

/// How many bits of a digest a packed profile has: two functions that differ have the same ones
/// once in four million times.
const PACKED_DIGEST: u32 = 22;
/// How many upvalues' assignments a packed profile tells.
const PACKED_UPVALUES: u32 = 16;

impl Profile {
    /// The bits of a packed profile.
    pub const PACKED_BITS: u32 = PACKED_DIGEST + PACKED_UPVALUES + 1;

    /// Is it certainly the same text on the same lines?
    pub fn is_exactly(self, other: Profile) -> bool {
        self.exact != 0 && self.exact == other.exact
    }

    /// Is the code certainly the same as that of another function, if that one's is known?
    pub fn is_same_code(self, other: Option<Profile>) -> bool {
        other.is_some_and(|other| self.digest.is_equal(other.digest) == Some(true))
    }

    /// The profile in the low bits of a number; 0 when it does not fit.
    pub fn pack(self) -> u64 {
        let [low, rest @ ..] = self.assigned.0;
        if rest != [0; 3] || low >> PACKED_UPVALUES != 0 {
            return 0;
        }
        1 | low << 1 | self.digest.bits >> (64 - PACKED_DIGEST) << (PACKED_UPVALUES + 1)
    }

    /// The inverse of [`Profile::pack`], but for the digest, of which a part is left.
    pub fn unpack(bits: u64) -> Option<Profile> {
        if bits & 1 == 0 {
            return None;
        }
        let assigned = UpvalueSet([bits >> 1 & ((1 << PACKED_UPVALUES) - 1), 0, 0, 0]);
        let digest = Digest {
            bits: bits >> (PACKED_UPVALUES + 1) << (64 - PACKED_DIGEST),
            is_whole: false,
        };
        Some(Profile {
            digest,
            assigned,
            exact: 0,
        })
    }
}

/// What is known of a chunk.
#[derive(Default)]
pub struct Chunk {
    dump: Dump,
    /// The strings that occur as constants.
    names: DumpStrings,
    /// The integers that its code uses as keys.
    pub integers: FxHashSet<i64>,
    functions: ByLines,
    /// First and last line of each function of its main function that assigns one of that
    /// function's locals; sorted.
    pub setters: Vec<(i32, i32)>,
}

impl Chunk {
    /// Reads a whole chunk; none when the dump is not exactly that of Lua 5.4.
    pub fn read(dump: impl Into<Dump>, secret: &Secret) -> Result<Option<Chunk>> {
        let dump = dump.into();
        let mut chunk = Chunk::default();
        chunk.functions.reserve(dump.len() / 256)?;
        chunk.names.reserve(dump.len() / 96)?;
        let mut scan = Scan::new(&mut chunk, secret);
        let read = Reader::of(&dump).map(|mut reader| {
            reader
                .function(0, &mut UpvalueSet::default(), secret, Some(&mut scan))
                .map(|_| ())
        });
        match read {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(crate::support::error::Error::Memory),
            Some(Ok(())) => {
                chunk.functions.sort();
                if !chunk.setters.is_sorted() {
                    chunk.setters.sort_unstable();
                }
                chunk.dump = dump;
                Ok(Some(chunk))
            }
        }
    }

    /// Notes which of its functions are met, none yet.
    pub fn unmet(&self) -> Result<MetFunctions> {
        self.functions.unmet()
    }

    /// The profile of the one function on these lines, which counts as met from now on.
    pub fn meet(&self, line: i32, last: i32, met: &mut MetFunctions) -> Option<Profile> {
        self.functions.meet((line, last), met)
    }

    /// Is there a function of the main function that assigns one of its locals, and that was not
    /// met?
    pub fn has_unmet_setter(&self, met: &MetFunctions) -> bool {
        !self.functions.are_met(&self.setters, met)
    }

    /// The digests of the functions in its main function, but for those that share their lines with
    /// others.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.functions.profiles().map(|profile| profile.digest)
    }

    /// How many functions it has, nearly.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Does the string occur as a constant?
    pub fn has_name(&self, name: &[u8], secret: &Secret) -> bool {
        self.names
            .get(secret.digest(name))
            .is_some_and(|span| self.text(span) == name)
    }

    /// The strings that occur as constants.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.names.spans().map(|span| self.text(span))
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

/// The profile of a single dumped function.
pub fn profile(dump: &[u8], secret: &Secret) -> Option<Profile> {
    let mut assigned = UpvalueSet::default();
    let FunctionHeader { digest, exact, .. } = Reader::of(dump)?
        .function(0, &mut assigned, secret, None)
        .ok()?;
    Some(Profile {
        digest,
        assigned,
        exact,
    })
}

/// Does the function of a dump make other ones?
pub fn makes_functions(dump: &[u8]) -> bool {
    let code = Reader::of(dump).and_then(|mut reader| reader.main_code().ok());
    let mut instructions = code.unwrap_or_default().chunks_exact(4);
    instructions.any(|instruction| word(instruction) & 0x7f == op::CLOSURE)
}

/// The lines where the main function of a dump with line information stores under string keys, the
/// last one for each key. Keys that no instruction can name have none, and a dump that cannot be
/// read has no lines.
///
/// # Errors
/// [`Error::Memory`].
pub fn store_lines(dump: &[u8]) -> Result<FxHashMap<Vec<u8>, i32>> {
    let mut found = FxHashMap::default();
    match Reader::of(dump).map(|mut reader| reader.main_store_lines(&mut found)) {
        Some(Err(Stop::Memory)) => Err(Error::Memory),
        _ => Ok(found),
    }
}

/// What a whole chunk is read for, besides profiles: its names and keys.
struct Scan<'c> {
    chunk: &'c mut Chunk,
    secret: &'c Secret,
    /// The last instruction that loaded a number into each register, and the number of its
    /// function.
    loads: [(u32, u32); 256],
    /// Of the function that is read, a bit for each constant: it serves as a key. And whether one
    /// does.
    keys: Vec<u64>,
    has_keys: bool,
}

impl<'c> Scan<'c> {
    fn new(chunk: &'c mut Chunk, secret: &'c Secret) -> Scan<'c> {
        Scan {
            chunk,
            secret,
            loads: [(u32::MAX, 0); 256],
            keys: Vec::new(),
            has_keys: false,
        }
    }

    /// Reads an instruction of the function with this number, which has so many constants.
    #[inline]
    fn instruction(&mut self, i: u32, function: u32, constants: usize) -> Read<()> {
        let (a, b, c) = ((i >> 7) as u8, (i >> 16) as u8, (i >> 24) as u8);
        match i & 0x7f {
            op::LOADI | op::LOADK => {
                if let Some(load) = self.loads.get_mut(usize::from(a)) {
                    *load = (function, i);
                }
                Ok(())
            }
            op::GETTABLE => self.key_in(c, function, constants),
            op::SETTABLE => self.key_in(b, function, constants),
            op::GETI => self.key(c.into()),
            op::SETI => self.key(b.into()),
            _ => Ok(()),
        }
    }

    /// Notes the number in a register as a key, if the function has loaded one there.
    #[inline]
    fn key_in(&mut self, register: u8, function: u32, constants: usize) -> Read<()> {
        match self.loads.get(usize::from(register)) {
            Some((number, load)) if *number == function => self.loaded_key(*load, constants),
            _ => Ok(()),
        }
    }

    /// Notes the number that an instruction has loaded as a key.
    fn loaded_key(&mut self, load: u32, constants: usize) -> Read<()> {
        if load & 0x7f == op::LOADI {
            return self.key(i64::from(load >> 15) - 65535);
        }
        let constant = (load >> 15) as usize;
        if constant >= constants {
            return Ok(());
        }
        let words = constants / 64 + 1;
        if words > self.keys.len() {
            let more = words - self.keys.len();
            self.keys.try_reserve(more).map_err(|_| Stop::Memory)?;
            self.keys.resize(words, 0);
        }
        if let Some(word) = self.keys.get_mut(constant / 64) {
            *word |= 1 << (constant % 64);
        }
        self.has_keys = true;
        Ok(())
    }

    /// Notes an integer that serves as a key.
    fn key(&mut self, key: i64) -> Read<()> {
        self.chunk.integers.try_insert_value(key, ())?;
        Ok(())
    }

    /// Does the constant with this number serve as a key?
    fn is_key(&self, constant: usize) -> bool {
        self.has_keys
            && self
                .keys
                .get(constant / 64)
                .is_some_and(|word| word >> (constant % 64) & 1 == 1)
    }

    /// Reads the constants of a function, so many of them: notes the names among them, and the
    /// integers that serve as keys. Returns where they end.
    #[inline(never)]
    fn constants(&mut self, mut reader: Reader<'_>, count: usize) -> Read<usize> {
        for constant in 0..count {
            let tag = reader.byte()?;
            if tag & !0x10 == 0x04 {
                let text = reader.string()?.ok_or(Stop::Format)?;
                let span = || ((reader.position() - text.len()) as u32, text.len() as u32);
                self.chunk.names.add(self.secret.digest(text), span)?;
                continue;
            }
            match tag {
                0x03 => {
                    let bytes = reader.take(8)?;
                    if self.is_key(constant) {
                        self.key(bytes.try_into().map_or(0, i64::from_le_bytes))?;
                    }
                }
                0x13 => {
                    reader.take(8)?;
                }
                0x00 | 0x01 | 0x11 => {}
                _ => return Err(Stop::Format),
            }
        }
        if std::mem::take(&mut self.has_keys)
            && let Some(keys) = self.keys.get_mut(..=count / 64)
        {
            keys.fill(0);
        }
        Ok(reader.position())
    }
}

struct FunctionHeader<'a> {
    lines: (i32, i32),
    /// [`Profile::digest`].
    digest: Digest,
    /// [`Profile::exact`].
    exact: u64,
    /// How it finds its upvalues.
    upvalues: &'a [u8],
}

/// [`Profile::exact`] of a function: what was hashed of those in it, its own code, its lines, and
/// what is there for debugging.
#[inline(always)]
fn exact_digest(
    mut children: Digesting<'_>,
    digest: Digest,
    (first, last): (i32, i32),
    debug: &[u8],
) -> u64 {
    children.write_u64(digest.bits);
    children.write_u64(u64::from(first.cast_unsigned()) << 32 | u64::from(last.cast_unsigned()));
    children.write(debug);
    children.finish()
}

/// Reads the instructions of the function with this number, which has so many constants. The
/// upvalues that it assigns go to `assigned`.
fn read_code(
    code: &[u8],
    number: u32,
    constants: usize,
    assigned: &mut UpvalueSet,
    mut scan: Option<&mut Scan<'_>>,
) -> Read<()> {
    for instruction in code.chunks_exact(4) {
        let first = instruction.first().copied().unwrap_or_default();
        if INTERESTING.get(usize::from(first)) == Some(&false) {
            continue;
        }
        let i = word(instruction);
        match i & 0x7f {
            op::SETUPVAL => assigned.add((i >> 16) as u8),
            0..=op::LAST => {
                if let Some(scan) = scan.as_deref_mut() {
                    scan.instruction(i, number, constants)?;
                }
            }
            _ => return Err(Stop::Format),
        }
    }
    Ok(())
}

impl<'a> Reader<'a> {
    /// Reads a function and all within it, which stands so deep. The upvalues that they assign,
    /// besides those of its own, go to `assigned`.
    fn function(
        &mut self,
        depth: u32,
        assigned: &mut UpvalueSet,
        secret: &Secret,
        mut scan: Option<&mut Scan<'_>>,
    ) -> Read<FunctionHeader<'a>> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        let mut reader = *self; // (a copy can stay in registers)
        reader.string()?;
        let lines = (reader.int()?, reader.int()?);
        let number = match scan.as_deref_mut() {
            Some(scan) => scan.chunk.functions.push(lines)?,
            None => 0,
        };
        let start = reader.position();
        reader.take(3)?;
        let (code, constants) = (reader.code()?, reader.count()?);
        read_code(code, number, constants, assigned, scan.as_deref_mut())?;
        match scan.as_deref_mut() {
            Some(scan) => reader.go_to(scan.constants(reader, constants)?),
            None => reader.skip_constants(constants)?,
        }
        // The frame, the code and the constants.
        let mut hash = secret.hasher();
        hash.write(reader.since(start));
        let mut exact = secret.hasher();
        let upvalues = reader.upvalues()?;

        for _ in 0..reader.count()? {
            *self = reader;
            let nested = self.child(depth + 1, assigned, secret, scan.as_deref_mut())?;
            reader = *self;
            hash.write_u64(nested.digest.bits);
            exact.write_u64(nested.exact);
            // Where a function finds its own is the enclosing function's business.
            hash.write(nested.upvalues);
        }
        let debug = reader.position();
        reader.skip_debug()?;
        *self = reader;

        let digest = Digest {
            bits: hash.finish(),
            is_whole: true,
        };
        let exact = exact_digest(exact, digest, lines, reader.since(debug));
        // (Of the main function nobody asks for it, and each edit changes it.)
        if let Some(scan) = scan.filter(|_| depth > 0) {
            let assigned = *assigned;
            let profile = Profile {
                digest,
                assigned,
                exact,
            };
            scan.chunk.functions.set_profile(number, profile);
        }
        Ok(FunctionHeader {
            lines,
            digest,
            exact,
            upvalues,
        })
    }

    /// Reads a function that stands so deep in another one, and all within it. The upvalues of that
    /// one that they assign go to `assigned`.
    #[inline(always)]
    fn child(
        &mut self,
        depth: u32,
        assigned: &mut UpvalueSet,
        secret: &Secret,
        mut scan: Option<&mut Scan<'_>>,
    ) -> Read<FunctionHeader<'a>> {
        let mut inner = UpvalueSet::default();
        let child = self.function(depth, &mut inner, secret, scan.as_deref_mut())?;
        let mut sets_locals = false;
        let descriptions = child.upvalues.as_chunks().0;
        inner.each(descriptions.len() as u8, |i| {
            match descriptions.get(usize::from(i)) {
                Some([0, index, _]) => assigned.add(*index),
                Some([_, _, _]) => sets_locals = true,
                None => {}
            }
        });
        if let Some(scan) = scan.filter(|_| sets_locals && depth == 1) {
            scan.chunk.setters.try_push(child.lines)?;
        }
        Ok(child)
    }

    #[inline(always)]
    fn skip_debug(&mut self) -> Read<()> {
        let counts = *self;
        if self.take(4).is_ok_and(|counts| word(counts) == 0x8080_8080) {
            return Ok(()); // stripped code: four counts that are 0
        }
        *self = counts.skip_some_debug()?;
        Ok(())
    }

    #[inline(never)]
    fn skip_some_debug(mut self) -> Read<Reader<'a>> {
        let lines = self.count()?;
        self.take(lines)?;
        let absolute = self.count()?;
        self.skip_ints(absolute * 2)?;
        for _ in 0..self.count()? {
            self.string()?;
            self.skip_ints(2)?;
        }
        for _ in 0..self.count()? {
            self.string()?;
        }
        Ok(self)
    }

    fn main_store_lines(&mut self, found: &mut FxHashMap<Vec<u8>, i32>) -> Read<()> {
        self.string()?;
        let first = self.int()?;
        self.int()?;
        self.take(3)?;
        let code = self.code()?;
        // The keys and lines of the constants that an instruction can name.
        let (mut keys, mut stores) = ([None; 256], [None; 256]);
        for i in 0..self.count()? {
            match self.byte()? {
                0x00 | 0x01 | 0x11 => {}
                0x03 | 0x13 => {
                    self.take(8)?;
                }
                0x04 | 0x14 => {
                    let key = self.string()?;
                    if let Some(place) = keys.get_mut(i) {
                        *place = key;
                    }
                }
                _ => return Err(Stop::Format),
            }
        }
        self.upvalues()?;
        let nothing = Secret::default(); // the digests are of no use here
        for _ in 0..self.count()? {
            self.function(1, &mut UpvalueSet::default(), &nothing, None)?;
        }
        let lines = self.instruction_lines(first)?;
        for (instruction, line) in code.chunks_exact(4).zip(lines) {
            let i = word(instruction);
            if matches!(i & 0x7f, op::SETFIELD | op::SETTABUP)
                && let Some(store) = stores.get_mut((i >> 16 & 0xff) as usize)
            {
                *store = Some(line);
            }
        }
        for (key, line) in keys.into_iter().zip(stores) {
            if let (Some(key), Some(line)) = (key, line) {
                found.try_insert_value(copied(key)?, line)?;
            }
        }
        Ok(())
    }
}
