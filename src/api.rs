//! What the façade (`lua/hotreload/facade.lua`) may call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::commit;
use crate::error::{Error, Result};
use crate::lineage::Lineage;
use crate::options::Options;
use crate::raw::entry::Answer;
use crate::raw::stock::Stock;
use crate::raw::vm::Vm;
use crate::reload::{self, Request};

/// `core.reload(owed, name, options, stock, lineage, source, running, guard)` → `owed, true, object, hook, source, file,
/// lists, counts…, times…`, or `owed, false, message` and, for conflicts, what would have been done, in the same places.
/// `running[1]` is the module's name while this works (the entry point resets it); `guard[2]` is what undoes the reload, when a hook is to run.
///
/// # Errors
/// Whatever a stage refuses.
pub fn reload(vm: &mut Vm) -> Result<Vec<Answer>> {
    let name = vm.argument(2)?;
    let options = vm.argument(3)?;
    let stock = vm.argument(4)?;
    let mut addresses = [0; 4];
    for (address, i) in addresses.iter_mut().zip(1..) {
        let value = vm.index(stock, i)?;
        *address = vm.integer(value).unwrap_or(0) as usize;
    }
    let [preload, lua, c, c_root] = addresses;
    let source = vm.argument(6)?;
    let request = Request {
        name,
        options: Options::read(vm, options)?,
        stock: Stock {
            preload,
            lua,
            c,
            c_root,
        },
        source: vm.bytes(source),
        lineage: Lineage {
            table: vm.argument(5)?,
            counter: vm.string(b"last")?,
        },
        guard: vm.argument(8)?,
    };
    let (running, first) = (vm.argument(7)?, vm.number(1)?);
    commit::fill(vm, running, first, name)?;
    let outcome = catch_unwind(AssertUnwindSafe(|| reload::reload(vm, &request)));
    let reply = outcome.unwrap_or_else(|_| Err(Error::Panic("in a stage of the reload".into())))?;
    let first = match &reply.refusal {
        None => reply.object,
        Some(error) => vm.string(&error.to_bytes())?,
    };
    let held = [first, reply.hook, reply.source, reply.file, reply.lists];
    let done = Answer::Flag(reply.refusal.is_none());
    Ok(std::iter::once(done)
        .chain(held.into_iter().map(Answer::Held))
        .chain(reply.counts.into_iter().map(Answer::Count))
        .chain(reply.elapsed.into_iter().map(Answer::Number))
        .collect())
}
