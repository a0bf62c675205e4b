//! Reads a dumped chunk with debug information for R4.7: the locals of its main function that nested functions capture, how each is
//! initialised, and whether anything assigns it afterwards.
//!
//! What it says is proved from the code: an initialiser that control flow can pass by, a write to the local's register within its
//! scope, or anything that is not understood makes the local [`Init::Computed`].

use smallvec::SmallVec;

use super::reader::{Read, Reader, Stop, word};
use super::{MAX_DEPTH, OP_LAST, OP_SETUPVAL, UpvalueSet, text_at};
use crate::error::{Error, Result};
use crate::mem::TryPush;

/// Aliases of aliases (`local a = b`) and fields of fields are followed no further.
const MAX_STEPS: u32 = 32;

/// How a local got its value, when nothing assigns it afterwards.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Init<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(&'a [u8]),
    /// `local function f`, `local f = function`.
    Function,
    /// A global, or `require "literal"`, or a field of one of these.
    Import,
    /// Anything else.
    Computed,
}

/// A part of the dump.
type Span = (u32, u32);

#[derive(Clone, Copy)]
enum Constant {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(Span),
}

/// A local of the main function.
struct Local {
    name: Span,
    register: u32,
    /// The instructions during which it is in scope.
    start: usize,
    end: usize,
    /// A nested function assigns it.
    assigned: bool,
}

/// A nested function, at any depth; enclosing ones come first.
struct Nested {
    line: i32,
    last: i32,
    /// Where it begins in the dump.
    start: usize,
    /// The nested function that encloses it; none for the main function.
    parent: Option<u32>,
    /// Its number among the functions of the one that encloses it.
    number: u32,
    upvalues: Vec<Captured>,
}

struct Captured {
    in_stack: bool,
    index: u8,
    assigned: bool,
    /// The local of the main function that it is.
    local: Option<u32>,
}

/// A chunk's text, as far as its main function's locals go.
pub struct Text {
    dump: Vec<u8>,
    code: Vec<u32>,
    constants: Vec<Constant>,
    /// The number of its upvalue `_ENV`.
    environment: Option<u32>,
    locals: Vec<Local>,
    nested: Vec<Nested>,
    /// Jumps: from, to.
    jumps: Vec<(usize, usize)>,
}

/// A function as the running program knows it: what tells it from others of its chunk.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    /// First and last line.
    pub lines: (i32, i32),
    /// How many upvalues.
    pub upvalues: u8,
    /// [`super::Profile::digest`].
    pub digest: u32,
}

impl Text {
    /// Reads a dump that was made with debug information; none when it is not exactly that of Lua 5.4.
    pub fn read(dump: Vec<u8>) -> Result<Option<Text>> {
        let mut text = Text {
            dump: Vec::new(),
            code: Vec::new(),
            constants: Vec::new(),
            environment: None,
            locals: Vec::new(),
            nested: Vec::new(),
            jumps: Vec::new(),
        };
        let read = Reader::of(&dump).map(|mut reader| text.main(&mut reader));
        match read {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(Error::Memory),
            Some(Ok(())) => {
                text.dump = dump;
                Ok(Some(text))
            }
        }
    }

    /// The names of the locals that nested functions assign; none where one of them has no name (stripped code).
    pub fn assigned(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let outermost = self.nested.iter().filter(|function| function.parent.is_none());
        let nameless = outermost
            .flat_map(|function| &function.upvalues)
            .any(|upvalue| upvalue.in_stack && upvalue.assigned && upvalue.local.is_none());
        let locals = self.locals.iter().filter(|local| local.assigned);
        (!nameless).then(|| locals.map(|local| self.bytes(local.name)))
    }

