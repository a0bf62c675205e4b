//! A version of which an edit within one function has touched nothing but constants and lines: its
//! lists are those of the older version, and only the function's own part of them is read again.
//!
//! ```lua
//! function M.hit(self, damage)
//!   self.life = self.life - damage * 3 --> damage * 2
//! end
//! ```
//! Then all that was put in order of the older version ([`Definitions::finish`]) holds as it is.
//! Whatever is not so simple is read as a whole: a function with functions in it, other lines, one
//! more call, and texts that stand in another order.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::super::reader::{Read, Reader, Stop};
use super::super::shared::{MaybeShared, PatchedList, SharedList};
use super::super::text::difference;
use super::super::{Digest, UpvalueSet, text_at};
use super::interpret::interpret_alone;
use super::known::Lengths;
use super::parse::parse_alone;
use super::types::*;
use super::{Definitions, KnownString};
use crate::support::error::Error;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

/// The function that was edited.
struct Edited<'a> {
    base: &'a Definitions,
    dump: &'a [u8],
    id: ProtoId,
    old: Proto,
    /// Where it stands in the older dump, and in this one.
    spans: [Range<usize>; 2],
}

impl Definitions {
    /// The definitions of a dump in which one function of the main function has other code than in
    /// the older version; none where more than that differs.
    pub(super) fn edited(base: &Definitions, dump: &[u8]) -> Read<Option<Definitions>> {
        let (start, old_end, new_end) = difference(&base.dump, dump);
        let is_around = |proto: &Proto| {
            let (first, last) = proto.span;
            proto.parent == Some(0) && first as usize <= start && old_end <= last as usize
        };
        let mut protos = base.protos.iter().zip(0..);
        let Some((old, id)) = protos.find(|(proto, _)| is_around(proto)) else {
            return Ok(None);
        };
        let span = old.span.0 as usize..old.span.1 as usize;
        let end = span.end - old_end + new_end;
        if old.end != id + 1 {
            return Ok(None);
        }
        Edited {
            base,
            dump,
            id,
            old: *old,
            spans: [span.clone(), span.start..end],
        }
        .read()
    }
}

