//! R3.15: what a library copies into a class follows.
//!
//! ```lua
//! local Dog = class("Dog", Animal) --> a repeat: the chunk goes on with the class that runs
//! ```
//!
//! What the library has put into the class that nobody needs now says which methods of `Animal` the
//! file's class would have. Only these are looked at. All else that a library keeps in what it has
//! made is its state.

use rustc_hash::FxHashSet;

use super::{Action, Pairer, SlotDecision};
use crate::lua::heap::Place;
use crate::lua::vm::{KeyValue, Kind};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// A place, by the address of its table.
type Decided = (usize, (Kind, u64));

impl Pairer<'_> {
    /// Other modules' functions in tables that repeats have made.
    pub(super) fn copied_functions(&mut self) -> Result<()> {
        let mut queue = Vec::new();
        for (new, old) in copied(&self.loaded.left.made)? {
            let site = match self.vm.same(old, self.context.running) {
                true => SiteId::MODULE,
                false => self.out.sites.elsewhere(new)?,
            };
            queue.try_push((new, old, site))?;
        }
        if queue.is_empty() {
            return Ok(());
        }
        let decided = self.decided()?;
        let mut seen = FxHashSet::default();
        while let Some((new, old, site)) = queue.pop() {
            let address = self.vm.val(new).addr;
            if self.out.tables.contains_key(&address)
                || seen.try_insert_value(address, ())?.is_some()
            {
                continue;
            }
            let (mut slots, mut has_copies) = (Vec::new(), false);
            for KeyValue { key, value } in self.vm.keep_some(new, usize::MAX)?.iter() {
                let running = self.vm.get(old, key)?;
                let [val, running_val] = [value, running].map(|part| self.vm.val(part));
                if val.is_table() && running_val.is_table() && self.is_fresh(val) {
                    let site = self.out.sites.key(site, key)?;
                    queue.try_push((value, running, site))?;
                }
                if !val.is_function() || self.is_fresh(val) || self.is_own_function(value)? {
                    continue;
                }
                let is_one = val == running_val || self.lineage.is_one(self.vm, running, value);
                has_copies |= is_one;
                let spot = (self.vm.val(old).addr, self.vm.key_hash(key));
                let action = match running_val.is_nil() {
                    true => Action::Add,
                    false => Action::ReplaceImport,
                };
                if (is_one && val != running_val || running_val.is_nil())
                    && !decided.contains(&spot)
                {
                    slots.try_push(SlotDecision {
                        table: old,
                        parent: site,
                        key,
                        new: value,
                        old: running,
                        action,
                        change: false,
                    })?;
                }
            }
            // A table of which no function is known as a copy is no class: what it lacks, the
            // library may have taken out (`timer.done = nil`).
            slots.retain(|slot| has_copies || slot.action != Action::Add);
            self.out.slots.try_reserve(slots.len())?;
            self.out.slots.extend(slots);
        }
        Ok(())
    }

    /// The places of which something else is known already.
    fn decided(&self) -> Result<FxHashSet<Decided>> {
        let mut decided = FxHashSet::default();
        let slots = self.out.slots.iter().map(|slot| (slot.table, slot.key));
        let ops = self.loaded.left.ops.iter().filter_map(|op| match op.place {
            Place::Value { table, key } => Some((table, key)),
            _ => None,
        });
        for (table, key) in slots.chain(ops) {
            let spot = (self.vm.val(table).addr, self.vm.key_hash(key));
            decided.try_insert_value(spot, ())?;
        }
        Ok(decided)
    }
}
