use regulus_kernels::algorithm::Algorithm::{self, Direct, Winograd2, Winograd4};
use regulus_kernels::conv2d::{self, Conv2d, Followed, image_gradient, weight_gradient};
use regulus_kernels::convolve::Convolution;
use regulus_kernels::epilogue::{self, Activation, Addition, Affine, Sizes, Steps};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

const ALGORITHMS: [Algorithm; 3] = [Winograd4, Winograd2, Direct];

/// A 3×3 convolution that keeps the size of its images.
const fn same(inputs: usize, outputs: usize, height: usize, width: usize) -> Convolution {
    Convolution { inputs, outputs, height, width, kernel: [3; 2], stride: [1; 2], padding: [1; 2], extra_padding: [0; 2], groups: 1 }
}

/// A convolution with what is given to it.
struct Setting {
    convolution: Convolution,
    /// `[image, row, column, input]`.
    images: Vec<f32>,
    /// `[output, input, row, column]`.
    weights: Vec<f32>,
    /// `[image, row, column, output]`.
    gradient: Vec<f32>,
}

impl Setting {
    /// As in the layers of a network: inputs that went through ReLU, and kernels that vary by their number.
    fn new(convolution: Convolution, batch: usize) -> Self {
        let Convolution { inputs, outputs, height, width, .. } = convolution;
        let images = numbers(1, batch * height * width * inputs).iter().map(|number| number.max(0.0)).collect();
        let weights = numbers(2, 9 * inputs * outputs).iter().map(|number| number / (inputs as f32).sqrt()).collect();
        let [rows, columns] = convolution.sides();
        Self { convolution, images, weights, gradient: numbers(3, batch * rows * columns * outputs) }
    }

    /// Forward pass, gradient of the images and gradient of the weights by the kernels.
    fn computed(&self, path: Path, algorithm: Algorithm, threads: usize) -> [Vec<f32>; 3] {
        let Self { convolution, images, weights, gradient } = self;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        pool.install(|| {
            let (out, _) = Conv2d::new(path, algorithm, *convolution, weights, threads).forward(images, false, threads);
            let (once, _) = conv2d::forward(path, algorithm, *convolution, images, weights, false, threads);
            assert_eq!(bits(&once), bits(&out), "{convolution:?}, {algorithm:?}: weights that are needed once");
            [
                out,
                image_gradient(path, algorithm, *convolution, gradient, weights, threads),
                weight_gradient(path, algorithm, *convolution, images, gradient, threads),
            ]
        })
    }

    /// The same by the definition, in float64.
    fn expected(&self) -> [Vec<f64>; 3] {
        let Convolution { inputs, outputs, height, width, padding: [padding, _], .. } = self.convolution;
        let [rows, columns] = self.convolution.sides();
        let wide = |numbers: &[f32]| -> Vec<f64> { numbers.iter().map(|number| f64::from(*number)).collect() };
        let (images, gradient) = (wide(&self.images), wide(&self.gradient));
        // Tap by tap, `[row, column, output, input]`, so that the inner loop is over numbers side by side.
        let mut by_tap = vec![0.0; self.weights.len()];
        for (at, weight) in self.weights.iter().enumerate() {
            by_tap[(at % 9 * outputs + at / 9 / inputs) * inputs + at / 9 % inputs] = f64::from(*weight);
        }
        let batch = images.len() / (inputs * height * width);
        let (mut out, mut of_images, mut of_taps) = (vec![0.0; gradient.len()], vec![0.0; images.len()], vec![0.0; by_tap.len()]);
        for (image, y, x, tap) in
            (0..batch * rows * columns * 9).map(|at| (at / 9 / columns / rows, at / 9 / columns % rows, at / 9 % columns, at % 9))
        {
            let inside = |at: usize, side: usize| at.checked_sub(padding).filter(|at| *at < side);
            let (Some(row), Some(column)) = (inside(y + tap / 3, height), inside(x + tap % 3, width)) else { continue };
            let pixel = ((image * height + row) * width + column) * inputs;
            let position = ((image * rows + y) * columns + x) * outputs;
            for output in 0..outputs {
                let kernel = (tap * outputs + output) * inputs;
                let slope = gradient[position + output];
                for input in 0..inputs {
                    out[position + output] += images[pixel + input] * by_tap[kernel + input];
                    of_images[pixel + input] += slope * by_tap[kernel + input];
                    of_taps[kernel + input] += slope * images[pixel + input];
                }
            }
        }
        let of_weights = (0..self.weights.len()).map(|at| of_taps[(at % 9 * outputs + at / 9 / inputs) * inputs + at / 9 % inputs]);
        [out, of_images, of_weights.collect()]
    }

