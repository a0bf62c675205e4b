//! What the façade (`lua/hotreload/facade.lua`) may call.

use std::time::{Duration, Instant};

use smallvec::smallvec;

use crate::lua::entry::{Answer, Answers};
use crate::lua::stock::Stock;
use crate::lua::vm::{Ref, Vm};
use crate::model::lineage::Lineage;
use crate::model::options::Options;
use crate::reload::{self, Module, Request, Staged};
use crate::stages::commit;
use crate::stages::report;
use crate::stages::sweep;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// `core.reload(owed, batch, options, stock, lineage, running, own, sweeping)` → `owed, true`, or `owed, false, message`.
///
/// `batch` is a list of items `{ name, is_data, source, base, calls, answers, undo }`, one for each module. `answers` is a list with room for what
/// became of it ([`Staged::answers`]); it is filled in when all went well, and when conflicts are the reason for a refusal. The first
/// element of `undo` gets what undoes the module's reload. `running[1]` is the first module's name while this works (the entry point
/// resets it). `own` is a list of the façade's tables that no walk enters: the records first, the open guards second. `sweeping` has
/// the sweep in slices (R9.4).
///
/// # Errors
/// Whatever a stage refuses, in the reply when there are answers all the same.
pub fn reload(vm: &mut Vm) -> Result<Reply> {
    let (batch, options, stock) = (vm.argument(2)?, vm.argument(3)?, vm.argument(4)?);
    let request = Request {
        modules: modules(vm, batch)?,
        options: Options::read(vm, options)?,
        stock: Stock::of(vm, stock)?,
        lineage: Lineage {
            table: vm.argument(5)?,
            counter: vm.string(b"last")?,
        },
        own: vm.argument(7)?,
        sweeping: vm.argument(8)?,
        running: vm.argument(6)?,
    };
    let first = vm.number(1)?;
    let name = request.modules.first().map_or(Ref::NIL, |module| module.name);
    commit::fill(vm, request.running, first, name)?;
    let mut staged = Vec::new();
    let outcome = reload::reload(vm, &request, &mut staged);
    match outcome {
        Err(error) if staged.len() < request.modules.len() => Err(error),
        outcome => Ok(Reply {
            modules: request.modules,
            staged,
            outcome,
        }),
    }
}

/// What `core.reload` answers with. To hand it over allocates nothing.
pub struct Reply {
    /// The modules, with the façade's tables for them.
    pub modules: Vec<Module>,
    /// What became of them.
    pub staged: Vec<Staged>,
    /// Done, or why not.
    pub outcome: Result<()>,
}

/// `core.sweep(owed, sweeping, budget_ms, lineage, own)` → `owed, done, objects, waiting, passes, references, stale, warnings`: one slice
/// (R9.4).
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn sweep(vm: &mut Vm) -> Result<Answers> {
    let started = Instant::now();
    let (state, budget) = (vm.argument(2)?, vm.argument(3)?);
    let lineage = Lineage {
        table: vm.argument(4)?,
        counter: Ref::NIL,
    };
    let own = vm.argument(5)?;
    let deadline = vm
        .any_number(budget)
        .map(|ms| started + Duration::from_secs_f64((ms / 1e3).clamp(0.0, 3600.0)));
    let slice = sweep::slice(vm, state, own, lineage, deadline)?;
    let warnings = report::strings(vm, &slice.warnings)?;
    Ok(smallvec![
        Answer::Flag(slice.done),
        Answer::Count(slice.objects as usize),
        Answer::Count(slice.waiting as usize),
        Answer::Count(slice.passes as usize),
        Answer::Count(slice.references),
        Answer::Count(slice.stale),
        Answer::Held(warnings),
    ])
}

fn modules(vm: &mut Vm, batch: Ref) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for i in 1..=vm.raw_len(batch) {
        let item = vm.index(batch, i)?;
        let name = vm.fields(item, ["name", "answers", "undo", "is_data", "source", "base", "calls"])?;
        modules.try_push(Module {
            name,
            answers: name.after(1),
            undo: name.after(2),
            is_data: vm.truthy(name.after(3)),
            source: vm.bytes(name.after(4))?,
            base: name.after(5),
            calls: name.after(6),
        })?;
    }
    Ok(modules)
}
