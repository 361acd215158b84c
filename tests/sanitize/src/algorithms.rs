//! Each algorithm of convolutions, and buffers that are used again.

use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::bf16::Bf16;
use regulus_kernels::buffers;
use regulus_kernels::conv2d::{self, Conv2d};
use regulus_kernels::convolve::Convolution;
use regulus_kernels::simd::Path;

use super::{Random, threads};

/// 3×3 with stride 1 and padding 1: inputs, outputs, height, width, batch.
pub(super) type Same = [usize; 5];

pub(super) const SMALL_SAME: [Same; 2] = [[16, 16, 2, 3, 1], [2, 3, 4, 4, 1]];
/// The last but one has kernels that many groups of tiles share, the last images that are interleaved.
pub(super) const LARGE_SAME: [Same; 6] =
    [[17, 16, 5, 4, 1], [16, 16, 2, 2, 40], [24, 33, 9, 13, 5], [64, 80, 16, 16, 6], [250, 270, 5, 4, 9], [64, 48, 7, 5, 35]];

/// A convolution with its gradients by each algorithm, whose buffers are used again.
pub(super) fn each_algorithm(path: Path, [inputs, outputs, height, width, batch]: Same, odd: bool, random: &mut Random) -> f64 {
    let (kernel, one) = ([3; 2], [1; 2]);
    let convolution = Convolution { inputs, outputs, height, width, kernel, stride: one, padding: one, extra_padding: [0; 2], groups: 1 };
    let images = random.numbers(batch * inputs * height * width, odd);
    let weights = random.numbers(9 * outputs * inputs, false);
    let mut sum = 0.0;
    // By each kind of instructions that the processor has.
    let bf16 = Bf16::all(path).into_iter().flatten().map(Algorithm::Bf16);
    for algorithm in [Algorithm::Winograd4, Algorithm::Winograd2, Algorithm::Direct].into_iter().chain(bf16) {
        for threads in [1, threads(1)] {
            let conv = Conv2d::new(path, algorithm, convolution, &weights, threads);
            let (out, moments) = conv.forward(&images, true, threads);
            let (once, _) = conv2d::forward(path, algorithm, convolution, &images, &weights, false, threads);
            // The same numbers as an image of one row, which takes tiles of 2×2.
            let in_a_row = conv.resized(1, height * width).forward(&images, false, threads).0;
            let of_images = conv2d::image_gradient(path, algorithm, convolution, &out, &weights, threads);
            let of_weights = conv2d::weight_gradient(path, algorithm, convolution, &images, &out, threads);
            assert_eq!(
                [in_a_row.len(), once.len(), of_images.len(), of_weights.len()],
                [out.len(), out.len(), images.len(), weights.len()]
            );
            sum += moments.map_or(0.0, |moments| f64::from(moments.variance().iter().sum::<f32>()));
            for numbers in [out, in_a_row, once, of_images, of_weights] {
                sum += f64::from(numbers.iter().sum::<f32>());
                buffers::recycle(numbers);
            }
        }
    }
    sum
}

/// Buffers that are given away and taken again by many threads.
pub(super) fn memory() {
    let turn = |seed: usize| {
        // Large enough that it is kept.
        let mut one: Vec<f32> = buffers::any(20_000 + seed);
        let mut other: Vec<u8> = buffers::any(70_000);
        one[seed] = 1.0;
        other[seed] = 2;
        buffers::recycle(other);
        let again: Vec<f32> = buffers::any(20_000);
        buffers::recycle(one);
        buffers::recycle(again);
    };
    rayon::scope(|scope| (0..if cfg!(miri) { 4 } else { 1000 }).for_each(|seed| scope.spawn(move |_| turn(seed))));
    buffers::release();
}
