//! R4.7: constants follow the file.
//!
//! Looked at are only cells whose two values differ, so that most reloads do no more here than to
//! go through the pairs of cells. A constant is what is proved to be one; all else keeps the
//! running value.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Pairer;
use super::cells::{CellFate, CellPair};
use super::dropped::describe;
use super::merge::is_scalar;
use super::wrappers::MOST_DEEP;
use crate::code::constants::{Init, MainText, Sought};
use crate::code::definitions::Definitions;
use crate::code::{Chunk, UpvalueSet};
use crate::lua::vm::{DebugInfo, Kind, Ref, SourceId, Val, Vm};
use crate::model::base::Held;
use crate::model::lineage::Lineage;
use crate::model::record::Assigned;
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush};

/// Objects and entries that are looked at in search of a running function that assigns what looks
/// like a constant.
const MOST_SEARCHED: usize = 20_000;
/// Entries of a table that is searched: with more of them it holds data.
const MOST_ENTRIES: usize = 1_000;

/// What is found out about constants, once it is asked for.
pub(super) struct Constants {
    /// `options.constants`
    follow: bool,
    /// The source of the incoming main function.
    source: SourceId,
    /// The incoming text; none inside where it cannot be read.
    text: Option<Option<MainText>>,
    /// What earlier reloads know to be assigned.
    assigned: Assigned,
    /// Pairs of cells up to this one were looked at for functions to be met.
    met: usize,
    /// What the chunk itself took the place of, by address; made when first asked for.
    taken: Option<FxHashSet<usize>>,
    /// In how many of the running functions each of its cells is, of so many functions.
    holders: Vec<u32>,
    counted: usize,
}

impl Constants {
    /// Does R4.7 hold?
    pub(super) fn follows(&self) -> bool {
        self.follow
    }

    pub(super) fn new(follow: bool, source: SourceId, assigned: Assigned) -> Constants {
        Constants {
            follow,
            source,
            text: None,
            assigned,
            met: 0,
            taken: None,
            holders: Vec::new(),
            counted: 0,
        }
    }
}

/// R4.7: what the text of the first load assigned, of which `main` is the main function, if known.
pub(super) fn read_first(vm: &mut Vm, main: Ref, assigned: &mut Assigned) -> Result<()> {
    if !vm.info(main)?.is_some_and(|info| info.lua) {
        return Ok(());
    }
    vm.dump(main, DebugInfo::Strip)?;
    let Some(chunk) = Chunk::read(vm.take_dump(), vm.secret())? else {
        return assigned.add_all();
    };
    if chunk.setters.is_empty() {
        return Ok(());
    }
    vm.dump(main, DebugInfo::Keep)?;
    let text = MainText::read(vm.take_dump(), vm.secret())?;
    let names = match &text {
        Some(text) => text.certainly_assigned()?,
        None => None,
    };
    match names {
        Some(names) => names
            .into_iter()
            .try_for_each(|name| assigned.add(vm, name)),
        None => assigned.add_all(),
    }
}

/// Was all looked at that a search was for?
#[derive(Clone, Copy, PartialEq, Eq)]
enum SetterSearch {
    Whole,
    /// Not in tables that are too large.
    WithoutData,
    /// No further than [`MOST_SEARCHED`].
    Cut,
}

