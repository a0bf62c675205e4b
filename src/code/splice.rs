//! What the compiler has made of a main function, and on what of the functions in it that depends:
//! for those who put functions that were compiled alone into an old dump.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

use super::cut::size;
use super::definitions::Definitions;
use super::reader::{Read, Reader, Stop, known, line_of_each, word};
use super::text::{lines, places_of};
use super::{MAX_DEPTH, op};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush, collected};

/// Up to here constants have a place in an instruction: one that has none may be asked for and not
/// be used.
const NAMED_CONSTANTS: usize = 256;
/// What the compiler has made of a main function.
pub struct Main<'a> {
    pub(super) dump: &'a [u8],
    pub(super) known: AboutMain<'a>,
    pub(super) code: &'a [u8],
    /// With their tags.
    constants: Vec<&'a [u8]>,
    pub(super) children: Vec<MainChild<'a>>,
    /// For each instruction.
    pub(super) deltas: &'a [u8],
    /// Numbers of instructions, with lines.
    pub(super) absolute: Vec<(i32, i32)>,
    /// Where both stand in the dump: from the number of instructions on.
    pub(super) lines: Range<usize>,
    pub(super) locals: Vec<DumpLocal<'a>>,
}

/// What is known of a main function and its text.
#[derive(Clone, Copy, Default)]
pub struct AboutMain<'a> {
    /// Its definitions.
    pub definitions: Option<&'a Definitions>,
    /// Whether its text has a local with an attribute outside of functions, once that was asked
    /// for.
    pub has_attribute: Option<&'a OnceLock<bool>>,
    /// The functions in it that were compiled in pieces, in their order.
    pub pieces: &'a [Piece],
}

/// A function that was edited and compiled in a piece.
#[derive(Clone, PartialEq)]
pub struct Piece {
    /// Its number among the children of the main function.
    pub(super) child: usize,
    /// Where it stands in the text.
    pub(super) text: Range<usize>,
    /// The locals that the piece has declared.
    pub(super) locals: Arc<Vec<u8>>,
}

/// A function that stands directly in the main function.
pub(super) struct MainChild<'a> {
    pub(super) bytes: Range<usize>,
    pub(super) function: DumpFunction<'a>,
}

impl MainChild<'_> {
    /// It captures locals of the main function.
    pub(super) fn captures(&self) -> bool {
        captured(self.function.upvalues).next().is_some()
    }
}

pub(super) struct DumpLocal<'a> {
    pub(super) name: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A function's lines, the descriptions of its upvalues, and where in the dump their names stand.
pub(super) struct DumpFunction<'a> {
    pub(super) first: i32,
    pub(super) last: i32,
    pub(super) upvalues: &'a [u8],
    /// (Debug information has them.)
    pub(super) names: usize,
}

impl<'a> MainChild<'a> {
    /// The functions that stand directly in the main function of a dump whose definitions these
    /// are.
    fn all(dump: &'a [u8], known: &Definitions) -> Result<Vec<MainChild<'a>>> {
        collected(known.outermost().map(|proto| {
            let upvalues = proto.upvalues_at as usize;
            let upvalues = upvalues..upvalues + 3 * usize::from(proto.upvalues);
            Ok(MainChild {
                bytes: proto.span.0 as usize..proto.span.1 as usize,
                function: DumpFunction {
                    first: proto.line,
                    last: proto.last,
                    upvalues: dump.get(upvalues).unwrap_or_default(),
                    names: proto.names_at as usize,
                },
            })
        }))
    }
}

impl<'a> Reader<'a> {
    /// Reads a function and all within it. Hands out each constant with its number and its tag,
    /// but those of the main function go, with all else, to `main`.
    fn parts(
        &mut self,
        depth: u32,
        constant: &mut impl FnMut(usize, &'a [u8]) -> Read<()>,
        mut main: Option<&mut Main<'a>>,
    ) -> Read<DumpFunction<'a>> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        self.string()?;
        let (first, last) = (self.int()?, self.int()?);
        self.take(3)?;
        let code = self.code()?;
        for number in 0..self.count()? {
            let start = self.position();
            self.skip_constants(1)?;
            match &mut main {
                Some(main) => main.constants.try_push(self.since(start))?,
                None => constant(number, self.since(start))?,
            }
        }
        let upvalues = self.upvalues()?;
        let count = self.count()?;
        match &mut main {
            Some(main) if !main.children.is_empty() => self.pass_by(&main.children, count)?,
            _ => {
                for _ in 0..count {
                    let start = self.position();
                    let inner = self.parts(depth + 1, constant, None)?;
                    if let Some(main) = &mut main {
                        main.children.try_push(MainChild {
                            bytes: start..self.position(),
                            function: inner,
                        })?;
                    }
                }
            }
        }
        Ok(DumpFunction {
            first,
            last,
            upvalues,
            names: self.debug(code, main)?,
        })
    }

