//! Covariances of the logits against laplace-torch's, which has the full matrix. The numbers are made by `tests/fixtures/posterior.py`.

use std::collections::BTreeMap;
use std::path::Path;

use regulus_linalg::product::{Matrix, multiply};
use regulus_model::Weights;
use serde::Deserialize;

use super::pass::contrasts;
use super::{CurvatureInput, Posterior, Scope};
use crate::backend;
use crate::config::Experiment;
use crate::data;
use crate::network::Network;
use crate::seed::Seed;

#[derive(Deserialize)]
struct Fixture {
    trained: f64,
    hidden: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    leave_one_out: BTreeMap<String, LeftOut>,
}

#[derive(Deserialize)]
struct LeftOut {
    covariances: Vec<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    image: u32,
    covariance: Vec<f64>,
}

/// The covariance of the contrasts of each image's logits, by its index.
fn covariances(posterior: &Posterior) -> BTreeMap<u32, Vec<f64>> {
    let mut found = BTreeMap::new();
    for samples in &posterior.samples {
        let count = samples.outputs.labels.len();
        let size = (samples.products.len() / count).isqrt();
        let selected = posterior.selection.count;
        let mut solved: Vec<f64> = samples.features.iter().map(|number| f64::from(*number)).collect();
        posterior.inverse.block.solve_lower(&mut solved);
        for (sample, index) in samples.outputs.indices.iter().enumerate() {
            let rows = Matrix::new(&solved[sample * size * selected..][..size * selected], size);
            let mut covariance = samples.products[sample * size * size..][..size * size].to_vec();
            let mut within = vec![0.0; size * size];
            multiply(&mut within, rows, rows.transpose());
            covariance.iter_mut().zip(within).for_each(|(to, number)| *to += number);
            found.insert(*index, covariance);
        }
    }
    found
}

#[test]
fn covariances_of_logits_are_those_of_laplace_torch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/posterior");
    let Fixture { trained, hidden, cases } = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    for Case { kind, leave_one_out } in cases {
        let hidden = if kind == "mlp" { format!("hidden = {hidden}\n") } else { String::new() };
        let text = format!(
            "name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \"images.idx\"\ntrain_labels = \"labels.idx\"\n\
             validation = 0\n[model]\nkind = \"{kind}\"\n{hidden}",
            folder.display()
        );
        let experiment = Experiment::from_toml(&text).unwrap();
        let device = backend::open(&experiment.backend).unwrap().device;
        let data = data::load(&experiment).unwrap();
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let path = folder.join(format!("{kind}.safetensors"));
        let weights = Weights::from_file(&path).unwrap();
        let network = Network::blank(&graph, &device).with_weights(&weights, &path).unwrap();
        let scope = Scope::all(&graph).unwrap();
        let input = CurvatureInput {
            network: &network,
            weights: &weights,
            scope: &scope,
            subset: &data.train,
            normalizer: &data.normalizer,
            seed: Seed(0),
        };
        for (penalized, expected) in leave_one_out {
            let names = weights.iter().map(|(name, _)| name.clone()).filter(|name| penalized == "all" || name.ends_with("weight"));
            let lambdas = names.map(|name| (name, trained)).collect();
            let posterior = input.posterior(&lambdas, &|_, _, _| true).unwrap().unwrap();
            let found = covariances(&posterior);
            assert_eq!(found.len(), data.train.count());
            for Shown { image, covariance } in expected.covariances {
                let classes = covariance.len().isqrt();
                let q: Vec<f64> = contrasts(classes).into_iter().map(f64::from).collect();
                let q = Matrix::new(&q, classes - 1);
                let [mut half, mut expected] = [vec![0.0; (classes - 1) * classes], vec![0.0; (classes - 1) * (classes - 1)]];
                multiply(&mut half, q, Matrix::new(&covariance, classes));
                multiply(&mut expected, Matrix::new(&half, classes - 1), q.transpose());
                let size = expected.iter().map(|number| number * number).sum::<f64>().sqrt();
                let difference =
                    expected.iter().zip(&found[&image]).map(|(expected, found)| (expected - found).powi(2)).sum::<f64>().sqrt();
                assert!(difference < 1e-4 * size, "{kind} {penalized}, image {image}: {difference} of {size}");
            }
        }
    }
}
