//! Which running functions others of them have made: what stands inside another function was made
//! when that one ran.
//!
//! Lines tell it, and code where several functions stand on the very same lines (`function M.set(n)
//! f = function() return n end end`), or where both may be of different versions of the text.

use std::cmp::Reverse;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::code::Digest;
use crate::lua::vm::{Info, Ref, SourceId, Vm};
use crate::model::lineage::Lineage;
use crate::stages::matching::Function1;
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush, collected};

/// Where a function begins and ends; the longest of those that begin on one line comes first.
type Lines = (SourceId, i32, Reverse<i32>);

/// A function's lines, and a digest of its code; none where that cannot be read.
type FunctionCode = (Lines, Option<Digest>);

fn lines(info: &Info) -> Lines {
    (info.source, info.line, Reverse(info.last))
}

fn code_of(function: &Function1) -> FunctionCode {
    (
        lines(&function.info),
        function.profile.map(|profile| profile.digest),
    )
}

/// Functions that were met one after another.
#[derive(Default)]
struct Run {
    /// Each code once, with a function that has it, sorted.
    codes: Vec<(FunctionCode, Ref)>,
    /// Those that are in no other one, sorted.
    outermost: Vec<Lines>,
}

impl Run {
    fn of(mut codes: Vec<(FunctionCode, Ref)>) -> Result<Run> {
        codes.sort_unstable_by_key(|(code, _)| *code);
        codes.dedup_by_key(|(code, _)| *code);
        let mut outermost = collected(codes.iter().map(|((lines, _), _)| Ok(*lines)))?;
        let is_inside =
            |inner: &mut Lines, outer: &mut Lines| inner.0 == outer.0 && inner.2.0 <= outer.2.0;
        outermost.dedup_by(is_inside);
        Ok(Run { codes, outermost })
    }

    /// The lines of the outermost function around these, which may be these.
    fn around(&self, lines: Lines) -> Option<Lines> {
        let behind = self.outermost.partition_point(|other| *other <= lines);
        let outer = self.outermost.get(behind.checked_sub(1)?)?;
        (outer.0 == lines.0 && lines.2.0 <= outer.2.0).then_some(*outer)
    }

    /// The codes whose lines these are within, the outermost one's first; `outer` has its lines.
    fn around_within(
        &self,
        outer: Lines,
        lines: Lines,
    ) -> impl Iterator<Item = (FunctionCode, Ref)> {
        let start = self.codes.partition_point(|((other, _), _)| *other < outer);
        let rest = self.codes.iter().skip(start);
        rest.take_while(move |((other, _), _)| *other < lines)
            .filter(move |((other, _), _)| lines.2.0 <= other.2.0)
            .copied()
    }

    /// The codes on these very lines.
    fn on(&self, lines: Lines) -> impl Iterator<Item = (FunctionCode, Ref)> {
        let start = self.codes.partition_point(|((other, _), _)| *other < lines);
        let rest = self.codes.iter().skip(start);
        rest.take_while(move |((other, _), _)| *other == lines)
            .copied()
    }
}

/// The module's own running functions, by where they stand.
pub struct Nesting {
    lineage: Lineage,
    /// How many running functions are in the lists.
    met: usize,
    /// The longest first: few, as two of about one length become one.
    runs: Vec<Run>,
    /// Codes whose nested functions are known…
    read: FxHashSet<FunctionCode>,
    /// …and these, exactly.
    nested: FxHashSet<u64>,
    /// What is nested in a code, by digests without lines; none where it cannot be read.
    inside: FxHashMap<FunctionCode, Option<FxHashSet<u64>>>,
}

impl Nesting {
    /// Of no function so far.
    pub fn new(lineage: Lineage) -> Nesting {
        Nesting {
            lineage,
            met: 0,
            runs: Vec::new(),
            read: FxHashSet::default(),
            nested: FxHashSet::default(),
            inside: FxHashMap::default(),
        }
    }

