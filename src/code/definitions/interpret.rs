//! Interprets the instructions of each function once, on symbols: finds definitions, stores, and
//! which variable each upvalue is.

use smallvec::SmallVec;

use super::super::reader::{Read, Stop};
use super::frame::{AbstractFrame, I};
use super::known::Known;
use super::parse::Parsed;
use super::registers::Registers;
use super::types::*;
use super::{Definitions, op};
use crate::support::error::Error;
use crate::support::mem::TryPush;

/// Interprets all functions, each before those in it, but for those that are known.
pub(super) fn interpret(
    parsed: &Parsed<'_>,
    mut known: Option<Known<'_>>,
    out: &mut Definitions,
) -> Read<()> {
    let upvalues = out.upvalues.own()?;
    for proto in out.protos.iter() {
        let first = upvalues.len();
        out.first_upvalue.try_push(first as u32)?;
        let count = usize::from(proto.upvalues);
        upvalues.try_reserve(count).map_err(Error::from)?;
        upvalues.resize(first + count, UpvalueOrigin::Unknown);
    }
    // (`load` gives the first upvalue of a main function the environment)
    if let Some(environment) = upvalues.first_mut() {
        *environment = UpvalueOrigin::Environment;
    }
    let standard = StandardNames::of(out);
    let mut registers = Registers::new(out.most);
    // So many functions are taken over.
    let mut taken = 0;
    for (raw, id) in parsed.raws.iter().zip(0..) {
        out.note_lengths()?;
        if id < taken {
            continue;
        }
        if let Some(known) = &mut known
            && known.take_over(out, id)?
        {
            taken = out.proto(id).map_or(id, |proto| proto.end);
            #[cfg(test)]
            (out.taken += taken - id);
        } else if !raw.is_plain {
            let mut frame = AbstractFrame::new(id, raw, parsed, &mut registers, out);
            frame.run(&standard)?;
        }
    }
    out.note_lengths()?;
    Ok(())
}

/// Interprets the one function that was read alone, which has this number.
pub(super) fn interpret_alone(parsed: &Parsed<'_>, id: ProtoId, out: &mut Definitions) -> Read<()> {
    let Some(raw) = parsed.raws.first().filter(|raw| !raw.is_plain) else {
        return Ok(());
    };
    let standard = StandardNames::of(out);
    let mut registers = Registers::new(out.most);
    AbstractFrame::new(id, raw, parsed, &mut registers, out).run(&standard)
}

/// The numbers of the names of Lua's own functions that are treated like operators.
struct StandardNames {
    require: Option<StringId>,
    /// These return their first argument.
    setmetatable: Option<StringId>,
    assert: Option<StringId>,
    rawset: Option<StringId>,
    table: Option<StringId>,
    insert: Option<StringId>,
    debug: Option<StringId>,
    keep_nothing: [Option<StringId>; KEEP_NOTHING.len()],
}

impl StandardNames {
    fn of(out: &Definitions) -> StandardNames {
        let find = |name: &[u8]| out.numbers.get(&out.secret.digest(name)).copied();
        StandardNames {
            require: find(b"require"),
            setmetatable: find(b"setmetatable"),
            assert: find(b"assert"),
            rawset: find(b"rawset"),
            table: find(b"table"),
            insert: find(b"insert"),
            debug: find(b"debug"),
            keep_nothing: KEEP_NOTHING.map(find),
        }
    }
}

/// What the result of a call is, whoever is called.
enum Native {
    Require,
    /// Its first argument.
    First,
    SetMetatable,
    RawSet,
    Insert,
    Other,
}

/// Lua's own functions, and tables of such, that keep nothing of what they are given.
const KEEP_NOTHING: [&[u8]; 11] = [
    b"assert",
    b"pcall",
    b"print",
    b"select",
    b"setmetatable",
    b"tostring",
    b"type",
    b"xpcall",
    b"coroutine",
    b"string",
    b"table",
];

/// The other names that are asked for.
const ASKED_FOR: [&[u8]; 4] = [b"require", b"rawset", b"insert", b"debug"];

/// Does the interpreter ask for a function, or a library, of this name?
pub(super) fn is_standard(name: &[u8]) -> bool {
    KEEP_NOTHING.contains(&name) || ASKED_FOR.contains(&name)
}

