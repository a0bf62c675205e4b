//! R12: whether a module's file differs from what runs.
//!
//! Where a reload has loaded the file, its content is on record, and two digests are compared. What
//! `require` loaded before that left no record. Then the file is compiled, never run, and its
//! functions are compared with the running ones, by their lines and their code; of a file that is
//! nothing but a table of constants the table is compared. Nothing of the program is changed, and
//! nothing of it runs but searchers that are not Lua's own.

use std::borrow::Cow;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Chunk;
use crate::code::outline::Outline;
use crate::lua::entry::{Answer, Answers};
use crate::lua::files;
use crate::lua::open::CONTENTS;
use crate::lua::stock::Stock;
use crate::lua::vm::{DebugInfo, Kind, Ref, Vm};
use crate::lua::write;
use crate::stages::find::{self, ChunkSource, Contents, Context, Found};
use crate::stages::load;
use crate::support::error::{Error, Result, without_text};
use crate::support::mem::{TryInsert, TryPush};

/// Entries of running tables that are looked at for functions of the module's own.
const MOST_LOOKED_AT: usize = 50_000;

/// Notes the content of what a reload loads, under the module's name: it is on record when that
/// reload has succeeded.
///
/// # Errors
/// [`Error::Memory`].
pub fn note(vm: &mut Vm, context: &Context, found: &Found) -> Result<()> {
    let content = content_of(vm, found)?;
    let contents = vm.registry(CONTENTS)?;
    let content = vm.number(content)?;
    write::fill(vm, contents, context.name, content)
}

/// A digest of the text that is compiled, or of a loader's code.
fn content_of(vm: &mut Vm, found: &Found) -> Result<i64> {
    match &found.code {
        ChunkSource::Text(text, _) => Ok(digest(vm, text.bytes())),
        ChunkSource::Loader(loader) => {
            if let (Some(false), Some(path)) =
                (vm.info(*loader)?.map(|info| info.main), &found.file)
                && let Ok(text) = find::read(path)
            {
                // A wrapper: its own code says nothing of the file.
                return Ok(digest(vm, text.bytes()));
            }
            vm.dump(*loader, DebugInfo::Keep)?;
            let dump = vm.take_dump();
            Ok(digest(vm, &dump))
        }
    }
}

/// (`hotreload.changed` hands these out.)
fn digest(vm: &Vm, bytes: &[u8]) -> i64 {
    vm.secret().published_digest(bytes).cast_signed()
}

/// `core.look(owed, name, stock, source, content, stamp, exact, text_only, others)` → `owed, state,
/// content, stamp, message, file`.
///
/// `content` is what is on record (nil for nothing), `stamp` what the last look gave (nil for a
/// look that reads the file in any case). States: `same`, `changed`; `broken` (does not compile)
/// and `gone` (not found, or not to be read), with a message; `none` for what cannot be reloaded or
/// has no file. A message of `same` says what was not compared. With `exact`, of a file that is a
/// table of constants, rows that only the running one has count.
///
/// # Errors
/// [`Error::Memory`]; nothing else.
pub fn look(vm: &mut Vm) -> Result<Answers> {
    let (name, stock, source) = (vm.argument(2)?, vm.argument(3)?, vm.argument(4)?);
    let (content, stamp, exact) = (vm.argument(5)?, vm.argument(6)?, vm.argument(7)?);
    let (text_only, others) = (vm.argument(8)?, vm.argument(9)?);
    let stock = Stock::of(vm, stock)?;
    let context = Context::new(vm, name, stock)?;
    let record = FileRecord {
        source: vm.bytes(source)?,
        content: vm.integer(content),
        stamp: vm.integer(stamp),
        exact: vm.truthy(exact),
        text_only: vm.truthy(text_only),
        others,
    };
    let view = match view(vm, &context, &record) {
        Ok(view) => view,
        Err(Error::Memory) => return Err(Error::Memory),
        Err(Error::Refused { .. }) => View::only("none"),
        Err(Error::NotFound { .. }) if record.content.is_none() && !had_file(vm, &context)? => {
            View::only("none")
        }
        Err(error @ (Error::NotFound { .. } | Error::Unreadable { .. })) => View {
            message: Some(error.to_bytes()),
            ..View::only("gone")
        },
        Err(error) => View {
            message: Some(error.to_bytes()),
            ..View::only("broken")
        },
    };
    let mut held = [Ref::NIL; 5];
    let mut number = |number: Option<i64>| number.map_or(Ok(Ref::NIL), |n| vm.number(n));
    let (content, stamp) = (number(view.content)?, number(view.stamp)?);
    let message = match view.message {
        Some(message) => vm.string(&message)?,
        None => Ref::NIL,
    };
    let file = match view.file {
        Some(path) => vm.string(path.as_os_str().as_encoded_bytes())?,
        None => Ref::NIL,
    };
    let state = vm.string(view.state.as_bytes())?;
    for (place, value) in held.iter_mut().zip([state, content, stamp, message, file]) {
        *place = value;
    }
    Ok(held.into_iter().map(Answer::Held).collect())
}

