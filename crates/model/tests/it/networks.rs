use std::process::Command;

use regulus_model::graph::{Builder, Conv, Dropout, Features, Flatten, Graph, Layer, MaxPool, Relu, Shape};
use regulus_model::infer::{InferError, Model};
use regulus_model::networks::{DnCnn, layers};
use regulus_model::{Values, Weights};

use crate::by_definition::evaluate;
use crate::weights::{bits, numbers, weights_of};

fn network(lines: &[&str], input: Shape) -> Graph {
    let lines: Vec<Layer> = lines.iter().map(|line| Layer::new(line).unwrap()).collect();
    layers(&lines, input, 7).unwrap()
}

const COLOUR: Shape = Shape { channels: 3, height: 21, width: 18 };

/// Everything a graph can be made of, with branches.
fn networks() -> Vec<Graph> {
    let residual = network(
        &[
            "conv 16 3x3 stride 2 padding 1 bias false",
            "batch_norm",
            "relu as stem",
            "conv 16 3x3 padding 1 bias false",
            "batch_norm epsilon 1e-3",
            "relu6",
            "conv 16 3x3 padding 1",
            "add stem",
            "gelu as block",
            "conv 16 3x3 groups 16 padding 1 stride 2",
            "batch_norm",
            "conv 24 1x1 as narrow",
            "conv 24 1x1 stride 2 from block",
            "add narrow",
            "max_pool 3 stride 2 padding 1",
            "global_average_pool",
            "dropout 0.2",
            "dense 9 bias false",
            "batch_norm",
            "relu",
            "dense classes",
        ],
        COLOUR,
    );
    let shared = network(
        &[
            "conv 8 3x3 padding 1",
            "relu",
            "max_pool 2 as pooled",
            "flatten",
            "dense 6 as flat",
            "global_max_pool from pooled",
            "dense 6",
            "add flat",
            "gelu",
            "dense classes",
        ],
        COLOUR,
    );
    let doubled = network(
        &[
            "conv 5 2x3 groups 1 as twice",
            "add twice",
            "average_pool 2x3 stride 1x2 padding 1",
            "flatten",
            "batch_norm",
            "relu",
            "dense classes",
        ],
        COLOUR,
    );
    let grouped = network(
        &[
            "conv 12 5x5 padding 2",
            "relu",
            "max_pool 2",
            "batch_norm",
            "conv 6 3x2 groups 3",
            "relu6",
            "average_pool 2",
            "global_max_pool",
            "dense classes",
        ],
        COLOUR,
    );
    // What is subtracted from is a node, the image, and a node whose channels lie side by side.
    let differences = network(
        &[
            "conv 3 3x3 padding 1",
            "subtract image",
            "conv 8 3x3 padding 1",
            "relu",
            "max_pool 2 as pooled",
            "conv 8 3x3 padding 1",
            "batch_norm",
            "subtract pooled",
            "relu",
            "flatten",
            "dense 12 as long",
            "dense 12",
            "relu",
            "subtract long",
            "dense classes",
        ],
        COLOUR,
    );
    vec![residual, shared, doubled, grouped, differences]
}

fn close(found: &[f32], expected: &[f64]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| (f64::from(*found) - expected).abs() < 2e-5)
}

#[test]
fn networks_of_every_operation_are_their_definition_on_any_threads() {
    for (number, graph) in networks().iter().enumerate() {
        let weights = weights_of(graph);
        let model = Model::new(graph, &weights).unwrap();
        let size = graph.input().size();
        for count in [1, 3, 66] {
            let images = numbers(9, count * size);
            let found = model.forward_on(&images, count, 1);
            let expected: Vec<f64> = images.chunks(size).flat_map(|image| evaluate(graph, &weights, image)).collect();
            assert!(close(&found, &expected), "network {number}, {count} images: {:?} and {:?}", &found[..7], &expected[..7]);
            for threads in [2, 16] {
                assert_eq!(
                    bits(&model.forward_on(&images, count, threads)),
                    bits(&found),
                    "network {number}, {count} images by {threads} threads"
                );
            }
        }
    }
}

