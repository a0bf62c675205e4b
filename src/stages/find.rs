//! R1: from a module's name to its code, as `require` finds it.
//!
//! Walks `package.searchers` in order. The stock searchers are recognised by their address and
//! carried out here: the one for Lua files reads the file itself, so that a host's code cache
//! cannot hand back old code, and the ones for C libraries only look, so that nothing is loaded.
//! Any other searcher is called. Nothing is changed here.
//!
//! A name reaches no file that it would not reach under `require` (R1.7).

use std::ffi::CString;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;

use crate::lua::given::GivenText;
use crate::lua::layout::{LayoutElement as _, Standing};
use crate::lua::open::STANDING;
use crate::lua::stock::Stock;
use crate::lua::vm::{KeyValue, Kind, Ref, SourceId, Vm};
use crate::support::error::{Error, Result, shown};
use crate::support::mem::TryPush;

/// The module as it runs, and what belongs to every module: where the stages find things.
pub struct Context {
    /// The module's name, a string.
    pub name: Ref,
    /// The module's name, for messages: see [`shown`].
    pub title: String,
    /// The module's name, byte by byte.
    pub bytes: Vec<u8>,
    /// `package.loaded`, as `require` sees it (the registry's).
    pub loaded: Ref,
    /// The globals table.
    pub globals: Ref,
    /// The table `package`.
    pub package: Ref,
    /// What `package.loaded` holds for the module: the running version; nil when it is not loaded.
    pub running: Ref,
    /// The stock searchers.
    pub stock: Stock,
    /// The addresses of tables that the program leaves out of every walk (R2.11).
    pub skip: FxHashSet<usize>,
}

impl Context {
    /// Looks the module up in the running program.
    pub fn new(vm: &mut Vm, name: Ref, stock: Stock) -> Result<Context> {
        let bytes = vm.bytes(name)?.unwrap_or_default();
        let title = shown(&bytes);
        let loaded = vm.registry(c"_LOADED")?;
        let globals = vm.globals()?;
        let package = vm.field(loaded, "package")?;
        let running = vm.get(loaded, name)?;
        let running = if vm.truthy(running) {
            running
        } else {
            Ref::NIL
        };
        Ok(Context {
            name,
            title,
            bytes,
            loaded,
            globals,
            package,
            running,
            stock,
            skip: FxHashSet::default(),
        })
    }

    /// The module is loaded.
    pub fn is_loaded(&self) -> bool {
        self.running != Ref::NIL
    }
}

/// The incoming version before it runs.
pub struct Found {
    /// Text or binary code, or a loader that a searcher returned.
    pub code: ChunkSource,
    /// The second argument of the chunk: the file's path, `:preload:`, or what the searcher said.
    pub data: Ref,
    /// The file.
    pub file: Option<PathBuf>,
}

/// What will be run.
pub enum ChunkSource {
    /// To be compiled under this chunk name.
    Text(GivenText, CString),
    /// A function that a searcher returned.
    Loader(Ref),
}

/// The standard libraries' names (R1.4).
pub const STANDARD: [&str; 10] = [
    "_G",
    "package",
    "coroutine",
    "table",
    "io",
    "os",
    "string",
    "math",
    "utf8",
    "debug",
];

/// Finds the module's code (R1.2), or the given `source`, under the module's own chunk name.
///
/// # Errors
/// [`Error::Refused`] (R1.4), [`Error::NotFound`], [`Error::Unreadable`], [`Error::Compile`] when a
/// searcher raised.
pub fn find(vm: &mut Vm, context: &Context, source: Option<GivenText>) -> Result<Found> {
    refuse(vm, context)?;
    let found = search(
        vm,
        context,
        match source {
            None => Contents::Read,
            Some(_) => Contents::Skip,
        },
    );
    let Some(source) = source else { return found };
    let (data, file, chunk_name) = match found {
        Ok(Found {
            data,
            file,
            code: ChunkSource::Text(_, chunk_name),
        }) => (data, file, Some(chunk_name)),
        Ok(Found {
            data,
            file,
            code: ChunkSource::Loader(loader),
        }) => (data, file, own_name(vm, loader)?),
        Err(Error::NotFound { .. } | Error::Unreadable { .. }) => {
            (Ref::NIL, None, running_name(vm, context)?)
        }
        Err(error) => return Err(error),
    };
    let chunk_name = match chunk_name {
        Some(name) => name,
        None => c_string(&[b"=", &context.bytes[..]].concat())?,
    };
    Ok(Found {
        code: ChunkSource::Text(source.without_first_line(), chunk_name),
        data,
        file,
    })
}

