//! A convolution block by block, each the product of patches and weights.

use std::ops::Range;

use gemm::Parallelism;
use pulp::{Simd, WithSimd};

use super::Convolution;
use super::convolution::Pass;
use super::planes::{self, Planes};
use crate::fill::{Size, filled};
use crate::scratch::{self, Aligned};
use crate::split::each;

/// Numbers of the patches of a block, at most: they stay in the second cache.
const PATCHES: usize = 1 << 17;
/// Positions of a block: from so many on a product is as fast as any.
const POSITIONS: Range<usize> = 64..256;
/// Output channels of a block, at least, where an image has fewer than so many bands.
const OUTPUTS: usize = 96;
const BLOCKS: usize = 8;

/// How an image is divided. It follows from the convolution alone.
#[derive(Clone, Copy)]
pub(super) struct Blocks {
    /// Output rows of a block.
    rows: usize,
    /// Bands of so many rows.
    pub(super) bands: usize,
    /// Output channels of a block, all of one group.
    outputs: usize,
}

impl Blocks {
    pub(super) fn of(convolution: &Convolution) -> Self {
        let [height, width] = convolution.sides();
        let positions = (PATCHES / convolution.taps()).clamp(POSITIONS.start, POSITIONS.end);
        let most = (positions / width).clamp(1, height);
        // Blocks of nearly the same size.
        let rows = height.div_ceil(height.div_ceil(most));
        let bands = height.div_ceil(rows);
        let all = convolution.outputs / convolution.groups;
        let most = (BLOCKS / bands).clamp(1, (all / OUTPUTS).max(1));
        let outputs = all.div_ceil(most).next_multiple_of(8).min(all);
        Self { rows, bands, outputs }
    }
}

pub(super) fn forward(pass: &Pass, batch: usize, threads: usize) -> Vec<f32> {
    let convolution = &pass.convolution;
    let size = convolution.outputs * convolution.positions();
    let blocks = Blocks::of(convolution);
    if threads == 1 || batch >= 4 * threads {
        let out = Size { length: batch * size, per_task: size };
        let task = |image, out: &mut [f32], _: &mut [u8]| pass.path.run(Whole { pass, blocks, image, out });
        return filled(threads, batch, out, Size::NONE, task).0;
    }
    let mut out = vec![0.0; batch * size];
    // Patches are made once for all output channels, unless that leaves threads without work.
    let apart = batch * convolution.groups * blocks.bands < 4 * threads;
    let tasks = regions(convolution, blocks, apart, &mut out);
    each(threads, tasks, &|region| pass.path.run(Task { pass, blocks, region }));
    out
}

/// A whole image.
struct Whole<'a> {
    pass: &'a Pass<'a>,
    blocks: Blocks,
    image: usize,
    out: &'a mut [f32],
}

impl WithSimd for Whole<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, blocks, image, out } = self;
        let convolution = &pass.convolution;
        let (positions, width) = (convolution.positions(), convolution.sides()[1]);
        let mut memory = Memory::of(pass, blocks);
        let of_group = convolution.outputs / convolution.groups;
        for (group, out) in out.chunks_exact_mut(of_group * positions).enumerate() {
            for band in 0..blocks.bands {
                let rows = row_range(convolution, blocks, band);
                let patches = Patches::of(simd, pass, image, group, rows.clone(), memory.as_mut());
                for first in (0..of_group).step_by(blocks.outputs) {
                    let outputs = blocks.outputs.min(of_group - first);
                    let out = &mut out[first * positions + rows.start * width..];
                    multiply(pass, &patches, group * of_group + first, outputs, out, positions);
                }
            }
        }
        let Some(bias) = pass.weights.bias else { return };
        for (channel, bias) in out.chunks_exact_mut(positions).zip(bias) {
            channel.iter_mut().for_each(|number| *number += bias);
        }
    }
}

/// Some rows of some output channels of an image: one or more blocks.
struct Region<'a> {
    image: usize,
    group: usize,
    band: usize,
    /// The first output channel.
    first: usize,
    /// The rows of each output channel.
    out: Vec<&'a mut [f32]>,
}

/// The regions of `out`: every block, or all blocks of the same rows of a group together.
fn regions<'a>(convolution: &Convolution, blocks: Blocks, apart: bool, out: &'a mut [f32]) -> Vec<Region<'a>> {
    let [_, width] = convolution.sides();
    let of_group = convolution.outputs / convolution.groups;
    let outputs = if apart { blocks.outputs } else { of_group };
    let mut regions: Vec<Region> = Vec::new();
    for (plane, numbers) in out.chunks_exact_mut(convolution.positions()).enumerate() {
        let (image, output) = (plane / convolution.outputs, plane % convolution.outputs);
        if (output % of_group).is_multiple_of(outputs) {
            let region = |band| Region { image, group: output / of_group, band, first: output, out: Vec::with_capacity(outputs) };
            regions.extend((0..blocks.bands).map(region));
        }
        let open = regions.len() - blocks.bands;
        numbers.chunks_mut(blocks.rows * width).zip(&mut regions[open..]).for_each(|(rows, region)| region.out.push(rows));
    }
    regions
}

