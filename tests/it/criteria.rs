//! Measures by which λ is chosen without validation data, against what they stand for.

use std::path::Path;

use regulus::config::Experiment;
use regulus::data::{self, Data};
use regulus::session::Session;
use regulus::train::Silent;

/// Images whose network is retrained without each.
const IMAGES: usize = 45;

/// Softmax regression, trained to its minimum by gradient descent with momentum.
fn linear(folder: &Path, lambda: f64, sets: &[&str]) -> Session {
    let file = folder.join("config.toml");
    let text = format!(
        "name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \"images.idx\"\ntrain_labels = \"labels.idx\"\n\
         [model]\nkind = \"linear\"\n[[penalty]]\nkind = \"l2\"\nlambda = {lambda}\n[optimizer]\nkind = \"sgd\"\nlearning_rate = 0.05\n\
         momentum = 0.9\n[train]\nepochs = 1000\nbatch_size = \"full\"\nkeep = \"last\"\n",
        folder.display()
    );
    std::fs::write(&file, text).unwrap();
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let experiment = Experiment::load(&file, &sets).unwrap();
    let data = data::load(&experiment).unwrap();
    let mut session = Session::new(experiment, data).unwrap();
    session.run(&mut Silent).unwrap();
    session
}

/// Writes some of the images that are built in.
fn write(folder: &Path, data: &Data, indices: &[usize]) {
    let count = u32::try_from(indices.len()).unwrap().to_be_bytes();
    let mut images = [[0, 0, 8, 3], count, 28_u32.to_be_bytes(), 28_u32.to_be_bytes()].concat();
    let mut labels = [[0, 0, 8, 1], count].concat();
    for index in indices {
        images.extend_from_slice(&data.train.pixels(*index));
        labels.push(u8::try_from(data.train.label(*index)).unwrap());
    }
    std::fs::write(folder.join("images.idx"), images).unwrap();
    std::fs::write(folder.join("labels.idx"), labels).unwrap();
}

/// The cross-entropy of one of the images that are built in.
fn loss(session: &Session, data: &Data, index: usize) -> f64 {
    let logits = session.predictor().logits(&[&data.train.pixels(index)]);
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    sum.ln() - f64::from(logits[data.train.label(index) as usize] - largest)
}

fn built_in() -> Data {
    let experiment = Experiment::from_toml("name = \"a\"\n[data]\nsource = \"mnist_mini\"\nvalidation = 0\n").unwrap();
    data::load(&experiment).unwrap()
}

#[test]
fn the_leave_one_out_loss_of_softmax_regression_is_that_of_retraining() {
    let data = built_in();
    let folder = tempfile::tempdir().unwrap();
    // With several images of each class: without the only one of a class, the bias of the class has no minimum.
    let all: Vec<usize> = (0..data.train.count()).filter(|index| data.train.label(*index) < 3).take(IMAGES).collect();
    write(folder.path(), &data, &all);
    let lambda = 10.0;
    let session = linear(folder.path(), lambda, &["data.validation=0"]);
    let found = session.criteria().unwrap().unwrap().leave_one_out.unwrap();
    assert_eq!(found.losses.len(), IMAGES);
    let mut expected = Vec::new();
    for left_out in &all {
        let others: Vec<usize> = all.iter().copied().filter(|index| index != left_out).collect();
        write(folder.path(), &data, &others);
        let without = linear(folder.path(), lambda, &["data.validation=0"]);
        expected.push(loss(&without, &data, *left_out));
    }
    let mean = expected.iter().sum::<f64>() / IMAGES as f64;
    assert!((found.loss / mean - 1.0).abs() < 0.01, "{} against {mean}: {:?} {expected:?}", found.loss, found.losses);
    assert_eq!(found.unreliable, 0);
}

#[test]
fn the_criteria_of_an_unfinished_training_are_those_of_its_minimum() {
    let data = built_in();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &data, &(0..60).collect::<Vec<usize>>());
    let criteria = |epochs: &str| linear(folder.path(), 10.0, &["data.validation=0", epochs]).criteria().unwrap().unwrap();
    let [unfinished, finished] = [criteria("train.epochs=40"), criteria("train.epochs=1000")];
    let near = |found: f64, expected: f64, part: f64| assert!((found / expected - 1.0).abs() < part, "{found} against {expected}");
    near(unfinished.leave_one_out.unwrap().loss, finished.leave_one_out.unwrap().loss, 0.02);
    near(unfinished.log_evidence.unwrap(), finished.log_evidence.unwrap(), 0.06);
}

