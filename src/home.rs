//! Which functions are the module's own: *home* functions (of any generation); every other function is foreign.

use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::mem::{TryInsert, TryPush};
use crate::raw::vm::{Info, Ref, Vm};

/// The module's source names.
#[derive(Default)]
pub struct Home {
    names: Vec<Vec<u8>>,
    /// Answers by the address of a source name: a chunk's functions share one. They are good until the program's code runs.
    known: FxHashMap<usize, bool>,
    /// The last answer: those of one chunk come in a row.
    last: Option<(usize, bool)>,
    /// [`Vm::calls`] when these were noted.
    calls: u32,
}

impl Home {
    /// Counts one more source name as the module's own.
    pub fn add(&mut self, name: Vec<u8>) -> Result<()> {
        if !self.names.contains(&name) {
            self.names.try_push(name)?;
            self.forget_addresses();
        }
        Ok(())
    }

    /// Forgets what is known by address, where the program's code has run: the name of a function that was collected may have left its
    /// address to another one.
    pub fn forget_addresses(&mut self) {
        self.known.clear();
        self.last = None;
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
        if self.calls != vm.calls() {
            self.forget_addresses();
            self.calls = vm.calls();
        }
        match self.last {
            Some((source, own)) if source == info.source => Ok(own),
            _ => self.looks_up(vm, function, info),
        }
    }

    fn looks_up(&mut self, vm: &Vm, function: Ref, info: &Info) -> Result<bool> {
        if let Some(known) = self.known.get(&info.source) {
            self.last = Some((info.source, *known));
            return Ok(*known);
        }
        let own = vm.with_source(function, |source| self.has(source)).unwrap_or(false);
        self.known.try_insert_value(info.source, own)?;
        self.last = Some((info.source, own));
        Ok(own)
    }
}
