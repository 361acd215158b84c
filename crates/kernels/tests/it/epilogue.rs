use regulus_kernels::epilogue::{Activation, Addition, Affine, Normalization, Saved, Sizes, Steps, backward, forward};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

const EPSILON: f64 = 1e-3;

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|number| f64::from(*number)).collect()
}

/// What the definition takes: images, what is added, γ or the scale, β or the shift.
type Inputs = [Vec<f64>; 4];

/// The definition in float64. The images are normalized by their own statistics, or not at all.
fn by_definition(sizes: Sizes, steps: Steps, is_normalized: bool, [images, other, scale, shift]: &Inputs) -> Vec<f64> {
    let Sizes { batch, height, width, channels } = sizes;
    let count = (batch * height * width) as f64;
    let statistics: Vec<[f64; 2]> = (0..channels)
        .map(|c| {
            let of_channel = || images.iter().skip(c).step_by(channels);
            let mean = of_channel().sum::<f64>() / count;
            [mean, of_channel().map(|x| (x - mean).powi(2)).sum::<f64>() / count]
        })
        .collect();
    let added = |at: usize, when: Addition| if steps.addition == when { other[at] } else { 0.0 };
    let activated = |at: usize| {
        let c = at % channels;
        let [mean, variance] = statistics[c];
        let x = if is_normalized { (images[at] - mean) / (variance + EPSILON).sqrt() } else { images[at] };
        let z = x * scale[c] + shift[c] + added(at, Addition::Before);
        match steps.activation {
            Activation::None => z,
            Activation::Relu => z.max(0.0),
            Activation::Relu6 => z.clamp(0.0, 6.0),
            Activation::Gelu => gelu(z),
        }
    };
    if !steps.has_pool {
        return (0..images.len()).map(|at| activated(at) + added(at, Addition::After)).collect();
    }
    let [rows, columns] = [height / 2, width / 2];
    let places =
        (0..batch).flat_map(|n| (0..rows).flat_map(move |y| (0..columns).flat_map(move |x| (0..channels).map(move |c| (n, y, x, c)))));
    let largest = |(n, y, x, c): (usize, usize, usize, usize)| {
        let at = |dy: usize, dx: usize| activated(((n * height + 2 * y + dy) * width + 2 * x + dx) * channels + c);
        at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1))
    };
    places.map(largest).collect()
}

/// z·Φ(z). Φ(z) = ½ + φ(z)·Σ z^(2n+1)/(1·3·5···(2n+1)).
fn gelu(z: f64) -> f64 {
    let (mut term, mut sum) = (z, 0.0);
    for n in 1..400 {
        sum += term;
        term *= z * z / f64::from(2 * n + 1);
    }
    z * (0.5 + (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum)
}

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 2e-5 * (1.0 + expected.abs()), "{what}: {found} and {expected}");
    }
}

fn check(sizes: Sizes, steps: Steps, is_normalized: bool) {
    regulus_kernels::buffers::fill_with_nan();
    // Large enough that both ends of ReLU6 are met.
    let images: Vec<f32> = numbers(1, sizes.len()).iter().map(|number| 3.0 * number + 0.5).collect();
    let other = if steps.addition == Addition::None { Vec::new() } else { numbers(2, sizes.len()) };
    let scale: Vec<f32> = numbers(3, sizes.channels).iter().map(|number| 3.0 * number).collect();
    let shift = numbers(4, sizes.channels);
    let inputs = [&images, &other, &scale, &shift].map(|list| wide(list));
    let expected = by_definition(sizes, steps, is_normalized, &inputs);
    let gradient = numbers(5, expected.len());
    let loss = |inputs: &Inputs| -> f64 {
        by_definition(sizes, steps, is_normalized, inputs).iter().zip(&gradient).map(|(out, g)| out * f64::from(*g)).sum()
    };
    let slopes = |which: usize| -> Vec<f64> {
        let moved = |at: usize, step: f64| {
            let mut moved = inputs.clone();
            moved[which][at] += step;
            loss(&moved)
        };
        (0..inputs[which].len()).map(|at| (moved(at, 1e-6) - moved(at, -1e-6)) / 2e-6).collect()
    };
    let slopes = [0, 1, 2, 3].map(slopes);
    let count = (sizes.len() / sizes.channels) as f64;
    let of_channel = |c: usize| inputs[0].iter().skip(c).step_by(sizes.channels).copied();
    let means: Vec<f64> = (0..sizes.channels).map(|c| of_channel(c).sum::<f64>() / count).collect();
    #[expect(clippy::cast_possible_truncation, reason = "statistics are float32")]
    let narrow = |c: usize| (means[c] as f32, (of_channel(c).map(|x| (x - means[c]).powi(2)).sum::<f64>() / count) as f32);
    let (mean, variance): (Vec<f32>, Vec<f32>) = (0..sizes.channels).map(narrow).unzip();
    let (affine, normalization) = if is_normalized {
        let normalization = Normalization { mean: &mean, variance: &variance, epsilon: EPSILON };
        (Affine::normalization([&mean, &variance], [&scale, &shift], EPSILON), Some(normalization))
    } else {
        (Affine { scale, shift }, None)
    };
    for path in Path::all() {
        let what = format!("{sizes:?} {steps:?} {is_normalized} on {}", path.name);
        let saved = Saved { sizes, steps, affine: &affine, other: &other, normalization };
        let found = [1, 3].map(|threads| {
            let out = forward(path, sizes, steps, &images, &affine, &other, threads);
            let back = backward(path, images.clone(), &saved, &gradient, threads);
            [out, back.images, back.other, back.scale, back.shift]
        });
        assert_close(&found[0][0], &expected, &what);
        assert_close(&found[0][1], &slopes[0], &what);
        if steps.addition == Addition::Before {
            assert_close(&found[0][2], &slopes[1], &what);
        }
        assert_close(&found[0][3], &slopes[2], &what);
        assert_close(&found[0][4], &slopes[3], &what);
        assert!(found[0].iter().zip(&found[1]).all(|(one, other)| bits(one) == bits(other)), "{what}");
    }
}

