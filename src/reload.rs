//! THE PIPELINE: find → load → pair → plan → commit → report, for one module after another.
//!
//! Each stage takes what the one before it found and hands on what it found itself. Until `commit`
//! nothing of the running program is changed; a dry run is a reload that stops before it. Several
//! modules are one transaction (R7.4): each one's chunk runs on what those before it have
//! committed, and all of it is undone unless all of them succeed.

use std::time::Instant;

use rustc_hash::FxHashSet;

use crate::features::changed;
use crate::lua::entry::Answer;
use crate::lua::given::GivenText;
use crate::lua::layout::{self, Answered, LayoutElement as _, Running};
use crate::lua::stock::Stock;
use crate::lua::vm::{Kind, Ref, Version, Vm};
use crate::lua::write::{self, Op, Permit};
use crate::model::base::Base;
use crate::model::edits;
use crate::model::kept;
use crate::model::lineage::{self, Lineage, Numbers};
use crate::model::options::{ModuleOptions, OnConflict, Options};
use crate::stages::commit;
use crate::stages::effects::{self, Recorded};
use crate::stages::find::{self, Context, Found};
use crate::stages::load::{self, LastLoad, Loaded};
use crate::stages::matching::{self, Pairing};
use crate::stages::plan::{self, Conflict, Plan};
use crate::stages::record;
use crate::stages::report::{self, Lists};
use crate::stages::snapshot::Modules;
use crate::stages::sweep::{self, Cells, Lifetime, Tables, Target};
use crate::support::error::{Error, Result, shown};
use crate::support::fault::{self, caught};
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, copied};

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
    /// The façade's list of what is running: the module whose turn it is, and whether that is
    /// loaded (R2.6).
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
    /// The options that each module has by itself.
    pub own: ModuleOptions,
    /// R1.11: the object with which it goes on, as another module's; or any other value than a
    /// table.
    pub from: Ref,
    /// The source name that its functions had at the last reload.
    pub source: Option<Vec<u8>>,
    /// What is on record of it (R8): a string, or any other value for nothing.
    pub base: Ref,
    /// The calls of its last load (R5.8): a table, or any other value for nothing.
    pub calls: Ref,
}

impl Module {
    /// The module as it runs; one that goes on under another name as it runs under the former one.
    fn context(&self, vm: &mut Vm, stock: Stock) -> Result<Context> {
        let mut context = Context::new(vm, self.name, stock)?;
        if !context.is_loaded() && vm.val(self.from).is_table() {
            context.running = self.from;
        }
        Ok(context)
    }
}

/// A module whose plan is made, with everything that could fail.
struct Planned {
    context: Context,
    loaded: Loaded,
    pairing: Pairing,
    plan: Plan,
    /// The numbers that its objects get.
    numbers: Numbers,
    told: Told,
    /// For the sweep.
    cells: Option<Cells>,
    clock: Clock,
}

/// A module whose plan is carried out, if the program or a later module is to have it.
struct Committed {
    told: Told,
    conflicts: Vec<Conflict>,
    /// What was done; taken back when the transaction fails.
    ops: Vec<Op>,
    /// For the sweep; none where the plan was refused.
    parts: Option<Parts>,
}

/// What a sweep needs of a module that was committed.
struct Parts {
    context: Context,
    loaded: Loaded,
    pairing: Pairing,
    cells: Cells,
}

/// A module that is reloaded, with what undoes that.
pub struct Swept {
    /// What the façade gets to know.
    pub told: Told,
    /// What undoes it in a later call, or nil.
    pub transaction: Ref,
    /// What undoes the references (R7.3): new function → old one; or nil.
    pub back: Ref,
    /// What undoes them without any memory, as long as the hooks run; or nil.
    pub references: Ref,
}

/// A reload that changed nothing.
pub struct Refused {
    /// Why.
    pub error: Error,
    /// What would have become of each module. Empty where not all of them came as far as a plan.
    pub told: Vec<Told>,
}