/// R1.4, as far as the name tells. (The patterns of `configure` are Lua's; the façade checks them.)
///
/// # Errors
/// [`Error::Refused`].
pub fn refuse(vm: &mut Vm, context: &Context) -> Result<()> {
    let refused = |why: &str| {
        Err(Error::Refused {
            name: context.title.clone(),
            why: why.into(),
        })
    };
    if context.bytes.contains(&0) {
        return refused(
            "its name has a NUL byte, and Lua would take the name to end there; \
             give the name without it",
        );
    }
    if STANDARD.iter().any(|name| name.as_bytes() == context.bytes) {
        return refused("it is a standard library; name a Lua module of your own");
    }
    let own = vm.field(context.loaded, "hotreload")?;
    let itself = context.is_loaded() && vm.raw_equal(own, context.running);
    if itself || context.bytes == b"hotreload" || context.bytes.starts_with(b"hotreload.") {
        return refused(
            "hotreload does not reload itself; restart the program to take a new version",
        );
    }
    Ok(())
}

/// What is done with the file that a search has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// It is read.
    Read,
    /// It is only opened.
    Skip,
}

/// Asks the searchers in order. With [`Contents::Skip`] the text of a Lua file is empty: the file
/// is there and can be opened.
///
/// # Errors
/// As [`find`], but for what a name alone refuses.
pub fn search(vm: &mut Vm, context: &Context, contents: Contents) -> Result<Found> {
    let searchers = vm.field(context.package, "searchers")?;
    if !vm.val(searchers).is_table() {
        return Err(Error::Lua(
            b"'package.searchers' must be a table; put it back".to_vec(),
        ));
    }
    let mut tried = String::new();
    for i in 1.. {
        let searcher = vm.index(searchers, i)?;
        if vm.val(searcher).is_nil() {
            break;
        }
        let searcher = standing_for(vm, searcher)?;
        let found = match vm.is_c_function(searcher) {
            Some(address) if address == context.stock.preload => {
                preloaded(vm, context, &mut tried)?
            }
            Some(address) if address == context.stock.lua => {
                lua_file(vm, context, contents, &mut tried)?
            }
            Some(address) if address == context.stock.c => {
                c_library(vm, context, &context.bytes, &mut tried)?;
                None
            }
            Some(address) if address == context.stock.c_root => {
                let dot = context.bytes.iter().position(|byte| *byte == b'.');
                if let Some(root) = dot.and_then(|dot| context.bytes.get(..dot)) {
                    c_library(vm, context, root, &mut tried)?;
                }
                None
            }
            _ if vm.val(searcher).is_nil() => None,
            _ => ask(vm, context, searcher, &mut tried)?,
        };
        if let Some(found) = found {
            if let ChunkSource::Loader(loader) = found.code
                && vm.is_c_function(loader).is_some()
            {
                return Err(c_module(context, "its loader is a C function"));
            }
            return Ok(found);
        }
    }
    Err(Error::NotFound {
        name: context.title.clone(),
        tried,
    })
}

/// The searcher for which the function of `hotreload.track` stands: a load of ours takes a record
/// in any case. Any other searcher as it is.
fn standing_for(vm: &mut Vm, searcher: Ref) -> Result<Ref> {
    if vm.is_c_function(searcher).is_some() {
        return Ok(searcher);
    }
    let standing = vm.registry(STANDING)?;
    let ours = vm.index(standing, Standing::Finder.at())?;
    if vm.raw_equal(ours, searcher) {
        return vm.index(standing, Standing::Searcher.at());
    }
    Ok(searcher)
}

fn c_module(context: &Context, how: &str) -> Error {
    let why =
        format!("it is a C module ({how}), and only Lua code is reloaded; restart the program");
    Error::Refused {
        name: context.title.clone(),
        why,
    }
}

fn preloaded(vm: &mut Vm, context: &Context, tried: &mut String) -> Result<Option<Found>> {
    let preload = vm.registry(c"_PRELOAD")?;
    let loader = vm.get(preload, context.name)?;
    if vm.val(loader).is_nil() {
        tried.push_str(&format!(
            "\n\tno field package.preload['{}']",
            context.title
        ));
        return Ok(None);
    }
    let data = vm.string(b":preload:")?;
    Ok(Some(Found {
        code: ChunkSource::Loader(loader),
        data,
        file: None,
    }))
}

