//! What a call out of the module can change: it is remembered before the call's functions run.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::past::{SMALL, Write};
use super::repeat::CallArguments;
use super::{Effects, GIVEN_DEPTH, Logged, MOST_GIVEN, MOST_TABLES, OpenCall, Role};
use crate::code::Chunk;
use crate::lua::calls::{self, CallFrame, Callee};
use crate::lua::tracker::Creations;
use crate::lua::vm::{DebugInfo, Kept, KeyValue, Kind, Ref, Vm};
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, copied};

/// A digest of two, in their order.
fn mixed(first: u64, second: u64) -> u64 {
    (first.rotate_left(23) ^ second).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Effects<'_> {
    /// A call out of the module begins.
    pub(super) fn begin(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        args: Kept<Ref>,
    ) -> Result<()> {
        self.settle(vm)?;
        let mut call = OpenCall {
            place: frame.place(),
            name: self.name(vm, frame)?,
            function: frame.function(vm)?,
            args,
            by_main: self.is_called_by_main(),
            ..OpenCall::default()
        };
        for arg in args.iter() {
            let digest = self.give(vm, frame.made, &mut call.given, arg, GIVEN_DEPTH)?;
            call.given.digest = mixed(call.given.digest, digest);
            let val = vm.val(arg);
            if matches!(val.kind, Kind::String | Kind::Number) {
                call.given.direct.try_insert_value(vm.key_hash(arg), ())?;
            }
            if val.is_function() && frame.made.created(val.addr) {
                let info = vm.info(arg)?.unwrap_or_default();
                self.functions.try_push((info.line, info.last))?;
            }
            if val.is_table() && frame.made.created(val.addr) {
                call.given.tables.try_insert_value(val.addr, ())?;
            }
        }
        self.open.try_push(call)
    }

    /// Notes what a call is given. Returns a digest of what is plain in it.
    fn give(
        &self,
        vm: &mut Vm,
        made: Creations<'_>,
        given: &mut CallArguments,
        value: Ref,
        depth: u32,
    ) -> Result<u64> {
        let val = vm.val(value);
        match val.kind {
            Kind::Nil => {}
            Kind::Table | Kind::Function | Kind::Thread if self.is_new(made, val) => {
                given.held.try_push(value)?;
                if !val.is_table() || depth == 0 {
                    return Ok(0);
                }
                given.nested.try_insert_value(val.addr, ())?;
                let mut digest = 0u64;
                let entries = vm.keep_some(value, MOST_GIVEN)?;
                given.is_cut |= entries.len() as usize == MOST_GIVEN;
                for KeyValue { key, value } in entries.iter() {
                    if vm.kind(key) == Kind::String {
                        given.give(vm, key)?;
                    }
                    let held = self.give(vm, made, given, value, depth - 1)?;
                    let entry = mixed(vm.digest(key).unwrap_or_default(), held);
                    digest = digest.wrapping_add(entry); // in no order
                }
                return Ok(digest);
            }
            _ => given.give(vm, value)?,
        }
        Ok(vm.digest(value).unwrap_or_default())
    }

    /// A table may be changed by the innermost call. Returns its number, and whether that is news.
    pub(super) fn touch_table(&mut self, vm: &mut Vm, table: Ref) -> Result<(u32, bool)> {
        let (number, is_first) = self.past.see_table(vm, table)?;
        let Some(call) = self.open.last_mut() else {
            return Ok((number, is_first));
        };
        if call.touched_set.try_insert_value(number, ())?.is_some() {
            return Ok((number, false));
        }
        call.touched.try_push(number)?;
        if !is_first {
            let mut writes = Vec::new();
            self.look(vm, number, &mut writes)?;
            self.log_own(writes)?;
        }
        Ok((number, true))
    }

    pub(super) fn log_own(&mut self, writes: Vec<Write>) -> Result<()> {
        writes
            .into_iter()
            .try_for_each(|write| self.log.try_push(Logged::Own(write)))
    }

    /// Looks anew at what the innermost call may have changed in a table.
    pub(super) fn look(&mut self, vm: &mut Vm, number: u32, writes: &mut Vec<Write>) -> Result<()> {
        let is_small = self.past.is_whole(number) && self.past.len(number) <= SMALL;
        let all = self
            .open
            .last()
            .is_some_and(|call| call.all_of.contains(&number));
        if self.past.is_whole(number) && (is_small || all || self.past.is_shifted(vm, number)?) {
            return self.past.look_at_all(vm, number, writes);
        }
        let keys = self.keys(vm, number)?;
        self.past.look_under(vm, number, &keys, writes)
    }

    /// A table that the file can name is going to be compared whole: what the chunk itself has
    /// written there before is no work of the call's.
    pub(super) fn look_before(&mut self, vm: &mut Vm, table: Ref, number: u32) -> Result<()> {
        let is_named = self.snapshot.entries(vm.val(table).addr).is_some();
        let is_known = |call: &OpenCall| call.all_of.contains(&number);
        if !is_named || !self.past.is_whole(number) || self.open.last().is_none_or(is_known) {
            return Ok(());
        }
        let (mut by_call, mut own) = (Vec::new(), Vec::new());
        self.look(vm, number, &mut by_call)?;
        self.past.look_at_all(vm, number, &mut own)?;
        if let Some(call) = self.open.last_mut() {
            call.writes.try_reserve(by_call.len())?;
            call.writes.extend(by_call);
        }
        self.log_own(own)
    }

    /// The keys under which the innermost call may write into a large table: what its functions'
    /// code names, what it was given, numbers that its variables hold, and the end of the list
    /// (and the places above it, where the list is a heap).
    fn keys(&self, vm: &mut Vm, number: u32) -> Result<Vec<Ref>> {
        let mut keys = Vec::new();
        let Some(call) = self.open.last() else {
            return Ok(keys);
        };
        for function in &call.entered {
            if let Some(constants) = self.constants.get(function) {
                for constant in constants.iter() {
                    keys.try_push(constant)?;
                }
            }
        }
        keys.try_reserve(call.given.held.len())?;
        keys.extend_from_slice(&call.given.held);
        for cell in &call.cells {
            let (function, index) = self.past.cell(*cell);
            for value in [
                self.past.cell_now(*cell),
                vm.upvalue_value(function, index)?,
            ] {
                if vm.val(value).addr != 0 || vm.integer(value).is_some() {
                    keys.try_push(value)?;
                }
            }
        }
        for table in call
            .touched
            .iter()
            .filter(|table| self.past.len(**table) <= SMALL)
        {
            for (_, key, now) in self.past.entries(*table) {
                if vm.integer(now).is_some() && vm.kind(key) == Kind::String {
                    keys.try_push(now)?;
                    keys.try_push(key)?;
                }
            }
        }
        // What was appended, or taken off, since the table was looked at last.
        let (before, now) = (
            self.past.border(number),
            vm.raw_len(self.past.table(number)),
        );
        for i in before.min(now) + 1..=before.max(now) {
            keys.try_push(vm.number(i)?)?;
        }
        let mut next = now + 1;
        while next > 0 {
            keys.try_push(vm.number(next)?)?;
            keys.try_push(vm.number(next - 1)?)?;
            next /= 2;
        }
        Ok(keys)
    }

    /// Notes what the innermost call has changed so far.
    pub(super) fn settle(&mut self, vm: &mut Vm) -> Result<()> {
        let Some(call) = self.open.last() else {
            return Ok(());
        };
        let (tables, cells) = (copied(&call.touched)?, copied(&call.cells)?);
        let mut writes = Vec::new();
        for cell in cells {
            self.past.look_at_cell(vm, cell, &mut writes)?;
        }
        for table in tables {
            self.look(vm, table, &mut writes)?;
        }
        if let Some(call) = self.open.last_mut() {
            call.writes.try_reserve(writes.len())?;
            call.writes.extend(writes);
        }
        Ok(())
    }

    /// A function in Lua is entered within a call: what it can change is remembered before it runs.
    pub(super) fn enter(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        callee: &Callee,
        args: Kept<Ref>,
    ) -> Result<()> {
        let is_own_new = frame.made.created(callee.addr) && self.role(frame, callee) == Role::Own;
        let mut queue = VecDeque::new();
        for arg in args.iter() {
            queue.try_push(arg)?;
        }
        if is_own_new && let Some(call) = self.open.last_mut() {
            call.runs_file = true;
        }
        let is_known = self
            .open
            .last()
            .is_some_and(|call| call.entered.contains(&callee.addr));
        if !is_known && !is_own_new {
            let function = frame.function(vm)?;
            self.enter_function(vm, frame.made, (function, callee.addr), &mut queue)?;
        }
        self.reach(vm, frame.made, queue)
    }

    /// Remembers the variables of a function that the innermost call enters, and queues what they
    /// hold.
    fn enter_function(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        (function, addr): (Ref, usize),
        queue: &mut VecDeque<Ref>,
    ) -> Result<()> {
        let upvalues = vm.info(function)?.map_or(0, |info| info.upvalues);
        for i in 1..=upvalues {
            let cell = self.past.see_cell(vm, function, i)?;
            let is_first = match self.open.last_mut() {
                Some(call) => call.cells_set.try_insert_value(cell, ())?.is_none(),
                None => false,
            };
            if is_first {
                let mut writes = Vec::new();
                self.past.look_at_cell(vm, cell, &mut writes)?;
                self.log_own(writes)?;
                if let Some(call) = self.open.last_mut() {
                    call.cells.try_push(cell)?;
                }
            }
            queue.try_push(self.past.cell_now(cell))?;
        }
        self.read_constants(vm, function, addr, made)?;
        if let Some(call) = self.open.last_mut() {
            call.entered.try_insert_value(addr, ())?;
        }
        Ok(())
    }

    /// A coroutine is resumed: its functions go on without being entered. What they can change is
    /// remembered, once in each call.
    pub(super) fn resume(&mut self, vm: &mut Vm, made: Creations<'_>, thread: Ref) -> Result<()> {
        calls::follow(vm, thread)?;
        let addr = vm.val(thread).addr;
        let resumed = self
            .open
            .last_mut()
            .map_or(&mut self.resumed, |call| &mut call.entered);
        if resumed.try_insert_value(addr, ())?.is_some() {
            return Ok(());
        }
        let (mut functions, mut locals) = (Vec::new(), Vec::new());
        if !calls::activations(vm, thread, &mut functions, &mut locals)? {
            self.meet_limit(
                vm,
                made,
                "a coroutine is resumed that is more than {} calls deep, and what the outer ones \
                 change is not put back; guard it with hotreload.reloading() (R2.7)",
                calls::MOST_LEVELS as usize,
            )?;
        }
        let mut queue = VecDeque::new();
        for function in functions {
            let info = vm.info(function)?.unwrap_or_default();
            let addr = vm.val(function).addr;
            if info.lua && !(made.created(addr) && self.ownership.owns(vm, function, &info)?) {
                self.enter_function(vm, made, (function, addr), &mut queue)?;
            }
        }
        for local in locals {
            queue.try_push(local)?;
        }
        self.reach(vm, made, queue)
    }

    /// The strings and integers of a function's code.
    fn read_constants(
        &mut self,
        vm: &mut Vm,
        function: Ref,
        addr: usize,
        made: Creations<'_>,
    ) -> Result<()> {
        if self.constants.contains_key(&addr) && !made.created(addr) {
            return Ok(());
        }
        let chunk = match vm.dump(function, DebugInfo::Strip) {
            Ok(_) => Chunk::read(vm.take_dump(), vm.secret())?,
            Err(_) => None,
        };
        let mark = vm.held();
        if let Some(chunk) = chunk {
            vm.strings(chunk.names())?;
            for integer in &chunk.integers {
                vm.number(*integer)?;
            }
        }
        self.constants.try_insert_value(addr, vm.kept_since(mark))?;
        Ok(())
    }

    /// Remembers the tables to which values lead, nearest first.
    fn reach(&mut self, vm: &mut Vm, made: Creations<'_>, mut queue: VecDeque<Ref>) -> Result<()> {
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let (mut looked_at, mut is_cut) = (0, false);
        while let Some(value) = queue.pop_front() {
            let val = vm.val(value);
            if !matches!(val.kind, Kind::Table | Kind::Userdata) {
                continue;
            }
            if val.addr == vm.val(self.context.loaded).addr
                || self.context.skip.contains(&val.addr)
                || seen.try_insert_value(val.addr, ())?.is_some()
            {
                continue;
            }
            if looked_at == MOST_TABLES {
                is_cut = true;
                break;
            }
            looked_at += 1;
            let metatable = vm.metatable(value)?;
            queue.try_push(metatable)?;
            if !val.is_table() {
                continue;
            }
            if made.created(val.addr) {
                for held in vm.keep_some(value, SMALL)?.flat().iter() {
                    queue.try_push(held)?;
                }
                continue;
            }
            let is_globals = val == vm.val(self.context.globals);
            let (number, is_news) = self.touch_table(vm, value)?;
            let is_small = self.past.is_whole(number) && self.past.len(number) <= SMALL;
            if is_small && !is_globals {
                for (_, key, now) in self.past.entries(number) {
                    queue.try_push(key)?;
                    queue.try_push(now)?;
                }
                continue;
            }
            let keys = self.keys(vm, number)?;
            let is_whole = self.past.is_whole(number);
            if !is_whole && is_news {
                self.note_beyond(vm, made)?;
            }
            for key in keys {
                if vm.kind(key) != Kind::Nil {
                    if !is_whole {
                        self.past.look_ahead(vm, number, key)?;
                    }
                    queue.try_push(vm.get(value, key)?)?;
                }
            }
            if is_news
                && !is_globals
                && self.past.is_whole(number)
                && self.past.has_more_behind(number)
            {
                // The rest is remembered as well, but not looked at in each call.
                self.remember_behind(vm, made, number)?;
            }
        }
        if is_cut {
            self.meet_limit(
                vm,
                made,
                "it leads to more than {} tables, and what it changes in further ones is not put \
                 back; guard it with hotreload.reloading() (R2.10)",
                MOST_TABLES,
            )?;
        }
        Ok(())
    }

    /// Notes a limit that was met within the innermost call.
    pub(super) fn meet_limit(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        text: &'static str,
        number: usize,
    ) -> Result<()> {
        let Some(call) = self.open.pop() else {
            return vm.limits.meet(text, number, Where::Module);
        };
        let place = self.place_of_call(vm, made, &call)?;
        self.open.try_push(call)?;
        vm.limits.meet(text, number, Where::Named(place))
    }

    /// The innermost call can change more than is remembered.
    fn note_beyond(&mut self, vm: &mut Vm, made: Creations<'_>) -> Result<()> {
        let Some(call) = self.open.pop() else {
            return Ok(());
        };
        let text = self.place_of_call(vm, made, &call)?;
        if !self.calls.beyond.contains(&text) {
            self.calls.beyond.try_push(text)?;
        }
        self.open.try_push(call)
    }

    /// Remembers the tables to which a large one leads.
    pub(super) fn remember_behind(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        number: u32,
    ) -> Result<()> {
        let mut queue = VecDeque::new();
        queue.try_push(number)?;
        while let Some(number) = queue.pop_front() {
            if !self.past.is_whole(number) {
                return self.note_beyond(vm, made);
            }
            let mut tables = Vec::new();
            for (_, key, now) in self.past.entries(number).skip(self.past.behind(number)) {
                for value in [key, now] {
                    let val = vm.val(value);
                    let is_old_table = val.is_table()
                        && !made.created(val.addr)
                        && !self.context.skip.contains(&val.addr);
                    if is_old_table
                        && ![self.context.globals, self.context.loaded]
                            .map(|t| vm.val(t))
                            .contains(&val)
                    {
                        tables.try_push(value)?;
                    }
                }
            }
            self.past.note_behind(number);
            for table in tables {
                let (number, is_first) = self.past.see_table(vm, table)?;
                if is_first {
                    queue.try_push(number)?;
                }
            }
        }
        Ok(())
    }
}
