//! `backend.precision`.

use burn::prelude::*;
use burn::tensor::TensorData;
use regulus::backend;
use regulus::config::{Backend, Init, Precision};
use regulus::network::{Network, Predictor};
use regulus::seed::Seed;
use regulus_kernels::bf16::Bf16;
use regulus_kernels::simd::Path;
use regulus_model::graph::Shape;
use regulus_model::networks::ResNet9;
use regulus_model::preprocess::Normalizer;

use crate::support::{Sandbox, cpu_backends};

/// Whether this machine has the instructions. A test that needs them says why it is skipped.
pub(crate) fn is_available() -> bool {
    Bf16::try_new(Path::all()[0]).map_err(|missing| say!("skipped: {missing}")).is_ok()
}

const MODEL: &str = r#"model={kind="layers", layers=[
    "conv 16 3x3 padding 1 bias false", "batch_norm", "relu", "max_pool 2 as stem",
    "conv 32 3x3 stride 2 padding 1 bias false", "batch_norm", "relu",
    "conv 32 3x3 padding 1 groups 32 bias false", "batch_norm", "relu6", "conv 24 1x1", "batch_norm", "gelu",
    "global_average_pool", "dense classes"]}"#;

/// A command with the network and these keys.
fn with_model<'a>(command: &[&'a str], keys: &[&'a str]) -> Vec<&'a str> {
    let unset = ["model.channels", "model.hidden", "model.dropout"].into_iter().flat_map(|key| ["--unset", key]);
    let sets = [MODEL, "train.epochs=8", "data.train_limit=400"].into_iter().chain(keys.iter().copied()).flat_map(|set| ["--set", set]);
    command.iter().copied().chain(unset).chain(sets).collect()
}

#[test]
fn a_training_in_bfloat16_ends_near_the_one_in_float32_with_the_same_bits_on_any_number_of_threads() {
    if !is_available() {
        return;
    }
    for backend in cpu_backends() {
        let sandbox = Sandbox::new();
        let kind = format!("backend.kind={backend}");
        let bf16 = [kind.as_str(), "backend.precision=bf16"];
        let train = |run: &str, keys: &[&str]| drop(sandbox.ok(&with_model(&["train", "small.toml", "--run-dir", run], keys)));
        train("f32", &[&kind]);
        for (run, threads) in [("one", "backend.threads=1"), ("two", "backend.threads=2"), ("three", "backend.threads=3")] {
            train(run, &[bf16.as_slice(), &[threads]].concat());
        }
        let found = sandbox.results("one");
        assert!(found == sandbox.results("two") && found == sandbox.results("three"), "{backend}");
        assert!(found != sandbox.results("f32"), "{backend}: nothing was rounded");
        let measure = |run: &str| {
            let measured = sandbox.ok(&["evaluate", run, "--json"]).json()[0].clone();
            let summary = sandbox.json(&format!("{run}/summary.json"));
            assert_eq!(measured["data_loss"], summary["test"]["data_loss"], "{backend}, {run}");
            ["data_loss", "accuracy"].map(|key| measured[key].as_f64().unwrap())
        };
        let ([loss, accuracy], [exact_loss, exact_accuracy]) = (measure("one"), measure("f32"));
        assert!((loss / exact_loss - 1.0).abs() < 0.1, "{backend}: loss {loss} against {exact_loss}");
        assert!((accuracy - exact_accuracy).abs() < 0.03, "{backend}: accuracy {accuracy} against {exact_accuracy}");
        let precisions = ["one", "f32"].map(|run| sandbox.json(&format!("{run}/manifest.json"))["precision"].clone());
        assert_eq!(precisions, ["bf16", "f32"], "{backend}");
    }
}

#[test]
fn a_prediction_in_bfloat16_has_the_bits_of_the_network_that_trains() {
    if !is_available() {
        return;
    }
    let device = backend::open(&Backend { precision: Precision::Bf16, ..Backend::default() }).unwrap().device;
    let input = Shape { channels: 3, height: 32, width: 32 };
    let graph = ResNet9 { widths: [16, 32, 48, 32] }.graph(input, 10).unwrap();
    let network = Network::new(&graph, Init::Kaiming, Seed(4), &device);
    let numbers: Vec<f32> = (0..5 * input.size()).map(|at| f32::from(u16::try_from(at * 31 % 251).unwrap()) / 251.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(numbers.clone(), [5, 3, 32, 32]), &device.device);
    let with_burn: Vec<f32> = network.forward(images).into_data().try_into_vec().unwrap();
    let predictor = Predictor::new(&network, &Normalizer { mean: vec![0.0; 3], deviation: vec![1.0; 3] });
    assert_eq!(predictor.forward(&numbers, 5), with_burn);
}

#[test]
fn check_says_which_nodes_multiply_bfloat16() {
    if !is_available() {
        return;
    }
    let sandbox = Sandbox::new();
    let nodes = sandbox.ok(&with_model(&["check", "small.toml", "--json"], &["backend.precision=bf16"])).json()[1]["nodes"].clone();
    let of = |name: &str| nodes.as_array().unwrap().iter().find(|node| node["name"] == name).unwrap()["implementation"].clone();
    assert_eq!(["conv1", "conv2", "conv4"].map(of), ["fused, bf16"; 3]);
    // It is depthwise.
    assert_eq!(of("conv3"), "fused");
}

#[test]
fn bfloat16_without_its_instructions_is_refused() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run_with(&[("REGULUS_SIMD", "scalar")], &["train", "small.toml", "--set", "backend.precision=bf16"]);
    assert_eq!(ran.code(), 2);
    let expected = "`backend.precision` is `bf16`, but bfloat16 needs Linux on an x86-64 processor with avx512_bf16: \
                    the vector instructions in use are `scalar`; use `f32`";
    assert!(ran.stderr().contains(expected) && !ran.stderr().contains("caused by"), "{}", ran.stderr());
}