fn ask(vm: &mut Vm, context: &Context, searcher: Ref, tried: &mut String) -> Result<Option<Found>> {
    let [answer, data] = vm
        .call(searcher, &[context.name])
        .map_err(|error| match error {
            Error::Lua(text) => Error::Compile {
                name: context.title.clone(),
                text,
            },
            other => other,
        })?;
    if vm.val(answer).is_function() {
        let file = vm.bytes(data)?.map(path_of);
        return Ok(Some(Found {
            code: ChunkSource::Loader(answer),
            data,
            file,
        }));
    }
    if let Some(text) = vm.bytes(answer)? {
        let text = String::from_utf8_lossy(&text).into_owned();
        let prefix = if text.starts_with("\n\t") { "" } else { "\n\t" };
        tried.push_str(prefix);
        tried.push_str(&text);
    }
    Ok(None)
}

fn lua_file(
    vm: &mut Vm,
    context: &Context,
    contents: Contents,
    tried: &mut String,
) -> Result<Option<Found>> {
    let Some((path, file)) = search_path(vm, context, "path", &context.bytes, tried)? else {
        return Ok(None);
    };
    let chunk_name = c_string(&[b"@", &path[..]].concat())?;
    let text = read_file(file, &shown(&path), contents)?;
    let data = vm.string(&path)?;
    Ok(Some(Found {
        code: ChunkSource::Text(text.without_first_line(), chunk_name),
        data,
        file: Some(path_of(path)),
    }))
}

fn c_library(vm: &mut Vm, context: &Context, name: &[u8], tried: &mut String) -> Result<()> {
    match search_path(vm, context, "cpath", name, tried)? {
        Some((path, _)) => Err(c_module(context, &shown(&path))),
        None => Ok(()),
    }
}

/// `package.searchpath`, with the reason where a file is there but cannot be opened.
fn search_path(
    vm: &mut Vm,
    context: &Context,
    field: &str,
    name: &[u8],
    tried: &mut String,
) -> Result<Option<(Vec<u8>, File)>> {
    let templates = vm.field(context.package, field)?;
    let Some(templates) = vm.bytes(templates)? else {
        return Err(Error::Lua(
            format!("'package.{field}' must be a string; put it back").into_bytes(),
        ));
    };
    // Lua puts the name into the templates before it takes these apart: behind a `;` the name would
    // be a template of its own.
    if name.contains(&b';') {
        tried.push_str(&format!(
            "\n\tno file in 'package.{field}' for a name with a ';'"
        ));
        return Ok(None);
    }
    for path in candidates(&templates, name) {
        match open(&path_of(path.clone())) {
            Ok(file) => return Ok(Some((path, file))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tried.push_str(&format!("\n\tno file '{}'", shown(&path)));
            }
            Err(error) => tried.push_str(&format!(
                "\n\tno file '{}' that can be opened ({error})",
                shown(&path)
            )),
        }
    }
    Ok(None)
}

/// The paths at which a module may be, in the order of the templates.
fn candidates(templates: &[u8], name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let separator = std::path::MAIN_SEPARATOR as u8;
    let name: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'.' { separator } else { *byte })
        .collect();
    let templates = templates.split(|byte| *byte == b';');
    templates
        .filter(|template| !template.is_empty())
        .map(move |template| {
            template
                .split(|byte| *byte == b'?')
                .collect::<Vec<_>>()
                .join(&name[..])
        })
}

/// R1.3: refuses a name that is not loaded, and whose file is that of a loaded module
/// (`game/ai/wolf` for `game.ai.wolf`): a second copy would have data of its own, and the edit
/// would not reach what runs.
///
/// # Errors
/// [`Error::Refused`], with the name to give.
pub fn refuse_second_copy(vm: &mut Vm, context: &Context, found: &Found) -> Result<()> {
    let Some(file) = found.file.as_deref().filter(|_| !context.is_loaded()) else {
        return Ok(());
    };
    let templates = vm.field(context.package, "path")?;
    let templates = vm.bytes(templates)?.unwrap_or_default();
    let mut names = Vec::new();
    for KeyValue { key, value } in vm.keep_entries(context.loaded)?.iter() {
        if vm.truthy(value) && vm.kind(key) == Kind::String {
            names.try_push(vm.bytes(key)?.unwrap_or_default())?;
        }
    }
    names.sort_unstable(); // of several names the first one is told
    let preload = vm.registry(c"_PRELOAD")?;
    for name in names {
        let is_standard = STANDARD.iter().any(|standard| standard.as_bytes() == name);
        if is_standard
            || !candidates(&templates, &name).any(|path| is_one_file(&path_of(path), file))
        {
            continue;
        }
        let key = vm.string(&name)?;
        let loader = vm.get(preload, key)?;
        let found = search_path(vm, context, "path", &name, &mut String::new())?;
        if vm.val(loader).is_nil()
            && found.is_some_and(|(path, _)| is_one_file(&path_of(path), file))
        {
            let (path, name) = (shown(file.as_os_str().as_encoded_bytes()), shown(&name));
            return Err(Error::Refused {
                name: context.title.clone(),
                why: format!(
                    "its file {path} is loaded as '{name}', and a second copy would have its own \
                     data; \
                     did you mean '{name}'?"
                ),
            });
        }
    }
    Ok(())
}

