//! THE PIPELINE: find → load → pair → plan → commit → report.
//!
//! Each stage takes what the one before it found and hands on what it found itself. Until `commit` nothing of the running
//! program is changed; a dry run is a reload that stops before it.

use std::time::Instant;

use crate::changed;
use crate::commit;
use crate::error::{Error, Result};
use crate::find::{self, Context};
use crate::lineage::Lineage;
use crate::load;
use crate::options::Options;
use crate::pair;
use crate::plan;
use crate::raw::stock::Stock;
use crate::raw::vm::{Ref, Vm};
use crate::report::{self, Lists};

/// What the façade passes on.
pub struct Request {
    /// The module's name.
    pub name: Ref,
    /// R1.2, R6, R8, R10.
    pub options: Options,
    /// Lua's own searchers.
    pub stock: Stock,
    /// The source name that the module's functions had at the last reload.
    pub source: Option<Vec<u8>>,
    /// What is remembered of functions.
    pub lineage: Lineage,
    /// The façade's guard: its second element is what undoes the reload, from before the commit on, when a hook is to run.
    pub guard: Ref,
}

/// What the façade gets.
pub struct Reply {
    /// Why nothing was done, when there are conflicts; the rest is then what would have been done.
    pub refusal: Option<Error>,
    /// The module's object: what `package.loaded` holds; `true` for none.
    pub object: Ref,
    /// `__hotfix`, or nil (R7.2).
    pub hook: Ref,
    /// The source name of A2's functions.
    pub source: Ref,
    /// The file's path, or nil.
    pub file: Ref,
    /// Warnings, conflicts, paths: a table, or nil when there is nothing to list.
    pub lists: Ref,
    /// The report's counts, in the façade's order.
    pub counts: [usize; report::COUNTS],
    /// Milliseconds for find, load, pair, plan, commit.
    pub elapsed: [f64; 5],
}

/// Reloads one module (R1 to R8), or plans it (R10).
///
/// # Errors
/// Whatever a stage refuses; the program is then as it was.
pub fn reload(vm: &mut Vm, request: &Request) -> Result<Reply> {
    let options = &request.options;
    let mut clock = Clock::new();

    let context = Context::new(vm, request.name, request.stock)?;
    let found = find::find(vm, &context, options.source.clone())?;
    changed::note(vm, &context, &found)?;
    clock.lap();

    let mut loaded = load::load(vm, &context, &found, request.source.clone())?;
    clock.lap();

    let mut pairing = pair::pair(vm, &context, &mut loaded, options, request.lineage)?;
    clock.lap();

    let plan = plan::plan(vm, &context, &loaded, &mut pairing, options)?;
    let refusal = plan::refusal(&context, &plan, options);
    clock.lap();

    // Everything that could fail is made before the commit, so that a reload that was done is never called a failure.
    let lists = Lists {
        context: &context,
        pairing: &mut pairing,
        tally: &plan.tally,
        conflicts: &plan.conflicts,
        full: options.full,
    };
    let (counts, lists) = report::report(vm, lists)?;
    let source = vm.source(loaded.main).unwrap_or_default();
    let source = vm.string(&source)?;
    let file = match &found.file {
        Some(file) => vm.string(file.as_bytes())?,
        None => Ref::NIL,
    };
    if !options.dry_run && refusal.is_none() {
        request.lineage.note(vm, &plan.lineage)?;
        let (place, none) = (vm.number(2)?, vm.boolean(false)?);
        if plan.hook != Ref::NIL {
            let transaction = vm.freeze(&commit::encode(&plan.ops)?)?;
            commit::fill(vm, request.guard, place, transaction)?;
        }
        if let Err(error) = commit::commit(vm, &plan) {
            commit::fill(vm, request.guard, place, none)?;
            return Err(error);
        }
    } else {
        commit::disarm(vm, &plan);
    }
    clock.lap();

    Ok(Reply {
        refusal,
        object: plan.object,
        hook: plan.hook,
        source,
        file,
        lists,
        counts,
        elapsed: clock.laps,
    })
}

/// Undoes a reload whose hook raised (R7.2), from what [`commit::encode`] made of its operations.
///
/// # Errors
/// [`Error::PutBack`] when there was no memory for it.
pub fn undo(vm: &mut Vm, words: &[u32]) -> Result<()> {
    let ops = commit::decode(words)?;
    match commit::undo(vm, &ops) {
        0 => Ok(()),
        left => Err(Error::PutBack {
            cause: "the hook raised".into(),
            left,
        }),
    }
}

struct Clock {
    last: Instant,
    laps: [f64; 5],
    next: usize,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            last: Instant::now(),
            laps: [0.0; 5],
            next: 0,
        }
    }

    fn lap(&mut self) {
        let now = Instant::now();
        if let Some(lap) = self.laps.get_mut(self.next) {
            *lap = now.duration_since(self.last).as_secs_f64() * 1e3;
        }
        self.next += 1;
        self.last = now;
    }
}