#[test]
fn a_network_of_bfloat16_is_exported_without_its_instructions() {
    if !is_available() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ok(&with_model(&["train", "small.toml", "--run-dir", "run"], &["backend.precision=bf16"]));
    let without = [("REGULUS_SIMD", "scalar")];
    let exported = sandbox.run_with(&without, &["export", "run", "--output", "model.safetensors"]);
    assert_eq!(exported.code(), 0, "{}", exported.stderr());
    let evaluated = sandbox.run_with(&without, &["evaluate", "run"]);
    assert_eq!(evaluated.code(), 2);
    assert!(evaluated.stderr().contains("or the file that `regulus export` writes of a run"), "{}", evaluated.stderr());
}

#[test]
fn a_network_in_which_bfloat16_changes_nothing_is_warned_of() {
    if !is_available() {
        return;
    }
    // Both convolutions of the reference network are computed with their pools.
    let sandbox = Sandbox::new();
    let warning = "`backend.precision` is \"bf16\" and changes nothing here";
    assert!(sandbox.ok(&["check", "small.toml", "--set", "backend.precision=bf16"]).stderr().contains(warning));
    assert!(!sandbox.ok(&with_model(&["check", "small.toml"], &["backend.precision=bf16"])).stderr().contains(warning));
}

#[test]
fn bfloat16_with_other_kernels_is_refused() {
    let sandbox = Sandbox::new();
    for other in ["backend.kernels=stock", "backend.kernels=winograd2", "backend.kernels=direct", "backend.kind=wgpu"] {
        let ran = sandbox.run(&["check", "small.toml", "--set", "backend.precision=bf16", "--set", other]);
        assert_eq!(ran.code(), 2, "{other}");
        let expected = "`backend.precision` is \"bf16\", which the backends `flex` and `ndarray` have with `backend.kernels` = \"fused\"";
        assert!(ran.stderr().contains(expected), "{other}: {}", ran.stderr());
    }
}
