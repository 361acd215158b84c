use regulus_kernels::dense::{Layer, Matrix, forward};
use regulus_kernels::simd::Path;

use crate::numbers::{are_close, bits, numbers};

#[test]
fn the_bits_do_not_depend_on_threads() {
    regulus_kernels::buffers::fill_with_nan();
    for [batch, inputs, outputs] in [[1, 1600, 128], [1, 128, 10], [2, 5, 3], [7, 1600, 128], [64, 1600, 128], [64, 900, 1000]] {
        let (x, w, bias) = (numbers(1, batch * inputs), numbers(2, inputs * outputs), numbers(3, outputs));
        let (x, w) = (Matrix::rows(&x, [batch, inputs]), Matrix::rows(&w, [inputs, outputs]));
        let expected: Vec<f64> = (0..batch * outputs)
            .map(|at| {
                let (row, column) = (at / outputs, at % outputs);
                let product = |inner: usize| f64::from(x.numbers[row * inputs + inner]) * f64::from(w.numbers[inner * outputs + column]);
                ((0..inputs).map(product).sum::<f64>() + f64::from(bias[column])).max(0.0)
            })
            .collect();
        let layer = Layer { weights: w, bias: &bias, relu: true };
        for path in Path::all() {
            let alone = forward(path, x, layer, 1);
            assert!(are_close(&alone, &expected, inputs as f64), "{batch}×{inputs}·{outputs} on {}", path.name);
            for threads in [2, 5] {
                assert_eq!(bits(&forward(path, x, layer, threads)), bits(&alone));
            }
        }
    }
}
