//! What tells an element of a list from the others.

use rustc_hash::FxHashMap;

use super::merge::is_scalar;
use super::{EntryPair, Pairer, Side, TablePair};
use crate::code::align::sequence::Element;
use crate::code::{Digest, Profile};
use crate::lua::vm::{Kind, Ref, Val};
use crate::model::base::{self, Held, Path};
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush};

/// Of longer lists what is behind this element stays as it runs; a warning says so.
pub(super) const MOST_ELEMENTS: i64 = 1_000_000;
/// Keys of rows that are looked up in the record.
pub(super) const MOST_KEYS: usize = 64;

/// The keys under which rows have plain fields, and whether some of these are strings, and numbers.
pub(super) type Keys = FxHashMap<u64, (bool, bool)>;

pub(super) const SCALAR: u8 = 1;
const TABLE: u8 = 2;
pub(super) const FUNCTION: u8 = 3;
const OTHER: u8 = 4;
/// What answers to something already, or is the program's: nothing but its identity counts.
pub(super) const TAKEN1: u8 = 5;
const TAKEN2: u8 = 6;

/// An element of the running list.
#[derive(Clone, Copy)]
pub(super) struct RunningElement {
    pub(super) index: i64,
    pub(super) value: Ref,
    pub(super) val: Val,
    /// Its number, if it is a Lua function.
    pub(super) f1: Option<u32>,
}

/// An element of the incoming list.
#[derive(Clone, Copy)]
pub(super) struct IncomingElement {
    pub(super) entry: EntryPair,
    /// Its number, if it is a fresh Lua function.
    pub(super) f2: Option<u32>,
    /// It is a function, or has one.
    pub(super) has_code: bool,
}

impl IncomingElement {
    /// What a message calls it.
    pub(super) fn what(&self) -> &'static str {
        match (self.entry.new_val.is_function(), self.has_code) {
            (true, _) => "function",
            (_, true) => "row with functions",
            _ => "row",
        }
    }
}

fn kind_of(val: Val) -> u8 {
    match val.kind {
        Kind::Table => TABLE,
        Kind::Function => FUNCTION,
        _ if is_scalar(val) => SCALAR,
        _ => OTHER,
    }
}