/// `core.text(owed, name, stock)` → `owed, text`: what the module's file says; nil for a module
/// without a file.
///
/// # Errors
/// As [`find::search`], and what a name alone refuses.
pub fn text(vm: &mut Vm) -> Result<Answers> {
    let (name, stock) = (vm.argument(2)?, vm.argument(3)?);
    let stock = Stock::of(vm, stock)?;
    let context = Context::new(vm, name, stock)?;
    find::refuse(vm, &context)?;
    let found = find::search(vm, &context, Contents::Read)?;
    let text = match (found.code, found.file) {
        (ChunkSource::Text(text, _), _) => vm.string(text.bytes())?,
        (ChunkSource::Loader(_), Some(path)) => {
            let text = find::read(&path)?;
            vm.string(text.bytes())?
        }
        (ChunkSource::Loader(_), None) => Ref::NIL,
    };
    Ok([text].into_iter().map(Answer::Held).collect())
}

/// Does a function of the running module come from a file of its name? Else the program itself put
/// the module there.
fn had_file(vm: &mut Vm, context: &Context) -> Result<bool> {
    let ownership = load::ownership_of(vm, context, Ref::NIL, None)?;
    Ok(!ownership.is_empty())
}

/// What is known of a module's file.
struct FileRecord {
    source: Option<Vec<u8>>,
    content: Option<i64>,
    stamp: Option<i64>,
    exact: bool,
    /// R1.8
    text_only: bool,
    /// A table that all looks of one call share; see [`fill_others`].
    others: Ref,
}

/// What a look found.
struct View {
    state: &'static str,
    content: Option<i64>,
    stamp: Option<i64>,
    message: Option<Cow<'static, [u8]>>,
    file: Option<PathBuf>,
}

impl View {
    fn only(state: &'static str) -> View {
        View {
            state,
            content: None,
            stamp: None,
            message: None,
            file: None,
        }
    }
}

