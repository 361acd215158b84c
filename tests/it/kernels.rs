//! The kernels against Burn's stock operations, on random shapes and on every set of vector instructions this processor has.
//!
//! Most values are halves of small whole numbers: their products and sums are exact in float32, so results must be equal whatever the order
//! of summation, and equal values, which pooling must decide between, are frequent.

#![expect(clippy::float_cmp, reason = "exact on purpose, see above")]

use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use regulus::backend::fused::{self, PooledWalk};
use regulus::backend::{self, ComputeDevice};
use regulus::config::{Backend, BackendKind, Implementation};
use regulus::objective::data_loss;
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::conv::{ConvWeights, Gradients, Pooled, Saved, backward, forward, forward_with_argmax};
use regulus_kernels::dense::{self, Layer, Matrix};
use regulus_kernels::image::{Geometry, Images};
use regulus_kernels::simd::Path;

use crate::support::cpu_backends;

pub(crate) fn devices() -> Vec<ComputeDevice> {
    let open = |name: &&str| {
        let kind = if *name == "flex" { BackendKind::Flex } else { BackendKind::Ndarray };
        backend::open(&Backend { kind, ..Backend::default() }).unwrap().device
    };
    cpu_backends().iter().map(open).collect()
}

/// Halves of whole numbers from -2 to 2.
pub(crate) fn halves(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| f32::from(random.random_range(-4_i8..=4)) / 2.0).collect()
}

pub(crate) fn reals(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

pub(crate) fn tensor<const D: usize>(numbers: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), device)
}

pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Whether the values are equal, with NaN at the same indices.
fn same(found: &[f32], expected: &[f32]) -> bool {
    let equal = |(found, expected): (&f32, &f32)| found == expected || found.is_nan() && expected.is_nan();
    found.len() == expected.len() && found.iter().zip(expected).all(equal)
}

pub(crate) fn close(found: &[f32], expected: &[f32], tolerance: f32) -> bool {
    let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= tolerance * expected.abs().max(1.0);
    found.len() == expected.len() && found.iter().zip(expected).all(near)
}

#[derive(Clone, Copy, Debug)]
struct Case {
    geometry: Geometry,
    batch: usize,
    seed: u64,
}

prop_compose! {
    fn cases()(
        inputs in prop_oneof![1_usize..4, 4_usize..20, Just(32)],
        outputs in prop_oneof![1_usize..20, Just(32), Just(37)],
        kernel in prop_oneof![3 => Just(3_usize), 1 => Just(1), 1 => Just(2), 1 => Just(5)],
        same in any::<bool>(),
        padding in 0_usize..5,
        more in (1_usize..8, 1_usize..8),
        batch in prop_oneof![14 => 1_usize..11, 1 => Just(67)],
        seed in any::<u64>(),
    ) -> Case {
        // Up to one less than the kernel; half of it keeps the size.
        let padding = if same { kernel / 2 } else { padding % kernel };
        let side = |more: usize| (kernel + more).saturating_sub(2 * padding).max(1);
        Case { geometry: Geometry { inputs, outputs, height: side(more.0), width: side(more.1), kernel, padding }, batch, seed }
    }
}

/// The values of a case.
struct Numbers {
    images: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

impl Case {
    fn numbers(&self, draw: fn(&mut ChaCha8Rng, usize) -> Vec<f32>) -> Numbers {
        let Geometry { inputs, outputs, height, width, kernel, .. } = self.geometry;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        Numbers {
            images: draw(&mut random, self.batch * inputs * height * width),
            weights: draw(&mut random, outputs * inputs * kernel * kernel),
            bias: draw(&mut random, outputs),
            gradient: draw(&mut random, self.batch * outputs * self.geometry.pooled()),
        }
    }

    fn image_shape(&self) -> [usize; 4] {
        [self.batch, self.geometry.inputs, self.geometry.height, self.geometry.width]
    }

    fn weight_shape(&self) -> [usize; 4] {
        [self.geometry.outputs, self.geometry.inputs, self.geometry.kernel, self.geometry.kernel]
    }

    fn pooled_shape(&self) -> [usize; 4] {
        [self.batch, self.geometry.outputs, self.geometry.pooled_height(), self.geometry.pooled_width()]
    }

