//! The training step and inference of the reference network, fused against stock: `cargo bench --bench step`.
//!
//! `REGULUS_BENCH_BACKEND` (`flex` by default) and `REGULUS_BENCH_THREADS` (one per core) choose where.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::path::Path;

use burn::module::Module;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use regulus::backend::{self, ComputeDevice, keep_awake};
use regulus::config::Experiment;
use regulus::data::{self, Batcher, Data, DataLoader};
use regulus::network::{Network, Predictor};
use regulus::objective::Penalties;
use regulus::schedule::RunLength;
use regulus::task;
use regulus::train::{ParameterOptimizer, StepContext, Stepper};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Setting {
    experiment: Experiment,
    device: ComputeDevice,
    data: Data,
    network: Network,
}

impl Setting {
    fn new(kernels: &str) -> Self {
        let from = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let sets = [
            format!("backend.kernels={kernels}"),
            format!("backend.kind={}", from("REGULUS_BENCH_BACKEND", "flex")),
            format!("backend.threads={}", from("REGULUS_BENCH_THREADS", "0")),
        ];
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/quickstart.toml");
        let experiment = Experiment::load(&config, &sets).unwrap();
        let device = backend::open(&experiment.backend).unwrap().device.autodiff();
        let data = data::load(&experiment).unwrap();
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let network = Network::new(&graph, experiment.model.initializer, experiment.seed, &device);
        Self { experiment, device, data, network }
    }

    /// The first `count` samples, over and over where there are fewer.
    fn indices(&self, count: u32) -> Vec<u32> {
        let all = u32::try_from(self.data.train.count()).unwrap();
        (0..count).map(|index| index % all).collect()
    }
}

fn train(criterion: &mut Criterion) {
    for kernels in ["fused", "stock"] {
        let setting = Setting::new(kernels);
        let batcher = Batcher::new(&setting.data.normalizer, &setting.device.device);
        let length = RunLength::new(&setting.experiment.train, setting.data.train.count());
        let mut penalties = Penalties::new(&setting.experiment.penalty, setting.network.graph(), length).unwrap();
        for batch in [1, 32, 128, 512] {
            let indices = setting.indices(batch);
            let mut group = criterion.benchmark_group("train");
            group.sample_size(10).throughput(Throughput::Elements(u64::from(batch)));
            let task = task::of(&setting.experiment, &setting.data).unwrap();
            let assembler = task.assembler(&setting.data.train, &batcher, 0);
            let stepper = Stepper::new(&setting.experiment, task, &setting.device.device);
            // The second batch is prefetched while the first is computed.
            let order = [indices.clone(), indices].concat();
            let mut loader = DataLoader::in_order(&setting.experiment, assembler, &order, batch as usize);
            let mut optimizer = ParameterOptimizer::new(&setting.experiment.optimizer.method, setting.device.implementation);
            let mut network = Some(setting.network.clone());
            group.bench_function(BenchmarkId::new(kernels, batch), |bencher| {
                setting.device.threads.run(|| {
                    let mut index = 0;
                    bencher.iter(|| {
                        keep_awake();
                        let mut batch = loader.batch(index);
                        index = 1 - index;
                        let context = StepContext { samples: batch.samples(), rate: 1e-4, step: 0 };
                        let (next, sums) = stepper.step(network.take().unwrap(), &mut optimizer, &mut penalties, &mut batch, context);
                        network = Some(next);
                        sums.into_data()
                    });
                });
            });
        }
    }
}

fn infer(criterion: &mut Criterion) {
    for kernels in ["fused", "stock"] {
        let setting = Setting::new(kernels);
        let predictor = Predictor::new(&setting.network.valid(), &setting.data.normalizer);
        for batch in [1, 1000] {
            let images: Vec<_> = setting.indices(batch).into_iter().map(|index| setting.data.train.pixels(index as usize)).collect();
            let images: Vec<&[u8]> = images.iter().map(AsRef::as_ref).collect();
            let mut group = criterion.benchmark_group("infer");
            group.sample_size(if batch == 1 { 100 } else { 10 }).throughput(Throughput::Elements(u64::from(batch)));
            group.bench_function(BenchmarkId::new(kernels, batch), |bencher| {
                setting.device.threads.run(|| {
                    bencher.iter(|| {
                        keep_awake();
                        predictor.logits(black_box(&images))
                    });
                });
            });
        }
    }
}

criterion_group!(benches, train, infer);
criterion_main!(benches);
