//! How the trained weights change with λ.
//!
//! At the minimum of the summed loss with the penalty λ/2·‖w‖², dw/dλ = −P⁻¹·w, with P the precision of the posterior, so that
//!
//! ```text
//! dL_val/dλ = ∇L_val·dw/dλ = −∇L_val·P⁻¹·w
//! ```
//!
//! (Lorraine, Vicol and Duvenaud 2020, arXiv 1911.02590; with A = P/m the curvature of the mean objective this is `−(1/m)·∇L_val·A⁻¹·w`). In place of the inverse by a
//! Neumann series it is that of [`Posterior`].

use std::collections::BTreeMap;

use regulus_linalg::product::{Matrix, multiply_add};
use regulus_model::{Values, Weights};

use super::gradients::sum;
use super::inverse::Inverse;
use super::jacobian::Layer;
use super::pass::{Columns, Gather, Outputs};
use super::posterior::Posterior;
use super::progress::{Done, Stopped};
use super::vectors::{combined, product};
use super::{CurvatureInput, Watch};

impl Posterior {
    /// The change of the trained weights with the logarithm of a factor of every λ: −P⁻¹·(λ·w). 0 for the parameters outside.
    #[must_use]
    pub fn change_by_log_lambda(&self, weights: &Weights) -> Weights {
        let pull = self.pull(weights, -1.0);
        self.inverse.times(&self.corrected, &self.selection, &pull)
    }

    /// The weights that training is expected to end with when every λ is multiplied by `factor`: w − (P + (factor − 1)·λ)⁻¹·(factor − 1)·λ·w, one step of
    /// Newton's method, which is exact for a quadratic loss and equals w + dw/dλ·Δλ to first order.
    #[must_use]
    pub fn predicted_weights(&self, weights: &Weights, factor: f64) -> Option<Weights> {
        let lambdas: Vec<[f64; 2]> = self.lambdas.iter().map(|lambdas| lambdas.map(|lambda| factor * lambda)).collect();
        let inverse = Inverse::of(&self.block, &self.corrected, &lambdas, &self.selection)?;
        let change = inverse.times(&self.corrected, &self.selection, &self.pull(weights, 1.0 - factor));
        Some(combined(weights, &change, 1.0))
    }

    /// The derivative of the loss whose gradient is `gradient` with the logarithm of a factor of every λ.
    #[must_use]
    pub fn slope_by_log_lambda(&self, weights: &Weights, gradient: &Weights) -> f64 {
        product(&self.change_by_log_lambda(weights), gradient, |_| 1.0)
    }

    /// `factor`·λ·w of the penalized parameters, 0 of the others.
    #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
    pub(super) fn pull(&self, weights: &Weights, factor: f64) -> Weights {
        weights.map(|name, values| {
            let scale = (factor * self.penalized.get(name).copied().unwrap_or(0.0)) as f32;
            Values { numbers: values.numbers.iter().map(|number| scale * number).collect(), ..values.clone() }
        })
    }
}

impl CurvatureInput<'_> {
    /// The gradient of the mean cross-entropy of the samples in the parameters of the layers; 0 for the others. Many samples are represented by some of them.
    ///
    /// # Errors
    ///
    /// When `watch` returns false.
    pub fn gradient(&self, watch: &Watch) -> Result<Weights, Stopped> {
        let columns = Columns::Errors;
        let (indices, _) = self.sampled(columns.count(1));
        let samples = indices.len();
        let done = Done::of("gradient", samples as u64, watch);
        let strips = self.pass(columns).run(&indices, &done, |_| GradientSums::default())?;
        let mut sums: BTreeMap<usize, [Vec<f32>; 2]> = BTreeMap::new();
        for (index, [kernel, bias]) in strips.into_iter().flat_map(|strip| strip.0) {
            let to = sums.entry(index).or_insert_with(|| [vec![0.0; kernel.len()], vec![0.0; bias.len()]]);
            to[0].iter_mut().zip(kernel).for_each(|(to, number)| *to += number);
            to[1].iter_mut().zip(bias).for_each(|(to, number)| *to += number);
        }
        let graph = self.network.graph();
        let named: BTreeMap<String, Vec<f32>> = sums
            .into_iter()
            .flat_map(|(index, sums)| {
                let name = &graph.nodes()[index].name;
                ["weight", "bias"].map(|leaf| format!("{name}.{leaf}")).into_iter().zip(sums)
            })
            .collect();
        Ok(self.weights.map(|name, values| {
            let of_sum = |sum: &Vec<f32>| sum.iter().map(|number| number / samples as f32).collect();
            let numbers = named.get(name).map_or_else(|| vec![0.0; values.numbers.len()], of_sum);
            Values { numbers, ..values.clone() }
        }))
    }
}

/// Sums of the gradients of kernel and bias of each layer.
#[derive(Default)]
struct GradientSums(BTreeMap<usize, [Vec<f32>; 2]>);

impl Gather for GradientSums {
    fn outputs(&mut self, _outputs: &Outputs) {}

    fn layer(&mut self, layer: &Layer) {
        let Layer { index, samples, outputs, positions, inputs, vectors, .. } = *layer;
        let width = inputs.len() / (samples * positions);
        let [kernel, bias] = self.0.entry(index).or_insert_with(|| [vec![0.0; outputs * width], vec![0.0; outputs]]);
        for (vectors, inputs) in vectors.chunks_exact(outputs * positions).zip(inputs.chunks_exact(width * positions)) {
            multiply_add(kernel, Matrix::new(vectors, outputs), Matrix::new(inputs, width).transpose());
            bias.iter_mut().zip(vectors.chunks_exact(positions)).for_each(|(to, vector)| *to += sum(vector));
        }
    }
}