/// What the façade gets to know of one module.
#[derive(Clone, Copy)]
pub struct Told {
    /// The module's object: what `package.loaded` holds; `true` for none.
    object: Ref,
    /// `__hotfix`, or nil (R7.2).
    hook: Ref,
    /// The source name of the incoming functions.
    source: Ref,
    /// The file's path, or nil.
    file: Ref,
    /// The incoming main function.
    main: Ref,
    /// What is on record now (R8), or nil.
    base: Ref,
    /// The calls of this load, or nil.
    calls: Ref,
    /// Warnings, conflicts, paths: a table, or nil when there is nothing to list.
    lists: Ref,
    /// The classes whose objects are to be migrated, or nil.
    classes: Ref,
    /// The report's counts.
    counts: [(Answered, usize); report::COUNTS],
    /// R9: places elsewhere that hold something new, and closures that stay old.
    swept: [usize; 2],
    /// Milliseconds for find, load, pair, plan, commit, sweep.
    elapsed: [f64; PHASES],
}

impl Told {
    /// What the façade gets, with its places in the list [`Answered`].
    pub fn answers(&self) -> impl Iterator<Item = (i64, Answer)> {
        let held = [
            (Answered::Object, self.object),
            (Answered::Hook, self.hook),
            (Answered::Source, self.source),
            (Answered::Main, self.main),
            (Answered::Base, self.base),
            (Answered::Calls, self.calls),
            (Answered::File, self.file),
            (Answered::Lists, self.lists),
            (Answered::Classes, self.classes),
        ];
        let [references, stale] = self.swept;
        let swept = [(Answered::References, references), (Answered::Stale, stale)];
        let [find, load, pair, plan, commit, sweep] = self.elapsed;
        let elapsed = [
            (Answered::FindMs, find),
            (Answered::LoadMs, load),
            (Answered::PairMs, pair),
            (Answered::PlanMs, plan),
            (Answered::CommitMs, commit),
            (Answered::SweepMs, sweep),
        ];
        let held = held.map(|(at, held)| (at, Answer::Held(held)));
        let count = |(at, count)| (at, Answer::Count(count));
        held.into_iter()
            .chain(self.counts.map(count))
            .chain(swept.map(count))
            .chain(elapsed.map(|(at, time)| (at, Answer::Number(time))))
            .map(|(at, answer)| (at.at(), answer))
    }
}

/// The phases that a report gives times for.
pub const PHASES: usize = 6;

/// Reloads modules (R1 to R8), or plans it (R10): all of them or none.
///
/// # Errors
/// Whatever a stage refuses; the program is then as it was.
pub fn reload(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
) -> std::result::Result<Vec<Swept>, Refused> {
    let (mut committed, mut followed) = (Vec::new(), Vec::new());
    let outcome = caught("in a stage of the reload", || {
        transaction(vm, permit, request, &mut committed, &mut followed)
    });
    if outcome.is_ok() && !request.options.dry_run {
        return outcome.map_err(|error| Refused::new(error, request, &committed));
    }
    let mut left = write::undo(vm, permit, &followed);
    for done in committed.iter().rev() {
        left += write::undo(vm, permit, &done.ops);
    }
    let outcome = match (outcome, left) {
        (outcome, 0) => outcome,
        (outcome, left) => Err(Error::PutBack {
            cause: outcome.map_or_else(|error| error.to_string(), |_| "it was a dry run".into()),
            left,
        }),
    };
    outcome.map_err(|error| Refused::new(error, request, &committed))
}

impl Refused {
    /// Where memory is short, nothing is told but the error.
    fn new(error: Error, request: &Request, committed: &[Committed]) -> Refused {
        let mut told = Vec::new();
        if committed.len() == request.modules.len()
            && told.try_reserve_exact(committed.len()).is_ok()
        {
            told.extend(committed.iter().map(|done| done.told));
        }
        Refused { error, told }
    }
}