impl StandardNames {
    /// Does the called function keep nothing of what it is given?
    fn keeps_nothing(&self, callee: Symbol, out: &Definitions) -> bool {
        let root = match callee {
            Symbol::Field(field) => out.field(field).map(|(holder, _)| holder),
            callee => Some(callee),
        };
        match root {
            Some(Symbol::Global(name)) => self.keep_nothing.contains(&Some(name)),
            _ => false,
        }
    }

    /// What kind of function this is.
    fn kind(&self, callee: Symbol, out: &Definitions) -> Native {
        let callee = match callee {
            Symbol::Variable(id) => match out.variable(id) {
                Some(variable) if variable.is_fixed() => variable.initialiser,
                _ => return Native::Other,
            },
            callee => callee,
        };
        let (name, library) = match callee {
            Symbol::Global(name) => (name, None),
            Symbol::Field(field) => match out.field(field) {
                Some((Symbol::Global(library), Symbol::Constant(Constant::String(name)))) => {
                    (name, Some(library))
                }
                _ => return Native::Other,
            },
            _ => return Native::Other,
        };
        let name = Some(name);
        match library {
            None if name == self.require => Native::Require,
            None if name == self.setmetatable => Native::SetMetatable,
            None if name == self.assert => Native::First,
            None if name == self.rawset => Native::RawSet,
            Some(_) if name == self.insert && library == self.table => Native::Insert,
            Some(_) if name == self.setmetatable && library == self.debug => Native::SetMetatable,
            _ => Native::Other,
        }
    }
}

impl AbstractFrame<'_, '_> {
    /// Interprets the function.
    fn run(&mut self, standard: &StandardNames) -> Read<()> {
        self.find_loops()?;
        for number in 0..self.params() {
            let parameter = Symbol::Parameter(self.id, number);
            self.registers.set(number.into(), parameter);
        }
        let mut pc = 0;
        while let Some(i) = self.at(pc) {
            if pc >= self.next_event {
                self.arrive(pc)?;
            }
            if self.registers.is_reached {
                pc = self.step(i, pc, standard)?;
                continue;
            }
            if i.op() == op::CLOSURE {
                self.capture(i, pc)?;
            }
            pc += 1;
        }
        let mixed = std::mem::take(&mut self.out.mixed);
        if mixed != Mixed::default()
            && let Some(proto) = self.out.protos.get_mut(self.id as usize)
        {
            proto.mixed = mixed;
        }
        Ok(())
    }

    /// Interprets one instruction, and tells which one comes next.
    #[inline]
    fn step(&mut self, i: I, pc: usize, standard: &StandardNames) -> Read<usize> {
        match i.op() {
            op::MOVE..=op::LOADNIL => return self.load(i, pc),
            op::GETUPVAL..=op::SETFIELD => self.table(i, pc)?,
            op::NEWTABLE => self.define(ExpressionKind::Table, i.a(), pc)?,
            op::SELF => {
                let (base, key) = (self.registers.get(i.b()), self.constant_or_register(i));
                let method = self.field(base, key)?;
                self.put(i.a() + 1, base, pc)?;
                self.put(i.a(), method, pc)?;
            }
            op::MMBIN..=op::MMBINK => {}
            op::ADDI..=op::CONCAT => self.operate(i, pc)?,
            op::JMP => {
                let target = (pc + 1 + (i.0 >> 7) as usize).checked_sub(op::JUMP_BIAS);
                let target = target.ok_or(Stop::Format)?;
                if target > pc {
                    self.jump(target)?;
                }
                self.registers.is_reached = false;
            }
            op::EQ..=op::TESTSET => return self.branch(i, pc),
            op::CALL | op::TAILCALL => self.call(i, pc, standard)?,
            op::RETURN..=op::RETURN1 => self.leave(i, pc)?,
            op::FORPREP => {
                self.jump(pc + i.bx() as usize + 2)?;
                self.put(i.a() + 3, Symbol::LoopVariable, pc)?;
            }
            op::TFORPREP => {
                let end = pc + i.bx() as usize + 1;
                self.jump(end)?;
                let count = self.at(end).filter(|i| i.op() == op::TFORCALL);
                for number in 0..count.map_or(0, I::c) {
                    self.put(i.a() + 4 + number, Symbol::LoopVariable, pc)?;
                }
            }
            op::SETLIST => self.set_list(i, pc)?,
            op::CLOSURE => self.closure(i, pc)?,
            op::VARARG => {
                for number in 1..i.c() {
                    self.put(i.a() + number - 1, Symbol::Unknown, pc)?;
                }
                if i.c() == 0 {
                    self.registers.set(i.a(), Symbol::Unknown);
                    self.open = i.a();
                }
            }
            _ => {}
        }
        Ok(pc + 1)
    }

