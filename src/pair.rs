//! R3, R4: what in A2 answers to what in A1.
//!
//! Walks A2's fresh tables beside A1's, and the cells of functions that answer to each other. Everything is a work list, nothing
//! recurses. What a table holds is taken in the order in which A2's chunk created it, never in the order of a hash table
//! (R3.4). Nothing is decided here that could not still be refused: `plan` makes operations of it.
//!
//! The rounds ([`Pairer::run`]): tables first, which gives pairs of functions; their cells, which give more of both; when nothing is
//! left, the cells that the code assigns; then the cells that no pair reached (R4.2); then functions added to lists (R5.4).

mod cells;
mod functions;
mod imports;
mod lists;
mod rows;

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

pub use cells::{Cell1, Cell2, CellFate, CellPair, Upvalue, Upvalues};
pub use functions::{Function1, Function2};

use crate::bytecode::Chunk;
use crate::error::Result;
use crate::find::Context;
use crate::lineage::Lineage;
use crate::load::Loaded;
use crate::mem::{TryInsert, TryPush};
use crate::options::{Data, Options};
use crate::raw::vm::{Entry, Kind, Ref, Val, Vm};
use crate::remember::Change;
use crate::site::{SiteId, Sites};

/// What becomes of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A2's function takes the place of A1's (R3.2).
    Replace,
    /// A2's import takes the place (R3.3).
    Take,
    /// Only A2 has it (R5.1).
    Add,
    /// A1's data stays.
    Keep,
    /// A2's data takes the place (R8).
    Overwrite,
    /// Only A1 has it, and it goes (R8).
    Remove,
    /// Two tables that are paired: A1's stays.
    Merge,
    /// Only A1 has it, a function of the module's own: it follows when it is replaced elsewhere, else it is `removed` (R5.2).
    Follow,
    /// One side is a function (R6); or A1's points at a function that is replaced elsewhere, and follows.
    Conflict,
}

/// One slot of A1 and what A2 has for it.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// A1's table.
    pub table: Ref,
    /// Where the table stands.
    pub parent: SiteId,
    /// The key; `NIL` for the metatable.
    pub key: Ref,
    /// A2's value.
    pub new: Ref,
    /// A1's value.
    pub old: Ref,
    /// What becomes of it.
    pub what: What,
    /// A2's chunk wrote it into a table that existed (it is put back already).
    pub change: bool,
}

/// A fresh table's reference to another fresh table, to be looked at again when all pairs are known (R5.1).
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The table that refers.
    pub table: Ref,
    /// Under which key; `NIL` for the metatable.
    pub key: Ref,
    /// What it refers to.
    pub value: Ref,
}

/// Two tables to be compared.
struct TablePair {
    old: Ref,
    new: Ref,
    site: SiteId,
    /// R8: hold exactly what A2's holds.
    exact: bool,
}

/// An entry of A2 whose key is a fresh table or function: A1 has it under what answers to that key, once that is known.
#[derive(Clone, Copy)]
struct Keyed {
    table: Ref,
    parent: SiteId,
    key: Ref,
    new: Ref,
    change: bool,
}

/// Something that a table holds, to be taken in order of creation.
struct Child {
    order: u32,
    key: Ref,
    site: SiteId,
    new: Ref,
    old: Ref,
    kind: ChildKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ChildKind {
    Pair,
    Edge,
    Function,
    Scan,
}

/// A function of A1 and one of A2 that answer to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Edge {
    f1: u32,
    f2: u32,
}

/// R4.6: one cell of A2 for two of A1.
#[derive(Clone, Copy, Debug)]
pub struct SharedCell {
    /// A2's cell.
    pub new: u32,
    /// The two of A1.
    pub old: [u32; 2],
}

/// All that is known when pairing ends.
pub struct Pairing {
    /// The slots, in no order that matters.
    pub slots: Vec<Slot>,
    /// A1's functions.
    pub old: Vec<Function1>,
    /// A2's functions.
    pub new: Vec<Function2>,
    /// A1's cells.
    pub old_cells: Vec<Cell1>,
    /// A2's cells.
    pub new_cells: Vec<Cell2>,
    /// What becomes of what joined cells hold.
    pub cell_pairs: Vec<CellPair>,
    /// The upvalues of all functions.
    upvalues: Vec<Upvalue>,
    /// A1's table for each paired table of A2.
    pub tables: FxHashMap<usize, Ref>,
    /// A2's tables with metatables whose place A1's take: copies that nobody will hold.
    pub copies: Vec<Ref>,
    /// References between fresh tables.
    pub references: Vec<Reference>,
    /// R4.6.
    pub shared: Vec<SharedCell>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Where things stand.
    pub sites: Sites,
    /// Additions that are none (R5.4): indices of `slots`.
    pub dropped: FxHashSet<usize>,
    by_address1: FxHashMap<usize, u32>,
    by_address2: FxHashMap<usize, u32>,
}

