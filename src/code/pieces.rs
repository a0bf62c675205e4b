//! Puts functions of a text that were edited into the dump of what the text was before, so that
//! nothing else of it has to be compiled again.
//!
//! Where two texts differ within functions that stand directly in the main function, only these are
//! compiled, in *pieces*: chunks that declare locals of the names and registers that the functions
//! see, and make each as it is in the old text and in the new one. Unless the compiler makes of the
//! old ones exactly what the old dump has, nothing here holds, and the whole text is to be
//! compiled. (A function of the old dump may come from such a piece itself: then only the new one
//! is in the piece.) The result is, byte by byte, what the compiler makes of the whole text.
//!
//! Functions of which one sees the locals that the other sees, and more behind them, have one
//! piece. A function that captures none of those further locals is what it would be without them.
//!
//! What the compiler makes of a function does not depend on what stands around it, but for its
//! lines and the locals that it sees. What it makes of the main function depends on a function in
//! it in three ways, which [`Pieces::filled`] looks at: the lines behind it, the locals that it
//! captures, and the constants that it has. Several functions could be exchanged one after the
//! other, the last one first, and each text in between would be compiled to the dump in between. So
//! what holds of one edit holds of several.

use std::ops::Range;
use std::sync::Arc;

use super::EditedChild;
use super::reader::{ABSOLUTE, Read, Reader, Stop, known};
use super::splice::{Main, MainChild, Piece, captured, check_all_constants, put, put_line};
use super::text::{Difference, FUNCTION, Head, common, end_of, head, lines, the_function};
use crate::support::error::Result;
use crate::support::mem::{TryPush, collected, copied, counted};

/// From so many lines on the next line is written in a list. Which step of the compiler's is as
/// long as that shows roughly: in between nothing is said.
const SURELY_SHORT: u32 = 112;
const SURELY_LONG: u32 = 144;
/// Stands for locals that no program can name. (A text that has this name is compiled as a whole,
/// where it stands for one.)
const HIDDEN: &[u8] = b"hidden_in_hotreload";
/// In so many parentheses a function stands in a piece, half of what Lua allows: what is too
/// deep for Lua in the text is so in the piece.
const DEEPER: usize = 100;
/// About as long is a piece of one function without the locals.
const PIECE: usize = 2 * DEEPER + 1024;
/// So many functions may have another number of lines: the lines of the main function are gone
/// through once for each.
const MOST_MOVED: usize = 64;

/// The functions that were edited.
pub struct Pieces<'a> {
    /// The pieces, to be compiled under the name of the chunk.
    pub texts: Vec<Vec<u8>>,
    /// The old main function.
    main: &'a Main<'a>,
    /// In the order of the text.
    edits: Vec<PieceEdit>,
    /// How they stand in the new text.
    known: Vec<Piece>,
}

/// One function that was edited.
#[derive(Clone, Copy)]
struct PieceEdit {
    /// Its number among the children of the main function.
    child: usize,
    /// The instruction that makes it.
    at: usize,
    /// So many locals it sees.
    sees: usize,
    /// How many lines longer it is.
    longer: i32,
    /// Its piece, and which functions in that it is: as in the old text, if that is there, and as
    /// in the new one.
    piece: usize,
    old: Option<usize>,
    new: usize,
}

/// A function that was edited, as both texts have it, without its head.
struct EditedPair<'a> {
    child: usize,
    head: Head,
    places: [Range<usize>; 2],
    bodies: [&'a [u8]; 2],
    longer: i32,
}