    /// Whether `fits` holds for how the local was initialised that a function knows as upvalue `index`, counted from 1, and by
    /// `name`; where several locals could be meant, for all of them.
    pub fn all(&self, function: &Sought, index: u8, name: &[u8], mut fits: impl FnMut(Init<'_>) -> bool) -> bool {
        let mut found = false;
        for local in self.locals_of(function, index) {
            let Some((number, local)) = local.and_then(|number| Some((number, self.locals.get(number as usize)?)))
            else {
                return false;
            };
            if self.bytes(local.name) != name {
                continue; // another function on the same lines
            }
            if !fits(self.init(number)) {
                return false;
            }
            found = true;
        }
        found
    }

    /// Does a nested function assign the local that is upvalue `index`, counted from 1, of a function, whether that
    /// function can be reached or not?
    pub fn is_assigned(&self, function: &Sought, index: u8) -> bool {
        self.locals_of(function, index)
            .into_iter()
            .flatten()
            .any(|number| self.locals.get(number as usize).is_some_and(|local| local.assigned))
    }

    /// The local that an upvalue is, for each function of the chunk that may be the one sought: functions may share their lines.
    fn locals_of(&self, function: &Sought, index: u8) -> SmallVec<[Option<u32>; 2]> {
        let fits = |nested: &&Nested| {
            (nested.line, nested.last) == function.lines && nested.upvalues.len() == usize::from(function.upvalues)
        };
        let several = self.nested.iter().filter(fits).count() > 1;
        self.nested
            .iter()
            .filter(fits)
            .filter(|nested| !several || self.digest(nested) == Some(function.digest))
            .map(|nested| nested.upvalues.get(usize::from(index).wrapping_sub(1))?.local)
            .collect()
    }

    fn digest(&self, nested: &Nested) -> Option<u32> {
        let mut reader = Reader::at(&self.dump, nested.start)?;
        Some(reader.function(1, &mut UpvalueSet::default(), None).ok()?.digest)
    }

    fn bytes(&self, span: Span) -> &[u8] {
        text_at(&self.dump, span)
    }

    /// First and last line of each nested function, and how many upvalues it has.
    #[cfg(any(test, feature = "vendored"))]
    pub fn functions(&self) -> impl Iterator<Item = ((i32, i32), u8)> {
        let upvalues = |nested: &Nested| nested.upvalues.len().min(255) as u8;
        self.nested
            .iter()
            .map(move |nested| ((nested.line, nested.last), upvalues(nested)))
    }

    // -- Reading ------------------------------------------------------------------------------------------------------

    fn main(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        reader.string()?;
        reader.int()?;
        reader.int()?;
        reader.take(3)?;
        let code = reader.code()?;
        self.code.try_reserve(code.len() / 4).map_err(|_| Stop::Memory)?;
        for instruction in code.chunks_exact(4).map(word) {
            if instruction & 0x7f > OP_LAST {
                return Err(Stop::Format);
            }
            self.code.push(instruction);
        }
        for _ in 0..reader.count()? {
            let constant = match reader.byte()? {
                0x00 => Constant::Nil,
                0x01 => Constant::Boolean(false),
                0x11 => Constant::Boolean(true),
                0x03 => Constant::Integer(reader.take(8)?.try_into().map_or(0, i64::from_le_bytes)),
                0x13 => Constant::Float(reader.take(8)?.try_into().map_or(0.0, f64::from_le_bytes)),
                0x04 | 0x14 => Constant::String(reader.span()?.ok_or(Stop::Format)?),
                _ => return Err(Stop::Format),
            };
            self.constants.try_push(constant)?;
        }
        reader.upvalues()?;
        for number in 0..reader.count()? {
            self.nested(reader, 1, None, number as u32)?;
        }

        let lines = reader.count()?;
        reader.take(lines)?;
        for _ in 0..reader.count()? {
            reader.int()?;
            reader.int()?;
        }
        let mut scopes: Vec<usize> = Vec::new();
        for _ in 0..reader.count()? {
            let name = reader.span()?.unwrap_or_default();
            let (start, end) = (reader.int()? as usize, reader.int()? as usize);
            while scopes.last().is_some_and(|last| *last <= start) {
                scopes.pop();
            }
            let register = scopes.len() as u32; // scopes end last first
            scopes.try_push(end)?;
            self.locals.try_push(Local {
                name,
                register,
                start,
                end,
                assigned: false,
            })?;
        }
        for number in 0..reader.count()? {
            if reader.string()? == Some(b"_ENV".as_slice()) {
                self.environment = Some(number as u32);
            }
        }
        self.resolve()?;
        self.find_jumps()
    }

    /// Reads a nested function and all within it, and returns which of its upvalues they assign.
    fn nested(
        &mut self,
        reader: &mut Reader<'_>,
        depth: u32,
        parent: Option<u32>,
        number: u32,
    ) -> Read<SmallVec<[u8; 8]>> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        let start = reader.position();
        reader.string()?;
        let (line, last) = (reader.int()?, reader.int()?);
        reader.take(3)?;
        let mut assigned = UpvalueSet::default();
        for instruction in reader.code()?.chunks_exact(4).map(word) {
            if instruction & 0x7f == OP_SETUPVAL {
                assigned.add((instruction >> 16 & 0xff) as u8);
            }
        }
        let constants = reader.count()?;
        reader.skip_constants(constants)?;
        let mut upvalues = Vec::new();
        for [in_stack, index, _] in reader.upvalues()?.as_chunks().0 {
            upvalues.try_push(Captured {
                in_stack: *in_stack != 0,
                index: *index,
                assigned: false,
                local: None,
            })?;
        }
        let own = self.nested.len();
        self.nested.try_push(Nested {
            line,
            last,
            start,
            parent,
            number,
            upvalues,
        })?;
        for number in 0..reader.count()? {
            for index in self.nested(reader, depth + 1, Some(own as u32), number as u32)? {
                assigned.add(index);
            }
        }
        reader.skip_debug()?;
        let mut outer = SmallVec::new();
        if let Some(nested) = self.nested.get_mut(own) {
            for (upvalue, i) in nested.upvalues.iter_mut().zip(0..=u8::MAX) {
                upvalue.assigned = assigned.has(i);
                if upvalue.assigned && !upvalue.in_stack {
                    outer.try_push(upvalue.index)?;
                }
            }
        }
        Ok(outer)
    }

