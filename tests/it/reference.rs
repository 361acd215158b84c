//! The reference network with 32 and 64 channels, which use kernels that fewer channels do not use: gradients against PyTorch in float64, and training
//! with fused against stock operations.
//!
//! The numbers are computed by `tests/fixtures/reference.py`. A gradient is computed from one step of gradient descent with such a large learning rate
//! that the initial weights are negligible.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;

use crate::support::{Sandbox, cpu_backends};

const RATE: f32 = 65_536.0;
const BATCH: usize = 4;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    padding: usize,
    image_stream: u64,
    data_loss: f64,
    gradients: BTreeMap<String, Gradient>,
}

/// Every `step`-th number of a gradient, and sums over all of it.
#[derive(Deserialize)]
struct Gradient {
    step: usize,
    numbers: Vec<f64>,
    sums: Vec<f64>,
    norm: f64,
}

/// The hash function of `reference.py`.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// From -1 to 1.
fn numbers(stream: u64, count: usize) -> Vec<f32> {
    (0_u64..).take(count).map(|index| (mixed((stream << 32) + index) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Every parameter's name, shape and values before the step.
fn parameters(padding: usize) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let side = if padding == 0 { 5 } else { 7 };
    let shapes = [
        ("conv1.weight", vec![32, 1, 3, 3], 0.125),
        ("conv1.bias", vec![32], 0.125),
        ("conv2.weight", vec![64, 32, 3, 3], 0.125),
        ("conv2.bias", vec![64], 0.125),
        ("dense1.weight", vec![16, 64 * side * side], 0.0625),
        ("dense1.bias", vec![16], 0.125),
        ("dense2.weight", vec![10, 16], 0.0625),
        ("dense2.bias", vec![10], 0.125),
    ];
    let value = |stream, shape: &[usize], scale| numbers(stream, shape.iter().product()).iter().map(|number| number * scale).collect();
    (1..).zip(shapes).map(|(stream, (name, shape, scale))| (name, shape.clone(), value(stream, &shape, scale))).collect()
}

/// Data, weights and config of a single step on all images.
fn prepare(sandbox: &Sandbox, case: &Case) {
    let header = |sizes: &[usize]| {
        let sizes = sizes.iter().flat_map(|size| u32::try_from(*size).unwrap().to_be_bytes());
        [0, 0, 8].into_iter().chain([u8::try_from(sizes.clone().count() / 4).unwrap()]).chain(sizes).collect::<Vec<u8>>()
    };
    let pixels = (0_u64..).take(BATCH * 28 * 28).map(|index| u8::try_from(mixed((case.image_stream << 32) + index) >> 56).unwrap());
    sandbox.write("images", header(&[BATCH, 28, 28]).into_iter().chain(pixels).collect::<Vec<u8>>());
    sandbox.write("labels", header(&[BATCH]).into_iter().chain((0..).take(BATCH)).collect::<Vec<u8>>());
    let weights: Vec<_> = parameters(case.padding)
        .into_iter()
        .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()))
        .collect();
    let views = weights.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    sandbox.write("weights.safetensors", safetensors::serialize(views, None).unwrap());
    let padding = if case.padding == 0 { "valid" } else { "same" };
    let classes: Vec<String> = (0..10).map(|class| format!("\"{class}\"")).collect();
    let config = format!(
        "name = \"step\"\n[data]\nsource = \"idx\"\ndir = \".\"\ntrain_images = \"images\"\ntrain_labels = \"labels\"\nclasses = [{}]\n[model]\n\
         channels = [32, 64]\nhidden = 16\npadding = \"{padding}\"\ninit = \"weights.safetensors\"\n[optimizer]\nkind = \"sgd\"\nlearning_rate = \
         {RATE}\n[train]\nepochs = 1\nbatch_size = \"full\"\n",
        classes.join(", ")
    );
    sandbox.write("step.toml", config);
}

