//! What an older object may be that a new one answers to: what stands in the place, or elsewhere.

use std::hash::Hash;

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::OlderRegistration;
use super::super::names::{FunctionNames, MatchStrength};
use super::super::past::{SMALL, Spot, Write};
use super::unify::score;
use super::{
    DEPTH, EntryList, FEW, HeldValue, Holders, InOrder, Latitude, MOST_BEHIND, MOST_LINKS,
    MOST_LOOKED_AT, Search, SearchReason, Spotted, StandingFunction,
};
use crate::code::Digest;
use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

impl Search<'_> {
    /// Entries of a remembered table, as they were before the call, which were there before the
    /// load; those that have functions of the module's own, or, in a small table, all.
    pub(super) fn candidates(
        &mut self,
        table: u32,
        writes: &[Write],
        new: Ref,
        fits: impl Fn(&Vm, Ref, Ref) -> bool,
    ) -> Result<Vec<(Ref, Ref)>> {
        let mut found = Vec::new();
        if self.past.len(table) <= SMALL {
            let mut before: FxHashMap<Spot, Ref> = FxHashMap::default();
            for write in writes {
                before.try_insert_value(write.spot, write.old)?;
            }
            for (slot, key, now) in self.past.entries(table) {
                let value = before.get(&Spot::Slot(table, slot)).copied().unwrap_or(now);
                found.try_push((key, value))?;
            }
        } else {
            let is_data = self.vm.kind(new) == Kind::Table && !self.belongs(new, DEPTH)?;
            self.find_holders(table, is_data)?;
            let some = self.narrowed((table, is_data), new)?;
            if let Some(holders) = self.holders.get(&(table, is_data)) {
                let count = some.as_ref().map_or(holders.entries.len(), Vec::len);
                found.try_reserve(count)?;
                match &some {
                    Some(some) => {
                        found.extend(some.iter().filter_map(|i| holders.entries.get(*i as usize)))
                    }
                    None => found.extend_from_slice(&holders.entries),
                }
            }
        }
        let (vm, made) = (&*self.vm, self.made);
        let is_old = |vm: &Vm, r: Ref| {
            let val = vm.val(r);
            !(matches!(val.kind, Kind::Table | Kind::Function) && made.created(val.addr))
        };
        found.retain(|(key, value)| {
            !vm.val(*value).is_nil()
                && is_old(vm, *key)
                && is_old(vm, *value)
                && fits(vm, *key, *value)
        });
        if self.past.len(table) <= SMALL {
            found.sort_by_key(|(key, _)| vm.integer(*key));
        }
        // The caller wants value before key.
        for pair in &mut found {
            *pair = (pair.1, pair.0);
        }
        Ok(found)
    }

    /// Finds the entries of a large table that hold functions of the module's own, once; or, for
    /// data, all records.
    fn find_holders(&mut self, table: u32, is_data: bool) -> Result<()> {
        if self.holders.contains_key(&(table, is_data)) {
            return Ok(());
        }
        self.names.prepare(self.vm, self.ownership, self.sources)?;
        let mut holders = Holders::default();
        let mut entries = collected(
            self.past
                .entries(table)
                .map(|(_, key, value)| Ok((key, value))),
        )?;
        let vm = &*self.vm;
        entries.sort_by_key(|(key, _)| vm.integer(*key));
        for (key, value) in entries {
            let mut both = [key, value].into_iter();
            if both.any(|object| self.made.created(self.vm.val(object).addr)) {
                continue; // what the load has put there answers to nothing
            }
            let mut functions = Vec::new();
            let has_key = self.own_functions(key, 0, Some(&mut functions))?;
            let is_row = is_data && self.vm.kind(value) == Kind::Table;
            if !self.own_functions(value, DEPTH, Some(&mut functions))? && !has_key && !is_row {
                continue;
            }
            let entry = holders.entries.len() as u32;
            holders.entries.try_push((key, value))?;
            let mut lines = 0;
            for function in &functions {
                let line = self.vm.line(*function).unwrap_or_default();
                lines += u64::from(line.unsigned_abs());
            }
            holders.lines.try_push(lines)?;
            for function in functions {
                holders.functions.try_push((function, entry))?;
                let current = self.names.current(self.vm, self.sources.lineage, function);
                add_under(&mut holders.by_function, current, entry)?;
            }
            self.add_values(&mut holders, value, entry)?;
        }
        self.holders.try_insert_value((table, is_data), holders)?;
        Ok(())
    }

    /// Has a value that was given to stand in the older record as well?
    fn tells(val: Val) -> bool {
        Self::is_object(val) || matches!(val.kind, Kind::String | Kind::Number)
    }

    /// Adds an entry under the values that it holds, and that tables in it hold.
    fn add_values(&mut self, holders: &mut Holders, record: Ref, entry: u32) -> Result<()> {
        let mark = self.vm.held();
        let mut tables = Vec::new();
        tables.try_push(record)?;
        for by_value in &mut holders.by_value {
            let (mut left, mut inner) = (MOST_LOOKED_AT, Vec::new());
            for table in tables {
                // The module's object may be the file's, whatever stands in it.
                if self.vm.same(table, self.sources.running) {
                    left = 0;
                }
                let entries = self.vm.keep_some(table, left)?;
                left -= entries.len() as usize;
                for held in entries.values() {
                    if self.vm.kind(held) == Kind::Table {
                        inner.try_push(held)?;
                    }
                    if Self::tells(self.vm.val(held)) {
                        add_under(&mut by_value.with, self.vm.key_hash(held), entry)?;
                    }
                }
            }
            if left == 0 {
                by_value.large.try_push(entry)?;
            }
            tables = inner;
        }
        self.vm.release(mark);
        Ok(())
    }

    /// Of the values that a new object was given, and that the older one holds as well, the one
    /// that the fewest entries hold: it tells most.
    fn rarest(&mut self, table: (u32, bool), new: Ref) -> Result<Option<HeldValue>> {
        let mut rarest: Option<(usize, HeldValue)> = None;
        let mut tables = Vec::new();
        tables.try_push(new)?;
        for level in 0..2 {
            let mut inner = Vec::new();
            for table_of in tables {
                for value in self.vm.keep_some(table_of, SMALL)?.values() {
                    let val = self.vm.val(value);
                    if val.is_table() && self.is_new(val) {
                        inner.try_push(value)?;
                    }
                    let tells = Self::tells(val)
                        && self.is_given(value)
                        && !self.may_differ(value, self.latitude >= Latitude::Data);
                    let holders = self.holders.get(&table);
                    if let Some(holders) = holders.filter(|_| tells) {
                        let held = (level, self.vm.key_hash(value));
                        let count = holders.with(held).len() + holders.large(level).len();
                        if rarest.is_none_or(|(least, _)| count < least) {
                            rarest = Some((count, held));
                        }
                    }
                }
            }
            tables = inner;
        }
        Ok(rarest.map(|(_, held)| held))
    }

    /// Is an older function looked for by its name and code alone?
    fn is_by_code(&self) -> bool {
        self.narrow || self.latitude == Latitude::Data
    }

    /// Those of a large table's entries with functions of the module's own that may be what a new
    /// object is; none for all.
    fn narrowed(&mut self, table: (u32, bool), new: Ref) -> Result<Option<Vec<u32>>> {
        let rarest = match self.vm.kind(new) {
            Kind::Table => self.rarest(table, new)?,
            _ => None,
        };
        if self.few
            && let Some(few) = self.first_few(table, rarest, new)?
        {
            return Ok(Some(few));
        }
        if let Some(value) = rarest
            && let Some(holders) = self.holders.get(&table)
        {
            let mut some = copied(holders.with(value))?;
            add_all(&mut some, holders.large(value.0))?;
            some.sort_unstable();
            return Ok(Some(some));
        }
        if table.1 && self.is_loose() {
            return Ok(Some(Vec::new())); // a row with other numbers is another row
        }
        if !self.is_by_code() {
            return Ok(None);
        }
        let mut functions = Vec::new();
        self.own_functions(new, DEPTH, Some(&mut functions))?;
        let mut some: Vec<u32> = Vec::new();
        for function in functions {
            let likely =
                self.names
                    .likely(self.vm, self.ownership, self.made, self.sources, function)?;
            let Some(holders) = self.holders.get_mut(&table) else {
                continue;
            };
            for address in &likely {
                add_all(&mut some, under(&holders.by_function, address))?;
            }
            if likely.is_empty() {
                let digest = self.names.former_code(self.vm, function)?;
                let by_digest = holders.by_digest(self.vm, self.names)?;
                if let Some(digest) = digest {
                    add_all(&mut some, under(by_digest, &digest))?;
                }
            }
        }
        some.sort_unstable();
        some.dedup();
        self.narrowed = true;
        Ok(Some(some))
    }

    /// Where very many entries of a large table may be what a new object is, the first ones of
    /// those that may be the best: by the names of its functions, by their code, and in the order
    /// of the file. An entry whose functions have answers is none of a function that has none. None
    /// where there are not so many.
    fn first_few(
        &mut self,
        table: (u32, bool),
        value: Option<HeldValue>,
        new: Ref,
    ) -> Result<Option<Vec<u32>>> {
        let Some(holders) = self.holders.get(&table) else {
            return Ok(None);
        };
        let list = match value {
            Some(value) => EntryList::With(value),
            None => EntryList::All,
        };
        let count = value.map_or(holders.entries.len(), |value| holders.with(value).len());
        // What holds too much may hold whatever value is looked for.
        if count <= FEW || value.is_some_and(|(level, _)| !holders.large(level).is_empty()) {
            return Ok(None);
        }
        let mut functions = Vec::new();
        self.own_functions(new, DEPTH, Some(&mut functions))?;
        let answers = &self.names.answers;
        let is_answered = |function: &Ref| answers.contains_key(&self.vm.val(*function).addr);
        let is_answered = functions.iter().any(is_answered);
        if functions.is_empty() || is_answered && value.is_some() {
            return Ok(None);
        }
        let by_code_alone = self.is_by_code() && value.is_none();
        let (mut some, mut most, mut is_cut) = (Vec::new(), 0, false);
        for function in &functions {
            let likely =
                self.names
                    .likely(self.vm, self.ownership, self.made, self.sources, *function)?;
            let digest = self.names.former_code(self.vm, *function)?;
            let Some(holders) = self.holders.get_mut(&table) else {
                continue;
            };
            for address in &likely {
                let list = EntryList::Function(*address);
                is_cut |= holders.first_of(self.vm, self.names, self.repeated, list, &mut some)?;
            }
            if is_answered {
                most += score(MatchStrength::Name);
                continue;
            }
            let by_digest = holders.by_digest(self.vm, self.names)?;
            let code = digest.filter(|digest| by_digest.contains_key(digest));
            most += score(match code {
                _ if !likely.is_empty() => MatchStrength::Name,
                Some(_) => MatchStrength::Code,
                None => MatchStrength::Any,
            });
            if let Some(code) = code {
                let code = EntryList::Code(code);
                is_cut |= holders.first_of(self.vm, self.names, self.repeated, code, &mut some)?;
            }
        }
        let with_all = !by_code_alone && !is_answered;
        if let Some(holders) = self.holders.get_mut(&table).filter(|_| with_all) {
            is_cut |= holders.first_of(self.vm, self.names, self.repeated, list, &mut some)?;
        }
        some.sort_unstable();
        some.dedup();
        self.narrowed |= by_code_alone;
        if is_cut {
            self.left_out = Some((most, functions.len()));
        }
        Ok(Some(some))
    }

    /// Older objects of a kind in a chain that begins at `start`: a linked list, a closure over the
    /// one before.
    pub(super) fn behind(
        &mut self,
        start: Ref,
        kind: Kind,
        found: &mut Vec<(Ref, Ref)>,
    ) -> Result<()> {
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut queue = Vec::new();
        queue.try_push(start)?;
        let (mut next, is_first) = (0, found.is_empty());
        while let Some(at) = queue.get(next).copied() {
            next += 1;
            let val = self.vm.val(at);
            if !Self::is_object(val) || self.is_new(val) {
                continue;
            }
            if next > MOST_BEHIND {
                self.cut = Some((
                    "only the first {} objects of a chain were compared with what it adds there; \
                     guard it with hotreload.reloading() (R5.5)",
                    MOST_BEHIND,
                ));
                break;
            }
            if seen.try_insert_value(val.addr, ())?.is_some() {
                continue;
            }
            if val.kind == kind && (is_first || next > 1) {
                found.try_push((at, Ref::NIL))?;
            }
            match val.kind {
                Kind::Table => {
                    let entries = self.vm.keep_some(at, MOST_LINKS)?;
                    if entries.len() as usize == MOST_LINKS {
                        self.cut = Some((
                            "only the first {} entries of a table were searched for a chain in it; \
                             guard the call with hotreload.reloading() (R5.5)",
                            MOST_LINKS,
                        ));
                    }
                    for value in entries.values() {
                        if matches!(self.vm.kind(value), Kind::Table) || self.vm.kind(value) == kind
                        {
                            queue.try_push(value)?;
                        }
                    }
                }
                Kind::Function if self.vm.is_c_function(at).is_none() && !self.is_own(at)? => {
                    let upvalues = self.vm.info(at)?.map_or(0, |info| info.upvalues);
                    for i in 1..=upvalues {
                        if self
                            .vm
                            .upvalue(at, i)
                            .is_some_and(|upvalue| upvalue.value.kind == kind)
                        {
                            queue.try_push(self.vm.upvalue_value(at, i)?)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Older objects of a linked list at whose end a call has put something, under this
    /// key: those that the callee could walk over.
    pub(super) fn linked(&mut self, key: Ref) -> Result<Vec<(Ref, Ref)>> {
        let mut found = Vec::new();
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        for number in self.touched {
            let link = self.past.table(*number);
            let next = self.vm.get(link, key)?;
            if !self.vm.val(next).is_table() {
                continue;
            }
            for object in [link, next] {
                let val = self.vm.val(object);
                if !self.is_new(val)
                    && !self.repeated.contains(&val.addr)
                    && seen.try_insert_value(val.addr, ())?.is_none()
                {
                    found.try_push((object, Ref::NIL))?;
                }
            }
        }
        Ok(found)
    }

    /// Is it a function of the module's own, or a record or wrapper of one?
    pub fn belongs(&mut self, value: Ref, depth: u32) -> Result<bool> {
        let mark = self.vm.held();
        let belongs = self.own_functions(value, depth, None);
        self.vm.release(mark);
        belongs
    }

    /// The same; where there is a list, it gets all functions of the module's own that are found.
    fn own_functions(
        &mut self,
        value: Ref,
        depth: u32,
        mut list: Option<&mut Vec<Ref>>,
    ) -> Result<bool> {
        let mut found = false;
        match self.vm.kind(value) {
            Kind::Function => {
                if self.vm.is_c_function(value).is_some() {
                    return Ok(false);
                }
                if self.is_own(value)? {
                    if let Some(list) = list {
                        list.try_push(value)?;
                    }
                    return Ok(true);
                }
                let upvalues = self.vm.info(value)?.map_or(0, |info| info.upvalues);
                for i in (1..=upvalues).filter(|_| depth > 0) {
                    let held = self
                        .vm
                        .upvalue(value, i)
                        .map_or(Kind::Nil, |upvalue| upvalue.value.kind);
                    if matches!(held, Kind::Function | Kind::Table) {
                        let held = self.vm.upvalue_value(value, i)?;
                        found |= self.own_functions(held, depth - 1, list.as_deref_mut())?;
                    }
                    if found && list.is_none() {
                        break;
                    }
                }
            }
            Kind::Table if depth > 0 => {
                let entries = self.vm.keep_some(value, MOST_LOOKED_AT)?;
                if entries.len() as usize == MOST_LOOKED_AT {
                    self.cut = Some((
                        "only the first {} entries of a record were searched for functions of the \
                         module; guard the call with hotreload.reloading() (R5.5)",
                        MOST_LOOKED_AT,
                    ));
                }
                for KeyValue { key, value } in entries.iter() {
                    if self.vm.kind(key) == Kind::Function {
                        found |= self.own_functions(key, 0, list.as_deref_mut())?;
                    }
                    found |= self.own_functions(value, depth - 1, list.as_deref_mut())?;
                    if found && list.is_none() {
                        break;
                    }
                }
            }
            Kind::Thread => found = true,
            _ => {}
        }
        Ok(found)
    }

    /// The first entry without an answer, of the tables that a call writes to, that holds an older
    /// function to which one that the call was given answers by name or code.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn registered(&mut self, writes: &[Write]) -> Result<Option<OlderRegistration>> {
        for write in writes {
            let Spot::Slot(number, _) = write.spot else {
                continue;
            };
            let mut functions = Vec::new();
            self.own_functions(write.new, DEPTH, Some(&mut functions))?;
            let table = (number, false);
            if functions.iter().any(|new| self.is_new(self.vm.val(*new))) {
                self.find_holders(number, false)?;
            }
            for new in functions {
                let likely =
                    self.names
                        .likely(self.vm, self.ownership, self.made, self.sources, new)?;
                let digest = self.names.digest_of_new(self.vm, new)?;
                let Some(holders) = self.holders.get_mut(&table) else {
                    continue;
                };
                holders.by_digest(self.vm, self.names)?;
                let by_name = likely.into_iter().map(EntryList::Function);
                let mut some = Vec::new();
                for list in by_name.chain(digest.map(EntryList::Code)) {
                    holders.first_of(self.vm, self.names, self.repeated, list, &mut some)?;
                }
                let first = some.into_iter().min();
                let entry = first.and_then(|first| holders.entries.get(first as usize));
                if let Some((key, value)) = entry.copied() {
                    let at = self.past.table(number);
                    return Ok(Some(OlderRegistration::Entry(at, KeyValue { key, value })));
                }
            }
        }
        Ok(None)
    }

    /// The module's functions in a table and in its records to which one of the file's may answer:
    /// all that may, or those under keys that the call was given.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn standing(
        &mut self,
        table: u32,
        why: SearchReason,
        found: &mut Vec<StandingFunction>,
    ) -> Result<()> {
        let at = self.past.table(table);
        if self.vm.same(at, self.sources.globals) {
            return Ok(()); // everything stands behind it
        }
        let mut entries = Vec::new();
        if why == SearchReason::UnderGivenKeys {
            for key in &self.given.held {
                if self.vm.kind(*key) == Kind::String {
                    entries.try_push((*key, self.vm.get(at, *key)?))?;
                }
            }
        } else {
            entries = collected(
                self.past
                    .entries(table)
                    .map(|(_, key, value)| Ok((key, value))),
            )?;
        }
        for (key, value) in entries {
            let least = match (self.is_given(key), why) {
                (true, SearchReason::Refused | SearchReason::Recorded) => Some(MatchStrength::Any),
                (false, SearchReason::Recorded) => None,
                (_, SearchReason::Refused | SearchReason::UnderGivenKeys) => {
                    Some(MatchStrength::Code)
                }
            };
            let place = Place::Value { table: at, key };
            self.standing_in((place, value), (least, why), DEPTH, found)?;
        }
        Ok(())
    }

    fn standing_in(
        &mut self,
        (place, value): (Place, Ref),
        (least, why): (Option<MatchStrength>, SearchReason),
        depth: u32,
        found: &mut Vec<StandingFunction>,
    ) -> Result<()> {
        let val = self.vm.val(value);
        if self.is_new(val) {
            return Ok(());
        }
        if val.is_function() && self.vm.is_c_function(value).is_none() && self.is_own(value)? {
            if let Some(least) = least {
                let place = Spotted::At(place);
                found.try_push(StandingFunction {
                    place,
                    function: value,
                    least,
                })?;
            }
        } else if val.is_table() && depth > 0 {
            let entries = self.vm.keep_some(value, SMALL)?;
            let is_named = |held| self.vm.kind(held) == Kind::String && self.is_given(held);
            let least = match why {
                SearchReason::Refused | SearchReason::Recorded
                    if entries.values().any(is_named) =>
                {
                    Some(MatchStrength::Any)
                }
                _ => least,
            };
            for KeyValue { key, value: held } in entries.iter() {
                let place = Place::Value { table: value, key };
                self.standing_in((place, held), (least, why), depth - 1, found)?;
            }
        }
        Ok(())
    }

    /// Which of these a function of the file answers to: by name or code, or under a key that the
    /// call was given.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn stands_among(
        &mut self,
        standing: &[StandingFunction],
        new: Ref,
    ) -> Result<Option<(Spotted, Ref)>> {
        for one in standing {
            let likeness = self.names.likeness(
                self.vm,
                self.ownership,
                self.made,
                self.sources,
                (new, one.function),
            )?;
            if likeness >= Some(one.least) {
                return Ok(Some((one.place, one.function)));
            }
        }
        Ok(None)
    }
}

impl Holders {
    /// The entries that hold a value, where they do not hold too much.
    fn with(&self, (level, value): HeldValue) -> &[u32] {
        let by_value = self.by_value.get(level);
        by_value.map_or(&[], |by_value| under(&by_value.with, &value))
    }

    /// Those that hold too much.
    fn large(&self, level: usize) -> &[u32] {
        self.by_value.get(level).map_or(&[], |by| &by.large)
    }

    /// The entries by their functions' code.
    fn by_digest(
        &mut self,
        vm: &mut Vm,
        names: &mut FunctionNames,
    ) -> Result<&FxHashMap<Digest, Vec<u32>>> {
        if self.by_digest.is_none() {
            let mut by_digest = FxHashMap::default();
            for (function, entry) in &self.functions {
                if let Some(digest) = names.digest(vm, *function)? {
                    add_under(&mut by_digest, digest, *entry)?;
                }
            }
            self.by_digest = Some(by_digest);
        }
        Ok(self.by_digest.get_or_insert_default())
    }

    /// Adds the first few entries of a list, in the order of the file, that have functions without
    /// an answer. True where there are more.
    fn first_of(
        &mut self,
        vm: &Vm,
        names: &FunctionNames,
        repeated: &FxHashSet<usize>,
        of: EntryList,
        few: &mut Vec<u32>,
    ) -> Result<bool> {
        if !self.in_order.contains_key(&of) {
            let mut entries = match of {
                EntryList::All => collected((0..self.entries.len() as u32).map(Ok))?,
                EntryList::With(value) => copied(self.with(value))?,
                EntryList::Function(address) => copied(under(&self.by_function, &address))?,
                EntryList::Code(code) => {
                    let by_digest = self.by_digest.as_ref();
                    copied(by_digest.map_or(&[], |by_digest| under(by_digest, &code)))?
                }
            };
            entries.sort_unstable_by_key(|entry| (self.lines.get(*entry as usize), *entry));
            let in_order = InOrder { entries, next: 0 };
            self.in_order.try_insert_value(of, in_order)?;
        }
        let Some(list) = self.in_order.get_mut(&of) else {
            return Ok(false);
        };
        let (functions, entries) = (&self.functions, &self.entries);
        let is_answered = |entry: u32| {
            // A function may have more entries than one, a record has one.
            if let EntryList::Function(_) = of {
                let record = entries.get(entry as usize).map(|(_, value)| vm.val(*value));
                return record
                    .is_some_and(|record| record.is_table() && repeated.contains(&record.addr));
            }
            let start = functions.partition_point(|(_, known)| *known < entry);
            let own = functions.iter().skip(start);
            own.take_while(|(_, known)| *known == entry)
                .all(|(function, _)| names.is_answered(vm, *function))
        };
        let rest = list.entries.iter().skip(list.next);
        list.next += rest.take_while(|entry| is_answered(**entry)).count();
        let mut rest = list.entries.iter().skip(list.next);
        few.try_reserve(FEW)?;
        few.extend(
            rest.by_ref()
                .take(FEW)
                .filter(|entry| !is_answered(**entry)),
        );
        Ok(rest.next().is_some())
    }
}

fn add_all(some: &mut Vec<u32>, list: &[u32]) -> Result<()> {
    some.try_reserve(list.len())?;
    some.extend_from_slice(list);
    Ok(())
}

/// The list under a key.
fn under<'a, K: Eq + Hash>(map: &'a FxHashMap<K, Vec<u32>>, key: &K) -> &'a [u32] {
    map.get(key).map_or(&[], |list| list)
}

/// Appends to the list under a key.
pub(super) fn add_under<K: Eq + Hash>(
    map: &mut FxHashMap<K, Vec<u32>>,
    key: K,
    entry: u32,
) -> Result<()> {
    map.try_reserve(1)?;
    let list = map.entry(key).or_default();
    match list.last() {
        Some(last) if *last == entry => Ok(()),
        _ => list.try_push(entry),
    }
}
