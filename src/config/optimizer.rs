//! The `[optimizer]` section.

use serde::{Deserialize, Serialize};

use super::number::{Fraction, NonNegative, Positive};
use super::{ConfigError, load};

/// The optimizer of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Optimizer {
    /// The learning rate η, before the schedule.
    pub learning_rate: Positive,
    /// Gradient clipping: the largest Euclidean norm of the gradient of all parameters together.
    pub clip_norm: Option<Positive>,
    /// ρ of sharpness-aware minimization: the gradient of the data loss is computed at w + ρ·g/‖g‖ (Foret et al. 2021, arXiv 2010.01412).
    pub sam_rho: Option<Positive>,
    /// The method.
    pub method: Method,
}

/// The methods, as Burn implements them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Gradient descent: w ← w − η·v with v ← μ·v + g.
    Sgd {
        /// μ; 0: no momentum.
        momentum: Fraction,
        /// Nesterov's variant: the step is g + μ·v.
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2015, arXiv 1412.6980).
    Adam {
        /// Decay of the first moment.
        beta_1: Fraction,
        /// Decay of the second moment.
        beta_2: Fraction,
        /// Added to the root of the second moment.
        epsilon: Positive,
    },
    /// Adam with decoupled weight decay on every parameter (Loshchilov and Hutter 2019, arXiv 1711.05101).
    AdamW {
        /// Decay of the first moment.
        beta_1: Fraction,
        /// Decay of the second moment.
        beta_2: Fraction,
        /// Added to the root of the second moment.
        epsilon: Positive,
        /// Each step also subtracts η·`weight_decay`·w.
        weight_decay: NonNegative,
    },
    /// RMSprop (Hinton 2012, Coursera lecture 6).
    RmsProp {
        /// Decay of the mean square.
        alpha: Fraction,
        /// Momentum of the scaled gradient; 0: no momentum.
        momentum: Fraction,
        /// Added to the root of the mean square.
        epsilon: Positive,
        /// Whether the mean of the gradient is subtracted first.
        centered: bool,
    },
}

impl Method {
    /// Checks that proximal steps can follow the steps of this method. `key` is the penalty in messages.
    pub(crate) fn check_proximal(&self, key: &str) -> Result<(), ConfigError> {
        let foreign = match self {
            Self::RmsProp { .. } => "`optimizer.kind` = \"rmsprop\"",
            // The proximal step does not take account of the longer step of Nesterov momentum.
            Self::Sgd { nesterov: true, .. } => "`optimizer.nesterov` = true",
            Self::Sgd { .. } | Self::Adam { .. } | Self::AdamW { .. } => return Ok(()),
        };
        let problem = format!("is true, but there is no proximal step for {foreign}; use sgd with or without momentum, adam or adamw");
        Err(ConfigError::value(format!("{key}.proximal"), problem))
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self { learning_rate: Positive::literal(0.001), clip_norm: None, sam_rho: None, method: Keys::of(Kind::default()).method() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sgd,
    #[default]
    Adam,
    AdamW,
    RmsProp,
}

/// The section as in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    kind: Kind,
    #[serde(default = "default_rate")]
    learning_rate: Positive,
    #[serde(default = "zero")]
    clip_norm: NonNegative,
    #[serde(default = "zero")]
    sam_rho: NonNegative,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    momentum: Option<Fraction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nesterov: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beta_1: Option<Fraction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beta_2: Option<Fraction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epsilon: Option<Positive>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight_decay: Option<NonNegative>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alpha: Option<Fraction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    centered: Option<bool>,
}

fn default_rate() -> Positive {
    Positive::literal(0.001)
}

fn zero() -> NonNegative {
    NonNegative::literal(0.0)
}

impl Keys {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            learning_rate: default_rate(),
            clip_norm: zero(),
            sam_rho: zero(),
            momentum: None,
            nesterov: None,
            beta_1: None,
            beta_2: None,
            epsilon: None,
            weight_decay: None,
            alpha: None,
            centered: None,
        }
    }

    fn method(&self) -> Method {
        let momentum = self.momentum.unwrap_or(Fraction::literal(0.0));
        let beta_1 = self.beta_1.unwrap_or(Fraction::literal(0.9));
        let beta_2 = self.beta_2.unwrap_or(Fraction::literal(0.999));
        let epsilon = self.epsilon.unwrap_or(Positive::literal(1e-7));
        match self.kind {
            Kind::Sgd => Method::Sgd { momentum, nesterov: self.nesterov.unwrap_or(false) },
            Kind::Adam => Method::Adam { beta_1, beta_2, epsilon },
            Kind::AdamW => {
                let weight_decay = self.weight_decay.unwrap_or(NonNegative::literal(0.01));
                Method::AdamW { beta_1, beta_2, epsilon, weight_decay }
            }
            Kind::RmsProp => {
                let alpha = self.alpha.unwrap_or(Fraction::literal(0.9));
                Method::RmsProp { alpha, momentum, epsilon, centered: self.centered.unwrap_or(false) }
            }
        }
    }
}

