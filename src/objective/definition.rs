//! From the definitions of penalties to terms: their parameters are found, and combinations that can't be used are refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::prelude::*;
use regulus_model::graph::{Graph, Parameter, Role};
use regulus_model::spelling;

use super::Penalties;
use super::lambda::Rule;
use super::own_penalty::OwnPenalty;
use super::regularizer::Regularizer;
use super::term::{Form, Term};
use crate::backend::host_device;
use crate::config::number::{NonNegative, Samples};
use crate::config::{ConfigError, Decay, Lambda, Method, Penalty, Scope};
use crate::schedule::RunLength;

/// The most parameters in a message.
const LISTED: usize = 10;

/// A penalty before its parameters are known.
pub(super) struct Definition {
    /// What messages call it: `penalty.0`, or its name.
    pub(super) key: String,
    pub(super) form: Form,
    pub(super) base: f64,
    pub(super) rule: Rule,
    pub(super) samples: Samples,
    pub(super) scope: Scope,
    pub(super) proximal: bool,
}

impl Penalties {
    /// The penalties of `config` on the parameters of `graph`, for a run of this length.
    ///
    /// # Errors
    ///
    /// When a scope has no parameter, or a parameter has two proximal terms, two `evidence` terms or two `cpr` terms.
    pub fn new(config: &[Penalty], graph: &Graph, length: RunLength) -> Result<Self, ConfigError> {
        let kernels = trained(graph).filter(|parameter| parameter.role == Role::Kernel).map(|parameter| parameter.name.clone());
        let mut penalties = Self { terms: Vec::new(), length, kernels: kernels.collect(), origin: None };
        for (index, penalty) in config.iter().enumerate() {
            let Penalty { kind, lambda, samples, scope, schedule, proximal } = penalty.clone();
            let (base, form) = (lambda.get(), Form::BuiltIn(kind));
            let rule = Rule::new(base, &schedule, length);
            penalties.push(Definition { key: format!("penalty.{index}"), form, base, rule, samples, scope, proximal }, graph)?;
        }
        Ok(penalties)
    }

    /// Adds a penalty that is not built in, for training by `method`.
    ///
    /// # Errors
    ///
    /// When λ is not a finite number ≥ 0, the schedule is `plateau` or `one_cycle`, the scope has no parameter, or the regularizer gives a tensor of another shape than
    /// it must. For a proximal one, when a parameter has a proximal term already, `method` has no proximal steps, or the regularizer has none for
    /// `method`.
    pub fn add(&mut self, penalty: OwnPenalty, graph: &Graph, method: &Method) -> Result<(), ConfigError> {
        let OwnPenalty { regularizer, lambda, samples, scope, schedule, proximal } = penalty;
        let key = regularizer.name().to_owned();
        let base = NonNegative::try_from(lambda).map_err(|problem| ConfigError::value(format!("{key}.lambda"), problem))?.get();
        let foreign = match schedule.decay {
            Decay::Plateau { .. } => Some("plateau"),
            Decay::OneCycle { .. } => Some("one_cycle"),
            Decay::Constant | Decay::Step { .. } | Decay::Cosine { .. } | Decay::Linear { .. } => None,
        };
        if let Some(kind) = foreign {
            let problem = format!("is \"{kind}\", which is for the learning rate; expected constant, step, cosine or linear");
            return Err(ConfigError::value(format!("{key}.schedule"), problem));
        }
        if proximal {
            method.check_proximal(&key)?;
        }
        let rule = Rule::new(base, &Lambda::Scheduled(schedule), self.length);
        let form = Form::Own(Arc::clone(&regularizer));
        self.push(Definition { key, form, base, rule, samples, scope, proximal }, graph)?;
        let Some(term) = self.terms.last() else { return Ok(()) };
        let inside = trained(graph).filter(|parameter| term.names.contains(&parameter.name));
        let checked = inside.map(|parameter| check_regularizer(&*regularizer, parameter, proximal.then_some(method)));
        if let Err(error) = checked.collect::<Result<(), _>>() {
            self.terms.pop();
            return Err(error);
        }
        Ok(())
    }

    /// Adds a term.
    fn push(&mut self, definition: Definition, graph: &Graph) -> Result<(), ConfigError> {
        let key = definition.key.clone();
        let inside = trained(graph).filter(|parameter| definition.scope.has(parameter));
        let names: BTreeSet<String> = inside.map(|parameter| parameter.name.clone()).collect();
        if names.is_empty() {
            let all: Vec<&str> = trained(graph).map(|parameter| parameter.name.as_str()).collect();
            let listed = spelling::listed(&all, LISTED);
            let parameters = if graph.frozen_parameters().next().is_some() { "trained parameter" } else { "parameter" };
            let problem = format!(
                "is {:?}, which matches no {parameters}; expected `kernels`, `biases`, `all`, or one of {listed}, with `*` for any characters",
                String::from(definition.scope)
            );
            return Err(ConfigError::value(format!("{key}.scope"), problem));
        }
        let term = Term::new(definition, names, self.length.samples);
        for option in ["proximal", "evidence", "cpr"] {
            let others = self.terms.iter().filter(|other| term.has(option) && other.has(option));
            let Some(parameter) = others.flat_map(|other| other.names.intersection(&term.names)).next() else { continue };
            let (name, value) = if option == "proximal" { (option, "true".to_owned()) } else { ("schedule.kind", format!("{option:?}")) };
            let problem = format!("is {value}, but `{parameter}` has a penalty with `{option}` already; give them different scopes");
            return Err(ConfigError::value(format!("{key}.{name}"), problem));
        }
        self.terms.push(term);
        Ok(())
    }
}

fn trained(graph: &Graph) -> impl Iterator<Item = &Parameter> {
    graph.parameters().filter(|parameter| parameter.is_trained())
}

/// Calls a regularizer with zeros of the shape of a parameter, and checks the shape of each result. With `proximal` it needs a proximal step for this method.
fn check_regularizer(regularizer: &dyn Regularizer, parameter: &Parameter, proximal: Option<&Method>) -> Result<(), ConfigError> {
    let outputs = parameter.shape[parameter.output_axis];
    let shape = [outputs, parameter.size() / outputs];
    let zeros = || Tensor::<2>::zeros(shape, &host_device());
    let name = regularizer.name();
    let check = |method: &str, found: &[usize], expected: &[usize]| {
        let problem = || format!("is of shape {found:?} for `{}`; expected {expected:?}", parameter.name);
        if found == expected { Ok(()) } else { Err(ConfigError::value(format!("{name}.{method}"), problem())) }
    };
    check("value", &regularizer.value(zeros()).dims(), &[1])?;
    if let Some(gradient) = regularizer.gradient(zeros()) {
        check("gradient", &gradient.dims(), &shape)?;
    }
    let Some(method) = proximal else { return Ok(()) };
    let scales = matches!(method, Method::Adam { .. } | Method::AdamW { .. });
    let (step, stepped, other) = if scales {
        ("scaled_proximal_step", regularizer.scaled_proximal_step(zeros(), 1.0, zeros().add_scalar(1.0)), "`optimizer.kind` = \"sgd\"")
    } else {
        ("proximal_step", regularizer.proximal_step(zeros(), 1.0), "the gradient, without `proximal`")
    };
    let Some(stepped) = stepped else {
        let problem = format!("is true, but there is no `{step}`, which this optimizer needs; implement it, or use {other}");
        return Err(ConfigError::value(format!("{name}.proximal"), problem));
    };
    check(step, &stepped.dims(), &shape)
}
