//! Limits that were met: what a search left out (docs/semantics/limits.md).

use crate::support::error::Result;
use crate::support::mem::TryPush;

/// Of one limit so many places are told.
const MOST_PLACES: usize = 5;

/// Where a limit was met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Where {
    /// In no place that has a name: in the whole module.
    Module,
    /// In the table at this address.
    Table(usize),
    /// At a place whose name is known by then.
    Named(String),
}

/// A limit that was met at a place.
#[derive(Debug)]
pub struct MetLimit {
    /// What was left out, with `{}` for the number, and what to do.
    text: &'static str,
    number: usize,
    /// Where.
    pub place: Where,
    /// What the file says now may come out otherwise for it.
    pub is_warning: bool,
    /// There were more places than are told.
    further: bool,
}

/// All limits that were met since they were taken last, each once at a place.
#[derive(Default, Debug)]
pub struct Limits(Vec<MetLimit>);

impl Limits {
    /// Notes a limit. `text` says what was left out, with `{}` for the `number`.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    #[cold]
    pub fn meet(&mut self, text: &'static str, number: usize, place: Where) -> Result<()> {
        self.note(text, number, place, false)
    }

    /// The same, where this very reload may come out otherwise for it: it is a warning.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    #[cold]
    pub fn warn(&mut self, text: &'static str, number: usize, place: Where) -> Result<()> {
        self.note(text, number, place, true)
    }

    /// One or the other.
    ///
    /// # Errors
    /// [`crate::support::error::Error::Memory`].
    #[cold]
    pub fn note(
        &mut self,
        text: &'static str,
        number: usize,
        place: Where,
        is_warning: bool,
    ) -> Result<()> {
        let same = || self.0.iter().filter(|met| met.text == text);
        if same().any(|met| met.place == place) {
            return Ok(());
        }
        if same().count() == MOST_PLACES {
            let mut same = self.0.iter_mut().filter(|met| met.text == text);
            if let Some(last) = same.next_back() {
                last.further = true;
            }
            return Ok(());
        }
        self.0.try_push(MetLimit {
            text,
            number,
            place,
            is_warning,
            further: false,
        })
    }

    /// Takes what was noted.
    pub fn take(&mut self) -> Vec<MetLimit> {
        std::mem::take(&mut self.0)
    }
}

impl MetLimit {
    /// In words, behind the place.
    pub fn text(&self, place: &str) -> String {
        let further = if self.further {
            " and further places"
        } else {
            ""
        };
        format!("{place}{further}: {}", worded(self.text, self.number))
    }
}

/// What a limit left out, in words: `text` has `{}` for the number.
pub fn worded(text: &str, number: usize) -> String {
    text.replacen("{}", &number.to_string(), 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Limits, MOST_PLACES, Where};

    const TEXT: &str = "only the first {} entries were searched";

    #[test]
    fn each_place_is_told_once_and_no_more_than_a_few() {
        let mut limits = Limits::default();
        for table in 1..=MOST_PLACES {
            for _ in 0..2 {
                limits.meet(TEXT, 8, Where::Table(table)).unwrap();
            }
        }
        limits.meet("another of {}", 9, Where::Module).unwrap();
        let met = limits.take();
        assert_eq!(met.len(), MOST_PLACES + 1);
        let texts: Vec<String> = met.iter().map(|met| met.text("m.t")).collect();
        assert!(texts.iter().all(|text| !text.contains("further")));
        assert_eq!(texts.last().unwrap(), "m.t: another of 9");

        for table in 0..100 {
            limits.meet(TEXT, 8, Where::Table(table)).unwrap();
        }
        let met = limits.take();
        let last = met.last().unwrap();
        assert_eq!(met.len(), MOST_PLACES);
        let told = "m.t and further places: only the first 8 entries were searched";
        assert_eq!(last.text("m.t"), told);
        assert!(limits.take().is_empty());
    }
}
