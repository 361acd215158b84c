//! The `[penalty.schedule]` section: how λ changes during training.

use serde::{Deserialize, Serialize};

use super::number::{Count, Fraction, Positive};
use super::{ConfigError, Schedule, load, schedule};

/// The schedule of a penalty's λ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// The diagonal.
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

/// The section as in the file.
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
        load::refuse_foreign_keys("schedule", &load::kind_in_words(&kind), &given)?;
        let scheduled = |kind| {
            let Keys { every_epochs, factor, final_fraction, .. } = keys;
            let warmup_steps = keys.warmup_steps.unwrap_or_default();
            schedule::Keys { kind, warmup_steps, every_epochs, factor, final_fraction, ..schedule::Keys::default() }.try_into()
        };
        Ok(match kind {
            Constant => Self::Scheduled(scheduled(schedule::Kind::Constant)?),
            Step => Self::Scheduled(scheduled(schedule::Kind::Step)?),
            Cosine => Self::Scheduled(scheduled(schedule::Kind::Cosine)?),
            Linear => Self::Scheduled(scheduled(schedule::Kind::Linear)?),
            Evidence => Self::Evidence {
                structure: keys.structure.unwrap_or(Structure::Kronecker),
                burn_in_epochs: keys.burn_in_epochs.unwrap_or(Count::literal(5)),
                every_epochs: keys.every_epochs.unwrap_or(Count::literal(5)),
            },
            Adaptive => Self::Adaptive { ratio: keys.ratio.unwrap_or(Positive::literal(0.02)) },
            Cpr => Self::Cpr {
                warm_start_steps: keys.warm_start_steps.unwrap_or(500),
                bound_factor: keys.bound_factor.unwrap_or(Positive::literal(1.0)),
                multiplier_rate: keys.multiplier_rate.unwrap_or(Positive::literal(1.0)),
            },
        })
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
            Lambda::Scheduled(schedule) => {
                let schedule::Keys { kind, warmup_steps, every_epochs, factor, final_fraction, .. } = schedule.into();
                let kind = match kind {
                    // λ has no plateau schedule.
                    schedule::Kind::Constant | schedule::Kind::Plateau => Kind::Constant,
                    schedule::Kind::Step => Kind::Step,
                    schedule::Kind::Cosine => Kind::Cosine,
                    schedule::Kind::Linear => Kind::Linear,
                };
                Self { warmup_steps: Some(warmup_steps), every_epochs, factor, final_fraction, ..keys(kind) }
            }
        }
    }
}
