//! Which code became which. A closure that a former version of a factory made is one of the same
//! factory all the same: by its code, if it only stood on other lines, else by what is noted here.
//!
//! One string for all modules, in the façade's weak table: pairs of a former code and the latest
//! one, the oldest first. Code is known by a digest, mixed with the name of its file.

use rustc_hash::FxHashMap;

use crate::code::Digest;
use crate::lua::vm::{Ref, Vm};
use crate::lua::write;
use crate::model::lineage::Lineage;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// The most pairs; the oldest go.
const MOST: usize = 4096;
/// So many former codes of one function are remembered, the last ones.
const MOST_FORMER: u32 = 8;
/// The key of the weak table under which they stand.
const KEY: &[u8] = b"edited code";

/// A function's code in the file whose name has this digest ([`Vm::digest_of`]).
pub fn code_in(vm: &Vm, source: u64, code: Digest) -> u64 {
    vm.digest_of_integer((source ^ code.key()).cast_signed())
}

/// The code of a function; none where it cannot be read.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn code_of(vm: &mut Vm, function: Ref) -> Result<Option<u64>> {
    let (Some(profile), Some(source)) = (vm.profile(function)?, vm.source(function)?) else {
        return Ok(None);
    };
    Ok(Some(code_in(vm, vm.digest_of(&source), profile.digest)))
}

/// All pairs.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn all(vm: &mut Vm, lineage: Lineage) -> Result<Vec<(u64, u64)>> {
    let key = vm.string(KEY)?;
    let packed = vm.get(lineage.table, key)?;
    let words = vm.words(packed)?.unwrap_or_default();
    let mut pairs = Vec::new();
    pairs.try_reserve_exact(words.len() / 2)?;
    pairs.extend(
        words
            .as_chunks()
            .0
            .iter()
            .map(|[former, latest]| (*former, *latest)),
    );
    Ok(pairs)
}

/// Notes what an edit made of functions: of each code the one that it is now; none where it is not
/// known, or has become several.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn keep(vm: &mut Vm, lineage: Lineage, edits: &FxHashMap<u64, Option<u64>>) -> Result<()> {
    let is_edit = |former: &u64, latest: &Option<u64>| *latest != Some(*former);
    if !edits.iter().any(|(former, latest)| is_edit(former, latest)) {
        return Ok(());
    }
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    let known = all(vm, lineage)?;
    // An edit that was undone is followed by another one: both have made one function.
    let mut undone: FxHashMap<u64, Option<u64>> = FxHashMap::default();
    for (former, latest) in &known {
        if let Some(other) = edits.get(former)
            && *other != Some(*former)
            && !edits.contains_key(latest)
        {
            undone.try_insert_value(*latest, *other)?;
        }
    }
    for (latest, other) in &undone {
        if let Some(other) = other.filter(|other| other != latest) {
            pairs.try_push((*latest, other))?;
        }
    }
    pairs.sort_unstable();
    for (former, latest) in known {
        // What runs with the code of the last version is no former one.
        let becomes = edits.get(&latest).or_else(|| undone.get(&latest));
        let latest = becomes.copied().unwrap_or(Some(latest));
        if let Some(latest) = latest.filter(|latest| *latest != former)
            && !edits.contains_key(&former)
            && !undone.contains_key(&former)
        {
            pairs.try_push((former, latest))?;
        }
    }
    let first_new = pairs.len();
    for (former, latest) in edits {
        if let Some(latest) = latest.filter(|latest| latest != former) {
            pairs.try_push((*former, latest))?;
        }
    }
    if let Some(new) = pairs.get_mut(first_new..) {
        new.sort_unstable();
    }
    let mut counts: FxHashMap<u64, u32> = FxHashMap::default();
    counts.try_reserve(pairs.len())?;
    pairs.reverse();
    pairs.retain(|(_, latest)| {
        let count = counts.entry(*latest).or_insert(0);
        *count += 1;
        *count <= MOST_FORMER
    });
    pairs.truncate(MOST);
    pairs.reverse();
    let mut words = Vec::new();
    words.try_reserve_exact(2 * pairs.len())?;
    words.extend(pairs.iter().flat_map(|(former, latest)| [*former, *latest]));
    let (key, packed) = (vm.string(KEY)?, vm.packed(&words)?);
    write::fill(vm, lineage.table, key, packed)
}

/// What is noted, for one reload: by each former code the latest one. It is read when it is first
/// needed.
#[derive(Default)]
pub struct KnownEdits {
    latest: Option<FxHashMap<u64, u64>>,
}

impl KnownEdits {
    fn known(&mut self, vm: &mut Vm, lineage: Lineage) -> Result<&FxHashMap<u64, u64>> {
        if self.latest.is_none() {
            let pairs = all(vm, lineage)?;
            let mut latest = FxHashMap::default();
            latest.try_reserve(pairs.len())?;
            latest.extend(pairs);
            self.latest = Some(latest);
        }
        Ok(self.latest.get_or_insert_default())
    }

    /// Are both closures of one function expression, of one version of its file or of two?
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_one(
        &mut self,
        vm: &mut Vm,
        lineage: Option<Lineage>,
        a: Ref,
        b: Ref,
    ) -> Result<bool> {
        let (Some(one), Some(other)) = (vm.info(a)?, vm.info(b)?) else {
            return Ok(false);
        };
        if one == other {
            return Ok(true);
        }
        let may_be = one.lua && other.lua && !one.main && !other.main;
        let is_known = match lineage {
            Some(lineage) => !self.known(vm, lineage)?.is_empty(),
            None => false,
        };
        // Of two files nothing but what is noted tells.
        if !may_be || one.source != other.source && !is_known {
            return Ok(false);
        }
        let (Some(one), Some(other)) = (code_of(vm, a)?, code_of(vm, b)?) else {
            return Ok(false);
        };
        let Some(lineage) = lineage.filter(|_| one != other) else {
            return Ok(one == other);
        };
        let known = self.known(vm, lineage)?;
        let latest = |code: u64| known.get(&code).copied().unwrap_or(code);
        Ok(latest(one) == latest(other))
    }
}
