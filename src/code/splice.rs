//! Puts one function of a text that was edited into the dump of what the text was before, so that
//! nothing else of it has to be compiled again.
//!
//! Two texts differ from one place to another one. Where that lies within one function that stands
//! directly in the main function, only this one is compiled, in a *piece*: a chunk that declares
//! locals of the names and registers that the function sees, and returns it. Of the old text the
//! same is made: unless the compiler makes of that piece exactly what the old dump has, nothing
//! here holds, and the whole text is to be compiled. The result is, byte by byte, what the compiler
//! makes of the whole text.
//!
//! What the compiler makes of a function does not depend on what stands around it, but for its
//! lines and the locals that it sees. What it makes of the main function depends on a function in
//! it in three ways, which [`Edit::splice`] looks at: the lines behind it, the locals that it
//! captures, and the constants that it has.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::cut::size;
use super::reader::{Read, Reader, Stop, word};
use super::{MAX_DEPTH, op};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush};

/// Of the lines of a function, one that stands in a list of its own.
const ABSOLUTE: i8 = i8::MIN;
/// From so many lines on the next line is written in that list. Which step of the compiler's is as
/// long as that shows roughly: in between nothing is said.
const SURELY_SHORT: u32 = 112;
const SURELY_LONG: u32 = 144;
/// Up to here constants have a place in an instruction: one that has none may be asked for and not
/// be used.
const NAMED_CONSTANTS: usize = 256;
/// Stands for locals that no program can name. (A text that has this name is compiled as a whole.)
const HIDDEN: &[u8] = b"hidden_in_hotreload";
/// In so many parentheses a function stands in a piece, half of what Lua allows: what is too
/// deep for Lua in the text is so in the piece.
const DEEPER: usize = 100;

/// What the compiler has made of a main function.
struct Main<'a> {
    dump: &'a [u8],
    code: &'a [u8],
    /// With their tags.
    constants: Vec<&'a [u8]>,
    children: Vec<Child>,
    /// For each instruction.
    deltas: &'a [u8],
    /// Numbers of instructions, with lines.
    absolute: Vec<(i32, i32)>,
    /// Where both stand in the dump: from the number of instructions on.
    lines: Range<usize>,
    locals: Vec<Local<'a>>,
}

/// A function that stands directly in the main function.
struct Child {
    bytes: Range<usize>,
    first: i32,
    last: i32,
    /// It captures locals of the main function.
    captures: bool,
}

struct Local<'a> {
    name: &'a [u8],
    start: usize,
    end: usize,
}

