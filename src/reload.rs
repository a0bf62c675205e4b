//! THE PIPELINE: find → load → pair → plan → commit → report, for one module after another.
//!
//! Each stage takes what the one before it found and hands on what it found itself. Until `commit` nothing of the running
//! program is changed; a dry run is a reload that stops before it. Several modules are one transaction (R7.4): each one's chunk
//! runs on what those before it have committed, and all of it is undone unless all of them succeed.

use std::time::Instant;

use crate::features::changed;
use crate::lua::entry::Answer;
use crate::lua::given::Given;
use crate::lua::stock::Stock;
use crate::lua::vm::{Ref, Vm};
use crate::lua::write::{self, Op, Permit};
use crate::model::base::{self, Base};
use crate::model::lineage::Lineage;
use crate::model::options::{OnConflict, Options};
use crate::stages::commit;
use crate::stages::effects::Recorded;
use crate::stages::find::{self, Context, Found};
use crate::stages::load::{self, LastLoad, Loaded};
use crate::stages::matching::{self, Pairing};
use crate::stages::plan::{self, Conflict};
use crate::stages::report::{self, Lists};
use crate::stages::snapshot::Modules;
use crate::stages::sweep::{self, Cells, Tables, Target};
use crate::support::error::{Error, Result, shown};
use crate::support::fault::{self, caught};
use crate::support::mem::{TryPush, copied};

/// What the façade passes on.
pub struct Request {
    /// The modules, in the order in which they are reloaded.
    pub modules: Vec<Module>,
    /// R1.2, R6, R8, R10.
    pub options: Options,
    /// Lua's own searchers.
    pub stock: Stock,
    /// What is remembered of functions.
    pub lineage: Lineage,
    /// The façade's own tables, which no walk enters.
    pub own: Ref,
    /// The sweep that is under way, if there is one (R9.4); a sweep in slices is put there.
    pub sweeping: Ref,
    /// The façade's list of what is running: the module whose turn it is, and whether that is loaded (R2.6).
    pub running: Ref,
}

/// One module that is to be reloaded.
pub struct Module {
    /// Its name.
    pub name: Ref,
    /// The façade's list for what became of it.
    pub answers: Ref,
    /// The façade's list whose first element undoes it.
    pub undo: Ref,
    /// R8: its data follow the file (`gg.safe_reloads`).
    pub is_data: bool,
    /// The source name that its functions had at the last reload.
    pub source: Option<Vec<u8>>,
    /// What is on record of it (R8): a string, or any other value for nothing.
    pub base: Ref,
    /// The calls of its last load (R5.4): a string, or any other value for nothing.
    pub calls: Ref,
}

/// Where in [`Module::undo`] the façade has the main function of the last reload.
const LAST_MAIN: i64 = 6;

/// What became of one module.
pub struct Staged {
    /// The module's object: what `package.loaded` holds; `true` for none.
    pub object: Ref,
    /// `__hotfix`, or nil (R7.2).
    pub hook: Ref,
    /// The source name of A2's functions.
    pub source: Ref,
    /// The file's path, or nil.
    pub file: Ref,
    /// A2's main function.
    pub main: Ref,
    /// What is on record now (R8), or nil.
    pub base: Ref,
    /// The calls of this load, or nil.
    pub calls: Ref,
    /// Warnings, conflicts, paths: a table, or nil when there is nothing to list.
    pub lists: Ref,
    /// What undoes it in a later call, or nil.
    pub transaction: Ref,
    /// The report's counts, in the façade's order.
    pub counts: [usize; report::COUNTS],
    /// Milliseconds for find, load, pair, plan, commit, sweep.
    pub elapsed: [f64; PHASES],
    /// R9: places elsewhere that hold something new, and closures that stay old.
    pub swept: [usize; 2],
    /// What undoes the references (R7.3): new function → old one; or nil.
    pub back: Ref,
    /// What undoes them without any memory, as long as the hooks run; or nil.
    pub references: Ref,
    /// For the sweep.
    parts: Option<Parts>,
    conflicts: Vec<Conflict>,
    /// What was committed; taken back when the transaction fails.
    committed: Vec<Op>,
}

