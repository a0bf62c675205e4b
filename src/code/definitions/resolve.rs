//! Which definitions a symbol may be.

use smallvec::SmallVec;

use super::Definitions;
use super::types::*;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Symbols that are followed for one that is asked for, and fields of fields. What is beyond leaves
/// it open.
const MOST_STEPS: u32 = 64;
const DEEPEST: u32 = 12;

/// Variables, globals and fields that were followed already.
type Followed = SmallVec<[Symbol; 16]>;

impl Definitions {
    /// The definitions that a symbol may be: through the values of variables and globals, and the
    /// fields of definitions.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn resolve(&self, symbol: Symbol) -> Result<Meant> {
        let mut meant = Meant::default();
        self.follow(symbol, &mut meant, &mut MOST_STEPS.clone(), 0)?;
        Ok(meant)
    }

    /// The first definition that a symbol may be.
    pub(super) fn first_meant(&self, symbol: Symbol) -> Result<Option<DefinitionId>> {
        let symbol = match symbol {
            Symbol::Variable(id) => match self.variable(id) {
                Some(variable) if variable.assignments == 0 => variable.initialiser,
                _ => symbol,
            },
            _ => symbol,
        };
        match symbol {
            Symbol::Definition(id) => Ok(Some(id)),
            Symbol::Unknown | Symbol::Parameter(..) | Symbol::Import(_) => Ok(None),
            _ => Ok(self.resolve(symbol)?.definitions.first().copied()),
        }
    }

    fn follow(&self, symbol: Symbol, meant: &mut Meant, steps: &mut u32, depth: u32) -> Result<()> {
        let mut todo: SmallVec<[Symbol; 16]> = SmallVec::new();
        let mut followed = Followed::new();
        todo.try_push(symbol)?;
        while let Some(symbol) = todo.pop() {
            if *steps == 0 || depth > DEEPEST {
                meant.is_open = true;
                return Ok(());
            }
            *steps -= 1;
            match symbol {
                Symbol::Definition(id) => meant.add(id)?,
                Symbol::Constant(_) | Symbol::Pure { .. } => {}
                Symbol::OneOf(list) => {
                    for member in self.list(list).iter().rev() {
                        todo.try_push(*member)?;
                    }
                }
                Symbol::Variable(_) | Symbol::Global(_) | Symbol::Field(_) => {
                    if followed.contains(&symbol) {
                        continue;
                    }
                    followed.try_push(symbol)?;
                    let first = todo.len();
                    self.values(symbol, &mut todo, meant, steps, depth)?;
                    if let Some(values) = todo.get_mut(first..) {
                        values.reverse(); // the first one is taken first
                    }
                }
                _ => meant.is_open = true,
            }
        }
        Ok(())
    }

    /// Adds the values that a variable, a global or a field may have.
    fn values(
        &self,
        symbol: Symbol,
        values: &mut SmallVec<[Symbol; 16]>,
        meant: &mut Meant,
        steps: &mut u32,
        depth: u32,
    ) -> Result<()> {
        let mut add = |stores: &mut dyn Iterator<Item = (StoreId, &Store)>| -> Result<bool> {
            let mut has_some = false;
            for (_, store) in stores.take(MOST_STEPS as usize) {
                values.try_push(store.value)?;
                has_some = true;
            }
            Ok(has_some)
        };
        match symbol {
            Symbol::Variable(id) => {
                let variable = self.variable(id);
                meant.is_open |= variable.is_none_or(|variable| {
                    variable.is_given || variable.initialiser == Symbol::Unknown
                });
                add(&mut self.stores_to(id))?;
            }
            Symbol::Global(name) => {
                meant.is_open = true;
                add(&mut self.stores_to_global(name))?;
            }
            Symbol::Field(field) => {
                let Some((base, key)) = self.field(field) else {
                    return Ok(());
                };
                let Symbol::Constant(Constant::String(key)) = key else {
                    // What stands under other keys is found by going through all of them.
                    meant.is_open = true;
                    return Ok(());
                };
                let mut bases = Meant::default();
                self.follow(base, &mut bases, steps, depth + 1)?;
                meant.is_open |= bases.is_open || bases.definitions.is_empty();
                for base in bases.definitions {
                    meant.is_open |= !add(&mut self.stores_under(base, key))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Meant {
    fn add(&mut self, id: DefinitionId) -> Result<()> {
        if self.definitions.contains(&id) {
            return Ok(());
        }
        if self.definitions.len() == MOST_MEANT {
            self.is_open = true;
            return Ok(());
        }
        self.definitions.try_push(id)
    }
}
