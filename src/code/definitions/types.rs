//! What is told of a dump: definitions, variables, stores, and symbols for values.

use smallvec::SmallVec;

use super::super::Digest;
#[allow(unused_imports, reason = "the documentation names it")]
use super::Definitions;

/// The most definitions that [`Definitions::resolve`] tells of one symbol, and members of a
/// [`Symbol::OneOf`]. What is beyond leaves it open.
pub const MOST_MEANT: usize = 8;

/// A prototype: functions are numbered as in [`Tree`](super::super::tree::Tree), each before those
/// in it. The main function is number 0.
pub type ProtoId = u32;

/// A definition, in the order of the code: the main function's first, then those of each function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId(pub u32);

/// A local variable of some function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableId(pub u32);

/// A store, in the order of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u32);

/// A string of the dump; each string has one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringId(pub u32);

/// A list of symbols ([`Definitions::list`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct ListId {
    pub(super) start: u32,
    pub(super) length: u32,
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
    String(StringId),
}

impl Constant {
    /// As a key: may it be the index of a list? Such a key is no name.
    pub fn may_be_index(self) -> bool {
        self.index().is_some()
    }

    /// The index that it is as a key.
    pub(super) fn index(self) -> Option<i64> {
        match self {
            Constant::Integer(key) => Some(key),
            Constant::Float(bits) => {
                let key = f64::from_bits(bits);
                (key.fract() == 0.0).then_some(key as i64)
            }
            Constant::Nil | Constant::Boolean(_) | Constant::String(_) => None,
        }
        .filter(|key| *key >= 1)
    }
}

/// The integer keys of a table, from 1 on: with holes they are names, and else those of a list.
#[derive(Clone, Copy, Default)]
pub struct Indices {
    count: i64,
    last: i64,
}

impl Indices {
    /// Takes a key; none that is no such integer.
    pub fn add(&mut self, key: Option<i64>) {
        if let Some(index) = key.filter(|index| *index >= 1) {
            (self.count, self.last) = (self.count + 1, self.last.max(index));
        }
    }

    /// Is there a key without one before it?
    pub fn have_holes(self) -> bool {
        self.count < self.last
    }
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
    Global(StringId),
    /// What `require "name"` gives.
    Import(StringId),
    /// A field of something: [`Definitions::field`].
    Field(u32),
    /// What this variable holds, at a time that is not known: any value that is assigned to it.
    Variable(VariableId),
    /// A parameter of a function, counted from 0.
    Parameter(ProtoId, u8),
    /// What a `for` gives.
    LoopVariable,
    /// The length of the object of this field ([`Definitions::field`], whose key says nothing).
    Length(u32),
    /// One more than that: where the next element of a list goes.
    Behind(u32),
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
pub enum ExpressionKind {
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
#[cfg_attr(test, derive(PartialEq))]
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
pub enum DefinitionKey {
    /// `local Idle = …`, or an assignment to that variable, wherever it stands.
    Local(StringId),
    /// `name = …`; the parent is the main function.
    Global(StringId),
    /// `t.name = …`, `{ name = … }`.
    Field(StringId),
    /// The n-th result of a function, counted from 1.
    Result(u8),
    /// `setmetatable(t, …)`.
    Metatable,
    /// The n-th argument of a call, counted from 1; 0 is the called function itself.
    Argument(u8),
    /// A call without a destination: a digest of what is called, and of the constant arguments.
    Call(u64),
    /// A field of something that no definition is known for (`string.trim`, `self.x`): a digest of
    /// the path. What stands under a boolean, a number that is no index, or what has a name
    /// (`handlers[OP.CHAT]`): a digest of the key.
    Place(u64),
    /// An element of a list, or what stands under a number: an ordinal is no name.
    Element,
    /// What stands under a computed key.
    Computed,
    /// It has no destination.
    Nowhere,
}

impl DefinitionKey {
    /// Are there many of it below one parent, by its nature? Then it is no name: such definitions
    /// are elements of a sequence.
    pub fn is_sequence(self) -> bool {
        matches!(
            self,
            DefinitionKey::Element | DefinitionKey::Computed | DefinitionKey::Nowhere
        )
    }
}

/// An expression that makes an object.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Definition {
    /// What expression it is.
    pub kind: ExpressionKind,
    /// The function that evaluates it.
    pub proto: ProtoId,
    /// The line, or 0. Lua gives a table the line of what stands before it.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "tests tell definitions by their lines")
    )]
    pub line: i32,
    /// It stands in a loop of that function.
    pub in_loop: bool,
    /// The main function gives it to a function that may keep it.
    pub is_given: bool,
    /// Below what it has its name.
    pub parent: Parent,
    /// Its name below the parent.
    pub key: DefinitionKey,
    /// The store that is its first destination, which gave the name. All others are references.
    pub place: Option<StoreId>,
}