/// Do two paths lead to one name in one directory? (A link from one file to another one may be
/// meant to be a module of its own.)
fn is_one_file(a: &Path, b: &Path) -> bool {
    let directory = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").canonicalize(),
        Some(parent) => parent.canonicalize(),
        None => path.canonicalize(),
    };
    a.file_name() == b.file_name()
        && (a == b || matches!((directory(a), directory(b)), (Ok(a), Ok(b)) if a == b))
}

/// A Lua file's text, as it is compiled.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::Memory`].
pub fn read(path: &Path) -> Result<GivenText> {
    let name = shown(path.as_os_str().as_encoded_bytes());
    let file = open(path).map_err(|error| unreadable(&name, error))?;
    read_file(file, &name, Contents::Read).map(GivenText::without_first_line)
}

/// Opens a file and waits for nobody: a named pipe that nobody writes to would hold the program up.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options.read(true).open(path)
}

/// A path of Lua's, byte by byte where the system has such.
#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// R1.8: no binary code, where only text is wanted.
///
/// # Errors
/// [`Error::Refused`].
pub fn refuse_binary(context: &Context, code: &ChunkSource) -> Result<()> {
    match code {
        ChunkSource::Text(text, _) if text.bytes().first() == Some(&b'\x1b') => Err(Error::Refused {
            name: context.title.clone(),
            why: "its code is a binary chunk, and only text is wanted (text_only); give it as text"
                .into(),
        }),
        _ => Ok(()),
    }
}

/// The text of an open file. Only a regular file is read: a pipe may wait for ever, a device may
/// have no end.
fn read_file(mut file: File, path: &str, contents: Contents) -> Result<GivenText> {
    let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        return Err(Error::Unreadable {
            path: path.into(),
            why: format!(
                "it is {}, put a regular file there",
                kind_of(metadata.file_type())
            ),
        });
    }
    if contents == Contents::Skip {
        return Ok(GivenText::default());
    }
    GivenText::read(&mut file, metadata.len()).map_err(|error| unreadable(path, error))
}

/// What a file is that is no regular one.
fn kind_of(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() {
        "a directory"
    } else {
        "no regular file"
    }
}

fn unreadable(path: &str, error: io::Error) -> Error {
    if error.kind() == ErrorKind::OutOfMemory {
        return Error::Memory;
    }
    Error::Unreadable {
        path: path.into(),
        why: format!("{error}, make the file readable"),
    }
}

/// What stands before the first zero byte.
fn c_string(bytes: &[u8]) -> Result<CString> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let bytes = bytes.get(..end).unwrap_or_default();
    let mut ended = Vec::new();
    ended.try_reserve_exact(bytes.len() + 1)?;
    ended.extend_from_slice(bytes);
    ended.push(0);
    Ok(CString::from_vec_with_nul(ended).unwrap_or_default())
}

/// A function's source name, which is all of its text where the program gave none.
fn own_name(vm: &Vm, function: Ref) -> Result<Option<CString>> {
    vm.with_source(function, c_string).transpose()
}

/// The source name that most functions of the running module object have.
fn running_name(vm: &mut Vm, context: &Context) -> Result<Option<CString>> {
    if vm.val(context.running).is_function() {
        return own_name(vm, context.running);
    }
    if !vm.val(context.running).is_table() {
        return Ok(None);
    }
    let mut counts: Vec<(SourceId, usize, Ref)> = Vec::new();
    let mut cursor = vm.walk(context.running, Ref::NIL)?;
    while let Some(entry) = cursor.next(vm) {
        if !entry.new.is_function() {
            continue;
        }
        let function = cursor.keep_pair(vm)?.value;
        let Some(info) = vm.info(function)?.filter(|info| info.lua) else {
            continue;
        };
        match counts
            .iter_mut()
            .find(|(source, ..)| *source == info.source)
        {
            Some((_, count, _)) => *count += 1,
            None => counts.try_push((info.source, 1, function))?,
        }
    }
    let mut best: Option<(usize, CString)> = None;
    for (_, count, function) in counts {
        let Some(name) = own_name(vm, function)? else {
            continue;
        };
        // Of two with as many the first by name.
        let wins = best
            .as_ref()
            .is_none_or(|(most, first)| (count, &**first) > (*most, &*name));
        if wins {
            best = Some((count, name));
        }
    }
    Ok(best.map(|(_, name)| name))
}
