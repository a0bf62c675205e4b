//! What an older version tells of a function that is the same in both: it is taken over, and only
//! what was edited is interpreted.
//!
//! A function of the main function and all functions in it make a *block*. What a block gives (its
//! definitions, stores, …) stands together in each list, and depends on nothing but its code, its
//! locals, and what is known of the locals of the main function that it captures. So of two equal
//! blocks the lists differ in nothing but where they begin.

use std::ops::Range;

use rustc_hash::FxHashMap;

#[cfg(test)]
use super::super::Chunk;
use super::types::*;
use super::{Definitions, NO_TEXT, TextNumbers};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// How long each list is when a function's turn comes.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(super) struct Lengths {
    pub(super) definitions: u32,
    pub(super) calls: u32,
    pub(super) fields: u32,
    pub(super) lists: u32,
    pub(super) stores: u32,
}

impl Lengths {
    pub(super) fn of(of: &Definitions) -> Lengths {
        Lengths {
            definitions: of.definitions.len() as u32,
            calls: of.calls.len() as u32,
            fields: of.fields.len() as u32,
            lists: of.lists.len() as u32,
            stores: of.stores.len() as u32,
        }
    }
}

/// The blocks of an older version, by their code and their locals.
pub(super) struct Known<'b> {
    base: &'b Definitions,
    blocks: FxHashMap<(u64, u64), ProtoId>,
    /// The base's texts in the new version, as far as they were asked for.
    texts: Vec<StringId>,
}

impl<'b> Known<'b> {
    pub(super) fn of(base: &'b Definitions) -> Result<Known<'b>> {
        let mut blocks = FxHashMap::default();
        for (proto, id) in base.protos.iter().zip(0..) {
            if proto.parent == Some(0) {
                blocks.try_insert_value((proto.digest.key(), proto.locals_digest), id)?;
            }
        }
        let mut texts = Vec::new();
        texts.try_reserve_exact(base.texts.len())?;
        texts.resize(base.texts.len(), NO_TEXT);
        Ok(Known {
            base,
            blocks,
            texts,
        })
    }

    /// Adds to the new version what the base tells of the block of this function; false where it
    /// tells nothing.
    pub(super) fn take_over(&mut self, out: &mut Definitions, id: ProtoId) -> Result<bool> {
        let Some(proto) = out.proto(id).filter(|proto| proto.parent == Some(0)) else {
            return Ok(false);
        };
        let key = (proto.digest.key(), proto.locals_digest);
        let Some(base_id) = self.blocks.get(&key).copied() else {
            return Ok(false);
        };
        let Some(block) = Block::of(self.base, base_id, out, id)? else {
            return Ok(false);
        };
        let before = Lengths::of(out);
        let mut copy = Copy { known: self, block };
        if copy.all(out)?.is_some() {
            return Ok(true);
        }
        out.definitions.own()?.truncate(before.definitions as usize);
        out.calls.own()?.truncate(before.calls as usize);
        out.fields.own()?.truncate(before.fields as usize);
        out.lists.own()?.truncate(before.lists as usize);
        out.stores.own()?.truncate(before.stores as usize);
        Ok(false)
    }
}

/// A block of both versions: where it stands in the base, and how much further in the new version.
struct Block {
    protos: Range<u32>,
    variables: Range<u32>,
    start: Lengths,
    end: Lengths,
    by: Lengths,
    by_protos: u32,
    by_variables: u32,
    by_lines: i32,
    /// The locals of the main function that it captures.
    captured: Vec<(VariableId, VariableId)>,
}

impl Block {
    /// None where what both versions know of the captured locals differs.
    fn of(
        base: &Definitions,
        base_id: ProtoId,
        out: &Definitions,
        id: ProtoId,
    ) -> Result<Option<Block>> {
        let (Some(old), Some(new)) = (base.proto(base_id), out.proto(id)) else {
            return Ok(None);
        };
        let mut captured = Vec::new();
        for index in 0..old.upvalues {
            match (base.upvalue(base_id, index), out.upvalue(id, index)) {
                (Some(a), Some(b)) if base.fact(a) == out.fact(b) => captured.try_push((a, b))?,
                (None, None)
                    if base.is_environment(base_id, index) == out.is_environment(id, index) => {}
                _ => return Ok(None),
            }
        }
        let (variables, new_variables) = (base.block_variables(base_id), out.block_variables(id));
        let bounds = [base_id, old.end].map(|at| base.lengths.get(at as usize).copied());
        let [Some(start), Some(end)] = bounds else {
            return Ok(None);
        };
        let now = Lengths::of(out);
        let fits = old.end - base_id == new.end - id
            && variables.len() == new_variables.len()
            && out.stores.len() <= out.most / 4
            && now.lists as usize + (end.lists - start.lists) as usize <= out.most;
        Ok(fits.then(|| Block {
            protos: base_id..old.end,
            by_protos: id.wrapping_sub(base_id),
            by_variables: new_variables.start.wrapping_sub(variables.start),
            variables,
            start,
            end,
            by: Lengths {
                definitions: now.definitions.wrapping_sub(start.definitions),
                calls: now.calls.wrapping_sub(start.calls),
                fields: now.fields.wrapping_sub(start.fields),
                lists: now.lists.wrapping_sub(start.lists),
                stores: now.stores.wrapping_sub(start.stores),
            },
            by_lines: new.line.wrapping_sub(old.line),
            captured,
        }))
    }
}

impl Definitions {
    /// How long the lists are when the next function's turn comes.
    pub(super) fn note_lengths(&mut self) -> Result<()> {
        let lengths = Lengths::of(self);
        self.lengths.try_push(lengths)
    }