    /// The root mean square of the errors over that of the numbers: forward, by images and by weights.
    fn errors(&self, found: &[Vec<f32>; 3], expected: &[Vec<f64>; 3]) -> [f64; 3] {
        std::array::from_fn(|pass| {
            let (found, expected) = (&found[pass], &expected[pass]);
            assert_eq!(found.len(), expected.len(), "{:?}, pass {pass}", self.convolution);
            let errors: f64 = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).powi(2)).sum();
            let squares: f64 = expected.iter().map(|number| number * number).sum();
            (errors / squares).sqrt()
        })
    }
}

#[test]
fn each_algorithm_computes_the_convolution_and_both_gradients() {
    regulus_kernels::buffers::fill_with_nan();
    let unpadded = |height, width| Convolution { padding: [0; 2], ..same(17, 24, height, width) };
    // In which passes tiles of 4×4 would hang over so far that `Winograd4` takes those of 2×2: where a map has two rows or columns, or fewer. Without padding the gradient of the
    // images is a larger map.
    let settings = [
        (same(16, 16, 2, 2), 20, [true; 3]),
        (same(16, 20, 1, 9), 9, [true; 3]),
        (same(18, 16, 2, 7), 9, [true; 3]),
        (same(16, 16, 8, 2), 9, [true; 3]),
        (unpadded(4, 9), 11, [true, false, true]),
        (unpadded(9, 6), 11, [false; 3]),
        (same(20, 33, 7, 11), 6, [false; 3]),
        (same(70, 65, 13, 13), 2, [false; 3]),
    ];
    for (convolution, batch, is_small) in settings {
        let setting = Setting::new(convolution, batch);
        let expected = setting.expected();
        for path in Path::all() {
            let all = ALGORITHMS.map(|algorithm| {
                let alone = setting.computed(path, algorithm, 1);
                let what = format!("{convolution:?}, {algorithm:?} on {}", path.name);
                let errors = setting.errors(&alone, &expected);
                assert!(errors.iter().all(|error| *error < 3e-6), "{what}: {errors:?}");
                for threads in [2, 3] {
                    let found = setting.computed(path, algorithm, threads);
                    assert_eq!(
                        found.map(|numbers| bits(&numbers)),
                        alone.clone().map(|numbers| bits(&numbers)),
                        "{what}, {threads} threads"
                    );
                }
                alone.map(|numbers| bits(&numbers))
            });
            // None of the three is another's in any pass, but the first two where they take the same tiles.
            for (left, right) in [(0, 1), (0, 2), (1, 2)] {
                let are_right = (0..3).all(|pass| (all[left][pass] == all[right][pass]) == (is_small[pass] && (left, right) == (0, 1)));
                assert!(are_right, "{convolution:?} on {}: {:?} is {:?}", path.name, ALGORITHMS[left], ALGORITHMS[right]);
            }
        }
    }
}

#[test]
fn other_convolutions_do_not_depend_on_the_algorithm() {
    // Few channels, stride 2, groups, and zeros on one side alone.
    let few = same(3, 20, 8, 9);
    let strided = Convolution { stride: [2; 2], ..same(16, 16, 8, 9) };
    let grouped = Convolution { groups: 2, ..same(32, 32, 5, 6) };
    for convolution in [few, strided, grouped] {
        let Convolution { inputs, outputs, groups, height, width, .. } = convolution;
        let (images, weights) = (numbers(1, 2 * height * width * inputs), numbers(2, 9 * inputs / groups * outputs));
        for path in Path::all() {
            let forward = |algorithm| Conv2d::new(path, algorithm, convolution, &weights, 1).forward(&images, false, 1).0;
            let [first, rest @ ..] = ALGORITHMS.map(|algorithm| bits(&forward(algorithm)));
            assert!(rest.iter().all(|other| *other == first), "{convolution:?} on {}", path.name);
        }
    }
}

