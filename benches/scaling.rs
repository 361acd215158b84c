//! How the training step scales with batch, image and width of the network, beside the machine's own speed at matrix products.
//!
//! `cargo bench --bench scaling` prints a JSON line for each setting; `benches/scaling.py` makes a table and a plot of them for one and two
//! threads. A setting's GFLOP/s are those of a step that computes every position of every layer, forward and backward: the fused step leaves
//! most of the backward pass of a convolution out, so it may look faster than the processor is.
#![expect(clippy::print_stdout, reason = "what a benchmark is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::Distribution;
use regulus::backend::{self, ComputeDevice, keep_awake};
use regulus::config::Experiment;
use regulus::model::graph::{Graph, Shape};
use regulus::model::networks::Cnn;
use regulus::network::Network;
use regulus::objective::{Penalties, data_loss};
use regulus::schedule::RunLength;
use regulus::train::{ParameterOptimizer, StepContext};
use regulus_kernels::dense::{Matrix, product};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds a setting is repeated for, at least.
const SECONDS: f64 = 1.0;

/// The median of the seconds of `work`.
fn median(mut work: impl FnMut()) -> f64 {
    work();
    let begun = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 3 || begun.elapsed().as_secs_f64() < SECONDS {
        let one = Instant::now();
        work();
        seconds.push(one.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Multiplications and additions of one sample, forward and backward, where nothing is left out and the images need no gradient.
fn flop(graph: &Graph) -> f64 {
    // The first layer's images need no gradient.
    let products = (0..graph.nodes().len()).map(|place| graph.multiplications(place) * if place == 0 { 2 } else { 3 });
    2.0 * products.sum::<u64>() as f64
}

fn step(experiment: &Experiment, device: &ComputeDevice, batch: usize, side: usize, widening: usize) -> (f64, f64) {
    let cnn = Cnn { channels: vec![32 * widening, 64 * widening], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.0 };
    let graph = cnn.graph(Shape { channels: 1, height: side, width: side }, 10).unwrap();
    let mut optimizer = ParameterOptimizer::new(&experiment.optimizer.method, device.implementation);
    let mut penalties = Penalties::new(&[], &graph, RunLength::new(&experiment.train, 1)).unwrap();
    let mut network = Some(Network::new(&graph, experiment.model.initializer, experiment.seed, device));
    let images = Tensor::<4>::random([batch, 1, side, side], Distribution::Uniform(0.0, 1.0), &device.device);
    let context = StepContext { samples: batch, rate: 1e-4, step: 0 };
    let labels: Vec<i32> = (0..batch).map(|sample| i32::try_from(sample % 10).unwrap()).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device.device);
    let seconds = median(|| {
        keep_awake();
        let one = network.take().unwrap();
        let (loss, _) = data_loss(device.implementation, one.forward(images.clone()), labels.clone(), 0.0, None);
        let gradients = GradientsParams::from_grads(loss.backward(), &one);
        network = Some(optimizer.step(one, gradients, &mut penalties, context));
    });
    (batch as f64 / seconds, flop(&graph) * batch as f64 / seconds / 1e9)
}

fn main() {
    let threads = std::env::var("REGULUS_BENCH_THREADS").unwrap_or_else(|_| "0".to_owned());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/quickstart.toml");
    let experiment = Experiment::load(&config, &[format!("backend.threads={threads}")]).unwrap();
    let device = backend::open(&experiment.backend).unwrap().device.autodiff();
    let threads = device.threads.count();
    device.threads.run(|| {
        let side = 1024;
        let numbers = vec![0.5; side * side];
        let matrix = Matrix::rows(&numbers, [side, side]);
        let seconds = median(|| drop(product(matrix, matrix, threads)));
        let gemm = 2.0 * (side as f64).powi(3) / seconds / 1e9;
        let batches = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].map(|batch| (batch, 28, 1));
        let sides = [56, 112, 224].map(|side| (32, side, 1));
        let widths = [(32, 28, 2), (128, 28, 2), (32, 28, 4), (128, 28, 4)];
        for (batch, side, widening) in batches.into_iter().chain(sides).chain(widths) {
            let (speed, gflops) = step(&experiment, &device, batch, side, widening);
            println!(
                "{{\"threads\": {threads}, \"batch\": {batch}, \"side\": {side}, \"channels\": {widening}, \"images_per_second\": {speed:.0}, \
                 \"gflops\": {gflops:.1}, \"gemm_gflops\": {gemm:.1}}}"
            );
        }
    });
}
