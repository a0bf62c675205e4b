//! Which functions are the module's own (of any generation); every other function is external.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::lua::vm::{Info, Ref, SourceId, Vm};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, copied};

/// The module's source names.
#[derive(Default)]
pub struct Ownership {
    names: Vec<Vec<u8>>,
    /// The one of them that other modules may have as well: that of a loader which is no chunk but
    /// a function of one (a bundle).
    shared: Option<Vec<u8>>,
    /// What stands in that loader and in the one of the last reload, exactly.
    codes: FxHashSet<u64>,
    /// Answers by the number of a source's name.
    known: FxHashMap<SourceId, bool>,
    /// The last answer: the functions of one chunk come in a row.
    last: Option<(SourceId, bool)>,
    /// Not all of the module's object was searched for functions of another source name.
    pub is_cut: bool,
}

impl Ownership {
    /// Counts one more source name as the module's own.
    pub fn add(&mut self, name: Vec<u8>) -> Result<()> {
        if !self.names.contains(&name) {
            self.names.try_push(name)?;
            self.enter_view();
        }
        Ok(())
    }

    /// Forgets the answers, which hold for one view of the program: sources have other numbers in
    /// the next one.
    pub fn enter_view(&mut self) {
        self.known.clear();
        self.last = None;
    }

    /// Counts the source name of the module's loader as its own. Other modules may have the name,
    /// too, where the loader is no main chunk.
    pub fn add_loader(&mut self, vm: &mut Vm, loader: Ref) -> Result<()> {
        let Some(name) = vm.source(loader)? else {
            return Ok(());
        };
        if vm.info(loader)?.is_some_and(|info| !info.main) {
            self.shared = Some(copied(&name)?);
            self.read_loader(vm, loader)?;
        }
        self.add(name)
    }

    /// Notes what stands in one of the module's loaders, if other modules have its source name as
    /// well.
    pub fn read_loader(&mut self, vm: &mut Vm, loader: Ref) -> Result<()> {
        if !self.is_shared(vm, loader) {
            return Ok(());
        }
        if let Some(tree) = vm.tree_of(loader)? {
            for function in (0..tree.len()).filter_map(|number| tree.get(number)) {
                self.codes.try_insert_value(function.exact, ())?;
            }
        }
        Ok(())
    }

    /// May one of the module's own functions, as far as its source name tells, be another module's
    /// of the same bundle?
    pub fn is_shared(&self, vm: &Vm, function: Ref) -> bool {
        let shared = self.shared.as_deref();
        shared.is_some() && vm.with_source(function, |source| Some(source) == shared) == Some(true)
    }

    /// Is a function certainly the module's own: by its source name, or in a bundle by its code,
    /// lines included?
    pub fn is_certain(&self, vm: &mut Vm, function: Ref) -> Result<bool> {
        if !self.is_shared(vm, function) {
            return Ok(true);
        }
        let tree = vm.tree_of(function)?;
        let exact = tree.and_then(|tree| Some(tree.get(0)?.exact));
        Ok(exact.is_some_and(|exact| self.codes.contains(&exact)))
    }

    /// Of functions of the module's own that stand in one place those that are certainly its own;
    /// all where none is.
    pub fn certain<T>(
        &self,
        vm: &mut Vm,
        all: Vec<T>,
        function: impl Fn(&T) -> Option<Ref>,
    ) -> Result<Vec<T>> {
        if self.shared.is_none() {
            return Ok(all);
        }
        let (mut certain, mut doubtful) = (Vec::new(), Vec::new());
        for item in all {
            let is_certain = match function(&item) {
                Some(function) => self.is_certain(vm, function)?,
                None => false,
            };
            (if is_certain {
                &mut certain
            } else {
                &mut doubtful
            })
            .try_push(item)?;
        }
        Ok(if certain.is_empty() {
            doubtful
        } else {
            certain
        })
    }

    /// Is no name known?
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Is it one of the module's source names?
    pub fn has(&self, name: &[u8]) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// Is the function, of which `info` is known, the module's own?
    #[inline]
    pub fn owns(&mut self, vm: &Vm, function: Ref, info: &Info) -> Result<bool> {
        if !info.lua {
            return Ok(false);
        }
        match self.last {
            Some((source, own)) if source == info.source => Ok(own),
            _ => self.looks_up(vm, function, info),
        }
    }

    /// The same where nothing is known of the function yet.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn has_function(&mut self, vm: &mut Vm, function: Ref) -> Result<bool> {
        let info = vm.info(function)?.unwrap_or_default();
        self.owns(vm, function, &info)
    }

    fn looks_up(&mut self, vm: &Vm, function: Ref, info: &Info) -> Result<bool> {
        if let Some(known) = self.known.get(&info.source) {
            self.last = Some((info.source, *known));
            return Ok(*known);
        }
        let own = vm
            .with_source(function, |source| self.has(source))
            .unwrap_or(false);
        self.known.try_insert_value(info.source, own)?;
        self.last = Some((info.source, own));
        Ok(own)
    }
}
