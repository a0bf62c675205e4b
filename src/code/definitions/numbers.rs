//! A version in which edits have touched nothing but numbers, texts and lines: all its instructions
//! are those of the older version. So it has the lists of that one, but for the numbers in them and
//! for where its functions and texts stand.
//!
//! ```lua
//! local limit = 10 --> local most = 10
//! M.limits = { low = 1, high = 60 } --> high = 80
//! function M.hit(self, damage)
//!   self.life = self.life - damage * 3 --> damage * 2
//!   self:say("ouch") --> self:say("oh")
//! end
//! ```
//! A number that names something (`M[70000]`), or that operators make a value of, is none of
//! these. A text has a new one in its place if that is so wherever it stands, and if the new one
//! stands nowhere else: then all lists have the number of that text. It must not be one of those
//! that the interpreter asks for, or that a digest of something was made of.
//!
//! The same walk over both dumps tells what [`Chunk`] tells.

use std::ops::Range;
use std::sync::OnceLock;

use smallvec::SmallVec;

use super::super::edited::FollowedFunction;
use super::super::op;
use super::super::reader::{Read, Reader, Stop, word};
use super::super::shared::{MaybeShared, SharedList};
use super::super::{Chunk, Digest, exact_digest};
use super::known::Lengths;
use super::new_texts::{NewTexts, TextPlace};
use super::types::*;
use super::{Definitions, KnownString, TextNumbers};
use crate::support::mem::{TryPush, collected, copied};

/// What an instruction loads without a constant is no further from 0.
const IMMEDIATE_NUMBERS: u64 = 1 << 16;

/// A constant of a function that has another value now.
struct ChangedNumber {
    proto: ProtoId,
    old: Constant,
    new: Constant,
}

/// Both versions while they are compared.
struct Comparison<'a> {
    base: &'a Definitions,
    dump: &'a [u8],
    /// What else is known of the older version, if it is to be told of the new one.
    chunk: Option<&'a Chunk>,
    /// The functions that stand elsewhere or have other code, lines or names.
    protos: Vec<(u32, Proto)>,
    /// Of those with other code, lines or names: [`Profile::exact`](super::super::Profile).
    exact: Vec<(ProtoId, u64)>,
    constants: Vec<(u32, Constant)>,
    numbers: Vec<ChangedNumber>,
    texts: NewTexts,
    /// What is the same and stands elsewhere: where it has stood, in order, and how much further
    /// down it stands now.
    moved: Vec<(Range<usize>, i64)>,
    has_other_lines: bool,
}

/// A function that was compared.
struct Compared {
    digest: Digest,
    locals_digest: u64,
    /// [`Profile::exact`](super::super::Profile); none where it is that of the older version.
    exact: Option<u64>,
}

/// The part of a function's dump that is for debugging.
struct ComparedDebug {
    /// Where the names of its upvalues stand.
    names_at: u32,
    locals: Range<usize>,
    has_other_locals: bool,
}

/// A part of the older dump that has become one of the new dump, from its beginning on.
struct MovedPart {
    start: usize,
    now: usize,
}

impl MovedPart {
    /// It begins where the readers are.
    fn at(old: &Reader<'_>, new: &Reader<'_>) -> MovedPart {
        MovedPart {
            start: old.position(),
            now: new.position(),
        }
    }

    /// Up to here it is the same, or has as many bytes, and the next one begins.
    fn goes_on(
        &mut self,
        old: &Reader<'_>,
        new: &Reader<'_>,
        moved: &mut Vec<(Range<usize>, i64)>,
    ) -> Read<()> {
        let next = MovedPart::at(old, new);
        if self.now != self.start {
            moved.try_push((self.start..next.start, self.now as i64 - self.start as i64))?;
        }
        *self = next;
        Ok(())
    }
}

/// Changes of some lists.
#[derive(Default)]
struct Patches {
    stores: Vec<(u32, Store)>,
    variables: Vec<(u32, Variable)>,
    lists: Vec<(u32, Symbol)>,
}