#[test]
fn the_slope_of_the_validation_loss_by_lambda_is_that_of_finite_differences() {
    let data = built_in();
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<usize> = (0..120).collect();
    write(folder.path(), &data, &all);
    let sets = ["data.validation=0.5"];
    let session = linear(folder.path(), 10.0, &sets);
    let trained = session.posterior().unwrap().unwrap();
    let step = 0.05_f64;
    let [lower, higher] = [-step, step].map(|step| linear(folder.path(), 10.0 * step.exp(), &sets));
    let validation: Vec<usize> = {
        let held_out = session.data().validation.as_ref().unwrap();
        let pixels: Vec<Vec<u8>> = (0..held_out.count()).map(|index| held_out.pixels(index).to_vec()).collect();
        all.iter().copied().filter(|index| pixels.iter().any(|pixels| **pixels == *data.train.pixels(*index))).collect()
    };
    let mean = |session: &Session| validation.iter().map(|index| loss(session, &data, *index)).sum::<f64>() / validation.len() as f64;
    let losses = [mean(&lower), mean(&higher)];
    let expected = (losses[1] - losses[0]) / (2.0 * step);
    let found = trained.validation_slope().unwrap();
    assert!((found / expected - 1.0).abs() < 0.02, "{found} against {expected}");
    // The prediction is nearer to the weights at the other λ than the weights are.
    let other = linear(folder.path(), 20.0, &sets).weights();
    let distance = |weights: &regulus_model::Weights| {
        let (found, other) = (&weights.get("dense1.weight").unwrap().numbers, &other.get("dense1.weight").unwrap().numbers);
        found.iter().zip(other).map(|(found, other)| f64::from(found - other).powi(2)).sum::<f64>().sqrt()
    };
    let [predicted, old] = [distance(&trained.predicted_weights(2.0).unwrap()), distance(&session.weights())];
    assert!(predicted < 0.1 * old, "{predicted} against {old}");
}

/// The reference network after one epoch.
fn reference(lambda: f64, sets: &[&str]) -> Session {
    let text = format!(
        "name = \"a\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 60\nvalidation = 0\n[model]\nchannels = [4, 6]\nhidden = 20\n\
         [[penalty]]\nkind = \"l2\"\nlambda = {lambda}\n[train]\nepochs = 1\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let experiment = Experiment::load(file.path(), &sets).unwrap();
    let data = data::load(&experiment).unwrap();
    let mut session = Session::new(experiment, data).unwrap();
    session.run(&mut Silent).unwrap();
    session
}

#[test]
fn the_number_of_threads_changes_no_bit_of_the_criteria() {
    let [one, three] = [1, 3].map(|threads| reference(2.0, &[&format!("backend.threads={threads}")]).criteria().unwrap().unwrap());
    assert_eq!(one, three);
    // The rows of the exact block are added in parts; here the last part of a strip is empty.
    let whole = reference(2.0, &["data.train_limit=240"]).criteria().unwrap().unwrap();
    assert_eq!(whole.leave_one_out.unwrap().losses.len(), 240);
}

#[test]
fn there_are_criteria_for_a_collapsed_network_but_none_without_a_penalty() {
    let collapsed = reference(1e6, &["train.epochs=20", "optimizer.learning_rate=0.01"]).criteria().unwrap().unwrap();
    let found = collapsed.leave_one_out.unwrap();
    assert!(found.loss.is_finite() && (found.loss - 10.0_f64.ln()).abs() < 0.5, "{found:?}");
    assert!(collapsed.log_evidence.unwrap().is_finite() && collapsed.gamma.unwrap() < 1.0);
    let none = reference(0.0, &[]).criteria().unwrap().unwrap();
    assert!(none.leave_one_out.is_none() && none.log_evidence.is_none() && none.gamma.is_none() && none.gammas.is_empty());
}
