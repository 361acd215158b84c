//! Images in memory, and their layout for the fused convolution.

use super::fill::{Size, filled};
use super::scratch;
use super::simd::Path;

/// The sizes of a convolution (stride 1) followed by a 2×2 max-pool (stride 2, an odd last row or column dropped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Zeros around the input, on each side.
    pub padding: usize,
}

impl Geometry {
    /// Rows after convolution and pooling.
    #[must_use]
    #[inline]
    pub const fn pooled_height(&self) -> usize {
        (self.height + 2 * self.padding + 1 - self.kernel) / 2
    }

    /// Columns after convolution and pooling.
    #[must_use]
    #[inline]
    pub const fn pooled_width(&self) -> usize {
        (self.width + 2 * self.padding + 1 - self.kernel) / 2
    }

    /// Positions after convolution and pooling.
    #[must_use]
    #[inline]
    pub const fn pooled(&self) -> usize {
        self.pooled_height() * self.pooled_width()
    }
}

/// Images of a batch in any memory layout: element `[n, c, y, x]` is at `n·strides[0] + c·strides[1] + y·strides[2] + x·strides[3]`.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// The numbers, from element `[0, 0, 0, 0]` on.
    pub numbers: &'a [f32],
    /// How many images there are.
    pub batch: usize,
    /// Steps from one image, channel, row and column to the next.
    pub strides: [usize; 4],
}

impl Images<'_> {
    /// The numbers from image `n` on, where they lie in rows of `columns` pixels, each with its `channels` side by side.
    #[inline(always)]
    pub(super) fn stored_channels_last(&self, n: usize, columns: usize, channels: usize) -> Option<&[f32]> {
        let [image, channel, row, column] = self.strides;
        (channel == 1 && column == channels && row == columns * channels).then(|| &self.numbers[n * image..])
    }

    /// The pixels of image `n`, in rows of `columns`, each with its `channels` side by side.
    #[inline(always)]
    pub(super) fn channels_last(&self, n: usize, columns: usize, channels: usize, to: &mut [f32]) {
        let [image, channel, row, column] = self.strides;
        if channel == 1 {
            for (position, pixel) in to.chunks_exact_mut(channels).enumerate() {
                let start = n * image + position / columns * row + position % columns * column;
                pixel.copy_from_slice(&self.numbers[start..start + channels]);
            }
            return;
        }
        for c in 0..channels {
            let from = &self.numbers[n * image + c * channel..];
            for (y, line) in to.chunks_exact_mut(columns * channels).enumerate() {
                for (x, pixel) in line.chunks_exact_mut(channels).enumerate() {
                    pixel[c] = from[y * row + x * column];
                }
            }
        }
    }
}

/// Images `[image, position, channel]` as `[image, channel, position]`, on the caller's thread alone if `threads` is 1.
///
/// # Panics
///
/// When the numbers are not those of whole images.
#[must_use]
pub fn channels_first(images: &[f32], positions: usize, channels: usize, threads: usize) -> Vec<f32> {
    let size = (positions * channels).max(1);
    let out = Size::any(images.len(), size);
    let task = |number, out: &mut [f32], _: &mut [u8]| {
        let image = &images[number * size..][..size];
        for (channel, to) in out.chunks_exact_mut(positions).enumerate() {
            for position in 0..positions {
                to[position] = image[position * channels + channel];
            }
        }
    };
    filled(threads, images.len() / size, out, Size::NONE, task).0
}

/// Images `[image, channel, position]` as `[image, position, channel]`, on the caller's thread alone if `threads` is 1.
///
/// # Panics
///
/// When the numbers are not those of whole images.
#[must_use]
pub fn channels_last(images: &[f32], positions: usize, channels: usize, threads: usize) -> Vec<f32> {
    let size = (positions * channels).max(1);
    let out = Size::any(images.len(), size);
    let task = |number, out: &mut [f32], _: &mut [u8]| {
        let image = &images[number * size..][..size];
        for (position, to) in out.chunks_exact_mut(channels).enumerate() {
            for (channel, to) in to.iter_mut().enumerate() {
                *to = image[channel * positions + position];
            }
        }
    };
    filled(threads, images.len() / size, out, Size::NONE, task).0
}

