//! Convolutions that start by whitening the image.

use regulus_linalg::eigen::Eigen;
use regulus_model::Weights;
use regulus_model::graph::{Graph, Op, Role};
use regulus_model::preprocess::Normalizer;

use crate::data::Subset;

/// Added to each eigenvalue, as in the paper.
const EPSILON: f64 = 5e-4;

/// Products in a covariance, at most: below a second.
const PRODUCTS: usize = 2_000_000_000;

/// Gives the convolution `index` of a graph, whose input is the image, filters that whiten patches of the images of a subset (Jordan 2024, arXiv 2404.00498,
/// section 3.2): wᵢ = vᵢ/√(eᵢ + 5·10⁻⁴), eᵢ and vᵢ being the eigenvalues, from the largest on, and eigenvectors of the covariance of patches; then −wᵢ. What channels
/// are left, and other nodes, keep `drawn`. A bias becomes −wᵢ·(mean patch). Large sets give an evenly spaced part of their images.
///
/// # Shapes
///
/// - kernel: `[output, input channel, row, column]`; bias: `[output]`
///
/// # Panics
///
/// When the node is no such convolution.
pub(crate) fn whitening(graph: &Graph, index: usize, subset: &Subset, normalizer: &Normalizer, drawn: &Weights) -> Weights {
    let Op::Conv(op) = &graph.nodes()[index].op else { panic!("node {index} is no convolution") };
    let Moments { mean, covariance } = Moments::of(subset, normalizer, op.kernel);
    let filters = filters(&covariance);
    let signed = || [1.0, -1.0].into_iter().flat_map(|sign| filters.iter().map(move |filter| (sign, filter)));
    drawn.map(|name, values| {
        let Some(parameter) = graph.parameters_of(index).iter().find(|parameter| parameter.name == name) else { return values.clone() };
        let mut values = values.clone();
        let of_channel = if parameter.role == Role::Kernel { mean.len() } else { 1 };
        for (channel, (sign, filter)) in values.numbers.chunks_exact_mut(of_channel).zip(signed()) {
            #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
            if parameter.role == Role::Kernel {
                channel.iter_mut().zip(filter).for_each(|(to, weight)| *to = (sign * weight) as f32);
            } else {
                channel[0] = -(sign * filter.iter().zip(&mean).map(|(weight, mean)| weight * mean).sum::<f64>()) as f32;
            }
        }
        values
    })
}

/// The eigenvectors of a covariance over the roots of their eigenvalues, from the largest eigenvalue on.
fn filters(covariance: &[f64]) -> Vec<Vec<f64>> {
    let Eigen { values, vectors } = Eigen::of(covariance);
    let filter = |(value, vector): (&f64, &[f64])| {
        // An eigenvector has either sign: its largest number is positive here.
        let largest = vector.iter().fold(0.0_f64, |largest, number| if number.abs() > largest.abs() { *number } else { largest });
        vector.iter().map(|number| number * largest.signum() / (value.max(0.0) + EPSILON).sqrt()).collect()
    };
    values.iter().zip(vectors.chunks_exact(values.len())).rev().map(filter).collect()
}

