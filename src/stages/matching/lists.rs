//! Lists, element by element (R3.14, R5.12).
//!
//! An index is no name: which element of the file is which of those that run, and which of them the
//! last load had, the alignment of sequences tells ([`crate::code::align::sequence`]). Then both
//! authors are heard: what the program removed stays away, what it added stays, and what the file
//! inserted goes beside its neighbour. With `data = "keep"` that is about elements with functions.
//!
//! ```lua
//! -- the last load      the program              the file now                 the list then
//! { on_a, on_b }        removes on_a             { on_a, on_b, on_c }         { on_b, on_c }
//! ```

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::differing::Differing;
use super::elements::{
    FUNCTION, IncomingElement, Keys, MOST_ELEMENTS, MOST_KEYS, RunningElement, SCALAR,
};
use super::functions::Few;
use super::merge::is_scalar;
use super::{Action, Edge, EntryPair, Fit, Pairer, TablePair};
use crate::code::align::sequence::{Element, align, by_content};
use crate::code::definitions::DefinitionId;
use crate::lua::vm::{Kind, Ref, Val, Vm};
use crate::model::base::{Held, Path, RecordedPlace};
use crate::model::site::SiteId;
use crate::support::error::{Error, Result};
use crate::support::limits::Where;
use crate::support::mem::{TryInsert, TryPush, collected, copied};

/// A list of both versions that waits until names have told what they can.
pub(super) struct List {
    pair: TablePair,
    written: Vec<EntryPair>,
}

/// Where the record has an element of the file's list.
#[derive(Clone, Copy, Default)]
pub struct RecordedElement {
    /// Under which index; none for what was not taken.
    pub index: Option<i64>,
    /// Where it was on record.
    pub known: Option<RecordedPlace>,
    /// What it is in the running version.
    pub old: Ref,
}

/// What the record has of a list: what the file said as far as it was taken, and, between that,
/// what the file has no longer and still runs. So a later reload knows of both edits.
#[derive(Default)]
pub struct RecordedList {
    /// The file's elements, in its order.
    pub elements: Vec<RecordedElement>,
    /// The others.
    pub stays: Vec<StayingElement>,
}

/// An element that the file has no longer, and that still runs.
#[derive(Clone, Copy)]
pub struct StayingElement {
    /// Under which index.
    pub index: i64,
    /// What was on record of it, and where.
    pub held: Held,
    /// The place.
    pub known: RecordedPlace,
    /// What runs.
    pub old: Ref,
}

/// What stands in the list in the end: a running element, or one of the incoming version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Running(usize),
    Written(usize),
}

/// Which element is which: of the running list, of the incoming version, and of that of the last
/// load.
struct Matched {
    old: Vec<RunningElement>,
    new: Vec<IncomingElement>,
    /// For each incoming element the running one, and the reverse.
    of_new: Each<Option<usize>>,
    of_old: Each<Option<usize>>,
    /// For each incoming and each running element the one of the last load; empty without
    /// a record.
    base: Vec<Element>,
    base_of_new: Each<Option<usize>>,
    base_of_old: Each<Option<usize>>,
    /// Where the list is on record; none where it is not.
    path: Option<Path>,
    /// Of the incoming one: nothing tells whether it is one of the last load.
    doubtful: Each<bool>,
    /// Of the incoming one: the last text says whether it had it there.
    told: Each<bool>,
    /// The running list has no holes.
    is_whole: bool,
}

impl Matched {
    fn at(list: &[Option<usize>], i: usize) -> Option<usize> {
        list.get(i).copied().flatten()
    }

    /// Where an element of the last load is on record.
    fn place(&self, vm: &Vm, base: usize) -> Option<RecordedPlace> {
        let index = i64::try_from(base).ok()?.checked_add(1)?;
        Some(self.path?.place(vm.digest_of_integer(index)))
    }

    /// Of the last load's elements: which ones the file has no longer, and still stand in the list.
    fn stays(&self, result: &[Stands]) -> Result<Each<bool>> {
        let mut stays = none(self.base.len(), false)?;
        for stands in result {
            if let Stands::Running(old) = *stands
                && Matched::at(&self.of_old, old).is_none()
                && let Some(base) = Matched::at(&self.base_of_old, old)
                && let Some(stays) = stays.get_mut(base)
            {
                *stays = true;
            }
        }
        for base in self.base_of_new.iter().flatten() {
            if let Some(stays) = stays.get_mut(*base) {
                *stays = false;
            }
        }
        Ok(stays)
    }

    fn join(&mut self, old: usize, new: usize) {
        if let (Some(of_new), Some(of_old)) = (self.of_new.get_mut(new), self.of_old.get_mut(old)) {
            (*of_new, *of_old) = (Some(old), Some(new));
        }
    }

    /// Which elements of the file's stand in the list in the end.
    fn added(&self, result: &[Stands]) -> Result<Each<bool>> {
        let mut added = none(self.new.len(), false)?;
        for stands in result {
            if let Stands::Written(new) = *stands
                && let Some(added) = added.get_mut(new)
            {
                *added = true;
            }
        }
        Ok(added)
    }

    /// Has either list elements with functions?
    fn has_code(&self) -> bool {
        self.new.iter().any(|new| new.has_code) || self.old.iter().any(|old| old.val.is_function())
    }

    /// Did the program leave the list as the last load had made it?
    fn is_as_last_load(&self) -> bool {
        self.path.is_some()
            && self.base.len() == self.old.len()
            && (0..self.old.len()).all(|i| Matched::at(&self.base_of_old, i) == Some(i))
    }
}

/// What is known of each element of a list: most lists are short.
type Each<T> = SmallVec<[T; 6]>;

/// In a list of no more elements one is found by looking at all.
const SHORT: usize = 8;