    fn load(&mut self, i: I, pc: usize) -> Read<usize> {
        let small = i64::from(i.bx()) - 0xffff;
        let constant = match i.op() {
            op::MOVE => {
                let value = self.registers.get(i.b());
                self.put(i.a(), value, pc)?;
                return Ok(pc + 1);
            }
            op::LOADI => Constant::Integer(small),
            op::LOADF => Constant::Float((small as f64).to_bits()),
            op::LOADK => self.constant(i.bx()),
            op::LOADKX => self.constant(self.at(pc + 1).map_or(0, |extra| extra.0 >> 7)),
            op::LOADTRUE => Constant::Boolean(true),
            op::LOADFALSE | op::LFALSESKIP => Constant::Boolean(false),
            _ => {
                for register in i.a()..=(i.a() + i.b()).min(255) {
                    self.put(register, Symbol::Constant(Constant::Nil), pc)?;
                }
                return Ok(pc + 1);
            }
        };
        self.put(i.a(), Symbol::Constant(constant), pc)?;
        if i.op() == op::LFALSESKIP {
            self.jump(pc + 2)?;
            self.registers.is_reached = false;
        }
        Ok(pc + 1)
    }

    /// Upvalues, and places in tables.
    fn table(&mut self, i: I, pc: usize) -> Read<()> {
        let value = match i.op() {
            op::SETUPVAL => {
                let value = self.registers.get(i.a());
                if let UpvalueOrigin::Variable(id) = self.upvalue(i.b()) {
                    self.assign(id, value, pc)?;
                }
                return Ok(());
            }
            op::SETTABUP => {
                let (key, value) = (self.constant(i.b()), self.constant_or_register(i));
                return match (self.upvalue(i.a()), key) {
                    (UpvalueOrigin::Environment, Constant::String(name)) => {
                        self.store(Destination::Global(name), value, pc)
                    }
                    (UpvalueOrigin::Variable(id), key) => {
                        self.set_field(Symbol::Variable(id), Symbol::Constant(key), value, pc)
                    }
                    _ => Ok(()),
                };
            }
            op::SETTABLE..=op::SETFIELD => {
                let key = match i.op() {
                    op::SETTABLE => self.registers.get(i.b()),
                    op::SETI => Symbol::Constant(Constant::Integer(i.b().into())),
                    _ => Symbol::Constant(self.constant(i.b())),
                };
                let (base, value) = (self.registers.get(i.a()), self.constant_or_register(i));
                return self.set_field(base, key, value, pc);
            }
            op::GETUPVAL => match self.upvalue(i.b()) {
                UpvalueOrigin::Variable(id) => Symbol::Variable(id),
                _ => Symbol::Unknown,
            },
            op::GETTABUP => match (self.upvalue(i.b()), self.constant(i.c())) {
                (UpvalueOrigin::Environment, Constant::String(name)) => Symbol::Global(name),
                (UpvalueOrigin::Variable(id), key) => {
                    self.field(Symbol::Variable(id), Symbol::Constant(key))?
                }
                _ => Symbol::Unknown,
            },
            op => {
                let base = self.registers.get(i.b());
                let key = match op {
                    op::GETTABLE => self.registers.get(i.c()),
                    op::GETI => Symbol::Constant(Constant::Integer(i.c().into())),
                    _ => Symbol::Constant(self.constant(i.c())),
                };
                self.field(base, key)?
            }
        };
        self.put(i.a(), value, pc)
    }