/// `committed` and `followed` have what was done until then, however this ends.
fn transaction(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
    committed: &mut Vec<Committed>,
    followed: &mut Vec<Op>,
) -> Result<Vec<Swept>> {
    let options = &request.options;
    let mut found = Vec::new();
    for module in &request.modules {
        let mut clock = Clock::new();
        let context = module.context(vm, request.stock)?;
        fault::point()?;
        let source = options.source.as_ref().map(GivenText::copy).transpose()?;
        let code = find::find(vm, &context, source)?;
        fault::point()?;
        if options.text_only {
            find::refuse_binary(&context, &code.code)?;
        }
        changed::note(vm, &context, &code)?;
        found.try_push((code, clock.lap()))?;
    }
    committed.try_reserve_exact(request.modules.len())?;
    let mut modules = None;
    for (i, (module, (mut found, elapsed))) in request.modules.iter().zip(found).enumerate() {
        // Those after it are planned on what it commits, in a dry run, too.
        let needed = !options.dry_run || options.vm || i + 1 < request.modules.len();
        let mut planned = plan_module(vm, permit, request, module, (&mut found, &mut modules))?;
        let [find, ..] = &mut planned.told.elapsed;
        *find = elapsed;
        committed.push(commit_module(
            vm,
            permit,
            request,
            module,
            planned,
            (&mut modules, needed),
        )?);
    }
    if options.on_conflict == OnConflict::Error
        && committed.iter().any(|done| !done.conflicts.is_empty())
    {
        return Err(refusal(vm, request, committed));
    }
    let mut swept = Vec::new();
    swept.try_reserve_exact(committed.len())?;
    swept.extend(committed.iter().map(|done| Swept {
        told: done.told,
        transaction: Ref::NIL,
        back: Ref::NIL,
        references: Ref::NIL,
    }));
    let mut targets = match options.vm {
        true => targets(vm, request, committed, &mut swept)?,
        false => Vec::new(),
    };
    let sliced = options.sliced && !options.dry_run;
    if options.vm && !sliced {
        sweep_all(vm, permit, request, &mut targets, (&mut swept, followed))?;
    }
    if options.strict {
        refuse_warnings(vm, request, &swept)?;
    }
    if !options.dry_run {
        for (done, swept) in committed.iter().zip(&mut swept) {
            swept.transaction = write::freeze(vm, &done.ops)?;
        }
        if let Some(first) = swept.first_mut().filter(|_| !followed.is_empty()) {
            first.references = write::freeze(vm, followed)?;
        }
    }
    fault::point()?;
    // Whoever gets this has only to hand it over: what a sweep knows of, it brings everywhere.
    if sliced {
        sweep::enlist(vm, request.sweeping, targets)?;
    }
    Ok(swept)
}

