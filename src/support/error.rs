//! The one error type, a variant for each way that a stage can fail.
//!
//! Messages are worded as Lua words them. Only `lua/entry.rs` turns an [`Error`] into a Lua string,
//! through [`Error::to_bytes`]: what a chunk raised may be in any encoding and is handed on byte by
//! byte.

use std::borrow::Cow;
use std::collections::TryReserveError;
use std::fmt::{self, Write};

/// What [`Error::Memory`] says.
const NO_MEMORY: &str = "not enough memory; nothing was changed";

/// What stops a reload. Whoever returns one has left the program as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// R1.4: this module may not be reloaded.
    #[error("module '{name}' cannot be reloaded: {why}")]
    Refused {
        /// The module's name.
        name: String,
        /// The reason, and what to do.
        why: String,
    },
    /// R1.2: no searcher found the module; `tried` is worded as `require` words it.
    #[error("module '{name}' not found:{tried}")]
    NotFound {
        /// The module's name.
        name: String,
        /// One line for each place that was looked at.
        tried: String,
    },
    /// R2.3: the file is there and cannot be read.
    #[error("cannot read '{path}': {why}; nothing was changed")]
    Unreadable {
        /// The file.
        path: String,
        /// The operating system's reason.
        why: String,
    },
    /// R2.3: the text does not compile, or a searcher raised.
    #[error("error loading module '{name}': {}", String::from_utf8_lossy(.text))]
    Compile {
        /// The module's name.
        name: String,
        /// Lua's message, with file and line.
        text: Vec<u8>,
    },
    /// R2.3, R2.5: the chunk raised; `text` has the traceback.
    #[error("error running module '{name}': {}", String::from_utf8_lossy(.text))]
    Chunk {
        /// The module's name.
        name: String,
        /// The error with its traceback.
        text: Vec<u8>,
    },
    /// R4.5: upvalues without names whose numbers differ.
    #[error(
        "module '{name}' cannot be paired: {path} has upvalues without names (stripped code) \
         and not the same ones as before; load a version with debug information"
    )]
    Stripped {
        /// The module's name.
        name: String,
        /// The function's path.
        path: String,
    },
    /// R6: every conflict, already worded, one line each.
    #[error(
        "module{} {modules} {} not reloaded, nothing was changed: {count} conflict(s):{lines}\n\
         rename one side, or pass on_conflict = \"keep\" (the running value stays) \
         or \"replace\" (the file's takes its place)",
        if *.many { "s" } else { "" },
        if *.many { "were" } else { "was" }
    )]
    Conflicts {
        /// The modules' names, quoted.
        modules: String,
        /// More than one module.
        many: bool,
        /// How many.
        count: usize,
        /// A line for each, beginning with a line break.
        lines: String,
    },
    /// `rename` has a name that nothing has.
    #[error(
        "module '{module}' was not reloaded, nothing was changed: \
         option 'rename': {side} has nothing called '{name}'; correct that name"
    )]
    Rename {
        /// The module's name.
        module: String,
        /// The name.
        name: String,
        /// Who lacks it.
        side: &'static str,
    },
    /// `strict`: every warning, one line each.
    #[error(
        "module{} {modules} {} not reloaded, nothing was changed: \
         {count} warning(s), and strict = true:{lines}\n\
         do what each says, or reload without 'strict'",
        if *.many { "s" } else { "" },
        if *.many { "were" } else { "was" }
    )]
    Strict {
        /// The modules' names, quoted.
        modules: String,
        /// More than one module.
        many: bool,
        /// How many.
        count: usize,
        /// A line for each, beginning with a line break.
        lines: String,
    },
    /// Lua or the process ran out of memory.
    #[error("{NO_MEMORY}")]
    Memory,
    /// A Lua call that should not fail did (for example: C stack overflow).
    #[error("{}", String::from_utf8_lossy(.0))]
    Lua(Vec<u8>),
    /// A panic was caught.
    #[error("internal error ({0}); nothing was changed; please report it")]
    Panic(String),
    /// A reload whose hooks did not end well could not be undone, or not as a whole.
    #[error("the reload could not be undone: {0}; restart the program")]
    NotUndone(String),
    /// `hotreload.undo` could neither undo all of a reload nor take back what it had undone.
    #[error(
        "the reload is undone in part: {0} slot(s) could not be put back; \
         free some memory and call hotreload.undo again"
    )]
    HalfUndone(usize),
    /// Undoing failed in part: with the two before it the only message that admits damage.
    #[error("{cause}; and {left} slot(s) could not be put back; restart the program")]
    PutBack {
        /// What made the undoing necessary.
        cause: String,
        /// How many writes were lost.
        left: usize,
    },
}

