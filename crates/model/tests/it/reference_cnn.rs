use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::conv::{self, ConvWeights};
use regulus_kernels::dense::{self, Matrix};
use regulus_kernels::image::{Geometry, Images, channels_first};
use regulus_kernels::simd::Path;
use regulus_model::graph::{Features, Shape};
use regulus_model::infer::Model;
use regulus_model::networks::{Cnn, Mlp, linear};
use regulus_model::{Graph, Weights};

use crate::weights::{bits, numbers, weights_of};

const INPUT: Shape = Shape { channels: 1, height: 28, width: 28 };

fn values<'a>(weights: &'a Weights, name: &str) -> &'a [f32] {
    &weights.get(name).unwrap().numbers
}

fn dense_layer(weights: &Weights, name: &str, x: &[f32], count: usize, relu: bool) -> Vec<f32> {
    let (weight, bias) = (values(weights, &format!("{name}.weight")), values(weights, &format!("{name}.bias")));
    let (inputs, outputs) = (x.len() / count, bias.len());
    let transposed: Vec<f32> = (0..weight.len()).map(|index| weight[index % outputs * inputs + index / outputs]).collect();
    let (x, w) = (Matrix::rows(x, [count, inputs]), Matrix::rows(&transposed, [inputs, outputs]));
    dense::forward(Path::chosen().unwrap(), x, dense::Layer { weights: w, bias, relu }, 2)
}

/// The network as the program's own evaluation calls the kernels: at most 64 images at a time.
fn by_kernels(weights: &Weights, images: &[f32]) -> Vec<f32> {
    let path = Path::chosen().unwrap();
    let conv = |name: &str, inputs: usize, side: usize, outputs: usize| {
        let geometry = Geometry { inputs, outputs, height: side, width: side, kernel: 3, padding: 0 };
        let [weight, bias] = ["weight", "bias"].map(|kind| values(weights, &format!("{name}.{kind}")).to_vec());
        ConvWeights::for_inference(path, Algorithm::default(), geometry, weight, bias)
    };
    let (first, second) = (conv("conv1", 1, 28, 32), conv("conv2", 32, 13, 64));
    let mut logits = Vec::new();
    for images in images.chunks(64 * INPUT.size()) {
        let count = images.len() / INPUT.size();
        let images = Images { numbers: images, batch: count, strides: [784, 784, 28, 1] };
        let maps = conv::forward(&first, &images, 2);
        let maps = Images { numbers: &maps, batch: count, strides: [13 * 13 * 32, 1, 13 * 32, 32] };
        let maps = conv::forward(&second, &maps, 2);
        let flat = channels_first(&maps, 25, 64, 2);
        let hidden = dense_layer(weights, "dense1", &flat, count, true);
        logits.extend(dense_layer(weights, "dense2", &hidden, count, false));
    }
    logits
}

fn cnn() -> Graph {
    Cnn { channels: vec![32, 64], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.5 }.graph(INPUT, 10).unwrap()
}

#[test]
fn the_reference_network_has_the_bits_of_the_kernels_called_one_by_one() {
    let graph = cnn();
    let weights = weights_of(&graph);
    let model = Model::new(&graph, &weights).unwrap();
    assert_eq!((model.input(), model.output()), (INPUT, Features::Vector(10)));
    for count in [0, 1, 7, 64, 65, 200, 600] {
        let images = numbers(9, count * INPUT.size());
        let expected = bits(&by_kernels(&weights, &images));
        assert_eq!(bits(&model.forward(&images, count)), expected, "{count} images");
        for threads in [1, 2, 16] {
            assert_eq!(bits(&model.forward_on(&images, count, threads)), expected, "{count} images by {threads} threads");
        }
    }
}

#[test]
fn dense_networks_have_the_bits_of_the_kernels_called_one_by_one() {
    let networks = [Mlp { hidden: 33, dropout: 0.1 }.graph(INPUT, 5).unwrap(), linear(INPUT, 5).unwrap()];
    for (graph, layers) in networks.iter().zip([2, 1]) {
        let weights = weights_of(graph);
        let model = Model::new(graph, &weights).unwrap();
        for count in [1, 64, 65] {
            let images = numbers(9, count * INPUT.size());
            let chunk = |images: &[f32]| {
                let count = images.len() / INPUT.size();
                let first = dense_layer(&weights, "dense1", images, count, layers == 2);
                if layers == 1 { first } else { dense_layer(&weights, "dense2", &first, count, false) }
            };
            let expected: Vec<f32> = images.chunks(64 * INPUT.size()).flat_map(chunk).collect();
            assert_eq!(bits(&model.forward(&images, count)), bits(&expected), "{count} images");
        }
    }
}

#[test]
fn an_image_with_nan_gives_nan_and_no_other() {
    let graph = cnn();
    let model = Model::new(&graph, &weights_of(&graph)).unwrap();
    let clean = numbers(9, 3 * INPUT.size());
    let mut images = clean.clone();
    images[INPUT.size() + 400] = f32::NAN;
    let (with, without) = (model.forward(&images, 3), model.forward(&clean, 3));
    assert!(with[10..20].iter().all(|logit| logit.is_nan()));
    assert_eq!(bits(&with[..10]), bits(&without[..10]));
    assert_eq!(bits(&with[20..]), bits(&without[20..]));
}
