use proptest::prelude::*;
use regulus_kernels::convolve::{Convolution, PackedWeights, forward, image_gradient, weight_gradient};
use regulus_kernels::simd::Path;

use crate::numbers::{are_close, bits, numbers};

/// Channels first to channels last.
fn last<T: Copy>(numbers: &[T], channels: usize, area: usize) -> Vec<T> {
    let images = numbers.chunks(channels * area);
    images.flat_map(|image| (0..area).flat_map(move |pixel| (0..channels).map(move |channel| image[channel * area + pixel]))).collect()
}

/// Images and outputs as the kernels store them.
fn stored<T: Copy>(convolution: Convolution, images: &[T]) -> Vec<T> {
    last(images, convolution.inputs, convolution.height * convolution.width)
}

fn stored_output<T: Copy>(convolution: Convolution, outputs: &[T]) -> Vec<T> {
    last(outputs, convolution.outputs, convolution.sides().iter().product())
}

/// The definition, in float64, with channels first: zeros around are multiplied like other numbers.
fn by_definition(convolution: Convolution, batch: usize, images: &[f32], weights: &[f32]) -> Vec<f64> {
    let Convolution { inputs, outputs, height, width, kernel, stride, padding, groups, .. } = convolution;
    let [rows, columns] = convolution.sides();
    let of_group = inputs / groups;
    let at = |image: usize, input: usize, y: usize, x: usize| {
        let (y, x) = (y.checked_sub(padding[0]).filter(|y| *y < height)?, x.checked_sub(padding[1]).filter(|x| *x < width)?);
        Some(f64::from(images[((image * inputs + input) * height + y) * width + x]))
    };
    let mut out = Vec::new();
    for (image, output, row, column) in
        (0..batch).flat_map(|n| (0..outputs).flat_map(move |o| (0..rows).flat_map(move |y| (0..columns).map(move |x| (n, o, y, x)))))
    {
        let mut sum = 0.0;
        for (input, y, x) in (0..of_group).flat_map(|c| (0..kernel[0]).flat_map(move |y| (0..kernel[1]).map(move |x| (c, y, x)))) {
            let weight = weights[((output * of_group + input) * kernel[0] + y) * kernel[1] + x];
            let group = output / (outputs / groups);
            let number = at(image, group * of_group + input, row * stride[0] + y, column * stride[1] + x);
            sum += f64::from(weight) * number.unwrap_or(0.0);
        }
        out.push(sum);
    }
    out
}

fn sizes(convolution: Convolution) -> [usize; 2] {
    let Convolution { inputs, outputs, height, width, kernel, groups, .. } = convolution;
    [inputs * height * width, outputs * inputs / groups * kernel[0] * kernel[1]]
}

fn check(convolution: Convolution, batch: usize, odd: Option<f32>) {
    regulus_kernels::buffers::fill_with_nan();
    let [image, kernels] = sizes(convolution);
    let mut images = numbers(1, batch * image);
    if let Some(odd) = odd {
        let middle = images.len() / 2;
        images[middle] = odd;
    }
    let weights = numbers(2, kernels);
    let expected = stored_output(convolution, &by_definition(convolution, batch, &images, &weights));
    let images = stored(convolution, &images);
    for path in Path::all() {
        let parameters = |threads| PackedWeights::new(path, convolution, &weights, threads);
        let (alone, _) = forward(&parameters(1), &images, false, 1);
        assert!(are_close(&alone, &expected, kernels as f64 / convolution.outputs as f64), "{convolution:?} on {}", path.name);
        for threads in [2, 64] {
            let (found, _) = forward(&parameters(threads), &images, false, threads);
            assert_eq!(bits(&found), bits(&alone), "{convolution:?} by {threads} on {}", path.name);
        }
        for (number, image) in images.chunks(image).enumerate() {
            let (one, _) = forward(&parameters(2), image, false, 2);
            assert_eq!(bits(&one), bits(&alone[number * one.len()..][..one.len()]), "{convolution:?}, image {number} of {batch}");
        }
    }
}

