//! Mixup (Zhang et al. 2018, arXiv 1710.09412).

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

/// The mixture of the samples of a batch.
pub(super) struct Mix {
    /// The weight of the sample itself.
    pub(super) share: f64,
    /// For each sample, the index of the sample with the rest of the weight.
    pub(super) partners: Vec<i32>,
}

impl Mix {
    /// A random share from the Beta(α, α) distribution. Returns `None` if α is 0.
    pub(super) fn share(alpha: f64, rng: &mut ChaCha8Rng) -> Option<f64> {
        Some(Beta::new(alpha, alpha).ok()?.sample(rng))
    }

    /// A mixture with this share and random partners.
    pub(super) fn random(share: f64, batch: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut partners: Vec<i32> = (0..i32::try_from(batch).unwrap_or(i32::MAX)).collect();
        partners.shuffle(rng);
        Self { share, partners }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_beta_distribution_and_alpha_0_has_none() {
        let mut rng = crate::seed::Seed(1).stream("mixup", 0);
        assert!(Mix::share(0.0, &mut rng).is_none());
        let mut draw = || Mix::share(0.4, &mut rng).map(|share| Mix::random(share, 4, &mut rng));
        let mixes: Vec<Mix> = (0..2000).filter_map(|_| draw()).collect();
        let shares: Vec<f64> = mixes.iter().map(|mix| mix.share).collect();
        let mean = shares.iter().sum::<f64>() / 2000.0;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 2000.0;
        // Beta(α, α) has mean 1/2 and variance 1/(4·(2·α + 1)).
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!((mean - 0.5).abs() < 0.03 && (variance - 1.0 / 7.2).abs() < 0.01, "{mean}, {variance}");
        assert!(mixes.iter().all(|mix| {
            let mut all = mix.partners.clone();
            all.sort_unstable();
            all == [0, 1, 2, 3]
        }));
    }
}
