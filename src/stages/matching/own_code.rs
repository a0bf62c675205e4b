//! Which tables have functions, and which have functions of the module's own.

use rustc_hash::FxHashMap;

use super::Pairer;
use crate::lua::vm::Ref;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::TryInsert;

/// A running table with more entries holds data.
const MOST_LOOKED_AT: usize = 10_000;

/// What was found out about tables, each of which may be asked for in many places.
#[derive(Default)]
pub(super) struct CodeOfTables {
    /// Does the table at an address have functions?
    any: FxHashMap<usize, bool>,
    /// Does the running table have functions of the module's own, beside the incoming one?
    own: FxHashMap<(usize, usize), bool>,
}

impl Pairer<'_> {
    /// Does an incoming table have a function? No walk may be under way.
    pub(super) fn bears_code(&mut self, table: Ref) -> Result<bool> {
        let address = self.vm.val(table).addr;
        if let Some(known) = self.code.any.get(&address) {
            return Ok(*known);
        }
        let mut found = false;
        let mut cursor = self.vm.walk(table, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            if entry.new.is_function() {
                found = true;
                cursor.end(self.vm);
                break;
            }
        }
        self.code.any.try_insert_value(address, found)?;
        Ok(found)
    }

    /// Does a running table have a function of the module's own? One with more than
    /// [`MOST_LOOKED_AT`] entries holds data: there only the keys of `new`, the incoming table
    /// beside it, are looked up. No walk may be under way.
    pub(super) fn has_own_function(&mut self, old: Ref, new: Ref) -> Result<bool> {
        let tables = (self.vm.val(old).addr, self.vm.val(new).addr);
        if let Some(known) = self.code.own.get(&tables) {
            return Ok(*known);
        }
        let mut found = self.has_own_among(old, Ref::NIL, MOST_LOOKED_AT)?;
        if found.is_none() {
            if self.vm.val(new).is_table() {
                found = self.has_own_among(new, old, usize::MAX)?;
            }
            if found != Some(true) {
                self.vm.limits.meet(
                    "only the first {} of its entries were searched for functions of the module, \
                     so it counts as data of the program's; give such functions a table of their \
                     own (R3.9)",
                    MOST_LOOKED_AT,
                    Where::Table(tables.0),
                )?;
            }
        }
        let found = found.unwrap_or(false);
        self.code.own.try_insert_value(tables, found)?;
        Ok(found)
    }

    /// Is a function of the module's own among the values of a table, or, with `beside`, among
    /// those that that one has under the table's keys? None where the table has more than
    /// `most` entries, and none among the first of them.
    fn has_own_among(&mut self, table: Ref, beside: Ref, most: usize) -> Result<Option<bool>> {
        if usize::try_from(self.vm.raw_len(table)).is_ok_and(|length| length > most) {
            return Ok(None);
        }
        let has_beside = beside != Ref::NIL;
        let mut count = 0;
        let mut cursor = self.vm.walk(table, beside)?;
        while let Some(entry) = cursor.next(self.vm) {
            count += 1;
            if count > most {
                cursor.end(self.vm);
                return Ok(None);
            }
            if !(if has_beside { entry.old } else { entry.new }).is_function() {
                continue;
            }
            let mark = self.vm.held();
            let kept = cursor.keep(self.vm)?;
            let is_own = self.is_own_function(if has_beside { kept.old } else { kept.new })?;
            self.vm.release(mark);
            if is_own {
                cursor.end(self.vm);
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}
