//! Norms of parameters and steps of optimizers against Burn's stock operations, on random sizes and on every set of vector instructions this
//! processor has.

#![expect(clippy::float_cmp, reason = "halves are exact in float32")]

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, Optimizer, SgdConfig};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use regulus::backend::ComputeDevice;
use regulus::backend::fused::Norm;
use regulus::backend::optimizer_steps;
use regulus::config::Implementation;
use regulus::objective::norm_of;
use regulus_kernels::simd::Path;
use regulus_kernels::update::Moments;
use regulus_kernels::{squares, update};

use crate::kernels::{close, devices, halves, numbers, reals, tensor};

/// A norm, and after it the gradient of three times that.
fn norm_and_gradient<const D: usize>(
    device: &ComputeDevice,
    implementation: Implementation,
    weights: &[f32],
    shape: [usize; D],
    norm: Norm,
) -> Vec<f32> {
    let weights = tensor(weights, shape, &device.device.clone().autodiff()).require_grad();
    let norm = norm_of(implementation, weights.clone(), norm, usize::from(D == 2));
    let gradients = (norm.clone() * 3.0).backward();
    [numbers(norm), numbers(weights.grad(&gradients).unwrap())].concat()
}

/// The weights after each step of a stock optimizer at a learning rate of 0.01.
fn steps(optimizer: &impl Optimizer, start: &[f32], gradients: &[Vec<f32>], device: &ComputeDevice) -> Vec<Vec<f32>> {
    let (mut weights, mut state) = (tensor(start, [start.len()], &device.device), None);
    let mut step = |gradient: &Vec<f32>| {
        (weights, state) = optimizer.step(0.01, weights.clone(), tensor(gradient, [start.len()], &device.device), state.take());
        numbers(weights.clone())
    };
    gradients.iter().map(&mut step).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn norms_are_the_stock_ones(rows in 1_usize..150, columns in 1_usize..40, empty in any::<bool>(), seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = halves(&mut random, rows * columns);
        if empty {
            // A group of zeros in either layout.
            weights[..columns].fill(0.0);
            weights.iter_mut().step_by(columns).for_each(|weight| *weight = 0.0);
        }
        for device in devices() {
            for norm in [Norm::Squares, Norm::Absolutes, Norm::Groups] {
                let of = |implementation| {
                    let dense = norm_and_gradient(&device, implementation, &weights, [rows, columns], norm);
                    let convolution = norm_and_gradient(&device, implementation, &weights, [rows, columns, 1, 1], norm);
                    [dense, convolution].concat()
                };
                let (own, stock) = (of(Implementation::Fused), of(Implementation::Stock));
                prop_assert!(close(&own, &stock, 1e-5), "{norm:?}: {own:?} against {stock:?}");
            }
        }
    }

    #[test]
    fn sums_of_squares_are_exact_on_every_path(count in 1_usize..70_000, seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let numbers_in = halves(&mut random, count);
        let expected: f64 = numbers_in.iter().map(|number| f64::from(*number).powi(2)).sum();
        for path in Path::all() {
            prop_assert_eq!(squares::sum_of_squares(path, &numbers_in), expected, "{}", path.name);
        }
        let doubled: Vec<f32> = numbers_in.iter().map(|number| 2.0 * number).collect();
        prop_assert_eq!(squares::scaled(&numbers_in, 2.0), doubled);
    }

    #[test]
    fn steps_of_optimizers_are_the_stock_ones(count in 1_usize..40_000, momentum in prop_oneof![Just(0.0), 0.1..0.99], nesterov in any::<bool>(), decay in prop_oneof![Just(0.0_f32), 0.0_f32..0.5], seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let start = reals(&mut random, count);
        let gradients = [(); 3].map(|()| reals(&mut random, count));
        let with_momentum = MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov);
        let sgd = SgdConfig::new().with_momentum((momentum > 0.0).then_some(with_momentum)).build();
        let adam = AdamConfig::new().with_epsilon(1e-7).build();
        let adamw = AdamWConfig::new().with_epsilon(1e-7).with_weight_decay(decay).build();
        for device in devices() {
            let tensor = |numbers: &[f32]| tensor(numbers, [count], &device.device);
            let expected = [
                steps(&sgd, &start, &gradients, &device),
                steps(&adam, &start, &gradients, &device),
                steps(&adamw, &start, &gradients, &device),
            ];
            let (mut w, mut velocity) = (tensor(&start), tensor(&vec![0.0; count]));
            #[expect(clippy::cast_possible_truncation, reason = "as the program does")]
            let constants = update::Descent { rate: 0.01, momentum: momentum as f32, nesterov };
            for (gradient, expected) in gradients.iter().zip(&expected[0]) {
                if momentum > 0.0 {
                    (w, velocity) = optimizer_steps::descend_with_momentum(w, tensor(gradient), velocity, constants);
                } else {
                    w = optimizer_steps::descend(w, tensor(gradient), 0.01);
                }
                prop_assert!(close(&numbers(w.clone()), expected, 1e-6));
            }
            for (retained, expected) in [(1.0, &expected[1]), (1.0 - 0.01 * decay, &expected[2])] {
                let (mut w, mut moments) = (tensor(&start), [tensor(&vec![0.0; count]), tensor(&vec![0.0; count])]);
                for ((gradient, expected), step) in gradients.iter().zip(expected).zip(1..) {
                    let constants = update::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 0.01, retained, step };
                    (w, moments) = optimizer_steps::adam(w, tensor(gradient), moments, constants);
                    prop_assert!(close(&numbers(w.clone()), expected, 1e-5));
                }
            }
        }
    }

    #[test]
    fn steps_of_adam_are_the_same_on_every_path(count in 1_usize..40_000, seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (start, gradient) = (reals(&mut random, count), reals(&mut random, count));
        let run = |path: Path| {
            let (mut w, mut m, mut v) = (start.clone(), vec![0.0; count], vec![0.0; count]);
            for step in 1..4 {
                let adam = update::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 0.01, retained: 0.99, step };
                update::adam(path, adam, &mut w, &gradient, Moments { first: &mut m, second: &mut v });
            }
            [w, m, v]
        };
        let paths = Path::all();
        let expected = run(*paths.last().unwrap());
        for path in paths {
            for (found, expected) in run(path).iter().zip(&expected) {
                prop_assert!(close(found, expected, 1e-6), "{}", path.name);
            }
        }
    }
}