impl<'a> Pieces<'a> {
    /// Finds the functions that were edited in a text of which the compiler made `main`. None where
    /// that is something else, or several that are nearly all.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn of(
        difference: &Difference,
        [old, new]: [&'a [u8]; 2],
        main: &'a Main<'a>,
    ) -> Result<Option<Pieces<'a>>> {
        let Some(found) = (PieceFinder { old, new, main }).find(difference)? else {
            return Ok(None);
        };
        let moved = found.iter().filter(|one| one.longer != 0).count();
        if moved > MOST_MOVED || main.has_attribute(old) {
            return Ok(None);
        }
        let Some(closures) = known(main.closures())? else {
            return Ok(None);
        };
        let mut pieces = Pieces {
            texts: Vec::new(),
            main,
            edits: Vec::new(),
            known: Vec::new(),
        };
        let (mut seen, mut count, mut locals) = (Vec::new(), 0, Arc::default());
        // The last one sees the most locals.
        for one in found.iter().rev() {
            let closure = closures.get(one.child).copied();
            let Some((at, register)) = closure else {
                return Ok(None);
            };
            let sees = main.seen(at, register, one.head.is_named)?;
            let has_hidden = |text: &&[u8]| text.windows(HIDDEN.len()).any(|word| word == HIDDEN);
            if sees.contains(&HIDDEN) && one.bodies.iter().any(has_hidden) {
                return Ok(None);
            }
            if pieces.texts.is_empty() || !seen.starts_with(&sees) {
                pieces.end_piece()?;
                let declaration = declared(&sees)?;
                locals = counted(copied(&declaration)?)?;
                pieces.begin_piece(declaration)?;
                (seen, count) = (copied(&sees)?, 0);
            }
            let [was, is] = one.standing(&locals);
            let known = main.known.pieces;
            let found = known.binary_search_by_key(&one.child, |known| known.child);
            let has_old = found.ok().and_then(|at| known.get(at)) != Some(&was);
            pieces.known.try_push(is)?;
            pieces.put_functions(one, has_old)?;
            pieces.edits.try_push(PieceEdit {
                child: one.child,
                at,
                sees: sees.len(),
                longer: one.longer,
                piece: pieces.texts.len() - 1,
                old: has_old.then_some(count),
                new: count + usize::from(has_old),
            })?;
            count += 1 + usize::from(has_old);
        }
        pieces.end_piece()?;
        pieces.edits.reverse();
        pieces.known.reverse();
        Ok(Some(pieces))
    }

    /// Begins a piece that declares locals.
    fn begin_piece(&mut self, mut piece: Vec<u8>) -> Result<()> {
        append(&mut piece, &[b" return ", &[b'('; DEEPER], b"{"])?;
        self.texts.try_push(piece)
    }

    fn end_piece(&mut self) -> Result<()> {
        match self.texts.last_mut() {
            Some(piece) => append(piece, &[b"}", &[b')'; DEEPER]]),
            None => Ok(()),
        }
    }

    /// Adds a function to the last piece, as it was and as it is.
    fn put_functions(&mut self, one: &EditedPair<'_>, has_old: bool) -> Result<()> {
        let Some(piece) = self.texts.last_mut() else {
            return Ok(());
        };
        for body in one.bodies.into_iter().skip(usize::from(!has_old)) {
            let first = body.trim_ascii_start().first();
            let this: &[u8] = match (one.head.is_method, first) {
                (false, _) => b"",
                (true, Some(b')')) => b"self",
                (true, _) => b"self,",
            };
            append(piece, &[FUNCTION, b"(", this, body, b","])?;
        }
        Ok(())
    }

    /// The dump of the new text: that of the old one with the functions exchanged. Of each piece it
    /// takes the dump. None where it is not sure to be what the compiler makes of the whole text.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn filled(&self, pieces: &[Vec<u8>]) -> Result<Option<Vec<u8>>> {
        known(self.fill(pieces))
    }

    /// If one function alone was edited: where it stands in the old dump, and how long it is in the
    /// new one. None where others have moved as well, to other lines.
    pub fn edited(&self, filled: &[u8]) -> Option<EditedChild> {
        let [edit] = &self.edits[..] else {
            return None;
        };
        let old = self.main.children.get(edit.child)?.bytes.clone();
        let rest = self.main.dump.len() - old.len();
        let new_length = filled.len().checked_sub(rest)?;
        (edit.longer == 0).then_some(EditedChild { old, new_length })
    }

    /// What is known of the new text's main function then.
    pub fn into_known(self) -> Vec<Piece> {
        self.known
    }

    fn fill(&self, pieces: &[Vec<u8>]) -> Read<Vec<u8>> {
        let (main, dump) = (self.main, self.main.dump);
        let mut read = Vec::new();
        for (number, piece) in (0..).zip(pieces) {
            let piece = Main::read(piece)?;
            let edits = self.edits.iter().filter(|edit| edit.piece == number);
            let functions = edits.map(|edit| 1 + usize::from(edit.old.is_some()));
            if piece.children.len() != functions.sum() {
                return Err(Stop::Format);
            }
            read.try_push(piece)?;
        }
        let (mut functions, mut shift) = (Vec::new(), 0);
        for edit in &self.edits {
            let child = main.children.get(edit.child).ok_or(Stop::Format)?;
            let piece = read.get(edit.piece).ok_or(Stop::Format)?;
            let function = |number: usize| piece.children.get(number).ok_or(Stop::Format);
            let relocated = |number: usize, shift: i32| -> Read<Vec<u8>> {
                let (one, mut out) = (function(number)?, Vec::new());
                let mut reader = Reader::at(piece.dump, one.bytes.start).ok_or(Stop::Format)?;
                let by = child.function.first - one.function.first + shift;
                reader.relocate(by, 1, None, &mut out)?;
                Ok(out)
            };
            let was = dump.get(child.bytes.clone()).ok_or(Stop::Format)?;
            if let Some(old) = edit.old
                && relocated(old, 0)? != was
            {
                return Err(Stop::Format);
            }
            self.check_captured(edit, [child, function(edit.new)?])?;
            functions.try_push(relocated(edit.new, shift)?)?;
            shift += edit.longer;
        }
        self.check_constants(&functions)?;
        self.put_together(&functions)
    }

    fn put_together(&self, functions: &[Vec<u8>]) -> Read<Vec<u8>> {
        let (main, dump) = (self.main, self.main.dump);
        let mut out = Vec::new();
        let room = functions.iter().map(Vec::len).sum::<usize>();
        out.try_reserve(dump.len() + dump.len() / 64 + room)
            .map_err(|_| Stop::Memory)?;
        let (mut next, mut behind, mut shift) = (0, 0, 0);
        for (edit, function) in self.edits.iter().zip(functions) {
            let child = main.children.get(edit.child).ok_or(Stop::Format)?;
            match shift {
                0 => put(
                    &mut out,
                    dump.get(behind..child.bytes.start).ok_or(Stop::Format)?,
                )?,
                _ => self.put_children(next..edit.child, shift, &mut out)?,
            }
            put(&mut out, function)?;
            (next, behind) = (edit.child + 1, child.bytes.end);
            shift += edit.longer;
        }
        if self.edits.iter().all(|edit| edit.longer == 0) {
            put(&mut out, dump.get(behind..).ok_or(Stop::Format)?)?;
            return Ok(out);
        }
        self.put_children(next..main.children.len(), shift, &mut out)?;
        let mut lines = MainLines::of(main)?;
        for edit in self.edits.iter().rev().filter(|edit| edit.longer != 0) {
            let child = main.children.get(edit.child).ok_or(Stop::Format)?;
            lines = lines.moved(edit, (child.function.first, child.function.last))?;
        }
        lines.put(&mut out)?;
        put(&mut out, dump.get(main.lines.end..).ok_or(Stop::Format)?)?;
        Ok(out)
    }

    /// Writes functions so many lines further down.
    fn put_children(
        &self,
        numbers: std::ops::Range<usize>,
        by: i32,
        out: &mut Vec<u8>,
    ) -> Read<()> {
        for child in self.main.children.get(numbers).ok_or(Stop::Format)? {
            let mut reader = Reader::at(self.main.dump, child.bytes.start).ok_or(Stop::Format)?;
            reader.relocate(by, 1, None, out)?;
        }
        Ok(())
    }

    /// Which blocks of the main function are left by closing variables depends on what is captured
    /// in them; the outermost one is not.
    fn check_captured(&self, edit: &PieceEdit, pair: [&MainChild<'_>; 2]) -> Read<()> {
        let main = self.main;
        let [mut old, mut new] = [[false; 256]; 2];
        for (one, registers) in pair.iter().zip([&mut old, &mut new]) {
            for register in captured(one.function.upvalues) {
                let place = registers.get_mut(usize::from(register));
                let place = place.filter(|_| usize::from(register) < edit.sees);
                *place.ok_or(Stop::Format)? = true;
            }
        }
        let outermost = main.code.len() / 4;
        // A local function itself follows those that are in use.
        let own = main.locals.iter();
        let own = own.filter(|local| local.start == edit.at + 1);
        let mut ends = main.active(edit.at).chain(own.take(1));
        for (old, new) in old.iter().zip(&new) {
            if ends.next().is_some_and(|local| local.end != outermost) && old != new {
                return Err(Stop::Format);
            }
        }
        let is_edited = |child: usize| {
            let found = self.edits.binary_search_by_key(&child, |edit| edit.child);
            found.is_ok()
        };
        let others = main.children.iter().enumerate();
        let mut others = others.filter(|(child, _)| !is_edited(*child));
        match old.contains(&true) == new.contains(&true)
            || others.any(|(_, child)| child.captures())
        {
            true => Ok(()),
            false => Err(Stop::Format),
        }
    }

    fn check_constants(&self, functions: &[Vec<u8>]) -> Read<()> {
        let mut edits = Vec::new();
        for (edit, function) in self.edits.iter().zip(functions) {
            let child = self.main.children.get(edit.child).ok_or(Stop::Format)?;
            let was = self.main.dump.get(child.bytes.clone());
            edits.try_push((edit.at, was.ok_or(Stop::Format)?, &function[..]))?;
        }
        check_all_constants(self.main, &edits)
    }
}

