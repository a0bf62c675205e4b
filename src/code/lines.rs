//! The functions of a chunk by the lines on which each begins and ends: what is known of the one
//! that stands there.

use super::{Digest, Profile};
use crate::support::error::Result;
use crate::support::mem::copied;

/// Functions by their lines.
#[derive(Default)]
#[cfg_attr(test, derive(PartialEq))]
pub struct ByLines {
    /// Sorted by lines once all are there; each pair of lines once.
    functions: Vec<OnLines>,
}

/// Which functions were met.
#[derive(Default)]
pub struct MetFunctions {
    /// A bit for each.
    words: Vec<u64>,
    /// Where the next one is asked for, most likely: they are met in the order of their lines.
    next: usize,
}

impl MetFunctions {
    fn has(&self, at: usize) -> bool {
        let word = self.words.get(at / 64);
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

#[derive(Clone, Copy, PartialEq)]
struct OnLines {
    lines: (i32, i32),
    /// None where several functions stand on these lines.
    profile: Option<Profile>,
}

impl ByLines {
    /// Makes room for so many.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        Ok(self.functions.try_reserve(count)?)
    }

    /// One more function, which comes before those in it: so they are nearly sorted. Its profile is
    /// to follow, and [`ByLines::sort`]. Returns its number until then.
    #[inline(always)]
    pub fn push(&mut self, lines: (i32, i32)) -> Result<u32> {
        let number = self.functions.len() as u32;
        if self.functions.len() == self.functions.capacity() {
            self.functions.try_reserve(1)?;
        }
        self.functions.push(OnLines {
            lines,
            profile: None,
        });
        Ok(number)
    }

    /// The profile of a function.
    pub fn set_profile(&mut self, number: u32, profile: Profile) {
        if let Some(function) = self.functions.get_mut(number as usize) {
            function.profile = Some(profile);
        }
    }

    /// All functions are there.
    pub fn sort(&mut self) {
        let is_before = |a: &OnLines, b: &OnLines| a.lines < b.lines;
        if self.functions.is_sorted_by(is_before) {
            return; // and none is the twin of another one
        }
        self.functions
            .sort_unstable_by_key(|function| function.lines);
        self.functions.dedup_by(|twin, first| {
            let is_twin = twin.lines == first.lines;
            if is_twin {
                first.profile = None;
            }
            is_twin
        });
    }

    /// The functions of a chunk in which one was edited: it and all within it were the `old` ones
    /// and are the `new` ones. None where others share lines with it.
    pub fn edited(&self, old: &ByLines, new: &ByLines) -> Result<Option<ByLines>> {
        let span = |of: &ByLines| {
            let last = of.functions.iter().map(|one| one.lines.1).max();
            of.functions.first().map(|first| first.lines.0).zip(last)
        };
        let Some((first, last)) = span(old).filter(|lines| span(new) == Some(*lines)) else {
            return Ok(None);
        };
        let start = self.functions.partition_point(|one| one.lines.0 < first);
        let end = self.functions.partition_point(|one| one.lines.0 <= last);
        let (before, rest) = self.functions.split_at(start);
        let (was, after) = rest.split_at_checked(end - start).unwrap_or_default();
        if was != old.functions {
            return Ok(None);
        }
        let mut functions = Vec::new();
        functions.try_reserve_exact(before.len() + new.functions.len() + after.len())?;
        for part in [before, &new.functions, after] {
            functions.extend_from_slice(part);
        }
        Ok(Some(ByLines { functions }))
    }

    /// The functions of a chunk in which some have other code. They come in the order of their
    /// lines, nearly, each with its digest and the exact one.
    pub fn with_code(
        &self,
        changed: impl Iterator<Item = ((i32, i32), (Digest, u64))>,
    ) -> Result<ByLines> {
        let mut out = ByLines {
            functions: copied(&self.functions)?,
        };
        let mut next = 0;
        for (lines, code) in changed {
            let is_next = |function: &OnLines| function.lines == lines;
            let at = match out.functions.get(next).is_some_and(is_next) {
                true => Some(next),
                false => self.position(lines),
            };
            if let Some(at) = at
                && let Some(function) = out.functions.get_mut(at)
            {
                next = at + 1;
                if let Some(profile) = &mut function.profile {
                    (profile.digest, profile.exact) = code;
                }
            }
        }
        Ok(out)
    }

    /// The profiles that are known.
    pub fn profiles(&self) -> impl Iterator<Item = Profile> {
        self.functions
            .iter()
            .filter_map(|function| function.profile)
    }

    /// How many pairs of lines there are.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    fn position(&self, lines: (i32, i32)) -> Option<usize> {
        self.functions
            .binary_search_by_key(&lines, |function| function.lines)
            .ok()
    }

    /// Does any function stand on these lines? If it is one alone: its profile.
    pub fn get(&self, lines: (i32, i32)) -> Option<Option<Profile>> {
        let at = self.position(lines)?;
        self.functions.get(at).map(|function| function.profile)
    }

    /// Room to note which ones are met, none yet.
    pub fn unmet(&self) -> Result<MetFunctions> {
        let count = self.functions.len() / 64 + 1;
        let mut words = Vec::new();
        words.try_reserve_exact(count)?;
        words.resize(count, 0);
        Ok(MetFunctions { words, next: 0 })
    }

    /// The profile of the one function on these lines, which counts as met from now on.
    pub fn meet(&self, lines: (i32, i32), met: &mut MetFunctions) -> Option<Profile> {
        let next = self.functions.get(met.next);
        let at = match next.is_some_and(|function| function.lines == lines) {
            true => met.next,
            false => self.position(lines)?,
        };
        met.next = at + 1;
        if let Some(word) = met.words.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        self.functions.get(at)?.profile
    }

    /// Is there one alone on each of these lines, which are sorted, and was it met?
    pub fn are_met(&self, lines: &[(i32, i32)], met: &MetFunctions) -> bool {
        let mut functions = self.functions.iter().enumerate();
        lines.iter().all(|lines| {
            let function = functions.find(|(_, function)| function.lines >= *lines);
            function.is_some_and(|(at, function)| {
                function.lines == *lines && met.has(at) && function.profile.is_some()
            })
        })
    }
}
