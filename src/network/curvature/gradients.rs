//! The gradients of single samples in the directions of two bases: `U_G·G·U_Aᵀ`, where G = Σ over positions of g·aᵀ is the gradient of a kernel for one
//! vector that is sent back. What lies outside of the bases is kept beside it.

use regulus_linalg::product::{Matrix, add_lower_square, multiply};

use super::eigen::Basis;
use super::jacobian::Layer;
use super::tiny::drop_tiny;

/// The two bases of a layer.
#[derive(Clone, Debug)]
pub(super) struct LayerBasis {
    /// The index of the layer in the graph.
    pub(super) index: usize,
    /// Whether it has a bias.
    pub(super) has_bias: bool,
    /// Whether it has one position, as a dense layer has.
    pub(super) is_dense: bool,
    /// `U_A`.
    pub(super) inputs: Basis,
    /// `U_G`.
    pub(super) outputs: Basis,
}

/// A number for each direction of a layer; directions outside of a basis share theirs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PerDirection<T> {
    /// Within both bases, `[output direction, input direction]`.
    pub(super) inside: Vec<T>,
    /// Outside of the basis of the inputs, `[output direction]`.
    pub(super) inputs_outside: Vec<T>,
    /// Outside of the basis of the outputs.
    pub(super) outputs_outside: T,
    /// Those of the bias, `[output]`.
    pub(super) bias: Vec<T>,
}

impl<T: Copy> PerDirection<T> {
    pub(super) fn map<U: Copy>(&self, each: impl Fn(T) -> U) -> PerDirection<U> {
        let all = |numbers: &[T]| numbers.iter().map(|number| each(*number)).collect();
        PerDirection {
            inside: all(&self.inside),
            inputs_outside: all(&self.inputs_outside),
            outputs_outside: each(self.outputs_outside),
            bias: all(&self.bias),
        }
    }
}

/// The gradients of some samples of a layer with one position.
struct Dense {
    /// `U_A·a`, `[sample, input direction]`.
    inputs: Vec<f32>,
    /// The squared length of a outside of the basis, `[sample]`.
    inputs_outside: Vec<f32>,
    /// `U_G·g`, `[sample, column, output direction]`.
    outputs: Vec<f32>,
    /// g·‖a‖ outside of the basis, `[sample, column, output]`. Empty if there is nothing outside.
    outputs_outside: Vec<f32>,
}

/// The gradients of one sample of a convolution.
struct Conv {
    /// `[column, output direction, input direction]`.
    inside: Vec<f32>,
    /// Outside of the basis of the inputs, `[column, output direction, input]`. Empty if there is nothing outside.
    inputs_outside: Vec<f32>,
    /// Outside of the basis of the outputs, `[column, output, input]`. Empty if there is nothing outside.
    outputs_outside: Vec<f32>,
}

impl Layer<'_> {
    /// The gradients of the bias, `[sample, column, output]`.
    fn biases(&self) -> Vec<f32> {
        self.vectors.chunks_exact(self.positions).map(sum).collect()
    }
}

/// What is wanted of the gradients for a posterior.
pub(super) struct Terms<'a> {
    /// The variance of each direction; 0 for those that are selected.
    pub(super) variances: &'a PerDirection<f32>,
    /// The selected directions within the bases, and then those of the bias: `inside` before `bias`.
    pub(super) selected: &'a [usize],
    /// `[sample, column, column]`: products of the gradients, weighted by the variances, are added to it.
    pub(super) products: &'a mut [f64],
    /// `[sample, column, features]`: the gradients in the selected directions are put here, from `place` on.
    pub(super) features: &'a mut [f32],
    pub(super) place: usize,
}

impl LayerBasis {
    fn ranks(&self) -> [usize; 2] {
        [self.outputs.rank(), self.inputs.rank()]
    }

    /// Zeros for each direction.
    pub(super) fn zeros(&self) -> PerDirection<f64> {
        let [outputs, inputs] = self.ranks();
        PerDirection {
            inside: vec![0.0; outputs * inputs],
            inputs_outside: vec![0.0; outputs],
            outputs_outside: 0.0,
            bias: vec![0.0; if self.has_bias { self.outputs.width } else { 0 }],
        }
    }