#[test]
fn every_combination_is_the_definition_and_its_derivative() {
    let all = [Activation::None, Activation::Relu, Activation::Relu6, Activation::Gelu];
    for (activation, is_normalized) in all.into_iter().flat_map(|activation| [(activation, false), (activation, true)]) {
        for addition in [Addition::None, Addition::Before, Addition::After] {
            let steps = Steps { activation, addition, has_pool: false };
            check(Sizes { batch: 2, height: 3, width: 2, channels: 5 }, steps, is_normalized);
            check(Sizes { batch: 5, height: 1, width: 1, channels: 18 }, steps, is_normalized);
        }
        if activation == Activation::Gelu {
            continue;
        }
        let steps = Steps { activation, addition: Addition::None, has_pool: true };
        check(Sizes { batch: 2, height: 4, width: 2, channels: 3 }, steps, is_normalized);
        check(Sizes { batch: 1, height: 3, width: 5, channels: 17 }, steps, is_normalized);
    }
}

#[test]
fn work_in_many_tasks_is_that_of_one() {
    // Tasks that begin within an image, and a last row that no pool reads.
    let sizes = Sizes { batch: 3, height: 61, width: 33, channels: 40 };
    let (images, scale, shift) = (numbers(1, sizes.len()), numbers(2, 40), numbers(3, 40));
    let affine = Affine { scale, shift };
    for has_pool in [false, true] {
        let steps = Steps { activation: Activation::Relu, addition: Addition::None, has_pool };
        let one = |image: usize| &images[image * sizes.len() / 3..(image + 1) * sizes.len() / 3];
        for path in Path::all() {
            let out = forward(path, sizes, steps, &images, &affine, &[], 2);
            let gradient = numbers(4, out.len());
            let saved = Saved { sizes, steps, affine: &affine, other: &[], normalization: None };
            let back = backward(path, images.clone(), &saved, &gradient, 2);
            for image in 0..3 {
                let sizes = Sizes { batch: 1, ..sizes };
                let part = |numbers: &[f32]| numbers[image * numbers.len() / 3..(image + 1) * numbers.len() / 3].to_vec();
                assert_eq!(bits(&forward(path, sizes, steps, one(image), &affine, &[], 1)), bits(&part(&out)));
                let of_image = backward(path, one(image).to_vec(), &Saved { sizes, ..saved }, &part(&gradient), 1);
                assert_eq!(bits(&of_image.images), bits(&part(&back.images)));
            }
        }
    }
}

#[test]
fn nan_stays_nan_and_infinities_are_cut_off() {
    let affine = Affine::bias(&[0.0]);
    let sizes = Sizes { batch: 1, height: 2, width: 2, channels: 1 };
    for path in Path::all() {
        for place in 0..4 {
            let mut images = [1.0, 2.0, 3.0, 4.0];
            images[place] = f32::NAN;
            let steps = Steps { activation: Activation::Relu6, addition: Addition::None, has_pool: true };
            assert!(forward(path, sizes, steps, &images, &affine, &[], 1)[0].is_nan(), "{place} on {}", path.name);
        }
        let steps = Steps { activation: Activation::Relu6, ..Steps::default() };
        let images = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0];
        let found = forward(path, sizes, steps, &images, &affine, &[], 1);
        assert!(found[0].is_nan());
        assert_eq!(found[1..], [6.0, 0.0, 0.0]);
    }
}
