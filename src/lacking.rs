//! Which functions of A1 stood in the module and are not in the file any more (R5.2).
//!
//! A sweep over the VM must know them, wherever they stand by then: they stay, while closures of old factories follow (R9.3). What a
//! reload has placed it numbers; at a first reload all functions are of one generation, and it shows which of them another one made.

use std::cmp::Reverse;

use rustc_hash::FxHashSet;

use crate::error::Result;
use crate::mem::{TryInsert, TryPush};
use crate::nested::tree_of;
use crate::pair::Function1;
use crate::raw::vm::Vm;

/// Where a function begins and ends; the longest of those that begin on one line comes first.
type Lines = (usize, i32, Reverse<i32>);

fn lines(function: &Function1) -> Lines {
    (function.info.source, function.info.line, Reverse(function.info.last))
}

/// The numbers of such functions.
///
/// # Errors
/// [`crate::error::Error::Memory`].
pub fn lacking(vm: &mut Vm, old: &[Function1]) -> Result<Vec<usize>> {
    let mut lacking = Vec::new();
    if old.iter().any(|old| old.lineage.is_some()) {
        return Ok(lacking);
    }
    let code = |old: &Function1| old.profile.map(|profile| profile.digest);
    let mut outer = Vec::new();
    outer.try_reserve_exact(old.len())?;
    outer.extend(
        old.iter()
            .filter(|old| old.home)
            .map(|old| (lines(old), code(old), false)),
    );
    outer.sort_unstable();
    // Those that are in no other one; and whether another one has the very lines.
    outer.dedup_by(|inner, outer| {
        outer.2 |= inner.0 == outer.0 && inner.1 != outer.1;
        inner.0.0 == outer.0.0 && inner.0.2.0 <= outer.0.2.0
    });
    let place = |old: &Function1| {
        let found = outer.binary_search_by_key(&lines(old), |(lines, ..)| *lines);
        found.ok().and_then(|i| outer.get(i)).map(|(.., shared)| *shared)
    };
    let mut nested = None;
    for (number, function) in old.iter().enumerate() {
        let Some(shared) = place(function).filter(|_| function.home && function.answers.is_empty()) else {
            continue;
        };
        if shared {
            let nested = match &mut nested {
                Some(nested) => nested,
                None => nested.insert(nested_in(vm, old.iter().filter(|old| place(old) == Some(true)))?),
            };
            let exact = tree_of(vm, function.at)?.and_then(|tree| Some(tree.get(0)?.exact));
            if exact.is_none_or(|exact| nested.contains(&exact)) {
                continue;
            }
        }
        lacking.try_push(number)?;
    }
    Ok(lacking)
}

/// What is nested in some functions.
fn nested_in<'a>(vm: &mut Vm, functions: impl Iterator<Item = &'a Function1>) -> Result<FxHashSet<u64>> {
    let (mut nested, mut seen) = (FxHashSet::default(), FxHashSet::default());
    for function in functions {
        let code = (lines(function), function.profile.map(|profile| profile.digest));
        if seen.try_insert_value(code, ())?.is_some() {
            continue;
        }
        let Some(tree) = tree_of(vm, function.at)? else {
            continue;
        };
        for inner in (1..tree.len()).filter_map(|number| tree.get(number)) {
            nested.try_insert_value(inner.exact, ())?;
        }
    }
    Ok(nested)
}
