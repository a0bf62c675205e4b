//! Which function of the last load a function of the file is, by the definitions of both texts
//! (R3.7). A registry may hold functions that no place of the module leads to; their definitions
//! know them all the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::code::align::Alignment;
use crate::code::compiled::Compiled;
use crate::code::definitions::{DefinitionId, Definitions, ProtoId, VariableId};
use crate::code::{Chunk, Digest};
use crate::lua::vm::Vm;
use crate::support::error::Result;
use crate::support::mem::TryInsert;

/// The definitions of both texts.
pub struct BothDefinitions {
    file: Arc<Definitions>,
    former: Arc<Definitions>,
    /// None where both are one.
    alignment: Option<Arc<Alignment>>,
    /// The texts differ.
    pub is_edited: bool,
    /// The code of the last load.
    pub former_chunk: Option<Arc<Chunk>>,
    /// The functions of the former text by their code; none where several have it.
    by_code: FxHashMap<Digest, Option<ProtoId>>,
}

/// What a text knows a function by: its first and last line, and its code.
pub type FunctionInText = ((i32, i32), Digest);

/// What makes a function of the file.
#[derive(Clone, Copy)]
struct Made {
    /// Its definition in the former text, if that has it.
    former: Option<DefinitionId>,
    /// It makes one function only.
    is_single: bool,
}

/// What the definitions of a function of the file and of a running one are to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Definers {
    /// The texts do not tell.
    Unknown,
    /// One is the other one.
    One,
    /// One definition makes both, and more of them.
    Alike,
    /// They are two.
    Others,
}

impl BothDefinitions {
    /// Reads the definitions of the file and of the text of the last load; none where one of these
    /// cannot be read.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn of(vm: &Vm, file: &Compiled, former: &Compiled) -> Result<Option<BothDefinitions>> {
        let Some(base) = former.definitions(vm.secret(), None)? else {
            return Ok(None);
        };
        let Some(definitions) = file.definitions(vm.secret(), Some(&base))? else {
            return Ok(None);
        };
        let alignment = match Arc::ptr_eq(&base, &definitions) {
            true => None,
            false => Some(file.alignment(&base, &definitions)?),
        };
        let mut by_code: FxHashMap<Digest, Option<ProtoId>> = FxHashMap::default();
        for id in 1..base.protos() {
            if let Some(proto) = base.proto(id) {
                let is_only = !by_code.contains_key(&proto.digest);
                by_code.try_insert_value(proto.digest, Some(id).filter(|_| is_only))?;
            }
        }
        Ok(Some(BothDefinitions {
            file: definitions,
            former: base,
            alignment,
            is_edited: file.dump != former.dump,
            former_chunk: former.chunk(vm.secret())?,
            by_code,
        }))
    }

    /// What a function of the file and a running one are to each other, by their lines and code.
    pub fn relation(&self, incoming: FunctionInText, running: FunctionInText) -> Definers {
        match (self.made_by_file(incoming), self.made_before(running)) {
            (Some(new), Some((old, goes_on))) => match new.former {
                Some(former) if former == old && new.is_single => Definers::One,
                Some(former) if former == old => Definers::Alike,
                Some(_) => Definers::Others,
                // What only the file has may be an edit of what it has no longer.
                None if goes_on => Definers::Others,
                None => Definers::Unknown,
            },
            _ => Definers::Unknown,
        }
    }

    /// Which upvalues of a function of the file, counted from 1, hold what no code assigns, as a
    /// parameter of a factory does, or the variable of a loop (R4.7)?
    pub fn constants(&self, (lines, code): FunctionInText) -> impl Iterator<Item = u8> {
        let proto = self.file.proto_of(lines, || Some(code));
        let upvalues = proto
            .into_iter()
            .flat_map(|proto| self.file.upvalues_of(proto));
        let constants = upvalues.zip(1..).filter(|(variable, _)| {
            let is_constant = |id: VariableId| self.file.is_constant(id);
            variable.is_some_and(is_constant)
        });
        constants.map(|(_, index)| index)
    }

    /// Has the former text nothing that this function of the file was?
    pub fn is_only_in_file(&self, function: FunctionInText) -> bool {
        let made = self.made_by_file(function);
        made.is_some_and(|made| made.former.is_none())
    }

    /// The code that a function of the file had in the former text.
    pub fn former_code(&self, function: FunctionInText) -> Option<Digest> {
        let former = self.made_by_file(function)?.former?;
        self.former.function_digest(former)
    }

    fn made_by_file(&self, (lines, code): FunctionInText) -> Option<Made> {
        let proto = self.file.proto_of(lines, || Some(code))?;
        let id = self.file.proto(proto)?.definition?;
        let former = match &self.alignment {
            Some(alignment) => alignment.base(id).map(|(base, _)| base),
            None => Some(id),
        };
        Some(Made {
            former,
            is_single: self.file.get(id)?.is_single(),
        })
    }

    /// The definition of a running function, and whether the file has it.
    fn made_before(&self, (lines, code): FunctionInText) -> Option<(DefinitionId, bool)> {
        let has_code = |proto: &ProtoId| {
            let proto = self.former.proto(*proto);
            proto.is_some_and(|proto| proto.digest.is_equal(code) == Some(true))
        };
        let proto = self.former.proto_of(lines, || Some(code)).filter(has_code);
        let proto = proto.or_else(|| self.by_code.get(&code).copied().flatten())?;
        let id = self.former.proto(proto)?.definition?;
        let goes_on = match &self.alignment {
            Some(alignment) => alignment.incoming(id).is_some(),
            None => true,
        };
        Some((id, goes_on))
    }
}