fn view(vm: &mut Vm, context: &Context, record: &FileRecord) -> Result<View> {
    find::refuse(vm, context)?;
    let mut found = find::search(vm, context, Contents::Skip)?;
    let Some(path) = found.file.clone() else {
        return Ok(View::only("none"));
    };
    let stamp = files::stamp(&path, SystemTime::now());
    if stamp.is_some() && stamp == record.stamp && record.content.is_some() {
        return Ok(View {
            content: record.content,
            stamp,
            file: Some(path),
            ..View::only("same")
        });
    }
    if let ChunkSource::Text(text, _) = &mut found.code {
        *text = find::read(&path)?;
    }
    let content = content_of(vm, &found)?;
    let with = |state, message| View {
        state,
        content: Some(content),
        stamp,
        message,
        file: Some(path.clone()),
    };
    if record.content == Some(content) {
        return Ok(with("same", None));
    }
    if record.text_only
        && let Err(error) = find::refuse_binary(context, &found.code)
    {
        return Ok(with("broken", Some(error.to_bytes())));
    }
    let main = match compile(vm, &found, &path) {
        Ok(main) => main,
        Err(Error::Lua(text)) => {
            let error = Error::Compile {
                name: context.title.clone(),
                text: without_text(text),
            };
            return Ok(with("broken", Some(error.to_bytes())));
        }
        Err(error) => return Err(error),
    };
    // What is no object cannot be reloaded (R12.1): one name would have a whole list refused.
    let value = vm.get(context.loaded, context.name)?;
    let kind = vm.kind(value);
    let changed = || match kind {
        Kind::String | Kind::Number => {
            let text = format!(
                "its file has changed, and it returns a {}, which no reload can take: return a \
                 table, or set package.loaded to nil, and require it where it is used (R12.1)",
                kind.name()
            );
            with("broken", Some(text.into_bytes().into()))
        }
        _ => with("changed", None),
    };
    if record.content.is_some() {
        return Ok(changed());
    }
    Ok(match differs(vm, context, main, record)? {
        FileDifference::Found => changed(),
        FileDifference::None => with("same", None),
        FileDifference::NotAllCompared => {
            let text = format!(
                "only the first {MOST_LOOKED_AT} entries of its tables were compared with its \
                 file; reload it once, and its file is compared as a whole (R12.3)"
            );
            with("same", Some(text.into_bytes().into()))
        }
    })
}

/// The file's main function. A wrapper's file may be anything: what is no Lua cannot be compared,
/// so the wrapper itself is taken.
fn compile(vm: &mut Vm, found: &Found, path: &Path) -> Result<Ref> {
    match &found.code {
        ChunkSource::Text(text, chunk_name) => vm.load(text, chunk_name),
        ChunkSource::Loader(loader) if vm.info(*loader)?.is_some_and(|info| info.main) => {
            Ok(*loader)
        }
        ChunkSource::Loader(loader) => {
            let name = [b"@", path.as_os_str().as_encoded_bytes()].concat();
            let name = CString::new(name).unwrap_or_default();
            match find::read(path).and_then(|text| vm.load(&text, &name)) {
                Err(Error::Memory) => Err(Error::Memory),
                compiled => Ok(compiled.unwrap_or(*loader)),
            }
        }
    }
}

/// Whether a file's code is other than what runs.
enum FileDifference {
    Found,
    None,
    /// None was found, and there was too much to look at.
    NotAllCompared,
}

/// Is the file's code, of which `main` is the main function, other than what runs?
fn differs(
    vm: &mut Vm,
    context: &Context,
    main: Ref,
    record: &FileRecord,
) -> Result<FileDifference> {
    vm.dump(main, DebugInfo::Strip)?;
    let dump = vm.take_dump();
    let Some(outline) = Outline::read(&dump)? else {
        return Ok(FileDifference::None);
    };
    if outline.is_constant && data_differs(vm, context, main, record.exact)? {
        return Ok(FileDifference::Found);
    }
    let Some(chunk) = Chunk::read(dump, vm.secret())? else {
        return Ok(FileDifference::None);
    };
    let running = RunningFunctions::of(vm, context, main, record, &chunk)?;
    let mut seen = FxHashSet::default();
    for function in &running.functions {
        let Some(info) = vm.info(*function)? else {
            continue;
        };
        let Some(profile) = chunk.on_lines(info.line, info.last) else {
            return Ok(FileDifference::Found); // no function of the file is there
        };
        seen.try_insert_value((info.line, info.last), ())?;
        let own = vm.profile(*function)?;
        if profile.is_some_and(|profile| own.is_some() && !profile.is_same_code(own)) {
            return Ok(FileDifference::Found);
        }
    }
    // A function that the file puts under a name, and that runs nowhere, is new, unless it stands
    // where nobody can see it.
    let mut names = None;
    for (number, stored) in outline.stored.iter().enumerate() {
        let is_alone = matches!(chunk.on_lines(stored.line, stored.last), Some(Some(_)));
        if is_alone && seen.contains(&(stored.line, stored.last)) {
            continue;
        }
        let name = vm.string(chunk.text(stored.name))?;
        let is_new = match stored.table {
            None => vm
                .get(context.globals, name)
                .map(|value| vm.val(value).is_nil())?,
            Some(table)
                if Some(table) == outline.returned && vm.val(context.running).is_table() =>
            {
                vm.get(context.running, name)
                    .map(|value| vm.val(value).is_nil())?
            }
            _ if !running.is_whole => false,
            table => {
                let names = match &mut names {
                    Some(names) => names,
                    None => names.insert(running.names(vm, &outline, &chunk)?),
                };
                names.lack(number, table)
            }
        };
        if is_new {
            return Ok(FileDifference::Found);
        }
    }
    Ok(match running.is_whole {
        true => FileDifference::None,
        false => FileDifference::NotAllCompared,
    })
}

