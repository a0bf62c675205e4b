//! A dumped chunk of Lua 5.4 as a tree of functions (R9.3): what each of them looks like, which
//! variables it captures, and where in the dump it stands. [`cut`](super::cut) makes a chunk of one
//! of them.
//!
//! The format is that of `LUAC_FORMAT` 0 (Lua 5.4.0 and later), as [`super`] reads it, with debug
//! information or without. Strict: a byte that is not as expected gives `None`. It never reads past
//! the end, nests no deeper than [`MAX_DEPTH`], and allocates no more than in proportion to the
//! dump.
//!
//! Functions are numbered as they stand in the dump: a function, then those nested in it. The main
//! function is number 0.

use std::ops::Range;

use super::reader::{Read, Reader, Stop, word};
use super::{MAX_DEPTH, op};
use crate::support::error::{Error, Result};
use crate::support::mem::TryPush;
use crate::support::secret::Secret;

/// Locals that may be in use at once, as Lua has it for registers.
const MOST_ACTIVE: usize = 255;

/// A variable that a function captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// It is a local of the enclosing function; else one of that function's own upvalues.
    pub in_stack: bool,
    /// The register, or the number of the upvalue, counted from 0.
    pub index: u8,
    /// A hash of its name; 0 for none (stripped code).
    pub name: u64,
    /// Which local of the enclosing function it is, in order of declaration; none where that is
    /// not known.
    pub local: Option<u32>,
    text: (u32, u32),
}

/// One function of a chunk.
#[derive(Clone, Debug)]
pub struct TreeFunction {
    /// The function that it is nested in; none for the main function.
    pub parent: Option<u32>,
    /// The line where it begins, 0 for a main chunk.
    pub line: i32,
    /// The line where it ends.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "tests tell functions by their lines")
    )]
    pub last: i32,
    /// Number of parameters.
    pub params: u8,
    /// Takes more.
    pub vararg: bool,
    /// A hash of the parameters' names; 0 for none.
    pub param_names: u64,
    /// What it amounts to: code, constants, names of upvalues, nested functions, without any line
    /// and without where it finds its upvalues (which is the enclosing function's business).
    pub digest: u64,
    /// The same with every line and the names of locals.
    pub exact: u64,
    /// A hash of the name under which the enclosing function puts it (a field, a local, a global,
    /// an upvalue); 0 for none.
    pub place: u64,
    /// The number after the last function nested in it, at any depth.
    end: u32,
    upvalues: (u32, u8),
    constants: (u32, u32),
    /// Where it stands in the dump: from its source name on.
    pub(super) bytes: Range<u32>,
    /// Where the source name ends.
    pub(super) body: u32,
    /// Where its instructions stand.
    code: Range<u32>,
    /// Where the descriptions of its upvalues stand, three bytes each.
    pub(super) descriptors: Range<u32>,
    /// Its source name, without the quotation of a dump; empty for none of its own.
    source: Range<u32>,
}

/// A chunk's functions.
#[derive(Debug)]
pub struct Tree {
    pub(super) dump: Vec<u8>,
    functions: Vec<TreeFunction>,
    captured: Vec<Captured>,
    constants: Vec<u64>,
}

