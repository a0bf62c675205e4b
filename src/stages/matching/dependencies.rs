//! R5.1: modules that the load required for the first time. What they were given of the file's is
//! met like everything else that the file placed, and what they hold refers to the running tables.
//!
//! ```lua
//! require("admin").register("kick", function(name) players[name] = nil end, M)
//! ```

use rustc_hash::FxHashSet;

use super::{Pairer, Reference};
use crate::lua::vm::{KeyValue, Ref, Val};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// An upvalue of a dependency's function that holds an object of the file's.
#[derive(Clone, Copy, Debug)]
pub struct HeldUpvalue {
    /// The function.
    pub function: Ref,
    /// Counted from 1.
    pub index: u8,
    /// What it holds.
    pub value: Ref,
}

impl Pairer<'_> {
    /// Meets them, once. True when there was something of the file's.
    pub(super) fn discover_in_dependencies(&mut self) -> Result<bool> {
        if std::mem::replace(&mut self.dependencies_met, true) {
            return Ok(false);
        }
        let loaded = self.vm.val(self.context.loaded);
        let (mut work, mut met) = (Vec::new(), FxHashSet::default());
        for change in copied(&self.loaded.changes)? {
            if self.vm.val(change.table) == loaded && self.vm.val(change.old).is_nil() {
                work.try_push(change.new)?;
            }
        }
        let mut found = false;
        while let Some(at) = work.pop() {
            let val = self.vm.val(at);
            if !self.is_dependencies(val) || met.try_insert_value(val.addr, ())?.is_some() {
                continue;
            }
            if val.is_table() {
                for entry in self.vm.keep_entries(at)?.iter() {
                    found |= self.discover_in_dependency(at, entry, &mut work)?;
                }
                let value = self.vm.metatable(at)?;
                let entry = KeyValue {
                    key: Ref::NIL,
                    value,
                };
                found |= self.discover_in_dependency(at, entry, &mut work)?;
            } else {
                for index in 1..=self.vm.info(at)?.map_or(0, |info| info.upvalues) {
                    let value = self.vm.upvalue_value(at, index)?;
                    if self.discover_object(value, &mut work)? {
                        found = true;
                        self.out.held.try_push(HeldUpvalue {
                            function: at,
                            index,
                            value,
                        })?;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Did the code of a dependency make the object while it was loaded?
    fn is_dependencies(&self, val: Val) -> bool {
        (val.is_table() || val.is_function())
            && self.loaded.fresh.created(val.addr)
            && self.order_of(val).is_none()
    }

    fn discover_in_dependency(
        &mut self,
        table: Ref,
        KeyValue { key, value }: KeyValue,
        work: &mut Vec<Ref>,
    ) -> Result<bool> {
        let found = [
            self.discover_object(key, work)?,
            self.discover_object(value, work)?,
        ];
        if found != [false, false] {
            self.out
                .references
                .try_push(Reference { table, key, value })?;
        }
        Ok(found != [false, false])
    }

    /// Is it an object of the file's? It is met then; one of a dependency waits to be looked into.
    fn discover_object(&mut self, value: Ref, work: &mut Vec<Ref>) -> Result<bool> {
        let val = self.vm.val(value);
        if self.is_dependencies(val) {
            work.try_push(value)?;
            return Ok(false);
        }
        if !self.is_fresh(val) {
            return Ok(false);
        }
        let site: SiteId = self.out.sites.elsewhere(value)?;
        if val.is_table() {
            self.scan_queue.try_push((value, site))?;
        } else {
            self.function2(value, site)?;
        }
        Ok(true)
    }
}