    /// Output and gradients by the stock operations.
    fn stock(&self, numbers_in: &Numbers) -> (Vec<f32>, Gradients) {
        let device = devices()[0].device.clone().autodiff();
        let images = tensor(&numbers_in.images, self.image_shape(), &device).require_grad();
        let weights = tensor(&numbers_in.weights, self.weight_shape(), &device).require_grad();
        let bias = tensor(&numbers_in.bias, [self.geometry.outputs], &device).require_grad();
        let padding = self.geometry.padding;
        let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
        let convolved = conv2d(images.clone(), weights.clone(), Some(bias.clone()), options);
        let out = max_pool2d(relu(convolved), MaxPoolOptions::new([2, 2]));
        let gradients = (out.clone() * tensor(&numbers_in.gradient, self.pooled_shape(), &device)).sum().backward();
        let image_gradient = images.grad(&gradients).unwrap().permute([0, 2, 3, 1]);
        let found = Gradients {
            weights: numbers(weights.grad(&gradients).unwrap()),
            bias: numbers(bias.grad(&gradients).unwrap()),
            images: Some(numbers(image_gradient)),
        };
        (numbers(out), found)
    }

    /// The smallest margin by which the argmax of a pool would change, or its output become 0. Below rounding, the gradient may go to another value.
    fn least_lead(&self, numbers_in: &Numbers) -> f32 {
        let device = &devices()[0].device;
        let [images, weights] = [(&numbers_in.images, self.image_shape()), (&numbers_in.weights, self.weight_shape())]
            .map(|(numbers, shape)| tensor(numbers, shape, device));
        let padding = self.geometry.padding;
        let bias = tensor(&numbers_in.bias, [self.geometry.outputs], device);
        let convolved = conv2d(images, weights, Some(bias), ConvOptions::new([1, 1], [padding, padding], [1, 1], 1));
        let [_, _, height, width] = convolved.dims();
        let lead = |plane: &[f32], row: usize, column: usize| {
            let mut four = [0, 1, width, width + 1].map(|offset| plane[2 * row * width + 2 * column + offset]);
            four.sort_by(f32::total_cmp);
            four[3].abs().min(if four[3] > 0.0 { four[3] - four[2] } else { f32::INFINITY })
        };
        let pools = || (0..height / 2).flat_map(|row| (0..width / 2).map(move |column| (row, column)));
        let planes = numbers(convolved);
        let leads = planes.chunks_exact(height * width).flat_map(|plane| pools().map(move |(row, column)| lead(plane, row, column)));
        leads.fold(f32::INFINITY, f32::min)
    }