    /// Passes by functions that are known, which must be as many.
    fn pass_by(&mut self, known: &[MainChild], count: usize) -> Read<()> {
        let (Some(first), Some(last)) = (known.first(), known.last()) else {
            return Err(Stop::Format);
        };
        let length = last.bytes.end.checked_sub(first.bytes.start);
        match length.filter(|_| known.len() == count && first.bytes.start == self.position()) {
            Some(length) => self.take(length).map(|_| ()),
            None => Err(Stop::Format),
        }
    }

    /// Reads the lines, the locals and the names of a function. Returns where the latter begin.
    fn debug(&mut self, code: &'a [u8], main: Option<&mut Main<'a>>) -> Read<usize> {
        let Some(main) = main else {
            let count = self.count()?;
            self.take(count)?;
            let count = self.count()?;
            self.skip_ints(2 * count)?;
            for _ in 0..self.count()? {
                self.string()?;
                self.skip_ints(2)?;
            }
            return self.names();
        };
        main.code = code;
        let start = self.position();
        let count = self.count()?;
        main.deltas = self.take(count)?;
        for _ in 0..self.count()? {
            main.absolute.try_push((self.int()?, self.int()?))?;
        }
        main.lines = start..self.position();
        for _ in 0..self.count()? {
            let name = self.string()?.ok_or(Stop::Format)?;
            let (start, end) = (self.size()?, self.size()?);
            main.locals.try_push(DumpLocal { name, start, end })?;
        }
        self.names()
    }

    /// Passes by the names of upvalues. Returns where they begin.
    pub(super) fn names(&mut self) -> Read<usize> {
        let start = self.position();
        for _ in 0..self.count()? {
            self.string()?;
        }
        Ok(start)
    }

