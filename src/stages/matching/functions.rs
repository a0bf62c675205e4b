//! The functions of both sides, and which answers to which.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::cells::{Name, NamedUpvalue, Upvalues};
use super::{Edge, Pairer, incoming_graph};
use crate::code::{Profile, UpvalueSet};
use crate::lua::vm::{Info, Ref};
use crate::model::lineage::Lineage;
use crate::model::objects::DenseMap;
use crate::model::objects::RunningFunction;
use crate::model::site::SiteId;
use crate::support::error::{Error, Result};
use crate::support::mem::{TryInsert, TryPush, sort_by_number};

/// Numbers of functions: nearly always one.
pub type Few = SmallVec<[u32; 2]>;

/// A Lua running function.
#[derive(Clone, Debug)]
pub struct Function1 {
    /// The function.
    pub at: Ref,
    /// Where it was met first.
    pub site: SiteId,
    /// What `lua_getinfo` says.
    pub info: Info,
    /// The module's own.
    pub own: bool,
    /// Its code, perhaps without its lines; none until somebody asks.
    pub profile: Option<Profile>,
    /// Its number in the table of lineages.
    pub lineage: Option<i64>,
    /// The incoming functions that answer to it, the best first.
    pub answers: Few,
    /// Its upvalues; none until its cells are looked at.
    pub upvalues: Upvalues,
    pub(super) looked_at: bool,
    /// The number of its list of cells, if that is known.
    list: Option<u32>,
    /// How many pairs it is in.
    degree: u32,
}

/// A fresh Lua incoming function.
#[derive(Clone, Debug)]
pub struct Function2 {
    /// The function.
    pub at: Ref,
    /// Where it was met first.
    pub site: SiteId,
    /// Its place in the order of creation.
    pub order: u32,
    /// What `lua_getinfo` says.
    pub info: Info,
    /// The module's own.
    pub own: bool,
    /// Its code.
    pub profile: Profile,
    /// The running functions that it answers to.
    pub partners: Few,
    /// The running functions that it was compared with.
    pub(super) compared_with: Few,
    /// Its upvalues.
    pub upvalues: Upvalues,
    /// It stands under a name, too, that the running table lacks.
    pub added: bool,
    /// How many pairs it is in.
    degree: u32,
}

/// The incoming functions that were met, and the pairs that wait.
#[derive(Default)]
pub(super) struct FunctionMatching {
    /// The incoming functions, by their order of creation.
    incoming: DenseMap,
    /// New pairs of functions.
    pairs: Vec<Edge>,
    /// Upvalues of the incoming version (the first of a list) and those of the running version to
    /// which they answer, all of them, by nothing but their names.
    by_name: DenseMap,
}

impl FunctionMatching {
    /// Makes room for so many fresh objects.
    pub(super) fn reserve(&mut self, objects: usize) -> Result<()> {
        self.incoming.reserve(objects)
    }

    /// Do new pairs of functions wait?
    pub(super) fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }
}

