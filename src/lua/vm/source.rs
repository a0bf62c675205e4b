//! The names of sources, by number.
//!
//! Lua shares a string of at most 40 bytes among all that have it. It makes a longer one anew for
//! each chunk that it compiles, so the functions of one file may have names at several addresses
//! (`@/srv/game/modules/combat/damage_over_time.lua`). A name is therefore known by its bytes; its
//! address only spares the comparison.

use rustc_hash::FxHashMap;

use crate::support::error::Result;
use crate::support::mem::{TryInsert, copied};

/// The number of a source's name: two names have one number where they are equal, byte for byte. It
/// is good as long as the view is ([`super::Vm`]). The default is no function's that is written in
/// Lua.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct SourceId(u32);

/// The names that a view has met.
#[derive(Default)]
pub(super) struct SourceNames {
    by_name: FxHashMap<Vec<u8>, SourceId>,
    by_address: FxHashMap<usize, SourceId>,
    /// The last answer: the functions of one chunk come in a row.
    last: Option<(usize, SourceId)>,
}

impl SourceNames {
    /// The number of a name.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    #[inline]
    pub(super) fn number(&mut self, name: &[u8]) -> Result<SourceId> {
        match self.last {
            Some((address, number)) if address == name.as_ptr().addr() => Ok(number),
            _ => self.look_up(name),
        }
    }

    fn look_up(&mut self, name: &[u8]) -> Result<SourceId> {
        let address = name.as_ptr().addr();
        let number = match self.by_address.get(&address) {
            Some(number) => *number,
            None => {
                let number = match self.by_name.get(name) {
                    Some(number) => *number,
                    None => {
                        let number = SourceId(self.by_name.len() as u32 + 1);
                        self.by_name.try_insert_value(copied(name)?, number)?;
                        number
                    }
                };
                self.by_address.try_insert_value(address, number)?;
                number
            }
        };
        self.last = Some((address, number));
        Ok(number)
    }

    /// Forgets the addresses, before anything is compiled and before code of the program runs: a
    /// name may be collected then, and another one may come to stand at its address. (Nothing
    /// else makes names of sources.)
    pub(super) fn forget_addresses(&mut self) {
        self.by_address.clear();
        self.last = None;
    }
}
