//! The `[penalty.schedule]` section: how λ changes during training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::keys;
use super::number::{Count, Fraction, Positive};
use super::{ConfigError, Decay, Schedule};

/// The schedule of a penalty's λ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub enum Lambda {
    /// A factor that depends on the step only.
    Scheduled(Schedule),
    /// Evidence maximization on the training data: λ ← γ/‖w‖² (`MacKay` 1992; Immer et al. 2021, arXiv 2104.04975).
    Evidence {
        /// The approximation of the curvature of the loss.
        structure: Structure,
        /// Epochs before the first update.
        burn_in_epochs: Count,
        /// Epochs between two updates.
        every_epochs: Count,
    },
    /// λ/m = r·‖∇CE‖/‖w‖, smoothed (Ghiasi et al. 2023, arXiv 2210.00094).
    Adaptive {
        /// r, the ratio of decay to gradient in the paper.
        ratio: Positive,
    },
    /// A multiplier for each parameter that keeps its Σ w² below a bound (Franke et al. 2024, arXiv 2311.09058).
    Cpr {
        /// Steps after which the bound is set from the weights.
        warm_start_steps: u64,
        /// The bound as a fraction of Σ w² at that step.
        bound_factor: Positive,
        /// μ, the learning rate of the multipliers.
        multiplier_rate: Positive,
    },
}

/// The approximation of the curvature of the loss, the generalized Gauss-Newton matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// The diagonal.
    Diagonal,
    /// A Kronecker product for each kernel (Martens and Grosse 2015, arXiv 1503.05671; Grosse and Martens 2016, arXiv 1602.01407).
    Kronecker,
    /// A Kronecker product's eigenvectors with the curvature along each of them (George et al. 2018, arXiv 1806.03884).
    Ekfac,
}

impl Default for Lambda {
    fn default() -> Self {
        Self::Scheduled(Schedule::default())
    }
}

impl Lambda {
    /// Whether the schedule determines λ without an initial value.
    #[must_use]
    pub const fn finds_lambda(&self) -> bool {
        matches!(self, Self::Adaptive { .. } | Self::Cpr { .. })
    }

    /// The name in configs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Scheduled(_) => "a schedule",
            Self::Evidence { .. } => "evidence",
            Self::Adaptive { .. } => "adaptive",
            Self::Cpr { .. } => "cpr",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// As in `[schedule]`, applied to λ.
    Constant,
    /// As in `[schedule]`, applied to λ.
    Step,
    /// As in `[schedule]`, applied to λ.
    Cosine,
    /// As in `[schedule]`, applied to λ.
    Linear,
    /// λ is set to γ/‖w‖², which maximizes the evidence of the training data. γ is the number of weights that the data determine. For `l2`.
    Evidence,
    /// λ follows the ratio of the norm of the data loss's gradient to the norm of the weights. For `l2`.
    Adaptive,
    /// Constrained parameter regularization: Σ w² of each parameter stays below a bound. For `decoupled`.
    Cpr,
}

keys! {
    struct Keys in "schedule" {
        /// The kind of schedule.
        kind: Kind = Kind::Constant;
        /// Steps of linear warm-up.
        warmup_steps: u64 = 0, for Constant | Step | Cosine | Linear;
        /// Epochs between two decreases or updates.
        every_epochs: Count = Count::literal(5), for Step | Evidence;
        /// The factor of a decrease.
        factor: Fraction = Fraction::literal(0.1), for Step;
        /// The final λ as a fraction of `lambda`.
        final_fraction: Fraction = Fraction::literal(0.0), for Cosine | Linear;
        /// The approximation of the curvature.
        structure: Structure = Structure::Ekfac, for Evidence;
        /// The epoch after which λ is updated first, less than `train.epochs`.
        burn_in_epochs: Count = Count::literal(5), for Evidence;
        /// The ratio r.
        ratio: Positive = Positive::literal(0.02), for Adaptive;
        /// Steps after which the bound is set from the weights.
        warm_start_steps: u64 = 500, for Cpr;
        /// The bound as a multiple of Σ w² at that step.
        bound_factor: Positive = Positive::literal(1.0), for Cpr;
        /// The learning rate μ of the multipliers.
        multiplier_rate: Positive = Positive::literal(1.0), for Cpr;
    }
}

impl TryFrom<Keys> for Lambda {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let scheduled = |decay| Self::Scheduled(Schedule { warmup_steps: keys.warmup_steps(), decay });
        Ok(match keys.checked_kind()? {
            Kind::Constant => scheduled(Decay::Constant),
            Kind::Step => scheduled(Decay::Step { every_epochs: keys.every_epochs(), factor: keys.factor() }),
            Kind::Cosine => scheduled(Decay::Cosine { final_fraction: keys.final_fraction() }),
            Kind::Linear => scheduled(Decay::Linear { final_fraction: keys.final_fraction() }),
            Kind::Evidence => {
                Self::Evidence { structure: keys.structure(), burn_in_epochs: keys.burn_in_epochs(), every_epochs: keys.every_epochs() }
            }
            Kind::Adaptive => Self::Adaptive { ratio: keys.ratio() },
            Kind::Cpr => Self::Cpr {
                warm_start_steps: keys.warm_start_steps(),
                bound_factor: keys.bound_factor(),
                multiplier_rate: keys.multiplier_rate(),
            },
        })
    }
}

impl From<Lambda> for Keys {
    fn from(lambda: Lambda) -> Self {
        match lambda {
            Lambda::Evidence { structure, burn_in_epochs, every_epochs } => Self {
                structure: Some(structure),
                burn_in_epochs: Some(burn_in_epochs),
                every_epochs: Some(every_epochs),
                ..Self::of(Kind::Evidence)
            },
            Lambda::Adaptive { ratio } => Self { ratio: Some(ratio), ..Self::of(Kind::Adaptive) },
            Lambda::Cpr { warm_start_steps, bound_factor, multiplier_rate } => Self {
                warm_start_steps: Some(warm_start_steps),
                bound_factor: Some(bound_factor),
                multiplier_rate: Some(multiplier_rate),
                ..Self::of(Kind::Cpr)
            },
            Lambda::Scheduled(Schedule { warmup_steps, decay }) => {
                let keys = match decay {
                    // λ has no plateau and no one-cycle schedule.
                    Decay::Constant | Decay::Plateau { .. } | Decay::OneCycle { .. } => Self::of(Kind::Constant),
                    Decay::Step { every_epochs, factor } => {
                        Self { every_epochs: Some(every_epochs), factor: Some(factor), ..Self::of(Kind::Step) }
                    }
                    Decay::Cosine { final_fraction } => Self { final_fraction: Some(final_fraction), ..Self::of(Kind::Cosine) },
                    Decay::Linear { final_fraction } => Self { final_fraction: Some(final_fraction), ..Self::of(Kind::Linear) },
                };
                Self { warmup_steps: Some(warmup_steps), ..keys }
            }
        }
    }
}
