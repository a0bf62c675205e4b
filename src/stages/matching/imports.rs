//! R3.3: when the incoming import takes the place of what the running version has there.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Pairer;
use crate::lua::vm::{KeyValue, Kind, Ref, Val, Vm};
use crate::stages::find::{Context, STANDARD};
use crate::stages::load::Loaded;
use crate::stages::snapshot::Modules;
use crate::support::error::{Result, shown};
use crate::support::limits::Where;
use crate::support::mem::TryInsert;

/// Knows the objects of loaded modules and the standard library's values; looked up when first
/// asked for.
#[derive(Default)]
pub struct Imports {
    modules: Modules,
    /// Objects of modules in whose place the module itself has put others: these are its own.
    replaced: Option<FxHashSet<usize>>,
    /// What stands in the objects of other modules.
    held: Option<FxHashMap<usize, bool>>,
    /// Functions and files of the standard libraries.
    values: Option<FxHashSet<usize>>,
}

impl Imports {
    /// The loaded modules: nobody has looked at them yet after a first load.
    fn modules<'a>(
        &'a mut self,
        vm: &mut Vm,
        context: &Context,
        loaded: &'a Loaded,
    ) -> Result<&'a Modules> {
        if loaded.snapshot.modules.is_known() {
            return Ok(&loaded.snapshot.modules);
        }
        if !self.modules.is_known() {
            self.modules = Modules::of(vm, context.loaded)?;
        }
        Ok(&self.modules)
    }

    /// Is it the object of another loaded module, or the globals? No walk may be under way.
    pub fn is_module(
        &mut self,
        vm: &mut Vm,
        context: &Context,
        loaded: &Loaded,
        object: Val,
    ) -> Result<bool> {
        let own = vm.val(context.running).addr;
        if object.addr == 0
            || object.addr == own
            || !self.modules(vm, context, loaded)?.has(object.addr)
        {
            return Ok(false);
        }
        let replaced = match self.replaced.take() {
            Some(replaced) => replaced,
            None => replaced(vm, context, loaded)?,
        };
        Ok(!self.replaced.insert(replaced).contains(&object.addr))
    }

    /// Is it a function or a file of the standard libraries?
    pub(super) fn is_standard(
        &mut self,
        vm: &mut Vm,
        context: &Context,
        object: Val,
    ) -> Result<bool> {
        let values = match self.values.take() {
            Some(values) => values,
            None => standard_values(vm, context)?,
        };
        let known = values.contains(&object.addr);
        self.values = Some(values);
        Ok(known)
    }
}

/// Entries of a module's object that are looked at.
const MOST_LOOKED_AT: usize = 10_000;

impl Imports {
    /// Is it an import that somebody else holds: another loaded module's object, what stands in one
    /// or in the globals, or a value of the standard libraries? No walk may be under way.
    pub fn holds(
        &mut self,
        vm: &mut Vm,
        context: &Context,
        loaded: &Loaded,
        object: Val,
    ) -> Result<bool> {
        Ok(self.is_module(vm, context, loaded, object)?
            || self.is_standard(vm, context, object)?
            || self.holder(vm, context, loaded, object)?.is_some())
    }

    /// Does it stand in another loaded module's object, or in the globals? If so: in one that is
    /// not the table of globals? No walk may be under way.
    fn holder(
        &mut self,
        vm: &mut Vm,
        context: &Context,
        loaded: &Loaded,
        object: Val,
    ) -> Result<Option<bool>> {
        let held = match self.held.take() {
            Some(held) => held,
            None => {
                let modules = self.modules(vm, context, loaded)?;
                held(vm, context, modules)?
            }
        };
        Ok(self.held.insert(held).get(&object.addr).copied())
    }
}

