//! R5, R6, R8: from pairs to a list of operations, or to every conflict.
//!
//! What is placed refers to the running tables, never to the incoming copies of them (R5.1). The
//! program is only read here.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code;
use crate::code::outline::Outline;
use crate::lua::heap::Place;
use crate::lua::vm::{DebugInfo, KeyValue, Kind, Ref, Vm};
use crate::lua::write::{self, Join, Joins, Op};
use crate::model::lineage::Continued;
use crate::model::objects::DenseMap;
use crate::model::options::{Data, OnConflict, Options};
use crate::model::site::SiteId;
use crate::stages::find::Context;
use crate::stages::load::Loaded;
use crate::stages::matching::{
    Action, Cell1, CellFate, CellPair, Function1, Function2, Pairing, SlotDecision, Upvalues,
    are_two_kinds, describe,
};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

/// Lists to which calls append, by address: the tables in them, and how many were left out.
type AppendedLists = FxHashMap<usize, (FxHashSet<usize>, i64)>;

/// So many entries of what a module says are read.
const MOST_SAID: usize = 100;

/// One conflict (R6), in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Where.
    pub path: String,
    /// What kind of value the running version has there.
    pub running: String,
    /// What kind the incoming version has there.
    pub file: String,
    /// Both values, as far as they say more than their kinds.
    pub values: Option<[String; 2]>,
    /// The incoming line, where it is known.
    pub line: Option<i32>,
    /// Why the two are compared (R10.6).
    pub matched: String,
}

impl Conflict {
    /// What tells it from others: the same place can be met twice.
    fn key(&self) -> [&str; 3] {
        [&self.path, &self.running, &self.file]
    }

    /// A line of a message, beginning with a line break.
    pub fn line(&self) -> String {
        let line = self
            .line
            .map_or_else(String::new, |line| format!(" (line {line})"));
        let kinds = [&self.running, &self.file];
        let [running, file] = self
            .values
            .as_ref()
            .map_or(kinds, |values| values.each_ref());
        format!(
            "\n\t{}: {running} while it runs, {file} in the file{line}, matched {}",
            self.path, self.matched
        )
    }
}

/// What the report counts, with the places where somebody may want the list.
#[derive(Default, Debug)]
pub struct Tally {
    /// The incoming functions that took a place of the running version.
    pub replaced: Vec<SiteId>,
    /// The incoming functions that answer to none of the running version.
    pub added: Vec<SiteId>,
    /// Functions that only the running version has.
    pub removed: Vec<SiteId>,
    /// Of the functions that only the running version had, those that go (`removed = "drop"`).
    pub dropped: Vec<SiteId>,
    /// Of the replaced, those whose code differs.
    pub changed: Vec<SiteId>,
    /// The incoming cells that are the running now.
    pub joined: Vec<u32>,
    /// The incoming cells that are new.
    pub fresh: Vec<u32>,
    /// Slots and cells whose data stayed.
    pub data_kept: Vec<SiteId>,
    /// Cells whose data stayed.
    pub cells_kept: Vec<u32>,
    /// Data that only the incoming version had.
    pub data_added: Vec<SiteId>,
    /// Data that the incoming took the place of (R8), or that went, and constants (R4.7).
    pub data_replaced: Vec<SiteId>,
}

/// All that commit will do.
#[derive(Default)]
pub struct Plan {
    /// The incoming copies of tables that the running version has, with finalizers: these must not
    /// run.
    pub disarm: Vec<Ref>,
    /// The incoming functions that get the running cells.
    pub joins: Joins,
    /// The writes into the program, in order.
    pub ops: Vec<Op>,
    /// Writes into the incoming version's own tables and cells, made before the others. They have
    /// no inverse: the incoming version goes when its reload is undone.
    pub own: Vec<Op>,
    /// For the report.
    pub tally: Tally,
    /// Every conflict, sorted; unless the options settle them there is nothing to commit.
    pub conflicts: Vec<Conflict>,
    /// The module after the commit: what `package.loaded` holds.
    pub object: Ref,
    /// `__hotfix`, when the incoming version provides it (R7.2).
    pub hook: Ref,
    /// The incoming functions, each with the one of the running version whose lineage it continues
    /// (R3.3).
    pub lineage: Vec<Continued>,
    /// What becomes of classes whose objects are to be migrated (R14.2).
    pub classes: Vec<Class>,
}

/// A running table with functions, and what the file makes of it.
pub struct Class {
    /// The table.
    pub table: Ref,
    /// The names that only the incoming version has.
    pub added: Vec<Ref>,
    /// The names of functions that only the running version has.
    pub removed: Vec<Ref>,
}

