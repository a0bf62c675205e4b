//! Reads a text of Lua, as far as it takes to find the functions in it.
//!
//! What is found is a guess, which whoever uses it compares with what the compiler has made of the
//! text. Where something is not sure, nothing is found.

use std::ops::Range;

use crate::support::error::Result;
use crate::support::mem::{TryPush, copied};

/// The word with which a function begins.
pub(super) const FUNCTION: &[u8] = b"function";

/// Where two texts differ.
#[derive(Debug)]
pub struct Difference {
    pub(super) start: usize,
    pub(super) old_end: usize,
    pub(super) new_end: usize,
}

impl Difference {
    /// Compares two texts; none where they have little in common, so that it is not worth while to
    /// look for more.
    /// `old_counts_lines`: [`counts_lines`] of the old one.
    pub fn of(
        old: &[u8],
        new: &[u8],
        old_counts_lines: impl FnOnce() -> bool,
    ) -> Option<Difference> {
        let (start, old_end, new_end) = difference(old, new);
        let is_little = |end: usize, text: &[u8]| end - start <= text.len() / 4 * 3;
        let edited = start.saturating_sub(1)..new_end;
        (is_little(old_end, old)
            && is_little(new_end, new)
            && old_counts_lines()
            && counts_lines_in(new, edited))
        .then_some(Difference {
            start,
            old_end,
            new_end,
        })
    }
}

/// Texts are compared by so many bytes at a time.
const WORD: usize = 32;

fn alike((a, b): &(&[u8; WORD], &[u8; WORD])) -> bool {
    a == b
}

/// With how many bytes both texts begin.
pub(super) fn common(old: &[u8], new: &[u8]) -> usize {
    let (words, others) = (old.as_chunks::<WORD>().0, new.as_chunks::<WORD>().0);
    let start = WORD * words.iter().zip(others).take_while(alike).count();
    let bytes = old.iter().skip(start).zip(new.iter().skip(start));
    start + bytes.take_while(|(a, b)| a == b).count()
}

