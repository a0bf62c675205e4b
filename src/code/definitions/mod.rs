//! The definitions of a file, from the dump of its main chunk: the expressions that make objects,
//! and the one place that gives each its name.
//!
//! A *definition* is a table constructor, a function, or a call whose result goes somewhere. Every
//! other mention of its object is a reference. Its *first destination* gives it a name: a parent and
//! a key below it. [`align`](super::align) finds which definition of one version is which of
//! another.
//!
//! The pass is strict, as every reader of dumps: a byte that is not as expected gives `None`, and
//! what an instruction leaves in a register is [`Symbol::Unknown`] unless it is proved. It wants
//! debug information: of a stripped dump it knows no variable. Each function is interpreted once,
//! in the order of its instructions. Branches meet in [`Symbol::OneOf`].

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Digest;
use crate::support::error::Result;
use crate::support::secret::Secret;

/// The most definitions that [`Definitions::resolve`] tells of one symbol, and members of a
/// [`Symbol::OneOf`]. What is beyond leaves it open.
pub const MOST_MEANT: usize = 8;

/// A prototype: functions are numbered as in [`Tree`](super::tree::Tree), each before those in it.
/// The main function is number 0.
pub type ProtoId = u32;

/// A definition, in the order of the code: the main function's first, then those of each function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId(pub u32);

/// A local variable of some function, in the order of functions and declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableId(pub u32);

/// A store, in the order of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u32);

/// A string of the dump; each string has one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(pub u32);

/// A list of symbols ([`Definitions::list`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct ListId {
    start: u32,
    length: u32,
}

/// A constant of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Constant {
    Nil,
    Boolean(bool),
    Integer(i64),
    /// The bits of a float.
    Float(u64),
    String(Text),
}

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// Nothing.
    Unknown,
    /// It is this constant.
    Constant(Constant),
    /// What this definition makes (here: the first result of a call).
    Definition(DefinitionId),
    /// A global variable, by name.
    Global(Text),
    /// What `require "name"` gives.
    Import(Text),
    /// A field of something: [`Definitions::field`].
    Field(u32),
    /// What this variable holds, at a time that is not known: any value that is assigned to it.
    Variable(VariableId),
    /// A parameter of a function, counted from 0.
    Parameter(ProtoId, u8),
    /// What a `for` gives.
    LoopVariable,
    /// What operators make of constants, imports, parameters, loop variables, and of the symbols in
    /// this list (variables). Two of one hash are the same expression.
    Pure {
        /// The variables in it.
        of: ListId,
        /// A digest of the expression, for comparison with that of another version.
        hash: u32,
    },
    /// One of these, or of what stands in their place: branches have met.
    OneOf(ListId),
}

/// What a definition's expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `{ … }`
    Table,
    /// `function … end`, of this prototype.
    Function(ProtoId),
    /// `f(…)`, whose first result the definition is.
    Call(CallId),
}

/// A call ([`Definitions::call`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// What is called, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What is called; of `object:method()` the field.
    pub callee: Symbol,
    /// The arguments as far as they are written out ([`Definitions::list`]); the object is the
    /// first one of a method.
    pub arguments: ListId,
}

/// Below what a definition has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// A function: it is a local of it, or its result, or a place that no definition is known for,
    /// or it has no destination.
    Proto(ProtoId),
    /// Another definition: it is a field, an element, the metatable, or an argument of it.
    Definition(DefinitionId),
}

/// What a definition is called below its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `local Idle = …`, or an assignment to that variable, wherever it stands.
    Local(Text),
    /// `name = …`; the parent is the main function.
    Global(Text),
    /// `t.name = …`, `{ name = … }`.
    Field(Text),
    /// The n-th result of a function, counted from 1.
    Result(u8),
    /// `setmetatable(t, …)`.
    Metatable,
    /// The n-th argument of a call, counted from 1; 0 is the called function itself.
    Argument(u8),
    /// A call without a destination: a digest of what is called, and of the constant arguments.
    Call(u64),
    /// A field of something that no definition is known for (`string.trim`, `self.x`): a digest of
    /// the path.
    Place(u64),
    /// An element of a list, or what stands under a number: an ordinal is no name.
    Element,
    /// What stands under a computed key.
    Computed,
    /// It has no destination.
    Nowhere,
}

impl Key {
    /// Are there many of it below one parent, by its nature? Then it is no name: such definitions are
    /// elements of a sequence.
    pub fn is_sequence(self) -> bool {
        matches!(self, Key::Element | Key::Computed | Key::Nowhere)
    }
}

/// An expression that makes an object.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// What expression it is.
    pub kind: Kind,
    /// The function that evaluates it.
    pub proto: ProtoId,
    /// The line, or 0.
    pub line: i32,
    /// It stands in a loop of that function.
    pub in_loop: bool,
    /// Below what it has its name.
    pub parent: Parent,
    /// Its name below the parent.
    pub key: Key,
    /// The store that is its first destination, which gave the name. All others are references.
    pub place: Option<StoreId>,
}

