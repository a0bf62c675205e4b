//! Which of the functions nested in one function answer to those nested in another: by what they
//! are, never by position alone.
//!
//! In this order: the same name and the same code; the same name; the same code; the same code
//! between neighbours that answer to each other; likeness. Where two candidates are equally good,
//! there is no answer.

use rustc_hash::FxHashMap;

use crate::code::tree::{Captured, Tree};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// In thousandths: what two functions must have in common at least.
pub const LIKE: u32 = 550;
/// How much better than any other an answer must be.
pub const MARGIN: u32 = 80;
/// How much it counts what two functions capture.
const NAMES: u32 = 8;
/// What two functions must have in common that nothing else is left for.
const LEFT_OVER: u32 = 300;
/// What the neighbours say for a candidate that stands between theirs.
pub const FITS: u32 = 60;
/// Comparisons of one list with another, at most.
pub const COMPARISONS: usize = 20_000;

/// What is known of one function that may have an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// No function answers to it.
    Not,
    /// More than one might.
    Doubtful,
    /// The one with this place among the children.
    To(usize),
}

/// What a function looks like.
pub struct FunctionFeatures {
    /// The names of what it captures, sorted, `_ENV` left out.
    names: Vec<u64>,
    /// Its constants, sorted.
    constants: Vec<u64>,
    /// The code of what is nested in it, sorted.
    children: Vec<u64>,
    /// How many of each operation.
    operations: [u16; 128],
    length: u32,
    params: u8,
    vararg: bool,
    param_names: u64,
    place: u64,
    /// The code.
    pub digest: u64,
}

/// What two functions have in common.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Similarity {
    /// In thousandths, or a little above or below where their names speak for or against it.
    pub score: u32,
    /// The same without what they capture, and without their own names.
    pub body: u32,
    /// They share something that tells them from any other two functions.
    pub telling: bool,
}

impl FunctionFeatures {
    /// Looks at a function.
    pub fn of(tree: &Tree, number: u32, environment: u64) -> Result<FunctionFeatures> {
        let mut features = FunctionFeatures {
            names: Vec::new(),
            constants: Vec::new(),
            children: Vec::new(),
            operations: [0; 128],
            length: 0,
            params: 0,
            vararg: false,
            param_names: 0,
            place: 0,
            digest: 0,
        };
        let Some(function) = tree.get(number) else {
            return Ok(features);
        };
        let is_own = |captured: &&Captured| captured.name != environment;
        for captured in tree.captured(number).iter().filter(is_own) {
            features.names.try_push(captured.name)?;
        }
        features
            .constants
            .try_reserve_exact(tree.constants(number).len())?;
        features.constants.extend_from_slice(tree.constants(number));
        for child in tree.children(number) {
            features
                .children
                .try_push(tree.get(child).map_or(0, |child| child.digest))?;
        }
        for list in [
            &mut features.names,
            &mut features.constants,
            &mut features.children,
        ] {
            list.sort_unstable();
        }
        for operation in tree.operations(number) {
            features.length += 1;
            if let Some(count) = features.operations.get_mut(usize::from(operation)) {
                *count = count.saturating_add(1);
            }
        }
        (features.params, features.vararg) = (function.params, function.vararg);
        (features.param_names, features.place, features.digest) =
            (function.param_names, function.place, function.digest);
        Ok(features)
    }

    /// Too little to be told from other functions by?
    pub fn is_plain(&self) -> bool {
        self.names.is_empty() && self.constants.len() < 2 && self.length < 12
    }

