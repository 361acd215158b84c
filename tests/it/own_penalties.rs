//! Penalties that are not built in, against PyTorch in float64 and against the built-in ones.
//!
//! The numbers are made by `tests/fixtures/own_penalties.py`.

use burn::prelude::*;
use regulus::config::number::{Count, Fraction, Samples};
use regulus::config::{Decay, Schedule};
use regulus::objective::{Observed, OwnPenalty, Regularizer};
use regulus_model::Weights;
use serde::Deserialize;

use crate::objective_fixture::{Numbers, Setting, assert_gradients, assert_weights, folder, named};
use crate::support::{backends_and_kernels, cpu_backends};

const BOUND: f32 = 0.3;
const EPSILON: f32 = 0.01;
const RADIUS: f32 = 0.8;

#[derive(Deserialize)]
struct Fixture {
    batches: Vec<Vec<u32>>,
    smooth: Vec<Smooth>,
    proximal: Vec<Proximal>,
}

#[derive(Deserialize)]
struct Smooth {
    name: String,
    lambda: f64,
    penalty: f64,
    gradients: Numbers,
    after: Vec<After>,
}

#[derive(Deserialize)]
struct Proximal {
    name: String,
    lambda: f64,
    penalty: f64,
    after: Vec<After>,
}

#[derive(Deserialize)]
struct After {
    sets: Vec<String>,
    weights: Numbers,
}

fn fixture() -> Fixture {
    serde_json::from_slice(&std::fs::read(folder().join("own_penalties.json")).unwrap()).unwrap()
}

/// R(w) = Σ (W·Wᵀ)² outside the diagonal: rows that are orthogonal cost nothing.
#[derive(Debug)]
struct Orthogonality;

impl Regularizer for Orthogonality {
    fn name(&self) -> &'static str {
        "orthogonality"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        let products = weights.clone().matmul(weights.clone().transpose());
        products.square().sum() - weights.square().sum_dim(1).square().sum()
    }
}

/// R(w) = Σ ln(1 + w²/ε), with its gradient 2·w/(ε + w²).
#[derive(Debug)]
struct LogSum;

impl Regularizer for LogSum {
    fn name(&self) -> &'static str {
        "log_sum"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.square().div_scalar(EPSILON).log1p().sum()
    }

    fn gradient(&self, weights: Tensor<2>) -> Option<Tensor<2>> {
        Some(weights.clone().mul_scalar(2.0) / weights.square().add_scalar(EPSILON))
    }
}

/// R(w) = Σ max(|w| − bound, 0).
#[derive(Debug)]
struct Excess;

impl Excess {
    /// The proximal step with a step length for each weight.
    fn stepped(weights: Tensor<2>, steps: Tensor<2>) -> Tensor<2> {
        let excess = weights.clone().abs().sub_scalar(BOUND).clamp_min(0.0);
        let subtracted = excess.clone().min_pair(steps);
        weights.clone().sign() * (weights.abs() - subtracted)
    }
}

impl Regularizer for Excess {
    fn name(&self) -> &'static str {
        "excess"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.abs().sub_scalar(BOUND).clamp_min(0.0).sum()
    }

    fn proximal_step(&self, weights: Tensor<2>, step: f64) -> Option<Tensor<2>> {
        let steps = weights.full_like(step);
        Some(Self::stepped(weights, steps))
    }

    fn scaled_proximal_step(&self, weights: Tensor<2>, step: f64, scale: Tensor<2>) -> Option<Tensor<2>> {
        Some(Self::stepped(weights, scale.recip().mul_scalar(step)))
    }
}

/// The constraint ‖row‖ ≤ radius. Its proximal step is the projection, whatever the step length.
#[derive(Debug)]
pub(crate) struct MaxNorm;

impl Regularizer for MaxNorm {
    fn name(&self) -> &'static str {
        "max_norm"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        Tensor::zeros([1], &weights.device())
    }

    fn proximal_step(&self, weights: Tensor<2>, _step: f64) -> Option<Tensor<2>> {
        let lengths = weights.clone().square().sum_dim(1).sqrt();
        Some(weights * lengths.recip().mul_scalar(RADIUS).clamp_max(1.0))
    }
}

fn own(name: &str, lambda: f64) -> OwnPenalty {
    match name {
        "orthogonality" => OwnPenalty::new(Orthogonality, lambda),
        "log_sum" => OwnPenalty::new(LogSum, lambda),
        "excess" => OwnPenalty::new(Excess, lambda),
        "max_norm" => OwnPenalty::new(MaxNorm, lambda),
        _ => panic!("{name} is not in this file"),
    }
}

/// The setting of the objective's tests with a penalty added and, of the config, one without effect.
fn setting(backend: &str, kernels: &str, sets: &[String], penalty: OwnPenalty) -> Setting {
    let mut setting = Setting::new(backend, &[sets, &[format!("backend.kernels={kernels}")]].concat());
    let (graph, method) = (setting.network.graph().clone(), setting.experiment.optimizer.method);
    setting.penalties.add(penalty, &graph, &method).unwrap();
    setting
}

