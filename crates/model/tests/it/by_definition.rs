//! A network by its definition, in float64, one image at a time.

use regulus_model::graph::{Conv, Features, Graph, Op, Shape, Source};
use regulus_model::{Weights, graph};

/// What the network gives for one image.
pub(crate) fn evaluate(graph: &Graph, weights: &Weights, image: &[f32]) -> Vec<f64> {
    let image: Vec<f64> = image.iter().map(|number| f64::from(*number)).collect();
    let mut given: Vec<Vec<f64>> = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let of = |source: &Source| match source {
            Source::Image => image.as_slice(),
            Source::Node(index) => &given[*index],
        };
        let x = of(&graph.sources(index)[0]);
        let parameter = |name: &str| -> Vec<f64> {
            let values = weights.get(&format!("{}.{name}", node.name));
            values.map_or_else(Vec::new, |values| values.numbers.iter().map(|number| f64::from(*number)).collect())
        };
        let (input, output) = (graph.input_of(index), graph.features_of(Source::Node(index)));
        let area = input.area();
        let out = match &node.op {
            Op::Conv(op) => convolution(op, map(input), map(output), x, &parameter("weight"), &parameter("bias")),
            Op::Dense(op) => {
                let (weight, bias) = (parameter("weight"), parameter("bias"));
                let sum = |row: &[f64]| row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>();
                let rows = weight.chunks(x.len()).map(sum);
                rows.enumerate().map(|(unit, sum)| sum + if op.bias { bias[unit] } else { 0.0 }).collect()
            }
            Op::BatchNorm(op) => {
                let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(parameter);
                let one = |(at, x): (usize, &f64)| {
                    let channel = at / area;
                    (x - mean[channel]) / (variance[channel] + op.epsilon).sqrt() * gamma[channel] + beta[channel]
                };
                x.iter().enumerate().map(one).collect()
            }
            Op::Relu(_) => x.iter().map(|x| x.max(0.0)).collect(),
            Op::Relu6(_) => x.iter().map(|x| x.clamp(0.0, 6.0)).collect(),
            Op::Gelu(_) => x.iter().map(|x| gelu(*x)).collect(),
            Op::MaxPool(op) => {
                let windows = windows([op.kernel, op.stride, op.padding], map(input), map(output), x);
                windows.into_iter().map(|window| window.into_iter().fold(f64::NEG_INFINITY, f64::max)).collect()
            }
            Op::AveragePool(op) => {
                let windows = windows([op.kernel, op.stride, op.padding], map(input), map(output), x);
                windows.into_iter().map(|window| window.iter().sum::<f64>() / (op.kernel[0] * op.kernel[1]) as f64).collect()
            }
            Op::GlobalAveragePool(_) => x.chunks(area).map(|channel| channel.iter().sum::<f64>() / area as f64).collect(),
            Op::GlobalMaxPool(_) => x.chunks(area).map(|channel| channel.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect(),
            Op::Add(_) => x.iter().zip(of(&graph.sources(index)[1])).map(|(left, right)| left + right).collect(),
            Op::Subtract(_) => x.iter().zip(of(&graph.sources(index)[1])).map(|(left, right)| left - right).collect(),
            Op::Flatten(_) | Op::Dropout(_) => x.to_vec(),
        };
        given.push(out);
    }
    given.swap_remove(graph.output())
}

/// x·Φ(x), with Φ(x) = ½ + φ(x)·Σ x^(2n+1)/(1·3·5···(2n+1)).
fn gelu(x: f64) -> f64 {
    let (mut term, mut sum) = (x, 0.0);
    for n in 1..400 {
        sum += term;
        term *= x * x / f64::from(2 * n + 1);
    }
    x * (0.5 + (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum)
}

fn map(features: Features) -> Shape {
    match features {
        Features::Map(shape) => shape,
        Features::Vector(_) => panic!("a map"),
    }
}

/// The positions of a map, row by row.
fn positions(shape: Shape) -> impl Iterator<Item = (usize, usize)> {
    (0..shape.height).flat_map(move |y| (0..shape.width).map(move |x| (y, x)))
}

/// The number of a channel at a padded position, if it is inside.
fn at(shape: Shape, x: &[f64], channel: usize, [y, padded_y]: [usize; 2], [column, padded_x]: [usize; 2]) -> Option<f64> {
    let y = y.checked_sub(padded_y).filter(|y| *y < shape.height)?;
    let column = column.checked_sub(padded_x).filter(|column| *column < shape.width)?;
    Some(x[(channel * shape.height + y) * shape.width + column])
}

fn convolution(op: &Conv, input: Shape, output: Shape, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let graph::Conv { kernel, stride, padding, groups, .. } = op;
    let of_group = input.channels / groups;
    let one = |channel: usize, (row, column): (usize, usize)| {
        let mut sum = if op.bias { bias[channel] } else { 0.0 };
        for (tap, weight) in weight[channel * of_group * kernel[0] * kernel[1]..][..of_group * kernel[0] * kernel[1]].iter().enumerate() {
            let (c, y, k) = (tap / (kernel[0] * kernel[1]), tap / kernel[1] % kernel[0], tap % kernel[1]);
            let c = channel / (output.channels / groups) * of_group + c;
            let number = at(input, x, c, [row * stride[0] + y, padding[0]], [column * stride[1] + k, padding[1]]);
            sum += weight * number.unwrap_or(0.0);
        }
        sum
    };
    (0..output.channels).flat_map(|channel| positions(output).map(move |position| one(channel, position))).collect()
}

fn windows([kernel, stride, padding]: [[usize; 2]; 3], input: Shape, output: Shape, x: &[f64]) -> Vec<Vec<f64>> {
    let window = |channel: usize, (row, column): (usize, usize)| {
        let taps = (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |k| (y, k)));
        taps.filter_map(|(y, k)| at(input, x, channel, [row * stride[0] + y, padding[0]], [column * stride[1] + k, padding[1]])).collect()
    };
    (0..output.channels).flat_map(|channel| positions(output).map(move |position| window(channel, position))).collect()
}