/// Plans the whole reload.
///
/// # Errors
/// [`Error::Memory`](crate::support::error::Error::Memory).
pub fn plan(
    vm: &mut Vm,
    context: &Context,
    loaded: &Loaded,
    pairing: &mut Pairing,
    options: &Options,
) -> Result<Plan> {
    let mut planner = Planner {
        vm,
        context,
        loaded,
        pairing,
        options,
        out: Plan::default(),
        lines: None,
        out_of_place: FxHashSet::default(),
        left: None,
    };
    planner.shared_cells()?;
    planner.pairing.find_stays(planner.vm)?;
    planner.hook()?;
    planner.module()?;
    planner.slots()?;
    planner.inside()?;
    planner.says()?;
    planner.classes()?;
    planner.cells()?;
    planner.references()?;
    planner.calls()?;
    planner.values_out_of_place()?;
    planner.functions()?;
    planner.finalizers()?;
    let Planner { vm, mut out, .. } = planner;
    write::put_removals_last(vm, &mut out.ops)?;
    for op in &mut out.ops {
        op.made = loaded.fresh.order(vm.val(op.new).addr).is_some();
    }
    out.conflicts.sort_unstable();
    out.conflicts
        .dedup_by(|later, first| later.key() == first.key());
    Ok(out)
}

struct Planner<'a> {
    vm: &'a mut Vm,
    context: &'a Context,
    loaded: &'a Loaded,
    pairing: &'a mut Pairing,
    options: &'a Options,
    out: Plan,
    /// Where the file stores under which key, once that was asked for.
    lines: Option<FxHashMap<Vec<u8>, i32>>,
    /// The incoming functions, by address, that come to no place, as the program has emptied it or
    /// keeps its own choice there.
    out_of_place: FxHashSet<usize>,
    /// The names under which the last load has stored functions, once that was asked for; none
    /// where nobody knows.
    left: Option<Option<FxHashSet<Vec<u8>>>>,
}

