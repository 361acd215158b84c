//! The `[optimizer]` section.

use std::collections::BTreeMap;

use regulus_model::graph::Graph;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::keys;
use super::number::{Fraction, NonNegative, Positive};
use super::{ConfigError, Scope};

/// The optimizer of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Parameters with a learning rate of their own.
    pub group: Vec<RateGroup>,
}

/// Parameters with a learning rate of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateGroup {
    /// The parameters, as in `scope` of a penalty.
    #[schemars(extend("x-values" = "`kernels`, `biases`, `all` or a name"))]
    pub scope: Scope,
    /// Their learning rate is so many times that of the others, in every step.
    pub factor: Positive,
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
    /// How many numbers it keeps of each parameter between two steps.
    #[must_use]
    pub fn numbers_per_parameter(&self) -> u64 {
        match self {
            Self::Sgd { momentum, .. } => u64::from(momentum.get() > 0.0),
            Self::Adam { .. } | Self::AdamW { .. } => 2,
            Self::RmsProp { momentum, centered, .. } => 1 + u64::from(momentum.get() > 0.0) + u64::from(*centered),
        }
    }

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

impl Optimizer {
    /// The factors of the learning rate by name of parameter, where there is one.
    ///
    /// # Errors
    ///
    /// When a group has no trained parameter, or one that another group has.
    pub fn rates(&self, graph: &Graph) -> Result<BTreeMap<String, f64>, ConfigError> {
        let mut rates = BTreeMap::new();
        for (index, RateGroup { scope, factor }) in self.group.iter().enumerate() {
            let inside = graph.parameters().filter(|parameter| parameter.is_trained() && scope.has(parameter));
            let names: Vec<String> = inside.map(|parameter| parameter.name.clone()).collect();
            let refuse = |problem: String| {
                let scope = String::from(scope.clone());
                Err(ConfigError::value(format!("optimizer.group.{index}.scope"), format!("is {scope:?}, {problem}")))
            };
            if names.is_empty() {
                return refuse(
                    "which matches no trained parameter; expected `kernels`, `biases`, `all` or a name, with `*` for any characters"
                        .to_owned(),
                );
            }
            for name in names {
                if rates.contains_key(&name) {
                    return refuse(format!("but `{name}` is in a group before it; give them different scopes"));
                }
                rates.insert(name, factor.get());
            }
        }
        Ok(rates)
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        let keys = Keys::of(Kind::Adam);
        Self { learning_rate: keys.learning_rate(), clip_norm: None, sam_rho: None, method: keys.method(Kind::Adam), group: Vec::new() }
    }
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Gradient descent, with or without momentum.
    Sgd,
    /// Adam (Kingma and Ba 2015, arXiv 1412.6980).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).
    AdamW,
    /// RMSprop (Hinton 2012, Coursera lecture 6).
    RmsProp,
}

keys! {
    struct Keys in "optimizer" {
        /// The method.
        kind: Kind = Kind::Adam;
        /// The learning rate η before its schedule.
        learning_rate: Positive = Positive::literal(0.001);
        /// The largest norm of the gradient of all parameters together; 0: no limit.
        clip_norm: NonNegative = NonNegative::literal(0.0);
        /// ρ of sharpness-aware minimization; 0: off.
        sam_rho: NonNegative = NonNegative::literal(0.0);
        /// The momentum.
        momentum: Fraction = Fraction::literal(0.0), for Sgd | RmsProp;
        /// Nesterov momentum. It needs `momentum` > 0.
        nesterov: bool = false, for Sgd;
        /// The decay of the first moment.
        beta_1: Fraction = Fraction::literal(0.9), for Adam | AdamW;
        /// The decay of the second moment.
        beta_2: Fraction = Fraction::literal(0.999), for Adam | AdamW;
        /// A number added to the root of the second moment.
        epsilon: Positive = Positive::literal(1e-7), for Adam | AdamW | RmsProp;
        /// Decoupled weight decay of every parameter.
        weight_decay: NonNegative = NonNegative::literal(0.01), for AdamW;
        /// The decay of the mean square.
        alpha: Fraction = Fraction::literal(0.9), for RmsProp;
        /// Subtracts the mean of the gradient first.
        centered: bool = false, for RmsProp;
        /// Parameters with a learning rate of their own. A config can have several; no parameter is in two.
        group: Vec<RateGroup>;
    }
}

impl Keys {
    fn method(&self, kind: Kind) -> Method {
        let [momentum, beta_1, beta_2] = [self.momentum(), self.beta_1(), self.beta_2()];
        let epsilon = self.epsilon();
        match kind {
            Kind::Sgd => Method::Sgd { momentum, nesterov: self.nesterov() },
            Kind::Adam => Method::Adam { beta_1, beta_2, epsilon },
            Kind::AdamW => Method::AdamW { beta_1, beta_2, epsilon, weight_decay: self.weight_decay() },
            Kind::RmsProp => Method::RmsProp { alpha: self.alpha(), momentum, epsilon, centered: self.centered() },
        }
    }
}

impl TryFrom<Keys> for Optimizer {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let kind = keys.checked_kind()?;
        if keys.nesterov() && keys.momentum().get() == 0.0 {
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
        let [clip_norm, sam_rho] = [keys.clip_norm(), keys.sam_rho()].map(|number| Positive::try_from(number.get()).ok());
        Ok(Self {
            learning_rate: keys.learning_rate(),
            clip_norm,
            sam_rho,
            method: keys.method(kind),
            group: keys.group.unwrap_or_default(),
        })
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
        keys.learning_rate = Some(optimizer.learning_rate);
        keys.group = (!optimizer.group.is_empty()).then_some(optimizer.group);
        [keys.clip_norm, keys.sam_rho] =
            [optimizer.clip_norm, optimizer.sam_rho].map(|number| Some(NonNegative::literal(number.map_or(0.0, Positive::get))));
        keys
    }
}
