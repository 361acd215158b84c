use std::io::Write;

use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::bf16::Bf16;
use regulus_kernels::conv2d::{Conv2d, Followed, image_gradient, weight_gradient};
use regulus_kernels::convolve::Convolution;
use regulus_kernels::epilogue::{self, Activation, Addition, Affine, Sizes, Steps};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

/// The fastest path, and the algorithm with each kind of instructions that the processor has. Without them a test has nothing to do, and says so.
fn available() -> Vec<(Path, Algorithm)> {
    let path = Path::all()[0];
    match Bf16::all(path) {
        Ok(all) => all.into_iter().map(|bf16| (path, Algorithm::Bf16(bf16))).collect(),
        Err(missing) => {
            // Directly: the harness hides what passing tests print.
            writeln!(std::io::stderr(), "skipped: {missing}").expect("standard error is open");
            Vec::new()
        }
    }
}

/// Rounded to 8 bits of precision, to the nearest, ties to even.
fn rounded(number: f32) -> f32 {
    let bits = number.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// A convolution with what is given to it: images `[image, row, column, input]`, weights `[output, input, row, column]`, the gradient `[image, row, column, output]`.
struct Setting {
    convolution: Convolution,
    given: [Vec<f32>; 3],
}

/// Of each number of the output and both gradients: itself, and the sum of the sizes of its summands.
type Expected = [Vec<[f64; 2]>; 3];

impl Setting {
    fn new(convolution: Convolution, batch: usize) -> Self {
        let Convolution { inputs, outputs, height, width, kernel, .. } = convolution;
        let [rows, columns] = convolution.sides();
        let sizes = [batch * height * width * inputs, inputs * outputs * kernel[0] * kernel[1], batch * rows * columns * outputs];
        let [images, weights, gradient] = sizes;
        Self { convolution, given: [numbers(1, images), numbers(2, weights), numbers(3, gradient)] }
    }

    fn computed(&self, (path, algorithm): (Path, Algorithm), threads: usize) -> [Vec<f32>; 3] {
        let (convolution, [images, weights, gradient]) = (self.convolution, &self.given);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        pool.install(|| {
            let (out, moments) = Conv2d::new(path, algorithm, convolution, weights, threads).forward(images, true, threads);
            assert_eq!(moments.expect("there are pixels").mean().len(), convolution.outputs);
            [
                out,
                image_gradient(path, algorithm, convolution, gradient, weights, threads),
                weight_gradient(path, algorithm, convolution, images, gradient, threads),
            ]
        })
    }

    /// By the definition, in float64, of numbers as `of` makes them.
    fn expected(&self, of: fn(f32) -> f32) -> Expected {
        let Convolution { inputs, outputs, height, width, kernel, stride, padding, .. } = self.convolution;
        let [rows, columns] = self.convolution.sides();
        let [images, weights, gradient] =
            &self.given.each_ref().map(|list| list.iter().map(|number| f64::from(of(*number))).collect::<Vec<_>>());
        let mut sums = [gradient, images, weights].map(|list| vec![[0.0; 2]; list.len()]);
        let batch = images.len() / (inputs * height * width);
        let area = kernel[0] * kernel[1];
        for (image, y, x, tap) in (0..batch * rows * columns * area)
            .map(|at| (at / area / columns / rows, at / area / columns % rows, at / area % columns, at % area))
        {
            let inside = |at: usize, axis: usize, side: usize| at.checked_sub(padding[axis]).filter(|at| *at < side);
            let row = inside(y * stride[0] + tap / kernel[1], 0, height);
            let column = inside(x * stride[1] + tap % kernel[1], 1, width);
            let (Some(row), Some(column)) = (row, column) else { continue };
            let (pixel, position) = (((image * height + row) * width + column) * inputs, ((image * rows + y) * columns + x) * outputs);
            for (output, input) in (0..outputs * inputs).map(|at| (at / inputs, at % inputs)) {
                let (image, weight, slope) = (pixel + input, (output * inputs + input) * area + tap, position + output);
                let mut add = |pass: usize, at: usize, product: f64| {
                    sums[pass][at][0] += product;
                    sums[pass][at][1] += product.abs();
                };
                add(0, slope, images[image] * weights[weight]);
                add(1, image, gradient[slope] * weights[weight]);
                add(2, weight, gradient[slope] * images[image]);
            }
        }
        sums
    }
}

/// Whether every number is the expected one but for `bound` of the sizes of its summands.
fn are_within(found: &[f32], expected: &[[f64; 2]], bound: f64) -> bool {
    let is_close = |(found, [expected, size]): (&f32, &[f64; 2])| (f64::from(*found) - expected).abs() <= bound * size + 1e-30;
    found.len() == expected.len() && found.iter().zip(expected).all(is_close)
}

const fn convolution(inputs: usize, outputs: usize, [height, width]: [usize; 2], kernel: usize) -> Convolution {
    let padding = [(kernel - 1) / 2; 2];
    Convolution { inputs, outputs, height, width, kernel: [kernel; 2], stride: [1; 2], padding, extra_padding: [0; 2], groups: 1 }
}

/// Two factors, each rounded by at most 2⁻⁸ of itself; and a little for the sums, which are float32.
const BOUND: f64 = 2.0 / 256.0 + 1.0 / 65536.0 + 4e-6;

#[test]
fn numbers_are_rounded_and_then_summed_in_float32() {
    regulus_kernels::buffers::fill_with_nan();
    let available = available();
    if available.is_empty() {
        return;
    }
    let strided = Convolution { stride: [2, 3], ..convolution(20, 33, [9, 11], 3) };
    let unpadded = Convolution { padding: [0; 2], ..convolution(17, 24, [9, 6], 3) };
    let oblong = Convolution { kernel: [1, 5], padding: [0, 2], ..convolution(6, 40, [5, 16], 1) };
    for (convolution, batch) in [
        // Rows of 16 pixels, whose patches overlap in memory; and 32 numbers of a row of a kernel.
        (convolution(32, 48, [16, 16], 3), 2),
        (convolution(64, 20, [5, 32], 3), 3),
        (convolution(3, 64, [10, 12], 3), 3),
        (convolution(70, 65, [7, 7], 3), 2),
        (convolution(16, 96, [13, 5], 1), 2),
        (convolution(144, 40, [4, 4], 1), 3),
        (convolution(1, 1, [1, 1], 1), 1),
        (convolution(5, 7, [6, 9], 5), 2),
        // Sums of more than a task holds, over more than one block of positions.
        (convolution(150, 130, [9, 9], 3), 14),
        (strided, 3),
        (unpadded, 11),
        (oblong, 2),
        // Images in groups, the last of them with few or with all; nothing but zeros under the outermost windows; channels that do not fill the tiles.
        (convolution(64, 48, [7, 5], 3), 35),
        (convolution(32, 40, [3, 3], 3), 16),
        (convolution(72, 96, [2, 3], 3), 33),
        (Convolution { stride: [2, 1], ..convolution(32, 64, [5, 4], 3) }, 50),
        (Convolution { stride: [1, 2], padding: [3, 4], extra_padding: [1, 2], ..convolution(32, 64, [2, 2], 3) }, 33),
        (Convolution { kernel: [1, 5], padding: [0, 2], ..convolution(32, 64, [3, 6], 1) }, 17),
        (convolution(32, 32, [4, 3], 5), 18),
        (convolution(64, 44, [3, 3], 1), 40),
        // Bands of three rows and one.
        (convolution(32, 24, [10, 4], 3), 130),
        // Sums of more than a task holds, in chunks of different sizes.
        (convolution(160, 160, [2, 3], 3), 64),
        (convolution(256, 224, [2, 2], 3), 16),
    ] {
        let setting = Setting::new(convolution, batch);
        let expected = [setting.expected(rounded), setting.expected(|number| number)];
        available.iter().for_each(|available| check(&setting, *available, &expected));
    }
}

/// Checks what is computed against what is expected of rounded and of exact numbers.
fn check(setting: &Setting, available: (Path, Algorithm), [own, exact]: &[Expected; 2]) {
    let convolution = setting.convolution;
    let found = setting.computed(available, 1);
    for (pass, found) in found.iter().enumerate() {
        // The gradient of the images is float32 with a stride.
        let is_rounded = pass != 1 || convolution.stride == [1, 1];
        assert!(are_within(found, if is_rounded { &own[pass] } else { &exact[pass] }, 4e-6), "{convolution:?}, pass {pass}");
        assert!(are_within(found, &exact[pass], BOUND), "{convolution:?}, pass {pass}");
    }
    if convolution.inputs > 100 {
        // The table of `docs/performance.md`.
        let errors = found.iter().zip(exact).map(|(found, exact)| {
            let errors: f64 = found.iter().zip(exact).map(|(found, [exact, _])| (f64::from(*found) - exact).powi(2)).sum();
            (errors / exact.iter().map(|[exact, _]| exact * exact).sum::<f64>()).sqrt()
        });
        assert!(errors.clone().all(|error| (1.9e-3..2.3e-3).contains(&error)), "{convolution:?}: {:?}", errors.collect::<Vec<_>>());
    }
    for threads in [2, 3] {
        let others = setting.computed(available, threads);
        assert!(others.iter().zip(&found).all(|(other, found)| bits(other) == bits(found)), "{convolution:?}, {threads} threads");
    }
}

#[test]
fn what_follows_has_the_bits_of_the_two_by_themselves() {
    for (path, algorithm) in available() {
        let sides = [[16, 16], [9, 5], [6, 7], [2, 3], [4, 4], [10, 4]];
        let steps = [(Addition::None, true), (Addition::None, false), (Addition::Before, false), (Addition::After, false)];
        for ((height, width), (addition, has_pool)) in
            sides.into_iter().flat_map(|[height, width]| steps.map(|steps| ((height, width), steps)))
        {
            // The last group of images is not whole. Bands of the largest have several rows.
            let (convolution, batch) = (convolution(32, 24, [height, width], 3), if height == 10 { 130 } else { 23 });
            let Setting { given: [images, weights, other], .. } = Setting::new(convolution, batch);
            let steps = Steps { activation: Activation::Relu, addition, has_pool };
            let affine = Affine { scale: numbers(4, 24), shift: numbers(5, 24) };
            let other = if addition == Addition::None { Vec::new() } else { other };
            let conv = Conv2d::new(path, algorithm, convolution, &weights, 2);
            let (out, _) = conv.forward(&images, false, 2);
            let apart = epilogue::forward(path, Sizes { batch, height, width, channels: 24 }, steps, &out, &affine, &other, 2);
            for threads in [1, 2] {
                let together = conv.forward_followed(path, &images, Followed { steps, affine: &affine, other: &other }, threads);
                assert_eq!(bits(&together), bits(&apart), "{height} by {width}, {steps:?}");
            }
        }
    }
}

#[test]
fn an_output_does_not_depend_on_its_batch() {
    for (path, algorithm) in available() {
        for (convolution, batch) in [
            (convolution(32, 16, [16, 16], 3), 5),
            (convolution(32, 24, [4, 4], 3), 21),
            (convolution(24, 32, [5, 3], 1), 40),
            (convolution(64, 40, [3, 4], 3), 52),
        ] {
            let setting = Setting::new(convolution, batch);
            let [images, weights, _] = &setting.given;
            let conv = Conv2d::new(path, algorithm, convolution, weights, 2);
            let (all, _) = conv.forward(images, false, 2);
            let each = images.chunks_exact(images.len() / batch).flat_map(|image| conv.forward(image, false, 1).0).collect::<Vec<_>>();
            assert_eq!(bits(&all), bits(&each), "{convolution:?}");
        }
    }
}

#[test]
fn a_convolution_of_another_size_keeps_its_rounded_weights() {
    for available in available() {
        let large = Setting::new(convolution(16, 20, [11, 9], 3), 2);
        let conv = Conv2d::new(available.0, available.1, convolution(16, 20, [6, 6], 3), &large.given[1], 1).resized(11, 9);
        assert!(conv.is_rounded());
        assert_eq!(bits(&conv.forward(&large.given[0], false, 1).0), bits(&large.computed(available, 1)[0]));
    }
}

#[test]
fn nan_and_infinity_reach_only_the_outputs_of_their_patches() {
    for (path, algorithm) in available() {
        // In patches, and in groups of images.
        for (inputs, side, batch) in [(16, 16, 2), (32, 7, 20)] {
            let convolution = convolution(inputs, 16, [side, side], 3);
            let Setting { given: [mut images, weights, _], .. } = Setting::new(convolution, batch);
            images[(5 * side + 3) * inputs + 3] = f32::NAN;
            images[(2 * side * side - 1) * inputs] = f32::INFINITY;
            let (out, _) = Conv2d::new(path, algorithm, convolution, &weights, 1).forward(&images, false, 1);
            for (position, out) in out.chunks_exact(16).enumerate() {
                let (image, row, column) = (position / side / side, position / side % side, position % side);
                let is_near = match image {
                    0 => row.abs_diff(5) <= 1 && column.abs_diff(3) <= 1,
                    1 => row >= side - 2 && column >= side - 2,
                    _ => false,
                };
                assert!(out.iter().all(|number| number.is_finite() != is_near), "image {image}, row {row}, column {column}: {out:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "images for Convolution")]
fn images_that_are_not_whole_are_refused() {
    let Some((path, algorithm)) = available().pop() else { panic!("images for Convolution: skipped") };
    let convolution = convolution(32, 16, [4, 4], 3);
    let Setting { given: [images, weights, _], .. } = Setting::new(convolution, 17);
    let conv = Conv2d::new(path, algorithm, convolution, &weights, 1);
    let _ = conv.forward(&images[..images.len() - 1], false, 1);
}

#[test]
fn other_vector_instructions_are_refused_with_a_reason() {
    let scalar = Path::all().pop().expect("there is always one");
    let error = Bf16::try_new(scalar).unwrap_err().to_string();
    let expected = "bfloat16 needs Linux on an x86-64 processor with avx512_bf16: the vector instructions in use are `scalar`";
    assert_eq!(error, expected);
}