impl EditedPair<'_> {
    /// The function where it stands in each text, in a piece that declares these locals.
    fn standing(&self, locals: &Arc<Vec<u8>>) -> [Piece; 2] {
        self.places.clone().map(|text| Piece {
            child: self.child,
            text,
            locals: locals.clone(),
        })
    }
}

/// The declaration of locals with these names, with room for a piece that begins with it.
fn declared(locals: &[&[u8]]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let names = locals.iter().map(|name| name.len() + 1).sum::<usize>();
    out.try_reserve(names + PIECE)?;
    for (number, name) in locals.iter().enumerate() {
        let separator: &[u8] = if number == 0 { b"local " } else { b"," };
        append(&mut out, &[separator, name])?;
    }
    Ok(out)
}

fn append(out: &mut Vec<u8>, parts: &[&[u8]]) -> Result<()> {
    for part in parts {
        out.try_reserve(part.len())?;
        out.extend_from_slice(part);
    }
    Ok(())
}

struct PieceFinder<'a> {
    old: &'a [u8],
    new: &'a [u8],
    main: &'a Main<'a>,
}

impl<'a> PieceFinder<'a> {
    /// The functions that have all differences within them.
    fn find(&self, difference: &Difference) -> Result<Option<Vec<EditedPair<'a>>>> {
        let mut found: Vec<EditedPair<'a>> = Vec::new();
        let (mut start, mut new_start) = (difference.start, difference.start);
        let (mut line, mut counted, mut read) = (1, 0, 0);
        loop {
            line += lines(self.old.get(counted..start).unwrap_or_default()) as i32;
            counted = start;
            let Some(one) = self.around([start, new_start], line) else {
                return Ok(None);
            };
            let [old_end, new_end] = [one.places[0].end, one.places[1].end];
            let is_behind = found.last().is_none_or(|last| last.child < one.child);
            read += one.bodies.iter().map(|body| body.len()).sum::<usize>();
            found.try_push(one)?;
            if !is_behind || found.len() > 1 && read > self.new.len() / 2 {
                return Ok(None);
            }
            let (Some(old), Some(new)) = (self.old.get(old_end..), self.new.get(new_end..)) else {
                return Ok(None);
            };
            let is_behind_all = old_end >= difference.old_end && new_end >= difference.new_end;
            if is_behind_all && old.len() == new.len() {
                return Ok(Some(found));
            }
            let length = common(old, new);
            (start, new_start) = (old_end + length, new_end + length);
        }
    }

    /// The one function of the main function in which both texts begin to differ, at places on this
    /// line.
    fn around(&self, [start, new_start]: [usize; 2], line: i32) -> Option<EditedPair<'a>> {
        let children = &self.main.children;
        let next = children.partition_point(|child| child.function.first <= line);
        let number = next.checked_sub(1)?;
        let child = &children.get(number)?.function;
        let before = number
            .checked_sub(1)
            .and_then(|before| children.get(before));
        let is_one = before.is_none_or(|before| before.function.last < line);
        if child.last < line || !is_one {
            return None;
        }
        let mut begin = start;
        for _ in child.first..=line {
            let before = self.old.get(..begin)?;
            begin = before.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        }
        let begin = begin + the_function(self.old.get(begin..)?)?;
        let new_begin = (begin + new_start).checked_sub(start)?;
        let head = head(self.old.get(begin..)?)?;
        let end = begin + end_of(self.old.get(begin..)?)?;
        let new_end = new_begin + end_of(self.new.get(new_begin..)?)?;
        let body = begin + head.paren;
        if body >= start || start > end || new_start > new_end {
            return None;
        }
        let (old, new) = (self.old.get(begin..end)?, self.new.get(new_begin..new_end)?);
        if child.first + lines(old) as i32 != child.last {
            return None;
        }
        Some(EditedPair {
            child: number,
            head,
            places: [begin..end, new_begin..new_end],
            bodies: [old.get(head.paren + 1..)?, new.get(head.paren + 1..)?],
            longer: lines(new) as i32 - lines(old) as i32,
        })
    }
}

