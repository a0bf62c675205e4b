//! Fresh tables that answer to none of the running version's (R5.1).

use super::{ChildKind, Pairer, QueuedChild, Reference};
use crate::lua::vm::{KeyValue, Ref};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

impl Pairer<'_> {
    /// Goes through a fresh table that answers to none of the running version: its functions are
    /// incoming ones as well, and it may refer to tables that do answer to one.
    pub(super) fn scan(&mut self, table: Ref, site: SiteId) -> Result<()> {
        let Some(order) = self.order_of(self.vm.val(table)) else {
            return Ok(());
        };
        if self
            .scanned
            .try_insert_value(self.vm.val(table).addr, ())?
            .is_some()
        {
            return Ok(());
        }
        let mut children = Vec::new();
        for item in self.items(table, order)? {
            let Some(item) = self.graph.item(item) else {
                break;
            };
            let (KeyValue { key, value }, order) = (item.entry, item.order);
            let key_val = self.vm.val(key);
            let key_order = self.order_of(key_val);
            if order.is_none() && key_order.is_none() {
                continue;
            }
            let site = self.out.sites.key(site, key)?;
            let mut child = |order, new, kind| {
                children.try_push(QueuedChild {
                    order,
                    holder: None,
                    key,
                    site,
                    new,
                    old: Ref::NIL,
                    kind,
                    added: false,
                })
            };
            match order {
                Some(order) if item.val.is_function() => child(order, value, ChildKind::Function)?,
                Some(order) => child(order, value, ChildKind::Scan)?,
                None => {}
            }
            match key_order {
                Some(order) if key_val.is_function() => child(order, key, ChildKind::Function)?,
                Some(order) => child(order, key, ChildKind::Scan)?,
                None => {}
            }
            if key_order.is_some() || order.is_some() {
                self.out
                    .references
                    .try_push(Reference { table, key, value })?;
            }
        }
        self.take_children(&mut children)?;
        let metatable = self.vm.metatable(table)?;
        if self.is_fresh(self.vm.val(metatable)) {
            let place = self.out.sites.metatable(site)?;
            self.out.references.try_push(Reference {
                table,
                key: Ref::NIL,
                value: metatable,
            })?;
            self.scan_queue.try_push((metatable, place))?;
        }
        Ok(())
    }
}
