//! Predicts the class of an image file with an exported network, without Burn: `cargo run --release --example predict -- model.safetensors digit.png`.
#![expect(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::path::PathBuf;

use regulus_images::Picture;
use regulus_model::Artifact;
use regulus_model::infer::Predictor;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, image] = files.as_slice() else { return Err("expected a .safetensors file and an image file".into()) };
    // Once, when the application starts.
    let artifact = Artifact::open(model)?;
    let (preprocess, predictor) = (artifact.description.preprocess()?, Predictor::new(&artifact)?);
    // For each image, from any thread.
    let picture = Picture::decode(&std::fs::read(image)?, &preprocess)?;
    let probabilities = &predictor.probabilities(&[&picture.pixels])?[0];
    for (class, probability) in predictor.classes().iter().zip(probabilities) {
        println!("{class}: {probability:.4}");
    }
    Ok(())
}