    /// Output, in the layout of the stock operations, and gradients by the kernels, for images and gradients that are stored channels-last or
    /// channels-first.
    fn fused(&self, path: Path, numbers_in: &Numbers, channels_last: bool) -> (Vec<f32>, Gradients) {
        let Geometry { inputs, outputs, height, width, .. } = self.geometry;
        let device = &devices()[0].device;
        let permuted = tensor(&numbers_in.images, self.image_shape(), device).permute([0, 2, 3, 1]);
        let (stored, strides) = if channels_last {
            (numbers(permuted), [height * width * inputs, 1, width * inputs, inputs])
        } else {
            (numbers_in.images.clone(), [inputs * height * width, height * width, width, 1])
        };
        let images = Images { numbers: &stored, batch: self.batch, strides };
        let (weights, bias) = (&numbers_in.weights, &numbers_in.bias);
        let for_batch = ConvWeights::for_batch(path, Algorithm::default(), self.geometry, self.batch, weights, bias);
        let Pooled { values: out, argmax } = forward_with_argmax(&for_batch, &images, 2);
        let inference_out =
            forward(&ConvWeights::for_inference(path, Algorithm::default(), self.geometry, weights.clone(), bias.clone()), &images, 2);
        let is_consistent = |(number, argmax): (&f32, &u8)| (*number == 0.0) == (*argmax == 4);
        assert!(argmax.len() == out.len() && out.iter().zip(&argmax).all(is_consistent));
        assert!(same(&out, &inference_out) || close(&out, &inference_out, 1e-4), "the output is the same in training and in inference");
        let (positions, columns) = (self.geometry.pooled(), self.geometry.pooled_width());
        let (stored, strides) = if channels_last {
            let permuted = tensor(&numbers_in.gradient, self.pooled_shape(), device).permute([0, 2, 3, 1]);
            (numbers(permuted), [outputs * positions, 1, columns * outputs, outputs])
        } else {
            (numbers_in.gradient.clone(), [outputs * positions, positions, columns, 1])
        };
        let gradient = Images { numbers: &stored, batch: self.batch, strides };
        let saved = Saved { geometry: self.geometry, images, weights, argmax: &argmax };
        let found = backward(path, &saved, &gradient, true);
        let without = backward(path, &saved, &gradient, false);
        assert!(same(&found.weights, &without.weights) && same(&found.bias, &without.bias) && without.images.is_none());
        let [batch, channels, rows, columns] = self.pooled_shape();
        (numbers(tensor(&out, [batch, rows, columns, channels], device).permute([0, 3, 1, 2])), found)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolution_relu_and_pool_are_the_stock_ones_exactly(case in cases(), channels_last in any::<bool>()) {
        let numbers = case.numbers(halves);
        let (expected, gradients) = case.stock(&numbers);
        for path in Path::all() {
            let (found, own) = case.fused(path, &numbers, channels_last);
            prop_assert_eq!(&found, &expected, "{}", path.name);
            prop_assert_eq!(&own.weights, &gradients.weights, "{}", path.name);
            prop_assert_eq!(&own.bias, &gradients.bias, "{}", path.name);
            prop_assert_eq!(&own.images, &gradients.images, "{}", path.name);
        }
    }

    #[test]
    fn convolution_relu_and_pool_are_the_stock_ones_but_for_rounding(case in cases()) {
        let numbers = case.numbers(reals);
        prop_assume!(case.least_lead(&numbers) > 5e-5);
        let (expected, gradients) = case.stock(&numbers);
        for path in Path::all() {
            let (found, own) = case.fused(path, &numbers, true);
            prop_assert!(close(&found, &expected, 1e-4), "{}", path.name);
            prop_assert!(close(&own.weights, &gradients.weights, 1e-3), "{}", path.name);
            prop_assert!(close(&own.bias, &gradients.bias, 1e-4), "{}", path.name);
            prop_assert!(close(&own.images.unwrap(), gradients.images.as_ref().unwrap(), 1e-4), "{}", path.name);
        }
    }

    #[test]
    fn values_that_are_not_finite_propagate_as_in_the_stock_operations(case in cases(), positions in proptest::collection::vec(any::<(u16, u8)>(), 1..4)) {
        let mut numbers = case.numbers(halves);
        for (position, which) in positions {
            let at = usize::from(position) % numbers.images.len();
            numbers.images[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][usize::from(which) % 3];
        }
        let (expected, _) = case.stock(&numbers);
        for path in Path::all() {
            let (found, _) = case.fused(path, &numbers, false);
            prop_assert!(same(&found, &expected), "{}: {:?} against {:?}", path.name, found, expected);
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_propagates_to_the_bias(case in cases(), position in any::<u16>()) {
        let mut numbers = case.numbers(halves);
        let at = usize::from(position) % numbers.gradient.len();
        numbers.gradient[at] = f32::NAN;
        let (_, gradients) = case.stock(&numbers);
        for path in Path::all() {
            let (_, own) = case.fused(path, &numbers, true);
            prop_assert!(same(&own.bias, &gradients.bias), "{}: {:?} against {:?}", path.name, own.bias, gradients.bias);
        }
    }

    #[test]
    fn a_dense_layer_is_the_stock_one(batch in prop_oneof![Just(1_usize), 1_usize..40], inputs in 1_usize..70, outputs in 1_usize..140, relu_too in any::<bool>(), transposed in any::<bool>(), seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (x, w, b) = (halves(&mut random, batch * inputs), halves(&mut random, inputs * outputs), halves(&mut random, outputs));
        let g = halves(&mut random, batch * outputs);
        for device in devices() {
            let device = device.device.autodiff();
            let run = |own: bool| {
                // A transposed tensor is stored in column order.
                let x = if transposed { tensor(&x, [inputs, batch], &device).transpose() } else { tensor(&x, [batch, inputs], &device) }.require_grad();
                let (w, b) = (tensor(&w, [inputs, outputs], &device).require_grad(), tensor(&b, [outputs], &device).require_grad());
                let out = if own {
                    fused::dense(x.clone(), w.clone(), b.clone(), relu_too)
                } else {
                    let out = x.clone().matmul(w.clone()) + b.clone().unsqueeze();
                    if relu_too { relu(out) } else { out }
                };
                let gradients = (out.clone() * tensor(&g, [batch, outputs], &device)).sum().backward();
                [numbers(out), numbers(x.grad(&gradients).unwrap()), numbers(w.grad(&gradients).unwrap()), numbers(b.grad(&gradients).unwrap())]
            };
            prop_assert_eq!(run(true), run(false));
        }
    }

    #[test]
    fn a_dense_layer_of_one_sample_is_a_sum_of_products(inputs in 1_usize..600, outputs in 1_usize..150, odd in prop_oneof![Just(None), prop::sample::select(vec![f32::NAN, f32::INFINITY]).prop_map(Some)], seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut x, w, b) = (halves(&mut random, inputs), halves(&mut random, inputs * outputs), halves(&mut random, outputs));
        if let Some(odd) = odd {
            x[random.random_range(0..inputs)] = odd;
        }
        let expected: Vec<f32> =
            (0..outputs).map(|o| b[o] + (0..inputs).map(|i| x[i] * w[i * outputs + o]).sum::<f32>()).collect();
        for path in Path::all() {
            let layer = Layer { weights: Matrix::rows(&w, [inputs, outputs]), bias: &b, relu: false };
            let found = dense::forward(path, Matrix::rows(&x, [1, inputs]), layer, 2);
            prop_assert!(same(&found, &expected), "{}: {found:?} against {expected:?}", path.name);
        }
    }

    #[test]
    fn cross_entropy_is_the_stock_one(batch in 1_usize..20, classes in 1_usize..12, scale in prop_oneof![Just(1.0_f32), Just(30.0), Just(1e4)], smoothing in prop_oneof![Just(0.0), 0.0..0.9], is_weighted in any::<bool>(), seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let logits: Vec<f32> = reals(&mut random, batch * classes).iter().map(|number| number * scale).collect();
        let labels: Vec<i32> = (0..batch).map(|_| random.random_range(0..i32::try_from(classes).unwrap())).collect();
        let weights: Option<Vec<f32>> = is_weighted.then(|| (0..classes).map(|_| random.random_range(0.1..9.0)).collect());
        for device in devices() {
            let device = device.device.autodiff();
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), [batch]), &device);
            let run = |kernels| {
                let logits = tensor(&logits, [batch, classes], &device).require_grad();
                let (loss, correct) = data_loss(kernels, logits.clone(), labels.clone(), smoothing, weights.as_deref());
                let gradients = (loss.clone() * 3.0).backward();
                (numbers(loss), correct.into_data().iter::<i64>().next(), numbers(logits.grad(&gradients).unwrap()))
            };
            let (own, stock) = (run(Implementation::Fused), run(Implementation::Stock));
            prop_assert!(close(&own.0, &stock.0, 1e-5), "{:?} against {:?}", own.0, stock.0);
            prop_assert_eq!(own.1, stock.1);
            prop_assert!(close(&own.2, &stock.2, 1e-5), "{:?} against {:?}", own.2, stock.2);
        }
    }
}

