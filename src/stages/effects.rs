//! What the code that the incoming chunk calls does to what existed before (R2.7 to R2.10, R5.5).
//!
//! A hook sees each call while the chunk runs. Before a function of outside runs, what it can
//! change is remembered. When a *call out of the module* has ended, what it changed is known. If
//! all of that is there already (`bus.on("hit", M.on_hit)` runs again), the call is a *repeat*: it
//! is taken back at once, the function that stands there gets the file's code, and the chunk goes
//! on with what the older call had returned. All else is kept. At the end of the chunk everything
//! is put back, kept or not; what is kept is a list of operations for the commit.

mod both;
mod closing;
mod events;
mod former;
mod handles;
mod left;
mod lent;
mod names;
mod past;
mod reach;
mod record;
mod repeat;
mod standard;
mod taken;
mod text;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Chunk;
use crate::code::compiled::Compiled;
use crate::lua::calls::{self, CallFrame, Watcher};
use crate::lua::tracker::Creations;
use crate::lua::vm::{Kept, KeyValue, Kind, Ref, Val, Version, Vm};
use crate::lua::write::{Op, Permit};
use crate::model::lineage::Lineage;
use crate::model::ownership::Ownership;
use crate::stages::find::Context;
use crate::stages::snapshot::Snapshot;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

use closing::Ending;
use former::{BothTexts, ByText};
use left::NamedTables;
use lent::LentFunctions;
use names::FunctionNames;
pub use past::Past;
use past::{Spot, Write};
pub use record::{BEYOND, Calls, Recorded};
use repeat::{CallArguments, Cut, Holders};
use standard::Standard;
use taken::Taken;

/// Entries of tables that are remembered in one load.
const BUDGET: usize = 200_000;
/// Tables that one entered function leads to, at most.
const MOST_TABLES: usize = 2_048;
/// Entries that are looked at in one load for what a call has placed where that is not looked for.
const MOST_SEARCHED: usize = 200_000;
/// Calls in one load for which Lua is asked how the caller names the function.
const MOST_NAMED: u32 = 200;
/// Entries of one table that a call is given.
const MOST_GIVEN: usize = 256;
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
struct OpenCall {
    /// Where it was made.
    place: (String, i32),
    /// How the caller names the function.
    name: (String, &'static str),
    function: Ref,
    args: Kept<Ref>,
    /// The main function of the chunk made it.
    by_main: bool,
    /// What the texts say of it.
    by_text: ByText,
    /// It is given a function that only the file has: the last load did not make it, whatever its
    /// text.
    is_new: bool,
    given: CallArguments,
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
    /// A function of the file ran in it.
    runs_file: bool,
    /// The call as text, if that is known already.
    label: Option<String>,
    /// The limit at which the search for the call that it repeats ended.
    cut: Option<Cut>,
}

/// Something that happened, in the order in which it did.
enum Logged {
    /// The chunk itself wrote.
    Own(Write),
    /// A call wrote that stays; `places` says whether it placed something of the load. The file
    /// itself says what comes to `said`.
    Kept {
        writes: Vec<Write>,
        places: bool,
        said: FxHashSet<Spot>,
    },
    /// A repeat: the older function's place has the file's.
    Replaced(Write),
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
    /// Tables that calls have made, with those that older calls of the same kind have made: the
    /// chunk has gone on with these.
    pub made: Vec<(Ref, Ref)>,
    /// The coroutines that the load has made, by address, with their functions.
    pub threads: FxHashMap<usize, Ref>,
    /// Tables of the file's that calls which register were given.
    pub given: Vec<Ref>,
    /// First and last lines of the file's functions that calls were given.
    pub functions: Vec<(i32, i32)>,
    /// For the report.
    pub calls: Calls,
    /// The version of the last load, if that was read.
    pub last: Option<Version>,
}

/// An older registration, to which a call of the load may answer yet.
enum OlderRegistration {
    /// What it placed, by address.
    Objects(Vec<usize>),
    /// An entry of a table, with what it holds.
    Entry(Ref, KeyValue),
}

/// What is known of the file, and of the calls of the module's last load.
pub struct LastCalls<'a> {
    /// The version of the file that is loaded.
    pub file: &'a Compiled,
    /// Those that are on record.
    pub recorded: Option<Recorded>,
    /// Which functions are generations of one.
    pub lineage: Option<Lineage>,
    /// Its main function, or nil.
    pub main: Ref,
    /// The version of the file that is kept: its own, or an older one.
    pub version: Option<&'a Version>,
}

