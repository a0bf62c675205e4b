//! Functions that the chunk lends to its own: `M.each(list, function(x) … end)` calls what it was
//! given, and nobody holds that afterwards.

use super::{Effects, Role};
use crate::lua::calls::{CallFrame, Callee};
use crate::lua::vm::Vm;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// A function of the file that its main function gave to another one of the module's own.
pub(super) struct LentFunction {
    /// First and last line.
    lines: (i32, i32),
    /// It ran since.
    has_run: bool,
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
            Role::Between if !by_main => self.lent.clear(),
            Role::Own if by_main => {
                for arg in frame.arguments(vm)?.iter() {
                    let val = vm.val(arg);
                    if val.is_function() && frame.made.created(val.addr) {
                        let info = vm.info(arg)?.unwrap_or_default();
                        let loan = LentFunction {
                            lines: (info.line, info.last),
                            has_run: false,
                        };
                        self.lent.try_insert_value(val.addr, loan)?;
                    }
                }
            }
            _ => {}
        }
        if let Some(loan) = self.lent.get_mut(&callee.addr) {
            loan.has_run = true;
        }
        Ok(())
    }

    /// Those that ran are known to have come to somebody.
    pub(super) fn end_loans(&mut self) -> Result<()> {
        let functions = &mut self.functions;
        for loan in self.lent.values().filter(|loan| loan.has_run) {
            functions.try_push(loan.lines)?;
        }
        self.lent.retain(|_, loan| !loan.has_run);
        Ok(())
    }
}