impl Edited<'_> {
    fn read(&self) -> Read<Option<Definitions>> {
        let (base, old, [span, new_span]) = (self.base, &self.old, &self.spans);
        let mut scratch = Definitions::empty(&base.secret, self.dump.len());
        let mut reader = Reader::at(self.dump, new_span.start).ok_or(Stop::Format)?;
        let mut parsed = parse_alone(&mut reader, &mut scratch, old.locals.0)?;
        let mut before = Reader::at(&base.dump, span.start).ok_or(Stop::Format)?;
        let mut assigned = UpvalueSet::default();
        let header = before.function(0, &mut assigned, &base.secret, None)?;
        let ([raw], Some(new)) = (&mut parsed.raws[..], scratch.protos.get(0)) else {
            return Ok(None);
        };
        let is_seen_alike = reader.position() == new_span.end
            && (raw.upvalues, raw.assigned) == (header.upvalues, assigned)
            && (new.line, new.last, new.locals.1) == (old.line, old.last, old.locals.1);
        let Some(texts) = self.texts(&scratch)?.filter(|_| is_seen_alike) else {
            return Ok(None);
        };
        let mut out = self.copy(new, &scratch, &texts)?;
        raw.constants = (old.constants.0, new.constants.1);
        interpret_alone(&parsed, self.id, &mut out)?;
        self.take_rest(out)
    }

    /// The part of each list that the function has.
    fn bounds(&self) -> [Lengths; 2] {
        let at = |id: ProtoId| self.base.lengths.get(id as usize).copied();
        [self.id, self.id + 1].map(|id| at(id).unwrap_or_default())
    }

    /// The numbers of the function's texts. Those of the older version keep theirs; none where the
    /// texts of the dump would stand in another order.
    fn texts(&self, scratch: &Definitions) -> Read<Option<Vec<StringId>>> {
        let (base, [span, _]) = (self.base, &self.spans);
        let place = |id: StringId| {
            base.texts
                .get(id.0 as usize)
                .map(|text| text.start as usize)
        };
        let (mut found, mut last, mut more) = (Vec::new(), None, base.texts.len() as u32);
        for text in scratch.texts.iter() {
            let Some(id) = base.numbers.get(&text.digest).copied() else {
                found.try_push(StringId(more))?;
                more += 1;
                continue;
            };
            if place(id).is_none_or(|place| place >= span.end) {
                return Ok(None);
            }
            if place(id).is_some_and(|place| place >= span.start) {
                if last.is_some_and(|last| last > id) {
                    return Ok(None);
                }
                last = Some(id);
            }
            found.try_push(id)?;
        }
        // Texts that are used no more are not counted as such for ever.
        let is_full = more as usize > 2 * base.numbers.len() + scratch.texts.len();
        Ok((!is_full).then_some(found))
    }

    /// The older version, as far as the function's own part of the lists that it adds to.
    fn copy(&self, new: &Proto, scratch: &Definitions, texts: &[StringId]) -> Read<Definitions> {
        let (base, old) = (self.base, &self.old);
        let [start, _] = self.bounds();
        let mut out = Definitions::empty(&base.secret, self.dump.len());
        out.take_structure(base)?;
        out.by_lines = base.by_lines.again()?;
        out.definitions = SharedList::Own(first(&base.definitions, start.definitions)?);
        out.calls = SharedList::Own(first(&base.calls, start.calls)?);
        out.fields = SharedList::Own(first(&base.fields, start.fields)?);
        out.lists = SharedList::Own(first(&base.lists, start.lists)?);
        let stores = base.stores.range(0..start.stores as usize);
        out.stores
            .own()?
            .try_reserve_exact(base.stores.len())
            .map_err(Error::from)?;
        out.stores.own()?.extend(stores);
        self.copy_texts(scratch, texts, &mut out)?;

        let text = |id: StringId| texts.get(id.0 as usize).copied().unwrap_or(id);
        let (own, count) = old.constants;
        let constants = scratch.constants.iter().map(|constant| match *constant {
            Constant::String(id) => Constant::String(text(id)),
            other => other,
        });
        out.constants = match count == new.constants.1 {
            true => base.constants.with(&numbered(own, constants)?)?,
            false => {
                let (own, end) = (own as usize, (own + count) as usize);
                let before = base.constants.range(0..own).copied();
                let behind = base.constants.range(end..base.constants.len()).copied();
                let all = before.chain(constants).chain(behind);
                let mut list = PatchedList::NOTHING;
                *list.own()? = collected(all.map(Ok))?;
                list
            }
        };
        let first_variable = old.locals.0;
        let variables = scratch.variables.iter().map(|variable| Variable {
            name: text(variable.name),
            proto: self.id,
            ..*variable
        });
        out.variables = base.variables.with(&numbered(first_variable, variables)?)?;
        self.copy_protos(new, &mut out)?;
        #[cfg(test)]
        (out.taken = base.protos() - 1);
        Ok(out)
    }

    /// Copies the functions, each where it stands now.
    fn copy_protos(&self, new: &Proto, out: &mut Definitions) -> Read<()> {
        let (base, old, [span, new_span]) = (self.base, &self.old, &self.spans);
        let own = Proto {
            definition: old.definition,
            end: old.end,
            constants: (old.constants.0, new.constants.1),
            locals: old.locals,
            ..*new
        };
        out.protos = base.protos.with(&[(self.id, own)])?;
        let is_moved = span.end != new_span.end || old.constants.1 != new.constants.1;
        if is_moved {
            for (proto, id) in out.protos.own()?.iter_mut().zip(0..) {
                if id == self.id {
                    continue;
                }
                let (span_start, span_end) = (&mut proto.span.0, &mut proto.span.1);
                let (upvalues, names) = (&mut proto.upvalues_at, &mut proto.names_at);
                for place in [&mut proto.code.0, upvalues, names, span_start, span_end] {
                    if *place as usize >= span.end {
                        *place = (*place as usize - span.end + new_span.end) as u32;
                    }
                }
                if id > self.id {
                    proto.constants.0 = proto.constants.0 - old.constants.1 + new.constants.1;
                }
            }
        }
        let digest = self.main_digest(out)?;
        let main = *out.protos.get(0).ok_or(Stop::Format)?;
        let main = Proto { digest, ..main };
        match is_moved {
            true => out
                .protos
                .own()?
                .iter_mut()
                .take(1)
                .for_each(|one| *one = main),
            false => out.protos = base.protos.with(&[(0, main), (self.id, own)])?,
        }
        Ok(())
    }

    /// The digest of the main function's code, which has those of all others.
    fn main_digest(&self, out: &Definitions) -> Read<Digest> {
        let start = out.proto(0).map_or(0, |main| main.span.0);
        let mut reader = Reader::at(self.dump, start as usize).ok_or(Stop::Format)?;
        reader.string()?;
        reader.skip_ints(2)?;
        let start = reader.position();
        reader.take(3)?;
        reader.code()?;
        let constants = reader.count()?;
        reader.skip_constants(constants)?;
        let mut hash = out.secret.hasher();
        hash.write(reader.since(start));
        for proto in out.protos.iter().filter(|proto| proto.parent == Some(0)) {
            hash.write_u64(proto.digest.bits);
            let upvalues = (proto.upvalues_at, 3 * u32::from(proto.upvalues));
            hash.write(text_at(self.dump, upvalues));
        }
        Ok(Digest {
            bits: hash.finish(),
            is_whole: true,
        })
    }

    /// Copies the texts, those of the function being where they stand now.
    fn copy_texts(
        &self,
        scratch: &Definitions,
        texts: &[StringId],
        out: &mut Definitions,
    ) -> Read<()> {
        let (base, [span, new_span]) = (self.base, &self.spans);
        let is_own = |known: &KnownString| span.contains(&(known.start as usize));
        let own = base.texts.iter().filter(|text| is_own(text)).count();
        let is_known = |id: &StringId| (id.0 as usize) < base.texts.len();
        let is_again = |id: &&StringId| base.texts.get(id.0 as usize).is_some_and(is_own);
        let has_same = texts.iter().all(is_known) && texts.iter().filter(is_again).count() == own;
        if has_same && span.end == new_span.end {
            let is_there = |(text, id): (&KnownString, &StringId)| {
                let known = base.texts.get(id.0 as usize);
                known.is_some_and(|known| !is_own(known) || known.start == text.start)
            };
            if scratch.texts.iter().zip(texts).all(is_there) {
                out.texts = base.texts.again()?;
                out.numbers = base.numbers.again()?;
                return Ok(());
            }
        }
        let mut all = copied(&base.texts)?;
        let mut numbers = FxHashMap::default();
        if !has_same {
            numbers
                .try_reserve(base.numbers.len() + texts.len())
                .map_err(Error::from)?;
            numbers.extend(base.numbers.iter());
        }
        for text in &mut all {
            let start = text.start as usize;
            if span.contains(&start) {
                numbers.remove(&text.digest);
            } else if start >= span.end {
                text.start = (start - span.end + new_span.end) as u32;
            }
        }
        for (text, id) in scratch.texts.iter().zip(texts) {
            match base.texts.get(id.0 as usize) {
                Some(known) if !is_own(known) => continue,
                Some(_) => {
                    if let Some(place) = all.get_mut(id.0 as usize) {
                        *place = *text;
                    }
                }
                None => all.try_push(*text)?,
            }
            if !has_same {
                numbers.try_insert_value(text.digest, *id)?;
            }
        }
        out.texts = SharedList::Own(all);
        out.numbers = match has_same {
            true => base.numbers.again()?,
            false => MaybeShared::Own(numbers),
        };
        Ok(())
    }

    /// Takes the lists over; none where the function's own part is another one than it was.
    fn take_rest(&self, mut out: Definitions) -> Read<Option<Definitions>> {
        let (base, [start, end]) = (self.base, self.bounds());
        let own = |start: u32, end: u32| start as usize..end as usize;
        if Lengths::of(&out) != end || !self.has_texts(&out) {
            return Ok(None);
        }
        let definition = |one: &Definition| (one.kind, one.proto, one.in_loop, one.place);
        let call = |one: &Call| (one.callee, one.arguments);
        let is_variable_alike = |a: &Variable, b: &Variable| {
            let rest = |of: &Variable| {
                let is = (of.is_given, of.is_captured, of.is_shared, of.is_hidden);
                (of.name, of.assignments, is)
            };
            rest(a) == rest(b) && are_values_alike(&a.initialiser, &b.initialiser)
        };
        let is_store_alike = |a: &Store, b: &Store| {
            (a.place, a.proto) == (b.place, b.proto) && are_values_alike(&a.value, &b.value)
        };
        let (definitions, calls) = (
            own(start.definitions, end.definitions),
            own(start.calls, end.calls),
        );
        let (fields, lists, stores) = (
            own(start.fields, end.fields),
            own(start.lists, end.lists),
            own(start.stores, end.stores),
        );
        let variables = base.locals(self.id);
        let is_same = are_alike(&out.definitions, &base.definitions, &definitions, |a, b| {
            definition(a) == definition(b)
        }) && are_alike(&out.calls, &base.calls, &calls, |a, b| call(a) == call(b))
            && are_alike(&out.fields, &base.fields, &fields, |a, b| a == b)
            && are_alike(&out.lists, &base.lists, &lists, are_listed_alike);
        if !is_same {
            return Ok(None);
        }
        let own_stores = out.stores.range(stores.clone());
        let mut changed_stores = Vec::new();
        for ((own, old), at) in own_stores
            .zip(base.stores.range(stores))
            .zip(start.stores..)
        {
            if !is_store_alike(own, old) {
                return Ok(None);
            }
            if own.value != old.value {
                let value = own.value;
                changed_stores.try_push((at, Store { value, ..*old }))?;
            }
        }
        let own_variables = out.variables.range(variables.clone());
        let mut changed_variables = Vec::new();
        let first = variables.start as u32;
        for ((own, old), at) in own_variables
            .zip(base.variables.range(variables))
            .zip(first..)
        {
            if !is_variable_alike(own, old) {
                return Ok(None);
            }
            if own.initialiser != old.initialiser {
                let initialiser = own.initialiser;
                changed_variables.try_push((
                    at,
                    Variable {
                        initialiser,
                        ..*old
                    },
                ))?;
            }
        }
        let has_lists = out.lists.get(lists.clone()) == base.lists.get(lists);
        out.take_structure(base)?;
        out.fields = base.fields.again()?;
        match has_lists {
            true => out.lists = base.lists.again()?,
            false => {
                let rest = base.lists.get(out.lists.len()..).unwrap_or_default();
                let lists = out.lists.own()?;
                lists.try_reserve(rest.len()).map_err(Error::from)?;
                lists.extend_from_slice(rest);
            }
        }
        out.variables = base.variables.with(&changed_variables)?;
        out.stores = base.stores.with(&changed_stores)?;
        Ok(Some(out))
    }

    /// Are all texts that the code has among those that are known? (One may stand in the older dump
    /// in this function first, and in another one still.)
    fn has_texts(&self, out: &Definitions) -> bool {
        let gone = |id: StringId| {
            let text = out.texts.get(id.0 as usize);
            text.is_none_or(|text| out.numbers.get(&text.digest) != Some(&id))
        };
        let constants = out.constants.iter();
        let mut constants = constants.filter_map(|constant| match constant {
            Constant::String(id) => Some(*id),
            _ => None,
        });
        let mut names = out.variables.iter().map(|variable| variable.name);
        out.numbers.len() == out.texts.len() || !constants.any(gone) && !names.any(gone)
    }
}

