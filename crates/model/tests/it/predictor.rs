use regulus_model::graph::Shape;
use regulus_model::infer::{InferError, Model, Predictor, probabilities};
use regulus_model::networks::{Cnn, DnCnn};
use regulus_model::preprocess::{Decoding, FileSteps, Filter, Normalizer, Preprocessing, Resize};
use regulus_model::{Artifact, Description, Task, Values};

use crate::weights::{bits, weights_of};

const INPUT: Shape = Shape { channels: 3, height: 10, width: 9 };

fn artifact() -> Artifact {
    let graph = Cnn { channels: vec![4], kernel_size: 3, padding: 1, hidden: 6, dropout: 0.0 }.graph(INPUT, 3).unwrap();
    let normalizer = Normalizer { mean: vec![0.5, 0.25, 0.0], deviation: vec![0.5, 0.125, 2.0] };
    let preprocessing = Preprocessing {
        normalizer,
        resize: Resize::Stretch,
        filter: Filter::Bilinear,
        decoding: Decoding::Full,
        test_flip: false,
        test_shift: 0,
        steps: FileSteps::default(),
    };
    let classes = ["cat", "dog", "owl"].map(ToOwned::to_owned).to_vec();
    let weights = weights_of(&graph);
    Artifact { description: Description { version: "0".to_owned(), graph, preprocessing, classes, task: Task::Classify }, weights }
}

#[test]
fn bytes_are_normalized_channel_by_channel() {
    let artifact = artifact();
    let predictor = Predictor::new(&artifact).unwrap();
    assert_eq!((predictor.input(), predictor.classes()), (INPUT, artifact.description.classes.as_slice()));
    let images: Vec<Vec<u8>> =
        [3_usize, 7].iter().map(|step| (0..270).map(|at| u8::try_from(at * step % 256).unwrap()).collect()).collect();
    let normalized = |image: &Vec<u8>| {
        let number = |(at, byte): (usize, &u8)| {
            let channel = at / 90;
            let (mean, deviation) = ([0.5, 0.25, 0.0][channel], [0.5, 0.125, 2.0][channel]);
            #[expect(clippy::cast_possible_truncation, reason = "the network's float")]
            let number = ((f64::from(*byte) / 255.0 - mean) / deviation) as f32;
            number
        };
        image.iter().enumerate().map(number).collect::<Vec<f32>>()
    };
    let numbers: Vec<f32> = images.iter().flat_map(normalized).collect();
    let model = Model::new(&artifact.description.graph, &artifact.weights).unwrap();
    let expected = model.forward(&numbers, 2);
    let slices: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    assert_eq!(bits(&predictor.logits(&slices).unwrap()), bits(&expected));
    let found = predictor.probabilities(&slices).unwrap();
    assert_eq!(found, [probabilities(&expected[..3]), probabilities(&expected[3..])]);
    assert!(found.iter().all(|image| (image.iter().sum::<f64>() - 1.0).abs() < 1e-12));
}

#[test]
fn test_time_flips_average_the_logits_of_image_and_mirror_image() {
    let mut artifact = artifact();
    let image: Vec<u8> = (0..270_usize).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
    let mirrored: Vec<u8> = (0..270).map(|at| image[at / 9 * 9 + 8 - at % 9]).collect();
    let plain = Predictor::new(&artifact).unwrap();
    let (one, other) = (plain.logits(&[&image]).unwrap(), plain.logits(&[&mirrored]).unwrap());
    assert_ne!(one, other);
    artifact.description.preprocessing.test_flip = true;
    let description = Description::from_metadata(&artifact.description.to_metadata()).unwrap();
    let flipping = Predictor::new(&Artifact { description, ..artifact }).unwrap();
    let expected: Vec<f32> = one.iter().zip(&other).map(|(one, other)| (one + other) / 2.0).collect();
    assert_eq!(flipping.logits(&[&image]).unwrap(), expected);
    assert_eq!(flipping.logits(&[&mirrored]).unwrap(), expected);
    assert_eq!(flipping.with_input(INPUT).unwrap().probabilities(&[&image]).unwrap(), [probabilities(&expected)]);
}

