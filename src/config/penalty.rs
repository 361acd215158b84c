//! The `[[penalty]]` sections.

use regulus_model::graph::{Parameter, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::keys;
use super::number::{Fraction, NonNegative, Samples};
use super::schema::inline_schema;
use super::{ConfigError, Lambda};

/// One regularization term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Keys", into = "Keys")]
pub struct Penalty {
    /// The kind of term.
    pub kind: PenaltyKind,
    /// The coefficient λ before the schedule, or its initial value. 0 if the schedule determines λ.
    pub lambda: NonNegative,
    /// The divisor `m`.
    pub samples: Samples,
    /// The penalized parameters.
    pub scope: Scope,
    /// The schedule of λ.
    pub schedule: Lambda,
    /// Whether it is applied as a proximal step after each optimizer step, instead of by its gradient.
    pub proximal: bool,
}

/// The kinds of regularization term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PenaltyKind {
    /// λ/(2m)·Σ w².
    L2,
    /// λ/m·Σ |w| (Tibshirani 1996).
    L1,
    /// λ/m·(ρ·Σ |w| + (1 − ρ)/2·Σ w²) (Zou and Hastie 2005).
    ElasticNet {
        /// ρ.
        l1_ratio: Fraction,
    },
    /// λ/m·Σ √|g|·‖w(g)‖ over groups g: the weights of one output channel or unit (Yuan and Lin 2006).
    GroupLasso,
    /// λ/(2m)·Σ (w − w₀)², w₀ being the initial weights (Li, Grandvalet and Davoine 2018, arXiv 1802.01483).
    L2Sp,
    /// Decoupled weight decay: not a term of the loss; each step subtracts η·λ/m·w, as in AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).
    Decoupled,
}

/// The parameters of a penalty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Scope {
    /// Weights of convolutions and dense layers.
    #[default]
    Kernels,
    /// Biases, and β of normalizations.
    Biases,
    /// All trained parameters: kernels, biases, and γ of normalizations.
    All,
    /// Parameters whose name matches a pattern, where `*` stands for any characters.
    Named(String),
}

inline_schema!(Scope, |_| schemars::json_schema!({ "type": "string", "examples": ["kernels", "biases", "all", "conv*.weight"] }));

impl From<String> for Scope {
    fn from(text: String) -> Self {
        match text.as_str() {
            "kernels" => Self::Kernels,
            "biases" => Self::Biases,
            "all" => Self::All,
            _ => Self::Named(text),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Kernels => "kernels".to_owned(),
            Scope::Biases => "biases".to_owned(),
            Scope::All => "all".to_owned(),
            Scope::Named(pattern) => pattern,
        }
    }
}

impl Scope {
    /// Whether the scope has a trained parameter.
    #[must_use]
    pub fn has(&self, parameter: &Parameter) -> bool {
        match self {
            Self::Kernels => parameter.role == Role::Kernel,
            Self::Biases => parameter.role == Role::Bias,
            Self::All => true,
            Self::Named(pattern) => wildmatch::WildMatchPattern::<'*', '\0'>::new(pattern).matches(&parameter.name),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// λ/(2m)·Σ w².
    L2,
    /// λ/m·Σ |w|.
    L1,
    /// λ/m·(ρ·Σ |w| + (1 − ρ)/2·Σ w²), ρ being `l1_ratio`.
    ElasticNet,
    /// λ/m·Σ √|g|·‖w(g)‖ over groups g: the weights of one output channel or unit.
    GroupLasso,
    /// λ/(2m)·Σ (w − w₀)², w₀ being the weights of `model.init`: L2 towards the starting point. A last dense layer that starts anew is left out.
    #[serde(rename = "l2_sp")]
    L2Sp,
    /// Decoupled weight decay: each step subtracts η·λ/m·w. It is not a term of the loss.
    Decoupled,
}

impl PenaltyKind {
    /// The name in configs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::L1 => "l1",
            Self::ElasticNet { .. } => "elastic_net",
            Self::GroupLasso => "group_lasso",
            Self::L2Sp => "l2_sp",
            Self::Decoupled => "decoupled",
        }
    }
}

keys! {
    struct Keys in "penalty" {
        /// The kind of term.
        kind: Kind;
        /// λ before its schedule. With an `evidence` schedule the initial λ, > 0. `adaptive` and `cpr` schedules find λ.
        lambda: NonNegative, default "required, but not with `adaptive` and `cpr` schedules";
        /// The divisor m of λ: `train`, the number of training samples; `batch`, the number of samples in the batch; or a fixed number, with which
        /// the strength λ/m does not depend on the number of samples. With 1 the strength is λ itself.
        /// `evidence`, `adaptive` and `cpr` schedules need `train`.
        samples: Samples = Samples::Train;
        /// The penalized parameters: `kernels`, the weights of convolutions and dense layers; `biases`, the biases and β of normalizations;
        /// `all`; or a name in which `*` stands for any characters, such as `conv*.weight`.
        scope: Scope = Scope::Kernels, schema { "x-values": "`kernels`, `biases`, `all` or a name" };
        /// The share of L1.
        l1_ratio: Fraction = Fraction::literal(0.5), for ElasticNet;
        /// Applies the penalty by a proximal step, which gives exact zeros. For the optimizers `adam`, `adamw` and `sgd` without `nesterov`.
        proximal: bool = false, for L1 | ElasticNet | GroupLasso;
        /// How λ changes during training.
        schedule: Lambda;
    }
}

