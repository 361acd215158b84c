//! The gradient of the weights: Gᵀ[Σ (Bᵀ d B) ⊙ (A y Aᵀ)]G over all tiles, d their pixels and y the gradient of their outputs.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Sizes;
use super::kernels::{Tile, gradient_of_weights};
use super::scheme::{F2, F4, Scheme};
use super::tiles::{Pixels, Tiles};
use crate::panels::{Rows, add_products, panels, widest};
use crate::scratch;
use crate::simd::Path;

/// Tiles that are transformed before their products are added, about.
const SHARED: usize = 192;

/// The gradient of the weights, `[output, input, 3, 3]`.
///
/// # Shapes
///
/// - images: `[image, row, column, input]`
/// - gradient: `[image, row, column, output]`
///
/// # Panics
///
/// When the slices are not of these sizes.
#[must_use]
pub fn weight_gradient(path: Path, tile: Tile, sizes: Sizes, images: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!([images.len(), gradient.len()], [sizes.input_size(), sizes.output_size()], "slices for {sizes:?}");
    match tile {
        Tile::Four => run::<F4>(path, sizes, images, gradient),
        Tile::Two => run::<F2>(path, sizes, images, gradient),
    }
}

fn run<T: Scheme>(path: Path, sizes: Sizes, images: &[f32], gradient: &[f32]) -> Vec<f32> {
    let tiles = Tiles::of::<T>(sizes);
    let [rows, columns] = sizes.sides();
    let pixels = Pixels { numbers: images, height: sizes.height, width: sizes.width, channels: sizes.inputs, padding: sizes.padding };
    let slopes = Pixels { numbers: gradient, height: rows, width: columns, channels: sizes.outputs, padding: 0 };
    let (count, capacity) = (T::SIDE * T::SIDE, tiles.group_size());
    let [of_pixels, of_slopes] = [sizes.inputs, sizes.outputs].map(|channels| Tiles::stride(channels, path.lanes));
    let registers = sizes.outputs.div_ceil(path.lanes);
    if tiles.groups() == 0 {
        return vec![0.0; 9 * sizes.inputs * sizes.outputs];
    }
    let panels: Vec<(usize, usize)> = panels(registers, widest(path.registers)).collect();
    let mut sums = scratch::shared(count * sizes.inputs * registers * path.lanes);
    let batch = (SHARED / capacity).max(1).min(tiles.groups().max(1));
    let mut transformed = scratch::shared(batch * count * capacity * of_pixels);
    let mut transformed_slopes = scratch::shared(batch * count * capacity * of_slopes);
    for first in (0..tiles.groups()).step_by(batch) {
        let groups = first..(first + batch).min(tiles.groups());
        let chunks = transformed.par_chunks_exact_mut(count * capacity * of_pixels);
        let chunks = chunks.zip(transformed_slopes.par_chunks_exact_mut(count * capacity * of_slopes)).zip(groups.clone());
        chunks.for_each(|((to, to_slopes), group)| {
            path.run(Transform::<T> { pixels, slopes, tiles: &tiles, group, to, to_slopes, scheme: PhantomData });
        });
        let mut rest = &mut *sums;
        let mut tasks = Vec::with_capacity(count * panels.len());
        for product in 0..count {
            for (first, width) in &panels {
                let (sums, after) = rest.split_at_mut(sizes.inputs * width * path.lanes);
                tasks.push((product, (*first, *width), sums));
                rest = after;
            }
        }
        tasks.into_par_iter().for_each(|(product, panel, sums)| {
            let (pixels, slopes) = ((&*transformed, of_pixels), (&*transformed_slopes, of_slopes));
            path.run(Add { pixels, slopes, tiles: &tiles, groups: groups.clone(), count, product, panel, sums, are_first: first == 0 });
        });
    }
    gradient_of_weights::<T>(path, &sums, [sizes.inputs, sizes.outputs], &panels)
}

/// The transforms of a group.
struct Transform<'a, T> {
    pixels: Pixels<'a>,
    slopes: Pixels<'a>,
    tiles: &'a Tiles,
    group: usize,
    to: &'a mut [f32],
    to_slopes: &'a mut [f32],
    scheme: PhantomData<T>,
}

impl<T: Scheme> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels, slopes, tiles, group, to, to_slopes, .. } = self;
        pixels.transform::<S, T>(simd, tiles, tiles.of_group(group), tiles.group_size(), to);
        slopes.transform_gradient::<S, T>(simd, tiles, tiles.of_group(group), tiles.group_size(), to_slopes);
    }
}

/// Adds the products of some groups to those of a product and a panel.
struct Add<'a> {
    /// Each with the numbers from one tile to the next.
    pixels: (&'a [f32], usize),
    slopes: (&'a [f32], usize),
    tiles: &'a Tiles,
    groups: Range<usize>,
    count: usize,
    product: usize,
    panel: (usize, usize),
    sums: &'a mut [f32],
    are_first: bool,
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels, slopes, tiles, groups, count, product, panel: (first, width), sums, are_first } = self;
        let (sums, _) = S::as_mut_simd_f32s(sums);
        let ((pixels, stride), (slopes, slopes_stride)) = (pixels, slopes);
        let inputs = tiles.sizes.inputs;
        for (index, group) in groups.enumerate() {
            let plane = (index * count + product) * tiles.group_size();
            let left = Rows { numbers: &pixels[plane * stride..], stride, count: tiles.of_group(group).len() };
            let (right, _) = S::as_simd_f32s(&slopes[plane * slopes_stride + first * S::F32_LANES..]);
            add_products(simd, left, inputs, (right, slopes_stride / S::F32_LANES), width, sums, are_first && index == 0);
        }
    }
}