    /// Finds the local of the main function that each upvalue is, and which of them nested functions assign.
    fn resolve(&mut self) -> Read<()> {
        let mut makers = Vec::new();
        for (pc, i) in self.code.iter().enumerate().filter(|(_, i)| **i & 0x7f == op::CLOSURE) {
            makers.try_push((*i >> 15, pc))?;
        }
        makers.sort_unstable();
        for i in 0..self.nested.len() {
            let (before, rest) = self.nested.split_at_mut(i);
            let Some(nested) = rest.first_mut() else {
                break;
            };
            let parent = nested.parent.and_then(|parent| before.get(parent as usize));
            let found = makers.binary_search_by_key(&nested.number, |(number, _)| *number).ok();
            let made = found.and_then(|found| Some(makers.get(found)?.1));
            for upvalue in &mut nested.upvalues {
                upvalue.local = match (parent, made) {
                    (Some(parent), _) if !upvalue.in_stack => parent
                        .upvalues
                        .get(usize::from(upvalue.index))
                        .and_then(|outer| outer.local),
                    (None, Some(pc)) if upvalue.in_stack => {
                        let register = u32::from(upvalue.index);
                        // A local function is in scope only behind the instruction that makes it.
                        let is_itself = self.code.get(pc).is_some_and(|i| i >> 7 & 0xff == register);
                        live(&self.locals, register, pc)
                            .or_else(|| live(&self.locals, register, pc + 1).filter(|_| is_itself))
                    }
                    _ => None,
                };
                let local = upvalue.local.and_then(|local| self.locals.get_mut(local as usize));
                if let Some(local) = local {
                    local.assigned |= upvalue.assigned;
                }
            }
        }
        Ok(())
    }

    fn find_jumps(&mut self) -> Read<()> {
        for (pc, i) in self.code.iter().enumerate() {
            let (bx, next) = ((i >> 15) as usize, pc + 1);
            let to = match i & 0x7f {
                op::JMP => (next + (i >> 7) as usize).checked_sub(0xff_ffff),
                op::FORLOOP | op::TFORLOOP => next.checked_sub(bx),
                op::FORPREP => Some(next + bx + 1),
                op::TFORPREP => Some(next + bx),
                op::LFALSESKIP | op::EQ..=op::TESTSET => Some(next + 1),
                _ => continue,
            };
            self.jumps.try_push((pc, to.ok_or(Stop::Format)?))?;
        }
        Ok(())
    }

    // -- Proofs -------------------------------------------------------------------------------------------------------

    /// How a local was initialised; [`Init::Computed`] as well where something may assign it.
    fn init(&self, local: u32) -> Init<'_> {
        match self.origin_of(local, 0) {
            Some(Origin::Require) => Init::Import,
            Some(Origin::Init(init)) => init,
            None => Init::Computed,
        }
    }

    fn origin_of(&self, number: u32, steps: u32) -> Option<Origin<'_>> {
        let local = self.locals.get(number as usize)?;
        let scope = self.code.get(local.start..local.end.min(self.code.len()))?;
        if local.assigned || scope.iter().any(|i| writes(*i, local.register)) {
            return None;
        }
        let (origin, first) = self.origin(local.start, local.register, steps)?;
        let passed_by = |(from, to): &(usize, usize)| first < *to && *to <= local.start && *from < local.start;
        (!self.jumps.iter().any(passed_by)).then_some(origin)
    }

    /// What the last write to a register before an instruction put there, and where the instructions begin that did it, when
    /// they run one after another.
    fn origin(&self, before: usize, register: u32, steps: u32) -> Option<(Origin<'_>, usize)> {
        if steps > MAX_STEPS {
            return None;
        }
        let pc = self.code.get(..before)?.iter().rposition(|i| writes(*i, register))?;
        let i = *self.code.get(pc)?;
        let (b, c, bx) = (i >> 16 & 0xff, i >> 24, i >> 15);
        let literal = |init| Some((Origin::Init(init), pc));
        match i & 0x7f {
            op::LOADI => literal(Init::Integer(i64::from(bx) - 0xffff)),
            op::LOADF => literal(Init::Float((i64::from(bx) - 0xffff) as f64)),
            op::LOADK => literal(self.constant(bx)?),
            op::LOADKX => literal(self.constant(self.code.get(pc + 1)? >> 7)?),
            op::LOADFALSE => literal(Init::Boolean(false)),
            op::LOADTRUE => literal(Init::Boolean(true)),
            op::LOADNIL => literal(Init::Nil),
            op::CLOSURE => literal(Init::Function),
            op::MOVE => {
                let local = live(&self.locals, b, pc)?;
                Some((self.origin_of(local, steps + 1)?, pc))
            }
            op::GETTABUP if self.environment == Some(b) => match self.constant(c)? {
                Init::String(b"require") => Some((Origin::Require, pc)),
                Init::String(_) => literal(Init::Import),
                _ => None,
            },
            op::GETFIELD => {
                let (table, first) = match live(&self.locals, b, pc) {
                    Some(local) => (self.origin_of(local, steps + 1)?, pc),
                    None => self.origin(pc, b, steps + 1)?,
                };
                matches!(table, Origin::Init(Init::Import)).then_some((table, first))
            }
            op::CALL if b == 2 && c == 2 && i >> 7 & 0xff == register => {
                let (Origin::Require, first) = self.origin(pc, register, steps + 1)? else {
                    return None;
                };
                let argument = self.code.get(..pc)?.iter().rfind(|i| writes(**i, register + 1))?;
                let is_literal = argument & 0x7f == op::LOADK;
                if !is_literal || !matches!(self.constant(argument >> 15)?, Init::String(_)) {
                    return None;
                }
                Some((Origin::Init(Init::Import), first))
            }
            _ => None,
        }
    }

    fn constant(&self, number: u32) -> Option<Init<'_>> {
        Some(match *self.constants.get(number as usize)? {
            Constant::Nil => Init::Nil,
            Constant::Boolean(b) => Init::Boolean(b),
            Constant::Integer(n) => Init::Integer(n),
            Constant::Float(n) => Init::Float(n),
            Constant::String(span) => Init::String(self.bytes(span)),
        })
    }
}

