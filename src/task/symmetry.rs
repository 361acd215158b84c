//! The eight flips and quarter turns of a square.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A number of quarter turns to the left, and whether a flip of left and right follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symmetry {
    quarters: u8,
    is_flipped: bool,
}

impl Symmetry {
    /// One of the eight, all with the same probability.
    pub(super) fn random(rng: &mut ChaCha8Rng) -> Self {
        let drawn = rng.random_range(0..8_u8);
        Self { quarters: drawn % 4, is_flipped: drawn >= 4 }
    }

    /// Appends the values of the turned square `plane` with `side` pixels on a side to `out`, row by row. `table` has the value of every byte.
    pub(super) fn apply(self, plane: &[u8], side: usize, table: &[f32; 256], out: &mut Vec<f32>) {
        let last = side - 1;
        for row in 0..side {
            out.extend((0..side).map(|column| {
                let column = if self.is_flipped { last - column } else { column };
                let (from_row, from_column) = match self.quarters {
                    0 => (row, column),
                    1 => (column, last - row),
                    2 => (last - row, last - column),
                    _ => (last - column, row),
                };
                table[usize::from(plane[from_row * side + from_column])]
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    fn flips_and_turns_are_numpys() {
        // numpy.rot90(a, k), then numpy.fliplr, of [[1, 2, 3], [4, 5, 6], [7, 8, 9]].
        let table = std::array::from_fn(|byte| byte as f32);
        let turned = |quarters, is_flipped| {
            let mut out = Vec::new();
            Symmetry { quarters, is_flipped }.apply(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 3, &table, &mut out);
            out
        };
        assert_eq!(turned(0, false), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(turned(1, false), [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0]);
        assert_eq!(turned(2, false), [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!(turned(3, false), [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]);
        assert_eq!(turned(0, true), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0, 9.0, 8.0, 7.0]);
        assert_eq!(turned(1, true), [9.0, 6.0, 3.0, 8.0, 5.0, 2.0, 7.0, 4.0, 1.0]);
    }

    #[test]
    fn all_eight_are_drawn() {
        let mut rng = crate::seed::Seed(1).stream("symmetry", 0);
        let mut drawn = [0; 8];
        for _ in 0..800 {
            let Symmetry { quarters, is_flipped } = Symmetry::random(&mut rng);
            drawn[usize::from(quarters) + 4 * usize::from(is_flipped)] += 1;
        }
        assert!(drawn.iter().all(|count| (60..140).contains(count)), "{drawn:?}");
    }
}
