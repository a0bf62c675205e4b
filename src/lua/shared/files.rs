//! The compiled files that states share: the last versions of each, as far as there is room.

use std::sync::Arc;

use crate::code::compiled::Compiled;
use crate::support::mem::TryPush;

/// The most memory that they take, about.
const MOST: usize = 16 << 20;
/// Of one chunk name: what states run that have not followed, what they run, and what is new.
const VERSIONS: usize = 3;

/// All of them.
pub struct Files {
    kept: Vec<KeptFile>,
    size: usize,
    /// Counts what is asked for.
    clock: u64,
}

struct KeptFile {
    key: FileKey,
    /// When it was last asked for.
    used: u64,
    compiled: Arc<Compiled>,
}

/// What a version is found by: digests, of name and text and of the dump.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileKey {
    pub text: Option<u64>,
    pub dump: u64,
}

impl Files {
    pub const NOTHING: Files = Files {
        kept: Vec::new(),
        size: 0,
        clock: 0,
    };

    /// The version whose key is this one. The caller compares what the digests stand for.
    pub fn find(&mut self, is_key: impl Fn(&FileKey) -> bool) -> Option<Arc<Compiled>> {
        self.clock += 1;
        let kept = self.kept.iter_mut().find(|kept| is_key(&kept.key))?;
        kept.used = self.clock;
        Some(kept.compiled.clone())
    }

    /// Takes one out that has to make room for another version, the one that was not asked for for
    /// the longest time; none where there is room.
    pub fn make_room(&mut self, compiled: &Compiled) -> Option<Arc<Compiled>> {
        if compiled.size() > MOST {
            return None;
        }
        let is_version = |kept: &&KeptFile| kept.compiled.name == compiled.name;
        let versions = self.kept.iter().filter(is_version).count();
        let is_full = self.size + compiled.size() > MOST;
        let oldest = self
            .kept
            .iter()
            .enumerate()
            .filter(|(_, kept)| is_full || versions >= VERSIONS && is_version(kept))
            .min_by_key(|(_, kept)| kept.used)
            .map(|(at, _)| at)?;
        let gone = self.kept.swap_remove(oldest).compiled;
        self.size -= gone.size();
        Some(gone)
    }

    /// Keeps a version, if there is room and memory, and it is not there already.
    pub fn add(&mut self, key: FileKey, compiled: &Arc<Compiled>) {
        let is_known = self.kept.iter().any(|kept| kept.key == key);
        if is_known || self.size + compiled.size() > MOST {
            return;
        }
        self.clock += 1;
        let kept = KeptFile {
            key,
            used: self.clock,
            compiled: compiled.clone(),
        };
        if self.kept.try_push(kept).is_ok() {
            self.size += compiled.size();
        }
    }
}
