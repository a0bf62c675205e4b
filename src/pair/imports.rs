//! R3.3: when A2's import takes the place of what A1 has there.

use rustc_hash::FxHashSet;

use crate::error::Result;
use crate::find::Context;
use crate::lineage::Lineage;
use crate::mem::TryInsert;
use crate::raw::vm::{Kind, Ref, Val, Vm};

/// Knows the objects of loaded modules and the standard library's values; looked up when first asked for.
pub struct Imports {
    lineage: Lineage,
    known: Option<FxHashSet<usize>>,
}

impl Imports {
    /// Nothing looked up yet.
    pub fn new(lineage: Lineage) -> Imports {
        Imports { lineage, known: None }
    }

    /// Does the imported `new` take the place of `old`: is `old` a loaded module's object, a standard-library value, or an
    /// older generation of the very function that is imported? No walk may be under way.
    pub fn takes(&mut self, vm: &mut Vm, context: &Context, o: Val, old: Ref, new: Ref) -> Result<bool> {
        if o.addr == 0 {
            return Ok(false);
        }
        if self.known.is_none() {
            self.known = Some(known(vm, context)?);
        }
        if self.known.as_ref().is_some_and(|known| known.contains(&o.addr)) {
            return Ok(true);
        }
        if !o.is_function() || !vm.val(new).is_function() {
            return Ok(false);
        }
        Ok(self.lineage.is_one(vm, old, new))
    }
}

/// The addresses of all module objects, and of the functions and files in the standard libraries.
fn known(vm: &mut Vm, context: &Context) -> Result<FxHashSet<usize>> {
    let mut known = FxHashSet::default();
    let mut libraries = Vec::new();
    let own = vm.val(context.running).addr;
    vm.zip(context.loaded, Ref::NIL)?;
    while let Some(entry) = vm.zip_next() {
        if entry.new.addr != 0 && entry.new.addr != own {
            known.try_insert_value(entry.new.addr, ())?;
        }
        let standard = vm.zip_key_bytes(|name| std::str::from_utf8(name).is_ok_and(|name| crate::find::STANDARD.contains(&name)));
        if standard == Some(true) && entry.new.is_table() {
            libraries.push(vm.zip_keep_pair()?);
        }
    }
    for library in libraries {
        vm.zip(library, Ref::NIL)?;
        while let Some(entry) = vm.zip_next() {
            let c_function = entry.new.is_function() && {
                let mark = vm.held();
                let value = vm.zip_keep_pair()?;
                let is_c = vm.is_c_function(value).is_some();
                vm.release(mark);
                is_c
            };
            if c_function || entry.new.kind == Kind::Userdata {
                known.try_insert_value(entry.new.addr, ())?;
            }
        }
    }
    Ok(known)
}