#[test]
fn values_gradients_and_ten_steps_are_pytorchs() {
    let Fixture { batches, smooth, .. } = fixture();
    assert_eq!((batches.len(), smooth.len()), (10, 2));
    for (backend, kernels) in backends_and_kernels() {
        for Smooth { name, lambda, penalty, gradients, after } in &smooth {
            let label = format!("{backend}, {kernels}, {name}");
            let start = setting(backend, kernels, &[], own(name, *lambda));
            let (found, sums) = start.gradients(&batches[0]);
            let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
            assert!((sums[1] - penalty).abs() <= 2e-6 * penalty, "{label}: penalty {} against {penalty}", sums[1]);
            let on_host = start.penalties.value(&start.network.weights(), 6);
            assert!((on_host - penalty).abs() <= 2e-6 * penalty, "{label}: {on_host} against {penalty}");
            assert_gradients(&named(&start.network, &found), gradients, &label);
            for After { sets, weights } in after {
                let found = setting(backend, kernels, sets, own(name, *lambda)).trained(&batches);
                assert_weights(&found, weights, 1e-4, &format!("{label}, {sets:?}"));
            }
        }
    }
}

#[test]
fn ten_proximal_steps_are_pytorchs() {
    let Fixture { batches, proximal, .. } = fixture();
    assert_eq!(proximal.len(), 2);
    for (backend, kernels) in backends_and_kernels() {
        for Proximal { name, lambda, penalty, after } in &proximal {
            for After { sets, weights } in after {
                let label = format!("{backend}, {kernels}, {name}, {sets:?}");
                let start = setting(backend, kernels, sets, own(name, *lambda).proximal());
                let sums: Vec<f64> = start.gradients(&batches[0]).1.into_data().iter::<f64>().collect();
                assert!((sums[1] - penalty).abs() <= 1e-6 * penalty, "{label}: penalty {} against {penalty}", sums[1]);
                assert!(!start.penalties.have_gradient(), "{label}");
                assert_weights(&start.trained(&batches), weights, 1e-4, &label);
            }
        }
    }
}

#[test]
fn a_proximal_step_by_hand() {
    let device = Setting::new(cpu_backends()[0], &[]).network.devices().remove(0).inner();
    let weights = Tensor::<2>::from_floats([[0.2, -0.35], [0.9, -0.9]], &device);
    // With a bound of 0.3, a step of 0.1 takes all of an excess of 0.05, and 0.1 of one of 0.6.
    let stepped = Excess.proximal_step(weights, 0.1).unwrap().into_data().try_into_vec::<f32>().unwrap();
    for (found, expected) in stepped.iter().zip([0.2, -0.3, 0.8, -0.8]) {
        assert!((found - expected).abs() < 1e-6, "{stepped:?}");
    }
}

/// L2, written anew.
#[derive(Debug)]
pub(crate) struct Squares;

impl Regularizer for Squares {
    fn name(&self) -> &'static str {
        "squares"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.square().sum().mul_scalar(0.5)
    }
}

/// L1, written anew.
#[derive(Debug)]
pub(crate) struct Absolutes;

impl Regularizer for Absolutes {
    fn name(&self) -> &'static str {
        "absolutes"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.abs().sum()
    }

    fn proximal_step(&self, weights: Tensor<2>, step: f64) -> Option<Tensor<2>> {
        Some(weights.clone().sign() * weights.abs().sub_scalar(step).clamp_min(0.0))
    }

    fn scaled_proximal_step(&self, weights: Tensor<2>, step: f64, scale: Tensor<2>) -> Option<Tensor<2>> {
        Some(weights.clone().sign() * (weights.abs() - scale.recip().mul_scalar(step)).clamp_min(0.0))
    }
}

fn assert_same(one: &Weights, other: &Weights, label: &str) {
    for (name, values) in one.iter() {
        for (one, other) in values.numbers.iter().zip(&other.get(name).unwrap().numbers) {
            assert!((one - other).abs() < 1e-6, "{label}, {name}: {one} against {other}");
        }
    }
}

pub(crate) fn strings(sets: &[&str]) -> Vec<String> {
    sets.iter().map(ToString::to_string).collect()
}

