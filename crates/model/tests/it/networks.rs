use std::process::Command;

use regulus_model::graph::{Builder, Conv, Dropout, Features, Flatten, Graph, Layer, MaxPool, Relu, Shape};
use regulus_model::infer::{InferError, Model};
use regulus_model::networks::layers;
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
            "relu as block",
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
            "relu",
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
    vec![residual, shared, doubled, grouped]
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