    /// What two functions have in common.
    pub fn likeness(&self, other: &FunctionFeatures) -> Similarity {
        let mut sum = 0;
        let mut whole = 0;
        let mut add = |weight: u32, share: Option<u32>| {
            if let Some(share) = share {
                sum += weight * share;
                whole += weight;
            }
        };
        let names = common(&self.names, &other.names);
        let constants = common(&self.constants, &other.constants);
        let children = common(&self.children, &other.children);
        add(6, constants);
        add(3, children);
        add(4, self.common_operations(other));
        let same_params = self.params == other.params && self.vararg == other.vararg;
        let same_names = same_params && self.param_names == other.param_names;
        add(
            2,
            Some(if same_names {
                1000
            } else if same_params {
                600
            } else {
                0
            }),
        );
        let body = sum / whole.max(1);
        let score = match names {
            Some(share) => (sum + NAMES * share) / (whole + NAMES),
            None => body,
        };
        let named = self.place != 0 && other.place != 0;
        let same_place = named && self.place == other.place;
        let score = match (named, same_place) {
            (true, true) => score + 200,
            (true, false) => score.saturating_sub(200),
            _ => score,
        };
        let shares = |share: Option<u32>| share.is_some_and(|share| share > 0);
        let telling = same_place
            || shares(names)
            || shares(constants)
            || shares(children)
            || same_names && self.params > 0 && self.param_names != 0;
        Similarity {
            score,
            body,
            telling,
        }
    }

    fn common_operations(&self, other: &FunctionFeatures) -> Option<u32> {
        let counts = self.operations.iter().zip(&other.operations);
        let shared: u32 = counts.map(|(a, b)| u32::from(*a.min(b))).sum();
        let both = self.length + other.length;
        (both > 0).then(|| (2000 * u64::from(shared) / u64::from(both)) as u32)
    }

    /// May the one be what became of the other, where nothing else is left for either?
    fn may_be(&self, other: &FunctionFeatures) -> bool {
        let renamed = self.place != 0 && other.place != 0 && self.place != other.place;
        let names = common(&self.names, &other.names);
        let likeness = self.likeness(other);
        // Where it only uses more than it did, or less, the rest of it tells.
        let grown =
            || likeness.telling && likeness.body >= LIKE && is_within(&self.names, &other.names);
        !renamed
            && self.params == other.params
            && self.vararg == other.vararg
            && (names.is_none_or(|share| share >= 500) && likeness.score >= LEFT_OVER || grown())
    }
}

/// The share of what two sorted lists have in common, in thousandths; none where both are empty.
fn common(a: &[u64], b: &[u64]) -> Option<u32> {
    let both = a.len() + b.len();
    if both == 0 {
        return None;
    }
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    let mut shared = 0_usize;
    while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => left.next(),
            std::cmp::Ordering::Greater => right.next(),
            std::cmp::Ordering::Equal => {
                shared += 1;
                left.next();
                right.next()
            }
        };
    }
    Some((2000 * shared / both) as u32)
}

/// Has one of two sorted lists all that the other has?
fn is_within(a: &[u64], b: &[u64]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    short.iter().all(|name| long.binary_search(name).is_ok())
}

/// The functions that stand directly in one function of either side, and what answers to what so
/// far.
pub struct FunctionAlignment {
    old: Vec<FunctionFeatures>,
    new: Vec<FunctionFeatures>,
    to: Vec<Option<usize>>,
    from: Vec<Option<usize>>,
    doubtful: Vec<bool>,
}

impl FunctionAlignment {
    /// Begins with nothing known. `environment` is the hash of the name `_ENV`.
    pub fn new(
        old: Vec<FunctionFeatures>,
        new: Vec<FunctionFeatures>,
    ) -> Result<FunctionAlignment> {
        let mut alignment = FunctionAlignment {
            to: Vec::new(),
            from: Vec::new(),
            doubtful: Vec::new(),
            old,
            new,
        };
        let (olds, news) = (alignment.old.len(), alignment.new.len());
        alignment.to.try_reserve_exact(olds)?;
        alignment.to.resize(olds, None);
        alignment.doubtful.try_reserve_exact(olds)?;
        alignment.doubtful.resize(olds, false);
        alignment.from.try_reserve_exact(news)?;
        alignment.from.resize(news, None);
        Ok(alignment)
    }

    /// Two functions answer to each other. What has an answer keeps it.
    pub fn join(&mut self, old: usize, new: usize) {
        if let (Some(to @ None), Some(from @ None)) = (self.to.get_mut(old), self.from.get_mut(new))
        {
            *to = Some(new);
            *from = Some(old);
        }
    }