impl Definitions {
    /// The definitions of a dump that differs from the older version's in nothing but numbers,
    /// texts and lines; none where more differs. And what else is known of it, if it can be told
    /// from what was known of the older version.
    pub(super) fn with_other_constants(
        base: &Definitions,
        chunk: Option<&Chunk>,
        dump: &[u8],
    ) -> Read<Option<(Definitions, Option<Chunk>)>> {
        let (Some(mut old), Some(mut new)) = (Reader::of(&base.dump), Reader::of(dump)) else {
            return Ok(None);
        };
        let mut both = Comparison {
            base,
            dump,
            chunk,
            protos: Vec::new(),
            exact: Vec::new(),
            constants: Vec::new(),
            numbers: Vec::new(),
            texts: NewTexts::default(),
            moved: Vec::new(),
            has_other_lines: false,
        };
        match both.function(&mut old, &mut new, 0)? {
            Some(_) => both.definitions(),
            None => Ok(None),
        }
    }
}

impl Comparison<'_> {
    /// Compares a function of both versions, and all in it. None where more differs than numbers,
    /// texts and lines.
    fn function<'r>(
        &mut self,
        old: &mut Reader<'r>,
        new: &mut Reader<'r>,
        id: ProtoId,
    ) -> Read<Option<Compared>> {
        let base = self.base;
        let was = *base.proto(id).ok_or(Stop::Format)?;
        let begin = new.position();
        let (start, end) = (was.span.0 as usize, was.span.1 as usize);
        if self.is_same(start..end, begin) {
            old.go_to(end);
            new.go_to(begin + (end - start));
            self.is_moved(id, &was, begin as i64 - start as i64)?;
            return Ok(Some(Compared {
                digest: was.digest,
                locals_digest: was.locals_digest,
                exact: None,
            }));
        }
        if old.string()? != new.string()? {
            return Ok(None);
        }
        old.skip_ints(2)?;
        let lines = (new.int()?, new.int()?);
        let frame = new.position();
        if old.take(3)? != new.take(3)? || old.code()? != new.code()? {
            return Ok(None);
        }
        let code = (new.position() as u32 - was.code.1, was.code.1);
        let Some(mut is_other) = self.constants(old, new, id, &was)? else {
            return Ok(None);
        };
        let constants_end = new.position();
        let upvalues = old.upvalues()?;
        if upvalues != new.upvalues()? {
            return Ok(None);
        }
        let upvalues_at = (new.position() - upvalues.len()) as u32;
        let mut children: SmallVec<[(Compared, ProtoId); 16]> = SmallVec::new();
        let is_rest_same = begin == start
            && old.position() == new.position()
            && self.is_same(old.position()..end, old.position());
        let count = new.count()?;
        if old.count()? != count {
            return Ok(None);
        }
        let mut child = id + 1;
        for _ in 0..count {
            let known = base.proto(child).filter(|_| child < was.end);
            let known = *known.ok_or(Stop::Format)?;
            let Some(compared) = self.function(old, new, child)? else {
                return Ok(None);
            };
            is_other |= compared.digest != known.digest;
            children.try_push((compared, child))?;
            child = known.end;
        }
        let debug_at = new.position();
        let (mut names_at, mut locals_digest) = (was.names_at, was.locals_digest);
        if is_rest_same {
            old.go_to(end);
            new.go_to(end);
        } else {
            let Some(debug) = self.debug(old, new, id, &was)? else {
                return Ok(None);
            };
            names_at = debug.names_at;
            locals_digest = self.locals_digest(&was, &debug, &children);
        }
        let mut digest = was.digest;
        if is_other {
            let mut hash = base.secret.hasher();
            hash.write(self.dump.get(frame..constants_end).unwrap_or_default());
            for (child, id) in &children {
                hash.write_u64(child.digest.bits);
                hash.write(base.described_upvalues(*id));
            }
            digest.bits = hash.finish();
        }
        let mut exact = None;
        if id != 0 {
            exact = self.exact_of(&children, digest, lines, debug_at..new.position());
            match exact {
                Some(exact) => self.exact.try_push((id, exact))?,
                None => self.chunk = None,
            }
        }
        self.has_other_lines |= lines != (was.line, was.last);
        let proto = Proto {
            line: lines.0,
            last: lines.1,
            digest,
            locals_digest,
            span: (begin as u32, new.position() as u32),
            upvalues_at,
            names_at,
            code,
            ..was
        };
        self.protos.try_push((id, proto))?;
        Ok(Some(Compared {
            digest,
            locals_digest,
            exact,
        }))
    }

    /// A digest of the locals of a function, and of those of its children.
    fn locals_digest(
        &self,
        was: &Proto,
        debug: &ComparedDebug,
        children: &[(Compared, ProtoId)],
    ) -> u64 {
        let is_same = |(child, id): &(Compared, ProtoId)| {
            let was = self.base.proto(*id);
            was.is_some_and(|was| was.locals_digest == child.locals_digest)
        };
        if was.parent.is_none() || !debug.has_other_locals && children.iter().all(is_same) {
            return was.locals_digest;
        }
        let own = self.dump.get(debug.locals.clone()).unwrap_or_default();
        let mixed =
            |digest, (child, _): &(Compared, ProtoId)| self.base.mixed(digest, child.locals_digest);
        children.iter().fold(self.base.secret.digest(own), mixed)
    }

    /// [`Profile::exact`](super::super::Profile) of a function with these children and this part
    /// for debugging; none where it is not asked for, or not known of a child.
    fn exact_of(
        &self,
        children: &[(Compared, ProtoId)],
        digest: Digest,
        lines: (i32, i32),
        debug: Range<usize>,
    ) -> Option<u64> {
        let chunk = self.chunk?;
        let mut hash = self.base.secret.hasher();
        for (child, id) in children {
            let known = || chunk.exact_on(self.base.lines_of(*id)?);
            hash.write_u64(child.exact.or_else(known)?);
        }
        let debug = self.dump.get(debug).unwrap_or_default();
        Some(exact_digest(hash, digest, lines, debug))
    }

    /// Has the new version at a place the same as the older one?
    fn is_same(&self, old: Range<usize>, new: usize) -> bool {
        let others = self.dump.get(new..new + old.len());
        self.base.dump.get(old) == others
    }

    /// A function and all in it are the same byte for byte, and stand so much further down.
    fn is_moved(&mut self, id: ProtoId, was: &Proto, by: i64) -> Read<()> {
        if by == 0 {
            return Ok(());
        }
        let moved = |place: u32| (i64::from(place) + by) as u32;
        let span = was.span.0 as usize..was.span.1 as usize;
        self.moved.try_push((span, by))?;
        let all = self.base.protos.range(id as usize..was.end as usize);
        for (proto, id) in all.zip(id..) {
            let proto = Proto {
                span: (moved(proto.span.0), moved(proto.span.1)),
                upvalues_at: moved(proto.upvalues_at),
                names_at: moved(proto.names_at),
                code: (moved(proto.code.0), proto.code.1),
                ..*proto
            };
            self.protos.try_push((id, proto))?;
        }
        Ok(())
    }

    /// Compares the constants of a function, and notes those of another value. Returns whether
    /// there are any; none where more differs than numbers and texts.
    fn constants(
        &mut self,
        old: &mut Reader<'_>,
        new: &mut Reader<'_>,
        proto: ProtoId,
        was: &Proto,
    ) -> Read<Option<bool>> {
        let count = old.count()?;
        if new.count()? != count {
            return Ok(None);
        }
        let (mut is_other, mut part) = (false, MovedPart::at(old, new));
        for at in was.constants.0..was.constants.0 + count as u32 {
            let (tag, now) = (old.byte()?, new.byte()?);
            match (tag, now) {
                (0x00 | 0x01 | 0x11, now) if now == tag => {}
                (0x03 | 0x13, now) if now == tag => {
                    let (before, bytes) = (old.take(8)?, new.take(8)?);
                    if before == bytes {
                        continue;
                    }
                    let bits = bytes.try_into().map_or(0, u64::from_le_bytes);
                    let new = match tag {
                        0x03 => Constant::Integer(bits as i64),
                        _ => Constant::Float(bits),
                    };
                    let old = *self.base.constants.get(at as usize).ok_or(Stop::Format)?;
                    self.constants.try_push((at, new))?;
                    self.numbers.try_push(ChangedNumber { proto, old, new })?;
                    is_other = true;
                }
                (0x04 | 0x14, 0x04 | 0x14) => {
                    let before = old.string()?.ok_or(Stop::Format)?;
                    let text = new.string()?.ok_or(Stop::Format)?;
                    if before == text {
                        continue;
                    }
                    let known = self.base.constants.get(at as usize);
                    let Some(Constant::String(known)) = known.copied() else {
                        return Err(Stop::Format);
                    };
                    let place = TextPlace::Constant(new.position() - text.len());
                    if was.mixed.texts || !self.texts.note(self.base, known, text, place)? {
                        return Ok(None);
                    }
                    is_other = true;
                    part.goes_on(old, new, &mut self.moved)?;
                }
                _ => return Ok(None),
            }
        }
        part.goes_on(old, new, &mut self.moved)?;
        Ok(Some(is_other))
    }

    /// Compares the locals of a function, whose lines may be others; none where more differs than
    /// their names.
    fn debug<'r>(
        &mut self,
        old: &mut Reader<'r>,
        new: &mut Reader<'r>,
        id: ProtoId,
        was: &Proto,
    ) -> Read<Option<ComparedDebug>> {
        for reader in [&mut *old, &mut *new] {
            let lines = reader.count()?;
            reader.take(lines)?;
            let absolute = reader.count()?;
            reader.skip_ints(2 * absolute)?;
        }
        let start = new.position();
        let Some(has_other_locals) = self.locals(old, new, id, was)? else {
            return Ok(None);
        };
        let debug = ComparedDebug {
            names_at: new.position() as u32,
            locals: start..new.position(),
            has_other_locals,
        };
        let count = old.count()?;
        if new.count()? != count {
            return Ok(None);
        }
        for _ in 0..count {
            old.string()?;
            new.string()?;
        }
        Ok(Some(debug))
    }

    /// Compares the locals of a function. Returns whether some have other names; none where more
    /// differs.
    fn locals(
        &mut self,
        old: &mut Reader<'_>,
        new: &mut Reader<'_>,
        id: ProtoId,
        was: &Proto,
    ) -> Read<Option<bool>> {
        let count = old.count()?;
        if new.count()? != count {
            return Ok(None);
        }
        let (mut is_other, mut part) = (false, MovedPart::at(old, new));
        for number in 0..count as u32 {
            let before = old.string()?.unwrap_or_default();
            let text = new.string()?.unwrap_or_default();
            if before != text {
                let place = TextPlace::Local(new.position() - text.len());
                let local = (number < was.locals.1).then_some(VariableId(was.locals.0 + number));
                if !self.is_renamed(local, id, (before, text), place)? {
                    return Ok(None);
                }
                is_other = true;
                part.goes_on(old, new, &mut self.moved)?;
            }
            if (old.int()?, old.int()?) != (new.int()?, new.int()?) {
                return Ok(None);
            }
        }
        part.goes_on(old, new, &mut self.moved)?;
        Ok(Some(is_other))
    }

    /// May a local of this function have another name now? Of a function in which nothing is found
    /// the locals are no variables, and nobody asks for their names.
    fn is_renamed(
        &mut self,
        local: Option<VariableId>,
        id: ProtoId,
        (before, text): (&[u8], &[u8]),
        place: TextPlace,
    ) -> Read<bool> {
        let is_hidden = |name: &[u8]| name.is_empty() || name.starts_with(b"(");
        if is_hidden(before) || is_hidden(text) {
            return Ok(false);
        }
        let Some(local) = local else {
            return Ok(true);
        };
        let variable = *self.base.variable(local).ok_or(Stop::Format)?;
        let end = match variable.is_captured {
            true => self.base.proto(id).map_or(id, |proto| proto.end),
            false => id + 1,
        };
        let mut users = self.base.protos.range(id as usize..end as usize);
        if users.any(|proto| proto.mixed.texts) {
            return Ok(false);
        }
        self.texts.note(self.base, variable.name, text, place)
    }

    /// Everything was compared.
    fn definitions(mut self) -> Read<Option<(Definitions, Option<Chunk>)>> {
        let base = self.base;
        if !self.texts.are_everywhere(base)? {
            return Ok(None);
        }
        let Some(patches) = self.patches()? else {
            return Ok(None);
        };
        self.protos.sort_unstable_by_key(|(id, _)| *id);
        self.constants.sort_unstable_by_key(|(at, _)| *at);
        self.exact.sort_unstable();
        let protos = base.protos.with(&self.protos)?;
        let by_lines = match self.has_other_lines {
            true => {
                let lines = protos.iter().zip(0..);
                let lines = lines.map(|(proto, id)| Ok((proto.line, proto.last, id)));
                let mut lines = collected(lines)?;
                lines.sort_unstable();
                SharedList::Own(lines)
            }
            false => base.by_lines.again()?,
        };
        let mut lists = base.lists.again()?;
        for (at, symbol) in &patches.lists {
            if let Some(place) = lists.get_mut(*at as usize) {
                *place = *symbol;
            }
        }
        let mut out = Definitions::empty(&base.secret, self.dump.len());
        out.take_structure(base)?;
        (out.texts, out.numbers) = self.new_texts()?;
        out.constants = base.constants.with(&self.constants)?;
        out.protos = protos;
        out.by_lines = by_lines;
        out.fields = base.fields.again()?;
        out.lists = lists;
        out.variables = base.variables.with(&patches.variables)?;
        out.stores = base.stores.with(&patches.stores)?;
        #[cfg(test)]
        (out.taken = base.protos() - 1);
        if !self.texts.is_empty() && !out.has_names_of_its_texts()? {
            return Ok(None);
        }
        let chunk = self.new_chunk(&out)?;
        Ok(Some((out, chunk)))
    }

    /// How much further down now stands what has stood in this place, if it is the same.
    fn moved_by(&self, place: u32) -> i64 {
        let start = place as usize;
        let next = self.moved.partition_point(|(part, _)| part.start <= start);
        let around = next.checked_sub(1).and_then(|last| self.moved.get(last));
        around.map_or(0, |(part, by)| match part.contains(&start) {
            true => *by,
            false => 0,
        })
    }

    /// The texts, where they stand now, and their numbers.
    fn new_texts(&self) -> Read<(SharedList<KnownString>, MaybeShared<TextNumbers>)> {
        if self.moved.is_empty() && self.texts.is_empty() {
            return Ok((self.base.texts.again()?, self.base.numbers.again()?));
        }
        let mut texts = copied(&self.base.texts)?;
        if !self.moved.is_empty() {
            for text in &mut texts {
                text.start = (i64::from(text.start) + self.moved_by(text.start)) as u32;
            }
        }
        self.texts.put_into(&mut texts);
        Ok((SharedList::Own(texts), self.texts.numbers(self.base)?))
    }

    /// What is known of the new version, whose definitions these are, besides them.
    fn new_chunk(&self, out: &Definitions) -> Read<Option<Chunk>> {
        let Some(chunk) = self.chunk else {
            return Ok(None);
        };
        // (A number that is a key has made its old value one.)
        let is_key = |number: &ChangedNumber| match number.old {
            Constant::Integer(key) => chunk.integers.contains(&key),
            _ => false,
        };
        if self.numbers.iter().any(is_key) {
            return Ok(None);
        }
        let exact_of = |id: ProtoId| {
            let at = self.exact.binary_search_by_key(&id, |(id, _)| *id).ok()?;
            self.exact.get(at).map(|(_, exact)| *exact)
        };
        let function = |id: ProtoId| {
            let (old, new) = (self.base.lines_of(id)?, out.proto(id)?);
            Some(FollowedFunction {
                old,
                new: (new.line, new.last),
                parent: new.parent,
                code: exact_of(id).map(|exact| (new.digest, exact)),
            })
        };
        let names = chunk
            .names
            .with(|hash, span| match self.texts.constant(hash) {
                Some(text) => text,
                None => (
                    hash,
                    ((i64::from(span.0) + self.moved_by(span.0)) as u32, span.1),
                ),
            })?;
        Ok(match self.has_other_lines {
            true => chunk.on_other_lines(names, (0..out.protos()).filter_map(function))?,
            false => {
                let ids = self.exact.iter().map(|(id, _)| *id);
                Some(chunk.with_code(names, ids.filter_map(function))?)
            }
        })
    }

    /// What the numbers change in the lists; none where one of them is more than a value.
    fn patches(&mut self) -> Read<Option<Patches>> {
        let mut patches = Patches::default();
        self.numbers.sort_unstable_by_key(|number| number.proto);
        let around = |number: &ChangedNumber| self.base.outermost_around(number.proto);
        for numbers in self.numbers.chunk_by(|a, b| around(a) == around(b)) {
            let Some(first) = numbers.first().map(around) else {
                continue;
            };
            if !numbers.iter().all(|number| self.is_told_apart(number))
                || !self.patch(first, numbers, &mut patches)?
            {
                return Ok(None);
            }
        }
        patches.stores.sort_unstable_by_key(|(at, _)| *at);
        patches.variables.sort_unstable_by_key(|(at, _)| *at);
        Ok(Some(patches))
    }

    /// Does a value of this number in a function come from the constant alone, and does no
    /// operator make anything of it?
    fn is_told_apart(&self, number: &ChangedNumber) -> bool {
        let Some(proto) = self.base.proto(number.proto) else {
            return false;
        };
        let (first, count) = proto.constants;
        let constants = self
            .base
            .constants
            .range(first as usize..(first + count) as usize);
        let mut places = constants.zip(0..).filter(|(one, _)| **one == number.old);
        let (Some((_, place)), None) = (places.next(), places.next()) else {
            return false;
        };
        let (value, is_float) = match number.old {
            Constant::Integer(value) => (value, false),
            Constant::Float(bits) => (f64::from_bits(bits) as i64, true),
            _ => return false,
        };
        // (A constant without a place in an instruction is loaded first.)
        let is_it = |i: u32| match i & 0x7f {
            op::LOADI => !is_float && i64::from(i >> 15) - 0xffff == value,
            op::LOADF => is_float && i64::from(i >> 15) - 0xffff == value,
            op::SETI => !is_float && i64::from(i >> 16 & 0xff) == value,
            op::GETI => !is_float && i64::from(i >> 24) == value,
            op::ADDK..=op::BXORK => proto.mixed.constants && i >> 24 == place,
            op::EQK => proto.mixed.constants && i >> 16 & 0xff == place,
            _ => false,
        };
        let code = super::super::text_at(&self.base.dump, proto.code);
        let may_be = proto.mixed.constants || value.unsigned_abs() <= IMMEDIATE_NUMBERS;
        let is_elsewhere = may_be && code.chunks_exact(4).map(word).any(is_it);
        !proto.mixed.numbers && !is_elsewhere
    }

    /// Finds where the numbers of an outermost function, or of the main one, stand in the lists.
    /// False where one of them is a key, or it is not known whose it is.
    fn patch(&self, id: ProtoId, numbers: &[ChangedNumber], patches: &mut Patches) -> Read<bool> {
        let base = self.base;
        let end = match id {
            0 => 1,
            id => base.proto(id).map_or(id, |proto| proto.end),
        };
        let at = |id: ProtoId| base.lengths.get(id as usize).copied().unwrap_or_default();
        let (start, stop): (Lengths, Lengths) = (at(id), at(end));
        let part = |start: u32, stop: u32| start as usize..stop as usize;
        let now = |symbol: Symbol, proto: Option<ProtoId>| match symbol {
            Symbol::Constant(old) => numbers
                .iter()
                .find(|one| one.old == old && proto.is_none_or(|proto| one.proto == proto))
                .map(|one| Symbol::Constant(one.new)),
            _ => None,
        };
        let is_one = |symbol: Symbol| now(symbol, None).is_some();
        let fields = base.fields.get(part(start.fields, stop.fields));
        let mut fields = fields.unwrap_or_default().iter();
        let calls = base.calls.get(part(start.calls, stop.calls));
        let mut calls = calls.unwrap_or_default().iter();
        if fields.any(|(object, key)| is_one(*object) || is_one(*key))
            || calls.any(|call| is_one(call.callee))
        {
            return Ok(false);
        }
        let stores = base.stores.range(part(start.stores, stop.stores));
        for (store, at) in stores.zip(start.stores..) {
            if let Destination::Field { base, key } = store.place
                && (is_one(base) || is_one(key))
            {
                return Ok(false);
            }
            if let Some(value) = now(store.value, Some(store.proto)) {
                patches.stores.try_push((at, Store { value, ..*store }))?;
            }
        }
        let lists = base.lists.get(part(start.lists, stop.lists));
        for (symbol, at) in lists.unwrap_or_default().iter().zip(start.lists..) {
            if let Some(symbol) = now(*symbol, None) {
                if end > id + 1 {
                    return Ok(false);
                }
                patches.lists.try_push((at, symbol))?;
            }
        }
        for numbers in numbers.chunk_by(|a, b| a.proto == b.proto) {
            let proto = numbers.first().map_or(0, |number| number.proto);
            let variables = base.variables_of(proto);
            let own = base.variables.range(part(variables.start, variables.end));
            for (variable, at) in own.zip(variables.start..) {
                if let Some(initialiser) = now(variable.initialiser, Some(proto)) {
                    let own = Variable {
                        initialiser,
                        ..*variable
                    };
                    patches.variables.try_push((at, own))?;
                }
            }
        }
        Ok(true)
    }
}