    /// `t[k] = v`.
    fn set_field(&mut self, base: Symbol, key: Symbol, value: Symbol, pc: usize) -> Read<()> {
        if let Symbol::Behind(of) = key
            && let Some((list, _)) = self.out.field(of)
            && self.out.is_same(list, base)
        {
            return self.store_into(base, Destination::Appended { base }, value, pc);
        }
        self.store_into(base, Destination::Field { base, key }, value, pc)
    }

    fn set_list(&mut self, i: I, pc: usize) -> Read<()> {
        let base = self.registers.get(i.a());
        let more = match i.k() {
            true => self.at(pc + 1).map_or(0, |extra| extra.0 >> 7),
            false => 0,
        };
        let before = i.c().saturating_add(more.saturating_mul(256));
        let count = match i.b() {
            0 => self.open.saturating_sub(i.a()),
            count => count,
        };
        for number in 1..=count {
            let value = self.registers.get(i.a() + number);
            if !matches!(value, Symbol::Unknown | Symbol::Constant(Constant::Nil)) {
                let index = before.saturating_add(number);
                self.store_into(base, Destination::Element { base, index }, value, pc)?;
            }
        }
        Ok(())
    }

    fn operate(&mut self, i: I, pc: usize) -> Read<()> {
        let (left, op) = (self.registers.get(i.b()), i.op());
        let small = |byte: u32| Symbol::Constant(Constant::Integer(i64::from(byte) - 127));
        let value = match (op, left) {
            (op::ADDI, Symbol::Length(of)) if i.c() == 128 => Symbol::Behind(of),
            (op::ADDI | op::SHRI | op::SHLI, _) => self.out.operated(op, &[left, small(i.c())])?,
            (op::ADDK..=op::BXORK, _) => {
                let right = Symbol::Constant(self.constant(i.c()));
                self.out.operated(op, &[left, right])?
            }
            (op::ADD..=op::SHR, _) => {
                let right = self.registers.get(i.c());
                self.out.operated(op, &[left, right])?
            }
            (op::LEN, Symbol::Unknown) => Symbol::Unknown,
            (op::LEN, _) => {
                let field = self.out.fields.len() as u32;
                self.out.fields.try_push((left, Symbol::Unknown))?;
                Symbol::Length(field)
            }
            (op::CONCAT, _) => {
                let mut whole = self.registers.get(i.a());
                for number in 1..i.b() {
                    let next = self.registers.get(i.a() + number);
                    whole = self.out.operated(op, &[whole, next])?;
                }
                whole
            }
            _ => self.out.operated(op, &[left])?,
        };
        self.put(i.a(), value, pc)
    }

    /// A test, and the jump behind it.
    fn branch(&mut self, i: I, pc: usize) -> Read<usize> {
        let Some(jump) = self.at(pc + 1).filter(|next| next.op() == op::JMP) else {
            return Err(Stop::Format);
        };
        let target = (pc + 2 + (jump.0 >> 7) as usize).checked_sub(op::JUMP_BIAS);
        let target = target.ok_or(Stop::Format)?;
        // `local is_large = n > 3`: one of two instructions loads what the test gives.
        if target == pc + 3
            && let Some(load) = self.at(pc + 2).filter(|load| load.op() == op::LFALSESKIP)
            && self.next_event > pc + 3
        {
            let left = self.registers.get(i.a());
            let operand = match i.op() {
                op::EQ..=op::LE => self.registers.get(i.b()),
                op::EQK => Symbol::Constant(self.constant(i.b())),
                _ => Symbol::Constant(Constant::Integer(i.b().into())),
            };
            let kind = i.op() | u32::from(i.k()) << 7;
            let value = self.out.operated(kind, &[left, operand])?;
            self.put(load.a(), value, pc)?;
            return Ok(pc + 4);
        }
        let is_ahead = target > pc + 1;
        if i.op() == op::TESTSET {
            let (before, value) = (self.registers.get(i.a()), self.registers.get(i.b()));
            self.registers.set(i.a(), value);
            if is_ahead {
                self.jump(target)?;
            }
            self.registers.set(i.a(), before);
        } else if is_ahead {
            self.jump(target)?;
        }
        Ok(pc + 2)
    }

