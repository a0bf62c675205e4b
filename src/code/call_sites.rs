//! The calls that stand in a main chunk, with the strings and numbers that it writes out for them:
//! which calls the file has in two versions (R5.8).

use std::hash::Hasher as _;

use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;

use super::reader::{Read, Reader, Stop, word};
use super::{Chunk, UpvalueSet, op, text_at};
use crate::support::error::{Error, Result, shown};
use crate::support::mem::{TryInsert, TryPush};
use crate::support::secret::Secret;

/// An argument, as far as it is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is none of these.
    Other,
    /// Where the string stands in the dump, and its length.
    Text((u32, u32)),
    /// An integer.
    Integer(i64),
    /// The bits of a float.
    Float(u64),
}

/// A call that stands in the main function.
#[derive(Debug)]
pub struct CallSite {
    /// Its line, or 0.
    pub line: i32,
    /// A digest of what is called: `bus.on` of the module `bus`, whatever a local calls it. It
    /// says nothing of an object that a call returned but by what was called.
    pub callee: u64,
    /// A digest of the whole call.
    pub key: u64,
    /// The arguments; the object is the first one of a method.
    pub arguments: SmallVec<[Written; 4]>,
    /// A load that comes to its end makes it.
    pub is_certain: bool,
    path: u32,
}

/// What leads to a value.
struct CalleePath {
    /// From where; none for a global, for what `require` returns and for what is not known.
    parent: Option<u32>,
    /// The name of the field, of the global or of the module; none for what a call returns, and for
    /// what is not known.
    name: Option<(u32, u32)>,
    digest: u64,
}

/// What a register holds.
#[derive(Clone, Copy)]
enum Value {
    Scalar(Written),
    Path(u32),
}

/// Nothing is known of it.
const UNKNOWN: Value = Value::Path(0);

/// The calls of a main chunk, in the order of the code.
pub struct CallSites {
    /// The calls.
    pub sites: Vec<CallSite>,
    paths: Vec<CalleePath>,
}

impl CallSites {
    /// Reads a chunk; none when the dump is not exactly that of Lua 5.4.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn read(dump: &[u8]) -> Result<Option<CallSites>> {
        match Reader::of(dump).map(|mut reader| reader.call_sites(dump)) {
            None | Some(Err(Stop::Format)) => Ok(None),
            Some(Err(Stop::Memory)) => Err(Error::Memory),
            Some(Ok(sites)) => Ok(Some(sites)),
        }
    }

    /// A call as a person would write it, with `...` for each argument that is not written out:
    /// `bus.on("hit", ...)`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn describe(&self, dump: &[u8], site: &CallSite) -> Result<String> {
        let mut paths: SmallVec<[&CalleePath; 4]> = SmallVec::new();
        let mut at = Some(site.path);
        while let Some(path) = at.and_then(|at| self.paths.get(at as usize)) {
            paths.try_push(path)?;
            at = path.parent;
        }
        let mut text = String::new();
        for path in paths.iter().rev() {
            let name = path.name.map(|name| shown(text_at(dump, name)));
            text.push_str(match (path.parent, &name) {
                (None, None) => "?",
                (Some(_), None) => "()",
                (None, Some(_)) => "",
                (Some(_), Some(_)) => ".",
            });
            text.push_str(&name.unwrap_or_default());
        }
        let arguments = site.arguments.iter().map(|argument| match *argument {
            Written::Other => String::from("..."),
            Written::Text(span) => format!("\"{}\"", shown(text_at(dump, span))),
            Written::Integer(value) => value.to_string(),
            Written::Float(bits) => f64::from_bits(bits).to_string(),
        });
        let arguments: Vec<String> = arguments.collect();
        Ok(format!("{text}({})", arguments.join(", ")))
    }
}

impl Chunk {
    /// The calls of its main function.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn call_sites(&self) -> Result<Option<CallSites>> {
        CallSites::read(&self.dump)
    }

    /// Was it read from this dump?
    pub fn is_of(&self, dump: &[u8]) -> bool {
        *self.dump == *dump
    }
}

fn digest(parts: &[u64], text: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    parts.iter().for_each(|part| hasher.write_u64(*part));
    hasher.write(text);
    hasher.finish()
}

/// The registers of the main function, and what is known of the values in them.
struct CalleeRegisters<'d> {
    dump: &'d [u8],
    constants: &'d [Value],
    held: [(Value, usize); 256],
    paths: Vec<CalleePath>,
}