impl Pairing {
    /// An upvalue by its number.
    pub fn upvalue(&self, number: u32) -> Upvalue {
        self.upvalues.get(number as usize).copied().unwrap_or_default()
    }

    /// The function of A2 that takes the place of this one of A1, wherever it stands.
    pub fn answer(&self, address: usize) -> Option<Ref> {
        let function = self.old.get(*self.by_address1.get(&address)? as usize)?;
        let best = function.answers.first()?;
        self.new.get(*best as usize).map(|f| f.at)
    }

    /// The number of a function of A1.
    pub fn old_at(&self, address: usize) -> Option<&Function1> {
        self.old.get(*self.by_address1.get(&address)? as usize)
    }
}

/// Finds what answers to what (R3, R4).
///
/// # Errors
/// [`crate::error::Error::Stripped`] (R4.5), [`crate::error::Error::Memory`].
pub fn pair(
    vm: &mut Vm,
    context: &Context,
    loaded: &mut Loaded,
    options: &Options,
    lineage: Lineage,
) -> Result<Pairing> {
    let mut pairer = Pairer {
        out: Pairing {
            slots: Vec::new(),
            old: Vec::new(),
            new: Vec::new(),
            old_cells: Vec::new(),
            new_cells: Vec::new(),
            cell_pairs: Vec::new(),
            upvalues: Vec::new(),
            tables: FxHashMap::default(),
            copies: Vec::new(),
            references: Vec::new(),
            shared: Vec::new(),
            warnings: Vec::new(),
            sites: Sites::new()?,
            dropped: FxHashSet::default(),
            by_address1: FxHashMap::default(),
            by_address2: FxHashMap::default(),
        },
        vm,
        context,
        replace_data: options.data == Data::Replace,
        imports: imports::Imports::new(lineage),
        lineage,
        names: cells::Names::default(),
        cells1: FxHashMap::default(),
        cells2: FxHashMap::default(),
        pairs_seen: FxHashSet::default(),
        answered: FxHashSet::default(),
        moved: FxHashSet::default(),
        references: Vec::new(),
        scanned: FxHashSet::default(),
        bearing: FxHashSet::default(),
        keyed: Vec::new(),
        exact: Vec::new(),
        module_met: false,
        table_queue: VecDeque::new(),
        scan_queue: VecDeque::new(),
        discover: Vec::new(),
        edges: Vec::new(),
        edges_seen: FxHashSet::default(),
        cell_edges: Vec::new(),
        assigned_edges: Vec::new(),
        unmatched_scanned: 0,
        functions_listed: false,
        loaded,
    };
    let result = pairer.reserve().and_then(|()| pairer.run());
    pairer.vm.zip_end();
    result?;
    Ok(pairer.out)
}

struct Pairer<'a> {
    vm: &'a mut Vm,
    context: &'a Context,
    loaded: &'a mut Loaded,
    out: Pairing,
    replace_data: bool,
    imports: imports::Imports,
    lineage: Lineage,
    names: cells::Names,
    cells1: FxHashMap<usize, u32>,
    cells2: FxHashMap<usize, u32>,
    pairs_seen: FxHashSet<(usize, usize)>,
    /// A1's tables that answer to one of A2's.
    answered: FxHashSet<usize>,
    /// Rows of A2's lists that are not compared with what stands at their index.
    moved: FxHashSet<usize>,
    references: Vec<TablePair>,
    scanned: FxHashSet<usize>,
    /// A1's code-bearing tables, enumerated already.
    bearing: FxHashSet<usize>,
    keyed: Vec<Keyed>,
    /// R8: pairs whose rows that only A1 has will go.
    exact: Vec<TablePair>,
    module_met: bool,
    table_queue: VecDeque<TablePair>,
    scan_queue: VecDeque<(Ref, SiteId)>,
    /// A1's cells that hold functions which are to be met: a function, its upvalue's number, and where it stands.
    discover: Vec<(Ref, u8, SiteId)>,
    /// New pairs of functions.
    edges: Vec<Edge>,
    edges_seen: FxHashSet<Edge>,
    /// New pairs of functions that two cells hold.
    cell_edges: Vec<cells::CellEdge>,
    /// The same, where some function assigns the cell: looked at last.
    assigned_edges: Vec<cells::CellEdge>,
    /// A2's cells up to this one have been scanned for want of a match.
    unmatched_scanned: usize,
    functions_listed: bool,
}