    /// What the interpreter asks of a variable from outside of its function: its name, and which
    /// of Lua's own functions it is.
    fn fact(&self, id: VariableId) -> Option<(u64, u64)> {
        let variable = self.variable(id)?;
        let initialiser = match variable.initialiser {
            _ if !variable.is_fixed() => 0,
            Symbol::Global(name) => self.mixed(1, self.digest_of(name)),
            Symbol::Field(field) => match self.field(field) {
                Some((Symbol::Global(library), Symbol::Constant(Constant::String(name)))) => {
                    self.mixed(self.digest_of(library), self.digest_of(name))
                }
                _ => 0,
            },
            _ => 0,
        };
        Some((self.digest_of(variable.name), initialiser))
    }

    fn is_environment(&self, proto: ProtoId, index: u8) -> bool {
        let first = self.first_upvalue.get(proto as usize);
        let upvalue = first.and_then(|first| {
            let at = *first as usize + usize::from(index);
            self.upvalues.get(at)
        });
        upvalue == Some(&UpvalueOrigin::Environment)
    }

    /// The variables of a function and of those in it: these come first.
    fn block_variables(&self, id: ProtoId) -> Range<u32> {
        let end = self.variables_of(id).end;
        let protos = id as usize..self.proto(id).map_or(id, |proto| proto.end) as usize;
        let block = self.protos.range(protos);
        let start = block.map(|proto| proto.locals.0).min();
        start.map_or(end, |start| start.min(end))..end
    }
}

/// A block that is copied.
struct Copy<'k, 'b> {
    known: &'k mut Known<'b>,
    block: Block,
}

/// A copy; none where something of the base leads out of its block.
type Copied<T> = Option<T>;

impl Copy<'_, '_> {
    fn all(&mut self, out: &mut Definitions) -> Result<Copied<()>> {
        let (base, start, end) = (self.known.base, self.block.start, self.block.end);
        let part = |start: u32, end: u32| start as usize..end as usize;
        let definitions = base
            .definitions
            .get(part(start.definitions, end.definitions));
        let calls = base.calls.get(part(start.calls, end.calls));
        let fields = base.fields.get(part(start.fields, end.fields));
        let lists = base.lists.get(part(start.lists, end.lists));
        let (Some(definitions), Some(calls), Some(fields), Some(lists)) =
            (definitions, calls, fields, lists)
        else {
            return Ok(None);
        };
        let stores = part(start.stores, end.stores);
        for one in definitions {
            let copy = self.definition(one);
            out.definitions.try_push(copy)?;
        }
        let numbers = &out.numbers;
        let (new_calls, new_fields) = (out.calls.own()?, out.fields.own()?);
        let (new_lists, new_stores) = (out.lists.own()?, out.stores.own()?);
        new_calls.try_reserve(calls.len())?;
        new_fields.try_reserve(fields.len())?;
        new_lists.try_reserve(lists.len())?;
        new_stores.try_reserve(stores.len())?;
        let mut rest = || -> Copied<()> {
            for one in calls {
                let callee = self.symbol(numbers, one.callee)?;
                let arguments = self.list(one.arguments);
                new_calls.push(Call { callee, arguments });
            }
            for (object, key) in fields {
                let copy = (self.symbol(numbers, *object)?, self.symbol(numbers, *key)?);
                new_fields.push(copy);
            }
            for symbol in lists {
                let copy = self.symbol(numbers, *symbol)?;
                new_lists.push(copy);
            }
            for one in base.stores.range(stores.clone()) {
                let copy = self.store(numbers, one)?;
                new_stores.push(copy);
            }
            Some(())
        };
        let mut copied = rest();
        if copied.is_some() {
            copied = self.functions(out).and_then(|()| self.variables(out));
        }
        if copied.is_some() {
            for one in base.stores.range(stores) {
                if let Destination::Variable(id) = one.place
                    && !self.block.variables.contains(&id.0)
                    && let Some(VariableId(id)) = self.variable(id)
                    && let Some(variable) = out.variables.get_mut(id as usize)
                {
                    variable.assignments += 1;
                }
            }
        }
        Ok(copied)
    }

