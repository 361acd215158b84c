//! The forward pass, which is the gradient of the images, too, with turned kernels.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Sizes;
use super::kernels::{Kernels, Tile};
use super::scheme::{F2, F4, Scheme};
use super::tiles::{Pixels, Products, Tiles};
use crate::fill::filled_in_batches;
use crate::moments::Moments;
use crate::panels::{Rows, multiply, panels, widest};
use crate::registers::store;
use crate::scratch;

/// Kernels with more numbers than this are read once for many groups.
const LARGE: usize = 1 << 21;
/// Tiles of such groups, about.
const SHARED: usize = 256;

/// What a pass computes.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The kernels.
    pub kernels: &'a Kernels,
    /// `[image, row, column, input]`.
    pub images: &'a [f32],
    /// Their sizes.
    pub sizes: Sizes,
    /// Whether mean and variance of each output channel are computed.
    pub has_moments: bool,
}

/// The convolution, `[image, row, column, output]`, and the moments of its channels, where they are asked for. With `threads` 1 the caller's thread does all.
///
/// # Panics
///
/// When the sizes are not those of the images and kernels.
#[must_use]
pub fn forward(pass: &Pass, threads: usize) -> (Vec<f32>, Option<Moments>) {
    let Pass { kernels, images, sizes, .. } = *pass;
    assert_eq!([kernels.inputs, kernels.outputs, images.len()], [sizes.inputs, sizes.outputs, sizes.input_size()], "slices for {sizes:?}");
    match kernels.tile {
        Tile::Four => run::<F4>(pass, threads),
        Tile::Two => run::<F2>(pass, threads),
    }
}

/// The transformed pixels of some groups, and their products with the kernels.
struct Shared {
    groups: Range<usize>,
    pixels: scratch::Shared,
    products: scratch::Shared,
}

fn run<T: Scheme>(pass: &Pass, threads: usize) -> (Vec<f32>, Option<Moments>) {
    let Pass { kernels, images, sizes, has_moments } = *pass;
    let Kernels { path, .. } = *kernels;
    let tiles = Tiles::of::<T>(sizes);
    let columns = sizes.sides()[1];
    let lengths: Vec<usize> = (0..tiles.groups()).map(|group| tiles.output_rows(group).len() * columns * sizes.outputs).collect();
    let pixels = Pixels { numbers: images, height: sizes.height, width: sizes.width, channels: sizes.inputs, padding: sizes.padding };
    let shape = Shape::of::<T>(kernels, tiles.group_size());
    let is_large = kernels.numbers.len() > LARGE && threads > 1;
    let batch = if is_large { SHARED.div_ceil(tiles.group_size()) } else { lengths.len() };
    let before = |shared: &mut Shared, groups: Range<usize>| {
        if !is_large {
            return;
        }
        let count = groups.len();
        let Shared { pixels: transformed, products, .. } = shared;
        let (transformed, products) = (&mut transformed[..count * shape.pixels()], &mut products[..count * shape.products()]);
        transformed.par_chunks_exact_mut(shape.pixels()).zip(groups.clone()).for_each(|(to, group)| {
            path.run(Transform::<T> { pixels, tiles: &tiles, group, to, scheme: PhantomData });
        });
        multiply_all(kernels, shape, &tiles, groups.clone(), transformed, products);
        shared.groups = groups;
    };
    let task = |shared: &Shared, group: usize, out: &mut [f32]| {
        if is_large {
            let products = Products { numbers: &shared.products, registers: shape.registers, capacity: shape.tiles * shared.groups.len() };
            let first = (group - shared.groups.start) * shape.tiles;
            path.run(Restore::<T> { products, first, tiles: &tiles, group, out, scheme: PhantomData });
        } else {
            path.run(Whole::<T> { kernels, pixels, tiles: &tiles, shape, group, out, scheme: PhantomData });
        }
        has_moments.then(|| Moments::of(path, out, sizes.outputs))
    };
    let most = if is_large { batch.min(tiles.groups()) } else { 0 };
    let mut shared =
        Shared { groups: 0..0, pixels: scratch::shared(most * shape.pixels()), products: scratch::shared(most * shape.products()) };
    let (out, moments) = filled_in_batches(threads, &lengths, batch, &mut shared, before, task);
    (out, Moments::joined(moments.into_iter().flatten()))
}

/// The sizes of what a group is computed with.
#[derive(Clone, Copy)]
struct Shape {
    /// Numbers multiplied for a tile and a pair of channels.
    count: usize,
    /// Tiles of a group.
    tiles: usize,
    /// Numbers from one tile's channels to the next's.
    stride: usize,
    /// Registers of output channels.
    registers: usize,
    lanes: usize,
}

impl Shape {
    fn of<T: Scheme>(kernels: &Kernels, tiles: usize) -> Self {
        let lanes = kernels.path.lanes;
        let stride = Tiles::stride(kernels.inputs, lanes);
        Self { count: T::SIDE * T::SIDE, tiles, stride, registers: kernels.outputs.div_ceil(lanes), lanes }
    }

    /// Numbers of the transformed pixels of a group.
    const fn pixels(self) -> usize {
        self.count * self.tiles * self.stride
    }

    /// Numbers of its products.
    const fn products(self) -> usize {
        self.count * self.tiles * self.registers * self.lanes
    }
}

