//! R3, R4: what in the incoming version answers to what in the running version.
//!
//! Walks the incoming fresh tables beside the running one, and the cells of functions that answer
//! to each other. Everything is a work list, nothing recurses. What a table holds is taken in the
//! order in which the incoming chunk created it, never in the order of a hash table (R3.4). Nothing
//! is decided here that could not still be refused: `plan` makes operations of it.
//!
//! The rounds ([`Pairer::run`]): tables first, which gives pairs of functions; their cells, which
//! give more of both; when nothing is left, the cells that the code assigns; then the cells that no
//! pair reached (R4.2); then functions added to lists (R5.4).

mod cells;
mod changes;
mod constants;
mod copied;
mod coroutines;
mod dependencies;
mod differing;
mod dropped;
mod elements;
mod evidence;
mod expressions;
mod fresh;
mod functions;
mod identity;
mod imports;
mod incoming_graph;
mod keyed;
mod kinds;
mod leftovers;
mod lists;
mod made_before;
mod merge;
mod nesting;
mod origins;
mod own_code;
mod registrations;
mod standing;
mod stays;
mod tables;
mod three_way;
mod unheld;
mod wrappers;

use std::cmp::Ordering;
use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

pub use cells::{Cell1, Cell2, CellFate, CellPair, NamedUpvalue, Upvalues};
pub use dependencies::HeldUpvalue;
pub use differing::Differing;
pub use dropped::describe;
pub use functions::{Function1, Function2};
pub use kinds::are_two_kinds;
pub use lists::{RecordedList, StayingElement};
pub use merge::{is_recorded, is_scalar};
pub use wrappers::{External, Fate, Inside, origin};

use crate::code::definitions::ProtoId;
use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::model::base::{Base, Path, Places};
use crate::model::edits;
use crate::model::lineage::Lineage;
use crate::model::objects::{DenseMap, ObjectTable};
use crate::model::options::{Data, Options};
use crate::model::record::Assigned;
use crate::model::site::{SiteId, Sites};
use crate::stages::find::Context;
use crate::stages::load::Loaded;
use crate::stages::matching::nesting::Nesting;
use crate::support::error::{Result, shown};
use crate::support::mem::{TryPush, copied, sort_by_number};

/// The tables and cells of a small module.
const SOME: usize = 28;

/// What becomes of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The incoming function takes the place of the running version's (R3.2).
    ReplaceFunction,
    /// The incoming import takes the place (R3.3).
    ReplaceImport,
    /// Only the incoming version has it (R5.1).
    Add,
    /// The running data stays.
    Keep,
    /// The incoming data takes the place (R8).
    ReplaceData,
    /// Only the running version has it, and it goes (R8).
    Remove,
    /// What the running version has elsewhere in its list stands here from now on.
    Place,
    /// Two tables that are paired: the running one stays.
    Merge,
    /// Only the running version has it, a function of the module's own: it follows when it is
    /// replaced elsewhere, else it is `removed` (R5.2).
    Follow,
    /// They are of two kinds, and the program has changed the running one, or nobody knows (R6); or
    /// the running value is a function that is replaced elsewhere, and follows.
    Conflict,
    /// A reference to an object of the module's own, which the file has elsewhere: both sides are
    /// known to be others than each other. What becomes of it is decided when all is matched.
    Refer,
}

/// A version of the module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Running,
    Incoming,
}

/// One slot of the running version and what the incoming version has for it.
#[derive(Clone, Copy, Debug)]
pub struct SlotDecision {
    /// The running table.
    pub table: Ref,
    /// Where the table stands.
    pub parent: SiteId,
    /// The key; `NIL` for the metatable.
    pub key: Ref,
    /// The incoming value.
    pub new: Ref,
    /// The running value.
    pub old: Ref,
    /// What becomes of it.
    pub action: Action,
    /// The incoming chunk wrote it into a table that existed (it is put back already).
    pub change: bool,
}

/// A fresh table's reference to another fresh table, to be looked at again when all pairs are known
/// (R5.1).
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// The table that refers.
    pub table: Ref,
    /// Under which key; `NIL` for the metatable.
    pub key: Ref,
    /// What it refers to.
    pub value: Ref,
}

/// An entry of the incoming table, or of what its chunk wrote, beside what the running table holds
/// under its key.
#[derive(Clone, Copy)]
struct EntryPair {
    key: Ref,
    new: Ref,
    old: Ref,
    new_val: Val,
    old_val: Val,
    /// Where the incoming value stands in the order of creation, if it is fresh.
    order: Option<u32>,
}

/// Two tables to be compared.
#[derive(Clone, Copy)]
struct TablePair {
    old: Ref,
    new: Ref,
    site: SiteId,
    fit: Fit,
}

impl TablePair {
    /// What becomes of a slot of the running table.
    fn slot(&self, key: Ref, new: Ref, old: Ref, action: Action) -> SlotDecision {
        SlotDecision {
            table: self.old,
            parent: self.site,
            key,
            new,
            old,
            action,
            change: false,
        }
    }
}

