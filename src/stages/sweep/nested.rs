//! R9.3: closures that old factories made: which nested incoming function answers to theirs, and on
//! which cells it then works.
//!
//! Functions answer to each other by structure. The pairs of [`Pairing`] are known; of what is
//! nested in the two functions of a pair, [`align`] says what answers to what, and so on downwards.
//! An old closure is recognised by its own dump. Where the function that made it is gone, and
//! nothing known has it nested in it, it is compared with what in the incoming version answers to
//! nothing else. Where an answer is doubtful, there is none: the closure stays as it is, and is
//! *stale*.
//!
//! [`Nested`] is plain data; it holds no handle of a value and may outlive the call. The Lua values
//! that it needs are in [`Values`]. Nothing of the running program is changed here: the new
//! closures are reachable from the tables of `Values` alone, and the joins are for `commit` to do,
//! after those of the incoming functions.
//!
//! A closure's answer may depend on closures that were met before it only where the function that
//! made it is gone. Whoever knows all old closures beforehand hands each to [`Nested::meet`] first,
//! and the outcome depends on no order.

mod align;
mod cells;
mod forest;
mod orphans;
#[cfg(test)]
mod tests;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use std::collections::VecDeque;

use crate::code::cut::{Cutter, TEMPLATE};
use crate::code::tree::Tree;
use crate::lua::vm::{DebugInfo, Ref, Vm};
use crate::lua::write::{self, Join};
use crate::model::edits;
use crate::stages::load::Loaded;
use crate::stages::matching::Pairing;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};
use align::{FunctionAlignment, FunctionFeatures, Match};
use cells::{Source, SourceRange};
use forest::{Forest, Id, Scope};

/// The number of the incoming main function among the functions of [`Values`].
const MAIN: u32 = 1;

/// The fewest instructions of a function that is known by its code alone.
const LEAST: usize = 4;

/// The Lua values that [`Nested`] needs, all of them the caller's to keep between calls and to give
/// up in the end.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// A table, empty at first: functions of both sides that have cells, and the factories of new
    /// closures.
    pub functions: Ref,
    /// A table with weak keys (`__mode = "k"`), empty at first: old closure → new closure.
    pub moved: Ref,
}

/// The joins that give a new closure its cells.
pub type ClosureJoins = SmallVec<[Join; 8]>;

/// What becomes of an old closure.
#[derive(Debug)]
pub enum ClosureFate {
    /// A new closure takes its place everywhere.
    Moved {
        /// The new closure: one for each old one, however often it is asked for.
        new: Ref,
        /// What gives it its cells, to be done before anything calls it; nothing where that was
        /// done.
        joins: ClosureJoins,
    },
    /// Its code is the incoming one already, lines included.
    Same,
    /// It stays.
    Stale(StaleReason),
}

/// Why an old closure stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StaleReason {
    /// No function of the file answers to it.
    Gone,
    /// More than one function of the file might.
    Doubtful,
    /// It is a chunk, which has run.
    Chunk,
    /// It lacks a variable: the name is one that [`Nested::words`] knows.
    NotCaptured(u32),
    /// A variable of the module has several cells, or none that is known.
    NoCell(u32),
    /// Its code has no names.
    Stripped,
    /// The format of the running Lua's code is not the one that is known here.
    Format,
}

/// What becomes of all closures of one old prototype.
#[derive(Clone, Copy)]
enum Decision {
    /// Not yet known. Its own tree, if it was needed.
    Open(Id),
    Same,
    Stale(StaleReason),
    Move {
        old: Id,
        new: Id,
        sources: SourceRange,
        /// The code is that of the file already; only its variables may be others.
        same_code: bool,
    },
}

/// What answers to a running function.
#[derive(Clone, Copy)]
enum Link {
    To { old: Id, new: Id },
    Doubtful,
}

/// A pair of functions of which both are there.
struct RootPair {
    /// The running one, among the [`Values`].
    old: u32,
    /// The incoming one, among the [`Values`].
    new: u32,
    /// Where the incoming stands in its chunk.
    node: Id,
}

