//! A dump as a flat list of functions, with texts and variables numbered.

use smallvec::SmallVec;

use super::super::reader::{Read, Reader, Stop, word};
use super::super::shared::SharedList;
use super::super::{Digest, MAX_DEPTH, UpvalueSet};
use super::types::{Constant, Mixed, Proto, ProtoId, StringId, Symbol, Variable};
use super::{Definitions, KnownString, op};
use crate::support::error::{Error, Result};
use crate::support::mem::{TryPush, collected};
use crate::support::secret::Secret;

/// The operations that make objects or store something, but for `SETUPVAL`.
const FINDS: u128 = 1 << op::SETTABUP
    | 1 << op::SETTABLE
    | 1 << op::SETI
    | 1 << op::SETFIELD
    | 1 << op::NEWTABLE
    | 1 << op::CLOSURE;

/// A part of a list: where it begins, and how long it is.
pub(super) type Part = (u32, u32);

/// The elements of a part.
pub(super) fn part<T>(list: &[T], (start, count): Part) -> &[T] {
    let end = start.saturating_add(count) as usize;
    list.get(start as usize..end).unwrap_or_default()
}

/// A function as it stands in the dump.
pub(super) struct Raw<'d> {
    pub(super) code: &'d [u8],
    pub(super) constants: Part,
    /// Where it finds its upvalues, three bytes each.
    pub(super) upvalues: &'d [u8],
    /// The upvalues that it or a function in it assigns.
    pub(super) assigned: UpvalueSet,
    /// It makes no object and stores nothing: there is nothing in it to be found.
    pub(super) is_plain: bool,
    /// The functions that stand directly in it.
    pub(super) children: Part,
    /// Its locals, which have the numbers of its variables.
    pub(super) locals: Part,
    /// The differences of lines from one instruction to the next.
    pub(super) lines: &'d [u8],
    /// The lines that no difference tells.
    pub(super) absolute: Part,
}

/// The instructions during which a local is in scope.
#[derive(Clone, Copy)]
pub(super) struct LocalRange {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The compiler's own, as the state of a loop.
    pub(super) is_hidden: bool,
}

/// All functions of a dump.
pub(super) struct Parsed<'d> {
    pub(super) raws: Vec<Raw<'d>>,
    pub(super) children: Vec<ProtoId>,
    pub(super) locals: Vec<LocalRange>,
    pub(super) absolute: Vec<i32>,
}

/// Reads the functions of a dump; prototypes, variables and texts go to `out`.
pub(super) fn parse<'d>(
    reader: &mut Reader<'d>,
    out: &mut Definitions,
    secret: &Secret,
) -> Read<Parsed<'d>> {
    let mut parser = Parser {
        parsed: Parsed {
            raws: Vec::new(),
            children: Vec::new(),
            locals: Vec::new(),
            absolute: Vec::new(),
        },
        out,
        secret,
    };
    parser.function(reader, None, 0)?;
    let protos = parser.out.protos.iter().zip(0..);
    let by_lines = protos.map(|(proto, id)| Ok((proto.line, proto.last, id)));
    parser.out.by_lines = SharedList::Own(collected(by_lines)?);
    parser.out.by_lines.own()?.sort_unstable();
    Ok(parser.parsed)
}

/// Reads one function of the main function, alone: it goes to `out` as the first one. Its locals
/// are numbered from `first` on.
pub(super) fn parse_alone<'d>(
    reader: &mut Reader<'d>,
    out: &mut Definitions,
    first: u32,
) -> Read<Parsed<'d>> {
    let unknown = LocalRange {
        start: 0,
        end: 0,
        is_hidden: true,
    };
    let mut locals = Vec::new();
    locals.try_reserve(first as usize).map_err(Error::from)?;
    locals.resize(first as usize, unknown);
    let secret = out.secret.clone();
    let mut parser = Parser {
        parsed: Parsed {
            raws: Vec::new(),
            children: Vec::new(),
            locals,
            absolute: Vec::new(),
        },
        out,
        secret: &secret,
    };
    parser.function(reader, Some(0), 1)?;
    Ok(parser.parsed)
}

