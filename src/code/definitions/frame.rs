//! One function while it is interpreted: its registers, the locals in scope, its loops.

use smallvec::SmallVec;

use super::super::reader::{Read, Stop};
use super::parse::{Parsed, Raw, part};
use super::registers::Registers;
use super::types::*;
use super::{Definitions, op};
use crate::support::mem::TryPush;

/// Locals that may be in scope at once.
const MOST_ACTIVE: usize = 255;

/// An instruction.
#[derive(Clone, Copy)]
pub(super) struct I(pub(super) u32);

impl I {
    #[inline(always)]
    pub(super) fn op(self) -> u32 {
        self.0 & 0x7f
    }

    #[inline(always)]
    pub(super) fn a(self) -> u32 {
        self.0 >> 7 & 0xff
    }

    #[inline(always)]
    pub(super) fn k(self) -> bool {
        self.0 >> 15 & 1 == 1
    }

    #[inline(always)]
    pub(super) fn b(self) -> u32 {
        self.0 >> 16 & 0xff
    }

    #[inline(always)]
    pub(super) fn c(self) -> u32 {
        self.0 >> 24
    }

    #[inline(always)]
    pub(super) fn bx(self) -> u32 {
        self.0 >> 15
    }
}

/// A function that is interpreted.
pub(super) struct AbstractFrame<'f, 'd> {
    pub(super) id: ProtoId,
    raw: &'f Raw<'d>,
    code: &'f [[u8; 4]],
    constants: (u32, u32),
    parsed: &'f Parsed<'d>,
    pub(super) out: &'f mut Definitions,
    pub(super) registers: &'f mut Registers,
    first_upvalue: usize,
    /// The locals in scope, by register.
    active: SmallVec<[VariableId; 32]>,
    /// The next local that comes into scope.
    next_local: u32,
    /// The next instruction before which anything is to be done: a local begins or ends, a jump
    /// arrives, a loop begins.
    pub(super) next_event: usize,
    /// The first register of an open list of values.
    pub(super) open: u32,
    /// Where loops begin and end, in the order of their beginnings; those that have begun; and
    /// where the last of these ends.
    loops: SmallVec<[(usize, usize); 8]>,
    next_loop: usize,
    loop_end: usize,
    /// So many instructions have been asked for their lines, the last one has this line, and the
    /// next one that no difference tells stands there.
    lined: usize,
    line: i32,
    absolute: u32,
}

impl<'f, 'd> AbstractFrame<'f, 'd> {
    pub(super) fn new(
        id: ProtoId,
        raw: &'f Raw<'d>,
        parsed: &'f Parsed<'d>,
        registers: &'f mut Registers,
        out: &'f mut Definitions,
    ) -> AbstractFrame<'f, 'd> {
        AbstractFrame {
            id,
            raw,
            code: raw.code.as_chunks().0,
            constants: raw.constants,
            parsed,
            registers,
            first_upvalue: out
                .first_upvalue
                .get(id as usize)
                .map_or(0, |first| *first as usize),
            active: SmallVec::new(),
            next_local: raw.locals.0,
            next_event: 0,
            open: 0,
            loops: SmallVec::new(),
            next_loop: 0,
            loop_end: 0,
            lined: 0,
            line: out.proto(id).map_or(0, |proto| proto.line),
            absolute: raw.absolute.0,
            out,
        }
    }

    /// The number of parameters.
    pub(super) fn params(&self) -> u8 {
        self.out.proto(self.id).map_or(0, |proto| proto.params)
    }

    /// An instruction.
    #[inline(always)]
    pub(super) fn at(&self, pc: usize) -> Option<I> {
        self.code.get(pc).map(|bytes| I(u32::from_le_bytes(*bytes)))
    }

    #[inline(always)]
    pub(super) fn constant(&self, number: u32) -> Constant {
        let (first, count) = self.constants;
        let constant = self.out.constants.get(first as usize + number as usize);
        constant
            .filter(|_| number < count)
            .copied()
            .unwrap_or(Constant::Nil)
    }