/// The whole operation, its layouts in memory included, on both CPU backends.
#[test]
fn two_convolutions_in_a_row_have_the_stock_gradients() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (x, w1, b1) = (halves(&mut random, 5 * 2 * 14 * 15), halves(&mut random, 11 * 2 * 9), halves(&mut random, 11));
    let (w2, b2, g) = (halves(&mut random, 6 * 11 * 9), halves(&mut random, 6), halves(&mut random, 5 * 6 * 3 * 3));
    for device in devices() {
        let device = device.device.autodiff();
        let run = |own: Option<Algorithm>| {
            let x = tensor(&x, [5, 2, 14, 15], &device).require_grad();
            let (w1, b1) = (tensor(&w1, [11, 2, 3, 3], &device).require_grad(), tensor(&b1, [11], &device).require_grad());
            let (w2, b2) = (tensor(&w2, [6, 11, 3, 3], &device).require_grad(), tensor(&b2, [6], &device).require_grad());
            let layer = |x: Tensor<4>, w: &Tensor<4>, b: &Tensor<1>, padding: usize, last: bool| {
                if let Some(algorithm) = own {
                    let walk = PooledWalk { padding, channels_last: !last, algorithm };
                    return fused::conv_relu_pool(x, w.clone(), b.clone(), walk);
                }
                let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
                let convolved = conv2d(x, w.clone(), Some(b.clone()), options);
                max_pool2d(relu(convolved), MaxPoolOptions::new([2, 2]))
            };
            let out = layer(layer(x.clone(), &w1, &b1, 1, false), &w2, &b2, 0, true);
            assert_eq!(out.dims(), [5, 6, 2, 2]);
            let flat = out.reshape([5, 24]);
            let gradients = (flat.clone() * tensor(&g[..5 * 24], [5, 24], &device)).sum().backward();
            let kernels = [w1, w2].map(|w| numbers(w.grad(&gradients).unwrap()));
            (numbers(flat), numbers(x.grad(&gradients).unwrap()), kernels, [b1, b2].map(|b| numbers(b.grad(&gradients).unwrap())))
        };
        for algorithm in [Algorithm::Winograd4, Algorithm::Winograd2, Algorithm::Direct] {
            assert_eq!(run(Some(algorithm)), run(None), "{algorithm:?}");
        }
    }
}
