//! Lists of functions that the program has changed (R3.1, R5.3): which handler of the file is which
//! of those that run.
//!
//! A list that stands as its file has it is compared by index. In one that has become longer or
//! shorter, or in which functions of others stand, an index says nothing: `{ on_login, on_logout }`
//! of which the program has removed the first. There each handler that runs goes on as its own
//! counterpart, and what the file has besides is not added.

use super::rows::MOST_ROWS;
use super::{Action, Edge, EntryPair, Pairer, SlotDecision, TablePair};
use crate::lua::vm::Ref;
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryPush, sort_by_number};

/// A handler of A1.
#[derive(Clone, Copy)]
struct Running {
    index: i64,
    value: Ref,
    /// Its number; none for a C function.
    f1: Option<u32>,
    /// The program has made it: no chunk has put it into the list.
    made: bool,
}

/// A handler of A2.
#[derive(Clone, Copy)]
struct Written {
    index: i64,
    key: Ref,
    value: Ref,
    f2: u32,
    /// The index of the one that it answers to, in the list of those that run.
    place: Option<usize>,
}

/// A list that waits until names have told which function is which.
pub(super) struct Handlers {
    table: Ref,
    site: SiteId,
    /// Both lists have one length.
    even: bool,
    old: Vec<Running>,
    new: Vec<Written>,
}

