use regulus_kernels::batch_norm::{Layer, Saved, Sizes, backward, forward};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

const EPSILON: f32 = 1e-3;

/// Output, mean and biased variance by the formula, in float64.
fn by_definition(images: &[f64], Sizes { batch, channels, positions }: Sizes, gamma: &[f64], beta: &[f64]) -> [Vec<f64>; 3] {
    let count = (batch * positions) as f64;
    let of_channel = |channel: usize| images.chunks(positions).skip(channel).step_by(channels).flatten().copied();
    let mean: Vec<f64> = (0..channels).map(|channel| of_channel(channel).sum::<f64>() / count).collect();
    let variance: Vec<f64> = (0..channels).map(|c| of_channel(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / count).collect();
    let one = |(at, x): (usize, &f64)| {
        let c = at / positions % channels;
        (x - mean[c]) / (variance[c] + f64::from(EPSILON)).sqrt() * gamma[c] + beta[c]
    };
    [images.iter().enumerate().map(one).collect(), mean, variance]
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|number| f64::from(*number)).collect()
}

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{what}: {found} and {expected}");
    }
}

#[test]
fn forward_and_backward_are_the_formula_and_its_derivative_on_any_threads() {
    for (batch, channels, positions) in [(1, 1, 2), (3, 5, 7), (4, 2, 130), (2, 3, 64)] {
        let sizes = Sizes { batch, channels, positions };
        let size = batch * channels * positions;
        let images: Vec<f32> = numbers(1, size).iter().map(|number| number + 0.5).collect();
        let (gamma, beta, gradient) = (numbers(2, channels), numbers(3, channels), numbers(4, size));
        let (wide_images, wide_gamma, wide_beta, wide_gradient) = (wide(&images), wide(&gamma), wide(&beta), wide(&gradient));
        let expected = by_definition(&wide_images, sizes, &wide_gamma, &wide_beta);
        // Σ gradient·output, whose derivatives are found by differences.
        let loss = |images: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
            by_definition(images, sizes, gamma, beta)[0].iter().zip(&wide_gradient).map(|(out, gradient)| out * gradient).sum()
        };
        let slopes = |numbers: &[f64], loss: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let moved = |at: usize, step: f64| {
                let mut moved = numbers.to_vec();
                moved[at] += step;
                loss(&moved)
            };
            (0..numbers.len()).map(|at| (moved(at, 1e-5) - moved(at, -1e-5)) / 2e-5).collect()
        };
        let of_images = slopes(&wide_images, &|images| loss(images, &wide_gamma, &wide_beta));
        let of_gamma = slopes(&wide_gamma, &|gamma| loss(&wide_images, gamma, &wide_beta));
        let of_beta = slopes(&wide_beta, &|beta| loss(&wide_images, &wide_gamma, beta));
        for path in Path::all() {
            let found = [1, 4].map(|threads| {
                let out = forward(path, &images, sizes, Layer { gamma: &gamma, beta: &beta, epsilon: EPSILON }, threads);
                let saved = Saved { images: &images, sizes, gamma: &gamma, mean: &out.mean, variance: &out.variance, epsilon: EPSILON };
                let back = backward(path, &saved, &gradient, threads);
                [out.out, out.mean, out.variance, back.images, back.gamma, back.beta]
            });
            let what = format!("{sizes:?} on {}", path.name);
            let all = expected.iter().chain([&of_images, &of_gamma, &of_beta]);
            found[0].iter().zip(all).for_each(|(found, expected)| assert_close(found, expected, &what));
            assert!(found[0].iter().zip(&found[1]).all(|(one, other)| bits(one) == bits(other)), "{what}");
        }
    }
}
