//! The objective, its gradients and optimizer steps against PyTorch in float64.
//!
//! The numbers are made by `tests/fixtures/objective.py`.

use burn::module::{Module, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::prelude::*;
use regulus::network::{CurvatureInput, Network, ParamVisitor};
use regulus::seed::Seed;
use regulus_model::Weights;
use regulus_model::graph::{Parameter, Role};
use serde::Deserialize;

use crate::objective_fixture::{
    After, Case, Fixture, Numbers, Penalized, Setting, Smoothed, Weighted, assert_gradients, assert_weights, fixture, folder, named,
};
use crate::support::{backends_and_kernels, present_backends};

#[derive(Deserialize)]
struct Evidence {
    lambda: f64,
    data_loss: f64,
    cases: Vec<EvidenceCase>,
}

#[derive(Deserialize)]
struct EvidenceCase {
    structure: String,
    log_evidence: f64,
    gamma: f64,
    lambda: f64,
}

fn sets(case: &Case, more: &[&str]) -> Vec<String> {
    let own = [format!("penalty.0.lambda={}", case.lambda), format!("penalty.0.samples={}", case.samples)];
    own.into_iter().chain(more.iter().map(ToString::to_string)).collect()
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let fixture = fixture();
    for backend in present_backends() {
        for case in &fixture.cases {
            let label = format!("{backend}, lambda {}, m = {}", case.lambda, case.samples);
            let setting = Setting::new(backend, &sets(case, &[]));
            let (gradients, sums) = setting.gradients(&fixture.batches[0]);
            let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
            assert!((sums[0] - case.data_loss).abs() < 1e-6, "{label}: data loss {} against {}", sums[0], case.data_loss);
            assert!((sums[1] - case.penalty).abs() <= 1e-6 * case.penalty, "{label}: penalty {} against {}", sums[1], case.penalty);
            let on_host = setting.penalties.value(&setting.network.weights(), 6);
            assert!((on_host - case.penalty).abs() <= 1e-6 * case.penalty, "{label}: {on_host} against {}", case.penalty);
            assert_gradients(&named(&setting.network, &gradients), &case.gradients, &label);
        }
    }
}

#[test]
fn weights_after_five_steps_are_pytorchs() {
    let fixture = fixture();
    for backend in present_backends() {
        for case in &fixture.cases {
            let optimizers: [(&str, &[&str], &Numbers, f64); 5] = [
                ("sgd", &["optimizer.kind=sgd", "optimizer.learning_rate=0.1"], &case.after_sgd, 1e-5),
                (
                    "momentum",
                    &["optimizer.kind=sgd", "optimizer.learning_rate=0.05", "optimizer.momentum=0.9", "optimizer.nesterov=true"],
                    &case.after_momentum,
                    1e-4,
                ),
                ("adam", &["optimizer.kind=adam"], &case.after_adam, 1e-4),
                ("adamw", &["optimizer.kind=adamw"], &case.after_adamw, 1e-4),
                ("rmsprop", &["optimizer.kind=rmsprop", "optimizer.centered=true"], &case.after_rmsprop, 1e-4),
            ];
            for (optimizer, more, expected, tolerance) in optimizers {
                let setting = Setting::new(backend, &sets(case, more));
                let label = format!("{backend}, {optimizer}, lambda {}, m = {}", case.lambda, case.samples);
                assert_weights(&setting.trained(&fixture.batches), expected, tolerance, &label);
            }
        }
    }
}

#[test]
fn other_penalties_and_their_gradients_are_pytorchs() {
    let fixture = fixture();
    for (backend, kernels) in backends_and_kernels() {
        for Penalized { sets, penalty, gradients } in &fixture.penalties {
            let label = format!("{backend}, {kernels}, {sets:?}");
            let setting = Setting::new(backend, &[sets.as_slice(), &[format!("backend.kernels={kernels}")]].concat());
            let (found, sums) = setting.gradients(&fixture.batches[0]);
            let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
            assert!((sums[1] - penalty).abs() <= 1e-6 * penalty, "{label}: penalty {} against {penalty}", sums[1]);
            let on_host = setting.penalties.value(&setting.network.weights(), 6);
            assert!((on_host - penalty).abs() <= 1e-6 * penalty, "{label}: {on_host} against {penalty}");
            assert_gradients(&named(&setting.network, &found), gradients, &label);
        }
    }
}

#[test]
fn proximal_and_decoupled_steps_are_pytorchs_with_the_same_zeros() {
    let fixture = fixture();
    for (backend, kernels) in backends_and_kernels() {
        for After { sets, weights } in &fixture.after {
            let label = format!("{backend}, {kernels}, {sets:?}");
            let setting = Setting::new(backend, &[sets.as_slice(), &[format!("backend.kernels={kernels}")]].concat());
            let found = setting.trained(&fixture.batches);
            assert_weights(&found, weights, 1e-4, &label);
            for (name, expected) in weights {
                for (found, expected) in found.get(name).unwrap().numbers.iter().zip(expected) {
                    assert_eq!(*found == 0.0, *expected == 0.0, "{label}, {name}: {found} against {expected}");
                }
            }
        }
    }
}

#[test]
fn label_smoothing_is_pytorchs() {
    let Fixture { batches, smoothed: Smoothed { label_smoothing, data_loss, gradients }, .. } = fixture();
    for (backend, kernels) in backends_and_kernels() {
        let label = format!("{backend}, {kernels}");
        let setting = Setting::new(backend, &[format!("train.label_smoothing={label_smoothing}"), format!("backend.kernels={kernels}")]);
        let (found, sums) = setting.gradients(&batches[0]);
        let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
        assert!((sums[0] - data_loss).abs() < 1e-6, "{label}: {} against {data_loss}", sums[0]);
        assert_gradients(&named(&setting.network, &found), &gradients, &label);
    }
}

#[test]
fn class_weights_are_pytorchs_weighted_mean_over_the_training_split() {
    for Weighted { class_weights, label_smoothing, batch, data_loss, gradients } in fixture().weighted {
        for (backend, kernels) in backends_and_kernels() {
            // Five samples at once: the parts of a batch add up to the whole.
            for micro_batch in [1000, 5] {
                let label =
                    format!("{backend}, {kernels}, {} samples, {micro_batch} at once, label smoothing {label_smoothing}", batch.len());
                let sets = [
                    format!("train.class_weights={class_weights:?}"),
                    format!("train.label_smoothing={label_smoothing}"),
                    format!("train.micro_batch={micro_batch}"),
                    format!("backend.kernels={kernels}"),
                ];
                let setting = Setting::new(backend, &sets);
                let (found, sums) = setting.gradients(&batch);
                let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
                assert!((sums[0] - data_loss).abs() < 1e-6, "{label}: {} against {data_loss}", sums[0]);
                assert_gradients(&named(&setting.network, &found), &gradients, &label);
            }
        }
    }
}

#[test]
fn clipping_is_pytorchs_by_the_norm_of_all_gradients() {
    let fixture = fixture();
    for backend in present_backends() {
        let clip = format!("optimizer.clip_norm={}", fixture.clipped.max_norm);
        let setting = Setting::new(backend, &["penalty.0.lambda=2".to_owned(), clip]);
        let (gradients, _) = setting.gradients(&fixture.batches[0]);
        assert_gradients(&named(&setting.network, &gradients), &fixture.clipped.gradients, backend);
    }
}

#[test]
fn a_step_with_the_penalty_is_burns_weight_decay_of_lambda_over_m_on_the_kernels() {
    let fixture = fixture();
    let (lambda, m, rate) = (40.0, 20.0, 0.1);
    for backend in present_backends() {
        let sgd = "optimizer.kind=sgd".to_owned();
        let ours = Setting::new(backend, &[sgd.clone(), "optimizer.learning_rate=0.1".to_owned(), format!("penalty.0.lambda={lambda}")]);
        let ours = ours.trained(&fixture.batches[..1]);

        let plain = Setting::new(backend, &[sgd, "penalty.0.lambda=0".to_owned()]);
        let (gradients, _) = plain.gradients(&fixture.batches[0]);
        let kernels = Kernels::of(&plain.network);
        #[expect(clippy::cast_possible_truncation, reason = "Burn takes the decay as float32")]
        let decay = SgdConfig::new().with_weight_decay(Some(WeightDecayConfig::new((lambda / m) as f32))).build();
        let mut burns: ModuleOptimizer = SgdConfig::new().init().with_group(ParamGroup::from_ids(kernels), decay, None);
        let burns = burns.step(rate, plain.network.clone(), gradients).weights();

        for (name, values) in burns.iter() {
            for (ours, burns) in ours.get(name).unwrap().numbers.iter().zip(&values.numbers) {
                assert!((ours - burns).abs() < 1e-6, "{backend}, {name}: {ours} against {burns}");
            }
        }
        assert!(plain.device.is_autodiff());
    }
}

/// The identifiers of the kernels.
#[derive(Default)]
struct Kernels(Vec<ParamId>);

impl Kernels {
    fn of(network: &Network) -> Vec<ParamId> {
        let mut kernels = Self::default();
        network.visit_parameters(&mut kernels);
        kernels.0
    }
}

impl ParamVisitor for Kernels {
    fn visit<const D: usize>(&mut self, parameter: &Parameter, id: ParamId, _tensor: Tensor<D>) {
        if parameter.role == Role::Kernel {
            self.0.push(id);
        }
    }
}

/// Made by `tests/fixtures/evidence.py`.
#[test]
fn the_evidence_and_its_lambda_are_those_of_laplace_torch() {
    let fixture: Evidence = serde_json::from_slice(&std::fs::read(folder().join("evidence.json")).unwrap()).unwrap();
    for backend in present_backends() {
        for case in &fixture.cases {
            let path = folder().join("trained.safetensors");
            let table = format!("penalty.0={{kind=\"l2\", lambda={}, scope=\"all\"}}", fixture.lambda);
            let schedule = format!("penalty.0.schedule={{kind=\"evidence\", structure=\"{}\"}}", case.structure);
            let Setting { network, data, mut penalties, .. } = Setting::new(backend, &[table, schedule]);
            let weights = Weights::from_file(&path).unwrap();
            let network = network.valid().with_weights(&weights, &path).unwrap();
            let scope = penalties.curvature_scope(network.graph()).unwrap();
            let (subset, normalizer) = (&data.train, &data.normalizer);
            let input = CurvatureInput { network: &network, weights: &weights, scope: &scope, subset, normalizer, seed: Seed(0) };
            let curvature = |structure| input.curvature(structure, &|_, _, _| true);
            assert!(penalties.update_by_evidence(4, &weights, curvature).unwrap().is_none(), "the burn-in is 5 epochs");
            let mut loss = 0.0;
            let curvature = |structure| {
                let found = input.curvature(structure, &|_, _, _| true)?;
                loss = found.loss;
                Ok(found)
            };
            let stopped = |structure| input.curvature(structure, &|_, _, _| false);
            let before = penalties.clone();
            assert!(penalties.update_by_evidence(5, &weights, stopped).is_err() && penalties == before, "a stopped update changes nothing");
            let found = penalties.update_by_evidence(5, &weights, curvature).unwrap().unwrap();
            let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-4;
            let label = format!("{backend} {}: {found:?}, λ {:?}", case.structure, penalties.lambda());
            assert!(near(loss, fixture.data_loss * data.train.count() as f64), "{label}");
            assert!(near(found.log_evidence, case.log_evidence) && near(found.gamma, case.gamma), "{label}");
            assert!(near(penalties.lambda().unwrap(), case.lambda), "{label}");
        }
    }
}