impl CalleeRegisters<'_> {
    fn get(&self, register: u32) -> Value {
        let held = self.held.get(register as usize);
        held.map_or(UNKNOWN, |(value, _)| *value)
    }

    fn set(&mut self, register: u32, value: Value, at: usize) {
        if let Some(held) = self.held.get_mut(register as usize) {
            *held = (value, at);
        }
    }

    /// From one register on nothing is known.
    fn clear(&mut self, from: u32, at: usize) {
        (from..256).for_each(|register| self.set(register, UNKNOWN, at));
    }

    /// Two ways of the code meet, of which one has made none of the instructions since `start`.
    fn meet(&mut self, start: usize) {
        for (value, _) in self.held.iter_mut().filter(|(_, at)| *at > start) {
            *value = UNKNOWN;
        }
    }

    fn path(&mut self, parent: Option<u32>, name: Option<(u32, u32)>, kind: u64) -> Read<Value> {
        let above = parent.and_then(|parent| self.paths.get(parent as usize));
        let above = above.map_or(0, |above| above.digest);
        let text = name.map_or(&b""[..], |name| text_at(self.dump, name));
        let digest = digest(&[kind, above], text);
        let number = self.paths.len() as u32;
        self.paths.try_push(CalleePath {
            parent,
            name,
            digest,
        })?;
        Ok(Value::Path(number))
    }

    fn field(&mut self, of: u32, name: Value) -> Read<Value> {
        match (self.get(of), name) {
            (Value::Path(of), Value::Scalar(Written::Text(name))) => {
                self.path(Some(of), Some(name), 3)
            }
            _ => Ok(UNKNOWN),
        }
    }

    fn constant(&self, number: u32) -> Value {
        let constant = self.constants.get(number as usize);
        constant.copied().unwrap_or(UNKNOWN)
    }

    /// The call that an instruction makes.
    fn call(&self, i: u32) -> Read<CallSite> {
        let (a, b) = (i >> 7 & 0xff, i >> 16 & 0xff);
        let mut arguments = SmallVec::new();
        for register in a + 1..a + b {
            arguments.try_push(match self.get(register) {
                Value::Scalar(written) => written,
                Value::Path(_) => Written::Other,
            })?;
        }
        let path = match self.get(a) {
            Value::Path(path) => path,
            Value::Scalar(_) => 0,
        };
        let callee = self.paths.get(path as usize);
        let callee = callee.map_or(0, |callee| callee.digest);
        let mut key = digest(&[callee, u64::from(b == 0)], b"");
        for argument in &arguments {
            key = match *argument {
                Written::Other => digest(&[key, 1], b""),
                Written::Text(text) => digest(&[key, 2], text_at(self.dump, text)),
                Written::Integer(value) => digest(&[key, 3, value.cast_unsigned()], b""),
                Written::Float(bits) => digest(&[key, 4, bits], b""),
            };
        }
        Ok(CallSite {
            line: 0,
            callee,
            key,
            arguments,
            is_certain: false,
            path,
        })
    }

    /// What an instruction leaves in the registers; it is the one with number `at`.
    fn step(&mut self, i: u32, at: usize) -> Read<()> {
        let (op, a, b, c) = (i & 0x7f, i >> 7 & 0xff, i >> 16 & 0xff, i >> 24);
        let wide = i >> 15;
        let value = match op {
            op::MOVE => self.get(b),
            op::LOADI => Value::Scalar(Written::Integer(i64::from(wide) - 0xffff)),
            op::LOADF => {
                let value = i64::from(wide) - 0xffff;
                Value::Scalar(Written::Float((value as f64).to_bits()))
            }
            op::LOADK => self.constant(wide),
            op::GETTABUP => match self.constant(c) {
                Value::Scalar(Written::Text(name)) => self.path(None, Some(name), 1)?,
                _ => UNKNOWN,
            },
            op::GETFIELD => self.field(b, self.constant(c))?,
            op::SELF => {
                let object = self.get(b);
                let name = match wide & 1 {
                    1 => self.constant(c),
                    _ => self.get(c),
                };
                let method = self.field(b, name)?;
                self.set(a + 1, object, at);
                method
            }
            op::CALL | op::TAILCALL => {
                let first = match b {
                    1 => UNKNOWN,
                    _ => self.get(a + 1),
                };
                let result = self.result(self.get(a), first)?;
                self.clear(a, at);
                result
            }
            op::LOADNIL => {
                (a..=a + b).for_each(|register| self.set(register, UNKNOWN, at));
                UNKNOWN
            }
            op::FORLOOP..=op::TFORLOOP | op::VARARG => {
                self.clear(a, at);
                UNKNOWN
            }
            op::SETUPVAL
            | op::SETTABUP..=op::SETFIELD
            | op::MMBIN..=op::MMBINK
            | op::CLOSE..=op::TEST
            | op::RETURN..=op::RETURN1
            | op::SETLIST
            | op::VARARGPREP
            | op::LAST => return Ok(()),
            _ => UNKNOWN,
        };
        self.set(a, value, at);
        Ok(())
    }

    /// What a call returns: a module, or what is called after the function.
    fn result(&mut self, callee: Value, first: Value) -> Read<Value> {
        let Value::Path(path) = callee else {
            return Ok(UNKNOWN);
        };
        let called = self.paths.get(path as usize);
        let is_require = called.is_some_and(|called| {
            let name = called.name.map(|name| text_at(self.dump, name));
            called.parent.is_none() && name == Some(&b"require"[..])
        });
        match first {
            Value::Scalar(Written::Text(name)) if is_require => self.path(None, Some(name), 2),
            _ => self.path(Some(path), None, 4),
        }
    }
}

