//! The inverse of the precision: the posterior covariance.

use std::collections::BTreeMap;

use regulus_linalg::cholesky::Cholesky;
use regulus_linalg::product::{Matrix, multiply, multiply_add};
use regulus_model::{Values, Weights};

use super::corrected::{Corrected, CorrectedLayer};
use super::gradients::PerDirection;
use super::posterior::Selection;

/// Rounding of float32 sums may leave the selected block without a Cholesky factor. Then this part of its largest number is added to its diagonal, and so on.
const ROUNDING: f64 = 1e-7;

/// The covariance in the directions of each layer.
pub(super) struct Inverse {
    /// The factor of the precision among the selected directions.
    pub(super) block: Cholesky,
    /// 1/(s + λ) of the other directions, 0 of those selected.
    pub(super) variances: Vec<PerDirection<f32>>,
}

impl Inverse {
    /// The inverse of the Gauss-Newton matrix `block` among the selected directions, and of the corrected eigenvalues elsewhere, with λ of kernel and bias of
    /// each layer. Returns `None` if a number is not finite.
    pub(super) fn of(block: &[f64], corrected: &Corrected, lambdas: &[[f64; 2]], selection: &Selection) -> Option<Self> {
        let block = factored(block, &selection.lambdas(corrected, lambdas))?;
        Some(Self { block, variances: variances(corrected, lambdas, selection) })
    }

    /// The covariance times some vectors, one for each parameter of the layers by its name; 0 for other parameters.
    pub(super) fn times(&self, corrected: &Corrected, selection: &Selection, vectors: &Weights) -> Weights {
        let turned: Vec<Turned> = corrected.layers.iter().map(|layer| Turned::of(layer, vectors)).collect();
        let of_layers = turned.iter().zip(&selection.of_layers);
        let selected = of_layers.flat_map(|(turned, directions)| directions.iter().map(|direction| f64::from(turned.at(*direction))));
        let mut selected: Vec<f64> = selected.collect();
        self.block.solve(&mut selected);
        let mut found: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (place, (turned, layer)) in turned.into_iter().zip(&corrected.layers).enumerate() {
            let directions = &selection.of_layers[place];
            let solved = &selected[selection.places[place]..][..directions.len()];
            let [kernel, bias] = turned.back(&self.variances[place], directions, solved, layer);
            found.insert(format!("{}.weight", layer.name), kernel);
            found.insert(format!("{}.bias", layer.name), bias);
        }
        vectors.map(|name, values| {
            let numbers = found.get(name).cloned().unwrap_or_else(|| vec![0.0; values.numbers.len()]);
            Values { numbers, ..values.clone() }
        })
    }
}

/// A layer's vector in the directions of its bases.
struct Turned {
    /// The vector, `[output, input]`.
    all: Vec<f32>,
    /// `[output direction, input]`.
    outputs: Vec<f32>,
    /// `[output direction, input direction]`.
    inside: Vec<f32>,
    bias: Vec<f32>,
}

impl Turned {
    fn of(layer: &CorrectedLayer, vectors: &Weights) -> Self {
        let numbers = |leaf: &str| vectors.get(&format!("{}.{leaf}", layer.name)).map(|values| values.numbers.clone()).unwrap_or_default();
        let (all, bias) = (numbers("weight"), numbers("bias"));
        let (inputs, outputs) = (&layer.basis.inputs, &layer.basis.outputs);
        let mut turned = vec![0.0; outputs.rank() * inputs.width];
        multiply(&mut turned, outputs.matrix(), Matrix::new(&all, outputs.width));
        let mut inside = vec![0.0; outputs.rank() * inputs.rank()];
        multiply(&mut inside, Matrix::new(&turned, outputs.rank()), inputs.matrix().transpose());
        Self { all, outputs: turned, inside, bias }
    }

    /// The number in a direction, those of the bias after all others.
    fn at(&self, direction: usize) -> f32 {
        self.inside.get(direction).copied().unwrap_or_else(|| self.bias[direction - self.inside.len()])
    }