/// A local variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: Text,
    /// The function that declares it.
    pub proto: ProtoId,
    /// How often code assigns it, the initialiser left out: in its own function and in all that
    /// capture it.
    pub assignments: u32,
    /// What it is initialised with.
    pub initialiser: Symbol,
    /// It is a parameter, or a variable of a `for`: nothing in the code initialises it.
    pub is_given: bool,
    /// A nested function captures it.
    pub is_captured: bool,
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct Proto {
    /// The function around it; none for the main function.
    pub parent: Option<ProtoId>,
    /// First line; 0 for the main function.
    pub line: i32,
    /// Last line.
    pub last: i32,
    /// How many parameters.
    pub params: u8,
    /// How many upvalues.
    pub upvalues: u8,
    /// The same as [`Profile::digest`](super::Profile): with it and the lines a running closure
    /// finds its prototype ([`Definitions::proto_of`]).
    pub digest: Digest,
    /// The definition that makes closures of it; none for the main function, and where the code is
    /// never reached.
    pub definition: Option<DefinitionId>,
}

/// Where a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Place {
    /// The variable's initialiser, or an assignment.
    Variable(VariableId),
    Global(Text),
    /// Under any key that is not one of the following.
    Field {
        base: Symbol,
        key: Symbol,
    },
    /// The n-th entry of a constructor, counted from 1.
    Element {
        base: Symbol,
        index: u32,
    },
    /// `t[#t + 1] = value`, `table.insert(t, value)`.
    Appended {
        base: Symbol,
    },
    Metatable {
        base: Symbol,
    },
    /// The n-th value that a function returns, counted from 1.
    Result {
        proto: ProtoId,
        number: u8,
    },
    /// The n-th argument of a call, counted from 1; 0 is the called function. Only definitions have
    /// such stores.
    Argument {
        call: DefinitionId,
        number: u8,
    },
}

/// A value goes to a place.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// Where.
    pub place: Place,
    /// What.
    pub value: Symbol,
    /// The function that does it.
    pub proto: ProtoId,
    /// The line, or 0.
    pub line: i32,
}

/// The definitions that a symbol may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// In the order in which they were found; [`MOST_MEANT`] at most.
    pub definitions: SmallVec<[DefinitionId; MOST_MEANT]>,
    /// It may be something else as well: a parameter, an import, anything. (Constants do not count:
    /// they are no objects.)
    pub is_open: bool,
}

/// What a dump tells about definitions, variables and stores.
pub struct Definitions {
    dump: Vec<u8>,
    secret: Secret,
    texts: Vec<Known>,
    /// The texts by their digests.
    numbers: FxHashMap<u64, Text>,
    protos: Vec<Proto>,
    /// Where the upvalues of each function begin among `upvalues`.
    first_upvalue: Vec<u32>,
    upvalues: Vec<Option<VariableId>>,
    /// The functions by their lines.
    by_lines: Vec<(i32, i32, ProtoId)>,
    definitions: Vec<Definition>,
    calls: Vec<Call>,
    variables: Vec<Variable>,
    fields: Vec<(Symbol, Symbol)>,
    lists: Vec<Symbol>,
    stores: Vec<Store>,
    /// The stores into each definition, those to each variable and those to each global: sorted.
    into: Vec<(DefinitionId, StoreId)>,
    assignments: Vec<(VariableId, StoreId)>,
    globals: Vec<(Text, StoreId)>,
    /// What each function returns first.
    results: Vec<(ProtoId, StoreId)>,
}

/// A string that the dump has: where it stands, its length, and its digest.
#[derive(Clone, Copy)]
struct Known {
    start: u32,
    length: u32,
    digest: u64,
}

/// The part of a sorted list of pairs that has this first half: the second halves.
fn under<K: Ord + Copy, V: Copy>(pairs: &[(K, V)], key: K) -> impl Iterator<Item = V> {
    let start = pairs.partition_point(|(other, _)| *other < key);
    let rest = pairs.get(start..).unwrap_or_default().iter();
    rest.take_while(move |(other, _)| *other == key)
        .map(|(_, value)| *value)
}

