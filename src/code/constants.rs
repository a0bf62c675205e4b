//! Reads a dumped chunk with debug information for R4.7: the locals of its main function that
//! nested functions capture, how each is initialised, and whether anything assigns it afterwards.
//!
//! What it says is proved from the code: an initialiser that control flow can pass by, a write to
//! the local's register within its scope, or anything that is not understood makes the local
//! [`Init::Computed`].

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::reader::{Read, Reader, Stop, word};
use super::{Digest, MAX_DEPTH, UpvalueSet, op, text_at};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush, collected};
use crate::support::secret::Secret;

/// Aliases of aliases (`local a = b`) are followed no further: no function has more registers, and
/// so no more locals at a time.
const MAX_STEPS: u32 = 256;

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

#[derive(Clone, Copy, PartialEq)]
enum ConstantValue {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(Span),
}

/// A local of the main function.
struct MainLocal {
    name: Span,
    register: u32,
    /// The instructions during which it is in scope.
    start: usize,
    end: usize,
    /// The number of its name: equal names have one.
    text: u32,
    /// A nested function assigns it.
    assigned: bool,
    /// What initialised it, once it was asked for.
    origin: Option<RegisterOrigin>,
}

/// A nested function, at any depth; enclosing ones come first.
struct NestedFunction {
    line: i32,
    last: i32,
    /// Where it begins in the dump.
    start: usize,
    /// The nested function that encloses it; none for the main function.
    parent: Option<u32>,
    /// Its number among the functions of the one that encloses it.
    number: u32,
    upvalues: Vec<CapturedUpvalue>,
}

struct CapturedUpvalue {
    in_stack: bool,
    index: u8,
    assigned: bool,
    /// The local of the main function that it is.
    local: Option<u32>,
}

/// What an upvalue of a function that is sought is.
enum SoughtUpvalue<'a> {
    /// The only function that it may be has this local there; none where that is not known.
    Alone(Option<u32>),
    /// Several may be meant.
    Crowd(&'a Captures),
}

/// A chunk's text, as far as its main function's locals go.
pub struct MainText {
    secret: Secret,
    dump: Vec<u8>,
    code: Vec<u32>,
    constants: Vec<ConstantValue>,
    /// The number of its upvalue `_ENV`.
    environment: Option<u32>,
    locals: Vec<MainLocal>,
    nested: Vec<NestedFunction>,
    /// Jumps: to, from; sorted.
    jumps: Vec<(usize, usize)>,
    /// Each register's locals in the order of their scopes: register, start, and the local's
    /// number.
    by_register: Vec<(u32, usize, u32)>,
    /// The locals' names, sorted.
    texts: Vec<Span>,
    /// The nested functions by their lines and how many upvalues they have.
    by_lines: Vec<(ShapeKey, u32)>,
    /// Where several have these: what their upvalues are, by the functions' digest as well.
    crowds: FxHashMap<(ShapeKey, Digest, u8), Captures>,
}

/// First and last line of a function, and how many upvalues it has.
type ShapeKey = (i32, i32, usize);

/// What an upvalue with one number is in all functions that look the same from outside.
#[derive(Default)]
struct Captures {
    /// A nested function assigns one of these locals.
    assigned: bool,
    /// In one of the functions it is no local that is known.
    unknown: bool,
    /// The locals by the numbers of their names, sorted, each once.
    locals: Vec<(u32, u32)>,
}

/// A function as the running program knows it: what tells it from others of its chunk.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    /// First and last line.
    pub lines: (i32, i32),
    /// How many upvalues.
    pub upvalues: u8,
    /// [`super::Profile::digest`].
    pub digest: Digest,
}

impl MainText {
    /// Reads a dump that was made with debug information; none when it is not exactly that of Lua
    /// 5.4.
    pub fn read(dump: Vec<u8>, secret: &Secret) -> Result<Option<MainText>> {
        let mut text = MainText {
            secret: secret.clone(),
            dump: Vec::new(),
            code: Vec::new(),
            constants: Vec::new(),
            environment: None,
            locals: Vec::new(),
            nested: Vec::new(),
            jumps: Vec::new(),
            by_register: Vec::new(),
            texts: Vec::new(),
            by_lines: Vec::new(),
            crowds: FxHashMap::default(),
        };
        let read = Reader::of(&dump).map(|mut reader| text.main(&mut reader, &dump));
        match read {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(Error::Memory),
            Some(Ok(())) => {
                text.dump = dump;
                Ok(Some(text))
            }
        }
    }

