//! The record (R8): what the file said at the last load that was kept, as a set of 64-bit words.
//!
//! One word for each place: a digest of the place, a digest of what the file had there, and what
//! kind of thing that is. The record goes by identity: the place of a key is made of the number of
//! its table (`lineage.rs`) and the key, and the digest of an object is that of its number. A row,
//! a table of plain data in a list, has no number: its places are made of the place where it
//! stands. So the record holds nothing alive, and costs a word for each of these.
//!
//! The set is packed into one Lua string, which the façade keeps. What a reload leaves is sorted;
//! of a first load that is not done before somebody reads it, which nobody does in most programs.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::lua::vm::{Ref, Vm};
use crate::model::site::{SiteId, Sites, Step};
use crate::support::error::Result;
use crate::support::mem::{TryInsert, TryPush};

/// The bits of a word that tell places apart. Of a record with 100,000 words, a key that it lacks
/// seems to be on record once in 170,000 times: then it is not added.
const PLACE_BITS: u32 = 34;
const KIND_BITS: u32 = 2;
/// What is left for the value: the odds that another value is taken for the recorded one.
const VALUE_BITS: u32 = u64::BITS - PLACE_BITS - KIND_BITS;
const VALUE_MASK: u64 = (1 << VALUE_BITS) - 1;

/// What kind of thing the file had in a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordedKind {
    /// Something of which no more is known.
    Other = 0,
    /// A table that goes by its place.
    Row = 1,
    /// A scalar.
    Scalar = 2,
    /// An object with a number.
    Object = 3,
}

/// What the file had in a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    kind: RecordedKind,
    value: u64,
}

impl Held {
    /// Something of which no more is known.
    pub const OTHER: Held = Held {
        kind: RecordedKind::Other,
        value: 0,
    };
    /// A table that goes by its place.
    pub const ROW: Held = Held {
        kind: RecordedKind::Row,
        value: 0,
    };

    /// The scalar with this digest ([`Vm::digest`]).
    pub fn scalar(digest: u64) -> Held {
        Held {
            kind: RecordedKind::Scalar,
            value: mix(digest) & VALUE_MASK,
        }
    }

    /// The scalar with this digest, at a place where something else runs, of which nobody knows
    /// what it was loaded as.
    pub fn unsure(digest: u64) -> Held {
        Held {
            kind: RecordedKind::Other,
            value: (mix(digest) & VALUE_MASK).max(1),
        }
    }

    /// Is it unknown what stood there at the last load?
    pub fn is_unsure(self) -> bool {
        self.kind == RecordedKind::Other && self.value != 0
    }

    /// The object with this number. (Numbers have fewer bits than there is room for.)
    pub fn object(number: i64) -> Held {
        Held {
            kind: RecordedKind::Object,
            value: number.cast_unsigned() & VALUE_MASK,
        }
    }

    /// The number of the object that it is.
    pub fn number(self) -> Option<i64> {
        (self.kind == RecordedKind::Object).then_some(self.value.cast_signed())
    }

    /// What kind of thing it is.
    pub fn kind(self) -> RecordedKind {
        self.kind
    }

    /// Tells it from others that are known.
    pub fn bits(self) -> u64 {
        self.value << KIND_BITS | self.kind as u64
    }

    fn of_word(word: u64) -> Held {
        Held {
            kind: match word & ((1 << KIND_BITS) - 1) {
                1 => RecordedKind::Row,
                2 => RecordedKind::Scalar,
                3 => RecordedKind::Object,
                _ => RecordedKind::Other,
            },
            value: word >> KIND_BITS & VALUE_MASK,
        }
    }
}

/// The path of a table, or of what else has places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path(u64);

/// A place of something with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordedPlace(u64);

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
    pub fn root(vm: &Vm, name: &str) -> Path {
        Path(mix(vm.digest_of(name.as_bytes())))
    }

    /// The path of the object with this number: of a table, whose keys are its places, or of a
    /// function, whose locals are (where several locals of the module have one name).
    pub const fn of(number: i64) -> Path {
        Path(mix(number.cast_unsigned() ^ 0x7061_7468_0000_0000))
    }

    /// Tells this path from others.
    pub fn key(self) -> u64 {
        self.0
    }

    /// The place under the key with this digest ([`Vm::digest`]).
    pub fn place(self, key: u64) -> RecordedPlace {
        RecordedPlace(mix(self.0 ^ key.rotate_left(17)))
    }

    /// The place under a key that is the object with this number.
    pub fn place_by_object(self, number: i64) -> RecordedPlace {
        self.place(mix(number.cast_unsigned() ^ 0x6b65_7973))
    }

    /// The place of the table's metatable.
    pub fn metatable(self) -> RecordedPlace {
        RecordedPlace(mix(self.0 ^ 0x6d65_7461))
    }

    /// How many keys of the table are on record stands here, as if it were a value.
    fn count(self) -> RecordedPlace {
        RecordedPlace(mix(self.0 ^ 0x636f_756e))
    }

    /// The word for how many keys of the table are on record, and whether its integer keys are
    /// names (`is_map`).
    pub fn count_word(self, keys: usize, is_map: bool) -> u64 {
        self.count().word(Held {
            kind: match is_map {
                true => RecordedKind::Row,
                false => RecordedKind::Other,
            },
            value: (keys as u64).min(VALUE_MASK),
        })
    }
}