impl Definition {
    /// Does the main function evaluate it, and once only?
    pub fn is_single(&self) -> bool {
        self.proto == 0 && !self.in_loop
    }
}

/// A local variable.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Variable {
    /// Its name.
    pub name: StringId,
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
    /// It is a constant ([`Definitions::is_constant`]).
    pub(super) is_constant: bool,
    /// A nested function that exists assigns it: its value may change at any time.
    pub(super) is_shared: bool,
    /// The compiler's own.
    pub(super) is_hidden: bool,
}

impl Variable {
    /// Does no code assign it, nor a nested function that exists?
    pub(super) fn is_fixed(&self) -> bool {
        self.assignments == 0 && !self.is_shared
    }

    /// Is it one of the compiler's own, as the state of a loop?
    pub fn is_hidden(&self) -> bool {
        self.is_hidden
    }
}

/// A function.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Proto {
    /// The function around it; none for the main function.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests tell functions by it"))]
    pub parent: Option<ProtoId>,
    /// First line; 0 for the main function.
    pub line: i32,
    /// Last line.
    pub last: i32,
    /// How many parameters.
    pub params: u8,
    /// How many upvalues.
    pub upvalues: u8,
    /// The same as [`Profile::digest`](super::super::Profile): with it and the lines a running
    /// closure finds its prototype ([`Definitions::proto_of`]).
    pub digest: Digest,
    /// A digest of its locals, and of those of the functions in it; 0 for the main function.
    pub(super) locals_digest: u64,
    pub(super) mixed: Mixed,
    /// The definition that makes closures of it; none for the main function, and where the code is
    /// never reached.
    pub definition: Option<DefinitionId>,
    /// The number after the last function in it.
    pub(super) end: ProtoId,
    /// Where it stands in the dump, and where the descriptions of its upvalues do.
    pub(in crate::code) span: (u32, u32),
    pub(in crate::code) upvalues_at: u32,
    /// Where the names of its upvalues stand.
    pub(in crate::code) names_at: u32,
    /// Where its instructions stand in the dump, and its constants among all.
    pub(super) code: (u32, u32),
    pub(super) constants: (u32, u32),
    /// Its variables among all.
    pub(super) locals: (u32, u32),
}

/// Of what operators make values in a function, where it is known what these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mixed {
    /// Of numbers in registers.
    pub(super) numbers: bool,
    /// Of numbers that stand in their instructions, or among the constants.
    pub(super) constants: bool,
    /// Of texts, or of what has a name.
    pub(super) texts: bool,
}

/// What an upvalue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpvalueOrigin {
    Unknown,
    /// The main function's `_ENV`.
    Environment,
    Variable(VariableId),
}

/// Where a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Destination {
    /// The variable's initialiser, or an assignment.
    Variable(VariableId),
    Global(StringId),
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
    /// The n-th argument of a call, counted from 1; 0 is the called function. Only a definition
    /// that has no other place before has such a store.
    Argument {
        call: DefinitionId,
        number: u8,
    },
}

/// A value goes to a place.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Store {
    /// Where.
    pub place: Destination,
    /// What.
    pub value: Symbol,
    /// The function that does it.
    pub proto: ProtoId,
    /// The line, or 0.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "tests tell stores by their lines")
    )]
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
