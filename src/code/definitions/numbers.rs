//! A version in which edits have touched nothing but numbers and lines: all its instructions,
//! names and texts are those of the older version. So it has the lists of that one, but for the
//! numbers in them and for where its functions stand.
//!
//! ```lua
//! M.limits = { low = 1, high = 60 } --> high = 80
//! function M.hit(self, damage)
//!   self.life = self.life - damage * 3 --> damage * 2
//! end
//! ```
//! A number that names something (`M[70000]`), or that operators make a value of, is none of
//! these.

use std::ops::Range;
use std::sync::OnceLock;

use smallvec::SmallVec;

use super::super::Digest;
use super::super::op;
use super::super::reader::{Read, Reader, Stop, word};
use super::super::shared::SharedList;
use super::known::Lengths;
use super::types::*;
use super::{Definitions, KnownString};
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
    /// The functions that stand elsewhere or have other numbers.
    protos: Vec<(u32, Proto)>,
    constants: Vec<(u32, Constant)>,
    numbers: Vec<ChangedNumber>,
    /// What is the same and stands elsewhere: where it has stood, in order, and how much further
    /// down it stands now.
    moved: Vec<(Range<usize>, i64)>,
    has_other_lines: bool,
}

/// Changes of some lists.
#[derive(Default)]
struct Patches {
    stores: Vec<(u32, Store)>,
    variables: Vec<(u32, Variable)>,
    lists: Vec<(u32, Symbol)>,
}

