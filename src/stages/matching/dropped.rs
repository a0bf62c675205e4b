//! State that nobody uses any more: a variable or field that the program has changed, and that the
//! file has no longer. It may have been renamed, so that is told.
//!
//! ```text
//! m: local players (table, 5 entries): no function of the file uses it; 'roster' is new:
//! rename = { players = "roster" } keeps it
//! ```
//!
//! Asked is the record: what stands there as the last load left it is no loss.

use rustc_hash::FxHashSet;

use super::Pairer;
use super::cells::Cell1;
use super::merge::is_scalar;
use crate::code::definitions::{Constant, Definitions, Destination, StringId, Symbol};
use crate::lua::vm::{KeptEntry, KeyValue, Kind, Ref, Vm};
use crate::model::base::{self, Path, RecordedPlace};
use crate::model::site::{Root, SiteId};
use crate::support::error::{Result, shown};
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

/// Entries that are counted of a table that is told of.
const MOST_COUNTED: usize = 10_000;
/// A table with more keys has rows, and no fields.
const MOST_FIELDS: usize = 1_000;
/// New names that are told.
const MOST_NAMES: usize = 3;

impl Pairer<'_> {
    /// Warns of state that the file lacks now.
    pub(super) fn warn_of_dropped(&mut self) -> Result<()> {
        self.dropped_environment()?;
        if !self.out.base.is_known() {
            return Ok(());
        }
        self.dropped_locals()?;
        self.dropped_globals()?;
        self.dropped_fields()
    }

    /// Globals of an environment that the loader has made anew: no function of the file sees the
    /// former ones (R4.4).
    fn dropped_environment(&mut self) -> Result<()> {
        let Some(cell) = self
            .out
            .new_cells
            .iter()
            .find(|cell| cell.environment)
            .copied()
        else {
            return Ok(());
        };
        let globals = self.vm.val(self.context.globals);
        let new = cell.value;
        let n = self.vm.val(new);
        if !n.is_table() || n == globals {
            return Ok(());
        }
        let mut former = Vec::new();
        let is_former = |old: &&Cell1| old.own && old.name == cell.name && !old.matched;
        for old in self.out.old_cells.iter().filter(is_former) {
            let held = self.vm.val(old.value);
            if held.is_table() && held != n && held != globals {
                former.try_push(old.value)?;
            }
        }
        former.sort_unstable_by_key(|table| self.vm.val(*table).addr);
        former.dedup_by_key(|table| self.vm.val(*table).addr);
        let mut names = Vec::new();
        for old in former {
            let (mut tables, mut cursor) = (Vec::new(), self.vm.walk(old, new)?);
            while let Some(entry) = cursor.next(self.vm) {
                let is_state = is_scalar(entry.new) || entry.new.is_table();
                if is_state && !cursor.values_equal(self.vm) && !entry.key.is_table() {
                    tables.try_push(cursor.keep(self.vm)?)?;
                }
            }
            for KeptEntry { key, old, new } in tables {
                let has_other = !self.vm.val(new).is_table() || self.differ_inside(new, old)?;
                if let Some(name) = self.vm.bytes(key)?.filter(|_| has_other) {
                    names.try_push(name)?;
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let told = names.iter().take(MOST_NAMES);
        let mut told = collected(told.map(|name| Ok(shown(name))))?.join(", ");
        if names.len() > MOST_NAMES {
            told.push_str(&format!(" and {} more", names.len() - MOST_NAMES));
        }
        self.out.warnings.try_push(format!(
            "{}: its loader gave the file a new environment, and these globals begin anew: {told}; \
             give it the former environment to keep them (R4.4)",
            self.context.title
        ))
    }

    /// Has one of two tables another scalar than the other, or another key?
    fn differ_inside(&mut self, one: Ref, other: Ref) -> Result<bool> {
        if !self.vm.val(other).is_table() {
            return Ok(true);
        }
        for [one, other] in [[one, other], [other, one]] {
            let mut cursor = self.vm.walk(one, other)?;
            while let Some(entry) = cursor.next(self.vm) {
                let is_same = match is_scalar(entry.new) {
                    true => cursor.values_equal(self.vm),
                    false => entry.new.kind == entry.old.kind,
                };
                if !is_same {
                    cursor.end(self.vm);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn dropped_locals(&mut self) -> Result<()> {
        let mut parts: Option<FxHashSet<usize>> = None;
        let mut named: Vec<u32> = Vec::new(); // how many cells have each name
        named.try_reserve_exact(self.names.len())?;
        named.resize(self.names.len(), 0);
        for cell in &self.out.old_cells {
            if let Some(count) = named.get_mut(cell.name.number()) {
                *count += 1;
            }
        }
        for number in 0..self.out.old_cells.len() {
            let Some(cell) = self.out.old_cells.get(number).copied() else {
                break;
            };
            if cell.matched || !cell.own || self.is_environment1(number as u32) {
                continue;
            }
            let is_only = named.get(cell.name.number()) == Some(&1);
            let Some(place) = self.place_of_dropped(&cell, is_only) else {
                continue;
            };
            let value = cell.value;
            if !self.is_changed_state(place, value)? {
                continue;
            }
            let address = self.vm.cell(cell.function, cell.index);
            let known = match parts.take() {
                Some(known) => known,
                None => self.cells_of_parts()?,
            };
            if parts.insert(known).contains(&address) {
                continue;
            }
            let mut names = Vec::new();
            for new in copied(&self.out.new_cells)? {
                if new.own && new.answer.is_none() && !new.environment && !new.same {
                    let other = new.value;
                    let name = self.vm.upvalue_name(new.function, new.index);
                    if self.vm.kind(other) == self.vm.kind(value)
                        && self.is_files_own(other)
                        && !self.identity.was_named(&name)
                    {
                        names.try_push(name)?;
                    }
                }
            }
            let name = self.vm.upvalue_name(cell.function, cell.index);
            let what = format!("{}: local {}", self.context.title, shown(&name));
            self.warn_of_state(&what, "no function of the file", &name, value, names)?;
        }
        Ok(())
    }

    /// R1.11: the cells that a module has which was split off from this one: its functions are of
    /// the lineages of this one's. What the cells hold is not lost.
    fn cells_of_parts(&mut self) -> Result<FxHashSet<usize>> {
        let (mut ours, mut lineages) = (FxHashSet::default(), FxHashSet::default());
        for old in self.out.old.iter().filter(|old| old.own) {
            ours.try_insert_value(self.vm.val(old.at).addr, ())?;
            if let Some(number) = self.lineage.of(self.vm, old.at) {
                lineages.try_insert_value(number, ())?;
            }
        }
        let mut found = FxHashSet::default();
        let not_parts = [
            self.context.running,
            self.loaded.value,
            self.context.globals,
        ];
        for object in self.loaded.snapshot.modules.entries().values() {
            let is_other = not_parts.iter().all(|ours| !self.vm.same(*ours, object));
            let Some(entries) = self.vm.keep_at_most(object, MOST_FIELDS)? else {
                continue;
            };
            let is_ours = |value: Ref| {
                let number = self.lineage.of(self.vm, value);
                self.vm.val(value).is_function()
                    && number.is_some_and(|number| lineages.contains(&number))
                    && !ours.contains(&self.vm.val(value).addr)
            };
            if !is_other || !entries.values().any(is_ours) {
                continue;
            }
            let mut work = collected(entries.values().map(Ok))?;
            while let Some(value) = work.pop() {
                let val = self.vm.val(value);
                let is_new = val.addr != 0 && found.try_insert_value(val.addr, ())?.is_none();
                let info = match is_new && val.is_function() {
                    true => self.vm.info(value)?.filter(|info| info.lua),
                    false => None,
                };
                for index in 1..=info.map_or(0, |info| info.upvalues) {
                    let cell = self.vm.cell(value, index);
                    if found.try_insert_value(cell, ())?.is_none()
                        && self.vm.upvalue_val(value, index).is_function()
                    {
                        work.try_push(self.vm.upvalue_value(value, index)?)?;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Where a local that the file has not is on record: by its name only if no other one has that.
    fn place_of_dropped(&self, cell: &Cell1, is_only: bool) -> Option<RecordedPlace> {
        let number = self.number_of(cell.function)?;
        let of_function = base::local_of(self.vm, number, cell.function, cell.index);
        if self.out.base.is_there(of_function) {
            return Some(of_function);
        }
        let place = base::local(self.vm, cell.function, cell.index);
        (is_only && self.out.base.is_there(place)).then_some(place)
    }

    /// Globals that the last load set and the file does not set: nothing of the file has their
    /// names, or they have become fields.
    fn dropped_globals(&mut self) -> Result<()> {
        let former = self.identity.base_texts();
        let Some(former) = former.filter(|_| self.identity.is_text_edited()) else {
            return Ok(());
        };
        let path = Path::root(self.vm, Root::Globals.name());
        let mut names = Vec::new();
        for (_, store) in former.global_stores()? {
            if let Destination::Global(name) = store.place
                && store.proto == 0
                && !self.identity.sets_global(former.text(name))
            {
                names.try_push(name)?;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let now = self.identity.definitions();
        let (had, has) = (field_names(&former)?, now.map(field_names).transpose()?);
        let is_field = |name| {
            let now = now.and_then(|now| now.find(former.text(name)));
            let is_field =
                now.is_some_and(|now| has.as_ref().is_some_and(|has| has.contains(&now)));
            is_field && !had.contains(&name)
        };
        names.retain(|name| is_field(*name) || !self.is_used(former.text(*name)));
        names.sort_unstable();
        names.dedup();
        for name in names {
            let key = self.vm.string(former.text(name))?;
            let value = self.vm.get(self.context.globals, key)?;
            let place = self.vm.digest(key).map(|key| path.place(key));
            let Some(place) = place.filter(|place| self.out.base.is_there(*place)) else {
                continue;
            };
            if self.is_changed_state(place, value)? {
                let site = self.out.sites.key(SiteId::GLOBALS, key)?;
                let what = self.out.sites.path(self.vm, &self.context.title, site);
                let name = former.text(name);
                self.warn_of_state(&what, "nothing in the file", name, value, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Fields of tables that go on, whose names do not even occur in the file.
    fn dropped_fields(&mut self) -> Result<()> {
        for (new, old) in copied(&self.out.paired)? {
            let address = self.vm.val(old).addr;
            if self.tables.has_all_keys(address, self.vm.val(new).addr) {
                continue;
            }
            let Some(path) = self.out.paths.get(&address).copied() else {
                continue;
            };
            let on_record = self.out.base.keys(path);
            let is_large = on_record > MOST_FIELDS;
            if on_record == 0 || is_large && !self.may_lack_keys(new, path, on_record) {
                continue;
            }
            let goes_on = self.recorded_keys(new, path)? + self.elements_behind(new, path);
            if goes_on >= on_record {
                continue;
            }
            let (mut dropped, mut names, mut found) = (Vec::new(), Vec::new(), 0);
            let entries = self.vm.keep_at_most(old, MOST_FIELDS)?;
            let is_whole = entries.is_some();
            let keys = match entries {
                Some(entries) => collected(entries.keys().map(Ok))?,
                None => self.former_texts()?,
            };
            for key in keys {
                let is_lacking = self.vm.look_up(new, key)?.1.is_nil();
                let place = self.vm.digest(key).map(|key| path.place(key));
                let Some(place) =
                    place.filter(|place| is_lacking && self.out.base.is_there(*place))
                else {
                    continue;
                };
                found += 1;
                let value = self.vm.get(old, key)?;
                if self.vm.kind(value) != Kind::Nil
                    && self.vm.kind(key) == Kind::String
                    && self.vm.with_bytes(key, |name| self.is_used(name)) == Some(false)
                {
                    dropped.try_push((key, value, place))?;
                }
            }
            if !is_whole && found < on_record - goes_on {
                self.vm.limits.warn(
                    "the file lacks keys that it had; of a table with more than {} entries only \
                     keys are looked for that the former text names; take the values under others \
                     over in __hotfix (R5.10)",
                    MOST_FIELDS,
                    Where::Table(address),
                )?;
            }
            let entries = self.vm.keep_at_most(new, MOST_FIELDS)?;
            for KeyValue { key, value } in entries
                .unwrap_or_default()
                .iter()
                .filter(|_| !dropped.is_empty())
            {
                let place = self.vm.digest(key).map(|key| path.place(key));
                let is_new = place.is_some_and(|place| !self.out.base.is_there(place))
                    && self.is_files_own(value);
                if let Some(name) = self.vm.bytes(key)?.filter(|_| is_new) {
                    names.try_push((name, self.vm.kind(value)))?;
                }
            }
            let site = match dropped.is_empty() {
                true => None,
                false => self.out.site_of_table(self.vm, self.context, address)?,
            };
            let site = site.unwrap_or(SiteId::MODULE);
            for (key, value, place) in dropped {
                if !self.is_changed_state(place, value)? {
                    continue;
                }
                let kind = self.vm.kind(value);
                let mut alike = Vec::new();
                for (name, _) in names.iter().filter(|(_, other)| *other == kind) {
                    alike.try_push(copied(name)?)?;
                }
                let name = self.vm.bytes(key)?.unwrap_or_default();
                let site = self.out.sites.key(site, key)?;
                let what = self.out.sites.path(self.vm, &self.context.title, site);
                self.warn_of_state(&what, "nothing in the file", &name, value, alike)?;
            }
        }
        Ok(())
    }

    /// Does the file use a name for more than a local? (`M.count` may have become `local count`.)
    fn is_used(&self, name: &[u8]) -> bool {
        match &self.loaded.chunk {
            Some(chunk) => chunk.has_name(name, self.vm.secret()),
            None => self.identity.is_named(name),
        }
    }

    /// How many elements more the list has on record than the file's table has.
    fn elements_behind(&self, new: Ref, path: Path) -> usize {
        let end = self.vm.raw_len(new);
        let is_there = |index: &i64| {
            let place = path.place(self.vm.digest_of_integer(*index));
            self.out.base.is_there(place)
        };
        (end + 1..).take_while(is_there).count()
    }

    /// The texts of the last load's code.
    fn former_texts(&mut self) -> Result<Vec<Ref>> {
        let mut texts = Vec::new();
        let base = self.identity.base_texts();
        for text in base.iter().flat_map(|base| base.texts()) {
            texts.try_push(self.vm.string(text)?)?;
        }
        Ok(texts)
    }

    /// May an incoming table lack some of so many keys that are on record, besides elements of its
    /// list? Not if the file is as it was.
    fn may_lack_keys(&self, new: Ref, path: Path, on_record: usize) -> bool {
        let length = usize::try_from(self.vm.raw_len(new)).unwrap_or_default();
        self.identity.is_text_edited() && length + self.elements_behind(new, path) < on_record
    }

    /// Can state of the module's go on there? Not in the place of an import.
    fn is_files_own(&self, value: Ref) -> bool {
        is_scalar(self.vm.val(value)) || self.is_fresh(self.vm.val(value))
    }

    /// Is it data, and other data than the last load has put there?
    pub(super) fn is_changed_state(&mut self, place: RecordedPlace, value: Ref) -> Result<bool> {
        let val = self.vm.val(value);
        if is_scalar(val) {
            return Ok(!self.out.base.had(place, self.vm.digest(value)));
        }
        Ok(val.is_table()
            && !self.has_partner(val.addr)
            && val != self.vm.val(self.context.running)
            && !self.is_module(val)?
            && !self.is_data_as_loaded(place, value)?)
    }

    fn warn_of_state(
        &mut self,
        what: &str,
        who: &str,
        name: &[u8],
        value: Ref,
        mut names: Vec<Vec<u8>>,
    ) -> Result<()> {
        let held = describe(self.vm, value)?;
        let name = shown(name);
        names.sort_unstable();
        names.dedup();
        let told: Vec<String> = names
            .iter()
            .take(MOST_NAMES)
            .map(|name| shown(name))
            .collect();
        let advice = match told.as_slice() {
            [] => "; keep it in the file, or its value is lost".into(),
            [one] => format!("; '{one}' is new: rename = {{ {name} = \"{one}\" }} keeps it"),
            several => format!(
                "; new are '{}': rename = {{ {name} = ... }} keeps it",
                several.join("', '")
            ),
        };
        let warning = format!("{what} ({held}): {who} uses it{advice}");
        self.out.warnings.try_push(warning)
    }
}

/// The names of the fields that the main function of a version sets.
fn field_names(version: &Definitions) -> Result<FxHashSet<StringId>> {
    let mut names = FxHashSet::default();
    for store in version.main_stores() {
        if let Destination::Field { key, .. } = store.place
            && let Symbol::Constant(Constant::String(name)) = key
        {
            names.try_insert_value(name, ())?;
        }
    }
    Ok(names)
}

/// A value as a warning has it.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn describe(vm: &mut Vm, value: Ref) -> Result<String> {
    let kind = vm.kind(value);
    Ok(match kind {
        Kind::Table => {
            let mut count = 0;
            let mut cursor = vm.walk(value, Ref::NIL)?;
            while count <= MOST_COUNTED && cursor.next(vm).is_some() {
                count += 1;
            }
            cursor.end(vm);
            match count {
                1 => "table, 1 entry".into(),
                count if count > MOST_COUNTED => {
                    format!("table, more than {MOST_COUNTED} entries")
                }
                count => format!("table, {count} entries"),
            }
        }
        Kind::String => {
            let text = vm.with_bytes(value, shown).unwrap_or_default();
            format!("string \"{text}\"")
        }
        Kind::Number => {
            let integer = vm.integer(value);
            let text = integer.map(|integer| integer.to_string());
            let text = text.or_else(|| vm.number_text(value));
            format!("number {}", text.unwrap_or_default())
        }
        Kind::Boolean => vm.truthy(value).to_string(),
        kind => kind.name().into(),
    })
}