    /// Adds the functions that were met since the last call.
    fn read(&mut self, old: &[Function1]) -> Result<()> {
        let new = old.iter().skip(self.met).filter(|old| old.own);
        let mut codes = collected(new.map(|old| Ok((code_of(old), old.at))))?;
        self.met = old.len();
        if codes.is_empty() {
            return Ok(());
        }
        while let Some(shorter) = self.runs.pop_if(|other| other.codes.len() <= codes.len()) {
            codes.try_reserve(shorter.codes.len())?;
            codes.extend(shorter.codes);
        }
        self.runs.try_push(Run::of(codes)?)
    }

    /// Did one of the running functions `old` make this one of the module's own? `digest` is that
    /// of its code, if it is known.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_nested(
        &mut self,
        vm: &mut Vm,
        old: &[Function1],
        (function, info): (Ref, &Info),
        digest: Option<Digest>,
    ) -> Result<bool> {
        self.read(old)?;
        let lines = lines(info);
        let own = (lines, digest);
        let (mut is_known, mut around) = (false, Vec::new());
        for run in &self.runs {
            let Some(outer) = run.around(lines) else {
                continue;
            };
            if outer == lines {
                is_known = true;
            } else {
                for code in run.around_within(outer, lines) {
                    around.try_push(code)?;
                }
            }
        }
        if !around.is_empty() {
            // What a load has placed may be of another version than what stands around it.
            let is_noted = self.lineage.number(vm, function).is_some();
            return Ok(!is_noted || self.is_in_code(vm, function, around)?);
        }
        let mut on_lines = Vec::new();
        for code in self.runs.iter().flat_map(|run| run.on(lines)) {
            on_lines.try_push(code)?;
        }
        if !is_known || on_lines.iter().all(|(code, _)| *code == own) {
            return Ok(false);
        }
        for (code, at) in on_lines {
            if self.read.try_insert_value(code, ())?.is_none()
                && let Some(tree) = vm.tree_of(at)?
            {
                for inner in (1..tree.len()).filter_map(|number| tree.get(number)) {
                    self.nested.try_insert_value(inner.exact, ())?;
                }
            }
        }
        let exact = vm
            .tree_of(function)?
            .and_then(|tree| Some(tree.get(0)?.exact));
        Ok(exact.is_none_or(|exact| self.nested.contains(&exact)))
    }

    /// Does one of these codes have the function's code in it? True if one cannot be read.
    fn is_in_code(
        &mut self,
        vm: &mut Vm,
        function: Ref,
        around: Vec<(FunctionCode, Ref)>,
    ) -> Result<bool> {
        let tree = vm.tree_of(function)?;
        let Some(digest) = tree.and_then(|tree| Some(tree.get(0)?.digest)) else {
            return Ok(true);
        };
        for (code, at) in around {
            if !self.inside.contains_key(&code) {
                let mut inside = None;
                if let Some(tree) = vm.tree_of(at)? {
                    let nested = (1..tree.len()).filter_map(|number| tree.get(number));
                    let known = inside.insert(FxHashSet::default());
                    for nested in nested {
                        known.try_insert_value(nested.digest, ())?;
                    }
                }
                self.inside.try_insert_value(code, inside)?;
            }
            let inside = self.inside.get(&code).and_then(Option::as_ref);
            if inside.is_none_or(|inside| inside.contains(&digest)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same for one of `old`.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn is_made_by_another(
        &mut self,
        vm: &mut Vm,
        old: &[Function1],
        function: &Function1,
    ) -> Result<bool> {
        let (_, digest) = code_of(function);
        self.is_nested(vm, old, (function.at, &function.info), digest)
    }

    /// The numbers of the running functions that stood in the module and are not in the file any
    /// more (R5.2).
    ///
    /// A sweep over the VM must know them, wherever they stand by then: they stay, while closures
    /// of old factories follow (R9.3). What a reload has placed it numbers; at a first reload
    /// all functions are of one generation, and it shows which of them another one made.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    pub fn not_in_the_file(&mut self, vm: &mut Vm, old: &[Function1]) -> Result<Vec<usize>> {
        let mut dropped = Vec::new();
        if old.iter().any(|old| old.lineage.is_some()) {
            return Ok(dropped);
        }
        for (number, function) in old.iter().enumerate() {
            if function.own
                && function.answers.is_empty()
                && !self.is_made_by_another(vm, old, function)?
            {
                dropped.try_push(number)?;
            }
        }
        Ok(dropped)
    }
}
