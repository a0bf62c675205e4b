//! R5.4: registrations do not double.
//!
//! `HANDLERS[#HANDLERS+1] = M.on` runs again with the incoming version. Where the table holds what
//! the added function or table answers to, the addition is dropped; the old entry follows its
//! function (`What::Follow`) and so becomes the new one. Handlers that no name leads to answer to
//! each other as elements of a list do (`lists`).

use rustc_hash::{FxHashMap, FxHashSet};

use super::elements::{IncomingElement, Keys, RunningElement};
use super::{Action, Edge, Fit, Pairer, Side, SlotDecision, TablePair};
use crate::code::align::sequence::{Element, align, join};
use crate::lua::vm::{Kind, Ref};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Fields of a running row that are looked at for functions.
const MOST_FIELDS: usize = 1_000;

/// A table that existed, to which the incoming chunk added functions or tables.
#[derive(Default)]
struct Registry {
    /// What was added: indices of slots.
    added: Vec<usize>,
    /// The same with plain values, each with its key.
    appended: Vec<(i64, usize)>,
}

impl Pairer<'_> {
    /// Looks at every table into which the incoming chunk put functions or tables under new integer
    /// keys. (Under another key it is a name, not a registration.)
    pub(super) fn registrations(&mut self) -> Result<()> {
        let mut by_table: FxHashMap<usize, Registry> = FxHashMap::default();
        for (i, slot) in self.out.slots.iter().enumerate() {
            if slot.change
                && slot.action == Action::Add
                && matches!(self.vm.kind(slot.new), Kind::Function | Kind::Table)
                && self.vm.integer(slot.key).is_some()
            {
                let table = self.vm.val(slot.table).addr;
                if !by_table.contains_key(&table) {
                    by_table.try_insert_value(table, Registry::default())?;
                }
                if let Some(list) = by_table.get_mut(&table) {
                    list.added.try_push(i)?;
                }
            }
        }
        if by_table.is_empty() {
            return Ok(());
        }
        for (i, slot) in self.out.slots.iter().enumerate() {
            let Some(list) = by_table.get_mut(&self.vm.val(slot.table).addr) else {
                continue;
            };
            let key = self.vm.integer(slot.key);
            if let Some(key) = key.filter(|_| slot.change && slot.action == Action::Add) {
                list.appended.try_push((key, i))?;
            }
        }
        let mut lists = collected(by_table.into_values().map(Ok))?;
        // By the first slot: tables in the order in which they were met.
        lists.sort_unstable_by_key(|list| list.added.first().copied());
        lists
            .into_iter()
            .try_for_each(|Registry { added, appended }| self.registered_in(added, appended))
    }

    fn registered_in(&mut self, added: Vec<usize>, appended: Vec<(i64, usize)>) -> Result<()> {
        let Some(SlotDecision { table, parent, .. }) =
            added.first().and_then(|i| self.out.slots.get(*i)).copied()
        else {
            return Ok(());
        };
        let pair = TablePair {
            old: table,
            new: Ref::NIL,
            site: parent,
            fit: Fit::Merged,
        };
        let (mut slots, mut entries) = (Vec::new(), Vec::new());
        for i in added {
            if let Some(slot) = self.out.slots.get(i).copied() {
                slots.try_push((self.vm.integer(slot.key), i))?;
                entries.try_push(self.entry_pair(slot.key, slot.new, Ref::NIL))?;
            }
        }
        slots.sort_unstable();
        let written = self.written(&pair, entries)?;
        let running = self.running(&pair, 0)?;
        let mut held: FxHashSet<usize> = FxHashSet::default();
        let mut keys = Keys::default();
        let (mut left, mut old) = (Vec::new(), Vec::new());
        for one in running.iter().filter(|one| one.val.addr != 0) {
            held.try_insert_value(one.val.addr, ())?;
            let is_free = match (one.f1, one.val.is_table()) {
                (Some(f1), _) => {
                    let function = self.out.old.get(f1 as usize);
                    function.is_some_and(|old| old.own && old.answers.is_empty())
                }
                (None, true) => {
                    !self.has_partner(one.val.addr) && self.has_own_function(one.value, Ref::NIL)?
                }
                _ => false,
            };
            if is_free {
                old.try_push(*one)?;
            }
        }
        let certain = |one: &RunningElement| one.val.is_function().then_some(one.value);
        let (functions, rows): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|one| one.val.is_function());
        let mut old = self.loaded.ownership.certain(self.vm, functions, certain)?;
        old.extend(rows);
        old.sort_unstable_by_key(|one| one.index);
        for one in &old {
            left.try_push(self.describe_running(one, &mut keys)?)?;
        }
        let (mut right, mut new) = (Vec::new(), Vec::new());
        for (one, (_, slot)) in written.iter().zip(&slots) {
            if self
                .partner(one)
                .is_some_and(|partner| held.contains(&self.vm.val(partner).addr))
            {
                self.out.dropped.try_insert_value(*slot, ())?; // or a list that was shifted
            } else if self.is_nameless(one) {
                right.try_push(self.describe_written(one, &mut keys)?)?;
                new.try_push((*one, *slot))?;
            }
        }
        align(&mut left, &mut right)?;
        self.assign_rest((&old, &mut left), (&new, &mut right), parent)?;
        for ((new, slot), element) in new.iter().zip(&right) {
            let Some(old) = element.partner.and_then(|i| old.get(i)).copied() else {
                continue;
            };
            self.out.dropped.try_insert_value(*slot, ())?;
            match (old.f1, new.f2) {
                (Some(f1), Some(f2)) => self.edge(Edge { f1, f2 })?,
                _ => {
                    let site = self.element_site(parent, old.index)?;
                    self.pair_tables(old.value, new.entry.new, site, Fit::Merged)?;
                }
            }
        }
        self.close_up(table, appended)
    }

    /// Handlers and rows that nothing tells apart. If the file has no fewer of them, the running
    /// ones go on in their order; else none of the file's is added, and the report warns.
    fn assign_rest(
        &mut self,
        (old, left): (&[RunningElement], &mut [Element]),
        (new, right): (&[(IncomingElement, usize)], &mut [Element]),
        list: SiteId,
    ) -> Result<()> {
        // The program's own row with a function that has a name is none without one.
        for (j, (one, _)) in new.iter().enumerate() {
            let partner = right.get(j).and_then(|one| one.partner);
            let both = partner.and_then(|i| Some((old.get(i)?, left.get_mut(i)?)));
            if let (Some((running, of_old)), Some(of_new)) = (both, right.get_mut(j))
                && running.val.is_table()
                && !of_old
                    .strings
                    .iter()
                    .any(|one| of_new.strings.contains(one))
                && self.is_open(one.entry.new, one.f2, Side::Incoming, list)?
                && !self.is_open(running.value, running.f1, Side::Running, list)?
            {
                (of_old.partner, of_new.partner) = (None, None);
            }
        }
        let (mut of_old, mut of_new) = (Vec::new(), Vec::new());
        for (i, one) in old.iter().enumerate() {
            let is_open = left.get(i).is_some_and(|one| one.partner.is_none());
            if is_open && self.is_open(one.value, one.f1, Side::Running, list)? {
                of_old.try_push(i)?;
            }
        }
        for (i, (one, _)) in new.iter().enumerate() {
            let is_open = right.get(i).is_some_and(|one| one.partner.is_none());
            if is_open && self.is_open(one.entry.new, one.f2, Side::Incoming, list)? {
                of_new.try_push(i)?;
            }
        }
        let may_be = |left: &[Element], right: &[Element], i: usize, j: usize| {
            let both = left.get(i).zip(right.get(j));
            both.is_some_and(|(a, b)| a.may_be(b))
        };
        of_old.retain(|i| of_new.iter().any(|j| may_be(left, right, *i, *j)));
        of_new.retain(|j| of_old.iter().any(|i| may_be(left, right, *i, *j)));
        let of_kind = |list: &[Element], numbers: &[usize]| {
            let mut counts = [0_usize; 256];
            for kind in numbers.iter().filter_map(|i| Some(list.get(*i)?.kind)) {
                if let Some(count) = counts.get_mut(usize::from(kind)) {
                    *count += 1;
                }
            }
            counts
        };
        let counts = (of_kind(left, &of_old), of_kind(right, &of_new));
        let is_free =
            |left: &[Element], i: usize| left.get(i).is_some_and(|one| one.partner.is_none());
        // Those before it have all gone on.
        let mut first = 0;
        for j in of_new.iter().copied() {
            let Some(kind) = right.get(j).map(|one| usize::from(one.kind)) else {
                continue;
            };
            if counts.0.get(kind) <= counts.1.get(kind) {
                while of_old.get(first).is_some_and(|i| !is_free(left, *i)) {
                    first += 1;
                }
                let mut rest = of_old.get(first..).unwrap_or_default().iter().copied();
                if let Some(i) = rest.find(|i| is_free(left, *i) && may_be(left, right, *i, j)) {
                    join(left, right, i, j);
                }
            } else if let Some((one, slot)) = new.get(j).copied() {
                self.out.dropped.try_insert_value(slot, ())?;
                if let Some(f2) = one.f2 {
                    self.out.left_out.try_insert_value(f2, ())?;
                }
                let path = self.out.sites.path(self.vm, &self.context.title, list);
                let what = one.what();
                self.out.warnings.try_push(format!(
                    "{path}: a new {what} that nothing tells from those that the list has was not \
                     added: give it a name in the file (R5.4)"
                ))?;
            }
        }
        Ok(())
    }

    /// Does a function, or one that stands in a row, answer to none of the other version so far?
    fn is_open(
        &mut self,
        value: Ref,
        function: Option<u32>,
        side: Side,
        site: SiteId,
    ) -> Result<bool> {
        if let Some(number) = function {
            return match side {
                Side::Incoming => {
                    let new = self.out.new.get(number as usize);
                    Ok(new.is_some_and(|new| new.own && new.partners.is_empty()))
                }
                Side::Running => {
                    let old = self.out.old.get(number as usize);
                    let is_free = old.is_some_and(|old| old.own && old.answers.is_empty());
                    Ok(is_free && !self.is_made_at_run_time(number)?)
                }
            };
        }
        if self.vm.kind(value) != Kind::Table {
            return Ok(false);
        }
        let most = match side {
            Side::Incoming => usize::MAX,
            Side::Running => MOST_FIELDS,
        };
        let entries = self.vm.keep_some(value, most)?;
        for held in entries.values() {
            let val = self.vm.val(held);
            if !val.is_function() || (side == Side::Incoming) != self.is_fresh(val) {
                continue;
            }
            let number = match side {
                Side::Incoming => self.function2(held, site)?,
                Side::Running => self.function1(held, site)?,
            };
            if number.is_some() && self.is_open(held, number, side, site)? {
                return Ok(true);
            }
        }
        if entries.len() as usize == most {
            let path = self.out.sites.path(self.vm, &self.context.title, site);
            self.vm.limits.meet(
                "only the first {} fields of a row were searched for functions of the module, and \
                 the row counts as another one than each of the file's; give it fewer fields \
                 (R5.4)",
                most,
                Where::Named(path),
            )?;
        }
        Ok(false)
    }

    /// Is it a table or an incoming function that answers to none of the running version?
    fn is_nameless(&self, one: &IncomingElement) -> bool {
        match one.f2.and_then(|f2| self.out.new.get(f2 as usize)) {
            Some(function) => function.partners.is_empty(),
            None => {
                let val = one.entry.new_val;
                val.is_table()
                    && one.entry.order.is_some()
                    && !self.out.tables.contains_key(&val.addr)
            }
        }
    }

    /// What is still appended to a list stands right behind its end, also when some of it was
    /// dropped.
    fn close_up(&mut self, table: Ref, mut appended: Vec<(i64, usize)>) -> Result<()> {
        let end = self.vm.raw_len(table);
        appended.retain(|(key, _)| *key > end);
        appended.sort_unstable();
        let mut next = end + 1;
        for ((key, i), expected) in appended.into_iter().zip(end + 1..) {
            if key != expected {
                break; // not a list from here on
            }
            if self.out.dropped.contains(&i) {
                continue;
            }
            let place = self.vm.number(next)?;
            if let Some(slot) = self.out.slots.get_mut(i) {
                slot.key = place;
            }
            next += 1;
        }
        Ok(())
    }
}