/// R8: what the running table of a pair holds in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// Its own data and what the incoming table adds.
    Merged,
    /// Exactly what the incoming one holds.
    Exact,
}

/// When what waits is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// More may be known later.
    Early,
    /// All else has been met.
    Final,
}

/// An entry of the incoming version whose key is a fresh table or function: the running version has
/// it under what answers to that key, once that is known.
#[derive(Clone, Copy)]
struct Keyed {
    table: Ref,
    parent: SiteId,
    key: Ref,
    new: Ref,
    change: bool,
    /// Its key, a function, was compared with those that the running table has as keys.
    compared: bool,
}

/// Something that a table holds, to be taken in order of creation.
#[derive(Clone, Copy)]
struct QueuedChild {
    order: u32,
    /// The incoming table that has it, if it is one.
    holder: Option<Ref>,
    key: Ref,
    site: SiteId,
    new: Ref,
    old: Ref,
    kind: ChildKind,
    /// It stands in a table that the running version has, under a name that the running version
    /// lacks there. (An integer is a registration's, and no name.)
    added: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ChildKind {
    Pair,
    Edge,
    Function,
    Scan,
}

/// A running function and one of the incoming version that answer to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Edge {
    f1: u32,
    f2: u32,
}

/// R4.6: one incoming cell for two of the running version.
#[derive(Clone, Copy, Debug)]
pub struct SharedCell {
    /// The incoming cell.
    pub new: u32,
    /// The two of the running version.
    pub old: [u32; 2],
}

/// All that is known when pairing ends.
pub struct Pairing {
    /// The slots, in no order that matters.
    pub slots: Vec<SlotDecision>,
    /// The running functions.
    pub old: Vec<Function1>,
    /// The incoming functions.
    pub new: Vec<Function2>,
    /// The running cells.
    pub old_cells: Vec<Cell1>,
    /// The incoming cells.
    pub new_cells: Vec<Cell2>,
    /// What becomes of what joined cells hold.
    pub cell_pairs: Vec<CellPair>,
    /// The upvalues of all functions.
    upvalues: Vec<NamedUpvalue>,
    /// The running table for each paired incoming table.
    pub tables: FxHashMap<usize, Ref>,
    /// The running function for each of the incoming version for which it stays (R3.6), once that
    /// was asked for.
    stays: FxHashMap<usize, Ref>,
    /// The same as `tables`, as values: the incoming table and the running one.
    pub paired: Vec<(Ref, Ref)>,
    /// The incoming tables with metatables whose place running ones take: copies that nobody
    /// will hold.
    pub copies: Vec<Ref>,
    /// References between fresh tables.
    pub references: Vec<Reference>,
    /// What functions of dependencies hold of the file's.
    pub held: Vec<HeldUpvalue>,
    /// R4.6.
    pub shared: Vec<SharedCell>,
    /// Data that only the file has changed, and that stays.
    pub differing: Vec<Differing>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Why what answers to each other, where the place does not say it; if that is asked for.
    pub matched: Vec<String>,
    /// Of running tables with conflicts, and of incoming functions with such locals, by address:
    /// why they answer to their partners, where their places do not say it.
    pub conflicting: FxHashMap<usize, String>,
    /// Where things stand.
    pub sites: Sites,
    /// Additions that are none (R5.4): indices of `slots`.
    pub dropped: FxHashSet<usize>,
    /// The running functions and cells by address…
    known: ObjectTable,
    /// …and the numbers of those that pairing has met.
    met1: DenseMap,
    /// The locals that some function assigns, for the next reloads (R4.7).
    pub assigned: Assigned,
    /// Which running functions others of them have made.
    pub nesting: Nesting,
    /// What is noted of objects.
    lineage: Lineage,
    /// What is on record (R8).
    pub base: Base,
    /// Where the running paired tables are on record, by address.
    pub paths: FxHashMap<usize, Path>,
    /// By the address of the incoming table: what the record has of its list. None for a list that
    /// is recorded as it is.
    pub recorded: FxHashMap<usize, RecordedList>,
    /// The running tables whose list parts are looked at element by element: up to which index. 0
    /// where integer keys are names.
    pub listed: FxHashMap<usize, i64>,
    /// External functions over the file's (R3.5).
    pub external: Vec<External>,
    /// Where wrappers have what they wrap.
    pub inside: Vec<Inside>,
    /// The running functions, by address, that stay since the program has put them in their places
    /// (R3.5).
    pub chosen: FxHashSet<usize>,
    /// The functions that the last load defined and the file still defines, by the numbers of their
    /// prototypes; only where references follow in the whole VM.
    pub go_on: Vec<(ProtoId, ProtoId)>,
    /// Those of the last load's main chunk that the file has no longer.
    pub gone: Vec<ProtoId>,
    /// What the edit made of the code of the functions that the last load defined.
    pub edits: FxHashMap<u64, Option<u64>>,
    /// The code of this and of earlier versions, with the number of the prototype that it is now;
    /// only where references follow in the whole VM.
    pub by_code: Vec<(u64, ProtoId)>,
    /// The incoming functions that come to no place, since what runs there stays (R3.5).
    pub left_out: FxHashSet<u32>,
    /// Userdata that stay, since the file makes them as the last load has.
    pub products: Vec<Ref>,
    /// The tables that locals of the file are made for, with digests of the names: there may be no
    /// function left that has the local.
    pub local_tables: Vec<(u64, Ref)>,
}

