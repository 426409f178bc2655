//! The keyed hash of keys. The key is random for each process, so that nobody outside can aim at one table slot.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

/// Which function hashes keys (directive `hash-function`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashFunction {
    /// Fast, and keyed.
    Ahash,
    /// Slower; its resistance against chosen keys is well studied. For hostile tenants.
    Siphash,
}

/// A hash function with its key.
pub enum KeyHasher {
    Ahash(RandomState),
    Siphash(std::hash::RandomState),
}

impl KeyHasher {
    /// A hasher with a random key from the operating system.
    pub fn random(function: HashFunction) -> KeyHasher {
        match function {
            HashFunction::Ahash => KeyHasher::Ahash(RandomState::new()),
            HashFunction::Siphash => KeyHasher::Siphash(std::hash::RandomState::new()),
        }
    }

    /// A hasher whose results are the same in every run, for tests and benches.
    pub fn fixed(seed: u64) -> KeyHasher {
        KeyHasher::Ahash(RandomState::with_seeds(seed, !seed, seed.rotate_left(17), 0x9e37_79b9_7f4a_7c15))
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        match self {
            KeyHasher::Ahash(state) => {
                let mut hasher = state.build_hasher();
                hasher.write(key);
                hasher.finish()
            }
            KeyHasher::Siphash(state) => siphash(state, key),
        }
    }
}

/// Apart from [`KeyHasher::hash`], which would have to save more registers if this were a part of it.
#[inline(never)]
fn siphash(state: &std::hash::RandomState, key: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(key);
    hasher.finish()
}