    /// Kernel and bias times the variances, and what was solved for the selected directions.
    fn back(mut self, variances: &PerDirection<f32>, directions: &[usize], solved: &[f64], layer: &CorrectedLayer) -> [Vec<f32>; 2] {
        let (inputs, outputs) = (&layer.basis.inputs, &layer.basis.outputs);
        let mut outside = self.outputs.clone();
        let mut within = vec![0.0; outside.len()];
        multiply(&mut within, Matrix::new(&self.inside, outputs.rank()), inputs.matrix());
        outside.iter_mut().zip(within).for_each(|(all, inside)| *all -= inside);
        for (row, variance) in outside.chunks_exact_mut(inputs.width).zip(&variances.inputs_outside) {
            row.iter_mut().for_each(|number| *number *= variance);
        }
        let mut beyond = vec![0.0; self.all.len()];
        multiply(&mut beyond, outputs.matrix().transpose(), Matrix::new(&self.outputs, outputs.rank()));
        let mut kernel: Vec<f32> = self.all.iter().zip(beyond).map(|(all, inside)| (all - inside) * variances.outputs_outside).collect();
        self.inside.iter_mut().zip(&variances.inside).for_each(|(number, variance)| *number *= variance);
        self.bias.iter_mut().zip(&variances.bias).for_each(|(number, variance)| *number *= variance);
        let inside = self.inside.len();
        for (direction, number) in directions.iter().zip(solved) {
            #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
            let number = *number as f32;
            if *direction < inside { self.inside[*direction] = number } else { self.bias[direction - inside] = number }
        }
        multiply_add(&mut outside, Matrix::new(&self.inside, outputs.rank()), inputs.matrix());
        multiply_add(&mut kernel, outputs.matrix().transpose(), Matrix::new(&outside, outputs.rank()));
        [kernel, self.bias]
    }
}

/// 1/(s + λ) of each direction, 0 of those selected.
pub(super) fn variances(corrected: &Corrected, lambdas: &[[f64; 2]], selection: &Selection) -> Vec<PerDirection<f32>> {
    let of_layers = corrected.layers.iter().zip(lambdas).zip(&selection.of_layers);
    let of_layer = |((layer, [kernel, bias]), selected): ((&CorrectedLayer, &[f64; 2]), &Vec<usize>)| {
        #[expect(clippy::cast_possible_truncation, reason = "weights of float32 sums")]
        let variance = |lambda: f64| move |value: f64| (1.0 / (value + lambda)) as f32;
        let mut variances = layer.curvature.map(variance(*kernel));
        variances.bias = layer.curvature.map(variance(*bias)).bias;
        let inside = variances.inside.len();
        for direction in selected {
            if *direction < inside { variances.inside[*direction] = 0.0 } else { variances.bias[direction - inside] = 0.0 }
        }
        variances
    };
    of_layers.map(of_layer).collect()
}

/// The Cholesky factor of the block plus the precisions on its diagonal. Returns `None` if a number is not finite.
pub(super) fn factored(block: &[f64], precisions: &[f64]) -> Option<Cholesky> {
    let size = precisions.len();
    let diagonal = (0..size).map(|index| block[index * size + index] + precisions[index]);
    let largest = diagonal.fold(f64::MIN_POSITIVE, f64::max);
    if !largest.is_finite() {
        return None;
    }
    let with = |extra: f64| {
        let mut matrix = block.to_vec();
        precisions.iter().enumerate().for_each(|(index, precision)| matrix[index * size + index] += precision + extra);
        Cholesky::of(matrix)
    };
    let extras = std::iter::successors(Some(ROUNDING * largest), |extra| Some(10.0 * extra).filter(|extra| *extra <= largest));
    std::iter::once(0.0).chain(extras).find_map(with)
}

#[cfg(test)]
mod tests {
    use super::factored;

    #[test]
    fn a_block_that_is_not_definite_up_to_rounding_has_a_factor_and_one_with_nan_has_none() {
        assert!(factored(&[1.0, 1.0, 1.0, 1.0], &[0.0, 0.0]).is_some());
        assert!(factored(&[0.0; 4], &[0.0, 0.0]).is_some(), "no curvature and λ = 0");
        assert!(factored(&[f64::NAN, 0.0, 0.0, 1.0], &[1.0, 1.0]).is_none());
        assert!(factored(&[f64::INFINITY, 0.0, 0.0, 1.0], &[1.0, 1.0]).is_none());
    }
}
