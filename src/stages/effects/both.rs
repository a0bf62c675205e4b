//! Which function of the last load a function of the file is, by the definitions of both texts
//! (R3.7). A registry may hold functions that no place of the module leads to; their definitions
//! know them all the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::code::Digest;
use crate::code::align::Alignment;
use crate::code::compiled::Compiled;
use crate::code::definitions::{DefinitionId, Definitions, ProtoId};
use crate::lua::vm::{Ref, Vm};
use crate::support::error::Result;
use crate::support::mem::TryInsert;

/// The definitions of both texts.
pub struct BothDefinitions {
    file: Arc<Definitions>,
    former: Arc<Definitions>,
    /// None where both are one.
    alignment: Option<Arc<Alignment>>,
    /// The functions of the former text by their code; none where several have it.
    by_code: FxHashMap<Digest, Option<ProtoId>>,
}

/// What makes a function, and what it was or is in the other text.
#[derive(Clone, Copy)]
struct Made {
    /// Its definition in the former text, if that has it.
    former: Option<DefinitionId>,
    /// The text that is asked for has it.
    goes_on: bool,
    /// It makes one function only.
    is_single: bool,
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
            by_code,
        }))
    }

    /// Is a function of the file, of which lines and code are given, the one that a function of the
    /// running module was? None where the texts do not tell.
    pub fn are_one(
        &self,
        (lines, code): ((i32, i32), Digest),
        (old_lines, old_code): ((i32, i32), Digest),
    ) -> Option<bool> {
        let (new, old) = (self.made_by_file(lines, code)?, self.made_before(old_lines, old_code)?);
        match new.former {
            Some(former) if Some(former) == old.former => new.is_single.then_some(true),
            Some(_) => Some(false),
            // A function that only the file has may be another one's edit, if that is gone.
            None => old.goes_on.then_some(false),
        }
    }

    /// The definition of the last load that a function of the file goes on.
    pub fn former(&self, lines: (i32, i32), code: Digest) -> Option<DefinitionId> {
        let made = self.made_by_file(lines, code)?;
        made.former.filter(|_| made.is_single)
    }

    /// The definition of the last load that made a function of the running module.
    pub fn running(&self, lines: (i32, i32), code: Digest) -> Option<DefinitionId> {
        self.made_before(lines, code)?.former
    }

    fn made_by_file(&self, lines: (i32, i32), code: Digest) -> Option<Made> {
        let proto = self.file.proto_of(lines, || Some(code))?;
        let id = self.file.proto(proto)?.definition?;
        let former = match &self.alignment {
            Some(alignment) => alignment.base(id).map(|(base, _)| base),
            None => Some(id),
        };
        Some(Made {
            former,
            goes_on: true,
            is_single: self.file.get(id)?.is_single(),
        })
    }

    fn made_before(&self, lines: (i32, i32), code: Digest) -> Option<Made> {
        let has_code = |proto: &ProtoId| {
            let proto = self.former.proto(*proto);
            proto.is_some_and(|proto| proto.digest.is_equal(code) == Some(true))
        };
        let proto = self.former.proto_of(lines, || Some(code)).filter(has_code);
        let proto = proto.or_else(|| self.by_code.get(&code).copied().flatten())?;
        let id = self.former.proto(proto)?.definition?;
        Some(Made {
            former: Some(id),
            goes_on: match &self.alignment {
                Some(alignment) => alignment.incoming(id).is_some(),
                None => true,
            },
            is_single: self.former.get(id)?.is_single(),
        })
    }
}