    /// The variables of the block.
    fn variables(&mut self, out: &mut Definitions) -> Copied<()> {
        for id in self.block.variables.clone() {
            let old = *self.known.base.variables.get(id as usize)?;
            let initialiser = self.symbol(&out.numbers, old.initialiser)?;
            let name = self.text(&out.numbers, old.name)?;
            let new = id.wrapping_add(self.block.by_variables);
            *out.variables.get_mut(new as usize)? = Variable {
                name,
                proto: old.proto.wrapping_add(self.block.by_protos),
                initialiser,
                is_constant: false,
                ..old
            };
        }
        Some(())
    }

    /// The functions in the block's own one: what makes them, and what their upvalues are. Of all:
    /// what they do with numbers.
    fn functions(&mut self, out: &mut Definitions) -> Copied<()> {
        for id in self.block.protos.clone() {
            let old = self.known.base.protos.get(id as usize)?;
            let new = id.wrapping_add(self.block.by_protos);
            let proto = out.protos.get_mut(new as usize)?;
            proto.mixed = old.mixed;
            if id == self.block.protos.start {
                continue; // (what is around it makes it, and tells it its upvalues)
            }
            proto.definition = old.definition.map(|id| self.definition_id(id));
            let first = *self.known.base.first_upvalue.get(id as usize)?;
            let new_first = *out.first_upvalue.get(new as usize)?;
            for number in 0..u32::from(old.upvalues) {
                let upvalue = match *self.known.base.upvalues.get((first + number) as usize)? {
                    UpvalueOrigin::Variable(id) => UpvalueOrigin::Variable(self.variable(id)?),
                    other => other,
                };
                *out.upvalues.get_mut((new_first + number) as usize)? = upvalue;
            }
        }
        Some(())
    }

    fn definition(&self, one: &Definition) -> Definition {
        let proto = one.proto.wrapping_add(self.block.by_protos);
        Definition {
            kind: match one.kind {
                ExpressionKind::Table => ExpressionKind::Table,
                ExpressionKind::Function(proto) => {
                    ExpressionKind::Function(proto.wrapping_add(self.block.by_protos))
                }
                ExpressionKind::Call(CallId(id)) => {
                    ExpressionKind::Call(CallId(id.wrapping_add(self.block.by.calls)))
                }
            },
            proto,
            line: self.line(one.line),
            in_loop: one.in_loop,
            is_given: one.is_given,
            parent: Parent::Proto(proto),
            key: DefinitionKey::Nowhere,
            place: one
                .place
                .map(|StoreId(id)| StoreId(id.wrapping_add(self.block.by.stores))),
        }
    }