/// A function's lines, and the descriptions of its upvalues.
struct Function<'a> {
    first: i32,
    last: i32,
    upvalues: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a function and all within it. Hands out each constant with its number and its tag,
    /// but those of the main function go, with all else, to `main`.
    fn parts(
        &mut self,
        depth: u32,
        constant: &mut impl FnMut(usize, &'a [u8]) -> Read<()>,
        mut main: Option<&mut Main<'a>>,
    ) -> Read<Function<'a>> {
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
        for _ in 0..self.count()? {
            let start = self.position();
            let inner = self.parts(depth + 1, constant, None)?;
            if let Some(main) = &mut main {
                main.children.try_push(Child {
                    bytes: start..self.position(),
                    first: inner.first,
                    last: inner.last,
                    captures: captured(inner.upvalues).next().is_some(),
                })?;
            }
        }
        self.debug(code, main)?;
        Ok(Function {
            first,
            last,
            upvalues,
        })
    }

    /// Reads the lines, the locals and the names of a function.
    fn debug(&mut self, code: &'a [u8], main: Option<&mut Main<'a>>) -> Read<()> {
        let Some(main) = main else {
            *self = self.skip_some_debug()?;
            return Ok(());
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
            main.locals.try_push(Local { name, start, end })?;
        }
        for _ in 0..self.count()? {
            self.string()?;
        }
        Ok(())
    }

    /// Writes a function and all within it so many lines further down.
    fn relocate(&mut self, by: i32, depth: u32, out: &mut Vec<u8>) -> Read<()> {
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
        self.upvalues()?;
        let children = self.count()?;
        put(out, self.since(start))?;
        for _ in 0..children {
            self.relocate(by, depth + 1, out)?;
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
        for _ in 0..self.count()? {
            self.string()?;
        }
        put(out, self.since(start))
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Read<()> {
    out.try_reserve(bytes.len()).map_err(|_| Stop::Memory)?;
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_line(out: &mut Vec<u8>, line: i32, by: i32) -> Read<()> {
    let line = line.checked_add(by).ok_or(Stop::Format)?;
    out.try_reserve(10).map_err(|_| Stop::Memory)?;
    size(out, u64::try_from(line).map_err(|_| Stop::Format)?);
    Ok(())
}

/// Nothing where a reader stops, unless it is for want of memory.
fn known<T>(read: Read<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Format) => Ok(None),
        Err(Stop::Memory) => Err(Error::Memory),
    }
}

impl<'a> Main<'a> {
    fn read(dump: &'a [u8]) -> Read<Main<'a>> {
        let mut reader = Reader::of(dump).ok_or(Stop::Format)?;
        let mut main = Main {
            dump,
            code: &[],
            constants: Vec::new(),
            children: Vec::new(),
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

    /// The instruction that makes the child with this number: where it is, and its register.
    fn closure(&self, child: usize) -> Option<(usize, usize)> {
        let is_it = |i: &u32| i & 0x7f == op::CLOSURE && (i >> 15) as usize == child;
        let found = self.instructions().enumerate().find(|(_, i)| is_it(i));
        found.map(|(at, i)| (at, (i >> 7 & 0xff) as usize))
    }

    /// The locals in use at an instruction, one for each register.
    fn active(&self, at: usize) -> impl Iterator<Item = &Local<'a>> {
        let locals = self.locals.iter();
        locals.filter(move |local| local.start <= at && at < local.end)
    }

    /// The line of each instruction.
    fn line_of_each(&self) -> Read<Vec<i32>> {
        let mut lines = Vec::new();
        let mut absolute = self.absolute.iter();
        let mut line = 0_i32;
        for delta in self.deltas {
            line = match *delta as i8 {
                ABSOLUTE => absolute.next().ok_or(Stop::Format)?.1,
                delta => line.checked_add(delta.into()).ok_or(Stop::Format)?,
            };
            lines.try_push(line)?;
        }
        Ok(lines)
    }
}

/// The registers that a function captures, by the descriptions of its upvalues.
fn captured(upvalues: &[u8]) -> impl Iterator<Item = u8> {
    let descriptions = upvalues.as_chunks().0.iter();
    descriptions.filter_map(|[in_stack, index, _]| (*in_stack == 1).then_some(*index))
}

/// Where two texts differ.
#[derive(Debug)]
pub struct Difference {
    start: usize,
    old_end: usize,
    new_end: usize,
}

impl Difference {
    /// Compares two texts; none where they have little in common, so that it is not worth while to
    /// look for more.
    pub fn of(old: &[u8], new: &[u8]) -> Option<Difference> {
        let (start, old_end, new_end) = difference(old, new);
        let is_little = |end: usize, text: &[u8]| end - start <= text.len() / 2;
        let counts_lines = counts_lines(old) && counts_lines(new);
        (is_little(old_end, old) && is_little(new_end, new) && counts_lines).then_some(Difference {
            start,
            old_end,
            new_end,
        })
    }

    /// The texts are the same.
    pub fn is_none(&self) -> bool {
        self.start == self.old_end && self.start == self.new_end
    }
}

/// One function that was edited.
pub struct Edit<'a> {
    /// The old main function.
    main: Main<'a>,
    /// Its number among the children of the main function.
    child: usize,
    /// The piece of the old text, and that of the new one: both are to be compiled, under the name
    /// of the chunk.
    pub pieces: [Vec<u8>; 2],
    /// How many lines longer it is.
    longer: i32,
}

impl<'a> Edit<'a> {
    /// Finds the function that was edited in a text of which the compiler made `dump`, with all
    /// debug information. None where that is more than one function, or none.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn find(
        difference: &Difference,
        [old, new]: [&[u8]; 2],
        dump: &'a [u8],
    ) -> Result<Option<Edit<'a>>> {
        let Some(main) = known(Main::read(dump))? else {
            return Ok(None);
        };
        let found = Finder {
            old,
            new,
            main: &main,
        }
        .find(difference)?;
        Ok(found.map(|(child, pieces, longer)| Edit {
            main,
            child,
            pieces,
            longer,
        }))
    }
}