    /// How many directions share a number: one inside, and these outside of the basis of the inputs and of the outputs.
    pub(super) fn outside_counts(&self) -> [usize; 2] {
        let [outputs, inputs] = self.ranks();
        [self.inputs.width - inputs, (self.outputs.width - outputs) * self.inputs.width]
    }

    /// Adds the squared gradients to `sums`, those outside of a basis summed over its directions.
    pub(super) fn add_squares(&self, layer: &Layer, sums: &mut PerDirection<f64>) {
        for bias in layer.biases().chunks_exact(layer.outputs) {
            add_squares(&mut sums.bias, bias);
        }
        let [outputs, inputs] = self.ranks();
        if !self.is_dense {
            self.each_conv(layer, |_, found| {
                found.inside.chunks_exact(outputs * inputs).for_each(|column| add_squares(&mut sums.inside, column));
                for (place, row) in found.inputs_outside.chunks_exact(self.inputs.width).enumerate() {
                    sums.inputs_outside[place % outputs] += squares(row);
                }
                sums.outputs_outside += squares(&found.outputs_outside);
            });
            return;
        }
        let dense = self.dense(layer);
        sums.outputs_outside += squares(&dense.outputs_outside);
        // Σ over columns, `[sample, output direction]`.
        let mut of_outputs = vec![0.0_f32; layer.samples * outputs];
        for (place, column) in dense.outputs.chunks_exact(outputs).enumerate() {
            let to = &mut of_outputs[place / layer.columns * outputs..][..outputs];
            to.iter_mut().zip(column).for_each(|(to, number)| *to += number * number);
        }
        let of_inputs: Vec<f32> = dense.inputs.iter().map(|number| number * number).collect();
        let mut product = vec![0.0_f32; outputs * inputs];
        multiply(&mut product, Matrix::new(&of_outputs, layer.samples).transpose(), Matrix::new(&of_inputs, layer.samples));
        sums.inside.iter_mut().zip(&product).for_each(|(sum, number)| *sum += f64::from(*number));
        for (of_outputs, outside) in of_outputs.chunks_exact(outputs).zip(&dense.inputs_outside) {
            sums.inputs_outside.iter_mut().zip(of_outputs).for_each(|(sum, square)| *sum += f64::from(square * outside));
        }
    }

    /// Adds what a posterior needs of the gradients.
    pub(super) fn add_terms(&self, layer: &Layer, terms: &mut Terms) {
        let columns = layer.columns;
        let [outputs, inputs] = self.ranks();
        let size = terms.features.len() / (layer.samples * columns);
        let (biases, inside) = (layer.biases(), outputs * inputs);
        for (sample, bias) in biases.chunks_exact(columns * layer.outputs).enumerate() {
            let products = &mut terms.products[sample * columns * columns..][..columns * columns];
            if self.has_bias {
                add_weighted(products, bias, &terms.variances.bias);
            }
        }
        let put = |features: &mut [f32], row: usize, gradient: &dyn Fn(usize) -> f32| {
            let to = &mut features[row * size + terms.place..][..terms.selected.len()];
            let bias = &biases[row * layer.outputs..][..layer.outputs];
            for (to, direction) in to.iter_mut().zip(terms.selected) {
                *to = if *direction < inside { gradient(*direction) } else { bias[direction - inside] };
            }
        };
        if !self.is_dense {
            self.each_conv(layer, |sample, found| {
                let products = &mut terms.products[sample * columns * columns..][..columns * columns];
                add_weighted(products, &found.inside, &terms.variances.inside);
                if !found.inputs_outside.is_empty() {
                    let variances = &terms.variances.inputs_outside;
                    let each: Vec<f32> = variances.iter().flat_map(|variance| std::iter::repeat_n(*variance, self.inputs.width)).collect();
                    add_weighted(products, &found.inputs_outside, &each);
                }
                if !found.outputs_outside.is_empty() {
                    let each = vec![terms.variances.outputs_outside; found.outputs_outside.len() / columns];
                    add_weighted(products, &found.outputs_outside, &each);
                }
                for column in 0..columns {
                    put(terms.features, sample * columns + column, &|direction| found.inside[column * inside + direction]);
                }
            });
            return;
        }
        let dense = self.dense(layer);
        let squared: Vec<f32> = dense.inputs.iter().map(|number| number * number).collect();
        // The variance of each output direction, summed over the inputs: `[sample, output direction]`.
        let mut variances = vec![0.0_f32; layer.samples * outputs];
        let all = Matrix::new(&terms.variances.inside, outputs);
        multiply(&mut variances, Matrix::new(&squared, layer.samples), all.transpose());
        for (sample, variances) in variances.chunks_exact_mut(outputs).enumerate() {
            let outside = dense.inputs_outside[sample];
            variances.iter_mut().zip(&terms.variances.inputs_outside).for_each(|(to, variance)| *to += outside * variance);
            let products = &mut terms.products[sample * columns * columns..][..columns * columns];
            add_weighted(products, &dense.outputs[sample * columns * outputs..][..columns * outputs], variances);
            if !dense.outputs_outside.is_empty() {
                let each = vec![terms.variances.outputs_outside; layer.outputs];
                add_weighted(products, &dense.outputs_outside[sample * columns * layer.outputs..][..columns * layer.outputs], &each);
            }
            let of_inputs = &dense.inputs[sample * inputs..][..inputs];
            for row in sample * columns..(sample + 1) * columns {
                let of_outputs = &dense.outputs[row * outputs..][..outputs];
                put(terms.features, row, &|direction| of_outputs[direction / inputs] * of_inputs[direction % inputs]);
            }
        }
    }