/// What a convolution reads at one position: `runs` runs of `run` numbers side by side.
///
/// Images of many channels are stored channels-last with zeros around, and a run is a row of the kernel. Images of few channels are laid
/// out as patches, one run for each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    geometry: Geometry,
    /// Whether each position has a patch of its own.
    pub(super) patches: bool,
    /// Channels of a pixel, padded to whole registers.
    channels: usize,
    /// Runs of a position.
    pub(super) runs: usize,
    /// Numbers of a run that are multiplied by weights.
    pub(super) run: usize,
    /// Numbers of a run, padded to whole registers.
    pub(super) padded_run: usize,
    /// Steps from one position to the next in a column, in a row, and from one run to the next.
    row: usize,
    column: usize,
    pub(super) next_run: usize,
}

impl Layout {
    pub(super) fn new(geometry: Geometry, path: Path) -> Self {
        let Geometry { inputs, kernel, width, padding, .. } = geometry;
        if inputs < 8 {
            let run = kernel * kernel * inputs;
            // Copies of whole eights stay within a patch.
            let line = kernel * inputs;
            let padded_run = ((kernel - 1) * line + line.next_multiple_of(8)).next_multiple_of(path.lanes.max(8));
            let row = 2 * geometry.pooled_width() * padded_run;
            Self { geometry, patches: true, channels: inputs, runs: 1, run, padded_run, row, column: padded_run, next_run: 0 }
        } else {
            let channels = path.padded(inputs);
            let run = kernel * channels;
            let row = (width + 2 * padding) * channels;
            Self { geometry, patches: false, channels, runs: kernel, run, padded_run: run, row, column: channels, next_run: row }
        }
    }

    #[inline]
    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Numbers of one output channel's kernel, laid out as the runs are.
    #[inline]
    pub(super) fn kernel_size(&self) -> usize {
        self.runs * self.padded_run
    }

    /// Where the first run of the convolution's position `(y, x)` starts.
    #[inline(always)]
    pub(super) fn start(&self, y: usize, x: usize) -> usize {
        y * self.row + x * self.column
    }

    /// Channels of a pixel, padded to whole registers.
    #[inline]
    pub(super) fn padded_inputs(&self) -> usize {
        self.channels
    }

    /// Where the first runs of the four positions of the pool at `(y, x)` start.
    #[inline(always)]
    pub(super) fn starts(&self, y: usize, x: usize) -> [usize; 4] {
        [self.start(y, x), self.start(y, x + 1), self.start(y + 1, x), self.start(y + 1, x + 1)]
    }

    /// Where kernel element `[input, y, x]` is in the runs of a position.
    #[inline]
    fn element(&self, input: usize, y: usize, x: usize) -> usize {
        if self.patches { (y * self.geometry.kernel + x) * self.channels + input } else { y * self.padded_run + x * self.channels + input }
    }

    /// For each number of a kernel in PyTorch's order `[input, y, x]`, its offset in the runs.
    pub(super) fn kernel_offsets(&self) -> Vec<usize> {
        let Geometry { inputs, kernel, .. } = self.geometry;
        let every = |side: usize| 0..side;
        every(inputs)
            .flat_map(|c| every(kernel).flat_map(move |y| every(kernel).map(move |x| (c, y, x))))
            .map(|(c, y, x)| self.element(c, y, x))
            .collect()
    }

    /// Numbers of the layout of `rows` rows of pooled positions.
    #[inline(always)]
    pub(super) fn size(&self, rows: usize) -> usize {
        let (rows, kernel) = (2 * rows, self.geometry.kernel);
        if self.patches { rows * self.row } else { (rows + kernel - 1) * self.row }
    }

    /// Whether images that lie channels-last without gaps are laid out as they are.
    #[inline(always)]
    fn plain(&self) -> bool {
        !self.patches && self.geometry.padding == 0 && self.channels == self.geometry.inputs
    }

