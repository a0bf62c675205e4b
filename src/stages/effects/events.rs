//! Who calls whom while the chunk runs, and what becomes of a function that is entered.

use super::closing::Ending;
use super::standard::Use;
use super::{Activation, Effects, MOST_NAMED, Role, copied_text, text};
use crate::lua::calls::{CallFrame, Callee};
use crate::lua::tracker::Creations;
use crate::lua::vm::{Kept, Kind, Ref, Vm};
use crate::lua::{open, protected};
use crate::support::error::Result;
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, copied};

impl Effects<'_> {
    /// What runs on the coroutine of an event. Others that were active above it have yielded, or
    /// ended.
    pub(super) fn on_coroutine(&mut self, vm: &mut Vm, frame: &CallFrame<'_>) -> Result<()> {
        let made = frame.made;
        let thread = frame.thread();
        if self.active.iter().any(|(active, _)| *active == thread) {
            while self
                .active
                .last()
                .is_some_and(|(active, _)| *active != thread)
            {
                while self.running().is_some_and(|running| !running.is_empty()) {
                    self.leave(vm, made, None, Ending::Yielded)?;
                }
                self.active.pop();
            }
            return Ok(());
        }
        self.active.try_push((thread, Vec::new()))
    }

    pub(super) fn running(&mut self) -> Option<&mut Vec<Activation>> {
        self.active.last_mut().map(|(_, running)| running)
    }

    /// Was a function called by the one that was entered last? Then nothing has been unwound.
    pub(super) fn is_called_by_last(&self, frame: &CallFrame<'_>) -> bool {
        let running = self.active.last().and_then(|(_, running)| running.last());
        let last = running.filter(|last| last.role != Role::Between);
        last.is_some_and(|last| frame.is_called_by(last.addr))
    }

    /// An activation of the running coroutine ends, and with it the calls that began in it.
    pub(super) fn leave(
        &mut self,
        vm: &mut Vm,
        made: Creations<'_>,
        frame: Option<&CallFrame<'_>>,
        ending: Ending,
    ) -> Result<()> {
        let Some(ended) = self.running().and_then(Vec::pop) else {
            return Ok(());
        };
        while self.open.len() > ended.calls {
            self.close(vm, made, frame, ending)?;
        }
        if ended.dependency {
            made.dependency(-1);
        }
        Ok(())
    }

    /// What an error has unwound is no longer running: down to the function at this address, if it
    /// is.
    pub(super) fn unwind(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        addr: usize,
    ) -> Result<bool> {
        let Some(running) = self.running() else {
            return Ok(false);
        };
        if !running.iter().any(|activation| activation.addr == addr) {
            return Ok(false);
        }
        while self.running().is_some_and(|running| {
            running
                .last()
                .is_some_and(|activation| activation.addr != addr)
        }) {
            self.leave(vm, frame.made, None, Ending::Raised)?;
        }
        Ok(true)
    }

    /// The nearest function in Lua that is running.
    pub(super) fn caller(&self) -> Option<Role> {
        self.nearest().map(|activation| activation.role)
    }

    /// Is it the main function of the chunk that calls?
    pub(super) fn is_called_by_main(&self) -> bool {
        let nearest = self.nearest();
        nearest.is_some_and(|nearest| nearest.addr == self.chunk_at.1)
    }

    fn nearest(&self) -> Option<&Activation> {
        let mut running = self
            .active
            .iter()
            .rev()
            .flat_map(|(_, running)| running.iter().rev());
        running.find(|activation| activation.role != Role::Between)
    }

    fn is_within_dependency(&self) -> bool {
        let mut running = self.active.iter().flat_map(|(_, running)| running);
        running.any(|activation| activation.dependency)
    }

    pub(super) fn role(&self, frame: &CallFrame<'_>, callee: &Callee) -> Role {
        if callee.addr == self.chunk_at.1 {
            return Role::Own;
        }
        if callee.is_c {
            return Role::Between;
        }
        frame.with_source(|source| match source {
            b"=hotreload" => Role::Between,
            _ if self.ownership.has(source) => Role::Own,
            _ => Role::Other,
        })
    }

    /// Does the function load a module that is not loaded? Such a loader has the module's name for
    /// its first argument.
    fn loads(
        &self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        callee: &Callee,
        args: Kept<Ref>,
    ) -> Result<bool> {
        let ([first], count) = (args.all(), args.len());
        if !callee.is_c && !callee.is_main {
            // A loader of "package.preload", which may have no parameters, or a searcher.
            return Ok(self.is_from_require(frame));
        }
        if count == 0
            || vm.kind(first) != Kind::String
            || callee.is_c && (count != 2 || !self.is_from_require(frame))
        {
            return Ok(false);
        }
        // A string that is run (`load(template)("name")`) is no module; a file with one argument
        // may be.
        let is_file = count > 1 || frame.with_source(|source| source.starts_with(b"@"));
        if !is_file || vm.raw_equal(first, self.context.name) {
            return Ok(false);
        }
        let loaded = vm.get(self.context.loaded, first)?;
        Ok(!vm.truthy(loaded))
    }

    fn is_from_require(&self, frame: &CallFrame<'_>) -> bool {
        let caller = frame.caller();
        caller.is_some_and(|caller| self.standard.is_require(caller))
    }

    /// A function in Lua is entered. False where nothing of what it has shown is kept.
    pub(super) fn enter_lua(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        callee: &Callee,
        activation: &mut Activation,
        caller: Option<Role>,
    ) -> Result<bool> {
        let is_other = activation.role == Role::Other;
        let begins = is_other && caller == Some(Role::Own);
        let may_load = is_other && (callee.is_main || self.is_from_require(frame));
        let is_older =
            activation.role == Role::Own && !callee.is_main && !frame.made.created(callee.addr);
        if is_older
            && self.open.is_empty()
            && self.older.try_insert_value(callee.addr, ())?.is_none()
        {
            // The chunk calls the running module: what that changes is the chunk's own work, and
            // goes beyond what the file's names say.
            let args = frame.arguments(vm)?;
            self.enter(vm, frame, callee, args)?;
            return Ok(true);
        }
        if activation.role == Role::Between || !begins && self.open.is_empty() && !may_load {
            return Ok(false);
        }
        let args = frame.arguments(vm)?;
        if may_load {
            if self.loads(vm, frame, callee, args)? {
                activation.dependency = true;
                frame.made.dependency(1);
            } else if args
                .iter()
                .next()
                .is_some_and(|arg| vm.raw_equal(arg, self.context.name))
            {
                // The module's code, run by a loader of the program's.
                activation.role = Role::Own;
                self.ownership.add(frame.with_source(copied)?)?;
            }
        }
        if begins && activation.role == Role::Other {
            self.begin(vm, frame, args)?;
            if let Some(call) = self.open.last_mut() {
                call.loads = activation.dependency;
            }
        }
        if self.open.is_empty() {
            return Ok(false);
        }
        self.enter(vm, frame, callee, args)?;
        Ok(true)
    }

    /// A function in C is entered. False where nothing of what it has shown is kept.
    pub(super) fn enter_c(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        callee: &Callee,
        activation: &mut Activation,
    ) -> Result<bool> {
        if open::is_part(callee.addr) {
            return Ok(false);
        }
        let program = (self.context, self.snapshot);
        match self.standard.what(vm, program, callee.addr)? {
            Some(Use::Plain | Use::Require) => Ok(false),
            Some(Use::Yields) => {
                if frame.thread() == self.chunk_at.0 {
                    self.open.iter_mut().for_each(|call| call.yields = true);
                }
                Ok(false)
            }
            Some(Use::Resumes) => {
                let [thread] = frame.arguments(vm)?.all();
                if vm.kind(thread) == Kind::Thread {
                    self.resume(vm, frame.made, thread)?;
                    return Ok(true);
                }
                Ok(false)
            }
            Some(Use::Walks) => self.walk(vm, frame),
            Some(Use::Creates) => {
                activation.body = frame.arguments(vm)?.iter().next();
                Ok(true)
            }
            Some(Use::Writes(which)) => {
                let args = frame.arguments(vm)?;
                let mut is_kept = false;
                for i in which.iter().copied().filter(|i| *i < args.len()) {
                    let written = args.at(i);
                    if vm.kind(written) == Kind::Table && !frame.made.created(vm.val(written).addr)
                    {
                        let number = self.touch_table(vm, written)?.0;
                        self.look_before(vm, written, number)?;
                        if let Some(call) = self.open.last_mut() {
                            call.all_of.try_insert_value(number, ())?;
                        }
                        is_kept = true;
                    }
                }
                Ok(is_kept)
            }
            None => {
                self.enter_external_c(vm, frame, callee, activation)?;
                Ok(true)
            }
        }
    }

    /// The chunk itself walks over a table: it may change every entry, and what stands there.
    pub(super) fn walk(&mut self, vm: &mut Vm, frame: &CallFrame<'_>) -> Result<bool> {
        if !self.open.is_empty() || self.caller() != Some(Role::Own) {
            return Ok(false);
        }
        let [table] = frame.arguments(vm)?.all();
        let val = vm.val(table);
        let is_known = self.past.number(val.addr).is_some()
            || self.context.skip.contains(&val.addr)
            || [self.context.globals, self.context.loaded]
                .iter()
                .any(|one| vm.val(*one) == val);
        if !val.is_table() || is_known || frame.made.created(val.addr) {
            return Ok(false);
        }
        let (number, _) = self.past.see_table(vm, table)?;
        self.remember_behind(vm, frame.made, number)?;
        Ok(true)
    }

    /// A function in C that is not of the standard library.
    fn enter_external_c(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
        callee: &Callee,
        activation: &mut Activation,
    ) -> Result<()> {
        if self.standard.is_of_buffer(vm, callee.addr)? {
            return Ok(());
        }
        let function = frame.function(vm)?;
        if vm
            .upvalue(function, 1)
            .is_some_and(|upvalue| upvalue.value.kind == Kind::Thread)
        {
            let thread = vm.upvalue_value(function, 1)?; // what `coroutine.wrap` made
            return self.resume(vm, frame.made, thread);
        }
        let args = frame.arguments(vm)?;
        if self.loads(vm, frame, callee, args)? {
            activation.dependency = true;
            frame.made.dependency(1);
            return Ok(());
        }
        if protected::is_handler(callee.addr) {
            // The chunk fails. While its locals are there, they name its calls and the functions
            // that these were given.
            let mut open = std::mem::take(&mut self.open);
            for call in &mut open {
                call.label = Some(self.label(vm, frame.made, call)?);
            }
            self.open = open;
            return Ok(());
        }
        let (name, what) = self.name(vm, frame)?;
        if what == "for iterator" || self.is_within_dependency() || frame.is_within_library() {
            return Ok(());
        }
        let is_own = self.caller() == Some(Role::Own);
        if self.open.is_empty() && !is_own {
            return Ok(());
        }
        let name = match name.is_empty() {
            true => String::from("a function in C"),
            false => text::callee(vm, function, args, (&name, what), self.chunk_at)?,
        };
        let (file, line) = frame.place();
        let ran = format!("{file}:{line}: {name}");
        if let Some(call) = self.open.last_mut() {
            call.c_function
                .get_or_insert(format!("{name} ({file}:{line})"));
        } else {
            let text = format!("{name} ({file}:{line})");
            if !self.calls.irrevocable.contains(&text) {
                self.calls.irrevocable.try_push(text)?;
            }
        }
        if !self.calls.ran.contains(&ran) {
            self.calls.ran.try_push(ran)?;
        }
        Ok(())
    }

    /// How the caller names a function. Lua reads the caller's code for that, up to the call: with
    /// many calls the name that a function had before does.
    pub(super) fn name(
        &mut self,
        vm: &mut Vm,
        frame: &CallFrame<'_>,
    ) -> Result<(String, &'static str)> {
        let addr = frame.address();
        self.named += 1;
        if self.named > MOST_NAMED
            && let Some((name, what)) = self.names_of_callees.get(&addr)
        {
            if self.several_names.contains(&addr) {
                vm.limits.meet(
                    "only of the first {} calls it is known by which of its names each function \
                     was called; call it by one (R5.8)",
                    MOST_NAMED as usize,
                    Where::Module,
                )?;
            }
            return Ok((copied_text(name)?, what));
        }
        let (name, what) = frame.name();
        let known = (copied_text(&name)?, what);
        let former = self.names_of_callees.try_insert_value(addr, known)?;
        if former.is_some_and(|(former, kind)| former != name || kind != what) {
            self.several_names.try_insert_value(addr, ())?;
        }
        Ok((name, what))
    }
}
