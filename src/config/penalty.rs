//! The `[[penalty]]` sections.

use regulus_model::graph::{Parameter, Role};
use serde::{Deserialize, Serialize};

use super::number::{Fraction, NonNegative, Samples};
use super::{ConfigError, Lambda, load};

/// One regularization term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    L2,
    L1,
    ElasticNet,
    GroupLasso,
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
            Self::Decoupled => "decoupled",
        }
    }
}

/// The section as in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lambda: Option<NonNegative>,
    #[serde(default = "train_samples")]
    samples: Samples,
    #[serde(default)]
    scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l1_ratio: Option<Fraction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proximal: Option<bool>,
    #[serde(default)]
    schedule: Lambda,
}

fn train_samples() -> Samples {
    Samples::Train
}

impl TryFrom<Keys> for Penalty {
    type Error = ConfigError;

    fn try_from(keys: Keys) -> Result<Self, ConfigError> {
        let kind = match keys.kind {
            Kind::L2 => PenaltyKind::L2,
            Kind::L1 => PenaltyKind::L1,
            Kind::ElasticNet => PenaltyKind::ElasticNet { l1_ratio: keys.l1_ratio.unwrap_or(Fraction::literal(0.5)) },
            Kind::GroupLasso => PenaltyKind::GroupLasso,
            Kind::Decoupled => PenaltyKind::Decoupled,
        };
        let sparse = matches!(keys.kind, Kind::L1 | Kind::ElasticNet | Kind::GroupLasso);
        let given =
            [("l1_ratio", keys.l1_ratio.is_some(), keys.kind == Kind::ElasticNet), ("proximal", keys.proximal == Some(true), sparse)];
        load::refuse_foreign_keys("penalty", &format!("kind `{}`", kind.name()), &given)?;
        keys.check_schedule(kind)?;
        let Keys { lambda, samples, scope, schedule, .. } = keys;
        let lambda = lambda.unwrap_or(NonNegative::literal(0.0));
        Ok(Self { kind, lambda, samples, scope, schedule, proximal: keys.proximal.unwrap_or(false) })
    }
}

impl Keys {
    /// Checks that kind, λ, samples and schedule are compatible.
    fn check_schedule(&self, kind: PenaltyKind) -> Result<(), ConfigError> {
        let schedule = self.schedule.name();
        let required = match self.schedule {
            Lambda::Scheduled(_) => None,
            Lambda::Evidence { .. } | Lambda::Adaptive { .. } => Some(PenaltyKind::L2),
            Lambda::Cpr { .. } => Some(PenaltyKind::Decoupled),
        };
        if let Some(required) = required.filter(|required| *required != kind) {
            let problem = format!("is \"{schedule}\", which is for kind `{}`, not `{}`", required.name(), kind.name());
            return Err(ConfigError::value("penalty.schedule.kind", problem));
        }
        match (self.lambda, self.schedule.finds_lambda()) {
            (None, false) if matches!(self.schedule, Lambda::Evidence { .. }) => {
                return Err(ConfigError::value("penalty.lambda", "is missing; schedule `evidence` starts from a number > 0, such as 1"));
            }
            (None, false) => return Err(ConfigError::value("penalty.lambda", "is missing; it has no default")),
            (Some(_), true) => {
                let problem = format!("does not apply to schedule `{schedule}`, which determines λ; leave it out");
                return Err(ConfigError::value("penalty.lambda", problem));
            }
            _ => {}
        }
        let is_evidence = matches!(self.schedule, Lambda::Evidence { .. });
        if is_evidence && self.lambda.is_some_and(|lambda| lambda.get() == 0.0) {
            return Err(ConfigError::value("penalty.lambda", "is 0; schedule `evidence` starts from a number > 0, such as 1"));
        }
        if !matches!(self.schedule, Lambda::Scheduled(_)) && self.samples != Samples::Train {
            let problem = format!("does not apply to schedule `{schedule}`, which uses the number of training samples; leave it out");
            return Err(ConfigError::value("penalty.samples", problem));
        }
        Ok(())
    }
}

impl From<Penalty> for Keys {
    fn from(penalty: Penalty) -> Self {
        let Penalty { kind, lambda, samples, scope, schedule, proximal } = penalty;
        let lambda = (!schedule.finds_lambda()).then_some(lambda);
        let keys = |kind| Self { kind, lambda, samples, scope, schedule, l1_ratio: None, proximal: proximal.then_some(true) };
        match kind {
            PenaltyKind::L2 => keys(Kind::L2),
            PenaltyKind::L1 => keys(Kind::L1),
            PenaltyKind::ElasticNet { l1_ratio } => Self { l1_ratio: Some(l1_ratio), ..keys(Kind::ElasticNet) },
            PenaltyKind::GroupLasso => keys(Kind::GroupLasso),
            PenaltyKind::Decoupled => keys(Kind::Decoupled),
        }
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
