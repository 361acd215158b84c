//! How parameters start.

use rand::RngExt;
use regulus_model::Values;
use regulus_model::graph::{Parameter, Role};

use crate::config::Init;
use crate::seed::Seed;

/// Draws the values of one parameter: kernels uniformly in ±√(6/fan), scales and running variances 1, all else 0.
///
/// Glorot takes the sum of fan in and fan out (Glorot and Bengio 2010, eq. 16), Kaiming the fan in alone (He et al. 2015, eq. 10, drawn uniformly with the
/// same variance). `Pytorch` is ±√(1/fan in), the default of PyTorch's `Conv2d` and `Linear` (`kaiming_uniform_` with a = √5). `Dirac` is the same, after which output
/// channel i of a convolution, for i < input channels (of each group), has weight 1 at the center of input channel i and else 0 (`torch.nn.init.dirac_`).
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
        Init::Pytorch | Init::Dirac => (1.0 / fan_in as f64).sqrt(),
    };
    let mut stream = seed.stream(&format!("init {}", parameter.name), 0);
    #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
    let mut numbers: Vec<f32> = (0..parameter.size()).map(|_| stream.random_range(-bound..bound) as f32).collect();
    if let (Init::Dirac, &[_, channels, rows, columns]) = (init, &*parameter.shape) {
        pass_on(&mut numbers, parameter.groups, [channels, rows, columns]);
    }
    Values { shape: parameter.shape.clone(), numbers }
}

/// Makes each of the first output channels of every group one input channel.
fn pass_on(numbers: &mut [f32], groups: usize, [channels, rows, columns]: [usize; 3]) {
    let of_group = numbers.len() / groups;
    for group in numbers.chunks_exact_mut(of_group) {
        for (channel, filter) in group.chunks_exact_mut(channels * rows * columns).enumerate().take(channels) {
            filter.fill(0.0);
            filter[(channel * rows + rows / 2) * columns + columns / 2] = 1.0;
        }
    }
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

    #[test]
    fn dirac_passes_on_the_input_channels_of_every_group() {
        let op = Conv { groups: 2, ..Conv::new(6, 3).padding(1) };
        let graph = Builder::new(Shape { channels: 4, height: 5, width: 5 }).then(op).finish().unwrap();
        let kernel = graph.parameters().next().unwrap();
        let (found, drawn) = (draw(Init::Dirac, kernel, Seed(1)).numbers, draw(Init::Pytorch, kernel, Seed(1)).numbers);
        // [6, 2, 3, 3]; PyTorch's `dirac_(weight[…], groups)` on the first two of the three channels of each group.
        for (channel, (found, drawn)) in found.chunks_exact(18).zip(drawn.chunks_exact(18)).enumerate() {
            let mut expected = [0.0; 18];
            match channel % 3 {
                0 => expected[4] = 1.0,
                1 => expected[13] = 1.0,
                _ => expected.copy_from_slice(drawn),
            }
            assert_eq!(found, expected, "channel {channel}");
        }
    }
}
