//! R3.3: when A2's import takes the place of what A1 has there.

use rustc_hash::FxHashSet;

use crate::error::Result;
use crate::find::{Context, STANDARD};
use crate::lineage::Lineage;
use crate::load::Loaded;
use crate::mem::TryInsert;
use crate::raw::vm::{Kind, Ref, Val, Vm};
use crate::remember::Modules;

/// Knows the objects of loaded modules and the standard library's values; looked up when first asked for.
pub struct Imports {
    lineage: Lineage,
    modules: Modules,
    /// Objects of modules in whose place the module itself has put others: these are its own.
    replaced: Option<FxHashSet<usize>>,
    /// What stands in the objects of other modules.
    held: Option<FxHashSet<usize>>,
    /// Functions and files of the standard libraries.
    values: Option<FxHashSet<usize>>,
}

impl Imports {
    /// Nothing looked up yet.
    pub fn new(lineage: Lineage) -> Imports {
        Imports {
            lineage,
            modules: Modules::default(),
            replaced: None,
            held: None,
            values: None,
        }
    }

    /// The loaded modules: nobody has looked at them yet after a first load.
    fn modules<'a>(&'a mut self, vm: &mut Vm, context: &Context, loaded: &'a Loaded) -> Result<&'a Modules> {
        if loaded.memory.modules.is_known() {
            return Ok(&loaded.memory.modules);
        }
        if !self.modules.is_known() {
            self.modules = Modules::of(vm, context.loaded)?;
        }
        Ok(&self.modules)
    }

    /// Is it the object of another loaded module, or the globals? No walk may be under way.
    pub fn is_module(&mut self, vm: &mut Vm, context: &Context, loaded: &Loaded, object: Val) -> Result<bool> {
        let own = vm.val(context.running).addr;
        if object.addr == 0 || object.addr == own || !self.modules(vm, context, loaded)?.has(object.addr) {
            return Ok(false);
        }
        let replaced = match self.replaced.take() {
            Some(replaced) => replaced,
            None => replaced(vm, context, loaded)?,
        };
        Ok(!self.replaced.insert(replaced).contains(&object.addr))
    }

    /// Was `old`, another loaded module's object, imported where the file has the table `new` of its own now? Then it is not to be
    /// written to. But where the file's table begins with plain fields alone, and the running one has all of these, of the same
    /// types, it is that very table: this module made it, and the other one filled it and returned it. No walk may be under way.
    pub fn was_import(
        &mut self,
        vm: &mut Vm,
        context: &Context,
        loaded: &Loaded,
        old: Ref,
        new: Ref,
        replace_data: bool,
    ) -> Result<bool> {
        if !self.is_module(vm, context, loaded, vm.val(old))? {
            return Ok(false);
        }
        if replace_data || !vm.metatable_val(new).is_nil() {
            return Ok(true);
        }
        let (first, count) = vm.keep_entries(new, MOST_COMPARED)?;
        if count == 0 || count as usize > MOST_COMPARED {
            return Ok(true);
        }
        for i in 0..count {
            let (key, value) = (first.after(2 * i), first.after(2 * i + 1));
            let plain = [key, value].into_iter().all(|part| {
                let val = vm.val(part);
                val.kind == Kind::String || val.addr == 0
            });
            if !plain {
                return Ok(true);
            }
            let running = vm.get(old, key)?;
            if vm.val(running).kind != vm.val(value).kind {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is it a function or a file of the standard libraries?
    fn is_standard(&mut self, vm: &mut Vm, context: &Context, object: Val) -> Result<bool> {
        let values = match self.values.take() {
            Some(values) => values,
            None => standard_values(vm, context)?,
        };
        let known = values.contains(&object.addr);
        self.values = Some(values);
        Ok(known)
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
        Ok(o.addr != 0
            && (self.is_module(vm, context, loaded, o)?
                || self.is_standard(vm, context, o)?
                || o.is_function() && vm.val(new).is_function() && self.lineage.is_one(vm, old, new)))
    }
}

/// Entries of a table that are compared with those of another module's object.
const MOST_COMPARED: usize = 50;
/// Entries of a module's object that are looked at.
const MOST_LOOKED_AT: usize = 10_000;

impl Imports {
    /// Is it an import that somebody else holds: another loaded module's object, what stands in one or in the globals, or a
    /// value of the standard libraries? No walk may be under way.
    pub fn holds(&mut self, vm: &mut Vm, context: &Context, loaded: &Loaded, object: Val) -> Result<bool> {
        if self.is_module(vm, context, loaded, object)? || self.is_standard(vm, context, object)? {
            return Ok(true);
        }
        let held = match self.held.take() {
            Some(held) => held,
            None => {
                let modules = self.modules(vm, context, loaded)?;
                held(vm, context, modules)?
            }
        };
        Ok(self.held.insert(held).contains(&object.addr))
    }
}

/// The objects that stand in other modules' objects.
fn held(vm: &mut Vm, context: &Context, modules: &Modules) -> Result<FxHashSet<usize>> {
    let own = vm.val(context.running).addr;
    let mut held = FxHashSet::default();
    for (_, module) in modules.entries() {
        let val = vm.val(module);
        if !val.is_table() || val.addr == own {
            continue;
        }
        vm.zip(module, Ref::NIL)?;
        for _ in 0..MOST_LOOKED_AT {
            let Some(entry) = vm.zip_next() else {
                break;
            };
            if entry.new.addr != 0 && entry.new.kind != Kind::String {
                held.try_insert_value(entry.new.addr, ())?;
            }
        }
        vm.zip_end();
    }
    Ok(held)
}

/// What the module itself puts into `package.loaded` is its own.
fn replaced(vm: &Vm, context: &Context, loaded: &Loaded) -> Result<FxHashSet<usize>> {
    let mut replaced = FxHashSet::default();
    for change in loaded.changes.iter().filter(|change| change.table == context.loaded) {
        if loaded.fresh.order(vm.val(change.new).addr).is_some() {
            replaced.try_insert_value(vm.val(change.old).addr, ())?;
        }
    }
    Ok(replaced)
}

fn standard_values(vm: &mut Vm, context: &Context) -> Result<FxHashSet<usize>> {
    let mut values = FxHashSet::default();
    for library in STANDARD {
        let library = vm.field(context.loaded, library)?;
        if !vm.val(library).is_table() {
            continue;
        }
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
                values.try_insert_value(entry.new.addr, ())?;
            }
        }
    }
    Ok(values)
}