/// What a sweep needs of a module that was committed.
struct Parts {
    context: Context,
    loaded: Loaded,
    pairing: Pairing,
    cells: Cells,
}

impl Staged {
    /// What the façade gets, in its order.
    pub fn answers(&self) -> impl Iterator<Item = Answer> {
        let held = [
            self.object,
            self.hook,
            self.source,
            self.main,
            self.base,
            self.calls,
            self.file,
            self.lists,
        ]
        .map(Answer::Held);
        held.into_iter()
            .chain(self.counts.map(Answer::Count))
            .chain(self.swept.map(Answer::Count))
            .chain(self.elapsed.map(Answer::Number))
    }
}

/// The phases that a report gives times for.
pub const PHASES: usize = 6;

/// Reloads modules (R1 to R8), or plans it (R10): all of them or none. What became of each goes to `staged`, also when conflicts are
/// the reason for a refusal; the program is then as it was.
///
/// # Errors
/// Whatever a stage refuses; the program is then as it was.
pub fn reload(vm: &mut Vm, permit: Permit, request: &Request, staged: &mut Vec<Staged>) -> Result<()> {
    let mut swept = Vec::new();
    let outcome = caught("in a stage of the reload", || {
        transaction(vm, permit, request, staged, &mut swept)
    });
    if outcome.is_ok() && !request.options.dry_run {
        return Ok(());
    }
    let mut left = write::undo(vm, permit, &swept);
    for done in staged.iter_mut().rev() {
        left += write::undo(vm, permit, &std::mem::take(&mut done.committed));
    }
    match (outcome, left) {
        (outcome, 0) => outcome,
        (outcome, left) => Err(Error::PutBack {
            cause: outcome.map_or_else(|error| error.to_string(), |()| "it was a dry run".into()),
            left,
        }),
    }
}

fn transaction(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
    staged: &mut Vec<Staged>,
    swept: &mut Vec<Op>,
) -> Result<()> {
    let mut found = Vec::new();
    for module in &request.modules {
        let mut clock = Clock::new();
        let context = Context::new(vm, module.name, request.stock)?;
        fault::point()?;
        let source = request.options.source.as_ref().map(Given::copy).transpose()?;
        let code = find::find(vm, &context, source)?;
        fault::point()?;
        if request.options.text_only {
            find::refuse_binary(&context, &code.code)?;
        }
        changed::note(vm, &context, &code)?;
        found.try_push((code, clock.lap()))?;
    }
    staged.try_reserve_exact(request.modules.len())?;
    let mut modules = None;
    for (i, (module, (mut found, elapsed))) in request.modules.iter().zip(found).enumerate() {
        // Those after it are planned on what it commits, in a dry run, too.
        let needed = !request.options.dry_run || request.options.vm || i + 1 < request.modules.len();
        let mut done = stage(vm, permit, request, module, (&mut found, &mut modules), needed)?;
        if let Some(first) = done.elapsed.first_mut() {
            *first = elapsed;
        }
        staged.push(done);
    }
    if request.options.on_conflict == OnConflict::Error && staged.iter().any(|done| !done.conflicts.is_empty()) {
        return Err(refusal(vm, request, staged));
    }
    let mut targets = match request.options.vm {
        true => targets(vm, request, staged)?,
        false => Vec::new(),
    };
    let sliced = request.options.sliced && !request.options.dry_run;
    if request.options.vm && !sliced {
        sweep_all(vm, permit, request, &mut targets, staged, swept)?;
    }
    if !request.options.dry_run {
        for done in staged.iter_mut() {
            done.transaction = write::freeze(vm, &done.committed)?;
        }
        if let Some(first) = staged.first_mut().filter(|_| !swept.is_empty()) {
            first.references = write::freeze(vm, swept)?;
        }
    }
    fault::point()?;
    // Whoever gets this has only to hand it over: what a sweep knows of, it brings everywhere.
    if sliced {
        sweep::enlist(vm, request.sweeping, targets)?;
    }
    Ok(())
}