    fn store(&mut self, numbers: &TextNumbers, one: &Store) -> Copied<Store> {
        Some(Store {
            place: match one.place {
                Destination::Variable(id) => Destination::Variable(self.variable(id)?),
                Destination::Global(name) => Destination::Global(self.text(numbers, name)?),
                Destination::Field { base, key } => Destination::Field {
                    base: self.symbol(numbers, base)?,
                    key: self.symbol(numbers, key)?,
                },
                Destination::Element { base, index } => Destination::Element {
                    base: self.symbol(numbers, base)?,
                    index,
                },
                Destination::Appended { base } => Destination::Appended {
                    base: self.symbol(numbers, base)?,
                },
                Destination::Metatable { base } => Destination::Metatable {
                    base: self.symbol(numbers, base)?,
                },
                Destination::Result { proto, number } => Destination::Result {
                    proto: proto.wrapping_add(self.block.by_protos),
                    number,
                },
                Destination::Argument { call, number } => Destination::Argument {
                    call: self.definition_id(call),
                    number,
                },
            },
            value: self.symbol(numbers, one.value)?,
            proto: one.proto.wrapping_add(self.block.by_protos),
            line: self.line(one.line),
        })
    }

    fn symbol(&mut self, numbers: &TextNumbers, symbol: Symbol) -> Copied<Symbol> {
        let field = |field: u32| field.wrapping_add(self.block.by.fields);
        Some(match symbol {
            Symbol::Unknown | Symbol::LoopVariable => symbol,
            Symbol::Constant(Constant::String(text)) => {
                Symbol::Constant(Constant::String(self.text(numbers, text)?))
            }
            Symbol::Constant(_) => symbol,
            Symbol::Definition(id) => Symbol::Definition(self.definition_id(id)),
            Symbol::Global(name) => Symbol::Global(self.text(numbers, name)?),
            Symbol::Import(name) => Symbol::Import(self.text(numbers, name)?),
            Symbol::Field(id) => Symbol::Field(field(id)),
            Symbol::Length(id) => Symbol::Length(field(id)),
            Symbol::Behind(id) => Symbol::Behind(field(id)),
            Symbol::Variable(id) => Symbol::Variable(self.variable(id)?),
            Symbol::Parameter(proto, number) => {
                Symbol::Parameter(proto.wrapping_add(self.block.by_protos), number)
            }
            Symbol::Pure { of, hash } => Symbol::Pure {
                of: self.list(of),
                hash,
            },
            Symbol::OneOf(list) => Symbol::OneOf(self.list(list)),
        })
    }

    fn definition_id(&self, DefinitionId(id): DefinitionId) -> DefinitionId {
        DefinitionId(id.wrapping_add(self.block.by.definitions))
    }

    fn list(&self, list: ListId) -> ListId {
        ListId {
            start: list.start.wrapping_add(self.block.by.lists),
            length: list.length,
        }
    }

    fn line(&self, line: i32) -> i32 {
        match line {
            0 => 0,
            line => line.wrapping_add(self.block.by_lines),
        }
    }

    fn variable(&self, VariableId(id): VariableId) -> Copied<VariableId> {
        if self.block.variables.contains(&id) {
            return Some(VariableId(id.wrapping_add(self.block.by_variables)));
        }
        let mut captured = self.block.captured.iter();
        let found = captured.find(|(old, _)| old.0 == id);
        found.map(|(_, new)| *new)
    }

