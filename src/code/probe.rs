//! The readers alone, for tests and fuzzing: each gets any bytes, and is asked for all that it then
//! knows. No part of the library's table.
//!
//! Nothing here panics: what must hold and does not is [`Verdict::Wrong`].

use super::call_sites::CallSites;
use super::constants::{Init, MainText, Sought};
use super::cut::Cutter;
use super::definitions::{Definitions, ExpressionKind, Parent, Symbol};
use super::outline::Outline;
use super::tree::Tree;
use super::{Chunk, Digest, Profile};
use crate::support::error::{Error, Result};
use crate::support::mem::collected;
use crate::support::secret::Secret;

/// What a reader makes of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are not exactly a dump of Lua 5.4.
    Refused,
    /// They are: so many things were told of them.
    Read(usize),
    /// There was no memory.
    NoMemory,
    /// What the reader says contradicts itself.
    Wrong(&'static str),
}

/// What a reader that has read is asked for, or why that is not all.
type Asked<T> = std::result::Result<T, Verdict>;

/// A reader and its name.
pub type NamedReader = (&'static str, fn(&[u8]) -> Verdict);

/// All readers.
pub const READERS: [NamedReader; 7] = [
    ("chunk", chunk),
    ("tree", tree),
    ("constants", constants),
    ("outline", outline),
    ("call sites", call_sites),
    ("definitions", definitions),
    ("template", template),
];

/// Names, and upvalues of functions, that are asked for one by one: each costs a walk over the
/// dump.
const ASKED: usize = 16;

/// A verdict, of what a reader returns and what it is asked for then.
fn verdict<T>(read: Result<Option<T>>, ask: impl FnOnce(T) -> Asked<usize>) -> Verdict {
    match read {
        Err(Error::Memory) => Verdict::NoMemory,
        Err(_) => Verdict::Wrong("an error that is none of a reader's"),
        Ok(None) => Verdict::Refused,
        Ok(Some(value)) => match ask(value) {
            Ok(things) => Verdict::Read(things),
            Err(verdict) => verdict,
        },
    }
}

fn holds(condition: bool, what: &'static str) -> Asked<()> {
    if condition {
        Ok(())
    } else {
        Err(Verdict::Wrong(what))
    }
}

/// Copies the bytes, as each reader that keeps its dump wants them.
fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// The scanner of names and keys, the profiles, and the line where a key is stored.
pub fn chunk(bytes: &[u8]) -> Verdict {
    verdict(
        copy(bytes).and_then(|dump| Chunk::read(dump, &Secret::default())),
        |chunk| {
            for name in chunk.names() {
                holds(
                    chunk.has_name(name, &Secret::default()),
                    "a name that the chunk does not have",
                )?;
            }
            for (line, last) in &chunk.setters {
                holds(
                    chunk.on_lines(*line, *last).is_some(),
                    "a function without lines",
                )?;
            }
            let own = super::profile(bytes, &Secret::default())
                .ok_or(Verdict::Wrong("a chunk without a profile"))?;
            let packed = own.pack();
            holds(
                packed == 0
                    || Profile::unpack(packed).is_some_and(|profile| {
                        profile.assigned == own.assigned
                            && profile.digest.is_equal(own.digest).is_none()
                    }),
                "a profile that is packed as another one",
            )?;
            if super::store_lines(bytes).is_err() {
                return Err(Verdict::NoMemory);
            }
            Ok(chunk.names().len() + chunk.functions() + chunk.integers.len())
        },
    )
}

/// The tree of functions.
pub fn tree(bytes: &[u8]) -> Verdict {
    verdict(
        copy(bytes).and_then(|dump| Tree::read(dump, &Secret::default())),
        |tree| {
            let mut things = 0;
            for number in 0..tree.len() {
                for child in tree.children(number) {
                    let parent = tree.get(child).and_then(|child| child.parent);
                    holds(parent == Some(number), "a child of another function")?;
                }
                for captured in tree.captured(number) {
                    let name = tree.name(captured);
                    holds(
                        captured.name
                            == if name.is_empty() {
                                captured.name
                            } else {
                                Secret::default().digest(name)
                            },
                        "a variable with another name",
                    )?;
                }
                holds(
                    tree.source(number).len() <= bytes.len(),
                    "a source name beyond the dump",
                )?;
                things += tree.captured(number).len()
                    + tree.constants(number).len()
                    + tree.operations(number).count();
            }
            // What the tree takes, the scanner of names takes as well.
            match copy(bytes).and_then(|dump| Chunk::read(dump, &Secret::default())) {
                Ok(Some(_)) => Ok(things),
                Ok(None) => Err(Verdict::Wrong("a tree that is no chunk")),
                Err(_) => Err(Verdict::NoMemory),
            }
        },
    )
}

/// The proofs about constants.
pub fn constants(bytes: &[u8]) -> Verdict {
    verdict(
        copy(bytes).and_then(|dump| MainText::read(dump, &Secret::default())),
        |mut text| {
            let names = text.assigned().into_iter().flatten().take(2).map(copy);
            let functions = text.functions().take(ASKED).map(Ok);
            let (Ok(names), Ok(functions)) = (collected(names), collected(functions)) else {
                return Err(Verdict::NoMemory);
            };
            let (mut things, count) = (0, text.functions().count());
            for (lines, upvalues) in functions {
                let sought = Sought {
                    lines,
                    upvalues,
                    digest: Digest::default(),
                };
                for index in (0..=upvalues).take(ASKED) {
                    let is_assigned = text.is_assigned(&sought, index);
                    for name in names
                        .iter()
                        .map(Vec::as_slice)
                        .chain([b"count".as_slice(), b"M"])
                    {
                        let proved = text.init(&sought, index, name) != Init::Computed;
                        holds(
                            !(proved && is_assigned && count == 1),
                            "a constant that something assigns",
                        )?;
                        things += usize::from(proved);
                    }
                }
            }
            Ok(things + count)
        },
    )
}

/// What the main chunk stores.
pub fn outline(bytes: &[u8]) -> Verdict {
    verdict(Outline::read(bytes), |outline| {
        for stored in &outline.stored {
            let (start, length) = stored.name;
            let end = (start as usize).saturating_add(length as usize);
            holds(end <= bytes.len(), "a name beyond the dump")?;
        }
        holds(
            !outline.is_constant || outline.stored.is_empty(),
            "a table of constants with functions",
        )?;
        Ok(outline.stored.len() + usize::from(outline.returned.is_some()))
    })
}

/// The calls of the main chunk.
pub fn call_sites(bytes: &[u8]) -> Verdict {
    verdict(CallSites::read(bytes), |calls| {
        holds(
            calls.sites.len() <= bytes.len() / 4,
            "more calls than instructions",
        )?;
        Ok(calls.sites.len())
    })
}

/// Definitions, variables and stores.
pub fn definitions(bytes: &[u8]) -> Verdict {
    verdict(
        copy(bytes).and_then(|dump| Definitions::read(dump, &Secret::default(), None)),
        |definitions| {
            let mut things = 0;
            for (id, definition) in definitions.iter() {
                let mut parent = definition.parent;
                for _ in 0..definitions.len() {
                    match parent {
                        Parent::Proto(_) => break,
                        Parent::Definition(above) => {
                            let above = definitions.get(above);
                            parent = above.ok_or(Verdict::Wrong("a parent that is none"))?.parent;
                        }
                    }
                }
                holds(
                    matches!(parent, Parent::Proto(proto) if proto < definitions.protos()),
                    "parents that are each other's",
                )?;
                if let Some(place) = definition.place {
                    holds(
                        definitions.is_place(id, place),
                        "a place of another definition",
                    )?;
                    holds(definitions.store(place).is_some(), "a place that is none")?;
                }
                if let ExpressionKind::Function(proto) = definition.kind {
                    holds(
                        definitions.proto(proto).is_some(),
                        "a function that is none",
                    )?;
                }
                let Ok(name) = definitions.describe(id) else {
                    return Err(Verdict::NoMemory);
                };
                things += usize::from(!name.is_empty()) + definitions.stores_into(id).count();
            }
            for (id, variable) in definitions.variables() {
                holds(
                    !definitions.is_constant(id) || variable.assignments == 0,
                    "a constant that something assigns",
                )?;
                let Ok(meant) = definitions.resolve(Symbol::Variable(id)) else {
                    return Err(Verdict::NoMemory);
                };
                things += meant.definitions.len();
            }
            for proto in 0..definitions.protos() {
                let upvalues = (0..=u8::MAX).filter_map(|i| definitions.upvalue(proto, i));
                things += upvalues.count();
            }
            Ok(things)
        },
    )
}

/// The bytes in place of the template of cuts.
pub fn template(bytes: &[u8]) -> Verdict {
    verdict(copy(bytes).and_then(Cutter::new), |_| Ok(1))
}

/// Cuts every function out of a dump, with a good template, and reads the cuts.
pub fn cut(template: &[u8], bytes: &[u8]) -> Verdict {
    let cutter = match copy(template).and_then(Cutter::new) {
        Ok(Some(cutter)) => cutter,
        Ok(None) => return Verdict::Wrong("a template that is none"),
        Err(_) => return Verdict::NoMemory,
    };
    verdict(
        copy(bytes).and_then(|dump| Tree::read(dump, &Secret::default())),
        |tree| {
            // The main function itself would stand one level deeper than it may.
            for number in 1..tree.len() {
                let cut = match cutter.cut(&tree, number) {
                    Ok(Some(cut)) => cut,
                    Ok(None) => return Err(Verdict::Wrong("a function that cannot be cut")),
                    Err(_) => return Err(Verdict::NoMemory),
                };
                let again = match Tree::read(cut, &Secret::default()) {
                    Ok(Some(again)) => again,
                    Ok(None) => return Err(Verdict::Wrong("a cut that is no dump")),
                    Err(_) => return Err(Verdict::NoMemory),
                };
                let (Some(function), Some(alone)) = (tree.get(number), again.get(1)) else {
                    return Err(Verdict::Wrong("a cut without its function"));
                };
                holds(
                    (function.digest, function.exact, function.line)
                        == (alone.digest, alone.exact, alone.line),
                    "a cut of another function",
                )?;
                let nested = |tree: &Tree, number| tree.children(number).count();
                holds(
                    nested(&tree, number) == nested(&again, 1),
                    "a cut with other functions in it",
                )?;
                holds(
                    again.source(1) == tree.source(number),
                    "a cut of another source",
                )?;
            }
            Ok(tree.len() as usize)
        },
    )
}
