//! The names of definitions, for people.

use super::Definitions;
use super::types::*;
use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Parents of parents that a name shows.
const DEEPEST: usize = 16;

impl Definitions {
    /// A definition's name for people: `M.states.idle`, `Idle`, `on("hit")(2)`.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn describe(&self, id: DefinitionId) -> Result<Vec<u8>> {
        let mut path = Vec::new();
        let mut next = Some(id);
        while let Some((id, definition)) = next.and_then(|id| Some((id, self.get(id)?))) {
            path.try_push((id, definition))?;
            next = match definition.parent {
                Parent::Definition(parent) if path.len() < DEEPEST => Some(parent),
                _ => None,
            };
        }
        let mut name = Vec::new();
        for (id, definition) in path.iter().rev() {
            self.describe_key(*id, definition, &mut name)?;
        }
        Ok(name)
    }

    fn describe_key(
        &self,
        id: DefinitionId,
        definition: &Definition,
        name: &mut Vec<u8>,
    ) -> Result<()> {
        let place = self.definition_place(id);
        match (definition.key, place) {
            (DefinitionKey::Local(text) | DefinitionKey::Global(text), _) => {
                write(name, &[self.text(text)])
            }
            (DefinitionKey::Field(key), _) => write(name, &[b".", self.text(key)]),
            (DefinitionKey::Result(1), _) => write(name, &[b"return"]),
            (DefinitionKey::Result(number), _) => {
                write(name, &[b"return ", digits(number, &mut [0; 3])])
            }
            (DefinitionKey::Metatable, _) => write(name, &[b":metatable"]),
            (DefinitionKey::Argument(number), _) => {
                write(name, &[b"(", digits(number, &mut [0; 3]), b")"])
            }
            (DefinitionKey::Element, _) => write(name, &[b"[]"]),
            (DefinitionKey::Computed, _) => write(name, &[b"[?]"]),
            (DefinitionKey::Place(_), Some(Destination::Field { base, key })) => {
                self.describe_symbol(base, name)?;
                match key {
                    Symbol::Constant(Constant::String(key)) => write(name, &[b".", self.text(key)]),
                    Symbol::Constant(_) => write(name, &[b"[?]"]),
                    path => {
                        write(name, &[b"["])?;
                        self.describe_symbol(path, name)?;
                        write(name, &[b"]"])
                    }
                }
            }
            (DefinitionKey::Place(_), _) => write(name, &[b"?"]),
            (DefinitionKey::Call(_), _) => self.describe_call(definition.kind, name),
            (DefinitionKey::Nowhere, _) => match definition.kind {
                ExpressionKind::Table => write(name, &[b"{}"]),
                ExpressionKind::Function(_) => write(name, &[b"function"]),
                ExpressionKind::Call(_) => self.describe_call(definition.kind, name),
            },
        }
    }

    fn describe_call(&self, kind: ExpressionKind, name: &mut Vec<u8>) -> Result<()> {
        let ExpressionKind::Call(call) = kind else {
            return Ok(());
        };
        let Some(call) = self.call(call) else {
            return Ok(());
        };
        self.describe_symbol(call.callee, name)?;
        let mut before: &[u8] = b"(";
        for argument in self.list(call.arguments) {
            if let Symbol::Constant(Constant::String(text)) = argument {
                write(name, &[before, b"\"", self.text(*text), b"\""])?;
                before = b", ";
            }
        }
        match before {
            b"(" => write(name, &[b"()"]),
            _ => write(name, &[b")"]),
        }
    }

    fn describe_symbol(&self, mut symbol: Symbol, name: &mut Vec<u8>) -> Result<()> {
        let mut fields = Vec::new();
        while let Symbol::Field(field) = symbol
            && let Some((base, key)) = self.field(field)
            && fields.len() < DEEPEST
        {
            fields.try_push(key)?;
            symbol = base;
        }
        match symbol {
            Symbol::Global(text) | Symbol::Import(text) => write(name, &[self.text(text)])?,
            Symbol::Variable(id) => {
                let text = self.variable(id).map(|variable| self.text(variable.name));
                write(name, &[text.unwrap_or(b"?")])?;
            }
            Symbol::Definition(id) => match self.get(id).map(|definition| definition.key) {
                Some(
                    DefinitionKey::Local(text)
                    | DefinitionKey::Global(text)
                    | DefinitionKey::Field(text),
                ) => {
                    write(name, &[self.text(text)])?;
                }
                _ => write(name, &[b"?"])?,
            },
            _ => write(name, &[b"?"])?,
        }
        for key in fields.iter().rev() {
            match key {
                Symbol::Constant(Constant::String(key)) => {
                    write(name, &[b".", self.text(*key)])?;
                }
                _ => write(name, &[b"[?]"])?,
            }
        }
        Ok(())
    }

    pub(super) fn definition_place(&self, id: DefinitionId) -> Option<Destination> {
        Some(self.store(self.get(id)?.place?)?.place)
    }
}

/// Appends texts.
fn write(name: &mut Vec<u8>, texts: &[&[u8]]) -> Result<()> {
    for text in texts {
        name.try_reserve(text.len())?;
        name.extend_from_slice(text);
    }
    Ok(())
}

/// A number in decimal.
fn digits(number: u8, buffer: &mut [u8; 3]) -> &[u8] {
    let all = [number / 100, number / 10 % 10, number % 10].map(|digit| b'0' + digit);
    *buffer = all;
    let first = all.iter().position(|digit| *digit != b'0').unwrap_or(2);
    buffer.get(first..).unwrap_or_default()
}
