//! How weights start.

use rand::RngExt;

use super::Values;
use crate::config::Init;
use crate::seed::Seed;

/// Draws the values of one parameter: kernels uniformly in ±√(6/fan), biases 0.
///
/// In the layout `[out, in, …]` the fan in is in·kernel area and the fan out is out·kernel area. Glorot takes their sum (Glorot and Bengio
/// 2010, eq. 16), Kaiming the fan in alone (He et al. 2015, eq. 10, drawn uniformly with the same variance).
pub(super) fn draw(init: Init, name: &str, values: &Values, seed: Seed) -> Values {
    let [output, input, area @ ..] = values.shape.as_slice() else {
        return Values { shape: values.shape.clone(), numbers: vec![0.0; values.numbers.len()] };
    };
    let area: usize = area.iter().product();
    let fan = match init {
        Init::Glorot => (input + output) * area,
        Init::Kaiming => input * area,
    };
    let bound = (6.0 / fan as f64).sqrt();
    let mut stream = seed.stream(&format!("init {name}"), 0);
    #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
    let numbers = values.numbers.iter().map(|_| stream.random_range(-bound..bound) as f32).collect();
    Values { shape: values.shape.clone(), numbers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_variance_are_those_of_the_papers() {
        // conv2 of the reference network: fan in 288, fan out 576.
        let values = Values { shape: vec![64, 32, 3, 3], numbers: vec![0.0; 64 * 32 * 9] };
        for (init, bound) in [(Init::Glorot, 0.083_333), (Init::Kaiming, 0.144_338)] {
            let numbers = draw(init, "conv2.weight", &values, Seed(1)).numbers;
            let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            assert!(largest <= bound && largest > 0.999 * bound, "{largest} against {bound}");
            let variance = numbers.iter().map(|number| number * number).sum::<f32>() / numbers.len() as f32;
            assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.02);
        }
        let bias = draw(Init::Glorot, "conv2.bias", &Values { shape: vec![64], numbers: vec![1.0; 64] }, Seed(1));
        assert!(bias.numbers.iter().all(|number| *number == 0.0));
    }
}
