//! What the code that A2's chunk calls does to what existed before (R2.7 to R2.10, R5.5).
//!
//! A hook sees each call while the chunk runs. Before a function of outside runs, what it can
//! change is remembered. When a *call out of the module* has ended, what it changed is known. If
//! all of that is there already (`bus.on("hit", M.on_hit)` runs again), the call is a *repeat*: it
//! is taken back at once, the function that stands there gets the file's code, and the chunk goes
//! on with what the older call had returned. All else is kept. At the end of the chunk everything
//! is put back, kept or not; what is kept is a list of operations for the commit.

mod names;
mod past;
mod repeat;
mod standard;
mod text;

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Chunk;
use crate::lua::calls::{self, Callee, Frame, Watcher};
use crate::lua::heap::Place;
use crate::lua::protected;
use crate::lua::tracker::Made;
use crate::lua::vm::{DebugInfo, Kept, KeyValue, Kind, Ref, Val, Vm};
use crate::lua::write::{self, Op, Permit};
use crate::model::lineage::Lineage;
use crate::model::ownership::Ownership;
use crate::stages::find::Context;
use crate::stages::snapshot::{Change, Snapshot};
use crate::support::error::Result;
use crate::support::fault;
use crate::support::mem::{TryInsert, TryPush, copied};

use names::{Names, Sources};
pub use past::Past;
use past::{SMALL, Spot, Write};
use repeat::{Assignment, Given, Holders, Search, Spotted, Standing};
use standard::{Standard, Use};

/// Entries of tables that are remembered in one load.
const BUDGET: usize = 200_000;
/// Tables that one entered function leads to, at most.
const MOST_TABLES: usize = 2_048;
/// Entries that are looked at in one load for what a call has placed where that is not looked for.
const MOST_SEARCHED: usize = 200_000;
/// Calls in one load for which Lua is asked how the caller names the function.
const MOST_NAMED: u32 = 200;
/// How deep the load's own tables are looked into for what a call is given.
const GIVEN_DEPTH: u32 = 3;

/// What a function is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The module's own.
    Own,
    /// Of another module, in Lua.
    Other,
    /// In C, or of this library: it is passed by where callers are looked for.
    Between,
}

/// A function that is running.
struct Activation {
    addr: usize,
    role: Role,
    /// How many calls out of the module were open before it.
    calls: usize,
    /// It is the chunk of a dependency.
    dependency: bool,
    /// The function that `coroutine.create` or `coroutine.wrap` was given.
    body: Option<Ref>,
}

/// A call out of the module that has not ended.
#[derive(Default)]
struct Call {
    /// Where it was made.
    place: (String, i32),
    /// How the caller names the function.
    name: (String, &'static str),
    function: Ref,
    args: Kept<Ref>,
    given: Given,
    /// Functions that were entered, by address: their names (constants) count as keys.
    entered: FxHashSet<usize>,
    /// Tables that it may have changed, and those of which any entry may have.
    touched: Vec<u32>,
    touched_set: FxHashSet<u32>,
    all_of: FxHashSet<u32>,
    cells: Vec<u32>,
    cells_set: FxHashSet<u32>,
    writes: Vec<Write>,
    /// A C function ran that is not of the standard library.
    c_function: Option<String>,
    /// A dependency was loaded by it.
    loads: bool,
    /// It wanted to yield where nobody can.
    yields: bool,
    /// An inner call that stays changed what it had changed.
    whole: bool,
    /// The call as text, if that is known already.
    label: Option<String>,
}

/// Something that happened, in the order in which it did.
enum Logged {
    /// The chunk itself wrote.
    Own(Write),
    /// A call wrote that stays; `places` says whether it placed something of the load.
    Kept { writes: Vec<Write>, places: bool },
    /// A repeat: the older function's place has the file's.
    Replaced(Write),
}

/// The calls of a load, for the report.
#[derive(Default)]
pub struct Calls {
    /// Taken back, since they were made before.
    pub repeated: Vec<String>,
    /// Made for the first time.
    pub new: Vec<String>,
    /// Made by the last load and not by this one.
    pub gone: Vec<String>,
    /// C functions that ran and cannot be taken back.
    pub irrevocable: Vec<String>,
    /// The first two, with the functions that were called.
    made: Vec<(Ref, String)>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Calls that can change more than is remembered.
    pub beyond: Vec<String>,
    /// Calls that raised, and whose function stands there already.
    duplicates: Vec<String>,
    /// What ran and cannot be taken back, as it is told where the load fails.
    ran: Vec<String>,
}

impl Calls {
    /// Adds to the message of a chunk that failed what speaks of its calls.
    pub fn explain(&self, mut text: Vec<u8>) -> Vec<u8> {
        for call in &self.duplicates {
            text.extend_from_slice(
                format!("\n{call}: registered already; see hotreload.reloading()").as_bytes(),
            );
        }
        for call in &self.beyond {
            text.extend_from_slice(format!("\n{}", beyond(call)).as_bytes());
        }
        for ran in &self.ran {
            text.extend_from_slice(format!("\n{ran} ran and cannot be taken back").as_bytes());
        }
        text
    }

    /// The calls for the record of the module, a string with a line for each call, under each
    /// function that was called. The table is weak: where the other module is loaded anew,
    /// nothing is known of calls of its old functions.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn pack(&self, vm: &mut Vm, permit: Permit) -> Result<Ref> {
        let mut texts: FxHashMap<usize, (Ref, Vec<u8>)> = FxHashMap::default();
        for (function, label) in &self.made {
            texts.try_reserve(1)?;
            let (_, text) = texts
                .entry(vm.val(*function).addr)
                .or_insert((*function, Vec::new()));
            text.try_reserve(label.len() + 1)?;
            text.extend_from_slice(label.as_bytes());
            text.push(b'\n');
        }
        let record = vm.weak_table()?;
        for (function, text) in texts.into_values() {
            let text = vm.string(&text)?;
            let place = Place::Value {
                table: record,
                key: function,
            };
            write::put_while_loading(vm, permit, place, text)?;
        }
        Ok(record)
    }
}

