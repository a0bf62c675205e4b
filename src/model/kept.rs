//! The text that each module was made of at its last reload, with the main function that the
//! compiler made of it: of the next text only what differs has to be compiled.
//!
//! It stands in a weak table of the façade's under the module's object, and is gone with it.

use crate::code::splice;
use crate::lua::layout::{LayoutElement as _, Own};
use crate::lua::vm::{KeptText, Ref, Vm};
use crate::lua::write;
use crate::support::error::Result;

/// The most bytes of text that are kept in a state. Where a text would be one too many, all others
/// are given up first.
const MOST: i64 = 16 << 20;
/// The key of the number of bytes in it, at most.
const BYTES: i64 = 1;

/// What is kept of the module `name`, whose object is `object`.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn read(vm: &mut Vm, own: Ref, name: Ref, object: Ref) -> Result<Option<KeptText>> {
    let table = vm.index(own, Own::Texts.at())?;
    let entry = vm.get(table, key(vm, name, object))?;
    if !vm.val(entry).is_table() {
        return Ok(None);
    }
    let (text, main) = (vm.index(entry, 1)?, vm.index(entry, 2)?);
    Ok(vm.bytes(text)?.map(|text| KeptText { text, main }))
}

/// Keeps the text of a module for its next reload.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn keep(vm: &mut Vm, own: Ref, [name, object]: [Ref; 2], compiled: &KeptText) -> Result<()> {
    let table = vm.index(own, Own::Texts.at())?;
    let key = key(vm, name, object);
    let old = vm.get(table, key)?;
    let old = vm.index(old, 1)?;
    let (counter, text) = (vm.number(BYTES)?, &compiled.text);
    let held = vm.get(table, counter)?;
    let old = vm.with_bytes(old, <[u8]>::len).unwrap_or(0) as i64;
    let mut held = vm.integer(held).unwrap_or(0) - old;
    let mut entry = Ref::NIL;
    if text.len() as i64 <= MOST && !splice::has_attribute_at_margin(text) {
        if held + text.len() as i64 > MOST {
            for key in vm.keep_entries(table)?.keys() {
                write::fill(vm, table, key, Ref::NIL)?;
            }
            held = 0;
        }
        held += text.len() as i64;
        entry = vm.table(0)?;
        let text = vm.string(text)?;
        for (i, value) in [(1, text), (2, compiled.main)] {
            let i = vm.number(i)?;
            write::fill(vm, entry, i, value)?;
        }
    }
    let held = vm.number(held)?;
    write::fill(vm, table, counter, held)?;
    write::fill(vm, table, key, entry)
}

/// Under which key it stands: the module's object, or its name where that is no object.
fn key(vm: &Vm, name: Ref, object: Ref) -> Ref {
    match vm.val(object).is_table() || vm.val(object).is_function() {
        true => object,
        false => name,
    }
}
