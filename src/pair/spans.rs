//! Which of A1's functions stand inside others: a closure that one of these made, and not the module's chunk.

use super::{Function1, Pairer};
use crate::error::Result;
use crate::mem::{TryPush, collected};
use crate::raw::vm::Info;

/// The source, the first line, and the furthest last line of the functions that begin on it or before it.
type Span = (usize, i32, i32);

/// The lines of A1's own functions.
#[derive(Default)]
pub(super) struct Spans {
    /// A1's functions up to this one are among them.
    counted: usize,
    /// Sorted lists, the longest first: few, as two of about one length become one.
    runs: Vec<Vec<Span>>,
}

impl Spans {
    /// Adds the functions that were met since the last call.
    fn add(&mut self, functions: &[Function1]) -> Result<()> {
        let new = functions.iter().skip(self.counted).filter(|function| function.home);
        let span = |Info { source, line, last, .. }: Info| (source, line, last);
        let mut run = collected(new.map(|function| Ok(span(function.info))))?;
        self.counted = functions.len();
        if run.is_empty() {
            return Ok(());
        }
        while let Some(shorter) = self.runs.pop_if(|other| other.len() <= run.len()) {
            run.try_reserve(shorter.len())?;
            run.extend(shorter);
        }
        run.sort_unstable();
        let mut before: Option<(usize, i32)> = None;
        for (source, _, last) in &mut run {
            if let Some((_, furthest)) = before.filter(|(other, _)| other == source) {
                *last = furthest.max(*last);
            }
            before = Some((*source, *last));
        }
        self.runs.try_push(run)
    }

    /// The furthest last line of a source's functions that begin on a line or before it.
    fn furthest(&self, source: usize, line: i32) -> Option<i32> {
        let of_run = |run: &Vec<Span>| {
            let behind = run.partition_point(|(other, first, _)| (*other, *first) <= (source, line));
            let (other, _, last) = run.get(behind.checked_sub(1)?)?;
            (*other == source).then_some(*last)
        };
        self.runs.iter().filter_map(of_run).max()
    }
}

impl Pairer<'_> {
    /// Does the function stand inside another one of A1's that is known?
    pub(super) fn is_made_at_run_time(&mut self, f1: u32) -> Result<bool> {
        self.spans.add(&self.out.old)?;
        let Some(Info { source, line, last, .. }) = self.out.old.get(f1 as usize).map(|function| function.info) else {
            return Ok(false);
        };
        let furthest = |line| self.spans.furthest(source, line);
        Ok(furthest(line.saturating_sub(1)) >= Some(last) || furthest(line) > Some(last))
    }

    /// Does a function that was not met stand on lines of one of A1's that was? That one may have made it.
    pub(super) fn may_be_nested(&mut self, inner: &Info) -> Result<bool> {
        self.spans.add(&self.out.old)?;
        Ok(self.spans.furthest(inner.source, inner.line) >= Some(inner.last))
    }
}