    /// Writes a function and all within it so many lines further down, with these descriptions of
    /// its upvalues, where there are any.
    pub(super) fn relocate(
        &mut self,
        by: i32,
        depth: u32,
        upvalues: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Read<()> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        let start = self.position();
        self.string()?;
        put(out, self.since(start))?;
        for _ in 0..2 {
            put_line(out, self.int()?, by)?;
        }
        let start = self.position();
        self.take(3)?;
        self.code()?;
        let constants = self.count()?;
        self.skip_constants(constants)?;
        let own = self.upvalues()?;
        put(out, self.since(start))?;
        if let Some(upvalues) = upvalues.filter(|upvalues| upvalues.len() == own.len()) {
            out.truncate(out.len() - own.len());
            put(out, upvalues)?;
        }
        let start = self.position();
        let children = self.count()?;
        put(out, self.since(start))?;
        for _ in 0..children {
            self.relocate(by, depth + 1, None, out)?;
        }
        let start = self.position();
        let count = self.count()?;
        self.take(count)?;
        let absolute = self.count()?;
        put(out, self.since(start))?;
        for _ in 0..absolute {
            put_line(out, self.int()?, 0)?;
            put_line(out, self.int()?, by)?;
        }
        let start = self.position();
        for _ in 0..self.count()? {
            self.string()?;
            self.size()?;
            self.size()?;
        }
        self.names()?;
        put(out, self.since(start))
    }
}

pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Read<()> {
    out.try_reserve(bytes.len()).map_err(|_| Stop::Memory)?;
    out.extend_from_slice(bytes);
    Ok(())
}

pub(super) fn put_line(out: &mut Vec<u8>, line: i32, by: i32) -> Read<()> {
    let line = line.checked_add(by).ok_or(Stop::Format)?;
    out.try_reserve(10).map_err(|_| Stop::Memory)?;
    size(out, u64::try_from(line).map_err(|_| Stop::Format)?);
    Ok(())
}

impl<'a> Main<'a> {
    /// Reads a dump with all debug information; none where it is none. Its definitions, if they are
    /// known, say where the functions in it stand.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn of(dump: &'a [u8], about: AboutMain<'a>) -> Result<Option<Main<'a>>> {
        let children = about.definitions.map(|known| MainChild::all(dump, known));
        let children = children.transpose()?.unwrap_or_default();
        let main = known(Main::read_with(dump, children))?;
        Ok(main.map(|main| Main {
            known: about,
            ..main
        }))
    }

    /// Has its text a local with an attribute that stands in none of its functions?
    pub(super) fn has_attribute(&self, text: &[u8]) -> bool {
        let find = || has_attribute(text, self);
        let known = self.known.has_attribute;
        known.map_or_else(find, |known| *known.get_or_init(find))
    }

    /// May one of its functions have this text?
    pub(super) fn may_have(&self, text: &[u8]) -> bool {
        self.known
            .definitions
            .is_none_or(|known| known.find(text).is_some())
    }

    pub(super) fn read(dump: &'a [u8]) -> Read<Main<'a>> {
        Main::read_with(dump, Vec::new())
    }

    fn read_with(dump: &'a [u8], children: Vec<MainChild<'a>>) -> Read<Main<'a>> {
        let mut reader = Reader::of(dump).ok_or(Stop::Format)?;
        let mut main = Main {
            dump,
            known: AboutMain::default(),
            code: &[],
            constants: Vec::new(),
            children,
            deltas: &[],
            absolute: Vec::new(),
            lines: 0..0,
            locals: Vec::new(),
        };
        reader.parts(0, &mut |_, _| Ok(()), Some(&mut main))?;
        match main.deltas.len() == main.code.len() / 4 && reader.position() == dump.len() {
            true => Ok(main),
            false => Err(Stop::Format),
        }
    }

    fn instructions(&self) -> impl Iterator<Item = u32> {
        self.code.chunks_exact(4).map(word)
    }

    /// For each child the instruction that makes it: where it is, and its register.
    pub(super) fn closures(&self) -> Read<Vec<(usize, usize)>> {
        let mut closures = Vec::new();
        closures
            .try_reserve(self.children.len())
            .map_err(Error::from)?;
        for (at, i) in self.instructions().enumerate() {
            if i & 0x7f == op::CLOSURE {
                if (i >> 15) as usize != closures.len() {
                    return Err(Stop::Format);
                }
                closures.try_push((at, (i >> 7 & 0xff) as usize))?;
            }
        }
        Ok(closures)
    }

    /// The locals in use at an instruction, one for each register.
    pub(super) fn active(&self, at: usize) -> impl Iterator<Item = &DumpLocal<'a>> {
        let locals = self.locals.iter();
        locals.filter(move |local| local.start <= at && at < local.end)
    }

    /// The line of each instruction.
    pub(super) fn line_of_each(&self) -> Read<Vec<i32>> {
        line_of_each(0, self.deltas, &self.absolute)
    }
}