impl Definitions {
    /// Reads the dump of a main chunk; none when it is not exactly that of Lua 5.4. Digests, and
    /// two versions that are to be aligned, want one secret.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn read(dump: Vec<u8>, secret: &Secret) -> Result<Option<Definitions>> {
        let _ = (dump, secret);
        Ok(None)
    }

    /// How many functions.
    pub fn protos(&self) -> u32 {
        self.protos.len() as u32
    }

    /// A function.
    pub fn proto(&self, id: ProtoId) -> Option<&Proto> {
        self.protos.get(id as usize)
    }

    /// The prototype of a running closure, by first and last line and by the digest of its code
    /// ([`profile`](super::profile) of its dump); the digest is asked for where several stand on
    /// the lines. None where even that leaves several.
    pub fn proto_of(
        &self,
        lines: (i32, i32),
        digest: impl FnOnce() -> Option<Digest>,
    ) -> Option<ProtoId> {
        let start = self
            .by_lines
            .partition_point(|(line, last, _)| (*line, *last) < lines);
        let rest = self.by_lines.get(start..)?;
        let count = rest.partition_point(|(line, last, _)| (*line, *last) == lines);
        match rest.get(..count)? {
            [] => None,
            [(_, _, one)] => Some(*one),
            several => {
                let digest = digest()?;
                let is_it = |id: &ProtoId| {
                    let proto = self.proto(*id);
                    proto.is_some_and(|proto| proto.digest.is_equal(digest) == Some(true))
                };
                let mut found = several.iter().map(|(_, _, id)| *id).filter(is_it);
                found.next().filter(|_| found.next().is_none())
            }
        }
    }

    /// How many definitions: their numbers are those below.
    pub fn len(&self) -> u32 {
        self.definitions.len() as u32
    }

    /// All definitions with their numbers. Calls whose result goes nowhere and that get no
    /// definition as an argument are among them; nothing has a name below these.
    pub fn iter(&self) -> impl Iterator<Item = (DefinitionId, &Definition)> {
        (0..).map(DefinitionId).zip(&self.definitions)
    }

    /// A definition.
    pub fn get(&self, id: DefinitionId) -> Option<&Definition> {
        self.definitions.get(id.0 as usize)
    }

    /// What is called, and with what.
    pub fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(id.0 as usize)
    }

    /// All variables with their numbers.
    pub fn variables(&self) -> impl Iterator<Item = (VariableId, &Variable)> {
        (0..).map(VariableId).zip(&self.variables)
    }

    /// A variable.
    pub fn variable(&self, id: VariableId) -> Option<&Variable> {
        self.variables.get(id.0 as usize)
    }

    /// The variable that an upvalue of a function is, counted from 0, through all functions around
    /// it; none for `_ENV`, and where that is not known.
    pub fn upvalue(&self, proto: ProtoId, index: u8) -> Option<VariableId> {
        if index >= self.proto(proto)?.upvalues {
            return None;
        }
        let first = self.first_upvalue.get(proto as usize)?;
        *self.upvalues.get(*first as usize + usize::from(index))?
    }

    /// The object and the key of a [`Symbol::Field`].
    pub fn field(&self, id: u32) -> Option<(Symbol, Symbol)> {
        self.fields.get(id as usize).copied()
    }

    /// The symbols of a list.
    pub fn list(&self, id: ListId) -> &[Symbol] {
        let start = id.start as usize;
        self.lists
            .get(start..start + id.length as usize)
            .unwrap_or_default()
    }

    /// A store.
    pub fn store(&self, id: StoreId) -> Option<&Store> {
        self.stores.get(id.0 as usize)
    }

    /// What is stored into a definition's object under any key, appended, or set as its metatable;
    /// in the order of the code.
    pub fn stores_into(&self, id: DefinitionId) -> impl Iterator<Item = (StoreId, &Store)> {
        under(&self.into, id).filter_map(|id| Some((id, self.store(id)?)))
    }

    /// The initialiser and the assignments of a variable, in the order of the code.
    pub fn stores_to(&self, id: VariableId) -> impl Iterator<Item = (StoreId, &Store)> {
        under(&self.assignments, id).filter_map(|id| Some((id, self.store(id)?)))
    }

    /// What the code stores in a global.
    pub fn stores_to_global(&self, name: Text) -> impl Iterator<Item = (StoreId, &Store)> {
        under(&self.globals, name).filter_map(|id| Some((id, self.store(id)?)))
    }

    /// What a function returns first, a store for each `return`.
    pub fn results(&self, proto: ProtoId) -> impl Iterator<Item = (StoreId, &Store)> {
        under(&self.results, proto).filter_map(|id| Some((id, self.store(id)?)))
    }

    /// Is the store the one that gave the definition its name? Then the place is its own, and what
    /// stands in any other place is a reference.
    pub fn is_place(&self, definition: DefinitionId, store: StoreId) -> bool {
        self.get(definition)
            .is_some_and(|definition| definition.place == Some(store))
    }

    /// The bytes of a text.
    pub fn text(&self, text: Text) -> &[u8] {
        self.texts.get(text.0 as usize).map_or(&[], |known| {
            super::text_at(&self.dump, (known.start, known.length))
        })
    }

    /// The text with these bytes, if the dump has it.
    pub fn find(&self, bytes: &[u8]) -> Option<Text> {
        let text = *self.numbers.get(&self.secret.digest(bytes))?;
        (self.text(text) == bytes).then_some(text)
    }

    /// The definitions that a symbol may be: through the values of variables and globals, and the
    /// fields of definitions.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn resolve(&self, symbol: Symbol) -> Result<Meant> {
        let _ = symbol;
        Ok(Meant::default())
    }

    /// Is the variable a constant (R4.7)? No code assigns it, and its initialiser is made of
    /// literals, imports, parameters, loop variables and such variables, by operators alone.
    pub fn is_constant(&self, id: VariableId) -> bool {
        let _ = id;
        false
    }

    /// A definition's name for people: `M.states.idle`, `local Idle`, `on("hit")(2)`.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::support::error::Error::Memory).
    pub fn describe(&self, id: DefinitionId) -> Result<Vec<u8>> {
        let _ = id;
        Ok(Vec::new())
    }
}