impl Pairing {
    /// Nothing is known yet but the running functions and cells, and what is on record.
    fn new(known: ObjectTable, lineage: Lineage, base: Base) -> Result<Pairing> {
        Ok(Pairing {
            slots: Vec::new(),
            old: Vec::new(),
            new: Vec::new(),
            old_cells: Vec::new(),
            new_cells: Vec::new(),
            cell_pairs: Vec::new(),
            upvalues: Vec::new(),
            tables: FxHashMap::default(),
            stays: FxHashMap::default(),
            paired: Vec::new(),
            copies: Vec::new(),
            references: Vec::new(),
            held: Vec::new(),
            shared: Vec::new(),
            differing: Vec::new(),
            warnings: Vec::new(),
            matched: Vec::new(),
            conflicting: FxHashMap::default(),
            sites: Sites::new()?,
            dropped: FxHashSet::default(),
            known,
            met1: DenseMap::default(),
            assigned: Assigned::default(),
            nesting: Nesting::new(lineage),
            lineage,
            base,
            paths: FxHashMap::default(),
            recorded: FxHashMap::default(),
            listed: FxHashMap::default(),
            external: Vec::new(),
            inside: Vec::new(),
            chosen: FxHashSet::default(),
            go_on: Vec::new(),
            gone: Vec::new(),
            edits: FxHashMap::default(),
            by_code: Vec::new(),
            left_out: FxHashSet::default(),
            products: Vec::new(),
            local_tables: Vec::new(),
        })
    }

    /// The number of a running function that pairing has met.
    fn number1(&self, address: usize) -> Option<u32> {
        self.known
            .number(address)
            .and_then(|known| self.met1.get(known))
    }

    /// How many upvalues there are: they are numbered below this.
    pub fn upvalues(&self) -> usize {
        self.upvalues.len()
    }

