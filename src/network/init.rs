//! How parameters start.

use rand::RngExt;
use regulus_model::Values;
use regulus_model::graph::{Parameter, Role};

use crate::config::Init;
use crate::seed::Seed;

/// Draws the values of one parameter: kernels uniformly in ±√(6/fan), scales and running variances 1, all else 0.
///
/// Glorot takes the sum of fan in and fan out (Glorot and Bengio 2010, eq. 16), Kaiming the fan in alone (He et al. 2015, eq. 10, drawn uniformly with the
/// same variance). `Pytorch` is ±√(1/fan in), the default of PyTorch's `Conv2d` and `Linear` (`kaiming_uniform_` with a = √5).
pub(crate) fn draw(init: Init, parameter: &Parameter, seed: Seed) -> Values {
    let all = |number: f32| Values { shape: parameter.shape.clone(), numbers: vec![number; parameter.size()] };
    match parameter.role {
        Role::Kernel => {}
        Role::Scale | Role::RunningVariance => return all(1.0),
        Role::Bias | Role::RunningMean => return all(0.0),
    }
    let [fan_in, fan_out] = parameter.fans();
    let bound = match init {
        Init::Glorot => (6.0 / (fan_in + fan_out) as f64).sqrt(),
        Init::Kaiming => (6.0 / fan_in as f64).sqrt(),
        Init::Pytorch => (1.0 / fan_in as f64).sqrt(),
    };
    let mut stream = seed.stream(&format!("init {}", parameter.name), 0);
    #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
    let numbers = (0..parameter.size()).map(|_| stream.random_range(-bound..bound) as f32).collect();
    Values { shape: parameter.shape.clone(), numbers }
}

#[cfg(test)]
mod tests {
    use regulus_model::graph::{Builder, Conv, Shape};

    use super::*;

    #[test]
    fn bounds_and_variance_are_those_of_the_papers() {
        // conv2 of the reference network: fan in 288, fan out 576.
        let graph = Builder::new(Shape { channels: 32, height: 9, width: 9 }).then(Conv::new(64, 3)).finish().unwrap();
        let parameters: Vec<&Parameter> = graph.parameters().collect();
        for (init, bound) in [(Init::Glorot, 0.083_333), (Init::Kaiming, 0.144_338), (Init::Pytorch, 0.058_926)] {
            let numbers = draw(init, parameters[0], Seed(1)).numbers;
            let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            assert!(largest <= bound && largest > 0.999 * bound, "{largest} against {bound}");
            let variance = numbers.iter().map(|number| number * number).sum::<f32>() / numbers.len() as f32;
            assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.02);
        }
        assert!(draw(Init::Glorot, parameters[1], Seed(1)).numbers.iter().all(|number| *number == 0.0));
    }
}
