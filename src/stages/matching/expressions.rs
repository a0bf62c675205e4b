//! Has the edit changed what a place is given? Where the value is an object of others, the objects
//! do not tell: `local say = print` may find another `print` when the chunk runs again, and is the
//! same text. So the expressions of both versions are compared. What neither reader knows is no
//! edit.

use super::identity::Identity;
use super::{Function2, Side};
use crate::code::definitions::{
    Constant, DefinitionId, Definitions, Destination, ExpressionKind, Store, StoreId, StringId,
    Symbol, VariableId,
};
use crate::lua::vm::{Ref, Vm};

/// Fields of fields that are compared.
const DEEPEST: u32 = 8;

/// What an edit of a place is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EditOf {
    /// The file gives the place another object.
    Place,
    /// So it is, too, if another kind of expression makes the object, or a call of something else.
    Kind,
    /// So it is, too, if the call that makes the object is another one: no code of the file's comes
    /// into a function of others.
    Call,
    /// The same for a userdata, or a function of C's: it is what it was made with.
    Product,
}

/// An expression of one version.
type Expression<'a> = (&'a Definitions, Symbol);

impl Identity {
    /// Is what the file puts under this key of a running table (`None`: among the globals) another
    /// expression than that of the last load? None where that is not known.
    pub(super) fn is_field_edited(
        &self,
        vm: &Vm,
        table: Option<Ref>,
        key: Ref,
        edit: EditOf,
    ) -> Option<bool> {
        let [old, new] = self.fields(vm, table, key)?;
        self.is_edit(old?, new?, edit)
    }

    /// Does neither version's text put anything under this key, so that what stands there was put
    /// there by others (a library that copies the methods of a class)?
    pub(super) fn is_field_of_others(&self, vm: &Vm, table: Option<Ref>, key: Ref) -> bool {
        let fields = self.fields(vm, table, key);
        fields.is_some_and(|fields| fields.iter().all(Option::is_none))
    }

    /// What both versions put under a key; none where the table is not known.
    fn fields(&self, vm: &Vm, table: Option<Ref>, key: Ref) -> Option<[Option<Expression<'_>>; 2]> {
        let (base, definitions) = self.versions()?;
        let find = |version: &Definitions| vm.with_bytes(key, |key| version.find(key)).flatten();
        let holders = match table {
            Some(table) => {
                let holder = self.running_definition(vm, table)?;
                Some((holder, self.counterpart(holder)?))
            }
            None => None,
        };
        let old = find(base).and_then(|key| last(base, holders.map(|(holder, _)| holder), key));
        let new = find(definitions)
            .and_then(|key| last(definitions, holders.map(|(_, holder)| holder), key));
        Some([old, new])
    }

    /// Is what the text puts into a variable, which is an upvalue of a function of both sides,
    /// another expression than that of the last load, or one of them? None where that is not known.
    pub(super) fn is_variable_edited(
        &self,
        vm: &Vm,
        old: (Ref, u8),
        new: (Ref, u8),
        edit: EditOf,
    ) -> Option<bool> {
        let (base, definitions) = self.versions()?;
        let old = variable(base, self.running_definition(vm, old.0)?, old.1)?;
        let new = variable(definitions, self.incoming_definition(vm, new.0)?, new.1)?;
        let initialisers = (
            base.variable(old)?.initialiser,
            definitions.variable(new)?.initialiser,
        );
        let mut is_edited =
            self.is_edit((base, initialisers.0), (definitions, initialisers.1), edit)?;
        // What a function assigns is no product of the load, unless the load calls it.
        let counts = |(_, store): &(StoreId, &Store)| edit != EditOf::Product || store.proto == 0;
        let mut stores = base.stores_to(old).filter(counts);
        let mut others = definitions.stores_to(new).filter(counts);
        loop {
            match (stores.next(), others.next()) {
                (None, None) => return Some(is_edited),
                _ if is_edited && edit == EditOf::Kind => return Some(true),
                (Some((_, old)), Some((_, new))) => {
                    is_edited |= self.is_edit((base, old.value), (definitions, new.value), edit)?;
                }
                _ => return None, // which of them the load has made last nobody knows
            }
        }
    }

