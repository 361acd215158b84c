//! Trains a network on images in memory, without a file: `cargo run --release --example train_in_memory`.
#![expect(clippy::print_stdout, reason = "an example")]

use regulus::config::Experiment;
use regulus::data::{Data, Images, Shape, Splits};
use regulus::error::Error;
use regulus::export::{Format, export};
use regulus::predict::predict_images;
use regulus::session::Session;
use regulus::train::Silent;
use regulus::trained::Trained;

const CONFIG: &str = r#"
name = "stripes"

[data]
source = "memory"

[model]
channels = [8]
hidden = 16

[[penalty]]
kind = "l2"
lambda = 0.1

[train]
epochs = 5
"#;

/// Stripes of 12×12 pixels on a noisy ground: label 0 is horizontal, label 1 is vertical.
fn stripes(count: u32, seed: u32) -> Images {
    let shape = Shape { channels: 1, height: 12, width: 12 };
    let noise = |pixel: u32| (pixel.wrapping_mul(2_654_435_761) >> 25).try_into().unwrap_or(0);
    let pixel = |image: u32, position: u32| {
        let along = if image.is_multiple_of(2) { position / 12 } else { position % 12 };
        let ground: u8 = noise(seed + image * 144 + position);
        if (along + image / 2) % 4 < 2 { ground } else { 255 - ground }
    };
    let pixels = (0..count).flat_map(|image| (0..144).map(move |position| pixel(image, position))).collect();
    Images::new(shape, pixels, (0..count).map(|image| image % 2).collect())
}

fn main() -> Result<(), Error> {
    let experiment = Experiment::from_toml(CONFIG)?;
    let classes = vec!["horizontal".to_owned(), "vertical".to_owned()];
    let splits = Splits { train: stripes(1000, 0), validation: None, test: Some(stripes(200, 7)), classes };
    let data = Data::from_images(&experiment, splits)?;
    let mut session = Session::new(experiment, data)?;
    let summary = session.train(&mut Silent)?;
    println!("accuracy on the test split: {:.3}", summary.test.map_or(f64::NAN, |test| test.accuracy));
    let trained = Trained::of(&session);
    let image = &stripes(2, 9).pixels[144..];
    println!("the second image is {}", predict_images(&trained, &[image])?[0][0].class);
    export(&trained, Format::Safetensors, &std::env::temp_dir().join("stripes.safetensors"))
}
