//! R2: runs the incoming version inside a transaction.
//!
//! The chunk runs in the running program and may write to it. When it has ended, well or not,
//! everything remembered is put back at once; what it changed goes on as a list of [`Change`]s. So
//! the later stages plan on the running version as it was, and nothing of it changes before
//! `commit`.

use std::sync::Arc;

use crate::code::compiled::Compiled;
use crate::code::outline::Outline;
use crate::code::{Chunk, MetFunctions};
use crate::lua::chunk::run;
use crate::lua::tracker::Fresh;
use crate::lua::vm::{Kind, Ref, Val, Version, Vm};
use crate::lua::write::Permit;
use crate::model::lineage::Lineage;
use crate::model::ownership::Ownership;
use crate::stages::effects::{Effects, Exchange, LastCalls, Left, Recorded};
use crate::stages::find::{ChunkSource, Context, Found};
use crate::stages::snapshot::{self, Change, Modules, Snapshot};
use crate::support::error::{Error, Result, without_text};
use crate::support::fault::{self, caught};
use crate::support::limits::Where;
use crate::support::mem::TryPush;

/// Entries of the running object that are looked at for a function of the module's own.
const MOST_LOOKED_AT: usize = 10_000;

/// Values that a reload holds for each function, about…
const HELD_PER_FUNCTION: usize = 6;
/// …and for the globals, the standard libraries and the module's tables, of which a small module
/// has few.
const HELD_BESIDES: std::ops::Range<usize> = 400..1000;

/// The incoming version, loaded; the running program is as it was.
pub struct Loaded {
    /// What the module returned: a table, a function, or nil for nothing.
    pub value: Ref,
    /// What its chunk changed in tables that existed.
    pub changes: Vec<Change>,
    /// What was remembered: it tells where a changed table stands.
    pub snapshot: Snapshot,
    /// What was created meanwhile.
    pub fresh: Fresh,
    /// The functions that are the module's own.
    pub ownership: Ownership,
    /// What is known of its code; none for a dump that is not exactly that of Lua 5.4.
    pub chunk: Option<Arc<Chunk>>,
    /// Which of its functions were met.
    pub met: MetFunctions,
    /// Its main function.
    pub main: Ref,
    /// What depends on its text alone.
    pub compiled: Arc<Compiled>,
    /// The main function of the last load, or nil where none is known.
    pub last_main: Ref,
    /// What is kept of the version that was reloaded last.
    pub last: Option<Version>,
    /// It was reloaded before: functions of several versions of its text may be alive.
    pub was_reloaded: bool,
    /// The cell of the chunk's own `_ENV` (R4.4).
    pub environment: Option<usize>,
    /// What the calls that its chunk made have left to do (R5.9).
    pub left: Left,
}

/// What is on record of the module's last load.
#[derive(Default)]
pub struct LastLoad {
    /// The source name that its functions had.
    pub source: Option<Vec<u8>>,
    /// The calls that its chunk made.
    pub calls: Option<Recorded>,
    /// Which functions are generations of one.
    pub lineage: Option<Lineage>,
    /// Its main function, or nil.
    pub main: Ref,
    /// The version that is kept.
    pub version: Option<Version>,
}

/// Compiles what was found, or takes it from another state.
fn compile(
    vm: &mut Vm,
    context: &Context,
    found: &mut Found,
    last: Option<&Version>,
) -> Result<(Version, Option<Arc<Chunk>>)> {
    let version = match &mut found.code {
        ChunkSource::Loader(main) => vm.version_of(*main)?,
        ChunkSource::Text(code, chunk_name) => {
            let code = std::mem::take(code);
            vm.compile(code, chunk_name, last)
                .map_err(|error| match error {
                    Error::Lua(text) => Error::Compile {
                        name: context.title.clone(),
                        text: without_text(text),
                    },
                    other => other,
                })?
        }
    };
    let chunk = version.compiled.chunk(vm.secret())?;
    Ok((version, chunk))
}

