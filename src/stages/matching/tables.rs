//! R3.1: which running table answers to which of the incoming version, and what they hold.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::changes::WrittenKeys;
use super::merge::is_scalar;
use super::{
    Action, Edge, EntryPair, Fit, Keyed, Pairer, Pass, QueuedChild, SlotDecision, TablePair,
};
use crate::code::definitions::Indices;
use crate::lua::vm::{KeyValue, Kind, Ref};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush};

/// Entries of a running table that are looked at for a table beside another one.
const MOST_BESIDE: usize = 1_000;

/// What the running tables have under keys that the file lacks now.
#[derive(Default)]
struct Dropped {
    /// By the address of a table: the tables that have it so.
    holders: FxHashMap<usize, Vec<usize>>,
    /// Places where an incoming table stands beside its answer: the running holder, and the
    /// incoming table.
    places: FxHashSet<(usize, usize)>,
}

/// The tables that were met, and the places that wait.
#[derive(Default)]
pub(super) struct TableMatching {
    /// A running table and an incoming one that answer to each other.
    pairs: FxHashSet<(usize, usize)>,
    /// The running tables that answer to one of the incoming version.
    answered: FxHashSet<usize>,
    /// The running tables that the file takes up again (`M = M or {}`).
    taken_up: FxHashSet<usize>,
    /// New pairs.
    queue: VecDeque<TablePair>,
    /// Places that wait, since the text says that they are references, or one of their tables has
    /// a partner elsewhere.
    deferred: Vec<TablePair>,
    /// Incoming tables at places that say nothing of what answers to them, with these places: they
    /// are met after all others.
    aside: Vec<(Ref, SiteId)>,
    /// Places that wait, since their keys are no names.
    numbered: Vec<TablePair>,
    /// Pairs of which the incoming table has all keys of the running one.
    have_all: FxHashSet<(usize, usize)>,
    /// The running code-bearing tables, enumerated already.
    enumerated: FxHashSet<usize>,
    /// R8: pairs of which what only the running version has may go.
    compared: Vec<TablePair>,
    /// R8: the running tables that hold exactly what the incoming ones hold in the end.
    exact: FxHashSet<usize>,
    /// The memory in which each pair of tables lists its entries, and what they lead to; empty in
    /// between.
    entries: Vec<EntryPair>,
    children: Vec<QueuedChild>,
}

impl TableMatching {
    /// Makes room for so many pairs.
    pub(super) fn reserve(&mut self, pairs: usize) -> Result<()> {
        self.answered.try_reserve(pairs)?;
        self.have_all.try_reserve(pairs)?;
        self.enumerated.try_reserve(pairs)?;
        Ok(self.pairs.try_reserve(pairs)?)
    }

    /// The next new pair.
    pub(super) fn next(&mut self) -> Option<TablePair> {
        self.queue.pop_front()
    }

    /// Does a running table answer to one of the incoming version?
    pub(super) fn is_answer(&self, running: usize) -> bool {
        self.answered.contains(&running)
    }

    /// Does a running table hold exactly what an incoming one holds in the end (R8)?
    pub(super) fn is_exact(&self, running: usize) -> bool {
        self.exact.contains(&running)
    }

    /// Is it known that the incoming table of a pair has all keys of the running one?
    pub(super) fn has_all_keys(&self, running: usize, incoming: usize) -> bool {
        self.have_all.contains(&(running, incoming))
    }

    /// Notes a running table that the file takes up again.
    pub(super) fn take_up(&mut self, running: usize) -> Result<()> {
        self.taken_up.try_insert_value(running, ())?;
        Ok(())
    }

    /// Sets an incoming table aside: its place says nothing of what answers to it.
    pub(super) fn set_aside(&mut self, new: Ref, site: SiteId) -> Result<()> {
        self.aside.try_push((new, site))
    }

    /// Lets a place wait whose key is no name.
    pub(super) fn wait_for_names(&mut self, pair: TablePair) -> Result<()> {
        self.numbered.try_push(pair)
    }
}