impl Tree {
    /// Reads a whole dump; none when it is not exactly that of Lua 5.4.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn read(dump: Vec<u8>, secret: &Secret) -> Result<Option<Tree>> {
        if u32::try_from(dump.len()).is_err() {
            return Ok(None);
        }
        let mut builder = Builder {
            out: Tree {
                dump: Vec::new(),
                functions: Vec::new(),
                captured: Vec::new(),
                constants: Vec::new(),
            },
            dump: &dump,
            secret,
        };
        let read = Reader::of(&dump).map(|mut reader| builder.function(&mut reader, None, 0));
        match read {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(Error::Memory),
            Some(Ok(_)) => {
                let mut tree = builder.out;
                tree.dump = dump;
                Ok(Some(tree))
            }
        }
    }

    /// How many functions.
    pub fn len(&self) -> u32 {
        self.functions.len() as u32
    }

    /// A function by its number.
    pub fn get(&self, number: u32) -> Option<&TreeFunction> {
        self.functions.get(number as usize)
    }

    /// The functions that stand directly in one, in the order of the source.
    pub fn children(&self, number: u32) -> impl Iterator<Item = u32> {
        let end = self.get(number).map_or(0, |function| function.end);
        let mut next = number.saturating_add(1);
        std::iter::from_fn(move || {
            let child = Some(next).filter(|child| *child < end)?;
            next = self.get(child)?.end;
            Some(child)
        })
    }

    /// The variables that a function captures, in the order of its upvalues.
    pub fn captured(&self, number: u32) -> &[Captured] {
        let (start, count) = self
            .get(number)
            .map_or((0, 0), |function| function.upvalues);
        self.captured
            .get(start as usize..start as usize + usize::from(count))
            .unwrap_or_default()
    }

    /// The constants of a function, as hashes, in the order of the code.
    pub fn constants(&self, number: u32) -> &[u64] {
        let (start, count) = self
            .get(number)
            .map_or((0, 0), |function| function.constants);
        self.constants
            .get(start as usize..(start + count) as usize)
            .unwrap_or_default()
    }

    /// The operations of a function, without their arguments.
    pub fn operations(&self, number: u32) -> impl Iterator<Item = u8> {
        let code = self
            .get(number)
            .map_or(0..0, |function| function.code.clone());
        self.slice(code).iter().step_by(4).map(|byte| byte & 0x7f)
    }

    /// The name of a captured variable.
    pub fn name(&self, captured: &Captured) -> &[u8] {
        let (start, length) = captured.text;
        self.slice(start..start + length)
    }

    /// The source name of a function: its own, or that of the function around it.
    pub fn source(&self, number: u32) -> &[u8] {
        let mut number = Some(number);
        while let Some(function) = number.and_then(|number| self.get(number)) {
            if !function.source.is_empty() {
                return self.slice(function.source.clone());
            }
            number = function.parent;
        }
        &[]
    }

    pub(super) fn slice(&self, range: Range<u32>) -> &[u8] {
        slice(&self.dump, range)
    }
}

fn slice(bytes: &[u8], range: Range<u32>) -> &[u8] {
    bytes
        .get(range.start as usize..range.end as usize)
        .unwrap_or_default()
}

/// A local variable of a function that is being read.
#[derive(Clone, Copy)]
struct OpenLocal {
    name: u64,
    start: u32,
    end: u32,
}

struct Builder<'a> {
    out: Tree,
    dump: &'a [u8],
    secret: &'a Secret,
}