/// What answers to what among the functions of two versions of a module.
pub struct Nested {
    old: Forest,
    new: Forest,
    /// None where this Lua's code cannot be cut: nothing is moved then.
    cutter: Option<Cutter>,
    /// A hash of `_ENV`.
    environment: u64,
    /// No function assigns the chunk's.
    environment_is_fixed: bool,
    /// So many trees of `old`, the first ones, are of the running functions.
    running: u32,
    /// The incoming main function stands in the first tree of `new`.
    has_main: bool,
    /// The pairs that have a tree of the running version as their first function.
    roots: FxHashMap<u32, Vec<RootPair>>,
    /// Answers by structure: to functions nested in others.
    links: FxHashMap<u64, Link>,
    /// The links at first, by the code of the running functions; none until somebody asks.
    codes: Option<FxHashMap<u64, Option<Link>>>,
    /// Answers to functions that stand alone: those of the pairs, and closures whose factory is
    /// gone.
    outer: FxHashMap<u64, Link>,
    /// Which function of the file one of the last load is, by definition, in its place or not;
    /// none where two of one code are different ones by now.
    defined: FxHashMap<u64, Option<Id>>,
    /// Which function of the file the code of this and of earlier versions is.
    by_code: FxHashMap<u64, Id>,
    /// Functions that certainly have no answer.
    unmatched: FxHashMap<u64, StaleReason>,
    /// Functions that stood in the module, and that the file no longer has.
    dropped: FxHashSet<u64>,
    aligned: FxHashSet<(u64, Id)>,
    /// Pairs of functions whose nested ones have not been aligned yet.
    queue: VecDeque<(Id, Id)>,
    /// The incoming functions that answer to something.
    answered: FxHashSet<Id>,
    /// Lines of the running functions and numbers of the incoming version, where both stand in the
    /// main chunk.
    anchors: Vec<(i32, u32)>,
    /// The incoming locals main function that one of its functions has; none where there are
    /// several of one.
    module: FxHashMap<u32, Option<(u32, u8)>>,
    /// By a digest of the dump.
    prototypes: FxHashMap<u64, u32>,
    /// By the address of a closure that is held; see [`Nested::forget_addresses`].
    closures: FxHashMap<usize, u32>,
    decisions: Vec<Decision>,
    open: Vec<u32>,
    /// Where the factories of new closures are, among the [`Values`].
    factories: FxHashMap<Id, u32>,
    /// How many functions the [`Values`] have.
    slots: u32,
    names: Vec<Vec<u8>>,
    sources: Vec<Source>,
}