    /// An upvalue by its number.
    pub fn upvalue(&self, number: u32) -> NamedUpvalue {
        self.upvalues
            .get(number as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The upvalues of a function.
    pub fn upvalues_of(&self, upvalues: Upvalues) -> &[NamedUpvalue] {
        let numbers = upvalues.numbers();
        self.upvalues
            .get(numbers.start as usize..numbers.end as usize)
            .unwrap_or_default()
    }

    /// The number of the cell of a function's upvalue with this number, counted from 0.
    fn cell_number(&self, upvalues: Upvalues, i: u8) -> Option<u32> {
        let upvalue = self.upvalues_of(upvalues).get(usize::from(i));
        upvalue.map(|upvalue| upvalue.cell)
    }

    /// What the local in a joined incoming cell was called, if that was another name.
    pub fn former_name(&self, vm: &Vm, cell: u32) -> Option<Vec<u8>> {
        let new = self.new_cells.get(cell as usize)?;
        let old = self.old_cells.get(new.answer? as usize)?;
        (old.name != new.name).then(|| vm.upvalue_name(old.function, old.index))
    }

    /// Where an incoming cell stands: the upvalue of the first function that has it.
    pub fn cell_site(&mut self, cell: u32) -> Result<SiteId> {
        let Some(cell) = self.new_cells.get(cell as usize) else {
            return Ok(SiteId::MODULE);
        };
        let owner = self
            .new
            .get(cell.owner as usize)
            .map_or(SiteId::MODULE, |owner| owner.site);
        self.sites.upvalue(owner, cell.function, cell.index)
    }

    /// What takes the place of this running function, wherever it stands: one of the incoming
    /// version, or one that stays.
    pub fn answer(&self, vm: &Vm, address: usize) -> Option<Ref> {
        let function = self.old_at(address)?;
        let best = function.answers.first()?;
        let new = self.new.get(*best as usize)?.at;
        Some(self.placed(vm, new))
    }

    /// An incoming value as it is placed: where it is a table that has a pair (R5.1) or a function
    /// that is the file's already (R3.6), it is the running one.
    pub fn placed(&self, vm: &Vm, value: Ref) -> Ref {
        let val = vm.val(value);
        let known = match val.kind {
            Kind::Table => self.tables.get(&val.addr),
            Kind::Function => self.stays.get(&val.addr),
            _ => None,
        };
        known.copied().unwrap_or(value)
    }

    /// Is the index one of the list of the running table at this address that is looked at element
    /// by element?
    pub fn is_listed(&self, address: usize, index: Option<i64>) -> bool {
        let both = index.zip(self.listed.get(&address));
        both.is_some_and(|(index, end)| (1..=*end).contains(&index))
    }

    /// Does this running function answer to one that the file puts nowhere but into other modules'
    /// registries?
    pub fn answers_elsewhere_only(&self, address: usize) -> bool {
        let answer = self
            .old_at(address)
            .and_then(|function| function.answers.first());
        let site = answer
            .and_then(|answer| self.new.get(*answer as usize))
            .map(|new| new.site);
        site.is_some_and(|site| self.sites.is_elsewhere(site))
    }

    /// Did a running function that is known make this one?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_made_at_run_time(&mut self, vm: &mut Vm, address: usize) -> Result<bool> {
        let function = self
            .number1(address)
            .and_then(|f1| self.old.get(f1 as usize));
        function.map_or(Ok(false), |function| {
            self.nesting.is_made_by_another(vm, &self.old, function)
        })
    }

    /// R10.6: why both sides of a place are compared: as `listed` and `conflicting` have it.
    pub fn why(&self, vm: &Vm, slot: &SlotDecision) -> String {
        let address = vm.val(slot.table).addr;
        let how = match self.is_listed(address, vm.integer(slot.key)) {
            true => "by content and order",
            false => "by place",
        };
        self.why_holder(how.into(), address)
    }

    /// The same for an incoming cell and that which it answers to.
    pub fn why_cell(&self, vm: &Vm, cell: u32) -> String {
        let how = match self.former_name(vm, cell) {
            Some(former) => format!("{} before", shown(&former)),
            None => "by name".into(),
        };
        let owner = self.new_cells.get(cell as usize);
        let owner = owner.and_then(|cell| self.new.get(cell.owner as usize));
        self.why_holder(how, owner.map_or(0, |owner| vm.val(owner.at).addr))
    }

    fn why_holder(&self, mut how: String, holder: usize) -> String {
        if let Some(why) = self.conflicting.get(&holder) {
            how.push_str("; ");
            how.push_str(why);
        }
        how
    }

    /// Where a running table stands that was met in a slot or as what a local holds.
    pub fn site_of_table(
        &mut self,
        vm: &Vm,
        context: &Context,
        address: usize,
    ) -> Result<Option<SiteId>> {
        let is_it = |value: Ref| vm.val(value).addr == address;
        if is_it(context.running) {
            return Ok(Some(SiteId::MODULE));
        }
        let slot = self.slots.iter().find(|slot| is_it(slot.old)).copied();
        if let Some(slot) = slot {
            let site = match slot.key {
                Ref::NIL => self.sites.metatable(slot.parent),
                key => self.sites.key(slot.parent, key),
            };
            return site.map(Some);
        }
        let pair = self.cell_pairs.iter().find(|pair| is_it(pair.old_value));
        let cell = pair.map(|pair| pair.new);
        cell.map(|cell| self.cell_site(cell)).transpose()
    }

    /// A running function.
    pub fn old_at(&self, address: usize) -> Option<&Function1> {
        self.old.get(self.number1(address)? as usize)
    }
}

/// Finds what answers to what (R3, R4).
///
/// # Errors
/// [`crate::support::error::Error::Stripped`] (R4.5), [`crate::support::error::Error::Memory`].
pub fn pair(
    vm: &mut Vm,
    context: &Context,
    loaded: &mut Loaded,
    options: &Options,
    lineage: Lineage,
    base: Base,
) -> Result<Pairing> {
    let mut assigned = Assigned::read(vm, lineage, context.name, context.running)?;
    // A reload notes what its text assigns, and leaves nothing where that is nothing.
    let last = loaded.last.as_ref();
    let was_reload = last.is_some_and(|last| vm.same(last.main, loaded.last_main));
    if !assigned.is_known() && !was_reload {
        constants::read_first(vm, loaded.last_main, &mut assigned)?;
    }
    let base = match merge::is_of_another_load(vm, context, loaded, lineage, &base)? {
        true => Base::default(),
        false => base,
    };
    let merges = options.data == Data::Merge && base.is_known();
    let source = vm.info(loaded.main)?.unwrap_or_default().source;
    let renames = renames_of(vm, options)?;
    let mut pairer = Pairer {
        out: Pairing::new(std::mem::take(&mut loaded.snapshot.known), lineage, base)?,
        vm,
        context,
        replace_data: options.data == Data::Replace,
        drops: options.drop,
        tells: options.full,
        merges,
        places: Places::default(),
        change_sites: FxHashMap::default(),
        imports: imports::Imports::default(),
        lineage,
        edits: edits::KnownEdits::default(),
        renames,
        identity: identity::Identity::default(),
        graph: incoming_graph::IncomingGraph::default(),
        names: cells::UpvalueNames::default(),
        functions: functions::FunctionMatching::default(),
        cells: cells::CellMatching::default(),
        tables: tables::TableMatching::default(),
        constants: constants::Constants::new(options.constants, source, assigned),
        lists: Vec::new(),
        unrecorded_lists: 0,
        wrappers: wrappers::Wrappers::new(options),
        code: own_code::CodeOfTables::default(),
        scanned: FxHashSet::default(),
        keyed: Vec::new(),
        module_met: false,
        known_met: false,
        written: changes::WrittenKeys::default(),
        everywhere: options.vm,
        scan_queue: VecDeque::new(),
        dependencies_met: false,
        begun: Vec::new(),
        functions_listed: false,
        loaded,
    };
    let result = pairer.reserve().and_then(|()| pairer.run());
    pairer.vm.end_walk();
    result?;
    pairer.out.assigned = pairer.take_assigned();
    pairer.warn_of_no_record()?;
    let source = pairer.vm.source(pairer.loaded.main)?.unwrap_or_default();
    let source = pairer.vm.digest_of(&source);
    let formers = pairer.former_sources(source)?;
    pairer.out.edits = pairer.identity.edits(pairer.vm, source, &formers)?;
    pairer.out.local_tables = pairer.identity.local_tables(pairer.vm)?;
    if options.vm {
        pairer.out.go_on = pairer.identity.functions_that_go_on()?;
        pairer.out.gone = pairer.identity.functions_that_are_gone()?;
        let known = edits::all(pairer.vm, lineage)?;
        let of = (source, &pairer.out.edits);
        pairer.out.by_code = pairer.identity.functions_by_code(pairer.vm, of, known)?;
    }
    Ok(pairer.out)
}

/// What the user says is called otherwise: the former names and the new ones.
fn renames_of(vm: &mut Vm, options: &Options) -> Result<Vec<(Ref, Ref)>> {
    let mut renames = Vec::new();
    if vm.kind(options.rename) == Kind::Table {
        let mut cursor = vm.walk(options.rename, Ref::NIL)?;
        while cursor.next(vm).is_some() {
            let KeyValue { key, value } = cursor.keep_pair(vm)?;
            renames.try_push((key, value))?;
        }
    }
    Ok(renames)
}

struct Pairer<'a> {
    vm: &'a mut Vm,
    context: &'a Context,
    loaded: &'a mut Loaded,
    out: Pairing,
    replace_data: bool,
    /// Functions that the file lacks go (R5.2).
    drops: bool,
    /// R10.6: why things are matched is told.
    tells: bool,
    /// R8: what the program did not change follows the file.
    merges: bool,
    places: Places,
    /// Where the tables stand that the incoming chunk wrote to, by number.
    change_sites: FxHashMap<u32, SiteId>,
    imports: imports::Imports,
    lineage: Lineage,
    edits: edits::KnownEdits,
    /// What the user says is called otherwise: the former name and the new one.
    renames: Vec<(Ref, Ref)>,
    /// Which expression of which version made an object.
    identity: identity::Identity,
    /// The incoming tables and functions.
    graph: incoming_graph::IncomingGraph,
    names: cells::UpvalueNames,
    /// Each kind of thing that is matched: what was met of it and what waits.
    functions: functions::FunctionMatching,
    cells: cells::CellMatching,
    tables: tables::TableMatching,
    /// Lists that wait until names have told what they can.
    lists: Vec<lists::List>,
    /// So many lists without a record lack plain elements of the file's.
    unrecorded_lists: usize,
    constants: constants::Constants,
    /// External functions over the file's.
    wrappers: wrappers::Wrappers,
    /// Which tables have functions.
    code: own_code::CodeOfTables,
    scanned: FxHashSet<usize>,
    keyed: Vec<Keyed>,
    module_met: bool,
    known_met: bool,
    /// What the incoming chunk wrote into tables that existed: table and key.
    written: changes::WrittenKeys,
    /// R9: a walk over the VM comes after the commit.
    everywhere: bool,
    scan_queue: VecDeque<(Ref, SiteId)>,
    /// What newly required modules hold of the file's was looked for.
    dependencies_met: bool,
    /// What coroutines of the module are in the midst of.
    begun: Vec<coroutines::Begun>,
    functions_listed: bool,
}

