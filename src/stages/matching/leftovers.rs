//! R4.2: cells that no pair reached, by their names.

use rustc_hash::{FxHashMap, FxHashSet};

use super::cells::{Cell2, Name};
use super::{Pairer, Pairing};
use crate::code::definitions::VariableId;
use crate::lua::vm::{Info, Kind, Ref, Val};
use crate::model::objects::RunningFunction;
use crate::model::site::SiteId;
use crate::support::error::{Result, shown};
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush};

/// Entries that are looked at for functions that no pair led to.
const MOST_ENTRIES: u32 = 10_000;

impl Pairer<'_> {
    /// R4.2: of the cells that no pair reached, those whose name exactly one of the running version
    /// and one of the incoming carries.
    pub(super) fn match_leftovers(&mut self) -> Result<bool> {
        #[derive(Default)]
        struct Count {
            old: Vec<u32>,
            new: Vec<u32>,
        }
        let mut counts: FxHashMap<Name, Count> = FxHashMap::default();
        for (number, cell) in self.out.new_cells.iter().enumerate() {
            if cell.own
                && !cell.environment
                && cell.answer.is_none()
                && !self.names.is_none(cell.name)
            {
                if !counts.contains_key(&cell.name) {
                    counts.try_insert_value(cell.name, Count::default())?;
                }
                if let Some(count) = counts.get_mut(&cell.name) {
                    count.new.try_push(number as u32)?;
                }
            }
        }
        if counts.is_empty() {
            return Ok(false);
        }
        let mut wanted = FxHashSet::default();
        for (name, _) in counts.iter().filter(|(_, count)| count.new.len() == 1) {
            wanted.try_insert_value(*name, ())?;
        }
        let is_partial = self.discover_namesakes(wanted)?;
        for (number, cell) in self.out.old_cells.iter().enumerate() {
            if cell.own
                && !cell.matched
                && let Some(count) = counts.get_mut(&cell.name)
            {
                count.old.try_push(number as u32)?;
            }
        }
        let mut pairs = Vec::new();
        for count in counts.into_values() {
            if let ([], [new], true) = (count.old.as_slice(), count.new.as_slice(), is_partial) {
                self.warn_of_local(*new)?;
            }
            if let ([old], [new]) = (count.old.as_slice(), count.new.as_slice())
                && !self.is_environment1(*old)
            {
                pairs.try_push((*new, *old))?;
            }
        }
        self.drop_what_objects_were_given(&mut pairs)?;
        pairs.sort_unstable();
        for (new, old) in &pairs {
            self.match_cells(*old, *new)?;
        }
        Ok(!pairs.is_empty())
    }

    /// What one of many objects was given is no state that goes on under another name: parameters
    /// and variables of a `for` that no code assigns, and variables that the file has several of.
    ///
    /// ```lua
    /// for _, r in ipairs(rows) do M["on_" .. r.name] = handler(r.name) end
    /// ```
    fn drop_what_objects_were_given(&self, pairs: &mut Vec<(u32, u32)>) -> Result<()> {
        let name = |new: u32| self.out.new_cells.get(new as usize).map(|cell| cell.name);
        let variable = |cell: &Cell2| {
            let owner = self.out.new.get(cell.owner as usize)?;
            self.identity.variable(owner, cell.index)
        };
        let mut names = FxHashSet::default();
        for name in pairs.iter().filter_map(|(new, _)| name(*new)) {
            names.try_insert_value(name, ())?;
        }
        let mut counts: FxHashMap<VariableId, u32> = FxHashMap::default();
        let cells = self.out.new_cells.iter();
        for id in cells
            .filter(|cell| names.contains(&cell.name))
            .filter_map(variable)
        {
            let count = counts.get(&id).copied().unwrap_or_default();
            counts.try_insert_value(id, count + 1)?;
        }
        pairs.retain(|(new, _)| {
            let id = self.out.new_cells.get(*new as usize).and_then(variable);
            id.is_none_or(|id| counts.get(&id) == Some(&1) && !self.identity.is_given(id))
        });
        Ok(())
    }

    /// Meets the running functions that no pair led to (those of a class that the file has moved)
    /// and that have the only cell of a name that no cell has which was met. True if there was more
    /// to look at than [`MOST_ENTRIES`].
    fn discover_namesakes(&mut self, mut wanted: FxHashSet<Name>) -> Result<bool> {
        for cell in &self.out.old_cells {
            wanted.remove(&cell.name);
        }
        if wanted.is_empty() {
            return Ok(false);
        }
        let is_partial = self.number_leftovers()?;
        /// Its number, and the function with its lines; none where several cells have the name.
        type SoleOwner = Option<(u32, (i32, i32), Ref)>;
        let mut found: FxHashMap<Name, SoleOwner> = FxHashMap::default();
        for number in 0..self.out.known.functions() as u32 {
            let Some(function) = self.unmet(number) else {
                continue;
            };
            let Some(list) = function.list else {
                continue;
            };
            let (Pairing { old, nesting, .. }, at) = (&mut self.out, (function.at, &function.info));
            if nesting.is_nested(self.vm, old, at, None)? {
                continue; // another one may have made it
            }
            for (i, index) in (0..usize::from(function.info.upvalues)).zip(1..) {
                let Some(cell) = self.out.known.lists.cells(list).get(i).copied() else {
                    break;
                };
                let name = self.name(function.at, index)?;
                match found.get_mut(&name) {
                    Some(Some((known, ..))) if *known == cell => {}
                    Some(known) => *known = None,
                    None if wanted.contains(&name) => {
                        let lines = (function.info.line, function.info.last);
                        found.try_insert_value(name, Some((cell, lines, function.at)))?;
                    }
                    None => {}
                }
            }
        }
        let mut functions = Vec::new();
        for (_, lines, function) in found.into_values().flatten() {
            functions.try_push((lines, function))?;
        }
        functions.sort_unstable();
        functions
            .into_iter()
            .try_for_each(|(_, function)| self.function1(function, SiteId::MODULE).map(|_| ()))?;
        Ok(is_partial)
    }

    /// Warns of a local that the last text had as well, and that no function has which was met.
    fn warn_of_local(&mut self, new: u32) -> Result<()> {
        let Some(cell) = self.out.new_cells.get(new as usize).copied() else {
            return Ok(());
        };
        let name = self.vm.upvalue_name(cell.function, cell.index);
        if !self.identity.was_named(&name) {
            return Ok(());
        }
        self.out.warnings.try_push(format!(
            "{}: local {}: no function that has it is among the first {MOST_ENTRIES} entries of \
             the module's tables, so it begins anew; assign its value in __hotfix (R4.2)",
            self.context.title,
            shown(&name)
        ))
    }

    /// A walk over the VM (R9) must know what else stands in the module: what the file lacks stays
    /// (R5.2), and is no closure of a factory's. (A later reload knows that by what the first
    /// one has numbered: `nesting.rs`.) A function on the lines of one that goes on is another
    /// closure of that one's code (of a loop), and goes on as well (R9.3).
    pub(super) fn discover_known(&mut self) -> Result<bool> {
        let is_later = self.out.old.iter().any(|old| old.lineage.is_some());
        if !self.everywhere || std::mem::replace(&mut self.known_met, true) || is_later {
            return Ok(false);
        }
        self.number_leftovers()?;
        let lines = |info: &Info| (info.source, info.line, info.last);
        let mut answered = FxHashSet::default();
        for old in self.out.old.iter().filter(|old| !old.answers.is_empty()) {
            answered.try_insert_value(lines(&old.info), ())?;
        }
        for number in 0..self.out.known.functions() as u32 {
            let unmet = self.unmet(number);
            if let Some(function) = unmet.filter(|unmet| !answered.contains(&lines(&unmet.info))) {
                self.function1(function.at, SiteId::MODULE)?;
            }
        }
        Ok(true)
    }

    /// The known function with this number, if it is certainly the module's own and no pair led to
    /// it.
    fn unmet(&self, number: u32) -> Option<RunningFunction> {
        let known = self.out.known.function(number)?;
        let unmet = known.own && self.out.met1.get(number).is_none();
        (unmet && !self.loaded.ownership.is_shared(self.vm, known.at)).then_some(known)
    }

    /// Numbers the functions in running tables module object to which no incoming table answers:
    /// the file may name them no longer. True if there were more entries than [`MOST_ENTRIES`].
    fn number_leftovers(&mut self) -> Result<bool> {
        let (running, mut left) = (self.context.running, MOST_ENTRIES);
        if self.vm.kind(running) != Kind::Table {
            return Ok(false);
        }
        let unanswered =
            |pairer: &Self, val: Val| val.is_table() && !pairer.tables.is_answer(val.addr);
        for table in self.look_through(running, &mut left, unanswered)? {
            let unknown = |pairer: &Self, val: Val| {
                val.is_function() && pairer.out.known.number(val.addr).is_none()
            };
            for function in self.look_through(table, &mut left, unknown)? {
                let Some(info) = self.vm.info(function)?.filter(|info| info.lua) else {
                    continue;
                };
                let own = self.loaded.ownership.owns(self.vm, function, &info)?;
                let address = self.vm.val(function).addr;
                let number = self.out.known.add((function, address), info, own)?;
                self.out
                    .known
                    .list(number, self.vm.cells(function, info.upvalues)?)?;
            }
        }
        if left == 0 {
            self.vm.limits.meet(
                "only the first {} entries of its tables were searched for functions that the \
                 file no longer names; give large data a module of their own (R4.2)",
                MOST_ENTRIES as usize,
                Where::Module,
            )?;
        }
        Ok(left == 0)
    }

    /// Keeps what a table holds and is `wanted`, among its first `left` entries.
    fn look_through(
        &mut self,
        table: Ref,
        left: &mut u32,
        wanted: impl Fn(&Self, Val) -> bool,
    ) -> Result<Vec<Ref>> {
        let mut found = Vec::new();
        let mut cursor = self.vm.walk(table, Ref::NIL)?;
        while let Some(entry) = cursor.next(self.vm) {
            if wanted(self, entry.new) {
                found.try_push(cursor.keep_pair(self.vm)?.value)?;
            }
            *left = left.saturating_sub(1);
            if *left == 0 {
                cursor.end(self.vm);
                break;
            }
        }
        Ok(found)
    }
}
