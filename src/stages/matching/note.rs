//! R8: what the next reload is to have on record of this load.
//!
//! For each key of A2 its word. For each scalar, where what will run is what the file says: the
//! word of that; else the word that was on record, if it is still what runs. So a value that only
//! the file changed is known to be the program's neither now nor later.

use rustc_hash::{FxHashMap, FxHashSet};

use super::merge::is_scalar;
use super::{Action, CellFate, EntryPair, Pairer};
use crate::lua::vm::{KeyValue, Kind, Ref, Val};
use crate::model::base::{self, Kind as Had, Path, Place};
use crate::model::site::SiteId;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// What is noted as A2's tables are walked.
#[derive(Default)]
pub(super) struct Notes {
    /// Off in a dry run.
    on: bool,
    words: Vec<u64>,
    /// The path of each of A2's tables: the first under which it was met.
    paths: FxHashMap<usize, Path>,
    /// Tables whose entries are noted.
    noted: FxHashSet<usize>,
    /// Those of them that were noted when nothing of A1 was known to answer to them.
    alone: FxHashSet<usize>,
    /// Words of values that are not what runs after all.
    retracted: FxHashSet<u64>,
    /// Keys that hold tables: whether one is the table's own place is known when all have been
    /// met.
    tables: Vec<(Place, Val)>,
    differing: Vec<Differing>,
}

/// A scalar for which A1 has something else.
struct Differing {
    place: Place,
    /// Where it may be on record.
    known: Option<Place>,
    /// The digests of A2's value and of A1's.
    new: Option<u64>,
    old: Option<u64>,
}

impl Notes {
    pub(super) fn new(on: bool) -> Notes {
        Notes {
            on,
            ..Notes::default()
        }
    }

    /// Makes room for the words of so many keys.
    pub(super) fn reserve(&mut self, keys: usize) -> Result<()> {
        if self.on {
            self.words.try_reserve(keys)?;
        }
        Ok(())
    }
}