    /// Is the object what both versions initialise the variable with that is this upvalue of an
    /// incoming function? Then the edit has not touched what the load leaves there, whatever code
    /// assigns it later.
    pub(super) fn is_initialiser(
        &self,
        vm: &Vm,
        (function, index): (Ref, u8),
        object: Ref,
    ) -> bool {
        let is_it = || {
            let (base, definitions) = self.versions()?;
            let id = variable(definitions, self.incoming_definition(vm, function)?, index)?;
            let made = self.incoming_definition(vm, object)?;
            let place = |version: &Definitions, made| {
                let place = version.get(made)?.place?;
                Some(version.store(place)?.place)
            };
            let was_initialiser =
                matches!(place(base, self.base(made)?.0)?, Destination::Variable(_));
            Some(was_initialiser && place(definitions, made)? == Destination::Variable(id))
        };
        is_it() == Some(true)
    }

    /// Does the file's text put something under this key of an incoming table (`None`: among
    /// the globals) that it has made elsewhere? Then the place is a reference.
    pub(super) fn is_reference(&self, vm: &Vm, table: Option<Ref>, key: Ref) -> bool {
        let store = || {
            let definitions = self.definitions()?;
            let holder = match table {
                Some(table) => Some(self.incoming_definition(vm, table)?),
                None => None,
            };
            let key = vm.with_bytes(key, |key| definitions.find(key)).flatten()?;
            let (id, store) = last_store(definitions, holder, key)?;
            Some(is_given_elsewhere((definitions, store.value), id))
        };
        store().unwrap_or(false)
    }

    /// Is the variable of the file that an upvalue of one of its functions is (counted from 1) a
    /// reference: does code assign it, or is it initialised with what is made elsewhere?
    pub(super) fn is_reference_in(&self, function: &Function2, index: u8) -> bool {
        let store = || {
            let definitions = self.definitions()?;
            let id = self.variable(function, index)?;
            let variable = definitions.variable(id).filter(|known| !known.is_given)?;
            let (store, _) = definitions.stores_to(id).next()?;
            let made = (definitions, variable.initialiser);
            Some(variable.assignments > 0 || is_given_elsewhere(made, store))
        };
        store().unwrap_or(false)
    }

    /// Is an upvalue of a function (counted from 1) the variable of a loop, or a parameter?
    pub(super) fn is_upvalue_given(
        &self,
        vm: &Vm,
        (function, index): (Ref, u8),
        side: Side,
    ) -> bool {
        let is_it = || {
            let (base, definitions) = self.versions()?;
            let (version, made) = match side {
                Side::Running => (base, self.running_definition(vm, function)?),
                Side::Incoming => (definitions, self.incoming_definition(vm, function)?),
            };
            Some(version.variable(variable(version, made, index)?)?.is_given)
        };
        is_it() == Some(true)
    }

    fn is_edit(
        &self,
        base: Expression<'_>,
        incoming: Expression<'_>,
        edit: EditOf,
    ) -> Option<bool> {
        let is_other = self.differ(base, incoming, 0)?;
        if is_other || edit == EditOf::Place {
            return Some(is_other);
        }
        let ((base, a), (incoming, b)) = (plain(base), plain(incoming));
        let (Symbol::Definition(a), Symbol::Definition(b)) = (a, b) else {
            return Some(false);
        };
        let (a, b) = (base.get(a)?.kind, incoming.get(b)?.kind);
        if std::mem::discriminant(&a) != std::mem::discriminant(&b) {
            return Some(true);
        }
        let (ExpressionKind::Call(a), ExpressionKind::Call(b)) = (a, b) else {
            return Some(false);
        };
        let (a, b) = (base.call(a).copied()?, incoming.call(b).copied()?);
        if edit == EditOf::Kind {
            return self.differ((base, a.callee), (incoming, b.callee), 0);
        }
        let (given, now) = (base.list(a.arguments), incoming.list(b.arguments));
        let mut is_edited = given.len() != now.len();
        let both = [(a.callee, b.callee)].into_iter();
        for (a, b) in both.chain(given.iter().copied().zip(now.iter().copied())) {
            is_edited |= self.differ((base, a), (incoming, b), 0)?;
        }
        Some(is_edited)
    }