impl Pairer<'_> {
    /// Makes room for what the size of A2's code leads to expect.
    fn reserve(&mut self) -> Result<()> {
        let functions = self.loaded.chunk.as_ref().map_or(0, Chunk::functions);
        self.out.old.try_reserve(functions)?;
        self.out.new.try_reserve(functions)?;
        self.out.slots.try_reserve(functions)?;
        self.out.upvalues.try_reserve(functions * 8)?;
        self.out.by_address1.try_reserve(functions)?;
        self.out.by_address2.try_reserve(functions)?;
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        self.roots()?;
        loop {
            if let Some(pair) = self.table_queue.pop_front() {
                self.table_pair(pair)?;
            } else if let Some((table, site)) = self.scan_queue.pop_front() {
                self.scan(table, site)?;
            } else if let Some((function, index, site)) = self.discover.pop() {
                self.discover_upvalue(function, index, site)?;
            } else if !self.edges.is_empty() {
                self.match_edges()?;
            } else if !self.cell_edges.is_empty() {
                self.sort_cell_edges()?;
            } else if self.take_keyed(false)? || self.take_references()? {
                // tables under keys that are known by now, and by references
            } else if !self.assigned_edges.is_empty() {
                self.resolve_assigned()?;
            } else if self.scan_unmatched()? || self.meet_module()? || self.match_leftovers()? {
                // more to do
            } else if !self.functions_listed {
                self.functions_listed = true;
                self.lists()?;
            } else if !self.take_keyed(true)? {
                break;
            }
        }
        for pair in std::mem::take(&mut self.exact) {
            self.rows_gone(&pair)?;
        }
        Ok(())
    }

    /// The module object bears code wherever A2's functions stand: A1's own functions in it are met before R4.2.
    fn meet_module(&mut self) -> Result<bool> {
        let met = std::mem::replace(&mut self.module_met, true);
        if met || self.out.new.is_empty() || !self.vm.val(self.context.running).is_table() {
            return Ok(false);
        }
        let new = self.vm.val(self.loaded.value);
        if new.is_table() && self.is_fresh(new) {
            self.enumerate(
                self.context.running,
                self.loaded.value,
                SiteId::MODULE,
                &FxHashSet::default(),
            )?;
        }
        Ok(true)
    }

    /// R3: the roots: the module object, and what A2's chunk changed.
    fn roots(&mut self) -> Result<()> {
        let (old, new) = (self.context.running, self.loaded.value);
        let (old_val, new_val) = (self.vm.val(old), self.vm.val(new));
        let mut children = Vec::new();
        if old_val.is_table() && new_val.is_table() {
            if old_val != new_val && self.is_fresh(new_val) {
                self.pair_tables(old, new, SiteId::MODULE, false)?;
            }
        } else if old_val.is_function() && new_val.is_function() {
            self.slot_edge(&mut children, Ref::NIL, SiteId::MODULE, new, old)?;
        } else if new_val.is_table() {
            self.scan_queue.push_back((new, SiteId::MODULE));
        } else if new_val.is_function() {
            self.function2(new, SiteId::MODULE)?;
        }
        if old_val.is_function() {
            self.function1(old, SiteId::MODULE)?;
        }
        self.take_children(children)?;
        self.changes()
    }

    /// What A2's chunk wrote into tables that existed: what it overwrote takes the part of A1.
    fn changes(&mut self) -> Result<()> {
        let changes = self.loaded.changes.clone();
        let mut sites: FxHashMap<u32, SiteId> = FxHashMap::default();
        let mut children = Vec::new();
        for change in &changes {
            let parent = match sites.get(&change.number) {
                Some(site) => *site,
                None => {
                    let site = self.out.sites.remembered(&self.loaded.memory, change.number)?;
                    sites.try_insert_value(change.number, site)?;
                    site
                }
            };
            let entry = Entry {
                key: change.key.map_or_else(Val::default, |key| self.vm.val(key)),
                new: self.vm.val(change.new),
                old: self.vm.val(change.old),
            };
            self.change(*change, parent, entry, &mut children)?;
        }
        self.take_children(children)?;
        // Tables into which the chunk put functions are code-bearing: A1's own are met as well.
        let mut written: FxHashSet<(usize, Kind, u64)> = FxHashSet::default();
        for change in &changes {
            if let Some(key) = change.key {
                let (kind, bits) = self.vm.identity(key);
                written.try_insert_value((self.vm.val(change.table).addr, kind, bits), ())?;
            }
        }
        for change in &changes {
            if change.key.is_some() && self.is_fresh_function(self.vm.val(change.new)) {
                let site = sites.get(&change.number).copied().unwrap_or_default();
                self.enumerate(change.table, Ref::NIL, site, &written)?;
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change, parent: SiteId, entry: Entry, children: &mut Vec<Child>) -> Result<()> {
        let Some(key) = change.key else {
            let site = self.out.sites.metatable(parent)?;
            return self.metatables(change.table, parent, site, change.old, change.new, true);
        };
        if self.is_fresh(entry.key) {
            let Change { table, new, .. } = change;
            return self.keyed.try_push(Keyed {
                table,
                parent,
                key,
                new,
                change: true,
            });
        }
        let what = self.judge(entry, change.new, change.old)?;
        if what == What::Keep && entry.new.is_nil() {
            return Ok(()); // the chunk removed it: what A1 has stays (R5.2)
        }
        let is_data = !entry.new.is_function() && !self.is_fresh(entry.new) && !self.replace_data;
        if what == What::Add && is_data && self.vm.integer(key).is_some() {
            return Ok(()); // R5.3: lists are state
        }
        let slot = Slot {
            table: change.table,
            parent,
            key,
            new: change.new,
            old: change.old,
            what,
            change: true,
        };
        self.out.slots.try_push(slot)?;
        self.child(slot, entry, children)
    }

    fn is_fresh(&self, val: Val) -> bool {
        matches!(val.kind, Kind::Table | Kind::Function) && self.loaded.fresh.order(val.addr).is_some()
    }

    fn is_fresh_function(&self, val: Val) -> bool {
        val.is_function() && self.is_fresh(val)
    }

    /// What becomes of a slot. `new` and `old` are asked for only where their values matter.
    fn judge(&mut self, entry: Entry, new: Ref, old: Ref) -> Result<What> {
        let Entry { new: n, old: o, .. } = entry;
        if o.is_nil() {
            return Ok(if n.is_nil() { What::Keep } else { What::Add });
        }
        if n == o && n.addr != 0 || n.is_nil() {
            return Ok(What::Keep);
        }
        let fresh = self.is_fresh(n);
        Ok(match (o.kind, n.kind) {
            (Kind::Function, Kind::Function) if fresh => {
                // A generator or iterator that a library made is an object with state, not code.
                let both_c = self.vm.is_c_function(new).is_some() && self.vm.is_c_function(old).is_some();
                if both_c { What::Keep } else { What::Replace }
            }
            // Another module's table is never written to: the file has a table of its own now (R3.3).
            (Kind::Table, Kind::Table) if fresh && self.imports.is_module(self.vm, self.context, self.loaded, o)? => {
                What::Take
            }
            (Kind::Table, Kind::Table) if fresh => What::Merge,
            _ if !fresh
                && n.addr != 0
                && n.kind != Kind::String
                && self.imports.takes(self.vm, self.context, self.loaded, o, old, new)? =>
            {
                What::Take
            }
            (Kind::Function, Kind::Function) if self.is_home(old)? => What::Replace,
            (Kind::Function, Kind::Function) => What::Keep,
            (Kind::Function, _) if !self.is_home(old)? => What::Keep,
            (Kind::Function, _) | (_, Kind::Function) => What::Conflict,
            _ if self.replace_data && !self.vm.same(new, old) => What::Overwrite,
            _ => What::Keep,
        })
    }

    fn is_home(&mut self, function: Ref) -> Result<bool> {
        match self.vm.info(function) {
            Some(info) => self.loaded.home.owns(self.vm, function, &info),
            None => Ok(false),
        }
    }

    /// Notes what has to be looked at further below a slot.
    fn child(&mut self, slot: Slot, entry: Entry, children: &mut Vec<Child>) -> Result<()> {
        let order = self.loaded.fresh.order(entry.new.addr);
        let kind = match (slot.what, entry.new.kind, order) {
            (What::Merge, ..) => ChildKind::Pair,
            (What::Replace, ..) => ChildKind::Edge,
            (_, Kind::Function, Some(_)) => ChildKind::Function,
            (What::Add | What::Overwrite | What::Take | What::Conflict, Kind::Table, Some(_)) => ChildKind::Scan,
            _ => {
                if entry.old.is_function() {
                    let site = self.out.sites.key(slot.parent, slot.key)?;
                    self.function1(slot.old, site)?;
                }
                return Ok(());
            }
        };
        let site = self.out.sites.key(slot.parent, slot.key)?;
        children.try_push(Child {
            order: order.unwrap_or(u32::MAX),
            key: slot.key,
            site,
            new: slot.new,
            old: slot.old,
            kind,
        })
    }

    fn slot_edge(&mut self, children: &mut Vec<Child>, key: Ref, site: SiteId, new: Ref, old: Ref) -> Result<()> {
        let order = self.loaded.fresh.order(self.vm.val(new).addr).unwrap_or(u32::MAX);
        children.try_push(Child {
            order,
            key,
            site,
            new,
            old,
            kind: ChildKind::Edge,
        })
    }

    /// Takes what tables hold in the order in which A2's chunk created it.
    fn take_children(&mut self, mut children: Vec<Child>) -> Result<()> {
        children.sort_unstable_by_key(|child| child.order);
        // One object under several keys of one table: by key.
        let vm = &*self.vm;
        for twins in children
            .chunk_by_mut(|a, b| a.order == b.order)
            .filter(|twins| twins.len() > 1)
        {
            twins.sort_by_cached_key(|child| (vm.bytes(child.key), vm.integer(child.key), vm.number_text(child.key)));
        }
        let references = self.references_among(&children)?;
        for (i, child) in children.into_iter().enumerate() {
            match child.kind {
                ChildKind::Pair if references.contains(&i) => {
                    let (old, new, site, exact) = (child.old, child.new, child.site, self.replace_data);
                    self.references.try_push(TablePair { old, new, site, exact })?;
                }
                ChildKind::Pair => self.pair_tables(child.old, child.new, child.site, self.replace_data)?,
                ChildKind::Scan => {
                    if self.vm.val(child.old).is_function() {
                        self.function1(child.old, child.site)?;
                    }
                    self.scan_queue.try_reserve(1)?;
                    self.scan_queue.push_back((child.new, child.site));
                }
                ChildKind::Function => {
                    if self.vm.val(child.old).is_function() {
                        self.function1(child.old, child.site)?;
                    }
                    self.function2(child.new, child.site)?;
                }
                ChildKind::Edge => {
                    let f1 = self.function1(child.old, child.site)?;
                    let f2 = self.function2(child.new, child.site)?;
                    if let (Some(f1), Some(f2)) = (f1, f2) {
                        self.edge(Edge { f1, f2 })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Which of the table pairs have a partner of their own on both sides: references that point elsewhere by now
    /// (`M.current = M.idle` in the file, `M.alarm` at run time).
    fn references_among(&mut self, children: &[Child]) -> Result<FxHashSet<usize>> {
        let mut partners: FxHashMap<usize, (usize, bool)> = FxHashMap::default();
        let pairs = || {
            children
                .iter()
                .enumerate()
                .filter(|(_, child)| child.kind == ChildKind::Pair)
        };
        let addresses = |child: &Child| (self.vm.val(child.old).addr, self.vm.val(child.new).addr);
        for (_, child) in pairs() {
            let (old, new) = addresses(child);
            for (one, other) in [(old, new), (new, old)] {
                match partners.get_mut(&one) {
                    Some((first, several)) => *several |= *first != other,
                    None => {
                        partners.try_insert_value(one, (other, false))?;
                    }
                }
            }
        }
        let several = |address: usize| partners.get(&address).is_some_and(|(_, several)| *several);
        let mut references = FxHashSet::default();
        let mut in_doubt = Vec::new();
        for (i, child) in pairs() {
            let (old, new) = addresses(child);
            if several(old) && several(new) {
                references.try_insert_value(i, ())?;
            } else if several(new) {
                in_doubt.try_push((i, child.old))?;
            }
        }
        // Of several places of one table of A2 those come first where A1 has functions of the module's own.
        for (i, old) in in_doubt {
            if !self.has_own_function(old)? {
                references.try_insert_value(i, ())?;
            }
        }
        Ok(references)
    }

    fn edge(&mut self, edge: Edge) -> Result<()> {
        if self.edges_seen.try_insert_value(edge, ())?.is_none() {
            self.edges.try_push(edge)?;
        }
        Ok(())
    }

    /// Pairs a table of A1 with a fresh one of A2. Where one of them has a partner already, this place is not its own but a
    /// reference to it, which may point elsewhere by now: it is looked at again when all tables have been met.
    fn pair_tables(&mut self, old: Ref, new: Ref, site: SiteId, exact: bool) -> Result<()> {
        let (old_addr, new_addr) = (self.vm.val(old).addr, self.vm.val(new).addr);
        let pair = TablePair { old, new, site, exact };
        if self.out.tables.contains_key(&new_addr) || self.answered.contains(&old_addr) {
            if self.pairs_seen.contains(&(old_addr, new_addr)) {
                return Ok(());
            }
            return self.references.try_push(pair);
        }
        self.accept(pair, old_addr, new_addr)
    }

    fn accept(&mut self, pair: TablePair, old_addr: usize, new_addr: usize) -> Result<()> {
        self.pairs_seen.try_insert_value((old_addr, new_addr), ())?;
        self.answered.try_insert_value(old_addr, ())?;
        if !self.out.tables.contains_key(&new_addr) {
            self.out.tables.try_insert_value(new_addr, pair.old)?;
        }
        if !self.vm.metatable_val(pair.new).is_nil() {
            self.out.copies.try_push(pair.new)?;
        }
        self.table_queue.try_reserve(1)?;
        self.table_queue.push_back(pair);
        Ok(())
    }

    /// References among tables: one that leads to a table of A1 which answers to none of A2's yet gives it the functions of A2's;
    /// any other says nothing of what its table is. True when there was one of the first kind.
    fn take_references(&mut self) -> Result<bool> {
        let mut found = false;
        for pair in std::mem::take(&mut self.references) {
            let (old_addr, new_addr) = (self.vm.val(pair.old).addr, self.vm.val(pair.new).addr);
            // A table that the program put there for itself, without a function of the module's own, stays as it is.
            let has_place = self.out.tables.contains_key(&new_addr);
            if self.answered.contains(&old_addr) || has_place && !self.has_own_function(pair.old)? {
                // A2's table, if it is new, has to be met all the same.
                self.scan_queue.try_reserve(1)?;
                if !has_place {
                    self.scan_queue.push_back((pair.new, pair.site));
                    found = true;
                }
            } else {
                self.accept(pair, old_addr, new_addr)?;
                found = true;
            }
        }
        Ok(found)
    }

    /// R3.1
    fn table_pair(&mut self, pair: TablePair) -> Result<()> {
        let mut bears_code = false;
        let (mut entries, mut rows) = (Vec::new(), Vec::new());
        let mut shared = 0;
        let list = self.vm.raw_len(pair.new);
        self.vm.zip(pair.new, pair.old)?;
        while let Some(entry) = self.vm.zip_next() {
            bears_code |= entry.new.is_function();
            shared += u32::from(!entry.old.is_nil());
            if entry.new == entry.old
                && matches!(
                    entry.new.kind,
                    Kind::Table | Kind::Function | Kind::Userdata | Kind::Thread
                )
            {
                continue;
            }
            if self.is_fresh(entry.key) {
                let base = self.vm.zip_keep()?;
                let (table, parent, key) = (pair.old, pair.site, base.after(2));
                self.keyed.try_push(Keyed {
                    table,
                    parent,
                    key,
                    new: base,
                    change: false,
                })?;
            } else if self.is_plain(entry) {
                self.plain(&pair)?;
            } else if entry.old.is_nil() && entry.new.is_table() && !self.replace_data && self.vm.zip_key_integer().is_some() {
                rows.try_push(self.vm.zip_keep()?)?; // a row that stands elsewhere by now, or is gone
            } else if !entry.old.is_nil() || !self.is_state(&pair, entry, list)? {
                entries.try_push((entry, self.vm.zip_keep()?))?;
            }
        }
        self.realign(&pair, list, &entries, rows)?;
        let mut children = Vec::new();
        children.try_reserve(entries.len())?;
        self.out.slots.try_reserve(entries.len())?;
        self.out.sites.reserve(entries.len())?;
        for (entry, base) in entries {
            let (new, old, key) = (base, base.after(1), base.after(2));
            let mut what = self.judge(entry, new, old)?;
            if what == What::Merge && self.moved.contains(&entry.new.addr) {
                what = What::Keep; // the row stands elsewhere by now, and is paired there
            }
            let slot = Slot {
                table: pair.old,
                parent: pair.site,
                key,
                new,
                old,
                what,
                change: false,
            };
            self.out.slots.try_push(slot)?;
            self.child(slot, entry, &mut children)?;
        }
        self.take_children(children)?;
        self.pair_metatables(&pair)?;
        // Where A1 has as many entries as both sides share, it has none of its own.
        let address = self.vm.val(pair.old).addr;
        if self.loaded.memory.entries(self.vm, address) == Some(shared) {
            self.bearing.try_insert_value(address, ())?;
        } else if bears_code {
            self.enumerate(pair.old, pair.new, pair.site, &FxHashSet::default())?;
        }
        if pair.exact {
            self.exact.try_push(pair)?;
        }
        Ok(())
    }

    /// Takes the entries under fresh keys: those whose key answers to one of A1's, or, `last`, all that are left. True when
    /// there was one.
    fn take_keyed(&mut self, last: bool) -> Result<bool> {
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
    fn answer_to_key(&self, key: Ref) -> Option<Ref> {
        let val = self.vm.val(key);
        if val.is_table() {
            return self.out.tables.get(&val.addr).copied();
        }
        let function = self.out.new.get(*self.out.by_address2.get(&val.addr)? as usize)?;
        self.out.old.get(*function.partners.first()? as usize).map(|old| old.at)
    }

    fn take_under(&mut self, keyed: Keyed, old_key: Ref, children: &mut Vec<Child>) -> Result<()> {
        let Keyed {
            table,
            parent,
            key,
            new,
            change,
        } = keyed;
        let old = self.vm.get(table, old_key)?;
        let entry = Entry {
            key: self.vm.val(key),
            new: self.vm.val(new),
            old: self.vm.val(old),
        };
        let what = self.judge(entry, new, old)?;
        let is_function = entry.key.is_function();
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
            self.scan_queue.try_reserve(1)?;
            self.scan_queue.push_back((key, parent));
        }
        if !is_function || old_key == key || entry.old.is_nil() {
            self.out.slots.try_push(slot)?;
            return self.child(slot, entry, children);
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
        self.child(slot, entry, children)
    }

    /// Data on both sides, and neither an object: nothing to find out.
    fn is_plain(&self, entry: Entry) -> bool {
        let plain = |val: Val| matches!(val.kind, Kind::Boolean | Kind::Number | Kind::String);
        plain(entry.new) && (plain(entry.old) || entry.old.is_table())
    }

    fn plain(&mut self, pair: &TablePair) -> Result<()> {
        let what = if self.replace_data && !self.vm.zip_equal() {
            What::Overwrite
        } else {
            What::Keep
        };
        let base = self.vm.zip_keep()?;
        self.out.slots.try_push(Slot {
            table: pair.old,
            parent: pair.site,
            key: base.after(2),
            new: base,
            old: base.after(1),
            what,
            change: false,
        })
    }

    /// R5.3: integer keys are never added to an existing table; a function outside the list is (a sparse dispatch table).
    fn is_state(&mut self, pair: &TablePair, entry: Entry, list: i64) -> Result<bool> {
        let Some(key) = self.vm.zip_key_integer().filter(|_| !self.replace_data) else {
            return Ok(false);
        };
        if !entry.new.is_function() {
            return Ok(true);
        }
        if !(1..=list).contains(&key) {
            return Ok(false);
        }
        let path = self.out.sites.path(self.vm, &self.context.title, pair.site);
        self.out.warnings.try_push(format!(
            "{path}[{key}]: a new function in a list that exists; lists are state, so it was not added (R5.3)"
        ))?;
        // What it shares with the others is shared all the same.
        let base = self.vm.zip_keep()?;
        let site = self.out.sites.key(pair.site, base.after(2))?;
        self.function2(base, site)?;
        Ok(true)
    }

    fn pair_metatables(&mut self, pair: &TablePair) -> Result<()> {
        if self.vm.metatable_val(pair.new).is_nil() {
            return Ok(());
        }
        let (old, new) = (self.vm.metatable(pair.old)?, self.vm.metatable(pair.new)?);
        let site = self.out.sites.metatable(pair.site)?;
        self.metatables(pair.old, pair.site, site, old, new, false)
    }

    /// R3.1: metatables pair as tables do; one that only A2 has is set.
    fn metatables(&mut self, table: Ref, parent: SiteId, site: SiteId, old: Ref, new: Ref, change: bool) -> Result<()> {
        let (o, n) = (self.vm.val(old), self.vm.val(new));
        if n.is_nil() || n == o {
            return Ok(());
        }
        let what = if o.is_nil() {
            if self.is_fresh(n) {
                self.scan_queue.try_reserve(1)?;
                self.scan_queue.push_back((new, site));
            }
            What::Add
        } else if self.is_fresh(n) && self.imports.is_module(self.vm, self.context, self.loaded, o)? {
            self.scan_queue.try_reserve(1)?;
            self.scan_queue.push_back((new, site));
            What::Take
        } else if self.is_fresh(n) {
            return self.pair_tables(old, new, site, false);
        } else if self.imports.takes(self.vm, self.context, self.loaded, o, old, new)? {
            What::Take
        } else {
            return Ok(());
        };
        self.out.slots.try_push(Slot {
            table,
            parent,
            key: Ref::NIL,
            new,
            old,
            what,
            change,
        })
    }

    /// Meets the functions that only A1 has in a code-bearing table (R5.2): their cells count for R4.2.
    fn enumerate(&mut self, table: Ref, new: Ref, site: SiteId, written: &FxHashSet<(usize, Kind, u64)>) -> Result<()> {
        let address = self.vm.val(table).addr;
        if self.bearing.try_insert_value(address, ())?.is_some() {
            return Ok(());
        }
        self.vm.zip(table, new)?;
        while let Some(entry) = self.vm.zip_next() {
            // Here A1's table is walked, so its value is the entry's new one.
            if !entry.new.is_function() || !entry.old.is_nil() {
                continue;
            }
            let (kind, bits) = self.vm.zip_key_identity();
            if written.contains(&(address, kind, bits)) {
                continue;
            }
            let mark = self.vm.held();
            let value = self.vm.zip_keep_pair()?;
            if !self.is_home(value)? {
                self.vm.release(mark);
                continue;
            }
            let key = value.after(1);
            let place = self.out.sites.key(site, key)?;
            self.function1(value, place)?;
            self.out.slots.try_push(Slot {
                table,
                parent: site,
                key,
                new: Ref::NIL,
                old: value,
                what: What::Follow,
                change: false,
            })?;
        }
        Ok(())
    }

    /// R8: what A2's table does not hold goes from A1's.
    fn rows_gone(&mut self, pair: &TablePair) -> Result<()> {
        let answered: FxHashSet<usize> = self.out.tables.values().map(|old| self.vm.val(*old).addr).collect();
        self.vm.zip(pair.old, pair.new)?;
        while let Some(entry) = self.vm.zip_next() {
            let by_object = answered.contains(&entry.key.addr) || self.out.by_address1.contains_key(&entry.key.addr);
            if entry.old.is_nil() && !by_object {
                let base = self.vm.zip_keep_pair()?;
                self.out.slots.try_push(Slot {
                    table: pair.old,
                    parent: pair.site,
                    key: base.after(1),
                    new: Ref::NIL,
                    old: base,
                    what: What::Remove,
                    change: false,
                })?;
            }
        }
        Ok(())
    }

    /// Goes through a fresh table that answers to none of A1's: its functions are A2's as well, and it may refer to tables that
    /// do answer to one.
    fn scan(&mut self, table: Ref, site: SiteId) -> Result<()> {
        let address = self.vm.val(table).addr;
        if !self.is_fresh(self.vm.val(table)) || self.scanned.try_insert_value(address, ())?.is_some() {
            return Ok(());
        }
        let mut children = Vec::new();
        self.vm.zip(table, Ref::NIL)?;
        while let Some(entry) = self.vm.zip_next() {
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
            self.scan_queue.try_reserve(1)?;
            self.scan_queue.push_back((metatable, place));
        }
        Ok(())
    }
}
