//! R3.3: when A2's import takes the place of what A1 has there.

use rustc_hash::FxHashSet;

use crate::error::Result;
use crate::find::{Context, STANDARD};
use crate::lineage::Lineage;
use crate::load::Loaded;
use crate::mem::TryInsert;
use crate::raw::vm::{Kind, Ref, Val, Vm};

/// Knows the objects of loaded modules and the standard library's values; looked up when first asked for.
pub struct Imports {
    lineage: Lineage,
    known: Option<Known>,
}

#[derive(Default)]
struct Known {
    /// The objects of loaded modules, the globals among them.
    modules: FxHashSet<usize>,
    /// Functions and files of the standard libraries.
    values: FxHashSet<usize>,
}

impl Imports {
    /// Nothing looked up yet.
    pub fn new(lineage: Lineage) -> Imports {
        Imports { lineage, known: None }
    }

    fn known(&mut self, vm: &mut Vm, context: &Context, loaded: &Loaded) -> Result<&Known> {
        if self.known.is_none() {
            self.known = Some(look_up(vm, context, loaded)?);
        }
        Ok(self.known.get_or_insert_default())
    }

    /// Is it the object of another loaded module, or the globals? No walk may be under way.
    pub fn is_module(&mut self, vm: &mut Vm, context: &Context, loaded: &Loaded, object: Val) -> Result<bool> {
        Ok(object.is_table() && self.known(vm, context, loaded)?.modules.contains(&object.addr))
    }

    /// Does the imported `new` take the place of `old`: is `old` a loaded module's object, a standard-library value, or an
    /// older generation of the very function that is imported? No walk may be under way.
    pub fn takes(
        &mut self,
        vm: &mut Vm,
        context: &Context,
        loaded: &Loaded,
        o: Val,
        old: Ref,
        new: Ref,
    ) -> Result<bool> {
        if o.addr == 0 {
            return Ok(false);
        }
        let known = self.known(vm, context, loaded)?;
        if known.modules.contains(&o.addr) || known.values.contains(&o.addr) {
            return Ok(true);
        }
        Ok(o.is_function() && vm.val(new).is_function() && self.lineage.is_one(vm, old, new))
    }
}

fn look_up(vm: &mut Vm, context: &Context, loaded: &Loaded) -> Result<Known> {
    let mut known = Known::default();
    let mut libraries = Vec::new();
    let own = vm.val(context.running).addr;
    vm.zip(context.loaded, Ref::NIL)?;
    while let Some(entry) = vm.zip_next() {
        if entry.new.addr != 0 && entry.new.addr != own {
            known.modules.try_insert_value(entry.new.addr, ())?;
        }
        let standard = vm.zip_key_bytes(|name| std::str::from_utf8(name).is_ok_and(|name| STANDARD.contains(&name)));
        if standard == Some(true) && entry.new.is_table() {
            libraries.push(vm.zip_keep_pair()?);
        }
    }
    // What the module itself puts into `package.loaded` is its own.
    for change in loaded.changes.iter().filter(|change| change.table == context.loaded) {
        if loaded.fresh.order(vm.val(change.new).addr).is_some() {
            known.modules.remove(&vm.val(change.old).addr);
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
                known.values.try_insert_value(entry.new.addr, ())?;
            }
        }
    }
    Ok(known)
}
