use regulus_kernels::simd::Path;
use regulus_kernels::update::{Adam, Descent, Moments, adam, descend, descend_with_momentum};

use crate::numbers::numbers;

/// Steps on λ/(2m)·w² alone, on so many weights that no vector instruction divides them evenly.
fn shrunk(mut step: impl FnMut(i32, &mut [f32], &[f32], &mut [f32], &mut [f32])) -> [Vec<f32>; 3] {
    let mut weights = numbers(1, 37);
    let (mut first, mut second) = (vec![0.0; 37], vec![0.0; 37]);
    for number in 1..20_000 {
        let gradient: Vec<f32> = weights.iter().map(|weight| 1e-4 * weight).collect();
        step(number, &mut weights, &gradient, &mut first, &mut second);
        let is_normal = |number: &f32| *number == 0.0 || number.is_normal();
        assert!([&weights, &first, &second].into_iter().flatten().all(is_normal), "step {number}: {weights:?} {first:?} {second:?}");
    }
    [weights, first, second]
}

#[test]
fn weights_that_a_penalty_shrinks_vanish_and_are_never_denormal() {
    for path in Path::all() {
        let [weights, ..] = shrunk(|number, weights, gradient, first, second| {
            let constants = Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 1e-3, retained: 1.0, step: number };
            adam(path, constants, weights, gradient, Moments { first, second });
        });
        assert!(weights.iter().all(|weight| weight.abs() < 1e-11), "{}: {weights:?}", path.name);
    }
    let [weights, ..] = shrunk(|_, weights, gradient, _, _| descend(100.0, weights, gradient));
    assert!(weights.iter().all(|weight| weight.abs() < 1e-11), "{weights:?}");
    for nesterov in [false, true] {
        let constants = Descent { rate: 100.0, momentum: 0.9, nesterov };
        let [weights, velocity, _] =
            shrunk(|_, weights, gradient, velocity, _| descend_with_momentum(constants, weights, gradient, velocity));
        assert!(weights.iter().chain(&velocity).all(|number| number.abs() < 1e-11), "{weights:?} {velocity:?}");
    }
}

#[test]
fn numbers_that_matter_are_those_of_the_formulas() {
    // Kingma and Ba 2015, algorithm 1, in float64.
    let constants = Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7, rate: 1e-3, retained: 0.99, step: 1 };
    let (gradient, start) = ([1e-9_f32, -0.5, 3e-5], [1e-12_f32, 0.25, -2.0]);
    for path in Path::all() {
        let (mut weights, mut first, mut second) = (start, [0.0; 3], [0.0; 3]);
        adam(path, constants, &mut weights, &gradient, Moments { first: &mut first, second: &mut second });
        for i in 0..3 {
            let [w, g] = [start[i], gradient[i]].map(f64::from);
            let expected = 0.99 * w - 1e-3 * g / (g.abs() + 1e-7);
            assert!((f64::from(weights[i]) - expected).abs() < 1e-6 * expected.abs(), "{}: {} for {expected}", path.name, weights[i]);
            assert!((f64::from(second[i]) - 1e-3 * g * g).abs() < 1e-4 * g * g, "{}: {}", path.name, second[i]);
        }
    }
}