#[test]
fn test_time_shifts_average_the_logits_of_moved_images() {
    let mut artifact = artifact();
    let image: Vec<u8> = (0..270_usize).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
    let reflected = |at: usize, down: usize, side: usize| match (at + 1).checked_sub(down) {
        None => 1,
        Some(at) if at == side => side - 2,
        Some(at) => at,
    };
    // The number is 0 for a pixel down and right, 1 for none and 2 for one up and left.
    let moved = |by: usize| -> Vec<u8> {
        (0..270).map(|at| image[at / 90 * 90 + reflected(at / 9 % 10, 2 - by, 10) * 9 + reflected(at % 9, 2 - by, 9)]).collect()
    };
    assert_eq!(moved(1), image);
    let mirrored = |image: &[u8]| -> Vec<u8> { (0..270).map(|at| image[at / 9 * 9 + 8 - at % 9]).collect() };
    let views: Vec<Vec<u8>> = [1, 0, 2].iter().flat_map(|by| [moved(*by), mirrored(&moved(*by))]).collect();
    let views: Vec<&[u8]> = views.iter().map(Vec::as_slice).collect();
    let logits = Predictor::new(&artifact).unwrap().logits(&views).unwrap();
    for (test_flip, weights) in [(false, [0.5, 0.0, 0.25, 0.0, 0.25, 0.0]), (true, [0.25, 0.25, 0.125, 0.125, 0.125, 0.125])] {
        artifact.description.preprocessing.test_shift = 1;
        artifact.description.preprocessing.test_flip = test_flip;
        let description = Description::from_metadata(&artifact.description.to_metadata()).unwrap();
        let found = Predictor::new(&Artifact { description, weights: artifact.weights.clone() }).unwrap().logits(&[&image]).unwrap();
        for (class, found) in found.iter().enumerate() {
            let expected: f32 = weights.iter().zip(logits.chunks_exact(3)).map(|(weight, logits)| weight * logits[class]).sum();
            assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
        }
    }
    artifact.description.preprocessing.test_shift = 9;
    let refused = Description::from_metadata(&artifact.description.to_metadata()).unwrap_err();
    assert_eq!(refused, "its preprocessing has a `test_shift` of 9, but its images have sides from 9 pixels; expected less");
}

#[test]
fn a_denoising_network_gives_bytes() {
    // The kernels are 0 but for the last bias of each channel, so that the network takes 0.1 off each number.
    let graph = DnCnn { depth: 2, width: 2 }.graph(INPUT).unwrap();
    let weights = weights_of(&graph).map(|name, values| {
        let number = if name == "conv2.bias" { 0.1 } else { 0.0 };
        Values { numbers: vec![number; values.numbers.len()], ..values.clone() }
    });
    let mut description = Description { graph, classes: Vec::new(), ..artifact().description };
    description.preprocessing.normalizer = Normalizer { mean: vec![0.5, 0.25, 0.0], deviation: vec![0.5, 0.25, 2.0] };
    let predictor =
        Predictor::new(&Artifact { description, weights }).unwrap().with_input(Shape { channels: 3, height: 1, width: 2 }).unwrap();
    // 255·0.1 times the deviations is 12.75, 6.375 and 51.
    assert_eq!(predictor.images(&[&[100, 5, 100, 6, 255, 51]]).unwrap(), [[87, 0, 94, 0, 204, 0]]);
    let refused = predictor.probabilities(&[&[0; 6]]).unwrap_err().to_string();
    assert_eq!(refused, "the network gives [3, 1, 2]; expected classes");
    let refused = Predictor::new(&artifact()).unwrap().images(&[]).unwrap_err().to_string();
    assert_eq!(refused, "the network gives [3]; expected images");
}

#[test]
fn an_image_of_another_size_is_refused() {
    let predictor = Predictor::new(&artifact()).unwrap();
    let (right, wrong) = (vec![0; 270], vec![0; 90]);
    let refused = predictor.logits(&[&right, &wrong]).unwrap_err();
    assert_eq!(refused, InferError::Image { number: 1, found: 90, expected: 270 });
    assert_eq!(refused.to_string(), "image 1 has 90 bytes; expected 270, one for each pixel and channel, channel by channel");
}