impl RecordedPlace {
    /// What the chunk returns.
    pub const RESULT: RecordedPlace = RecordedPlace(mix(2));

    /// The path of the row that stands here.
    pub fn path(self) -> Path {
        Path(mix(self.0 ^ 0x726f_7773))
    }

    /// What stays in this place of what an earlier file had there, where the last one had nothing,
    /// is on record here.
    pub fn left(self) -> RecordedPlace {
        RecordedPlace(mix(self.0 ^ 0x6c65_6674))
    }

    fn first_word(self) -> u64 {
        self.0 >> (u64::BITS - PLACE_BITS) << (u64::BITS - PLACE_BITS)
    }

    /// The word for what the file has here.
    pub fn word(self, held: Held) -> u64 {
        self.first_word() | held.value << KIND_BITS | held.kind as u64
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
    /// Reads the words that [`Vm::packed`] has packed; any other value is no record.
    pub fn read(vm: &Vm, packed: Ref) -> Result<Base> {
        let words = vm.words(packed)?;
        let known = words.is_some();
        let mut words = words.unwrap_or_default();
        if !words.is_sorted() {
            words.sort_unstable();
        }
        words.dedup();
        Ok(Base { words, known })
    }

    /// Is there a record at all?
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The words of a place; that there are several is a chance in some billions.
    fn at(&self, place: RecordedPlace) -> &[u64] {
        let first = place.first_word();
        let last = first | (u64::MAX >> PLACE_BITS);
        let start = self.words.partition_point(|word| *word < first);
        let rest = self.words.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|word| **word <= last).count();
        rest.get(..count).unwrap_or_default()
    }

    /// What the file had in a place; none for nothing.
    pub fn get(&self, place: RecordedPlace) -> Option<Held> {
        self.at(place).first().map(|word| Held::of_word(*word))
    }

    /// Had the file anything there?
    pub fn is_there(&self, place: RecordedPlace) -> bool {
        !self.at(place).is_empty()
    }

    /// The same, or was something of an earlier file left there?
    pub fn is_there_or_left(&self, place: RecordedPlace) -> bool {
        self.is_there(place) || self.is_there(place.left())
    }

    /// Had the file this there?
    pub fn is(&self, place: RecordedPlace, held: Held) -> bool {
        let word = place.word(held);
        held.kind != RecordedKind::Other && self.at(place).contains(&word)
    }

    /// Had the file the scalar with this digest there?
    pub fn had(&self, place: RecordedPlace, digest: Option<u64>) -> bool {
        digest.is_some_and(|digest| self.is(place, Held::scalar(digest)))
    }

    /// Had the file the object with this number there?
    pub fn had_object(&self, place: RecordedPlace, number: i64) -> bool {
        self.is(place, Held::object(number))
    }

    /// Are the keys of a table on record, be there any or none?
    pub fn knows(&self, path: Path) -> bool {
        self.is_there(path.count())
    }

    /// How many keys of a table are on record.
    pub fn keys(&self, path: Path) -> usize {
        self.get(path.count())
            .map_or(0, |held| usize::try_from(held.value).unwrap_or(usize::MAX))
    }

    /// Are the integer keys of a table names? The file has had it with holes.
    pub fn is_map(&self, path: Path) -> bool {
        let count = self.get(path.count());
        count.is_some_and(|held| held.kind == RecordedKind::Row)
    }

    /// Is there a place on record that none of these lists of words, which are sorted, has?
    pub fn has_more_places<const N: usize>(&self, lists: [&[u64]; N]) -> bool {
        let place = |word: &u64| word >> (u64::BITS - PLACE_BITS);
        let mut lists = lists.map(|words| words.iter().map(place).peekable());
        self.words.iter().map(place).any(|wanted| {
            !lists.iter_mut().any(|rest| {
                while rest.next_if(|word| *word < wanted).is_some() {}
                rest.peek() == Some(&wanted)
            })
        })
    }
}