impl TryFrom<Keys> for Penalty {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let kind = match keys.checked_kind()? {
            Kind::L2 => PenaltyKind::L2,
            Kind::L1 => PenaltyKind::L1,
            Kind::ElasticNet => PenaltyKind::ElasticNet { l1_ratio: keys.l1_ratio() },
            Kind::GroupLasso => PenaltyKind::GroupLasso,
            Kind::L2Sp => PenaltyKind::L2Sp,
            Kind::Decoupled => PenaltyKind::Decoupled,
        };
        let schedule = keys.schedule.clone().unwrap_or_default();
        keys.check_schedule(kind, &schedule)?;
        let lambda = keys.lambda.unwrap_or(NonNegative::literal(0.0));
        Ok(Self { kind, lambda, samples: keys.samples(), scope: keys.scope(), schedule, proximal: keys.proximal() })
    }
}

impl Keys {
    /// Checks that kind, λ, samples and schedule are compatible.
    fn check_schedule(&self, kind: PenaltyKind, schedule: &Lambda) -> Result<(), ConfigError> {
        let name = schedule.name();
        let required = match schedule {
            Lambda::Scheduled(_) => None,
            Lambda::Evidence { .. } | Lambda::Adaptive { .. } => Some(PenaltyKind::L2),
            Lambda::Cpr { .. } => Some(PenaltyKind::Decoupled),
        };
        if let Some(required) = required.filter(|required| *required != kind) {
            let problem = format!("is \"{name}\", which is for kind `{}`, not `{}`", required.name(), kind.name());
            return Err(ConfigError::value("penalty.schedule.kind", problem));
        }
        match (self.lambda, schedule.finds_lambda()) {
            (None, false) if matches!(schedule, Lambda::Evidence { .. }) => {
                return Err(ConfigError::value("penalty.lambda", "is missing; schedule `evidence` starts from a number > 0, such as 1"));
            }
            (None, false) => return Err(ConfigError::value("penalty.lambda", "is missing; it has no default")),
            (Some(_), true) => {
                let problem = format!("does not apply to schedule `{name}`, which determines λ; leave it out");
                return Err(ConfigError::value("penalty.lambda", problem));
            }
            _ => {}
        }
        let is_evidence = matches!(schedule, Lambda::Evidence { .. });
        if is_evidence && self.lambda.is_some_and(|lambda| lambda.get() == 0.0) {
            return Err(ConfigError::value("penalty.lambda", "is 0; schedule `evidence` starts from a number > 0, such as 1"));
        }
        if !matches!(schedule, Lambda::Scheduled(_)) && self.samples() != Samples::Train {
            let problem = format!("does not apply to schedule `{name}`, which uses the number of training samples; leave it out");
            return Err(ConfigError::value("penalty.samples", problem));
        }
        Ok(())
    }
}

impl From<Penalty> for Keys {
    fn from(penalty: Penalty) -> Self {
        let Penalty { kind, lambda, samples, scope, schedule, proximal } = penalty;
        let sparse = |kind| Self { proximal: Some(proximal), ..Self::of(kind) };
        let keys = match kind {
            PenaltyKind::L2 => Self::of(Kind::L2),
            PenaltyKind::L1 => sparse(Kind::L1),
            PenaltyKind::ElasticNet { l1_ratio } => Self { l1_ratio: Some(l1_ratio), ..sparse(Kind::ElasticNet) },
            PenaltyKind::GroupLasso => sparse(Kind::GroupLasso),
            PenaltyKind::L2Sp => Self::of(Kind::L2Sp),
            PenaltyKind::Decoupled => Self::of(Kind::Decoupled),
        };
        let lambda = (!schedule.finds_lambda()).then_some(lambda);
        Self { lambda, samples: Some(samples), scope: Some(scope), schedule: Some(schedule), ..keys }
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::{Builder, Conv, Dense, Flatten, Parameter, Shape};

    use super::Scope;

    #[test]
    fn a_star_stands_for_any_characters() {
        let mut network = Builder::new(Shape { channels: 1, height: 4, width: 4 });
        network.then(Conv::new(2, 3)).node(Some("conv10"), Conv::new(2, 1).into(), vec!["conv1".to_owned()]);
        let graph = network.then(Flatten {}).then(Dense::new(2)).finish().unwrap();
        let names = ["conv1.weight", "conv1.bias", "conv10.weight", "dense1.weight"];
        let parameter = |name: &str| graph.parameters().find(|parameter| parameter.name == name).unwrap();
        let parameters: [&Parameter; 4] = names.map(parameter);
        let found = |pattern: &str| parameters.map(|parameter| Scope::from(pattern.to_owned()).has(parameter));
        assert_eq!(found("conv*.weight"), [true, false, true, false]);
        assert_eq!(found("conv1.*"), [true, true, false, false]);
        assert_eq!(found("*"), [true; 4]);
        assert_eq!(found("conv1"), [false; 4]);
        assert_eq!(found("conv?.weight"), [false; 4]);
        assert_eq!(found("kernels"), [true, false, true, true]);
        assert_eq!(found("biases"), [false, true, false, false]);
    }
}