impl Pairer<'_> {
    /// Looks at the functions in the list part of A2's table: `absent` are those at whose index A1
    /// has nothing. What is compared by index stays among the entries.
    pub(super) fn handlers(
        &mut self,
        pair: &TablePair,
        list: i64,
        absent: Vec<EntryPair>,
        entries: &mut Vec<EntryPair>,
    ) -> Result<()> {
        if self.replace_data || list == 0 {
            return Ok(());
        }
        let (mut present, mut all_own, mut all_functions) = (0, true, true);
        for beside in &*entries {
            if self.is_handler(beside, list) {
                present += 1;
                all_functions &= beside.old_val.is_function();
                all_own = all_own && self.is_own_function(beside.old)?;
            }
        }
        let mut missing = Vec::new();
        for beside in absent {
            let index = self.vm.integer(beside.key).unwrap_or_default();
            if self.may_grow(pair, list, index)? {
                entries.try_push(beside)?;
            } else {
                missing.try_push(beside)?;
            }
        }
        let end = self.vm.raw_len(pair.old);
        let grows = end < list && missing.is_empty();
        let is_short = present + missing.len() <= MOST_ROWS && end <= MOST_ROWS as i64;
        if present == 0 || !all_functions || all_own && (end == list || grows) || !is_short {
            return missing
                .into_iter()
                .try_for_each(|missing| self.not_added(pair.site, missing.key, missing.new));
        }
        let mut found = missing;
        let mut rest = Vec::new();
        for beside in entries.drain(..) {
            if self.is_handler(&beside, list) {
                found.try_push(beside)?;
            } else {
                rest.try_push(beside)?;
            }
        }
        entries.append(&mut rest);
        sort_by_number(&mut found, |beside| beside.order.unwrap_or_default())?;
        let mut new = Vec::new();
        for EntryPair {
            key, new: value, ..
        } in found
        {
            let index = self.vm.integer(key).unwrap_or_default();
            let site = self.out.sites.key(pair.site, key)?;
            match self.function2(value, site)? {
                Some(f2) => new.try_push(Written {
                    index,
                    key,
                    value,
                    f2,
                    place: None,
                })?,
                None => self.not_added(pair.site, key, value)?,
            }
        }
        new.sort_unstable_by_key(|handler| handler.index);
        let mut old = Vec::new();
        for index in 1..=end {
            let key = self.vm.number(index)?;
            let value = self.vm.get(pair.old, key)?;
            if self.vm.val(value).is_function() {
                let site = self.out.sites.key(pair.site, key)?;
                let f1 = self.function1(value, site)?;
                old.try_push(Running {
                    index,
                    value,
                    f1,
                    made: false,
                })?;
            }
        }
        self.handler_lists.try_push(Handlers {
            table: pair.old,
            site: pair.site,
            even: end == list,
            old,
            new,
        })
    }

    /// A function of the file in the list part of its table.
    fn is_handler(&self, beside: &EntryPair, list: i64) -> bool {
        let index = || self.vm.integer(beside.key);
        beside.new_val.is_function()
            && beside.order.is_some()
            && index().is_some_and(|index| (1..=list).contains(&index))
            && self.vm.is_c_function(beside.new).is_none()
    }

    /// R5.3: a function is not added to a list that exists; the report warns.
    fn not_added(&mut self, list: SiteId, key: Ref, function: Ref) -> Result<()> {
        let (path, index) = (
            self.out.sites.path(self.vm, &self.context.title, list),
            self.vm.integer(key).unwrap_or_default(),
        );
        self.out.warnings.try_push(format!(
            "{path}[{index}]: a new function in a list that exists; lists are state, so it was not added (R5.3)"
        ))?;
        // What it shares with the others is shared all the same.
        let site = self.out.sites.key(list, key)?;
        self.function2(function, site).map(|_| ())
    }

    /// When names have told what they can: the lists that wait. True when there were any.
    pub(super) fn resolve_handlers(&mut self) -> Result<bool> {
        let lists = std::mem::take(&mut self.handler_lists);
        let some = !lists.is_empty();
        for list in lists {
            self.handler_list(list)?;
        }
        Ok(some)
    }

    fn handler_list(&mut self, mut list: Handlers) -> Result<()> {
        for old in &mut list.old {
            old.made = match old.f1 {
                Some(f1) => self.is_made_at_run_time(f1)?,
                None => false,
            };
        }
        let mut free = Vec::new();
        free.try_reserve_exact(list.old.len())?;
        free.extend(list.old.iter().map(|_| true));
        for running in &mut list.old {
            if let Some(f1) = running.f1 {
                running.made = self.is_made_at_run_time(f1)?;
            }
        }
        self.by_name(&mut list, &mut free);
        self.by_code(&mut list, &mut free)?;
        let is_moved = |new: &Written| {
            let place = new.place.and_then(|place| list.old.get(place));
            place.is_some_and(|old| old.index != new.index)
        };
        if list.even && !list.new.iter().any(is_moved) {
            return self.by_index(&list);
        }
        self.by_order(&mut list, &mut free)?;
        for new in &list.new {
            let f1 = new
                .place
                .and_then(|place| list.old.get(place))
                .and_then(|old| old.f1);
            match f1 {
                Some(f1) => self.edge(Edge { f1, f2: new.f2 })?,
                None => self.not_added(list.site, new.key, new.value)?,
            }
        }
        // The others of A1's follow as well, wherever they answer to something; those behind the
        // file's list have their slots already.
        for old in list.old {
            if list.new.iter().any(|new| new.index == old.index)
                && self.is_own_function(old.value)?
            {
                let key = self.vm.number(old.index)?;
                self.out.slots.try_push(SlotDecision {
                    table: list.table,
                    parent: list.site,
                    key,
                    new: Ref::NIL,
                    old: old.value,
                    action: Action::Follow,
                    change: false,
                })?;
            }
        }
        Ok(())
    }

    /// Finds for each handler of A2 without a place one of A1's that is free and fits; `passes`:
    /// must it stand at its own index?
    fn place(
        &self,
        list: &mut Handlers,
        free: &mut [bool],
        passes: &[bool],
        fits: impl Fn(&Self, &Handlers, usize, &Written) -> bool,
    ) {
        for at_index in passes.iter().copied() {
            for j in 0..list.new.len() {
                let Some(new) = list.new.get(j).copied().filter(|new| new.place.is_none()) else {
                    continue;
                };
                let found = list.old.iter().enumerate().position(|(i, old)| {
                    free.get(i) == Some(&true)
                        && (!at_index || old.index == new.index)
                        && fits(self, list, i, &new)
                });
                if let (Some(i), Some(new)) = (found, list.new.get_mut(j)) {
                    new.place = Some(i);
                    if let Some(free) = free.get_mut(i) {
                        *free = false;
                    }
                }
            }
        }
    }

    fn by_name(&self, list: &mut Handlers, free: &mut [bool]) {
        self.place(list, free, &[true, false], |pairer, list, i, new| {
            let f1 = list.old.get(i).and_then(|old| old.f1);
            let function = pairer.out.new.get(new.f2 as usize);
            f1.zip(function)
                .is_some_and(|(f1, function)| function.partners.contains(&f1))
        });
    }

    fn by_code(&mut self, list: &mut Handlers, free: &mut [bool]) -> Result<()> {
        for i in 0..list.old.len() {
            if let Some(f1) = list.old.get(i).and_then(|old| old.f1)
                && self.nameless1(list, i).is_some()
            {
                self.know_code(f1)?;
            }
        }
        self.place(list, free, &[true, false], |pairer, list, i, new| {
            let old = pairer.nameless1(list, i).and_then(|old| old.profile);
            let new = pairer.nameless2(new);
            new.is_some_and(|new| new.profile.is_same_code(old))
        });
        Ok(())
    }

    /// What is left answers in its order, between those that are known; first what captures the
    /// same variables.
    fn by_order(&self, list: &mut Handlers, free: &mut [bool]) -> Result<()> {
        let mut before1: Vec<usize> = Vec::new(); // for each of A1's, which placed one stands before it, counted from 1
        let mut last = 0;
        for i in 0..list.old.len() {
            if free.get(i) == Some(&false) {
                last = i + 1;
            }
            before1.try_push(last)?;
        }
        let mut before2: Vec<(i64, usize)> = Vec::new();
        last = 0;
        for new in &list.new {
            last = new.place.map_or(last, |place| place + 1);
            before2.try_push((new.index, last))?;
        }
        for same_names in [true, false] {
            self.place(list, free, &[false], |pairer, list, i, new| {
                let (Some(old), Some(function)) =
                    (pairer.nameless1(list, i), pairer.nameless2(new))
                else {
                    return false;
                };
                let between = before2.iter().find(|(index, _)| *index == new.index);
                let names = |upvalues: super::Upvalues| {
                    upvalues.numbers().map(|i| pairer.out.upvalue(i).name)
                };
                before1.get(i) == between.map(|(_, before)| before)
                    && (!same_names || names(old.upvalues).eq(names(function.upvalues)))
            });
        }
        Ok(())
    }

    /// A function of the module's own that nothing answers to yet, and that its chunk may have put
    /// into the list.
    fn nameless1(&self, list: &Handlers, i: usize) -> Option<&super::Function1> {
        let running = list.old.get(i).filter(|running| !running.made)?;
        let function = self.out.old.get(running.f1? as usize)?;
        (function.own && function.answers.is_empty()).then_some(function)
    }

    fn nameless2(&self, new: &Written) -> Option<&super::Function2> {
        let function = self.out.new.get(new.f2 as usize)?;
        function.partners.is_empty().then_some(function)
    }

    /// R3.2: where nothing has moved, each place is its own. An external function there is a patch.
    fn by_index(&mut self, list: &Handlers) -> Result<()> {
        for new in &list.new {
            let Some(old) = list.old.iter().find(|old| old.index == new.index) else {
                self.not_added(list.site, new.key, new.value)?;
                continue;
            };
            let beside = self.beside(new.key, new.value, old.value);
            let slot = SlotDecision {
                table: list.table,
                parent: list.site,
                key: new.key,
                new: new.value,
                old: old.value,
                action: self.classify_slot(&beside)?,
                change: false,
            };
            self.out.slots.try_push(slot)?;
            self.note_external(&slot, &beside)?;
            if slot.action == Action::ReplaceFunction
                && let Some(f1) = old.f1
            {
                self.edge(Edge { f1, f2: new.f2 })?;
            }
        }
        Ok(())
    }
}