fn convolutions() -> impl Strategy<Value = Convolution> {
    let channels = (1..4_usize, 1..5_usize, 1..6_usize, any::<bool>());
    let axis = || (1..12_usize, 1..5_usize, 1..4_usize, (0..4_usize, 0..3_usize));
    (channels, axis(), axis()).prop_filter_map("kernels that fit", |((groups, of_in, of_out, depthwise), rows, columns)| {
        let (groups, of_in, of_out) = if depthwise { (groups * of_in, 1, 1) } else { (groups, of_in, of_out) };
        let fits = |(side, kernel, _, (padding, extra)): (usize, usize, usize, (usize, usize))| kernel <= side + 2 * padding + extra;
        (fits(rows) && fits(columns)).then(|| Convolution {
            inputs: groups * of_in,
            outputs: groups * of_out,
            height: rows.0,
            width: columns.0,
            kernel: [rows.1, columns.1],
            stride: [rows.2, columns.2],
            padding: [rows.3.0, columns.3.0],
            extra_padding: [rows.3.1, columns.3.1],
            groups,
        })
    })
}

proptest! {
    #[test]
    fn any_convolution_is_its_definition_in_any_batch_on_any_threads(convolution in convolutions(), batch in 1..4_usize) {
        check(convolution, batch, None);
    }

    #[test]
    fn numbers_that_are_not_finite_spread_as_defined(convolution in convolutions(), odd in prop_oneof![Just(f32::NAN), Just(f32::INFINITY)]) {
        // A depthwise convolution multiplies nothing by the zeros around an image.
        prop_assume!(convolution.groups < convolution.inputs || convolution.groups < convolution.outputs);
        check(convolution, 2, Some(odd));
    }
}

const BLOCK: Convolution = Convolution {
    inputs: 16,
    outputs: 24,
    height: 30,
    width: 33,
    kernel: [3; 2],
    stride: [1; 2],
    padding: [1; 2],
    extra_padding: [0; 2],
    groups: 1,
};

#[test]
fn larger_ones_of_many_blocks_are_their_definition() {
    let pointwise = Convolution { kernel: [1; 2], padding: [0; 2], ..BLOCK };
    check(BLOCK, 2, None);
    check(Convolution { stride: [2; 2], ..BLOCK }, 2, None);
    // As TensorFlow's SAME: 15 rows of 30, 17 columns of 33.
    let same = Convolution { stride: [2; 2], padding: [0, 1], extra_padding: [1, 0], ..BLOCK };
    assert_eq!(same.sides(), [15, 17]);
    check(same, 2, None);
    check(Convolution { extra_padding: [1; 2], ..pointwise }, 2, None);
    check(pointwise, 2, None);
    check(Convolution { outputs: 16, groups: 16, stride: [2, 1], ..BLOCK }, 3, None);
    // Windows that lie in the padding alone.
    let around =
        Convolution { inputs: 16, outputs: 16, height: 2, width: 2, kernel: [1; 2], stride: [3, 3], padding: [4, 5], groups: 16, ..BLOCK };
    check(around, 3, None);
    check(Convolution { groups: 1, ..around }, 3, None);
    // Blocks of output channels, of one row each, and of a group each.
    check(Convolution { inputs: 40, outputs: 300, height: 5, width: 5, ..BLOCK }, 2, None);
    check(Convolution { inputs: 2, outputs: 3, height: 3, width: 700, ..BLOCK }, 1, None);
    check(Convolution { inputs: 32, outputs: 64, height: 9, width: 9, groups: 4, ..BLOCK }, 2, None);
    check(Convolution { inputs: 300, outputs: 200, height: 1, width: 1, ..pointwise }, 2, None);
}

#[test]
fn an_infinite_weight_is_multiplied_by_the_zeros_of_the_padding() {
    let convolution = Convolution { inputs: 1, outputs: 1, height: 2, width: 2, ..BLOCK };
    let mut weights = [0.0; 9];
    weights[8] = f32::INFINITY;
    for (outputs, expected) in [(2, [f32::INFINITY, f32::NAN, f32::NAN, f32::NAN])] {
        let convolution = Convolution { outputs, ..convolution };
        for path in Path::all() {
            let (found, _) = forward(&PackedWeights::new(path, convolution, &weights.repeat(outputs), 1), &[1.0; 4], false, 1);
            assert!(
                found
                    .iter()
                    .zip(expected.iter().flat_map(|number| [number; 2]))
                    .all(|(found, expected)| found.to_bits() & !(1 << 31) == expected.to_bits()),
                "{found:?}"
            );
        }
    }
}