/// Compiles and runs the incoming version, and puts back what its chunk changed. Of `found` the
/// text is gone afterwards. `modules`: those that are loaded. `around` has the host's functions
/// around the chunk.
///
/// # Errors
/// [`Error::Compile`], [`Error::Chunk`] with a traceback, [`Error::Memory`]; the program is then as
/// it was.
pub fn load(
    vm: &mut Vm,
    permit: Permit,
    context: &Context,
    found: &mut Found,
    modules: Modules,
    mut last: LastLoad,
    around: [Ref; 2],
) -> Result<Loaded> {
    let (version, chunk) = compile(vm, context, found, last.version.as_ref())?;
    let Version { main, compiled } = version;
    let met = match &chunk {
        Some(chunk) => chunk.unmet()?,
        None => MetFunctions::default(),
    };
    let mut ownership = ownership_of(vm, context, main, last.source.take())?;
    let has_functions = chunk.as_ref().is_none_or(|chunk| chunk.functions() > 1);
    if ownership.is_cut && has_functions {
        vm.limits.meet(
            "only the first {} entries of its object were searched for functions of its own; if \
             its file was found by another path before, give its data a field of their own (R1.2)",
            MOST_LOOKED_AT,
            Where::Module,
        )?;
    }
    let [before, after] = around;
    call_host(vm, context, "before", before)?;
    let ran = run_chunk(
        vm,
        permit,
        context,
        modules,
        [main, found.data],
        &mut ownership,
        (
            chunk.as_deref(),
            LastCalls {
                file: &compiled,
                recorded: last.calls.take(),
                lineage: last.lineage,
                main: last.main,
                version: last.version.as_ref(),
            },
        ),
    );
    let told = call_host(vm, context, "after", after);
    let ran = ran?;
    told?;
    let RanChunk {
        returned,
        set,
        mut changes,
        snapshot,
        fresh,
        mut left,
    } = ran;
    meet_cut(vm, &snapshot, &compiled)?;
    let names_loaded = chunk
        .as_ref()
        .is_some_and(|chunk| chunk.has_name(b"loaded", vm.secret()));
    let value = match result_of(vm, context, returned, set)? {
        Ref::NIL
            if vm.val(returned).is_nil()
                && takes_up(vm, context, main, names_loaded, &changes)? =>
        {
            context.running
        }
        value => value,
    };
    adopt_sources(vm, main, value, &fresh, &mut ownership)?;
    changes.retain(|change| {
        !(change.table == context.loaded
            && change
                .key
                .is_some_and(|key| vm.raw_equal(key, context.name)))
    });
    let environment = match found.code {
        ChunkSource::Text(..) => environment_of_text(vm, main),
        ChunkSource::Loader(_) => environment_of_loader(vm, main),
    };
    Ok(Loaded {
        value,
        changes,
        snapshot,
        fresh,
        ownership,
        chunk,
        met,
        main,
        compiled,
        last_main: last.main,
        last: left.last.take().or(last.version),
        was_reloaded: false,
        environment,
        left,
    })
}

/// Tells of tables that were not remembered, unless the chunk writes into none but its own.
fn meet_cut(vm: &mut Vm, snapshot: &Snapshot, compiled: &Compiled) -> Result<()> {
    let Some(most) = snapshot.cut else {
        return Ok(());
    };
    if Outline::read(&compiled.dump)?.is_some_and(|outline| outline.is_constant) {
        return Ok(());
    }
    vm.limits.meet(
        "the file names more than {} tables, and what its chunk writes into further ones is not \
         put back; guard such writes with hotreload.reloading() (R2.1)",
        most,
        Where::Module,
    )
}

/// Calls the host's function before or behind the chunk (R2.6).
fn call_host(vm: &mut Vm, context: &Context, which: &str, function: Ref) -> Result<()> {
    if !vm.val(function).is_function() {
        return Ok(());
    }
    vm.call(function, &[context.name])
        .map(|[]| ())
        .map_err(|error| match error {
            Error::Lua(text) => Error::Refused {
                name: context.title.clone(),
                why: format!(
                    "chunk.{which} of 'configure' raised an error, correct it: {}",
                    String::from_utf8_lossy(&text)
                ),
            },
            other => other,
        })
}