impl Definitions {
    /// What a version has of an older one if it has the same functions, definitions and variables.
    pub(super) fn take_structure(&mut self, base: &Definitions) -> Read<()> {
        self.first_upvalue = base.first_upvalue.again()?;
        self.upvalues = base.upvalues.again()?;
        self.definitions = base.definitions.again()?;
        self.calls = base.calls.again()?;
        self.into = base.into.again()?;
        self.assignments = base.assignments.again()?;
        self.globals = base.globals.again()?;
        self.results = base.results.again()?;
        self.lengths = base.lengths.again()?;
        if let Some(nameless) = base.nameless.get() {
            self.nameless = OnceLock::from(nameless.clone());
        }
        Ok(())
    }

    fn lines_of(&self, id: ProtoId) -> Option<(i32, i32)> {
        self.proto(id).map(|proto| (proto.line, proto.last))
    }

    /// The descriptions of a function's upvalues.
    fn described_upvalues(&self, id: ProtoId) -> &[u8] {
        let place = self.proto(id);
        let place = place.map(|proto| (proto.upvalues_at, 3 * u32::from(proto.upvalues)));
        super::super::text_at(&self.dump, place.unwrap_or_default())
    }

    /// The function of the main function that has this one in it, or is it; the main function is
    /// its own.
    fn outermost_around(&self, mut id: ProtoId) -> ProtoId {
        while let Some(parent) = self.proto(id).and_then(|proto| proto.parent)
            && parent != 0
        {
            id = parent;
        }
        id
    }
}
