//! R3.2: two coroutines that answer to each other run one function, in two versions. The running
//! one goes on, on variables that the file's functions share.
//!
//! ```lua
//! M.worker = coroutine.create(function() while true do coroutine.yield(handle()) end end)
//! ```

use rustc_hash::FxHashSet;

use super::{Edge, Pairer};
use crate::lua::calls;
use crate::lua::vm::{Kind, Ref, Val};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush};

/// A function that a coroutine is in the midst of: it goes on with the code with which it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// The number of the function.
    f1: u32,
    /// Where the coroutine stands.
    site: SiteId,
}

impl Pairer<'_> {
    /// Did the load make coroutines, and can the value be one of them?
    pub(super) fn may_be_coroutine(&self, val: Val) -> bool {
        matches!(val.kind, Kind::Thread | Kind::Function) && !self.loaded.left.threads.is_empty()
    }

    /// Pairs the functions of two coroutines that stand in one place, if the file's is fresh.
    pub(super) fn pair_coroutines(&mut self, old: Ref, new: Ref, site: SiteId) -> Result<()> {
        let new = self.coroutine(new)?;
        let body = self
            .loaded
            .left
            .threads
            .get(&self.vm.val(new).addr)
            .copied();
        let Some(body) = body else {
            return Ok(());
        };
        let old = self.coroutine(old)?;
        if self.vm.kind(old) != Kind::Thread {
            return Ok(());
        }
        let Some((running, has_begun)) = self.vm.body_of(old)? else {
            return Ok(()); // it has ended
        };
        let numbers = (self.function1(running, site)?, self.function2(body, site)?);
        if let (Some(f1), Some(f2)) = numbers
            && self.out.old.get(f1 as usize).is_some_and(|old| old.own)
            && !self.are_others(running, body)
        {
            self.edge(Edge { f1, f2 })?;
        }
        if has_begun {
            let (mut functions, mut locals) = (Vec::new(), Vec::new());
            if !calls::activations(self.vm, old, &mut functions, &mut locals)? {
                let path = self.out.sites.path(self.vm, &self.context.title, site);
                self.vm.limits.meet(
                    "the coroutine is more than {} calls deep, and its outer functions may go on \
                     with old code; look at hotreload.stale (R3.13)",
                    calls::MOST_LEVELS as usize,
                    Where::Named(path),
                )?;
            }
            for function in functions {
                if let Some(f1) = self.function1(function, site)? {
                    self.begun.try_push(Begun { f1, site })?;
                }
            }
        }
        Ok(())
    }

    /// Warns of functions that the edit has changed and a coroutine is in the midst of.
    pub(super) fn warn_of_begun(&mut self) -> Result<()> {
        let mut told = FxHashSet::default();
        for Begun { f1, site } in std::mem::take(&mut self.begun) {
            if told.try_insert_value(f1, ())?.is_some() {
                continue;
            }
            self.know_code(f1)?;
            let old = self.out.old.get(f1 as usize);
            let new = old.and_then(|old| self.out.new.get(*old.answers.first()? as usize));
            let (Some(old), Some(new)) = (old.filter(|old| old.own), new) else {
                continue;
            };
            let (code, edited) = (old.profile.map(|old| old.digest), new.profile.digest);
            let is_same = code.is_some_and(|code| code.is_equal(edited) != Some(false));
            if !is_same && !self.identity.had_code(edited) {
                let path = self.out.sites.path(self.vm, &self.context.title, site);
                self.out.warnings.try_push(format!(
                    "{path}: the coroutine goes on with its old code until it ends; start another \
                     one in __hotfix, or let its loop call functions of the module"
                ))?;
            }
        }
        Ok(())
    }

    /// The coroutine itself, or the one that a function of `coroutine.wrap` resumes.
    fn coroutine(&mut self, value: Ref) -> Result<Ref> {
        match self.vm.is_c_function(value) {
            Some(_) => self.vm.upvalue_value(value, 1),
            None => Ok(value),
        }
    }
}