impl Pairer<'_> {
    /// Meets a running function; none for a C function. Only of own functions the upvalues are
    /// looked at.
    pub(super) fn function1(&mut self, at: Ref, site: SiteId) -> Result<Option<u32>> {
        let address = self.vm.val(at).addr;
        let known = match self.out.known.number(address) {
            Some(known) => known,
            None => {
                let Some(info) = self.vm.info(at)?.filter(|info| info.lua) else {
                    return Ok(None);
                };
                let own = self.loaded.ownership.owns(self.vm, at, &info)?;
                self.out.known.add((at, address), info, own)?
            }
        };
        if let Some(met) = self.out.met1.get(known) {
            return Ok(Some(met));
        }
        let Some(RunningFunction {
            info,
            own,
            list,
            noted,
            ..
        }) = self.out.known.function(known)
        else {
            return Ok(None);
        };
        let number = self.out.old.len() as u32;
        self.out.met1.set(known, number)?;
        let mut function = Function1 {
            at,
            site,
            info,
            own,
            profile: None,
            lineage: noted,
            answers: Few::new(),
            upvalues: Upvalues::default(),
            looked_at: false,
            list,
            degree: 0,
        };
        if own {
            self.look_at(&mut function)?;
        }
        self.out.old.try_push(function)?;
        Ok(Some(number))
    }

    /// Notes the cells of a running function, and which of them it assigns.
    fn look_at(&mut self, function: &mut Function1) -> Result<()> {
        let (at, site, own) = (function.at, function.site, function.own);
        let list = match function.list {
            Some(list) => list,
            None => {
                let cells = self.vm.cells(at, function.info.upvalues)?;
                self.out.known.lists.number(cells)?.0
            }
        };
        let upvalues = self.cells_of_old(list, at, site, own)?;
        if function.lineage.is_none() {
            function.lineage = self.lineage.number(self.vm, at);
        }
        let noted = function.lineage.and_then(Lineage::profile);
        function.profile = match noted {
            Some(profile) => Some(profile),
            None => self.vm.exact_profile(at)?,
        };
        // Code that cannot be read may assign anything.
        let assigned = function
            .profile
            .map_or(UpvalueSet::ALL, |profile| profile.assigned);
        assigned.each(upvalues.len(), |i| {
            let cell = self.out.cell_number(upvalues, i);
            if let Some(cell) = cell.and_then(|cell| self.out.old_cells.get_mut(cell as usize)) {
                cell.assigned = true;
            }
        });
        function.upvalues = upvalues;
        function.looked_at = true;
        Ok(())
    }

    /// Meets the own function that an own running function has in an upvalue.
    pub(super) fn discover_upvalue(
        &mut self,
        function: Ref,
        index: u8,
        site: SiteId,
    ) -> Result<()> {
        let value = self.vm.upvalue_value(function, index)?;
        if self.out.number1(self.vm.val(value).addr).is_none() {
            let place = self.out.sites.upvalue(site, function, index)?;
            self.function1(value, place)?;
        }
        Ok(())
    }

    /// The number of an incoming function that was met.
    pub(super) fn number2(&self, address: usize) -> Option<u32> {
        self.loaded
            .fresh
            .order(address)
            .and_then(|order| self.functions.incoming.get(order))
    }

    /// Meets an incoming function; none for a C function and one that is not fresh.
    pub(super) fn function2(&mut self, at: Ref, site: SiteId) -> Result<Option<u32>> {
        match self.order_of(self.vm.val(at)) {
            Some(order) => self.function2_of(order, at, site),
            None => Ok(None),
        }
    }

    /// The same for one whose place in the order of creation is known.
    pub(super) fn function2_of(
        &mut self,
        order: u32,
        at: Ref,
        site: SiteId,
    ) -> Result<Option<u32>> {
        if let Some(met) = self.functions.incoming.get(order) {
            return Ok(Some(met));
        }
        let Some(incoming_graph::IncomingFunction {
            info, own, list, ..
        }) = self.graph_node(at, order)?
        else {
            return Ok(None);
        };
        let known = if own {
            let (chunk, met) = (&self.loaded.chunk, &mut self.loaded.met);
            chunk
                .as_ref()
                .and_then(|chunk| chunk.meet(info.line, info.last, met))
        } else {
            None
        };
        let profile = match known {
            Some(profile) => profile,
            None => self.vm.exact_profile(at)?.unwrap_or_default(),
        };
        let number = self.out.new.len() as u32;
        self.functions.incoming.set(order, number)?;
        let upvalues = self.cells_of_new(number, at, list, own)?;
        profile.assigned.each(upvalues.len(), |i| {
            let cell = self.out.cell_number(upvalues, i);
            if let Some(cell) = cell.and_then(|cell| self.out.new_cells.get_mut(cell as usize)) {
                cell.assigned = true;
            }
        });
        self.out.new.try_push(Function2 {
            at,
            site,
            order,
            info,
            own,
            profile,
            partners: Few::new(),
            compared_with: Few::new(),
            upvalues,
            added: false,
            degree: 0,
        })?;
        Ok(Some(number))
    }

    /// Two functions of the same prototype, made by another module's code: closures of one factory.
    pub(super) fn are_twins(&mut self, f1: u32, f2: u32) -> Result<bool> {
        let (Some(old), Some(new)) = (self.out.old.get(f1 as usize), self.out.new.get(f2 as usize))
        else {
            return Ok(false);
        };
        if old.own || new.own {
            return Ok(false);
        }
        let (old, new) = (old.at, new.at);
        self.edits.is_one(self.vm, Some(self.lineage), old, new)
    }

    /// Digests of the names that the file had for running functions to which its own answer,
    /// `source` left out.
    pub(super) fn former_sources(&self, source: u64) -> Result<Vec<u64>> {
        let (mut formers, mut last) = (Vec::new(), None);
        for old in &self.out.old {
            let is_own = |f2: &u32| self.out.new.get(*f2 as usize).is_some_and(|new| new.own);
            if last == Some(old.info.source) || !old.answers.as_slice().iter().any(is_own) {
                continue;
            }
            last = Some(old.info.source);
            let name = self.vm.with_source(old.at, |name| self.vm.digest_of(name));
            if let Some(name) = name.filter(|name| *name != source && !formers.contains(name)) {
                formers.try_push(name)?;
            }
        }
        Ok(formers)
    }

    /// Have neither of two functions that were met a partner?
    pub(super) fn has_no_partners(&self, edge: &Edge) -> bool {
        let (old, new) = (
            self.out.old.get(edge.f1 as usize),
            self.out.new.get(edge.f2 as usize),
        );
        old.is_some_and(|old| old.answers.is_empty())
            && new.is_some_and(|new| new.partners.is_empty())
    }

    /// Notes a new pair of functions.
    pub(super) fn edge(&mut self, edge: Edge) -> Result<()> {
        let Some(new) = self.out.new.get_mut(edge.f2 as usize) else {
            return Ok(());
        };
        if new.compared_with.contains(&edge.f1) {
            return Ok(());
        }
        new.compared_with.try_push(edge.f1)?;
        self.functions.pairs.try_push(edge)
    }

    /// Matches the cells of the new pairs of functions (R4.1). A pair whose sides both have another
    /// partner is an alias that the source changed (`M.b = M.a`): its cells are those of the
    /// others.
    pub(super) fn match_edges(&mut self) -> Result<()> {
        let mut edges = std::mem::take(&mut self.functions.pairs);
        for edge in &edges {
            if let (Some(old), Some(new)) = (
                self.out.old.get_mut(edge.f1 as usize),
                self.out.new.get_mut(edge.f2 as usize),
            ) {
                old.degree += 1;
                new.degree += 1;
            }
        }
        sort_by_number(&mut edges, |edge| {
            self.out
                .new
                .get(edge.f2 as usize)
                .map_or(0, |new| new.order)
        })?;
        let is_alias = |pairing: &super::Pairing, edge: &Edge| {
            pairing
                .old
                .get(edge.f1 as usize)
                .is_some_and(|old| old.degree > 1)
                && pairing
                    .new
                    .get(edge.f2 as usize)
                    .is_some_and(|new| new.degree > 1)
        };
        let mut aliases = Vec::new();
        for edge in edges {
            if is_alias(&self.out, &edge) {
                aliases.try_push(edge)?;
            } else {
                self.settle(edge)?;
            }
        }
        for edge in aliases {
            let new = self.out.new.get(edge.f2 as usize);
            if new.is_some_and(|new| new.partners.is_empty()) {
                self.settle(edge)?;
            } else if let Some(old) = self.out.old.get_mut(edge.f1 as usize) {
                old.answers.try_push(edge.f2)?;
            }
        }
        Ok(())
    }

    /// Of several incoming functions in the places of one of the running version, that one answers
    /// to it in all other places which has no new name besides, and then one with its code: the
    /// others are what the file has put into one of its places.
    pub(super) fn rank_answers(&mut self) -> Result<()> {
        for f1 in 0..self.out.old.len() as u32 {
            let several = |old: &Function1| old.answers.len() > 1;
            if self.out.old.get(f1 as usize).is_some_and(several) {
                self.know_code(f1)?;
            }
        }
        let new = &self.out.new;
        for old in self.out.old.iter_mut().filter(|old| old.answers.len() > 1) {
            let profile = old.profile;
            old.answers.sort_by_key(|f2| {
                let new = new.get(*f2 as usize);
                new.map(|new| (new.added, !new.profile.is_same_code(profile)))
            });
        }
        self.answer_for_generations()
    }

    /// What answers to a function answers to those of earlier loads as well that are of its
    /// definition and lineage. (The program has kept them, or their load was undone.)
    fn answer_for_generations(&mut self) -> Result<()> {
        let known = |old: &Function1| {
            let number = Lineage::number_in(old.lineage.filter(|_| old.own)?)?;
            Some((number, self.identity.running_definition(self.vm, old.at)?))
        };
        let mut unanswered = Vec::new();
        let all = self.out.old.iter().zip(0..);
        for (old, f1) in all.filter(|(old, _)| old.answers.is_empty()) {
            if let Some(one) = known(old) {
                unanswered.try_push((one, f1))?;
            }
        }
        if unanswered.is_empty() {
            return Ok(());
        }
        let mut answers = FxHashMap::default();
        for old in &self.out.old {
            if let (Some(one), Some(answer)) = (known(old), old.answers.first()) {
                answers.try_insert_value(one, *answer)?;
            }
        }
        for (one, f1) in unanswered {
            let answer = answers.get(&one).copied();
            if let (Some(answer), Some(old)) = (answer, self.out.old.get_mut(f1 as usize)) {
                old.answers.try_push(answer)?;
            }
        }
        Ok(())
    }

    /// Makes sure that the whole digest of a function's code is known, where something is decided
    /// by it: the table of lineages has a part of it.
    pub(super) fn know_code(&mut self, f1: u32) -> Result<()> {
        if let Some(old) = self.out.old.get_mut(f1 as usize)
            && old
                .profile
                .is_some_and(|profile| !profile.digest.is_whole())
        {
            old.profile = self.vm.exact_profile(old.at)?;
        }
        Ok(())
    }

    /// A pair that stands: the incoming function is the answer to the running one, and takes its
    /// cells.
    fn settle(&mut self, edge: Edge) -> Result<()> {
        if let (Some(old), Some(new)) = (
            self.out.old.get_mut(edge.f1 as usize),
            self.out.new.get_mut(edge.f2 as usize),
        ) {
            old.answers.try_push(edge.f2)?;
            new.partners.try_push(edge.f1)?;
        }
        self.match_upvalues(edge.f1, edge.f2)
    }

    /// The upvalue of a running function that the function itself knows by this name, whatever
    /// others call its cell (somebody joined cells of different names at run time).
    fn own_name(
        &mut self,
        function: Ref,
        upvalues: Upvalues,
        name: Name,
    ) -> Result<Option<NamedUpvalue>> {
        for number in upvalues.numbers() {
            let upvalue = self.out.upvalue(number);
            if self.name(function, upvalue.index)? == name {
                return Ok(Some(upvalue));
            }
        }
        Ok(None)
    }

    /// The name that an incoming upvalue had in the last load, which is its own nearly always; none
    /// where what had that name is called otherwise by now.
    fn name_before(&self, f2: u32, upvalue: NamedUpvalue) -> Option<Name> {
        let has_name = |function: Ref, text: Ref| {
            self.vm.with_upvalue_name(function, upvalue.index, |name| {
                self.vm.is_string(text, name)
            })
        };
        let Some(function) = self.out.new.get(f2 as usize) else {
            return Some(upvalue.name);
        };
        let given = self.renames.iter();
        if let Some((former, _)) = given.clone().find(|(_, new)| has_name(function.at, *new)) {
            let known = self
                .vm
                .with_bytes(*former, |former| self.names.called(former));
            return known.flatten();
        }
        if let Some(former) = self.identity.former_name(function, upvalue.index) {
            return self.names.called(former);
        }
        let mut given = given;
        let is_another = given.any(|(former, _)| has_name(function.at, *former));
        (!is_another).then_some(upvalue.name)
    }

    /// R4.1: by the names of the cells, and where that fails by the names that the running function
    /// has for them.
    fn match_by_name(
        &mut self,
        old_at: Ref,
        ups1: Upvalues,
        (f2, ups2): (u32, Upvalues),
    ) -> Result<()> {
        // Most functions have the cells of others, whose counterparts have been matched with the
        // same ones.
        if ups2.is_empty() || self.functions.by_name.get(ups2.first()) == Some(ups1.first()) {
            return Ok(());
        }
        let mut settled = !ups1.is_empty();
        let are_named = self.renames.is_empty() && self.identity.renames_nothing();
        for i in ups2.numbers() {
            let new = self.out.upvalue(i);
            let name = match are_named {
                true => new.name,
                false => match self.name_before(f2, new) {
                    Some(name) => name,
                    None => continue,
                },
            };
            let mut olds = self.out.upvalues_of(ups1).iter();
            let found = match olds.find(|old| old.name == name).copied() {
                Some(old) => Some(old),
                None => {
                    settled = false;
                    self.own_name(old_at, ups1, name)?
                }
            };
            if let Some(old) = found
                && !self.is_settled(old.cell, new.cell)
            {
                self.match_cells(old.cell, new.cell)?;
                settled &= self.is_settled(old.cell, new.cell);
            }
        }
        if settled {
            self.functions.by_name.set(ups2.first(), ups1.first())?;
        }
        Ok(())
    }

    /// R4.1, R4.5
    fn match_upvalues(&mut self, f1: u32, f2: u32) -> Result<()> {
        let are_own = matches!(
            (self.out.old.get(f1 as usize), self.out.new.get(f2 as usize)),
            (Some(old), Some(new)) if old.own && new.own || self.are_same(old.at, new.at)
        );
        if !are_own && !self.are_twins(f1, f2)? {
            return Ok(());
        }
        if let Some(mut external) = self
            .out
            .old
            .get(f1 as usize)
            .filter(|old| !old.looked_at)
            .cloned()
        {
            self.look_at(&mut external)?;
            if let Some(old) = self.out.old.get_mut(f1 as usize) {
                *old = external;
            }
        }
        let (Some(old), Some(new)) = (self.out.old.get(f1 as usize), self.out.new.get(f2 as usize))
        else {
            return Ok(());
        };
        let (old_at, ups1, ups2, site) = (old.at, old.upvalues, new.upvalues, new.site);
        let nameless = self.names.has_none()
            && ups1
                .numbers()
                .chain(ups2.numbers())
                .any(|i| self.names.is_none(self.out.upvalue(i).name));
        if !nameless {
            return self.match_by_name(old_at, ups1, (f2, ups2));
        }
        let pairs = || ups1.numbers().zip(ups2.numbers());
        let fits = ups1.len() == ups2.len()
            && pairs().all(|(old, new)| {
                self.is_environment1(self.out.upvalue(old).cell)
                    == self.is_environment2(self.out.upvalue(new).cell)
            });
        if !fits {
            let path = self.out.sites.path(self.vm, &self.context.title, site);
            return Err(Error::Stripped {
                name: self.context.title.clone(),
                path,
            });
        }
        for (old, new) in pairs() {
            self.match_cells(self.out.upvalue(old).cell, self.out.upvalue(new).cell)?;
        }
        Ok(())
    }
}