    /// The last argument of an instruction, which says what it is.
    #[inline(always)]
    pub(super) fn constant_or_register(&self, i: I) -> Symbol {
        match i.k() {
            true => Symbol::Constant(self.constant(i.c())),
            false => self.registers.get(i.c()),
        }
    }

    pub(super) fn upvalue(&self, index: u32) -> UpvalueOrigin {
        if index as usize >= self.raw.upvalues.len() / 3 {
            return UpvalueOrigin::Unknown;
        }
        let upvalue = self.out.upvalues.get(self.first_upvalue + index as usize);
        upvalue.copied().unwrap_or(UpvalueOrigin::Unknown)
    }

    /// A new function begins: where are its loops?
    pub(super) fn find_loops(&mut self) -> Read<()> {
        self.registers.clear()?;
        for (pc, bytes) in self.code.iter().enumerate() {
            let i = I(u32::from_le_bytes(*bytes));
            let of = match i.op() {
                op::FORPREP => (pc + 1, pc + i.bx() as usize + 2),
                op::TFORPREP => (pc + 1, pc + i.bx() as usize + 3),
                op::JMP => match (pc + 1 + (i.0 >> 7) as usize).checked_sub(op::JUMP_BIAS) {
                    Some(target) if target <= pc => (target, pc + 1),
                    _ => continue,
                },
                _ => continue,
            };
            self.loops.try_push(of)?;
        }
        self.loops.sort_unstable();
        Ok(())
    }

    /// What is to be done before an instruction.
    pub(super) fn arrive(&mut self, pc: usize) -> Read<()> {
        let local = |id: u32| self.parsed.locals.get(id as usize).copied();
        while let Some(last) = self.active.last()
            && local(last.0).is_none_or(|last| last.end as usize <= pc)
        {
            self.active.pop();
        }
        self.registers.arrive(pc, self.out)?;
        while let Some((start, end)) = self.loops.get(self.next_loop).copied()
            && start <= pc
        {
            self.loop_end = self.loop_end.max(end);
            self.next_loop += 1;
            // What the loop does to a local is not known here.
            for (variable, register) in self.active.iter().zip(0..) {
                self.registers.set(register, Symbol::Variable(*variable));
            }
        }
        let (first, count) = self.raw.locals;
        while self.next_local < first.saturating_add(count)
            && let Some(next) = local(self.next_local)
            && next.start as usize <= pc
        {
            if next.end as usize > pc {
                self.begin(VariableId(self.next_local), next.is_hidden, pc)?;
            }
            self.next_local += 1;
        }
        let ends = self.active.last().and_then(|last| local(last.0));
        let begins = match self.next_local < first.saturating_add(count) {
            true => local(self.next_local).map(|next| next.start as usize),
            false => None,
        };
        let next_loop = self.loops.get(self.next_loop).map(|(start, _)| *start);
        self.next_event = self
            .registers
            .next_arrival()
            .min(ends.map_or(usize::MAX, |last| last.end as usize))
            .min(begins.unwrap_or(usize::MAX))
            .min(next_loop.unwrap_or(usize::MAX));
        Ok(())
    }

    /// A local comes into scope.
    fn begin(&mut self, id: VariableId, is_hidden: bool, pc: usize) -> Read<()> {
        if self.active.len() == MOST_ACTIVE {
            return Err(Stop::Format);
        }
        let register = self.active.len() as u32;
        self.active.try_push(id)?;
        if is_hidden || !self.registers.is_reached {
            return Ok(());
        }
        let value = self.registers.get(register);
        let is_parameter = pc == 0 && register < u32::from(self.params());
        if let Some(variable) = self.out.variables.get_mut(id.0 as usize) {
            variable.initialiser = value;
            variable.is_given = is_parameter || value == Symbol::LoopVariable;
            if variable.is_given {
                return Ok(());
            }
            if variable.is_shared {
                self.registers.set(register, Symbol::Variable(id));
            }
        }
        match value {
            Symbol::Unknown => Ok(()),
            value => self.store(Destination::Variable(id), value, pc),
        }
    }