/// Where two texts begin to differ, and where that ends in each.
pub(super) fn difference(old: &[u8], new: &[u8]) -> (usize, usize, usize) {
    let start = common(old, new);
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
pub fn counts_lines(text: &[u8]) -> bool {
    counts_lines_in(text, 0..text.len())
}

/// The same for a part of a text.
fn counts_lines_in(text: &[u8], part: Range<usize>) -> bool {
    let start = part.start;
    let mut returns = places_of(text.get(part).unwrap_or_default(), b'\r');
    returns.all(|at| text.get(start + at + 1) == Some(&b'\n'))
}

/// A text is looked through by blocks of so many bytes.
const BLOCK: usize = 64;

/// Where a text has this byte. (Blocks without it are passed by in few instructions.)
pub(super) fn places_of(text: &[u8], byte: u8) -> impl Iterator<Item = usize> {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let has_byte = move |block: &[u8; BLOCK]| {
        let found = block.iter().map(|own| u8::from(*own == byte));
        found.fold(0, |all, one| all | one) != 0
    };
    let blocks = (0..).step_by(BLOCK).zip(blocks);
    let blocks = blocks.filter(move |(_, block)| has_byte(block));
    let blocks = blocks.map(|(start, block)| (start, block.as_slice()));
    let all = blocks.chain([(text.len() - rest.len(), rest)]);
    all.flat_map(move |(start, block)| {
        let places = (start..).zip(block).filter(move |(_, own)| **own == byte);
        places.map(|(at, _)| at)
    })
}

/// Does a text have this word in it, or as a part of another one? (It is looked through by blocks,
/// for places where the word might begin.)
pub(super) fn has_word(text: &[u8], word: &[u8]) -> bool {
    let [Some(first), Some(last)] = [word.first(), word.last()] else {
        return true;
    };
    let behind = text.get(word.len() - 1..).unwrap_or_default();
    let (begins, ends) = (text.as_chunks::<BLOCK>().0, behind.as_chunks::<BLOCK>().0);
    let blocks = begins.iter().zip(ends).zip((0..).step_by(BLOCK));
    let is_in = |from: usize, to: usize| {
        let part = text.get(from..to.min(text.len())).unwrap_or_default();
        let mut found = part.windows(word.len());
        found.any(|found| found.first() == Some(first) && found == word)
    };
    let may_begin = |(begin, end): (&[u8; BLOCK], &[u8; BLOCK])| {
        let both = begin.iter().zip(end);
        let both = both.map(|(a, b)| u8::from(a == first) & u8::from(b == last));
        both.fold(0, |all, one| all | one) != 0
    };
    let rest = begins.len().min(ends.len()) * BLOCK;
    is_in(rest, text.len())
        || blocks
            .filter(|(block, _)| may_begin(*block))
            .any(|(_, at)| is_in(at, at + BLOCK + word.len() - 1))
}

/// How many line feeds there are.
pub(super) fn lines(text: &[u8]) -> usize {
    let (chunks, rest) = text.as_chunks::<64>();
    let count = |bytes: &[u8]| {
        let feeds = bytes.iter().map(|byte| u8::from(*byte == b'\n'));
        usize::from(feeds.fold(0_u8, |sum, one| sum.wrapping_add(one)))
    };
    chunks.iter().map(|chunk| count(chunk)).sum::<usize>() + count(rest)
}

pub(super) fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Where, behind the line feed before a line, the word `function` stands that begins a function on
/// this line: the only one there, or the first one, where nothing on the line can be a string or a
/// comment.
pub(super) fn the_function(text: &[u8]) -> Option<usize> {
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

/// A function's text up to its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Head {
    /// Where the parameters begin.
    pub(super) paren: usize,
    pub(super) is_named: bool,
    /// It has a `self`.
    pub(super) is_method: bool,
}

/// The head of the function with which a text begins.
pub(super) fn head(text: &[u8]) -> Option<Head> {
    let paren = text.iter().position(|byte| *byte == b'(')?;
    let name = text.get(FUNCTION.len()..paren)?;
    let is_plain = |byte: &u8| is_word(*byte) || matches!(byte, b'.' | b':' | b' ' | b'\t');
    name.iter().all(is_plain).then(|| Head {
        paren,
        is_named: name.iter().copied().any(is_word),
        is_method: name.contains(&b':'),
    })
}

/// A function of a text that stands in no other one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outermost {
    pub(super) begin: usize,
    /// Behind its `end`.
    pub(super) end: usize,
    pub(super) head: Head,
    pub(super) first: i32,
    pub(super) last: i32,
    /// In so many blocks and brackets it stands.
    pub(super) depth: usize,
}

/// Functions of the old text that are compared with one of the new text: so many before and behind
/// the one that comes next.
const BESIDE: usize = 8;

/// The outermost functions of two texts; none where that is not sure, or where a local outside of
/// functions has an attribute. Those of the old one may be `known`.
pub(super) fn functions(
    [old, new]: [&[u8]; 2],
    difference: &Difference,
    known: Option<&[Outermost]>,
) -> Result<Option<[Vec<Outermost>; 2]>> {
    let before = match known {
        Some(known) => Some(copied(known)?),
        None => all_functions(old)?,
    };
    let Some(before) = before else {
        return Ok(None);
    };
    // Up to where the texts differ, and behind that, they have the same functions.
    let mut after = Functions::default();
    for function in before
        .iter()
        .take_while(|function| function.end < difference.start)
    {
        (after.at, after.depth, after.line) = (function.end, function.depth, function.last);
        after.found.try_push(*function)?;
    }
    let mut next = after.found.len();
    let is_read = after.read(new, |function| {
        let number = match function.end.checked_sub(difference.new_end) {
            Some(behind) => {
                let end = difference.old_end + behind;
                let number = before.partition_point(|old| old.end < end);
                let old = before.get(number)?;
                (old.end == end && old.depth == function.depth).then_some(number)
            }
            None => {
                let written = new.get(function.begin..function.end);
                let is_it = |number: &usize| {
                    let other = before.get(*number);
                    let other = other.filter(|other| other.depth == function.depth);
                    other.is_some_and(|other| old.get(other.begin..other.end) == written)
                };
                let beside = next.saturating_sub(BESIDE)..next;
                (next..next + BESIDE).chain(beside).find(is_it)
            }
        };
        next = number.unwrap_or(next) + 1;
        let (was, rest) = before.get(number?..)?.split_first()?;
        let (old, new) = (old.get(was.end..)?, new.get(function.end..)?);
        let length = common(old, new);
        let are_all = length == old.len() && length == new.len();
        // (Behind the last one, too, something has to be the same: `end` and `ends` are not.)
        let count = rest.partition_point(|old| are_all || old.end - was.end < length);
        next += count;
        Some((was, rest.get(..count)?, are_all))
    })?;
    Ok(is_read.then_some([before, after.found]))
}

