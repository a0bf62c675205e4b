//! R4: the cells of both sides, which is which, and what a joined one then holds.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::identity::Relation;
use super::kinds::are_two_kinds;
use super::{Edge, Pairer, Pairing, SharedCell, TablePair};
use crate::lua::vm::{KeptUpvalue, Kind, Ref, Val};
use crate::model::objects::DenseMap;
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, sort_by_number};

/// The number of a name; names are equal when their numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Name(u32);

impl Name {
    /// The number.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// The names of upvalues. Short ones are shared by all functions of a Lua state, so an address is
/// looked up most of the time, and the text only at its first sight.
pub struct UpvalueNames {
    by_address: FxHashMap<usize, Name>,
    by_text: FxHashMap<Vec<u8>, Name>,
    environment: Option<Name>,
    none: Option<Name>,
    /// The names that were looked up last, by a part of their addresses.
    recent: [(usize, Name); RECENT],
}

/// So many names are looked up by one look.
const RECENT: usize = 64;

impl Default for UpvalueNames {
    fn default() -> Self {
        UpvalueNames {
            by_address: FxHashMap::default(),
            by_text: FxHashMap::default(),
            environment: None,
            none: None,
            recent: [(0, Name(0)); RECENT],
        }
    }
}

impl UpvalueNames {
    /// Makes room for so many.
    pub(super) fn reserve(&mut self, names: usize) -> Result<()> {
        self.by_address.try_reserve(names)?;
        self.by_text.try_reserve(names)?;
        Ok(())
    }

    /// The number of the name at an address that is met for the first time.
    fn add(&mut self, address: usize, text: &[u8]) -> Result<Name> {
        let name = match self.by_text.get(text) {
            Some(name) => *name,
            None => {
                let name = Name(self.by_text.len() as u32);
                match text {
                    b"_ENV" => self.environment = Some(name),
                    b"(no name)" | b"" => self.none = Some(name),
                    _ => {}
                }
                let mut own = Vec::new();
                own.try_reserve_exact(text.len())?;
                own.extend_from_slice(text);
                self.by_text.try_insert_value(own, name)?;
                name
            }
        };
        self.by_address.try_insert_value(address, name)?;
        Ok(name)
    }

    /// How many there are: they are numbered below this.
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Hands the texts of these names to `f`: of those that are true under their numbers.
    pub(super) fn each_of(
        &self,
        names: &[bool],
        mut f: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let is_one = |name: &Name| names.get(name.number()) == Some(&true);
        let mut found = self.by_text.iter().filter(|(_, name)| is_one(name));
        found.try_for_each(|(text, _)| f(text))
    }

    /// The name at an address, if it was met.
    #[inline]
    fn at(&mut self, address: usize) -> Option<Name> {
        // Strings stand at multiples of 16 most of the time.
        let place = (address >> 4 ^ address >> 10) % RECENT;
        let recent = self.recent.get_mut(place)?;
        if recent.0 != address || address == 0 {
            *recent = (address, *self.by_address.get(&address)?);
        }
        Some(recent.1)
    }

    /// The number of a name, if it was met.
    pub(super) fn called(&self, text: &[u8]) -> Option<Name> {
        self.by_text.get(text).copied()
    }

    /// Is it the name of an upvalue that has none (stripped code)?
    pub(super) fn is_none(&self, name: Name) -> bool {
        self.none == Some(name)
    }

    /// Are there upvalues without a name?
    pub(super) fn has_none(&self) -> bool {
        self.none.is_some()
    }
}

/// One upvalue of a function of either side.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedUpvalue {
    /// Its name.
    pub name: Name,
    /// The number of its cell.
    pub cell: u32,
    /// Its own number, counted from 1.
    pub index: u8,
}

/// The upvalues of one function.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upvalues {
    start: u32,
    count: u8,
}

impl Upvalues {
    /// How many.
    pub fn len(self) -> u8 {
        self.count
    }
    /// None?
    pub fn is_empty(self) -> bool {
        self.count == 0
    }
    /// The number of the first one, if there is one.
    pub fn first(self) -> u32 {
        self.start
    }
    /// Their numbers, for [`super::Pairing::upvalue`].
    pub fn numbers(self) -> Range<u32> {
        self.start..self.start + u32::from(self.count)
    }
}

/// The upvalues of the functions that have one list of cells, under the list's number.
#[derive(Default)]
struct ByList(Vec<Option<(Upvalues, bool)>>);

