//! What operators make: expressions that always give the same, and variables that are constants.

use smallvec::SmallVec;

use super::types::{Constant, MOST_MEANT, Symbol, VariableId};
use super::{DefinitionKey, Definitions, ExpressionKind, op};
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Fields of fields, and variables made of variables, are followed no further.
const DEEPEST: u32 = 16;

impl Definitions {
    /// What an operator makes of these operands.
    pub(super) fn operated(&mut self, operation: u32, operands: &[Symbol]) -> Result<Symbol> {
        let mut of: SmallVec<[Symbol; MOST_MEANT]> = SmallVec::new();
        let mut hash = u64::from(operation);
        for operand in operands {
            let own = std::slice::from_ref(operand);
            let inner = match *operand {
                Symbol::Variable(_) => own,
                Symbol::Pure { of, .. } => self.list(of),
                operand if self.is_fixed(operand) => &[],
                _ => return Ok(Symbol::Unknown),
            };
            for variable in inner {
                if !of.contains(variable) {
                    of.try_push(*variable)?;
                }
            }
            hash = self.mixed(hash, self.hash_of(*operand));
        }
        if of.len() > MOST_MEANT {
            return Ok(Symbol::Unknown);
        }
        let is_number = |operand: Option<&Symbol>| {
            use Constant::{Float, Integer};
            matches!(operand, Some(Symbol::Constant(Integer(_) | Float(_))))
        };
        let has_constant = matches!(
            operation & 0x7f,
            op::ADDI..=op::SHLI | op::EQK..=op::LAST_COMPARISON
        );
        let (left, right) = (is_number(operands.first()), is_number(operands.get(1)));
        self.mixed.numbers |= left || right && !has_constant;
        self.mixed.constants |= right && has_constant;
        self.mixed.texts |= operands.iter().any(|operand| match operand {
            Symbol::Constant(constant) => matches!(constant, Constant::String(_)),
            Symbol::Parameter(..) | Symbol::LoopVariable | Symbol::Pure { .. } => false,
            _ => true,
        });
        let (of, hash) = (self.new_list(&of)?, hash as u32);
        Ok(of.map_or(Symbol::Unknown, |of| Symbol::Pure { of, hash }))
    }

    /// Is it a literal, an import, a field of one, a parameter or a loop variable?
    fn is_fixed(&self, symbol: Symbol) -> bool {
        match symbol {
            Symbol::Constant(_)
            | Symbol::Import(_)
            | Symbol::Parameter(..)
            | Symbol::LoopVariable => true,
            Symbol::Field(_) => self.is_imported(symbol),
            _ => false,
        }
    }

    /// Is it what `require` gives, or a field of it under a constant key?
    pub fn is_imported(&self, mut symbol: Symbol) -> bool {
        for _ in 0..DEEPEST {
            match symbol {
                Symbol::Import(_) => return true,
                Symbol::Field(field) => match self.field(field) {
                    Some((base, Symbol::Constant(_))) => symbol = base,
                    _ => return false,
                },
                _ => return false,
            }
        }
        false
    }

    /// Finds the variables that are constants: those of fixed initialisers first, then those that
    /// are made of them.
    pub(super) fn find_constants(&mut self) {
        for _ in 0..DEEPEST {
            let mut has_found = false;
            for i in 0..self.variables.len() {
                let id = VariableId(i as u32);
                if self
                    .variable(id)
                    .is_some_and(|variable| !variable.is_constant)
                    && self.is_made_of_constants(id)
                    && let Some(variable) = self.variables.get_mut(i)
                {
                    (variable.is_constant, has_found) = (true, true);
                }
            }
            if !has_found {
                return;
            }
        }
    }

    fn is_made_of_constants(&self, id: VariableId) -> bool {
        let Some(variable) = self
            .variable(id)
            .filter(|variable| variable.assignments == 0)
        else {
            return false;
        };
        let is_constant = |symbol: &Symbol| match symbol {
            Symbol::Variable(other) => self.is_constant(*other),
            _ => false,
        };
        match variable.initialiser {
            Symbol::Pure { of, .. } => self.list(of).iter().all(is_constant),
            Symbol::Variable(_) => is_constant(&variable.initialiser),
            symbol => self.is_fixed(symbol),
        }
    }

    /// A hash of what a symbol is called, the same in each version of a file.
    pub(in crate::code) fn hash_of(&self, symbol: Symbol) -> u64 {
        self.hash_to(symbol, DEEPEST)
    }

    fn hash_to(&self, symbol: Symbol, depth: u32) -> u64 {
        let Some(depth) = depth.checked_sub(1) else {
            return 0;
        };
        match symbol {
            Symbol::Unknown => 1,
            Symbol::LoopVariable => 2,
            Symbol::Constant(Constant::Nil) => 3,
            Symbol::Constant(Constant::Boolean(value)) => 4 + u64::from(value),
            Symbol::Constant(Constant::Integer(value)) => self.mixed(6, value as u64),
            Symbol::Constant(Constant::Float(bits)) => self.mixed(7, bits),
            Symbol::Constant(Constant::String(text)) => self.mixed(8, self.digest_of(text)),
            // A name is a name, wherever it is found.
            Symbol::Global(name) => self.digest_of(name),
            Symbol::Variable(id) => self
                .variable(id)
                .map_or(0, |variable| self.digest_of(variable.name)),
            Symbol::Definition(id) => match self.get(id) {
                Some(definition) => match (definition.key, definition.kind) {
                    (DefinitionKey::Local(name) | DefinitionKey::Global(name), _) => {
                        self.digest_of(name)
                    }
                    (DefinitionKey::Field(name), _) => self.mixed(9, self.digest_of(name)),
                    (_, ExpressionKind::Call(call)) => {
                        let callee = self.call(call).map(|call| call.callee);
                        callee.map_or(10, |callee| self.mixed(11, self.hash_to(callee, depth)))
                    }
                    (_, ExpressionKind::Table) => 12,
                    (_, ExpressionKind::Function(_)) => 13,
                },
                None => 0,
            },
            Symbol::Import(name) => self.mixed(14, self.digest_of(name)),
            Symbol::Field(field) => match self.field(field) {
                // (a computed key could be as deep as the object)
                Some((base, key @ Symbol::Constant(_))) => {
                    self.mixed(self.hash_to(base, depth), self.hash_to(key, depth))
                }
                Some((base, _)) => self.mixed(self.hash_to(base, depth), 15),
                None => 0,
            },
            Symbol::Length(field) | Symbol::Behind(field) => {
                let base = self.field(field).map(|(base, _)| base);
                base.map_or(0, |base| self.mixed(16, self.hash_to(base, depth)))
            }
            Symbol::Parameter(_, number) => 17 + u64::from(number),
            Symbol::Pure { hash, .. } => self.mixed(300, hash.into()),
            Symbol::OneOf(list) => self.mixed(301, self.list(list).len() as u64),
        }
    }

    /// Two hashes as one.
    pub(in crate::code) fn mixed(&self, a: u64, b: u64) -> u64 {
        let mut hasher = self.secret.hasher();
        hasher.write_u64(a);
        hasher.write_u64(b);
        hasher.finish()
    }

    /// The digest of a text.
    #[inline]
    pub(in crate::code) fn digest_of(&self, text: super::StringId) -> u64 {
        let known = self.texts.get(text.0 as usize);
        known.map_or(0, |known| known.digest)
    }
}