/// What is told of a call that can change more than is remembered, where its work is put back.
pub fn beyond(call: &str) -> String {
    format!(
        "{call} reaches more than {BUDGET} entries of tables: look whether all that it changed was put back"
    )
}

/// The calls of the module's last load.
#[derive(Default)]
pub struct Recorded {
    /// How often each was made.
    calls: FxHashMap<Vec<u8>, u32>,
    /// The functions that were called, by address.
    functions: FxHashSet<usize>,
}

impl Recorded {
    /// The inverse of [`Calls::pack`].
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn read(vm: &mut Vm, record: Ref) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        for KeyValue { key, value } in vm.keep_entries(record)?.iter() {
            recorded.functions.try_insert_value(vm.val(key).addr, ())?;
            let text = vm.bytes(value)?.unwrap_or_default();
            for call in text
                .split(|byte| *byte == b'\n')
                .filter(|call| !call.is_empty())
            {
                let count = recorded.calls.get(call).copied().unwrap_or(0);
                recorded.calls.try_insert_value(copied(call)?, count + 1)?;
            }
        }
        Ok(recorded)
    }

    /// Is there such a call that nobody has taken off?
    fn has(&self, call: &str) -> bool {
        self.calls
            .get(call.as_bytes())
            .is_some_and(|count| *count > 0)
    }

    /// Takes one call off, if there is one like it.
    fn take(&mut self, call: &str) {
        if let Some(count) = self.calls.get_mut(call.as_bytes()) {
            *count = count.saturating_sub(1);
        }
    }

    /// The calls that nobody has taken off.
    fn rest(self) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        for (call, count) in self.calls {
            for _ in 0..count {
                rest.try_push(String::from_utf8_lossy(&call).into_owned())?;
            }
        }
        rest.sort_unstable();
        Ok(rest)
    }
}

/// Something of the load that stands in the place of something older, in a table that the chunk
/// cannot name.
#[derive(Clone, Copy)]
pub struct Exchange {
    /// The table.
    pub table: Ref,
    /// The key.
    pub key: Ref,
    /// What stood there.
    pub old: Ref,
    /// What the load put there.
    pub new: Ref,
}

/// What calls have left to do.
#[derive(Default)]
pub struct Left {
    /// Operations for the commit, in order.
    pub ops: Vec<Op>,
    /// For the pairing.
    pub exchanges: Vec<Exchange>,
    /// The file's objects that they place.
    pub roots: Vec<Ref>,
    /// The file's objects, with those of the module that they answer to.
    pub pairs: Vec<(Ref, Ref)>,
    /// The coroutines that the load has made, by address, with their functions.
    pub threads: FxHashMap<usize, Ref>,
    /// For the report.
    pub calls: Calls,
}

/// What is known of the calls of a chunk that is running.
pub struct Effects<'a> {
    /// To put back what calls have changed.
    pub permit: Permit,
    context: &'a Context,
    snapshot: &'a Snapshot,
    chunk: Option<&'a Chunk>,
    ownership: &'a mut Ownership,
    /// The coroutine on which the chunk runs and its main function, once it has begun.
    chunk_at: (usize, usize),
    /// What is remembered.
    pub past: Past,
    names: Names,
    /// Coroutines that the load has made, with their functions.
    threads: FxHashMap<usize, Ref>,
    /// The coroutines that are active, the running one last, with what runs on each.
    active: Vec<(usize, Vec<Activation>)>,
    open: Vec<Call>,
    log: Vec<Logged>,
    /// What each function's code names, by the function's address.
    constants: FxHashMap<usize, Kept<Ref>>,
    standard: Standard,
    holders: FxHashMap<(u32, bool), Holders>,
    pairs: Vec<(Ref, Ref)>,
    /// Older tables that repeats have returned to the chunk: their data stay.
    handed: FxHashSet<u32>,
    /// Functions of the running module that the chunk has called itself, by address.
    older: FxHashSet<usize>,
    calls: Calls,
    recorded: Option<Recorded>,
    lineage: Option<Lineage>,
    /// Entries that were looked at for what a call has placed somewhere else.
    searched: usize,
    /// How callers have named functions, by their addresses, and how often that was asked.
    names_of_callees: FxHashMap<usize, (String, &'static str)>,
    named: u32,
    /// Coroutines that the chunk itself has resumed.
    resumed: FxHashSet<usize>,
}