fn token(key: u64, value: u64) -> u64 {
    (key.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Pairer<'_> {
    /// The elements of the incoming list.
    pub(super) fn written(
        &mut self,
        pair: &TablePair,
        entries: Vec<EntryPair>,
    ) -> Result<Vec<IncomingElement>> {
        let mut written = Vec::new();
        for entry in entries {
            let val = entry.new_val;
            let is_fresh = entry.order.is_some();
            let f2 = match val.is_function() && is_fresh {
                true => {
                    let site = self.out.sites.key(pair.site, entry.key)?;
                    self.function2(entry.new, site)?
                }
                false => None,
            };
            let has_code =
                val.is_function() || val.is_table() && is_fresh && self.bears_code(entry.new)?;
            written.try_push(IncomingElement {
                entry,
                f2,
                has_code,
            })?;
        }
        written.sort_by_key(|one| self.vm.integer(one.entry.key));
        Ok(written)
    }

    /// The elements of the running list; `most`: up to the file's length, behind a hole as well.
    pub(super) fn running(&mut self, pair: &TablePair, most: usize) -> Result<Vec<RunningElement>> {
        let mut end = self.vm.raw_len(pair.old).max(most as i64);
        if end > MOST_ELEMENTS {
            end = MOST_ELEMENTS;
            let path = self.out.sites.path(self.vm, &self.context.title, pair.site);
            let is_edited = self.identity.is_text_edited();
            self.vm.limits.note(
                "a list with more than {} elements, and those behind them stay as they are; \
                 change them in __hotfix (R3.14)",
                MOST_ELEMENTS as usize,
                Where::Named(path),
                is_edited,
            )?;
        }
        let mut running = Vec::new();
        for index in 1..=end {
            let mark = self.vm.held();
            let value = self.vm.element(pair.old, index as u32)?; // (not that many)
            let val = self.vm.val(value);
            if val.is_nil() {
                self.vm.release(mark);
                continue;
            }
            let f1 = match val.is_function() {
                true => {
                    let site = self.element_site(pair.site, index)?;
                    self.function1(value, site)?
                }
                false => None,
            };
            running.try_push(RunningElement {
                index,
                value,
                val,
                f1,
            })?;
        }
        Ok(running)
    }

    /// The running object that one of the incoming version answers to, or is.
    pub(super) fn partner(&self, written: &IncomingElement) -> Option<Ref> {
        let EntryPair {
            new,
            new_val,
            order,
            ..
        } = written.entry;
        if order.is_none() {
            return Some(new);
        }
        let known = match written.f2 {
            Some(f2) => {
                let partner = self.out.new.get(f2 as usize)?.partners.first().copied();
                partner
                    .and_then(|f1| self.out.old.get(f1 as usize))
                    .map(|old| old.at)
            }
            None => self.out.tables.get(&new_val.addr).copied(),
        };
        known.or_else(|| self.identity.running_object(self.vm, new))
    }

    /// What tells an object or a scalar from all others, on record as well.
    fn exact(&self, value: Ref) -> Option<u64> {
        if let Some(digest) = self.vm.digest(value) {
            return Some(Held::scalar(digest).bits());
        }
        Some(match self.number_of(value) {
            Some(number) => Held::object(number).bits(),
            None => 1 << 63 | self.vm.val(value).addr as u64,
        })
    }

    pub(super) fn describe_running(
        &mut self,
        one: &RunningElement,
        keys: &mut Keys,
    ) -> Result<Element> {
        let mut element = Element {
            kind: kind_of(one.val),
            exact: self.exact(one.value),
            ..Element::default()
        };
        if one.val.is_table() {
            if self.has_partner(one.val.addr) {
                element.kind = TAKEN1;
            } else {
                self.describe_row(one.value, Side::Running, &mut element, keys)?;
            }
        } else if one.val.is_function() {
            let is_free = one.f1.and_then(|f1| self.out.old.get(f1 as usize));
            let is_free = is_free.is_some_and(|old| old.own && old.answers.is_empty());
            match one.f1.filter(|_| is_free) {
                Some(f1) if !self.is_made_at_run_time(f1)? => {
                    self.know_code(f1)?;
                    let profile = self.out.old.get(f1 as usize).and_then(|old| old.profile);
                    element.code = profile.map(|profile| profile.digest.key());
                    element.is_code = self.has_no_variables(one.value);
                    if let Some(profile) = profile {
                        self.describe_captured(one.value, profile, Side::Running, &mut element)?;
                    }
                }
                _ => element.kind = TAKEN1,
            }
        }
        Ok(element)
    }

    /// Of closures that a loop or a factory makes again and again: what one has captured and never
    /// assigns tells it from the others, else nothing does, whatever its code is by now.
    fn describe_captured(
        &mut self,
        function: Ref,
        profile: Profile,
        side: Side,
        element: &mut Element,
    ) -> Result<()> {
        match self.identity.made_by(self.vm, function, side) {
            Some((_, true)) => return Ok(()),
            Some((definition, _)) if element.is_code => {
                element.code = Some(token(1, u64::from(definition.0)));
            }
            _ => {}
        }
        for i in 1..=u8::MAX {
            let Some(upvalue) = self.vm.upvalue(function, i) else {
                break;
            };
            let kind = upvalue.value.kind;
            if profile.assigned.has(i - 1)
                || !matches!(kind, Kind::String | Kind::Number | Kind::Table)
                || kind == Kind::Table
                    && !self.identity.is_upvalue_given(self.vm, (function, i), side)
            {
                continue;
            }
            let mark = self.vm.held();
            let value = self.vm.upvalue_value(function, i)?;
            let name = (self.vm).with_upvalue_name(function, i, |name| self.vm.digest_of(name));
            let digest = |digest| Held::scalar(digest).bits();
            let [string, number] = match kind {
                Kind::Table => self.row_captured(value)?,
                Kind::String => [self.vm.digest(value).map(digest), None],
                _ => [None, self.vm.digest(value).map(digest)],
            };
            self.vm.release(mark);
            for (tokens, held) in [(&mut element.hints, string), (&mut element.numbers, number)] {
                if let Some(held) = held {
                    tokens.try_push(token(name, held))?;
                }
            }
        }
        element.hints.sort_unstable();
        element.numbers.sort_unstable();
        Ok(())
    }

    /// Of a row that a closure was made with all strings tell one thing, and all numbers: a part of
    /// them may be that of other rows.
    fn row_captured(&mut self, row: Ref) -> Result<[Option<u64>; 2]> {
        let (mut strings, mut numbers) = (None, None);
        let mut cursor = self.vm.walk(row, Ref::NIL)?;
        for _ in 0..MOST_KEYS {
            let Some(entry) = cursor.next(self.vm) else {
                break;
            };
            let tells = match entry.new.kind {
                Kind::String => &mut strings,
                Kind::Number => &mut numbers,
                _ => continue,
            };
            let both = cursor.key_digest(self.vm).zip(cursor.value_digest(self.vm));
            if let Some((key, value)) = both {
                let token = token(key, Held::scalar(value).bits());
                *tells = Some(tells.unwrap_or(0u64).wrapping_add(token));
            }
        }
        cursor.end(self.vm);
        Ok([strings, numbers])
    }

    /// Does a function capture nothing but the globals?
    fn has_no_variables(&self, function: Ref) -> bool {
        (1..=2).all(|i| {
            let is_globals = |name: &[u8]| matches!(name, b"" | b"_ENV");
            self.vm.with_upvalue_name(function, i, is_globals)
        })
    }

    pub(super) fn describe_written(
        &mut self,
        one: &IncomingElement,
        keys: &mut Keys,
    ) -> Result<Element> {
        let EntryPair {
            new,
            new_val,
            order,
            ..
        } = one.entry;
        let partner = self.partner(one);
        let mut element = Element {
            kind: kind_of(new_val),
            exact: partner.and_then(|partner| self.exact(partner)),
            ..Element::default()
        };
        if new_val.is_table() && order.is_some() {
            if self.out.tables.contains_key(&new_val.addr) {
                element.kind = TAKEN2;
            } else {
                self.describe_row(new, Side::Incoming, &mut element, keys)?;
            }
        } else if new_val.is_function() {
            match one.f2.and_then(|f2| self.out.new.get(f2 as usize)) {
                Some(function) if function.partners.is_empty() => {
                    let profile = function.profile;
                    element.code = Some(profile.digest.key());
                    element.is_code = self.has_no_variables(new);
                    self.describe_captured(new, profile, Side::Incoming, &mut element)?;
                }
                _ => element.kind = TAKEN2,
            }
        }
        Ok(element)
    }

    /// The plain fields of a row. Its strings say what it is, and its numbers if nothing else does;
    /// so do the functions that are its own.
    fn describe_row(
        &mut self,
        row: Ref,
        side: Side,
        element: &mut Element,
        keys: &mut Keys,
    ) -> Result<()> {
        let (mut content, mut count) = (0u64, 0u64);
        let mut cursor = self.vm.walk(row, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            count += 1;
            let Some(key) = cursor.key_digest(self.vm) else {
                continue;
            };
            if let Some(digest) = cursor.value_digest(self.vm) {
                let token = token(key, Held::scalar(digest).bits());
                content = content.wrapping_add(token);
                match entry.new.kind {
                    Kind::String => element.strings.try_push(token)?,
                    Kind::Number => element.numbers.try_push(token)?,
                    _ => {}
                }
                if keys.len() < MOST_KEYS || keys.contains_key(&key) {
                    let (strings, numbers) = keys.get(&key).copied().unwrap_or_default();
                    let is_string = entry.new.kind == Kind::String;
                    let is_number = entry.new.kind == Kind::Number;
                    keys.try_insert_value(key, (strings || is_string, numbers || is_number))?;
                }
            } else if entry.new.is_function() {
                let mark = self.vm.held();
                let function = cursor.keep_pair(self.vm)?.value;
                let code = match self.identity.code_of(self.vm, function, side) {
                    Some(code) => Some(code),
                    None => self.vm.profile(function)?.map(|profile| profile.digest),
                };
                let definition = match side {
                    Side::Incoming => self.identity.element(self.vm, function),
                    Side::Running => match self.identity.element_running(self.vm, function) {
                        None => {
                            let info = self.vm.info(function)?.filter(|info| info.lua);
                            let both = info.zip(code);
                            both.and_then(|(info, code)| {
                                self.identity
                                    .element_made_from((info.line, info.last), code)
                            })
                        }
                        known => known,
                    },
                };
                let code = code.map_or(0, Digest::key);
                content = content.wrapping_add(token(key, code));
                element.hints.try_push(token(key, 1))?;
                self.vm.release(mark);
                if let Some(definition) = definition {
                    let token = token(key, u64::from(definition) << 2);
                    element.hints.try_push(token)?;
                }
            }
        }
        for tokens in [
            &mut element.hints,
            &mut element.strings,
            &mut element.numbers,
        ] {
            tokens.sort_unstable();
        }
        element.code = Some(content ^ count.rotate_left(48));
        Ok(())
    }

    /// Is it an element that the last version of the file has made, whatever became of it?
    pub(super) fn was_element(&mut self, one: &IncomingElement) -> Result<bool> {
        let EntryPair { new, new_val, .. } = one.entry;
        if new_val.is_function() {
            return Ok(self.identity.was_element(self.vm, new));
        }
        if !new_val.is_table() || !one.has_code {
            return Ok(false);
        }
        let mut cursor = self.vm.walk(new, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            if !entry.new.is_function() {
                continue;
            }
            let mark = self.vm.held();
            let function = cursor.keep_pair(self.vm)?.value;
            let was_there = self.identity.was_element(self.vm, function);
            self.vm.release(mark);
            if was_there {
                cursor.end(self.vm);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The elements that the last load has put into a list, as far as the record tells.
    pub(super) fn recorded_elements(&mut self, list: Path, keys: &Keys) -> Result<Vec<Element>> {
        let mut elements = Vec::new();
        for index in 1..=MOST_ELEMENTS {
            let place = list.place(self.vm.digest_of_integer(index));
            let Some(held) = self.out.base.get(place) else {
                break;
            };
            let object = held.number().map(Path::of);
            let row = match held.kind() {
                base::RecordedKind::Row => Some(place.path()),
                _ => object.filter(|path| self.out.base.knows(*path)),
            };
            let kind = match (held.kind(), row) {
                (base::RecordedKind::Scalar, _) => SCALAR,
                (_, Some(_)) => TABLE,
                (base::RecordedKind::Object, _) => FUNCTION,
                _ => OTHER,
            };
            let exact = matches!(
                held.kind(),
                base::RecordedKind::Scalar | base::RecordedKind::Object
            );
            let mut element = Element {
                kind,
                exact: exact.then(|| held.bits()),
                ..Element::default()
            };
            if let Some(path) = row {
                let mut content = 0u64;
                for (key, (is_string, is_number)) in keys {
                    let held = self.out.base.get(path.place(*key));
                    if let Some(held) =
                        held.filter(|held| held.kind() == base::RecordedKind::Scalar)
                    {
                        let token = token(*key, held.bits());
                        content = content.wrapping_add(token);
                        if *is_string {
                            element.strings.try_push(token)?;
                        }
                        if *is_number {
                            element.numbers.try_push(token)?;
                        }
                    }
                }
                element.strings.sort_unstable();
                element.numbers.sort_unstable();
                let count = self.out.base.keys(path) as u64;
                element.code = Some(content ^ count.rotate_left(48));
            }
            elements.try_push(element)?;
        }
        Ok(elements)
    }
}