impl Pairer<'_> {
    /// The incoming function takes the place of a value that is none (`local log = print` becomes
    /// `local function log`): it is met like any other, since its cells are to be joined. True when
    /// there was one.
    pub(super) fn discover_constants(&mut self) -> Result<bool> {
        let mut found = false;
        while let Some(pair) = self.out.cell_pairs.get(self.constants.met).copied() {
            self.constants.met += 1;
            let new = self.vm.val(pair.new_value);
            if new.is_function()
                && self.is_fresh(new)
                && self.number2(new.addr).is_none()
                && self.may_be_constant(&pair)
                && self.is_proved(&pair)?
            {
                let site = self.out.cell_site(pair.new)?;
                found |= self.function2(pair.new_value, site)?.is_some();
            }
        }
        Ok(found)
    }

    /// When all else is known: which cells are constants, and what the next reloads are to know.
    pub(super) fn settle_constants(&mut self) -> Result<()> {
        let mut candidates: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        for i in 0..self.out.cell_pairs.len() {
            let Some(pair) = self.out.cell_pairs.get(i).copied() else {
                break;
            };
            if self.may_be_constant(&pair)
                && (self.is_proved(&pair)? && self.may_go_at(&pair)? || self.is_written(&pair)?)
            {
                if !candidates.contains_key(&pair.old) {
                    candidates.try_insert_value(pair.old, Vec::new())?;
                }
                if let Some(pairs) = candidates.get_mut(&pair.old) {
                    pairs.try_push(i)?;
                }
            }
        }
        if !candidates.is_empty() {
            let mut all: Vec<u32> = Vec::new(); // the pairs of each running cell
            all.try_reserve_exact(self.out.old_cells.len())?;
            all.resize(self.out.old_cells.len(), 0);
            for pair in &self.out.cell_pairs {
                if let Some(count) = all.get_mut(pair.old as usize) {
                    *count += 1;
                }
            }
            let count = |old: u32| all.get(old as usize).map(|count| *count as usize);
            candidates.retain(|old, pairs| count(*old) == Some(pairs.len()) && self.agree(pairs));
            let search = self.search_setters(&candidates)?;
            if search != SetterSearch::Whole {
                self.tell_of_search(&candidates, search)?;
            }
        }
        for (old, pairs) in &candidates {
            if self
                .out
                .old_cells
                .get(*old as usize)
                .is_some_and(|cell| cell.assigned)
            {
                continue;
            }
            for i in pairs {
                if let Some(pair) = self.out.cell_pairs.get_mut(*i) {
                    pair.fate = CellFate::Constant;
                }
            }
        }
        self.note_assigned()
    }

    /// Where a value follows the file that the program may have assigned: no record of it is known,
    /// and not all was searched for a function that does.
    fn tell_of_search(
        &mut self,
        candidates: &FxHashMap<u32, Vec<usize>>,
        search: SetterSearch,
    ) -> Result<()> {
        for (old, pairs) in candidates {
            let pair = pairs
                .first()
                .and_then(|i| self.out.cell_pairs.get(*i))
                .copied();
            let cell = self.out.old_cells.get(*old as usize).copied();
            let (Some(pair), Some(cell)) = (pair, cell.filter(|cell| !cell.assigned)) else {
                continue;
            };
            let place = self.cell_place(&cell);
            if self.vm.same(pair.old_value, pair.new_value)
                || self.is_as_loaded(place, pair.old_value)?
            {
                continue;
            }
            let site = self.out.cell_site(pair.new)?;
            let path = self.out.sites.path(self.vm, &self.context.title, site);
            if search == SetterSearch::WithoutData {
                self.vm.limits.meet(
                    "its value follows the file as that of a constant; tables of more than {} \
                     entries were not searched for functions that assign it; if one does, assign \
                     the former value in __hotfix (R4.7)",
                    MOST_ENTRIES,
                    Where::Named(path),
                )?;
                continue;
            }
            let values = [pair.old_value, pair.new_value].map(|value| describe(self.vm, value));
            let [running, file] = values;
            self.out.warnings.try_push(format!(
                "{path}: {} gives way to {} as a constant; only the nearest {MOST_SEARCHED} \
                 objects were searched for a function that assigns it; if one does, assign the \
                 former value in __hotfix (R4.7)",
                running?, file?
            ))?;
        }
        Ok(())
    }

    /// All that is asked without looking at the text.
    fn may_be_constant(&self, pair: &CellPair) -> bool {
        if !self.constants.follow || !matches!(pair.fate, CellFate::Keep | CellFate::Follow) {
            return false;
        }
        let (Some(old), Some(new)) = (
            self.out.old_cells.get(pair.old as usize),
            self.out.new_cells.get(pair.new as usize),
        ) else {
            return false;
        };
        !(old.assigned || new.assigned)
            && old.own == new.own
            && old.name == new.name
            && new.answer == Some(pair.old)
            && !self.vm.same(pair.old_value, pair.new_value)
            && !self.was_assigned_as(new.function, new.index)
    }

    /// Has an earlier version assigned a local with the name of an upvalue?
    fn was_assigned_as(&self, function: Ref, index: u8) -> bool {
        let assigned = &self.constants.assigned;
        let has = |name: &[u8]| assigned.has(self.vm, name);
        !assigned.is_empty() && self.vm.with_upvalue_name(function, index, has)
    }

    /// Does the incoming text prove that the cell holds what a literal, an import or a function put
    /// there, and that nothing assigns it?
    fn is_proved(&mut self, pair: &CellPair) -> Result<bool> {
        let new = self.vm.val(pair.new_value);
        let fresh = self.is_fresh(new);
        if !self
            .out
            .new_cells
            .get(pair.new as usize)
            .is_some_and(|cell| cell.own)
        {
            return Ok(false);
        }
        let Some((sought, index, name)) = self.sought(pair.new) else {
            return Ok(false);
        };
        let import = self.is_import(pair.new_value)?;
        self.read_text()?;
        let (vm, value) = (&*self.vm, pair.new_value);
        let fits = |init: Init<'_>| match init {
            Init::Nil => new.is_nil(),
            Init::Boolean(b) => new.kind == Kind::Boolean && vm.truthy(value) == b,
            Init::Integer(n) => vm.integer(value) == Some(n),
            Init::Float(n) => vm
                .float(value)
                .is_some_and(|value| value.to_bits() == n.to_bits()),
            Init::String(text) => vm.is_string(value, text),
            Init::Function => new.is_function() && fresh,
            Init::Import => import,
            Init::Computed => false,
        };
        let text = self.constants.text.as_mut().and_then(Option::as_mut);
        Ok(text.is_some_and(|text| fits(text.init(&sought, index, &name))))
    }

    /// Is it an object of others that the file imports? What the chunk itself takes the place of,
    /// or the module's own function, is what a wrapper wraps.
    pub(super) fn is_import(&mut self, value: Ref) -> Result<bool> {
        let val = self.vm.val(value);
        Ok(val.addr != 0
            && val.kind != Kind::String
            && !self.is_fresh(val)
            && !self.is_taken_by_chunk(val.addr)?
            && !self.is_own(value)?)
    }

    /// Does the text say what the cell of a closure holds that a function made while the file was
    /// loaded, and does the running hold what it held then? Of a factory of another module the text
    /// is not known: what its closure holds is what the file passes to it.
    fn is_written(&mut self, pair: &CellPair) -> Result<bool> {
        let (Some(old), Some(new)) = (
            self.out.old_cells.get(pair.old as usize).copied(),
            self.out.new_cells.get(pair.new as usize).copied(),
        ) else {
            return Ok(false);
        };
        let is_data = [pair.old_value, pair.new_value]
            .iter()
            .all(|value| is_scalar(self.vm.val(*value)));
        // What no function assigns is as it was; the record may know of one that is gone by now.
        let place = self.cell_place(&old);
        let recorded = self.out.base.get(place).filter(|_| old.own);
        let digest = self.vm.digest(pair.old_value);
        let is_untouched = recorded.is_none_or(|held| digest.map(Held::scalar) == Some(held));
        let Some(owner) = self
            .out
            .new
            .get(new.owner as usize)
            .filter(|_| is_data && is_untouched)
        else {
            return Ok(false);
        };
        if new.own {
            return match self.constants.source == owner.info.source {
                true => self.identity.is_literal_upvalue(owner, new.index),
                false => Ok(false),
            };
        }
        Ok(self.identity.is_argument(self.vm, owner.at, pair.new_value))
    }

    /// Did the chunk itself put something else in the place of the object at this address?
    fn is_taken_by_chunk(&mut self, address: usize) -> Result<bool> {
        if let Some(taken) = &self.constants.taken {
            return Ok(taken.contains(&address));
        }
        let mut taken = FxHashSet::default();
        for change in &self.loaded.changes {
            taken.try_insert_value(self.vm.val(change.old).addr, ())?;
        }
        Ok(self.constants.taken.insert(taken).contains(&address))
    }

    /// The incoming function by which a cell is looked up in the text; none when the text is not
    /// that function's.
    fn sought(&self, cell: u32) -> Option<(Sought, u8, Vec<u8>)> {
        let cell = self.out.new_cells.get(cell as usize)?;
        let owner = self.out.new.get(cell.owner as usize)?;
        if self.constants.source != owner.info.source {
            return None;
        }
        let sought = Sought {
            lines: (owner.info.line, owner.info.last),
            upvalues: owner.info.upvalues,
            digest: owner.profile.digest,
        };
        Some((
            sought,
            cell.index,
            self.vm.upvalue_name(cell.function, cell.index),
        ))
    }

    fn read_text(&mut self) -> Result<()> {
        if self.constants.text.is_none() {
            self.constants.text = Some(match self.loaded.chunk {
                Some(_) => {
                    self.vm.dump(self.loaded.main, DebugInfo::Keep)?;
                    MainText::read(self.vm.take_dump(), self.vm.secret())?
                }
                None => None,
            });
        }
        Ok(())
    }

    /// Does some function assign the cell, of any version that is known, whether it can be reached
    /// or not?
    pub(super) fn is_assigned_anywhere(&mut self, c1: u32, c2: u32) -> Result<bool> {
        if self.is_assigned(c1, c2) {
            return Ok(true);
        }
        let Some((sought, index, name)) = self.sought(c2) else {
            return Ok(false);
        };
        if self.constants.assigned.has(self.vm, &name) {
            return Ok(true);
        }
        if self
            .loaded
            .chunk
            .as_ref()
            .is_none_or(|chunk| chunk.setters.is_empty())
        {
            return Ok(false);
        }
        self.read_text()?;
        let text = self.constants.text.as_ref().and_then(Option::as_ref);
        Ok(text.is_some_and(|text| text.is_assigned(&sought, index)))
    }

    /// Has an earlier version assigned the local? What was state once stays state.
    pub(super) fn was_assigned(&self, c2: u32) -> bool {
        let assigned = &self.constants.assigned;
        !assigned.is_empty()
            && self
                .sought(c2)
                .is_some_and(|(.., name)| assigned.has(self.vm, &name))
    }

    /// May what the running cell holds go?
    fn may_go_at(&mut self, pair: &CellPair) -> Result<bool> {
        let site = self.out.cell_site(pair.new)?;
        self.may_go(pair.old_value, pair.new_value, site)
    }

    /// May the running value go? What is held nowhere else may be state itself: a table, a closure
    /// with cells of its own.
    pub(super) fn may_go(&mut self, value: Ref, incoming: Ref, site: SiteId) -> Result<bool> {
        let old = self.vm.val(value);
        if !matches!(
            old.kind,
            Kind::Table | Kind::Function | Kind::Userdata | Kind::Thread
        ) {
            return Ok(true);
        }
        if old.is_function() {
            if self.is_own_function(value)? {
                let met = self.function1(value, site)?;
                return Ok(match met {
                    Some(f1) => !self.is_made_at_run_time(f1)? && !self.has_state(f1)?,
                    None => false,
                });
            }
            let upvalues = self.vm.info(value)?.map_or(0, |info| info.upvalues);
            let own = |i: &u8| self.vm.upvalue_name(value, *i) != b"_ENV";
            if !(1..=upvalues).any(|i| own(&i)) || self.lineage.number(self.vm, value).is_some() {
                return Ok(true);
            }
        }
        Ok(self.is_held_by_module(old)? || self.is_inside(old, incoming)?)
    }

    /// Is the object kept by the incoming function, as what it wraps? (Somebody has patched the
    /// function of another module that the file imports.)
    fn is_inside(&mut self, sought: Val, incoming: Ref) -> Result<bool> {
        if !self.vm.val(incoming).is_function() {
            return Ok(false);
        }
        let mark = self.vm.held();
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut waiting = Vec::new();
        waiting.try_push((incoming, 1))?;
        let mut found = false;
        while let Some((function, depth)) = waiting.pop().filter(|_| !found) {
            for index in 1..=u8::MAX {
                let Some(upvalue) = self.vm.upvalue(function, index) else {
                    break;
                };
                let val = upvalue.value;
                found |= val == sought;
                if val.is_function()
                    && depth < MOST_DEEP
                    && seen.try_insert_value(val.addr, ())?.is_none()
                {
                    waiting.try_push((self.vm.upvalue_value(function, index)?, depth + 1))?;
                }
            }
        }
        self.vm.release(mark);
        Ok(found)
    }

    /// Does the function have a cell to itself that it assigns?
    fn has_state(&mut self, f1: u32) -> Result<bool> {
        let Constants {
            holders, counted, ..
        } = &mut self.constants;
        if let Some(more) = self.out.old_cells.len().checked_sub(holders.len()) {
            holders.try_reserve(more)?;
            holders.resize(self.out.old_cells.len(), 0);
        }
        for function in self.out.old.iter().skip(*counted) {
            let upvalues = self.out.upvalues_of(function.upvalues);
            for (i, upvalue) in upvalues.iter().enumerate() {
                let is_first = !upvalues
                    .iter()
                    .take(i)
                    .any(|other| other.cell == upvalue.cell);
                if let Some(count) = holders.get_mut(upvalue.cell as usize).filter(|_| is_first) {
                    *count += 1;
                }
            }
        }
        *counted = self.out.old.len();
        let Some(function) = self.out.old.get(f1 as usize) else {
            return Ok(false);
        };
        Ok(self
            .out
            .upvalues_of(function.upvalues)
            .iter()
            .any(|upvalue| {
                let cell = self.out.old_cells.get(upvalue.cell as usize);
                cell.is_some_and(|cell| cell.assigned)
                    && self.constants.holders.get(upvalue.cell as usize) == Some(&1)
            }))
    }

    /// One running cell that answers to several of the incoming version takes what all of them say,
    /// or nothing.
    fn agree(&self, candidates: &[usize]) -> bool {
        let of = |i: &usize| self.out.cell_pairs.get(*i);
        let first = candidates.first().and_then(of);
        candidates
            .iter()
            .filter_map(of)
            .all(|pair| first.is_some_and(|first| self.vm.same(first.new_value, pair.new_value)))
    }

    /// Looks for running functions that assign one of the cells and that the file lacks now: behind
    /// the running functions and tables, in other modules, in the registry. The nearest first, a
    /// whole level at a time, and no more than [`MOST_SEARCHED`].
    fn search_setters(&mut self, candidates: &FxHashMap<u32, Vec<usize>>) -> Result<SetterSearch> {
        let mut cells: FxHashMap<usize, u32> = FxHashMap::default();
        for old in candidates.keys() {
            if let Some(cell) = self.out.old_cells.get(*old as usize) {
                cells.try_insert_value(self.vm.cell(cell.function, cell.index), *old)?;
            }
        }
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut level = Vec::new();
        level.try_push(self.context.running)?;
        level.try_push(self.vm.registry_table()?)?;
        for function in &self.out.old {
            level.try_push(function.at)?;
        }
        let mode = self.vm.string(b"__mode")?;
        let (mut looked_at, mut is_whole) = (0, true);
        while !level.is_empty() && looked_at + level.len() <= MOST_SEARCHED {
            let mut next = Vec::new();
            for object in std::mem::take(&mut level) {
                let val = self.vm.val(object);
                if seen.try_insert_value(val.addr, ())?.is_some() {
                    continue;
                }
                looked_at += 1;
                let mut meet = |vm: &crate::lua::vm::Vm, value: Ref| {
                    let val = vm.val(value);
                    if (val.is_table() || val.is_function()) && !seen.contains(&val.addr) {
                        next.try_push(value)
                    } else {
                        Ok(())
                    }
                };
                let metatable = self.vm.metatable(object)?;
                meet(self.vm, metatable)?;
                if val.is_table() {
                    // What is only held weakly may be gone already.
                    if metatable != Ref::NIL && !self.vm.holds(metatable, mode, Ref::NIL) {
                        continue;
                    }
                    let Some(entries) = self.vm.keep_at_most(object, MOST_ENTRIES)? else {
                        is_whole = false;
                        continue;
                    };
                    looked_at += entries.len() as usize;
                    for held in entries.flat().iter() {
                        meet(self.vm, held)?;
                    }
                } else if val.is_function() {
                    let mut index = 1;
                    while let Some(upvalue) = self.vm.upvalue(object, index) {
                        if upvalue.value.is_table() || upvalue.value.is_function() {
                            let value = self.vm.upvalue_value(object, index)?;
                            meet(self.vm, value)?;
                        }
                        if let Some(old) = cells.get(&upvalue.cell).copied()
                            && self.assigns(object, index)?
                            && let Some(cell) = self.out.old_cells.get_mut(old as usize)
                        {
                            cell.assigned = true;
                        }
                        let Some(following) = index.checked_add(1) else {
                            break;
                        };
                        index = following;
                    }
                }
            }
            level = next;
        }
        Ok(match (level.is_empty(), is_whole) {
            (true, true) => SetterSearch::Whole,
            (true, false) => SetterSearch::WithoutData,
            (false, _) => SetterSearch::Cut,
        })
    }

    /// Does the function assign its upvalue with this number, counted from 1?
    fn assigns(&mut self, function: Ref, index: u8) -> Result<bool> {
        if self.vm.is_c_function(function).is_some() {
            return Ok(false);
        }
        let known = self
            .lineage
            .number(self.vm, function)
            .and_then(Lineage::profile);
        let profile = match known {
            Some(profile) => Some(profile),
            None => self.vm.profile(function)?,
        };
        let assigns = |assigned: UpvalueSet| assigned.has(index.wrapping_sub(1));
        Ok(profile.is_none_or(|profile| assigns(profile.assigned)))
    }

    /// What the next reloads have to know: every local of the running version and the incoming
    /// version that some function assigns.
    fn note_assigned(&mut self) -> Result<()> {
        let mut names: Vec<bool> = Vec::new();
        names.try_reserve_exact(self.names.len())?;
        names.resize(self.names.len(), false);
        let old = self
            .out
            .old_cells
            .iter()
            .filter(|cell| cell.own && cell.assigned);
        let new = self
            .out
            .new_cells
            .iter()
            .filter(|cell| cell.own && cell.assigned);
        for name in old.map(|cell| cell.name).chain(new.map(|cell| cell.name)) {
            if let Some(is_assigned) = names.get_mut(name.number()) {
                *is_assigned = true;
            }
        }
        let assigned = &mut self.constants.assigned;
        self.names
            .each_of(&names, |text| assigned.add(self.vm, text))?;

        let Some(chunk) = &self.loaded.chunk else {
            return assigned.add_all();
        };
        // Functions that no pair led to were handed to somebody else.
        if chunk.has_unmet_setter(&self.loaded.met) {
            let known = self.identity.definitions();
            if let Some(mut names) = known.and_then(Definitions::assigned_locals) {
                let assigned = &mut self.constants.assigned;
                return names.try_for_each(|name| assigned.add(self.vm, name));
            }
            self.read_text()?;
            let assigned = &mut self.constants.assigned;
            match self
                .constants
                .text
                .as_ref()
                .and_then(Option::as_ref)
                .map(MainText::assigned)
            {
                Some(Some(mut names)) => names.try_for_each(|name| assigned.add(self.vm, name))?,
                _ => assigned.add_all()?,
            }
        }
        Ok(())
    }

    /// What is known to be assigned, to be kept once the reload is done.
    pub(super) fn take_assigned(&mut self) -> Assigned {
        std::mem::take(&mut self.constants.assigned)
    }
}
