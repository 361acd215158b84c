//! The backward pass.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::forward::check;
use super::{Addition, Affine, Sizes, Steps, is_larger};
use crate::buffers;
use crate::registers::{for_each_register, load, store};
use crate::simd::Path;

/// Numbers of a task, about: sums within one are float32.
const TASK: usize = 1 << 15;

/// The statistics of a batch by which it was normalized.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// The mean of each channel.
    pub mean: &'a [f32],
    /// The biased variance of each channel.
    pub variance: &'a [f32],
    /// Added to the variance.
    pub epsilon: f64,
}

/// What the backward pass needs of the forward pass, beside the images.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// The sizes of the images.
    pub sizes: Sizes,
    /// What was computed.
    pub steps: Steps,
    /// With these factors.
    pub affine: &'a Affine,
    /// What was added, or empty.
    pub other: &'a [f32],
    /// The statistics, through which the gradient goes, too; none where the factors do not depend on the images.
    pub normalization: Option<Normalization<'a>>,
}

/// What the backward pass gives.
#[derive(Debug)]
pub struct Gradients {
    /// Those of the images.
    pub images: Vec<f32>,
    /// That of what was added before the activation; empty otherwise. What is added after it has that of the output.
    pub other: Vec<f32>,
    /// Those of the factors: of γ where there is a normalization; else of the scale.
    pub scale: Vec<f32>,
    /// Those of the summands: of β, or of the bias.
    pub shift: Vec<f32>,
}

/// The gradients for that of the output, with the statistics' share as in Ioffe and Szegedy 2015, section 3. Those of the images take the place of the images, which saves
/// as much memory again.
///
/// # Panics
///
/// When the slices are not of the sizes.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "gradients are float32")]
pub fn backward(path: Path, mut images: Vec<f32>, saved: &Saved, gradient: &[f32], threads: usize) -> Gradients {
    let Saved { sizes, steps, affine, other, normalization } = *saved;
    check(sizes, steps, &images, affine, other);
    let Sizes { batch, height, width, channels } = sizes;
    let [rows, columns] = sizes.sides(steps);
    assert_eq!(gradient.len(), batch * rows * columns * channels, "a gradient for {sizes:?}");
    // Each channel's number that distances are measured from.
    let zeros = vec![0.0; channels];
    let mean = normalization.map_or(zeros.as_slice(), |statistics| statistics.mean);
    let tasks = Tasks::of(sizes, steps);
    let sums = |task: usize| {
        let mut sums = vec![0.0; 2 * channels];
        path.run(SumsOfLines { saved, images: &images, gradient, mean, lines: tasks.lines(task), sums: &mut sums });
        sums
    };
    let sums: Vec<Vec<f32>> =
        if threads == 1 { (0..tasks.count).map(sums).collect() } else { (0..tasks.count).into_par_iter().map(sums).collect() };
    let mut total = vec![0.0_f64; 2 * channels];
    sums.iter().for_each(|sums| total.iter_mut().zip(sums).for_each(|(to, from)| *to += f64::from(*from)));
    let (of_shift, of_scale) = total.split_at(channels);
    let count = (batch * height * width) as f64;
    // The gradient of an image is scale·d + slope·x + constant.
    let factors = (0..channels).map(|c| {
        let Some(Normalization { variance, epsilon, .. }) = normalization else { return (0.0, 0.0, of_scale[c] as f32) };
        let inverse = (f64::from(variance[c]) + epsilon).sqrt().recip();
        let scale = f64::from(affine.scale[c]);
        let slope = -scale * inverse * inverse * of_scale[c] / count;
        let constant = -scale * of_shift[c] / count - slope * f64::from(mean[c]);
        (slope as f32, constant as f32, (of_scale[c] * inverse) as f32)
    });
    let (mut slope, mut constant, mut scale) = (Vec::new(), Vec::new(), Vec::new());
    factors.for_each(|(s, c, of_scale)| {
        slope.push(s);
        constant.push(c);
        scale.push(of_scale);
    });
    let mut of_other = buffers::any(if steps.addition == Addition::Before { images.len() } else { 0 });
    let (mut images_left, mut other_left) = (images.as_mut_slice(), of_other.as_mut_slice());
    let chunks = |task: usize| {
        let length = tasks.image_rows(task).len() * width * channels;
        let other = other_left.split_off_mut(..length.min(other_left.len())).unwrap_or_default();
        (task, images_left.split_off_mut(..length).unwrap_or_default(), other)
    };
    let chunks: Vec<_> = (0..tasks.count).map(chunks).collect();
    let replace = |(task, images, of_other)| {
        path.run(Replace { saved, gradient, slope: &slope, constant: &constant, tasks, task, images, of_other });
    };
    if threads == 1 {
        chunks.into_iter().for_each(replace);
    } else {
        chunks.into_par_iter().for_each(replace);
    }
    Gradients { images, other: of_other, scale, shift: of_shift.iter().map(|sum| *sum as f32).collect() }
}

