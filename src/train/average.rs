//! Weight averaging. Running statistics are averaged like weights.

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::prelude::*;
use regulus_model::graph::Parameter;

use crate::config;
use crate::network::{Network, ParamMapper, ParamVisitor};

/// The average of the weights of a network, on a device without autodiff.
#[derive(Clone)]
pub(super) struct Average {
    kind: config::Average,
    network: Option<Network>,
    /// The number of averaged networks.
    pub(super) count: u64,
}

impl Average {
    /// An average of no networks.
    pub(super) fn new(kind: config::Average) -> Self {
        Self { kind, network: None, count: 0 }
    }

    /// The average of a checkpoint.
    pub(super) fn resumed(self, network: Option<Network>, count: u64) -> Self {
        Self { kind: self.kind, network, count }
    }

    /// The average. Returns `None` before the first update.
    pub(super) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Updates the moving average after a step.
    pub(super) fn after_step(&mut self, network: &Network) {
        if let config::Average::Ema { decay } = self.kind {
            self.update(network, 1.0 - decay.get());
        }
    }

    /// Updates the stochastic weight average after `epoch` (from 1).
    pub(super) fn after_epoch(&mut self, network: &Network, epoch: u64) {
        if let config::Average::Swa { from_epoch } = self.kind
            && epoch >= from_epoch.get() as u64
        {
            self.update(network, 1.0 / (self.count + 1) as f64);
        }
    }

    /// a ← a + share·(w − a); the first update sets a = w.
    fn update(&mut self, network: &Network, share: f64) {
        self.count += 1;
        self.network = Some(match self.network.take() {
            None => network.valid(),
            Some(average) => {
                let mut weights = Tensors(GradientsParams::new());
                network.visit_parameters(&mut weights);
                average.map_parameters(&mut Blend { weights: weights.0, share })
            }
        });
    }
}

/// The tensors of all parameters, without autodiff, in Burn's container of gradients.
struct Tensors(GradientsParams);

impl ParamVisitor for Tensors {
    fn visit<const D: usize>(&mut self, _parameter: &Parameter, id: ParamId, tensor: Tensor<D>) {
        self.0.register(id, tensor.inner());
    }
}

struct Blend {
    weights: GradientsParams,
    share: f64,
}

impl ParamMapper for Blend {
    fn map<const D: usize>(&mut self, _parameter: &Parameter, id: ParamId, average: Tensor<D>) -> Tensor<D> {
        match self.weights.remove::<D>(id) {
            Some(weights) => average.clone() + (weights - average).mul_scalar(self.share),
            None => average,
        }
    }
}

#[cfg(test)]
mod tests {
    use regulus_model::Values;
    use regulus_model::graph::Shape;
    use regulus_model::networks::Cnn;

    use super::*;
    use crate::backend::any_cpu;
    use crate::config::number::{Count, Fraction};

    /// The averages after each of three updates: all weights are 1, then 2, then 4.
    fn averages(kind: config::Average) -> Vec<Option<f32>> {
        let cnn = Cnn { channels: vec![32, 64], kernel_size: 3, padding: 0, hidden: 128, dropout: 0.0 };
        let graph = cnn.graph(Shape { channels: 1, height: 10, width: 10 }, 3).unwrap();
        let blank = Network::blank(&graph, &any_cpu().autodiff());
        let all = |number: f32| {
            let weights = blank.weights().map(|_, values| Values { numbers: vec![number; values.numbers.len()], ..values.clone() });
            blank.clone().with_weights(&weights, std::path::Path::new("")).unwrap()
        };
        let mut average = Average::new(kind);
        let after = (1..).zip([1.0, 2.0, 4.0]).map(|(epoch, number)| {
            average.after_step(&all(number));
            average.after_epoch(&all(number), epoch);
            average.network().map(|network| network.weights().get("conv2.weight").unwrap().numbers[7])
        });
        after.collect()
    }

    #[test]
    fn averages_by_hand() {
        let decay = Fraction::try_from(0.5).unwrap();
        assert_eq!(averages(config::Average::Ema { decay }), [Some(1.0), Some(1.5), Some(2.75)]);
        let from_epoch = Count::try_from(2).unwrap();
        assert_eq!(averages(config::Average::Swa { from_epoch }), [None, Some(2.0), Some(3.0)]);
        assert_eq!(averages(config::Average::None), [None; 3]);
    }
}
