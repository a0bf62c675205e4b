//! What the incoming chunk wrote into tables that existed: what it overwrote takes the part of the
//! running version (R3).

use rustc_hash::FxHashMap;

use super::{Action, Keyed, Pairer, QueuedChild, SlotDecision};
use crate::lua::vm::Ref;
use crate::model::site::{Origin, SiteId};
use crate::stages::snapshot::Change;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// For each table into which the chunk wrote, by address, a table of the keys
/// ([`crate::lua::vm::Vm::numbered`]).
pub(super) type WrittenKeys = FxHashMap<usize, Ref>;

impl Pairer<'_> {
    /// What the incoming chunk wrote into tables that existed: what it overwrote takes the part of
    /// the running version.
    pub(super) fn changes(&mut self) -> Result<()> {
        let changes = copied(&self.loaded.changes)?;
        let mut sites: FxHashMap<u32, SiteId> = std::mem::take(&mut self.change_sites);
        let mut children = Vec::new();
        for change in &changes {
            let parent = match sites.get(&change.number) {
                Some(site) => *site,
                None => {
                    let site = self
                        .out
                        .sites
                        .remembered(change.number, |table| self.loaded.snapshot.origin(table))?;
                    let is_globals = self.vm.val(change.table) == self.vm.val(self.context.globals);
                    if let Some(number) = self.number_of(change.table).filter(|_| !is_globals) {
                        self.places.number(self.vm, &self.out.sites, site, number)?;
                    }
                    sites.try_insert_value(change.number, site)?;
                    site
                }
            };
            self.change(*change, parent, &mut children)?;
        }
        let mut written = WrittenKeys::default();
        let mut keys = Vec::new();
        for changes in changes.chunk_by(|a, b| a.number == b.number) {
            keys.clear();
            for change in changes {
                keys.try_push(change.key.unwrap_or_default())?;
            }
            keys.retain(|key| *key != Ref::NIL);
            if let (Some(change), false) = (changes.first(), keys.is_empty()) {
                let key = |i: u32| keys.get(i as usize).copied().unwrap_or_default();
                let numbers = self.vm.numbered(keys.len() as u32, key)?;
                written.try_insert_value(self.vm.val(change.table).addr, numbers)?;
            }
        }
        // A table into which the chunk wrote, and which it left in its place, is the file's own as
        // well: it answers to no other one.
        for change in &changes {
            let place = match self.loaded.snapshot.origin(change.number) {
                Some(Origin::Key(parent, key)) => self
                    .loaded
                    .snapshot
                    .slots_of(parent as usize)
                    .map(|parent| (parent.table, key)),
                _ => None,
            };
            let is_replaced = place.is_some_and(|(table, key)| {
                let keys = written.get(&self.vm.val(table).addr);
                keys.is_some_and(|keys| self.vm.has_key(*keys, key))
            });
            if !is_replaced {
                self.tables.take_up(self.vm.val(change.table).addr)?;
            }
        }
        self.take_children(&mut children)?;
        // Tables into which the chunk put functions are code-bearing: the running version's own are
        // met as well.
        for change in &changes {
            if change.key.is_some() && self.is_fresh_function(self.vm.val(change.new)) {
                let site = sites.get(&change.number).copied().unwrap_or_default();
                self.enumerate(change.table, Ref::NIL, site, &written)?;
            }
        }
        self.change_sites = sites;
        self.written = written;
        Ok(())
    }

    fn change(
        &mut self,
        change: Change,
        parent: SiteId,
        children: &mut Vec<QueuedChild>,
    ) -> Result<()> {
        let Some(key) = change.key else {
            let at = self.out.sites.metatable(parent)?;
            let slot = SlotDecision {
                table: change.table,
                parent,
                key: Ref::NIL,
                new: change.new,
                old: change.old,
                action: Action::Merge,
                change: true,
            };
            return self.metatables(slot, at);
        };
        if self.is_fresh(self.vm.val(key)) {
            let Change { table, new, .. } = change;
            return self.keyed.try_push(Keyed {
                table,
                parent,
                key,
                new,
                change: true,
                compared: false,
            });
        }
        let entry = self.entry_pair(key, change.new, change.old);
        let action = self.classify_slot(&entry)?;
        if action == Action::Keep && entry.new_val.is_nil() {
            return Ok(()); // the chunk removed it: what the running version has stays (R5.2)
        }
        let is_data = !entry.new_val.is_function() && entry.order.is_none() && !self.replace_data;
        if action == Action::Add && is_data && self.vm.integer(key).is_some() {
            return Ok(()); // R5.3: lists are state
        }
        let mut slot = SlotDecision {
            table: change.table,
            parent,
            key,
            new: change.new,
            old: change.old,
            action,
            change: true,
        };
        slot.action = self.three_way(action, &slot, &entry)?;
        self.out.slots.try_push(slot)?;
        self.child(slot, Some(change.table), &entry, children)
    }
}