/// The work divided by lines of the output, whole images' lines one after the other. It depends on the sizes alone.
#[derive(Clone, Copy)]
struct Tasks {
    sizes: Sizes,
    has_pool: bool,
    /// Output lines of an image.
    rows: usize,
    lines: usize,
    count: usize,
}

impl Tasks {
    fn of(sizes: Sizes, steps: Steps) -> Self {
        let [rows, _] = sizes.sides(steps);
        let input_lines = if steps.has_pool { 2 } else { 1 };
        let lines = TASK.div_ceil((input_lines * sizes.width * sizes.channels).max(1));
        let count = (sizes.batch * rows).div_ceil(lines);
        Self { sizes, has_pool: steps.has_pool, rows, lines, count }
    }

    /// The output lines of a task.
    fn lines(&self, task: usize) -> Range<usize> {
        task * self.lines..((task + 1) * self.lines).min(self.sizes.batch * self.rows)
    }

    /// The rows of the images of a task. A last row that a pool leaves out belongs to the line before it.
    fn image_rows(&self, task: usize) -> Range<usize> {
        let row = |line: usize| {
            let (image, line) = (line / self.rows, line % self.rows);
            image * self.sizes.height + if self.has_pool { 2 * line } else { line }
        };
        let Range { start, end } = self.lines(task);
        row(start)..row(end)
    }
}

/// An output line: where it begins, and where the lines of the images under it do.
#[derive(Clone, Copy)]
struct Line {
    out: usize,
    images: usize,
    /// Pixels of the output.
    columns: usize,
}

impl Line {
    fn of(sizes: Sizes, steps: Steps, line: usize) -> Self {
        let Sizes { height, width, channels, .. } = sizes;
        let [rows, columns] = sizes.sides(steps);
        let row = if steps.has_pool { line / rows * height + line % rows * 2 } else { line };
        Self { out: line * columns * channels, images: row * width * channels, columns }
    }
}

/// The gradient of z at one output pixel of a line, for a register of channels, and x there: `visit` gets both, and the images, for each place under the pixel.
///
/// Pixel by pixel all numbers are read in the order of memory.
#[inline(always)]
fn for_each_place<S: Simd, I: AsRef<[f32]>>(
    simd: S,
    saved: &Saved,
    mut images: I,
    gradient: &[f32],
    (line, column): (Line, usize),
    (channel, count): (usize, usize),
    mut visit: impl FnMut(&mut I, usize, S::f32s, S::f32s),
) {
    let Saved { sizes: Sizes { width, channels, .. }, steps, affine, other, .. } = *saved;
    let at = |numbers: &[f32], first: usize| load(simd, &numbers[first + channel..][..count]);
    let (scale, shift) = (at(&affine.scale, 0), at(&affine.shift, 0));
    let out = line.out + column * channels;
    let gradient = at(gradient, out);
    if !steps.has_pool {
        let place = line.images + column * channels;
        let x = at(images.as_ref(), place);
        let mut z = simd.mul_add_e_f32s(x, scale, shift);
        if steps.addition == Addition::Before {
            z = simd.add_f32s(z, at(other, out));
        }
        visit(&mut images, place, x, steps.activation.gradient(simd, z, gradient));
        return;
    }
    let zero = simd.splat_f32s(0.0);
    let first = line.images + 2 * column * channels;
    let places = [first, first + channels, first + width * channels, first + (width + 1) * channels];
    // One by one: `map` of an array would be called, and compiled without vector instructions.
    let from = images.as_ref();
    let x = [at(from, places[0]), at(from, places[1]), at(from, places[2]), at(from, places[3])];
    let mut z = x;
    for z in &mut z {
        *z = simd.mul_add_e_f32s(*z, scale, shift);
    }
    // The first of equal ones is the largest.
    let mut largest = z[0];
    for z in &z[1..] {
        largest = simd.select_f32s(is_larger(simd, *z, largest), *z, largest);
    }
    let mut left = steps.activation.gradient(simd, largest, gradient);
    for i in 0..4 {
        let is_largest = simd.equal_f32s(z[i], largest);
        visit(&mut images, places[i], x[i], simd.select_f32s(is_largest, left, zero));
        left = simd.select_f32s(is_largest, zero, left);
    }
}