#[test]
fn what_follows_has_the_bits_of_the_two_by_themselves() {
    let pointwise = Convolution { kernel: [1; 2], padding: [0; 2], ..same(16, 32, 6, 7) };
    let depthwise = Convolution { groups: 32, ..same(32, 32, 6, 7) };
    let convolutions = [same(16, 16, 6, 7), same(3, 20, 9, 8), Convolution { stride: [2; 2], ..same(8, 10, 12, 9) }, pointwise, depthwise];
    let followed = [(Addition::None, true), (Addition::None, false), (Addition::Before, false), (Addition::After, false)];
    for (convolution, (addition, has_pool)) in
        convolutions.into_iter().flat_map(|convolution| followed.map(|followed| (convolution, followed)))
    {
        let (batch, [height, width], channels) = (23, convolution.sides(), convolution.outputs);
        let images = numbers(1, batch * convolution.height * convolution.width * convolution.inputs);
        let affine = Affine { scale: numbers(4, channels), shift: numbers(5, channels) };
        let other = if addition == Addition::None { Vec::new() } else { numbers(3, batch * height * width * channels) };
        let steps = Steps { activation: Activation::Relu6, addition, has_pool };
        for path in Path::all() {
            let conv = Conv2d::new(path, Winograd4, convolution, &numbers(2, convolution.weights()), 2);
            let (out, moments) = conv.forward(&images, true, 2);
            let found = moments.map(|moments| [moments.mean(), moments.variance()]).expect("moments were asked for");
            let (_, alone) = conv.forward(&images, true, 1);
            assert_eq!(alone.map(|moments| [bits(&moments.mean()), bits(&moments.variance())]), Some([bits(&found[0]), bits(&found[1])]));
            for (channel, (of_mean, of_variance)) in found[0].iter().zip(&found[1]).enumerate() {
                let of_channel: Vec<f64> = out.iter().skip(channel).step_by(channels).map(|number| f64::from(*number)).collect();
                let mean = of_channel.iter().sum::<f64>() / of_channel.len() as f64;
                let variance = of_channel.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / of_channel.len() as f64;
                let errors = [f64::from(*of_mean) - mean, f64::from(*of_variance) - variance];
                assert!(
                    errors[0].abs() < 1e-6 * variance.sqrt().max(1.0) && errors[1].abs() < 1e-5 * variance,
                    "{convolution:?}: {errors:?}"
                );
            }
            let apart = epilogue::forward(path, Sizes { batch, height, width, channels }, steps, &out, &affine, &other, 2);
            for threads in [1, 2] {
                let together = conv.forward_followed(path, &images, Followed { steps, affine: &affine, other: &other }, threads);
                assert_eq!(bits(&together), bits(&apart), "{convolution:?}, {steps:?} on {}", path.name);
            }
        }
    }
}

#[test]
fn a_convolution_of_another_size_keeps_its_algorithm() {
    let (small, large) = (Setting::new(same(16, 20, 6, 6), 1), Setting::new(same(16, 20, 11, 9), 2));
    for (path, algorithm) in Path::all().into_iter().flat_map(|path| ALGORITHMS.map(|algorithm| (path, algorithm))) {
        let conv = Conv2d::new(path, algorithm, small.convolution, &small.weights, 1).resized(11, 9);
        assert_eq!(bits(&conv.forward(&large.images, false, 1).0), bits(&large.computed(path, algorithm, 1)[0]), "{algorithm:?}");
    }
}

/// The table of `docs/performance.md`: channels, then forward, by images and by weights for each algorithm.
const ERRORS: [(usize, [[f64; 3]; 3]); 3] = [
    (16, [[6e-7, 7.5e-7, 8.5e-7], [1.4e-7, 1.6e-7, 4.3e-7], [1.6e-7, 1e-7, 1.3e-7]]),
    (128, [[1.3e-6, 1.6e-6, 9.5e-7], [3.2e-7, 3.7e-7, 4.3e-7], [4.2e-7, 2.2e-7, 1.4e-7]]),
    (512, [[2.5e-6, 3e-6, 9.5e-7], [6.3e-7, 7.1e-7, 4.3e-7], [8.6e-7, 4.2e-7, 1.4e-7]]),
];

#[test]
fn rounding_errors_are_those_of_the_manual() {
    for (channels, bounds) in ERRORS {
        // As many channels are summed in the forward pass as in the gradient of the images.
        let setting = Setting::new(same(channels, channels.min(64), 16, 16), 4);
        let back = Setting::new(same(channels.min(64), channels, 16, 16), 4);
        let (expected, expected_back) = (setting.expected(), back.expected());
        for (path, (algorithm, bounds)) in
            Path::all().into_iter().flat_map(|path| ALGORITHMS.into_iter().zip(bounds).map(move |each| (path, each)))
        {
            let [forward, _, weights] = setting.errors(&setting.computed(path, algorithm, 1), &expected);
            let [_, images, _] = back.errors(&back.computed(path, algorithm, 1), &expected_back);
            for (found, bound) in [forward, images, weights].into_iter().zip(bounds) {
                let what = format!("{channels} channels, {algorithm:?} on {}: {found:e}, in the manual {bound:e}", path.name);
                assert!((0.8 * bound..bound).contains(&found), "{what}");
            }
        }
    }
}