impl Pairer<'_> {
    /// Is it the object of another loaded module, or the globals? No walk may be under way.
    pub(super) fn is_module(&mut self, object: Val) -> Result<bool> {
        self.imports
            .is_module(self.vm, self.context, self.loaded, object)
    }

    /// Is it an import that somebody else holds ([`Imports::holds`])? No walk may be under way.
    pub(super) fn is_held_by_module(&mut self, object: Val) -> Result<bool> {
        self.imports
            .holds(self.vm, self.context, self.loaded, object)
    }

    /// Does it stand in another loaded module's object? No walk may be under way.
    pub(super) fn is_in_module(&mut self, object: Val) -> Result<bool> {
        let holder = self
            .imports
            .holder(self.vm, self.context, self.loaded, object)?;
        Ok(holder == Some(true))
    }

    /// R3.3: was `old`, another loaded module's object, imported where the file has the fresh table
    /// `new` of its own now? Then it is not to be written to. No walk may be under way.
    pub(super) fn was_import(&mut self, old: Ref, new: Ref) -> Result<bool> {
        Ok(self.is_module(self.vm.val(old))? && !self.is_handed_over(old, new)?)
    }

    /// Did this module make another one's object `old`, from what the file says in `new`? (It keeps
    /// the table under a name, and the other one fills it and returns it.) Where both have
    /// functions under the same names, it did if at least half of the running version are the
    /// module's own. Else it did where the file's table begins with plain fields and tables alone,
    /// and the running one has all of these, of the same types.
    fn is_handed_over(&mut self, old: Ref, new: Ref) -> Result<bool> {
        let (mut own, mut external) = (0, 0);
        let mut plain = !self.replace_data && self.vm.metatable_val(new).is_nil();
        let metatables = [self.vm.metatable(old)?, self.vm.metatable(new)?];
        for [old, new] in [[old, new], metatables] {
            if [old, new]
                .iter()
                .any(|table| !self.vm.val(*table).is_table())
            {
                continue;
            }
            let mark = self.vm.held();
            let entries = self.vm.keep_some(new, usize::MAX)?;
            plain &= !entries.is_empty();
            for KeyValue { key, value } in entries.iter() {
                let running = self.vm.get(old, key)?;
                let [key, new, old] = [key, value, running].map(|part| self.vm.val(part));
                let is_plain = |val: Val| val.kind == Kind::String || val.addr == 0;
                plain &= is_plain(key) && (is_plain(new) || new.is_table()) && new.kind == old.kind;
                if new.is_function() && old.is_function() {
                    *(if self.is_own_function(running)? {
                        &mut own
                    } else {
                        &mut external
                    }) += 1;
                }
            }
            self.vm.release(mark);
        }
        Ok(own > 0 && own >= external || plain)
    }

    /// Does the imported `new` take the place of `old`: is `old` a loaded module's object, a
    /// standard-library value, or an older generation of the very function that is imported? No
    /// walk may be under way.
    pub(super) fn takes(&mut self, o: Val, old: Ref, new: Ref) -> Result<bool> {
        if o.addr == 0 {
            return Ok(false);
        }
        let dependency =
            self.is_module(o)? || self.imports.is_standard(self.vm, self.context, o)?;
        Ok(dependency && !self.is_own(new)?
            || o.is_function()
                && self.vm.val(new).is_function()
                && self.lineage.is_one(self.vm, old, new))
    }

    /// Is it the module's own: its object, one of its functions, or a table that answers to one of
    /// the file's or that one of its functions makes callable? What the chunk finds so in a place
    /// of others is what this module has put there (`print = require "log"`): the module wraps
    /// what was there before, and would call itself for ever.
    pub(super) fn is_own(&mut self, value: Ref) -> Result<bool> {
        let val = self.vm.val(value);
        if val.is_function() {
            return self.is_own_function(value);
        }
        if !val.is_table() {
            return Ok(false);
        }
        if val == self.vm.val(self.context.running) || self.tables.is_answer(val.addr) {
            return Ok(true);
        }
        let metatable = self.vm.metatable(value)?;
        if !self.vm.val(metatable).is_table() {
            return Ok(false);
        }
        let key = self.vm.string(b"__call")?;
        let call = self.vm.get(metatable, key)?;
        self.is_own_function(call)
    }

    /// R8: is the incoming `new` data that may take the place of `old`? Not where the module has
    /// put itself in the place of what it wraps.
    pub(super) fn is_replacement(&mut self, old: Ref, new: Ref) -> Result<bool> {
        Ok(!self.vm.same(new, old)
            && (self.vm.val(old).addr == 0 || self.is_own(old)? || !self.is_own(new)?))
    }
}

/// The objects that stand in other modules' objects, and whether one that is not the table of
/// globals has them.
fn held(vm: &mut Vm, context: &Context, modules: &Modules) -> Result<FxHashMap<usize, bool>> {
    let (own, globals) = (vm.val(context.running).addr, vm.val(context.globals).addr);
    let mut held: FxHashMap<usize, bool> = FxHashMap::default();
    for KeyValue { key, value: module } in modules.entries().iter() {
        let val = vm.val(module);
        if !val.is_table() || val.addr == own {
            continue;
        }
        let mut cursor = vm.walk(module, Ref::NIL)?;
        let mut count = 0;
        while let Some(entry) = cursor.next(vm) {
            count += 1;
            if count > MOST_LOOKED_AT {
                cursor.end(vm);
                let name = vm.with_bytes(key, shown).unwrap_or_default();
                vm.limits.meet(
                    "only the first {} entries of this module's object were searched for what the \
                     file imports; give its data a field of their own (R3.3)",
                    MOST_LOOKED_AT,
                    Where::Named(name),
                )?;
                break;
            }
            if entry.new.addr != 0 && entry.new.kind != Kind::String {
                let known = held.get(&entry.new.addr).copied().unwrap_or(false);
                held.try_insert_value(entry.new.addr, known || val.addr != globals)?;
            }
        }
    }
    Ok(held)
}

/// What the module itself puts into `package.loaded` is its own.
fn replaced(vm: &Vm, context: &Context, loaded: &Loaded) -> Result<FxHashSet<usize>> {
    let mut replaced = FxHashSet::default();
    for change in loaded
        .changes
        .iter()
        .filter(|change| change.table == context.loaded)
    {
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
        let is_globals = vm.val(library) == vm.val(context.globals);
        let mut cursor = vm.walk(library, Ref::NIL)?;
        while let Some(entry) = cursor.next(vm) {
            let c_function = entry.new.is_function() && {
                let mark = vm.held();
                let value = cursor.keep_pair(vm)?.value;
                let is_c = vm.is_c_function(value).is_some();
                vm.release(mark);
                is_c
            };
            // What modules put among the globals is no value of a library.
            let is_file = entry.new.kind == Kind::Userdata && !is_globals;
            if c_function || is_file {
                values.try_insert_value(entry.new.addr, ())?;
            }
        }
    }
    Ok(values)
}