    /// Finds all answers that there are.
    pub fn run(mut self) -> Result<Vec<Match>> {
        let named = |f: &FunctionFeatures| (f.place != 0).then_some((f.place, 0));
        let code = |f: &FunctionFeatures| Some((0, f.digest));
        let both = |f: &FunctionFeatures| (f.place != 0).then_some((f.place, f.digest));
        self.equal(both, Several::InOrder)?;
        self.equal(named, Several::Leave)?;
        self.equal(code, Several::InOrder)?;
        self.between()?;
        self.alike()?;
        self.left_over()?;
        let mut matches = Vec::new();
        matches.try_reserve_exact(self.to.len())?;
        for (to, doubtful) in self.to.iter().zip(&self.doubtful) {
            matches.push(match to {
                Some(new) => Match::To(*new),
                None if *doubtful => Match::Doubtful,
                None => Match::Not,
            });
        }
        Ok(matches)
    }

    /// Joins what is alone on either side with its key, and `several`, if there are as many of them
    /// on both sides.
    fn equal(
        &mut self,
        key: impl Fn(&FunctionFeatures) -> Option<(u64, u64)>,
        several: Several,
    ) -> Result<()> {
        type Group = (Vec<usize>, Vec<usize>);
        let mut groups: FxHashMap<(u64, u64), Group> = FxHashMap::default();
        let mut order = Vec::new();
        for i in open(&self.to)? {
            if let Some(key) = self.old.get(i).and_then(&key) {
                if !groups.contains_key(&key) {
                    groups.try_insert_value(key, Group::default())?;
                    order.try_push(key)?;
                }
                if let Some((olds, _)) = groups.get_mut(&key) {
                    olds.try_push(i)?;
                }
            }
        }
        for i in open(&self.from)? {
            let group = self
                .new
                .get(i)
                .and_then(&key)
                .and_then(|key| groups.get_mut(&key));
            if let Some((_, news)) = group {
                news.try_push(i)?;
            }
        }
        for key in order {
            let Some((olds, news)) = groups.remove(&key) else {
                continue;
            };
            if olds.len() == news.len() && (several == Several::InOrder || olds.len() == 1) {
                olds.into_iter()
                    .zip(news)
                    .for_each(|(old, new)| self.join(old, new));
            }
        }
        Ok(())
    }

    /// Does the candidate stand between what answers to the neighbours?
    fn fits(&self, old: usize, new: usize) -> bool {
        let before = self.to.iter().take(old).rev().flatten().next();
        let after = self.to.iter().skip(old + 1).flatten().next();
        before.is_none_or(|before| *before < new) && after.is_none_or(|after| new < *after)
    }

    /// The same code, where more than one function has it: the one between the same neighbours.
    fn between(&mut self) -> Result<()> {
        let (olds, news) = (open(&self.to)?, open(&self.from)?);
        if olds.len().saturating_mul(news.len()) > COMPARISONS {
            return Ok(());
        }
        let mut found = Vec::new();
        for old in &olds {
            let mut candidates = news
                .iter()
                .filter(|new| self.twins(*old, **new) && self.fits(*old, **new));
            let (Some(new), None) = (candidates.next(), candidates.next()) else {
                continue;
            };
            let rivals = olds
                .iter()
                .filter(|old| self.twins(**old, *new) && self.fits(**old, *new));
            if rivals.count() == 1 {
                found.try_push((*old, *new))?;
            }
        }
        found.into_iter().for_each(|(old, new)| self.join(old, new));
        // What is left of equal code is doubtful.
        let news = open(&self.from)?;
        for old in open(&self.to)? {
            let twin = news.iter().any(|new| self.twins(old, *new));
            if let Some(doubtful) = self.doubtful.get_mut(old) {
                *doubtful |= twin;
            }
        }
        Ok(())
    }