impl Definitions {
    /// The definitions of a dump that differs from the older version's in nothing but numbers and
    /// lines; none where more differs.
    pub(super) fn with_other_numbers(base: &Definitions, dump: &[u8]) -> Read<Option<Definitions>> {
        let (Some(mut old), Some(mut new)) = (Reader::of(&base.dump), Reader::of(dump)) else {
            return Ok(None);
        };
        let mut both = Comparison {
            base,
            dump,
            protos: Vec::new(),
            constants: Vec::new(),
            numbers: Vec::new(),
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
    /// Compares a function of both versions, and all in it. Returns its digest, or none where more
    /// differs than numbers and lines.
    fn function<'r>(
        &mut self,
        old: &mut Reader<'r>,
        new: &mut Reader<'r>,
        id: ProtoId,
    ) -> Read<Option<Digest>> {
        let was = *self.base.proto(id).ok_or(Stop::Format)?;
        let begin = new.position();
        let (start, end) = (was.span.0 as usize, was.span.1 as usize);
        if self.is_same(start..end, begin) {
            old.go_to(end);
            new.go_to(begin + (end - start));
            self.is_moved(id, &was, begin as i64 - start as i64)?;
            return Ok(Some(was.digest));
        }
        if old.string()? != new.string()? {
            return Ok(None);
        }
        old.skip_ints(2)?;
        let (line, last) = (new.int()?, new.int()?);
        let frame = new.position();
        if old.take(3)? != new.take(3)? || old.code()? != new.code()? {
            return Ok(None);
        }
        let code = (new.position() as u32 - was.code.1, was.code.1);
        let numbers = self.numbers.len();
        if !self.are_constants_alike(old, new, id, &was)? {
            return Ok(None);
        }
        let mut is_other = self.numbers.len() > numbers;
        let constants_end = new.position();
        let mut children: SmallVec<[(Digest, ProtoId); 16]> = SmallVec::new();
        let upvalues = old.upvalues()?;
        if upvalues != new.upvalues()? {
            return Ok(None);
        }
        let upvalues_at = (new.position() - upvalues.len()) as u32;
        let rest = old.position()..end;
        let mut names_at = was.names_at;
        let is_rest_same = begin == start && self.is_same(rest.clone(), new.position());
        if is_rest_same && rest.start == new.position() {
            let all = self.base.protos.range(id as usize + 1..was.end as usize);
            for (proto, child) in all
                .zip(id + 1..)
                .filter(|(proto, _)| proto.parent == Some(id))
            {
                children.try_push((proto.digest, child))?;
            }
            old.go_to(end);
            new.go_to(end);
        } else {
            let count = new.count()?;
            if old.count()? != count {
                return Ok(None);
            }
            let mut child = id + 1;
            for _ in 0..count {
                let known = self.base.proto(child).filter(|_| child < was.end);
                let known = *known.ok_or(Stop::Format)?;
                let Some(digest) = self.function(old, new, child)? else {
                    return Ok(None);
                };
                is_other |= digest != known.digest;
                children.try_push((digest, child))?;
                child = known.end;
            }
            let Some(at) = self.debug(old, new)? else {
                return Ok(None);
            };
            names_at = at;
        }
        let mut digest = was.digest;
        if is_other {
            let mut hash = self.base.secret.hasher();
            hash.write(self.dump.get(frame..constants_end).unwrap_or_default());
            for (digest, child) in children {
                hash.write_u64(digest.bits);
                hash.write(self.base.described_upvalues(child));
            }
            digest.bits = hash.finish();
        }
        self.has_other_lines |= (line, last) != (was.line, was.last);
        let proto = Proto {
            line,
            last,
            digest,
            span: (begin as u32, new.position() as u32),
            upvalues_at,
            names_at,
            code,
            ..was
        };
        self.protos.try_push((id, proto))?;
        Ok(Some(digest))
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

    /// Compares the constants of a function. Notes those of another value.
    fn are_constants_alike(
        &mut self,
        old: &mut Reader<'_>,
        new: &mut Reader<'_>,
        proto: ProtoId,
        was: &Proto,
    ) -> Read<bool> {
        let count = old.count()?;
        if new.count()? != count {
            return Ok(false);
        }
        let (start, by) = (
            old.position(),
            new.position() as i64 - old.position() as i64,
        );
        // What comes behind the last number is still to be compared.
        let mut same = start;
        for at in was.constants.0..was.constants.0 + count as u32 {
            let tag = old.byte()?;
            match tag {
                0x00 | 0x01 | 0x11 => {}
                0x03 | 0x13 => {
                    let place = old.position();
                    let now = place.saturating_add_signed(by as isize);
                    let before = old.take(8)?;
                    let bytes = self.dump.get(now..now + 8).ok_or(Stop::Format)?;
                    if before == bytes {
                        continue;
                    }
                    let shifted = same.saturating_add_signed(by as isize);
                    if !self.is_same(same..place, shifted) {
                        return Ok(false);
                    }
                    same = place + 8;
                    let bits = bytes.try_into().map_or(0, u64::from_le_bytes);
                    let new = match tag {
                        0x03 => Constant::Integer(bits as i64),
                        _ => Constant::Float(bits),
                    };
                    let old = *self.base.constants.get(at as usize).ok_or(Stop::Format)?;
                    self.constants.try_push((at, new))?;
                    self.numbers.try_push(ChangedNumber { proto, old, new })?;
                }
                0x04 | 0x14 => {
                    old.string()?;
                }
                _ => return Err(Stop::Format),
            }
        }
        let end = old.position();
        new.take(end - start)?;
        if by != 0 {
            self.moved.try_push((start..end, by))?;
        }
        Ok(self.is_same(same..end, same.saturating_add_signed(by as isize)))
    }

    /// Compares the locals of a function, whose lines may be others, and the names of its upvalues.
    /// Returns where these stand now, if all are the same.
    fn debug<'r>(&mut self, old: &mut Reader<'r>, new: &mut Reader<'r>) -> Read<Option<u32>> {
        for reader in [&mut *old, &mut *new] {
            let lines = reader.count()?;
            reader.take(lines)?;
            let absolute = reader.count()?;
            reader.skip_ints(2 * absolute)?;
        }
        let (start, now) = (old.position(), new.position());
        for _ in 0..old.count()? {
            old.string()?;
            old.skip_ints(2)?;
        }
        let names = old.position();
        for _ in 0..old.count()? {
            old.string()?;
        }
        let end = old.position();
        new.take(end - start)?;
        if now != start {
            self.moved
                .try_push((start..end, now as i64 - start as i64))?;
        }
        let names_at = (now + names - start) as u32;
        Ok(self.is_same(start..end, now).then_some(names_at))
    }

    /// Everything was compared.
    fn definitions(mut self) -> Read<Option<Definitions>> {
        let base = self.base;
        let Some(patches) = self.patches()? else {
            return Ok(None);
        };
        self.protos.sort_unstable_by_key(|(id, _)| *id);
        self.constants.sort_unstable_by_key(|(at, _)| *at);
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
        out.texts = self.moved_texts()?;
        out.numbers = base.numbers.again()?;
        out.constants = base.constants.with(&self.constants)?;
        out.protos = protos;
        out.by_lines = by_lines;
        out.fields = base.fields.again()?;
        out.lists = lists;
        out.variables = base.variables.with(&patches.variables)?;
        out.stores = base.stores.with(&patches.stores)?;
        #[cfg(test)]
        (out.taken = base.protos() - 1);
        Ok(Some(out))
    }

    /// The texts, where they stand now.
    fn moved_texts(&self) -> Read<SharedList<KnownString>> {
        if self.moved.is_empty() {
            return self.base.texts.again();
        }
        let mut texts = copied(&self.base.texts)?;
        for text in &mut texts {
            let start = text.start as usize;
            let next = self.moved.partition_point(|(part, _)| part.start <= start);
            let around = next.checked_sub(1).and_then(|last| self.moved.get(last));
            if let Some((part, by)) = around
                && part.contains(&start)
            {
                text.start = (i64::from(text.start) + by) as u32;
            }
        }
        Ok(SharedList::Own(texts))
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
