//! Entries of A2 under keys that are fresh tables or functions: A1 has them under what answers to the key.

use super::{Child, Keyed, Pairer, Slot, What};
use crate::error::Result;
use crate::mem::TryPush;
use crate::raw::vm::{Kind, Ref};

impl Pairer<'_> {
    /// Takes the entries under fresh keys: those whose key answers to one of A1's, or, `last`, all that are left. True when
    /// there was one.
    pub(super) fn take_keyed(&mut self, last: bool) -> Result<bool> {
        let mut children = Vec::new();
        let mut left = Vec::new();
        let waiting = std::mem::take(&mut self.keyed);
        let count = waiting.len();
        for keyed in waiting {
            match self.answer_to_key(keyed.key) {
                Some(old_key) => self.take_under(keyed, old_key, &mut children)?,
                None if last => self.take_under(keyed, keyed.key, &mut children)?,
                None => left.try_push(keyed)?,
            }
        }
        let found = left.len() < count;
        self.keyed = left;
        self.take_children(children)?;
        Ok(found)
    }

    /// A1's table or function that a key of A2's answers to.
    pub(super) fn answer_to_key(&self, key: Ref) -> Option<Ref> {
        let val = self.vm.val(key);
        if val.is_table() {
            return self.out.tables.get(&val.addr).copied();
        }
        let function = self.out.new.get(self.number2(val.addr)? as usize)?;
        self.out.old.get(*function.partners.first()? as usize).map(|old| old.at)
    }

    pub(super) fn take_under(&mut self, keyed: Keyed, old_key: Ref, children: &mut Vec<Child>) -> Result<()> {
        let Keyed {
            table,
            parent,
            key,
            new,
            change,
        } = keyed;
        let old = self.vm.get(table, old_key)?;
        let beside = self.beside(key, new, old);
        let what = self.judge(&beside)?;
        let is_function = self.vm.kind(key) == Kind::Function;
        let slot = Slot {
            table,
            parent,
            key: if is_function { key } else { old_key },
            new,
            old,
            what,
            change,
        };
        if is_function {
            self.function2(key, parent)?;
        } else if old_key == key {
            self.scan_queue.try_push((key, parent))?;
        }
        if !is_function || old_key == key || beside.old_val.is_nil() {
            self.out.slots.try_push(slot)?;
            return self.child(slot, None, &beside, children);
        }
        // A function as a key: the entry goes on under the function that takes its place.
        let stays = matches!(what, What::Keep | What::Merge | What::Conflict);
        self.out.slots.try_push(Slot {
            key: old_key,
            new: Ref::NIL,
            what: What::Remove,
            ..slot
        })?;
        self.out.slots.try_push(Slot {
            new: if stays { old } else { new },
            old: Ref::NIL,
            what: What::Replace,
            ..slot
        })?;
        self.child(slot, None, &beside, children)
    }
}