fn none<T: Clone>(count: usize, value: T) -> Result<Each<T>> {
    let mut list = Each::new();
    list.try_reserve_exact(count).map_err(|_| Error::Memory)?;
    list.resize(count, value);
    Ok(list)
}

impl Pairer<'_> {
    /// Looks at the list part of a pair of tables. Plain data that stays as it runs needs no more.
    pub(super) fn list(&mut self, pair: &TablePair, written: Vec<EntryPair>) -> Result<()> {
        for entry in &written {
            if self.may_be_coroutine(entry.new_val) {
                self.pair_coroutines(entry.old, entry.new, pair.site)?;
            }
        }
        let stays = !self.replace_data && !self.merges;
        let end = self.vm.raw_len(pair.old).max(written.len() as i64);
        let is_as_it_runs =
            |entry: &EntryPair| is_scalar(entry.new_val) && self.vm.same(entry.new, entry.old);
        if stays && end == written.len() as i64 && written.iter().all(is_as_it_runs) {
            return written.iter().try_for_each(|entry| self.plain(pair, entry));
        }
        let address = self.vm.val(pair.old).addr;
        let end = end.min(MOST_ELEMENTS);
        self.out.listed.try_insert_value(address, end)?;
        self.lists.try_push(List {
            pair: *pair,
            written,
        })
    }

    /// Is the index one of a list that is looked at element by element?
    pub(super) fn is_listed(&self, table: Ref, index: Option<i64>) -> bool {
        self.out.is_listed(self.vm.val(table).addr, index)
    }

    /// When names have told what they can: the lists that wait. True when there were any.
    pub(super) fn resolve_lists(&mut self) -> Result<bool> {
        let lists = std::mem::take(&mut self.lists);
        let some = !lists.is_empty();
        for List { pair, written } in lists {
            let mut matched = self.match_elements(&pair, written)?;
            self.pair_elements(&pair, &matched)?;
            let result = self.result(&pair, &mut matched)?;
            let stays = matched.stays(&result)?;
            self.note_places(&pair, &matched, &result, &stays)?;
            self.note_list_that_differs(&pair, &matched, &stays, &matched.added(&result)?)?;
            self.place_elements(&pair, &matched, &result)?;
        }
        Ok(some)
    }

    /// Which element is which.
    fn match_elements(&mut self, pair: &TablePair, written: Vec<EntryPair>) -> Result<Matched> {
        let new = self.written(pair, written)?;
        let old = self.running(pair, new.len())?;
        let is_whole = (1..).zip(&old).all(|(index, one)| one.index == index)
            && self.vm.raw_len(pair.old) <= MOST_ELEMENTS;
        let path = match self.out.base.is_known() {
            true => self.path(pair.old, pair.site)?,
            false => None,
        };
        let path = path.filter(|path| self.out.base.knows(*path));
        let in_place = match path {
            Some(path) => self.base_in_place(path, &old, &new)?,
            None => None,
        };
        let (mut keys, mut left, mut right) = (Keys::default(), Vec::new(), Vec::new());
        if in_place.is_none() {
            for one in &old {
                left.try_push(self.describe_running(one, &mut keys)?)?;
            }
            for one in &new {
                right.try_push(self.describe_written(one, &mut keys)?)?;
            }
        }
        let mut matched = Matched {
            of_new: none(new.len(), None)?,
            of_old: none(old.len(), None)?,
            base: Vec::new(),
            base_of_new: none(new.len(), None)?,
            base_of_old: none(old.len(), None)?,
            path,
            doubtful: none(new.len(), false)?,
            told: none(new.len(), false)?,
            is_whole,
            old,
            new,
        };
        self.match_known(&mut matched)?;
        if let Some(base) = in_place {
            self.match_in_place(pair, &mut matched, base)?;
            return Ok(matched);
        }
        if let Some(path) = path {
            if keys.len() == MOST_KEYS {
                self.vm.limits.meet(
                    "only the first {} keys of its rows were looked up in the record, and what the \
                     program has changed under others may not be seen; give the rows fewer keys \
                     (R3.14)",
                    MOST_KEYS,
                    Where::Table(self.vm.val(pair.old).addr),
                )?;
            }
            let mut base = self.recorded_elements(path, &keys)?;
            let partners = |list: &[Element]| {
                let mut partners = none(list.len(), None)?;
                let known = list.iter().map(|one| one.partner);
                partners
                    .iter_mut()
                    .zip(known)
                    .for_each(|(of, one)| *of = one);
                Ok::<_, Error>(partners)
            };
            align(&mut base, &mut left)?;
            matched.base_of_old = partners(&left)?;
            let old_of_base = partners(&base)?;
            for element in &mut base {
                // Of what goes on more is known than the record tells.
                let old = element.partner.take().and_then(|old| left.get(old));
                if let Some(old) = old.filter(|old| old.kind == element.kind) {
                    (element.code, element.is_code) = (old.code, old.is_code);
                    element.hints = copied(&old.hints)?;
                    // (a row's numbers are on record, and the program may have changed them)
                    if element.kind == FUNCTION {
                        element.numbers = copied(&old.numbers)?;
                    }
                }
            }
            align(&mut base, &mut right)?;
            matched.base_of_new = partners(&right)?;
            matched.base = base;
            self.read_listed(pair.new, &mut matched)?;
            for new in 0..matched.new.len() {
                let base_of_new = Matched::at(&matched.base_of_new, new);
                let old = base_of_new.and_then(|i| Matched::at(&old_of_base, i));
                if let Some(old) = old {
                    self.try_join(&mut matched, old, new)?;
                }
            }
        }
        self.match_rest(&mut matched, left, right)?;
        self.match_patches(&mut matched)?;
        if matched.path.is_some() {
            self.find_doubtful(&mut matched, &keys)?;
        }
        Ok(matched)
    }

    /// The usual case, to which the alignments would come in the end: all three lists are as long,
    /// each scalar is that of the last load in all of them, and one element may be a function. What
    /// the last load had, then: each element in its place. None for any other case.
    fn base_in_place(
        &self,
        path: Path,
        old: &[RunningElement],
        new: &[IncomingElement],
    ) -> Result<Option<Vec<Element>>> {
        let recorded = |index| {
            let place = path.place(self.vm.digest_of_integer(index));
            self.out.base.get(place)
        };
        if old.len() != new.len() {
            return Ok(None);
        }
        let (mut base, mut next, mut functions) = (Vec::new(), 1, 0);
        base.try_reserve_exact(new.len())?;
        for (running, written) in old.iter().zip(new) {
            let Some(held) = recorded(next).filter(|_| running.index == next) else {
                return Ok(None);
            };
            next += 1;
            let (kind, is_it) = match (running.f1, written.f2) {
                (Some(f1), Some(f2)) => {
                    functions += 1;
                    let number = self.number_of(running.value);
                    let partners = self.out.new.get(f2 as usize).map(|new| &new.partners);
                    let is_open = |partners: &Few| partners.first().is_none_or(|one| *one == f1);
                    let is_function = |number: &i64| !self.out.base.knows(Path::of(*number));
                    let number = number.filter(is_function);
                    (
                        FUNCTION,
                        functions == 1
                            && number.is_some_and(|number| held == Held::object(number))
                            && partners.is_some_and(is_open),
                    )
                }
                _ => {
                    let digest = self.vm.digest(running.value);
                    (
                        SCALAR,
                        is_scalar(running.val)
                            && is_scalar(written.entry.new_val)
                            && digest == self.vm.digest(written.entry.new)
                            && digest.is_some_and(|digest| held == Held::scalar(digest)),
                    )
                }
            };
            if !is_it {
                return Ok(None);
            }
            base.push(Element {
                kind,
                ..Element::default()
            }); // there is room
        }
        Ok(Some(base).filter(|_| recorded(next).is_none()))
    }

    /// Each element answers to that in its place, unless something says that they are others.
    fn match_in_place(
        &mut self,
        pair: &TablePair,
        matched: &mut Matched,
        base: Vec<Element>,
    ) -> Result<()> {
        matched.base = base;
        for list in [&mut matched.base_of_old, &mut matched.base_of_new] {
            (0..).zip(list).for_each(|(i, of)| *of = Some(i));
        }
        self.read_listed(pair.new, matched)?;
        for new in 0..matched.new.len() {
            if let Some(old) = Matched::at(&matched.base_of_new, new) {
                self.try_join(matched, old, new)?;
            }
        }
        self.match_patches(matched)?;
        match matched.base_of_new.contains(&None) {
            true => self.find_doubtful(matched, &Keys::default()),
            false => Ok(()),
        }
    }

    /// Joins two elements if both are free, and nothing says that they are others.
    fn try_join(&mut self, matched: &mut Matched, old: usize, new: usize) -> Result<bool> {
        let (Some(running), Some(written)) = (matched.old.get(old), matched.new.get(new)) else {
            return Ok(false);
        };
        if Matched::at(&matched.of_old, old).is_some()
            || Matched::at(&matched.of_new, new).is_some()
        {
            return Ok(false);
        }
        let (o, n) = (running.val, written.entry.new_val);
        let is_object = |val: Val| val.is_table() || val.is_function();
        let fits = match (is_object(o), is_object(n)) {
            (true, true) => {
                let paired = match (running.f1, written.f2) {
                    (Some(f1), Some(f2)) => self
                        .out
                        .new
                        .get(f2 as usize)
                        .is_some_and(|new| new.partners.contains(&f1)),
                    _ => self.are_paired(running.value, written.entry.new),
                };
                let is_free = || match (running.f1, written.f2) {
                    (Some(f1), Some(f2)) => self.is_free_function(f1, f2),
                    _ => o.is_table() && n.is_table() && self.are_free(o.addr, n.addr),
                };
                o == n || paired || is_free() && !self.are_others(running.value, written.entry.new)
            }
            (false, false) => true,
            _ => false,
        };
        if fits {
            matched.join(old, new);
        }
        Ok(fits)
    }

    fn is_free_function(&self, f1: u32, f2: u32) -> bool {
        let old = self.out.old.get(f1 as usize);
        let new = self.out.new.get(f2 as usize);
        old.is_some_and(|old| old.own && old.answers.is_empty())
            && new.is_some_and(|new| new.partners.is_empty())
    }

    /// Objects that are known to answer to each other, from elsewhere.
    fn match_known(&mut self, matched: &mut Matched) -> Result<()> {
        let mut places: FxHashMap<usize, usize> = FxHashMap::default();
        let is_object = |new: &IncomingElement| new.entry.new_val.addr != 0;
        if !matched.new.iter().any(is_object) {
            return Ok(());
        }
        let is_short = matched.old.len() <= SHORT;
        for (i, one) in matched.old.iter().enumerate().filter(|_| !is_short) {
            if one.val.addr != 0 && !places.contains_key(&one.val.addr) {
                places.try_insert_value(one.val.addr, i)?;
            }
        }
        for new in 0..matched.new.len() {
            let Some(written) = matched.new.get(new).copied() else {
                break;
            };
            let partner = self.partner(&written);
            let address = partner.map(|partner| self.vm.val(partner).addr);
            let place = |address: usize| match is_short {
                true => matched.old.iter().position(|one| one.val.addr == address),
                false => places.get(&address).copied(),
            };
            let old = address.filter(|address| *address != 0).and_then(place);
            if let Some(old) = old {
                self.try_join(matched, old, new)?;
            }
        }
        Ok(())
    }

    /// What the last load did not have: without a record all that is left.
    fn match_rest(
        &mut self,
        matched: &mut Matched,
        left: Vec<Element>,
        right: Vec<Element>,
    ) -> Result<()> {
        let is_known = matched.path.is_some();
        let rest = |list: Vec<Element>, own: &[Option<usize>], base: &[Option<usize>]| {
            let free = |i: &usize| {
                Matched::at(own, *i).is_none() && !(is_known && Matched::at(base, *i).is_some())
            };
            let numbered = list.into_iter().enumerate().filter(|(i, _)| free(i));
            let (mut numbers, mut elements) = (Vec::new(), Vec::new());
            for (number, element) in numbered {
                numbers.try_push(number)?;
                elements.try_push(Element {
                    partner: None,
                    ..element
                })?;
            }
            Ok::<_, Error>((numbers, elements))
        };
        // Without a record those that are known say where the others stand.
        if !is_known {
            let (mut left, mut right) = (left, right);
            for (new, old) in matched.of_new.iter().enumerate() {
                let exact = (1u64 << 62) | new as u64;
                if let Some(element) = old.and_then(|old| left.get_mut(old)) {
                    element.exact = Some(exact);
                }
                if let Some(element) = right.get_mut(new).filter(|_| old.is_some()) {
                    element.exact = Some(exact);
                }
            }
            align(&mut left, &mut right)?;
            for (new, element) in right.iter().enumerate() {
                if let Some(old) = element.partner {
                    self.try_join(matched, old, new)?;
                }
            }
            return Ok(());
        }
        let (old_numbers, mut left) = rest(left, &matched.of_old, &matched.base_of_old)?;
        let (new_numbers, mut right) = rest(right, &matched.of_new, &matched.base_of_new)?;
        by_content(&mut left, &mut right)?;
        for (new, element) in new_numbers.iter().zip(&right) {
            if let Some(old) = element.partner.and_then(|i| old_numbers.get(i)) {
                self.try_join(matched, *old, *new)?;
            }
        }
        Ok(())
    }

    /// R3.14: where nothing has moved, an external function may stand in the place of the file's,
    /// around it or instead of it. With a record that was the place of the file's.
    fn match_patches(&mut self, matched: &mut Matched) -> Result<()> {
        let moved = |(new, old): (usize, &Option<usize>)| old.is_some_and(|old| old != new);
        if matched.old.len() != matched.new.len() || matched.of_new.iter().enumerate().any(moved) {
            return Ok(());
        }
        for i in 0..matched.new.len() {
            let (Some(old), Some(new)) = (matched.old.get(i), matched.new.get(i)) else {
                break;
            };
            let is_its_place = matched.base.len() == matched.old.len()
                && Matched::at(&matched.base_of_new, i) == Some(i);
            if (is_its_place || matched.path.is_none())
                && Matched::at(&matched.of_new, i).is_none()
                && old.val.is_function()
                && new.entry.new_val.is_function()
                && !self.is_own_function(old.value)?
            {
                matched.join(i, i);
            }
        }
        Ok(())
    }

    /// Which elements of the file may be changed ones of the last load, or new ones: nothing tells.
    fn find_doubtful(&mut self, matched: &mut Matched, keys: &Keys) -> Result<()> {
        let mut known = none(matched.base.len(), false)?;
        let goes_on = |old: usize| {
            let old = matched.old.get(old)?;
            let answers = old.f1.and_then(|f1| self.out.old.get(f1 as usize));
            let answers = answers.is_some_and(|old| !old.answers.is_empty());
            (answers || self.has_partner(old.val.addr)).then_some(())
        };
        // What the file has elsewhere has not become another element.
        let elsewhere = (0..matched.old.len())
            .filter(|old| goes_on(*old).is_some())
            .filter_map(|old| Matched::at(&matched.base_of_old, old));
        for base in matched
            .base_of_new
            .iter()
            .flatten()
            .copied()
            .chain(elsewhere)
        {
            if let Some(known) = known.get_mut(base) {
                *known = true;
            }
        }
        let open = matched
            .base
            .iter()
            .zip(&known)
            .filter(|(_, known)| !**known);
        let (mut strings, mut nameless, mut some) = (
            FxHashSet::default(),
            FxHashSet::default(),
            FxHashSet::default(),
        );
        for (element, _) in open {
            some.try_insert_value(element.kind, ())?;
            if element.strings.is_empty() {
                nameless.try_insert_value(element.kind, ())?;
            }
            for string in &element.strings {
                strings.try_insert_value((element.kind, *string), ())?;
            }
        }
        if some.is_empty() {
            return Ok(());
        }
        let is_settled = self.merges && self.are_as_loaded(matched, &known)?;
        let mut met = keys.clone();
        for i in 0..matched.new.len() {
            let Some(new) = matched.new.get(i).copied() else {
                break;
            };
            let is_known = Matched::at(&matched.of_new, i).is_some()
                || Matched::at(&matched.base_of_new, i).is_some()
                || matched.told.get(i) == Some(&true);
            if is_known || is_scalar(new.entry.new_val) || is_settled && !new.has_code {
                continue;
            }
            let element = self.describe_written(&new, &mut met)?;
            let kind = element.kind;
            let is_doubtful = nameless.contains(&kind)
                || element.strings.is_empty() && some.contains(&kind)
                || element
                    .strings
                    .iter()
                    .any(|string| strings.contains(&(kind, *string)));
            if let Some(doubtful) = matched.doubtful.get_mut(i) {
                *doubtful = is_doubtful;
            }
        }
        Ok(())
    }

    /// Are all elements of the last load that the file's do not answer to still there, as they were
    /// loaded? Then it is all the same which of the file's rows of data is which.
    fn are_as_loaded(&mut self, matched: &Matched, known: &[bool]) -> Result<bool> {
        let mut left = known.iter().filter(|known| !**known).count();
        for (old, base) in matched.old.iter().zip(&matched.base_of_old) {
            let Some(base) = base.filter(|base| known.get(*base) == Some(&false)) else {
                continue;
            };
            let Some(place) = matched.place(self.vm, base) else {
                return Ok(false);
            };
            if !self.is_as_loaded(place, old.value)? {
                return Ok(false);
            }
            left -= 1;
        }
        Ok(left == 0)
    }

    /// Of elements that the last text made elsewhere it says itself whether and where they stood in
    /// the list, if nothing else put elements there.
    fn read_listed(&self, list: Ref, matched: &mut Matched) -> Result<()> {
        let listed = self.identity.base_elements(self.vm, list)?;
        if listed.is_empty() || listed.len() != matched.base.len() {
            return Ok(());
        }
        let mut first: FxHashMap<DefinitionId, usize> = FxHashMap::default();
        for (number, one) in listed.iter().enumerate().rev() {
            if let Some(one) = one {
                first.try_insert_value(*one, number)?;
            }
        }
        for (i, new) in matched.new.iter().enumerate() {
            let (Some(known), Some(base_of_new), Some(told)) = (
                self.identity.kept_elsewhere(self.vm, new.entry.new),
                matched.base_of_new.get_mut(i),
                matched.told.get_mut(i),
            ) else {
                continue;
            };
            let is_it = |base: usize| listed.get(base) == Some(&known);
            *told = true;
            if known.is_none() || !base_of_new.is_some_and(is_it) {
                *base_of_new = known.and_then(|known| first.get(&known).copied());
            }
        }
        Ok(())
    }

    /// Tables that answer to each other are compared in turn, functions take each other's place.
    fn pair_elements(&mut self, pair: &TablePair, matched: &Matched) -> Result<()> {
        for (i, old) in matched.of_new.iter().enumerate() {
            let (Some(old), Some(new)) =
                (old.and_then(|old| matched.old.get(old)), matched.new.get(i))
            else {
                continue;
            };
            let IncomingElement {
                entry,
                f2,
                has_code,
            } = *new;
            let place = old.index;
            if has_code && place != i as i64 + 1 && self.tells {
                let site = self.element_site(pair.site, place)?;
                self.tell(site, &format!("element {} of the file", i + 1))?;
            }
            if let (Some(f1), Some(f2)) = (old.f1, f2) {
                if self.out.old.get(f1 as usize).is_some_and(|old| old.own) {
                    self.edge(Edge { f1, f2 })?;
                }
            } else if entry.new_val.is_table() && old.val.is_table() && entry.order.is_some() {
                if self.was_import(old.value, entry.new)? {
                    let site = self.element_site(pair.site, old.index)?;
                    self.scan_queue.try_push((entry.new, site))?;
                    continue;
                }
                let base = Matched::at(&matched.of_new, i);
                let base = base.and_then(|old| Matched::at(&matched.base_of_old, old));
                let place = base.and_then(|base| matched.place(self.vm, base));
                let site = self.element_site(pair.site, old.index)?;
                if matched.path.is_some() {
                    self.places.row(site, place)?;
                }
                self.pair_tables(old.value, entry.new, site, self.fit())?;
            }
        }
        Ok(())
    }

    pub(super) fn element_site(&mut self, list: SiteId, index: i64) -> Result<SiteId> {
        let key = self.vm.number(index)?;
        self.out.sites.key(list, key)
    }

    /// What the list holds in the end.
    fn result(&mut self, pair: &TablePair, matched: &mut Matched) -> Result<Vec<Stands>> {
        let replaces = self.replace_data;
        let mut added = none(matched.new.len(), false)?;
        let two_way = self.two_way(pair, matched)?;
        for (i, added) in added.iter_mut().enumerate() {
            if Matched::at(&matched.of_new, i).is_none() {
                *added = replaces || i < two_way || self.is_added(pair, matched, i)?;
            }
        }
        let mut stays = none(matched.old.len(), true)?;
        for (i, stays) in stays.iter_mut().enumerate() {
            if Matched::at(&matched.of_old, i).is_none() {
                *stays = match replaces {
                    // What the module object has besides.
                    true => {
                        pair.fit == Fit::Merged && Matched::at(&matched.base_of_old, i).is_none()
                    }
                    false => !self.is_gone(pair.site, matched, i)?,
                };
            }
        }
        let follows = replaces || matched.is_as_last_load() && (self.merges || matched.has_code());
        let mut result = Vec::new();
        if !matched.is_whole && !replaces {
            for i in 0..matched.old.len() {
                result.try_push(Stands::Running(i))?;
            }
        } else if follows {
            self.as_the_file(matched, &added, &stays, &mut result)?;
        } else {
            self.as_it_runs(matched, &added, &stays, &mut result)?;
        }
        Ok(result)
    }

    /// The end of an enumeration that names and numbers lead to each other in: a name that comes in
    /// (R5.1) brings its number along. Up to which element of the file's that is so.
    ///
    /// ```lua
    /// { "IDLE", IDLE = 1 } --> { "IDLE", "RUN", IDLE = 1, RUN = 2 }
    /// ```
    fn two_way(&mut self, pair: &TablePair, matched: &Matched) -> Result<usize> {
        let count = matched.old.len();
        let is_same = |i: usize| Matched::at(&matched.of_new, i) == Some(i);
        let Some(path) = matched.path.filter(|_| matched.is_whole) else {
            return Ok(0);
        };
        if matched.new.len() <= count || !(0..count).all(is_same) {
            return Ok(0);
        }
        for i in count..matched.new.len() {
            let Some(entry) = matched.new.get(i).map(|new| new.entry) else {
                break;
            };
            let mark = self.vm.held();
            let number = self.vm.get(pair.new, entry.new)?;
            let is_number = self.vm.same(number, entry.key);
            self.vm.release(mark);
            let digest = self.vm.digest(entry.new);
            let is_new = digest.is_some_and(|name| !self.out.base.is_there(path.place(name)));
            let is_free = entry.new_val.kind == Kind::String
                && Matched::at(&matched.base_of_new, i).is_none()
                && self.vm.look_up(pair.old, entry.new)?.1.is_nil();
            if !(is_number && is_new && is_free) {
                return Ok(i);
            }
        }
        Ok(matched.new.len())
    }

    /// Does an element of the file's that the running list lacks come into it?
    fn is_added(&mut self, pair: &TablePair, matched: &Matched, i: usize) -> Result<bool> {
        let Some(new) = matched.new.get(i).copied() else {
            return Ok(false);
        };
        let was_there = Matched::at(&matched.base_of_new, i).is_some() || self.was_element(&new)?;
        if matched.path.is_some() && was_there || !(new.has_code || self.merges) {
            return Ok(false);
        }
        let is_told =
            matched.path.is_some() && matched.is_whole && matched.doubtful.get(i) == Some(&false);
        let is_row = matched.path.is_some() && new.entry.new_val.is_table();
        if !is_told && (new.has_code || is_row) {
            self.not_added(pair.site, &new, matched.path.is_some())?;
        }
        Ok(is_told)
    }

    /// Does a running element that the file's list lacks go from it?
    fn is_gone(&mut self, list: SiteId, matched: &Matched, i: usize) -> Result<bool> {
        let (Some(old), Some(base)) = (
            matched.old.get(i).copied(),
            Matched::at(&matched.base_of_old, i),
        ) else {
            return Ok(false);
        };
        // The file may have changed it: nothing tells.
        let may_be = |new: usize| {
            matched.doubtful.get(new) == Some(&true)
                && (matched.new.get(new)).is_some_and(|new| new.entry.new_val.kind == old.val.kind)
        };
        if (0..matched.new.len()).any(may_be) {
            return Ok(false);
        }
        if let Some(f1) = old.f1 {
            // A reference: the file has the function elsewhere.
            let function = self.out.old.get(f1 as usize);
            return Ok(function.is_some_and(|old| !old.answers.is_empty()));
        }
        if old.val.is_table() && self.has_partner(old.val.addr) {
            return Ok(self.merges || self.has_own_function(old.value, Ref::NIL)?);
        }
        let Some(place) = matched.place(self.vm, base) else {
            return Ok(false);
        };
        // What the last load has put into a row besides its data is no change of it.
        let is_gone = self.merges
            && if old.val.is_table() {
                self.is_data_as_loaded(place, old.value)?
            } else {
                self.is_as_loaded(place, old.value)?
            };
        if self.merges && !is_gone && old.val.is_table() {
            let site = self.element_site(list, old.index)?;
            let path = self.out.sites.path(self.vm, &self.context.title, site);
            self.out.warnings.try_push(format!(
                "{path}: the file has the row no longer, and the program has changed it, so it \
                 stays; remove it in __hotfix"
            ))?;
        }
        Ok(is_gone)
    }

    /// In the file's order, as nobody else has touched the list.
    fn as_the_file(
        &self,
        matched: &Matched,
        added: &[bool],
        stays: &[bool],
        result: &mut Vec<Stands>,
    ) -> Result<()> {
        // What only the running version has goes behind what stands before it.
        let mut behind: Vec<(usize, usize)> = Vec::new();
        let mut last = 0;
        for old in 0..matched.old.len() {
            match Matched::at(&matched.of_old, old) {
                Some(_) => last = old + 1,
                None if stays.get(old) == Some(&true) => behind.try_push((last, old))?,
                None => {}
            }
        }
        let rest = |last: usize, result: &mut Vec<Stands>| {
            let start = behind.partition_point(|(after, _)| *after < last);
            let here = behind.get(start..).unwrap_or_default();
            here.iter()
                .take_while(|(after, _)| *after == last)
                .try_for_each(|(_, old)| result.try_push(Stands::Running(*old)))
        };
        rest(0, result)?;
        for (new, added) in added.iter().enumerate() {
            match Matched::at(&matched.of_new, new) {
                Some(old) => {
                    result.try_push(Stands::Running(old))?;
                    rest(old + 1, result)?;
                }
                None if *added => result.try_push(Stands::Written(new))?,
                None => {}
            }
        }
        Ok(())
    }

    /// In the running order: what the file has inserted stands behind what it has before it, or
    /// before what it has behind it.
    fn as_it_runs(
        &self,
        matched: &Matched,
        added: &[bool],
        stays: &[bool],
        result: &mut Vec<Stands>,
    ) -> Result<()> {
        let stands = |new: usize| {
            Matched::at(&matched.of_new, new).filter(|old| stays.get(*old) == Some(&true))
        };
        // By the place in the running list. Each element has three numbers: what comes before it,
        // itself, and what comes behind it.
        let end = 3 * matched.old.len();
        let mut places: Vec<(usize, Stands)> = Vec::new();
        let mut next = none(matched.new.len() + 1, None)?;
        for new in (0..matched.new.len()).rev() {
            let place = stands(new).or(Matched::at(&next, new + 1));
            if let Some(slot) = next.get_mut(new) {
                *slot = place;
            }
        }
        let mut last = None;
        for (new, added) in added.iter().enumerate() {
            last = stands(new).or(last);
            if *added {
                let place = match (last, Matched::at(&next, new)) {
                    (Some(old), _) => 3 * old + 2,
                    (None, Some(old)) => 3 * old,
                    (None, None) => end,
                };
                places.try_push((place, Stands::Written(new)))?;
            }
        }
        for old in 0..matched.old.len() {
            if stays.get(old) == Some(&true) {
                places.try_push((3 * old + 1, Stands::Running(old)))?;
            }
        }
        places.sort_by_key(|(place, _)| *place);
        result.try_reserve(places.len())?;
        result.extend(places.into_iter().map(|(_, stands)| stands));
        Ok(())
    }

    /// In which order the record has the file's elements: its own, or, where `"keep"` has left the
    /// list alone that only the file has changed, that of the last load, so that a later `"merge"`
    /// brings the file's. What is new follows what it stands behind.
    fn recorded_order(&self, matched: &Matched) -> Result<Vec<usize>> {
        let mut order = collected((0..matched.new.len()).map(Ok))?;
        let stays = !self.replace_data && !self.merges && !matched.has_code();
        if stays && matched.is_as_last_load() {
            let (mut keys, mut last) = (Vec::new(), None);
            for (new, base) in matched.base_of_new.iter().enumerate() {
                last = base.or(last);
                keys.try_push((last, if base.is_some() { 0 } else { new + 1 }))?;
            }
            order.sort_by_key(|new| keys.get(*new).copied());
        }
        Ok(order)
    }

    /// Notes where the record has each element of the list.
    fn note_places(
        &mut self,
        pair: &TablePair,
        matched: &Matched,
        result: &[Stands],
        stays: &[bool],
    ) -> Result<()> {
        let added = matched.added(result)?;
        // Nobody knows what the list held: what does not run is on record, and stays away.
        let is_unsure = matched.path.is_none() && !self.out.base.is_known();
        let mut list = RecordedList::default();
        let mut running: FxHashMap<usize, Ref> = FxHashMap::default();
        for (old, base) in matched.old.iter().zip(&matched.base_of_old) {
            if let Some(base) = base.filter(|base| stays.get(*base) == Some(&true)) {
                running.try_insert_value(base, old.value)?;
            }
        }
        let (mut next, mut behind) = (0, 0);
        let mut keep_up_to = |list: &mut RecordedList, next: &mut i64, end: usize| {
            for base in behind..end {
                let place = matched
                    .place(self.vm, base)
                    .filter(|_| stays.get(base) == Some(&true));
                let held = place.and_then(|place| Some((place, self.out.base.get(place)?)));
                let old = running.get(&base).copied().unwrap_or_default();
                // A row that stays with `"merge"` is the program's by now.
                let is_programs = self.merges && self.vm.val(old).is_table();
                if let Some((known, held)) = held.filter(|_| !is_programs) {
                    *next += 1;
                    list.stays.try_push(StayingElement {
                        index: *next,
                        held,
                        known,
                        old,
                    })?;
                }
            }
            behind = behind.max(end);
            Ok::<_, Error>(())
        };
        list.elements.try_reserve_exact(matched.new.len())?;
        list.elements
            .resize(matched.new.len(), RecordedElement::default());
        for new in self.recorded_order(matched)? {
            let added = added.get(new) == Some(&true);
            let of_new = Matched::at(&matched.of_new, new);
            let base = of_new.and_then(|old| Matched::at(&matched.base_of_old, old));
            let base_of_new = Matched::at(&matched.base_of_new, new);
            let function = matched.new.get(new).and_then(|new| new.f2);
            if let (false, None, Some(f2)) = (added, of_new, function) {
                self.out.left_out.try_insert_value(f2, ())?;
            }
            // Plain data that "keep" does not take is new to a later "merge" as well.
            let counts = matched
                .new
                .get(new)
                .is_some_and(|new| self.merges || new.has_code);
            let is_doubtful = counts && matched.doubtful.get(new) == Some(&true);
            let is_known =
                is_unsure || added || of_new.is_some() || base_of_new.is_some() || is_doubtful;
            keep_up_to(&mut list, &mut next, base_of_new.unwrap_or(0))?;
            next += i64::from(is_known);
            let element = RecordedElement {
                index: is_known.then_some(next),
                known: base.and_then(|base| matched.place(self.vm, base)),
                old: of_new
                    .and_then(|old| matched.old.get(old))
                    .map_or(Ref::NIL, |old| old.value),
            };
            if let Some(place) = list.elements.get_mut(new) {
                *place = element;
            }
        }
        keep_up_to(&mut list, &mut next, matched.base.len())?;
        let address = self.vm.val(pair.new).addr;
        self.out.recorded.try_insert_value(address, list)?;
        Ok(())
    }

    /// Notes a list whose plain elements the file has edited, which stay as they run.
    fn note_list_that_differs(
        &mut self,
        pair: &TablePair,
        matched: &Matched,
        stays: &[bool],
        added: &[bool],
    ) -> Result<()> {
        if matched.path.is_none() {
            let lacks = |new: usize| {
                let is_plain = (matched.new.get(new)).is_some_and(|new| !new.has_code);
                is_plain
                    && Matched::at(&matched.of_new, new).is_none()
                    && added.get(new) == Some(&false)
            };
            self.unrecorded_lists += usize::from((0..matched.new.len()).any(lacks));
            return Ok(());
        }
        if self.merges || self.replace_data {
            return Ok(());
        }
        let (mut differs, mut last) = (false, None);
        for (new, written) in matched.new.iter().enumerate() {
            let of_new = Matched::at(&matched.of_new, new);
            if is_scalar(written.entry.new_val)
                && let before @ Some(_) = Matched::at(&matched.base_of_new, new)
            {
                differs |= before < last; // the file has another order
                last = before;
            }
            differs |= match of_new.and_then(|old| Some((old, matched.old.get(old)?))) {
                Some((old, running)) => {
                    let base = Matched::at(&matched.base_of_old, old);
                    let place = base.and_then(|base| matched.place(self.vm, base));
                    let file = self.vm.digest(written.entry.new);
                    is_scalar(written.entry.new_val)
                        && is_scalar(running.val)
                        && !self.vm.same(running.value, written.entry.new)
                        && place.is_some_and(|place| !self.out.base.had(place, file))
                }
                None => {
                    let is_new = Matched::at(&matched.base_of_new, new).is_none();
                    is_new && !written.has_code && added.get(new) != Some(&true)
                }
            };
        }
        let is_plain = |(stays, base): (&bool, &Element)| *stays && base.kind != FUNCTION;
        differs |= stays.iter().zip(&matched.base).any(is_plain);
        if differs {
            self.out.differing.try_push(Differing {
                site: pair.site,
                running: pair.old,
                file: pair.new,
            })?;
        }
        Ok(())
    }

    /// Plans what is written into the running list.
    fn place_elements(
        &mut self,
        pair: &TablePair,
        matched: &Matched,
        result: &[Stands],
    ) -> Result<()> {
        let mut running = matched.old.iter().peekable();
        let mut indices: Each<i64> = Each::new();
        if matched.is_whole || self.replace_data {
            for index in 1..=result.len() as i64 {
                indices.try_push(index)?;
            }
        } else {
            for old in &matched.old {
                indices.try_push(old.index)?;
            }
        }
        for (index, stands) in indices.into_iter().zip(result) {
            let key = self.vm.number(index)?;
            while running.next_if(|old| old.index < index).is_some() {}
            let here = running
                .next_if(|old| old.index == index)
                .map_or(Ref::NIL, |old| old.value);
            self.place_element(pair, matched, *stands, (index, key), here)?;
        }
        let end = result.len() as i64;
        if matched.is_whole || self.replace_data {
            for old in matched.old.iter().filter(|old| old.index > end) {
                let key = self.vm.number(old.index)?;
                self.push_slot(pair, key, Ref::NIL, old.value, Action::Remove)?;
            }
        }
        Ok(())
    }

    fn push_slot(
        &mut self,
        pair: &TablePair,
        key: Ref,
        new: Ref,
        old: Ref,
        action: Action,
    ) -> Result<()> {
        self.out.slots.try_push(pair.slot(key, new, old, action))
    }

    fn place_element(
        &mut self,
        pair: &TablePair,
        matched: &Matched,
        stands: Stands,
        (index, key): (i64, Ref),
        here: Ref,
    ) -> Result<()> {
        let old = match stands {
            Stands::Written(new) => {
                let Some(new) = matched.new.get(new).copied() else {
                    return Ok(());
                };
                if new.entry.new_val.is_table() && new.entry.order.is_some() {
                    let site = self.out.sites.key(pair.site, key)?;
                    self.scan_queue.try_push((new.entry.new, site))?;
                }
                let is_data = !new.entry.new_val.is_function() && here != Ref::NIL;
                let action = if is_data {
                    Action::ReplaceData
                } else {
                    Action::Add
                };
                return self.push_slot(pair, key, new.entry.new, here, action);
            }
            Stands::Running(old) => old,
        };
        let Some(running) = matched.old.get(old).copied() else {
            return Ok(());
        };
        let new = Matched::at(&matched.of_old, old)
            .and_then(|new| matched.new.get(new))
            .copied();
        let Some(new) = new else {
            return if running.index != index {
                self.push_slot(pair, key, running.value, here, Action::Place)
            } else if running.val.is_function() && self.is_own_function(running.value)? {
                self.push_slot(pair, key, Ref::NIL, running.value, Action::Follow)
            } else {
                Ok(())
            };
        };
        if is_scalar(new.entry.new_val) && is_scalar(running.val) {
            let follows = match self.replace_data {
                true => true,
                false => {
                    let base = Matched::at(&matched.base_of_old, old);
                    let place = base.and_then(|base| matched.place(self.vm, base));
                    let digest = self.vm.digest(running.value);
                    self.merges && place.is_some_and(|place| self.out.base.had(place, digest))
                }
            };
            let value = if follows {
                new.entry.new
            } else {
                running.value
            };
            let action = match (self.vm.same(value, here), running.index == index) {
                (true, _) => Action::Keep,
                (false, true) => Action::ReplaceData,
                (false, false) => Action::Place,
            };
            // Without a record, what stays is counted by what the file says there.
            let value = match action {
                Action::Keep if !self.out.base.is_known() => new.entry.new,
                _ => value,
            };
            return self.push_slot(pair, key, value, here, action);
        }
        if running.index != index {
            let value = match (running.f1, new.f2) {
                (Some(_), Some(_)) => new.entry.new,
                _ => running.value,
            };
            return self.push_slot(pair, key, value, here, Action::Place);
        }
        let entry = self.entry_pair(key, new.entry.new, running.value);
        let action = self.classify_slot(&entry)?;
        self.push_slot(pair, key, new.entry.new, running.value, action)?;
        if let Some(slot) = self.out.slots.last().copied() {
            self.note_external(&slot, &entry)?;
        }
        Ok(())
    }

    /// R5.12: an element with functions is not added; the report warns.
    fn not_added(&mut self, list: SiteId, new: &IncomingElement, is_known: bool) -> Result<()> {
        let path = self.out.sites.path(self.vm, &self.context.title, list);
        let index = self.vm.integer(new.entry.key).unwrap_or_default();
        let what = new.what();
        let why = match is_known {
            true => "nothing tells it from those that the list had: give it a name in the file",
            false => "there is no record of what the list was loaded with: add it in __hotfix",
        };
        self.out.warnings.try_push(format!(
            "{path}[{index}]: a new {what} that the running list lacks was not added; {why} (R5.12)"
        ))
    }
}
