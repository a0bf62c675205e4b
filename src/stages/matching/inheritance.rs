//! R3.1: where tables look for what they lack: metatables, and `__index` in them.
//!
//! Such a place is behaviour. When the file says that `Dog` extends `Pet` and no longer `Animal`,
//! the running classes stay what they are, and the place leads to another one. These places are
//! looked at when all tables that stand elsewhere have been met: then it is known whether both
//! sides mean the same table.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Action, Fit, Pairer, SlotDecision, TablePair};
use crate::lua::vm::Ref;
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// A class, on both sides.
#[derive(Clone, Copy)]
pub(super) struct Class {
    old: Ref,
    new: Ref,
    site: SiteId,
}

/// A metatable's place, or an `__index`.
#[derive(Clone, Copy)]
pub(super) struct Parent {
    /// The running table that has it…
    pub(super) table: Ref,
    /// …where that stands…
    pub(super) site: SiteId,
    /// …and the key; `NIL` for the metatable.
    pub(super) key: Ref,
    /// What the place leads to in the running version.
    pub(super) old: Ref,
    /// What it leads to in the incoming version.
    pub(super) new: Ref,
    /// Where that stands.
    pub(super) at: SiteId,
    /// The incoming chunk wrote it into a table that existed.
    pub(super) change: bool,
    /// Whose parent it is, where that is a class.
    pub(super) class: Option<Class>,
}

/// What is known of such places.
#[derive(Default)]
pub(super) struct Inheritance {
    waiting: Vec<Parent>,
    /// Metatables of the incoming classes, by address.
    metatables: FxHashMap<usize, Class>,
    /// What a class's place led to, and what it leads to now: the running table and the incoming
    /// one.
    changed: FxHashSet<(usize, usize)>,
}

impl Parent {
    /// The metatable's place of a running table: what stands there in the running version and in
    /// the incoming version, and where the table and that stand.
    pub(super) fn metatable(
        table: Ref,
        [site, at]: [SiteId; 2],
        [old, new]: [Ref; 2],
        change: bool,
    ) -> Parent {
        Parent {
            table,
            site,
            key: Ref::NIL,
            old,
            new,
            at,
            change,
            class: None,
        }
    }
}