impl<'a> Main<'a> {
    /// The names of the locals, one for each register, that a function sees which an instruction
    /// puts into a register. A local function sees itself, though the debugger does not see it yet.
    fn seen(&self, at: usize, register: usize, is_named: bool) -> Result<Vec<&'a [u8]>> {
        let count = self.active(at).count();
        let own = self.locals.iter();
        let own = own.filter(|local| is_named && register == count && local.start == at + 1);
        let seen = self.active(at).chain(own.take(1));
        collected(seen.map(|local| {
            let is_nameless = matches!(local.name.first(), Some(b'(') | None);
            Ok(if is_nameless { HIDDEN } else { local.name })
        }))
    }
}

/// The lines of the main function.
struct MainLines {
    /// Of each instruction.
    of_each: Vec<i32>,
    /// As the dump has them.
    deltas: Vec<u8>,
    /// Numbers of instructions, with lines.
    absolute: Vec<(i32, i32)>,
}

impl MainLines {
    fn of(main: &Main<'_>) -> Read<MainLines> {
        Ok(MainLines {
            of_each: main.line_of_each()?,
            deltas: copied(main.deltas)?,
            absolute: copied(&main.absolute)?,
        })
    }

    /// The lines after an edit of a function on these lines. What stands behind the function has
    /// moved; a statement around it goes on at the line where it began.
    fn moved(mut self, edit: &PieceEdit, (first, last): (i32, i32)) -> Read<MainLines> {
        let PieceEdit { at, longer, .. } = *edit;
        if first == last {
            return Err(Stop::Format); // which side an instruction is on does not show
        }
        let mut absolute = self.absolute.iter_mut();
        let (mut before, mut was_behind) = ((0, 0), false);
        let all = self.of_each.iter_mut().zip(&mut self.deltas).enumerate();
        for (i, (of_each, delta)) in all {
            let line = *of_each;
            let is_behind = i >= at && line >= last;
            if i >= at && line > first && line < last {
                return Err(Stop::Format);
            }
            if i > at && !is_behind && !was_behind {
                return Err(Stop::Format); // steps of the compiler's may have been there and back
            }
            let now = line + if is_behind { longer } else { 0 };
            let (step, new_step) = (line - before.0, now - before.1);
            let crosses = is_behind != was_behind;
            let sure = |step: i32| !(SURELY_SHORT..SURELY_LONG).contains(&step.unsigned_abs());
            let is_long = |step: i32| step.unsigned_abs() >= SURELY_LONG;
            if crosses && (!sure(step) || !sure(new_step) || is_long(step) != is_long(new_step)) {
                return Err(Stop::Format);
            }
            if *delta as i8 == ABSOLUTE {
                let (_, place) = absolute.next().ok_or(Stop::Format)?;
                *place = now;
            } else {
                let new_step = i8::try_from(new_step).map_err(|_| Stop::Format)?;
                *delta = new_step as u8;
            }
            *of_each = now;
            (before, was_behind) = ((line, now), is_behind);
        }
        Ok(self)
    }

    fn put(&self, out: &mut Vec<u8>) -> Read<()> {
        put_line(out, self.deltas.len() as i32, 0)?;
        put(out, &self.deltas)?;
        put_line(out, self.absolute.len() as i32, 0)?;
        for (number, line) in &self.absolute {
            put_line(out, *number, 0)?;
            put_line(out, *line, 0)?;
        }
        Ok(())
    }
}
