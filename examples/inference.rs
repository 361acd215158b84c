//! Loads the network of a run or of an exported file and times it: `cargo run --release --example inference -- artifacts/first [BATCH]`.
//!
//! Prints one JSON line: the median and the 90th percentile of the time for one image, in µs, and the images per second in batches of BATCH (1000).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what an example is for")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use regulus::backend::keep_awake;
use regulus::error::Error;
use regulus::trained::{LoadOptions, Trained};

/// The time of all calls with one number of images.
const LONGEST: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match time() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn time() -> Result<(), Error> {
    let run = std::env::args().nth(1).unwrap_or_else(|| "artifacts/first".to_owned());
    let trained = Trained::open(Path::new(&run), &LoadOptions::default())?;
    let images_of_batch: u16 = std::env::args().nth(2).and_then(|count| count.parse().ok()).unwrap_or(1000);
    let batch = usize::from(images_of_batch);
    let shape = trained.description.graph.input();
    let noise: Vec<u8> = (0..batch * shape.size()).map(|at| u8::try_from(at * 31 % 251).unwrap_or(0)).collect();
    let images: Vec<&[u8]> = noise.chunks_exact(shape.size()).collect();
    let table = trained.description.preprocessing.normalizer.table();
    let planes = noise.chunks_exact(shape.height * shape.width).zip(table.iter().cycle());
    let numbers: Vec<f32> = planes.flat_map(|(plane, table)| plane.iter().map(|pixel| table[usize::from(*pixel)])).collect();
    // Other programs are timed from numbers to logits, too. With Burn it begins with bytes.
    let logits = |count: usize| match trained.predictor.model() {
        Some(model) => model.forward(&numbers[..count * shape.size()], count),
        None => trained.predictor.logits(&images[..count]),
    };
    // The seconds of each call, sorted; the first ones, which also allocate, are left out. A slow network is called for five seconds, at least three times.
    let times = |count: usize, calls: usize| {
        trained.predictor.threads().run(|| {
            let call = |_| {
                keep_awake();
                let begun = Instant::now();
                let logits = logits(count);
                let seconds = begun.elapsed().as_secs_f64();
                drop(logits);
                seconds
            };
            let called = |calls: usize| -> Vec<f64> {
                let begun = Instant::now();
                (0..calls).take_while(|at| *at < 3 || begun.elapsed() < LONGEST).map(call).collect()
            };
            called(calls / 10);
            let mut seconds = called(calls);
            seconds.sort_by(f64::total_cmp);
            seconds
        })
    };
    let (one, many) = (times(1, 5000), times(batch, 50));
    println!(
        "{{\"batch_1_us\": {:.1}, \"batch_1_us_90th\": {:.1}, \"batch_{batch}_images_per_second\": {:.0}}}",
        one[one.len() / 2] * 1e6,
        one[one.len() * 9 / 10] * 1e6,
        f64::from(images_of_batch) / many[many.len() / 2],
    );
    Ok(())
}

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
