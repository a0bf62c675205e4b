//! Is an older value, under an assignment, what a new one is? What both lead to is compared, too.

use super::super::names::MatchStrength;
use super::{Assignment, Guess, Latitude, MOST_NESTED, Search, Spotted};
use crate::lua::heap::Place;
use crate::lua::vm::{Info, Kept, KeyValue, Kind, Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::TryPush;

impl Guess {
    /// The older value stands in a table under a key.
    fn in_table(new: Ref, old: Ref, table: Ref, key: Ref) -> Guess {
        let place = Spotted::At(Place::Value { table, key });
        Guess { new, old, place }
    }
}

impl Search<'_> {
    /// Is a guess right?
    pub(super) fn value(&mut self, assignment: &mut Assignment, guess: Guess) -> Result<bool> {
        match self.is_new(self.vm.val(guess.new)) {
            true => self.unify(assignment, guess),
            false => self.value_later(assignment, guess, false),
        }
    }

    /// The same; what a new object leads to becomes pending. `in_given`: it stands in a table that
    /// the call was given.
    fn value_later(
        &mut self,
        assignment: &mut Assignment,
        guess: Guess,
        in_given: bool,
    ) -> Result<bool> {
        let Guess { new, old, place } = guess;
        let val = self.vm.val(new);
        if !Self::is_object(val) {
            let differs = assignment.differs;
            let fits = self.scalar(assignment, new, old, in_given)?;
            if let Spotted::At(Place::Value { table, .. }) = place
                && self.is_on_record(table)
            {
                assignment.differs = differs;
            }
            return Ok(fits);
        }
        if self.is_new(val) {
            self.pending.try_push(guess)?;
            return Ok(true);
        }
        // An object that existed: given, it must be the same, in whatever generation; else it is a
        // link, and not compared.
        let lineage = self.sources.lineage;
        Ok(!self.is_given(new)
            || self.vm.same(new, old)
            || lineage.is_some_and(|lineage| lineage.is_one(self.vm, new, old)))
    }

    /// What is on record is compared with the record (R8.6).
    fn is_on_record(&self, table: Ref) -> bool {
        let lineage = self.sources.lineage;
        lineage.is_some_and(|lineage| lineage.of(self.vm, table).is_some())
    }

    fn number(&self, number: Ref) -> Option<f64> {
        let integer = self.vm.integer(number).map(|integer| integer as f64);
        integer.or_else(|| self.vm.float(number))
    }

    fn scalar(
        &mut self,
        assignment: &mut Assignment,
        new: Ref,
        old: Ref,
        in_given: bool,
    ) -> Result<bool> {
        let kind = self.vm.kind(new);
        if kind == Kind::Boolean {
            let is_given = self.given.times(self.vm, new) > 0;
            if is_given && self.vm.kind(old) == kind && !self.vm.same(new, old) {
                assignment.differs = assignment.differs.or(Some((old, new)));
                assignment.distance += 1.0;
            }
            return Ok(true);
        }
        let is_same = self.vm.same(new, old);
        if !is_same && kind != Kind::Nil && self.is_given(new) {
            let numbers = (self.number(old), self.number(new));
            assignment.differs = Some((old, new));
            assignment.distance += match numbers {
                (Some(old), Some(new)) => (old - new).abs(),
                _ => 1.0,
            };
            let is_near = numbers.0.is_some() && numbers.1.is_some()
                || self.latitude >= Latitude::Data && !Self::is_object(self.vm.val(old));
            return Ok(is_near && self.may_differ(new, in_given));
        }
        if kind != self.vm.kind(old) {
            return Ok(false);
        }
        match kind {
            Kind::Number if is_same && self.is_given(new) => Ok(true),
            Kind::Number => assignment.scalars.try_push((new, old)).map(|()| true),
            Kind::String if is_same => Ok(true),
            Kind::String => {
                let same = are_same_but_digits(self.vm, new, old);
                assignment.scalars.try_push((new, old)).map(|()| same)
            }
            Kind::Nil => Ok(true),
            _ => Ok(false),
        }
    }

    /// May the older object be what the new one is, with all that both lead to? If so, the
    /// assignment has them. What is left to compare is a list, not a recursion: the program's
    /// data may be nested without end.
    pub(super) fn unify(&mut self, assignment: &mut Assignment, guess: Guess) -> Result<bool> {
        let start = self.pending.len();
        self.pending.try_push(guess)?;
        while let Some(guess) = self.pending.get(start..).and_then(<[_]>::last).copied() {
            self.pending.pop();
            if !self.unify_one(assignment, guess)? {
                self.pending.truncate(start);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same without what they lead to, which becomes pending.
    fn unify_one(&mut self, assignment: &mut Assignment, guess: Guess) -> Result<bool> {
        let Guess { new, old, place } = guess;
        let (new_val, old_val) = (self.vm.val(new), self.vm.val(old));
        if new_val.kind != old_val.kind {
            return Ok(false);
        }
        if let Some(known) = assignment.old(new_val.addr) {
            if self.vm.val(known) != old_val {
                return Ok(false);
            }
            if new_val.is_function() && self.is_own(new)? {
                assignment.places.try_push((place, old, new))?;
            }
            return Ok(true);
        }
        if assignment.by_old.contains(&old_val.addr) || self.is_new(old_val) {
            return Ok(false);
        }
        assignment.assign(self.vm, new, old)?;
        match new_val.kind {
            Kind::Function => self.unify_functions(assignment, guess),
            Kind::Table => self.unify_tables(assignment, new, old),
            Kind::Thread => self.unify_threads(new_val.addr, old),
            _ => Ok(false),
        }
    }

    fn unify_functions(&mut self, assignment: &mut Assignment, guess: Guess) -> Result<bool> {
        let Guess { new, old, place } = guess;
        let (own_new, own_old) = (self.is_own(new)?, self.is_own(old)?);
        if own_new || own_old {
            if !own_new || !own_old {
                return Ok(false);
            }
            let likeness = match self.names.likeness(
                self.vm,
                self.ownership,
                self.made,
                self.sources,
                (new, old),
            )? {
                Some(MatchStrength::Code) => self.by_captured(new, old)?,
                likeness => likeness,
            };
            let Some(likeness) = likeness else {
                return Ok(false);
            };
            assignment.guesses += u32::from(likeness == MatchStrength::Any);
            assignment.score += score(likeness);
            assignment.lines += self
                .vm
                .info(old)?
                .map_or(0, |info| u64::from(info.line.unsigned_abs()));
            assignment.places.try_push((place, old, new))?;
            return Ok(true);
        }
        let (Some(a), Some(b)) = (self.vm.info(new)?, self.vm.info(old)?) else {
            return Ok(false);
        };
        let codes = (self.vm.is_c_function(new), self.vm.is_c_function(old));
        let is_one = match codes {
            (None, None) => {
                let (edits, lineage) = (&mut self.names.edits, self.sources.lineage);
                edits.is_one(self.vm, lineage, new, old)?
            }
            (new, old) => new == old && a.upvalues == b.upvalues,
        };
        if !is_one {
            return Ok(false);
        }
        for i in 1..=a.upvalues {
            // What only one version of the code has is not compared.
            let Some(j) = self.upvalue_in(old, b, (new, i, a)) else {
                continue;
            };
            if a.lua && self.vm.cell(new, i) == self.vm.cell(old, j) {
                continue;
            }
            let held = Guess {
                new: self.vm.upvalue_value(new, i)?,
                old: self.vm.upvalue_value(old, j)?,
                place: Spotted::At(Place::Upvalue {
                    function: old,
                    index: j,
                }),
            };
            if !self.value_later(assignment, held, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What closures of equal code, or of one definition, have captured and no code assigns: do
    /// they agree, or are they two? A string that the file no longer has was edited, and tells
    /// nothing; nor does any number once the file was edited. Strings that agree come before those
    /// that differ. For example the closures of `for _, name in ipairs { "a", "b" } do
    /// bus.on(function() say(name) end) end`.
    fn by_captured(&mut self, new: Ref, old: Ref) -> Result<Option<MatchStrength>> {
        let unknown = Ok(Some(MatchStrength::Code));
        let (Some(a), Some(b)) = (self.vm.info(new)?, self.vm.info(old)?) else {
            return unknown;
        };
        let Some((constants, is_edited)) = self.names.constants_of(self.vm, new)? else {
            return unknown;
        };
        let (mut differs, mut agrees) = (false, false);
        for i in constants {
            let Some(j) = self.upvalue_in(old, b, (new, i, a)) else {
                continue;
            };
            let mark = self.vm.held();
            let (new, old) = (
                self.vm.upvalue_value(new, i)?,
                self.vm.upvalue_value(old, j)?,
            );
            let (kind, is_same) = (self.vm.kind(new), self.vm.same(new, old));
            let is_text = kind == Kind::String;
            if kind == self.vm.kind(old) && (is_text || kind == Kind::Number) {
                let chunk = self.sources.chunk.filter(|_| is_text);
                let is_in_file = chunk.is_some_and(|chunk| {
                    let has = |text: &[u8]| chunk.has_name(text, self.vm.secret());
                    self.vm.with_bytes(old, has) == Some(true)
                });
                agrees |= is_same && is_text;
                differs |= !is_same && (is_in_file || !is_edited);
            }
            self.vm.release(mark);
        }
        Ok(match (agrees, differs) {
            (_, true) if !is_edited => None,
            (true, _) => Some(MatchStrength::Name),
            (false, true) => None,
            (false, false) => Some(MatchStrength::Code),
        })
    }

    /// Which upvalue of an older closure a newer one's is: by its name, if the code is of another
    /// version.
    fn upvalue_in(&self, old: Ref, is: Info, (new, i, other): (Ref, u8, Info)) -> Option<u8> {
        if is == other || !is.lua {
            return Some(i);
        }
        self.vm.with_upvalue_name(new, i, |name| {
            (1..=is.upvalues).find(|j| self.vm.with_upvalue_name(old, *j, |other| other == name))
        })
    }

    /// The module's object is the module's object, whatever data it has by now: its functions tell
    /// it.
    fn unify_objects(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<bool> {
        let mut alike = false;
        for KeyValue { key, value } in self.vm.keep_entries(new)?.iter() {
            let there = self.vm.get(old, key)?;
            let both = [value, there].map(|function| self.vm.val(function));
            if both[0] == both[1] {
                alike |= self.is_new(both[0]); // an earlier repeat of this load has put it there
                continue;
            }
            if both.iter().all(|val| val.is_function())
                && self.is_new(both[0])
                && self.is_own(value)?
            {
                let mark = assignment.mark();
                let fits = self.unify(assignment, Guess::in_table(value, there, old, key))?;
                alike |= fits;
                if !fits {
                    assignment.back(self.vm, mark);
                }
            }
        }
        Ok(alike)
    }

    fn unify_tables(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<bool> {
        if self.vm.same(old, self.sources.running)
            && self.given.tables.contains(&self.vm.val(new).addr)
        {
            let mark = assignment.mark();
            if self.unify_objects(assignment, new, old)? {
                return Ok(true);
            }
            assignment.back(self.vm, mark);
        }
        let (metatable, other) = (self.vm.metatable(new)?, self.vm.metatable(old)?);
        let (m, o) = (self.vm.val(metatable), self.vm.val(other));
        if m.is_nil() != o.is_nil() || !m.is_nil() && !self.is_new(m) && m != o {
            return Ok(false);
        }
        let entries = self.vm.keep_entries(new)?;
        let in_given = self.given.nested.contains(&self.vm.val(new).addr);
        // What is no object tells two records apart soonest: the event's name.
        let cheap_first = entries.iter().map(|entry| (false, entry));
        let by_cost = cheap_first.chain(entries.iter().map(|entry| (true, entry)));
        for (is_dear, entry) in by_cost {
            let KeyValue { key, value } = entry;
            if is_dear != (self.is_new(self.vm.val(key)) || Self::is_object(self.vm.val(value))) {
                continue;
            }
            if self.is_new(self.vm.val(key)) {
                if !self.unify_under_key(assignment, entry, old)? {
                    return Ok(false);
                }
                continue;
            }
            let there = self.vm.get(old, key)?;
            let val = self.vm.val(value);
            if self.is_new(val) && self.vm.same(value, there) {
                // An earlier repeat of this load has put it there. A record with what this call was
                // given is that one's.
                let mut given = self.given.held.iter();
                if self.vm.same(old, self.sources.running)
                    || !given.any(|given| self.vm.same(*given, value))
                {
                    continue;
                }
            }
            if self.vm.integer(key).is_some()
                && let Some(known) = assignment.old(val.addr)
                && self.has_element(old, known)?
            {
                continue; // an index in a list is no name
            }
            if self.vm.val(there).is_nil() {
                if in_given && self.latitude == Latitude::Data && self.is_new(val) {
                    continue; // the file has added it
                }
                let is_link = Self::is_object(val) && !self.is_new(val) && !self.is_given(value);
                if val.kind == Kind::Boolean || is_link {
                    continue;
                }
            }
            let in_table = Guess::in_table(value, there, old, key);
            if val.kind == Kind::Number && self.is_made(&entries, old, value, there)? {
                assignment.scalars.try_push((value, there))?;
                continue;
            }
            if !self.value_later(assignment, in_table, in_given)? {
                return Ok(false);
            }
        }
        if in_given {
            self.compare_ends(assignment, new, old)?;
        }
        if !m.is_nil() && self.is_new(m) {
            self.pending.try_push(Guess {
                new: metatable,
                old: other,
                place: Spotted::Nowhere,
            })?;
        }
        Ok(true)
    }

    /// Did the callee make a number that equals one that it was given? The older table has the
    /// given one as often under other keys as the call was given it: `{ prio = 5, id = 5 }`, of
    /// which the older one is `{ prio = 5, id = 3 }`.
    fn is_made(
        &mut self,
        entries: &Kept<KeyValue>,
        old: Ref,
        number: Ref,
        there: Ref,
    ) -> Result<bool> {
        if self.vm.same(number, there) || self.vm.kind(there) != Kind::Number {
            return Ok(false);
        }
        let same = |vm: &Vm, other: Ref| vm.same(other, number);
        let given = self.given.times(self.vm, number);
        let mut agreeing = 0;
        for KeyValue { key, value } in entries.iter() {
            if same(self.vm, value) {
                let there = self.vm.get(old, key)?;
                agreeing += usize::from(same(self.vm, there));
            }
        }
        Ok(given > 0 && agreeing >= given)
    }

    /// Does the list of an older table hold an object?
    fn has_element(&mut self, table: Ref, object: Ref) -> Result<bool> {
        let length = u32::try_from(self.vm.raw_len(table)).unwrap_or(u32::MAX);
        for i in 1..=length {
            let mark = self.vm.held();
            let element = self.vm.element(table, i)?;
            let is_it = self.vm.same(element, object);
            self.vm.release(mark);
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A list that was given may be shorter than the older one.
    fn compare_ends(&mut self, assignment: &mut Assignment, new: Ref, old: Ref) -> Result<()> {
        let length = self.vm.raw_len(new);
        if assignment.differs.is_none() && self.vm.raw_len(old) > length {
            let rest = self
                .vm
                .element(old, u32::try_from(length + 1).unwrap_or(u32::MAX))?;
            if !Self::is_object(self.vm.val(rest)) && !self.is_on_record(old) {
                assignment.differs = Some((rest, Ref::NIL));
            }
        }
        Ok(())
    }

    /// An entry under a new object: some older one of the table has it.
    fn unify_under_key(
        &mut self,
        assignment: &mut Assignment,
        new: KeyValue,
        old: Ref,
    ) -> Result<bool> {
        if self.nested == MOST_NESTED {
            self.cut = Some((
                "only {} tables that are keys of tables were compared, one in the other; guard the \
                 call with hotreload.reloading() (R5.5)",
                MOST_NESTED as usize,
            ));
            return Ok(false);
        }
        self.nested += 1;
        let found = self.find_under_key(assignment, new, old);
        self.nested -= 1;
        found
    }

    fn find_under_key(
        &mut self,
        assignment: &mut Assignment,
        new: KeyValue,
        old: Ref,
    ) -> Result<bool> {
        for KeyValue { key, value } in self.vm.keep_entries(old)?.iter() {
            let mark = assignment.mark();
            let as_key = Guess {
                new: new.key,
                old: key,
                place: Spotted::Key(old),
            };
            if self.unify(assignment, as_key)?
                && self.value(assignment, Guess::in_table(new.value, value, old, key))?
            {
                return Ok(true);
            }
            assignment.back(self.vm, mark);
        }
        Ok(false)
    }

    fn unify_threads(&mut self, new: usize, old: Ref) -> Result<bool> {
        let Some(function) = self.threads.get(&new).copied() else {
            return Ok(false);
        };
        let Some((other, has_begun)) = self.vm.body_of(old)? else {
            return Ok(false);
        };
        if has_begun && self.is_own(function)? {
            // An activation goes on with the code with which it began.
            return Ok(self.is_own(other)?
                && self
                    .names
                    .likeness(
                        self.vm,
                        self.ownership,
                        self.made,
                        self.sources,
                        (function, other),
                    )?
                    .is_some());
        }
        self.pending.try_push(Guess {
            new: function,
            old: other,
            place: Spotted::Nowhere,
        })?;
        Ok(true)
    }
}

pub(super) fn score(likeness: MatchStrength) -> u32 {
    match likeness {
        MatchStrength::Name => 9,
        MatchStrength::Code => 8,
        MatchStrength::Any => 5,
    }
}

pub(super) fn are_same_but_digits(vm: &Vm, a: Ref, b: Ref) -> bool {
    let both = vm.with_bytes(a, |a| vm.with_bytes(b, |b| same_but_digits(a, b)));
    both.flatten().unwrap_or(false)
}

/// Are two strings the same but for the numbers in them? What the callee numbers is one name:
/// `"h12"` and `"h7"`, `"table: 0x55d0"` and `"table: 0x9af1"`.
pub(super) fn same_but_digits(mut a: &[u8], mut b: &[u8]) -> bool {
    loop {
        if pass_number(&mut a) != pass_number(&mut b) {
            return false;
        }
        match (a.split_off_first(), b.split_off_first()) {
            (None, None) => return true,
            (x, y) if x == y => {}
            _ => return false,
        }
    }
}

/// Passes by a number with which a text begins. How it is written: 10, 16, or 0 for none.
fn pass_number(text: &mut &[u8]) -> u32 {
    let digits = |text: &[u8], base: u32| {
        let is_digit = |byte: &u8| char::from(*byte).is_digit(base);
        text.iter()
            .position(|byte| !is_digit(byte))
            .unwrap_or(text.len())
    };
    let base = match text.strip_prefix(b"0x") {
        Some(rest) if digits(rest, 16) > 0 => {
            *text = rest;
            16
        }
        _ => 10,
    };
    let count = digits(text, base);
    *text = text.get(count..).unwrap_or_default();
    if count > 0 { base } else { 0 }
}