impl TryFrom<Keys> for Optimizer {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        use Kind::{Adam, AdamW, RmsProp, Sgd};
        let kind = keys.kind;
        let adaptive = matches!(kind, Adam | AdamW);
        let given = [
            ("momentum", keys.momentum.is_some(), matches!(kind, Sgd | RmsProp)),
            ("nesterov", keys.nesterov.is_some(), kind == Sgd),
            ("beta_1", keys.beta_1.is_some(), adaptive),
            ("beta_2", keys.beta_2.is_some(), adaptive),
            ("epsilon", keys.epsilon.is_some(), kind != Sgd),
            ("weight_decay", keys.weight_decay.is_some(), kind == AdamW),
            ("alpha", keys.alpha.is_some(), kind == RmsProp),
            ("centered", keys.centered.is_some(), kind == RmsProp),
        ];
        load::refuse_foreign_keys("optimizer", &load::kind_in_words(&kind), &given)?;
        if keys.nesterov == Some(true) && keys.momentum.is_none_or(|momentum| momentum.get() == 0.0) {
            return Err(ConfigError::value("optimizer.nesterov", "is true; it needs `optimizer.momentum` > 0"));
        }
        // Burn computes with float32.
        let betas = [("beta_1", keys.beta_1), ("beta_2", keys.beta_2), ("alpha", keys.alpha), ("momentum", keys.momentum)];
        #[expect(clippy::cast_possible_truncation, reason = "checks the value in float32")]
        if let Some((key, value)) = betas.iter().find(|(_, value)| value.is_some_and(|value| value.get() as f32 >= 1.0)) {
            let value = value.map_or(0.0, Fraction::get);
            return Err(ConfigError::value(
                format!("optimizer.{key}"),
                format!("is {value}; expected less than 1 in float32, at most 0.9999999"),
            ));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checks the value in float32")]
        if let Some(epsilon) = keys.epsilon.filter(|epsilon| epsilon.get() as f32 <= 0.0) {
            let problem = format!("is {:?}; expected more than 0 in float32, at least 1e-45", epsilon.get());
            return Err(ConfigError::value("optimizer.epsilon", problem));
        }
        let [clip_norm, sam_rho] = [keys.clip_norm, keys.sam_rho].map(|number| Positive::try_from(number.get()).ok());
        Ok(Self { learning_rate: keys.learning_rate, clip_norm, sam_rho, method: keys.method() })
    }
}

impl From<Optimizer> for Keys {
    fn from(optimizer: Optimizer) -> Self {
        let mut keys = match optimizer.method {
            Method::Sgd { momentum, nesterov } => Self { momentum: Some(momentum), nesterov: Some(nesterov), ..Self::of(Kind::Sgd) },
            Method::Adam { beta_1, beta_2, epsilon } => {
                Self { beta_1: Some(beta_1), beta_2: Some(beta_2), epsilon: Some(epsilon), ..Self::of(Kind::Adam) }
            }
            Method::AdamW { beta_1, beta_2, epsilon, weight_decay } => Self {
                beta_1: Some(beta_1),
                beta_2: Some(beta_2),
                epsilon: Some(epsilon),
                weight_decay: Some(weight_decay),
                ..Self::of(Kind::AdamW)
            },
            Method::RmsProp { alpha, momentum, epsilon, centered } => Self {
                alpha: Some(alpha),
                momentum: Some(momentum),
                epsilon: Some(epsilon),
                centered: Some(centered),
                ..Self::of(Kind::RmsProp)
            },
        };
        keys.learning_rate = optimizer.learning_rate;
        [keys.clip_norm, keys.sam_rho] =
            [optimizer.clip_norm, optimizer.sam_rho].map(|number| NonNegative::literal(number.map_or(0.0, Positive::get)));
        keys
    }
}