/// Where two texts begin to differ, and where that ends in each.
fn difference(old: &[u8], new: &[u8]) -> (usize, usize, usize) {
    const WORD: usize = 32;
    let alike = |(a, b): &(&[u8; WORD], &[u8; WORD])| a == b;
    let words = old
        .as_chunks::<WORD>()
        .0
        .iter()
        .zip(new.as_chunks::<WORD>().0);
    let mut start = WORD * words.take_while(alike).count();
    let bytes = old.iter().skip(start).zip(new.iter().skip(start));
    start += bytes.take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(start..), new.get(start..));
    let (old_rest, new_rest) = (old_rest.unwrap_or_default(), new_rest.unwrap_or_default());
    let words = old_rest.as_rchunks::<WORD>().1.iter().rev();
    let words = words.zip(new_rest.as_rchunks::<WORD>().1.iter().rev());
    let mut same = WORD * words.take_while(alike).count();
    let bytes = old_rest.iter().rev().skip(same);
    let bytes = bytes.zip(new_rest.iter().rev().skip(same));
    same += bytes.take_while(|(a, b)| a == b).count();
    (start, old.len() - same, new.len() - same)
}

/// Are line feeds all that ends lines? (Lua takes `\r` for a line's end, and it together with a
/// line feed for one.)
fn counts_lines(text: &[u8]) -> bool {
    if !text.contains(&b'\r') {
        return true;
    }
    let mut returns = text.iter().enumerate().filter(|(_, byte)| **byte == b'\r');
    returns.all(|(at, _)| text.get(at + 1) == Some(&b'\n'))
}

/// How many line feeds there are.
fn lines(text: &[u8]) -> usize {
    let (chunks, rest) = text.as_chunks::<64>();
    let count = |bytes: &[u8]| {
        let feeds = bytes.iter().map(|byte| u8::from(*byte == b'\n'));
        usize::from(feeds.fold(0_u8, |sum, one| sum.wrapping_add(one)))
    };
    chunks.iter().map(|chunk| count(chunk)).sum::<usize>() + count(rest)
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

const FUNCTION: &[u8] = b"function";

struct Finder<'a> {
    old: &'a [u8],
    new: &'a [u8],
    main: &'a Main<'a>,
}

/// The number of a function, both pieces, and how many lines longer it is.
type Found = (usize, [Vec<u8>; 2], i32);