    /// What [`Layout::load`] would make, where memory has it that way already.
    #[inline(always)]
    pub(super) fn borrow<'a>(&self, images: &Images<'a>, n: usize, first: usize, rows: usize) -> Option<&'a [f32]> {
        let [image, channel, row, column] = images.strides;
        let is_laid_out = self.plain() && channel == 1 && column == self.column && row == self.row;
        is_laid_out.then(|| &images.numbers[n * image + 2 * first * row..][..self.size(rows)])
    }

    /// Where the gradient of an image can be summed in place, the part of `to` that the runs cover.
    #[inline(always)]
    pub(super) fn cover<'a>(&self, to: &'a mut [f32]) -> Option<&'a mut [f32]> {
        let size = self.size(self.geometry.pooled_height());
        if self.plain() { to.get_mut(..size) } else { None }
    }

    /// Lays out the input of the pooled rows `first..first + rows` of image `n`.
    #[inline(always)]
    pub(super) fn load(&self, images: &Images, n: usize, first: usize, rows: usize, to: &mut [f32]) {
        let Geometry { inputs, kernel, .. } = self.geometry;
        let top = 2 * first;
        if !self.patches {
            self.pad(images, n, top, 2 * rows + kernel - 1, to);
            return;
        }
        let row = self.plain_row();
        let mut plain = scratch::any((2 * rows + kernel - 1) * row + SLACK);
        self.pad(images, n, top, 2 * rows + kernel - 1, &mut plain);
        let line = kernel * inputs;
        for (y, patches) in to.chunks_exact_mut(self.row).enumerate() {
            for ky in 0..kernel {
                // Whole eights are copied: what runs over is overwritten by the next line, or multiplied by no weight.
                for eight in 0..line.div_ceil(8) {
                    let from = &plain[(y + ky) * row + 8 * eight..];
                    let at = ky * line + 8 * eight;
                    for (x, patch) in patches.chunks_exact_mut(self.padded_run).enumerate() {
                        if let (Some(to), Some(from)) = (patch[at..].first_chunk_mut::<8>(), from[x * inputs..].first_chunk::<8>()) {
                            *to = *from;
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn plain_row(&self) -> usize {
        (self.geometry.width + 2 * self.geometry.padding) * self.channels
    }

    /// Copies rows `top..top + rows` of the padded image, channels-last.
    #[inline(always)]
    fn pad(&self, images: &Images, n: usize, top: usize, rows: usize, to: &mut [f32]) {
        let Geometry { inputs, height, width, padding, .. } = self.geometry;
        let [image, channel, row, column] = images.strides;
        let size = self.plain_row();
        for (y, line) in (top..top + rows).zip(to.chunks_exact_mut(size)) {
            if y < padding || y >= height + padding {
                line.fill(0.0);
                continue;
            }
            let start = n * image + (y - padding) * row;
            let (left, rest) = line.split_at_mut(padding * self.channels);
            let (middle, right) = rest.split_at_mut(width * self.channels);
            left.fill(0.0);
            right.fill(0.0);
            if (channel == 1 || inputs == 1) && column == inputs && self.channels == inputs {
                middle.copy_from_slice(&images.numbers[start..start + width * inputs]);
                continue;
            }
            for (x, pixel) in middle.chunks_exact_mut(self.channels).enumerate() {
                let from = start + x * column;
                let (numbers, padding) = pixel.split_at_mut(inputs);
                for (c, number) in numbers.iter_mut().enumerate() {
                    *number = images.numbers[from + c * channel];
                }
                padding.fill(0.0);
            }
        }
    }

    /// Adds up the numbers in the runs of every position, the transpose of [`Layout::load`] over the whole image: `to` is channels-last.
    pub(super) fn fold(&self, runs: &[f32], to: &mut [f32]) {
        let Geometry { inputs, height, width, kernel, padding, .. } = self.geometry;
        if !self.patches {
            for (y, line) in to.chunks_exact_mut(width * inputs).enumerate() {
                // The last rows may be under no position of the convolution.
                let Some(from) = runs.get((y + padding) * self.row..).filter(|from| !from.is_empty()) else {
                    line.fill(0.0);
                    continue;
                };
                for (x, pixel) in line.chunks_exact_mut(inputs).enumerate() {
                    let start = (x + padding) * self.channels;
                    pixel.copy_from_slice(&from[start..start + inputs]);
                }
            }
            return;
        }
        to.fill(0.0);
        let inside = |at: usize, side: usize| at.checked_sub(padding).filter(|at| *at < side);
        for y in 0..2 * self.geometry.pooled_height() {
            for x in 0..2 * self.geometry.pooled_width() {
                let start = self.start(y, x);
                for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                    let (Some(py), Some(px)) = (inside(y + ky, height), inside(x + kx, width)) else { continue };
                    let from = start + (ky * kernel + kx) * inputs;
                    let pixel = (py * width + px) * inputs;
                    for (sum, number) in to[pixel..pixel + inputs].iter_mut().zip(&runs[from..from + inputs]) {
                        *sum += number;
                    }
                }
            }
        }
    }
}

/// Room behind an image for copies of whole eights.
const SLACK: usize = 8;
