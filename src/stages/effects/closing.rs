//! A call out of the module has ended: it is taken back as a repeat, or what it did is kept.

use rustc_hash::{FxHashMap, FxHashSet};

use super::both::BothDefinitions;
use super::former::ByText;
use super::names::NameSources;
use super::past::{Spot, Write};
use super::record::Recorded;
use super::repeat::{Assignment, Instead, Latitude, Search, SearchReason, Spotted};
use super::{
    Effects, Logged, MOST_GIVEN, MOST_SEARCHED, OlderRegistration, OpenCall, copied_text, record,
    text,
};
use crate::lua::calls::CallFrame;
use crate::lua::heap::Place;
use crate::lua::tracker::Creations;
use crate::lua::vm::{Kind, Ref, Vm};
use crate::lua::write;
use crate::support::error::Result;
use crate::support::fault;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, collected};

/// When a call that registers something was made.
#[derive(Clone, Copy)]
enum Registered {
    /// The last load made it as well.
    Before,
    /// In this load for the first time.
    Now,
}

impl Effects<'_> {
    /// A call out of the module has ended.
    pub(super) fn close(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        frame: Option<&CallFrame<'_>>,
        ending: Ending,
    ) -> Result<()> {
        fault::point()?;
        self.settle(vm)?;
        self.search_deeper(vm, made)?;
        let Some(mut call) = self.open.pop() else {
            return Ok(());
        };
        let writes = self.net(vm, std::mem::take(&mut call.writes))?;
        let raised = ending == Ending::Raised;
        if raised && call.yields {
            // It has noted that somebody waits, and nobody does.
            return self.put_back(vm, &writes);
        }
        let places = self.places_any(vm, made, &writes);
        let writes = match places {
            true => self.without_data(vm, &call, writes)?,
            false => writes,
        };
        let may_repeat = ending != Ending::Yielded && !call.loads && !call.whole;
        if may_repeat
            && !raised
            && writes.is_empty()
            && self.replace_standing(vm, made, &call, SearchReason::UnderGivenKeys)?
        {
            return Ok(()); // a registry that keeps what it has
        }
        if !may_repeat || !raised && !places {
            return self.keep(vm, made, call, writes, places);
        }
        if let Some(unknown) = writes
            .iter()
            .find(|write| !self.past.is_known(vm, write.spot))
        {
            let label = self.label(vm, made, &call)?;
            let (file, line) = &call.place;
            let count = vm.raw_len(match self.past.place(unknown.spot) {
                Place::Value { table, .. } => table,
                _ => Ref::NIL,
            });
            self.calls.warnings.try_push(format!(
                "{file}:{line}: {label} changed a list of {count} elements, too large to be \
                 compared, and its change stays; guard it with hotreload.reloading()"
            ))?;
            return self.keep(vm, made, call, writes, places);
        }
        if let Some(name) = &call.c_function {
            let name = copied_text(name)?;
            let label = self.label(vm, made, &call)?;
            self.calls.warnings.try_push(format!(
                "{name} ran within {label} and cannot be taken back, so what that call registers \
                 is registered again; guard it with hotreload.reloading()"
            ))?;
            self.calls.irrevocable.try_push(name)?;
            return self.keep(vm, made, call, writes, places);
        }
        if places && let Some(assignment) = self.find_repeat(vm, made, &mut call, &writes)? {
            return self.take_back(vm, made, frame, &call, &writes, &assignment);
        }
        let is_recorded = places && self.is_recorded(vm, made, &call)?;
        let was_made = places && self.was_made(vm, made, &call)?;
        if (raised || was_made)
            && self.replace_standing(
                vm,
                made,
                &call,
                if raised {
                    SearchReason::Refused
                } else {
                    SearchReason::Recorded
                },
            )?
        {
            return self.put_back(vm, &writes);
        }
        if let Some((text, number)) = call.cut {
            let place = self.place_of_call(vm, made, &call)?;
            vm.limits
                .note(text, number, Where::Named(place), is_recorded)?;
        }
        if is_recorded && self.is_removed(vm, made, &call, &writes)? {
            return self.put_back(vm, &writes);
        }
        self.keep(vm, made, call, writes, places)
    }

    /// Where a call was made, with its text.
    pub(super) fn place_of_call(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
    ) -> Result<String> {
        let label = self.label(vm, made, call)?;
        let (file, line) = &call.place;
        Ok(format!("{file}:{line}: {label}"))
    }

    fn put_back(&mut self, vm: &mut Vm, writes: &[Write]) -> Result<()> {
        writes
            .iter()
            .rev()
            .try_for_each(|write| self.put(vm, write.spot, write.old))
    }

    /// Does one of the writes place something of the load?
    fn places_any(&self, vm: &Vm, made: Creations<'_>, writes: &[Write]) -> bool {
        writes.iter().any(|write| {
            let key = self.past.key(write.spot).unwrap_or_default();
            self.is_new(made, vm.val(write.new)) || self.is_new(made, vm.val(key))
        })
    }

    /// Where the innermost call was given something of the load, and has put it nowhere where that
    /// is looked for, all that is remembered is looked at. For example a tree of routes finds
    /// its tables by parts of a path.
    fn search_deeper(&mut self, vm: &mut Vm, made: Creations<'_>) -> Result<()> {
        let Some(call) = self.open.last() else {
            return Ok(());
        };
        let given_new = call
            .given
            .held
            .iter()
            .any(|given| self.is_new(made, vm.val(*given)));
        let size = self.past.entries_in_all();
        if !given_new || self.places_any(vm, made, &call.writes) {
            return Ok(());
        }
        if self.searched + size > MOST_SEARCHED {
            return self.meet_limit(
                vm,
                made,
                "only the first {} entries were searched for what it registers, which may be \
                 registered again; guard it with hotreload.reloading() (R2.10)",
                MOST_SEARCHED,
            );
        }
        self.searched += size;
        for number in 0..self.past.counts().0 {
            let mut writes = Vec::new();
            if self.past.is_whole(number)
                && vm.val(self.past.table(number)) != vm.val(self.context.globals)
            {
                self.past.look_at_all(vm, number, &mut writes)?;
            }
            if !self.places_any(vm, made, &writes) {
                self.log_own(writes)?; // the chunk's own, as far as is known
            } else if let Some(call) = self.open.last_mut() {
                call.writes.try_reserve(writes.len())?;
                call.writes.extend(writes);
            }
        }
        Ok(())
    }

    /// What a call does besides placing plain data of the file's in tables of the module's own:
    /// that is data of the file's (R8), whatever becomes of the call.
    fn without_data(&mut self, vm: &Vm, call: &OpenCall, writes: Vec<Write>) -> Result<Vec<Write>> {
        let is_plain = |value| !Search::is_object(vm.val(value));
        let (mut data, mut rest) = (Vec::new(), Vec::new());
        let mut said = FxHashSet::default();
        for write in writes {
            let is_data = is_plain(write.old)
                && is_plain(write.new)
                && self.past.key(write.spot).is_some_and(is_plain)
                && self.is_said(vm, call, &write)
                && self.theirs(vm, write.spot, true)? == Some(false);
            if is_data {
                said.try_insert_value(write.spot, ())?;
                data.try_push(write)?;
            } else {
                rest.try_push(write)?;
            }
        }
        if !data.is_empty() {
            self.log.try_push(Logged::Kept {
                writes: data,
                places: false,
                said,
            })?;
        }
        Ok(rest)
    }

    /// One write for each place: what stood there before the call, and what stands there now.
    fn net(&self, vm: &Vm, writes: Vec<Write>) -> Result<Vec<Write>> {
        let mut at: FxHashMap<Spot, usize> = FxHashMap::default();
        let mut net: Vec<Write> = Vec::new();
        for write in writes {
            match at.get(&write.spot).and_then(|i| net.get_mut(*i)) {
                Some(first) => first.new = write.new,
                None => {
                    at.try_insert_value(write.spot, net.len())?;
                    net.try_push(write)?;
                }
            }
        }
        net.retain(|write| !vm.same(write.old, write.new));
        Ok(net)
    }

    /// Lets `look` search among what was there before.
    fn searching<T>(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        look: impl FnOnce(&mut Search<'_>) -> Result<T>,
    ) -> Result<T> {
        self.read_definitions(vm)?;
        let sources = NameSources {
            globals: self.context.globals,
            running: self.context.running,
            snapshot: self.snapshot,
            chunk: self.chunk,
            chunk_at: self.chunk_at,
            lineage: self.lineage,
        };
        look(&mut Search {
            vm,
            past: &self.past,
            ownership: self.ownership,
            names: &mut self.names,
            sources: &sources,
            made,
            threads: &self.threads,
            given: &call.given,
            touched: &call.touched,
            latitude: Latitude::Nothing,
            anchors: FxHashSet::default(),
            under_given_keys: false,
            holders: &mut self.holders,
            narrow: false,
            narrowed: false,
            few: false,
            left_out: None,
            several: false,
            is_known: false,
            instead: Instead::Nothing,
            repeated: &self.repeated,
            pending: Vec::new(),
            nested: 0,
            cut: None,
        })
    }

    /// Reads the definitions of both texts, once.
    fn read_definitions(&mut self, vm: &mut Vm) -> Result<()> {
        if self.names.both.is_none() {
            let former = self.former_version(vm)?;
            let both = former.map(|former| BothDefinitions::of(vm, self.file, &former));
            self.names.both = Some(both.transpose()?.flatten().map(Box::new));
        }
        Ok(())
    }

    /// The older registration that a call repeats.
    fn find_repeat(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &mut OpenCall,
        writes: &[Write],
    ) -> Result<Option<Assignment>> {
        self.read_definitions(vm)?;
        call.given.find_keys(vm, &self.past, writes)?;
        if call.label.is_none() && self.are_recorded(vm, call.function) {
            call.label = Some(self.label(vm, made, call)?);
        }
        call.is_new = self.gives_new_function(vm, made, call)?;
        call.by_text = match self.is_recorded(vm, made, call)? {
            true => ByText::Unknown,
            false => self.by_text(vm, call)?,
        };
        let (mut found, mut cut) = self.searching(vm, made, call, |search| {
            Ok((search.find(writes)?, search.cut))
        })?;
        let recorded = match found {
            Some(_) => Some(0),
            None => self.recorded_alike(vm, made, call)?,
        };
        let data = !call.given.tables.is_empty() || call.given.direct.len() > 1;
        let latitudes = match (recorded, data) {
            _ if found.is_some() => &[][..],
            (Some(0), true) => &[Latitude::Data],
            (Some(0), false) => &[],
            (_, true) => &[Latitude::Numbers, Latitude::Data],
            (_, false) => &[Latitude::Numbers],
        };
        if !latitudes.is_empty() {
            (found, cut) = self.searching(vm, made, call, |search| {
                (search.is_known, search.cut) = (recorded == Some(1), cut);
                search.under_given_keys = recorded == Some(0);
                let mut found = None;
                for latitude in latitudes {
                    search.latitude = *latitude;
                    found = search.find(writes)?;
                    if found.is_some() {
                        break;
                    }
                }
                Ok((found, search.cut))
            })?;
        }
        call.cut = cut.or_else(|| {
            let text = "only the first {} entries of each table that it is given were compared; \
                        guard it with hotreload.reloading() (R5.5)";
            call.given.is_cut.then_some((text, MOST_GIVEN))
        });
        Ok(found)
    }

    /// A call that stays, though an older one differs from it in its data and its function alone,
    /// or was given the same function: that one is told, unless another call answers to it. (Where
    /// the last load's calls are known, those are told that this one no longer makes.)
    fn look_for_older(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        writes: &[Write],
    ) -> Result<()> {
        if !writes.iter().any(|write| vm.val(write.old).is_nil()) {
            return Ok(());
        }
        let mut older = None;
        if call.given.names_data() {
            let found = self.searching(vm, made, call, |search| {
                search.latitude = Latitude::Code;
                search.find(writes)
            })?;
            if let Some(found) = found {
                let old = |(_, old): &(Ref, Ref)| Ok(vm.val(*old).addr);
                let objects = collected(found.pairs.iter().map(old))?;
                older = Some(OlderRegistration::Objects(objects));
            }
        }
        if older.is_none() {
            older = self.searching(vm, made, call, |search| search.registered(writes))?;
        }
        let Some(older) = older else { return Ok(()) };
        let (file, line) = &call.place;
        let label = self.label(vm, made, call)?;
        let text = format!(
            "{file}:{line}: {label} is registered once more, since what it is given has changed; \
             the older registration stays: take it out in __hotfix"
        );
        self.doubled.try_push((older, text))
    }

    /// A repeat: all that it changed is as before, and the file's functions stand where the
    /// module's did.
    fn take_back(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        frame: Option<&CallFrame<'_>>,
        call: &OpenCall,
        writes: &[Write],
        assignment: &Assignment,
    ) -> Result<()> {
        fault::point()?;
        self.put_back(vm, writes)?;
        fault::point()?;
        // The value under a key comes before the key: in `set[f] = f` both are replaced.
        let is_key = |place: &Spotted| matches!(place, Spotted::Key(_));
        for keys in [false, true] {
            let places = assignment.places.iter();
            for (place, old, new) in places.filter(|(place, ..)| is_key(place) == keys) {
                self.replace_at(vm, *place, *old, *new)?;
                self.names.pair(vm, *new, *old)?;
            }
        }
        for (new, old) in &assignment.pairs {
            self.repeated.try_insert_value(vm.val(*old).addr, ())?;
            let is_own = vm.val(*new).is_function() && self.ownership.has_function(vm, *new)?;
            // Of an older generation the current one is paired by its name.
            let is_own = is_own && self.names.current(vm, self.lineage, *old) == vm.val(*old).addr;
            if is_own
                || vm.kind(*new) == Kind::Thread
                || vm.val(*new).is_table() && call.given.tables.contains(&vm.val(*new).addr)
            {
                self.pairs.try_push((*new, *old))?;
            } else if vm.val(*new).is_table() {
                self.made.try_push((*new, *old))?;
            }
        }
        self.add_given(vm, call)?;
        if let Some(frame) = frame {
            self.give_older(vm, frame, call, assignment, writes)?;
        }
        let label = self.label(vm, made, call)?;
        let differs = assignment
            .differs
            .or_else(|| self.exchanged(vm, call, writes));
        if let Some((old, new)) = differs {
            let (file, line) = &call.place;
            let is_missing = |value| vm.val(value).is_nil();
            let (running, incoming) = (text::value(vm, old), text::value(vm, new));
            self.calls.warnings.try_push(if is_missing(old) {
                format!(
                    "{file}:{line}: {label} is registered already without {incoming}, which the \
                     file has: add it in __hotfix"
                )
            } else if is_missing(new) {
                format!(
                    "{file}:{line}: {label} is registered already with {running}, which the file \
                     has no longer: take it out in __hotfix"
                )
            } else {
                format!(
                    "{file}:{line}: {label} is registered already with {running}, the file has \
                     {incoming}; {running} stays: change it in __hotfix"
                )
            })?;
        }
        if call.by_text == ByText::Edited {
            self.take_former(vm, call);
        }
        if let Some(recorded) = &mut self.recorded {
            let line = record::line(&label, call.given.digest);
            let keys = || {
                let keys = call.given.keys.iter();
                collected(keys.map(|key| Ok(text::value(vm, *key))))
            };
            let is_known = recorded.rename(&line, (&self.names, &self.context.title), keys)?;
            if !is_known && call.by_text != ByText::Edited {
                self.note_taken(vm, made, call, writes)?;
            }
        }
        self.note(Registered::Before, call, label)
    }

    /// A value that stands under a key which the call was given, and another one that it was given
    /// for that place.
    fn exchanged(&self, vm: &Vm, call: &OpenCall, writes: &[Write]) -> Option<(Ref, Ref)> {
        let is_given = |value| {
            call.given.direct.contains(&vm.key_hash(value)) && !call.given.is_key(vm, value)
        };
        let is_it = |write: &&Write| {
            let key = self.past.key(write.spot);
            key.is_some_and(|key| call.given.is_key(vm, key))
                && !vm.val(write.old).is_nil()
                && !Search::is_object(vm.val(write.old))
                && is_given(write.new)
        };
        let found = writes.iter().find(is_it);
        found.map(|write| (write.old, write.new))
    }

    /// What the file gives is on record from now on (R8.4).
    fn add_given(&mut self, vm: &Vm, call: &OpenCall) -> Result<()> {
        for arg in call.args.iter() {
            if call.given.tables.contains(&vm.val(arg).addr) {
                self.given.try_push(arg)?;
            }
        }
        Ok(())
    }

    /// A registry may refuse what stands there already. Where a call that raised was given a
    /// function whose name or code stands in what it could read, that one gets the file's code;
    /// so where the last load made the call, and its entry has changed since. True if there was
    /// one.
    fn replace_standing(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        standing: SearchReason,
    ) -> Result<bool> {
        let found = self.searching(vm, made, call, |search| {
            let mut given = Vec::new();
            for function in &call.given.held {
                let val = search.vm.val(*function);
                if val.is_function() && search.is_new(val) && search.is_own(*function)? {
                    given.try_push(*function)?;
                }
            }
            let (mut functions, mut found) = (Vec::new(), Vec::new());
            for number in call.touched.iter().filter(|_| !given.is_empty()) {
                search.standing(*number, standing, &mut functions)?;
            }
            for function in given {
                if let Some((place, old)) = search.stands_among(&functions, function)? {
                    found.try_push((place, old, function))?;
                }
            }
            Ok(found)
        })?;
        for (place, old, new) in &found {
            self.replace_at(vm, *place, *old, *new)?;
            self.names.pair(vm, *new, *old)?;
            self.pairs.try_push((*new, *old))?;
        }
        if !found.is_empty() {
            let label = self.label(vm, made, call)?;
            if standing == SearchReason::Refused {
                self.calls.duplicates.try_push(copied_text(&label)?)?;
            }
            self.note(Registered::Before, call, label)?;
        }
        Ok(!found.is_empty())
    }

    /// A call that registers something.
    fn note(&mut self, registered: Registered, call: &OpenCall, label: String) -> Result<()> {
        let line = record::line(&label, call.given.digest);
        if let Some(recorded) = self.recorded.as_mut().filter(|_| !call.is_new) {
            recorded.take(&line);
        }
        self.calls.made.try_push((call.function, line))?;
        let list = match registered {
            Registered::Now => &mut self.calls.new,
            Registered::Before => &mut self.calls.repeated,
        };
        list.try_push(label)
    }

    /// Is it known which calls of a function the last load made?
    fn are_recorded(&self, vm: &Vm, function: Ref) -> bool {
        let callee = vm.val(function).addr;
        let knows = |recorded: &Recorded| recorded.functions.contains(&callee);
        self.recorded.as_ref().is_some_and(knows)
    }

    /// How many calls of this text, numbers apart, the last load made; 0 if as many calls of this
    /// load answer to them. None where it is not known which calls the last load made.
    fn recorded_alike(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
    ) -> Result<Option<u32>> {
        if call.by_text == ByText::New {
            return Ok(Some(0));
        }
        if !self.are_recorded(vm, call.function) {
            return Ok(None);
        }
        let label = self.label(vm, made, call)?;
        let recorded = self.recorded.as_mut();
        recorded
            .map(|recorded| recorded.made_alike(&label))
            .transpose()
    }

    /// Did the last load make the call, and this one not yet as often? What the text does not tell
    /// whole may have changed.
    fn is_recorded(&mut self, vm: &mut Vm, made: Creations<'_>, call: &OpenCall) -> Result<bool> {
        if !self.are_recorded(vm, call.function) {
            return Ok(false);
        }
        let label = self.label(vm, made, call)?;
        Ok(!call.is_new && self.has_line(&label, call) && !label.contains("{...}"))
    }

    /// Is the call given a function that only the file has, where the file has more such calls, or
    /// a closure that has captured a string which only the file has?
    fn gives_new_function(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
    ) -> Result<bool> {
        if !self.are_recorded(vm, call.function) {
            return Ok(false);
        }
        for function in &call.given.held {
            let val = vm.val(*function);
            if !val.is_function()
                || !self.is_new(made, val)
                || !self.ownership.has_function(vm, *function)?
            {
                continue;
            }
            let Some((constants, true)) = self.names.constants_of(vm, *function)? else {
                continue;
            };
            if self.names.is_only_in_file(vm, *function)? && self.has_more(vm, call)? {
                return Ok(true);
            }
            let both = self.names.texts();
            let former = both.and_then(|both| both.former_chunk.as_deref());
            let Some((file, former)) = self.chunk.zip(former) else {
                continue;
            };
            for index in constants {
                let mark = vm.held();
                let value = vm.upvalue_value(*function, index)?;
                let is_new = |name: &[u8]| {
                    file.has_name(name, vm.secret()) && !former.has_name(name, vm.secret())
                };
                let is_new = vm.with_bytes(value, is_new) == Some(true);
                vm.release(mark);
                if is_new {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The same, as far as the text of the call and what it is given tell.
    fn was_made(&mut self, vm: &mut Vm, made: Creations<'_>, call: &OpenCall) -> Result<bool> {
        if !self.are_recorded(vm, call.function) {
            return Ok(match call.by_text {
                ByText::MadeAlike => true,
                by_text => by_text == ByText::Made && call.given.tables.is_empty(),
            });
        }
        let label = self.label(vm, made, call)?;
        Ok(self.has_line(&label, call))
    }

    fn has_line(&self, label: &str, call: &OpenCall) -> bool {
        let line = record::line(label, call.given.digest);
        let recorded = self.recorded.as_ref();
        recorded.is_some_and(|recorded| recorded.has(&line))
    }

    /// The program has taken the entry of a recorded call away since. It stays away.
    fn is_removed(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        writes: &[Write],
    ) -> Result<bool> {
        if self.give_back(vm, made, call, writes)? {
            return Ok(false);
        }
        // The chunk itself may have taken the entry away, to make it anew. (What a repeat has put
        // the file's function for is not taken away.)
        // The call itself has only moved the end of a list, unless it was given the key.
        let is_given = |key| call.given.times(vm, key) > 0;
        let mut moved: FxHashMap<Spot, Ref> = FxHashMap::default();
        for write in writes {
            if !self.past.key(write.spot).is_some_and(is_given) {
                moved.try_insert_value(write.spot, write.old)?;
            }
        }
        for number in &call.touched {
            for lost in self.past.lost(*number, &moved)? {
                let is_own =
                    !self.names.is_answered(vm, lost) && self.ownership.has_function(vm, lost)?;
                if vm.val(lost).is_table() || is_own {
                    return Ok(false);
                }
            }
        }
        let label = self.label(vm, made, call)?;
        self.note(Registered::Before, call, label)?;
        Ok(true)
    }

    /// The file's function comes to where the module's stands.
    fn replace_at(&mut self, vm: &mut Vm, place: Spotted, old: Ref, new: Ref) -> Result<()> {
        match place {
            Spotted::At(place) => {
                let spot = match place {
                    Place::Value { table, key } => {
                        let (number, _) = self.past.see_table(vm, table)?;
                        self.past.under(vm, number, key)?.0
                    }
                    Place::Upvalue { function, index } => {
                        Spot::Cell(self.past.see_cell(vm, function, index)?)
                    }
                    _ => return Ok(()),
                };
                self.replace(vm, spot, old, new)
            }
            Spotted::Key(table) => {
                let (number, _) = self.past.see_table(vm, table)?;
                let ((from, value), (to, nothing)) = (
                    self.past.under(vm, number, old)?,
                    self.past.under(vm, number, new)?,
                );
                self.replace(vm, from, value, Ref::NIL)?;
                self.replace(vm, to, nothing, value)
            }
            Spotted::Nowhere => Ok(()),
        }
    }

    fn put(&mut self, vm: &mut Vm, spot: Spot, value: Ref) -> Result<()> {
        write::put_while_loading(vm, self.permit, self.past.place(spot), value)?;
        self.past.note(spot, value);
        Ok(())
    }

    pub(super) fn replace(&mut self, vm: &mut Vm, spot: Spot, old: Ref, new: Ref) -> Result<()> {
        self.put(vm, spot, new)?;
        self.log
            .try_push(Logged::Replaced(Write { spot, old, new }))
    }

    /// A call that stays.
    fn keep(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: OpenCall,
        writes: Vec<Write>,
        places: bool,
    ) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        if let Some(outer) = self.open.last_mut() {
            let container = |spot: Spot| match spot {
                Spot::Slot(table, _) | Spot::Metatable(table) => (0, table),
                Spot::Cell(cell) => (1, cell),
            };
            let mut changed: FxHashSet<(u8, u32)> = FxHashSet::default();
            for write in &outer.writes {
                changed.try_insert_value(container(write.spot), ())?;
            }
            if writes
                .iter()
                .any(|write| changed.contains(&container(write.spot)))
            {
                outer.whole = true;
                outer.writes.try_reserve(writes.len())?;
                outer.writes.extend(writes);
                return Ok(());
            }
        }
        if places && !call.loads {
            let label = self.label(vm, made, &call)?;
            self.note(Registered::Now, &call, label)?;
            self.look_for_older(vm, made, &call, &writes)?;
            self.add_given(vm, &call)?;
        }
        let mut said = FxHashSet::default();
        for write in &writes {
            if !places && self.is_said(vm, &call, write) {
                said.try_insert_value(write.spot, ())?;
            }
        }
        let kept = Logged::Kept {
            writes,
            places,
            said,
        };
        self.log.try_push(kept)
    }

    /// Does the file itself say what comes to the place? The call was given both the key and the
    /// value (`declare("COUNT", 0)`), or a function of the file ran in it, and the file names the
    /// key.
    fn is_said(&self, vm: &Vm, call: &OpenCall, write: &Write) -> bool {
        let key = self.past.key(write.spot);
        let names = |name: &[u8]| {
            self.chunk
                .is_some_and(|chunk| chunk.has_name(name, vm.secret()))
        };
        let is_named = key.is_some_and(|key| vm.with_bytes(key, names).unwrap_or(false));
        let is_given = |value| call.given.times(vm, value) > 0;
        call.runs_file && is_named || key.is_none_or(is_given) && is_given(write.new)
    }

    pub(super) fn label(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
    ) -> Result<String> {
        if let Some(label) = &call.label {
            return copied_text(label);
        }
        text::call(
            vm,
            self.context,
            &mut self.names,
            (self.chunk, self.chunk_at, made),
            call,
        )
    }
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Returned,
    Raised,
    Yielded,
}
