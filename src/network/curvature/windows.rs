//! The windows of convolutions and pools over feature maps in memory.

use regulus_model::graph::{Features, Op, Shape, Source};

use super::jacobian::Linearized;

/// The windows over one image of feature maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) input: Shape,
    /// Rows and columns of windows.
    pub(super) output: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
}

impl Windows {
    /// The number of windows.
    pub(super) fn count(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The numbers of a window in one channel.
    pub(super) fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The numbers of all that the windows see.
    pub(super) fn patches_size(&self) -> usize {
        self.input.channels * self.area() * self.count()
    }

    /// Calls `each` with the place in the kernel, the window, and the place in the channel, of all that lie in the image.
    pub(super) fn each(&self, mut each: impl FnMut(usize, usize, usize)) {
        let Shape { height, width, .. } = self.input;
        for at in 0..self.area() {
            for row in 0..self.output[0] {
                let Some(y) = inside(row, self.stride[0], at / self.kernel[1], self.padding[0], height) else { continue };
                for column in 0..self.output[1] {
                    if let Some(x) = inside(column, self.stride[1], at % self.kernel[1], self.padding[1], width) {
                        each(at, row * self.output[1] + column, y * width + x);
                    }
                }
            }
        }
    }

    /// Runs of numbers side by side, for stride 1 without padding: calls `each` with the place in the kernel, the first window and the first place in the
    /// channel.
    fn each_run(&self, mut each: impl FnMut(usize, usize, usize)) -> bool {
        let is_inside = [self.input.height, self.input.width] == [0, 1].map(|axis| self.output[axis] + self.kernel[axis] - 1);
        if self.stride != [1, 1] || self.padding != [0, 0] || !is_inside {
            return false;
        }
        for at in 0..self.area() {
            for row in 0..self.output[0] {
                each(at, row * self.output[1], (row + at / self.kernel[1]) * self.input.width + at % self.kernel[1]);
            }
        }
        true
    }

    /// What each place of the kernel sees, `[channel and place in the kernel, window]`, of an image `[channel, height, width]`.
    pub(super) fn patches(&self, image: &[f32], to: &mut [f32]) {
        let [count, run] = [self.count(), self.output[1]];
        for (channel, to) in image.chunks_exact(self.input.height * self.input.width).zip(to.chunks_exact_mut(self.area() * count)) {
            let copied = self.each_run(|at, window, place| to[at * count + window..][..run].copy_from_slice(&channel[place..][..run]));
            if !copied {
                to.fill(0.0);
                self.each(|at, window, place| to[at * count + window] = channel[place]);
            }
        }
    }

    /// The transpose of [`Windows::patches`]: adds patches to an image.
    pub(super) fn add_patches(&self, patches: &[f32], image: &mut [f32]) {
        let [count, run] = [self.count(), self.output[1]];
        for (channel, from) in image.chunks_exact_mut(self.input.height * self.input.width).zip(patches.chunks_exact(self.area() * count)) {
            let added = self.each_run(|at, window, place| {
                channel[place..][..run].iter_mut().zip(&from[at * count + window..][..run]).for_each(|(to, number)| *to += number);
            });
            if !added {
                self.each(|at, window, place| channel[place] += from[at * count + window]);
            }
        }
    }

    /// Adds the place in its channel of the largest number of each window, `[channel, window]`; of equal ones the first.
    pub(super) fn add_largest(&self, image: &[f32], to: &mut Vec<u32>) {
        let Shape { height, width, .. } = self.input;
        if self.kernel == [2, 2] && self.stride == [2, 2] && self.padding == [0, 0] {
            for channel in image.chunks_exact(height * width) {
                for (row, numbers) in channel.chunks_exact(2 * width).enumerate() {
                    add_largest_of_four(numbers, 2 * row * width, self.output[1], to);
                }
            }
            return;
        }
        // A window that lies in the padding alone does not occur.
        let mut best = vec![(f32::NEG_INFINITY, 0); self.count()];
        for channel in image.chunks_exact(height * width) {
            best.fill((f32::NEG_INFINITY, 0));
            self.each(|_, window, place| {
                if channel[place] > best[window].0 {
                    best[window] = (channel[place], index(place));
                }
            });
            to.extend(best.iter().map(|(_, place)| *place));
        }
    }
}

/// [`Windows::add_largest`] for windows of 2×2 in two rows, of which the first begins at the place `first` of the channel.
fn add_largest_of_four(rows: &[f32], first: usize, windows: usize, to: &mut Vec<u32>) {
    let (first, width) = (index(first), index(rows.len() / 2));
    let (upper, lower) = rows.split_at(rows.len() / 2);
    let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2)).take(windows);
    to.extend(pairs.zip((first..).step_by(2)).map(|((upper, lower), place)| {
        let larger = |one: (f32, u32), other: (f32, u32)| if other.0 > one.0 { other } else { one };
        let upper = larger((upper[0], place), (upper[1], place + 1));
        larger(upper, larger((lower[0], place + width), (lower[1], place + width + 1))).1
    }));
}

fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Where window `index` has place `at` of its kernel. Returns `None` in the padding.
fn inside(index: usize, stride: usize, at: usize, padding: usize, size: usize) -> Option<usize> {
    (index * stride + at).checked_sub(padding).filter(|place| *place < size)
}

/// The shape of features as maps; a vector has channels of one number.
pub(super) fn map_shape(features: Features) -> Shape {
    match features {
        Features::Map(shape) => shape,
        Features::Vector(length) => Shape { channels: length, height: 1, width: 1 },
    }
}

impl Linearized<'_> {
    /// The numbers in the largest list that one sample becomes when so many vectors are sent back.
    pub(super) fn largest(&self, columns: usize) -> usize {
        let of_node = |index: usize| {
            let (input, output) = (self.graph.input_of(index).size(), self.graph.features_of(Source::Node(index)).size());
            let patches = match &self.graph.nodes()[index].op {
                Op::Conv(_) => self.windows(index).patches_size(),
                _ => 0,
            };
            patches.max(columns * input.max(output))
        };
        (0..self.graph.nodes().len()).map(of_node).max().unwrap_or(1)
    }

    /// The windows of a convolution or a pool.
    pub(super) fn windows(&self, index: usize) -> Windows {
        let (kernel, stride, padding) = match &self.graph.nodes()[index].op {
            Op::Conv(op) => (op.kernel, op.stride, op.padding),
            Op::MaxPool(op) => (op.kernel, op.stride, op.padding),
            Op::AveragePool(op) => (op.kernel, op.stride, op.padding),
            _ => unreachable!("convolutions and pools have windows"),
        };
        let output = map_shape(self.graph.features_of(Source::Node(index)));
        Windows { input: map_shape(self.graph.input_of(index)), output: [output.height, output.width], kernel, stride, padding }
    }
}
