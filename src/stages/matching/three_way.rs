//! Slots, three-way: what the edit has changed and what the program has changed decide together.
//!
//! The *base* of a place is what the file said at the last load that was kept. The edit touched the
//! place if the file says something else now; the program did if something else stands there.
//!
//! | edit | program | what stands there then |
//! | --- | --- | --- |
//! | no | no | the same object, with its new code |
//! | no | yes | what the program chose, with its new code |
//! | yes | no | what the file says |
//! | yes | yes | what the program chose, with a warning |
//!
//! That holds for what is behaviour: functions, references to the module's own tables, imports,
//! metatables. Data goes by its policy (`merge`).

use rustc_hash::FxHashSet;

use super::differing::Differing;
use super::expressions::EditOf;
use super::{Action, CellFate, CellPair, Pairer, SlotDecision};
use crate::lua::vm::{Kind, Ref};
use crate::model::base::{Held, Path, RecordedPlace};
use crate::model::site::SiteId;
use crate::stages::snapshot::Change;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// What is told of a place that the program alone has changed.
const CHOSEN: &str = "a reference, stays as the program has it";

/// Who has changed a place since the last load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Touched {
    by_edit: bool,
    by_program: bool,
}

impl Pairer<'_> {
    /// What becomes of places that lead to another object in the file than while the program runs.
    pub(super) fn settle_references(&mut self) -> Result<()> {
        for number in 0..self.out.slots.len() {
            let Some(slot) = self.out.slots.get(number).copied() else {
                break;
            };
            let action = self.reference(&slot)?;
            if let Some(slot) = self.out.slots.get_mut(number) {
                slot.action = action;
            }
        }
        for number in 0..self.out.cell_pairs.len() {
            let Some(pair) = self.out.cell_pairs.get(number).copied() else {
                break;
            };
            let fate = self.reference_in_cell(&pair)?;
            if let Some(pair) = self.out.cell_pairs.get_mut(number) {
                pair.fate = fate;
            }
        }
        Ok(())
    }

    fn reference(&mut self, slot: &SlotDecision) -> Result<Action> {
        let mut slot = *slot;
        if slot.action == Action::Merge && !self.are_paired(slot.old, slot.new) {
            slot.action = Action::Refer; // each of the two has its partner elsewhere
        }
        let slot = &slot;
        let is_asked = match slot.action {
            Action::Follow if slot.new == Ref::NIL => return self.left_empty(slot),
            Action::Refer => true,
            Action::ReplaceFunction | Action::ReplaceImport | Action::Keep => {
                self.are_two_objects(slot.old, slot.new)
                    && (!self.is_external_over_own(slot)?
                        && !self.is_choice_of_data(slot.old, slot.new)
                        || self.is_slot_as_loaded(slot)?)
            }
            _ => false,
        };
        if !is_asked {
            return Ok(slot.action);
        }
        let is_function = self.vm.kind(slot.old) == Kind::Function;
        // Without the text of the last load, tables stay as they run, but for behaviour. With
        // `data = "replace"` their places are the file's.
        let is_behaviour =
            is_function || slot.key == Ref::NIL || self.vm.is_string(slot.key, b"__index");
        let goes_by_data = self.replace_data || self.identity.versions().is_none();
        if slot.action == Action::Refer && !is_behaviour && goes_by_data {
            return Ok(Action::Merge);
        }
        let place = self.slot_place(slot)?;
        let Some(mut touched) = self.touched(place, slot.old, slot.new)? else {
            return Ok(match slot.action {
                Action::Refer if is_behaviour => Action::ReplaceImport,
                Action::Refer => {
                    if place.is_some() {
                        let site = self.out.sites.key(slot.parent, slot.key)?;
                        self.warn_of_choice(site)?;
                    }
                    Action::Merge
                }
                action => action,
            });
        };
        let edit = self.edit_of(slot.old, slot.new)?;
        let is_edited = self.is_slot_edited(slot, edit);
        let mut is_moved = false;
        if edit == EditOf::Product || !self.is_slot_of_others(slot) {
            let site = self.slot_site(slot)?;
            is_moved =
                self.read_edit(&mut touched, [slot.old, slot.new], site, (edit, is_edited))?;
        }
        // What it was may be gone from the program, and have no number any more.
        touched.by_edit &= edit != EditOf::Place
            || !(self.identity).was_defined_at(self.vm, slot.new, slot.table, slot.key);
        // Where tables look for what they lack, none has its state.
        let is_link = is_behaviour && !is_function;
        if !is_link && !is_moved && self.is_state_lost(&touched, place, slot.old)? {
            let site = self.out.sites.key(slot.parent, slot.key)?;
            self.warn_of_state_kept(site)?;
            return Ok(Action::Keep);
        }
        let stays = if is_function {
            Action::Follow
        } else {
            Action::Keep
        };
        if touched.by_program && is_function {
            self.choose(slot)?;
        } else if touched.by_edit {
            self.forward(slot)?;
            if !is_link && !touched.by_program {
                let site = self.out.sites.key(slot.parent, slot.key)?;
                self.warn_of_class(site, slot.old)?;
            }
        }
        Ok(match touched {
            Touched {
                by_program: false,
                by_edit: true,
            } => Action::ReplaceImport,
            Touched {
                by_program: false, ..
            } if slot.action != Action::Refer => slot.action,
            Touched {
                by_program: true, ..
            } if self.gives_way(slot) => Action::ReplaceImport,
            Touched {
                by_program: true,
                by_edit: true,
            } => {
                let site = self.slot_site(slot)?;
                self.warn_of_choice(site)?;
                stays
            }
            Touched { by_program, .. } => {
                if by_program {
                    let site = self.slot_site(slot)?;
                    self.tell(site, CHOSEN)?;
                }
                stays
            }
        })
    }

    /// Has the program put another object into a slot than the one that the last load had there?
    /// Then the place says nothing of what answers to what (R3.11): it may be an object of another
    /// definition, or of another module.
    /// ```lua
    /// M.state = Lobby -- function Lobby.update() M.state = Battle end
    /// ```
    pub(super) fn is_moved_in_slot(&mut self, slot: &SlotDecision) -> Result<bool> {
        let place = self.slot_place(slot)?;
        self.is_moved(place, slot.old, slot.new)
    }

    /// The same for a variable.
    pub(super) fn is_moved_in_cell(&mut self, pair: &CellPair) -> Result<bool> {
        let cell = self.out.old_cells.get(pair.old as usize).copied();
        let place = cell.map(|cell| self.cell_place(&cell));
        self.is_moved(place, pair.old_value, pair.new_value)
    }

    fn is_moved(&mut self, place: Option<RecordedPlace>, old: Ref, new: Ref) -> Result<bool> {
        let base = &self.out.base;
        let has_object = |place: &RecordedPlace| {
            let recorded = base.get(*place);
            recorded.and_then(Held::number).is_some()
        };
        let Some(place) = place.filter(has_object) else {
            return Ok(false);
        };
        let number = self.number_of(old);
        if let Some(number) = number.filter(|number| base.had_object(place, *number)) {
            return self.was_table_of_others(number, old, new);
        }
        // What the module's own code makes anew (`M.state = make()`) goes on in the place.
        Ok(self.identity.is_of_one_definition(self.vm, old)
            || self.vm.val(old).is_table()
                && self.identity.had_function(self.vm, new)
                && !self.has_own_function(old, new)?)
    }

    /// R3.3: is it a table in another module's object, where the file has a table of its own now?
    /// (The program may hold a table of this module's in a global.)
    fn was_table_of_others(&mut self, number: i64, old: Ref, new: Ref) -> Result<bool> {
        let val = self.vm.val(old);
        Ok(val.is_table()
            && self.identity.versions().is_some()
            && !self.out.base.knows(Path::of(number))
            && !self.identity.is_kept(self.vm, new)
            && self.is_in_module(val)?)
    }

    /// Where the record has a slot, or a metatable.
    fn slot_place(&mut self, slot: &SlotDecision) -> Result<Option<RecordedPlace>> {
        match slot.key {
            Ref::NIL => {
                let path = self.path(slot.table, slot.parent)?;
                Ok(path.map(|path| path.metatable()))
            }
            key => self.place_in(slot.table, slot.parent, key),
        }
    }

    fn slot_site(&mut self, slot: &SlotDecision) -> Result<SiteId> {
        match slot.key {
            Ref::NIL => self.out.sites.metatable(slot.parent),
            key => self.out.sites.key(slot.parent, key),
        }
    }

    /// R5.13: what becomes of a place that the file leaves empty. If it is no more than a reference
    /// to an object that the file still makes, and the program left it alone, the reference goes:
    /// ```lua
    /// M.on.hit = M.hit -- the edit takes this line out, and leaves `function M.hit() … end`
    /// ```
    fn left_empty(&mut self, slot: &SlotDecision) -> Result<Action> {
        let place = self.place_in(slot.table, slot.parent, slot.key)?;
        let is_untouched = place.is_some_and(|place| self.is_object_as_loaded(place, slot.old));
        let goes = is_untouched
            && !slot.change // what the file leaves of an existing table is not known
            && !self.vm.val(slot.key).is_table() // the file has its own table as the key
            && !self.tables.is_exact(self.vm.val(slot.table).addr) // it goes already (R8)
            && !self.is_listed(slot.table, self.vm.integer(slot.key))
            && (self.drops && self.vm.kind(slot.old) == Kind::Function
                || self.is_reference_to_kept(slot.old, slot.table, slot.key)
                || self.is_override_gone(slot)?);
        Ok(match self.vm.kind(slot.old) {
            _ if goes => Action::Remove,
            Kind::Function => Action::Follow,
            _ => Action::Refer,
        })
    }

    /// Is the place under this key of a table a reference to an object that the file still makes?
    /// Of many that one definition makes it makes those that something answers to.
    pub(super) fn is_reference_to_kept(&self, old: Ref, table: Ref, key: Ref) -> bool {
        let address = self.vm.val(old).addr;
        let is_made = self.identity.is_of_one_definition(self.vm, old)
            || self.tables.is_answer(address)
            || self.out.answer(self.vm, address).is_some();
        is_made && self.identity.is_reference_to_kept(self.vm, old, table, key)
    }

    /// R5.2: has the file the function no longer, and does its table inherit another value there?
    /// ```lua
    /// function Dog.kind() … end -- the edit takes this out, and `Animal.kind` shows through
    /// ```
    fn is_override_gone(&mut self, slot: &SlotDecision) -> Result<bool> {
        let is_gone = (self.identity).is_gone_from(self.vm, slot.old, slot.table, slot.key);
        let running = self.vm.val(slot.table);
        let mut pairs = self.out.paired.iter().filter(|_| is_gone);
        let Some((file, _)) = pairs.find(|(_, table)| self.vm.val(*table) == running) else {
            return Ok(false);
        };
        let (mut table, mark) = (*file, self.vm.held());
        let index = self.vm.string(b"__index")?;
        let mut seen: FxHashSet<usize> = FxHashSet::default();
        let mut shows = false;
        while !shows
            && seen
                .try_insert_value(self.vm.val(table).addr, ())?
                .is_none()
        {
            let metatable = self.vm.metatable(table)?;
            if metatable == Ref::NIL {
                break;
            }
            table = self.vm.get(metatable, index)?;
            if !self.vm.val(table).is_table() {
                break;
            }
            let inherited = self.vm.get(table, slot.key)?;
            shows = !self.vm.val(inherited).is_nil();
        }
        self.vm.release(mark);
        Ok(shows)
    }

    /// A function that the file has no longer becomes, wherever it stands, what the file has in the
    /// place that was its own.
    fn forward(&mut self, slot: &SlotDecision) -> Result<()> {
        let is_gone = self
            .identity
            .is_gone_from(self.vm, slot.old, slot.table, slot.key);
        let numbers = (
            self.out.number1(self.vm.val(slot.old).addr),
            self.number2(self.vm.val(slot.new).addr),
        );
        if let (true, (Some(f1), Some(f2))) = (is_gone, numbers)
            && let Some(old) = self
                .out
                .old
                .get_mut(f1 as usize)
                .filter(|old| old.answers.is_empty())
        {
            old.answers.try_push(f2)?;
            let site = self.out.sites.key(slot.parent, slot.key)?;
            self.tell(
                site,
                "takes the place of the function that stood there, which the file no longer has",
            )?;
        }
        Ok(())
    }

    /// An external function over one of the file's is a wrapper or a patch (`wrappers`).
    fn is_external_over_own(&mut self, slot: &SlotDecision) -> Result<bool> {
        Ok(self.is_fresh_function(self.vm.val(slot.new)) && !self.is_own_function(slot.old)?)
    }

    /// The program's choice stays. What the module itself has made and put there
    /// (`M.db = function() return conn end` within `M.db`) is no older generation of what the file
    /// has there, which may have no place any more.
    fn choose(&mut self, slot: &SlotDecision) -> Result<()> {
        let address = self.vm.val(slot.old).addr;
        if self.out.answer(self.vm, address).is_some() {
            return Ok(());
        }
        self.out.chosen.try_insert_value(address, ())?;
        let Some(f2) = self.number2(self.vm.val(slot.new).addr) else {
            return Ok(());
        };
        let Some(new) = self
            .out
            .new
            .get(f2 as usize)
            .filter(|new| new.partners.is_empty())
        else {
            return Ok(());
        };
        let is_edited = self.identity.is_edited(self.vm, new.at) == Some(true);
        self.out.left_out.try_insert_value(f2, ())?;
        if is_edited {
            let site = self.out.sites.key(slot.parent, slot.key)?;
            let path = self.out.sites.path(self.vm, &self.context.title, site);
            self.out.warnings.try_push(format!(
                "{path}: what the program has put there stays, and the file's changed function is \
                 not used; assign it in __hotfix"
            ))?;
        }
        Ok(())
    }

    /// Does what the program put there give way? With `data = "replace"` a table of its own does.
    fn gives_way(&self, slot: &SlotDecision) -> bool {
        let is_table = self.vm.kind(slot.old) == Kind::Table;
        self.replace_data && is_table && self.number_of(slot.old).is_none()
    }

    fn reference_in_cell(&mut self, pair: &CellPair) -> Result<CellFate> {
        let mut pair = *pair;
        if pair.fate == CellFate::Merge && !self.are_paired(pair.old_value, pair.new_value) {
            pair.fate = CellFate::Refer;
        }
        if pair.fate == CellFate::Keep && self.answers_in_cell(&pair) {
            pair.fate = CellFate::Take;
        }
        let pair = &pair;
        let is_asked = match pair.fate {
            CellFate::Refer => true,
            CellFate::Take | CellFate::Keep | CellFate::Follow => {
                self.are_two_objects(pair.old_value, pair.new_value)
                    && (!self.is_choice_of_data(pair.old_value, pair.new_value)
                        || self.constants.follows() && self.is_cell_as_loaded(pair))
            }
            _ => false,
        };
        let Some(cell) = self
            .out
            .old_cells
            .get(pair.old as usize)
            .copied()
            .filter(|_| is_asked)
        else {
            return Ok(pair.fate);
        };
        let is_function = self.vm.kind(pair.old_value) == Kind::Function;
        let place = Some(self.cell_place(&cell));
        let Some(mut touched) = self.touched(place, pair.old_value, pair.new_value)? else {
            return Ok(match pair.fate {
                CellFate::Refer if !is_function => CellFate::Merge,
                CellFate::Refer if self.is_assigned(pair.old, pair.new) => CellFate::Follow,
                CellFate::Refer => CellFate::Take,
                fate => fate,
            });
        };
        let edit = self.edit_of(pair.old_value, pair.new_value)?;
        let is_edited = self.is_cell_edited(pair, edit);
        let new = self.out.new_cells.get(pair.new as usize);
        let variable = new.map(|cell| (cell.function, cell.index));
        let is_initialiser = variable.is_some_and(|variable| {
            (self.identity).is_initialiser(self.vm, variable, pair.new_value)
        });
        touched.by_edit &= edit != EditOf::Place || !is_initialiser;
        let site = self.out.cell_site(pair.new)?;
        let values = [pair.old_value, pair.new_value];
        let is_moved = self.read_edit(&mut touched, values, site, (edit, is_edited))?;
        if !is_moved && self.is_state_lost(&touched, place, pair.old_value)? {
            self.warn_of_state_kept(site)?;
            return Ok(CellFate::Keep);
        }
        let stays = if is_function {
            CellFate::Follow
        } else {
            CellFate::Keep
        };
        if touched.by_edit && !touched.by_program {
            self.warn_of_class(site, pair.old_value)?;
        }
        Ok(match touched {
            Touched {
                by_program: false,
                by_edit: true,
            } if self.is_choice_of_data(pair.old_value, pair.new_value) => CellFate::Constant,
            Touched {
                by_program: false,
                by_edit: true,
            } => CellFate::Take,
            Touched {
                by_program: false, ..
            } if pair.fate != CellFate::Refer => pair.fate,
            Touched {
                by_program: true,
                by_edit: true,
            } => {
                self.warn_of_choice(site)?;
                stays
            }
            Touched {
                by_program: true, ..
            } => {
                self.tell(site, CHOSEN)?;
                stays
            }
            _ => stays,
        })
    }

    /// Do functions of others in two cells answer to each other? Their definitions say so
    /// (`local run = load("return …")()`), once all is matched.
    fn answers_in_cell(&self, pair: &CellPair) -> bool {
        let answer = self.out.answer(self.vm, self.vm.val(pair.old_value).addr);
        answer.is_some_and(|answer| self.vm.val(answer) == self.vm.val(pair.new_value))
    }

    /// An external function in a variable may be the program's choice (`constants`).
    fn is_choice_of_data(&self, old: Ref, new: Ref) -> bool {
        self.vm.kind(old) == Kind::Function
            && self.is_fresh(self.vm.val(new))
            && self.lineage.number(self.vm, old).is_none()
    }

    /// Does the object stand in a slot that the last load has put there?
    fn is_slot_as_loaded(&mut self, slot: &SlotDecision) -> Result<bool> {
        let place = self.slot_place(slot)?;
        Ok(place.is_some_and(|place| self.is_object_as_loaded(place, slot.old)))
    }

    /// The same for a variable.
    pub(super) fn is_cell_as_loaded(&self, pair: &CellPair) -> bool {
        let cell = self.out.old_cells.get(pair.old as usize);
        let place = cell.map(|cell| self.cell_place(cell));
        place.is_some_and(|place| self.is_object_as_loaded(place, pair.old_value))
    }

    /// Has the edit changed what the file puts into a slot? None where the texts do not tell.
    pub(super) fn is_slot_edited(&self, slot: &SlotDecision, edit: EditOf) -> Option<bool> {
        let is_globals = self.vm.val(slot.table) == self.vm.val(self.context.globals);
        let table = Some(slot.table).filter(|_| !is_globals);
        self.identity
            .is_field_edited(self.vm, table, slot.key, edit)
    }

    fn is_slot_of_others(&self, slot: &SlotDecision) -> bool {
        let is_globals = self.vm.val(slot.table) == self.vm.val(self.context.globals);
        let table = Some(slot.table).filter(|_| !is_globals);
        self.identity.is_field_of_others(self.vm, table, slot.key)
    }

    /// The same for a variable.
    pub(super) fn is_cell_edited(&self, pair: &CellPair, edit: EditOf) -> Option<bool> {
        let old = self.out.old_cells.get(pair.old as usize)?;
        let new = self.out.new_cells.get(pair.new as usize)?;
        let (old, new) = ((old.function, old.index), (new.function, new.index));
        self.identity.is_variable_edited(self.vm, old, new, edit)
    }

    /// A userdata, or a function, that C has made for the load, and that no module holds, is
    /// another one each time the chunk runs.
    fn edit_of(&mut self, old: Ref, new: Ref) -> Result<EditOf> {
        let [o, n] = [old, new].map(|value| self.vm.val(value));
        let globals = self.vm.val(self.context.globals);
        let is_of_c = [old, new].map(|value| self.vm.is_of_c(value));
        let may_be_product =
            is_of_c == [true; 2] && !self.imports.is_standard(self.vm, self.context, o)?;
        let is_global =
            |change: &Change| self.vm.val(change.table) == globals && self.vm.val(change.old) == o;
        if may_be_product
            && (self.loaded.changes.iter().any(is_global) || !self.is_held_by_module(o)?)
            && !self.is_held_by_module(n)?
        {
            return Ok(EditOf::Product);
        }
        let is_other = self.is_fresh_function(n) && (is_of_c[1] || !self.is_own_function(old)?);
        Ok(match is_other {
            true => EditOf::Call,
            false => EditOf::Place,
        })
    }

    /// The texts tell better than the objects whether the edit touched a place, if they tell it. An
    /// object of others may be another one with the same text, in the place of one of others: then
    /// another module has another object there now, which this place takes if nothing is lost. What
    /// would be lost stays, and is counted among what differs from the file, unless the data policy
    /// lets it go. True if the place takes such an object.
    fn read_edit(
        &mut self,
        touched: &mut Touched,
        [old, new]: [Ref; 2],
        site: SiteId,
        (edit, is_edited): (EditOf, Option<bool>),
    ) -> Result<bool> {
        if edit == EditOf::Product {
            let is_same = || self.identity.is_same_text(&self.loaded.compiled);
            let differs = is_edited.unwrap_or_else(|| !is_same());
            let follows = self.replace_data || self.merges && is_edited == Some(true);
            touched.by_edit &= differs;
            if !touched.by_program && touched.by_edit && !follows {
                self.note_that_stays(old, new, site)?;
                touched.by_edit = false;
            } else if !touched.by_edit {
                self.out.products.try_push(old)?;
            }
            return Ok(touched.by_edit);
        }
        let is_fresh = self.is_fresh(self.vm.val(new));
        let is_asked =
            is_edited == Some(false) && !is_fresh && touched.by_edit && !touched.by_program;
        if is_asked && !self.is_own(old)? && self.is_import(new)? {
            let may_go = self.replace_data || self.merges || self.may_go(old, new, site)?;
            touched.by_edit = may_go;
            if !may_go {
                self.note_that_stays(old, new, site)?;
            }
            return Ok(may_go);
        }
        let was_own = self.lineage.number(self.vm, old).is_some();
        // A function of C's and one of Lua's are no versions of each other.
        let is_one = !is_fresh || self.vm.is_of_c(old) == self.vm.is_of_c(new);
        let is_edited = is_edited.filter(|_| is_one);
        touched.by_edit &= is_edited.unwrap_or(is_fresh || was_own);
        Ok(false)
    }

    fn note_that_stays(&mut self, running: Ref, file: Ref, site: SiteId) -> Result<()> {
        self.out.differing.try_push(Differing {
            site,
            running,
            file,
        })
    }

    /// Are they objects of one kind, and not one and the same, nor counterparts?
    fn are_two_objects(&self, old: Ref, new: Ref) -> bool {
        let [o, n] = [old, new].map(|value| self.vm.val(value));
        let is_object = |kind| matches!(kind, Kind::Table | Kind::Function | Kind::Userdata);
        is_object(o.kind)
            && o.kind == n.kind
            && o != n
            && self
                .out
                .answer(self.vm, o.addr)
                .is_none_or(|answer| self.vm.val(answer) != n)
    }

    /// Who has changed a place; none where there is no record of it.
    fn touched(
        &mut self,
        place: Option<RecordedPlace>,
        old: Ref,
        new: Ref,
    ) -> Result<Option<Touched>> {
        let base = &self.out.base;
        let of_place = |place: RecordedPlace| base.get(place).or_else(|| base.get(place.left()));
        let Some(recorded) = place.and_then(of_place) else {
            return Ok(None);
        };
        let is_recorded =
            |number: Option<i64>| number.is_some_and(|number| recorded == Held::object(number));
        Ok(Some(Touched {
            by_program: !is_recorded(self.number_of(old)),
            by_edit: !is_recorded(self.number_of_incoming(new)),
        }))
    }

    /// The number of the running object that the incoming one is one with.
    pub(super) fn number_of_incoming(&self, new: Ref) -> Option<i64> {
        let val = self.vm.val(new);
        if !self.is_fresh(val) {
            return self.number_of(new);
        }
        if val.is_table() {
            return match self.out.tables.get(&val.addr) {
                Some(running) => self.number_of(*running),
                None => self.identity.lost_number(self.vm, new),
            };
        }
        let partners = &self.out.new.get(self.number2(val.addr)? as usize)?.partners;
        let old = self.out.old.get(*partners.first()? as usize)?;
        self.number_of(old.at)
    }

    /// Would the file's object take the place of a table that the file has no longer, and that the
    /// program has changed? A table counts as touched when its contents were.
    fn is_state_lost(
        &mut self,
        touched: &Touched,
        place: Option<RecordedPlace>,
        old: Ref,
    ) -> Result<bool> {
        let Some(place) = place.filter(|_| touched.by_edit && !touched.by_program) else {
            return Ok(false);
        };
        Ok(!self.replace_data && self.is_changed_state(place, old)?)
    }

    fn warn_of_state_kept(&mut self, site: SiteId) -> Result<()> {
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        self.out.warnings.try_push(format!(
            "{path}: the file has another object there and no longer has the running table, which \
             stays, as the program has changed it; assign the file's object in __hotfix"
        ))
    }

    fn warn_of_choice(&mut self, site: SiteId) -> Result<()> {
        let path = self.out.sites.path(self.vm, &self.context.title, site);
        self.out.warnings.try_push(format!(
            "{path}: the file and the program have both put another object there, and the \
             program's stays; assign the file's object in __hotfix"
        ))
    }
}