/// What stands in a register.
enum Origin<'a> {
    Init(Init<'a>),
    /// The global `require`: an import that may be called.
    Require,
}

impl Local {
    fn is_live(&self, pc: usize) -> bool {
        self.start <= pc && pc < self.end
    }
}

/// The local that has a register at an instruction.
fn live(locals: &[Local], register: u32, pc: usize) -> Option<u32> {
    let found = |local: &Local| local.register == register && local.is_live(pc);
    locals.iter().position(found).map(|number| number as u32)
}

/// May the instruction write the register?
fn writes(i: u32, register: u32) -> bool {
    let (a, b, c) = (i >> 7 & 0xff, i >> 16 & 0xff, i >> 24);
    let (first, last) = match i & 0x7f {
        op::LOADNIL => (a, a + b),
        op::SELF => (a, a + 1),
        op::MOVE..=op::GETUPVAL
        | op::GETTABUP..=op::GETFIELD
        | op::NEWTABLE
        | op::ADDI..=op::SHR
        | op::UNM..=op::CONCAT
        | op::TESTSET
        | op::CLOSURE => (a, a),
        // What a call leaves above its results is anything.
        op::CALL | op::TAILCALL => (a, 255),
        op::VARARG if c > 0 => (a, a + c.max(2) - 2),
        op::VARARG => (a, 255),
        op::FORLOOP | op::FORPREP | op::TFORPREP | op::TFORLOOP => (a, a + 4),
        op::TFORCALL => (a + 4, 255),
        _ => return false,
    };
    (first..=last).contains(&register)
}

/// Lua 5.4's operations, as far as they are told apart here.
mod op {
    pub const MOVE: u32 = 0;
    pub const LOADI: u32 = 1;
    pub const LOADF: u32 = 2;
    pub const LOADK: u32 = 3;
    pub const LOADKX: u32 = 4;
    pub const LOADFALSE: u32 = 5;
    pub const LFALSESKIP: u32 = 6;
    pub const LOADTRUE: u32 = 7;
    pub const LOADNIL: u32 = 8;
    pub const GETUPVAL: u32 = 9;
    pub const GETTABUP: u32 = 11;
    pub const GETFIELD: u32 = 14;
    pub const NEWTABLE: u32 = 19;
    pub const SELF: u32 = 20;
    pub const ADDI: u32 = 21;
    pub const SHR: u32 = 45;
    pub const UNM: u32 = 49;
    pub const CONCAT: u32 = 53;
    pub const JMP: u32 = 56;
    pub const EQ: u32 = 57;
    pub const TESTSET: u32 = 67;
    pub const CALL: u32 = 68;
    pub const TAILCALL: u32 = 69;
    pub const FORLOOP: u32 = 73;
    pub const FORPREP: u32 = 74;
    pub const TFORPREP: u32 = 75;
    pub const TFORCALL: u32 = 76;
    pub const TFORLOOP: u32 = 77;
    pub const CLOSURE: u32 = 79;
    pub const VARARG: u32 = 80;
}