impl Reader<'_> {
    fn written_constants(&mut self) -> Read<Vec<Value>> {
        let mut constants = Vec::new();
        for _ in 0..self.count()? {
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            let written = match self.byte()? {
                0x00 | 0x01 | 0x11 => Written::Other,
                0x03 => Written::Integer(number(self.take(8)?).cast_signed()),
                0x13 => Written::Float(number(self.take(8)?)),
                0x04 | 0x14 => self.span()?.map_or(Written::Other, Written::Text),
                _ => return Err(Stop::Format),
            };
            constants.try_push(match written {
                Written::Other => UNKNOWN,
                written => Value::Scalar(written),
            })?;
        }
        Ok(constants)
    }

    fn call_sites(&mut self, dump: &[u8]) -> Read<CallSites> {
        let code = self.main_code()?;
        let constants = self.written_constants()?;
        self.upvalues()?;
        let nothing = Secret::default(); // the digests are of no use here
        for _ in 0..self.count()? {
            self.function(1, &mut UpvalueSet::default(), &nothing, None)?;
        }
        let lines = self.instruction_lines(0)?;
        if !lines.is_empty() && lines.len() != code.len() / 4 {
            return Err(Stop::Format);
        }
        for _ in 0..self.count()? {
            self.string()?;
            self.skip_ints(2)?;
        }
        for _ in 0..self.count()? {
            self.string()?;
        }

        let mut registers = CalleeRegisters {
            dump,
            constants: &constants,
            held: [(UNKNOWN, 0); 256],
            paths: Vec::new(),
        };
        registers.path(None, None, 0)?; // of what is not known
        let mut sites = Vec::new();
        // Where ways of the code meet, and where the first of them began; before `conditional` code
        // may have been jumped over.
        let mut meetings: FxHashMap<usize, usize> = FxHashMap::default();
        let (mut conditional, mut is_left) = (0, false);
        for (instruction, at) in code.chunks_exact(4).zip(1_usize..) {
            let i = word(instruction);
            let op = i & 0x7f;
            if op > op::LAST {
                return Err(Stop::Format);
            }
            if let Some(start) = meetings.remove(&at) {
                registers.meet(start);
            }
            let target = match op {
                op::JMP => (at + 1 + (i >> 7) as usize).saturating_sub(op::JUMP_BIAS),
                op::FORPREP | op::TFORPREP => at + (i >> 15) as usize + 2,
                _ => 0,
            };
            conditional = conditional.max(target);
            if target > at && !meetings.contains_key(&target) {
                meetings.try_insert_value(target, at)?;
            }
            is_left |= (op::RETURN..=op::RETURN1).contains(&op);
            if matches!(op, op::CALL | op::TAILCALL) {
                let mut site = registers.call(i)?;
                site.line = lines.get(at - 1).copied().unwrap_or(0);
                site.is_certain = at >= conditional && !is_left;
                sites.try_push(site)?;
            }
            registers.step(i, at)?;
        }
        Ok(CallSites {
            sites,
            paths: registers.paths,
        })
    }
}
