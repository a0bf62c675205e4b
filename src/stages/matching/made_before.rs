//! What objects that the program has made before do not get (R5.11): a method that a factory gives
//! to new ones, or a class that is another object by now. Nothing can follow there, so it is told.
//!
//! ```text
//! acc.new: what it made before lacks 'get': make it anew, or give it the function in `__hotfix`
//! ```

use rustc_hash::FxHashSet;

use super::Pairer;
use super::identity::Identity;
use crate::code::definitions::{
    Constant, DefinitionId, Definitions, Destination, ExpressionKind, StringId, Symbol,
};
use crate::lua::vm::{Kind, Ref};
use crate::model::site::SiteId;
use crate::support::error::{Result, shown};
use crate::support::mem::{TryInsert, TryPush, copied};

/// Names that a warning tells.
const MOST_NAMES: usize = 5;

/// A function of the file, and the names of the methods that its new objects have and the former
/// ones lack.
type LackingMethods = (DefinitionId, Vec<Vec<u8>>);

impl Identity {
    /// The functions of the file whose objects get more methods than those of the last load.
    fn lacking_methods(&self) -> Result<Vec<LackingMethods>> {
        let mut found: Vec<LackingMethods> = Vec::new();
        let versions = self.versions();
        let versions = versions.filter(|(base, definitions)| !definitions.has_fields_of(base));
        let Some((base, definitions)) = versions else {
            return Ok(found);
        };
        for (id, definition) in base.iter() {
            if definition.proto == 0 || definition.kind != ExpressionKind::Table {
                continue;
            }
            let incoming = self.counterpart(id);
            let Some(made) = incoming.and_then(|incoming| definitions.get(incoming)) else {
                continue;
            };
            let factory = definitions
                .proto(made.proto)
                .and_then(|proto| proto.definition);
            let (Some(incoming), Some(factory)) = (incoming, factory) else {
                continue;
            };
            let mut methods = methods(definitions, incoming).peekable();
            if methods.peek().is_none() {
                continue;
            }
            let mut had: FxHashSet<&[u8]> = FxHashSet::default();
            for name in fields(base, id) {
                had.try_insert_value(base.text(name), ())?;
            }
            let mut names = Vec::new();
            for name in methods {
                let name = definitions.text(name);
                if !had.contains(name) {
                    names.try_push(copied(name)?)?;
                }
            }
            if !names.is_empty() {
                found.try_push((factory, names))?;
            }
        }
        Ok(found)
    }
}

/// The names under which something is stored in what a definition makes.
fn fields(definitions: &Definitions, id: DefinitionId) -> impl Iterator<Item = StringId> {
    definitions
        .stores_into(id)
        .filter_map(|(_, store)| name_of(store.place))
}

/// The names under which functions of the text are.
fn methods(definitions: &Definitions, id: DefinitionId) -> impl Iterator<Item = StringId> {
    let is_function = |value| match value {
        Symbol::Definition(value) => definitions.function_digest(value).is_some(),
        _ => false,
    };
    let stores = definitions.stores_into(id);
    let methods = stores.filter(move |(_, store)| is_function(store.value));
    methods.filter_map(|(_, store)| name_of(store.place))
}

fn name_of(place: Destination) -> Option<StringId> {
    match place {
        Destination::Field {
            key: Symbol::Constant(Constant::String(name)),
            ..
        } => Some(name),
        _ => None,
    }
}

impl Pairer<'_> {
    /// Warns of the methods that objects lack which the program has made before.
    pub(super) fn warn_of_lacking_methods(&mut self) -> Result<()> {
        for (factory, names) in self.identity.lacking_methods()? {
            let made = self.identity.incoming_object(factory);
            let function = made.and_then(|made| self.number2(self.vm.val(made).addr));
            let function = function.and_then(|f2| self.out.new.get(f2 as usize));
            let site = function.map_or(SiteId::MODULE, |function| function.site);
            let path = self.out.sites.path(self.vm, &self.context.title, site);
            let mut told = Vec::new();
            for name in names.iter().take(MOST_NAMES) {
                told.try_push(format!("'{}'", shown(name)))?;
            }
            let more = match names.len().saturating_sub(MOST_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.out.warnings.try_push(format!(
                "{path}: what it made before lacks {}{more}: \
                 make it anew, or give it the function in __hotfix (R5.11)",
                told.join(", ")
            ))?;
        }
        Ok(())
    }

    /// Warns where a class that the file has no longer gives way to another object.
    pub(super) fn warn_of_class(&mut self, site: SiteId, old: Ref) -> Result<()> {
        if self.vm.kind(old) != Kind::Table || self.has_partner(self.vm.val(old).addr) {
            return Ok(());
        }
        let index = self.vm.field(old, "__index")?;
        if self.vm.val(index).is_nil() {
            return Ok(());
        }
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        self.out.warnings.try_push(format!(
            "{path}: the file has another class there; objects that were made before keep the \
             former one: give them the new metatable in __hotfix (R5.11)"
        ))
    }
}
