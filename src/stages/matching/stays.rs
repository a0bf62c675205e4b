//! R3.6: running functions that are the file's to the letter. Each stays the object that it is, and
//! stands for the incoming function that answers to it.

use rustc_hash::FxHashMap;

use super::{Function1, Function2, Pairing};
use crate::code::Profile;
use crate::lua::vm::{Ref, Vm};
use crate::support::error::Result;

impl Pairing {
    /// Finds them. What their cells hold may change: the cells are the same ones.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn find_stays(&mut self, vm: &Vm) -> Result<()> {
        let mut found = FxHashMap::default();
        found.try_reserve(self.new.len())?;
        for (new, number) in self.new.iter().zip(0..) {
            let mut partners = new.partners.iter();
            let stays = partners.find_map(|f1| {
                let old = self.old.get(*f1 as usize)?;
                (old.answers.first() == Some(&number) && self.is_same(vm, old, new))
                    .then_some(old.at)
            });
            if let Some(old) = stays {
                found.insert(vm.val(new.at).addr, old); // there is room
            }
        }
        self.stays = found;
        Ok(())
    }

    /// The running function that stands for one of the incoming version.
    pub fn stays(&self, vm: &Vm, new: Ref) -> Option<&Function1> {
        let old = self.stays.get(&vm.val(new).addr)?;
        self.old_at(vm.val(*old).addr)
    }

    /// Does no function assign the `_ENV` of its chunk? Those of two chunks are one then, as long
    /// as they hold one table.
    pub fn has_fixed_environment(&self) -> bool {
        let mut environments = self.new_cells.iter().filter(|cell| cell.environment);
        environments.all(|new| {
            let mut old = self.old_cells.iter().filter(|old| old.name == new.name);
            !new.assigned && old.all(|old| !old.assigned)
        })
    }

    /// Are code, lines and cells the same?
    fn is_same(&self, vm: &Vm, old: &Function1, new: &Function2) -> bool {
        let (ups1, ups2) = (
            self.upvalues_of(old.upvalues),
            self.upvalues_of(new.upvalues),
        );
        let is_exactly = |profile: Profile| {
            let known = old.lineage.filter(|_| profile.exact == 0);
            let known = known.and_then(|number| self.lineage.profile_of(vm, old.at, number));
            known.unwrap_or(profile).is_exactly(new.profile)
        };
        let may_be = |profile: &Profile| profile.digest.is_equal(new.profile.digest) != Some(false);
        old.info == new.info
            && old.profile.filter(may_be).is_some_and(is_exactly)
            && ups1.len() == ups2.len()
            && ups1
                .iter()
                .zip(ups2)
                .all(|(one, two)| self.is_same_cell(vm, one.cell, two.cell))
    }

    /// Will both be one cell? Chunks have an `_ENV` each (R4.4), and nothing tells them apart as
    /// long as they hold one table and no function assigns them.
    fn is_same_cell(&self, vm: &Vm, c1: u32, c2: u32) -> bool {
        let (Some(old), Some(new)) = (
            self.old_cells.get(c1 as usize),
            self.new_cells.get(c2 as usize),
        ) else {
            return false;
        };
        // Closures of another module's factory share cells of that module, such as its `_ENV`.
        let cell = |function, index| vm.cell(function, index);
        if new.answer == Some(c1)
            || !new.environment && cell(old.function, old.index) == cell(new.function, new.index)
        {
            return true;
        }
        // What `load` makes has an `_ENV` each time.
        let is_environment = new.environment || vm.upvalue_name(new.function, new.index) == b"_ENV";
        is_environment
            && !old.assigned
            && !new.assigned
            && old.name == new.name
            && vm.val(old.value) == vm.val(new.value)
    }
}