impl Finder<'_> {
    fn find(&self, difference: &Difference) -> Result<Option<Found>> {
        let Some(found) = self.enclosing(difference) else {
            return Ok(None);
        };
        let (child, begin, old, new) = found;
        if has_attribute(self.old, Some(self.main)) {
            return Ok(None);
        }
        let Some((paren, is_named, is_method)) = head(old) else {
            return Ok(None);
        };
        let has_hidden = |text: &[u8]| text.windows(HIDDEN.len()).any(|word| word == HIDDEN);
        if begin + paren >= difference.start || has_hidden(old) || has_hidden(new) {
            return Ok(None);
        }
        let Some(context) = self.context(child, is_named)? else {
            return Ok(None);
        };
        let piece = |text: &[u8]| -> Result<Vec<u8>> {
            let inside = text.get(paren + 1..).unwrap_or_default();
            let this: &[u8] = match (is_method, inside.trim_ascii_start().first()) {
                (false, _) => b"",
                (true, Some(b')')) => b"self",
                (true, _) => b"self,",
            };
            let parts = [
                &context,
                &b"return "[..],
                &[b'('; DEEPER],
                FUNCTION,
                b"(",
                this,
                inside,
            ];
            let parts = parts.into_iter().chain([&[b')'; DEEPER][..]]);
            let mut piece = Vec::new();
            piece.try_reserve_exact(parts.clone().map(|part| part.len()).sum())?;
            parts.for_each(|part| piece.extend_from_slice(part));
            Ok(piece)
        };
        let longer = lines(new) as i32 - lines(old) as i32;
        Ok(Some((child, [piece(old)?, piece(new)?], longer)))
    }

    /// The one function of the main function that has the whole difference within it: its number,
    /// where it begins, and what it is in both texts.
    fn enclosing(&self, difference: &Difference) -> Option<(usize, usize, &[u8], &[u8])> {
        let Difference {
            start,
            old_end,
            new_end,
        } = *difference;
        let line = 1 + lines(self.old.get(..start)?);
        let last = line + lines(self.old.get(start..old_end)?);
        let around = |child: &Child| child.first <= line as i32 && last as i32 <= child.last;
        let mut children = self.main.children.iter().enumerate();
        let (number, child) = children.find(|(_, child)| around(child))?;
        if children.any(|(_, child)| around(child)) {
            return None;
        }
        let mut begin = start;
        for _ in child.first..=line as i32 {
            let before = self.old.get(..begin)?;
            begin = before.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        }
        let begin = begin + the_function(self.old.get(begin..)?)?;
        let end = begin + end_of(self.old.get(begin..)?)?;
        let end_in_new = begin + end_of(self.new.get(begin..)?)?;
        // Behind it both texts are the same.
        let is_whole = begin + FUNCTION.len() <= start
            && old_end <= end
            && new_end <= end_in_new
            && self.old.len() - end == self.new.len() - end_in_new;
        let (old, new) = (self.old.get(begin..end)?, self.new.get(begin..end_in_new)?);
        let has_lines = child.first + lines(old) as i32 == child.last;
        (is_whole && has_lines).then_some((number, begin, old, new))
    }

    /// Declares locals of the names and registers that a child sees.
    fn context(&self, child: usize, is_named: bool) -> Result<Option<Vec<u8>>> {
        let Some((at, register)) = self.main.closure(child) else {
            return Ok(None);
        };
        let active = self.main.active(at);
        let count = self.main.active(at).count();
        // A local function sees itself, though the debugger does not see it yet.
        let own = self.main.locals.iter();
        let own = own.filter(|local| is_named && register == count && local.start == at + 1);
        let (mut out, mut separator) = (Vec::new(), &b"local "[..]);
        for local in active.chain(own.take(1)) {
            let name = match local.name.first() {
                Some(b'(') | None => HIDDEN,
                Some(_) => local.name,
            };
            out.try_reserve(separator.len() + name.len() + 1)?;
            out.extend_from_slice(separator);
            out.extend_from_slice(name);
            separator = b",";
        }
        out.try_reserve(1)?;
        out.push(b' ');
        Ok(Some(out))
    }
}

/// Where, behind the line feed before a line, the word `function` stands that begins a function on
/// this line: the only one there, or the first one, where nothing on the line can be a string or a
/// comment.
fn the_function(text: &[u8]) -> Option<usize> {
    let skip = usize::from(text.first() == Some(&b'\n'));
    let text = text.get(skip..)?;
    let length = text.iter().position(|byte| *byte == b'\n');
    let line = text.get(..length.unwrap_or(text.len()))?;
    let is_it = |(at, word): &(usize, &[u8])| {
        let before = at.checked_sub(1).and_then(|at| line.get(at));
        let behind = line.get(at + FUNCTION.len());
        *word == FUNCTION && ![before, behind].into_iter().flatten().any(|b| is_word(*b))
    };
    let mut words = line.windows(FUNCTION.len()).enumerate().filter(is_it);
    let (first, _) = words.next()?;
    let last = words.next_back().map_or(first, |(at, _)| at);
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\'' | b'[' | b']' | b'-');
    (first == last || line.get(..last)?.iter().all(is_plain)).then_some(skip + first)
}

/// Has a text a local with an attribute that stands at the margin, and so most likely in no
/// function?
pub fn has_attribute_at_margin(text: &[u8]) -> bool {
    has_attribute(text, None)
}

/// Has a text a local with an attribute that stands in none of the functions of `main`, or at the
/// margin? A piece cannot have it: it may be a constant, of which the dump does not tell.
fn has_attribute(text: &[u8], main: Option<&Main>) -> bool {
    // Few texts have a `<` in many places, and a long one is looked through quickly.
    let chunks = text.chunks(64).enumerate();
    let chunks = chunks.filter(|(_, chunk)| chunk.contains(&b'<'));
    let mut places = chunks.flat_map(|(number, chunk)| {
        let places = chunk.iter().enumerate().filter(|(_, byte)| **byte == b'<');
        places.map(move |(at, _)| 64 * number + at)
    });
    let (mut line, mut counted) = (1, 0);
    places.any(|at| {
        let behind = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
        if !behind.starts_with(b"const") && !behind.starts_with(b"close") {
            return false;
        }
        let before = text.get(..at).unwrap_or_default();
        let Some(main) = main else {
            let start = before.iter().rposition(|byte| *byte == b'\n');
            let start = start.map_or(0, |feed| feed + 1);
            return text
                .get(start..)
                .is_some_and(|line| line.starts_with(b"local"));
        };
        line += lines(before.get(counted..).unwrap_or_default()) as i32;
        counted = at;
        let is_inside = |child: &Child| child.first < line && line < child.last;
        !main.children.iter().any(is_inside)
    })
}

