//! R8: the record of a module that `require` has just loaded.
//!
//! The load itself was Lua's. What it created is known (`lua/watch.rs`), and what it set among the
//! globals; from there on it is a first load like any other (R1.3): pairing with nothing, from
//! which the record is made. Nothing of the program is changed.

use crate::code::Chunk;
use crate::lua::stock::Stock;
use crate::lua::vm::{DebugInfo, KeptEntry, Kind, Ref, Vm};
use crate::lua::watch;
use crate::model::base::{self, Base};
use crate::model::lineage::Lineage;
use crate::model::options::Options;
use crate::model::ownership::Ownership;
use crate::stages::effects::Left;
use crate::stages::find::Context;
use crate::stages::load::{self, Loaded};
use crate::stages::matching;
use crate::stages::record;
use crate::stages::snapshot::{Change, Snapshot};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// `core.track(owed, name, watch, loader, before, value, lineage)` → `owed, record`.
///
/// `before` has what the globals held before `loader` ran, `value` is what it returned.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn track(vm: &mut Vm) -> Result<Ref> {
    let (name, owner, main) = (vm.argument(2)?, vm.argument(3)?, vm.argument(4)?);
    let (before, returned) = (vm.argument(5)?, vm.argument(6)?);
    let lineage = Lineage {
        table: vm.argument(7)?,
        counter: vm.string(b"last")?,
    };
    let fresh = watch::take(vm, owner)?;
    let mut context = Context::new(vm, name, Stock::default())?;
    let value = match vm.kind(returned) {
        Kind::Nil => context.running,
        _ => returned,
    };
    // What the loader has put into `package.loaded` itself is no earlier module.
    context.running = Ref::NIL;
    let value = match vm.kind(value) {
        Kind::Table | Kind::Function => value,
        _ => Ref::NIL,
    };
    vm.dump(main, DebugInfo::Strip)?;
    let chunk = Chunk::read(vm.take_dump(), vm.secret())?;
    let mut ownership = Ownership::default();
    ownership.add_loader(vm, main)?;
    load::adopt_sources(vm, main, value, &fresh, &mut ownership)?;
    let environment = load::environment_of_loader(vm, main);
    let snapshot = Snapshot::of_globals(context.globals)?;
    let changes = changes(vm, context.globals, before)?;
    let mut loaded = Loaded {
        value,
        changes,
        snapshot,
        fresh,
        ownership,
        chunk,
        main,
        environment,
        left: Left::default(),
    };
    let options = Options::of_first_load();
    let mut pairing = matching::pair(
        vm,
        &context,
        &mut loaded,
        &options,
        matching::Past {
            lineage,
            base: Base::default(),
            main: Ref::NIL,
        },
    )?;
    let functions = pairing.functions()?;
    let record = record::record(
        vm,
        &context,
        &loaded,
        &mut pairing,
        &functions,
        &options,
        lineage,
    )?;
    record.numbers.keep(vm)?;
    let object = if value == Ref::NIL {
        vm.boolean(true)?
    } else {
        value
    };
    pairing.assigned.keep(vm, lineage, name, object)?;
    base::pack(vm, record.words)
}

/// What differs among the globals.
fn changes(vm: &mut Vm, globals: Ref, before: Ref) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut cursor = vm.walk(globals, before)?;
    while cursor.next(vm).is_some() {
        if cursor.values_equal(vm) {
            continue;
        }
        let KeptEntry { key, old, new } = cursor.keep(vm)?;
        changes.try_push(Change {
            table: globals,
            number: 0,
            key: Some(key),
            old,
            new,
        })?;
    }
    Ok(changes)
}
