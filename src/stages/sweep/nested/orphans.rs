//! Closures of which nothing known tells the factory: it is gone, or of a generation that is.
//!
//! They are compared with all incoming functions chunk. The same code is an answer wherever it
//! stands, if there is enough of it; else what is much more like one function than like any other,
//! when that one answers to nothing else.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::align::{BestCandidate, COMPARISONS, FITS, LIKE};
use super::forest::Id;
use super::{Link, Nested, StaleReason};
use crate::code::tree::Tree;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// How much more alike two functions must be of which nothing else is known.
const ORPHAN: u32 = 100;
impl Nested {
    /// Finds answers for closures whose factory is gone, or gives some of them up.
    pub(super) fn adopt(&mut self, orphans: &[(u64, u32, Id)]) -> Result<()> {
        // What is nested in another one waits for that one.
        let mut inner: FxHashSet<u64> = FxHashSet::default();
        for (_, _, id) in orphans {
            let mut list = self.old.children(*id)?;
            while let Some(child) = list.pop() {
                inner.try_insert_value(self.old.exact(child), ())?;
                for child in self.old.children(child)? {
                    list.try_push(child)?;
                }
            }
        }
        let mut tops = Vec::new();
        for (exact, _, id) in orphans {
            if !inner.contains(exact) {
                tops.try_push(*id)?;
            }
        }
        let mut found = self.same_code(&tops)?;
        if found.is_empty() {
            found = self.alike(&tops)?;
        }
        if found.is_empty() {
            for id in tops {
                self.leave_unmatched(id, StaleReason::Gone)?;
            }
            return Ok(());
        }
        for (old, new) in found {
            self.link_outer(old, new)?;
        }
        self.align()
    }

    /// All incoming functions chunk but the main function.
    fn candidates(&self) -> Result<Vec<Id>> {
        let count = self.new.tree(0).map_or(0, Tree::len);
        let mut candidates = Vec::new();
        candidates.try_reserve_exact(count as usize)?;
        candidates.extend((1..count).map(|function| Id { tree: 0, function }));
        Ok(candidates)
    }

    /// Does an incoming function main chunk stand where one of the running main chunk would, that
    /// began on this line?
    fn fits(&self, old: Id, new: Id) -> bool {
        let line = self.old.get(old).map_or(0, |function| function.line);
        let split = self.anchors.partition_point(|(anchor, _)| *anchor < line);
        let before = split.checked_sub(1).and_then(|i| self.anchors.get(i));
        let after = self.anchors.get(split);
        self.new.parent(new) == Some(self.main())
            && before.is_none_or(|(_, function)| *function < new.function)
            && after.is_none_or(|(_, function)| new.function < *function)
    }

    /// What answers to a function that an earlier generation of its factory made: what answers to
    /// that one of the running functions which has its code, if there is one only. Of what stands
    /// in a running function itself, more is known than that.
    pub(super) fn earlier_generation(&mut self, id: Id) -> Result<Option<Link>> {
        let mut places = self.old.find(self.old.exact(id)).iter();
        if places.any(|id| id.tree < self.running && id.function != 0) {
            return Ok(None);
        }
        let codes = match self.codes.take() {
            Some(codes) => codes,
            None => self.codes()?,
        };
        let features = self.features(&self.old, &[id])?;
        let told = features.first().filter(|features| !features.is_plain());
        let link = told.and_then(|features| codes.get(&features.digest).copied().flatten());
        self.codes = Some(codes);
        Ok(link)
    }

    /// The links of the running functions, by their code; none where two have one.
    fn codes(&self) -> Result<FxHashMap<u64, Option<Link>>> {
        let mut codes: FxHashMap<u64, Option<Link>> = FxHashMap::default();
        for link in self.links.values() {
            let Link::To { old, .. } = link else { continue };
            let digest = self.old.get(*old).map_or(0, |function| function.digest);
            let only = (!codes.contains_key(&digest)).then_some(*link);
            codes.try_insert_value(digest, only)?;
        }
        Ok(codes)
    }

    /// Orphans whose code the incoming version has unchanged, in one place.
    fn same_code(&self, orphans: &[Id]) -> Result<Vec<(Id, Id)>> {
        let candidates = self.candidates()?;
        let mut by_code: FxHashMap<u64, SmallVec<[Id; 1]>> = FxHashMap::default();
        by_code.try_reserve(candidates.len())?;
        for id in candidates {
            let digest = self.new.get(id).map_or(0, |function| function.digest);
            match by_code.get_mut(&digest) {
                Some(ids) => ids.try_push(id)?,
                None => {
                    by_code.try_insert_value(digest, SmallVec::from_buf([id]))?;
                }
            }
        }
        let mut found = Vec::new();
        for (old, features) in orphans.iter().zip(self.features(&self.old, orphans)?) {
            let Some(ids) = by_code
                .get(&features.digest)
                .filter(|_| !features.is_plain())
            else {
                continue;
            };
            let only = |filter: &dyn Fn(Id) -> bool| {
                let mut fitting = ids.iter().copied().filter(|id| filter(*id));
                fitting.next().filter(|_| fitting.next().is_none())
            };
            let free = |id: Id| !self.answered.contains(&id);
            let place = only(&|id| free(id) && self.fits(*old, id))
                .filter(|_| ids.iter().filter(|id| free(**id)).count() > 1)
                .or_else(|| only(&free))
                .or_else(|| only(&|_| true));
            if let Some(new) = place {
                found.try_push((*old, new))?;
            }
        }
        Ok(found)
    }

    /// Orphans that are like one incoming function and no other, and that one like no other orphan.
    fn alike(&self, orphans: &[Id]) -> Result<Vec<(Id, Id)>> {
        let candidates = self.candidates()?;
        let mut found = Vec::new();
        if orphans.len().saturating_mul(candidates.len()) > 20 * COMPARISONS {
            return Ok(found);
        }
        let (olds, news) = (
            self.features(&self.old, orphans)?,
            self.features(&self.new, &candidates)?,
        );
        let mut best_of_new = Vec::new();
        best_of_new.try_reserve_exact(news.len())?;
        best_of_new.resize(news.len(), BestCandidate::default());
        let mut best_of_old = Vec::new();
        for ((i, old), id) in olds.iter().enumerate().zip(orphans) {
            let mut best = BestCandidate::default();
            for ((j, new), candidate) in news.iter().enumerate().zip(&candidates) {
                let likeness = old.likeness(new);
                let fits = if self.fits(*id, *candidate) { FITS } else { 0 };
                if !likeness.telling || likeness.score < LIKE {
                    continue;
                }
                let score = (likeness.score + fits).saturating_sub(ORPHAN);
                best.add(score, j);
                if let Some(best) = best_of_new.get_mut(j) {
                    best.add(score, i);
                }
            }
            best_of_old.try_push(best)?;
        }
        for (i, (best, old)) in best_of_old.iter().zip(orphans).enumerate() {
            let Some(j) = best.get() else { continue };
            let mutual = best_of_new.get(j).is_some_and(|best| best.is(i));
            let free = candidates
                .get(j)
                .copied()
                .filter(|id| !self.answered.contains(id));
            if let Some(new) = free.filter(|_| mutual) {
                found.try_push((*old, new))?;
            }
        }
        Ok(found)
    }
}