/// The module's functions, and the tables that they stand in.
struct RunningFunctions {
    functions: Vec<Ref>,
    tables: Vec<Ref>,
    /// Nothing was left out.
    is_whole: bool,
}

impl RunningFunctions {
    fn of(
        vm: &mut Vm,
        context: &Context,
        main: Ref,
        record: &FileRecord,
        chunk: &Chunk,
    ) -> Result<RunningFunctions> {
        let mut ownership = load::ownership_of(vm, context, main, record.source.clone())?;
        fill_others(vm, context, record.others)?;
        let own = vm.val(context.running).addr;
        let mut met: FxHashSet<usize> = FxHashSet::default();
        let mut queue = Vec::new();
        if context.is_loaded() {
            queue.try_push(context.running)?;
        }
        for name in chunk.names() {
            let name = vm.string(name)?;
            queue.try_push(vm.get(context.globals, name)?)?;
        }
        let mut running = RunningFunctions {
            functions: Vec::new(),
            tables: Vec::new(),
            is_whole: true,
        };
        let (mut next, mut looked_at) = (0, 0);
        while let Some(value) = queue.get(next).copied() {
            next += 1;
            let val = vm.val(value);
            if !(val.is_table() || val.is_function())
                || met.try_insert_value(val.addr, ())?.is_some()
            {
                continue;
            }
            if val.addr != own && !vm.holds(record.others, value, Ref::NIL) {
                continue;
            }
            if val.is_function() {
                let Some(info) = vm.info(value)?.filter(|info| !info.main) else {
                    continue;
                };
                if ownership.owns(vm, value, &info)? {
                    running.functions.try_push(value)?;
                    for i in 1..=info.upvalues {
                        queue.try_push(vm.upvalue_value(value, i)?)?;
                    }
                }
                continue;
            }
            running.tables.try_push(value)?;
            queue.try_push(vm.metatable(value)?)?;
            let mut cursor = vm.walk(value, Ref::NIL)?;
            while let Some(entry) = cursor.next(vm) {
                looked_at += 1;
                if looked_at > MOST_LOOKED_AT {
                    cursor.end(vm);
                    running.is_whole = false;
                    break;
                }
                if entry.new.is_table() || entry.new.is_function() {
                    queue.try_push(cursor.keep_pair(vm)?.value)?;
                }
            }
        }
        Ok(running)
    }