impl ByList {
    /// None as long as no function with this list was met, or, for a `own` function, no such one.
    fn get(&self, list: u32, own: bool) -> Option<Upvalues> {
        let (upvalues, has_own) = self.0.get(list as usize).copied()??;
        (has_own || !own).then_some(upvalues)
    }

    fn set(&mut self, list: u32, upvalues: Upvalues, own: bool) -> Result<()> {
        let index = list as usize;
        if index >= self.0.len() {
            self.0.try_reserve(index + 1 - self.0.len())?;
            self.0.resize(index + 1, None);
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = Some((upvalues, own));
        }
        Ok(())
    }
}

/// The cells that were met, and what waits.
#[derive(Default)]
pub(super) struct CellMatching {
    /// The running cells, by their number among the known ones.
    running: DenseMap,
    running_lists: ByList,
    /// The incoming cells, by their number in the graph.
    incoming: DenseMap,
    incoming_lists: ByList,
    /// The running cells that hold functions which are to be met: a function, its upvalue's number,
    /// and where it stands.
    discover: Vec<(Ref, u8, SiteId)>,
    /// New pairs of functions that two cells hold.
    pairs: Vec<CellEdge>,
    /// The same, where some function assigns the cell: looked at last.
    assigned_pairs: Vec<CellEdge>,
    /// The incoming cells up to this one have been scanned for want of a match.
    scanned: usize,
}

impl CellMatching {
    /// Makes room for so many cells on each side.
    pub(super) fn reserve(&mut self, cells: usize) -> Result<()> {
        self.running.reserve(cells)?;
        self.incoming.reserve(cells)
    }

    /// A running cell whose function is to be met.
    pub(super) fn next_to_discover(&mut self) -> Option<(Ref, u8, SiteId)> {
        self.discover.pop()
    }

    /// Do new pairs of functions wait that two cells hold?
    pub(super) fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// The same for cells that some function assigns.
    pub(super) fn has_assigned_pairs(&self) -> bool {
        !self.assigned_pairs.is_empty()
    }
}

/// A running cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell1 {
    /// A function that has it.
    pub function: Ref,
    /// Which of its upvalues it is.
    pub index: u8,
    /// Some function assigns it.
    pub assigned: bool,
    /// What it holds.
    pub value: Ref,
    address: usize,
    pub(super) name: Name,
    pub(super) own: bool,
    pub(super) matched: bool,
}

/// An incoming cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell2 {
    /// A function that has it.
    pub function: Ref,
    /// Which of its upvalues it is.
    pub index: u8,
    /// The number of that function.
    pub owner: u32,
    /// What it holds.
    pub value: Ref,
    address: usize,
    /// Some function assigns it.
    pub assigned: bool,
    /// The running cell that it is joined to.
    pub answer: Option<u32>,
    /// It is the running cell itself: nothing to join.
    pub same: bool,
    /// The chunk's own `_ENV` (R4.4).
    pub environment: bool,
    /// An own function has it.
    pub own: bool,
    /// Its name.
    pub name: Name,
}

/// What becomes of what a joined cell holds (R4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellFate {
    /// The incoming value is set: a function, an import, or data (R8).
    Take,
    /// The incoming value is set: nothing assigns the local (R4.7).
    Constant,
    /// The running one is an own function; if it is replaced elsewhere, its replacement is set.
    Follow,
    /// The running one stays.
    Keep,
    /// They are of two kinds, and the program has changed the running one, or nobody knows (R6).
    Conflict,
    /// Two tables that are paired: the running one stays.
    Merge,
    /// A reference to an object of the module's own, and the incoming one leads to another one.
    Refer,
    /// Both sides hold the same string, number, boolean or nil: nobody has to decide anything.
    Same,
}

/// Two cells that answer to each other.
#[derive(Clone, Copy, Debug)]
pub struct CellPair {
    /// The running one.
    pub old: u32,
    /// The incoming one.
    pub new: u32,
    /// What the running one holds.
    pub old_value: Ref,
    /// What the incoming one holds.
    pub new_value: Ref,
    /// What becomes of it.
    pub fate: CellFate,
}

/// Two functions that such cells hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellEdge {
    pair: CellPair,
    edge: Edge,
}