/// Of a function's text: where its parameters begin, whether it has a name, and a `self`.
fn head(text: &[u8]) -> Option<(usize, bool, bool)> {
    let paren = text.iter().position(|byte| *byte == b'(')?;
    let name = text.get(FUNCTION.len()..paren)?;
    let is_plain = |byte: &u8| is_word(*byte) || matches!(byte, b'.' | b':' | b' ' | b'\t');
    let is_named = name.iter().copied().any(is_word);
    name.iter()
        .all(is_plain)
        .then(|| (paren, is_named, name.contains(&b':')))
}

/// What a block of a text waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Do,
    End,
    Until,
}

/// Where the function ends with which a text begins; none where that is not sure.
fn end_of(text: &[u8]) -> Option<usize> {
    let mut blocks = [Awaits::End; MAX_DEPTH as usize];
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..)?;
        if byte.is_ascii_digit() || byte == b'.' && rest.get(1).is_some_and(u8::is_ascii_digit) {
            at += number(rest);
        } else if is_word(byte) {
            let length = rest.iter().position(|byte| !is_word(*byte));
            let length = length.unwrap_or(rest.len());
            let awaits = match rest.get(..length)? {
                b"function" | b"if" => Some(Awaits::End),
                b"for" | b"while" => Some(Awaits::Do),
                b"repeat" => Some(Awaits::Until),
                b"do" => match blocks.get_mut(depth.wrapping_sub(1)) {
                    Some(block) if *block == Awaits::Do => {
                        *block = Awaits::End;
                        None
                    }
                    _ => Some(Awaits::End),
                },
                word @ (b"end" | b"until") => {
                    let awaited = match word {
                        b"end" => Awaits::End,
                        _ => Awaits::Until,
                    };
                    depth = depth.checked_sub(1)?;
                    if blocks.get(depth) != Some(&awaited) {
                        return None;
                    }
                    if depth == 0 {
                        return Some(at + length);
                    }
                    None
                }
                _ => None,
            };
            if let Some(awaits) = awaits {
                *blocks.get_mut(depth)? = awaits;
                depth += 1;
            }
            at += length;
        } else {
            at += match (byte, rest.get(1)) {
                (b'"' | b'\'', _) => string(rest)?,
                (b'-', Some(b'-')) => match long_bracket(rest.get(2..)?) {
                    Bracket::None => rest.iter().position(|byte| *byte == b'\n')?,
                    Bracket::Open => return None,
                    Bracket::Closed(length) => 2 + length,
                },
                (b'[', _) => match long_bracket(rest) {
                    Bracket::None => 1,
                    Bracket::Open => return None,
                    Bracket::Closed(length) => length,
                },
                _ => 1,
            };
        }
    }
    None
}

/// The length of the number with which a text begins, as Lua reads it.
fn number(text: &[u8]) -> usize {
    let exponent: &[u8; 2] = match text {
        [b'0', b'x' | b'X', ..] => b"pP",
        _ => b"eE",
    };
    let mut before = 0;
    let belongs = |byte: &u8| {
        let is_sign = matches!(byte, b'+' | b'-') && exponent.contains(&before);
        before = *byte;
        is_sign || is_word(*byte) || *byte == b'.'
    };
    text.iter().copied().take_while(belongs).count()
}

/// The length of the quoted string with which a text begins.
fn string(text: &[u8]) -> Option<usize> {
    let quote = text.first()?;
    let mut at = 1;
    loop {
        match text.get(at..)? {
            [byte, ..] if byte == quote => return Some(at + 1),
            [b'\n', ..] => return None,
            [b'\\', b'\r', b'\n', ..] => at += 3,
            [b'\\', b'z', rest @ ..] => {
                at += 2 + rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
            }
            [b'\\', _, ..] => at += 2,
            [_, ..] => at += 1,
            [] => return None,
        }
    }
}

