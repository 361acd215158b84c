//! The eigenvalues of one parameter's block.

/// The eigenvalues of one parameter's block, in float64.
#[derive(Clone, Debug, PartialEq)]
pub enum Spectrum {
    /// The products of every number of `left` with every one of `right`.
    Products {
        /// One of the factors.
        left: Vec<f64>,
        /// The other.
        right: Vec<f64>,
    },
    /// Values, each with how many eigenvalues it stands for.
    Values(Vec<(f64, usize)>),
}

impl Spectrum {
    /// Σ of `term` over the eigenvalues.
    pub fn sum(&self, term: impl Fn(f64) -> f64) -> f64 {
        // Rounding may leave an eigenvalue below 0; NaN stays NaN.
        let product = |left: &f64, right: &f64| if left * right < 0.0 { 0.0 } else { left * right };
        match self {
            Self::Products { left, right } => {
                left.iter().map(|left| right.iter().map(|right| term(product(left, right))).sum::<f64>()).sum()
            }
            Self::Values(values) => values.iter().map(|(value, count)| *count as f64 * term(product(value, &1.0))).sum(),
        }
    }
}
