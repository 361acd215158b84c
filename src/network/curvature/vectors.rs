//! Weights as vectors.

use regulus_model::{Values, Weights};

/// one + part·other.
#[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
pub(super) fn combined(one: &Weights, other: &Weights, part: f64) -> Weights {
    one.map(|name, values| {
        let change = other.get(name).map(|values| values.numbers.as_slice()).unwrap_or_default();
        let numbers = values.numbers.iter().zip(change).map(|(number, change)| number + (part * f64::from(*change)) as f32).collect();
        Values { numbers, ..values.clone() }
    })
}

/// Σ factor·one·other, with a factor for each parameter.
pub(super) fn product(one: &Weights, other: &Weights, factor: impl Fn(&str) -> f64) -> f64 {
    let of_parameter = |(name, values): (&String, &Values)| {
        let other = other.get(name).map(|values| values.numbers.as_slice()).unwrap_or_default();
        factor(name) * values.numbers.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum::<f64>()
    };
    one.iter().map(of_parameter).sum()
}