#[test]
fn large_maps_that_are_computed_in_pieces_have_the_same_bits() {
    let shape = Shape { channels: 3, height: 97, width: 110 };
    let lines = [
        "conv 24 3x3 padding 1 stride 2 as stem",
        "conv 96 1x1 bias false",
        "batch_norm",
        "relu6",
        "conv 96 5x5 groups 96 padding 2 stride 2",
        "conv 24 1x1 as narrow",
        "conv 24 1x1 stride 2 from stem",
        "add narrow",
        // Its weights are too many to be read again for each piece: the pieces end before it, with a map.
        "conv 640 3x3 stride 4",
        "relu",
        "global_average_pool",
        "dense classes",
    ];
    // Two values go on to its weights, which are too many: the pieces end where the block begins.
    let residual = [
        "conv 16 3x3 padding 1",
        "relu as stem",
        "conv 16 3x3 padding 1",
        "relu",
        "conv 1024 3x3 padding 1 stride 40",
        "relu",
        "conv 16 1x1",
        "conv 16 1x1 stride 40 from stem",
        "add conv4",
        "global_average_pool",
        "dense classes",
    ];
    // A piece gives a map, and takes the image twice.
    let image = ["conv 16 3x3 padding 1", "relu", "conv 3 3x3 padding 1", "subtract image"];
    for lines in [&lines[..], &residual, &image] {
        let graph = network(lines, shape);
        let weights = weights_of(&graph);
        let model = Model::new(&graph, &weights).unwrap();
        let images = numbers(9, 8 * shape.size());
        // Eight pieces are for one and two threads, not for three or sixteen.
        let all = [1, 2, 3, 16].map(|threads| model.forward_on(&images, 8, threads));
        assert!(all.iter().all(|other| bits(other) == bits(&all[0])));
        let expected = evaluate(&graph, &weights, &images[..shape.size()]);
        assert!(close(&all[0][..expected.len()], &expected));
    }
}

#[test]
fn a_feature_map_can_be_the_output() {
    for padding in [0, 1] {
        let mut pooled = Builder::new(COLOUR);
        pooled.then(Conv::new(9, 3).padding(padding)).then(Relu {}).then(MaxPool::new(2));
        let graph = pooled.finish().unwrap();
        let weights = weights_of(&graph);
        let images = numbers(3, 2 * COLOUR.size());
        let found = Model::new(&graph, &weights).unwrap().forward(&images, 2);
        let expected: Vec<f64> = images.chunks(COLOUR.size()).flat_map(|image| evaluate(&graph, &weights, image)).collect();
        assert!(close(&found, &expected));
    }
}

#[test]
fn a_denoising_network_gives_images_of_any_size() {
    let dncnn = DnCnn { depth: 4, width: 16 }.graph(COLOUR).unwrap();
    let weights = weights_of(&dncnn);
    let model = Model::new(&dncnn, &weights).unwrap();
    assert_eq!(model.output(), Features::Map(COLOUR));
    // Maps of one and two rows take other tiles.
    let small = model.with_input(Shape { channels: 3, height: 2, width: 40 }).unwrap();
    for (from, [height, width]) in [(&model, [21, 18]), (&model, [3, 40]), (&model, [2, 40]), (&model, [1, 1]), (&small, [70, 33])] {
        let shape = Shape { channels: 3, height, width };
        let resized = from.with_input(shape).unwrap();
        assert_eq!((resized.input(), resized.output()), (shape, Features::Map(shape)));
        let images = numbers(5, 3 * shape.size());
        let found = resized.forward_on(&images, 3, 1);
        let graph = dncnn.with_input(shape).unwrap();
        let expected: Vec<f64> = images.chunks(shape.size()).flat_map(|image| evaluate(&graph, &weights, image)).collect();
        assert!(close(&found, &expected), "{shape}");
        // Nor do the other images and the threads change a bit.
        assert_eq!(bits(&found), bits(&Model::new(&graph, &weights).unwrap().forward_on(&images, 3, 2)), "{shape}");
        assert_eq!(bits(&found[..shape.size()]), bits(&resized.forward(&images[..shape.size()], 1)), "{shape}");
    }
}

