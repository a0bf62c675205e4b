//! What a repeat returns: the chunk goes on with the older registration's handle (R5.7).

use rustc_hash::FxHashSet;

use super::past::{SMALL, Write};
use super::repeat::Assignment;
use super::{Effects, GIVEN_DEPTH, OpenCall};
use crate::lua::calls::CallFrame;
use crate::lua::heap::Place;
use crate::lua::tracker::Creations;
use crate::lua::vm::{Kind, Ref, Vm};
use crate::lua::write;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// What a repeat was found to be, and what it wrote.
#[derive(Clone, Copy)]
struct Repeat<'a> {
    assignment: &'a Assignment,
    writes: &'a [Write],
}

impl Effects<'_> {
    /// The chunk goes on with what the older call had returned: its handle, its number.
    pub(super) fn give_older(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        call: &OpenCall,
        assignment: &Assignment,
        writes: &[Write],
    ) -> Result<()> {
        let repeat = Repeat { assignment, writes };
        for i in 0..frame.results() {
            let result = frame.result(vm, i)?;
            let Some(older) = self.older(vm, repeat, result)? else {
                self.turn_handle(vm, frame.made, call, repeat, result)?;
                continue;
            };
            if vm.kind(result) == Kind::Table {
                // The chunk may go on writing into it.
                let (number, _) = self.past.see_table(vm, older)?;
                self.handed.try_insert_value(number, ())?;
            }
            frame.set_result(vm, i, older);
        }
        Ok(())
    }

    /// What the older registration has in the place of what the repeat has made.
    fn older(&mut self, vm: &mut Vm, repeat: Repeat<'_>, value: Ref) -> Result<Option<Ref>> {
        let Repeat { assignment, writes } = repeat;
        // A number that the call made: a key, or what it counts with, before or after it has
        // counted.
        let is_counted = |result: i64| {
            writes.iter().any(|write| {
                let key = self.past.key(write.spot).and_then(|key| vm.integer(key));
                let counter = vm.integer(write.old).and_then(|_| vm.integer(write.new));
                key == Some(result)
                    || counter.is_some_and(|counter| {
                        counter == result || Some(counter) == result.checked_add(1)
                    })
            })
        };
        let val = vm.val(value);
        let older = match val.kind {
            Kind::Table | Kind::Function | Kind::Thread => assignment.old(val.addr),
            Kind::Number | Kind::String => {
                if vm.integer(value).is_some_and(|value| !is_counted(value)) {
                    return Ok(None);
                }
                let mut scalars = assignment.scalars.iter();
                let found = scalars.find(|(new, _)| vm.same(*new, value));
                found.map(|(_, old)| *old)
            }
            _ => None,
        };
        let is_own =
            older.is_some() && val.is_function() && self.ownership.has_function(vm, value)?;
        Ok(older.filter(|_| !is_own))
    }

    /// A handle that the call has placed nowhere, as a closure that ends the registration, is one
    /// of the older registration from now on: what it holds of the call's own is that one's.
    fn turn_handle(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        call: &OpenCall,
        repeat: Repeat<'_>,
        handle: Ref,
    ) -> Result<()> {
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut queue = Vec::new();
        queue.try_push((handle, GIVEN_DEPTH))?;
        while let Some((holder, depth)) = queue.pop() {
            let val = vm.val(holder);
            if depth == 0
                || !self.is_new(made, val)
                || call.given.nested.contains(&val.addr)
                || seen.try_insert_value(val.addr, ())?.is_some()
            {
                continue;
            }
            let mut places = Vec::new();
            if val.is_table() {
                for entry in vm.keep_some(holder, SMALL)?.iter() {
                    let (table, key) = (holder, entry.key);
                    places.try_push((Place::Value { table, key }, entry.value))?;
                }
            } else if val.is_function() && !self.ownership.has_function(vm, holder)? {
                let info = vm.info(holder)?.filter(|info| info.lua);
                for index in 1..=info.map_or(0, |info| info.upvalues) {
                    // A variable of the library's is none of the call's.
                    if !self.past.has_cell(vm.cell(holder, index)) {
                        let value = vm.upvalue_value(holder, index)?;
                        let function = holder;
                        places.try_push((Place::Upvalue { function, index }, value))?;
                    }
                }
            }
            for (place, value) in places {
                match self.older(vm, repeat, value)? {
                    Some(older) => write::put_while_loading(vm, self.permit, place, older)?,
                    None => queue.try_push((value, depth - 1))?,
                }
            }
        }
        Ok(())
    }
}
