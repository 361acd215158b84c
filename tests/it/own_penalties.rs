//! Penalties that are not built in, against PyTorch in float64 and against the built-in ones.
//!
//! The numbers are made by `tests/fixtures/own_penalties.py`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::prelude::*;
use regulus::config::number::{Count, Fraction, Samples};
use regulus::config::{Decay, Experiment, Method, Schedule};
use regulus::error::Error;
use regulus::launch::{Prepared, prepare};
use regulus::objective::{Observed, OwnPenalty, Regularizer};
use regulus::train::{Ending, Event, Observer, ParameterOptimizer, Plan, Row, Snapshot, Training};
use regulus_model::Weights;
use serde::Deserialize;

use crate::objective::{Numbers, Setting, assert_gradients, assert_weights, folder, named};
use crate::support::{Sandbox, backends_and_kernels, cpu_backends};

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
struct MaxNorm;

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
struct Squares;

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
struct Absolutes;

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

fn strings(sets: &[&str]) -> Vec<String> {
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

/// Rows and checkpoints of a training.
#[derive(Default)]
struct Log {
    rows: Vec<Row>,
    snapshots: Vec<Snapshot>,
}

impl Observer for Log {
    fn on(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Epoch(rows) => self.rows.extend_from_slice(rows),
            Event::Checkpoint { snapshot, .. } => self.snapshots.push((*snapshot).clone()),
            _ => {}
        }
        Ok(())
    }
}

/// A training of two epochs with the penalty of the config, or with an own one in its place; from a checkpoint, if one is given.
fn logged(own: Option<OwnPenalty>, from: Option<&Snapshot>) -> Log {
    let sandbox = Sandbox::new();
    let schedule = "penalty.0.schedule={kind=\"cosine\", warmup_steps=3, final_fraction=0.1}";
    let penalty = if own.is_some() { vec![] } else { vec!["penalty.0.lambda=8", schedule] };
    let unsets = if own.is_some() { strings(&["penalty"]) } else { vec![] };
    let sets = strings(&[penalty.as_slice(), &["train.epochs=2", "checkpoint.every_steps=5"]].concat());
    let experiment = Experiment::load_changed(&sandbox.path("small.toml"), &unsets, &sets).unwrap();
    let Prepared { experiment, opened, data, network, mut penalties, curvature, .. } = prepare(experiment, &|_, _| {}).unwrap();
    let method = experiment.optimizer.method;
    if let Some(own) = own {
        penalties.add(own, network.graph(), &method).unwrap();
    }
    let device = opened.device.clone().autodiff().device;
    let optimizer = ParameterOptimizer::new(&method, opened.device.implementation);
    let mut training = match from {
        None => Training::new(network, optimizer, penalties, experiment.averaging.0),
        Some(Snapshot { weights, optimizer, state, .. }) => {
            let optimizer = ParameterOptimizer::from_bytes(&method, optimizer, &opened.device).unwrap();
            let network = network.with_weights(weights, Path::new("checkpoint")).unwrap();
            Training::new(network, optimizer, penalties, experiment.averaging.0).resumed(None, state.clone())
        }
    };
    let (stop, mut log) = (AtomicBool::new(false), Log::default());
    let plan = Plan { experiment: &experiment, data: &data, curvature: &curvature, device: &device, stop: &stop };
    assert_eq!(training.run(&plan, &mut log).unwrap(), Ending::Completed);
    log
}

#[test]
fn it_is_in_the_columns_of_a_training_and_resumes_to_the_same_bits() {
    let schedule = Schedule { warmup_steps: 3, decay: Decay::Cosine { final_fraction: Fraction::try_from(0.1).unwrap() } };
    let own = || OwnPenalty::new(Squares, 8.0).schedule(schedule.clone());
    let (built_in, found) = (logged(None, None), logged(Some(own()), None));
    assert_eq!((built_in.rows.len(), found.rows.len()), (4, 4));
    for (found, expected) in found.rows.iter().zip(&built_in.rows) {
        assert!(found.lambdas == expected.lambdas && found.lambda == expected.lambda && found.lambdas.len() == 1, "{found:?}");
        for (found, expected) in [
            (found.data_loss, expected.data_loss),
            (found.penalty, expected.penalty),
            (found.objective, expected.objective),
            (found.weight_norm_squared, expected.weight_norm_squared),
        ] {
            assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} against {expected}");
        }
    }
    // 12 steps per epoch: the second checkpoint is inside the first epoch.
    let resumed = logged(Some(own()), Some(&found.snapshots[1]));
    assert_eq!(found.snapshots[1].state.step, 10);
    let (resumed, whole) = (resumed.snapshots.last().unwrap(), found.snapshots.last().unwrap());
    assert!(resumed.weights == whole.weights && resumed.optimizer == whole.optimizer && resumed.state.lambdas == whole.state.lambdas);
}