/// The outermost functions of a text.
pub fn all_functions(text: &[u8]) -> Result<Option<Vec<Outermost>>> {
    let mut all = Functions::default();
    let is_read = all.read(text, |_| None)?;
    Ok(is_read.then_some(all.found))
}

/// The outermost functions of a text as far as it was read.
struct Functions {
    found: Vec<Outermost>,
    /// Behind the last one: where that is, and in which line.
    at: usize,
    line: i32,
    depth: usize,
}

impl Default for Functions {
    fn default() -> Self {
        Functions {
            found: Vec::new(),
            at: 0,
            line: 1,
            depth: 0,
        }
    }
}

impl Functions {
    /// Reads on to the end. `known` tells which function of another text one of this text is, which
    /// ones follow both, with the same text in between, and whether these are all. Returns whether
    /// all is sure.
    fn read<'o>(
        &mut self,
        text: &[u8],
        mut known: impl FnMut(&Outermost) -> Option<(&'o Outermost, &'o [Outermost], bool)>,
    ) -> Result<bool> {
        let mut lexer = Lexer { text, at: self.at };
        let mut is_attribute = false;
        loop {
            let Some(token) = lexer.next() else {
                return Ok(false);
            };
            match token {
                Token::End => return Ok(true),
                Token::Word(b"const" | b"close") if is_attribute => return Ok(false),
                Token::Word(FUNCTION) => {
                    let begin = lexer.at - FUNCTION.len();
                    let head = text.get(begin..).and_then(head);
                    let (Some(head), Some(end)) = (head, lexer.end()) else {
                        return Ok(false);
                    };
                    let between = |from: usize, to: usize| {
                        lines(text.get(from..to).unwrap_or_default()) as i32
                    };
                    let first = self.line + between(self.at, begin);
                    self.line = first + between(begin, end);
                    self.at = end;
                    let function = Outermost {
                        begin,
                        end,
                        head,
                        first,
                        last: self.line,
                        depth: self.depth,
                    };
                    self.found.try_push(function)?;
                    if let Some((was, rest, are_all)) = known(&function) {
                        for other in rest {
                            let other = Outermost {
                                begin: other.begin - was.end + function.end,
                                end: other.end - was.end + function.end,
                                first: other.first - was.last + function.last,
                                last: other.last - was.last + function.last,
                                ..*other
                            };
                            self.found.try_push(other)?;
                            (self.at, self.line) = (other.end, other.last);
                            self.depth = other.depth;
                        }
                        if are_all {
                            return Ok(true);
                        }
                    }
                    lexer.at = self.at;
                }
                Token::Word(word) => self.depth = self.depth.saturating_add_signed(opens(word)),
                Token::Mark(b'(' | b'[' | b'{') => self.depth += 1,
                Token::Mark(b'<') => {}
                Token::Mark(_) => self.depth = self.depth.saturating_sub(1),
            }
            is_attribute = matches!(token, Token::Mark(b'<'));
        }
    }
}

