//! Runs every kernel, forward and backward, on a fixed list of shapes: one for each size that is computed in a different way, odd sizes, a single number, numbers
//! that are not finite. It checks little itself; Miri, a sanitizer or valgrind watches its memory.
//!
//! Words after its name pick groups of kernels: `pooled`, `general`, `algorithms`, `dense`, `steps`, `memory`; without one all of them run.
//!
//! `REGULUS_SIMD` picks one set of vector instructions, as in the program; without it each set of this processor is used. Under Miri, which is a
//! thousand times slower, the shapes are the small ones.

mod algorithms;

use algorithms::{LARGE_SAME, SMALL_SAME, each_algorithm, memory};
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::buffers;
use regulus_kernels::conv::{ConvWeights, Pooled, Saved, backward, forward, forward_with_argmax};
use regulus_kernels::conv2d;
use regulus_kernels::convolve::{self, Convolution, PackedWeights};
use regulus_kernels::cross_entropy::cross_entropy;
use regulus_kernels::dense::{self, Layer, Matrix};
use regulus_kernels::epilogue::{self, Activation, Addition, Affine, Normalization, Steps};
use regulus_kernels::groups::Groups;
use regulus_kernels::image::{Geometry, Images, channels_first, channels_last};
use regulus_kernels::norms::{sum_of_absolutes, sum_of_norms};
use regulus_kernels::pointwise;
use regulus_kernels::pool::{self, Kind, Pool};
use regulus_kernels::proximal::{Proximal, proximal};
use regulus_kernels::simd::{Path, VARIABLE};
use regulus_kernels::squares::{scaled, scaled_difference, sum_of_squared_differences, sum_of_squares};
use regulus_kernels::update::{Adam, Descent, Moments, adam, descend, descend_with_momentum};
use regulus_kernels::winograd::{self, Kernels, Pass, Tile};

/// Numbers from a 64-bit mixer (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From -1 to 1; where `odd`, one of eight is not finite.
    fn numbers(&mut self, count: usize, odd: bool) -> Vec<f32> {
        let one = |bits: u64| match bits % 24 {
            0 if odd => f32::NAN,
            1 if odd => f32::INFINITY,
            2 if odd => f32::NEG_INFINITY,
            _ => (bits >> 40) as f32 / (1_u64 << 23) as f32 - 1.0,
        };
        (0..count).map(|_| one(self.next())).collect()
    }
}

/// Inputs, outputs, height, width, kernel, padding, batch.
type Shape = [usize; 7];

/// Few input channels (patches), many (runs), many outputs (blocks of registers), sides that leave an odd row or nothing.
const SMALL: [Shape; 14] = [
    [1, 1, 3, 3, 1, 0, 1],
    [1, 3, 5, 6, 3, 0, 2],
    [2, 5, 7, 4, 3, 1, 3],
    [3, 17, 5, 6, 3, 0, 3],
    [1, 2, 2, 2, 3, 1, 1],
    [1, 4, 4, 5, 2, 0, 2],
    [4, 7, 5, 5, 5, 2, 1],
    [7, 9, 5, 5, 3, 0, 1],
    [8, 8, 5, 5, 3, 0, 2],
    [9, 6, 4, 5, 3, 1, 2],
    [9, 33, 4, 4, 3, 0, 1],
    [16, 16, 5, 6, 3, 0, 1],
    [8, 5, 7, 6, 5, 0, 1],
    [1, 1, 3, 3, 3, 0, 1],
];

/// Those of the reference network and others whose batch is split in other ways.
const LARGE: [Shape; 10] = [
    [1, 32, 28, 28, 3, 0, 32],
    [32, 64, 13, 13, 3, 0, 32],
    [32, 64, 13, 13, 3, 0, 1],
    [32, 37, 14, 11, 3, 1, 67],
    [64, 96, 8, 9, 3, 1, 9],
    [3, 32, 32, 31, 5, 2, 16],
    [20, 13, 15, 17, 5, 2, 7],
    [16, 64, 12, 12, 1, 0, 20],
    [33, 65, 9, 9, 2, 0, 6],
    [32, 64, 13, 13, 3, 0, 300],
];