#[test]
fn the_penalty_of_the_docs_is_the_one_of_these_tests() {
    let Setting { experiment, network, mut penalties, .. } = Setting::new(cpu_backends()[0], &[]);
    let (graph, method) = (network.graph(), experiment.optimizer.method);
    let mut add = || -> Result<(), regulus::config::ConfigError> {
        let penalty = OwnPenalty::new(Orthogonality, 0.5).scope("dense*.weight");
        penalties.add(penalty, graph, &method)?;
        Ok(())
    };
    add().unwrap();
    assert_eq!(penalties.labels(), ["l2 on kernels", "orthogonality on dense*.weight"]);
    let docs = include_str!("../../docs/regularization.md");
    let shown = docs.split("```rust").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = include_str!("own_penalties.rs").lines().map(str::trim).collect();
    for line in shown.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("use ")) {
        assert!(lines.contains(&line), "{line}");
    }
}

/// A regularizer whose value is not one number.
#[derive(Debug)]
struct Unsummed;

impl Regularizer for Unsummed {
    fn name(&self) -> &'static str {
        "unsummed"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.square().sum_dim(1).squeeze_dim(1)
    }
}

/// A regularizer with a gradient and steps of the wrong shape.
#[derive(Debug)]
struct Transposed;

impl Regularizer for Transposed {
    fn name(&self) -> &'static str {
        "transposed"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.sum()
    }

    fn proximal_step(&self, weights: Tensor<2>, _step: f64) -> Option<Tensor<2>> {
        Some(weights.transpose())
    }
}

#[test]
fn a_penalty_that_cannot_be_used_is_refused_with_a_message() {
    let proximal_l1 = ["penalty.0.kind=l1", "penalty.0.lambda=1", "penalty.0.proximal=true", "optimizer.kind=sgd"];
    let plateau = Decay::Plateau {
        patience: Count::try_from(1).unwrap(),
        factor: Fraction::try_from(0.5).unwrap(),
        min_delta: 0.0.try_into().unwrap(),
    };
    let cases: [(&[&str], OwnPenalty, &str); 11] = [
        (
            &[],
            OwnPenalty::new(Squares, 1.0).scope("dense9.*"),
            "`squares.scope` is \"dense9.*\", which matches no parameter; expected `kernels`, `biases`, `all`, or one of `conv1.weight`, \
             `conv1.bias`, `conv2.weight`, `conv2.bias`, `dense1.weight`, `dense1.bias`, `dense2.weight`, `dense2.bias`, with `*` for any characters",
        ),
        (&[], OwnPenalty::new(Squares, -1.0), "`squares.lambda` is -1; expected a finite number >= 0"),
        (&[], OwnPenalty::new(Squares, f64::NAN), "`squares.lambda` is NaN; expected a finite number >= 0"),
        (
            &[],
            OwnPenalty::new(Squares, 1.0).schedule(Schedule { warmup_steps: 0, decay: plateau }),
            "`squares.schedule` is \"plateau\", which is for the learning rate; expected constant, step, cosine or linear",
        ),
        (
            &proximal_l1,
            OwnPenalty::new(Absolutes, 1.0).scope("dense1.weight").proximal(),
            "`absolutes.proximal` is true, but `dense1.weight` has a penalty with `proximal` already; give them different scopes",
        ),
        (
            &["optimizer.kind=rmsprop"],
            OwnPenalty::new(Absolutes, 1.0).proximal(),
            "`absolutes.proximal` is true, but there is no proximal step for `optimizer.kind` = \"rmsprop\"; use sgd with or without momentum, adam \
             or adamw",
        ),
        (
            &["optimizer.kind=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"],
            OwnPenalty::new(Absolutes, 1.0).proximal(),
            "`absolutes.proximal` is true, but there is no proximal step for `optimizer.nesterov` = true; use sgd with or without momentum, adam or \
             adamw",
        ),
        (
            &["optimizer.kind=sgd"],
            OwnPenalty::new(Squares, 1.0).proximal(),
            "`squares.proximal` is true, but there is no `proximal_step`, which this optimizer needs; implement it, or use the gradient, without \
             `proximal`",
        ),
        (
            &["optimizer.kind=adam"],
            OwnPenalty::new(MaxNorm, 1.0).proximal(),
            "`max_norm.proximal` is true, but there is no `scaled_proximal_step`, which this optimizer needs; implement it, or use `optimizer.kind` = \
             \"sgd\"",
        ),
        (&[], OwnPenalty::new(Unsummed, 1.0).scope("conv1.*"), "`unsummed.value` is of shape [3] for `conv1.weight`; expected [1]"),
        (
            &["optimizer.kind=sgd"],
            OwnPenalty::new(Transposed, 1.0).proximal().scope("conv2.weight"),
            "`transposed.proximal_step` is of shape [27, 4] for `conv2.weight`; expected [4, 27]",
        ),
    ];
    for (sets, penalty, expected) in cases {
        let Setting { experiment, network, mut penalties, .. } = Setting::new(cpu_backends()[0], &strings(sets));
        let (before, method): (_, Method) = (penalties.clone(), experiment.optimizer.method);
        assert_eq!(penalties.add(penalty, network.graph(), &method).unwrap_err().to_string(), expected);
        assert!(penalties == before, "nothing is added");
    }
}