    /// Which of the tables have the names under which the file stores functions.
    fn names(&self, vm: &mut Vm, outline: &Outline, chunk: &Chunk) -> Result<StoredNames> {
        let mut names = StoredNames::default();
        let mut texts = Vec::new();
        for stored in &outline.stored {
            texts.try_push(vm.string(chunk.text(stored.name))?)?;
            names.tables.try_push(Vec::new())?;
        }
        let numbers = vm.numbered(texts.len() as u32, |i| {
            texts.get(i as usize).copied().unwrap_or_default()
        })?;
        for (stored, name) in outline.stored.iter().zip(&texts) {
            let number = vm.get_number(numbers, *name).unwrap_or_default() as u32;
            if !names.of_table.contains_key(&stored.table) {
                names.of_table.try_insert_value(stored.table, Vec::new())?;
            }
            if let Some(of_table) = names.of_table.get_mut(&stored.table) {
                of_table.try_push(number)?;
            }
            names.of_stored.try_push(number)?;
        }
        for (table, number) in self.tables.iter().zip(0..) {
            let mut cursor = vm.walk(*table, Ref::NIL)?;
            while cursor.next(vm).is_some() {
                let name = cursor.key_number(vm, numbers);
                if let Some(tables) = name.and_then(|name| names.tables.get_mut(name as usize)) {
                    tables.try_push(number)?;
                }
            }
        }
        Ok(names)
    }
}

/// The names under which a file stores functions, and the running tables that have them.
#[derive(Default)]
struct StoredNames {
    /// The number of each stored function's name.
    of_stored: Vec<u32>,
    /// Those that one table of the file has.
    of_table: FxHashMap<Option<usize>, Vec<u32>>,
    /// By the number of a name: the running tables that have it, by number and sorted.
    tables: Vec<Vec<u32>>,
}

impl StoredNames {
    /// Is the table in which the file stores a function running, and with all of its other
    /// functions, but not this one?
    fn lack(&self, stored: usize, table: Option<usize>) -> bool {
        let tables = |name: u32| {
            self.tables
                .get(name as usize)
                .map_or(&[][..], Vec::as_slice)
        };
        let (Some(name), Some(all)) = (self.of_stored.get(stored), self.of_table.get(&table))
        else {
            return false;
        };
        if !tables(*name).is_empty() {
            return false;
        }
        let others = || all.iter().filter(|other| *other != name);
        // A name that no table has makes an end of it at once.
        let Some(rarest) = others().min_by_key(|other| tables(**other).len()) else {
            return false;
        };
        let has_all =
            |table: &u32| others().all(|other| tables(*other).binary_search(table).is_ok());
        tables(*rarest).iter().any(has_all)
    }
}

/// Fills a set with the objects of all loaded modules, which are not looked into; once for all
/// modules of one call.
fn fill_others(vm: &mut Vm, context: &Context, others: Ref) -> Result<()> {
    let filled = vm.boolean(true)?;
    let known = vm.get(others, filled)?;
    if !vm.val(known).is_nil() {
        return Ok(());
    }
    for object in vm.keep_entries(context.loaded)?.values() {
        if matches!(vm.kind(object), Kind::Table | Kind::Function) {
            write::fill(vm, others, object, filled)?;
        }
    }
    write::fill(vm, others, filled, filled)
}

/// Does a table of constants differ from the running one? `main` does nothing but build it, so it
/// can be called.
fn data_differs(vm: &mut Vm, context: &Context, main: Ref, exact: bool) -> Result<bool> {
    let file = match vm.call(main, &[]) {
        Ok([file]) => file,
        Err(Error::Memory) => return Err(Error::Memory),
        Err(_) => return Ok(false),
    };
    if !vm.val(file).is_table() || !vm.val(context.running).is_table() {
        return Ok(vm.val(file).is_table() != vm.val(context.running).is_table());
    }
    let mut pairs = Vec::new();
    pairs.try_push((file, context.running))?;
    while let Some((file, running)) = pairs.pop() {
        let mut entries = 0_usize;
        let mut cursor = vm.walk(file, running)?;
        while let Some(entry) = cursor.next(vm) {
            entries += 1;
            if entry.new.is_table() && entry.old.is_table() {
                let kept = cursor.keep(vm)?;
                pairs.try_push((kept.new, kept.old))?;
            } else if !cursor.values_equal(vm) {
                cursor.end(vm);
                return Ok(true);
            }
        }
        if exact {
            let mut cursor = vm.walk(running, Ref::NIL)?;
            while cursor.next(vm).is_some() {
                match entries.checked_sub(1) {
                    Some(fewer) => entries = fewer,
                    None => {
                        cursor.end(vm);
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}