impl Pairer<'_> {
    /// A metatable's place with two tables of the module's own.
    pub(super) fn discover_metatables(&mut self, parent: Parent, owner: Ref) -> Result<()> {
        let is_class = self.is_class(owner)?;
        let class = is_class.then_some(Class {
            old: parent.table,
            new: owner,
            site: parent.site,
        });
        if let Some(class) = class {
            let metatable = self.vm.val(parent.new).addr;
            self.inheritance
                .metatables
                .try_insert_value(metatable, class)?;
        }
        if self.are_same(parent.old, parent.new)
            || class.is_none()
                && !self.is_taken(&parent)
                && !self.names_contradict(parent.old, parent.new, None)?
        {
            return self.pair_tables(parent.old, parent.new, parent.at, Fit::Merged);
        }
        self.wait(Parent { class, ..parent })
    }

    fn wait(&mut self, parent: Parent) -> Result<()> {
        self.inheritance.waiting.try_push(parent)
    }

    /// Is the slot of the incoming table `holder` an `__index` with two tables? It waits, if so.
    pub(super) fn discover_index(
        &mut self,
        slot: &SlotDecision,
        holder: Option<Ref>,
        at: SiteId,
    ) -> Result<bool> {
        let is_index = self.vm.is_string(slot.key, b"__index");
        let Some(holder) =
            holder.filter(|_| is_index && !self.replace_data && !self.are_same(slot.old, slot.new))
        else {
            return Ok(false);
        };
        let address = self.vm.val(holder).addr;
        let of_class = self.inheritance.metatables.get(&address).copied();
        let class = match of_class {
            Some(class) => Some(class),
            None if self.is_class(holder)? => Some(Class {
                old: slot.table,
                new: holder,
                site: slot.parent,
            }),
            None => None,
        };
        self.wait(Parent {
            table: slot.table,
            site: slot.parent,
            key: slot.key,
            old: slot.old,
            new: slot.new,
            at,
            change: slot.change,
            class,
        })?;
        Ok(true)
    }

    /// A class has functions, and an `__index` for its objects.
    fn is_class(&mut self, table: Ref) -> Result<bool> {
        let key = self.vm.string(b"__index")?;
        let index = self.vm.get(table, key)?;
        Ok(!self.vm.val(index).is_nil() && self.bears_code(table)?)
    }

    /// Has one side of the place a partner elsewhere?
    fn is_taken(&self, parent: &Parent) -> bool {
        let (old, new) = (self.vm.val(parent.old).addr, self.vm.val(parent.new).addr);
        !self.pairs_seen.contains(&(old, new)) && !self.are_free(old, new)
    }

    /// Takes the places that wait: first those that lead to one table, as far as is known. True
    /// when there were any.
    pub(super) fn resolve_inheritance(&mut self) -> Result<bool> {
        let waiting = std::mem::take(&mut self.inheritance.waiting);
        let mut later = Vec::new();
        let mut found = false;
        for parent in waiting {
            if self.is_taken(&parent) {
                later.try_push(parent)?;
                continue;
            }
            if self.names_contradict(parent.old, parent.new, None)? {
                later.try_push(parent)?;
            } else {
                found = true;
                // Behaviour, and no data (R8).
                self.pair_tables(parent.old, parent.new, parent.at, Fit::Merged)?;
            }
        }
        if found {
            self.inheritance.waiting.append(&mut later); // what these tables hold comes first
        }
        for parent in later {
            found |= self.parent(&parent)?;
        }
        Ok(found)
    }

    /// A place that leads to another table in the incoming version than in the running version.
    fn parent(&mut self, parent: &Parent) -> Result<bool> {
        let (old, new) = (self.vm.val(parent.old).addr, self.vm.val(parent.new).addr);
        if self.pairs_seen.contains(&(old, new)) {
            return Ok(false);
        }
        let has_place = self.out.tables.contains_key(&new);
        // Of what is no class the state may be where it looks: a table that the file has elsewhere,
        // too, may have been chosen at run time.
        let follows = if has_place {
            parent.class.is_some()
        } else {
            self.has_partner(old)
        };
        if !follows
            || !self.has_own_function(parent.old, parent.new)?
            || !self.bears_code(parent.new)?
        {
            self.refer(TablePair {
                old: parent.old,
                new: parent.new,
                site: parent.at,
                fit: Fit::Merged,
            })?;
            return Ok(true);
        }
        self.lead(parent.table, parent.site, parent.key, parent)?;
        if let Some(class) = parent.class {
            self.inheritance.changed.try_insert_value((old, new), ())?;
            self.lead_fields(class, parent)?;
        }
        if !has_place {
            self.scan_queue.try_push((parent.new, parent.at))?;
        }
        Ok(true)
    }

    /// The place leads to what the file says.
    fn lead(&mut self, table: Ref, site: SiteId, key: Ref, parent: &Parent) -> Result<()> {
        self.out.slots.try_push(SlotDecision {
            table,
            parent: site,
            key,
            new: parent.new,
            old: parent.old,
            action: Action::ReplaceImport,
            change: parent.change,
        })
    }

    /// Fields of a class that name its parent (`Dog.super`) go with it.
    fn lead_fields(&mut self, class: Class, parent: &Parent) -> Result<()> {
        let (old, new) = (self.vm.val(parent.old), self.vm.val(parent.new));
        let mut keys = Vec::new();
        let mut cursor = self.vm.walk(class.new, class.old)?;
        while let Some(entry) = cursor.next(self.vm) {
            if entry.new == new && entry.old == old {
                keys.try_push(cursor.keep_pair(self.vm)?.key)?;
            }
        }
        for key in keys {
            self.lead(class.old, class.site, key, parent)?;
        }
        Ok(())
    }

    /// Is it a reference to a parent that a class of the file no longer has?
    pub(super) fn is_former_parent(&self, pair: &TablePair) -> bool {
        let (old, new) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
        self.inheritance.changed.contains(&(old, new))
    }
}