impl Builder<'_> {
    /// Reads one function and all that is nested in it; returns its number.
    fn function(&mut self, reader: &mut Reader<'_>, parent: Option<u32>, depth: u32) -> Read<u32> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        let number = self.out.functions.len() as u32;
        let here = |reader: &Reader<'_>| reader.position() as u32;
        let start = here(reader);
        let source = reader.string()?.map_or(0, |text| text.len() as u32);
        let body = here(reader);
        let (line, last) = (reader.int()?, reader.int()?);
        let frame = here(reader);
        let (params, vararg) = match reader.take(3)? {
            [params, vararg @ (0 | 1), _] => (*params, *vararg == 1),
            _ => return Err(Stop::Format),
        };
        let code = reader.code()?;
        let code_end = here(reader);
        if code.chunks_exact(4).any(|i| word(i) & 0x7f > op::LAST) {
            return Err(Stop::Format);
        }
        let constants = self.constants(reader)?;
        let descriptors = here(reader);
        let upvalues = self.upvalues(reader)?;
        let descriptors_end = here(reader);
        let count = descriptors_end - u32::from(upvalues.1) * 3;

        self.out.functions.try_push(TreeFunction {
            parent,
            line,
            last,
            params,
            vararg,
            param_names: 0,
            digest: 0,
            exact: 0,
            place: 0,
            end: number + 1,
            upvalues,
            constants,
            bytes: start..start,
            body,
            code: code_end - code.len() as u32..code_end,
            descriptors: count..descriptors_end,
            source: body - source..body,
        })?;

        let mut digest = self.secret.hasher();
        let mut exact = self.secret.hasher();
        digest.write(slice(self.dump, frame..descriptors));
        exact.write_u64(line as u64);
        exact.write_u64(last as u64);
        exact.write(slice(self.dump, frame..descriptors));
        for _ in 0..reader.count()? {
            let child = self.function(reader, Some(number), depth + 1)?;
            if let Some(child) = self.out.get(child) {
                let descriptors = slice(self.dump, child.descriptors.clone());
                digest.write_u64(child.digest);
                digest.write(descriptors);
                exact.write_u64(child.exact);
                exact.write(descriptors);
            }
        }

        let debug = here(reader);
        let locals = self.debug(reader, code, upvalues)?;
        let stop = here(reader);
        exact.write(slice(self.dump, debug..stop));
        digest.write_u64(upvalues.1.into());
        for captured in self.out.captured(number) {
            digest.write_u64(captured.name);
        }
        let end = self.out.functions.len() as u32;
        if let Some(function) = self.out.functions.get_mut(number as usize) {
            function.end = end;
        }
        self.closures(number, code, &locals)?;

        let mut params_hash = self.secret.hasher();
        let named = locals
            .iter()
            .take(params.into())
            .filter(|local| local.start == 0);
        named
            .clone()
            .for_each(|local| params_hash.write_u64(local.name));
        let param_names = if named.count() == 0 {
            0
        } else {
            params_hash.finish()
        };
        if let Some(function) = self.out.functions.get_mut(number as usize) {
            function.bytes.end = stop;
            function.digest = digest.finish();
            function.exact = exact.finish();
            function.param_names = param_names;
        }
        Ok(number)
    }

    fn constants(&mut self, reader: &mut Reader<'_>) -> Read<(u32, u32)> {
        let start = self.out.constants.len() as u32;
        let count = reader.count()?;
        for _ in 0..count {
            let tag = reader.byte()?;
            let value = match tag {
                0x00 | 0x01 | 0x11 => tag.into(),
                0x03 | 0x13 => self.secret.digest(reader.take(8)?).wrapping_add(tag.into()),
                // Whether a string is short is no part of what it is.
                0x04 | 0x14 => self.secret.digest(reader.string()?.ok_or(Stop::Format)?),
                _ => return Err(Stop::Format),
            };
            self.out.constants.try_push(value)?;
        }
        Ok((start, count as u32))
    }

    fn upvalues(&mut self, reader: &mut Reader<'_>) -> Read<(u32, u8)> {
        let start = self.out.captured.len() as u32;
        let count = u8::try_from(reader.count()?).map_err(|_| Stop::Format)?;
        for _ in 0..count {
            let [in_stack @ (0 | 1), index, 0..=3] = reader.take(3)? else {
                return Err(Stop::Format);
            };
            self.out.captured.try_push(Captured {
                in_stack: *in_stack == 1,
                index: *index,
                name: 0,
                local: None,
                text: (0, 0),
            })?;
        }
        Ok((start, count))
    }

    /// Lines, locals, names of upvalues. There are none of them in stripped code.
    fn debug(
        &mut self,
        reader: &mut Reader<'_>,
        code: &[u8],
        upvalues: (u32, u8),
    ) -> Read<Vec<OpenLocal>> {
        let instructions = code.len() / 4;
        let lines = reader.count()?;
        if lines != 0 && lines != instructions {
            return Err(Stop::Format);
        }
        reader.take(lines)?;
        for _ in 0..reader.count()? {
            reader.int()?;
            reader.int()?;
        }
        let mut locals = Vec::new();
        for _ in 0..reader.count()? {
            let name = reader.string()?.map_or(0, |name| self.secret.digest(name));
            let (start, end) = (reader.int()? as u32, reader.int()? as u32);
            locals.try_push(OpenLocal { name, start, end })?;
        }
        let names = reader.size()?;
        if names != 0 && names != usize::from(upvalues.1) {
            return Err(Stop::Format);
        }
        for i in 0..names {
            let Some(name) = reader.string()? else {
                continue;
            };
            let place = upvalues.0 as usize + i;
            if let Some(captured) = self.out.captured.get_mut(place) {
                let end = reader.position();
                captured.name = self.secret.digest(name);
                captured.text = ((end - name.len()) as u32, name.len() as u32);
            }
        }
        Ok(locals)
    }

    /// Looks for where a function makes closures of its children: the name that each gets, and
    /// which locals it captures.
    fn closures(&mut self, number: u32, code: &[u8], locals: &[OpenLocal]) -> Read<()> {
        let mut children = Vec::new();
        for child in self.out.children(number) {
            children.try_push(child)?;
        }
        if children.is_empty() {
            return Ok(());
        }
        let ordered = locals.is_sorted_by_key(|local| local.start);
        let mut scope = LocalScope::default();
        let mut instructions = code.chunks_exact(4).map(word).enumerate().peekable();
        while let Some((pc, i)) = instructions.next() {
            let pc = pc as u32;
            if i & 0x7f != op::CLOSURE {
                continue;
            }
            let Some(child) = children.get((i >> 15) as usize).copied() else {
                return Err(Stop::Format);
            };
            if ordered {
                scope.advance(locals, pc)?;
            }
            let register = (i >> 7 & 0xff) as u8;
            let next = instructions.peek().map_or(0, |(_, next)| *next);
            let name_of = |register, pc| {
                scope
                    .local(locals, register, pc)
                    .and_then(|local| locals.get(local as usize))
                    .map_or(0, |local| local.name)
            };
            let constant = |k: u32| {
                self.out
                    .constants(number)
                    .get(k as usize)
                    .copied()
                    .unwrap_or(0)
            };
            let place = match next & 0x7f {
                op::SETFIELD | op::SETTABUP
                    if next >> 24 == u32::from(register) && next >> 15 & 1 == 0 =>
                {
                    constant(next >> 16 & 0xff)
                }
                op::SETUPVAL if next >> 7 & 0xff == u32::from(register) => self
                    .out
                    .captured(number)
                    .get((next >> 16 & 0xff) as usize)
                    .map_or(0, |captured| captured.name),
                op::MOVE if next >> 16 & 0xff == u32::from(register) => {
                    name_of((next >> 7 & 0xff) as u8, pc)
                }
                _ => name_of(register, pc),
            };
            let (first, count) = match self.out.functions.get_mut(child as usize) {
                Some(function) if function.place == 0 => {
                    function.place = place;
                    function.upvalues
                }
                _ => continue,
            };
            for captured in first..first + u32::from(count) {
                if let Some(captured) = self.out.captured.get_mut(captured as usize)
                    && captured.in_stack
                {
                    let local = scope.local(locals, captured.index, pc);
                    // The name that the enclosing function has for it, too: else the register tells
                    // nothing.
                    captured.local = local.filter(|local| {
                        locals
                            .get(*local as usize)
                            .is_some_and(|local| local.name == captured.name && local.name != 0)
                    });
                }
            }
        }
        Ok(())
    }
}