/// Where the function ends with which a text begins; none where that is not sure.
pub(super) fn end_of(text: &[u8]) -> Option<usize> {
    let at = FUNCTION.len();
    Lexer { text, at }.end()
}

/// Whether a word opens a block (1), or closes one (-1).
#[inline(always)]
fn opens(word: &[u8]) -> isize {
    match word {
        // (A `while` or a `for` has its `do`.)
        FUNCTION | b"do" | b"if" | b"repeat" => 1,
        b"end" | b"until" => -1,
        _ => 0,
    }
}

enum Token<'a> {
    /// A word that may be one of those that matter.
    Word(&'a [u8]),
    /// A bracket, or a `<`.
    Mark(u8),
    End,
}

/// What a token may be that begins with a byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum ByteClass {
    /// None that matters.
    Other,
    Dot,
    Quote,
    Minus,
    Mark,
    /// This one and those behind it go on in a word.
    Digit,
    Word,
    /// One that can begin a word that matters.
    First,
}

const CLASSES: [ByteClass; 256] = {
    let mut classes = [ByteClass::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing)] // while it is compiled
        {
            classes[byte] = match byte as u8 {
                b'0'..=b'9' => ByteClass::Digit,
                b'c' | b'd' | b'e' | b'f' | b'i' | b'r' | b'u' => ByteClass::First,
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => ByteClass::Word,
                b'.' => ByteClass::Dot,
                b'"' | b'\'' => ByteClass::Quote,
                b'-' => ByteClass::Minus,
                b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' => ByteClass::Mark,
                _ => ByteClass::Other,
            };
        }
        byte += 1;
    }
    classes
};

#[inline(always)]
fn class(byte: u8) -> ByteClass {
    CLASSES
        .get(usize::from(byte))
        .copied()
        .unwrap_or(ByteClass::Other)
}

/// Goes from token to token that matters, past strings, comments and numbers.
struct Lexer<'a> {
    text: &'a [u8],
    /// Behind the last token.
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Goes behind the `end` of a function whose beginning was read.
    fn end(&mut self) -> Option<usize> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next()? {
                Token::Word(word) => depth = depth.checked_add_signed(opens(word))?,
                Token::Mark(_) => {}
                Token::End => return None,
            }
        }
        Some(self.at)
    }

    /// The next token; none where a string or a comment has no end.
    #[inline]
    fn next(&mut self) -> Option<Token<'a>> {
        let (text, mut at) = (self.text, self.at);
        while let Some(&byte) = text.get(at) {
            at += match class(byte) {
                ByteClass::Other => 1,
                begins @ (ByteClass::First | ByteClass::Word) => {
                    let start = at;
                    at += 1;
                    while let Some(&byte) = text.get(at)
                        && class(byte) >= ByteClass::Digit
                    {
                        at += 1;
                    }
                    if begins == ByteClass::First && at - start <= FUNCTION.len() {
                        self.at = at;
                        return text.get(start..at).map(Token::Word);
                    }
                    0
                }
                ByteClass::Digit => number(text.get(at..)?),
                ByteClass::Dot => match text.get(at + 1) {
                    Some(b'0'..=b'9') => number(text.get(at..)?),
                    _ => 1,
                },
                ByteClass::Quote => string(text.get(at..)?)?,
                ByteClass::Minus if text.get(at + 1) != Some(&b'-') => 1,
                ByteClass::Minus => match long_bracket(text.get(at + 2..)?) {
                    Bracket::None => {
                        let rest = text.get(at..)?;
                        let feed = rest.iter().position(|byte| *byte == b'\n');
                        feed.unwrap_or(rest.len())
                    }
                    Bracket::Open => return None,
                    Bracket::Closed(length) => 2 + length,
                },
                ByteClass::Mark => match long_bracket(text.get(at..)?) {
                    Bracket::None => {
                        self.at = at + 1;
                        return Some(Token::Mark(byte));
                    }
                    Bracket::Open => return None,
                    Bracket::Closed(length) => length,
                },
            };
        }
        self.at = at;
        Some(Token::End)
    }
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