fn weights_of(sandbox: &Sandbox, run: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(sandbox.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

/// The sets of vector instructions of this processor.
fn paths() -> Vec<&'static str> {
    regulus_kernels::simd::Path::all().iter().map(|path| path.name).collect()
}

#[test]
fn gradients_of_32_and_64_channels_are_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference.json");
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(fixture.cases.len(), 2);
    for case in &fixture.cases {
        let sandbox = Sandbox::new();
        prepare(&sandbox, case);
        let mut settings = Vec::new();
        for backend in cpu_backends() {
            settings.extend(paths().into_iter().map(|path| (backend, "fused", path)));
            settings.push((backend, "stock", paths()[0]));
        }
        for (backend, kernels, simd) in settings {
            let run = format!("{backend}-{kernels}-{simd}");
            let sets = [format!("backend.kind={backend}"), format!("backend.kernels={kernels}")];
            let arguments = ["train", "step.toml", "--run-dir", &run, "--set", &sets[0], "--set", &sets[1]];
            let ran = sandbox.run_with(&[("REGULUS_SIMD", simd)], &arguments);
            // After the large step the loss may not be finite. The weights are saved in any case.
            assert!(matches!(ran.code(), 0 | 4), "{run}: {}", ran.stderr());
            let metrics = std::fs::read_to_string(sandbox.path(&run).join("metrics.jsonl")).unwrap();
            let row: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
            let loss = row["data_loss"].as_f64().unwrap();
            assert!((loss - case.data_loss).abs() < 1e-6 * case.data_loss, "{run}: loss {loss}, expected {}", case.data_loss);
            let after = weights_of(&sandbox, &run);
            for (name, _, before) in parameters(case.padding) {
                let expected = &case.gradients[name];
                let found: Vec<f64> = before
                    .iter()
                    .zip(&after[name])
                    .map(|(before, after)| (f64::from(*before) - f64::from(*after)) / f64::from(RATE))
                    .collect();
                assert_eq!(found.iter().step_by(expected.step).count(), expected.numbers.len(), "{name}");
                // Float32 keeps 7 digits of sums of up to 1,352 products.
                let tolerance = 2e-6 * expected.norm;
                for (index, (found, expected)) in found.iter().step_by(expected.step).zip(&expected.numbers).enumerate() {
                    assert!((found - expected).abs() < tolerance, "{run}, {name}: number {index} is {found}, expected {expected}");
                }
                for (stream, expected) in (200..).zip(&expected.sums) {
                    let factors = numbers(stream, found.len());
                    let sum: f64 = found.iter().zip(factors).map(|(number, factor)| number * f64::from(factor)).sum();
                    assert!((sum - expected).abs() < 2.0 * tolerance, "{run}, {name}: sum {sum}, expected {expected}");
                }
            }
        }
    }
}

#[test]
fn training_with_fused_operations_equals_training_with_stock_operations() {
    let sandbox = Sandbox::new();
    let sets = ["model.channels=[32, 64]", "model.dropout=0.3", "train.epochs=2", "train.batch_size=32"];
    let common: Vec<&str> = ["train", "small.toml"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
    for backend in cpu_backends() {
        let kind = format!("backend.kind={backend}");
        let runs = ["fused", "stock"].map(|kernels| {
            let run = format!("{backend}-{kernels}");
            let kernels = format!("backend.kernels={kernels}");
            let own = ["--set", &kind, "--set", &kernels, "--run-dir", &run];
            let rows = sandbox.ok(&[common.as_slice(), &own, &["--json"]].concat()).json();
            let losses: Vec<f64> = rows.iter().filter(|row| row["event"] == "epoch").filter_map(|row| row["data_loss"].as_f64()).collect();
            (losses, weights_of(&sandbox, &run))
        });
        let [(fused_losses, fused), (stock_losses, stock)] = runs;
        assert_eq!(fused_losses.len(), 4, "two splits in each of two epochs");
        for (fused, stock) in fused_losses.iter().zip(&stock_losses) {
            assert!((fused - stock).abs() < 1e-4 * stock, "{backend}: losses {fused_losses:?}, with stock operations {stock_losses:?}");
        }
        for (name, stock) in &stock {
            let apart = fused[name].iter().zip(stock).map(|(fused, stock)| (fused - stock).abs()).fold(0.0, f32::max);
            // Twelve steps of Adam change a weight by up to 0.012.
            assert!(apart < 1e-4, "{backend}: {name} is {apart} apart");
        }
    }
}
