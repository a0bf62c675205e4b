//! What a main chunk does with its functions and constants, read from its code: for telling a file
//! from what runs.

use rustc_hash::FxHashMap;

use super::reader::{Read, Reader, Stop, word};
use super::{Chunk, Profile, UpvalueSet, op, text_at};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush, collected, copied};
use crate::support::secret::Secret;

/// Makes tables and constants, puts them into one another, and returns: MOVE, LOADI, LOADF, LOADK,
/// LOADKX, LOADFALSE, LOADTRUE, LOADNIL, SETTABLE, SETI, SETFIELD, NEWTABLE, RETURN, RETURN0,
/// RETURN1, SETLIST, VARARGPREP, EXTRAARG.
const CONSTANT: u128 = 0b1_1011_1110 // all of 1..=8 but 6, which belongs to a comparison
    | 1 << op::MOVE
    | 1 << op::SETTABLE
    | 1 << op::SETI
    | 1 << op::SETFIELD
    | 1 << op::NEWTABLE
    | 1 << op::RETURN
    | 1 << op::RETURN0
    | 1 << op::RETURN1
    | 1 << op::SETLIST
    | 1 << op::VARARGPREP
    | 1 << op::LAST;

/// A main chunk, from outside.
#[derive(Default, Debug)]
pub struct Outline {
    /// It only builds tables of constants and returns: it calls nothing, reads no variable, has no
    /// function and no jump.
    pub is_constant: bool,
    /// The functions that it stores in a field or a global, in any case.
    pub stored: Vec<Stored>,
    /// The value that it returns at its end.
    pub returned: Option<usize>,
}

/// A function that a main chunk stores under a name.
#[derive(Debug)]
pub struct Stored {
    /// First line.
    pub line: i32,
    /// Last line.
    pub last: i32,
    /// The field or the global: where its name stands in the dump, and its length
    /// ([`Chunk::text`]). A copy could be asked for by every instruction of a dump that no
    /// compiler wrote.
    pub name: (u32, u32),
    /// The table, by the number of the instruction that made it; none for a global.
    pub table: Option<usize>,
}

impl Outline {
    /// Reads a chunk; none when the dump is not exactly that of Lua 5.4.
    pub fn read(dump: &[u8]) -> Result<Option<Outline>> {
        match Reader::of(dump).map(|mut reader| reader.outline(dump)) {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(Error::Memory),
            Some(Ok(outline)) => Ok(Some(outline)),
        }
    }
}

/// A name, with the first and the last line of the function that has it.
pub type NameOnLines = (Vec<u8>, (i32, i32));

impl Chunk {
    /// The names under which its main function stores functions, fields and globals, with the first
    /// and last lines of these.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn stored_names(&self) -> Result<Vec<NameOnLines>> {
        let mut names = Vec::new();
        if let Some(outline) = Outline::read(&self.dump)? {
            for stored in &outline.stored {
                names.try_push((
                    copied(text_at(&self.dump, stored.name))?,
                    (stored.line, stored.last),
                ))?;
            }
        }
        Ok(names)
    }

    /// The functions on these lines: none when there are none, and no profile when there are
    /// several.
    pub fn on_lines(&self, line: i32, last: i32) -> Option<Option<Profile>> {
        self.functions.get((line, last))
    }
}

/// A name: where it stands in the dump and its length, and its number among the constants.
type Numbered = ((u32, u32), usize);