/// What is known of the calls of a chunk that is running.
pub struct Effects<'a> {
    /// To put back what calls have changed.
    pub permit: Permit,
    context: &'a Context,
    snapshot: &'a Snapshot,
    chunk: Option<&'a Chunk>,
    file: &'a Compiled,
    ownership: &'a mut Ownership,
    /// The coroutine on which the chunk runs and its main function, once it has begun.
    chunk_at: (usize, usize),
    /// What is remembered.
    pub past: Past,
    names: FunctionNames,
    /// Coroutines that the load has made, with their functions.
    threads: FxHashMap<usize, Ref>,
    /// The coroutines that are active, the running one last, with what runs on each.
    active: Vec<(usize, Vec<Activation>)>,
    open: Vec<OpenCall>,
    log: Vec<Logged>,
    /// What each function's code names, by the function's address.
    constants: FxHashMap<usize, Kept<Ref>>,
    standard: Standard,
    holders: FxHashMap<(u32, bool), Holders>,
    pairs: Vec<(Ref, Ref)>,
    /// Tables that repeats have made, with those that answer to them.
    made: Vec<(Ref, Ref)>,
    /// Older objects that repeats answer to, by address.
    repeated: FxHashSet<usize>,
    /// Calls that stay though older ones are much like them, and the warnings.
    doubled: Vec<(OlderRegistration, String)>,
    /// Tables of the file's that calls which register were given.
    given: Vec<Ref>,
    /// First and last lines of the file's functions that calls were given.
    functions: Vec<(i32, i32)>,
    /// What the main function lends to the module's own functions.
    lent: LentFunctions,
    /// Older tables that repeats have returned to the chunk: their data stay.
    handed: FxHashSet<u32>,
    /// Functions of the running module that the chunk has called itself, by address.
    older: FxHashSet<usize>,
    calls: Calls,
    recorded: Option<Recorded>,
    taken: Taken,
    lineage: Option<Lineage>,
    /// The main function of the last load, and what is kept of a version.
    last_main: Ref,
    last_version: Option<&'a Version>,
    /// The version of the last load, if that was read for this.
    read_version: Option<Version>,
    /// The calls of both texts, once they were asked for.
    texts: Option<Option<Box<BothTexts>>>,
    /// Entries that were looked at for what a call has placed somewhere else.
    searched: usize,
    /// How callers have named functions, by their addresses, and how often that was asked.
    names_of_callees: FxHashMap<usize, (String, &'static str)>,
    named: u32,
    /// Functions that were called by several names, by their addresses.
    several_names: FxHashSet<usize>,
    /// Coroutines that the chunk itself has resumed.
    resumed: FxHashSet<usize>,
    /// The tables that the file can name, once that was asked for.
    nameable: Option<NamedTables>,
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
        last: LastCalls<'a>,
    ) -> Effects<'a> {
        Effects {
            permit,
            context,
            snapshot,
            chunk,
            file: last.file,
            ownership,
            chunk_at: (0, main),
            past: Past::new(BUDGET),
            names: FunctionNames::default(),
            threads: FxHashMap::default(),
            active: Vec::new(),
            open: Vec::new(),
            log: Vec::new(),
            constants: FxHashMap::default(),
            standard: Standard::default(),
            holders: FxHashMap::default(),
            pairs: Vec::new(),
            made: Vec::new(),
            repeated: FxHashSet::default(),
            doubled: Vec::new(),
            given: Vec::new(),
            functions: Vec::new(),
            lent: LentFunctions::default(),
            handed: FxHashSet::default(),
            older: FxHashSet::default(),
            calls: Calls::default(),
            recorded: last.recorded,
            taken: Taken::default(),
            lineage: last.lineage,
            last_main: last.main,
            last_version: last.version,
            read_version: None,
            texts: None,
            searched: 0,
            names_of_callees: FxHashMap::default(),
            named: 0,
            several_names: FxHashSet::default(),
            resumed: FxHashSet::default(),
            nameable: None,
        }
    }

    fn is_new(&self, made: Creations<'_>, val: Val) -> bool {
        repeat::is_new(made, &self.threads, val)
    }
}

impl Watcher for Effects<'_> {
    fn called(&mut self, vm: &mut Vm, frame: &CallFrame<'_>) -> Result<()> {
        let callee = frame.callee();
        if self.chunk_at.0 == 0 {
            if callee.addr != self.chunk_at.1 {
                return Ok(());
            }
            self.chunk_at.0 = frame.thread();
            let function = frame.function(vm)?;
            self.names.source = vm.info(function)?.map(|info| info.source);
        }
        self.on_coroutine(vm, frame)?;
        let mut activation = Activation {
            addr: callee.addr,
            role: self.role(frame, &callee),
            calls: self.open.len(),
            dependency: false,
            body: None,
        };
        let (mut caller, mut by_main) = (None, false);
        if frame.is_tail {
            // The function takes the frame of the one that called it, and what began there ends
            // with it.
            if let Some(former) = self.running().and_then(Vec::pop) {
                activation.calls = former.calls;
                activation.dependency = former.dependency;
                by_main = former.addr == self.chunk_at.1;
                caller = Some(former.role).filter(|role| *role != Role::Between);
            }
        } else if !self.is_called_by_last(frame)
            && let Some(below) = frame.caller()
        {
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
            by_main |= self.is_called_by_main();
            self.note_loans(vm, frame, &callee, (activation.role, by_main))?;
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

    fn returned(&mut self, vm: &mut Vm, frame: &CallFrame<'_>) -> Result<()> {
        if self.chunk_at.0 == 0 {
            return Ok(());
        }
        self.on_coroutine(vm, frame)?;
        if !self.unwind(vm, frame, frame.address())? {
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

    fn ended(&mut self, vm: &mut Vm, made: Creations<'_>) -> Result<()> {
        while !self.active.is_empty() {
            while self.running().is_some_and(|running| !running.is_empty()) {
                self.leave(vm, made, None, Ending::Raised)?;
            }
            self.active.pop();
        }
        Ok(())
    }
}

fn copied_text(text: &str) -> Result<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())?;
    copy.push_str(text);
    Ok(copy)
}
