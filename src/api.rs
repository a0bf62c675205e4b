//! What the façade (`lua/hotreload/facade.lua`) may call: [`Core`] lists it.
//!
//! The only room that knows both the façade's tables and the stages. It takes arguments apart and
//! puts answers together; it decides nothing.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use smallvec::smallvec;

use crate::features::{changed, instances, stale, track};
use crate::lua::entry::{
    Answer, Answers, Entries, Entry, at_once, attempt, call, code_of, enter, is_whole,
};
use crate::lua::files;
use crate::lua::layout::{self, LayoutElement as _};
use crate::lua::open::Library;
use crate::lua::stock::Stock;
use crate::lua::undo;
use crate::lua::vm::{Ref, Vm};
use crate::lua::write::{self, Permit};
use crate::model::lineage::Lineage;
use crate::model::options::{ModuleOptions, Options};
use crate::reload::{self, Module, Request, Told};
use crate::stages::report;
use crate::stages::sweep::{self, SweepPlan};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// The library, as it is opened.
pub struct Core;

impl Library for Core {
    const ENTRIES: Entries = &[
        (c"reload", enter::<Reload>),
        (c"close", undo::close::<SweepPlan>),
        (c"end", undo::end::<SweepPlan>),
        (c"undo", undo::undo::<SweepPlan>),
        (c"look", enter::<Look>),
        (c"text", enter::<Text>),
        (c"sweep", enter::<Sweep>),
        (c"stale", enter::<Stale>),
        (c"track", enter::<Track>),
        (c"code_of", code_of),
        (c"is_whole", is_whole),
        (c"call", call),
        (c"attempt", attempt),
        (c"at_once", at_once),
        (c"instances", enter::<Instances>),
        (c"migrated", enter::<Migrated>),
        (c"clock", files::clock),
        (c"touched", files::touched),
    ];
}

/// `core.reload(owed, batch, options, stock, lineage, running, own, sweeping)` → `owed, true`, or
/// `owed, false, message`.
///
/// `batch` is a list of items `{ name, source, base, calls, answers, undo, data, constants,
/// removed, from }`, one for each module. `answers` is a list [`layout::Answered`] with room for
/// what became of it; it is filled in when all went well, and when conflicts are the reason for a
/// refusal. `undo` is a list
/// [`layout::Undo`]: it gets what undoes the module's reload. `running` is a list
/// [`layout::Running`]: it has the first module's name while this works (the entry point resets
/// it). `own` is the list [`layout::Own`]. `sweeping` has the sweep in slices (R9.4).
struct Reload;

impl Entry for Reload {
    const RUNNING: c_int = 6;

    fn run(vm: &mut Vm, permit: Permit) -> Result<Answers> {
        let (batch, options, stock) = (vm.argument(2)?, vm.argument(3)?, vm.argument(4)?);
        let lineage = vm.argument(5)?;
        let request = Request {
            modules: modules(vm, batch)?,
            options: Options::read(vm, options)?,
            stock: Stock::of(vm, stock)?,
            lineage: Lineage::in_table(vm, lineage)?,
            own: vm.argument(7)?,
            sweeping: vm.argument(8)?,
            running: vm.argument(Self::RUNNING)?,
        };
        let first = vm.number(layout::Running::Module.at())?;
        let name = request
            .modules
            .first()
            .map_or(Ref::NIL, |module| module.name);
        write::fill(vm, request.running, first, name)?;
        match reload::reload(vm, permit, &request) {
            Ok(swept) => {
                for (module, done) in request.modules.iter().zip(&swept) {
                    tell(vm, module, &done.told);
                    let held = [
                        (layout::Undo::Transaction, done.transaction),
                        (layout::Undo::Back, done.back),
                        (layout::Undo::References, done.references),
                    ];
                    let held = held.map(|(at, held)| (at.at(), Answer::Held(held)));
                    vm.fill_in(module.undo, held.into_iter());
                }
                Ok(smallvec![Answer::Flag(true)])
            }
            Err(refused) => {
                for (module, told) in request.modules.iter().zip(&refused.told) {
                    tell(vm, module, told);
                }
                Err(refused.error)
            }
        }
    }
}

/// Fills in the façade's list of what became of a module.
fn tell(vm: &Vm, module: &Module, told: &Told) {
    vm.fill_in(module.answers, told.answers());
}

/// `core.look(owed, …)`: see [`changed::look`].
struct Look;

impl Entry for Look {
    fn run(vm: &mut Vm, _: Permit) -> Result<Answers> {
        changed::look(vm)
    }
}

/// `core.text(owed, …)`: see [`changed::text`].
struct Text;

impl Entry for Text {
    fn run(vm: &mut Vm, _: Permit) -> Result<Answers> {
        changed::text(vm)
    }
}

/// `core.stale(owed, …)`: see [`stale::stale`].
struct Stale;

impl Entry for Stale {
    fn run(vm: &mut Vm, _: Permit) -> Result<Answers> {
        Ok(smallvec![Answer::Held(stale::stale(vm)?)])
    }
}

/// `core.instances(owed, …)`: see [`instances::instances`].
struct Instances;

impl Entry for Instances {
    fn run(vm: &mut Vm, _: Permit) -> Result<Answers> {
        instances::instances(vm)
    }
}

/// `core.migrated(owed, …)`: see [`instances::migrated`].
struct Migrated;

impl Entry for Migrated {
    fn run(vm: &mut Vm, _: Permit) -> Result<Answers> {
        instances::migrated(vm)
    }
}

/// `core.track(owed, …)`: see [`track::track`].
struct Track;

impl Entry for Track {
    fn run(vm: &mut Vm, _: Permit) -> Result<Answers> {
        let (record, needs_text) = track::track(vm)?;
        Ok(smallvec![Answer::Held(record), Answer::Flag(needs_text)])
    }
}

/// `core.sweep(owed, sweeping, budget_ms, lineage, own)` → `owed, done, objects, waiting, passes,
/// references, stale, warnings`: one slice (R9.4).
struct Sweep;

impl Entry for Sweep {
    fn run(vm: &mut Vm, permit: Permit) -> Result<Answers> {
        let started = Instant::now();
        let (state, budget) = (vm.argument(2)?, vm.argument(3)?);
        let lineage = vm.argument(4)?;
        let lineage = Lineage::in_table(vm, lineage)?;
        let own = vm.argument(5)?;
        let deadline = vm
            .any_number(budget)
            .map(|ms| started + Duration::from_secs_f64((ms / 1e3).clamp(0.0, 3600.0)));
        let slice = sweep::slice(vm, permit, state, own, lineage, deadline)?;
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
}

fn modules(vm: &mut Vm, batch: Ref) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for i in 1..=vm.raw_len(batch) {
        let item = vm.index(batch, i)?;
        let [
            name,
            answers,
            undo,
            source,
            base,
            calls,
            data,
            constants,
            removed,
            from,
        ] = vm.fields(
            item,
            [
                "name",
                "answers",
                "undo",
                "source",
                "base",
                "calls",
                "data",
                "constants",
                "removed",
                "from",
            ],
        )?;
        modules.try_push(Module {
            name,
            answers,
            undo,
            source: vm.bytes(source)?,
            base,
            calls,
            own: ModuleOptions::read(vm, [data, constants, removed])?,
            from,
        })?;
    }
    Ok(modules)
}
