//! R3.2: two coroutines that answer to each other run one function, in two versions. The running
//! one goes on, on variables that the file's functions share.
//!
//! ```lua
//! M.worker = coroutine.create(function() while true do coroutine.yield(handle()) end end)
//! ```

use super::{Edge, Pairer};
use crate::lua::vm::{Kind, Ref, Val};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// A coroutine that has begun to run a function that the edit may have changed: it goes on with the
/// code with which it began.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The number of the running function.
    pub f1: u32,
    /// The number of the file's.
    pub f2: u32,
    /// Where the coroutine stands.
    pub site: SiteId,
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
            let code = self.out.new.get(f2 as usize).map(|new| new.profile.digest);
            if has_begun && !code.is_some_and(|code| self.identity.had_code(code)) {
                self.out.begun.try_push(Begun { f1, f2, site })?;
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
