use proptest::prelude::*;
use regulus_kernels::pointwise::{BatchNorm, batch_norm};
use regulus_kernels::simd::Path;

use crate::numbers::{bits, numbers};

proptest! {
    #[test]
    fn batch_norm_rounds_each_operation_by_itself(images in 1..4_usize, channels in 1..70_usize, positions in 1..600_usize) {
        let numbers_of = |seed| numbers(seed, channels);
        let (mean, gamma, beta) = (numbers_of(1), numbers_of(2), numbers_of(3));
        let variance: Vec<f32> = numbers_of(4).iter().map(|number| number * number).collect();
        let norm = BatchNorm { mean: &mean, variance: &variance, gamma: &gamma, beta: &beta, epsilon: 1e-5 };
        let before = numbers(5, images * channels * positions);
        let one = |(index, number): (usize, &f32)| {
            let channel = index / positions % channels;
            let centred = number - mean[channel];
            let root = (variance[channel] + 1e-5_f32).sqrt();
            let scaled = centred / root * gamma[channel];
            scaled + beta[channel]
        };
        let expected: Vec<f32> = before.iter().enumerate().map(one).collect();
        for path in Path::all() {
            for threads in [1, 2] {
                let mut found = before.clone();
                batch_norm(path, norm, &mut found, positions, threads);
                prop_assert_eq!(bits(&found), bits(&expected));
            }
        }
    }
}