/// Mean and covariance of the patches of images, each `[channel, row, column]`.
struct Moments {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

impl Moments {
    fn of(subset: &Subset, normalizer: &Normalizer, [rows, columns]: [usize; 2]) -> Self {
        let shape = subset.shape();
        let tables = normalizer.table();
        let size = shape.channels * rows * columns;
        let (down, right) = ((shape.height + 1).saturating_sub(rows), (shape.width + 1).saturating_sub(columns));
        let images = (PRODUCTS / (size * size * down * right).max(1)).clamp(1, subset.count());
        let (mut sum, mut products, mut patch) = (vec![0.0; size], vec![0.0; size * size], vec![0.0; size]);
        for image in 0..images {
            let pixels = subset.pixels(image * subset.count() / images);
            for (top, left) in (0..down).flat_map(|top| (0..right).map(move |left| (top, left))) {
                for (at, to) in patch.iter_mut().enumerate() {
                    let (channel, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
                    let pixel = pixels[(channel * shape.height + top + row) * shape.width + left + column];
                    *to = f64::from(tables[channel][usize::from(pixel)]);
                }
                for (row, number) in patch.iter().enumerate() {
                    sum[row] += number;
                    products[row * size..=row * size + row].iter_mut().zip(&patch).for_each(|(sum, other)| *sum += number * other);
                }
            }
        }
        let count = (images * down * right) as f64;
        let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
        let covariance = products.iter().enumerate().map(|(at, sum)| sum / count - mean[at / size] * mean[at % size]).collect();
        Self { mean, covariance }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use regulus_model::graph::{Builder, Conv, Shape};

    use super::*;
    use crate::config::Init;
    use crate::data::Images;
    use crate::network::draw;
    use crate::seed::Seed;

    #[test]
    fn patches_of_the_training_images_are_white_after_it() {
        // Smooth images, whose neighbouring pixels are alike.
        let shape = Shape { channels: 2, height: 7, width: 6 };
        let pixel = |image: usize, at: usize| u8::try_from((image * 37 + at * 3 + image * at % 41 * 2) % 200).unwrap();
        let pixels: Vec<u8> = (0..60).flat_map(|image| (0..shape.size()).map(move |at| pixel(image, at))).collect();
        let subset = Subset::all(Arc::new(Images::new(shape, pixels.clone(), vec![0; 60])));
        let normalizer = Normalizer { mean: vec![0.3, 0.1], deviation: vec![0.05, 0.02] };
        let graph = Builder::new(shape).then(Conv::new(20, 2)).finish().unwrap();
        let drawn: Weights =
            graph.parameters().map(|parameter| (parameter.name.clone(), draw(Init::Pytorch, parameter, Seed(3)))).collect();
        let whitened = whitening(&graph, 0, &subset, &normalizer, &drawn);
        let (weight, bias) = (&whitened.get("conv1.weight").unwrap().numbers, &whitened.get("conv1.bias").unwrap().numbers);
        assert_eq!(weight[16 * 8..], drawn.get("conv1.weight").unwrap().numbers[16 * 8..]);
        assert_eq!(bias[16..], drawn.get("conv1.bias").unwrap().numbers[16..]);
        // The outputs of the first 16 channels for all patches.
        let mut outputs = Vec::new();
        for image in pixels.chunks_exact(shape.size()) {
            for (top, left) in (0..6).flat_map(|top| (0..5).map(move |left| (top, left))) {
                let value = |channel: usize, row: usize, column: usize| {
                    let byte = image[channel * 42 + (top + row) * 6 + left + column];
                    (f64::from(byte) / 255.0 - normalizer.mean[channel]) / normalizer.deviation[channel]
                };
                let patch: Vec<f64> = (0..8).map(|at| value(at / 4, at / 2 % 2, at % 2)).collect();
                let output = |channel: usize| {
                    let products = weight[channel * 8..].iter().zip(&patch).map(|(weight, number)| f64::from(*weight) * number);
                    products.sum::<f64>() + f64::from(bias[channel])
                };
                outputs.push((0..16).map(output).collect::<Vec<f64>>());
            }
        }
        let mean = |of: &dyn Fn(&[f64]) -> f64| outputs.iter().map(|output| of(output)).sum::<f64>() / outputs.len() as f64;
        for one in 0..8 {
            assert!(mean(&|output| output[one]).abs() < 1e-4);
            assert!(mean(&|output| (output[one] + output[one + 8]).abs()) < 1e-4);
            for other in 0..8 {
                let expected = if one == other { 1.0 } else { 0.0 };
                let found = mean(&|output| output[one] * output[other]);
                assert!((found - expected).abs() < 2e-3, "channels {one} and {other}: {found}");
            }
        }
    }
}
