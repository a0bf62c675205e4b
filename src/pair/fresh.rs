//! Fresh tables that answer to none of A1's (R5.1).

use super::{Child, ChildKind, Pairer, Reference};
use crate::error::Result;
use crate::mem::{TryInsert, TryPush};
use crate::raw::vm::{Kind, Ref};
use crate::site::SiteId;

impl Pairer<'_> {
    /// Goes through a fresh table that answers to none of A1's: its functions are A2's as well, and it may refer to tables that
    /// do answer to one.
    pub(super) fn scan(&mut self, table: Ref, site: SiteId) -> Result<()> {
        let address = self.vm.val(table).addr;
        if !self.is_fresh(self.vm.val(table)) || self.scanned.try_insert_value(address, ())?.is_some() {
            return Ok(());
        }
        let path = self.note_table(table, site)?;
        let mut children = Vec::new();
        self.vm.zip(table, Ref::NIL)?;
        while let Some(entry) = self.vm.zip_next() {
            if let Some(path) = path {
                self.note_entry(path, entry)?;
            }
            let key_order = if entry.key.is_table() {
                self.loaded.fresh.order(entry.key.addr)
            } else {
                None
            };
            let order = self.loaded.fresh.order(entry.new.addr);
            let kind = match (entry.new.kind, order) {
                (Kind::Function, Some(_)) => ChildKind::Function,
                (Kind::Table, Some(_)) => ChildKind::Scan,
                _ if key_order.is_some() => ChildKind::Scan,
                _ => continue,
            };
            let base = self.vm.zip_keep()?;
            let key = base.after(2);
            let place = self.out.sites.key(site, key)?;
            if order.is_some() {
                let (order, old) = (order.unwrap_or(u32::MAX), Ref::NIL);
                children.try_push(Child {
                    order,
                    key,
                    site: place,
                    new: base,
                    old,
                    kind,
                })?;
            }
            if let Some(order) = key_order {
                children.try_push(Child {
                    order,
                    key,
                    site: place,
                    new: key,
                    old: Ref::NIL,
                    kind: ChildKind::Scan,
                })?;
            }
            if key_order.is_some() || entry.new.is_table() {
                self.out.references.try_push(Reference {
                    table,
                    key,
                    value: base,
                })?;
            }
        }
        self.take_children(children)?;
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
