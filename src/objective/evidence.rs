//! The evidence of the training data in Laplace's approximation, and the λ that maximizes it.
//!
//! With λ the precision of a Gaussian prior on the weights w in scope, and h the eigenvalues of the curvature of the summed data loss,
//!
//! ```text
//! ln p(data | λ) ≈ −Σ CE − λ/2·‖w‖² − ½·Σ ln(1 + h/λ)
//! γ = Σ h/(h + λ),   λ ← γ/‖w‖²
//! ```
//!
//! (`MacKay` 1992, *A Practical Bayesian Framework for Backpropagation Networks*, eqs. 17 to 22; Immer et al. 2021, arXiv 2104.04975). Weights outside of
//! the scope are constants.

use crate::network::Spectrum;

/// The evidence for one penalty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// γ, the effective number of parameters.
    pub gamma: f64,
    /// ln p(data | λ) without the data loss.
    pub log_evidence: f64,
    /// The new λ: γ/‖w‖², or the old λ if all weights or all eigenvalues are 0.
    pub lambda: f64,
}

impl Evidence {
    /// The evidence for a penalty with coefficient `lambda`. `spectra` are the eigenvalues of its parameters; `weight_norm_squared` is their Σ w².
    #[must_use]
    pub fn of(lambda: f64, spectra: &[&Spectrum], weight_norm_squared: f64) -> Self {
        let sum = |term: &dyn Fn(f64) -> f64| spectra.iter().map(|spectrum| spectrum.sum(term)).sum::<f64>();
        let gamma = sum(&|h| h / (h + lambda));
        let log_ratio = sum(&|h| (h / lambda).ln_1p());
        let update = gamma / weight_norm_squared;
        let is_usable = update > 0.0 && update.is_finite();
        Self { gamma, log_evidence: -0.5 * (lambda * weight_norm_squared + log_ratio), lambda: if is_usable { update } else { lambda } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_of_two_weights_by_hand() {
        // h = 2·3 and 2·0 with λ = 2: γ = 6/8 + 0, Σ ln(1 + h/λ) = ln 4, ‖w‖² = 0.5.
        let spectrum = Spectrum::Products { left: vec![2.0], right: vec![3.0, 0.0] };
        let found = Evidence::of(2.0, &[&spectrum], 0.5);
        assert!((found.gamma - 0.75).abs() < 1e-12 && (found.lambda - 1.5).abs() < 1e-12);
        assert!((found.log_evidence + 0.5 * (1.0 + 4.0_f64.ln())).abs() < 1e-12);
        let overflowed = Spectrum::Products { left: vec![f64::NAN], right: vec![3.0, 1.0] };
        assert!(Evidence::of(2.0, &[&overflowed], 0.5).log_evidence.is_nan(), "NaN is reported as divergence");
        let flat = Spectrum::Products { left: vec![0.0], right: vec![3.0, 1.0] };
        assert!((Evidence::of(2.0, &[&spectrum], 0.0).lambda - 2.0).abs() < 1e-12);
        assert!((Evidence::of(2.0, &[&flat], 0.5).lambda - 2.0).abs() < 1e-12);
    }
}
