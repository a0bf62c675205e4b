//! The version of its file that each module's last reload loaded: of the next one only what differs
//! has to be compiled, and its definitions are known already.
//!
//! It stands in a weak table of the façade's under the module's object, and is gone with it.

use std::sync::Arc;

use crate::code::compiled::Compiled;
use crate::lua::layout::{Own, Place as _};
use crate::lua::owned;
use crate::lua::vm::{Ref, Version, Vm};
use crate::lua::write;
use crate::support::error::Result;

/// The most bytes of versions that are kept in a state, about. Where one would be too many, all
/// others are given up first.
const MOST: usize = 32 << 20;
/// The key of the number of bytes in it, at most.
const BYTES: i64 = 1;

/// What is kept of the module `name`, whose object is `object`.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn read(vm: &mut Vm, own: Ref, name: Ref, object: Ref) -> Result<Option<Version>> {
    let table = vm.index(own, Own::Versions.at())?;
    let entry = vm.get(table, key(vm, name, object))?;
    if !vm.val(entry).is_table() {
        return Ok(None);
    }
    let (owner, main) = (vm.index(entry, 1)?, vm.index(entry, 2)?);
    let compiled = compiled(vm, owner);
    Ok(compiled.map(|compiled| Version { main, compiled }))
}

/// Keeps the version of a module for its next reload.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn keep(vm: &mut Vm, own: Ref, [name, object]: [Ref; 2], version: &Version) -> Result<()> {
    let table = vm.index(own, Own::Versions.at())?;
    let key = key(vm, name, object);
    let old = vm.get(table, key)?;
    let old = vm.index(old, 1)?;
    let old = compiled(vm, old).map_or(0, |old| old.size());
    let counter = vm.number(BYTES)?;
    let held = vm.get(table, counter)?;
    let mut held = (vm.integer(held).unwrap_or(0) as usize).saturating_sub(old);
    let mut entry = Ref::NIL;
    let size = version.compiled.size();
    // What is made while the state closes is never finalized, and its memory would be lost.
    if size <= MOST && !vm.is_in_finalizer() {
        if held + size > MOST {
            for key in vm.keep_entries(table)?.keys() {
                write::fill(vm, table, key, Ref::NIL)?;
            }
            held = 0;
        }
        held += size;
        entry = vm.table(0)?;
        let owner = owned::own(vm, version.compiled.clone())?;
        for (i, value) in [(1, owner), (2, version.main)] {
            let i = vm.number(i)?;
            write::fill(vm, entry, i, value)?;
        }
    }
    let held = vm.number(held as i64)?;
    write::fill(vm, table, counter, held)?;
    write::fill(vm, table, key, entry)
}

/// What a userdata owns; none where it is no such userdata, or the program has freed it.
fn compiled(vm: &mut Vm, owner: Ref) -> Option<Arc<Compiled>> {
    owned::with(vm, owner, |_, compiled: &mut Arc<Compiled>| {
        compiled.clone()
    })
    .ok()
}

/// Under which key it stands: the module's object, or its name where that is no object.
fn key(vm: &Vm, name: Ref, object: Ref) -> Ref {
    match vm.val(object).is_table() || vm.val(object).is_function() {
        true => object,
        false => name,
    }
}