fn conv_relu_pool(path: Path, [inputs, outputs, height, width, kernel, padding, batch]: Shape, odd: bool, random: &mut Random) -> f64 {
    let geometry = Geometry { inputs, outputs, height, width, kernel, padding };
    let images = random.numbers(batch * inputs * height * width, odd);
    let weights = random.numbers(outputs * inputs * kernel * kernel, false);
    let bias = random.numbers(outputs, false);
    let gradient = random.numbers(batch * outputs * geometry.pooled(), odd);
    let mut sum = 0.0;
    let first = [inputs * height * width, height * width, width, 1];
    let last = [inputs * height * width, 1, width * inputs, inputs];
    let (rows, columns) = (geometry.pooled_height(), geometry.pooled_width());
    let gradient_first = [outputs * rows * columns, rows * columns, columns, 1];
    let gradient_last = [outputs * rows * columns, 1, columns * outputs, outputs];
    // Miri takes two of the four layouts.
    let layouts = [(first, gradient_last), (last, gradient_first), (first, gradient_first), (last, gradient_last)];
    for (number, (strides, gradient_strides)) in layouts.into_iter().take(if cfg!(miri) { 2 } else { 4 }).enumerate() {
        let images = Images { numbers: &images, batch, strides };
        let threads = threads(number);
        let algorithm = if number == 0 { Algorithm::default() } else { Algorithm::Direct };
        let for_inference = ConvWeights::for_inference(path, algorithm, geometry, weights.clone(), bias.clone());
        let for_batch = ConvWeights::for_batch(path, algorithm, geometry, batch, &weights, &bias);
        let without = forward(&for_inference, &images, threads);
        let Pooled { values: out, argmax } = forward_with_argmax(&for_batch, &images, threads);
        assert!(out.len() == without.len() && argmax.len() == out.len());
        sum += f64::from(out.iter().sum::<f32>());
        assert_eq!(channels_first(&out, geometry.pooled(), outputs, threads).len(), out.len());
        if out.is_empty() {
            continue;
        }
        let gradient = Images { numbers: &gradient, batch, strides: gradient_strides };
        let saved = Saved { geometry, images, weights: &weights, argmax: &argmax };
        for wants_images in [true, false].into_iter().skip(if cfg!(miri) { number } else { 0 }).take(if cfg!(miri) { 1 } else { 2 }) {
            let found = backward(path, &saved, &gradient, wants_images);
            assert!(found.weights.len() == weights.len() && found.bias.len() == outputs);
            assert_eq!(found.images.map(|images| images.len()), wants_images.then_some(batch * inputs * height * width));
            sum += f64::from(found.weights.iter().sum::<f32>());
        }
    }
    sum
}

/// One thread, or all.
fn threads(number: usize) -> usize {
    if number.is_multiple_of(2) { 1 } else { rayon::current_num_threads().max(2) }
}

/// Inputs, outputs, height, width, kernel, stride, padding, groups, batch: patches, the image as it lies, depthwise, groups, blocks of rows and of output
/// channels.
type General = [usize; 9];

const SMALL_GENERAL: [General; 12] = [
    [1, 1, 1, 1, 1, 1, 0, 1, 1],
    [2, 3, 4, 5, 3, 1, 1, 1, 2],
    [3, 4, 5, 4, 3, 2, 1, 1, 1],
    [4, 5, 3, 3, 1, 1, 0, 1, 2],
    [3, 2, 4, 3, 1, 2, 0, 1, 1],
    [4, 4, 5, 6, 3, 1, 1, 4, 2],
    [3, 3, 6, 5, 3, 2, 1, 3, 1],
    [2, 2, 7, 7, 5, 3, 2, 2, 1],
    [4, 6, 4, 4, 2, 1, 0, 2, 1],
    [1, 3, 2, 70, 3, 1, 1, 1, 1],
    [2, 200, 2, 2, 1, 1, 0, 1, 1],
    [3, 1, 2, 2, 2, 1, 0, 1, 1],
];