/// The result of a stage.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The message as Lua will see it. That of a lack of memory needs none.
    pub fn to_bytes(&self) -> Cow<'static, [u8]> {
        let (head, text) = match self {
            Error::Memory => return Cow::Borrowed(NO_MEMORY.as_bytes()),
            Error::Compile { name, text } => (format!("error loading module '{name}': "), text),
            Error::Chunk { name, text } => (format!("error running module '{name}': "), text),
            Error::Lua(text) => (String::new(), text),
            other => {
                let mut text = ErrorText(Vec::new());
                return match write!(text, "{other}") {
                    Ok(()) => text.0.into(),
                    Err(_) => Cow::Borrowed(NO_MEMORY.as_bytes()),
                };
            }
        };
        let mut bytes = head.into_bytes();
        if bytes.try_reserve_exact(text.len()).is_err() {
            return Cow::Borrowed(NO_MEMORY.as_bytes());
        }
        bytes.extend_from_slice(text);
        bytes.into()
    }
}

/// A text whose growth can fail.
struct ErrorText(Vec<u8>);

impl Write for ErrorText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0.try_reserve(part.len()).map_err(|_| fmt::Error)?;
        self.0.extend_from_slice(part.as_bytes());
        Ok(())
    }
}

impl From<TryReserveError> for Error {
    fn from(_: TryReserveError) -> Self {
        Error::Memory
    }
}

/// The most characters of a name or a path that a message has.
const MOST_SHOWN: usize = 300;
/// The most bytes of a file's text that a message has.
const MOST_OF_TEXT: usize = 60;

/// A name or a path as it stands in a message: what would end the line or steer a terminal is
/// written out (`\010`, as in Lua's own strings), and of a long one the middle is left out. (R1.9)
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if bytes.len() <= MOST_SHOWN && bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into_owned(); // nearly always
    }
    let count = text.chars().count();
    let left_out = if count > MOST_SHOWN {
        MOST_SHOWN / 2..count - MOST_SHOWN / 2
    } else {
        count..count
    };
    let mut shown = String::new();
    for (i, letter) in text.chars().enumerate() {
        if i == left_out.start {
            shown.push_str("...");
        }
        if left_out.contains(&i) {
            continue;
        }
        if letter.is_control() {
            shown.push_str(&format!("\\{:03}", u32::from(letter)));
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// What Lua's compiler says of a text, with no more of that text than a short token. (R1.9: an
/// unfinished string is a token, and may be the rest of the file.)
pub fn without_text(message: Vec<u8>) -> Vec<u8> {
    const NEAR: &[u8] = b" near '";
    let Some(start) = message.windows(NEAR.len()).position(|part| part == NEAR) else {
        return message;
    };
    let (head, token) = message.split_at(start + NEAR.len());
    let token = token.strip_suffix(b"'").unwrap_or(token);
    let (token, more) = match token.get(..MOST_OF_TEXT) {
        Some(short) if short.len() < token.len() => (short, "...'"),
        _ => (token, "'"),
    };
    [head, shown(token).as_bytes(), more.as_bytes()].concat()
}