impl Pairer<'_> {
    /// Pairs a running table with a fresh one of the incoming version. Where one of them has a
    /// partner already, this place is not its own but a reference to it, which may point elsewhere
    /// by now: it is looked at again when all tables have been met.
    pub(super) fn pair_tables(&mut self, old: Ref, new: Ref, site: SiteId, fit: Fit) -> Result<()> {
        let (old_addr, new_addr) = (self.vm.val(old).addr, self.vm.val(new).addr);
        let pair = TablePair {
            old,
            new,
            site,
            fit,
        };
        if !self.are_free(old_addr, new_addr) {
            if self.tables.pairs.contains(&(old_addr, new_addr)) {
                return Ok(());
            }
            return self.refer(pair);
        }
        self.accept(pair, old_addr, new_addr)
    }

    /// Do the two answer to each other already? Then another place where they stand says nothing
    /// new.
    pub(super) fn are_paired(&self, old: Ref, new: Ref) -> bool {
        let pair = (self.vm.val(old).addr, self.vm.val(new).addr);
        self.tables.pairs.contains(&pair)
    }

    /// Does a running table answer to one of the incoming version already, or is it one itself?
    pub(super) fn has_partner(&self, old: usize) -> bool {
        self.tables.answered.contains(&old) || self.tables.taken_up.contains(&old)
    }

    /// Has the incoming table no partner, and is it to be met as a table of the file's own?
    pub(super) fn is_free_table(&self, new: Ref) -> bool {
        let val = self.vm.val(new);
        val.is_table() && !self.out.tables.contains_key(&val.addr)
    }

    /// Has neither of the two a partner?
    pub(super) fn are_free(&self, old: usize, new: usize) -> bool {
        !self.has_partner(old) && !self.out.tables.contains_key(&new)
    }

    pub(super) fn accept(
        &mut self,
        pair: TablePair,
        old_addr: usize,
        new_addr: usize,
    ) -> Result<()> {
        self.find_record(&pair, old_addr)?;
        self.tables
            .pairs
            .try_insert_value((old_addr, new_addr), ())?;
        self.tables.answered.try_insert_value(old_addr, ())?;
        if !self.out.tables.contains_key(&new_addr) {
            self.out.tables.try_insert_value(new_addr, pair.old)?;
            self.out.paired.try_push((pair.new, pair.old))?;
        }
        if !self.vm.metatable_val(pair.new).is_nil() {
            self.out.copies.try_push(pair.new)?;
        }
        self.tables.queue.try_push(pair)
    }

    /// References among tables: one that leads to a running table which answers to none of the
    /// incoming yet gives it the incoming functions; any other says nothing of what its table is.
    /// Where the incoming table has a place already, that waits until all else has been met
    /// ([`Pass::Final`]). True when there was one of the first kind.
    pub(super) fn resolve_references(&mut self, pass: Pass) -> Result<bool> {
        let mut found = false;
        let mut dropped = None;
        for pair in std::mem::take(&mut self.tables.deferred) {
            let (old_addr, new_addr) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
            let has_place = self.out.tables.contains_key(&new_addr);
            if self.are_others(pair.old, pair.new) {
                self.tables.set_aside(pair.new, pair.site)?;
                continue;
            }
            if self.has_partner(old_addr) {
                // The incoming table, if it is new, has to be met all the same.
                if !has_place {
                    self.scan_queue.try_push((pair.new, pair.site))?;
                    found = true;
                }
            } else if !has_place {
                self.accept(pair, old_addr, new_addr)?;
                found = true;
            } else if pass == Pass::Early {
                self.refer(pair)?;
            } else if pair.fit == Fit::Exact
                || self.has_own_function(pair.old, pair.new)?
                    && !self.is_dropped(&pair, &mut dropped)?
            {
                // A table that the program put there for itself, without a function of the module's
                // own, stays as it is.
                self.accept(pair, old_addr, new_addr)?;
                found = true;
            }
        }
        if pass == Pass::Final {
            // What the file has made there is met all the same.
            for (new, site) in std::mem::take(&mut self.tables.aside) {
                if self.is_free_table(new) {
                    self.scan_queue.try_push((new, site))?;
                    found = true;
                }
            }
        }
        Ok(found)
    }

    /// Takes the places that wait since their keys are no names: a number may have been given to
    /// another object in the file. True when there was one.
    pub(super) fn resolve_numbered(&mut self) -> Result<bool> {
        let waiting = std::mem::take(&mut self.tables.numbered);
        let some = !waiting.is_empty();
        for pair in waiting {
            self.pair_tables(pair.old, pair.new, pair.site, pair.fit)?;
        }
        Ok(some)
    }

    /// Lets a place wait.
    pub(super) fn refer(&mut self, pair: TablePair) -> Result<()> {
        self.tables.deferred.try_push(pair)
    }

    /// Does the running version have the table beside the one that answers to the incoming one,
    /// under a key that the file lacks now? Then it is another one, which the file has dropped
    /// (R5.2). `known`: what is known of that, once it was asked for.
    fn is_dropped(&mut self, pair: &TablePair, known: &mut Option<Dropped>) -> Result<bool> {
        let (old, new) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
        let dropped = match known {
            Some(dropped) => dropped,
            None => known.insert(self.dropped()?),
        };
        let mut holders = dropped.holders.get(&old).into_iter().flatten();
        Ok(holders.any(|holder| dropped.places.contains(&(*holder, new))))
    }

    /// What the running tables have under keys that the file lacks now.
    fn dropped(&mut self) -> Result<Dropped> {
        let mut files: FxHashMap<usize, Ref> = FxHashMap::default();
        for (file, table) in &self.out.paired {
            let address = self.vm.val(*table).addr;
            if !files.contains_key(&address) {
                files.try_insert_value(address, *file)?;
            }
        }
        let mut dropped = Dropped::default();
        for i in 0..self.out.slots.len() {
            let Some(slot) = self
                .out
                .slots
                .get(i)
                .copied()
                .filter(|slot| slot.action == Action::Merge)
            else {
                continue;
            };
            let (holder, new) = (self.vm.val(slot.table).addr, self.vm.val(slot.new).addr);
            let is_place = |answer: &Ref| self.vm.val(*answer) == self.vm.val(slot.old);
            if !self.out.tables.get(&new).is_some_and(is_place) {
                continue;
            }
            dropped.places.try_insert_value((holder, new), ())?;
            // Each holder is walked once.
            let Some(file) = files.remove(&holder) else {
                continue;
            };
            let mut cursor = self.vm.walk(slot.table, file)?;
            let mut count = 0;
            while let Some(entry) = cursor.next(self.vm) {
                count += 1;
                if count > MOST_BESIDE {
                    cursor.end(self.vm);
                    self.vm.limits.meet(
                        "only the first {} of its entries were searched for tables that the file \
                         has dropped, so a table of the file may take the data of such a one over; \
                         look at hotreload.plan (R3.9)",
                        MOST_BESIDE,
                        Where::Table(holder),
                    )?;
                    break;
                }
                if entry.new.is_table() && entry.old.is_nil() {
                    let table = entry.new.addr;
                    if !dropped.holders.contains_key(&table) {
                        dropped.holders.try_insert_value(table, Vec::new())?;
                    }
                    if let Some(holders) = dropped.holders.get_mut(&table) {
                        holders.try_push(holder)?;
                    }
                }
            }
        }
        Ok(dropped)
    }

    /// R3.1
    pub(super) fn table_pair(&mut self, pair: TablePair) -> Result<()> {
        let mut bears_code = false;
        let Some(order) = self.order_of(self.vm.val(pair.new)) else {
            return Ok(());
        };
        let (mut entries, mut written) = (std::mem::take(&mut self.tables.entries), Vec::new());
        let (mut shared, mut indices) = (0, Indices::default());
        for item in self.items(pair.new, order)? {
            let Some(item) = self.graph.item(item) else {
                break;
            };
            let (key, new_val) = (item.entry.key, item.val);
            let (old, old_val) = self.vm.look_up(pair.old, key)?;
            let entry = item.entry_pair(old, old_val);
            if old_val.is_nil() && self.renamed_field(&pair, &entry)? {
                bears_code |= new_val.is_function();
                continue;
            }
            bears_code |= new_val.is_function();
            shared += u32::from(!old_val.is_nil());
            let index = self.vm.integer(key);
            if index.is_some_and(|index| index >= 1) {
                indices.add(index);
                written.try_push(entry)?;
                continue;
            }
            if new_val == old_val
                && matches!(
                    new_val.kind,
                    Kind::Table | Kind::Function | Kind::Userdata | Kind::Thread
                )
            {
                continue;
            }
            if self.is_fresh_key(key) {
                self.keyed.try_push(Keyed {
                    table: pair.old,
                    parent: pair.site,
                    key,
                    new: entry.new,
                    change: false,
                    compared: false,
                })?;
            } else {
                self.entry(&pair, entry, &mut entries)?;
            }
        }
        let is_map = self.is_map(&pair, indices, &written)?;
        if is_map {
            let address = self.vm.val(pair.old).addr;
            self.out.listed.try_insert_value(address, 0)?;
        }
        if !is_map && (!written.is_empty() || self.is_emptied(&pair)?) {
            self.list(&pair, written)?;
        } else {
            for entry in written {
                self.entry(&pair, entry, &mut entries)?;
            }
        }
        let mut children = std::mem::take(&mut self.tables.children);
        children.try_reserve(entries.len())?;
        self.out.slots.try_reserve(entries.len())?;
        self.out.sites.reserve(entries.len())?;
        for entry in entries.drain(..) {
            let action = self.classify_slot(&entry)?;
            let mut slot = pair.slot(entry.key, entry.new, entry.old, action);
            slot.action = self.three_way(action, &slot, &entry)?;
            self.out.slots.try_push(slot)?;
            self.child(slot, Some(pair.new), &entry, &mut children)?;
        }
        self.tables.entries = entries;
        self.take_children(&mut children)?;
        self.tables.children = children;
        self.pair_metatables(&pair)?;
        // Where the running version has as many entries as both sides share, it has none of its
        // own.
        let address = self.vm.val(pair.old).addr;
        if self.loaded.snapshot.entries(address) == Some(shared) {
            self.tables.enumerated.try_insert_value(address, ())?;
            let both = (address, self.vm.val(pair.new).addr);
            self.tables.have_all.try_insert_value(both, ())?;
        } else if bears_code || self.loses_keys(&pair, shared)? {
            self.enumerate(pair.old, pair.new, pair.site, &WrittenKeys::default())?;
        }
        if pair.fit == Fit::Exact || self.merges {
            self.tables.compared.try_push(pair)?;
        }
        Ok(())
    }

    /// Had the file more keys for the running table than the `shared` ones that both sides have?
    fn loses_keys(&mut self, pair: &TablePair, shared: u32) -> Result<bool> {
        let path = self.path(pair.old, pair.site)?;
        Ok(path.is_some_and(|path| self.out.base.keys(path) > shared as usize))
    }

    /// Data on both sides, and neither an object: nothing to find out.
    fn is_plain(&self, entry: &EntryPair) -> bool {
        is_scalar(entry.new_val)
            && (is_scalar(entry.old_val) || entry.old_val.is_table() && !self.merges)
    }

    /// A field that the user says was called otherwise: what the running version has under the
    /// former name goes on under the new one.
    fn renamed_field(&mut self, pair: &TablePair, entry: &EntryPair) -> Result<bool> {
        let (key, new) = (entry.key, entry.new);
        let mut given = self.renames.iter();
        let Some((former, _)) = given
            .find(|(_, name)| self.vm.raw_equal(*name, key))
            .copied()
        else {
            return Ok(false);
        };
        let (old, o) = self.vm.look_up(pair.old, former)?;
        let (_, rest) = self.vm.look_up(pair.new, former)?;
        if o.is_nil() || !rest.is_nil() {
            return Ok(false);
        }
        let site = self.out.sites.key(pair.site, key)?;
        let is_fresh = self.is_fresh(entry.new_val);
        let mut value = new;
        if is_fresh && o.is_table() && entry.new_val.is_table() {
            self.pair_tables(old, new, site, self.fit())?;
        } else if is_fresh && o.is_function() && entry.new_val.is_function() {
            if let (Some(f1), Some(f2)) = (self.function1(old, site)?, self.function2(new, site)?) {
                self.edge(Edge { f1, f2 })?;
            }
        } else if !self.replace_data {
            value = old;
        }
        for (key, new, old, action) in [
            (key, value, Ref::NIL, Action::Add),
            (former, Ref::NIL, old, Action::Remove),
        ] {
            self.out.slots.try_push(pair.slot(key, new, old, action))?;
        }
        Ok(true)
    }

    /// An entry of the incoming table under a key that tells what it is.
    fn entry(
        &mut self,
        pair: &TablePair,
        entry: EntryPair,
        entries: &mut Vec<EntryPair>,
    ) -> Result<()> {
        if self.is_plain(&entry) {
            self.plain(pair, &entry)
        } else if !entry.old_val.is_nil() || !self.is_state(pair, &entry)? {
            entries.try_push(entry)
        } else {
            Ok(())
        }
    }

    /// Are integer keys names? Where the file has holes, now or at a load before, they are, and
    /// where it writes them all out and the program has made a hole.
    fn is_map(
        &mut self,
        pair: &TablePair,
        indices: Indices,
        written: &[EntryPair],
    ) -> Result<bool> {
        if indices.have_holes() || self.is_dispatch(pair, written) {
            return Ok(true);
        }
        let path = self.path(pair.old, pair.site)?;
        Ok(path.is_some_and(|path| self.out.base.is_map(path)))
    }

    /// Has the running version a hole where the file puts each element under a key that it writes
    /// out? (`handlers[OP.CHAT] = f`, of which the program or the last load lacks some)
    fn is_dispatch(&self, pair: &TablePair, written: &[EntryPair]) -> bool {
        let index = |entry: &EntryPair| self.vm.integer(entry.key);
        let lacks = written.iter().filter(|entry| entry.old_val.is_nil());
        let first = lacks.filter_map(index).min();
        let there = written.iter().filter(|entry| !entry.old_val.is_nil());
        let last = there.filter_map(index).max();
        let has_hole = first < last.max(Some(self.vm.raw_len(pair.old)));
        first.is_some() && has_hole && self.identity.has_written_keys(self.vm, pair.new)
    }

    /// Is the incoming list empty, and the running one from which something may go?
    fn is_emptied(&mut self, pair: &TablePair) -> Result<bool> {
        if self.vm.raw_len(pair.old) == 0 {
            return Ok(false);
        }
        if self.replace_data || self.merges {
            return Ok(true);
        }
        let first = self.vm.index(pair.old, 1)?;
        Ok(self.out.base.is_known() && self.vm.val(first).is_function())
    }

    pub(super) fn plain(&mut self, pair: &TablePair, entry: &EntryPair) -> Result<()> {
        let EntryPair { key, new, old, .. } = *entry;
        let action =
            if self.replace_data && !self.vm.same(new, old) || self.scalar_follows(pair, entry)? {
                Action::ReplaceData
            } else {
                Action::Keep
            };
        self.out.slots.try_push(pair.slot(key, new, old, action))
    }

    /// R5.3: an integer key is not added to an existing table but where the record says that the
    /// last load lacked it; a function is (a sparse dispatch table).
    fn is_state(&mut self, pair: &TablePair, entry: &EntryPair) -> Result<bool> {
        if entry.new_val.is_function() || self.replace_data || self.vm.integer(entry.key).is_none()
        {
            return Ok(false);
        }
        let path = match self.out.base.is_known() {
            true => self.path(pair.old, pair.site)?,
            false => None,
        };
        Ok(path.is_none_or(|path| !self.out.base.knows(path)))
    }

    pub(super) fn pair_metatables(&mut self, pair: &TablePair) -> Result<()> {
        let (old, new) = (self.vm.metatable(pair.old)?, self.vm.metatable(pair.new)?);
        if self.vm.val(new).is_nil() {
            return self.metatable_gone(pair, old);
        }
        let at = self.out.sites.metatable(pair.site)?;
        self.metatables(pair.slot(Ref::NIL, new, old, Action::Merge), at)
    }

    /// The metatable that the last load has set goes when the file sets none any more.
    fn metatable_gone(&mut self, pair: &TablePair, old: Ref) -> Result<()> {
        let path = self.path(pair.old, pair.site)?;
        if path.is_some_and(|path| self.is_object_as_loaded(path.metatable(), old)) {
            let slot = pair.slot(Ref::NIL, Ref::NIL, old, Action::Remove);
            self.out.slots.try_push(slot)?;
        }
        Ok(())
    }

    /// R3.1: metatables pair as tables do, and are behaviour, and no data (R8); one that only the
    /// file has is set. `at`: where they stand.
    pub(super) fn metatables(&mut self, mut slot: SlotDecision, at: SiteId) -> Result<()> {
        let SlotDecision { old, new, .. } = slot;
        let (o, n) = (self.vm.val(old), self.vm.val(new));
        if n.is_nil() || n == o {
            return Ok(());
        }
        let is_fresh = self.is_fresh(n);
        slot.action = if o.is_nil() {
            if is_fresh {
                self.scan_queue.try_push((new, at))?;
            }
            Action::Add
        } else if is_fresh && self.was_import(old, new)? {
            self.scan_queue.try_push((new, at))?;
            Action::ReplaceImport
        } else if is_fresh && self.are_others(old, new) {
            self.tables.set_aside(new, at)?;
            Action::Refer
        } else if is_fresh && self.are_same(old, new) {
            return self.pair_tables(old, new, at, Fit::Merged);
        } else if is_fresh {
            self.tables.numbered.try_push(TablePair {
                old,
                new,
                site: at,
                fit: Fit::Merged,
            })?;
            Action::Merge
        } else if self.takes(o, old, new)? {
            Action::ReplaceImport
        } else {
            return Ok(());
        };
        self.out.slots.try_push(slot)
    }

    /// Meets the functions that only the running version has in a code-bearing table (R5.2): their
    /// cells count for R4.2. So are places of tables met that the file leaves empty.
    pub(super) fn enumerate(
        &mut self,
        table: Ref,
        new: Ref,
        site: SiteId,
        written: &WrittenKeys,
    ) -> Result<()> {
        let address = self.vm.val(table).addr;
        if self
            .tables
            .enumerated
            .try_insert_value(address, ())?
            .is_some()
        {
            return Ok(());
        }
        let written = written.get(&address).copied().unwrap_or_default();
        let is_existing = new == Ref::NIL; // what the file leaves of it is not known
        let path = self.path(table, site)?.filter(|_| !is_existing);
        let mut cursor = self.vm.walk(table, new)?;
        while let Some(entry) = cursor.next(self.vm) {
            // Here the running table is walked, so its value is the entry's new one.
            let is_reference = || {
                let place = path.and_then(|path| self.walked_place(&cursor, path));
                let is_there = place.is_some_and(|place| self.out.base.is_there(place));
                entry.new.is_table() && !self.merges && is_there
            };
            if !entry.old.is_nil() || !entry.new.is_function() && !is_reference() {
                continue;
            }
            let index = cursor.key_integer(self.vm);
            if cursor.key_number(self.vm, written).is_some() || self.is_listed(table, index) {
                continue;
            }
            let mark = self.vm.held();
            let KeyValue { key, value } = cursor.keep_pair(self.vm)?;
            let mut given = self.renames.iter();
            if given.any(|(former, _)| self.vm.raw_equal(*former, key)) {
                self.vm.release(mark);
                continue;
            }
            if entry.new.is_function() && !self.is_own_function(value)? {
                if !self.note_external_alone((table, site), key, value)? {
                    self.vm.release(mark);
                }
                continue;
            }
            if entry.new.is_function() {
                let place = self.out.sites.key(site, key)?;
                self.function1(value, place)?;
            }
            self.out.slots.try_push(SlotDecision {
                table,
                parent: site,
                key,
                new: Ref::NIL,
                old: value,
                action: Action::Follow,
                change: is_existing,
            })?;
        }
        Ok(())
    }

    /// R8: what only the running version has goes from the tables that follow the file.
    pub(super) fn entries_gone(&mut self) -> Result<()> {
        for pair in std::mem::take(&mut self.tables.compared) {
            if pair.fit == Fit::Exact {
                self.rows_gone(&pair)?;
            } else {
                self.gone(&pair)?;
            }
        }
        Ok(())
    }

    /// R8: what the incoming table does not hold goes from the running one.
    fn rows_gone(&mut self, pair: &TablePair) -> Result<()> {
        let address = self.vm.val(pair.old).addr;
        self.tables.exact.try_insert_value(address, ())?;
        let mut cursor = self.vm.walk(pair.old, pair.new)?;
        while let Some(entry) = cursor.next(self.vm) {
            let by_object = self.tables.answered.contains(&entry.key.addr)
                || self.out.number1(entry.key.addr).is_some();
            let index = cursor.key_integer(self.vm);
            if entry.old.is_nil() && !by_object && !self.is_listed(pair.old, index) {
                let entry = cursor.keep_pair(self.vm)?;
                self.remove(pair.old, pair.site, entry)?;
            }
        }
        Ok(())
    }
}
