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
    /// Its coefficient λ: before its schedule, or to start from. 0 where the schedule finds it.
    pub lambda: NonNegative,
    /// The `m` it is divided by.
    pub samples: Samples,
    /// The parameters it is on.
    pub scope: Scope,
    /// How λ changes during training.
    pub schedule: Lambda,
    /// Whether it acts by a proximal step after each step of the optimizer instead of by its gradient.
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
    /// λ/m·Σ √|g|·‖w(g)‖, a group the weights into one output channel or unit (Yuan and Lin 2006).
    GroupLasso,
    /// No term of the loss: each step takes η·λ/m·w off w, as AdamW does (Loshchilov and Hutter 2019, arXiv 1711.05101).
    Decoupled,
}

/// Which parameters a penalty is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Scope {
    /// The weights of convolutions and dense layers.
    #[default]
    Kernels,
    /// What is added: biases, and β of normalizations.
    Biases,
    /// Every parameter that is trained: those two, and γ of normalizations.
    All,
    /// Those whose name fits, where `*` stands for any characters.
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
    /// Whether a parameter that is trained is in it.
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
    /// The word for it in configs.
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

/// The section as it is written.
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
    /// Whether λ and what changes it go together.
    fn check_schedule(&self, kind: PenaltyKind) -> Result<(), ConfigError> {
        let way = self.schedule.name();
        let wanted = match self.schedule {
            Lambda::Scheduled(_) => None,
            Lambda::Evidence { .. } | Lambda::Adaptive { .. } => Some(PenaltyKind::L2),
            Lambda::Cpr { .. } => Some(PenaltyKind::Decoupled),
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != kind) {
            let problem = format!("is \"{way}\", which is for kind `{}`, not `{}`", wanted.name(), kind.name());
            return Err(ConfigError::value("penalty.schedule.kind", problem));
        }
        match (self.lambda, self.schedule.finds_lambda()) {
            (None, false) if matches!(self.schedule, Lambda::Evidence { .. }) => {
                return Err(ConfigError::value("penalty.lambda", "is missing; schedule `evidence` starts from a number > 0, such as 1"));
            }
            (None, false) => return Err(ConfigError::value("penalty.lambda", "is missing; it has no default")),
            (Some(_), true) => {
                let problem = format!("does not apply to schedule `{way}`, which finds λ itself; leave it out");
                return Err(ConfigError::value("penalty.lambda", problem));
            }
            _ => {}
        }
        let is_evidence = matches!(self.schedule, Lambda::Evidence { .. });
        if is_evidence && self.lambda.is_some_and(|lambda| lambda.get() == 0.0) {
            return Err(ConfigError::value("penalty.lambda", "is 0; schedule `evidence` starts from a number > 0, such as 1"));
        }
        if !matches!(self.schedule, Lambda::Scheduled(_)) && self.samples != Samples::Train {
            let problem = format!("does not apply to schedule `{way}`, which counts the training samples; leave it out");
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