const LARGE_GENERAL: [General; 9] = [
    [250, 270, 5, 4, 3, 1, 1, 1, 9],
    [3, 32, 65, 64, 3, 2, 1, 1, 1],
    [32, 48, 28, 27, 3, 1, 1, 1, 20],
    [64, 300, 7, 7, 3, 1, 1, 1, 1],
    [24, 144, 28, 28, 1, 1, 0, 1, 3],
    [144, 144, 28, 29, 5, 2, 2, 144, 2],
    [960, 960, 7, 7, 3, 1, 1, 960, 1],
    [64, 64, 14, 14, 3, 1, 1, 32, 2],
    [16, 16, 40, 300, 3, 1, 1, 1, 1],
];

fn general_convolution(path: Path, setting: General, odd: bool, random: &mut Random) -> f64 {
    let [inputs, outputs, height, width, kernel, stride, padding, groups, batch] = setting;
    let sizes = ([kernel; 2], [stride; 2], [padding; 2]);
    // As TensorFlow's SAME pads, where a stride leaves zeros on one side alone.
    let extra_padding = if stride == 2 && padding < kernel { [1, 0] } else { [0; 2] };
    let convolution =
        Convolution { inputs, outputs, height, width, kernel: sizes.0, stride: sizes.1, padding: sizes.2, extra_padding, groups };
    let images = random.numbers(batch * inputs * height * width, odd);
    let weights = random.numbers(outputs * inputs / groups * kernel * kernel, false);
    let [rows, columns] = convolution.sides();
    let total = |numbers: &[f32]| f64::from(numbers.iter().sum::<f32>());
    let mut sum = total(&channels_last(&images, height * width, inputs, threads(1)));
    for threads in [1, threads(1)] {
        let (out, _) = convolve::forward(&PackedWeights::new(path, convolution, &weights, threads), &images, true, threads);
        assert_eq!(out.len(), batch * outputs * rows * columns);
        sum += total(&convolve::image_gradient(path, convolution, &out, &weights, threads));
        sum += total(&convolve::weight_gradient(path, convolution, &images, &out, threads));
        sum += conv2d::moments(path, &out, outputs).map_or(0.0, |moments| total(&moments.variance()));
        if padding <= kernel / 2 {
            for kind in [Kind::Max, Kind::Average] {
                let pool = Pool { kind, channels: inputs, height, width, kernel: sizes.0, stride: sizes.1, padding: sizes.2 };
                let pooled = pool::forward(path, pool, &images, threads);
                sum += total(&pool::backward(path, pool, &images, &pooled, threads));
            }
        }
        for kind in [Kind::Max, Kind::Average] {
            let pool = Pool::global(kind, inputs, height, width);
            let pooled = pool::forward(path, pool, &images, threads);
            sum += total(&pool::backward(path, pool, &images, &pooled, threads));
            buffers::recycle(pooled);
        }
        if kernel == 3 && stride == 1 && padding <= 2 && groups == 1 {
            sum += fewer_products(path, setting, &images, &weights, threads);
        }
        sum += after_a_convolution(path, [batch, height, width, inputs], &images, threads);
        let mut changed = images.clone();
        pointwise::relu6(path, &mut changed, threads);
        pointwise::gelu(path, &mut changed, threads);
        pointwise::add(path, &mut changed, &images, threads);
        pointwise::relu(path, &mut changed, threads);
        pointwise::subtract(path, &mut changed, &images, threads);
        sum += total(&changed);
    }
    sum
}

fn fewer_products(path: Path, setting: General, images: &[f32], weights: &[f32], threads: usize) -> f64 {
    let [inputs, outputs, height, width, _, _, padding, _, batch] = setting;
    let sizes = winograd::Sizes { batch, inputs, outputs, height, width, padding };
    let [rows, columns] = sizes.sides();
    let mut sum = 0.0;
    for tile in [Tile::Four, Tile::Two] {
        let kernels = Kernels::new(path, tile, weights, outputs, threads);
        let (out, moments) = winograd::forward(&Pass { kernels: &kernels, images, sizes, has_moments: true }, threads);
        let turned = Kernels::turned(path, tile, weights, outputs, threads);
        let back = winograd::Sizes { batch, inputs: outputs, outputs: inputs, height: rows, width: columns, padding: 2 - padding };
        let (back, _) = winograd::forward(&Pass { kernels: &turned, images: &out, sizes: back, has_moments: false }, threads);
        assert_eq!(back.len(), images.len());
        sum += f64::from(back.iter().chain(&winograd::weight_gradient(path, tile, sizes, images, &out)).sum::<f32>());
        sum += moments.map_or(0.0, |moments| f64::from(moments.mean().iter().sum::<f32>()));
    }
    sum
}