#[test]
fn every_layer_can_take_images_of_another_size() {
    let lines = [
        "conv 8 3x3 padding 1",
        "relu",
        "max_pool 2",
        "conv 8 3x3 padding 1",
        "relu",
        "max_pool 2 as pooled",
        "conv 8 3x3 padding 1 groups 8",
        "batch_norm",
        "relu6",
        "add pooled",
        "average_pool 3 stride 2 padding 1",
        "max_pool 2 stride 1",
        "global_average_pool",
        "dropout 0.5",
        "dense classes",
    ];
    let graph = network(&lines, COLOUR);
    let weights = weights_of(&graph);
    let model = Model::new(&graph, &weights).unwrap();
    for [height, width] in [[16, 19], [40, 33]] {
        let shape = Shape { channels: 3, height, width };
        let images = numbers(5, 70 * shape.size());
        let expected = Model::new(&graph.with_input(shape).unwrap(), &weights).unwrap().forward_on(&images, 70, 1);
        assert_eq!(bits(&model.with_input(shape).unwrap().forward(&images, 70)), bits(&expected), "{shape}");
    }
}

#[test]
fn large_images_are_computed_one_by_one() {
    let dncnn = DnCnn { depth: 2, width: 24 }.graph(Shape { channels: 1, height: 512, width: 512 }).unwrap();
    let model = Model::new(&dncnn, &weights_of(&dncnn)).unwrap();
    let images = numbers(5, 3 * 512 * 512);
    let apart: Vec<f32> = images.chunks(512 * 512).flat_map(|image| model.forward(image, 1)).collect();
    assert_eq!(bits(&model.forward_on(&images, 3, 2)), bits(&apart));
    assert_eq!(bits(&model.forward_on(&images, 3, 1)), bits(&apart));
}

#[test]
fn what_depends_on_the_size_of_the_images_is_named() {
    let refused = |lines: &[&str], shape: Shape| network(lines, COLOUR).with_input(shape).unwrap_err().to_string();
    let larger = Shape { height: 30, ..COLOUR };
    assert_eq!(
        refused(&["conv 2 3x3", "flatten", "dense classes"], larger),
        "node `dense1` (dense) has parameters whose shapes depend on the images: `dense1.weight` is [7, 608] for images of 21×18×3, and would be [7, 896] \
         for images of 30×18×3"
    );
    let grey = Shape { channels: 1, ..COLOUR };
    assert!(
        refused(&["conv 2 3x3", "global_max_pool", "dense classes"], grey)
            .contains("`conv1.weight` is [2, 3, 3, 3] for images of 21×18×3, and would be [2, 1, 3, 3]")
    );
    let small = Shape { height: 2, ..COLOUR };
    assert!(
        refused(&["conv 2 3x3", "global_max_pool", "dense classes"], small)
            .contains("has a kernel of 3×3, but what reaches it is only 2×18")
    );
}

#[test]
fn what_changes_nothing_gives_the_image() {
    let mut builder = Builder::new(COLOUR);
    builder.then(Dropout { rate: 0.5 }).then(Flatten {});
    let graph = builder.finish().unwrap();
    let model = Model::new(&graph, &Weights::default()).unwrap();
    assert_eq!(model.output(), Features::Vector(COLOUR.size()));
    let images = numbers(3, 2 * COLOUR.size());
    assert_eq!(model.forward(&images, 2), images);
}

#[test]
fn weights_of_another_network_are_refused() {
    let graph = network(&["flatten", "dense classes"], COLOUR);
    let refused = |weights: &Weights| Model::new(&graph, weights).unwrap_err().to_string();
    assert_eq!(refused(&Weights::default()), "the weights do not fit the network: tensor `dense1.bias` [7] is missing");
    let cut = weights_of(&graph).map(|_, values| Values { shape: vec![1], numbers: values.numbers[..1].to_vec() });
    assert_eq!(refused(&cut), "the weights do not fit the network: tensor `dense1.bias` is [1]; expected [7]");
}

#[test]
fn instructions_the_processor_lacks_are_refused() {
    let graph = network(&["flatten", "dense classes"], COLOUR);
    if std::env::var_os("REGULUS_SIMD").is_some_and(|asked| asked == "sse9") {
        let refused = Model::new(&graph, &weights_of(&graph)).unwrap_err();
        assert!(matches!(refused, InferError::Path(_)) && refused.to_string().starts_with("`REGULUS_SIMD` is `sse9`"), "{refused}");
        return;
    }
    // Which instructions are used is found out once in a process, so this test runs in another.
    let itself = ["--exact", "networks::instructions_the_processor_lacks_are_refused"];
    let output = Command::new(std::env::current_exe().unwrap()).args(itself).env("REGULUS_SIMD", "sse9").output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}