/// A chunk that has run; the program is as it was.
struct RanChunk {
    /// What it returned.
    returned: Ref,
    /// What it left in `package.loaded`.
    set: Ref,
    changes: Vec<Change>,
    snapshot: Snapshot,
    fresh: Fresh,
    left: Left,
}

/// Runs the chunk whose main function, and loader data, are given, and puts back what it changed.
fn run_chunk(
    vm: &mut Vm,
    permit: Permit,
    context: &Context,
    modules: Modules,
    [main, data]: [Ref; 2],
    ownership: &mut Ownership,
    (chunk, last): (Option<&Chunk>, LastCalls<'_>),
) -> Result<RanChunk> {
    let nothing = Chunk::default();
    let of_functions = chunk.map_or(0, Chunk::functions) * HELD_PER_FUNCTION;
    vm.reserve(of_functions + (HELD_BESIDES.start + of_functions).min(HELD_BESIDES.end))?;
    let expected = chunk.map_or(0, |chunk| chunk.functions() * 3 / 2);
    let mut snapshot = Snapshot::of(vm, context, modules, chunk.unwrap_or(&nothing), ownership)?;
    let address = vm.val(main).addr;
    let mut effects = Effects::new(permit, context, &snapshot, chunk, ownership, address, last);
    // From here to `put_back` nothing may get past: neither an error nor a panic.
    let ran = run(vm, main, [context.name, data], expected, &mut effects);
    let (outcome, fresh) = (ran.outcome, ran.fresh);
    let set = caught("after the chunk", || {
        fault::point()?;
        vm.get(context.loaded, context.name)
    });
    let (mut changes, mut left) = put_back(vm, &snapshot, effects, &fresh)?;
    if ran.blinded {
        left.calls.warnings.try_push(format!(
            "{}: its chunk sets a debug hook, so what its calls did afterwards stays; set the hook \
             in a function that the program calls",
            context.title
        ))?;
    }
    let returned = outcome.map_err(|error| match error {
        Error::Lua(text) => Error::Chunk {
            name: context.title.clone(),
            text: left.calls.explain(text),
        },
        other => other,
    })?;
    add_exchanges(vm, &mut snapshot, &left.exchanges, &mut changes)?;
    Ok(RanChunk {
        returned,
        set: set?,
        changes,
        snapshot,
        fresh,
        left,
    })
}

/// What the load has put in the place of something older, in tables of other modules that the code
/// cannot name.
fn add_exchanges(
    vm: &mut Vm,
    snapshot: &mut Snapshot,
    exchanges: &[Exchange],
    changes: &mut Vec<Change>,
) -> Result<()> {
    for exchange in exchanges {
        let number = snapshot.adopt(vm, exchange.table)?;
        let same = |change: &&mut Change| {
            change.number == number
                && change
                    .key
                    .is_some_and(|key| vm.raw_equal(key, exchange.key))
        };
        match changes.iter_mut().find(same) {
            Some(known) => known.new = exchange.new,
            None => changes.try_push(Change {
                table: exchange.table,
                number,
                key: Some(exchange.key),
                old: exchange.old,
                new: exchange.new,
            })?,
        }
    }
    Ok(())
}

/// What `require` would put into `package.loaded`: what the chunk returned, else what it put there
/// itself.
fn result_of(vm: &Vm, context: &Context, returned: Ref, set: Ref) -> Result<Ref> {
    let value = if !vm.val(returned).is_nil() {
        returned
    } else if vm.raw_equal(set, context.running) {
        Ref::NIL
    } else {
        set
    };
    match vm.val(value).kind {
        Kind::Table | Kind::Function => Ok(value),
        Kind::Nil | Kind::Boolean => Ok(Ref::NIL),
        other => Err(Error::Refused {
            name: context.title.clone(),
            why: format!(
                "it returns a {}; return a table, a function or nothing",
                other.name()
            ),
        }),
    }
}

/// Does a chunk that returns nothing take its running object up from `package.loaded`, where the
/// chunk itself had put it? It does where that is its environment, or one of functions that it
/// wrote there (`module(...)`, as in Lua 5.1), or where it names `loaded` and wrote there.
fn takes_up(
    vm: &mut Vm,
    context: &Context,
    main: Ref,
    names_loaded: bool,
    changes: &[Change],
) -> Result<bool> {
    let running = vm.val(context.running);
    if !running.is_table() {
        return Ok(false);
    }
    let mut written = changes
        .iter()
        .filter(|change| vm.val(change.table) == running)
        .peekable();
    if names_loaded && written.peek().is_some() {
        return Ok(true);
    }
    let has_environment = |function: Ref| {
        let mut upvalues =
            (1..=u8::MAX).map_while(|i| vm.upvalue(function, i).map(|upvalue| (i, upvalue.value)));
        upvalues.any(|(i, value)| value == running && vm.upvalue_name(function, i) == b"_ENV")
    };
    Ok(has_environment(main)
        || written.any(|change| vm.val(change.new).is_function() && has_environment(change.new)))
}

/// The module's source names: its loader's, the one on record, and, where no function of the
/// running object has one of these (the file was found by another path), the one that ends in the
/// same file name.
pub fn ownership_of(
    vm: &mut Vm,
    context: &Context,
    main: Ref,
    known_source: Option<Vec<u8>>,
) -> Result<Ownership> {
    let mut ownership = Ownership::default();
    ownership.add_loader(vm, main)?;
    let is_known = known_source.is_some();
    if let Some(source) = known_source {
        ownership.add(source)?;
    }
    if !vm.val(context.running).is_table() {
        return Ok(ownership);
    }
    let tail = String::from_utf8_lossy(&context.bytes).replace('.', "/");
    let mut moved = Vec::new();
    let mut looked_at = 0;
    let mut cursor = vm.walk(context.running, Ref::NIL)?;
    while let Some(entry) = cursor.next(vm) {
        looked_at += 1;
        if looked_at > MOST_LOOKED_AT {
            cursor.end(vm);
            ownership.is_cut = !is_known;
            break;
        }
        if !entry.new.is_function() {
            continue;
        }
        let mark = vm.held();
        let function = cursor.keep_pair(vm)?.value;
        let info = vm.info(function)?.unwrap_or_default();
        if info.lua {
            if ownership.owns(vm, function, &info)? {
                vm.release(mark);
                cursor.end(vm);
                return Ok(ownership);
            }
            // Of a chunk without a name it is all of its text.
            let is_moved = vm.with_source(function, |source| ends_in(source, &tail));
            if is_moved == Some(true) {
                let source = vm.source(function)?.unwrap_or_default();
                if !moved.contains(&source) {
                    moved.try_push(source)?;
                }
            }
        }
        vm.release(mark);
    }
    if !moved.is_empty() {
        let longer = other_tails(vm, context, tail.len())?;
        moved.retain(|source| !longer.iter().any(|tail| ends_in(source, tail)));
    }
    for source in moved {
        ownership.add(source)?;
    }
    Ok(ownership)
}

/// Is it the source name of a file whose path ends as the name of a module does?
fn ends_in(source: &[u8], tail: &str) -> bool {
    let slash = |byte: &u8| if *byte == b'\\' { b'/' } else { *byte };
    [".lua", "/init.lua"].iter().any(|end| {
        let start = source.len().checked_sub(tail.len() + end.len());
        let Some((rest, path)) = start.and_then(|start| source.split_at_checked(start)) else {
            return false;
        };
        path.iter().map(slash).eq(tail.bytes().chain(end.bytes()))
            && (rest == b"@" || rest.last().map(slash) == Some(b'/'))
    })
}

/// The ends of the paths of other modules with the same object (a module that ends in `return
/// require "x.y"`), of those that are longer than this module's own: a path that ends so is the
/// other one's.
fn other_tails(vm: &mut Vm, context: &Context, length: usize) -> Result<Vec<String>> {
    let (mut names, running) = (Vec::new(), vm.val(context.running));
    let mut cursor = vm.walk(context.loaded, Ref::NIL)?;
    while let Some(entry) = cursor.next(vm) {
        if entry.new == running && entry.key.kind == Kind::String {
            names.try_push(cursor.keep_pair(vm)?.key)?;
        }
    }
    let mut tails = Vec::new();
    for name in names {
        let name = vm.bytes(name)?.unwrap_or_default();
        let tail = String::from_utf8_lossy(&name).replace('.', "/");
        if tail.len() > length {
            tails.try_push(tail)?;
        }
    }
    Ok(tails)
}

/// The cell of `_ENV` in a main function that was compiled here: the first, whatever its name.
fn environment_of_text(vm: &Vm, main: Ref) -> Option<usize> {
    vm.upvalue(main, 1).map(|upvalue| upvalue.cell)
}

/// The cell of `_ENV` in a loader.
pub fn environment_of_loader(vm: &Vm, loader: Ref) -> Option<usize> {
    (1..=u8::MAX)
        .map_while(|i| vm.upvalue(loader, i).map(|upvalue| (i, upvalue.cell)))
        .find(|(i, _)| vm.upvalue_name(loader, *i) == b"_ENV")
        .map(|(_, cell)| cell)
}

/// A loader that is no main chunk runs the module's code for it; that code has a source name of its
/// own. The sources of the fresh functions in the module's object count then as the module's own.
pub fn adopt_sources(
    vm: &mut Vm,
    main: Ref,
    value: Ref,
    fresh: &Fresh,
    ownership: &mut Ownership,
) -> Result<()> {
    if vm.info(main)?.is_none_or(|info| info.main) || !vm.val(value).is_table() {
        return Ok(());
    }
    let mut sources = Vec::new();
    let mut cursor = vm.walk(value, Ref::NIL)?;
    while let Some(entry) = cursor.next(vm) {
        if entry.new.is_function() && fresh.order(entry.new.addr).is_some() {
            let mark = vm.held();
            let function = cursor.keep_pair(vm)?.value;
            let is_lua = vm.info(function)?.is_some_and(|info| info.lua);
            if let Some(source) = vm.source(function)?.filter(|_| is_lua) {
                sources.try_push(source)?;
            }
            vm.release(mark);
        }
    }
    sources
        .into_iter()
        .try_for_each(|source| ownership.add(source))
}

/// Puts everything remembered back and returns what the chunk and its calls changed. Where there is
/// no memory for the lists, everything is put back all the same.
fn put_back(
    vm: &mut Vm,
    snapshot: &Snapshot,
    mut effects: Effects<'_>,
    fresh: &Fresh,
) -> Result<(Vec<Change>, Left)> {
    let (mut changes, mut others) = (Vec::new(), Vec::new());
    let created = |val: Val| fresh.created(val.addr);
    let listed = caught("while looking for what the chunk changed", || {
        fault::point()?;
        effects.finish(vm)?;
        (0..snapshot.len())
            .try_for_each(|i| snapshot.changes(vm, i, created, &mut changes, &mut others))
    });
    let mut lost = effects.past.restore(vm, effects.permit);
    lost += snapshot::restore(vm, effects.permit, &others);
    lost += snapshot::restore(vm, effects.permit, &changes);
    if listed.is_err() || !effects.past.is_empty() {
        // What calls may have changed was remembered when the first of them was made: the chunk had
        // changed some of it by then.
        lost += snapshot::restore_all(vm, effects.permit, snapshot);
    }
    match (listed, lost) {
        (Ok(()), 0) => {
            let is_new =
                |val: Val| matches!(val.kind, Kind::Table | Kind::Function) && created(val);
            let left = effects.left(vm, is_new, &mut changes, others)?;
            Ok((changes, left))
        }
        (Err(error), 0) => Err(error),
        (_, left) => Err(Error::PutBack {
            cause: "the module's chunk had changed the program".into(),
            left,
        }),
    }
}
