//! Images as tiles of outputs, and the transforms of their pixels, outputs and gradients.

use std::ops::Range;

use pulp::Simd;

use super::Sizes;
use super::scheme::{MOST, Scheme};
use crate::registers::load;

/// Tiles of a group, about: so many that their products stay in the second cache.
const GROUP: usize = 24;
/// Numbers behind the channels of a tile, which keep tiles apart in the sets of a cache.
const APART: usize = 16;

/// How the outputs of a batch are divided into tiles, and these into groups of whole rows of tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    pub(super) sizes: Sizes,
    /// Outputs on a side of a tile.
    side: usize,
    /// Rows and columns of tiles of an image.
    rows: usize,
    columns: usize,
    /// Rows of tiles of a group.
    rows_per_group: usize,
}

/// Where a tile begins.
pub(super) struct Tile {
    pub(super) image: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Tiles {
    pub(super) fn of<T: Scheme>(sizes: Sizes) -> Self {
        let [rows, columns] = sizes.sides().map(|side| side.div_ceil(T::OUTPUTS));
        let area = (4 / T::OUTPUTS).pow(2);
        let rows_per_group = (GROUP * area).div_ceil(columns.max(1)).min((sizes.batch * rows).max(1));
        Self { sizes, side: T::OUTPUTS, rows, columns, rows_per_group }
    }

    /// Groups of the batch.
    pub(super) fn groups(&self) -> usize {
        (self.sizes.batch * self.rows).div_ceil(self.rows_per_group)
    }

    /// The tiles of a group, at most.
    pub(super) fn group_size(&self) -> usize {
        self.rows_per_group * self.columns
    }

    /// The rows of tiles of a group.
    fn rows_of(&self, group: usize) -> Range<usize> {
        let first = group * self.rows_per_group;
        first..(first + self.rows_per_group).min(self.sizes.batch * self.rows)
    }

    /// The tiles of a group.
    pub(super) fn of_group(&self, group: usize) -> Range<usize> {
        let Range { start, end } = self.rows_of(group);
        start * self.columns..end * self.columns
    }

    /// The output rows of a group, of all images one after the other.
    pub(super) fn output_rows(&self, group: usize) -> Range<usize> {
        let height = self.sizes.sides()[0];
        let row = |row: usize| row / self.rows * height + (row % self.rows * self.side).min(height);
        let Range { start, end } = self.rows_of(group);
        row(start)..row(end)
    }

    pub(super) fn tile(&self, tile: usize) -> Tile {
        let row = tile / self.columns;
        Tile { image: row / self.rows, row: row % self.rows * self.side, column: tile % self.columns * self.side }
    }

    /// Numbers from one tile's channels to the next's.
    pub(super) fn stride(channels: usize, lanes: usize) -> usize {
        channels.next_multiple_of(lanes) + APART
    }
}

/// Images of which some tiles are transformed.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    /// `[image, row, column, channel]`.
    pub(super) numbers: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Zeros around an image, on each side.
    pub(super) padding: usize,
}

