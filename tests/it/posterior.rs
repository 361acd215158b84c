//! Laplace's approximation of two small trained networks against laplace-torch's: evidence, the effective number of parameters, leave-one-out losses.
//!
//! The numbers are made by `tests/fixtures/posterior.py`; `src/network/curvature/laplace_torch.rs` compares covariances.

use std::path::{Path, PathBuf};

use regulus::config::{Experiment, Structure};
use regulus::data;
use regulus::network::{CurvatureInput, Determinant, Scope};
use regulus::objective::Evidence;
use regulus::session::Session;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    trained: f64,
    hidden: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    traces: Scopes<f64>,
    by_lambda: Vec<AtLambda>,
    leave_one_out: Scopes<LeftOut>,
}

#[derive(Deserialize)]
struct AtLambda {
    lambda: f64,
    #[serde(flatten)]
    scopes: Scopes<Expected>,
}

/// What holds if all parameters have a prior, and if only the kernels have one.
#[derive(Deserialize)]
struct Scopes<T> {
    all: T,
    kernels: T,
}

impl<T> Scopes<T> {
    fn named(&self) -> [(&'static str, &T); 2] {
        [("all", &self.all), ("kernels", &self.kernels)]
    }
}

/// Log marginal likelihoods and γ.
#[derive(Debug, Deserialize)]
struct Expected {
    full: f64,
    gamma: f64,
    kronecker: f64,
    kronecker_gamma: Option<f64>,
}

#[derive(Deserialize)]
struct LeftOut {
    losses: Vec<f64>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/posterior")
}

fn fixture() -> Fixture {
    serde_json::from_slice(&std::fs::read(folder().join("cases.json")).unwrap()).unwrap()
}

/// The trained network of a case.
fn session(kind: &str, hidden: usize, scope: &str, lambda: f64) -> Session {
    let hidden = if kind == "mlp" { format!("hidden = {hidden}\n") } else { String::new() };
    let folder = folder().display().to_string();
    let text = format!(
        "name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{folder}'\ntrain_images = \"images.idx\"\ntrain_labels = \"labels.idx\"\nvalidation = 0\n\
         [model]\nkind = \"{kind}\"\ninit = '{folder}/{kind}.safetensors'\n{hidden}[[penalty]]\nkind = \"l2\"\nscope = \"{scope}\"\n\
         lambda = {lambda}\n"
    );
    let experiment = Experiment::from_toml(&text).unwrap();
    let data = data::load(&experiment).unwrap();
    Session::new(experiment, data).unwrap()
}

/// The evidence with one of the structures, and γ.
fn evidence(session: &Session, structure: Structure, lambda: f64) -> [f64; 2] {
    let weights = session.weights();
    let (network, data) = (session.network(), session.data());
    let scope = Scope::all(network.graph()).unwrap();
    let seed = session.experiment().seed;
    let (subset, normalizer) = (&data.train, &data.normalizer);
    let input = CurvatureInput { network, weights: &weights, scope: &scope, subset, normalizer, seed };
    let curvature = input.curvature(structure, &|_, _, _| true).unwrap();
    let precisions = session.penalties().precisions(data.train.count());
    let penalized = |name: &&String| precisions.contains_key(*name);
    let spectra: Vec<_> = curvature.spectra.keys().filter(penalized).map(|name| &curvature.spectra[name]).collect();
    let squares = precisions.keys().flat_map(|name| &weights.get(name).unwrap().numbers).map(|number| f64::from(*number).powi(2)).sum();
    let found = Evidence::of(lambda, &spectra, squares);
    [found.log_evidence - curvature.loss, found.gamma]
}

#[test]
fn the_evidence_of_kronecker_factors_is_that_of_laplace_torch() {
    let Fixture { hidden, cases, .. } = fixture();
    for Case { kind, by_lambda, .. } in &cases {
        for AtLambda { lambda, scopes } in by_lambda {
            for (scope, expected) in scopes.named() {
                let [found, gamma] = evidence(&session(kind, hidden, scope, *lambda), Structure::Kronecker, *lambda);
                assert!((found / expected.kronecker - 1.0).abs() < 1e-6, "{kind} {scope} {lambda}: {found}, not {}", expected.kronecker);
                let expected = expected.kronecker_gamma.unwrap_or(gamma);
                assert!((gamma / expected - 1.0).abs() < 1e-6, "{kind} {scope} {lambda}: γ {gamma}, not {expected}");
            }
        }
    }
}

/// All directions are selected, so that the matrix is exact.
#[test]
fn the_evidence_and_the_effective_number_of_parameters_are_those_of_the_full_matrix() {
    let Fixture { hidden, cases, .. } = fixture();
    for Case { kind, by_lambda, .. } in &cases {
        for AtLambda { lambda, scopes } in by_lambda {
            for (scope, expected) in scopes.named() {
                let session = session(kind, hidden, scope, *lambda);
                let (weights, network, data) = (session.weights(), session.network(), session.data());
                let all = Scope::all(network.graph()).unwrap();
                let (subset, normalizer, seed) = (&data.train, &data.normalizer, session.experiment().seed);
                let input = CurvatureInput { network, weights: &weights, scope: &all, subset, normalizer, seed };
                let precisions = session.penalties().precisions(subset.count());
                let posterior = input.posterior(&precisions, &|_, _, _| true).unwrap().unwrap();
                let Determinant { log_ratio, gammas } = posterior.determinant().unwrap();
                let gamma: f64 = gammas.values().sum();
                let squares =
                    precisions.keys().flat_map(|name| &weights.get(name).unwrap().numbers).map(|number| f64::from(*number).powi(2));
                // At the weights of the fixture, which are not those of the minimum for every λ.
                let evidence = -posterior.curvature().loss - 0.5 * (lambda * squares.sum::<f64>() + log_ratio);
                let label = format!("{kind} {scope} {lambda}: {evidence}, γ {gamma}; expected {expected:?}");
                assert!((evidence / expected.full - 1.0).abs() < 1e-5 && (gamma / expected.gamma - 1.0).abs() < 1e-4, "{label}");
            }
        }
    }
}

#[test]
fn the_sum_of_corrected_eigenvalues_is_the_trace_of_the_full_matrix() {
    let Fixture { trained, hidden, cases } = fixture();
    for Case { kind, traces, .. } in &cases {
        for (scope, expected) in traces.named() {
            // γ·λ tends to Σ s.
            let huge = 1e9;
            let [_, gamma] = evidence(&session(kind, hidden, scope, trained), Structure::Ekfac, huge);
            assert!((gamma * huge / expected - 1.0).abs() < 1e-5, "{kind} {scope}: {}, not {expected}", gamma * huge);
        }
    }
}

#[test]
fn leave_one_out_losses_are_those_of_the_covariances_of_laplace_torch() {
    let Fixture { trained, hidden, cases } = fixture();
    for Case { kind, leave_one_out, .. } in &cases {
        // The weights are those of a minimum where all parameters have a penalty.
        let expected = &leave_one_out.all;
        let found = session(kind, hidden, "all", trained).criteria().unwrap().unwrap().leave_one_out.unwrap();
        assert_eq!((found.losses.len(), found.unreliable), (expected.losses.len(), 0), "{kind}");
        for (index, loss) in found.indices.iter().zip(&found.losses) {
            let expected = expected.losses[*index as usize];
            assert!((loss - expected).abs() < 1e-3 * (1e-2 + expected), "{kind}, image {index}: {loss}, not {expected}");
        }
    }
}
