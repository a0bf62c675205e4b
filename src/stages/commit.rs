//! R7.1: carries out a plan, all of it or nothing.

use super::plan::Plan;
use crate::lua::vm::Vm;
use crate::lua::write::{self, Permit, Writes};
use crate::support::error::Result;

/// Carries out the whole plan, or nothing of it.
///
/// # Errors
/// [`Error::Memory`](crate::support::error::Error::Memory), with everything undone;
/// [`Error::PutBack`](crate::support::error::Error::PutBack) when that failed.
pub fn commit(vm: &mut Vm, permit: Permit, plan: &Plan) -> Result<()> {
    let writes = Writes {
        joins: &plan.joins,
        disarm: &plan.disarm,
        fresh: &plan.own,
        ops: &plan.ops,
    };
    write::apply_whole(vm, permit, &writes)
}

/// For a plan that is not carried out: takes the metatables off the incoming copies of tables that
/// the running version has, as [`commit`] does.
pub fn disarm(vm: &mut Vm, permit: Permit, plan: &Plan) {
    write::disarm(vm, permit, &plan.disarm);
}