/// R9: what a sweep must know of each module.
fn targets(
    vm: &mut Vm,
    request: &Request,
    committed: &mut [Committed],
    swept: &mut [Swept],
) -> Result<Vec<(Target, Tables)>> {
    let mut targets = Vec::new();
    for (done, swept) in committed.iter_mut().zip(swept) {
        if let Some(parts) = done.parts.take() {
            let Parts {
                context,
                loaded,
                pairing,
                cells,
            } = parts;
            let target = Target::new(vm, &context, loaded, &pairing, request.lineage, cells)?;
            swept.back = target.1.back;
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
    (swept, followed): (&mut [Swept], &mut Vec<Op>),
) -> Result<()> {
    fault::point()?;
    let mut clock = Clock::new();
    let mut skip = sweep::bookkeeping(vm, request.own)?;
    // What undoing this reload will need is in no record yet; the chunks of the last reloads are in
    // it.
    for module in &request.modules {
        skip.try_push(module.undo)?;
    }
    let heap = sweep::begin(vm, &skip, targets.iter().map(|(_, tables)| *tables))?;
    let (mut found, _) = sweep::walk(vm, heap, targets, request.lineage, None)?;
    if !request.options.dry_run {
        found.carry_out(vm, permit)?;
        *followed = found.ops;
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
    if let Some(first) = swept.first_mut().map(|done| &mut done.told) {
        first.swept = [found.references, stale];
        first.lists = report::add_warnings(vm, first.lists, &warnings)?;
        let [.., sweep] = &mut first.elapsed;
        *sweep = walked;
    }
    Ok(())
}

/// The addresses of the tables that the program leaves out of every walk.
fn skipped(vm: &mut Vm, own: Ref) -> Result<FxHashSet<usize>> {
    let mut skip = FxHashSet::default();
    let list = vm.index(own, layout::Own::Skipped.at())?;
    for left_out in vm.keep_entries(list)?.values() {
        let val = vm.val(left_out);
        if val.is_table() {
            skip.try_insert_value(val.addr, ())?;
        }
    }
    Ok(skip)
}

/// Takes one module through the stages, up to its plan.
/// `modules`: what is known of the loaded ones, for the next module as well.
fn plan_module(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
    module: &Module,
    (found, modules): (&mut Found, &mut Option<Modules>),
) -> Result<Planned> {
    let options = Options::of(&request.options, module.own);
    let mut clock = Clock::new();
    let mut context = module.context(vm, request.stock)?;
    find::refuse_second_copy(vm, &context, found)?; // those before it are loaded by now
    let known = match modules
        .take()
        .filter(|known| vm.raw_equal(known.table, context.loaded))
    {
        Some(known) => known,
        None => Modules::of(vm, context.loaded)?,
    };
    context.loaded = known.table;
    context.skip = skipped(vm, request.own)?;
    announce(vm, request, module, &context)?;
    let mut loaded = load_module(
        vm,
        permit,
        (request, module, &options),
        &context,
        (found, known),
    )?;
    let generation = vm.index(module.undo, layout::Undo::Generation.at())?;
    loaded.was_reloaded = vm.integer(generation).is_some_and(|loads| loads > 1);
    loaded.ownership.read_loader(vm, loaded.last_main)?;
    let load_ms = clock.lap();
    fault::point()?;

    let base = Base::read(vm, module.base)?;
    let mut pairing = matching::pair(vm, &context, &mut loaded, &options, request.lineage, base)?;
    let pair_ms = clock.lap();
    fault::point()?;

    let plan = plan::plan(vm, &context, &loaded, &mut pairing, &options)?;
    let plan_ms = clock.lap();
    fault::point()?;

    note_calls(vm, &loaded, options.dry_run)?;
    // Everything that could fail is made before the commit.
    let of = (&context, &loaded, &mut pairing);
    let (base, numbers) = record_of(vm, request, &options, &plan, of)?;
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
    let calls = loaded.left.calls.pack(vm, permit)?;
    let classes = report::classes(vm, &plan.classes)?;
    let lifetime = match options.sliced {
        true => Lifetime::ManyCalls,
        false => Lifetime::OneCall,
    };
    let cells = match options.vm {
        true => Some(Cells::of(vm, &pairing, lifetime)?),
        false => None,
    };
    fault::point()?;
    let told = Told {
        object: plan.object,
        hook: plan.hook,
        source,
        file,
        main: loaded.main,
        base,
        calls,
        lists,
        classes,
        counts,
        swept: [0; 2],
        elapsed: [0.0, load_ms, pair_ms, plan_ms, 0.0, 0.0],
    };
    Ok(Planned {
        context,
        loaded,
        pairing,
        plan,
        numbers,
        told,
        cells,
        clock,
    })
}

/// Runs the module's chunk, with what is on record of its last load.
fn load_module(
    vm: &mut Vm,
    permit: Permit,
    (request, module, options): (&Request, &Module, &Options),
    context: &Context,
    (found, known): (&mut Found, Modules),
) -> Result<Loaded> {
    let recorded = match vm.kind(module.calls) {
        Kind::Table => Some(Recorded::read(vm, module.calls)?),
        _ => None,
    };
    let main = vm.index(module.undo, layout::Undo::Main.at())?;
    // What `require` has loaded has its source name in its loader (another chunk name, R1.11).
    let source = match &module.source {
        Some(source) => Some(copied(source)?),
        None => vm.source(main)?,
    };
    let last_load = LastLoad {
        source,
        calls: recorded,
        lineage: Some(request.lineage),
        main,
        version: kept::read(vm, request.own, module.name, context.running)?,
    };
    load::load(vm, permit, context, found, known, last_load, options.around)
}

/// Tells of the calls that change more than is remembered: a dry run cannot plan them.
fn note_calls(vm: &mut Vm, loaded: &Loaded, dry_run: bool) -> Result<()> {
    let (text, number) = effects::BEYOND;
    for call in &loaded.left.calls.beyond {
        let place = Where::Named(call.clone());
        vm.limits.note(text, number, place, dry_run)?;
    }
    Ok(())
}

/// What will be on record of a module, or nil in a dry run, and the numbers that its objects get.
fn record_of(
    vm: &mut Vm,
    request: &Request,
    options: &Options,
    plan: &Plan,
    (context, loaded, pairing): (&Context, &Loaded, &mut Pairing),
) -> Result<(Ref, Numbers)> {
    let (functions, lineage) = (&plan.lineage, request.lineage);
    let record = record::record(vm, context, loaded, pairing, functions, options, lineage)?;
    if record.numbers.are_used_up() {
        vm.limits.meet(
            "the {} numbers of objects in this state are used up, and further objects are known by \
             their places alone; restart the program (R8.4)",
            lineage::MOST as usize,
            Where::Module,
        )?;
    }
    let base = match options.dry_run {
        true => Ref::NIL,
        false => vm.packed(&record.words)?,
    };
    Ok((base, record.numbers))
}

/// Carries the plan of a module out, if that is `needed` and nothing refuses it.
/// `modules`: as for [`plan_module`].
fn commit_module(
    vm: &mut Vm,
    permit: Permit,
    request: &Request,
    module: &Module,
    planned: Planned,
    (modules, needed): (&mut Option<Modules>, bool),
) -> Result<Committed> {
    let Planned {
        context,
        mut loaded,
        mut pairing,
        mut plan,
        numbers,
        mut told,
        cells,
        mut clock,
    } = planned;
    let refused = request.options.on_conflict == OnConflict::Error && !plan.conflicts.is_empty();
    let ops = if needed && !refused {
        numbers.keep(vm)?;
        std::mem::take(&mut pairing.assigned).keep(
            vm,
            request.lineage,
            module.name,
            plan.object,
        )?;
        edits::keep(vm, request.lineage, &pairing.edits)?;
        let version = Version {
            main: loaded.main,
            compiled: loaded.compiled.clone(),
        };
        kept::keep(vm, request.own, [module.name, plan.object], &version)?;
        commit::commit(vm, permit, &plan)?;
        std::mem::take(&mut plan.ops)
    } else {
        commit::disarm(vm, permit, &plan);
        Vec::new()
    };
    // As long as `package.loaded` stays as it was, nobody has to look at it again.
    if vm.same(plan.object, context.running)
        && loaded
            .changes
            .iter()
            .all(|change| change.table != context.loaded)
    {
        *modules = Some(std::mem::take(&mut loaded.snapshot.modules));
    }
    // Nothing may fail from here on: whoever gets this can take back what was committed.
    let [.., commit, _] = &mut told.elapsed;
    *commit = clock.lap();
    let parts = cells.filter(|_| !refused).map(|cells| Parts {
        context,
        loaded,
        pairing,
        cells,
    });
    Ok(Committed {
        told,
        conflicts: plan.conflicts,
        ops,
        parts,
    })
}

/// R2.6: whose chunk is running, and whether it runs for a reload.
fn announce(vm: &mut Vm, request: &Request, module: &Module, context: &Context) -> Result<()> {
    let is_loaded = vm.boolean(context.is_loaded())?;
    for (key, value) in [
        (Running::Module, module.name),
        (Running::IsLoaded, is_loaded),
    ] {
        let key = vm.number(key.at())?;
        write::fill(vm, request.running, key, value)?;
    }
    Ok(())
}

/// `strict`: every warning of every module is a refusal.
fn refuse_warnings(vm: &mut Vm, request: &Request, swept: &[Swept]) -> Result<()> {
    let (mut count, mut lines) = (0, String::new());
    for done in swept.iter().filter(|done| done.told.lists != Ref::NIL) {
        let warnings = vm.field(done.told.lists, "warnings")?;
        for i in 1..=vm.raw_len(warnings) {
            let warning = vm.index(warnings, i)?;
            let line = vm.with_bytes(warning, |line| String::from_utf8_lossy(line).into_owned());
            lines.push_str("\n\t");
            lines.push_str(&line.unwrap_or_default());
            count += 1;
        }
    }
    if count == 0 {
        return Ok(());
    }
    Err(Error::Strict {
        modules: quoted_names(vm, request),
        many: request.modules.len() > 1,
        count,
        lines,
    })
}

/// The names of the modules, for a message.
fn quoted_names(vm: &Vm, request: &Request) -> String {
    let names = request.modules.iter().map(|module| {
        let name = vm.with_bytes(module.name, shown).unwrap_or_default();
        format!("'{name}'")
    });
    names.collect::<Vec<_>>().join(", ")
}

/// R6: every conflict of every module.
fn refusal(vm: &Vm, request: &Request, committed: &[Committed]) -> Error {
    let modules = quoted_names(vm, request);
    let (mut count, mut lines) = (0, String::new());
    for conflict in committed.iter().flat_map(|done| &done.conflicts) {
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