struct Parser<'p, 'd> {
    parsed: Parsed<'d>,
    out: &'p mut Definitions,
    secret: &'p Secret,
}

impl<'d> Parser<'_, 'd> {
    /// Reads one function and all in it, and returns its number.
    fn function(
        &mut self,
        at: &mut Reader<'d>,
        parent: Option<ProtoId>,
        depth: u32,
    ) -> Read<ProtoId> {
        if depth > MAX_DEPTH {
            return Err(Stop::Format);
        }
        let id = self.out.protos.len() as ProtoId;
        let mut reader = *at;
        let begin = reader.position() as u32;
        reader.string()?;
        let (line, last) = (reader.int()?, reader.int()?);
        let frame = reader.position();
        let [params, _vararg, _registers] = reader.take(3)? else {
            return Err(Stop::Format);
        };
        let code = reader.code()?;
        let code_start = reader.position() - code.len();
        let (mut assigned, mut found) = (UpvalueSet::default(), 0_u128);
        for i in code.chunks_exact(4).map(word) {
            match i & 0x7f {
                op::SETUPVAL => assigned.add((i >> 16) as u8),
                op @ 0..=op::LAST => found |= 1 << op,
                _ => return Err(Stop::Format),
            }
        }
        let constants = self.constants(&mut reader)?;
        let mut hash = self.secret.hasher();
        hash.write(reader.since(frame));
        let upvalues = reader.upvalues()?;
        self.out.protos.try_push(Proto {
            parent,
            line,
            last,
            params: *params,
            upvalues: (upvalues.len() / 3) as u8,
            digest: Digest::default(),
            locals_digest: 0,
            mixed: Mixed::default(),
            definition: None,
            end: id + 1,
            span: (begin, begin),
            upvalues_at: (reader.position() - upvalues.len()) as u32,
            names_at: 0,
            code: (code_start as u32, code.len() as u32),
            constants,
            locals: (0, 0),
        })?;
        self.parsed.raws.try_push(Raw {
            code,
            constants,
            upvalues,
            assigned,
            is_plain: depth > 0 && found & FINDS == 0 && assigned == UpvalueSet::default(),
            children: (0, 0),
            locals: (0, 0),
            lines: &[],
            absolute: (0, 0),
        })?;

        let mut children: SmallVec<[ProtoId; 16]> = SmallVec::new();
        for _ in 0..reader.count()? {
            *at = reader;
            let child = self.function(at, Some(id), depth + 1)?;
            reader = *at;
            children.try_push(child)?;
            let proto = self.out.protos.get(child as usize);
            hash.write_u64(proto.map_or(0, |proto| proto.digest.bits));
            if let Some(raw) = self.parsed.raws.get(child as usize) {
                hash.write(raw.upvalues);
                let descriptions = raw.upvalues.as_chunks().0;
                raw.assigned.each(descriptions.len() as u8, |i| {
                    if let Some([0, index, _]) = descriptions.get(usize::from(i)) {
                        assigned.add(*index);
                    }
                });
            }
        }
        let first_child = self.parsed.children.len() as u32;
        for child in &children {
            self.parsed.children.try_push(*child)?;
        }
        let (lines, absolute) = read_lines(&mut reader, code.len() / 4, &mut self.parsed.absolute)?;
        let start = reader.position();
        let locals = self.locals(&mut reader, id)?;
        let locals_digest = self.locals_digest(depth, reader.since(start), &children);
        let names_at = reader.names()? as u32;
        *at = reader;
        if let Some(raw) = self.parsed.raws.get_mut(id as usize) {
            raw.assigned = assigned;
            raw.children = (first_child, children.len() as u32);
            (raw.lines, raw.absolute, raw.locals) = (lines, absolute, locals);
        }
        let end = self.out.protos.len() as ProtoId;
        if let Some(proto) = self.out.protos.get_mut(id as usize) {
            (proto.end, proto.locals) = (end, locals);
            (proto.span.1, proto.names_at) = (at.position() as u32, names_at);
            proto.locals_digest = locals_digest;
            proto.digest = Digest {
                bits: hash.finish(),
                is_whole: true,
            };
        }
        Ok(id)
    }

    /// A digest of a function's locals, and of those of its children; 0 for the main function.
    fn locals_digest(&self, depth: u32, own: &[u8], children: &[ProtoId]) -> u64 {
        if depth == 0 {
            return 0;
        }
        let children = children.iter().filter_map(|child| self.out.proto(*child));
        children.fold(self.secret.digest(own), |digest, child| {
            self.out.mixed(digest, child.locals_digest)
        })
    }

    fn constants(&mut self, reader: &mut Reader<'d>) -> Read<Part> {
        let start = self.out.constants.len() as u32;
        let count = reader.count()?;
        for _ in 0..count {
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            let constant = match reader.byte()? {
                0x00 => Constant::Nil,
                0x01 => Constant::Boolean(false),
                0x11 => Constant::Boolean(true),
                0x03 => Constant::Integer(number(reader.take(8)?) as i64),
                0x13 => Constant::Float(number(reader.take(8)?)),
                0x04 | 0x14 => {
                    let text = reader.string()?.ok_or(Stop::Format)?;
                    Constant::String(self.text(text, reader)?)
                }
                _ => return Err(Stop::Format),
            };
            self.out.constants.try_push(constant)?;
        }
        Ok((start, count as u32))
    }

    /// The number of a text that was just read.
    fn text(&mut self, text: &[u8], reader: &Reader<'_>) -> Result<StringId> {
        let digest = self.secret.digest(text);
        if let Some(known) = self.out.numbers.get(&digest) {
            return Ok(*known);
        }
        let number = StringId(self.out.texts.len() as u32);
        self.out.texts.try_push(KnownString {
            start: (reader.position() - text.len()) as u32,
            length: text.len() as u32,
            digest,
        })?;
        self.out.number_text(digest, number)?;
        Ok(number)
    }

    /// The locals of a function; there are none in stripped code.
    fn locals(&mut self, reader: &mut Reader<'d>, proto: ProtoId) -> Read<Part> {
        let is_plain = self
            .parsed
            .raws
            .get(proto as usize)
            .is_some_and(|raw| raw.is_plain);
        let first = self.parsed.locals.len() as u32;
        for _ in 0..reader.count()? {
            if is_plain {
                reader.string()?; // nothing captures it
                reader.int()?;
                reader.int()?;
                continue;
            }
            let text = reader.string()?.unwrap_or_default();
            let is_hidden = text.is_empty() || text.starts_with(b"(");
            let name = self.text(text, reader)?;
            let (start, end) = (reader.int()? as u32, reader.int()? as u32);
            self.parsed.locals.try_push(LocalRange {
                start,
                end,
                is_hidden,
            })?;
            self.out.variables.try_push(Variable {
                name,
                proto,
                assignments: 0,
                initialiser: Symbol::Unknown,
                is_given: is_hidden,
                is_captured: false,
                is_constant: false,
                is_shared: false,
                is_hidden,
            })?;
        }
        let count = self.parsed.locals.len() as u32 - first;
        Ok((first, count))
    }
}

/// The lines of a function's instructions; there are none in stripped code.
fn read_lines<'d>(
    reader: &mut Reader<'d>,
    instructions: usize,
    absolute: &mut Vec<i32>,
) -> Read<(&'d [u8], Part)> {
    let count = reader.count()?;
    if count != 0 && count != instructions {
        return Err(Stop::Format);
    }
    let lines = reader.take(count)?;
    let (first, count) = (absolute.len() as u32, reader.count()?);
    for _ in 0..count {
        reader.int()?;
        let line = reader.int()?;
        absolute.try_push(line)?;
    }
    Ok((lines, (first, count as u32)))
}