impl Reader<'_> {
    /// The constants that can name a field, each with the number of the first constant that is
    /// this one.
    fn constant_names(&mut self, dump: &[u8]) -> Read<Vec<Option<Numbered>>> {
        let (mut names, mut numbers) = (Vec::new(), FxHashMap::default());
        for number in 0..self.count()? {
            let name = match self.byte()? {
                0x00 | 0x01 | 0x11 => None,
                0x03 | 0x13 => {
                    self.take(8)?;
                    None
                }
                0x04 => self.span()?,
                0x14 => {
                    self.string()?; // a long string is never the name of a field
                    None
                }
                _ => return Err(Stop::Format),
            };
            let name = match name {
                Some(name) => {
                    let text = text_at(dump, name);
                    let first = numbers.get(text).copied();
                    if first.is_none() {
                        numbers.try_insert_value(text, number)?;
                    }
                    Some((name, first.unwrap_or(number)))
                }
                None => None,
            };
            names.try_push(name)?;
        }
        Ok(names)
    }

    fn outline(&mut self, dump: &[u8]) -> Read<Outline> {
        self.string()?;
        self.int()?;
        self.int()?;
        self.take(3)?;
        let code = self.code()?;
        let names = self.constant_names(dump)?;
        self.upvalues()?;
        let mut lines = Vec::new();
        let nothing = Secret::default(); // the digests are of no use here
        for _ in 0..self.count()? {
            lines.try_push(
                self.function(1, &mut UpvalueSet::default(), &nothing, None)?
                    .lines,
            )?;
        }

        let mut outline = Outline {
            is_constant: lines.is_empty(),
            stored: Vec::new(),
            returned: None,
        };
        // What each register holds: a function, by its number and one; and any value, by the number
        // of the instruction that made it. What is stored last counts (`M.only_for_loading
        // = nil`): which of `stored` stands under a name in a table.
        let mut last: FxHashMap<(Option<usize>, usize), usize> = FxHashMap::default();
        let mut stored: Vec<Option<Stored>> = Vec::new();
        let (mut holds, mut values) = ([0_usize; 256], [0_usize; 256]);
        // Up to here code may have been jumped over.
        let mut conditional = 0;
        for (instruction, at) in code.chunks_exact(4).zip(1_usize..) {
            let i = word(instruction);
            let (op, a, b, c) = (
                i & 0x7f,
                (i >> 7 & 0xff) as usize,
                (i >> 16 & 0xff) as usize,
                i >> 24,
            );
            if op > op::LAST {
                return Err(Stop::Format);
            }
            outline.is_constant &= CONSTANT >> op & 1 == 1;
            let in_any_case = at > conditional;
            match op {
                op::SETFIELD | op::SETTABUP => {
                    let is_constant = i >> 15 & 1 == 1;
                    let held = holds.get(c as usize).filter(|_| !is_constant);
                    let held = held.and_then(|held| lines.get(held.checked_sub(1)?));
                    let (name, number) = names.get(b).copied().flatten().ok_or(Stop::Format)?;
                    let table = values.get(a).copied().filter(|_| op == op::SETFIELD);
                    let before = last.remove(&(table, number));
                    if let Some(before) = before.and_then(|before| stored.get_mut(before)) {
                        *before = None;
                    }
                    if let Some((line, last_line)) = held.filter(|_| in_any_case) {
                        last.try_insert_value((table, number), stored.len())?;
                        stored.try_push(Some(Stored {
                            line: *line,
                            last: *last_line,
                            name,
                            table,
                        }))?;
                    }
                }
                op::SETTABLE | op::SETI | op::SETLIST => {}
                op::JMP => {
                    conditional =
                        conditional.max((at + (i >> 7) as usize).saturating_sub(op::JUMP_BIAS))
                }
                op::FORPREP | op::TFORPREP => {
                    conditional = conditional.max(at + (i >> 15) as usize + 1)
                }
                op::RETURN if b == 2 => outline.returned = values.get(a).copied(),
                op::CLOSURE if in_any_case => {
                    set(&mut holds, &mut values, a, (i >> 15) as usize + 1, at)
                }
                op::MOVE if in_any_case => {
                    let held = holds.get(b).copied().unwrap_or(0);
                    let value = values.get(b).copied().unwrap_or(0);
                    set(&mut holds, &mut values, a, held, value);
                }
                op::CALL | op::LOADNIL => {
                    (a..=255).for_each(|a| set(&mut holds, &mut values, a, 0, at))
                }
                _ => set(&mut holds, &mut values, a, 0, at),
            }
        }
        outline.stored = collected(stored.into_iter().flatten().map(Ok))?;
        Ok(outline)
    }
}

fn set(
    holds: &mut [usize; 256],
    values: &mut [usize; 256],
    register: usize,
    held: usize,
    value: usize,
) {
    if let (Some(slot), Some(other)) = (holds.get_mut(register), values.get_mut(register)) {
        (*slot, *other) = (held, value);
    }
}