    /// The names of the locals that nested functions assign; none where one of them has no name
    /// (stripped code).
    pub fn assigned(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let outermost = self
            .nested
            .iter()
            .filter(|function| function.parent.is_none());
        let nameless = outermost
            .flat_map(|function| &function.upvalues)
            .any(|upvalue| upvalue.in_stack && upvalue.assigned && upvalue.local.is_none());
        let locals = self.locals.iter().filter(|local| local.assigned);
        (!nameless).then(|| locals.map(|local| self.bytes(local.name)))
    }

    /// The same, but for names that a local which none of them assigns has as well.
    pub fn certainly_assigned(&self) -> Result<Option<Vec<&[u8]>>> {
        let Some(assigned) = self.assigned() else {
            return Ok(None);
        };
        let mut others = FxHashSet::default();
        for local in self.locals.iter().filter(|local| !local.assigned) {
            others.try_insert_value(self.bytes(local.name), ())?;
        }
        let mut names = Vec::new();
        for name in assigned.filter(|name| !others.contains(name)) {
            names.try_push(name)?;
        }
        Ok(Some(names))
    }

    /// How the local was initialised that a function knows as upvalue `index`, counted from 1, and
    /// by `name`. Where several locals could be meant (functions on the same lines with the
    /// same code), and these were not initialised alike, it is [`Init::Computed`].
    pub fn init(&mut self, function: &Sought, index: u8, name: &[u8]) -> Init<'_> {
        let Ok(text) = self
            .texts
            .binary_search_by(|span| self.bytes(*span).cmp(name))
        else {
            return Init::Computed;
        };
        let has_name = |local: &u32| {
            let local = self.locals.get(*local as usize);
            local.is_some_and(|local| local.text == text as u32)
        };
        let (mut alone, range) = match self.captured(function, index) {
            None => return Init::Computed,
            Some(SoughtUpvalue::Alone(local)) => (local.filter(has_name), 0..0),
            Some(SoughtUpvalue::Crowd(captures)) if captures.unknown => return Init::Computed,
            Some(SoughtUpvalue::Crowd(captures)) => {
                let start = captures
                    .locals
                    .partition_point(|(other, _)| *other < text as u32);
                let end = captures
                    .locals
                    .partition_point(|(other, _)| *other <= text as u32);
                (None, start..end)
            }
        };
        let mut origin = None;
        for i in range {
            if let Some(SoughtUpvalue::Crowd(captures)) = self.captured(function, index) {
                alone = captures.locals.get(i).map(|(_, local)| *local);
            }
            let other = alone.map_or(RegisterOrigin::Computed, |local| self.origin_of(local, 0));
            if origin.is_some_and(|origin| origin != other) {
                return Init::Computed;
            }
            origin = Some(other);
        }
        let origin = match (origin, alone) {
            (Some(origin), _) => origin,
            (None, Some(local)) => self.origin_of(local, 0),
            (None, None) => RegisterOrigin::Computed,
        };
        self.shown(origin)
    }

    /// Does a nested function assign the local that is upvalue `index`, counted from 1, of a
    /// function, whether that function can be reached or not?
    pub fn is_assigned(&self, function: &Sought, index: u8) -> bool {
        match self.captured(function, index) {
            Some(SoughtUpvalue::Alone(local)) => local
                .and_then(|local| self.locals.get(local as usize))
                .is_some_and(|local| local.assigned),
            Some(SoughtUpvalue::Crowd(captures)) => captures.assigned,
            None => false,
        }
    }

    /// What upvalue `index`, counted from 1, is in the functions of the chunk that may be the one
    /// sought; none where there is none.
    fn captured(&self, function: &Sought, index: u8) -> Option<SoughtUpvalue<'_>> {
        let key = (
            function.lines.0,
            function.lines.1,
            usize::from(function.upvalues),
        );
        let start = self.by_lines.partition_point(|(other, _)| *other < key);
        let (other, first) = self.by_lines.get(start)?;
        if *other != key {
            return None;
        }
        if self
            .by_lines
            .get(start + 1)
            .is_some_and(|(other, _)| *other == key)
        {
            return self
                .crowds
                .get(&(key, function.digest, index))
                .map(SoughtUpvalue::Crowd);
        }
        let upvalues = &self.nested.get(*first as usize)?.upvalues;
        let upvalue = upvalues.get(usize::from(index).wrapping_sub(1))?;
        Some(SoughtUpvalue::Alone(upvalue.local))
    }

    fn bytes(&self, span: Span) -> &[u8] {
        text_at(&self.dump, span)
    }

    /// First and last line of each nested function, and how many upvalues it has.
    #[cfg(any(test, feature = "vendored"))]
    pub fn functions(&self) -> impl Iterator<Item = ((i32, i32), u8)> {
        let upvalues = |nested: &NestedFunction| nested.upvalues.len().min(255) as u8;
        self.nested
            .iter()
            .map(move |nested| ((nested.line, nested.last), upvalues(nested)))
    }

    // -- Reading
    // ---------------------------------------------------------------------------------------------

    fn main(&mut self, reader: &mut Reader<'_>, dump: &[u8]) -> Read<()> {
        reader.string()?;
        reader.int()?;
        reader.int()?;
        reader.take(3)?;
        let code = reader.code()?;
        self.code
            .try_reserve(code.len() / 4)
            .map_err(|_| Stop::Memory)?;
        for instruction in code.chunks_exact(4).map(word) {
            if instruction & 0x7f > op::LAST {
                return Err(Stop::Format);
            }
            self.code.push(instruction);
        }
        for _ in 0..reader.count()? {
            let constant = match reader.byte()? {
                0x00 => ConstantValue::Nil,
                0x01 => ConstantValue::Boolean(false),
                0x11 => ConstantValue::Boolean(true),
                0x03 => {
                    ConstantValue::Integer(reader.take(8)?.try_into().map_or(0, i64::from_le_bytes))
                }
                0x13 => {
                    ConstantValue::Float(reader.take(8)?.try_into().map_or(0.0, f64::from_le_bytes))
                }
                0x04 | 0x14 => ConstantValue::String(reader.span()?.ok_or(Stop::Format)?),
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
            self.locals.try_push(MainLocal {
                name,
                register,
                start,
                end,
                text: 0,
                assigned: false,
                origin: None,
            })?;
        }
        for number in 0..reader.count()? {
            if reader.string()? == Some(b"_ENV".as_slice()) {
                self.environment = Some(number as u32);
            }
        }
        self.list_locals(dump)?;
        self.resolve()?;
        self.list_functions(dump)?;
        self.find_jumps()
    }

    /// Sorts the locals by register, and their names.
    fn list_locals(&mut self, dump: &[u8]) -> Read<()> {
        let number = |(local, number): (&MainLocal, u32)| Ok((local.register, local.start, number));
        self.by_register = collected(self.locals.iter().zip(0..).map(number))?;
        self.by_register.sort_unstable();
        let text = |span: &Span| text_at(dump, *span);
        self.texts = collected(self.locals.iter().map(|local| Ok(local.name)))?;
        self.texts.sort_unstable_by_key(text);
        self.texts.dedup_by_key(|span| text(span));
        for local in &mut self.locals {
            let found = self.texts.binary_search_by_key(&text(&local.name), text);
            local.text = found.map_or(0, |found| found as u32);
        }
        Ok(())
    }

    /// Sorts the nested functions by their lines. Those that share them are told apart by their
    /// code.
    fn list_functions(&mut self, dump: &[u8]) -> Read<()> {
        let key = |(nested, number): (&NestedFunction, u32)| {
            Ok(((nested.line, nested.last, nested.upvalues.len()), number))
        };
        self.by_lines = collected(self.nested.iter().zip(0..).map(key))?;
        self.by_lines.sort_unstable();
        for crowd in self
            .by_lines
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|crowd| crowd.len() > 1)
        {
            for (key, number) in crowd {
                let Some(nested) = self.nested.get(*number as usize) else {
                    continue;
                };
                let Some(mut reader) = Reader::at(dump, nested.start) else {
                    continue;
                };
                let digest = reader
                    .function(1, &mut UpvalueSet::default(), &self.secret, None)?
                    .digest;
                for (upvalue, index) in nested.upvalues.iter().zip(1..=u8::MAX) {
                    let place = (*key, digest, index);
                    if !self.crowds.contains_key(&place) {
                        self.crowds.try_insert_value(place, Captures::default())?;
                    }
                    let local = upvalue
                        .local
                        .and_then(|local| Some((self.locals.get(local as usize)?, local)));
                    let Some(captures) = self.crowds.get_mut(&place) else {
                        continue;
                    };
                    match local {
                        Some((local, number)) => {
                            captures.assigned |= local.assigned;
                            captures.locals.try_push((local.text, number))?;
                        }
                        None => captures.unknown = true,
                    }
                }
            }
        }
        for captures in self.crowds.values_mut() {
            captures.locals.sort_unstable();
            captures.locals.dedup();
        }
        Ok(())
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
            if instruction & 0x7f == op::SETUPVAL {
                assigned.add((instruction >> 16 & 0xff) as u8);
            }
        }
        let constants = reader.count()?;
        reader.skip_constants(constants)?;
        let mut upvalues = Vec::new();
        for [in_stack, index, _] in reader.upvalues()?.as_chunks().0 {
            upvalues.try_push(CapturedUpvalue {
                in_stack: *in_stack != 0,
                index: *index,
                assigned: false,
                local: None,
            })?;
        }
        let own = self.nested.len();
        self.nested.try_push(NestedFunction {
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

    /// Finds the local of the main function that each upvalue is, and which of them nested
    /// functions assign.
    fn resolve(&mut self) -> Read<()> {
        let mut makers = Vec::new();
        for (pc, i) in self
            .code
            .iter()
            .enumerate()
            .filter(|(_, i)| **i & 0x7f == op::CLOSURE)
        {
            makers.try_push((*i >> 15, pc))?;
        }
        makers.sort_unstable();
        for i in 0..self.nested.len() {
            let (before, rest) = self.nested.split_at_mut(i);
            let Some(nested) = rest.first_mut() else {
                break;
            };
            let parent = nested.parent.and_then(|parent| before.get(parent as usize));
            let found = makers
                .binary_search_by_key(&nested.number, |(number, _)| *number)
                .ok();
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
                        let is_itself =
                            self.code.get(pc).is_some_and(|i| i >> 7 & 0xff == register);
                        live(&self.locals, &self.by_register, register, pc).or_else(|| {
                            let after = live(&self.locals, &self.by_register, register, pc + 1);
                            after.filter(|_| is_itself)
                        })
                    }
                    _ => None,
                };
                let local = upvalue
                    .local
                    .and_then(|local| self.locals.get_mut(local as usize));
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
                op::JMP => (next + (i >> 7) as usize).checked_sub(op::JUMP_BIAS),
                op::FORLOOP | op::TFORLOOP => next.checked_sub(bx),
                op::FORPREP => Some(next + bx + 1),
                op::TFORPREP => Some(next + bx),
                op::LFALSESKIP | op::EQ..=op::TESTSET => Some(next + 1),
                _ => continue,
            };
            self.jumps.try_push((to.ok_or(Stop::Format)?, pc))?;
        }
        self.jumps.sort_unstable();
        Ok(())
    }

    // -- Proofs -----------------------------------------------------------------------------------

    /// How a local was initialised; [`RegisterOrigin::Computed`] as well if something may assign
    /// it. It is found out once for each local.
    fn origin_of(&mut self, number: u32, steps: u32) -> RegisterOrigin {
        let Some(local) = self.locals.get(number as usize) else {
            return RegisterOrigin::Computed;
        };
        if let Some(known) = local.origin {
            return known;
        }
        let origin = self
            .look_for_origin_of(number, steps)
            .unwrap_or(RegisterOrigin::Computed);
        if let Some(local) = self.locals.get_mut(number as usize) {
            local.origin = Some(origin);
        }
        origin
    }

    fn look_for_origin_of(&mut self, number: u32, steps: u32) -> Option<RegisterOrigin> {
        let local = self.locals.get(number as usize)?;
        let (start, register) = (local.start, local.register);
        let scope = self.code.get(start..local.end.min(self.code.len()))?;
        if local.assigned || steps > MAX_STEPS || scope.iter().any(|i| writes(*i, register)) {
            return None;
        }
        let (origin, first) = self.origin(start, register, steps)?;
        let after = self.jumps.partition_point(|(to, _)| *to <= first);
        let passed_by = |(_, from): &(usize, usize)| *from < start;
        let mut jumps = self
            .jumps
            .iter()
            .skip(after)
            .take_while(|(to, _)| *to <= start);
        (!jumps.any(passed_by)).then_some(origin)
    }

    /// What the last write to a register before an instruction put there, and where the
    /// instructions begin that did it, when they run one after another.
    fn origin(
        &mut self,
        mut before: usize,
        mut register: u32,
        steps: u32,
    ) -> Option<(RegisterOrigin, usize)> {
        let mut is_field = false;
        let (origin, first) = loop {
            let pc = self.last_write(before, register)?;
            let i = *self.code.get(pc)?;
            let (b, c, bx) = (i >> 16 & 0xff, i >> 24, i >> 15);
            let origin = match i & 0x7f {
                op::LOADI => {
                    RegisterOrigin::Constant(ConstantValue::Integer(i64::from(bx) - 0xffff))
                }
                op::LOADF => {
                    RegisterOrigin::Constant(ConstantValue::Float((i64::from(bx) - 0xffff) as f64))
                }
                op::LOADK => RegisterOrigin::Constant(*self.constants.get(bx as usize)?),
                op::LOADKX => {
                    let number = self.code.get(pc + 1)? >> 7;
                    RegisterOrigin::Constant(*self.constants.get(number as usize)?)
                }
                op::LOADFALSE => RegisterOrigin::Constant(ConstantValue::Boolean(false)),
                op::LOADTRUE => RegisterOrigin::Constant(ConstantValue::Boolean(true)),
                op::LOADNIL => RegisterOrigin::Constant(ConstantValue::Nil),
                op::CLOSURE => RegisterOrigin::Function,
                op::MOVE => {
                    let local = live(&self.locals, &self.by_register, b, pc)?;
                    self.origin_of(local, steps + 1)
                }
                op::GETTABUP if self.environment == Some(b) => {
                    match self.constants.get(c as usize)? {
                        ConstantValue::String(name) if self.bytes(*name) == b"require" => {
                            RegisterOrigin::Require
                        }
                        ConstantValue::String(_) => RegisterOrigin::Import,
                        _ => return None,
                    }
                }
                op::GETFIELD => {
                    is_field = true;
                    match live(&self.locals, &self.by_register, b, pc) {
                        Some(local) => self.origin_of(local, steps + 1),
                        None => {
                            (before, register) = (pc, b);
                            continue;
                        }
                    }
                }
                op::CALL if b == 2 && c == 2 && i >> 7 & 0xff == register => {
                    let first = self.require_before(pc, register, steps)?;
                    break (RegisterOrigin::Import, first);
                }
                _ => return None,
            };
            break (origin, pc);
        };
        (!is_field || origin == RegisterOrigin::Import).then_some((origin, first))
    }

    /// Does the call at an instruction call `require` with a literal? Then where the instructions
    /// begin that prepare it.
    fn require_before(&mut self, call: usize, register: u32, steps: u32) -> Option<usize> {
        let argument = *self.code.get(self.last_write(call, register + 1)?)?;
        let is_literal = argument & 0x7f == op::LOADK
            && matches!(
                self.constants.get((argument >> 15) as usize)?,
                ConstantValue::String(_)
            );
        let pc = self.last_write(call, register)?;
        let i = *self.code.get(pc)?;
        let (b, c) = (i >> 16 & 0xff, i >> 24);
        let is_require = match i & 0x7f {
            op::GETTABUP if self.environment == Some(b) => {
                let name = self.constants.get(c as usize)?;
                matches!(name, ConstantValue::String(name) if self.bytes(*name) == b"require")
            }
            op::MOVE => {
                let local = live(&self.locals, &self.by_register, b, pc)?;
                self.origin_of(local, steps + 1) == RegisterOrigin::Require
            }
            _ => false,
        };
        (is_literal && is_require).then_some(pc)
    }

    /// The last instruction before another one that may write a register.
    fn last_write(&self, before: usize, register: u32) -> Option<usize> {
        self.code
            .get(..before)?
            .iter()
            .rposition(|i| writes(*i, register))
    }

    /// An origin, for those outside.
    fn shown(&self, origin: RegisterOrigin) -> Init<'_> {
        match origin {
            RegisterOrigin::Constant(ConstantValue::Nil) => Init::Nil,
            RegisterOrigin::Constant(ConstantValue::Boolean(b)) => Init::Boolean(b),
            RegisterOrigin::Constant(ConstantValue::Integer(n)) => Init::Integer(n),
            RegisterOrigin::Constant(ConstantValue::Float(n)) => Init::Float(n),
            RegisterOrigin::Constant(ConstantValue::String(span)) => Init::String(self.bytes(span)),
            RegisterOrigin::Function => Init::Function,
            RegisterOrigin::Import | RegisterOrigin::Require => Init::Import,
            RegisterOrigin::Computed => Init::Computed,
        }
    }
}

/// What stands in a register.
#[derive(Clone, Copy, PartialEq)]
enum RegisterOrigin {
    Constant(ConstantValue),
    Function,
    Import,
    /// The global `require`: an import that may be called.
    Require,
    Computed,
}

/// The local that has a register at an instruction. `by_register`: [`MainText::by_register`].
fn live(
    locals: &[MainLocal],
    by_register: &[(u32, usize, u32)],
    register: u32,
    pc: usize,
) -> Option<u32> {
    let behind =
        by_register.partition_point(|(other, start, _)| (*other, *start) <= (register, pc));
    let (other, _, number) = *by_register.get(behind.checked_sub(1)?)?;
    let end = locals.get(number as usize)?.end;
    (other == register && pc < end).then_some(number)
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