impl Pairer<'_> {
    /// Notes where a table of A2 stands. Of several places the first one counts, whatever A1 has
    /// there.
    pub(super) fn note_place(&mut self, table: Ref, site: SiteId) -> Result<Option<Path>> {
        let address = self.vm.val(table).addr;
        if !self.notes.on {
            return Ok(None);
        }
        if let Some(path) = self.notes.paths.get(&address) {
            return Ok(Some(*path));
        }
        let path = self.path(site)?;
        if let Some(path) = path {
            self.notes.paths.try_insert_value(address, path)?;
        }
        Ok(path)
    }

    /// Begins to note what a table of A2 holds, where it stands at `site`; none where nothing of it
    /// can be on record, or all is. Where it is walked first counts, so that what is in it has
    /// a path of the same kind.
    pub(super) fn note_table(&mut self, table: Ref, site: SiteId) -> Result<Option<Path>> {
        if !self.notes.on {
            return Ok(None);
        }
        let address = self.vm.val(table).addr;
        let Some(path) = self.path(site)? else {
            return Ok(None);
        };
        let first = self.notes.noted.try_insert_value(address, ())?.is_none();
        if first {
            self.notes.paths.try_insert_value(address, path)?;
        }
        Ok(Some(path).filter(|_| first))
    }

    /// The same for a table that answers to none of A1's, as far as is known.
    pub(super) fn note_alone(&mut self, table: Ref, site: SiteId) -> Result<Option<Path>> {
        let path = self.note_table(table, site)?;
        if path.is_some() {
            self.notes
                .alone
                .try_insert_value(self.vm.val(table).addr, ())?;
        }
        Ok(path)
    }

    /// The path of a table of A2 that was noted alone, and answers to one of A1's after all.
    pub(super) fn noted_alone(&mut self, table: Ref) -> Option<Path> {
        let address = self.vm.val(table).addr;
        let path = self.notes.paths.get(&address).copied();
        path.filter(|_| self.notes.alone.remove(&address))
    }

    /// Notes what A1's table has beside an entry that was noted alone.
    pub(super) fn note_beside(
        &mut self,
        path: Path,
        site: SiteId,
        beside: &EntryPair,
    ) -> Result<()> {
        let (new, old) = (beside.new_val, beside.old_val);
        let stays = is_scalar(old) || is_scalar(new) && old.is_table();
        if self.replace_data || !stays || self.vm.same(beside.new, beside.old) {
            return Ok(());
        }
        let Some(place) = self.place_of(path, beside.key) else {
            return Ok(());
        };
        // What is on record of it goes by the place where the two were found to answer to each
        // other.
        let known = self
            .path(site)?
            .and_then(|path| self.place_of(path, beside.key));
        let (new, old) = (self.vm.digest(beside.new), self.vm.digest(beside.old));
        if let Some(new) = new {
            self.notes
                .retracted
                .try_insert_value(place.value(new), ())?;
        }
        self.notes.differing.try_push(Differing {
            place,
            known,
            new,
            old,
        })
    }

    /// Notes an entry of a table of A2.
    pub(super) fn note_entry(&mut self, path: Path, beside: &EntryPair) -> Result<()> {
        let Some(place) = self.place_of(path, beside.key) else {
            return Ok(());
        };
        let (new, old) = (beside.new_val, beside.old_val);
        let scalar = is_scalar(new);
        if new.is_table() {
            self.notes.tables.try_push((place, new))?;
        } else {
            let kind = if scalar { Had::Scalar } else { Had::Other };
            self.notes.words.try_push(place.word(kind))?;
        }
        if scalar && (old.is_nil() || self.replace_data || self.vm.same(beside.new, beside.old)) {
            if let Some(new) = self.vm.digest(beside.new) {
                self.notes.words.try_push(place.value(new))?;
            }
        } else if is_scalar(old) || scalar && old.is_table() {
            let (new, old) = (self.vm.digest(beside.new), self.vm.digest(beside.old));
            self.notes.differing.try_push(Differing {
                place,
                known: Some(place),
                new,
                old,
            })?;
        }
        Ok(())
    }

    /// All words of the new record, sorted; none in a dry run.
    pub(super) fn record(&mut self) -> Result<Vec<u64>> {
        let Notes {
            on,
            mut words,
            paths,
            tables,
            differing,
            retracted,
            ..
        } = std::mem::take(&mut self.notes);
        if !on {
            return Ok(words);
        }
        if !retracted.is_empty() {
            words.retain(|word| !retracted.contains(word));
        }
        words.try_reserve(tables.len() + differing.len())?;
        words.extend(
            tables
                .iter()
                .map(|(place, table)| place.word(kind_of(*table, *place, &paths))),
        );
        let differing = differing
            .into_iter()
            .filter_map(|differing| self.value_word(&differing));
        words.extend(differing);
        self.note_conflicts(&mut words)?;
        self.note_cells(&paths, &mut words)?;
        self.note_changes(&paths, &mut words)?;
        Ok(words)
    }

    /// The word for a value that A1 has another one for: of the file's, when A1's follows it; of
    /// A1's, when that is on record.
    fn value_word(&self, differing: &Differing) -> Option<u64> {
        let Differing {
            place,
            known,
            new,
            old,
        } = *differing;
        let on_record = known.is_some_and(|known| self.base.had(known, old));
        let followed =
            || known.is_some_and(|known| self.followed.contains(&known.word(Had::Table)));
        let follows = self.merges && (on_record || followed());
        let word = |value: Option<u64>| value.map(|value| place.value(value));
        if follows {
            word(new)
        } else if on_record {
            word(old)
        } else {
            None
        }
    }

    /// Scalars that take a function's place (R6): then what runs is what the file says.
    fn note_conflicts(&mut self, words: &mut Vec<u64>) -> Result<()> {
        if !self.replaces {
            return Ok(());
        }
        for i in 0..self.out.slots.len() {
            let slot = self.out.slots.get(i).copied();
            let Some(slot) = slot.filter(|slot| slot.action == Action::Conflict) else {
                continue;
            };
            let (new, old) = (self.vm.val(slot.new), self.vm.val(slot.old));
            if !is_scalar(new)
                || self.out.answer(old.addr).is_some()
                || slot.change && !self.is_recorded(slot.table, slot.key)
            {
                continue;
            }
            let place = self
                .path(slot.parent)?
                .and_then(|path| self.place_of(path, slot.key));
            let value = self.vm.digest(slot.new);
            if let Some(word) = place.zip(value).map(|(place, value)| place.value(value)) {
                words.try_push(word)?;
            }
        }
        Ok(())
    }

    /// What A2's chunk wrote into tables that existed, and what is on record of these besides.
    fn note_changes(&mut self, paths: &FxHashMap<usize, Path>, words: &mut Vec<u64>) -> Result<()> {
        let mut written: FxHashSet<u64> = FxHashSet::default();
        let globals = self.vm.val(self.context.globals);
        for i in 0..self.loaded.changes.len() {
            let Some(change) = self.loaded.changes.get(i).copied() else {
                break;
            };
            let (Some(key), Some(site)) =
                (change.key, self.change_sites.get(&change.number).copied())
            else {
                continue;
            };
            let is_hook = || self.vm.is_string(key, b"__hotfix");
            if !self.is_recorded(change.table, key)
                || self.vm.val(change.table) == globals && is_hook()
            {
                continue;
            }
            let path = self.path(site)?;
            let Some(place) = path.and_then(|path| self.place_of(path, key)) else {
                continue;
            };
            written.try_insert_value(place.word(Had::Other), ())?;
            let (new, old) = (self.vm.val(change.new), self.vm.val(change.old));
            if new.is_nil() {
                continue;
            }
            let kind = kind_of(new, place, paths);
            words.try_push(place.word(kind))?;
            let (new, digest) = (self.vm.digest(change.new), self.vm.digest(change.old));
            let value = match kind {
                Had::Scalar if old.is_nil() || self.replace_data => new.map(|new| place.value(new)),
                _ if is_scalar(old) || old.is_table() => self.value_word(&Differing {
                    place,
                    known: Some(place),
                    new,
                    old: digest,
                }),
                _ => None,
            };
            if let Some(value) = value {
                words.try_push(value)?;
            }
        }
        words.sort_unstable();
        if self.base.has_more_keys(words) {
            self.note_the_rest(&written, words)?;
            words.sort_unstable();
        }
        Ok(())
    }

    /// Where a table that existed holds what is on record already, the chunk has changed nothing:
    /// that stays on record.
    fn note_the_rest(&mut self, written: &FxHashSet<u64>, words: &mut Vec<u64>) -> Result<()> {
        for number in 0..self.loaded.snapshot.len() {
            let Some(was) = self.loaded.snapshot.slots_of(number) else {
                continue;
            };
            if self.answered.contains(&self.vm.val(was.table).addr)
                || was.table == self.context.loaded
            {
                continue;
            }
            let origin = |table| self.loaded.snapshot.origin(table);
            let site = self.out.sites.remembered(number as u32, origin)?;
            let Some(path) = self.path(site)?.filter(|path| self.base.has_keys(*path)) else {
                continue;
            };
            for KeyValue { key, value } in was.slots() {
                let Some(place) = self.place_of(path, key) else {
                    continue;
                };
                let Some(kind) = self.base.key(place) else {
                    continue;
                };
                if written.contains(&place.word(Had::Other)) {
                    continue;
                }
                words.try_push(place.word(kind))?;
                if let Some(value) = self
                    .vm
                    .digest(value)
                    .filter(|value| self.base.had(place, Some(*value)))
                {
                    words.try_push(place.value(value))?;
                }
            }
        }
        Ok(())
    }

    /// Locals: where one local alone has the name, and holds data.
    fn note_cells(&mut self, paths: &FxHashMap<usize, Path>, words: &mut Vec<u64>) -> Result<()> {
        let counted = |cell: &super::Cell2| cell.own && !cell.environment;
        let mut counts: Vec<u8> = Vec::new();
        counts.try_reserve_exact(self.names.len())?;
        counts.resize(self.names.len(), 0);
        for cell in self.out.new_cells.iter().filter(|cell| counted(cell)) {
            if let Some(count) = counts.get_mut(cell.name.index()) {
                *count = count.saturating_add(1);
            }
        }
        let mut pairs: Vec<u32> = Vec::new();
        pairs.try_reserve_exact(self.out.new_cells.len())?;
        pairs.resize(self.out.new_cells.len(), u32::MAX);
        for (i, pair) in self.out.cell_pairs.iter().enumerate() {
            if let Some(place) = pairs.get_mut(pair.new as usize) {
                *place = i as u32;
            }
        }
        for (number, cell) in self.out.new_cells.iter().enumerate() {
            if !counted(cell) || counts.get(cell.name.index()) != Some(&1) {
                continue;
            }
            let pair = pairs
                .get(number)
                .and_then(|i| self.out.cell_pairs.get(*i as usize));
            let Some(held) = pair.map(|pair| self.vm.val(pair.new_value)).or_else(|| {
                self.vm
                    .upvalue(cell.function, cell.index)
                    .map(|held| held.value)
            }) else {
                continue;
            };
            if !is_scalar(held) && !held.is_nil() && !held.is_table() {
                continue;
            }
            let place = base::local(self.vm, cell.function, cell.index);
            if kind_of(held, place, paths) == Had::Table {
                words.try_push(place.word(Had::Table))?;
            }
            let digest = match pair {
                Some(pair) => {
                    let follows = matches!(pair.fate, CellFate::Take | CellFate::Constant);
                    let (new, old) = (
                        self.vm.digest(pair.new_value),
                        self.vm.digest(pair.old_value),
                    );
                    let same = self.vm.same(pair.new_value, pair.old_value);
                    if follows || same {
                        new
                    } else {
                        old.filter(|old| self.base.had(place, Some(*old)))
                    }
                }
                None => self.vm.upvalue_digest(cell.function, cell.index),
            };
            if let Some(digest) = digest {
                words.try_push(place.value(digest))?;
            }
        }
        Ok(())
    }
}

/// What the word of a key says of what it holds.
fn kind_of(val: Val, place: Place, paths: &FxHashMap<usize, Path>) -> Had {
    match val.kind {
        _ if is_scalar(val) => Had::Scalar,
        Kind::Table if paths.get(&val.addr) == Some(&place.path()) => Had::Table,
        _ => Had::Other,
    }
}