fn after_a_convolution(path: Path, [batch, height, width, channels]: [usize; 4], images: &[f32], threads: usize) -> f64 {
    let sizes = epilogue::Sizes { batch, height, width, channels };
    let statistics = vec![0.5; channels];
    let affine = Affine::normalization([&statistics; 2], [&statistics; 2], 1e-5);
    let normalization = Some(Normalization { mean: &statistics, variance: &statistics, epsilon: 1e-5 });
    let mut sum = 0.0;
    for activation in [Activation::None, Activation::Relu, Activation::Relu6, Activation::Gelu] {
        for (addition, has_pool) in [(Addition::None, false), (Addition::Before, false), (Addition::After, false), (Addition::None, true)] {
            let steps = Steps { activation, addition, has_pool };
            if sizes.sides(steps).contains(&0) || (activation == Activation::Gelu && has_pool) {
                continue;
            }
            let other = if addition == Addition::None { &[] } else { images };
            let out = epilogue::forward(path, sizes, steps, images, &affine, other, threads);
            for normalization in [normalization, None] {
                let saved = epilogue::Saved { sizes, steps, affine: &affine, other, normalization };
                let back = epilogue::backward(path, images.to_vec(), &saved, &out, threads);
                sum += f64::from(back.images.iter().chain(&back.other).chain(&back.scale).chain(&back.shift).sum::<f32>());
            }
        }
    }
    sum
}

fn dense_layer(path: Path, [batch, inputs, outputs]: [usize; 3], odd: bool, random: &mut Random) -> f64 {
    let (x, w) = (random.numbers(batch * inputs, odd), random.numbers(inputs * outputs, false));
    let (bias, gradient) = (random.numbers(outputs, false), random.numbers(batch * outputs, odd));
    let mut sum = 0.0;
    let weights = Matrix::rows(&w, [inputs, outputs]);
    for x in [Matrix::rows(&x, [batch, inputs]), Matrix::rows(&x, [inputs, batch]).transposed()] {
        for relu in [true, false] {
            let out = dense::forward(path, x, Layer { weights, bias: &bias, relu }, threads(usize::from(relu)));
            assert_eq!(out.len(), batch * outputs);
            for gradient in [Matrix::rows(&gradient, [batch, outputs]), Matrix::rows(&gradient, [outputs, batch]).transposed()] {
                let found = dense::backward(x, weights, relu.then_some(out.as_slice()), gradient, relu);
                assert!(found.weights.len() == w.len() && found.bias.len() == outputs);
                assert_eq!(found.x.map(|x| x.len()), relu.then_some(batch * inputs));
                sum += f64::from(found.weights.iter().sum::<f32>());
            }
            sum += f64::from(out.iter().sum::<f32>());
        }
    }
    sum
}