#[test]
fn l2_written_anew_trains_as_the_built_in_one() {
    let batches = fixture().batches;
    let sgd = ["optimizer.kind=sgd", "optimizer.learning_rate=0.1"];
    let cases: [&[&str]; 7] = [
        &[],
        &["optimizer.momentum=0.9", "optimizer.nesterov=true"],
        &["optimizer.sam_rho=0.3"],
        &["optimizer.clip_norm=0.2"],
        &["train.micro_batch=4"],
        &["train.micro_batch=4", "optimizer.sam_rho=0.3", "optimizer.clip_norm=0.2"],
        // An adaptive λ on the same weights: the penalties' gradient has a pass of its own.
        &["penalty.1={kind=\"l2\", schedule={kind=\"adaptive\"}}"],
    ];
    for (backend, kernels) in backends_and_kernels() {
        for more in cases {
            let sets = strings(&[sgd.as_slice(), more].concat());
            let label = format!("{backend}, {kernels}, {more:?}");
            let base = [sets.as_slice(), &strings(&["penalty.0.lambda=3", "penalty.0.scope=all"]), &[format!("backend.kernels={kernels}")]]
                .concat();
            let built_in = Setting::new(backend, &base);
            let own = setting(backend, kernels, &sets, OwnPenalty::new(Squares, 3.0).scope("all"));
            assert_same(&built_in.trained(&batches), &own.trained(&batches), &label);
            let weights = own.network.weights();
            let (own, built_in) = (own.penalties.value(&weights, 6), built_in.penalties.value(&weights, 6));
            assert!((own / built_in - 1.0).abs() < 1e-6, "{label}: {own} against {built_in}");
        }
    }
}

#[test]
fn proximal_l1_written_anew_trains_as_the_built_in_one() {
    let batches = fixture().batches;
    for (backend, kernels) in backends_and_kernels() {
        for optimizer in ["adam", "adamw", "sgd"] {
            let sets = strings(&[&format!("optimizer.kind={optimizer}"), "train.micro_batch=4"]);
            let base = [
                sets.as_slice(),
                &strings(&["penalty.0.kind=l1", "penalty.0.lambda=20", "penalty.0.proximal=true"]),
                &[format!("backend.kernels={kernels}")],
            ]
            .concat();
            let own = setting(backend, kernels, &sets, OwnPenalty::new(Absolutes, 20.0).proximal());
            let (built_in, own) = (Setting::new(backend, &base).trained(&batches), own.trained(&batches));
            assert_same(&built_in, &own, &format!("{backend}, {kernels}, {optimizer}"));
            let zeros = |weights: &Weights| weights.iter().flat_map(|(_, values)| &values.numbers).filter(|number| **number == 0.0).count();
            assert!(zeros(&own) > 0 || optimizer == "sgd", "{backend}, {kernels}, {optimizer}");
        }
    }
}

#[test]
fn it_has_a_label_and_a_lambda_that_follows_its_schedule() {
    let (fraction, count) = (|value| Fraction::try_from(value).unwrap(), |value: u64| Count::try_from(value).unwrap());
    let schedule = Schedule { warmup_steps: 0, decay: Decay::Step { every_epochs: count(1), factor: fraction(0.5) } };
    let own = OwnPenalty::new(Squares, 8.0).scope("conv*.weight").schedule(schedule).samples(Samples::Number(count(2)));
    // 20 samples in batches of 10: two steps per epoch.
    let sets = strings(&["train.batch_size=10", "penalty.0.lambda=1", "penalty.0.scope=dense1.weight"]);
    let mut setting = setting(cpu_backends()[0], "fused", &sets, own);
    assert_eq!(setting.penalties.labels(), ["l2 on dense1.weight", "squares on conv*.weight"]);
    assert_eq!(setting.penalties.described("conv1.weight"), ["squares with λ = 8 before its schedule"]);
    let lambdas = [0, 1, 2, 3, 4, 0].map(|step| {
        setting.penalties.advance(Observed::Step(step));
        setting.penalties.lambdas()
    });
    for (found, expected) in lambdas.iter().zip([8.0, 8.0, 4.0, 4.0, 2.0, 8.0]) {
        assert!((found[1] - expected).abs() < 1e-12, "{lambdas:?}");
    }
    assert_eq!(lambdas[4][0].to_bits(), 1.0_f64.to_bits());
    let ones = setting.network.weights().map(|name, values| {
        let number = if name == "conv1.weight" { 1.0 } else { 0.0 };
        regulus_model::Values { numbers: vec![number; values.numbers.len()], ..values.clone() }
    });
    // λ/m·½·Σ w² with λ = 8, m = 2 and 27 weights of 1.
    assert!((setting.penalties.value(&ones, 10) - 8.0 / 2.0 * 0.5 * 27.0).abs() < 1e-9);
}

#[test]
fn a_penalty_is_labelled_with_its_name_and_scope() {
    let Setting { experiment, network, mut penalties, .. } = Setting::new(cpu_backends()[0], &[]);
    let (graph, method) = (network.graph(), experiment.optimizer.method);
    let mut add = || -> Result<(), regulus::config::ConfigError> {
        let penalty = OwnPenalty::new(Orthogonality, 0.5).scope("dense*.weight");
        penalties.add(penalty, graph, &method)?;
        Ok(())
    };
    add().unwrap();
    assert_eq!(penalties.labels(), ["l2 on kernels", "orthogonality on dense*.weight"]);
}

#[test]
fn the_penalty_of_the_docs_is_that_of_the_example() {
    let docs = include_str!("../../docs/regularization.md");
    let shown = docs.split("```rust").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = include_str!("../../examples/own_penalty.rs").lines().map(str::trim).collect();
    for line in shown.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(lines.contains(&line), "{line}");
    }
}