    fn text(&mut self, numbers: &TextNumbers, text: StringId) -> Copied<StringId> {
        let known = self.known.texts.get_mut(text.0 as usize)?;
        if *known == NO_TEXT {
            *known = *numbers.get(&self.known.base.digest_of(text))?;
        }
        Some(*known)
    }
}

#[cfg(test)]
impl Definitions {
    /// How many functions a version takes over from the base, both being dumps. All that is known
    /// of it is then what reading it alone tells.
    #[allow(clippy::expect_used)]
    pub fn taken_over(base_dump: &[u8], dump: &[u8]) -> u32 {
        let secret = Default::default();
        let read = |dump: &[u8], base| {
            let read = Definitions::read(dump.to_vec(), &secret, base);
            let mut read = read.expect("memory").expect("a dump");
            read.share().expect("memory");
            read
        };
        let (base, alone) = (read(base_dump, None), read(dump, None));
        let after = read(dump, Some(&base));
        after.agrees_with(&alone);
        let is_numbered = |of: &Definitions| of.is_numbered_as(&base).expect("memory");
        assert_eq!(is_numbered(&after), is_numbered(&alone));
        let chunk = |dump: &[u8]| {
            let read = Chunk::read(dump.to_vec(), &secret).expect("memory");
            read.expect("a dump")
        };
        let known = chunk(base_dump);
        let followed = Definitions::of_same_code(&base, Some(&known), dump).expect("memory");
        if let Some((followed, of_it)) = followed {
            followed.of_dump(dump.to_vec()).agrees_with(&alone);
            if let Some(of_it) = of_it {
                assert!(of_it.of_dump(dump.to_vec()).is_as(&chunk(dump)));
            }
        }
        // (From what an edit has left of a version the next one goes on.)
        read(base_dump, Some(&after)).agrees_with(&base);
        after.taken
    }

    #[allow(clippy::expect_used)]
    fn agrees_with(&self, alone: &Definitions) {
        let both = [self, alone];
        same(both, |of| of.protos.iter().copied().collect());
        // (A comment in a function moves the lines in it.)
        let definition = |one: &Definition| Definition { line: 0, ..*one };
        let store = |one: &Store| Store { line: 0, ..*one };
        same(both, |of| of.definitions.iter().map(definition).collect());
        same(both, |of| of.stores.iter().map(store).collect());
        same(both, |of| of.constants.iter().copied().collect());
        same(both, |of| of.calls.to_vec());
        same(both, |of| of.fields.to_vec());
        same(both, |of| of.lists.to_vec());
        same(both, |of| of.variables.iter().copied().collect());
        same(both, |of| of.upvalues.to_vec());
        same(both, |of| of.by_lines.to_vec());
        let stores =
            |of: &Definitions, id| of.stores_into(id).map(|(id, _)| id).collect::<Vec<_>>();
        same(both, |of| of.iter().map(|(id, _)| stores(of, id)).collect());
        let stores = |of: &Definitions, id| of.stores_to(id).map(|(id, _)| id).collect::<Vec<_>>();
        same(both, |of| {
            of.variables().map(|(id, _)| stores(of, id)).collect()
        });
        for text in alone.texts.iter() {
            let bytes = super::super::text_at(&alone.dump, (text.start, text.length));
            let [after, alone] = both.map(|of| {
                let id = of.find(bytes).expect("a text");
                let ids = of.stores_to_global(id).map(|(id, _)| id);
                ids.collect::<Vec<_>>()
            });
            assert_eq!(after, alone);
        }
        assert_eq!(self.numbers.len(), alone.numbers.len());
    }
}

/// Both have the same list, but for the numbers of texts.
#[cfg(test)]
fn same<T: PartialEq + std::fmt::Debug>(
    [after, alone]: [&Definitions; 2],
    list: impl Fn(&Definitions) -> Vec<T>,
) {
    let (list_after, list_alone) = (list(after), list(alone));
    assert_eq!(list_after.len(), list_alone.len());
    for (number, (a, b)) in list_after.iter().zip(&list_alone).enumerate() {
        if a != b {
            assert_eq!(shown(after, a), shown(alone, b), "number {number}");
        }
    }
}

/// With texts in place of their numbers.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
fn shown<T: std::fmt::Debug>(of: &Definitions, one: &T) -> String {
    let shown = format!("{one:?}");
    let mut parts = shown.split("StringId(");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once(')').unwrap();
        let text = of.text(StringId(number.parse().unwrap()));
        all += &format!("{:?}{rest}", String::from_utf8_lossy(text));
    }
    all
}