/// The products of some groups, `[product]`, in each panel by panel `[tile, register]`: each product and panel by one thread.
fn multiply_all(kernels: &Kernels, shape: Shape, tiles: &Tiles, groups: Range<usize>, pixels: &[f32], products: &mut [f32]) {
    let mut rest = products;
    let mut tasks = Vec::new();
    for product in 0..shape.count {
        for (first, width) in panels(shape.registers, widest(kernels.path.registers)) {
            let (to, after) = rest.split_at_mut(groups.len() * shape.tiles * width * shape.lanes);
            tasks.push((product, (first, width), to));
            rest = after;
        }
    }
    tasks.into_par_iter().for_each(|(product, panel, to)| {
        kernels.path.run(Multiply { kernels, shape, tiles, groups: groups.clone(), pixels, product, panel, to });
    });
}

/// One product of some groups with one panel.
struct Multiply<'a> {
    kernels: &'a Kernels,
    shape: Shape,
    tiles: &'a Tiles,
    groups: Range<usize>,
    pixels: &'a [f32],
    product: usize,
    panel: (usize, usize),
    to: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernels, shape, tiles, groups, pixels, product, panel: (first, width), to } = self;
        let (to, _) = S::as_mut_simd_f32s(to);
        let numbers = panel_of::<S>(kernels, shape, product, (first, width));
        for (index, group) in groups.enumerate() {
            let rows = Rows {
                numbers: &pixels[index * shape.pixels() + product * shape.tiles * shape.stride..],
                stride: shape.stride,
                count: tiles.of_group(group).len(),
            };
            multiply(simd, rows, width, numbers, &mut to[index * shape.tiles * width..], width);
        }
    }
}

/// The kernels of a product and a panel, `[input, register]`.
#[inline(always)]
fn panel_of<S: Simd>(kernels: &Kernels, shape: Shape, product: usize, (first, width): (usize, usize)) -> &[S::f32s] {
    let (numbers, _) = S::as_simd_f32s(&kernels.numbers);
    &numbers[(first * shape.count + product * width) * kernels.inputs..][..kernels.inputs * width]
}

/// The transformed pixels of a group.
struct Transform<'a, T> {
    pixels: Pixels<'a>,
    tiles: &'a Tiles,
    group: usize,
    to: &'a mut [f32],
    scheme: PhantomData<T>,
}

impl<T: Scheme> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels, tiles, group, to, .. } = self;
        pixels.transform::<S, T>(simd, tiles, tiles.of_group(group), tiles.group_size(), to);
    }
}

/// The outputs of a group from its products, whose first tile is `first`.
struct Restore<'a, T> {
    products: Products<'a>,
    first: usize,
    tiles: &'a Tiles,
    group: usize,
    out: &'a mut [f32],
    scheme: PhantomData<T>,
}

impl<T: Scheme> WithSimd for Restore<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, first, tiles, group, out, .. } = self;
        let (sizes, [height, width]) = (tiles.sizes, tiles.sizes.sides());
        let start = tiles.output_rows(group).start;
        for panel in panels(products.registers, widest(S::REGISTER_COUNT)) {
            for register in panel.0..panel.0 + panel.1 {
                let channel = register * S::F32_LANES;
                let count = S::F32_LANES.min(sizes.outputs - channel);
                for (index, tile) in tiles.of_group(group).enumerate() {
                    let outputs = products.outputs::<S, T>(simd, first + index, register, panel);
                    let tile = tiles.tile(tile);
                    let row = tile.image * height + tile.row - start;
                    let [rows, columns] = [height - tile.row, width - tile.column].map(|side| side.min(T::OUTPUTS));
                    for y in 0..rows {
                        for x in 0..columns {
                            let at = ((row + y) * width + tile.column + x) * sizes.outputs + channel;
                            store(simd, &mut out[at..at + count], outputs[y][x]);
                        }
                    }
                }
            }
        }
    }
}

/// A group from its pixels to its outputs, in memory of its own.
struct Whole<'a, T> {
    kernels: &'a Kernels,
    pixels: Pixels<'a>,
    tiles: &'a Tiles,
    shape: Shape,
    group: usize,
    out: &'a mut [f32],
    scheme: PhantomData<T>,
}

impl<T: Scheme> WithSimd for Whole<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernels, pixels, tiles, shape, group, out, scheme } = self;
        let mut transformed = scratch::any(shape.pixels());
        let mut products = scratch::any(shape.products());
        pixels.transform::<S, T>(simd, tiles, tiles.of_group(group), shape.tiles, &mut transformed);
        let count = tiles.of_group(group).len();
        {
            let (to, _) = S::as_mut_simd_f32s(&mut products);
            for product in 0..shape.count {
                let rows = Rows { numbers: &transformed[product * shape.tiles * shape.stride..], stride: shape.stride, count };
                for panel in panels(shape.registers, widest(S::REGISTER_COUNT)) {
                    let to = &mut to[(product * shape.registers + panel.0) * shape.tiles..];
                    multiply(simd, rows, panel.1, panel_of::<S>(kernels, shape, product, panel), to, panel.1);
                }
            }
        }
        let products = Products { numbers: &products, registers: shape.registers, capacity: shape.tiles };
        Restore::<T> { products, first: 0, tiles, group, out, scheme }.with_simd(simd);
    }
}