enum Bracket {
    None,
    Open,
    /// Its length.
    Closed(usize),
}

/// The long bracket with which a text begins.
fn long_bracket(text: &[u8]) -> Bracket {
    let Some(rest) = text.strip_prefix(b"[") else {
        return Bracket::None;
    };
    let level = rest.iter().take_while(|byte| **byte == b'=').count();
    if rest.get(level) != Some(&b'[') {
        return Bracket::None;
    }
    let mut closing = rest.windows(level + 2).enumerate().skip(level + 1);
    let is_level = |equals: &[u8]| equals.iter().all(|byte| *byte == b'=');
    let is_end = |(_, part): &(usize, &[u8])| match part {
        [b']', equals @ .., b']'] => is_level(equals),
        _ => false,
    };
    match closing.find(is_end) {
        Some((at, _)) => Bracket::Closed(1 + at + level + 2),
        None => Bracket::Open,
    }
}

impl Edit<'_> {
    /// The dump of the new text: that of the old one with the function exchanged. `old` and `new`
    /// are the dumps of the pieces. None where it is not sure to be what the compiler makes of the
    /// whole text.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn splice(&self, [old, new]: [&[u8]; 2]) -> Result<Option<Vec<u8>>> {
        known(self.spliced(old, new))
    }

    fn spliced(&self, old: &[u8], new: &[u8]) -> Read<Vec<u8>> {
        let main = &self.main;
        let dump = main.dump;
        let child = main.children.get(self.child).ok_or(Stop::Format)?;
        let (at, _) = main.closure(self.child).ok_or(Stop::Format)?;
        let relocated = |piece: &[u8]| -> Read<Vec<u8>> {
            let piece = Main::read(piece)?;
            let [only] = &piece.children[..] else {
                return Err(Stop::Format);
            };
            let mut out = Vec::new();
            let mut reader = Reader::at(piece.dump, only.bytes.start).ok_or(Stop::Format)?;
            reader.relocate(child.first - only.first, 1, &mut out)?;
            Ok(out)
        };
        let was = dump.get(child.bytes.clone()).ok_or(Stop::Format)?;
        if relocated(old)? != was {
            return Err(Stop::Format);
        }
        let function = relocated(new)?;
        self.check_captured(at, was, &function)?;
        check_constants(main, at, was, &function)?;

        let mut out = Vec::new();
        let room = dump.len() + dump.len() / 64 + function.len();
        out.try_reserve(room).map_err(|_| Stop::Memory)?;
        put(&mut out, dump.get(..child.bytes.start).ok_or(Stop::Format)?)?;
        put(&mut out, &function)?;
        if self.longer == 0 {
            put(&mut out, dump.get(child.bytes.end..).ok_or(Stop::Format)?)?;
            return Ok(out);
        }
        for later in main.children.iter().skip(self.child + 1) {
            let mut reader = Reader::at(dump, later.bytes.start).ok_or(Stop::Format)?;
            reader.relocate(self.longer, 1, &mut out)?;
        }
        self.put_lines(at, &mut out)?;
        put(&mut out, dump.get(main.lines.end..).ok_or(Stop::Format)?)?;
        Ok(out)
    }

    /// Which blocks of the main function are left by closing variables depends on what is captured
    /// in them; the outermost one is not.
    fn check_captured(&self, at: usize, old: &[u8], new: &[u8]) -> Read<()> {
        let main = &self.main;
        let registers = |function: &[u8]| -> Read<[bool; 256]> {
            let mut reader = Reader::at(function, 0).ok_or(Stop::Format)?;
            let upvalues = reader.parts(1, &mut |_, _| Ok(()), None)?;
            let mut registers = [false; 256];
            for register in captured(upvalues.upvalues) {
                if let Some(place) = registers.get_mut(usize::from(register)) {
                    *place = true;
                }
            }
            Ok(registers)
        };
        let (old, new) = (registers(old)?, registers(new)?);
        let outermost = main.code.len() / 4;
        // A local function itself follows those that are in use.
        let own = main.locals.iter().filter(|local| local.start == at + 1);
        let mut ends = main.active(at).chain(own.take(1)).map(|local| local.end);
        for (old, new) in old.iter().zip(&new) {
            if ends.next().is_some_and(|end| end != outermost) && old != new {
                return Err(Stop::Format);
            }
        }
        let any = |registers: &[bool; 256]| registers.contains(&true);
        let others = main.children.iter().enumerate();
        let mut others = others.filter(|(number, _)| *number != self.child);
        match any(&old) == any(&new) || others.any(|(_, child)| child.captures) {
            true => Ok(()),
            false => Err(Stop::Format),
        }
    }

    /// Writes the main function's lines. What stands behind the function has moved; a statement
    /// around it goes on at the line where it began.
    fn put_lines(&self, at: usize, out: &mut Vec<u8>) -> Read<()> {
        let main = &self.main;
        let child = main.children.get(self.child).ok_or(Stop::Format)?;
        if child.first == child.last {
            return Err(Stop::Format); // which side an instruction is on does not show
        }
        let lines = main.line_of_each()?;
        let count = lines.len() as u64;
        out.try_reserve(10 + lines.len())
            .map_err(|_| Stop::Memory)?;
        size(out, count);
        let mut absolute = Vec::new();
        let mut entries = main.absolute.iter();
        let (mut before, mut was_behind) = ((0, 0), false);
        for (i, (&line, &delta)) in lines.iter().zip(main.deltas).enumerate() {
            let is_behind = i >= at && line >= child.last;
            if i >= at && line > child.first && line < child.last {
                return Err(Stop::Format);
            }
            if i > at && !is_behind && !was_behind {
                return Err(Stop::Format); // steps of the compiler's may have been there and back
            }
            let now = line + if is_behind { self.longer } else { 0 };
            let (step, new_step) = (line - before.0, now - before.1);
            let crosses = is_behind != was_behind;
            let sure = |step: i32| !(SURELY_SHORT..SURELY_LONG).contains(&step.unsigned_abs());
            let is_long = |step: i32| step.unsigned_abs() >= SURELY_LONG;
            if crosses && (!sure(step) || !sure(new_step) || is_long(step) != is_long(new_step)) {
                return Err(Stop::Format);
            }
            if delta as i8 == ABSOLUTE {
                let (number, _) = *entries.next().ok_or(Stop::Format)?;
                absolute.try_push((number, now))?;
                out.push(delta);
            } else {
                let new_step = i8::try_from(new_step).map_err(|_| Stop::Format)?;
                out.push(new_step as u8);
            }
            (before, was_behind) = ((line, now), is_behind);
        }
        put_line(out, absolute.len() as i32, 0)?;
        for (number, line) in absolute {
            put_line(out, number, 0)?;
            put_line(out, line, 0)?;
        }
        Ok(())
    }
}

