//! Weights and images to compute with.

use regulus_model::graph::{Graph, Role};
use regulus_model::{Values, Weights};

/// Numbers from −1 to 1 by a 64-bit mixer (Steele, Lea and Flood 2014).
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    (0..count).map(|_| (next() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Weights of a graph that keep activations near 1; variances are positive.
pub(crate) fn weights_of(graph: &Graph) -> Weights {
    let values = |(seed, parameter): (u64, &regulus_model::graph::Parameter)| {
        let scale = match parameter.role {
            Role::Kernel => (3.0 / parameter.fans()[0] as f32).sqrt(),
            _ => 0.5,
        };
        let shift = if matches!(parameter.role, Role::Scale | Role::RunningVariance) { 1.0 } else { 0.0 };
        let numbers = numbers(seed, parameter.size()).iter().map(|number| number * scale + shift).collect();
        (parameter.name.clone(), Values { shape: parameter.shape.clone(), numbers })
    };
    (1..).zip(graph.parameters()).map(values).collect()
}

/// The bits of numbers.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
