//! Two trainings on 1,000 images: side by side with one thread each, against one after another with two threads: `cargo bench --bench sessions`.
//!
//! Prints a JSON line with the medians of five rounds in turns, in seconds.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::time::Instant;

use regulus::config::Experiment;
use regulus::data::{self, Data};
use regulus::session::Session;
use regulus::train::Silent;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

fn experiment(threads: usize, seed: usize) -> Experiment {
    let config = format!(
        "name = \"sessions\"\nseed = {seed}\n[backend]\nthreads = {threads}\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 1000\n\
         [[penalty]]\nkind = \"l2\"\nlambda = 1\n"
    );
    Experiment::from_toml(&config).unwrap()
}

fn train(data: &Data, threads: usize, seed: usize) {
    let experiment = experiment(threads, seed);
    let data = data.for_experiment(&experiment).unwrap();
    Session::new(experiment, data).unwrap().train(&mut Silent).unwrap();
}

fn side_by_side(data: &Data) {
    std::thread::scope(|scope| {
        for seed in 0..2 {
            scope.spawn(move || train(data, 1, seed));
        }
    });
}

fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    let first = experiment(1, 0);
    let data = data::load(&first).unwrap();
    let (mut beside, mut after) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        beside.push(seconds(|| side_by_side(&data)));
        after.push(seconds(|| (0..2).for_each(|seed| train(&data, 2, seed))));
    }
    println!("{{\"side_by_side_s\": {:.3}, \"one_after_another_s\": {:.3}}}", median(beside), median(after));
}
