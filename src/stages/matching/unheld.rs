//! Edited functions to which nothing of the module leads. A chunk that says `if not
//! hotreload.reloading() then net.on(1, on_login) end` gives no one its new `on_login`: what others
//! hold runs old code. Only a walk over the VM finds it, so without one it is told.

use rustc_hash::FxHashSet;

use super::Pairer;
use super::identity::Identity;
use crate::code::definitions::{DefinitionId, Definitions, ExpressionKind};

use crate::support::error::{Result, shown};
use crate::support::mem::{TryInsert, TryPush};

/// First and last line of a function.
type LineRange = (i32, i32);

impl Identity {
    /// The functions that the main function of the last load gave to others, and that are edited
    /// now.
    fn edited_arguments(&self) -> Result<Vec<(DefinitionId, LineRange)>> {
        let mut found = Vec::new();
        let Some((base, definitions)) = self.versions().filter(|_| self.is_text_edited()) else {
            return Ok(found);
        };
        for (old, _) in base.iter().filter(|(_, definition)| definition.is_given) {
            if let Some(function) = self.edited_function(base, definitions, old) {
                found.try_push(function)?;
            }
        }
        Ok(found)
    }

    /// What a function of the last load has become, if its code is another by now.
    fn edited_function(
        &self,
        base: &Definitions,
        definitions: &Definitions,
        old: DefinitionId,
    ) -> Option<(DefinitionId, LineRange)> {
        let new = self.counterpart(old)?;
        let codes = base
            .function_digest(old)
            .zip(definitions.function_digest(new));
        let ExpressionKind::Function(proto) = definitions.get(new)?.kind else {
            return None;
        };
        let proto = definitions.proto(proto)?;
        codes
            .filter(|(old, new)| old != new)
            .map(|_| (new, (proto.line, proto.last)))
    }
}

impl Pairer<'_> {
    /// Warns of edited functions to which nothing of the module leads.
    pub(super) fn warn_of_unheld(&mut self) -> Result<()> {
        if self.everywhere {
            return Ok(());
        }
        let given = self.identity.edited_arguments()?;
        if given.is_empty() {
            return Ok(());
        }
        let mut met: FxHashSet<LineRange> = FxHashSet::default();
        let known = self.out.new.iter();
        let known = known.map(|function| (function.info.line, function.info.last));
        for lines in known.chain(self.loaded.left.functions.iter().copied()) {
            met.try_insert_value(lines, ())?;
        }
        for (definition, lines) in given {
            let is_led_to = self.identity.incoming_object(definition).is_some();
            if is_led_to || met.contains(&lines) {
                continue;
            }
            let name = match self.identity.definitions() {
                Some(definitions) => shown(&definitions.describe(definition)?),
                None => continue,
            };
            self.out.warnings.try_push(format!(
                "{}: {name} (line {}) was edited, and nothing of the module leads to it: where \
                 others hold it, they run the old code; reload with scope = \"vm\" to replace it \
                 there (R5.8)",
                self.context.title, lines.0
            ))?;
        }
        Ok(())
    }
}