fn losses_penalties_and_steps(path: Path, length: usize, odd: bool, random: &mut Random) -> f64 {
    let mut sum = 0.0;
    for classes in [2, 3, 10] {
        let logits = random.numbers(length * classes, odd);
        let labels: Vec<usize> = (0..length).map(|index| index % classes).collect();
        for smoothing in [0.0, 0.1] {
            sum += f64::from(cross_entropy(&logits, &labels, smoothing, None).loss);
            sum += f64::from(cross_entropy(&logits, &labels, smoothing, Some(&vec![0.5; classes])).loss);
        }
    }
    let (mut weights, gradient) = (random.numbers(length, odd), random.numbers(length, odd));
    sum += sum_of_squares(path, &weights);
    sum += sum_of_squared_differences(path, &weights, &gradient);
    assert_eq!(scaled(&weights, 0.5).len(), length);
    assert_eq!(scaled_difference(&weights, &gradient, 0.5).len(), length);
    sum += sum_of_absolutes(&weights).0;
    let (mut first, mut second) = (vec![0.0; length], vec![0.0; length]);
    for step in 1..3 {
        let constants = Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 0.001, retained: 0.99, step };
        adam(path, constants, &mut weights, &gradient, Moments { first: &mut first, second: &mut second });
    }
    descend(0.1, &mut weights, &gradient);
    for nesterov in [true, false] {
        descend_with_momentum(Descent { rate: 0.1, momentum: 0.9, nesterov }, &mut weights, &gradient, &mut first);
    }
    let divisors = (1..=length).filter(|size| length.is_multiple_of(*size) && (*size < 4 || *size * 3 > length));
    for size in divisors {
        for groups in [Groups::Runs(size), Groups::of(&[size, length / size], 1)] {
            sum += sum_of_norms(&weights, groups).0;
            for step in [Proximal { absolutes: 0.01, squares: 0.1, norms: 0.0 }, Proximal { norms: 0.01, ..Proximal::default() }] {
                for metric in [Vec::new(), vec![2.0; length]] {
                    proximal(step, groups, &metric, &mut weights);
                }
            }
        }
    }
    sum + weights.iter().map(|weight| f64::from(*weight)).sum::<f64>()
}

fn main() {
    let paths = if std::env::var_os(VARIABLE).is_some() { vec![Path::chosen().expect("a path of this processor")] } else { Path::all() };
    let large = !cfg!(miri) && std::env::var_os("SANITIZE_SMALL").is_none();
    let groups: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |group: &str| groups.is_empty() || groups.iter().any(|wanted| wanted == group);
    for path in paths {
        let mut random = Random(7);
        let (mut calls, mut sum) = (0, 0.0);
        let report = |setting: &dyn std::fmt::Debug| {
            if cfg!(miri) {
                eprintln!("{setting:?}");
            }
        };
        let shapes = SMALL.iter().chain(LARGE.iter().filter(|_| large));
        for shape in shapes.filter(|_| is_wanted("pooled")) {
            report(shape);
            for odd in [false, true] {
                calls += 1;
                let found = conv_relu_pool(path, *shape, odd, &mut random);
                sum += if odd { 0.0 } else { found };
            }
        }
        for setting in SMALL_GENERAL.iter().chain(LARGE_GENERAL.iter().filter(|_| large)).filter(|_| is_wanted("general")) {
            report(setting);
            for odd in [false, true] {
                calls += 1;
                let found = general_convolution(path, *setting, odd, &mut random);
                sum += if odd { 0.0 } else { found };
            }
        }
        for setting in SMALL_SAME.iter().chain(LARGE_SAME.iter().filter(|_| large)).filter(|_| is_wanted("algorithms")) {
            report(setting);
            for odd in [false, true] {
                calls += 1;
                let found = each_algorithm(path, *setting, odd, &mut random);
                sum += if odd { 0.0 } else { found };
            }
        }
        if is_wanted("memory") {
            calls += 1;
            memory();
        }
        let small = [[1, 1, 1], [1, 5, 3], [2, 3, 1], [3, 1, 7], [5, 9, 17], [1, 33, 16], [1, 20, 35]];
        let many = [[1, 1600, 128], [32, 1600, 128], [33, 129, 65], [1, 7000, 130], [100, 70, 10]];
        for shape in small.iter().chain(many.iter().filter(|_| large)).filter(|_| is_wanted("dense")) {
            report(shape);
            for odd in [false, true] {
                calls += 1;
                let found = dense_layer(path, *shape, odd, &mut random);
                sum += if odd { 0.0 } else { found };
            }
        }
        let lengths = [1, 2, 7, 16, 60, 130].into_iter().chain([16_384, 40_000].into_iter().filter(|_| large));
        for length in lengths.filter(|_| is_wanted("steps")) {
            report(&length);
            for odd in [false, true] {
                calls += 1;
                let found = losses_penalties_and_steps(path, length, odd, &mut random);
                sum += if odd { 0.0 } else { found };
            }
        }
        assert!(sum.is_finite(), "numbers that are finite gave one that is not");
        println!("{}: {calls} settings, sum {sum}", path.name);
    }
}