/// The places of sites, each worked out once.
#[derive(Default)]
pub struct Places {
    known: FxHashMap<SiteId, KnownSite>,
}

/// Where a site stands.
#[derive(Clone, Copy, Default)]
struct KnownSite {
    /// Under a key, or as a metatable; none for roots, and behind a key that is an object.
    place: Option<RecordedPlace>,
    /// The path of the table there.
    path: Option<Path>,
}

impl Places {
    /// Makes room for so many.
    pub fn reserve(&mut self, sites: usize) -> Result<()> {
        Ok(self.known.try_reserve(sites)?)
    }

    /// The place of a site; none where it is not under a key that can be recorded.
    pub fn place(&mut self, vm: &Vm, sites: &Sites, site: SiteId) -> Result<Option<RecordedPlace>> {
        Ok(self.find(vm, sites, site)?.place)
    }

    /// The path of the table that stands at a site; none behind a key that is an object.
    pub fn path(&mut self, vm: &Vm, sites: &Sites, site: SiteId) -> Result<Option<Path>> {
        Ok(self.find(vm, sites, site)?.path)
    }

    /// The table at a site has a number: what is below the site goes by that.
    pub fn number(&mut self, vm: &Vm, sites: &Sites, site: SiteId, number: i64) -> Result<()> {
        let found = KnownSite {
            path: Some(Path::of(number)),
            ..self.find(vm, sites, site)?
        };
        self.known.try_insert_value(site, found)?;
        Ok(())
    }

    /// The table at a site is the row that stands at this place of the record, or on no record.
    pub fn row(&mut self, site: SiteId, place: Option<RecordedPlace>) -> Result<()> {
        let path = place.map(RecordedPlace::path);
        self.known
            .try_insert_value(site, KnownSite { place, path })?;
        Ok(())
    }

    fn find(&mut self, vm: &Vm, sites: &Sites, site: SiteId) -> Result<KnownSite> {
        let mut trail: SmallVec<[_; 8]> = SmallVec::new();
        let mut at = site;
        let mut found = loop {
            if let Some(known) = self.known.get(&at).copied() {
                break known;
            }
            match sites.step(at) {
                Some((_, Step::Root(root))) => {
                    break KnownSite {
                        place: None,
                        path: Some(Path::root(vm, root.name())),
                    };
                }
                Some((parent, step)) => {
                    trail.try_push((at, step))?;
                    at = parent;
                }
                None => break KnownSite::default(),
            }
        };
        while let Some((site, step)) = trail.pop() {
            let place = match step {
                Step::Key(key) => found
                    .path
                    .and_then(|path| vm.digest(key).map(|key| path.place(key))),
                Step::Upvalue(function, index) => Some(local(vm, function, index)),
                Step::Metatable => found.path.map(Path::metatable),
                Step::Root(_) | Step::Elsewhere(_) => None,
            };
            found = KnownSite {
                place,
                path: place.map(RecordedPlace::path),
            };
            self.known.try_insert_value(site, found)?;
        }
        Ok(found)
    }
}

/// The place of a local, by its name.
pub fn local(vm: &Vm, function: Ref, index: u8) -> RecordedPlace {
    Path::LOCALS.place(name_of_upvalue(vm, function, index))
}

/// The place of a local that shares its name with others of the module, by the number of a
/// function that has it.
pub fn local_of(vm: &Vm, number: i64, function: Ref, index: u8) -> RecordedPlace {
    Path::of(number).place(name_of_upvalue(vm, function, index))
}

/// The digest of the name of an upvalue.
pub fn name_of_upvalue(vm: &Vm, function: Ref, index: u8) -> u64 {
    vm.with_upvalue_name(function, index, |name| vm.digest_of(name))
}

#[cfg(test)]
mod tests {
    use super::{Base, Held, Path};
    use crate::support::secret::Secret;

    /// The tables of a large module keep their keys and values apart.
    #[test]
    fn each_of_many_tables_has_its_own_keys() {
        let secret = Secret::default();
        let key = |text: &str| secret.digest(text.as_bytes());
        let places: Vec<_> = (1..3000)
            .map(|number| Path::of(number).place(key("name")))
            .collect();
        let mut words: Vec<u64> = (1..)
            .zip(&places)
            .map(|(number, place)| place.word(Held::object(number)))
            .collect();
        words.extend((1..3000).map(|number| Path::of(number).count_word(1, false)));
        words.sort_unstable();
        let base = Base { words, known: true };
        for (number, place) in (1..).zip(&places) {
            let path = Path::of(number);
            assert!(base.had_object(*place, number) && !base.had_object(*place, number + 1));
            assert!(!base.is_there(path.place(key("other"))));
            assert_eq!(base.keys(path), 1);
        }
    }
}
