//! Functions that the chunk lends to its own: `M.each(list, function(x) … end)` calls what it was
//! given, and nobody holds that afterwards.

use rustc_hash::FxHashMap;

use super::{Effects, Role};
use crate::lua::calls::{CallFrame, Callee};
use crate::lua::vm::Vm;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// Functions of the file that its main function gave to others of the module's own: the first and
/// last line of each.
#[derive(Default)]
pub(super) struct LentFunctions {
    /// Those that have not run, by address.
    waiting: FxHashMap<usize, (i32, i32)>,
    /// Those that ran since the main function's last call.
    ran: Vec<(i32, i32)>,
}

impl Effects<'_> {
    /// A function in Lua is entered, by the main function or not. What was lent and ran came to
    /// where the last load's came. One that asks the library may do something else in a reload, so
    /// of what is lent while it runs this is not known.
    pub(super) fn note_loans(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        callee: &Callee,
        (role, by_main): (Role, bool),
    ) -> Result<()> {
        if by_main {
            self.end_loans()?;
        }
        match role {
            Role::Between if !by_main => self.lent = LentFunctions::default(),
            Role::Own if by_main && frame.is_given_function() => {
                for arg in frame.arguments(vm)?.iter() {
                    let val = vm.val(arg);
                    if val.is_function() && frame.made.created(val.addr) {
                        let info = vm.info(arg)?.unwrap_or_default();
                        let lines = (info.line, info.last);
                        self.lent.waiting.try_insert_value(val.addr, lines)?;
                    }
                }
            }
            _ => {}
        }
        if let Some(lines) = self.lent.waiting.remove(&callee.addr) {
            self.lent.ran.try_push(lines)?;
        }
        Ok(())
    }

    /// Those that ran are known to have come to somebody.
    pub(super) fn end_loans(&mut self) -> Result<()> {
        self.functions.try_reserve(self.lent.ran.len())?;
        self.functions.append(&mut self.lent.ran);
        Ok(())
    }
}
