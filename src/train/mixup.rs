//! Mixup.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

/// How the samples of a batch are mixed.
pub(super) struct Mix {
    /// The weight of each sample itself.
    pub(super) share: f64,
    /// The sample that has the rest of the weight.
    pub(super) partners: Vec<i32>,
}

impl Mix {
    /// A share from the Beta(α, α) distribution; none where α is 0.
    pub(super) fn share(alpha: f64, chance: &mut ChaCha8Rng) -> Option<f64> {
        Some(Beta::new(alpha, alpha).ok()?.sample(chance))
    }

    /// This share, and partners in a random order.
    pub(super) fn drawn(share: f64, batch: usize, chance: &mut ChaCha8Rng) -> Self {
        let mut partners: Vec<i32> = (0..i32::try_from(batch).unwrap_or(i32::MAX)).collect();
        partners.shuffle(chance);
        Self { share, partners }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_between_0_and_1_and_there_are_none_without_alpha() {
        let mut chance = crate::seed::Seed(1).stream("mixup", 0);
        assert!(Mix::share(0.0, &mut chance).is_none());
        let mut draw = || Mix::share(0.4, &mut chance).map(|share| Mix::drawn(share, 4, &mut chance));
        let drawn: Vec<Mix> = (0..2000).filter_map(|_| draw()).collect();
        let shares: Vec<f64> = drawn.iter().map(|mix| mix.share).collect();
        let mean = shares.iter().sum::<f64>() / 2000.0;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 2000.0;
        // Beta(α, α) has mean 1/2 and variance 1/(4·(2·α + 1)).
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!((mean - 0.5).abs() < 0.03 && (variance - 1.0 / 7.2).abs() < 0.01, "{mean}, {variance}");
        assert!(drawn.iter().all(|mix| {
            let mut all = mix.partners.clone();
            all.sort_unstable();
            all == [0, 1, 2, 3]
        }));
    }
}