impl Pixels<'_> {
    /// A square of pixels of a channel register, `[row][column]`: row and column are those of the padded image. Zeros are beyond the image.
    #[inline(always)]
    fn square<S: Simd, const N: usize>(&self, simd: S, tile: &Tile, side: usize, channel: usize) -> [[S::f32s; N]; N] {
        let Self { numbers, height, width, channels, padding } = *self;
        let image = &numbers[tile.image * height * width * channels..][..height * width * channels];
        let count = S::F32_LANES.min(channels - channel);
        let mut square = [[simd.splat_f32s(0.0); N]; N];
        let is_inside = |first: usize, length: usize| first >= padding && first + side <= length + padding;
        if is_inside(tile.row, height) && is_inside(tile.column, width) && count == S::F32_LANES {
            let first = ((tile.row - padding) * width + tile.column - padding) * channels + channel;
            for row in 0..side.min(N) {
                let line = &image[first + row * width * channels..][..(side - 1) * channels + S::F32_LANES];
                for column in 0..side.min(N) {
                    square[row][column] = S::as_simd_f32s(&line[column * channels..][..S::F32_LANES]).0[0];
                }
            }
            return square;
        }
        let inside = |first: usize, at: usize, length: usize| (first + at).checked_sub(padding).filter(|at| *at < length);
        for row in 0..side.min(N) {
            let Some(y) = inside(tile.row, row, height) else { continue };
            for column in 0..side.min(N) {
                let Some(x) = inside(tile.column, column, width) else { continue };
                square[row][column] = load(simd, &image[(y * width + x) * channels + channel..][..count]);
            }
        }
        square
    }

    /// Bᵀ d B of some tiles: `[product, tile, channel]`, for `capacity` tiles.
    #[inline(always)]
    pub(super) fn transform<S: Simd, T: Scheme>(&self, simd: S, tiles: &Tiles, some: Range<usize>, capacity: usize, to: &mut [f32]) {
        let stride = Tiles::stride(self.channels, S::F32_LANES) / S::F32_LANES;
        let (to, _) = S::as_mut_simd_f32s(to);
        for (index, tile) in some.enumerate() {
            let tile = tiles.tile(tile);
            for register in 0..self.channels.div_ceil(S::F32_LANES) {
                let d = self.square::<S, MOST>(simd, &tile, T::SIDE, register * S::F32_LANES);
                let mut half = [[simd.splat_f32s(0.0); MOST]; MOST];
                for column in 0..T::SIDE {
                    let transformed = T::pixels(simd, [0, 1, 2, 3, 4, 5].map(|row| d[row][column]));
                    for row in 0..T::SIDE {
                        half[row][column] = transformed[row];
                    }
                }
                for row in 0..T::SIDE {
                    let transformed = T::pixels(simd, half[row]);
                    for column in 0..T::SIDE {
                        to[((row * T::SIDE + column) * capacity + index) * stride + register] = transformed[column];
                    }
                }
            }
        }
    }

    /// A y Aᵀ of some tiles of a gradient, as [`Pixels::transform`].
    #[inline(always)]
    pub(super) fn transform_gradient<S: Simd, T: Scheme>(
        &self,
        simd: S,
        tiles: &Tiles,
        some: Range<usize>,
        capacity: usize,
        to: &mut [f32],
    ) {
        let stride = Tiles::stride(self.channels, S::F32_LANES) / S::F32_LANES;
        let (to, _) = S::as_mut_simd_f32s(to);
        for (index, tile) in some.enumerate() {
            let tile = tiles.tile(tile);
            for register in 0..self.channels.div_ceil(S::F32_LANES) {
                let y = self.square::<S, 4>(simd, &tile, T::OUTPUTS, register * S::F32_LANES);
                let mut half = [[simd.splat_f32s(0.0); 4]; MOST];
                for column in 0..T::OUTPUTS {
                    let transformed = T::gradient(simd, [0, 1, 2, 3].map(|row| y[row][column]));
                    for row in 0..T::SIDE {
                        half[row][column] = transformed[row];
                    }
                }
                for row in 0..T::SIDE {
                    let transformed = T::gradient(simd, half[row]);
                    for column in 0..T::SIDE {
                        to[((row * T::SIDE + column) * capacity + index) * stride + register] = transformed[column];
                    }
                }
            }
        }
    }
}

/// The products of some tiles with the kernels: panel by panel `[product][tile, register]`, those of a product and panel one after the other.
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    pub(super) numbers: &'a [f32],
    /// Registers of all outputs.
    pub(super) registers: usize,
    /// The tiles that there is room for.
    pub(super) capacity: usize,
}

impl Products<'_> {
    /// Aᵀ m A of a tile's output register, the register's panel being `width` from register `first` on.
    #[inline(always)]
    pub(super) fn outputs<S: Simd, T: Scheme>(
        &self,
        simd: S,
        tile: usize,
        register: usize,
        (first, width): (usize, usize),
    ) -> [[S::f32s; 4]; 4] {
        let (numbers, _) = S::as_simd_f32s(self.numbers);
        let start = first * self.capacity + tile * width + register - first;
        let plane = self.registers * self.capacity;
        let mut half = [[simd.splat_f32s(0.0); MOST]; 4];
        for column in 0..T::SIDE {
            let mut m = [simd.splat_f32s(0.0); MOST];
            for row in 0..T::SIDE {
                m[row] = numbers[start + (row * T::SIDE + column) * plane];
            }
            let outputs = T::outputs(simd, m);
            for row in 0..T::OUTPUTS {
                half[row][column] = outputs[row];
            }
        }
        let mut out = [[simd.splat_f32s(0.0); 4]; 4];
        for row in 0..T::OUTPUTS {
            out[row] = T::outputs(simd, half[row]);
        }
        out
    }
}
