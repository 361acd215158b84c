use proptest::prelude::*;
use regulus_kernels::simd::Path;
use regulus_kernels::winograd::{Kernels, Pass, Sizes, Tile, forward, weight_gradient};

use crate::numbers::{bits, numbers};

/// The definition, in float64, and the sum of the absolute summands of each number.
fn by_definition(sizes: Sizes, images: &[f64], weights: &[f64]) -> [Vec<f64>; 2] {
    let Sizes { batch, inputs, outputs, height, width, padding } = sizes;
    let [rows, columns] = sizes.sides();
    let mut out = [vec![], vec![]];
    for (n, y, x, o) in
        (0..batch).flat_map(|n| (0..rows).flat_map(move |y| (0..columns).flat_map(move |x| (0..outputs).map(move |o| (n, y, x, o)))))
    {
        let (mut sum, mut size) = (0.0, 0.0);
        for (c, ky, kx) in (0..inputs).flat_map(|c| (0..3).flat_map(move |ky| (0..3).map(move |kx| (c, ky, kx)))) {
            let inside = |at: usize, side: usize| at.checked_sub(padding).filter(|at| *at < side);
            if let (Some(iy), Some(ix)) = (inside(y + ky, height), inside(x + kx, width)) {
                let product: f64 = images[((n * height + iy) * width + ix) * inputs + c] * weights[((o * inputs + c) * 3 + ky) * 3 + kx];
                sum += product;
                size += product.abs();
            }
        }
        out[0].push(sum);
        out[1].push(size);
    }
    out
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|number| f64::from(*number)).collect()
}

/// The root mean square of the errors over that of the numbers.
fn error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let errors: f64 = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).powi(2)).sum();
    let squares: f64 = expected.iter().map(|number| number * number).sum();
    (errors / squares.max(1e-30)).sqrt()
}

/// Σ gradient·output is linear in images and in weights: its slope along any direction is known from the definition.
fn slope(sizes: Sizes, images: &[f64], weights: &[f64], gradient: &[f32]) -> f64 {
    by_definition(sizes, images, weights)[0].iter().zip(gradient).map(|(out, gradient)| out * f64::from(*gradient)).sum()
}

fn check(sizes: Sizes) {
    regulus_kernels::buffers::fill_with_nan();
    let Sizes { batch, inputs, outputs, height, width, padding } = sizes;
    let images = numbers(1, batch * height * width * inputs);
    let weights = numbers(2, 9 * inputs * outputs);
    let [expected, _] = by_definition(sizes, &wide(&images), &wide(&weights));
    let gradient = numbers(3, expected.len());
    let [to_images, to_weights] = [numbers(4, images.len()), numbers(5, weights.len())];
    let along_images = slope(sizes, &wide(&to_images), &wide(&weights), &gradient);
    let along_weights = slope(sizes, &wide(&images), &wide(&to_weights), &gradient);
    let along = |found: &[f32], direction: &[f32]| -> f64 {
        assert_eq!(found.len(), direction.len());
        found.iter().zip(direction).map(|(found, direction)| f64::from(*found) * f64::from(*direction)).sum()
    };
    let size = (expected.len() as f64 * inputs as f64).sqrt() * 9.0;
    for (path, tile) in Path::all().into_iter().flat_map(|path| [(path, Tile::Four), (path, Tile::Two)]) {
        let what = format!("{sizes:?} {tile:?} on {}", path.name);
        let kernels = Kernels::new(path, tile, &weights, outputs, 1);
        let pass = Pass { kernels: &kernels, images: &images, sizes, has_moments: true };
        let (alone, moments) = forward(&pass, 1);
        assert!(error(&alone, &expected) < 1e-5, "{what}: {}", error(&alone, &expected));
        let (together, _) = forward(&Pass { kernels: &Kernels::new(path, tile, &weights, outputs, 3), ..pass }, 3);
        assert_eq!(bits(&alone), bits(&together), "{what}");
        for image in 0..batch {
            let of_image = &images[image * height * width * inputs..][..height * width * inputs];
            let (one, _) = forward(&Pass { images: of_image, sizes: Sizes { batch: 1, ..sizes }, ..pass }, 1);
            assert_eq!(bits(&one), bits(&alone[image * one.len()..][..one.len()]), "{what}, image {image}");
        }
        let moments = moments.expect("moments are asked for");
        for (channel, (mean, variance)) in moments.mean().into_iter().zip(moments.variance()).enumerate() {
            let of_channel = || alone.iter().skip(channel).step_by(outputs).map(|number| f64::from(*number));
            let count = of_channel().count() as f64;
            let expected = of_channel().sum::<f64>() / count;
            let squares = of_channel().map(|number| (number - expected).powi(2)).sum::<f64>() / count;
            let is_close = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-5 * (1.0 + expected.abs());
            assert!(is_close(mean, expected) && is_close(variance, squares), "{what}: {mean} {expected} {variance} {squares}");
        }
        if padding <= 2 {
            let turned = Kernels::turned(path, tile, &weights, outputs, 1);
            let [rows, columns] = sizes.sides();
            let back = Sizes { batch, inputs: outputs, outputs: inputs, height: rows, width: columns, padding: 2 - padding };
            let (found, _) = forward(&Pass { kernels: &turned, images: &gradient, sizes: back, has_moments: false }, 2);
            assert!((along(&found, &to_images) - along_images).abs() < 1e-5 * size, "{what}: {} {along_images}", along(&found, &to_images));
        }
        let found = weight_gradient(path, tile, sizes, &images, &gradient);
        assert!((along(&found, &to_weights) - along_weights).abs() < 1e-5 * size, "{what}: {} {along_weights}", along(&found, &to_weights));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads can be started");
        let others = pool.install(|| weight_gradient(path, tile, sizes, &images, &gradient));
        assert_eq!(bits(&found), bits(&others), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_convolution_and_its_gradients_are_the_definition(
        batch in 1..4_usize, inputs in 1..40_usize, outputs in 1..40_usize, height in 1..12_usize, width in 1..12_usize, padding in 0..3_usize,
    ) {
        prop_assume!(height + 2 * padding >= 3 && width + 2 * padding >= 3);
        check(Sizes { batch, inputs, outputs, height, width, padding });
    }
}

#[test]
fn kernels_that_many_groups_share_are_the_definition() {
    check(Sizes { batch: 9, inputs: 250, outputs: 260, height: 5, width: 4, padding: 1 });
    check(Sizes { batch: 2, inputs: 65, outputs: 70, height: 21, width: 33, padding: 1 });
}
