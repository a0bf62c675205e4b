//! Digests that nobody outside can choose.
//!
//! A digest stands for what it is made of: two values with one digest pass for the same. So whoever
//! chooses a value (the author of a file, a client of the program) must not be able to work out
//! which other one has its digest. The states of a process have one secret, drawn when the library
//! is opened in the first of them and gone with the last, and every digest depends on it: they are
//! good as long as that, and mean nothing elsewhere.

use std::hash::{Hasher, RandomState};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use siphasher::sip::SipHasher13;

/// The length of a packed secret in bytes.
pub const PACKED: usize = 32;

/// What digests depend on.
#[derive(Clone)]
pub struct Secret {
    seed: u64,
    shared: SharedSeed,
    published: (u64, u64),
}

/// For tests, and where there is no library: known to everybody.
impl Default for Secret {
    fn default() -> Secret {
        Secret::of_words([1, 2, 3, 4].map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

impl Secret {
    fn of_words([seed, shared, first, second]: [u64; 4]) -> Secret {
        Secret {
            seed,
            shared: SharedSeed::from_u64(shared),
            published: (first, second),
        }
    }

    /// A new secret from the system's random numbers, packed to be kept in a Lua userdata.
    pub fn draw() -> [u8; PACKED] {
        let mut packed = [0; PACKED];
        for bytes in packed.as_chunks_mut().0 {
            // Each has keys of its own, and no more than one number of each is ever seen.
            *bytes = std::hash::BuildHasher::hash_one(&RandomState::new(), 0).to_ne_bytes();
        }
        packed
    }

    /// The secret that was packed.
    pub fn unpack(packed: &[u8; PACKED]) -> Secret {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(packed.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Secret::of_words(words)
    }

    /// What makes a digest, piece by piece. It is fast, and holds as long as nobody outside sees
    /// the digests.
    #[inline]
    pub fn hasher(&self) -> Digesting<'_> {
        Digesting(FoldHasher::with_seed(self.seed, &self.shared))
    }

    /// The digest of some bytes.
    #[inline]
    pub fn digest(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// A digest of some bytes that may be shown: whoever sees it learns nothing of the other
    /// digests.
    pub fn published_digest(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.published.0, self.published.1);
        hasher.write_u64(self.digest(bytes));
        hasher.finish()
    }
}

/// A digest in the making. (The hasher's own methods are inlined even where nothing is optimised,
/// and the readers of code that recurse would need much of the stack then.)
pub struct Digesting<'a>(FoldHasher<'a>);

impl Digesting<'_> {
    /// Adds some bytes.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Adds a number.
    #[inline]
    pub fn write_u64(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    /// The digest of all that was added.
    #[inline]
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use rustc_hash::FxHasher;

    use super::Secret;

    /// Some bytes whose hash without a secret does not depend on `chosen`.
    fn alike(chosen: u64) -> Vec<u8> {
        let (zero, rest) = (0x243f_6a88_85a3_08d3_u64.to_le_bytes(), [b'k'; 32]);
        [&zero[..], &chosen.to_le_bytes(), &rest].concat()
    }

    fn without_secret(bytes: &[u8]) -> u64 {
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        hasher.finish()
    }

    #[test]
    fn what_is_chosen_to_be_alike_is_not() {
        assert_eq!(without_secret(&alike(1)), without_secret(&alike(2)));
        let secret = Secret::unpack(&Secret::draw());
        assert_ne!(secret.digest(&alike(1)), secret.digest(&alike(2)));
        assert_ne!(
            secret.published_digest(&alike(1)),
            secret.published_digest(&alike(2))
        );
        assert_eq!(secret.digest(&alike(1)), secret.clone().digest(&alike(1)));
    }

    #[test]
    fn every_secret_has_other_digests() {
        let packed = [Secret::draw(), Secret::draw()];
        let [one, other] = packed.each_ref().map(Secret::unpack);
        for bytes in [&b""[..], b"x", b"count", &[7; 100], &[7; 1000]] {
            assert_ne!(one.digest(bytes), other.digest(bytes));
            assert_ne!(one.published_digest(bytes), other.published_digest(bytes));
            assert_ne!(one.digest(bytes), one.published_digest(bytes));
        }
        let halves = packed.iter().flat_map(|packed| packed.as_chunks::<8>().0);
        let mut words: Vec<_> = halves.collect();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), 8);
    }
}
