#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]

use rayon::ThreadPoolBuilder;
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::conv::{ConvWeights, Pooled, Saved, backward, forward, forward_with_argmax};
use regulus_kernels::image::{Geometry, Images};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

/// The bits of numbers, with one pattern for every NaN.
fn bits_or_nan(numbers: &[f32]) -> Vec<u32> {
    bits(&numbers.iter().map(|number| if number.is_nan() { f32::NAN } else { *number }).collect::<Vec<f32>>())
}

/// Output, argmax and the gradients of weights, bias and images, computed in a pool of `threads` threads.
fn pass(path: Path, geometry: Geometry, batch: usize, images: &[f32], threads: usize) -> (Vec<Vec<u32>>, Vec<u8>) {
    regulus_kernels::buffers::fill_with_nan();
    let Geometry { inputs, outputs, height, width, kernel, .. } = geometry;
    let (weights, bias) = (numbers(1, outputs * inputs * kernel * kernel), numbers(2, outputs));
    let gradient = numbers(3, batch * outputs * geometry.pooled());
    let images = Images { numbers: images, batch, strides: [inputs * height * width, height * width, width, 1] };
    let [rows, columns] = [geometry.pooled_height(), geometry.pooled_width()];
    let gradient = Images { numbers: &gradient, batch, strides: [outputs * rows * columns, rows * columns, columns, 1] };
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
        let for_batch = ConvWeights::for_batch(path, Algorithm::default(), geometry, batch, &weights, &bias);
        let Pooled { values, argmax } = forward_with_argmax(&for_batch, &images, threads);
        let for_inference = ConvWeights::for_inference(path, Algorithm::default(), geometry, weights.clone(), bias.clone());
        let inferred = forward(&for_inference, &images, threads);
        let gradients = backward(path, &Saved { geometry, images, weights: &weights, argmax: &argmax }, &gradient, true);
        let found = [values, inferred, gradients.weights, gradients.bias, gradients.images.unwrap()];
        (found.iter().map(|numbers| bits_or_nan(numbers)).collect(), argmax)
    })
}

#[test]
fn images_that_are_not_finite_have_the_same_results_on_any_number_of_threads() {
    for (inputs, outputs, height, width, padding) in [(32, 40, 13, 13, 0), (8, 9, 16, 11, 1), (20, 5, 7, 30, 0), (3, 17, 14, 14, 1)] {
        let geometry = Geometry { inputs, outputs, height, width, kernel: 3, padding };
        let size = inputs * height * width;
        for (batch, value) in [1, 2, 3, 7].into_iter().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]) {
            let finite = numbers(4, batch * size);
            // In the first row, in the middle and in the last row of an image; in all but the first the images before are finite.
            for at in [0, size / 2, size - 1, batch * size - size / 2, batch * size - 1] {
                let mut images = finite.clone();
                images[at] = value;
                for path in Path::all() {
                    let alone = pass(path, geometry, batch, &images, 1);
                    for threads in [2, 3, 8] {
                        let found = pass(path, geometry, batch, &images, threads);
                        assert!(found == alone, "{geometry:?}, {batch} images, {value} at {at}, {threads} threads on {}", path.name);
                    }
                }
            }
        }
    }
}