/// The compiler has one table for the constants of all functions, which tells where each was put
/// last. So a constant that the main function uses before and behind a function gets another place
/// if the function has it as well.
fn check_constants(main: &Main, at: usize, old: &[u8], new: &[u8]) -> Read<()> {
    let (old, new) = (constants(old)?, constants(new)?);
    if old == new {
        return Ok(());
    }
    let mut seen: FxHashMap<&[u8], Seen> = FxHashMap::default();
    for (list, is_new) in [(old, false), (new, true)] {
        for (number, bytes) in list {
            let mut known: Seen = seen.get(bytes).copied().unwrap_or_default();
            known.in_place |= main.constants.get(number) == Some(&bytes);
            known.old |= !is_new;
            known.new |= is_new;
            seen.try_insert_value(bytes, known)?;
        }
    }
    // Where the main function uses those that matter: how often, and whether behind the function.
    let mut uses: FxHashMap<&[u8], (u32, bool)> = FxHashMap::default();
    let few = main.constants.len() <= NAMED_CONSTANTS;
    let has_floats = main.constants.iter().any(|constant| is_float(constant));
    for (constant, seen) in &seen {
        if seen.old != seen.new && is_float(constant) && has_floats {
            return Err(Stop::Format); // two that are nearly the same may be one in that table
        }
    }
    for constant in &main.constants {
        if seen
            .get(constant)
            .is_some_and(|seen| seen.old != seen.new || seen.in_place)
        {
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
                *behind |= place > at;
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
struct Seen {
    old: bool,
    new: bool,
    /// One of them has it where the main function has it.
    in_place: bool,
}

/// The constants of a function and of all within it, each with its number in its function.
fn constants(function: &[u8]) -> Read<Vec<(usize, &[u8])>> {
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
