//! The record of A0 (R8): what a load left in the module, as a set of 64-bit words.
//!
//! It goes by path, not by identity: a word for each key, made of the path of its table and the
//! key, and one more for each scalar, made of these and its value. A path begins at the module's
//! object, at the globals, at `package.loaded` or at a local's name, and goes down the keys. So the
//! record holds nothing alive and costs exactly a word for each of these. Where the file has moved
//! something, no word is found: then there is no record of it, and what runs stays.
//!
//! The set is sorted, and packed into one Lua string, which the façade keeps. A word's upper
//! [`PATH_BITS`] bits are those of the table's path, so that the words of one table stand together;
//! the lowest two say what kind of word it is.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::lua::vm::{Ref, Vm};
use crate::model::site::{SiteId, Sites, Step};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// The bits of a word that the tables' path gives. Two tables that share them seem to have had each
/// other's keys: then what the file changed in them stays as it runs. Of 1,000 tables two do so
/// once in 500 times.
const PATH_BITS: u32 = 28;
const KIND_BITS: u32 = 2;
/// What is left for key and value: the odds that another value of the same table is taken for the
/// recorded one.
const OWN_BITS: u32 = u64::BITS - PATH_BITS - KIND_BITS;

/// What a key of A0 held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A function, an import, or a table that is recorded elsewhere.
    Other = 0,
    /// A table, which is recorded under this path.
    Table = 1,
    /// A scalar; its value has a word of its own.
    Scalar = 2,
}

/// The kind of a word for a value.
const VALUE: u64 = 3;

/// The path of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path(u64);

/// A key of a table with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    path: u64,
    hash: u64,
}

/// Mixes all bits of a number into all others.
const fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 30;
    bits = bits.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 27;
    bits = bits.wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

impl Path {
    /// The locals of the module: their names are the keys.
    pub const LOCALS: Path = Path(mix(1));

    /// The path of one of the roots, by its name.
    fn root(vm: &Vm, name: &str) -> Path {
        Path(mix(vm.digest_of(name.as_bytes())))
    }

    /// The place under the key with this digest ([`Vm::digest`]).
    pub fn place(self, key: u64) -> Place {
        Place {
            path: self.0,
            hash: mix(self.0 ^ key.rotate_left(17)),
        }
    }

    /// The path of the table's metatable.
    fn metatable(self) -> Path {
        Path(mix(self.0 ^ 0x6d65_7461))
    }

    fn first_word(self) -> u64 {
        self.0 >> (u64::BITS - PATH_BITS) << (u64::BITS - PATH_BITS)
    }
}

impl Place {
    /// The path of the table that stands here.
    pub fn path(self) -> Path {
        Path(mix(self.hash ^ 0x7061_7468))
    }

    fn word_of(self, hash: u64, kind: u64) -> u64 {
        Path(self.path).first_word() | (hash >> (u64::BITS - OWN_BITS)) << KIND_BITS | kind
    }

    /// The word for the key.
    pub fn word(self, kind: Kind) -> u64 {
        self.word_of(self.hash, kind as u64)
    }

    /// The word for the scalar with this digest.
    pub fn value(self, value: u64) -> u64 {
        self.word_of(mix(self.hash ^ value.rotate_left(31) ^ 0x7661_6c75), VALUE)
    }
}

/// What is on record of a module.
#[derive(Default)]
pub struct Base {
    /// Sorted.
    words: Vec<u64>,
    known: bool,
}

impl Base {
    /// Reads what [`pack`] made; any other value is no record.
    pub fn read(vm: &Vm, packed: Ref) -> Result<Base> {
        let words = vm.words(packed)?;
        let known = words.is_some();
        let words = words.unwrap_or_default();
        Ok(Base { words, known })
    }

    /// Is there a record at all?
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// What A0 had under this key; none when it lacked the key.
    pub fn key(&self, place: Place) -> Option<Kind> {
        let first = place.word(Kind::Other);
        let at = self.words.partition_point(|word| *word < first);
        let found = self
            .words
            .get(at)
            .filter(|word| **word >> KIND_BITS == first >> KIND_BITS)?;
        match found & ((1 << KIND_BITS) - 1) {
            0 => Some(Kind::Other),
            1 => Some(Kind::Table),
            2 => Some(Kind::Scalar),
            _ => None,
        }
    }

    /// Had A0 the scalar with this digest there?
    pub fn had(&self, place: Place, value: Option<u64>) -> bool {
        value.is_some_and(|value| self.words.binary_search(&place.value(value)).is_ok())
    }