/// The sums of d and of d·(x − mean) of some lines, d the gradient of z: those of d, then the others.
struct SumsOfLines<'a> {
    saved: &'a Saved<'a>,
    images: &'a [f32],
    gradient: &'a [f32],
    mean: &'a [f32],
    lines: Range<usize>,
    sums: &'a mut [f32],
}

impl WithSimd for SumsOfLines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { saved, images, gradient, mean, lines, sums } = self;
        let channels = saved.sizes.channels;
        let mut excess = vec![0.0; 2 * channels];
        let mut of_line = vec![0.0; 2 * channels];
        for line in lines {
            let line = Line::of(saved.sizes, saved.steps, line);
            of_line.fill(0.0);
            let (all, products) = of_line.split_at_mut(channels);
            for column in 0..line.columns {
                for_each_register::<S>(
                    0..channels,
                    #[inline(always)]
                    |channel, count| {
                        let (all, products) = (&mut all[channel..][..count], &mut products[channel..][..count]);
                        let mean = load(simd, &mean[channel..][..count]);
                        let (mut sum, mut sum_of_products) = (load(simd, all), load(simd, products));
                        for_each_place(
                            simd,
                            saved,
                            images,
                            gradient,
                            (line, column),
                            (channel, count),
                            #[inline(always)]
                            |_, _, x, d| {
                                sum = simd.add_f32s(sum, d);
                                sum_of_products = simd.mul_add_e_f32s(d, simd.sub_f32s(x, mean), sum_of_products);
                            },
                        );
                        store(simd, all, sum);
                        store(simd, products, sum_of_products);
                    },
                );
            }
            add_exactly(sums, &mut excess, &of_line);
        }
    }
}

/// Adds numbers to sums, with what rounding took from each (Kahan 1965).
#[inline(always)]
fn add_exactly(sums: &mut [f32], excess: &mut [f32], numbers: &[f32]) {
    for ((sum, excess), number) in sums.iter_mut().zip(excess).zip(numbers) {
        let corrected = number - *excess;
        let next = *sum + corrected;
        *excess = (next - *sum) - corrected;
        *sum = next;
    }
}

/// Puts the gradient of the images of a task in their place, and d where something is added before the activation.
struct Replace<'a> {
    saved: &'a Saved<'a>,
    gradient: &'a [f32],
    slope: &'a [f32],
    constant: &'a [f32],
    tasks: Tasks,
    task: usize,
    images: &'a mut [f32],
    of_other: &'a mut [f32],
}

impl WithSimd for Replace<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { saved, gradient, slope, constant, tasks, task, images, of_other } = self;
        let Saved { sizes: Sizes { height, width, channels, .. }, steps, affine, .. } = *saved;
        let rows = tasks.image_rows(task);
        for line in tasks.lines(task) {
            let mut line = Line::of(saved.sizes, steps, line);
            line.images -= rows.start * width * channels;
            for column in 0..line.columns {
                for_each_register::<S>(
                    0..channels,
                    #[inline(always)]
                    |channel, count| {
                        let at = |numbers: &[f32]| load(simd, &numbers[channel..][..count]);
                        let (scale, slope, constant) = (at(&affine.scale), at(slope), at(constant));
                        for_each_place(
                            simd,
                            saved,
                            &mut *images,
                            gradient,
                            (line, column),
                            (channel, count),
                            #[inline(always)]
                            |images, place, x, d| {
                                let rest = simd.mul_add_e_f32s(x, slope, constant);
                                store(simd, &mut images[place + channel..][..count], simd.mul_add_e_f32s(d, scale, rest));
                                if steps.addition == Addition::Before {
                                    store(simd, &mut of_other[place + channel..][..count], d);
                                }
                            },
                        );
                    },
                );
            }
        }
        if tasks.has_pool && (height % 2 == 1 || width % 2 == 1) {
            // What the pool leaves out.
            for (row, line) in rows.zip(images.chunks_exact_mut(width * channels)) {
                let is_left_out = row % height == height / 2 * 2;
                for column in if is_left_out { 0..width } else { width / 2 * 2..width } {
                    let pixel = &mut line[column * channels..][..channels];
                    for_each_register::<S>(
                        0..channels,
                        #[inline(always)]
                        |channel, count| {
                            let at = |numbers: &[f32]| load(simd, &numbers[channel..][..count]);
                            let numbers = &mut pixel[channel..][..count];
                            let rest = simd.mul_add_e_f32s(load(simd, numbers), at(slope), at(constant));
                            store(simd, numbers, rest);
                        },
                    );
                }
            }
        }
    }
}
