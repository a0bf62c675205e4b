//! The version of its file that each module's last reload loaded: of the next one only what differs
//! has to be compiled, and its definitions are known already.
//!
//! It stands in a weak table of the façade's under the module's object, and is gone with it.

use std::sync::Arc;

use crate::code::compiled::Compiled;
use crate::lua::layout::{LayoutElement as _, Own};
use crate::lua::owned;
use crate::lua::shared;
use crate::lua::vm::{KeyValue, Ref, Version, Vm};
use crate::lua::write;
use crate::support::error::Result;

/// The most bytes of versions that are kept in a state, about. Where one would be too many, all
/// others are given up first.
const MOST: usize = 16 << 20;
/// The key of the number of bytes in it, at most.
const BYTES: i64 = 1;

/// What the userdata of a module owns. It is exchanged, so that no old version waits for the
/// collector, which cannot know how large it is.
type KeptVersion = Option<Arc<Compiled>>;

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
    let compiled = owned::with(vm, owner, |_, place: &mut KeptVersion| place.clone());
    // (The program can call the userdata's finalizer: nothing is kept then.)
    let compiled = compiled.ok().flatten();
    Ok(compiled.map(|compiled| Version { main, compiled }))
}

/// Keeps the version of a module for its next reload.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn keep(vm: &mut Vm, own: Ref, [name, object]: [Ref; 2], version: &Version) -> Result<()> {
    let size = version.compiled.size();
    // Of many states each would keep a copy of what they do not share. What is made while the state
    // closes is never finalized, and its memory would be lost.
    let is_shared = version.compiled.is_shared;
    if size > MOST || shared::has_others() && !is_shared || vm.is_in_finalizer() {
        return Ok(());
    }
    let table = vm.index(own, Own::Versions.at())?;
    let key = key(vm, name, object);
    let entry = vm.get(table, key)?;
    let entry = match vm.val(entry).is_table() {
        true => entry,
        false => vm.table(0)?,
    };
    let mut owner = vm.index(entry, 1)?;
    let former = exchange(vm, owner, None);
    let former = former.as_ref().map_or(0, |former| former.size());
    let counter = vm.number(BYTES)?;
    let held = vm.get(table, counter)?;
    let mut held = (vm.integer(held).unwrap_or(0) as usize).saturating_sub(former);
    if held + size > MOST {
        for KeyValue { key, value } in vm.keep_entries(table)?.iter() {
            if vm.val(value).is_table() {
                let owner = vm.index(value, 1)?;
                drop(exchange(vm, owner, None));
            }
            write::fill(vm, table, key, Ref::NIL)?;
        }
        held = 0;
    }
    let held = vm.number((held + size) as i64)?;
    write::fill(vm, table, counter, held)?;
    if vm.val(owner).is_nil() {
        owner = owned::own(vm, KeptVersion::None)?;
    }
    for (i, value) in [(1, owner), (2, version.main)] {
        let i = vm.number(i)?;
        write::fill(vm, entry, i, value)?;
    }
    write::fill(vm, table, key, entry)?;
    exchange(vm, owner, Some(version.compiled.clone()));
    Ok(())
}

/// Puts a version, or none, into a userdata, and returns the one that was there.
fn exchange(vm: &mut Vm, owner: Ref, new: KeptVersion) -> KeptVersion {
    let exchanged = owned::with(vm, owner, |_, place: &mut KeptVersion| {
        std::mem::replace(place, new)
    });
    exchanged.ok().flatten()
}

/// Under which key it stands: the module's object, or its name where that is no object.
fn key(vm: &Vm, name: Ref, object: Ref) -> Ref {
    match vm.val(object).is_table() || vm.val(object).is_function() {
        true => object,
        false => name,
    }
}