impl Pairer<'_> {
    /// The name by which a function knows one of its upvalues.
    pub(super) fn name(&mut self, function: Ref, index: u8) -> Result<Name> {
        let (address, _) = self.vm.named_upvalue(function, index);
        self.name_at(address, function, index)
    }

    /// The name at this address, which an upvalue has.
    fn name_at(&mut self, address: usize, function: Ref, index: u8) -> Result<Name> {
        if let Some(name) = self.names.at(address) {
            return Ok(name);
        }
        let names = &mut self.names;
        self.vm
            .with_upvalue_name(function, index, |text| names.add(address, text))
    }

    /// The cells of a running function, which are those of a list.
    pub(super) fn cells_of_old(
        &mut self,
        list: u32,
        function: Ref,
        site: SiteId,
        own: bool,
    ) -> Result<Upvalues> {
        if let Some(known) = self.cells.running_lists.get(list, own) {
            return Ok(known);
        }
        let start = self.out.upvalues.len() as u32;
        let places = self.out.known.lists.places(list);
        self.out.upvalues.try_reserve(places.len())?;
        for (place, index) in places.zip(1..) {
            let Some(known) = self.out.known.lists.at(place) else {
                break;
            };
            let number = match self.cells.running.get(known) {
                Some(number) => number,
                None => self.cell1(known, (function, index), site, own)?,
            };
            if let Some(cell) = self.out.old_cells.get_mut(number as usize) {
                cell.own |= own;
                // All functions know a cell by one name; where somebody joined another,
                // `match_upvalues` asks again. There is room.
                self.out.upvalues.push(NamedUpvalue {
                    name: cell.name,
                    cell: number,
                    index,
                });
            }
        }
        let upvalues = self.upvalues_since(start);
        self.cells.running_lists.set(list, upvalues, own)?;
        Ok(upvalues)
    }

    /// Meets a running cell in an upvalue.
    #[cold]
    fn cell1(
        &mut self,
        known: u32,
        (function, index): (Ref, u8),
        site: SiteId,
        own: bool,
    ) -> Result<u32> {
        let number = self.out.old_cells.len() as u32;
        let KeptUpvalue { name, value, val } = self.vm.keep_upvalue(function, index)?;
        let name = self.name_at(name, function, index)?;
        self.cells.running.set(known, number)?;
        if own && val.is_function() && self.out.number1(val.addr).is_none() {
            self.cells.discover.try_push((function, index, site))?;
        }
        self.out.old_cells.try_push(Cell1 {
            function,
            index,
            assigned: false,
            value,
            address: self.out.known.lists.address(known),
            name,
            own,
            matched: false,
        })?;
        Ok(number)
    }

    /// The upvalues that were noted last, from this number on: those of one function.
    fn upvalues_since(&self, start: u32) -> Upvalues {
        let count = (self.out.upvalues.len() as u32 - start) as u8;
        Upvalues { start, count }
    }

    /// The cells of an incoming function, which are those of a list.
    pub(super) fn cells_of_new(
        &mut self,
        owner: u32,
        function: Ref,
        list: u32,
        own: bool,
    ) -> Result<Upvalues> {
        if let Some(known) = self.cells.incoming_lists.get(list, own) {
            return Ok(known);
        }
        let start = self.out.upvalues.len() as u32;
        let places = self.graph.lists.places(list);
        self.out.upvalues.try_reserve(places.len())?;
        for (place, index) in places.zip(1..) {
            let Some(id) = self.graph.lists.at(place) else {
                break;
            };
            let number = match self.cells.incoming.get(id) {
                Some(number) => number,
                None => self.cell2(id, owner, function, index, own)?,
            };
            if let Some(cell) = self.out.new_cells.get_mut(number as usize) {
                cell.own |= own;
                self.out.upvalues.push(NamedUpvalue {
                    name: cell.name,
                    cell: number,
                    index,
                }); // there is room
            }
        }
        let upvalues = self.upvalues_since(start);
        self.cells.incoming_lists.set(list, upvalues, own)?;
        Ok(upvalues)
    }

    /// Meets an incoming cell in an upvalue.
    #[cold]
    fn cell2(&mut self, id: u32, owner: u32, function: Ref, index: u8, own: bool) -> Result<u32> {
        let number = self.out.new_cells.len() as u32;
        let KeptUpvalue { name, value, val } = self.graph.held(id);
        let address = self.graph.lists.address(id);
        let name = self.name_at(name, function, index)?;
        self.cells.incoming.set(id, number)?;
        let environment = match self.loaded.environment {
            Some(environment) => environment == address,
            None => self.names.environment == Some(name) && self.is_globals(val),
        };
        self.out.new_cells.try_push(Cell2 {
            function,
            index,
            owner,
            value,
            address,
            assigned: false,
            answer: None,
            same: false,
            environment,
            own,
            name,
        })?;
        Ok(number)
    }

    fn is_globals(&self, val: Val) -> bool {
        val == self.vm.val(self.context.globals)
    }

    /// The chunk's own `_ENV` of the running version: it holds the globals. (A local of that name
    /// holds something else.)
    pub(super) fn is_environment1(&self, cell: u32) -> bool {
        self.out.old_cells.get(cell as usize).is_some_and(|cell| {
            (self.names.environment == Some(cell.name) || self.names.is_none(cell.name))
                && self.is_globals(self.vm.val(cell.value))
        })
    }

    pub(super) fn is_environment2(&self, cell: u32) -> bool {
        self.out
            .new_cells
            .get(cell as usize)
            .is_some_and(|cell| cell.environment)
    }

    /// Makes two cells answer to each other (R4.1), or notes that the incoming version shares one
    /// where the running version has two (R4.6).
    pub(super) fn match_cells(&mut self, c1: u32, c2: u32) -> Result<()> {
        match self.out.new_cells.get(c2 as usize) {
            Some(new) if new.answer == Some(c1) => Ok(()),
            _ => self.match_other_cells(c1, c2),
        }
    }

    /// Would [`Pairer::match_cells`] do nothing more?
    pub(super) fn is_settled(&self, c1: u32, c2: u32) -> bool {
        let new = self.out.new_cells.get(c2 as usize);
        new.is_some_and(|new| new.environment || new.answer == Some(c1))
    }

    fn match_other_cells(&mut self, c1: u32, c2: u32) -> Result<()> {
        let (Some(old), Some(new)) = (
            self.out.old_cells.get(c1 as usize),
            self.out.new_cells.get(c2 as usize),
        ) else {
            return Ok(());
        };
        if new.environment || self.names.environment == Some(old.name) && self.is_environment1(c1) {
            return Ok(());
        }
        if let Some(known) = new.answer {
            let (first, second) = (self.old_value(known), old.value);
            if self.vm.same(first, second) {
                return Ok(());
            }
            // Helpers and imports are no data: both cells get what the file has.
            if self.is_code(first, c2)? && self.is_code(second, c2)? {
                return self.pair_values(c1, c2);
            }
            return self.out.shared.try_push(SharedCell {
                new: c2,
                old: [known, c1],
            });
        }
        let same = old.address == new.address;
        if let Some(new) = self.out.new_cells.get_mut(c2 as usize) {
            new.answer = Some(c1);
            new.same = same;
        }
        if let Some(old) = self.out.old_cells.get_mut(c1 as usize) {
            old.matched = true;
        }
        if same {
            Ok(())
        } else {
            self.pair_values(c1, c2)
        }
    }

    /// Is what a running cell holds a helper or an import that the incoming value in `c2` takes the
    /// place of?
    fn is_code(&mut self, old: Ref, c2: u32) -> Result<bool> {
        let Some(new) = self.out.new_cells.get(c2 as usize).map(|cell| cell.value) else {
            return Ok(false);
        };
        let (o, n) = (self.vm.val(old), self.vm.val(new));
        if o.is_function() && n.is_function() && self.is_own_function(old)? {
            return Ok(true);
        }
        Ok(n.addr != 0 && (n == o || self.takes(o, old, new)?))
    }

    fn old_value(&self, c1: u32) -> Ref {
        let cell = self.out.old_cells.get(c1 as usize);
        cell.map_or(Ref::NIL, |cell| cell.value)
    }

    /// R4.3
    fn pair_values(&mut self, c1: u32, c2: u32) -> Result<()> {
        let (Some(old_value), Some(new_value)) = (
            self.out.old_cells.get(c1 as usize).map(|old| old.value),
            self.out.new_cells.get(c2 as usize).map(|new| new.value),
        ) else {
            return Ok(());
        };
        let (o, n) = (self.vm.val(old_value), self.vm.val(new_value));
        let mut pair = CellPair {
            old: c1,
            new: c2,
            old_value,
            new_value,
            fate: CellFate::Keep,
        };
        if o == n && o.addr != 0 {
            return self.out.cell_pairs.try_push(pair);
        }
        if o == n && self.vm.same(old_value, new_value) {
            pair.fate = CellFate::Same;
            return self.out.cell_pairs.try_push(pair);
        }
        if self.may_be_coroutine(n) {
            let site = self.out.cell_site(c2)?;
            self.pair_coroutines(old_value, new_value, site)?;
        }
        let fresh = self.loaded.fresh.order(n.addr).is_some();
        if o.is_table() && n.is_table() && fresh && self.was_import(old_value, new_value)? {
            // Another module's table is never written to (R3.3); unless a function assigns the
            // cell, the file's own is set.
            if !self.is_assigned_anywhere(c1, c2)? {
                pair.fate = CellFate::Take;
                let site = self.out.cell_site(c2)?;
                self.scan_queue.try_push((new_value, site))?;
            }
            return self.out.cell_pairs.try_push(pair);
        }
        if o.is_table() && n.is_table() && fresh {
            return self.pair_held_tables(pair);
        }
        if o.is_function() && n.is_function() && fresh {
            return self.pair_held_functions(pair);
        }
        let old_is_own = o.is_function() && self.is_own_function(old_value)?;
        let object = n.addr != 0 && n.kind != Kind::String;
        pair.fate = if !fresh && object && self.takes_import(c1, c2, o, pair, old_is_own)? {
            CellFate::Take
        } else if old_is_own {
            let site = self.out.cell_site(c2)?;
            self.function1(old_value, site)?;
            CellFate::Follow
        } else if self.replace_data
            && !o.is_function()
            && !n.is_function()
            && self.is_replacement(old_value, new_value)?
            || self.cell_follows(&pair, fresh)?
        {
            CellFate::Take
        } else {
            CellFate::Keep
        };
        if fresh && (pair.fate == CellFate::Take || are_two_kinds(self.vm, old_value, new_value)) {
            // It may come to stand there (`kinds`): what is in it has to be met.
            let site = self.out.cell_site(c2)?;
            if n.is_function() {
                self.function2(new_value, site)?;
            } else if self.is_free_table(new_value) {
                self.scan_queue.try_push((new_value, site))?;
            }
        }
        self.out.cell_pairs.try_push(pair)
    }

    /// Two cells that hold tables: the same one, as far as is known, or a reference.
    fn pair_held_tables(&mut self, mut pair: CellPair) -> Result<()> {
        pair.fate = CellFate::Merge;
        let (old, new) = (pair.old_value, pair.new_value);
        if self.are_paired(old, new) {
            return self.out.cell_pairs.try_push(pair);
        }
        let site = self.out.cell_site(pair.new)?;
        let fit = self.fit();
        let tables = TablePair {
            old,
            new,
            site,
            fit,
        };
        match self.relation_in_cell(&pair)? {
            Relation::Same(_) => self.pair_tables(old, new, site, fit)?,
            Relation::Other => {
                pair.fate = CellFate::Refer;
                self.tables.set_aside(new, site)?;
            }
            Relation::Unknown if self.is_reference_in_cell(pair.new) => self.refer(tables)?,
            Relation::Unknown => self.pair_tables(old, new, site, fit)?,
        }
        self.out.cell_pairs.try_push(pair)
    }

    /// What is known of the objects that two cells hold, by their definitions and by the record.
    fn relation_in_cell(&mut self, pair: &CellPair) -> Result<Relation> {
        Ok(match self.relation(pair.old_value, pair.new_value) {
            Relation::Unknown if self.is_moved_in_cell(pair)? => Relation::Other,
            relation => relation,
        })
    }

    /// Two cells that hold functions.
    fn pair_held_functions(&mut self, mut pair: CellPair) -> Result<()> {
        let site = self.out.cell_site(pair.new)?;
        let (f1, f2) = (
            self.function1(pair.old_value, site)?,
            self.function2(pair.new_value, site)?,
        );
        let own = f1
            .and_then(|f1| self.out.old.get(f1 as usize))
            .is_some_and(|old| old.own);
        if own && self.relation_in_cell(&pair)? == Relation::Other {
            pair.fate = CellFate::Refer;
        } else if let (Some(f1), Some(f2)) = (f1, f2)
            && (own || self.are_twins(f1, f2)?)
        {
            return self.cells.pairs.try_push(CellEdge {
                pair,
                edge: Edge { f1, f2 },
            });
        }
        if let Some(cell) = self.out.old_cells.get(pair.old as usize).copied() {
            self.note_external_in_cell(&cell, pair.old_value, pair.new_value, site)?;
        }
        self.out.cell_pairs.try_push(pair)
    }

    /// R3.3 for cells: not where a function assigns the cell (a back end that was chosen at run
    /// time).
    fn takes_import(
        &mut self,
        c1: u32,
        c2: u32,
        old: Val,
        pair: CellPair,
        old_is_own: bool,
    ) -> Result<bool> {
        let new_is_function = self.vm.val(pair.new_value).is_function();
        let takes =
            old_is_own && new_is_function || self.takes(old, pair.old_value, pair.new_value)?;
        Ok(takes && !self.is_assigned_anywhere(c1, c2)?)
    }

    pub(super) fn is_assigned(&self, c1: u32, c2: u32) -> bool {
        self.out
            .old_cells
            .get(c1 as usize)
            .is_some_and(|cell| cell.assigned)
            || self
                .out
                .new_cells
                .get(c2 as usize)
                .is_some_and(|cell| cell.assigned)
    }

    /// Local helpers (R4.3): the incoming function takes the running place in the cell. Where some
    /// function assigns the cell, what it holds may have been chosen at run time: that is looked at
    /// when all else is known.
    pub(super) fn sort_cell_edges(&mut self) -> Result<()> {
        let mut edges = std::mem::take(&mut self.cells.pairs);
        sort_by_number(&mut edges, |edge| {
            self.out
                .new_cells
                .get(edge.pair.new as usize)
                .map_or(0, |cell| cell.owner)
        })?;
        for edge in edges {
            if self.is_assigned(edge.pair.old, edge.pair.new) || self.was_assigned(edge.pair.new) {
                self.cells.assigned_pairs.try_push(edge)?;
            } else {
                self.take_edge(edge)?;
            }
        }
        Ok(())
    }

    fn take_edge(&mut self, edge: CellEdge) -> Result<()> {
        self.out.cell_pairs.try_push(CellPair {
            fate: CellFate::Take,
            ..edge.pair
        })?;
        self.edge(edge.edge)
    }

    /// Cells that some function assigns: a state that points at one of the module's own functions
    /// follows that function; what a function of the module made at run time stays; else the
    /// incoming one takes the place, as for any local helper.
    pub(super) fn resolve_assigned(&mut self) -> Result<()> {
        for edge in std::mem::take(&mut self.cells.assigned_pairs) {
            let Edge { f1, f2 } = edge.edge;
            let answered = self
                .out
                .old
                .get(f1 as usize)
                .is_some_and(|old| !old.answers.is_empty());
            let taken = self
                .out
                .new
                .get(f2 as usize)
                .is_some_and(|new| !new.partners.is_empty());
            if answered {
                self.out.cell_pairs.try_push(CellPair {
                    fate: CellFate::Follow,
                    ..edge.pair
                })?;
            } else if taken || self.is_made_at_run_time(f1)? && !self.is_cell_as_loaded(&edge.pair)
            {
                self.out.cell_pairs.try_push(edge.pair)?;
            } else {
                self.take_edge(edge)?;
                self.match_edges()?;
            }
        }
        Ok(())
    }

    /// Did another running function that is known make this one?
    pub(super) fn is_made_at_run_time(&mut self, f1: u32) -> Result<bool> {
        let Pairing { old, nesting, .. } = &mut self.out;
        let function = old.get(f1 as usize);
        function.map_or(Ok(false), |function| {
            nesting.is_made_by_another(self.vm, old, function)
        })
    }

    /// When no pair leads on: what unmatched cells hold is the incoming version's own, and may have
    /// incoming functions in it. True when there was something.
    pub(super) fn scan_unmatched(&mut self) -> Result<bool> {
        let mut found = false;
        while self.cells.scanned < self.out.new_cells.len() {
            let number = self.cells.scanned;
            self.cells.scanned += 1;
            let Some(cell) = self.out.new_cells.get(number).copied() else {
                break;
            };
            if cell.environment || cell.answer.is_some() {
                continue;
            }
            let held = self.vm.val(cell.value);
            if self.loaded.fresh.order(held.addr).is_none() {
                continue;
            }
            if held.is_function() && self.number2(held.addr).is_none() {
                let site = self.out.cell_site(number as u32)?;
                found |= self.function2(cell.value, site)?.is_some();
            } else if held.is_table() && !self.scanned.contains(&held.addr) {
                let site = self.out.cell_site(number as u32)?;
                self.scan_queue.try_push((cell.value, site))?;
                found = true;
            }
        }
        Ok(found)
    }
}
