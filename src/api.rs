//! What the façade (`lua/hotreload/facade.lua`) may call, and how the library is opened.

use mlua::{Function, Lua, Table, Value};

use crate::error::{Error, Result};
use crate::lineage::Lineage;
use crate::options::Options;
use crate::raw;
use crate::raw::entry::Answer;
use crate::raw::stock::Stock;
use crate::raw::vm::Vm;
use crate::reload::{self, Refusal, Reply, Request};
use crate::report;

/// The façade, part of the library: `require "hotreload"` needs one file.
const FACADE: &str = include_str!("../lua/hotreload/facade.lua");
/// Where the library's table stands in the registry, so that opening it twice gives the same one.
const LIBRARY: &str = "hotreload";
/// Beside it: what installs `gg.reload`.
const INSTALL: &str = "hotreload.install";

/// Opens the library: installs `gg.reload` and returns the library's table, the same one every time.
///
/// # Errors
/// Out of memory, or a Lua without its `package` library.
pub fn open(lua: &Lua) -> mlua::Result<Table> {
    if let (Value::Table(library), Value::Function(install)) =
        (lua.named_registry_value(LIBRARY)?, lua.named_registry_value(INSTALL)?)
    {
        install.call::<()>(())?;
        return Ok(library);
    }
    let stock = Stock::read().ok_or_else(|| mlua::Error::MemoryError("no memory to open hotreload".into()))?;
    let core = lua.create_table()?;
    core.set("reload", raw::function(lua, raw::entry::reload)?)?;
    core.set("undo", raw::function(lua, raw::entry::undo)?)?;
    core.set("version", concat!("hotreload ", env!("CARGO_PKG_VERSION")))?;
    let addresses = [stock.preload, stock.lua, stock.c, stock.c_root].map(|address| address as i64);
    core.set("stock", addresses)?;
    let facade: Function = lua.load(FACADE).set_name("=hotreload").into_function()?;
    let (library, install): (Table, Function) = facade.call(core)?;
    install.call::<()>(())?;
    lua.set_named_registry_value(LIBRARY, &library)?;
    lua.set_named_registry_value(INSTALL, install)?;
    Ok(library)
}

/// `core.reload(owed, name, options, stock, lineage, source)` → `owed,` `true, object, hook, transaction, source, file, lists, counts…, times…`,
/// or `false, message, conflicts`.
///
/// # Errors
/// Whatever a stage refuses.
pub fn reload(vm: &mut Vm) -> Result<Vec<Answer>> {
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
        name: vm.argument(2)?,
        options: Options::read(vm, options)?,
        stock: Stock { preload, lua, c, c_root },
        source: vm.bytes(source),
        lineage: Lineage { table: vm.argument(5)?, counter: vm.string(b"last")? },
    };
    match reload::reload(vm, &request) {
        Ok(reply) => Ok(answers(&reply)),
        Err(refusal) => refuse(vm, refusal),
    }
}

fn answers(reply: &Reply) -> Vec<Answer> {
    let held = [reply.object, reply.hook, reply.transaction, reply.source, reply.file, reply.lists];
    std::iter::once(Answer::Flag(true))
        .chain(held.into_iter().map(Answer::Held))
        .chain(reply.counts.into_iter().map(Answer::Count))
        .chain(reply.elapsed.into_iter().map(Answer::Number))
        .collect()
}

fn refuse(vm: &mut Vm, refusal: Refusal) -> Result<Vec<Answer>> {
    let Refusal { error: Error::Conflicts { .. }, conflicts } = &refusal else { return Err(refusal.error) };
    let list = report::conflict_table(vm, conflicts)?;
    let message = vm.string(&refusal.error.to_bytes())?;
    Ok(vec![Answer::Flag(false), Answer::Held(message), Answer::Held(list)])
}

/// `core.undo(transaction)` → `true`, or `false, message`.
///
/// # Errors
/// [`Error::PutBack`] when there was no memory to undo all of it.
pub fn undo(vm: &mut Vm, words: &[u32]) -> Result<Vec<Answer>> {
    reload::undo(vm, words)?;
    Ok(vec![Answer::Flag(true)])
}