    /// Do two expressions differ? None where that is not known.
    fn differ(&self, base: Expression<'_>, incoming: Expression<'_>, depth: u32) -> Option<bool> {
        if depth > DEEPEST {
            return None;
        }
        let ((base, a), (incoming, b)) = (plain(base), plain(incoming));
        let texts = |a: StringId, b: StringId| Some(base.text(a) != incoming.text(b));
        match (a, b) {
            (Symbol::Constant(Constant::String(a)), Symbol::Constant(Constant::String(b)))
            | (Symbol::Global(a), Symbol::Global(b))
            | (Symbol::Import(a), Symbol::Import(b)) => texts(a, b),
            (Symbol::Constant(a), Symbol::Constant(b)) => Some(a != b),
            (Symbol::Field(a), Symbol::Field(b)) => {
                let ((a, a_key), (b, b_key)) = (base.field(a)?, incoming.field(b)?);
                let objects = self.differ((base, a), (incoming, b), depth + 1)?;
                let keys = self.differ((base, a_key), (incoming, b_key), depth + 1)?;
                Some(objects || keys)
            }
            (Symbol::Definition(a), Symbol::Definition(b)) => Some(self.counterpart(a) != Some(b)),
            (Symbol::Pure { hash: a, .. }, Symbol::Pure { hash: b, .. }) => Some(a != b),
            (a, b) if is_written_out(a) && is_written_out(b) => Some(true),
            _ => None,
        }
    }
}

/// The expression of a variable that nothing assigns is that of its initialiser.
fn plain((version, symbol): Expression<'_>) -> Expression<'_> {
    let mut symbol = symbol;
    for _ in 0..DEEPEST {
        let Symbol::Variable(id) = symbol else {
            break;
        };
        match version.variable(id) {
            Some(variable) if variable.assignments == 0 && !variable.is_given => {
                symbol = variable.initialiser;
            }
            _ => break,
        }
    }
    (version, symbol)
}

/// Does the text alone say which value it is?
fn is_written_out(symbol: Symbol) -> bool {
    matches!(
        symbol,
        Symbol::Constant(_)
            | Symbol::Global(_)
            | Symbol::Import(_)
            | Symbol::Field(_)
            | Symbol::Definition(_)
            | Symbol::Pure { .. }
    )
}

/// Is it the expression of an object that the text makes elsewhere than for this store?
fn is_given_elsewhere(expression: Expression<'_>, store: StoreId) -> bool {
    let (version, symbol) = plain(expression);
    match symbol {
        Symbol::Definition(id) => !version.is_place(id, store),
        Symbol::Field(_) | Symbol::Global(_) | Symbol::Variable(_) => true,
        _ => false,
    }
}

/// What the main function of a version stores last under a key of a definition's object, or in a
/// global.
fn last(
    version: &Definitions,
    holder: Option<DefinitionId>,
    key: StringId,
) -> Option<Expression<'_>> {
    let (_, store) = last_store(version, holder, key)?;
    Some((version, store.value))
}

fn last_store(
    version: &Definitions,
    holder: Option<DefinitionId>,
    key: StringId,
) -> Option<(StoreId, &Store)> {
    let is_main = |(_, store): &(StoreId, &Store)| store.proto == 0;
    match holder {
        Some(holder) => version.stores_under(holder, key).filter(is_main).last(),
        None => version.stores_to_global(key).filter(is_main).last(),
    }
}

/// The variable that is an upvalue, counted from 1, of a function that a definition makes.
fn variable(version: &Definitions, function: DefinitionId, index: u8) -> Option<VariableId> {
    match version.get(function)?.kind {
        ExpressionKind::Function(proto) => version.upvalue(proto, index.checked_sub(1)?),
        _ => None,
    }
}