impl Nested {
    /// Reads both sides, and finds what answers to what.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn new(vm: &mut Vm, pairing: &Pairing, loaded: &Loaded, values: Values) -> Result<Nested> {
        let mut nested = Nested {
            old: Forest::default(),
            new: Forest::default(),
            cutter: cutter(vm)?,
            environment: vm.secret().digest(b"_ENV"),
            environment_is_fixed: pairing.has_fixed_environment(),
            running: 0,
            has_main: false,
            roots: FxHashMap::default(),
            links: FxHashMap::default(),
            codes: None,
            outer: FxHashMap::default(),
            defined: FxHashMap::default(),
            by_code: FxHashMap::default(),
            unmatched: FxHashMap::default(),
            dropped: FxHashSet::default(),
            aligned: FxHashSet::default(),
            queue: VecDeque::new(),
            answered: FxHashSet::default(),
            anchors: Vec::new(),
            module: FxHashMap::default(),
            prototypes: FxHashMap::default(),
            closures: FxHashMap::default(),
            decisions: Vec::new(),
            open: Vec::new(),
            factories: FxHashMap::default(),
            slots: 0,
            names: Vec::new(),
            sources: Vec::new(),
        };
        if nested.cutter.is_none() {
            return Ok(nested);
        }
        nested.keep(vm, values, loaded.main)?; // MAIN
        match vm.tree_of(loaded.main)? {
            Some(tree) => {
                nested.new.plant(tree)?;
                nested.has_main = true;
            }
            None => {
                nested.cutter = None;
                return Ok(nested);
            }
        }
        let nodes = nested.functions_of_new(vm, pairing, values)?;
        nested.functions_of_old(vm, pairing, values, &nodes)?;
        nested.read_definitions(vm, pairing, loaded)?;
        nested.running = nested.old.len();
        nested.align()?;
        nested.anchors.sort_unstable();
        Ok(nested)
    }

    /// What the operator should know: why no closure is moved at all.
    pub fn warning(&self) -> Option<&'static str> {
        self.cutter.is_none().then_some(
            "the bytecode of this Lua is not of the known format: closures that old functions \
             made keep their code; run the program with a Lua 5.4 as it is published",
        )
    }

    /// A reason in words.
    pub fn words(&self, reason: StaleReason) -> String {
        let name = |i: u32| {
            String::from_utf8_lossy(self.names.get(i as usize).map_or(&[][..], Vec::as_slice))
                .into_owned()
        };
        match reason {
            StaleReason::Gone => "no function of the file answers to it".into(),
            StaleReason::Doubtful => "more than one function of the file might answer to it".into(),
            StaleReason::Chunk => "it is a chunk that has run".into(),
            StaleReason::NotCaptured(i) => format!(
                "it would need '{}', a \
                 local of the function that made it, which it did not capture",
                name(i)
            ),
            StaleReason::NoCell(i) => format!(
                "it would need '{}', and no function of the file has the one that is meant",
                name(i)
            ),
            StaleReason::Stripped => "its code has no debug information".into(),
            StaleReason::Format => "its bytecode is not of the known format".into(),
        }
    }

    /// Does a closure's very code, lines included, stand in a running function that pairing met, or
    /// in one that was asked for?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn knows(&mut self, vm: &mut Vm, closure: Ref) -> Result<bool> {
        let exact = vm
            .tree_of(closure)?
            .and_then(|tree| Some(tree.get(0)?.exact));
        Ok(exact.is_some_and(|exact| !self.old.find(exact).is_empty()))
    }

    /// Makes an old closure known before any is asked for (see above). It must be an own function.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn meet(&mut self, vm: &mut Vm, closure: Ref) -> Result<()> {
        self.prototype(vm, closure).map(|_| ())
    }

    /// The same, for a function that stood in the module, and to which pairing found no answer.
    /// Only what is nested in another function than the main chunk may have one (R5.2).
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn note_dropped(&mut self, vm: &mut Vm, function: Ref) -> Result<()> {
        if let Some(id) = self.open(vm, function)? {
            self.dropped.try_insert_value(self.old.exact(id), ())?;
        }
        Ok(())
    }

    /// Is an own function's code that of a function of the file, lines included?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_of_file(&mut self, vm: &mut Vm, function: Ref) -> Result<bool> {
        let prototype = self.prototype(vm, function)?;
        let decision = prototype.and_then(|number| self.decisions.get(number as usize));
        Ok(matches!(
            decision,
            Some(
                Decision::Same
                    | Decision::Move {
                        same_code: true,
                        ..
                    }
            )
        ))
    }

    /// Did a function make this one that something answers to, or one that the file has still?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_made_by_known(&mut self, vm: &mut Vm, closure: Ref) -> Result<bool> {
        let Some(id) = self.open(vm, closure)? else {
            return Ok(false);
        };
        let defined = self.defined.get(&self.old.exact(id)).copied().flatten();
        if defined.is_some_and(|new| self.new.parent(new) != Some(self.main())) {
            return Ok(true);
        }
        let link = match self.links.get(&self.old.exact(id)) {
            Some(link) => Some(*link),
            None => self.earlier_generation(id)?,
        };
        Ok(matches!(link, Some(Link::To { old, .. }) if self.is_inside(old)))
    }

    /// Is a function dropped, as far as this place of it tells?
    fn is_dropped(&self, exact: u64, place: Option<Id>) -> bool {
        self.dropped.contains(&exact)
            && !self.defined.contains_key(&exact)
            && !place.is_some_and(|id| self.is_inside(id))
    }

    /// Is it nested in another function than the main chunk?
    fn is_inside(&self, id: Id) -> bool {
        let around = self.old.parent(id).and_then(|id| self.old.get(id));
        around.is_some_and(|around| around.line != 0)
    }

    /// What is known of the code of an own function of which nothing is decided; none where that
    /// cannot be read.
    fn open(&mut self, vm: &mut Vm, function: Ref) -> Result<Option<Id>> {
        let prototype = self.prototype(vm, function)?;
        let decision = prototype.and_then(|number| self.decisions.get(number as usize));
        Ok(match decision {
            Some(Decision::Open(id)) => Some(*id),
            _ => None,
        })
    }

    /// What becomes of an old closure, an own function that is not itself one of a pair.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn answer(&mut self, vm: &mut Vm, values: Values, closure: Ref) -> Result<ClosureFate> {
        let Some(prototype) = self.prototype(vm, closure)? else {
            return Ok(ClosureFate::Stale(StaleReason::Format));
        };
        self.settle()?;
        let (old, new, sources, same_code) = match self.decisions.get(prototype as usize).copied() {
            Some(Decision::Same) => return Ok(ClosureFate::Same),
            Some(Decision::Stale(reason)) => return Ok(ClosureFate::Stale(reason)),
            Some(Decision::Open(_)) | None => return Ok(ClosureFate::Stale(StaleReason::Gone)),
            Some(Decision::Move {
                old,
                new,
                sources,
                same_code,
            }) => (old, new, sources, same_code),
        };
        let mut donors: SmallVec<[(Ref, u8); 8]> = SmallVec::new();
        for source in self.sources_of(sources) {
            donors.try_push(match *source {
                Source::Own(index) => (closure, index),
                Source::Chunk(index) => (vm.element(values.functions, MAIN)?, index),
                Source::Function { slot, index } => (vm.element(values.functions, slot)?, index),
                Source::Factory { node, index, name } => {
                    match self.factory_cell(vm, values, closure, old, node, index)? {
                        Some(donor) => (donor, index),
                        None => return Ok(ClosureFate::Stale(StaleReason::NoCell(name))),
                    }
                }
            })?;
        }
        let is_same = |((donor, index), i): (&(Ref, u8), u8)| {
            vm.cell(closure, i) == vm.cell(*donor, *index)
                || self.environment_is_fixed
                    && is_one_environment(vm, (closure, i), (*donor, *index))
        };
        if same_code && donors.iter().zip(1..).all(is_same) {
            return Ok(ClosureFate::Same);
        }
        let known = vm.get(values.moved, closure)?;
        let new = if vm.val(known).is_function() {
            known
        } else {
            let Some(factory) = self.factory(vm, values, new)? else {
                return Ok(ClosureFate::Stale(StaleReason::Format));
            };
            let new = vm.instantiate(factory)?;
            write::fill(vm, values.moved, closure, new)?;
            new
        };
        let mut joins = ClosureJoins::new();
        for ((donor, donor_index), index) in donors.into_iter().zip(1..) {
            if vm.cell(new, index) != vm.cell(donor, donor_index) {
                joins.try_push(Join {
                    index,
                    donor,
                    donor_index,
                })?;
            }
        }
        Ok(ClosureFate::Moved { new, joins })
    }

    /// Puts a function among the values.
    fn keep(&mut self, vm: &mut Vm, values: Values, function: Ref) -> Result<u32> {
        let slot = self.slots + 1;
        let key = vm.number(slot.into())?;
        write::fill(vm, values.functions, key, function)?;
        self.slots = slot;
        Ok(slot)
    }

    /// Finds the incoming functions in its chunk, and which of the chunk's locals they have.
    /// Returns their places, by their numbers.
    fn functions_of_new(
        &mut self,
        vm: &mut Vm,
        pairing: &Pairing,
        values: Values,
    ) -> Result<Vec<Option<(u32, Id)>>> {
        let mut nodes = Vec::new();
        nodes.try_reserve_exact(pairing.new.len())?;
        let mut cells: FxHashMap<u32, usize> = FxHashMap::default();
        for function in &pairing.new {
            let tree = if function.own {
                vm.tree_of(function.at)?
            } else {
                None
            };
            let Some(tree) = tree else {
                nodes.push(None);
                continue;
            };
            let exact = tree.get(0).map_or(0, |function| function.exact);
            let node = match self.new.find(exact).first() {
                Some(node) => *node,
                // Its code is not in the chunk that was loaded: a loader ran another one.
                None => self.new.plant(tree)?,
            };
            let slot = self.keep(vm, values, function.at)?;
            nodes.push(Some((slot, node)));
            for i in 0..self.new.captured(node).len() as u8 {
                let Scope::Local { owner, local, .. } = self.new.scope(node, i) else {
                    continue;
                };
                if owner != self.main() {
                    continue;
                }
                let cell = vm.cell(function.at, i + 1);
                match cells.get(&local) {
                    None => {
                        cells.try_insert_value(local, cell)?;
                        self.module.try_insert_value(local, Some((slot, i + 1)))?;
                    }
                    Some(known) if *known != cell => {
                        self.module.try_insert_value(local, None)?;
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(nodes)
    }

    /// Reads the running functions, and takes over which of the incoming version answer to them.
    fn functions_of_old(
        &mut self,
        vm: &mut Vm,
        pairing: &Pairing,
        values: Values,
        nodes: &[Option<(u32, Id)>],
    ) -> Result<()> {
        let mut unanswered = Vec::new();
        for function in pairing.old.iter().filter(|function| function.own) {
            let Some(tree) = vm.tree_of(function.at)? else {
                continue;
            };
            let exact = tree.get(0).map_or(0, |function| function.exact);
            let planted = self
                .old
                .find(exact)
                .iter()
                .find(|id| id.function == 0)
                .copied();
            let id = match planted {
                Some(id) => id,
                None => self.old.plant(tree)?,
            };
            let answer = function.answers.first();
            let Some((new, node)) =
                answer.and_then(|f2| nodes.get(*f2 as usize).copied().flatten())
            else {
                unanswered.try_push(id)?;
                continue;
            };
            let old = self.keep(vm, values, function.at)?;
            if !self.roots.contains_key(&id.tree) {
                self.roots.try_insert_value(id.tree, Vec::new())?;
            }
            if let Some(roots) = self.roots.get_mut(&id.tree) {
                roots.try_push(RootPair { old, new, node })?;
            }
            self.link_outer(id, node)?;
            if self.new.parent(node) == Some(self.main()) {
                self.anchors.try_push((function.info.line, node.function))?;
            }
        }
        for id in unanswered {
            self.leave_unmatched(id, StaleReason::Gone)?;
        }
        Ok(())
    }

    /// Notes which functions of the last load the file still defines, and which it has no longer.
    fn read_definitions(&mut self, vm: &mut Vm, pairing: &Pairing, loaded: &Loaded) -> Result<()> {
        for (code, function) in &pairing.by_code {
            let new = Id {
                function: *function,
                ..self.main()
            };
            self.by_code.try_insert_value(*code, new)?;
        }
        if pairing.go_on.is_empty() && pairing.gone.is_empty() {
            return Ok(());
        }
        let Some(tree) = vm.tree_of(loaded.last_main)? else {
            return Ok(());
        };
        for (old, function) in &pairing.go_on {
            if let Some(old) = tree.get(*old) {
                let new = Id {
                    function: *function,
                    ..self.main()
                };
                let is_one = self
                    .defined
                    .get(&old.exact)
                    .is_none_or(|known| *known == Some(new));
                self.defined
                    .try_insert_value(old.exact, is_one.then_some(new))?;
            }
        }
        for old in &pairing.gone {
            if let Some(old) = tree.get(*old) {
                self.dropped.try_insert_value(old.exact, ())?;
            }
        }
        Ok(())
    }

    fn main(&self) -> Id {
        Id {
            tree: 0,
            function: 0,
        }
    }

    /// A function that stands alone has an answer.
    fn link_outer(&mut self, old: Id, new: Id) -> Result<()> {
        insert_link(&mut self.outer, self.old.exact(old), old, new)?;
        self.answered.try_insert_value(new, ())?;
        self.enqueue(old, new)
    }

    /// What is nested in two functions is to be aligned.
    fn enqueue(&mut self, old: Id, new: Id) -> Result<()> {
        self.queue.try_push((old, new))
    }

    /// A function, and all that is nested in it, has no answer but by another way.
    fn leave_unmatched(&mut self, id: Id, reason: StaleReason) -> Result<()> {
        let mut list = Vec::new();
        list.try_push(id)?;
        while let Some(id) = list.pop() {
            self.unmatched
                .try_insert_value(self.old.exact(id), reason)?;
            for child in self.old.children(id)? {
                list.try_push(child)?;
            }
        }
        Ok(())
    }

    /// Aligns what is nested in pairs of functions, and what is nested in that. Where memory ends,
    /// what is not done stays in the queue.
    fn align(&mut self) -> Result<()> {
        while let Some((old, new)) = self.queue.front().copied() {
            let pair = (self.old.exact(old), new);
            if !self.aligned.contains(&pair) {
                self.align_children(old, new)?;
                self.aligned.try_insert_value(pair, ())?;
            }
            self.queue.pop_front();
        }
        Ok(())
    }

    fn align_children(&mut self, old: Id, new: Id) -> Result<()> {
        let (olds, news) = (self.old.children(old)?, self.new.children(new)?);
        if olds.is_empty() {
            return Ok(());
        }
        let mut alignment = FunctionAlignment::new(
            self.features(&self.old, &olds)?,
            self.features(&self.new, &news)?,
        )?;
        for (i, child) in olds.iter().enumerate() {
            let exact = self.old.exact(*child);
            let known = self.links.get(&exact).or_else(|| self.outer.get(&exact));
            if let Some(Link::To { new, .. }) = known
                && let Some(j) = news.iter().position(|id| id == new)
            {
                alignment.join(i, j);
            }
        }
        let found = alignment.run()?;
        let mut twins: FxHashMap<u64, Match> = FxHashMap::default();
        for (child, found) in olds.iter().zip(&found) {
            // Functions that nothing tells apart: they all have the same answer, or there is doubt.
            let exact = self.old.exact(*child);
            let one = twins.get(&exact).is_none_or(|known| known == found);
            twins.try_insert_value(exact, if one { *found } else { Match::Doubtful })?;
        }
        for child in olds {
            match twins
                .get(&self.old.exact(child))
                .copied()
                .unwrap_or(Match::Doubtful)
            {
                Match::To(j) => {
                    let Some(node) = news.get(j).copied() else {
                        continue;
                    };
                    insert_link(&mut self.links, self.old.exact(child), child, node)?;
                    self.answered.try_insert_value(node, ())?;
                    self.enqueue(child, node)?;
                }
                Match::Not => self.leave_unmatched(child, StaleReason::Gone)?,
                Match::Doubtful => self.leave_unmatched(child, StaleReason::Doubtful)?,
            }
        }
        Ok(())
    }

    fn features(&self, forest: &Forest, ids: &[Id]) -> Result<Vec<FunctionFeatures>> {
        let mut features = Vec::new();
        features.try_reserve_exact(ids.len())?;
        for id in ids {
            if let Some(tree) = forest.tree(id.tree) {
                features.push(FunctionFeatures::of(tree, id.function, self.environment)?);
            }
        }
        Ok(features)
    }

    /// To be called when closures that were met may have died since: others may stand there.
    pub fn forget_addresses(&mut self) {
        self.closures.clear();
    }

    /// The number of a closure's prototype; none for what is no Lua function, and where nothing is
    /// moved.
    fn prototype(&mut self, vm: &mut Vm, closure: Ref) -> Result<Option<u32>> {
        let address = vm.val(closure).addr;
        if let Some(number) = self.closures.get(&address) {
            return Ok(Some(*number));
        }
        let number = self.read(vm, closure)?;
        if let Some(number) = number {
            self.closures.try_insert_value(address, number)?;
        }
        Ok(number)
    }

    /// The same, of one that was not met before.
    fn read(&mut self, vm: &mut Vm, closure: Ref) -> Result<Option<u32>> {
        let Some(info) = vm.info(closure)?.filter(|info| info.lua) else {
            return Ok(None);
        };
        if self.cutter.is_none() {
            return Ok(None);
        }
        let digest = vm.dump_digest(closure)?;
        if let Some(known) = self.prototypes.get(&digest) {
            return Ok(Some(*known));
        }
        let number = self.decisions.len() as u32;
        let decision = match Tree::read(vm.take_dump(), vm.secret())? {
            None => Decision::Stale(StaleReason::Format),
            Some(tree) => self.met(tree, info.main)?,
        };
        if let Decision::Open(id) = decision {
            self.open.try_push(number)?;
            self.read_code(vm, closure, id)?;
        }
        self.decisions.try_push(decision)?;
        self.prototypes.try_insert_value(digest, number)?;
        Ok(Some(number))
    }

    /// Which function of the file a closure is whose code is known, and is no trifle.
    fn read_code(&mut self, vm: &mut Vm, closure: Ref, id: Id) -> Result<()> {
        let exact = self.old.exact(id);
        let operations = self
            .old
            .tree(id.tree)
            .map(|tree| tree.operations(id.function));
        if self.by_code.is_empty()
            || self.defined.contains_key(&exact)
            || operations.is_none_or(|operations| operations.count() < LEAST)
        {
            return Ok(());
        }
        let code = edits::code_of(vm, closure)?;
        if let Some(new) = code.and_then(|code| self.by_code.get(&code).copied()) {
            self.defined.try_insert_value(exact, Some(new))?;
        }
        Ok(())
    }

    /// What is known of a closure at its first sight.
    fn met(&mut self, tree: Tree, is_chunk: bool) -> Result<Decision> {
        let exact = tree.get(0).map_or(0, |function| function.exact);
        let source = self.new.tree(0).map_or(&[][..], |tree| tree.source(0));
        let known = self
            .links
            .get(&exact)
            .or_else(|| self.outer.get(&exact))
            .copied();
        let is_new = tree.source(0) == source
            && match known {
                Some(Link::To { new, .. }) => self.new.exact(new) == exact,
                _ => !self.new.find(exact).is_empty(),
            };
        if is_new {
            // The very function of the file. Only where it finds its variables may differ.
            if let Some(Link::To { old, new }) = known
                && let Ok(sources) = self.sources(old, new)?
                && !self
                    .sources_of(sources)
                    .iter()
                    .all(|source| matches!(source, Source::Own(_) | Source::Chunk(_)))
            {
                return Ok(Decision::Move {
                    old,
                    new,
                    sources,
                    same_code: true,
                });
            }
            return Ok(Decision::Same);
        }
        let id = match self.old.find(exact).first() {
            Some(id) => *id,
            None => self.old.plant(tree)?,
        };
        if is_chunk {
            if self.has_main && id.function == 0 {
                self.enqueue(id, self.main())?;
                self.align()?;
            }
            return Ok(Decision::Stale(StaleReason::Chunk));
        }
        Ok(Decision::Open(id))
    }

    /// Decides what is open.
    fn settle(&mut self) -> Result<()> {
        self.align()?; // what a lack of memory has left
        while !self.open.is_empty() {
            let mut orphans = Vec::new();
            for i in 0..self.open.len() {
                let prototype = self.open.get(i).copied().unwrap_or_default();
                let Some(Decision::Open(id)) = self.decisions.get(prototype as usize).copied()
                else {
                    continue;
                };
                let exact = self.old.exact(id);
                let known = self.links.get(&exact).or_else(|| self.outer.get(&exact));
                let defined = self.defined.get(&exact).copied().flatten();
                let link = match (known, defined) {
                    (Some(link), _) => Some(*link),
                    (None, Some(new)) => {
                        self.link_outer(id, new)?;
                        self.align()?;
                        Some(Link::To { old: id, new })
                    }
                    (None, None) => self.earlier_generation(id)?,
                };
                let place = match link {
                    Some(Link::To { old, .. }) => Some(old),
                    _ => None,
                };
                let decision = match link {
                    _ if self.is_dropped(exact, place) => Decision::Stale(StaleReason::Gone),
                    Some(Link::To { old, new }) => match self.sources(old, new)? {
                        Ok(sources) => Decision::Move {
                            old,
                            new,
                            sources,
                            same_code: false,
                        },
                        Err(reason) => Decision::Stale(reason),
                    },
                    Some(Link::Doubtful) => Decision::Stale(StaleReason::Doubtful),
                    None => match self.unmatched.get(&exact) {
                        Some(reason) => Decision::Stale(*reason),
                        None => {
                            orphans.try_push((exact, prototype, id))?;
                            continue;
                        }
                    },
                };
                if let Some(place) = self.decisions.get_mut(prototype as usize) {
                    *place = decision;
                }
            }
            let decisions = &self.decisions;
            let is_open = |prototype: &u32| {
                matches!(decisions.get(*prototype as usize), Some(Decision::Open(_)))
            };
            self.open.retain(is_open);
            if !orphans.is_empty() {
                // In an order that does not depend on when they were met.
                orphans.sort_unstable();
                self.adopt(&orphans)?;
            }
        }
        Ok(())
    }

    /// What makes new closures of an incoming function; none where this Lua's code turns out to be
    /// of another kind.
    fn factory(&mut self, vm: &mut Vm, values: Values, new: Id) -> Result<Option<Ref>> {
        if let Some(slot) = self.factories.get(&new) {
            return vm.element(values.functions, *slot).map(Some);
        }
        let (Some(cutter), Some(tree)) = (&self.cutter, self.new.tree(new.tree)) else {
            return Ok(None);
        };
        let Some(factory) = vm.load_cut(cutter, tree, new.function)? else {
            self.cutter = None;
            return Ok(None);
        };
        let slot = self.keep(vm, values, factory)?;
        self.factories.try_insert_value(new, slot)?;
        Ok(Some(factory))
    }
}

/// What answers to one function in two places is one function, or there is doubt.
fn insert_link(links: &mut FxHashMap<u64, Link>, exact: u64, old: Id, new: Id) -> Result<()> {
    match links.get_mut(&exact) {
        Some(Link::To { new: known, .. }) if *known == new => {}
        Some(link) => *link = Link::Doubtful,
        None => {
            links.try_insert_value(exact, Link::To { old, new })?;
        }
    }
    Ok(())
}

/// What cuts functions, checked against the running Lua.
fn cutter(vm: &mut Vm) -> Result<Option<Cutter>> {
    let template = vm.load_text(TEMPLATE, c"=?")?;
    vm.dump(template, DebugInfo::Keep)?;
    Cutter::new(vm.take_dump())
}

/// Are both upvalues an `_ENV`, with one value?
fn is_one_environment(vm: &Vm, (f, i): (Ref, u8), (g, j): (Ref, u8)) -> bool {
    let is_environment = |f, i| vm.with_upvalue_name(f, i, |name| name == b"_ENV");
    let held = |f, i| vm.upvalue(f, i).map(|upvalue| upvalue.value);
    is_environment(f, i) && is_environment(g, j) && held(f, i) == held(g, j)
}