    /// Have they the same code?
    fn twins(&self, old: usize, new: usize) -> bool {
        matches!((self.old.get(old), self.new.get(new)), (Some(a), Some(b)) if a.digest == b.digest)
    }

    /// Joins what is more alike than anything else, until nothing is.
    fn alike(&mut self) -> Result<()> {
        let (olds, news) = (open(&self.to)?, open(&self.from)?);
        if olds.len().saturating_mul(news.len()) > COMPARISONS {
            return Ok(());
        }
        let mut scores = Vec::new();
        for old in &olds {
            for new in &news {
                let (Some(a), Some(b)) = (self.old.get(*old), self.new.get(*new)) else {
                    continue;
                };
                let likeness = a.likeness(b);
                if likeness.telling && likeness.score + MARGIN + FITS >= LIKE {
                    scores.try_push((*old, *new, likeness.score))?;
                }
            }
        }
        loop {
            scores.retain(|(old, new, _)| {
                self.to.get(*old).is_some_and(Option::is_none)
                    && self.from.get(*new).is_some_and(Option::is_none)
            });
            let mut best_old: FxHashMap<usize, BestCandidate> = FxHashMap::default();
            let mut best_new: FxHashMap<usize, BestCandidate> = FxHashMap::default();
            for (old, new, score) in &scores {
                let score = score + if self.fits(*old, *new) { FITS } else { 0 };
                for (map, key, other) in [(&mut best_old, old, new), (&mut best_new, new, old)] {
                    let mut best = map.get(key).copied().unwrap_or_default();
                    best.add(score, *other);
                    map.try_insert_value(*key, best)?;
                }
            }
            let mut found = Vec::new();
            let is_best = |map: &FxHashMap<usize, BestCandidate>, key, other| {
                map.get(key).is_some_and(|best| best.is(other))
            };
            for (old, new, _) in &scores {
                if is_best(&best_old, old, *new) && is_best(&best_new, new, *old) {
                    found.try_push((*old, *new))?;
                }
            }
            if found.is_empty() {
                for (old, best) in best_old {
                    if let Some(doubtful) = self.doubtful.get_mut(old) {
                        *doubtful |= best.score >= LIKE;
                    }
                }
                return Ok(());
            }
            found.into_iter().for_each(|(old, new)| self.join(old, new));
        }
    }

    /// One function is left on either side, and the one may have become the other.
    fn left_over(&mut self) -> Result<()> {
        let (olds, news) = (open(&self.to)?, open(&self.from)?);
        let ([old], [new]) = (olds.as_slice(), news.as_slice()) else {
            return Ok(());
        };
        let may_be =
            matches!((self.old.get(*old), self.new.get(*new)), (Some(a), Some(b)) if a.may_be(b));
        if may_be && self.fits(*old, *new) {
            self.join(*old, *new);
        }
        Ok(())
    }
}

/// What becomes of several functions of one side that have one key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Several {
    /// They are joined in their order.
    InOrder,
    /// They are left.
    Leave,
}

/// The functions of a side without an answer.
fn open<T>(answers: &[Option<T>]) -> Result<Vec<usize>> {
    let mut open = Vec::new();
    for (i, _) in answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| answer.is_none())
    {
        open.try_push(i)?;
    }
    Ok(open)
}

/// The best of several candidates, and how far it is ahead.
#[derive(Clone, Copy, Default, Debug)]
pub struct BestCandidate {
    /// Its score.
    pub score: u32,
    second: u32,
    at: usize,
}

impl BestCandidate {
    /// One more candidate.
    pub fn add(&mut self, score: u32, at: usize) {
        if score > self.score {
            (self.second, self.score, self.at) = (self.score, score, at);
        } else {
            self.second = self.second.max(score);
        }
    }

    /// Is this one the best beyond doubt?
    pub fn is(&self, at: usize) -> bool {
        self.at == at && self.score >= LIKE && self.score >= self.second + MARGIN
    }

    /// The best beyond doubt.
    pub fn get(&self) -> Option<usize> {
        self.is(self.at).then_some(self.at)
    }
}