impl Planner<'_> {
    fn op(&mut self, op: Op) -> Result<()> {
        self.out.ops.try_push(op)
    }

    fn set(&mut self, table: Ref, key: Ref, new: Ref, old: Ref) -> Result<()> {
        if self.vm.same(new, old) {
            return Ok(());
        }
        self.op(Op::write(table, key, new, old))
    }

    fn path(&self, site: SiteId) -> String {
        self.pairing.sites.path(self.vm, &self.context.title, site)
    }

    fn slot_site(&mut self, slot: &SlotDecision) -> Result<SiteId> {
        if slot.key == Ref::NIL {
            self.pairing.sites.metatable(slot.parent)
        } else {
            self.pairing.sites.key(slot.parent, slot.key)
        }
    }

    fn placed(&self, value: Ref) -> Ref {
        self.pairing.placed(self.vm, value)
    }

    /// R7.2: a field of the incoming object, or a global function that its chunk defined; the
    /// global is not kept.
    fn hook(&mut self) -> Result<()> {
        let key = self.vm.string(b"__hotfix")?;
        let mut global = Ref::NIL;
        let mut field = if self.vm.val(self.loaded.value) == self.vm.val(self.context.running) {
            // The incoming chunk wrote into the running object: the hook is among the changes.
            Ref::NIL
        } else {
            self.vm.get(self.loaded.value, key)?
        };
        let (running, globals) = (
            self.vm.val(self.context.running),
            self.vm.val(self.context.globals),
        );
        for i in 0..self.pairing.slots.len() {
            let Some(slot) = self
                .pairing
                .slots
                .get(i)
                .copied()
                .filter(|slot| slot.change)
            else {
                continue;
            };
            let table = self.vm.val(slot.table);
            if slot.key == Ref::NIL
                || table != running && table != globals
                || !self.vm.raw_equal(slot.key, key)
            {
                continue;
            }
            if table == globals {
                global = slot.new;
                self.pairing.dropped.try_insert_value(i, ())?;
            } else {
                field = slot.new;
            }
        }
        let callable = |vm: &Vm, value: Ref| {
            if vm.val(value).is_function() {
                value
            } else {
                Ref::NIL
            }
        };
        let field = callable(self.vm, field);
        self.out.hook = self.placed(match field {
            Ref::NIL => callable(self.vm, global),
            field => field,
        });
        Ok(())
    }

    /// What `package.loaded` will hold (R1.3, R1.5).
    fn module(&mut self) -> Result<()> {
        let (old, new) = (self.context.running, self.loaded.value);
        let (o, n) = (self.vm.val(old), self.vm.val(new));
        let yes = self.vm.boolean(true)?;
        let nothing = |kind: crate::lua::vm::Val| !kind.is_table() && !kind.is_function();
        let object = if !self.context.is_loaded() {
            if nothing(n) { yes } else { new }
        } else if o.is_table() && n.is_table() {
            if self.pairing.tables.contains_key(&n.addr) || o == n {
                old
            } else {
                new
            }
        } else if o.is_function() && n.is_function() {
            self.placed(new)
        } else if nothing(o) && nothing(n) {
            old
        } else {
            let file = if nothing(n) { "nothing" } else { n.kind.name() };
            let running = if nothing(o) { "nothing" } else { o.kind.name() };
            let path = format!("{} (what the module returns)", self.context.title);
            let matched = "by place".into();
            self.conflict(path, [running, file], None, None, matched)?;
            match self.options.on_conflict {
                OnConflict::Replace if nothing(n) => yes,
                OnConflict::Replace => new,
                _ => old,
            }
        };
        self.out.object = object;
        let old = self.vm.get(self.context.loaded, self.context.name)?;
        self.set(self.context.loaded, self.context.name, object, old)
    }

    fn conflict(
        &mut self,
        path: String,
        [running, file]: [&str; 2],
        values: Option<[String; 2]>,
        line: Option<i32>,
        matched: String,
    ) -> Result<()> {
        self.out.conflicts.try_push(Conflict {
            path,
            running: running.into(),
            file: file.into(),
            values,
            line,
            matched,
        })
    }

    /// A conflict of two values.
    fn conflict_of(
        &mut self,
        path: String,
        values: [Ref; 2],
        line: Option<i32>,
        matched: String,
    ) -> Result<()> {
        let kinds = values.map(|value| self.vm.kind(value).name());
        let mut texts = [String::new(), String::new()];
        for (text, value) in texts.iter_mut().zip(values) {
            *text = describe(self.vm, value)?.replacen("table, ", "table of ", 1);
            if self.vm.kind(value) == Kind::Boolean {
                text.insert_str(0, "boolean ");
            }
        }
        self.conflict(path, kinds, Some(texts), line, matched)
    }

    /// R4.6
    fn shared_cells(&mut self) -> Result<()> {
        for shared in std::mem::take(&mut self.pairing.shared) {
            let mut places = Vec::new();
            for cell in shared.old {
                let Some(cell) = self.pairing.old_cells.get(cell as usize).copied() else {
                    continue;
                };
                let address = self.vm.val(cell.function).addr;
                let site = self
                    .pairing
                    .old_at(address)
                    .map_or(SiteId::MODULE, |function| function.site);
                let site = self
                    .pairing
                    .sites
                    .upvalue(site, cell.function, cell.index)?;
                places.try_push(self.path(site))?;
            }
            places.sort_unstable();
            let line = self.owner_line(shared.new);
            self.conflict(
                places.join(" and "),
                ["two locals with different values", "one local"],
                None,
                line,
                self.pairing.why_cell(self.vm, shared.new),
            )?;
            if self.options.on_conflict == OnConflict::Replace
                && let Some(cell) = self.pairing.new_cells.get_mut(shared.new as usize)
            {
                cell.answer = None;
            }
        }
        Ok(())
    }

    fn owner_line(&self, cell: u32) -> Option<i32> {
        let owner = self.pairing.new_cells.get(cell as usize)?.owner;
        self.pairing
            .new
            .get(owner as usize)
            .map(|function| function.info.line)
    }

    fn slots(&mut self) -> Result<()> {
        self.out.ops.try_reserve(self.pairing.slots.len())?;
        for i in 0..self.pairing.slots.len() {
            let Some(slot) = self.pairing.slots.get(i).copied() else {
                break;
            };
            if !self.pairing.dropped.contains(&i)
                && let Some(slot) = self.under_placed_key(slot)?
            {
                self.slot(&slot)?;
            }
        }
        Ok(())
    }

    /// A slot with the key that is placed. The entry of a function that stays is one slot, not the
    /// two of an entry that moves to another key.
    fn under_placed_key(&mut self, slot: SlotDecision) -> Result<Option<SlotDecision>> {
        let val = self.vm.val(slot.key);
        if !val.is_function() {
            return Ok(Some(slot));
        }
        let key = self.placed(slot.key);
        if key != slot.key {
            let old = self.vm.get(slot.table, key)?;
            return Ok(Some(SlotDecision { key, old, ..slot }));
        }
        let moves_away = slot.action == Action::ReplaceFunction && slot.new == Ref::NIL;
        let answer = self.pairing.answer(self.vm, val.addr);
        Ok((!moves_away || answer.is_none_or(|answer| !self.vm.same(answer, key))).then_some(slot))
    }

    fn slot(&mut self, slot: &SlotDecision) -> Result<()> {
        let is_function = |vm: &Vm, value: Ref| vm.kind(value) == Kind::Function;
        match slot.action {
            Action::ReplaceFunction if self.is_chosen(slot.old) => Ok(()),
            Action::ReplaceFunction if slot.key != Ref::NIL => {
                self.set(slot.table, slot.key, self.placed(slot.new), slot.old)
            }
            Action::ReplaceFunction => Ok(()), // a module that is a function: `module` sets it
            Action::ReplaceImport => {
                let new = self.placed(slot.new);
                if !self.vm.same(new, slot.old) {
                    let site = self.slot_site(slot)?;
                    self.out.tally.data_replaced.try_push(site)?;
                }
                self.set(slot.table, slot.key, new, slot.old)
            }
            Action::Place => {
                let answer = self.pairing.answer(self.vm, self.vm.val(slot.new).addr);
                let new = answer.unwrap_or_else(|| self.placed(slot.new));
                self.set(slot.table, slot.key, new, slot.old)
            }
            Action::Add | Action::ReplaceData | Action::Remove => {
                let val = self.vm.val(slot.new);
                if !val.is_function() || self.loaded.fresh.order(val.addr).is_none() {
                    let site = self.slot_site(slot)?;
                    let list = match slot.action {
                        Action::Add => &mut self.out.tally.data_added,
                        Action::Remove if is_function(self.vm, slot.old) => {
                            &mut self.out.tally.dropped
                        }
                        _ => &mut self.out.tally.data_replaced,
                    };
                    list.try_push(site)?;
                }
                self.set(slot.table, slot.key, self.placed(slot.new), slot.old)
            }
            Action::Follow => {
                let site = self.slot_site(slot)?;
                let address = self.vm.val(slot.old).addr;
                match self.pairing.answer(self.vm, address) {
                    Some(new) => self.set(slot.table, slot.key, new, slot.old),
                    // The file never had what the program has put there.
                    None if self.pairing.is_made_at_run_time(self.vm, address)? => Ok(()),
                    None if self.options.drop && self.goes(slot)? => {
                        self.out.tally.dropped.try_push(site)?;
                        self.set(slot.table, slot.key, Ref::NIL, slot.old)
                    }
                    None => self.out.tally.removed.try_push(site),
                }
            }
            Action::Merge => self.merged(slot),
            Action::Keep => {
                if is_function(self.vm, slot.new) && !self.vm.val(slot.old).is_nil() {
                    return Ok(()); // a callable table may wrap it
                }
                let site = self.slot_site(slot)?;
                self.out.tally.data_kept.try_push(site)
            }
            Action::Conflict => self.conflicting(slot),
            Action::Refer => Ok(()), // settled by then
        }
    }

    /// R5.2: has the last load left this function, which the file lacks, under this name? What it
    /// stored is read from its text. Where that is not on record, it is believed of a function that
    /// stands under one key only. The elements of a list are not names.
    fn goes(&mut self, slot: &SlotDecision) -> Result<bool> {
        if let Some(i) = self.vm.integer(slot.key) {
            let listed = self.pairing.listed.get(&self.vm.val(slot.table).addr);
            let end = listed.map_or_else(|| self.vm.raw_len(slot.table), |end| *end);
            return Ok(i < 1 || i > end);
        }
        let left = match self.left.take() {
            Some(left) => left,
            None => self.left_by_last_load()?,
        };
        let goes = match &left {
            Some(names) => self
                .vm
                .bytes(slot.key)?
                .is_some_and(|name| names.contains(&name)),
            None => {
                let same = |other: &&SlotDecision| self.vm.same(other.old, slot.old);
                self.pairing.slots.iter().filter(same).count() == 1
            }
        };
        self.left = Some(left);
        Ok(goes)
    }

    fn left_by_last_load(&mut self) -> Result<Option<FxHashSet<Vec<u8>>>> {
        if !self.vm.val(self.loaded.last_main).is_function() {
            return Ok(None);
        }
        self.vm.dump(self.loaded.last_main, DebugInfo::Strip)?;
        let dump = self.vm.take_dump();
        let Some(outline) = Outline::read(&dump)? else {
            return Ok(None);
        };
        let mut names = FxHashSet::default();
        for stored in &outline.stored {
            let (start, length) = (stored.name.0 as usize, stored.name.1 as usize);
            if let Some(name) = dump.get(start..start + length) {
                names.try_insert_value(copied(name)?, ())?;
            }
        }
        Ok(Some(names))
    }

    /// R13.4: what the module says of its own reloads follows the file, as its code does.
    fn says(&mut self) -> Result<()> {
        let (old, new) = (self.context.running, self.loaded.value);
        if !self.vm.val(old).is_table()
            || !self.vm.val(new).is_table()
            || self.vm.same(old, new)
            || !self.vm.same(self.out.object, old)
        {
            return Ok(());
        }
        for name in ["__reload", "__hotfix_undo"] {
            let key = self.vm.string(name.as_bytes())?;
            let (says, said) = (self.vm.get(new, key)?, self.vm.get(old, key)?);
            if !self.vm.val(says).is_table() || !self.vm.val(said).is_table() {
                self.set(old, key, self.placed(says), said)?;
                continue;
            }
            for (from, into) in [(says, said), (said, says)] {
                let Some(entries) = self.vm.keep_at_most(from, MOST_SAID)? else {
                    self.pairing.warnings.try_push(format!(
                        "{}.{name}: more than {MOST_SAID} entries, which do not follow the file; \
                         give it fewer",
                        self.context.title
                    ))?;
                    break;
                };
                for KeyValue { key, value } in entries.iter() {
                    let other = self.vm.get(into, key)?;
                    if from == says {
                        self.set(said, key, value, other)?;
                    } else if self.vm.val(other).is_nil() {
                        self.set(said, key, Ref::NIL, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// R14.2: what becomes of the classes that have `__migrate`, or of all where the call migrates.
    fn classes(&mut self) -> Result<()> {
        let migrate = self.vm.string(b"__migrate")?;
        let mut known: FxHashMap<usize, usize> = FxHashMap::default();
        for slot in &self.pairing.slots {
            let brings = matches!(slot.action, Action::ReplaceFunction | Action::Add)
                && slot.key != Ref::NIL
                && self.vm.kind(slot.new) == Kind::Function
                && (self.options.classes || self.vm.raw_equal(slot.key, migrate));
            let address = self.vm.val(slot.table).addr;
            if brings && !known.contains_key(&address) {
                known.try_insert_value(address, self.out.classes.len())?;
                self.out.classes.try_push(Class {
                    table: slot.table,
                    added: Vec::new(),
                    removed: Vec::new(),
                })?;
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        for (i, slot) in self.pairing.slots.iter().enumerate() {
            let class = known.get(&self.vm.val(slot.table).addr);
            let Some(class) = class.and_then(|class| self.out.classes.get_mut(*class)) else {
                continue;
            };
            if slot.key == Ref::NIL || self.pairing.dropped.contains(&i) {
                continue;
            }
            match slot.action {
                Action::Add => class.added.try_push(slot.key)?,
                Action::Follow | Action::Remove
                    if self
                        .pairing
                        .answer(self.vm, self.vm.val(slot.old).addr)
                        .is_none() =>
                {
                    class.removed.try_push(slot.key)?
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Two tables: the running one stays, but where the data follow the file (R8), and the place
    /// leads to another table in it.
    fn merged(&mut self, slot: &SlotDecision) -> Result<()> {
        let new = self.placed(slot.new);
        if self.options.data != Data::Replace || self.vm.same(new, slot.old) {
            return Ok(());
        }
        let site = self.slot_site(slot)?;
        self.out.tally.data_replaced.try_push(site)?;
        self.set(slot.table, slot.key, new, slot.old)
    }

    /// R6
    fn conflicting(&mut self, slot: &SlotDecision) -> Result<()> {
        let (o, n) = (self.vm.val(slot.old), self.vm.val(slot.new));
        if o.is_function()
            && !are_two_kinds(self.vm, slot.old, slot.new)
            && !self.pairing.answers_elsewhere_only(o.addr)
            && let Some(new) = self.pairing.answer(self.vm, o.addr)
        {
            return self.set(slot.table, slot.key, new, slot.old);
        }
        let site = self.slot_site(slot)?;
        let line = if n.is_function() {
            self.vm
                .info(slot.new)?
                .map(|info| info.line)
                .filter(|line| *line > 0)
        } else {
            let key = self.vm.bytes(slot.key)?.unwrap_or_default();
            let lines = match self.lines.take() {
                Some(lines) => lines,
                None => code::store_lines(self.vm.dump(self.loaded.main, DebugInfo::Keep)?)?,
            };
            self.lines.insert(lines).get(&key).copied()
        };
        let matched = self.pairing.why(self.vm, slot);
        self.conflict_of(self.path(site), [slot.old, slot.new], line, matched)?;
        match self.options.on_conflict {
            OnConflict::Replace => self.set(slot.table, slot.key, self.placed(slot.new), slot.old),
            OnConflict::Keep => self.out.tally.data_kept.try_push(site),
            OnConflict::Error => Ok(()),
        }
    }

    /// R3.5: does a running function stay since the program has put it in its place?
    fn is_chosen(&self, function: Ref) -> bool {
        self.pairing.chosen.contains(&self.vm.val(function).addr)
    }

    /// R3.5: what wrappers have inside.
    fn inside(&mut self) -> Result<()> {
        for inside in std::mem::take(&mut self.pairing.inside) {
            let answer = || {
                let address = self.vm.val(inside.old).addr;
                self.pairing.answer(self.vm, address)
            };
            match inside.new.or_else(answer).map(|new| self.placed(new)) {
                Some(new) if self.vm.same(new, inside.old) => {}
                Some(new) => self.op(Op::new(inside.place, new, inside.old))?,
                None => self.out.tally.removed.try_push(inside.site)?,
            }
        }
        Ok(())
    }

    /// R4.3, R5.1: what joined and new cells hold.
    fn cells(&mut self) -> Result<()> {
        let mut set: FxHashSet<u32> = FxHashSet::default();
        self.out
            .tally
            .cells_kept
            .try_reserve(self.pairing.cell_pairs.len())?;
        self.out
            .tally
            .joined
            .try_reserve(self.pairing.new_cells.len())?;
        // The record reads the pairs after this.
        for number in 0..self.pairing.cell_pairs.len() {
            let Some(pair) = self.pairing.cell_pairs.get(number).copied() else {
                break;
            };
            if pair.fate == CellFate::Same {
                self.out.tally.cells_kept.try_push(pair.new)?;
                continue;
            }
            let Some(cell) = self.pairing.old_cells.get(pair.old as usize).copied() else {
                continue;
            };
            let joined = self
                .pairing
                .new_cells
                .get(pair.new as usize)
                .is_some_and(|new| new.answer.is_some());
            let (o, n) = (self.vm.val(pair.old_value), self.vm.val(pair.new_value));
            let new = match pair.fate {
                CellFate::Take | CellFate::Constant => Some(self.placed(pair.new_value)),
                CellFate::Follow => self
                    .pairing
                    .answer(self.vm, self.vm.val(pair.old_value).addr),
                CellFate::Merge if self.options.data == Data::Replace => {
                    Some(self.placed(pair.new_value))
                }
                CellFate::Conflict => match self.conflicting_cell(&pair)? {
                    true => Some(self.placed(pair.new_value)),
                    false => continue,
                },
                CellFate::Keep | CellFate::Merge | CellFate::Refer | CellFate::Same => None,
            };
            match new {
                Some(new) if joined && !self.vm.same(new, pair.old_value) => {
                    let first = set.try_insert_value(pair.old, ())?.is_none();
                    let Cell1 {
                        function, index, ..
                    } = cell;
                    let op = Op::cell(function, index, new, pair.old_value);
                    if first {
                        self.out.ops.try_push(op)?;
                    }
                    // An object for an object is an import, or another of the module's own tables.
                    let is_own = n.is_function() && self.loaded.fresh.order(n.addr).is_some();
                    let is_data = (o.addr == 0 || n.addr == 0) && !is_own;
                    let replaces = match pair.fate {
                        CellFate::Constant | CellFate::Merge => true,
                        fate => matches!(fate, CellFate::Take | CellFate::Conflict) && is_data,
                    };
                    if first && replaces {
                        let site = self.pairing.cell_site(pair.new)?;
                        self.out.tally.data_replaced.try_push(site)?;
                    }
                }
                _ if !o.is_function() => self.out.tally.cells_kept.try_push(pair.new)?,
                _ => {}
            }
        }
        for number in 0..self.pairing.new_cells.len() {
            let Some(cell) = self.pairing.new_cells.get(number).copied() else {
                break;
            };
            if cell.environment || cell.same {
                continue;
            }
            if cell.answer.is_some() {
                self.out.tally.joined.try_push(number as u32)?;
                continue;
            }
            if cell.own {
                self.out.tally.fresh.try_push(number as u32)?;
            }
            let held = self.vm.val(cell.value);
            if held.is_table() || held.is_function() {
                let old = cell.value;
                let new = self.placed(old);
                if new != old {
                    let op = Op::cell(cell.function, cell.index, new, old);
                    self.out.own.try_push(op)?;
                }
            }
        }
        Ok(())
    }

    /// R6: does the file's value take the place of the running one?
    fn conflicting_cell(&mut self, pair: &CellPair) -> Result<bool> {
        let site = self.pairing.cell_site(pair.new)?;
        let line = match self.vm.kind(pair.new_value) {
            Kind::Function => self
                .vm
                .info(pair.new_value)?
                .map(|info| info.line)
                .filter(|line| *line > 0),
            _ => self.owner_line(pair.new),
        };
        let (values, matched) = (
            [pair.old_value, pair.new_value],
            self.pairing.why_cell(self.vm, pair.new),
        );
        self.conflict_of(self.path(site), values, line, matched)?;
        match self.options.on_conflict {
            OnConflict::Replace => return Ok(true),
            OnConflict::Keep => self.out.tally.cells_kept.try_push(pair.new)?,
            OnConflict::Error => {}
        }
        Ok(false)
    }

    /// R5.9: what the chunk's calls did, but for repeats. The entry of a key for which one of the
    /// running stands is that one's: it does not go. A list gets no object a second time: where
    /// `M.job = cron.at("0 6", f)` was `cron.at("0 0", f)`, the two are one job (R3.7), and it is
    /// on the list already. What was appended behind it moves up.
    fn calls(&mut self) -> Result<()> {
        let count = self.loaded.left.ops.len();
        self.out.ops.try_reserve(count)?;
        let mut under_placed = FxHashSet::default();
        for op in &self.loaded.left.ops {
            if let Place::Value { table, key } = op.place {
                let placed = self.placed(key);
                if placed != key {
                    let entry = (self.vm.val(table).addr, self.vm.val(placed).addr);
                    under_placed.try_insert_value(entry, ())?;
                }
            }
        }
        let mut lists = AppendedLists::default();
        for op in &self.loaded.left.ops {
            let new = op.new;
            let mut op = Op {
                new: self.placed(new),
                ..*op
            };
            if self.is_on_list(&mut op, new, &mut lists)? {
                continue;
            }
            if let Place::Value { table, key } = op.place {
                let placed = self.placed(key);
                if placed != key {
                    op.place = Place::Value { table, key: placed };
                    op.old = self.vm.get(table, placed)?;
                } else if under_placed.contains(&(self.vm.val(table).addr, self.vm.val(key).addr)) {
                    continue;
                }
            }
            if !self.vm.same(op.new, op.old) {
                self.out.ops.push(op); // there is room
            }
        }
        Ok(())
    }

    /// Does an operation, of which the file's value is `new`, append a running table to a list that
    /// has it? Else it gets the index behind those that are left.
    fn is_on_list(&mut self, op: &mut Op, new: Ref, lists: &mut AppendedLists) -> Result<bool> {
        let Place::Value { table, key } = op.place else {
            return Ok(false);
        };
        let Some(index) = self
            .vm
            .integer(key)
            .filter(|_| self.vm.val(op.old).is_nil())
        else {
            return Ok(false);
        };
        let (list, value) = (self.vm.val(table).addr, self.vm.val(op.new));
        if op.new != new && !lists.contains_key(&list) {
            let mut tables = FxHashSet::default();
            let mut cursor = self.vm.walk(table, Ref::NIL)?;
            while let Some(entry) = cursor.next(self.vm) {
                if entry.new.is_table() {
                    tables.try_insert_value(entry.new.addr, ())?;
                }
            }
            lists.try_insert_value(list, (tables, 0))?;
        }
        let Some((tables, left_out)) = lists.get_mut(&list) else {
            return Ok(false);
        };
        if tables.contains(&value.addr) {
            *left_out += 1;
            return Ok(true);
        }
        if *left_out > 0 {
            let key = self.vm.number(index - *left_out)?;
            op.place = Place::Value { table, key };
        }
        Ok(false)
    }

    /// R5.1: new tables refer to the running one.
    fn references(&mut self) -> Result<()> {
        for reference in std::mem::take(&mut self.pairing.references) {
            let (value, key) = (self.placed(reference.value), self.placed(reference.key));
            if key != reference.key {
                let gone = Op::write(reference.table, reference.key, Ref::NIL, reference.value);
                self.out.own.try_push(gone)?;
                self.out
                    .own
                    .try_push(Op::write(reference.table, key, value, Ref::NIL))?;
            } else if value != reference.value {
                self.out
                    .own
                    .try_push(Op::write(reference.table, key, value, reference.value))?;
            }
        }
        for held in std::mem::take(&mut self.pairing.held) {
            let value = self.placed(held.value);
            if value != held.value {
                let op = Op::cell(held.function, held.index, value, held.value);
                self.out.own.try_push(op)?;
            }
        }
        Ok(())
    }

    /// A copy that nobody holds would be finalized after the reload, by the incoming code on the
    /// running cells.
    fn finalizers(&mut self) -> Result<()> {
        if self.pairing.copies.is_empty() {
            return Ok(());
        }
        let key = self.vm.string(b"__gc")?;
        for copy in std::mem::take(&mut self.pairing.copies) {
            let metatable = self.vm.metatable(copy)?;
            let finalizer = self.vm.get(metatable, key)?;
            if finalizer != Ref::NIL && !self.vm.val(finalizer).is_nil() {
                self.out.disarm.try_push(copy)?;
            }
        }
        Ok(())
    }

    /// Where the program's choice stays, what the file has comes to no place: a function, or a
    /// table with its functions.
    fn values_out_of_place(&mut self) -> Result<()> {
        let pairing = &*self.pairing;
        let values = |that_stay: bool| {
            let slots = pairing.slots.iter();
            let slots = slots.map(|slot| (slot.new, slot.action == Action::Keep));
            let cells = pairing.cell_pairs.iter();
            let cells = cells.map(|pair| (pair.new_value, pair.fate == CellFate::Keep));
            let values = slots.chain(cells);
            let values = values.filter(|(_, stays)| *stays == that_stay);
            let values = values.filter(|(value, _)| {
                let val = self.vm.val(*value);
                (val.is_table() || val.is_function()) && self.loaded.fresh.order(val.addr).is_some()
            });
            collected(values.map(|(value, _)| Ok(value)))
        };
        let away = values(true)?;
        if away.is_empty() {
            return Ok(());
        }
        let (placed, mut met) = (values(false)?, FxHashSet::default());
        self.functions_in(placed, &mut met, |_| Ok(()))?;
        let mut out_of_place = std::mem::take(&mut self.out_of_place);
        let met_away = |address| out_of_place.try_insert_value(address, ()).map(drop);
        self.functions_in(away, &mut met, met_away)?;
        self.out_of_place = out_of_place;
        Ok(())
    }

    /// Tells of each function among values and in the tables among them that the file has made,
    /// unless it was `met`.
    fn functions_in(
        &mut self,
        mut values: Vec<Ref>,
        met: &mut FxHashSet<usize>,
        mut tell: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        while let Some(value) = values.pop() {
            let val = self.vm.val(value);
            let is_fresh = self.loaded.fresh.order(val.addr).is_some();
            if !is_fresh || met.try_insert_value(val.addr, ())?.is_some() {
                continue;
            }
            if val.is_function() {
                tell(val.addr)?;
            } else if val.is_table() && !self.pairing.tables.contains_key(&val.addr) {
                for value in self.vm.keep_entries(value)?.values() {
                    values.try_push(value)?;
                }
            }
        }
        Ok(())
    }

    /// The joins, and what the report says of functions.
    fn functions(&mut self) -> Result<()> {
        let Planner {
            vm,
            pairing,
            out,
            out_of_place,
            ..
        } = self;
        let count = pairing.new.len();
        out.lineage.try_reserve(count)?;
        out.tally.replaced.try_reserve(count)?;
        out.tally.changed.try_reserve(count)?;
        out.joins.reserve(count)?;
        let mut lists = JoinLists::default();
        lists.first.reserve(pairing.upvalues())?;
        for (number, new) in pairing.new.iter().enumerate() {
            let mut partners = new
                .partners
                .iter()
                .filter_map(|f1| pairing.old.get(*f1 as usize));
            let old = partners.next();
            // In one of its places an external function may stand, which is no generation of it.
            let continued = match old {
                Some(old) if !old.own => partners.find(|old| old.own).or(Some(old)),
                old => old,
            };
            let stays = pairing.stays(vm, new.at);
            let continued = stays.or(continued);
            if stays.is_some() {
                // it is neither replaced nor added
            } else if let Some(old) = old {
                out.tally.replaced.try_push(new.site)?;
                if differs(vm, pairing, old, new)? {
                    out.tally.changed.try_push(new.site)?;
                }
            } else if new.own
                && (new.added
                    || !pairing.left_out.contains(&(number as u32))
                        && !out_of_place.contains(&vm.val(new.at).addr))
            {
                out.tally.added.try_push(new.site)?;
            }
            lists.add(pairing, new, &mut out.joins)?;
            out.lineage.try_push(Continued {
                old: continued.map(|old| old.at),
                noted: continued.and_then(|old| old.lineage),
                new: new.at,
                profile: Some(new.profile),
                stays: stays.is_some(),
            })?;
        }
        for number in pairing.nesting.not_in_the_file(vm, &pairing.old)? {
            let is_dropped = |old: &&Function1| !pairing.chosen.contains(&vm.val(old.at).addr);
            if let Some(old) = pairing.old.get(number).filter(is_dropped) {
                out.lineage.try_push(Continued {
                    old: None,
                    noted: None,
                    new: old.at,
                    profile: old.profile,
                    stays: false,
                })?;
            }
        }
        Ok(())
    }
}

/// Does the code differ? The names of upvalues are part of it: the code has only their numbers.
fn differs(vm: &mut Vm, pairing: &Pairing, old: &Function1, new: &Function2) -> Result<bool> {
    let profile = match old.profile {
        Some(profile) => Some(profile),
        None => vm.profile(old.at)?,
    };
    let names = |upvalues: Upvalues| {
        pairing
            .upvalues_of(upvalues)
            .iter()
            .map(|upvalue| upvalue.name)
    };
    let same_names =
        || old.upvalues.len() != new.upvalues.len() || names(old.upvalues).eq(names(new.upvalues));
    Ok(
        profile.is_none_or(|profile| profile.digest.is_equal(new.profile.digest) == Some(false))
            || !same_names(),
    )
}

/// The joins of functions with the same cells, planned once.
#[derive(Default)]
struct JoinLists {
    /// The first function of each list among the joins, by the number of the list's first upvalue.
    first: DenseMap,
    list: Vec<Join>,
}

impl JoinLists {
    fn add(&mut self, pairing: &Pairing, function: &Function2, joins: &mut Joins) -> Result<()> {
        let upvalues = function.upvalues;
        if upvalues.is_empty() {
            return Ok(());
        }
        if let Some(first) = self.first.get(upvalues.first()) {
            return joins.add_same(function.at, first);
        }
        self.list.clear();
        self.list.try_reserve(usize::from(upvalues.len()))?;
        let old = function.partners.first();
        let old = old.and_then(|old| pairing.old.get(*old as usize));
        let of_old = old.map_or(&[][..], |old| pairing.upvalues_of(old.upvalues));
        let of_new = pairing.upvalues_of(upvalues).iter().enumerate();
        // The highest first: whatever has that one has the others.
        for (place, upvalue) in of_new.rev() {
            let cell = pairing.new_cells.get(upvalue.cell as usize);
            let Some(cell) = cell.filter(|cell| !cell.same) else {
                continue;
            };
            let Some(donor) = cell.answer else {
                continue;
            };
            // One function gives as many cells as it can, in their order: it is looked at once.
            let known = old.zip(of_old.get(place));
            let (donor, donor_index) = match known.filter(|(_, it)| it.cell == donor) {
                Some((old, it)) => (old.at, it.index),
                None => match pairing.old_cells.get(donor as usize) {
                    Some(cell) => (cell.function, cell.index),
                    None => continue,
                },
            };
            self.list.push(Join {
                index: upvalue.index,
                donor,
                donor_index,
            }); // there is room
        }
        let first = joins.add(function.at, &self.list)?;
        self.first.set(upvalues.first(), first)
    }
}