#[test]
fn no_images_give_nothing() {
    let weights = vec![1.0; sizes(BLOCK)[1]];
    let depthwise = Convolution { outputs: 16, groups: 16, ..BLOCK };
    for (path, convolution) in Path::all().into_iter().flat_map(|path| [(path, BLOCK), (path, depthwise)]) {
        let weights = &weights[..sizes(convolution)[1]];
        assert!(forward(&PackedWeights::new(path, convolution, weights, 2), &[], false, 2).0.is_empty());
        assert!(image_gradient(path, convolution, &[], weights, 2).is_empty());
        assert!(weight_gradient(path, convolution, &[], &[], 2).iter().all(|number| *number == 0.0));
    }
}

/// The sum of the products of two lists.
fn product(left: &[f64], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * f64::from(*right)).sum()
}

/// Each gradient is the transpose of the definition: for any direction, the change of Σ gradient·output along it.
fn check_gradients(convolution: Convolution, batch: usize) {
    regulus_kernels::buffers::fill_with_nan();
    let [image, kernels] = sizes(convolution);
    let (images, weights) = (numbers(1, batch * image), numbers(2, kernels));
    let outputs = by_definition(convolution, batch, &images, &weights).len();
    let gradient = numbers(3, outputs);
    let wide: Vec<f64> = gradient.iter().map(|number| f64::from(*number)).collect();
    let narrow = |numbers: &[f64]| -> Vec<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "compared with a tolerance")]
        numbers.iter().map(|number| *number as f32).collect()
    };
    let as_wide = |numbers: &[f32]| -> Vec<f64> { numbers.iter().map(|number| f64::from(*number)).collect() };
    let (stored_images, stored_gradient) = (stored(convolution, &images), stored_output(convolution, &gradient));
    for path in Path::all() {
        let of_images = image_gradient(path, convolution, &stored_gradient, &weights, 1);
        assert_eq!(bits(&of_images), bits(&image_gradient(path, convolution, &stored_gradient, &weights, 3)), "{convolution:?}");
        let of_weights = weight_gradient(path, convolution, &stored_images, &stored_gradient, 1);
        assert_eq!(bits(&of_weights), bits(&weight_gradient(path, convolution, &stored_images, &stored_gradient, 3)), "{convolution:?}");
        for seed in 4..7 {
            let direction = numbers(seed, images.len());
            let expected = product(&wide, &narrow(&by_definition(convolution, batch, &direction, &weights)));
            let found = product(&as_wide(&of_images), &stored(convolution, &direction));
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{convolution:?} on {}: {found} {expected}", path.name);
            let direction = numbers(seed, weights.len());
            let expected = product(&wide, &narrow(&by_definition(convolution, batch, &images, &direction)));
            let found = product(&as_wide(&of_weights), &direction);
            assert!((found - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{convolution:?} on {}: {found} {expected}", path.name);
        }
    }
}

#[test]
fn gradients_of_several_bands_and_tasks_are_the_transposes() {
    let same = Convolution { inputs: 5, outputs: 9, height: 40, ..BLOCK };
    check_gradients(same, 3);
    check_gradients(Convolution { height: 6, width: 7, ..same }, 37);
    check_gradients(Convolution { stride: [2, 1], padding: [0, 1], ..same }, 2);
    check_gradients(Convolution { kernel: [1, 1], padding: [0, 0], ..same }, 2);
    check_gradients(Convolution { inputs: 8, outputs: 12, groups: 4, ..same }, 2);
    check_gradients(Convolution { inputs: 20, outputs: 20, groups: 20, stride: [2, 2], ..same }, 3);
}

proptest! {
    #[test]
    fn gradients_are_the_transposes(convolution in convolutions(), batch in 1..4_usize) {
        check_gradients(convolution, batch);
    }
}