/// R9: what a sweep must know of each module.
fn targets(vm: &mut Vm, request: &Request, staged: &mut [Staged]) -> Result<Vec<(Target, Tables)>> {
    let mut targets = Vec::new();
    for done in staged.iter_mut() {
        if let Some(parts) = done.parts.take() {
            let Parts {
                context,
                loaded,
                pairing,
                cells,
            } = parts;
            let target = Target::new(vm, &context, loaded, &pairing, request.lineage, cells)?;
            done.back = target.1.back;
            targets.try_push(target)?;
        }
    }
    Ok(targets)
}

/// R9: the rest of the VM follows, now; in a dry run it is only looked at.
fn sweep_all(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
    targets: &mut [(Target, Tables)],
    staged: &mut [Staged],
    swept: &mut Vec<Op>,
) -> Result<()> {
    fault::point()?;
    let mut clock = Clock::new();
    let mut skip = sweep::bookkeeping(vm, request.own)?;
    // What undoing this reload will need is in no record yet; the chunks of the last reloads are in it.
    for module in &request.modules {
        skip.try_push(module.undo)?;
    }
    let heap = sweep::begin(vm, &skip, targets.iter().map(|(_, tables)| *tables))?;
    let (mut found, _) = sweep::walk(vm, heap, targets, request.lineage, None)?;
    if !request.options.dry_run {
        found.carry_out(vm, permit)?;
        *swept = found.ops;
    }
    let walked = clock.lap();
    fault::point()?;
    // Whose references these are is not told apart: the first module's report has them all.
    let mut warnings = found.warnings;
    let mut stale = 0;
    for (target, _) in targets.iter() {
        target.warn(&mut warnings)?;
        stale += target.stale();
    }
    if let Some(first) = staged.first_mut() {
        first.swept = [found.references, stale];
        first.lists = report::add_warnings(vm, first.lists, &warnings)?;
        if let Some(sweep) = first.elapsed.last_mut() {
            *sweep = walked;
        }
    }
    Ok(())
}