    pub(super) fn jump(&mut self, target: usize) -> Read<()> {
        self.registers.jump(target, self.active.len(), self.out)?;
        self.next_event = self.next_event.min(target);
        Ok(())
    }

    /// A register gets a value.
    #[inline(always)]
    pub(super) fn put(&mut self, register: u32, value: Symbol, pc: usize) -> Read<()> {
        match self.active.get(register as usize).copied() {
            None => {
                self.registers.set(register, value);
                Ok(())
            }
            Some(id) => self.put_local(register, id, value, pc),
        }
    }

    fn put_local(&mut self, register: u32, id: VariableId, value: Symbol, pc: usize) -> Read<()> {
        let is_hidden = self
            .parsed
            .locals
            .get(id.0 as usize)
            .is_none_or(|local| local.is_hidden);
        let is_shared = self
            .out
            .variable(id)
            .is_some_and(|variable| variable.is_shared);
        let held = if is_shared {
            Symbol::Variable(id)
        } else {
            value
        };
        self.registers.set(register, held);
        match is_hidden {
            true => Ok(()),
            false => self.assign(id, value, pc),
        }
    }

    /// Code assigns a variable.
    pub(super) fn assign(&mut self, id: VariableId, value: Symbol, pc: usize) -> Read<()> {
        if let Some(variable) = self.out.variables.get_mut(id.0 as usize) {
            variable.assignments += 1;
        }
        self.store(Destination::Variable(id), value, pc)
    }

    /// A field of a value.
    #[inline]
    pub(super) fn field(&mut self, base: Symbol, key: Symbol) -> Read<Symbol> {
        if matches!(
            base,
            Symbol::Unknown | Symbol::Constant(_) | Symbol::Pure { .. }
        ) {
            return Ok(Symbol::Unknown);
        }
        let field = self.out.fields.len() as u32;
        self.out.fields.try_push((base, key))?;
        Ok(Symbol::Field(field))
    }

    /// A value goes into an object.
    pub(super) fn store_into(
        &mut self,
        base: Symbol,
        place: Destination,
        value: Symbol,
        pc: usize,
    ) -> Read<()> {
        let is_of_interest = matches!(
            base,
            Symbol::Definition(_)
                | Symbol::Variable(_)
                | Symbol::OneOf(_)
                | Symbol::Global(_)
                | Symbol::Field(_)
        );
        if is_of_interest || self.out.has_definition(value) {
            self.store(place, value, pc)?;
        }
        Ok(())
    }