    fn dense(&self, layer: &Layer) -> Dense {
        let [outputs, inputs] = self.ranks();
        let mut of_inputs = vec![0.0; layer.samples * inputs];
        multiply(&mut of_inputs, Matrix::new(layer.inputs, layer.samples), self.inputs.matrix().transpose());
        let rows = layer.samples * layer.columns;
        let mut of_outputs = vec![0.0; rows * outputs];
        multiply(&mut of_outputs, Matrix::new(layer.vectors, rows), self.outputs.matrix().transpose());
        let lengths: Vec<f64> = layer.inputs.chunks_exact(self.inputs.width).map(squares).collect();
        #[expect(clippy::cast_possible_truncation, reason = "float32 numbers")]
        let outside =
            |(length, inside): (&f64, &[f32])| if self.inputs.is_complete() { 0.0 } else { (length - squares(inside)).max(0.0) as f32 };
        let inputs_outside = lengths.iter().zip(of_inputs.chunks_exact(inputs.max(1))).map(outside).collect();
        let mut outputs_outside = Vec::new();
        if !self.outputs.is_complete() {
            let mut inside = vec![0.0; layer.vectors.len()];
            multiply(&mut inside, Matrix::new(&of_outputs, rows), self.outputs.matrix());
            outputs_outside = layer.vectors.iter().zip(inside).map(|(all, inside)| all - inside).collect();
            for (place, row) in outputs_outside.chunks_exact_mut(layer.outputs).enumerate() {
                #[expect(clippy::cast_possible_truncation, reason = "float32 numbers")]
                let length = lengths[place / layer.columns].sqrt() as f32;
                row.iter_mut().for_each(|number| *number *= length);
            }
        }
        Dense { inputs: of_inputs, inputs_outside, outputs: of_outputs, outputs_outside }
    }