/// Takes one module through the stages.
/// `modules`: what is known of the loaded ones, for the next module as well.
fn stage(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
    module: &Module,
    (found, modules): (&mut Found, &mut Option<Modules>),
    needed: bool,
) -> Result<Staged> {
    let options = Options::of(&request.options, module.is_data);
    let mut clock = Clock::new();
    let mut context = Context::new(vm, module.name, request.stock)?;
    find::refuse_second_copy(vm, &context, found)?; // those before it are loaded by now
    let known = match modules.take().filter(|known| vm.raw_equal(known.table, context.loaded)) {
        Some(known) => known,
        None => Modules::of(vm, context.loaded)?,
    };
    context.loaded = known.table;
    announce(vm, request, module, &context)?;
    let recorded = match vm.bytes(module.calls)? {
        Some(text) => Some(Recorded::read(&text)?),
        None => None,
    };
    let last_load = LastLoad {
        source: copy_of(&module.source)?,
        calls: recorded,
    };
    let mut loaded = load::load(vm, permit, &context, found, known, last_load, options.around)?;
    let last = vm.index(module.undo, LAST_MAIN)?;
    loaded.home.read_loader(vm, last)?;
    let load_ms = clock.lap();
    fault::point()?;

    let base = Base::read(vm, module.base)?;
    let mut pairing = matching::pair(vm, &context, &mut loaded, &options, request.lineage, base)?;
    let pair_ms = clock.lap();
    fault::point()?;

    let mut plan = plan::plan(vm, &context, &loaded, &mut pairing, &options)?;
    let plan_ms = clock.lap();
    fault::point()?;

    // Everything that could fail is made before the commit.
    let lists = Lists {
        context: &context,
        pairing: &mut pairing,
        tally: &plan.tally,
        conflicts: &plan.conflicts,
        calls: &loaded.left.calls,
        full: options.full,
    };
    let (counts, lists) = report::report(vm, lists)?;
    let source = vm.source(loaded.main)?.unwrap_or_default();
    let source = vm.string(&source)?;
    let file = match &found.file {
        Some(file) => vm.string(file.as_os_str().as_encoded_bytes())?,
        None => Ref::NIL,
    };
    let base = match options.dry_run {
        true => Ref::NIL,
        false => base::pack(vm, std::mem::take(&mut pairing.record))?,
    };
    let calls = loaded.left.calls.pack(vm)?;
    let cells = match options.vm {
        true => Some(Cells::of(vm, &pairing, options.sliced)?),
        false => None,
    };
    fault::point()?;
    let refused = options.on_conflict == OnConflict::Error && !plan.conflicts.is_empty();
    let committed = if needed && !refused {
        request.lineage.note(vm, &plan.lineage)?;
        pairing
            .assigned
            .keep(vm, request.lineage.table, module.name, plan.object)?;
        commit::commit(vm, permit, &plan)?;
        std::mem::take(&mut plan.ops)
    } else {
        commit::disarm(vm, permit, &plan);
        Vec::new()
    };
    let main = loaded.main;
    // As long as `package.loaded` stays as it was, nobody has to look at it again.
    if vm.same(plan.object, context.running) && loaded.changes.iter().all(|change| change.table != context.loaded) {
        *modules = Some(std::mem::take(&mut loaded.memory.modules));
    }
    // Nothing may fail from here on: whoever gets this can take back what was committed.
    let commit_ms = clock.lap();
    let parts = cells.filter(|_| !refused).map(|cells| Parts {
        context,
        loaded,
        pairing,
        cells,
    });
    Ok(Staged {
        swept: [0; 2],
        back: Ref::NIL,
        references: Ref::NIL,
        parts,
        object: plan.object,
        hook: plan.hook,
        source,
        main,
        base,
        calls,
        file,
        lists,
        transaction: Ref::NIL,
        counts,
        elapsed: [0.0, load_ms, pair_ms, plan_ms, commit_ms, 0.0],
        conflicts: plan.conflicts,
        committed,
    })
}

/// R2.6: whose chunk is running, and whether it runs for a reload.
fn announce(vm: &mut Vm, request: &Request, module: &Module, context: &Context) -> Result<()> {
    let is_loaded = vm.boolean(context.is_loaded())?;
    for (key, value) in [(1, module.name), (2, is_loaded)] {
        let key = vm.number(key)?;
        write::fill(vm, request.running, key, value)?;
    }
    Ok(())
}

fn copy_of(text: &Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    text.as_deref().map(copied).transpose()
}

/// R6: every conflict of every module.
fn refusal(vm: &Vm, request: &Request, staged: &[Staged]) -> Error {
    let names = request.modules.iter().map(|module| {
        let name = vm.with_bytes(module.name, shown).unwrap_or_default();
        format!("'{name}'")
    });
    let modules = names.collect::<Vec<_>>().join(", ");
    let (mut count, mut lines) = (0, String::new());
    for conflict in staged.iter().flat_map(|done| &done.conflicts) {
        let line = conflict.line();
        if lines.try_reserve(line.len()).is_err() {
            return Error::Memory;
        }
        lines.push_str(&line);
        count += 1;
    }
    Error::Conflicts {
        modules,
        many: request.modules.len() > 1,
        count,
        lines,
    }
}

struct Clock(Instant);

impl Clock {
    fn new() -> Clock {
        Clock(Instant::now())
    }

    /// Milliseconds since the last lap.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now.duration_since(self.0).as_secs_f64() * 1e3;
        self.0 = now;
        lap
    }
}