impl Definitions {
    fn locals(&self, id: ProtoId) -> Range<usize> {
        let (first, count) = self.proto(id).map_or((0, 0), |proto| proto.locals);
        first as usize..(first + count) as usize
    }
}

/// A copy of the first ones of a list, with room for the others.
fn first<T: Copy>(list: &[T], count: u32) -> Read<Vec<T>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(list.len()).map_err(Error::from)?;
    copy.extend_from_slice(list.get(..count as usize).ok_or(Stop::Format)?);
    Ok(copy)
}

/// Items with their numbers, from this one on.
fn numbered<T>(first: u32, items: impl Iterator<Item = T>) -> Read<Vec<(u32, T)>> {
    Ok(collected((first..).zip(items).map(Ok))?)
}

fn are_alike<T>(
    list: &[T],
    base: &[T],
    own: &Range<usize>,
    mut are_alike: impl FnMut(&T, &T) -> bool,
) -> bool {
    let (a, b) = (list.get(own.clone()), base.get(own.clone()));
    a.zip(b)
        .is_some_and(|(a, b)| a.iter().zip(b).all(|(a, b)| are_alike(a, b)))
}

/// Does it make no difference which one is stored? No object comes from a constant, or from what
/// operators make of the same variables.
fn are_values_alike(a: &Symbol, b: &Symbol) -> bool {
    match (a, b) {
        (Symbol::Constant(_), Symbol::Constant(_)) => true,
        (Symbol::Pure { of: a, .. }, Symbol::Pure { of: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

/// The same among others: a call is called by the texts and booleans that it gets.
fn are_listed_alike(a: &Symbol, b: &Symbol) -> bool {
    let names = |symbol: &Symbol| {
        let is_name =
            |constant: &Constant| matches!(constant, Constant::String(_) | Constant::Boolean(_));
        matches!(symbol, Symbol::Constant(constant) if is_name(constant))
    };
    a == b || are_values_alike(a, b) && !names(a) && !names(b)
}
