//! Every kernel, forward and with its gradient, against Burn's stock operations: `cargo bench --bench kernels`.
//!
//! Sizes are those of the reference network at a batch of 32. `REGULUS_SIMD` forces a set of vector instructions.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, Optimizer};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use criterion::{Criterion, criterion_group, criterion_main};
use regulus::backend::fused::{self, Norm};
use regulus::backend::{self, keep_awake, on_threads};
use regulus::config::{Backend, Kernels};
use regulus::kernels::update;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;

fn device() -> Device {
    backend::open(&Backend::default()).unwrap().place.device.autodiff()
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

/// Times `forward`, and `forward` with the gradients of what it gives.
fn both<const D: usize>(criterion: &mut Criterion, name: &str, kind: &str, forward: impl Fn() -> Tensor<D> + Sync) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(50);
    group.bench_function(format!("{kind}/forward"), |bencher| {
        on_threads(Kernels::Fused, || {
            bencher.iter(|| {
                keep_awake();
                forward()
            });
        });
    });
    group.bench_function(format!("{kind}/with gradients"), |bencher| {
        on_threads(Kernels::Fused, || {
            bencher.iter(|| {
                keep_awake();
                forward().sum().backward()
            });
        });
    });
}

fn convolutions(criterion: &mut Criterion) {
    let device = device();
    for (inputs, outputs, side) in [(1, 32, 28), (32, 64, 13)] {
        let images = random([BATCH, inputs, side, side], &device);
        let images = if inputs > 1 { images.require_grad() } else { images };
        let (weights, bias) = (random([outputs, inputs, 3, 3], &device).require_grad(), random([outputs], &device).require_grad());
        let name = format!("conv {inputs} to {outputs}, ReLU, pool");
        both(criterion, &name, "fused", || fused::conv_relu_pool(images.clone(), weights.clone(), bias.clone(), 0, true));
        both(criterion, &name, "stock", || {
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            let convolved = conv2d(images.clone(), weights.clone(), Some(bias.clone()), options);
            max_pool2d(relu(convolved), MaxPoolOptions::new([2, 2]))
        });
    }
}

fn dense(criterion: &mut Criterion) {
    let device = device();
    let x = random([BATCH, 1600], &device).require_grad();
    let (weights, bias) = (random([1600, 128], &device).require_grad(), random([128], &device).require_grad());
    both(criterion, "dense 1600 to 128, ReLU", "fused", || fused::dense(x.clone(), weights.clone(), bias.clone(), true));
    both(criterion, "dense 1600 to 128, ReLU", "stock", || relu(x.clone().matmul(weights.clone()) + bias.clone().unsqueeze()));
}

fn losses(criterion: &mut Criterion) {
    let device = device();
    let logits = random([BATCH, 10], &device).require_grad();
    let labels = Tensor::<1, Int>::from_data([3; BATCH], &device);
    both(criterion, "cross-entropy", "fused", || fused::cross_entropy(logits.clone(), labels.clone(), 0.0).0);
    let stock = CrossEntropyLossConfig::new().init(&device);
    both(criterion, "cross-entropy", "stock", || stock.forward(logits.clone(), labels.clone()));
    let weights = random([1600, 128], &device).require_grad();
    both(criterion, "sum of squares", "fused", || fused::norm(weights.clone(), Norm::Squares));
    both(criterion, "sum of squares", "stock", || weights.clone().square().sum());
}

fn adam(criterion: &mut Criterion) {
    let device = device().inner();
    let gradient = random([1600, 128], &device);
    let zeros = || random([1600, 128], &device).mul_scalar(0.0);
    let mut group = criterion.benchmark_group("Adam, 204,800 weights");
    let mut state = Some((random([1600, 128], &device), [zeros(), zeros()]));
    group.bench_function("fused", |bencher| {
        on_threads(Kernels::Fused, || {
            bencher.iter(|| {
                keep_awake();
                let (weights, moments) = state.take().unwrap();
                let constants = update::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 1e-3, kept: 1.0, step: 10 };
                state = Some(fused::adam(weights, gradient.clone(), moments, constants));
            });
        });
    });
    let optimizer = AdamConfig::new().build();
    let mut state = Some((random([1600, 128], &device), None));
    group.bench_function("stock", |bencher| {
        on_threads(Kernels::Fused, || {
            bencher.iter(|| {
                keep_awake();
                let (weights, moments) = state.take().unwrap();
                state = Some(optimizer.step(1e-3, weights, gradient.clone(), moments));
            });
        });
    });
}

criterion_group!(benches, convolutions, dense, losses, adam);
criterion_main!(benches);