    /// `return`.
    fn leave(&mut self, i: I, pc: usize) -> Read<()> {
        let last = match (i.op(), i.b()) {
            (op::RETURN0, _) => i.a(),
            (op::RETURN1, _) => i.a() + 1,
            (_, 0) => self.open + 1,
            (_, count) => i.a() + count - 1,
        };
        for (register, number) in (i.a()..last).zip(1..=u8::MAX) {
            let value = self.registers.get(register);
            self.give(value, number, pc)?;
        }
        self.registers.is_reached = false;
        Ok(())
    }

    /// One value that the function returns.
    fn give(&mut self, value: Symbol, number: u8, pc: usize) -> Read<()> {
        if number == 1 || self.out.has_definition(value) {
            let proto = self.id;
            self.store(Destination::Result { proto, number }, value, pc)?;
        }
        Ok(())
    }

    fn call(&mut self, i: I, pc: usize, standard: &StandardNames) -> Read<()> {
        let (a, is_tail) = (i.a(), i.op() == op::TAILCALL);
        let callee = self.registers.get(a);
        let last = match i.b() {
            0 => self.open,
            count => a + count - 1,
        };
        let argument = |frame: &Self, number: u32| match a + number <= last {
            true => frame.registers.get(a + number),
            false => Symbol::Unknown,
        };
        let first = argument(self, 1);
        if self.id == 0 && !standard.keeps_nothing(callee, self.out) {
            for number in a + 1..=last {
                if let Symbol::Definition(id) = self.registers.get(number)
                    && let Some(definition) = self.out.definitions.get_mut(id.0 as usize)
                {
                    definition.is_given = true;
                }
            }
        }
        let result = match standard.kind(callee, self.out) {
            Native::Require if let Symbol::Constant(Constant::String(name)) = first => {
                Symbol::Import(name)
            }
            Native::First => first,
            Native::SetMetatable => {
                let metatable = argument(self, 2);
                self.store_into(first, Destination::Metatable { base: first }, metatable, pc)?;
                first
            }
            Native::RawSet => {
                self.set_field(first, argument(self, 2), argument(self, 3), pc)?;
                first
            }
            Native::Insert if last >= a + 2 => {
                let value = self.registers.get(last.min(a + 3));
                self.store_into(first, Destination::Appended { base: first }, value, pc)?;
                Symbol::Unknown
            }
            _ => self.other_call(i, last, pc)?,
        };
        if is_tail {
            self.give(result, 1, pc)?;
            self.registers.is_reached = false;
            return Ok(());
        }
        if i.c() == 0 {
            self.registers.set(a, result);
            self.open = a;
        }
        for number in 1..i.c() {
            let result = if number == 1 { result } else { Symbol::Unknown };
            self.put(a + number - 1, result, pc)?;
        }
        Ok(())
    }

    /// A call of a function that nothing is known of, with arguments up to a register: a definition
    /// if its result is used, or if an object is made for it alone.
    fn other_call(&mut self, i: I, last: u32, pc: usize) -> Read<Symbol> {
        let a = i.a();
        let is_used = i.c() != 1 || i.op() == op::TAILCALL;
        let is_made_for_it = |register| {
            let Symbol::Definition(id) = self.registers.get(register) else {
                return false;
            };
            let definition = self.out.get(id);
            definition.is_some_and(|definition| {
                let is_call = matches!(definition.kind, ExpressionKind::Call(_));
                definition.place.is_none() && (!is_call || self.id == 0)
            })
        };
        let mut made: SmallVec<[u32; 8]> = SmallVec::new();
        for register in (a..=last).filter(|register| is_made_for_it(*register)) {
            made.try_push(register)?;
        }
        if !is_used && made.is_empty() {
            return Ok(Symbol::Unknown);
        }
        let mut arguments: SmallVec<[Symbol; 8]> = SmallVec::new();
        for register in a + 1..=last {
            arguments.try_push(self.registers.get(register))?;
        }
        let arguments = self.out.new_list(&arguments)?.unwrap_or_default();
        let call = CallId(self.out.calls.len() as u32);
        let callee = self.registers.get(a);
        self.out.calls.try_push(Call { callee, arguments })?;
        let id = self.new_definition(ExpressionKind::Call(call), pc)?;
        for register in made {
            let (value, number) = (self.registers.get(register), (register - a) as u8);
            self.store(Destination::Argument { call: id, number }, value, pc)?;
        }
        Ok(Symbol::Definition(id))
    }
}
