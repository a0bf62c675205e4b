//! R8: the record of a module that `require` has just loaded.
//!
//! The load itself was Lua's, and nothing watched it: a program that never reloads pays for one
//! walk over what the loader left. What needs the code is worked out at the first reload.

use crate::lua::stock::Stock;
use crate::lua::vm::{Kind, Ref, Vm};
use crate::model::lineage::Lineage;
use crate::stages::find::Context;
use crate::stages::record;
use crate::support::error::Result;

/// `core.track(owed, name, loader, before, value, lineage)` → `owed, record, needs_text`.
///
/// `before` has what the globals held before `loader` ran, `value` is what it returned.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn track(vm: &mut Vm) -> Result<(Ref, bool)> {
    let (name, main) = (vm.argument(2)?, vm.argument(3)?);
    let (before, returned) = (vm.argument(4)?, vm.argument(5)?);
    let table = vm.argument(6)?;
    let lineage = Lineage::in_table(vm, table)?;
    let context = Context::new(vm, name, Stock::default())?;
    let value = match vm.kind(returned) {
        Kind::Nil => context.running,
        _ => returned,
    };
    let value = match vm.kind(value) {
        Kind::Table | Kind::Function => value,
        _ => Ref::NIL,
    };
    let (record, needs_text) = record::of_first_load(vm, &context, lineage, [main, value, before])?;
    record.numbers.keep(vm)?;
    Ok((vm.packed(&record.words)?, needs_text))
}
