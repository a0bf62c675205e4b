//! Many times, and what is said of them.

use std::time::Duration;

use crate::Outcome;
use crate::cases::{Case, Kind, tenth};
use crate::participant::Participant;

/// What one participant's reloads in one case cost.
pub struct Figures {
    /// Processor time of a reload, one for each round.
    times: Vec<Duration>,
    /// Processor time of a reload and the full collection after it, one for each round.
    collected: Vec<Duration>,
    /// The most bytes that the state and the library held.
    pub peak: usize,
    /// In a case of many reloads: bytes held after the last beyond those held after the first
    /// tenth, both without garbage.
    pub growth: Option<i64>,
}

impl Figures {
    /// The figures of a participant that has done its rounds.
    pub fn new(mut of: Participant, case: &Case) -> Outcome<Self> {
        let growth = match of.held_early {
            Some(early) if case.kind == Kind::Drift => {
                Some(i64::try_from(of.collect()?)? - i64::try_from(early)?)
            }
            _ => None,
        };
        Ok(Self {
            times: of.times,
            collected: of.collected,
            peak: of.peak,
            growth,
        })
    }

    /// Rounds taken part in.
    pub fn rounds(&self) -> usize {
        self.times.len()
    }

    /// Median time of a reload in milliseconds.
    pub fn milliseconds(&self) -> f64 {
        1000.0 * median(self.times.iter().map(Duration::as_secs_f64))
    }

    /// Median cost in floors: each round's time over the floor's of that round.
    pub fn floors(&self, floor: &Self) -> f64 {
        median(ratios(&self.times, &floor.times))
    }

    /// The same with the collection.
    pub fn floors_collected(&self, floor: &Self) -> Option<f64> {
        (!self.collected.is_empty()).then(|| median(ratios(&self.collected, &floor.collected)))
    }

    /// How much dearer, in floors, the last tenth of the reloads is than the first.
    pub fn drift(&self, floor: &Self) -> f64 {
        let costs: Vec<f64> = ratios(&self.times, &floor.times).collect();
        let tenth = tenth(costs.len());
        let first = costs.iter().take(tenth).copied();
        let last = costs.iter().rev().take(tenth).copied();
        median(last) / median(first)
    }
}

fn ratios(times: &[Duration], floors: &[Duration]) -> impl Iterator<Item = f64> {
    let pairs = times.iter().zip(floors);
    pairs.map(|(time, floor)| time.as_secs_f64() / floor.as_secs_f64())
}

/// The upper of the two in the middle, where there are two.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