/// The locals in use at a place in a function's code: their numbers, by register.
#[derive(Default)]
struct LocalScope {
    active: Vec<u32>,
    next: usize,
}

impl LocalScope {
    /// Goes on to an instruction.
    fn advance(&mut self, locals: &[OpenLocal], pc: u32) -> Read<()> {
        let ended = |local: &u32| {
            locals
                .get(*local as usize)
                .is_none_or(|local| local.end <= pc)
        };
        while let Some(local) = locals.get(self.next).filter(|local| local.start <= pc) {
            if local.end > pc {
                self.active.retain(|local| !ended(local));
                if self.active.len() == MOST_ACTIVE {
                    return Err(Stop::Format);
                }
                self.active.try_push(self.next as u32)?;
            }
            self.next += 1;
        }
        self.active.retain(|local| !ended(local));
        Ok(())
    }

    /// The local in a register, while the instruction runs or right after it (`local function f`,
    /// whose variable begins there).
    fn local(&self, locals: &[OpenLocal], register: u8, pc: u32) -> Option<u32> {
        let register = usize::from(register);
        if let Some(local) = self.active.get(register) {
            return Some(*local);
        }
        let next = self.next + (register - self.active.len());
        locals
            .get(next)
            .filter(|local| local.start == pc + 1)
            .map(|_| next as u32)
    }
}