    /// A value goes to a place, which is the own one of what is made here.
    pub(super) fn store(&mut self, place: Destination, value: Symbol, pc: usize) -> Read<()> {
        let id = StoreId(self.out.stores.len() as u32);
        if self.out.stores.len() > self.out.most / 4 {
            return Err(Stop::Format);
        }
        let (proto, line) = (self.id, self.line_of(pc));
        self.out.stores.try_push(Store {
            place,
            value,
            proto,
            line,
        })?;
        match value {
            Symbol::Definition(definition) => self.out.placed(definition, id),
            Symbol::OneOf(list) => {
                for number in 0..self.out.list(list).len() {
                    if let Some(Symbol::Definition(definition)) = self.out.list(list).get(number) {
                        self.out.placed(*definition, id);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An expression makes an object, which goes to a register.
    pub(super) fn define(&mut self, kind: ExpressionKind, register: u32, pc: usize) -> Read<()> {
        let id = self.new_definition(kind, pc)?;
        self.put(register, Symbol::Definition(id), pc)
    }

    pub(super) fn new_definition(&mut self, kind: ExpressionKind, pc: usize) -> Read<DefinitionId> {
        let id = DefinitionId(self.out.definitions.len() as u32);
        let line = self.line_of(pc);
        self.out.definitions.try_push(Definition {
            kind,
            proto: self.id,
            line,
            in_loop: pc < self.loop_end,
            is_given: false,
            parent: Parent::Proto(self.id),
            key: DefinitionKey::Nowhere,
            place: None,
        })?;
        Ok(id)
    }

    pub(super) fn closure(&mut self, i: I, pc: usize) -> Read<()> {
        let Some(child) = self.capture(i, pc)? else {
            return Err(Stop::Format);
        };
        let id = DefinitionId(self.out.definitions.len() as u32);
        if let Some(proto) = self.out.protos.get_mut(child as usize)
            && proto.definition.is_none()
        {
            proto.definition = Some(id);
        }
        self.define(ExpressionKind::Function(child), i.a(), pc)
    }

    /// Finds the variables that a closure captures, and returns its function.
    pub(super) fn capture(&mut self, i: I, pc: usize) -> Read<Option<ProtoId>> {
        let children = part(&self.parsed.children, self.raw.children);
        let Some(child) = children.get(i.bx() as usize).copied() else {
            return Ok(None);
        };
        let Some(raw) = self.parsed.raws.get(child as usize) else {
            return Ok(None);
        };
        let first = self
            .out
            .first_upvalue
            .get(child as usize)
            .map_or(0, |first| *first as usize);
        for ([in_stack, index, _], number) in raw.upvalues.as_chunks().0.iter().zip(0..=u8::MAX) {
            let upvalue = match in_stack {
                0 => self.upvalue((*index).into()),
                _ => match self.local(*index, pc) {
                    Some(id) => {
                        self.captured(id, *index, raw.assigned.has(number));
                        UpvalueOrigin::Variable(id)
                    }
                    None => UpvalueOrigin::Unknown,
                },
            };
            if let Some(place) = self.out.upvalues.get_mut(first + usize::from(number))
                && *place == UpvalueOrigin::Unknown
            {
                *place = upvalue;
            }
        }
        Ok(Some(child))
    }

    fn captured(&mut self, id: VariableId, register: u8, is_assigned: bool) {
        if let Some(variable) = self.out.variables.get_mut(id.0 as usize) {
            variable.is_captured = true;
            if is_assigned && !variable.is_shared {
                variable.is_shared = true;
                if usize::from(register) < self.active.len() {
                    self.registers.set(register.into(), Symbol::Variable(id));
                }
            }
        }
    }

    /// The local in a register, or the one that comes there with the next instruction
    /// (`local function f`).
    fn local(&self, register: u8, pc: usize) -> Option<VariableId> {
        let register = usize::from(register);
        if let Some(id) = self.active.get(register) {
            return Some(*id);
        }
        let next = self.next_local + (register - self.active.len()) as u32;
        let (first, count) = self.raw.locals;
        let local = self.parsed.locals.get(next as usize);
        let begins =
            next < first + count && local.is_some_and(|local| local.start as usize == pc + 1);
        begins.then_some(VariableId(next))
    }

    /// The line of an instruction; they are asked for in their order.
    fn line_of(&mut self, pc: usize) -> i32 {
        let deltas = self.raw.lines.get(self.lined..=pc).unwrap_or_default();
        for delta in deltas {
            self.line = match *delta as i8 {
                i8::MIN => {
                    let (first, count) = self.raw.absolute;
                    let line = self.parsed.absolute.get(self.absolute as usize);
                    let is_own = self.absolute < first + count;
                    self.absolute += 1;
                    line.filter(|_| is_own).copied().unwrap_or(0)
                }
                delta => self.line.saturating_add(delta.into()),
            };
        }
        self.lined += deltas.len();
        if self.raw.lines.is_empty() {
            0
        } else {
            self.line
        }
    }
}

impl Definitions {
    /// Is a definition among what the symbol may be at once?
    pub(super) fn has_definition(&self, symbol: Symbol) -> bool {
        match symbol {
            Symbol::Definition(_) => true,
            Symbol::OneOf(list) => {
                let list = self.list(list).iter();
                list.clone()
                    .any(|member| matches!(member, Symbol::Definition(_)))
            }
            _ => false,
        }
    }

    /// A store may be the first destination of a definition.
    fn placed(&mut self, definition: DefinitionId, store: StoreId) {
        if let Some(definition) = self.definitions.get_mut(definition.0 as usize)
            && definition.place.is_none()
        {
            definition.place = Some(store);
        }
    }
}