    /// Calls `each` with the gradients of every sample of a convolution.
    fn each_conv(&self, layer: &Layer, mut each: impl FnMut(usize, &Conv)) {
        let Layer { columns, positions, outputs: of_layer, .. } = *layer;
        let ([outputs, inputs], width) = (self.ranks(), self.inputs.width);
        let mut found = Conv { inside: vec![0.0; columns * outputs * inputs], inputs_outside: Vec::new(), outputs_outside: Vec::new() };
        let is_complete = self.inputs.is_complete() && self.outputs.is_complete();
        // Whichever multiplies less: to turn the outputs at all positions and the inputs once, or the gradient of each column.
        let with_positions = (outputs * (of_layer + inputs) + inputs * width / columns.max(1)) * positions;
        let with_gradients = of_layer * width * positions + outputs * width * (of_layer + inputs);
        let turns_inputs = is_complete && with_positions <= with_gradients;
        let mut turned = vec![0.0; if turns_inputs { inputs * positions } else { 0 }];
        let mut outputs_turned = vec![0.0; if turns_inputs { columns * outputs * positions } else { outputs * width }];
        let mut gradients = vec![0.0; if turns_inputs { 0 } else { columns * of_layer * width }];
        for sample in 0..layer.samples {
            let of_inputs = Matrix::new(&layer.inputs[sample * width * positions..][..width * positions], width);
            let vectors = &layer.vectors[sample * columns * of_layer * positions..][..columns * of_layer * positions];
            // Products of all columns at once take less time than many small ones.
            if turns_inputs {
                multiply(&mut turned, self.inputs.matrix(), of_inputs);
                for (to, vectors) in outputs_turned.chunks_exact_mut(outputs * positions).zip(vectors.chunks_exact(of_layer * positions)) {
                    multiply(to, self.outputs.matrix(), Matrix::new(vectors, of_layer));
                }
                drop_tiny(&mut outputs_turned);
                multiply(&mut found.inside, Matrix::new(&outputs_turned, columns * outputs), Matrix::new(&turned, inputs).transpose());
                drop_tiny(&mut found.inside);
                each(sample, &found);
                continue;
            }
            multiply(&mut gradients, Matrix::new(vectors, columns * of_layer), of_inputs.transpose());
            drop_tiny(&mut gradients);
            found.inputs_outside.clear();
            found.outputs_outside.clear();
            for (gradient, inside) in gradients.chunks_exact(of_layer * width).zip(found.inside.chunks_exact_mut(outputs * inputs)) {
                multiply(&mut outputs_turned, self.outputs.matrix(), Matrix::new(gradient, of_layer));
                drop_tiny(&mut outputs_turned);
                multiply(inside, Matrix::new(&outputs_turned, outputs), self.inputs.matrix().transpose());
                if !self.outputs.is_complete() {
                    let mut back = vec![0.0; gradient.len()];
                    multiply(&mut back, self.outputs.matrix().transpose(), Matrix::new(&outputs_turned, outputs));
                    found.outputs_outside.extend(gradient.iter().zip(back).map(|(all, inside)| all - inside));
                }
                if !self.inputs.is_complete() {
                    let mut back = vec![0.0; outputs_turned.len()];
                    multiply(&mut back, Matrix::new(inside, outputs), self.inputs.matrix());
                    found.inputs_outside.extend(outputs_turned.iter().zip(back).map(|(all, inside)| all - inside));
                }
            }
            [&mut found.inside, &mut found.inputs_outside, &mut found.outputs_outside].into_iter().for_each(|numbers| drop_tiny(numbers));
            each(sample, &found);
        }
    }
}

/// Numbers summed side by side, so that they fit vector instructions.
const LANES: usize = 16;

/// Σ of numbers.
pub(super) fn sum(numbers: &[f32]) -> f32 {
    let (lanes, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for lane in lanes {
        sums.iter_mut().zip(lane).for_each(|(sum, number)| *sum += number);
    }
    sums.iter().chain(rest).sum()
}

/// Σ of squares.
fn squares(numbers: &[f32]) -> f64 {
    let (lanes, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for lane in lanes {
        sums.iter_mut().zip(lane).for_each(|(sum, number)| *sum += f64::from(*number) * f64::from(*number));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|number| f64::from(*number) * f64::from(*number)).sum::<f64>()
}

/// Adds squares to float64 sums; there may be no sums.
fn add_squares(sums: &mut [f64], numbers: &[f32]) {
    sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += f64::from(number * number));
}

/// Adds rows·diag(weights)·rowsᵀ to `products`, as many rows as `products` has. The weights are at least 0.
fn add_weighted(products: &mut [f64], rows: &[f32], weights: &[f32]) {
    let count = products.len().isqrt();
    let roots: Vec<f32> = weights.iter().map(|weight| weight.sqrt()).collect();
    let mut weighted = rows.to_vec();
    for row in weighted.chunks_exact_mut(roots.len().max(1)) {
        row.iter_mut().zip(&roots).for_each(|(number, root)| *number *= root);
    }
    let mut product = vec![0.0_f32; count * count];
    add_lower_square(&mut product, Matrix::new(&weighted, count));
    for (row, column) in (0..count).flat_map(|row| (0..=row).map(move |column| (row, column))) {
        let number = f64::from(product[row * count + column]);
        products[row * count + column] += number;
        if row != column {
            products[column * count + row] += number;
        }
    }
}