/// The registers that a function captures, by the descriptions of its upvalues.
pub(super) fn captured(upvalues: &[u8]) -> impl Iterator<Item = u8> {
    let descriptions = upvalues.as_chunks().0.iter();
    descriptions.filter_map(|[in_stack, index, _]| (*in_stack == 1).then_some(*index))
}

/// Has a text a local with an attribute that stands in none of the functions of `main`? A piece
/// cannot have it: it may be a constant, of which the dump does not tell.
fn has_attribute(text: &[u8], main: &Main) -> bool {
    let mut places = places_of(text, b'<');
    let (mut line, mut counted) = (1, 0);
    places.any(|at| {
        let behind = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
        if !behind.starts_with(b"const") && !behind.starts_with(b"close") {
            return false;
        }
        let before = text.get(..at).unwrap_or_default();
        line += lines(before.get(counted..).unwrap_or_default()) as i32;
        counted = at;
        let next = main
            .children
            .partition_point(|child| child.function.first < line);
        let around = next.checked_sub(1).and_then(|last| main.children.get(last));
        around.is_none_or(|child| line >= child.function.last)
    })
}

/// The compiler has one table for the constants of all functions, which tells where each was put
/// last. So a constant that the main function uses before and behind a function gets another place
/// if the function has it as well. `edits` are functions in the order of the instructions that make
/// them: each with this instruction's place, and as it was and is.
pub(super) fn check_all_constants(main: &Main, edits: &[(usize, &[u8], &[u8])]) -> Read<()> {
    let has_floats = main.constants.iter().any(|constant| is_float(constant));
    // Those that matter, each with the first function for which it does.
    let mut found: FxHashMap<&[u8], usize> = FxHashMap::default();
    let mut seen: FxHashMap<&[u8], ComparedConstant> = FxHashMap::default();
    for (at, old, new) in edits {
        let (old, new) = (constants(old)?, constants(new)?);
        if old == new {
            continue;
        }
        seen.clear();
        for (list, is_new) in [(old, false), (new, true)] {
            for (number, bytes) in list {
                let mut known: ComparedConstant = seen.get(bytes).copied().unwrap_or_default();
                known.in_place |= main.constants.get(number) == Some(&bytes);
                known.old |= !is_new;
                known.new |= is_new;
                seen.try_insert_value(bytes, known)?;
            }
        }
        for (constant, seen) in &seen {
            let differs = seen.old != seen.new;
            if differs && is_float(constant) && has_floats {
                return Err(Stop::Format); // two that are nearly the same may be one in that table
            }
            if (differs || seen.in_place) && !found.contains_key(constant) {
                found.try_insert_value(constant, *at)?;
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    // Where the main function uses them: how often, and whether behind the function.
    let mut uses: FxHashMap<&[u8], (u32, bool)> = FxHashMap::default();
    let few = main.constants.len() <= NAMED_CONSTANTS;
    for constant in &main.constants {
        if found.contains_key(constant) {
            let is_string = constant.first().is_some_and(|tag| tag & !0x10 == 0x04);
            if !is_string && !few {
                return Err(Stop::Format);
            }
            uses.try_insert_value(constant, (0, false))?;
        }
    }
    if uses.is_empty() {
        return Ok(());
    }
    let mut instructions = main.instructions().enumerate().peekable();
    while let Some((place, i)) = instructions.next() {
        let next = instructions.peek().map_or(0, |(_, next)| *next);
        for number in constants_of(i, next)?.into_iter().flatten() {
            let constant = main.constants.get(number).ok_or(Stop::Format)?;
            if let Some((count, behind)) = uses.get_mut(constant) {
                *count += 1;
                *behind |= found.get(constant).is_some_and(|at| place > *at);
            }
        }
    }
    match uses.values().all(|(count, behind)| *count < 2 || !behind) {
        true => Ok(()),
        false => Err(Stop::Format),
    }
}

/// A constant of two functions that are compared.
#[derive(Clone, Copy, Default)]
struct ComparedConstant {
    old: bool,
    new: bool,
    /// One of them has it where the main function has it.
    in_place: bool,
}

/// The constants of a function and of all within it, each with its number in its function.
pub(super) fn constants(function: &[u8]) -> Read<Vec<(usize, &[u8])>> {
    let mut constants = Vec::new();
    let mut reader = Reader::at(function, 0).ok_or(Stop::Format)?;
    let mut constant = |number, bytes| Ok(constants.try_push((number, bytes))?);
    reader.parts(1, &mut constant, None)?;
    Ok(constants)
}

fn is_float(constant: &[u8]) -> bool {
    constant.first() == Some(&0x13)
}

/// The constants that an instruction uses, and the one behind it where that belongs to it.
fn constants_of(i: u32, next: u32) -> Read<[Option<usize>; 2]> {
    let (b, c) = ((i >> 16 & 0xff) as usize, (i >> 24) as usize);
    let also_c = Some(c).filter(|_| i >> 15 & 1 == 1);
    Ok(match i & 0x7f {
        op::LOADK => [Some((i >> 15) as usize), None],
        op::LOADKX => [Some((next >> 7) as usize), None],
        op::GETTABUP | op::GETFIELD | op::ADDK..=op::BXORK => [Some(c), None],
        op::SETTABUP | op::SETFIELD => [Some(b), also_c],
        op::SETTABLE | op::SETI | op::SELF => [None, also_c],
        op::MMBINK | op::EQK => [Some(b), None],
        0..=op::LAST => [None, None],
        _ => return Err(Stop::Format),
    })
}

/// In what two dumps differ besides the numbers of the main function's constants. Where these have
/// no place in an instruction, only the functions are compared.
#[cfg(test)]
pub fn difference_in_meaning(a: &[u8], b: &[u8]) -> Option<&'static str> {
    let (Ok(a), Ok(b)) = (Main::read(a), Main::read(b)) else {
        return Some("the form");
    };
    let children = |main: &Main<'_>| -> Option<Vec<u8>> {
        let (first, last) = (main.children.first()?, main.children.last()?);
        main.dump
            .get(first.bytes.start..last.bytes.end)
            .map(<[u8]>::to_vec)
    };
    if children(&a) != children(&b) {
        return Some("a function");
    }
    if a.constants.len().max(b.constants.len()) > NAMED_CONSTANTS {
        return None;
    }
    let head = |main: &Main<'_>| {
        let length = main.code.as_ptr() as usize - main.dump.as_ptr() as usize;
        main.dump.get(..length).map(<[u8]>::to_vec)
    };
    let tail = |main: &Main<'_>| main.dump.get(main.lines.start..).map(<[u8]>::to_vec);
    if head(&a) != head(&b) || tail(&a) != tail(&b) {
        return Some("what is around the code");
    }
    let meaning = |main: &Main<'_>| -> Read<Vec<(u32, Vec<Vec<u8>>)>> {
        let mut out = Vec::new();
        let mut instructions = main.instructions().peekable();
        while let Some(i) = instructions.next() {
            let next = instructions.peek().copied().unwrap_or_default();
            let numbers = constants_of(i, next)?;
            let fields = match (i & 0x7f, numbers) {
                (op::LOADK, _) => !0x7fff,
                (op::SETTABUP | op::SETFIELD, [_, Some(_)]) => 0xffff_0000,
                (op::SETTABUP | op::SETFIELD | op::MMBINK | op::EQK, _) => 0x00ff_0000,
                (_, [None, None]) => 0,
                _ => 0xff00_0000,
            };
            let constants = numbers.into_iter().flatten();
            let constants = constants.filter_map(|n| main.constants.get(n).map(|c| c.to_vec()));
            out.push((i & !fields, constants.collect()));
        }
        Ok(out)
    };
    match (meaning(&a), meaning(&b)) {
        (Ok(a), Ok(b)) if a == b => None,
        _ => Some("the main function's code"),
    }
}
