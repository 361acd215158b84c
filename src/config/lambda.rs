//! The `[penalty.schedule]` section: how λ changes during training.

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction, Positive};
use super::{ConfigError, Decay, Schedule, load};

/// How a penalty's λ changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub enum Lambda {
    /// By a factor that depends on the step alone.
    Scheduled(Schedule),
    /// By the evidence of the training data: λ ← γ/‖w‖² (`MacKay` 1992; Immer et al. 2021, arXiv 2104.04975).
    Evidence {
        /// How the curvature of the loss is approximated.
        structure: Structure,
        /// Epochs before the first update.
        burn_in_epochs: Count,
        /// Epochs between two updates.
        every_epochs: Count,
    },
    /// λ/m = r·‖∇CE‖/‖w‖, smoothed (Ghiasi et al. 2023, arXiv 2210.00094).
    Adaptive {
        /// r, the paper's decay over gradient.
        ratio: Positive,
    },
    /// A multiplier for each parameter that keeps its Σ w² below a bound (Franke et al. 2024, arXiv 2311.09058).
    Cpr {
        /// Steps after which the bound is taken from the weights.
        warm_start_steps: u64,
        /// The bound as a fraction of Σ w² then.
        bound_factor: Positive,
        /// μ, by which the multipliers learn.
        multiplier_rate: Positive,
    },
}

/// What stands for the curvature of the loss, the generalized Gauss-Newton matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// Its diagonal.
    Diagonal,
    /// A Kronecker product for each kernel (Martens and Grosse 2015, arXiv 1503.05671; Grosse and Martens 2016, arXiv 1602.01407).
    Kronecker,
}

impl Default for Lambda {
    fn default() -> Self {
        Self::Scheduled(Schedule::default())
    }
}

impl Lambda {
    /// Whether λ is found without one to start from.
    #[must_use]
    pub const fn finds_lambda(&self) -> bool {
        matches!(self, Self::Adaptive { .. } | Self::Cpr { .. })
    }

    /// The word for it in configs.
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Constant,
    Step,
    Cosine,
    Linear,
    Evidence,
    Adaptive,
    Cpr,
}

/// The section as it is written.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_steps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_epochs: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<Fraction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_fraction: Option<Fraction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structure: Option<Structure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burn_in_epochs: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Positive>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_start_steps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_factor: Option<Positive>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multiplier_rate: Option<Positive>,
}

impl TryFrom<Keys> for Lambda {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        use Kind::{Adaptive, Constant, Cosine, Cpr, Evidence, Linear, Step};
        let kind = keys.kind;
        let given = [
            ("warmup_steps", keys.warmup_steps.is_some(), matches!(kind, Constant | Step | Cosine | Linear)),
            ("every_epochs", keys.every_epochs.is_some(), matches!(kind, Step | Evidence)),
            ("factor", keys.factor.is_some(), kind == Step),
            ("final_fraction", keys.final_fraction.is_some(), matches!(kind, Cosine | Linear)),
            ("structure", keys.structure.is_some(), kind == Evidence),
            ("burn_in_epochs", keys.burn_in_epochs.is_some(), kind == Evidence),
            ("ratio", keys.ratio.is_some(), kind == Adaptive),
            ("warm_start_steps", keys.warm_start_steps.is_some(), kind == Cpr),
            ("bound_factor", keys.bound_factor.is_some(), kind == Cpr),
            ("multiplier_rate", keys.multiplier_rate.is_some(), kind == Cpr),
        ];
        load::refuse_foreign_keys("schedule", &format!("kind `{}`", format!("{kind:?}").to_lowercase()), &given)?;
        let every_epochs = keys.every_epochs.unwrap_or(Count::literal(5));
        let final_fraction = keys.final_fraction.unwrap_or(Fraction::literal(0.0));
        let decay = match kind {
            Evidence => {
                let structure = keys.structure.unwrap_or(Structure::Kronecker);
                return Ok(Self::Evidence { structure, burn_in_epochs: keys.burn_in_epochs.unwrap_or(Count::literal(5)), every_epochs });
            }
            Adaptive => return Ok(Self::Adaptive { ratio: keys.ratio.unwrap_or(Positive::literal(0.02)) }),
            Cpr => {
                return Ok(Self::Cpr {
                    warm_start_steps: keys.warm_start_steps.unwrap_or(500),
                    bound_factor: keys.bound_factor.unwrap_or(Positive::literal(1.0)),
                    multiplier_rate: keys.multiplier_rate.unwrap_or(Positive::literal(1.0)),
                });
            }
            Constant => Decay::Constant,
            Step => Decay::Step { every_epochs, factor: keys.factor.unwrap_or(Fraction::literal(0.1)) },
            Cosine => Decay::Cosine { final_fraction },
            Linear => Decay::Linear { final_fraction },
        };
        Ok(Self::Scheduled(Schedule { warmup_steps: keys.warmup_steps.unwrap_or(0), decay }))
    }
}

impl From<Lambda> for Keys {
    fn from(lambda: Lambda) -> Self {
        let keys = |kind| Self { kind, ..Self::default() };
        match lambda {
            Lambda::Evidence { structure, burn_in_epochs, every_epochs } => Self {
                structure: Some(structure),
                burn_in_epochs: Some(burn_in_epochs),
                every_epochs: Some(every_epochs),
                ..keys(Kind::Evidence)
            },
            Lambda::Adaptive { ratio } => Self { ratio: Some(ratio), ..keys(Kind::Adaptive) },
            Lambda::Cpr { warm_start_steps, bound_factor, multiplier_rate } => Self {
                warm_start_steps: Some(warm_start_steps),
                bound_factor: Some(bound_factor),
                multiplier_rate: Some(multiplier_rate),
                ..keys(Kind::Cpr)
            },
            Lambda::Scheduled(Schedule { warmup_steps, decay }) => {
                let keys = |kind| Self { warmup_steps: Some(warmup_steps), ..keys(kind) };
                match decay {
                    Decay::Step { every_epochs, factor } => {
                        Self { every_epochs: Some(every_epochs), factor: Some(factor), ..keys(Kind::Step) }
                    }
                    Decay::Cosine { final_fraction } => Self { final_fraction: Some(final_fraction), ..keys(Kind::Cosine) },
                    Decay::Linear { final_fraction } => Self { final_fraction: Some(final_fraction), ..keys(Kind::Linear) },
                    // A λ has no plateau: no section makes one.
                    Decay::Constant | Decay::Plateau { .. } => keys(Kind::Constant),
                }
            }
        }
    }
}
