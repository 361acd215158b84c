//! Named random streams, all derived from the one seed of an experiment.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The seed of an experiment.
///
/// Every use of randomness has its own stream, named by purpose and index. Adding a use, or resuming in the middle of an epoch, does not change
/// the numbers of the other uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream for `purpose` (such as `"shuffle"`) at `index` (such as the epoch).
    ///
    /// The generator is ChaCha8, keyed with SHA-256 of seed, purpose and index. It is the same on every machine and backend.
    #[must_use]
    pub fn stream(self, purpose: &str, index: u64) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update(index.to_le_bytes());
        hash.update(purpose.as_bytes());
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::Seed;

    #[test]
    fn streams_differ_by_seed_purpose_and_index_and_repeat() {
        let first = |seed: u64, purpose, index| Seed(seed).stream(purpose, index).next_u64();
        assert_eq!(first(1, "shuffle", 0), first(1, "shuffle", 0));
        assert_ne!(first(1, "shuffle", 0), first(2, "shuffle", 0));
        assert_ne!(first(1, "shuffle", 0), first(1, "dropout", 0));
        assert_ne!(first(1, "shuffle", 0), first(1, "shuffle", 1));
    }
}
