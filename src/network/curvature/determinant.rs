//! The determinant of the curvature with the penalty, and the effective number of parameters, of the penalized parameters.

use std::collections::BTreeMap;

use super::corrected::CorrectedLayer;
use super::inverse::factored;
use super::posterior::Posterior;

/// What the evidence needs of the curvature H. Parameters without a penalty are constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Determinant {
    /// ln det(1 + H/λ).
    pub log_ratio: f64,
    /// γ, the trace of H·(H + λ)⁻¹, of each penalized parameter.
    pub gammas: BTreeMap<String, f64>,
}

impl Posterior {
    /// The determinant, exact among the selected directions. Returns `None` if a number is not finite.
    #[must_use]
    pub fn determinant(&self) -> Option<Determinant> {
        let mut gammas: BTreeMap<String, f64> = self.penalized.keys().map(|name| (name.clone(), 0.0)).collect();
        let mut add = |name: &str, gamma: f64| *gammas.entry(name.to_owned()).or_default() += gamma;
        let mut log_ratio = 0.0;
        // The places in the block, with the parameter and its λ.
        let mut chosen: Vec<(usize, &str, f64)> = Vec::new();
        for ((layer, directions), begin) in self.corrected.layers.iter().zip(&self.selection.of_layers).zip(&self.selection.places) {
            let inside = layer.curvature.inside.len();
            for (index, (name, values)) in parts(layer).into_iter().enumerate() {
                let Some((name, lambda)) = self.penalized.get_key_value(&name) else { continue };
                let is_own = |direction: &usize| (*direction < inside) == (index == 0);
                let own = directions.iter().enumerate().filter(|(_, direction)| is_own(direction));
                chosen.extend(own.clone().map(|(place, _)| (begin + place, name.as_str(), *lambda)));
                let mut is_selected = vec![false; values.len()];
                own.for_each(|(_, direction)| is_selected[direction - index * inside] = true);
                for ((value, count), _) in values.iter().zip(is_selected).filter(|(_, is_selected)| !is_selected) {
                    log_ratio += count * (value / lambda).ln_1p();
                    add(name, count * value / (value + lambda));
                }
            }
        }
        let size = chosen.len();
        let row = |(place, ..): &(usize, &str, f64)| {
            let place = *place;
            chosen.iter().map(move |(other, ..)| self.block[place.max(*other) * self.selection.count + place.min(*other)])
        };
        let block: Vec<f64> = chosen.iter().flat_map(row).collect();
        let lambdas: Vec<f64> = chosen.iter().map(|(.., lambda)| *lambda).collect();
        let factor = factored(&block, &lambdas)?;
        log_ratio += factor.log_determinant() - lambdas.iter().map(|lambda| lambda.ln()).sum::<f64>();
        // The rows of the inverse of the factor, one for each direction: their squared lengths are the diagonal of the inverse.
        let mut inverse = vec![0.0; size * size];
        (0..size).for_each(|index| inverse[index * size + index] = 1.0);
        factor.solve_lower(&mut inverse);
        for ((_, name, lambda), row) in chosen.iter().zip(inverse.chunks_exact(size.max(1))) {
            add(name, 1.0 - lambda * row.iter().map(|number| number * number).sum::<f64>());
        }
        Some(Determinant { log_ratio, gammas })
    }
}

/// The names of kernel and bias of a layer, each with the curvature along its directions and how many share it. The directions within both bases come first.
fn parts(layer: &CorrectedLayer) -> [(String, Vec<(f64, f64)>); 2] {
    let CorrectedLayer { name, basis, curvature } = layer;
    let [inputs, outputs] = basis.outside_counts().map(|count| count as f64);
    let inside = curvature.inside.iter().map(|value| (*value, 1.0));
    let outside = curvature.inputs_outside.iter().map(|value| (*value, inputs));
    let kernel = inside.chain(outside).chain([(curvature.outputs_outside, outputs)]).collect();
    let bias = curvature.bias.iter().map(|value| (*value, 1.0)).collect();
    [(format!("{name}.weight"), kernel), (format!("{name}.bias"), bias)]
}