    /// The words of one table. Those of another one whose path begins alike may be among them.
    fn words_of(&self, path: Path) -> &[u64] {
        let first = path.first_word();
        let last = first | (u64::MAX >> PATH_BITS);
        let start = self.words.partition_point(|word| *word < first);
        let end = self.words.partition_point(|word| *word <= last);
        self.words.get(start..end).unwrap_or_default()
    }

    /// Has a table any key on record?
    pub fn has_keys(&self, path: Path) -> bool {
        !self.words_of(path).is_empty()
    }

    /// How many keys of a table are on record; more where another path begins alike.
    pub fn keys(&self, path: Path) -> usize {
        let is_key = |word: &&u64| **word & VALUE != VALUE;
        self.words_of(path).iter().filter(is_key).count()
    }

    /// Is there a key on record that `words`, which are sorted, lack?
    pub fn has_more_keys(&self, words: &[u64]) -> bool {
        let key = |word: &u64| (word & VALUE != VALUE).then_some(word >> KIND_BITS);
        let mut rest = words.iter().filter_map(key).peekable();
        self.words.iter().filter_map(key).any(|wanted| {
            while rest.peek().is_some_and(|word| *word < wanted) {
                rest.next();
            }
            rest.peek() != Some(&wanted)
        })
    }
}

/// Packs words, which are sorted, into a Lua string.
///
/// # Errors
/// [`crate::support::error::Error::Memory`].
pub fn pack(vm: &mut Vm, mut words: Vec<u64>) -> Result<Ref> {
    words.dedup();
    vm.packed(&words)
}

/// The places of sites, each worked out once.
#[derive(Default)]
pub struct Places {
    known: FxHashMap<SiteId, Known>,
}

/// Where a site stands.
#[derive(Clone, Copy)]
struct Known {
    /// Under a key; none for roots and metatables, and behind a key that is an object.
    place: Option<Place>,
    /// The path of the table there.
    path: Option<Path>,
}

impl Places {
    /// Makes room for so many.
    pub fn reserve(&mut self, sites: usize) -> Result<()> {
        Ok(self.known.try_reserve(sites)?)
    }

    /// The place of a site; none where it is not under a key that can be recorded.
    pub fn place(&mut self, vm: &Vm, sites: &Sites, site: SiteId) -> Result<Option<Place>> {
        Ok(self.find(vm, sites, site)?.place)
    }

    /// The path of the table that stands at a site; none behind a key that is an object.
    pub fn path(&mut self, vm: &Vm, sites: &Sites, site: SiteId) -> Result<Option<Path>> {
        Ok(self.find(vm, sites, site)?.path)
    }

    fn find(&mut self, vm: &Vm, sites: &Sites, site: SiteId) -> Result<Known> {
        let mut trail: SmallVec<[_; 8]> = SmallVec::new();
        let mut at = site;
        let mut found = loop {
            if let Some(known) = self.known.get(&at).copied() {
                break known;
            }
            match sites.step(at) {
                Some((_, Step::Root(root))) => {
                    break Known {
                        place: None,
                        path: Some(Path::root(vm, root.name())),
                    };
                }
                Some((parent, step)) => {
                    trail.try_push((at, step))?;
                    at = parent;
                }
                None => {
                    break Known {
                        place: None,
                        path: None,
                    };
                }
            }
        };
        while let Some((site, step)) = trail.pop() {
            let place = match step {
                Step::Key(key) => found
                    .path
                    .and_then(|path| vm.digest(key).map(|key| path.place(key))),
                Step::Upvalue(function, index) => Some(local(vm, function, index)),
                Step::Root(_) | Step::Metatable | Step::Elsewhere(_) => None,
            };
            found = Known {
                place,
                path: match step {
                    Step::Metatable => found.path.map(Path::metatable),
                    _ => place.map(Place::path),
                },
            };
            self.known.try_insert_value(site, found)?;
        }
        Ok(found)
    }
}

/// The place of a local, by its name.
pub fn local(vm: &Vm, function: Ref, index: u8) -> Place {
    Path::LOCALS.place(vm.with_upvalue_name(function, index, |name| vm.digest_of(name)))
}

#[cfg(test)]
mod tests {
    use super::{Base, Kind, Path};
    use crate::support::secret::Secret;

    /// The tables of a large module keep their keys apart.
    #[test]
    fn each_of_many_tables_has_its_own_keys() {
        let secret = Secret::default();
        let key = |text: String| secret.digest(text.as_bytes());
        let paths: Vec<Path> = (0..3000)
            .map(|i| Path::LOCALS.place(key(format!("table {i}"))).path())
            .collect();
        let mut words: Vec<u64> = paths
            .iter()
            .map(|path| path.place(key("name".into())).word(Kind::Other))
            .collect();
        words.sort_unstable();
        let base = Base { words, known: true };
        assert!(paths.iter().all(|path| base.keys(*path) == 1));
    }
}
