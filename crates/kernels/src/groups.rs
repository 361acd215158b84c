//! Groups of a parameter's numbers.

use rayon::prelude::*;

/// Rows whose sums are added up by one task: fixed, so that sums do not depend on threads.
const ROWS: usize = 64;

/// How the numbers of a parameter are grouped: by what goes into one output channel or unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// So many numbers side by side are a group.
    Runs(usize),
    /// Numbers that are so many apart are a group.
    Columns(usize),
}

impl Groups {
    /// The groups of a parameter of this shape, one for each index of `output_axis`, which is its first or its last axis.
    #[must_use]
    pub fn of(shape: &[usize], output_axis: usize) -> Self {
        if output_axis == 0 { Self::Runs(shape.iter().skip(1).product()) } else { Self::Columns(shape[output_axis]) }
    }

    /// The numbers of each group, where there are `length` in all.
    #[must_use]
    pub fn size(self, length: usize) -> usize {
        match self {
            Self::Runs(size) => size,
            Self::Columns(count) => length / count,
        }
    }

    /// The group of the number at `index`.
    pub(super) fn at(self, index: usize) -> usize {
        match self {
            Self::Runs(size) => index / size,
            Self::Columns(count) => index % count,
        }
    }

    /// For each group, two sums over its numbers; `of` gets the index of a number and that of its group.
    pub(super) fn sums(self, length: usize, of: impl Fn(usize, usize) -> [f64; 2] + Sync) -> Vec<[f64; 2]> {
        let plus = |sum: [f64; 2], number: [f64; 2]| [sum[0] + number[0], sum[1] + number[1]];
        match self {
            Self::Runs(size) => {
                let run = |group: usize| (group * size..(group + 1) * size).map(|index| of(index, group)).fold([0.0; 2], plus);
                (0..length / size).into_par_iter().map(run).collect()
            }
            Self::Columns(count) => {
                let rows = length / count;
                let block = |block: usize| {
                    let mut sums = vec![[0.0; 2]; count];
                    for row in block * ROWS..((block + 1) * ROWS).min(rows) {
                        for (group, sum) in sums.iter_mut().enumerate() {
                            *sum = plus(*sum, of(row * count + group, group));
                        }
                    }
                    sums
                };
                let blocks: Vec<Vec<[f64; 2]>> = (0..rows.div_ceil(ROWS)).into_par_iter().map(block).collect();
                (0..count).map(|group| blocks.iter().map(|block| block[group]).fold([0.0; 2], plus)).collect()
            }
        }
    }

    /// ‖w(g)‖ of each group.
    pub(super) fn norms(self, numbers: &[f32]) -> Vec<f64> {
        let squares = self.sums(numbers.len(), |index, _| [f64::from(numbers[index]).powi(2), 0.0]);
        squares.into_iter().map(|[squares, _]| squares.sqrt()).collect()
    }
}