struct Task<'a> {
    pass: &'a Pass<'a>,
    blocks: Blocks,
    region: Region<'a>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pass, blocks, region } = self;
        let convolution = &pass.convolution;
        let mut memory = Memory::of(pass, blocks);
        let patches = Patches::of(simd, pass, region.image, region.group, row_range(convolution, blocks, region.band), memory.as_mut());
        let mut block = scratch::any(blocks.outputs * patches.count);
        let mut first = region.first;
        let mut rest = region.out;
        while !rest.is_empty() {
            let after = rest.split_off(blocks.outputs.min(rest.len()));
            multiply(pass, &patches, first, rest.len(), &mut block, patches.count);
            for (output, (to, from)) in (first..).zip(rest.iter_mut().zip(block.chunks_exact(patches.count))) {
                match pass.weights.bias {
                    None => to.copy_from_slice(from),
                    Some(bias) => to.iter_mut().zip(from).for_each(|(to, from)| *to = from + bias[output]),
                }
            }
            first += rest.len();
            rest = after;
        }
    }
}

pub(super) fn row_range(convolution: &Convolution, blocks: Blocks, band: usize) -> Range<usize> {
    let first = band * blocks.rows;
    first..(first + blocks.rows).min(convolution.sides()[0])
}

/// Memory for the patches of a block; none where they are the image itself.
pub(super) struct Memory {
    planes: Planes,
    of_planes: planes::Memory,
    patches: Aligned,
}

impl Memory {
    pub(super) fn of(pass: &Pass, blocks: Blocks) -> Option<Self> {
        let (convolution, lanes) = (&pass.convolution, pass.path.lanes);
        if convolution.is_pointwise() {
            return None;
        }
        let planes = Planes::of(convolution, blocks.rows, lanes, lanes);
        let patches = scratch::any(convolution.taps() * blocks.rows * convolution.sides()[1] + lanes);
        Some(Self { of_planes: planes.memory(), planes, patches })
    }
}

/// The inputs of a group at some output positions: for every tap of a kernel, a number for each position.
pub(super) struct Patches<'a> {
    pub(super) numbers: &'a [f32],
    /// Positions.
    pub(super) count: usize,
    /// Steps from one tap to the next.
    pub(super) stride: usize,
}

impl<'a> Patches<'a> {
    /// The patches of these output rows.
    #[inline(always)]
    pub(super) fn of<S: Simd>(
        simd: S,
        pass: &Pass<'a>,
        image: usize,
        group: usize,
        rows: Range<usize>,
        memory: Option<&'a mut Memory>,
    ) -> Self {
        let convolution = &pass.convolution;
        let (inputs, area) = (convolution.inputs / convolution.groups, convolution.area());
        let channels = &pass.images[(image * convolution.inputs + group * inputs) * area..][..inputs * area];
        let width = convolution.sides()[1];
        let count = rows.len() * width;
        let Some(memory) = memory else {
            return Self { numbers: &channels[rows.start * width..], count, stride: area };
        };
        let Memory { planes, of_planes, patches } = memory;
        let taps = planes.starts().len();
        for input in 0..inputs {
            planes.load(simd, &channels[input * area..][..area], rows.start, of_planes);
            for tap in 0..taps {
                for row in 0..rows.len() {
                    let from = &of_planes.planes[planes.starts()[tap] + row * planes.width()..];
                    copy_over::<S>(from, width, &mut patches[(input * taps + tap) * count + row * width..]);
                }
            }
        }
        Self { numbers: patches, count, stride: count }
    }
}

/// Copies `count` numbers in whole registers, two at a time: rows are short, and a loop over single registers becomes a call of the C library for each.
#[inline(always)]
fn copy_over<S: Simd>(from: &[f32], count: usize, to: &mut [f32]) {
    let registers = count.div_ceil(S::F32_LANES);
    let ((from, _), (to, _)) = (S::as_simd_f32s(from), S::as_mut_simd_f32s(to));
    let ((twos, rest), (to_twos, to_rest)) = (from[..registers].as_chunks::<2>(), to[..registers].as_chunks_mut::<2>());
    for ([first, second], [to_first, to_second]) in twos.iter().zip(to_twos) {
        (*to_first, *to_second) = (*first, *second);
    }
    if let ([last], [to]) = (rest, to_rest) {
        *to = *last;
    }
}

/// `outputs` channels from `first` on at the positions of `patches`. In `out` a channel begins every `stride` numbers.
///
/// # Panics
///
/// When a matrix reaches beyond its slice.
fn multiply(pass: &Pass, patches: &Patches, first: usize, outputs: usize, out: &mut [f32], stride: usize) {
    let taps = pass.convolution.taps();
    let weights = &pass.weights.kernel[first * taps..][..outputs * taps];
    assert!(patches.count > 0 && outputs > 0 && taps > 0, "a product of nothing");
    assert!((taps - 1) * patches.stride + patches.count <= patches.numbers.len(), "patches beyond their numbers");
    assert!(patches.count <= stride && (outputs - 1) * stride + patches.count <= out.len(), "a block beyond its numbers");
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: by the assertions and the slicing above every element of all three matrices is within its slice, and `out` is borrowed by nobody else.
    unsafe {
        gemm::gemm(
            patches.count,
            outputs,
            taps,
            out.as_mut_ptr(),
            stride.cast_signed(),
            1,
            false,
            patches.numbers.as_ptr(),
            patches.stride.cast_signed(),
            1,
            weights.as_ptr(),
            taps.cast_signed(),
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