impl Pairer<'_> {
    /// Makes room for what the size of the incoming code leads to expect, and what runs: factories
    /// may have made most functions.
    fn reserve(&mut self) -> Result<()> {
        let chunk = self.loaded.chunk.as_ref();
        let of_text = chunk.map_or(0, |chunk| chunk.functions());
        let functions = of_text.max(self.out.known.functions());
        self.out.old.try_reserve(functions)?;
        self.out.new.try_reserve(functions)?;
        self.out.slots.try_reserve(functions)?;
        let cells = self.out.known.cells();
        // What runs is beside what the text led to expect.
        self.vm.reserve(5 * (functions - of_text) + 2 * cells)?;
        self.out.upvalues.try_reserve(functions.max(2 * cells))?;
        self.out.old_cells.try_reserve(cells)?;
        self.out.new_cells.try_reserve(cells)?;
        self.out.cell_pairs.try_reserve(cells)?;
        self.cells.reserve(cells)?;
        self.out.sites.reserve(functions)?;
        self.graph
            .reserve(functions, cells, self.loaded.fresh.len())?;
        self.functions.reserve(self.loaded.fresh.len())?;
        self.out.met1.reserve(self.out.known.functions())?;
        // Tables, and cells and their names.
        let few = SOME + of_text / 16;
        self.out.tables.try_reserve(few)?;
        self.out.paths.try_reserve(few)?;
        self.tables.reserve(few)?;
        self.places.reserve(few)?;
        self.names.reserve(few)
    }

    fn run(&mut self) -> Result<()> {
        self.build_graph()?;
        self.identify()?;
        self.roots()?;
        loop {
            if let Some(pair) = self.tables.next() {
                self.table_pair(pair)?;
            } else if let Some((table, site)) = self.scan_queue.pop_front() {
                self.scan(table, site)?;
            } else if let Some((function, index, site)) = self.cells.next_to_discover() {
                self.discover_upvalue(function, index, site)?;
            } else if self.functions.has_pairs() {
                self.match_edges()?;
            } else if self.cells.has_pairs() {
                self.sort_cell_edges()?;
            } else if self.take_definitions()?
                || self.discover_in_dependencies()?
                || self.resolve_keyed(Pass::Early)?
                || self.resolve_numbered()?
                || self.resolve_references(Pass::Early)?
                || self.resolve_lists()?
                || self.resolve_function_keys()?
                || self.resolve_external()?
            {
                // the evidence behind names, the strongest first: keys that are known by now, keys
                // that are no names, references, lists; functions that are keys, and what external
                // functions have inside
            } else if self.cells.has_assigned_pairs() {
                self.resolve_assigned()?;
            } else if self.discover_constants()? {
                // functions that take the place of another value
            } else if self.scan_unmatched()?
                || self.discover_module()?
                || !self.known_met && self.match_leftovers()?
                || self.resolve_references(Pass::Final)?
                || self.discover_known()?
            {
                // more to do
            } else if !self.functions_listed {
                self.functions_listed = true;
                self.rank_answers()?;
                self.registrations()?;
            } else if !self.match_coroutines()? && !self.resolve_keyed(Pass::Final)? {
                break;
            }
        }
        self.rank_answers()?;
        self.copied_functions()?;
        self.entries_gone()?;
        self.settle_references()?;
        self.settle_constants()?;
        self.settle_kinds()?;
        self.explain_conflicts()?;
        self.note_differing()?;
        self.warn_of_lacking_methods()?;
        self.warn_of_begun()?;
        self.warn_of_unheld()?;
        self.tell_definitions()?;
        self.warn_of_dropped()
    }

    /// The module object bears code wherever the incoming functions stand, or some of the running
    /// version: the running version's own functions in it are met before R4.2. A walk over the VM
    /// must know them in any case: what the file lacks stays (R5.2).
    fn discover_module(&mut self) -> Result<bool> {
        let met = std::mem::replace(&mut self.module_met, true);
        let has_code = !self.out.new.is_empty() || self.out.known.has_own_function();
        if met || !has_code && !self.everywhere || !self.vm.val(self.context.running).is_table() {
            return Ok(false);
        }
        let (old, new) = (self.context.running, self.loaded.value);
        if self.is_fresh(self.vm.val(new)) && self.vm.val(new).is_table() {
            self.enumerate(old, new, SiteId::MODULE, &changes::WrittenKeys::default())?;
        } else if self.vm.same(old, new) {
            // The incoming version wrote into the running version's own object.
            let written = std::mem::take(&mut self.written);
            self.enumerate(old, Ref::NIL, SiteId::MODULE, &written)?;
            self.written = written;
        }
        Ok(true)
    }

    /// R3: the roots: the module object, and what the incoming chunk changed.
    fn roots(&mut self) -> Result<()> {
        let (old, new) = (self.context.running, self.loaded.value);
        let (old_val, new_val) = (self.vm.val(old), self.vm.val(new));
        let mut children = Vec::new();
        if old_val.is_table() && new_val.is_table() {
            if old_val != new_val && self.is_fresh(new_val) {
                self.pair_tables(old, new, SiteId::MODULE, Fit::Merged)?;
            }
        } else if old_val.is_function() && new_val.is_function() {
            self.slot_edge(&mut children, Ref::NIL, SiteId::MODULE, new, old)?;
        } else if new_val.is_table() {
            self.scan_queue.try_push((new, SiteId::MODULE))?;
        } else if new_val.is_function() {
            self.function2(new, SiteId::MODULE)?;
        }
        if old_val.is_function() {
            self.function1(old, SiteId::MODULE)?;
        }
        self.take_children(&mut children)?;
        self.changes()?;
        self.registered()
    }

    /// R5.7, R5.9: what the chunk's calls have found to answer to each other, and have placed.
    fn registered(&mut self) -> Result<()> {
        for (new, old) in copied(&self.loaded.left.pairs)? {
            let site = self.out.sites.elsewhere(new)?;
            if self.vm.val(new).is_table() {
                self.pair_tables(old, new, site, Fit::Merged)?;
            } else if self.vm.kind(new) == Kind::Thread {
                self.pair_coroutines(old, new, site)?;
            } else if let (Some(f1), Some(f2)) =
                (self.function1(old, site)?, self.function2(new, site)?)
            {
                self.edge(Edge { f1, f2 })?;
            }
        }
        for root in copied(&self.loaded.left.roots)? {
            let site = self.out.sites.elsewhere(root)?;
            if self.vm.val(root).is_table() {
                self.scan_queue.try_push((root, site))?;
            } else {
                self.function2(root, site)?;
            }
        }
        Ok(())
    }

    fn is_fresh(&self, val: Val) -> bool {
        self.order_of(val).is_some()
    }

    fn is_fresh_function(&self, val: Val) -> bool {
        val.is_function() && self.is_fresh(val)
    }

    /// What the incoming value has beside it.
    fn entry_pair(&self, key: Ref, new: Ref, old: Ref) -> EntryPair {
        let new_val = self.vm.val(new);
        EntryPair {
            key,
            new,
            old,
            new_val,
            old_val: self.vm.val(old),
            order: self.order_of(new_val),
        }
    }

    /// What becomes of a slot.
    fn classify_slot(&mut self, entry: &EntryPair) -> Result<Action> {
        let EntryPair {
            new,
            old,
            new_val: n,
            old_val: o,
            order,
            ..
        } = *entry;
        if o.is_nil() {
            return Ok(if n.is_nil() {
                Action::Keep
            } else {
                Action::Add
            });
        }
        if n == o && n.addr != 0 || n.is_nil() {
            return Ok(Action::Keep);
        }
        let fresh = order.is_some();
        Ok(match (o.kind, n.kind) {
            (Kind::Function, Kind::Function) if fresh => {
                // A generator or iterator that a library made is an object with state, not code.
                let both_c =
                    self.vm.is_c_function(new).is_some() && self.vm.is_c_function(old).is_some();
                if both_c || self.is_external_over(o, old, new)? {
                    Action::Keep
                } else if self.are_others(old, new) {
                    Action::Refer
                } else {
                    Action::ReplaceFunction
                }
            }
            (Kind::Table, Kind::Function) if fresh && self.is_external_callable(old)? => {
                Action::Keep
            }
            // Another module's table is never written to: the file has a table of its own now
            // (R3.3).
            (Kind::Table, Kind::Table) if fresh && self.was_import(old, new)? => {
                Action::ReplaceImport
            }
            (Kind::Table, Kind::Table) if fresh && self.are_others(old, new) => Action::Refer,
            (Kind::Table, Kind::Table) if fresh => Action::Merge,
            _ if !fresh && n.addr != 0 && n.kind != Kind::String && self.takes(o, old, new)? => {
                Action::ReplaceImport
            }
            (Kind::Function, Kind::Function) if self.is_own_function(old)? => {
                Action::ReplaceFunction
            }
            (Kind::Function, Kind::Function) => Action::Keep,
            (Kind::Function, _) if !self.is_own_function(old)? => Action::Keep,
            (Kind::Function, _) | (_, Kind::Function) => Action::Conflict,
            _ if self.replace_data && self.is_replacement(old, new)? => Action::ReplaceData,
            _ => Action::Keep,
        })
    }

    fn is_own_function(&mut self, function: Ref) -> Result<bool> {
        match self.vm.info(function)? {
            Some(info) => self.loaded.ownership.owns(self.vm, function, &info),
            None => Ok(false),
        }
    }

    /// Notes what has to be looked at further below a slot; `holder` is the incoming table that has
    /// it.
    fn child(
        &mut self,
        slot: SlotDecision,
        holder: Option<Ref>,
        entry: &EntryPair,
        children: &mut Vec<QueuedChild>,
    ) -> Result<()> {
        let order = entry.order;
        self.note_external(&slot, entry)?;
        if slot.action == Action::Keep && self.may_be_coroutine(entry.new_val) {
            let site = self.out.sites.key(slot.parent, slot.key)?;
            self.pair_coroutines(slot.old, slot.new, site)?;
        }
        let kind = match (slot.action, entry.new_val.kind, order) {
            (Action::Merge, ..) => ChildKind::Pair,
            (Action::Refer, Kind::Table, _) => {
                let site = self.out.sites.key(slot.parent, slot.key)?;
                return self.tables.set_aside(slot.new, site);
            }
            (Action::ReplaceFunction, ..) => ChildKind::Edge,
            (_, Kind::Function, Some(_)) => ChildKind::Function,
            (
                Action::Add | Action::ReplaceData | Action::ReplaceImport | Action::Conflict,
                Kind::Table,
                Some(_),
            ) => ChildKind::Scan,
            (Action::Keep, Kind::Table, Some(_))
                if are_two_kinds(self.vm, slot.old, slot.new) && self.is_free_table(slot.new) =>
            {
                ChildKind::Scan
            }
            _ => {
                if entry.old_val.is_function() {
                    let site = self.out.sites.key(slot.parent, slot.key)?;
                    self.function1(slot.old, site)?;
                }
                return Ok(());
            }
        };
        let site = self.out.sites.key(slot.parent, slot.key)?;
        children.try_push(QueuedChild {
            order: order.unwrap_or(u32::MAX),
            holder,
            key: slot.key,
            site,
            new: slot.new,
            old: slot.old,
            kind,
            added: slot.action == Action::Add
                && entry.old_val.is_nil()
                && self.vm.integer(slot.key).is_none(),
        })
    }

    fn slot_edge(
        &mut self,
        children: &mut Vec<QueuedChild>,
        key: Ref,
        site: SiteId,
        new: Ref,
        old: Ref,
    ) -> Result<()> {
        let order = self
            .loaded
            .fresh
            .order(self.vm.val(new).addr)
            .unwrap_or(u32::MAX);
        children.try_push(QueuedChild {
            order,
            holder: None,
            key,
            site,
            new,
            old,
            kind: ChildKind::Edge,
            added: false,
        })
    }

    /// Takes what tables hold in the order in which the incoming chunk created it.
    fn take_children(&mut self, children: &mut Vec<QueuedChild>) -> Result<()> {
        sort_by_number(children, |child| child.order)?;
        // One object under several keys of one table: by key.
        let vm = &*self.vm;
        for twins in children
            .chunk_by_mut(|a, b| a.order == b.order)
            .filter(|twins| twins.len() > 1)
        {
            twins.sort_unstable_by(|a, b| by_key(vm, a.key, b.key));
        }
        for child in children.iter() {
            match child.kind {
                // The functions come first: their cells tell what locals the tables have.
                ChildKind::Pair => {}
                ChildKind::Scan => {
                    if self.vm.val(child.old).is_function() {
                        self.function1(child.old, child.site)?;
                    }
                    self.scan_queue.try_push((child.new, child.site))?;
                }
                ChildKind::Function => {
                    if self.vm.val(child.old).is_function() {
                        self.function1(child.old, child.site)?;
                    }
                    let f2 = self.function2_of(child.order, child.new, child.site)?;
                    if let Some(new) = f2.and_then(|f2| self.out.new.get_mut(f2 as usize)) {
                        new.added |= child.added;
                    }
                }
                ChildKind::Edge => {
                    let f1 = self.function1(child.old, child.site)?;
                    let f2 = match child.order {
                        u32::MAX => None,
                        order => self.function2_of(order, child.new, child.site)?,
                    };
                    if let (Some(f1), Some(f2)) = (f1, f2) {
                        self.edge(Edge { f1, f2 })?;
                    }
                }
            }
        }
        for child in children
            .drain(..)
            .filter(|child| child.kind == ChildKind::Pair)
        {
            let (old, new, site, fit) = (child.old, child.new, child.site, self.fit());
            if self.are_paired(old, new) {
                continue; // another place where they stand says nothing new
            }
            let pair = TablePair {
                old,
                new,
                site,
                fit,
            };
            if self.are_same(old, new) {
                self.pair_tables(old, new, site, fit)?;
            } else if self.is_reference(child.holder, child.key) {
                self.refer(pair)?;
            } else if self.vm.kind(child.key) == Kind::String {
                self.pair_tables(old, new, site, fit)?;
            } else {
                self.tables.wait_for_names(pair)?;
            }
        }
        Ok(())
    }

    /// What becomes of the data of tables that are paired.
    fn fit(&self) -> Fit {
        match self.replace_data {
            true => Fit::Exact,
            false => Fit::Merged,
        }
    }
}

/// The order of two keys of one table. Those that are objects come last: they have no order, and no
/// path (R8).
fn by_key(vm: &Vm, a: Ref, b: Ref) -> Ordering {
    let is_object = |key| vm.val(key).addr != 0;
    let is_text = |key| vm.kind(key) == Kind::String;
    let texts = || {
        vm.with_bytes(a, |a| vm.with_bytes(b, |b| a.cmp(b)))
            .flatten()
    };
    is_object(a)
        .cmp(&is_object(b))
        .then_with(|| is_text(a).cmp(&is_text(b)))
        .then_with(|| texts().unwrap_or(Ordering::Equal))
        .then_with(|| vm.integer(a).cmp(&vm.integer(b)))
        .then_with(|| vm.number_text(a).cmp(&vm.number_text(b)))
}