impl<'a> Effects<'a> {
    /// Before the chunk with this main function runs.
    pub fn new(
        permit: Permit,
        context: &'a Context,
        snapshot: &'a Snapshot,
        chunk: Option<&'a Chunk>,
        ownership: &'a mut Ownership,
        main: usize,
        (recorded, lineage): (Option<Recorded>, Option<Lineage>),
    ) -> Effects<'a> {
        Effects {
            permit,
            context,
            snapshot,
            chunk,
            ownership,
            chunk_at: (0, main),
            past: Past::new(BUDGET),
            names: Names::default(),
            threads: FxHashMap::default(),
            active: Vec::new(),
            open: Vec::new(),
            log: Vec::new(),
            constants: FxHashMap::default(),
            standard: Standard::default(),
            holders: FxHashMap::default(),
            pairs: Vec::new(),
            handed: FxHashSet::default(),
            older: FxHashSet::default(),
            calls: Calls::default(),
            recorded,
            lineage,
            searched: 0,
            names_of_callees: FxHashMap::default(),
            named: 0,
            resumed: FxHashSet::default(),
        }
    }

    fn is_new(&self, made: Made<'_>, val: Val) -> bool {
        repeat::is_new(made, &self.threads, val)
    }

    /// What runs on the coroutine of an event. Others that were active above it have yielded, or
    /// ended.
    fn on_coroutine(&mut self, vm: &mut Vm, frame: &Frame<'_>) -> Result<()> {
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

    fn running(&mut self) -> Option<&mut Vec<Activation>> {
        self.active.last_mut().map(|(_, running)| running)
    }

    /// An activation of the running coroutine ends, and with it the calls that began in it.
    fn leave(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        frame: Option<&Frame<'_>>,
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
    fn unwind(&mut self, vm: &mut Vm, frame: &Frame<'_>, addr: usize) -> Result<bool> {
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
    fn caller(&self) -> Option<Role> {
        let running = self
            .active
            .iter()
            .rev()
            .flat_map(|(_, running)| running.iter().rev());
        running
            .map(|activation| activation.role)
            .find(|role| *role != Role::Between)
    }

    fn is_within_dependency(&self) -> bool {
        let mut running = self.active.iter().flat_map(|(_, running)| running);
        running.any(|activation| activation.dependency)
    }

    fn role(&self, frame: &Frame<'_>, callee: &Callee) -> Role {
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
        frame: &Frame<'_>,
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

    fn is_from_require(&self, frame: &Frame<'_>) -> bool {
        let caller = frame.caller();
        caller.is_some_and(|caller| self.standard.what(caller) == Some(Use::Require))
    }

    /// A function in Lua is entered. False where nothing of what it has shown is kept.
    fn enter_lua(
        &mut self,
        vm: &mut Vm,
        frame: &Frame<'_>,
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
    fn enter_c(
        &mut self,
        vm: &mut Vm,
        frame: &Frame<'_>,
        callee: &Callee,
        activation: &mut Activation,
    ) -> Result<bool> {
        self.standard.prepare(vm, self.context)?;
        match self.standard.what(callee.addr) {
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
    fn walk(&mut self, vm: &mut Vm, frame: &Frame<'_>) -> Result<bool> {
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
        frame: &Frame<'_>,
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
        let (name, what) = self.name(frame)?;
        if what == "for iterator" || self.is_within_dependency() {
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
    fn name(&mut self, frame: &Frame<'_>) -> Result<(String, &'static str)> {
        let addr = frame.callee().addr;
        self.named += 1;
        if self.named > MOST_NAMED
            && let Some((name, what)) = self.names_of_callees.get(&addr)
        {
            return Ok((copied_text(name)?, what));
        }
        let (name, what) = frame.name();
        self.names_of_callees
            .try_insert_value(addr, (copied_text(&name)?, what))?;
        Ok((name, what))
    }

    /// A call out of the module begins.
    fn begin(&mut self, vm: &mut Vm, frame: &Frame<'_>, args: Kept<Ref>) -> Result<()> {
        self.settle(vm)?;
        let mut call = Call {
            place: frame.place(),
            name: self.name(frame)?,
            function: frame.function(vm)?,
            args,
            ..Call::default()
        };
        for arg in args.iter() {
            self.give(vm, frame.made, &mut call.given, arg, GIVEN_DEPTH)?;
            let val = vm.val(arg);
            if val.is_table() && frame.made.created(val.addr) {
                call.given.tables.try_insert_value(val.addr, ())?;
            }
        }
        self.open.try_push(call)
    }

    /// Notes what a call is given.
    fn give(
        &self,
        vm: &mut Vm,
        made: Made<'_>,
        given: &mut Given,
        value: Ref,
        depth: u32,
    ) -> Result<()> {
        let val = vm.val(value);
        match val.kind {
            Kind::Nil | Kind::Boolean => Ok(()),
            Kind::Table | Kind::Function | Kind::Thread if self.is_new(made, val) => {
                given.held.try_push(value)?;
                if !val.is_table() || depth == 0 {
                    return Ok(());
                }
                for KeyValue { key, value } in vm.keep_some(value, 256)?.iter() {
                    if vm.kind(key) == Kind::String {
                        given.values.try_insert_value(vm.key_hash(key), ())?;
                        given.held.try_push(key)?;
                    }
                    self.give(vm, made, given, value, depth - 1)?;
                }
                Ok(())
            }
            _ => {
                given.values.try_insert_value(vm.key_hash(value), ())?;
                given.held.try_push(value)
            }
        }
    }

    /// A table may be changed by the innermost call. Returns its number, and whether that is news.
    fn touch_table(&mut self, vm: &mut Vm, table: Ref) -> Result<(u32, bool)> {
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

    fn log_own(&mut self, writes: Vec<Write>) -> Result<()> {
        writes
            .into_iter()
            .try_for_each(|write| self.log.try_push(Logged::Own(write)))
    }

    /// Looks anew at what the innermost call may have changed in a table.
    fn look(&mut self, vm: &mut Vm, number: u32, writes: &mut Vec<Write>) -> Result<()> {
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
    fn settle(&mut self, vm: &mut Vm) -> Result<()> {
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
    fn enter(
        &mut self,
        vm: &mut Vm,
        frame: &Frame<'_>,
        callee: &Callee,
        args: Kept<Ref>,
    ) -> Result<()> {
        let is_own_new = frame.made.created(callee.addr) && self.role(frame, callee) == Role::Own;
        let mut queue = VecDeque::new();
        for arg in args.iter() {
            queue.try_push(arg)?;
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
        made: Made<'_>,
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
    fn resume(&mut self, vm: &mut Vm, made: Made<'_>, thread: Ref) -> Result<()> {
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
        calls::activations(vm, thread, &mut functions, &mut locals)?;
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
        made: Made<'_>,
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
    fn reach(&mut self, vm: &mut Vm, made: Made<'_>, mut queue: VecDeque<Ref>) -> Result<()> {
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut looked_at = 0;
        while let Some(value) = queue.pop_front() {
            let val = vm.val(value);
            if looked_at >= MOST_TABLES || !matches!(val.kind, Kind::Table | Kind::Userdata) {
                continue;
            }
            if val.addr == vm.val(self.context.loaded).addr
                || self.context.skip.contains(&val.addr)
                || seen.try_insert_value(val.addr, ())?.is_some()
            {
                continue;
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
        Ok(())
    }

    /// The innermost call can change more than is remembered.
    fn note_beyond(&mut self, vm: &mut Vm, made: Made<'_>) -> Result<()> {
        let Some(call) = self.open.pop() else {
            return Ok(());
        };
        let label = self.label(vm, made, &call)?;
        let (file, line) = &call.place;
        let text = format!("{file}:{line}: {label}");
        if !self.calls.beyond.contains(&text) {
            self.calls.beyond.try_push(text)?;
        }
        self.open.try_push(call)
    }

    /// Remembers the tables to which a large one leads.
    fn remember_behind(&mut self, vm: &mut Vm, made: Made<'_>, number: u32) -> Result<()> {
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

    /// A call out of the module has ended.
    fn close(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        frame: Option<&Frame<'_>>,
        ending: Ending,
    ) -> Result<()> {
        fault::point()?;
        self.settle(vm)?;
        self.search_deeper(vm, made)?;
        let Some(mut call) = self.open.pop() else {
            return Ok(());
        };
        let writes = self.net(vm, std::mem::take(&mut call.writes))?;
        let raised = ending == Ending::Raised;
        if raised && call.yields {
            // It has noted that somebody waits, and nobody does.
            return self.put_back(vm, &writes);
        }
        let places = self.places_any(vm, made, &writes);
        let may_repeat = ending != Ending::Yielded && !call.loads && !call.whole;
        if may_repeat
            && !raised
            && writes.is_empty()
            && self.replace_standing(vm, made, &call, Standing::UnderGivenKeys)?
        {
            return Ok(()); // a registry that keeps what it has
        }
        if !may_repeat || !raised && !places {
            return self.keep(vm, made, call, writes, places);
        }
        if let Some(unknown) = writes
            .iter()
            .find(|write| !self.past.is_known(vm, write.spot))
        {
            let label = self.label(vm, made, &call)?;
            let (file, line) = &call.place;
            let count = vm.raw_len(match self.past.place(unknown.spot) {
                Place::Value { table, .. } => table,
                _ => Ref::NIL,
            });
            self.calls.warnings.try_push(format!(
                "{file}:{line}: {label} changed a table that is too large to be remembered (a list of {count}); what it \
                 did there stays"
            ))?;
            return self.keep(vm, made, call, writes, places);
        }
        if let Some(name) = &call.c_function {
            let name = copied_text(name)?;
            let label = self.label(vm, made, &call)?;
            self.calls.warnings.try_push(format!(
                "{name} ran within {label} and cannot be taken back; what that call registers is registered once more"
            ))?;
            self.calls.irrevocable.try_push(name)?;
            return self.keep(vm, made, call, writes, places);
        }
        if places && let Some(assignment) = self.find_repeat(vm, made, &call, &writes)? {
            return self.take_back(vm, made, frame, &call, &writes, &assignment);
        }
        let is_recorded = places && self.is_recorded(vm, made, &call)?;
        if (raised || is_recorded)
            && self.replace_standing(
                vm,
                made,
                &call,
                if raised {
                    Standing::Refused
                } else {
                    Standing::Recorded
                },
            )?
        {
            return self.put_back(vm, &writes);
        }
        if is_recorded && self.is_removed(vm, made, &call)? {
            return self.put_back(vm, &writes);
        }
        self.keep(vm, made, call, writes, places)
    }

    fn put_back(&mut self, vm: &mut Vm, writes: &[Write]) -> Result<()> {
        writes
            .iter()
            .rev()
            .try_for_each(|write| self.put(vm, write.spot, write.old))
    }

    /// Does one of the writes place something of the load?
    fn places_any(&self, vm: &Vm, made: Made<'_>, writes: &[Write]) -> bool {
        writes.iter().any(|write| {
            let key = self.past.key(write.spot).unwrap_or_default();
            self.is_new(made, vm.val(write.new)) || self.is_new(made, vm.val(key))
        })
    }

    /// Where the innermost call was given something of the load, and has put it nowhere where that
    /// is looked for, all that is remembered is looked at. For example a tree of routes finds
    /// its tables by parts of a path.
    fn search_deeper(&mut self, vm: &mut Vm, made: Made<'_>) -> Result<()> {
        let Some(call) = self.open.last() else {
            return Ok(());
        };
        let given_new = call
            .given
            .held
            .iter()
            .any(|given| self.is_new(made, vm.val(*given)));
        let size = self.past.entries_in_all();
        if !given_new
            || self.places_any(vm, made, &call.writes)
            || self.searched + size > MOST_SEARCHED
        {
            return Ok(());
        }
        self.searched += size;
        for number in 0..self.past.counts().0 {
            let mut writes = Vec::new();
            if self.past.is_whole(number)
                && vm.val(self.past.table(number)) != vm.val(self.context.globals)
            {
                self.past.look_at_all(vm, number, &mut writes)?;
            }
            if !self.places_any(vm, made, &writes) {
                self.log_own(writes)?; // the chunk's own, as far as is known
            } else if let Some(call) = self.open.last_mut() {
                call.writes.try_reserve(writes.len())?;
                call.writes.extend(writes);
            }
        }
        Ok(())
    }

    /// One write for each place: what stood there before the call, and what stands there now.
    fn net(&self, vm: &Vm, writes: Vec<Write>) -> Result<Vec<Write>> {
        let mut at: FxHashMap<Spot, usize> = FxHashMap::default();
        let mut net: Vec<Write> = Vec::new();
        for write in writes {
            match at.get(&write.spot).and_then(|i| net.get_mut(*i)) {
                Some(first) => first.new = write.new,
                None => {
                    at.try_insert_value(write.spot, net.len())?;
                    net.try_push(write)?;
                }
            }
        }
        net.retain(|write| !vm.same(write.old, write.new));
        Ok(net)
    }

    /// Lets `look` search among what was there before.
    fn searching<T>(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        given: &Given,
        look: impl FnOnce(&mut Search<'_>) -> Result<T>,
    ) -> Result<T> {
        let sources = Sources {
            globals: self.context.globals,
            running: self.context.running,
            snapshot: self.snapshot,
            chunk: self.chunk,
            chunk_at: self.chunk_at,
            lineage: self.lineage,
        };
        look(&mut Search {
            vm,
            past: &self.past,
            ownership: self.ownership,
            names: &mut self.names,
            sources: &sources,
            made,
            threads: &self.threads,
            given,
            loose: false,
            holders: &mut self.holders,
            narrow: false,
            narrowed: false,
            pending: Vec::new(),
            nested: 0,
        })
    }

    /// The older registration that a call repeats.
    fn find_repeat(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        call: &Call,
        writes: &[Write],
    ) -> Result<Option<Assignment>> {
        self.searching(vm, made, &call.given, |search| {
            let found = search.find(writes)?;
            if found.is_some() {
                return Ok(found);
            }
            search.loose = true;
            search.find(writes)
        })
    }

    /// A repeat: all that it changed is as before, and the file's functions stand where the
    /// module's did.
    fn take_back(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        frame: Option<&Frame<'_>>,
        call: &Call,
        writes: &[Write],
        assignment: &Assignment,
    ) -> Result<()> {
        fault::point()?;
        self.put_back(vm, writes)?;
        fault::point()?;
        for (place, old, new) in &assignment.places {
            self.replace_at(vm, *place, *old, *new)?;
            self.names.pair(vm, *new, *old)?;
        }
        for (new, old) in &assignment.pairs {
            let is_own = vm.val(*new).is_function() && self.ownership.has_function(vm, *new)?;
            // Of an older generation the current one is paired by its name.
            let is_own = is_own && self.names.current(vm, self.lineage, *old) == vm.val(*old).addr;
            if is_own || vm.val(*new).is_table() && call.given.tables.contains(&vm.val(*new).addr) {
                self.pairs.try_push((*new, *old))?;
            }
        }
        if let Some(frame) = frame {
            self.give_older(vm, frame, assignment, writes)?;
        }
        let label = self.label(vm, made, call)?;
        if let Some((old, new)) = assignment.differs {
            let (file, line) = &call.place;
            self.calls.warnings.try_push(format!(
                "{file}:{line}: {label} is registered already with {}, the file has {}; {} stays",
                text::value(vm, old),
                text::value(vm, new),
                text::value(vm, old)
            ))?;
        }
        self.note(false, call.function, label)
    }

    /// A registry may refuse what stands there already. Where a call that raised was given a
    /// function whose name or code stands in what it could read, that one gets the file's code;
    /// so where the last load made the call, and its entry has changed since. True if there was
    /// one.
    fn replace_standing(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        call: &Call,
        standing: Standing,
    ) -> Result<bool> {
        let found = self.searching(vm, made, &call.given, |search| {
            let mut found = Vec::new();
            for given in &call.given.held {
                let val = search.vm.val(*given);
                if !val.is_function() || !search.is_new(val) {
                    continue;
                }
                for number in &call.touched {
                    if let Some((place, old)) = search.standing(*number, *given, standing)? {
                        found.try_push((place, old, *given))?;
                        break;
                    }
                }
            }
            Ok(found)
        })?;
        for (place, old, new) in &found {
            self.replace_at(vm, *place, *old, *new)?;
            self.names.pair(vm, *new, *old)?;
            self.pairs.try_push((*new, *old))?;
        }
        if !found.is_empty() {
            let label = self.label(vm, made, call)?;
            if standing == Standing::Refused {
                self.calls.duplicates.try_push(copied_text(&label)?)?;
            }
            self.note(false, call.function, label)?;
        }
        Ok(!found.is_empty())
    }

    /// A call that registers something: made before, or new.
    fn note(&mut self, is_new: bool, function: Ref, label: String) -> Result<()> {
        if let Some(recorded) = &mut self.recorded {
            recorded.take(&label);
        }
        self.calls.made.try_push((function, copied_text(&label)?))?;
        let list = match is_new {
            true => &mut self.calls.new,
            false => &mut self.calls.repeated,
        };
        list.try_push(label)
    }

    /// Did the last load make the call, and this one not yet as often?
    fn is_recorded(&mut self, vm: &mut Vm, made: Made<'_>, call: &Call) -> Result<bool> {
        let callee = vm.val(call.function).addr;
        if !self
            .recorded
            .as_ref()
            .is_some_and(|recorded| recorded.functions.contains(&callee))
        {
            return Ok(false);
        }
        let label = self.label(vm, made, call)?;
        let recorded = self.recorded.as_ref();
        let is_left = recorded.is_some_and(|recorded| recorded.has(&label));
        // What the text does not tell whole may have changed.
        Ok(is_left && !label.contains("{...}"))
    }

    /// The program has taken the entry of a recorded call away since. It stays away.
    fn is_removed(&mut self, vm: &mut Vm, made: Made<'_>, call: &Call) -> Result<bool> {
        // The chunk itself may have taken the entry away, to make it anew. (What a repeat has put
        // the file's function for is not taken away.)
        for number in &call.touched {
            for lost in self.past.lost(*number)? {
                let is_own =
                    !self.names.is_answered(vm, lost) && self.ownership.has_function(vm, lost)?;
                if vm.val(lost).is_table() || is_own {
                    return Ok(false);
                }
            }
        }
        let label = self.label(vm, made, call)?;
        self.note(false, call.function, label)?;
        Ok(true)
    }

    /// The chunk goes on with what the older call had returned: its handle, its number.
    fn give_older(
        &mut self,
        vm: &mut Vm,
        frame: &Frame<'_>,
        assignment: &Assignment,
        writes: &[Write],
    ) -> Result<()> {
        // A number that the call made: a key, or what it counts with, before or after it has
        // counted.
        let is_counted = |vm: &Vm, past: &Past, result: i64| {
            writes.iter().any(|write| {
                let key = past.key(write.spot).and_then(|key| vm.integer(key));
                let counter = vm.integer(write.old).and_then(|_| vm.integer(write.new));
                key == Some(result)
                    || counter.is_some_and(|counter| {
                        counter == result || Some(counter) == result.checked_add(1)
                    })
            })
        };
        for i in 0..frame.results() {
            let result = frame.result(vm, i)?;
            let val = vm.val(result);
            let older = match val.kind {
                Kind::Table | Kind::Function | Kind::Thread => assignment.old(val.addr),
                Kind::Number | Kind::String => {
                    if vm
                        .integer(result)
                        .is_some_and(|result| !is_counted(vm, &self.past, result))
                    {
                        continue;
                    }
                    let mut scalars = assignment.scalars.iter();
                    scalars
                        .find(|(new, _)| vm.same(*new, result))
                        .map(|(_, old)| *old)
                }
                _ => None,
            };
            let Some(older) = older else { continue };
            if val.is_function() && self.ownership.has_function(vm, result)? {
                continue;
            }
            if val.is_table() {
                // The chunk may go on writing into it.
                let (number, _) = self.past.see_table(vm, older)?;
                self.handed.try_insert_value(number, ())?;
            }
            frame.set_result(vm, i, older);
        }
        Ok(())
    }

    /// The file's function comes to where the module's stands.
    fn replace_at(&mut self, vm: &mut Vm, place: Spotted, old: Ref, new: Ref) -> Result<()> {
        match place {
            Spotted::At(place) => {
                let spot = match place {
                    Place::Value { table, key } => {
                        let (number, _) = self.past.see_table(vm, table)?;
                        self.past.under(vm, number, key)?.0
                    }
                    Place::Upvalue { function, index } => {
                        Spot::Cell(self.past.see_cell(vm, function, index)?)
                    }
                    _ => return Ok(()),
                };
                self.replace(vm, spot, old, new)
            }
            Spotted::Key(table) => {
                let (number, _) = self.past.see_table(vm, table)?;
                let ((from, value), (to, nothing)) = (
                    self.past.under(vm, number, old)?,
                    self.past.under(vm, number, new)?,
                );
                self.replace(vm, from, value, Ref::NIL)?;
                self.replace(vm, to, nothing, value)
            }
            Spotted::Nowhere => Ok(()),
        }
    }

    fn put(&mut self, vm: &mut Vm, spot: Spot, value: Ref) -> Result<()> {
        write::put_while_loading(vm, self.permit, self.past.place(spot), value)?;
        self.past.note(spot, value);
        Ok(())
    }

    fn replace(&mut self, vm: &mut Vm, spot: Spot, old: Ref, new: Ref) -> Result<()> {
        self.put(vm, spot, new)?;
        self.log
            .try_push(Logged::Replaced(Write { spot, old, new }))
    }

    /// A call that stays.
    fn keep(
        &mut self,
        vm: &mut Vm,
        made: Made<'_>,
        call: Call,
        writes: Vec<Write>,
        places: bool,
    ) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        if let Some(outer) = self.open.last_mut() {
            let container = |spot: Spot| match spot {
                Spot::Slot(table, _) | Spot::Metatable(table) => (0, table),
                Spot::Cell(cell) => (1, cell),
            };
            let mut changed: FxHashSet<(u8, u32)> = FxHashSet::default();
            for write in &outer.writes {
                changed.try_insert_value(container(write.spot), ())?;
            }
            if writes
                .iter()
                .any(|write| changed.contains(&container(write.spot)))
            {
                outer.whole = true;
                outer.writes.try_reserve(writes.len())?;
                outer.writes.extend(writes);
                return Ok(());
            }
        }
        if places && !call.loads {
            let label = self.label(vm, made, &call)?;
            self.note(true, call.function, label)?;
        }
        self.log.try_push(Logged::Kept { writes, places })
    }

    fn label(&mut self, vm: &mut Vm, made: Made<'_>, call: &Call) -> Result<String> {
        if let Some(label) = &call.label {
            return copied_text(label);
        }
        text::call(
            vm,
            self.context,
            &mut self.names,
            (self.chunk_at, made),
            call,
        )
    }
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Returned,
    Raised,
    Yielded,
}

impl Watcher for Effects<'_> {
    fn called(&mut self, vm: &mut Vm, frame: &Frame<'_>) -> Result<()> {
        let callee = frame.callee();
        if self.chunk_at.0 == 0 {
            if callee.addr != self.chunk_at.1 {
                return Ok(());
            }
            self.chunk_at.0 = frame.thread();
            let function = frame.function(vm)?;
            if let (Some(chunk), Some(info)) = (self.chunk, vm.info(function)?) {
                self.names.read(chunk, info.source)?;
            }
        }
        self.on_coroutine(vm, frame)?;
        let mut activation = Activation {
            addr: callee.addr,
            role: self.role(frame, &callee),
            calls: self.open.len(),
            dependency: false,
            body: None,
        };
        let mut caller = None;
        if frame.is_tail {
            // The function takes the frame of the one that called it, and what began there ends
            // with it.
            if let Some(former) = self.running().and_then(Vec::pop) {
                activation.calls = former.calls;
                activation.dependency = former.dependency;
                caller = Some(former.role).filter(|role| *role != Role::Between);
            }
        } else if let Some(below) = frame.caller() {
            self.unwind(vm, frame, below)?;
            activation.calls = self.open.len();
        }
        // What an event has shown is given up where nobody keeps it: the program's objects live no
        // longer than without a reload.
        let mark = vm.held();
        let is_kept = if callee.is_c {
            self.enter_c(vm, frame, &callee, &mut activation)?
        } else {
            let caller = caller.or_else(|| self.caller());
            self.enter_lua(vm, frame, &callee, &mut activation, caller)?
        };
        if !is_kept {
            vm.release(mark);
        }
        match self.running() {
            Some(running) => running.try_push(activation),
            None => Ok(()),
        }
    }

    fn returned(&mut self, vm: &mut Vm, frame: &Frame<'_>) -> Result<()> {
        if self.chunk_at.0 == 0 {
            return Ok(());
        }
        self.on_coroutine(vm, frame)?;
        let callee = frame.callee();
        if !self.unwind(vm, frame, callee.addr)? {
            return Ok(());
        }
        let body = self
            .running()
            .and_then(|running| running.last().and_then(|last| last.body));
        if let Some(body) = body {
            let mut thread = frame.result(vm, 0)?;
            if vm.kind(thread) == Kind::Function {
                thread = vm.upvalue_value(thread, 1)?;
            }
            if vm.kind(thread) == Kind::Thread {
                self.threads.try_insert_value(vm.val(thread).addr, body)?;
                calls::follow(vm, thread)?;
            }
        }
        self.leave(vm, frame.made, Some(frame), Ending::Returned)
    }

    fn ended(&mut self, vm: &mut Vm, made: Made<'_>) -> Result<()> {
        while !self.active.is_empty() {
            while self.running().is_some_and(|running| !running.is_empty()) {
                self.leave(vm, made, None, Ending::Raised)?;
            }
            self.active.pop();
        }
        Ok(())
    }
}

impl Effects<'_> {
    /// The chunk has ended: notes what else has changed of what is remembered.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn finish(&mut self, vm: &mut Vm) -> Result<()> {
        fault::point()?;
        let (tables, cells) = self.past.counts();
        let mut writes = Vec::new();
        for table in 0..tables {
            if self.past.is_whole(table) {
                self.past.look_at_all(vm, table, &mut writes)?;
            }
        }
        for cell in 0..cells {
            self.past.look_at_cell(vm, cell, &mut writes)?;
        }
        self.log_own(writes)
    }

    /// Splits what has happened: operations for the commit, and what the chunk or a call put in the
    /// place of something older, which pairing is to compare. `changes` has what the chunk did
    /// to tables that it can name; what calls did is taken out of it. `others` has what it did
    /// to data of other modules: that stays.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn left(
        self,
        vm: &mut Vm,
        is_new: impl Fn(Val) -> bool,
        changes: &mut Vec<Change>,
        others: Vec<Change>,
    ) -> Result<Left> {
        let Effects {
            mut past,
            log,
            snapshot,
            context,
            pairs,
            threads,
            mut calls,
            recorded,
            handed,
            ..
        } = self;
        fault::point()?;
        if let Some(recorded) = recorded {
            calls.gone = recorded.rest()?;
        }
        let mut left = Left {
            pairs,
            threads,
            calls,
            ..Left::default()
        };
        let named = Named::of(vm, snapshot)?;
        let standing = past.standing(vm)?;
        // Places whose fate is that of a call.
        let mut decided: FxHashSet<Spot> = FxHashSet::default();
        let last = last_writes(&log)?;
        for (logged, at) in log.into_iter().zip(0..) {
            let (writes, places, by_call, is_settled) = match logged {
                Logged::Own(write) => (one(write)?, false, false, false),
                Logged::Replaced(write) => (one(write)?, true, true, true),
                Logged::Kept { writes, places } => (writes, places, true, false),
            };
            for mut write in writes {
                if let Some((last, true)) = last.get(&write.spot) {
                    // The chunk has written there itself since: that alone counts.
                    if *last != at {
                        continue;
                    }
                    write.old = past.initial(write.spot);
                }
                let theirs = named.theirs(vm, &past, write.spot, by_call);
                if is_settled {
                    decided.try_insert_value(write.spot, ())?;
                } else if !decided.contains(&write.spot) {
                    // What the chunk did to tables that it can name is among the changes. Data of
                    // these that a call set stay the module's.
                    if !by_call && theirs.is_some() || !places && theirs == Some(false) {
                        continue;
                    }
                    let key = past.key(write.spot);
                    let (old, new) = (vm.val(write.old), vm.val(write.new));
                    let is_new_thing =
                        is_exchange(old, new, &is_new) && !standing.contains(&old.addr);
                    let is_handed = |table| handed.contains(&table) && !old.is_nil();
                    if let (Some(key), Spot::Slot(table, _)) = (key, write.spot)
                        && (is_new_thing && (places || !by_call) || !by_call && is_handed(table))
                    {
                        left.exchanges.try_push(Exchange {
                            table: past.table(table),
                            key,
                            old: write.old,
                            new: write.new,
                        })?;
                        continue;
                    }
                    decided.try_insert_value(write.spot, ())?;
                }
                let op = Op {
                    call: if by_call && !is_settled { at + 1 } else { 0 },
                    ..Op::new(past.place(write.spot), write.new, write.old)
                };
                left.add(vm, &is_new, op)?;
            }
        }
        let loaded = vm.val(context.loaded).addr;
        let mut is_decided =
            |vm: &mut Vm, change: &Change| is_decided(vm, &mut past, (loaded, &decided), change);
        let mut kept = Vec::new();
        for change in changes.drain(..) {
            if !is_decided(vm, &change)? {
                kept.try_push(change)?;
            }
        }
        *changes = kept;
        for change in others {
            if !is_decided(vm, &change)? {
                let op = Op::write(
                    change.table,
                    change.key.unwrap_or(Ref::NIL),
                    change.new,
                    change.old,
                );
                left.add(vm, &is_new, op)?;
            }
        }
        Ok(left)
    }
}

impl Left {
    fn add(&mut self, vm: &Vm, is_new: &impl Fn(Val) -> bool, op: Op) -> Result<()> {
        let key = match op.place {
            Place::Value { key, .. } => key,
            _ => Ref::NIL,
        };
        for value in [op.new, key] {
            if is_new(vm.val(value)) {
                self.roots.try_push(value)?;
            }
        }
        self.ops.try_push(op)
    }
}

/// The tables that the file can name.
#[derive(Default)]
struct Named {
    /// By address: whether the table is another module's, and whether all of its entries are
    /// remembered.
    tables: FxHashMap<usize, (bool, bool)>,
    /// Of the others, the changes have only what stands under these keys, and what was appended.
    keys: FxHashSet<(Kind, u64)>,
}

impl Named {
    fn of(vm: &Vm, snapshot: &Snapshot) -> Result<Named> {
        let mut named = Named::default();
        for number in 0..snapshot.len() {
            let (table, theirs) = snapshot.table(number);
            let slots = snapshot.slots_of(number);
            let is_whole = slots.as_ref().is_none_or(|slots| slots.is_whole());
            named
                .tables
                .try_insert_value(vm.val(table).addr, (theirs, is_whole))?;
            if let Some(slots) = slots.filter(|_| !is_whole && named.keys.is_empty()) {
                for slot in slots.slots() {
                    named.keys.try_insert_value(vm.key_hash(slot.key), ())?;
                }
            }
        }
        Ok(named)
    }

    /// Is the place in a table that the file can name, and is that another module's? None where the
    /// changes do not have it.
    fn theirs(&self, vm: &Vm, past: &Past, spot: Spot, by_call: bool) -> Option<bool> {
        let (Spot::Slot(table, _) | Spot::Metatable(table)) = spot else {
            return None;
        };
        let (theirs, is_whole) = *self.tables.get(&vm.val(past.table(table)).addr)?;
        let is_named = |key| self.keys.contains(&vm.key_hash(key)) || past.is_behind_end(vm, spot);
        (is_whole || by_call || past.key(spot).is_none_or(is_named)).then_some(theirs)
    }
}

/// Has a call, or what became of it, decided about the place of a change?
fn is_decided(
    vm: &mut Vm,
    past: &mut Past,
    (loaded, decided): (usize, &FxHashSet<Spot>),
    change: &Change,
) -> Result<bool> {
    let table = vm.val(change.table).addr;
    let Some(number) = past.number(table).filter(|_| table != loaded) else {
        return Ok(false);
    };
    let spot = match change.key {
        Some(key) => past.under(vm, number, key)?.0,
        None => Spot::Metatable(number),
    };
    Ok(decided.contains(&spot))
}

/// The number of the last entry of the log that writes to a spot, and whether that is the chunk's
/// own.
fn last_writes(log: &[Logged]) -> Result<FxHashMap<Spot, (u32, bool)>> {
    let mut last = FxHashMap::default();
    for (logged, at) in log.iter().zip(0..) {
        match logged {
            Logged::Own(write) => last.try_insert_value(write.spot, (at, true))?,
            Logged::Replaced(write) => last.try_insert_value(write.spot, (at, false))?,
            Logged::Kept { writes, .. } => {
                for write in writes {
                    last.try_insert_value(write.spot, (at, false))?;
                }
                None
            }
        };
    }
    Ok(last)
}

fn one(write: Write) -> Result<Vec<Write>> {
    let mut list = Vec::new();
    list.try_push(write)?;
    Ok(list)
}

/// Does something of the load take the place of an older thing of its kind?
fn is_exchange(old: Val, new: Val, is_new: &impl Fn(Val) -> bool) -> bool {
    old.kind == new.kind && matches!(new.kind, Kind::Table | Kind::Function) && is_new(new)
}

fn copied_text(text: &str) -> Result<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())?;
    copy.push_str(text);
    Ok(copy)
}
