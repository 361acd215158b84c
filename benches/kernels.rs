//! Every kernel, forward and with its gradient, and the optimizers' steps against Burn's stock operations: `cargo bench --bench kernels`.
//!
//! Sizes are those of the reference network at a batch of 32, and a padded convolution and a dense layer of one sample. `REGULUS_SIMD` forces a set of vector instructions.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, Optimizer, SgdConfig};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use criterion::{Criterion, criterion_group, criterion_main};
use regulus::backend::fused::{self, Norm, PooledWalk};
use regulus::backend::optimizer_steps;
use regulus::backend::{self, Threads, keep_awake};
use regulus::config::{Backend, Implementation};
use regulus::objective::{data_loss, norm_of};
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::update;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;

fn device() -> Device {
    backend::open(&Backend::default()).unwrap().device.device.autodiff()
}

fn threads() -> Threads {
    backend::open(&Backend::default()).unwrap().device.threads
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

/// Times `forward`, and `forward` with the gradients of its output.
fn both<const D: usize>(criterion: &mut Criterion, name: &str, kind: &str, forward: impl Fn() -> Tensor<D> + Sync) {
    let threads = threads();
    let mut group = criterion.benchmark_group(name);
    group.sample_size(50);
    group.bench_function(format!("{kind}/forward"), |bencher| {
        threads.run(|| {
            bencher.iter(|| {
                keep_awake();
                forward()
            });
        });
    });
    group.bench_function(format!("{kind}/with gradients"), |bencher| {
        threads.run(|| {
            bencher.iter(|| {
                keep_awake();
                forward().sum().backward()
            });
        });
    });
}

fn convolutions(criterion: &mut Criterion) {
    let device = device();
    for (inputs, outputs, side, padding) in [(1, 32, 28, 0), (32, 64, 13, 0), (32, 64, 14, 1)] {
        let images = random([BATCH, inputs, side, side], &device);
        let images = if inputs > 1 { images.require_grad() } else { images };
        let (weights, bias) = (random([outputs, inputs, 3, 3], &device).require_grad(), random([outputs], &device).require_grad());
        let name = format!("conv {inputs} to {outputs}, padding {padding}, ReLU, pool");
        let walk = PooledWalk { padding, channels_last: true, algorithm: Algorithm::default() };
        both(criterion, &name, "fused", || fused::conv_relu_pool(images.clone(), weights.clone(), bias.clone(), walk));
        both(criterion, &name, "stock", || {
            let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
            let convolved = conv2d(images.clone(), weights.clone(), Some(bias.clone()), options);
            max_pool2d(relu(convolved), MaxPoolOptions::new([2, 2]))
        });
    }
}

fn dense(criterion: &mut Criterion) {
    let device = device();
    let (weights, bias) = (random([1600, 128], &device).require_grad(), random([128], &device).require_grad());
    for batch in [1, BATCH] {
        let x = random([batch, 1600], &device).require_grad();
        let name = format!("dense 1600 to 128 of {batch}, ReLU");
        both(criterion, &name, "fused", || fused::dense(x.clone(), weights.clone(), bias.clone(), true));
        both(criterion, &name, "stock", || relu(x.clone().matmul(weights.clone()) + bias.clone().unsqueeze()));
    }
}

fn losses(criterion: &mut Criterion) {
    let device = device();
    let logits = random([BATCH, 10], &device).require_grad();
    let labels = Tensor::<1, Int>::from_data([3; BATCH], &device);
    for (kind, kernels) in [("fused", Implementation::Fused), ("stock", Implementation::Stock)] {
        both(criterion, "cross-entropy", kind, || data_loss(kernels, logits.clone(), labels.clone(), 0.0, None).0);
    }
    let weights = random([1600, 128], &device).require_grad();
    for (name, norm) in [("squares", Norm::Squares), ("absolutes", Norm::Absolutes), ("norms of groups", Norm::Groups)] {
        for (kind, kernels) in [("fused", Implementation::Fused), ("stock", Implementation::Stock)] {
            both(criterion, &format!("sum of {name}"), kind, || norm_of(kernels, weights.clone(), norm, 1));
        }
    }
}

/// Times the steps that `step` takes from one state to the next.
fn steps<S>(criterion: &mut Criterion, name: &str, kind: &str, start: S, step: impl Fn(S) -> S + Sync)
where
    S: Send,
{
    let threads = threads();
    let mut state = Some(start);
    criterion.benchmark_group(name).bench_function(kind, |bencher| {
        threads.run(|| {
            bencher.iter(|| {
                keep_awake();
                state = state.take().map(&step);
            });
        });
    });
}

fn optimizers(criterion: &mut Criterion) {
    let device = device().inner();
    let gradient = random([1600, 128], &device);
    let start = || random([1600, 128], &device);
    let zeros = || start().mul_scalar(0.0);
    // AdamW is the same pass with another constant.
    let name = "Adam, 204,800 weights";
    steps(criterion, name, "fused", (start(), [zeros(), zeros()]), |(weights, moments)| {
        let constants = update::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 1e-3, retained: 1.0, step: 10 };
        optimizer_steps::adam(weights, gradient.clone(), moments, constants)
    });
    let stock = AdamConfig::new().build();
    steps(criterion, name, "stock", (start(), None), |(weights, state)| stock.step(1e-3, weights, gradient.clone(), state));
    let name = "SGD, 204,800 weights";
    steps(criterion, name, "fused", start(), |weights| optimizer_steps::descend(weights, gradient.clone(), 1e-3));
    let stock = SgdConfig::new().build();
    steps(criterion, name, "stock", (start(), None), |(weights, state)| stock.step(1e-3, weights, gradient.clone(), state));
    let name = "SGD with momentum, 204,800 weights";
    let constants = update::Descent { rate: 1e-3, momentum: 0.9, nesterov: false };
    steps(criterion, name, "fused", (start(), zeros()), |(weights, velocity)| {
        optimizer_steps::descend_with_momentum(weights, gradient.clone(), velocity, constants)
    });
    let stock = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).build();
    steps(criterion, name, "stock", (start(), None), |(weights, state)| stock.step(1e-3, weights, gradient.clone(), state));
}

criterion_group!(benches, convolutions, dense, losses, optimizers);
criterion_main!(benches);
